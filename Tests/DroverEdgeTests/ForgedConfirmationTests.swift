// What no consumer says: the agent with its real store, and somebody who may write to its confirmations. An agent that believed it forgot what
// nobody had; it ended at numbers near 2^63; or it gave every row up as larger than one byte.

import DroverCore
import DroverEdge
import DroverProcesses
import DroverSQLite
@testable import DroverSimulation
import DroverTesting
import DroverWire
import Foundation
import Logging
import Synchronization
import Testing

@Suite struct ForgedConfirmationTests {
  private final class Agent {
    let folder: TemporaryFolder
    let app: PlainDatabase
    let store: EdgeDatabase
    let relay: EdgeRelay
    let broker = Broker()
    let log = Log()
    private let time = VirtualTime()

    init(rows: Int) throws {
      folder = try TemporaryFolder()
      app = try PlainDatabase(path: folder.file("app.db"))
      try app.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
      store = try EdgeDatabase(
        path: folder.file("app.db"),
        declarations: [
          StreamDeclaration(name: StreamName("t"), kind: .snapshot, table: "t"),
          StreamDeclaration(name: StreamName("ev"), kind: .payload, table: nil),
        ]
      ) { _ in }
      let (time, log) = (time, log)
      relay = try EdgeRelay(
        machine: MachineID("M"), store: store, limits: RelayLimits(), software: "test",
        logger: Logger(label: "test") { _ in CollectingHandler(log: log) }, wallClock: { time.wall },
        clock: { time.now })
      for id in 1...rows { try app.execute("INSERT INTO t VALUES (\(id), 'x')") }
      relay.sessionOpened(
        SessionInfo(sessionPresent: true, protocolLevel: 5, maximumPacketSize: nil), publisher: broker)
      pass(20)
    }

    func pass(_ turns: Int) {
      for _ in 0..<turns {
        time.advance(by: .milliseconds(100))
        broker.acknowledge(relay)
        _ = relay.turn(now: time.now)
      }
    }

    var waiting: Int64 {
      get throws {
        try app.integer(
          """
          SELECT count(*) FROM drover_outbox AS entry JOIN drover_stream AS stream ON stream.number = entry.stream
           WHERE entry.seq > stream.confirmed_through
          """)!
      }
    }

    func hear(_ members: String) throws {
      let document = #"{"v":1,"epoch":"\#(store.epoch)","session":"s","at_us":\#(time.wall),\#(members)}"#
      try relay.received([InboundMessage(topic: "drover/v1/M/confirm", payload: Array(document.utf8), isRetained: true)]
      )
      pass(10)
    }
  }

  private final class Broker: Publisher {
    private var tokens: Int32 = 0
    private var open: [PublishToken] = []
    private(set) var messages: [OutboundMessage] = []

    func publish(_ message: OutboundMessage) throws(PublishError) -> PublishToken {
      tokens += 1
      open.append(PublishToken(rawValue: tokens))
      messages.append(message)
      return open.last!
    }

    func acknowledge(_ relay: EdgeRelay) {
      for token in open { relay.acknowledged(token, reason: .success) }
      open = []
    }

    func forget() { messages = [] }
  }

  private final class Log: Sendable {
    private let lines = Mutex<[String]>([])
    func add(_ line: String) { lines.withLock { $0.append(line) } }
    func count(_ part: String) -> Int { lines.withLock { $0.count { $0.contains(part) } } }
  }

  private struct CollectingHandler: LogHandler {
    let log: Log
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.warning
    init(log: Log) { self.log = log }
    subscript(metadataKey _: String) -> Logger.Metadata.Value? {
      get { nil }
      set { _ = newValue }
    }
    func log(event: LogEvent) { log.add("\(event.message)") }
  }

