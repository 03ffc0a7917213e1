// The relay's rules, one by one. Time is a number that the test moves.

import DroverCore
import Testing

@Suite struct RelayTests {
  typealias Instant = ContinuousClock.Instant

  /// A relay with one or two streams, and short words for what happens to it.
  private struct Bench {
    var relay: Relay
    var now: Instant
    private var live: Int64 = 0
    private var tokens: Int32 = 0

    init(
      _ limits: Relay.Limits = .init(), acknowledged: [Int: IntervalSet] = [:], hasBackfill: Bool = false,
      isConnected: Bool = true
    ) {
      now = ContinuousClock().now
      relay = Relay(limits: limits, seed: 1, acknowledged: acknowledged, hasBackfill: hasBackfill, now: now)
      if isConnected { relay.connected(sessionPresent: true, patience: .zero, now: now) }
    }

    mutating func next() -> Relay.Step { relay.next(now: now) }
    mutating func pass(_ duration: Duration) { now = now.advanced(by: duration) }

    /// Everything up to here was read, and what was there is published by the test.
    mutating func scanned(through: Int64) {
      relay.didRead(.fresh(after: live, through: .max, limit: 1000), scannedThrough: through, lastSeq: through)
      live = through
    }

    mutating func publish(
      _ stream: Int = 1, _ after: Int64, _ through: Int64, events: Int? = nil, bytes: Int = 100, onlySeq: Int64? = nil
    )
      -> PublishToken
    {
      tokens += 1
      let token = PublishToken(rawValue: tokens)
      relay.published(
        token, stream: stream, interval: Interval(after: after, through: through),
        events: events ?? Int(through - after),
        bytes: bytes, onlySeq: onlySeq, now: now)
      return token
    }

    mutating func puback(_ token: PublishToken, _ reason: AcknowledgementReason = .success) {
      relay.acknowledged(token, reason: reason, now: now)
    }

    /// - Parameter isKept: the broker kept it; a consumer that is new to the relay says it live.
    mutating func confirm(
      _ stream: Int = 1, _ intervals: (Int64, Int64)..., session: String = "s", isKept: Bool = true,
      isAnswer: Bool = false
    ) {
      relay.confirmed(
        [stream: IntervalSet(intervals.map { Interval(after: $0.0, through: $0.1) })], session: session,
        isKept: isKept, isAnswer: isAnswer, now: now)
    }
  }

  private func set(_ intervals: (Int64, Int64)...) -> IntervalSet {
    IntervalSet(intervals.map { Interval(after: $0.0, through: $0.1) })
  }

  private func again(_ stream: Int = 1, _ after: Int64, _ through: Int64, limit: Int = 1000) -> Relay.Step {
    .read(.again(stream: stream, interval: Interval(after: after, through: through), limit: limit))
  }

  // MARK: PUBACK

  @Test func `a PUBACK sets synced, and only a confirmation lets the edge forget`() {
    var bench = Bench()
    bench.scanned(through: 3)
    let token = bench.publish(1, 0, 3)
    #expect(!bench.relay.hasSettlement && !bench.relay.isQuiet)
    bench.puback(token)
    #expect(bench.relay.isQuiet)
    var settlement = bench.relay.takeSettlement()
    #expect(settlement.synced == [1: set((0, 3))])
    #expect(settlement.confirmed.isEmpty)
    #expect(!bench.relay.hasSettlement)
    bench.confirm(1, (0, 3))
    settlement = bench.relay.takeSettlement()
    #expect(settlement.confirmed == [1: set((0, 3))])
    #expect(settlement.synced.values.allSatisfy { $0.isEmpty })
    #expect(bench.relay.outstandingEvents == 0 && bench.relay.outstandingBytes == 0)
  }

  @Test(arguments: [
    AcknowledgementReason.noMatchingSubscribers, .notAuthorised, .quotaExceeded, .other(0x80),
  ])
  func `a refusing PUBACK never counts as synced, and the frame is tried again after a delay`(
    reason: AcknowledgementReason
  ) throws {
    var bench = Bench()
    bench.scanned(through: 3)
    let token = bench.publish(1, 0, 3)
    let answered = bench.relay.acknowledged(token, reason: reason, now: bench.now)
    #expect(answered?.stream == 1 && answered?.interval == Interval(after: 0, through: 3) && answered?.events == 3)
    #expect(!bench.relay.hasSettlement)
    #expect(bench.relay.outstandingEvents == 0 && bench.relay.outstandingBytes == 0)
    #expect(bench.relay.isHeld(stream: 1, now: bench.now))
    guard case .wait(let delay?) = bench.next() else {
      Issue.record("nothing is to be read during the delay, and the delay is known")
      return
    }
    #expect(delay >= Backoff().base / 2 && delay <= Backoff().base)
    bench.pass(delay)
    #expect(!bench.relay.isHeld(stream: 1, now: bench.now))
    #expect(bench.next() == again(1, 0, 3))
  }

