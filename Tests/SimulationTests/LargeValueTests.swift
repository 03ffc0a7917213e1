// How often a large value is in memory at a time, counted in what holds it: the memory of a process tells of many other things.

import DroverCore
import DroverProcesses
import DroverSQLite
@testable import DroverEdge
@testable import DroverSimulation
import DroverTesting
import Logging
import Testing

@Suite(.ownThread) struct LargeValueTests {
  private final class Broker: Publisher {
    weak var row: ValueStore?
    private(set) var isRowThere: [Bool] = []
    private(set) var largest = 0

    func publish(_ message: OutboundMessage) throws(PublishError) -> PublishToken {
      if message.payload.count > 1_000_000 { isRowThere.append(row != nil) }
      largest = max(largest, message.payload.count)
      return PublishToken(rawValue: 1)
    }
  }

  private let folder: TemporaryFolder
  private let app: PlainDatabase
  private let store: EdgeDatabase
  private let time = VirtualTime()

  init() throws {
    folder = try TemporaryFolder()
    app = try PlainDatabase(path: folder.file("app.db"))
    try app.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    store = try EdgeDatabase(
      path: folder.file("app.db"),
      declarations: [StreamDeclaration(name: try StreamName("t"), kind: .snapshot, table: "t")]
    ) { _ in }
  }

  private func relay(_ broker: Broker) throws -> EdgeRelay {
    let time = time
    let relay = try EdgeRelay(
      machine: MachineID("M"), store: store, limits: RelayLimits(), software: "test",
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, wallClock: { time.wall }, clock: { time.now })
    relay.sessionOpened(
      SessionInfo(sessionPresent: true, protocolLevel: 5, maximumPacketSize: nil), publisher: broker)
    return relay
  }

  // A value of 20 MB cost the agent 151 MB: among other copies its row was kept while the connection made two of the frame.
  @Test func `a row is given up before its frame is handed to the connection`() throws {
    let broker = Broker()
    let relay = try relay(broker)
    let stream = try #require(store.streams.first)
    func makeRead() -> OutboxRead {
      let row = ValueStore()
      broker.row = row
      row.append(.integer(1))
      row.append(.text(String(repeating: "x", count: 2_000_000)))
      let entry = OutboxEntry(
        seq: 1, stream: stream.number, version: 1, key: Values([.integer(1)]), content: .row(row.values(from: 0)))
      return OutboxRead(entries: [entry], scannedThrough: 1, lastSeq: 1)
    }
    var read = makeRead()
    #expect(broker.row != nil)
    relay.publish(&read, .fresh(after: 0, through: .max, limit: 10), broker)
    #expect(broker.isRowThere == [false])
  }

  @Test func `a read ends behind the value that fills it, however many more there are`() throws {
    for id in 1...20 { try app.execute("INSERT INTO t VALUES (\(id), zeroblob(300000))") }
    let limits = RelayLimits()
    let read = try store.read(.fresh(after: 0, through: .max, limit: 1000), maximumBytes: limits.readBytes)
    #expect(read.entries.count == limits.readBytes / 300_000 + 1)
  }
}
