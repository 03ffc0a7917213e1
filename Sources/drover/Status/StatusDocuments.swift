// What a configuration's side looks like as a document: `drover status --json` prints it, and the HTTP server answers it.

import DroverConfiguration
import DroverCore
import DroverSQLite
import DroverWire

extension CloudConfiguration {
  /// Looks into the store; ends a command whose store has no reader yet.
  func reader(for command: String) throws -> any CloudReader {
    SQLiteCloudReader(path: try sqlitePath(for: command))
  }

  /// - Parameter path: the SQLite store.
  func statusDocument(
    _ report: CloudReport?, _ waiting: [WaitingSchema], _ worker: Worker, store path: String, now: Int64
  ) -> JSON {
    .object(
      [
        ("side", "cloud"), ("store", .string(path)), ("consumer", worker.document),
        ("backup", BackupStanding(path, backup).document),
      ] + CloudReport.members(of: report, now: now) + [("waiting_schemas", .array(waiting.map(\.document)))])
  }
}

extension EdgeConfiguration {
  /// Looks into the app's database.
  var reader: any EdgeReader { SQLiteEdgeReader(path: database) }

  func statusDocument(_ report: EdgeReport?, _ worker: Worker, now: Int64) -> JSON {
    .object(
      [
        ("side", "edge"), ("machine", .string(machine.text)), ("database", .string(database)),
        ("agent", worker.document), ("backup", BackupStanding(database, backup).document),
      ] + EdgeReport.members(of: report, quota: outbox.quota, lines: lines, now: now))
  }
}
