import DroverCore
import DroverSQLite
import DroverTesting
import GRDB
import Testing

/// Rows that come down and that the app's tables refuse.
@Suite struct RefusedRowTests {
  @Test func `two rows swap a unique value`() throws {
    let it = try TwoWayEdge(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE); INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, 'z')",
      .twoWay("t"))
    #expect(try it.apply(it.put([1, "y"], 10), it.put([2, "z"], 11), it.put([3, "x"], 12)) == "applied 3")
    #expect(try it.rows() == ["1, 'y'", "2, 'z'", "3, 'x'"])
    #expect(try it.letters() == [] && it.edge.waiting() == [])
  }

  @Test func `a swap succeeds beside a row that is refused`() throws {
    let it = try TwoWayEdge(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE); INSERT INTO t VALUES (1, 'x'), (2, 'y'), (9, 'taken')",
      .twoWay("t"))
    #expect(
      try it.apply(it.put([1, "y"], 10), it.put([3, "taken"], 11), it.put([2, "x"], 12)) == "applied 2, refused 1")
    #expect(try it.rows() == ["1, 'y'", "2, 'x'", "9, 'taken'"])
    #expect(try it.letters().map(\.reason) == ["constraint"])
  }

  @Test(arguments: [
    ("a UNIQUE", "UNIQUE constraint failed: t.a"), ("a CHECK (a <> 'x')", "CHECK constraint failed"),
    ("a NOT NULL ON CONFLICT REPLACE UNIQUE ON CONFLICT REPLACE", "UNIQUE constraint failed: t.a"),
    ("a UNIQUE ON CONFLICT ROLLBACK", "UNIQUE constraint failed: t.a"),
  ])
  func `what the table refuses is a dead letter, and the rest of the frame is applied`(
    column: String, cause: String
  ) throws {
    let it = try TwoWayEdge("CREATE TABLE t (id INTEGER PRIMARY KEY, \(column))", .twoWay("t"))
    if column.contains("UNIQUE") { try it.app.run("INSERT INTO t VALUES (9, 'x')") }
    try it.edge.confirmAll()
    #expect(try it.apply(it.put([1, "x"], 10), it.put([2, "y"], 11)) == "applied 1, refused 1")
    #expect(try it.app.lines("SELECT * FROM t WHERE id < 9") == ["2, 'y'"])
    let letter = try #require(try it.letters().first)
    #expect(letter.reason == "constraint" && letter.detail.contains("came down: \(cause)"))
    #expect(try it.edge.downReceived()?.streams.values.first == [1...2])
  }

  @Test func `a dead letter that came down is applied when a person replays it`() throws {
    let it = try TwoWayEdge("CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE, b)", .twoWay("t"))
    try it.app.run("INSERT INTO t VALUES (9, 'x', 1)")
    try it.edge.confirmAll()
    try it.apply(it.put([1, "x", .blob([0, 1])], 10))
    try it.app.run("DELETE FROM t")
    try it.edge.confirmAll()
    #expect(try it.edge.retryRefused().line == "" && it.rows() == [])
    let letters = try EdgeDeadLetters(path: it.app.path, machine: MachineID("MAH001"), readOnly: false)
    let id = try #require(try it.letters().first?.id)
    guard case .entry(_, let operation, let version, let key, _, let row)? = try letters.content(of: id) else {
      Issue.record("no content")
      return
    }
    #expect(operation == "put" && version == 10 && key == [1] && row.count == 3)
    #expect(try letters.requeue(id) == .queued)
    #expect(try it.edge.retryRefused().line == "applied 1")
    #expect(try it.rows() == ["1, 'x', x'0001'"] && it.letters() == [] && it.edge.waiting() == [])
  }

  // The cloud's store was restored and had lost a row that the machine's table refused. When it was replayed, the machine alone had it, and nobody noticed.
  @Test func `a refused row that is applied after the store went back is sent to the cloud`() throws {
    let it = try TwoWayEdge("CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE)", .twoWay("t"))
    try it.app.run("INSERT INTO t VALUES (9, 'x')")
    try it.edge.confirmAll()
    try it.apply(it.put([1, "x"], 10))
    try it.edge.note(numbering: Epoch("d2"))
    try it.edge.bringAll()
    try it.edge.confirmAll()
    it.downEpoch = try Epoch("d2")
    try it.app.run("UPDATE t SET a = 'y' WHERE id = 9")
    try it.edge.confirmAll()
    let letters = try EdgeDeadLetters(path: it.app.path, machine: MachineID("MAH001"), readOnly: false)
    #expect(try letters.requeue(#require(try it.letters().first?.id)) == .queued)
    #expect(try it.edge.retryRefused().line == "applied 1")
    #expect(try it.rows() == ["1, 'x'", "9, 'y'"])
    #expect(try it.told() == ["put 1: 1, 'x' (base 10, again)"])
  }

  @Test func `a newer row takes the place of one that was refused`() throws {
    let it = try TwoWayEdge("CREATE TABLE t (id INTEGER PRIMARY KEY, a CHECK (a > 0))", .twoWay("t"))
    try it.apply(it.put([1, -1], 10))
    try it.apply(it.put([1, -2], 11))
    #expect(try it.letters().map(\.count) == [2])
    try it.apply(it.put([1, 2], 12))
    #expect(try it.letters() == [] && it.rows() == ["1, 2"])
  }

  @Test func `at the bound for dead letters a frame waits`() throws {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY, a CHECK (a > 0))")
    let edge = try EdgeDatabase(
      path: app.path, declarations: [.twoWay("t")], letters: DeadLetterBounds(maxCount: 1, maxBytes: 1 << 20))
    try edge.bringAll()
    let events = [1, 2].map {
      DownEvent(seq: $0, localID: "", key: [.integer($0)], content: .row([.integer($0), 0]), version: $0, edge: nil)
    }
    #expect {
      try edge.apply(DownFrame(stream: 1, epoch: edge.epoch, interval: Interval(after: 0, through: 2), events: events))
    } throws: {
      if case EdgeStoreError.noSpace = $0 { true } else { false }
    }
    #expect(try edge.downReceived() == nil && app.integer("SELECT count(*) FROM drover_dead_letter") == 0)
  }
}
