// The statements that write and find rows of one form in a sink table. Rows come as arrays, one for each column, or, if they are many, through a
// temporary table by COPY; docs/protocol.md has the rule by which a stored row gives way.

import DroverCore

/// A row that is there.
struct StoredRow {
  let values: [Value]
  /// Of columns that the rows on their way do not have.
  let others: [SQLName: Value]
  let version: RowVersion
  /// The schema that it was written under, where rows say so; "" for those from before.
  let mark: String

  /// What the rule has to know of it.
  func standing(_ isComplete: Bool = false) -> MergeRule.Stored { MergeRule.Stored(version, isComplete: isComplete) }
}

/// A row on its way, its values as the columns hold them.
struct NewRow {
  let values: [Value]
  let version: Int64
}

struct SinkWriter {
  let table: SinkTable
  /// In the order of the rows' values.
  let columns: [SinkColumn]
  /// Columns that are read besides, because a condition names them.
  private let others: [SinkColumn]
  /// Positions of the key in them, in the key's order.
  let key: [Int]
  /// The schema under which rows are written, where the table says so of each.
  let mark: SchemaID?
  private let upsert: Writing
  private let insert: Writing
  private let overwrite: Writing
  /// A temporary table of the connection for rows of this form, and how to make it.
  private let stage: (name: String, definition: String)
  private let findText: String
  private let lockText: String
  private let versionsText: String
  private let stampText: String
  private let deleteText: String
  private let twinsText: String?
  private let tombstoneText: String?

  /// - Parameters:
  ///   - names: the rows' columns in their order, which the table has.
  ///   - key: positions in them.
  ///   - condition: of which the columns are read too.
  init(_ table: SinkTable, names: [SQLName], key: [Int], mark: SchemaID? = nil, condition: Condition? = nil) throws {
    self.table = table
    self.key = key
    self.mark = mark
    let columns = try names.map { try table.need($0) }
    self.columns = columns
    let others = Set((condition?.columns ?? []).map(SQLName.init)).subtracting(names).compactMap(table.column)
    self.others = others
    let keyColumns = key.map { columns[$0] }
    let places = columns.indices.map { "c\($0)" }

    let marked = mark == nil ? [] : [TableShape.schemaColumn]
    let numbering = table.numbering
    let all =
      [table.machine] + columns.map(\.identifier) + ["drover_epoch", "drover_version"] + marked + numbering.column
    let conflict = ([table.machine] + keyColumns.map(\.identifier)).joined(separator: ", ")
    let returned = keyColumns.map { "stored.\($0.identifier)" }.joined(separator: ", ")
    /// $1 is the machine and $2 the epoch's number; what `source` needs comes next, and the mark is the last.
    func insertion(_ end: String, from source: String, parameters: Int) -> String {
      let given =
        ["$1"] + places.map { "given.\($0)" } + ["$2", "given.version"]
        + (mark == nil ? [] : ["$\(parameters + 3)::text"]) + numbering.value
      // In no order of keys: the lock on the machine's stream keeps others from these rows.
      return """
        INSERT INTO \(table.qualified) AS stored (\(all.joined(separator: ", ")))
        SELECT \(given.joined(separator: ", ")) FROM \(source) AS given (\(places.joined(separator: ", ")), version)
         WHERE true
        ON CONFLICT (\(conflict)) DO \(end) RETURNING \(returned)
        """
    }
    let types = columns.map(\.type.name) + ["bigint"]
    let definition = zip(places + ["version"], columns.map { SinkColumn.definition($0.type) } + ["bigint"])
      .map { "\($0) \($1)" }.joined(separator: ", ")
    let stage = (name: Names.stage(of: definition), definition: definition)
    self.stage = stage
    func writing(_ end: String) -> Writing {
      let arrays = types.enumerated().map { "$\($0 + 3)::\($1)[]" }.joined(separator: ", ")
      return Writing(
        fromArrays: insertion(end, from: "unnest(\(arrays))", parameters: types.count),
        fromStage: insertion(end, from: stage.name, parameters: 0))
    }
    insert = writing("NOTHING")
    upsert = writing(
      """
      UPDATE SET \(Self.changes(columns, key, marked + numbering.column).joined(separator: ", "))
       WHERE (excluded.drover_epoch, excluded.drover_version) > (stored.drover_epoch, stored.drover_version)
      """)
    overwrite = writing(
      "UPDATE SET \(Self.changes(columns, key, marked + numbering.column).joined(separator: ", "))")
    let keys = keyColumns.enumerated().map { "$\($0 + 2)::\($1.type.name)[]" }.joined(separator: ", ")
    let keyPlaces = keyColumns.indices.map { "k\($0)" }.joined(separator: ", ")
    let isRow =
      (["stored.\(table.machine) = given.machine"]
      + keyColumns.enumerated().map { "stored.\($1.identifier) = given.k\($0)" })
      .joined(separator: " AND ")
    let markRead = table.shape.isMarked ? "coalesce(stored.\(TableShape.schemaColumn), '')" : "''"
    let from =
      "FROM \(GivenRows.sink(keys, "\(keyPlaces), place", hasOrdinal: true)) JOIN \(table.qualified) AS stored ON \(isRow)"
    findText = """
      SELECT given.place, stored.drover_epoch, stored.drover_version, \(markRead), \((columns + others).map { "stored.\($0.identifier)" }.joined(separator: ", "))
        \(from)
      """
    // In one order, so that two who lock rows do not wait for each other.
    lockText =
      "\(findText) ORDER BY \(keyColumns.map { "stored.\($0.identifier)" }.joined(separator: ", ")) FOR UPDATE OF stored"
    versionsText = "SELECT given.place, stored.drover_epoch, stored.drover_version \(from)"
    let last = keyColumns.count + 2
    let versioned = GivenRows.sink("\(keys), $\(last)::bigint[]", "\(keyPlaces), version")
    let deletion = "DELETE FROM \(table.qualified) AS stored USING \(versioned) WHERE \(isRow)"
    stampText = """
      UPDATE \(table.qualified) AS stored
         SET \((["drover_version = given.version"] + zip(numbering.column, numbering.value).map { "\($0) = \($1)" }).joined(separator: ", "))
        FROM \(versioned)
       WHERE \(isRow)
      """
    let wholeKey = [table.machine] + keyColumns.map(\.identifier)
    deleteText =
      table.feed?.burying(
        deletion, alias: "stored", key: wholeKey, version: "given.version", now: "$\(last + 1)::bigint") ?? deletion
    let untyped = keyColumns.indices.filter { keyColumns[$0].type == .jsonb }
    let isOther = untyped.map { "stored.\(keyColumns[$0].identifier)::text <> given.k\($0)::text" }
    twinsText =
      table.feed == nil || untyped.isEmpty
      ? nil
      : """
      SELECT given.place, stored.drover_version, \(keyColumns.map { "stored.\($0.identifier)" }.joined(separator: ", "))
        \(from) AND (\(isOther.joined(separator: " OR ")))
      """
    tombstoneText = table.feed.map {
      """
      INSERT INTO \($0.gone) (drover_change, drover_gone_at, drover_version, \(wholeKey.joined(separator: ", ")))
      SELECT \(ChangeFeed.next), $\(last + 1), given.version, $1, \(keyColumns.indices.map { "given.k\($0)" }.joined(separator: ", "))
        FROM unnest(\(keys), $\(last)::bigint[]) AS given (\(keyPlaces), version)
      """
    }
  }

