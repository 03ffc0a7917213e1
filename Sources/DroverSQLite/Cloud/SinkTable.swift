// One sink table: the statements that merge events of one stream into it. One upsert reads the old version and writes the new row; the
// core's `MergeRule` decides about the rows that it does not take. Machines whose schemas say the same share the statements: a fleet has
// thousands of machines and few schemas.

import DroverCore
import GRDB

/// What the statements of a sink table depend on.
struct StatementShape: Hashable {
  var stream: StreamName
  var kind: Kind
  /// The schema that the events are written under.
  var schema: StreamSchema?
  /// Of the schema that was described last: a row that it holds of is never changed again.
  var completeWhen: Condition?
  /// The tables of lines that the newest schema knows.
  var newestLines: [LineSchema]
  /// Of the schema that was described last.
  var direction: Direction

  /// - Parameter latest: the schema that the machine's stream was described with last.
  init(_ sink: Sink, latest: StreamSchema?) {
    stream = sink.stream
    kind = sink.kind
    schema = sink.schema
    completeWhen = latest?.completeWhen
    newestLines = latest?.lines ?? []
    direction = latest?.flow.direction ?? .up
  }
}

final class SinkTable {
  /// What a table has for events without a table, beside Drover's own columns.
  static let bodyColumns = ["local_id", "occurred_at", "body"]

  private let sink: StatementShape
  /// The first put (false) and the first delete (true) that the database refused since the last question.
  var refusals: [Bool: DatabaseError] = [:]
  /// Where the machines' own rows stand.
  let name: String
  /// What merges its rows in the place of what stands here, if they go down.
  private(set) var twoWay: TwoWayTable?
  var direction: Direction { sink.direction }
  /// Whose events are merged now.
  private var machine: MachineID
  private let columns: [String]
  private let upsert: Statement
  private let remove: Statement
  private let newest: Statement
  /// Who wins, where the upsert does not say it.
  private let rule: MergeRule
  private let current: Statement?
  private let looksTheSame: Statement?
  private let late: LateColumns?
  /// Numbers the rows, where the store keeps a change feed of this table.
  private let feed: RowFeed?
  private let insertTombstone: Statement
  private let findTombstone: Statement
  private let dropTombstone: Statement
  /// The tables of the lines that the sink's events bring.
  private let lines: [LineTable]
  /// The same with those that the newest schema knows: of a header that is deleted no lines stay.
  private let allLines: [LineTable]
  private let savepoint: (begin: Statement, release: Statement, rollBack: Statement)?

