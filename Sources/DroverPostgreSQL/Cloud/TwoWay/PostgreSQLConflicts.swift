// Values that lost a conflict: listed when it is decided, and there until a person resolves it. A resolution is an edit like any other, compared with what
// the row is at that moment.

package import DroverCore
import DroverWire

extension Transaction {
  /// Lists a value that lost, unless it is listed for this row already.
  /// - Throws: `SinkBlocked` where there are as many conflicts as there may be.
  func list(_ lost: LostEdit, of localID: String, columns: [String], _ origin: MachineStream) throws {
    let names = ConflictValue.text(of: columns.map { .text($0) })
    let content = lost.value.map(ConflictValue.text)
    let bytes = names.utf8.count + (content?.utf8.count ?? 0)
    let listed = try connection.query(
      """
      INSERT INTO drover_conflict (machine_id, stream, local_id, at, reason, loser, columns, content, version, result, bytes)
      SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11
       WHERE NOT EXISTS (SELECT 1 FROM drover_conflict
                          WHERE machine_id = $1 AND stream = $2 AND local_id = $3 AND content IS NOT DISTINCT FROM $8)
      """,
      [
        .text(origin.machine.text), .text(origin.stream.text), .text(localID), .integer(store.now()),
        .text(lost.reason.rawValue), .text(lost.loser.rawValue), .text(names), .text(content),
        .integer(lost.version), .integer(lost.result), .integer(Int64(bytes)),
      ]
    ).changed
    guard listed > 0 else { return }
    // The one that was listed is among them.
    func use(_ rows: Rows) -> ConflictUse {
      ConflictUse(count: Int(rows.integer(0, 0)) - 1, bytes: Int(rows.integer(0, 1)) - bytes)
    }
    let sums = "SELECT count(*), coalesce(sum(bytes), 0)::bigint FROM drover_conflict"
    if let blocked = store.limits.conflicts.refusal(
      of: origin.machine, stream: origin.stream,
      own: use(try connection.query("\(sums) WHERE machine_id = $1", [.text(origin.machine.text)])),
      all: use(try connection.query(sums)))
    {
      throw blocked
    }
  }
}

enum ConflictValue {
  static func text(of values: [Value]) -> String {
    var bytes = [UInt8(ascii: "[")]
    for (index, value) in values.enumerated() {
      if index > 0 { bytes.append(UInt8(ascii: ",")) }
      JSONWriter.write(value, into: &bytes)
    }
    bytes.append(UInt8(ascii: "]"))
    return String(decoding: bytes, as: UTF8.self)
  }

  static func values(of text: String) throws -> [Value] {
    var values: [Value] = []
    var scanner = JSONScanner(ArraySlice(text.utf8))
    try scanner.readArray { (scanner) throws(WireError) in values.append(try scanner.readValue()) }
    return values
  }
}

package final class PostgreSQLConflicts: ConflictStore {
  private let store: PostgreSQLCloudStore

  /// - Throws: `PostgreSQLError`.
  package init(_ address: PostgreSQLAddress, now: @escaping () -> Int64 = PostgreSQLCloudStore.wallClock) throws {
    // Looking makes no store.
    _ = try Connection(toStoreAt: address)
    store = try PostgreSQLCloudStore(address, now: now)
  }

  package func conflicts(machine: MachineID?, stream: StreamName?, after id: Int64, limit: Int) throws -> [Conflict] {
    try store.running { transaction in
      var conditions = ["id > $1"]
      var parameters: [Parameter] = [.integer(id)]
      func add(_ column: String, _ value: String?) {
        guard let value else { return }
        parameters.append(.text(value))
        conditions.append("\(column) = $\(parameters.count)")
      }
      add("machine_id", machine?.text)
      add("stream", stream?.text)
      return try KeptConflict.read(
        "WHERE \(conditions.joined(separator: " AND ")) ORDER BY id LIMIT \(limit)", parameters, transaction
      ).map { try $0.conflict(transaction) }
    }
  }

  package func conflict(_ id: Int64) throws -> Conflict? {
    try store.running { try KeptConflict.read(id, $0)?.conflict($0) }
  }

  package func conflictCount(machine: MachineID?, stream: StreamName?, since: Int64) throws -> Int {
    try store.running { transaction in
      let rows = try transaction.connection.query(
        """
        SELECT count(*) FROM drover_conflict
         WHERE ($1::text IS NULL OR machine_id = $1) AND ($2::text IS NULL OR stream = $2) AND at >= $3
        """, [.text(machine?.text), .text(stream?.text), .integer(since)])
      return Int(rows.integer(0, 0))
    }
  }

  package func newestConflict() throws -> Int64 {
    try store.running { try $0.connection.query("SELECT coalesce(max(id), 0) FROM drover_conflict").integer(0, 0) }
  }

  package func resolve(_ id: Int64, _ choice: ConflictChoice, seen: [Value]?) throws -> ResolveOutcome {
    try store.running { transaction in
      guard let kept = try KeptConflict.read(id, transaction) else { return .unknown }
      return try Resolution(kept, transaction).run(choice, seen: seen)
    }
  }
}

