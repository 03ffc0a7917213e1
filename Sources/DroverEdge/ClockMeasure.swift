// How far this machine's clock is from the cloud's, from answers to questions. The answer was written at some moment of the round trip, so a slow
// one says little: a consumer that was busy, or came late, would make a clock look wrong by half the time that it took.

struct ClockMeasure {
  enum Verdict: Equatable {
    /// The clock is ahead of the cloud's by so much, microseconds.
    case take(Int64)
    /// Another question may bring a better answer.
    case askAgain
  }

  /// An answer that came within this time is taken as it is, microseconds.
  private static let quick: Int64 = 500_000
  /// After so many slow answers the road is slow, and the best of them counts.
  private static let mostQuestions = 4

  private var best: (offset: Int64, roundTrip: Int64)?
  private var questions = 0

  /// - Parameters:
  ///   - ahead: this clock at the answer, less what the answer says, microseconds.
  ///   - roundTrip: from the question to the answer, by the clock that nobody sets, microseconds.
  mutating func answered(ahead: Int64, roundTrip: Int64) -> Verdict {
    let offset = ahead - roundTrip / 2
    if best.map({ roundTrip < $0.roundTrip }) ?? true { best = (offset, roundTrip) }
    questions += 1
    guard let best, best.roundTrip <= Self.quick || questions >= Self.mostQuestions else { return .askAgain }
    // It may be off by half the round trip in either direction: what is within that is no difference.
    let isSure = best.roundTrip <= Self.quick || abs(best.offset) > best.roundTrip / 2
    return .take(isSure ? best.offset : 0)
  }
}
