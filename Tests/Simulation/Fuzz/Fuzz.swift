// Mutated documents for every decoder and for both whole sides: the consumer on an SQLite store, the agent on a database of an app. Nothing may end the
// process, and after each batch both sides still do their work: a good machine's event arrives and its rows are what they were, and the agent sends what
// the app writes. A slice under one seed is always the same.

import DroverCloud
import DroverConfiguration
import DroverCore
import DroverEdge
import DroverEvents
import DroverSQLite
import DroverTerminal
import DroverWire
import Foundation
import Logging

package struct FuzzFailure: Error, CustomStringConvertible {
  package let description: String
}

package struct FuzzCounts: Sendable, CustomStringConvertible {
  package var documents = 0
  package var accepted = 0
  package var toConsumer = 0
  package var toAgent = 0

  package init() {}
  package var description: String {
    "\(documents) documents for the decoders, \(accepted) of them read; \(toConsumer) messages for the consumer, \(toAgent) for the agent"
  }

  package static func += (sum: inout Self, more: Self) {
    sum.documents += more.documents
    sum.accepted += more.accepted
    sum.toConsumer += more.toConsumer
    sum.toAgent += more.toAgent
  }
}

package struct Fuzz {
  private var mutator: Mutator
  private let samples: FuzzSamples
  private var counts = FuzzCounts()

  /// - Parameter scale: 1 is about a second of a debug build.
  package static func run(seed: UInt64, scale: Int = 1) throws -> FuzzCounts {
    var fuzz = Fuzz(mutator: Mutator(random: Seeded(seed, 0xf022)), samples: try FuzzSamples())
    try fuzz.feedDecoders(4000 * scale)
    try fuzz.feedConsumer(batches: 8 * scale)
    try fuzz.feedAgent(batches: 8 * scale)
    return fuzz.counts
  }

  private init(mutator: Mutator, samples: FuzzSamples) {
    self.mutator = mutator
    self.samples = samples
  }

  // MARK: Decoders

  private mutating func feedDecoders(_ count: Int) throws {
    let epoch = try Epoch("3f9c2a")
    let confirmations = samples.confirmations(epoch, reached: 40)
    let schemas = [samples.schema, samples.unit]
    func known(_ id: SchemaID) -> StreamSchema? { schemas.first { $0.id == id } }
    for _ in 0..<count {
      counts.documents += 1
      do {
        switch mutator.random.below(15) {
        case 0...3:
          let payload = mutator.document(mutator.random.pick(samples.frames + samples.bare))
          if case .frame(let frame) = try FrameDecoder.decode(payload, known: known) {
            try check(frame)
          }
        case 4: _ = try StreamSchema(document: mutator.document(mutator.random.pick(samples.schemas)))
        case 5: _ = try MachineStatus(document: mutator.document(mutator.random.pick(samples.statuses))).document
        case 6: _ = try Confirmation(document: mutator.document(mutator.random.pick(confirmations))).document
        case 7: _ = try StreamRequest(document: mutator.document(mutator.random.pick(samples.requests)))
        case 8:
          let reply = try StreamReply(document: mutator.document(mutator.random.pick(samples.replies)))
          if case .parts(let parts) = reply.content { _ = parts.rows }
          if case .progress(let progress) = reply.content {
            _ = (progress.rate.map { Int($0) }, progress.secondsLeft.map { Int($0) })
          }
        case 9: _ = try AlertNotes(parsing: String(decoding: mutator.document(samples.notes[0]), as: UTF8.self)).text
        case 10:
          let packed = Compression.deflate.pack(
            mutator.random.pick(samples.frames) + [UInt8](repeating: 32, count: 2000))
          _ = try Compression.unpack(mutator.bytes(packed.payload), most: 5000)
        case 11:
          let text = String(
            decoding: mutator.bytes(Array(mutator.random.pick(FuzzSamples.conditions).utf8)), as: UTF8.self)
          let condition = try Condition(parsing: text)
          guard try Condition(parsing: condition.text) == condition else { throw FuzzFailure(description: "\(text)") }
          _ = condition.holds { _ in (.integer(.max), .real) }
        case 12:
          let text = mutator.bytes(Array(mutator.random.pick(FuzzSamples.configurations).utf8))
          _ = try AnyConfiguration.parse(
            yaml: String(decoding: text, as: UTF8.self), file: "f.yaml", folder: "/nonexistent",
            environment: ["TOK": "0123456789abcdef0123"])
        case 13: try RecordFuzz.check(&mutator)
        default:
          let text = String(
            decoding: mutator.bytes(Array(mutator.random.pick(FuzzSamples.cursors).utf8)), as: UTF8.self)
          _ = ChangeCursor(text).map { ($0.known, $0.moved(to: $0.number).text) }
          _ = try Topic(
            parsing: String(decoding: mutator.bytes(Array(mutator.random.pick(FuzzSamples.topics).utf8)), as: UTF8.self)
          )
          _ = PoisonWatch(note: text)
          let emitted = mutator.document(mutator.random.pick(samples.bare))
          try EmittedBody.check(emitted[...])
          _ = try EmittedBody.localID(field: "id", body: emitted[...])
        }
        counts.accepted += 1
      } catch let error as FuzzFailure {
        throw error
      } catch {
        continue
      }
    }
  }

  private func check(_ frame: DecodedFrame) throws {
    let header = frame.header
    guard Bounds.sequence.contains(header.last), frame.events.allSatisfy({ header.interval.contains($0.seq!) }) else {
      throw FuzzFailure(description: "a frame with numbers that cannot be true: \(header)")
    }
  }

  // MARK: The consumer

  private mutating func feedConsumer(batches: Int) throws {
    let folder = try FuzzFolder()
    defer { folder.remove() }
    let store = try SQLiteCloudStore(path: folder.file("cloud.db"), now: { VirtualTime.beginning })
    let consumer = Consumer(
      store: store, limits: .init(), logger: Self.silent, wallClock: { VirtualTime.beginning })
    var fatal: String?
    consumer.onFatal = { fatal = $0 }
    let broker = FuzzBroker()
    consumer.sessionOpened(SessionInfo(sessionPresent: true, protocolLevel: 5), publisher: broker)
    let time = VirtualTime()
    let good = try StreamSchema(
      kind: .snapshot,
      columns: [Column(name: "id", declaredType: "INTEGER"), Column(name: "v", declaredType: "INTEGER")], key: [0])
    try consumer.received([
      InboundMessage(topic: "drover/v1/GOOD/schema/stock", payload: good.document),
      InboundMessage(topic: "drover/v1/EVIL/schema/t", payload: samples.schema.document),
      InboundMessage(topic: "drover/v1/EVIL/schema/lot", payload: samples.unit.document),
    ])
    let kinds = [
      ("snapshot/t", samples.frames + samples.bare), ("batch/lot", samples.frames),
      ("payload/ev", samples.frames + samples.bare),
      ("schema/t", samples.schemas), ("schema/lot", samples.schemas), ("status", samples.statuses),
      ("reply/ab12", samples.replies),
      ("confirm", samples.statuses), ("snapshot/stock", samples.frames + samples.bare),
      ("schema/stock", [good.document]),
    ]
    for batch in 1...batches {
      var messages: [InboundMessage] = []
      for _ in 0..<50 {
        let (topic, payloads) = mutator.random.pick(kinds)
        var payload = mutator.document(mutator.random.pick(payloads))
        if mutator.random.percent(10) { payload = mutator.bytes(Compression.deflate.pack(payload).payload) }
        var parts = topic.split(separator: "/").map(String.init)
        if parts.count > 1, mutator.random.percent(15) { parts[1] = mutator.name() }
        messages.append(
          InboundMessage(
            topic: "drover/v1/EVIL/" + parts.joined(separator: "/"), payload: payload,
            isRetained: mutator.random.percent(10), isDuplicate: mutator.random.percent(10)))
      }
      counts.toConsumer += messages.count
      try consumer.received(messages)
      let seq = Int64(batch)
      let frame =
        #"{"v":1,"epoch":"ab","run":1,"after":\#(seq - 1),"through":\#(seq),"schema":"\#(good.id)","events":[{"seq":\#(seq),"id":"\#(seq)","version":\#(seq),"body":{"id":\#(seq),"v":\#(seq * 7)}}]}"#
      try consumer.received([InboundMessage(topic: "drover/v1/GOOD/snapshot/stock", payload: Array(frame.utf8))])
      time.advance(by: .seconds(1))
      _ = consumer.turn(now: time.now)
      if let fatal { throw FuzzFailure(description: "the consumer ends: \(fatal)") }
      guard broker.confirmed(seq) else {
        throw FuzzFailure(description: "event \(seq) of the good machine is not confirmed")
      }
    }
    var rows: [Int64: Int64] = [:]
    let reader = SQLiteCloudReader(path: folder.file("cloud.db"))
    try reader.readRows(of: nil) { sink, row in
      RowDocument.writeLine(of: row, sink, into: &broker.sink)
      guard row.machine == "GOOD" else { return }
      guard sink.stream == (try StreamName("stock")), case .values(let values) = row.content,
        case .integer(let id) = values[0], case .integer(let value) = values[1]
      else { throw FuzzFailure(description: "a row of the good machine's in \(sink.stream): \(row)") }
      rows[id] = value
    }
    guard rows == Dictionary(uniqueKeysWithValues: (1...Int64(batches)).map { ($0, $0 * 7) }) else {
      throw FuzzFailure(description: "the good machine's rows are \(rows)")
    }
    // What people see of it.
    let fleet = FleetSnapshot(
      at: VirtualTime.beginning, report: try reader.report(), waiting: try reader.waitingSchemas(),
      worker: Worker(process: 1), history: FleetHistory())
    _ = WatchView(fleet, store: "s", rate: nil, rules: AlertRules(), order: .worst)
    _ = fleet.document(now: VirtualTime.beginning).text()
  }

  // MARK: The agent

  private mutating func feedAgent(batches: Int) throws {
    let folder = try FuzzFolder()
    defer { folder.remove() }
    let app = try PlainDatabase(path: folder.file("app.db"))
    try app.execute("PRAGMA synchronous = off; CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)")
    let declarations = [
      try StreamDeclaration(name: StreamName("t"), kind: .snapshot, table: "t"),
      try StreamDeclaration(name: StreamName("ev"), kind: .payload, table: nil),
    ]
    let time = VirtualTime()
    let broker = FuzzBroker()
    var written = 0
    // A state file and numbers in the app's database that nobody writes are there at the next start.
    for start in 0..<2 {
      if start > 0 {
        let path = folder.file("app.db-drover.state")
        let state = mutator.bytes(Array(try Data(contentsOf: URL(fileURLWithPath: path))))
        try Data(state).write(to: URL(fileURLWithPath: path))
      }
      let store = try EdgeDatabase(path: folder.file("app.db"), declarations: declarations) { _ in }
      let relay = try EdgeRelay(
        machine: MachineID("EVIL"), store: store, limits: RelayLimits(), software: "fuzz", logger: Self.silent,
        wallClock: { time.wall }, clock: { time.now }, random: { [seed = mutator.random.next()] in seed })
      var fatal: String?
      relay.onFatal = { fatal = $0 }
      relay.sessionOpened(SessionInfo(sessionPresent: true, protocolLevel: 5), publisher: broker)
      for _ in 0..<batches {
        var messages: [InboundMessage] = []
        for _ in 0..<20 {
          let topic: String
          let payload: [UInt8]
          switch mutator.random.below(4) {
          case 0, 1:
            topic = "confirm"
            payload = mutator.document(
              mutator.random.pick(samples.confirmations(store.epoch, reached: store.runs.reached)))
          case 2:
            topic = "command/stream"
            var text = String(decoding: mutator.random.pick(samples.requests), as: UTF8.self)
            if let id = store.streams[0].schema?.id.text { text = text.replacing(samples.schema.id.text, with: id) }
            payload = mutator.document(Array(text.utf8))
          default:
            topic = "command/\(mutator.random.pick(["hold", "schema", "epoch", mutator.name()]))"
            payload = mutator.bytes(Array("t\nev\n".utf8))
          }
          messages.append(InboundMessage(topic: "drover/v1/EVIL/\(topic)", payload: payload))
        }
        counts.toAgent += messages.count
        try relay.received(messages)
        func pass(_ turns: Int) {
          for _ in 0..<turns {
            time.advance(by: .milliseconds(200))
            for token in broker.take() { relay.acknowledged(token, reason: .success) }
            _ = relay.turn(now: time.now)
          }
        }
        pass(3)
        written += 1
        try app.execute("INSERT INTO t VALUES (\(written), 'w\(written)w')")
        relay.hint.set()
        var waits = 0
        // A stream that was told to wait waits ten seconds.
        while !broker.hasSent("w\(written)w"), waits < 600 {
          waits += 1
          pass(3)
        }
        if let fatal { throw FuzzFailure(description: "the agent ends: \(fatal)") }
        guard broker.hasSent("w\(written)w") else {
          throw FuzzFailure(description: "the agent does not send what the app has written, row \(written)")
        }
        broker.forget()
      }
      guard try app.integer("SELECT count(*) FROM drover_dead_letter") == 0 else {
        throw FuzzFailure(description: "the agent has given an event up")
      }
      relay.sessionClosed(reason: "over")
    }
  }

  private static let silent: Logger = {
    var logger = Logger(label: "fuzz") { _ in SwiftLogNoOpLogHandler() }
    logger.logLevel = .critical
    return logger
  }()
}

