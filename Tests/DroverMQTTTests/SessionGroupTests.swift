// Many sessions on one thread, with a real mosquitto: what one session's loop does for one handler, the crowd does for each.

import DroverCore
import DroverProcesses
import DroverTesting
import Logging
import Testing

@testable import DroverMQTT

@Suite(.programs) struct SessionGroupTests {
  /// Says its name to everybody as soon as it may, and counts what it hears.
  private final class Member: SessionHandler {
    let number: Int
    var openings = 0
    var closings = 0
    var heard: Set<String> = []
    var answers = 0
    var turns = 0

    init(number: Int) { self.number = number }

    var options: (Int) -> MQTTOptions {
      { [number] port in
        MQTTOptions(
          host: "127.0.0.1", port: port, clientID: "member-\(number)",
          subscriptions: [Subscription(filter: "hall/\(number)")])
      }
    }

    func sessionOpened(_ info: SessionInfo, publisher: any Publisher) {
      openings += 1
      // To the one two places on, who may have come before or may come later.
      _ = try? publisher.publish(OutboundMessage(topic: "hall/\((number + 2) % 100)", payload: [1], isRetained: true))
    }

    func received(_ messages: [InboundMessage]) { for message in messages { heard.insert(message.topic) } }
    func acknowledged(_ token: PublishToken, reason: AcknowledgementReason) { answers += 1 }
    func sessionClosed(reason: String) { closings += 1 }
    func isDrained() -> Bool { true }
    func sessionWillClose(publisher: any Publisher) {}

    func turn(now: ContinuousClock.Instant) -> Duration {
      turns += 1
      return .milliseconds(20)
    }
  }

  @Test func `each of a crowd is connected, heard and answered, and comes back after the broker's death`() throws {
    let broker = try MosquittoBroker()
    let members = (0..<100).map(Member.init)
    let crowd = SessionGroup(members.map { ($0.options(broker.port), $0) }, logger: Logger(label: "crowd"))
    let deadline = ContinuousClock.now.advanced(by: .seconds(60))
    try crowd.run { members.allSatisfy { $0.answers == 1 && $0.heard.count == 1 } || .now > deadline }
    #expect(crowd.open == 100 && members.allSatisfy { $0.openings == 1 && $0.heard == ["hall/\($0.number)"] })
    let turns = members.map(\.turns)
    broker.kill()
    try crowd.run { members.allSatisfy { $0.closings == 1 } || .now > deadline }
    #expect(crowd.open == 0)
    try broker.start()
    try crowd.run { members.allSatisfy { $0.answers == 2 } || .now > deadline }
    #expect(crowd.open == 100 && members.allSatisfy { $0.openings == 2 && $0.closings == 1 })
    #expect(zip(members, turns).allSatisfy { $0.turns > $1 })
  }

  @Test func `a wheel gives everybody one turn, at the time that was set last`() {
    var wheel = TimerWheel(count: 4, now: 0)
    wheel.set(0, in: 5)
    wheel.set(1, in: 900)
    wheel.set(1, in: 7)
    wheel.set(2, in: 7)
    wheel.set(2, in: 1500)
    wheel.set(3, in: 0)
    #expect(wheel.advance(to: 4) == [3])
    #expect(wheel.advance(to: 7) == [0, 1])
    #expect(wheel.advance(to: 1499) == [])
    #expect(wheel.advance(to: 1500) == [2])
    wheel.set(0, in: TimerWheel.longestWait)
    // After a rest that is longer than the wheel.
    #expect(wheel.advance(to: 90_000) == [0])
    #expect(wheel.advance(to: 91_000) == [])
  }
}
