import DroverCore
import DroverSQLite
import DroverTesting
import Foundation
import GRDB
import Testing

/// The cloud's store in SQLite: what every store must hold, and what is this one's own.
@Suite(.ownThread) struct SQLiteCloudStoreTests {
  @Test(arguments: CloudStoreConformance.rows)
  func `rows and tombstones: it holds what every store must`(claim: CloudStoreConformance.Claim) throws {
    try check(claim)
  }

  @Test(arguments: CloudStoreConformance.descriptions)
  func `descriptions and sink tables: it holds what every store must`(claim: CloudStoreConformance.Claim) throws {
    try check(claim)
  }

  @Test(arguments: CloudStoreConformance.received)
  func `what was received, epochs and records: it holds what every store must`(claim: CloudStoreConformance.Claim)
    throws
  { try check(claim) }

  @Test(arguments: CloudStoreConformance.deadLetters)
  func `dead letters: it holds what every store must`(claim: CloudStoreConformance.Claim) throws { try check(claim) }

  @Test(arguments: CloudStoreConformance.wholeTransactions)
  func `whole transactions: it holds what every store must`(claim: CloudStoreConformance.Claim) throws {
    try check(claim)
  }

  private func check(_ claim: CloudStoreConformance.Claim) throws {
    let suite = CloudStoreConformance { conditions in
      let folder = try Folder()
      return (try store(folder, conditions), Reader(folder: folder))
    }
    try suite.check(claim)
  }

  private func store(_ folder: Folder, _ conditions: CloudStoreConditions = CloudStoreConditions()) throws
    -> SQLiteCloudStore
  {
    try SQLiteCloudStore(
      path: folder.path,
      limits: conditions.limits,
      now: conditions.now)
  }

  private let machine = try! MachineID("MAH001")
  private let schema = try! StreamSchema(
    kind: .snapshot, columns: [Column(name: "id", declaredType: "INTEGER"), Column(name: "a", declaredType: "TEXT")],
    key: [0])

  private func sink(_ name: String) throws -> Sink {
    Sink(machine: machine, stream: try StreamName(name), kind: .snapshot, schema: schema)
  }

  private func event(_ id: Int64, _ version: Int64, _ content: Content? = nil) -> SinkEvent {
    SinkEvent(
      seq: nil, localID: String(id), version: version, at: nil, key: [.integer(id)],
      content: content ?? .row([.integer(id), .text("v\(version)")]), raw: [])
  }

