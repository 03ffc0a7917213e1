import DroverCore
import DroverSQLite
import DroverTesting
import GRDB
import Testing

/// A table that is rotated, swapped or rebuilt: the triggers travel with the old one.
@Suite(.ownThread) struct RotatedTableTests {
  private static let table = "CREATE TABLE t (id INTEGER PRIMARY KEY, a)"
  private static let before = table + "; INSERT INTO t VALUES (1, 'old'), (2, 'gone')"

  // The triggers were found by their names alone: nothing was sent of the new table, and what the old one entered was read from the new one.
  @Test(arguments: [
    "ALTER TABLE t RENAME TO u; CREATE TABLE t (id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (1, 'new'), (3, 'more')",
    "BEGIN; ALTER TABLE t RENAME TO u; CREATE TABLE T (id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (1, 'new'), (3, 'more'); COMMIT; DELETE FROM u",
    "PRAGMA legacy_alter_table = ON; ALTER TABLE t RENAME TO u; CREATE TABLE t (id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (1, 'new'), (3, 'more'); UPDATE u SET a = 'x'",
    "DROP TABLE t; CREATE TABLE t (id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (1, 'new'), (3, 'more')",
    "CREATE TABLE n (id INTEGER PRIMARY KEY, a); INSERT INTO n VALUES (1, 'new'), (3, 'more'); DROP TABLE t; ALTER TABLE n RENAME TO t",
    "DROP TRIGGER drover_1_insert; CREATE TRIGGER drover_1_insert AFTER INSERT ON t BEGIN SELECT 'drover_outbox'; END; DELETE FROM t; INSERT INTO t VALUES (1, 'new'), (3, 'more')",
    "CREATE TABLE x AS SELECT 1 AS id, 'new' AS a UNION SELECT 3, 'more'; ALTER TABLE t RENAME TO y; ALTER TABLE x RENAME TO t; ALTER TABLE t RENAME TO z; CREATE TABLE t (id INTEGER PRIMARY KEY, a); INSERT INTO t SELECT * FROM z",
  ])
  func `every row of the new table is brought, what follows is captured, and the capture has a gap`(sql: String) throws
  {
    for isRunning in [true, false] {
      let app = try AppDatabase(Self.before)
      var edge = try app.attach(.table("t"))
      #expect(edge.gaps.isEmpty)
      try app.run(sql)
      if isRunning { _ = try edge.refresh() } else { edge = try app.attach(.table("t"), settled: false) }
      // The cloud hears of it when the rows have entered the outbox.
      #expect(edge.hasBackfill && edge.gaps.isEmpty)
      try edge.bringAll()
      let gap = try #require(edge.gaps[edge.streams[0].name])
      // What the old table entered meanwhile deletes nothing that the new one has.
      #expect(try Set(edge.waiting()).subtracting(["delete 2"]) == ["put 1: 1, 'new'", "put 3: 3, 'more'"])
      try edge.confirmAll()
      try app.run("INSERT INTO t VALUES (4, 'x'); DELETE FROM t WHERE id = 1")
      #expect(try edge.waiting() == ["put 4: 4, 'x'", "delete 1"])
      // It is told until there is another one.
      #expect(try app.attach(.table("t"), settled: false).gaps.values.first == gap)
    }
  }

  // While the broker was away nothing was read, so a running agent saw a rebuilt table only after the next connection. Facts and complete orders that came and
  // went in between were lost.
  @Test(arguments: [
    "ALTER TABLE t RENAME TO old; CREATE TABLE t (id INTEGER PRIMARY KEY, v)", "ALTER TABLE t ADD COLUMN w",
    "DROP TRIGGER drover_1_insert",
  ])
  func `a look for commits finds that a table has changed, though nothing is read`(migration: String) throws {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    let edge = try app.attach([.table("t")])
    while try edge.hasChanged() {}
    try app.run("INSERT INTO t (id, v) VALUES (1, 'a')")
    #expect(try edge.hasChanged())
    try app.run(migration)
    #expect { try edge.hasChanged() } throws: { if case EdgeStoreError.schemaChanged = $0 { true } else { false } }
    _ = try edge.refresh()
    while try edge.hasChanged() {}
    try app.run("INSERT INTO t (id, v) VALUES (7, 'b'); DELETE FROM t WHERE id = 7")
    #expect(try edge.waiting().contains("delete 7"))
  }

