// What the log says of work that goes well.

import DroverCore
import Testing

@Suite struct TrafficLogTests {
  private let begin = ContinuousClock.now

  private func line(
    _ log: inout TrafficLog, at second: Int, sent: Int, confirmed: Int, isIdle: Bool, isConnected: Bool = true
  ) -> String? {
    log.line(
      sent: sent, confirmed: confirmed, isIdle: isIdle, isConnected: isConnected,
      now: begin.advanced(by: .seconds(second)))
  }

  @Test func `while there is traffic there is a line a minute, and none without`() {
    var log = TrafficLog(interval: .seconds(60))
    #expect(line(&log, at: 0, sent: 0, confirmed: 0, isIdle: true) == nil)
    #expect(line(&log, at: 5, sent: 10, confirmed: 0, isIdle: false) == nil)
    #expect(line(&log, at: 64, sent: 50, confirmed: 40, isIdle: false) == nil)
    #expect(
      line(&log, at: 65, sent: 60, confirmed: 50, isIdle: false)
        == "60 events sent and 50 confirmed in the last 60 s")
    #expect(
      line(&log, at: 200, sent: 60, confirmed: 60, isIdle: true) == nil, "the next minute begins with its first event")
    #expect(
      line(&log, at: 260, sent: 60, confirmed: 60, isIdle: true)
        == "0 events sent in the last 60 s, and everything is confirmed")
    for second in 261..<700 { #expect(line(&log, at: second, sent: 60, confirmed: 60, isIdle: true) == nil) }
  }

  @Test func `the end of an outage is said once, when all that waited is confirmed`() {
    var log = TrafficLog(interval: .seconds(60))
    log.interrupted(sent: 0, confirmed: 0, now: begin)
    log.interrupted(sent: 4000, confirmed: 0, now: begin.advanced(by: .seconds(100)))
    #expect(line(&log, at: 720, sent: 9000, confirmed: 4000, isIdle: false) == nil)
    #expect(
      line(&log, at: 725, sent: 9000, confirmed: 9000, isIdle: true)
        == "the outage of 12 min is over: 9000 events sent, and everything is confirmed")
    #expect(line(&log, at: 726, sent: 9000, confirmed: 9000, isIdle: true) == nil)
  }

  @Test func `an outage in which nothing waited is over without a word`() {
    var log = TrafficLog(interval: .seconds(60))
    log.interrupted(sent: 0, confirmed: 0, now: begin)
    #expect(line(&log, at: 10, sent: 0, confirmed: 0, isIdle: true) == nil)
    #expect(line(&log, at: 20, sent: 1, confirmed: 1, isIdle: true) == nil)
  }

  // The log said "the outage of 1 ms is over" when the connection was lost: events of the minute before had been confirmed.
  @Test func `an outage is not over while there is no connection, and what was confirmed before it does not count`() {
    var log = TrafficLog(interval: .seconds(60))
    #expect(line(&log, at: 1, sent: 4, confirmed: 4, isIdle: true) == nil)
    log.interrupted(sent: 4, confirmed: 4, now: begin.advanced(by: .seconds(2)))
    #expect(line(&log, at: 2, sent: 4, confirmed: 4, isIdle: true, isConnected: false) == nil)
    #expect(line(&log, at: 30, sent: 4, confirmed: 4, isIdle: true) == nil)
    log.interrupted(sent: 4, confirmed: 4, now: begin.advanced(by: .seconds(31)))
    #expect(line(&log, at: 32, sent: 4, confirmed: 4, isIdle: false, isConnected: false) == nil)
    #expect(
      line(&log, at: 41, sent: 5, confirmed: 5, isIdle: true)
        == "the outage of 10 s is over: 1 event sent, and everything is confirmed")
  }

  // "205 events sent and 0 confirmed in the last 60 s, none waits": confirmations that overtake their PUBACK are not counted.
  @Test func `at rest the line says that everything is confirmed, and no number beside it`() {
    var log = TrafficLog(interval: .seconds(60))
    #expect(line(&log, at: 0, sent: 205, confirmed: 0, isIdle: true) == nil)
    #expect(
      line(&log, at: 60, sent: 205, confirmed: 0, isIdle: true)
        == "205 events sent in the last 60 s, and everything is confirmed")
  }

  @Test func `a new epoch, which counts from nothing, makes no figure negative`() {
    var log = TrafficLog(interval: .seconds(60))
    #expect(line(&log, at: 0, sent: 100, confirmed: 100, isIdle: true) == nil)
    #expect(line(&log, at: 10, sent: 3, confirmed: 0, isIdle: false) == nil)
    #expect(
      line(&log, at: 70, sent: 5, confirmed: 4, isIdle: false)?.hasPrefix("5 events sent and 4 confirmed") == true)
  }
}
