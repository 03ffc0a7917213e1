// What every store of the cloud must hold of the queue of orders. The claims are written once against the seam (`WorklistStore`), and each store's tests run
// all of them. Programs list orders through a connection of their own, which knows nothing of Drover.

package import DroverCore
import DroverWire
private import Dispatch
import Synchronization
import Testing

/// A store with its queue.
package struct WorklistPlace {
  package var store: any CloudStore
  /// Opens the queue on a connection of its own.
  package var open: ([WorklistPlan]) throws -> any WorklistStore
  package var client: any SQLClient

  package init(
    store: any CloudStore, open: @escaping ([WorklistPlan]) throws -> any WorklistStore, client: any SQLClient
  ) {
    self.store = store
    self.open = open
    self.client = client
  }
}

package struct WorklistConformance {
  /// One claim; its name is the sentence that the test's output shows.
  package struct Claim: Sendable, CustomTestStringConvertible {
    package let name: String
    fileprivate let plans: [WorklistPlan]
    fileprivate let check: @Sendable (Scene) throws -> Void

    init(
      _ name: String, _ placement: OrderPlacement = .any, check: @escaping @Sendable (Scene) throws -> Void
    ) {
      self.name = name
      plans = [WorklistPlan(name: .mo, stream: .moBatch, placement: placement)]
      self.check = check
    }

    package var testDescription: String { name }
  }

  package static let claims = handing + outcomes + doubts + rows + people + programs

  private let makePlace: () throws -> WorklistPlace

  /// - Parameter makePlace: makes an empty store; all of it lives until the claim is checked.
  package init(makePlace: @escaping () throws -> WorklistPlace) { self.makePlace = makePlace }

  package func check(_ claim: Claim) throws {
    let place = try makePlace()
    try claim.check(Scene(place: place, queue: place.open(claim.plans), plans: claim.plans))
  }

  /// The worklist is `mo`, its stream `mo_batch (mo_id TEXT, status INTEGER)`, complete when status is 1.
  struct Scene {
    let place: WorklistPlace
    let queue: any WorklistStore
    let plans: [WorklistPlan]

    static let now: Int64 = 1_795_000_000_000_000

    @discardableResult
    func list(_ orders: NewOrder..., now: Int64 = Self.now) throws -> ListedOrders {
      try queue.list(orders, in: .mo, now: now)
    }

    func list(_ keys: [String]) throws { _ = try queue.list(keys.map { .of($0) }, in: .mo, now: Self.now) }

    func ask(
      _ request: UInt64, _ machine: MachineID = .a, limit: Int = 10, bytes: Int = 1 << 20, last: RefillOutcome? = nil,
      now: Int64 = Self.now
    ) throws -> OrderAnswer {
      try queue.answer(
        OrderRequest(
          request: RefillID(random: request), stream: .moBatch, limit: limit, bytes: bytes, last: last),
        of: machine, from: .mo, now: now)
    }

    /// The keys of an answer; nil for an answer without orders.
    func keys(
      _ request: UInt64, _ machine: MachineID = .a, limit: Int = 10, bytes: Int = 1 << 20, last: RefillOutcome? = nil,
      now: Int64 = Self.now
    ) throws -> [String]? {
      guard case .orders(let orders, _) = try ask(request, machine, limit: limit, bytes: bytes, last: last, now: now)
      else { return nil }
      return orders.map(\.key)
    }

    func note(_ outcome: RefillOutcome, _ machine: MachineID = .a) throws {
      try queue.note(outcome, of: machine, from: .mo, now: Self.now)
    }

    func state(_ key: String) throws -> OrderState? { try queue.order(key, in: .mo)?.state }

    func states(_ keys: String...) throws -> [OrderState?] { try keys.map(state) }

    func isInDoubt(_ key: String) throws -> Bool? { try queue.order(key, in: .mo)?.isInDoubt }

    /// A row arrives from a machine.
    func row(
      _ key: String, _ status: Int64, version: Int64 = 1, machine: MachineID = .a, epoch: Epoch = .one
    ) throws {
      try place.store.transaction { transaction in
        _ = try transaction.adopt(.moBatch, machine: machine, stream: .moBatch)
        let event = SinkEvent(
          seq: nil, localID: key, version: version, at: nil, key: [.text(key)],
          content: .row(Values([.text(key), .integer(status)])), raw: [])
        let sink = Sink(machine: machine, stream: .moBatch, kind: .batch, schema: .moBatch)
        let outcomes = try transaction.merge([event], epoch: epoch, into: sink)
        var progress = StreamProgress()
        progress.applied = outcomes.count
        progress.version = version
        try transaction.note(progress, machine: machine, stream: .moBatch)
      }
    }

    @discardableResult
    func settle() throws -> [String] { try queue.settle(.mo, now: Self.now) }

    func sql(_ text: String) throws { try place.client.run(text) }

    func isRefused(_ text: String) -> Bool { (try? sql(text)) == nil }
  }
}

