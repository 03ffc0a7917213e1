// Rows that came down and are not in the app's table: dead letters of the edge beside those that could not be sent. One that waits for another row is
// tried again with later rows, and one that a person wants to be tried again likewise.

import DroverCore
import GRDB

/// A dead letter of a row that came down, as it is to be tried again.
struct DownLetter {
  let id: Int64
  let stream: Int
  fileprivate let key: [Value]
  fileprivate let version: Int64
  fileprivate let isDelete: Bool
  fileprivate let edge: DownEvent.Mark?
  /// A person wants it to be tried again.
  let isOrdered: Bool
  fileprivate let values: [SQLName: Value]

  /// nil where the table has columns that the row has not.
  func event(_ schema: StreamSchema) -> DownEvent? {
    let row = schema.columns.compactMap { values[SQLName($0.name)] }
    guard isDelete || row.count == schema.columns.count else { return nil }
    return DownEvent(
      seq: 0, localID: "", key: Array(key.prefix(schema.key.count)),
      content: isDelete ? .none : .row(Values(row)), version: version, edge: edge)
  }
}

extension EdgeDatabase {
  /// Whether any row that came down is set aside.
  func hasDownLetters(_ database: Database) throws -> Bool {
    let find = try prepared("SELECT EXISTS (SELECT 1 FROM drover_dead_letter WHERE direction = 'down')", database)
    defer { find.reset() }
    return try find.step() && find.integer(0) != 0
  }

  /// Those that wait for other rows, or that a person wants to be tried again; first what a person wants, then what has not been tried for the longest
  /// time.
  func dueLetters(limit: Int, _ database: Database) throws -> [DownLetter] {
    let keys = (0..<keyColumns).map(Bookkeeping.keyColumn)
    let find = try Statement(
      database,
      """
      SELECT id, stream, op, version, edge_epoch, edge_version, is_due, \(keys.joined(separator: ", ")) FROM drover_dead_letter
       WHERE direction = 'down' AND (reason = '\(DownRefusal.Reason.foreignKey.rawValue)' OR is_due)
       ORDER BY is_due DESC, last_at, id LIMIT \(limit)
      """)
    let fields = try Statement(database, "SELECT field, value FROM drover_dead_field WHERE letter = ?")
    var letters: [DownLetter] = []
    while try find.step() {
      fields.reset()
      fields.bind(find.integer(0), at: 1)
      var values: [SQLName: Value] = [:]
      while try fields.step() { values[SQLName(fields.text(0))] = fields.value(1) }
      let mark = try find.isNull(4) ? nil : DownEvent.Mark(epoch: Epoch(find.text(4)), version: find.integer(5))
      letters.append(
        DownLetter(
          id: find.integer(0), stream: Int(find.integer(1)), key: keys.indices.map { find.value(Int32(7 + $0)) },
          version: find.integer(3), isDelete: find.text(2) == "delete", edge: mark, isOrdered: find.integer(6) != 0,
          values: values))
    }
    return letters
  }

  /// Sets a row aside. There is one letter for each key, because only the newest state counts.
  func addDeadLetter(_ event: DownEvent, _ refusal: DownRefusal, _ writer: DownWriter, _ database: Database) throws {
    let known = try prepared(
      """
      SELECT id, count, first_at FROM drover_dead_letter
       WHERE direction = 'down' AND \(writer.table.hasKey) AND stream = \(writer.stream)
      """, database)
    for (index, value) in event.key.enumerated() { known.bind(value, at: Int32(index + 1)) }
    let now = try Int64.fetchOne(database, sql: "SELECT \(Bookkeeping.wallClock)")!
    var (count, firstAt): (Int64, Int64) = (1, now)
    if try known.step() { (count, firstAt) = (known.integer(1) + 1, known.integer(2)) }
    known.reset()
    try dropDownLetter(of: event.key, writer, database)

    var bytes = 0
    if case .row(let row) = event.content { bytes = row.reduce(0) { $0 + $1.size } }
    try requireSpace(for: "row \(line(event.key)) of \(writer.table.name), which came down,", bytes: bytes, database)
    let keys = writer.table.outboxColumns
    let insert = try prepared(
      """
      INSERT INTO drover_dead_letter (stream, op, seq, version, reason, detail, bytes, count, first_at, last_at, direction, edge_epoch, edge_version, \(keys.joined(separator: ", ")))
      VALUES (\(writer.stream), ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'down', ?10, ?11, \(keys.indices.map { "?\($0 + 12)" }.joined(separator: ", ")))
      """, database)
    insert.bind(event.content == .none ? "delete" : "put", at: 1)
    insert.bind(event.seq, at: 2)
    insert.bind(event.version, at: 3)
    insert.bind(refusal.reason.rawValue, at: 4)
    insert.bind("\(DownRefusal.prefix)\(refusal.detail)", at: 5)
    for (index, number) in [Int64(bytes), count, firstAt, now].enumerated() {
      insert.bind(number, at: Int32(6 + index))
    }
    if let edge = event.edge {
      insert.bind(edge.epoch.text, at: 10)
      insert.bind(edge.version, at: 11)
    } else {
      insert.bind(.null, at: 10)
      insert.bind(.null, at: 11)
    }
    for (index, value) in event.key.enumerated() { insert.bind(value, at: Int32(12 + index)) }
    try insert.run()
    guard case .row(let row) = event.content else { return }
    let letter = database.lastInsertedRowID
    let field = try prepared("INSERT INTO drover_dead_field (letter, field, value) VALUES (?, ?, ?)", database)
    for (column, value) in zip(writer.table.schema.columns, row) {
      field.bind(letter, at: 1)
      field.bind(column.name, at: 2)
      field.bind(value, at: 3)
      try field.run()
    }
  }

  /// The table has come to have columns that the row has not: only a person can tell what to do.
  func leave(_ letter: DownLetter, _ database: Database) throws {
    try database.execute(
      sql: """
        UPDATE drover_dead_letter SET is_due = 0, reason = ?, count = count + 1, last_at = \(Bookkeeping.wallClock) WHERE id = ?
        """,
      arguments: [DownRefusal.Reason.schema.rawValue, letter.id])
  }

  /// A row that is applied, or overtaken, is not set aside any more.
  func dropDownLetter(of key: [Value], _ writer: DownWriter, _ database: Database) throws {
    let isLetter = "direction = 'down' AND \(writer.table.hasKey) AND stream = \(writer.stream)"
    for sql in [
      "DELETE FROM drover_dead_field WHERE letter IN (SELECT id FROM drover_dead_letter WHERE \(isLetter))",
      "DELETE FROM drover_dead_letter WHERE \(isLetter)",
    ] {
      let statement = try prepared(sql, database)
      for (index, value) in key.enumerated() { statement.bind(value, at: Int32(index + 1)) }
      try statement.run()
    }
  }

  /// For an error, as far as it is no payload.
  private func line(_ key: [Value]) -> String {
    key.map {
      switch $0 {
      case .integer(let integer): "\(integer)"
      default: "…"
      }
    }.joined(separator: ", ")
  }
}

extension Value {
  /// About how many bytes it takes.
  fileprivate var size: Int {
    switch self {
    case .text(let bytes), .blob(let bytes): 16 + bytes.count
    default: 16
    }
  }
}
