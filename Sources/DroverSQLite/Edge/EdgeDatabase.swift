// The app's own database, as Drover works in it. Its journal mode stays what it is; Drover's transactions are short, and wait for
// locks instead of taking them from the app. Reading the outbox is in EdgeDatabase+Reading.swift, attaching in +Attaching.swift.

package import DroverCore
private import CSQLite
private import Foundation
import GRDB

/// The edge's store in SQLite.
///
/// Its one connection fires no triggers: setting the app's `synced` flag must neither become an event nor run the app's
/// own triggers, which may need functions that only the app's connections have.
package final class EdgeDatabase: EdgeStore {
  var queue: DatabaseQueue
  /// False while the file is gone that was open, and no other has been opened.
  var isOpen = true
  let declarations: [StreamDeclaration]
  /// What an operator should know and nothing fails of; called with whole sentences.
  let warn: (String) -> Void

  package internal(set) var epoch: Epoch
  package internal(set) var streams: [EdgeStream] = []
  /// Before a look at the tables that failed in its last steps: the next look has to report what that one changed.
  var streamsBefore: [EdgeStream]?
  /// The stream whose rows are brought now, and how many of them a second at most.
  var backfilling: Int?
  package internal(set) var backfillRate: Int?
  package var hasBackfill: Bool { backfilling != nil }
  package internal(set) var gaps: [StreamName: String] = [:]
  package internal(set) var waits: [StreamWait] = []
  /// The numbers of the streams that wait, and what of their tables could not be read.
  var waitingStreams: Set<Int> = []
  var failures: [Int: Failure] = [:]
  /// Streams whose `synced` flag could not be set, so that it is said once.
  var unflagged: Set<Int> = []
  /// Streams for which the log already says that edits here are replaced.
  var overwritten: Set<Int> = []
  /// Streams of which it was said that keys of complete rows are used again.
  var reusing: Set<Int> = []
  /// When a stream was compared last because its last column may be new.
  var columnLooks: [Int: Int64] = [:]

  var tables: [Int: CapturedTable] = [:]
  var keyColumns = Bookkeeping.initialKeyColumns
  /// How many streams tell lives of a key apart.
  var streamsWithLives: Int64 = 0
  var twoWay = RowBookkeeping.Known()
  /// The highest version that was handed out before this run of the agent began, while the epoch lasts that it began in.
  var handedOutBefore: Int64?
  var schemaVersion: Int64 = -1
  var statements: [ExactText: Statement] = [:]
  /// By stream.
  var readers: [Int: RowReader] = [:]
  var downWriters: [Int: DownWriter] = [:]
  var knownForeignKeys: ForeignKeys?
  let path: String
  let retention: Retention
  let quota: OutboxQuota
  let letterBounds: DeadLetterBounds
  var keeper: SpaceKeeper
  var durability: Durability
  var durableSeq: Int64 = -1
  var dataVersion: Int64 = -1
  private var isAtWork = false
  var files: OpenFiles?
  /// nil in a program that is not the agent, and until the agent has compared the database with the file beside it.
  var continuity: Continuity?
  /// The database as it was when it was held against `continuity` last.
  var verifiedVersion: Int64 = -1
  /// The database was found to be another one, and has to be attached anew.
  var isOther = false
  /// The file that stood under the name when it was to be opened last.
  var candidate: FileIdentity?
  let random: () -> UInt64
  /// Called before another file is opened under the same path, to take its lock.
  let willOpen: (String) throws -> Void
  /// What the file beside the database holds, or is to hold.
  var memory: OutboxMemory
  var memoryFile: OutboxMemoryFile
  /// The number of this run of the agent; 0 in a program that is not the agent.
  var run: Int64 = 0
  /// Why the last note beside the database could not be written, so that it is said once.
  var unnoted: String?
  /// The generation has been raised since the last note.
  var isNoteDue = false

  /// Opens the database and attaches: makes Drover's tables and triggers where they are missing.
  /// - Parameters:
  ///   - path: the app's database. It has to exist where a stream is captured from a table, and is made where none is.
  ///   - retention: how much that is confirmed stays for a cloud that loses it.
  ///   - quota: what the outbox may take.
  ///   - letters: how many dead letters are kept.
  ///   - warn: told what an operator should know.
  ///   - free: what is left on the filesystem of a path.
  ///   - random: tells this run of the agent from another that began at the same time, and what it writes from another future's.
  ///   - willOpen: called with the path before another file is opened that has come to stand there, to take its lock.
  ///   - patience: how long a lock of another program is waited for before this throws `busy`.
  /// - Throws: `EdgeStoreError`. A table that cannot be captured is no error: its stream waits.
  package convenience init(
    path: String, declarations: [StreamDeclaration], retention: Retention = Retention(),
    quota: OutboxQuota = OutboxQuota(), letters: DeadLetterBounds = DeadLetterBounds(),
    warn: @escaping (String) -> Void = { _ in },
    free: @escaping (String) -> FreeSpace? = FreeSpace.of,
    random: @escaping () -> UInt64 = { .random(in: .min ... .max) },
    willOpen: @escaping (String) throws -> Void = { _ in }, patience: Duration = .seconds(10)
  ) throws {
    try self.init(
      attaching: path, declarations, retention, quota, letters, free, random, willOpen, warn, patience: patience)
    try recall()
  }

  /// Attaches, for a program that is not the agent.
  @discardableResult
  package static func prepare(
    path: String, declarations: [StreamDeclaration], quota: OutboxQuota
  ) throws -> EdgeDatabase {
    try EdgeDatabase(
      attaching: path, declarations, Retention(), quota, DeadLetterBounds(), FreeSpace.of,
      { .random(in: .min ... .max) }, { _ in }, { _ in })
  }

  private init(
    attaching path: String, _ declarations: [StreamDeclaration], _ retention: Retention, _ quota: OutboxQuota,
    _ letters: DeadLetterBounds, _ free: @escaping (String) -> FreeSpace?, _ random: @escaping () -> UInt64,
    _ willOpen: @escaping (String) throws -> Void, _ warn: @escaping (String) -> Void, patience: Duration = .seconds(10)
  ) throws {
    self.path = path
    self.random = random
    self.willOpen = willOpen
    self.declarations = declarations
    self.retention = retention
    self.quota = quota
    letterBounds = letters
    self.warn = warn
    keeper = SpaceKeeper(path: path, quota: quota, free: free)
    queue = try Self.open(path, create: declarations.allSatisfy { $0.table == nil }, patience: patience)
    durability = Durability(path: path)
    epoch = Epoch(random: .random(in: .min ... .max))
    memory = OutboxMemory(epoch: epoch.text, generation: 0, runs: .beginning, version: 0)
    memoryFile = OutboxMemoryFile(database: path)
    try attach()
    try access { database in
      try configure(database)
      files = try OpenFiles(path, database)
    }
  }

  func configure(_ database: Database) throws {
    // In WAL mode a commit of Drover's need not wait for the disk while it holds the lock: what it says can be said again.
    if try String.fetchOne(database, sql: "PRAGMA journal_mode") == "wal" {
      try database.execute(sql: "PRAGMA synchronous = NORMAL")
    }
    guard drover_sqlite3_disable_triggers(database.sqliteConnection) == SQLITE_OK else {
      throw EdgeStoreError.failed("open \(path): this SQLite library cannot switch triggers off for one connection")
    }
    if isAtWork { waitOutside(database) }
  }

  /// From here on a lock of the app's is waited for outside the database, so that the connection to the broker stays alive.
  private func waitOutside(_ database: Database) { sqlite3_busy_timeout(database.sqliteConnection, 50) }

  deinit {
    statements = [:]
    readers = [:]
    downWriters = [:]
    knownForeignKeys = nil
    try? queue.close()
  }

  /// Opens an edge database without attaching.
  /// - Parameter patience: how long a lock of another program is waited for.
  static func open(
    _ path: String, create: Bool, readOnly: Bool = false, patience: Duration = .seconds(10)
  ) throws -> DatabaseQueue {
    if !FileManager.default.fileExists(atPath: path), !create {
      throw EdgeStoreError.failed(
        "open \(path): there is no such file; start the app that makes its database first, or correct `database:`")
    }
    if let refusal = FileKind.refusal(path) {
      throw EdgeStoreError.failed("open \(path): \(refusal); `database:` names the app's SQLite file")
    }
    sqliteIsSetUp
    if create { FileModes.make(path) }
    var configuration = Configuration()
    configuration.busyMode = .timeout(patience / .seconds(1))
    // Drover's own writes must not cascade through the app's tables.
    configuration.foreignKeysEnabled = false
    configuration.readonly = readOnly
    configuration.label = "drover edge"
    do {
      return try DatabaseQueue(path: path, configuration: configuration)
    } catch let error as DatabaseError where error.saysDamaged {
      throw EdgeStoreError.damaged(Damage.describe(error, path: path, database: nil))
    } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY {
      throw EdgeStoreError.busy
    } catch let error as DatabaseError {
      throw EdgeStoreError.failed("open \(path): \(error.explanation)")
    }
  }

  package func lockHolders() -> String? { LockHolders.text(of: path) }

  // MARK: Cheap questions

  package func hasChanged() throws(EdgeStoreError) -> Bool {
    try access { database in
      if !isAtWork {
        waitOutside(database)
        isAtWork = true
      }
      try verifyFiles(database)
      let version = try dataVersion(database)
      guard version != dataVersion else { return false }
      try hold(continuity, database)
      // Another process may have ordered rows to be brought.
      try lookForBackfill(database)
      // Nothing is read while the broker is away, and an app's migration may have removed the triggers.
      try checkSchema(database)
      dataVersion = version
      return true
    }
  }

  package func acknowledged() throws(EdgeStoreError) -> [Int: IntervalSet] {
    try verified { database in
      var sets: [Int: IntervalSet] = [:]
      let statement = try prepared(
        """
        SELECT entry.stream, entry.seq
          FROM drover_outbox AS entry JOIN drover_stream AS stream ON stream.number = entry.stream
         WHERE entry.synced = 1 AND entry.seq > stream.confirmed_through ORDER BY entry.seq
        """, database)
      defer { statement.reset() }
      while try statement.step() {
        let seq = statement.integer(1)
        sets[Int(statement.integer(0)), default: IntervalSet()].insert(Interval(after: seq - 1, through: seq))
      }
      // What is retained beyond a gap is synced too.
      for (stream, confirmed) in try confirmed(database) { sets[stream]?.subtract(confirmed) }
      return sets.filter { !$0.value.isEmpty }
    }
  }

  /// Makes what is committed now survive a power loss.
  func flush(_ database: Database) throws { try durability.flush(database) }

  /// Makes what is committed up to a sequence number survive a power loss, if it has not been done yet.
  func makeDurable(through seq: Int64, _ database: Database) throws {
    guard seq > durableSeq else { return }
    try flush(database)
    durableSeq = seq
  }

  // MARK: Access

  /// A statement that is prepared once for the life of the connection.
  func prepared(_ sql: String, _ database: Database) throws -> Statement {
    if let statement = statements[ExactText(sql)] {
      statement.reset()
      return statement
    }
    let statement = try Statement(database, sql)
    statements[ExactText(sql)] = statement
    return statement
  }

  /// Reads within one transaction of a database that is still the one it was.
  func verified<Result>(_ body: (Database) throws -> Result) throws(EdgeStoreError) -> Result {
    try access { database in
      var result: Result?
      try database.inTransaction(.deferred) {
        try verify(database)
        result = try body(database)
        return .commit
      }
      return result!
    }
  }

  func access<Result>(_ body: (Database) throws -> Result) throws(EdgeStoreError) -> Result {
    guard isOpen else { throw .otherDatabase("\(path) was gone") }
    do {
      return try queue.inDatabase(body)
    } catch let error as EdgeStoreError {
      throw error
    } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY || error.resultCode == .SQLITE_LOCKED {
      throw .busy
    } catch let error as DatabaseError where error.resultCode == .SQLITE_SCHEMA {
      throw .schemaChanged
    } catch let error as DatabaseError where error.saysTableIsGone {
      // Attaching makes it again.
      throw .schemaChanged
    } catch let error as DatabaseError where error.saysDamaged {
      throw .damaged(Damage.describe(error, path: path, database: queue))
    } catch let error as DatabaseError {
      throw .failed("\(path): \(error.explanation)")
    } catch {
      throw .failed("\(error)")
    }
  }
}

extension DatabaseError {
  /// The cause in SQLite's words with its code, without the values of any statement, and what to do where it is the disk's.
  var explanation: String {
    let cause = "\(message ?? "unknown error") (SQLite code \(extendedResultCode.rawValue))"
    return diskAdvice.map { "\(cause); \($0)" } ?? cause
  }

  /// Whether a table or view of Drover's own is not there, as after a migration tool has dropped it.
  var saysTableIsGone: Bool {
    resultCode == .SQLITE_ERROR
      && ["no such table: drover_", "no such table: main.drover_"].contains { message?.hasPrefix($0) ?? false }
  }

  /// nil when it is not the disk that refuses.
  var diskAdvice: String? {
    switch resultCode {
    case .SQLITE_FULL: "make space on its disk"
    case .SQLITE_IOERR: "its disk is full or fails: look at `df` and at the kernel's log (`dmesg`)"
    case .SQLITE_CANTOPEN: "its folder has to be writable, with space and inodes left"
    default: nil
    }
  }
}
