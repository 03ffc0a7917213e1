// When the cloud is told how the outbox stands: soon after the connection, at once when it has become empty or has begun to wait, at an interval
// while something else changes, and now and then in any case, so that a machine without events is seen to be there.

import DroverCore

struct StandingSchedule {
  /// What is looked at first is not what a connection finds, for the confirmation may not be here yet.
  private static let firstDelay = Duration.seconds(2)
  /// Without news it is told once in so many intervals: often enough for a rule that calls a machine silent after a quarter of an hour.
  private static let quietIntervals = 10
  /// Looking takes the longer the more waits, and at most this part of the agent's time.
  private static let share = 100
  /// An event that is confirmed sooner was on its way and did not wait.
  static let onItsWay = Duration.seconds(1)
  /// How often the cloud is told at once: so many times in a row, and one more whenever this has passed. An outbox that fills and empties all
  /// the time costs no more statuses than that.
  private static let mostAtOnce = 4
  private static let refill = Duration.seconds(10)

  let interval: Duration
  /// What the cloud was told last.
  private(set) var told: OutboxStanding?
  private var toldAt: ContinuousClock.Instant?
  /// When the outbox was last seen to stand as the cloud was told.
  private var foundAt: ContinuousClock.Instant?
  /// When it is looked at whatever happens. Nil without a connection.
  private var lookAt: ContinuousClock.Instant?
  /// Before this it is not looked at because something changed.
  private var restUntil: ContinuousClock.Instant?
  /// Since when something has been on its way or unread.
  private var busySince: ContinuousClock.Instant?
  /// When the last of what was told at once is used up; each one adds a `refill`.
  private var spentUntil: ContinuousClock.Instant?
  private var isTurning = false

  init(interval: Duration) { self.interval = interval }

  mutating func connected(now: ContinuousClock.Instant) {
    toldAt = nil
    busySince = nil
    isTurning = false
    lookAt = now.advanced(by: Self.firstDelay)
  }

  mutating func disconnected() { lookAt = nil }

  /// What the relay knows without looking: whether all that it has seen of the outbox is confirmed.
  mutating func sees(isIdle: Bool, now: ContinuousClock.Instant) {
    busySince = isIdle ? nil : busySince ?? now
    guard lookAt != nil, toldAt != nil, let told, restUntil.map({ $0 <= now }) ?? true, mayTellAtOnce(now) else {
      return isTurning = false
    }
    isTurning = told.waiting > 0 ? isIdle : busySince.map { $0.advanced(by: Self.onItsWay) <= now } ?? false
  }

  func isDue(now: ContinuousClock.Instant) -> Bool { isTurning || lookAt.map { $0 <= now } ?? false }

  /// How long ago what is told was found.
  func age(now: ContinuousClock.Instant) -> Duration { foundAt.map { $0.duration(to: now) } ?? .zero }

  /// - Parameters:
  ///   - oldest: how long the oldest event has waited; nil where none waits.
  ///   - took: how long it took to look.
  /// - Returns: whether the cloud is to be told.
  mutating func looked(
    _ standing: OutboxStanding, oldest: Duration?, took: Duration, now: ContinuousClock.Instant
  ) -> Bool {
    let isAtOnce = lookAt.map { now < $0 } ?? false
    isTurning = false
    restUntil = now.advanced(by: max(took * Self.share, Self.onItsWay))
    if isAtOnce {
      // What is on its way just now is no news.
      let waits = standing.waiting > 0 && oldest.map { $0 >= Self.onItsWay } ?? false
      guard let told, (told.waiting > 0) != (standing.waiting > 0), standing.waiting == 0 || waits else { return false }
      spentUntil = max(spentUntil ?? now, now).advanced(by: Self.refill)
    } else {
      lookAt = now.advanced(by: max(interval, took * Self.share))
      let isOld = toldAt.map { $0.advanced(by: interval * Self.quietIntervals) <= now } ?? true
      guard isOld || told.map({ standing.isNews(after: $0) }) ?? true else {
        foundAt = now
        return false
      }
    }
    found(standing, now: now)
    toldAt = now
    return true
  }

  /// What the agent says when it leaves.
  mutating func found(_ standing: OutboxStanding, now: ContinuousClock.Instant) { (told, foundAt) = (standing, now) }

  private func mayTellAtOnce(_ now: ContinuousClock.Instant) -> Bool {
    spentUntil.map { $0 <= now.advanced(by: Self.refill * (Self.mostAtOnce - 1)) } ?? true
  }
}
