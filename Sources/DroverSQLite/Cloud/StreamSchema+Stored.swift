// A schema as the store has kept it.

import DroverCore
import GRDB

extension StreamSchema {
  /// The schema that a machine's stream was described with, or nil.
  static func read(
    _ id: SchemaID, machine: MachineID, stream: StreamName, _ database: Database
  ) throws -> StreamSchema? {
    guard
      let described = try Row.fetchOne(
        database,
        sql:
          "SELECT kind, complete_when, \(Flow.columns) FROM drover_schema WHERE machine_id = ? AND stream = ? AND schema_id = ?",
        arguments: [machine.text, stream.text, id.text]),
      let kind = Kind(rawValue: described["kind"])
    else { return nil }
    let completeWhen: String? = described["complete_when"]
    let rows = try Row.fetchAll(
      database,
      sql: """
        SELECT position, name, declared_type, key_position, identity_position, else_position FROM drover_schema_column
         WHERE machine_id = ? AND stream = ? AND schema_id = ? ORDER BY position
        """,
      arguments: [machine.text, stream.text, id.text])
    // If another program has changed this schema, it is not the machine's: the consumer asks the machine for it again.
    let lines = try? lines(id, machine: machine, stream: stream, database)
    let schema = try? StreamSchema(
      kind: kind, rows: rows, completeWhen: try completeWhen.map { try Condition(parsing: $0) }, lines: lines ?? [],
      flow: Flow(described) ?? .up)
    guard let schema, lines != nil, schema.id == id else { return nil }
    return schema
  }

  private static func lines(
    _ id: SchemaID, machine: MachineID, stream: StreamName, _ database: Database
  ) throws -> [LineSchema] {
    let rows = try Row.fetchAll(
      database,
      sql: """
        SELECT number, table_name, position, name, declared_type, key_position, header_part FROM drover_schema_line
         WHERE machine_id = ? AND stream = ? AND schema_id = ? ORDER BY number, position
        """, arguments: [machine.text, stream.text, id.text])
    return try Self.lines(rows)
  }

  /// - Parameter rows: columns of lines as the store keeps them, table by table.
  static func lines(_ rows: [Row]) throws -> [LineSchema] {
    let tables = Dictionary(grouping: rows) { $0["number"] as Int }.sorted { $0.key < $1.key }.map(\.value)
    return try tables.map { rows in
      func positions(_ column: String) -> [Int] {
        rows.compactMap { row in (row[column] as Int?).map { ($0, row["position"] as Int) } }
          .sorted { $0.0 < $1.0 }.map(\.1)
      }
      return try LineSchema(
        table: StreamName(rows[0]["table_name"]),
        columns: rows.map { DroverCore.Column(name: $0["name"], declaredType: $0["declared_type"]) },
        key: positions("key_position"), references: positions("header_part"))
    }
  }
}
