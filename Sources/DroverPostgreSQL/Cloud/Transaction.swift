// One transaction of the store: the bookkeeping. Sinks, merging and dead letters stand in files of their own.

import DroverCore

final class Transaction: CloudTransaction {
  let store: PostgreSQLCloudStore
  let connection: Connection
  /// Each step has a savepoint, so that one event that the database refuses is found.
  let isCareful: Bool
  /// Whether the store keeps a change feed.
  let keepsFeed: Bool
  let feed: ChangeFeed
  /// Tables were made, changed or put aside.
  var hasReshaped = false
  var locked: Set<Int64> = []
  /// Triggers of two-way tables leave alone what this transaction writes.
  var isWriter = false
  /// Work on one sink is under way that has a savepoint.
  var isGuarded = false
  /// Of machines' streams whose events this transaction merges: whether they have tombstones.
  var tombstones: [MachineStream: Bool] = [:]
  /// The highest numbers that were given to rows that go down, by owner and stream.
  var raised: [MachineStream: Int64] = [:]
  /// Columns, quoted, that views or rights keep from being widened, and why.
  var stubborn: [ExactText: String] = [:]

  init(store: PostgreSQLCloudStore, connection: Connection, isCareful: Bool, keepsFeed: Bool) {
    self.store = store
    self.connection = connection
    self.isCareful = isCareful
    self.keepsFeed = keepsFeed
    feed = ChangeFeed(connection, now: store.now())
  }

  /// No other session gets the lock until the transaction ends.
  func lock(_ name: Int64) throws {
    guard locked.insert(name).inserted else { return }
    try patiently { try connection.query("SELECT pg_advisory_xact_lock($1)", [.integer(name)]) }
  }

  /// Waits until every other transaction of a store has ended, and keeps the next ones waiting until this one has: each has read `drover_feed` before
  /// anything else, and what it knows of the tables with it. Those who wait for each other are told so by the server, and run again.
  func haveToOneself() throws { try patiently { try connection.run(Self.havingToOneself) } }

  static let havingToOneself = "LOCK TABLE drover_feed IN ACCESS EXCLUSIVE MODE"

  func claim(_ streams: [MachineStream], most: Int) throws -> Set<MachineStream> {
    guard store.isShared else { return Set(streams) }
    let names = streams.map { Locks.events(of: $0.machine, $0.stream) }
    let free = try connection.query(
      "SELECT name FROM unnest($1::bigint[]) AS name WHERE pg_try_advisory_xact_lock(name) LIMIT $2",
      [.integers(names), .integer(most)])
    if free.count == 0 { try lock(names[0]) }
    for row in 0..<free.count { locked.insert(free.integer(row, 0)) }
    return Set(zip(streams, names).filter { locked.contains($0.1) }.map(\.0))
  }

  /// Runs a part of the transaction that can be taken back by itself.
  func atomically<Result>(_ part: () throws -> Result) throws -> Result {
    try connection.run("SAVEPOINT drover_part")
    let (changes, locks) = (feed.state, locked)
    do {
      let result = try part()
      try connection.run("RELEASE drover_part")
      return result
    } catch {
      try connection.run("ROLLBACK TO drover_part; RELEASE drover_part")
      feed.restore(changes)
      // Advisory locks that were taken since the savepoint are gone with it, and settings.
      locked = locks
      isWriter = false
      throw error
    }
  }

  /// What is known of tables is out of date, here and at other consumers.
  func reshaped() throws {
    hasReshaped = true
    store.knowledge.tables = [:]
    store.knowledge.writers = [:]
    store.knowledge.naturalKeys = [:]
    store.knowledge.captures = []
    store.knowledge.isProtectionSettled = false
    try connection.forgetStatements()
  }

  func noteReshaping() throws {
    try connection.query(
      """
      INSERT INTO drover_meta (name, value) VALUES ('shapes', '1')
      ON CONFLICT (name) DO UPDATE SET value = (drover_meta.value::bigint + 1)::text
      """)
  }

  // MARK: Received intervals

  func received(machine: MachineID, epoch: Epoch, stream: StreamName) throws -> IntervalSet {
    let rows = try connection.query(
      "SELECT after_seq, through_seq FROM drover_received WHERE machine_id = $1 AND epoch = $2 AND stream = $3",
      [.text(machine.text), .text(epoch.text), .text(stream.text)])
    var received = IntervalSet()
    for row in 0..<rows.count {
      if let interval = Interval(believing: rows.integer(row, 0), rows.integer(row, 1)) { received.insert(interval) }
    }
    return received
  }