  @Test func `everything is there again when the store is opened anew`() throws {
    let folder = try Folder()
    let epoch = Epoch(random: 1)
    let stream = try StreamName("stock")
    do {
      let store = try store(folder)
      try store.transaction { transaction throws in
        _ = try transaction.adopt(schema, machine: machine, stream: stream)
        _ = try transaction.merge([event(1, 5), event(2, 9, Content.none)], epoch: epoch, into: sink("stock"))
        try transaction.setReceived(
          IntervalSet([Interval(after: 0, through: 3)]), machine: machine, epoch: epoch, stream: stream)
        try transaction.raise(Run(number: 4, reached: 3), machine: machine, epoch: epoch)
        try transaction.heard(machine: machine, epoch: epoch)
        try transaction.setSession("s")
      }
    }
    let store = try store(folder)
    try store.transaction { transaction throws in
      #expect(try transaction.schema(schema.id, machine: machine, stream: stream) == schema)
      #expect(try transaction.received(machine: machine, epoch: epoch, stream: stream).front == 3)
      #expect(try transaction.runs(machine: machine, epoch: epoch) == Runs([Run(number: 4, reached: 3)]))
      #expect(try transaction.machines() == [machine: epoch])
      #expect(try transaction.session() == "s")
      #expect(
        try transaction.merge([event(1, 4), event(2, 8), event(1, 6)], epoch: epoch, into: sink("stock")) == [
          .superseded, .superseded, .applied,
        ])
    }
  }

  @Test func `what was received is what was set last, whatever was there before`() throws {
    let folder = try Folder()
    let store = try store(folder)
    let (epoch, stream) = (Epoch(random: 1), try StreamName("stock"))
    let sets: [[(Int64, Int64)]] = [
      [(0, 3)], [(0, 7)], [(0, 7), (9, 12), (20, 21)], [(0, 12), (20, 21), (30, 31)], [(0, 31)], [(4, 6), (8, 9)],
      [(5, 6)], [], [(0, 2)], [(1, 2), (3, 4)],
    ]
    for set in sets {
      let wanted = IntervalSet(set.map { Interval(after: $0.0, through: $0.1) })
      try store.transaction { try $0.setReceived(wanted, machine: machine, epoch: epoch, stream: stream) }
      try store.transaction { transaction throws in
        #expect(try transaction.received(machine: machine, epoch: epoch, stream: stream) == wanted)
        #expect(
          try transaction.receivedStreams(machine: machine, epoch: epoch) == (set.isEmpty ? [:] : [stream: wanted]))
      }
    }
  }

  @Test func `a commit is durable, and a reader is never in its way`() throws {
    let folder = try Folder()
    let store = try store(folder)
    let reader = try folder.connect()
    try reader.read { database in
      #expect(try String.fetchOne(database, sql: "PRAGMA journal_mode") == "wal")
      // This reader's snapshot is open while the store commits.
      #expect(try Int.fetchOne(database, sql: "SELECT count(*) FROM drover_machine") == 0)
      try store.transaction { try $0.heard(machine: machine, epoch: nil) }
      #expect(try Int.fetchOne(database, sql: "SELECT count(*) FROM drover_machine") == 0)
    }
    #expect(try reader.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM drover_machine") } == 1)
  }

  // The description of a stream named like an operator's index failed in the database, at every delivery again.
  @Test(arguments: [
    "CREATE INDEX taken ON drover_sink (kind)", "CREATE VIEW taken AS SELECT 1", "CREATE TABLE TAKEN (x)",
  ])
  func `a name that is taken by anything is refused`(sql: String) throws {
    let folder = try Folder()
    let store = try store(folder)
    try folder.connect().write { try $0.execute(sql: sql) }
    let stream = try StreamName("taken")
    #expect(
      try store.transaction { try $0.adopt(schema, machine: machine, stream: stream) }?.contains("not Drover's") == true
    )
    #expect(try store.transaction { try $0.merge([event(1, 1)], epoch: nil, into: sink("other")) } == [.applied])
  }

  // A table that is added later is one that `drover forget` has to know.
  @Test
  func `every table that names machines goes with a machine that is forgotten, but for the account of dead letters`()
    throws
  {
    let folder = try Folder()
    let store = try store(folder)
    defer { withExtendedLifetime(store) {} }
    let tables = try folder.connect().read { database in
      try String.fetchAll(database, sql: "SELECT name FROM sqlite_master WHERE type = 'table'").filter { name in
        try Row.fetchAll(database, sql: "PRAGMA table_info(\(name))").contains { $0["name"] == "machine_id" }
      }
    }
    #expect(
      Set(tables)
        == Set(ForgottenMachines.bookkeeping + ForgottenMachines.ofRows).union([
          "drover_dead_letter", "drover_dead_use", "drover_dead_dropped",
        ]))
  }

  @Test func `a store that cannot be opened says which file`() throws {
    #expect { try SQLiteCloudStore(path: "/nowhere/cloud.db") } throws: { "\($0)".contains("/nowhere/cloud.db") }
    let folder = try Folder()
    try Data("this is no database, and long enough to be looked at".utf8).write(to: URL(fileURLWithPath: folder.path))
    #expect { try SQLiteCloudStore(path: folder.path) } throws: {
      "\($0)".contains("\(folder.path) is no SQLite database: it is a text file")
    }
  }

  @Test func `an error of the database names no row's content`() throws {
    let folder = try Folder()
    let store = try store(folder)
    _ = try store.transaction { try $0.adopt(schema, machine: machine, stream: StreamName("stock")) }
    try folder.connect().write {
      // One row alone: a table that takes none makes its stream wait.
      try $0.execute(
        sql: "CREATE TRIGGER no BEFORE INSERT ON stock WHEN NEW.id = 1 BEGIN SELECT RAISE(ABORT, 'not today'); END")
    }
    let outcome = try store.transaction {
      try $0.merge([event(1, 1, .row([.integer(1), .text("secret")]))], epoch: nil, into: sink("stock"))
    }
    guard case .refused(.store, let detail) = outcome[0] else {
      Issue.record("\(outcome)")
      return
    }
    #expect(detail.contains("not today"))
    #expect(!detail.contains("secret"))
  }

  // The tombstone went before the row was written. When the table refused the row, an older event brought the deleted row back.
  @Test func `a row that the table refuses leaves the tombstone before it`() throws {
    let folder = try Folder()
    let store = try store(folder)
    func merge(_ event: SinkEvent) throws -> MergeOutcome {
      try store.transaction { try $0.merge([event], epoch: nil, into: sink("stock")) }[0]
    }
    #expect(try merge(event(1, 5, Content.none)) == .applied)
    let other = try folder.connect()
    try other.write {
      try $0.execute(
        sql: "CREATE TRIGGER no BEFORE INSERT ON stock WHEN NEW.id = 1 BEGIN SELECT RAISE(ABORT, 'not today'); END")
    }
    let outcome = try merge(event(1, 6))
    guard case .refused(.store, _) = outcome else {
      Issue.record("the trigger should have refused it: \(outcome)")
      return
    }
    try other.write { try $0.execute(sql: "DROP TRIGGER no") }
    #expect(try merge(event(1, 4)) == .superseded)
    #expect(try merge(event(1, 7)) == .applied)
  }

  @Test func `the report tells of machines, streams, rows and dead letters`() throws {
    let folder = try Folder()
    #expect(try SQLiteCloudReader(path: folder.path).report() == nil)
    var conditions = CloudStoreConditions()
    conditions.now = { 1_000_500 }
    let store = try store(folder, conditions)
    let stream = try StreamName("stock")
    let other = try MachineID("MAH002")
    let standing = OutboxFigures(waiting: 7, oldest: 400_000, deadLetters: 2, freeBytes: nil)
    try store.transaction { transaction throws in
      _ = try transaction.merge([event(1, 1_000_000), event(2, 1_000_100)], epoch: nil, into: sink("stock"))
      var progress = StreamProgress()
      progress.applied = 2
      progress.version = 1_000_100
      try transaction.note(progress, machine: machine, stream: stream)
      progress.applied = 0
      progress.superseded = 3
      progress.refused = 1
      progress.version = 900_000
      try transaction.note(progress, machine: machine, stream: stream)
      try transaction.heard(machine: machine, epoch: nil)
      for (isOnline, outbox) in [(true, standing), (true, nil), (false, nil)] as [(Bool, OutboxFigures?)] {
        try transaction.setStatus(
          MachineStatus(isOnline: isOnline, epoch: nil, software: "1", at: nil, outbox: outbox), machine: other)
      }
      for raw in [[1], [1], [2]] as [[UInt8]] {
        try transaction.addDeadLetter(
          DeadLetter(topic: "t", machine: machine, stream: nil, reason: .event, detail: "", raw: raw[...]))
      }
      try transaction.addDeadLetter(
        DeadLetter(topic: "t", machine: nil, stream: nil, reason: .topic, detail: "", raw: []))
    }
    let found = try SQLiteCloudReader(path: folder.path).report()
    let report = try #require(found)
    #expect(report.machines.map(\.name) == ["MAH001", "MAH002"])
    #expect(report.machines.map(\.isOnline) == [nil, false])
    #expect(report.machines.map(\.outbox?.figures) == [nil, standing], "it is known until the machine tells another")
    let told = try #require(report.machines[1].outbox)
    #expect(
      report.machines[1].oldestUnconfirmed(now: told.at + 5) == told.at + 5 - 400_000, "nothing is confirmed meanwhile")
    #expect(report.machines.map(\.deadLetters) == [2, 0])
    #expect(report.deadLetters.present == 3)
    let figures = try #require(report.machines[0].streams.first)
    #expect(report.machines[0].streams.count == 1 && report.machines[1].streams.isEmpty)
    #expect(figures.rows == 2 && figures.applied == 2 && figures.superseded == 3 && figures.refused == 1)
    #expect(figures.lag == 400)
  }
}

