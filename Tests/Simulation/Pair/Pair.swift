// One machine and the cloud, with the product's own agent, consumer and stores, and nothing between them but a broker in memory. For tests that say
// what each side does, and look at both sides when everything has come to rest.

import DroverCloud
package import DroverCore
import DroverEdge
import DroverEvents
import DroverSQLite
import DroverWire
import Foundation

package struct PairFailure: Error, CustomStringConvertible {
  package let description: String
}

package final class Pair {
  /// A row, known by its stream and its local ID.
  package struct RowName: Hashable, Comparable, CustomStringConvertible, Sendable {
    package var stream: String
    package var id: String
    package var description: String { "\(stream) \(id)" }
    package static func < (a: Self, b: Self) -> Bool { (a.stream, a.id) < (b.stream, b.id) }
  }

  package typealias Rows = [RowName: [Value]]

  package static let machine = try! MachineID("M1")
  package let cloud: any PairCloud
  let chance: Chance
  let trace: Trace
  let broker: SimulatedBroker
  private let time = VirtualTime()
  private let sqliteClock: SQLiteClock
  private let folder: String
  private let edgeClient: SimulatedClient
  private let cloudClient: SimulatedClient
  private var app: PlainDatabase
  private var declarations: [StreamDeclaration]
  private var limits = RelayLimits()
  private var edge: (store: EdgeDatabase, relay: EdgeRelay)?
  private var consumer: (store: any CloudStore, consumer: Consumer)?
  private var schemas: [String: StreamSchema] = [:]
  /// What the machine's clock is ahead of the cloud's, in microseconds.
  package var edgeClockOffset: Int64 = 0
  /// Frames in both directions.
  package private(set) var frames = 0
  /// Events of rows in both directions.
  package private(set) var rowMessages = 0
  /// Sentences of the agent's log.
  package var log: [String] { trace.lines }

  /// A pair at rest, before anything of Drover's has run.
  /// - Parameters:
  ///   - makeCloud: makes an empty store in a folder.
  ///   - schema: the app's tables, and rows that are there before Drover.
  package static func run<Result>(
    _ makeCloud: (String) throws -> any PairCloud, schema: String, streams: [StreamDeclaration],
    journalMode: String = "delete", faults: Faults = .none, seed: UInt64 = 1, isTracing: Bool = false,
    _ body: (Pair) throws -> Result
  ) throws -> Result {
    let folder = "\(Simulation.temporaryFolder.path)/drover-pair-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let clock = SQLiteClock()
    return try clock.scope {
      let pair = try Pair(
        makeCloud, schema, streams, journalMode, faults, seed, isTracing: isTracing, folder: folder, clock)
      return try body(pair)
    }
  }

  private init(
    _ makeCloud: (String) throws -> any PairCloud, _ schema: String, _ streams: [StreamDeclaration],
    _ journalMode: String, _ faults: Faults, _ seed: UInt64, isTracing: Bool, folder: String, _ clock: SQLiteClock
  ) throws {
    self.folder = folder
    sqliteClock = clock
    declarations = streams
    chance = Chance(seed: seed, faults: faults)
    trace = Trace(isOn: isTracing, time: time)
    broker = SimulatedBroker(chance: chance, trace: trace, queueLimit: 100_000, flightLimit: 20, hasReasons: true)
    cloud = try makeCloud(folder)
    app = try PlainDatabase(path: "\(folder)/app.db")
    let machine = Self.machine
    edgeClient = SimulatedClient(
      id: "drover-edge-\(machine)", broker: broker,
      subscriptions: [
        .init(filter: Topic.confirmFilter(for: machine)), .init(filter: Topic.commandFilter(for: machine)),
        .init(filter: Topic.downFilter(for: machine)),
      ], will: EdgeRelay.lastWill(machine: machine))
    cloudClient = SimulatedClient(
      id: "drover-cloud", broker: broker, subscriptions: [.init(filter: Topic.everything, noLocal: true)])
    clock.set(wall)
    try app.execute("PRAGMA journal_mode = \(journalMode); PRAGMA synchronous = off; \(schema)")
    for client in [edgeClient, cloudClient] { client.onPublish = { [unowned self] in published($0) } }
  }

  private func published(_ message: OutboundMessage) {
    switch try? Topic(parsing: message.topic) {
    case .events?, .down?:
      frames += 1
      guard case .frame(let frame)? = try? FrameDecoder.decode(message.payload, known: { schema(named: $0) }) else {
        return
      }
      rowMessages += frame.events.count
    default: break
    }
  }

  private func schema(named id: SchemaID) -> StreamSchema? { schemas.values.first { $0.id == id } }

  // MARK: The two sides

  /// The machine's own clock.
  private var edgeWall: Int64 { wall + edgeClockOffset }
  package var wall: Int64 { time.wall }

  package func pass(_ duration: Duration) { time.advance(by: duration) }

  /// Statements of the app's, on its one connection.
  package func app(_ sql: String) throws {
    sqliteClock.set(edgeWall)
    defer { sqliteClock.set(wall) }
    try app.execute(sql)
    edge?.relay.hint.set()
  }

  /// The first column of a query.
  package func edgeTexts(_ sql: String) throws -> [String] {
    var found: [String] = []
    try app.rows(sql) { found.append($0.text(0)) }
    return found
  }

  /// Another connection of the app's.
  package func withOtherApp(_ body: ((String) throws -> Void) throws -> Void) throws {
    let other = try PlainDatabase(path: "\(folder)/app.db")
    try body { sql in
      sqliteClock.set(edgeWall)
      defer { sqliteClock.set(wall) }
      try other.execute(sql)
    }
  }

  package func startAgent() throws {
    guard edge == nil else { return }
    sqliteClock.set(edgeWall)
    defer { sqliteClock.set(wall) }
    let store = try EdgeDatabase(
      path: "\(folder)/app.db", declarations: declarations, warn: { [trace] in trace("agent: \($0)") },
      random: { [chance] in chance.random.next() }, patience: .milliseconds(1))
    let relay = try EdgeRelay(
      machine: Self.machine, store: store, limits: limits, software: "pair", logger: trace.logger("agent"),
      wallClock: { [unowned self] in edgeWall }, clock: { [time] in time.now },
      random: { [chance] in chance.random.next() })
    edge = (store, relay)
    learnSchemas()
    edgeClient.run(relay)
  }

  private func learnSchemas() {
    for stream in edge?.store.streams ?? [] { schemas[stream.name.text] = stream.schema }
  }

  package func killAgent() {
    edgeClient.kill()
    edge = nil
  }

  package func startConsumer() throws {
    guard consumer == nil else { return }
    let store = try cloud.openStore { [unowned self] in wall }
    let consumer = Consumer(
      store: store, limits: .init(), logger: trace.logger("cloud"), wallClock: { [unowned self] in wall })
    self.consumer = (store, consumer)
    cloudClient.run(consumer)
  }

  package func killConsumer() {
    cloudClient.kill()
    consumer = nil
  }

  /// The other configuration is the agent's from its next start on.
  package func configure(_ streams: [StreamDeclaration]) { declarations = streams }
  package func limit(_ change: (inout RelayLimits) -> Void) { change(&limits) }

  /// How often the agent has connected.
  package private(set) var connections = 0
  /// Without a network the agent works on, and does not connect.
  package var hasNetwork = true {
    didSet { if !hasNetwork { disconnectAgent() } }
  }

  /// The agent's connection ends.
  package func disconnectAgent() { if let link = edgeClient.link { broker.cut(link) } }

  // MARK: The exchange

  package func agentTurns() {
    sqliteClock.set(edgeWall)
    defer { sqliteClock.set(wall) }
    edgeClient.turn(now: time.now)
  }

  @discardableResult package func agentHears(atMost count: Int = .max) -> Bool {
    sqliteClock.set(edgeWall)
    defer { sqliteClock.set(wall) }
    return edgeClient.hear(atMost: count)
  }

  @discardableResult package func consumerTurns(atMost count: Int = 50) -> Bool {
    cloudClient.turn(now: time.now)
    return cloudClient.hear(atMost: count)
  }

  /// Moves packets of all connections. False when there were none.
  @discardableResult package func carry(atMost count: Int = .max) -> Bool {
    var moved = false
    for link in broker.openLinks {
      for _ in 0..<count where broker.take(link) { moved = true }
      for _ in 0..<count where broker.deliver(link) { moved = true }
    }
    return moved
  }

  package func connect() throws {
    try startAgent()
    try startConsumer()
    sqliteClock.set(edgeWall)
    if hasNetwork, !edgeClient.isConnected {
      connections += 1
      edgeClient.connect()
    }
    sqliteClock.set(wall)
    if !cloudClient.isConnected { cloudClient.connect() }
  }

  /// One round of everything, for as long as it lasts.
  @discardableResult package func round() throws -> Bool {
    try connect()
    agentTurns()
    var moved = consumerTurns()
    while true {
      var link = false
      for open in broker.openLinks {
        while broker.take(open) { link = true }
        while broker.deliver(open) { link = true }
      }
      guard link else { break }
      moved = true
      agentHears()
      consumerTurns()
    }
    return moved
  }

  /// Exchanges until there is nothing left to do on either side.
  package func settle(within patience: Duration = .seconds(2 * 86_400)) throws {
    let end = time.elapsed + patience
    var pause = Duration.milliseconds(1)
    while true {
      if try round() {
        pause = .milliseconds(1)
      } else {
        // The consumer looks for edits each second.
        if pause > .seconds(3), try isAtRest() { return learnSchemas() }
        pause = min(pause * 2, .seconds(15))
      }
      time.advance(by: pause)
      if time.elapsed > end { throw PairFailure(description: "it does not come to rest: \(try waiting())") }
    }
  }

  /// Lets time pass with both sides at work, whatever comes of it.
  package func live(_ duration: Duration, step: Duration = .seconds(1)) throws {
    let end = time.elapsed + duration
    while time.elapsed < end {
      try round()
      time.advance(by: step)
    }
  }

  private func isAtRest() throws -> Bool { try broker.isQuiet && waiting().isEmpty }

  /// What is not confirmed by the other side, for a person; empty if there is nothing.
  package func waiting() throws -> String {
    guard let edge, let consumer else { return "one side does not run" }
    var parts: [String] = []
    if edge.relay.outstanding.events > 0 {
      parts.append("\(edge.relay.outstanding.events) events are sent and not confirmed")
    }
    if edge.relay.hasIntervalsAgain { parts.append("something is to be sent again") }
    if edge.relay.doubtsCloud { parts.append("the agent has a question to the cloud") }
    let outbox = try app.integer(
      """
      SELECT (SELECT count(*) FROM drover_outbox AS entry JOIN drover_stream AS stream ON stream.number = entry.stream
               WHERE entry.seq > stream.confirmed_through)
           + (SELECT count(*) FROM drover_stream WHERE backfill = 'running')
      """)!
    if outbox > 0 { parts.append("\(outbox) entries wait in the outbox") }
    for stream in try consumer.store.transaction({ try $0.downStreams(of: Self.machine) })
    where stream.received.front < stream.last {
      parts.append("\(stream.stream) is at \(stream.received) of \(stream.last) on its way down")
    }
    let edits = try cloud.integers("SELECT count(*) FROM drover_edit").first ?? 0
    if edits > 0 { parts.append("\(edits) edits in the cloud are not numbered") }
    return parts.joined(separator: "; ")
  }

  // MARK: What is there

  /// The schema of a stream, as its table was last attached.
  package func schema(_ stream: String) throws -> StreamSchema {
    guard let schema = schemas[stream] else { throw PairFailure(description: "there is no table \(stream)") }
    return schema
  }

  package func edgeRows() throws -> Rows {
    var rows: Rows = [:]
    for declaration in declarations {
      let (stream, schema) = (declaration.name.text, try schema(declaration.name.text))
      let columns = schema.columns.map { "\"\($0.name)\"" }.joined(separator: ", ")
      try app.rows("SELECT \(columns) FROM \"\(declaration.table!)\"") { row in
        let values = schema.columns.indices.map { row.value(Int32($0)) }
        let id = LocalIDCodec.text(key: schema.key.map { values[$0] }, schema: schema)
        rows[RowName(stream: stream, id: id)] = values
      }
    }
    return rows
  }

  package func cloudRows() throws -> Rows {
    var rows: Rows = [:]
    for declaration in declarations {
      let origin = MachineStream(machine: Self.machine, stream: declaration.name)
      guard let page = try cloud.editor().rows(RowQuestion(limit: 10_000), of: origin)?.page else { continue }
      for row in page.rows { rows[RowName(stream: declaration.name.text, id: row.localID)] = row.values }
    }
    return rows
  }

  package func listed() throws -> [Conflict] {
    try cloud.conflicts().conflicts(machine: Self.machine, stream: nil, after: 0, limit: 10_000)
  }

  /// Rows that came down and that the app's tables refuse.
  package func refusedRows() throws -> [RowName] {
    var names: [RowName] = []
    for declaration in declarations {
      let schema = try schema(declaration.name.text)
      let keys = (1...schema.key.count).map { "letter.key\($0 == 1 ? "" : String($0))" }.joined(separator: ", ")
      try app.rows(
        """
        SELECT \(keys) FROM drover_dead_letter AS letter JOIN drover_stream AS stream ON stream.number = letter.stream
         WHERE letter.direction = 'down' AND stream.name = '\(declaration.name)'
        """
      ) { row in
        let key = schema.key.indices.map { row.value(Int32($0)) }
        names.append(RowName(stream: declaration.name.text, id: LocalIDCodec.text(key: key, schema: schema)))
      }
    }
    return names
  }

  /// Dead letters in the cloud, with their reasons.
  package func cloudLetters() throws -> Int64 {
    try cloud.integers("SELECT count(*) FROM drover_dead_letter").first ?? 0
  }

  // MARK: Backups of the machine's database

  package func backUpMachine() throws {
    for suffix in ["", "-wal", "-drover.state"] {
      try FileManager.default.removeItemIfThere(atPath: "\(folder)/backup.db\(suffix)")
      guard FileManager.default.fileExists(atPath: "\(folder)/app.db\(suffix)") else { continue }
      try FileManager.default.copyItem(atPath: "\(folder)/app.db\(suffix)", toPath: "\(folder)/backup.db\(suffix)")
    }
  }

  /// The database is put back to its copy; the file that remembers stays, as with a backup of the database alone.
  package func restoreMachine() throws {
    killAgent()
    app = try PlainDatabase(path: ":memory:")
    for suffix in ["", "-wal", "-shm"] {
      try FileManager.default.removeItemIfThere(atPath: "\(folder)/app.db\(suffix)")
    }
    for suffix in ["", "-wal"] where FileManager.default.fileExists(atPath: "\(folder)/backup.db\(suffix)") {
      try FileManager.default.copyItem(atPath: "\(folder)/backup.db\(suffix)", toPath: "\(folder)/app.db\(suffix)")
    }
    app = try PlainDatabase(path: "\(folder)/app.db")
    time.advance(by: .seconds(60))
  }

  /// The cloud's store is put back to its copy.
  package func restoreCloud() throws {
    killConsumer()
    try cloud.restore()
    time.advance(by: .seconds(60))
  }

  /// Other hardware: everything of the machine's folder is gone, and the database is what `make` puts there.
  package func replaceMachine(_ make: (String) throws -> Void) throws {
    killAgent()
    broker.forgetSession(of: edgeClient.id)
    app = try PlainDatabase(path: ":memory:")
    for name in try FileManager.default.contentsOfDirectory(atPath: folder) where name.hasPrefix("app.db") {
      try FileManager.default.removeItem(atPath: "\(folder)/\(name)")
    }
    try make("\(folder)/app.db")
    app = try PlainDatabase(path: "\(folder)/app.db")
    time.advance(by: .seconds(60))
  }

  /// A database with one table of this machine's rows, as a person makes it.
  package func make(_ table: String, _ rows: [[Value]], at path: String) throws {
    let database = try PlainDatabase(path: path)
    try database.execute(table)
    for row in rows {
      try database.execute("INSERT INTO t VALUES (\(row.map { _ in "?" }.joined(separator: ", ")))", row)
    }
  }
}
