// Messages on topics of events: frames of agents and bare events of other clients. `FrameRule` says what a frame counts for, and here it is done.

import DroverCore
import DroverEvents
import DroverWire

/// A message on a topic of events.
struct EventMessage {
  var message: InboundMessage
  var topic: Topic
  var machine: MachineID
  var kind: Kind
  var stream: StreamName

  func sink(_ schema: StreamSchema?) -> Sink { Sink(machine: machine, stream: stream, kind: kind, schema: schema) }
}

extension Consumer {
  func take(
    _ arrival: EventMessage, _ transaction: any CloudTransaction, _ group: inout MessageGroup
  ) throws -> MessageOutcome {
    let (message, machine, stream) = (arrival.message, arrival.machine, arrival.stream)
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
          message, arrival.topic, bytes: limits.messageBytes + 1, beginning: beginning, transaction, &group)
      }
      decoded = try FrameDecoder.decode(payload) {
        try gate.schema($0, of: machine, stream, now: wallClock(), transaction)
      }
    } catch let error as WireError {
      chargeWaste(bytes, of: machine)
      return try addDeadLetter(message, arrival.topic, .unparsable, error.description, transaction, &group)
    }
    switch decoded {
    case .bare(let event): return try take(event, of: arrival, transaction, &group)
    case .unknownSchema(let header): return try take(header, nil, of: arrival, transaction, &group)
    case .frame(let frame): return try take(frame.header, frame, of: arrival, transaction, &group)
    }
  }

  // MARK: Bare events

  private func take(
    _ event: Event, of arrival: EventMessage, _ transaction: any CloudTransaction, _ group: inout MessageGroup
  ) throws -> MessageOutcome {
    let (message, machine) = (arrival.message, arrival.machine)
    var event = event
    // A dead letter that is sent again still bears the number that it had in its frame; outside it means nothing.
    event.seq = nil
    guard gate.admits([event], of: machine, now: wallClock()) else {
      return setAside(arrival.topic, over: .longIDs, &group)
    }
    let sink = arrival.sink(try transaction.latestSchema(machine: machine, stream: arrival.stream))
    let epoch =
      group.awaitsReplays ? try transaction.epochOfReplay(topic: message.topic, raw: message.payload) : nil
    guard try merge([event], of: arrival, epoch: epoch, into: sink, transaction, &group) else { return .held }
    // The machine may never have had this row, or may have deleted it: nothing that it has sent since speaks of it. Facts stay.
    if let epoch, sink.kind != .payload, try !transaction.isLatest(epoch, machine: machine) {
      try transaction.reopenGaps(of: arrival.stream, machine: machine)
    }
    if group.machines[machine] == nil { group.machines[machine] = .some(nil) }
    return .bare
  }

  // MARK: Frames

  /// - Parameter frame: what was read of the frame; nil where its schema is not known.
  private func take(
    _ header: FrameHeader, _ frame: DecodedFrame?, of arrival: EventMessage, _ transaction: any CloudTransaction,
    _ group: inout MessageGroup
  ) throws -> MessageOutcome {
    let (machine, stream) = (arrival.machine, arrival.stream)
    // Both machines of one name, and those whose sink cannot be written, still have what is their own.
    if group.duplicates[machine] != nil || isBlocked(stream, of: machine, &group) { return .held }
    guard try gate.admits(header.epoch, of: machine, now: wallClock(), transaction) else {
      return setAside(arrival.topic, over: .epochs, &group)
    }
    let sink = arrival.sink(
      try frame == nil ? nil : header.schema.flatMap { try transaction.schema($0, machine: machine, stream: stream) })
    let context = try context(of: header, into: sink, isRead: frame != nil, transaction)
    let verdict = FrameRule.decide(header, in: context)
    if case .wrongKind(let kind) = verdict {
      let reason = "the stream's schema says \(kind.rawValue)"
      return try addDeadLetter(arrival.message, arrival.topic, .topic, reason, transaction, &group)
    }
    if context.isLatestEpoch {
      group.machines[machine] = header.epoch
    } else {
      // A machine that is in another epoch ignores it.
      group.requests[.command(machine, name: "epoch")] = Array(header.epoch.text.utf8)
    }
    switch (verdict, frame) {
    case (.hold, _):
      // The machine's other streams need the room that this one takes on the way.
      group.hold(stream, of: machine, because: .schema)
      return .waiting
    case (.overtaken(let takesFacts), let frame?):
      if takesFacts { try self.takeFacts(of: frame, into: sink, transaction, &group) }
      return .overtaken
    case (.duplicate, _):
      try hear(header.run, OutboxOrigin(machine: machine, epoch: header.epoch), transaction)
      return .duplicate
    case (.take(let covers), let frame?):
      return try apply(frame, of: arrival, into: sink, covers: covers, transaction, &group)
    case (.askForSchema, _), (.overtaken, nil), (.take, nil), (.wrongKind, _):
      // No dead letter: the frame is not covered, so the edge sends it again once it has described the stream.
      group.requests[.command(machine, name: "schema")] = []
      return .waiting
    }
  }

  /// What the store knows of where a frame comes from.
  private func context(
    of header: FrameHeader, into sink: Sink, isRead: Bool, _ transaction: any CloudTransaction
  ) throws -> FrameContext {
    let (machine, stream) = (sink.machine, sink.stream)
    var schema = sink.schema.map { FrameContext.Schema.known($0.kind) } ?? .none
    if !isRead {
      let isWaiting =
        try header.schema.map {
          try gate.mayLook(at: machine, now: wallClock())
            && transaction.isWaiting($0, machine: machine, stream: stream)
        } ?? false
      schema = isWaiting ? .waiting : .unknown
    }
    let outbox = OutboxOrigin(machine: machine, epoch: header.epoch)
    let isTwoWay = sink.schema?.flow.direction == .both
    // A frame that cannot be read yet begins no epoch and ends none; and what was received in one that is over does not count any more.
    let isLatest = try !isRead || transaction.isLatest(header.epoch, machine: machine)
    guard isRead, isLatest else {
      return FrameContext(
        kind: sink.kind, schema: schema, isLatestEpoch: isLatest, runs: Runs(), received: IntervalSet(),
        isTwoWay: isTwoWay)
    }
    return FrameContext(
      kind: sink.kind, schema: schema, isLatestEpoch: true, runs: try runs(of: outbox, transaction),
      received: try received(of: stream, outbox, transaction), isTwoWay: isTwoWay)
  }

  private func received(
    of stream: StreamName, _ outbox: OutboxOrigin, _ transaction: any ReceivedRanges
  ) throws -> IntervalSet {
    try received.of(StreamOrigin(outbox: outbox, stream: stream)) {
      try transaction.received(machine: outbox.machine, epoch: outbox.epoch, stream: stream)
    }
  }

  /// Applies the events of a frame.
  /// - Parameter covers: whether its interval counts as received then.
  private func apply(
    _ frame: DecodedFrame, of arrival: EventMessage, into sink: Sink, covers: Bool,
    _ transaction: any CloudTransaction, _ group: inout MessageGroup
  ) throws -> MessageOutcome {
    let (machine, stream) = (sink.machine, sink.stream)
    let (epoch, interval) = (frame.header.epoch, frame.header.interval)
    let outbox = OutboxOrigin(machine: machine, epoch: epoch)
    if covers { try hear(frame.header.run, outbox, transaction) }
    if let lineage = frame.header.lineage, sink.schema?.flow.direction == .both {
      try transaction.note(lineage, epoch: epoch, machine: machine, stream: stream)
    }
    var known = covers ? try received(of: stream, outbox, transaction) : IntervalSet()
    guard try gate.admits(interval, beside: known, of: stream, outbox, now: wallClock(), transaction) else {
      return setAside(arrival.topic, over: .openIntervals, &group)
    }
    guard gate.admits(frame.events, of: machine, now: wallClock()) else {
      return setAside(arrival.topic, over: .longIDs, &group)
    }
    if sink.schema == nil, !frame.events.isEmpty, let reason = try transaction.holdBodies(of: sink) {
      // As a schema that cannot be followed: it waits at the edge, and is no dead letter.
      events.emit(BodiesHeld(stream: stream, machine: machine, reason: reason))
      group.hold(stream, of: machine, because: .bodies)
      return .waiting
    }
    var isWhole = true
    for broken in frame.broken {
      let event = RefusedEvent(raw: broken.raw, reason: .event, detail: broken.reason)
      let isKept = try addDeadLetter(event, of: arrival, epoch: epoch, transaction, &group)
      isWhole = isWhole && isKept
    }
    let isNew = known.lastMember(below: interval.through + 1) <= interval.after
    let events = isNew ? frame.events : frame.events.filter { !known.contains($0.seq!) }
    let isMerged = try merge(events, of: arrival, epoch: epoch, into: sink, transaction, &group)
    let outcome = FrameRule.outcome(covers: covers, isWhole: isWhole && isMerged)
    guard outcome == .frame else { return outcome }
    known.insert(interval)
    received.update(StreamOrigin(outbox: outbox, stream: stream), known)
    try raise(Run(number: frame.header.run, reached: frame.header.last), outbox, transaction)
    return outcome
  }

  // MARK: Runs

  /// Takes note of the run that a frame is of, where it is a new one.
  private func hear(_ run: Int64, _ outbox: OutboxOrigin, _ transaction: any ReceivedRanges) throws {
    let known = try runs(of: outbox, transaction)
    guard known.newest?.number != run else { return }
    // From now on the one before never changes; what is written at the end is the newest.
    if let before = known.newest { try transaction.raise(before, machine: outbox.machine, epoch: outbox.epoch) }
    try raise(Run(number: run, reached: 0), outbox, transaction)
  }

  private func raise(_ run: Run, _ outbox: OutboxOrigin, _ transaction: any ReceivedRanges) throws {
    var known = try runs(of: outbox, transaction)
    guard known.newest != run else { return }
    known.raise(run.number, to: run.reached)
    runs.update(outbox, known)
  }

  private func runs(of outbox: OutboxOrigin, _ transaction: any ReceivedRanges) throws -> Runs {
    try runs.of(outbox) { try transaction.runs(machine: outbox.machine, epoch: outbox.epoch) }
  }
}
