// How much of each stream one message carries: the agent with its real store and a broker that keeps what it is given.

import DroverProcesses
import DroverCore
import DroverEdge
import DroverSQLite
@testable import DroverSimulation
import DroverTesting
import Logging
import Testing

@Suite struct FrameLimitTests {
  private final class Broker: Publisher {
    private var tokens: Int32 = 0
    /// By topic, how many events each frame had.
    private(set) var events: [String: [Int]] = [:]

    func publish(_ message: OutboundMessage) throws(PublishError) -> PublishToken {
      let count = String(decoding: message.payload, as: UTF8.self).matches(of: /"seq":/).count
      if count > 0 { events[message.topic, default: []].append(count) }
      tokens += 1
      return PublishToken(rawValue: tokens)
    }

    func forget() { events = [:] }
  }

  @Test func `a stream's own frame limit holds for what is sent and for what is sent again, and for no other stream`()
    throws
  {
    let folder = try TemporaryFolder()
    let app = try PlainDatabase(path: folder.file("app.db"))
    for table in ["a", "b"] {
      try app.execute("CREATE TABLE \(table) (id INTEGER PRIMARY KEY)")
      for id in 1...10 { try app.execute("INSERT INTO \(table) VALUES (\(id))") }
    }
    let store = try EdgeDatabase(
      path: folder.file("app.db"),
      declarations: [
        StreamDeclaration(name: StreamName("a"), kind: .snapshot, table: "a") {
          $0.frame = EventLimit(events: 3, bytes: 1 << 20)
        },
        StreamDeclaration(name: StreamName("b"), kind: .snapshot, table: "b"),
      ]
    ) { _ in }
    let time = VirtualTime()
    let relay = try EdgeRelay(
      machine: MachineID("M"), store: store, limits: RelayLimits(), software: "test",
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, wallClock: { time.wall }, clock: { time.now })
    let broker = Broker()
    // The broker answers nothing, and the connection is lost: everything comes again.
    for _ in 0..<2 {
      broker.forget()
      relay.sessionOpened(
        SessionInfo(sessionPresent: true, protocolLevel: 5, maximumPacketSize: nil), publisher: broker)
      for _ in 0..<20 {
        time.advance(by: .milliseconds(100))
        _ = relay.turn(now: time.now)
      }
      #expect(
        broker.events == ["drover/v1/M/snapshot/a": [3, 3, 3, 1], "drover/v1/M/snapshot/b": [10]])
      relay.sessionClosed(reason: "lost")
    }
  }
}