  /// Compiles the statements for a table that is there.
  /// - Parameters:
  ///   - machine: whose events come first.
  ///   - table: where the machines' own rows stand.
  ///   - feed: what numbers the changes of sink tables. It has nothing to do with own rows beside the sink.
  init(_ database: Database, sink: StatementShape, machine first: MachineID, table name: String, feed: ChangeFeed)
    throws
  {
    self.sink = sink
    self.name = name
    machine = first
    let completeWhen = sink.completeWhen
    rule = MergeRule(kind: sink.kind, completes: completeWhen != nil)
    let table = quoted(name)
    let columns = sink.schema.map { $0.columns.map { quoted($0.name) } } ?? Self.bodyColumns
    let keyColumns = sink.schema.map { schema in schema.key.map { quoted(schema.columns[$0].name) } } ?? ["local_id"]
    self.columns = columns

    let machine = sink.schema?.machineColumn ?? "machine_id"
    let feedTable = name == sink.stream.text ? feed.table(of: sink.stream) : nil
    late = try sink.schema.flatMap {
      sink.kind == .snapshot
        ? nil : try LateColumns(database, stream: sink.stream, schema: $0, isNumbered: feedTable != nil)
    }
    let all = [machine] + columns + ["drover_epoch", "drover_version"] + (late == nil ? [] : [TableShape.schemaColumn])
    let conflict = ([machine] + keyColumns).joined(separator: ", ")
    let untyped = try sink.schema.map { try Self.untyped(database, table: sink.stream, $0) } ?? []
    self.feed = try feedTable.map {
      try RowFeed(database, $0, sink: table, key: [machine] + keyColumns, hasTwins: !untyped.isEmpty)
    }
    let number = Self.numbering(feedTable)
    let insert = """
      INSERT INTO \(table) AS stored (\((all + number.column).joined(separator: ", ")))
      VALUES (\((all.indices.map { "?\($0 + 1)" } + number.value).joined(separator: ", ")))
      ON CONFLICT (\(conflict)) DO
      """
    let whereKey =
      "\(machine) = ?1 AND " + keyColumns.enumerated().map { "\($1) IS ?\($0 + 2)" }.joined(separator: " AND ")
    /// Whether the stored row never changes again, as SQL; nil where none is ever complete.
    let isComplete = completeWhen.map { "coalesce(\($0.text { "stored.\(quoted($0))" }), 0)" }
    if rule.compares {
      let list = columns.joined(separator: ", ")
      current = try Statement(database, "SELECT \(list) FROM \(table) WHERE \(whereKey)")
      let values = columns.indices.map { "?\(keyColumns.count + 2 + $0)" }.joined(separator: ", ")
      looksTheSame = try Statement(database, "SELECT (\(list)) IS (\(values)) FROM \(table) WHERE \(whereKey)")
    } else {
      current = nil
      looksTheSame = nil
    }
    if sink.kind == .payload {
      upsert = try Statement(database, insert + " NOTHING")
    } else {
      let changes =
        Self.changes(sink.schema, untyped: untyped)
        + ((late == nil ? [] : [TableShape.schemaColumn]) + number.column).map { ", \($0) = excluded.\($0)" }.joined()
      upsert = try Statement(
        database,
        insert + """
           UPDATE SET \(changes)
           WHERE (excluded.drover_epoch, excluded.drover_version) > (stored.drover_epoch, stored.drover_version)\(isComplete.map { " AND NOT \($0)" } ?? "")
          """)
    }
    newest = try Statement(
      database,
      "SELECT drover_epoch, drover_version, \(isComplete ?? "0") FROM \(table) AS stored WHERE \(whereKey)")
    remove = try Statement(database, "DELETE FROM \(table) WHERE \(whereKey)")
    insertTombstone = try Statement(
      database,
      """
      INSERT INTO drover_tombstone (machine_id, stream, local_id, epoch, version, seq, made_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
      ON CONFLICT (machine_id, stream, local_id) DO UPDATE
         SET epoch = excluded.epoch, version = excluded.version, seq = excluded.seq, made_at = excluded.made_at
       WHERE (excluded.epoch, excluded.version) > (drover_tombstone.epoch, drover_tombstone.version)
      """)
    findTombstone = try Statement(
      database, "SELECT epoch, version FROM drover_tombstone WHERE machine_id = ?1 AND stream = ?2 AND local_id = ?3")
    dropTombstone = try Statement(
      database, "DELETE FROM drover_tombstone WHERE machine_id = ?1 AND stream = ?2 AND local_id = ?3")
    func lineTables(_ schemas: [LineSchema]) throws -> [LineTable] {
      try schemas.map {
        try LineTable(database, schema: $0, header: sink, completeWhen: completeWhen, feed: feed.table(of: $0.table))
      }
    }
    let own = sink.schema?.lines ?? []
    lines = try lineTables(own)
    allLines = try lines + lineTables(sink.newestLines.filter { line in !own.contains { $0.table == line.table } })
    savepoint =
      lines.isEmpty
      ? nil
      : (
        try Statement(database, "SAVEPOINT drover_unit"), try Statement(database, "RELEASE drover_unit"),
        try Statement(database, "ROLLBACK TO drover_unit")
      )
    if sink.direction.goesDown, let schema = sink.schema {
      twoWay = try TwoWayTable(
        database, sink, schema: schema, marksRows: late != nil, untyped: untyped, feed: self.feed)
    }
    serve(first)
  }

  /// The tables that an event is written to, each with the source's columns that its rows name.
  var written: [(table: String, columns: [SQLName])] {
    let own = sink.schema.map { $0.columns.map(\.name) } ?? Self.bodyColumns
    return [(name, own.map(SQLName.init))]
      + lines.map { ($0.schema.table.text, $0.schema.rows.columns.map { SQLName($0.name) }) }
  }

