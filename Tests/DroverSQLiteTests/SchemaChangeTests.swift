import DroverCore
import DroverSQLite
import GRDB
import Testing

/// The app changes its tables while the agent is at work.
@Suite struct SchemaChangeTests {
  private let table = "CREATE TABLE t (id INTEGER PRIMARY KEY, a)"

  private func isSchemaChange(_ error: any Error) -> Bool {
    if case EdgeStoreError.schemaChanged = error { true } else { false }
  }

  @Test(arguments: [
    "ALTER TABLE t ADD COLUMN b", "ALTER TABLE t RENAME COLUMN a TO b", "ALTER TABLE t RENAME TO u", "DROP TABLE t",
    "CREATE INDEX i ON t (a)", "CREATE TABLE other (x)", "VACUUM",
  ])
  func `a read says that the schema has changed, until the tables were looked at anew`(sql: String) throws {
    let app = try AppDatabase(table)
    let edge = try app.attach(.table("t"))
    try app.run(sql)
    #expect { try edge.everything() } throws: { isSchemaChange($0) }
    #expect { try edge.everything() } throws: { isSchemaChange($0) }
    _ = try edge.refresh()
    #expect(throws: Never.self) { try edge.everything() }
  }

  // The table's schema was what it had been, so the cloud went on showing values that were gone.
  @Test(arguments: ["", " DEFAULT 7"], [false, true])
  func `a column that is dropped and added again is compared with the cloud`(initial: String, isOff: Bool) throws {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY, a, b INT\(initial))")
    try app.run("INSERT INTO t VALUES (1, 'a', 5), (2, 'b', 6)")
    var edge: EdgeDatabase? = try app.attach(.table("t"))
    let schema = edge?.streams[0].schema
    // What is changed elsewhere concerns no table whose last column is in use.
    try app.run("CREATE TABLE other (x)")
    _ = try edge?.refresh()
    #expect(edge?.gaps.isEmpty == true)
    if isOff { edge = nil }
    try app.run("ALTER TABLE t DROP COLUMN b; ALTER TABLE t ADD COLUMN b INT\(initial)")
    if isOff { edge = try app.attach(.table("t"), settled: false) } else { _ = try edge?.refresh() }
    #expect(edge?.streams[0].schema == schema && edge?.hasBackfill == false)
    let gap = edge?.gaps[try StreamName("t")]
    #expect(gap != nil)
    // Nobody uses it: the next change does not have all of it compared again.
    try app.run("DROP TABLE other")
    _ = try edge?.refresh()
    #expect(edge?.gaps[try StreamName("t")] == gap)
  }

  @Test func `a new column is another schema, and every row is brought once more`() throws {
    let app = try AppDatabase(table + "; INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    let edge = try app.attach(.table("t"))
    let before = edge.streams
    try app.run("ALTER TABLE t ADD COLUMN b DEFAULT 7; INSERT INTO t (id, a) VALUES (3, 'c')")
    #expect(try edge.refresh())
    #expect(edge.streams[0].schema?.columns.map(\.name) == ["id", "a", "b"])
    #expect(edge.streams[0].schema?.id != before[0].schema?.id)
    #expect(edge.hasBackfill)
    try edge.bringAll()
    #expect(try edge.waiting() == ["put 1: 1, 'a', 7", "put 2: 2, 'b', 7", "put 3: 3, 'c', 7"])
  }

  @Test func `when a batch is complete is part of its schema, and a column that is not there is named when attaching`()
    throws
  {
    let app = try AppDatabase(table + "; INSERT INTO t VALUES (1, 'a')")
    let before = try app.attach(.batch("t")).streams[0].schema
    let edge = try app.attach([.batch("t", completeWhen: "A = 'done'")], settled: false)
    #expect(edge.streams[0].schema?.completeWhen?.text == #""a" = 'done'"#)
    #expect(edge.streams[0].schema?.id != before?.id)
    #expect(edge.hasBackfill)
    #expect(try app.refusal(.batch("t", completeWhen: "b = 1")).contains("t: there is no column b"))
  }

  @Test func `a change that is none of the stream's is no other schema`() throws {
    let app = try AppDatabase(table + "; INSERT INTO t VALUES (1, 'a')")
    let edge = try app.attach(.table("t"))
    try app.run("CREATE INDEX i ON t (a); CREATE TABLE other (x)")
    #expect(try !edge.refresh())
    #expect(!edge.hasBackfill)
  }

  // A column that Drover's triggers speak of could not be dropped: SQLite checks every trigger of the table first.
  @Test func `the app may drop a column, also beside its flag`() throws {
    let app = try AppDatabase(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b, synced INT); INSERT INTO t VALUES (1, 2, 3, 0)")
    let edge = try app.attach(.table("t", synced: "synced"))
    try app.run("ALTER TABLE t DROP COLUMN a")
    #expect(try edge.refresh())
    try app.run("UPDATE t SET b = 4")
    #expect(try edge.waiting() == ["put 1: 1, 4, 1"])
  }

  @Test func `a renamed column goes on being captured, before and after the agent knows of it`() throws {
    let app = try AppDatabase(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, a, synced INT); INSERT INTO t VALUES (1, 2, 0), (2, 2, 0)")
    let edge = try app.attach(.table("t", synced: "synced"))
    try app.run("ALTER TABLE t RENAME COLUMN a TO b; UPDATE t SET b = 3 WHERE id = 1")
    #expect(try edge.refresh())
    try app.run("UPDATE t SET b = 4 WHERE id = 2")
    #expect(try edge.waiting() == ["put 1: 1, 3, 1", "put 2: 2, 4, 1"])
  }

  @Test func `a dropped table pauses its stream and deletes nothing`() throws {
    let app = try AppDatabase(table + "; CREATE TABLE u (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1, 'a')")
    let edge = try app.attach([.table("t"), .table("u")])
    try app.run("UPDATE t SET a = 'b'")
    try app.run("DROP TABLE t")
    #expect(try edge.refresh())
    // The relay holds a stream that has a table and no schema; see EdgeRelay.
    #expect(edge.streams.map { $0.schema == nil } == [true, false])
    #expect(edge.streams[0].table == "t")
    #expect(try edge.everything().entries.map(\.seq) == [2])
    try app.run("INSERT INTO u VALUES (5)")
    #expect(try edge.waiting().last == "put 5: 5")
    try edge.acknowledgeAll()
    #expect(try app.integer("SELECT count(*) FROM drover_outbox WHERE stream = 1") == 1)
  }

  @Test func `a table that was dropped and made again is captured and brought again`() throws {
    let app = try AppDatabase(table + "; INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    let edge = try app.attach(.table("t"))
    try app.run("DROP TABLE t; \(table); INSERT INTO t VALUES (1, 'x')")
    _ = try edge.refresh()
    #expect(edge.hasBackfill)
    try edge.bringAll()
    #expect(try edge.waiting() == ["put 1: 1, 'x'"])
    try app.run("INSERT INTO t VALUES (3, 'y')")
    #expect(try edge.waiting() == ["put 1: 1, 'x'", "put 3: 3, 'y'"])
  }

  // https://www.sqlite.org/lang_altertable.html#otheralter, as every migration tool does it.
  @Test func `a table that was rebuilt under another name and renamed is captured and brought again`() throws {
    let app = try AppDatabase(table + "; INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    let edge = try app.attach(.table("t"))
    try app.run(
      """
      BEGIN; CREATE TABLE new_t (id INTEGER PRIMARY KEY, a TEXT NOT NULL, b INT); INSERT INTO new_t SELECT id, a, 5 FROM t;
      DROP TABLE t; ALTER TABLE new_t RENAME TO t; COMMIT
      """)
    #expect(try edge.refresh())
    try edge.bringAll()
    #expect(try edge.waiting() == ["put 1: 1, 'a', 5", "put 2: 2, 'b', 5"])
    try app.run("DELETE FROM t WHERE id = 1")
    #expect(try edge.waiting() == ["put 2: 2, 'b', 5", "delete 1"])
  }

  @Test func `a renamed table leaves its stream waiting, and is no longer captured`() throws {
    let app = try AppDatabase(table + "; INSERT INTO t VALUES (1, 'a')")
    let edge = try app.attach(.table("t"))
    try app.run("ALTER TABLE t RENAME TO u")
    #expect(try edge.refresh())
    #expect(edge.streams[0].schema == nil)
    let count = try app.integer("SELECT count(*) FROM drover_outbox")
    try app.run("INSERT INTO u VALUES (2, 'b')")
    #expect(try app.integer("SELECT count(*) FROM drover_outbox") == count)
    try app.run("ALTER TABLE u RENAME TO t")
    #expect(try edge.refresh())
    try edge.bringAll()
    #expect(try edge.waiting() == ["put 1: 1, 'a'", "put 2: 2, 'b'"])
  }

  @Test func `a stream may wait for its table from the start`() throws {
    let app = try AppDatabase("CREATE TABLE other (x)")
    let warnings = Warnings()
    let edge = try app.attach([.table("t")], warn: warnings.note)
    #expect(edge.streams[0].schema == nil)
    #expect(warnings.texts.contains { $0.contains("there is no table t;") })
    try app.run("\(table); INSERT INTO t VALUES (1, 'a')")
    #expect(try edge.refresh())
    try edge.bringAll()
    #expect(try edge.waiting() == ["put 1: 1, 'a'"])
  }

  @Test func `a trigger that somebody dropped is put back, and the rows are brought`() throws {
    let app = try AppDatabase(table + "; INSERT INTO t VALUES (1, 'a')")
    let edge = try app.attach(.table("t"))
    try app.run("DROP TRIGGER drover_1_update; UPDATE t SET a = 'unseen'")
    _ = try edge.refresh()
    try edge.bringAll()
    #expect(try edge.waiting() == ["put 1: 1, 'unseen'"])
    try app.run("UPDATE t SET a = 'seen'")
    #expect(try edge.waiting() == ["put 1: 1, 'seen'"])
  }

  @Test func `a key that gets wider than the outbox's widens it, and entries from before stay`() throws {
    let app = try AppDatabase(table + "; CREATE TABLE wide (a, b, c, d, e, f, PRIMARY KEY (a, b, c, d, e, f))")
    var edge = try app.attach([.table("t")])
    try app.run("INSERT INTO t VALUES (1, 'a')")
    edge = try app.attach([.table("t"), .table("wide")], settled: false)
    try edge.bringAll()
    try app.run("INSERT INTO wide VALUES (1, 2, 3, 4, 5, 6), (1, 2, 3, 4, 5, 7); UPDATE t SET a = 'b'")
    try app.run("DELETE FROM wide WHERE f = 6")
    #expect(
      try edge.waiting() == [
        "put 1, 2, 3, 4, 5, 7: 1, 2, 3, 4, 5, 7", "put 1: 1, 'b'", "delete 1, 2, 3, 4, 5, 6",
      ])
  }

  // The streams were taken over before the transaction was committed. When the commit met a reader of the app's, the second attempt
  // found them unchanged and said so, and the relay went on writing frames under the old schema.
  @Test func `a look at the tables that failed at its commit still tells of the new schema the next time`() throws {
    let app = try AppDatabase(table + "; INSERT INTO t VALUES (1, 'a')", journalMode: "delete")
    let edge = try app.attach(.table("t"), patience: .milliseconds(50))
    try app.run("ALTER TABLE t ADD COLUMN b")
    let reader = try AppDatabase.connect(app.path)
    try reader.inDatabase { try $0.execute(sql: "BEGIN; SELECT * FROM t") }
    let before = edge.streams
    #expect {
      try edge.refresh()
    } throws: { error in
      if case EdgeStoreError.busy = error { true } else { false }
    }
    #expect(edge.streams == before)
    try reader.inDatabase { try $0.execute(sql: "COMMIT") }
    #expect(try edge.refresh())
    #expect(edge.streams[0].schema?.columns.count == 3)
  }

  // The outbox was widened for a key of six columns, the commit met a reader of the app's, and the second attempt believed what was
  // remembered of the first: the triggers named columns that were not there, and the app's own inserts failed.
  @Test func `an outbox whose widening was taken back is widened the next time`() throws {
    let app = try AppDatabase(table, journalMode: "delete")
    let edge = try app.attach([.table("wide"), .table("t")], patience: .milliseconds(50))
    try app.run("CREATE TABLE wide (a, b, c, d, e, f, PRIMARY KEY (a, b, c, d, e, f))")
    let reader = try AppDatabase.connect(app.path)
    try reader.inDatabase { try $0.execute(sql: "BEGIN; SELECT * FROM t") }
    #expect(throws: EdgeStoreError.self) { try edge.refresh() }
    try reader.inDatabase { try $0.execute(sql: "COMMIT") }
    #expect(try edge.refresh())
    try app.run("INSERT INTO wide VALUES (1, 2, 3, 4, 5, 6)")
    #expect(try edge.waiting() == ["put 1, 2, 3, 4, 5, 6: 1, 2, 3, 4, 5, 6"])
  }

  // Only reading asked whether the tables were still the same. Bringing rows and settling went on under the old names and failed with
  // "no such column", which is logged as an error of the store and tried a second later.
  @Test func `a backfill notices the new schema too`() throws {
    let app = try AppDatabase(table + "; INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    let edge = try app.attach([.table("t")], settled: false)
    #expect(try edge.backfill(limit: 1))
    try app.run("ALTER TABLE t RENAME COLUMN id TO number")
    #expect { try edge.backfill(limit: 10) } throws: { isSchemaChange($0) }
    _ = try edge.refresh()
    try edge.bringAll()
    #expect(try edge.waiting() == ["put 1: 1, 'a'", "put 2: 2, 'b'"])
  }

  @Test func `settling notices the new schema too, and loses nothing`() throws {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY, synced INT); INSERT INTO t VALUES (1, 0)")
    let edge = try app.attach([.table("t", synced: "synced")], settled: false)
    try edge.bringAll()
    try app.run("ALTER TABLE t RENAME TO u")
    #expect { try edge.acknowledge(1...1) } throws: { isSchemaChange($0) }
    _ = try edge.refresh()
    try edge.acknowledge(1...1)
    #expect(try edge.acknowledged() == [1: [1...1]])
    #expect(try app.lines("SELECT * FROM u") == ["1, 0"])
  }

  @Test func `a stream cannot become another kind or another table's under its name`() throws {
    let app = try AppDatabase(table + "; CREATE TABLE u (id INTEGER PRIMARY KEY)")
    _ = try app.attach(.table("t"))
    #expect(try app.refusal(.table("t", kind: .batch)).contains("it was a snapshot stream of table t"))
    let other = StreamDeclaration(name: try StreamName("t"), kind: .snapshot, table: "u")
    #expect(try app.refusal(other).contains("give the new one another `name:`"))
    #expect(try app.refusal(.fed("t", kind: .snapshot)).contains("give the new one another `name:`"))
  }
}
