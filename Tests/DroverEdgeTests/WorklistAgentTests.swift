// The agent refills a worklist: when it asks, what it does with answers, and what it says of them.

import DroverCore
@testable import DroverEdge
@testable import DroverSimulation
import DroverWire
import Testing

@Suite struct WorklistAgentTests {
  private func rig(_ set: (inout WorklistDeclaration) -> Void = { _ in }) throws -> WorklistRig {
    let rig = try WorklistRig(WorklistRig.table, set)
    try rig.connect()
    rig.turn()
    return rig
  }

  /// One normal refill.
  private func refilled(_ rig: WorklistRig, _ keys: String...) throws -> RefillID {
    let request = try #require(rig.requests().first).request
    let orders = keys.map { Order(key: $0, fields: ArraySlice("{}".utf8)) }
    try rig.answer(request.text, .answer(.orders(orders, left: 0)))
    rig.turn()
    let said = try #require(rig.outcomes().first)
    try rig.answer(said.id, .noted)
    rig.turn()
    #expect(rig.asked.isEmpty)
    return request
  }

  @Test func `an empty table is refilled, and the outcome is said until the cloud has noted it`() throws {
    let rig = try rig()
    let request = try #require(rig.requests().first)
    #expect(request.limit == 3 && request.last == nil && request.stream.text == "mo")
    try rig.answer(request.request, "A", "B", left: 4)
    rig.turn()
    #expect(try rig.rows() == ["A 1 0", "B 2 0"])
    let expected = RefillOutcome(request: request.request, isTaken: true)
    #expect(rig.outcomes().map(\.outcome) == [expected])
    rig.turn(after: .seconds(6))
    let said = rig.outcomes()
    #expect(said.map(\.outcome) == [expected])
    try rig.answer(said[0].id, .noted)
    rig.turn(after: .seconds(600))
    #expect(rig.asked.isEmpty)
    #expect(rig.said().first == "worklist mo: 2 orders inserted; 4 more wait in the cloud")
    // The next request says it again.
    try rig.app.execute("UPDATE mo SET done = 1; DELETE FROM mo")
    rig.turn()
    let next = try #require(rig.requests().first)
    #expect(next.request != request.request && next.last == expected)
  }

  @Test
  func `a request without an answer is repeated under its name, ever more rarely, and at once on a new connection`()
    throws
  {
    let rig = try rig()
    let request = try #require(rig.requests().first).request
    var counts: [Int] = []
    for _ in 0..<6 {
      rig.turn(after: .seconds(60))
      let repeated = rig.requests()
      counts.append(repeated.count)
      #expect(repeated.allSatisfy { $0.request == request })
    }
    #expect(counts.reduce(0, +) <= 7 && counts.first! > 0, "\(counts)")
    rig.agent.sessionClosed(reason: "lost")
    rig.turn(after: .seconds(900))
    #expect(rig.asked.isEmpty)
    try rig.connect()
    rig.turn()
    #expect(rig.requests().map(\.request) == [request])
    // The process ends before the answer comes: the next one asks under the same name.
    try rig.restart()
    try rig.connect()
    rig.turn()
    #expect(rig.requests().map(\.request) == [request])
    try rig.answer(request, "A")
    rig.turn()
    #expect(try rig.rows() == ["A 1 0"])
  }

  @Test func `a second answer, and one to a request that is closed, do nothing`() throws {
    let rig = try rig()
    let first = try refilled(rig, "A", "B")
    try rig.answer(first, "A", "B", "C")
    rig.turn()
    #expect(try rig.rows() == ["A 1 0", "B 2 0"] && rig.asked.isEmpty)
    try rig.app.execute("UPDATE mo SET done = 1; DELETE FROM mo")
    rig.turn()
    try rig.answer(first, "C")
    rig.turn()
    #expect(try rig.rows() == [])
    #expect(rig.requests().count == 1)
  }