/// A conflict as it is kept.
private struct KeptConflict {
  let id: Int64
  let machine: MachineID
  let stream: StreamName
  let localID: String
  let at: Int64
  let lost: LostEdit
  let columns: [String]

  static func read(_ id: Int64, _ transaction: Transaction) throws -> KeptConflict? {
    try read("WHERE id = $1", [.integer(id)], transaction).first
  }

  static func read(_ condition: String, _ parameters: [Parameter], _ transaction: Transaction) throws -> [KeptConflict]
  {
    let rows = try transaction.connection.query(
      """
      SELECT id, machine_id, stream, local_id, at, reason, loser, columns, content, version, result
        FROM drover_conflict \(condition)
      """, parameters)
    return try (0..<rows.count).compactMap { row in
      // Another version may know other words.
      guard let reason = ConflictReason(rawValue: rows.text(row, 5)),
        let loser = TwoWayRule.Side(rawValue: rows.text(row, 6))
      else { return nil }
      let columns = try ConflictValue.values(of: rows.text(row, 7)).map { name in
        if case .text(let bytes) = name { String(decoding: bytes, as: UTF8.self) } else { "" }
      }
      return KeptConflict(
        id: rows.integer(row, 0), machine: try MachineID(rows.text(row, 1)), stream: try StreamName(rows.text(row, 2)),
        localID: rows.text(row, 3), at: rows.integer(row, 4),
        lost: LostEdit(
          reason: reason, loser: loser, value: try rows.optionalText(row, 8).map(ConflictValue.values),
          version: rows.integer(row, 9), result: rows.integer(row, 10)), columns: columns)
    }
  }

  static let problem = "the stream's table is not as it was when the conflict was decided"

  func conflict(_ transaction: Transaction) throws -> Conflict {
    let row = try ConflictRow(self, transaction)
    return Conflict(
      id: id, machine: machine, stream: stream, localID: localID, at: at, lost: lost, columns: columns,
      present: try row?.find()?.values, hasChangedSince: try row?.hasChanged(since: lost.result) ?? true,
      problem: row == nil ? Self.problem : nil)
  }
}

/// The row that a conflict is about, with the columns that the conflict names.
private struct ConflictRow {
  let transaction: Transaction
  let origin: MachineStream
  let schema: StreamSchema
  let localID: String
  let key: [Value]
  let table: SinkTable
  let writer: SinkWriter
  let book: RowBook

  /// nil where its table, its description or one of the columns is gone.
  init?(_ conflict: KeptConflict, _ transaction: Transaction) throws {
    guard let schema = try transaction.latestSchema(machine: conflict.machine, stream: conflict.stream),
      let table = try transaction.table(of: conflict.stream)
    else { return nil }
    let names = conflict.columns.map(SQLName.init)
    let places = schema.key.compactMap { names.firstIndex(of: SQLName(schema.columns[$0].name)) }
    guard names.allSatisfy({ table.column($0) != nil }), places.count == schema.key.count else { return nil }
    self.transaction = transaction
    self.schema = schema
    self.table = table
    localID = conflict.localID
    origin = MachineStream(machine: schema.flow.owner(of: conflict.machine), stream: conflict.stream)
    writer = try SinkWriter(table, names: names, key: places, condition: schema.completeWhen)
    key = writer.converted(key: try LocalIDCodec.key(conflict.localID, schema: schema))
    book = RowBook(transaction, origin.machine, origin.stream)
  }

  func find() throws -> StoredRow? { try writer.find([key], machine: origin.machine, transaction.connection)[0] }

  func mark() throws -> RowMark? { try book.marks(of: [localID])[ExactText(localID)] }

  func hasChanged(since result: Int64) throws -> Bool {
    guard let mark = try mark(), mark.cloud == result, mark.edge == mark.decided else { return true }
    return try transaction.waitingEdits(of: origin, schema, writer).contains(ExactText(localID))
  }
}

private struct Resolution {
  private let kept: KeptConflict
  private let transaction: Transaction

  init(_ kept: KeptConflict, _ transaction: Transaction) {
    self.kept = kept
    self.transaction = transaction
  }

