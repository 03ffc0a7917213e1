// Rows of the worklist's stream, people's actions, and programs that list orders with SQL.

import DroverCore
import Testing

extension WorklistConformance {
  static let rows: [Claim] = [
    Claim("an order with a row in the machine's stream is not handed out: the row says its state") { scene throws in
      try scene.list(["1", "2", "3"])
      try scene.row("1", 0)
      try scene.row("2", 1)
      #expect(try scene.keys(1) == ["3"])
      #expect(try scene.states("1", "2", "3") == [.inWork, .complete, .handedOut])
      #expect(try scene.queue.order("1", in: .mo)?.holder == .a)
    },
    Claim("an order for any machine is not handed out if another machine has its row") { scene throws in
      try scene.list(["1", "2"])
      try scene.row("1", 0, machine: .b)
      #expect(try scene.keys(1, .a) == ["2"])
      #expect(try scene.queue.order("1", in: .mo)?.holder == .b)
    },
    Claim("an order that names its machine has nothing to do with another machine's row of its key") { scene throws in
      try scene.list(.of("1", machine: .a))
      try scene.row("1", 1, machine: .b)
      #expect(try scene.keys(1, .a) == ["1"])
      try scene.note(.taken(1))
      #expect(try scene.settle() == [])
      #expect(try scene.state("1") == .inWork)
    },
    Claim("rows settle what is in work and what is complete, each once") { scene throws in
      try scene.list(["1", "2", "3"])
      _ = try scene.ask(1)
      #expect(try scene.settle() == [])
      try scene.row("1", 0)
      try scene.row("2", 1, version: 2)
      #expect(try scene.settle() == ["2"])
      #expect(try scene.states("1", "2", "3") == [.inWork, .complete, .handedOut])
      #expect(try scene.settle() == [])
      try scene.row("1", 1, version: 3)
      #expect(try scene.settle() == ["1"])
      // The outcome comes after the rows.
      try scene.note(.taken(1))
      #expect(try scene.states("1", "2", "3") == [.complete, .complete, .inWork])
    },
    Claim("a row that completes wins over whatever was thought of the order") { scene throws in
      try scene.list(["1", "2"])
      _ = try scene.ask(1)
      try scene.note(.taken(1, cleared: ["1"]))
      _ = try scene.queue.requeue(["2"], in: .mo, now: Scene.now)
      #expect(try scene.states("1", "2") == [.withdrawn, .queued])
      try scene.row("1", 1)
      try scene.row("2", 1)
      #expect(try scene.settle() == ["1", "2"])
      #expect(try scene.states("1", "2") == [.complete, .complete])
    },
    // The row in the cloud stays when the machine's table is cleared.
    Claim("the row that was there when an order was queued again does not take it out of the queue") { scene throws in
      try scene.list(["1"])
      _ = try scene.ask(1)
      try scene.note(.taken(1))
      try scene.row("1", 0, version: 5)
      try scene.settle()
      try scene.note(.taken(1, cleared: ["1"]))
      _ = try scene.queue.requeue(["1"], in: .mo, now: Scene.now)
      #expect(try scene.settle() == [])
      #expect(try scene.keys(2, last: .taken(1, cleared: ["1"])) == ["1"])
      #expect(try scene.settle() == [])
      #expect(try scene.state("1") == .handedOut)
      try scene.row("1", 0, version: 6)
      try scene.settle()
      #expect(try scene.state("1") == .inWork)
    },
    Claim("a complete order is posted once, the oldest first") { scene throws in
      try scene.list(["1", "2", "3"])
      _ = try scene.ask(1)
      try scene.row("2", 1)
      _ = try scene.queue.settle(.mo, now: Scene.now + 1)
      try scene.row("1", 1, version: 2)
      _ = try scene.queue.settle(.mo, now: Scene.now + 2)
      #expect(try scene.queue.completedToPost(in: .mo, limit: 10).map(\.new.order.key) == ["2", "1"])
      #expect(try scene.queue.completedToPost(in: .mo, limit: 1).map(\.new.order.key) == ["2"])
      try scene.queue.posted(["2", "3"], in: .mo, now: Scene.now + 3)
      #expect(try scene.queue.completedToPost(in: .mo, limit: 10).map(\.new.order.key) == ["1"])
    },
  ]

  // MARK: People

