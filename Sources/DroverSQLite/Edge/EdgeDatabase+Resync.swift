// Orders to bring rows once more. They stand in the database, so they outlive the agent, and another process may give one:
// the agent sees its commit as it sees the app's.

package import DroverCore
private import Foundation
import GRDB

extension EdgeDatabase {
  static let resyncTable = """
    CREATE TABLE IF NOT EXISTS drover_resync (
      stream    INTEGER PRIMARY KEY,
      -- Which rows are wanted, as an expression on the table; NULL: all.
      wanted    TEXT,
      -- Most rows a second; NULL: as fast as the window allows.
      rate      INTEGER,
      -- Rows of the table when it was ordered; looked at since, and entered into the outbox.
      total     INTEGER NOT NULL,
      looked    INTEGER NOT NULL DEFAULT 0,
      entered   INTEGER NOT NULL DEFAULT 0,
      -- Microseconds since 1970, of the first piece and the last.
      began_at  INTEGER,
      worked_at INTEGER
    )
    """

  /// Orders streams to be brought once more, for a program that is not the agent.
  /// - Parameter names: in which order does not matter: they are brought in the order of the declarations.
  /// - Throws: `EdgeStoreError`, and nothing is ordered then.
  package static func resync(
    path: String, declarations: [StreamDeclaration], quota: OutboxQuota, streams names: [StreamName], order: ResyncOrder
  ) throws {
    let edge = try prepare(path: path, declarations: declarations, quota: quota)
    for name in names {
      guard let stream = edge.streams.first(where: { $0.name == name }) else {
        throw EdgeStoreError.failed("resync \(name): the configuration names no such stream")
      }
      _ = try edge.resync(order, stream: stream.number)
    }
  }

  package func resync(_ order: ResyncOrder, stream: Int) throws(EdgeStoreError) -> ResyncProgress {
    try access { database in
      guard let name = streams.first(where: { $0.number == stream })?.name else {
        throw EdgeStoreError.failed("resync: there is no such stream")
      }
      guard let table = tables[stream] else {
        throw EdgeStoreError.failed(
          "resync \(name): it has no table whose rows could be sent; emitted events are sent until they are confirmed")
      }
      guard table.schema.flow.direction != .down else {
        throw EdgeStoreError.failed(
          "resync \(name): its rows come from the cloud (`direction: down`); `drover check --repair` in the cloud sends down what differs"
        )
      }
      let wanted = try table.wanted(order, timeColumn: declarations.first { $0.name == name }?.timeColumn)
      try database.inTransaction(.immediate) {
        try verify(database)
        try checkSchema(database)
        let running = try Row.fetchOne(
          database,
          sql: """
            SELECT resync.wanted, resync.stream IS NOT NULL AS isResync FROM drover_stream AS stream
              LEFT JOIN drover_resync AS resync ON resync.stream = stream.number
             WHERE stream.number = ? AND stream.backfill = 'running'
            """, arguments: [stream])
        let total = try Int.fetchOne(database, sql: "SELECT count(*) FROM \(quoted(table.name))")!
        if let running, running["isResync"] == 1, running["wanted"] as String? == wanted {
          // The same once more goes on where it is.
          try database.execute(
            sql: "UPDATE drover_resync SET rate = ?, total = ? WHERE stream = ?",
            arguments: [order.rate, total, stream])
        } else {
          // Whatever else is under way may not lose rows that it has not come to: then all rows are brought.
          try database.execute(
            sql: "INSERT OR REPLACE INTO drover_resync (stream, wanted, rate, total) VALUES (?, ?, ?, ?)",
            arguments: [stream, running == nil ? wanted : nil, order.rate, total])
          try database.execute(sql: "DELETE FROM drover_backfill WHERE stream = ?", arguments: [stream])
          try database.execute(
            sql: "UPDATE drover_stream SET backfill = 'running' WHERE number = ?", arguments: [stream])
        }
        return .commit
      }
      try lookForBackfill(database)
      return try progress(of: stream, database)
    }
  }

  package func resyncProgress(stream: Int) throws(EdgeStoreError) -> ResyncProgress? {
    try verified { database in
      try Bool.fetchOne(
        database, sql: "SELECT EXISTS (SELECT 1 FROM drover_resync WHERE stream = ?)", arguments: [stream])!
        ? progress(of: stream, database) : nil
    }
  }

