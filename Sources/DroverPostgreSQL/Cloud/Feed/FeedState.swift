// How far a change feed is. Numbers mean what they meant as long as the database is the one that it was: what tells it from another belongs to the
// era, so a store that was made of a dump or of a base backup has another one by itself.

import DroverCore

struct FeedState {
  /// The era, and a number: what is committed with it or a lower one is seen by every later snapshot, and nothing else will ever be.
  let newest: ChangeCursor
  /// How often tables were made, changed or put aside.
  let shapes: Int64

  /// To be asked outside of a transaction, before the snapshot in which changes are read.
  /// - Parameter database: as `origin` gives it.
  /// - Throws: `ChangesError.off`.
  init(_ connection: Connection, database: String) throws {
    let rows = try connection.query(
      "SELECT feed.era, feed.tableoid::bigint, \(ChangeFeed.settled), \(PostgreSQLCloudStore.shapes) FROM drover_feed AS feed"
    )
    guard rows.count > 0 else { throw ChangesError.off }
    var era = FNV1a()
    for part in [rows.text(0, 0), database, String(rows.integer(0, 1))] { era.combine(part) }
    newest = ChangeCursor(era: era.hexadecimal, number: rows.integer(0, 2))
    shapes = rows.integer(0, 3)
  }

  /// What tells the database from others, and from what it was before it was restored: the cluster, the database in it, and its timeline, which
  /// is another one after every recovery to a moment and every promotion.
  static func origin(_ connection: Connection) throws -> String {
    guard try !connection.query("SELECT pg_is_in_recovery()").boolean(0, 0) else {
      throw PostgreSQLError(
        operation: "read changes from", subject: connection.subject,
        cause: "it is a standby, and does not know which transactions are under way", state: "25006")
    }
    return try connection.query(
      """
      SELECT concat_ws(' ', system_identifier, (SELECT oid FROM pg_database WHERE datname = current_database()),
                       left(pg_walfile_name(pg_current_wal_lsn()), 8))
        FROM pg_control_system()
      """
    ).text(0, 0)
  }
}

/// How far the streams are, as a snapshot has it.
struct FeedStreams {
  private struct Stream {
    var counts: ChangeCounts
    var newest: Int64
    var lost: Int64
  }

  private var streams: [SQLName: Stream] = [:]

  init(_ connection: Connection) throws {
    let rows = try connection.query("SELECT stream, puts, deletes, newest, lost FROM drover_feed_stream")
    for row in 0..<rows.count {
      streams[SQLName(rows.text(row, 0))] = Stream(
        counts: ChangeCounts(puts: rows.integer(row, 1), deletes: rows.integer(row, 2)), newest: rows.integer(row, 3),
        lost: rows.integer(row, 4))
    }
  }

  /// The highest number that is committed.
  var newest: Int64 { streams.values.map(\.newest).max() ?? 0 }

  func counts(of stream: StreamName) -> ChangeCounts { self[stream]?.counts ?? ChangeCounts() }
  func newest(of stream: StreamName) -> Int64 { self[stream]?.newest ?? 0 }

  /// - Parameter stream: nil for all, those too whose tables are there no more.
  func lost(_ stream: StreamName?) -> Int64 {
    if let stream { return self[stream]?.lost ?? 0 }
    return streams.values.map(\.lost).max() ?? 0
  }

  private subscript(_ stream: StreamName) -> Stream? { streams[SQLName(stream.text)] }
}
