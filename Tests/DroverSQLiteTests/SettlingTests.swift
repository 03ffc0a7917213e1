import DroverCore
import DroverSQLite
import GRDB
import Testing

/// `settle`: what the broker acknowledged is marked, what the cloud confirmed is forgotten.
@Suite struct SettlingTests {
  private let table = "CREATE TABLE t (id INTEGER PRIMARY KEY, synced INT DEFAULT 0)"

  private func settlement(synced: [Int: IntervalSet] = [:], confirmed: [Int: IntervalSet] = [:]) -> Settlement {
    var settlement = Settlement()
    settlement.synced = synced
    settlement.confirmed = confirmed
    return settlement
  }

  private func outbox(_ app: AppDatabase) throws -> [String] {
    try app.lines("SELECT seq, stream, synced FROM drover_outbox ORDER BY seq")
  }

  private func report(_ app: AppDatabase) throws -> EdgeReport {
    let report = try SQLiteEdgeReader(path: app.path).report()
    return try #require(report)
  }

  @Test func `a PUBACK marks the entries of its stream in its interval, and no others`() throws {
    let app = try AppDatabase(table + "; CREATE TABLE u (id INTEGER PRIMARY KEY)")
    let edge = try app.attach([.table("t"), .table("u")])
    try app.run("INSERT INTO t (id) VALUES (1), (2); INSERT INTO u VALUES (1); INSERT INTO t (id) VALUES (3)")
    try edge.settle(settlement(synced: [1: [2...3]]))
    #expect(try outbox(app) == ["1, 1, 0", "2, 1, 1", "3, 2, 0", "4, 1, 0"])
    try edge.settle(settlement(synced: [1: [1...1, 4...9], 2: [3...3]]))
    #expect(try outbox(app) == ["1, 1, 1", "2, 1, 1", "3, 2, 1", "4, 1, 1"])
  }

  @Test func `a confirmation forgets the entries of its stream in its intervals, and no others`() throws {
    let app = try AppDatabase(table + "; CREATE TABLE u (id INTEGER PRIMARY KEY)")
    let edge = try app.attach([.table("t"), .table("u")])
    try app.run("INSERT INTO t (id) VALUES (1), (2); INSERT INTO u VALUES (1); INSERT INTO t (id) VALUES (3)")
    try edge.settle(settlement(confirmed: [1: [1...1, 3...4]]))
    #expect(try outbox(app) == ["2, 1, 0", "3, 2, 0"])
  }

  // Only the front was written down. Seed 20935 of the simulation: what was confirmed beyond a gap had left the outbox, the cloud was put
  // back to before it had it, and the agent that was started then noticed nothing.
  @Test func `what is confirmed beyond a gap is known to the next start, until the front has passed it`() throws {
    let app = try AppDatabase(table + "; CREATE TABLE u (id INTEGER PRIMARY KEY)")
    var edge = try app.attach([.table("t"), .table("u")])
    try app.run("INSERT INTO t (id) VALUES (1), (2), (3), (4), (5), (6), (7)")
    func confirm(_ set: IntervalSet, front: Int64) throws {
      var confirmed = settlement(confirmed: [1: set])
      confirmed.fronts = [1: front]
      try edge.settle(confirmed)
    }
    func next() throws -> Relay {
      edge = try app.attach([.table("t"), .table("u")], settled: false)
      return Relay(
        limits: .init(), seed: 1, confirmed: try edge.confirmed(), acknowledged: try edge.acknowledged(),
        hasBackfill: false, now: ContinuousClock().now)
    }
    func ahead() throws -> [String] { try app.lines("SELECT * FROM drover_ahead") }
    try confirm([1...1, 3...3, 6...6], front: 1)
    #expect(try ahead() == ["1, 2, 3", "1, 5, 6"])
    #expect(try next().isBehind([1: [1...5]]))
    #expect(try !next().isBehind([1: [1...1, 3...3, 6...6]]))
    try confirm([4...4], front: 1)
    #expect(try ahead() == ["1, 2, 4", "1, 5, 6"])
    try confirm([2...2], front: 4)
    #expect(try ahead() == ["1, 5, 6"])
    #expect(try edge.confirmed() == [1: [1...4, 6...6]])
    try confirm([5...5], front: 6)
    #expect(try ahead() == [])
    #expect(try edge.confirmed() == [1: [1...6]])
  }