  /// Makes the next events those of a machine.
  func serve(_ machine: MachineID) {
    self.machine = machine
    // It stays bound.
    upsert.bind(machine.text, at: 1)
  }

  /// Forgets a machine's cached schemas, because it has sent a new one.
  func forget(_ machine: MachineID) { late?.forget(machine) }

  /// The places of key columns without a type. Such a column keeps 1 and 1.0 as they are and takes them for one key
  /// (https://www.sqlite.org/datatype3.html, sections 3 and 4).
  static func untyped(_ database: Database, table: StreamName, _ schema: StreamSchema) throws -> Set<Int> {
    let names = Set(
      try database.catalogue(of: table.text).filter {
        DroverCore.Column(name: $0.name.text, declaredType: $0.type).affinity == .blob
      }.map(\.name))
    return Set(schema.key.filter { names.contains(SQLName(schema.columns[$0].name)) })
  }

  /// What an upsert sets, as SQL: all but the key, and of the key what can be equal without being the same.
  /// - Parameter untyped: the places of key columns without a type.
  static func changes(_ schema: StreamSchema?, untyped: Set<Int>) -> String {
    // By their places: to Swift two names that are composed differently are one text.
    let names =
      schema.map { schema in
        schema.columns.indices.filter { !schema.key.contains($0) || untyped.contains($0) }
          .map { quoted(schema.columns[$0].name) }
      } ?? ["occurred_at", "body"]
    return (names + ["drover_epoch", "drover_version"]).map { "\($0) = excluded.\($0)" }.joined(separator: ", ")
  }

  /// What an INSERT names besides, and its value, where rows are numbered.
  static func numbering(_ feed: FeedTable?) -> (column: [String], value: [String]) {
    feed == nil ? ([], []) : ([TableShape.changeColumn], ["drover_next_change()"])
  }

  // MARK: Merging

  /// - Parameters:
  ///   - epoch: the number of the event's epoch.
  ///   - hasTombstones: whether this stream of this machine has any; where it has none, none is looked for.
  func merge(_ event: SinkEvent, epoch: Int64, now: Int64, hasTombstones: inout Bool) throws -> MergeOutcome {
    let version = RowVersion(epoch: epoch, version: event.version)
    do {
      guard event.content != .none else {
        return try delete(event, version, now: now, hasTombstones: &hasTombstones)
      }
      return try putUnit(event, version, hasTombstones: hasTombstones)
    } catch let error as DatabaseError where Self.isAboutTheEvent(error) && !upsert.hasLeftTransaction {
      let isDelete = event.content == .none
      refusals[isDelete] = refusals[isDelete] ?? error
      return .refused(.store, detail: error.explanation)
    }
  }

  /// A header and its lines, all or nothing: what the database refuses of a line is refused of the whole.
  private func putUnit(_ event: SinkEvent, _ version: RowVersion, hasTombstones: Bool) throws -> MergeOutcome {
    guard let savepoint else { return try put(event, version, hasTombstones: hasTombstones) }
    try savepoint.begin.run()
    var outcome: MergeOutcome?
    let feeds = ([feed] + lines.map(\.feed)).compactMap(\.self).map { ($0, $0.counts) }
    defer {
      if outcome != .applied {
        _ = try? savepoint.rollBack.run()
        for (feed, counts) in feeds { feed.counts = counts }
      }
      _ = try? savepoint.release.run()
    }
    outcome = try put(event, version, hasTombstones: hasTombstones)
    guard outcome == .applied else { return outcome! }
    for (table, rows) in zip(lines, event.lines) {
      if try table.frozenElsewhere(rows, of: machine, header: event.key, version: version) {
        outcome = .frozenLine(of: event, in: table.schema.table)
        return outcome!
      }
    }
    outcome = nil
    for (table, rows) in zip(lines, event.lines) {
      try table.replace(rows, of: machine, header: event.key, version: version)
    }
    outcome = .applied
    return .applied
  }

