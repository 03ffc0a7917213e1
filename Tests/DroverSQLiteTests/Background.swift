import Foundation
import Synchronization

/// Work on a thread of its own, for a test that watches it from the outside.
final class Background: Sendable {
  private let outcome = Mutex<Result<Void, any Error>?>(nil)
  private let ended = DispatchSemaphore(value: 0)

  init(_ work: @escaping @Sendable () throws -> Void) {
    Thread { [self] in
      let result = Result { try work() }
      outcome.withLock { $0 = result }
      ended.signal()
    }.start()
  }

  var isDone: Bool { outcome.withLock { $0 != nil } }

  /// Waits for its end, and throws what it threw.
  func wait() throws {
    ended.wait()
    try outcome.withLock { $0 }!.get()
  }
}
