// Backups of an SQLite database at an interval: the configuration's words and DroverSQLite's backups, joined.

import DroverConfiguration
import DroverCore
import DroverServices
import DroverSQLite
import Logging

extension RegularBackup {
  /// nil when the configuration sets no interval.
  init?(_ database: String, _ plan: BackupPlan, beat: @escaping @Sendable () -> Void, logger: Logger) {
    guard let every = plan.every else { return nil }
    self.init(
      in: DatabaseBackups(database: database, plan: plan), every: every, beat: beat, wallClock: wallClock,
      logger: logger)
  }
}

private struct DatabaseBackups: BackupPlace {
  let database: String
  let plan: BackupPlan

  func last() -> (made: Int64?, failed: Int64?) {
    let record = BackupRecord.read(database: database)
    return (record?.made?.at, record?.failure?.at)
  }

  func begin(beat: @escaping @Sendable () -> Void) -> any RunningBackup {
    Running(
      backup: DatabaseBackup(database: database, folder: plan.folder, beat: beat), database: database, keep: plan.keep)
  }

  private struct Running: RunningBackup {
    let backup: DatabaseBackup
    let database: String
    let keep: Int

    func make() throws -> (path: String, bytes: Int64) {
      let made = try backup.makeAndNote(database, keep: keep)
      return (made.path, made.bytes)
    }

    func cancel() { backup.cancel() }
    var isCancelled: Bool { backup.isCancelled }
    var isChecking: Bool { backup.isChecking }
  }
}
