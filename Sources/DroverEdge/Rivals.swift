// Others that are connected under this machine's name, as far as the agent knows: the broker says when one takes its session, and the consumer
// when two agents are at work. While they are, this one captures and sends nothing: whatever it sent would be mixed with the other's rows.

import DroverCore

struct Rivals {
  /// How often the agent is heard of while it holds: the consumer needs to know whether both are still there.
  static let beat = Duration.seconds(5)
  /// How long the consumer has to find out whether there are two, before an epoch begins because of what the cloud has heard: it may be the
  /// other that it has heard. Meanwhile the agent is heard of, so that the consumer can tell them apart.
  private static let patience = Duration.seconds(3)
  private static let doubtBeat = Duration.milliseconds(500)
  /// So long after another client took the session, in microseconds, the doubt is not over.
  private static let aftermath: Int64 = 10_000_000

  private var session = SessionWatch()
  /// What the broker did to the session, where that is no accident.
  private(set) var taken: Trouble?
  /// Since when two agents are at work, by the consumer's clock.
  private(set) var clonedSince: Int64?
  private var doubtedUntil: ContinuousClock.Instant?
  private var heardAt: ContinuousClock.Instant?

  /// Whether the agent holds.
  var isHeld: Bool { clonedSince != nil }

  mutating func opened(now: Int64) { session.opened(now: now) }

  /// - Returns: what is wrong now, if that is no accident any more.
  mutating func closed(isTaken: Bool?, now: Int64) -> Trouble? {
    guard let trouble = session.closed(isTaken: isTaken, now: now) else { return nil }
    taken = trouble
    return trouble
  }

  /// What the consumer says. Returns whether that is news.
  mutating func hear(clonedSince since: Int64?) -> Bool {
    defer { clonedSince = since }
    doubtedUntil = since == nil ? doubtedUntil : nil
    return (since == nil) != (clonedSince == nil)
  }

  /// Whether an epoch that is over has to wait with the next one.
  mutating func doubts(now: ContinuousClock.Instant, wall: Int64) -> Bool {
    if isHeld { return true }
    if doubtedUntil == nil { doubtedUntil = now.advanced(by: Self.patience) }
    return doubtedUntil! > now || session.wasTaken(within: Self.aftermath, now: wall)
  }

  mutating func epochBegan() { doubtedUntil = nil }

  /// Whether the agent has to be heard of now.
  mutating func isDue(now: ContinuousClock.Instant) -> Bool {
    guard isHeld || doubtedUntil != nil else { return false }
    guard heardAt.map({ $0.advanced(by: isHeld ? Self.beat : Self.doubtBeat) <= now }) ?? true else { return false }
    heardAt = now
    return true
  }
}
