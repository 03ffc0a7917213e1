import DroverCloud
import DroverCore
import DroverSQLite
import DroverTesting
import DroverWire
import Foundation
import GRDB
import Logging
import Testing

/// Random headers and lines from the app's tables through frames and the consumer into the cloud's tables; frames come in any order, late
/// and more than once. Each case prints its seed; the same seed makes the same run.
@Suite(.ownThread) struct UnitReplicaTests {
  private static let tables = """
    CREATE TABLE receipts (id INTEGER PRIMARY KEY, note TEXT, closed INTEGER);
    CREATE TABLE sales (no INTEGER PRIMARY KEY, receipt_id INTEGER, item TEXT UNIQUE);
    CREATE TABLE payments (receipt INTEGER, part INTEGER, sum REAL, PRIMARY KEY (part, sum)) WITHOUT ROWID;
    """
  private static let rows = [
    "SELECT id, note, closed FROM receipts ORDER BY 1",
    "SELECT no, receipt_id, item FROM sales WHERE receipt_id IN (SELECT id FROM receipts) ORDER BY 1",
    "SELECT receipt, part, sum FROM payments WHERE receipt IN (SELECT id FROM receipts) ORDER BY 2, 3",
  ]

  @Test(arguments: 1...12)
  func `headers and lines in the cloud are those of the app, whatever order frames come in`(seed: Int) throws {
    let app = try AppDatabase(Self.tables + "PRAGMA synchronous = OFF")
    var way = try Way(app, completeWhen: nil, random: Seeded(UInt64(seed)))
    for _ in 0..<40 { try way.round(app) }
    try way.deliverAll()
    try way.follower.expectStore("seed \(seed)")
    #expect(way.follower.heard.deletes > 5 && way.follower.beginnings == 0 && way.follower.repeated == 0)
    for sql in Self.rows {
      #expect(try way.inCloud(sql) == app.lines(sql), "seed \(seed): \(way.said.suffix(8).joined(separator: "; "))")
    }
    #expect(try way.inCloud("SELECT count(*) FROM drover_dead_letter") == ["0"])
    #expect(way.changes > 60)
  }

  @Test(arguments: 1...8)
  func `a receipt that is closed in the cloud stays as it is with its lines, and what is open follows the app`(
    seed: Int
  )
    throws
  {
    let app = try AppDatabase(Self.tables + "PRAGMA synchronous = OFF")
    var way = try Way(app, completeWhen: "closed = 1", random: Seeded(UInt64(seed)))
    var closed: [String: [String]] = [:]
    for _ in 0..<160 {
      try way.round(app)
      for id in try way.inCloud("SELECT id FROM receipts WHERE closed = 1") {
        let unit = try way.unit(id)
        try #require(closed[id, default: unit] == unit, "seed \(seed): \(way.said.suffix(8).joined(separator: "; "))")
        closed[id] = unit
      }
      try #require(try way.inCloud("SELECT id FROM receipts WHERE closed = 1").count == closed.count)
    }
    #expect(closed.count > 1)
    try way.follower.expectStore("seed \(seed)")
    #expect(way.follower.beginnings == 0 && way.follower.repeated == 0)
    #expect(try way.inCloud("SELECT DISTINCT reason FROM drover_dead_letter") == ["'frozen'"])
  }
}

/// The edge, frames under way, and the cloud.
private struct Way {
  private let edge: EdgeDatabase
  private let consumer: Consumer
  private let cloud: DatabaseQueue
  /// Looks at the cloud's change feed now and then.
  var follower: Follower
  private var random: Seeded
  private var underWay: [InboundMessage] = []
  private var read: Int64 = 0
  var said: [String] = []
  var changes = 0

  init(_ app: AppDatabase, completeWhen: String?, random seeded: Seeded) throws {
    random = seeded
    edge = try app.attach([
      .batch(
        "receipts", completeWhen: completeWhen, with: .lines("sales", ["receipt_id": "id"]),
        .lines("payments", ["receipt": "id"]))
    ])
    let path = app.file("cloud.db")
    let store = try SQLiteCloudStore(path: path)
    _ = try store.keepFeed(true)
    follower = try Follower(
      SQLiteChangeReader(path: path), SQLiteCloudReader(path: path), seed: UInt64.random(in: 0...99, using: &random))
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    consumer = Consumer(store: store, limits: .init(), logger: logger, wallClock: SQLiteCloudStore.wallClock)
    cloud = try QueryPlans.ofTest { try DatabaseQueue(path: app.file("cloud.db")) }
    let topic = Topic.schema(try MachineID("TILL1"), edge.streams[0].name).text
    try consumer.received([InboundMessage(topic: topic, payload: edge.streams[0].schema!.document)])
  }

