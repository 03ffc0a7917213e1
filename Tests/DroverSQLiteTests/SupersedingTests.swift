import DroverCore
import DroverSQLite
import GRDB
import GRDBSQLite
import Testing

/// An entry says which row changed, so of a row that changes a thousand times only the newest entry stays.
@Suite struct SupersedingTests {
  @Test func `only the newest entry of a key stays, and it stands where the row changed last`() throws {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
    let edge = try app.attach(.table("t"))
    try app.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    try app.run("UPDATE t SET a = 'c' WHERE id = 1")
    #expect(try edge.waiting() == ["put 2: 2, 'b'", "put 1: 1, 'c'"])
    try app.run("DELETE FROM t WHERE id = 2")
    #expect(try edge.waiting() == ["put 1: 1, 'c'", "delete 2"])
    try app.run("INSERT INTO t VALUES (2, 'd')")
    #expect(try edge.waiting() == ["put 1: 1, 'c'", "put 2: 2, 'd'"])
  }

  @Test func `twenty thousand updates of a thousand rows leave a thousand entries`() throws {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY, n INT)")
    let edge = try app.attach(.table("t"))
    try app.connection.inDatabase { database in
      try database.inTransaction {
        let insert = try database.makeStatement(sql: "INSERT INTO t VALUES (?, 0)")
        for id in 0..<1000 { try insert.execute(arguments: [id]) }
        let update = try database.makeStatement(sql: "UPDATE t SET n = n + 1 WHERE id = ?")
        for turn in 0..<20_000 { try update.execute(arguments: [turn * 7 % 1000]) }
        return .commit
      }
    }
    #expect(try app.integer("SELECT count(*) FROM drover_outbox") == 1000)
    let entries = try edge.everything().entries
    #expect(entries.count == 1000)
    #expect(entries.allSatisfy { $0.content == .row([$0.key[0], .integer(20)]) })
    #expect(entries.last?.seq == 21_000)
  }

  @Test(arguments: [
    ("CREATE TABLE t (k TEXT COLLATE NOCASE PRIMARY KEY, a UNIQUE, synced INT)", Kind.snapshot),
    ("CREATE TABLE t (k INTEGER PRIMARY KEY, a, synced INT)", .snapshot),
    ("CREATE TABLE t (k REAL, a, synced INT, PRIMARY KEY (k, a)) WITHOUT ROWID", .batch),
    ("CREATE TABLE t (k TEXT, a, synced INT, PRIMARY KEY (k))", .payload),
    ("CREATE TABLE t (k, a, synced INT)", .payload),
  ])
  func `what a write costs the app does not grow with the outbox`(schema: String, kind: Kind) throws {
    let app = try AppDatabase(schema)
    let edge = try app.attach(.table("t", kind: kind, synced: "synced"))
    try withExtendedLifetime(edge) {
      var costs: [[Int32]] = []
      for count in [20, 2000] {
        let many = """
          WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < \(count))
          INSERT OR IGNORE INTO t (k, a) SELECT i, i FROM n
          """
        // Deleted in between, so that there are facts that are kept.
        try app.run("\(many); DELETE FROM t; \(many)")
        costs.append(
          try [
            "INSERT INTO t (k, a) VALUES (-1, -1)", "UPDATE t SET a = -2 WHERE rowid_or_key",
            "REPLACE INTO t (k, a) VALUES (-1, -2)",
            "UPDATE t SET k = -3 WHERE rowid_or_key", "DELETE FROM t WHERE rowid_or_key",
          ].map { sql in
            try steps(
              sql.replacing("rowid_or_key", with: schema.contains("k, a, s") ? "rowid = last_insert_rowid()" : "k < 0"),
              app)
          })
      }
      for (small, large) in zip(costs[0], costs[1]) { #expect(large < small * 2) }
    }
  }

  /// How many instructions SQLite runs for a statement, its triggers' included (https://www.sqlite.org/c3ref/c_stmtstatus_counter.html).
  private func steps(_ sql: String, _ app: AppDatabase) throws -> Int32 {
    try app.connection.inDatabase { database in
      let statement = try database.makeStatement(sql: sql)
      try statement.execute()
      return sqlite3_stmt_status(statement.sqliteStatement, SQLITE_STMTSTATUS_VM_STEP, 0)
    }
  }

  @Test func `keys of different types that look alike do not supersede each other`() throws {
    let app = try AppDatabase("CREATE TABLE t (k PRIMARY KEY, a)")
    let edge = try app.attach(.table("t"))
    try app.run(
      "INSERT INTO t VALUES (1, 'integer'), ('1', 'text'), (x'31', 'blob'), ('', 'empty'), (x'', 'empty blob')")
    #expect(
      try edge.waiting() == [
        "put 1: 1, 'integer'", "put '1': '1', 'text'", "put x'31': x'31', 'blob'", "put '': '', 'empty'",
        "put x'': x'', 'empty blob'",
      ])
  }

  @Test func `rows of two streams with the same key do not supersede each other`() throws {
    let app = try AppDatabase("CREATE TABLE a (id INTEGER PRIMARY KEY); CREATE TABLE b (id INTEGER PRIMARY KEY)")
    let edge = try app.attach([.table("a"), .table("b")])
    try app.run("INSERT INTO a VALUES (1); INSERT INTO b VALUES (1); INSERT INTO a VALUES (2); DELETE FROM b")
    #expect(
      try edge.everything().entries.map { "\($0.stream) \(line($0))" } == ["1 put 1: 1", "1 put 2: 2", "2 delete 1"])
  }

  @Test func `an entry on its way goes too: the newer one speaks for both`() throws {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
    let edge = try app.attach(.table("t"))
    try app.run("INSERT INTO t VALUES (1, 'a')")
    try edge.acknowledgeAll()
    try app.run("UPDATE t SET a = 'b'")
    #expect(try edge.waiting() == ["put 1: 1, 'b'"])
    #expect(try edge.acknowledged() == [:])
  }
}
