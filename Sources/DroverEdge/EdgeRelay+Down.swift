// Rows that come down from the cloud: frames wait here for the turn, which applies them and says what was received.

import DroverCore
import DroverEvents
import DroverWire

/// Frames that wait to be applied. What has no room is dropped: it is not confirmed, and the cloud sends it again.
struct DownArrivals {
  private static let mostFrames = 64
  private static let mostBytes = 16 << 20
  private var waiting: [(frame: DownFrame, bytes: Int)] = []
  private var bytes = 0

  var first: DownFrame? { waiting.first?.frame }

  mutating func append(_ frame: DownFrame, bytes: Int) {
    guard waiting.isEmpty || waiting.count < Self.mostFrames && self.bytes + bytes <= Self.mostBytes else { return }
    waiting.append((frame, bytes))
    self.bytes += bytes
  }

  mutating func removeFirst() { bytes -= waiting.removeFirst().bytes }
  mutating func removeAll() { (waiting, bytes) = ([], 0) }
}

extension EdgeRelay {
  /// Whether a stream has to wait until a consumer is heard that knows two-way rows.
  func waitsForConsumer(_ stream: EdgeStream) -> Bool {
    cloudDown == nil && stream.schema?.flow.direction.goesDown == true
  }

  /// What the newest confirmation says about the way down.
  func heard(down epoch: Epoch?) {
    guard epoch != cloudDown else { return }
    let wasUnknown = cloudDown == nil
    cloudDown = epoch
    // What was sent under another numbering may bring back what the cloud has lost.
    arrivals.removeAll()
    guard epoch != nil else { return }
    downConfirming.asked()
    guard wasUnknown, publisher != nil else { return }
    announceSchemas()
    relay.news()
  }

  /// Puts a frame aside for the turn. Nothing here touches the database.
  func hear(down name: StreamName, _ message: InboundMessage) {
    guard let stream = store.streams.first(where: { $0.name == name }), let schema = stream.schema,
      schema.flow.direction.goesDown
    else { return events.emit(DownUnknown(stream: name)) }
    do {
      switch try FrameDecoder.decode(message.payload, known: { $0 == schema.id ? schema : nil }) {
      case .frame(let frame):
        guard frame.header.epoch == cloudDown else { return }
        for broken in frame.broken { throw WireError(broken.reason) }
        arrivals.append(
          DownFrame(
            stream: stream.number, epoch: frame.header.epoch, interval: frame.header.interval,
            last: frame.header.last, run: StoreRun(frame.header),
            events: try frame.events.map { try DownEvent($0, schema: schema) }),
          bytes: message.payload.count)
      // The table has changed since the cloud sent it: the description is on its way, and the cloud sends the rows again under it.
      case .unknownSchema: if publisher != nil { announceSchemas() }
      case .bare: throw WireError("it is no frame")
      }
    } catch {
      events.emit(DownUnreadable(topic: message.topic, error: "\(error)"))
    }
  }

  /// The cloud wants rows to be tried again that the app's tables refuse.
  func hear(_ order: RetryOrder) {
    // Beyond a few it wants all of them.
    retries = retries.count < Self.mostRetries ? retries + [order] : [RetryOrder()]
  }

  private static let mostRetries = 64

  /// Tries rows again that the app's tables refused, or that wait for others, and sees to it that the cloud hears what is refused now.
  private func retryRefused() throws(EdgeStoreError) {
    while let order = retries.first {
      try store.retry(order)
      retries.removeFirst()
      (isRetrying, refusedTriedAt) = (true, nil)
    }
    guard isRetryDue() else { return }
    let hasMore = try store.retryRefused().hasMore
    if hasMore { refusedTriedAt = nil }
    let refused = try store.refusedRows()
    if isRetrying || refused.differs(from: reportedRefused) { downConfirming.asked() }
    isRetrying = isRetrying && hasMore
  }

  /// Whether to try rows again that the app's tables refused, or that wait for others.
  private func isRetryDue() -> Bool {
    let now = clock.now
    guard refusedTriedAt.map({ $0.advanced(by: limits.waiting.refusedRetry) <= now }) ?? true else { return false }
    refusedTriedAt = now
    return true
  }

  /// Applies what waits, and says what was received.
  /// - Returns: how long the next turn may wait.
  func applyDown() throws(EdgeStoreError) -> Duration {
    if let cloudDown, notedNumbering != cloudDown {
      try store.note(numbering: cloudDown)
      notedNumbering = cloudDown
      // No change of the app's may come that would have it looked at.
      if store.hasBackfill { relay.backfillNeeded() }
    }
    if store.streams.contains(where: { $0.schema?.flow.direction.goesDown == true }) { try retryRefused() }
    while let frame = arrivals.first {
      // Rows of the stream are sent again.
      guard let outcome = try store.apply(frame) else { return min(limits.waiting.downDelay, try confirmDown()) }
      arrivals.removeFirst()
      guard !outcome.repeatsNumbers else {
        // The cloud compares what was received with what it has given.
        downConfirming.asked()
        events.emit(DownRepeated(stream: frame.stream, interval: frame.interval))
        continue
      }
      downConfirming.applied(now: clock.now)
      events.emit(DownApplied(stream: frame.stream, interval: frame.interval, outcome: outcome))
    }
    return try confirmDown()
  }

  /// Says what was received of what goes down, where that is due.
  private func confirmDown() throws(EdgeStoreError) -> Duration {
    let rest = limits.reporting.longestRest
    guard publisher != nil, cloudDown != nil else { return rest }
    guard downConfirming.isDue(now: clock.now) else {
      return downConfirming.at.map { min(rest, max(.zero, clock.now.duration(to: $0))) } ?? rest
    }
    if let received = try store.downReceived() {
      announcements.append(
        OutboundMessage(
          topic: Topic.downConfirm(machine).text, payload: received.document, isRetained: true,
          contentType: "application/json"))
      reportedRefused = received.refused
    }
    downConfirming.said()
    return isRetrying ? .zero : rest
  }
}

extension StoreRun {
  /// nil where the frame names none.
  fileprivate init?(_ header: FrameHeader) {
    guard header.run != 0, let since = header.lineage?.since else { return nil }
    self.init(number: header.run, first: since)
  }
}

extension DownEvent {
  fileprivate init(_ event: Event, schema: StreamSchema) throws(WireError) {
    guard let seq = event.seq, let version = event.version else { throw WireError("a row without numbers") }
    let key =
      if case .row(let row) = event.content { schema.keyValues(of: row) } else {
        try LocalIDCodec.key(event.localID, schema: schema)
      }
    self.init(
      seq: seq, localID: event.localID, key: key, content: event.content, version: version, edge: event.edge)
  }
}
