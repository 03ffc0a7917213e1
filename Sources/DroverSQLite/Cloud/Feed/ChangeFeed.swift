// Numbers what happens to the rows of sink tables, while the store keeps a change feed. SQLite has one writer, so numbers appear in the order
// in which they are given, and behind what a reader has passed nothing is written. A transaction takes the last number from the store and
// leaves its own there. docs/decisions/0020 tells why it is done so.

private import CSQLite
import DroverCore
import GRDB

final class ChangeFeed {
  static let migration = """
    -- One row while the store keeps a change feed.
    CREATE TABLE drover_feed (
      id     INTEGER PRIMARY KEY CHECK (id = 0),
      -- A new one whenever numbers could mean something else than they did.
      era    TEXT NOT NULL,
      newest INTEGER NOT NULL
    );

    CREATE TABLE drover_feed_stream (
      stream  TEXT PRIMARY KEY COLLATE NOCASE,
      -- How often a row was put or deleted in this era.
      puts    INTEGER NOT NULL,
      deletes INTEGER NOT NULL,
      -- No change of the stream has a higher number.
      newest  INTEGER NOT NULL,
      -- The highest number of which it is not known any more what it did.
      lost    INTEGER NOT NULL
    ) WITHOUT ROWID;
    """

  private let numbers: UnsafeMutablePointer<drover_change_numbers>
  /// As the transaction found it.
  private var before: Int64 = 0
  private(set) var isOn = false
  private var tables: [SQLName: FeedTable] = [:]

  /// Gives the connection the functions `drover_next_change()` and `drover_change_time()`, which statements that number rows call. Once for a
  /// connection.
  init(_ database: Database) throws {
    guard let numbers = drover_sqlite3_number_changes(database.sqliteConnection!) else {
      throw DatabaseError(resultCode: .SQLITE_NOMEM)
    }
    self.numbers = numbers
  }

  // MARK: A transaction

  /// The beginning of each transaction that may change sink tables.
  /// - Parameter now: microseconds since 1970.
  func begin(_ database: Database, now: Int64) throws {
    let newest = try Int64.fetchOne(database.cachedStatement(sql: "SELECT newest FROM drover_feed"))
    if (newest != nil) != isOn { tables = [:] }
    isOn = newest != nil
    before = newest ?? 0
    numbers.pointee.last = before
    numbers.pointee.now = now
    for table in tables.values { table.counts = ChangeCounts() }
  }

  /// Its end: leaves the numbers and counts in the store.
  /// - Returns: the last number, where something was changed.
  @discardableResult
  func finish(_ database: Database) throws -> Int64? {
    let changed = tables.values.filter { $0.counts != ChangeCounts() }
    guard isOn, !changed.isEmpty else { return nil }
    let last = numbers.pointee.last
    let note = try database.cachedStatement(
      sql: """
        UPDATE drover_feed_stream SET puts = puts + ?, deletes = deletes + ?, newest = ? WHERE stream = ?
        """)
    for table in changed {
      try note.execute(arguments: [table.counts.puts, table.counts.deletes, last, table.stream.text])
    }
    try database.cachedStatement(sql: "UPDATE drover_feed SET newest = ?").execute(arguments: [last])
    return last
  }

  /// What numbers a stream's table; nil while there is no feed.
  func table(of stream: StreamName) -> FeedTable? {
    guard isOn else { return nil }
    let name = SQLName(stream.text)
    if let table = tables[name] { return table }
    let table = FeedTable(stream)
    tables[name] = table
    return table
  }

  /// What the transaction has counted until now.
  var counts: [SQLName: ChangeCounts] { tables.mapValues(\.counts) }

  /// A part of the transaction was rolled back. Its numbers are not used again.
  func restore(_ counts: [SQLName: ChangeCounts]) {
    for (name, table) in tables { table.counts = counts[name] ?? ChangeCounts() }
  }

  // MARK: Tables that come and go

  /// A stream has got its table.
  func begin(table stream: StreamName, _ database: Database) throws {
    try table(of: stream)?.make(database)
  }

  /// A stream's table is put aside: its readers must begin again.
  func end(table stream: StreamName, _ database: Database) throws {
    guard let table = table(of: stream) else { return }
    try table.drop(database)
    try forgetReaders(of: stream, database)
  }

  /// A reader that followed a stream's table has to begin again.
  func forgetReaders(of stream: StreamName, _ database: Database) throws {
    guard isOn else { return }
    numbers.pointee.last += 1
    try database.execute(
      sql: "UPDATE drover_feed_stream SET newest = ?1, lost = ?1 WHERE stream = ?2",
      arguments: [numbers.pointee.last, stream.text])
    try database.execute(sql: "UPDATE drover_feed SET newest = ?", arguments: [numbers.pointee.last])
  }

  /// Forgets deletes that were made before a moment.
  /// - Parameter moment: microseconds since 1970.
  func forgetDeletes(madeBefore moment: Int64, _ database: Database) throws {
    guard isOn else { return }
    for stream in try Self.streams(database) { try table(of: stream)!.forgetDeletes(madeBefore: moment, database) }
  }

  // MARK: On and off

  /// Begins a new era, in which all rows that are there have a number.
  /// - Returns: how many rows there are.
  func switchOn(_ database: Database) throws -> Int64 {
    try database.execute(sql: "DELETE FROM drover_feed_stream")
    try database.execute(
      sql: "INSERT INTO drover_feed (id, era, newest) VALUES (0, ?, 0)", arguments: [Self.newEra()])
    try begin(database, now: numbers.pointee.now)
    var rows: Int64 = 0
    for stream in try Self.streams(database) {
      let table = table(of: stream)!
      try table.make(database, numbersRows: true)
      rows += table.counts.puts
    }
    try finish(database)
    return rows
  }

  func switchOff(_ database: Database) throws {
    for stream in try Self.streams(database) { try table(of: stream)!.drop(database) }
    try database.execute(sql: "DELETE FROM drover_feed")
    try begin(database, now: numbers.pointee.now)
  }

  /// How far the feed is; nil while there is none.
  func standing(_ database: Database) throws -> FeedMemory? {
    try Row.fetchOne(database, sql: "SELECT era, newest FROM drover_feed").map {
      FeedMemory(era: $0["era"], number: $0["newest"])
    }
  }

  func beginEra(_ database: Database) throws {
    try database.execute(sql: "UPDATE drover_feed SET era = ?", arguments: [Self.newEra()])
  }

  private static func newEra() -> String { String(UInt64.random(in: .min ... .max), radix: 36) }

  /// The streams whose tables are there.
  private static func streams(_ database: Database) throws -> [StreamName] {
    try String.fetchAll(
      database,
      sql: """
        SELECT stream FROM drover_sink
         WHERE EXISTS (SELECT 1 FROM main.sqlite_master WHERE type = 'table' AND lower(name) = lower(stream)) ORDER BY stream
        """
    ).map { try StreamName($0) }
  }
}
