// What SQLite does of adopting a description: the steps are the core's (`SchemaDialect`), and the changes of tables stand here.

import DroverCore
import GRDB

extension Transaction: SchemaDialect {
  private var schemas: SchemaTables { SchemaTables(database: database) }
  private var users: SharedTables { SharedTables(database: database) }

  var limits: CloudStoreLimits { store.limits }
  var capacity: TableShape.Bounds {
    .init(columns: SinkTable.maximumColumns, keyColumns: SinkTable.maximumKeyColumns)
  }

  /// One connection writes.
  func lockSink(_ stream: StreamName) {}

  func part(_ body: () throws -> Obstacle?) throws -> Obstacle? {
    var obstacle: Obstacle?
    try database.inSavepoint {
      obstacle = try body()
      return obstacle == nil ? .commit : .rollback
    }
    if obstacle != nil { store.cache = SQLiteCloudStore.Cache() }
    return obstacle
  }

  // MARK: Descriptions

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

  func keep(_ schema: StreamSchema, machine: MachineID, stream: StreamName, isKnown: Bool) throws {
    if !isKnown { try schemas.write(schema, machine: machine, stream: stream) }
    try schemas.describe(schema, machine: machine, stream: stream, now: store.now())
    // Also events of an older schema go by the newest condition.
    store.cache.latest[SQLiteCloudStore.Origin(machine: machine, stream: stream)] = nil
    store.cache.sinks.forget(machine: machine, stream: stream)
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
    guard try form(of: stream)?.isLoose == true else { return }
    try database.execute(
      sql: "UPDATE drover_sink SET is_loose = 0 WHERE lower(stream) = ?", arguments: [SQLName(stream.text).text])
    store.cache.forms = [:]
  }

  // MARK: Tables

  func isKnown(_ sink: Sink) -> Bool { store.table(of: sink) != nil }