  @Test func `orders that come when the table is in use go back, and the machine says so`() throws {
    let rig = try rig()
    let request = try #require(rig.requests().first).request
    try rig.app.execute("INSERT INTO mo (mo_id) VALUES ('own')")
    try rig.answer(request, "A")
    rig.turn()
    #expect(try rig.rows() == ["own 0 0"])
    #expect(rig.outcomes().map(\.outcome) == [RefillOutcome(request: request, isTaken: false)])
    #expect(rig.said().contains { $0.contains("none of the orders was inserted; they go back to the queue") })
  }

  @Test
  func `it asks at once when the table becomes ready, at the interval when the cloud has nothing, and when triggered`()
    throws
  {
    let rig = try rig { $0.refillWhen = .finished }
    _ = try refilled(rig, "A", "B")
    rig.turn(after: .seconds(400))
    try rig.app.execute("UPDATE mo SET done = 1 WHERE mo_id = 'A'")
    rig.turn(after: .seconds(400))
    #expect(rig.asked.isEmpty)
    try rig.app.execute("UPDATE mo SET done = 1")
    rig.turn()
    let request = try #require(rig.requests().first).request
    try rig.answer(request.text, .answer(.nothing(why: "the queue is empty")))
    rig.turn()
    // The finished rows stay where they are until there are others.
    #expect(try rig.rows().count == 2)
    rig.turn(after: .seconds(200))
    #expect(rig.asked.isEmpty)
    rig.turn(after: .seconds(150))
    let next = try #require(rig.requests().first).request
    #expect(next != request)
    try rig.answer(next.text, .answer(.nothing(why: "the queue is empty")))
    rig.turn()
    try rig.app.execute("UPDATE drover_worklist SET triggers = triggers + 1")
    rig.turn()
    #expect(rig.requests().count == 1)
    #expect(rig.said().count { $0.contains("the queue is empty") } == 1)
    // A trigger asks for nothing while orders are left.
    try rig.app.execute("UPDATE mo SET done = 0")
    rig.turn()
    rig.asked = []
    rig.turn(after: .seconds(6))
    #expect(rig.requests().count == 1)  // the open request
  }

  @Test func `what is left is said once, and again when it is another number`() throws {
    let rig = try rig()
    _ = try refilled(rig, "A", "B")
    for _ in 0..<4 { rig.turn(after: .seconds(301)) }
    let line = { (left: Int, unfinished: Int) in
      "worklist mo: \(left) order\(left == 1 ? " is" : "s are") left in the table, \(unfinished) unfinished; the agent asks for more when it is ready"
    }
    #expect(rig.said().dropFirst() == [line(2, 2)])
    try rig.app.execute("UPDATE mo SET done = 1; DELETE FROM mo WHERE mo_id = 'A'")
    for _ in 0..<4 { rig.turn(after: .seconds(301)) }
    #expect(rig.said().dropFirst() == [line(2, 2), line(1, 0)])
  }

  @Test func `a request that the cloud knows is closed, and another follows at once, but not a third`() throws {
    let rig = try rig()
    let first = try #require(rig.requests().first).request
    try rig.answer(first.text, .answer(.closed))
    rig.turn()
    let second = try #require(rig.requests().first).request
    #expect(second != first)
    try rig.answer(second.text, .answer(.closed))
    rig.turn(after: .seconds(60))
    #expect(rig.asked.isEmpty)
    rig.turn(after: .seconds(300))
    #expect(rig.requests().count == 1)
  }

  // A cloud that was put back hands out what the machine has finished.
  @Test func `orders that the machine had are left out, and others are asked for at once`() throws {
    let rig = try rig()
    _ = try refilled(rig, "A")
    try rig.app.execute("UPDATE mo SET done = 1; DELETE FROM mo")
    rig.turn()
    let request = try #require(rig.requests().first).request
    try rig.answer(request, "A")
    rig.turn()
    #expect(try rig.rows() == [])
    let asked = rig.asked
    #expect(rig.outcomes().first?.outcome == RefillOutcome(request: request, isTaken: true, known: ["A"]))
    #expect(asked.contains { if case .orders(let next) = $0.question { next.request != request } else { false } })
  }