  private func put(_ event: SinkEvent, _ version: RowVersion, hasTombstones: Bool) throws -> MergeOutcome {
    let arrival = MergeRule.Arrival(.put, version)
    let tombstone = hasTombstones ? try tombstone(event) : nil
    if tombstone != nil, rule.decide(arrival, stored: nil, tombstone: tombstone) == .ignore { return .superseded }
    if try write(event, version) {
      if tombstone != nil {
        // Only now, or a row that the table refuses would have opened the way for an older one.
        bindTombstoneKey(dropTombstone, event)
        try dropTombstone.run()
      }
      return .applied
    }
    switch rule.decide(arrival, stored: try stored(event), tombstone: tombstone) {
    case .compare: return try settle(event, version)
    // Something of the table kept the row out without an error.
    case .write: throw try isUnversioned(event) ? DatabaseError.unversioned : DatabaseError.silence
    default: return .superseded
    }
  }

  /// Compares an event with the row that is there, which never changes.
  private func settle(_ event: SinkEvent, _ version: RowVersion) throws -> MergeOutcome {
    let (agreement, comparison) = try compare(event, version)
    switch (rule.decide(agreement), comparison) {
    case (.refuse(let reason), _): return .refused(reason, event)
    case (.fill, let comparison?):
      try fill(comparison, event)
      return .applied
    default: return .superseded
    }
  }

  /// - Returns: with the agreement what a row gets that the event fills.
  private func compare(
    _ event: SinkEvent, _ version: RowVersion
  ) throws -> (MergeRule.Agreement, LateComparison?) {
    // Lines that are there and not in the event were cleared at the edge, which takes none from what is complete.
    guard try zip(lines, event.lines).allSatisfy({ try $0.holds($1, of: machine) }),
      let stored = try storedRow(event)
    else { return (.differs, nil) }
    switch event.content {
    case .none: return (.differs, nil)
    // The body; when it happened is no part of what it says.
    case .json(let body): return (stored[2] == .text(body) ? .same : .differs, nil)
    case .row(let row):
      let values = Array(row)
      if stored == values { return (.same, nil) }
      if let late {
        let comparison = try late.compare(
          stored, with: values, event, of: machine, version: version, heedsTypes: sink.kind == .payload)
        let agreement = try comparison.agreement { try isTheSame(event, $0, as: stored) }
        if agreement != .differs { return (agreement, comparison) }
      }
      return (try isTheSame(event, values, as: stored) ? .same : .differs, nil)
    }
  }

  /// Gives a row that does not change any more the values of columns that it could not have.
  private func fill(_ comparison: LateComparison, _ event: SinkEvent) throws {
    let twin = try feed?.twin(machine, event.key)
    try late!.write(comparison, event, of: machine)
    try feed?.put(over: twin)
  }

  /// Whether the row that is there has lost its epoch or version.
  private func isUnversioned(_ event: SinkEvent) throws -> Bool {
    bindKey(newest, event)
    defer { newest.reset() }
    return try newest.step() && (newest.isNull(0) || newest.isNull(1))
  }

  /// The row that is there.
  private func stored(_ event: SinkEvent) throws -> MergeRule.Stored? {
    bindKey(newest, event)
    defer { newest.reset() }
    guard try newest.step() else { return nil }
    return MergeRule.Stored(
      RowVersion(epoch: newest.integer(0), version: newest.integer(1)), isComplete: newest.integer(2) != 0)
  }

  private func storedRow(_ event: SinkEvent) throws -> [Value]? {
    bindKey(current!, event)
    defer { current!.reset() }
    return try current!.step() ? columns.indices.map { current!.value(Int32($0)) } : nil
  }

  /// Whether the values differ only in what the columns' types made of them, as 5 became 5.0: compared with a column, a value takes its
  /// affinity (https://www.sqlite.org/datatype3.html, section 4.2).
  private func isTheSame(_ event: SinkEvent, _ values: [Value], as stored: [Value]) throws -> Bool {
    guard zip(values, stored).allSatisfy({ $0 == $1 || !$0.isOfOneType(with: $1) }) else { return false }
    let statement = looksTheSame!
    bindKey(statement, event)
    defer { statement.reset() }
    let first = sink.schema!.key.count + 2
    for (index, value) in values.enumerated() { statement.bind(value, at: Int32(first + index)) }
    return try statement.step() && statement.integer(0) == 1
  }

