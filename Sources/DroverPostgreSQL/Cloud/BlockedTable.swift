// Streams that wait because of their sink tables, as the consumers keep them for those who look.

import DroverCore

enum BlockedTable {
  static let migration = """
    CREATE TABLE drover_blocked (
      stream     TEXT COLLATE "C" NOT NULL,
      -- Empty: the streams of all machines.
      machine_id TEXT COLLATE "C" NOT NULL,
      table_name TEXT NOT NULL,
      reach      TEXT NOT NULL,
      cause      TEXT NOT NULL,
      text       TEXT NOT NULL,
      advice     TEXT NOT NULL,
      -- Microseconds since 1970.
      since      BIGINT NOT NULL,
      last_at    BIGINT NOT NULL,
      tries      BIGINT NOT NULL,
      PRIMARY KEY (stream, machine_id)
    );
    """

  static func all(_ connection: Connection) throws -> [BlockedSink] {
    let rows = try connection.query(
      """
      SELECT stream, machine_id, table_name, reach, cause, text, advice, since, last_at, tries FROM drover_blocked
       ORDER BY stream, machine_id
      """)
    return (0..<rows.count).compactMap { row in
      // Another version may know other words, and another program may have written here.
      guard let stream = try? StreamName(rows.text(row, 0)), let reach = SinkBlocked.Reach(rawValue: rows.text(row, 3)),
        let cause = SinkBlocked.Cause(rawValue: rows.text(row, 4))
      else { return nil }
      return BlockedSink(
        stream: stream, machine: try? MachineID(rows.text(row, 1)),
        blocked: SinkBlocked(
          table: rows.text(row, 2), reach: reach, cause: cause, text: rows.text(row, 5), advice: rows.text(row, 6)),
        since: rows.integer(row, 7), last: rows.integer(row, 8), tries: Int(rows.integer(row, 9)))
    }
  }
}

extension Transaction {
  func blockedSinks() throws -> [BlockedSink] { try BlockedTable.all(connection) }

  func note(_ sink: BlockedSink) throws {
    try connection.query(
      """
      INSERT INTO drover_blocked AS known (stream, machine_id, table_name, reach, cause, text, advice, since, last_at, tries)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
      ON CONFLICT (stream, machine_id) DO UPDATE
         SET table_name = excluded.table_name, reach = excluded.reach, cause = excluded.cause, text = excluded.text,
             advice = excluded.advice, since = least(known.since, excluded.since), last_at = excluded.last_at,
             tries = excluded.tries
      """,
      [
        .text(sink.stream.text), .text(sink.machine?.text ?? ""), .text(sink.blocked.table),
        .text(sink.blocked.reach.rawValue), .text(sink.blocked.cause.rawValue), .text(sink.blocked.text.withoutNUL),
        .text(sink.blocked.advice.withoutNUL), .integer(sink.since), .integer(sink.last), .integer(sink.tries),
      ])
  }

  func forget(_ sink: BlockedSink) throws {
    try connection.query(
      "DELETE FROM drover_blocked WHERE stream = $1 AND machine_id = $2",
      [.text(sink.stream.text), .text(sink.machine?.text ?? "")])
    if sink.blocked.cause == .change { try reopenGaps(of: sink.stream, machine: sink.machine) }
  }
}
