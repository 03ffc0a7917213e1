// SQLite as an app uses it that knows nothing of Drover, and as a judge does who trusts none of Drover's code: one connection, plain
// calls, locks that are never waited for.

import CSQLite
import DroverCore

struct PlainError: Error, CustomStringConvertible {
  let code: Int32
  let description: String
  /// A constraint of the app's own refused the statement.
  var isConstraint: Bool { code & 0xff == SQLITE_CONSTRAINT }
}

final class PlainDatabase {
  private let connection: OpaquePointer
  private var statements: [String: OpaquePointer] = [:]

  init(path: String, readOnly: Bool = false) throws {
    var connection: OpaquePointer?
    let flags = readOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
    let code = sqlite3_open_v2(path, &connection, flags, nil)
    guard code == SQLITE_OK, let connection else {
      sqlite3_close_v2(connection)
      throw PlainError(code: code, description: "open \(path): \(String(cString: sqlite3_errstr(code)))")
    }
    self.connection = connection
    sqlite3_create_function_v2(
      connection, Self.ownFunction, 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, nil,
      { context, _, values in sqlite3_result_value(context, values?[0]) }, nil, nil, nil)
  }

  /// A function that no connection of Drover's has.
  static let ownFunction = "own"

  deinit {
    for statement in statements.values { sqlite3_finalize(statement) }
    sqlite3_close_v2(connection)
  }

  /// One or more statements that give no rows.
  func execute(_ sql: String) throws {
    let code = sqlite3_exec(connection, sql, nil, nil, nil)
    guard code == SQLITE_OK else { throw error(code, sql) }
  }

  /// One statement with its values, whose compiled form is kept.
  func execute(_ sql: String, _ values: [Value]) throws {
    let statement = try prepared(sql)
    defer {
      sqlite3_reset(statement)
      sqlite3_clear_bindings(statement)
    }
    for (index, value) in values.enumerated() { bind(value, to: statement, at: Int32(index + 1)) }
    let code = sqlite3_step(statement)
    guard code == SQLITE_DONE else { throw error(code, sql) }
  }

  private func bind(_ value: Value, to statement: OpaquePointer, at index: Int32) {
    let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
    switch value {
    case .null: sqlite3_bind_null(statement, index)
    case .integer(let integer): sqlite3_bind_int64(statement, index, integer)
    case .real(let real): sqlite3_bind_double(statement, index, real)
    case .text(let bytes):
      // An array that is empty has no address, and NULL would bind NULL.
      (Array(bytes) + [0]).withUnsafeBufferPointer { buffer in
        _ = buffer.withMemoryRebound(to: CChar.self) {
          sqlite3_bind_text(statement, index, $0.baseAddress, Int32(bytes.count), transient)
        }
      }
    case .blob(let bytes):
      (Array(bytes) + [0]).withUnsafeBytes { buffer in
        _ = sqlite3_bind_blob(statement, index, buffer.baseAddress, Int32(bytes.count), transient)
      }
    }
  }

  /// Puts the database back to a copy, as `.restore` of SQLite's command line does, whoever else has it open.
  func restore(from path: String) throws {
    let copy = try PlainDatabase(path: path)
    let backup = sqlite3_backup_init(connection, "main", copy.connection, "main")
    sqlite3_backup_step(backup, -1)
    let code = sqlite3_backup_finish(backup)
    guard code == SQLITE_OK else { throw error(code, "restore") }
  }

  /// A row while it is the current one.
  struct Row {
    fileprivate let statement: OpaquePointer
    func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(statement, column) }
    /// NULL is the empty text; what is no UTF-8 is repaired.
    func text(_ column: Int32) -> String { sqlite3_column_text(statement, column).map { String(cString: $0) } ?? "" }
    func value(_ column: Int32) -> Value {
      func bytes() -> ArraySlice<UInt8> {
        let start = sqlite3_column_blob(statement, column)
        return ArraySlice(UnsafeRawBufferPointer(start: start, count: Int(sqlite3_column_bytes(statement, column))))
      }
      return switch sqlite3_column_type(statement, column) {
      case SQLITE_INTEGER: .integer(sqlite3_column_int64(statement, column))
      case SQLITE_FLOAT: .real(sqlite3_column_double(statement, column))
      case SQLITE_TEXT: .text(bytes())
      case SQLITE_BLOB: .blob(bytes())
      default: .null
      }
    }
  }

  /// Calls `body` with each row of a query, whose compiled form is kept.
  func rows(_ sql: String, _ body: (Row) throws -> Void) throws {
    let statement = try prepared(sql)
    defer { sqlite3_reset(statement) }
    while true {
      switch sqlite3_step(statement) {
      case SQLITE_ROW: try body(Row(statement: statement))
      case SQLITE_DONE: return
      case let code: throw error(code, sql)
      }
    }
  }

  func integer(_ sql: String) throws -> Int64? {
    var result: Int64?
    try rows(sql) { result = $0.integer(0) }
    return result
  }

  func text(_ sql: String) throws -> String? {
    var result: String?
    try rows(sql) { result = $0.text(0) }
    return result
  }

  private func prepared(_ sql: String) throws -> OpaquePointer {
    if let statement = statements[sql] { return statement }
    var statement: OpaquePointer?
    let code = sqlite3_prepare_v2(connection, sql, -1, &statement, nil)
    guard code == SQLITE_OK, let statement else { throw error(code, sql) }
    statements[sql] = statement
    return statement
  }

  private func error(_ code: Int32, _ sql: String) -> PlainError {
    PlainError(
      code: sqlite3_extended_errcode(connection), description: "\(String(cString: sqlite3_errmsg(connection))): \(sql)")
  }
}

/// An SQL expression that writes columns as one text, in which every value has one form.
func quotedRow(_ columns: [String]) -> String { columns.map { "quote(\($0))" }.joined(separator: " || ',' || ") }
