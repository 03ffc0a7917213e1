// An agent with its real store and a worklist, and what it says to a cloud that the test plays.

import DroverCore
import DroverEvents
@testable import DroverEdge
import DroverProcesses
import DroverSQLite
@testable import DroverSimulation
import DroverWire
import Logging
import Synchronization

final class WorklistRig: Publisher {
  private let folder: TemporaryFolder
  let time = VirtualTime()
  let app: PlainDatabase
  let declaration: WorklistDeclaration
  private(set) var agent: EdgeRelay
  private(set) var life: Life
  private let lines = Lines()
  private var tokens: Int32 = 0
  private var seed: UInt64 = 1
  /// What waits to be heard by the cloud.
  var asked: [(id: String, question: WorklistRequest)] = []

  static let table = "CREATE TABLE mo (mo_id TEXT PRIMARY KEY, batch_no INT, kg REAL, done INT NOT NULL DEFAULT 0)"

  init(_ schema: String = table, _ set: (inout WorklistDeclaration) -> Void = { _ in }) throws {
    folder = try TemporaryFolder()
    app = try PlainDatabase(path: folder.file("app.db"))
    try app.execute("PRAGMA journal_mode = WAL")
    try app.execute(schema)
    var declaration = WorklistDeclaration(orderKey: "mo_id", interval: .seconds(300), limit: 3, number: "batch_no")
    set(&declaration)
    self.declaration = declaration
    life = Life {}
    agent = try Self.agent(folder, declaration, time, lines, chance: Chance(seed: 1, faults: .none), life, seed: 0)
  }

  private static func agent(
    _ folder: TemporaryFolder, _ declaration: WorklistDeclaration, _ time: VirtualTime, _ lines: Lines,
    chance: Chance, _ life: Life, seed: UInt64
  ) throws -> EdgeRelay {
    let stream = try StreamDeclaration(name: StreamName("mo"), kind: .batch, table: "mo") {
      $0.completeWhen = try Condition(parsing: "done = 1")
      $0.worklist = declaration
    }
    let database = try EdgeDatabase(path: folder.file("app.db"), declarations: [stream])
    var random = Seeded(seed, 7)
    return try EdgeRelay(
      machine: MachineID("M"),
      store: FaultyEdgeStore(database, chance: chance, life: life, mistake: nil, willSettle: { _ in }),
      limits: RelayLimits(), software: "test", logger: Logger(label: "test") { _ in Collector(lines) },
      wallClock: { time.wall }, clock: { time.now }, random: { random.next() })
  }

  // MARK: The agent

  /// Ends the agent wherever it is, and starts another one.
  func restart(chance: Chance = Chance(seed: 1, faults: .none)) throws {
    seed += 1
    life.end()
    life = Life {}
    let wasCalm = chance.isCalm
    chance.isCalm = true
    defer { chance.isCalm = wasCalm }
    agent = try Self.agent(folder, declaration, time, lines, chance: chance, life, seed: seed)
  }

  func connect(worklists: [String]? = ["mo"]) throws {
    agent.sessionOpened(SessionInfo(sessionPresent: true, protocolLevel: 5), publisher: self)
    try confirm(worklists: worklists)
  }

  func confirm(worklists: [String]?) throws {
    let confirmation = DroverCore.Confirmation(
      epoch: agent.store.epoch, session: "s", at: time.wall, streams: [:], answer: agent.dialogue.question.number,
      worklists: try worklists?.map { try StreamName($0) })
    try agent.received([InboundMessage(topic: "drover/v1/M/confirm", payload: confirmation.document)])
  }

  /// A few turns, as the session makes them when something has happened.
  func turn(after delay: Duration = .milliseconds(1)) {
    time.advance(by: delay)
    for _ in 0..<5 where !life.isOver {
      _ = agent.turn(now: time.now)
      time.advance(by: .milliseconds(300))
    }
  }

  func publish(_ message: OutboundMessage) throws(PublishError) -> PublishToken {
    tokens += 1
    if let topic = try? Topic(parsing: message.topic), case .ask(_, let id) = topic,
      let question = try? WorklistRequest(document: message.payload)
    {
      asked.append((id, question))
    }
    return PublishToken(rawValue: tokens)
  }

  // MARK: The cloud

  /// The requests that were heard since the last call; what became of earlier ones is left out.
  func requests() -> [OrderRequest] {
    defer { asked = [] }
    return asked.compactMap { if case .orders(let request) = $0.question { request } else { nil } }
  }

  /// The outcomes that were heard since the last call, each with the name of its question.
  func outcomes() -> [(id: String, outcome: RefillOutcome)] {
    defer { asked = [] }
    return asked.compactMap { if case .outcome(let outcome, _) = $0.question { ($0.id, outcome) } else { nil } }
  }

  func answer(_ id: String, _ reply: WorklistReply) throws {
    try agent.received([InboundMessage(topic: "drover/v1/M/command/answer-\(id)", payload: reply.document)])
  }

  func answer(_ request: RefillID, _ keys: String..., left: Int = 0) throws {
    try answer(request.text, .answer(.orders(keys.map { Order(key: $0, fields: ArraySlice("{}".utf8)) }, left: left)))
  }

  // MARK: The app

  func rows() throws -> [String] {
    var rows: [String] = []
    try app.rows("SELECT mo_id, batch_no, done FROM mo ORDER BY batch_no, mo_id") {
      rows.append("\($0.text(0)) \($0.integer(1)) \($0.integer(2))")
    }
    return rows
  }

  func file(_ name: String) -> String { folder.file(name) }

  /// The lines of the log that speak of the worklist.
  func said() -> [String] { lines.texts.withLock { $0.filter { $0.hasPrefix("worklist") } } }

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
}
