import DroverCore
import DroverSQLite
import GRDB
import Testing

/// A table that is not as configured, or that cannot be read, once stopped every stream of the machine, and an agent that was started then ended at
/// once. Only its own stream waits now, with what is the matter and what to do.
@Suite struct StreamWaitTests {
  private static let tables = """
    CREATE TABLE plain (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO plain VALUES (1, 'x');
    CREATE TABLE cust (id INTEGER PRIMARY KEY, name TEXT, ssn TEXT); INSERT INTO cust VALUES (1, 'Ann', 's');
    """

  private func customers(
    _ change: (inout StreamDeclaration) throws -> Void = { $0.selection.exclude = ["ssn"] }
  ) throws -> [StreamDeclaration] {
    var declaration = try StreamDeclaration.table("cust")
    try change(&declaration)
    return try [declaration, .table("plain")]
  }

  @Test(arguments: [
    "ALTER TABLE cust RENAME COLUMN ssn TO social", "ALTER TABLE cust DROP COLUMN ssn",
    "ALTER TABLE cust RENAME TO customers; CREATE VIEW cust AS SELECT * FROM customers",
    "ALTER TABLE cust RENAME TO customers", "DROP TABLE cust",
    "DROP TABLE cust; CREATE VIRTUAL TABLE cust USING fts5 (ssn)",
  ])
  func `a migration that the configuration does not know of holds back its own stream alone`(sql: String) throws {
    let app = try AppDatabase(Self.tables)
    let edge = try app.attach(customers())
    try app.run("\(sql); INSERT INTO plain VALUES (2, 'y')")
    #expect(try edge.refresh())
    #expect(edge.waits.map(\.stream.text) == ["cust"])
    #expect(edge.waits.map(\.table) == ["cust"])
    #expect(edge.waits.allSatisfy { !$0.reason.isEmpty && !$0.advice.isEmpty && $0.since > 0 })
    #expect(try edge.waiting().filter { $0.hasSuffix("'y'") } == ["put 2: 2, 'y'"])
    #expect(try SQLiteEdgeReader(path: app.path).report()?.waits == edge.waits)
    // An agent that is started now begins all the same, and since when it waits stays so.
    let next = try app.attach(customers(), settled: false)
    #expect(next.waits == edge.waits)
    #expect(try next.waiting().contains("put 2: 2, 'y'"))
  }

  @Test func `what is written while a column is gone is captured, and goes when the configuration is mended`() throws {
    let app = try AppDatabase(Self.tables)
    let edge = try app.attach(customers())
    try app.run("ALTER TABLE cust RENAME COLUMN ssn TO social; INSERT INTO cust VALUES (2, 'Bob', 't')")
    _ = try edge.refresh()
    try app.run("INSERT INTO cust VALUES (3, 'Cid', 'u'); DELETE FROM cust WHERE id = 1")
    // An entry shows nothing of a table that is not as configured: the column might be one that must not travel.
    #expect(try edge.waiting() == ["delete ", "delete ", "delete "])
    #expect(try edge.outboxFigures().waiting == 3)
    let mended = try app.attach(customers { $0.selection.exclude = ["social"] }, settled: false)
    #expect(mended.waits.isEmpty)
    try mended.bringAll()
    #expect(Set(try mended.waiting()) == ["put 2: 2, 'Bob'", "put 3: 3, 'Cid'", "delete 1"])
    #expect(try SQLiteEdgeReader(path: app.path).report()?.waits == [])
  }

  @Test func `a table that is made again goes on by itself, and all of its rows come`() throws {
    let app = try AppDatabase(Self.tables)
    let warnings = Warnings()
    let edge = try app.attach(customers(), warn: warnings.note)
    try app.run("DROP TABLE cust")
    _ = try edge.refresh()
    _ = try edge.refresh()
    #expect(warnings.texts.filter { $0.hasPrefix("capture cust: the stream waits") }.count == 1)
    try app.run(
      "CREATE TABLE cust (id INTEGER PRIMARY KEY, name TEXT, ssn TEXT); INSERT INTO cust VALUES (7, 'Eve', 'v')")
    #expect(try edge.refresh())
    try edge.bringAll()
    #expect(try edge.waiting() == ["put 7: 7, 'Eve'"])
    #expect(edge.waits.isEmpty && edge.gaps.keys.map(\.text) == ["cust"])
    #expect(warnings.texts.contains("capture cust: it goes on"))
  }

