// Walking through a captured table in pieces: to bring rows that were there before Drover, to compare all of them with the cloud's, to
// send some again. Between two pieces the app goes on; no lock is held.

package import DroverCore
import GRDB

extension EdgeDatabase {
  // MARK: Backfill

  package func backfill(limit: Int) throws(EdgeStoreError) -> Bool {
    try access { database in
      try database.inTransaction(.immediate) {
        try verify(database)
        try checkSchema(database)
        try lookForBackfill(database)
        guard let number = backfilling else { return .commit }
        if let table = tables[number] {
          var hasMore = false
          do {
            try database.inSavepoint {
              hasMore = try sendRows(of: table, stream: number, limit: limit, database)
              return .commit
            }
          } catch let error as DatabaseError where error.isOfOneTable {
            wait(for: .walk(limit: limit), error, stream: number, database)
            return .commit
          }
          if hasMore { return .commit }
          try enterGone(of: table, stream: number, database)
        }
        try database.execute(sql: "DELETE FROM drover_backfill WHERE stream = ?", arguments: [number])
        try database.execute(sql: "UPDATE drover_stream SET backfill = 'done' WHERE number = ?", arguments: [number])
        return .commit
      }
      try lookForBackfill(database)
      try lookForGaps(database)
      return hasBackfill
    }
  }

  /// Looks at the next rows in the table's own order and enters those that are wanted. False at the table's end.
  func sendRows(of table: CapturedTable, stream: Int, limit: Int, _ database: Database) throws -> Bool {
    var cursor: [Value] = []
    let parts = try prepared("SELECT value FROM drover_backfill WHERE stream = ? ORDER BY part", database)
    parts.bind(Int64(stream), at: 1)
    while try parts.step() { cursor.append(parts.value(0)) }
    parts.reset()

    let wanted =
      try String.fetchOne(database, sql: "SELECT wanted FROM drover_resync WHERE stream = ?", arguments: [stream])
      ?? "1"
    let order = table.walkingOrder.count
    let keys = table.schema.key.count
    let rows = try walk(table, reading: table.wholeKeyExpressions + [wanted], after: cursor, limit: limit, database)
    defer { rows.reset() }
    var entrance = try Entrance(self, table, stream: stream, database)
    var (looked, entered) = (0, 0)
    while try rows.step() {
      looked += 1
      cursor = (0..<order).map { rows.value(Int32($0)) }
      guard rows.integer(Int32(order + keys)) != 0 else { continue }
      entered += 1
      try entrance.enter((0..<keys).map { rows.value(Int32(order + $0)) })
    }
    guard looked > 0 else { return false }
    try noteResync(stream: stream, looked: looked, entered: entered, database)
    let remember = try prepared(
      "INSERT OR REPLACE INTO drover_backfill (stream, part, value) VALUES (?, ?, ?)", database)
    for (part, value) in cursor.enumerated() {
      remember.bind(Int64(stream), at: 1)
      remember.bind(Int64(part), at: 2)
      remember.bind(value, at: 3)
      try remember.run()
    }
    return true
  }

  // MARK: Comparing

  package func survey(
    stream: Int, after cursor: [Value], limit: Int, _ see: ([Value], UInt64) -> Void
  ) throws(EdgeStoreError) -> [Value]? {
    try look(at: stream, after: cursor, limit: limit, reading: \.expressions) { rows, first, table, database in
      let key = table.schema.key.map { rows.value(first + Int32($0)) }
      see(key, try digest(rows, from: first, key: key, table, database))
    }
  }

  package func values(
    of column: Int, stream: Int, after cursor: [Value], limit: Int, _ see: (Value) -> Void
  ) throws(EdgeStoreError) -> [Value]? {
    try look(at: stream, after: cursor, limit: limit, reading: { [$0.expressions[column]] }) { rows, first, table, _ in
      let value = rows.value(first)
      // As a digest has them.
      see(column == table.syncedIndex ? .integer(1) : table.hashes[column]?.hashed(value) ?? value)
    }
  }

  /// Looks at the next rows of a table that travel.
  /// - Parameter see: gets the row, and the position of the first thing that is read of it.
  private func look(
    at stream: Int, after cursor: [Value], limit: Int, reading expressions: (CapturedTable) -> [String],
    _ see: (Statement, Int32, CapturedTable, Database) throws -> Void
  ) throws(EdgeStoreError) -> [Value]? {
    try access { database in
      guard let table = tables[stream] else {
        throw EdgeStoreError.failed("compare: the table is not there")
      }
      var last: [Value]?
      try database.inTransaction(.deferred) {
        try verify(database)
        try checkSchema(database)
        let order = table.walkingOrder.count
        let filter = table.filter.map { [$0] } ?? []
        let wanted = expressions(table)
        let rows = try walk(table, reading: wanted + filter, after: cursor, limit: limit, database)
        defer { rows.reset() }
        var count = 0
        while try rows.step() {
          count += 1
          if count == limit { last = (0..<order).map { rows.value(Int32($0)) } }
          guard filter.isEmpty || rows.integer(Int32(order + wanted.count)) != 0 else { continue }
          try see(rows, Int32(order), table, database)
        }
        return .commit
      }
      return last
    }
  }

