// What every store of the cloud must hold, whatever database is behind it: the claims are written once against the seam, and each
// store's tests run all of them (`CloudStoreConformance.claims`). Rows are read back by other means than the store's own code.

package import DroverCore
import Testing

/// What a claim asks of the store that is made for it.
package struct CloudStoreConditions: Sendable {
  package var streamsPerMachine = 200
  package var columnsPerTable = 1000
  package var columnsPerMachine = 100
  package var pins: [StreamPin] = []
  package var protects = false
  package var deadLetterBytes = 1 << 20
  package var deadLetters = DeadLetterBounds()
  package var machine = MachineLimits()
  package var conflicts = CloudStoreLimits().conflicts
  /// Wall clock, microseconds since 1970.
  package var now: @Sendable () -> Int64 = { 1_795_000_000_000_000 }

  package init() {}

  package var limits: CloudStoreLimits {
    var limits = CloudStoreLimits(
      streamsPerMachine: streamsPerMachine, columnsPerTable: columnsPerTable, columnsPerMachine: columnsPerMachine,
      deadLetterBytes: deadLetterBytes, deadLetters: deadLetters, machine: machine,
      pins: StreamPins(pins, protectsAll: protects))
    limits.conflicts = conflicts
    return limits
  }
}

/// Reads what a store has written, past the store.
package protocol SinkReader {
  /// Rows of a sink table by column name, the key's machine included; in no order. Throws where there is no such table.
  func rows(of table: String) throws -> [[String: Value]]
  /// Names of a table's columns in their order; empty where there is no such table.
  func columns(of table: String) throws -> [String]
  func deadLetters() throws -> [KeptDeadLetter]
  /// Makes a table as another program would, with one column `mine`.
  func makeForeignTable(_ name: String) throws
}

package struct KeptDeadLetter: Equatable, Sendable {
  package var topic: String
  package var machine: String?
  package var stream: String?
  package var reason: String
  package var detail: String
  package var raw: [UInt8]
  /// Its full size, where `raw` is cut.
  package var bytes: Int
  package var count: Int

  package init(
    topic: String, machine: String?, stream: String?, reason: String, detail: String, raw: [UInt8], bytes: Int,
    count: Int
  ) {
    self.topic = topic
    self.machine = machine
    self.stream = stream
    self.reason = reason
    self.detail = detail
    self.raw = raw
    self.bytes = bytes
    self.count = count
  }
}

package struct CloudStoreConformance {
  /// One claim; its name is the sentence that the test's output shows.
  package struct Claim: Sendable, CustomTestStringConvertible {
    package let name: String
    /// Needs texts with NUL or invalid UTF-8, which not every database can hold.
    package let needsAnyText: Bool
    fileprivate let conditions: CloudStoreConditions
    fileprivate let check: @Sendable (Scene) throws -> Void

    init(
      _ name: String, needsAnyText: Bool = false, _ conditions: CloudStoreConditions = CloudStoreConditions(),
      check: @escaping @Sendable (Scene) throws -> Void
    ) {
      self.name = name
      self.needsAnyText = needsAnyText
      self.conditions = conditions
      self.check = check
    }

    package var testDescription: String { name }
  }

  /// All claims, for the suites that are about something else.
  package static let claims = rows + descriptions + received + deadLetters + wholeTransactions

  // MARK: By the roles of the seam

  /// `RowStore`
  package static let rows =
    merging + whoWins + completing + units + naturalKeys + payloads + lives + values + tombstones
  /// `SchemaStore`
  package static let descriptions = schemas + sharedTables + pinned + hostile
  /// `ReceivedRanges`, `EpochOrder`, `MachineRecords`, `ConsumerRecords`
  package static let received = ranges + order + machines + records
  /// `DeadLetterBox`
  package static let deadLetters = letters
  /// Of all roles: what a transaction holds together.
  package static let wholeTransactions = transactions

  private let makeStore: (CloudStoreConditions) throws -> (store: any CloudStore, reader: any SinkReader)

  /// - Parameter makeStore: makes an empty store and what reads it; both live until the claim is checked.
  package init(makeStore: @escaping (CloudStoreConditions) throws -> (store: any CloudStore, reader: any SinkReader)) {
    self.makeStore = makeStore
  }

  package func check(_ claim: Claim) throws {
    let (store, reader) = try makeStore(claim.conditions)
    try claim.check(Scene(store: store, reader: reader))
  }

  /// A store and its reader, with the words that claims are written in.
  struct Scene {
    let store: any CloudStore
    let reader: any SinkReader

    /// Merges in a transaction of its own.
    @discardableResult
    func merge(_ sink: Sink, _ events: SinkEvent..., epoch: Epoch? = .one) throws -> [MergeOutcome] {
      try store.transaction { try $0.merge(events, epoch: epoch, into: sink) }
    }

    func merge(_ sink: Sink, all events: [SinkEvent]) throws -> [MergeOutcome] {
      try store.transaction { try $0.merge(events, epoch: .one, into: sink) }
    }

    func adopt(_ schema: StreamSchema, _ stream: StreamName, machine: MachineID = .a) throws -> String? {
      try store.transaction { try $0.adopt(schema, machine: machine, stream: stream) }
    }

    /// Rows as lines of `column=value`, sorted; the machine and the version last.
    func lines(_ stream: StreamName) throws -> [String] {
      let columns = try reader.columns(of: stream.text)
      let bookkeeping = ["machine_id", "drover_epoch", "drover_version"]
      let own = columns.filter { !bookkeeping.contains($0) } + ["machine_id", "drover_version"]
      return try reader.rows(of: stream.text)
        .map { row in own.map { "\($0)=\(Self.text(row[$0] ?? .null))" }.joined(separator: " ") }.sorted()
    }

    private static func text(_ value: Value) -> String {
      switch value {
      case .null: "NULL"
      case .integer(let integer): String(integer)
      case .real(let real): String(describing: real)
      case .text(let bytes): String(decoding: bytes, as: UTF8.self)
      case .blob(let bytes): "x'\(bytes.map { String($0, radix: 16) }.joined())'"
      }
    }
  }
}

