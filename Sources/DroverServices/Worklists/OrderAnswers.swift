// Answers what machines ask about their worklists, beside the consumer and on a connection of its own. A request that finds the queue empty first has the ERP
// asked, if the configuration names one; the machine hears `working` if that takes longer than a second.

import Dispatch
package import DroverCloud
package import DroverCore
import DroverWire
import Synchronization

package final class OrderAnswers: MachineAnswers {
  /// Questions that wait at a time.
  private static let most = 1000
  private static let patience = Duration.seconds(1)

  private let plans: [WorklistPlan]
  private let open: @Sendable () throws -> any WorklistStore
  private let fetch: (@Sendable (WorklistName, MachineID, Int) async -> Void)?
  private let now: @Sendable () -> Int64
  private let wake: @Sendable () -> Void
  private let queue = DispatchQueue(label: "drover-orders")
  /// Used on the queue alone.
  nonisolated(unsafe) private var store: (any WorklistStore)?
  private let state = Mutex(State())

  private struct Question: Hashable {
    var machine: MachineID
    var id: String
    var isOutcome: Bool
  }

  private struct State {
    var asking: Set<Question> = []
    var ready: [(question: MachineAsked, answer: [UInt8], hasChanged: Bool)] = []
  }

  /// - Parameters:
  ///   - open: the queue, on a connection of its own.
  ///   - fetch: asks the ERP for so many orders for a machine and lists them; nil where the configuration names none.
  ///   - now: microseconds since 1970.
  ///   - wake: has the consumer take what is ready.
  package init(
    _ plans: [WorklistPlan], open: @escaping @Sendable () throws -> any WorklistStore,
    fetch: (@Sendable (WorklistName, MachineID, Int) async -> Void)? = nil, now: @escaping @Sendable () -> Int64,
    wake: @escaping @Sendable () -> Void
  ) {
    self.plans = plans
    self.open = open
    self.fetch = fetch
    self.now = now
    self.wake = wake
  }

  package func ask(_ asked: MachineAsked) {
    let request: WorklistRequest
    do {
      request = try WorklistRequest(document: asked.document)
    } catch {
      return finish(asked, .failure("\(error)"))
    }
    let stream: StreamName
    var isOutcome = false
    switch request {
    case .orders(let orders): stream = orders.stream
    case .outcome(_, let of): (stream, isOutcome) = (of, true)
    }
    guard let plan = plans.first(where: { SQLName($0.stream.text) == SQLName(stream.text) }) else {
      return finish(
        asked,
        .failure("the consumer has no worklist for stream \(stream); name it in `worklists:` of its configuration"))
    }
    let question = Question(machine: asked.machine, id: asked.id, isOutcome: isOutcome)
    enum Place { case new, underWay, full }
    let place = state.withLock { state -> Place in
      if state.asking.contains(question) { return .underWay }
      guard state.asking.count < Self.most else { return .full }
      state.asking.insert(question)
      return .new
    }
    switch place {
    case .underWay: return finish(asked, .working)
    case .full: return finish(asked, .failure("the consumer has other questions to answer"))
    case .new: break
    }
    queue.async { [self] in answer(asked, request, plan, question) }
  }

  package func take() -> [(question: MachineAsked, answer: [UInt8], hasChanged: Bool)] {
    state.withLock { state in
      defer { state.ready = [] }
      return state.ready
    }
  }

  // MARK: On the queue

  private func answer(_ asked: MachineAsked, _ request: WorklistRequest, _ plan: WorklistPlan, _ question: Question) {
    if case .orders(let orders) = request, let fetch {
      do {
        guard try opened().needsOrders(orders, of: asked.machine, from: plan.name, now: now()) else {
          return settle(asked, request, plan, question)
        }
        Task { [self] in
          let slow = Task { [self] in
            try await Task.sleep(for: Self.patience)
            finish(asked, .working)
          }
          await fetch(plan.name, asked.machine, orders.limit)
          slow.cancel()
          queue.async { [self] in settle(asked, request, plan, question) }
        }
        return
      } catch {
        store = nil
        return end(asked, question, .failure("\(error)"))
      }
    }
    settle(asked, request, plan, question)
  }

  private func settle(_ asked: MachineAsked, _ request: WorklistRequest, _ plan: WorklistPlan, _ question: Question) {
    let reply: WorklistReply
    do {
      let store = try opened()
      switch request {
      case .orders(let orders):
        reply = .answer(try store.answer(orders, of: asked.machine, from: plan.name, now: now()))
      case .outcome(let outcome, _):
        try store.note(outcome, of: asked.machine, from: plan.name, now: now())
        reply = .noted
      }
    } catch {
      // Of a store that has come back, the next question opens it again.
      store = nil
      reply = .failure("\(error)")
    }
    end(asked, question, reply)
  }

  private func opened() throws -> any WorklistStore {
    if let store { return store }
    let opened = try open()
    store = opened
    return opened
  }

  private func end(_ asked: MachineAsked, _ question: Question, _ reply: WorklistReply) {
    state.withLock { _ = $0.asking.remove(question) }
    finish(asked, reply)
  }

  private func finish(_ asked: MachineAsked, _ reply: WorklistReply) {
    state.withLock { $0.ready.append((asked, reply.document, false)) }
    wake()
  }
}
