import DroverCore
import DroverSQLite
import GRDB
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

  @Test func `superseding uses the index, whatever the key's type is`() throws {
    let app = try AppDatabase("CREATE TABLE t (k TEXT COLLATE NOCASE, l INTEGER, PRIMARY KEY (k, l)) WITHOUT ROWID")
    let edge = try app.attach(.table("t"))
    try withExtendedLifetime(edge) {
      let plan = try app.lines(
        """
        EXPLAIN QUERY PLAN SELECT seq FROM drover_outbox
         WHERE stream = 1 AND body IS NULL AND key IS (SELECT +k FROM t) AND key2 IS (SELECT +l FROM t)
        """)
      #expect(plan.contains { $0.contains("drover_outbox_key (stream=? AND key=? AND key2=?)") })
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
