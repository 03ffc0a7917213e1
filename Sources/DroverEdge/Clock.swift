// What other threads and the tests give the relay: the time, and word of a commit.

private import Synchronization

/// The time that goes on whatever the wall clock does.
struct Clock {
  let read: () -> ContinuousClock.Instant
  var now: ContinuousClock.Instant { read() }
}

/// Set by the watcher of the database file, taken by the relay at its next turn.
package final class NewsHint: Sendable {
  private let isSet = Atomic(false)

  package func set() { isSet.store(true, ordering: .releasing) }
  func take() -> Bool { isSet.exchange(false, ordering: .acquiring) }
}
