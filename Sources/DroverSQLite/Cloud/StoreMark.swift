// A person's edit is a commit of another program, and it changes rows alone. What the consumer has read of the bookkeeping and the statements that it has
// prepared stay good then. So the store has a mark, drawn by chance whenever a table changes that the consumer keeps in memory: no matter who changes it, and
// with whatever version of Drover. The schema has one of SQLite's own (https://www.sqlite.org/pragma.html#pragma_schema_version).

import DroverCore
import GRDB

struct StoreMark: Equatable {
  private var schema: Int64
  private var bookkeeping: String

  /// What `SQLiteCloudStore.Cache` holds of tables, and whose rows an edit never touches. Tombstones are not among them: a mark for each delete would
  /// cost a drain something.
  private static let tables = [
    "drover_epoch", "drover_sink", "drover_schema", "drover_schema_column", "drover_schema_line", "drover_identity",
    "drover_identity_member", "drover_flow", "drover_since", "drover_lost_decision",
  ]

  private static let name = "bookkeeping_mark"

  static let migration =
    "INSERT INTO drover_meta (name, value) VALUES ('\(name)', random());\n"
    + tables.flatMap { table in
      ["INSERT", "UPDATE", "DELETE"].map { event in
        """
        CREATE TRIGGER drover_mark_\(event.lowercased())_\(table) AFTER \(event) ON \(table) BEGIN
          UPDATE drover_meta SET value = random() WHERE name = '\(name)';
        END;
        """
      }
    }.joined(separator: "\n")

  /// nil where the mark is gone: then everything may have changed.
  init?(_ database: Database) throws {
    schema = try Int64.fetchOne(database.cachedStatement(sql: "PRAGMA schema_version"))!
    let mark = try String.fetchOne(
      database.cachedStatement(sql: "SELECT value FROM drover_meta WHERE name = '\(Self.name)'"))
    guard let mark else { return nil }
    bookkeeping = mark
  }
}
