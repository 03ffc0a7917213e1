// What the cloud's confirmations mean to the relay, and what an earlier run left.

import DroverCore
import Testing

@Suite struct RelayConfirmationTests: RelayRules {
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
}
