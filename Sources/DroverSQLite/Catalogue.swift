// Questions to SQLite's own catalogue, by PRAGMA statements with quoted names. GRDB's `columns(in:)` and `primaryKey(_:)` do not escape
// a quote in a table's name and remember what a rollback has taken back; the table-valued functions would be hidden by a table of their name.

import DroverCore
import GRDB

extension Database {
  /// Whether a table or view has this name, as SQLite compares names; GRDB compares them as Swift does.
  func hasTable(_ name: String) throws -> Bool { try !catalogue(of: name).isEmpty }

  /// A table's columns in order: the name, the declared type, and its place in the declared primary key, from 1, or 0.
  func catalogue(of table: String) throws -> [(name: SQLName, type: String, keyPosition: Int)] {
    try Row.fetchAll(self, sql: "PRAGMA main.table_info(\(quoted(table)))")
      .map { (SQLName($0["name"]), $0["type"], $0["pk"]) }
  }

  /// The first column of its declared primary key.
  func firstKeyColumn(of table: String) throws -> String? {
    try Row.fetchAll(self, sql: "PRAGMA main.table_info(\(quoted(table)))").first { $0["pk"] == 1 }?["name"]
  }
}
