// The files that a connection to the edge's database has open, by device and inode. SQLite goes on with a file that was moved away, unlinked
// or replaced, and so it would read and report a database that no other process can see.

private import CSQLite
import DroverCore
private import Foundation
import GRDB

struct OpenFiles {
  /// The configured path, links included.
  let path: String
  /// Where SQLite has its -wal, -shm and -journal.
  let resolved: String
  private let main: FileIdentity
  /// Known as soon as the connection has used them. They stay the same while it is open: only the last connection removes them, and the
  /// journal mode cannot be changed meanwhile.
  private var wal: FileIdentity?
  private var shm: FileIdentity?

  /// - Throws: `EdgeStoreError` when there is no such file, or it is replaced at this moment.
  init(_ path: String, _ database: Database) throws {
    self.path = path
    resolved = DatabaseFile.resolved(path)
    guard let main = FileIdentity(of: path), !Self.hasMoved(database) else { throw Self.isGone(path) }
    self.main = main
    try noteWAL(database)
  }

  static func isGone(_ path: String) -> EdgeStoreError {
    .failed("open \(path): the database is gone; the agent waits until there is one again, and attaches it then")
  }

  /// Why the database is no longer the one that has the name; completes "because …". nil while it is. It costs four looks at names.
  mutating func change(_ database: Database) throws -> String? {
    guard let now = FileIdentity(of: path) else { return "\(path) is gone" }
    guard now == main else { return "another file stands at \(path) now" }
    // Where a link to the file stands in its place, SQLite has the WAL and the journal beside the file, and an app looks for them there.
    guard hasItsName else { return "\(path) is a link to the file now, which has another name" }
    guard wal != nil else {
      try noteWAL(database)
      return nil
    }
    guard hasItsWAL else { return "\(resolved)-wal or -shm was removed while it was in use" }
    return nil
  }

  private var hasItsName: Bool { FileIdentity(of: resolved, followingLinks: false) == main }

  private var hasItsWAL: Bool {
    FileIdentity(of: resolved + "-wal") == wal && FileIdentity(of: resolved + "-shm") == shm
  }

  /// Right after the connection has used the file, so that what stands there is what it has open.
  private mutating func noteWAL(_ database: Database) throws {
    guard let wal = FileIdentity(of: resolved + "-wal"),
      try String.fetchOne(database, sql: "PRAGMA journal_mode") == "wal", let shm = FileIdentity(of: resolved + "-shm")
    else { return }
    (self.wal, self.shm) = (wal, shm)
  }

  /// Before the connection is closed, of which the file was moved away, replaced or put back past SQLite: what is in the WAL must not come into
  /// a database that it is not of.
  /// - Throws: `EdgeStoreError` while that cannot be prevented yet.
  func partFromWAL(_ database: Database) throws {
    guard wal != nil else { return }
    defer { drover_sqlite3_close_without_checkpoint(database.sqliteConnection) }
    guard !hasItsName, hasItsWAL else { return }
    // The WAL lies beside another database, and the next to open that one would read it as its own. What it holds goes into the database that it
    // is of, wherever that is now, and it is empty from then on.
    let isBusy = try Int.fetchOne(database, sql: "PRAGMA wal_checkpoint(TRUNCATE)") != 0
    guard !isBusy else {
      throw EdgeStoreError.failed(
        "leave \(resolved): another file has its name now, and \(resolved)-wal, which belongs to the old one, is in use; stop the app, or wait until it has closed the file before"
      )
    }
  }

  /// Whether the file that SQLite opened no longer has the name by which it opened it.
  private static func hasMoved(_ database: Database) -> Bool {
    var moved: Int32 = 0
    return sqlite3_file_control(database.sqliteConnection, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK
      && moved != 0
  }

  /// Throws while a database that has come to the path should not be opened yet: it is still empty, or a journal lies beside it that may be of
  /// the file before it and would be rolled back into it.
  static func requireReady(_ path: String) throws(EdgeStoreError) {
    var status = stat()
    guard stat(path, &status) == 0 else { throw isGone(path) }
    guard status.st_size > 0 else {
      throw .failed("open \(path): it is empty; the agent waits until the app has made its tables")
    }
    let journal = DatabaseFile.resolved(path) + "-journal"
    // The journal holds no locks of SQLite's, so it may be opened and closed.
    if let handle = FileHandle(forReadingAtPath: journal) {
      defer { try? handle.close() }
      if let first = try? handle.read(upToCount: 1)?.first, first != 0 {
        throw .failed(
          "open \(path): \(journal) exists: it belongs to a transaction in progress or to the file before; the agent waits until the app has finished it. If no app is running, and the journal is older than the database, move it away"
        )
      }
    }
  }
}
