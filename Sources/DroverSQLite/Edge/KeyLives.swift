// Keys that a table of facts uses again. SQLite gives the ID of a deleted row to another one, and to the cloud both would be one fact. So
// Drover remembers the highest key that was ever left, one value for each stream. A row that comes with a key not above it gets a
// mark at random, its life, which is part of its identity from then on. The mark goes with its row, so that there are at most as many as rows.

import DroverCore
import GRDB

/// The marks of one stream's table, and the SQL that gives, reads and forgets them.
struct KeyLives: Equatable {
  /// The stream's number.
  let stream: Int
  /// Whether rows get marks. Where the operator says by which columns a fact is known, those that have one keep it, and no other gets one.
  let areGiven: Bool
  /// Where the marks are.
  var table: String { Self.table(stream: stream) }

  static func table(stream: Int) -> String { "drover_life_\(stream)" }

  /// The outbox's column for the life of the row that an entry speaks of.
  static let outboxColumn = "life"

  /// In a query of sqlite_master: the tables of marks.
  static let isTable = "(type = 'table' AND name GLOB 'drover_life_[0-9]*' AND sql LIKE '%drover_key1%')"

  /// Greater than any key: SQLite sorts blobs behind texts and numbers (https://www.sqlite.org/datatype3.html, section 4.1).
  static let everyKey = "x'ffffffffffffffffffffffffffffffff'"

  static func column(_ index: Int) -> String { "drover_key\(index + 1)" }

  /// What an operator should know of a table whose keys are used again.
  static func advice(_ table: CapturedTable) -> String {
    let key = table.schema.sourceKey.map { table.schema.columns[$0].name }.joined(separator: ", ")
    return """
      keys of deleted rows may be used again, so rows that come with such a key get a mark, \(StreamSchema.lifeColumn), which tells them from the earlier ones in the cloud; where columns tell rows apart for ever, name them, for example `key: [\(key), measured_at]`, or declare the key INTEGER PRIMARY KEY AUTOINCREMENT
      """
  }

  /// The same for a stream as the database has it, attached or not; empty where no key was used again.
  static func advice(on table: CapturedTable, _ stream: StreamName, _ database: Database) throws -> [String] {
    guard table.declaredKey == nil, table.schema.kind == .payload, try database.tableExists("drover_stream"),
      try has("left_key", "drover_stream", database),
      try Bool.fetchOne(database, sql: "SELECT lives FROM drover_stream WHERE name = ?", arguments: [stream.text])
        == true
    else { return [] }
    return [advice(table)]
  }

  // MARK: Tables

  /// Gives the outbox and the streams what older versions did not know.
  /// - Returns: whether the streams' columns were added just now.
  static func widenBookkeeping(_ database: Database) throws -> Bool {
    if try !has(outboxColumn, "drover_outbox", database) {
      try database.execute(sql: "ALTER TABLE drover_outbox ADD COLUMN \(outboxColumn) TEXT NOT NULL DEFAULT ''")
    }
    // The highest key that was in the table when something of it was confirmed, where SQLite gives the keys.
    if try !has("high_key", "drover_stream", database) {
      try database.execute(sql: "ALTER TABLE drover_stream ADD COLUMN high_key INTEGER")
    }
    guard try !has("left_key", "drover_stream", database) else { return false }
    // The highest first part of a key that a row was deleted with, or left; and whether any key was used again.
    try database.execute(sql: "ALTER TABLE drover_stream ADD COLUMN left_key")
    try database.execute(sql: "ALTER TABLE drover_stream ADD COLUMN lives INTEGER NOT NULL DEFAULT 0")
    return true
  }

  private static func has(_ column: String, _ table: String, _ database: Database) throws -> Bool {
    try database.catalogue(of: table).contains { $0.name == SQLName(column) }
  }

  /// Drops marks of rows that were displaced past the triggers and whose keys were not used again.
  func dropLooseMarks(of captured: CapturedTable, _ database: Database) throws {
    guard captured.canBeDisplaced else { return }
    let isRow = captured.keyExpressions.enumerated().map {
      "\(quoted(captured.name)).\($1) = \(table).\(Self.column($0))"
    }
    try database.execute(
      sql: """
        DELETE FROM \(table) WHERE NOT EXISTS (SELECT 1 FROM \(quoted(captured.name)) WHERE \(isRow.joined(separator: " AND ")))
        """)
  }

