// What an operator should know of a table into which rows come down, for `drover doctor`.

import DroverCore
import GRDB

enum DownAdvice {
  /// Whole sentences without a full stop.
  static func on(_ table: CapturedTable, firesAppTriggers: Bool, _ database: Database) throws -> [String] {
    guard table.schema.flow.direction.goesDown else { return [] }
    return [
      try triggers(table, areFired: firesAppTriggers, database), generatedColumns(table),
      try uniques(table, database), try required(table, database), try countedKey(table, database),
    ].compactMap(\.self) + (try indexes(table, database))
  }

  private static func triggers(_ table: CapturedTable, areFired: Bool, _ database: Database) throws -> String? {
    let rows = try Row.fetchAll(
      database,
      sql: """
        SELECT name, sql FROM sqlite_master
         WHERE type = 'trigger' AND lower(tbl_name) = lower(?) AND NOT \(Bookkeeping.isCapture) ORDER BY name
        """, arguments: [table.name])
    let names = rows.map { $0["name"] as String }
    guard !names.isEmpty else { return nil }
    let list = names.joined(separator: ", ")
    let searched = try String.fetchAll(
      database,
      sql: "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL TABLE%' ORDER BY name"
    ).filter { index in rows.contains { mentions(index, $0["sql"]) } }
    if !areFired, !searched.isEmpty {
      return
        "the app's triggers \(list) do not fire for rows that come down, so the search index \(searched.joined(separator: ", ")) does not know them; set `app_triggers: on`"
    }
    return areFired
      ? "the app's triggers \(list) fire for rows that come down, on the agent's connection, which has none of the app's own functions; what they change travels up as an edit"
      : "the app's triggers \(list) do not fire for rows that come down; if one of them keeps a search index or another table up to date, set `app_triggers: on`"
  }

  /// Whether the SQL of a trigger names a table as a word.
  private static func mentions(_ table: String, _ sql: String) -> Bool {
    let isPart = { (character: Character) in character.isLetter || character.isNumber || character == "_" }
    return sql.ranges(of: table).contains { range in
      let before = range.lowerBound == sql.startIndex ? nil : sql[sql.index(before: range.lowerBound)]
      let after = range.upperBound == sql.endIndex ? nil : sql[range.upperBound]
      return !(before.map(isPart) ?? false) && !(after.map(isPart) ?? false)
    }
  }

  /// Unique indexes beside that of the key.
  private static func uniques(_ table: CapturedTable, _ database: Database) throws -> String? {
    let key = Set(table.keyExpressions)
    let indexes = try Row.fetchAll(
      database, sql: "SELECT name FROM pragma_index_list(?) WHERE \"unique\" ORDER BY name", arguments: [table.name]
    ).compactMap { index -> String? in
      let parts = try Row.fetchAll(
        database, sql: "SELECT name FROM pragma_index_xinfo(?) WHERE key ORDER BY seqno", arguments: [index["name"]])
      let columns = parts.map { ($0["name"] as String?) ?? "an expression" }
      return Set(columns.map(quoted)) == key ? nil : columns.joined(separator: ", ")
    }
    guard !indexes.isEmpty else { return nil }
    let list = indexes.map { "(\($0))" }.joined(separator: ", ")
    return
      "a row that comes down with the unique values \(list) of another row here becomes a dead letter (`drover dead list`), and the two sides differ until one of the rows changes"
  }

  /// Columns that the app's table requires and the cloud's does not.
  private static func required(_ table: CapturedTable, _ database: Database) throws -> String? {
    let key = Set(table.schema.sourceKey.map { SQLName(table.schema.columns[$0].name) })
    let names = try String.fetchAll(
      database, sql: "SELECT name FROM pragma_table_info(?) WHERE \"notnull\" ORDER BY cid", arguments: [table.name]
    ).filter { !key.contains(SQLName($0)) }
    guard !names.isEmpty else { return nil }
    return
      "its columns \(names.joined(separator: ", ")) are NOT NULL here and not in the cloud: a row that is inserted there without a value for each of them becomes a dead letter here"
  }

  /// A key that each side counts up for itself says nothing about a thing.
  private static func countedKey(_ table: CapturedTable, _ database: Database) throws -> String? {
    guard table.schema.flow.isKeyNatural, table.schema.sourceKey.count == 1, table.hasRowid,
      let key = table.schema.sourceKey.first.map({ table.schema.columns[$0] }),
      key.declaredType.uppercased() == "INTEGER",
      try Bool.fetchOne(
        database, sql: "SELECT pk > 0 FROM pragma_table_info(?) WHERE lower(name) = lower(?)",
        arguments: [table.name, key.name]) == true
    else { return nil }
    return
      "its key \(key.name) is INTEGER PRIMARY KEY, which SQLite counts up by itself, and `natural_key: true` makes one row of two that got the same number on the two sides; leave out `natural_key` unless the app chooses the numbers"
  }

  private static func generatedColumns(_ table: CapturedTable) -> String? {
    let writable = Set(table.writable.map(SQLName.init))
    let names = table.schema.columns.map(\.name).filter { !writable.contains(SQLName($0)) }
    guard !names.isEmpty else { return nil }
    return
      "its generated columns \(names.joined(separator: ", ")) are computed anew when a row comes down, and the cloud gets what was computed; an edit of them in the cloud has no effect"
  }

  /// Foreign keys whose children are looked for row by row.
  private static func indexes(_ table: CapturedTable, _ database: Database) throws -> [String] {
    try ForeignKey.all(database).filter { SQLName($0.parent) == SQLName(table.name) }.compactMap { foreign in
      let wanted = Set(foreign.childColumns.map(SQLName.init))
      let indexes = try Row.fetchAll(database, sql: "PRAGMA main.index_list(\(quoted(foreign.child)))")
        .filter { ($0["partial"] as Int) == 0 }
      var isIndexed = try database.firstKeyColumn(of: foreign.child).map { wanted.contains(SQLName($0)) } ?? false
      for index in indexes {
        let first =
          try Row.fetchAll(database, sql: "PRAGMA main.index_info(\(quoted(index["name"])))").first?["name"] as String?
        if let first, wanted.contains(SQLName(first)) { isIndexed = true }
      }
      guard !isIndexed else { return nil }
      let columns = foreign.childColumns.joined(separator: ", ")
      return
        "each deleted row of \(table.name) that comes down reads the whole table \(foreign.child), which refers to it; make an index on \(foreign.child) (\(columns))"
    }
  }
}
