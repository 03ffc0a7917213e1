// A backup of a database that others write to meanwhile: SQLite's online backup in small steps, into a file of another name, which gets
// its own name only when SQLite has found nothing wrong with it. The database itself is only read.
//
// In WAL mode the copy is of one moment, that of its beginning, and holds up no other program. With a rollback journal each step takes the lock that
// readers take; a commit in between makes SQLite begin again (https://www.sqlite.org/backup.html), so steps grow until one is the whole.

private import Foundation
import GRDB
private import Synchronization

package struct BackupError: Error, CustomStringConvertible {
  package let description: String
}

/// A backup that was made.
package struct BackupFile: Equatable, Sendable {
  package var path: String
  package var bytes: Int64
  /// When it was begun, microseconds since 1970.
  package var at: Int64

  package init(path: String, bytes: Int64, at: Int64) {
    self.path = path
    self.bytes = bytes
    self.at = at
  }
}

/// Makes backups of one database in one folder; on whichever thread asks, which it blocks.
package final class DatabaseBackup: Sendable {
  private let database: String
  private let folder: String
  private let state = Mutex(State())
  /// Called between two steps, to show that the work moves.
  private let beat: @Sendable () -> Void

  private struct State {
    var isCancelled = false
    /// The copy, while SQLite checks it.
    var checked: DatabaseQueue?
  }

  /// 1 MiB of the usual pages, then more, then all.
  private static let pagesOfStep: [Int32] = [256, 4096, 65_536, -1]
  /// So often a commit of another connection may make SQLite begin again before steps grow.
  private static let mostRestarts = 3
  /// Between two steps, in microseconds: others come first.
  private static let rest: UInt32 = 1000
  /// So often a lock is tried for, half a minute at least.
  private static let mostTries = 30_000

  package init(database: String, folder: String, beat: @escaping @Sendable () -> Void = {}) {
    self.database = database
    self.folder = folder
    self.beat = beat
  }

  /// Ends `make` soon, from any thread, with nothing made.
  package func cancel() {
    state.withLock { state in
      state.isCancelled = true
      state.checked?.interrupt()
    }
  }

  package var isCancelled: Bool { state.withLock { $0.isCancelled } }

  /// SQLite's check runs, in which nothing can be seen to move.
  package var isChecking: Bool { state.withLock { $0.checked != nil } }

  /// Makes a backup. Nothing that is there is touched but a backup of the same second.
  /// - Parameter now: microseconds since 1970.
  /// - Throws: what went wrong and what to do; then there is no new backup.
  package func make(now: Int64) throws(BackupError) -> BackupFile {
    guard FileModes.makeFolder(folder, like: database) else {
      throw failure("make the folder: \(String(cString: strerror(errno)))")
    }
    let lock = try lockFolder()
    defer { close(lock) }
    let names = BackupNames(database: database)
    let unfinished = "\(folder)/\(names.unfinished)"
    removeUnfinished(unfinished)
    defer { removeUnfinished(unfinished) }
    do {
      try copy(to: unfinished)
      try check(unfinished)
      let bytes = try flush(unfinished)
      let path = "\(folder)/\(names.name(at: now))"
      guard rename(unfinished, path) == 0 else { throw EdgeFileError("rename", unfinished, errno) }
      guard fsync(lock) == 0 else { throw EdgeFileError("flush", folder, errno) }
      return BackupFile(path: path, bytes: bytes, at: now)
    } catch let error as BackupError {
      throw error
    } catch let error as DatabaseError {
      throw failure(error.explanation)
    } catch {
      throw failure("\(error)")
    }
  }

  /// Removes the oldest backups of this database beyond `keep`. Anything else in the folder is left alone.
  /// - Parameter newest: it stays, whatever its name says: the clock may have gone back.
  package func prune(keep: Int, newest: BackupFile) throws(BackupError) {
    let names = BackupNames(database: database)
    let others: [String]
    do {
      others = try FileManager.default.contentsOfDirectory(atPath: folder)
        .filter { names.isBackup($0) && "\(folder)/\($0)" != newest.path && isFile("\(folder)/\($0)") }.sorted()
    } catch {
      throw failure("look for old ones: \(error.localizedDescription)")
    }
    for name in others.dropLast(keep - 1) {
      guard unlink("\(folder)/\(name)") == 0 else {
        throw failure("remove the old \(folder)/\(name): \(String(cString: strerror(errno)))")
      }
    }
  }

  // MARK: Steps

  private func copy(to unfinished: String) throws {
    let source = try open(database)
    defer { try? source.close() }
    try source.inDatabase { source in
      let isWAL = try String.fetchOne(source, sql: "PRAGMA journal_mode") == "wal"
      if isWAL { try source.execute(sql: "BEGIN; SELECT 1 FROM sqlite_master") }
      defer { if isWAL { try? source.execute(sql: "COMMIT") } }
      for pages in Self.pagesOfStep {
        // What a copy that was given up has left behind is no database.
        removeUnfinished(unfinished)
        FileModes.make(unfinished, like: database)
        let target = try DatabaseQueue(path: unfinished, configuration: Configuration())
        defer { try? target.close() }
        try target.inDatabase { target in
          // No other program knows the file until it is flushed and renamed, so no step need wait for the disk while it holds a lock.
          try target.execute(sql: "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
        }
        if try copy(source, to: target, pages) { break }
      }
    }
  }

  private struct TooManyRestarts: Error {}

  /// False when commits of others came in between too often.
  private func copy(_ source: Database, to target: DatabaseQueue, _ pages: Int32) throws -> Bool {
    var left = Int.max
    var restarts = 0
    do {
      try target.inDatabase { target in
        try source.backup(to: target, pagesPerStep: pages) { progress in
          if progress.remainingPageCount >= left { restarts += 1 }
          left = progress.remainingPageCount
          if restarts > Self.mostRestarts { throw TooManyRestarts() }
          try self.pause()
        }
      }
      return true
    } catch is TooManyRestarts {
      return false
    }
  }

  private func pause() throws(BackupError) {
    guard !isCancelled else { throw failure("stopped before it was ready") }
    beat()
    usleep(Self.rest)
  }

  private func check(_ unfinished: String) throws {
    try pause()
    let copy = try open(unfinished)
    defer { try? copy.close() }
    state.withLock { $0.checked = copy }
    defer { state.withLock { $0.checked = nil } }
    let found: [String]
    do {
      found = try copy.inDatabase { try String.fetchAll($0, sql: "PRAGMA integrity_check(5)") }
    } catch let error as DatabaseError where error.saysDamaged {
      found = [error.explanation]
    }
    guard found == ["ok"] else {
      throw failure(
        "the copy is damaged, so it was deleted; the database may be damaged, too: integrity_check finds \(found.joined(separator: "; ")); older backups are untouched"
      )
    }
  }

  /// Returns the file's size.
  private func flush(_ path: String) throws(EdgeFileError) -> Int64 {
    // SQLite has closed the file; before, this would take its locks away.
    let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw EdgeFileError("open", path, errno) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw EdgeFileError("flush", path, errno) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw EdgeFileError("look at", path, errno) }
    return Int64(status.st_size)
  }

  // MARK: Files

  private func open(_ path: String) throws -> DatabaseQueue {
    // SQLite would make one.
    guard FileManager.default.fileExists(atPath: path) else { throw failure("there is no such file") }
    var configuration = Configuration()
    // SQLite's own waiting looks every tenth of a second at last, and would hardly meet a gap between the writes of a busy app.
    configuration.busyMode = .callback { tries in
      usleep(Self.rest)
      return tries < Self.mostTries
    }
    configuration.foreignKeysEnabled = false
    configuration.label = "drover backup"
    return try DatabaseQueue(path: path, configuration: configuration)
  }

  /// One backup at a time goes into a folder. The descriptor holds the lock.
  private func lockFolder() throws(BackupError) -> Int32 {
    let descriptor = Glibc.open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure("open \(folder): \(String(cString: strerror(errno)))") }
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
      do throws(BackupError) {
        try pause()
      } catch {
        close(descriptor)
        throw error
      }
    }
    return descriptor
  }

  private func removeUnfinished(_ path: String) {
    for end in ["", "-journal", "-wal", "-shm"] { unlink(path + end) }
  }

  private func isFile(_ path: String) -> Bool {
    var status = stat()
    return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
  }

  private func failure(_ cause: String) -> BackupError {
    BackupError(description: "back up \(database) to \(folder): \(cause)")
  }
}
