// What machines say of their streams, as the store keeps it.

import DroverCore

struct SchemaTables {
  let connection: Connection

  func read(_ id: SchemaID, machine: MachineID, stream: StreamName) throws -> StreamSchema? {
    let name: [Parameter] = [.text(machine.text), .text(stream.text), .text(id.text)]
    let described = try connection.query(
      "SELECT kind, complete_when, \(Flow.columns) FROM drover_schema WHERE machine_id = $1 AND stream = $2 AND schema_id = $3",
      name)
    guard described.count > 0, let kind = Kind(rawValue: described.text(0, 0)) else { return nil }
    let rows = try connection.query(
      """
      SELECT name, declared_type, key_position, identity_position, else_position FROM drover_schema_column
       WHERE machine_id = $1 AND stream = $2 AND schema_id = $3 ORDER BY position
      """, name)
    let condition = described.optionalText(0, 1)?.unescaped
    let lines = try lines(id, machine: machine, stream: stream)
    // If another program has changed this schema, it is not the machine's: the consumer asks the machine for it again.
    let schema = try? schema(
      kind, rows, completeWhen: condition.map { try Condition(parsing: $0) }, lines: lines ?? [],
      flow: Flow(described, 0, from: 2))
    guard let schema, lines != nil, schema.id == id else { return nil }
    return schema
  }

  private func lines(_ id: SchemaID, machine: MachineID, stream: StreamName) throws -> [LineSchema]? {
    let rows = try connection.query(
      """
      SELECT name, declared_type, key_position, header_part, number, table_name FROM drover_schema_line
       WHERE machine_id = $1 AND stream = $2 AND schema_id = $3 ORDER BY number, position
      """, [.text(machine.text), .text(stream.text), .text(id.text)])
    return try? self.lines(rows)
  }

  /// - Parameter rows: name, type, place in the key, part of the header's key, and the number and name of the table, table by table.
  private func lines(_ rows: Rows) throws -> [LineSchema] {
    let tables = Dictionary(grouping: 0..<rows.count) { rows.integer($0, 4) }.sorted { $0.key < $1.key }.map(\.value)
    return try tables.map { places in
      try LineSchema(
        table: StreamName(rows.text(places[0], 5)), columns: columns(rows, places), key: positions(rows, places, 2),
        references: positions(rows, places, 3))
    }
  }

  /// - Parameters:
  ///   - rows: name, type, and places in the key, the natural key and its alternative.
  ///   - places: which of the rows are the schema's, in the columns' order; nil: all.
  private func schema(
    _ kind: Kind, _ rows: Rows, _ places: [Int]? = nil, completeWhen: Condition? = nil, lines: [LineSchema] = [],
    flow: Flow = .up
  ) throws -> StreamSchema {
    let places = places ?? Array(0..<rows.count)
    let columns = columns(rows, places)
    let identity = positions(rows, places, 3).map { columns[$0].name }
    return try StreamSchema(
      kind: kind, columns: columns, key: positions(rows, places, 2), completeWhen: completeWhen, lines: lines,
      naturalKey: identity.isEmpty
        ? nil : NaturalKey(columns: identity, fallback: positions(rows, places, 4).map { columns[$0].name }),
      flow: flow)
  }

  private func columns(_ rows: Rows, _ places: [Int]) -> [Column] {
    places.map { Column(name: rows.text($0, 0), declaredType: rows.text($0, 1).unescaped) }
  }

  /// Which of the rows have a place, in the places' order.
  private func positions(_ rows: Rows, _ places: [Int], _ column: Int) -> [Int] {
    places.enumerated().compactMap { index, row in rows.optionalInteger(row, column).map { ($0, index) } }
      .sorted { $0.0 < $1.0 }.map(\.1)
  }

  // MARK: Writing

  /// Keeps a schema that was not known.
  func write(_ schema: StreamSchema, machine: MachineID, stream: StreamName) throws {
    let name: [Parameter] = [.text(machine.text), .text(stream.text), .text(schema.id.text)]
    // A part of it may be left.
    for table in ["drover_schema_column", "drover_schema_line"] {
      try connection.query("DELETE FROM \(table) WHERE machine_id = $1 AND stream = $2 AND schema_id = $3", name)
    }
    for (position, column) in schema.columns.enumerated() {
      try connection.query(
        """
        INSERT INTO drover_schema_column
               (machine_id, stream, schema_id, position, name, declared_type, key_position, identity_position, else_position)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        """, name + [.integer(position)] + values(schema, position, column))
    }
    for (number, line) in schema.lines.enumerated() {
      for (position, column) in line.rows.columns.enumerated() {
        try connection.query(
          """
          INSERT INTO drover_schema_line
                 (machine_id, stream, schema_id, number, table_name, position, name, declared_type, key_position, header_part)
          VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
          """,
          name + [
            .integer(number), .text(line.table.text), .integer(position), .text(column.name),
            .text(column.declaredType.escaped), .integer(line.rows.key.firstIndex(of: position)),
            .integer(line.references.firstIndex(of: position)),
          ])
      }
    }
  }

