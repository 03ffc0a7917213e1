// How large the frames of one stream may be. The broker's limit is known only where it tells it (CONNACK), or from its
// refusals (0x95): then frames become smaller until they fit, and grow again slowly, since the limit may be gone.

package struct FrameSize: Equatable, Sendable {
  /// Frames that have to be taken before the limits grow by an eighth.
  private static let patience = 64

  private let most: EventLimit
  private var now: EventLimit
  /// What held before the refusals that are being looked into: they may be the fault of one event.
  private var before: EventLimit?
  private var taken = 0

  /// - Parameters: what the operator allows; nothing grows beyond.
  package init(events: Int, bytes: Int) {
    most = EventLimit(events: events, bytes: bytes)
    now = most
  }

  /// A frame with so many events is full.
  package var events: Int { now.events }
  /// A frame whose events take so many bytes is full.
  package var bytes: Int { now.bytes }

  /// The broker took a frame.
  package mutating func accepted() {
    guard now != most else { return }
    taken += 1
    guard taken == Self.patience else { return }
    taken = 0
    before = nil
    now.events = min(most.events, now.events + max(1, now.events / 8))
    now.bytes = min(most.bytes, now.bytes + max(256, now.bytes / 8))
  }

  /// A frame was too large. The next ones hold at most half of it, so that a whole window of refusals counts as one; an event that was
  /// refused alone was the cause, and what held before holds again.
  package mutating func refused(events: Int, bytes: Int) {
    taken = 0
    guard events > 1 else {
      if let before { now = before }
      before = nil
      return
    }
    if before == nil { before = now }
    now.events = min(now.events, events / 2)
    now.bytes = min(now.bytes, max(1, bytes / 2))
  }
}
