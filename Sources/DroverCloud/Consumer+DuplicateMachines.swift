// Two machines of one name: a card was copied, and both agents send under it. Their rows would be mixed and could not be told apart again, so
// nothing of either is taken until only one is heard. Both hear why with the confirmation, and hold. `DuplicateMachineWatch` decides.

import DroverCore
import DroverEvents
import DroverWire

extension Consumer {
  /// Listens to who says something, before anything is taken: what a store may have to try again must not be heard twice. What the broker kept, or
  /// delivers again, is no news.
  func listen(to messages: [InboundMessage]) {
    for message in messages where !message.isRetained && !message.isDuplicate {
      guard case .status(let machine)? = try? Topic(parsing: message.topic),
        message.payload.count <= limits.messageBytes,
        let status = try? MachineStatus(document: message.payload), let process = status.process, let said = status.at
      else { continue }
      let verdict = watches[machine, default: DuplicateMachineWatch()].heard(
        process, said: said, isHeld: duplicates[machine] != nil, now: wallClock())
      switch verdict {
      case .nothing: continue
      case .unclear: requests[.command(machine, name: "present")] = []
      case .cloned, .alone: verdicts[machine] = verdict
      }
    }
  }

  /// Writes down what was found since the last commit.
  /// - Returns: the machine names under which two agents are running.
  func judge(_ transaction: any CloudTransaction) throws -> [MachineID: Trouble] {
    var duplicates = !areDuplicatesKnown || store.isShared ? try transaction.troubles(.cloned) : self.duplicates
    for (machine, verdict) in verdicts.sorted(by: { $0.key < $1.key }) {
      switch verdict {
      case .nothing, .unclear: continue
      case .cloned:
        let now = wallClock()
        let trouble = Trouble(.cloned, since: duplicates[machine]?.since ?? now, last: now, count: 1)
        try transaction.note(trouble, machine: machine)
        duplicates[machine] = trouble
      case .alone:
        try transaction.forget(.cloned, machine: machine)
        duplicates[machine] = nil
      }
    }
    return duplicates
  }

  /// What comes after the commit.
  func tell(_ found: [MachineID: Trouble]) {
    for (machine, trouble) in found.sorted(by: { $0.key < $1.key }) where duplicates[machine] == nil {
      events.emit(MachineDuplicated(machine: machine, trouble: trouble))
    }
    for machine in duplicates.keys.sorted() where found[machine] == nil {
      events.emit(MachineAlone(machine: machine))
    }
    (duplicates, verdicts, areDuplicatesKnown) = (found, [:], true)
  }
}
