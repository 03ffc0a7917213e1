// A child table whose rows travel with their header: what it looks like, how a header's lines are read, and the triggers by which a change
// of a line becomes an event of its header. The line itself is never an event.

import DroverCore
import GRDB

struct CapturedLines: Equatable {
  let table: CapturedTable
  let schema: LineSchema
  /// Whether SQLite finds a header's lines without reading the whole table.
  let isIndexed: Bool

  /// Reads a child table. Returns nil when there is none of that name.
  /// - Parameter header: the header's table, without its lines.
  static func inspect(
    _ database: Database, _ declaration: LinesDeclaration, header: CapturedTable
  ) throws -> CapturedLines? {
    let own = StreamDeclaration(name: declaration.table, kind: .batch)
    guard let table = try CapturedTable.read(database, declaration.table.text, own) else { return nil }
    let references = try references(database, declaration, table, header)
    let columns = references.map { SQLName(table.schema.columns[$0].name) }
    let firstIndexed = try String.fetchAll(
      database,
      sql: """
        SELECT part.name FROM pragma_index_list(?) AS list, pragma_index_xinfo(list.name) AS part
         WHERE part.seqno = 0 AND part.name IS NOT NULL AND NOT list.partial
        """, arguments: [table.name]
    ).map(SQLName.init)
    do throws(InvalidName) {
      return CapturedLines(
        table: table,
        schema: try LineSchema(
          table: declaration.table, columns: table.schema.columns,
          key: header.declaredKey == nil ? table.schema.key : Self.key(within: references, table),
          references: references),
        isIndexed: columns.contains(where: firstIndexed.contains) || table.schema.key == references)
    } catch {
      throw CaptureRefusal("\(table.name): \(error.message)")
    }
  }

  /// A header with a declared key is never the same as another one, while its lines' own keys may begin anew with each cycle: in the cloud a line is
  /// known by its header and its own key.
  private static func key(within references: [Int], _ table: CapturedTable) -> [Int] {
    references + table.schema.key.filter { !references.contains($0) }
  }

  /// Whether SQLite may give the keys of its deleted rows again, and nothing tells the lines of one header from those of another.
  func mayReuseKeys(_ database: Database) throws -> Bool {
    guard Set(schema.references).isDisjoint(with: schema.rows.key) else { return false }
    return try table.mayReuseKeys(database)
  }

  /// For each part of the header's key the position of the column that refers to it: as declared, or by the one foreign key.
  private static func references(
    _ database: Database, _ declaration: LinesDeclaration, _ table: CapturedTable, _ header: CapturedTable
  ) throws -> [Int] {
    let headerKey = header.schema.key.map { header.schema.columns[$0].name }
    guard headerKey != [StreamSchema.rowidColumn] else {
      throw CaptureRefusal(
        "\(header.name) has no primary key that lines could refer to", advice: "give it a primary key")
    }
    var pairs = declaration.references.map { ($0.column, $0.header) }
    if pairs.isEmpty {
      let parts = try Row.fetchAll(
        database,
        sql: """
          SELECT id, seq, "from", "to" FROM pragma_foreign_key_list(?) WHERE lower("table") = lower(?) ORDER BY id, seq
          """, arguments: [table.name, header.name])
      guard Set(parts.map { $0["id"] as Int }).count == 1 else {
        throw CaptureRefusal(
          "\(table.name) declares \(parts.isEmpty ? "no foreign key" : "several foreign keys") to \(header.name)",
          advice: "say which column names it, for example `references: {\(header.name)_id: \(headerKey[0])}`")
      }
      pairs = parts.map { part in
        let position: Int = part["seq"]
        return (part["from"], part["to"] ?? (headerKey.indices.contains(position) ? headerKey[position] : ""))
      }
    }
    let positions = try headerKey.map { key in
      guard let (column, _) = pairs.first(where: { SQLName($0.1) == SQLName(key) }) else {
        throw CaptureRefusal(
          "\(table.name) refers to other columns of \(header.name) than its key \(headerKey.joined(separator: ", "))")
      }
      guard let index = table.schema.columns.firstIndex(where: { SQLName($0.name) == SQLName(column) }) else {
        throw CaptureRefusal("\(table.name) has no column \(column), which `references` names")
      }
      return index
    }
    guard pairs.count == positions.count else {
      throw CaptureRefusal(
        "\(table.name) refers to other columns of \(header.name) than its key \(headerKey.joined(separator: ", "))")
    }
    return positions
  }

  /// The lines of the header whose key is bound, in their own order.
  var select: String {
    let isOfHeader = schema.references.enumerated().map { "\(table.expressions[$1]) = ?\($0 + 1)" }
    return """
      SELECT \(table.expressions.joined(separator: ", ")) FROM \(quoted(table.name))
       WHERE \(isOfHeader.joined(separator: " AND ")) ORDER BY \(table.keyExpressions.joined(separator: ", "))
      """
  }

