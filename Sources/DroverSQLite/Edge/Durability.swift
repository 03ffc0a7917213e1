// Durable before published. In WAL mode with synchronous=NORMAL a power loss takes back the last commits, and an event that the cloud has
// and the machine has forgotten would meet another one under its number. So what was read is flushed before it is sent: one fdatasync
// for everything that was committed until then, without a lock and without a write of Drover's.

private import CSQLite
import Foundation
import GRDB

final class Durability {
  private let path: String
  private var wal: Int32 = -1
  private var walFile: (device: UInt, inode: UInt) = (0, 0)

  /// - Parameter path: SQLite has the WAL beside the file that it leads to.
  init(path: String) { self.path = DatabaseFile.resolved(path) }

  deinit { if wal >= 0 { close(wal) } }

  /// Returns when everything that is committed now survives a power loss.
  func flush(_ database: Database) throws(EdgeFileError) {
    try reopenWAL()
    guard wal >= 0 else { return try flushMain(database) }
    guard fdatasync(wal) == 0 else { throw EdgeFileError("flush", path + "-wal", errno) }
  }

  /// Without a WAL the commits are in the database itself, flushed by the app unless it asked SQLite not to. Through SQLite's own
  /// descriptor: closing another one of a database file drops the locks that SQLite holds on it in this process
  /// (https://www.sqlite.org/howtocorrupt.html, section 2.2). The WAL file carries no locks.
  private func flushMain(_ database: Database) throws(EdgeFileError) {
    let error = drover_sqlite3_flush(database.sqliteConnection)
    guard error == 0 else { throw EdgeFileError("flush", path, error) }
  }

  /// The WAL file comes and goes with the connections; another file needs another descriptor.
  private func reopenWAL() throws(EdgeFileError) {
    var status = stat()
    guard stat(path + "-wal", &status) == 0 else {
      if wal >= 0 { close(wal) }
      wal = -1
      return
    }
    let file = (device: UInt(status.st_dev), inode: UInt(status.st_ino))
    guard wal < 0 || file != walFile else { return }
    if wal >= 0 { close(wal) }
    wal = open(path + "-wal", O_RDONLY | O_CLOEXEC)
    guard wal >= 0 else { throw EdgeFileError("open", path + "-wal", errno) }
    walFile = file
    // A new file also needs its name in the folder.
    let folder = open(URL(fileURLWithPath: path).deletingLastPathComponent().path, O_RDONLY | O_CLOEXEC)
    if folder >= 0 {
      fsync(folder)
      close(folder)
    }
  }
}

/// A file beside the database, or the database's own, that the system does not let us use.
struct EdgeFileError: Error, CustomStringConvertible {
  let description: String

  init(_ operation: String, _ path: String, _ code: Int32) {
    description = "\(operation) \(path): \(String(cString: strerror(code)))"
  }
}
