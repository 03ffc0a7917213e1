// What of a captured table leaves the machine: which columns, which rows, and which values only as a hash.

private import DroverHashing
package import DroverCore
private import Foundation

/// What the configuration says of it.
package struct Selection: Equatable, Sendable {
  /// The columns that travel, besides the key; nil: all.
  package var include: [String]?
  /// The columns that do not.
  package var exclude: [String]
  /// Rows of which it does not hold do not travel; to the cloud they are deleted.
  package var filter: Condition?
  /// The columns whose values travel as a hash under `hashKey`.
  package var hashed: [String]
  package var hashKey: HashKey?

  package init(
    include: [String]? = nil, exclude: [String] = [], filter: Condition? = nil, hashed: [String] = [],
    hashKey: HashKey? = nil
  ) {
    self.include = include
    self.exclude = exclude
    self.filter = filter
    self.hashed = hashed
    self.hashKey = hashKey
  }

  struct ChosenColumn {
    /// Among the table's columns.
    let position: Int
    let column: Column
    let isHashed: Bool
  }

  /// The columns that travel, as they do: a hash is a text.
  /// - Throws: when it names a column that is not there, or takes the key away.
  func choose(from columns: [Column], key: [Int], completeWhen: Condition?) throws(InvalidName) -> [ChosenColumn] {
    func positions(_ names: [String], _ what: String) throws(InvalidName) -> Set<Int> {
      var positions: Set<Int> = []
      for name in names {
        guard let position = columns.firstIndex(where: { SQLName($0.name) == SQLName(name) }) else {
          throw InvalidName(message: "there is no column \(name), which `\(what)` names")
        }
        positions.insert(position)
      }
      return positions
    }
    let keySet = Set(key)
    let excluded = try positions(exclude, "exclude")
    let hashed = try positions(hashed, "hash")
    let chosen = try include.map { names throws(InvalidName) in try positions(names, "include").union(keySet) }
    for (set, what) in [(excluded, "left out"), (hashed, "hashed")] {
      if let position = set.intersection(keySet).min() {
        throw InvalidName(message: "\(columns[position].name) is part of the key, and cannot be \(what)")
      }
    }
    let travelling = (chosen ?? Set(columns.indices)).subtracting(excluded)
    if let position = hashed.subtracting(travelling).min() {
      throw InvalidName(message: "\(columns[position].name) does not travel, so it needs no hash")
    }
    let names = Set(hashed.map { SQLName(columns[$0].name) })
    if let name = completeWhen?.columns.first(where: { names.contains(SQLName($0)) }) {
      throw InvalidName(message: "\(name) travels as a hash, so the cloud could not tell when a row is complete")
    }
    return columns.indices.filter(travelling.contains).map { position in
      let isHashed = hashed.contains(position)
      let column = columns[position]
      return ChosenColumn(
        position: position, column: isHashed ? Column(name: column.name, declaredType: "TEXT") : column,
        isHashed: isHashed)
    }
  }

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
