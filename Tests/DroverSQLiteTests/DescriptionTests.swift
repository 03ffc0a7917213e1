import DroverCloud
import DroverCore
import DroverSQLite
import DroverWire
import Logging
import Testing

/// What a consumer does with the descriptions of a stream's table. One that waited for a person was a dead letter too: replayed after the
/// machine had gone back, it waited again, and accepting it put the machine's rows aside.
@Suite struct DescriptionTests {
  private final class Broker: Publisher {
    func publish(_ message: OutboundMessage) -> PublishToken { PublishToken(rawValue: 1) }
  }

  private let app: AppDatabase
  private let consumer: Consumer
  private let machine = try! MachineID("MAH001")
  private let stream = try! StreamName("stock")

  init() throws {
    app = try AppDatabase()
    let store = try SQLiteCloudStore(path: app.path, limits: CloudStoreLimits(columnsPerTable: 3))
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    consumer = Consumer(store: store, limits: .init(), logger: logger, wallClock: SQLiteCloudStore.wallClock)
    consumer.sessionOpened(SessionInfo(sessionPresent: true, protocolLevel: 5), publisher: Broker())
  }

  private func description(_ columns: [String], key: [Int] = [0]) throws -> InboundMessage {
    let schema = try StreamSchema(
      kind: .snapshot, columns: columns.map { Column(name: $0, declaredType: "") }, key: key)
    return InboundMessage(topic: Topic.schema(machine, stream).text, payload: schema.document)
  }

  private func waiting() throws -> [String] { try SQLiteCloudReader(path: app.path).waitingSchemas().map(\.reason) }

  private func letters() throws -> [Int64] {
    try CloudDeadLetters(path: app.path).letters(DeadLetterFilter(), limit: 10).map(\.id)
  }

  @Test func `a description that waits is no dead letter, and goes when the machine describes the old table`() throws {
    let (old, new) = (try description(["id", "a"]), try description(["id", "b"], key: [0, 1]))
    try consumer.received([old])
    try consumer.received([new])
    #expect(try waiting().count == 1)
    #expect(try letters().isEmpty)
    try consumer.received([old])
    #expect(try waiting().isEmpty)
  }

  @Test func `what a limit refuses is a dead letter, and replaces what waited`() throws {
    try consumer.received([description(["id", "a"])])
    try consumer.received([description(["id", "b"], key: [0, 1])])
    try consumer.received([description(["id", "a", "b", "c"])])
    #expect(try waiting().isEmpty)
    #expect(try letters().count == 1)
    try consumer.received([description(["id", "a", "b"])])
    #expect(try letters().isEmpty)
  }

  @Test func `a replayed description that the machine has replaced meanwhile is ignored`() throws {
    let store = try CloudDeadLetters(path: app.path)
    try consumer.received([description(["id", "a", "b", "c"])])
    guard case .publish(let message, let ticket) = try store.beginReplay(1) else { throw CancellationError() }
    try consumer.received([description(["id", "a", "b", "c", "d"])])
    #expect(try letters() == [2, 1])
    try consumer.received([InboundMessage(topic: message.topic, payload: message.payload)])
    #expect(try letters() == [2])
    #expect(try store.replayState(ticket) == .taken)
  }
}
