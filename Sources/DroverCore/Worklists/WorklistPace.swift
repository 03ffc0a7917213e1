// When a worklist asks: at its interval, at once when its table has become ready, and when a person triggers it. Driven by the agent's turns.

package struct WorklistPace: Sendable {
  package typealias Instant = ContinuousClock.Instant

  package enum Step: Equatable, Sendable {
    /// Nothing is to be done.
    case wait
    /// Look into the table; if it is ready, open a request and publish it.
    case look
    /// Publish the open request again.
    case repeatRequest
  }

  private let interval: Duration
  /// The first delay until an open request is published again, and the longest.
  private let patience: ClosedRange<Duration>
  private var lookAt: Instant
  private var wasReady = false
  /// When the open request is published again; nil without an open request.
  private var repeatAt: Instant?
  private var delay: Duration

  package init(interval: Duration, patience: ClosedRange<Duration>, now: Instant) {
    self.interval = interval
    self.patience = patience
    delay = patience.lowerBound
    lookAt = now
  }

  /// Whether a request waits for its answer.
  package var isAsking: Bool { repeatAt != nil }

  package mutating func step(now: Instant) -> Step {
    if let at = repeatAt {
      guard at <= now else { return .wait }
      repeatAt = now.advanced(by: delay)
      delay = min(delay * 2, patience.upperBound)
      return .repeatRequest
    }
    guard lookAt <= now else { return .wait }
    lookAt = now.advanced(by: interval)
    return .look
  }

  /// When the next step is due.
  package var due: Instant { repeatAt ?? lookAt }

  /// The table's rows were counted after a change. A table that has become ready asks at once.
  package mutating func found(isReady: Bool, now: Instant) {
    if isReady, !wasReady { lookAt = now }
    wasReady = isReady
  }

  /// A person wants it to look now. Whether it asks is still the table's rows' to say.
  package mutating func triggered(now: Instant) { lookAt = now }

  /// A request is open and was published.
  package mutating func asked(now: Instant) {
    delay = patience.lowerBound
    repeatAt = now.advanced(by: delay)
    delay = min(delay * 2, patience.upperBound)
  }

  /// A new connection: an open request is published again at once.
  package mutating func connected(now: Instant) {
    guard repeatAt != nil else { return }
    delay = patience.lowerBound
    repeatAt = now
  }

  /// The request is closed.
  /// - Parameter asksAtOnce: another one follows without the interval: the cloud knew the old one, or every order was in the machine's table before.
  package mutating func closed(asksAtOnce: Bool, now: Instant) {
    repeatAt = nil
    lookAt = asksAtOnce ? now : now.advanced(by: interval)
  }
}
