// What the log says of work that goes well: one line a minute while events are sent or confirmed, and one when an outage is made up for.

package struct TrafficLog: Sendable {
  private let interval: Duration

  /// What had been sent and confirmed when the last line was written.
  private var counted = (sent: 0, confirmed: 0)
  /// When the first event came after that.
  private var since: ContinuousClock.Instant?
  private var outageSince: ContinuousClock.Instant?

  package init(interval: Duration) { self.interval = interval }

  /// The connection is gone, or no client subscribes.
  package mutating func interrupted(now: ContinuousClock.Instant) { outageSince = outageSince ?? now }

  /// - Parameters:
  ///   - sent: events that have been published since the start; one that is sent twice counts twice.
  ///   - confirmed: events that have been confirmed since the start.
  ///   - isIdle: whether everything is confirmed.
  /// - Returns: a line, when it is time for one.
  package mutating func line(sent: Int, confirmed: Int, isIdle: Bool, now: ContinuousClock.Instant) -> String? {
    // A new epoch counts from nothing.
    if sent < counted.sent || confirmed < counted.confirmed { counted = (0, 0) }
    let new = (sent: sent - counted.sent, confirmed: confirmed - counted.confirmed)
    guard new.sent > 0 || new.confirmed > 0 else {
      // Nothing had waited for the end of the outage.
      if isIdle { outageSince = nil }
      return nil
    }
    since = since ?? now
    if isIdle, let began = outageSince, new.confirmed > 0 {
      (outageSince, since, counted) = (nil, nil, (sent, confirmed))
      return
        "the outage of \(ageText(began, now)) is over: \(new.sent) events sent, \(new.confirmed) confirmed, none waits"
    }
    guard let since, since.advanced(by: interval) <= now else { return nil }
    self.since = nil
    counted = (sent, confirmed)
    return
      "\(new.sent) events sent and \(new.confirmed) confirmed in the last \(ageText(since, now))\(isIdle ? ", none waits" : "")"
  }

  private func ageText(_ begin: ContinuousClock.Instant, _ end: ContinuousClock.Instant) -> String {
    DroverCore.ageText(Int64(begin.duration(to: end) / .microseconds(1)))
  }
}
