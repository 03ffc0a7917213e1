// Rows that machines refuse, as each of them said last.

import DroverCore
import GRDB

struct RefusedRowTable {
  static let migration = """
    -- How many rows a machine refuses. None of one that refuses no row.
    CREATE TABLE drover_refused (
      machine_id TEXT PRIMARY KEY,
      total      INTEGER NOT NULL
    ) WITHOUT ROWID;

    -- Those that it has named.
    CREATE TABLE drover_refused_row (
      id         INTEGER PRIMARY KEY,
      machine_id TEXT NOT NULL,
      stream     TEXT NOT NULL,
      local_id   TEXT NOT NULL,
      is_delete  INTEGER NOT NULL CHECK (is_delete IN (0, 1)),
      -- The decision of the cloud's that is refused.
      version    INTEGER NOT NULL,
      reason     TEXT NOT NULL,
      cause      TEXT NOT NULL,
      tries      INTEGER NOT NULL,
      -- When it was refused first and last, by the machine's clock, microseconds since 1970.
      since      INTEGER NOT NULL,
      last       INTEGER NOT NULL,
      UNIQUE (stream, local_id, machine_id)
    );
    CREATE INDEX drover_refused_row_machine ON drover_refused_row (machine_id);
    """

  let database: Database

  /// Replaces what the machine said before.
  func note(_ refused: RefusedRows, machine: MachineID) throws {
    let total = try Int.fetchOne(
      database.cachedStatement(sql: "SELECT total FROM drover_refused WHERE machine_id = ?"), arguments: [machine.text])
    guard total != nil || refused.total > 0 else { return }
    if refused.total == 0 {
      try database.execute(sql: "DELETE FROM drover_refused WHERE machine_id = ?", arguments: [machine.text])
    } else if total != refused.total {
      try database.execute(
        sql: "INSERT OR REPLACE INTO drover_refused (machine_id, total) VALUES (?, ?)",
        arguments: [machine.text, refused.total])
    }
    let known = try rows(RefusalFilter(machine: machine), after: 0, limit: .max)
    let changes = RefusedRowChanges(from: known, to: refused.rows)
    for id in changes.gone {
      try database.execute(sql: "DELETE FROM drover_refused_row WHERE id = ?", arguments: [id])
    }
    for row in changes.new {
      try database.execute(
        sql: """
          INSERT INTO drover_refused_row (machine_id, stream, local_id, is_delete, version, reason, cause, tries, since, last)
          VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
          ON CONFLICT (stream, local_id, machine_id) DO UPDATE
             SET is_delete = excluded.is_delete, version = excluded.version, reason = excluded.reason, cause = excluded.cause,
                 tries = excluded.tries, since = excluded.since, last = excluded.last
          """,
        arguments: [
          machine.text, row.stream.text, row.localID, row.isDelete, row.version, row.reason, row.cause, row.tries,
          row.since, row.last,
        ])
    }
  }

  /// Nothing of the stream goes down to the machine any more.
  func forget(_ stream: StreamName, machine: MachineID) throws {
    let gone = try rows(RefusalFilter(machine: machine), after: 0, limit: .max).filter {
      SQLName($0.row.stream.text) == SQLName(stream.text)
    }
    for row in gone {
      try database.execute(sql: "DELETE FROM drover_refused_row WHERE id = ?", arguments: [row.id])
    }
    try database.execute(
      sql: "UPDATE drover_refused SET total = total - ? WHERE machine_id = ?", arguments: [gone.count, machine.text])
    try database.execute(
      sql: "DELETE FROM drover_refused WHERE machine_id = ? AND total <= 0", arguments: [machine.text])
  }

  // MARK: For those who look

  /// In the order in which they were heard of; none in a store that no consumer of this version has opened yet.
  func rows(_ filter: RefusalFilter, after id: Int64, limit: Int) throws -> [KeptRefusal] {
    guard try database.tableExists("drover_refused_row") else { return [] }
    let meant = Self.condition(filter)
    return try Row.fetchAll(
      database, sql: "SELECT * FROM drover_refused_row WHERE \(meant.sql) AND id > ? ORDER BY id LIMIT ?",
      arguments: meant.arguments + [id, limit]
    ).compactMap(Self.refusal)
  }

  func list(_ filter: RefusalFilter, after id: Int64, limit: Int) throws -> RefusalList {
    guard try database.tableExists("drover_refused_row") else { return RefusalList() }
    func count(_ filter: RefusalFilter) throws -> Int {
      let meant = Self.condition(filter)
      return try Int.fetchOne(
        database, sql: "SELECT count(*) FROM drover_refused_row WHERE \(meant.sql)", arguments: meant.arguments)!
    }
    let total = try Int.fetchOne(
      database, sql: "SELECT ifnull(sum(total), 0) FROM drover_refused WHERE ?1 IS NULL OR machine_id = ?1",
      arguments: [filter.machine?.text])!
    return RefusalList(
      rows: try rows(filter, after: id, limit: limit), total: try count(filter),
      unnamed: max(0, total - (try count(RefusalFilter(machine: filter.machine)))))
  }

  /// By machine.
  /// - Parameter range: the first machine and the last.
  func counts(in range: StatementArguments) throws -> [String: Int] {
    guard try database.tableExists("drover_refused") else { return [:] }
    let rows = try Row.fetchAll(
      database, sql: "SELECT machine_id, total FROM drover_refused WHERE machine_id >= ? AND machine_id <= ?",
      arguments: range)
    return Dictionary(rows.map { ($0["machine_id"] as String, $0["total"] as Int) }) { first, _ in first }
  }

  /// The machines that refuse a row of an owner.
  func rows(of localID: String, _ stream: String, owner: String) throws -> [KeptRefusal] {
    guard try database.tableExists("drover_refused_row") else { return [] }
    return try Row.fetchAll(
      database,
      sql: """
        SELECT refused.* FROM drover_refused_row AS refused
         WHERE refused.stream = ?1 AND refused.local_id = ?2
           AND EXISTS (SELECT 1 FROM drover_flow AS flow
                        WHERE flow.stream = ?1 AND flow.machine_id = refused.machine_id AND flow.owner = ?3)
         ORDER BY refused.machine_id LIMIT \(RowStanding.mostRefusals)
        """, arguments: [stream, localID, owner]
    ).compactMap(Self.refusal)
  }

  private static func condition(_ filter: RefusalFilter) -> (sql: String, arguments: StatementArguments) {
    let parts = filter.parts
    return (
      (["1"] + parts.map { "\($0.column) = ?" }).joined(separator: " AND "), StatementArguments(parts.map(\.text))
    )
  }

  /// nil where another program has written what Drover does not know.
  private static func refusal(_ row: Row) -> KeptRefusal? {
    guard let machine = try? MachineID(row["machine_id"]), let stream = try? StreamName(row["stream"]) else {
      return nil
    }
    return KeptRefusal(
      id: row["id"], machine: machine,
      row: RefusedRow(
        stream: stream, localID: row["local_id"], isDelete: row["is_delete"], version: row["version"],
        reason: row["reason"], cause: row["cause"], tries: row["tries"], since: row["since"], last: row["last"]))
  }
}
