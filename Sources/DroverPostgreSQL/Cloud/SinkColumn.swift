// A column of a sink table: how PostgreSQL holds what SQLite would. A value is first what the source's affinity makes of it; then it has a
// place in the column, or the column is widened, or the event is refused. Reading back gives the value that was written, because in a column
// of numeric affinity SQLite never keeps a text that reads as a number. docs/decisions/0018 has the table.

package import DroverCore
import DroverWire

struct SinkColumn: Equatable {
  let name: SQLName
  /// Its name in PostgreSQL, quoted.
  let identifier: String
  let affinity: Affinity
  let type: TypeNumber

  /// What becomes of a value on its way into the column.
  enum Fit: Equatable {
    case fits
    /// It needs the column to be of this type.
    case needs(TypeNumber)
    /// No type would do; the text says why, without the value.
    case never(String)
  }

  /// A row has to find room in a page of 8 KiB, and a number takes 20 bytes in jsonb (https://www.postgresql.org/docs/current/limits.html).
  static let mostRoomyColumns = 256

  /// The type of a new column.
  /// - Parameter isCompact: whether it is one of so many that values without a type have to be json, which is their text and cannot be compared.
  static func type(of column: Column, isCompact: Bool = false) -> TypeNumber {
    let words = column.declaredType.uppercased()
    switch column.affinity {
    case .integer: return .bigint
    case .real: return .double
    case .text: return .text
    case .blob: return !column.declaredType.isEmpty ? .bytea : isCompact ? .json : .jsonb
    case .numeric:
      if words.contains("BOOL") { return .boolean }
      return textLike.contains(where: words.contains) ? .text : .double
    }
  }

  /// Declarations of numeric affinity under which people keep texts.
  private static let textLike = ["DATE", "TIME", "STRING", "UUID", "JSON", "ENUM"]

  /// A column's type in SQL, with texts compared by their bytes as SQLite compares them.
  static func definition(_ type: TypeNumber) -> String { type == .text ? "text COLLATE \"C\"" : type.name }

  // MARK: Fitting

  /// - Parameter value: as `affinity` has converted it.
  func fit(_ value: Value) -> Fit {
    switch (type, value) {
    case (.json, _) where affinity == .blob: .fits
    case (_, .null), (.jsonb, _), (.bigint, .integer), (.bytea, .blob), (.double, .real): .fits
    case (.json, .text(let bytes)), (.text, .text(let bytes)): Self.fault(in: bytes).map { .never($0) } ?? .fits
    case (.text, .integer), (.text, .real): .fits
    case (.bytea, _): .needs(.jsonb)
    case (_, .blob): .never("a blob does not fit into the column \(name), which is \(type.name)")
    case (.boolean, .integer(0)), (.boolean, .integer(1)): .fits
    case (.boolean, .integer): .needs(.bigint)
    case (.double, .integer(let integer)): Self.isExact(integer) ? .fits : .needs(.text)
    case (.boolean, .real), (.bigint, .real): .needs(.double)
    case (_, .text(let bytes)): Self.fault(in: bytes).map { .never($0) } ?? .needs(.text)
    case (.json, _): .never("the body is no text")
    }
  }

  /// Whether a double holds the integer.
  static func isExact(_ integer: Int64) -> Bool { integer.magnitude <= 1 << 53 }

  /// Why PostgreSQL takes no text of these bytes, or nil.
  static func fault(in bytes: ArraySlice<UInt8>) -> String? {
    if bytes.allSatisfy({ $0 > 0 && $0 < 0x80 }) { return nil }
    if bytes.contains(0) { return "PostgreSQL's text holds no NUL" }
    return String(validating: bytes, as: UTF8.self) == nil ? "PostgreSQL's text is UTF-8, and this is not" : nil
  }

  // MARK: Values

  /// Adds a value that fits.
  func append(_ value: Value, to fields: inout FieldList) {
    switch (type, value) {
    case (_, .null): fields.appendNull()
    case (.json, _) where affinity == .blob: fields.append(JSONColumn.text(of: value)[...])
    case (.jsonb, _): fields.append(jsonb: JSONColumn.text(of: value))
    case (.bigint, .integer(let integer)): fields.append(integer)
    case (.boolean, .integer(let integer)): fields.append(integer != 0)
    case (.double, .integer(let integer)): fields.append(Double(integer))
    case (.double, .real(let real)): fields.append(real)
    case (.text, .integer(let integer)): fields.append(ArraySlice(String(integer).utf8))
    case (.text, .real(let real)): fields.append(ArraySlice(Affinity.text(of: real).utf8))
    case (_, .text(let bytes)), (_, .blob(let bytes)): fields.append(bytes)
    default: preconditionFailure("a value of column \(name) was not made to fit")
    }
  }

  /// The value as it stood at the source.
  func value(_ rows: Rows, _ row: Int, _ column: Int) -> Value {
    if rows.isNull(row, column) { return .null }
    let bytes = rows.bytes(row, column)
    switch type {
    case .boolean, .bigint: return .integer(rows.integer(row, column))
    case .double: return affinity.converting(.real(Double(bitPattern: UInt64(bitPattern: rows.integer(row, column)))))
    case .text: return affinity.converting(.text(bytes[...]))
    case .bytea: return .blob(bytes[...])
    // Of a stream without a table it is the body, as it was written.
    case .json: return affinity == .blob ? JSONColumn.value(of: bytes[...]) : .text(bytes[...])
    case .jsonb: return JSONColumn.value(of: bytes.dropFirst())
    }
  }
}

/// Values in a column without a type, as they are on the wire. What jsonb would not keep is tagged too: the sign of zero, and texts with NUL.
package enum JSONColumn {
  static func text(of value: Value) -> [UInt8] {
    var text: [UInt8] = []
    switch value {
    case .real(let real) where real == 0 && real.sign == .minus: return Array(negativeZero.utf8)
    // jsonb counts digits behind the point and knows no exponents: without one 1e16 would be an integer.
    case .real(let real) where real.description.contains("e+"): return Array("\(positional(real)).0".utf8)
    case .text(let bytes) where bytes.contains(0):
      var blob: [UInt8] = []
      JSONWriter.write(.blob(bytes), into: &blob)
      return Array(String(decoding: blob, as: UTF8.self).replacing("$blob", with: "$text", maxReplacements: 1).utf8)
    default:
      JSONWriter.write(value, into: &text)
      return text
    }
  }

  /// - Parameter text: as PostgreSQL writes jsonb.
  package static func value(of text: ArraySlice<UInt8>) -> Value {
    if text.filter({ $0 != 0x20 }).elementsEqual(negativeZero.utf8) { return .real(-0.0) }
    var scanner = JSONScanner(text)
    return (try? scanner.readValue()) ?? .text(text)
  }

  private static let negativeZero = #"{"$real":"-0.0"}"#

  /// A whole double whose text has an exponent, in digits.
  private static func positional(_ real: Double) -> String {
    let parts = real.description.split(separator: "e+")
    let mantissa = parts[0].split(separator: ".")
    let fraction = mantissa.count > 1 && mantissa[1] != "0" ? mantissa[1] : ""
    return "\(mantissa[0])\(fraction)\(String(repeating: "0", count: Int(parts[1])! - fraction.count))"
  }
}
