// Schemas, and the sink tables that come to be from them.

import DroverCore

extension Transaction {
  private var schemas: SchemaTables { SchemaTables(connection: connection) }

  func schema(_ id: SchemaID, machine: MachineID, stream: StreamName) throws -> StreamSchema? {
    let key = PostgreSQLCloudStore.SchemaKey(machine: machine, stream: stream, id: id)
    if let schema = store.knowledge.schemas[key] { return schema }
    guard let schema = try schemas.read(id, machine: machine, stream: stream) else { return nil }
    store.knowledge.schemas[key] = schema
    return schema
  }

  func latestSchema(machine: MachineID, stream: StreamName) throws -> StreamSchema? {
    let origin = MachineStream(machine: machine, stream: stream)
    if let schema = store.knowledge.latest[origin] { return schema }
    let rows = try connection.query(
      "SELECT schema_id FROM drover_schema WHERE machine_id = $1 AND stream = $2 ORDER BY described DESC LIMIT 1",
      [.text(machine.text), .text(stream.text)])
    let schema =
      try rows.count == 0 ? nil : self.schema(SchemaID(text: rows.text(0, 0)), machine: machine, stream: stream)
    store.knowledge.latest[origin] = .some(schema)
    return schema
  }

  func adopt(_ schema: StreamSchema, machine: MachineID, stream: StreamName) throws -> String? {
    // One at a time makes or changes the tables of a stream.
    try lock(Locks.name("sink", SQLName(stream.text).text))
    if try self.schema(schema.id, machine: machine, stream: stream) == nil {
      if let reason = try store.limits.refusal(ofSchemas: schemaCount(machine: machine, stream: stream))
        ?? MatchedSink(self, stream).refusal(of: schema, machine: machine)
        ?? shapeSink(stream: stream, kind: schema.kind, schema: schema, machine: machine)
      {
        // Only where a table of Drover's stands in the way, so nobody fills the store with descriptions.
        if try table(of: stream) != nil, bounds.refusal(of: schema) == nil {
          try schemas.note(schema, machine: machine, stream: stream, reason: reason, now: store.now())
        }
        return reason
      }
      try schemas.write(schema, machine: machine, stream: stream)
      try reshaped()
    } else if try latestSchema(machine: machine, stream: stream) != schema {
      try reshaped()
    }
    try schemas.describe(schema, machine: machine, stream: stream, now: store.now())
    // Also events of an older schema go by the newest condition.
    store.knowledge.latest[MachineStream(machine: machine, stream: stream)] = nil
    try schemas.forget(machine: machine, stream: stream)
    if try MatchedSink(self, stream).settle(schema, machine: machine) { try reshaped() }
    return nil
  }

  func isWaiting(_ id: SchemaID, machine: MachineID, stream: StreamName) throws -> Bool {
    try schemas.isWaiting(id, machine: machine, stream: stream)
  }

  func accept(machine: MachineID, stream: StreamName) throws -> String? {
    try lock(Locks.name("sink", SQLName(stream.text).text))
    guard let schema = try schemas.waiting(machine: machine, stream: stream), let table = try table(of: stream) else {
      return nil
    }
    let known = try schemas.latest(of: stream)
    try feed.forgetReaders(of: table.feed)
    try table.feed?.drop(connection)
    let aside = "\(stream.text)_until_\(Timestamp.name(microseconds: store.now()))"
    try MatchedSink(self, stream).putAside(as: aside)
    try connection.run("ALTER TABLE \(table.qualified) RENAME TO \(quoted(Names.relation(aside)))")
    try schemas.clear(stream)
    store.knowledge = PostgreSQLCloudStore.Knowledge()
    try reshaped()
    // The waiting one first, so that the table is made for it. Of the others those that fit go on, and the rest waits.
    for (machine, schema) in [(machine, schema)] + known.filter({ $0.0 != machine }) {
      _ = try adopt(schema, machine: machine, stream: stream)
    }
    // The description was set apart when it came, and has been taken now.
    let letters = try connection.query(
      "DELETE FROM drover_dead_letter WHERE topic = $1 AND reason = $2",
      [.text(Topic.schema(machine, stream).text), .text(DeadLetterReason.schema.rawValue)])
    try DeadLetterCounter.replayed.add(letters.changed, connection)
    return Names.relation(aside)
  }

  // MARK: Tables

  private var bounds: TableShape.Bounds {
    .init(
      columns: min(store.limits.columnsPerTable, SinkTable.maximumColumns), keyColumns: SinkTable.maximumKeyColumns)
  }

  /// The sink table of a stream; nil where there is none of Drover's.
  func table(of stream: StreamName) throws -> SinkTable? {
    let name = SQLName(stream.text)
    if let table = store.knowledge.tables[name] { return table }
    guard let table = try SinkTable.read(stream, in: store.place, connection) else { return nil }
    store.knowledge.tables[name] = table
    return table
  }

  /// Makes the sink table and those of its lines, or adds what they lack. Returns why that cannot be; then nothing has changed.
  func shapeSink(stream: StreamName, kind: Kind, schema: StreamSchema?, machine: MachineID) throws -> String? {
    guard let schema, !schema.lines.isEmpty else {
      return try shapeTable(stream: stream, kind: kind, schema: schema, machine: machine)
    }
    if let reason = store.limits.refusal(ofLines: schema.lines.count) { return reason }
    struct Refused: Error { let reason: String }
    do {
      try atomically {
        if let reason = try shapeTable(stream: stream, kind: kind, schema: schema, machine: machine) {
          throw Refused(reason: reason)
        }
        for line in schema.lines {
          let reason = try shapeTable(
            stream: line.table, kind: kind, schema: line.rows, machine: machine, header: stream)
          if let reason { throw Refused(reason: "its lines \(line.table): \(reason)") }
          try makeIndex(of: line)
        }
      }
      return nil
    } catch let refused as Refused {
      try reshaped()
      return refused.reason
    }
  }

