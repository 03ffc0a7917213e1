// A fact is never overwritten. But when its table gets a column, the source sends its rows once more, each with a value that the stored row
// could not have: what differs only in columns that the row's own schema did not have is the same fact, and gets their values.
//
// So a sink table of facts whose schema changes gets a column for the schema that each row was written under. Rows from before have NULL there:
// they had the columns that stood in the table before that one, and no others.

import DroverCore
import GRDB

final class FactColumns {
  private let database: Database
  private let sink: Sink
  private let schema: StreamSchema
  private let marker: Statement
  private let update: Statement
  /// Columns of the table, in lower case, that rows from before the marks have.
  private let first: Set<String>
  /// By mark: positions in the schema's columns that a row written under it lacks.
  private var lacking: [String: Set<Int>] = [:]

  /// nil for a table that has no marks, because its schema never changed.
  init?(_ database: Database, sink: Sink, schema: StreamSchema) throws {
    let present = try database.catalogue(of: sink.stream.text).map(\.name)
    guard let place = present.firstIndex(of: SinkTable.schemaColumn) else { return nil }
    self.database = database
    self.sink = sink
    self.schema = schema
    first = Set(present[..<place])
    let table = quoted(sink.stream.text)
    let isRow =
      ([schema.machineColumn] + schema.key.map { quoted(schema.columns[$0].name) })
      .enumerated().map { "\($1) IS ?\($0 + 1)" }.joined(separator: " AND ")
    marker = try Statement(database, "SELECT \(SinkTable.schemaColumn) FROM \(table) WHERE \(isRow)")
    let start = schema.key.count + 2
    let changes = schema.columns.indices.filter { !schema.key.contains($0) }
      .map { "\(quoted(schema.columns[$0].name)) = ?\(start + $0)" }
    let end = start + schema.columns.count
    update = try Statement(
      database,
      """
      UPDATE \(table) SET \((changes + ["\(SinkTable.schemaColumn) = ?\(end)", "drover_epoch = ?\(end + 1)", "drover_version = ?\(end + 2)"]).joined(separator: ", "))
       WHERE \(isRow)
      """)
  }

  /// The stored row with the values of columns that it lacks. nil when it lacks none.
  func fill(_ stored: [Value], with values: [Value], _ event: SinkEvent) throws -> [Value]? {
    bindKey(marker, event)
    defer { marker.reset() }
    guard try marker.step() else { return nil }
    var mark = ""
    if case .text(let bytes) = marker.value(0) { mark = String(decoding: bytes, as: UTF8.self) }
    let missing = try lackingColumns(mark).filter { stored[$0] == .null }
    guard !missing.isEmpty else { return nil }
    var filled = stored
    for index in missing { filled[index] = values[index] }
    return filled
  }

  func write(_ row: [Value], _ event: SinkEvent, epoch: Int64) throws {
    bindKey(update, event)
    let start = schema.key.count + 2
    for (index, value) in row.enumerated() where !schema.key.contains(index) {
      update.bind(value, at: Int32(start + index))
    }
    update.bind(schema.id.text, at: Int32(start + row.count))
    update.bind(epoch, at: Int32(start + row.count + 1))
    update.bind(event.version, at: Int32(start + row.count + 2))
    try update.run()
  }

  private func lackingColumns(_ mark: String) throws -> Set<Int> {
    if let known = lacking[mark] { return known }
    var had = first
    if !mark.isEmpty {
      had = Set(
        try String.fetchAll(
          database,
          sql: "SELECT name FROM drover_schema_column WHERE machine_id = ? AND stream = ? AND schema_id = ?",
          arguments: [sink.machine.text, sink.stream.text, mark]
        ).map { $0.lowercased() })
    }
    // A schema that nobody knows any more says nothing, so nothing is filled in.
    let missing =
      had.isEmpty ? [] : schema.columns.indices.filter { !had.contains(schema.columns[$0].name.lowercased()) }
    lacking[mark] = Set(missing)
    return lacking[mark]!
  }

  private func bindKey(_ statement: Statement, _ event: SinkEvent) {
    statement.reset()
    statement.bind(sink.machine.text, at: 1)
    for (index, value) in event.key.enumerated() { statement.bind(value, at: Int32(index + 2)) }
  }
}