  /// All but the key, and of the key what can be equal without being the same: jsonb takes 1 and 1.0 for one value.
  private static func changes(_ columns: [SinkColumn], _ key: [Int], _ marked: [String]) -> [String] {
    let own = columns.indices.filter { !key.contains($0) || columns[$0].type == .jsonb }.map { columns[$0].identifier }
    return (own + ["drover_epoch", "drover_version"] + marked).map { "\($0) = excluded.\($0)" }
  }

  // MARK: Keys

  func keyValues(of row: [Value]) -> [Value] { key.map { row[$0] } }

  /// A key as the columns hold it.
  func converted(key values: [Value]) -> [Value] {
    zip(key, values).map { columns[$0].affinity.converting($1) }
  }

  /// Whether a row with this key could be in the table.
  func canHold(key values: [Value]) -> Bool {
    zip(key, values).allSatisfy { columns[$0].fit($1) == .fits && $1 != .null }
  }

  /// The same for keys that the database takes for one: 1 and 1.0 of a column without a type.
  static func identity(of key: [Value]) -> [Value] { key.map { Affinity.numeric.whole($0) } }

  /// Whether a condition holds of a row that is there. What the table has not is NULL.
  func holds(_ condition: Condition?, of row: StoredRow) -> Bool {
    condition?.holds { name in
      let name = SQLName(name)
      let value = columns.firstIndex { $0.name == name }.map { row.values[$0] } ?? row.others[name] ?? .null
      return (value, table.column(name)?.affinity ?? .blob)
    } ?? false
  }

