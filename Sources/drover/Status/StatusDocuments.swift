// What a configuration's side looks like as a document: `drover status --json` prints it, and the HTTP server answers it.

import DroverConfiguration
import DroverCore
import DroverSQLite
import DroverWire
import Glibc

extension CloudConfiguration {
  /// Everything that there is to know of the cloud's side.
  func statusDocument(_ overview: CloudOverview, now: Int64) -> JSON {
    .object(
      [
        ("side", "cloud"), ("store", .string(overview.store)), ("consumer", overview.worker.document),
        ("consumers", .array(overview.workers.map(\.document))), ("backup", backupStanding?.document ?? .null),
      ] + CloudReport.members(of: overview.report, now: now)
        + [
          ("waiting_schemas", .array(overview.waiting.map(\.document))),
          ("blocked_sinks", .array(overview.blocked.map(\.document))), ("locked", overview.lock?.document ?? .null),
        ])
  }

  /// Backups of an SQLite store; who makes PostgreSQL's does not tell Drover.
  var backupStanding: BackupStatus? {
    guard case .sqlite(let path) = store else { return nil }
    return BackupStatus(path, backup)
  }
}

extension EdgeConfiguration {
  /// Looks into the app's database.
  var reader: any EdgeReader { SQLiteEdgeReader(path: database) }

  /// Looks at worklists in the app's database, and acts on them.
  var worklistDesk: any WorklistDesk {
    SQLiteWorklistDesk(path: database, declarations: streams, quota: outbox.quota)
  }

  func statusDocument(_ report: EdgeReport?, _ worker: Worker, now: Int64) -> JSON {
    .object(
      [
        ("side", "edge"), ("machine", .string(machine.text)), ("database", .string(database)),
        ("agent", worker.document), ("backup", BackupStatus(database, backup).document),
      ] + AgentConnection(database: database).members(now: now)
        + [("conflicts", AgentLock.conflicts(database: database).map { .integer(Int64($0)) } ?? .null)]
        + EdgeReport.members(
          of: report, machine: machine.text, quota: outbox.quota, lines: lines, now: now))
  }
}

/// What there is to know of a cloud store.
struct CloudOverview {
  let store: String
  /// nil where there is no store yet.
  let report: CloudReport?
  let waiting: [WaitingSchema]
  let blocked: [BlockedSink]
  let lock: StoreLock?
  let workers: [Worker]

  init(_ reader: any CloudReader, _ scope: ReportScope = .everything) throws {
    store = reader.name
    report = try reader.report(scope)
    waiting = try reader.waitingSchemas()
    blocked = try reader.blockedSinks()
    lock = reader.storeLock()
    workers = try reader.workers()
  }

  /// The consumer that counts for commands on this host.
  var worker: Worker { Worker.telling(workers, on: thisHost) }
}

/// As the store's workers name theirs.
private var thisHost: String {
  var name = [CChar](repeating: 0, count: 256)
  gethostname(&name, name.count - 1)
  return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
