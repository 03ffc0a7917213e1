// The question that is open between an agent and the cloud: what do you hold of mine? Its number travels in the status, and confirmations that are
// written after the consumer read it name that number. Only such an answer proves anything: other confirmations may have lain in the broker, or come
// from a consumer that looked before another had committed.

package struct CloudQuestion: Sendable {
  package typealias Instant = ContinuousClock.Instant

  package enum State: Equatable, Sendable {
    /// Nothing was asked since the start. Becomes `open`.
    case unasked
    /// There is no answer yet. Becomes `answered` or `behind` with the answer; stays `open` under another number when it is put again.
    case open
    /// The cloud has answered. Becomes `behind` when a later answer lacks something, and `open` with the next question or when the clock was set.
    case answered
    /// The answers lack something that is confirmed, since then. Becomes `answered` when one lacks nothing, and `open` with the next question
    /// or when the clock was set.
    case behind(since: Instant)
  }

  package enum Verdict: Equatable, Sendable {
    /// The cloud holds what it says, and nothing was lost.
    case take(isAnswer: Bool)
    /// The cloud no longer holds what it had confirmed when the question was asked.
    case wentBack
    /// The confirmation is older than others, or the cloud went back. Only the answer to a new question tells.
    case ask
    /// The same, and a new question would come too soon.
    case ignore
  }

  /// What a confirmation is.
  package struct Outcome: Equatable, Sendable {
    package var verdict: Verdict
    /// From the question to its first answer; nil for every other confirmation.
    package var roundTrip: Duration?

    package init(verdict: Verdict, roundTrip: Duration?) {
      self.verdict = verdict
      self.roundTrip = roundTrip
    }
  }

  private let limits: AskingLimits
  package private(set) var state = State.unasked
  /// Names the newest question; 0 where none was asked.
  package private(set) var number: Int64 = 0
  private var askedAt: Instant?
  /// How long an answer may take before the question is put again.
  private var patience: Duration
  /// Another question is wanted then, whatever the state.
  private var wantedAt: Instant?

  package init(limits: AskingLimits) {
    self.limits = limits
    patience = limits.firstPatience
  }

  /// Whether the newest question has an answer.
  package var isAnswered: Bool {
    switch state {
    case .unasked, .open: false
    case .answered, .behind: true
    }
  }

  /// Whether the cloud perhaps no longer has what it had confirmed.
  package var isInDoubt: Bool { state != .answered }

  /// A question was put. Any state becomes `open`.
  package mutating func asked(_ number: Int64, now: Instant) {
    self.number = number
    askedAt = now
    wantedAt = nil
    state = .open
  }

  /// A connection or an epoch begins: the delays start anew.
  package mutating func restarted() { patience = limits.firstPatience }

  /// The connection is gone. The next one begins with a question.
  package mutating func disconnected() { wantedAt = nil }

  /// A confirmation of this epoch has come.
  /// - Parameters:
  ///   - answer: the question that it answers.
  ///   - wentBack: it lacks what was confirmed when that question was asked.
  ///   - isBehind: it lacks something that is confirmed now.
  package mutating func heard(answer: Int64?, wentBack: Bool, isBehind: Bool, now: Instant) -> Outcome {
    let isAnswer = state != .unasked && answer == number
    let roundTrip = isAnswer && state == .open ? askedAt?.duration(to: now) : nil
    if roundTrip != nil { state = .answered }
    if answer != nil, wentBack { return Outcome(verdict: .wentBack, roundTrip: roundTrip) }
    if isBehind {
      guard isAnswer else { return Outcome(verdict: mayAsk(now: now) ? .ask : .ignore, roundTrip: nil) }
      if state == .answered { state = .behind(since: now) }
    } else if case .behind = state {
      state = .answered
    }
    return Outcome(verdict: .take(isAnswer: isAnswer), roundTrip: roundTrip)
  }

  /// The answer came too slowly to measure the clock by it.
  package mutating func answerWasSlow(now: Instant) { wantedAt = now.advanced(by: limits.slowAnswerDelay) }

  /// The wall clock was set, so only a new answer measures it. What was answered becomes `open`.
  /// - Returns: whether to ask now.
  package mutating func clockWasSet(now: Instant) -> Bool {
    if case .behind = state { wantedAt = askedAt?.advanced(by: limits.shortestDistance) }
    if isAnswered { state = .open }
    return mayAsk(now: now)
  }

  /// Asked in each turn of a connection.
  /// - Returns: whether to ask now.
  package mutating func isDue(now: Instant) -> Bool {
    if let wantedAt, wantedAt <= now {
      self.wantedAt = nil
      return true
    }
    switch state {
    case .unasked, .answered: return false
    case .open:
      guard let askedAt, askedAt.advanced(by: patience) <= now else { return false }
      patience = min(patience * 2, limits.longestPatience)
      return true
    case .behind(let since): return since.advanced(by: limits.behindDelay) <= now && mayAsk(now: now)
    }
  }

  private func mayAsk(now: Instant) -> Bool {
    askedAt.map { $0.advanced(by: limits.shortestDistance) <= now } ?? true
  }
}
