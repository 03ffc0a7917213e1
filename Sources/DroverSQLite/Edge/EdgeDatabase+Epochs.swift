// Epochs: when the outbox is not what it was, its numbers mean other events. A new epoch says so to the cloud, and everything that the
// cloud may lack is brought again: rows from their tables, and what no table holds from what was retained.

package import DroverCore
import GRDB

/// How much that is confirmed stays in the outbox, for streams without a table and for deletes.
package struct Retention: Equatable, Sendable {
  /// Most bytes of bodies of one stream.
  package var bytes: Int
  /// What a delete counts, having no body.
  static let bytesOfDelete = 64
  /// How far behind the newest event, by version.
  package var age: Duration

  package init(bytes: Int = 64 << 20, age: Duration = .seconds(86_400)) {
    self.bytes = bytes
    self.age = age
  }
}

extension EdgeDatabase {
  package func startEpoch(because reason: String, wasRestored: Bool = false) throws(EdgeStoreError) {
    // Only a database that is another one than it was may give a key again.
    try startEpoch(because: reason, memory, isRestored: isOther, limit: wasRestored ? handedOutBefore : nil)
  }

  /// - Parameters:
  ///   - remembered: what the file beside the database holds; nil where it is gone.
  ///   - isRestored: facts may have come since under used keys.
  ///   - limit: no higher version of the epoch that ends is known to belong to the history that the cloud knows.
  private func startEpoch(
    because reason: String, _ remembered: OutboxMemory?, isRestored: Bool, limit: Int64? = nil
  ) throws(EdgeStoreError) {
    // The highest that was given when something was handed out last; 0 where that is not known.
    let version = remembered?.version ?? 0
    if isOther {
      let hasMoved = isOpen ? try access { try files?.change($0) != nil } : true
      if hasMoved { try reopen() }
      try attachAnew()
    }
    let next = Epoch(random: .random(in: .min ... .max))
    var found: Continuity?
    try access { database in
      try database.inTransaction(.immediate) {
        try verify(database)
        try database.execute(sql: Bookkeeping.clockRow)
        try noteFork(isOther: isRestored, remembered, limit: limit, database)
        try database.execute(sql: "UPDATE drover_meta SET value = ? WHERE name = 'epoch'", arguments: [next.text])
        // What is confirmed of a two-way stream is no edit that waits.
        try database.execute(
          sql: """
            UPDATE drover_outbox SET again = 1
             WHERE EXISTS (SELECT 1 FROM drover_stream AS stream
                            WHERE stream.number = drover_outbox.stream AND stream.direction = 'both' AND stream.confirmed_through >= drover_outbox.seq)
                OR EXISTS (SELECT 1 FROM drover_ahead AS ahead JOIN drover_stream AS stream ON stream.number = ahead.stream
                            WHERE ahead.stream = drover_outbox.stream AND stream.direction = 'both'
                              AND drover_outbox.seq > ahead.after_seq AND drover_outbox.seq <= ahead.through_seq)
            """)
        try database.execute(sql: "UPDATE drover_outbox SET synced = 0")
        try database.execute(sql: "UPDATE drover_stream SET confirmed_through = 0, retained_bytes = 0")
        try database.execute(sql: "DELETE FROM drover_ahead")
        try database.execute(sql: "DELETE FROM drover_backfill")
        try database.execute(sql: "DELETE FROM drover_resync")
        try database.execute(
          sql: "UPDATE drover_stream SET backfill = 'running' WHERE table_name IS NOT NULL AND direction <> 'down'")
        if isRestored, version > 0 {
          for table in tables.values { try table.lives?.giveMarks(toUnsentOf: table, after: version, database) }
        }
        try KeyLives.assumeEveryKeyIsLeft(database)
        try raiseGeneration(database)
        found = try look(database, against: nil)
        return .commit
      }
      twoWay = try RowBookkeeping.known(database)
      try lookForBackfill(database)
    }
    epoch = next
    continuity = found
    isOther = false
    handedOutBefore = nil
    memory = OutboxMemory(epoch: next.text, generation: 0, runs: .beginning, version: version)
    memory.runs.raise(run, to: 0)
    remember()
    warn("outbox: a new epoch \(next) begins, because \(reason); all rows and what was retained are sent again")
  }