  /// Makes the table of marks where it is missing, or was made for another number of key columns.
  func makeTable(keyColumns: Int, _ database: Database) throws {
    let keys = (0..<keyColumns).map(Self.column)
    let creation = """
      CREATE TABLE \(table) (\(keys.joined(separator: ", ")), drover_life TEXT NOT NULL, drover_same INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (\(keys.joined(separator: ", ")))) WITHOUT ROWID
      """
    let present = try String.fetchOne(database, sql: "SELECT sql FROM sqlite_master WHERE name = ?", arguments: [table])
    guard present != creation else { return }
    try database.execute(sql: "DROP TABLE IF EXISTS \(table)")
    try database.execute(sql: creation)
    // Where only this table was dropped, what waits still knows its marks.
    let columns = (0..<keyColumns).map(Bookkeeping.keyColumn)
    guard try keyColumns <= database.catalogue(of: "drover_outbox").count(where: { $0.name.text.hasPrefix("key") })
    else { return }
    try database.execute(
      sql: """
        INSERT OR REPLACE INTO \(table) (\(keys.joined(separator: ", ")), drover_life)
        SELECT \(columns.joined(separator: ", ")), \(Self.outboxColumn) FROM drover_outbox
         WHERE stream = \(stream) AND body IS NULL AND op = 'put' AND life <> '' AND seq NOT IN (SELECT seq FROM drover_kept)
           AND \(columns.map { "\($0) IS NOT NULL" }.joined(separator: " AND ")) ORDER BY seq
        """)
  }

  /// Keys that were used before this version of Drover knew of lives: all up to as many as there were facts, where some are gone by now.
  /// SQLite counts keys up from the table's highest, so it has given none above that.
  func assumeLeftKeys(of captured: CapturedTable, _ database: Database) throws {
    let entries =
      try Int64.fetchOne(
        database,
        sql: """
          SELECT confirmed + (SELECT count(*) FROM drover_outbox WHERE stream = ?1 AND seq > confirmed_through)
            FROM drover_stream WHERE number = ?1
          """, arguments: [stream]) ?? 0
    let rows = try Int64.fetchOne(database, sql: "SELECT count(*) FROM \(quoted(captured.name))") ?? 0
    guard entries > rows, let first = captured.keyExpressions.first else { return }
    let column = captured.schema.columns[captured.schema.key[0]]
    let highest =
      captured.schema.sourceKey.count == 1 && column.affinity == .integer
      ? "max(\(entries), ifnull((SELECT max(\(first)) FROM \(quoted(captured.name))), 0))" : Self.everyKey
    try database.execute(
      sql: "UPDATE drover_stream SET left_key = \(highest) WHERE number = ? AND left_key IS NULL", arguments: [stream])
  }

  /// With a new epoch the database may have gone back: what was inserted since then is gone, and its keys are given again.
  static func assumeEveryKeyIsLeft(_ database: Database) throws {
    try database.execute(
      sql: "UPDATE drover_stream SET left_key = \(everyKey) WHERE kind = 'payload' AND table_name IS NOT NULL")
  }

  /// Facts that came after everything that was ever handed out were never sent, and their keys may have been, with rows that a restore took away.
  /// So they get marks, as rows do that come later.
  /// - Parameter version: the highest that was given when something was handed out last.
  func giveMarks(toUnsentOf captured: CapturedTable, after version: Int64, _ database: Database) throws {
    guard areGiven else { return }
    let keys = captured.schema.sourceKey.indices.map(Bookkeeping.keyColumn)
    let entries = """
      stream = \(stream) AND body IS NULL AND op = 'put' AND life = '' AND version > \(version)
         AND \(keys.map { "\($0) IS NOT NULL" }.joined(separator: " AND "))
      """
    let isKept = "seq IN (SELECT seq FROM drover_kept)"
    try database.execute(
      sql: """
        INSERT INTO \(table) (\(keys.indices.map(Self.column).joined(separator: ", ")), drover_life)
        SELECT DISTINCT \(keys.joined(separator: ", ")), lower(hex(randomblob(8))) FROM drover_outbox
         WHERE \(entries) AND NOT \(isKept) AND NOT EXISTS (SELECT 1 FROM \(table) WHERE \(isMark(of: keys)))
        """)
    try database.execute(
      sql: """
        UPDATE drover_outbox SET life = CASE WHEN \(isKept) THEN lower(hex(randomblob(8))) ELSE \(life(of: keys)) END
         WHERE \(entries)
        """)
    // Drover's own connection fires no triggers.
    guard database.changesCount > 0 else { return }
    try database.execute(sql: "UPDATE drover_stream SET lives = 1 WHERE number = \(stream)")
  }

