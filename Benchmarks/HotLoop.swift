// The hot loops, on the table of `drover bench`.

import DroverCloud
import DroverCore
import DroverEdge
import DroverProcesses
import DroverSQLite
import DroverWire
import Foundation
import Logging

/// A round of a loop says how many items it took, and how long it was at them; what it prepares in between does not count.
typealias Round = () throws -> (items: Int, time: Duration)

struct HotLoop: Sendable {
  let name: String
  let item: String
  let prepare: @Sendable () throws -> Round

  static let all = [
    HotLoop(name: "insert", item: "row", prepare: insert),
    HotLoop(name: "captured insert", item: "row", prepare: capturedInsert),
    HotLoop(name: "outbox read", item: "event", prepare: outboxRead),
    HotLoop(name: "frame encode", item: "event", prepare: frameEncode),
    HotLoop(name: "frame decode", item: "event", prepare: frameDecode),
    HotLoop(name: "apply", item: "event", prepare: { try apply(keepsFeed: false) }),
    HotLoop(name: "apply numbered", item: "event", prepare: { try apply(keepsFeed: true) }),
    HotLoop(name: "settle", item: "event", prepare: settle),
    HotLoop(name: "interval set", item: "interval", prepare: intervalSet),
  ]
}

private let framesOfARound = 100
private let eventsOfAFrame = 100
private let eventsOfARound = framesOfARound * eventsOfAFrame

// MARK: The edge

/// A machine whose outbox is full.
private final class Machine {
  static let id = try! MachineID("bench")
  static let stream = try! StreamName("readings")

  private let folder: TemporaryFolder
  private let app: BenchApp
  let edge: EdgeDatabase
  private var next: Int64 = 1

  init() throws {
    folder = try TemporaryFolder()
    app = try BenchApp(path: folder.file("app.db"))
    try app.create("readings")
    edge = try EdgeDatabase(
      path: folder.file("app.db"),
      declarations: [StreamDeclaration(name: Self.stream, kind: .snapshot, table: "readings")])
    while try edge.backfill(limit: 1000) {}
  }

  var description: EdgeStream { edge.streams[0] }

  /// Writes a round's rows.
  func fill() throws {
    try app.insert(next..<next + Int64(eventsOfARound), into: "readings", perTransaction: 1000)
    next += Int64(eventsOfARound)
  }

  func read(after seq: Int64) throws -> OutboxRead {
    try edge.read(.fresh(after: seq, through: .max, limit: 1000), maximumBytes: .max)
  }

  func encoder() -> FrameEncoder { FrameEncoder(epoch: edge.epoch, run: 1, stream: description) }
}

/// What the app does, a thousand rows in a transaction, without Drover.
private func insert() throws -> Round {
  let folder = try TemporaryFolder()
  let app = try BenchApp(path: folder.file("app.db"))
  try app.create("readings")
  var next: Int64 = 1
  return {
    let ids = next..<next + Int64(eventsOfARound)
    next = ids.upperBound
    defer { withExtendedLifetime(folder) {} }
    return (
      eventsOfARound,
      try ContinuousClock().measure { try app.insert(ids, into: "readings", perTransaction: 1000) }
    )
  }
}

/// The same with capture, into an outbox that grows.
private func capturedInsert() throws -> Round {
  let machine = try Machine()
  return { (eventsOfARound, try ContinuousClock().measure { try machine.fill() }) }
}

private func outboxRead() throws -> Round {
  let machine = try Machine()
  try machine.fill()
  return {
    var (seq, events): (Int64, Int) = (0, 0)
    let time = try ContinuousClock().measure {
      while events < eventsOfARound {
        let read = try machine.read(after: seq)
        seq = read.scannedThrough
        events += read.entries.count
      }
    }
    return (events, time)
  }
}

