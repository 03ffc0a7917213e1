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
  package func startEpoch(because reason: String) throws(EdgeStoreError) {
    let next = Epoch(random: .random(in: .min ... .max))
    try access { database in
      try database.inTransaction(.immediate) {
        try database.execute(sql: "UPDATE drover_meta SET value = ? WHERE name = 'epoch'", arguments: [next.text])
        try database.execute(sql: "UPDATE drover_outbox SET synced = 0")
        try database.execute(sql: "UPDATE drover_stream SET confirmed_through = 0, retained_bytes = 0")
        try database.execute(sql: "DELETE FROM drover_backfill")
        try database.execute(sql: "DELETE FROM drover_resync")
        try database.execute(sql: "UPDATE drover_stream SET backfill = 'running' WHERE table_name IS NOT NULL")
        try raiseGeneration(database)
        return .commit
      }
      try lookForBackfill(database)
    }
    epoch = next
    remember()
    warn("outbox: a new epoch \(next) begins, because \(reason); all rows and what was retained are sent again")
  }

  package func contradicts(_ received: [Int: Received]) throws(EdgeStoreError) -> Bool {
    try access { database in
      let newest = try prepared(
        """
        SELECT max(clock.seq, ifnull(newest.seq, 0)), max(clock.version, ifnull(newest.version, 0))
          FROM drover_clock AS clock
          LEFT JOIN (SELECT seq, version FROM drover_outbox ORDER BY seq DESC LIMIT 1) AS newest
        """, database)
      defer { newest.reset() }
      guard try newest.step() else { return false }
      let (lastSeq, lastVersion) = (newest.integer(0), newest.integer(1))
      newest.reset()
      for (stream, received) in received {
        guard let lastReceived = received.set.last else { continue }
        // Neither the number nor the version was given here yet; the clock may have gone back with the database.
        guard lastReceived <= lastSeq, received.version <= lastVersion else { return true }
        // What was given after the last that was received has a higher version; the first of it has the lowest.
        let next = try prepared("SELECT version FROM drover_outbox WHERE seq > ? ORDER BY seq LIMIT 1", database)
        defer { next.reset() }
        next.bind(lastReceived, at: 1)
        if try next.step(), next.integer(0) <= received.version { return true }
        for interval in received.set.intervals {
          let other = try prepared(
            "SELECT 1 FROM drover_outbox WHERE seq > ?1 AND seq <= ?2 AND stream = ?3 AND version > ?4 LIMIT 1",
            database)
          defer { other.reset() }
          other.bind(interval.after, at: 1)
          other.bind(interval.through, at: 2)
          other.bind(Int64(stream), at: 3)
          other.bind(received.version, at: 4)
          if try other.step() { return true }
        }
      }
      return false
    }
  }

  /// Compares the database with what the file beside it remembers, when the agent starts.
  func recall() throws(EdgeStoreError) {
    let generation = try access { database in
      try Int64.fetchOne(database, sql: "SELECT generation FROM drover_clock")!
    }
    let remembered = OutboxMemory.read(database: path)
    // A database of which the agent has never written anything down has nothing to go back behind.
    if generation > 0 || remembered != nil {
      if let remembered, remembered.epoch == epoch.text {
        if remembered.generation > generation {
          try startEpoch(
            because:
              "the database is behind what \(OutboxMemory.path(for: path)) remembers: it was restored or rolled back")
        }
      } else if remembered != nil {
        try startEpoch(because: "the database is another one than \(OutboxMemory.path(for: path)) remembers")
      } else {
        try startEpoch(because: "\(OutboxMemory.path(for: path)) is not there, so nobody knows how far the outbox was")
      }
    }
    try access { database in
      try database.inTransaction(.immediate) {
        try raiseGeneration(database)
        return .commit
      }
    }
    remember()
  }

  func raiseGeneration(_ database: Database) throws {
    try prepared("UPDATE drover_clock SET generation = generation + 1", database).run()
  }

  /// Notes the generation beside the database, once it is on the disk: a note that is behind does no harm, one that is ahead costs an epoch.
  func remember() {
    do {
      try flush()
      let generation = try queue.inDatabase {
        try Int64.fetchOne($0.cachedStatement(sql: "SELECT generation FROM drover_clock"))!
      }
      try OutboxMemory(epoch: epoch.text, generation: generation).write(database: path)
      unnoted = nil
    } catch {
      // It is tried again with every settlement, ten times a second at most: a full disk needs no flood of lines.
      let reason = "\(error)"
      guard reason != unnoted else { return }
      unnoted = reason
      warn(
        "note the outbox's generation beside \(path): \(reason); it is tried again, and until then a restored backup might not be noticed"
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
