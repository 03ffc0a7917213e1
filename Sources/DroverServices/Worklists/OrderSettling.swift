// Takes over from the rows that machines send which orders are in work and which are complete. One consumer of a group does it.

import Dispatch
package import DroverCore
package import Logging
import ServiceLifecycle

package final class OrderSettling: Service {
  private static let interval = Duration.seconds(2)

  private let worklists: [WorklistName]
  private let open: @Sendable () throws -> any WorklistStore
  private let isOurs: @Sendable () -> Bool
  private let now: @Sendable () -> Int64
  private let logger: Logger
  private let queue = DispatchQueue(label: "drover-settling")
  /// Used on the queue alone.
  nonisolated(unsafe) private var store: (any WorklistStore)?

  /// - Parameters:
  ///   - open: the queue, on a connection of its own.
  ///   - isOurs: whether this consumer does it.
  ///   - now: microseconds since 1970.
  package init(
    _ worklists: [WorklistName], open: @escaping @Sendable () throws -> any WorklistStore,
    isOurs: @escaping @Sendable () -> Bool, now: @escaping @Sendable () -> Int64, logger: Logger
  ) {
    self.worklists = worklists
    self.open = open
    self.isOurs = isOurs
    self.now = now
    self.logger = logger
  }

  package func run() async throws {
    var failure: String?
    while !Task.isShuttingDownGracefully {
      if isOurs() {
        let found = await settle()
        if found != failure {
          if let found { logger.warning("settle orders: \(found); it is tried again") }
          if found == nil { logger.notice("settle orders: it works again") }
        }
        failure = found
      }
      do { try await cancelWhenGracefulShutdown { try await Task.sleep(for: Self.interval) } } catch { break }
    }
  }

  /// - Returns: why it failed.
  private func settle() async -> String? {
    await withCheckedContinuation { continuation in
      queue.async { [self] in
        do {
          if store == nil { store = try open() }
          for worklist in worklists {
            let complete = try store!.settle(worklist, now: now())
            if !complete.isEmpty { logger.info("worklist \(worklist): \(quantity(complete.count, "order")) complete") }
          }
          continuation.resume(returning: nil)
        } catch {
          store = nil
          continuation.resume(returning: "\(error)")
        }
      }
    }
  }
}
