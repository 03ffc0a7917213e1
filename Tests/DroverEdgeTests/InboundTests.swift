// What comes from the cloud while the agent's turn does not come: it is queued, and what has no room is not acknowledged. And how often a line is logged.

import DroverCore
import DroverEvents
@testable import DroverEdge
import DroverProcesses
import DroverSQLite
@testable import DroverSimulation
import DroverWire
import Logging
import Synchronization
import Testing

@Suite struct InboundTests {
  private final class Broker: Publisher {
    private(set) var statuses = 0
    private(set) var replies = 0

    func publish(_ message: OutboundMessage) throws(PublishError) -> PublishToken {
      if message.topic.hasSuffix("/status") { statuses += 1 }
      if message.topic.contains("/reply/") { replies += 1 }
      return PublishToken(rawValue: Int32(statuses + replies))
    }
  }

  private func agent(_ folder: TemporaryFolder, _ time: VirtualTime, messages: Int) throws -> EdgeRelay {
    let app = try PlainDatabase(path: folder.file("app.db"))
    try app.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    let store = try EdgeDatabase(
      path: folder.file("app.db"),
      declarations: [StreamDeclaration(name: StreamName("t"), kind: .snapshot, table: "t")]
    ) { _ in }
    var limits = RelayLimits()
    limits.queuedMessages = messages
    return try EdgeRelay(
      machine: MachineID("M"), store: store, limits: limits, software: "test",
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, wallClock: { time.wall }, clock: { time.now })
  }

  private let present = InboundMessage(topic: "drover/v1/M/command/present", payload: [])

  @Test func `receiving decides nothing, and what has no room is refused until the turn has come`() throws {
    let folder = try TemporaryFolder()
    let time = VirtualTime()
    let agent = try agent(folder, time, messages: 3)
    let broker = Broker()
    agent.sessionOpened(SessionInfo(sessionPresent: true, protocolLevel: 5), publisher: broker)
    _ = agent.turn(now: time.now)
    #expect(broker.statuses == 1)
    for _ in 0..<3 { try agent.received([present]) }
    #expect(throws: InboundQueueFull.self) { try agent.received([present]) }
    #expect(broker.statuses == 1)
    _ = agent.turn(now: time.now)
    // One answer is enough for all three.
    #expect(broker.statuses == 2)
    try agent.received([present])
  }

  @Test func `what came before the connection ended is heard, and nobody waits for its answer`() throws {
    let folder = try TemporaryFolder()
    let time = VirtualTime()
    let agent = try agent(folder, time, messages: 10)
    let broker = Broker()
    let schema = try #require(agent.store.streams.first?.schema)
    let request = StreamRequest(id: "1", stream: try StreamName("t"), schema: schema.id, question: .progress)
    let question = InboundMessage(topic: "drover/v1/M/command/stream", payload: request.document)
    for isCut in [true, false] {
      agent.sessionOpened(SessionInfo(sessionPresent: true, protocolLevel: 5), publisher: broker)
      _ = agent.turn(now: time.now)
      let confirmation = DroverCore.Confirmation(
        epoch: agent.store.epoch, session: "s", at: time.wall, streams: [:], answer: agent.dialogue.question.number)
      try agent.received([
        InboundMessage(topic: "drover/v1/M/confirm", payload: confirmation.document), question,
      ])
      if isCut { agent.sessionClosed(reason: "lost") }
      #expect(agent.doubtsCloud)
      _ = agent.turn(now: time.now)
      #expect(!agent.doubtsCloud)
      if isCut { agent.sessionOpened(SessionInfo(sessionPresent: true, protocolLevel: 5), publisher: broker) }
      for _ in 0..<5 { _ = agent.turn(now: time.now) }
      #expect(broker.replies == (isCut ? 0 : 1))
      agent.sessionClosed(reason: "lost")
    }
  }

  private final class Topics: Publisher {
    private(set) var published: [String] = []

