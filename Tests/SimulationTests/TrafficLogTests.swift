// What the log says of work that goes well.

import DroverCore
@testable import DroverEdge
import Testing

@Suite struct TrafficLogTests {
  private let begin = ContinuousClock.now

  private func line(
    _ log: inout TrafficLog, at second: Int, sent: Int, confirmed: Int, isIdle: Bool
  ) -> String? {
    log.line(sent: sent, confirmed: confirmed, isIdle: isIdle, now: begin.advanced(by: .seconds(second)))
  }

  @Test func `while there is traffic there is a line a minute, and none without`() {
    var log = TrafficLog()
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
        == "0 events sent and 10 confirmed in the last 60 s, none waits")
    for second in 261..<700 { #expect(line(&log, at: second, sent: 60, confirmed: 60, isIdle: true) == nil) }
  }

  @Test func `the end of an outage is said once, when all that waited is confirmed`() {
    var log = TrafficLog()
    log.interrupted(now: begin)
    log.interrupted(now: begin.advanced(by: .seconds(100)))
    #expect(line(&log, at: 720, sent: 9000, confirmed: 4000, isIdle: false) == nil)
    #expect(
      line(&log, at: 725, sent: 9000, confirmed: 9000, isIdle: true)
        == "the outage of 12 min is over: 9000 events sent, 9000 confirmed, none waits")
    #expect(line(&log, at: 726, sent: 9000, confirmed: 9000, isIdle: true) == nil)
  }

  @Test func `an outage in which nothing waited is over without a word`() {
    var log = TrafficLog()
    log.interrupted(now: begin)
    #expect(line(&log, at: 10, sent: 0, confirmed: 0, isIdle: true) == nil)
    #expect(line(&log, at: 20, sent: 1, confirmed: 1, isIdle: true) == nil)
  }

  @Test func `a new epoch, which counts from nothing, makes no figure negative`() {
    var log = TrafficLog()
    #expect(line(&log, at: 0, sent: 100, confirmed: 100, isIdle: true) == nil)
    #expect(line(&log, at: 10, sent: 3, confirmed: 0, isIdle: false) == nil)
    #expect(
      line(&log, at: 70, sent: 5, confirmed: 4, isIdle: false)?.hasPrefix("5 events sent and 4 confirmed") == true)
  }
}

@Suite struct SizeSuspicionTests {
  private typealias Suspect = SizeSuspicion.Suspect

  private func token(_ number: Int32) -> PublishToken { PublishToken(rawValue: number) }

  private func closed(_ suspicion: inout SizeSuspicion) -> Suspect? { suspicion.closed() }

  private func lost(
    _ suspicion: inout SizeSuspicion, _ suspect: Suspect, confirmed: Int, isAnswered: Bool
  ) -> Bool { suspicion.lost(suspect, confirmed: confirmed, isAnswered: isAnswered) }

  // With MQTT 3.1.1 a broker with max_packet_size throws the client out, which came back with the same frame without a word, for ever.
  @Test func `a frame that ends the connection twice, and that is larger than what passed, is the likely cause`() {
    var suspicion = SizeSuspicion()
    suspicion.opened(level: 4)
    suspicion.published(token(1), Suspect(stream: 1, events: 2, bytes: 100))
    suspicion.acknowledged(token(1))
    let large = Suspect(stream: 1, events: 9, bytes: 5000)
    suspicion.published(token(2), Suspect(stream: 1, events: 1, bytes: 80))
    suspicion.published(token(3), large)
    #expect(closed(&suspicion) == nil)
    suspicion.opened(level: 4)
    suspicion.published(token(1), large)
    #expect(closed(&suspicion) == large)
  }

  @Test func `a connection that is lost otherwise is nobody's fault`() {
    var suspicion = SizeSuspicion()
    for _ in 0..<5 {
      suspicion.opened(level: 4)
      suspicion.published(token(1), Suspect(stream: 1, events: 2, bytes: 100))
      suspicion.acknowledged(token(1))
      suspicion.published(token(2), Suspect(stream: 1, events: 2, bytes: 90))
      #expect(closed(&suspicion) == nil)
    }
  }

  @Test func `a broker that speaks MQTT 5 says it itself`() {
    var suspicion = SizeSuspicion()
    for _ in 0..<5 {
      suspicion.opened(level: 5)
      let large = Suspect(stream: 1, events: 9, bytes: 5000)
      suspicion.published(token(1), large)
      #expect(closed(&suspicion) == nil)
      #expect(!lost(&suspicion, large, confirmed: 10, isAnswered: true))
    }
  }

  @Test func `a frame that is acknowledged and lost again and again is too large when smaller ones are confirmed`() {
    var suspicion = SizeSuspicion()
    suspicion.opened(level: 4)
    let large = Suspect(stream: 1, events: 1, bytes: 5000)
    #expect(!lost(&suspicion, large, confirmed: 100, isAnswered: true))
    #expect(lost(&suspicion, large, confirmed: 100, isAnswered: true))
    #expect(!lost(&suspicion, Suspect(stream: 1, events: 1, bytes: 50), confirmed: 100, isAnswered: true))
    #expect(!lost(&suspicion, large, confirmed: 100, isAnswered: true), "the count begins anew")
    #expect(!lost(&suspicion, large, confirmed: 0, isAnswered: false), "perhaps the consumer is away")
    #expect(lost(&suspicion, large, confirmed: 0, isAnswered: true))
  }
}

@Suite struct ClockMeasureTests {
  private func answered(_ measure: inout ClockMeasure, ahead: Int64, roundTrip: Int64) -> ClockMeasure.Verdict {
    measure.answered(ahead: ahead, roundTrip: roundTrip)
  }

  // A consumer that was busy answered after four seconds, and the machine was told that its clock was two seconds off.
  @Test func `a slow answer is no measure, and a quick one is`() {
    var measure = ClockMeasure()
    #expect(answered(&measure, ahead: 4_000_000, roundTrip: 4_000_000) == .askAgain)
    #expect(answered(&measure, ahead: 70_000_010, roundTrip: 20) == .take(70_000_000))
  }

  @Test func `where all answers are slow the best one counts, and what it cannot tell is no difference`() {
    var measure = ClockMeasure()
    for _ in 0..<3 { #expect(answered(&measure, ahead: 3_000_000, roundTrip: 3_000_000) == .askAgain) }
    #expect(answered(&measure, ahead: 2_500_000, roundTrip: 2_500_000) == .take(0))
    measure = ClockMeasure()
    for _ in 0..<3 { #expect(answered(&measure, ahead: 90_000_000, roundTrip: 2_000_000) == .askAgain) }
    #expect(answered(&measure, ahead: 90_000_000, roundTrip: 3_000_000) == .take(89_000_000))
  }
}