  @Test func `two captured tables that are swapped are both brought`() throws {
    let app = try AppDatabase(
      "CREATE TABLE a (id INTEGER PRIMARY KEY, v); CREATE TABLE b (id INTEGER PRIMARY KEY, v); INSERT INTO a VALUES (1, 'a'); INSERT INTO b VALUES (2, 'b')"
    )
    let edge = try app.attach([.table("a"), .table("b")])
    try app.run(
      "ALTER TABLE a RENAME TO x; ALTER TABLE b RENAME TO a; ALTER TABLE x RENAME TO b; INSERT INTO b VALUES (5, 'n')")
    _ = try edge.refresh()
    try edge.bringAll()
    // An entry that stream a's trigger made of the table that is b's now is none of a's rows.
    #expect(try edge.waiting() == ["delete 5", "put 2: 2, 'b'", "put 1: 1, 'a'", "put 5: 5, 'n'"])
    #expect(edge.gaps.count == 2)
    try edge.confirmAll()
    try app.run("DELETE FROM a; DELETE FROM b")
    #expect(try edge.waiting() == ["delete 2", "delete 1", "delete 5"])
  }

  @Test(arguments: [
    "CREATE TABLE other (x)", "CREATE INDEX i ON t (a)", "VACUUM",
    "ALTER TABLE t RENAME TO u; ALTER TABLE u RENAME TO t",
  ])
  func `what leaves the triggers as they are makes no gap`(sql: String) throws {
    let app = try AppDatabase(Self.before)
    let edge = try app.attach(.table("t"))
    try app.run(sql)
    _ = try edge.refresh()
    #expect(!edge.hasBackfill && edge.gaps.isEmpty)
  }

  @Test func `a new stream, an added stream and one without a table have no gap`() throws {
    let app = try AppDatabase(Self.before + "; CREATE TABLE u (id INTEGER PRIMARY KEY)")
    _ = try app.attach(.table("t"))
    let edge = try app.attach([.table("t"), .table("u"), .fed("f")])
    #expect(edge.gaps.isEmpty)
  }

  // An agent of yesterday has left no digest of its triggers.
  @Test func `an update of the agent brings nothing again, where the triggers are on their table`() throws {
    let app = try AppDatabase(Self.before)
    _ = try app.attach(.table("t"))
    try app.run("DROP TABLE drover_capture")
    var edge = try app.attach(.table("t"), settled: false)
    #expect(!edge.hasBackfill && edge.gaps.isEmpty)
    try app.run("DROP TABLE drover_capture; ALTER TABLE t RENAME TO u; \(Self.table)")
    edge = try app.attach(.table("t"), settled: false)
    #expect(edge.hasBackfill)
  }

  @Test func `a table without a key keeps its rowids after it was rotated`() throws {
    let app = try AppDatabase("CREATE TABLE t (a); INSERT INTO t VALUES ('a')")
    let edge = try app.attach(.table("t"))
    try app.run(
      "ALTER TABLE t RENAME TO u; CREATE TABLE t (a); INSERT INTO t VALUES ('b'), ('c'); DELETE FROM t WHERE a = 'b'")
    _ = try edge.refresh()
    try app.run("VACUUM")
    _ = try edge.refresh()
    try edge.bringAll()
    #expect(try edge.waiting() == ["put 2: 2, 'c'"])
  }

