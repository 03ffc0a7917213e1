// How many statements the connections of this process run on one file: SQLite tells of each one that begins.
// https://www.sqlite.org/c3ref/trace_v2.html

import GRDBSQLite
import Synchronization

enum StatementCount {
  private static let counts = Mutex<[String: Int]>([:])

  /// Runs with every connection that is opened from now on.
  private static let installed: Void = {
    typealias Entry =
      @convention(c) (OpaquePointer?, UnsafeMutablePointer<UnsafePointer<CChar>?>?, UnsafeRawPointer?) -> Int32
    let entry: Entry = { connection, _, _ in
      sqlite3_trace_v2(
        connection, UInt32(SQLITE_TRACE_STMT), { _, _, statement, _ in StatementCount.note(statement) }, nil)
    }
    // "all entry points have the signature of an extension's", whatever the header says.
    sqlite3_auto_extension(unsafeBitCast(entry, to: (@convention(c) () -> Void).self))
  }()

  private static func note(_ statement: UnsafeMutableRawPointer?) -> Int32 {
    guard let name = sqlite3_db_filename(sqlite3_db_handle(OpaquePointer(statement)), "main") else { return 0 }
    counts.withLock { $0[String(cString: name), default: 0] += 1 }
    return 0
  }

  /// Of what `body` does with a file.
  static func of(_ path: String, _ body: () throws -> Void) rethrows -> Int {
    installed
    func count() -> Int { counts.withLock { $0[path] ?? 0 } }
    let before = count()
    try body()
    return count() - before
  }
}