    func publish(_ message: OutboundMessage) throws(PublishError) -> PublishToken {
      published.append(message.topic)
      return PublishToken(rawValue: Int32(published.count))
    }

    func count(_ part: String) -> Int { published.count { $0.contains(part) } }
  }

  // The cloud had lost the description, and the frame that it could not read came again after 30 s.
  @Test func `a frame that the broker has is sent again behind the description that the cloud asks for`() throws {
    let folder = try TemporaryFolder()
    let time = VirtualTime()
    let app = try PlainDatabase(path: folder.file("app.db"))
    let agent = try agent(folder, time, messages: 10)
    let broker = Topics()
    func turn() {
      time.advance(by: .milliseconds(100))
      let known = broker.published.count
      _ = agent.turn(now: time.now)
      for number in known..<broker.published.count {
        agent.acknowledged(PublishToken(rawValue: Int32(number + 1)), reason: .success)
      }
    }
    agent.sessionOpened(SessionInfo(sessionPresent: true, protocolLevel: 5), publisher: broker)
    turn()
    let confirmation = DroverCore.Confirmation(
      epoch: agent.store.epoch, session: "s", at: time.wall, streams: [:], answer: agent.dialogue.question.number)
    try agent.received([InboundMessage(topic: "drover/v1/M/confirm", payload: confirmation.document)])
    try app.execute("INSERT INTO t VALUES (1)")
    for _ in 0..<10 { turn() }
    let before = broker.count("/snapshot/t")
    #expect(before > 0)
    let ask = InboundMessage(topic: "drover/v1/M/command/schema", payload: [])
    try agent.received([ask])
    for _ in 0..<10 { turn() }
    let last = try #require(broker.published.lastIndex { $0.contains("/schema/t") })
    #expect(
      broker.count("/snapshot/t") == before + 1 && broker.published[last...].contains { $0.contains("/snapshot/t") })
    // The cloud may refuse the description each time.
    for _ in 0..<5 {
      try agent.received([ask])
      turn()
    }
    #expect(broker.count("/snapshot/t") == before + 1)
  }

  // MARK: Lines

  private final class Lines: Sendable {
    let texts = Mutex<[String]>([])
  }

  private struct Collector: LogHandler {
    let lines: Lines
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.info
    init(_ lines: Lines) { self.lines = lines }
    subscript(metadataKey _: String) -> Logger.Metadata.Value? {
      get { nil }
      set { _ = newValue }
    }
    func log(event: LogEvent) { lines.texts.withLock { $0.append("\(event.message)") } }
  }

  @Test func `what comes up again and again is counted each time and logged ever more rarely`() throws {
    let lines = Lines()
    var log = AgentLog(logger: Logger(label: "test") { _ in Collector(lines) })
    var failures = 0
    let line = try #require(StoreFailed(error: .failed("x")).text)
    log.onMetric = { kind in failures += kind == .store ? 1 : 0 }
    for _ in 0..<150 { log.emit(StoreFailed(error: .failed("x"))) }
    log.emit(DeadLettersFull(stream: 1, reason: "full"))
    #expect(failures == 150)
    #expect(
      lines.texts.withLock { $0 } == [
        line, "\(line) (10 times since the start)", "\(line) (100 times since the start)",
        DeadLettersFull(stream: 1, reason: "full").text ?? "",
      ])
  }

  @Test func `a frame that is too large counts as a failure, and another event says what becomes of it`() {
    let lines = Lines()
    var log = AgentLog(logger: Logger(label: "test") { _ in Collector(lines) })
    var failures: [DeliveryFailure.Kind] = []
    log.onMetric = { failures.append($0) }
    for isEmpty in [false, true] {
      log.emit(
        FrameRefused(stream: 1, topic: "t", events: 1, isEmpty: isEmpty, reason: .packetTooLarge, user: nil))
    }
    #expect(failures == [.tooLarge, .tooLarge] && lines.texts.withLock { $0.count } == 1)
  }
}
