// The headers of a stream with lines, as its triggers know them. SQLite refuses to rename a table while a trigger of another one names a table that is
// not there (https://www.sqlite.org/lang_altertable.html), and every migration that makes a table anew renames one. So no trigger on the table of the
// lines may name the header's, nor the other way round. The header's triggers note in a table of Drover's which headers there are and which
// of them are final, and the lines' triggers look there.

import DroverCore
import GRDB

struct UnitHeaders: Equatable {
  let stream: Int
  /// How many columns the header's key has.
  let keyColumns: Int

  var table: String { "drover_unit_\(stream)" }
  private var columns: [String] { (0..<keyColumns).map(Bookkeeping.keyColumn) }

  /// In a query of sqlite_master: these tables.
  static let isTable = "(type = 'table' AND name GLOB 'drover_unit_[0-9]*' AND sql LIKE '%is_gone%')"

  /// - Returns: whether it was made just now, so that it has to be filled.
  func makeTable(_ database: Database) throws -> Bool {
    // Without a primary key: a header's may hold NULL, and no write of the app's may fail here.
    let sql = """
      CREATE TABLE \(table) (
        \(columns.joined(separator: ", ")),
        -- Complete, so that what goes of it is kept and no change.
        is_final INTEGER NOT NULL,
        -- Final and deleted; it is known for as long as an entry of it waits to be sent, for its lines may go after it.
        is_gone  INTEGER NOT NULL,
        -- Entries from this number on are of this header, and not of an earlier one with its key.
        born     INTEGER NOT NULL
      )
      """
    let present = try String.fetchOne(
      database, sql: "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", arguments: [table])
    guard present != sql else { return false }
    try database.execute(sql: "DROP TABLE IF EXISTS \(table)")
    try database.execute(sql: sql)
    try database.execute(sql: "CREATE INDEX \(table)_key ON \(table) (\(columns.joined(separator: ", ")))")
    try database.execute(sql: "CREATE INDEX \(table)_gone ON \(table) (is_gone) WHERE is_gone")
    return true
  }

  /// Notes the headers that there are. Triggers saw none of those that came while there were no triggers.
  func fill(_ header: CapturedTable, _ database: Database) throws {
    let isHeader = zip(columns, header.keyExpressions).map {
      "app.\($1) = \(table).\($0) AND app.\($1) IS \(table).\($0) COLLATE BINARY"
    }
    // A final header that no longer travels is gone, though it stands in its table.
    let isThere = isHeader + (header.travels.map { ["(\($0.text { "app.\(quoted($0))" }))"] } ?? [])
    try database.execute(sql: "DELETE FROM \(table) WHERE NOT is_gone")
    try database.execute(
      sql: """
        DELETE FROM \(table)
         WHERE EXISTS (SELECT 1 FROM \(quoted(header.name)) AS app WHERE \(isThere.joined(separator: " AND ")))
        """)
    let keys = header.keyExpressions.map { "app.\($0)" }
    let conditions = [header.schema.completeWhen, header.travels].compactMap { $0?.text { "app.\(quoted($0))" } }
    let isFinal =
      header.freezes ? "coalesce(\(conditions.map { "(\($0))" }.joined(separator: " AND ")), 0) <> 0" : "0"
    let isSame = zip(columns, keys).map { "entry.\($0) IS +\($1)" }
    try database.execute(
      sql: """
        INSERT INTO \(table) (\(columns.joined(separator: ", ")), is_final, is_gone, born)
        SELECT \(keys.joined(separator: ", ")), \(isFinal), 0,
               ifnull((SELECT max(entry.seq) + 1 FROM drover_outbox AS entry
                        WHERE entry.stream = \(stream) AND entry.body IS NULL AND entry.life = '' AND \(isSame.joined(separator: " AND "))
                          AND EXISTS (SELECT 1 FROM drover_kept WHERE drover_kept.seq = entry.seq AND \(Self.isRowField))), 0)
          FROM \(quoted(header.name)) AS app
         WHERE NOT EXISTS (SELECT 1 FROM \(table) WHERE \(isKey(keys)))
        """)
  }

  /// In a query of drover_kept: a field of the header itself. Those of lines begin with a control character.
  static let isRowField = "unicode(drover_kept.field) IS NOT 1"

