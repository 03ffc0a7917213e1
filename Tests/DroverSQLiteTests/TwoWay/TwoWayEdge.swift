// What the tests of two-way rows at the edge stand on: an app with one table, its agent's database, and a cloud that numbers what it sends down.

import DroverCore
import DroverSQLite
import Testing

extension StreamDeclaration {
  static func twoWay(
    _ name: String, kind: Kind = .snapshot, direction: Direction = .both, key: [String]? = nil,
    synced: String? = nil, firesAppTriggers: Bool = false
  ) throws -> StreamDeclaration {
    try StreamDeclaration(name: StreamName(name), kind: kind, table: name) {
      $0.syncedColumn = synced
      $0.key = key
      $0.flow = Flow(direction: direction)
      $0.firesAppTriggers = firesAppTriggers
    }
  }
}

/// A machine with one two-way table, or several.
final class TwoWayEdge {
  let app: AppDatabase
  private(set) var edge: EdgeDatabase
  private let streams: [StreamDeclaration]
  private var nextNumber: [Int: Int64] = [:]
  var downEpoch = try! Epoch("d1")
  private(set) var warnings: [String] = []

  init(_ schema: String, _ streams: StreamDeclaration..., settled: Bool = true, journalMode: String = "delete") throws {
    app = try AppDatabase(schema, journalMode: journalMode)
    self.streams = streams
    edge = try app.attach(streams, settled: settled)
  }

  /// The agent is started again.
  func restart(_ other: [StreamDeclaration]? = nil) throws {
    edge = try EdgeDatabase(path: app.path, declarations: other ?? streams)
  }

  func put(_ row: [Value], _ version: Int64, edge mark: DownEvent.Mark? = nil, stream: Int = 1) -> DownEvent {
    let schema = edge.streams.first { $0.number == stream }!.schema!
    return DownEvent(
      seq: 0, localID: "", key: schema.keyValues(of: row), content: .row(Values(row)), version: version, edge: mark)
  }

  func delete(_ key: Value..., version: Int64, edge mark: DownEvent.Mark? = nil) -> DownEvent {
    DownEvent(seq: 0, localID: "", key: key, content: .none, version: version, edge: mark)
  }

  /// What the cloud has seen of the machine, in this epoch.
  func seen(_ version: Int64) -> DownEvent.Mark { DownEvent.Mark(epoch: edge.epoch, version: version) }

  /// The next frame of a stream.
  func frame(_ events: [DownEvent], stream: Int = 1) -> DownFrame {
    let first = nextNumber[stream, default: 0]
    nextNumber[stream] = first + Int64(max(1, events.count))
    var events = events
    for index in events.indices { events[index].seq = first + Int64(index) + 1 }
    return DownFrame(
      stream: stream, epoch: downEpoch, interval: Interval(after: first, through: nextNumber[stream]!), events: events)
  }

  @discardableResult
  func apply(_ events: DownEvent..., stream: Int = 1) throws -> String {
    try edge.looking { try edge.apply(frame(events, stream: stream)) }?.line ?? "later"
  }

  func rows(_ table: String = "t") throws -> [String] { try app.lines("SELECT * FROM \(table) ORDER BY 1") }

  /// What waits for the broker with what it says of its past: `put 1: 1, 'a' (base 0)`.
  func told() throws -> [String] {
    try edge.everything().entries.map { entry in
      "\(line(entry)) (" + (entry.ancestry.map { "base \($0.base)\($0.isAgain ? ", again" : "")" } ?? "up only") + ")"
    }
  }

  /// The versions on the wire.
  func versions() throws -> [Int64] { try edge.everything().entries.map(\.version) }

  func book() throws -> [String] { try app.lines("SELECT key, held, mine FROM drover_row ORDER BY key") }

  func letters() throws -> [KeptLetter] {
    try EdgeDeadLetters(path: app.path, machine: MachineID("MAH001"), readOnly: true)
      .letters(DeadLetterFilter(), limit: 100).sorted { $0.id < $1.id }
  }
}

extension DownOutcome {
  /// What is not zero: `applied 1, old 2`.
  var line: String {
    [("applied", applied), ("old", old), ("edited", edited), ("refused", refused), ("waiting", waiting)]
      .filter { $0.1 > 0 }.map { "\($0.0) \($0.1)" }.joined(separator: ", ")
  }
}
