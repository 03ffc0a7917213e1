// Facts of a table that takes the place of another one. Its rows may be the old table's, brought over by a migration, or new facts under keys
// that are counted from 1 again. Only what can be proven to be a copy is one: a fact that is sent twice can be found, one that is taken for
// another is lost.

import DroverCore
import GRDB

extension KeyLives {
  /// Gives marks to the rows of a table that has come to the place of the captured one, where they are other facts under used keys. It comes before
  /// the triggers are put, because only they tell where the old table is.
  /// - Returns: what an operator should know of it; nil where the table is the one that was captured.
  func follow(_ captured: CapturedTable, _ database: Database) throws -> String? {
    let triggers = try Row.fetchAll(
      database,
      sql: """
        SELECT name, tbl_name FROM sqlite_master
         WHERE type = 'trigger' AND name GLOB 'drover_\(stream)_*' AND tbl_name <> ? AND \(Bookkeeping.isCapture)
        """, arguments: [table])
    let old = triggers.first { $0["name"] == "drover_\(stream)_insert" }?["tbl_name"] as String?
    let isKnown = try Bool.fetchOne(
      database, sql: "SELECT schema_id IS NOT NULL FROM drover_stream WHERE number = ?", arguments: [stream])!
    var said: String?
    if isKnown {
      if let old {
        if SQLName(old) != SQLName(captured.name) { said = try follow(captured, from: old, database) }
      } else if triggers.isEmpty {
        said = try followDropped(captured, database)
      }
    }
    try noteHighestKey(of: captured, database)
    return said
  }

  /// The old table is still there under another name.
  private func follow(_ captured: CapturedTable, from old: String, _ database: Database) throws -> String {
    let keys = captured.keyExpressions
    if try isCopy(captured, of: old, database) {
      let isCopied = keys.map { "old.\($0) = new.\($0)" }.joined(separator: " AND ")
      try giveMarks(
        to: captured, unless: "EXISTS (SELECT 1 FROM \(quoted(old)) AS old WHERE \(isCopied))", database)
      return "it holds all rows of \(old), so they stay the same facts"
    }
    // Old keys may have been in a table that was made otherwise.
    if try hasColumns(keys, old, captured, database) {
      try database.execute(
        sql: """
          UPDATE drover_stream SET left_key = highest.key
            FROM (SELECT \(keys[0]) AS key FROM \(quoted(old)) ORDER BY +\(keys[0]) COLLATE BINARY DESC LIMIT 1) AS highest
           WHERE number = \(stream) AND (left_key IS NULL OR left_key < highest.key COLLATE BINARY)
          """)
    } else {
      try database.execute(sql: "UPDATE drover_stream SET left_key = \(Self.everyKey) WHERE number = \(stream)")
    }
    try beginAnew(captured, database)
    return "it is no copy of \(old), so its rows are facts of their own, also under keys that were used before"
  }

  /// The old table is gone. Where its highest row was there to the end and the new table does not reach its key, the new one is no copy.
  /// Otherwise nothing tells a copy from a new beginning, and the rows that are there count as the old ones.
  private func followDropped(_ captured: CapturedTable, _ database: Database) throws -> String {
    let columns = captured.schema.sourceKey.map { captured.schema.columns[$0].name }.joined(separator: ", ")
    let isUnclear = """
      it was dropped and made again, and nothing on this machine tells whether its rows are the old ones; they count as such, so a new fact under a used key is a dead letter (conflict), or is taken for the old one if all its values are the same; rename such a table instead of dropping it, or name columns that are never used again, for example `key: [\(columns), measured_at]`
      """
    guard captured.hasGivenKey else { return isUnclear }
    let key = captured.keyExpressions[0]
    let row = try Row.fetchOne(
      database,
      sql: """
        SELECT highest.key AS key, ifnull(highest.key > left_key, 1) AND highest.key > ifnull((SELECT max(\(key)) FROM \(quoted(captured.name))), highest.key - 1) AS isNew
          FROM drover_stream, (SELECT max(key) AS key FROM (
            SELECT high_key AS key FROM drover_stream WHERE number = \(stream)
             UNION ALL SELECT key FROM drover_outbox WHERE stream = \(stream) AND body IS NULL AND op = 'put')) AS highest
         WHERE number = \(stream) AND highest.key IS NOT NULL
        """)
    guard let row else { return isUnclear }
    try database.execute(
      sql: "UPDATE drover_stream SET left_key = ?1 WHERE number = \(stream) AND (left_key IS NULL OR left_key < ?1)",
      arguments: [row["key"] as DatabaseValue])
    guard row["isNew"] else { return isUnclear }
    try beginAnew(captured, database)
    return
      "it was dropped and made again, and its keys begin anew, so its rows are facts of their own, also under keys that were used before"
  }

