// The app's own database, as Drover works in it. Its journal mode stays what it is; Drover's transactions are short, and wait for
// locks instead of taking them from the app. Reading the outbox is in EdgeDatabase+Reading.swift, attaching in +Attaching.swift.

package import DroverCore
private import CSQLite
private import Foundation
import GRDB

/// A stream as the configuration declares it.
package struct StreamDeclaration: Equatable, Sendable {
  package var name: StreamName
  package var kind: Kind
  /// The table it is captured from; nil for a stream fed by `emit` and the intake.
  package var table: String?
  package var syncedColumn: String?
  /// When a batch is complete.
  package var completeWhen: Condition?
  /// The tables of a batch's lines.
  package var with: [LinesDeclaration]
  /// What of the table leaves the machine.
  package var selection: Selection
  /// By what the cloud matches its rows with other machines'.
  package var naturalKey: NaturalKey?
  /// The columns by which a row is known; nil: its primary key.
  package var key: [String]?
  /// The column with a row's time, for who asks for rows since a moment.
  package var timeColumn: String?

  package init(
    name: StreamName, kind: Kind, table: String?, syncedColumn: String? = nil, completeWhen: Condition? = nil,
    with: [LinesDeclaration] = [], selection: Selection = Selection(), naturalKey: NaturalKey? = nil,
    key: [String]? = nil, timeColumn: String? = nil
  ) {
    self.timeColumn = timeColumn
    self.key = key
    self.naturalKey = naturalKey
    self.selection = selection
    self.with = with
    self.name = name
    self.kind = kind
    self.table = table
    self.syncedColumn = syncedColumn
    self.completeWhen = completeWhen
  }
}

