// One sink table in the change feed. Its rows have a column for the number of their last change, with an index. Beside it stands
// `drover_gone_…`, where a row that is deleted leaves its key under the delete's number.

import DroverCore
import GRDB

final class FeedTable {
  let stream: StreamName
  /// What the open transaction has done.
  var counts = ChangeCounts()

  init(_ stream: StreamName) { self.stream = stream }

  /// Streams cannot be named drover_…, so the names are free.
  var gone: String { Self.gone(stream) }
  static func gone(_ stream: StreamName) -> String { quoted("drover_gone_\(stream.text)") }
  private var index: String { Self.index(stream) }
  static func index(_ stream: StreamName) -> String { quoted("drover_changes_of_\(stream.text)") }

  /// The columns that hold the parts of a key in `drover_gone_…`, the machine first. They have no type, so that values stay as they are.
  static func keyColumns(_ count: Int) -> [String] { (0..<count).map { "key\($0)" } }

  // MARK: Made and dropped

  /// Gives the sink table what the feed needs.
  /// - Parameter numbersRows: whether the rows that are there are numbered, in the order of their keys.
  func make(_ database: Database, numbersRows: Bool = false) throws {
    let sink = quoted(stream.text)
    let columns = try database.catalogue(of: stream.text)
    if !columns.contains(where: { $0.name == SQLName(TableShape.changeColumn) }) {
      try database.execute(sql: "ALTER TABLE main.\(sink) ADD COLUMN \(TableShape.changeColumn) INTEGER")
    }
    if numbersRows {
      try database.execute(sql: "UPDATE main.\(sink) SET \(TableShape.changeColumn) = drover_next_change()")
      counts.puts += Int64(database.changesCount)
    }
    let keys = Self.keyColumns(columns.count { $0.keyPosition > 0 }).joined(separator: ", ")
    try database.execute(
      sql: """
        CREATE INDEX \(index) ON \(sink) (\(TableShape.changeColumn));
        CREATE TABLE \(gone) (
          drover_change  INTEGER PRIMARY KEY,
          -- Microseconds since 1970.
          drover_gone_at INTEGER NOT NULL,
          drover_version INTEGER NOT NULL,
          \(keys)
        );
        """)
    try database.execute(
      sql: "INSERT OR IGNORE INTO drover_feed_stream (stream, puts, deletes, newest, lost) VALUES (?, 0, 0, 0, 0)",
      arguments: [stream.text])
  }

  /// The sink's key has got `drover_life`. What was deleted was the first of its key.
  func addKeyColumn(after count: Int, _ database: Database) throws {
    try database.execute(sql: "ALTER TABLE \(gone) ADD COLUMN key\(count) DEFAULT ''")
  }

  func drop(_ database: Database) throws {
    try database.execute(sql: "DROP INDEX IF EXISTS \(index)")
    try database.execute(sql: "DROP TABLE IF EXISTS \(gone)")
  }

  /// Forgets deletes that were made before a moment, the oldest first, until one is younger.
  func forgetDeletes(madeBefore moment: Int64, _ database: Database) throws {
    let last = try Int64.fetchOne(
      database,
      sql: """
        SELECT max(drover_change) FROM \(gone)
         WHERE drover_change < (SELECT ifnull(min(drover_change), 9223372036854775807) FROM \(gone) WHERE drover_gone_at >= ?)
        """, arguments: [moment])
    guard let last else { return }
    try database.execute(sql: "DELETE FROM \(gone) WHERE drover_change <= ?", arguments: [last])
    try database.execute(
      sql: "UPDATE drover_feed_stream SET lost = ? WHERE stream = ?", arguments: [last, stream.text])
  }

  // MARK: Many rows at once

  /// The statement that takes note of rows before they are deleted.
  /// - Parameters:
  ///   - rows: `FROM … WHERE …`, which the delete has too.
  ///   - key: the machine's column and the key's.
  ///   - version: an expression.
  func burying(_ rows: String, key: [String], version: String) -> String {
    """
    INSERT INTO \(gone) SELECT drover_next_change(), drover_change_time(), \(version), \(key.joined(separator: ", ")) \(rows)
    """
  }

