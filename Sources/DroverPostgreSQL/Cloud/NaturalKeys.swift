// A machine's events are merged into what it holds by the same rule as everywhere; then its row is found the thing that it is, which
// DroverCore decides. The sink's row of a thing is of the newest version, under the machine and key that brought it first.

import DroverCore

struct NaturalKeys: ThingTables {
  private let transaction: Transaction
  private let stream: StreamName
  private let key: NaturalKey
  private let sink: SinkTable
  private let held: SinkTable
  private let localKey: [SinkColumn]
  private let identity: [SinkColumn]
  private let fallback: [SinkColumn]

  /// For tables that are there.
  init(_ transaction: Transaction, _ stream: StreamName, _ key: NaturalKey) throws {
    self.transaction = transaction
    self.stream = stream
    self.key = key
    sink = try transaction.table(of: stream)!
    let held = try MatchedSink(transaction, stream).heldTable()!
    self.held = held
    localKey = held.key.map { held.column($0)! }
    identity = try key.columns.map { try held.need(SQLName($0)) }
    fallback = try key.fallback.map { try held.need(SQLName($0)) }
  }

  private var connection: Connection { transaction.connection }
  private var matching: ThingMatching<NaturalKeys> { ThingMatching(key: key, tables: self) }

  /// - Parameter mergeIntoHeld: merges one event into what its machine holds.
  func merge(
    _ events: [SinkEvent], machine: MachineID, _ mergeIntoHeld: (SinkEvent) throws -> MergeOutcome
  ) throws -> [MergeOutcome] {
    try matching.merge(events) { try merge($0, machine, mergeIntoHeld) }
  }

  private func merge(
    _ event: SinkEvent, _ machine: MachineID, _ mergeIntoHeld: (SinkEvent) throws -> MergeOutcome
  ) throws -> MergeOutcome {
    struct Undone: Error { let outcome: MergeOutcome }
    let row = RowKey(
      machine: .text(machine.text), local: zip(localKey, event.key).map { $0.affinity.converting($1) })
    let before = try standing(of: row)
    do {
      return try transaction.atomically {
        let outcome = try mergeIntoHeld(event)
        guard outcome == .applied else { return outcome }
        if event.content != .none, let key = parameters(row) {
          let highest = VersionBound.highest(now: transaction.store.now())
          try connection.query(
            "UPDATE \(held.qualified) SET drover_rank = least(drover_version, $\(key.count + 1)) WHERE \(isRow(held))",
            key + [.integer(highest)])
        }
        if let ambiguity = try matching.follow(row, isDelete: event.content == .none, before: before) {
          throw Undone(outcome: .refused(.ambiguous, detail: "\(event.localID.prefix(64)): \(ambiguity)"))
        }
        return .applied
      }
    } catch let undone as Undone {
      return undone.outcome
    } catch let error as PostgreSQLError where error.isAboutTheEvent {
      return .refused(.store, detail: error.explanation)
    }
  }

  func placeAll() throws { try matching.placeAll() }

  // MARK: What the machines hold

  func standing(of row: RowKey) throws -> Standing? {
    guard let key = parameters(row) else { return nil }
    let wanted = ["drover_thing"] + (identity + fallback).map(\.identifier)
    let rows = try connection.query(
      """
      SELECT \(wanted.joined(separator: ", ")), \(MatchedSink.takesPart(stream, machine: "own.\(held.machine)"))
        FROM \(held.qualified) AS own
       WHERE \(isRow(held))
      """, key)
    guard rows.count > 0 else { return nil }
    let values = (identity + fallback).enumerated().map { $1.value(rows, 0, $0 + 1) }
    return Standing(
      thing: rows.optionalInteger(0, 0), identity: Array(values.prefix(identity.count)),
      fallback: Array(values.dropFirst(identity.count)), takesPart: rows.boolean(0, wanted.count))
  }

