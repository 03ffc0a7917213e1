// What a captured table looks like, read from SQLite's own catalogue, and the triggers that follow from it.

import DroverCore
import GRDB

/// Why a table cannot be captured, and what to do.
package struct CaptureRefusal: Error, Equatable, CustomStringConvertible {
  package var reason: String
  package var advice: String

  package init(_ reason: String, advice: String = "correct the stream in the configuration, or the table") {
    self.reason = reason
    self.advice = advice
  }

  package var description: String { "\(reason); \(advice)" }
}

/// One table of the app, as the triggers and the reader need it.
struct CapturedTable: Equatable {
  let name: String
  private(set) var schema: StreamSchema
  /// Names of the table's columns that can be written to, those that do not travel too; generated columns cannot.
  let writable: [String]
  /// SQL that reads each column of the schema in a SELECT on the table.
  private(set) var expressions: [String]
  let hasRowid: Bool
  /// A name under which the rowid can be read, when the table has one that is not hidden by its columns.
  let rowidName: String?
  /// What finds one row and no other: the rowid, or the primary key.
  let identity: [String]
  let syncedColumn: String?
  /// Whether the configuration says by which columns a row is known, and what an operator should know of them.
  let declaredKey: DeclaredKey?
  /// What tells facts apart that bear one key, one after the other; nil where Drover does not.
  private(set) var lives: KeyLives?
  /// Unique constraints besides the key, through which a REPLACE can take another row's place.
  let uniques: [[UniquePart]]
  /// Names of unique indexes that are partial or hold expressions: what a REPLACE removes through them is not seen.
  let blindIndexes: [String]
  /// The app's condition for rows that travel, as SQL on this table; nil: all do.
  private(set) var filter: String?
  /// The same as a condition.
  private(set) var travels: Condition?
  /// Columns that travel as a hash, by their positions in the schema's.
  private(set) var hashes: [Int: ValueHash] = [:]
  /// Tables whose rows travel with this one's.
  var lines: [CapturedLines] = []

  struct UniquePart: Equatable {
    /// What reads the column.
    let expression: String
    let collation: String
  }

  /// What there is of a stream's table.
  enum Found {
    case table(CapturedTable)
    /// A table is not there (yet): the stream's own, or one of its lines. Of the others, what is there.
    case missing(String, header: CapturedTable?)
  }

  /// Reads the table of a stream and those of its lines. Returns nil when the stream has none.
  static func inspect(_ database: Database, _ declaration: StreamDeclaration) throws -> Found? {
    guard let name = declaration.table else { return nil }
    guard var table = try read(database, name, declaration) else { return .missing(name, header: nil) }
    var missing: String?
    for lines in declaration.with {
      if let lines = try CapturedLines.inspect(database, lines, header: table) {
        table.lines.append(lines)
      } else {
        missing = lines.table.text
      }
    }
    guard !table.lines.isEmpty else { return missing.map { .missing($0, header: table) } ?? .table(table) }
    do throws(InvalidName) {
      table.schema = try StreamSchema(
        kind: declaration.kind, columns: table.schema.columns, key: table.schema.key,
        completeWhen: declaration.completeWhen, lines: table.lines.map(\.schema))
    } catch {
      throw CaptureRefusal("\(table.name): \(error.message)")
    }
    return missing.map { .missing($0, header: table) } ?? .table(table)
  }

