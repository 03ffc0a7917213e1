// What becomes of one message: which of the topics it is on, whether it is known already, overtaken or too large.

import DroverCore
import DroverWire
import Logging

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
      return try bury(message, nil, .topic, error.message, transaction, &group)
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
        return try takeEvents(message, topic, machine, kind, stream, transaction, &group)
      } catch let blocked as SinkBlocked {
        block(stream, of: machine, blocked, &group)
        return .held
      }
    case .schema(let machine, let stream):
      let schema: StreamSchema
      do throws(WireError) {
        schema = try StreamSchema(document: message.payload)
      } catch {
        return try bury(message, topic, .unparsable, error.description, transaction, &group)
      }
      if group.awaitsReplays, try transaction.isOutdatedReplay(topic: message.topic, raw: message.payload) {
        logger.notice(
          "describe \(stream) of \(machine): a replayed description is older than the machine's latest; it is ignored")
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
      guard let reason else { return .document }
      logger.warning(
        "describe \(stream) of \(machine): \(reason); the stream waits at the edge, see `drover schema list`"
      )
      // What a person can accept stands in the list of waiting schemas, and is no dead letter.
      if try transaction.isWaiting(schema.id, machine: machine, stream: stream) { return .document }
      return try bury(message, topic, .schema, reason, transaction, &group)
    case .status(let machine):
      let status: MachineStatus
      do throws(WireError) {
        let said = try MachineStatus(document: message.payload)
        status = message.isRetained ? said.kept(now: wallClock()) : said
      } catch {
        return try bury(message, topic, .unparsable, error.description, transaction, &group)
      }
      var current = status
      if group.clones[machine] != nil {
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
      group.note(current, machine: machine)
      return .document
    case .confirm, .command, .reply: return .ignored
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
      if group.clones[machine] != nil { return .held }
      // The agent still has it, and hears with the confirmation how much one message may hold: it comes again in parts, or stays there as a
      // dead letter of the edge.
      if try transaction.isLatest(epoch, machine: machine) { group.machines[machine] = epoch }
      group.oversize[machine] = bytes
      return .waiting
    }
    return try bury(
      message, topic, .tooLarge, "\(bytes) bytes, and limits.message_bytes is \(limits.messageBytes)", transaction,
      &group)
  }

  func takeEvents(
    _ message: InboundMessage, _ topic: Topic, _ machine: MachineID, _ kind: Kind, _ stream: StreamName,
    _ transaction: any CloudTransaction, _ group: inout MessageGroup
  ) throws -> MessageOutcome {
    let decoded: DecodedMessage
    var bytes = message.payload.count
    do {
      let payload: [UInt8]
      switch try unpack(message, of: machine) {
      case .frame(let frame):
        payload = frame
        bytes = frame.count
      case .tooLarge(let beginning):
        return try tooLarge(
          message, topic, bytes: limits.messageBytes + 1, beginning: beginning, transaction, &group)
      }
      decoded = try FrameDecoder.decode(payload) {
        try gate.schema($0, of: machine, stream, now: wallClock(), transaction)
      }
    } catch let error as WireError {
      chargeWaste(bytes, of: machine)
      return try bury(message, topic, .unparsable, error.description, transaction, &group)
    }
    switch decoded {
    // Both machines still have what is their own.
    case .unknownSchema, .frame:
      if group.clones[machine] != nil || isBlocked(stream, of: machine, &group) { return .held }
    case .bare: break
    }
    switch decoded {
    case .unknownSchema(let header):
      guard try gate.admits(header.epoch, of: machine, now: wallClock(), transaction) else {
        return setAside(topic, over: .epochs, &group)
      }
      // No dead letter: the frame is not covered, so the edge sends it again once it has described the stream.
      group.machines[machine] = header.epoch
      if let id = header.schema, gate.mayLook(at: machine, now: wallClock()),
        try transaction.isWaiting(id, machine: machine, stream: stream)
      {
        // It is known and cannot be followed. The machine's other streams need the room that this one takes on the way.
        group.hold(stream, of: machine)
      } else {
        group.requests[.command(machine, name: "schema")] = []
      }
      return .waiting
    case .bare(var event):
      // A dead letter that is sent again still bears the number that it had in its frame; outside it means nothing.
      event.seq = nil
      guard gate.admits([event], of: machine, now: wallClock()) else {
        return setAside(topic, over: .longIDs, &group)
      }
      let schema = try transaction.latestSchema(machine: machine, stream: stream)
      let sink = Sink(machine: machine, stream: stream, kind: kind, schema: schema)
      let epoch =
        group.awaitsReplays ? try transaction.epochOfReplay(topic: message.topic, raw: message.payload) : nil
      guard try merge([event], of: message, epoch: epoch, into: sink, transaction, &group) else { return .held }
      if group.machines[machine] == nil { group.machines[machine] = .some(nil) }
      return .bare
    case .frame(let frame):
      let epoch = frame.header.epoch
      guard try gate.admits(epoch, of: machine, now: wallClock(), transaction) else {
        return setAside(topic, over: .epochs, &group)
      }
      let schema = try frame.header.schema.flatMap { try transaction.schema($0, machine: machine, stream: stream) }
      if let schema, schema.kind != kind {
        return try bury(message, topic, .topic, "the stream's schema says \(schema.kind.rawValue)", transaction, &group)
      }
      let isLatest = try transaction.isLatest(epoch, machine: machine)
      if isLatest { group.machines[machine] = epoch }
      let outbox = OutboxOrigin(machine: machine, epoch: epoch)
      let origin = StreamOrigin(outbox: outbox, stream: stream)
      var known = try received.of(origin) {
        try transaction.received(machine: machine, epoch: epoch, stream: stream)
      }
      let sink = Sink(machine: machine, stream: stream, kind: kind, schema: schema)
      if isLatest, try isOvertaken(frame.header.run, outbox, transaction) {
        // Perhaps it is late, and the edge sends it again because nothing confirms it. Perhaps it is of a future that the edge's database
        // has lost, and its numbers are other events now: then its rows are none of the machine's, and its facts are true all the same.
        if kind == .payload { try takeFacts(of: frame, into: sink, transaction, &group) }
        return .overtaken
      }
      if !isLatest {
        // Either the frame has lain in a broker since before the machine's latest epoch, or the machine was put back to an epoch that is
        // over, together with what remembers it. Facts are taken all the same, and nothing counts as received: in the second case rows of
        // the later epoch have won, and the machine has to send all of them in a newer one. In the first it ignores the command.
        group.requests[.command(machine, name: "epoch")] = Array(epoch.text.utf8)
        known = IntervalSet()
      }
      guard !known.contains(frame.header.interval) else { return .duplicate }
      guard
        try gate.admits(frame.header.interval, beside: known, of: stream, outbox, now: wallClock(), transaction)
      else { return setAside(topic, over: .openIntervals, &group) }
      guard gate.admits(frame.events, of: machine, now: wallClock()) else {
        return setAside(topic, over: .longIDs, &group)
      }
      if schema == nil, !frame.events.isEmpty, let reason = try transaction.holdBodies(of: sink) {
        // As a schema that cannot be followed: it waits at the edge, and is no dead letter.
        warnRarely("bodies", "take \(stream) of \(machine): \(reason); it waits at the edge, see `drover schema list`")
        group.hold(stream, of: machine)
        return .waiting
      }
      var isWhole = true
      for broken in frame.broken {
        let isKept = try buryEvent(
          broken.raw, message, machine, stream, epoch, .event, broken.reason, transaction, &group)
        isWhole = isWhole && isKept
      }
      let interval = frame.header.interval
      let isNew = known.lastMember(below: interval.through + 1) <= interval.after
      let events = isNew ? frame.events : frame.events.filter { !known.contains($0.seq!) }
      let isMerged = try merge(events, of: message, epoch: epoch, into: sink, transaction, &group)
      guard isWhole, isMerged else { return .held }
      guard isLatest else { return .waiting }
      known.insert(frame.header.interval)
      received.update(origin, known)
      try raise(Run(number: frame.header.run, reached: frame.header.last), outbox, transaction)
      return .frame
    }
  }

  /// Whether a later run of the agent was heard of than this one, which is taken note of.
  func isOvertaken(_ run: Int64, _ outbox: OutboxOrigin, _ transaction: any CloudTransaction) throws -> Bool {
    let known = try runs(of: outbox, transaction)
    guard !known.isOver(run) else { return true }
    guard known.newest?.number != run else { return false }
    // From now on the one before never changes; what is written at the end is the newest.
    if let before = known.newest { try transaction.raise(before, machine: outbox.machine, epoch: outbox.epoch) }
    try raise(Run(number: run, reached: 0), outbox, transaction)
    return false
  }

  func raise(_ run: Run, _ outbox: OutboxOrigin, _ transaction: any CloudTransaction) throws {
    var known = try runs(of: outbox, transaction)
    guard known.newest != run else { return }
    known.raise(run.number, to: run.reached)
    runs.update(outbox, known)
  }

  func runs(of outbox: OutboxOrigin, _ transaction: any CloudTransaction) throws -> Runs {
    try runs.of(outbox) { try transaction.runs(machine: outbox.machine, epoch: outbox.epoch) }
  }
}
