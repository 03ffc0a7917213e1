// What goes to the cloud in a turn: announcements, answers to its questions, and what the relay says to read from the outbox.

package import DroverCore
import DroverEvents
import DroverWire

extension EdgeRelay {
  /// Returns how long the next turn may wait.
  func send(now: ContinuousClock.Instant) throws(EdgeStoreError) -> Duration {
    guard let publisher, !isStopping else { return limits.reporting.longestRest }
    guard sendAnnouncements(publisher) else { return limits.reporting.announcementRetry }
    guard !dialogue.isHeld else { return limits.reporting.heldRest }
    if responder.isBusy, try responder.turn(store, publisher) {
      relay.news()
      if store.hasBackfill { relay.backfillNeeded() }
    }
    for _ in 0..<limits.readsPerTurn {
      switch nextStep() {
      case .wait(let duration): return rest(duration)
      case .backfill:
        if let wait = backfilling.wait(now: clock.now) { return rest(wait) }
        try backfill()
      case .read(let request):
        var read = try store.read(request, maximumBytes: limits.readBytes)
        relay.didRead(request, scannedThrough: read.scannedThrough, lastSeq: read.lastSeq)
        publish(&read, request, publisher)
        try moveUnsendable()
      }
    }
    return .zero
  }

  private func rest(_ wish: Duration?) -> Duration {
    responder.isBusy ? .zero : min(wish ?? limits.reporting.longestRest, limits.reporting.longestRest)
  }

  private func nextStep() -> Relay.Step {
    let probes = relay.probes
    let step = relay.next(now: clock.now)
    if relay.probes > probes {
      interrupted()
      events.emit(CloudSilent())
    }
    for publication in relay.takeLost() where !publication.isEmpty {
      let suspect = SizeSuspicion.Suspect(
        stream: publication.stream, events: publication.events, bytes: publication.bytes)
      let isBlamed = division.lost(
        suspect, confirmed: relay.largestConfirmed, isAnswered: dialogue.question.isAnswered)
      if isBlamed { blame(suspect, .acknowledgedAndLost) }
    }
    return step
  }

  private func backfill() throws(EdgeStoreError) {
    let rate = store.backfillRate
    let rows = backfilling.rows(rate: rate)
    relay.didBackfill(hasMore: try store.backfill(limit: rows))
    backfilling.brought(rows, rate: rate, now: clock.now)
  }

  // MARK: Announcing

  /// The last will: what the broker says when the agent is gone without a word.
  package static func lastWill(machine: MachineID) -> OutboundMessage {
    OutboundMessage(
      topic: Topic.status(machine).text,
      payload: MachineStatus(isOnline: false, epoch: nil, software: nil, at: nil).document, isRetained: true,
      contentType: "application/json")
  }

  func status(isOnline: Bool) -> OutboundMessage {
    var status = MachineStatus(
      isOnline: isOnline, epoch: store.epoch, software: software, at: wallClock(), ask: dialogue.question.number,
      clockOffset: clockWatch.offset, outbox: outboxReports.reported,
      outboxAge: Int64(outboxReports.age(now: clock.now) / .microseconds(1)), gaps: store.gaps, process: process,
      taken: dialogue.duplicates.taken, waits: store.waits)
    for stream in store.streams {
      guard let lineage = store.lineage(stream: stream.number), lineage.fork != nil else { continue }
      status.lineages[stream.name] = lineage
    }
    return OutboundMessage(
      topic: Topic.status(machine).text, payload: status.document, isRetained: true, contentType: "application/json")
  }

  /// False where the connection could not take them all.
  private func sendAnnouncements(_ publisher: any Publisher) -> Bool {
    while let message = announcements.next {
      do throws(PublishError) {
        announcements.published(try publisher.publish(message))
      } catch {
        guard error == .tooLarge else { return false }
        // What can never be said must not hold back what can.
        events.emit(AnnouncementTooLarge(topic: message.topic, bytes: message.payload.count))
        announcements.drop()
      }
    }
    return true
  }

  /// Says everything that the cloud has to know on a connection, in place of what was still to be said.
  func announce() {
    reportedGaps = store.gaps
    reportedWaits = store.waits
    isAwayReported = false
    announcements.restart()
    announcements.append(status(isOnline: !dialogue.epoch.isAway))
    announceSchemas()
  }

  func announceSchemas() {
    for stream in store.streams {
      guard let schema = stream.schema, !waitsForConsumer(stream) else { continue }
      announcements.append(
        OutboundMessage(
          topic: Topic.schema(machine, stream.name).text, payload: schema.document, isRetained: true,
          contentType: "application/json"))
    }
  }

  /// How much waits is what the cloud cannot know of itself.
  func tellStanding(now: ContinuousClock.Instant) throws(EdgeStoreError) {
    if publisher != nil, !isStopping, reportedGaps != store.gaps || reportedWaits != store.waits {
      reportedGaps = store.gaps
      reportedWaits = store.waits
      announcements.append(status(isOnline: true))
    }
    outboxReports.sees(isIdle: isIdle, now: now)
    guard outboxReports.isDue(now: now), !isStopping else { return }
    let begin = clock.now
    let found = try store.outboxFigures()
    let oldest = found.oldest.map { Duration.microseconds(wallClock() - $0) }
    if outboxReports.looked(found, oldest: oldest, took: begin.duration(to: clock.now), now: now) {
      announcements.append(status(isOnline: true))
    }
  }
}

/// What is still to be said on this connection, in its order. All of it is retained, so a newer message on a topic takes the place of one that
/// waits: there are never more than one status and one schema for each stream.
struct Announcements {
  private var waiting: [OutboundMessage] = []
  /// The topics of what has no PUBACK yet.
  private var inFlight: [PublishToken: String] = [:]

  var isEmpty: Bool { waiting.isEmpty }
  var next: OutboundMessage? { waiting.first }

  mutating func append(_ message: OutboundMessage) {
    guard let index = waiting.firstIndex(where: { $0.topic == message.topic }) else { return waiting.append(message) }
    waiting[index] = message
  }

  /// What waits is no longer so.
  mutating func restart() { waiting = [] }

  /// The next one is on its way.
  mutating func published(_ token: PublishToken) { inFlight[token] = waiting.removeFirst().topic }

  /// The next one can never be said.
  mutating func drop() { waiting.removeFirst() }

  /// - Returns: the topic, where the PUBACK was for one of these.
  mutating func acknowledged(_ token: PublishToken) -> String? { inFlight.removeValue(forKey: token) }

  mutating func disconnected() { inFlight = [:] }
}
