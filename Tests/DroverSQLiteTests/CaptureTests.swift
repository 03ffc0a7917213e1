import DroverCore
import DroverSQLite
import GRDB
import GRDBSQLite
import Synchronization
import Testing

/// What the triggers enter into the outbox, for every way in which SQL can change a row.
@Suite struct CaptureTests {
  private let pens = "CREATE TABLE pen (id INTEGER PRIMARY KEY, name TEXT, weight REAL)"

  @Test func `an insert, an update and a delete are captured in their order`() throws {
    let app = try AppDatabase(pens + "; INSERT INTO pen VALUES (2, 'old', 1.5), (3, 'gone', 2.5)")
    let edge = try app.attach(.table("pen"))
    try app.run("INSERT INTO pen VALUES (1, 'new', 0.5)")
    try app.run("UPDATE pen SET name = 'changed' WHERE id = 2")
    try app.run("DELETE FROM pen WHERE id = 3")
    #expect(try edge.waiting() == ["put 1: 1, 'new', 0.5", "put 2: 2, 'changed', 1.5", "delete 3"])
  }

  @Test func `an UPSERT is captured whether it inserts or updates`() throws {
    let app = try AppDatabase(pens)
    let edge = try app.attach(.table("pen"))
    let upsert = "INSERT INTO pen VALUES (1, 'a', 1) ON CONFLICT (id) DO UPDATE SET name = name || 'b'"
    try app.run(upsert)
    #expect(try edge.waiting() == ["put 1: 1, 'a', 1.0"])
    try app.run(upsert)
    #expect(try edge.waiting() == ["put 1: 1, 'ab', 1.0"])
  }

  @Test(arguments: [false, true])
  func `a REPLACE of the same key is captured as the row's new state`(recursive: Bool) throws {
    let app = try AppDatabase(pens + "; INSERT INTO pen VALUES (1, 'a', 1)")
    let edge = try app.attach(.table("pen"))
    try app.run("PRAGMA recursive_triggers = \(recursive)")
    try app.run("REPLACE INTO pen VALUES (1, 'b', 2)")
    #expect(try edge.waiting() == ["put 1: 1, 'b', 2.0"])
  }

  @Test func `a DELETE without WHERE enters every row`() throws {
    let app = try AppDatabase(pens + "; INSERT INTO pen (id) VALUES (1), (2), (3)")
    let edge = try app.attach(.table("pen"))
    try app.run("DELETE FROM pen")
    #expect(try Set(edge.waiting()) == ["delete 1", "delete 2", "delete 3"])
  }

  @Test func `a changed primary key is a delete of the old and a put of the new one`() throws {
    let app = try AppDatabase(pens + "; INSERT INTO pen VALUES (1, 'a', 1)")
    let edge = try app.attach(.table("pen"))
    try app.run("UPDATE pen SET id = -5 WHERE id = 1")
    #expect(try Set(edge.waiting()) == ["delete 1", "put -5: -5, 'a', 1.0"])
  }

