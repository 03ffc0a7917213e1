// Looks at the whole fleet every few seconds, for whoever wants to know how it stands: the page asks often, and the store is asked as often
// as this looks.

import Dispatch
import DroverCore
import Logging
import ServiceLifecycle
import Synchronization

final class FleetWatch: Service {
  private static let interval = Duration.seconds(5)

  private let reader: any CloudReader
  private let worker: @Sendable () -> Worker
  private let logger: Logger
  private let queue = DispatchQueue(label: "drover-fleet")
  private let state = Mutex((history: FleetHistory(), snapshot: FleetSnapshot?.none))

  init(reader: any CloudReader, worker: @escaping @Sendable () -> Worker, logger: Logger) {
    self.reader = reader
    self.worker = worker
    self.logger = logger
  }

  /// What the last look found; nil before the first.
  var snapshot: FleetSnapshot? { state.withLock(\.snapshot) }

  func run() async throws {
    var failure: String?
    while !Task.isShuttingDownGracefully {
      do {
        try await look()
        failure = nil
      } catch {
        // The snapshot's age shows it too.
        if failure != "\(error)" { logger.warning("look at the fleet: \(error); tried again every \(Self.interval)") }
        failure = "\(error)"
      }
      do { try await cancelWhenGracefulShutdown { try await Task.sleep(for: Self.interval) } } catch { return }
    }
  }

  /// Databases block, and the threads of tasks must not.
  private func look() async throws {
    let (report, waiting) = try await withCheckedThrowingContinuation { continuation in
      queue.async { [reader] in
        continuation.resume(
          with: Result { (try reader.report(ReportScope(countsRows: false)), try reader.waitingSchemas()) })
      }
    }
    let now = wallClock()
    state.withLock { state in
      let machines = report?.machines ?? []
      state.history.note(machines.map { ($0.name, $0.streams.reduce(0) { $0 + $1.applied }) }, at: now)
      state.snapshot = FleetSnapshot(
        at: now, report: report, waiting: waiting, worker: worker(), history: state.history)
    }
  }
}
