// How the consumer waits while another program has the whole store locked. SQLite has one lock for all tables of a file, so all streams wait; who
// holds the lock is told while the consumer still waits, and once more when it is gone.

import DroverCore
private import Foundation
private import Synchronization

final class StoreLockWait: Sendable {
  /// How long a statement waits before it fails. The broker then delivers the messages again.
  private static let patience = Duration.seconds(10)
  private static let longestPause: UInt32 = 25_000

  private struct State {
    var watch = LockWatch()
    var began = ContinuousClock.now
    var tell: (@Sendable (StoreLock?) -> Void)?
  }

  private let path: String
  private let state = Mutex(State())

  init(path: String) { self.path = path }

  /// - Parameter tell: gets the lock when it has lasted for seconds, again when it lasts much longer, and nil when it is gone.
  func onChange(_ tell: @escaping @Sendable (StoreLock?) -> Void) { state.withLock { $0.tell = tell } }

  /// SQLite's busy handler (https://www.sqlite.org/c3ref/busy_handler.html).
  /// - Parameter tries: how often this statement has met the lock already.
  func shouldTryAgain(tries: Int) -> Bool {
    let now = ContinuousClock.now
    let (length, waited, tell) = state.withLock { state in
      if tries == 0 { state.began = now }
      return (state.watch.met(now: now), state.began.duration(to: now), state.tell)
    }
    if let length {
      let since = SQLiteCloudStore.wallClock() - length.components.seconds * 1_000_000
      tell?(StoreLock(holder: LockHolders.text(of: path) ?? "another program", since: since))
    }
    guard waited < Self.patience else { return false }
    usleep(min(UInt32(tries + 1) * 1000, Self.longestPause))
    return true
  }

  /// The store was there to be read and written.
  func free() {
    let (length, tell) = state.withLock { ($0.watch.free(now: .now), $0.tell) }
    if length != nil { tell?(nil) }
  }
}
