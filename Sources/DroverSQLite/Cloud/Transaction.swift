// What a group of messages reads and writes in the store: what was received, which runs of agents were heard of, what machines said of
// themselves. Schemas, merging and dead letters have files of their own.

import DroverCore
import GRDB

struct Transaction: CloudTransaction {
  let store: SQLiteCloudStore
  let database: Database

  func prepared(_ sql: String) throws -> Statement {
    if let statement = store.cache.statements[ExactText(sql)] {
      statement.reset()
      return statement
    }
    let statement = try Statement(database, sql)
    store.cache.statements[ExactText(sql)] = statement
    return statement
  }

  // MARK: Received intervals

  func received(machine: MachineID, epoch: Epoch, stream: StreamName) throws -> IntervalSet {
    let select = try prepared(
      "SELECT after_seq, through_seq FROM drover_received WHERE machine_id = ?1 AND epoch = ?2 AND stream = ?3")
    defer { select.reset() }
    select.bind(machine.text, at: 1)
    select.bind(epoch.text, at: 2)
    select.bind(stream.text, at: 3)
    var received = IntervalSet()
    while try select.step() {
      if let interval = Interval(believing: select.integer(0), select.integer(1)) { received.insert(interval) }
    }
    return received
  }

  func setReceived(_ received: IntervalSet, machine: MachineID, epoch: Epoch, stream: StreamName) throws {
    let upsert = try prepared(
      """
      INSERT INTO drover_received (machine_id, epoch, stream, after_seq, through_seq) VALUES (?1, ?2, ?3, ?4, ?5)
          ON CONFLICT DO UPDATE SET through_seq = excluded.through_seq WHERE through_seq <> excluded.through_seq
      """)
    let delete = try prepared(
      """
      DELETE FROM drover_received
       WHERE machine_id = ?1 AND epoch = ?2 AND stream = ?3 AND after_seq > ?4 AND after_seq < ?5
      """)
    for statement in [upsert, delete] {
      statement.bind(machine.text, at: 1)
      statement.bind(epoch.text, at: 2)
      statement.bind(stream.text, at: 3)
    }
    // Mostly one interval has grown: one row is changed in place, and the removed ones lie between the others.
    var last: Int64 = -1
    func deleteBetween(_ after: Int64) throws {
      defer { last = after }
      guard after > last + 1 else { return }
      delete.bind(last, at: 4)
      delete.bind(after, at: 5)
      try delete.run()
    }
    for interval in received.intervals {
      try deleteBetween(interval.after)
      upsert.bind(interval.after, at: 4)
      upsert.bind(interval.through, at: 5)
      try upsert.run()
    }
    try deleteBetween(.max)
  }

  func receivedStreams(machine: MachineID, epoch: Epoch) throws -> [StreamName: IntervalSet] {
    let select = try prepared(
      "SELECT stream, after_seq, through_seq FROM drover_received WHERE machine_id = ?1 AND epoch = ?2")
    defer { select.reset() }
    select.bind(machine.text, at: 1)
    select.bind(epoch.text, at: 2)
    var streams: [StreamName: IntervalSet] = [:]
    while try select.step() {
      guard let interval = Interval(believing: select.integer(1), select.integer(2)) else { continue }
      streams[try StreamName(select.text(0)), default: IntervalSet()].insert(interval)
    }
    return streams
  }

  // MARK: Runs of the agent

  func runs(machine: MachineID, epoch: Epoch) throws -> Runs {
    let select = try prepared("SELECT run, reached FROM drover_run WHERE machine_id = ?1 AND epoch = ?2")
    defer { select.reset() }
    select.bind(machine.text, at: 1)
    select.bind(epoch.text, at: 2)
    var runs = Runs()
    while try select.step() { runs.raise(select.integer(0), to: select.integer(1)) }
    return runs
  }

  func raise(_ run: Run, machine: MachineID, epoch: Epoch) throws {
    let update = try prepared(
      "UPDATE drover_run SET reached = max(reached, ?4) WHERE machine_id = ?1 AND epoch = ?2 AND run = ?3")
    let insert = try prepared("INSERT INTO drover_run (machine_id, epoch, run, reached) VALUES (?1, ?2, ?3, ?4)")
    for statement in [update, insert] {
      statement.bind(machine.text, at: 1)
      statement.bind(epoch.text, at: 2)
      statement.bind(run.number, at: 3)
      statement.bind(run.reached, at: 4)
    }
    guard try update.run() == 0 else { return }
    try insert.run()
    let delete = try prepared(
      """
      DELETE FROM drover_run WHERE machine_id = ?1 AND epoch = ?2 AND run <=
        (SELECT run FROM drover_run WHERE machine_id = ?1 AND epoch = ?2 ORDER BY run DESC LIMIT 1 OFFSET ?3)
      """)
    delete.bind(machine.text, at: 1)
    delete.bind(epoch.text, at: 2)
    delete.bind(Int64(Runs.most), at: 3)
    try delete.run()
  }

  // MARK: Machines