  /// Reads one table, without its lines. Returns nil when there is none of that name.
  static func read(
    _ database: Database, _ table: String, _ declaration: StreamDeclaration
  ) throws -> CapturedTable? {
    guard
      let entry = try Row.fetchOne(
        database,
        sql: "SELECT type, wr, strict, name FROM pragma_table_list WHERE schema = 'main' AND lower(name) = lower(?)",
        arguments: [table])
    else { return nil }
    let type: String = entry["type"]
    let name: String = entry["name"]
    guard type == "table" else {
      throw CaptureRefusal(
        "\(name) is a \(type), and changes of a \(type) cannot be seen by triggers",
        advice: "name the tables behind it instead, or make it a table again")
    }
    let hasRowid = (entry["wr"] as Int) == 0
    let isStrict = (entry["strict"] as Int) == 1
    let rows = try Row.fetchAll(
      database,
      sql: "SELECT name, type, \"notnull\", pk, hidden FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid",
      arguments: [name])

    var columns: [DroverCore.Column] = []
    var expressions: [String] = []
    var writable: [String] = []
    var key: [(position: Int, index: Int)] = []
    for row in rows {
      let columnName: String = row["name"]
      // ANY keeps values as they are in a STRICT table; elsewhere, in the sink table too, it makes numbers of texts that look like one
      // (https://www.sqlite.org/stricttables.html, section 3).
      let type: String = row["type"]
      columns.append(
        DroverCore.Column(name: columnName, declaredType: isStrict && type.uppercased() == "ANY" ? "" : type))
      expressions.append(quoted(columnName))
      if (row["hidden"] as Int) == 0 { writable.append(columnName) }
      if (row["pk"] as Int) > 0 { key.append((row["pk"], columns.count - 1)) }
    }
    let names = Set(columns.map { SQLName($0.name) })
    let rowidName = hasRowid ? ["rowid", "_rowid_", "oid"].first { !names.contains(SQLName($0)) } : nil
    let primaryKey = key.sorted { $0.position < $1.position }.map(\.index)
    let identity = rowidName.map { [$0] } ?? primaryKey.map { expressions[$0] }
    if let declaredKey = declaration.key {
      key = try declaredKey.enumerated().map { position, part in
        guard let index = columns.firstIndex(where: { SQLName($0.name) == SQLName(part) }) else {
          throw CaptureRefusal("\(name) has no column \(part), which the configuration names in its `key`")
        }
        return (position + 1, index)
      }
    } else if key.isEmpty {
      guard let rowidName else {
        throw CaptureRefusal(
          "\(name) has no primary key, and its columns hide the rowid", advice: "give it a primary key")
      }
      columns.insert(DroverCore.Column(name: StreamSchema.rowidColumn, declaredType: "INTEGER"), at: 0)
      expressions.insert(rowidName, at: 0)
      key = [(1, 0)]
    }
    let flag = columns.firstIndex { SQLName($0.name) == declaration.syncedColumn.map(SQLName.init) }
    if let syncedColumn = declaration.syncedColumn {
      guard let flag else {
        throw CaptureRefusal("\(name) has no column \(syncedColumn), which the configuration names as synced_column")
      }
      guard writable.contains(columns[flag].name) else {
        throw CaptureRefusal("\(name).\(columns[flag].name) is a generated column, and cannot be set as synced_column")
      }
      guard !key.contains(where: { $0.index == flag }) else {
        throw CaptureRefusal("\(name).\(columns[flag].name) is part of its key, and cannot be its synced_column")
      }
    }
    let keyPositions = key.sorted { $0.position < $1.position }.map(\.index)
    let keyNames = keyPositions.map { columns[$0].name }
    var (uniques, blindIndexes) = try uniqueIndexes(database, table: name, key: keyNames)
    var declared: DeclaredKey?
    if declaration.key != nil {
      let nullable = keyPositions.filter { position in
        rows.first { SQLName($0["name"]) == SQLName(columns[position].name) }.map {
          $0["notnull"] == 0 && $0["pk"] == 0
        } ?? false
      }
      declared = try DeclaredKey(
        database, table: name, key: keyNames, primaryKey: primaryKey.map { columns[$0].name },
        nullable: nullable.map { columns[$0].name }, isRowidTable: hasRowid)
      // A rowid of the app's own is no index, and a REPLACE goes by it all the same.
      if let rowidName, declared?.isPrimaryKey == false, try !hasPrimaryKeyIndex(database, table: name) {
        uniques.append([UniquePart(expression: rowidName, collation: "BINARY")])
      }
    }
    if let newer = declaration.flow.newer,
      let refusal = FlowRule.refusal(ofNewer: newer, key: keyNames, syncedColumn: declaration.syncedColumn)
    {
      throw CaptureRefusal(
        "\(name): `newer` does not go with \(refusal.other): \(refusal.why)", advice: refusal.advice)
    }
    if declaration.flow.direction.goesDown {
      try requireKey(
        name, key: keyPositions.map { columns[$0].name }, isUnique: declared?.isUnique ?? true, writable: writable)
    }
    do throws(InvalidName) {
      let selection = declaration.selection
      let chosen = try selection.choose(
        from: columns, key: keyPositions, completeWhen: declaration.completeWhen)
      let schema = try StreamSchema(
        kind: declaration.kind, columns: chosen.map(\.column),
        key: keyPositions.map { key in chosen.firstIndex { $0.position == key }! },
        completeWhen: declaration.completeWhen, naturalKey: declaration.naturalKey,
        flow: declaration.flow)
      let filter = try selection.filter?.resolved(among: columns.filter { $0.name != StreamSchema.rowidColumn })
      return CapturedTable(
        name: name, schema: schema, writable: writable, expressions: chosen.map { expressions[$0.position] },
        hasRowid: hasRowid, rowidName: rowidName, identity: identity, syncedColumn: flag.map { columns[$0].name },
        declaredKey: declared, uniques: uniques,
        blindIndexes: blindIndexes,
        filter: filter.map { "coalesce(\($0.text { "\(quoted(name)).\(quoted($0))" }), 0)" },
        travels: filter,
        hashes: selection.hashKey.map { key in
          Dictionary(
            uniqueKeysWithValues: chosen.indices.filter { chosen[$0].isHashed }.map { ($0, ValueHash(key)) })
        } ?? [:])
    } catch {
      throw CaptureRefusal("\(name): \(error.message)")
    }
  }

