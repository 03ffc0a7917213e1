// Answers what machines ask about the conflicts of their own rows, beside the consumer and on a connection of its own.

import Dispatch
package import DroverCloud
package import DroverCore
import DroverWire
import Synchronization

package final class ConflictAnswers: MachineAnswers {
  /// Questions that wait at a time; one of a machine.
  private static let most = 100

  private let open: @Sendable () throws -> any ConflictStore
  private let wake: @Sendable () -> Void
  private let queue = DispatchQueue(label: "drover-answers")
  private let state = Mutex(State())

  private struct State {
    var asking: Set<MachineID> = []
    var ready: [(question: MachineAsked, answer: [UInt8], hasChanged: Bool)] = []
  }

  /// - Parameters:
  ///   - open: the conflicts, to be resolved too.
  ///   - wake: has the consumer take what is ready.
  package init(open: @escaping @Sendable () throws -> any ConflictStore, wake: @escaping @Sendable () -> Void) {
    self.open = open
    self.wake = wake
  }

  package func ask(_ question: MachineAsked) {
    let isTaken = state.withLock { state in
      state.asking.count < Self.most && state.asking.insert(question.machine).inserted
    }
    guard isTaken else {
      return finish(
        question, ConflictReply.failure("the consumer has other questions to answer; ask again later"), false)
    }
    queue.async { [self] in
      let (reply, hasChanged) = answer(question)
      state.withLock { _ = $0.asking.remove(question.machine) }
      finish(question, reply, hasChanged)
    }
  }

  package func take() -> [(question: MachineAsked, answer: [UInt8], hasChanged: Bool)] {
    state.withLock { state in
      defer { state.ready = [] }
      return state.ready
    }
  }

  private func finish(_ question: MachineAsked, _ reply: ConflictReply, _ hasChanged: Bool) {
    state.withLock { $0.ready.append((question, reply.document, hasChanged)) }
    wake()
  }

  /// - Returns: the answer, and whether a conflict was resolved.
  private func answer(_ question: MachineAsked) -> (ConflictReply, Bool) {
    do {
      let request = try ConflictRequest(document: question.document)
      let store = try open()
      let machine = question.machine
      switch request {
      case .list(let stream, let after, let limit):
        let listed = ConflictReply.fitting(
          try store.conflicts(machine: machine, stream: stream, after: after, limit: limit))
        return (
          .page(
            total: try store.conflictCount(machine: machine, stream: stream), newest: try store.newestConflict(),
            listed.conflicts, hasMore: listed.isCut || listed.conflicts.count == limit), false
        )
      case .show(let id):
        let conflict = try store.conflict(id).flatMap { $0.machine == machine ? $0 : nil }
        return (.page(total: conflict == nil ? 0 : 1, newest: 0, conflict.map { [$0] } ?? [], hasMore: false), false)
      case .resolve(let id, let take, let seen):
        let outcome = try store.resolve(id, take: take, seen: seen, of: machine)
        return (.outcome(outcome), outcome == .resolved)
      }
    } catch {
      return (.failure("\(error)"), false)
    }
  }
}
