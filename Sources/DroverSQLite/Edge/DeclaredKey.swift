// The columns by which the configuration says a table's rows are known, `key:`, held against what the table promises of them.

import DroverCore
import GRDB

struct DeclaredKey: Equatable {
  /// Whether they are the table's primary key, in its own order.
  let isPrimaryKey: Bool
  /// Whether the table promises that no two rows have one key.
  let isUnique: Bool
  /// What an operator should know: whole sentences without a full stop.
  let warnings: [String]

  /// - Parameters:
  ///   - key: its columns, which are there.
  ///   - nullable: those that may be NULL.
  init(
    _ database: Database, table: String, key: [String], primaryKey: [String], nullable: [String], isRowidTable: Bool
  ) throws {
    let names = key.map(SQLName.init)
    isPrimaryKey = names == primaryKey.map(SQLName.init)
    let indexes = try Row.fetchAll(
      database, sql: "SELECT name, \"unique\" AS isUnique FROM pragma_index_list(?) WHERE NOT partial",
      arguments: [table])
    var isUnique = !primaryKey.isEmpty && Set(primaryKey.map(SQLName.init)).isSubset(of: names)
    var isIndexed = primaryKey.first.map { names.contains(SQLName($0)) } ?? false
    for index in indexes {
      let parts = try Row.fetchAll(
        database, sql: "SELECT name FROM pragma_index_xinfo(?) WHERE key ORDER BY seqno",
        arguments: [index["name"] as String]
      ).map { ($0["name"] as String?).map(SQLName.init) }
      if let first = parts.first, let first, names.contains(first) { isIndexed = true }
      if index["isUnique"] == 1, parts.allSatisfy({ part in part.map(names.contains) ?? false }) { isUnique = true }
    }
    let list = key.joined(separator: ", ")
    var warnings: [String] = []
    if !isUnique {
      warnings.append(
        "nothing keeps its key \(list) unique, and it cannot be captured while two rows have one key; make a UNIQUE index on \(list), or name more columns in `key`"
      )
    }
    if !isIndexed {
      warnings.append("each of its events reads the whole table; make an index on \(list)")
    }
    if !nullable.isEmpty {
      warnings.append(
        "\(nullable.joined(separator: ", ")) of its key may be NULL, and a row where it is becomes a dead letter; declare it NOT NULL, or name other columns in `key`"
      )
    }
    self.isUnique = isUnique
    self.warnings = warnings
    guard !isUnique else { return }
    let columns = key.map(quoted).joined(separator: ", ")
    let hasTwins = try Bool.fetchOne(
      database,
      sql: """
        SELECT EXISTS (SELECT 1 FROM \(quoted(table)) WHERE \(key.map { "\(quoted($0)) IS NOT NULL" }.joined(separator: " AND "))
                        GROUP BY \(columns) HAVING count(*) > 1)
        """)!
    guard !hasTwins else {
      throw CaptureRefusal(
        "two rows of \(table) have the same \(list), which is their key, so the cloud could not distinguish them",
        advice: "remove one and make a UNIQUE index on \(list), or name more columns in `key`"
      )
    }
  }
}
