// What the broker's answers mean to the relay.

import DroverCore
import Testing

@Suite struct RelayAcknowledgementTests: RelayRules {
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
