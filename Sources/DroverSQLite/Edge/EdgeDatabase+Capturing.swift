// Putting triggers in order. A trigger counts as present only on the right table and with the text that Drover gave it: when a table is renamed its
// triggers travel with it, and what is written into the table of that name afterwards is seen by none. Then all rows are brought once more, and the
// capture has a gap: rows may be gone that the cloud still has. The gap's name goes to the cloud with the status, and the consumer compares the
// stream once for each.

import DroverCore
import GRDB

/// What is to stand in the catalogue.
struct WantedCapture {
  struct Part {
    let stream: Int
    let table: String
    let sql: String
  }

  private(set) var parts: [String: Part] = [:]
  /// Streams whose triggers stay as they are.
  private(set) var left: Set<Int> = []

  mutating func leave(_ stream: Int) {
    left.insert(stream)
    parts = parts.filter { $0.value.stream != stream }
  }

  /// Tables with lines, by stream, and those of them whose headers are not noted yet.
  private(set) var headers: [Int: CapturedTable] = [:]
  private(set) var unnoted: Set<Int> = []

  mutating func add(_ table: CapturedTable, stream: Int, isUnnoted: Bool) {
    if !table.lines.isEmpty { headers[stream] = table }
    if isUnnoted { unnoted.insert(stream) }
    for made in table.triggers(stream: stream) { add(made, stream, table.name) }
    if let lives = table.lives { add(lives.trigger, stream, lives.table) }
    for (index, lines) in table.lines.enumerated() {
      for made in lines.triggers(stream: stream, number: index + 1, header: table) {
        add(made, stream, lines.table.name)
      }
    }
    for made in table.rowidIndexes(stream: stream) { add((made.name, made.sql), stream, made.table) }
  }

  private mutating func add(_ made: (name: String, sql: String), _ stream: Int, _ table: String) {
    parts[made.name] = Part(stream: stream, table: table, sql: made.sql)
  }
}

/// A trigger or index of Drover's that is there.
private struct PresentCapture {
  let type: String
  let table: String
  let sql: String
}

extension EdgeDatabase {
  static let captureTable = """
    CREATE TABLE IF NOT EXISTS drover_capture (
      stream INTEGER PRIMARY KEY,
      -- A digest of the triggers and indexes that were put last, so that a change of theirs is noticed.
      put    TEXT NOT NULL,
      -- Names the last time that changes may have been missed; NULL: never.
      gap    TEXT
    )
    """

  /// Looks which gaps the cloud may be told of: the rows of the stream have been brought since.
  func lookForGaps(_ database: Database) throws {
    let rows = try Row.fetchAll(
      database.cachedStatement(
        sql: """
          SELECT stream.number, capture.gap FROM drover_capture AS capture JOIN drover_stream AS stream ON stream.number = capture.stream
           WHERE capture.gap IS NOT NULL AND stream.backfill = 'done'
          """))
    var found: [StreamName: String] = [:]
    for row in rows {
      let number: Int = row["number"]
      if let stream = streams.first(where: { $0.number == number }) { found[stream.name] = row["gap"] }
    }
    gaps = found
  }

  /// - Parameter refusals: takes the streams whose triggers could not be put.
  func putCapture(
    _ wanted: WantedCapture, _ refusals: inout [Int: CaptureRefusal], _ database: Database
  ) throws {
    let rows = try Row.fetchAll(
      database, sql: "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE \(Bookkeeping.isCapture)")
    var present: [Int: [String: PresentCapture]] = [:]
    for row in rows {
      let name: String = row["name"]
      guard let stream = Int(name.dropFirst("drover_".count).prefix { $0 != "_" }) else { continue }
      present[stream, default: [:]][name] = PresentCapture(type: row["type"], table: row["tbl_name"], sql: row["sql"])
    }
    let wantedByStream = Dictionary(grouping: wanted.parts, by: \.value.stream)
    for stream in Set(present.keys).union(wantedByStream.keys).subtracting(wanted.left).sorted() {
      let parts = wantedByStream[stream] ?? []
      let refusal = try attempt(parts.first?.value.table ?? "", database) {
        try put(
          Dictionary(uniqueKeysWithValues: parts.map { ($0.key, $0.value) }), over: present[stream] ?? [:],
          stream: stream, units: wanted.headers[stream], isUnnoted: wanted.unnoted.contains(stream), database)
      }
      refusals[stream] = refusal ?? refusals[stream]
    }
  }