  private static func hasPrimaryKeyIndex(_ database: Database, table: String) throws -> Bool {
    try Bool.fetchOne(
      database, sql: "SELECT EXISTS (SELECT 1 FROM pragma_index_list(?) WHERE origin = 'pk')", arguments: [table])!
  }

  private static func uniqueIndexes(
    _ database: Database, table: String, key: [String]
  ) throws -> (uniques: [[UniquePart]], blind: [String]) {
    var uniques: [[UniquePart]] = []
    var blind: [String] = []
    let indexes = try Row.fetchAll(
      database, sql: "SELECT name, origin, partial FROM pragma_index_list(?) WHERE \"unique\" ORDER BY name",
      arguments: [table])
    for index in indexes {
      let name: String = index["name"]
      let columns = try Row.fetchAll(
        database, sql: "SELECT name, coll FROM pragma_index_xinfo(?) WHERE key ORDER BY seqno", arguments: [name])
      guard index["partial"] == 0, columns.allSatisfy({ $0["name"] != nil }) else {
        blind.append(name)
        continue
      }
      let parts = columns.map { UniquePart(expression: quoted($0["name"]), collation: $0["coll"]) }
      // A row that takes the place of one with the very same key needs no second look.
      let isKey = Set(columns.map { SQLName($0["name"]) }) == Set(key.map(SQLName.init))
      if isKey, parts.allSatisfy({ $0.collation == "BINARY" }) { continue }
      uniques.append(parts)
    }
    return (uniques, blind)
  }

  /// Whether rows are known by their rowid, for want of a primary key.
  var isKnownByRowid: Bool { schema.columns[0].name == StreamSchema.rowidColumn }

  /// The key's own columns, without the life that may be its last part.
  var keyExpressions: [String] { schema.sourceKey.map { expressions[$0] } }

