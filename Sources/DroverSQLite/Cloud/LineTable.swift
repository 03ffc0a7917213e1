// The sink table of one child table: the lines of headers. Lines come and go with their header's events; a line has its header's epoch and
// version, so that one which has moved to another header is not taken back by an older event of the first.

import DroverCore
import GRDB

final class LineTable {
  let schema: LineSchema
  private let upsert: Statement
  private let prune: Statement
  private let count: Statement
  private let find: Statement
  /// Finds a line that belongs to another header, which is complete; nil where none ever is.
  private let findFrozen: Statement?

  /// Compiles the statements for tables that are there.
  /// - Parameter completeWhen: a header that it holds of is never changed again, nor are its lines.
  init(_ database: Database, schema: LineSchema, header: StatementShape, completeWhen: Condition?) throws {
    self.schema = schema
    let table = quoted(schema.table.text)
    let owner = schema.rows.machineColumn
    let columns = schema.rows.columns.map { quoted($0.name) }
    let key = schema.rows.key.map { columns[$0] }
    let references = schema.references.map { columns[$0] }
    let all = [owner] + columns + ["drover_epoch", "drover_version"]
    let changes = try SinkTable.changes(database, table: schema.table, schema: schema.rows)
    upsert = try Statement(
      database,
      """
      INSERT INTO \(table) AS stored (\(all.joined(separator: ", ")))
      VALUES (\(all.indices.map { "?\($0 + 1)" }.joined(separator: ", ")))
      ON CONFLICT (\(([owner] + key).joined(separator: ", "))) DO UPDATE SET \(changes)
       WHERE (excluded.drover_epoch, excluded.drover_version) > (stored.drover_epoch, stored.drover_version)
      """)
    func named(_ names: [String], from first: Int, in alias: String = "") -> String {
      names.enumerated().map { "\(alias)\($1) IS ?\($0 + first)" }.joined(separator: " AND ")
    }
    let ofHeader = "\(owner) = ?1 AND \(named(references, from: 2))"
    prune = try Statement(
      database,
      """
      DELETE FROM \(table)
       WHERE \(ofHeader) AND (drover_epoch, drover_version) < (?\(references.count + 2), ?\(references.count + 3))
      """)
    count = try Statement(database, "SELECT count(*) FROM \(table) WHERE \(ofHeader)")
    find = try Statement(
      database, "SELECT 1 FROM \(table) WHERE \(owner) = ?1 AND \(named(columns, from: 2))")
    findFrozen = try completeWhen.map { condition in
      let headerKey = header.schema!.key.map { quoted(header.schema!.columns[$0].name) }
      let joined = zip(headerKey, references).map { "header.\($0) IS line.\($1)" }.joined(separator: " AND ")
      return try Statement(
        database,
        """
        SELECT 1 FROM \(table) AS line
          JOIN \(quoted(header.stream.text)) AS header ON header.\(header.schema!.machineColumn) = line.\(owner) AND \(joined)
         WHERE line.\(owner) = ?1 AND \(named(key, from: 2, in: "line."))
           AND NOT (\(named(references, from: key.count + 2, in: "line.")))
           AND (line.drover_epoch, line.drover_version) < (?\(key.count + references.count + 2), ?\(key.count + references.count + 3))
           AND coalesce(\(condition.text { "header.\(quoted($0))" }), 0)
        """)
    }
  }

  /// Makes the header's lines those of its event, which has taken effect.
  func replace(_ rows: [[Value]], of machine: MachineID, header key: [Value], epoch: Int64, version: Int64) throws {
    for row in rows {
      upsert.bind(machine.text, at: 1)
      for (index, value) in row.enumerated() { upsert.bind(value, at: Int32(index + 2)) }
      upsert.bind(epoch, at: Int32(row.count + 2))
      upsert.bind(version, at: Int32(row.count + 3))
      try upsert.run()
    }
    try remove(of: machine, header: key, olderThan: epoch, version)
  }

  /// Removes the header's lines that are older than its event.
  func remove(of machine: MachineID, header key: [Value], olderThan epoch: Int64, _ version: Int64) throws {
    bind(prune, machine, key)
    prune.bind(epoch, at: Int32(key.count + 2))
    prune.bind(version, at: Int32(key.count + 3))
    try prune.run()
  }

  /// Whether the header has these lines and no others, as SQLite's IS compares.
  func holds(_ rows: [[Value]], of machine: MachineID, header key: [Value]) throws -> Bool {
    bind(count, machine, key)
    defer { count.reset() }
    guard try count.step(), count.integer(0) == rows.count else { return false }
    return try rows.allSatisfy { row in
      bind(find, machine, row)
      defer { find.reset() }
      return try find.step()
    }
  }

  /// Whether the event would take a line away from another header, which is complete.
  func frozenElsewhere(
    _ rows: [[Value]], of machine: MachineID, header key: [Value], epoch: Int64, version: Int64
  ) throws -> Bool {
    guard let findFrozen else { return false }
    return try rows.contains { row in
      let own = schema.rows.keyValues(of: row)
      bind(findFrozen, machine, own + key)
      findFrozen.bind(epoch, at: Int32(own.count + key.count + 2))
      findFrozen.bind(version, at: Int32(own.count + key.count + 3))
      defer { findFrozen.reset() }
      return try findFrozen.step()
    }
  }

  private func bind(_ statement: Statement, _ machine: MachineID, _ values: [Value]) {
    statement.reset()
    statement.bind(machine.text, at: 1)
    for (index, value) in values.enumerated() { statement.bind(value, at: Int32(index + 2)) }
  }

  /// Finds the lines of a header. Streams cannot be named drover_…, so the name is free.
  static func indexCreation(_ schema: LineSchema) -> String {
    let columns = schema.references.map { quoted(schema.rows.columns[$0].name) }
    return """
      CREATE INDEX IF NOT EXISTS \(quoted("drover_lines_\(schema.table.text)"))
          ON \(quoted(schema.table.text)) (\(([schema.rows.machineColumn] + columns).joined(separator: ", ")))
      """
  }
}
