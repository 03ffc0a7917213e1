// The cloud's store in SQLite: one connection, WAL, one transaction for each group of messages, durable on return.

package import DroverCore
private import Foundation
import GRDB

package struct CloudStoreError: Error, CustomStringConvertible {
  package let description: String
}

package final class SQLiteCloudStore: CloudStore {
  private let queue: DatabaseQueue
  fileprivate let limits: CloudStoreLimits
  /// Wall clock, microseconds since 1970.
  fileprivate let now: () -> Int64
  /// What is known of the database without asking; forgotten when a transaction fails.
  fileprivate var cache = Cache()
  private var dataVersion: Int64 = -1

  fileprivate struct Cache {
    var sinks = SinkTables()
    var latest: [Origin: StreamSchema?] = [:]
    var forms: [StreamName: SinkForm] = [:]
    /// Of streams whose rows are matched, as far as their sinks are known.
    var naturalKeys: [StreamName: NaturalKeys] = [:]
    var schemas: [SchemaKey: StreamSchema] = [:]
    /// The same schemas, each once: a fleet's machines share a few.
    var distinctSchemas: Set<StreamSchema> = []
    var tombstones: [Origin: Bool] = [:]
    var epochs: [EpochKey: Int64] = [:]
    var newestEpochs: [MachineID: Int64] = [:]
    var statements: [String: Statement] = [:]
  }
  fileprivate struct EpochKey: Hashable {
    var machine: MachineID
    var epoch: Epoch
  }
  fileprivate struct SchemaKey: Hashable {
    var machine: MachineID
    var stream: StreamName
    var id: SchemaID
  }
  fileprivate struct Origin: Hashable {
    var machine: MachineID
    var stream: StreamName
  }

  /// Opens the store, and makes it where there is none.
  /// - Throws: `CloudStoreError` with what to do.
  package init(
    path: String, limits: CloudStoreLimits = CloudStoreLimits(), now: @escaping () -> Int64 = SQLiteCloudStore.wallClock
  ) throws {
    self.limits = limits
    self.now = now
    sqliteIsSetUp
    var configuration = Configuration()
    configuration.busyMode = .timeout(10)
    configuration.foreignKeysEnabled = false
    configuration.label = "drover cloud"
    configuration.prepareDatabase { database in
      try database.execute(sql: "PRAGMA journal_mode = WAL")
      // A PUBACK tells the broker to forget: what it stands for has to survive a power loss.
      try database.execute(sql: "PRAGMA synchronous = FULL")
    }
    do {
      queue = try DatabaseQueue(path: path, configuration: configuration)
      try CloudTables.migrator.migrate(queue)
    } catch let error as DatabaseError where error.saysDamaged {
      throw StoreDamaged(description: Damage.describe(error, path: path, database: nil))
    } catch let error as DatabaseError {
      throw CloudStoreError(
        description:
          "open \(path): \(error.explanation)\(error.diskAdvice == nil ? "; `store:` names a SQLite file" : "")")
    }
  }

  deinit {
    cache = Cache()
    try? queue.close()
  }

  fileprivate func forgetAll() { cache = Cache() }

  /// What merges a machine's events, where it is known.
  func table(of sink: Sink) -> SinkTable? { cache.sinks.table(of: sink) }

  package static func wallClock() -> Int64 { Int64(Date().timeIntervalSince1970 * 1_000_000) }

  package func transaction<Result>(_ body: (any CloudTransaction) throws -> Result) throws -> Result {
    do {
      return try queue.inDatabase { database in
        var result: Result?
        try database.inTransaction(.immediate) {
          // Another program has committed: it may have made tables anew (`accept`).
          let version = try Int64.fetchOne(database.cachedStatement(sql: "PRAGMA data_version"))!
          if version != dataVersion { forgetAll() }
          dataVersion = version
          result = try body(Transaction(store: self, database: database))
          return .commit
        }
        return result!
      }
    } catch {
      forgetAll()
      guard let error = error as? DatabaseError else { throw error }
      if error.saysDamaged {
        throw StoreDamaged(description: Damage.describe(error, path: queue.path, database: queue))
      }
      throw CloudStoreError(description: "write to \(queue.path): \(error.explanation)")
    }
  }
}

