// The agent's and the consumer's own backups, at the interval that the configuration sets.

package import DroverCore
import Foundation
package import Logging
import ServiceLifecycle

package struct RegularBackup: Service {
  private let place: any BackupPlace
  private let every: Duration
  private let beat: @Sendable () -> Void
  private let wallClock: @Sendable () -> Int64
  private let logger: Logger

  /// A backup that failed is tried again after this time, or at the interval if that is shorter.
  private static let retryDelay = Duration.seconds(600)
  /// Least time between two signs of life.
  private static let pulse = Duration.seconds(5)

  /// - Parameters:
  ///   - beat: shows that it moves.
  ///   - wallClock: microseconds since 1970.
  package init(
    in place: any BackupPlace, every: Duration, beat: @escaping @Sendable () -> Void,
    wallClock: @escaping @Sendable () -> Int64, logger: Logger
  ) {
    self.place = place
    self.wallClock = wallClock
    self.every = every
    self.beat = beat
    self.logger = logger
  }

  package func run() async throws {
    while !Task.isShuttingDownGracefully {
      beat()
      if isDue { await makeBackup() }
      try? await cancelWhenGracefulShutdown { try await Task.sleep(for: min(every, Self.pulse)) }
    }
  }

  /// By the wall clock and the last backup, so that a machine that is switched off every night has its backups too. A last one that lies in
  /// the future tells of a clock that went back.
  private var isDue: Bool {
    let last = place.last()
    let now = wallClock()
    func isOver(_ moment: Int64?, _ interval: Duration) -> Bool {
      guard let moment, moment <= now else { return true }
      return .microseconds(now - moment) >= interval
    }
    return isOver(last.made, every) && isOver(last.failed, min(every, Self.retryDelay))
  }

  private func makeBackup() async {
    let backup = place.begin(beat: beat)
    await withGracefulShutdownHandler {
      async let made: Void = onThreadOfItsOwn(backup)
      async let signs: Void = showLife(of: backup)
      await made
      backup.cancel()
      await signs
    } onGracefulShutdown: {
      backup.cancel()
    }
  }

  private func onThreadOfItsOwn(_ backup: any RunningBackup) async {
    await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
      Thread.detachNewThread {
        // On Linux this is the thread's own (setpriority(2), NOTES).
        _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 10)
        make(backup)
        continuation.resume()
      }
    }
  }

  private func make(_ backup: any RunningBackup) {
    do {
      let made = try backup.make()
      logger.info("backup: \(made.path), \(byteText(made.bytes))")
    } catch {
      logger.error("\(error); tried again in \(min(every, Self.retryDelay))")
    }
  }

  /// While SQLite checks the copy it says nothing, and it may take minutes.
  private func showLife(of backup: any RunningBackup) async {
    while !backup.isCancelled {
      if backup.isChecking { beat() }
      try? await Task.sleep(for: .milliseconds(100))
    }
  }
}
