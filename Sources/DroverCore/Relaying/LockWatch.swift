// How long another program has kept the database locked, and when that is worth a line. A lock for a moment is the app at work; one for longer is
// a transaction that was forgotten, or an app that never lets go, and without a word it looks as if nothing were wrong.

package struct LockWatch: Sendable {
  /// An app that writes much holds its lock for so long now and then.
  private static let patience = Duration.seconds(5)

  private var since: ContinuousClock.Instant?
  /// After how long it is said next.
  private var next = patience

  package init() {}

  /// The lock was in the way.
  /// - Returns: how long it has been now, where that is to be said: first after 5 s, then after 1, 12 and 144 minutes.
  package mutating func met(now: ContinuousClock.Instant) -> Duration? {
    guard let since else {
      since = now
      return nil
    }
    let length = since.duration(to: now)
    guard length >= next else { return nil }
    while next <= length { next *= 12 }
    return length
  }

  /// The database was there to be read and written.
  /// - Returns: how long it was locked, where that was said.
  package mutating func free(now: ContinuousClock.Instant) -> Duration? {
    defer { self = LockWatch() }
    guard let since, next > Self.patience else { return nil }
    return since.duration(to: now)
  }
}
