// What the consumer and an ERP say to each other over real HTTP: orders that it lists, and completed ones that are posted to it.

import DroverCore
import DroverHTTP
import DroverProcesses
import DroverServices
import DroverTesting
import Foundation
import Logging
import Synchronization
import Testing

/// The log's lines.
final class LogLines: Sendable {
  private let lines = Mutex<[String]>([])

  var all: [String] { lines.withLock(\.self) }
  func count(_ text: String) -> Int { all.count { $0.contains(text) } }

  var logger: Logger { Logger(label: "test") { _ in Handler(lines: self) } }

  private struct Handler: LogHandler {
    let lines: LogLines
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.info

    init(lines: LogLines) { self.lines = lines }
    subscript(metadataKey _: String) -> Logger.Metadata.Value? {
      get { nil }
      set { _ = newValue }
    }
    func log(event: LogEvent) { lines.lines.withLock { $0.append("\(event.level) \(event.message)") } }
  }
}

/// A clock that a test moves.
final class TestClock: Sendable {
  private let moment = Mutex(ContinuousClock().now)
  var now: ContinuousClock.Instant { moment.withLock(\.self) }
  func advance(by duration: Duration) { moment.withLock { $0 = $0.advanced(by: duration) } }
}

/// A queue of orders.
final class Queue: WorklistStore, Sendable {
  struct State: Sendable {
    var orders: [NewOrder] = []
    var complete: [QueuedOrder] = []
    var posted: [String] = []
  }
  let state = Mutex(State())

  var keys: [String] { state.withLock { $0.orders.map(\.order.key) } }
  var posted: [String] { state.withLock(\.posted) }

