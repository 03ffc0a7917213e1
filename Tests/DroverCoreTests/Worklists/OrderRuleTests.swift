import DroverCore
import Testing

/// The whole truth table: for each event, what becomes of an order in each state. A dot: nothing changes. An exclamation mark: it is refused.
@Suite struct OrderRuleTests {
  private static let table: [(OrderEvent, [Character])] = [
    // queued, handed out, in work, complete, withdrawn, refused
    (.listed, ["."] + Array(".....")),
    (.handedOut, ["h"] + Array(".....")),
    (.taken, Array("ww....")),
    (.refused, Array("rr....")),
    (.notTaken, Array(".q....")),
    (.cleared, Array(".dd...")),
    (.rowArrived, Array("ww....")),
    (.rowComplete, Array("ccc.cc")),
    (.requeue, Array(".qq!qq")),
    (.withdraw, Array("d!!!.d")),
  ]

  @Test func `each event does to each state what the table says`() {
    let letters: [OrderState: Character] = [
      .queued: "q", .handedOut: "h", .inWork: "w", .complete: "c", .withdrawn: "d", .refused: "r",
    ]
    #expect(OrderState.allCases == [.queued, .handedOut, .inWork, .complete, .withdrawn, .refused])
    for (event, row) in Self.table {
      for (state, expected) in zip(OrderState.allCases, row) {
        let seen: Character =
          switch OrderRule.decide(state, event) {
          case .stays: "."
          case .becomes(let next): letters[next]!
          case .refuses: "!"
          }
        #expect(seen == expected, "\(event), \(state)")
      }
    }
  }
}

@Suite struct RefillRuleTests {
  private let open = RefillID(random: 1)

  @Test func `orders are inserted into a table that is ready, and turned away from one that is not`() {
    typealias When = WorklistDeclaration.RefillWhen
    let cases: [(all: Int, unfinished: Int, When, RefillRule)] = [
      (0, 0, .empty, .insert), (1, 0, .empty, .turnAway), (1, 1, .empty, .turnAway),
      (0, 0, .finished, .insert), (3, 0, .finished, .insert), (3, 1, .finished, .turnAway),
    ]
    for (all, unfinished, when, expected) in cases {
      let rows = WorklistRows(all: all, unfinished: unfinished)
      #expect(RefillRule.decide(answer: open, open: open, rows: rows, declaration(when)) == expected)
    }
  }

  private func declaration(_ when: WorklistDeclaration.RefillWhen) -> WorklistDeclaration {
    WorklistDeclaration(orderKey: "k", refillWhen: when)
  }

  @Test func `a worklist that was disabled since turns its orders away`() {
    var disabled = declaration(.empty)
    disabled.isEnabled = false
    let rows = WorklistRows(all: 0, unfinished: 0)
    #expect(RefillRule.decide(answer: open, open: open, rows: rows, disabled) == .turnAway)
  }

  @Test func `a machine takes an order again only if a person has requeued it since`() {
    let order = { (requeued: Int64?) in ReadOrder(key: "1", fields: [], requeuedAt: requeued) }
    #expect(!RefillRule.isKnown(order(nil), had: nil))
    #expect(RefillRule.isKnown(order(nil), had: 0))
    #expect(RefillRule.isKnown(order(7), had: 7))
    #expect(RefillRule.isKnown(order(7), had: 8))
    #expect(!RefillRule.isKnown(order(8), had: 7))
  }

  @Test func `an answer to another request, or to none, is ignored`() {
    let rows = WorklistRows(all: 0, unfinished: 0)
    #expect(RefillRule.decide(answer: open, open: nil, rows: rows, declaration(.empty)) == .ignore)
    #expect(RefillRule.decide(answer: open, open: RefillID(random: 2), rows: rows, declaration(.empty)) == .ignore)
  }

  @Test func `a request's name is 16 hexadecimal digits`() {
    #expect(RefillID(random: 0).text == "0000000000000000")
    #expect(RefillID(random: .max).text == "ffffffffffffffff")
    #expect(RefillID("00000000000000aF") == nil)
    #expect(RefillID("0") == nil)
    #expect(RefillID("00000000000000af")?.text == "00000000000000af")
  }
}

@Suite struct WorklistPaceTests {
  private let start = ContinuousClock.now

  private func pace() -> WorklistPace {
    WorklistPace(interval: .seconds(300), patience: .seconds(5) ... .seconds(60), now: start)
  }

  private func at(_ seconds: Int) -> ContinuousClock.Instant { start.advanced(by: .seconds(seconds)) }

  @Test func `it looks at the start, and then once an interval`() {
    var pace = pace()
    #expect(pace.step(now: at(0)) == .look)
    #expect(pace.step(now: at(299)) == .wait)
    #expect(pace.step(now: at(300)) == .look)
  }

  @Test func `a table that becomes ready is looked at once`() {
    var pace = pace()
    _ = pace.step(now: at(0))
    pace.found(isReady: false, now: at(1))
    #expect(pace.step(now: at(2)) == .wait)
    pace.found(isReady: true, now: at(3))
    #expect(pace.step(now: at(3)) == .look)
    // It stays ready while the cloud has no orders: no request for each look.
    pace.asked(now: at(3))
    pace.closed(asksAtOnce: false, now: at(4))
    pace.found(isReady: true, now: at(5))
    #expect(pace.step(now: at(5)) == .wait)
  }

  @Test func `an open request is repeated with growing delays, and at once on a new connection`() {
    var pace = pace()
    _ = pace.step(now: at(0))
    pace.asked(now: at(0))
    #expect(pace.step(now: at(4)) == .wait)
    #expect(pace.step(now: at(5)) == .repeatRequest)
    #expect(pace.step(now: at(14)) == .wait)
    #expect(pace.step(now: at(15)) == .repeatRequest)
    pace.connected(now: at(16))
    #expect(pace.step(now: at(16)) == .repeatRequest)
    #expect(pace.step(now: at(21)) == .repeatRequest)
    pace.closed(asksAtOnce: true, now: at(22))
    #expect(pace.step(now: at(22)) == .look)
  }

  @Test func `a trigger looks now, and no earlier than an open request is answered`() {
    var pace = pace()
    _ = pace.step(now: at(0))
    pace.triggered(now: at(10))
    #expect(pace.step(now: at(10)) == .look)
    pace.asked(now: at(10))
    pace.triggered(now: at(11))
    #expect(pace.step(now: at(11)) == .wait)
  }
}