  /// The digest of what would be sent of the row that a statement stands on.
  /// - Parameter first: the position of the schema's first column.
  private func digest(
    _ row: Statement, from first: Int32, key: [Value], _ table: CapturedTable, _ database: Database
  ) throws -> UInt64 {
    var digest = Digest()
    for index in table.schema.columns.indices {
      if index == table.syncedIndex {
        // In the cloud a row is there because it was synced, so the flag says so there.
        digest.combine(.integer(1))
      } else if let hash = table.hashes[index] {
        digest.combine(hash.hashed(row.value(first + Int32(index))))
      } else {
        row.digest(first + Int32(index), into: &digest)
      }
    }
    return try lineDigest(digest, key: key, table, database)
  }

  /// Adds the lines of a header.
  private func lineDigest(
    _ digest: Digest, key: [Value], _ table: CapturedTable, _ database: Database
  ) throws -> UInt64 {
    var digest = digest
    for lines in table.lines { digest.combine(lines: try readLines(lines, header: key, database)) }
    return digest.state
  }

  package func states(of keys: [[Value]], stream: Int) throws(EdgeStoreError) -> [RowState] {
    try access { database in
      guard let table = tables[stream] else {
        throw EdgeStoreError.failed("compare: the table is not there")
      }
      var states: [RowState] = []
      try database.inTransaction(.deferred) {
        try verify(database)
        try checkSchema(database)
        let columns = table.outboxColumns
        // Until a walk through the table has ended, any row of it may still have to enter the outbox.
        let isWalking = try Bool.fetchOne(
          database, sql: "SELECT backfill = 'running' FROM drover_stream WHERE number = ?", arguments: [stream])
        let waiting = try prepared(
          """
          SELECT 1 FROM drover_outbox WHERE stream = \(stream) AND body IS NULL
             AND seq > (SELECT confirmed_through FROM drover_stream WHERE number = \(stream))
             AND \(columns.enumerated().map { "\($1) IS ?\($0 + 1)" }.joined(separator: " AND ")) LIMIT 1
          """, database)
        for key in keys {
          var digest: UInt64?
          var unit: UnitDigest?
          if case .row(let values) = try content(of: key, stream: stream, table, database) {
            digest = try lineDigest(Digest(of: values), key: key, table, database)
            if table.freezes, !table.lines.isEmpty {
              unit = UnitDigest(
                header: values, lines: try table.lines.map { try readLines($0, header: key, database) })
            }
          }
          for (index, value) in key.enumerated() { waiting.bind(value, at: Int32(index + 1)) }
          states.append(RowState(digest: digest, isWaiting: try isWalking == true || waiting.step(), unit: unit))
          waiting.reset()
        }
        return .commit
      }
      return states
    }
  }

  package func enter(_ keys: [[Value]], stream: Int) throws(EdgeStoreError) {
    try access { database in
      try database.inTransaction(.immediate) {
        try verify(database)
        try checkSchema(database)
        guard let table = tables[stream] else {
          throw EdgeStoreError.failed("send again: the table is not there")
        }
        var entrance = try Entrance(self, table, stream: stream, database)
        for key in keys {
          if table.schema.kind == .payload {
            guard try content(of: key, stream: stream, table, database) != .none else { continue }
          }
          try entrance.enter(key)
        }
        return .commit
      }
    }
  }

  /// What would be sent of a row now.
  private func content(
    of key: [Value], stream: Int, _ table: CapturedTable, _ database: Database
  ) throws -> Content {
    try reader(of: stream, table, database).content(seq: 0, key: Values(key), into: ValueStore())
  }

  // MARK: Pieces

  /// Enters two-way rows of which something is known and which are gone, at the end of a walk through their table: the cloud may have lost the
  /// delete.
  private func enterGone(of table: CapturedTable, stream: Int, _ database: Database) throws {
    guard table.schema.flow.direction == .both,
      try String.fetchOne(database, sql: "SELECT wanted FROM drover_resync WHERE stream = ?", arguments: [stream])
        == nil
    else { return }
    let keys = table.outboxColumns
    let gone = try prepared(
      """
      SELECT \(keys.joined(separator: ", ")) FROM drover_row WHERE stream = \(stream)
         AND NOT EXISTS (SELECT 1 FROM \(quoted(table.name)) AS app WHERE \(table.isRow("drover_row")))
      """, database)
    defer { gone.reset() }
    var entrance = try Entrance(self, table, stream: stream, database)
    while try gone.step() { try entrance.enter(keys.indices.map { gone.value(Int32($0)) }) }
  }

