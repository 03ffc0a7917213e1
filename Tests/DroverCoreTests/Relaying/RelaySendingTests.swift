// What a frame may cover, which stream comes first, and how much is unconfirmed at most.

import DroverCore
import Testing

@Suite struct RelaySendingTests: RelayRules {
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
    var limits = RelayLimits()
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
    var limits = RelayLimits()
    limits.window.events = 10
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
    var limits = RelayLimits()
    (limits.window.events, limits.readEvents) = (100, 60)
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
    var limits = RelayLimits()
    limits.window.bytes = 1000
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
    var limits = RelayLimits()
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
    var limits = RelayLimits()
    (limits.window.events, limits.readEvents, limits.liveLag) = (100, 50, 10)
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
    var limits = RelayLimits()
    (limits.window.events, limits.liveLag) = (events, 10)
    var bench = Bench(limits, hasBackfill: true)
    bench.relay.didRead(.fresh(after: 0, through: .max, limit: events), scannedThrough: 1, lastSeq: 1000)
    #expect(bench.next() == .read(.fresh(after: 1, through: 1000, limit: events)))
    bench.relay.didRead(.fresh(after: 1, through: 1000, limit: events), scannedThrough: 1000, lastSeq: 1000)
    #expect(bench.next() == .backfill)
  }

  @Test func `old rows enter the outbox only when there is nothing else to do and half the window is free`() {
    var limits = RelayLimits()
    limits.window.events = 100
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
}
