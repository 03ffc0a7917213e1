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

  package struct Limits: Equatable, Sendable {
    /// Most unconfirmed events outside the edge's disk.
    package var windowEvents = 50_000
    /// Most unconfirmed bytes of frames outside the edge's disk.
    package var windowBytes = 32 << 20
    /// Most bytes of frames that wait for their PUBACK: as long as they do, the connection has them in memory.
    package var unacknowledgedBytes = 4 << 20
    /// Most outbox entries of one read.
    package var readEvents = 1000
    /// When this many entries wait beyond a read, the live lane jumps to the newest and leaves the rest to the backlog lane.
    package var liveLag: Int64 = 5000

    package init() {}
  }

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
    fileprivate var order: Int
    fileprivate var publishedAt: Instant
    fileprivate var acknowledgedAt: Instant?
  }

  fileprivate struct Stream {
    var confirmed = IntervalSet()
    var outstanding = IntervalSet()
    var again = IntervalSet()
    var againAt: Instant?
    var attempt = 0
    /// How often frames of it were lost in a row.
    var losses = 0
    /// The cloud has said that it cannot take this stream: one frame at a time asks whether it can by now.
    var isStopped = false
    /// When the broker said that nobody subscribes, where that is why the stream waits.
    var unheardAt: Instant?
    var awaiting: [Publication] = []

    /// The highest number below `seq` that somebody else answers for.
    func taken(below seq: Int64) -> Int64 {
      max(confirmed.lastMember(below: seq), outstanding.lastMember(below: seq), again.lastMember(below: seq))
    }
  }

  private let limits: Limits
  private let backoff = Backoff()
  /// The longest grace of a hole that stays open.
  private static let longestGrace = Duration.seconds(60)
  /// How long a stream that was stopped waits for word of the one frame that it tries.
  private static let tryingDelay = Duration.seconds(10)
  private var seed: UInt64
  private var streams: [Int: Stream] = [:]
  private var inFlight: [PublishToken: Publication] = [:]
  private var unread = IntervalSet(CollectionOfOne(Interval(after: 0, through: .max)))
  private var liveAfter: Int64 = 0
  private var hasNews = true
  /// Something was confirmed or read since holes were looked for.
  private var mayHaveHoles = false
  private var hasBackfill: Bool
  private var isConnected = false
  private var readyAt: Instant?
  private var cloudSession: String?
  /// Whether an answer was heard since the start: before it nobody knows what became of what an earlier run had sent.
  private var hasAnswer = false
  /// What was confirmed when each of the newest questions was asked, the oldest first.
  private var questions: [(number: Int64, confirmed: [Int: IntervalSet])] = []
  /// On a slow link several are on their way, and an answer to any of them is one.
  private static let mostQuestions = 64
  private var settlement = Settlement()
  private var nextOrder = 0
  private var highestConfirmedOrder = -1
  private var probeAttempt = 0
  private var probeAt: Instant?
  private var roundTrip: Duration = .milliseconds(250)
  private var pace: BacklogPace

  /// How often a silence was broken by sending a frame again.
  package private(set) var probes = 0
  package private(set) var outstandingEvents = 0
  package private(set) var outstandingBytes = 0
  /// Events that were published and events that were confirmed since the start; one that is sent twice counts twice.
  package private(set) var sentEvents = 0
  package private(set) var confirmedEvents = 0
  /// Bytes of the largest frame that was confirmed.
  package private(set) var largestConfirmed = 0
  private var lost: [Publication] = []
  /// Of those that the broker has not acknowledged yet.
  package private(set) var unacknowledgedBytes = 0

  /// - Parameters:
  ///   - seed: what the jitter of retries is drawn from.
  ///   - confirmed: for each stream what an earlier run wrote down as confirmed.
  ///   - acknowledged: for each stream what an earlier run left `synced` and unconfirmed.
  ///   - hasBackfill: rows that were there before Drover still wait to enter the outbox.
  package init(
    limits: Limits, seed: UInt64, confirmed: [Int: IntervalSet] = [:], acknowledged: [Int: IntervalSet],
    hasBackfill: Bool, now: Instant
  ) {
    self.limits = limits
    self.pace = BacklogPace(window: limits.windowEvents)
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

  /// What of a stream was confirmed or is in somebody's hands, as it is now.
  package func claims(stream: Int) -> Claims { Claims(streams[stream] ?? Stream()) }

  /// Asked for each event that is read, so it is a value of its own.
  package struct Claims {
    private let confirmed: IntervalSet
    private let others: [IntervalSet]

    fileprivate init(_ stream: Relay.Stream) {
      confirmed = stream.confirmed
      others = [stream.outstanding, stream.again].filter { !$0.isEmpty }
    }

    /// Whether the cloud has an event already, though the store could not forget it yet.
    package func isConfirmed(_ seq: Int64) -> Bool { confirmed.contains(seq) }

    /// Whether an event may stand behind another in one frame: nobody else answers for a number between them.
    package func canJoin(previous: Int64, next: Int64, request: ReadRequest) -> Bool {
      switch request {
      // All of the interval is this read's own.
      case .again: true
      case .fresh:
        confirmed.lastMember(below: next) <= previous && others.allSatisfy { $0.lastMember(below: next) <= previous }
      }
    }
  }

  /// What a frame with these events may say that it covers: down to the next number that somebody else answers for.
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
    if streams[stream]!.isStopped { streams[stream]!.againAt = now.advanced(by: Self.tryingDelay) }
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

  /// Returns the publication that the PUBACK answers, nil when it was none of the relay's.
  @discardableResult
  package mutating func acknowledged(_ token: PublishToken, reason: AcknowledgementReason, now: Instant) -> Publication?
  {
    guard var publication = inFlight.removeValue(forKey: token) else { return nil }
    unacknowledgedBytes -= publication.bytes
    guard reason == .success else {
      // A frame that is too large does not come again as it is, so there is nothing to wait for: it comes in parts, or its one event
      // becomes a dead letter and the frame an empty one.
      let isMended = reason == .packetTooLarge && !publication.isEmpty
      // A window full of frames may be refused in one breath: that is one attempt.
      if isMended || isHeld(stream: publication.stream, now: now) {
        giveBack(publication, notBefore: nil)
        return publication
      }
      streams[publication.stream]!.unheardAt = reason == .noMatchingSubscribers ? now : nil
      let attempt = streams[publication.stream]!.attempt + 1
      streams[publication.stream]!.attempt = attempt
      seed &+= 1
      giveBack(publication, notBefore: now.advanced(by: backoff.delay(attempt: attempt, seed: seed)))
      return publication
    }
    streams[publication.stream]!.attempt = 0
    streams[publication.stream]!.unheardAt = nil
    // All of it was confirmed before it was sent: no confirmation will speak of it again.
    if streams[publication.stream]!.confirmed.contains(publication.interval) {
      streams[publication.stream]!.outstanding.remove(publication.interval)
      outstandingEvents -= publication.events
      outstandingBytes -= publication.bytes
      return publication
    }
    publication.acknowledgedAt = now
    streams[publication.stream]!.awaiting.append(publication)
    settlement.synced[publication.stream, default: IntervalSet()].insert(publication.interval)
    if probeAt == nil { armProbe(now: now) }
    return publication
  }

  /// The cloud is asked what it holds.
  /// - Parameter question: its name; no other question has it.
  package mutating func asked(_ question: Int64) {
    questions.append((question, streams.mapValues(\.confirmed)))
    if questions.count > Self.mostQuestions { questions.removeFirst() }
  }

  /// Whether the cloud holds less than it had confirmed when the question was asked: it was put back to an older state.
  /// - Parameters:
  ///   - sets: what it held at some moment since then.
  ///   - question: which one it answers. One that is not known any more proves nothing.
  package func cloudWentBack(_ sets: [Int: IntervalSet], answering question: Int64) -> Bool {
    questions.last { $0.number == question }.map { lacks(sets, of: $0.confirmed) } ?? false
  }

  /// Whether the cloud seems to hold less than it has confirmed: perhaps it was put back, perhaps this was said before what was heard last, by
  /// another consumer or by a broker that kept it.
  package func isBehind(_ sets: [Int: IntervalSet]) -> Bool { lacks(sets, of: streams.mapValues(\.confirmed)) }

  private func lacks(_ sets: [Int: IntervalSet], of confirmed: [Int: IntervalSet]) -> Bool {
    confirmed.contains { index, set in !set.subtracting(sets[index] ?? IntervalSet()).isEmpty }
  }

  /// Frames that the broker has may come to nothing: what is acknowledged and not confirmed is read and sent again.
  package mutating func doubt() { suspectAll() }

  /// A consumer is there: it has just said something. What waits because nobody subscribed is sent now, but not more than once a second.
  package mutating func heardConsumer(now: Instant) {
    for index in streams.keys {
      guard let unheardAt = streams[index]!.unheardAt, let againAt = streams[index]!.againAt else { continue }
      streams[index]!.againAt = min(againAt, max(now, unheardAt.advanced(by: .seconds(1))))
    }
  }

  /// The cloud has committed. `sets` holds the streams that this machine knows, by number.
  /// - Parameters:
  ///   - isKept: the broker kept it for new subscribers, so it tells of a consumer that was there once.
  ///   - isAnswer: it answers the question that was asked last.
  package mutating func confirmed(
    _ sets: [Int: IntervalSet], session: String, isKept: Bool = false, isAnswer: Bool = false, now: Instant
  ) {
    readyAt = nil
    if let cloudSession {
      if cloudSession != session { suspectAll() }
    } else if !isKept {
      // A consumer that speaks for the first time had no session, so the broker had nobody to keep for what it acknowledged.
      suspect { $0.order >= 0 }
    }
    if isAnswer, !hasAnswer {
      hasAnswer = true
      // What an earlier run had sent stood before the question in the consumer's queue, or nowhere.
      suspect { $0.order < 0 && !(sets[$0.stream]?.contains($0.interval) ?? false) }
    }
    cloudSession = session
    // In one order, here and below: the smoothed round trip depends on it, and a seed has to repeat it.
    for (index, set) in sets.sorted(by: { $0.key < $1.key }) {
      var stream = streams[index, default: Stream()]
      let fresh = set.subtracting(stream.confirmed)
      guard !fresh.isEmpty else { continue }
      stream.losses = 0
      if stream.isStopped {
        stream.isStopped = false
        stream.againAt = nil
      }
      stream.confirmed.formUnion(set)
      stream.outstanding.subtract(set)
      stream.again.subtract(set)
      settlement.confirmed[index, default: IntervalSet()].formUnion(fresh)
      settlement.fronts[index] = stream.confirmed.front
      settlement.synced[index]?.subtract(fresh)
      stream.awaiting.removeAll { publication in
        guard stream.confirmed.contains(publication.interval) else { return false }
        release(publication, now: now)
        return true
      }
      let answered = inFlight.filter { $0.value.stream == index && stream.confirmed.contains($0.value.interval) }
      for (token, publication) in answered.sorted(by: { $0.value.order < $1.value.order }) {
        release(publication, now: now)
        inFlight[token] = nil
        unacknowledgedBytes -= publication.bytes
      }
      streams[index] = stream
      mayHaveHoles = true
      probeAttempt = 0
      armProbe(now: now)
    }
  }

  /// How a step of `backfill` went.
  package mutating func didBackfill(hasMore: Bool) {
    hasBackfill = hasMore
    hasNews = true
  }

  /// A table appeared whose rows have to be brought.
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
    guard outstandingEvents < limits.windowEvents, outstandingBytes < limits.windowBytes,
      unacknowledgedBytes < limits.unacknowledgedBytes
    else { return .wait(wake) }
    let limit = min(limits.readEvents, limits.windowEvents - outstandingEvents)

    // The lowest number first: a Dictionary's order changes from process to process, and a seed could repeat nothing.
    if let index = streams.keys.filter({ !streams[$0]!.again.isEmpty && !isHeld(stream: $0, now: now) }).min() {
      return .read(.again(stream: index, interval: streams[index]!.again.intervals[0], limit: limit))
    }
    if hasNews { return .read(.fresh(after: liveAfter, through: .max, limit: limit)) }
    if outstandingEvents < pace.events, let oldest = unread.intervals.first, oldest.after < liveAfter {
      return .read(.fresh(after: oldest.after, through: min(oldest.through, liveAfter), limit: limit))
    }
    if hasBackfill, outstandingEvents < (limits.windowEvents + 1) / 2 { return .backfill }
    return .wait(wake)
  }

  /// Frames that were acknowledged and seem to be lost, since the last call.
  package mutating func takeLost() -> [Publication] {
    defer { lost = [] }
    return lost
  }

  /// Marks and forgets what has come to be since the last call; put it back with `settlementFailed` when the store could not.
  package mutating func takeSettlement() -> Settlement {
    defer { settlement = Settlement() }
    return settlement
  }

  package mutating func settlementFailed(_ failed: Settlement) {
    for (stream, set) in failed.synced { settlement.synced[stream, default: IntervalSet()].formUnion(set) }
    for (stream, set) in failed.confirmed {
      settlement.confirmed[stream, default: IntervalSet()].formUnion(set)
      settlement.synced[stream]?.subtract(set)
      settlement.fronts[stream] = max(settlement.fronts[stream] ?? 0, failed.fronts[stream] ?? 0)
    }
  }

  package var hasSettlement: Bool { !settlement.isEmpty }
  /// No frame waits for its PUBACK.
  package var isQuiet: Bool { inFlight.isEmpty }
  /// How long a frame takes from publication to confirmation, smoothed.
  package var smoothedRoundTrip: Duration { roundTrip }

  // MARK: Loss

  /// What is missing below something confirmed, and in nobody's hands, will not come by itself: nothing was left in it, or it was in a
  /// message that is gone. It is closed, because the front of what is confirmed stands before it.
  private mutating func findHoles() {
    guard mayHaveHoles else { return }
    mayHaveHoles = false
    for index in streams.keys {
      var holes = IntervalSet(streams[index]!.confirmed.gaps)
      guard !holes.isEmpty else { continue }
      holes.subtract(unread)
      holes.subtract(streams[index]!.outstanding)
      streams[index]!.again.formUnion(holes)
    }
  }

  /// Frames acknowledged before one that is confirmed, and still not confirmed after a grace period, are lost: the broker delivers
  /// in order. The grace grows while a stream's frames are lost and nothing of it is confirmed: perhaps the cloud takes none of them, as at its
  /// bound for dead letters. Returns how long to wait for the next such judgement.
  private mutating func findLost(now: Instant) -> Duration? {
    let shortest = max(.seconds(1), roundTrip * 4)
    var next: Instant?
    for index in streams.keys {
      let stream = streams[index]!
      let grace = max(shortest, min(Self.longestGrace, shortest * (1 << min(stream.losses, 6))))
      let late = stream.awaiting.filter { $0.order < highestConfirmedOrder }
      if !late.isEmpty {
        let lost = late.filter { $0.acknowledgedAt!.advanced(by: grace) <= now }
        if lost.isEmpty {
          next = earlier(next, late.map { $0.acknowledgedAt!.advanced(by: grace) }.min()!)
        } else {
          let orders = Set(lost.map(\.interval))
          streams[index]!.awaiting.removeAll { orders.contains($0.interval) }
          streams[index]!.losses += 1
          self.lost += lost
          for publication in lost { giveBack(publication, notBefore: nil) }
        }
      }
      if let againAt = stream.againAt, againAt > now, !stream.again.isEmpty { next = earlier(next, againAt) }
    }
    if let due = probeAt {
      if due <= now { probe(now: now) }
      if let probeAt { next = earlier(next, probeAt) }
    }
    return next.map { max(.zero, now.duration(to: $0)) }
  }

  /// Silence: the cloud may be away, or the last frames may be lost. One frame is sent again, ever more rarely; its
  /// confirmation shows what became of the others. More than one where an earlier run left more than the window holds: there
  /// would be no room to read it.
  private mutating func probe(now: Instant) {
    probeAt = nil
    repeat {
      let oldest = streams.values.compactMap(\.awaiting.first)
        .min { ($0.publishedAt, $0.order, $0.stream) < ($1.publishedAt, $1.order, $1.stream) }
      guard let oldest else { return }
      streams[oldest.stream]!.awaiting.removeFirst()
      lost.append(oldest)
      giveBack(oldest, notBefore: nil)
    } while outstandingEvents >= limits.windowEvents || outstandingBytes >= limits.windowBytes
    probeAttempt += 1
    probes += 1
    armProbe(now: now)
  }

  private mutating func armProbe(now: Instant) {
    guard streams.values.contains(where: { !$0.awaiting.isEmpty }) || !inFlight.isEmpty else {
      probeAt = nil
      return
    }
    let delay = Duration.seconds(30) * (1 << min(probeAttempt, 5))
    probeAt = now.advanced(by: min(delay, .seconds(600)))
  }

  /// Everything acknowledged and unconfirmed may be gone.
  private mutating func suspectAll() { suspect { _ in true } }

  private mutating func suspect(_ isSuspect: (Publication) -> Bool) {
    for index in streams.keys {
      let lost = streams[index]!.awaiting.filter(isSuspect)
      streams[index]!.awaiting.removeAll(where: isSuspect)
      for publication in lost { giveBack(publication, notBefore: nil) }
    }
  }

  /// - Parameter notBefore: before this the stream is not read again; nil leaves that as it is.
  private mutating func giveBack(_ publication: Publication, notBefore: Instant?) {
    outstandingEvents -= publication.events
    outstandingBytes -= publication.bytes
    var stream = streams[publication.stream]!
    stream.outstanding.remove(publication.interval)
    var missing = IntervalSet(CollectionOfOne(publication.interval))
    missing.subtract(stream.confirmed)
    stream.again.formUnion(missing)
    if let notBefore { stream.againAt = notBefore }
    streams[publication.stream] = stream
  }

  private mutating func release(_ publication: Publication, now: Instant) {
    largestConfirmed = max(largestConfirmed, publication.bytes)
    if !publication.isEmpty { confirmedEvents += publication.events }
    outstandingEvents -= publication.events
    outstandingBytes -= publication.bytes
    guard publication.order >= 0 else { return }
    highestConfirmedOrder = max(highestConfirmedOrder, publication.order)
    let trip = publication.publishedAt.duration(to: now)
    roundTrip = roundTrip * 7 / 8 + trip / 8
    pace.confirmed(publication.events, after: trip, now: now)
  }

  private func earlier(_ a: Instant?, _ b: Instant) -> Instant { a.map { min($0, b) } ?? b }
}

/// What the edge's store is to write down: what the broker has acknowledged and what the cloud has confirmed, per stream.
package struct Settlement: Equatable, Sendable {
  package var synced: [Int: IntervalSet] = [:]
  package var confirmed: [Int: IntervalSet] = [:]
  /// Of streams in `confirmed`: up to where everything is.
  package var fronts: [Int: Int64] = [:]

  package init() {}
  package var isEmpty: Bool { synced.values.allSatisfy(\.isEmpty) && confirmed.values.allSatisfy(\.isEmpty) }
}

/// What to read from the outbox.
package enum ReadRequest: Equatable, Sendable {
  /// Entries of all streams in an interval, in commit order, that are not marked `synced`.
  case fresh(after: Int64, through: Int64, limit: Int)
  /// What is left of one stream in an interval, `synced` or not.
  case again(stream: Int, interval: Interval, limit: Int)
}
