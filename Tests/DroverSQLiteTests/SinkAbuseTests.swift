import DroverCore
import DroverProcesses
import DroverSQLite
import DroverTesting
import GRDB
import Testing

/// One thing that somebody did to one sink table stopped every stream of every machine.
@Suite(.ownThread) struct SinkAbuseTests {
  private struct Vandal: SinkVandal {
    let queue: DatabaseQueue

    func run(_ sql: String) throws { try queue.write { try $0.execute(sql: sql) } }
    func begin(_ sql: String) throws {}
    func end() throws {}

    func rows(_ sql: String) throws -> [String] {
      try queue.read { database in
        try Row.fetchAll(database, sql: sql).map { row in
          row.databaseValues.map { $0.isNull ? "" : String.fromDatabaseValue($0) ?? "\(Int64.fromDatabaseValue($0)!)" }
            .joined(separator: "|")
        }.sorted()
      }
    }
  }

  @Test(arguments: SinkAbuse.all(for: .sqlite))
  func `what somebody does to a sink table holds back its own stream only, is told, and all is equal in the end`(
    abuse: SinkAbuse
  ) throws {
    let app = try AppDatabase()
    let store = try SQLiteCloudStore(path: app.path)
    try SinkAbuseConformance(
      store: store, replica: SQLiteReplica(path: app.path), vandal: Vandal(queue: DatabaseQueue(path: app.path)),
      kind: .sqlite
    ).check(abuse)
  }

  @Test(arguments: DeletedNotes.all(for: .sqlite))
  func `notes that somebody deletes are made again, or a comparison says what is missing`(notes: DeletedNotes) throws {
    let folder = try TemporaryFolder()
    let path = folder.file("cloud.db")
    try SinkNotesConformance(
      store: SQLiteCloudStore(path: path), replica: SQLiteReplica(path: path),
      vandal: Vandal(queue: DatabaseQueue(path: path))
    ).check(notes)
  }

  @Test(arguments: SinkProbeConformance.rules)
  func `an empty table that takes no row holds back the stream, and one that takes some refuses the others`(
    rule: SinkProbeConformance.Rule
  ) throws {
    let app = try AppDatabase()
    try SinkProbeConformance(
      store: SQLiteCloudStore(path: app.path), vandal: Vandal(queue: DatabaseQueue(path: app.path)), kind: .sqlite
    ).check(rule)
  }
}
