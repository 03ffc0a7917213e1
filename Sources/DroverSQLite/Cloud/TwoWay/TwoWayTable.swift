// The statements of a sink table whose rows go down. `TwoWayMerge` decides what becomes of a row, so these compare no versions.

import DroverCore
import GRDB

final class TwoWayTable {
  let schema: StreamSchema
  let stream: StreamName
  /// The first put (false) and the first delete (true) that the database refused since the last question.
  var refusals: [Bool: DatabaseError] = [:]
  /// Numbers the rows, where the store keeps a change feed of this table.
  let feed: RowFeed?
  /// Whose rows are written and read: a machine, or `*`.
  private(set) var owner = ""
  private let marksRows: Bool
  private let find: Statement
  private let looksTheSame: Statement
  private let upsert: Statement
  private let delete: Statement
  private let stampRow: Statement
  private let bury: Statement
  private let findTombstone: Statement
  private let dropTombstone: Statement

  /// - Parameters:
  ///   - marksRows: each row says under which schema it was written.
  ///   - untyped: the places of key columns without a type.
  init(
    _ database: Database, _ sink: StatementShape, schema: StreamSchema, marksRows: Bool, untyped: Set<Int>,
    feed: RowFeed?
  ) throws {
    self.schema = schema
    self.feed = feed
    self.marksRows = marksRows
    stream = sink.stream
    let table = quoted(sink.stream.text)
    let machine = schema.machineColumn
    let columns = schema.columns.map { quoted($0.name) }
    let key = schema.key.map { quoted(schema.columns[$0].name) }
    let isRow = ([machine] + key).enumerated().map { "\($1) IS ?\($0 + 1)" }.joined(separator: " AND ")
    let isComplete = sink.completeWhen.map { "coalesce(\($0.text { "stored.\(quoted($0))" }), 0)" } ?? "0"
    let list = columns.joined(separator: ", ")
    find = try Statement(
      database, "SELECT \(list), drover_epoch, drover_version, \(isComplete) FROM \(table) AS stored WHERE \(isRow)")
    looksTheSame = try Statement(
      database,
      "SELECT (\(list)) IS (\(columns.indices.map { "?\(key.count + 2 + $0)" }.joined(separator: ", "))) FROM \(table) WHERE \(isRow)"
    )
    let marks = marksRows ? [TableShape.schemaColumn] : []
    let (numberColumn, numberValue) = feed == nil ? ([], []) : ([TableShape.changeColumn], ["drover_next_change()"])
    let all = [machine] + columns + ["drover_epoch", "drover_version"] + marks
    let changes =
      SinkTable.changes(schema, untyped: untyped) + (marks + numberColumn).map { ", \($0) = excluded.\($0)" }.joined()
    upsert = try Statement(
      database,
      """
      INSERT INTO \(table) (\((all + numberColumn).joined(separator: ", ")))
      VALUES (\((all.indices.map { "?\($0 + 1)" } + numberValue).joined(separator: ", ")))
      ON CONFLICT (\(([machine] + key).joined(separator: ", "))) DO UPDATE SET \(changes)
      """)
    delete = try Statement(database, "DELETE FROM \(table) WHERE \(isRow)")
    stampRow = try Statement(
      database,
      """
      UPDATE \(table) SET drover_version = ?\(key.count + 2)\(feed == nil ? "" : ", \(TableShape.changeColumn) = drover_next_change()")
       WHERE \(isRow)
      """)
    bury = try Statement(
      database,
      """
      INSERT OR REPLACE INTO drover_tombstone (machine_id, stream, local_id, epoch, version, seq, made_at)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
      """)
    findTombstone = try Statement(
      database, "SELECT epoch, version FROM drover_tombstone WHERE machine_id = ?1 AND stream = ?2 AND local_id = ?3")
    dropTombstone = try Statement(
      database, "DELETE FROM drover_tombstone WHERE machine_id = ?1 AND stream = ?2 AND local_id = ?3")
  }

  func serve(_ owner: String) { self.owner = owner }

  // MARK: Reading

  struct Stored {
    var values: [Value]
    var version: RowVersion
    var isComplete: Bool
  }

  func stored(_ key: [Value]) throws -> Stored? {
    bindKey(find, key)
    defer { find.reset() }
    guard try find.step() else { return nil }
    let count = Int32(schema.columns.count)
    return Stored(
      values: (0..<count).map { find.value($0) },
      version: RowVersion(epoch: find.integer(count), version: find.integer(count + 1)),
      isComplete: find.integer(count + 2) != 0)
  }

  func tombstone(_ localID: String) throws -> RowVersion? {
    bindTombstone(findTombstone, localID)
    defer { findTombstone.reset() }
    return try findTombstone.step()
      ? RowVersion(epoch: findTombstone.integer(0), version: findTombstone.integer(1)) : nil
  }

  /// Whether the row that is there has these values, by the types of its columns (https://www.sqlite.org/datatype3.html, section 4.2).
  func holds(_ values: [Value], _ key: [Value]) throws -> Bool {
    bindKey(looksTheSame, key)
    defer { looksTheSame.reset() }
    for (index, value) in values.enumerated() { looksTheSame.bind(value, at: Int32(key.count + 2 + index)) }
    return try looksTheSame.step() && looksTheSame.integer(0) == 1
  }

  // MARK: Writing

  func put(_ row: Values, _ key: [Value], _ localID: String, version: RowVersion) throws {
    let machine = try MachineID(owner)
    let twin = try feed?.twin(machine, key)
    upsert.reset()
    upsert.bind(owner, at: 1)
    let count = Int32(schema.columns.count)
    upsert.bind(version.epoch, at: count + 2)
    upsert.bind(version.version, at: count + 3)
    if marksRows { upsert.bind(schema.id.text, at: count + 4) }
    guard try upsert.run(with: row, from: 2) > 0 else { throw DatabaseError.silence }
    try feed?.put(over: twin)
    bindTombstone(dropTombstone, localID)
    try dropTombstone.run()
  }

  func remove(_ key: [Value], _ localID: String, version: RowVersion, seq: Int64?, now: Int64) throws {
    if let found = try stored(key) {
      let known = try feed?.find(.text(owner), key)
      bindKey(delete, key)
      guard try delete.run() > 0 else { throw DatabaseError.silence }
      if let feed, let known { try feed.delete(known, version: max(version.version, found.version.version)) }
    }
    bindTombstone(bury, localID)
    bury.bind(version.epoch, at: 4)
    bury.bind(version.version, at: 5)
    bury.bind(seq.map { .integer($0) } ?? .null, at: 6)
    bury.bind(now, at: 7)
    try bury.run()
  }

  /// Gives the row that is there another version.
  func stamp(_ key: [Value], version: Int64) throws {
    bindKey(stampRow, key)
    stampRow.bind(version, at: Int32(key.count + 2))
    if try stampRow.run() > 0 { try feed?.put(over: nil) }
  }

  /// A person has deleted the row.
  func noteDelete(_ key: [Value], version: Int64) throws {
    try feed?.delete(RowFeed.Found(key: [.text(owner)] + key, version: version), version: version)
  }

  private func bindKey(_ statement: Statement, _ key: [Value]) {
    statement.reset()
    statement.bind(owner, at: 1)
    for (index, value) in key.enumerated() { statement.bind(value, at: Int32(index + 2)) }
  }

  private func bindTombstone(_ statement: Statement, _ localID: String) {
    statement.reset()
    statement.bind(owner, at: 1)
    statement.bind(stream.text, at: 2)
    statement.bind(localID, at: 3)
  }
}
