// The tables of docs/decisions/0050-two-way-rows.md, line by line.

import DroverCore
import Testing

@Suite struct TwoWayRuleTests {
  /// The epoch 2 continues the epoch 1 from the version 50; the epoch 9 has nothing to do with them.
  private static let history = EpochHistory(epoch: 2, forks: [2: (parent: 1, version: 50)])

  private static func edge(_ epoch: Int64, _ version: Int64) -> RowVersion {
    RowVersion(epoch: epoch, version: version)
  }

  @Test func `an own edit is known, the same, newer, or of a lost future`() {
    typealias Line = (version: Int64, newest: RowVersion?, relation: EpochHistory.Relation)
    let lines: [Line] = [
      (60, nil, .newer), (60, Self.edge(2, 59), .newer), (60, Self.edge(2, 60), .same), (60, Self.edge(2, 61), .known),
      (60, Self.edge(1, 50), .newer), (60, Self.edge(1, 51), .concurrent), (40, Self.edge(1, 51), .known),
      (40, Self.edge(1, 40), .same), (40, Self.edge(1, 39), .newer), (60, Self.edge(9, 1), .concurrent),
    ]
    for line in lines {
      #expect(Self.history.relation(of: line.version, to: line.newest) == line.relation, "\(line)")
    }
  }

  @Test func `a grandparent's edits are seen up to the lower of both forks`() {
    let history = EpochHistory(epoch: 3, forks: [3: (parent: 2, version: 70), 2: (parent: 1, version: 50)])
    #expect(history.limit(of: 2) == 70)
    #expect(history.limit(of: 1) == 50)
    #expect(history.limit(of: 4) == nil)
    let circle = EpochHistory(epoch: 3, forks: [3: (parent: 2, version: 70), 2: (parent: 3, version: 50)])
    #expect(circle.limit(of: 2) == 70)
  }

  /// An event at version 60 of epoch 2, and what the cloud knows.
  private struct Line: Sendable, CustomTestStringConvertible {
    var base: Int64
    var isAgain = false
    var version: Int64 = 60
    var known: TwoWayRule.Known
    var decision: TwoWayRule.Decision
    var testDescription: String { "base \(base) \(isAgain ? "again " : "")\(version) \(known): \(decision)" }
  }

  private static func known(
    _ edge: RowVersion?, cloud: Int64 = 0, own: Bool = true, isThere: Bool = true, isComplete: Bool = false
  ) -> TwoWayRule.Known {
    TwoWayRule.Known(edge: edge, cloud: cloud, isCloudContent: own, isThere: isThere, isComplete: isComplete)
  }

  private static let older = edge(2, 55)
  private static let lostFuture = edge(1, 90)
  private static let lines: [Line] = [
    // An edit.
    Line(base: 0, known: known(nil, isThere: false), decision: .take),
    Line(base: 0, known: known(older), decision: .take),
    Line(base: 0, known: known(edge(2, 60)), decision: .ignore),
    Line(base: 0, known: known(edge(2, 61)), decision: .ignore),
    Line(base: 80, known: known(older, cloud: 80), decision: .take),
    Line(base: 79, known: known(older, cloud: 80), decision: .conflict),
    Line(base: 79, known: known(older, cloud: 80, own: false), decision: .take),
    Line(base: 0, known: known(lostFuture), decision: .conflict),
    Line(base: 0, known: known(nil, cloud: 80), decision: .collision),
    Line(base: 0, known: known(nil, cloud: 80, isThere: false), decision: .conflict),
    Line(base: 81, known: known(edge(2, 60), cloud: 80), decision: .take),
    // A row that is sent again.
    Line(base: 0, isAgain: true, known: known(nil, isThere: false), decision: .take),
    Line(base: 80, isAgain: true, known: known(edge(2, 60), cloud: 80), decision: .take),
    Line(base: 79, isAgain: true, known: known(edge(2, 60), cloud: 80), decision: .answer),
    Line(base: 81, isAgain: true, known: known(edge(2, 60), cloud: 80), decision: .take),
    Line(base: 80, isAgain: true, known: known(edge(2, 61), cloud: 80), decision: .answer),
    Line(base: 81, isAgain: true, known: known(edge(2, 61), cloud: 80), decision: .conflict),
    Line(base: 80, isAgain: true, known: known(older, cloud: 80), decision: .take),
    Line(base: 79, isAgain: true, known: known(older, cloud: 80), decision: .conflict),
    Line(base: 0, isAgain: true, known: known(lostFuture), decision: .conflict),
    // The same without a known edit: 20 is not above `since`.
    Line(base: 0, isAgain: true, version: 20, known: known(edge(1, 10)), decision: .take),
    Line(base: 0, isAgain: true, version: 20, known: known(edge(1, 10), cloud: 80), decision: .answer),
    Line(base: 0, isAgain: true, version: 20, known: known(lostFuture), decision: .answer),
    // The message was overtaken: its content once replaced the edit that the row has had since.
    Line(base: 80, isAgain: true, version: 20, known: known(edge(2, 61), cloud: 80, own: false), decision: .answer),
    Line(base: 0, isAgain: true, version: 20, known: known(edge(9, 1)), decision: .conflict),
    Line(base: 0, isAgain: true, version: 20, known: known(nil, own: false), decision: .take),
    Line(base: 80, isAgain: true, version: 20, known: known(nil, cloud: 80), decision: .take),
    Line(base: 79, isAgain: true, version: 20, known: known(nil, cloud: 80), decision: .answer),
    Line(base: 0, isAgain: true, version: 20, known: known(nil, cloud: 80), decision: .collision),
    Line(base: 0, isAgain: true, version: 20, known: known(nil, cloud: 80, isThere: false), decision: .conflict),
    // What is complete.
    Line(base: 0, known: known(older, isComplete: true), decision: .frozen),
    Line(base: 0, known: known(edge(2, 60), isComplete: true), decision: .ignore),
  ]

