// Single rows of the sink tables for people. An edit is one of any SQL client: the sink table's triggers capture it, and refuse what Drover cannot carry.

package import DroverCore
import DroverWire
import Synchronization

package final class PostgreSQLRowEditor: RowEditor {
  /// One question has it at a time: it is taken out for that.
  private struct Kept: @unchecked Sendable {
    let store: PostgreSQLCloudStore
  }

  private let address: PostgreSQLAddress
  /// The connection of the last question: to make one costs more than most questions.
  private let kept = Mutex<Kept?>(nil)

  package init(_ address: PostgreSQLAddress) { self.address = address }

  package func table(of origin: MachineStream) throws -> RowTable? {
    try running { try EditorTable(origin, $0)?.table }
  }

  package func row(_ localID: String, of origin: MachineStream) throws -> (table: RowTable, row: ViewedRow?)? {
    try running { transaction in
      guard let table = try EditorTable(origin, transaction) else { return nil }
      let key = try table.key(localID)
      return (table.table, try table.viewed(key, try table.find(key)))
    }
  }

  package func rows(_ question: RowQuestion, of origin: MachineStream) throws -> (table: RowTable, page: RowPage)? {
    try running { transaction in
      guard let table = try EditorTable(origin, transaction) else { return nil }
      return (table.table, try table.page(question))
    }
  }

  package func edit(
    _ localID: String, _ request: RowEditRequest, of origin: MachineStream
  ) throws -> RowEditOutcome? {
    do {
      // If another client inserts the same row meanwhile, this runs again and meets it.
      return try running { try EditorTable(origin, $0)?.edit(localID, request) }
    } catch let error as PostgreSQLError where error.isAboutTheEvent {
      return .refused(
        error.isSilence ? .silence : RowRefusal(database: error.cause, explanation: error.explanation), present: nil)
    }
  }

  private func running<Result>(_ body: (Transaction) throws -> Result) throws -> Result {
    let known = kept.withLock { kept in
      defer { kept = nil }
      return kept
    }
    let store = try known?.store ?? open()
    // One whose question has failed is not used again.
    let result = try store.running(body)
    kept.withLock { $0 = Kept(store: store) }
    return result
  }

  private func open() throws -> PostgreSQLCloudStore {
    // Looking makes no store.
    _ = try Connection(toStoreAt: address)
    return try PostgreSQLCloudStore(address)
  }
}

/// A machine's rows in a sink table, within a transaction.
private struct EditorTable {
  struct Stored {
    var version: Int64
    var values: [Value]
  }

  let table: RowTable
  private let transaction: Transaction
  private let sink: SinkTable
  private let writer: SinkWriter

  private var connection: Connection { transaction.connection }
  private var schema: StreamSchema { table.schema }
  private var machine: MachineID { table.origin.machine }
  private var columns: [SinkColumn] { writer.columns }
  private var keyColumns: [SinkColumn] { writer.key.map { columns[$0] } }
  private var flow: [Parameter] { [.text(machine.text), .text(TwoWayTables.name(table.origin.stream))] }
  private var isRow: String {
    ([sink.machine] + keyColumns.map(\.identifier)).enumerated().map { "\($1) = $\($0 + 1)" }
      .joined(separator: " AND ")
  }

  /// nil where the store has no such rows.
  init?(_ origin: MachineStream, _ transaction: Transaction) throws {
    guard var schema = try transaction.editedSchema(of: origin), schema.naturalKey == nil,
      let sink = try transaction.table(of: origin.stream), sink.form.isTable
    else { return nil }
    if sink.column(SQLName(StreamSchema.lifeColumn)) != nil { schema = schema.tellingLives() }
    self.transaction = transaction
    self.sink = sink
    writer = try SinkWriter(sink, names: schema.columns.map { SQLName($0.name) }, key: schema.key)
    let isCaptured = try transaction.connection.query(
      "SELECT EXISTS (SELECT 1 FROM drover_flow WHERE machine_id = $1 AND stream = $2 AND owner = machine_id)",
      [.text(origin.machine.text), .text(TwoWayTables.name(origin.stream))]
    ).boolean(0, 0)
    table = RowTable(origin: origin, schema: schema, isCaptured: isCaptured)
  }

