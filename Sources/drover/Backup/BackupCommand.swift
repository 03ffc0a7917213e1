import ArgumentParser
import DroverConfiguration
import DroverCore
import DroverSQLite
import Foundation

struct BackupCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "backup",
    abstract: "Makes a backup of the app's database or of the cloud's store while it is in use.",
    discussion: """
      Examples:
        drover backup --config edge.yaml
        drover backup --config cloud.yaml --to /mnt/usb

      The backup goes to `backup.folder` of the configuration. Its name has the time (UTC), and it has passed SQLite's integrity check.
      Only the newest `backup.keep` backups stay. With --to nothing is removed. With `backup.every` the agent and the consumer make
      backups by themselves; `drover status` shows the last one.
      """)

  @OptionGroup var options: ConfigurationOption
  @Option(help: ArgumentHelp("Write it into this folder instead.", valueName: "folder"))
  var to: String?

  func run() async throws {
    let database: String
    let plan: BackupPlan
    switch try options.any() {
    case .edge(let configuration): (database, plan) = (configuration.database, configuration.backup)
    case .cloud(let configuration):
      let path = try configuration.sqlitePath(
        for: "backup", orElse: "pg_dump makes a PostgreSQL database's backup (docs/how-to/back-up-and-restore.md)")
      (database, plan) = (path, configuration.backup)
    }
    let backup = DatabaseBackup(database: database, folder: to ?? plan.folder)
    do {
      let made = try backup.makeAndNote(database, keep: to == nil ? plan.keep : nil)
      print("\(made.path): \(byteText(made.bytes)), checked")
    } catch {
      throw fail("\(error)")
    }
  }
}

extension DatabaseBackup {
  /// Makes a backup, removes old ones beyond `keep` unless it is nil, and writes down what became of it for `drover status`.
  func makeAndNote(_ database: String, keep: Int?) throws -> BackupFile {
    do {
      let made = try make(now: wallClock())
      try BackupRecord.note(made, database: database)
      if let keep { try prune(keep: keep, newest: made) }
      return made
    } catch {
      // Who stops the agent in the middle of a backup has not made it fail.
      if !isCancelled { try? BackupRecord.note(.init(at: wallClock(), reason: "\(error)"), database: database) }
      throw error
    }
  }
}
