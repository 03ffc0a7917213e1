// Final records: rows of a batch that are complete. In the cloud nothing changes them any more, so an app that clears its table of them retires
// them: no delete travels. One that was not sent yet is kept for its entry when it is deleted, gets another key or leaves the filter, and each of its
// lines when that is deleted or no longer names it.
//
// All of it happens in BEFORE triggers, while the row and its lines are there. Columns are named without their table: SQLite refuses to drop a
// column that a trigger names otherwise (see `keep`), and the app's migrations must work.

import DroverCore
import GRDB

extension CapturedTable {
  /// Whether rows come to be final.
  var freezes: Bool { schema.completeWhen != nil }

  /// Whether a row is final and travels, as SQL that is 0 or 1; 0 where there is no such row, or no row ever is final.
  /// - Parameter row: SQL that reads one of its columns.
  func isFinal(_ row: (String) -> String) -> String {
    schema.completeWhen.map { holds([$0] + (travels.map { [$0] } ?? []), row) } ?? "0"
  }

  /// Whether a row travels, as SQL that is 0 or 1; nil where all do.
  func isTravelling(_ row: (String) -> String) -> String? { travels.map { holds([$0], row) } }

  /// Whether conditions hold for a row that stands in the table now.
  private func holds(_ conditions: [Condition], _ row: (String) -> String) -> String {
    let isSo = conditions.map { "(\($0.text { quoted($0) }))" }.joined(separator: " AND ")
    let names = Set(conditions.flatMap(\.columns)).sorted().map { "NULL AS \(quoted($0))" }
    let isRow = identity.map { "drover_row.\($0) IS \(row($0))" }.joined(separator: " AND ")
    return """
      (SELECT coalesce((SELECT \(isSo) FROM \(quoted(name)) AS drover_row WHERE \(isRow)), 0)
             FROM (SELECT \(names.isEmpty ? "NULL" : names.joined(separator: ", "))) AS drover_nothing)
      """
  }

  /// Whether a row has anything to say, as SQL: it travels, or no record of its key waits. To the cloud a row that does not travel is a delete, and
  /// one that overtakes the record would take its place. nil: always.
  func speaks(_ stream: Int, _ row: (String) -> String) -> String? {
    isTravelling(row).map {
      "(\($0) OR NOT EXISTS (SELECT 1 FROM drover_outbox WHERE \(match(stream, row)) AND seq IN (SELECT seq FROM drover_kept)))"
    }
  }

  /// The triggers of a table whose rows come to be final. A final row that is deleted, gets another key or leaves the filter is a record to which
  /// nothing happens any more.
  func finalTriggers(_ stream: Int, _ make: TriggerMaker, update: String, rekeyed: String) -> [Trigger] {
    let (old, new) = (keyExpressions.map { "OLD.\($0)" }, keyExpressions.map { "NEW.\($0)" })
    let isFinal = (old: isFinal { "OLD.\($0)" }, new: isFinal { "NEW.\($0)" })
    let travels = isTravelling { "NEW.\($0)" }
    let units = units(stream)
    let put = entry(stream, "put", "NEW", where: speaks(stream) { "NEW.\($0)" })
    let supersedes = supersede(stream, "NEW")
    let keeps = keepFinal(stream, isFinal.old) { "OLD.\($0)" }
    let isDelete = ["NOT \(isFinal.old)"] + (speaks(stream) { "OLD.\($0)" }.map { [$0] } ?? [])
    let leaves =
      keeps + [entry(stream, "delete", "OLD", where: isDelete.joined(separator: " AND ")), supersede(stream, "OLD")]
    let comes = units?.come(new, isFinal: isFinal.new) ?? []
    let goes = units?.go(old, freezes: true) ?? []
    // An OR REPLACE may give a row the key of another one.
    let sameKey = keyExpressions.map { "displaced.\($0) = NEW.\($0)" }.joined(separator: " AND ")
    let notItself = keyExpressions.map { "displaced.\($0) IS NOT OLD.\($0) COLLATE BINARY" }
    let others = "FROM \(quoted(name)) AS displaced WHERE \(sameKey) AND (\(notItself.joined(separator: " OR ")))"
    return [
      make("insert", "AFTER INSERT", "", [put, supersedes] + comes),
      make(
        "update", "AFTER \(update)", " WHEN NOT (\(rekeyed))",
        [put] + keepNoLonger(stream, where: travels) + [supersedes]
          + (units?.change(new, isFinal: isFinal.new, where: travels) ?? [])),
      make("rekeying", "BEFORE UPDATE", " WHEN \(rekeyed)", leaves),
      make(
        "rekeyover", "BEFORE UPDATE", " WHEN (\(rekeyed)) AND EXISTS (SELECT 1 \(others))",
        retire(stream, from: others, orEnterFrom: others)),
      make("rekey", "AFTER UPDATE", " WHEN \(rekeyed)", [put, supersedes] + goes + comes),
      make("delete", "BEFORE DELETE", "", leaves),
    ]
      // Only then has it gone: a trigger of the app's may have kept it.
      + (units == nil ? [] : [make("gone", "AFTER DELETE", "", goes)])
      + (travels == nil ? [] : [make("leaving", "BEFORE \(update)", " WHEN NOT (\(rekeyed))", keeps)])
  }