  // MARK: Reading

  /// The key as the columns hold it.
  func key(_ localID: String) throws -> [Value] {
    do {
      return writer.converted(key: try LocalIDCodec.key(localID, schema: schema))
    } catch {
      throw InvalidRowID(reason: "\(error)")
    }
  }

  func find(_ key: [Value]) throws -> Stored? {
    try writer.find([key], machine: machine, connection)[0].map {
      Stored(version: $0.version.version, values: $0.values)
    }
  }

  func page(_ question: RowQuestion) throws -> RowPage {
    let order = keyColumns.map(\.identifier).joined(separator: ", ")
    let places = keyColumns.enumerated().map { "$\($0 + 2)::\($1.type.name)" }.joined(separator: ", ")
    let list = columns.map(\.identifier).joined(separator: ", ")
    let first = try question.after.map(key)
    if let first, !writer.canHold(key: first) { throw InvalidRowID(reason: "no row has such a key") }
    let page = try question.page(after: first, schema: schema, values: { (row: Stored) in row.values }) {
      behind, limit in
      let isBehind = behind == nil ? "" : " AND (\(order)) > (\(places))"
      let rows = try connection.query(
        """
        SELECT drover_version, \(list) FROM \(sink.qualified) WHERE \(sink.machine) = $1\(isBehind)
         ORDER BY \(order) LIMIT \(limit)
        """, [.text(machine.text)] + (behind.map(keyParameters) ?? []))
      return (0..<rows.count).map { row in
        Stored(
          version: rows.integer(row, 0), values: columns.indices.map { columns[$0].value(rows, row, $0 + 1) })
      }
    }
    return RowPage(
      rows: try page.rows.compactMap { try viewed(schema.keyValues(of: $0.values), $0) },
      next: page.last.map { LocalIDCodec.text(key: $0, schema: schema) }, scanned: page.scanned)
  }

  private func keyParameters(_ key: [Value]) -> [Parameter] { zip(keyColumns, key).map { $0.parameter($1) } }

  /// nil for a row that is not there and was not.
  func viewed(_ key: [Value], _ stored: Stored?) throws -> ViewedRow? {
    let localID = LocalIDCodec.text(key: key, schema: schema)
    guard writer.canHold(key: key) else { return nil }
    let standing = try standing(key, localID)
    guard stored != nil || standing.mark != nil || standing.hasUntakenEdits else { return nil }
    return ViewedRow(
      localID: localID, values: stored?.values, version: stored?.version ?? standing.mark?.cloud ?? 0,
      standing: standing)
  }

  private func standing(_ key: [Value], _ localID: String) throws -> RowStanding {
    var standing = RowStanding()
    standing.mark = try RowBook(transaction, machine, table.origin.stream).marks(of: [localID])[ExactText(localID)]
    let number = try connection.query(
      "SELECT number FROM drover_row WHERE machine_id = $1 AND stream = $2 AND local_id = $3", flow + [.text(localID)])
    if number.count > 0 { standing.number = number.optionalInteger(0, 0) }
    let parts = keyColumns.enumerated().map { "$\($0 + 3)::\($1.type.name)" }.joined(separator: ", ")
    standing.hasUntakenEdits = try connection.query(
      """
      SELECT EXISTS (SELECT 1 FROM drover_edit
                      WHERE machine_id = $1 AND stream = $2 AND key = jsonb_build_array(\(parts)))
      """, flow + keyParameters(key)
    ).boolean(0, 0)
    let machines = try connection.query(
      """
      SELECT count(*), count(*) FILTER (WHERE EXISTS (
               SELECT 1 FROM drover_down_received AS received
                WHERE received.machine_id = flow.machine_id AND received.stream = flow.stream
                  AND received.after_seq < $3 AND received.through_seq >= $3))
        FROM drover_flow AS flow WHERE flow.owner = $1 AND flow.stream = $2 AND flow.machine_id <> '*'
      """, flow + [.integer(standing.number)])
    standing.machines = Int(machines.integer(0, 0))
    standing.confirmations = Int(machines.integer(0, 1))
    let conflicts = try connection.query(
      "SELECT id FROM drover_conflict WHERE machine_id = $1 AND stream = $2 AND local_id = $3 ORDER BY id",
      [.text(machine.text), .text(table.origin.stream.text), .text(localID)])
    standing.conflicts = (0..<conflicts.count).map { conflicts.integer($0, 0) }
    standing.refusals = try RefusedRowTable(connection: connection).rows(
      of: localID, table.origin.stream, owner: machine)
    return standing
  }

