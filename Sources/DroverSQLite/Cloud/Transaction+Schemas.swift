// What machines describe of their streams, and the sink tables that follow from it.

import DroverCore
import GRDB

extension Transaction {
  func schema(_ id: SchemaID, machine: MachineID, stream: StreamName) throws -> StreamSchema? {
    let key = SQLiteCloudStore.SchemaKey(machine: machine, stream: stream, id: id)
    if let schema = store.cache.schemas[key] { return schema }
    guard let schema = try StreamSchema.read(id, machine: machine, stream: stream, database) else { return nil }
    let shared = store.cache.distinctSchemas.insert(schema).memberAfterInsert
    store.cache.schemas[key] = shared
    return shared
  }

  func latestSchema(machine: MachineID, stream: StreamName) throws -> StreamSchema? {
    let origin = SQLiteCloudStore.Origin(machine: machine, stream: stream)
    if let schema = store.cache.latest[origin] { return schema }
    let id = try String.fetchOne(
      database,
      sql: "SELECT schema_id FROM drover_schema WHERE machine_id = ? AND stream = ? ORDER BY described DESC LIMIT 1",
      arguments: [machine.text, stream.text])
    let schema = try id.flatMap { try self.schema(SchemaID(text: $0), machine: machine, stream: stream) }
    store.cache.latest[origin] = .some(schema)
    return schema
  }

