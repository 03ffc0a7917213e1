// Questions of people at the machine to the cloud. Only the agent is connected to the broker, so a command hands its question to the agent, which asks and
// hands the answer back.

import DroverCore
import DroverEvents
import DroverWire
import Synchronization

package final class CloudQuestions: Sendable {
  private struct State {
    var waiting: [(id: String, document: [UInt8])] = []
    var inFlight: [PublishToken: String] = [:]
    var open: Set<String> = []
    var answers: [(id: String, answer: Result)] = []
    /// How many conflicts the cloud says there are; nil where it does not say.
    var conflicts: Int?
    /// Whether the consumer answers questions; nil while none was heard.
    var isAnswered: Bool?
  }

  package enum Result: Equatable, Sendable {
    case answer([UInt8])
    case failure(String)
  }

  private let state = Mutex(State())

  package init() {}

  /// From any thread. `take` has the answer later, or why there is none.
  /// - Parameter id: lower-case letters and digits.
  package func ask(_ document: [UInt8], id: String) {
    state.withLock { state in
      state.open.insert(id)
      state.waiting.append((id, document))
    }
  }

  /// Nothing waits for this answer any more.
  package func giveUp(_ id: String) {
    state.withLock { state in
      state.open.remove(id)
      state.waiting.removeAll { $0.id == id }
    }
  }

  /// The answers that have come, each once.
  package func take() -> [(id: String, answer: Result)] {
    state.withLock { state in
      defer { state.answers = [] }
      return state.answers
    }
  }

  // MARK: On the session's thread

  /// Whether the number of conflicts is another one than before.
  func heard(conflicts: Int?, compares: Bool) -> Bool {
    state.withLock { state in
      defer { state.conflicts = conflicts }
      state.isAnswered = conflicts != nil || compares
      return state.conflicts != conflicts
    }
  }

  func publish(_ machine: MachineID, _ publisher: any Publisher) {
    let (waiting, isAnswered) = state.withLock { state -> ([(id: String, document: [UInt8])], Bool) in
      // At the start of an agent the first confirmation is on its way.
      guard let isAnswered = state.isAnswered else { return ([], false) }
      defer { state.waiting = [] }
      return (state.waiting, isAnswered)
    }
    for (id, document) in waiting {
      guard isAnswered else {
        finish(
          id,
          .failure(
            "the consumer does not answer questions of machines: it is of an older release, or no row of any machine is edited on both sides; upgrade it, or run the command in the cloud"
          ))
        continue
      }
      do throws(PublishError) {
        let token = try publisher.publish(
          OutboundMessage(
            topic: Topic.ask(machine, id: id).text, payload: document, contentType: "application/json"))
        state.withLock { $0.inFlight[token] = id }
      } catch {
        finish(id, .failure("send the question to the cloud: \(error)"))
      }
    }
  }

  /// - Returns: whether the message was a question.
  func acknowledged(_ token: PublishToken, _ reason: AcknowledgementReason, machine: MachineID) -> Bool {
    guard let id = state.withLock({ $0.inFlight.removeValue(forKey: token) }) else { return false }
    switch reason {
    case .success: break
    case .noMatchingSubscribers: finish(id, .failure("no consumer subscribes to the machine's questions; start it"))
    case .notAuthorised:
      finish(
        id,
        .failure(
          "the broker does not authorise \(Topic.prefix)\(machine)/ask/+; allow the machine to write there in the broker's ACL"
        ))
    default: finish(id, .failure("the broker answered \(reason) to the question"))
    }
    return true
  }

  func answered(_ id: String, _ document: [UInt8]) {
    finish(id, .answer(document), isLast: CompareReply.isLast(document))
  }

  func disconnected() {
    let open = state.withLock { state in
      state.inFlight = [:]
      return state.open
    }
    for id in open { finish(id, .failure("the connection to the broker was lost; repeat the command")) }
  }

  private func finish(_ id: String, _ answer: Result, isLast: Bool = true) {
    state.withLock { state in
      guard state.open.contains(id) else { return }
      if isLast { state.open.remove(id) }
      state.answers.append((id, answer))
    }
  }
}