  /// The whole key, as a SELECT on the table reads it.
  var wholeKeyExpressions: [String] { schema.key.map { expressions[$0] } }

  /// The outbox's columns for the whole key.
  var outboxColumns: [String] {
    schema.sourceKey.indices.map(Bookkeeping.keyColumn) + (schema.tellsLives ? [KeyLives.outboxColumn] : [])
  }

  /// Whether a row can be displaced by another one past the DELETE triggers.
  var canBeDisplaced: Bool { !uniques.isEmpty || lives != nil }

  /// Position of the app's own flag in the schema's columns; nil without one, or where it does not travel.
  var syncedIndex: Int? {
    syncedColumn.flatMap { flag in schema.columns.firstIndex { SQLName($0.name) == SQLName(flag) } }
  }

  var selectRow: String {
    "SELECT \((expressions + (filter.map { [$0] } ?? [])).joined(separator: ", ")) FROM \(quoted(name)) WHERE "
      + wholeKeyExpressions.enumerated().map { "\($1) IS ?\($0 + 1)" }.joined(separator: " AND ")
  }

  /// Has facts told apart that bear one key, one after the other.
  /// - Parameter isDescribed: whether the schema says so, because some do by now.
  mutating func tell(_ lives: KeyLives, isDescribed: Bool) throws {
    self.lives = lives
    guard isDescribed else { return }
    expressions.append(lives.life(of: keyExpressions.map { "\(quoted(name)).\($0)" }))
    do throws(InvalidName) {
      schema = try StreamSchema(
        kind: schema.kind,
        columns: schema.columns + [DroverCore.Column(name: StreamSchema.lifeColumn, declaredType: "TEXT")],
        key: schema.key + [schema.columns.count])
    } catch {
      throw CaptureRefusal("\(name): \(error.message)")
    }
  }

  // MARK: Rowids

  /// Table, name and SQL of the indexes that hold the rowids of this stream's tables in their places.
  ///
  /// VACUUM gives the rows of a table that has neither a key nor any index new rowids (`xferOptimization` in SQLite's insert.c), and no
  /// trigger sees it: the cloud would take one row for another. Any index at all prevents it, so this one holds no row and costs none.
  func rowidIndexes(stream: Int) -> [(table: String, name: String, sql: String)] {
    ([(self, "")] + lines.enumerated().map { ($1.table, "with\($0 + 1)_") }).filter(\.0.isKnownByRowid).map {
      let name = "drover_\(stream)_\($1)rowids"
      return ($0.name, name, "CREATE INDEX \(name) ON \(quoted($0.name)) (1) WHERE 0")
    }
  }

  // MARK: Triggers

  /// Name and SQL of each trigger on the stream's own table.
  ///
  /// A trigger writes which row changed, and nothing else; the row is read when it is sent. An older entry of the same key is
  /// superseded and goes, also when it is on its way: the newer entry speaks for both.
  /// Conflict clauses are of no use here: the outer statement's takes their place (https://www.sqlite.org/lang_createtrigger.html).
  func triggers(stream: Int) -> [Trigger] {
    let table = quoted(name)
    func make(_ event: String, _ timing: String, _ when: String, _ statements: [String]) -> Trigger {
      let name = "drover_\(stream)_\(event)"
      let body = statements.map { "  \($0);\n" }.joined()
      return (name, "CREATE TRIGGER \(name) \(timing) ON \(table)\(when) BEGIN\n\(body)END")
    }
    // The app's own writes of its flag are no events; nor could Drover's be, whose connection fires no triggers.
    let watched = writable.filter { $0 != syncedColumn }.map(quoted).joined(separator: ", ")
    let update = syncedColumn == nil ? "UPDATE" : "UPDATE OF \(watched)"
    // Compared by bytes: a change of case is another key to the cloud, whatever the column's collation says.
    let rekeyed = keyExpressions.map { "OLD.\($0) IS NOT NEW.\($0) COLLATE BINARY" }.joined(separator: " OR ")

    if schema.kind == .payload { return factTriggers(stream, make, update: update, rekeyed: rekeyed) }
    return
      (freezes
      ? finalTriggers(stream, make, update: update, rekeyed: rekeyed)
      : stateTriggers(stream, make, update: update, rekeyed: rekeyed))
      + uniques.enumerated().flatMap { index, parts in
        let others = "FROM \(table) AS displaced WHERE \(Self.sameParts(parts))"
        func isOther(than own: String) -> String {
          " AND (\(keyExpressions.map { "displaced.\($0) IS NOT \(own).\($0) COLLATE BINARY" }.joined(separator: " OR ")))"
        }
        return [
          make(
            "displace\(index + 1)_insert", "BEFORE INSERT", " WHEN EXISTS (SELECT 1 \(others))",
            // A REPLACE of the same key is a change of the row.
            displace(stream, others, retiring: others + isOther(than: "NEW"))),
          make(
            "displace\(index + 1)_update", "BEFORE UPDATE",
            " WHEN EXISTS (SELECT 1 \(others)\(isOther(than: "OLD")))",
            displace(stream, others + isOther(than: "OLD"), retiring: others + isOther(than: "OLD"))),
        ]
      }
  }