// MARK: The words of the claims

extension MachineID {
  static let a = try! MachineID("MAH001")
  static let b = try! MachineID("MAH002")
}

extension Epoch {
  static let one = try! Epoch("aaaa")
  static let two = try! Epoch("bbbb")
}

extension StreamName {
  static let stock = try! StreamName("stock")
  static func named(_ text: String) -> StreamName { try! StreamName(text) }
}

extension StreamSchema {
  /// `id INTEGER` as the key, and further columns as `name type`.
  static func columns(_ further: String..., kind: Kind = .snapshot) -> StreamSchema {
    make([("id", "INTEGER")] + further.map(split), key: [0], kind: kind)
  }

  static func make(_ columns: [(String, String)], key: [Int], kind: Kind = .snapshot) -> StreamSchema {
    try! StreamSchema(kind: kind, columns: columns.map { Column(name: $0.0, declaredType: $0.1) }, key: key)
  }

  private static func split(_ column: String) -> (String, String) {
    let parts = column.split(separator: " ", maxSplits: 1).map(String.init)
    return (parts[0], parts.count > 1 ? parts[1] : "")
  }
}

extension Sink {
  static func table(_ schema: StreamSchema, _ stream: StreamName = .stock, machine: MachineID = .a) -> Sink {
    Sink(machine: machine, stream: stream, kind: schema.kind, schema: schema)
  }

  static func bodies(_ kind: Kind, _ stream: StreamName = .stock, machine: MachineID = .a) -> Sink {
    Sink(machine: machine, stream: stream, kind: kind, schema: nil)
  }
}

extension SinkEvent {
  /// A row whose first value is its key, an integer.
  static func put(_ version: Int64, _ values: Value..., seq: Int64? = nil) -> SinkEvent {
    row(version, values, key: [values[0]], seq: seq)
  }

  static func row(_ version: Int64, _ values: [Value], key: [Value], seq: Int64? = nil) -> SinkEvent {
    SinkEvent(
      seq: seq, localID: localID(key), version: version, at: nil, key: key, content: .row(Values(values)), raw: [])
  }

  static func delete(_ version: Int64, _ key: Value..., seq: Int64? = nil) -> SinkEvent {
    SinkEvent(seq: seq, localID: localID(key), version: version, at: nil, key: key, content: .none, raw: [])
  }

  /// An event that no table describes.
  static func body(_ version: Int64, _ id: String, _ json: String, at: String? = nil) -> SinkEvent {
    SinkEvent(seq: nil, localID: id, version: version, at: at, key: [], content: .json(ArraySlice(json.utf8)), raw: [])
  }

  static func deleteBody(_ version: Int64, _ id: String) -> SinkEvent {
    SinkEvent(seq: nil, localID: id, version: version, at: nil, key: [], content: .none, raw: [])
  }

  private static func localID(_ key: [Value]) -> String {
    key.map { "\($0)" }.joined(separator: ",")
  }
}

extension Value: ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral, ExpressibleByStringLiteral {
  package init(integerLiteral value: Int64) { self = .integer(value) }
  package init(floatLiteral value: Double) { self = .real(value) }
  package init(stringLiteral value: String) { self = .text(value) }
}

extension MergeOutcome {
  /// Why it was refused, or nil.
  var refusal: DeadLetterReason? {
    if case .refused(let reason, _) = self { reason } else { nil }
  }
}