  func adopt(_ schema: StreamSchema, machine: MachineID, stream: StreamName) throws -> String? {
    if try self.schema(schema.id, machine: machine, stream: stream) == nil {
      if let reason = try store.limits.refusal(ofSchemas: schemaCount(machine: machine, stream: stream))
        ?? MatchedSink(database: database, stream: stream).refusal(of: schema, machine: machine)
        ?? shapeSink(stream: stream, kind: schema.kind, schema: schema, machine: machine)
      {
        // Only where a table of Drover's stands in the way, so nobody fills the store with descriptions.
        if try form(of: stream) != nil, bounds.refusal(of: schema) == nil {
          try WaitingSchemas(database: database).note(
            schema, machine: machine, stream: stream, reason: reason, now: store.now())
        }
        return reason
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
            schema.key.firstIndex(of: position), schema.naturalKey?.columns.firstIndex(of: column.name),
            schema.naturalKey?.fallback.firstIndex(of: column.name),
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
    try database.execute(
      sql: """
        -- The one that was described last is the latest, also when the clock stands still or goes back.
        INSERT INTO drover_schema (machine_id, stream, schema_id, kind, complete_when, described)
        SELECT ?1, ?2, ?3, ?4, ?6, max(?5, 1 + ifnull((SELECT max(described) FROM drover_schema WHERE machine_id = ?1 AND stream = ?2), 0))
         WHERE true
        ON CONFLICT (machine_id, stream, schema_id) DO UPDATE SET described = excluded.described
        """,
      arguments: [
        machine.text, stream.text, schema.id.text, schema.kind.rawValue, store.now(), schema.completeWhen?.text,
      ])
    // Also events of an older schema go by the newest condition.
    store.cache.latest[SQLiteCloudStore.Origin(machine: machine, stream: stream)] = nil
    store.cache.sinks.forget(machine: machine, stream: stream)
    try WaitingSchemas(database: database).forget(machine: machine, stream: stream)
    try settle(schema, machine: machine, stream: stream)
    return nil
  }

  /// Matches the rows of a stream by natural key, if a machine says so.
  func settle(_ schema: StreamSchema, machine: MachineID, stream: StreamName) throws {
    let matched = MatchedSink(database: database, stream: stream)
    if try matched.settle(schema, machine: machine, feed: store.feed.table(of: stream)) { store.forgetAll() }
  }

  private var bounds: TableShape.Bounds {
    .init(
      columns: min(store.limits.columnsPerTable, SinkTable.maximumColumns), keyColumns: SinkTable.maximumKeyColumns)
  }

  func isWaiting(_ id: SchemaID, machine: MachineID, stream: StreamName) throws -> Bool {
    try WaitingSchemas(database: database).isWaiting(id, machine: machine, stream: stream)
  }

  func accept(machine: MachineID, stream: StreamName) throws -> String? {
    let waiting = WaitingSchemas(database: database)
    guard let schema = try waiting.schema(machine: machine, stream: stream) else { return nil }
    let (aside, known) = try waiting.clear(stream: stream, now: store.now())
    try store.feed.end(table: stream, database)
    store.forgetAll()
    // The waiting one first, so that the table is made for it. Of the others those that fit go on, and the rest waits.
    for (machine, schema) in [(machine, schema)] + known.filter({ $0.0 != machine }) {
      _ = try adopt(schema, machine: machine, stream: stream)
    }
    // The description was set apart when it came, and has been taken now.
    try database.execute(
      sql: "DELETE FROM drover_dead_letter WHERE topic = ? AND reason = ?",
      arguments: [Topic.schema(machine, stream).text, DeadLetterReason.schema.rawValue])
    try DeadLetterCounter.replayed.add(database.changesCount, database)
    return aside
  }

  /// Makes the sink table and those of its lines, or adds what they lack. Returns why that cannot be; then nothing has changed.
  func shapeSink(stream: StreamName, kind: Kind, schema: StreamSchema?, machine: MachineID) throws -> String? {
    guard let schema, !schema.lines.isEmpty else {
      return try shapeTable(stream: stream, kind: kind, schema: schema, machine: machine)
    }
    if let reason = store.limits.refusal(ofLines: schema.lines.count) { return reason }
    var reason: String?
    try database.inSavepoint {
      reason = try shapeTable(stream: stream, kind: kind, schema: schema, machine: machine)
      for line in schema.lines where reason == nil {
        reason = try shapeTable(stream: line.table, kind: kind, schema: line.rows, machine: machine, header: stream)
          .map { "its lines \(line.table): \($0)" }
        if reason == nil { try database.execute(sql: LineTable.indexCreation(line)) }
      }
      return reason == nil ? .commit : .rollback
    }
    if reason != nil { store.cache = SQLiteCloudStore.Cache() }
    return reason
  }

  /// - Parameter header: the stream whose lines the table holds; nil for a stream's own table.
  private func shapeTable(
    stream: StreamName, kind: Kind, schema: StreamSchema?, machine: MachineID, header: StreamName? = nil
  ) throws -> String? {
    if let reason = schema.flatMap(bounds.refusal) { return reason }
    let wanted = SinkForm(kind: kind, isTable: schema != nil, header: header.map { SQLName($0.text) })
    guard let form = try form(of: stream) else {
      let known = try Int.fetchOne(
        database,
        sql: """
          SELECT count(*) FROM (SELECT stream FROM drover_progress WHERE machine_id = ?1
                                UNION SELECT stream FROM drover_schema WHERE machine_id = ?1
                                UNION SELECT table_name FROM drover_schema_line WHERE machine_id = ?1)
          """,
        arguments: [machine.text])!
      if let reason = store.limits.refusal(ofStreams: known) { return reason }
      // Tables, views and indexes share one space of names.
      let taken = try String.fetchOne(
        database, sql: "SELECT type FROM sqlite_master WHERE lower(name) = lower(?)", arguments: [stream.text])
      if let taken {
        return "the store holds \(taken == "index" ? "an index" : "a \(taken)") \(stream) that is not Drover's"
      }
      try database.execute(sql: SinkTable.creation(stream: stream, schema: schema))
      try database.execute(
        sql: "INSERT INTO drover_sink (stream, kind, form, header) VALUES (?, ?, ?, ?)",
        arguments: [stream.text, kind.rawValue, schema == nil ? "body" : "table", header?.text])
      try store.feed.begin(table: stream, database)
      store.cache.forms[stream] = wanted
      return nil
    }
    if let reason = form.refusal(of: wanted, stream) { return reason }
    guard let schema else { return nil }
    // GRDB's own look at a table remembers what a rollback has taken back, and quotes no quotes; and a stream may be named
    // pragma_table_info.
    let present = try database.catalogue(of: stream.text)
    let shape = TableShape(
      names: present.map(\.name),
      key: present.filter { $0.keyPosition > 0 }.sorted { $0.keyPosition < $1.keyPosition }.map(\.name))
    if let reason = shape.refusal(of: schema, stream, bounds) { return reason }
    let needsMark = try shape.needsMark(
      for: schema, kind: kind, isLines: header != nil, hasOther: { try hasOther(than: schema, machine, stream) })
    if needsMark {
      try database.execute(sql: "ALTER TABLE \(quoted(stream.text)) ADD COLUMN \(TableShape.schemaColumn) TEXT")
    }
    let isWidened = try SinkWidening(database, table: stream.text).run(for: schema)
    // An ID is written by its column's type, so rows are called otherwise in the change feed now.
    if isWidened,
      try database.catalogue(of: stream.text).contains(where: { column in
        column.keyPosition > 0 && !present.contains { $0.name == column.name && $0.type == column.type }
      })
    {
      try store.feed.forgetReaders(of: stream, database)
    }
    if isWidened, shape.needsLives(for: schema) {
      try store.feed.table(of: stream)?.addKeyColumn(after: shape.key.count, database)
      store.cache.tellsLives[stream] = nil
    }
    let new = shape.lacking(schema)
    for column in new {
      try database.execute(sql: "ALTER TABLE \(quoted(stream.text)) ADD COLUMN \(SinkTable.definition(column))")
    }
    // Of a table that is as it was, what other machines' events are merged by stays.
    if needsMark || isWidened || !new.isEmpty { store.cache.sinks.forget(stream: header ?? stream) }
    return nil
  }

  /// Whether a machine's stream was described otherwise too, but for the lives of its keys.
  private func hasOther(than schema: StreamSchema, _ machine: MachineID, _ stream: StreamName) throws -> Bool {
    try Bool.fetchOne(
      database,
      sql:
        "SELECT EXISTS (SELECT 1 FROM drover_schema WHERE machine_id = ? AND stream = ? AND schema_id NOT IN (?, ?))",
      arguments: [
        machine.text, stream.text, schema.idsButForLives().first!.text, schema.idsButForLives().last!.text,
      ])!
  }

  private func form(of stream: StreamName) throws -> SinkForm? {
    if let form = store.cache.forms[stream] { return form }
    // SQLite's table names ignore case, so two streams that differ in case alone would share a table.
    guard
      let row = try Row.fetchOne(
        database, sql: "SELECT stream, kind, form, header FROM drover_sink WHERE lower(stream) = lower(?)",
        arguments: [stream.text]),
      let kind = Kind(rawValue: row["kind"])
    else { return nil }
    let form = SinkForm(
      kind: kind, isTable: row["form"] == "table", header: (row["header"] as String?).map(SQLName.init))
    store.cache.forms[stream] = form
    return form
  }
}