  private func progress(of stream: Int, _ database: Database) throws -> ResyncProgress {
    try ResyncProgress.read(stream: stream, database)
      ?? ResyncProgress(total: 0, looked: 0, entered: 0, elapsed: 0, isDone: true)
  }

  /// Whether rows wait to be brought, and how fast those of the next stream may be.
  func lookForBackfill(_ database: Database) throws {
    let running = try prepared(
      """
      SELECT stream.number, resync.rate FROM drover_stream AS stream
        LEFT JOIN drover_resync AS resync ON resync.stream = stream.number WHERE stream.backfill = 'running'
      """, database)
    defer { running.reset() }
    var rates: [Int: Int?] = [:]
    while try running.step() {
      rates[Int(running.integer(0))] = running.isNull(1) ? .some(nil) : Int(max(1, running.integer(1)))
    }
    // What a stream that waits has not brought is brought when it goes on.
    for stream in waitingStreams { rates[stream] = nil }
    let next = streams.map(\.number).first { rates.keys.contains($0) } ?? rates.keys.min()
    backfilling = next
    backfillRate = next.flatMap { rates[$0] ?? nil }
  }

  /// Notes how far the stream's order has come, in the transaction of a piece of it.
  func noteResync(stream: Int, looked: Int, entered: Int, _ database: Database) throws {
    let note = try prepared(
      """
      UPDATE drover_resync SET looked = looked + ?1, entered = entered + ?2, began_at = ifnull(began_at, ?3), worked_at = ?3
       WHERE stream = ?4
      """, database)
    note.bind(Int64(looked), at: 1)
    note.bind(Int64(entered), at: 2)
    note.bind(Int64(Date().timeIntervalSince1970 * 1_000_000), at: 3)
    note.bind(Int64(stream), at: 4)
    try note.run()
  }
}

extension ResyncProgress {
  static func read(stream: Int, _ database: Database) throws -> ResyncProgress? {
    guard try database.tableExists("drover_resync") else { return nil }
    return try Row.fetchOne(
      database,
      sql: """
        SELECT resync.*, stream.backfill = 'done' AS isDone FROM drover_resync AS resync
          JOIN drover_stream AS stream ON stream.number = resync.stream WHERE resync.stream = ?
        """, arguments: [stream]
    ).map { row in
      let began: Int64? = row["began_at"]
      let worked: Int64? = row["worked_at"]
      return ResyncProgress(
        total: row["total"], looked: row["looked"], entered: row["entered"],
        elapsed: max(0, (worked ?? 0).clamped(to: Bounds.time) - (began ?? 0).clamped(to: Bounds.time)),
        isDone: row["isDone"])
    }
  }
}

extension CapturedTable {
  /// The order's selection as an expression on the table; nil: all rows.
  /// - Parameter configured: the column with a row's time that the configuration names.
  fileprivate func wanted(_ order: ResyncOrder, timeColumn configured: String?) throws(EdgeStoreError) -> String? {
    var parts: [String] = []
    let timeColumn = order.since?.column ?? configured
    if order.since != nil, timeColumn == nil {
      throw .failed(
        "resync \(name): it is not known which column has a row's time; give --time-column, or `time_column` in the stream's configuration"
      )
    }
    do {
      if let condition = try order.condition?.resolved(among: schema.columns) {
        parts.append("ifnull(\(condition.text { quoted($0) }), 0)")
      }
      if let since = order.since, let timeColumn {
        let named = Condition.comparison(.column(timeColumn), .same, .literal(.null))
        guard let column = try named.resolved(among: schema.columns).columns.first else { return nil }
        parts.append(Self.isSince(quoted(column), since.moment))
      }
    } catch {
      throw .failed("resync \(name): \(error.message)")
    }
    return parts.isEmpty ? nil : parts.joined(separator: " AND ")
  }

  /// Numbers are told apart by their size: 10^11 seconds are the year 5138, and 10^11 milliseconds were 1973.
  private static func isSince(_ column: String, _ moment: Int64) -> String {
    let days = "(\(moment) / 86400000000.0 + 2440587.5)"
    return """
      ifnull(CASE WHEN typeof(\(column)) IN ('integer', 'real')
        THEN \(column) * CASE WHEN abs(\(column)) < 1e11 THEN 1e6 WHEN abs(\(column)) < 1e14 THEN 1e3 ELSE 1.0 END >= \(moment)
        ELSE julianday(\(column)) >= \(days) END, 1)
      """
  }
}