  @Test func `what is confirmed beyond a gap and retained is not taken for what the broker alone has`() throws {
    let app = try AppDatabase()
    let edge = try app.attach([.fed("f")])
    for _ in 1...3 { try app.run("INSERT INTO drover_intake (stream, body) VALUES ('f', '{}')") }
    try edge.settle(settlement(synced: [1: [1...2]], confirmed: [1: [3...3]]))
    #expect(try outbox(app) == ["1, 1, 1", "2, 1, 1", "3, 1, 1"])
    #expect(try edge.acknowledged() == [1: [1...2]])
  }

  @Test func `a new epoch confirms nothing, also beyond a gap`() throws {
    let app = try AppDatabase(table)
    let edge = try app.attach(.table("t"))
    try app.run("INSERT INTO t (id) VALUES (1), (2)")
    try edge.settle(settlement(confirmed: [1: [2...2]]))
    try edge.startEpoch(because: "this test says so")
    #expect(try edge.confirmed() == [:])
  }

  // A REPLACE that took a row's place through another unique column had entered it as a put; confirmed, the entry was forgotten as if
  // its table could bring it again. So a cloud that was put back to a backup kept the row for ever.
  @Test func `a row that a REPLACE displaced is retained as a delete, one that stayed is not`() throws {
    let app = try AppDatabase("CREATE TABLE t (id TEXT COLLATE NOCASE PRIMARY KEY, u UNIQUE)")
    let edge = try app.attach(.table("t"))
    try app.run("INSERT INTO t VALUES ('a', 1), ('b', 2), ('c', 3)")
    try edge.confirmAll()
    try app.run("INSERT OR REPLACE INTO t VALUES ('d', 1); INSERT OR IGNORE INTO t VALUES ('e', 2)")
    try app.run("INSERT OR REPLACE INTO t VALUES ('C', 4)")
    #expect(
      try edge.waiting() == ["delete 'a'", "put 'd': 'd', 1", "put 'b': 'b', 2", "delete 'c'", "put 'C': 'C', 4"])
    try edge.confirmAll()
    #expect(try app.lines("SELECT op, key FROM drover_outbox ORDER BY seq") == ["'delete', 'a'", "'delete', 'c'"])
  }

  @Test func `a confirmation that was heard before the PUBACK sets the app's flag too`() throws {
    let app = try AppDatabase(table)
    let edge = try app.attach(.table("t", synced: "synced"))
    try app.run("INSERT INTO t (id) VALUES (1), (2)")
    try edge.settle(settlement(confirmed: [1: [1...1]]))
    #expect(try app.lines("SELECT * FROM t") == ["1, 1", "2, 0"])
  }

  @Test func `a PUBACK and a confirmation of the same entries may come in one settlement, and twice`() throws {
    let app = try AppDatabase(table)
    let edge = try app.attach(.table("t", synced: "synced"))
    try app.run("INSERT INTO t (id) VALUES (1), (2)")
    for _ in 1...2 {
      try edge.settle(settlement(synced: [1: [1...2]], confirmed: [1: [1...2]]))
      #expect(try outbox(app) == [])
      #expect(try app.lines("SELECT * FROM t") == ["1, 1", "2, 1"])
      #expect(try report(app).streams[0].confirmed == 2)
    }
  }

  @Test func `the figures rest on the outbox: pending, synced, confirmed, and the oldest that waits`() throws {
    let app = try AppDatabase(table + "; CREATE TABLE u (id INTEGER PRIMARY KEY)")
    let edge = try app.attach([.table("t"), .table("u"), .fed("f")])
    try app.run("INSERT INTO t (id) VALUES (1), (2), (3), (4); INSERT INTO u VALUES (1)")
    try edge.settle(settlement(synced: [1: [1...2]], confirmed: [1: [1...1]]))
    let found = try report(app)
    #expect(found.epoch == edge.epoch.text)
    #expect(found.journalMode == "delete")
    #expect(found.streams.map(\.name) == ["t", "u", "f"])
    #expect(found.streams.map(\.table) == ["t", "u", nil])
    #expect(found.streams.map(\.pending) == [2, 1, 0])
    #expect(found.streams.map(\.synced) == [1, 0, 0])
    #expect(found.streams.map(\.confirmed) == [1, 0, 0])
    let versions = try app.lines("SELECT version FROM drover_outbox ORDER BY seq")
    #expect(found.streams.map { $0.oldestUnconfirmed.map(String.init) } == [versions[0], versions[3], nil])
  }

  @Test func `the app's flag is set on rows, never on deletes, and a delete settles all the same`() throws {
    let app = try AppDatabase(table + "; INSERT INTO t VALUES (1, 0)")
    let edge = try app.attach(.table("t", synced: "synced"))
    try app.run("DELETE FROM t; INSERT INTO t VALUES (2, 0)")
    try edge.acknowledgeAll()
    #expect(try app.lines("SELECT * FROM t") == ["2, 1"])
    #expect(try outbox(app) == ["2, 1, 1", "3, 1, 1"])
  }

  @Test(arguments: [
    "t (id TEXT COLLATE NOCASE PRIMARY KEY, b DEFAULT 7, synced INT)",
    "t (id, b DEFAULT 7, synced INT, PRIMARY KEY (b, id)) WITHOUT ROWID",
    "t (id TEXT, b DEFAULT 7, synced INT)", "t (id TEXT PRIMARY KEY, b INT DEFAULT 7, synced TEXT) STRICT",
  ])
  func `the flag finds its row whatever the key is`(table: String) throws {
    let app = try AppDatabase("CREATE TABLE \(table)")
    let edge = try app.attach(.table("t", synced: "synced"))
    try app.run("INSERT INTO t (id, synced) VALUES ('a', 0), ('b', NULL), ('', '0')")
    try edge.acknowledge(1...2)
    let flags = try app.lines("SELECT id, synced IS 1 OR synced IS '1' FROM t ORDER BY id")
    #expect(flags == ["'', 0", "'a', 1", "'b', 1"])
  }

  // MARK: Constraints of the app's

  @Test func `a constraint that refuses the flag is warned of, and the events travel all the same`() throws {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY, synced INT DEFAULT 0 CHECK (synced IN (0, 2)))")
    let warnings = Warnings()
    let edge = try app.attach([.table("t", synced: "synced")], warn: warnings.note)
    try app.run("INSERT INTO t (id) VALUES (1), (2)")
    try edge.acknowledgeAll()
    #expect(try app.lines("SELECT * FROM t") == ["1, 0", "2, 0"])
    #expect(try edge.acknowledged() == [1: [1...2]])
    #expect(warnings.texts.contains { $0.contains("set t.synced") })
    try edge.confirmAll()
    #expect(try outbox(app) == [])
  }

  // One row that could not be flagged ended the loop, and the rows after it were never flagged: their entries were synced by then.
  @Test func `a row that refuses the flag keeps no other row from it, and is warned of once`() throws {
    let app = try AppDatabase(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, ready INT, synced INT DEFAULT 0 CHECK (ready OR NOT synced))")
    let warnings = Warnings()
    let edge = try app.attach([.table("t", synced: "synced")], warn: warnings.note)
    try app.run("INSERT INTO t (id, ready) VALUES (1, 1), (2, 0), (3, 1), (4, 0), (5, 1)")
    try edge.acknowledgeAll()
    #expect(try app.lines("SELECT id, synced FROM t") == ["1, 1", "2, 0", "3, 1", "4, 0", "5, 1"])
    #expect(warnings.texts.count == 1)
  }

  // A unique constraint may say what happens on a conflict. With ON CONFLICT REPLACE the flag deleted a row of the app's, and with ON
  // CONFLICT ROLLBACK it ended Drover's transaction in the middle.
  @Test(arguments: ["REPLACE", "ROLLBACK", "IGNORE", "FAIL"])
  func `the flag never costs the app a row`(clause: String) throws {
    let app = try AppDatabase(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, slot INT, synced INT, UNIQUE (slot, synced) ON CONFLICT \(clause))")
    let edge = try app.attach(.table("t", synced: "synced"))
    try app.run("INSERT INTO t VALUES (1, 5, 1), (2, 5, 0), (3, 6, 0)")
    try edge.acknowledgeAll()
    #expect(try app.lines("SELECT * FROM t") == ["1, 5, 1", "2, 5, 0", "3, 6, 1"])
    #expect(try outbox(app) == ["1, 1, 1", "2, 1, 1", "3, 1, 1"])
  }

  // Each of these made every settlement fail, so that nothing was ever forgotten; or gave each event another key than its row.
  @Test(arguments: [
    ("t (id INTEGER PRIMARY KEY, synced INT AS (id > 0))", "generated"),
    ("t (id INT, synced INT, PRIMARY KEY (id, synced))", "part of its key"),
  ])
  func `a column that cannot be a flag is refused`(table: String, reason: String) throws {
    let app = try AppDatabase("CREATE TABLE \(table)")
    #expect(try app.refusal(.table("t", synced: "synced")).contains(reason))
  }
}
