// The truth table of what a frame counts for. The frame is of run 5 and covers 11 to 20.

import DroverCore
import Testing

@Suite struct FrameRuleTests {
  private static let frame = FrameHeader(
    epoch: try! Epoch("aaaa"), run: 5, interval: Interval(after: 10, through: 20), last: 20, schema: nil)

  private static func received(_ intervals: (Int64, Int64)...) -> IntervalSet {
    var set = IntervalSet()
    for (after, through) in intervals { set.insert(Interval(after: after, through: through)) }
    return set
  }

  /// One line of the table.
  struct Line: CustomTestStringConvertible, Sendable {
    var says: String
    var context: FrameContext
    var verdict: FrameVerdict

    init(
      _ says: String, kind: Kind = .snapshot, schema: FrameContext.Schema = .none, isLatestEpoch: Bool = true,
      runs: [Int64] = [5], received: IntervalSet = IntervalSet(), _ verdict: FrameVerdict
    ) {
      self.says = says
      context = FrameContext(
        kind: kind, schema: schema, isLatestEpoch: isLatestEpoch,
        runs: Runs(runs.map { Run(number: $0, reached: 1) }), received: received)
      self.verdict = verdict
    }

    var testDescription: String { says }
  }

  static let lines: [Line] = [
    Line("a frame of the present run is taken", .take(covers: true)),
    Line("the first frame that is ever heard is taken", runs: [], .take(covers: true)),
    Line("a frame of a new run is taken", runs: [1, 4], .take(covers: true)),
    Line("a stream with a table, too", schema: .known(.snapshot), .take(covers: true)),
    Line("what is received in part is taken", received: received((0, 15)), .take(covers: true)),
    Line("a hole in what is received is taken", received: received((0, 12), (13, 30)), .take(covers: true)),
    Line("what is received is a duplicate", received: received((10, 20)), .duplicate),
    Line("and so is what lies within more", received: received((0, 50)), .duplicate),
    Line("a schema that is not known is asked for", schema: .unknown, .askForSchema),
    Line("also for what was received", schema: .unknown, received: received((0, 50)), .askForSchema),
    Line("also in an epoch that is over", schema: .unknown, isLatestEpoch: false, .askForSchema),
    Line("a schema that waits holds the stream", schema: .waiting, .hold),
    Line("also for an earlier run", schema: .waiting, runs: [6], .hold),
    Line("another kind than the schema's is no frame of the stream", schema: .known(.batch), .wrongKind(.batch)),
    Line("in whatever epoch", schema: .known(.payload), isLatestEpoch: false, .wrongKind(.payload)),
    Line("a frame of an earlier run covers nothing", runs: [5, 6], .overtaken(takesFacts: false)),
    Line("of batches neither", kind: .batch, runs: [6], .overtaken(takesFacts: false)),
    Line("its facts are true", kind: .payload, runs: [6], .overtaken(takesFacts: true)),
    Line("although its numbers are received", runs: [6], received: received((0, 50)), .overtaken(takesFacts: false)),
    Line("an epoch that is over covers nothing", isLatestEpoch: false, .take(covers: false)),
    Line("whatever was received in it", isLatestEpoch: false, received: received((0, 50)), .take(covers: false)),
    Line("and whatever run it is of", isLatestEpoch: false, runs: [6], .take(covers: false)),
  ]

  @Test(arguments: lines)
  func `a frame counts for what schema, epoch, run and coverage make of it`(line: Line) {
    #expect(FrameRule.decide(Self.frame, in: line.context) == line.verdict)
  }

  @Test func `a frame is covered only if each of its events is somewhere, and its epoch is not over`() {
    #expect(FrameRule.outcome(covers: true, isWhole: true) == .frame)
    #expect(FrameRule.outcome(covers: false, isWhole: true) == .waiting)
    #expect(FrameRule.outcome(covers: true, isWhole: false) == .held)
    #expect(FrameRule.outcome(covers: false, isWhole: false) == .held)
  }
}
