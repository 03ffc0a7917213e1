// The relay's decisions: what to read next, what a frame may claim to cover, what a PUBACK means and what a confirmation
// means. It has no clock, no disk and no network; DroverEdge asks it and does what it says.
//
// Every sequence number of a stream is in one of these places, and only a confirmation takes it to the last:
//   unread       not looked at yet (the same for all streams: one pass reads the outbox in commit order)
//   again        claimed once, but refused, lost or held back: to be read and sent again
//   outstanding  in a frame that is in flight, or acknowledged and waiting for its confirmation
//   confirmed    the cloud has committed it
//   vacant       none of these: nothing was left there when it was read, so the next frame covers it in passing

package struct Relay: Sendable {
  package typealias Instant = ContinuousClock.Instant

  /// What to do next.
  package enum Step: Equatable, Sendable {
    case read(ReadRequest)
    /// Put the next rows of a table that was there before Drover into the outbox.
    case backfill
    /// Nothing, for at most this long; nil: until something happens.
    case wait(Duration?)
  }

  /// One frame on its way.
  package struct Publication: Equatable, Sendable {
    package let stream: Int
    package let interval: Interval
    package let events: Int
    package let bytes: Int
    /// The event, where the frame has one alone.
    package var onlySeq: Int64?
    /// The frame has no event; it closes a hole.
    package var isEmpty = false
    var order: Int
    var publishedAt: Instant
    var acknowledgedAt: Instant?
  }

  struct Stream {
    var confirmed = IntervalSet()
    var outstanding = IntervalSet()
    var again = IntervalSet()
    var againAt: Instant?
    var attempt = 0
    /// How often frames of it were lost in a row.
    var losses = 0
    /// The cloud has said that it cannot take this stream: one frame at a time asks whether it can by now.
    var isStopped = false
    /// When the broker said that no client subscribes, if that is why the stream waits.
    var unheardAt: Instant?
    var awaiting: [Publication] = []

    /// The highest number below `seq` that another frame or lane covers.
    func taken(below seq: Int64) -> Int64 {
      max(confirmed.lastMember(below: seq), outstanding.lastMember(below: seq), again.lastMember(below: seq))
    }
  }

  let limits: RelayLimits
  let backoff = Backoff()
  var seed: UInt64
  var streams: [Int: Stream] = [:]
  var inFlight: [PublishToken: Publication] = [:]
  var unread = IntervalSet(CollectionOfOne(Interval(after: 0, through: .max)))
  var liveAfter: Int64 = 0
  var hasNews = true
  /// Something was confirmed or read since holes were looked for.
  var mayHaveHoles = false
  var hasBackfill: Bool
  var isConnected = false
  var readyAt: Instant?
  var cloudSession: String?
  /// Whether an answer was heard since the start: before it the agent does not know what became of what an earlier run had sent.
  var hasAnswer = false
  /// What was confirmed when each of the newest questions was asked, the oldest first.
  var questions: [(number: Int64, confirmed: [Int: IntervalSet])] = []
  var settlement = Settlement()
  var nextOrder = 0
  var highestConfirmedOrder = -1
  var probeAttempt = 0
  var probeAt: Instant?
  var roundTrip: Duration = .milliseconds(250)
  var pace: BacklogPace

  /// How often a silence was broken by sending a frame again.
  package internal(set) var probes = 0
  package internal(set) var outstandingEvents = 0
  package internal(set) var outstandingBytes = 0
  /// Events that were published and events that were confirmed since the start; one that is sent twice counts twice.
  package internal(set) var sentEvents = 0
  package internal(set) var confirmedEvents = 0
  /// Bytes of the largest frame that was confirmed.
  package internal(set) var largestConfirmed = 0
  var lost: [Publication] = []
  /// Of those that the broker has not acknowledged yet.
  package internal(set) var unacknowledgedBytes = 0

  /// - Parameters:
  ///   - seed: what the jitter of retries is drawn from.
  ///   - confirmed: for each stream what an earlier run wrote down as confirmed.
  ///   - acknowledged: for each stream what an earlier run left `synced` and unconfirmed.
  ///   - hasBackfill: rows that were there before Drover still wait to enter the outbox.
  package init(
    limits: RelayLimits, seed: UInt64, confirmed: [Int: IntervalSet] = [:], acknowledged: [Int: IntervalSet],
    hasBackfill: Bool, now: Instant
  ) {
    self.limits = limits
    self.pace = BacklogPace(window: limits.window.events)
    self.seed = seed
    self.hasBackfill = hasBackfill
    for (stream, set) in confirmed { streams[stream, default: Stream()].confirmed = set }
    for (stream, set) in acknowledged {
      for interval in set.intervals {
        streams[stream, default: Stream()].outstanding.insert(interval)
        let events = Int(clamping: interval.through - interval.after)
        var publication = Publication(
          stream: stream, interval: interval, events: events, bytes: 0, order: -1, publishedAt: now)
        publication.acknowledgedAt = now
        streams[stream]!.awaiting.append(publication)
        outstandingEvents += events
      }
    }
    if outstandingEvents > 0 { armProbe(now: now) }
  }

  // MARK: What happens outside

  /// The broker took the connection. Reading starts when the retained confirmation is there, or after `patience`: what
  /// the cloud has already is forgotten, not sent again.
  package mutating func connected(sessionPresent: Bool, patience: Duration, now: Instant) {
    isConnected = true
    pace.connected()
    readyAt = now.advanced(by: patience)
    hasNews = true
    // The broker forgot this client's session, so it may have lost the messages it acknowledged too.
    if !sessionPresent { suspectAll() }
    for index in streams.keys where !streams[index]!.again.isEmpty { streams[index]!.againAt = now }
  }

  /// Publications without a PUBACK will get none: their rows are read and sent again.
  package mutating func disconnected() {
    isConnected = false
    for publication in inFlight.values { giveBack(publication, notBefore: nil) }
    inFlight = [:]
    unacknowledgedBytes = 0
  }

  /// Another program has committed something to the database.
  package mutating func news() { hasNews = true }

  /// What was read, before its frames are claimed.
  /// - Parameters:
  ///   - scannedThrough: everything of the request up to here was looked at.
  ///   - lastSeq: the highest sequence number that existed when it was read.
  package mutating func didRead(_ request: ReadRequest, scannedThrough: Int64, lastSeq: Int64) {
    guard case .fresh(let after, _, _) = request else { return }
    if scannedThrough > after {
      unread.remove(Interval(after: after, through: scannedThrough))
      mayHaveHoles = true
    }
    guard after == liveAfter else { return }
    liveAfter = lastSeq - scannedThrough > limits.liveLag ? lastSeq : scannedThrough
    hasNews = scannedThrough < lastSeq && liveAfter == scannedThrough
  }

  /// What of a stream is confirmed, or is in a frame or lane, as it is now.
  package func claims(stream: Int) -> Claims { Claims(streams[stream] ?? Stream()) }

  /// Asked for each event that is read, so it is a value of its own.
  package struct Claims {
    private let confirmed: IntervalSet
    private let others: [IntervalSet]

    init(_ stream: Relay.Stream) {
      confirmed = stream.confirmed
      others = [stream.outstanding, stream.again].filter { !$0.isEmpty }
    }

    /// Whether the cloud has an event already, though the store could not forget it yet.
    package func isConfirmed(_ seq: Int64) -> Bool { confirmed.contains(seq) }

    /// Whether an event may stand behind another in one frame: no other frame or lane covers a number between them.
    package func canJoin(previous: Int64, next: Int64, request: ReadRequest) -> Bool {
      switch request {
      // All of the interval is this read's own.
      case .again: true
      case .fresh:
        confirmed.lastMember(below: next) <= previous && others.allSatisfy { $0.lastMember(below: next) <= previous }
      }
    }
  }

  /// What a frame with these events may say that it covers: down to the next number that another frame or lane covers.
  package func coverage(stream: Int, first: Int64, last: Int64, request: ReadRequest) -> Interval {
    switch request {
    case .again(_, let interval, _):
      // Exactly what was asked for again, cut where this frame's events end.
      Interval(after: max(interval.after, streams[stream]?.outstanding.lastMember(below: first) ?? 0), through: last)
    case .fresh:
      Interval(after: max(unread.lastMember(below: first), streams[stream]?.taken(below: first) ?? 0), through: last)
    }
  }

  /// Whether frames of this stream may be published now, or have to wait (`held`).
  package func isHeld(stream: Int, now: Instant) -> Bool {
    guard let againAt = streams[stream]?.againAt else { return false }
    return againAt > now
  }

  /// A frame was handed to the connection.
  /// - Parameter onlySeq: the event, where the frame has one alone.
  package mutating func published(
    _ token: PublishToken, stream: Int, interval: Interval, events: Int, bytes: Int, onlySeq: Int64? = nil, now: Instant
  ) {
    streams[stream, default: Stream()].again.remove(interval)
    streams[stream]!.outstanding.insert(interval)
    inFlight[token] = Publication(
      stream: stream, interval: interval, events: max(events, 1), bytes: bytes, onlySeq: onlySeq, isEmpty: events == 0,
      order: nextOrder, publishedAt: now)
    nextOrder += 1
    sentEvents += events
    if streams[stream]!.isStopped { streams[stream]!.againAt = now.advanced(by: limits.loss.tryingDelay) }
    outstandingEvents += max(events, 1)
    outstandingBytes += bytes
    unacknowledgedBytes += bytes
  }

  /// A frame was read but not sent: its stream is held, or the connection was gone.
  /// - Parameter until: before this the stream is not read again; nil leaves that as it is.
  package mutating func held(stream: Int, interval: Interval, until: Instant? = nil) {
    streams[stream, default: Stream()].again.insert(interval)
    if let until { streams[stream]!.againAt = until }
  }

  /// The cloud took frames of this stream from the broker and cannot apply them now: they are no longer on their way, and nothing of the
  /// stream is sent before `until`. Then one frame is, and more only when something of the stream is confirmed.
  package mutating func hold(stream: Int, until: Instant) {
    guard let awaiting = streams[stream]?.awaiting else { return }
    streams[stream]!.isStopped = true
    streams[stream]!.awaiting = []
    for publication in awaiting { giveBack(publication, notBefore: nil) }
    streams[stream]!.againAt = until
  }

  /// How a step of `backfill` went.
  package mutating func didBackfill(hasMore: Bool) {
    hasBackfill = hasMore
    hasNews = true
  }

  /// A table appeared whose rows have to be sent.
  package mutating func backfillNeeded() { hasBackfill = true }

  /// Whether something is to be read again, be it only to close a hole.
  package var hasIntervalsAgain: Bool { streams.values.contains { !$0.again.isEmpty } }

  /// Whether everything that was seen in the outbox is confirmed, and nothing of it waits to be read.
  package var isIdle: Bool {
    outstandingEvents == 0 && !hasNews && !hasBackfill && !hasIntervalsAgain
      && unread.intervals.first.map { $0.after >= liveAfter } ?? true
  }

  // MARK: What to do

  package mutating func next(now: Instant) -> Step {
    guard isConnected else { return .wait(nil) }
    if let readyAt {
      guard readyAt <= now else { return .wait(now.duration(to: readyAt)) }
      self.readyAt = nil
    }
    findHoles()
    let wake = findLost(now: now)
    guard outstandingEvents < limits.window.events, outstandingBytes < limits.window.bytes,
      unacknowledgedBytes < limits.unacknowledgedBytes
    else { return .wait(wake) }
    let limit = min(limits.readEvents, limits.window.events - outstandingEvents)

    // The lowest number first: a Dictionary's order changes from process to process, and a seed could repeat nothing.
    if let index = streams.keys.filter({ !streams[$0]!.again.isEmpty && !isHeld(stream: $0, now: now) }).min() {
      return .read(.again(stream: index, interval: streams[index]!.again.intervals[0], limit: limit))
    }
    if hasNews { return .read(.fresh(after: liveAfter, through: .max, limit: limit)) }
    if outstandingEvents < pace.events, let oldest = unread.intervals.first, oldest.after < liveAfter {
      return .read(.fresh(after: oldest.after, through: min(oldest.through, liveAfter), limit: limit))
    }
    if hasBackfill, outstandingEvents < (limits.window.events + 1) / 2 { return .backfill }
    return .wait(wake)
  }

  /// Frames that were acknowledged and seem to be lost, since the last call.
  package mutating func takeLost() -> [Publication] {
    defer { lost = [] }
    return lost
  }

  /// No frame waits for its PUBACK.
  package var isQuiet: Bool { inFlight.isEmpty }
  /// How long a frame takes from publication to confirmation, smoothed.
  package var smoothedRoundTrip: Duration { roundTrip }
}

/// What to read from the outbox.
package enum ReadRequest: Equatable, Sendable {
  /// Entries of all streams in an interval, in commit order, that are not marked `synced`.
  case fresh(after: Int64, through: Int64, limit: Int)
  /// What is left of one stream in an interval, `synced` or not.
  case again(stream: Int, interval: Interval, limit: Int)
}
