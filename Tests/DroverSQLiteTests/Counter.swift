import Synchronization

/// A count that threads share.
final class Counter: Sendable {
  private let count = Mutex(0)
  var value: Int { count.withLock { $0 } }
  func raise() { count.withLock { $0 += 1 } }
}