  typealias Trigger = (name: String, sql: String)
  /// Makes a trigger of an event's name, its timing, its WHEN clause and its statements.
  typealias TriggerMaker = (_ event: String, _ timing: String, _ when: String, _ statements: [String]) -> Trigger

  /// The triggers of rows of which the cloud has the newest state.
  private func stateTriggers(_ stream: Int, _ make: TriggerMaker, update: String, rekeyed: String) -> [Trigger] {
    let changed = [entry(stream, "put", "NEW"), supersede(stream, "NEW")]
    let deleted = [entry(stream, "delete", "OLD"), supersede(stream, "OLD")]
    let units = units(stream)
    let comes = units?.come(keyExpressions.map { "NEW.\($0)" }, isFinal: nil) ?? []
    let goes = units?.go(keyExpressions.map { "OLD.\($0)" }, freezes: false) ?? []
    // `UPDATE OF` goes by the names in the statement, and `SET rowid = …` names none of the columns.
    let slipsThrough = hasRowid && syncedColumn != nil
    return [
      make("insert", "AFTER INSERT", "", changed + comes),
      make("update", "AFTER \(update)", "", changed),
      make("rekey", "AFTER UPDATE", " WHEN \(rekeyed)", deleted + (slipsThrough ? changed : []) + goes + comes),
      make("delete", "AFTER DELETE", "", deleted + goes),
    ]
  }

  /// A REPLACE removes the rows that stand in its way without firing their DELETE triggers
  /// (https://www.sqlite.org/lang_conflict.html), so the row that is about to be displaced is entered beforehand. Where it stays
  /// after all (an UPSERT, OR IGNORE), its entry sends what it holds. At most one row can be in the way of one unique index.
  /// - Parameter retiring: a FROM clause with its WHERE that gives the row if it is another one; a final record is kept, and no change.
  private func displace(_ stream: Int, _ others: String, retiring: String) -> [String] {
    freezes
      ? retire(stream, from: retiring, orEnterFrom: others)
      : enter(stream, keyExpressions.map { "displaced.\($0)" }, from: others, isThere: true)
  }