  private func put(
    _ wanted: [String: WantedCapture.Part], over present: [String: PresentCapture], stream: Int,
    units: CapturedTable?, isUnnoted: Bool, _ database: Database
  ) throws {
    let known = try Row.fetchOne(
      database,
      sql: """
        SELECT capture.put, stream.schema_id IS NOT NULL AS isOld FROM drover_stream AS stream
          LEFT JOIN drover_capture AS capture ON capture.stream = stream.number WHERE stream.number = ?
        """, arguments: [stream])
    let isComplete = isComplete(present, wanted, put: known?["put"])
    if !present.isEmpty, !isComplete { try rescue(stream, present, database) }
    for (name, part) in present.sorted(by: { $0.key < $1.key })
    where wanted[name]?.sql.isExactly(part.sql) != true || !isSame(part.table, wanted[name]?.table) {
      try database.execute(sql: "DROP \(part.type.uppercased()) \(quoted(name))")
    }
    for (name, part) in wanted.sorted(by: { $0.key < $1.key })
    where present[name]?.sql.isExactly(part.sql) != true || !isSame(part.table, present[name]?.table) {
      try database.execute(sql: part.sql)
    }
    try database.execute(
      sql: "INSERT OR IGNORE INTO drover_capture (stream, put) VALUES (?1, '')", arguments: [stream])
    try database.execute(
      sql: "UPDATE drover_capture SET put = ?2 WHERE stream = ?1",
      arguments: [stream, digest(wanted.map { ($0.key, $0.value.table, $0.value.sql) })])
    if let units, isUnnoted || !isComplete { try units.units(stream)?.fill(units, database) }
    guard !wanted.isEmpty, !isComplete else { return }
    // Of reference data only edits are noted, which the cloud's rows replace. `drover check` finds those that were missed.
    guard declaration(of: stream, database)?.flow.direction != .down else { return }
    // Without its triggers the table may have changed in any way: new here, dropped and made again, or another one of that name.
    try startBackfill(stream, database)
    guard known?["isOld"] == 1 else { return }
    let gap = Epoch(random: .random(in: .min ... .max)).text
    try database.execute(sql: "UPDATE drover_capture SET gap = ? WHERE stream = ?", arguments: [gap, stream])
    guard let name = declaration(of: stream, database)?.name else { return }
    let others = Set(present.filter { !isSame($0.value.table, wanted[$0.key]?.table) }.map(\.value.table)).sorted()
    warn(
      "capture \(name): its triggers were \(others.isEmpty ? "gone or changed" : "on \(others.joined(separator: ", "))"), so changes may have been missed; its rows are sent again, and the cloud compares what it has with them"
    )
  }

  /// Whether nothing was missed: the triggers are what was put last, on the tables that are captured.
  private func isComplete(
    _ present: [String: PresentCapture], _ wanted: [String: WantedCapture.Part], put: String?
  ) -> Bool {
    guard !present.isEmpty,
      wanted.allSatisfy({ name, part in
        if let there = present[name] { return isSame(there.table, part.table) }
        return put == nil ? KeyLives.isNewTrigger(name) : !name.contains("displace")
      })
    else { return false }
    // A database that another version of Drover attached last has no digest yet.
    guard let put else { return true }
    return put == digest(present.map { ($0.key, $0.value.table, $0.value.sql) })
  }

  private func isSame(_ table: String, _ other: String?) -> Bool {
    other.map { SQLName($0) == SQLName(table) } ?? false
  }

  private func digest(_ parts: [(name: String, table: String, sql: String)]) -> String {
    var hash = FNV1a()
    for part in parts.sorted(by: { $0.name < $1.name }) {
      hash.combine(part.name)
      hash.combine(SQLName(part.table).text)
      hash.combine(part.sql)
    }
    return hash.hexadecimal
  }

