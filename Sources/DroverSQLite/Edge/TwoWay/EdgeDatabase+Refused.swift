// Which rows that came down the app's tables refuse now, as the cloud hears of them, and what it wants to be tried again.

package import DroverCore
import DroverWire
import GRDB
private import CSQLite

extension EdgeDatabase {
  package func refusedRows() throws(EdgeStoreError) -> RefusedRows { try access(refusedRows) }

  /// The oldest first, so that those that are named stay so. A letter has another number after each try.
  func refusedRows(_ database: Database) throws -> RefusedRows {
    var refused = RefusedRows()
    guard try hasDownLetters(database) else { return refused }
    let keys = (0..<keyColumns).map(Bookkeeping.keyColumn)
    let find = try prepared(
      """
      SELECT stream, op, version, reason, detail, count, first_at, last_at, \(keys.joined(separator: ", ")) FROM drover_dead_letter
       WHERE direction = 'down' ORDER BY first_at, stream, \(keys.joined(separator: ", "))
      """, database)
    defer { find.reset() }
    let down = streamsThatGoDown
    while try find.step() {
      guard let stream = down[Int(find.integer(0))] else { continue }
      refused.total += 1
      guard refused.rows.count < RefusedRows.mostNamed, let schema = stream.schema else { continue }
      let key = schema.key.indices.map { find.value(Int32(8 + $0)) }
      refused.name(
        RefusedRow(
          stream: stream.name, localID: LocalIDCodec.text(key: key, schema: schema),
          isDelete: find.text(1) == "delete", version: find.integer(2), reason: find.text(3),
          cause: Self.cause(find.text(4)), tries: Int(find.integer(5)), since: find.integer(6), last: find.integer(7)))
    }
    return refused
  }

  package func retry(_ order: RetryOrder) throws(EdgeStoreError) {
    try access { database in
      try database.inTransaction(.immediate) {
        try verify(database)
        let wanted = streamsThatGoDown.filter { order.stream == nil || $0.value.name == order.stream }
        var count = 0
        for (number, stream) in wanted {
          for id in try downLetters(of: number, stream.schema, ids: order.ids, database) {
            try database.execute(sql: "UPDATE drover_dead_letter SET is_due = 1 WHERE id = ?", arguments: [id])
            count += database.changesCount
          }
        }
        try DeadLetterCounter.replayed.add(count, database)
        return .commit
      }
    }
  }

  /// The letters of a stream's rows.
  private func downLetters(
    of stream: Int, _ schema: StreamSchema?, ids: [String]?, _ database: Database
  ) throws -> [Int64] {
    let keys = (0..<keyColumns).map(Bookkeeping.keyColumn)
    let find = try prepared(
      "SELECT id, \(keys.joined(separator: ", ")) FROM drover_dead_letter WHERE direction = 'down' AND stream = ?",
      database)
    defer { find.reset() }
    find.bind(Int64(stream), at: 1)
    let wanted = ids.map { Set($0.map(ExactText.init)) }
    var letters: [Int64] = []
    while try find.step() {
      if let wanted {
        guard let schema else { continue }
        let key = schema.key.indices.map { find.value(Int32(1 + $0)) }
        guard wanted.contains(ExactText(LocalIDCodec.text(key: key, schema: schema))) else { continue }
      }
      letters.append(find.integer(0))
    }
    return letters
  }

  /// Forgets what of a stream is set aside, because nothing of it comes down as it did.
  func dropDownLetters(of stream: Int, _ database: Database) throws {
    for sql in [
      "DELETE FROM drover_dead_field WHERE letter IN (SELECT id FROM drover_dead_letter WHERE direction = 'down' AND stream = ?)",
      "DELETE FROM drover_dead_letter WHERE direction = 'down' AND stream = ?",
    ] { try database.execute(sql: sql, arguments: [stream]) }
  }

  /// By number. One whose table is not there now counts too.
  private var streamsThatGoDown: [Int: EdgeStream] {
    Dictionary(uniqueKeysWithValues: streams.filter(\.declaration.flow.direction.goesDown).map { ($0.number, $0) })
  }

  /// What SQLite says of a constraint names tables and columns. A trigger's own words may hold values from SQLite 3.47 on.
  private static func cause(_ detail: String) -> String {
    let cause = detail.hasPrefix(DownRefusal.prefix) ? String(detail.dropFirst(DownRefusal.prefix.count)) : detail
    let isOfTrigger = cause.contains("(SQLite code \(triggerCode))")
    if isOfTrigger, sqlite3_libversion_number() >= 3_047_000 { return "a trigger of the app's refuses it" }
    return String(cause.prefix(RefusedRows.causeLength))
  }
}

/// SQLITE_CONSTRAINT_TRIGGER (https://www.sqlite.org/rescode.html#constraint_trigger).
private let triggerCode = 1811