private func frameEncode() throws -> Round {
  let machine = try Machine()
  try machine.fill()
  let entries = try machine.read(after: 0).entries
  var encoder = machine.encoder()
  return {
    var bytes = 0
    let time = ContinuousClock().measure {
      for _ in 0..<framesOfARound {
        for entry in entries.prefix(eventsOfAFrame) { encoder.append(entry) }
        bytes += encoder.finish(covering: Interval(after: 0, through: Int64(eventsOfAFrame)), last: 1000).count
      }
    }
    precondition(bytes > eventsOfARound)
    return (eventsOfARound, time)
  }
}

/// Marks, confirms and forgets, as the agent does ten times a second while it drains.
private func settle() throws -> Round {
  let machine = try Machine()
  var front: Int64 = 0
  return {
    try machine.fill()
    let through = front + Int64(eventsOfARound)
    var settlement = Settlement()
    settlement.confirmed[machine.description.number] = IntervalSet([Interval(after: front, through: through)])
    settlement.fronts[machine.description.number] = through
    front = through
    return (eventsOfARound, try ContinuousClock().measure { try machine.edge.settle(settlement) })
  }
}

// MARK: The cloud

private func frameDecode() throws -> Round {
  let machine = try Machine()
  try machine.fill()
  let schema = machine.description.schema!
  var encoder = machine.encoder()
  for entry in try machine.read(after: 0).entries.prefix(eventsOfAFrame) { encoder.append(entry) }
  let frame = encoder.finish(covering: Interval(after: 0, through: Int64(eventsOfAFrame)), last: 1000)
  return {
    var events = 0
    let time = try ContinuousClock().measure {
      for _ in 0..<framesOfARound {
        guard case .frame(let frame) = try FrameDecoder.decode(frame, known: { _ in schema }) else { continue }
        events += frame.events.count
      }
    }
    return (events, time)
  }
}

/// Frames from the broker become rows of the cloud's database, a hundred of them in one transaction.
/// - Parameter keepsFeed: whether the rows are numbered for the change feed.
private func apply(keepsFeed: Bool) throws -> Round {
  let machine = try Machine()
  let folder = try TemporaryFolder()
  let store = try SQLiteCloudStore(path: folder.file("cloud.db"))
  _ = try store.keepFeed(keepsFeed)
  var logger = Logger(label: "apply")
  logger.logLevel = .error
  let consumer = Consumer(
    store: store, limits: Consumer.Limits(), logger: logger, wallClock: SQLiteCloudStore.wallClock)
  let description = InboundMessage(
    topic: Topic.schema(Machine.id, Machine.stream).text, payload: machine.description.schema!.document)
  try consumer.received([description])
  let topic = Topic.events(Machine.id, .snapshot, Machine.stream).text
  var encoder = machine.encoder()
  var seq: Int64 = 0
  return {
    try machine.fill()
    var messages: [InboundMessage] = []
    while messages.count < framesOfARound {
      let read = try machine.read(after: seq)
      for first in stride(from: 0, to: read.entries.count, by: eventsOfAFrame) {
        let entries = read.entries[first..<first + eventsOfAFrame]
        for entry in entries { encoder.append(entry) }
        let interval = Interval(after: entries.first!.seq - 1, through: entries.last!.seq)
        messages.append(
          InboundMessage(topic: topic, payload: encoder.finish(covering: interval, last: read.lastSeq)))
      }
      seq = read.scannedThrough
    }
    let time = try ContinuousClock().measure { try consumer.received(messages) }
    withExtendedLifetime(folder) {}
    return (messages.count * eventsOfAFrame, time)
  }
}

// MARK: Both

/// What confirmations bring, out of order and with holes at first.
private func intervalSet() throws -> Round {
  let count = 10_000
  let order = (0..<count).map { ($0 * 7919) % count }
  return {
    var set = IntervalSet()
    let time = ContinuousClock().measure {
      for place in order { set.insert(Interval(after: Int64(place) * 100, through: Int64(place + 1) * 100)) }
    }
    precondition(set.intervals.count == 1)
    return (count, time)
  }
}
