// What an operator should know of a table into which rows come down, for `drover doctor`.

import DroverCore
import GRDB

enum DownAdvice {
  /// Whole sentences without a full stop.
  static func on(_ table: CapturedTable, firesAppTriggers: Bool, _ database: Database) throws -> [String] {
    guard table.schema.flow.direction.goesDown else { return [] }
    return [
      try triggers(table, areFired: firesAppTriggers, database), generatedColumns(table),
    ].compactMap(\.self) + (try indexes(table, database))
  }

  private static func triggers(_ table: CapturedTable, areFired: Bool, _ database: Database) throws -> String? {
    let names = try String.fetchAll(
      database,
      sql: """
        SELECT name FROM sqlite_master
         WHERE type = 'trigger' AND lower(tbl_name) = lower(?) AND NOT \(Bookkeeping.isCapture) ORDER BY name
        """, arguments: [table.name])
    guard !names.isEmpty else { return nil }
    let list = names.joined(separator: ", ")
    return areFired
      ? "the app's triggers \(list) fire for rows that come down, on the agent's connection, which has none of the app's own functions; what they change travels up as an edit"
      : "the app's triggers \(list) do not fire for rows that come down; if one of them keeps a search index or another table up to date, set `app_triggers: on`"
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