/// A broker that keeps what it is given, and answers when it is asked to.
private final class FuzzBroker: Publisher {
  private var tokens: Int32 = 0
  private var open: [PublishToken] = []
  private var payloads: [[UInt8]] = []
  var sink: [UInt8] = []

  func publish(_ message: OutboundMessage) throws(PublishError) -> PublishToken {
    tokens += 1
    open.append(PublishToken(rawValue: tokens))
    payloads.append(message.payload)
    return open.last!
  }

  func take() -> [PublishToken] {
    defer { open = [] }
    return open
  }

  func forget() { payloads = [] }

  func hasSent(_ text: String) -> Bool { payloads.contains { String(decoding: $0, as: UTF8.self).contains(text) } }

  /// Whether the good machine was told that everything up to a number is committed.
  func confirmed(_ seq: Int64) -> Bool {
    defer { forget() }
    return hasSent(#""epoch":"ab""#) && hasSent(#""stock":{"through":\#(seq),"#)
  }
}

private struct FuzzFolder {
  private let path: String

  init() throws {
    let base = FileManager.default.isWritableFile(atPath: "/dev/shm") ? "/dev/shm" : NSTemporaryDirectory()
    path = "\(base)/drover-fuzz-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  func file(_ name: String) -> String { "\(path)/\(name)" }
  func remove() { try? FileManager.default.removeItem(atPath: path) }
}
