// Wall clocks that somebody sets: the agent with its real store, on a machine where SQLite's clock and the agent's say what the test says,
// and a cloud that knows the true time.

import DroverCore
import DroverEdge
@testable import DroverSimulation
import DroverSQLite
import DroverProcesses
import DroverTesting
import DroverWire
import Logging
import Synchronization
import Testing

@Suite struct ClockStepTests {
  private static let day: Int64 = 86_400_000_000
  private static let year = 365 * day
  private static let now = VirtualTime.beginning

  /// A machine whose wall clock is ahead of the true time.
  private final class Machine {
    let folder: TemporaryFolder
    let app: PlainDatabase
    let store: EdgeDatabase
    let relay: EdgeRelay
    let broker = Broker()
    let warnings = Mutex<[String]>([])
    private let time = VirtualTime()
    private let sqlite: SQLiteClock
    private var ahead: Int64
    private var next = 0

    init(ahead: Int64, _ sqlite: SQLiteClock) throws {
      self.sqlite = sqlite
      self.ahead = ahead
      let clocks = Clocks(wall: time.wall + ahead)
      self.clocks = clocks
      sqlite.set(time.wall + ahead)
      folder = try TemporaryFolder()
      app = try PlainDatabase(path: folder.file("app.db"))
      try app.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
      let said = Said()
      store = try EdgeDatabase(
        path: folder.file("app.db"),
        declarations: [StreamDeclaration(name: StreamName("t"), kind: .snapshot, table: "t")]
      ) { said.add($0) }
      self.said = said
      let time = time
      relay = try EdgeRelay(
        machine: MachineID("M"), store: store, limits: RelayLimits(), software: "test",
        logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, wallClock: { clocks.wall },
        clock: { time.now })
    }

    private let clocks: Clocks
    private let said: Said
    var text: String { said.text }

    private final class Clocks {
      var wall: Int64
      init(wall: Int64) { self.wall = wall }
    }
    private final class Said {
      private(set) var text = ""
      func add(_ line: String) { text += line + "\n" }
    }

    /// Somebody sets the clock.
    func set(ahead: Int64) { self.ahead = ahead }

    func pass(_ duration: Duration = .milliseconds(100)) {
      time.advance(by: duration)
      clocks.wall = time.wall + ahead
      sqlite.set(clocks.wall)
      _ = relay.turn(now: time.now)
    }

    /// The agent connects, asks, and hears the true time.
    func connect() throws {
      relay.sessionOpened(
        SessionInfo(sessionPresent: true, protocolLevel: 5, maximumPacketSize: nil), publisher: broker)
      pass()
      try answer()
    }

    /// The cloud answers the last question; it has received nothing.
    func answer() throws {
      let ask = try #require(broker.status?.ask)
      let confirmation = Confirmation(epoch: store.epoch, session: "s", at: time.wall, streams: [:], answer: ask)
      try relay.received([InboundMessage(topic: "drover/v1/M/confirm", payload: confirmation.document)])
      for _ in 0..<3 { pass() }
    }

    /// The app writes a row. Returns its version less the true time.
    func write() throws -> Int64 {
      next += 1
      clocks.wall = time.wall + ahead
      sqlite.set(clocks.wall)
      try app.execute("INSERT INTO t VALUES (\(next), \(next))")
      return try version() - time.wall
    }

    func version() throws -> Int64 {
      try app.integer("SELECT version FROM drover_outbox ORDER BY seq DESC LIMIT 1") ?? 0
    }

    var versions: [Int64] {
      get throws {
        var versions: [Int64] = []
        try app.rows("SELECT version FROM drover_outbox ORDER BY seq") { versions.append($0.integer(0)) }
        return versions
      }
    }
  }

  private final class Broker: Publisher {
    private var tokens: Int32 = 0
    private(set) var status: MachineStatus?
    private(set) var frames = 0

    func publish(_ message: OutboundMessage) throws(PublishError) -> PublishToken {
      if message.topic.hasSuffix("/status") { status = try? MachineStatus(document: message.payload) }
      if message.topic.contains("/snapshot/") { frames += 1 }
      tokens += 1
      return PublishToken(rawValue: tokens)
    }
  }