  func run(_ choice: ConflictChoice, seen: [Value]?) throws -> ResolveOutcome {
    guard let row = try ConflictRow(kept, transaction) else {
      guard choice == .keep else {
        return .refused("\(KeptConflict.problem); take the value that won, which keeps the row as it is")
      }
      return try done()
    }
    try transaction.lock(Locks.events(of: row.origin.machine, row.origin.stream))
    _ = try transaction.takeEdits(of: row.origin, limit: .max)
    let stored = try row.writer.lock([row.key], machine: row.origin.machine, transaction.connection)[0]
    // Another person may have resolved it meanwhile.
    guard try KeptConflict.read(kept.id, transaction) != nil else { return .unknown }
    guard stored?.values == seen else { return .changed }
    try transaction.markWriter(of: row.table)
    do {
      switch choice {
      case .keep: break
      case .takeLost:
        guard !row.writer.holds(row.schema.completeWhen, of: stored) else {
          return .refused("the row is complete and does not change any more")
        }
        try transaction.atomically { try takeLost(row, stored) }
      case .both:
        if let refusal = try transaction.atomically({ try insertBeside(row) }) { return .refused(refusal) }
      }
    } catch let error as PostgreSQLError where error.isAboutTheEvent {
      return .refused(error.explanation)
    }
    return try done()
  }

  private func done() throws -> ResolveOutcome {
    try transaction.connection.query("DELETE FROM drover_conflict WHERE id = $1", [.integer(kept.id)])
    try transaction.connection.query(
      """
      INSERT INTO drover_meta AS known (name, value) VALUES ('conflicts_resolved', '1')
      ON CONFLICT (name) DO UPDATE SET value = (known.value::bigint + 1)::text
      """)
    try transaction.connection.query("SELECT pg_notify('drover_edit', '')")
    return .resolved
  }

  private func takeLost(_ row: ConflictRow, _ stored: StoredRow?) throws {
    guard kept.lost.value != stored?.values else { return }
    let mark = try row.mark()
    let edge = mark == nil ? stored.flatMap { $0.version.epoch == 0 ? nil : $0.version } : mark?.edge
    try write(
      kept.lost.value, row.key, row.localID, row, isThere: stored != nil, epoch: stored?.version.epoch ?? 0,
      known: TwoWayRule.Known(edge: edge, cloud: mark?.cloud ?? 0))
  }

  private func write(
    _ value: [Value]?, _ key: [Value], _ localID: String, _ row: ConflictRow, isThere: Bool, epoch: Int64,
    known: TwoWayRule.Known
  ) throws {
    let version = TwoWayRule.decisionVersion(now: transaction.store.now(), known: known)
    let machine = row.origin.machine
    if let value {
      let new = NewRow(values: value, version: version)
      if isThere {
        try row.writer.overwrite([new], machine: machine, epoch: epoch, transaction.feed)
      } else if try !row.writer.insert([new], machine: machine, epoch: epoch, transaction.feed)[0] {
        throw PostgreSQLError(
          operation: "write to", subject: transaction.connection.subject,
          cause: "another client has inserted a row at the same moment", state: "40001")
      }
    } else if isThere {
      try row.writer.delete([key], versions: [version], machine: machine, transaction.feed)
    }
    try row.book.note([
      RowBook.Entry(
        localID: localID, mark: RowMark(edge: known.edge, cloud: version, isCloudContent: true), isGone: value == nil)
    ])
  }

  /// - Returns: why that cannot be, or nil.
  private func insertBeside(_ row: ConflictRow) throws -> String? {
    guard kept.lost.reason == .key, var value = kept.lost.value else {
      return "both can stay only of two new rows under one key"
    }
    guard row.writer.key.count == 1, let place = row.writer.key.first else {
      return "no other key can be given to a row whose key has several parts; insert the row under a key of your own"
    }
    let column = row.writer.columns[place]
    switch value[place] {
    case .integer:
      let rows = try transaction.connection.query(
        "SELECT \(column.identifier) FROM \(row.table.qualified) WHERE \(row.table.machine) = $1 ORDER BY \(column.identifier) DESC LIMIT 1",
        [.text(row.origin.machine.text)])
      guard column.type == .bigint else {
        return "the key is no integer any more; insert the row under a key of your own"
      }
      value[place] = .integer((rows.count == 0 ? 0 : rows.integer(0, 0)) + 1)
    case .text: value[place] = .text(Epoch(random: .random(in: .min ... .max)).text)
    default: return "no other key can be given to such a row; insert it under a key of your own"
    }
    try write(
      value, [value[place]], LocalIDCodec.text(key: [value[place]], schema: row.schema), row, isThere: false, epoch: 0,
      known: TwoWayRule.Known())
    return nil
  }
}

extension SinkWriter {
  fileprivate func holds(_ condition: Condition?, of row: StoredRow?) -> Bool {
    row.map { holds(condition, of: $0) } ?? false
  }
}
