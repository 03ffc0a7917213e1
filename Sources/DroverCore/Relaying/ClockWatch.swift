// How far this machine's clock is from the cloud's, and whether it was set. Order and delivery rest on numbers, epochs and versions; the clock
// is for people, and for versions of rows that another machine writes too.

package struct ClockWatch: Sendable {
  package typealias Instant = ContinuousClock.Instant

  package enum State: Equatable, Sendable {
    /// No answer of this connection has shown it yet. Becomes `measured`.
    case measuring(ClockMeasure)
    /// The clock is ahead of the cloud's by so much, microseconds. Becomes `measuring` when the connection ends or the clock is set.
    case measured(Int64)
  }

  package enum Measured: Equatable, Sendable {
    /// It was known already.
    case known
    /// It is known now, and is to be reported to the cloud. `isFar` is worth a line.
    case taken(ahead: Int64, isFar: Bool)
    /// The answer was slow; another one may measure better.
    case askAgain
  }

  private let limits: ClockLimits
  package private(set) var state: State
  /// What the store does not know of the clock yet.
  package private(set) var news: ClockNews?
  /// Both clocks as they were when they were looked at last.
  private var last: (wall: Int64, instant: Instant)?

  package init(limits: ClockLimits) {
    self.limits = limits
    state = .measuring(ClockMeasure(limits: limits))
  }

  /// This clock less the cloud's, microseconds, if an answer has shown it.
  package var offset: Int64? { if case .measured(let ahead) = state { ahead } else { nil } }

  /// If a wall clock runs away from the monotonic one, it was set.
  /// - Parameter wall: microseconds since 1970.
  /// - Returns: by how many microseconds it was set since the call before, if it was.
  package mutating func looked(wall: Int64, now: Instant) -> Int64? {
    defer { last = (wall, now) }
    guard let last else { return nil }
    let step = wall - last.wall - Int64(last.instant.duration(to: now) / .microseconds(1))
    guard abs(step) > limits.stepMicroseconds else { return nil }
    // A measure that the store has not seen yet was of the clock before.
    switch news {
    case .measured(let ahead): news = .measured(ahead: ahead + step)
    case .stepped(let before): news = .stepped(by: before + step)
    case nil: news = .stepped(by: step)
    }
    state = .measuring(ClockMeasure(limits: limits))
    return step
  }

  /// The first answer to a question has come.
  /// - Parameters:
  ///   - ahead: this clock at the answer, less what the answer says, microseconds.
  ///   - roundTrip: from the question to the answer.
  package mutating func answered(ahead: Int64, roundTrip: Duration) -> Measured {
    guard case .measuring(var measure) = state else { return .known }
    switch measure.answered(ahead: ahead, roundTrip: Int64(roundTrip / .microseconds(1))) {
    case .askAgain:
      state = .measuring(measure)
      return .askAgain
    case .take(let offset):
      state = .measured(offset)
      news = .measured(ahead: offset)
      return .taken(ahead: offset, isFar: abs(offset) > limits.warningMicroseconds)
    }
  }

  /// The next connection measures anew.
  package mutating func disconnected() { state = .measuring(ClockMeasure(limits: limits)) }

  /// The store knows it.
  package mutating func toldStore() { news = nil }
}
