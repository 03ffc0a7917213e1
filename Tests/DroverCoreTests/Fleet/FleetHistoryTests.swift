// How fast events were applied lately, from totals.

import DroverCore
import Testing

@Suite struct FleetHistoryTests {
  private static let minute: Int64 = 60_000_000

  private func noted(_ looks: [(minute: Int64, applied: Int)]) -> [Int] {
    var history = FleetHistory()
    for look in looks { history.note([("M", look.applied)], at: look.minute * Self.minute + 5) }
    return history.counts(of: "M")
  }

  /// The last ones; everything before is nothing.
  private func isLast(_ counts: [Int], _ last: [Int]) -> Bool {
    counts.count == FleetHistory.buckets && Array(counts.suffix(last.count)) == last
      && counts.dropLast(last.count).allSatisfy { $0 == 0 }
  }

  @Test func `what is applied between two looks counts in the minute of the second`() {
    #expect(isLast(noted([(100, 1000), (100, 1003), (100, 1004), (101, 1010), (103, 1011)]), [4, 6, 0, 1]))
  }

  @Test func `a first total, and one that went back, is a beginning and no rate`() {
    #expect(isLast(noted([(100, 1_000_000)]), []))
    #expect(isLast(noted([(100, 50), (101, 20), (101, 23)]), [3]))
  }

  @Test func `an hour later nothing is left, and after a long silence neither`() {
    let looks = (0...59).map { (minute: 100 + Int64($0), applied: 10 * $0) }
    #expect(noted(looks) == [0] + Array(repeating: 10, count: 59))
    #expect(noted(looks + [(160, 590)]) == Array(repeating: 10, count: 59) + [0])
    #expect(isLast(noted(looks + [(1000, 597)]), [7]))
  }

  @Test func `a clock that is set back begins anew`() {
    #expect(isLast(noted([(100, 0), (101, 9), (90, 12)]), [3]))
  }

  @Test func `machines are counted each by itself`() {
    var history = FleetHistory()
    history.note([("A", 0), ("B", 5)], at: 0)
    history.note([("A", 1), ("B", 7)], at: 1)
    #expect(history.counts(of: "A").last == 1)
    #expect(history.counts(of: "B").last == 2)
    #expect(history.counts(of: "C").isEmpty)
  }
}