  /// Whether versions that put no digest of their triggers down made no trigger of this name for facts.
  static func isNewTrigger(_ name: String) -> Bool {
    ["again", "left", "stays", "lives", "rekey", "rekeying", "rekeyover", "leaving", "displace0_update"].contains {
      name.hasSuffix("_\($0)")
    }
  }

  // MARK: SQL

  /// The life of a row of the table, as an expression.
  /// - Parameter key: expressions of its key.
  func life(of key: [String]) -> String {
    "ifnull((SELECT drover_life FROM \(table) WHERE \(isMark(of: key))), '')"
  }

  /// The unary plus takes the column's affinity and collation away.
  func isMark(of key: [String]) -> String {
    key.enumerated().map { "\(Self.column($0)) = +\($1)" }.joined(separator: " AND ")
  }

  /// Whether a key may have been left before: it is not above the highest that was. The first part is compared; so of a wider key more than
  /// needed get a mark, and none that needs one goes without.
  func mayBeLeft(_ key: [String]) -> String {
    "+\(key[0]) <= (SELECT left_key FROM drover_stream WHERE number = \(stream)) COLLATE BINARY"
  }

  /// Whether an inserted row may need a mark; without that, its key has never had one.
  func mayNeedMark(_ key: [String]) -> String { areGiven ? "ifnull(\(mayBeLeft(key)), 0)" : "0" }

  /// Statements after a row has got a key that may have been left before: it gets a mark. A mark that is still there is of a row that
  /// went past the triggers, unless the row was there up to now: a REPLACE changes a fact, and the changed fact is the same one.
  func take(_ key: [String]) -> [String] {
    guard areGiven else { return [] }
    let columns = key.indices.map(Self.column).joined(separator: ", ")
    let isWhole = key.map { "\($0) IS NOT NULL" }.joined(separator: " AND ")
    return [
      "DELETE FROM \(table) WHERE \(isMark(of: key)) AND NOT drover_same",
      "UPDATE \(table) SET drover_same = 0 WHERE \(isMark(of: key))",
      """
      INSERT INTO \(table) (\(columns), drover_life)
          SELECT \(key.joined(separator: ", ")), lower(hex(randomblob(8)))
           WHERE \(mayBeLeft(key)) AND \(isWhole) AND NOT EXISTS (SELECT 1 FROM \(table) WHERE \(isMark(of: key)))
      """,
    ]
  }

  /// Statements after a row has got another key.
  func move(from old: [String], to new: [String]) -> [String] {
    leave(old) + ["DELETE FROM \(table) WHERE \(isMark(of: new))"] + take(new)
  }

  /// Statements after a row has left its key.
  func leave(_ key: [String]) -> [String] {
    ["DELETE FROM \(table) WHERE \(isMark(of: key))"] + noteLeft(key)
  }

  private func noteLeft(_ key: [String]) -> [String] {
    guard areGiven else { return [] }
    return [
      """
      UPDATE drover_stream SET left_key = \(key[0])
         WHERE number = \(stream) AND (left_key IS NULL OR left_key < +\(key[0]) COLLATE BINARY)
      """
    ]
  }

  /// Statements before a row may be displaced by one with another key. Where it stays after all, it is only cautious.
  func mayLeave(_ key: [String]) -> [String] {
    areGiven ? ["UPDATE \(table) SET drover_same = 0 WHERE \(isMark(of: key)) AND drover_same"] + noteLeft(key) : []
  }

  /// Before a row is inserted with a key that another one has: when it applies, and the statements that note that the row stays the same fact.
  func stays(_ key: [String], exists: String) -> (when: String, statements: [String])? {
    guard areGiven else { return nil }
    let columns = key.indices.map(Self.column).joined(separator: ", ")
    return (
      "\(mayBeLeft(key)) AND \(exists)",
      [
        """
        INSERT INTO \(table) (\(columns), drover_life)
            SELECT \(key.joined(separator: ", ")), '' WHERE NOT EXISTS (SELECT 1 FROM \(table) WHERE \(isMark(of: key)))
        """,
        "UPDATE \(table) SET drover_same = 1 WHERE \(isMark(of: key))",
      ]
    )
  }

  /// The trigger by which the first mark makes the agent describe the stream anew.
  var trigger: (name: String, sql: String) {
    let name = "drover_\(stream)_lives"
    return (
      name,
      """
      CREATE TRIGGER \(name) AFTER INSERT ON \(table) WHEN NEW.drover_life <> '' AND (SELECT lives FROM drover_stream WHERE number = \(stream)) = 0 BEGIN
        UPDATE drover_stream SET lives = 1 WHERE number = \(stream);
      END
      """
    )
  }
}
