import DroverCore
import DroverSQLite
import GRDB
import Testing

/// A table that is rotated, swapped or rebuilt: the triggers travel with the old one.
@Suite struct RotatedTableTests {
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
}
