// What becomes of one message: which of the topics it is on, and whether it is too large.

import DroverCore
import DroverEvents
import DroverWire

extension Consumer {
  func take(
    _ message: InboundMessage, _ transaction: any CloudTransaction, _ group: inout MessageGroup
  ) throws -> MessageOutcome {
    let topic: Topic
    do throws(InvalidName) {
      topic = try Topic(parsing: message.topic)
    } catch {
      if isOverBudget(stray: message, &group) { return .setAside }
      if message.payload.isEmpty { return .ignored }
      return try addDeadLetter(message, nil, .topic, error.message, transaction, &group)
    }
    if let budget = try overrun(message, topic, transaction) { return setAside(topic, over: budget, &group) }
    // It takes away what the broker keeps on the topic [MQTT-3.3.1-6], and is delivered like any other message; there is nothing to apply.
    if message.payload.isEmpty {
      if case .status(let machine) = topic { group.withdraw(machine) }
      return .ignored
    }
    guard message.payload.count <= limits.messageBytes else {
      return try tooLarge(
        message, topic, bytes: message.payload.count, beginning: message.payload, transaction, &group)
    }
    switch topic {
    case .events(let machine, let kind, let stream):
      do {
        let arrival = EventMessage(message: message, topic: topic, machine: machine, kind: kind, stream: stream)
        return try take(arrival, transaction, &group)
      } catch let blocked as SinkBlocked {
        block(stream, of: machine, blocked, &group)
        return .held
      }
    case .schema(let machine, let stream):
      let schema: StreamSchema
      do throws(WireError) {
        schema = try StreamSchema(document: message.payload)
      } catch {
        return try addDeadLetter(message, topic, .unparsable, error.description, transaction, &group)
      }
      if group.awaitsReplays, try transaction.isOutdatedReplay(topic: message.topic, raw: message.payload) {
        events.emit(ReplayedSchemaOutdated(stream: stream, machine: machine))
        return .document
      }
      switch try gate.take(schema, of: machine, stream, now: wallClock(), transaction) {
      case .known: return .document
      case .overBudget: return setAside(topic, over: .schemaChanges, &group)
      case .adopt: break
      }
      if isBlocked(stream, of: machine, &group) { return describeLater(stream, of: machine, &group) }
      let reason: String?
      do {
        reason = try transaction.adopt(schema, machine: machine, stream: stream)
      } catch let blocked as SinkBlocked {
        block(stream, of: machine, blocked, &group)
        return describeLater(stream, of: machine, &group)
      }
      guard let reason else {
        if schema.flow.direction.goesDown {
          group.describesDown = true
          group.downNews.insert(machine)
        }
        return .document
      }
      events.emit(SchemaRefused(stream: stream, machine: machine, reason: reason))
      // What a person can accept stands in the list of waiting schemas, and is no dead letter.
      if try transaction.isWaiting(schema.id, machine: machine, stream: stream) { return .document }
      return try addDeadLetter(message, topic, .schema, reason, transaction, &group)
    case .status(let machine):
      let status: MachineStatus
      do throws(WireError) {
        let said = try MachineStatus(document: message.payload)
        status = message.isRetained ? said.kept(now: wallClock()) : said
      } catch {
        return try addDeadLetter(message, topic, .unparsable, error.description, transaction, &group)
      }
      var current = status
      if group.duplicates[machine] != nil {
        // Neither one's epoch is the machine's. Each hears with the answer that it has to hold.
        current.epoch = nil
        group.note(current, machine: machine, said: status)
        return .document
      }
      if let epoch = status.epoch, try !gate.admits(epoch, of: machine, now: wallClock(), transaction) {
        return setAside(topic, over: .epochs, &group)
      }
      if let epoch = status.epoch, try !transaction.isLatest(epoch, machine: machine) {
        // Nothing is confirmed in an epoch that is over, so there is no answer either: the machine asks until it has another.
        group.requests[.command(machine, name: "epoch")] = Array(epoch.text.utf8)
        current.epoch = nil
      }
      if let epoch = current.epoch {
        // What the machine has lost goes down to it, also if it has no row of the stream left to send.
        let streams = try status.lineages.isEmpty ? [] : transaction.downStreams(of: machine)
        for stream in streams where stream.schema.flow.direction == .both {
          guard let lineage = status.lineages[stream.stream] else { continue }
          try transaction.note(lineage, epoch: epoch, machine: machine, stream: stream.stream)
        }
      }
      group.note(current, machine: machine)
      return .document
    case .downConfirm(let machine):
      let confirmation: DownConfirmation
      do throws(WireError) {
        confirmation = try DownConfirmation(document: message.payload)
      } catch {
        return try addDeadLetter(message, topic, .unparsable, error.description, transaction, &group)
      }
      try hear(confirmation, of: machine, transaction, &group)
      return .document
    case .ask(let machine, let id):
      // What the broker kept is a question that no program waits for any more.
      if !message.isRetained { group.asked.append(MachineAsked(machine: machine, id: id, document: message.payload)) }
      return .document
    case .confirm, .down, .command, .reply: return .ignored
    }
  }

  /// - Parameters:
  ///   - bytes: how many it has, or at least.
  ///   - beginning: of its text.
  func tooLarge(
    _ message: InboundMessage, _ topic: Topic, bytes: Int, beginning: [UInt8], _ transaction: any CloudTransaction,
    _ group: inout MessageGroup
  ) throws -> MessageOutcome {
    if case .events(let machine, _, _) = topic, let epoch = FrameDecoder.epoch(ofBeginning: beginning) {
      if group.duplicates[machine] != nil { return .held }
      // The agent still has it, and hears with the confirmation how much one message may hold: it comes again in parts, or stays there as a
      // dead letter of the edge.
      if try transaction.isLatest(epoch, machine: machine) { group.machines[machine] = epoch }
      group.oversize[machine] = bytes
      return .waiting
    }
    return try addDeadLetter(
      message, topic, .tooLarge, "\(bytes) bytes, and limits.message_bytes is \(limits.messageBytes)", transaction,
      &group)
  }
}
