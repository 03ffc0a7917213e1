// What PostgreSQL does of adopting a description: the steps are the core's (`SchemaDialect`), and the changes of tables stand here.

import DroverCore

extension Transaction: SchemaDialect {
  private var schemas: SchemaTables { SchemaTables(connection: connection) }
  private var users: SharedTables { SharedTables(connection: connection) }

  var limits: CloudStoreLimits { store.limits }
  var capacity: TableShape.Bounds {
    .init(columns: SinkTable.maximumColumns, keyColumns: SinkTable.maximumKeyColumns)
  }

  func lockSink(_ stream: StreamName) throws { try lock(Locks.name("sink", SQLName(stream.text).text)) }

  func part(_ body: () throws -> Obstacle?) throws -> Obstacle? {
    struct Refused: Error { let obstacle: Obstacle }
    do {
      try atomically { if let obstacle = try body() { throw Refused(obstacle: obstacle) } }
      return nil
    } catch let refused as Refused {
      try reshaped()
      return refused.obstacle
    }
  }

  // MARK: Descriptions

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

  func keep(_ schema: StreamSchema, machine: MachineID, stream: StreamName, isKnown: Bool) throws {
    // What is known here may be gone from the store.
    let isKnown = try isKnown && schemas.read(schema.id, machine: machine, stream: stream) != nil
    if !isKnown { try schemas.write(schema, machine: machine, stream: stream) }
    if try !isKnown || latestSchema(machine: machine, stream: stream) != schema { try reshaped() }
    try schemas.describe(schema, machine: machine, stream: stream, now: store.now())
    // Also events of an older schema go by the newest condition.
    store.knowledge.latest[MachineStream(machine: machine, stream: stream)] = nil
    try settleFlow(schema, machine: machine, stream: stream)
  }

  func hasOther(than schema: StreamSchema, machine: MachineID, stream: StreamName) throws -> Bool {
    try schemas.hasOther(than: schema, machine: machine, stream: stream)
  }

  func latestSchemas(using table: StreamName) throws -> [DescribedStream] { try schemas.latest(using: table) }

  func note(_ waiting: WaitingStream, machine: MachineID, stream: StreamName, reason: String) throws {
    try schemas.note(waiting, machine: machine, stream: stream, reason: reason, now: store.now())
  }

  func isWaiting(_ id: SchemaID, machine: MachineID, stream: StreamName) throws -> Bool {
    try schemas.isWaiting(id, machine: machine, stream: stream)
  }

  func waiting(machine: MachineID, stream: StreamName) throws -> WaitingStream? {
    try schemas.waiting(machine: machine, stream: stream)
  }

  func forgetWaiting(machine: MachineID, stream: StreamName) throws {
    try schemas.forget(machine: machine, stream: stream)
  }

  /// A table that an agent fills does not give way any more.
  func settleBodies(of stream: StreamName) throws {
    guard try table(of: stream)?.form.isLoose == true else { return }
    try connection.query("UPDATE drover_sink SET is_loose = false WHERE name = $1", [.text(SQLName(stream.text).text)])
    try reshaped()
  }

  // MARK: Tables

  func isKnown(_ sink: Sink) -> Bool { store.knowledge.writers[sink] != nil }

  /// The sink table of a stream; nil where there is none of Drover's.
  func table(of stream: StreamName) throws -> SinkTable? {
    let name = SQLName(stream.text)
    if let table = store.knowledge.tables[name] { return table }
    guard let table = try SinkTable.read(stream, in: store.place, connection) else { return nil }
    store.knowledge.tables[name] = table
    return table
  }

  func form(of stream: StreamName) throws -> SinkForm? { try table(of: stream)?.form }

  func present(_ stream: StreamName) throws -> PresentSink? {
    guard let table = try table(of: stream) else { return nil }
    guard !table.columns.isEmpty else {
      // The notes of all its columns were deleted: it is taken over again.
      try connection.query("DELETE FROM drover_sink WHERE name = $1", [.text(SQLName(stream.text).text)])
      try reshaped()
      return nil
    }
    return PresentSink(
      form: table.form, shape: table.shape,
      columns: table.columns.map { Column(name: $0.name.text, declaredType: $0.affinity.declaration) })
  }

  func shared(_ stream: StreamName, for machine: MachineID) throws -> SharedTable {
    try users.table(stream, for: machine)
  }

  func isUsed(_ stream: StreamName, besides machine: MachineID) throws -> Bool {
    try users.isUsed(stream, besides: machine)
  }

  func streamCount(of machine: MachineID) throws -> Int { try schemas.streamCount(of: machine) }

  func occupant(of stream: StreamName) throws -> String? {
    try SinkTable.taken(stream, in: store.place, connection)
  }

