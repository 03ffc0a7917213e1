// Trouble with clients of the broker, as the consumer found it or received it.

import DroverCore
import GRDB

enum TroubleTable {
  static let migration = """
    -- Of the consumer itself where the machine is empty. Times are microseconds since 1970.
    CREATE TABLE drover_trouble (
      machine_id TEXT NOT NULL,
      kind       TEXT NOT NULL,
      since      INTEGER NOT NULL,
      last_at    INTEGER NOT NULL,
      count      INTEGER NOT NULL,
      PRIMARY KEY (machine_id, kind)
    ) WITHOUT ROWID;
    """

  /// By machine; none in a store of an older version.
  static func all(_ database: Database) throws -> [String: [Trouble]] {
    guard try database.tableExists("drover_trouble") else { return [:] }
    var troubles: [String: [Trouble]] = [:]
    for row in try Row.fetchAll(database, sql: "SELECT * FROM drover_trouble ORDER BY machine_id, kind") {
      // Another version may know other kinds.
      guard let kind = Trouble.Kind(rawValue: row["kind"]) else { continue }
      troubles[row["machine_id"], default: []].append(
        Trouble(kind, since: row["since"], last: row["last_at"], count: row["count"]))
    }
    return troubles
  }
}

extension Transaction {
  func troubles(_ kind: Trouble.Kind) throws -> [MachineID: Trouble] {
    var found: [MachineID: Trouble] = [:]
    for (machine, troubles) in try TroubleTable.all(database) where !machine.isEmpty {
      found[try MachineID(machine)] = troubles.first { $0.kind == kind }
    }
    return found
  }

  func note(_ trouble: Trouble, machine: MachineID?) throws {
    try database.execute(
      sql: "INSERT OR REPLACE INTO drover_trouble (machine_id, kind, since, last_at, count) VALUES (?, ?, ?, ?, ?)",
      arguments: [machine?.text ?? "", trouble.kind.rawValue, trouble.since, trouble.last, trouble.count])
  }

  func forget(_ kind: Trouble.Kind, machine: MachineID) throws {
    try database.execute(
      sql: "DELETE FROM drover_trouble WHERE machine_id = ? AND kind = ?", arguments: [machine.text, kind.rawValue])
  }
}