  // MARK: Writing

  /// One statement, for few rows and for many.
  private struct Writing {
    let fromArrays: String
    let fromStage: String
  }

  /// From here on COPY and a temporary table cost less than arrays, for all the further answers that have to be waited for.
  private static let manyRows = 512

  /// Writes the rows that are newer than what is there.
  /// - Parameter rows: no two with one key.
  /// - Returns: for each whether it was written.
  func upsert(_ rows: [NewRow], machine: MachineID, epoch: Int64, _ feed: ChangeFeed) throws -> [Bool] {
    let twins = try twins(of: rows, machine, feed.connection)
    let isWritten = try write(upsert, rows, machine, epoch, feed)
    try heed(rows.indices.filter { !isWritten[$0] }.map { rows[$0] }, machine, newerThan: epoch, feed.connection)
    try leaveTombstones(twins.filter { isWritten[$0.row] }, machine, feed)
    return isWritten
  }

  /// Writes the rows, whatever is there.
  /// - Parameter rows: no two with one key.
  func overwrite(_ rows: [NewRow], machine: MachineID, epoch: Int64, _ feed: ChangeFeed) throws {
    let twins = try twins(of: rows, machine, feed.connection)
    let isWritten = try write(overwrite, rows, machine, epoch, feed)
    guard isWritten.allSatisfy(\.self) else { throw PostgreSQLError.silenced(table, feed.connection) }
    try leaveTombstones(twins, machine, feed)
  }

  /// Gives rows that are there other versions, and numbers in the change feed.
  func stamp(_ keys: [[Value]], versions: [Int64], machine: MachineID, _ feed: ChangeFeed) throws {
    guard !keys.isEmpty else { return }
    try feed.open(table.feed)
    let stamped = try feed.connection.query(
      stampText, [.text(machine.text)] + keyArrays(keys) + [.integers(versions)]
    ).changed
    guard stamped == keys.count else { throw PostgreSQLError.silenced(table, feed.connection) }
    feed.count(table.feed, puts: stamped)
  }

  /// Tells those who follow the change feed that another program has deleted rows.
  func tellGone(_ keys: [[Value]], versions: [Int64], machine: MachineID, _ feed: ChangeFeed) throws {
    try feed.open(table.feed)
    try leaveTombstones(zip(keys, versions).map { Twin(row: 0, key: $0, version: $1) }, machine, feed)
  }

  /// Writes the rows whose key is not there.
  func insert(_ rows: [NewRow], machine: MachineID, epoch: Int64, _ feed: ChangeFeed) throws -> [Bool] {
    let isWritten = try write(insert, rows, machine, epoch, feed)
    try heed(rows.indices.filter { !isWritten[$0] }.map { rows[$0] }, machine, newerThan: nil, feed.connection)
    return isWritten
  }

  /// A row that was not written has to be there already, and no older.
  /// - Parameter epoch: of the rows; nil where any row of the key is enough.
  /// - Throws: `PostgreSQLError` when something of the table keeps rows out in silence.
  private func heed(_ rows: [NewRow], _ machine: MachineID, newerThan epoch: Int64?, _ connection: Connection) throws {
    guard !rows.isEmpty else { return }
    let found = try versions(rows.map { keyValues(of: $0.values) }, machine: machine, connection)
    for (row, version) in zip(rows, found) {
      if version == Self.unversioned { throw PostgreSQLError.unversioned(table, connection) }
      guard let version, epoch.map({ version >= RowVersion(epoch: $0, version: row.version) }) ?? true else {
        throw PostgreSQLError.silenced(table, connection)
      }
    }
  }

  private func write(
    _ writing: Writing, _ rows: [NewRow], _ machine: MachineID, _ epoch: Int64, _ feed: ChangeFeed
  ) throws -> [Bool] {
    guard !rows.isEmpty else { return [] }
    let connection = feed.connection
    try feed.open(table.feed)
    let origin: [Parameter] = [.text(machine.text), .integer(epoch)]
    let marks: [Parameter] = mark.map { [.text($0.text)] } ?? []
    let written: Rows
    if rows.count < Self.manyRows {
      written = try connection.query(writing.fromArrays, origin + arrays(rows) + marks)
    } else {
      try fillStage(rows, connection)
      written = try connection.query(writing.fromStage, origin + marks)
    }
    feed.count(table.feed, puts: written.count)
    guard written.count < rows.count else { return rows.map { _ in true } }
    let keys = Set((0..<written.count).map { Self.identity(of: key(written, $0, from: 0)) })
    return rows.map { keys.contains(Self.identity(of: keyValues(of: $0.values))) }
  }

