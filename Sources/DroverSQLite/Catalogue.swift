// Questions to SQLite's own catalogue, by PRAGMA statements with quoted names. GRDB's `columns(in:)` and `primaryKey(_:)` do not escape
// a quote in a table's name and remember what a rollback has taken back; the table-valued functions would be hidden by a table of their name.

import GRDB

extension Database {
  /// A table's columns in order: the name in lower case, and its place in the declared primary key, from 1, or 0.
  func catalogue(of table: String) throws -> [(name: String, keyPosition: Int)] {
    try Row.fetchAll(self, sql: "PRAGMA main.table_info(\(quoted(table)))")
      .map { ((($0["name"] as String).lowercased(), $0["pk"])) }
  }

  /// The first column of its declared primary key.
  func firstKeyColumn(of table: String) throws -> String? {
    try Row.fetchAll(self, sql: "PRAGMA main.table_info(\(quoted(table)))").first { $0["pk"] == 1 }?["name"]
  }
}
