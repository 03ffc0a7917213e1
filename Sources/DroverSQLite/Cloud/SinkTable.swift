// One sink table: the statements that merge events of one stream into it. The rule stands in the SQL, so that reading the old version
// and writing the new row is one step; docs/protocol.md says what the rule is. Machines whose schemas say the same share the statements:
// a fleet has thousands of machines and few schemas.

private import CSQLite
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

  /// - Parameter latest: the schema that the machine's stream was described with last.
  init(_ sink: Sink, latest: StreamSchema?) {
    stream = sink.stream
    kind = sink.kind
    schema = sink.schema
    completeWhen = latest?.completeWhen
    newestLines = latest?.lines ?? []
  }
}

final class SinkTable {
  private let sink: StatementShape
  /// What the database refused first of puts (false) and of deletes (true), since somebody asked.
  var refusals: [Bool: DatabaseError] = [:]
  /// Where the machines' own rows stand.
  let name: String
  /// Whose events are merged now.
  private var machine: MachineID
  private let columns: [String]
  private let upsert: Statement
  private let remove: Statement
  private let newest: Statement
  private let freezes: Bool
  private let current: Statement?
  private let looksTheSame: Statement?
  private let late: LateColumns?
  /// Numbers the rows, where the store keeps a change feed of this table.
  private let feed: RowFeed?
  private let buryTombstone: Statement
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
    freezes = completeWhen != nil
    let table = quoted(name)
    let columns = sink.schema.map { $0.columns.map { quoted($0.name) } } ?? ["local_id", "occurred_at", "body"]
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
    /// Whether the stored row may still change, as SQL.
    func isOpen(_ row: String) -> String {
      completeWhen.map { " AND NOT coalesce(\($0.text { "\(row).\(quoted($0))" }), 0)" } ?? ""
    }
    if sink.kind == .payload || freezes {
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
           WHERE (excluded.drover_epoch, excluded.drover_version) > (stored.drover_epoch, stored.drover_version)\(isOpen("stored"))
          """)
    }
    newest = try Statement(database, "SELECT drover_epoch, drover_version FROM \(table) WHERE \(whereKey)")
    remove = try Statement(database, "DELETE FROM \(table) AS stored WHERE \(whereKey)\(isOpen("stored"))")
    buryTombstone = try Statement(
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
    serve(first)
  }

  /// Makes the next events those of a machine.
  func serve(_ machine: MachineID) {
    self.machine = machine
    // It stays bound.
    upsert.bind(machine.text, at: 1)
  }

  /// Forgets what is known of a machine's schemas: it has described its stream anew.
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
    do {
      switch (sink.kind, event.content) {
      case (.payload, .none):
        return .refused(.event, detail: "a delete, in a stream of facts")
      case (.payload, _): return try insertOnce(event, epoch: epoch)
      case (_, .none): return try delete(event, epoch: epoch, now: now, hasTombstones: &hasTombstones)
      default: return try putUnit(event, epoch: epoch, hasTombstones: hasTombstones)
      }
    } catch let error as DatabaseError where Self.isAboutTheEvent(error) && !upsert.hasLeftTransaction {
      let isDelete = event.content == .none
      refusals[isDelete] = refusals[isDelete] ?? error
      return .refused(.store, detail: error.explanation)
    }
  }

  /// A header and its lines, all or nothing: what the database refuses of a line is refused of the whole.
  private func putUnit(_ event: SinkEvent, epoch: Int64, hasTombstones: Bool) throws -> MergeOutcome {
    guard let savepoint else { return try put(event, epoch: epoch, hasTombstones: hasTombstones) }
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
    outcome = try put(event, epoch: epoch, hasTombstones: hasTombstones)
    guard outcome == .applied else { return outcome! }
    for (table, rows) in zip(lines, event.lines) {
      if try table.frozenElsewhere(rows, of: machine, header: event.key, epoch: epoch, version: event.version) {
        outcome = .refused(
          .frozen, detail: "a line of \(event.localID.prefix(64)) in \(table.schema.table) belongs to what is complete")
        return outcome!
      }
    }
    outcome = nil
    for (table, rows) in zip(lines, event.lines) {
      try table.replace(rows, of: machine, header: event.key, epoch: epoch, version: event.version)
    }
    outcome = .applied
    return .applied
  }

  /// Whether every line of the event is there. Lines that are there and not in it were cleared at the edge, which takes none from what is
  /// complete.
  private func linesAreStored(_ event: SinkEvent) throws -> Bool {
    try zip(lines, event.lines).allSatisfy { try $0.holds($1, of: machine) }
  }

  private func put(_ event: SinkEvent, epoch: Int64, hasTombstones: Bool) throws -> MergeOutcome {
    if hasTombstones, let buried = try tombstone(event) {
      guard (epoch, event.version) > buried else { return .superseded }
      if try !write(event, epoch: epoch) { try heed(event, newerThan: epoch) }
      // Only now, or a row that the table refuses would have opened the way for an older one.
      bindTombstoneKey(dropTombstone, event)
      try dropTombstone.run()
      return .applied
    }
    if try write(event, epoch: epoch) { return .applied }
    guard let version = try stored(event) else { throw DatabaseError.silence }
    guard version < (epoch, event.version) else { return .superseded }
    guard freezes else { throw DatabaseError.silence }
    // A newer event that the row did not take: it is complete.
    guard try linesAreStored(event) else { return frozen(event) }
    if try isStored(event) { return .superseded }
    return try fillIn(event, epoch: epoch) ?? frozen(event)
  }

  /// A row that was not written has to be there already, and no older.
  /// - Throws: `DatabaseError` when something of the table keeps rows out in silence.
  private func heed(_ event: SinkEvent, newerThan epoch: Int64) throws {
    guard let version = try stored(event), version >= (epoch, event.version) else { throw DatabaseError.silence }
  }

  private func frozen(_ event: SinkEvent) -> MergeOutcome {
    .refused(.frozen, detail: "\(event.localID.prefix(64)) is complete, and this would change it")
  }

  /// The epoch and version of the row that is there.
  private func stored(_ event: SinkEvent) throws -> (Int64, Int64)? {
    bindKey(newest, event)
    defer { newest.reset() }
    return try newest.step() ? (newest.integer(0), newest.integer(1)) : nil
  }

  private func insertOnce(_ event: SinkEvent, epoch: Int64) throws -> MergeOutcome {
    if try write(event, epoch: epoch) { return .applied }
    guard try stored(event) != nil else { throw DatabaseError.silence }
    if let outcome = try fillIn(event, epoch: epoch) { return outcome }
    return try isStored(event) ? .superseded : conflict(event)
  }

  /// Gives a row that does not change any more the values of columns that it could not have. Nil, without a change, where the event differs
  /// otherwise.
  private func fillIn(_ event: SinkEvent, epoch: Int64) throws -> MergeOutcome? {
    guard let late, case .row(let row) = event.content, let stored = try storedRow(event) else { return nil }
    let values = Array(row)
    guard stored != values else { return nil }
    let comparison = try late.compare(
      stored, with: values, event, of: machine, epoch: epoch, heedsTypes: sink.kind == .payload)
    let (filled, expected) = (comparison.filled, comparison.expected)
    // What agrees by now is left out of the comparison with the row that is there.
    let rest = stored.indices.map { filled[$0] == expected[$0] ? stored[$0] : expected[$0] }
    guard try filled == expected || isTheSame(event, rest, as: stored) else { return nil }
    guard filled != stored else { return .superseded }
    let twin = try feed?.twin(machine, event.key)
    try late.write(comparison, event, of: machine)
    try feed?.put(over: twin)
    return .applied
  }

  private func conflict(_ event: SinkEvent) -> MergeOutcome {
    .refused(.conflict, detail: "\(event.localID.prefix(64)) is there with another content")
  }

  private func storedRow(_ event: SinkEvent) throws -> [Value]? {
    bindKey(current!, event)
    defer { current!.reset() }
    return try current!.step() ? columns.indices.map { current!.value(Int32($0)) } : nil
  }

  /// Whether the row that is there says what the event says.
  private func isStored(_ event: SinkEvent) throws -> Bool {
    guard let stored = try storedRow(event) else { return false }
    return switch event.content {
    case .row(let row): try stored == Array(row) || isTheSame(event, Array(row), as: stored)
    case .json(let body): stored[2] == .text(body)  // the body; when it happened is no part of what it says
    case .none: false
    }
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

  private func delete(_ event: SinkEvent, epoch: Int64, now: Int64, hasTombstones: inout Bool) throws -> MergeOutcome {
    let version = try stored(event)
    if let version {
      if version >= (epoch, event.version) { return .superseded }
      let found = try feed?.find(.text(machine.text), key(of: event))
      bindKey(remove, event)
      // It is complete: the edge has cleared it, and the record stays.
      guard try remove.run() > 0 else {
        guard freezes else { throw DatabaseError.silence }
        return .superseded
      }
      if let feed, let found { try feed.delete(found, version: event.version) }
    }
    bindTombstoneKey(buryTombstone, event)
    buryTombstone.bind(epoch, at: 4)
    buryTombstone.bind(event.version, at: 5)
    buryTombstone.bind(event.seq.map { .integer($0) } ?? .null, at: 6)
    buryTombstone.bind(now, at: 7)
    hasTombstones = true
    for table in allLines { try table.remove(of: machine, header: event.key, olderThan: epoch, event.version) }
    let buried = try buryTombstone.run() > 0
    return version != nil || buried ? .applied : .superseded
  }

  // MARK: Binding

  /// Inserts the event's row, or puts it in the place of an older one. False when the table keeps what it has.
  private func write(_ event: SinkEvent, epoch: Int64) throws -> Bool {
    let twin = try feed?.twin(machine, key(of: event))
    guard try runUpsert(event, epoch: epoch) else { return false }
    try feed?.put(over: twin)
    return true
  }

  private func runUpsert(_ event: SinkEvent, epoch: Int64) throws -> Bool {
    upsert.bind(epoch, at: Int32(columns.count + 2))
    upsert.bind(event.version, at: Int32(columns.count + 3))
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

  private func tombstone(_ event: SinkEvent) throws -> (epoch: Int64, version: Int64)? {
    bindTombstoneKey(findTombstone, event)
    defer { findTombstone.reset() }
    return try findTombstone.step() ? (findTombstone.integer(0), findTombstone.integer(1)) : nil
  }

  /// Errors that another event would not meet; everything else says that the store itself cannot go on.
  static func isAboutTheEvent(_ error: DatabaseError) -> Bool {
    [.SQLITE_CONSTRAINT, .SQLITE_MISMATCH, .SQLITE_TOOBIG, .SQLITE_RANGE].contains(error.resultCode)
  }

  // MARK: Making tables

  static func creation(stream: StreamName, schema: StreamSchema?) -> String {
    guard let schema else {
      return """
        CREATE TABLE \(quoted(stream.text)) (
          machine_id TEXT NOT NULL,
          local_id TEXT NOT NULL,
          occurred_at TEXT,
          body TEXT NOT NULL,
          drover_epoch INTEGER NOT NULL,
          drover_version INTEGER NOT NULL,
          PRIMARY KEY (machine_id, local_id)
        ) WITHOUT ROWID
        """
    }
    let columns = schema.columns.map { "  \(definition($0)),\n" }.joined()
    let key = schema.key.map { quoted(schema.columns[$0].name) }.joined(separator: ", ")
    return """
      CREATE TABLE \(quoted(stream.text)) (
        \(schema.machineColumn) TEXT NOT NULL,
      \(columns)  drover_epoch INTEGER NOT NULL,
        drover_version INTEGER NOT NULL,
        PRIMARY KEY (\(schema.machineColumn), \(key))
      ) WITHOUT ROWID
      """
  }

  /// SQLite's own limit is 2000, the bookkeeping included; past 1000 parts a key's comparison is an expression too deep for it
  /// (https://www.sqlite.org/limits.html), and a hundred is more than any table has.
  static let maximumColumns = 1995
  static let maximumKeyColumns = 100

  /// A column as the source declares it. The type is text from a machine, so only what is a type and nothing else passes; for anything
  /// else stands the affinity, which is all that SQLite would take from it.
  static func definition(_ column: DroverCore.Column) -> String {
    // Rows of machines and schemas that tell no lives are the first of their keys.
    if SQLName(column.name) == SQLName(StreamSchema.lifeColumn) { return "\(column.name) TEXT NOT NULL DEFAULT ''" }
    if isPlainType(column.declaredType) { return "\(quoted(column.name)) \(column.declaredType)" }
    let affinity =
      switch column.affinity {
      case .integer: "INTEGER"
      case .text: "TEXT"
      case .blob: "BLOB"
      case .real: "REAL"
      case .numeric: "NUMERIC"
      }
    return "\(quoted(column.name)) \(affinity)"
  }

  /// Words that are no keywords, then perhaps one or two numbers in brackets: `type-name` of https://www.sqlite.org/syntax/type-name.html
  /// without signs and quotes.
  private static func isPlainType(_ type: String) -> Bool {
    guard type.utf8.count <= 64 else { return false }
    let parts = type.split(separator: "(", maxSplits: 1, omittingEmptySubsequences: false)
    let words = parts[0].split(separator: " ")
    guard words.allSatisfy(isPlainWord) else { return false }
    guard parts.count == 2 else { return true }
    guard !words.isEmpty, parts[1].last == ")" else { return false }
    let numbers = parts[1].dropLast().split(separator: ",", omittingEmptySubsequences: false)
    return numbers.count <= 2
      && numbers.allSatisfy { number in
        let digits = number.utf8.filter { $0 != UInt8(ascii: " ") }
        return (1...9).contains(digits.count) && number.utf8.count <= 12 && number.split(separator: " ").count == 1
          && digits.allSatisfy { (0x30...0x39).contains($0) }
      }
  }

  private static func isPlainWord(_ word: Substring) -> Bool {
    guard let first = word.utf8.first, !(0x30...0x39).contains(first),
      word.utf8.allSatisfy({
        (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0) || $0 == 0x5f
      })
    else { return false }
    return sqlite3_keyword_check(String(word), Int32(word.utf8.count)) == 0
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