  private func rises(_ versions: [Int64]) -> Bool { zip(versions, versions.dropFirst()).allSatisfy { $0 < $1 } }

  private func machine(ahead: Int64, _ body: (Machine) throws -> Void) throws {
    let sqlite = SQLiteClock()
    try sqlite.scope {
      let machine = try Machine(ahead: ahead, sqlite)
      try body(machine)
      #expect(rises(try machine.versions))
      #expect(try machine.versions.allSatisfy { $0 < HybridClock.limit })
      #expect(machine.broker.frames > 0)
    }
  }

  @Test(arguments: [Int64(3_600_000_000), -3_600_000_000, 80 * year])
  func `once measured, versions are those of the cloud's clock`(ahead: Int64) throws {
    try machine(ahead: ahead) { machine in
      try machine.connect()
      #expect(abs(try machine.write()) < 1_000_000)
      machine.pass()
      #expect(machine.broker.status?.clockOffset.map { abs($0 - ahead) < 1_000_000 } == true)
    }
  }

  // Correcting a clock of 1970 by 56 years would be right until somebody sets the clock, and wrong for 56 years afterwards.
  @Test func `a machine that boots in 1970 and is set right later never has a version in the future`() throws {
    try machine(ahead: -Self.now) { machine in
      #expect(try machine.write() < -50 * Self.year)
      try machine.connect()
      #expect(try machine.write() < -50 * Self.year)
      machine.set(ahead: 0)
      // Before the agent has noticed.
      #expect(abs(try machine.write()) < 1_000_000)
      machine.pass()
      try machine.answer()
      #expect(abs(try machine.write()) < 1_000_000)
      #expect(!machine.text.contains("ahead of the cloud"))
    }
  }

  @Test func `a clock that is eighty years ahead before anybody knows is bounded, reported, and counted on from`()
    throws
  {
    try machine(ahead: 80 * Self.year) { machine in
      let first = try machine.write()
      #expect(first <= HybridClock.farthest - Self.now && first > 70 * Self.year)
      try machine.connect()
      #expect(machine.text.contains("days ahead of the cloud, because this machine's clock was wrong once"))
      let before = try machine.version()
      _ = try machine.write()
      #expect(try machine.version() == before + 1)
      machine.set(ahead: 0)
      machine.pass()
      try machine.answer()
      _ = try machine.write()
      #expect(try machine.version() == before + 2)
      let report = try #require(try SQLiteEdgeReader(path: machine.folder.file("app.db")).report())
      #expect(report.versionsAhead ?? 0 > 70 * Self.year)
      #expect(report.clockAhead.map { abs($0) < 1_000_000 } == true)
    }
  }

  @Test func `a step of eighty years under a running agent is put right in its next turn, without the cloud`() throws {
    try machine(ahead: 0) { machine in
      try machine.connect()
      #expect(abs(try machine.write()) < 1_000_000)
      machine.set(ahead: 80 * Self.year)
      machine.pass()
      #expect(abs(try machine.write()) < 1_000_000)
      #expect(try SQLiteEdgeReader(path: machine.folder.file("app.db")).report()?.versionsAhead == nil)
    }
  }

  @Test func `a step back costs nothing`() throws {
    try machine(ahead: 0) { machine in
      try machine.connect()
      _ = try machine.write()
      let before = try machine.version()
      machine.set(ahead: -2 * Self.year)
      _ = try machine.write()
      #expect(try machine.version() == before + 1)
      machine.pass()
      try machine.answer()
      _ = try machine.write()
      #expect(try machine.version() == before + 2)
    }
  }

  @Test func `a clock that is set right after it was ahead leaves versions rising by one until the time comes`() throws
  {
    try machine(ahead: 80 * Self.year) { machine in
      try machine.connect()
      _ = try machine.write()
      let before = try machine.version()
      machine.set(ahead: 0)
      // The correction of eighty years back still stands.
      _ = try machine.write()
      #expect(try machine.version() == before + 1)
      machine.pass()
      #expect(abs(try machine.write()) < 1_000_000)
    }
  }
}
