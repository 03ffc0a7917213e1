// A column that was dropped and added again. Its table's schema is what it was, no trigger sees that the values are gone, and the cloud would go on
// showing them. ADD COLUMN puts a column behind all others and gives each row the default. So if the schema was changed and the last column
// holds nothing but its default, the cloud compares the stream with the table.

import DroverCore
import GRDB

extension EdgeDatabase {
  private static let schemaVersionName = "schema_version"
  /// A table may have a column that is never used, and an app may change its schema all the time.
  private static let columnLookPause: Int64 = 3_600_000_000

  /// Whether another program has changed the schema since the agent looked last. It is asked before the agent changes anything itself.
  func isSchemaTouched(_ database: Database) throws -> Bool {
    let noted = try Int64.fetchOne(
      database, sql: "SELECT value FROM drover_meta WHERE name = ?", arguments: [Self.schemaVersionName])
    guard let noted else { return false }
    return try Int64.fetchOne(database, sql: "PRAGMA schema_version") != noted
  }

  func noteSchemaVersion(_ database: Database) throws {
    let version = try Int64.fetchOne(database, sql: "PRAGMA schema_version") ?? -1
    let noted = try Int64.fetchOne(
      database, sql: "SELECT value FROM drover_meta WHERE name = ?", arguments: [Self.schemaVersionName])
    guard noted != version else { return }
    try database.execute(
      sql: "INSERT OR REPLACE INTO drover_meta (name, value) VALUES (?, ?)",
      arguments: [Self.schemaVersionName, version])
  }

  /// Names a gap where the last column of a table may be new. Facts are not compared: nothing overwrites them in the cloud.
  func lookForNewColumn(_ table: CapturedTable, stream: Int, _ database: Database) throws {
    // All rows are on their way anyway while they are brought.
    guard table.schema.kind != .payload,
      try String.fetchOne(database, sql: "SELECT backfill FROM drover_stream WHERE number = ?", arguments: [stream])
        == "done",
      let last = try Row.fetchOne(
        database,
        sql: "SELECT name, dflt_value, pk, hidden FROM pragma_table_xinfo(?) ORDER BY cid DESC LIMIT 1",
        arguments: [table.name]),
      last["pk"] == 0, last["hidden"] == 0
    else { return }
    let column: String = last["name"]
    guard table.schema.columns.contains(where: { SQLName($0.name) == SQLName(column) }) else { return }
    let initial = (last["dflt_value"] as String?) ?? "NULL"
    let isNew = try Bool.fetchOne(
      database,
      sql: """
        SELECT EXISTS (SELECT 1 FROM \(quoted(table.name)))
           AND NOT EXISTS (SELECT 1 FROM \(quoted(table.name)) WHERE \(quoted(column)) IS NOT (\(initial)))
        """)!
    guard isNew else { return }
    let now = try Int64.fetchOne(database, sql: "SELECT \(Bookkeeping.wallClock)")!
    if let last = columnLooks[stream], (0..<Self.columnLookPause).contains(now &- last) { return }
    columnLooks[stream] = now
    try database.execute(
      sql: "UPDATE drover_capture SET gap = ? WHERE stream = ?",
      arguments: [Epoch(random: .random(in: .min ... .max)).text, stream])
  }
}