extension StreamName {
  static let mo = try! StreamName("mo")
  static let moBatch = try! StreamName("mo_batch")
}

extension StreamSchema {
  fileprivate static let moBatch = try! StreamSchema(
    kind: .batch,
    columns: [Column(name: "mo_id", declaredType: "TEXT"), Column(name: "status", declaredType: "INTEGER")], key: [0],
    completeWhen: Condition(parsing: "status = 1"))
}

extension NewOrder {
  static func of(
    _ key: String, _ fields: String = "{\"silo\":\"A\"}", machine: MachineID? = nil, priority: Int = 0,
    notBefore: Int64? = nil
  ) -> NewOrder {
    NewOrder(
      order: Order(key: key, fields: ArraySlice(Array(fields.utf8))), machine: machine, priority: priority,
      notBefore: notBefore)
  }
}

extension RefillOutcome {
  static func taken(
    _ request: UInt64, refused: [String: String] = [:], known: [String] = [], cleared: [String] = []
  ) -> RefillOutcome {
    RefillOutcome(
      request: RefillID(random: request), isTaken: true,
      refused: refused.sorted { $0.key < $1.key }.map { Refusal(key: $0.key, why: $0.value) }, known: known,
      cleared: cleared)
  }

  static func notTaken(_ request: UInt64) -> RefillOutcome {
    RefillOutcome(request: RefillID(random: request), isTaken: false)
  }
}

// MARK: Handing out

