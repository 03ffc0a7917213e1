import DroverCore
import DroverSQLite
import DroverTesting
import Foundation
import GRDB
import Testing

/// Rows that both sides edit, in the cloud's store in SQLite: what every store must hold, and what is this one's own.
@Suite struct TwoWayTests {
  private struct Client: SQLClient {
    let connection: DatabaseQueue
    func run(_ sql: String) throws { try connection.inDatabase { try $0.execute(sql: sql) } }
  }

  private static func place(_ folder: Folder, _ conditions: CloudStoreConditions = .init()) throws -> TwoWayPlace {
    let store = try SQLiteCloudStore(path: folder.path, limits: conditions.limits, now: conditions.now)
    var configuration = Configuration()
    configuration.allowsUnsafeTransactions = true
    func client() throws -> Client {
      Client(
        connection: try QueryPlans.ofTest { try DatabaseQueue(path: folder.path, configuration: configuration) })
    }
    return TwoWayPlace(
      store: store, reader: Reader(folder: folder), conflicts: try SQLiteConflicts(path: folder.path),
      replica: try SQLiteReplica(path: folder.path), client: try client(), otherClient: try client(),
      open: { try SQLiteCloudStore(path: folder.path, limits: conditions.limits, now: conditions.now) })
  }

  @Test(arguments: TwoWayConformance.claims.filter { !$0.needsSeveralWriters })
  func `it holds what every store must`(claim: TwoWayConformance.Claim) throws {
    try TwoWayConformance { try Self.place(try Folder(), $0) }.check(claim)
  }

  @Test(arguments: RowEditorConformance.claims)
  func `people edit rows as every store lets them`(claim: RowEditorConformance.Claim) throws {
    let folder = try Folder()
    try RowEditorConformance { (try Self.place(folder), SQLiteRowEditor(path: folder.path)) }.check(claim)
  }

  // Without its trigger the edit would stay in the cloud, and nobody would know.
  @Test func `an edit that no trigger captures is not made`() throws {
    let folder = try Folder()
    let place = try Self.place(folder)
    try adopt(place, schema(.both))
    try place.client.run("DROP TRIGGER drover_edit_insert_stock")
    let put = RowEditRequest(.replace([RowField(name: "a", value: .text("lost"))]))
    let origin = MachineStream(machine: machine, stream: stream)
    #expect(throws: CloudStoreError.self) { try SQLiteRowEditor(path: folder.path).edit("1", put, of: origin) }
    #expect(try SQLiteRowEditor(path: folder.path).row("1", of: origin)?.row == nil)
  }

