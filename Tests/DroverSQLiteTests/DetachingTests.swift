import DroverCore
import DroverSQLite
import Foundation
import GRDB
import Testing

/// `detach` leaves the database as if Drover had never been there.
@Suite struct DetachingTests {
  private static let catalogue = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"

  static let schemas = [
    "CREATE TABLE t (id INTEGER PRIMARY KEY, a)",
    "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE); CREATE INDEX i ON t (a) WHERE a > 0; INSERT INTO t (a) VALUES (1)",
    """
    CREATE TABLE t (a TEXT, b INT, c, d, e, f, PRIMARY KEY (a, b, c, d, e, f)) WITHOUT ROWID;
    CREATE VIEW v AS SELECT a FROM t; CREATE TABLE log (x);
    CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log VALUES (NEW.a); END
    """,
    "CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE VIRTUAL TABLE search USING fts5 (a); CREATE VIEW broken AS SELECT * FROM nowhere",
    #"CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT COLLATE NOCASE UNIQUE); CREATE TABLE "drover" (x); CREATE TABLE droverish (y)"#,
    "CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 2); ANALYZE",
  ]

  @Test(arguments: schemas, [Kind.snapshot, .payload])
  func `the catalogue is what it was, and the file is sound`(schema: String, kind: Kind) throws {
    let app = try AppDatabase(schema)
    let before = try app.lines(Self.catalogue)
    let rows = try app.lines("SELECT * FROM t")
    do {
      let edge = try app.attach([.table("t", kind: kind), .fed("f")], settled: false)
      try edge.bringAll()
      try app.run("INSERT INTO drover_intake (stream, body) VALUES ('f', '{}')")
      #expect(try app.lines(Self.catalogue) != before)
    }
    let waiting = try app.integer("SELECT count(*) FROM drover_outbox")
    #expect(try EdgeDatabase.detach(path: app.path) == waiting)
    #expect(try app.lines(Self.catalogue) == before)
    #expect(try app.lines("SELECT * FROM t") == rows)
    #expect(try app.lines("PRAGMA integrity_check") == ["'ok'"])
    #expect(try DatabaseCheck.quickCheck(path: app.path) == [])
  }

  @Test func `detaching twice, or what was never attached, does nothing`() throws {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    let before = try app.lines(Self.catalogue)
    #expect(try EdgeDatabase.detach(path: app.path) == 0)
    _ = try app.attach(.table("t"))
    #expect(try EdgeDatabase.detach(path: app.path) == 0)
    #expect(try EdgeDatabase.detach(path: app.path) == 0)
    #expect(try app.lines(Self.catalogue) == before)
    #expect(try SQLiteEdgeReader(path: app.path).report() == nil)
  }

  @Test func `what an agent left half written when it was killed is taken up by the next, and by detach`() throws {
    // Each note used to be written under a name of its own first, and every kill in between left one file more in the app's folder.
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    let unfinished = app.path + "-drover.state.new"
    try Data("3f9".utf8).write(to: URL(fileURLWithPath: unfinished))
    _ = try app.attach(.table("t"))
    #expect(!FileManager.default.fileExists(atPath: unfinished))
    try Data("3f9".utf8).write(to: URL(fileURLWithPath: unfinished))
    _ = try EdgeDatabase.detach(path: app.path)
    let names = try FileManager.default.contentsOfDirectory(atPath: app.folder)
    #expect(!names.contains { $0.contains("drover") })
  }

  @Test func `detaching a file that is not there makes none`() throws {
    let app = try AppDatabase()
    #expect { try EdgeDatabase.detach(path: app.file("missing.db")) } throws: { "\($0)".contains("no such file") }
    #expect { try EdgeDatabase.detach(path: app.folder) } throws: { "\($0)".contains("it is a folder") }
    #expect(!app.exists("missing.db"))
  }

  @Test func `attaching again works, in a new epoch, and brings every row`() throws {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2)")
    let first = try app.attach(.table("t")).epoch
    _ = try EdgeDatabase.detach(path: app.path)
    try app.run("DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (3)")
    let edge = try app.attach([.table("t")], settled: false)
    #expect(edge.epoch != first)
    try edge.bringAll()
    #expect(try edge.waiting() == ["put 2: 2", "put 3: 3"])
    #expect(try edge.everything().entries.map(\.seq) == [1, 2])
  }

  // Everything whose name began with drover_ was dropped, also what the app had made.
  @Test func `what the app itself has named like Drover's is left alone`() throws {
    let app = try AppDatabase(
      """
      CREATE TABLE drover_log (id INTEGER PRIMARY KEY, cattle INT); INSERT INTO drover_log VALUES (1, 40);
      CREATE INDEX drover_log_cattle ON drover_log (cattle);
      CREATE VIEW drover_report AS SELECT sum(cattle) FROM drover_log;
      CREATE TRIGGER drover_2nd_check AFTER INSERT ON drover_log BEGIN SELECT 1; END;
      CREATE TABLE t (id INTEGER PRIMARY KEY)
      """)
    let before = try app.lines(Self.catalogue)
    do {
      let edge = try app.attach([
        .table("t"), StreamDeclaration(name: try StreamName("log"), kind: .snapshot, table: "drover_log"),
      ])
      _ = try edge.refresh()
    }
    _ = try EdgeDatabase.detach(path: app.path)
    #expect(try app.lines(Self.catalogue) == before)
    #expect(try app.lines("SELECT * FROM drover_log") == ["1, 40"])
  }

  @Test func `a lock of the app's stops a detach as a whole`() throws {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY)", journalMode: "wal")
    _ = try app.attach(.table("t"))
    let attached = try app.lines(Self.catalogue)
    try app.run("BEGIN IMMEDIATE; INSERT INTO t VALUES (1)")
    let path = app.path
    let detaching = Background { _ = try EdgeDatabase.detach(path: path) }
    // It waits for the lock, and does its work once the app has committed.
    #expect(try app.lines(Self.catalogue) == attached)
    try app.run("COMMIT")
    try detaching.wait()
    #expect(try app.integer("SELECT count(*) FROM sqlite_master") == 1)
    #expect(try app.integer("SELECT count(*) FROM t") == 1)
  }
}
