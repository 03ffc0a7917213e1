// When a machine says what it has received of what goes down. Each time costs the machine two flushes and the cloud a transaction, so a few frames are
// confirmed together, and the cloud sends twice as many without hearing of them (`DownLimits.frames`).

package struct DownConfirmPace: Sendable {
  package typealias Instant = ContinuousClock.Instant

  private let limits: WaitingLimits
  /// Frames that were applied and are not confirmed.
  private var frames = 0
  /// When it is to be said; nil where there is nothing to say.
  package private(set) var at: Instant?
  /// A question is open.
  private var isAsked = false

  package init(limits: WaitingLimits) { self.limits = limits }

  /// A frame was applied.
  package mutating func applied(now: Instant) {
    frames += 1
    at = at ?? now.advanced(by: limits.downConfirmDelay)
  }

  /// The cloud has to hear it at once: on a new connection, or in a new numbering.
  package mutating func asked() { isAsked = true }

  package func isDue(now: Instant) -> Bool {
    isAsked || frames >= limits.downConfirmFrames || at.map { $0 <= now } ?? false
  }

  package mutating func said() { (frames, at, isAsked) = (0, nil, false) }
}
