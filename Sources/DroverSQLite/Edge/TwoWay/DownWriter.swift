// Writes rows that come down into one captured table. A class with its statements prepared, because a hundred thousand rows of reference data
// come in one go.

import DroverCore
import GRDB

/// The connection fires no triggers, so what is written here is no edit and makes no event.
final class DownWriter {
  let stream: Int
  let table: CapturedTable
  private let database: Database
  private let known: Statement
  private let waiting: Statement
  private let holdAgain: Statement
  private let holdFirst: Statement
  private let find: Statement
  private let update: Statement?
  private let insert: Statement
  private let delete: Statement
  /// Whether a row's statement is all there is to it.
  let isPlain: Bool
  let hasParents: Bool
  let hasChildren: Bool
  let firesAppTriggers: Bool
  /// Positions of generated columns that travel: the table computes them, whatever comes down.
  let computed: [Int]
  /// Finds a row, called `app`, by its key, which is bound from ?1 on.
  let isRow: String
  /// The position of a statement's first parameter for the key, after the row's.
  private let firstKey: Int32

  init(
    _ table: CapturedTable, stream: Int, firesAppTriggers: Bool, _ foreignKeys: ForeignKeys, _ database: Database
  ) throws {
    self.table = table
    self.stream = stream
    self.firesAppTriggers = firesAppTriggers
    self.database = database
    hasParents = !foreignKeys.parents(of: table.name).isEmpty
    hasChildren = !foreignKeys.children(of: table.name).isEmpty
    isPlain = !hasParents && !hasChildren && !firesAppTriggers
    let columns = table.schema.columns
    firstKey = Int32(columns.count) + 1
    let writable = Set(table.writable.map(SQLName.init))
    let key = Set(table.schema.key)
    // A column that does not travel keeps what it holds, and a generated one cannot be written.
    let written = columns.indices.filter { writable.contains(SQLName(columns[$0].name)) }
    computed = columns.indices.filter { !writable.contains(SQLName(columns[$0].name)) }
    // A row that came from the cloud is there.
    let value = { (index: Int) -> String in index == table.syncedIndex ? "1" : "?\(index + 1)" }
    let name = quoted(table.name)
    func isRow(_ owner: String, firstKey: Int) -> String {
      table.schema.key.enumerated().map { position, index -> String in
        // First by the column's own collation, which an index knows, then by bytes: another spelling is another row.
        let (column, key) = ("\(owner)\(table.expressions[index])", "?\(firstKey + position)")
        return "\(column) IS \(key) AND \(column) IS \(key) COLLATE BINARY"
      }.joined(separator: " AND ")
    }
    self.isRow = isRow("app.", firstKey: 1)
    let isRow = isRow("", firstKey: columns.count + 1)
    let changed = written.filter { !key.contains($0) }
    // OR ABORT: a constraint of the app's may say ON CONFLICT REPLACE, which would delete a row, or ROLLBACK.
    update =
      changed.isEmpty
      ? nil
      : try Statement(
        database,
        "UPDATE OR ABORT \(name) SET \(changed.map { "\(quoted(columns[$0].name)) = \(value($0))" }.joined(separator: ", ")) WHERE \(isRow)"
      )
    insert = try Statement(
      database,
      "INSERT OR ABORT INTO \(name) (\(written.map { quoted(columns[$0].name) }.joined(separator: ", "))) VALUES (\(written.map(value).joined(separator: ", ")))"
    )
    delete = try Statement(database, "DELETE FROM \(name) WHERE \(isRow)")
    find = try Statement(database, "SELECT \(table.expressions.joined(separator: ", ")) FROM \(name) WHERE \(isRow)")
    known = try Statement(database, table.findKnown(stream: stream))
    waiting = try Statement(database, table.findWaiting(stream: stream))
    holdAgain = try Statement(database, "UPDATE drover_row SET held = ?1 WHERE rowid = ?2")
    let keys = table.outboxColumns
    holdFirst = try Statement(
      database,
      "INSERT INTO drover_row (stream, held, \(keys.joined(separator: ", "))) VALUES (\(stream), ?1, \(keys.indices.map { "?\($0 + 2)" }.joined(separator: ", ")))"
    )
  }

  // MARK: What is known

  struct Standing {
    /// Of the row's entry in drover_row; nil without one.
    var entry: Int64?
    var known: ApplyRule.Known
  }

  func standing(of key: [Value]) throws -> Standing {
    defer { known.reset() }
    bind(key, to: known, from: 1)
    var standing = Standing(entry: nil, known: ApplyRule.Known())
    if try known.step() {
      standing.entry = known.integer(0)
      standing.known.held = known.integer(1)
      standing.known.mine = known.integer(2)
    }
    // What is edited of reference data does not travel, so the cloud would never answer it.
    guard table.schema.flow.direction == .both else {
      standing.known.mine = 0
      return standing
    }
    defer { waiting.reset() }
    bind(key, to: waiting, from: 1)
    while standing.known.waiting == nil, try waiting.step() {
      if waiting.integer(1) == 0 { standing.known.waiting = waiting.integer(0) }
    }
    return standing
  }