  private func fillStage(_ rows: [NewRow], _ connection: Connection) throws {
    try connection.run(
      """
      CREATE TEMPORARY TABLE IF NOT EXISTS \(stage.name) (\(stage.definition)) ON COMMIT DELETE ROWS;
      TRUNCATE \(stage.name)
      """)
    var fields = FieldList(.text, capacity: rows.count * columns.count * 16)
    for row in rows {
      fields.beginRow(of: columns.count + 1)
      for (column, value) in zip(columns, row.values) { column.append(value, to: &fields) }
      fields.append(row.version)
    }
    try connection.copy("COPY \(stage.name) FROM STDIN (FORMAT binary)", fields.copyData)
  }

  private func arrays(_ rows: [NewRow]) -> [Parameter] {
    columns.indices.map { column in
      var fields = FieldList(columns[column].type, capacity: rows.count * 16)
      for row in rows { columns[column].append(row.values[column], to: &fields) }
      return fields.array
    } + [.integers(rows.map(\.version))]
  }

  /// Removes rows.
  /// - Parameter versions: for each key that of its delete.
  func delete(_ keys: [[Value]], versions: [Int64], machine: MachineID, _ feed: ChangeFeed) throws {
    guard !keys.isEmpty else { return }
    try feed.open(table.feed)
    let now: [Parameter] = table.feed == nil ? [] : [.integer(feed.now)]
    let deleted = try feed.connection.query(
      deleteText, [.text(machine.text)] + keyArrays(keys) + [.integers(versions)] + now
    ).changed
    feed.count(table.feed, deletes: deleted)
    // Another program may have deleted some meanwhile.
    guard deleted < keys.count,
      try self.versions(keys, machine: machine, feed.connection).contains(where: { $0 != nil })
    else { return }
    throw PostgreSQLError.silenced(table, feed.connection)
  }

  // MARK: Twins

  /// A row whose key a put changes into another that is equal: in jsonb 1 and 1.0 are one key, and each is kept as it was written.
  private struct Twin {
    /// The position of the row that is put.
    let row: Int
    let key: [Value]
    let version: Int64
  }

  private func twins(of rows: [NewRow], _ machine: MachineID, _ connection: Connection) throws -> [Twin] {
    guard let twinsText, !rows.isEmpty else { return [] }
    let found = try connection.query(
      twinsText, [.text(machine.text)] + keyArrays(rows.map { keyValues(of: $0.values) }))
    return (0..<found.count).map {
      Twin(row: Int(found.integer($0, 0)) - 1, key: key(found, $0, from: 2), version: found.integer($0, 1))
    }
  }

  /// The rows have other names now.
  private func leaveTombstones(_ twins: [Twin], _ machine: MachineID, _ feed: ChangeFeed) throws {
    guard let tombstoneText, !twins.isEmpty else { return }
    try feed.connection.query(
      tombstoneText,
      [.text(machine.text)] + keyArrays(twins.map(\.key)) + [.integers(twins.map(\.version)), .integer(feed.now)])
    feed.count(table.feed, deletes: twins.count)
  }

  // MARK: Finding

  /// For each key the row that is there.
  func find(_ keys: [[Value]], machine: MachineID, _ connection: Connection) throws -> [StoredRow?] {
    try findAll(keys, machine: machine, connection).map(\.first)
  }

  /// The same, and these rows stay as they are until the transaction ends.
  /// - Parameter skips: leaves out rows that another session has locked, and waits for none.
  func lock(_ keys: [[Value]], skips: Bool = false, machine: MachineID, _ connection: Connection) throws -> [StoredRow?]
  {
    try look(skips ? "\(lockText) SKIP LOCKED" : lockText, keys, machine, connection, stored).map(\.first)
  }

  /// For each key the rows that are there, where `key` is not the whole key of the table.
  func findAll(_ keys: [[Value]], machine: MachineID, _ connection: Connection) throws -> [[StoredRow]] {
    try look(findText, keys, machine, connection, stored)
  }

  private func stored(_ rows: Rows, _ row: Int) -> StoredRow {
    StoredRow(
      values: columns.indices.map { columns[$0].value(rows, row, $0 + 4) },
      others: Dictionary(
        uniqueKeysWithValues: others.enumerated().map { ($1.name, $1.value(rows, row, columns.count + $0 + 4)) }),
      version: version(rows, row), mark: rows.text(row, 3))
  }

