// Asks an ERP for orders and lists them in the worklist's queue: when a machine's request finds the queue empty, and at an interval if the configuration
// has one. One request at a time. What fails changes nothing: it is counted, and the endpoint is left alone for a while (`EndpointPace`).

import Dispatch
package import DroverCore
import DroverWire
package import Logging
import ServiceLifecycle

package actor OrderFetch: Service {
  package typealias Instant = ContinuousClock.Instant

  /// What came for a machine's request holds for the requests after it for so long: machines repeat their requests.
  private static let calm = Duration.seconds(5)

  private let worklist: WorklistName
  private let plan: FetchPlan
  private let endpoint: any Endpoint
  private let openStore: @Sendable () throws -> any WorklistStore
  private let isOurs: @Sendable () -> Bool
  private let now: @Sendable () -> Instant
  private let wallClock: @Sendable () -> Int64
  private let board: EndpointBoard
  private let logger: Logger
  /// Databases block, and the threads of tasks must not.
  private let queue = DispatchQueue(label: "drover-fetch")

  private var pace = EndpointPace()
  private var standing: EndpointStanding
  /// Requests under way or waiting for their turn, by the machine that the template names, if it names one.
  private var flights: [MachineID?: Task<Void, Never>] = [:]
  private var lastFlight: Task<Void, Never>?
  /// When the endpoint last answered for a machine.
  private var answeredAt: [MachineID?: Instant] = [:]
  private var nextAt: Instant?
  private var remark: String?

  /// - Parameters:
  ///   - openStore: the store beside the consumer, on a connection of its own.
  ///   - isOurs: whether this consumer asks at the interval; of several one does.
  ///   - wallClock: microseconds since 1970.
  package init(
    _ worklist: WorklistName, _ plan: FetchPlan, endpoint: any Endpoint,
    openStore: @escaping @Sendable () throws -> any WorklistStore, isOurs: @escaping @Sendable () -> Bool,
    now: @escaping @Sendable () -> Instant = { .now }, wallClock: @escaping @Sendable () -> Int64, board: EndpointBoard,
    logger: Logger
  ) {
    self.worklist = worklist
    self.plan = plan
    self.endpoint = endpoint
    self.openStore = openStore
    self.isOurs = isOurs
    self.now = now
    self.wallClock = wallClock
    self.board = board
    self.logger = logger
    standing = EndpointStanding(worklist, .fetch)
    board.note(standing)
  }

  // MARK: When

  package func run() async throws {
    defer { flights.values.forEach { $0.cancel() } }
    guard let every = plan.every else {
      try? await gracefulShutdown()
      return await endpoint.close()
    }
    nextAt = now()
    while !Task.isShuttingDownGracefully {
      let wait = now().duration(to: nextAt ?? now())
      do {
        if wait > .zero { try await cancelWhenGracefulShutdown { try await Task.sleep(for: wait) } }
      } catch { break }
      guard nextAt! <= now() else { continue }
      nextAt = now().advanced(by: every)
      guard isOurs() else { continue }
      await fetch(for: nil, limit: plan.limit)
      // A failure is tried again sooner than at the interval, or later.
      if let at = pace.nextAt { nextAt = at }
    }
    await endpoint.close()
  }

  /// A machine's request has found the queue empty.
  package func demand(from machine: MachineID, limit: Int) async {
    let asker = plan.endpoint.has("machine") ? machine : nil
    if flights[asker] == nil, let at = answeredAt[asker], now() < at.advanced(by: Self.calm) { return }
    await fetch(for: asker, limit: max(limit, plan.every == nil ? 0 : plan.limit))
  }

  /// Returns when an answer has been listed, or when there is none.
  private func fetch(for asker: MachineID?, limit: Int) async {
    if let flight = flights[asker] { return await flight.value }
    guard pace.mayAsk(now: now()) else { return }
    let before = lastFlight
    let flight = Task {
      await before?.value
      await self.ask(for: asker, limit: limit)
      self.flights[asker] = nil
    }
    flights[asker] = flight
    lastFlight = flight
    await flight.value
  }

  // MARK: Asking

  private func ask(for asker: MachineID?, limit: Int) async {
    // The one before may have failed.
    guard !Task.isCancelled, pace.mayAsk(now: now()) else { return }
    standing.requests += 1
    do {
      let answer = try await endpoint.send(plan.request(limit: limit, machine: asker))
      let (list, listed) = try await take(answer)
      succeeded(list, listed)
      answeredAt[asker] = now()
      // Machines come and go.
      if answeredAt.count > 10_000 { answeredAt = [asker: now()] }
    } catch {
      guard !Task.isCancelled else { return }
      failed(error)
    }
    board.note(standing)
  }

  private func take(_ answer: [UInt8]) async throws -> (list: OrderList, listed: ListedOrders) {
    try await withCheckedThrowingContinuation { continuation in
      queue.async { [plan, worklist, openStore, wallClock] in
        continuation.resume(
          with: Result {
            let list: OrderList
            do throws(WireError) {
              list = try OrderList(parsing: answer, plan)
            } catch {
              throw EndpointError("the answer is not what `items` and `key` describe: \(error)")
            }
            guard !list.orders.isEmpty else { return (list, ListedOrders()) }
            return (list, try openStore().list(list.orders, in: worklist, now: wallClock()))
          })
      }
    }
  }

  private func succeeded(_ list: OrderList, _ listed: ListedOrders) {
    let before = pace.succeeded()
    standing.added += listed.added
    standing.unusable += list.unusable.count
    (standing.failuresInARow, standing.isOpen, standing.failure, standing.nextAt) = (0, false, nil, nil)
    standing.succeededAt = wallClock()
    if before > 0 {
      logger.notice(
        "fetch orders for worklist \(worklist): the endpoint answers again, after \(quantity(before, "attempt")) that failed"
      )
    }
    if listed.added > 0 {
      logger.info("fetch orders for worklist \(worklist): \(quantity(listed.added, "new order"))")
    }
    let text = list.unusable.first.map { "the first is item \($0.place): \($0.why)" }
    if let text, remark != text {
      logger.warning(
        "fetch orders for worklist \(worklist): \(list.unusable.count) of \(list.unusable.count + list.orders.count) items are no orders; \(text); the others are listed"
      )
    }
    remark = text
  }

  private func failed(_ error: any Error) {
    let text = "\(error)"
    let isNew = standing.failure != text
    let hasOpened = pace.failed(
      now: now(), retryAfter: (error as? EndpointError)?.retryAfter, seed: .random(in: .min ... .max))
    let wait = now().duration(to: pace.nextAt ?? now())
    standing.failures += 1
    (standing.failuresInARow, standing.isOpen, standing.failure) = (pace.failures, pace.isOpen, text)
    standing.failedAt = wallClock()
    standing.nextAt = wallClock() + wait.components.seconds * 1_000_000
    if hasOpened {
      logger.warning(
        "fetch orders for worklist \(worklist): \(pace.failures) attempts have failed in a row, and the circuit is open: machines' requests do not reach the endpoint until it answers one attempt, the next in \(wait.components.seconds) s; the last failure: \(text)"
      )
    } else if isNew {
      logger.warning(
        "fetch orders for worklist \(worklist): \(text); nothing has changed, and the consumer tries again")
    }
  }
}
