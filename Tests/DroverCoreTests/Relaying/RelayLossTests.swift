// Connections that end, and frames that are lost.

import DroverCore
import Testing

@Suite struct RelayLossTests: RelayRules {
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
    var limits = RelayLimits()
    limits.window.events = 10
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
    var limits = RelayLimits()
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
}
