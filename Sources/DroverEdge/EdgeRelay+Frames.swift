// Frames: what was read becomes messages that fill up, and what broker or consumer find too large is divided, or set aside as a dead letter.

import DroverCore
import DroverWire
import Logging

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
      var most = size(of: stream)
      let claims = relay.claims(stream: number)
      for entry in run where !claims.isConfirmed(entry.seq) {
        if encoder.isStarted,
          encoder.count >= most.events || encoder.byteCount >= most.bytes
            || !claims.canJoin(previous: encoder.last, next: entry.seq, request: request)
        {
          send(&encoder, stream, request, through: encoder.last, read.lastSeq, &blocked, publisher)
          most = size(of: stream)
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

  /// A fact of which nothing is left to send. Of a filtered stream it may be a row that does not travel.
  private func coverVanished(_ entry: OutboxEntry, _ stream: EdgeStream, _ encoder: inout FrameEncoder) {
    encoder.cover(entry.seq)
    guard !stream.isFiltered else { return }
    said.rarely("vanished \(stream.name)") {
      logger.warning(
        "send \(stream.name): a row was replaced or removed past the triggers before it was sent; there is nothing left of it to send\($0)"
      )
    }
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
    let events = encoder.count
    let isWaitingForTable =
      stream.table != nil && stream.schema == nil || store.waits.contains { $0.stream == stream.name }
    guard !isWaitingForTable, !blocked.contains(stream.number), !relay.isHeld(stream: stream.number, now: clock.now)
    else {
      encoder.discard()
      relay.held(
        stream: stream.number, interval: interval,
        until: isWaitingForTable ? clock.now.advanced(by: .seconds(5)) : nil)
      blocked.insert(stream.number)
      return
    }
    let onlySeq = encoder.onlySeq
    let topic = Topic.events(machine, stream.kind, stream.name).text
    let frame = encoder.finish(covering: interval, last: lastSeq)
    do throws(PublishError) {
      if let cloudLimit, frame.count > cloudLimit, events > 0 { throw .tooLarge }
      largestSent = max(largestSent, frame.count)
      let (payload, type) = limits.compression.pack(frame)
      let token = try publisher.publish(OutboundMessage(topic: topic, payload: payload, contentType: type))
      relay.published(
        token, stream: stream.number, interval: interval, events: events, bytes: payload.count, onlySeq: onlySeq,
        now: clock.now)
      suspicion.published(token, .init(stream: stream.number, events: events, bytes: payload.count))
      logger.debug("sent \(stream.name) \(interval): \(events) events in \(payload.count) bytes")
    } catch {
      let isMended = error == .tooLarge && events > 0
      relay.held(
        stream: stream.number, interval: interval,
        until: error == .notConnected || isMended ? nil : clock.now.advanced(by: .seconds(10)))
      blocked.insert(stream.number)
      guard error != .notConnected else { return }
      if isMended { return tooLarge(stream.number, topic, events: events, bytes: frame.count, onlySeq: onlySeq) }
      said.rarely("publish \(stream.name) \(error)") {
        logger.error(
          "publish \(stream.name): a frame of \(frame.count) bytes: \(error); it stays in the outbox and is tried again\($0)"
        )
      }
    }
  }

  // MARK: What is too large

  func heedLimit(_ limit: Int?) {
    guard limit != cloudLimit else { return }
    cloudLimit = limit
    limitFrames()
    guard let limit, largestSent > limit else { return }
    // The consumer has put it aside, and will not confirm it.
    largestSent = 0
    relay.doubt()
  }

  /// A frame is full when it has reached half of what broker and consumer take: its last event may be a large one.
  func limitFrames() {
    let taken = max(1, min(maximumPacketSize ?? .max, cloudLimit ?? .max) / 2)
    guard taken != takenBytes else { return }
    takenBytes = taken
    sizes = [:]
  }

  /// How large the stream's frames may be now.
  private func size(of stream: EdgeStream) -> FrameSize {
    if let size = sizes[stream.number] { return size }
    let most = limits.streamFrames[stream.name] ?? FrameSize(events: limits.frameEvents, bytes: limits.frameBytes)
    return FrameSize(events: most.events, bytes: min(most.bytes, takenBytes))
  }

  /// The frame's interval is read again at once: in smaller frames, or without its only event, which becomes a dead letter.
  func tooLarge(_ stream: Int, _ topic: String, events: Int, bytes: Int, onlySeq: Int64?) {
    if let own = store.streams.first(where: { $0.number == stream }) {
      var size = size(of: own)
      size.refused(events: events, bytes: bytes)
      sizes[stream] = size
    }
    let taker =
      if let cloudLimit, bytes > cloudLimit {
        "the consumer takes (its limits.message_bytes is \(cloudLimit))"
      } else {
        "the broker takes" + (maximumPacketSize.map { " (at most \($0) bytes a packet)" } ?? "")
      }
    guard let onlySeq else {
      said.rarely("too large \(stream)") {
        logger.info(
          "publish \(events) events on \(topic): the frame of \(bytes) bytes is larger than \(taker); they are sent in smaller frames\($0)"
        )
      }
      return
    }
    unsendable.append(
      UnsendableEvent(
        stream: stream, seq: onlySeq, reason: .tooLarge,
        detail: "a frame of \(bytes) bytes with this event alone is larger than \(taker)", bytes: bytes)
    )
    said.rarely("unsendable \(stream)") {
      logger.error(
        "publish event \(onlySeq) on \(topic): alone it makes a frame of \(bytes) bytes, and that is larger than \(taker); it is a dead letter now, see `drover dead list`\($0)"
      )
    }
  }

  /// With MQTT 3.1.1 the broker cannot say that a frame is too large. Smaller ones may pass; a single event stays as it is.
  func blame(_ suspect: SizeSuspicion.Suspect, _ what: String, _ setting: String) {
    guard let stream = store.streams.first(where: { $0.number == suspect.stream }) else { return }
    if suspect.events > 1 {
      var size = size(of: stream)
      size.refused(events: suspect.events, bytes: suspect.bytes)
      sizes[suspect.stream] = size
    }
    let topic = Topic.events(machine, stream.kind, stream.name).text
    said.rarely("blame \(suspect.stream) \(setting) \(suspect.events > 1)") {
      logger.warning(
        "publish \(suspect.events) events on \(topic): the frame has \(suspect.bytes) bytes, and \(what): the likely cause is the broker's size limit (mosquitto: \(setting)), of which MQTT 3.1.1 says nothing. Raise it, lower frame.bytes, or use MQTT 5; \(suspect.events > 1 ? "frames are made smaller meanwhile" : "this event alone is that large, and waits"), and nothing is lost\($0)"
      )
    }
  }

  func bury() throws(EdgeStoreError) {
    while let event = unsendable.first {
      do throws(EdgeStoreError) {
        _ = try store.bury(event)
      } catch .noRoom(let reason) {
        // It may be neither lost nor set aside, so its stream waits until there is room.
        relay.held(
          stream: event.stream, interval: Interval(after: event.seq - 1, through: event.seq),
          until: clock.now.advanced(by: limits.roomDelay))
        said.rarely("no room \(event.stream)") { logger.error("\(reason); its stream waits meanwhile\($0)") }
      }
      unsendable.removeFirst()
    }
  }
}