  // MARK: Triggers

  /// Name and SQL of each trigger by which a change of a line enters its header, which is entered as changed and read when it is sent.
  /// A line whose header is not there enters nothing: the header's own triggers enter it when it comes, and have when it went.
  /// They name this table and Drover's own, and never the header's (`UnitHeaders`).
  /// - Parameters:
  ///   - stream: the header's.
  ///   - number: tells the stream's tables of lines apart.
  func triggers(stream: Int, number: Int, header: CapturedTable) -> [(name: String, sql: String)] {
    let units = UnitHeaders(stream: stream, keyColumns: header.schema.sourceKey.count)
    func make(_ event: String, _ timing: String, _ when: String, _ statements: [String]) -> (name: String, sql: String)
    {
      let name = "drover_\(stream)_with\(number)_\(event)"
      let body = statements.map { "  \($0);\n" }.joined()
      return (name, "CREATE TRIGGER \(name) \(timing) ON \(quoted(table.name)) WHEN \(when) BEGIN\n\(body)END")
    }
    /// The header that a line names, as the end of a SELECT.
    func headers(of line: String, _ others: String = "") -> String {
      units.named(by: schema.references.map { "\(line).\(table.expressions[$0])" }, others)
    }
    func enter(_ event: String, _ timing: String, _ headers: String, when: String = "") -> (name: String, sql: String) {
      let there = "\(headers) AND NOT header.is_gone"
      return make(
        event, timing, "\(when)EXISTS (SELECT 1 \(there))",
        header.enter(stream, units.key, from: there, isThere: true))
    }
    let moved = schema.references.map {
      "OLD.\(table.expressions[$0]) IS NOT NEW.\(table.expressions[$0]) COLLATE BINARY"
    }
    let isMoved = "(\(moved.joined(separator: " OR "))) AND "
    /// A line that is about to leave its header takes nothing from one that is complete: it is kept for the header's entry.
    func retire(
      _ event: String, _ timing: String, _ headers: String, when: String = "", unless stays: String = "",
      _ row: (String) -> String
    ) -> (name: String, sql: String) {
      guard header.freezes else { return enter(event, timing, headers, when: when) }
      let isChanged = "\(headers) AND NOT header.is_gone AND NOT header.is_final"
      return make(
        event, timing, "\(when)EXISTS (SELECT 1 \(headers))",
        table.keepLine(stream, number, units.waiting(headers + (stays.isEmpty ? "" : " AND NOT \(stays)")), row)
          + header.enter(stream, units.key, from: isChanged))
    }
    // What is to be kept has to be there still.
    let timing = header.freezes ? "BEFORE" : "AFTER"
    var triggers = [
      enter("insert", "AFTER INSERT", headers(of: "NEW")),
      enter("update", "AFTER UPDATE", headers(of: "NEW")),
      retire("move", "\(timing) UPDATE", headers(of: "OLD"), when: isMoved) { "OLD.\($0)" },
      retire("delete", "\(timing) DELETE", headers(of: "OLD")) { "OLD.\($0)" },
    ]
    if header.freezes {
      // A complete header that was deleted keeps its lines as they were then, whatever the app uses their rows for afterwards.
      let gone = "\(headers(of: "OLD")) AND header.is_gone"
      triggers.append(
        make(
          "late", "BEFORE UPDATE", "NOT (\(moved.joined(separator: " OR "))) AND EXISTS (SELECT 1 \(gone))",
          table.keepLine(stream, number, units.waiting(gone)) { "OLD.\($0)" }))
    }
    // A REPLACE takes lines away from their headers without firing their DELETE triggers, through the key too; and what an UPSERT's
    // trigger says of the old row may be wrong. So the header of whatever stands in the way is entered beforehand.
    let key = table.schema.key.map {
      CapturedTable.UniquePart(expression: table.expressions[$0], collation: "BINARY")
    }
    let notItself = table.keyExpressions.map { "displaced.\($0) IS NOT OLD.\($0) COLLATE BINARY" }
      .joined(separator: " OR ")
    // A line that takes the place of one of the same header changes that header.
    let isOfSame = zip(units.key, schema.references).map { "\($0) IS +NEW.\(table.expressions[$1])" }
    let stays = "(\(isOfSame.joined(separator: " AND ")))"
    for (index, parts) in ([key] + table.uniques).enumerated() {
      let others =
        headers(of: "displaced", "\(quoted(table.name)) AS displaced, ") + " AND \(CapturedTable.sameParts(parts))"
      let otherThanItself = "\(others) AND (\(notItself))"
      triggers += [
        retire("displace\(index)_insert", "BEFORE INSERT", others, unless: stays) {
          "(SELECT displaced.\($0) \(others))"
        },
        retire("displace\(index)_update", "BEFORE UPDATE", otherThanItself, unless: stays) {
          "(SELECT displaced.\($0) \(otherThanItself))"
        },
      ]
    }
    return triggers
  }
}
