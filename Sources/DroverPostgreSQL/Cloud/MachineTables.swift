// What one machine may leave in the store: its epochs, its tombstones, and the account of what was set aside beyond its budgets.

import DroverCore

enum MachineTables {
  static let migration = """
    -- What was set aside because a budget of the machine's was used up, by the budget's name in the configuration.
    CREATE TABLE drover_over_budget (
      machine_id TEXT COLLATE "C" NOT NULL,
      budget     TEXT COLLATE "C" NOT NULL,
      count      BIGINT NOT NULL,
      -- Microseconds since 1970.
      first_at   BIGINT NOT NULL,
      last_at    BIGINT NOT NULL,
      PRIMARY KEY (machine_id, budget)
    );
    """
}

extension Transaction {
  // MARK: Epochs

  func knows(_ epoch: Epoch, machine: MachineID) throws -> Bool { try knownNumber(of: epoch, machine: machine) != nil }

  /// The place of an epoch among a machine's epochs; nil for an unknown one.
  func knownNumber(of epoch: Epoch, machine: MachineID) throws -> Int64? {
    if let number = store.knowledge.epochs[machine]?[epoch] { return number }
    let rows = try connection.query(
      "SELECT number FROM drover_epoch WHERE machine_id = $1 AND epoch = $2", [.text(machine.text), .text(epoch.text)])
    guard rows.count > 0 else { return nil }
    let number = rows.integer(0, 0)
    store.knowledge.epochs[machine, default: [:]][epoch] = number
    return number
  }

  /// Gives a new epoch its place: it is the newest.
  func begin(_ epoch: Epoch, machine: MachineID) throws -> Int64 {
    // Two consumers that receive two new epochs at once give them the same number; the second gets an error and tries again.
    try connection.query(
      """
      INSERT INTO drover_epoch (machine_id, epoch, number, first_heard)
      SELECT $1, $2, coalesce(max(number), 0) + 1, $3 FROM drover_epoch WHERE machine_id = $1
      ON CONFLICT (machine_id, epoch) DO NOTHING
      """, [.text(machine.text), .text(epoch.text), .integer(store.now())])
    let number = try knownNumber(of: epoch, machine: machine)!
    try forgetEpochs(of: machine, upTo: number - Int64(store.limits.machine.epochsKept))
    return number
  }

  /// Forgets old epochs and what was received in them. One that a dead letter names keeps its place, or the letter would be of a new epoch when it
  /// is sent again.
  private func forgetEpochs(of machine: MachineID, upTo number: Int64) throws {
    guard number > 0 else { return }
    let rows = try connection.query(
      """
      DELETE FROM drover_epoch AS old WHERE machine_id = $1 AND number <= $2
         AND NOT EXISTS (SELECT 1 FROM drover_dead_letter AS letter
                          WHERE letter.machine_id = $1 AND letter.epoch = old.epoch)
      RETURNING epoch
      """, [.text(machine.text), .integer(number)])
    guard rows.count > 0 else { return }
    let old = (0..<rows.count).map { rows.text($0, 0) }
    for table in ["drover_received", "drover_run"] {
      try connection.query(
        "DELETE FROM \(table) WHERE machine_id = $1 AND epoch = ANY ($2::text[])", [.text(machine.text), .texts(old)])
    }
    store.knowledge.epochs[machine] = store.knowledge.epochs[machine]?.filter { $0.value > number }
  }

  // MARK: Tombstones

  /// After deletes were merged: retires the oldest tombstones of a machine that has too many.
  func boundTombstones(_ new: TombstoneUse, of machine: MachineID) throws {
    let limits = store.limits.machine
    guard new.count > 0, store.tombstoneSpace.isDue(new, of: machine, limits) else { return }
    store.tombstoneSpace.counted(machine)
    var use = try tombstoneUse(of: machine)
    while let excess = TombstoneSpace.excess(use, limits) {
      let gone = try connection.query(
        """
        DELETE FROM drover_tombstone WHERE machine_id = $1 AND (stream, local_id) IN
          (SELECT stream, local_id FROM drover_tombstone WHERE machine_id = $1 ORDER BY made_at, version LIMIT $2)
        """, [.text(machine.text), .integer(excess)])
      try note(gone.changed, over: .tombstones, machine: machine)
      use = try tombstoneUse(of: machine)
    }
  }

  private func tombstoneUse(of machine: MachineID) throws -> TombstoneUse {
    let rows = try connection.query(
      """
      SELECT count(*), coalesce(sum(octet_length(local_id) + octet_length(stream)), 0)::bigint FROM drover_tombstone
       WHERE machine_id = $1
      """, [.text(machine.text)])
    let count = Int(rows.integer(0, 0))
    return TombstoneUse(count: count, bytes: Int(rows.integer(0, 1)) + count * TombstoneSpace.bytesOfEach)
  }

  // MARK: Streams and the account

  func streams(of machine: MachineID) throws -> Set<StreamName> {
    let rows = try connection.query(
      """
      SELECT stream FROM drover_progress WHERE machine_id = $1
      UNION SELECT stream FROM drover_schema WHERE machine_id = $1
      UNION SELECT stream FROM drover_received
             WHERE machine_id = $1 AND epoch = (SELECT epoch FROM drover_machine WHERE machine_id = $1)
      """, [.text(machine.text)])
    return Set(try (0..<rows.count).map { try StreamName(rows.text($0, 0)) })
  }

  func note(_ count: Int, over budget: Budget, machine: MachineID) throws {
    try connection.query(
      """
      INSERT INTO drover_over_budget AS known (machine_id, budget, count, first_at, last_at) VALUES ($1, $2, $3, $4, $4)
      ON CONFLICT (machine_id, budget) DO UPDATE SET count = known.count + excluded.count, last_at = excluded.last_at
      """, [.text(machine.text), .text(budget.rawValue), .integer(count), .integer(store.now())])
  }

  /// How many descriptions of a machine's stream are kept.
  func schemaCount(machine: MachineID, stream: StreamName) throws -> Int {
    Int(
      try connection.query(
        "SELECT count(*) FROM drover_schema WHERE machine_id = $1 AND stream = $2",
        [.text(machine.text), .text(stream.text)]
      ).integer(0, 0))
  }
}
