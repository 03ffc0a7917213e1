// When an endpoint of another system is asked again after a failure. Delays grow; after several failures in a row the circuit opens: nothing is asked on
// behalf of machines then, and one attempt at a time finds out whether the endpoint answers again.

package struct EndpointPace: Sendable {
  package typealias Instant = ContinuousClock.Instant

  /// With so many failures in a row the circuit is open.
  package static let failuresToOpen = 5
  /// Between attempts while it is closed, and while it is open.
  private static let backoff = Backoff(base: .seconds(2), cap: .seconds(60))
  private static let openBackoff = Backoff(base: .seconds(120), cap: .seconds(600))
  /// No endpoint keeps the consumer away for longer.
  package static let mostRetryAfter = Duration.seconds(3600)

  /// Failures since the last success.
  package private(set) var failures = 0
  /// Nothing is asked before; nil without a failure.
  package private(set) var nextAt: Instant?

  package init() {}

  package var isOpen: Bool { failures >= Self.failuresToOpen }

  package func mayAsk(now: Instant) -> Bool { nextAt.map { $0 <= now } ?? true }

  /// - Returns: how many attempts had failed before.
  @discardableResult
  package mutating func succeeded() -> Int {
    defer { (failures, nextAt) = (0, nil) }
    return failures
  }

  /// - Parameter retryAfter: how long the endpoint wants to be left alone.
  /// - Returns: whether the circuit has opened with this failure.
  @discardableResult
  package mutating func failed(now: Instant, retryAfter: Duration?, seed: UInt64) -> Bool {
    failures += 1
    let delay =
      isOpen
      ? Self.openBackoff.delay(attempt: failures - Self.failuresToOpen + 1, seed: seed)
      : Self.backoff.delay(attempt: failures, seed: seed)
    nextAt = now.advanced(by: max(delay, min(retryAfter ?? .zero, Self.mostRetryAfter)))
    return failures == Self.failuresToOpen
  }
}