  /// Statements before a REPLACE may displace a row of this table, which keep it where it is final, and enter it as changed where it is not.
  /// - Parameters:
  ///   - others: a FROM clause with its WHERE that gives the row, `displaced`, if it is another one and about to go.
  ///   - all: the same where it may stay.
  func retire(_ stream: Int, from others: String, orEnterFrom all: String) -> [String] {
    let row = { (column: String) in "(SELECT displaced.\(column) \(others))" }
    let isFinal = isFinal(row)
    let isChanged =
      "NOT \(isFinal)" + (speaks(stream) { "(SELECT displaced.\($0) \(all))" }.map { " AND \($0)" } ?? "")
    return keepFinal(stream, isFinal, row) + (units(stream).map { [$0.mayGo(keyExpressions.map(row))] } ?? [])
      + enter(stream, keyExpressions.map { "displaced.\($0)" }, from: "\(all) AND \(isChanged)")
  }

  /// The prefix of a kept field that belongs to a line, as SQL text; the line's own name and the column's follow. No column's name is taken
  /// for it: it begins with a control character.
  /// - Parameter number: tells the stream's tables of lines apart, from 1.
  private static func linePrefix(_ number: Int) -> String { "char(1) || '\(number)' || char(1)" }

  /// Statements that keep a row for its entry that waits to be sent, where it is final.
  /// - Parameters:
  ///   - isFinal: as SQL.
  ///   - row: SQL that reads one of the row's columns.
  func keepFinal(_ stream: Int, _ isFinal: String, _ row: (String) -> String) -> [String] {
    let isKept =
      "EXISTS (SELECT 1 FROM drover_kept WHERE drover_kept.seq = drover_outbox.seq AND \(UnitHeaders.isRowField))"
    let waiting = """
      SELECT seq FROM drover_outbox WHERE \(match(stream, row)) AND op = 'put'
                     AND NOT \(isKept) AND \(Self.readsItsTable(stream, "delete"))
      """
    let isRow = identity.map { "drover_row.\($0) IS \(row($0))" }.joined(separator: " AND ")
    return Self.keep(fields(named: "", isRow: isRow, waiting, isFinal), where: "EXISTS (\(waiting)) AND \(isFinal)")
  }

  /// Statements that keep a row of this table of lines for the entries of its header that wait to be sent, where that is final.
  /// - Parameters:
  ///   - number: tells the stream's tables of lines apart, from 1.
  ///   - waiting: the entries, as a SELECT of their seq.
  ///   - row: SQL that reads one of the row's columns.
  func keepLine(_ stream: Int, _ number: Int, _ waiting: String, _ row: (String) -> String) -> [String] {
    let prefix = "\(Self.linePrefix(number)) || \(lineName(row)) || char(1) || "
    // A line may come again under its name.
    let isNew = """
      NOT EXISTS (SELECT 1 FROM drover_kept WHERE drover_kept.seq = drover_outbox.seq
                                              AND drover_kept.field = \(prefix)\(literal(schema.columns[0].name)))
      """
    let waiting = "\(waiting) AND \(isNew) AND \(Self.readsItsTable(stream, "with\(number)_delete"))"
    let isRow = identity.map { "drover_row.\($0) IS \(row($0))" }.joined(separator: " AND ")
    return Self.keep(fields(named: prefix, isRow: isRow, waiting, "1"), where: "EXISTS (\(waiting))")
  }

  /// - Parameter fields: a SELECT of seq, field and value.
  private static func keep(_ fields: String, where condition: String) -> [String] {
    [
      """
      UPDATE drover_space
           SET body_bytes = body_bytes + (SELECT ifnull(sum(ifnull(length(CAST(value AS BLOB)), 0) + \(SpaceKeeper.bytesOfField)), 0)
                                            FROM (\(fields)))
         WHERE \(condition)
      """,
      "INSERT INTO drover_kept (seq, field, value)\n    \(fields)",
    ]
  }

  /// A SELECT of seq, field and value for each column of rows of this table.
  private func fields(named prefix: String, isRow: String, _ waiting: String, _ condition: String) -> String {
    let names = schema.columns.enumerated().map { "(\($0), \(literal($1.name)))" }.joined(separator: ", ")
    let cases = expressions.enumerated().map { "WHEN \($0) THEN \($1)" }.joined(separator: " ")
    let nothing = schema.columns.filter { $0.name != StreamSchema.rowidColumn }
      .map { "NULL AS \(quoted($0.name))" }.joined(separator: ", ")
    return """
      SELECT waiting.seq AS seq, \(prefix)drover_field.column2 AS field,
                 (SELECT CASE drover_field.column1 \(cases) END FROM \(quoted(name)) AS drover_row WHERE \(isRow)) AS value
            FROM (\(waiting)) AS waiting, (SELECT \(nothing)) AS drover_nothing, (VALUES \(names)) AS drover_field
           WHERE \(condition)
      """
  }