  // Facts that waited stood in the old table, and were looked for in the new one.
  @Test(arguments: [
    "BEGIN; ALTER TABLE t RENAME TO u; CREATE TABLE t (id INTEGER PRIMARY KEY, a); COMMIT; DELETE FROM u WHERE id = 3",
    "ALTER TABLE t RENAME TO u; DELETE FROM u WHERE id = 3",
    "PRAGMA legacy_alter_table = ON; ALTER TABLE t RENAME TO u; CREATE TABLE t (id INTEGER PRIMARY KEY, a)",
  ])
  func `facts that wait when their table is rotated are sent as they were`(sql: String) throws {
    let app = try AppDatabase(Self.table)
    let edge = try app.attach(.table("t", kind: .payload))
    try app.run("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c'); DELETE FROM t WHERE id = 2; \(sql)")
    _ = try edge.refresh()
    try app.run(
      "DROP TABLE u; CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (9, 'new')")
    _ = try edge.refresh()
    try edge.bringAll()
    #expect(try Set(edge.waiting()) == ["put 1: 1, 'a'", "put 2: 2, 'b'", "put 3: 3, 'c'", "put 9: 9, 'new'"])
    #expect(
      try app.integer("SELECT body_bytes FROM drover_space")
        == app.integer("SELECT total(ifnull(length(CAST(value AS BLOB)), 0) + 64) FROM drover_kept"))
  }

  @Test func `complete units that wait when header and lines are rotated are sent as they were`() throws {
    let tables =
      "CREATE TABLE mo (id TEXT PRIMARY KEY, done INT); CREATE TABLE line (id INTEGER PRIMARY KEY, mo TEXT REFERENCES mo (id), q);"
    let app = try AppDatabase(tables)
    let edge = try app.attach(.batch("mo", completeWhen: "done = 1", with: .lines("line", ["mo": "id"])))
    try app.run(
      """
      INSERT INTO mo VALUES ('A', 1), ('B', 0); INSERT INTO line VALUES (1, 'A', 5), (2, 'A', 6), (3, 'B', 7);
      ALTER TABLE line RENAME TO line_1; ALTER TABLE mo RENAME TO mo_1; \(tables) INSERT INTO mo VALUES ('C', 0); INSERT INTO line VALUES (1, 'C', 8);
      """)
    _ = try edge.refresh()
    try edge.bringAll()
    #expect(
      try Set(edge.waiting()) == [
        "put 'A': 'A', 1 [1, 'A', 5] [2, 'A', 6]", "delete 'B'", "put 'C': 'C', 0 [1, 'C', 8]",
      ])
    #expect(edge.gaps.count == 1)
  }

  // MARK: Facts

  /// The facts that wait, as the cloud tells them apart: those of a first life, and how many there are of another.
  private func facts(_ edge: EdgeDatabase) throws -> [String] {
    try edge.looking { try edge.bringAll() }
    return try edge.told().map { $0.life.isEmpty ? $0.text : "\($0.text) anew" }.sorted()
  }

  private static let log = "CREATE TABLE f (id INTEGER PRIMARY KEY, v, synced INT DEFAULT 0)"

  private func attach(_ app: AppDatabase, isNew: Bool = true) throws -> EdgeDatabase {
    try app.attach(
      [.table("f", kind: .payload, synced: "synced")], settled: isNew)
  }

  // The IDs of the new table begin at 1 again. Its facts came under the keys of the old ones: as dead letters, or not at all where values repeat.
  @Test(arguments: [
    ("'a'), ('b'), ('c'", "'x'), ('y'"), ("'a'), ('b'), ('c'", "'a'), ('b'"),
    ("'a'), ('a'), ('a'", "'a'), ('a'), ('a'"),
    ("'a'", "'a'"), ("'a'), ('b'", "'a'), ('b'), ('c'"),
  ])
  func `each row of a rotated table of facts is a fact of its own`(old: String, new: String) throws {
    let rename = "ALTER TABLE f RENAME TO f_2025; \(Self.log);"
    let insert = "INSERT INTO f (v) VALUES (\(new));"
    let count = new.split(separator: ",").count
    let given = old.split(separator: ",").count
    for (first, second, isRunning) in [
      ("BEGIN; \(rename) \(insert) COMMIT", "", true), (rename, insert, true),
      ("BEGIN; \(rename) \(insert) COMMIT", "", false), (rename + insert + "DELETE FROM f_2025", "", true),
      ("\(rename) \(insert) DELETE FROM f_2025", "", false),
      ("PRAGMA legacy_alter_table = ON; \(rename)", insert, true),
    ] {
      let app = try AppDatabase(Self.log)
      var edge = try attach(app)
      try app.run("INSERT INTO f (v) VALUES (\(old))")
      try edge.acknowledgeAll()
      try edge.confirmAll()
      try app.run(first)
      if isRunning { _ = try edge.refresh() } else { edge = try attach(app, isNew: false) }
      try app.run(second)
      let brought = try facts(edge)
      // A key that the old table never gave needs no mark.
      #expect(
        brought.map { $0.hasSuffix("anew") } == (1...count).map { $0 <= given }, "\(first) | \(second): \(brought)")
      // What is brought once more is what was sent.
      try edge.confirmAll()
      _ = try edge.resync(ResyncOrder(), stream: 1)
      #expect(try facts(edge) == brought)
      // And what the old table still holds is nobody's.
      try app.run("DELETE FROM f_2025; DROP TABLE f_2025; INSERT INTO f (v) VALUES ('z')")
      _ = try edge.refresh()
      #expect(try facts(edge).count == count + 1)
    }
  }

  // A migration must not double what the cloud has.
  @Test(arguments: [
    // Django, Alembic in a batch, SQLite's own advice: the old table is gone.
    "BEGIN; CREATE TABLE new__f (id INTEGER PRIMARY KEY, v, synced INT DEFAULT 0, more); INSERT INTO new__f (id, v, synced) SELECT id, v, synced FROM f; DROP TABLE f; ALTER TABLE new__f RENAME TO f; COMMIT",
    "BEGIN; ALTER TABLE f RENAME TO f_old; CREATE TABLE f (id INTEGER PRIMARY KEY, v, synced INT DEFAULT 0, more); INSERT INTO f (id, v, synced) SELECT id, v, synced FROM f_old; DROP TABLE f_old; COMMIT",
    "BEGIN; CREATE TABLE f_backup AS SELECT * FROM f; DROP TABLE f; \(log); INSERT INTO f SELECT * FROM f_backup; COMMIT",
    // The old one stays.
    "BEGIN; ALTER TABLE f RENAME TO f_old; \(log); INSERT INTO f SELECT * FROM f_old; COMMIT",
    "BEGIN; CREATE TABLE n (id INTEGER PRIMARY KEY, v TEXT NOT NULL, synced INT DEFAULT 0, more DEFAULT 7); INSERT INTO n (id, v, synced) SELECT id, v, synced FROM f; ALTER TABLE f RENAME TO f_old; ALTER TABLE n RENAME TO f; COMMIT",
  ])
  func `facts of a table that was rebuilt stay the same facts`(sql: String) throws {
    for isRunning in [true, false] {
      let app = try AppDatabase(Self.log)
      var edge = try attach(app)
      try app.run("INSERT INTO f (v) VALUES ('a'), ('b'), ('c'), ('d'); DELETE FROM f WHERE id IN (2, 4)")
      // One that has a mark, and one that waits.
      try app.run("INSERT INTO f (v) VALUES ('e')")
      let before = try edge.looking(edge.told).filter { !$0.text.contains("'b'") && !$0.text.contains("'d'") }
      try edge.acknowledgeAll()
      try edge.confirmAll()
      try app.run(sql)
      if isRunning { _ = try edge.refresh() } else { edge = try attach(app, isNew: false) }
      try edge.looking { try edge.bringAll() }
      let after = try edge.told()
      #expect(after.map(\.life) == before.map(\.life), "\(sql): \(after)")
      #expect(after.count == 3 && Set(after.map(\.life)).count == 2)
      // Keys that the old table gave and this one gives again are others' all the same.
      try edge.confirmAll()
      try app.run("INSERT INTO f (id, v) VALUES (2, 'g'); INSERT INTO f (v) VALUES ('h')")
      #expect(try edge.looking(edge.told).map(\.life.isEmpty) == [false, true])
    }
  }

  // DROP TABLE fires no trigger, and left no trace of the keys that were given.
  @Test(arguments: [true, false])
  func `a table of facts that is dropped and begins anew has facts of its own`(isRunning: Bool) throws {
    let warnings = Warnings()
    let app = try AppDatabase(Self.log)
    var edge = try attach(app)
    try app.run("INSERT INTO f (v) VALUES ('a'), ('b'), ('c')")
    try edge.confirmAll()
    try app.run("BEGIN; DROP TABLE f; \(Self.log); INSERT INTO f (v) VALUES ('a'); COMMIT")
    if isRunning {
      _ = try edge.refresh()
    } else {
      let declaration = try StreamDeclaration.table("f", kind: .payload, synced: "synced")
      edge = try app.attach([declaration], settled: false, warn: warnings.note)
      #expect(warnings.texts.contains { $0.contains("facts of their own") })
    }
    try app.run("INSERT INTO f (v) VALUES ('b'), ('c'), ('d')")
    #expect(try facts(edge) == ["1, 'a', 1 anew", "2, 'b', 1 anew", "3, 'c', 1 anew", "4, 'd', 1"])
  }

  @Test func `what cannot be told from a copy counts as one, and the agent says so`() throws {
    let warnings = Warnings()
    let app = try AppDatabase(Self.log)
    let declaration = try StreamDeclaration.table("f", kind: .payload, synced: "synced")
    let edge = try app.attach([declaration], warn: warnings.note)
    try app.run("INSERT INTO f (v) VALUES ('a'), ('b')")
    try edge.confirmAll()
    try app.run("BEGIN; DROP TABLE f; \(Self.log); INSERT INTO f (v) VALUES ('x'), ('y'); COMMIT")
    _ = try edge.refresh()
    #expect(try facts(edge) == ["1, 'x', 1", "2, 'y', 1"])
    #expect(
      warnings.texts.contains { $0.contains("dead letter (conflict)") && $0.contains("`key: [id, measured_at]`") })
    // Later keys that were given before are known to have been.
    try edge.confirmAll()
    try app.run("DELETE FROM f; INSERT INTO f (v) VALUES ('z')")
    #expect(try facts(edge) == ["1, 'z', 1 anew"])
  }

  // The trigger of the renamed table read the row of that key in the new one, or found none and kept nothing but NULLs.
  @Test(arguments: ["", "INSERT INTO f (id, v) VALUES (2, 'wrong');"])
  func `with legacy_alter_table no fact is kept from the wrong table`(insert: String) throws {
    let app = try AppDatabase(Self.log)
    let edge = try attach(app)
    try app.run("INSERT INTO f (v) VALUES ('a'), ('b'), ('c')")
    try app.run(
      "PRAGMA legacy_alter_table = ON; ALTER TABLE f RENAME TO g; \(Self.log); \(insert) DELETE FROM g WHERE id = 2")
    _ = try edge.refresh()
    #expect(try facts(edge) == ["1, 'a', 1"] + (insert.isEmpty ? [] : ["2, 'wrong', 1 anew"]) + ["3, 'c', 1"])
  }

  @Test func `two tables of facts that are swapped bring each other's rows as facts of their own`() throws {
    let app = try AppDatabase(
      "CREATE TABLE a (id INTEGER PRIMARY KEY, v); CREATE TABLE b (id INTEGER PRIMARY KEY, v)")
    let edge = try app.attach([.table("a", kind: .payload), .table("b", kind: .payload)])
    try app.run("INSERT INTO a VALUES (1, 'same'), (2, 'a'); INSERT INTO b VALUES (1, 'same'), (3, 'b')")
    try edge.confirmAll()
    try app.run("ALTER TABLE a RENAME TO x; ALTER TABLE b RENAME TO a; ALTER TABLE x RENAME TO b")
    _ = try edge.refresh()
    try edge.bringAll()
    #expect(try app.integer("SELECT count(*) FROM drover_life_1") == 1)
    #expect(try app.integer("SELECT count(*) FROM drover_life_2") == 2)
    try edge.confirmAll()
    try app.run("INSERT INTO a VALUES (2, 'new'); INSERT INTO b VALUES (3, 'new')")
    #expect(try app.integer("SELECT (SELECT count(*) FROM drover_life_1) + (SELECT count(*) FROM drover_life_2)") == 5)
  }

  @Test(arguments: [
    ("id TEXT PRIMARY KEY, v", "('u', 1), ('w', 2)", "('u', 1)"),
    ("till INT, number INT, v, PRIMARY KEY (till, number)", "(1, 1, 'a'), (1, 2, 'b')", "(1, 1, 'a')"),
    ("v", "('a'), ('b')", "('a')"),
  ])
  func `keys of every form are told apart after a rotation`(columns: String, old: String, new: String) throws {
    let table = "CREATE TABLE f (\(columns))"
    let app = try AppDatabase(table)
    let edge = try app.attach(.table("f", kind: .payload))
    try app.run("INSERT INTO f VALUES \(old)")
    try edge.confirmAll()
    try app.run("ALTER TABLE f RENAME TO g; \(table); INSERT INTO f VALUES \(new)")
    _ = try edge.refresh()
    #expect(try facts(edge).map { $0.hasSuffix("anew") } == [true])
    try edge.confirmAll()
    try app.run("DELETE FROM f; DROP TABLE g; INSERT INTO f VALUES \(old)")
    #expect(try facts(edge).map { $0.hasSuffix("anew") } == [true, true])
  }
}
