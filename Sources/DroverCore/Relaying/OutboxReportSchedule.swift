// When the outbox is reported to the cloud: soon after the connection, at once when it has become empty or has begun to wait, at an interval
// while something else changes, and now and then in any case, so that a machine without events is seen to be there.

package struct OutboxReportSchedule: Sendable {
  private let limits: ReportingLimits
  /// What was reported last.
  package private(set) var reported: OutboxFigures?
  private var reportedAt: ContinuousClock.Instant?
  /// When the outbox was last seen to be as reported.
  private var foundAt: ContinuousClock.Instant?
  /// When it is looked at whatever happens. Nil without a connection.
  private var lookAt: ContinuousClock.Instant?
  /// Before this it is not looked at because something changed.
  private var restUntil: ContinuousClock.Instant?
  /// Since when something has been on its way or unread.
  private var busySince: ContinuousClock.Instant?
  /// When the last immediate report is used up; each one adds a `refill`.
  private var spentUntil: ContinuousClock.Instant?
  private var isTurning = false

  package init(limits: ReportingLimits) { self.limits = limits }

  package mutating func connected(now: ContinuousClock.Instant) {
    reportedAt = nil
    busySince = nil
    isTurning = false
    lookAt = now.advanced(by: limits.firstReport)
  }

  package mutating func disconnected() { lookAt = nil }

  /// What the relay knows without looking: whether all that it has seen of the outbox is confirmed.
  package mutating func sees(isIdle: Bool, now: ContinuousClock.Instant) {
    busySince = isIdle ? nil : busySince ?? now
    guard lookAt != nil, reportedAt != nil, let reported, restUntil.map({ $0 <= now }) ?? true, mayReportAtOnce(now)
    else {
      return isTurning = false
    }
    isTurning = reported.waiting > 0 ? isIdle : busySince.map { $0.advanced(by: limits.onItsWay) <= now } ?? false
  }

  package func isDue(now: ContinuousClock.Instant) -> Bool { isTurning || lookAt.map { $0 <= now } ?? false }

  /// How long ago the reported figures were read.
  package func age(now: ContinuousClock.Instant) -> Duration { foundAt.map { $0.duration(to: now) } ?? .zero }

  /// - Parameters:
  ///   - oldest: how long the oldest event has waited; nil where none waits.
  ///   - took: how long it took to look.
  /// - Returns: whether to report.
  package mutating func looked(
    _ figures: OutboxFigures, oldest: Duration?, took: Duration, now: ContinuousClock.Instant
  ) -> Bool {
    let isAtOnce = lookAt.map { now < $0 } ?? false
    isTurning = false
    restUntil = now.advanced(by: max(took * limits.lookingShare, limits.onItsWay))
    if isAtOnce {
      // What is on its way just now is no news.
      let waits = figures.waiting > 0 && oldest.map { $0 >= limits.onItsWay } ?? false
      guard let reported, (reported.waiting > 0) != (figures.waiting > 0), figures.waiting == 0 || waits else {
        return false
      }
      spentUntil = max(spentUntil ?? now, now).advanced(by: limits.atOnceRefill)
    } else {
      lookAt = now.advanced(by: max(limits.reportInterval, took * limits.lookingShare))
      let isOld = reportedAt.map { $0.advanced(by: limits.reportInterval * limits.quietIntervals) <= now } ?? true
      guard isOld || reported.map({ figures.isNews(after: $0) }) ?? true else {
        foundAt = now
        return false
      }
    }
    found(figures, now: now)
    reportedAt = now
    return true
  }

  /// What the agent says when it leaves.
  package mutating func found(_ figures: OutboxFigures, now: ContinuousClock.Instant) {
    (reported, foundAt) = (figures, now)
  }

  private func mayReportAtOnce(_ now: ContinuousClock.Instant) -> Bool {
    spentUntil.map { $0 <= now.advanced(by: limits.atOnceRefill * (limits.mostAtOnce - 1)) } ?? true
  }
}