  func inCloud(_ sql: String) throws -> [String] { try cloud.read { try rawRows($0, sql) }.map(line) }

  func unit(_ id: String) throws -> [String] {
    try inCloud("SELECT * FROM receipts WHERE id = \(id)")
      + inCloud("SELECT * FROM sales WHERE receipt_id = \(id) ORDER BY no")
      + inCloud("SELECT * FROM payments WHERE receipt = \(id) ORDER BY part, sum")
  }

  /// Some statements of the app's, what is new read, and some of the frames under way delivered.
  mutating func round(_ app: AppDatabase) throws {
    for _ in 0..<(1 + random.below(5)) { statement(on: app) }
    let fresh = try edge.read(.fresh(after: read, through: .max, limit: 1000), maximumBytes: .max)
    read = fresh.lastSeq
    send(fresh.entries)
    var some: [InboundMessage] = []
    for _ in 0..<random.below(6) where !underWay.isEmpty {
      let place = random.below(underWay.count)
      // Sometimes it comes again.
      some.append(random.below(4) == 0 ? underWay[place] : underWay.remove(at: place))
    }
    if !some.isEmpty { try consumer.received(some) }
    try follower.look()
  }

  mutating func deliverAll() throws {
    while !underWay.isEmpty { try consumer.received([underWay.remove(at: random.below(underWay.count))]) }
  }

  /// One frame for each event, so that any may overtake any.
  private mutating func send(_ entries: [OutboxEntry]) {
    var encoder = FrameEncoder(epoch: edge.epoch, run: edge.runs.newest!.number, stream: edge.streams[0])
    for entry in entries {
      encoder.append(entry)
      underWay.append(
        InboundMessage(
          topic: "drover/v1/TILL1/batch/receipts",
          payload: encoder.finish(covering: Interval(after: entry.seq - 1, through: entry.seq), last: entry.seq)))
    }
  }

  private mutating func statement(on app: AppDatabase) {
    var sql = one()
    switch random.below(6) {
    case 0: sql = "BEGIN; \(sql); \(one()); ROLLBACK"
    case 1: sql = "BEGIN; \(sql); \(one()); \(one()); COMMIT"
    case 2: sql = "PRAGMA recursive_triggers = \(random.below(2)); \(sql)"
    default: break
    }
    said.append(sql)
    do {
      try app.run(sql)
      changes += 1
    } catch {
      try? app.run("ROLLBACK")
    }
  }

  private mutating func one() -> String {
    let (id, other, no) = (random.below(6), random.below(6), random.below(9))
    let item = "'\("abcdefg".dropFirst(random.below(7)).prefix(1))'"
    let conflict = ["", " OR REPLACE", " OR IGNORE"][random.below(3)]
    switch random.below(16) {
    case 0, 1: return "INSERT\(conflict) INTO receipts VALUES (\(id), \(item), \(random.below(8) == 0 ? 1 : 0))"
    case 2: return "UPDATE\(conflict) receipts SET id = \(other) WHERE id = \(id)"
    case 3: return "UPDATE receipts SET note = \(item) WHERE id <> \(id)"
    case 4:
      return random.below(3) == 0
        ? "UPDATE receipts SET closed = 1 WHERE id = \(id)" : "DELETE FROM receipts WHERE id = \(id)"
    case 5, 6, 7: return "INSERT\(conflict) INTO sales VALUES (\(no), \(id), \(item))"
    case 8:
      return
        "INSERT INTO sales VALUES (\(no), \(id), \(item)) ON CONFLICT DO UPDATE SET receipt_id = excluded.receipt_id"
    case 9: return "UPDATE\(conflict) sales SET receipt_id = \(other), item = \(item) WHERE receipt_id = \(id)"
    case 10: return "UPDATE\(conflict) sales SET no = no + 1 WHERE no > \(no)"
    case 11: return "DELETE FROM sales WHERE no = \(no) OR receipt_id = \(id)"
    case 12, 13: return "INSERT\(conflict) INTO payments VALUES (\(id), \(random.below(3)), \(random.below(3)).5)"
    case 14: return "UPDATE\(conflict) payments SET receipt = \(other), part = part + 1 WHERE receipt = \(id)"
    default: return "DELETE FROM payments WHERE part = \(random.below(3))"
    }
  }
}
