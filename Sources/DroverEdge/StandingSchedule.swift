// When the cloud is told how the outbox stands: soon after the connection, at an interval while something changes, and now and then in
// any case, so that a machine without events is seen to be there.

import DroverCore

struct StandingSchedule {
  /// What is looked at first is not what a connection finds, for the confirmation may not be here yet.
  private static let firstDelay = Duration.seconds(2)
  /// Without news it is told once in so many intervals: often enough for a rule that calls a machine silent after a quarter of an hour.
  private static let quietIntervals = 10
  /// Looking takes the longer the more waits, and at most this part of the agent's time.
  private static let share = 100

  let interval: Duration
  /// What the cloud was told last.
  private(set) var told: OutboxStanding?
  private var toldAt: ContinuousClock.Instant?
  /// Nil without a connection.
  private var lookAt: ContinuousClock.Instant?

  init(interval: Duration) { self.interval = interval }

  mutating func connected(now: ContinuousClock.Instant) {
    toldAt = nil
    lookAt = now.advanced(by: Self.firstDelay)
  }

  mutating func disconnected() { lookAt = nil }

  func isDue(now: ContinuousClock.Instant) -> Bool { lookAt.map { $0 <= now } ?? false }

  /// - Parameter took: how long it took to look.
  /// - Returns: whether the cloud is to be told.
  mutating func looked(_ standing: OutboxStanding, took: Duration, now: ContinuousClock.Instant) -> Bool {
    lookAt = now.advanced(by: max(interval, took * Self.share))
    let isOld = toldAt.map { $0.advanced(by: interval * Self.quietIntervals) <= now } ?? true
    guard isOld || told.map({ standing.isNews(after: $0) }) ?? true else { return false }
    (told, toldAt) = (standing, now)
    return true
  }
}
