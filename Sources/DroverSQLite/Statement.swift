// Raw prepared statements on a connection that GRDB owns. On the hot path GRDB's argument arrays cost half the time
// (docs/decisions/0004-raw-binding.md); everything else goes through GRDB.

import DroverCore
import GRDB
private import CSQLite

/// A prepared statement that is bound by position and stepped. Used only while its database is accessible, by the thread that has it.
final class Statement {
  private let handle: OpaquePointer
  private let connection: OpaquePointer
  private let sql: String

  init(_ database: Database, _ sql: String) throws {
    connection = database.sqliteConnection!
    self.sql = sql
    var handle: OpaquePointer?
    let code = sqlite3_prepare_v3(connection, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &handle, nil)
    guard code == SQLITE_OK, let handle else { throw Self.error(code, connection, sql) }
    self.handle = handle
  }

  deinit { sqlite3_finalize(handle) }

  /// Whether its connection is in no transaction: what it refused has ended it (RAISE(ROLLBACK)).
  var hasLeftTransaction: Bool { sqlite3_get_autocommit(connection) != 0 }

  /// Makes the statement ready for new values.
  func reset() {
    sqlite3_reset(handle)
  }

  /// The value's bytes are copied.
  func bind(_ value: Value, at index: Int32) { value.lend { bind(lent: $0, at: index) } }

  /// The value's bytes are copied.
  func bind(lent value: LentValue, at index: Int32) { bind(value, at: index, sqliteTransient) }

  private func bind(_ value: LentValue, at index: Int32, _ lifetime: sqlite3_destructor_type?) {
    switch value {
    case .null: sqlite3_bind_null(handle, index)
    case .integer(let integer): sqlite3_bind_int64(handle, index, integer)
    case .real(let real): sqlite3_bind_double(handle, index, real)
    case .text(let bytes):
      sqlite3_bind_text64(handle, index, pointer(bytes), UInt64(bytes.count), lifetime, UInt8(SQLITE_UTF8))
    case .blob(let bytes):
      // A NULL pointer would bind NULL instead of an empty blob.
      if bytes.count == 0 {
        sqlite3_bind_zeroblob(handle, index, 0)
      } else {
        sqlite3_bind_blob64(handle, index, bytes.baseAddress, UInt64(bytes.count), lifetime)
      }
    }
  }

  /// Binds values from a position on, and runs. Nothing is copied: their bytes stay where they are until the statement has run.
  func run(with row: Values, from first: Int32) throws -> Int {
    try withExtendedLifetime(row) {
      row.lendEach { bind($1, at: first + Int32($0), sqliteStatic) }
      return try run()
    }
  }

  func bind(_ integer: Int64, at index: Int32) { sqlite3_bind_int64(handle, index, integer) }

  func bind(_ text: String, at index: Int32) {
    var text = text
    text.withUTF8 { buffer in
      _ = sqlite3_bind_text64(
        handle, index, pointer(UnsafeRawBufferPointer(buffer)), UInt64(buffer.count), sqliteTransient,
        UInt8(SQLITE_UTF8))
    }
  }

  /// True when a row is there.
  func step() throws -> Bool {
    let code = sqlite3_step(handle)
    switch code {
    case SQLITE_ROW: return true
    case SQLITE_DONE: return false
    default:
      let error = Self.error(code, connection, sql)
      sqlite3_reset(handle)
      throw error
    }
  }

  /// Runs a statement that gives no rows, and makes it ready again. Returns how many rows it changed.
  @discardableResult
  func run() throws -> Int {
    _ = try step()
    sqlite3_reset(handle)
    return Int(sqlite3_changes64(connection))
  }

  /// A column that holds text.
  func text(_ column: Int32) -> String {
    sqlite3_column_text(handle, column).map {
      String(
        decoding: UnsafeRawBufferPointer(start: $0, count: Int(sqlite3_column_bytes(handle, column))), as: UTF8.self)
    } ?? ""
  }
  func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(handle, column) }
  func isNull(_ column: Int32) -> Bool { sqlite3_column_type(handle, column) == SQLITE_NULL }

  /// The value as it is stored; its bytes are copied.
  func value(_ column: Int32) -> Value { Value(lent(column)) }

  /// The value as it is stored; its bytes are there until the statement goes on.
  func lent(_ column: Int32) -> LentValue {
    switch sqlite3_column_type(handle, column) {
    case SQLITE_INTEGER: .integer(sqlite3_column_int64(handle, column))
    case SQLITE_FLOAT: .real(sqlite3_column_double(handle, column))
    case SQLITE_TEXT: .text(bytes(sqlite3_column_text(handle, column), column))
    case SQLITE_BLOB: .blob(bytes(sqlite3_column_blob(handle, column), column))
    default: .null
    }
  }

  /// Adds a value to a digest without copying it.
  func digest(_ column: Int32, into digest: inout Digest) {
    digest.combine(lent: lent(column))
  }

  private func bytes(_ start: UnsafeRawPointer?, _ column: Int32) -> UnsafeRawBufferPointer {
    // The length is asked for after the pointer: https://www.sqlite.org/c3ref/column_blob.html
    UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : Int(sqlite3_column_bytes(handle, column)))
  }

  private func pointer(_ buffer: UnsafeRawBufferPointer) -> UnsafePointer<CChar> {
    // An empty text has no address of its own, and NULL would bind NULL.
    buffer.baseAddress?.assumingMemoryBound(to: CChar.self) ?? emptyText
  }

  private static func error(_ code: Int32, _ connection: OpaquePointer, _ sql: String) -> DatabaseError {
    DatabaseError(
      resultCode: ResultCode(rawValue: sqlite3_extended_errcode(connection)),
      message: String(cString: sqlite3_errmsg(connection)), sql: sql)
  }
}

/// What holds for all connections of the process; to be asked for before the first is opened.
let sqliteIsSetUp: Void = drover_sqlite3_count_no_memory()

/// The bytes are copied before the call returns (https://www.sqlite.org/c3ref/c_static.html).
private nonisolated(unsafe) let sqliteTransient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
/// The bytes stay where they are.
private let sqliteStatic: sqlite3_destructor_type? = nil
/// One NUL byte that lives as long as the process.
private nonisolated(unsafe) let emptyText = UnsafePointer<CChar>(UnsafeMutablePointer<CChar>.allocate(capacity: 1))
