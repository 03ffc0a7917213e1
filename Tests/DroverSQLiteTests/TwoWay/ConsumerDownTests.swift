import DroverCloud
import DroverCore
import DroverSQLite
import DroverTesting
import DroverWire
import GRDB
import Logging
import Testing

/// What a consumer at work does for the way down beside sending rows.
@Suite struct ConsumerDownTests {
  private final class Broker: Publisher {
    var said: [OutboundMessage] = []

    func publish(_ message: OutboundMessage) -> PublishToken {
      said.append(message)
      return PublishToken(rawValue: Int32(said.count))
    }

    /// How many conflicts the machine was told of, each time.
    var conflicts: [Int] {
      said.filter { $0.topic == "drover/v1/MAH001/confirm" }.compactMap {
        try? Confirmation(document: $0.payload).conflicts
      }
    }
  }

  private final class NoAnswers: MachineAnswers {
    func ask(_ question: MachineAsked) {}
    func take() -> [(question: MachineAsked, answer: [UInt8], hasChanged: Bool)] { [] }
  }

  // After a person had resolved a conflict in the cloud, `drover status` at the machine showed it until the machine's next event.
  @Test func `a machine hears of a conflict that a person has resolved, without an event of its own`() throws {
    let folder = try Folder()
    let store = try SQLiteCloudStore(path: folder.path)
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    let broker = Broker()
    let consumer = Consumer(
      store: store, limits: .init(confirmInterval: .zero), logger: logger, wallClock: SQLiteCloudStore.wallClock)
    consumer.answers = NoAnswers()
    consumer.sessionOpened(SessionInfo(sessionPresent: true, protocolLevel: 5), publisher: broker)
    let schema = try StreamSchema(
      kind: .snapshot, columns: [Column(name: "id", declaredType: "INTEGER")], key: [0], flow: Flow(direction: .both))
    try consumer.received([
      InboundMessage(topic: "drover/v1/MAH001/schema/stock", payload: schema.document),
      InboundMessage(
        topic: "drover/v1/MAH001/status", payload: Array(#"{"v":1,"online":true,"epoch":"ab","at_us":1,"ask":7}"#.utf8)),
    ])
    let person = try folder.connect()
    try person.write {
      try $0.execute(
        sql: """
          INSERT INTO drover_conflict (machine_id, stream, local_id, at, reason, loser, columns, content, version, result)
          VALUES ('MAH001', 'stock', '1', 1, 'edit', 'cloud', '["id"]', '[1]', 5, 6)
          """)
    }
    var now = ContinuousClock.now
    func turns() {
      for _ in 1...3 {
        now = now.advanced(by: .seconds(2))
        _ = consumer.turn(now: now)
      }
    }
    turns()
    #expect(broker.conflicts.last == 1)
    try person.write { try $0.execute(sql: "DELETE FROM drover_conflict") }
    turns()
    #expect(broker.conflicts.last == 0)
    // Then it is silent.
    let count = broker.said.count
    turns()
    #expect(broker.said.count == count)
  }
}