  static let people: [Claim] = [
    Claim("an order that is listed again stays what it is, in each state; a queued one gets its new fields") {
      scene throws in
      try scene.list(["q", "h", "w", "c", "d", "r"])
      #expect(try scene.list(.of("q", "{\"kg\":2}", priority: 4)) == ListedOrders(replaced: 1))
      #expect(try scene.list(.of("q", "{\"kg\":2}", priority: 4)) == ListedOrders(known: 1))
      _ = try scene.queue.withdraw(["d", "q"], in: .mo, now: Scene.now)
      _ = try scene.queue.requeue(["q"], in: .mo, now: Scene.now)
      #expect(try scene.keys(1, limit: 4) == ["q", "h", "w", "c"])
      try scene.note(.notTaken(1))
      #expect(try scene.keys(2, limit: 4) == ["q", "h", "w", "c"])
      try scene.note(.taken(2, known: ["w"]))
      try scene.row("c", 1)
      try scene.settle()
      #expect(try scene.keys(3, limit: 1, last: .taken(2)) == ["r"])
      try scene.note(.taken(3, refused: ["r": "no"]))
      try scene.list(.of("x"))
      #expect(try scene.keys(4, limit: 1, last: .taken(3)) == ["x"])
      try scene.list(.of("n"))
      let before = try scene.states("n", "x", "w", "c", "d", "r")
      #expect(before == [.queued, .handedOut, .inWork, .complete, .withdrawn, .refused])
      for key in ["x", "w", "c", "d", "r"] {
        #expect(try scene.list(.of(key, "{\"other\":1}", priority: 99)) == ListedOrders(known: 1))
        #expect(try scene.queue.order(key, in: .mo)?.new == .of(key))
      }
      #expect(try scene.states("n", "x", "w", "c", "d", "r") == before)
      #expect(try scene.ask(5, .b) != .nothing(why: "no order is queued"))
    },
    Claim("of an order that is listed twice at once the last one counts") { scene throws in
      #expect(try scene.list(.of("1", "{\"a\":1}"), .of("1", "{\"a\":2}")) == ListedOrders(added: 1, known: 1))
      #expect(try scene.queue.order("1", in: .mo)?.new == .of("1", "{\"a\":2}"))
    },
    Claim("keys are compared by their bytes") { scene throws in
      try scene.list(["caf\u{e9}", "cafe\u{301}", "a", "A"])
      #expect(try scene.queue.summary(.mo).counts == [.queued: 4])
      let keys = try #require(try scene.keys(1)).map { ExactText($0) }
      #expect(keys == ["caf\u{e9}", "cafe\u{301}", "a", "A"].map { ExactText($0) })
    },
    Claim(
      "fields that are no JSON object, and a key that is empty, too long or has NUL, are refused with all of their list"
    ) {
      scene throws in
      for fields in ["", "[]", "7", "{", "{\"a\":1", "{\"a\":NaN}", "{\"a\":1}x", "{\"a\":\"\u{0}\"}"] {
        #expect(throws: (any Error).self) { try scene.list(.of("ok"), .of("1", fields)) }
      }
      for key in ["", "a\u{0}b", String(repeating: "x", count: 1025)] {
        #expect(throws: (any Error).self) { try scene.list(.of("ok"), .of(key)) }
      }
      #expect(try scene.queue.summary(.mo).counts == [:])
    },
    Claim("a person takes queued and refused orders out, and is told why others stay") { scene throws in
      try scene.list(["1", "2", "3", "4"])
      _ = try scene.ask(1, limit: 2)
      try scene.note(.taken(1))
      try scene.row("1", 1)
      try scene.settle()
      #expect(try scene.keys(2, limit: 1, last: .taken(1)) == ["3"])
      let actions = try scene.queue.withdraw(["1", "2", "3", "4", "5"], in: .mo, now: Scene.now)
      #expect(actions.map(\.key) == ["1", "2", "3", "4", "5"])
      #expect(actions[0].refusal == "it is complete")
      #expect(actions[1].refusal?.contains("drover worklist clear") == true)
      #expect(actions[2].refusal?.contains("on its way") == true)
      #expect(actions[3].refusal == nil)
      #expect(actions[4].refusal == "it is not listed")
      #expect(try scene.states("1", "2", "3", "4") == [.complete, .inWork, .handedOut, .withdrawn])
      let again = try scene.queue.requeue(["1"], in: .mo, now: Scene.now)
      #expect(again == [OrderAction(key: "1", refusal: "it is complete")])
    },
    Claim("an order whose row is complete is not queued again, also before the row was looked at") { scene throws in
      try scene.list(["1"])
      _ = try scene.ask(1)
      try scene.row("1", 1)
      let actions = try scene.queue.requeue(["1"], in: .mo, now: Scene.now)
      #expect(actions == [OrderAction(key: "1", refusal: "its row is complete")])
    },
    Claim("a repeated request has no order that a person has queued again meanwhile") { scene throws in
      try scene.list(["1", "2"])
      #expect(try scene.keys(1) == ["1", "2"])
      _ = try scene.queue.requeue(["1"], in: .mo, now: Scene.now)
      #expect(try scene.keys(1) == ["2"])
      _ = try scene.queue.requeue(["2"], in: .mo, now: Scene.now)
      #expect(try scene.ask(1) == .closed)
    },
    Claim("orders are shown as they were listed, in parts, by state and by machine") { scene throws in
      try scene.list(.of("1"), .of("2", machine: .b), .of("3"), .of("4"))
      #expect(try scene.keys(1, .a, limit: 1) == ["1"])
      func keys(
        _ state: OrderState? = nil, _ machine: MachineID? = nil, after: String? = nil, limit: Int = 10
      ) throws -> [String] {
        try scene.queue.orders(in: .mo, state: state, machine: machine, after: after, limit: limit)
          .map(\.new.order.key)
      }
      #expect(try keys() == ["1", "2", "3", "4"])
      #expect(try keys(limit: 2) == ["1", "2"])
      #expect(try keys(after: "2") == ["3", "4"])
      #expect(try keys(.queued) == ["2", "3", "4"])
      #expect(try keys(.queued, after: "2", limit: 1) == ["3"])
      #expect(try keys(nil, .a) == ["1"])
      #expect(try keys(nil, .b) == ["2"])
      #expect(try keys(after: "no such") == [])
    },
    Claim("a summary counts states and doubts, and says when an order moved and which has been in work longest") {
      scene throws in
      #expect(try scene.queue.summary(.mo) == WorklistSummary(name: StreamName.mo))
      try scene.list(["1", "2", "3"])
      _ = try scene.ask(1, limit: 1, now: Scene.now + 5)
      _ = try scene.ask(2, limit: 1, last: .taken(1), now: Scene.now + 7)
      #expect(
        try scene.queue.summary(.mo)
          == WorklistSummary(
            name: .mo, counts: [.queued: 1, .handedOut: 1, .inWork: 1], inDoubt: 0, oldestInWork: Scene.now + 5,
            lastMoved: Scene.now + 7, refills: 1))
    },
    Claim("a worklist that the configuration does not name is refused") { scene throws in
      #expect(throws: UnknownWorklist.self) { try scene.queue.list([.of("1")], in: .stock, now: Scene.now) }
    },
  ]

  // MARK: Programs

  private static func insert(_ key: String, _ rest: String = "", _ fields: String = "{\"silo\":\"A\"}") -> String {
    "INSERT INTO drover_order (worklist, order_key, fields) VALUES ('mo', '\(key)', '\(fields)')\(rest)"
  }

  static let programs: [Claim] = [
    Claim("a program lists orders with SQL, with machine, priority and time") { scene throws in
      try scene.sql(insert("1"))
      try scene.sql(
        """
        INSERT INTO drover_order (worklist, order_key, fields, machine, priority, not_before)
        VALUES ('mo', '2', '{"kg":1}', NULL, 7, NULL), ('mo', '3', '{}', 'MAH002', 0, NULL), ('mo', '4', '{}', NULL, 0, \(Scene.now + 1)),
               ('mo', '5', '{}', '*', 0, 0), ('mo', '6', '{}', 'no machine!', 0, NULL)
        """)
      #expect(try scene.keys(1, .a) == ["2", "1", "5"])
      #expect(try scene.keys(2, .b) == ["3"])
      #expect(try scene.queue.order("6", in: .mo)?.note == "its machine is no name of a machine")
      #expect(try scene.queue.order("1", in: .mo)?.since ?? 0 > 1_700_000_000_000_000)
    },
    Claim("what a program lists gets its machine by the configuration's rule", .field("equipment")) { scene throws in
      try scene.sql(insert("1", "", "{\"equipment\":\"MAH002\"}"))
      try scene.sql(insert("2", "", "{\"equipment\":\"none!\"}"))
      #expect(try scene.keys(1, .a) == nil)
      #expect(try scene.keys(2, .b) == ["1"])
      // Another configuration is looked at when the consumer starts.
      let open = [WorklistPlan(name: scene.plans[0].name, stream: scene.plans[0].stream)]
      let queue = try scene.place.open(open)
      let answer = try queue.answer(
        OrderRequest(request: RefillID(random: 9), stream: open[0].stream, limit: 5, bytes: 9999, last: nil), of: .a,
        from: .mo, now: Scene.now)
      guard case .orders(let orders, _) = answer else {
        Issue.record("no orders: \(answer)")
        return
      }
      #expect(orders.map(\.key) == ["2"])
    },
    Claim("SQL refuses bad JSON, a bad key, a state that a program writes, and a change of what was handed out") {
      scene throws in
      for fields in ["", "[]", "7", "{", "null", "\"{}\"", "x"] { #expect(scene.isRefused(insert("bad", "", fields))) }
      #expect(scene.isRefused(insert("")))
      #expect(scene.isRefused(insert(String(repeating: "x", count: 1025))))
      #expect(scene.isRefused("INSERT INTO drover_order (worklist, order_key) VALUES ('mo', 'x')"))
      #expect(
        scene.isRefused(
          "INSERT INTO drover_order (worklist, order_key, fields, state) VALUES ('mo', 'x', '{}', 'complete')"))
      #expect(
        scene.isRefused(
          "INSERT INTO drover_order (worklist, order_key, fields, holder) VALUES ('mo', 'x', '{}', 'MAH001')"))
      try scene.list(["1"])
      #expect(try scene.keys(1, limit: 1) == ["1"])
      try scene.sql(insert("2"))
      for change in [
        "state = 'complete'", "state = 'queued'", "holder = NULL", "request = NULL", "since = 0", "target = 'MAH002'",
        "order_key = '9'", "worklist = 'other'", "posted_at = 1", "note = 'x'", "handed_at = 1",
      ] {
        #expect(scene.isRefused("UPDATE drover_order SET \(change) WHERE order_key = '1'"), "\(change)")
      }
      for change in ["state = 'complete'", "holder = 'MAH001'", "target = '*'", "since = 0", "order_key = '9'"] {
        #expect(scene.isRefused("UPDATE drover_order SET \(change) WHERE order_key = '2'"), "\(change)")
      }
      for change in ["fields = '{}'", "machine = 'MAH002'", "priority = 9", "not_before = 1"] {
        #expect(scene.isRefused("UPDATE drover_order SET \(change) WHERE order_key = '1'"), "\(change)")
      }
      #expect(scene.isRefused("DELETE FROM drover_order"))
      #expect(scene.isRefused("DELETE FROM drover_order WHERE order_key = '1'"))
      #expect(try scene.states("1", "2") == [.handedOut, .queued])
    },
    Claim("a program may change and delete what is queued", .field("equipment")) { scene throws in
      try scene.sql(insert("1", "", "{\"equipment\":\"MAH001\"}"))
      try scene.sql(insert("2", "", "{\"equipment\":\"MAH001\"}"))
      // The machine of both is decided.
      #expect(try scene.keys(1, .b) == nil)
      try scene.sql("UPDATE drover_order SET fields = '{\"equipment\":\"MAH002\"}', priority = 3 WHERE order_key = '1'")
      try scene.sql("DELETE FROM drover_order WHERE order_key = '2'")
      #expect(try scene.keys(2, .a) == nil)
      #expect(try scene.keys(3, .b) == ["1"])
    },
    Claim("a program may delete what is complete, withdrawn or refused") { scene throws in
      try scene.list(["c", "d", "r"])
      _ = try scene.queue.withdraw(["d"], in: .mo, now: Scene.now)
      _ = try scene.ask(1)
      try scene.note(.taken(1, refused: ["r": "no"]))
      try scene.row("c", 1)
      try scene.settle()
      try scene.sql("DELETE FROM drover_order")
      #expect(try scene.queue.summary(.mo).counts == [:])
      // Its row is there: listed again, it is not handed out.
      try scene.list(["c"])
      #expect(try scene.keys(2, last: .taken(1)) == nil)
      #expect(try scene.state("c") == .complete)
    },
    Claim("a program that lists a known order again, as both databases let it, changes nothing of what was handed out")
    {
      scene throws in
      try scene.list(["1"])
      #expect(try scene.keys(1) == ["1"])
      try scene.sql(insert("1", " ON CONFLICT (worklist, order_key) DO NOTHING"))
      #expect(try scene.state("1") == .handedOut)
      #expect(try scene.queue.order("1", in: .mo)?.holder == .a)
      try scene.sql(insert("2", " ON CONFLICT (worklist, order_key) DO NOTHING"))
      try scene.sql(
        insert("2", " ON CONFLICT (worklist, order_key) DO UPDATE SET fields = excluded.fields", "{\"new\":1}"))
      #expect(try scene.queue.order("2", in: .mo)?.new == .of("2", "{\"new\":1}"))
    },
  ]
}