  /// Compares the database with what the file beside it remembers, when the agent starts, and begins a run of it.
  func recall() throws(EdgeStoreError) {
    let remembered = OutboxMemory.read(database: path)
    let reason = try reasonForEpoch(remembered)
    if !twoWay.since.isEmpty {
      handedOutBefore = try access { try Int64.fetchOne($0, sql: RowBookkeeping.highestHandedOut) }
    }
    run = try nextRun(after: remembered?.runs.newest?.number ?? 0)
    if let reason {
      try startEpoch(because: reason, remembered, isRestored: true)
    } else {
      memory = OutboxMemory(
        epoch: epoch.text, generation: 0, runs: try earlierRuns(remembered), version: remembered?.version ?? 0)
      memory.runs.raise(run, to: 0)
    }
    try access { database in
      var found: Continuity?
      try database.inTransaction(.immediate) {
        try verify(database)
        try raiseGeneration(database)
        found = try look(database, against: nil)
        return .commit
      }
      continuity = found
    }
    remember()
  }

  /// Completes "because …"; nil when the database is the one that the agent left.
  private func reasonForEpoch(_ remembered: OutboxMemory?) throws(EdgeStoreError) -> String? {
    let file = OutboxMemory.path(for: path)
    let written = try access { try Int64.fetchOne($0, sql: "SELECT generation FROM drover_clock") }
    guard let generation = written else { return "its row in drover_clock is gone" }
    guard let remembered else {
      // A database of which the agent has never written anything down has nothing to go back behind.
      return generation > 0 ? "\(file) is not there, so it is not known how far the outbox was read" : nil
    }
    guard remembered.epoch == epoch.text else { return "the database is another one than \(file) remembers" }
    guard remembered.generation <= generation, try !isBehind(remembered) else {
      return "the database is behind what \(file) remembers: it was restored or rolled back"
    }
    guard try !hasImpossibleConfirmation() else {
      return "more events are noted as confirmed than were ever given: a confirmation was forged"
    }
    return nil
  }

  /// Whether something is noted as confirmed that no event is: an agent of an older version believed every confirmation.
  private func hasImpossibleConfirmation() throws(EdgeStoreError) -> Bool {
    try access { database in
      try Bool.fetchOne(
        database,
        sql: """
          SELECT max(ifnull((SELECT max(confirmed_through) FROM drover_stream), 0),
                     ifnull((SELECT max(through_seq) FROM drover_ahead), 0)) >= (SELECT seq FROM drover_next)
          """) ?? false
    }
  }

  /// Whether the outbox is another one than the newest run has read, though the agent had written nothing into it since: numbers that it read
  /// were not given, or to other events. Versions rise with numbers, so none up to there is above the highest that was given then, and none
  /// after it below.
  private func isBehind(_ remembered: OutboxMemory) throws(EdgeStoreError) -> Bool {
    guard let run = remembered.runs.newest, run.reached > 0 else { return false }
    return try access { database in
      try Bool.fetchOne(
        database,
        sql: """
          SELECT (SELECT seq FROM drover_next) <= ?1
              OR EXISTS (SELECT 1 FROM drover_outbox WHERE seq < ?1 AND version >= ?2
                                                     OR seq = ?1 AND version <> ?2
                                                     OR seq > ?1 AND version <= ?2)
          """, arguments: [run.reached, remembered.version])!
    }
  }

  /// What is known of the runs before this one. Agents that knew of no runs have sent at most what there is.
  private func earlierRuns(_ remembered: OutboxMemory?) throws(EdgeStoreError) -> Runs {
    guard let remembered else { return .beginning }
    guard remembered.runs.list.isEmpty else { return remembered.runs }
    let last = try access { try Int64.fetchOne($0, sql: "SELECT seq - 1 FROM drover_next")! }
    return Runs([Run(number: 0, reached: last)])
  }

