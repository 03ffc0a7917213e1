// Asks machines to try again the rows that their own tables refuse, and waits until they have said what came of it.

package import DroverCore
import DroverWire
import Synchronization

package enum RefusedRowRetry {
  package struct Outcome {
    /// How many are not refused any more.
    package var done = 0
    /// The others, and why.
    package var left: [(row: KeptRefusal, why: String)] = []

    package init() {}
  }

  /// - Parameters:
  ///   - refused: the rows, as the store has them.
  ///   - isAll: they are all that these machines refuse; then the machines try those again that they have not named, too.
  ///   - look: what the store has of a machine now.
  ///   - patience: how long nothing may happen before the rest is given up for now.
  package static func run(
    _ refused: [KeptRefusal], isAll: Bool, look: (MachineID) throws -> [KeptRefusal], over visit: any BrokerVisit,
    patience: Duration
  ) async throws -> Outcome {
    var outcome = Outcome()
    guard !refused.isEmpty else { return outcome }
    let answers = Answers()
    await visit.run(handler: OrderSender(orders(refused, isAll: isAll), visit: visit, answers: answers))
    let account = answers.account
    guard account.hasConnected else {
      throw ReplayFailure(
        description: "\(visit.remark ?? "\(visit.broker) does not answer within 5 s"); no machine was asked")
    }
    var waiting: [KeptRefusal] = []
    for row in refused {
      if let why = account.failures[row.machine] { outcome.left.append((row, why)) } else { waiting.append(row) }
    }
    var deadline = ContinuousClock.now.advanced(by: patience)
    while !waiting.isEmpty {
      let still = try settle(waiting, look, &outcome)
      if still.count < waiting.count { deadline = .now.advanced(by: patience) }
      waiting = still
      guard !waiting.isEmpty, .now < deadline else { break }
      try await Task.sleep(for: .milliseconds(50))
    }
    outcome.left += waiting.map {
      ($0, "the machine was asked, and has not answered; it tries when it hears of it")
    }
    return outcome
  }

  private static func orders(_ refused: [KeptRefusal], isAll: Bool) -> [(machine: MachineID, order: RetryOrder)] {
    let machines = Dictionary(grouping: refused, by: \.machine).sorted { $0.key < $1.key }
    return machines.flatMap { machine, rows -> [(machine: MachineID, order: RetryOrder)] in
      guard !isAll else { return [(machine, RetryOrder())] }
      return Dictionary(grouping: rows, by: \.row.stream).sorted { $0.key < $1.key }.map { stream, rows in
        (machine, RetryOrder(stream: stream, ids: rows.map(\.row.localID)))
      }
    }
  }

  /// - Returns: rows whose outcome is not known yet.
  private static func settle(
    _ waiting: [KeptRefusal], _ look: (MachineID) throws -> [KeptRefusal], _ outcome: inout Outcome
  ) throws -> [KeptRefusal] {
    var still: [KeptRefusal] = []
    for (machine, rows) in Dictionary(grouping: waiting, by: \.machine).sorted(by: { $0.key < $1.key }) {
      let present = Dictionary(try look(machine).map { ($0.id, $0) }) { first, _ in first }
      for row in rows {
        guard let now = present[row.id], now.row.isSameRow(as: row.row) else {
          outcome.done += 1
          continue
        }
        if now.row.tries == row.row.tries, now.row.last == row.row.last {
          still.append(row)
        } else {
          outcome.left.append((now, "refused again, \(now.row.reason): \(now.row.cause)"))
        }
      }
    }
    return still
  }
}

extension RefusedRow {
  fileprivate func isSameRow(as other: RefusedRow) -> Bool {
    stream == other.stream && ExactText(localID) == ExactText(other.localID)
  }
}

/// What the session's thread reports.
private final class Answers: Sendable {
  struct Account {
    var hasConnected = false
    var failures: [MachineID: String] = [:]
  }

  private let state = Mutex(Account())
  var account: Account { state.withLock { $0 } }
  func note(_ change: (inout Account) -> Void) { state.withLock { change(&$0) } }
}

private final class OrderSender: SessionHandler {
  /// How long the broker may take for a connection or a PUBACK.
  private static let patience: Duration = .seconds(5)

  private var orders: ArraySlice<(machine: MachineID, order: RetryOrder)>
  private let visit: any BrokerVisit
  private let answers: Answers
  private var publisher: (any Publisher)?
  private var inFlight: [PublishToken: MachineID] = [:]
  private var deadline = ContinuousClock.now.advanced(by: patience)

  init(
    _ orders: [(machine: MachineID, order: RetryOrder)], visit: any BrokerVisit, answers: Answers
  ) {
    self.orders = orders[...]
    self.visit = visit
    self.answers = answers
  }

  func sessionOpened(_ info: SessionInfo, publisher: any Publisher) {
    self.publisher = publisher
    answers.note { $0.hasConnected = true }
    deadline = .now.advanced(by: Self.patience)
  }

  func received(_ messages: [InboundMessage]) {}

  func acknowledged(_ token: PublishToken, reason: AcknowledgementReason) {
    guard let machine = inFlight.removeValue(forKey: token) else { return }
    deadline = .now.advanced(by: Self.patience)
    switch reason {
    case .success: break
    case .noMatchingSubscribers: fail(machine, "its agent is not connected to the broker; try again when it is")
    case .notAuthorised:
      let name = visit.user.map { "user \($0)" } ?? "a client without a user name"
      fail(
        machine,
        "\(name) is not authorised on \(Topic.command(machine, name: "retry").text); the broker's ACL must allow it")
    default: fail(machine, "the broker answered \(reason)")
    }
  }

  func sessionClosed(reason: String) {
    publisher = nil
    for machine in inFlight.values { fail(machine, "the connection to the broker was lost; try again") }
    inFlight = [:]
  }

  func turn(now: ContinuousClock.Instant) -> Duration {
    if let publisher { send(publisher) }
    if (orders.isEmpty && inFlight.isEmpty) || now >= deadline {
      let late = orders.map(\.machine) + inFlight.values
      for machine in late { fail(machine, "not asked: the broker does not answer") }
      (orders, inFlight) = ([], [:])
      visit.stop()
    }
    return .milliseconds(100)
  }

  private func send(_ publisher: any Publisher) {
    while inFlight.count < 16, let (machine, order) = orders.first {
      do throws(PublishError) {
        let message = OutboundMessage(
          topic: Topic.command(machine, name: "retry").text, payload: order.document, contentType: "application/json")
        inFlight[try publisher.publish(message)] = machine
      } catch .notConnected {
        return
      } catch {
        fail(machine, "not asked: \(error)")
      }
      orders.removeFirst()
    }
  }

  private func fail(_ machine: MachineID, _ why: String) { answers.note { $0.failures[machine] = why } }

  func isDrained() -> Bool { inFlight.isEmpty }
  func sessionWillClose(publisher: any Publisher) {}
}
