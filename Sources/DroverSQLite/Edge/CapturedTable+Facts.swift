// Facts: rows of which each is one event for ever. One that the app deletes, overwrites under another key or has leave the stream's filter before it
// was sent is kept for its entry. A change of its other columns, or a REPLACE of the same key, changes the fact.

import DroverCore
import GRDB

extension CapturedTable {
  /// The triggers of facts.
  func factTriggers(_ stream: Int, _ make: TriggerMaker, update: String, rekeyed: String) -> [Trigger] {
    let table = quoted(name)
    let (new, old) = (keyExpressions.map { "NEW.\($0)" }, keyExpressions.map { "OLD.\($0)" })
    let put = entry(stream, "put", "NEW", where: speaks(stream) { "NEW.\($0)" })
    let supersedes = supersede(stream, "NEW") + " AND seq NOT IN (SELECT seq FROM drover_kept)"
    let travels = isTravelling { "NEW.\($0)" }
    let changed =
      [put] + (canBeDisplaced || travels != nil ? keepNoLonger(stream, where: travels) : []) + [supersedes]
    func displacing(_ name: String, _ event: String, _ others: String, when: String = "") -> Trigger {
      let key = keyExpressions.map { "(SELECT displaced.\($0) \(others))" }
      return make(
        "displace\(name)_\(event)", "BEFORE \(event.uppercased())", " WHEN \(when)EXISTS (SELECT 1 \(others))",
        keepDisplaced(stream, others) + (lives?.mayLeave(key) ?? []))
    }
    func others(_ isInTheWay: String, than own: String) -> String {
      let notItself = keyExpressions.map { "displaced.\($0) IS NOT \(own).\($0) COLLATE BINARY" }
      return "FROM \(table) AS displaced WHERE \(isInTheWay) AND (\(notItself.joined(separator: " OR ")))"
    }
    let keepOld = keep(stream, filter: isTravelling { "OLD.\($0)" }) { "OLD.\($0)" }
    let keeping =
      [make("keep", "BEFORE DELETE", "", keepOld), make("rekeying", "BEFORE UPDATE", " WHEN \(rekeyed)", keepOld)]
      // A row that leaves the filter was a fact before.
      + (travels == nil ? [] : [make("leaving", "BEFORE \(update)", " WHEN NOT (\(rekeyed))", keepOld)])
      + uniques.enumerated().flatMap { index, parts in
        zip(["insert", "update"], ["NEW", "OLD"]).map { event, own in
          displacing("\(index + 1)", event, others(Self.sameParts(parts), than: own))
        }
      }
    guard let lives else {
      return keeping + [
        make("insert", "AFTER INSERT", "", [put]),
        make("update", "AFTER \(update)", " WHEN NOT (\(rekeyed))", changed),
        make("rekey", "AFTER UPDATE", " WHEN \(rekeyed)", [put, supersedes]),
      ]
    }
    let mayNeedMark = lives.mayNeedMark(new)
    // The first finds the row by the key's index, and the second is by bytes.
    let sameKey = keyExpressions.map { "displaced.\($0) = NEW.\($0)" }.joined(separator: " AND ")
    let isItself = keyExpressions.map { " AND displaced.\($0) IS NEW.\($0) COLLATE BINARY" }.joined()
    // Before an INSERT a rowid that SQLite has yet to give reads as -1; then no row can be in its place.
    let isGiven = hasRowid && keyExpressions.count == 1 ? "NEW.\(keyExpressions[0]) IS NOT -1 AND " : ""
    let stays = lives.stays(new, exists: "EXISTS (SELECT 1 FROM \(table) AS displaced WHERE \(sameKey)\(isItself))")
    return keeping + [
      make("insert", "AFTER INSERT", " WHEN NOT \(mayNeedMark)", [entry(stream, "put", "NEW", isFirstLife: true)]),
      make("again", "AFTER INSERT", " WHEN \(mayNeedMark)", lives.take(new) + [put]),
      make("update", "AFTER \(update)", " WHEN NOT (\(rekeyed))", changed),
      make("rekey", "AFTER UPDATE", " WHEN \(rekeyed)", lives.move(from: old, to: new) + [put, supersedes]),
      displacing("0", "update", others(sameKey, than: "OLD"), when: "(\(rekeyed)) AND "),
      make("left", "AFTER DELETE", "", lives.leave(old)),
    ] + (stays.map { [make("stays", "BEFORE INSERT", " WHEN \(isGiven)\($0.when)", $0.statements)] } ?? [])
  }

  /// Statements that keep the row that a REPLACE is about to displace.
  private func keepDisplaced(_ stream: Int, _ others: String) -> [String] {
    let row = { (column: String) in "(SELECT displaced.\(column) \(others))" }
    return keep(stream, filter: isTravelling(row), row)
  }

  /// Statements that keep a fact for its entry that waits to be sent.
  ///
  /// SQLite refuses to drop a column that a trigger names and does not find any more. So columns are named without their table, where a
  /// name that the row does not have is looked for around it, and found to be NULL. A VALUES clause, because a compound SELECT has at most
  /// 500 parts (https://www.sqlite.org/lang_select.html#the_values_clause). What a CASE gives has no affinity: '007' stays a text.
  /// - Parameters:
  ///   - filter: whether the row travels, as SQL.
  ///   - old: SQL that reads one of the row's columns.
  private func keep(_ stream: Int, filter: String?, _ old: (String) -> String) -> [String] {
    // A row's life stands in its entry.
    let columns = schema.columns.prefix(schema.columns.count - (schema.tellsLives ? 1 : 0))
    let names = columns.enumerated().map { "(\($0), \(literal($1.name)))" }.joined(separator: ", ")
    let cases = expressions.prefix(columns.count).enumerated().map { "WHEN \($0) THEN \($1)" }.joined(separator: " ")
    let nothing = columns.filter { $0.name != StreamSchema.rowidColumn }
      .map { "NULL AS \(quoted($0.name))" }.joined(separator: ", ")
    // A key may be NULL in several rows.
    let isRow = identity.map { "drover_row.\($0) IS \(old($0))" }.joined(separator: " AND ")
    let value =
      "(SELECT CASE drover_field.column1 \(cases) END FROM \(quoted(name)) AS drover_row WHERE \(isRow))"
    let fields = "(SELECT \(nothing)) AS drover_nothing, (VALUES \(names)) AS drover_field"
    let waiting = """
      SELECT seq FROM drover_outbox WHERE \(match(stream, old))
                     AND seq NOT IN (SELECT seq FROM drover_kept) AND \(Self.readsItsTable(stream, "keep"))
      """
    return [
      """
      UPDATE drover_space
           SET body_bytes = body_bytes + (SELECT count(*) FROM (\(waiting)))
             * (SELECT sum(ifnull(length(CAST(\(value) AS BLOB)), 0) + \(SpaceKeeper.bytesOfField)) FROM \(fields))
         WHERE EXISTS (\(waiting))\(filter.map { " AND (\($0))" } ?? "")
      """,
      """
      INSERT INTO drover_kept (seq, field, value)
          SELECT waiting.seq, drover_field.column2, \(value)
            FROM (\(waiting)) AS waiting, \(fields)\(filter.map { " WHERE \($0)" } ?? "")
      """,
    ]
  }
}
