// Posts completed orders to another system, each until it is taken: at least once, with a key that stays the same when it is repeated. An order that the
// endpoint does not like keeps no other waiting.

import Dispatch
package import DroverCore
import DroverWire
package import Logging
import ServiceLifecycle

package actor CompletedPost: Service {
  package typealias Instant = ContinuousClock.Instant
  /// The row of an order, as it is in the replica.
  package typealias RowSource =
    @Sendable (_ key: String, _ machine: MachineID) throws -> (
      schema: StreamSchema, values: [Value]
    )?

  /// How often the store is asked, and how many orders it is asked for.
  private static let interval = Duration.seconds(5)
  private static let most = 100
  /// Orders that were not liked are remembered up to so many.
  private static let mostRejected = 10_000

  private let worklist: WorklistName
  private let plan: CompletedPlan
  private let endpoint: any Endpoint
  private let openStore: @Sendable () throws -> any WorklistStore
  private let row: RowSource
  private let isOurs: @Sendable () -> Bool
  private let now: @Sendable () -> Instant
  private let wallClock: @Sendable () -> Int64
  private let board: EndpointBoard
  private let logger: Logger
  private let queue = DispatchQueue(label: "drover-completed")

  /// Of the endpoint, and of each order that it did not like.
  private var pace = EndpointPace()
  private var rejected: [String: EndpointPace] = [:]
  private var standing: EndpointStanding
  private var storeFailure: String?

  /// - Parameters:
  ///   - openStore: the store beside the consumer, on a connection of its own.
  ///   - isOurs: whether this consumer posts; of several one does.
  ///   - wallClock: microseconds since 1970.
  package init(
    _ worklist: WorklistName, _ plan: CompletedPlan, endpoint: any Endpoint,
    openStore: @escaping @Sendable () throws -> any WorklistStore, row: @escaping RowSource,
    isOurs: @escaping @Sendable () -> Bool, now: @escaping @Sendable () -> Instant = { .now },
    wallClock: @escaping @Sendable () -> Int64, board: EndpointBoard, logger: Logger
  ) {
    self.worklist = worklist
    self.plan = plan
    self.endpoint = endpoint
    self.openStore = openStore
    self.row = row
    self.isOurs = isOurs
    self.now = now
    self.wallClock = wallClock
    self.board = board
    self.logger = logger
    standing = EndpointStanding(worklist, .completed)
    board.note(standing)
  }

  package func run() async throws {
    while !Task.isShuttingDownGracefully {
      if isOurs() { await round() }
      do {
        try await cancelWhenGracefulShutdown { try await Task.sleep(for: Self.interval) }
      } catch { break }
    }
    await endpoint.close()
  }

  /// Posts what is complete and may be posted now.
  package func round() async {
    guard pace.mayAsk(now: now()) else { return }
    do {
      let orders = try await waiting()
      storeFailure = nil
      var isStopped = false
      for (key, request) in orders {
        guard !isStopped, !Task.isShuttingDownGracefully else { return }
        isStopped = try await !post(key, request)
      }
    } catch {
      if storeFailure != "\(error)" {
        logger.warning("post completed orders of worklist \(worklist): \(error); the consumer tries again")
      }
      storeFailure = "\(error)"
    }
  }

  /// - Returns: whether the endpoint may be sent another order.
  private func post(_ key: String, _ request: EndpointRequest) async throws -> Bool {
    standing.requests += 1
    defer { board.note(standing) }
    do {
      _ = try await endpoint.send(request)
    } catch {
      return failed(error, key)
    }
    try await store { [worklist, wallClock] store in try store.posted([key], in: worklist, now: wallClock()) }
    let before = pace.succeeded()
    if before > 0 {
      logger.notice(
        "post completed orders of worklist \(worklist): the endpoint takes them again, after \(quantity(before, "attempt")) that failed"
      )
    }
    if rejected.removeValue(forKey: key) != nil {
      logger.notice("post completed order \(printable(key)) of worklist \(worklist): it is taken now")
    }
    standing.posted += 1
    (standing.failuresInARow, standing.isOpen, standing.nextAt) = (0, false, nil)
    if rejected.isEmpty { standing.failure = nil }
    standing.succeededAt = wallClock()
    return true
  }

  private func failed(_ error: any Error, _ key: String) -> Bool {
    let text = "\(error)"
    let isNew = standing.failure != text
    standing.failures += 1
    standing.failure = text
    standing.failedAt = wallClock()
    if (error as? EndpointError)?.isAboutTheRequest == true {
      // The endpoint works: another order may pass.
      pace.succeeded()
      (standing.failuresInARow, standing.isOpen, standing.nextAt) = (0, false, nil)
      if rejected.count >= Self.mostRejected { rejected = [:] }
      rejected[key, default: EndpointPace()].failed(
        now: now(), retryAfter: (error as? EndpointError)?.retryAfter, seed: .random(in: .min ... .max))
      if rejected[key]?.failures == 1 {
        logger.warning(
          "post completed order \(printable(key)) of worklist \(worklist): \(text); the others are posted, and this one is tried again"
        )
      }
      return true
    }
    let hasOpened = pace.failed(
      now: now(), retryAfter: (error as? EndpointError)?.retryAfter, seed: .random(in: .min ... .max))
    let wait = now().duration(to: pace.nextAt ?? now())
    (standing.failuresInARow, standing.isOpen) = (pace.failures, pace.isOpen)
    standing.nextAt = wallClock() + wait.components.seconds * 1_000_000
    if hasOpened {
      logger.warning(
        "post completed orders of worklist \(worklist): \(pace.failures) attempts have failed in a row, and the circuit is open: the next attempt is in \(wait.components.seconds) s; the last failure: \(text)"
      )
    } else if isNew {
      logger.warning(
        "post completed orders of worklist \(worklist): \(text); they wait, and the consumer tries again")
    }
    return false
  }

  // MARK: The store

  private func waiting() async throws -> [(key: String, request: EndpointRequest)] {
    let skipped = Set(rejected.filter { !$0.value.mayAsk(now: now()) }.keys)
    return try await store { [plan, worklist, row] store in
      try store.completedToPost(in: worklist, limit: Self.most + skipped.count)
        .filter { !skipped.contains($0.new.order.key) }
        .map { order in
          let key = order.new.order.key
          let values = CompletedOrderDocument.values(
            order, worklist: worklist, row: try order.holder.flatMap { try row(key, $0) })
          var request = plan.endpoint.request(values)
          if request.body == nil { request.body = CompletedOrderDocument.template.filled(values) }
          request.headers.append(
            (name: "Idempotency-Key", value: CompletedOrderDocument.idempotencyKey(order, worklist)))
          return (key, request)
        }
    }
  }

  private func store<Result: Sendable>(
    _ body: @escaping @Sendable (any WorklistStore) throws -> Result
  ) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
      queue.async { [openStore] in continuation.resume(with: Swift.Result { try body(openStore()) }) }
    }
  }
}
