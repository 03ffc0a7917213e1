// Reading the outbox: the entries of an interval and, in the same read transaction, what their rows hold now. So an entry's version
// and its row belong together, and header and lines of one commit are read as they were committed.

package import DroverCore
import GRDB

extension EdgeDatabase {
  package func read(_ request: ReadRequest, maximumBytes: Int) throws(EdgeStoreError) -> OutboxRead {
    try access { database in
      var result = OutboxRead(entries: [], scannedThrough: 0, lastSeq: 0)
      var lastVersion: Int64 = 0
      try database.inTransaction(.deferred) {
        try verifyFiles(database)
        let last = try hold(continuity, database)
        try checkSchema(database)
        lastVersion = last.version
        result = try read(request, lastSeq: last.seq, maximumBytes: maximumBytes, database)
        return .commit
      }
      // An interval in which nothing is left is sent too: something has superseded what was there.
      if !result.entries.isEmpty || request.isAgain { try vouch(for: result.lastSeq, version: lastVersion, database) }
      return result
    }
  }

  private func read(
    _ request: ReadRequest, lastSeq: Int64, maximumBytes: Int, _ database: Database
  ) throws -> OutboxRead {
    let after: Int64
    let bound: Int64
    let limit: Int
    let condition: String
    switch request {
    case .fresh(let from, let through, let most):
      (after, bound, limit) = (from, min(through, lastSeq), most)
      condition = "synced = 0"
    case .again(let stream, let interval, let most):
      (after, bound, limit) = (interval.after, interval.through, most)
      condition = "stream = \(stream)"
    }
    let keys = (0..<keyColumns).map(Bookkeeping.keyColumn).joined(separator: ", ")
    let entries = try prepared(
      """
      SELECT seq, stream, version, body, life, again, \(keys) FROM drover_outbox
       WHERE seq > ?1 AND seq <= ?2 AND \(condition) ORDER BY seq LIMIT ?3
      """, database)
    entries.bind(after, at: 1)
    entries.bind(bound, at: 2)
    entries.bind(Int64(limit), at: 3)
    defer { entries.reset() }

    var result = OutboxRead(entries: [], scannedThrough: max(after, bound), lastSeq: lastSeq)
    result.entries.reserveCapacity(min(limit, 1024))
    let store = ValueStore()
    let noKey = store.values(from: 0)
    var rows = 0
    var bytes = 0
    // Entries of one stream mostly stand together, so what belongs to it is looked up where it changes.
    var current: (number: Int, source: EntrySource)?
    while try entries.step() {
      let seq = entries.integer(0)
      let number = Int(entries.integer(1))
      if current?.number != number { current = (number, try source(of: number, database)) }
      if current!.source.isKnown {
        func key(columns: Int32, tellsLives: Bool = false) -> Values {
          let first = store.count
          for column in 0..<columns { store.append(lent: entries.lent(6 + column)) }
          if tellsLives { store.append(lent: entries.lent(4)) }
          return store.values(from: first)
        }
        var entry = OutboxEntry(seq: seq, stream: number, version: entries.integer(2), key: noKey, content: .none)
        switch current!.source {
        case .unknown, .missingTable: break
        case .intake:
          entry.key = key(columns: 1)
          if case .text(let body) = entries.value(3) { entry.content = .json(body) }
        case .table(let reader, let keys, let lines):
          entry.key = key(columns: keys, tellsLives: reader.table.schema.tellsLives)
          do {
            entry.content = try reader.content(seq: seq, key: entry.key, into: store)
            if reader.isKept { try warnOfReusedKey(of: entry, reader.table, database) }
            if !lines.isEmpty, entry.content != .none {
              entry.lines = try readLines(of: entry, reader, lines, database)
              for value in entry.lines.joined().joined() { bytes += value.lend(\.size) }
            }
            if reader.table.schema.flow.direction == .both {
              try addAncestry(to: &entry, isAgain: entries.integer(5) != 0, database)
            }
          } catch let error as DatabaseError where error.isOfOneTable {
            // Nothing of the stream is sent of what is read now, for it waits from here on.
            wait(for: .entry(seq), error, stream: number, database)
            current = (number, .missingTable)
            (entry.content, entry.lines) = (.none, [])
          }
        }
        bytes += entry.content.size
        result.entries.append(entry)
      }
      rows += 1
      if rows == limit || bytes > maximumBytes {
        result.scannedThrough = seq
        break
      }
    }
    return result
  }

  /// Throws when the tables are not what they were when the streams were last looked at. The statement is reset in any case: one that
  /// stays open holds a lock that the app would meet.
  func checkSchema(_ database: Database) throws {
    let version = try prepared("PRAGMA schema_version", database)
    defer { version.reset() }
    guard try version.step(), version.integer(0) == schemaVersion else { throw EdgeStoreError.schemaChanged }
    // The first key that is used again is told by the schema too.
    let lives = try prepared("SELECT ifnull(sum(lives), 0) FROM drover_stream", database)
    defer { lives.reset() }
    guard try lives.step(), lives.integer(0) == streamsWithLives else { throw EdgeStoreError.schemaChanged }
  }