  /// Forgets headers that are gone as soon as nothing of them waits.
  func dropLooseHeaders(_ database: Database) throws {
    let isSame = columns.map { "entry.\($0) IS \(table).\($0)" }
    try database.execute(
      sql: """
        DELETE FROM \(table)
         WHERE is_gone AND NOT EXISTS (
           SELECT 1 FROM drover_outbox AS entry
            WHERE entry.stream = \(stream) AND entry.body IS NULL AND entry.life = '' AND \(isSame.joined(separator: " AND "))
              AND entry.seq >= \(table).born)
        """)
  }

  /// Finds a header whose lines an entry has, though the header itself was kept.
  var findOfEntry: String {
    let isKey = columns.indices.map { "\(columns[$0]) IS ?\($0 + 1)" }
    return "SELECT 1 FROM \(table) WHERE \(isKey.joined(separator: " AND ")) AND born <= ?\(keyColumns + 1)"
  }

  // MARK: In triggers

  /// The unary plus takes the column's affinity away, so that the index on the untyped columns can be used.
  private func isKey(_ values: [String]) -> String {
    zip(columns, values).map { "\(table).\($0) IS +\($1)" }.joined(separator: " AND ")
  }

  /// Statements for a header that has come, after its entry.
  /// - Parameters:
  ///   - key: the parts of its key, as SQL.
  ///   - isFinal: whether it is final, as SQL that is 0 or 1; nil where none ever is.
  func come(_ key: [String], isFinal: String?) -> [String] {
    let insert = insert(key, isFinal: isFinal ?? "0")
    guard let isFinal else { return [insert] }
    return [
      "DELETE FROM \(table) WHERE \(isKey(key)) AND is_gone",
      "UPDATE \(table) SET is_final = \(isFinal) WHERE \(isKey(key))", insert,
    ]
  }

  private func insert(_ key: [String], isFinal: String) -> String {
    """
    INSERT INTO \(table) (\(columns.joined(separator: ", ")), is_final, is_gone, born)
        SELECT \(key.joined(separator: ", ")), \(isFinal), 0, (SELECT max(seq) FROM drover_outbox)
         WHERE NOT EXISTS (SELECT 1 FROM \(table) WHERE \(isKey(key)))
    """
  }

  /// Statements for a header that has changed: what seemed to be displaced is there after all.
  /// - Parameter travels: whether it travels, as SQL that is 0 or 1; nil where all do. A final one that does not is gone.
  func change(_ key: [String], isFinal: String, where travels: String?) -> [String] {
    let change = "UPDATE \(table) SET is_final = \(isFinal), is_gone = 0 WHERE \(isKey(key))"
    guard let travels else { return [change] }
    return [
      "\(mayGo(key)) AND NOT \(travels)", "\(change) AND \(travels)", "\(insert(key, isFinal: isFinal)) AND \(travels)",
    ]
  }

  /// Statements for a header that is deleted.
  func go(_ key: [String], freezes: Bool) -> [String] {
    guard freezes else { return ["DELETE FROM \(table) WHERE \(isKey(key))"] }
    return [mayGo(key), "DELETE FROM \(table) WHERE \(isKey(key)) AND NOT is_final"]
  }

  /// The statement for a final header that is deleted or may be displaced.
  func mayGo(_ key: [String]) -> String {
    "UPDATE \(table) SET is_gone = 1 WHERE \(isKey(key)) AND is_final"
  }

  /// The header that a line names, as the end of a SELECT, under the name `header`.
  /// - Parameters:
  ///   - references: what of the line names it, as SQL.
  ///   - others: what else is in the FROM clause, with a comma behind it.
  func named(by references: [String], _ others: String = "") -> String {
    let names = zip(columns, references).map { "header.\($0) = +\($1)" }
    return "FROM \(others)\(table) AS header WHERE \(names.joined(separator: " AND "))"
  }

  /// The entries of a header that wait, where it is final: what goes of its lines is kept for them.
  /// - Parameter header: the end of a SELECT, as `named` gives it.
  func waiting(_ header: String) -> String {
    let isSame = columns.map { "\($0) IS (SELECT header.\($0) \(header))" }
    return """
      SELECT seq FROM drover_outbox
             WHERE stream = \(stream) AND body IS NULL AND life = '' AND \(isSame.joined(separator: " AND ")) AND op = 'put'
               AND (SELECT header.is_final AND drover_outbox.seq >= header.born \(header))
      """
  }

  /// The header's key, as `enter` enters it.
  var key: [String] { columns.map { "header.\($0)" } }
}

extension CapturedTable {
  /// nil for a table without lines.
  func units(_ stream: Int) -> UnitHeaders? {
    lines.isEmpty ? nil : UnitHeaders(stream: stream, keyColumns: schema.sourceKey.count)
  }
}