  /// The table is to be filled anew: all of its rows are deleted.
  func buryAll(_ database: Database, key: [String]) throws {
    let sink = quoted(stream.text)
    try database.execute(sql: burying("FROM \(sink)", key: key, version: "drover_version"))
    counts.deletes += Int64(database.changesCount)
  }

  /// The table has been filled again: rows that are there again were not deleted.
  /// - Parameter deletes: how many deletes `buryAll` has noted.
  func unbury(_ database: Database, key: [String], counted deletes: Int64) throws {
    let isThere = zip(Self.keyColumns(key.count), key).map {
      "sink.\($1) IS \(gone).\($0) AND typeof(sink.\($1)) = typeof(\(gone).\($0))"
    }
    try database.execute(
      sql: """
        DELETE FROM \(gone) WHERE drover_change IN (SELECT drover_change FROM \(gone) ORDER BY drover_change DESC LIMIT ?)
           AND EXISTS (SELECT 1 FROM \(quoted(stream.text)) AS sink WHERE \(isThere.joined(separator: " AND ")))
        """, arguments: [deletes])
    counts.deletes -= Int64(database.changesCount)
  }
}

/// Notes single rows of a table for the code that merges into it.
final class RowFeed {
  private let table: FeedTable
  private let keyCount: Int
  private let findKey: Statement
  private let insertTombstone: Statement
  /// Whether a put can change the key into another that is equal: a column without a type takes 1 and 1.0 for one key and keeps each.
  private let hasTwins: Bool

  /// Compiles the statements for tables that are there.
  /// - Parameter key: the machine's column and the key's, quoted.
  init(_ database: Database, _ table: FeedTable, sink: String, key: [String], hasTwins: Bool = false) throws {
    self.table = table
    self.hasTwins = hasTwins
    keyCount = key.count
    let isRow = key.enumerated().map { "\($1) IS ?\($0 + 1)" }.joined(separator: " AND ")
    findKey = try Statement(
      database, "SELECT \(key.joined(separator: ", ")), drover_version FROM \(sink) WHERE \(isRow)")
    insertTombstone = try Statement(
      database,
      "INSERT INTO \(table.gone) VALUES (drover_next_change(), drover_change_time(), ?1, \(key.indices.map { "?\($0 + 2)" }.joined(separator: ", ")))"
    )
  }

  /// To be set back to where it was with a savepoint.
  var counts: ChangeCounts {
    get { table.counts }
    set { table.counts = newValue }
  }

  /// A row as it is known by: the machine's column and the key's as they are stored, and its version.
  struct Found {
    var key: [Value]
    var version: Int64
  }

  /// - Parameter key: the machine and the local key.
  func find(_ machine: Value, _ key: some Collection<Value>) throws -> Found? {
    findKey.bind(machine, at: 1)
    for (index, value) in key.enumerated() { findKey.bind(value, at: Int32(index + 2)) }
    defer { findKey.reset() }
    guard try findKey.step() else { return nil }
    return Found(key: (0..<keyCount).map { findKey.value(Int32($0)) }, version: findKey.integer(Int32(keyCount)))
  }

  /// Before a put: the row whose key it would change.
  func twin(_ machine: MachineID, _ key: @autoclosure () -> [Value]) throws -> Found? {
    guard hasTwins else { return nil }
    let key = key()
    return try find(.text(machine.text), key).flatMap { Array($0.key.dropFirst()) == key ? nil : $0 }
  }

  /// A row was put, in the place of its twin if it had one.
  func put(over twin: Found?) throws {
    table.counts.puts += 1
    if let twin { try delete(twin, version: twin.version) }
  }

  /// A row was deleted.
  /// - Parameter found: what it was.
  func delete(_ found: Found, version: Int64) throws {
    insertTombstone.bind(version, at: 1)
    for (index, value) in found.key.enumerated() { insertTombstone.bind(value, at: Int32(index + 2)) }
    try insertTombstone.run()
    table.counts.deletes += 1
  }
}
