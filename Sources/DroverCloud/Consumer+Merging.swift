// A frame's events become what the sinks take, and what none of them can take becomes a dead letter.

import DroverCore
import DroverWire

extension Consumer {
  /// Merges the facts of a frame that covers nothing. What cannot be merged is no dead letter here: it becomes one when it comes again.
  func takeFacts(
    of frame: DecodedFrame, into sink: Sink, _ transaction: any CloudTransaction, _ group: inout MessageGroup
  ) throws {
    let ready = frame.events.compactMap { try? prepare($0, sink.schema) }
    guard !ready.isEmpty else { return }
    var progress = StreamProgress()
    progress.version = ready.map(\.version).max() ?? 0
    for outcome in try merge(ready, epoch: frame.header.epoch, into: sink, transaction, &group)
    where outcome == .applied {
      progress.applied += 1
    }
    group.note(progress, machine: sink.machine, stream: sink.stream)
  }

  /// Merges events and buries what cannot be merged. False when there was no room for one of these: the others are applied, and will be the
  /// same when the frame comes again.
  func merge(
    _ events: [Event], of arrival: EventMessage, epoch: Epoch?, into sink: Sink, _ transaction: any CloudTransaction,
    _ group: inout MessageGroup
  ) throws -> Bool {
    var isWhole = true
    var progress = StreamProgress()
    var ready: [SinkEvent] = []
    ready.reserveCapacity(events.count)
    // Where those that are not ready stood.
    var unfit: [Int] = []
    for (place, event) in events.enumerated() {
      do throws(WireError) {
        ready.append(try prepare(event, sink.schema))
      } catch {
        unfit.append(place)
        progress.refused += 1
        let refused = RefusedEvent(
          raw: FrameEncoder.text(of: event, schema: sink.schema), reason: .event, detail: error.description)
        let isKept = try addDeadLetter(refused, of: arrival, epoch: epoch, transaction, &group)
        isWhole = isWhole && isKept
      }
    }
    if !ready.isEmpty {
      let outcomes = try merge(ready, epoch: epoch, into: sink, transaction, &group)
      var places = events.indices.makeIterator()
      var skipped = unfit[...]
      for (event, outcome) in zip(ready, outcomes) {
        var place = places.next()!
        while skipped.first == place {
          skipped.removeFirst()
          place = places.next()!
        }
        progress.version = max(progress.version, event.version)
        switch outcome {
        case .applied: progress.applied += 1
        case .superseded: progress.superseded += 1
        case .refused(let reason, let detail):
          progress.refused += 1
          let refused = RefusedEvent(
            raw: FrameEncoder.text(of: events[place], schema: sink.schema), reason: reason, detail: detail)
          let isKept = try addDeadLetter(refused, of: arrival, epoch: epoch, transaction, &group)
          isWhole = isWhole && isKept
        }
      }
    }
    group.note(progress, machine: sink.machine, stream: sink.stream)
    return isWhole
  }

  func prepare(_ event: Event, _ schema: StreamSchema?) throws(WireError) -> SinkEvent {
    let version = event.version ?? clock.next(now: wallClock())
    if event.isList, let schema, case .row(let row) = event.content {
      // Its id is made of the row.
      let key = schema.lines.isEmpty ? [] : schema.keyValues(of: row)
      var ready = SinkEvent(
        seq: event.seq, localID: event.localID, version: version, at: event.at, keyIn: schema.key, row: row,
        lines: try lines(of: event, event.content, key: key, schema), raw: event.raw)
      ready.ancestry = event.ancestry
      return ready
    }
    var content = event.content
    var key: [Value] = []
    if let schema {
      if case .json(let body) = content { content = .row(try FrameDecoder.row(body, schema: schema)) }
      key = try LocalIDCodec.key(event.localID, schema: schema)
      if case .row(let values) = content, schema.keyValues(of: values) != key {
        throw WireError("the id is not the key that the body holds")
      }
    }
    let lines = try lines(of: event, content, key: key, schema)
    var ready = SinkEvent(
      seq: event.seq, localID: event.localID, version: version, at: event.at, key: key, content: content, lines: lines,
      raw: event.raw)
    ready.ancestry = event.ancestry
    return ready
  }

  /// The rows that come with a header's. A delete has none: with the header its lines go.
  func lines(
    of event: Event, _ content: Content, key: [Value], _ schema: StreamSchema?
  ) throws(WireError) -> [[[Value]]] {
    guard let schema, !schema.lines.isEmpty else {
      guard case .none = event.lines else {
        throw WireError("the event has lines, and its stream has no tables of lines")
      }
      return []
    }
    let lines: [[[Value]]]
    switch (content, event.lines) {
    case (.none, _): return []
    case (_, .none): throw WireError("the event puts a header without its lines (\"with\")")
    case (_, .rows(let rows)): lines = rows
    case (_, .json(let with)): lines = try FrameDecoder.lines(with, schema: schema)
    }
    if let fault = schema.fault(in: lines, key: key) { throw WireError(fault) }
    return lines
  }

  func addDeadLetter(
    _ message: InboundMessage, _ topic: Topic?, _ reason: DeadLetterReason, _ detail: String,
    _ transaction: any DeadLetterBox, _ group: inout MessageGroup
  ) throws -> MessageOutcome {
    var stream: StreamName?
    switch topic {
    case .events(_, _, let name), .schema(_, let name): stream = name
    default: break
    }
    // A machine writes below its own name, whatever else the topic says.
    let machine = topic?.machine ?? Topic.machine(ofStray: message.topic)
    guard hasLetterLeft(machine, bytes: message.payload.count, &group) else { return .setAside }
    let added = try transaction.addDeadLetter(
      DeadLetter(
        topic: message.topic, machine: machine, stream: stream, reason: reason, detail: detail,
        raw: message.payload[...]))
    group.note(added, reason, machine: machine)
    return .deadLetter
  }

  /// False when there is no room for it, and the edge has to keep it.
  func addDeadLetter(
    _ event: RefusedEvent, of arrival: EventMessage, epoch: Epoch?, _ transaction: any DeadLetterBox,
    _ group: inout MessageGroup
  ) throws -> Bool {
    let machine = arrival.machine
    // An agent's event stays at the edge, whose frame comes again; anything else is counted and gone.
    guard hasLetterLeft(machine, bytes: event.raw.count, &group) else { return epoch == nil }
    let added = try transaction.addDeadLetter(
      DeadLetter(
        topic: arrival.message.topic, machine: machine, stream: arrival.stream, epoch: epoch, reason: event.reason,
        detail: event.detail, raw: event.raw))
    group.note(added, event.reason, machine: machine)
    return added != .full
  }
}

/// An event that could not be applied.
struct RefusedEvent {
  /// Its own text.
  var raw: ArraySlice<UInt8>
  var reason: DeadLetterReason
  var detail: String
}
