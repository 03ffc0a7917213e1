// The sink table of one child table: the lines of headers. Lines come and go with their header's events; a line has its header's epoch and
// version, so that one which has moved to another header is not taken back by an older event of the first.

import DroverCore
import GRDB

final class LineTable {
  let schema: LineSchema
  /// Numbers the rows, where the store keeps a change feed.
  let feed: RowFeed?
  /// Takes note of what `prune` deletes; nil without a feed.
  private let leaveTombstones: Statement?
  private let upsert: Statement
  private let prune: Statement
  private let find: Statement
  private let newest: Statement
  /// Finds a line that belongs to another header, which is complete; nil where none ever is.
  private let findFrozen: Statement?

  /// Compiles the statements for tables that are there.
  /// - Parameters:
  ///   - completeWhen: a header that it holds of is never changed again, nor are its lines.
  ///   - feedTable: what numbers the rows, if something does.
  init(
    _ database: Database, schema: LineSchema, header: StatementShape, completeWhen: Condition?,
    feed feedTable: FeedTable?
  ) throws {
    self.schema = schema
    let table = quoted(schema.table.text)
    let owner = schema.rows.machineColumn
    let columns = schema.rows.columns.map { quoted($0.name) }
    let key = schema.rows.key.map { columns[$0] }
    let references = schema.references.map { columns[$0] }
    let all = [owner] + columns + ["drover_epoch", "drover_version"]
    let untyped = try SinkTable.untyped(database, table: schema.table, schema.rows)
    feed = try feedTable.map {
      try RowFeed(database, $0, sink: table, key: [owner] + key, hasTwins: !untyped.isEmpty)
    }
    let number = SinkTable.numbering(feedTable)
    let changes =
      SinkTable.changes(schema.rows, untyped: untyped)
      + number.column.map { ", \($0) = excluded.\($0)" }.joined()
    upsert = try Statement(
      database,
      """
      INSERT INTO \(table) AS stored (\((all + number.column).joined(separator: ", ")))
      VALUES (\((all.indices.map { "?\($0 + 1)" } + number.value).joined(separator: ", ")))
      ON CONFLICT (\(([owner] + key).joined(separator: ", "))) DO UPDATE SET \(changes)
       WHERE (excluded.drover_epoch, excluded.drover_version) > (stored.drover_epoch, stored.drover_version)
      """)
    func named(_ names: [String], from first: Int, in alias: String = "") -> String {
      names.enumerated().map { "\(alias)\($1) IS ?\($0 + first)" }.joined(separator: " AND ")
    }
    let version = "?\(references.count + 3)"
    let wholeKey = ([owner] + key).joined(separator: ", ")
    // The index of a header's lines holds the keys and no versions. Asked for both at once, SQLite walks all lines of the machine by their
    // primary key instead; asked for the keys alone, it finds them in the index.
    let older = """
      FROM \(table) WHERE (\(wholeKey)) IN (SELECT \(wholeKey) FROM \(table) WHERE \(owner) = ?1 AND \(named(references, from: 2)))
         AND (drover_epoch, drover_version) < (?\(references.count + 2), \(version))
      """
    prune = try Statement(database, "DELETE \(older)")
    leaveTombstones = try feedTable.map {
      try Statement(database, $0.burying(older, key: [owner] + key, version: version))
    }
    find = try Statement(
      database, "SELECT 1 FROM \(table) WHERE \(owner) = ?1 AND \(named(columns, from: 2))")
    newest = try Statement(
      database,
      "SELECT drover_epoch, drover_version FROM \(table) WHERE \(owner) = ?1 AND \(named(key, from: 2))")
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
  func replace(_ rows: [[Value]], of machine: MachineID, header key: [Value], version: RowVersion) throws {
    for row in rows {
      upsert.bind(machine.text, at: 1)
      for (index, value) in row.enumerated() { upsert.bind(value, at: Int32(index + 2)) }
      upsert.bind(version.epoch, at: Int32(row.count + 2))
      upsert.bind(version.version, at: Int32(row.count + 3))
      let twin = try feed?.twin(machine, schema.rows.keyValues(of: row))
      if try upsert.run() > 0 {
        try feed?.put(over: twin)
      } else {
        try heed(row, of: machine, newerThan: version)
      }
    }
    try remove(of: machine, header: key, olderThan: version)
  }

  /// A line that was not written has to be there already, and no older.
  /// - Throws: `DatabaseError` when something of the table keeps rows out in silence.
  private func heed(_ row: [Value], of machine: MachineID, newerThan version: RowVersion) throws {
    bind(newest, machine, schema.rows.keyValues(of: row))
    defer { newest.reset() }
    guard try newest.step(), RowVersion(epoch: newest.integer(0), version: newest.integer(1)) >= version else {
      throw DatabaseError.silence
    }
  }

  /// Removes the header's lines that are older than its event.
  func remove(of machine: MachineID, header key: [Value], olderThan version: RowVersion) throws {
    for statement in [leaveTombstones, prune].compactMap(\.self) {
      bind(statement, machine, key)
      statement.bind(version.epoch, at: Int32(key.count + 2))
      statement.bind(version.version, at: Int32(key.count + 3))
    }
    if let leaveTombstones { feed?.counts.deletes += Int64(try leaveTombstones.run()) }
    try prune.run()
  }

  /// Whether these lines are there, as SQLite's IS compares.
  func holds(_ rows: [[Value]], of machine: MachineID) throws -> Bool {
    try rows.allSatisfy { row in
      bind(find, machine, row)
      defer { find.reset() }
      return try find.step()
    }
  }

  /// Whether the event would take a line away from another header, which is complete.
  func frozenElsewhere(
    _ rows: [[Value]], of machine: MachineID, header key: [Value], version: RowVersion
  ) throws -> Bool {
    guard let findFrozen else { return false }
    return try rows.contains { row in
      let own = schema.rows.keyValues(of: row)
      bind(findFrozen, machine, own + key)
      findFrozen.bind(version.epoch, at: Int32(own.count + key.count + 2))
      findFrozen.bind(version.version, at: Int32(own.count + key.count + 3))
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
      CREATE INDEX IF NOT EXISTS \(indexName(of: schema.table))
          ON \(quoted(schema.table.text)) (\(([schema.rows.machineColumn] + columns).joined(separator: ", ")))
      """
  }

  static func indexName(of table: StreamName) -> String { quoted("drover_lines_\(table.text)") }
}