  /// Tells a line from the others, as SQL, without a control character.
  private func lineName(_ row: (String) -> String) -> String {
    rowidName.map(row) ?? "hex(\(keyExpressions.map { "quote(\(row($0)))" }.joined(separator: " || ',' || ")))"
  }

  /// What was kept of a row that is there after all speaks of it no longer when it changes: an UPSERT or OR IGNORE that only seemed to displace it,
  /// a DELETE that the app's own trigger ignored. Where a line is gone by now, what was kept stays: the app is clearing the unit.
  /// - Parameter own: the row's newest entry before this one, as SQL.
  func stillHasLines(_ own: String) -> String {
    guard !lines.isEmpty else { return "" }
    return " AND NOT EXISTS (SELECT 1 FROM drover_kept AS line WHERE line.seq = \(own) AND unicode(line.field) = 1)"
  }

  // MARK: Keys

  /// What an operator should know of final records whose keys SQLite gives again, as whole sentences without a full stop; nil where it does not.
  func reusedKeyAdvice(_ database: Database) throws -> String? {
    guard freezes, declaredKey == nil else { return nil }
    if try mayReuseKeys(database) {
      return
        "its key \(schema.columns[schema.key[0]].name) may be used again after a complete row was deleted, and in the cloud both would be one record, of which the second is refused; name columns that are never used again (`key: [order_number]`), or declare an INTEGER PRIMARY KEY AUTOINCREMENT"
    }
    guard let lines = try lines.first(where: { try $0.mayReuseKeys(database) }) else { return nil }
    let key = keyNames
    return
      "keys of its lines in \(lines.table.name) may be used again after a complete row was deleted, and in the cloud they would be lines of that row, so the second one is refused; say that its own key is never used again (`key: [\(key)]`), or declare the lines' key INTEGER PRIMARY KEY AUTOINCREMENT"
  }

  /// The columns of its key, for people.
  var keyNames: String { schema.sourceKey.map { schema.columns[$0].name }.joined(separator: ", ") }

  /// Whether SQLite gives keys of deleted rows to new ones: an INTEGER PRIMARY KEY is the rowid, which it gives again unless AUTOINCREMENT says
  /// otherwise (https://www.sqlite.org/autoinc.html).
  func mayReuseKeys(_ database: Database) throws -> Bool {
    guard hasRowid, schema.key.count == 1,
      schema.columns[schema.key[0]].declaredType.uppercased() == "INTEGER" || isKnownByRowid
    else { return false }
    let creation = try String.fetchOne(
      database, sql: "SELECT upper(sql) FROM sqlite_master WHERE type = 'table' AND name = ?", arguments: [name])
    return creation.map { !$0.contains("AUTOINCREMENT") } ?? false
  }

  // MARK: Reading

  /// What a kept field of a line says: its table's position, the line's name, its column's; nil for a field of the row itself.
  static func lineField(_ field: [UInt8]) -> (table: Int, line: ArraySlice<UInt8>, column: ArraySlice<UInt8>)? {
    let parts = field.split(separator: 1, maxSplits: 3, omittingEmptySubsequences: false)
    guard parts.count == 4, parts[0].isEmpty, let number = Int(String(decoding: parts[1], as: UTF8.self)), number > 0
    else { return nil }
    return (number - 1, parts[2], parts[3])
  }

  /// The name of a kept field of a line, as the triggers write it.
  static func lineField(table: Int, line: String, column: String) -> String {
    "\u{1}\(table + 1)\u{1}\(line)\u{1}\(column)"
  }

  /// What stood in the way and was kept may stay after all (an UPSERT, OR IGNORE). When it changes, its newest entry before this one, which
  /// is the living row's own, speaks of the row again.
  /// - Parameter condition: whether it speaks of the row at all, as SQL; nil: it does.
  func keepNoLonger(_ stream: Int, where condition: String? = nil) -> [String] {
    let own = """
      (SELECT max(seq) FROM drover_outbox WHERE \(match(stream) { "NEW.\($0)" }) AND seq < (SELECT max(seq) FROM drover_outbox))
      """
    let isSo = stillHasLines(own) + (condition.map { " AND \($0)" } ?? "")
    return [
      """
      UPDATE drover_space
           SET body_bytes = body_bytes - (SELECT ifnull(sum(ifnull(length(CAST(value AS BLOB)), 0) + \(SpaceKeeper.bytesOfField)), 0)
                                            FROM drover_kept WHERE seq = \(own))
         WHERE EXISTS (SELECT 1 FROM drover_kept WHERE seq = \(own))\(isSo)
      """,
      "DELETE FROM drover_kept WHERE seq = \(own)\(isSo)",
    ]
  }
}
