// A sink column holds what a source declares as one type, until a source declares another. The affinity of a column changes what is stored
// in it (https://www.sqlite.org/datatype3.html, section 3): '5' from a text column becomes 5 in a column of integers, and 5.0 too. So a column
// that values of another affinity come to is made one without any, which keeps whatever comes. The rows stay as they are, bit for bit.
// In the same way a table's key gets `drover_life` once a machine has used keys of facts again.

import DroverCore
import GRDB

struct SinkWidening {
  private let database: Database
  private let table: String

  init(_ database: Database, table: String) {
    self.database = database
    self.table = table
  }

  /// Makes the table anew: SQLite cannot alter a column's type, nor a key.
  /// - Parameters:
  ///   - retyped: columns that would change a value.
  ///   - tellsLives: whether its key gets `drover_life`.
  ///   - defaults: what an INSERT that does not name a column gives it, as SQL.
  func run(_ retyped: Set<SQLName>, tellsLives: Bool, defaults: [SQLName: String] = [:]) throws {
    guard !retyped.isEmpty || tellsLives || !defaults.isEmpty else { return }
    let rows = try Row.fetchAll(database, sql: "PRAGMA main.table_info(\(quoted(table)))")
    let columns: [DroverCore.Column] = rows.map { row in
      .init(name: row["name"], declaredType: retyped.contains(SQLName(row["name"])) ? "" : row["type"])
    }
    let key = rows.filter { $0["pk"] > 0 }.sorted { ($0["pk"] as Int) < $1["pk"] }.map { $0["name"] as String }
    let life = StreamSchema.lifeColumn
    var definitions = zip(columns, rows).map { column, row in
      guard SQLName(column.name) != SQLName(life) else { return SinkTable.definition(column) }
      let value = defaults[SQLName(column.name)] ?? row["dflt_value"] as String?
      return SinkTable.definition(column) + (row["notnull"] == 1 ? " NOT NULL" : "")
        + (value.map { " DEFAULT \($0.first == "'" || Int64($0) != nil ? $0 : "(\($0))")" } ?? "")
    }
    if tellsLives {
      // Before the columns that are never NULL, as in a new table: SQLite 3.40 finds NULL in columns of that kind which stand before a part of the
      // key in a table without rowid, and calls the database damaged.
      let place = columns.firstIndex { SQLName($0.name) == SQLName("drover_epoch") } ?? columns.endIndex
      definitions.insert(SinkTable.definition(.init(name: life, declaredType: "TEXT")), at: place)
    }
    try remake(definitions, key: tellsLives ? key + [life] : key, copying: columns.map(\.name))
  }

  /// Copied there and back instead of renamed, so that foreign views of the table stay valid.
  /// - Parameter present: the columns that are there.
  private func remake(_ definitions: [String], key: [String], copying present: [String]) throws {
    let names = present.map(quoted).joined(separator: ", ")
    let others = try String.fetchAll(
      database,
      sql: """
        SELECT sql FROM main.sqlite_master
         WHERE lower(tbl_name) = lower(?) AND type IN ('index', 'trigger') AND sql IS NOT NULL ORDER BY type, name
        """, arguments: [table])
    func creation(_ name: String) -> String {
      """
      CREATE TABLE main.\(name) (
        \(definitions.joined(separator: ",\n  ")),
        PRIMARY KEY (\(key.map(quoted).joined(separator: ", ")))
      ) WITHOUT ROWID
      """
    }
    let copy = "drover_widened"
    try database.execute(sql: creation(copy))
    try database.execute(sql: "INSERT INTO main.\(copy) (\(names)) SELECT \(names) FROM main.\(quoted(table))")
    try database.execute(sql: "DROP TABLE main.\(quoted(table))")
    try database.execute(sql: creation(quoted(table)))
    try database.execute(sql: "INSERT INTO main.\(quoted(table)) SELECT * FROM main.\(copy)")
    try database.execute(sql: "DROP TABLE main.\(copy)")
    // Indexes and triggers of other programs, which the copying was no reason for.
    for sql in others { try database.execute(sql: sql) }
  }
}
