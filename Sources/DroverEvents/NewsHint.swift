// Another thread tells a service that another process may have committed.

private import Synchronization

/// Set by the watcher of a database, taken by the service at its next turn.
package final class NewsHint: Sendable {
  private let isSet = Atomic(false)

  package init() {}

  package func set() { isSet.store(true, ordering: .releasing) }
  package func take() -> Bool { isSet.exchange(false, ordering: .acquiring) }
}
