// What machines say of their streams, as the store keeps it: the schemas that were adopted, and the last one that waits.

import DroverCore
import GRDB

struct SchemaTables {
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

  // MARK: Adopted

  /// Keeps a schema that was not known.
  func write(_ schema: StreamSchema, machine: MachineID, stream: StreamName) throws {
    // A part of it may be left.
    for table in ["drover_schema_column", "drover_schema_line"] {
      try database.execute(
        sql: "DELETE FROM \(table) WHERE machine_id = ? AND stream = ? AND schema_id = ?",
        arguments: [machine.text, stream.text, schema.id.text])
    }
    for (position, column) in schema.columns.enumerated() {
      try database.execute(
        sql: """
          INSERT INTO drover_schema_column
                 (machine_id, stream, schema_id, position, name, declared_type, key_position, identity_position, else_position)
          VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
          """,
        arguments: [
          machine.text, stream.text, schema.id.text, position, column.name, column.declaredType,
          schema.key.firstIndex(of: position),
          schema.naturalKey?.columns.firstIndex { $0.isExactly(column.name) },
          schema.naturalKey?.fallback.firstIndex { $0.isExactly(column.name) },
        ])
    }
    for (number, line) in schema.lines.enumerated() {
      for (position, column) in line.rows.columns.enumerated() {
        try database.execute(
          sql: """
            INSERT INTO drover_schema_line
                   (machine_id, stream, schema_id, number, table_name, position, name, declared_type, key_position, header_part)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
          arguments: [
            machine.text, stream.text, schema.id.text, number, line.table.text, position, column.name,
            column.declaredType, line.rows.key.firstIndex(of: position), line.references.firstIndex(of: position),
          ])
      }
    }
  }

  /// Makes a schema the one that was described last.
  func describe(_ schema: StreamSchema, machine: MachineID, stream: StreamName, now: Int64) throws {
    try database.execute(
      sql: """
        -- The one that was described last is the latest, also when the clock stands still or goes back.
        INSERT INTO drover_schema (machine_id, stream, schema_id, kind, complete_when, \(Flow.columns), described)
        SELECT ?1, ?2, ?3, ?4, ?6, ?7, ?8, ?9, ?10, ?11, max(?5, 1 + ifnull((SELECT max(described) FROM drover_schema WHERE machine_id = ?1 AND stream = ?2), 0))
         WHERE true
        ON CONFLICT (machine_id, stream, schema_id) DO UPDATE SET described = excluded.described
        """,
      arguments: [
        machine.text, stream.text, schema.id.text, schema.kind.rawValue, now, schema.completeWhen?.text,
      ] + schema.flow.arguments)
  }

  /// How many streams a machine has, its tables of lines included.
  func streamCount(of machine: MachineID) throws -> Int {
    try Int.fetchOne(
      database,
      sql: """
        SELECT count(*) FROM (SELECT stream FROM drover_progress WHERE machine_id = ?1
                              UNION SELECT stream FROM drover_schema WHERE machine_id = ?1
                              UNION SELECT table_name FROM drover_schema_line WHERE machine_id = ?1)
        """, arguments: [machine.text])!
  }

  func hasOther(than schema: StreamSchema, machine: MachineID, stream: StreamName) throws -> Bool {
    try Bool.fetchOne(
      database,
      sql:
        "SELECT EXISTS (SELECT 1 FROM drover_schema WHERE machine_id = ? AND stream = ? AND schema_id NOT IN (?, ?))",
      arguments: [
        machine.text, stream.text, schema.idsButForLives().first!.text, schema.idsButForLives().last!.text,
      ])!
  }

  // MARK: Waiting

  func note(_ waiting: WaitingStream, machine: MachineID, stream: StreamName, reason: String, now: Int64) throws {
    // The same again, perhaps for another reason by now.
    guard try !isWaiting(waiting.id, machine: machine, stream: stream) else {
      return try database.execute(
        sql: "UPDATE drover_schema_waiting SET reason = ?1 WHERE machine_id = ?2 AND stream = ?3 AND reason <> ?1",
        arguments: [reason, machine.text, stream.text])
    }
    try forget(machine: machine, stream: stream)
    try database.execute(
      sql: """
        INSERT INTO drover_schema_waiting (machine_id, stream, schema_id, kind, reason, first_at, complete_when, \(Flow.columns))
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
      arguments: [
        machine.text, stream.text, waiting.id.text, waiting.kind.rawValue, reason, now,
        waiting.schema?.completeWhen?.text,
      ] + (waiting.schema?.flow ?? .up).arguments)
    guard let schema = waiting.schema else { return }
    for (position, column) in schema.columns.enumerated() {
      try database.execute(
        sql: "INSERT INTO drover_schema_waiting_column VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        arguments: [
          machine.text, stream.text, position, column.name, column.declaredType, schema.key.firstIndex(of: position),
          schema.naturalKey?.columns.firstIndex { $0.isExactly(column.name) },
          schema.naturalKey?.fallback.firstIndex { $0.isExactly(column.name) },
        ])
    }
    for (number, line) in schema.lines.enumerated() {
      for (position, column) in line.rows.columns.enumerated() {
        try database.execute(
          sql: "INSERT INTO drover_schema_waiting_line VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
          arguments: [
            machine.text, stream.text, number, line.table.text, position, column.name, column.declaredType,
            line.rows.key.firstIndex(of: position), line.references.firstIndex(of: position),
          ])
      }
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
    for table in ["drover_schema_waiting", "drover_schema_waiting_column", "drover_schema_waiting_line"] {
      try database.execute(
        sql: "DELETE FROM \(table) WHERE machine_id = ? AND stream = ?", arguments: [machine.text, stream.text])
    }
  }

  func waiting(machine: MachineID, stream: StreamName) throws -> WaitingStream? {
    let note = try Row.fetchOne(
      database,
      sql:
        "SELECT kind, complete_when, \(Flow.columns) FROM drover_schema_waiting WHERE machine_id = ? AND stream = ?",
      arguments: [machine.text, stream.text])
    guard let note, let kind = Kind(rawValue: note["kind"]) else { return nil }
    let rows = try Row.fetchAll(
      database,
      sql: "SELECT * FROM drover_schema_waiting_column WHERE machine_id = ? AND stream = ? ORDER BY position",
      arguments: [machine.text, stream.text])
    guard !rows.isEmpty else { return WaitingStream(kind: kind, schema: nil) }
    let lines = try Row.fetchAll(
      database,
      sql: "SELECT * FROM drover_schema_waiting_line WHERE machine_id = ? AND stream = ? ORDER BY number, position",
      arguments: [machine.text, stream.text])
    let condition: String? = note["complete_when"]
    return WaitingStream(
      kind: kind,
      schema: try StreamSchema(
        kind: kind, rows: rows, completeWhen: condition.map { try Condition(parsing: $0) },
        lines: StreamSchema.lines(lines), flow: Flow(note) ?? .up))
  }

  /// Those of all machines with what is noted of them, by machine and stream: two statements, however many there are.
  func all() throws -> [(note: Row, schema: StreamSchema?)] {
    let columns = Dictionary(
      grouping: try Row.fetchAll(
        database, sql: "SELECT * FROM drover_schema_waiting_column ORDER BY machine_id, stream, position"),
      by: { [ExactText($0["machine_id"]), ExactText($0["stream"])] })
    return try Row.fetchAll(database, sql: "SELECT * FROM drover_schema_waiting ORDER BY machine_id, stream")
      .compactMap { note in
        guard let kind = Kind(rawValue: note["kind"]) else { return nil }
        let rows = columns[[ExactText(note["machine_id"]), ExactText(note["stream"])]]
        return (note, try rows.map { try StreamSchema(kind: kind, rows: $0) })
      }
  }

  // MARK: Accepting

  /// The schemas that machines described last whose rows, or lines, stand in a table.
  func latest(using table: StreamName) throws -> [DescribedStream] {
    try Row.fetchAll(
      database,
      sql: """
        SELECT machine_id, stream, schema_id, max(described) FROM drover_schema AS known
         WHERE lower(stream) = ?1
            OR EXISTS (SELECT 1 FROM drover_schema_line AS line
                        WHERE lower(line.table_name) = ?1 AND line.machine_id = known.machine_id
                          AND line.stream = known.stream)
         GROUP BY machine_id, stream
        """, arguments: [SQLName(table.text).text]
    ).compactMap { row in
      let (machine, stream) = (try MachineID(row["machine_id"]), try StreamName(row["stream"]))
      return try StreamSchema.read(SchemaID(text: row["schema_id"]), machine: machine, stream: stream, database)
        .map { DescribedStream(machine: machine, stream: stream, schema: $0) }
    }
  }

  /// Takes the sink table out of the way of a waiting schema, with everything that was known of its rows.
  /// - Parameter isThere: false for a table that was dropped or renamed.
  /// - Returns: what the table is called now.
  func clear(stream: StreamName, now: Int64, isThere: Bool = true) throws -> String {
    let name = "\(stream.text)_until_\(Timestamp.name(microseconds: now))"
    var aside = name
    var number = 1
    while try database.tableExists(aside) {
      number += 1
      aside = "\(name)_\(number)"
    }
    // Otherwise foreign views would name the old table from now on.
    try database.execute(sql: "PRAGMA legacy_alter_table = ON")
    defer { try? database.execute(sql: "PRAGMA legacy_alter_table = OFF") }
    if isThere { try database.execute(sql: "ALTER TABLE main.\(quoted(stream.text)) RENAME TO \(quoted(aside))") }
    try MatchedSink(database: database, stream: stream).putAside(as: aside)
    try database.execute(sql: "DROP INDEX IF EXISTS \(LineTable.indexName(of: stream))")
    try SharedTables(database: database).forget(stream)
    // As the lines of another stream it is described no more either.
    for table in ["drover_schema", "drover_schema_column", "drover_schema_line"] {
      try database.execute(
        sql: """
          DELETE FROM \(table) WHERE (machine_id, stream, schema_id) IN
            (SELECT machine_id, stream, schema_id FROM drover_schema_line WHERE lower(table_name) = lower(?))
          """, arguments: [stream.text])
    }
    for table in [
      "drover_sink", "drover_schema", "drover_schema_column", "drover_schema_line", "drover_tombstone", "drover_check",
    ] {
      try database.execute(sql: "DELETE FROM \(table) WHERE lower(stream) = lower(?)", arguments: [stream.text])
    }
    return aside
  }
}

extension StreamSchema {
  /// - Parameter rows: its columns in order, as the store keeps them.
  init(
    kind: Kind, rows: [Row], completeWhen: Condition? = nil, lines: [LineSchema] = [], flow: Flow = .up
  ) throws {
    let parts = rows.enumerated().compactMap { index, row in (row["key_position"] as Int?).map { ($0, index) } }
    try self.init(
      kind: kind, columns: rows.map { DroverCore.Column(name: $0["name"], declaredType: $0["declared_type"]) },
      key: parts.sorted { $0.0 < $1.0 }.map(\.1), completeWhen: completeWhen, lines: lines,
      naturalKey: try NaturalKey(rows: rows), flow: flow)
  }
}
