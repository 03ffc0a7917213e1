// Streams that wait because of their sink tables, as the consumer keeps them for those who look.

import DroverCore
import GRDB

enum BlockedTable {
  static let migration = """
    CREATE TABLE drover_blocked (
      stream     TEXT NOT NULL,
      -- Empty: the streams of all machines.
      machine_id TEXT NOT NULL,
      table_name TEXT NOT NULL,
      reach      TEXT NOT NULL,
      cause      TEXT NOT NULL,
      text       TEXT NOT NULL,
      advice     TEXT NOT NULL,
      -- Microseconds since 1970.
      since      INTEGER NOT NULL,
      last_at    INTEGER NOT NULL,
      tries      INTEGER NOT NULL,
      PRIMARY KEY (stream, machine_id)
    ) WITHOUT ROWID;
    """

  /// None in a store of an older version.
  static func all(_ database: Database) throws -> [BlockedSink] {
    guard try database.tableExists("drover_blocked") else { return [] }
    return try Row.fetchAll(database, sql: "SELECT * FROM drover_blocked ORDER BY stream, machine_id").compactMap {
      row in
      // Another version may know other words, and another program may have written here.
      guard let stream = try? StreamName(row["stream"]), let reach = SinkBlocked.Reach(rawValue: row["reach"]),
        let cause = SinkBlocked.Cause(rawValue: row["cause"])
      else { return nil }
      return BlockedSink(
        stream: stream, machine: try? MachineID(row["machine_id"]),
        blocked: SinkBlocked(
          table: row["table_name"], reach: reach, cause: cause, text: row["text"], advice: row["advice"]),
        since: row["since"], last: row["last_at"], tries: row["tries"])
    }
  }
}

extension Transaction {
  func blockedSinks() throws -> [BlockedSink] { try BlockedTable.all(database) }

  func note(_ sink: BlockedSink) throws {
    try database.execute(
      sql: """
        INSERT INTO drover_blocked (stream, machine_id, table_name, reach, cause, text, advice, since, last_at, tries)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (stream, machine_id) DO UPDATE
           SET table_name = excluded.table_name, reach = excluded.reach, cause = excluded.cause, text = excluded.text,
               advice = excluded.advice, since = min(since, excluded.since), last_at = excluded.last_at,
               tries = excluded.tries
        """,
      arguments: [
        sink.stream.text, sink.machine?.text ?? "", sink.blocked.table, sink.blocked.reach.rawValue,
        sink.blocked.cause.rawValue, sink.blocked.text, sink.blocked.advice, sink.since, sink.last, sink.tries,
      ])
  }

  func forget(_ sink: BlockedSink) throws {
    try database.execute(
      sql: "DELETE FROM drover_blocked WHERE stream = ? AND machine_id = ?",
      arguments: [sink.stream.text, sink.machine?.text ?? ""])
    if sink.blocked.cause == .change { try reopenGaps(of: sink.stream, machine: sink.machine) }
  }
}