  func things(withIdentity values: [Value], besides thing: Int64) throws -> [Int64] {
    try things(identity, values, besides: thing)
  }

  func things(withFallback values: [Value], besides thing: Int64, unidentified: Bool) throws -> [Int64] {
    let known = identity.map { "known.\($0.identifier) IS NOT NULL" }.joined(separator: " AND ")
    return try things(
      fallback, values, besides: thing,
      unidentified
        ? "AND NOT EXISTS (SELECT 1 FROM \(held.qualified) AS known WHERE known.drover_thing = own.drover_thing AND \(known))"
        : "")
  }

  private func things(
    _ columns: [SinkColumn], _ values: [Value], besides thing: Int64, _ further: String = ""
  ) throws -> [Int64] {
    var parameters: [Parameter] = [.integer(thing)]
    var conditions: [String] = []
    for (column, value) in zip(columns, values) {
      guard value != .null else {
        conditions.append("own.\(column.identifier) IS NULL")
        continue
      }
      parameters.append(parameter(column, value))
      conditions.append("own.\(column.identifier) = ($\(parameters.count)::\(column.type.name)[])[1]")
    }
    let rows = try connection.query(
      """
      SELECT DISTINCT drover_thing FROM \(held.qualified) AS own
       WHERE drover_thing <> $1 AND \(conditions.joined(separator: " AND ")) \(further)
         AND \(MatchedSink.takesPart(stream, machine: "own.\(held.machine)"))
      """, parameters)
    return (0..<rows.count).map { rows.integer($0, 0) }
  }

  func isHeld(_ thing: Int64, by machine: Value) throws -> Bool {
    try connection.query(
      "SELECT EXISTS (SELECT 1 FROM \(held.qualified) WHERE drover_thing = $1 AND \(held.machine) = $2)",
      [.integer(thing), text(machine)]
    ).boolean(0, 0)
  }

  func nextThing() throws -> Int64 {
    try connection.query("SELECT coalesce(max(drover_thing), 0) + 1 FROM \(held.qualified)").integer(0, 0)
  }

  func put(_ row: RowKey, in thing: Int64) throws {
    try connection.query(
      "UPDATE \(held.qualified) SET drover_thing = $\(localKey.count + 2) WHERE \(isRow(held))",
      parameters(row)! + [.integer(thing)])
  }

  func unplaced() throws -> [RowKey] {
    let key = ([held.machine] + localKey.map(\.identifier)).joined(separator: ", ")
    let rows = try connection.query(
      "SELECT \(key) FROM \(held.qualified) WHERE drover_thing IS NULL ORDER BY drover_rank, \(key) LIMIT 1000")
    return (0..<rows.count).map { row in
      RowKey(
        machine: .text(rows.text(row, 0)), local: localKey.enumerated().map { $1.value(rows, row, $0 + 1) })
    }
  }

  // MARK: What the sink shows

  func hide(_ row: RowKey) throws {
    guard let key = parameters(row) else { return }
    try transaction.feed.open(sink.feed)
    let deletion = "DELETE FROM \(sink.qualified) AS shown WHERE \(isRow(sink))"
    let statement = sink.feed?.burying(
      deletion, alias: "shown", key: sink.wholeKey, version: "shown.drover_version",
      now: "$\(key.count + 1)::bigint")
    let now: [Parameter] = sink.feed == nil ? [] : [.integer(transaction.feed.now)]
    let deleted = try connection.query(statement ?? deletion, key + now).changed
    transaction.feed.count(sink.feed, deletes: deleted)
    guard deleted == 0 else { return }
    let isShown = try connection.query("SELECT EXISTS (SELECT 1 FROM \(sink.qualified) WHERE \(isRow(sink)))", key)
    if isShown.boolean(0, 0) { throw PostgreSQLError.silenced(sink, connection) }
  }