  @Test(arguments: lines) private func `the tables hold`(line: Line) {
    let event = TwoWayRule.Arrival(.put, version: line.version, base: line.base, isAgain: line.isAgain)
    #expect(
      TwoWayRule.decide(event, known: line.known, history: Self.history, since: 20, isKeyNatural: false)
        == line.decision)
  }

  @Test func `two new rows under a natural key are a conflict`() {
    let event = TwoWayRule.Arrival(.put, version: 60, base: 0)
    #expect(
      TwoWayRule.decide(
        event, known: Self.known(nil, cloud: 80), history: Self.history, since: 0, isKeyNatural: true) == .conflict)
  }

  /// The app had a row before its stream began, and a person in the cloud made one of the same key before the machine sent it. The cloud's row went down over
  /// the machine's, and nothing was listed.
  @Test func `a row from before the stream meets a new row of the cloud's as an edit does`() {
    let event = TwoWayRule.Arrival(.put, version: 0, base: 0, isAgain: true)
    let known = Self.known(nil, cloud: 80)
    for (isNatural, decision) in [(true, TwoWayRule.Decision.conflict), (false, .collision)] {
      #expect(
        TwoWayRule.decide(event, known: known, history: Self.history, since: 0, isKeyNatural: isNatural) == decision)
    }
  }

  @Test func `a machine that has the newest decision has seen what it decided about`() {
    var known = Self.known(Self.lostFuture, cloud: 80)
    known.decided = Self.lostFuture
    let event = TwoWayRule.Arrival(.put, version: 60, base: 80)
    #expect(TwoWayRule.decide(event, known: known, history: Self.history, since: 0, isKeyNatural: true) == .take)
  }

  @Test func `a base that the store has lost makes an answer a conflict`() {
    let event = TwoWayRule.Arrival(.put, version: 60, base: 75, isAgain: true)
    var lost = LostDecisions()
    lost.wentBack(highest: 70, farthest: 70, now: 78)
    let known = Self.known(Self.edge(2, 61), cloud: 80)
    #expect(
      TwoWayRule.decide(event, known: known, history: Self.history, since: 0, lost: lost, isKeyNatural: true)
        == .conflict)
  }

  /// The machine held a decision that the store had lost. It took the row that was sent again over an edit that a person had made since the store was
  /// put back, and listed nothing: the lost decision was higher, because a clock was ahead.
  @Test func `a base that the store has lost has not seen an edit that was made since`() {
    var lost = LostDecisions()
    lost.wentBack(highest: 70, farthest: 70, now: 78)
    func decide(base: Int64, cloud: Int64, own: Bool = true) -> TwoWayRule.Decision {
      let event = TwoWayRule.Arrival(.put, version: 10, base: base, isAgain: true)
      return TwoWayRule.decide(
        event, known: Self.known(nil, cloud: cloud, own: own), history: Self.history, since: 20, lost: lost,
        isKeyNatural: true)
    }
    #expect(decide(base: 90, cloud: 80) == .conflict)
    // Lost with the store, above an edit that it still has: that edit was seen.
    #expect(decide(base: 75, cloud: 70) == .take)
    #expect(decide(base: 90, cloud: 70) == .take)
    #expect(decide(base: 80, cloud: 80) == .take)
    #expect(decide(base: 90, cloud: 80, own: false) == .take)
  }

  @Test func `of several losses the one counts that the base was lost in`() {
    let lost = LostDecisions([71...78, 81...90, 200...HybridClock.limit])
    #expect(lost.isUnseen(95, by: 100))
    #expect(lost.isUnseen(79, by: 100))
    #expect(!lost.isUnseen(79, by: 85))
    #expect(lost.isUnseen(79, by: 210))
    #expect(!lost.isUnseen(70, by: 75))
    #expect(!LostDecisions().isUnseen(70, by: 75))
  }

  @Test func `a put wins over a delete, then the column, then the version, then the cloud`() {
    typealias Side = TwoWayRule.Contender
    func winner(_ machine: Side, _ cloud: Side) -> TwoWayRule.Side { TwoWayRule.winner(machine: machine, cloud: cloud) }
    #expect(winner(Side(isThere: true, version: 1), Side(isThere: false, version: 9)) == .machine)
    #expect(winner(Side(isThere: false, version: 9), Side(isThere: true, version: 1)) == .cloud)
    #expect(
      winner(
        Side(isThere: true, newer: .text("2026-02"), version: 1),
        Side(isThere: true, newer: .text("2026-01"), version: 9))
        == .machine)
    #expect(
      winner(Side(isThere: true, newer: .null, version: 9), Side(isThere: true, newer: .integer(1), version: 1))
        == .machine)
    #expect(winner(Side(isThere: true, version: 5), Side(isThere: true, version: 5)) == .cloud)
  }

  @Test func `numbers are compared exactly, whatever their types`() {
    #expect(ValueOrder.compare(.integer(.max), .real(0x1p63)) == -1)
    #expect(ValueOrder.compare(.real(0.5), .integer(0)) == 1)
    #expect(ValueOrder.compare(.integer(1 << 53 + 1), .real(0x1p53)) == 1)
    #expect(ValueOrder.compare(.text("b"), .text("a")) == 1)
    #expect(ValueOrder.compare(.text("1"), .integer(9))! > 0)
    #expect(ValueOrder.compare(.null, .integer(9)) == nil)
  }

  @Test func `the edge applies what is new and covers its own edit`() throws {
    let (now, before) = (try Epoch("b"), try Epoch("a"))
    func decide(
      _ version: Int64, _ mark: DownEvent.Mark?, held: Int64 = 0, mine: Int64 = 0, waiting: Int64? = nil,
      isThere: Bool = true
    ) -> ApplyRule.Decision {
      let event = DownEvent(seq: 1, localID: "1", key: [.integer(1)], content: .none, version: version, edge: mark)
      var known = ApplyRule.Known(held: held, mine: mine, waiting: waiting)
      known.isThere = isThere
      return ApplyRule.decide(event, known: known, epoch: now, seen: [before: 50])
    }
    #expect(decide(10, nil) == .apply)
    #expect(decide(10, nil, held: 10) == .old)
    #expect(decide(10, nil, mine: 5) == .edited)
    #expect(decide(10, nil, waiting: 5) == .edited)
    // The cloud has forgotten the delete.
    #expect(decide(10, nil, mine: 5, isThere: false) == .apply)
    #expect(decide(10, nil, mine: 5, waiting: 6, isThere: false) == .edited)
    #expect(decide(10, .init(epoch: now, version: 4), mine: 5, isThere: false) == .edited)
    #expect(decide(10, .init(epoch: now, version: 5), mine: 5) == .apply)
    #expect(decide(10, .init(epoch: now, version: 5), mine: 5, waiting: 6) == .edited)
    #expect(decide(10, .init(epoch: before, version: 90), mine: 50) == .apply)
    #expect(decide(10, .init(epoch: before, version: 90), mine: 51) == .edited)
    #expect(decide(10, .init(epoch: try Epoch("c"), version: 90), mine: 1) == .edited)
  }
}