/// A folder with the cloud's database; it goes with the last who holds it.
final class Folder {
  let path: String
  private let folder: String
  /// Holds what Drover's connections run.
  let plans: QueryPlans

  init() throws {
    folder = FileManager.default.temporaryDirectory.appending(path: "drover-cloud-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    path = folder + "/cloud.db"
    plans = QueryPlans(watching: folder)
  }

  deinit {
    plans.end()
    try? FileManager.default.removeItem(atPath: folder)
  }

  func connect() throws -> DatabaseQueue { try QueryPlans.ofTest { try DatabaseQueue(path: path) } }
}

struct Reader: SinkReader {
  let folder: Folder
  /// Bookkeeping of the change feed, which is no part of what every store has.
  var hidden: Set<String> = []

  func rows(of table: String) throws -> [[String: Value]] {
    let columns = try allColumns(of: table)
    return try folder.connect().read { database in
      try rawRows(database, "SELECT * FROM \"\(table.replacing("\"", with: "\"\""))\"").map {
        Dictionary(uniqueKeysWithValues: zip(columns, $0).filter { !hidden.contains($0.0) })
      }
    }
  }

  func columns(of table: String) throws -> [String] { try allColumns(of: table).filter { !hidden.contains($0) } }

  private func allColumns(of table: String) throws -> [String] {
    try folder.connect().read { database in
      try Row.fetchAll(database, sql: "PRAGMA table_info(\"\(table.replacing("\"", with: "\"\""))\")").map {
        $0["name"]
      }
    }
  }

  func deadLetters() throws -> [KeptDeadLetter] {
    try folder.connect().read { database in
      try Row.fetchAll(database, sql: "SELECT * FROM drover_dead_letter ORDER BY id").map { row in
        KeptDeadLetter(
          topic: row["topic"], machine: row["machine_id"], stream: row["stream"], reason: row["reason"],
          detail: row["detail"],
          raw: Array(row["raw"] as Data), bytes: row["bytes"], count: row["count"])
      }
    }
  }

  func makeForeignTable(_ name: String) throws {
    try folder.connect().write { try $0.execute(sql: "CREATE TABLE \"\(name)\" (mine)") }
  }
}
