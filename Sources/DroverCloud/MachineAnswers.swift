// Questions of machines to the cloud. The consumer hands them on after its commit, and publishes the answers that another thread has made meanwhile: no
// question holds up events.

package import DroverCore

/// What a machine asks.
package struct MachineAsked: Sendable {
  package var machine: MachineID
  /// Names the answer.
  package var id: String
  package var document: [UInt8]

  package init(machine: MachineID, id: String, document: [UInt8]) {
    self.machine = machine
    self.id = id
    self.document = document
  }
}

/// Whoever answers them.
package protocol MachineAnswers: Sendable {
  /// Returns at once.
  func ask(_ question: MachineAsked)
  /// The answers that are ready, each once, and whether something in the store was changed for the machine.
  func take() -> [(question: MachineAsked, answer: [UInt8], hasChanged: Bool)]
}

extension Consumer {
  func publishAnswers(_ publisher: any Publisher) {
    for (question, answer, hasChanged) in answers?.take() ?? [] {
      let topic = Topic.command(question.machine, name: "answer-\(question.id)")
      _ = try? publisher.publish(
        OutboundMessage(topic: topic.text, payload: answer, contentType: "application/json"))
      guard hasChanged, let machines = try? store.transaction({ try $0.machines() }),
        let epoch = machines[question.machine]
      else { continue }
      // Its agent shows how many conflicts there are.
      confirmations.touch(question.machine, epoch: epoch)
    }
  }
}
