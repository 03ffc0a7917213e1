// The hard cases of rows that both sides edit, by name: with the product's own agent, consumer and stores, in a time of their own. docs/guarantees.md
// lists them.

import DroverCore
import DroverSQLite
import DroverSimulation
import DroverTesting
import Testing

@Suite(.ownThread) struct HardCaseTests {
  private static let table = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, n INTEGER)"

  private func pair(
    _ kind: CloudStoreKind, _ schema: String = table, _ tables: String..., journalMode: String = "delete",
    isKeyNatural: Bool = false, _ body: (Pair) throws -> Void
  ) throws {
    let streams = try (tables.isEmpty ? ["t"] : tables).map { name in
      try StreamDeclaration(name: StreamName(name), kind: .snapshot, table: name) {
        $0.flow = Flow(direction: .both, isKeyNatural: isKeyNatural)
      }
    }
    try Pair.run(kind.make, schema: schema, streams: streams, journalMode: journalMode) { pair in
      try pair.settle()
      try body(pair)
    }
  }

  /// Both sides hold these rows, and nothing is set aside.
  private func expect(
    _ pair: Pair, _ rows: [[Value]], refused: Int = 0, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let (edge, cloud) = (try pair.edgeRows(), try pair.cloudRows())
    #expect(edge == cloud, sourceLocation: sourceLocation)
    let found = edge.sorted { $0.key < $1.key }.map(\.value)
    #expect(found == rows, sourceLocation: sourceLocation)
    #expect(try pair.refusedRows().count == refused, sourceLocation: sourceLocation)
    #expect(try pair.cloudLetters() == 0, sourceLocation: sourceLocation)
  }

  private func lost(_ pair: Pair) throws -> [[Value]?] { try pair.listed().map(\.lost.value) }

  // MARK: Constraints

  @Test(arguments: CloudStoreKind.allCases)
  func `two rows swap a unique value`(kind: CloudStoreKind) throws {
    try pair(kind, "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE); INSERT INTO t VALUES (1, 'x'), (2, 'y')") {
      try $0.cloud.run("UPDATE t SET a = CASE id WHEN 1 THEN 'y' ELSE 'x' END WHERE machine_id = 'M1'")
      try $0.settle()
      try expect($0, [[1, "y"], [2, "x"]])
      try $0.app(
        "BEGIN; UPDATE t SET a = NULL WHERE id = 1; UPDATE t SET a = 'y' WHERE id = 2; UPDATE t SET a = 'x' WHERE id = 1; COMMIT"
      )
      try $0.settle()
      try expect($0, [[1, "x"], [2, "y"]])
      #expect(try $0.listed().isEmpty)
    }
  }

  @Test(arguments: CloudStoreKind.allCases)
  func `rows of two tables name each other`(kind: CloudStoreKind) throws {
    let schema = """
      CREATE TABLE t (id INTEGER PRIMARY KEY, other INTEGER NOT NULL REFERENCES u (id) DEFERRABLE INITIALLY DEFERRED);
      CREATE TABLE u (id INTEGER PRIMARY KEY, other INTEGER NOT NULL REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED);
      """
    try pair(kind, schema, "t", "u") {
      try $0.cloud.run(
        """
        BEGIN; INSERT INTO t (machine_id, id, other) VALUES ('M1', 1, 7);
        INSERT INTO u (machine_id, id, other) VALUES ('M1', 7, 1); COMMIT
        """)
      try $0.settle()
      try expect($0, [[1, 7], [7, 1]])
      #expect(try $0.edgeTexts("PRAGMA foreign_key_check").isEmpty)
      try $0.app("PRAGMA foreign_keys = ON; BEGIN; DELETE FROM t; DELETE FROM u; COMMIT")
      try $0.settle()
      try expect($0, [])
    }
  }

  // MARK: Locks

  @Test(arguments: ["delete", "wal"])
  func `an app that holds its write lock for ten minutes keeps the connection, and gets the row afterwards`(
    journalMode: String
  ) throws {
    try pair(.sqlite, journalMode: journalMode) {
      try $0.cloud.run("INSERT INTO t (machine_id, id, a) VALUES ('M1', 1, 'cloud')")
      try $0.app("BEGIN IMMEDIATE; INSERT INTO t VALUES (2, 'app', 0)")
      try $0.live(.seconds(600))
      #expect(try $0.edgeTexts("SELECT id FROM t") == ["2"])
      try $0.app("COMMIT")
      try $0.settle()
      try expect($0, [[1, "cloud", .null], [2, "app", 0]])
      #expect($0.connections == 1)
    }
  }

  @Test
  func `an app that reads for an hour in WAL mode holds up no row, and its own late write is the app's to repeat`()
    throws
  {
    try pair(.sqlite, journalMode: "wal") { pair in
      try pair.app("INSERT INTO t VALUES (1, 'old', 0)")
      try pair.settle()
      try pair.withOtherApp { app in
        try app("BEGIN; SELECT count(*) FROM t")
        try pair.cloud.run("UPDATE t SET a = 'cloud' WHERE machine_id = 'M1' AND id = 1")
        try pair.live(.seconds(3600), step: .seconds(10))
        #expect(try pair.edgeTexts("SELECT a FROM t") == ["cloud"])
        // SQLITE_BUSY_SNAPSHOT: what this transaction has read is not what is there.
        #expect { try app("UPDATE t SET n = 1") } throws: { "\($0)".contains("locked") }
        try app("ROLLBACK; UPDATE t SET n = 1")
      }
      try pair.settle()
      try expect(pair, [[1, "cloud", 1]])
      #expect(try pair.listed().isEmpty)
    }
  }

  @Test
  func
    `a psql transaction that stays open for an hour hides nothing that others commit, and goes down when it commits`()
    throws
  {
    try pair(.postgreSQL) {
      try $0.app("INSERT INTO t VALUES (1, 'old', 0), (2, 'old', 0)")
      try $0.settle()
      try $0.cloud.run("BEGIN; UPDATE t SET a = 'late' WHERE machine_id = 'M1' AND id = 1")
      try $0.cloud.runAside("UPDATE t SET a = 'early' WHERE machine_id = 'M1' AND id = 2")
      try $0.live(.seconds(1800), step: .seconds(10))
      #expect(try $0.edgeTexts("SELECT a FROM t ORDER BY id") == ["old", "early"])
      try $0.app("INSERT INTO t VALUES (3, 'app', 0)")
      try $0.live(.seconds(1800), step: .seconds(10))
      #expect(try $0.cloudRows().count == 3)
      try $0.cloud.run("COMMIT")
      try $0.settle()
      try expect($0, [[1, "late", 0], [2, "early", 0], [3, "app", 0]])
      #expect($0.connections == 1)
    }
  }

  // MARK: Edits that do not know of each other

  @Test(arguments: CloudStoreKind.allCases)
  func
    `a stale ORM object that is written after the cloud's edit arrived takes it back, and before that it is a conflict`(
      kind: CloudStoreKind
    ) throws
  {
    try pair(kind) {
      try $0.app("INSERT INTO t VALUES (1, 'old', 0)")
      try $0.settle()
      try $0.cloud.run("UPDATE t SET n = 5 WHERE machine_id = 'M1'")
      try $0.settle()
      // All columns as the object has read them, but one.
      try $0.app("UPDATE t SET a = 'app', n = 0 WHERE id = 1")
      try $0.settle()
      try expect($0, [[1, "app", 0]])
      #expect(try $0.listed().isEmpty)

      try $0.cloud.run("UPDATE t SET n = 6 WHERE machine_id = 'M1'")
      try $0.app("UPDATE t SET a = 'app 2', n = 0 WHERE id = 1")
      try $0.settle()
      let values: [[Value]] = [[1, "app", 6], [1, "app 2", 0]]
      let rows = try $0.edgeRows().values.map { $0 }
      #expect(try $0.edgeRows() == $0.cloudRows() && values.contains(rows[0]))
      #expect(try lost($0) == values.filter { $0 != rows[0] })
    }
  }

  @Test(arguments: CloudStoreKind.allCases)
  func `a delete on one side and an update on the other: the update stays, and the delete is listed`(
    kind: CloudStoreKind
  ) throws {
    try pair(kind) {
      try $0.app("INSERT INTO t VALUES (1, 'old', 0), (2, 'old', 0)")
      try $0.settle()
      $0.hasNetwork = false
      try $0.app("DELETE FROM t WHERE id = 1; UPDATE t SET a = 'app' WHERE id = 2")
      try $0.cloud.run(
        "UPDATE t SET a = 'cloud' WHERE machine_id = 'M1' AND id = 1; DELETE FROM t WHERE machine_id = 'M1' AND id = 2")
      try $0.live(.seconds(10))
      $0.hasNetwork = true
      try $0.settle()
      try expect($0, [[1, "cloud", 0], [2, "app", 0]])
      #expect(try $0.listed().map(\.localID).sorted() == ["1", "2"] && lost($0) == [nil, nil])
    }
  }

  @Test(arguments: CloudStoreKind.allCases)
  func `two new rows under a key that means nothing: the machine's keeps it, and the cloud's gets another`(
    kind: CloudStoreKind
  ) throws {
    try pair(kind) {
      $0.hasNetwork = false
      try $0.app("INSERT INTO t VALUES (1, 'app', 0)")
      try $0.cloud.run("INSERT INTO t (machine_id, id, a, n) VALUES ('M1', 1, 'cloud', 0)")
      try $0.live(.seconds(10))
      $0.hasNetwork = true
      try $0.settle()
      try expect($0, [[1, "app", 0]])
      let conflict = try #require(try $0.listed().first)
      #expect(conflict.lost.value == [1, "cloud", 0] && conflict.lost.reason == .key)
      #expect(try $0.cloud.conflicts().resolve(conflict.id, .both, seen: conflict.present) == .resolved)
      try $0.settle()
      try expect($0, [[1, "app", 0], [2, "cloud", 0]])
      #expect(try $0.listed().isEmpty)
    }
  }

  @Test(arguments: CloudStoreKind.allCases)
  func `two new rows under a natural key are one row, of which the later value stays`(kind: CloudStoreKind) throws {
    try pair(kind, "CREATE TABLE t (id TEXT PRIMARY KEY, a TEXT)", isKeyNatural: true) {
      $0.hasNetwork = false
      try $0.app("INSERT INTO t VALUES ('https://example.org/1', 'app')")
      $0.pass(.seconds(60))
      try $0.cloud.run("INSERT INTO t (machine_id, id, a) VALUES ('M1', 'https://example.org/1', 'cloud')")
      try $0.live(.seconds(10))
      $0.hasNetwork = true
      try $0.settle()
      try expect($0, [["https://example.org/1", "cloud"]])
      #expect(try lost($0) == [["https://example.org/1", "app"]])
    }
  }

  @Test(arguments: CloudStoreKind.allCases)
  func `a month offline with edits on both sides ends equal, and lists what lost`(kind: CloudStoreKind) throws {
    try pair(kind) {
      try $0.app("INSERT INTO t VALUES (1, 'old', 0), (2, 'old', 0), (3, 'old', 0), (4, 'old', 0), (5, 'old', 0)")
      try $0.settle()
      $0.hasNetwork = false
      try $0.app("UPDATE t SET a = 'app' WHERE id IN (1, 2); DELETE FROM t WHERE id IN (4, 5)")
      try $0.live(.seconds(15 * 86_400), step: .seconds(6 * 3600))
      try $0.cloud.run("UPDATE t SET a = 'cloud' WHERE machine_id = 'M1' AND id IN (2, 3, 4)")
      try $0.cloud.run("DELETE FROM t WHERE machine_id = 'M1' AND id = 5")
      try $0.live(.seconds(15 * 86_400), step: .seconds(6 * 3600))
      try $0.app("INSERT INTO t VALUES (6, 'app', 0)")
      try $0.cloud.run("INSERT INTO t (machine_id, id, a, n) VALUES ('M1', 7, 'cloud', 0)")
      $0.hasNetwork = true
      try $0.settle()
      try expect(
        $0, [[1, "app", 0], [2, "cloud", 0], [3, "cloud", 0], [4, "cloud", 0], [6, "app", 0], [7, "cloud", 0]])
      #expect(
        try Dictionary(uniqueKeysWithValues: $0.listed().map { ($0.localID, $0.lost.value) }) == [
          "2": [2, "app", 0], "4": nil,
        ])
    }
  }

  // The cloud forgets a delete after a week. The machine remembered it for ever, and took the new row for one that had not seen it.
  @Test(arguments: CloudStoreKind.allCases, ["app", "cloud"])
  func `a row is made again after its delete was forgotten, whichever side deleted it`(
    kind: CloudStoreKind, deletes: String
  ) throws {
    try pair(kind) {
      try $0.app("INSERT INTO t VALUES (1, 'old', 0), (2, 'old', 0)")
      try $0.settle()
      try $0.cloud.run("UPDATE t SET a = 'seen' WHERE machine_id = 'M1' AND id = 2")
      try $0.settle()
      if deletes == "app" { try $0.app("DELETE FROM t") } else { try $0.cloud.run("DELETE FROM t") }
      try $0.settle()
      try expect($0, [])
      try $0.live(.seconds(40 * 86_400), step: .seconds(6 * 3600))
      #expect(try $0.cloud.integers("SELECT count(*) FROM drover_tombstone") == [0])
      try $0.cloud.run("INSERT INTO t (machine_id, id, a, n) VALUES ('M1', 1, 'again', 1)")
      try $0.app("INSERT INTO t VALUES (2, 'again', 2)")
      try $0.settle()
      try expect($0, [[1, "again", 1], [2, "again", 2]])
      #expect(try $0.listed().isEmpty)
      try $0.app("UPDATE t SET n = 3 WHERE id = 1")
      try $0.cloud.run("UPDATE t SET n = 4 WHERE machine_id = 'M1' AND id = 2")
      try $0.settle()
      try expect($0, [[1, "again", 3], [2, "again", 4]])
      #expect(try $0.listed().isEmpty)
    }
  }

  // MARK: Restores

  @Test(arguments: CloudStoreKind.allCases)
  func `both sides are put back to backups of different days, and end equal`(kind: CloudStoreKind) throws {
    try pair(kind) {
      try $0.app("INSERT INTO t VALUES (1, 'old', 0), (2, 'old', 0), (3, 'old', 0)")
      try $0.settle()
      try $0.backUpMachine()
      try $0.cloud.run("UPDATE t SET a = 'cloud' WHERE machine_id = 'M1' AND id = 1")
      try $0.app("UPDATE t SET a = 'app' WHERE id = 2")
      try $0.settle()
      $0.killConsumer()
      try $0.cloud.backUp()
      try $0.cloud.run("UPDATE t SET a = 'late' WHERE machine_id = 'M1' AND id = 3")
      try $0.settle()
      try $0.restoreMachine()
      try $0.restoreCloud()
      try $0.settle()
      // What the cloud's backup has comes back to the machine; row 3 is lost on both.
      try expect($0, [[1, "cloud", 0], [2, "app", 0], [3, "old", 0]])
      #expect(try $0.listed().isEmpty)
      try $0.app("UPDATE t SET n = 1 WHERE id = 1")
      try $0.cloud.run("UPDATE t SET n = 2 WHERE machine_id = 'M1' AND id = 2")
      try $0.settle()
      try expect($0, [[1, "cloud", 1], [2, "app", 2], [3, "old", 0]])
      #expect(try $0.listed().isEmpty)
    }
  }

  @Test(arguments: CloudStoreKind.allCases)
  func `a machine is replaced by new hardware whose database comes from the cloud, and both sides go on editing`(
    kind: CloudStoreKind
  ) throws {
    try pair(kind) { pair in
      try pair.app("INSERT INTO t VALUES (1, 'app', 0), (2, 'app', 0), (3, 'app', 0)")
      try pair.cloud.run("INSERT INTO t (machine_id, id, a, n) VALUES ('M1', 9, 'cloud', 0)")
      try pair.settle()
      try pair.cloud.run("UPDATE t SET a = 'cloud' WHERE machine_id = 'M1' AND id = 2")
      try pair.settle()
      let rows = try pair.cloudRows().values.sorted { "\($0[0])" < "\($1[0])" }
      let store = (pair.cloud as? SQLitePairCloud)?.path
      try pair.replaceMachine { path in
        // SQLite's store makes the table itself, as `drover restore` does; from PostgreSQL a person copies the rows.
        if let store {
          _ = try MachineRestore(store: store, machine: Pair.machine, stream: nil, to: path, tables: [:])
            .run(removesExtra: false)
        } else {
          try pair.make(Self.table, rows, at: path)
        }
      }
      try pair.settle()
      let kept: [[Value]] = [[1, "app", 0], [2, "cloud", 0], [3, "app", 0], [9, "cloud", 0]]
      try expect(pair, kept)
      #expect(try pair.listed().isEmpty)
      try pair.app("UPDATE t SET n = 1 WHERE id = 1; DELETE FROM t WHERE id = 3")
      try pair.cloud.run("UPDATE t SET n = 2 WHERE machine_id = 'M1' AND id = 2")
      try pair.settle()
      try expect(pair, [[1, "app", 1], [2, "cloud", 2], [9, "cloud", 0]])
      #expect(try pair.listed().isEmpty)
    }
  }

  // The edit was made for a machine that is gone. Nothing may keep it from the one that has its name now.
  @Test(arguments: CloudStoreKind.allCases)
  func `an edit that waits for a machine reaches the new hardware`(kind: CloudStoreKind) throws {
    try pair(kind) { pair in
      try pair.app("INSERT INTO t VALUES (1, 'app', 0)")
      try pair.settle()
      let rows = try pair.cloudRows().values.map { $0 }
      pair.hasNetwork = false
      try pair.cloud.run("UPDATE t SET a = 'cloud' WHERE machine_id = 'M1'")
      try pair.live(.seconds(10))
      try pair.replaceMachine { try pair.make(Self.table, rows, at: $0) }
      pair.hasNetwork = true
      try pair.settle()
      try expect(pair, [[1, "cloud", 0]])
    }
  }
}