private struct Transaction: CloudTransaction {
  let store: SQLiteCloudStore
  let database: Database

  private func prepared(_ sql: String) throws -> Statement {
    if let statement = store.cache.statements[sql] {
      statement.reset()
      return statement
    }
    let statement = try Statement(database, sql)
    store.cache.statements[sql] = statement
    return statement
  }

  // MARK: Received intervals

  func received(machine: MachineID, epoch: Epoch, stream: StreamName) throws -> IntervalSet {
    let select = try prepared(
      "SELECT after_seq, through_seq FROM drover_received WHERE machine_id = ?1 AND epoch = ?2 AND stream = ?3")
    defer { select.reset() }
    select.bind(machine.text, at: 1)
    select.bind(epoch.text, at: 2)
    select.bind(stream.text, at: 3)
    var received = IntervalSet()
    while try select.step() {
      received.insert(Interval(after: select.integer(0), through: select.integer(1)))
    }
    return received
  }

  func setReceived(_ received: IntervalSet, machine: MachineID, epoch: Epoch, stream: StreamName) throws {
    let upsert = try prepared(
      """
      INSERT INTO drover_received (machine_id, epoch, stream, after_seq, through_seq) VALUES (?1, ?2, ?3, ?4, ?5)
          ON CONFLICT DO UPDATE SET through_seq = excluded.through_seq WHERE through_seq <> excluded.through_seq
      """)
    let delete = try prepared(
      """
      DELETE FROM drover_received
       WHERE machine_id = ?1 AND epoch = ?2 AND stream = ?3 AND after_seq > ?4 AND after_seq < ?5
      """)
    for statement in [upsert, delete] {
      statement.bind(machine.text, at: 1)
      statement.bind(epoch.text, at: 2)
      statement.bind(stream.text, at: 3)
    }
    // Mostly one interval that has grown: one row is changed in place, and what is gone lies between those that are there.
    var last: Int64 = -1
    func deleteBetween(_ after: Int64) throws {
      defer { last = after }
      guard after > last + 1 else { return }
      delete.bind(last, at: 4)
      delete.bind(after, at: 5)
      try delete.run()
    }
    for interval in received.intervals {
      try deleteBetween(interval.after)
      upsert.bind(interval.after, at: 4)
      upsert.bind(interval.through, at: 5)
      try upsert.run()
    }
    try deleteBetween(.max)
  }

  func receivedStreams(machine: MachineID, epoch: Epoch) throws -> [StreamName: IntervalSet] {
    let select = try prepared(
      "SELECT stream, after_seq, through_seq FROM drover_received WHERE machine_id = ?1 AND epoch = ?2")
    defer { select.reset() }
    select.bind(machine.text, at: 1)
    select.bind(epoch.text, at: 2)
    var streams: [StreamName: IntervalSet] = [:]
    while try select.step() {
      streams[try StreamName(select.text(0)), default: IntervalSet()].insert(
        Interval(after: select.integer(1), through: select.integer(2)))
    }
    return streams
  }

  // MARK: Runs of the agent

  func runs(machine: MachineID, epoch: Epoch) throws -> Runs {
    let select = try prepared("SELECT run, reached FROM drover_run WHERE machine_id = ?1 AND epoch = ?2")
    defer { select.reset() }
    select.bind(machine.text, at: 1)
    select.bind(epoch.text, at: 2)
    var runs = Runs()
    while try select.step() { runs.raise(select.integer(0), to: select.integer(1)) }
    return runs
  }

  func raise(_ run: Run, machine: MachineID, epoch: Epoch) throws {
    let update = try prepared(
      "UPDATE drover_run SET reached = max(reached, ?4) WHERE machine_id = ?1 AND epoch = ?2 AND run = ?3")
    let insert = try prepared("INSERT INTO drover_run (machine_id, epoch, run, reached) VALUES (?1, ?2, ?3, ?4)")
    for statement in [update, insert] {
      statement.bind(machine.text, at: 1)
      statement.bind(epoch.text, at: 2)
      statement.bind(run.number, at: 3)
      statement.bind(run.reached, at: 4)
    }
    guard try update.run() == 0 else { return }
    try insert.run()
    let delete = try prepared(
      """
      DELETE FROM drover_run WHERE machine_id = ?1 AND epoch = ?2 AND run <=
        (SELECT run FROM drover_run WHERE machine_id = ?1 AND epoch = ?2 ORDER BY run DESC LIMIT 1 OFFSET ?3)
      """)
    delete.bind(machine.text, at: 1)
    delete.bind(epoch.text, at: 2)
    delete.bind(Int64(Runs.most), at: 3)
    try delete.run()
  }