  @Test func `keys that move into each other's place in one statement end as what the table holds`() throws {
    let app = try AppDatabase(pens + "; INSERT INTO pen VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)")
    let edge = try app.attach(.table("pen"))
    try app.run("UPDATE pen SET id = id - 1")
    #expect(
      try Set(edge.waiting()) == ["put 0: 0, 'a', 1.0", "put 1: 1, 'b', 2.0", "put 2: 2, 'c', 3.0", "delete 3"])
  }

  // MARK: Kinds of keys

  struct Shape: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let table: String
    let insert: String
    let put: String
    let change: String
    let changed: String
    let delete: String
    let deleted: String
  }

  static let shapes = [
    Shape(
      testDescription: "text", table: "t (k TEXT PRIMARY KEY, a)", insert: "INSERT INTO t VALUES ('MAH-7', 1)",
      put: "put 'MAH-7': 'MAH-7', 1", change: "UPDATE t SET a = 2", changed: "put 'MAH-7': 'MAH-7', 2",
      delete: "DELETE FROM t", deleted: "delete 'MAH-7'"),
    Shape(
      testDescription: "composite, in another order than the columns",
      table: "t (a, b INTEGER, c TEXT, PRIMARY KEY (c, b))",
      insert: "INSERT INTO t VALUES (1, 2, 'x')", put: "put 'x', 2: 1, 2, 'x'", change: "UPDATE t SET a = NULL",
      changed: "put 'x', 2: NULL, 2, 'x'", delete: "DELETE FROM t WHERE b = 2", deleted: "delete 'x', 2"),
    Shape(
      testDescription: "composite, WITHOUT ROWID",
      table: "t (a, b INTEGER, c TEXT, PRIMARY KEY (c, b DESC)) WITHOUT ROWID",
      insert: "INSERT INTO t VALUES (1, 2, 'x')", put: "put 'x', 2: 1, 2, 'x'", change: "UPDATE t SET a = NULL",
      changed: "put 'x', 2: NULL, 2, 'x'", delete: "DELETE FROM t WHERE b = 2", deleted: "delete 'x', 2"),
    Shape(
      testDescription: "six columns", table: "t (a, b, c, d, e, f, g, PRIMARY KEY (a, b, c, d, e, f))",
      insert: "INSERT INTO t VALUES (1, 2, 3, 4, 5, 6, 7)", put: "put 1, 2, 3, 4, 5, 6: 1, 2, 3, 4, 5, 6, 7",
      change: "UPDATE t SET g = 8", changed: "put 1, 2, 3, 4, 5, 6: 1, 2, 3, 4, 5, 6, 8", delete: "DELETE FROM t",
      deleted: "delete 1, 2, 3, 4, 5, 6"),
    Shape(
      testDescription: "no primary key", table: "t (a, b)", insert: "INSERT INTO t (rowid, a, b) VALUES (-9, 1, 'x')",
      put: "put -9: -9, 1, 'x'", change: "UPDATE t SET b = 'y'", changed: "put -9: -9, 1, 'y'", delete: "DELETE FROM t",
      deleted: "delete -9"),
    Shape(
      testDescription: "no primary key, a column hides the rowid", table: "t (rowid TEXT, oid)",
      insert: "INSERT INTO t (_rowid_, rowid, oid) VALUES (4, 'x', 'y')", put: "put 4: 4, 'x', 'y'",
      change: "UPDATE t SET rowid = 'z'", changed: "put 4: 4, 'z', 'y'", delete: "DELETE FROM t", deleted: "delete 4"),
    Shape(
      testDescription: "NULL in the key of a rowid table", table: "t (k TEXT PRIMARY KEY, a)",
      insert: "INSERT INTO t VALUES (NULL, 1)", put: "put NULL: NULL, 1", change: "UPDATE t SET a = 2",
      changed: "put NULL: NULL, 2", delete: "DELETE FROM t", deleted: "delete NULL"),
    Shape(
      testDescription: "NULL in a part of a composite key", table: "t (k TEXT, l INT, a, PRIMARY KEY (k, l))",
      insert: "INSERT INTO t VALUES ('x', NULL, 1)", put: "put 'x', NULL: 'x', NULL, 1", change: "UPDATE t SET a = 2",
      changed: "put 'x', NULL: 'x', NULL, 2", delete: "DELETE FROM t", deleted: "delete 'x', NULL"),
    Shape(
      testDescription: "real", table: "t (k REAL PRIMARY KEY, a)", insert: "INSERT INTO t VALUES (1, 1)",
      put: "put 1.0: 1.0, 1", change: "UPDATE t SET a = 2", changed: "put 1.0: 1.0, 2", delete: "DELETE FROM t",
      deleted: "delete 1.0"),
    Shape(
      testDescription: "a number kept as text", table: "t (k TEXT PRIMARY KEY, a)",
      insert: "INSERT INTO t VALUES ('007', 1)",
      put: "put '007': '007', 1", change: "UPDATE t SET a = 2", changed: "put '007': '007', 2", delete: "DELETE FROM t",
      deleted: "delete '007'"),
    Shape(
      testDescription: "blob", table: "t (k BLOB PRIMARY KEY, a)", insert: "INSERT INTO t VALUES (x'00ff', 1)",
      put: "put x'00ff': x'00ff', 1", change: "UPDATE t SET a = 2", changed: "put x'00ff': x'00ff', 2",
      delete: "DELETE FROM t", deleted: "delete x'00ff'"),
    Shape(
      testDescription: "STRICT with ANY", table: "t (k ANY PRIMARY KEY, a ANY) STRICT",
      insert: "INSERT INTO t VALUES ('123', '456')", put: "put '123': '123', '456'", change: "UPDATE t SET a = '007'",
      changed: "put '123': '123', '007'", delete: "DELETE FROM t", deleted: "delete '123'"),
    Shape(
      testDescription: "names that have to be quoted",
      table: #"t ("order" INTEGER PRIMARY KEY, "a ""b"" c", "it's", "größe 😀", "select" TEXT)"#,
      insert: "INSERT INTO t VALUES (1, 2, 3, 4, 5)", put: "put 1: 1, 2, 3, 4, '5'",
      change: #"UPDATE t SET "größe 😀" = 0"#,
      changed: "put 1: 1, 2, 3, 0, '5'", delete: "DELETE FROM t", deleted: "delete 1"),
    Shape(
      testDescription: "names that Drover uses itself",
      table: "t (seq INTEGER PRIMARY KEY, key, stream, value, field, next)",
      insert: "INSERT INTO t VALUES (1, 2, 3, 4, 5, 6)", put: "put 1: 1, 2, 3, 4, 5, 6", change: "UPDATE t SET key = 0",
      changed: "put 1: 1, 0, 3, 4, 5, 6", delete: "DELETE FROM t", deleted: "delete 1"),
    Shape(
      testDescription: "generated columns",
      table: "t (id INTEGER PRIMARY KEY, a INT, twice INT AS (a * 2), thrice INT AS (a * 3) STORED)",
      insert: "INSERT INTO t (a) VALUES (5)", put: "put 1: 1, 5, 10, 15", change: "UPDATE t SET a = 6",
      changed: "put 1: 1, 6, 12, 18", delete: "DELETE FROM t", deleted: "delete 1"),
  ]

  @Test(arguments: shapes)
  func `a row comes, changes and goes under its own key`(shape: Shape) throws {
    let app = try AppDatabase("CREATE TABLE \(shape.table)")
    let edge = try app.attach(.table("t"))
    try app.run(shape.insert)
    #expect(try edge.waiting() == [shape.put])
    try app.run(shape.change)
    #expect(try edge.waiting() == [shape.changed])
    try app.run(shape.delete)
    #expect(try edge.waiting() == [shape.deleted])
  }

  @Test(arguments: ["order", "two words", "it's", #"say "hello""#, "größe 😀", "select", "tab.le", "[x]", "a--b"])
  func `a table may be named like anything`(name: String) throws {
    let quoted = "\"" + name.replacing("\"", with: "\"\"") + "\""
    let app = try AppDatabase("CREATE TABLE \(quoted) (id INTEGER PRIMARY KEY, flag INT)")
    let edge = try app.attach(.table(name, synced: "flag"))
    try app.run("INSERT INTO \(quoted) VALUES (1, 0)")
    #expect(try edge.waiting() == ["put 1: 1, 1"])
    try edge.acknowledgeAll()
    #expect(try app.lines("SELECT * FROM \(quoted)") == ["1, 1"])
    let number = try app.lines("SELECT DISTINCT count(*) FROM drover_outbox")
    try app.run("DELETE FROM \(quoted)")
    #expect(try edge.waiting() == ["delete 1"])
    #expect(try app.lines("SELECT count(*) FROM drover_outbox") == number)
  }

  // The type ANY means 'as it is' in a STRICT table and 'a number, if it looks like one' in any other, a sink table among them.
  @Test func `a column that takes anything is described as one without a type`() throws {
    let app = try AppDatabase(
      "CREATE TABLE s (id INTEGER PRIMARY KEY, a ANY, b Any, c INT) STRICT; CREATE TABLE t (id INTEGER PRIMARY KEY, a ANY)"
    )
    let edge = try app.attach([.table("s"), .table("t")])
    #expect(edge.streams[0].schema?.columns.map(\.declaredType) == ["INTEGER", "", "", "INT"])
    #expect(edge.streams[1].schema?.columns.map(\.declaredType) == ["INTEGER", "ANY"])
  }

  @Test func `the configuration may spell a table in another case`() throws {
    let app = try AppDatabase("CREATE TABLE Stock (Id INTEGER PRIMARY KEY, Synced INT)")
    let edge = try app.attach(.table("STOCK", synced: "synced"))
    try app.run("INSERT INTO stock VALUES (1, 0)")
    #expect(try edge.waiting() == ["put 1: 1, 1"])
  }

  @Test func `a NOCASE key that changes its case is another key to the cloud`() throws {
    let app = try AppDatabase("CREATE TABLE t (k TEXT COLLATE NOCASE PRIMARY KEY, a); INSERT INTO t VALUES ('abc', 1)")
    let edge = try app.attach(.table("t"))
    try app.run("UPDATE t SET k = 'ABC' WHERE k = 'abc'")
    #expect(try Set(edge.waiting()) == ["delete 'abc'", "put 'ABC': 'ABC', 1"])
  }

  @Test func `a table in UTF-16 is read as UTF-8, its keys too`() throws {
    let app = try AppDatabase("PRAGMA encoding = 'UTF-16'; CREATE TABLE t (k TEXT PRIMARY KEY, a TEXT)")
    let edge = try app.attach(.table("t"))
    try app.run("INSERT INTO t VALUES ('größe', '😀')")
    try app.run("UPDATE t SET a = 'ü'")
    #expect(try edge.waiting() == ["put 'größe': 'größe', 'ü'"])
  }

  // MARK: Statements with a conflict clause

  // The outer statement's conflict clause takes the place of those inside a trigger (https://www.sqlite.org/lang_createtrigger.html),
  // so an INSERT OR IGNORE must not ignore the outbox entry.
  @Test(arguments: ["IGNORE", "REPLACE", "FAIL", "ABORT", "ROLLBACK"])
  func `no conflict clause of the app loses an event`(clause: String) throws {
    let app = try AppDatabase(pens + "; INSERT INTO pen VALUES (1, 'a', 1)")
    let edge = try app.attach(.table("pen"))
    try app.run("INSERT OR \(clause) INTO pen VALUES (2, 'b', 2), (3, 'c', 3)")
    try app.run("UPDATE OR \(clause) pen SET name = 'x' WHERE id < 3")
    try app.run("UPDATE OR \(clause) pen SET weight = 9 WHERE id = 2")
    #expect(try Set(edge.waiting()) == ["put 1: 1, 'x', 1.0", "put 2: 2, 'x', 9.0", "put 3: 3, 'c', 3.0"])
  }

  @Test func `INSERT OR IGNORE of a row that is there is no event`() throws {
    let app = try AppDatabase(pens + "; INSERT INTO pen VALUES (1, 'a', 1)")
    let edge = try app.attach(.table("pen"))
    try app.run("INSERT OR IGNORE INTO pen VALUES (1, 'b', 2), (2, 'c', 3)")
    #expect(try edge.waiting() == ["put 2: 2, 'c', 3.0"])
  }

  @Test func `INSERT OR FAIL keeps the rows before the failure, and their events`() throws {
    let app = try AppDatabase(pens + "; INSERT INTO pen VALUES (2, 'a', 1)")
    let edge = try app.attach(.table("pen"))
    #expect(throws: DatabaseError.self) {
      try app.run("INSERT OR FAIL INTO pen VALUES (1, 'b', 2), (2, 'c', 3), (3, 'd', 4)")
    }
    #expect(try edge.waiting() == ["put 1: 1, 'b', 2.0"])
  }

  @Test func `a statement that fails leaves no event`() throws {
    let app = try AppDatabase(pens + "; INSERT INTO pen VALUES (2, 'a', 1)")
    let edge = try app.attach(.table("pen"))
    #expect(throws: DatabaseError.self) { try app.run("INSERT INTO pen VALUES (1, 'b', 2), (2, 'c', 3)") }
    #expect(try edge.waiting() == [])
  }

  // A REPLACE removes the rows that stand in its way without firing a DELETE trigger. Through a UNIQUE column that is another row
  // than the one that is written, and the cloud kept it for ever.
  @Test(arguments: [
    ("INSERT OR REPLACE INTO pen VALUES (3, 'a')", ["delete 1", "put 3: 3, 'a'"]),
    ("INSERT OR REPLACE INTO pen VALUES (1, 'b')", ["put 1: 1, 'b'", "delete 2"]),
    ("REPLACE INTO pen (name) VALUES ('a')", ["delete 1", "put 3: 3, 'a'"]),
    ("UPDATE OR REPLACE pen SET name = 'a' WHERE id = 2", ["delete 1", "put 2: 2, 'a'"]),
    ("UPDATE OR REPLACE pen SET id = 1 WHERE id = 2", ["put 1: 1, 'b'", "delete 2"]),
  ])
  func `a row that a REPLACE removes through another unique constraint is a delete`(sql: String, events: [String])
    throws
  {
    let app = try AppDatabase(
      "CREATE TABLE pen (id INTEGER PRIMARY KEY, name UNIQUE); INSERT INTO pen VALUES (1, 'a'), (2, 'b')")
    let edge = try app.attach(.table("pen"))
    try app.run(sql)
    #expect(try Set(edge.waiting()) == Set(events))
    #expect(try edge.waiting().count == 2)
  }

  @Test func `a row that a REPLACE of a NOCASE key removes is a delete`() throws {
    let app = try AppDatabase(
      "CREATE TABLE t (k TEXT COLLATE NOCASE PRIMARY KEY, a) WITHOUT ROWID; INSERT INTO t VALUES ('abc', 1)")
    let edge = try app.attach(.table("t"))
    try app.run("REPLACE INTO t VALUES ('ABC', 2)")
    #expect(try Set(edge.waiting()) == ["delete 'abc'", "put 'ABC': 'ABC', 2"])
  }

  @Test func `a row that stood in the way and stays is sent as it is, and flagged`() throws {
    let app = try AppDatabase(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, name UNIQUE, synced INT); INSERT INTO t VALUES (1, 'a', 0)")
    let edge = try app.attach(.table("t", synced: "synced"))
    for _ in 0..<5 { try app.run("INSERT OR IGNORE INTO t (name, synced) VALUES ('a', 0)") }
    #expect(try edge.waiting() == ["put 1: 1, 'a', 1"])
    #expect(try app.integer("SELECT count(*) FROM drover_outbox") == 1)
    try app.run("UPDATE t SET synced = 0")
    try edge.acknowledgeAll()
    #expect(try app.lines("SELECT * FROM t") == ["1, 'a', 1"])
  }

  @Test(arguments: ["(a) WHERE a > 0", "(abs(a))"])
  func `what a REPLACE removes through an index with a condition or an expression is a delete with recursive triggers`(
    index: String
  ) throws {
    let app = try AppDatabase(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE UNIQUE INDEX i ON t \(index); INSERT INTO t VALUES (1, 7)")
    let edge = try app.attach(.table("t"))
    try app.run("PRAGMA recursive_triggers = ON; REPLACE INTO t VALUES (2, 7)")
    #expect(try Set(edge.waiting()) == ["delete 1", "put 2: 2, 7"])
  }

  @Test func `a unique index with a condition is warned of`() throws {
    let app = try AppDatabase(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE UNIQUE INDEX one_open ON t (a) WHERE a > 0")
    let warnings = Mutex<[String]>([])
    let edge = try app.attach([.table("t")], warn: { warning in warnings.withLock { $0.append(warning) } })
    _ = try edge.refresh()
    #expect(warnings.withLock { $0.count } == 1)
    #expect(warnings.withLock { $0[0].contains("one_open") })
  }

  // MARK: Transactions

  @Test func `a rollback leaves no event`() throws {
    let app = try AppDatabase(pens + "; INSERT INTO pen VALUES (1, 'a', 1)")
    let edge = try app.attach(.table("pen"))
    try app.run("BEGIN; INSERT INTO pen VALUES (2, 'b', 2); DELETE FROM pen WHERE id = 1; ROLLBACK")
    #expect(try edge.waiting() == [])
  }

  @Test func `of a savepoint that is rolled back nothing is left, of its surroundings all`() throws {
    let app = try AppDatabase(pens)
    let edge = try app.attach(.table("pen"))
    try app.run(
      """
      BEGIN;
      INSERT INTO pen (id) VALUES (1);
      SAVEPOINT inner_one; INSERT INTO pen (id) VALUES (2); UPDATE pen SET name = 'x'; ROLLBACK TO inner_one; RELEASE inner_one;
      SAVEPOINT inner_two; INSERT INTO pen (id) VALUES (3); RELEASE inner_two;
      COMMIT
      """)
    #expect(try edge.waiting() == ["put 1: 1, NULL, NULL", "put 3: 3, NULL, NULL"])
  }

  @Test func `a savepoint that is rolled back brings a superseded entry back`() throws {
    let app = try AppDatabase(pens)
    let edge = try app.attach(.table("pen"))
    try app.run("INSERT INTO pen (id) VALUES (1)")
    let before = try edge.everything()
    try app.run("BEGIN; SAVEPOINT s; UPDATE pen SET name = 'x'; ROLLBACK TO s; COMMIT")
    #expect(try edge.everything() == before)
  }

  @Test(arguments: ["wal", "delete"])
  func `nothing uncommitted is read, however long the transaction is`(mode: String) throws {
    let app = try AppDatabase(pens, journalMode: mode)
    let edge = try app.attach(.table("pen"))
    try app.run("BEGIN; INSERT INTO pen (id) VALUES (1)")
    #expect(try edge.waiting() == [])
    try app.run("INSERT INTO pen (id) VALUES (2); UPDATE pen SET name = 'x'; DELETE FROM pen WHERE id = 2")
    #expect(try edge.waiting() == [])
    try app.run("COMMIT")
    #expect(try edge.waiting() == ["put 1: 1, 'x', NULL", "delete 2"])
  }

  // MARK: Other connections, other triggers

  @Test func `a writer that has this file attached under another name is captured`() throws {
    let app = try AppDatabase(pens)
    let edge = try app.attach(.table("pen"))
    let other = try AppDatabase(
      "CREATE TABLE drover_outbox (mine); CREATE TABLE pen (id INTEGER PRIMARY KEY, name, weight)")
    try other.run("ATTACH '\(app.path)' AS theirs; INSERT INTO theirs.pen (id, name) VALUES (1, 'a'), (2, 'b')")
    try other.run("DELETE FROM theirs.pen WHERE id = 2; DETACH theirs")
    #expect(try edge.waiting() == ["put 1: 1, 'a', NULL", "delete 2"])
    #expect(try other.integer("SELECT count(*) FROM drover_outbox") == 0)
  }

  @Test func `two attached databases that both have Drover keep to their own outboxes`() throws {
    let one = try AppDatabase(pens)
    let two = try AppDatabase(pens)
    let edges = try (one.attach(.table("pen")), two.attach(.table("pen")))
    try one.run(
      "ATTACH '\(two.path)' AS two; INSERT INTO two.pen (id) VALUES (2); INSERT INTO main.pen (id) VALUES (1)")
    #expect(try edges.0.waiting() == ["put 1: 1, NULL, NULL"])
    #expect(try edges.1.waiting() == ["put 2: 2, NULL, NULL"])
  }

  @Test func `cascades of foreign keys are captured`() throws {
    let app = try AppDatabase(
      """
      CREATE TABLE head (id INTEGER PRIMARY KEY);
      CREATE TABLE line (id INTEGER PRIMARY KEY, head INT REFERENCES head ON DELETE CASCADE ON UPDATE CASCADE);
      CREATE TABLE note (id INTEGER PRIMARY KEY, head INT REFERENCES head ON DELETE SET NULL);
      INSERT INTO head VALUES (1), (2); INSERT INTO line VALUES (10, 1), (11, 1), (12, 2); INSERT INTO note VALUES (20, 1)
      """)
    let edge = try app.attach([.table("head"), .table("line"), .table("note")])
    try app.run("PRAGMA foreign_keys = ON; DELETE FROM head WHERE id = 1; UPDATE head SET id = 3 WHERE id = 2")
    #expect(
      try Set(edge.waiting()) == [
        "delete 1", "delete 10", "delete 11", "put 20: 20, NULL", "delete 2", "put 3: 3", "put 12: 12, 3",
      ])
  }

  @Test func `what the app's own triggers do is captured, also when they run in themselves`() throws {
    let app = try AppDatabase(
      """
      CREATE TABLE count (n INTEGER PRIMARY KEY, left INT);
      CREATE TRIGGER down AFTER INSERT ON count WHEN NEW.left > 0 BEGIN
        INSERT INTO count VALUES (NEW.n + 1, NEW.left - 1);
        UPDATE count SET left = -1 WHERE n = NEW.n;
      END
      """)
    let edge = try app.attach(.table("count"))
    try app.run("PRAGMA recursive_triggers = ON; INSERT INTO count VALUES (1, 3)")
    #expect(try Set(edge.waiting()) == ["put 1: 1, -1", "put 2: 2, -1", "put 3: 3, -1", "put 4: 4, 0"])
  }

  @Test func `an app that trusts no schema is captured too`() throws {
    let app = try AppDatabase(pens)
    let edge = try app.attach(.table("pen"))
    try app.run("PRAGMA trusted_schema = OFF; INSERT INTO pen (id) VALUES (1); UPDATE pen SET id = 2; DELETE FROM pen")
    #expect(try Set(edge.waiting()) == ["delete 1", "delete 2"])
  }

  @Test func `two streams may be captured from one table`() throws {
    let app = try AppDatabase(pens)
    let facts = StreamDeclaration(name: try StreamName("facts"), kind: .payload, table: "pen")
    let edge = try app.attach([.table("pen"), facts])
    try app.run("INSERT INTO pen (id) VALUES (1)")
    #expect(try edge.everything().entries.map(\.stream).sorted() == [1, 2])
  }

  @Test func `a real app in Python is captured`() throws {
    let app = try AppDatabase(pens)
    let edge = try app.attach(.table("pen"))
    try Python.run(
      """
      connection = sqlite3.connect(sys.argv[1])
      connection.executemany("INSERT INTO pen VALUES (?, ?, ?)", [(i, f"pen {i}", i / 2) for i in range(1, 4)])
      connection.execute("UPDATE pen SET id = 9 WHERE id = 3")
      connection.execute("DELETE FROM pen WHERE id = 1")
      connection.commit()
      connection.execute("INSERT INTO pen VALUES (100, 'never', 0)")
      connection.rollback()
      """, app.path)
    #expect(try Set(edge.waiting()) == ["delete 1", "put 2: 2, 'pen 2', 1.0", "delete 3", "put 9: 9, 'pen 3', 1.5"])
  }

  @Test func `statements that write from a query, return rows or go through a view are captured`() throws {
    let app = try AppDatabase(
      """
      \(pens); CREATE VIEW light AS SELECT * FROM pen WHERE weight < 1;
      CREATE TRIGGER through INSTEAD OF INSERT ON light BEGIN INSERT INTO pen VALUES (NEW.id, NEW.name, 0.5); END
      """)
    let edge = try app.attach(.table("pen"))
    try app.run("WITH n (i) AS (VALUES (1), (2), (3)) INSERT INTO pen SELECT i, 'a', i FROM n RETURNING id")
    try app.run("UPDATE pen SET name = other.name || 'b' FROM pen AS other WHERE other.id = 1 AND pen.id = 2")
    try app.run("DELETE FROM pen WHERE id IN (SELECT max(id) FROM pen)")
    try app.run("INSERT INTO light (id, name) VALUES (4, 'c')")
    #expect(try edge.waiting() == ["put 1: 1, 'a', 1.0", "put 2: 2, 'ab', 2.0", "delete 3", "put 4: 4, 'c', 0.5"])
  }

  // MARK: VACUUM

  // VACUUM gave the rows of a table without key and index new rowids, and no trigger saw it: entries that waited spoke of other rows, and
  // a later delete took a row away in the cloud that was still there.
  @Test func `VACUUM leaves the rows of a table without a key under the rowids that the cloud knows`() throws {
    let app = try AppDatabase("CREATE TABLE t (a, b); INSERT INTO t VALUES ('x', 1), ('y', 2), ('z', 3)")
    let edge = try app.attach(.table("t"))
    try app.run("DELETE FROM t WHERE a = 'x'; UPDATE t SET b = 4 WHERE a = 'z'; VACUUM")
    _ = try edge.refresh()
    #expect(!edge.hasBackfill)
    #expect(try edge.waiting() == ["delete 1", "put 3: 3, 'z', 4"])
    try app.run("DELETE FROM t WHERE a = 'y'")
    #expect(try edge.waiting().last == "delete 2")
    // What holds the rowids is in nobody's way.
    try app.run("ALTER TABLE t DROP COLUMN b; ALTER TABLE t RENAME COLUMN a TO c")
    _ = try edge.refresh()
    try edge.bringAll()
    #expect(try edge.waiting() == ["delete 1", "delete 2", "put 3: 3, 'z'"])
  }

  @Test(arguments: [
    "(id INTEGER PRIMARY KEY, a)", "(id TEXT PRIMARY KEY, a)", "(id REAL PRIMARY KEY, a) WITHOUT ROWID",
  ])
  func `VACUUM changes no key`(columns: String) throws {
    let app = try AppDatabase("CREATE TABLE t \(columns); INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, 'z')")
    let edge = try app.attach(.table("t"))
    try app.run("DELETE FROM t WHERE a = 'x'; UPDATE t SET a = 'zz' WHERE a = 'z'")
    let waiting = try edge.waiting()
    try app.run("VACUUM")
    _ = try edge.refresh()
    #expect(try edge.waiting() == waiting)
  }

  // MARK: Past the triggers

  @Test
  func `a trigger that is taken out of the catalogue by hand is put back at the next start, and the rows are brought`()
    throws
  {
    let app = try AppDatabase(pens + "; INSERT INTO pen VALUES (1, 'a', 1)")
    _ = try app.attach(.table("pen"))
    try Python.run(
      """
      for statement in ("PRAGMA writable_schema = ON; DELETE FROM sqlite_master WHERE name = 'drover_1_update'",
                        "UPDATE pen SET name = 'unseen'"):
          sqlite3.connect(sys.argv[1]).executescript(statement)
      """, app.path)
    let edge = try app.attach([.table("pen")], settled: false)
    try edge.bringAll()
    #expect(try edge.waiting() == ["put 1: 1, 'unseen', 1.0"])
  }

  // docs/capturing.md says so. Should a version of SQLite fire one, the page is wrong.
  @Test func `what is written into an open BLOB fires no trigger`() throws {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (1, x'0000')")
    let edge = try app.attach(.table("t"))
    app.connection.inDatabase { database in
      var blob: OpaquePointer?
      #expect(sqlite3_blob_open(database.sqliteConnection, "main", "t", "a", 1, 1, &blob) == SQLITE_OK)
      #expect(sqlite3_blob_write(blob, [UInt8(9)], 1, 0) == SQLITE_OK)
      #expect(sqlite3_blob_close(blob) == SQLITE_OK)
    }
    #expect(try app.lines("SELECT a FROM t") == ["x'0900'"])
    #expect(try edge.waiting() == [])
  }

  // MARK: What cannot be captured

  @Test(arguments: [
    ("CREATE TABLE a (x); CREATE VIEW t AS SELECT * FROM a", "t is a view"),
    ("CREATE VIRTUAL TABLE t USING fts5(x)", "t is a virtual"),
    ("CREATE TABLE t (rowid, _rowid_, oid)", "hide the rowid"),
    ("CREATE TABLE t (id INTEGER PRIMARY KEY, Drover_Version)", "reserved"),
  ])
  func `a stream that cannot be captured waits with the reason, and its table is left as it is`(
    schema: String, reason: String
  ) throws {
    let app = try AppDatabase(schema)
    let catalogue =
      "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE tbl_name NOT LIKE 'drover%' ORDER BY 1, 2"
    let before = try app.lines(catalogue)
    #expect(try app.refusal(.table("t")).contains(reason))
    #expect(try app.lines(catalogue) == before)
  }

  @Test func `a synced column that is not there is refused by name`() throws {
    let app = try AppDatabase(pens)
    #expect(try app.refusal(.table("pen", synced: "sent")).contains("no column sent"))
  }
}
