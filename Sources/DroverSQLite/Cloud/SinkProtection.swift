// Refuses what any client but Drover would write into the sink tables of streams that only go up, where the operator says so (`protect`). A column that a
// person has added stays that person's. docs/decisions/0055-who-may-edit-what-only-goes-up.md has the reasons and the cost.

import DroverCore
import GRDB

struct SinkProtection {
  let database: Database
  let pins: StreamPins

  /// Every trigger's name begins so.
  static let prefix = "drover_protect_"

  static func isPresent(_ database: Database) throws -> Bool {
    try Bool.fetchOne(
      database,
      sql:
        "SELECT EXISTS (SELECT 1 FROM main.sqlite_master WHERE type = 'trigger' AND substr(name, 1, \(prefix.utf8.count)) = '\(prefix)')"
    )!
  }

  /// Makes and drops triggers until they are what the configuration says. A table that cannot be changed now is left for the next time.
  func settle() throws {
    var present: [String: [String: String]] = [:]
    for row in try Row.fetchAll(
      database,
      sql: """
        SELECT name, lower(tbl_name) AS owner, sql FROM main.sqlite_master
         WHERE type = 'trigger' AND substr(name, 1, \(Self.prefix.utf8.count)) = '\(Self.prefix)'
        """)
    {
      present[row["owner"], default: [:]][row["name"]] = row["sql"]
    }
    let sinks = try Row.fetchAll(database, sql: "SELECT stream, form, header FROM drover_sink ORDER BY stream")
    var wanted: [String: [String: String]] = [:]
    for sink in sinks {
      let stream: String = sink["stream"]
      guard try isProtected(stream, header: sink["header"]) else { continue }
      wanted[SQLName(stream).text] = try triggers(stream, isTable: sink["form"] == "table")
    }
    let changed = Set(present.keys).union(wanted.keys).sorted().filter { present[$0] != wanted[$0] }
    // All are dropped first: a table that was put aside has taken the names along.
    for table in changed {
      for name in (present[table] ?? [:]).keys { try database.execute(sql: "DROP TRIGGER main.\(quoted(name))") }
    }
    for table in changed {
      do {
        try database.inSavepoint {
          for sql in (wanted[table] ?? [:]).values { try database.execute(sql: sql) }
          return .commit
        }
      } catch let error as DatabaseError where error.isOfOneSink {
        continue
      }
    }
  }

  private func isProtected(_ stream: String, header: String?) throws -> Bool {
    guard let name = try? StreamName(stream), pins.protects(name, header: try? header.map { try StreamName($0) }) else {
      return false
    }
    // The triggers of a table whose rows go down refuse what they have to themselves.
    return try Bool.fetchOne(
      database,
      sql: """
        SELECT NOT EXISTS (SELECT 1 FROM drover_flow WHERE lower(stream) = lower(?1))
           AND EXISTS (SELECT 1 FROM main.sqlite_master WHERE type = 'table' AND lower(name) = lower(?1))
        """, arguments: [stream])!
  }

  /// By their names.
  private func triggers(_ stream: String, isTable: Bool) throws -> [String: String] {
    let known = Set(
      try String.fetchAll(
        database,
        sql: """
          SELECT name FROM drover_schema_column WHERE lower(stream) = lower(?1)
          UNION SELECT name FROM drover_schema_line WHERE lower(table_name) = lower(?1)
          """, arguments: [stream]
      ).map { SQLName($0) } + (isTable ? [] : SinkTable.bodyColumns.map { SQLName($0) }))
    let columns = try database.catalogue(of: stream).filter { column in
      column.keyPosition > 0 || known.contains(column.name) || Self.isDrovers(column.name)
    }.map { quoted($0.name.text) }
    let sentence = literal(StreamPins.protection(of: stream))
    return Dictionary(
      uniqueKeysWithValues: [
        ("insert", "INSERT"), ("update", "UPDATE OF \(columns.joined(separator: ", "))"), ("delete", "DELETE"),
      ].map { event, when in
        let name = "\(Self.prefix)\(event)_\(stream)"
        return (
          name,
          """
          CREATE TRIGGER \(quoted(name)) AFTER \(when) ON \(quoted(stream)) WHEN NOT EXISTS (SELECT 1 FROM drover_writer) BEGIN
            SELECT RAISE(ABORT, \(sentence));
          END
          """
        )
      })
  }

  private static func isDrovers(_ name: SQLName) -> Bool {
    name == SQLName("machine_id") || name.text.utf8.starts(with: "drover_".utf8)
  }
}