  @Test(arguments: [
    "key", "key of a batch", "where", "complete_when", "references", "synced", "kind", "another table", "no table",
  ])
  func `a stream whose configuration does not fit waits alone`(what: String) throws {
    let app = try AppDatabase(Self.tables + "CREATE TABLE l (n INTEGER PRIMARY KEY, c INT)")
    _ = try app.attach(customers { _ in })
    let streams = try customers { declaration in
      switch what {
      case "key": declaration.key = ["number"]
      case "key of a batch": (declaration.kind, declaration.key) = (.batch, ["number"])
      case "where": declaration.selection.filter = try Condition(parsing: "number = 1")
      case "complete_when":
        (declaration.kind, declaration.completeWhen) = (.batch, try Condition(parsing: "number = 1"))
      case "references": (declaration.kind, declaration.with) = (.batch, [try .lines("l", ["x": "id"])])
      case "synced": declaration.syncedColumn = "number"
      case "kind": declaration.kind = .payload
      case "another table": declaration.table = "l"
      default: declaration.table = nil
      }
    }
    try app.run("INSERT INTO plain VALUES (2, 'y')")
    let edge = try app.attach(streams, settled: false)
    #expect(edge.waits.map(\.stream.text) == ["cust"])
    #expect(try edge.waiting() == ["put 2: 2, 'y'"])
    // As it was before, it goes on.
    #expect(try app.attach(customers { _ in }, settled: false).waits.isEmpty)
  }

  // MARK: Tables that only the app's own connections can read

  private static let app = """
    a = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=5)
    a.create_collation("unicase", lambda x, y: (x.lower() > y.lower()) - (x.lower() < y.lower()))
    a.create_function("slug", 1, lambda s: s.lower(), deterministic=True)
    for sql in sys.argv[2:]: a.execute(sql)
    """

  @Test(arguments: [
    ("CREATE TABLE odd (name TEXT COLLATE unicase PRIMARY KEY, n INT)", "unicase"),
    ("CREATE TABLE odd (name TEXT COLLATE unicase PRIMARY KEY, n INT) WITHOUT ROWID", "unicase"),
    ("CREATE TABLE odd (id INTEGER PRIMARY KEY, name TEXT, s TEXT AS (slug(name)) VIRTUAL)", "slug"),
  ])
  func `a table under an app's own collation or function holds back its own stream alone`(
    table: String, word: String
  ) throws {
    let app = try AppDatabase("CREATE TABLE plain (id INTEGER PRIMARY KEY, v TEXT)")
    try Python.run(Self.app, app.path, table)
    let streams = try [StreamDeclaration.table("odd"), .table("plain")]
    #expect(try DatabaseCheck.refusal(of: streams[0], path: app.path)?.reason.contains(word) == true)
    // The rest of the file can be checked all the same.
    #expect(try DatabaseCheck.quickCheck(path: app.path) == [])
    let edge = try app.attach(streams)
    #expect(edge.waits.map(\.stream.text) == ["odd"])
    #expect(edge.waits[0].reason.contains(word))
    // The app's own writes go on, and are captured.
    try Python.run(
      Self.app, app.path, "INSERT INTO odd (name) VALUES ('Ann')", "INSERT INTO plain VALUES (1, 'x')",
      "UPDATE odd SET name = 'Bea'")
    #expect(try edge.waiting().contains("put 1: 1, 'x'"))
    #expect(try edge.outboxFigures().waiting >= 2)
    // Mended by the app, which copies its rows into a table that anybody can read.
    try Python.run(
      Self.app, app.path, "CREATE TABLE new (id INTEGER PRIMARY KEY, name TEXT)",
      "INSERT INTO new (name) SELECT name FROM odd", "DROP TABLE odd", "ALTER TABLE new RENAME TO odd")
    _ = try edge.refresh()
    try edge.bringAll()
    #expect(edge.waits.isEmpty)
    #expect(try edge.waiting().contains("put 1: 1, 'Bea'"))
  }

