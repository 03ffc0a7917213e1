// The cloud's store in SQLite: one connection, WAL, one transaction for each group of messages, durable on return.

package import DroverCore
private import Foundation
import GRDB

package struct CloudStoreError: Error, CustomStringConvertible {
  package let description: String
  /// Another program has the store locked.
  package var isLocked = false

  init(description: String) { self.description = description }

  /// - Parameter operation: what failed, for a sentence: `read`.
  init(_ operation: String, _ path: String, _ error: DatabaseError) {
    isLocked = error.resultCode == .SQLITE_BUSY
    description =
      "\(operation) \(path): "
      + (isLocked
        ? "it is locked by \(LockHolders.text(of: path) ?? "another program"); \(StoreLock.advice)" : error.explanation)
  }
}

package final class SQLiteCloudStore: CloudStore, FeedStore {
  private let queue: DatabaseQueue
  private let lockWait: StoreLockWait
  let limits: CloudStoreLimits
  /// Wall clock, microseconds since 1970.
  let now: () -> Int64
  /// Names this opening of the store, for the numbers that it gives to rows that go down.
  let run = StoreRun.random()
  private var isOpeningNoted = false
  /// What is known of the database without asking; forgotten when a transaction fails.
  var cache = Cache()
  /// How many tombstones each machine's deletes have added.
  var tombstoneSpace = TombstoneSpace()
  var care = Isolation()
  /// The open transaction has told the triggers of sink tables that it is the consumer's.
  var isWriting = false
  /// The highest numbers that the open transaction has given to rows that go down, by owner and stream.
  var raised: [MachineStream: Int64] = [:]
  private var dataVersion: Int64 = -1
  /// The version of the database's schema at which its sink tables were last seen to have the triggers that they need.
  private var settledSchema: Int64?
  /// As it was after the last commit of another program.
  private var mark: StoreMark?
  package private(set) var foreignChanges = 0
  let feed: ChangeFeed
  /// Where the consumer remembers how far the feed is; nil while it keeps none, and for other programs that open the store.
  private var feedMemory: FeedMemoryFile?

  /// What was wrong with the triggers of tables from which rows go down, until the consumer has heard of it.
  var captureFaults: [CaptureFault] = []
  var hasMendedCaptures = false

  struct Cache {
    var sinks = SinkTables()
    var latest: [Origin: StreamSchema?] = [:]
    var forms: [StreamName: SinkForm] = [:]
    /// Of streams whose rows are matched, as far as their sinks are known.
    var naturalKeys: [StreamName: NaturalKeys] = [:]
    var schemas: [SchemaKey: StreamSchema] = [:]
    /// The same schemas, each once: a fleet's machines share a few.
    var distinctSchemas: Set<StreamSchema> = []
    var tombstones: [Origin: Bool] = [:]
    /// Whether the keys of sink tables of facts tell lives.
    var tellsLives: [StreamName: Bool] = [:]
    var epochs: [MachineID: [Epoch: Int64]] = [:]
    var newestEpochs: [MachineID: Int64] = [:]
    var statements: [ExactText: Statement] = [:]
    /// What frames said last of the history of a machine's epoch.
    var lineages: [Origin: (epoch: Epoch, lineage: Lineage)] = [:]
    var histories: [MachineID: EpochHistory] = [:]
    var lostDecisions: LostDecisions?
    /// The streams with rows that go down.
    var downStreams: [StreamName]?
    /// Their tables, which have triggers.
    var capturedTables: Set<SQLName>?
    /// Whether triggers protect sink tables.
    var hasProtection: Bool?
  }
  struct SchemaKey: Hashable {
    var machine: MachineID
    var stream: StreamName
    var id: SchemaID
  }
  struct Origin: Hashable {
    var machine: MachineID
    var stream: StreamName
  }

  /// Opens the store, and makes it where there is none.
  /// - Throws: `CloudStoreError` with what to do.
  package init(
    path: String, limits: CloudStoreLimits = CloudStoreLimits(), now: @escaping () -> Int64 = SQLiteCloudStore.wallClock
  ) throws {
    self.limits = limits
    self.now = now
    sqliteIsSetUp
    let wait = StoreLockWait(path: path)
    lockWait = wait
    var configuration = Configuration()
    configuration.busyMode = .callback { wait.shouldTryAgain(tries: $0) }
    configuration.foreignKeysEnabled = false
    configuration.label = "drover cloud"
    configuration.prepareDatabase { database in
      // Of a store that is made now: half as many pages are written and copied back as with 4 KiB. docs/performance.md has the figures.
      try database.execute(sql: "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL")
      // A PUBACK tells the broker to forget: what it stands for has to survive a power loss.
      try database.execute(sql: "PRAGMA synchronous = FULL")
    }
    if let refusal = FileKind.refusal(path) {
      throw CloudStoreError(description: "open \(path): \(refusal); `store:` must name an SQLite file")
    }
    FileModes.make(path)
    do {
      queue = try DatabaseQueue(path: path, configuration: configuration)
      try CloudTables.migrator.migrate(queue)
      feed = try queue.inDatabase { try ChangeFeed($0) }
    } catch let error as DatabaseError where error.saysDamaged {
      throw StoreUnusable(description: Damage.describe(error, path: path, database: nil))
    } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY {
      throw CloudStoreError("open", path, error)
    } catch let error as DatabaseError {
      throw CloudStoreError(
        description:
          "open \(path): \(error.explanation)\(error.diskAdvice == nil ? "; `store:` must name an SQLite file" : "")")
    }
  }

  deinit {
    cache = Cache()
    try? queue.close()
  }

  /// Who wants to know that another program has the store locked for long, and that the lock is gone.
  package func onLock(_ tell: @escaping @Sendable (StoreLock?) -> Void) { lockWait.onChange(tell) }

  package var hasForeignCommits: Bool {
    guard let version = try? queue.inDatabase({ try Self.dataVersion($0) }) else { return true }
    return version != dataVersion
  }

  private static func dataVersion(_ database: Database) throws -> Int64 {
    try Int64.fetchOne(database.cachedStatement(sql: "PRAGMA data_version"))!
  }

  func forgetAll() { cache = Cache() }

  /// What merges a machine's events, where it is known.
  func table(of sink: Sink) -> SinkTable? { cache.sinks.table(of: sink) }

  package static func wallClock() -> Int64 { Int64(Date().timeIntervalSince1970 * 1_000_000) }

  package func transaction<Result>(_ body: (any CloudTransaction) throws -> Result) throws -> Result {
    let result = try writing { database in
      (isWriting, raised) = (false, [:])
      let transaction = Transaction(store: self, database: database)
      if !isOpeningNoted { try transaction.noteOpening() }
      if try hasProtection(database) { try transaction.beginWriting() }
      let result = try body(transaction)
      try settleTriggers(transaction, database)
      if isWriting { try database.cachedStatement(sql: "DELETE FROM drover_writer").execute() }
      return (result, try feed.finish(database))
    }
    isOpeningNoted = true
    return result
  }

  /// Whether sink tables have triggers that refuse what is not Drover's.
  private func hasProtection(_ database: Database) throws -> Bool {
    if let known = cache.hasProtection { return known }
    let isThere = try SinkProtection.isPresent(database)
    cache.hasProtection = isThere
    return isThere
  }

  /// Looks at the triggers of sink tables in the first transaction, and in each that comes after a change of the database's schema: a person may have
  /// dropped one.
  private func settleTriggers(_ transaction: Transaction, _ database: Database) throws {
    let schema = try database.cachedStatement(sql: "PRAGMA main.schema_version")
    guard try Int64.fetchOne(schema) != settledSchema else { return }
    if try limits.pins.protectsAny || hasProtection(database) {
      try SinkProtection(database: database, pins: limits.pins).settle()
    }
    try transaction.mendCaptures()
    settledSchema = try Int64.fetchOne(schema)
    cache.hasProtection = nil
  }

  package func note(_ name: String) throws -> String? {
    try accessing {
      try String.fetchOne($0, sql: "SELECT value FROM drover_meta WHERE name = ?", arguments: [name])
    }
  }

  package func setNote(_ name: String, _ value: String?) throws {
    try accessing { database in
      // A commit in WAL mode that is not flushed is there after the death of the process (https://www.sqlite.org/pragma.html#pragma_synchronous).
      try database.execute(sql: "PRAGMA synchronous = NORMAL")
      defer { try? database.execute(sql: "PRAGMA synchronous = FULL") }
      try Transaction(store: self, database: database).setNote(name, value)
    }
  }

  /// - Parameter body: returns how far the change feed is by then, where it has moved.
  private func writing<Result>(_ body: (Database) throws -> (Result, Int64?)) throws -> Result {
    try accessing { database in
      var done: (result: Result, number: Int64?)?
      try carefully {
        try database.inTransaction(.immediate) {
          let version = try Self.dataVersion(database)
          if version != dataVersion {
            try lookAtForeignCommit(database)
            foreignChanges += 1
          }
          dataVersion = version
          try feed.begin(database, now: now())
          done = try body(database)
          return .commit
        }
      }
      if let number = done!.number { feedMemory?.note(number) }
      return done!.result
    }
  }

  /// Another program has committed. If it may have made tables anew (`accept`), or has changed anything else that is known here, all of it is forgotten.
  private func lookAtForeignCommit(_ database: Database) throws {
    let found = try StoreMark(database)
    if found == nil || found != mark { forgetAll() } else { cache.tombstones = [:] }
    mark = found
  }

  /// Runs a transaction, and once more with care where one table may be what fails; and again without each table that ends the transaction.
  private func carefully(_ attempt: () throws -> Void) throws {
    care = Isolation()
    defer { care = Isolation() }
    while true {
      do {
        return try attempt()
      } catch let ended as TransactionEnded where care.ends.insert(ended.stream).inserted {
      } catch let error as DatabaseError where error.isOfOneSink && !care.isOn {
      } catch is IsolationNeeded where !care.isOn {
      }
      care.isOn = true
      forgetAll()
    }
  }

  private func accessing<Result>(_ body: (Database) throws -> Result) throws -> Result {
    do {
      let result = try queue.inDatabase(body)
      lockWait.free()
      return result
    } catch {
      forgetAll()
      guard let error = error as? DatabaseError else { throw error }
      if error.saysDamaged {
        throw StoreUnusable(description: Damage.describe(error, path: queue.path, database: queue))
      }
      throw CloudStoreError("write to", queue.path, error)
    }
  }

  // MARK: The change feed

  /// - Throws: `CloudStoreError`.
  package func keepFeed(_ isWanted: Bool) throws -> FeedChange {
    let (change, memory) = try writing { database in
      (try settleFeed(isWanted, database), nil) as ((FeedChange, FeedMemory?), Int64?)
    }
    guard let memory else {
      WholeFile.remove(FeedMemory.path(for: queue.path))
      return change
    }
    do {
      feedMemory = try FeedMemoryFile(memory, database: queue.path)
    } catch {
      throw CloudStoreError(
        description: "\(error); without this file the change feed would not know that the store went back")
    }
    return change
  }

  private func settleFeed(_ isWanted: Bool, _ database: Database) throws -> (FeedChange, FeedMemory?) {
    var change = FeedChange.none
    if isWanted, !feed.isOn {
      change = .began(rows: try feed.switchOn(database))
    } else if !isWanted, feed.isOn {
      try feed.switchOff(database)
      change = .ended
    } else if isWanted {
      let (present, known) = (try feed.standing(database)!, FeedMemory.read(database: queue.path))
      if known == nil || known!.era != present.era || known!.number > present.number {
        try feed.beginEra(database)
        change = .newEra
      }
    }
    if change != .none { forgetAll() }
    return (change, try feed.standing(database))
  }
}