  func setStatus(_ status: MachineStatus, machine: MachineID) throws {
    let now = store.now()
    let (said, looked) = status.moments(now: now)
    if let epoch = status.epoch { _ = try number(of: epoch, machine: machine) }
    try database.execute(
      sql: """
        INSERT INTO drover_machine (machine_id, epoch, online, software, status_at, clock_offset, first_heard, last_heard)
        VALUES (?1, ?2, ?3, ?4, ?5, ?7, ?6, ifnull(?8, ?6))
        ON CONFLICT (machine_id) DO UPDATE
           SET epoch = ifnull(excluded.epoch, epoch), online = excluded.online, software = ifnull(excluded.software, software),
               status_at = ifnull(excluded.status_at, status_at),
               clock_offset = ifnull(excluded.clock_offset, clock_offset),
               last_heard = max(last_heard, ifnull(?8, last_heard))
        """,
      arguments: [
        machine.text, status.epoch?.text, status.isOnline, status.software, status.at, now, status.clockOffset, said,
      ])
    if let taken = status.taken { try note(taken, machine: machine) }
    if status.isOwn { try note(status.waits, machine: machine) }
    for (stream, gap) in status.gaps.sorted(by: { $0.key < $1.key }) {
      // Only for streams that have a schema, so that no client can fill the table with names.
      try database.execute(
        sql: """
          INSERT INTO drover_gap (machine_id, stream, gap)
          SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM drover_schema WHERE machine_id = ?1 AND stream = ?2)
          ON CONFLICT (machine_id, stream) DO UPDATE SET gap = excluded.gap
           -- What the cloud itself has added to it stays: `reopenGaps`.
           WHERE substr(gap, 1, instr(gap || ' table ', ' table ') - 1) <> excluded.gap
          """, arguments: [machine.text, stream.text, gap])
    }
    guard let outbox = status.outbox else { return }
    try database.execute(
      sql: """
        UPDATE drover_machine SET waiting = ?, oldest = ?, edge_letters = ?, free_bytes = ?, told_at = ? WHERE machine_id = ?
        """,
      arguments: [outbox.waiting, outbox.oldest, outbox.deadLetters, outbox.freeBytes, looked ?? now, machine.text])
  }

  func heard(machine: MachineID, epoch: Epoch?) throws {
    let statement = try prepared(
      """
      INSERT INTO drover_machine (machine_id, epoch, first_heard, last_heard) VALUES (?1, ?2, ?3, ?3)
      ON CONFLICT (machine_id) DO UPDATE SET epoch = ifnull(excluded.epoch, epoch), last_heard = excluded.last_heard
      """)
    statement.bind(machine.text, at: 1)
    statement.bind(epoch.map { .text($0.text) } ?? .null, at: 2)
    statement.bind(store.now(), at: 3)
    try statement.run()
  }

  func machines() throws -> [MachineID: Epoch] {
    var machines: [MachineID: Epoch] = [:]
    for row in try Row.fetchAll(database, sql: "SELECT machine_id, epoch FROM drover_machine WHERE epoch IS NOT NULL") {
      machines[try MachineID(row["machine_id"])] = try Epoch(row["epoch"])
    }
    return machines
  }

  func note(_ progress: StreamProgress, machine: MachineID, stream: StreamName) throws {
    let statement = try prepared(
      """
      INSERT INTO drover_progress (machine_id, stream, applied, superseded, refused, version, applied_at)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
      ON CONFLICT (machine_id, stream) DO UPDATE
         SET applied = applied + excluded.applied, superseded = superseded + excluded.superseded, refused = refused + excluded.refused,
             applied_at = CASE WHEN excluded.version > version THEN excluded.applied_at ELSE applied_at END,
             version = max(version, excluded.version)
      """)
    statement.bind(machine.text, at: 1)
    statement.bind(stream.text, at: 2)
    statement.bind(Int64(progress.applied), at: 3)
    statement.bind(Int64(progress.superseded), at: 4)
    statement.bind(Int64(progress.refused), at: 5)
    statement.bind(progress.version, at: 6)
    statement.bind(store.now(), at: 7)
    try statement.run()
  }

  func count(_ outcomes: [MessageOutcome: Int]) throws {
    let statement = try prepared(
      """
      INSERT INTO drover_message_count (outcome, count) VALUES (?1, ?2)
      ON CONFLICT (outcome) DO UPDATE SET count = count + excluded.count
      """)
    for (outcome, count) in outcomes {
      statement.bind(outcome.rawValue, at: 1)
      statement.bind(Int64(count), at: 2)
      try statement.run()
    }
  }

  func setNote(_ name: String, _ value: String?) throws {
    guard let value else {
      return try database.execute(sql: "DELETE FROM drover_meta WHERE name = ?", arguments: [name])
    }
    try database.execute(
      sql: "INSERT OR REPLACE INTO drover_meta (name, value) VALUES (?, ?)", arguments: [name, value])
  }

  func session() throws -> String? {
    try String.fetchOne(database, sql: "SELECT value FROM drover_meta WHERE name = 'session'")
  }

  func setSession(_ name: String) throws {
    try database.execute(
      sql: "INSERT OR REPLACE INTO drover_meta (name, value) VALUES ('session', ?)", arguments: [name])
  }
}
