// What every store of the cloud must hold of rows that both sides edit. The claims are written once against the seam (`TwoWayStore`, `ConflictStore`,
// `RowStore.merge` of a two-way stream), and each store's tests run all of them (`TwoWayConformance.claims`). People edit through a connection of
// their own, which knows nothing of Drover.

package import DroverCore
import Testing

/// Any SQL client of the store, on a connection of its own.
package protocol SQLClient {
  /// Runs statements of SQL that both databases know. Throws what the database says.
  func run(_ sql: String) throws
}

/// A store with what looks into it and writes to it from outside.
package struct TwoWayPlace {
  package var store: any CloudStore
  package var reader: any SinkReader
  package var conflicts: any ConflictStore
  package var replica: any Replica
  package var client: any SQLClient
  /// Another connection of the same kind.
  package var otherClient: any SQLClient
  /// Opens the same store once more.
  package var open: () throws -> any CloudStore

  package init(
    store: any CloudStore, reader: any SinkReader, conflicts: any ConflictStore, replica: any Replica,
    client: any SQLClient, otherClient: any SQLClient, open: @escaping () throws -> any CloudStore
  ) {
    self.open = open
    self.store = store
    self.reader = reader
    self.conflicts = conflicts
    self.replica = replica
    self.client = client
    self.otherClient = otherClient
  }
}