  /// Statements that enter a row of this table as changed; an older entry of it is superseded.
  /// - Parameters:
  ///   - key: the parts of its key, as SQL on `others`.
  ///   - others: a FROM clause with its WHERE that gives one row.
  ///   - isThere: whether the trigger fires only where `others` gives the row; then no temporary table is needed (`Bookkeeping.views`).
  func enter(_ stream: Int, _ key: [String], from others: String, isThere: Bool = false) -> [String] {
    let keys = schema.sourceKey.indices.map(Bookkeeping.keyColumn)
    let numbers = "\(Bookkeeping.nextNumbers), \(stream), 'put'"
    let row =
      isThere
      ? "VALUES (\(numbers), \(key.map { "(SELECT \($0) \(others))" }.joined(separator: ", ")))"
      : "SELECT \(numbers), \(key.joined(separator: ", ")) \(others)"
    func newest(_ column: String) -> String { "(SELECT \(column) FROM drover_outbox ORDER BY seq DESC LIMIT 1)" }
    return [
      "INSERT INTO drover_outbox (seq, version, stream, op, \(keys.joined(separator: ", ")))\n    \(row)",
      """
      DELETE FROM drover_outbox WHERE stream = \(stream) AND body IS NULL AND life = \(newest("life"))
             AND \(keys.map { "\($0) IS \(newest($0))" }.joined(separator: " AND "))
             AND seq < (SELECT max(seq) FROM drover_outbox)\(freezes ? " AND \(newest("stream")) = \(stream)" : "")\(unlessKept)
      """,
    ]
  }

  /// Whether the row about to be written stands in the way of another one, `displaced`, by a unique constraint.
  static func sameParts(_ parts: [UniquePart]) -> String {
    parts.map { "displaced.\($0.expression) = NEW.\($0.expression) COLLATE \(quoted($0.collation))" }
      .joined(separator: " AND ")
  }

  /// - Parameters:
  ///   - isFirstLife: whether the row is known to have no mark.
  ///   - condition: whether it is entered at all, as SQL; nil: it is.
  func entry(
    _ stream: Int, _ op: String, _ row: String, isFirstLife: Bool = false, where condition: String? = nil
  ) -> String {
    var keys = schema.sourceKey.indices.map(Bookkeeping.keyColumn)
    var values = keyExpressions.map { "\(row).\($0)" }
    if let lives, !isFirstLife {
      keys.append(KeyLives.outboxColumn)
      values.append(lives.life(of: values))
    }
    let row = "\(Bookkeeping.nextNumbers), \(stream), '\(op)', \(values.joined(separator: ", "))"
    return """
      INSERT INTO drover_outbox (seq, version, stream, op, \(keys.joined(separator: ", ")))
          \(condition.map { "SELECT \(row) WHERE \($0)" } ?? "VALUES (\(row))")
      """
  }

  /// The unary plus takes the column's affinity away, so that the index on the untyped key columns can be used.
  func match(_ stream: Int, _ row: (String) -> String) -> String {
    let keys = keyExpressions.map(row)
    let life = lives.map { $0.life(of: keys) } ?? "''"
    return "stream = \(stream) AND body IS NULL AND life = \(life) AND "
      + keys.enumerated().map { "\(Bookkeeping.keyColumn($0)) IS +\($1)" }.joined(separator: " AND ")
  }

  func supersede(_ stream: Int, _ row: String) -> String {
    "DELETE FROM drover_outbox WHERE \(match(stream) { "\(row).\($0)" }) AND seq < (SELECT max(seq) FROM drover_outbox)\(unlessKept)"
  }

  /// An entry with a final record of its own is superseded by nothing.
  private var unlessKept: String { freezes ? " AND seq NOT IN (SELECT seq FROM drover_kept)" : "" }

  /// Whether a trigger still reads the table on which it stands, as SQL beside an entry's `seq`: with `legacy_alter_table` a table that is renamed
  /// takes its triggers with it, and they go on reading what has its old name (https://www.sqlite.org/pragma.html#pragma_legacy_alter_table).
  static func readsItsTable(_ stream: Int, _ event: String) -> String {
    // It names the entry, so that it is looked for only where one waits.
    """
    EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'drover_\(stream)_\(event)' AND drover_outbox.seq > 0
                       AND instr(sql, 'FROM "' || replace(tbl_name, '"', '""') || '" AS drover_row'))
    """
  }
}
