// Schemas, and the sink tables that come to be from them.

import DroverCore

extension Transaction {
  private var schemas: SchemaTables { SchemaTables(connection: connection) }

  func schema(_ id: SchemaID, machine: MachineID, stream: StreamName) throws -> StreamSchema? {
    let key = PostgreSQLCloudStore.SchemaKey(machine: machine, stream: stream, id: id)
    if let schema = store.knowledge.schemas[key] { return schema }
    guard let schema = try schemas.read(id, machine: machine, stream: stream),
      // Pinned otherwise since: it is as unknown as if it came today.
      store.limits.pins.refusal(of: schema, stream, machine) == nil
    else { return nil }
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
    try onSink(stream) {
      let obstacle = try take(schema, machine: machine, stream: stream, isAccepted: false)
      if obstacle?.isKept ?? true {
        try withdrawDescriptions(machine: machine, stream: stream)
      } else {
        try schemas.forget(machine: machine, stream: stream)
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
    // One at a time makes or changes the tables of a stream.
    try lock(Locks.name("sink", SQLName(stream.text).text))
    let isKnown = try self.schema(schema.id, machine: machine, stream: stream) != nil
    if let obstacle = try obstacle(to: schema, machine, stream, isKnown: isKnown, isAccepted: isAccepted) {
      if obstacle.isKept {
        try schemas.note(schema, machine: machine, stream: stream, reason: obstacle.reason, now: store.now())
      }
      return obstacle
    }
    if !isKnown { try schemas.write(schema, machine: machine, stream: stream) }
    if try !isKnown || latestSchema(machine: machine, stream: stream) != schema { try reshaped() }
    try schemas.describe(schema, machine: machine, stream: stream, now: store.now())
    // Also events of an older schema go by the newest condition.
    store.knowledge.latest[MachineStream(machine: machine, stream: stream)] = nil
    try schemas.forget(machine: machine, stream: stream)
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
    let matched = MatchedSink(self, stream)
    let pin = store.limits.pins[stream]
    if let obstacle = try matched.obstacle(to: schema, machine: machine, pin: pin, isAccepted: isAccepted) {
      return obstacle
    }
    return isKnown ? nil : try shapeSink(Shaping(stream, schema.kind, schema, machine, isAccepted: isAccepted))
  }

  /// Matches the rows of a stream by natural key, if a machine or the operator says so.
  func settle(_ schema: StreamSchema, machine: MachineID, stream: StreamName, isAccepted: Bool = false) throws {
    let isChanged = try MatchedSink(self, stream).settle(
      schema, machine: machine, pin: store.limits.pins[stream], isAccepted: isAccepted)
    if isChanged { try reshaped() }
  }

  func isWaiting(_ id: SchemaID, machine: MachineID, stream: StreamName) throws -> Bool {
    try schemas.isWaiting(id, machine: machine, stream: stream)
  }

  // MARK: Streams without a table

  func holdBodies(of sink: Sink) throws -> String? {
    guard store.knowledge.writers[sink] == nil else { return nil }
    return try onSink(sink.stream) { try obstacleToBodies(of: sink) }
  }

  private func obstacleToBodies(of sink: Sink) throws -> String? {
    let wanted = SinkForm(kind: sink.kind, isTable: false, header: nil)
    let reason =
      try store.limits.pins.refusal(ofBodies: sink.kind, sink.stream, sink.machine)
      ?? table(of: sink.stream)?.form.refusal(of: wanted, sink.stream)
    if let reason {
      try schemas.noteBodies(
        sink.kind, machine: sink.machine, stream: sink.stream, reason: reason, now: store.now())
    } else if try schemas.isWaiting(SchemaTables.bodies, machine: sink.machine, stream: sink.stream) {
      try schemas.forget(machine: sink.machine, stream: sink.stream)
    }
    return reason
  }

  /// A table that an agent fills does not give way any more.
  func settleBodies(of stream: StreamName) throws {
    guard try table(of: stream)?.form.isLoose == true else { return }
    try connection.query("UPDATE drover_sink SET is_loose = false WHERE name = $1", [.text(SQLName(stream.text).text)])
    try reshaped()
  }

  // MARK: Accepting

  func accept(machine: MachineID, stream: StreamName) throws -> Acceptance? {
    try lock(Locks.name("sink", SQLName(stream.text).text))
    guard let wanted = try schemas.wanted(machine: machine, stream: stream) else { return nil }
    var aside: [String] = []
    var others: [(machine: MachineID, stream: StreamName, schema: StreamSchema)] = []
    while let obstacle = try obstacleAccepting(wanted, machine, stream) {
      guard case .table(let table) = obstacle.way, aside.count <= 1 + (wanted.schema?.lines.count ?? 0) else {
        throw AcceptanceRefused(description: obstacle.reason)
      }
      try lock(Locks.name("sink", SQLName(table.text).text))
      others += try schemas.latest(using: table)
      aside.append(try putAside(table))
    }
    try schemas.forget(machine: machine, stream: stream)
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
    let noted = try connection.query(
      "SELECT table_name FROM drover_sink WHERE name = $1", [.text(SQLName(stream.text).text)])
    let table = noted.count > 0 ? noted.text(0, 0) : Names.relation(stream.text)
    if keepsFeed {
      let numbers = FeedTable(stream: SQLName(stream.text).text, table: table, in: store.place)
      try feed.forgetReaders(of: numbers)
      try numbers.drop(connection)
    }
    let name = "\(stream.text)_until_\(Timestamp.name(microseconds: store.now()))"
    var aside = name
    var number = 1
    while try isTaken(Names.relation(aside)) {
      number += 1
      aside = "\(name)_\(number)"
    }
    try MatchedSink(self, stream).putAside(as: aside)
    try connection.run("DROP INDEX IF EXISTS \(store.place).\(quoted(Self.linesIndex(of: stream)))")
    if isThere {
      try connection.run(
        "ALTER TABLE \(store.place).\(quoted(table)) RENAME TO \(quoted(Names.relation(aside)))")
    }
    try schemas.clear(stream)
    store.knowledge = PostgreSQLCloudStore.Knowledge()
    try reshaped()
    return Names.relation(aside)
  }

  private func isTaken(_ relation: String) throws -> Bool {
    try connection.query(
      "SELECT EXISTS (SELECT 1 FROM pg_class WHERE relnamespace = $1::text::regnamespace AND relname = $2::text::name)",
      [.text(store.place), .text(relation)]
    ).boolean(0, 0)
  }

  // MARK: Tables

  private func bounds(of stream: StreamName, uncounted: Int = 0) -> TableShape.Bounds {
    let most = store.limits.pins[stream]?.mostColumns ?? store.limits.columnsPerTable
    return .init(columns: min(most + uncounted, SinkTable.maximumColumns), keyColumns: SinkTable.maximumKeyColumns)
  }

  /// The sink table of a stream; nil where there is none of Drover's.
  func table(of stream: StreamName) throws -> SinkTable? {
    let name = SQLName(stream.text)
    if let table = store.knowledge.tables[name] { return table }
    guard let table = try SinkTable.read(stream, in: store.place, connection) else { return nil }
    store.knowledge.tables[name] = table
    return table
  }

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
    struct Refused: Error { let obstacle: Obstacle }
    do {
      try atomically {
        if let obstacle = try shapeTable(wanted) { throw Refused(obstacle: obstacle) }
        for line in schema.lines {
          let obstacle = try shapeTable(
            Shaping(
              line.table, wanted.kind, line.rows, wanted.machine, isAccepted: wanted.isAccepted, header: wanted.stream))
          if let obstacle {
            throw Refused(obstacle: Obstacle("its lines \(line.table): \(obstacle.reason)", obstacle.way))
          }
          try makeIndex(of: line)
        }
      }
      return nil
    } catch let refused as Refused {
      try reshaped()
      return refused.obstacle
    }
  }

  /// Finds the lines of a header.
  private func makeIndex(of line: LineSchema) throws {
    let table = try table(of: line.table)!
    let columns = try line.references.map { try table.need(SQLName(line.rows.columns[$0].name)).identifier }
    // Streams cannot be named drover_…, so the name is free.
    try connection.run(
      """
      CREATE INDEX IF NOT EXISTS \(quoted(Self.linesIndex(of: line.table)))
          ON \(table.qualified) (\(([table.machine] + columns).joined(separator: ", ")))
      """)
  }

  private static func linesIndex(of table: StreamName) -> String { Names.relation("drover_lines_\(table.text)") }

  private func shapeTable(_ wanted: Shaping) throws -> Obstacle? {
    let (stream, schema, machine) = (wanted.stream, wanted.schema, wanted.machine)
    if let reason = schema.flatMap(bounds(of: stream).refusal) { return Obstacle(reason, .none) }
    let form = SinkForm(
      kind: wanted.kind, isTable: schema != nil, header: wanted.header.map { SQLName($0.text) },
      isLoose: wanted.isBare && schema == nil && store.limits.pins[stream] == nil)
    guard let table = try table(of: stream) else { return try makeTable(wanted, form) }
    if table.form.isLoose, form.isTable {
      _ = try putAside(stream)
      return try makeTable(wanted, form)
    }
    if let reason = table.form.refusal(of: form, stream) { return Obstacle(reason, .table(stream)) }
    guard let schema else { return nil }
    let users = SharedTables(connection: connection)
    let shared = try users.table(stream, for: machine)
    let bounds = bounds(of: stream, uncounted: shared.uncounted(store.limits.columnsPerMachine))
    if let reason = table.shape.refusal(of: schema, stream, bounds) { return Obstacle(reason, .table(stream)) }
    let (lacking, retyped) = (table.shape.lacking(schema), table.retyped(by: schema))
    if !wanted.isAccepted, !lacking.isEmpty || !retyped.isEmpty, try users.isUsed(stream, besides: machine),
      let reason = shared.refusal(
        lacking: lacking,
        retyped: retyped.map { (Column(name: "", declaredType: $0.present.affinity.declaration), $0.new) },
        stream, store.limits.pins[stream], budget: store.limits.columnsPerMachine)
    {
      return Obstacle(reason, .word)
    }
    do {
      try atomically {
        try extend(
          table, stream, to: schema, kind: wanted.kind, isLines: wanted.header != nil, mixed: retyped.map(\.present),
          machine: machine)
        try users.note(lacking, of: stream, broughtBy: machine)
        try users.share(schema.columns, of: stream, with: machine)
      }
      return nil
    } catch let error as PostgreSQLError where error.isChangeRefused {
      try reshaped()
      return Obstacle("the sink table \(stream) cannot be changed: \(error.explanation)", .table(stream))
    }
  }

  private func makeTable(_ wanted: Shaping, _ form: SinkForm) throws -> Obstacle? {
    let (stream, schema) = (wanted.stream, wanted.schema)
    if let reason = store.limits.refusal(ofStreams: try knownStreams(wanted.machine)) { return Obstacle(reason, .none) }
    if let taken = try SinkTable.taken(stream, in: store.place, connection) {
      if try takeOver(wanted, form) { return try shapeTable(wanted) }
      return Obstacle("the store holds \(taken) \(stream) that is not Drover's", .none)
    }
    try SinkTable.make(stream, form: form, header: wanted.header, schema: schema, in: store.place, connection)
    try SharedTables(connection: connection).note(schema?.columns ?? [], of: stream, broughtBy: wanted.machine)
    try reshaped()
    if keepsFeed { try FeedTable.make(for: self.table(of: stream)!, connection) }
    return nil
  }

  /// Takes a table for the sink again that was one, and of which nothing is noted any more.
  private func takeOver(_ wanted: Shaping, _ form: SinkForm) throws -> Bool {
    let name = SQLName(wanted.stream.text).text
    let table = Names.relation(wanted.stream.text)
    let isSink = try connection.query(
      """
      SELECT (SELECT count(*) FROM pg_attribute AS part JOIN pg_class AS present ON present.oid = part.attrelid
               WHERE present.relnamespace = $1::text::regnamespace AND present.relname = $2::text::name AND present.relkind IN ('r', 'p')
                 AND part.attnum > 0 AND NOT part.attisdropped AND part.attname IN ('drover_epoch', 'drover_version')) = 2
         AND (EXISTS (SELECT 1 FROM drover_progress WHERE lower(stream) = $3::text COLLATE "C" AND applied > 0)
              OR EXISTS (SELECT 1 FROM drover_schema WHERE lower(stream) = $3::text COLLATE "C")
              OR EXISTS (SELECT 1 FROM drover_schema_line WHERE lower(table_name COLLATE "C") = $3::text COLLATE "C"))
      """, [.text(store.place), .text(table), .text(name)], isKept: false
    ).boolean(0, 0)
    guard isSink else { return false }
    try SinkTable.note(wanted.stream, table: table, form: form, header: wanted.header, connection)
    let key = wanted.schema?.key ?? [0]
    for (index, column) in (wanted.schema?.columns ?? SinkTable.bodyColumns.map(\.0)).enumerated() {
      try SinkTable.note(column, of: name, keyPosition: key.firstIndex(of: index), connection)
    }
    try reshaped()
    try reopenGaps(of: wanted.header ?? wanted.stream)
    return true
  }

  /// Gives a table what it lacks of a schema.
  private func extend(
    _ table: SinkTable, _ stream: StreamName, to schema: StreamSchema, kind: Kind, isLines: Bool, mixed: [SinkColumn],
    machine: MachineID
  ) throws {
    let isMarked = try table.shape.needsMark(
      for: schema, kind: kind, isLines: isLines, hasOther: { try hasOther(than: schema, machine, stream) })
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
    // An ID is written by its columns and their types, so rows are called otherwise in the change feed now.
    if getsLives || mixed.contains(where: { table.key.contains($0.name) }) { try feed.forgetReaders(of: table.feed) }
    let isWide = table.columns.count + lacking.count > SinkColumn.mostRoomyColumns
    if try lacking.contains(where: { try table.hasForeign($0, connection) }) { try reopenGaps(of: stream) }
    for column in lacking {
      let type = SinkColumn.type(of: column, isCompact: isWide)
      for table in [table, held].compactMap(\.self) {
        try connection.run(
          // What somebody has added under this name is the column from now on.
          "ALTER TABLE \(table.qualified) ADD COLUMN IF NOT EXISTS \(SinkTable.definition(column, type))")
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

extension SinkTable {
  /// Its columns that would change a value of a schema's, each with what the schema has.
  fileprivate func retyped(by schema: StreamSchema) -> [(present: SinkColumn, new: Column)] {
    schema.columns.compactMap { column in
      self.column(SQLName(column.name)).flatMap { present in
        Column(name: "", declaredType: present.affinity.declaration).keeps(column) ? nil : (present, column)
      }
    }
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
