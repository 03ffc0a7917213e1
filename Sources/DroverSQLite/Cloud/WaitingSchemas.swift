// Schemas that a machine has described and the sink table cannot follow: another key, another kind. Their streams wait at the edge until
// somebody accepts one. Then the table that is there gets a name with the time, and the sink is made anew; no row is ever dropped.

import DroverCore
import GRDB

struct WaitingSchemas {
  let database: Database

  static let migration = """
    -- The last schema of a machine's stream that the sink table could not follow.
    CREATE TABLE drover_schema_waiting (
      machine_id TEXT NOT NULL,
      stream     TEXT NOT NULL,
      schema_id  TEXT NOT NULL,
      kind       TEXT NOT NULL CHECK (kind IN ('snapshot', 'payload', 'batch')),
      reason     TEXT NOT NULL,
      -- Microseconds since 1970.
      first_at   INTEGER NOT NULL,
      PRIMARY KEY (machine_id, stream)
    ) WITHOUT ROWID;

    CREATE TABLE drover_schema_waiting_column (
      machine_id    TEXT NOT NULL,
      stream        TEXT NOT NULL,
      position      INTEGER NOT NULL,
      name          TEXT NOT NULL,
      declared_type TEXT NOT NULL,
      -- Its place in the key, from 0; NULL when it is no part of it.
      key_position  INTEGER,
      PRIMARY KEY (machine_id, stream, position)
    ) WITHOUT ROWID;
    """

  func note(_ schema: StreamSchema, machine: MachineID, stream: StreamName, reason: String, now: Int64) throws {
    guard try !isWaiting(schema.id, machine: machine, stream: stream) else { return }
    try forget(machine: machine, stream: stream)
    try database.execute(
      sql: "INSERT INTO drover_schema_waiting VALUES (?, ?, ?, ?, ?, ?)",
      arguments: [machine.text, stream.text, schema.id.text, schema.kind.rawValue, reason, now])
    for (position, column) in schema.columns.enumerated() {
      try database.execute(
        sql: "INSERT INTO drover_schema_waiting_column VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        arguments: [
          machine.text, stream.text, position, column.name, column.declaredType, schema.key.firstIndex(of: position),
          schema.naturalKey?.columns.firstIndex { $0.isExactly(column.name) },
          schema.naturalKey?.fallback.firstIndex { $0.isExactly(column.name) },
        ])
    }
  }

  func isWaiting(_ id: SchemaID, machine: MachineID, stream: StreamName) throws -> Bool {
    try Bool.fetchOne(
      database,
      sql: """
        SELECT EXISTS (SELECT 1 FROM drover_schema_waiting WHERE machine_id = ? AND stream = ? AND schema_id = ?)
        """, arguments: [machine.text, stream.text, id.text])!
  }

  func forget(machine: MachineID, stream: StreamName) throws {
    for table in ["drover_schema_waiting", "drover_schema_waiting_column"] {
      try database.execute(
        sql: "DELETE FROM \(table) WHERE machine_id = ? AND stream = ?", arguments: [machine.text, stream.text])
    }
  }

  func schema(machine: MachineID, stream: StreamName) throws -> StreamSchema? {
    let kind = try String.fetchOne(
      database, sql: "SELECT kind FROM drover_schema_waiting WHERE machine_id = ? AND stream = ?",
      arguments: [machine.text, stream.text])
    guard let kind = kind.flatMap(Kind.init) else { return nil }
    let rows = try Row.fetchAll(
      database,
      sql: "SELECT * FROM drover_schema_waiting_column WHERE machine_id = ? AND stream = ? ORDER BY position",
      arguments: [machine.text, stream.text])
    return try StreamSchema(kind: kind, rows: rows)
  }

  /// Those of all machines with what is noted of them, by machine and stream: two statements, however many there are.
  func all() throws -> [(note: Row, schema: StreamSchema)] {
    let columns = Dictionary(
      grouping: try Row.fetchAll(
        database, sql: "SELECT * FROM drover_schema_waiting_column ORDER BY machine_id, stream, position"),
      by: { [ExactText($0["machine_id"]), ExactText($0["stream"])] })
    return try Row.fetchAll(database, sql: "SELECT * FROM drover_schema_waiting ORDER BY machine_id, stream")
      .compactMap { note in
        guard let kind = Kind(rawValue: note["kind"]) else { return nil }
        let place = [ExactText(note["machine_id"]), ExactText(note["stream"])]
        return (note, try StreamSchema(kind: kind, rows: columns[place] ?? []))
      }
  }

  // MARK: Accepting

  /// Takes the sink table out of the way of a waiting schema, with everything that was known of the stream's rows.
  /// - Returns: what the table is called now, and the schemas that machines of the stream described last.
  func clear(stream: StreamName, now: Int64) throws -> (aside: String, known: [(MachineID, StreamSchema)]) {
    let known = try Row.fetchAll(
      database,
      sql:
        "SELECT machine_id, schema_id, max(described) FROM drover_schema WHERE lower(stream) = lower(?) GROUP BY machine_id",
      arguments: [stream.text]
    ).compactMap { row -> (MachineID, StreamSchema)? in
      let machine = try MachineID(row["machine_id"])
      return try StreamSchema.read(SchemaID(text: row["schema_id"]), machine: machine, stream: stream, database)
        .map { (machine, $0) }
    }
    let aside = "\(stream.text)_until_\(Timestamp.name(microseconds: now))"
    // Or somebody's views would speak of the old table from now on.
    try database.execute(sql: "PRAGMA legacy_alter_table = ON")
    defer { try? database.execute(sql: "PRAGMA legacy_alter_table = OFF") }
    try database.execute(sql: "ALTER TABLE main.\(quoted(stream.text)) RENAME TO \(quoted(aside))")
    try MatchedSink(database: database, stream: stream).putAside(as: aside)
    for table in [
      "drover_sink", "drover_schema", "drover_schema_column", "drover_schema_line", "drover_tombstone", "drover_check",
    ] {
      try database.execute(sql: "DELETE FROM \(table) WHERE lower(stream) = lower(?)", arguments: [stream.text])
    }
    return (aside, known)
  }
}

extension StreamSchema {
  /// - Parameter rows: its columns in order, as the store keeps them.
  init(kind: Kind, rows: [Row], completeWhen: Condition? = nil, lines: [LineSchema] = []) throws {
    let parts = rows.enumerated().compactMap { index, row in (row["key_position"] as Int?).map { ($0, index) } }
    try self.init(
      kind: kind, columns: rows.map { DroverCore.Column(name: $0["name"], declaredType: $0["declared_type"]) },
      key: parts.sorted { $0.0 < $1.0 }.map(\.1), completeWhen: completeWhen, lines: lines,
      naturalKey: try NaturalKey(rows: rows))
  }
}
