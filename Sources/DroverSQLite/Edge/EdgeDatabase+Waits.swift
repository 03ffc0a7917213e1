// Streams that wait while the others go on: the table of one is not what the configuration says, or cannot be read. Its triggers stay as they are,
// so what the app writes goes on being captured where there were some, and the app's own statements never meet a trigger that was half made.

import DroverCore
import GRDB

extension EdgeDatabase {
  static let waitTable = """
    CREATE TABLE IF NOT EXISTS drover_wait (
      stream     INTEGER PRIMARY KEY,
      since      INTEGER NOT NULL,
      table_name TEXT NOT NULL,
      reason     TEXT NOT NULL,
      advice     TEXT NOT NULL,
      -- The app's own `synced` flag could not be set of a row, so all of them are brought once more when the stream goes on.
      is_unflagged INTEGER NOT NULL DEFAULT 0
    )
    """

  /// What could not be read of a table that could be attached, so that it is tried again before anything else is said of it.
  enum Failure {
    /// The row of this entry.
    case entry(Int64)
    /// So many of the next rows that are to be brought.
    case walk(limit: Int)
  }

  func isWaiting(_ stream: Int) -> Bool { waitingStreams.contains(stream) }

  /// Runs what concerns one stream's table, and takes back what it wrote where that fails.
  /// - Returns: why the stream has to wait; nil when it need not.
  func attempt(_ table: String, _ database: Database, _ body: () throws -> Void) throws -> CaptureRefusal? {
    var refusal: CaptureRefusal?
    do {
      try database.inSavepoint {
        try body()
        return .commit
      }
    } catch let error as CaptureRefusal {
      refusal = error
    } catch let error as DatabaseError where error.isOfOneTable {
      refusal = CaptureRefusal(table, error)
    }
    // GRDB remembers tables and columns past a rollback.
    if refusal != nil { database.clearSchemaCache() }
    return refusal
  }

  /// Writes down which streams wait, where `drover status` finds it. What waited for the same reason goes on waiting since then.
  /// - Parameter refusals: by the stream's number.
  func noteWaits(
    _ refusals: [Int: CaptureRefusal], of streams: [EdgeStream], _ database: Database
  ) throws -> [StreamWait] {
    let known = try StreamWait.all(database)
    let now = try Int64.fetchOne(database, sql: "SELECT \(Bookkeeping.wallClock)")!
    let waits = streams.compactMap { stream -> StreamWait? in
      guard let refusal = refusals[stream.number] else { return nil }
      let wait = StreamWait(
        stream: stream.name, table: stream.table ?? "", reason: refusal.reason, advice: refusal.advice, since: now)
      return known.first(where: wait.isSame) ?? wait
    }
    guard waits != known else { return waits }
    let unflagged = try Set(Int.fetchAll(database, sql: "SELECT stream FROM drover_wait WHERE is_unflagged"))
    for stream in unflagged where refusals[stream] == nil { try startBackfill(stream, database) }
    try database.execute(sql: "DELETE FROM drover_wait")
    for wait in waits {
      guard let number = streams.first(where: { $0.name == wait.stream })?.number else { continue }
      try database.execute(
        sql: """
          INSERT INTO drover_wait (stream, since, table_name, reason, advice, is_unflagged) VALUES (?, ?, ?, ?, ?, ?)
          """,
        arguments: [number, wait.since, wait.table, wait.reason, wait.advice, unflagged.contains(number)])
    }
    return waits
  }

  /// Takes the new waits as they are now, and says what has changed.
  func take(_ waits: [StreamWait], of streams: [EdgeStream]) {
    for wait in waits where !self.waits.contains(where: wait.isSame) {
      warn("capture \(wait.stream): the stream waits, and the others go on: \(wait.reason); \(wait.advice)")
    }
    for wait in self.waits where !waits.contains(where: { $0.stream == wait.stream }) {
      warn("capture \(wait.stream): it goes on")
    }
    self.waits = waits
    waitingStreams = Set(streams.filter { stream in waits.contains { $0.stream == stream.name } }.map(\.number))
  }

