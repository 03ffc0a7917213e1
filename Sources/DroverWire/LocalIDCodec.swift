// A row's key as text and back. One integer or one text reads as itself (`7`, `MAH-7`); everything else, a composite key
// above all, as a JSON array of its values (`[1,3402]`), so that no two keys share a text. Where a schema tells lives of a key apart, the first
// one's rows read as if it did not: what is known by an ID stays known by it.

package import DroverCore

package enum LocalIDCodec {
  package static func text(key: some Collection<Value>, schema: StreamSchema) -> String {
    if schema.tellsLives, key.count == schema.key.count, let life = key.dropFirst(key.count - 1).first,
      life == StreamSchema.firstLife
    {
      return text(sourceKey: key.dropLast(), schema: schema)
    }
    return text(sourceKey: key, schema: schema)
  }

  private static func text(sourceKey key: some Collection<Value>, schema: StreamSchema) -> String {
    if key.count == 1, let plain = plainText(key.first!, affinity: schema.columns[schema.key[0]].affinity) {
      return plain
    }
    return list(key)
  }

  /// The text of the key that stands in a row.
  package static func text(keyOf row: Values, schema: StreamSchema) -> String {
    if schema.key.count == 1,
      let plain = row.lend(schema.key[0], { plainText($0, affinity: schema.columns[schema.key[0]].affinity) })
    {
      return plain
    }
    return schema.tellsLives ? text(key: schema.keyValues(of: row), schema: schema) : list(schema.keyValues(of: row))
  }

  private static func list(_ key: some Collection<Value>) -> String {
    var bytes: [UInt8] = [UInt8(ascii: "[")]
    for (index, value) in key.enumerated() {
      if index > 0 { bytes.append(UInt8(ascii: ",")) }
      JSONWriter.write(value, into: &bytes)
    }
    bytes.append(UInt8(ascii: "]"))
    return String(decoding: bytes, as: UTF8.self)
  }

  package static func key(_ text: String, schema: StreamSchema) throws(WireError) -> [Value] {
    let sourceParts = schema.key.count - (schema.tellsLives ? 1 : 0)
    let first = schema.tellsLives ? [StreamSchema.firstLife] : []
    if text.utf8.first == UInt8(ascii: "[") {
      var key: [Value] = []
      var scanner = JSONScanner(ArraySlice(text.utf8))
      try scanner.readArray { (scanner) throws(WireError) in key.append(try scanner.readValue()) }
      try scanner.expectEnd()
      if key.count == sourceParts { return key + first }
      guard key.count == schema.key.count else {
        throw WireError("the id has \(key.count) parts where the key has \(schema.key.count) columns")
      }
      return key
    }
    guard sourceParts == 1 else {
      throw WireError("the id of a composite key is a JSON array of its \(sourceParts) values")
    }
    if schema.columns[schema.key[0]].affinity.isNumeric, let integer = Int64(text) {
      return [.integer(integer)] + first
    }
    return [.text(text)] + first
  }

  private static func plainText(_ value: Value, affinity: Affinity) -> String? {
    value.lend { plainText($0, affinity: affinity) }
  }

  private static func plainText(_ value: LentValue, affinity: Affinity) -> String? {
    switch value {
    case .integer(let integer) where affinity.isNumeric: String(integer)
    case .text(let bytes) where affinity == .text && bytes.first != UInt8(ascii: "[") && !bytes.isEmpty:
      String(validating: bytes, as: UTF8.self)
    default: nil
    }
  }
}

extension Affinity {
  fileprivate var isNumeric: Bool { self == .integer || self == .numeric }
}
