// Looks at the whole fleet every few seconds, for all that show how it stands: the page asks often, and the store is asked as often
// as this looks. The rules of alerts judge each look.

import Dispatch
package import DroverCloud
package import DroverCore
package import Logging
import ServiceLifecycle
import Synchronization

package final class FleetWatch: Service {
  private static let interval = Duration.seconds(5)

  private let reader: any CloudReader
  private let worker: @Sendable () -> Worker
  private let freeBytes: @Sendable () -> Int64?
  private let commits: CommitTries
  private let desk: AlertService?
  private let worklists: @Sendable () -> [WorklistHealth]
  private let wallClock: @Sendable () -> Int64
  private let logger: Logger
  private let queue = DispatchQueue(label: "drover-fleet")
  private let state = Mutex((history: FleetHistory(), snapshot: FleetSnapshot?.none))

  /// - Parameters:
  ///   - freeBytes: what the store's filesystem has left.
  ///   - desk: nil where there are no rules.
  ///   - worklists: looks at the configuration's worklists.
  ///   - wallClock: microseconds since 1970.
  package init(
    reader: any CloudReader, worker: @escaping @Sendable () -> Worker, freeBytes: @escaping @Sendable () -> Int64?,
    commits: CommitTries, desk: AlertService?, worklists: @escaping @Sendable () -> [WorklistHealth] = { [] },
    wallClock: @escaping @Sendable () -> Int64, logger: Logger
  ) {
    self.reader = reader
    self.worker = worker
    self.freeBytes = freeBytes
    self.commits = commits
    self.desk = desk
    self.worklists = worklists
    self.wallClock = wallClock
    self.logger = logger
  }

  /// What the last look found; nil before the first.
  package var snapshot: FleetSnapshot? { state.withLock(\.snapshot) }

  package func run() async throws {
    var failure: String?
    while !Task.isShuttingDownGracefully {
      do {
        try await look()
        failure = nil
      } catch {
        // The snapshot's age shows it too.
        if failure != "\(error)" {
          logger.warning("read the fleet from the store: \(error); the consumer tries again every \(Self.interval)")
        }
        failure = "\(error)"
      }
      do { try await cancelWhenGracefulShutdown { try await Task.sleep(for: Self.interval) } } catch { return }
    }
  }

  /// Databases block, and the threads of tasks must not.
  private func look() async throws {
    try await withCheckedThrowingContinuation { continuation in
      queue.async { [self] in continuation.resume(with: Result { try lookNow() }) }
    }
  }

  private func lookNow() throws {
    let report: CloudReport?
    let waiting: [WaitingSchema]
    let blocked: [BlockedSink]
    do {
      report = try reader.report(ReportScope(countsRows: false))
      waiting = try reader.waitingSchemas()
      blocked = try reader.blockedSinks()
    } catch {
      if let lock = reader.storeLock() { try judge(lock) }
      throw error
    }
    let now = wallClock()
    let history = state.withLock { state in
      let machines = report?.machines ?? []
      state.history.note(machines.map { ($0.name, $0.streams.reduce(0) { $0 + $1.applied }) }, at: now)
      return state.history
    }
    var snapshot = FleetSnapshot(
      at: now, report: report, waiting: waiting, blocked: blocked, lock: reader.storeLock(), worker: worker(),
      history: history,
      storeFreeBytes: freeBytes(),
      failedCommits: commits.failed)
    snapshot.worklists = worklists()
    snapshot.alerts = try desk?.judge(snapshot)
    state.withLock { $0.snapshot = snapshot }
  }

  /// While a lock keeps the store from being read, the lock itself is judged. The last snapshot keeps its figures and their age.
  private func judge(_ lock: StoreLock) throws {
    let history = state.withLock(\.history)
    var unread = FleetSnapshot(
      at: wallClock(), report: nil, waiting: [], lock: lock, worker: worker(), history: history,
      storeFreeBytes: freeBytes(), failedCommits: commits.failed)
    unread.isRead = false
    let alerts = try desk?.judge(unread)
    state.withLock { state in
      state.snapshot?.lock = lock
      state.snapshot?.alerts = alerts
    }
  }
}

/// How many of the consumer's tries to commit failed since one went well.
package final class CommitTries: Sendable {
  private let count = Atomic(0)

  package init() {}

  package var failed: Int { count.load(ordering: .relaxed) }

  package func note(_ result: CommitResult) {
    switch result {
    case .succeeded: count.store(0, ordering: .relaxed)
    case .failed: count.add(1, ordering: .relaxed)
    }
  }
}
