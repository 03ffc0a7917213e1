// Questions to SQLite's own catalogue, by table-valued PRAGMA functions: names are bound, not spliced in. (GRDB's `columns(in:)` and
// `primaryKey(_:)` do not escape a quote in a table's name.)

import GRDB

extension Database {
  /// The names of a table's columns, in order.
  func columnNames(of table: String) throws -> [String] {
    try String.fetchAll(
      self, sql: "SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid", arguments: [table])
  }

  /// The names of the columns of its declared primary key, in the key's order.
  func keyColumnNames(of table: String) throws -> [String] {
    try String.fetchAll(
      self, sql: "SELECT name FROM pragma_table_xinfo(?) WHERE pk > 0 ORDER BY pk", arguments: [table])
  }
}
