// Trouble with clients of the broker, as the consumer found it or received it.

import DroverCore

enum TroubleTable {
  static let migration = """
    -- Of the consumer itself where the machine is empty. Times are microseconds since 1970.
    CREATE TABLE drover_trouble (
      machine_id TEXT COLLATE "C" NOT NULL,
      kind       TEXT NOT NULL,
      since      BIGINT NOT NULL,
      last_at    BIGINT NOT NULL,
      count      BIGINT NOT NULL,
      PRIMARY KEY (machine_id, kind)
    );
    """

  /// By machine.
  static func all(_ connection: Connection) throws -> [String: [Trouble]] {
    let rows = try connection.query(
      "SELECT machine_id, kind, since, last_at, count FROM drover_trouble ORDER BY machine_id, kind COLLATE \"C\"")
    var troubles: [String: [Trouble]] = [:]
    for row in 0..<rows.count {
      // Another version may know other kinds.
      guard let kind = Trouble.Kind(rawValue: rows.text(row, 1)) else { continue }
      troubles[rows.text(row, 0), default: []].append(
        Trouble(kind, since: rows.integer(row, 2), last: rows.integer(row, 3), count: Int(rows.integer(row, 4))))
    }
    return troubles
  }
}

extension Transaction {
  func troubles(_ kind: Trouble.Kind) throws -> [MachineID: Trouble] {
    var found: [MachineID: Trouble] = [:]
    for (machine, troubles) in try TroubleTable.all(connection) where !machine.isEmpty {
      found[try MachineID(machine)] = troubles.first { $0.kind == kind }
    }
    return found
  }

  func note(_ trouble: Trouble, machine: MachineID?) throws {
    try connection.query(
      """
      INSERT INTO drover_trouble (machine_id, kind, since, last_at, count) VALUES ($1, $2, $3, $4, $5)
      ON CONFLICT (machine_id, kind) DO UPDATE
         SET since = excluded.since, last_at = excluded.last_at, count = excluded.count
      """,
      [
        .text(machine?.text ?? ""), .text(trouble.kind.rawValue), .integer(trouble.since), .integer(trouble.last),
        .integer(trouble.count),
      ])
  }

  func forget(_ kind: Trouble.Kind, machine: MachineID) throws {
    try connection.query(
      "DELETE FROM drover_trouble WHERE machine_id = $1 AND kind = $2", [.text(machine.text), .text(kind.rawValue)])
  }
}