extension WorklistConformance {
  static let handing: [Claim] = [
    Claim("an order is handed out once: the next request gets the next ones") { scene throws in
      try scene.list(["1", "2", "3"])
      #expect(try scene.keys(1, limit: 2) == ["1", "2"])
      #expect(try scene.states("1", "2", "3") == [.handedOut, .handedOut, .queued])
      #expect(try scene.keys(2, .b, limit: 2) == ["3"])
      let order = try #require(try scene.queue.order("3", in: .mo))
      #expect(order.holder == .b && order.request == RefillID(random: 2) && order.handedOutAt == Scene.now)
    },
    Claim("an answer has the order's fields as they were listed, and says how many are left") { scene throws in
      let fields = "{\"mo\": \"ä\", \"n\": 12345678901234567890.10, \"list\": [1, 2], \"nested\": {\"a\": null}}"
      try scene.list(.of("1", fields), .of("2"))
      guard case .orders(let orders, let left) = try scene.ask(1, limit: 1) else {
        Issue.record("no orders")
        return
      }
      #expect(orders == [NewOrder.of("1", fields).order] && left == 1)
    },
    Claim("a repeated request gets the same orders in the same order, also when others were listed") { scene throws in
      try scene.list(.of("1"), .of("2", priority: 5), .of("3"))
      #expect(try scene.keys(1, limit: 2) == ["2", "1"])
      try scene.list(.of("4", priority: 9))
      #expect(try scene.keys(1, limit: 2) == ["2", "1"])
      #expect(try scene.states("3", "4") == [.queued, .queued])
      #expect(try scene.isInDoubt("1") == false)
    },
    Claim("a request is of one machine: the same name from another machine is another request") { scene throws in
      try scene.list(["1", "2"])
      #expect(try scene.keys(1, limit: 1) == ["1"])
      #expect(try scene.keys(1, .b, limit: 1) == ["2"])
      try scene.note(.taken(1), .b)
      #expect(try scene.states("1", "2") == [.handedOut, .inWork])
    },
    Claim("orders go by priority, then as they were listed, and not before their time") { scene throws in
      try scene.list(
        .of("late", priority: 9, notBefore: Scene.now + 10), .of("a"), .of("b", priority: -1), .of("c", priority: 3),
        .of("d"), .of("now", notBefore: Scene.now))
      #expect(try scene.keys(1, limit: 4) == ["c", "a", "d", "now"])
      #expect(try scene.keys(2, .b) == ["b"])
      guard case .nothing(let why) = try scene.ask(3, .b, last: .taken(2)) else {
        Issue.record("something was handed out")
        return
      }
      #expect(why == "1 order for this machine may go only later")
      #expect(try scene.keys(4, .b, last: .taken(2), now: Scene.now + 10) == ["late"])
    },
    Claim("an order that names its machine goes to that one alone, by priority with those for any") { scene throws in
      try scene.list(.of("1", machine: .b), .of("2", priority: 1), .of("3", machine: .a))
      #expect(try scene.keys(1, .a) == ["2", "3"])
      guard case .nothing(let why) = try scene.ask(2, .a, last: .taken(1)) else {
        Issue.record("something was handed out")
        return
      }
      #expect(why == "the order that is queued is for another machine")
      #expect(try scene.keys(3, .b) == ["1"])
      #expect(try scene.ask(4, .b, last: .taken(3)) == .nothing(why: "no order is queued"))
    },
    Claim("a field of the order names its machine", .field("equipment")) { scene throws in
      try scene.list(
        .of("1", "{\"equipment\":\"MAH002\"}"), .of("2", "{\"equipment\":\"MAH001\"}"), .of("3", "{}"),
        .of("4", "{\"equipment\":\"no machine\"}"), .of("5", "{\"equipment\":7}"), .of("6", "{}", machine: .a))
      #expect(try scene.keys(1, .a) == ["2", "6"])
      #expect(try scene.keys(2, .b) == ["1"])
      for key in ["3", "4", "5"] {
        let order = try #require(try scene.queue.order(key, in: .mo))
        #expect(order.state == .queued && order.note == "its field equipment names no machine")
      }
      // Listed again with its machine.
      try scene.list(.of("3", "{\"equipment\":\"MAH001\"}"))
      #expect(try scene.keys(3, .a, last: .taken(1)) == ["3"])
    },
    Claim(
      "the first rule that holds gives an order its machine",
      .rules([
        .init(when: try! Condition(parsing: "silo = 'A' AND kg > 5"), machine: .a),
        .init(when: try! Condition(parsing: "silo IN ('A', 'B')"), machine: .b),
      ])
    ) { scene throws in
      try scene.list(
        .of("1", "{\"silo\":\"A\",\"kg\":6}"), .of("2", "{\"silo\":\"A\",\"kg\":5}"), .of("3", "{\"silo\":\"B\"}"),
        .of("4", "{\"silo\":\"C\"}"))
      #expect(try scene.keys(1, .a) == ["1"])
      #expect(try scene.keys(2, .b) == ["2", "3"])
      #expect(try scene.queue.order("4", in: .mo)?.note == "no rule gives it a machine")
    },
    Claim("an answer has as many orders as its bytes allow, and keeps their order") { scene throws in
      func order(_ key: String, _ size: Int) -> NewOrder {
        .of(key, "{\"a\":\"\(String(repeating: "x", count: size))\"}")
      }
      try scene.list(order("1", 400), order("2", 400), order("3", 1))
      guard case .orders(let orders, _) = try scene.ask(1, bytes: 700) else {
        Issue.record("no orders")
        return
      }
      // The third one would fit, and does not go before the second one.
      #expect(orders.map(\.key) == ["1"])
      #expect(WorklistReply.answer(.orders(orders, left: .max)).document.count <= 700)
    },
    Claim("an order that is too large for any answer is refused, and holds up no other") { scene throws in
      try scene.list(.of("large", "{\"a\":\"\(String(repeating: "x", count: 2000))\"}"), .of("2"))
      #expect(try scene.keys(1, bytes: 1000) == ["2"])
      let order = try #require(try scene.queue.order("large", in: .mo))
      #expect(order.state == .refused && order.note?.hasPrefix("it has 20") == true)
    },
    Claim("a request that got nothing is closed: repeated, it gets nothing, also when orders were listed since") {
      scene throws in
      #expect(try scene.ask(1) == .nothing(why: "no order is queued"))
      try scene.list(["1"])
      // The machine has closed it: what it got now would be in nobody's hands.
      #expect(try scene.ask(1) == .closed)
      #expect(try scene.keys(2) == ["1"])
    },
    Claim("callers at once, on connections of their own, never get the same order") { scene throws in
      try scene.list((0..<200).map { "\($0)" })
      let queues = try (0..<4).map { _ in try scene.place.open(scene.plans) }
      let taken = Mutex<[String]>([])
      let failures = Mutex<[String]>([])
      nonisolated(unsafe) let all = queues
      concurrently(queues.count) { caller in
        do {
          let machine = try MachineID("M\(caller)")
          var last: RefillOutcome?
          for round in 0..<10 {
            let request = RefillID(random: UInt64(caller * 100 + round + 1))
            let answer = try all[caller].answer(
              OrderRequest(request: request, stream: .moBatch, limit: 5, bytes: 1 << 20, last: last), of: machine,
              from: .mo, now: Scene.now)
            guard case .orders(let orders, _) = answer else { continue }
            taken.withLock { $0 += orders.map(\.key) }
            last = RefillOutcome(request: request, isTaken: true)
          }
        } catch {
          failures.withLock { $0.append("\(error)") }
        }
      }
      #expect(failures.withLock { $0 } == [])
      let keys = taken.withLock { $0 }
      #expect(keys.count == 200 && Set(keys).count == 200)
    },
    Claim("ten thousand orders are listed, asked for and counted in moments") { scene throws in
      let orders = (0..<10_000).map { NewOrder.of("mo-\($0)", machine: $0 % 2 == 0 ? .a : .b, priority: $0 % 7) }
      #expect(try scene.queue.list(orders, in: .mo, now: Scene.now) == ListedOrders(added: 10_000))
      #expect(try scene.queue.list(orders, in: .mo, now: Scene.now) == ListedOrders(known: 10_000))
      guard case .orders(let got, let left) = try scene.ask(1) else {
        Issue.record("no orders")
        return
      }
      #expect(got.count == 10 && left == 4990)
      #expect(try scene.queue.summary(.mo).counts == [.queued: 9990, .handedOut: 10])
    },
  ]