  // MARK: Schemas and sinks

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
      if let reason = try MatchedSink(database: database, stream: stream).refusal(of: schema, machine: machine)
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
  private func settle(_ schema: StreamSchema, machine: MachineID, stream: StreamName) throws {
    if try MatchedSink(database: database, stream: stream).settle(schema, machine: machine) { store.forgetAll() }
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
  private func shapeSink(stream: StreamName, kind: Kind, schema: StreamSchema?, machine: MachineID) throws -> String? {
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
    let wanted = SinkForm(kind: kind, isTable: schema != nil, header: header?.text.lowercased())
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
      for: schema, kind: kind, isLines: header != nil, hasOther: { try hasOther(than: schema.id, machine, stream) })
    if needsMark {
      try database.execute(sql: "ALTER TABLE \(quoted(stream.text)) ADD COLUMN \(TableShape.schemaColumn) TEXT")
    }
    let isWidened = try SinkWidening(database, table: stream.text).run(for: schema)
    let new = shape.lacking(schema)
    for column in new {
      try database.execute(sql: "ALTER TABLE \(quoted(stream.text)) ADD COLUMN \(SinkTable.definition(column))")
    }
    // Of a table that is as it was, what other machines' events are merged by stays.
    if needsMark || isWidened || !new.isEmpty { store.cache.sinks.forget(stream: header ?? stream) }
    return nil
  }

