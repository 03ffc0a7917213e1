// Others that are connected under this machine's name, as far as the agent knows: the broker says when one takes its session, and the consumer
// when two agents are at work. While they are, this one captures and sends nothing: whatever it sent would be mixed with the other's rows.

package struct DuplicateMachineHold: Sendable {
  private let limits: DuplicateMachineLimits
  private var session = SessionWatch()
  /// What the broker did to the session, where that is no accident.
  package private(set) var taken: Trouble?
  /// Since when two agents are at work, by the consumer's clock.
  package private(set) var clonedSince: Int64?
  private var doubtedUntil: ContinuousClock.Instant?
  private var heardAt: ContinuousClock.Instant?

  package init(limits: DuplicateMachineLimits) { self.limits = limits }

  /// Whether the agent holds.
  package var isHeld: Bool { clonedSince != nil }

  package mutating func opened(now: Int64) { session.opened(now: now) }

  /// - Returns: what is wrong now, if that is no accident any more.
  package mutating func closed(isTaken: Bool?, now: Int64) -> Trouble? {
    guard let trouble = session.closed(isTaken: isTaken, now: now) else { return nil }
    taken = trouble
    return trouble
  }

  /// What the consumer says. Returns whether that is news.
  package mutating func hear(clonedSince since: Int64?) -> Bool {
    defer { clonedSince = since }
    doubtedUntil = since == nil ? doubtedUntil : nil
    return (since == nil) != (clonedSince == nil)
  }

  /// Whether an epoch that is over has to wait with the next one.
  package mutating func doubts(now: ContinuousClock.Instant, wall: Int64) -> Bool {
    if isHeld { return true }
    if doubtedUntil == nil { doubtedUntil = now.advanced(by: limits.patience) }
    return doubtedUntil! > now || session.wasTaken(within: limits.aftermathMicroseconds, now: wall)
  }

  package mutating func epochBegan() { doubtedUntil = nil }

  /// Whether the agent has to be heard of now.
  package mutating func isDue(now: ContinuousClock.Instant) -> Bool {
    guard isHeld || doubtedUntil != nil else { return false }
    guard heardAt.map({ $0.advanced(by: isHeld ? limits.heartbeat : limits.doubtHeartbeat) <= now }) ?? true else {
      return false
    }
    heardAt = now
    return true
  }
}