  func setReceived(_ received: IntervalSet, machine: MachineID, epoch: Epoch, stream: StreamName) throws {
    let origin: [Parameter] = [.text(machine.text), .text(epoch.text), .text(stream.text)]
    try connection.query(
      "DELETE FROM drover_received WHERE machine_id = $1 AND epoch = $2 AND stream = $3", origin)
    try connection.query(
      """
      INSERT INTO drover_received (machine_id, epoch, stream, after_seq, through_seq)
      SELECT $1, $2, $3, after_seq, through_seq FROM unnest($4::bigint[], $5::bigint[]) AS given (after_seq, through_seq)
      """,
      origin + [.integers(received.intervals.map(\.after)), .integers(received.intervals.map(\.through))])
  }

  func receivedStreams(machine: MachineID, epoch: Epoch) throws -> [StreamName: IntervalSet] {
    let rows = try connection.query(
      "SELECT stream, after_seq, through_seq FROM drover_received WHERE machine_id = $1 AND epoch = $2",
      [.text(machine.text), .text(epoch.text)])
    var streams: [StreamName: IntervalSet] = [:]
    for row in 0..<rows.count {
      guard let interval = Interval(believing: rows.integer(row, 1), rows.integer(row, 2)) else { continue }
      streams[try StreamName(rows.text(row, 0)), default: IntervalSet()].insert(interval)
    }
    return streams
  }

  // MARK: Runs of the agent

  func runs(machine: MachineID, epoch: Epoch) throws -> Runs {
    let rows = try connection.query(
      "SELECT run, reached FROM drover_run WHERE machine_id = $1 AND epoch = $2",
      [.text(machine.text), .text(epoch.text)])
    var runs = Runs()
    for row in 0..<rows.count { runs.raise(rows.integer(row, 0), to: rows.integer(row, 1)) }
    return runs
  }

  func raise(_ run: Run, machine: MachineID, epoch: Epoch) throws {
    let outbox: [Parameter] = [.text(machine.text), .text(epoch.text)]
    try connection.query(
      """
      INSERT INTO drover_run AS known (machine_id, epoch, run, reached) VALUES ($1, $2, $3, $4)
      ON CONFLICT (machine_id, epoch, run) DO UPDATE SET reached = greatest(known.reached, excluded.reached)
      """, outbox + [.integer(run.number), .integer(run.reached)])
    try connection.query(
      """
      DELETE FROM drover_run WHERE machine_id = $1 AND epoch = $2 AND run <=
        (SELECT run FROM drover_run WHERE machine_id = $1 AND epoch = $2 ORDER BY run DESC LIMIT 1 OFFSET $3)
      """, outbox + [.integer(Runs.most)])
  }

  // MARK: Epochs

  func isLatest(_ epoch: Epoch, machine: MachineID) throws -> Bool {
    let number = try number(of: epoch, machine: machine)
    return try connection.query(
      "SELECT NOT EXISTS (SELECT 1 FROM drover_epoch WHERE machine_id = $1 AND number > $2)",
      [.text(machine.text), .integer(number)]
    ).boolean(0, 0)
  }

  /// The place of an epoch among a machine's epochs; an unknown epoch is the newest. nil: the newest known one.
  func number(of epoch: Epoch?, machine: MachineID) throws -> Int64 {
    guard let epoch else {
      return try connection.query(
        "SELECT coalesce(max(number), 0) FROM drover_epoch WHERE machine_id = $1", [.text(machine.text)]
      ).integer(0, 0)
    }
    if let number = try knownNumber(of: epoch, machine: machine) { return number }
    return try begin(epoch, machine: machine)
  }

  // MARK: Machines

  func setStatus(_ status: MachineStatus, machine: MachineID) throws {
    let now = store.now()
    let (said, looked) = status.moments(now: now)
    if let epoch = status.epoch { _ = try number(of: epoch, machine: machine) }
    try connection.query(
      """
      INSERT INTO drover_machine AS known (machine_id, epoch, online, software, status_at, clock_offset, first_heard, last_heard)
      VALUES ($1, $2, $3, $4, $5, $6, $7, coalesce($8, $7))
      ON CONFLICT (machine_id) DO UPDATE
         SET epoch = coalesce(excluded.epoch, known.epoch), online = excluded.online,
             software = coalesce(excluded.software, known.software), status_at = coalesce(excluded.status_at, known.status_at),
             clock_offset = coalesce(excluded.clock_offset, known.clock_offset),
             last_heard = greatest(known.last_heard, $8)
      """,
      [
        .text(machine.text), .text(status.epoch?.text), .boolean(status.isOnline), .text(status.software?.withoutNUL),
        .integer(status.at), .integer(status.clockOffset), .integer(now), .integer(said),
      ])
    if let taken = status.taken { try note(taken, machine: machine) }
    if status.isOwn { try note(status.waits, machine: machine) }
    for (stream, gap) in status.gaps.sorted(by: { $0.key < $1.key }) {
      // Only for streams that have a schema, so that no client can fill the table with names.
      try connection.query(
        """
        INSERT INTO drover_gap AS known (machine_id, stream, gap)
        SELECT $1, $2, $3 WHERE EXISTS (SELECT 1 FROM drover_schema WHERE machine_id = $1 AND stream = $2)
        ON CONFLICT (machine_id, stream) DO UPDATE SET gap = excluded.gap
         -- What the cloud itself has added to it stays: `reopenGaps`.
         WHERE split_part(known.gap, ' table ', 1) <> excluded.gap
        """, [.text(machine.text), .text(stream.text), .text(gap)])
    }
    guard let outbox = status.outbox else { return }
    try connection.query(
      """
      UPDATE drover_machine SET waiting = $2, oldest = $3, edge_letters = $4, free_bytes = $5, told_at = $6
       WHERE machine_id = $1
      """,
      [
        .text(machine.text), .integer(outbox.waiting), .integer(outbox.oldest), .integer(outbox.deadLetters),
        .integer(outbox.freeBytes), .integer(looked ?? now),
      ])
  }

