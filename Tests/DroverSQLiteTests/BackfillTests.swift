import DroverCore
import DroverSQLite
import GRDB
import Testing

/// Rows that were there before the agent came.
@Suite struct BackfillTests {
  private func numbers(_ count: Int) -> String {
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < \(count))"
  }

  @Test func `rows come in chunks, in the table's order, each once`() throws {
    let app = try AppDatabase(
      "CREATE TABLE t (id INTEGER PRIMARY KEY); \(numbers(25)) INSERT INTO t SELECT i * 3 FROM n")
    let edge = try app.attach([.table("t")], settled: false)
    #expect(edge.hasBackfill)
    var chunks: [Int] = []
    var hasMore = true
    while hasMore {
      let before = try edge.everything().entries.count
      hasMore = try edge.backfill(limit: 10)
      chunks.append(try edge.everything().entries.count - before)
    }
    #expect(chunks == [10, 10, 5, 0])
    #expect(!edge.hasBackfill)
    #expect(try edge.everything().entries.map(\.key) == (1...25).map { [.integer($0 * 3)] })
    #expect(try !edge.backfill(limit: 10))
    #expect(try app.integer("SELECT count(*) FROM drover_backfill") == 0)
  }

  @Test func `an interrupted backfill goes on where it was, and a finished one does not begin again`() throws {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY); \(numbers(30)) INSERT INTO t SELECT i FROM n")
    for chunk in 1...2 {
      let edge = try app.attach([.table("t")], settled: false)
      #expect(edge.hasBackfill)
      #expect(try edge.backfill(limit: 10))
      #expect(try edge.everything().entries.count == chunk * 10)
      // What was brought may be confirmed and gone: it does not come again.
      if chunk == 2 { try edge.confirmAll() }
    }
    let edge = try app.attach([.table("t")], settled: false)
    try edge.bringAll()
    #expect(try edge.everything().entries.map(\.key) == (21...30).map { [.integer($0)] })
    #expect(try !app.attach([.table("t")], settled: false).hasBackfill)
  }

  // A row whose entry was on its way when a column was added was passed over, because it waited already. What arrived was the row under
  // the old schema, and the new column stayed empty in the cloud.
  @Test func `a row that waits already is entered anew, once, because the entry may be on its way`() throws {
    let app = try AppDatabase(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    let edge = try app.attach([.table("t")], settled: false)
    try app.run("UPDATE t SET a = 'changed' WHERE id = 2; DELETE FROM t WHERE id = 3")
    try edge.bringAll()
    #expect(try edge.waiting() == ["delete 3", "put 1: 1, 'a'", "put 2: 2, 'changed'"])
  }

  @Test func `rows that come and go while the backfill runs end as they are`() throws {
    let app = try AppDatabase(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    let edge = try app.attach([.table("t")], settled: false)
    _ = try edge.backfill(limit: 2)
    try app.run(
      "UPDATE t SET a = 'x' WHERE id = 1; DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (0, 'new'); UPDATE t SET id = 4 WHERE id = 3"
    )
    try edge.bringAll()
    #expect(
      try Set(edge.waiting()) == ["put 1: 1, 'x'", "delete 2", "put 0: 0, 'new'", "delete 3", "put 4: 4, 'c'"])
    #expect(try edge.waiting().count == 5)
  }

  @Test(arguments: [
    "t (a TEXT COLLATE NOCASE, b INT, PRIMARY KEY (a, b DESC)) WITHOUT ROWID",
    "t (a, b, PRIMARY KEY (b, a)) WITHOUT ROWID",
    "t (a TEXT, b REAL, PRIMARY KEY (a, b))",
    "t (a, b)",
    "t (a ANY, b ANY, PRIMARY KEY (a, b)) STRICT, WITHOUT ROWID",
    "t (b INTEGER, a BLOB PRIMARY KEY)",
  ])
  func `every row of a table comes once, whatever its key and the size of a chunk`(table: String) throws {
    let app = try AppDatabase("CREATE TABLE \(table)")
    for (a, b) in [
      ("x", 1), ("x", 2), ("X1", 1), ("ab", -5), ("", 0), ("ZZ", 7), ("y", 7), ("ä", 7), ("12", 3), ("b'", 4),
    ] {
      try app.run("INSERT OR IGNORE INTO t (a, b) VALUES (?, ?)", .text(a), .integer(Int64(b)))
    }
    try app.run("INSERT OR IGNORE INTO t (a, b) VALUES (?, ?)", .text([0xff, 0]), .integer(9))
    let rows = try app.lines("SELECT a, b FROM t").sorted()
    #expect(rows.count > 8)
    for limit in 1...4 {
      let edge = try app.attach([.table("t")], settled: false)
      try edge.bringAll(limit)
      let schema = try #require(edge.streams[0].schema)
      let a = try #require(schema.columns.firstIndex { $0.name == "a" })
      let b = try #require(schema.columns.firstIndex { $0.name == "b" })
      let brought = try edge.everything().entries.map { entry in
        guard case .row(let values) = entry.content else { return "gone" }
        return line([values[a], values[b]])
      }
      #expect(brought.sorted() == rows)
      _ = try EdgeDatabase.detach(path: app.path)
    }
  }

  @Test func `a table with NULL in its keys is brought to its end`() throws {
    let app = try AppDatabase(
      "CREATE TABLE t (k TEXT PRIMARY KEY, a); INSERT INTO t VALUES (NULL, 1), ('x', 2), (NULL, 3), ('y', 4)")
    let edge = try app.attach([.table("t")], settled: false)
    try edge.bringAll(1)
    #expect(try edge.everything().entries.map(\.key) == [[.text("x")], [.null], [.text("y")]])
  }

  @Test func `several streams are brought one after the other`() throws {
    let app = try AppDatabase(
      "CREATE TABLE a (id INTEGER PRIMARY KEY); CREATE TABLE b (id INTEGER PRIMARY KEY); INSERT INTO a VALUES (1), (2); INSERT INTO b VALUES (1)"
    )
    let edge = try app.attach([.table("b"), .fed("f"), .table("a"), .table("missing")], settled: false)
    try edge.bringAll(1)
    #expect(try edge.everything().entries.map(\.stream) == [1, 3, 3])
  }

  @Test func `streams are brought in the order of the configuration: all products before the first receipt`() throws {
    let app = try AppDatabase(
      "CREATE TABLE products (id INTEGER PRIMARY KEY); CREATE TABLE receipts (id INTEGER PRIMARY KEY); INSERT INTO products VALUES (1), (2), (3); INSERT INTO receipts VALUES (1), (2)"
    )
    // The other way round first, so that the streams' numbers are of no help; and the orders come the other way round too.
    _ = try app.attach([.table("receipts"), .table("products")])
    let edge = try app.attach([.table("products"), .table("receipts")])
    for number in edge.streams.map(\.number).reversed() { _ = try edge.resync(ResyncOrder(), stream: number) }
    try edge.bringAll(1)
    let names = Dictionary(uniqueKeysWithValues: edge.streams.map { ($0.number, $0.name.text) })
    #expect(
      try edge.everything().entries.map { names[$0.stream] } == [
        "products", "products", "products", "receipts", "receipts",
      ])
  }

  @Test func `a fact that is brought and then deleted is still read`() throws {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    let edge = try app.attach([.table("t", kind: .payload)], settled: false)
    try edge.bringAll()
    try app.run("DELETE FROM t")
    #expect(try edge.waiting() == ["put 1: 1, 'a'", "put 2: 2, 'b'"])
  }

  @Test func `a backfill gives way to the app's lock and loses nothing`() throws {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2), (3)")
    let edge = try app.attach([.table("t")], settled: false, patience: .milliseconds(50))
    _ = try edge.backfill(limit: 1)
    try app.run("BEGIN IMMEDIATE; INSERT INTO t VALUES (4)")
    #expect(throws: EdgeStoreError.self) { try edge.backfill(limit: 1) }
    #expect(edge.hasBackfill)
    try app.run("COMMIT")
    try edge.bringAll(1)
    #expect(try edge.waiting() == ["put 1: 1", "put 2: 2", "put 3: 3", "put 4: 4"])
  }
}