  /// Whether a machine's stream was described otherwise too.
  private func hasOther(than id: SchemaID, _ machine: MachineID, _ stream: StreamName) throws -> Bool {
    try Bool.fetchOne(
      database,
      sql: "SELECT EXISTS (SELECT 1 FROM drover_schema WHERE machine_id = ? AND stream = ? AND schema_id <> ?)",
      arguments: [machine.text, stream.text, id.text])!
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
      kind: kind, isTable: row["form"] == "table", header: (row["header"] as String?)?.lowercased())
    store.cache.forms[stream] = form
    return form
  }

  // MARK: Merging

  func merge(_ events: [SinkEvent], epoch: Epoch?, into sink: Sink) throws -> [MergeOutcome] {
    let table: SinkTable
    if let known = store.table(of: sink) {
      table = known
    } else {
      if let reason = try shapeSink(stream: sink.stream, kind: sink.kind, schema: sink.schema, machine: sink.machine) {
        return events.map { _ in .refused(.schema, detail: reason) }
      }
      table = try self.table(of: sink)
    }
    table.serve(sink.machine)
    let origin = SQLiteCloudStore.Origin(machine: sink.machine, stream: sink.stream)
    var hasTombstones = try store.cache.tombstones[origin] ?? anyTombstone(origin)
    let now = store.now()
    let number = try number(of: epoch, machine: sink.machine)
    defer { store.cache.tombstones[origin] = hasTombstones }
    func merge(_ event: SinkEvent) throws -> MergeOutcome {
      try table.merge(event, epoch: number, now: now, hasTombstones: &hasTombstones)
    }
    return try store.cache.naturalKeys[sink.stream]?.merge(events, machine: sink.machine, merge) ?? events.map(merge)
  }

  /// What merges a machine's events into a table that fits them.
  private func table(of sink: Sink) throws -> SinkTable {
    let latest = try latestSchema(machine: sink.machine, stream: sink.stream) ?? sink.schema
    if let latest { try settle(latest, machine: sink.machine, stream: sink.stream) }
    let matched = MatchedSink(database: database, stream: sink.stream)
    let keys = try matched.naturalKeys(or: store.cache.naturalKeys[sink.stream])
    store.cache.naturalKeys[sink.stream] = keys
    return try store.cache.sinks.take(sink, latest: latest) {
      try SinkTable(
        database, sink: $0, machine: sink.machine, table: keys == nil ? sink.stream.text : matched.held)
    }
  }

  func isLatest(_ epoch: Epoch, machine: MachineID) throws -> Bool {
    try number(of: epoch, machine: machine) == newestNumber(of: machine)
  }

  /// The highest number among a machine's epochs; 0 where none is known.
  private func newestNumber(of machine: MachineID) throws -> Int64 {
    if let number = store.cache.newestEpochs[machine] { return number }
    let number = try Int64.fetchOne(
      database, sql: "SELECT ifnull(max(number), 0) FROM drover_epoch WHERE machine_id = ?", arguments: [machine.text])!
    store.cache.newestEpochs[machine] = number
    return number
  }

  /// The place of an epoch among a machine's; an epoch that was never heard of is the newest. nil: the newest that is known.
  private func number(of epoch: Epoch?, machine: MachineID) throws -> Int64 {
    guard let epoch else { return try newestNumber(of: machine) }
    let key = SQLiteCloudStore.EpochKey(machine: machine, epoch: epoch)
    if let number = store.cache.epochs[key] { return number }
    try database.execute(
      sql: """
        INSERT INTO drover_epoch (machine_id, epoch, number, first_heard)
        SELECT ?1, ?2, ifnull(max(number), 0) + 1, ?3 FROM drover_epoch WHERE machine_id = ?1 AND true
        ON CONFLICT (machine_id, epoch) DO NOTHING
        """, arguments: [machine.text, epoch.text, store.now()])
    let number = try Int64.fetchOne(
      database, sql: "SELECT number FROM drover_epoch WHERE machine_id = ? AND epoch = ?",
      arguments: [machine.text, epoch.text])!
    store.cache.epochs[key] = number
    store.cache.newestEpochs[machine] = nil
    return number
  }

  private func anyTombstone(_ origin: SQLiteCloudStore.Origin) throws -> Bool {
    try Bool.fetchOne(
      database, sql: "SELECT EXISTS (SELECT 1 FROM drover_tombstone WHERE machine_id = ? AND stream = ?)",
      arguments: [origin.machine.text, origin.stream.text])!
  }

  func retireTombstones(madeBefore moment: Int64) throws {
    try database.execute(
      sql: """
        DELETE FROM drover_tombstone
         WHERE made_at < ?
           AND (seq IS NULL
                OR seq <= (SELECT received.through_seq
                             FROM drover_received AS received JOIN drover_epoch AS epoch USING (machine_id, epoch)
                            WHERE received.machine_id = drover_tombstone.machine_id AND epoch.number = drover_tombstone.epoch
                              AND received.stream = drover_tombstone.stream AND received.after_seq = 0))
        """, arguments: [moment])
    store.cache.tombstones = [:]
  }

  // MARK: Dead letters

  func bury(_ letter: DeadLetter) throws -> Burial {
    // The machine forgets an event of a frame with the confirmation: this is its last place, and `limits.message_bytes` bounds it.
    let kept = letter.epoch == nil ? letter.raw.prefix(store.limits.deadLetterBytes) : letter.raw
    let digest = DeadLetter.digest(topic: letter.topic, kept: kept)
    // So that the epoch has its place among the machine's now, and not when the letter is sent again.
    if let epoch = letter.epoch, let machine = letter.machine { _ = try number(of: epoch, machine: machine) }
    let now = store.now()
    try database.execute(
      sql:
        "UPDATE drover_dead_letter SET count = count + 1, last_at = ?, detail = ?, epoch = ifnull(?, epoch), replayed_at = NULL WHERE digest = ? AND topic = ? AND reason = ? AND bytes = ?",
      arguments: [
        now, letter.detail, letter.epoch?.text, digest, letter.topic, letter.reason.rawValue, letter.raw.count,
      ])
    guard database.changesCount == 0 else { return .kept }
    let room = DeadLetterRoom(database: database)
    guard try store.limits.deadLetters.makeRoom(for: letter, kept: kept.count, now: now, in: room) else {
      guard letter.epoch == nil else { return .full }
      try room.record(
        machine: letter.machine?.text ?? "", stream: letter.stream?.text ?? "", reason: letter.reason.rawValue,
        count: 1, bytes: letter.raw.count, now: now)
      return .dropped
    }
    try database.execute(
      sql: """
        INSERT INTO drover_dead_letter
               (topic, machine_id, stream, epoch, reason, detail, raw, bytes, digest, count, first_at, last_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?)
        """,
      arguments: [
        letter.topic, letter.machine?.text, letter.stream?.text, letter.epoch?.text, letter.reason.rawValue,
        letter.detail, Data(kept), letter.raw.count, digest, now, now,
      ])
    return .kept
  }

  func awaitsReplays() throws -> Bool {
    let any = try prepared("SELECT EXISTS (SELECT 1 FROM drover_dead_letter WHERE replayed_at IS NOT NULL)")
    defer { any.reset() }
    return try any.step() && any.integer(0) != 0
  }

  func epochOfReplay(topic: String, raw: [UInt8]) throws -> Epoch? {
    guard let id = try replayed(topic, raw).first else { return nil }
    let epoch = try String.fetchOne(
      database, sql: "SELECT epoch FROM drover_dead_letter WHERE id = ?", arguments: [id])
    return try epoch.map { try Epoch($0) }
  }

  func settleReplay(topic: String, raw: [UInt8]) throws {
    let letters = try replayed(topic, raw)
    for id in letters {
      try database.execute(sql: "DELETE FROM drover_dead_letter WHERE id = ?", arguments: [id])
    }
    try DeadLetterCounter.replayed.add(letters.count, database)
  }

  /// The marked letters with these bytes on this topic.
  private func replayed(_ topic: String, _ raw: [UInt8]) throws -> [Int64] {
    let candidate = try prepared(
      "SELECT id, digest FROM drover_dead_letter WHERE replayed_at IS NOT NULL AND topic = ?1 AND bytes = ?2")
    defer { candidate.reset() }
    candidate.bind(topic, at: 1)
    candidate.bind(Int64(raw.count), at: 2)
    var digest: Int64?
    var found: [Int64] = []
    while try candidate.step() {
      digest = digest ?? DeadLetter.digest(topic: topic, kept: raw[...])
      if candidate.integer(1) == digest { found.append(candidate.integer(0)) }
    }
    return found
  }

  // MARK: Machines

  func setStatus(_ status: MachineStatus, machine: MachineID) throws {
    let now = store.now()
    if let epoch = status.epoch { _ = try number(of: epoch, machine: machine) }
    try database.execute(
      sql: """
        INSERT INTO drover_machine (machine_id, epoch, online, software, status_at, clock_offset, first_heard, last_heard)
        VALUES (?1, ?2, ?3, ?4, ?5, ?7, ?6, ?6)
        ON CONFLICT (machine_id) DO UPDATE
           SET epoch = ifnull(excluded.epoch, epoch), online = excluded.online, software = ifnull(excluded.software, software),
               status_at = ifnull(excluded.status_at, status_at),
               clock_offset = ifnull(excluded.clock_offset, clock_offset),
               last_heard = excluded.last_heard
        """,
      arguments: [
        machine.text, status.epoch?.text, status.isOnline, status.software, status.at, now, status.clockOffset,
      ])
  }

  func heard(machine: MachineID, epoch: Epoch?) throws {
    let statement = try prepared(
      """
      INSERT INTO drover_machine (machine_id, epoch, first_heard, last_heard) VALUES (?1, ?2, ?3, ?3)
      ON CONFLICT (machine_id) DO UPDATE SET epoch = ifnull(excluded.epoch, epoch), last_heard = excluded.last_heard
      """)
    statement.bind(machine.text, at: 1)
    statement.bind(epoch.map { .text($0.text) } ?? .null, at: 2)
    statement.bind(store.now(), at: 3)
    try statement.run()
  }

  func machines() throws -> [MachineID: Epoch] {
    var machines: [MachineID: Epoch] = [:]
    for row in try Row.fetchAll(database, sql: "SELECT machine_id, epoch FROM drover_machine WHERE epoch IS NOT NULL") {
      machines[try MachineID(row["machine_id"])] = try Epoch(row["epoch"])
    }
    return machines
  }

  func note(_ progress: StreamProgress, machine: MachineID, stream: StreamName) throws {
    let statement = try prepared(
      """
      INSERT INTO drover_progress (machine_id, stream, applied, superseded, refused, version, applied_at)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
      ON CONFLICT (machine_id, stream) DO UPDATE
         SET applied = applied + excluded.applied, superseded = superseded + excluded.superseded, refused = refused + excluded.refused,
             applied_at = CASE WHEN excluded.version > version THEN excluded.applied_at ELSE applied_at END,
             version = max(version, excluded.version)
      """)
    statement.bind(machine.text, at: 1)
    statement.bind(stream.text, at: 2)
    statement.bind(Int64(progress.applied), at: 3)
    statement.bind(Int64(progress.superseded), at: 4)
    statement.bind(Int64(progress.refused), at: 5)
    statement.bind(progress.version, at: 6)
    statement.bind(store.now(), at: 7)
    try statement.run()
  }

  func count(_ outcomes: [MessageOutcome: Int]) throws {
    let statement = try prepared(
      """
      INSERT INTO drover_message_count (outcome, count) VALUES (?1, ?2)
      ON CONFLICT (outcome) DO UPDATE SET count = count + excluded.count
      """)
    for (outcome, count) in outcomes {
      statement.bind(outcome.rawValue, at: 1)
      statement.bind(Int64(count), at: 2)
      try statement.run()
    }
  }

  func session() throws -> String? {
    try String.fetchOne(database, sql: "SELECT value FROM drover_meta WHERE name = 'session'")
  }

  func setSession(_ name: String) throws {
    try database.execute(
      sql: "INSERT OR REPLACE INTO drover_meta (name, value) VALUES ('session', ?)", arguments: [name])
  }
}

