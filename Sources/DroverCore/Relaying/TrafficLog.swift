// What the log says of work that goes well: one line a minute while events are sent or confirmed, and one when an outage is made up for.

package struct TrafficLog: Sendable {
  private let interval: Duration

  /// What had been sent and confirmed when the last line was written.
  private var counted = (sent: 0, confirmed: 0)
  /// When the first event came after that.
  private var since: ContinuousClock.Instant?
  private var outage: Outage?

  private struct Outage {
    var since: ContinuousClock.Instant
    /// What had been sent and confirmed when it began: nothing of that was made up for afterwards.
    var counted: (sent: Int, confirmed: Int)
  }

  package init(interval: Duration) { self.interval = interval }

  /// The connection is gone, or no client subscribes.
  package mutating func interrupted(sent: Int, confirmed: Int, now: ContinuousClock.Instant) {
    outage = outage ?? Outage(since: now, counted: (sent, confirmed))
  }

  /// - Parameters:
  ///   - sent: events that have been published since the start; one that is sent twice counts twice.
  ///   - confirmed: events that have been confirmed since the start.
  ///   - isIdle: whether everything is confirmed.
  ///   - isConnected: whether there is a connection; an outage lasts until there is one.
  /// - Returns: a line, when it is time for one.
  package mutating func line(
    sent: Int, confirmed: Int, isIdle: Bool, isConnected: Bool, now: ContinuousClock.Instant
  ) -> String? {
    // A new epoch counts from nothing.
    if sent < counted.sent || confirmed < counted.confirmed { counted = (0, 0) }
    if let begun = outage?.counted, sent < begun.sent || confirmed < begun.confirmed { outage!.counted = (0, 0) }
    if isIdle, isConnected, let over = outage {
      outage = nil
      let made = (sent: sent - over.counted.sent, confirmed: confirmed - over.counted.confirmed)
      // Otherwise nothing had waited for its end.
      if made.sent > 0 || made.confirmed > 0 {
        (since, counted) = (nil, (sent, confirmed))
        return
          "the outage of \(ageText(over.since, now)) is over: \(quantity(made.sent, "event")) sent, and everything is confirmed"
      }
    }
    let new = (sent: sent - counted.sent, confirmed: confirmed - counted.confirmed)
    guard new.sent > 0 || new.confirmed > 0 else { return nil }
    since = since ?? now
    guard let since, since.advanced(by: interval) <= now else { return nil }
    self.since = nil
    counted = (sent, confirmed)
    let age = ageText(since, now)
    // Confirmations that come before the PUBACK, or after a frame was given up for lost, are not counted: at rest, that all is confirmed
    // says more than their number.
    return isIdle
      ? "\(quantity(new.sent, "event")) sent in the last \(age), and everything is confirmed"
      : "\(quantity(new.sent, "event")) sent and \(new.confirmed) confirmed in the last \(age)"
  }

  private func ageText(_ begin: ContinuousClock.Instant, _ end: ContinuousClock.Instant) -> String {
    DroverCore.ageText(Int64(begin.duration(to: end) / .microseconds(1)))
  }
}