  func refresh(_ thing: Int64) throws {
    let key = [sink.machine] + localKey.map(\.identifier)
    let values =
      sink.columns.filter { !held.key.contains($0.name) }.map(\.identifier) + ["drover_epoch", "drover_version"]
    func list(_ names: [String], of table: String) -> String { names.map { "\(table).\($0)" }.joined(separator: ", ") }
    let numbering = sink.numbering
    let changes = (values + numbering.column).map { "\($0) = excluded.\($0)" }.joined(separator: ", ")
    try transaction.feed.open(sink.feed)
    let shown = try connection.query(
      """
      WITH first AS (
        SELECT \(list(key, of: "held")) FROM \(held.qualified) AS held
          LEFT JOIN \(sink.qualified) AS shown ON \(key.map { "shown.\($0) = held.\($0)" }.joined(separator: " AND "))
         WHERE held.drover_thing = $1 ORDER BY shown.\(sink.machine) IS NULL, held.\(sink.machine) LIMIT 1),
      newest AS (
        SELECT * FROM \(held.qualified) WHERE drover_thing = $1 ORDER BY drover_rank DESC, \(sink.machine) LIMIT 1)
      INSERT INTO \(sink.qualified) AS shown (\((key + values + numbering.column).joined(separator: ", ")))
      SELECT \(([list(key, of: "first"), list(values, of: "newest")] + numbering.value).joined(separator: ", ")) FROM first, newest
      ON CONFLICT (\(key.joined(separator: ", "))) DO UPDATE SET \(changes)
      \(isComparable ? "WHERE (\(list(values, of: "shown"))) IS DISTINCT FROM (\(list(values, of: "excluded")))" : "")
      """, [.integer(thing)]
    ).changed
    transaction.feed.count(sink.feed, puts: shown)
    if try shown == 0 && !isShown(thing) { throw PostgreSQLError.silenced(sink, connection) }
  }

  /// Whether the sink has the thing as it is held now; also where no machine holds it any more.
  private func isShown(_ thing: Int64) throws -> Bool {
    let key = [sink.machine] + localKey.map(\.identifier)
    return try connection.query(
      """
      WITH newest AS (
        SELECT drover_epoch, drover_version FROM \(held.qualified) WHERE drover_thing = $1
         ORDER BY drover_rank DESC, \(sink.machine) LIMIT 1)
      SELECT NOT EXISTS (SELECT 1 FROM newest) OR EXISTS (
        SELECT 1 FROM newest, \(held.qualified) AS held
          JOIN \(sink.qualified) AS shown ON \(key.map { "shown.\($0) = held.\($0)" }.joined(separator: " AND "))
         WHERE held.drover_thing = $1
           AND (shown.drover_epoch, shown.drover_version) = (newest.drover_epoch, newest.drover_version))
      """, [.integer(thing)]
    ).boolean(0, 0)
  }

  private var isComparable: Bool { !sink.columns.contains { $0.type == .json } }

  // MARK: Parameters

  private func isRow(_ table: SinkTable) -> String {
    (["\(table.machine) = $1"]
      + localKey.enumerated().map { "\($1.identifier) = ($\($0 + 2)::\($1.type.name)[])[1]" }).joined(
        separator: " AND ")
  }

  /// Nil for a key that no row can have.
  private func parameters(_ row: RowKey) -> [Parameter]? {
    var parameters = [text(row.machine)]
    for (column, value) in zip(localKey, row.local) {
      guard column.fit(value) == .fits, value != .null else { return nil }
      parameters.append(parameter(column, value))
    }
    return parameters
  }

  private func parameter(_ column: SinkColumn, _ value: Value) -> Parameter {
    var fields = FieldList(column.type)
    column.append(value, to: &fields)
    return fields.array
  }

  private func text(_ value: Value) -> Parameter {
    guard case .text(let bytes) = value else { preconditionFailure("a machine's name is a text") }
    return .text(String(decoding: bytes, as: UTF8.self))
  }
}
