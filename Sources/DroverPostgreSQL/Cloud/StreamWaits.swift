// Streams that wait at their machines while the others go on, as last reported.

import DroverCore

enum StreamWaits {
  static let migration = """
    -- Times are microseconds since 1970.
    CREATE TABLE drover_stream_wait (
      machine_id TEXT COLLATE "C" NOT NULL,
      stream     TEXT COLLATE "C" NOT NULL,
      table_name TEXT NOT NULL,
      reason     TEXT NOT NULL,
      advice     TEXT NOT NULL,
      since      BIGINT NOT NULL,
      PRIMARY KEY (machine_id, stream)
    );
    """

  /// By machine.
  static func all(_ connection: Connection) throws -> [String: [StreamWait]] {
    let rows = try connection.query(
      "SELECT machine_id, stream, table_name, reason, advice, since FROM drover_stream_wait ORDER BY machine_id, stream"
    )
    var waits: [String: [StreamWait]] = [:]
    for row in 0..<rows.count {
      waits[rows.text(row, 0), default: []].append(
        StreamWait(
          stream: try StreamName(rows.text(row, 1)), table: rows.text(row, 2), reason: rows.text(row, 3),
          advice: rows.text(row, 4), since: rows.integer(row, 5)))
    }
    return waits
  }
}

extension Transaction {
  /// Replaces the machine's previous report.
  func note(_ waits: [StreamWait], machine: MachineID) throws {
    try connection.query("DELETE FROM drover_stream_wait WHERE machine_id = $1", [.text(machine.text)])
    for wait in waits {
      try connection.query(
        """
        INSERT INTO drover_stream_wait (machine_id, stream, table_name, reason, advice, since) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (machine_id, stream) DO UPDATE
           SET table_name = excluded.table_name, reason = excluded.reason, advice = excluded.advice, since = excluded.since
        """,
        [
          .text(machine.text), .text(wait.stream.text), .text(wait.table), .text(wait.reason), .text(wait.advice),
          .integer(wait.since),
        ])
    }
  }
}
