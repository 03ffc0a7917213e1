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

  /// Makes the table anew if a column of it would change a value of the schema's. SQLite cannot alter a column's type.
  /// - Returns: whether that was so.
  @discardableResult
  func run(for schema: StreamSchema) throws -> Bool {
    let rows = try Row.fetchAll(database, sql: "PRAGMA main.table_info(\(quoted(table)))")
    var columns: [DroverCore.Column] = rows.map { .init(name: $0["name"], declaredType: $0["type"]) }
    var isWidened = false
    for column in schema.columns where SQLName(column.name) != SQLName(StreamSchema.lifeColumn) {
      guard let index = columns.firstIndex(where: { SQLName($0.name) == SQLName(column.name) }),
        !columns[index].keeps(column)
      else { continue }
      columns[index] = DroverCore.Column(name: columns[index].name, declaredType: "")
      isWidened = true
    }
    let key = rows.filter { $0["pk"] > 0 }.sorted { ($0["pk"] as Int) < $1["pk"] }.map { $0["name"] as String }
    let life = StreamSchema.lifeColumn
    let getsLife = schema.tellsLives && !key.contains(life)
    guard isWidened || getsLife else { return false }
    let definitions = zip(columns, rows).map { column, row in
      SinkTable.definition(column) + (row["notnull"] == 1 && column.name != life ? " NOT NULL" : "")
    }
    try remake(
      definitions, key, lifeAfter: getsLife ? columns.map(\.name) : nil)
    return true
  }

  /// Copied there and back instead of renamed: what somebody's views say of the table stays true.
  /// - Parameter present: the columns that are there, where the table gets `drover_life`.
  private func remake(_ definitions: [String], _ key: [String], lifeAfter present: [String]?) throws {
    let life = DroverCore.Column(name: StreamSchema.lifeColumn, declaredType: "TEXT")
    let definitions = definitions + (present == nil ? [] : [SinkTable.definition(life)])
    let key = key + (present == nil ? [] : [life.name])
    let given = present.map { " (\($0.map(quoted).joined(separator: ", ")))" } ?? ""
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
    try database.execute(sql: "INSERT INTO main.\(copy)\(given) SELECT * FROM main.\(quoted(table))")
    try database.execute(sql: "DROP TABLE main.\(quoted(table))")
    try database.execute(sql: creation(quoted(table)))
    try database.execute(sql: "INSERT INTO main.\(quoted(table)) SELECT * FROM main.\(copy)")
    try database.execute(sql: "DROP TABLE main.\(copy)")
    // Indexes of whoever looks things up here, and triggers, which the copying was no reason for.
    for sql in others { try database.execute(sql: sql) }
  }
}