  func form(of stream: StreamName) throws -> SinkForm? {
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

  func present(_ stream: StreamName) throws -> PresentSink? {
    guard let form = try form(of: stream) else { return nil }
    // GRDB's own look at a table remembers what a rollback has taken back, and quotes no quotes; and a stream may be named
    // pragma_table_info.
    let columns = try database.catalogue(of: stream.text)
    let key = columns.filter { $0.keyPosition > 0 }.sorted { $0.keyPosition < $1.keyPosition }
    return PresentSink(
      form: form, shape: TableShape(names: columns.map(\.name), key: key.map(\.name)),
      columns: columns.map { DroverCore.Column(name: $0.name.text, declaredType: $0.type) })
  }

  func shared(_ stream: StreamName, for machine: MachineID) throws -> SharedTable {
    try users.table(stream, for: machine)
  }

  func isUsed(_ stream: StreamName, besides machine: MachineID) throws -> Bool {
    try users.isUsed(stream, besides: machine)
  }

  func streamCount(of machine: MachineID) throws -> Int { try schemas.streamCount(of: machine) }

  func occupant(of stream: StreamName) throws -> String? {
    // Tables, views and indexes share one space of names.
    try String.fetchOne(
      database, sql: "SELECT type FROM sqlite_master WHERE lower(name) = lower(?) AND type <> 'trigger'",
      arguments: [stream.text]
    ).map { $0 == "index" ? "an index" : "a \($0)" }
  }

  func takeOver(_ wish: SinkWish) throws -> Bool {
    let name = SQLName(wish.stream.text).text
    let columns = Set(try database.catalogue(of: wish.stream.text).map(\.name))
    let isSink = try Bool.fetchOne(
      database,
      sql: """
        SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE lower(name) = ?1 AND type = 'table')
           AND (EXISTS (SELECT 1 FROM drover_progress WHERE lower(stream) IN (?1, ?2) AND applied > 0)
                OR EXISTS (SELECT 1 FROM drover_schema WHERE lower(stream) IN (?1, ?2))
                OR EXISTS (SELECT 1 FROM drover_schema_line WHERE lower(table_name) IN (?1, ?2)))
        """, arguments: [name, wish.header.map { SQLName($0.text).text }])!
    guard isSink, columns.isSuperset(of: [SQLName("drover_epoch"), SQLName("drover_version")]) else { return false }
    try note(wish)
    try reopenGaps(of: wish.header ?? wish.stream)
    return true
  }

  /// Notes a table as a stream's sink.
  private func note(_ wish: SinkWish) throws {
    try database.execute(
      sql: "INSERT INTO drover_sink (stream, kind, form, header, is_loose) VALUES (?, ?, ?, ?, ?)",
      arguments: [
        wish.stream.text, wish.kind.rawValue, wish.schema == nil ? "body" : "table", wish.header?.text,
        wish.form(limits.pins).isLoose,
      ])
    store.cache.forms = [:]
  }

  func make(_ wish: SinkWish) throws {
    try database.execute(sql: SinkTable.creation(stream: wish.stream, schema: wish.schema))
    try note(wish)
    try users.note(wish.schema?.columns ?? [], of: wish.stream, broughtBy: wish.machine)
    try store.feed.begin(table: wish.stream, database)
  }

  func execute(_ changes: [TableChange], of wish: SinkWish, _ schema: StreamSchema) throws -> Obstacle? {
    let stream = wish.stream
    let key = try present(stream)!.shape.key
    var widened: Set<SQLName> = []
    var tellsLives = false
    var added: [DroverCore.Column] = []
    for change in changes {
      switch change {
      case .markRows:
        try database.execute(sql: "ALTER TABLE \(quoted(stream.text)) ADD COLUMN \(TableShape.schemaColumn) TEXT")
      case .tellLives: tellsLives = true
      case .widen(let column): widened.insert(SQLName(column.name))
      case .add(let column): added.append(column)
      }
    }
    // Both at once, because each makes the table anew.
    try SinkWidening(database, table: stream.text).run(widened, tellsLives: tellsLives)
    // An ID is written by its columns and their types, so rows are called otherwise in the change feed now.
    if tellsLives || !widened.isDisjoint(with: key) { try store.feed.forgetReaders(of: stream, database) }
    if tellsLives {
      try store.feed.table(of: stream)?.addKeyColumn(after: key.count, database)
      store.cache.tellsLives[stream] = nil
    }
    for column in added {
      try database.execute(sql: "ALTER TABLE \(quoted(stream.text)) ADD COLUMN \(SinkTable.definition(column))")
    }
    try users.note(added, of: stream, broughtBy: wish.machine)
    try users.share(schema.columns, of: stream, with: wish.machine)
    // Of a table that is as it was, what other machines' events are merged by stays.
    if !changes.isEmpty { store.cache.sinks.forget(stream: wish.header ?? stream) }
    return nil
  }

  func makeIndex(of line: LineSchema) throws { try database.execute(sql: LineTable.indexCreation(line)) }

  func putAside(_ stream: StreamName, isThere: Bool) throws -> String {
    try forgetFlows(stream)
    try database.execute(sql: "DELETE FROM drover_row WHERE stream = ?", arguments: [stream.text])
    let aside = try schemas.clear(stream: stream, now: store.now(), isThere: isThere)
    try store.feed.end(table: stream, database)
    store.forgetAll()
    return aside
  }

  // MARK: Matching

  private func matched(_ stream: StreamName) -> MatchedSink { MatchedSink(database: database, stream: stream) }

  func matchingKey(of stream: StreamName) throws -> NaturalKey? { try matched(stream).key() }

  func matching(of stream: StreamName, for machine: MachineID) throws -> SinkMatching {
    try matched(stream).matching(for: machine)
  }

  func pinnedKey(of stream: StreamName) throws -> NaturalKey? {
    try matched(stream).pinnedKey(limits.pins[stream])
  }

  func rematch(
    _ stream: StreamName, _ change: SinkMatching.Change, _ schema: StreamSchema, machine: MachineID
  ) throws {
    let isChanged = try matched(stream).make(
      change, schema, machine: machine, now: store.now(), feed: store.feed.table(of: stream))
    if isChanged { store.forgetAll() }
  }
}
