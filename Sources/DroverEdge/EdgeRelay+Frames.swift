// Frames: what was read becomes messages that fill up, and what broker or consumer find too large is divided, or set aside as a dead letter.

import DroverCore
import DroverEvents
import DroverWire

extension EdgeRelay {
  /// Sorts what was read by stream and sends it as frames that fill up. A value that is larger than a read may be comes last in it: its row is
  /// given up before its frame is handed on, so that it is not in memory beside the connection's copies.
  func publish(_ read: inout OutboxRead, _ request: ReadRequest, _ publisher: any Publisher) {
    var blocked: Set<Int> = []
    let isEmpty = read.entries.isEmpty
    var rest = read.entries[...]
    read.entries = []
    while let number = rest.first?.stream {
      let run = rest.prefix { $0.stream == number }
      rest = rest.dropFirst(run.count)
      guard let stream = store.streams.first(where: { $0.number == number }) else { continue }
      var encoder = encoders[number]!
      encoders[number] = nil  // so that its buffers are changed in place
      var most = division.size(of: stream)
      let claims = relay.claims(stream: number)
      for entry in run where !claims.isConfirmed(entry.seq) {
        if encoder.isStarted,
          encoder.count >= most.events || encoder.byteCount >= most.bytes
            || !claims.canJoin(previous: encoder.last, next: entry.seq, request: request)
        {
          send(&encoder, stream, request, through: encoder.last, read.lastSeq, &blocked, publisher)
          most = division.size(of: stream)
        }
        if stream.kind == .payload, entry.content == .none {
          coverVanished(entry, stream, &encoder)
        } else {
          encoder.append(entry)
        }
      }
      encoders[number] = encoder
    }
    rest = []
    for number in encoders.keys.sorted() where encoders[number]!.isStarted {
      guard let stream = store.streams.first(where: { $0.number == number }) else { continue }
      var encoder = encoders[number]!
      encoders[number] = nil
      send(
        &encoder, stream, request, through: end(of: request, read) ?? encoder.last, read.lastSeq, &blocked, publisher)
      encoders[number] = encoder
    }
    // Nothing was left of what was to be sent again: an empty frame closes the hole.
    if case .again(let number, let interval, _) = request, isEmpty, var encoder = encoders[number],
      let stream = store.streams.first(where: { $0.number == number })
    {
      encoder.cover(interval.after + 1)
      send(&encoder, stream, request, through: interval.through, read.lastSeq, &blocked, publisher)
      encoders[number] = encoder
    }
  }

  /// A fact that has nothing left to send. In a filtered stream it may be a row that the filter excludes.
  private func coverVanished(_ entry: OutboxEntry, _ stream: EdgeStream, _ encoder: inout FrameEncoder) {
    encoder.cover(entry.seq)
    if !stream.isFiltered { events.emit(RowVanished(stream: stream.name)) }
  }

  /// What is sent again is covered to the end of what was asked for, when all of that was looked at.
  private func end(of request: ReadRequest, _ read: OutboxRead) -> Int64? {
    guard case .again(_, let interval, _) = request, read.scannedThrough >= interval.through else { return nil }
    return interval.through
  }

  private func send(
    _ encoder: inout FrameEncoder, _ stream: EdgeStream, _ request: ReadRequest, through: Int64, _ lastSeq: Int64,
    _ blocked: inout Set<Int>, _ publisher: any Publisher
  ) {
    let interval = relay.coverage(stream: stream.number, first: encoder.first, last: through, request: request)
    let count = encoder.count
    let isWaitingForTable =
      stream.table != nil && stream.schema == nil || waitsForConsumer(stream)
      || store.waits.contains { $0.stream == stream.name }
    guard !isWaitingForTable, !blocked.contains(stream.number), !relay.isHeld(stream: stream.number, now: clock.now)
    else {
      encoder.discard()
      relay.held(
        stream: stream.number, interval: interval,
        until: isWaitingForTable ? clock.now.advanced(by: limits.waiting.tableDelay) : nil)
      blocked.insert(stream.number)
      return
    }
    let onlySeq = encoder.onlySeq
    let topic = Topic.events(machine, stream.kind, stream.name).text
    let frame = encoder.finish(covering: interval, last: lastSeq)
    do throws(PublishError) {
      if count > 0, division.isBeyondConsumer(bytes: frame.count) { throw .tooLarge }
      division.sending(bytes: frame.count)
      let (payload, type) = limits.compression.pack(frame)
      let token = try publisher.publish(OutboundMessage(topic: topic, payload: payload, contentType: type))
      relay.published(
        token, stream: stream.number, interval: interval, events: count, bytes: payload.count, onlySeq: onlySeq,
        now: clock.now)
      division.published(token, .init(stream: stream.number, events: count, bytes: payload.count))
      events.emit(FrameSent(stream: stream.name, interval: interval, events: count, bytes: payload.count))
    } catch {
      let isDivided = error == .tooLarge && count > 0
      relay.held(
        stream: stream.number, interval: interval,
        until: error == .notConnected || isDivided ? nil : clock.now.advanced(by: limits.waiting.publishDelay))
      blocked.insert(stream.number)
      guard error != .notConnected else { return }
      if isDivided { return tooLarge(stream, topic, events: count, bytes: frame.count, onlySeq: onlySeq) }
      events.emit(FrameNotPublished(stream: stream.name, bytes: frame.count, error: error))
    }
  }

  // MARK: What is refused

  /// The broker did not take a frame.
  func publicationRefused(_ publication: Relay.Publication, _ reason: AcknowledgementReason) {
    if reason == .noMatchingSubscribers { interrupted() }
    let stream = store.streams.first { $0.number == publication.stream }
    let topic = stream.map { Topic.events(machine, $0.kind, $0.name).text } ?? ""
    events.emit(
      FrameRefused(
        stream: publication.stream, topic: topic, events: publication.events, isEmpty: publication.isEmpty,
        reason: reason, user: user))
    guard reason == .packetTooLarge, !publication.isEmpty, let stream else { return }
    tooLarge(
      stream, topic, events: publication.events, bytes: publication.bytes, onlySeq: publication.onlySeq)
  }

  /// The frame's interval is read again at once: in smaller frames, or without its only event.
  private func tooLarge(_ stream: EdgeStream, _ topic: String, events count: Int, bytes: Int, onlySeq: Int64?) {
    let taker = division.taker(bytes: bytes)
    switch division.refused(stream, events: count, bytes: bytes, onlySeq: onlySeq) {
    case .divided:
      events.emit(FrameDivided(stream: stream.number, topic: topic, events: count, bytes: bytes, taker: taker))
    case .deadLetter(let seq):
      unsendable.append(
        UnsendableEvent(
          stream: stream.number, seq: seq, reason: .tooLarge,
          detail: "a frame of \(bytes) bytes with this event alone is larger than \(taker)", bytes: bytes))
      events.emit(EventTooLarge(stream: stream.number, topic: topic, seq: seq, bytes: bytes, taker: taker))
    }
  }

  /// With MQTT 3.1.1 the broker cannot say that a frame is too large.
  func blame(_ suspect: SizeSuspicion.Suspect, _ sign: SizeBlamed.Sign) {
    guard let stream = store.streams.first(where: { $0.number == suspect.stream }) else { return }
    division.blamed(suspect, stream)
    let topic = Topic.events(machine, stream.kind, stream.name).text
    events.emit(SizeBlamed(suspect: suspect, topic: topic, sign: sign))
  }
}
