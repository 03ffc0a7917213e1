// What machines describe of their streams, and the sink tables that follow from it.

import DroverCore
import GRDB

extension Transaction {
  func schema(_ id: SchemaID, machine: MachineID, stream: StreamName) throws -> StreamSchema? {
    let key = SQLiteCloudStore.SchemaKey(machine: machine, stream: stream, id: id)
    if let schema = store.cache.schemas[key] { return schema }
    guard let schema = try StreamSchema.read(id, machine: machine, stream: stream, database),
      // Pinned otherwise since: it is as unknown as if it came today.
      store.limits.pins.refusal(of: schema, stream, machine) == nil
    else { return nil }
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
    try onSink(stream) {
      let obstacle = try take(schema, machine: machine, stream: stream, isAccepted: false)
      if obstacle?.isKept ?? true {
        try withdrawDescriptions(machine: machine, stream: stream)
      } else {
        try WaitingSchemas(database: database).forget(machine: machine, stream: stream)
      }
      return obstacle?.reason
    }
  }

  /// Makes the tables of a description that was followed before.
  func adopt(again schema: StreamSchema, machine: MachineID, stream: StreamName) throws -> Obstacle? {
    try take(schema, machine: machine, stream: stream, isAccepted: false)
  }

  /// - Parameter isAccepted: whether the operator has said that the tables of all machines shall follow.
  private func take(
    _ schema: StreamSchema, machine: MachineID, stream: StreamName, isAccepted: Bool
  ) throws -> Obstacle? {
    let isKnown = try self.schema(schema.id, machine: machine, stream: stream) != nil
    if let obstacle = try obstacle(to: schema, machine, stream, isKnown: isKnown, isAccepted: isAccepted) {
      if obstacle.isKept {
        try WaitingSchemas(database: database).note(
          schema, machine: machine, stream: stream, reason: obstacle.reason, now: store.now())
      }
      return obstacle
    }
    if !isKnown {
      // Somebody may have left a part of it.
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
    try settle(schema, machine: machine, stream: stream, isAccepted: isAccepted)
    return nil
  }

  /// What stands in the way of a description. Without one, the tables fit it now.
  private func obstacle(
    to schema: StreamSchema, _ machine: MachineID, _ stream: StreamName, isKnown: Bool, isAccepted: Bool
  ) throws -> Obstacle? {
    if let reason = store.limits.pins.refusal(of: schema, stream, machine) { return Obstacle(reason, .pin) }
    if !isKnown, !isAccepted,
      let reason = try store.limits.refusal(ofSchemas: schemaCount(machine: machine, stream: stream))
    {
      return Obstacle(reason, .word)
    }
    let matched = MatchedSink(database: database, stream: stream)
    let pin = store.limits.pins[stream]
    if let obstacle = try matched.obstacle(to: schema, machine: machine, pin: pin, isAccepted: isAccepted) {
      return obstacle
    }
    return isKnown ? nil : try shapeSink(Shaping(stream, schema.kind, schema, machine, isAccepted: isAccepted))
  }

  /// Matches the rows of a stream by natural key, if a machine says so.
  func settle(_ schema: StreamSchema, machine: MachineID, stream: StreamName, isAccepted: Bool = false) throws {
    let matched = MatchedSink(database: database, stream: stream)
    let isChanged = try matched.settle(
      schema, machine: machine, pin: store.limits.pins[stream], isAccepted: isAccepted, now: store.now(),
      feed: store.feed.table(of: stream))
    if isChanged { store.forgetAll() }
  }

  private func bounds(of stream: StreamName, uncounted: Int = 0) -> TableShape.Bounds {
    let most = store.limits.pins[stream]?.mostColumns ?? store.limits.columnsPerTable
    return .init(columns: min(most + uncounted, SinkTable.maximumColumns), keyColumns: SinkTable.maximumKeyColumns)
  }

  func isWaiting(_ id: SchemaID, machine: MachineID, stream: StreamName) throws -> Bool {
    try WaitingSchemas(database: database).isWaiting(id, machine: machine, stream: stream)
  }

  // MARK: Streams without a table

  func holdBodies(of sink: Sink) throws -> String? {
    guard store.table(of: sink) == nil else { return nil }
    return try onSink(sink.stream) { try obstacleToBodies(of: sink) }
  }

  private func obstacleToBodies(of sink: Sink) throws -> String? {
    let wanted = SinkForm(kind: sink.kind, isTable: false, header: nil)
    let reason =
      try store.limits.pins.refusal(ofBodies: sink.kind, sink.stream, sink.machine)
      ?? form(of: sink.stream)?.refusal(of: wanted, sink.stream)
    let waiting = WaitingSchemas(database: database)
    if let reason {
      try waiting.noteBodies(
        sink.kind, machine: sink.machine, stream: sink.stream, reason: reason, now: store.now())
    } else if try waiting.isWaiting(WaitingSchemas.bodies, machine: sink.machine, stream: sink.stream) {
      try waiting.forget(machine: sink.machine, stream: sink.stream)
    }
    return reason
  }

  /// A table that an agent fills does not give way any more.
  func settleBodies(of stream: StreamName) throws {
    guard try form(of: stream)?.isLoose == true else { return }
    try database.execute(
      sql: "UPDATE drover_sink SET is_loose = 0 WHERE lower(stream) = ?", arguments: [SQLName(stream.text).text])
    store.cache.forms = [:]
  }

  // MARK: Accepting

  func accept(machine: MachineID, stream: StreamName) throws -> Acceptance? {
    let waiting = WaitingSchemas(database: database)
    guard let wanted = try waiting.wanted(machine: machine, stream: stream) else { return nil }
    var aside: [String] = []
    var others: [WaitingSchemas.Known] = []
    while let obstacle = try obstacleAccepting(wanted, machine, stream) {
      guard case .table(let table) = obstacle.way, aside.count <= 1 + (wanted.schema?.lines.count ?? 0) else {
        throw AcceptanceRefused(description: obstacle.reason)
      }
      others += try waiting.latest(using: table)
      aside.append(try putAside(table))
    }
    try waiting.forget(machine: machine, stream: stream)
    // The waiting one first, so that the tables are made for it. Of the others those that fit go on, and the rest waits.
    for other in others where other.machine != machine || other.stream != stream {
      _ = try take(other.schema, machine: other.machine, stream: other.stream, isAccepted: false)
    }
    try withdrawDescriptions(machine: machine, stream: stream)
    return Acceptance(aside: aside)
  }

  private func obstacleAccepting(
    _ wanted: (kind: Kind, schema: StreamSchema?), _ machine: MachineID, _ stream: StreamName
  ) throws -> Obstacle? {
    if let schema = wanted.schema { return try take(schema, machine: machine, stream: stream, isAccepted: true) }
    if let reason = store.limits.pins.refusal(ofBodies: wanted.kind, stream, machine) { return Obstacle(reason, .pin) }
    return try shapeSink(Shaping(stream, wanted.kind, nil, machine, isAccepted: true))
  }

  /// Takes a sink table out of the way, with everything that was known of its rows. No row is ever dropped.
  /// - Parameter isThere: false for a table that somebody has dropped or renamed.
  /// - Returns: what it is called now.
  func putAside(_ stream: StreamName, isThere: Bool = true) throws -> String {
    let aside = try WaitingSchemas(database: database).clear(stream: stream, now: store.now(), isThere: isThere)
    try store.feed.end(table: stream, database)
    store.forgetAll()
    return aside
  }

  // MARK: Tables

  /// What tables are wanted for.
  struct Shaping {
    var stream: StreamName
    var kind: Kind
    var schema: StreamSchema?
    var machine: MachineID
    /// Whether the operator has said that tables of other machines shall follow.
    var isAccepted: Bool
    /// Whether a bare event wants them.
    var isBare: Bool
    /// The stream whose lines the table holds; nil for a stream's own table.
    var header: StreamName?

    init(
      _ stream: StreamName, _ kind: Kind, _ schema: StreamSchema?, _ machine: MachineID, isAccepted: Bool = false,
      isBare: Bool = false, header: StreamName? = nil
    ) {
      self.stream = stream
      self.kind = kind
      self.schema = schema
      self.machine = machine
      self.isAccepted = isAccepted
      self.isBare = isBare
      self.header = header
    }
  }

  /// Makes the sink table and those of its lines, or adds what they lack. Returns why that cannot be; then nothing has changed.
  func shapeSink(_ wanted: Shaping) throws -> Obstacle? {
    guard let schema = wanted.schema, !schema.lines.isEmpty else { return try shapeTable(wanted) }
    if let reason = store.limits.refusal(ofLines: schema.lines.count) { return Obstacle(reason, .none) }
    var obstacle: Obstacle?
    try database.inSavepoint {
      obstacle = try shapeTable(wanted)
      for line in schema.lines where obstacle == nil {
        obstacle = try shapeTable(
          Shaping(
            line.table, wanted.kind, line.rows, wanted.machine, isAccepted: wanted.isAccepted, header: wanted.stream)
        ).map { Obstacle("its lines \(line.table): \($0.reason)", $0.way) }
        if obstacle == nil { try database.execute(sql: LineTable.indexCreation(line)) }
      }
      return obstacle == nil ? .commit : .rollback
    }
    if obstacle != nil { store.cache = SQLiteCloudStore.Cache() }
    return obstacle
  }

  private func shapeTable(_ wanted: Shaping) throws -> Obstacle? {
    let (stream, schema) = (wanted.stream, wanted.schema)
    if let reason = schema.flatMap(bounds(of: stream).refusal) { return Obstacle(reason, .none) }
    let wantedForm = SinkForm(kind: wanted.kind, isTable: schema != nil, header: wanted.header.map { SQLName($0.text) })
    guard let form = try form(of: stream) else { return try makeTable(wanted) }
    if form.isLoose, wantedForm.isTable {
      _ = try putAside(stream)
      return try makeTable(wanted)
    }
    if let reason = form.refusal(of: wantedForm, stream) { return Obstacle(reason, .table(stream)) }
    return try schema.flatMap { try widenTable(wanted, to: $0) }
  }

  private func makeTable(_ wanted: Shaping) throws -> Obstacle? {
    let (stream, machine) = (wanted.stream, wanted.machine)
    let known = try Int.fetchOne(
      database,
      sql: """
        SELECT count(*) FROM (SELECT stream FROM drover_progress WHERE machine_id = ?1
                              UNION SELECT stream FROM drover_schema WHERE machine_id = ?1
                              UNION SELECT table_name FROM drover_schema_line WHERE machine_id = ?1)
        """,
      arguments: [machine.text])!
    if let reason = store.limits.refusal(ofStreams: known) { return Obstacle(reason, .none) }
    // Tables, views and indexes share one space of names.
    let taken = try String.fetchOne(
      database, sql: "SELECT type FROM sqlite_master WHERE lower(name) = lower(?)", arguments: [stream.text])
    if let taken {
      if taken == "table", try takeOver(wanted) { return try shapeTable(wanted) }
      return Obstacle(
        "the store holds \(taken == "index" ? "an index" : "a \(taken)") \(stream) that is not Drover's", .none)
    }
    try database.execute(sql: SinkTable.creation(stream: stream, schema: wanted.schema))
    try note(wanted)
    try SharedTables(database: database).note(wanted.schema?.columns ?? [], of: stream, broughtBy: machine)
    try store.feed.begin(table: stream, database)
    return nil
  }

  /// Takes a table for the sink again that was one, and of which nothing is noted any more.
  private func takeOver(_ wanted: Shaping) throws -> Bool {
    let name = SQLName(wanted.stream.text).text
    let columns = Set(try database.catalogue(of: wanted.stream.text).map(\.name))
    let isSink = try Bool.fetchOne(
      database,
      sql: """
        SELECT EXISTS (SELECT 1 FROM drover_progress WHERE lower(stream) = ?1 AND applied > 0)
            OR EXISTS (SELECT 1 FROM drover_schema WHERE lower(stream) = ?1)
            OR EXISTS (SELECT 1 FROM drover_schema_line WHERE lower(table_name) = ?1)
        """, arguments: [name])!
    guard isSink, columns.isSuperset(of: [SQLName("drover_epoch"), SQLName("drover_version")]) else { return false }
    try note(wanted)
    try reopenGaps(of: wanted.header ?? wanted.stream)
    return true
  }

  /// Notes a table as a stream's sink.
  private func note(_ wanted: Shaping) throws {
    let isLoose = wanted.isBare && wanted.schema == nil && store.limits.pins[wanted.stream] == nil
    try database.execute(
      sql: "INSERT INTO drover_sink (stream, kind, form, header, is_loose) VALUES (?, ?, ?, ?, ?)",
      arguments: [
        wanted.stream.text, wanted.kind.rawValue, wanted.schema == nil ? "body" : "table", wanted.header?.text, isLoose,
      ])
    store.cache.forms = [:]
  }

  private func widenTable(_ wanted: Shaping, to schema: StreamSchema) throws -> Obstacle? {
    let (stream, machine, kind) = (wanted.stream, wanted.machine, wanted.kind)
    // GRDB's own look at a table remembers what a rollback has taken back, and quotes no quotes; and a stream may be named
    // pragma_table_info.
    let present = try database.catalogue(of: stream.text)
    let shape = TableShape(
      names: present.map(\.name),
      key: present.filter { $0.keyPosition > 0 }.sorted { $0.keyPosition < $1.keyPosition }.map(\.name))
    let users = SharedTables(database: database)
    let shared = try users.table(stream, for: machine)
    let bounds = bounds(of: stream, uncounted: shared.uncounted(store.limits.columnsPerMachine))
    if let reason = shape.refusal(of: schema, stream, bounds) { return Obstacle(reason, .table(stream)) }
    let (new, widening) = (shape.lacking(schema), SinkWidening(database, table: stream.text))
    let retyped = try widening.retyped(by: schema)
    if !wanted.isAccepted, !new.isEmpty || !retyped.isEmpty, try users.isUsed(stream, besides: machine),
      let reason = shared.refusal(
        lacking: new, retyped: retyped, stream, store.limits.pins[stream], budget: store.limits.columnsPerMachine)
    {
      return Obstacle(reason, .word)
    }
    let needsMark = try shape.needsMark(
      for: schema, kind: kind, isLines: wanted.header != nil, hasOther: { try hasOther(than: schema, machine, stream) })
    if needsMark {
      try database.execute(sql: "ALTER TABLE \(quoted(stream.text)) ADD COLUMN \(TableShape.schemaColumn) TEXT")
    }
    let isWidened = try widening.run(for: schema)
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
    for column in new {
      try database.execute(sql: "ALTER TABLE \(quoted(stream.text)) ADD COLUMN \(SinkTable.definition(column))")
    }
    try users.note(new, of: stream, broughtBy: machine)
    try users.share(schema.columns, of: stream, with: machine)
    // Of a table that is as it was, what other machines' events are merged by stays.
    if needsMark || isWidened || !new.isEmpty { store.cache.sinks.forget(stream: wanted.header ?? stream) }
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
        database, sql: "SELECT stream, kind, form, header, is_loose FROM drover_sink WHERE lower(stream) = lower(?)",
        arguments: [stream.text]),
      let kind = Kind(rawValue: row["kind"])
    else { return nil }
    let form = SinkForm(
      kind: kind, isTable: row["form"] == "table", header: (row["header"] as String?).map(SQLName.init),
      isLoose: row["is_loose"])
    store.cache.forms[stream] = form
    return form
  }
}
