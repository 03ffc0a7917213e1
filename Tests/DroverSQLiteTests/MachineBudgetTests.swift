import DroverCloud
import DroverCore
import DroverSQLite
import DroverTesting
import DroverWire
import Logging
import Testing

/// What a consumer does with a machine that sends more than it may. 25,000 epochs, or a flood of garbage, of one machine made the rows of others
/// wait for minutes: every message was looked at in the store, and what it left there was never forgotten.
@Suite(.ownThread) struct MachineBudgetTests {
  private static let beginning: Int64 = 1_795_000_000_000_000
  private final class Clock { var now = MachineBudgetTests.beginning }

  private let app: AppDatabase
  private let store: SQLiteCloudStore
  private let consumer: Consumer
  private let clock = Clock()
  private let broker = Broker()

  /// Keeps what the consumer says.
  private final class Broker: Publisher {
    var said: [OutboundMessage] = []

    func publish(_ message: OutboundMessage) -> PublishToken {
      said.append(message)
      return PublishToken(rawValue: Int32(said.count))
    }

    func payloads(of topic: String) -> [String] {
      said.filter { $0.topic == topic }.map { String(decoding: $0.payload, as: UTF8.self) }
    }
  }

  init() throws {
    app = try AppDatabase()
    var limits = MachineLimits()
    limits.epochsPerHour = 5
    limits.deadLettersPerMinute = 300
    limits.schemaChangesPerMinute = 5
    limits.streams = 20
    limits.openIntervals = 10
    limits.longIDsPerMinute = 300
    let clock = clock
    store = try SQLiteCloudStore(
      path: app.path, limits: CloudStoreLimits(streamsPerMachine: 20, machine: limits), now: { clock.now })
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    consumer = Consumer(
      store: store, limits: .init(confirmInterval: .zero, machine: limits), logger: logger, wallClock: { clock.now })
    consumer.sessionOpened(SessionInfo(sessionPresent: true, protocolLevel: 5), publisher: broker)
  }