  @Test(arguments: [
    #""streams":{"t":{"through":1000000,"ahead":[]}}"#, #""streams":{"t":{"through":0,"ahead":[[3,1000000]]}}"#,
    #""streams":{"t":{"through":NEXT,"ahead":[]}}"#,
    #""streams":{"t":{"through":3,"ahead":[]},"other":{"through":4000,"ahead":[]}}"#,
    #""runs":[],"streams":{"ev":{"through":4611686018427387903,"ahead":[]}}"#,
    #""streams":{"t":{"through":9223372036854775807,"ahead":[]}}"#, #""max_message_bytes":1,"streams":{}"#,
    #""runs":[[9223372036854775807,9223372036854775807]],"streams":{}"#,
  ])
  func `a confirmation of what was never handed out is not believed`(members: String) throws {
    let agent = try Agent(rows: 50)
    let epoch = agent.store.epoch
    for _ in 0..<3 { try agent.hear(members.replacing("NEXT", with: "\(agent.store.runs.reached + 1)")) }
    #expect(try agent.waiting == 50 && agent.store.epoch == epoch)
    #expect(try agent.app.integer("SELECT count(*) FROM drover_dead_letter") == 0)
    // Once, and not with each of them.
    #expect(agent.log.count("the agent ignores it") == 1)
    try agent.hear(#""streams":{"t":{"through":\#(agent.store.runs.reached),"ahead":[]}}"#)
    #expect(try agent.waiting == 0)
  }

  @Test func `a run that could be of a lost future costs an epoch and no row`() throws {
    let agent = try Agent(rows: 50)
    let epoch = agent.store.epoch
    agent.broker.forget()
    try agent.hear(#""runs":[[250000000000000000,60]],"streams":{"t":{"through":60,"ahead":[]}}"#)
    // It asks first whether another machine of its name is there.
    agent.pass(300)
    #expect(try agent.waiting == 50 && agent.store.epoch != epoch)
    let frames = agent.broker.messages.filter { $0.topic.hasSuffix("/snapshot/t") }.map {
      String(decoding: $0.payload, as: UTF8.self)
    }
    #expect(Set(frames.flatMap { $0.matches(of: /"id":"([0-9]+)"|"row":\[([0-9]+)/).map { $0.1 ?? $0.2 } }).count == 50)
  }

  // An agent of an older version believed it and wrote it down: no event of the stream would have been sent ever again.
  @Test func `a forged confirmation that is written down is found at the next start`() throws {
    for statement in [
      "UPDATE drover_stream SET confirmed_through = 1000000",
      "UPDATE drover_stream SET confirmed_through = 9223372036854775807",
      "INSERT INTO drover_ahead VALUES (1, 60, 9223372036854775807)",
      "INSERT INTO drover_ahead VALUES (1, -5, 1000000)",
    ] {
      let agent = try Agent(rows: 50)
      let epoch = agent.store.epoch
      try agent.app.execute(statement)
      let next = try EdgeDatabase(
        path: agent.folder.file("app.db"),
        declarations: [StreamDeclaration(name: StreamName("t"), kind: .snapshot, table: "t")]
      ) { _ in }
      #expect(next.epoch != epoch, "\(statement)")
      #expect(try next.confirmed().isEmpty)
    }
  }

  @Test func `a state file with numbers that cannot be true is none`() throws {
    for (head, marks) in [
      ("9223372036854775807", "0000000000000000000"), ("1", "9223372036854775807"), ("-5", "0000000000000000000"),
      ("1", "-000000000000000001"),
    ] {
      let agent = try Agent(rows: 5)
      let epoch = agent.store.epoch
      let path = agent.folder.file("app.db-drover.state")
      let state =
        "\(epoch) \(head)\n7 9223372036854775807\n9223372036854775807\n"
        + "\(marks) \(marks) \(marks)\n\(marks) \(marks) \(marks)\n"
      try state.write(toFile: path, atomically: true, encoding: .utf8)
      let next = try EdgeDatabase(
        path: agent.folder.file("app.db"),
        declarations: [StreamDeclaration(name: StreamName("t"), kind: .snapshot, table: "t")]
      ) { _ in }
      #expect(next.epoch != epoch && next.runs.list.count == 2)
    }
  }

  @Test func `a measure of the clock that cannot be true does not end the agent`() throws {
    for value in ["-9223372036854775807", "9223372036854775807", "'nonsense'", "1e300", "x'00'"] {
      let agent = try Agent(rows: 5)
      try agent.app.execute("INSERT OR REPLACE INTO drover_meta VALUES ('clock_ahead_us', \(value))")
      for news in [ClockNews.measured(ahead: .max), .stepped(by: .min), .measured(ahead: .min), .stepped(by: .max)] {
        try agent.store.note(news)
      }
      _ = try SQLiteEdgeReader(path: agent.folder.file("app.db")).report()
    }
  }
}