  @Test func `an index under an app's own collation is in nobody's way`() throws {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, synced INT)")
    try Python.run(Self.app, app.path, "CREATE INDEX n ON t (name COLLATE unicase)")
    let edge = try app.attach(.table("t", synced: "synced"))
    try Python.run(Self.app, app.path, "INSERT INTO t (name) VALUES ('Ann')")
    #expect(try edge.waiting() == ["put 1: 1, 'Ann', 1"])
    try edge.acknowledgeAll()
    try edge.confirmAll()
    #expect(try edge.waiting() == [])
  }

  @Test func `a flag that could not be set while its stream waited is set later`() throws {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY, synced INT)")
    let edge = try app.attach(.table("t", synced: "synced"))
    try app.run("INSERT INTO t VALUES (1, 0)")
    #expect(try edge.waiting() == ["put 1: 1, 1"])
    try Python.run(Self.app, app.path, "ALTER TABLE t ADD COLUMN s TEXT AS (slug(id)) VIRTUAL")
    _ = try edge.looking { try edge.acknowledgeAll() }
    #expect(edge.waits.count == 1)
    try edge.confirmAll()
    try Python.run(Self.app, app.path, "ALTER TABLE t DROP COLUMN s")
    _ = try edge.refresh()
    try edge.bringAll()
    try edge.acknowledgeAll()
    #expect(try app.lines("SELECT * FROM t") == ["1, 1"])
  }

  @Test func `a row that cannot be read holds back its stream until it is mended`() throws {
    let app = try AppDatabase(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, doc TEXT); CREATE TABLE u (id INTEGER PRIMARY KEY)")
    let edge = try app.attach([.table("t"), .table("u")])
    try app.run("INSERT INTO t VALUES (1, '{\"v\":1}'), (2, 'no json'); INSERT INTO u VALUES (1)")
    // SQLite looks at no row when it adds a column that is computed.
    try app.run("ALTER TABLE t ADD COLUMN v AS (json_extract(doc, '$.v'))")
    _ = try edge.refresh()
    #expect(edge.waits.isEmpty)
    #expect(try edge.waiting() == ["put 1: 1, '{\"v\":1}', 1", "delete 2", "put 1: 1"])
    #expect(edge.waits.map(\.stream.text) == ["t"])
    // Looked at anew it still cannot be read, and that is written down.
    #expect { try edge.waiting() } throws: { if case EdgeStoreError.schemaChanged = $0 { true } else { false } }
    _ = try edge.refresh()
    #expect(edge.waits.map(\.stream.text) == ["t"])
    #expect(try SQLiteEdgeReader(path: app.path).report()?.waits == edge.waits)
    #expect(try edge.waiting() == ["delete ", "delete ", "put 1: 1"])
    try app.run("UPDATE t SET doc = '{}' WHERE id = 2")
    _ = try edge.refresh()
    #expect(edge.waits.isEmpty)
    #expect(Set(try edge.waiting()) == ["put 1: 1, '{\"v\":1}', 1", "put 2: 2, '{}', NULL", "put 1: 1"])
  }

  @Test func `rows that cannot be walked hold back their own stream alone`() throws {
    let app = try AppDatabase(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, doc TEXT); CREATE UNIQUE INDEX i ON t (id); INSERT INTO t VALUES (1, '{}'), (2, 'no json'); CREATE TABLE u (id INTEGER PRIMARY KEY); INSERT INTO u VALUES (1)"
    )
    try app.run("ALTER TABLE t ADD COLUMN v AS (json_extract(doc, '$.v'))")
    var odd = try StreamDeclaration.table("t")
    odd.key = ["v", "id"]
    let edge = try app.attach([odd, .table("u")], settled: false)
    _ = try edge.looking { try edge.bringAll() }
    #expect(edge.waits.map(\.stream.text) == ["t"])
    try edge.bringAll()
    #expect(try edge.waiting() == ["put 1: 1"])
  }
}