/// A child table whose rows travel with their header.
package struct LinesDeclaration: Equatable, Sendable {
  package struct Reference: Equatable, Sendable {
    package var column: String
    /// The header's column that it names.
    package var header: String

    package init(column: String, header: String) {
      self.column = column
      self.header = header
    }
  }

  package var table: StreamName
  /// Empty where the table declares one foreign key to the header's.
  package var references: [Reference]

  package init(table: StreamName, references: [Reference] = []) {
    self.table = table
    self.references = references
  }
}

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
  /// Before a look at the tables that failed in its last steps: whoever asks the next time has to hear what that one changed.
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
  /// Streams of which it was said that keys of complete rows are used again.
  var reusing: Set<Int> = []
  /// When a stream was compared last because its last column may be new.
  var columnLooks: [Int: Int64] = [:]

  var tables: [Int: CapturedTable] = [:]
  var keyColumns = Bookkeeping.initialKeyColumns
  /// How many streams tell lives of a key apart.
  var streamsWithLives: Int64 = 0
  var schemaVersion: Int64 = -1
  var statements: [ExactText: Statement] = [:]
  /// By stream.
  var readers: [Int: RowReader] = [:]
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
    memory = OutboxMemory(epoch: epoch.text, generation: 0, runs: .beginning)
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

  // MARK: Settling

  package func settle(_ settlement: Settlement) throws(EdgeStoreError) {
    try access { database in
      try database.inTransaction(.immediate) {
        try verify(database)
        try checkSchema(database)
        for (stream, set) in settlement.synced {
          for interval in set.intervals {
            try flag(stream, interval, database)
            try bind(
              "UPDATE drover_outbox SET synced = 1 WHERE seq > ? AND seq <= ? AND stream = ? AND synced = 0", interval,
              stream, database
            ).run()
          }
        }
        if settlement.confirmed.values.contains(where: { !$0.isEmpty }) { try forget(settlement, database) }
        try raiseGeneration(database)
        return .commit
      }
    }
    remember()
  }

  /// Before the newest entry can go, its numbers are written down.
  static func rememberNewest(_ database: Database) throws {
    try database.cachedStatement(
      sql: """
        UPDATE drover_clock
           SET seq = max(seq, ifnull((SELECT max(seq) FROM drover_outbox), 0)),
               version = max(version, ifnull((SELECT version FROM drover_outbox ORDER BY seq DESC LIMIT 1), 0))
        """
    ).execute()
  }

  private func forget(_ settlement: Settlement, _ database: Database) throws {
    try Self.rememberNewest(database)
    for (stream, set) in settlement.confirmed {
      var count = 0
      for interval in set.intervals {
        try flag(stream, interval, database)
        count += try forget(interval, stream, database)
      }
      let statement = try prepared(
        "UPDATE drover_stream SET confirmed = confirmed + ?, confirmed_through = max(confirmed_through, ?) WHERE number = ?",
        database)
      statement.bind(Int64(count), at: 1)
      statement.bind(settlement.fronts[stream] ?? 0, at: 2)
      statement.bind(Int64(stream), at: 3)
      try statement.run()
      if let table = tables[stream] { try table.lives?.noteHighestKey(of: table, database) }
      try noteAhead(set, front: settlement.fronts[stream] ?? 0, stream, database)
      try prune(stream, database)
    }
    try SpaceKeeper.dropLooseRows(database)
    for (stream, table) in tables where table.freezes { try table.units(stream)?.dropLooseHeaders(database) }
  }

  /// Takes confirmed entries out of the outbox. What could not be brought again from a table stays for a while, as `synced`.
  private func forget(_ interval: Interval, _ stream: Int, _ database: Database) throws -> Int {
    let isIntake = streams.first { $0.number == stream }?.table == nil
    if let table = tables[stream] { try callDeletes(table, interval, stream, database) }
    let retained = isIntake ? "stream = ?" : "stream = ? AND op = 'delete'"
    let kept = try bind(
      "UPDATE drover_outbox SET synced = 1 WHERE seq > ? AND seq <= ? AND \(retained)", interval, stream, database
    ).run()
    if isIntake {
      try bind(
        """
        UPDATE drover_stream
           SET retained_bytes = retained_bytes
             + ifnull((SELECT sum(length(body)) FROM drover_outbox WHERE seq > ?1 AND seq <= ?2 AND stream = ?3), 0)
         WHERE number = ?3
        """, interval, stream, database
      ).run()
      return kept
    }
    if kept > 0 {
      try database.execute(
        sql: "UPDATE drover_stream SET retained_bytes = retained_bytes + ? WHERE number = ?",
        arguments: [kept * Retention.bytesOfDelete, stream])
    }
    let gone = try bind(
      "DELETE FROM drover_outbox WHERE seq > ? AND seq <= ? AND stream = ? AND op <> 'delete'", interval, stream,
      database
    ).run()
    if gone > 0 { try SpaceKeeper.note(bodyBytes: 0, entries: -gone, database) }
    return kept + gone
  }

  /// A row that a REPLACE displaced was entered as one that might stay, and so was a header whose line went. It is gone: no table will bring it again, so its entry is
  /// retained as the delete that it was.
  private func callDeletes(_ table: CapturedTable, _ interval: Interval, _ stream: Int, _ database: Database) throws {
    guard !table.uniques.isEmpty || !table.lines.isEmpty, table.schema.kind != .payload else { return }
    let isSame = table.keyExpressions.enumerated().map { index, column in
      // First by the column's own collation, which an index knows, then by bytes.
      let key = "drover_outbox.\(Bookkeeping.keyColumn(index))"
      return "app.\(column) IS \(key) AND app.\(column) IS \(key) COLLATE BINARY"
    }
    try bind(
      """
      UPDATE drover_outbox SET op = 'delete'
       WHERE seq > ? AND seq <= ? AND stream = ? AND op = 'put' AND seq NOT IN (SELECT seq FROM drover_kept)
         AND NOT EXISTS (SELECT 1 FROM \(quoted(table.name)) AS app WHERE \(isSame.joined(separator: " AND ")))
      """, interval, stream, database
    ).run()
  }

  /// Sets the app's own flag on the rows whose newest entry the broker has acknowledged just now. A row that has changed since has
  /// another entry, and stays as the app left it.
  private func flag(_ stream: Int, _ interval: Interval, _ database: Database) throws {
    guard let table = tables[stream] else {
      let name = isWaiting(stream) ? streams.first { $0.number == stream }?.name : nil
      if declarations.contains(where: { $0.name == name && $0.syncedColumn != nil }) {
        try bind(
          """
          UPDATE drover_wait SET is_unflagged = 1
           WHERE EXISTS (SELECT 1 FROM drover_outbox WHERE seq > ?1 AND seq <= ?2 AND stream = ?3 AND synced = 0)
             AND stream = ?3
          """, interval, stream, database
        ).run()
      }
      return
    }
    guard let flag = table.syncedColumn else { return }
    let keys = table.outboxColumns
    let entries = try bind(
      """
      SELECT \(keys.joined(separator: ", ")) FROM drover_outbox AS entry
       WHERE seq > ? AND seq <= ? AND stream = ? AND synced = 0 AND op = 'put'
         -- A row of the key of one that was kept is another one, which has an entry of its own.
         AND NOT (seq IN (SELECT seq FROM drover_kept)
                  AND EXISTS (SELECT 1 FROM drover_outbox AS newer
                               WHERE newer.stream = entry.stream AND newer.body IS NULL AND newer.seq > entry.seq
                                 AND \(keys.map { "newer.\($0) IS entry.\($0)" }.joined(separator: " AND "))))
      """, interval, stream, database)
    defer { entries.reset() }
    let column = quoted(flag)
    // OR ABORT: a constraint of the app's may say ON CONFLICT REPLACE, which would delete a row, or ROLLBACK.
    let flagRow =
      "UPDATE OR ABORT \(quoted(table.name)) SET \(column) = 1 WHERE \(column) IS NOT 1 AND "
      + table.wholeKeyExpressions.enumerated().map { "\($1) IS ?\($0 + 1)" }.joined(separator: " AND ")
      + (table.filter.map { " AND \($0)" } ?? "")
    var refusal: DatabaseError?
    while try entries.step() {
      do {
        let update = try prepared(flagRow, database)
        for index in keys.indices { update.bind(entries.value(Int32(index)), at: Int32(index + 1)) }
        try update.run()
      } catch let error as DatabaseError where error.isOfOneTable {
        refusal = error
      }
    }
    if let refusal, unflagged.insert(stream).inserted {
      warn(
        "set \(table.name).\(flag): the app's own table refuses the value 1 (\(refusal.explanation)); the events travel all the same"
      )
    }
  }

  private func bind(_ sql: String, _ interval: Interval, _ stream: Int, _ database: Database) throws -> Statement {
    let statement = try prepared(sql, database)
    statement.bind(interval.after, at: 1)
    statement.bind(interval.through, at: 2)
    statement.bind(Int64(stream), at: 3)
    return statement
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