  private func delete(
    _ event: SinkEvent, _ version: RowVersion, now: Int64, hasTombstones: inout Bool
  ) throws -> MergeOutcome {
    let stored = sink.kind == .payload ? nil : try stored(event)
    // The statement that leaves the tombstone compares it with the one that is there.
    switch rule.decide(MergeRule.Arrival(.delete, version), stored: stored, tombstone: nil) {
    case .remove: break
    case .refuse(let reason): return .refused(reason, event)
    default: return .superseded
    }
    if stored != nil {
      let found = try feed?.find(.text(machine.text), key(of: event))
      bindKey(remove, event)
      guard try remove.run() > 0 else { throw DatabaseError.silence }
      if let feed, let found { try feed.delete(found, version: event.version) }
    }
    bindTombstoneKey(insertTombstone, event)
    insertTombstone.bind(version.epoch, at: 4)
    insertTombstone.bind(version.version, at: 5)
    insertTombstone.bind(event.seq.map { .integer($0) } ?? .null, at: 6)
    insertTombstone.bind(now, at: 7)
    hasTombstones = true
    for table in allLines { try table.remove(of: machine, header: event.key, olderThan: version) }
    let isInserted = try insertTombstone.run() > 0
    return stored != nil || isInserted ? .applied : .superseded
  }

  // MARK: Binding

  /// Inserts the event's row, or puts it in the place of an older one. False when the table keeps what it has.
  private func write(_ event: SinkEvent, _ version: RowVersion) throws -> Bool {
    let twin = try feed?.twin(machine, key(of: event))
    guard try runUpsert(event, version) else { return false }
    try feed?.put(over: twin)
    return true
  }

  private func runUpsert(_ event: SinkEvent, _ version: RowVersion) throws -> Bool {
    upsert.bind(version.epoch, at: Int32(columns.count + 2))
    upsert.bind(version.version, at: Int32(columns.count + 3))
    if late != nil { upsert.bind(sink.schema!.id.text, at: Int32(columns.count + 4)) }
    if case .row(let row) = event.content { return try upsert.run(with: row, from: 2) > 0 }
    guard case .json(let body) = event.content else { return false }
    upsert.bind(event.localID, at: 2)
    upsert.bind(event.at.map { .text($0) } ?? .null, at: 3)
    upsert.bind(.text(body), at: 4)
    return try upsert.run() > 0
  }

  private func key(of event: SinkEvent) -> [Value] { sink.schema == nil ? [.text(event.localID)] : event.key }

  private func bindKey(_ statement: Statement, _ event: SinkEvent) {
    statement.reset()
    statement.bind(machine.text, at: 1)
    if sink.schema == nil {
      statement.bind(event.localID, at: 2)
    } else {
      for (index, value) in event.key.enumerated() { statement.bind(value, at: Int32(index + 2)) }
    }
  }

  private func bindTombstoneKey(_ statement: Statement, _ event: SinkEvent) {
    statement.bind(machine.text, at: 1)
    statement.bind(sink.stream.text, at: 2)
    statement.bind(event.localID, at: 3)
  }

  private func tombstone(_ event: SinkEvent) throws -> RowVersion? {
    bindTombstoneKey(findTombstone, event)
    defer { findTombstone.reset() }
    return try findTombstone.step()
      ? RowVersion(epoch: findTombstone.integer(0), version: findTombstone.integer(1)) : nil
  }

  /// Errors that another event would not meet; everything else says that the store itself cannot go on.
  static func isAboutTheEvent(_ error: DatabaseError) -> Bool {
    [.SQLITE_CONSTRAINT, .SQLITE_MISMATCH, .SQLITE_TOOBIG, .SQLITE_RANGE].contains(error.resultCode)
  }
}

extension Value {
  fileprivate func isOfOneType(with other: Value) -> Bool {
    switch (self, other) {
    case (.null, .null), (.integer, .integer), (.real, .real), (.text, .text), (.blob, .blob): true
    default: false
    }
  }
}
