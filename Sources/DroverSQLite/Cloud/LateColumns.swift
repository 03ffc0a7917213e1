// A fact is never overwritten, nor is a batch that is complete. But when its table gets a column, the source sends its rows once more, each
// with a value that the stored row could not have: what differs only in columns that the row's own schema did not have is the same, and the row
// gets their values.
//
// Of facts the same holds for a column whose type has changed: where the new type makes the new value of the stored one, as '5' of 5, it is the
// same fact.
//
// So a sink table of facts or batches whose schema changes gets a column for the schema that each row was written under. Rows from before have
// NULL there: they had the columns that stood in the table before that one, and no others.

import DroverCore
import GRDB

final class LateColumns {
  private let database: Database
  private let stream: StreamName
  private let schema: StreamSchema
  private let marker: Statement
  private let update: Statement
  /// Columns of the table that rows from before the marks have.
  private let first: Set<SQLName>
  /// By machine and mark: positions in the schema's columns that a row written under it lacks.
  private var lacking: [MachineID: [String: Set<Int>]] = [:]
  /// The same for columns whose type had another affinity there.
  private var retyped: [MachineID: [String: Set<Int>]] = [:]
  private let isConverted: Statement

  /// nil for a table that has no marks, because its schema never changed.
  /// - Parameter isNumbered: whether a change is given a number in the change feed.
  init?(_ database: Database, stream: StreamName, schema: StreamSchema, isNumbered: Bool) throws {
    let present = try database.catalogue(of: stream.text).map(\.name)
    guard let place = present.firstIndex(of: SQLName(TableShape.schemaColumn)) else { return nil }
    self.database = database
    self.stream = stream
    self.schema = schema
    first = Set(present[..<place])
    let table = quoted(stream.text)
    let isRow =
      ([schema.machineColumn] + schema.key.map { quoted(schema.columns[$0].name) })
      .enumerated().map { "\($1) IS ?\($0 + 1)" }.joined(separator: " AND ")
    marker = try Statement(
      database, "SELECT \(TableShape.schemaColumn), drover_epoch, drover_version FROM \(table) WHERE \(isRow)")
    // An operand takes the affinity of the other one (https://www.sqlite.org/datatype3.html, section 4.2).
    isConverted = try Statement(
      database,
      """
      SELECT ?1 IS ?2 OR typeof(?2) = 'text' AND CAST(?2 AS TEXT) IS ?1
             OR typeof(?2) IN ('integer', 'real') AND CAST(?2 AS NUMERIC) IS ?1
      """)
    let start = schema.key.count + 2
    let changes = schema.columns.indices.filter { !schema.key.contains($0) }
      .map { "\(quoted(schema.columns[$0].name)) = ?\(start + $0)" }
    let end = start + schema.columns.count
    let bookkeeping =
      ["\(TableShape.schemaColumn) = ?\(end)", "drover_epoch = ?\(end + 1)", "drover_version = ?\(end + 2)"]
      + (isNumbered ? ["\(TableShape.changeColumn) = drover_next_change()"] : [])
    update = try Statement(
      database,
      """
      UPDATE \(table) SET \((changes + bookkeeping).joined(separator: ", "))
       WHERE \(isRow)
      """)
  }

  /// - Parameters:
  ///   - version: the event's.
  ///   - heedsTypes: whether what a new type makes of an old value is the same.
  func compare(
    _ stored: [Value], with values: [Value], _ event: SinkEvent, of machine: MachineID, version: RowVersion,
    heedsTypes: Bool
  ) throws -> LateComparison {
    bindKey(marker, machine, event)
    defer { marker.reset() }
    var mark = ""
    var present = version
    if try marker.step() {
      if case .text(let bytes) = marker.value(0) { mark = String(decoding: bytes, as: UTF8.self) }
      present = RowVersion(epoch: marker.integer(1), version: marker.integer(2))
    }
    return try LateComparison(
      (stored, present), with: (values, version), lacking: lackingColumns(mark, machine),
      retyped: heedsTypes ? retypedColumns(mark, machine) : [], isConverted: { try isConverted($0, to: $1) })
  }

  private func isConverted(_ old: Value, to new: Value) throws -> Bool {
    isConverted.bind(old, at: 1)
    isConverted.bind(new, at: 2)
    defer { isConverted.reset() }
    return try isConverted.step() && isConverted.integer(0) == 1
  }

  func write(_ comparison: LateComparison, _ event: SinkEvent, of machine: MachineID) throws {
    let row = comparison.filled
    bindKey(update, machine, event)
    let start = schema.key.count + 2
    for (index, value) in row.enumerated() where !schema.key.contains(index) {
      update.bind(value, at: Int32(start + index))
    }
    update.bind(schema.id.text, at: Int32(start + row.count))
    update.bind(comparison.version.epoch, at: Int32(start + row.count + 1))
    update.bind(comparison.version.version, at: Int32(start + row.count + 2))
    try update.run()
  }

  private func lackingColumns(_ mark: String, _ machine: MachineID) throws -> Set<Int> {
    if let known = lacking[machine]?[mark] { return known }
    var had = first
    if !mark.isEmpty {
      had = Set(
        try String.fetchAll(
          database,
          sql: "SELECT name FROM drover_schema_column WHERE machine_id = ? AND stream = ? AND schema_id = ?",
          arguments: [machine.text, stream.text, mark]
        ).map(SQLName.init))
    }
    let missing = schema.positions(lacking: had)
    lacking[machine, default: [:]][mark] = missing
    return missing
  }

  /// Rows from before the marks may have been written under any schema of the machine's.
  private func retypedColumns(_ mark: String, _ machine: MachineID) throws -> Set<Int> {
    if let known = retyped[machine]?[mark] { return known }
    let rows = try Row.fetchAll(
      database,
      sql: """
        SELECT name, declared_type FROM drover_schema_column
         WHERE machine_id = ?1 AND stream = ?2 AND iif(?3 = '', schema_id <> ?4, schema_id = ?3)
        """, arguments: [machine.text, stream.text, mark, schema.id.text])
    let changed = schema.positions(
      retypedSince: rows.map { DroverCore.Column(name: $0["name"], declaredType: $0["declared_type"]) })
    retyped[machine, default: [:]][mark] = changed
    return changed
  }

  /// Forgets a machine's cached schemas.
  func forget(_ machine: MachineID) {
    lacking[machine] = nil
    retyped[machine] = nil
  }

  private func bindKey(_ statement: Statement, _ machine: MachineID, _ event: SinkEvent) {
    statement.reset()
    statement.bind(machine.text, at: 1)
    for (index, value) in event.key.enumerated() { statement.bind(value, at: Int32(index + 2)) }
  }
}