  // It comes again in parts, or without the event that is too large: there is nothing to wait for.
  @Test func `what was too large never counts as synced, and is read again at once`() {
    var bench = Bench()
    bench.scanned(through: 4)
    let whole = bench.publish(1, 0, 3)
    let alone = bench.publish(1, 3, 4, onlySeq: 4)
    #expect(
      bench.relay.acknowledged(whole, reason: .packetTooLarge, now: bench.now)?.interval
        == Interval(after: 0, through: 3))
    #expect(bench.relay.acknowledged(alone, reason: .packetTooLarge, now: bench.now)?.onlySeq == 4)
    #expect(!bench.relay.hasSettlement)
    #expect(!bench.relay.isHeld(stream: 1, now: bench.now))
    #expect(bench.next() == again(1, 0, 4))
  }

  @Test func `an empty frame cannot be divided, so it is tried again after a delay`() {
    var bench = Bench()
    bench.scanned(through: 3)
    bench.puback(bench.publish(1, 0, 3, events: 0), .packetTooLarge)
    #expect(!bench.relay.hasSettlement)
    #expect(bench.relay.isHeld(stream: 1, now: bench.now))
  }

  @Test func `refused again and again, a frame waits longer, and success starts from the beginning`() {
    var bench = Bench()
    bench.scanned(through: 1)
    func delay() -> Duration {
      guard case .wait(let delay?) = bench.next() else { return .zero }
      bench.pass(delay)
      return delay
    }
    var delays: [Duration] = []
    for _ in 0..<10 {
      bench.puback(bench.publish(1, 0, 1), .noMatchingSubscribers)
      delays.append(delay())
      #expect(bench.next() == again(1, 0, 1))
    }
    #expect(delays[9] >= Backoff().cap / 2 && delays[4] > delays[0])
    bench.puback(bench.publish(1, 0, 1))
    bench.scanned(through: 2)
    bench.puback(bench.publish(1, 1, 2), .noMatchingSubscribers)
    #expect(delay() <= Backoff().base)
  }

  // A consumer came after the agent, and what waited was sent at the next backoff: 17 seconds later.
  @Test func `what nobody subscribed to is sent when the consumer is heard, and not more than once a second`() {
    var bench = Bench()
    bench.scanned(through: 3)
    for _ in 0..<8 {
      bench.puback(bench.publish(1, 0, 3), .noMatchingSubscribers)
      guard case .wait(let delay?) = bench.next() else {
        Issue.record("the stream is held")
        return
      }
      bench.pass(delay)
      #expect(bench.next() == again(1, 0, 3))
    }
    bench.puback(bench.publish(1, 0, 3), .noMatchingSubscribers)
    bench.pass(.seconds(2))
    #expect(bench.relay.isHeld(stream: 1, now: bench.now))
    bench.relay.heardConsumer(now: bench.now)
    #expect(bench.next() == again(1, 0, 3))
    bench.puback(bench.publish(1, 0, 3), .noMatchingSubscribers)
    bench.relay.heardConsumer(now: bench.now)
    #expect(bench.relay.isHeld(stream: 1, now: bench.now))
    bench.pass(.seconds(1))
    #expect(bench.next() == again(1, 0, 3))
  }

  @Test(arguments: [AcknowledgementReason.notAuthorised, .quotaExceeded, .other(0x80)])
  func `a consumer that is heard does not end the delay of what was refused otherwise`(reason: AcknowledgementReason) {
    var bench = Bench()
    bench.scanned(through: 1)
    for _ in 0..<8 {
      bench.puback(bench.publish(1, 0, 1), reason)
      if case .wait(let delay?) = bench.next() { bench.pass(delay) }
    }
    bench.puback(bench.publish(1, 0, 1), reason)
    bench.pass(.seconds(1))
    bench.relay.heardConsumer(now: bench.now)
    #expect(bench.relay.isHeld(stream: 1, now: bench.now))
  }

  // With MQTT 3.1.1 the broker had acknowledged what nobody heard, and the relay asked for it after half a minute.
  @Test
  func
    `a consumer that speaks for the first time has lost what was acknowledged before, unless the broker kept its word`()
  {
    for isKept in [false, true] {
      var bench = Bench()
      bench.scanned(through: 3)
      bench.puback(bench.publish(1, 0, 3))
      bench.confirm(2, isKept: isKept)
      #expect((bench.next() == again(1, 0, 3)) == !isKept)
    }
  }

  @Test func `the first answer shows what became of what an earlier run had sent, and no later one does`() {
    var bench = Bench(acknowledged: [1: set((0, 3)), 2: set((3, 5))])
    bench.scanned(through: 5)
    bench.confirm(2, (3, 5))
    #expect(bench.next() != again(1, 0, 3))
    bench.confirm(2, (3, 5), isKept: false, isAnswer: true)
    #expect(bench.next() == again(1, 0, 3))
    bench.puback(bench.publish(1, 0, 3))
    bench.confirm(2, (3, 5), isKept: false, isAnswer: true)
    #expect(bench.next() != again(1, 0, 3))
  }

  @Test func `it is idle when all that it has seen is confirmed, and only then`() {
    var bench = Bench()
    #expect(!bench.relay.isIdle)
    bench.scanned(through: 3)
    #expect(bench.relay.isIdle)
    let token = bench.publish(1, 0, 3)
    #expect(!bench.relay.isIdle)
    bench.puback(token)
    #expect(!bench.relay.isIdle)
    bench.confirm(1, (0, 3))
    #expect(bench.relay.isIdle && bench.relay.confirmedEvents == 3 && bench.relay.sentEvents == 3)
    bench.relay.news()
    #expect(!bench.relay.isIdle)
    bench.scanned(through: 4)
    bench.relay.held(stream: 1, interval: Interval(after: 3, through: 4), until: bench.now.advanced(by: .seconds(9)))
    #expect(!bench.relay.isIdle)
  }

  // A window of frames is refused in one breath when the consumer's subscription is away for a moment. Every one of them counted as
  // an attempt of its own, so that the first retry came half a minute later instead of after a quarter of a second.
  @Test func `a whole window refused at once is one attempt`() {
    var bench = Bench()
    bench.scanned(through: 100)
    let tokens = (0..<100).map { bench.publish(1, $0, $0 + 1) }
    for token in tokens { bench.puback(token, .noMatchingSubscribers) }
    guard case .wait(let delay?) = bench.next() else {
      Issue.record("the stream is held")
      return
    }
    #expect(delay <= Backoff().base)
    bench.pass(delay)
    #expect(bench.next() == again(1, 0, 100))
  }

  // What was given back for another reason took the delay of a refused stream away.
  @Test func `a frame that is lost does not end the delay of one that was refused`() {
    var bench = Bench()
    bench.scanned(through: 2)
    bench.puback(bench.publish(1, 0, 1))
    bench.puback(bench.publish(1, 1, 2), .quotaExceeded)
    bench.confirm(2, (0, 1), session: "a")
    bench.confirm(2, (0, 2), session: "b")
    #expect(bench.relay.isHeld(stream: 1, now: bench.now))
  }

  @Test func `a second PUBACK for the same frame is ignored`() {
    var bench = Bench()
    bench.scanned(through: 3)
    let token = bench.publish(1, 0, 3)
    bench.puback(token)
    _ = bench.relay.takeSettlement()
    #expect(bench.relay.acknowledged(token, reason: .success, now: bench.now) == nil)
    #expect(bench.relay.acknowledged(token, reason: .notAuthorised, now: bench.now) == nil)
    #expect(!bench.relay.hasSettlement && bench.relay.outstandingEvents == 3)
    #expect(bench.relay.acknowledged(PublishToken(rawValue: 99), reason: .success, now: bench.now) == nil)
  }

  // MARK: Confirmation

  @Test func `a confirmation that overtakes the PUBACK settles the frame, and the PUBACK then means nothing`() {
    var bench = Bench()
    bench.scanned(through: 3)
    let token = bench.publish(1, 0, 3)
    bench.confirm(1, (0, 3))
    #expect(bench.relay.isQuiet && bench.relay.outstandingEvents == 0 && bench.relay.outstandingBytes == 0)
    #expect(bench.relay.acknowledged(token, reason: .notAuthorised, now: bench.now) == nil)
    #expect(bench.relay.takeSettlement().confirmed == [1: set((0, 3))])
    bench.relay.disconnected()
    bench.relay.connected(sessionPresent: false, patience: .zero, now: bench.now)
    bench.scanned(through: 3)
    #expect(bench.next() == .wait(nil), "nothing is left to send again")
  }

  // An agent that was killed before it could forget finds confirmed entries in its outbox. They were sent once more; their PUBACK
  // found them confirmed and left them in the window's account for ever. A window full of them stood still until the next start.
  @Test func `a frame that was confirmed before it was sent leaves the window with its PUBACK`() {
    var bench = Bench()
    bench.confirm(1, (0, 3))
    bench.scanned(through: 3)
    bench.puback(bench.publish(1, 0, 3))
    #expect(bench.relay.outstandingEvents == 0 && bench.relay.outstandingBytes == 0 && bench.relay.isQuiet)
  }

  @Test func `what is confirmed and not forgotten yet is known, so that it is not sent again`() {
    var bench = Bench()
    bench.confirm(1, (0, 3), (5, 6))
    #expect([1, 3, 6].allSatisfy { bench.relay.claims(stream: 1).isConfirmed($0) })
    #expect([4, 5, 7].allSatisfy { !bench.relay.claims(stream: 1).isConfirmed($0) })
    #expect(!bench.relay.claims(stream: 2).isConfirmed(1))
  }

  @Test func `the same confirmation twice is written down once`() {
    var bench = Bench()
    bench.scanned(through: 3)
    bench.puback(bench.publish(1, 0, 3))
    bench.confirm(1, (0, 3))
    _ = bench.relay.takeSettlement()
    bench.confirm(1, (0, 3))
    #expect(!bench.relay.hasSettlement)
    bench.confirm(1, (0, 5))
    #expect(bench.relay.takeSettlement().confirmed == [1: set((3, 5))])
  }

  @Test func `a confirmation that is older than the last takes nothing back`() {
    var bench = Bench()
    bench.scanned(through: 6)
    bench.puback(bench.publish(1, 0, 3))
    bench.puback(bench.publish(1, 3, 6))
    bench.confirm(1, (0, 6))
    _ = bench.relay.takeSettlement()
    bench.confirm(1, (0, 3))
    #expect(!bench.relay.hasSettlement)
    bench.pass(.seconds(3600))
    #expect(bench.next() == .wait(nil))
  }

  @Test func `a confirmation of half a frame lets that half go and sends only the other again`() {
    var bench = Bench()
    bench.scanned(through: 6)
    let token = bench.publish(1, 0, 6)
    bench.confirm(1, (0, 2))
    bench.puback(token, .quotaExceeded)
    bench.pass(.seconds(1))
    #expect(bench.next() == again(1, 2, 6))
  }

  @Test func `another cloud session makes everything unconfirmed suspect`() {
    var bench = Bench()
    bench.scanned(through: 4)
    bench.puback(bench.publish(1, 0, 2))
    bench.puback(bench.publish(1, 2, 4))
    bench.confirm(1, (0, 2), session: "first")
    #expect(bench.next() == .wait(.seconds(30)))
    bench.confirm(1, (0, 2), session: "second")
    #expect(bench.next() == again(1, 2, 4))
    #expect(bench.relay.outstandingEvents == 0)
  }

  @Test func `the first cloud session that is heard makes nothing suspect`() {
    var bench = Bench(acknowledged: [1: set((0, 2))])
    bench.confirm(2, (0, 9), session: "first")
    bench.scanned(through: 2)
    #expect(bench.next() == .wait(.seconds(30)))
  }

  // MARK: Connection

  @Test func `nothing is done without a connection`() {
    var bench = Bench(hasBackfill: true, isConnected: false)
    #expect(bench.next() == .wait(nil))
  }

  @Test func `reading begins with the retained confirmation, or when patience ends`() {
    var bench = Bench(isConnected: false)
    bench.relay.connected(sessionPresent: true, patience: .milliseconds(500), now: bench.now)
    #expect(bench.next() == .wait(.milliseconds(500)))
    var other = bench
    other.confirm()
    #expect(other.next() == .read(.fresh(after: 0, through: .max, limit: 1000)))
    bench.pass(.milliseconds(500))
    #expect(bench.next() == .read(.fresh(after: 0, through: .max, limit: 1000)))
  }

  @Test func `a disconnect gives back what has no PUBACK, and only that`() {
    var bench = Bench()
    bench.scanned(through: 4)
    bench.puback(bench.publish(1, 0, 2))
    _ = bench.publish(1, 2, 4)
    bench.relay.disconnected()
    #expect(bench.relay.isQuiet && bench.relay.outstandingEvents == 2 && bench.relay.outstandingBytes == 100)
    #expect(bench.next() == .wait(nil))
    bench.relay.connected(sessionPresent: true, patience: .zero, now: bench.now)
    #expect(bench.next() == again(1, 2, 4))
  }

  @Test func `a broker that forgot the session may have lost what it acknowledged`() {
    var bench = Bench()
    bench.scanned(through: 2)
    bench.puback(bench.publish(1, 0, 2))
    bench.relay.disconnected()
    bench.relay.connected(sessionPresent: false, patience: .zero, now: bench.now)
    #expect(bench.next() == again(1, 0, 2))
  }

  @Test func `a new connection does not wait for the delays of the old one`() {
    var bench = Bench()
    bench.scanned(through: 1)
    bench.puback(bench.publish(1, 0, 1), .notAuthorised)
    bench.relay.disconnected()
    bench.relay.connected(sessionPresent: true, patience: .zero, now: bench.now)
    #expect(bench.next() == again(1, 0, 1))
  }

  // MARK: An earlier run

  @Test func `what an earlier run's broker acknowledged is not read again, and no frame covers it`() {
    var bench = Bench(acknowledged: [1: set((2, 4))])
    #expect(bench.relay.outstandingEvents == 2)
    let request = ReadRequest.fresh(after: 0, through: .max, limit: 1000)
    #expect(bench.next() == .read(request))
    bench.scanned(through: 6)
    #expect(!bench.relay.claims(stream: 1).canJoin(previous: 2, next: 5, request: request))
    #expect(bench.relay.coverage(stream: 1, first: 2, last: 2, request: request) == Interval(after: 0, through: 2))
    #expect(bench.relay.coverage(stream: 1, first: 6, last: 6, request: request) == Interval(after: 4, through: 6))
    #expect(bench.relay.coverage(stream: 2, first: 6, last: 6, request: request) == Interval(after: 0, through: 6))
    #expect(bench.next() == .wait(.seconds(30)))
  }

  @Test func `what an earlier run's broker lost is sent again once a later frame is confirmed and the grace is over`() {
    var bench = Bench(acknowledged: [1: set((0, 2))])
    bench.scanned(through: 3)
    bench.puback(bench.publish(1, 2, 3))
    bench.confirm(1, (2, 3))
    #expect(bench.next() == .wait(.seconds(1)))
    bench.pass(.seconds(1))
    #expect(bench.next() == again(1, 0, 2))
    #expect(bench.relay.outstandingEvents == 0)
  }

  @Test func `what an earlier run wrote down as confirmed is neither claimed nor sent again`() {
    let now = ContinuousClock().now
    var relay = Relay(
      limits: .init(), seed: 1, confirmed: [1: set((0, 5))], acknowledged: [:], hasBackfill: false, now: now)
    #expect(relay.claims(stream: 1).isConfirmed(5) && !relay.claims(stream: 1).isConfirmed(6))
    relay.connected(sessionPresent: true, patience: .zero, now: now)
    let request = ReadRequest.fresh(after: 0, through: .max, limit: 1000)
    relay.didRead(request, scannedThrough: 9, lastSeq: 9)
    #expect(relay.coverage(stream: 1, first: 8, last: 8, request: request) == Interval(after: 5, through: 8))
  }

  @Test func `a cloud that holds less than it confirmed went back, and one that holds more did not`() {
    var relay = Relay(
      limits: .init(), seed: 1, confirmed: [1: set((0, 5))], acknowledged: [:], hasBackfill: false,
      now: ContinuousClock().now)
    relay.asked(7)
    #expect(relay.cloudWentBack([:], answering: 7))
    #expect(relay.cloudWentBack([1: set((0, 4))], answering: 7))
    #expect(relay.cloudWentBack([1: set((1, 9))], answering: 7))
    #expect(!relay.cloudWentBack([1: set((0, 5))], answering: 7))
    #expect(!relay.cloudWentBack([1: set((0, 9)), 2: set((3, 4))], answering: 7))
    #expect(!relay.cloudWentBack([:], answering: 8), "what answers no question proves nothing")
  }

  // Of two consumers one read before the other committed, and was heard after it.
  @Test func `an answer that lacks what was confirmed after the question is no cloud that went back`() {
    let now = ContinuousClock().now
    var relay = Relay(limits: .init(), seed: 1, acknowledged: [:], hasBackfill: false, now: now)
    relay.confirmed([1: set((0, 5))], session: "s", now: now)
    relay.asked(1)
    relay.confirmed([1: set((0, 9))], session: "s", now: now)
    #expect(!relay.cloudWentBack([1: set((0, 7))], answering: 1) && relay.isBehind([1: set((0, 7))]))
    #expect(relay.cloudWentBack([1: set((0, 4))], answering: 1))
    relay.confirmed([1: set((0, 7))], session: "s", now: now)
    #expect(relay.claims(stream: 1).isConfirmed(9))
    relay.asked(2)
    #expect(relay.cloudWentBack([1: set((0, 7))], answering: 2))
  }

  // Where an answer takes longer than the pause between two questions, it is never the newest one's.
  @Test func `an answer to an earlier question proves what that one could`() {
    let now = ContinuousClock().now
    var relay = Relay(limits: .init(), seed: 1, acknowledged: [:], hasBackfill: false, now: now)
    relay.confirmed([1: set((0, 5))], session: "s", now: now)
    relay.asked(1)
    relay.confirmed([1: set((0, 9))], session: "s", now: now)
    relay.asked(2)
    #expect(relay.cloudWentBack([1: set((0, 4))], answering: 1))
    #expect(!relay.cloudWentBack([1: set((0, 7))], answering: 1))
    #expect(relay.cloudWentBack([1: set((0, 7))], answering: 2))
    for question in 3...100 as ClosedRange<Int64> { relay.asked(question) }
    #expect(!relay.cloudWentBack([:], answering: 1), "not every question is kept")
    #expect(relay.cloudWentBack([:], answering: 50))
  }

  // Only the front was written down. What was confirmed beyond a gap had left the outbox, and after a start of the agent nobody noticed
  // that the cloud was put back to before it had it.
  @Test
  func `what an earlier run wrote down beyond a gap is missed where the cloud has lost it, and the gap is closed`() {
    let now = ContinuousClock().now
    var relay = Relay(
      limits: .init(), seed: 1, confirmed: [1: set((0, 5), (7, 9))], acknowledged: [:], hasBackfill: false, now: now)
    #expect(relay.isBehind([1: set((0, 7))]))
    #expect(!relay.isBehind([1: set((0, 5), (7, 9))]))
    relay.connected(sessionPresent: true, patience: .zero, now: now)
    relay.didRead(.fresh(after: 0, through: .max, limit: 1000), scannedThrough: 9, lastSeq: 9)
    #expect(relay.next(now: now) == again(1, 5, 7))
  }

  @Test func `the front that is written down is what is confirmed without a hole`() {
    var bench = Bench()
    bench.scanned(through: 9)
    bench.confirm(1, (0, 2), (4, 6))
    let failed = bench.relay.takeSettlement()
    #expect(failed.fronts == [1: 2])
    bench.confirm(1, (0, 6))
    bench.relay.settlementFailed(failed)
    #expect(bench.relay.takeSettlement().fronts == [1: 6])
  }

  // MARK: Loss

  @Test func `a frame that was acknowledged before a confirmed one is lost after the grace, across streams`() {
    var bench = Bench()
    bench.scanned(through: 3)
    bench.puback(bench.publish(1, 0, 1))
    bench.puback(bench.publish(2, 0, 2))
    bench.puback(bench.publish(1, 1, 3))
    bench.confirm(2, (0, 2))
    #expect(bench.next() == .wait(.seconds(1)))
    bench.pass(.milliseconds(999))
    #expect(bench.next() == .wait(.milliseconds(1)))
    bench.pass(.milliseconds(1))
    #expect(bench.next() == again(1, 0, 1))
    #expect(bench.relay.outstandingEvents == 2, "the frame behind the confirmed one may still come")
  }

  // At the cloud's bound for dead letters a frame was sent again every second, as long as other streams went on.
  @Test
  func
    `a hole that stays open is sent again ever more rarely, and at once again when something of its stream is confirmed`()
  {
    var bench = Bench()
    bench.scanned(through: 100_000)
    var seq: Int64 = 0
    func goOn() {
      seq += 1
      bench.puback(bench.publish(2, seq - 1, seq))
      bench.confirm(2, (0, seq))
    }
    /// Publishes the first frame of stream 1, while stream 2 goes on. Returns after how many seconds it is lost.
    func secondsUntilLost() -> Int {
      bench.puback(bench.publish(1, 0, 1))
      goOn()
      var seconds = 0
      while bench.next() != again(1, 0, 1), seconds < 1000 {
        bench.pass(.seconds(1))
        seconds += 1
        goOn()
      }
      return seconds
    }
    #expect((0..<9).map { _ in secondsUntilLost() } == [1, 2, 4, 8, 16, 32, 60, 60, 60])
    bench.puback(bench.publish(1, 1, 2))
    bench.confirm(1, (1, 2))
    #expect((0..<2).map { _ in secondsUntilLost() } == [1, 2])
  }

  @Test func `the grace is several round trips where they are long`() {
    var bench = Bench()
    bench.scanned(through: 2)
    bench.puback(bench.publish(1, 0, 1))
    bench.puback(bench.publish(1, 1, 2))
    bench.pass(.seconds(25))
    bench.confirm(1, (1, 2))
    #expect(bench.relay.smoothedRoundTrip > .seconds(3))
    #expect(bench.next() == again(1, 0, 1), "25 seconds are more than four of these round trips")
    var slow = Bench()
    slow.scanned(through: 100)
    for seq in Int64(0)..<50 {
      slow.puback(slow.publish(1, seq, seq + 1))
      slow.pass(.seconds(20))
      slow.confirm(1, (0, seq + 1))
    }
    slow.puback(slow.publish(1, 50, 51))
    slow.puback(slow.publish(1, 51, 52))
    slow.confirm(1, (0, 50), (51, 52))
    slow.pass(.seconds(20))
    #expect(slow.next() != again(1, 50, 51))
    slow.pass(.seconds(60))
    #expect(slow.next() == again(1, 50, 51))
  }

  @Test func `silence sends the oldest frame again, ever more rarely`() {
    var bench = Bench()
    bench.scanned(through: 2)
    bench.puback(bench.publish(1, 0, 1))
    bench.pass(.seconds(1))
    bench.puback(bench.publish(1, 1, 2))
    var waited: [Duration] = []
    for turn in 0..<8 {
      guard case .wait(let delay?) = bench.next() else {
        Issue.record("turn \(turn) is a probe's delay")
        return
      }
      waited.append(delay)
      bench.pass(delay)
      guard case .read(.again(1, let interval, _)) = bench.next() else {
        Issue.record("turn \(turn) sends something again")
        return
      }
      #expect(interval == Interval(after: Int64(turn % 2), through: Int64(turn % 2) + 1))
      bench.puback(bench.publish(1, interval.after, interval.through))
    }
    #expect(waited == [29, 60, 120, 240, 480, 600, 600, 600].map(Duration.seconds))
  }

  // An operator who lowers the window below what is on its way, because the broker dropped it, had an agent that stood still: each
  // probe gave one frame back, and the window stayed too full to read it.
  @Test func `a probe makes room where the window is smaller than what an earlier run left`() {
    var limits = Relay.Limits()
    limits.windowEvents = 10
    var bench = Bench(
      limits, acknowledged: [1: IntervalSet((0..<50).map { Interval(after: $0 * 2, through: $0 * 2 + 1) })])
    #expect(bench.relay.outstandingEvents == 50)
    #expect(bench.next() == .wait(.seconds(30)))
    bench.pass(.seconds(30))
    #expect(bench.next() == again(1, 0, 1, limit: 1))
  }

  // The live lane had jumped over a backlog, and its frames were confirmed. When the backlog was read at last, nothing of one stream was
  // left in it; no frame covered those numbers, and holes were looked for only when something was confirmed. So the stream's front stood
  // still until its next event: what was confirmed beyond it counted as waiting, and was sent again after a restart.
  @Test func `a hole that shows only when the backlog is read is closed without waiting for a confirmation`() {
    var limits = Relay.Limits()
    limits.liveLag = 10
    var bench = Bench(limits)
    bench.relay.didRead(.fresh(after: 0, through: .max, limit: 5), scannedThrough: 5, lastSeq: 100)
    bench.puback(bench.publish(1, 0, 5))
    bench.relay.didRead(.fresh(after: 100, through: .max, limit: 5), scannedThrough: 102, lastSeq: 102)
    bench.puback(bench.publish(1, 100, 102))
    bench.confirm(1, (0, 5), (100, 102))
    #expect(bench.next() == .read(.fresh(after: 5, through: 100, limit: 1000)))
    bench.relay.didRead(.fresh(after: 5, through: 100, limit: 1000), scannedThrough: 100, lastSeq: 102)
    #expect(bench.next() == again(1, 5, 100))
  }

  @Test func `a hole below something confirmed is read again, once`() {
    var bench = Bench()
    bench.scanned(through: 9)
    bench.confirm(1, (0, 2), (5, 9))
    #expect(bench.next() == again(1, 2, 5))
    let token = bench.publish(1, 2, 5, events: 0)
    #expect(bench.relay.outstandingEvents == 1, "an empty frame has its place in the window too")
    guard case .wait = bench.next() else {
      Issue.record("the hole is on its way")
      return
    }
    bench.puback(token)
    bench.confirm(1, (0, 9))
    #expect(bench.relay.outstandingEvents == 0)
    #expect(bench.next() == .wait(nil))
  }

  @Test func `a hole that is on its way or not read yet is no hole`() {
    var bench = Bench(acknowledged: [1: set((2, 4))])
    bench.confirm(1, (0, 2), (8, 9))
    #expect(bench.next() == .read(.fresh(after: 0, through: .max, limit: 1000)), "all of it is unread")
    bench.scanned(through: 9)
    bench.confirm(1, (0, 2), (8, 10))
    #expect(bench.next() == again(1, 4, 8), "(2,4] is on its way from an earlier run")
  }

  // MARK: What a frame may claim

  @Test func `a frame covers what is vacant below it, down to what somebody else answers for`() {
    var bench = Bench()
    let request = ReadRequest.fresh(after: 0, through: .max, limit: 1000)
    bench.scanned(through: 20)
    #expect(bench.relay.coverage(stream: 1, first: 7, last: 9, request: request) == Interval(after: 0, through: 9))
    _ = bench.publish(1, 0, 9)
    #expect(bench.relay.coverage(stream: 1, first: 12, last: 12, request: request) == Interval(after: 9, through: 12))
    bench.relay.held(stream: 1, interval: Interval(after: 9, through: 10))
    #expect(bench.relay.coverage(stream: 1, first: 12, last: 12, request: request) == Interval(after: 10, through: 12))
    bench.confirm(1, (10, 11))
    #expect(bench.relay.coverage(stream: 1, first: 12, last: 12, request: request) == Interval(after: 11, through: 12))
  }

  @Test func `a frame of the live lane does not cover the backlog below it`() {
    var bench = Bench()
    bench.relay.didRead(.fresh(after: 0, through: .max, limit: 1000), scannedThrough: 1000, lastSeq: 1_000_000)
    bench.relay.news()
    let live = ReadRequest.fresh(after: 1_000_000, through: .max, limit: 1000)
    #expect(bench.next() == .read(live))
    bench.relay.didRead(live, scannedThrough: 1_000_002, lastSeq: 1_000_002)
    #expect(
      bench.relay.coverage(stream: 1, first: 1_000_001, last: 1_000_002, request: live)
        == Interval(after: 1_000_000, through: 1_000_002))
    #expect(
      bench.relay.coverage(stream: 1, first: 1_000_002, last: 1_000_002, request: live)
        == Interval(after: 1_000_000, through: 1_000_002))
  }

  @Test func `events join one frame unless somebody else answers for a number between them`() {
    var bench = Bench()
    let request = ReadRequest.fresh(after: 0, through: .max, limit: 1000)
    bench.scanned(through: 20)
    #expect(bench.relay.claims(stream: 1).canJoin(previous: 3, next: 8, request: request))
    _ = bench.publish(1, 4, 5)
    #expect(!bench.relay.claims(stream: 1).canJoin(previous: 3, next: 8, request: request))
    #expect(bench.relay.claims(stream: 1).canJoin(previous: 5, next: 8, request: request))
    #expect(bench.relay.claims(stream: 2).canJoin(previous: 3, next: 8, request: request))
    bench.confirm(1, (6, 7))
    #expect(!bench.relay.claims(stream: 1).canJoin(previous: 5, next: 8, request: request))
    bench.relay.held(stream: 1, interval: Interval(after: 8, through: 9))
    #expect(!bench.relay.claims(stream: 1).canJoin(previous: 8, next: 10, request: request))
  }

  // The numbers between two events of a frame that is sent again are `again` themselves. They counted as somebody else's, and so, with
  // other streams' events between them, every event went out in a frame of its own.
  @Test func `what is sent again joins one frame as it did the first time`() {
    var bench = Bench()
    bench.scanned(through: 9)
    bench.puback(bench.publish(1, 0, 9), .quotaExceeded)
    bench.pass(.seconds(1))
    guard case .read(let request) = bench.next() else {
      Issue.record("the frame is read again")
      return
    }
    #expect(request == .again(stream: 1, interval: Interval(after: 0, through: 9), limit: 1000))
    #expect(bench.relay.claims(stream: 1).canJoin(previous: 1, next: 5, request: request))
    #expect(bench.relay.coverage(stream: 1, first: 1, last: 5, request: request) == Interval(after: 0, through: 5))
    _ = bench.publish(1, 0, 5)
    #expect(bench.relay.coverage(stream: 1, first: 8, last: 9, request: request) == Interval(after: 5, through: 9))
    #expect(bench.next() == again(1, 5, 9))
  }

  // MARK: Lanes and holds

  @Test func `the live lane jumps over a backlog, and the backlog follows in its order`() {
    var limits = Relay.Limits()
    limits.liveLag = 5000
    var bench = Bench(limits)
    let first = ReadRequest.fresh(after: 0, through: .max, limit: 1000)
    #expect(bench.next() == .read(first))
    bench.relay.didRead(first, scannedThrough: 1000, lastSeq: 10_000)
    let backlog = ReadRequest.fresh(after: 1000, through: 10_000, limit: 1000)
    #expect(bench.next() == .read(backlog))
    bench.relay.didRead(backlog, scannedThrough: 2000, lastSeq: 10_000)
    bench.relay.news()
    let live = ReadRequest.fresh(after: 10_000, through: .max, limit: 1000)
    #expect(bench.next() == .read(live), "what happens now goes first")
    bench.relay.didRead(live, scannedThrough: 10_001, lastSeq: 10_001)
    #expect(bench.next() == .read(.fresh(after: 2000, through: 10_000, limit: 1000)))
  }

  @Test func `a small lag is no backlog`() {
    var bench = Bench()
    bench.relay.didRead(.fresh(after: 0, through: .max, limit: 1000), scannedThrough: 1000, lastSeq: 6000)
    #expect(bench.next() == .read(.fresh(after: 1000, through: .max, limit: 1000)))
    bench.relay.didRead(.fresh(after: 1000, through: .max, limit: 1000), scannedThrough: 6000, lastSeq: 6000)
    #expect(bench.next() == .wait(nil))
    bench.relay.news()
    #expect(bench.next() == .read(.fresh(after: 6000, through: .max, limit: 1000)))
  }

  @Test func `a held stream does not keep others from being sent`() {
    var bench = Bench()
    bench.scanned(through: 4)
    bench.relay.held(stream: 1, interval: Interval(after: 0, through: 2), until: bench.now.advanced(by: .seconds(5)))
    bench.relay.held(stream: 2, interval: Interval(after: 0, through: 4))
    #expect(bench.relay.isHeld(stream: 1, now: bench.now) && !bench.relay.isHeld(stream: 2, now: bench.now))
    #expect(bench.next() == again(2, 0, 4))
    _ = bench.publish(2, 0, 4)
    bench.relay.news()
    #expect(bench.next() == .read(.fresh(after: 4, through: .max, limit: 1000)))
    bench.relay.didRead(.fresh(after: 4, through: .max, limit: 1000), scannedThrough: 4, lastSeq: 4)
    #expect(bench.next() == .wait(.seconds(5)))
    bench.pass(.seconds(5))
    #expect(bench.next() == again(1, 0, 2))
  }

  // The order of a Dictionary changes from process to process: a seed that had found a bug could not find it again.
  @Test func `a stream that the cloud cannot take gives the window free, and comes again later`() {
    var limits = Relay.Limits()
    limits.windowEvents = 10
    var bench = Bench(limits)
    bench.scanned(through: 20)
    bench.puback(bench.publish(1, 0, 10))
    guard case .wait = bench.next() else {
      Issue.record("the window is full")
      return
    }
    bench.relay.hold(stream: 1, until: bench.now.advanced(by: .seconds(10)))
    #expect(bench.relay.outstandingEvents == 0)
    bench.relay.held(stream: 2, interval: Interval(after: 10, through: 20))
    #expect(bench.next() == again(2, 10, 20, limit: 10))
    bench.confirm(2, (10, 20))
    bench.pass(.seconds(9))
    #expect(bench.relay.isHeld(stream: 1, now: bench.now))
    bench.pass(.seconds(1))
    #expect(bench.next() == again(1, 0, 10, limit: 10))
    // It may have been taken meanwhile.
    bench.confirm(1, (0, 10))
    #expect(bench.relay.takeSettlement().confirmed[1] == set((0, 10)))
  }

  // The window was filled every ten seconds by a stream that the cloud could not take, before it said so again.
  @Test func `a stream that the cloud cannot take tries one frame, and goes on when something of it is confirmed`() {
    var bench = Bench()
    bench.scanned(through: 30)
    bench.puback(bench.publish(1, 0, 10))
    bench.puback(bench.publish(1, 10, 20))
    bench.relay.hold(stream: 1, until: bench.now.advanced(by: .seconds(10)))
    for _ in 0..<3 {
      #expect(bench.relay.isHeld(stream: 1, now: bench.now))
      bench.pass(.seconds(10))
      #expect(!bench.relay.isHeld(stream: 1, now: bench.now))
      #expect(bench.next() == again(1, 0, 20))
      bench.puback(bench.publish(1, 0, 10))
      #expect(bench.relay.isHeld(stream: 1, now: bench.now), "one frame is under way, and no other follows")
      bench.relay.hold(stream: 1, until: bench.now.advanced(by: .seconds(10)))
      #expect(bench.relay.outstandingEvents == 0)
    }
    bench.pass(.seconds(10))
    bench.puback(bench.publish(1, 0, 10))
    bench.confirm(1, (0, 10))
    #expect(!bench.relay.isHeld(stream: 1, now: bench.now))
    #expect(bench.next() == again(1, 10, 20))
    bench.puback(bench.publish(1, 10, 15))
    #expect(bench.next() == again(1, 15, 20))
  }

  @Test func `of several streams to be sent again, the first comes first`() {
    var bench = Bench()
    bench.scanned(through: 100)
    for stream in (1...20).reversed() { bench.relay.held(stream: stream, interval: Interval(after: 0, through: 100)) }
    for stream in 1...20 {
      #expect(bench.next() == again(stream, 0, 100))
      bench.relay.held(
        stream: stream, interval: Interval(after: 0, through: 100), until: bench.now.advanced(by: .seconds(60)))
    }
  }

  // MARK: Flow control

  @Test func `the window's events bound what is unconfirmed, and what is read`() {
    var limits = Relay.Limits()
    (limits.windowEvents, limits.readEvents) = (100, 60)
    var bench = Bench(limits)
    #expect(bench.next() == .read(.fresh(after: 0, through: .max, limit: 60)))
    bench.relay.didRead(.fresh(after: 0, through: .max, limit: 60), scannedThrough: 60, lastSeq: 1000)
    let token = bench.publish(1, 0, 60)
    #expect(bench.next() == .read(.fresh(after: 60, through: .max, limit: 40)))
    bench.relay.didRead(.fresh(after: 60, through: .max, limit: 40), scannedThrough: 100, lastSeq: 1000)
    let second = bench.publish(1, 60, 100)
    guard case .wait = bench.next() else {
      Issue.record("the window is full")
      return
    }
    bench.puback(token)
    bench.puback(second)
    #expect(bench.next() == .wait(.seconds(30)), "a PUBACK opens nothing")
    bench.confirm(1, (0, 60))
    #expect(bench.next() == .read(.fresh(after: 100, through: .max, limit: 60)))
  }

  @Test func `the window's bytes bound what is unconfirmed`() {
    var limits = Relay.Limits()
    limits.windowBytes = 1000
    var bench = Bench(limits)
    bench.relay.didRead(.fresh(after: 0, through: .max, limit: 1000), scannedThrough: 2, lastSeq: 1000)
    _ = bench.publish(1, 0, 1, bytes: 999)
    #expect(bench.next() == .read(.fresh(after: 2, through: .max, limit: 1000)))
    _ = bench.publish(1, 1, 2, bytes: 1)
    guard case .wait = bench.next() else {
      Issue.record("the window is full")
      return
    }
    bench.confirm(1, (0, 1))
    #expect(bench.relay.outstandingBytes == 1)
    #expect(bench.next() == .read(.fresh(after: 2, through: .max, limit: 1000)))
  }

  /// 10,000 rows of 100 kB cost the agent 100 MB: the window bounds what is unconfirmed, and all of it waited in the connection at once.
  @Test func `what waits for its PUBACK is bounded by bytes, whatever the window allows`() {
    var limits = Relay.Limits()
    limits.unacknowledgedBytes = 1000
    var bench = Bench(limits)
    bench.relay.didRead(.fresh(after: 0, through: .max, limit: 1000), scannedThrough: 2, lastSeq: 1000)
    let more = Relay.Step.read(.fresh(after: 2, through: .max, limit: 1000))
    let (first, second) = (bench.publish(1, 0, 1, bytes: 600), bench.publish(1, 1, 2, bytes: 400))
    guard case .wait = bench.next() else {
      Issue.record("the connection has enough")
      return
    }
    bench.puback(first)
    #expect(bench.relay.unacknowledgedBytes == 400)
    #expect(bench.next() == more, "what the broker has is not in memory any more, confirmed or not")
    bench.puback(second, .quotaExceeded)
    #expect(bench.relay.unacknowledgedBytes == 0)
  }

  @Test func `a lost connection and a confirmation that overtakes the PUBACK leave nothing counted as unacknowledged`()
  {
    var bench = Bench()
    bench.scanned(through: 10)
    let token = bench.publish(1, 0, 5)
    bench.confirm(1, (0, 5))
    #expect(bench.relay.unacknowledgedBytes == 0)
    bench.puback(token)
    #expect(bench.relay.unacknowledgedBytes == 0)
    _ = bench.publish(1, 5, 10)
    bench.relay.disconnected()
    #expect(bench.relay.unacknowledgedBytes == 0)
  }

  @Test func `the backlog leaves a tenth of the window to what happens now`() {
    var limits = Relay.Limits()
    (limits.windowEvents, limits.readEvents, limits.liveLag) = (100, 50, 10)
    var bench = Bench(limits)
    bench.relay.didRead(.fresh(after: 0, through: .max, limit: 50), scannedThrough: 90, lastSeq: 1000)
    _ = bench.publish(1, 0, 89)
    #expect(bench.next() == .read(.fresh(after: 90, through: 1000, limit: 11)))
    _ = bench.publish(1, 89, 90)
    guard case .wait = bench.next() else {
      Issue.record("the backlog's share is used up")
      return
    }
    bench.relay.news()
    #expect(bench.next() == .read(.fresh(after: 1000, through: .max, limit: 10)))
  }

  // A tenth of fewer than ten, rounded, was everything: a backlog behind a small window was never sent.
  @Test(arguments: 1...12) func `the smallest window still drains a backlog and fetches old rows`(events: Int) {
    var limits = Relay.Limits()
    (limits.windowEvents, limits.liveLag) = (events, 10)
    var bench = Bench(limits, hasBackfill: true)
    bench.relay.didRead(.fresh(after: 0, through: .max, limit: events), scannedThrough: 1, lastSeq: 1000)
    #expect(bench.next() == .read(.fresh(after: 1, through: 1000, limit: events)))
    bench.relay.didRead(.fresh(after: 1, through: 1000, limit: events), scannedThrough: 1000, lastSeq: 1000)
    #expect(bench.next() == .backfill)
  }

  @Test func `old rows enter the outbox only when there is nothing else to do and half the window is free`() {
    var limits = Relay.Limits()
    limits.windowEvents = 100
    var bench = Bench(limits, hasBackfill: true)
    #expect(bench.next() == .read(.fresh(after: 0, through: .max, limit: 100)))
    bench.scanned(through: 50)
    let token = bench.publish(1, 0, 50)
    guard case .wait = bench.next() else {
      Issue.record("half the window is in use")
      return
    }
    bench.puback(token)
    bench.confirm(1, (0, 50))
    #expect(bench.next() == .backfill)
    bench.relay.didBackfill(hasMore: true)
    #expect(bench.next() == .read(.fresh(after: 50, through: .max, limit: 100)))
    bench.scanned(through: 50)
    #expect(bench.next() == .backfill)
    bench.relay.didBackfill(hasMore: false)
    bench.scanned(through: 50)
    #expect(bench.next() == .wait(nil))
    bench.relay.backfillNeeded()
    #expect(bench.next() == .backfill)
  }

  // MARK: Settling

  @Test func `a settlement that the store could not write is put back whole, with what came since`() {
    var bench = Bench()
    bench.scanned(through: 6)
    bench.puback(bench.publish(1, 0, 2))
    bench.puback(bench.publish(2, 0, 3))
    bench.confirm(1, (0, 1))
    let failed = bench.relay.takeSettlement()
    #expect(!bench.relay.hasSettlement)
    bench.puback(bench.publish(1, 2, 6))
    bench.relay.settlementFailed(failed)
    let settlement = bench.relay.takeSettlement()
    #expect(settlement.synced == [1: set((1, 6)), 2: set((0, 3))])
    #expect(settlement.confirmed == [1: set((0, 1))])
  }

  @Test func `what is confirmed is forgotten, not marked first`() {
    var bench = Bench()
    bench.scanned(through: 3)
    bench.puback(bench.publish(1, 0, 3))
    bench.confirm(1, (0, 2))
    let settlement = bench.relay.takeSettlement()
    #expect(settlement.synced == [1: set((2, 3))] && settlement.confirmed == [1: set((0, 2))])
  }
}
