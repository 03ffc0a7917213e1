// Streams that wait at their machines while the others go on, as last reported.

import DroverCore
import GRDB

enum StreamWaits {
  static let migration = """
    -- Times are microseconds since 1970.
    CREATE TABLE drover_stream_wait (
      machine_id TEXT NOT NULL,
      stream     TEXT NOT NULL,
      table_name TEXT NOT NULL,
      reason     TEXT NOT NULL,
      advice     TEXT NOT NULL,
      since      INTEGER NOT NULL,
      PRIMARY KEY (machine_id, stream)
    ) WITHOUT ROWID;
    """

  /// By machine; none in a store of an older version.
  static func all(_ database: Database) throws -> [String: [StreamWait]] {
    guard try database.tableExists("drover_stream_wait") else { return [:] }
    var waits: [String: [StreamWait]] = [:]
    for row in try Row.fetchAll(database, sql: "SELECT * FROM drover_stream_wait ORDER BY machine_id, stream") {
      waits[row["machine_id"], default: []].append(
        StreamWait(
          stream: try StreamName(row["stream"]), table: row["table_name"], reason: row["reason"],
          advice: row["advice"], since: row["since"]))
    }
    return waits
  }
}

extension Transaction {
  /// Replaces the machine's previous report.
  func note(_ waits: [StreamWait], machine: MachineID) throws {
    try database.execute(sql: "DELETE FROM drover_stream_wait WHERE machine_id = ?", arguments: [machine.text])
    for wait in waits {
      try database.execute(
        sql: """
          INSERT OR REPLACE INTO drover_stream_wait (machine_id, stream, table_name, reason, advice, since)
          VALUES (?, ?, ?, ?, ?, ?)
          """, arguments: [machine.text, wait.stream.text, wait.table, wait.reason, wait.advice, wait.since])
    }
  }
}
