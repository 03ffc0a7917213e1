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

  /// The rows that are refused, as the cloud hears of them: `1 constraint`.
  private func refused(_ it: TwoWayEdge) throws -> [String] {
    let rows = try it.edge.refusedRows()
    #expect(rows.total == rows.rows.count)
    #expect(try it.edge.downReceived().map { $0.refused == rows } ?? true)
    return rows.rows.map { "\($0.localID) \($0.reason) \($0.tries)" }.sorted()
  }

  @Test func `what is refused is reported as it is now, until it is applied, replaced, purged or does not come down`()
    throws
  {
    let it = try TwoWayEdge(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE CHECK (a <> 'bad')); INSERT INTO t VALUES (9, 'taken')",
      .twoWay("t"))
    try it.edge.confirmAll()
    #expect(try it.edge.refusedRows() == RefusedRows())
    try it.apply(it.put([1, "taken"], 10), it.put([2, "bad"], 11), it.put([3, "bad"], 12), it.put([4, "bad"], 13))
    #expect(try refused(it) == ["1 constraint 1", "2 constraint 1", "3 constraint 1", "4 constraint 1"])
    let first = try #require(try it.edge.refusedRows().rows.first { $0.localID == "1" })
    #expect(first.version == 10 && !first.isDelete && first.since > 0 && first.last >= first.since)
    #expect(first.cause.hasPrefix("UNIQUE constraint failed: t.a") && !first.cause.contains("taken"))
    // A newer one takes the place of one that is refused too.
    try it.apply(it.put([2, "bad"], 14), it.put([3, "good"], 15))
    #expect(try refused(it) == ["1 constraint 1", "2 constraint 2", "4 constraint 1"])
    _ = try EdgeDeadLetters(path: it.app.path, machine: MachineID("MAH001"), readOnly: false).purge(
      DeadLetterFilter(id: try #require(try it.letters().first { $0.detail.contains("UNIQUE") }?.id)))
    #expect(try refused(it) == ["2 constraint 2", "4 constraint 1"])
    try it.restart()
    #expect(try refused(it) == ["2 constraint 2", "4 constraint 1"])
    try it.restart([.twoWay("t", direction: .up)])
    #expect(try it.edge.refusedRows() == RefusedRows() && it.letters() == [])
  }

  @Test func `beyond the bound the oldest are named, and the others counted`() throws {
    let it = try TwoWayEdge("CREATE TABLE t (id INTEGER PRIMARY KEY, a CHECK (a > 0))", .twoWay("t"))
    let events = (1...300).map { it.put([.integer(Int64($0)), -1], Int64($0)) }
    _ = try it.edge.apply(it.frame(events))
    let refused = try it.edge.refusedRows()
    #expect(refused.total == 300 && refused.rows.map(\.localID) == (1...256).map(String.init))
    let long = String(repeating: "x", count: 1000)
    var rows = RefusedRows()
    for number in 0..<200 {
      rows.name(
        RefusedRow(
          stream: try StreamName("t"), localID: "\(number)\(long)", version: 1, reason: "constraint", cause: "",
          since: 1,
          last: 1))
    }
    #expect(rows.rows.count > 40 && rows.rows.count < 66)
  }

  @Test func `the cloud has rows tried again: one, those of a stream, or all`() throws {
    let it = try TwoWayEdge(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE); INSERT INTO t VALUES (8, 'x'), (9, 'y')", .twoWay("t"))
    try it.edge.confirmAll()
    try it.apply(it.put([1, "x"], 10), it.put([2, "y"], 11))
    // Refused within one millisecond: then a try must not change which of them is named first.
    try it.app.run("UPDATE drover_dead_letter SET first_at = 1")
    let before = try it.edge.refusedRows()
    let t = try StreamName("t")
    try it.edge.retry(RetryOrder(stream: t, ids: ["1", "7", "["]))
    #expect(try it.edge.retryRefused().line == "" && refused(it) == ["1 constraint 2", "2 constraint 1"])
    // Tried in vain: nothing for the cloud to hear of by itself.
    #expect(try !it.edge.refusedRows().differs(from: before))
    try it.app.run("DELETE FROM t")
    try it.edge.confirmAll()
    try it.edge.retry(RetryOrder(stream: try StreamName("other")))
    #expect(try it.edge.retryRefused().line == "")
    try it.edge.retry(RetryOrder(stream: t, ids: ["2"]))
    #expect(try it.edge.retryRefused().line == "applied 1" && refused(it) == ["1 constraint 2"])
    #expect(try it.edge.refusedRows().differs(from: before))
    try it.edge.retry(RetryOrder())
    #expect(try it.edge.retryRefused().line == "applied 1" && refused(it) == [] && it.rows() == ["1, 'x'", "2, 'y'"])
  }

  @Test func `more rows than one transaction tries are tried again at once, until all have been`() throws {
    let it = try TwoWayEdge("CREATE TABLE t (id INTEGER PRIMARY KEY, a CHECK (a > 0))", .twoWay("t"))
    _ = try it.edge.apply(it.frame((1...250).map { it.put([.integer(Int64($0)), -1], Int64($0)) }))
    try it.edge.retry(RetryOrder())
    var turns = 1
    while try it.edge.retryRefused().hasMore, turns < 10 { turns += 1 }
    #expect(turns == 3)
    #expect(try it.edge.refusedRows().rows.allSatisfy { $0.tries == 2 })
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