  /// Finds the lines of a header.
  private func makeIndex(of line: LineSchema) throws {
    let table = try table(of: line.table)!
    let columns = line.references.map { table.column(SQLName(line.rows.columns[$0].name))!.identifier }
    // Streams cannot be named drover_…, so the name is free.
    try connection.run(
      """
      CREATE INDEX IF NOT EXISTS \(quoted(Names.relation("drover_lines_\(line.table.text)")))
          ON \(table.qualified) (\(([table.machine] + columns).joined(separator: ", ")))
      """)
  }

  /// - Parameter header: the stream whose lines the table holds; nil for a stream's own table.
  private func shapeTable(
    stream: StreamName, kind: Kind, schema: StreamSchema?, machine: MachineID, header: StreamName? = nil
  ) throws -> String? {
    if let reason = schema.flatMap(bounds.refusal) { return reason }
    let wanted = SinkForm(kind: kind, isTable: schema != nil, header: header.map { SQLName($0.text) })
    guard let table = try table(of: stream) else {
      if let reason = store.limits.refusal(ofStreams: try knownStreams(machine)) { return reason }
      if let taken = try SinkTable.taken(stream, in: store.place, connection) {
        return "the store holds \(taken) \(stream) that is not Drover's"
      }
      try SinkTable.make(stream, form: wanted, header: header, schema: schema, in: store.place, connection)
      try reshaped()
      if keepsFeed { try FeedTable.make(for: self.table(of: stream)!, connection) }
      return nil
    }
    if let reason = table.form.refusal(of: wanted, stream) { return reason }
    guard let schema else { return nil }
    if let reason = table.shape.refusal(of: schema, stream, bounds) { return reason }
    do {
      try atomically {
        try extend(table, stream, to: schema, kind: kind, isLines: header != nil, machine: machine)
      }
      return nil
    } catch let error as PostgreSQLError where error.isChangeRefused {
      try reshaped()
      return "the sink table \(stream) cannot be changed: \(error.explanation)"
    }
  }

  /// Gives a table what it lacks of a schema.
  private func extend(
    _ table: SinkTable, _ stream: StreamName, to schema: StreamSchema, kind: Kind, isLines: Bool, machine: MachineID
  ) throws {
    let isMarked = try table.shape.needsMark(
      for: schema, kind: kind, isLines: isLines, hasOther: { try hasOther(than: schema, machine, stream) })
    let mixed = schema.columns.compactMap { column in
      table.column(SQLName(column.name)).flatMap { present in
        Column(name: "", declaredType: present.affinity.declaration).keeps(column) ? nil : present
      }
    }
    let lacking = table.shape.lacking(schema)
    let getsLives = table.shape.needsLives(for: schema)
    guard isMarked || !mixed.isEmpty || !lacking.isEmpty || getsLives else { return }
    if isMarked {
      try connection.run("ALTER TABLE \(table.qualified) ADD COLUMN \(TableShape.schemaColumn) text")
    }
    let name = SQLName(stream.text).text
    if getsLives { try table.tellLives(sink: name, connection) }
    let held = try MatchedSink(self, stream).heldTable()
    for column in mixed {
      for relation in [table, held].compactMap(\.self).flatMap({ $0.relations(with: column) }) {
        try SinkWidening(connection: connection).run(column, to: .jsonb, table: relation)
      }
      try connection.query(
        "UPDATE drover_sink_column SET declared_type = '' WHERE sink = $1 AND name = $2",
        [.text(name), .text(column.name.text)])
    }
    // An ID is written by its column's type, so rows are called otherwise in the change feed now.
    if mixed.contains(where: { table.key.contains($0.name) }) { try feed.forgetReaders(of: table.feed) }
    let isWide = table.columns.count + lacking.count > SinkColumn.mostRoomyColumns
    for column in lacking {
      let type = SinkColumn.type(of: column, isCompact: isWide)
      for table in [table, held].compactMap(\.self) {
        try connection.run(
          "ALTER TABLE \(table.qualified) ADD COLUMN \(SinkTable.definition(column, type))")
      }
      try SinkTable.note(column, of: name, keyPosition: nil, connection)
    }
    try reshaped()
  }

  private func knownStreams(_ machine: MachineID) throws -> Int {
    Int(
      try connection.query(
        """
        SELECT count(*) FROM (SELECT stream FROM drover_progress WHERE machine_id = $1
                              UNION SELECT stream FROM drover_schema WHERE machine_id = $1
                              UNION SELECT table_name FROM drover_schema_line WHERE machine_id = $1) AS known
        """, [.text(machine.text)]
      ).integer(0, 0))
  }

  /// Whether a machine's stream was described otherwise too, but for the lives of its keys.
  private func hasOther(than schema: StreamSchema, _ machine: MachineID, _ stream: StreamName) throws -> Bool {
    try connection.query(
      "SELECT EXISTS (SELECT 1 FROM drover_schema WHERE machine_id = $1 AND stream = $2 AND schema_id NOT IN ($3, $4))",
      [
        .text(machine.text), .text(stream.text), .text(schema.idsButForLives().first!.text),
        .text(schema.idsButForLives().last!.text),
      ]
    ).boolean(0, 0)
  }
}

extension Affinity {
  /// The shortest declaration that has it.
  fileprivate var declaration: String {
    switch self {
    case .integer: "INT"
    case .text: "TEXT"
    case .blob: ""
    case .real: "REAL"
    case .numeric: "NUM"
    }
  }
}