  /// Above the one before, and not the same as that of another future: up to a second is left to chance.
  private func nextRun(after last: Int64) throws(EdgeStoreError) -> Int64 {
    let now = try access { try Int64.fetchOne($0, sql: "SELECT \(Bookkeeping.wallClock)")! }
    return max(now, last + 1) + Int64(random() % 1_000_000)
  }

  package var runs: Runs { memory.runs }

  /// Called before anything that was read is handed out to be published: it survives a power loss, and the file beside the database says how
  /// far this run has read.
  func vouch(for seq: Int64, version: Int64, _ database: Database) throws {
    try makeDurable(through: seq, database)
    guard let newest = memory.runs.newest, newest.reached < seq else { return }
    var next = memory
    next.runs.raise(run, to: seq)
    next.version = version
    do {
      try memoryFile.mark(next)
    } catch {
      throw EdgeStoreError.failed(
        "note how far the outbox was read: \(error); nothing is sent until this succeeds: make space on its disk, or look at the kernel's log (`dmesg`)"
      )
    }
    memory = next
  }

  /// Called after a commit that raised the generation. The note beside the database is due.
  func generationWritten() {
    isNoteDue = true
    guard let written = continuity?.attempted else { return }
    continuity?.generation = written
    continuity?.attempted = nil
  }

  /// Called after a commit that raised the generation. Notes it beside the database, once it is on the disk: a note that is behind does no
  /// harm, one that is ahead costs an epoch. What is noted is what was written, and not what stands there now: the database may have been put
  /// back in between.
  func remember() {
    generationWritten()
    do {
      try queue.inDatabase { try flush($0) }
      memory.generation = continuity?.generation ?? memory.generation
      try memoryFile.write(memory)
      unnoted = nil
      isNoteDue = false
    } catch {
      // It is tried again with every settlement, ten times a second at most: a full disk needs no flood of lines.
      let reason = "\(error)"
      guard reason != unnoted else { return }
      unnoted = reason
      warn(
        "note the outbox's generation beside \(path): \(reason); the agent tries again; until then it might not notice a restored backup"
      )
    }
  }

  /// Lets go of retained events beyond the bounds, oldest first; all of them where the outbox has no room left for what is only retained.
  /// Nothing that is not confirmed is ever among them.
  func prune(_ stream: Int, _ database: Database) throws {
    let most = keeper.isScarce ? 0 : retention.bytes
    guard
      let row = try Row.fetchOne(
        database.cachedStatement(
          sql: """
            SELECT confirmed_through, retained_bytes, (SELECT version FROM drover_next) - ? AS oldest FROM drover_stream WHERE number = ?
            """), arguments: [retention.age / .microseconds(1), stream])
    else { return }
    let through: Int64 = row["confirmed_through"]
    var bytes: Int = row["retained_bytes"]
    let oldest = Int64(row["oldest"] as Double)
    var last: Int64 = 0
    let retained = try prepared(
      """
      SELECT seq, version, ifnull(length(body), \(Retention.bytesOfDelete)), length(CAST(body AS BLOB))
        FROM drover_outbox WHERE seq <= ?1 AND stream = ?2 ORDER BY seq
      """,
      database)
    defer { retained.reset() }
    retained.bind(through, at: 1)
    retained.bind(Int64(stream), at: 2)
    var (bodyBytes, entries): (Int64, Int) = (0, 0)
    while try retained.step(), bytes > most || retained.integer(1) < oldest {
      bytes -= Int(retained.integer(2))
      if retained.value(3) == .null {
        entries += 1
      } else {
        bodyBytes += retained.integer(3) + SpaceKeeper.bytesOfEntry
      }
      last = retained.integer(0)
    }
    retained.reset()
    guard last > 0 else { return }
    let delete = try prepared("DELETE FROM drover_outbox WHERE seq <= ?1 AND stream = ?2", database)
    delete.bind(last, at: 1)
    delete.bind(Int64(stream), at: 2)
    try delete.run()
    try SpaceKeeper.note(bodyBytes: -bodyBytes, entries: -entries, database)
    try database.execute(
      sql: "UPDATE drover_stream SET retained_bytes = ? WHERE number = ?", arguments: [max(0, bytes), stream])
  }
}