  // Each request over HTTP opened the file, and what is kept must not be the file from before a restore.
  @Test func `the row editor keeps its connection as long as the file is the same`() throws {
    let folder = try Folder()
    let place = try Self.place(folder)
    try adopt(place, schema(.both))
    let origin = MachineStream(machine: machine, stream: stream)
    let editor = SQLiteRowEditor(path: folder.path)
    _ = try editor.row("1", of: origin)
    func open() throws -> Int {
      try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count {
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)"))?.hasPrefix(folder.path)
          == true
      }
    }
    let kept = try open()
    for _ in 1...3 { _ = try editor.rows(RowQuestion(limit: 1), of: origin) }
    #expect(try open() == kept)
    let other = try Folder()
    let restored = try Self.place(other)
    try adopt(restored, schema(.both))
    try restored.client.run("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 1, 'restored')")
    try DatabaseQueue(path: other.path).inDatabase { _ = try $0.checkpoint(.truncate) }
    for end in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: folder.path + end) }
    try FileManager.default.copyItem(atPath: other.path, toPath: folder.path)
    #expect(try editor.row("1", of: origin)?.row?.values?[1] == .text("restored"))
  }

  // MARK: SQLite's own

  private let machine = try! MachineID("MAH001")
  private let stream = try! StreamName("stock")
  private let epoch = try! Epoch("aaaa")

  private func schema(_ direction: Direction, kind: Kind = .snapshot, completeWhen: String? = nil) throws
    -> StreamSchema
  {
    try StreamSchema(
      kind: kind,
      columns: [
        Column(name: "id", declaredType: "INTEGER"), Column(name: "a", declaredType: "TEXT"),
        Column(name: "r", declaredType: "REAL"),
      ], key: [0], completeWhen: try completeWhen.map { try Condition(parsing: $0) }, flow: Flow(direction: direction))
  }

  private func adopt(_ place: TwoWayPlace, _ schema: StreamSchema) throws {
    #expect(try place.store.transaction { try $0.adopt(schema, machine: machine, stream: stream) } == nil)
  }

  private func put(_ place: TwoWayPlace, _ schema: StreamSchema, _ version: Int64, _ values: [Value]) throws {
    let event = SinkEvent(
      seq: nil, localID: "1", version: version, at: nil, key: [values[0]], content: .row(Values(values)), raw: [])
    let sink = Sink(machine: machine, stream: stream, kind: schema.kind, schema: schema)
    #expect(try place.store.transaction { try $0.merge([event], epoch: epoch, into: sink) } == [.applied])
  }

  private func entries(_ place: TwoWayPlace) throws -> [OutboxEntry] {
    try place.store.transaction { transaction in
      while try transaction.takeEdits(limit: 1000).hasMore {}
      return try transaction.downStreams(of: machine).flatMap {
        try transaction.readDown($0, after: 0, limit: 1000, maximumBytes: 1 << 20).entries
      }
    }
  }

  private func triggers(_ folder: Folder) throws -> [String] {
    try folder.connect().read {
      try String.fetchAll(
        $0, sql: "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'stock' ORDER BY 1")
    }
  }

  // Each edit made the consumer read its bookkeeping and prepare its statements again, which was a third of its work.
  @Test func `an edit makes the consumer read nothing of its bookkeeping again`() throws {
    _ = StatementCount.of("") {}
    let folder = try Folder()
    let place = try Self.place(folder)
    try adopt(place, schema(.both))
    try put(place, schema(.both), 100, [1, "edge", 1.5])
    func statements() throws -> Int {
      try StatementCount.of(folder.path) {
        try place.store.transaction { transaction in
          #expect(try transaction.takeEdits(limit: 10).streams == [stream])
          let lanes = try transaction.downStreams(of: machine)
          #expect(try transaction.readDown(lanes[0], after: 0, limit: 10, maximumBytes: 1000).entries.count == 1)
        }
      }
    }
    try place.client.run("UPDATE stock SET a = 'first'")
    let first = try statements()
    try place.client.run("UPDATE stock SET a = 'second'")
    let second = try statements()
    #expect(second + 5 <= first, "\(second) statements, and \(first) where nothing was known")
    // Something else may have changed with it. The first time also began the run of this opening.
    try place.client.run("UPDATE stock SET a = 'third'; UPDATE drover_schema SET described = described + 1")
    #expect(try statements() >= second + 5)
    try place.client.run("UPDATE stock SET a = 'fourth'; CREATE INDEX by_a ON stock (a)")
    // It looks at the triggers too.
    #expect(try statements() >= first)
  }

  @Test func `every table that the consumer keeps in memory has the triggers of the mark`() throws {
    let folder = try Folder()
    let place = try Self.place(folder)
    try adopt(place, schema(.both))
    let marked = try folder.connect().read {
      try String.fetchAll(
        $0,
        sql:
          "SELECT tbl_name FROM sqlite_master WHERE name GLOB 'drover_mark_*' GROUP BY 1 HAVING count(*) = 3 ORDER BY 1"
      )
    }
    #expect(
      marked == [
        "drover_epoch", "drover_flow", "drover_identity", "drover_identity_member", "drover_lost_decision",
        "drover_schema",
        "drover_schema_column", "drover_schema_line", "drover_since", "drover_sink",
      ])
    // Another program says that the machine's rows go down no more.
    try put(place, schema(.both), 100, [1, "edge", 1.5])
    for (sql, streams) in [("", [stream]), ("; DELETE FROM drover_flow", [])] {
      try place.client.run("UPDATE stock SET a = a || 'x'\(sql)")
      #expect(try place.store.transaction { try $0.takeEdits(limit: 10).streams } == Set(streams))
    }
  }

  // SQLite's REPLACE removes a row without firing a DELETE trigger, so the version that the machine has was gone with it.
  @Test(arguments: ["REPLACE", "INSERT OR REPLACE"])
  func `a row that a person replaces has seen the machine's`(verb: String) throws {
    let folder = try Folder()
    let place = try Self.place(folder)
    try adopt(place, schema(.both))
    try put(place, schema(.both), 100, [1, "edge", 1.5])
    try place.client.run("\(verb) INTO stock (machine_id, id, a) VALUES ('MAH001', 1, 'mine'), ('MAH001', 2, 'new')")
    let entries = try entries(place)
    #expect(entries.map { $0.edge } == [DownEvent.Mark(epoch: epoch, version: 100), nil])
    #expect(entries.map { $0.key[0] } == [1, 2])
  }

  // UPDATE OR REPLACE gave a row the key of another one. That one went without a trigger's knowing, so the edit had seen nothing of the machine's row, and
  // the machine skipped it for ever.
  @Test func `a row that a person moves over another one has seen the machine's`() throws {
    let folder = try Folder()
    let place = try Self.place(folder)
    try adopt(place, schema(.both))
    try put(place, schema(.both), 100, [1, "edge", 1.5])
    try place.client.run("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 2, 'mine')")
    try place.client.run("UPDATE OR REPLACE stock SET id = 1 WHERE id = 2")
    let entries = try entries(place)
    #expect(entries.filter { $0.key[0] == 1 }.map { $0.edge } == [DownEvent.Mark(epoch: epoch, version: 100)])
  }

  @Test func `a row that a person moves over itself or to a free key displaces none`() throws {
    let folder = try Folder()
    let place = try Self.place(folder)
    try adopt(place, schema(.both))
    try put(place, schema(.both), 100, [1, "edge", 1.5])
    try place.client.run("UPDATE OR REPLACE stock SET id = 1, a = 'mine' WHERE id = 1")
    try place.client.run("UPDATE stock SET id = 3 WHERE id = 1")
    let entries = try entries(place)
    #expect(entries.map { $0.key[0] }.sorted { "\($0)" < "\($1)" } == [1, 3])
    #expect(
      entries.filter { $0.key[0] == 1 }.map { $0.content == .none } == [true]
        && entries.filter { $0.key[0] == 3 }.map { $0.edge } == [nil])
  }

  @Test func `no row is moved over a complete one`() throws {
    let folder = try Folder()
    let place = try Self.place(folder)
    let schema = try schema(.both, kind: .batch, completeWhen: "a = 'done'")
    try adopt(place, schema)
    try put(place, schema, 100, [1, "done", 1.5])
    try place.client.run("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 2, 'mine')")
    #expect {
      try place.client.run("UPDATE OR REPLACE stock SET id = 1 WHERE id = 2")
    } throws: { "\($0)".contains("complete") }
  }

  @Test func `a complete row is not replaced`() throws {
    let folder = try Folder()
    let place = try Self.place(folder)
    let schema = try schema(.both, kind: .batch, completeWhen: "a = 'done'")
    try adopt(place, schema)
    try put(place, schema, 100, [1, "done", 1.5])
    #expect {
      try place.client.run("REPLACE INTO stock (machine_id, id, a) VALUES ('MAH001', 1, 'mine')")
    } throws: { "\($0)".contains("complete") }
    #expect(try entries(place).isEmpty)
  }

  @Test func `an UPSERT of an old SQLite tells the trigger what the row was`() throws {
    let folder = try Folder()
    let place = try Self.place(folder)
    try adopt(place, schema(.both))
    try put(place, schema(.both), 100, [1, "edge", 2.0])
    for r in ["r", "2.0", "2", "excluded.r"] {
      try place.client.run(
        "INSERT INTO stock (machine_id, id, a, r) VALUES ('MAH001', 1, 'edge', 2.0) ON CONFLICT (machine_id, id) DO UPDATE SET a = excluded.a, r = \(r)"
      )
      #expect(try entries(place).isEmpty, "SET r = \(r) is an edit although nothing changes")
    }
    try place.client.run(
      "INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 1, 'mine') ON CONFLICT (machine_id, id) DO UPDATE SET a = excluded.a"
    )
    #expect(try entries(place).map { $0.edge } == [DownEvent.Mark(epoch: epoch, version: 100)])
  }

  @Test func `a stream that only goes up has no triggers, and one that stops going down loses them`() throws {
    let folder = try Folder()
    let place = try Self.place(folder)
    try adopt(place, schema(.up))
    #expect(try triggers(folder) == [])
    try adopt(place, schema(.both))
    #expect(try triggers(folder).count == 5)
    try adopt(place, schema(.up))
    #expect(try triggers(folder) == [])
  }

  /// A table of an older release has no defaults for Drover's columns, and INSERT has to name them.
  @Test func `a table from before gets its defaults, with rows, indexes and views kept`() throws {
    let folder = try Folder()
    let place = try Self.place(folder)
    try adopt(place, schema(.up))
    try put(place, schema(.up), 100, [1, "edge", 1.5])
    try place.client.run(
      """
      ALTER TABLE stock RENAME TO old;
      CREATE TABLE stock (machine_id TEXT NOT NULL, "id" INTEGER, "a" TEXT, "r" REAL, mine TEXT DEFAULT 'it''s', drover_epoch INTEGER NOT NULL,
        drover_version INTEGER NOT NULL, PRIMARY KEY (machine_id, "id")) WITHOUT ROWID;
      INSERT INTO stock SELECT machine_id, id, a, r, 'm', drover_epoch, drover_version FROM old;
      DROP TABLE old;
      CREATE INDEX by_a ON stock (a);
      CREATE VIEW names AS SELECT a FROM stock;
      """)
    try adopt(place, schema(.both))
    try place.client.run("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 2, 'new')")
    #expect(try entries(place).map { $0.key[0] } == [2])
    let rows = try Reader(folder: folder).rows(of: "stock").sorted { "\($0["id"]!)" < "\($1["id"]!)" }
    #expect(rows.map { $0["mine"] } == ["m", "it's"])
    #expect(rows[0]["drover_version"] == 100)
    try folder.connect().read { database throws in
      #expect(try String.fetchAll(database, sql: "SELECT a FROM names ORDER BY a") == ["edge", "new"])
      #expect(try Row.fetchOne(database, sql: "SELECT 1 FROM sqlite_master WHERE name = 'by_a'") != nil)
    }
  }

  @Test func `a table that a person has dropped is captured again when it is made again`() throws {
    let folder = try Folder()
    let place = try Self.place(folder)
    try adopt(place, schema(.both))
    try put(place, schema(.both), 100, [1, "edge", 1.5])
    try place.client.run("DROP TABLE stock")
    #expect(try place.store.transaction { try $0.repairSinks() }.isEmpty)
    #expect(try triggers(folder).count == 5)
    try place.client.run("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 5, 'new')")
    #expect(try entries(place).map { $0.key[0] } == [5])
  }

  @Test func `a person who drops a trigger gets it again with the next description`() throws {
    let folder = try Folder()
    let place = try Self.place(folder)
    try adopt(place, schema(.both))
    try place.client.run("DROP TRIGGER drover_edit_update_stock")
    try adopt(place, schema(.both))
    #expect(try triggers(folder).count == 5)
  }

  @Test func `a table that a person has renamed keeps no triggers, and the new one has them`() throws {
    let folder = try Folder()
    let place = try Self.place(folder)
    try adopt(place, schema(.both))
    try put(place, schema(.both), 100, [1, "edge", 1.5])
    try place.client.run("ALTER TABLE stock RENAME TO mine")
    #expect(try place.store.transaction { try $0.repairSinks() }.isEmpty)
    try place.client.run("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 5, 'new')")
    try place.client.run("UPDATE mine SET a = 'other'")
    #expect(try entries(place).map { $0.key[0] } == [5])
  }

  @Test func `nobody sees that the consumer writes`() throws {
    let folder = try Folder()
    let place = try Self.place(folder)
    try adopt(place, schema(.both))
    try put(place, schema(.both), 100, [1, "edge", 1.5])
    struct Stop: Error {}
    #expect(throws: Stop.self) {
      try place.store.transaction { transaction in
        _ = try transaction.forgetMachine(machine, removesRows: true)
        throw Stop()
      }
    }
    let writers = try folder.connect().read { try Int.fetchOne($0, sql: "SELECT count(*) FROM drover_writer") }
    #expect(writers == 0)
  }

  @Test func `edits of people stand in the change feed, deletes too`() throws {
    let folder = try Folder()
    let place = try Self.place(folder)
    _ = try (place.store as! any FeedStore).keepFeed(true)
    try adopt(place, schema(.both))
    try put(place, schema(.both), 100, [1, "edge", 1.5])
    try place.client.run(
      "INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 2, 'new'); DELETE FROM stock WHERE id = 1")
    #expect(try entries(place).count == 2)
    try folder.connect().read { database throws in
      #expect(try Int.fetchOne(database, sql: "SELECT count(*) FROM stock WHERE drover_change IS NULL") == 0)
      #expect(try Int64.fetchAll(database, sql: "SELECT key1 FROM drover_gone_stock") == [1])
    }
  }

  @Test func `a store that is rebuilt knows that it has lost decisions`() throws {
    let folder = try Folder()
    do {
      let place = try Self.place(folder)
      try adopt(place, schema(.both))
      try place.client.run("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 1, 'x')")
      #expect(try entries(place).count == 1)
    }
    _ = try StoreRebuild.run(path: folder.path, now: 2_000_000_000_000_000)
    let lost = try folder.connect().read { try Row.fetchOne($0, sql: "SELECT first, last FROM drover_lost_decision") }
    #expect(lost == ["first": 1, "last": 2_000_000_000_000_000])
  }

  @Test func `triggers that were dropped or changed are named, and the consumer makes them again`() throws {
    let folder = try Folder()
    let place = try Self.place(folder)
    let reader = SQLiteCloudReader(path: folder.path)
    try adopt(place, schema(.both))
    #expect(try reader.captureFaults() == [])
    try place.client.run(
      """
      DROP TRIGGER drover_edit_insert_stock; DROP TRIGGER drover_edit_update_stock;
      CREATE TRIGGER drover_edit_update_stock AFTER UPDATE ON stock BEGIN SELECT 1; END
      """)
    let faults = try reader.captureFaults()
    #expect(faults.count == 1 && faults[0].table == "stock", "\(faults)")
    #expect(
      faults[0].cause == "its triggers drover_edit_insert_stock, drover_edit_update_stock were dropped or changed")
    _ = try place.store.transaction { try $0.downEpoch() }
    #expect(try reader.captureFaults() == [])
    // Edits were missed meanwhile, so the consumer says so, once.
    #expect(try place.store.transaction { try $0.mendCapture() }.map(\.cause) == faults.map(\.cause))
    #expect(try place.store.transaction { try $0.mendCapture() } == [])
    try place.client.run("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 1, 'x')")
    #expect(try place.store.transaction { try $0.takeEdits(limit: 10) }.streams == [stream])
  }

  @Test func `protection ends and begins as the configuration says when a consumer starts`() throws {
    let folder = try Folder()
    var conditions = CloudStoreConditions()
    conditions.protects = true
    let place = try Self.place(folder, conditions)
    try adopt(place, schema(.up))
    try put(place, schema(.up), 100, [1, "x", .real(1)])
    #expect(throws: DatabaseError.self) { try place.client.run("DELETE FROM stock") }
    _ = try SQLiteCloudStore(path: folder.path).transaction { try $0.downEpoch() }
    try place.client.run("UPDATE stock SET a = 'free'")
    _ = try SQLiteCloudStore(path: folder.path, limits: conditions.limits).transaction { try $0.downEpoch() }
    #expect(throws: DatabaseError.self) { try place.client.run("DELETE FROM stock") }
    // A person drops one: the next transaction that finds the schema changed makes it again.
    try place.client.run("DROP TRIGGER drover_protect_delete_stock")
    _ = try SQLiteCloudStore(path: folder.path, limits: conditions.limits).transaction { try $0.downEpoch() }
    #expect(throws: DatabaseError.self) { try place.client.run("DELETE FROM stock") }
  }
}