  func takeOver(_ wish: SinkWish) throws -> Bool {
    let name = SQLName(wish.stream.text).text
    let table = Names.relation(wish.stream.text)
    let isSink = try connection.query(
      """
      SELECT (SELECT count(*) FROM pg_attribute AS part JOIN pg_class AS present ON present.oid = part.attrelid
               WHERE present.relnamespace = $1::text::regnamespace AND present.relname = $2::text::name AND present.relkind IN ('r', 'p')
                 AND part.attnum > 0 AND NOT part.attisdropped AND part.attname IN ('drover_epoch', 'drover_version')) = 2
         AND (EXISTS (SELECT 1 FROM drover_progress WHERE lower(stream) = ANY ($3::text[]) AND applied > 0)
              OR EXISTS (SELECT 1 FROM drover_schema WHERE lower(stream) = ANY ($3::text[]))
              OR EXISTS (SELECT 1 FROM drover_schema_line WHERE lower(table_name COLLATE "C") = ANY ($3::text[])))
      """,
      [.text(store.place), .text(table), .texts([name] + (wish.header.map { [SQLName($0.text).text] } ?? []))],
      isKept: false
    ).boolean(0, 0)
    guard isSink else { return false }
    try SinkTable.note(wish.stream, table: table, form: wish.form(limits.pins), header: wish.header, connection)
    let number = try connection.query(
      "SELECT present.oid::bigint FROM pg_class AS present WHERE relnamespace = $1::text::regnamespace AND relname = $2::text::name",
      [.text(store.place), .text(table)], isKept: false)
    _ = try SinkNotes(connection: connection).note(
      wish.schema?.columns ?? SinkTable.bodyColumns.map(\.0), key: wish.schema?.key ?? [0], of: name,
      table: number.integer(0, 0))
    try reshaped()
    try reopenGaps(of: wish.header ?? wish.stream)
    return true
  }

  func make(_ wish: SinkWish) throws {
    let (stream, schema) = (wish.stream, wish.schema)
    try SinkTable.make(
      stream, form: wish.form(limits.pins), header: wish.header, schema: schema, in: store.place, connection)
    try users.note(schema?.columns ?? [], of: stream, broughtBy: wish.machine)
    try reshaped()
    if keepsFeed { try FeedTable.make(for: self.table(of: stream)!, connection) }
  }

  func execute(_ changes: [TableChange], of wish: SinkWish, _ schema: StreamSchema) throws -> Obstacle? {
    let (stream, machine) = (wish.stream, wish.machine)
    do {
      try atomically {
        if !changes.isEmpty { try change(table(of: stream)!, stream, changes) }
        let added = changes.compactMap { if case .add(let column) = $0 { column } else { nil } }
        try users.note(added, of: stream, broughtBy: machine)
        try users.share(schema.columns, of: stream, with: machine)
      }
      return nil
    } catch let error as PostgreSQLError where error.isChangeRefused {
      try reshaped()
      return Obstacle("the sink table \(stream) cannot be changed: \(error.explanation)", .table(stream))
    }
  }

  private func change(_ table: SinkTable, _ stream: StreamName, _ changes: [TableChange]) throws {
    let name = SQLName(stream.text).text
    let held = try MatchedSink(self, stream).heldTable()
    let tables = [table, held].compactMap(\.self)
    let added = changes.compactMap { if case .add(let column) = $0 { column } else { nil } }
    let isWide = table.columns.count + added.count > SinkColumn.mostRoomyColumns
    if try added.contains(where: { try table.hasForeign($0, connection) }) { try reopenGaps(of: stream) }
    for change in changes {
      switch change {
      case .markRows:
        try connection.run("ALTER TABLE \(table.qualified) ADD COLUMN \(TableShape.schemaColumn) text")
      case .tellLives:
        try table.tellLives(sink: name, connection)
        // An ID is written by its columns and their types, so rows are called otherwise in the change feed now.
        try feed.forgetReaders(of: table.feed)
      case .widen(let present):
        let column = try table.need(SQLName(present.name))
        for relation in tables.flatMap({ $0.relations(with: column) }) {
          try SinkWidening(connection: connection).run(column, to: .jsonb, table: relation)
        }
        try connection.query(
          "UPDATE drover_sink_column SET declared_type = '' WHERE sink = $1 AND name = $2",
          [.text(name), .text(column.name.text)])
        if table.key.contains(column.name) { try feed.forgetReaders(of: table.feed) }
      case .add(let column):
        let type = SinkColumn.type(of: column, isCompact: isWide)
        for table in tables {
          try connection.run(
            // A column that another program has added under this name is the column from now on.
            "ALTER TABLE \(table.qualified) ADD COLUMN IF NOT EXISTS \(SinkTable.definition(column, type))")
        }
        try SinkTable.note(column, of: name, keyPosition: nil, connection)
      }
    }
    try reshaped()
  }

  func makeIndex(of line: LineSchema) throws {
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

  func putAside(_ stream: StreamName, isThere: Bool) throws -> String {
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
    if isThere, let present = try self.table(of: stream), present.isTwoWay {
      try Capture.end(SQLName(stream.text).text, table: present, connection)
    }
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

  // MARK: Matching

  private func matched(_ stream: StreamName) -> MatchedSink { MatchedSink(self, stream) }

  func matchingKey(of stream: StreamName) throws -> NaturalKey? { try matched(stream).key() }

  func matching(of stream: StreamName, for machine: MachineID) throws -> SinkMatching {
    try matched(stream).matching(for: machine)
  }

  func pinnedKey(of stream: StreamName) throws -> NaturalKey? { try matched(stream).pinnedKey(limits.pins[stream]) }

  func refusal(ofMatching schema: StreamSchema) -> Obstacle? {
    let names = (schema.naturalKey?.columns ?? []) + (schema.naturalKey?.fallback ?? [])
    guard schema.columns.count > SinkColumn.mostRoomyColumns,
      schema.columns.contains(where: { names.contains($0.name) && $0.declaredType.isEmpty })
    else { return nil }
    return Obstacle(
      "in a table of more than \(SinkColumn.mostRoomyColumns) columns no column without a type is part of a natural key",
      .none)
  }

  func rematch(
    _ stream: StreamName, _ change: SinkMatching.Change, _ schema: StreamSchema, machine: MachineID
  ) throws {
    if try matched(stream).make(change, machine: machine) { try reshaped() }
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