  /// A stream's table could be attached, and something of it cannot be read: the stream waits until `refresh` finds that it can.
  func wait(for failure: Failure, _ error: DatabaseError, stream number: Int, _ database: Database) {
    guard let stream = streams.first(where: { $0.number == number }), !isWaiting(number) else { return }
    failures[number] = failure
    // The tables are looked at anew, and it is written down.
    schemaVersion = -1
    let refusal = CaptureRefusal(stream.table ?? "", error)
    let now = (try? Int64.fetchOne(database, sql: "SELECT \(Bookkeeping.wallClock)")).flatMap(\.self) ?? 0
    take(
      waits + [
        StreamWait(
          stream: stream.name, table: stream.table ?? "", reason: refusal.reason, advice: refusal.advice, since: now)
      ], of: streams)
  }

  /// Tries again what could not be read of a table.
  func tryAgain(_ failure: Failure, of stream: Int, _ table: CapturedTable, _ database: Database) throws {
    switch failure {
    case .entry(let seq):
      let keys = table.outboxColumns
      let entry = try Statement(
        database, "SELECT \(keys.joined(separator: ", ")) FROM drover_outbox WHERE seq = ? AND stream = ?")
      entry.bind(seq, at: 1)
      entry.bind(Int64(stream), at: 2)
      guard try entry.step() else { return }
      let key = keys.indices.map { entry.value(Int32($0)) }
      _ = try RowReader(table, database).content(seq: seq, key: Values(key), into: ValueStore())
      for lines in table.lines {
        let select = try Statement(database, lines.select)
        for (index, value) in key.enumerated() { select.bind(value, at: Int32(index + 1)) }
        while try select.step() {}
      }
    case .walk(let limit): _ = try sendRows(of: table, stream: stream, limit: limit, database)
    }
  }
}

extension CapturedTable {
  /// Prepares what reads the table's rows. Functions and collations that only the app's own connections have are found so.
  func tryReading(_ database: Database) throws {
    _ = try Statement(database, selectRow)
    _ = try Statement(
      database,
      "SELECT \((identity + wholeKeyExpressions).joined(separator: ", ")) FROM \(quoted(name)) ORDER BY \(identity.joined(separator: ", "))"
    )
    for lines in lines { _ = try Statement(database, lines.select) }
  }
}

extension StreamWait {
  /// None in a database that an older version has attached.
  static func all(_ database: Database) throws -> [StreamWait] {
    guard try database.tableExists("drover_wait") else { return [] }
    let rows = try Row.fetchAll(
      database,
      sql: """
        SELECT stream.name, waiting.since, waiting.table_name, waiting.reason, waiting.advice
          FROM drover_wait AS waiting JOIN drover_stream AS stream ON stream.number = waiting.stream ORDER BY stream.number
        """)
    return try rows.map {
      StreamWait(
        stream: try StreamName($0["name"]), table: $0["table_name"], reason: $0["reason"], advice: $0["advice"],
        since: $0["since"])
    }
  }
}

extension CaptureRefusal {
  static func missing(_ table: String) -> Self {
    Self(
      "there is no table \(table)",
      advice: "the stream goes on by itself when the app has made it; correct its name if it has another one")
  }

  /// - Parameter error: one that is `isOfOneTable`.
  init(_ table: String, _ error: DatabaseError) {
    self.init(
      "table \(table) cannot be read as configured: \(error.explanation)",
      advice:
        "Drover's connection has none of the app's own functions and collations: leave out the column (`exclude`), name a `key` without it, or take it out of the table; otherwise correct the row or the table"
    )
  }
}

extension DatabaseError {
  /// Whether it comes from one table and what is said of it, and not from the disk, a lock or the whole database.
  var isOfOneTable: Bool {
    switch resultCode {
    case .SQLITE_ERROR, .SQLITE_CONSTRAINT, .SQLITE_MISMATCH, .SQLITE_TOOBIG, .SQLITE_RANGE: !saysTableIsGone
    default: false
    }
  }
}