  func complete(_ keys: [String]) throws {
    state.withLock { state in
      state.complete += keys.map { key in
        QueuedOrder(
          new: NewOrder(order: Order(key: key, fields: Array(#"{"mo_id":"x"}"#.utf8)[...])), state: .complete,
          holder: try! MachineID("MIX1"), since: 1_795_170_600_000_000)
      }
    }
  }

  func list(_ orders: [NewOrder], in _: WorklistName, now _: Int64) throws -> ListedOrders {
    state.withLock { state in
      var listed = ListedOrders()
      for order in orders {
        if state.orders.contains(where: { $0.order.key == order.order.key }) {
          listed.known += 1
        } else {
          state.orders.append(order)
          listed.added += 1
        }
      }
      return listed
    }
  }
  func completedToPost(in _: WorklistName, limit: Int) throws -> [QueuedOrder] {
    state.withLock { state in Array(state.complete.filter { !state.posted.contains($0.new.order.key) }.prefix(limit)) }
  }
  func posted(_ keys: [String], in _: WorklistName, now _: Int64) throws {
    state.withLock { $0.posted += keys }
  }

  func answer(_: OrderRequest, of _: MachineID, from _: WorklistName, now _: Int64) throws -> OrderAnswer { .closed }
  func note(_: RefillOutcome, of _: MachineID, from _: WorklistName, now _: Int64) throws {}
  func needsOrders(_: OrderRequest, of _: MachineID, from _: WorklistName, now _: Int64) throws -> Bool { true }
  func settle(_: WorklistName, now _: Int64) throws -> [String] { [] }
  func requeue(_: [String], in _: WorklistName, now _: Int64) throws -> [OrderAction] { [] }
  func withdraw(_: [String], in _: WorklistName, now _: Int64) throws -> [OrderAction] { [] }
  func summary(_ name: WorklistName) throws -> WorklistSummary { WorklistSummary(name: name) }
  func orders(in _: WorklistName, state _: OrderState?, machine _: MachineID?, after _: String?, limit _: Int) throws
    -> [QueuedOrder]
  { [] }
  func order(_: String, in _: WorklistName) throws -> QueuedOrder? { nil }
}

/// A consumer's side of it.
struct ERPRig {
  static let worklist = try! WorklistName("mixing")
  static let machine = try! MachineID("MIX1")

  let erp: ERP
  let queue = Queue()
  let log = LogLines()
  let clock = TestClock()
  let board: EndpointBoard

  init(certificates: Certificates? = nil) throws {
    erp = try ERP(certificates: certificates)
    board = EndpointBoard(memory: nil, logger: log.logger)
  }

  var standing: EndpointStanding { board.all[0] }

  func endpoint(_ body: String? = nil, path: String = "/orders", ca: String? = nil, timeout: Duration = .seconds(20))
    -> EndpointPlan
  {
    EndpointPlan(
      url: EndpointTemplate(erp.url(path)), method: "POST",
      headers: [.init(name: "X-Plant", value: "7")], token: "token-in-a-file",
      body: body.map { EndpointTemplate($0) }, ca: ca, timeout: timeout)
  }

  func fetch(_ plan: FetchPlan) -> OrderFetch {
    let (queue, clock) = (queue, clock)
    return OrderFetch(
      Self.worklist, plan, endpoint: HTTPEndpoint(plan.endpoint, caKey: "worklists[0].fetch.ca"),
      openStore: { queue }, isOurs: { true }, now: { clock.now }, wallClock: { 1_795_170_600_000_000 }, board: board,
      logger: log.logger)
  }

  func fetch(timeout: Duration = .seconds(20), ca: String? = nil) -> OrderFetch {
    fetch(
      FetchPlan(
        endpoint: endpoint(#"{"limit": {limit}, "scada": "{machine}"}"#, ca: ca, timeout: timeout),
        items: ["data", "orders"], key: ["mo_id"]))
  }

  func post(_ endpoint: EndpointPlan) -> CompletedPost {
    let (queue, clock) = (queue, clock)
    let schema = try! StreamSchema(
      kind: .batch,
      columns: [Column(name: "mo_id", declaredType: "TEXT"), Column(name: "actual", declaredType: "REAL")], key: [0])
    return CompletedPost(
      Self.worklist, CompletedPlan(endpoint: endpoint),
      endpoint: HTTPEndpoint(endpoint, caKey: "worklists[0].completed.ca"),
      openStore: { queue }, row: { key, _ in (schema, [.text(Array(key.utf8)[...]), .real(12.5)]) }, isOurs: { true },
      now: { clock.now }, wallClock: { 1_795_170_600_000_000 }, board: board, logger: log.logger)
  }

  static func list(_ keys: [String]) -> String {
    #"{"data": {"orders": [\#(keys.map { #"{"mo_id": "\#($0)", "consumption": 5}"# }.joined(separator: ","))]}}"#
  }
}

@Suite(.programs) struct OrderFetchTests {
  private let rig: ERPRig

  init() throws { rig = try ERPRig() }

  @Test func `orders that the ERP lists are queued, and what it is sent is filled in`() async throws {
    try rig.erp.answer(ERPRig.list(["A-1", "A-2"]))
    let fetch = rig.fetch()
    await fetch.demand(from: ERPRig.machine, limit: 10)
    #expect(rig.queue.keys == ["A-1", "A-2"])
    let request = try #require(rig.erp.requests.first)
    #expect(request.method == "POST" && request.path == "/orders")
    #expect(request.body == #"{"limit": 10, "scada": "MIX1"}"#)
    #expect(request.headers["authorization"] == "Bearer token-in-a-file")
    #expect(request.headers["x-plant"] == "7" && request.headers["content-type"] == "application/json")
    #expect(rig.standing.added == 2 && rig.standing.failure == nil && rig.standing.succeededAt != nil)
    #expect(rig.log.count("fetch orders for worklist mixing: 2 new orders") == 1)
  }

  @Test func `an order that is listed again is not new`() async throws {
    try rig.erp.answer(ERPRig.list(["A-1"]))
    let fetch = rig.fetch()
    for _ in 0..<2 {
      await fetch.demand(from: ERPRig.machine, limit: 10)
      rig.clock.advance(by: .seconds(60))
    }
    #expect(rig.erp.requests.count == 2)
    #expect(rig.queue.keys == ["A-1"])
    #expect(rig.standing.added == 1)
  }

  @Test func `an empty list is no failure`() async throws {
    try rig.erp.answer(ERPRig.list([]))
    await rig.fetch().demand(from: ERPRig.machine, limit: 10)
    #expect(rig.standing.requests == 1 && rig.standing.failures == 0)
    #expect(rig.log.all.isEmpty)
  }

  @Test(
    arguments: [
      (200, "", "the text ends"), (200, "<html>", "is not what `items` and `key` describe"),
      (200, #"{"data": {"orders": [{"mo_id": "A-1"}]}"#, "is not what"),
      (200, #"{"data": []}"#, "no member data.orders"),
      (200, #"{"data": {"orders": {}}}"#, "data.orders is no list"), (200, "[]", "no member data.orders"),
      (500, ERPRig.list(["A-1"]), "answers 500"), (401, "", "answers 401; check the token"),
      (302, ERPRig.list(["A-1"]), "answers 302; Drover follows no redirects"),
    ])
  func `what is no list changes nothing, is counted, and logged once`(
    status: Int, body: String, text: String
  ) async throws {
    try rig.erp.answer(body, status: status, headers: ["Location": "/elsewhere"])
    let fetch = rig.fetch()
    for _ in 0..<3 {
      await fetch.demand(from: ERPRig.machine, limit: 10)
      rig.clock.advance(by: .seconds(60))
    }
    #expect(rig.queue.keys.isEmpty)
    #expect(rig.standing.requests == 3 && rig.standing.failures == 3 && rig.standing.failuresInARow == 3)
    #expect(rig.standing.failure?.contains(text) == true, "\(rig.standing.failure ?? "")")
    #expect(rig.log.all.count == 1 && rig.log.count("warning fetch orders for worklist mixing: ") == 1)
    #expect(rig.log.count("token-in-a-file") + rig.log.count("A-1") + rig.log.count("/orders") == 0)
  }

  @Test func `after a failure the ERP is left alone, and a success is said once`() async throws {
    try rig.erp.answer(status: 500)
    let fetch = rig.fetch()
    await fetch.demand(from: ERPRig.machine, limit: 10)
    await fetch.demand(from: ERPRig.machine, limit: 10)
    #expect(rig.erp.requests.count == 1)
    try rig.erp.answer(ERPRig.list(["A-1"]))
    rig.clock.advance(by: .seconds(2))
    await fetch.demand(from: ERPRig.machine, limit: 10)
    #expect(rig.queue.keys == ["A-1"])
    #expect(rig.standing.failuresInARow == 0 && rig.standing.failures == 1)
    #expect(rig.log.count("the endpoint answers again, after 1 attempt that failed") == 1)
  }

  @Test func `Retry-After is honoured, in seconds and as a date`() async throws {
    for (header, wait) in [("120", 120.0), (Self.date(in: 300), 299)] {
      let rig = try ERPRig()
      try rig.erp.answer(status: 503, headers: ["Retry-After": header])
      let fetch = rig.fetch()
      await fetch.demand(from: ERPRig.machine, limit: 10)
      rig.clock.advance(by: .seconds(wait - 20))
      await fetch.demand(from: ERPRig.machine, limit: 10)
      #expect(rig.erp.requests.count == 1)
      rig.clock.advance(by: .seconds(25))
      await fetch.demand(from: ERPRig.machine, limit: 10)
      #expect(rig.erp.requests.count == 2)
    }
  }

  private static func date(in seconds: Double) -> String {
    let form = DateFormatter()
    form.locale = Locale(identifier: "en_US_POSIX")
    form.timeZone = TimeZone(secondsFromGMT: 0)
    form.dateFormat = "EEE, dd MMM yyyy HH:mm:ss 'GMT'"
    return form.string(from: Date().addingTimeInterval(seconds))
  }

  @Test func `the circuit opens with the fifth failure, says so once, and closes with an answer`() async throws {
    try rig.erp.answer(status: 500)
    let fetch = rig.fetch()
    for _ in 0..<5 {
      await fetch.demand(from: ERPRig.machine, limit: 10)
      rig.clock.advance(by: .seconds(60))
    }
    #expect(rig.standing.isOpen && rig.standing.failuresInARow == 5 && rig.standing.nextAt != nil)
    #expect(rig.log.count("5 attempts have failed in a row, and the circuit is open") == 1)
    rig.clock.advance(by: .seconds(60))
    // The next failure opens nothing, and is nothing new.
    await fetch.demand(from: ERPRig.machine, limit: 10)
    #expect(rig.erp.requests.count == 6)
    #expect(rig.log.all.count == 2)
    try rig.erp.answer(ERPRig.list([]))
    rig.clock.advance(by: .seconds(600))
    await fetch.demand(from: ERPRig.machine, limit: 10)
    #expect(!rig.standing.isOpen && rig.standing.failure == nil)
  }

  @Test func `a slow answer ends at the timeout`() async throws {
    try rig.erp.answer(ERPRig.list(["A-1"]), delay: 30)
    await rig.fetch(timeout: .seconds(1)).demand(from: ERPRig.machine, limit: 10)
    #expect(rig.queue.keys.isEmpty)
    #expect(rig.standing.failure == "localhost has not answered within 1 s")
  }

  @Test func `requests of machines that come together are one where the template names no machine`() async throws {
    try rig.erp.answer(ERPRig.list(["A-1"]), delay: 0.2)
    let plan = FetchPlan(endpoint: rig.endpoint(#"{"limit": {limit}}"#), items: ["data", "orders"], key: ["mo_id"])
    let fetch = rig.fetch(plan)
    await withTaskGroup { group in
      for number in 1...20 {
        group.addTask { await fetch.demand(from: try! MachineID("MIX\(number)"), limit: 10) }
      }
    }
    #expect(rig.erp.requests.count == 1)
    #expect(rig.queue.keys == ["A-1"])
  }

  @Test func `requests that name their machines go one after the other`() async throws {
    try rig.erp.answer(ERPRig.list([]))
    let fetch = rig.fetch()
    await withTaskGroup { group in
      for number in 1...5 { group.addTask { await fetch.demand(from: try! MachineID("MIX\(number)"), limit: 10) } }
    }
    #expect(Set(rig.erp.requests.map(\.body)).count == 5)
  }

  @Test func `10,000 orders of one answer are queued`() async throws {
    try rig.erp.answer(ERPRig.list((1...10_000).map { "A-\($0)" }))
    await rig.fetch().demand(from: ERPRig.machine, limit: 10_000)
    #expect(rig.standing.added == 10_000)
  }

  @Test func `an item that is no order is named by its place, and keeps no other out`() async throws {
    try rig.erp.answer(#"{"data":{"orders":[{"mo_id":"A-1"},{"mo_id":null,"secret":"x"},{"mo_id":3}]}}"#)
    let fetch = rig.fetch()
    for _ in 0..<2 {
      await fetch.demand(from: ERPRig.machine, limit: 10)
      rig.clock.advance(by: .seconds(60))
    }
    #expect(rig.queue.keys == ["A-1", "3"])
    #expect(rig.standing.unusable == 2)
    #expect(rig.log.count("1 of 3 items are no orders; the first is item 2: mo_id is no text") == 1)
  }

  @Test func `at an interval the ERP is asked without a machine, and sooner after a failure`() async throws {
    try rig.erp.answer(status: 500)
    let plan = FetchPlan(
      endpoint: rig.endpoint(#"{"limit": {limit}}"#), items: ["data", "orders"], key: ["mo_id"], every: .seconds(3600),
      limit: 50)
    let (queue, log, board, erp) = (rig.queue, rig.log, rig.board, rig.erp)
    let fetch = OrderFetch(
      ERPRig.worklist, plan, endpoint: HTTPEndpoint(plan.endpoint, caKey: "ca"), openStore: { queue },
      isOurs: { true }, wallClock: { 1_795_170_600_000_000 }, board: board, logger: log.logger)
    let running = Task { try await fetch.run() }
    while board.all[0].failures == 0 { await Task.yield() }
    try erp.answer(ERPRig.list(["A-1"]))
    while queue.keys.isEmpty { await Task.yield() }
    running.cancel()
    #expect(erp.requests.last?.body == #"{"limit": 50}"#)
  }
}

@Suite(.programs) struct SecureERPTests {
  @Test func `a certificate of one's own CA is taken, and of another CA refused`() async throws {
    let folder = try TemporaryFolder()
    let (own, other) = (try Certificates(in: folder), try Certificates(in: folder, prefix: "other"))
    let rig = try ERPRig(certificates: own)
    try rig.erp.answer(ERPRig.list(["A-1"]))
    await rig.fetch(ca: other.caFile).demand(from: ERPRig.machine, limit: 1)
    #expect(rig.queue.keys.isEmpty)
    #expect(
      rig.standing.failure
        == "localhost has a certificate of another CA than those of worklists[0].fetch.ca or of the system")
    await rig.fetch(ca: own.caFile).demand(from: ERPRig.machine, limit: 1)
    #expect(rig.queue.keys == ["A-1"])
  }
}

@Suite(.programs) struct CompletedPostTests {
  private let rig: ERPRig

  init() throws { rig = try ERPRig() }

  @Test func `a completed order is posted with its row until it is taken`() async throws {
    try rig.queue.complete(["A-1"])
    let post = rig.post(rig.endpoint(path: "/done"))
    try rig.erp.answer(status: 503)
    await post.round()
    await post.round()
    #expect(rig.erp.requests.count == 1 && rig.queue.posted.isEmpty && rig.standing.failuresInARow == 1)
    try rig.erp.answer(status: 204)
    rig.clock.advance(by: .seconds(60))
    await post.round()
    await post.round()
    #expect(rig.queue.posted == ["A-1"])
    let requests = rig.erp.requests
    #expect(requests.count == 2)
    #expect(requests[0].headers["idempotency-key"] == "mixing/A-1/1795170600000000")
    #expect(requests[1].headers["idempotency-key"] == requests[0].headers["idempotency-key"])
    let document = try #require(
      try JSONSerialization.jsonObject(with: Data(requests[1].body.utf8)) as? [String: Any])
    #expect(document["key"] as? String == "A-1" && document["machine"] as? String == "MIX1")
    #expect((document["row"] as? [String: Any])?["actual"] as? Double == 12.5)
    #expect((document["fields"] as? [String: Any])?["mo_id"] as? String == "x")
    #expect((document["completed_at"] as? String)?.hasSuffix("Z") == true)
  }

  @Test func `an order that the ERP does not like keeps no other waiting, and is tried again`() async throws {
    try rig.queue.complete(["bad", "good"])
    let post = rig.post(rig.endpoint(path: "/done/{key}"))
    try rig.erp.answer(paths: ["/done/bad": ["status": 422], "/done/good": ["status": 200]])
    await post.round()
    await post.round()
    #expect(rig.queue.posted == ["good"])
    #expect(rig.erp.requests.map(\.path) == ["/done/bad", "/done/good"])
    #expect(rig.log.count("post completed order bad of worklist mixing: localhost answers 422") == 1)
    try rig.erp.answer(paths: ["/done/bad": ["status": 200]])
    rig.clock.advance(by: .seconds(60))
    await post.round()
    #expect(rig.queue.posted == ["good", "bad"])
    #expect(rig.standing.failure == nil && rig.standing.posted == 2)
  }

  @Test func `while the ERP is away, one attempt a time is made, and the circuit opens`() async throws {
    try rig.queue.complete((1...300).map { "A-\($0)" })
    let post = rig.post(rig.endpoint())
    try rig.erp.answer(status: 500)
    for _ in 0..<5 {
      await post.round()
      rig.clock.advance(by: .seconds(60))
    }
    #expect(rig.erp.requests.count == 5 && rig.standing.isOpen)
    #expect(rig.log.count("the circuit is open") == 1)
    try rig.erp.answer()
    rig.clock.advance(by: .seconds(600))
    for _ in 0..<3 { await post.round() }
    #expect(rig.queue.posted.count == 300)
  }

  @Test func `a body of one's own gets the order's names as JSON texts and its row as JSON`() async throws {
    try rig.queue.complete(["A \"1\""])
    let post = rig.post(rig.endpoint(#"{"id": "{key}", "by": "{machine}", "row": {row}}"#))
    try rig.erp.answer()
    await post.round()
    #expect(
      rig.erp.requests.map(\.body) == [#"{"id": "A \"1\"", "by": "MIX1", "row": {"mo_id":"A \"1\"","actual":12.5}}"#])
    #expect(rig.erp.requests[0].headers["idempotency-key"] == "mixing/A%20\"1\"/1795170600000000")
  }
}