  private func declaration(of stream: Int, _ database: Database) -> StreamDeclaration? {
    let name = try? String.fetchOne(
      database, sql: "SELECT name FROM drover_stream WHERE number = ?", arguments: [stream])
    return declarations.first { $0.name.text == name }
  }

  // MARK: Rows of a table that was renamed

  /// Facts and final records that wait to be sent stand in the table that the triggers have travelled with, and no longer in the one of the
  /// stream's name: they are kept for their entries. All entries of the stream are that table's, for nothing else was captured.
  private func rescue(_ stream: Int, _ present: [String: PresentCapture], _ database: Database) throws {
    guard var declaration = declaration(of: stream, database), let table = declaration.table,
      declaration.kind == .payload || declaration.completeWhen != nil,
      let old = present["drover_\(stream)_insert"]?.table, !isSame(old, table)
    else { return }
    declaration.table = old
    declaration.with = declaration.with.enumerated().map { index, lines in
      let place = present["drover_\(stream)_with\(index + 1)_insert"]?.table ?? lines.table.text
      return LinesDeclaration(table: (try? StreamName(place)) ?? lines.table, references: lines.references)
    }
    do {
      switch try CapturedTable.inspect(database, declaration) {
      case .table(let table)?, .missing(_, let table?)?: try keepWaiting(stream, in: table, database)
      default: break
      }
    } catch let refusal as CaptureRefusal {
      warn(
        "capture \(declaration.name): rows that wait to be sent stand in \(old) now, and cannot be read there: \(refusal); what is gone from \(table) is not sent"
      )
    }
  }

  private func keepWaiting(_ stream: Int, in table: CapturedTable, _ database: Database) throws {
    let keys = table.schema.key.indices.map(Bookkeeping.keyColumn)
    let entries = try Statement(
      database,
      """
      SELECT seq, \(keys.joined(separator: ", ")) FROM drover_outbox
       WHERE stream = \(stream) AND body IS NULL AND op = 'put'
         AND seq > (SELECT confirmed_through FROM drover_stream WHERE number = \(stream))
         AND NOT EXISTS (SELECT 1 FROM drover_kept WHERE drover_kept.seq = drover_outbox.seq AND \(UnitHeaders.isRowField))
      """)
    let reader = try RowReader(table, database)
    let isFinal = try table.schema.completeWhen.map { condition in
      try Statement(
        database,
        "SELECT coalesce(\(condition.text { quoted($0) }), 0) FROM \(quoted(table.name)) WHERE "
          + table.keyExpressions.enumerated().map { "\($1) IS ?\($0 + 1)" }.joined(separator: " AND "))
    }
    let insert = try Statement(database, "INSERT INTO drover_kept (seq, field, value) VALUES (?, ?, ?)")
    func keep(_ seq: Int64, _ field: String, _ value: Value) throws {
      insert.bind(seq, at: 1)
      insert.bind(field, at: 2)
      insert.bind(value, at: 3)
      try insert.run()
    }
    var kept: Int64 = 0
    while try entries.step() {
      let seq = entries.integer(0)
      let key = keys.indices.map { entries.value(Int32($0 + 1)) }
      guard let row = try reader.stored(seq: seq, key: Values(key)) else { continue }
      let before = try SpaceKeeper.bodyBytes(of: seq, database)
      if let isFinal {
        for (index, value) in key.enumerated() { isFinal.bind(value, at: Int32(index + 1)) }
        defer { isFinal.reset() }
        guard try isFinal.step(), isFinal.integer(0) != 0 else { continue }
      }
      for (column, value) in zip(table.schema.columns, row) { try keep(seq, column.name, value) }
      for (number, lines) in table.lines.enumerated() {
        for (line, values) in try readLines(lines, header: key, database).enumerated() {
          for (column, value) in zip(lines.schema.rows.columns, values) {
            try keep(seq, CapturedTable.lineField(table: number, line: "there \(line)", column: column.name), value)
          }
        }
      }
      kept += try SpaceKeeper.bodyBytes(of: seq, database) - before
    }
    try SpaceKeeper.note(bodyBytes: kept, database)
  }
}