  // MARK: Writing

  func edit(_ localID: String, _ request: RowEditRequest) throws -> RowEditOutcome {
    let key = try key(localID)
    let stored = try writer.lock([key], machine: machine, connection)[0].map {
      Stored(version: $0.version.version, values: $0.values)
    }
    func refuse(_ refusal: RowRefusal) throws -> RowEditOutcome {
      .refused(refusal, present: try viewed(key, stored))
    }
    if let closed = table.closed { return try refuse(.closed(closed)) }
    switch RowEditRule.decide(
      request, on: stored?.values, key: key, schema: schema,
      isComplete: stored.map { schema.isComplete($0.values) } ?? false)
    {
    case .refuse(let refusal): return try refuse(refusal)
    case .nothing: return .done(try viewed(key, stored)!, isNew: false)
    case .insert(let values):
      let changes = Dictionary(uniqueKeysWithValues: values.enumerated().map { ($0, $1) })
      if let reason = misfit(changes) { return try refuse(.invalid(reason)) }
      try insert(values)
    case .update(let changes):
      if let reason = misfit(changes) { return try refuse(.invalid(reason)) }
      try update(key, changes)
    case .delete:
      try write("DELETE FROM \(sink.qualified) WHERE \(isRow)", [.text(machine.text)] + keyParameters(key))
    }
    guard let after = try viewed(key, try find(key)), after.standing.hasUntakenEdits else {
      throw PostgreSQLError(
        operation: "edit a row of \(sink.name) of", subject: connection.subject,
        cause: "the table's triggers do not capture it", state: "55000",
        hint: "restart the consumer, which makes them again")
    }
    return .done(after, isNew: stored == nil)
  }

  /// Why the columns do not hold the values, or nil. An edit gives no column another type.
  private func misfit(_ changes: [Int: Value]) -> String? {
    for (place, value) in changes.sorted(by: { $0.key < $1.key }) {
      let column = columns[place]
      switch column.fit(column.affinity.converting(value)) {
      case .fits: continue
      case .needs:
        return "The column \(column.name) is \(column.type.name) in the cloud's table, and holds no such value."
      case .never(let reason): return "The column \(column.name) cannot hold the value: \(reason)."
      }
    }
    return nil
  }

  private func insert(_ values: [Value]) throws {
    let all = [sink.machine] + columns.map(\.identifier)
    try write(
      """
      INSERT INTO \(sink.qualified) (\(all.joined(separator: ", ")))
      VALUES (\(all.indices.map { "$\($0 + 1)" }.joined(separator: ", ")))
      """, [.text(machine.text)] + zip(columns, values).map { $0.parameter($0.affinity.converting($1)) })
  }

  private func update(_ key: [Value], _ changes: [Int: Value]) throws {
    let places = changes.keys.sorted()
    let first = key.count + 2
    let sets = places.enumerated().map { "\(columns[$1].identifier) = $\(first + $0)" }.joined(separator: ", ")
    try write(
      "UPDATE \(sink.qualified) SET \(sets) WHERE \(isRow)",
      [.text(machine.text)] + keyParameters(key)
        + places.map { columns[$0].parameter(columns[$0].affinity.converting(changes[$0]!)) })
  }

  private func write(_ sql: String, _ parameters: [Parameter]) throws {
    guard try connection.query(sql, parameters).changed == 1 else {
      throw PostgreSQLError.silenced(sink, connection)
    }
  }
}

extension SinkColumn {
  /// A value that fits.
  fileprivate func parameter(_ value: Value) -> Parameter {
    var fields = FieldList(type)
    append(value, to: &fields)
    return fields.only
  }
}
