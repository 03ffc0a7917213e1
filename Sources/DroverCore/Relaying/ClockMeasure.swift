// How far this machine's clock is from the cloud's, from answers to questions. The answer was written at some moment of the round trip, so a slow
// one says little: a consumer that was busy, or came late, would make a clock look wrong by half the time that it took.

package struct ClockMeasure: Equatable, Sendable {
  package enum Verdict: Equatable, Sendable {
    /// The clock is ahead of the cloud's by so much, microseconds.
    case take(Int64)
    /// Another question may bring a better answer.
    case askAgain
  }

  private struct Answer: Equatable {
    var offset: Int64
    var roundTrip: Int64
  }

  private let limits: ClockLimits
  private var best: Answer?
  private var answers = 0

  package init(limits: ClockLimits) { self.limits = limits }

  /// - Parameters:
  ///   - ahead: this clock at the answer, less what the answer says, microseconds.
  ///   - roundTrip: from the question to the answer, by the monotonic clock, microseconds.
  package mutating func answered(ahead: Int64, roundTrip: Int64) -> Verdict {
    let offset = ahead - roundTrip / 2
    if best.map({ roundTrip < $0.roundTrip }) ?? true { best = Answer(offset: offset, roundTrip: roundTrip) }
    answers += 1
    guard let best, best.roundTrip <= limits.quickMicroseconds || answers >= limits.mostAnswers else {
      return .askAgain
    }
    // It may be off by half the round trip in either direction: what is within that is no difference.
    let isSure = best.roundTrip <= limits.quickMicroseconds || abs(best.offset) > best.roundTrip / 2
    return .take(isSure ? best.offset : 0)
  }
}