  /// The next rows of a table: first the columns that it is walked by, then what is to be read.
  private func walk(
    _ table: CapturedTable, reading expressions: [String], after cursor: [Value], limit: Int, _ database: Database
  ) throws -> Statement {
    let order = table.walkingOrder
    let list = order.joined(separator: ", ")
    let beyond =
      cursor.isEmpty ? "" : "WHERE (\(list)) > (\(order.indices.map { "?\($0 + 1)" }.joined(separator: ", ")))"
    let rows = try prepared(
      """
      SELECT \((order + expressions).joined(separator: ", ")) FROM \(quoted(table.name)) \(beyond)
       ORDER BY \(list) LIMIT \(limit)
      """, database)
    for (index, value) in cursor.enumerated() { rows.bind(value, at: Int32(index + 1)) }
    return rows
  }
}

extension CapturedTable {
  /// Any rowid table can be walked by its rowid, also where its key holds NULL.
  fileprivate var walkingOrder: [String] { identity }
}

/// Enters rows into the outbox within one transaction. An older entry of a row is superseded, as by a trigger: it may be on its way with
/// what the row was under another schema.
struct Entrance {
  private let insert: Statement
  private let supersede: Statement
  /// Finds a record of a key that waits, and reads the row that has the key now; nil where no row is ever final.
  private var records: (find: Statement, rows: RowReader)?
  /// Finds an entry of a two-way row that waits.
  private var waiting: Statement?
  private var seq: Int64
  private var version: Int64

  /// - Parameter isEdit: whether the rows were edited, and not only sent again.
  init(
    _ edge: EdgeDatabase, _ table: CapturedTable, stream: Int, isEdit: Bool = false, _ database: Database
  ) throws {
    let next = try edge.prepared("SELECT seq, version FROM drover_next", database)
    defer { next.reset() }
    guard try next.step() else {
      throw EdgeStoreError.failed("enter rows: drover_clock is empty; detach and attach again")
    }
    (seq, version) = (next.integer(0), next.integer(1))
    let keys = table.outboxColumns
    let isTwoWay = table.schema.flow.direction == .both && !isEdit
    insert = try edge.prepared(
      """
      INSERT INTO drover_outbox (seq, stream, op, version\(isTwoWay ? ", again" : ""), \(keys.joined(separator: ", ")))
      VALUES (?1, \(stream), ?\(keys.count + 3), ?2\(isTwoWay ? ", 1" : ""), \(keys.indices.map { "?\($0 + 3)" }.joined(separator: ", ")))
      """, database)
    supersede = try edge.prepared(
      """
      DELETE FROM drover_outbox WHERE seq < ?1 AND stream = \(stream) AND body IS NULL
         AND \(keys.enumerated().map { "\($1) IS ?\($0 + 2)" }.joined(separator: " AND "))
         AND seq NOT IN (SELECT seq FROM drover_kept)
      """, database)
    if isTwoWay { waiting = try edge.prepared(table.findWaiting(stream: stream), database) }
    guard table.freezes else { return }
    let find = try edge.prepared(
      """
      SELECT 1 FROM drover_outbox WHERE stream = \(stream) AND body IS NULL AND life = ''
         AND \(keys.enumerated().map { "\($1) IS ?\($0 + 1)" }.joined(separator: " AND "))
         AND seq IN (SELECT seq FROM drover_kept) LIMIT 1
      """, database)
    records = (find, try edge.reader(of: stream, table, database))
  }

  /// Whether a record of the key waits and no row has the key now, or one that does not travel: a delete could overtake the record.
  private func isRecord(_ key: [Value]) throws -> Bool {
    guard let (find, rows) = records else { return false }
    for (index, value) in key.enumerated() { find.bind(value, at: Int32(index + 1)) }
    defer { find.reset() }
    return try find.step() && rows.content(seq: 0, key: Values(key), into: ValueStore()) == .none
  }

  /// Whether an entry of a two-way row waits: an edit has to stay one, and a row that is to be sent again is sent.
  private func isWaiting(_ key: [Value]) throws -> Bool {
    guard let waiting else { return false }
    defer { waiting.reset() }
    for (index, value) in key.enumerated() { waiting.bind(value, at: Int32(index + 1)) }
    return try waiting.step()
  }

  mutating func enter(_ key: [Value], _ operation: String = "put") throws {
    guard try !isRecord(key), try !isWaiting(key) else { return }
    insert.bind(seq, at: 1)
    insert.bind(version, at: 2)
    insert.bind(operation, at: Int32(key.count + 3))
    supersede.bind(seq, at: 1)
    for (index, value) in key.enumerated() {
      insert.bind(value, at: Int32(index + 3))
      supersede.bind(value, at: Int32(index + 2))
    }
    try insert.run()
    try supersede.run()
    seq += 1
    version += 1
  }
}