  // MARK: Outcomes

  static let outcomes: [Claim] = [
    Claim("orders that were taken are in work, and those that the table refuses are refused with its reason") {
      scene throws in
      try scene.list(["1", "2", "3"])
      #expect(try scene.keys(1) == ["1", "2", "3"])
      try scene.note(.taken(1, refused: ["2": "the field kg is missing"], known: ["3"]))
      #expect(try scene.states("1", "2", "3") == [.inWork, .refused, .inWork])
      #expect(try scene.queue.order("2", in: .mo)?.note == "the field kg is missing")
      #expect(try scene.queue.order("3", in: .mo)?.note == "the machine had it before")
      #expect(try scene.ask(1) == .closed)
    },
    Claim("an outcome a second time changes nothing, also when the orders have moved on") { scene throws in
      try scene.list(["1", "2"])
      _ = try scene.ask(1)
      let outcome = RefillOutcome.taken(1, refused: ["2": "too long"])
      try scene.note(outcome)
      #expect(try scene.queue.requeue(["2"], in: .mo, now: Scene.now) == [OrderAction(key: "2")])
      #expect(try scene.keys(2, last: outcome) == ["2"])
      try scene.note(outcome)
      #expect(try scene.states("1", "2") == [.inWork, .handedOut])
      try scene.note(.taken(2))
      try scene.note(outcome)
      try scene.note(.notTaken(1))
      #expect(try scene.states("1", "2") == [.inWork, .inWork])
    },
    Claim("orders that were not taken are queued again, and go to the next request") { scene throws in
      try scene.list(["1", "2"])
      #expect(try scene.keys(1) == ["1", "2"])
      try scene.note(.notTaken(1))
      let order = try #require(try scene.queue.order("1", in: .mo))
      #expect(order.state == .queued && order.holder == nil && order.request == nil && order.handedOutAt == nil)
      #expect(try scene.ask(1) == .closed)
      #expect(try scene.keys(2, .b) == ["1", "2"])
    },
    Claim("an outcome in the next request counts as one of its own") { scene throws in
      try scene.list(["1", "2", "3"])
      #expect(try scene.keys(1, limit: 1) == ["1"])
      #expect(try scene.keys(2, limit: 1, last: .taken(1)) == ["2"])
      #expect(try scene.keys(3, limit: 1, last: .notTaken(2)) == ["2"])
      #expect(try scene.states("1", "2", "3") == [.inWork, .handedOut, .queued])
    },
    Claim("an order that was cleared at the machine is withdrawn, and nothing takes it back but a person") {
      scene throws in
      try scene.list(["1", "2"])
      _ = try scene.ask(1)
      try scene.note(.taken(1))
      try scene.note(.taken(1, cleared: ["2"]))
      #expect(try scene.states("1", "2") == [.inWork, .withdrawn])
      #expect(try scene.queue.order("2", in: .mo)?.note == "cleared at the machine")
      #expect(try scene.list(.of("2")) == ListedOrders(known: 1))
      #expect(try scene.state("2") == .withdrawn)
      _ = try scene.queue.requeue(["2"], in: .mo, now: Scene.now)
      #expect(try scene.keys(2, last: .taken(1, cleared: ["2"])) == ["2"])
      #expect(try scene.state("2") == .handedOut)
    },
    // The machine turned the last request away, and its table has the orders of the one before.
    Claim("an order of an earlier request that was cleared is withdrawn, and one of a later request is not") {
      scene throws in
      try scene.list(["1", "2"])
      #expect(try scene.keys(1, limit: 1) == ["1"])
      #expect(try scene.keys(2, limit: 1, last: .taken(1)) == ["2"])
      var turnedAway = RefillOutcome.notTaken(2)
      turnedAway.cleared = ["1", "2"]
      try scene.note(turnedAway)
      #expect(try scene.states("1", "2") == [.withdrawn, .queued])
      #expect(try scene.keys(3, limit: 1, last: turnedAway) == ["2"])
      try scene.note(turnedAway)
      #expect(try scene.state("2") == .handedOut)
    },
    Claim("an order that a person has requeued says when, also if it is listed again") { scene throws in
      try scene.list(["1"])
      _ = try scene.ask(1)
      _ = try scene.queue.requeue(["1"], in: .mo, now: Scene.now + 7)
      #expect(try scene.list(.of("1")) == ListedOrders(known: 1))
      #expect(try scene.list(.of("1", "{}")) == ListedOrders(replaced: 1))
      let order = Order(key: "1", fields: Array("{}".utf8)[...], requeuedAt: Scene.now + 7)
      #expect(try scene.ask(2) == .orders([order], left: 0))
    },
    Claim("a request needs orders if it is new and nothing is queued for its machine") { scene throws in
      func needs(_ request: UInt64, _ machine: MachineID = .a, last: RefillOutcome? = nil) throws -> Bool {
        try scene.queue.needsOrders(
          OrderRequest(request: RefillID(random: request), stream: .moBatch, limit: 1, bytes: 9999, last: last),
          of: machine, from: .mo, now: Scene.now)
      }
      #expect(try needs(1))
      try scene.list(.of("1", machine: .a), .of("2", machine: .a, notBefore: Scene.now + 1))
      #expect(try !needs(1))
      #expect(try needs(1, .b))
      _ = try scene.ask(1)
      #expect(try !needs(1))
      #expect(try needs(2, last: .taken(1)))
      #expect(try !needs(2, last: .notTaken(1)))
    },
    Claim("an outcome says nothing of another machine's orders") { scene throws in
      try scene.list(["1"])
      _ = try scene.ask(1, .a)
      try scene.note(.notTaken(1), .b)
      try scene.note(.taken(1, refused: ["1": "no"], cleared: ["1"]), .b)
      #expect(try scene.state("1") == .handedOut)
      try scene.note(.taken(1), .a)
      #expect(try scene.state("1") == .inWork)
    },
    // The store was restored to a state before the request.
    Claim("of a request that the store has lost, the orders that the outcome names are refused or in work") {
      scene throws in
      try scene.list(["1", "2", "3"])
      let outcome = RefillOutcome.taken(1, refused: ["1": "no"], known: ["2"])
      #expect(try scene.keys(2, last: outcome) == ["3"])
      #expect(try scene.states("1", "2", "3") == [.refused, .inWork, .handedOut])
      #expect(try scene.ask(1) == .closed)
    },
  ]

