// How a test waits for what happens on another thread: for a state, never for a while.

import Synchronization

/// A value that any thread changes and any task can wait on.
package final class Observed<State: Sendable>: Sendable {
  private struct Waiter: Sendable {
    let isDone: @Sendable (State) -> Bool
    let resume: @Sendable (State?) -> Void
  }

  private struct Inner: Sendable {
    var state: State
    var waiters: [Int: Waiter] = [:]
    var nextWaiter = 0
  }

  private let inner: Mutex<Inner>

  package init(_ state: State) {
    inner = Mutex(Inner(state: state))
  }

  package var now: State { inner.withLock { $0.state } }

  /// Changes the state and lets those go on who waited for what it is now.
  @discardableResult
  package func update<Value: Sendable>(_ change: (inout State) -> sending Value) -> sending Value {
    let (value, done, state) = inner.withLock { inner in
      let value = change(&inner.state)
      let done = inner.waiters.filter { $0.value.isDone(inner.state) }
      for key in done.keys { inner.waiters[key] = nil }
      return (value, Array(done.values), done.isEmpty ? nil : inner.state)
    }
    for waiter in done { waiter.resume(state) }
    return value
  }

  /// The first state from now on that fits. The limit is only there so that a broken test ends.
  @discardableResult
  package func wait(
    for what: String, atMost limit: Duration = .seconds(60), until isDone: @escaping @Sendable (State) -> Bool
  ) async throws -> State {
    let timeout = Mutex<Task<Void, Never>?>(nil)
    let state = await withCheckedContinuation { (continuation: CheckedContinuation<State?, Never>) in
      let key = inner.withLock { inner -> Int? in
        guard !isDone(inner.state) else {
          continuation.resume(returning: inner.state)
          return nil
        }
        inner.nextWaiter += 1
        inner.waiters[inner.nextWaiter] = Waiter(isDone: isDone) { continuation.resume(returning: $0) }
        return inner.nextWaiter
      }
      guard let key else { return }
      timeout.withLock {
        $0 = Task {
          try? await Task.sleep(for: limit)
          self.inner.withLock { $0.waiters.removeValue(forKey: key) }?.resume(nil)
        }
      }
    }
    timeout.withLock { $0 }?.cancel()
    guard let state else { throw NeverHappened(what: what, state: "\(now)") }
    return state
  }
}

package struct NeverHappened: Error, CustomStringConvertible {
  let what: String
  let state: String
  package var description: String { "never happened: \(what); the state is \(state.prefix(2000))" }
}