  /// Notes that the row is as the cloud's version says.
  func hold(_ event: DownEvent, _ standing: Standing) throws {
    if let entry = standing.entry {
      holdAgain.bind(event.version, at: 1)
      holdAgain.bind(entry, at: 2)
      try holdAgain.run()
    } else {
      holdFirst.bind(event.version, at: 1)
      bind(event.key, to: holdFirst, from: 2)
      try holdFirst.run()
    }
  }

  // MARK: Writing

  /// Throws what the app's table refuses; then nothing of the row has changed.
  func write(_ event: DownEvent) throws {
    guard case .row(let row) = event.content else { return try remove(event.key) }
    if let update {
      bind(row, to: update)
      bind(event.key, to: update, from: firstKey)
      if try update.run() > 0 { return }
      // A trigger of the app's may ignore the change.
      if firesAppTriggers, try stored(event.key) != nil { return }
    } else if try stored(event.key) != nil {
      return
    }
    bind(row, to: insert)
    try insert.run()
  }

  func remove(_ key: [Value]) throws {
    bind(key, to: delete, from: firstKey)
    try delete.run()
  }

  /// The row as it stands in the table; nil where it is gone.
  func stored(_ key: [Value]) throws -> [Value]? {
    defer { find.reset() }
    bind(key, to: find, from: firstKey)
    guard try find.step() else { return nil }
    return table.schema.columns.indices.map { find.value(Int32($0)) }
  }

  /// What a row of the table holds in one of its columns; NULL where that does not travel.
  func value(of column: String, in row: [Value]) -> Value {
    table.schema.columns.firstIndex { SQLName($0.name) == SQLName(column) }.map { row[$0] } ?? .null
  }

  // MARK: With the app's triggers

  struct RowID: Hashable {
    let stream: Int
    let key: [Value]
  }

  func id(_ event: DownEvent) -> RowID { RowID(stream: stream, key: event.key) }

  /// Whether two states of a row are the same but for the app's own flag.
  func isSame(_ a: [Value]?, _ b: [Value]?) -> Bool {
    guard let a, let b else { return a == nil && b == nil }
    return a.indices.allSatisfy { $0 == table.syncedIndex || a[$0] == b[$0] }
  }

  private func run(_ sql: String, _ key: [Value], _ numbers: Int64...) throws -> Int {
    let statement = try Statement(database, sql)
    bind(key, to: statement, from: 1)
    for (index, number) in numbers.enumerated() { statement.bind(number, at: Int32(key.count + 1 + index)) }
    return try statement.run()
  }

  private var isEntry: String { "stream = \(stream) AND body IS NULL AND \(table.hasKey) AND seq >= ?\(firstNumber)" }
  private var firstNumber: Int { table.outboxColumns.count + 1 }

  /// Whether the outbox has an entry of the key from a number on.
  func hasEntry(_ key: [Value], from seq: Int64) throws -> Bool {
    let find = try Statement(database, "SELECT 1 FROM drover_outbox WHERE \(isEntry)")
    bind(key, to: find, from: 1)
    find.bind(seq, at: Int32(firstNumber))
    return try find.step()
  }

  func forget(_ key: [Value], from seq: Int64) throws {
    _ = try run("DELETE FROM drover_outbox WHERE \(isEntry)", key, seq)
  }

  /// Notes an own edit that the cloud has merged and whose entry is gone before it was confirmed.
  func noteMine(_ key: [Value], _ version: Int64) throws {
    _ = try run(
      "UPDATE drover_row SET mine = max(mine, ?\(firstNumber)) WHERE stream = \(stream) AND \(table.hasKey)", key,
      version)
  }

  /// Counts how often the app's triggers have changed what came down, one after the other.
  /// - Throws: `DownRefusal` when it is too often.
  func noteBounce(_ event: DownEvent, isBounce: Bool, within time: Int64, atMost most: Int64) throws {
    let isKey = "stream = \(stream) AND \(table.hasKey)"
    guard isBounce else {
      _ = try run("UPDATE drover_row SET bounces = 0 WHERE bounces > 0 AND \(isKey)", event.key)
      return
    }
    let (version, limit) = ("?\(firstNumber)", "?\(firstNumber + 1)")
    _ = try run(
      """
      UPDATE drover_row SET bounces = CASE WHEN \(version) - bounced_at < \(limit) THEN bounces + 1 ELSE 1 END,
             bounced_at = \(version)
       WHERE \(isKey)
      """, event.key, event.version, time)
    let count = try Statement(database, "SELECT bounces FROM drover_row WHERE \(isKey)")
    bind(event.key, to: count, from: 1)
    guard try count.step(), count.integer(0) > most else { return }
    throw DownRefusal(
      .trigger,
      "a trigger of the app's has changed the row \(most) times in a row after it came down; correct the trigger, or set `app_triggers: off`"
    )
  }

  private func bind(_ row: Values, to statement: Statement) {
    row.lendEach { statement.bind(lent: $1, at: Int32($0 + 1)) }
  }

  private func bind(_ key: [Value], to statement: Statement, from first: Int32) {
    for (index, value) in key.enumerated() { statement.bind(value, at: first + Int32(index)) }
  }
}
