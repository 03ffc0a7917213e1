// What goes to PostgreSQL, in its binary forms: https://www.postgresql.org/docs/current/protocol-overview.html, "Formats and Format Codes",
// and the types' own receive functions. Big-endian throughout.

/// A type of PostgreSQL by its fixed number in pg_type.
package enum TypeNumber: UInt32, CaseIterable {
  case boolean = 16
  case bytea = 17
  case bigint = 20
  case text = 25
  case json = 114
  case double = 701
  case jsonb = 3802

  /// The number of the type's arrays.
  var array: UInt32 {
    switch self {
    case .boolean: 1000
    case .bytea: 1001
    case .bigint: 1016
    case .text: 1009
    case .json: 199
    case .double: 1022
    case .jsonb: 3807
    }
  }

  /// As SQL names it.
  var name: String {
    switch self {
    case .boolean: "boolean"
    case .bytea: "bytea"
    case .bigint: "bigint"
    case .text: "text"
    case .json: "json"
    case .double: "double precision"
    case .jsonb: "jsonb"
    }
  }
}

/// A value for a place in a statement.
package struct Parameter {
  let type: UInt32
  /// nil: NULL.
  let bytes: [UInt8]?

  package static func text(_ text: String?) -> Parameter {
    Parameter(type: TypeNumber.text.rawValue, bytes: text.map { Array($0.utf8) })
  }
  package static func integer(_ integer: Int64?) -> Parameter {
    Parameter(type: TypeNumber.bigint.rawValue, bytes: integer.map { bigEndian($0) })
  }
  package static func integer(_ integer: Int?) -> Parameter { .integer(integer.map(Int64.init)) }
  package static func boolean(_ boolean: Bool?) -> Parameter {
    Parameter(type: TypeNumber.boolean.rawValue, bytes: boolean.map { [$0 ? 1 : 0] })
  }
  package static func blob(_ bytes: some Collection<UInt8>) -> Parameter {
    Parameter(type: TypeNumber.bytea.rawValue, bytes: Array(bytes))
  }
  package static func texts(_ texts: some Collection<String>) -> Parameter {
    var fields = FieldList(.text, capacity: texts.count * 24)
    for text in texts { fields.append(Array(text.utf8)[...]) }
    return fields.array
  }
  package static func integers(_ integers: some Collection<Int64>) -> Parameter {
    var fields = FieldList(.bigint, capacity: integers.count * 12)
    for integer in integers { fields.append(integer) }
    return fields.array
  }

  private static func bigEndian(_ integer: Int64) -> [UInt8] { withUnsafeBytes(of: integer.bigEndian) { Array($0) } }
}

/// The values of one column, one after the other as arrays and COPY take them: each with its length in front.
struct FieldList {
  let type: TypeNumber
  private(set) var count = 0
  private var hasNull = false
  /// Begins with room for an array's head.
  private var bytes: [UInt8]

  init(_ type: TypeNumber, capacity: Int = 0) {
    self.type = type
    bytes = []
    bytes.reserveCapacity(capacity + 20)
    bytes.append(contentsOf: repeatElement(0, count: 20))
  }

  mutating func appendNull() {
    bytes.append(contentsOf: [0xff, 0xff, 0xff, 0xff])
    hasNull = true
    count += 1
  }

  mutating func append(_ field: ArraySlice<UInt8>) {
    bytes.appendBigEndian(Int32(field.count))
    bytes += field
    count += 1
  }

  mutating func append(_ integer: Int64) {
    bytes.appendBigEndian(Int32(8))
    bytes.appendBigEndian(integer)
    count += 1
  }

  mutating func append(_ real: Double) { append(Int64(bitPattern: real.bitPattern)) }

  mutating func append(_ boolean: Bool) {
    bytes.appendBigEndian(Int32(1))
    bytes.append(boolean ? 1 : 0)
    count += 1
  }

  /// jsonb's own form begins with its version.
  mutating func append(jsonb text: [UInt8]) {
    bytes.appendBigEndian(Int32(text.count + 1))
    bytes.append(1)
    bytes += text
    count += 1
  }

  // MARK: Rows of COPY

  /// Begins a row of so many fields, which are appended next.
  mutating func beginRow(of fields: Int) { bytes.appendBigEndian(Int16(fields)) }

  /// What was appended row by row, as COPY … (FORMAT binary) takes it:
  /// https://www.postgresql.org/docs/current/sql-copy.html, section "Binary Format".
  var copyData: [UInt8] {
    var data: [UInt8] = []
    data.reserveCapacity(bytes.count + 2)
    data += "PGCOPY\n".utf8
    data += [0xff, 0x0d, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    data += bytes.dropFirst(20)
    data += [0xff, 0xff]
    return data
  }

  // MARK: Parameters

  /// The one value that was appended.
  var only: Parameter {
    precondition(count == 1)
    return Parameter(type: type.rawValue, bytes: hasNull ? nil : Array(bytes.dropFirst(24)))
  }

  /// All values as one array of one dimension.
  var array: Parameter {
    var head: [UInt8] = []
    head.appendBigEndian(Int32(1))
    head.appendBigEndian(Int32(hasNull ? 1 : 0))
    head.appendBigEndian(Int32(bitPattern: type.rawValue))
    head.appendBigEndian(Int32(count))
    head.appendBigEndian(Int32(1))
    var whole = bytes
    whole.replaceSubrange(0..<20, with: head)
    return Parameter(type: type.array, bytes: whole)
  }
}

extension [UInt8] {
  mutating func appendBigEndian<Integer: FixedWidthInteger>(_ integer: Integer) {
    Swift.withUnsafeBytes(of: integer.bigEndian) { append(contentsOf: $0) }
  }
}
