// What one machine may leave in the store: its epochs, its tombstones, and the account of what was set aside beyond its budgets.

import DroverCore
import GRDB

enum MachineTables {
  static let migration = """
    -- The newest of a machine's epochs is asked for with each new one.
    CREATE INDEX drover_epoch_number ON drover_epoch (machine_id, number);

    -- What was set aside because a budget of the machine's was used up, by the budget's name in the configuration.
    CREATE TABLE drover_over_budget (
      machine_id TEXT NOT NULL,
      budget     TEXT NOT NULL,
      count      INTEGER NOT NULL,
      -- Microseconds since 1970.
      first_at   INTEGER NOT NULL,
      last_at    INTEGER NOT NULL,
      PRIMARY KEY (machine_id, budget)
    ) WITHOUT ROWID;
    """
}

extension Transaction {
  // MARK: Epochs

  func knows(_ epoch: Epoch, machine: MachineID) throws -> Bool { try knownNumber(of: epoch, machine: machine) != nil }

  /// The place of an epoch among a machine's epochs; nil for an unknown one.
  func knownNumber(of epoch: Epoch, machine: MachineID) throws -> Int64? {
    if let number = store.cache.epochs[machine]?[epoch] { return number }
    let select = try prepared("SELECT number FROM drover_epoch WHERE machine_id = ?1 AND epoch = ?2")
    defer { select.reset() }
    select.bind(machine.text, at: 1)
    select.bind(epoch.text, at: 2)
    guard try select.step() else { return nil }
    let number = select.integer(0)
    store.cache.epochs[machine, default: [:]][epoch] = number
    return number
  }

  /// The place of an epoch among a machine's epochs; an unknown epoch is the newest. nil: the newest known one.
  func number(of epoch: Epoch?, machine: MachineID) throws -> Int64 {
    guard let epoch else { return try newestNumber(of: machine) }
    if let number = try knownNumber(of: epoch, machine: machine) { return number }
    let number = try newestNumber(of: machine) + 1
    let insert = try prepared(
      "INSERT INTO drover_epoch (machine_id, epoch, number, first_heard) VALUES (?1, ?2, ?3, ?4)")
    insert.bind(machine.text, at: 1)
    insert.bind(epoch.text, at: 2)
    insert.bind(number, at: 3)
    insert.bind(store.now(), at: 4)
    try insert.run()
    store.cache.epochs[machine, default: [:]][epoch] = number
    store.cache.newestEpochs[machine] = number
    try forgetEpochs(of: machine, upTo: number - Int64(store.limits.machine.epochsKept))
    return number
  }

  /// The highest number among a machine's epochs; 0 where none is known.
  func newestNumber(of machine: MachineID) throws -> Int64 {
    if let number = store.cache.newestEpochs[machine] { return number }
    let select = try prepared("SELECT ifnull(max(number), 0) FROM drover_epoch WHERE machine_id = ?1")
    defer { select.reset() }
    select.bind(machine.text, at: 1)
    let number = try select.step() ? select.integer(0) : 0
    store.cache.newestEpochs[machine] = number
    return number
  }

  /// Forgets old epochs and what was received in them. One that a dead letter names keeps its place, or the letter would be of a new epoch when it
  /// is sent again.
  private func forgetEpochs(of machine: MachineID, upTo number: Int64) throws {
    guard number > 0 else { return }
    let old = """
      (SELECT epoch FROM drover_epoch WHERE machine_id = ?1 AND number <= ?2
       EXCEPT SELECT epoch FROM drover_dead_letter WHERE machine_id = ?1 AND epoch IS NOT NULL)
      """
    for table in ["drover_received", "drover_run", "drover_epoch"] {
      try database.execute(
        sql: "DELETE FROM \(table) WHERE machine_id = ?1 AND epoch IN \(old)", arguments: [machine.text, number])
    }
    store.cache.epochs[machine] = store.cache.epochs[machine]?.filter { $0.value > number }
  }

  // MARK: Tombstones

  /// After deletes were merged: retires the oldest tombstones of a machine that has too many.
  func boundTombstones(_ new: TombstoneUse, of machine: MachineID) throws {
    let limits = store.limits.machine
    guard new.count > 0, store.tombstoneSpace.isDue(new, of: machine, limits) else { return }
    store.tombstoneSpace.counted(machine)
    var use = try tombstoneUse(of: machine)
    while let excess = TombstoneSpace.excess(use, limits) {
      try database.execute(
        sql: """
          DELETE FROM drover_tombstone WHERE machine_id = ?1 AND (stream, local_id) IN
            (SELECT stream, local_id FROM drover_tombstone WHERE machine_id = ?1 ORDER BY made_at, version LIMIT ?2)
          """, arguments: [machine.text, excess])
      try note(database.changesCount, over: .tombstones, machine: machine)
      use = try tombstoneUse(of: machine)
    }
  }

  private func tombstoneUse(of machine: MachineID) throws -> TombstoneUse {
    let row = try Row.fetchOne(
      database,
      sql: """
        SELECT count(*), ifnull(sum(length(CAST(local_id AS BLOB)) + length(CAST(stream AS BLOB))), 0) + count(*) * ?2
          FROM drover_tombstone WHERE machine_id = ?1
        """, arguments: [machine.text, TombstoneSpace.bytesOfEach])!
    return TombstoneUse(count: row[0], bytes: row[1])
  }

  // MARK: Streams and the account

  func streams(of machine: MachineID) throws -> Set<StreamName> {
    let names = try String.fetchAll(
      database,
      sql: """
        SELECT stream FROM drover_progress WHERE machine_id = ?1
        UNION SELECT stream FROM drover_schema WHERE machine_id = ?1
        UNION SELECT stream FROM drover_received
               WHERE machine_id = ?1 AND epoch = (SELECT epoch FROM drover_machine WHERE machine_id = ?1)
        """, arguments: [machine.text])
    return Set(try names.map { try StreamName($0) })
  }

  func note(_ count: Int, over budget: Budget, machine: MachineID) throws {
    let upsert = try prepared(
      """
      INSERT INTO drover_over_budget (machine_id, budget, count, first_at, last_at) VALUES (?1, ?2, ?3, ?4, ?4)
      ON CONFLICT (machine_id, budget) DO UPDATE SET count = count + excluded.count, last_at = excluded.last_at
      """)
    upsert.bind(machine.text, at: 1)
    upsert.bind(budget.rawValue, at: 2)
    upsert.bind(Int64(count), at: 3)
    upsert.bind(store.now(), at: 4)
    try upsert.run()
  }

  /// How many descriptions of a machine's stream are kept.
  func schemaCount(machine: MachineID, stream: StreamName) throws -> Int {
    try Int.fetchOne(
      database, sql: "SELECT count(*) FROM drover_schema WHERE machine_id = ? AND stream = ?",
      arguments: [machine.text, stream.text])!
  }
}
