// Whether the database is still the one that the agent worked on. It may be put back while the agent runs, by SQLite's backup API, by
// `.restore` or by a copy over the file: then its numbers mean other events, and to go on would lose them. So what the agent knows of it is
// held against it whenever another connection has committed, and within each of the agent's own transactions before anything is read or
// written (docs/decisions/0023-a-database-that-is-replaced-under-a-running-agent.md).

import DroverCore
import GRDB

/// What the agent knows of the database's bookkeeping.
struct Continuity {
  /// As the agent wrote it. No other program does, and its steps are drawn by chance, so another future of the database has another one.
  var generation: Int64
  /// What a commit of the agent's that failed may have written all the same.
  var attempted: Int64?
  /// The highest number and version that were seen to be given.
  var seq: Int64
  var version: Int64
  /// The newest entry then. As long as it is there it has this version; when it is gone, newer ones were given.
  var newest: (seq: Int64, version: Int64)?
}

extension EdgeDatabase {
  /// Throws `otherDatabase` when the database is not the one that the agent worked on. To be called first in a transaction, so that it is the
  /// same moment that is looked at and worked on. Costs next to nothing while no other connection has committed.
  func verify(_ database: Database) throws {
    try verifyFiles(database)
    guard let continuity, try dataVersion(database) != verifiedVersion else { return }
    try hold(continuity, database)
  }

  /// Holds what is known against the database whether or not anything was committed, and knows what there is from then on.
  @discardableResult
  func hold(_ known: Continuity?, _ database: Database) throws -> Continuity {
    let version = try dataVersion(database)
    let found = try look(database, against: known)
    if known != nil { continuity = found }
    verifiedVersion = version
    return found
  }

  func verifyFiles(_ database: Database) throws {
    guard continuity != nil else { return }
    if let change = try files?.change(database) { throw other(change) }
  }

  func other(_ reason: String) -> EdgeStoreError {
    isOther = true
    return .otherDatabase(reason)
  }

  func dataVersion(_ database: Database) throws -> Int64 {
    let statement = try prepared("PRAGMA data_version", database)
    defer { statement.reset() }
    return try statement.step() ? statement.integer(0) : -1
  }

  /// Reads the bookkeeping, and throws `otherDatabase` when it contradicts what is known.
  func look(_ database: Database, against known: Continuity?) throws -> Continuity {
    let row: Statement
    do {
      row = try prepared(Self.bookkeeping, database)
      row.bind(known?.newest?.seq ?? -1, at: 1)
      guard try row.step() else { throw other("its row in drover_clock is gone") }
    } catch let error as DatabaseError where error.resultCode == .SQLITE_ERROR && known != nil {
      // Without a table of Drover's the statement cannot be prepared.
      throw other("Drover's own tables are gone from it, as in a copy from before Drover was attached")
    }
    defer { row.reset() }
    var found = Continuity(
      generation: row.integer(1), attempted: known?.attempted, seq: row.integer(2), version: row.integer(3),
      newest: row.isNull(4) ? nil : (row.integer(4), row.integer(5)))
    guard let known else { return found }
    guard row.value(0) == .text(epoch.text) else { throw other("it has another epoch than the agent gave it") }
    guard found.generation == known.generation || found.generation == known.attempted else {
      throw other("it is not as the agent left it: it was restored to an earlier state")
    }
    guard found.seq >= known.seq else {
      throw other("it ends at number \(found.seq), and \(known.seq) was given: it was restored to an earlier state")
    }
    if let newest = known.newest {
      guard row.isNull(6) || row.integer(6) == newest.version, row.isNull(7) || row.integer(7) <= known.version else {
        throw other("it has other events under the same numbers: it was restored to an earlier state")
      }
    }
    if found.generation == known.attempted { found.attempted = nil }
    found.version = max(found.version, known.version)
    return found
  }

  /// Epoch, generation, the highest number and version that were given, the newest entry; and of the entry that was the newest when it was looked
  /// at last, and of the one before it, the versions now.
  private static let bookkeeping = """
    SELECT (SELECT value FROM drover_meta WHERE name = 'epoch'), clock.generation,
           max(clock.seq, ifnull(newest.seq, 0)), max(clock.version, ifnull(newest.version, 0)), newest.seq, newest.version,
           (SELECT version FROM drover_outbox WHERE seq = ?1),
           (SELECT version FROM drover_outbox WHERE seq < ?1 ORDER BY seq DESC LIMIT 1)
      FROM drover_clock AS clock
      LEFT JOIN (SELECT seq, version FROM drover_outbox ORDER BY seq DESC LIMIT 1) AS newest
    """

  /// Writes the generation of the transaction that is under way. The step is drawn by chance: equality proves that no other future of this
  /// database was written to.
  func raiseGeneration(_ database: Database) throws {
    let before =
      try continuity.map { max($0.generation, $0.attempted ?? 0) }
      ?? Int64.fetchOne(database, sql: "SELECT generation FROM drover_clock")!
    let next = before + 1 + Int64(random() % (1 << 20))
    let write = try prepared("UPDATE drover_clock SET generation = ?", database)
    write.bind(next, at: 1)
    try write.run()
    continuity?.attempted = next
  }

  // MARK: Another file

  /// Leaves the file that was open, and opens the one that the path leads to now.
  /// - Throws: `EdgeStoreError.failed` while there is none that could be attached; to be called again then.
  func reopen() throws(EdgeStoreError) {
    if isOpen {
      try access { database in
        statements = [:]
        readers = [:]
        downWriters = [:]
        knownForeignKeys = nil
        try files?.partFromWAL(database)
      }
      try? queue.close()
      isOpen = false
      candidate = nil
    }
    try OpenFiles.requireReady(path)
    // To replace a database, several files are removed and moved. What is opened in the middle of that is none.
    let present = FileIdentity(of: path)
    guard present == candidate else {
      candidate = present
      throw .failed("open \(path): it is new at this path; the agent opens it if it stays")
    }
    do {
      try willOpen(path)
      queue = try Self.open(path, create: false)
    } catch let error as EdgeStoreError {
      throw error
    } catch {
      throw .failed("\(error)")
    }
    isOpen = true
    durability = Durability(path: path)
    memoryFile = OutboxMemoryFile(database: path)
    do throws(EdgeStoreError) {
      try access { database in
        try configure(database)
        files = try OpenFiles(path, database)
        try requireSomethingToCapture(database)
      }
    } catch {
      try? queue.close()
      isOpen = false
      throw error
    }
  }

  /// An app that has just begun to make its database may ask whether it is empty: nothing of Drover's may stand in it before that.
  func requireSomethingToCapture(_ database: Database) throws {
    // GRDB remembers tables of the database that was here before.
    database.clearSchemaCache()
    if try database.tableExists("drover_outbox") { return }
    let tables = declarations.compactMap(\.table)
    guard try tables.isEmpty || tables.contains(where: { try database.tableExists($0) }) else {
      throw EdgeStoreError.failed(
        "attach \(path): it has none of the captured tables; the agent waits until the app has made one")
    }
  }

  /// Attaches whatever the database is now, under an epoch that is its own until `startEpoch` begins another.
  func attachAnew() throws(EdgeStoreError) {
    continuity = nil
    schemaVersion = -1
    dataVersion = -1
    verifiedVersion = -1
    durableSeq = -1
    epoch = Epoch(random: .random(in: .min ... .max))
    try access { try requireSomethingToCapture($0) }
    try attach()
  }
}