package struct TwoWayConformance {
  /// One claim; its name is the sentence that the test's output shows.
  package struct Claim: Sendable, CustomTestStringConvertible {
    package let name: String
    /// Needs a database in which one client can have a transaction open while another one writes.
    package let needsSeveralWriters: Bool
    fileprivate let conditions: CloudStoreConditions
    fileprivate let check: @Sendable (Scene) throws -> Void

    init(
      _ name: String, _ conditions: CloudStoreConditions = CloudStoreConditions(), needsSeveralWriters: Bool = false,
      check: @escaping @Sendable (Scene) throws -> Void
    ) {
      self.name = name
      self.needsSeveralWriters = needsSeveralWriters
      self.conditions = conditions
      self.check = check
    }

    package var testDescription: String { name }
  }

  package static let claims =
    merging + byColumns + editing + refusing + numbering + down + comparing + resolving + directions + protecting

  private let makePlace: (CloudStoreConditions) throws -> TwoWayPlace

  /// - Parameter makePlace: makes an empty store; all of it lives until the claim is checked.
  package init(makePlace: @escaping (CloudStoreConditions) throws -> TwoWayPlace) { self.makePlace = makePlace }

  package func check(_ claim: Claim) throws {
    try claim.check(Scene(place: try makePlace(claim.conditions)))
  }

  /// A store and its surroundings, with the words that claims are written in. The stream is `stock (id INTEGER, a TEXT, n INTEGER)` of MAH001.
  struct Scene {
    let place: TwoWayPlace
    var store: any CloudStore { place.store }

    /// The same store, opened anew.
    func reopened() throws -> Scene {
      var place = place
      place.store = try place.open()
      return Scene(place: place)
    }

    func transaction<Result>(_ body: (any CloudTransaction) throws -> Result) throws -> Result {
      try store.transaction(body)
    }

    /// Describes the stream. nil, or why that cannot be.
    @discardableResult
    func adopt(_ schema: StreamSchema, machine: MachineID = .a) throws -> String? {
      try store.transaction { try $0.adopt(schema, machine: machine, stream: .stock) }
    }

    /// Merges events of an epoch in a transaction of its own.
    @discardableResult
    func merge(
      _ events: SinkEvent..., epoch: Epoch? = .one, schema: StreamSchema = .twoWay, machine: MachineID = .a
    ) throws -> [MergeOutcome] {
      try store.transaction { try $0.merge(events, epoch: epoch, into: .table(schema, machine: machine)) }
    }

    func begin(_ epoch: Epoch, since: Int64 = 0, after parent: Epoch? = nil, fork: Int64 = 0) throws {
      try transaction {
        try $0.note(
          Lineage(since: since, fork: parent.map { Lineage.Fork(parent: $0, version: fork) }), epoch: epoch,
          machine: .a,
          stream: .stock)
      }
    }

    func sql(_ text: String) throws { try place.client.run(text) }

    /// Takes all edits. Returns the streams that had some.
    @discardableResult
    func take() throws -> Set<StreamName> {
      var streams: Set<StreamName> = []
      while true {
        let taken = try transaction { try $0.takeEdits(limit: 1000) }
        streams.formUnion(taken.streams)
        if !taken.hasMore { return streams }
      }
    }

    /// What goes down to a machine, from a number on.
    func down(after: Int64 = 0, machine: MachineID = .a, limit: Int = 1000, bytes: Int = 1 << 20) throws -> DownRead {
      try transaction { transaction in
        let stream = try #require(try transaction.downStreams(of: machine).first { $0.stream == .stock })
        return try transaction.readDown(stream, after: after, limit: limit, maximumBytes: bytes)
      }
    }

    /// The newest entry of a row that goes down; nil where it does not.
    func down(_ key: Int64, machine: MachineID = .a) throws -> OutboxEntry? {
      try down(machine: machine).entries.last { Array($0.key) == [.integer(key)] }
    }

    func received(_ through: Int64, run: Int64? = nil, machine: MachineID = .a, epoch: Epoch? = nil) throws -> Bool {
      try transaction {
        var confirmation = DownConfirmation(
          epoch: try epoch ?? $0.downEpoch(), runs: run.map { [.stock: $0] } ?? [:])
        if let interval = Interval(believing: 0, through) {
          confirmation.streams[.stock] = IntervalSet([interval])
        }
        return try $0.note(confirmation, machine: machine)
      }
    }

    /// The machine says which rows it refuses, and what it has received.
    func refuse(_ rows: RefusedRow..., machine: MachineID = .a, received through: Int64 = 0) throws {
      try transaction {
        var confirmation = DownConfirmation(epoch: try $0.downEpoch(), refused: RefusedRows(rows: rows))
        if let interval = Interval(believing: 0, through) {
          confirmation.streams[.stock] = IntervalSet([interval])
        }
        _ = try $0.note(confirmation, machine: machine)
      }
    }

    /// A row's `a` and `n` as text; nil where it is gone.
    func row(_ key: Int64, machine: String = "MAH001") throws -> String? {
      try place.reader.rows(of: "stock").first { $0["id"] == .integer(key) && $0["machine_id"] == .text(machine) }
        .map { "\(Self.text($0["a"] ?? .null)) \(Self.text($0["n"] ?? .null))" }
    }

    /// The sink row's bookkeeping.
    func version(_ key: Int64) throws -> Int64? {
      let row = try place.reader.rows(of: "stock").first { $0["id"] == .integer(key) }
      guard case .integer(let version)? = row?["drover_version"] else { return nil }
      return version
    }

    func conflicts() throws -> [Conflict] {
      try place.conflicts.conflicts(machine: nil, stream: nil, after: 0, limit: 1000)
    }

    /// What a statement is refused with; nil where it passes.
    func refusal(_ text: String) -> String? {
      do {
        try sql(text)
        return nil
      } catch {
        return "\(error)"
      }
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

extension StreamSchema {
  static let twoWay = twoWay()

  static func twoWay(
    _ direction: Direction = .both, newer: String? = nil, natural: Bool = false, reach: Reach = .machine,
    kind: Kind = .snapshot, completeWhen: String? = nil, merge: MergeUnit = .row, further: [(String, String)] = []
  ) -> StreamSchema {
    try! StreamSchema(
      kind: kind,
      columns: ([("id", "INTEGER"), ("a", "TEXT"), ("n", "INTEGER")] + further).map {
        Column(name: $0.0, declaredType: $0.1)
      },
      key: [0], completeWhen: completeWhen.map { try! Condition(parsing: $0) },
      flow: Flow(direction: direction, newer: newer, merge: merge, isKeyNatural: natural, reach: reach))
  }
}

extension RefusedRow {
  static func refused(
    _ localID: String, _ stream: StreamName = .stock, version: Int64 = 1, cause: String = "no", tries: Int = 1
  ) -> RefusedRow {
    RefusedRow(
      stream: stream, localID: localID, version: version, reason: "constraint", cause: cause, tries: tries, since: 5,
      last: 4 + Int64(tries))
  }
}

extension SinkEvent {
  /// An own edit of the machine that had seen a decision of the cloud's; `a` nil for a delete.
  static func edit(
    _ version: Int64, _ key: Int64, _ a: String?, n: Int64 = 0, base: Int64 = 0, again: Bool = false
  ) -> SinkEvent {
    var event = SinkEvent(
      seq: nil, localID: String(key), version: version, at: nil, key: [.integer(key)],
      content: a.map { .row([.integer(key), .text($0), .integer(n)]) } ?? .none, raw: [])
    event.ancestry = Ancestry(base: base, isAgain: again)
    return event
  }
}

extension OutboxEntry {
  /// The row's `a`; nil for a delete.
  var a: String? {
    guard case .row(let row) = content, case .text(let bytes) = row[1] else { return nil }
    return String(decoding: bytes, as: UTF8.self)
  }
}