  // MARK: Doubts

  static let doubts: [Claim] = [
    Claim("a new request without the outcome of the one before marks its orders in doubt, and hands them out to none") {
      scene throws in
      try scene.list(["1", "2"])
      #expect(try scene.keys(1, limit: 1) == ["1"])
      #expect(try scene.keys(2, limit: 1) == ["2"])
      #expect(try scene.isInDoubt("1") == true)
      #expect(try scene.isInDoubt("2") == false)
      #expect(try scene.state("1") == .handedOut)
      #expect(try scene.queue.summary(.mo).inDoubt == 1)
      #expect(try scene.ask(3, .b) == .nothing(why: "no order is queued"))
      // A person decides.
      #expect(try scene.queue.requeue(["1"], in: .mo, now: Scene.now) == [OrderAction(key: "1")])
      #expect(try scene.isInDoubt("1") == false)
      #expect(try scene.keys(4, .b) == ["1"])
    },
    Claim("a late outcome ends the doubt") { scene throws in
      try scene.list(["1", "2"])
      _ = try scene.ask(1, limit: 1)
      _ = try scene.ask(2, limit: 1)
      try scene.note(.taken(1))
      #expect(try scene.state("1") == .inWork)
      #expect(try scene.isInDoubt("1") == false)
    },
    Claim("a repeated request marks nothing") { scene throws in
      try scene.list(["1", "2"])
      _ = try scene.ask(1, limit: 1)
      _ = try scene.ask(2, limit: 1, last: .taken(1))
      _ = try scene.ask(1, limit: 1)
      #expect(try scene.isInDoubt("2") == false)
    },
    // The machine's database was put back to a state before its last refill, whose outcome it had said.
    Claim("a machine that has forgotten a request that it took has its orders in doubt") { scene throws in
      try scene.list(["1", "2", "3", "4"])
      _ = try scene.ask(1, limit: 1)
      _ = try scene.ask(2, limit: 1, last: .taken(1))
      try scene.note(.taken(2))
      #expect(try scene.keys(3, limit: 1, last: .taken(1)) == ["3"])
      #expect(try scene.isInDoubt("1") == false)
      #expect(try scene.isInDoubt("2") == true)
      #expect(try scene.keys(4, limit: 1, last: .taken(3)) == ["4"])
      #expect(try scene.isInDoubt("3") == false)
    },
    Claim("a machine that remembers no request at all has every order in doubt that it took") { scene throws in
      try scene.list(["1", "2"])
      _ = try scene.ask(1, limit: 1)
      try scene.note(.taken(1))
      _ = try scene.ask(2, limit: 1)
      #expect(try scene.isInDoubt("1") == true)
    },
    Claim("the row of an order in doubt says that it is at the machine, if it has come since") { scene throws in
      try scene.list(["1", "2"])
      _ = try scene.ask(1, limit: 1)
      try scene.note(.taken(1))
      try scene.row("1", 0, version: 5)
      try scene.settle()
      _ = try scene.ask(2, limit: 1)
      #expect(try scene.isInDoubt("1") == true)
      try scene.settle()
      #expect(try scene.isInDoubt("1") == true)
      try scene.row("1", 0, version: 2, epoch: .two)
      try scene.settle()
      #expect(try scene.isInDoubt("1") == false)
    },
    Claim("many requests without orders forget nothing of those with orders") { scene throws in
      try scene.list(["1"])
      _ = try scene.ask(1)
      for request in 2...200 { _ = try scene.ask(UInt64(request), last: .taken(1)) }
      #expect(try scene.isInDoubt("1") == false)
      #expect(try scene.state("1") == .inWork)
      #expect(try scene.ask(1) == .closed)
    },
  ]
}

/// Runs a body on so many threads at once, and waits for all.
private func concurrently(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
  let group = DispatchGroup()
  for number in 0..<count {
    DispatchQueue(label: "caller \(number)").async(group: group) { body(number) }
  }
  group.wait()
}
