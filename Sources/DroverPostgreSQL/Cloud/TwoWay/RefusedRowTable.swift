// Rows that machines refuse, as each of them said last.

import DroverCore

struct RefusedRowTable {
  static let migration = """
    -- How many rows a machine refuses. None of one that refuses no row.
    CREATE TABLE drover_refused (
      machine_id TEXT COLLATE "C" PRIMARY KEY,
      total      BIGINT NOT NULL
    );

    -- Those that it has named.
    CREATE TABLE drover_refused_row (
      id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      machine_id TEXT COLLATE "C" NOT NULL,
      -- As the machine spells it.
      stream     TEXT COLLATE "C" NOT NULL,
      local_id   TEXT COLLATE "C" NOT NULL,
      is_delete  BOOLEAN NOT NULL,
      -- The decision of the cloud's that is refused.
      version    BIGINT NOT NULL,
      reason     TEXT COLLATE "C" NOT NULL,
      cause      TEXT NOT NULL,
      tries      BIGINT NOT NULL,
      -- When it was refused first and last, by the machine's clock, microseconds since 1970.
      since      BIGINT NOT NULL,
      last       BIGINT NOT NULL
    );
    -- A local ID may be longer than an entry of an index.
    CREATE INDEX drover_refused_row_id ON drover_refused_row USING hash (local_id);
    CREATE INDEX drover_refused_row_machine ON drover_refused_row (machine_id);
    """

  let connection: Connection

  /// Replaces what the machine said before. The row of the machine is locked first: each consumer of a group hears the same.
  func note(_ refused: RefusedRows, machine: MachineID) throws {
    let name = Parameter.text(machine.text)
    let total = try connection.query("SELECT total FROM drover_refused WHERE machine_id = $1", [name])
    guard total.count > 0 || refused.total > 0 else { return }
    try connection.query(
      """
      INSERT INTO drover_refused (machine_id, total) VALUES ($1, $2)
      ON CONFLICT (machine_id) DO UPDATE SET total = excluded.total
      """, [name, .integer(refused.total)])
    // PostgreSQL's text cannot hold a NUL, and neither can the sink table's key.
    let named = refused.rows.filter { !$0.localID.utf8.contains(0) }
    let changes = RefusedRowChanges(
      from: try rows(RefusalFilter(machine: machine), after: 0, limit: .max), to: named)
    if !changes.gone.isEmpty {
      try connection.query("DELETE FROM drover_refused_row WHERE id = ANY ($1::bigint[])", [.integers(changes.gone)])
    }
    for row in changes.new {
      let own: [Parameter] = [
        name, .text(row.stream.text), .text(row.localID), .boolean(row.isDelete), .integer(row.version),
        .text(row.reason), .text(row.cause), .integer(row.tries), .integer(row.since), .integer(row.last),
      ]
      let updated = try connection.query(
        """
        UPDATE drover_refused_row
           SET is_delete = $4, version = $5, reason = $6, cause = $7, tries = $8, since = $9, last = $10
         WHERE machine_id = $1 AND stream = $2 AND local_id = $3
        """, own
      ).changed
      guard updated == 0 else { continue }
      try connection.query(
        """
        INSERT INTO drover_refused_row (machine_id, stream, local_id, is_delete, version, reason, cause, tries, since, last)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        """, own)
    }
    if refused.total == 0 { try connection.query("DELETE FROM drover_refused WHERE machine_id = $1", [name]) }
  }

  /// Nothing of the stream goes down to the machine any more.
  func forget(_ stream: SQLName, machine: String) throws {
    guard let machine = try? MachineID(machine) else { return }
    let gone = try rows(RefusalFilter(machine: machine), after: 0, limit: .max).filter {
      SQLName($0.row.stream.text) == stream
    }
    guard !gone.isEmpty else { return }
    try connection.query("DELETE FROM drover_refused_row WHERE id = ANY ($1::bigint[])", [.integers(gone.map(\.id))])
    try connection.query(
      "UPDATE drover_refused SET total = total - $2 WHERE machine_id = $1", [.text(machine.text), .integer(gone.count)])
    try connection.query(
      "DELETE FROM drover_refused WHERE machine_id = $1 AND total <= 0", [.text(machine.text)])
  }

  // MARK: For those who look

  private static let columns =
    "id, machine_id, stream, local_id, is_delete, version, reason, cause, tries, since, last"

  private static func condition(_ filter: RefusalFilter) -> (sql: String, parameters: [Parameter]) {
    let parts = filter.parts
    return (
      (["true"] + parts.enumerated().map { "\($1.column) = $\($0 + 1)" }).joined(separator: " AND "),
      parts.map { .text($0.text) }
    )
  }

  /// In the order in which they were heard of.
  func rows(_ filter: RefusalFilter, after id: Int64, limit: Int) throws -> [KeptRefusal] {
    let meant = Self.condition(filter)
    let next = meant.parameters.count + 1
    let rows = try connection.query(
      "SELECT \(Self.columns) FROM drover_refused_row WHERE \(meant.sql) AND id > $\(next) ORDER BY id LIMIT $\(next + 1)",
      meant.parameters + [.integer(id), .integer(limit)])
    return (0..<rows.count).compactMap { Self.refusal(rows, $0) }
  }

  func list(_ filter: RefusalFilter, after id: Int64, limit: Int) throws -> RefusalList {
    func count(_ filter: RefusalFilter) throws -> Int {
      let meant = Self.condition(filter)
      return Int(
        try connection.query("SELECT count(*) FROM drover_refused_row WHERE \(meant.sql)", meant.parameters)
          .integer(0, 0))
    }
    let total = try connection.query(
      "SELECT coalesce(sum(total), 0)::bigint FROM drover_refused WHERE $1::text IS NULL OR machine_id = $1",
      [.text(filter.machine?.text)])
    return RefusalList(
      rows: try rows(filter, after: id, limit: limit), total: try count(filter),
      unnamed: max(0, Int(total.integer(0, 0)) - (try count(RefusalFilter(machine: filter.machine)))))
  }

  /// The machines that refuse a row of an owner.
  /// - Parameters:
  ///   - stream: as the machines spell it.
  func rows(of localID: String, _ stream: StreamName, owner: MachineID) throws -> [KeptRefusal] {
    let rows = try connection.query(
      """
      SELECT \(Self.columns) FROM drover_refused_row AS refused
       WHERE local_id = $1 AND refused.stream = $2
         AND EXISTS (SELECT 1 FROM drover_flow AS flow
                      WHERE flow.stream = $3 AND flow.machine_id = refused.machine_id AND flow.owner = $4)
       ORDER BY refused.machine_id LIMIT \(RowStanding.mostRefusals)
      """, [.text(localID), .text(stream.text), .text(TwoWayTables.name(stream)), .text(owner.text)])
    return (0..<rows.count).compactMap { Self.refusal(rows, $0) }
  }

  /// nil where another program has written what Drover does not know.
  private static func refusal(_ rows: Rows, _ row: Int) -> KeptRefusal? {
    guard let machine = try? MachineID(rows.text(row, 1)), let stream = try? StreamName(rows.text(row, 2)) else {
      return nil
    }
    return KeptRefusal(
      id: rows.integer(row, 0), machine: machine,
      row: RefusedRow(
        stream: stream, localID: rows.text(row, 3), isDelete: rows.boolean(row, 4), version: rows.integer(row, 5),
        reason: rows.text(row, 6), cause: rows.text(row, 7), tries: Int(rows.integer(row, 8)),
        since: rows.integer(row, 9), last: rows.integer(row, 10)))
  }
}