  private func values(_ schema: StreamSchema, _ position: Int, _ column: Column) -> [Parameter] {
    [
      .text(column.name), .text(column.declaredType.escaped), .integer(schema.key.firstIndex(of: position)),
      .integer(schema.naturalKey?.columns.firstIndex { $0.isExactly(column.name) }),
      .integer(schema.naturalKey?.fallback.firstIndex { $0.isExactly(column.name) }),
    ]
  }

  /// Makes a schema the one that was described last, also when the clock stands still or goes back.
  func describe(_ schema: StreamSchema, machine: MachineID, stream: StreamName, now: Int64) throws {
    try connection.query(
      """
      INSERT INTO drover_schema (machine_id, stream, schema_id, kind, complete_when, \(Flow.columns), described)
      SELECT $1, $2, $3, $4, $5, $7, $8, $9, $10, $11,
             greatest($6, 1 + coalesce((SELECT max(described) FROM drover_schema WHERE machine_id = $1 AND stream = $2), 0))
      ON CONFLICT (machine_id, stream, schema_id) DO UPDATE SET described = excluded.described
      """,
      [
        .text(machine.text), .text(stream.text), .text(schema.id.text), .text(schema.kind.rawValue),
        .text(schema.completeWhen?.text.escaped), .integer(now),
      ] + schema.flow.parameters)
  }

  /// How many streams a machine has, its tables of lines included.
  func streamCount(of machine: MachineID) throws -> Int {
    Int(
      try connection.query(
        """
        SELECT count(*) FROM (SELECT stream FROM drover_progress WHERE machine_id = $1
                              UNION SELECT stream FROM drover_schema WHERE machine_id = $1
                              UNION SELECT table_name FROM drover_schema_line WHERE machine_id = $1) AS known
        """, [.text(machine.text)]
      ).integer(0, 0))
  }

  func hasOther(than schema: StreamSchema, machine: MachineID, stream: StreamName) throws -> Bool {
    try connection.query(
      "SELECT EXISTS (SELECT 1 FROM drover_schema WHERE machine_id = $1 AND stream = $2 AND schema_id NOT IN ($3, $4))",
      [
        .text(machine.text), .text(stream.text), .text(schema.idsButForLives().first!.text),
        .text(schema.idsButForLives().last!.text),
      ]
    ).boolean(0, 0)
  }

  // MARK: Waiting