  /// For each key the epoch and version of the row that is there.
  func versions(_ keys: [[Value]], machine: MachineID, _ connection: Connection) throws -> [RowVersion?] {
    try look(versionsText, keys, machine, connection) { rows, row in
      version(rows, row)
    }.map(\.first)
  }

  private func look<Found>(
    _ sql: String, _ keys: [[Value]], _ machine: MachineID, _ connection: Connection, _ read: (Rows, Int) -> Found
  ) throws -> [[Found]] {
    var found = [[Found]](repeating: [], count: keys.count)
    let possible = keys.indices.filter { canHold(key: keys[$0]) }
    guard !possible.isEmpty else { return found }
    let rows = try connection.query(sql, [.text(machine.text)] + keyArrays(possible.map { keys[$0] }))
    for row in 0..<rows.count { found[possible[Int(rows.integer(row, 0)) - 1]].append(read(rows, row)) }
    return found
  }

  /// Of a row that has lost its epoch or version: it is older than everything.
  private static let unversioned = RowVersion(epoch: .min, version: .min)

  private func version(_ rows: Rows, _ row: Int) -> RowVersion {
    guard !rows.isNull(row, 1), !rows.isNull(row, 2) else { return Self.unversioned }
    return RowVersion(epoch: rows.integer(row, 1), version: rows.integer(row, 2))
  }

  /// Takes the versions of rows back to none.
  func takeBackVersions(_ keys: [[Value]], machine: MachineID, _ connection: Connection) throws {
    let possible = keys.filter(canHold)
    guard !possible.isEmpty else { return }
    let arrays = key.enumerated().map { "$\($0 + 2)::\(columns[$1].type.name)[]" }.joined(separator: ", ")
    let places = key.indices.map { "k\($0)" }.joined(separator: ", ")
    let isRow = key.enumerated().map { "stored.\(columns[$1].identifier) = given.k\($0)" }.joined(separator: " AND ")
    try connection.query(
      """
      UPDATE \(table.qualified) AS stored SET drover_epoch = 0, drover_version = 0 FROM \(GivenRows.sink(arrays, places))
       WHERE stored.\(table.machine) = given.machine AND \(isRow)
      """, [.text(machine.text)] + keyArrays(possible), operation: "write to")
  }

  func keyArrays(_ keys: [[Value]]) -> [Parameter] {
    key.indices.map { part in
      let column = columns[key[part]]
      var fields = FieldList(column.type, capacity: keys.count * 16)
      for key in keys { column.append(key[part], to: &fields) }
      return fields.array
    }
  }

  private func key(_ rows: Rows, _ row: Int, from first: Int) -> [Value] {
    key.indices.map { columns[key[$0]].value(rows, row, first + $0) }
  }

  /// Writes values into a row that does not change otherwise, with the schema, epoch and version that it has now.
  func replace(_ row: [Value], version: RowVersion, machine: MachineID, _ feed: ChangeFeed) throws {
    try feed.open(table.feed)
    let own = columns.indices.filter { !key.contains($0) }
    let marks = [
      "\(TableShape.schemaColumn) = $\(columns.count + 4)::text", "drover_epoch = $2", "drover_version = given.version",
    ]
    let number = zip(table.numbering.column, table.numbering.value).map { "\($0) = \($1)" }
    let isRow = key.map { "stored.\(columns[$0].identifier) = given.c\($0)" }.joined(separator: " AND ")
    let arrays = columns.enumerated().map { "$\($0 + 3)::\($1.type.name)[]" } + ["$\(columns.count + 3)::bigint[]"]
    let given = GivenRows.sink(
      arrays.joined(separator: ", "), "\(columns.indices.map { "c\($0)" }.joined(separator: ", ")), version")
    let replaced = try feed.connection.query(
      """
      UPDATE \(table.qualified) AS stored
         SET \((own.map { "\(columns[$0].identifier) = given.c\($0)" } + marks + number).joined(separator: ", "))
        FROM \(given) WHERE stored.\(table.machine) = given.machine AND \(isRow)
      """,
      [.text(machine.text), .integer(version.epoch)] + self.arrays([NewRow(values: row, version: version.version)])
        + [.text(mark!.text)]
    ).changed
    guard replaced > 0 else { throw PostgreSQLError.silenced(table, feed.connection) }
    feed.count(table.feed, puts: replaced)
  }
}

extension Affinity {
  /// A number that is whole as an integer, anything else as it is.
  fileprivate func whole(_ value: Value) -> Value {
    if case .real = value { converting(value) } else { value }
  }
}