  @Test func `an answer that the cloud cannot give yet, or cannot be read, leaves the request open`() throws {
    let rig = try rig()
    let request = try #require(rig.requests().first).request
    for reply in [WorklistReply.working, .failure("the store is locked"), .noted] {
      try rig.answer(request.text, reply)
      rig.turn(after: .seconds(30))
      #expect(rig.requests().allSatisfy { $0.request == request })
    }
    try rig.agent.received([InboundMessage(topic: "drover/v1/M/command/answer-\(request)", payload: Array("{".utf8))])
    rig.turn()
    try rig.answer(request, "A")
    rig.turn()
    #expect(try rig.rows() == ["A 1 0"])
    #expect(rig.said().contains { $0.contains("the cloud cannot answer: the store is locked") })
  }

  @Test func `a consumer without the queue is not asked, and the reason is kept for people`() throws {
    let rig = try WorklistRig()
    try rig.connect(worklists: nil)
    rig.turn(after: .seconds(600))
    #expect(rig.asked.isEmpty)
    let waits = { try rig.app.text("SELECT waits FROM drover_worklist") }
    #expect(try waits()?.contains("the consumer has no worklists: it is of an older release") == true)
    try rig.confirm(worklists: ["other"])
    rig.turn()
    #expect(try rig.asked.isEmpty && waits()?.contains("has no worklist for stream mo") == true)
    try rig.confirm(worklists: ["other", "mo"])
    rig.turn()
    #expect(try rig.requests().count == 1 && waits()?.isEmpty != false)
  }

  @Test func `a disabled worklist asks for nothing, and closes what was open`() throws {
    let rig = try WorklistRig()
    try rig.connect()
    rig.turn()
    let request = try #require(rig.requests().first).request
    let disabled = try WorklistRig { $0.isEnabled = false }
    try disabled.connect()
    disabled.turn(after: .seconds(600))
    #expect(disabled.asked.isEmpty)
    try disabled.app.execute("UPDATE drover_worklist SET request = '\(request)'")
    disabled.turn()
    #expect(disabled.requests().map(\.request) == [request])
    try disabled.answer(request, "A")
    disabled.turn()
    #expect(disabled.outcomes().map(\.outcome) == [RefillOutcome(request: request, isTaken: false)])
    #expect(try disabled.rows() == [])
  }

  @Test func `a lock of the app's is waited for, and the answer is not lost`() throws {
    let rig = try rig()
    let request = try #require(rig.requests().first).request
    try rig.app.execute("BEGIN IMMEDIATE")
    try rig.answer(request, "A")
    rig.turn()
    rig.turn(after: .seconds(1))
    try rig.app.execute("INSERT INTO mo (mo_id) VALUES ('own'); DELETE FROM mo; COMMIT")
    rig.turn()
    #expect(try rig.rows() == ["A 1 0"])
  }

  @Test func `a table that cannot take orders says why, and is tried again`() throws {
    let rig = try WorklistRig("CREATE TABLE mo (mo_id TEXT PRIMARY KEY, kg REAL, done INT)")
    try rig.connect()
    rig.turn()
    #expect(rig.asked.isEmpty)
    #expect(
      try rig.app.text("SELECT waits FROM drover_worklist")?.hasPrefix("worklist mo: mo has no column batch_no") == true
    )
    try rig.app.execute("ALTER TABLE mo ADD COLUMN batch_no INT")
    for _ in 0..<3 { rig.turn(after: .seconds(11)) }
    #expect(rig.requests().count > 0)
  }

  @Test func `a database that is put back asks under its old name, and under a new one when the cloud knows that`()
    throws
  {
    let rig = try rig()
    let request = try #require(rig.requests().first).request
    try rig.app.execute("VACUUM INTO '\(rig.file("backup.db"))'")
    try rig.answer(request, "A")
    rig.turn()
    #expect(rig.outcomes().count == 1)
    try rig.app.restore(from: rig.file("backup.db"))
    for _ in 0..<10 {
      try rig.confirm(worklists: ["mo"])
      rig.turn(after: .seconds(2))
    }
    let requests = rig.requests()
    #expect(!requests.isEmpty && requests.allSatisfy { $0.request == request && $0.last == nil })
    try rig.answer(request.text, .answer(.closed))
    rig.turn()
    #expect(rig.requests().first.map { $0.request != request && $0.last == nil } == true)
  }
}