  func note(_ waiting: WaitingStream, machine: MachineID, stream: StreamName, reason: String, now: Int64) throws {
    // The same again, perhaps for another reason by now.
    guard try !isWaiting(waiting.id, machine: machine, stream: stream) else {
      try connection.query(
        "UPDATE drover_schema_waiting SET reason = $1 WHERE machine_id = $2 AND stream = $3 AND reason <> $1",
        [.text(reason.withoutNUL), .text(machine.text), .text(stream.text)])
      return
    }
    try forget(machine: machine, stream: stream)
    try connection.query(
      """
      INSERT INTO drover_schema_waiting (machine_id, stream, schema_id, kind, reason, first_at, complete_when, \(Flow.columns))
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
      """,
      [
        .text(machine.text), .text(stream.text), .text(waiting.id.text), .text(waiting.kind.rawValue),
        .text(reason.withoutNUL), .integer(now), .text(waiting.schema?.completeWhen?.text.escaped),
      ] + (waiting.schema?.flow ?? .up).parameters)
    guard let schema = waiting.schema else { return }
    for (position, column) in schema.columns.enumerated() {
      try connection.query(
        "INSERT INTO drover_schema_waiting_column VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        [.text(machine.text), .text(stream.text), .integer(position)] + values(schema, position, column))
    }
    for (number, line) in schema.lines.enumerated() {
      for (position, column) in line.rows.columns.enumerated() {
        try connection.query(
          "INSERT INTO drover_schema_waiting_line VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
          [
            .text(machine.text), .text(stream.text), .integer(number), .text(line.table.text), .integer(position),
            .text(column.name), .text(column.declaredType.escaped), .integer(line.rows.key.firstIndex(of: position)),
            .integer(line.references.firstIndex(of: position)),
          ])
      }
    }
  }

  func isWaiting(_ id: SchemaID, machine: MachineID, stream: StreamName) throws -> Bool {
    try connection.query(
      "SELECT EXISTS (SELECT 1 FROM drover_schema_waiting WHERE machine_id = $1 AND stream = $2 AND schema_id = $3)",
      [.text(machine.text), .text(stream.text), .text(id.text)]
    ).boolean(0, 0)
  }

  func forget(machine: MachineID, stream: StreamName) throws {
    for table in ["drover_schema_waiting", "drover_schema_waiting_column", "drover_schema_waiting_line"] {
      try connection.query(
        "DELETE FROM \(table) WHERE machine_id = $1 AND stream = $2", [.text(machine.text), .text(stream.text)])
    }
  }

  func waiting(machine: MachineID, stream: StreamName) throws -> WaitingStream? {
    let name: [Parameter] = [.text(machine.text), .text(stream.text)]
    let described = try connection.query(
      "SELECT kind, complete_when, \(Flow.columns) FROM drover_schema_waiting WHERE machine_id = $1 AND stream = $2",
      name)
    guard described.count > 0, let kind = Kind(rawValue: described.text(0, 0)) else { return nil }
    let columns = try connection.query(
      """
      SELECT name, declared_type, key_position, identity_position, else_position FROM drover_schema_waiting_column
       WHERE machine_id = $1 AND stream = $2 ORDER BY position
      """, name)
    guard columns.count > 0 else { return WaitingStream(kind: kind, schema: nil) }
    let lines = try connection.query(
      """
      SELECT name, declared_type, key_position, header_part, number, table_name FROM drover_schema_waiting_line
       WHERE machine_id = $1 AND stream = $2 ORDER BY number, position
      """, name)
    let condition = described.optionalText(0, 1)?.unescaped
    return WaitingStream(
      kind: kind,
      schema: try schema(
        kind, columns, completeWhen: condition.map { try Condition(parsing: $0) }, lines: self.lines(lines),
        flow: Flow(described, 0, from: 2)))
  }

  /// Those of all machines, by machine and stream: two statements, however many there are.
  func waiting() throws -> [(
    machine: MachineID, stream: StreamName, reason: String, since: Int64, schema: StreamSchema?
  )] {
    let columns = try connection.query(
      """
      SELECT name, declared_type, key_position, identity_position, else_position, machine_id, stream
        FROM drover_schema_waiting_column ORDER BY machine_id, stream, position
      """)
    let places = Dictionary(grouping: 0..<columns.count) {
      [ExactText(columns.text($0, 5)), ExactText(columns.text($0, 6))]
    }
    let rows = try connection.query(
      "SELECT machine_id, stream, reason, first_at, kind FROM drover_schema_waiting ORDER BY machine_id, stream")
    return try (0..<rows.count).compactMap { row in
      let (machine, stream) = (rows.text(row, 0), rows.text(row, 1))
      guard let kind = Kind(rawValue: rows.text(row, 4)) else { return nil }
      return (
        try MachineID(machine), try StreamName(stream), rows.text(row, 2), rows.integer(row, 3),
        try places[[ExactText(machine), ExactText(stream)]].map { try schema(kind, columns, $0) }
      )
    }
  }

  // MARK: Accepting

  /// The schemas that machines described last whose rows, or lines, stand in a table.
  func latest(using table: StreamName) throws -> [DescribedStream] {
    let rows = try connection.query(
      """
      SELECT DISTINCT ON (machine_id, stream) machine_id, stream, schema_id FROM drover_schema AS known
       WHERE lower(stream) = $1::text COLLATE "C"
          OR EXISTS (SELECT 1 FROM drover_schema_line AS line
                      WHERE lower(line.table_name COLLATE "C") = $1::text COLLATE "C"
                        AND line.machine_id = known.machine_id AND line.stream = known.stream)
       ORDER BY machine_id, stream, described DESC
      """, [.text(SQLName(table.text).text)])
    return try (0..<rows.count).compactMap { row in
      let (machine, stream) = (try MachineID(rows.text(row, 0)), try StreamName(rows.text(row, 1)))
      return try read(SchemaID(text: rows.text(row, 2)), machine: machine, stream: stream)
        .map { DescribedStream(machine: machine, stream: stream, schema: $0) }
    }
  }

  /// Forgets what was known of a stream's rows.
  func clear(_ stream: StreamName) throws {
    // As the lines of another stream it is described no more either.
    for table in ["drover_schema", "drover_schema_column", "drover_schema_line"] {
      try connection.query(
        """
        DELETE FROM \(table) WHERE (machine_id, stream, schema_id) IN
          (SELECT machine_id, stream, schema_id FROM drover_schema_line
            WHERE lower(table_name COLLATE "C") = $1::text COLLATE "C")
        """, [.text(SQLName(stream.text).text)])
    }
    for table in ["drover_schema", "drover_schema_column", "drover_schema_line", "drover_tombstone"] {
      try connection.query(
        "DELETE FROM \(table) WHERE lower(stream) = lower($1::text COLLATE \"C\")", [.text(stream.text)])
    }
    for table in ["drover_flow", "drover_row", "drover_edit", "drover_down_received", "drover_base"] {
      try connection.query("DELETE FROM \(table) WHERE stream = $1", [.text(SQLName(stream.text).text)])
    }
    try connection.query("DELETE FROM drover_sink WHERE name = $1", [.text(SQLName(stream.text).text)])
  }
}
