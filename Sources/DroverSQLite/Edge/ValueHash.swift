// Values that leave the machine only as a hash.

private import DroverHashing
import DroverCore

/// HMAC-SHA-256 of values (RFC 2104), in lower-case hexadecimal.
struct ValueHash: Equatable {
  private let key: HashKey

  init(_ key: HashKey) { self.key = key }

  /// NULL stays NULL. A text and a blob are their bytes, a number is its text in decimal: equal values of a column stay equal.
  func hashed(_ value: Value) -> Value {
    switch value {
    case .null: .null
    case .integer(let integer): .text(text(of: String(integer).utf8))
    case .real(let real): .text(text(of: real.description.utf8))
    case .text(let bytes), .blob(let bytes): .text(text(of: bytes))
    }
  }

  fileprivate func text(of bytes: some Swift.Sequence<UInt8>) -> String {
    SHA256.code(for: Array(bytes), key: key.bytes).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }
}

extension Selection {
  /// Stands for what the schema's id does not tell: another one means that rows have to be brought again. Empty where nothing is.
  var fingerprint: String {
    guard filter != nil || !hashed.isEmpty else { return "" }
    var hash = FNV1a()
    hash.combine(filter?.text ?? "")
    for column in hashed.map({ $0.lowercased() }).sorted() { hash.combine(column) }
    if let hashKey { hash.combine(ValueHash(hashKey).text(of: Array("drover".utf8))) }
    return "/" + hash.hexadecimal
  }
}