  /// Where what an entry speaks of is read.
  private enum EntrySource {
    /// A stream that the configuration no longer names: its entries stay in the outbox, untouched.
    case unknown
    case intake
    case missingTable
    case table(RowReader, keys: Int32, lines: [CapturedLines])

    var isKnown: Bool { if case .unknown = self { false } else { true } }
  }

  private func source(of number: Int, _ database: Database) throws -> EntrySource {
    guard let stream = streams.first(where: { $0.number == number }) else { return .unknown }
    guard !isWaiting(number) else { return .missingTable }
    guard stream.table != nil else { return .intake }
    guard let table = tables[number] else { return .missingTable }
    return .table(
      try reader(of: number, table, database), keys: Int32(table.schema.sourceKey.count), lines: table.lines)
  }

  func reader(of stream: Int, _ table: CapturedTable, _ database: Database) throws -> RowReader {
    if let reader = readers[stream] { return reader }
    let reader = try RowReader(table, database)
    readers[stream] = reader
    return reader
  }

  /// The lines of an entry: those that stand in their tables, and those that were kept for it when they were deleted.
  private func readLines(
    of entry: OutboxEntry, _ reader: RowReader, _ lines: [CapturedLines], _ database: Database
  ) throws -> [[[Value]]] {
    let key = Array(entry.key)
    // Of a header that was kept, its lines are there no longer where another header has its key by now.
    let isTheirs = try !reader.isKept || hasHeader(entry, key, reader.table, database)
    let there = isTheirs ? try lines.map { try readLines($0, header: key, database) } : lines.map { _ in [] }
    guard reader.table.freezes else { return there }
    let kept = try reader.keptLines(seq: entry.seq, header: key)
    return zip(lines, zip(there, kept)).map { lines, rows in
      // Where the header is there, a line that only seemed to go is there, too. A line of a header that is gone is as it was kept.
      let key = { (row: [Value]) in lines.schema.rows.keyValues(of: row) }
      let kept = Dictionary(rows.1.map { (key($0), $0) }) { first, _ in first }
      let present = Set(rows.0.map(key))
      return (reader.isKept ? rows.0.map { kept[key($0)] ?? $0 } : rows.0)
        + rows.1.filter { !present.contains(key($0)) }
    }
  }

  /// Says once for a stream that a key is used again whose complete row was deleted, as far as the agent can tell: while the record waits.
  private func warnOfReusedKey(of entry: OutboxEntry, _ table: CapturedTable, _ database: Database) throws {
    guard table.freezes, !reusing.contains(entry.stream) else { return }
    let columns = table.schema.sourceKey.indices.map(Bookkeeping.keyColumn)
    let later = try prepared(
      """
      SELECT 1 FROM drover_outbox WHERE stream = ?1 AND body IS NULL AND life = '' AND op = 'put' AND seq > ?2
         AND \(columns.enumerated().map { "\($1) IS ?\($0 + 3)" }.joined(separator: " AND "))
      """, database)
    defer { later.reset() }
    later.bind(Int64(entry.stream), at: 1)
    later.bind(entry.seq, at: 2)
    entry.key.lendEach { later.bind(lent: $1, at: Int32($0 + 3)) }
    guard try later.step() else { return }
    reusing.insert(entry.stream)
    warn(
      "capture \(table.name): a row has the key \(table.keyNames) of a complete row that is gone, and in the cloud both are one record: the second is a dead letter (`frozen`) there unless it says the same; name columns in `key` that are never used again, for example `key: [order_number]`"
    )
  }

  private func hasHeader(
    _ entry: OutboxEntry, _ key: [Value], _ table: CapturedTable, _ database: Database
  ) throws -> Bool {
    guard let units = table.units(entry.stream) else { return false }
    let find = try prepared(units.findOfEntry, database)
    defer { find.reset() }
    for (index, value) in key.enumerated() { find.bind(value, at: Int32(index + 1)) }
    find.bind(entry.seq, at: Int32(key.count + 1))
    return try find.step()
  }

  /// The lines of the header with this key, value for value: one that names it in another case or type is none of its lines in the
  /// cloud either.
  func readLines(_ lines: CapturedLines, header key: [Value], _ database: Database) throws -> [[Value]] {
    let select = try prepared(lines.select, database)
    defer { select.reset() }
    for (index, value) in key.enumerated() { select.bind(value, at: Int32(index + 1)) }
    var rows: [[Value]] = []
    while try select.step() {
      let row = lines.schema.rows.columns.indices.map { select.value(Int32($0)) }
      if lines.schema.header(of: row) == key { rows.append(row) }
    }
    return rows
  }
}

extension ReadRequest {
  fileprivate var isAgain: Bool {
    if case .again = self { true } else { false }
  }
}

extension Content {
  /// About how much memory its values take, in bytes.
  fileprivate var size: Int {
    switch self {
    case .none: 0
    case .json(let body): body.count
    case .row(let values): values.size
    }
  }
}

extension Values {
  fileprivate var size: Int {
    var sum = 0
    lendEach { sum += $1.size }
    return sum
  }
}

extension LentValue {
  fileprivate var size: Int {
    switch self {
    case .text(let bytes), .blob(let bytes): 16 + bytes.count
    default: 16
    }
  }
}
