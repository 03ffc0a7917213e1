// The consumer sets a message aside when its machine has used up a budget: it counts the message and neither reads nor keeps it. Nothing
// confirms an agent's frame then, so the agent keeps its events, waits as the consumer asks, and sends them again.

import DroverCore
import DroverWire

extension Consumer {
  /// The budget that has no room for a message, decided before it is decoded and mostly without the store.
  func overrun(
    _ message: InboundMessage, _ topic: Topic, _ transaction: any CloudTransaction
  ) throws -> Budget? {
    let now = wallClock()
    let machine = topic.machine
    if let budget = gate.message(of: machine, bytes: message.payload.count, now: now) { return budget }
    switch topic {
    case .events(_, _, let stream):
      guard try gate.admits(stream, of: machine, transaction) else { return .streams }
      if let epoch = FrameDecoder.epoch(ofBeginning: message.payload) {
        return try gate.admits(epoch, of: machine, now: now, transaction) ? nil : .epochs
      }
      return nil
    case .schema(_, let stream):
      guard try gate.admits(stream, of: machine, transaction) else { return .streams }
      return gate.mayDescribe(machine, now: now) ? nil : .schemaChanges
    case .status, .confirm, .down, .downConfirm, .command, .reply, .ask: return nil
    }
  }

  func setAside(_ topic: Topic, over budget: Budget, _ group: inout MessageGroup) -> MessageOutcome {
    group.noteOverrun(budget, machine: topic.machine)
    if case .events(let machine, _, let stream) = topic, gate.shouldHold(stream, of: machine, now: wallClock()) {
      group.hold(stream, of: machine, because: .budget(budget.rawValue))
    }
    return .setAside
  }

  /// Whether one more dead letter of a machine's may be kept; otherwise it is counted.
  func hasLetterLeft(_ machine: MachineID?, bytes: Int, _ group: inout MessageGroup) -> Bool {
    guard let machine, let budget = gate.letter(of: machine, bytes: bytes, now: wallClock()) else { return true }
    group.noteOverrun(budget, machine: machine)
    return false
  }

  /// The same for a message on a topic that breaks the grammar behind the machine.
  func isOverBudget(stray message: InboundMessage, _ group: inout MessageGroup) -> Bool {
    guard let machine = Topic.machine(ofStray: message.topic),
      let budget = gate.message(of: machine, bytes: message.payload.count, now: wallClock())
    else { return false }
    group.noteOverrun(budget, machine: machine)
    return true
  }

  /// What was packed is charged to its machine as it is unpacked: a few kilobytes may hold megabytes. Real frames are packed to a tenth or so; what
  /// is packed much smaller holds the same over and over again, and costs more than its bytes.
  func unpack(_ message: InboundMessage, of machine: MachineID) throws(WireError) -> Compression.Unpacked {
    let packed = message.payload.count
    var bytes = min(limits.messageBytes, packed * Self.mostPacking)
    defer {
      if bytes > packed {
        gate.unpacked(bytes * max(1, bytes / (packed * Self.usualPacking)), of: machine, now: wallClock())
      }
    }
    let unpacked = try Compression.unpack(message.payload, most: limits.messageBytes)
    if case .frame(let frame) = unpacked { bytes = frame.count }
    return unpacked
  }

  /// The most that deflate packs into a byte: https://zlib.net/zlib_tech.html.
  private static let mostPacking = 1032
  /// Well above what frames of equal rows are packed to.
  private static let usualPacking = 50

  /// Bytes that were read and came to nothing cost their machine several times: an honest one sends none.
  func chargeWaste(_ bytes: Int, of machine: MachineID) {
    gate.unpacked(bytes * Self.costOfWaste, of: machine, now: wallClock())
  }

  private static let costOfWaste = 7
}
