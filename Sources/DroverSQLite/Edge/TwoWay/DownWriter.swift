// Writes rows that come down into one captured table. A class with its statements prepared, because a hundred thousand rows of reference data
// come in one go.

import DroverCore
import GRDB

/// The connection fires no triggers, so what is written here is no edit and makes no event.
final class DownWriter {
  let stream: Int
  let table: CapturedTable
  private let known: Statement
  private let waiting: Statement
  private let holdAgain: Statement
  private let holdFirst: Statement
  private let find: Statement
  private let update: Statement?
  private let insert: Statement
  private let delete: Statement
  /// The position of a statement's first parameter for the key, after the row's.
  private let firstKey: Int32

  init(_ table: CapturedTable, stream: Int, _ database: Database) throws {
    self.table = table
    self.stream = stream
    let columns = table.schema.columns
    firstKey = Int32(columns.count) + 1
    let writable = Set(table.writable.map(SQLName.init))
    let key = Set(table.schema.key)
    // A column that does not travel keeps what it holds, and a generated one cannot be written.
    let written = columns.indices.filter { writable.contains(SQLName(columns[$0].name)) }
    // A row that came from the cloud is there.
    let value = { (index: Int) -> String in index == table.syncedIndex ? "1" : "?\(index + 1)" }
    let name = quoted(table.name)
    let isRow = table.schema.key.enumerated().map { position, index -> String in
      // First by the column's own collation, which an index knows, then by bytes: another spelling is another row.
      let (column, key) = (table.expressions[index], "?\(columns.count + 1 + position)")
      return "\(column) IS \(key) AND \(column) IS \(key) COLLATE BINARY"
    }.joined(separator: " AND ")
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

  private func bind(_ row: Values, to statement: Statement) {
    row.lendEach { statement.bind(lent: $1, at: Int32($0 + 1)) }
  }

  private func bind(_ key: [Value], to statement: Statement, from first: Int32) {
    for (index, value) in key.enumerated() { statement.bind(value, at: first + Int32(index)) }
  }
}