  func heard(machine: MachineID, epoch: Epoch?) throws {
    try connection.query(
      """
      INSERT INTO drover_machine AS known (machine_id, epoch, first_heard, last_heard) VALUES ($1, $2, $3, $3)
      ON CONFLICT (machine_id) DO UPDATE
         SET epoch = coalesce(excluded.epoch, known.epoch), last_heard = excluded.last_heard
      """, [.text(machine.text), .text(epoch?.text), .integer(store.now())])
  }

  func machines() throws -> [MachineID: Epoch] {
    let rows = try connection.query("SELECT machine_id, epoch FROM drover_machine WHERE epoch IS NOT NULL")
    var machines: [MachineID: Epoch] = [:]
    for row in 0..<rows.count { machines[try MachineID(rows.text(row, 0))] = try Epoch(rows.text(row, 1)) }
    return machines
  }

  func note(_ progress: StreamProgress, machine: MachineID, stream: StreamName) throws {
    try connection.query(
      """
      INSERT INTO drover_progress AS known (machine_id, stream, applied, superseded, refused, version, applied_at)
      VALUES ($1, $2, $3, $4, $5, $6, $7)
      ON CONFLICT (machine_id, stream) DO UPDATE
         SET applied = known.applied + excluded.applied, superseded = known.superseded + excluded.superseded,
             refused = known.refused + excluded.refused,
             applied_at = CASE WHEN excluded.version > known.version THEN excluded.applied_at ELSE known.applied_at END,
             version = greatest(known.version, excluded.version)
      """,
      [
        .text(machine.text), .text(stream.text), .integer(progress.applied), .integer(progress.superseded),
        .integer(progress.refused), .integer(progress.version), .integer(store.now()),
      ])
  }

  func count(_ outcomes: [MessageOutcome: Int]) throws {
    let sorted = outcomes.sorted { $0.key.rawValue < $1.key.rawValue }
    try connection.query(
      """
      INSERT INTO drover_message_count AS known (outcome, count) SELECT * FROM unnest($1::text[], $2::bigint[])
      ON CONFLICT (outcome) DO UPDATE SET count = known.count + excluded.count
      """, [.texts(sorted.map(\.key.rawValue)), .integers(sorted.map { Int64($0.value) })])
  }

  // MARK: The session and its leavings

  func session() throws -> String? {
    let rows = try connection.query("SELECT value FROM drover_meta WHERE name = 'session'")
    return rows.count == 0 ? nil : rows.text(0, 0)
  }

  func setSession(_ name: String) throws { try setMeta("session", name) }

  func note(_ name: String) throws -> String? {
    let rows = try connection.query("SELECT value FROM drover_meta WHERE name = $1", [.text(name)])
    return rows.count == 0 ? nil : rows.text(0, 0)
  }

  func setNote(_ name: String, _ value: String?) throws {
    if let value { return try setMeta(name, value) }
    try connection.query("DELETE FROM drover_meta WHERE name = $1", [.text(name)])
  }

  func setMeta(_ name: String, _ value: String) throws {
    try connection.query(
      "INSERT INTO drover_meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
      [.text(name), .text(value)])
  }

  func retireTombstones(madeBefore moment: Int64) throws {
    try connection.query(
      """
      DELETE FROM drover_tombstone AS tombstone
       WHERE made_at < $1
         AND (seq IS NULL
              OR NOT EXISTS (SELECT 1 FROM drover_epoch AS epoch
                              WHERE epoch.machine_id = tombstone.machine_id AND epoch.number = tombstone.epoch)
              OR seq <= (SELECT received.through_seq
                           FROM drover_received AS received JOIN drover_epoch AS epoch USING (machine_id, epoch)
                          WHERE received.machine_id = tombstone.machine_id AND epoch.number = tombstone.epoch
                            AND received.stream = tombstone.stream AND received.after_seq = 0))
      """, [.integer(moment)])
    tombstones = [:]
    try retireGoneRows(goneBefore: moment)
    guard keepsFeed else { return }
    for table in try feedTables() { try feed.forgetDeletes(of: table, madeBefore: moment) }
  }
}
