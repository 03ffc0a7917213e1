// What the cloud has confirmed, over a start of the agent: of each stream the front, and the ranges beyond a gap. What lies in either is
// forgotten, so a cloud that holds less of it than this has to be noticed.

package import DroverCore
import GRDB

extension EdgeDatabase {
  /// Where confirmed ranges stand until the front has passed them. There are at most as many as events fit into the window: before each
  /// is something that was sent and is not confirmed.
  static let aheadTable = """
    CREATE TABLE IF NOT EXISTS drover_ahead (
      stream      INTEGER NOT NULL,
      after_seq   INTEGER NOT NULL,
      through_seq INTEGER NOT NULL CHECK (through_seq > after_seq),
      PRIMARY KEY (stream, after_seq)
    ) WITHOUT ROWID
    """

  package func confirmed() throws(EdgeStoreError) -> [Int: IntervalSet] {
    try verified { try confirmed($0) }
  }

  func confirmed(_ database: Database) throws -> [Int: IntervalSet] {
    let rows = try Row.fetchAll(
      database,
      sql: """
        SELECT number AS stream, 0 AS after_seq, confirmed_through AS through_seq FROM drover_stream WHERE confirmed_through > 0
         UNION ALL SELECT stream, after_seq, through_seq FROM drover_ahead
        """)
    return rows.reduce(into: [:]) { sets, row in
      if let interval = Self.interval(row) { sets[row["stream"], default: IntervalSet()].insert(interval) }
    }
  }

  /// Writes down what was confirmed of a stream beyond its front, within the transaction that forgets it; what the front has passed is
  /// written down with it.
  func noteAhead(_ confirmed: IntervalSet, front: Int64, _ stream: Int, _ database: Database) throws {
    let noted = try intervals(in: "drover_ahead", of: stream, database)
    var ahead = noted
    ahead.formUnion(confirmed)
    if front > 0 { ahead.remove(Interval(after: 0, through: front)) }
    try write(ahead, over: noted, in: "drover_ahead", of: stream, database)
  }

  /// Writes the ranges of a stream where others stand.
  func write(
    _ set: IntervalSet, over noted: IntervalSet, in table: String, of stream: Int, _ database: Database
  ) throws {
    for interval in Set(noted.intervals).subtracting(set.intervals) {
      try database.execute(
        sql: "DELETE FROM \(table) WHERE stream = ? AND after_seq = ?", arguments: [stream, interval.after])
    }
    for interval in Set(set.intervals).subtracting(noted.intervals) {
      try database.execute(
        sql: "INSERT INTO \(table) (stream, after_seq, through_seq) VALUES (?, ?, ?)",
        arguments: [stream, interval.after, interval.through])
    }
  }

  func intervals(in table: String, of stream: Int, _ database: Database) throws -> IntervalSet {
    let rows = try Row.fetchAll(
      database.cachedStatement(sql: "SELECT after_seq, through_seq FROM \(table) WHERE stream = ?"),
      arguments: [stream])
    return IntervalSet(rows.compactMap(Self.interval))
  }

  static func interval(_ row: Row) -> Interval? {
    Interval(believing: row["after_seq"], row["through_seq"])
  }
}