  // Clearing a retired machine's retained messages, as one does with mosquitto_pub -r -n, made dead letters and an alert.
  @Test func `an empty message takes away what the broker kept, and is no dead letter on any topic`() throws {
    try consumer.received([
      message("EVIL/status", #"{"v":1,"online":true,"epoch":"ab"}"#), try schema("s", "a"),
    ])
    #expect(try report()?.machines.first?.hasAgent == true)
    let topics = [
      "status", "confirm", "schema/s", "schema/unknown", "snapshot/s", "payload/x", "command/x", "nonsense",
    ]
    for isRetained in [false, true] {
      try consumer.received(
        topics.map { InboundMessage(topic: "drover/v1/EVIL/\($0)", payload: [], isRetained: isRetained) })
    }
    let report = try #require(try report())
    #expect(report.deadLetters.present == 0)
    #expect(report.messages.first { $0.outcome == "ignored" }?.count == 2 * topics.count)
    #expect(report.machines.first?.hasAgent == false)
    // An agent that is at work is asked to say it anew.
    _ = consumer.turn(now: .now)
    #expect(broker.said.contains { $0.topic == "drover/v1/EVIL/command/present" })
    try consumer.received([message("EVIL/status", #"{"v":1,"online":true,"epoch":"ab"}"#)])
    #expect(try self.report()?.machines.first?.hasAgent == true)
  }

  @Test func `in one group of messages the last word about a machine counts`() throws {
    let (word, removal) = (message("EVIL/status", #"{"v":1,"online":true,"epoch":"ab"}"#), message("EVIL/status", ""))
    try consumer.received([word, removal])
    #expect(try report()?.machines.first?.hasAgent != true)
    try consumer.received([removal, word])
    #expect(try report()?.machines.first?.hasAgent == true)
  }

  // What a running consumer knew of a machine that `drover forget` had removed would have been taken for received.
  @Test func `a machine that another process has forgotten brings everything again`() throws {
    try consumer.received([frame("MAH001", id: "a")])
    let other = try SQLiteCloudStore(path: app.path, now: { Self.beginning })
    _ = try other.transaction { try $0.forgetMachine(MachineID("MAH001"), removesRows: true) }
    #expect(try report()?.machines.isEmpty == true)
    try consumer.received([frame("MAH001", id: "a")])
    let report = try #require(try report())
    #expect(report.machines.first?.streams.first?.rows == 1)
    #expect(report.messages.first { $0.outcome == "frame" }?.count == 2)
  }

  private func report() throws -> CloudReport? { try SQLiteCloudReader(path: app.path).report() }

  private func message(_ topic: String, _ text: String) -> InboundMessage {
    InboundMessage(topic: "drover/v1/\(topic)", payload: Array(text.utf8))
  }

  private func frame(
    _ machine: String = "EVIL", epoch: String = "ab", after: Int64 = 0, stream: String = "s", id: String? = nil
  ) -> InboundMessage {
    let event = id.map { "{\"seq\":\(after + 1),\"id\":\"\($0)\",\"version\":\(after + 1),\"body\":1}" } ?? ""
    return message(
      "\(machine)/payload/\(stream)",
      "{\"v\":1,\"epoch\":\"\(epoch)\",\"after\":\(after),\"through\":\(after + 1),\"events\":[\(event)]}")
  }

  private func schema(_ stream: String, _ column: String) throws -> InboundMessage {
    let schema = try StreamSchema(
      kind: .snapshot,
      columns: [Column(name: "id", declaredType: "INTEGER"), Column(name: column, declaredType: "TEXT")], key: [0])
    return message(
      "EVIL/schema/\(stream)",
      """
      {"v":1,"schema":"\(schema.id.text)","kind":"snapshot","key":["id"],\
      "columns":[{"name":"id","type":"INTEGER"},{"name":"\(column)","type":"TEXT"}]}
      """)
  }

  /// A flood of one kind; the numbers are of its messages.
  enum Flood: String, CaseIterable, Sendable {
    case epochs, epochsWithSpaces, epochsOfStatuses, garbage, strays, bareGarbage, schemas, streams, intervals, longIDs
  }

  private func message(of flood: Flood, _ number: Int) throws -> InboundMessage {
    switch flood {
    case .epochs: frame(epoch: String(number + 1, radix: 16))
    case .epochsWithSpaces:
      message(
        "EVIL/payload/s",
        "{ \"v\": 1, \"epoch\": \"\(String(number + 1, radix: 16))\", \"after\": 0, \"through\": 1, \"events\": []}")
    case .epochsOfStatuses:
      message("EVIL/status", "{\"v\":1,\"online\":true,\"epoch\":\"\(String(number + 1, radix: 16))\"}")
    case .garbage: message("EVIL/payload/s", "garbage \(number)")
    case .strays: message("EVIL/nothing/\(number)", "x")
    case .bareGarbage: message("EVIL/payload/s", "{\"id\":\"\(number)\",\"nonsense\":1}")
    case .schemas: try schema("t", "c\(number)")
    case .streams: message("EVIL/payload/s\(number)", "{\"id\":\"1\",\"body\":1}")
    case .intervals: frame(after: Int64(number) * 2 + 10)
    case .longIDs:
      message("EVIL/snapshot/l", "{\"id\":\"\(String(repeating: "k", count: 5000))\(number)\",\"op\":\"delete\"}")
    }
  }

  @Test(arguments: Flood.allCases)
  func `what is beyond a budget costs no statement, and a good machine's event among it is applied with it`(
    flood: Flood
  ) throws {
    // The budgets are used up, and with them what the store may be asked.
    try consumer.received(try (0..<1000).map { try message(of: flood, $0) })
    try consumer.received([frame("GOOD", id: "0")])
    func statements(_ count: Int, good: Int64) throws -> Int {
      var messages = try (0..<count).map { try message(of: flood, Int(good) * 10_000 + $0) }
      messages.insert(frame("GOOD", after: good, id: "\(good)"), at: count / 2)
      return try StatementCount.of(app.path) { try consumer.received(messages) }
    }
    // The first transaction after a table was made looks at it.
    _ = try statements(2, good: 1)
    let (few, many) = (try statements(2, good: 2), try statements(1000, good: 3))
    #expect(many == few)
    #expect(try app.integer("SELECT count(*) FROM s WHERE machine_id = 'GOOD'") == 4)
    // Nothing is unaccounted for.
    #expect(try app.integer("SELECT sum(count) FROM drover_message_count") == 1000 + 1 + 3 + 3 + 1001)
    let aside = try app.integer("SELECT sum(count) FROM drover_over_budget WHERE machine_id = 'EVIL'")
    #expect((1004 + 500...2004).contains(aside))
    #expect(try app.integer("SELECT count(*) FROM drover_over_budget WHERE machine_id <> 'EVIL'") == 0)
  }

  @Test func `frames that name ever new schemas cost the store a bounded number of looks`() throws {
    func frames(_ numbers: Range<Int>) -> [InboundMessage] {
      numbers.map {
        message(
          "EVIL/snapshot/s",
          "{\"v\":1,\"epoch\":\"ab\",\"after\":\($0),\"through\":\($0 + 1),\"schema\":\"\($0)\",\"events\":[]}")
      }
    }
    try consumer.received(frames(0..<1000))
    try consumer.received(frames(1000..<1001))
    let (few, many) = (
      try StatementCount.of(app.path) { try consumer.received(frames(2000..<2001)) },
      try StatementCount.of(app.path) { try consumer.received(frames(3000..<4000)) }
    )
    #expect(many == few)
  }

  @Test(arguments: Flood.allCases) func `a flood leaves little in the store`(flood: Flood) throws {
    for thousand in 0..<5 {
      try consumer.received(try (0..<1000).map { try message(of: flood, thousand * 1000 + $0) })
    }
    for table in ["epoch", "received", "run", "schema", "tombstone", "progress", "dead_letter", "sink", "over_budget"] {
      #expect(try app.integer("SELECT count(*) FROM drover_\(table)") <= 25, "\(table)")
    }
  }

  // An agent that was set aside has to be slowed, and must lose nothing.
  @Test func `an agent beyond its budget is told to wait, is not confirmed, and is taken later`() throws {
    for number in 1...5 { try consumer.received([frame("M", epoch: "\(number)", id: "x\(number)")]) }
    let late = frame("M", epoch: "6", id: "late")
    try consumer.received([late, late])
    _ = consumer.turn(now: .now)
    #expect(broker.payloads(of: "drover/v1/M/command/hold") == ["s\n\tbudget epochs_per_hour"])
    #expect(!broker.payloads(of: "drover/v1/M/confirm").contains { $0.contains("\"epoch\":\"6\"") })
    #expect(try app.lines("SELECT budget, count FROM drover_over_budget") == ["'epochs_per_hour', 2"])
    clock.now += 720 * 1_000_000
    try consumer.received([late])
    _ = consumer.turn(now: .now)
    #expect(broker.payloads(of: "drover/v1/M/confirm").last?.contains("\"epoch\":\"6\"") == true)
    #expect(try app.integer("SELECT count(*) FROM s WHERE local_id = 'late'") == 1)
  }

  // 17 kB of deflated spaces made the consumer unpack and read 3.9 MB, at the cost of 17 kB.
  @Test(arguments: [true, false])
  func `what is packed much too well is charged more than its bytes, and more so when it makes no sense`(
    isFrame: Bool
  ) throws {
    let spaces = String(repeating: " ", count: 3_900_000)
    let messages = (0..<40).map { number in
      let text =
        isFrame
        ? "{\"v\":1,\"epoch\":\"ab\",\"after\":\(number),\"through\":\(number + 1),\"events\":[]\(spaces)}" : spaces
      return InboundMessage(
        topic: "drover/v1/EVIL/payload/s", payload: Compression.deflate.pack(Array(text.utf8)).payload)
    }
    #expect(messages[0].payload.count < 20_000)
    try consumer.received(messages + [frame("GOOD", id: "good")])
    let aside = try app.integer("SELECT ifnull(sum(count), 0) FROM drover_over_budget WHERE machine_id = 'EVIL'")
    #expect(try app.lines("SELECT machine_id, budget FROM drover_over_budget") == ["'EVIL', 'bytes_per_second'"])
    #expect(isFrame ? (20...32).contains(aside) : aside >= 33, "\(aside)")
    #expect(try app.integer("SELECT count(*) FROM s WHERE machine_id = 'GOOD'") == 1)
  }

  // A real frame that is packed well is no harm, however often it comes.
  @Test func `real frames may be packed, at the cost of what they hold`() throws {
    let events = (1...2000).map {
      "{\"seq\":\($0),\"id\":\"\($0)\",\"version\":\($0),\"body\":{\"n\":\($0 * 7919 % 10007)}}"
    }
    let text =
      "{\"v\":1,\"epoch\":\"ab\",\"after\":0,\"through\":2000,\"events\":[\(events.joined(separator: ","))]}"
    let payload = Compression.deflate.pack(Array(text.utf8)).payload
    #expect(payload.count < text.utf8.count / 3)
    try consumer.received(
      Array(repeating: InboundMessage(topic: "drover/v1/M/payload/s", payload: payload), count: 60))
    #expect(try app.integer("SELECT count(*) FROM drover_over_budget") == 0)
    #expect(try app.integer("SELECT count(*) FROM s") == 2000)
  }

  @Test func `an event of an agent that would be a dead letter too many keeps its frame at the edge`() throws {
    func broken(_ number: Int64) -> InboundMessage {
      message(
        "M/payload/s",
        "{\"v\":1,\"epoch\":\"ab\",\"after\":\(number),\"through\":\(number + 1),\"events\":[{\"seq\":\(number + 1),\"id\":\"x\",\"nonsense\":\(number)}]}"
      )
    }
    try consumer.received((0..<20).map(broken))
    func covered() throws -> Int64 {
      try store.transaction {
        try $0.received(machine: MachineID("M"), epoch: Epoch("ab"), stream: StreamName("s")).front
      }
    }
    #expect(try covered() == 10)
    clock.now += 2 * 1_000_000
    try consumer.received((10..<20).map(broken))
    #expect(try covered() == 20)
    #expect(try app.integer("SELECT count(*) FROM drover_dead_letter") == 20)
  }

  @Test func `gaps have a bound, and whoever closes them gets on`() throws {
    let numbers = stride(from: Int64(0), to: 100, by: 2)
    try consumer.received(numbers.map { frame("M", after: $0, id: "\($0)") })
    func received() throws -> IntervalSet {
      try store.transaction { try $0.received(machine: MachineID("M"), epoch: Epoch("ab"), stream: StreamName("s")) }
    }
    #expect(try received().intervals.count <= 11)
    // In order, as an agent sends again what is not confirmed.
    try consumer.received((0..<100).map { frame("M", after: $0, id: "\($0)") })
    #expect(try received() == IntervalSet([Interval(after: 0, through: 100)]))
    #expect(try app.integer("SELECT count(*) FROM s WHERE machine_id = 'M'") == 100)
  }

  @Test func `a description that comes again and again unchanged costs nothing and uses up nothing`() throws {
    let same = try schema("t", "c")
    for _ in 0..<2 { try consumer.received([same]) }
    let (few, many) = (
      try StatementCount.of(app.path) { try consumer.received([same]) },
      try StatementCount.of(app.path) { try consumer.received(Array(repeating: same, count: 500)) }
    )
    #expect(many == few)
    #expect(try app.integer("SELECT count(*) FROM drover_over_budget") == 0)
  }

  @Test func `statuses of a group are written once for each machine, and say all that they said`() throws {
    func status(_ machine: String, _ rest: String) -> InboundMessage {
      message("\(machine)/status", "{\"v\":1,\(rest)}")
    }
    let outbox = "\"outbox\":{\"waiting\":7,\"dead_letters\":0}"
    try consumer.received([status("M", "\"online\":true,\"epoch\":\"ab\",\"software\":\"1\"")])
    let (few, many) = (
      try StatementCount.of(app.path) {
        try consumer.received([status("M", "\"online\":true,\"epoch\":\"ab\",\"software\":\"1\",\(outbox)")])
      },
      try StatementCount.of(app.path) {
        try consumer.received(
          (0..<500).map { status("M", "\"online\":true,\"epoch\":\"ab\",\"software\":\"\($0)\",\(outbox)") }
            + [status("M", "\"online\":false")])
      }
    )
    #expect(many == few)
    #expect(try app.lines("SELECT online, software, epoch, waiting FROM drover_machine") == ["0, '499', 'ab', 7"])
  }

  @Test func `what a machine writes on a topic that there is not is its own dead letter`() throws {
    try consumer.received([message("EVIL/nothing/x", "x"), message("-/payload/s", "y")])
    #expect(try app.lines("SELECT machine_id FROM drover_dead_letter ORDER BY 1") == ["NULL", "'EVIL'"])
  }
}