  /// No row is one of the old table's.
  private func beginAnew(_ captured: CapturedTable, _ database: Database) throws {
    try database.execute(sql: "DELETE FROM \(table)")
    try giveMarks(to: captured, unless: "0", database)
  }

  /// - Parameter isSame: whether the row, `new`, is one of the old table's, as SQL.
  private func giveMarks(to captured: CapturedTable, unless isSame: String, _ database: Database) throws {
    let keys = captured.keyExpressions.map { "new.\($0)" }
    let columns = keys.indices.map(Self.column).joined(separator: ", ")
    try database.execute(
      sql: """
        INSERT INTO \(table) (\(columns), drover_life)
        SELECT \(keys.joined(separator: ", ")), lower(hex(randomblob(8))) FROM \(quoted(captured.name)) AS new
         WHERE \(mayBeLeft(keys)) AND \(keys.map { "\($0) IS NOT NULL" }.joined(separator: " AND "))
           AND NOT (\(isSame)) AND NOT EXISTS (SELECT 1 FROM \(table) WHERE \(isMark(of: keys)))
        """)
    // Drover's own connection fires no triggers.
    guard database.changesCount > 0 else { return }
    try database.execute(sql: "UPDATE drover_stream SET lives = 1 WHERE number = \(stream)")
  }

  /// Whether a table holds every row of another one, and their contents are such that it cannot have come to that by itself: rows of one
  /// content under keys that are counted are alike in any two tables.
  private func isCopy(_ captured: CapturedTable, of old: String, _ database: Database) throws -> Bool {
    let keys = captured.keyExpressions
    guard try hasColumns(keys, old, captured, database) else { return false }
    let oldColumns = Set(try database.columns(in: old).map { SQLName($0.name) })
    let flag = captured.syncedColumn.map { SQLName($0) }
    let common = try database.columns(in: captured.name)
      .filter { oldColumns.contains(SQLName($0.name)) && SQLName($0.name) != flag }
    let counted = Set(
      captured.schema.sourceKey.map { captured.schema.columns[$0] }
        .filter { $0.affinity != .text && $0.affinity != .blob }.map { SQLName($0.name) })
    let contents = common.filter { !counted.contains(SQLName($0.name)) }.map { quoted($0.name) }
    guard !contents.isEmpty,
      try Int.fetchOne(
        database,
        sql:
          "SELECT count(*) FROM (SELECT DISTINCT \(contents.joined(separator: ", ")) FROM \(quoted(old)) LIMIT 2)")
        == 2
    else { return false }
    var isSame =
      keys.map { "new.\($0) = old.\($0)" } + common.map { "new.\(quoted($0.name)) IS old.\(quoted($0.name))" }
    if let flag = captured.syncedColumn, oldColumns.contains(SQLName(flag)) {
      // A copy has the flag of its row, and the agent may have set it since.
      isSame.append("(new.\(quoted(flag)) IS old.\(quoted(flag)) OR NOT coalesce(old.\(quoted(flag)), 0))")
    }
    return try Bool.fetchOne(
      database,
      sql: """
        SELECT NOT EXISTS (SELECT 1 FROM \(quoted(old)) AS old WHERE NOT EXISTS (
          SELECT 1 FROM \(quoted(captured.name)) AS new WHERE \(isSame.joined(separator: " AND "))))
        """)!
  }

  /// Whether the old table has what a row of the new one is known by.
  private func hasColumns(
    _ keys: [String], _ old: String, _ captured: CapturedTable, _ database: Database
  ) throws -> Bool {
    if captured.isKnownByRowid {
      return try Bool.fetchOne(
        database, sql: "SELECT NOT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?", arguments: [old])
        ?? false
    }
    let names = Set(try database.columns(in: old).map { SQLName($0.name) })
    return captured.schema.sourceKey.allSatisfy { names.contains(SQLName(captured.schema.columns[$0].name)) }
  }

  /// Writes down how far SQLite has given keys: what a row leaves its table with is noted by the triggers, but not by DROP TABLE.
  func noteHighestKey(of captured: CapturedTable, _ database: Database) throws {
    guard areGiven, captured.hasGivenKey else { return }
    try database.cachedStatement(
      sql: """
        UPDATE drover_stream SET high_key = highest.key
          FROM (SELECT max(\(captured.keyExpressions[0])) AS key FROM \(quoted(captured.name))) AS highest
         WHERE number = \(stream) AND highest.key > ifnull(high_key, highest.key - 1)
        """
    ).execute()
  }
}

extension CapturedTable {
  /// Whether SQLite gives its keys, counting from the highest that is there: its key is the rowid.
  fileprivate var hasGivenKey: Bool {
    guard hasRowid, schema.sourceKey.count == 1 else { return false }
    return isKnownByRowid || schema.columns[schema.sourceKey[0]].declaredType.uppercased() == "INTEGER"
  }
}