extension StreamSchema {
  /// The schema that a machine's stream was described with, or nil.
  static func read(
    _ id: SchemaID, machine: MachineID, stream: StreamName, _ database: Database
  ) throws -> StreamSchema? {
    guard
      let described = try Row.fetchOne(
        database,
        sql: "SELECT kind, complete_when FROM drover_schema WHERE machine_id = ? AND stream = ? AND schema_id = ?",
        arguments: [machine.text, stream.text, id.text]),
      let kind = Kind(rawValue: described["kind"])
    else { return nil }
    let completeWhen: String? = described["complete_when"]
    let rows = try Row.fetchAll(
      database,
      sql: """
        SELECT position, name, declared_type, key_position, identity_position, else_position FROM drover_schema_column
         WHERE machine_id = ? AND stream = ? AND schema_id = ? ORDER BY position
        """,
      arguments: [machine.text, stream.text, id.text])
    return try StreamSchema(
      kind: kind, rows: rows, completeWhen: try completeWhen.map { try Condition(parsing: $0) },
      lines: try lines(id, machine: machine, stream: stream, database))
  }

  private static func lines(
    _ id: SchemaID, machine: MachineID, stream: StreamName, _ database: Database
  ) throws -> [LineSchema] {
    let rows = try Row.fetchAll(
      database,
      sql: """
        SELECT number, table_name, position, name, declared_type, key_position, header_part FROM drover_schema_line
         WHERE machine_id = ? AND stream = ? AND schema_id = ? ORDER BY number, position
        """, arguments: [machine.text, stream.text, id.text])
    let tables = Dictionary(grouping: rows) { $0["number"] as Int }.sorted { $0.key < $1.key }.map(\.value)
    return try tables.map { rows in
      func positions(_ column: String) -> [Int] {
        rows.compactMap { row in (row[column] as Int?).map { ($0, row["position"] as Int) } }
          .sorted { $0.0 < $1.0 }.map(\.1)
      }
      return try LineSchema(
        table: StreamName(rows[0]["table_name"]),
        columns: rows.map { DroverCore.Column(name: $0["name"], declaredType: $0["declared_type"]) },
        key: positions("key_position"), references: positions("header_part"))
    }
  }
}
