// What a column makes of a value: SQLite stores by the value, and a column's affinity converts what can be converted without a loss
// (https://www.sqlite.org/datatype3.html, section 3). A store that is no SQLite has to do the same, so that its rows are the source's.

package enum Affinity: Sendable { case integer, text, blob, real, numeric }

extension Affinity {
  package var isNumeric: Bool { self == .integer || self == .numeric || self == .real }

  /// The value as a column of this affinity holds it.
  package func converting(_ value: Value) -> Value {
    switch (self, value) {
    case (.text, .integer(let integer)): .text(String(integer))
    case (.text, .real(let real)): .text(Self.text(of: real))
    case (.integer, .real(let real)), (.numeric, .real(let real)): Self.integral(real)
    case (.integer, .text(let bytes)), (.numeric, .text(let bytes)): Self.number(bytes) ?? value
    case (.real, .integer(let integer)): .real(Double(integer))
    case (.real, .text(let bytes)):
      switch Self.number(bytes, keepsReal: true) {
      case .integer(let integer)?: .real(Double(integer))
      case let number?: number
      case nil: value
      }
    default: value
    }
  }

  /// A text that reads as this number again.
  package static func text(of real: Double) -> String {
    real.isInfinite ? (real < 0 ? "-9e999" : "9e999") : real.description
  }

  /// Integers beyond the two ends stay what they are.
  private static func integral(_ real: Double) -> Value {
    guard let integer = Int64(exactly: real.rounded(.towardZero)), Double(integer) == real, integer != .max,
      integer != .min
    else { return .real(real) }
    return .integer(integer)
  }

  /// The number that a text is as a whole, with white space around it; nil for any other text.
  private static func number(_ bytes: ArraySlice<UInt8>, keepsReal: Bool = false) -> Value? {
    let isSpace: (UInt8) -> Bool = { $0 == 0x20 || (0x09...0x0d).contains($0) }
    guard let first = bytes.firstIndex(where: { !isSpace($0) }) else { return nil }
    let number = bytes[first...bytes.lastIndex { !isSpace($0) }!]
    guard let isInteger = form(of: number) else { return nil }
    let text = String(decoding: number, as: UTF8.self)
    if isInteger, let integer = Int64(text) { return .integer(integer) }
    guard let real = Double(text) else { return nil }
    return keepsReal ? .real(real) : integral(real)
  }

  /// Whether a literal is one of an integer; nil when it is none of a number.
  private static func form(of number: ArraySlice<UInt8>) -> Bool? {
    var rest = number
    func digits() -> Int {
      let count = rest.prefix { (0x30...0x39).contains($0) }.count
      rest = rest.dropFirst(count)
      return count
    }
    func take(_ characters: String) -> Bool {
      guard let next = rest.first, characters.utf8.contains(next) else { return false }
      rest = rest.dropFirst()
      return true
    }
    _ = take("+-")
    var mantissa = digits()
    var isInteger = true
    if take(".") {
      isInteger = false
      mantissa += digits()
    }
    guard mantissa > 0 else { return nil }
    if take("eE") {
      isInteger = false
      _ = take("+-")
      guard digits() > 0 else { return nil }
    }
    return rest.isEmpty ? isInteger : nil
  }
}

extension Column {
  /// Whether a column like this stores every value of the other as it is.
  package func keeps(_ other: Column) -> Bool {
    switch (affinity, other.affinity) {
    case (.blob, _), (.text, .text), (.real, .real): true
    // They differ in CAST alone.
    case (.integer, .integer), (.integer, .numeric), (.numeric, .integer), (.numeric, .numeric): true
    default: false
    }
  }
}
