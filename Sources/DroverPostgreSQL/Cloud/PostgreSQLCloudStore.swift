// The cloud's store in PostgreSQL: one connection, one transaction for each group of messages, durable on return. What it knows of the
// database without asking is true for one transaction at a time, and what must not change meanwhile is locked: other consumers may work on
// the same database.

package import DroverCore
private import Foundation

package final class PostgreSQLCloudStore: CloudStore {
  private let address: PostgreSQLAddress
  let limits: CloudStoreLimits
  /// Wall clock, microseconds since 1970.
  let now: () -> Int64
  private let work: Work
  /// It knows the configuration, so it may say which tables are protected.
  private let hasConfiguration: Bool
  /// Tells this process from another that has its number.
  private let token = Epoch(random: .random(in: .min ... .max)).text
  private var connection: Connection?
  /// Names this connection, for the numbers that it gives to rows that go down.
  private(set) var run: Int64 = 0
  private var isOpeningNoted = false
  /// The schema in which sink tables are made.
  private(set) var place = ""
  /// Forgotten when a transaction fails, and when another consumer has changed tables.
  var knowledge = Knowledge()
  /// How many tombstones each machine's deletes have added here.
  var tombstoneSpace = TombstoneSpace()
  /// Streams whose tables could not be written of late: work on them has a savepoint from the beginning.
  var suspects: Set<SQLName> = []
  private var shapes: Int64 = -1
  package private(set) var foreignChanges = 0
  private var membership: Consumers.Membership?
  private var lastBeat: ContinuousClock.Instant?
  /// When tables that were locked are looked at again, to protect them.
  private var nextProtection: ContinuousClock.Instant?
  /// The last number of the change feed that this store has given and committed.
  private var reached: Int64 = 0

  /// Who works on the database.
  package enum Work: Sendable {
    /// Another program beside the consumers.
    case beside
    /// One consumer, as long as the store lives; no other can come in.
    case alone
    /// One of several consumers.
    case shared
  }

  /// What is known of the database.
  struct Knowledge {
    var tables: [SQLName: SinkTable] = [:]
    var writers: [Sink: SinkWriter] = [:]
    var latest: [MachineStream: StreamSchema?] = [:]
    var schemas: [SchemaKey: StreamSchema] = [:]
    /// By table, what its rows are matched by; nil where they are not.
    var naturalKeys: [SQLName: NaturalKey?] = [:]
    var epochs: [MachineID: [Epoch: Int64]] = [:]
    /// Two-way tables whose triggers were looked at.
    var captures: Set<SQLName> = []
    /// What was noted last of where machines' histories continue.
    var lineages: [MachineStream: (epoch: Epoch, lineage: Lineage)] = [:]
    /// Sink tables are protected as the configuration says.
    var isProtectionSettled = false
  }
  struct SchemaKey: Hashable {
    var machine: MachineID
    var stream: StreamName
    var id: SchemaID
  }

  /// Opens the store, and makes its tables where there are none.
  /// - Parameter limits: nil for a program that does without the configuration: it protects no table and takes no protection away.
  /// - Throws: `PostgreSQLError` with what to do.
  package init(
    _ address: PostgreSQLAddress, limits: CloudStoreLimits? = nil, work: Work = .beside,
    now: @escaping () -> Int64 = wallClock
  ) throws {
    self.work = work
    self.address = address
    self.limits = limits ?? CloudStoreLimits()
    hasConfiguration = limits != nil
    self.now = now
    let connection = try Connection(address)
    if try !connection.enterStore() { try connection.makeStore() }
    try CloudTables.migrate(connection)
    try take(connection)
  }

  /// Another consumer has its number. Once is enough to find that out: it waits for the number for seconds, while a request to end has to wait.
  private var end: StoreUnusable?

  package var isShared: Bool { work == .shared }
  /// The consumer's number, which it keeps as long as it lives, and one that comes after it has again: 0 for one that works alone.
  package var number: Int64 { membership?.number ?? 0 }
  /// Whether no consumer has had its number before.
  package var isNewcomer: Bool { membership?.isNewcomer ?? false }
  /// Whether it is the leader of all consumers; checked with each heartbeat.
  package private(set) var isFirst = false

  package static func wallClock() -> Int64 { Int64(Date().timeIntervalSince1970 * 1_000_000) }

  /// Server and database.
  package var subject: String { connection?.subject ?? "PostgreSQL" }

  /// The connection as it is, or a new one.
  private func connect() throws -> Connection {
    if let connection, !connection.isLost { return connection }
    if let end { throw end }
    connection = nil
    knowledge = Knowledge()
    let new = try Connection(address)
    guard try new.enterStore() else { throw new.storeIsGone(from: place) }
    do {
      try take(new)
    } catch let error as StoreUnusable {
      end = error
      throw error
    }
    return new
  }

  private func take(_ new: Connection) throws {
    let found = try new.place()
    guard place.isEmpty || found == place else { throw new.storeIsGone(from: place) }
    isFirst = false
    switch work {
    case .beside: break
    case .alone: membership = try Consumers(connection: new).claimAlone(token)
    case .shared: membership = try Consumers(connection: new).claimNumber(membership?.number, token)
    }
    // A foreign lock may block everything only for so long; a wait for other consumers is retried with a longer limit.
    // A policy that hides rows is an error, and no silence.
    if work != .beside { try new.run("SET lock_timeout = '1s'; SET row_security = off") }
    place = found
    try ChangeFeed.settle(new, reached: reached)
    (run, isOpeningNoted) = (StoreRun.random(), false)
    connection = new
  }

  /// Shows that the consumer moves, at most every few seconds, and takes what another one of them has left.
  package func beat() {
    guard let number = membership?.number, lastBeat.map({ $0.advanced(by: .seconds(5)) <= .now }) ?? true else {
      return
    }
    lastBeat = .now
    guard let consumers = try? Consumers(connection: connect()) else { return }
    try? consumers.beat(number)
    if !isFirst { isFirst = (try? consumers.claimFirst()) ?? false }
  }

  // MARK: Transactions

  package func transaction<Result>(_ body: (any CloudTransaction) throws -> Result) throws -> Result {
    try running { try body($0) }
  }

  package func note(_ name: String) throws -> String? { try running { try $0.note(name) } }

  package func setNote(_ name: String, _ value: String?) throws {
    try running { transaction in
      // It has to survive this process, and the server's crash need not be thought of.
      try transaction.connection.run("SET LOCAL synchronous_commit = off")
      try transaction.setNote(name, value)
    }
  }

  /// Runs a transaction, and again where others were in its way or an event was refused.
  /// - Parameter lock: a statement that comes before everything else.
  func running<Result>(after lock: String? = nil, _ body: (Transaction) throws -> Result) throws -> Result {
    var isCareful = false
    // What the database refused, of one event or of one table, is found out in steps that can each be taken back.
    func isWorthIsolating(_ error: any Error) -> Bool {
      let isOfOneTable = (error as? PostgreSQLError)?.isOfOneTable ?? (error is IsolationNeeded)
      guard isOfOneTable, !isCareful else { return false }
      isCareful = true
      return true
    }
    return try Attempts.run(takeBack: takeBack, isWorthAnother: isWorthIsolating) {
      try attemptTransaction(isCareful, lock, body)
    }
  }

  private func attemptTransaction<Result>(
    _ isCareful: Bool, _ lock: String?, _ body: (Transaction) throws -> Result
  ) throws -> Result {
    let connection = try begin()
    // What is deferred to the commit would be refused of everything.
    if isCareful { try connection.run("\(Transaction.longPatience); SET CONSTRAINTS ALL IMMEDIATE") }
    if let lock { try connection.run(lock) }
    let transaction = Transaction(
      store: self, connection: connection, isCareful: isCareful, keepsFeed: try look(connection))
    if !isOpeningNoted { try transaction.noteOpening() }
    let result = try body(transaction)
    try settleProtection(connection)
    if transaction.hasReshaped { try transaction.noteReshaping() }
    let number = try transaction.feed.finish()
    try connection.run("COMMIT", operation: "commit to")
    if let number { reached = number }
    isOpeningNoted = true
    return result
  }

  /// Looks at what protects sink tables once, and again when tables have changed.
  private func settleProtection(_ connection: Connection) throws {
    guard hasConfiguration, !knowledge.isProtectionSettled, nextProtection.map({ $0 <= .now }) ?? true else { return }
    let isDone = try SinkProtection(connection: connection, place: place, pins: limits.pins).settle()
    knowledge.isProtectionSettled = isDone
    nextProtection = isDone ? nil : .now.advanced(by: .seconds(60))
  }

  /// The beginning of each transaction: forgets cached tables that have changed.
  /// - Returns: whether there is a change feed. None is begun or ended until the transaction is over, since it has read that table.
  private func look(_ connection: Connection) throws -> Bool {
    let now = try connection.query(
      "SELECT \(Self.shapes), EXISTS (SELECT 1 FROM drover_feed), pg_backend_pid()::bigint")
    guard now.integer(0, 2) == connection.backend else {
      throw StoreUnusable(description: "\(PostgreSQLError.shared(connection.subject))")
    }
    if now.integer(0, 0) != shapes {
      foreignChanges += 1
      knowledge = Knowledge()
      try connection.forgetStatements()
      shapes = now.integer(0, 0)
    }
    return now.boolean(0, 1)
  }

  /// How often tables were made, changed or put aside; as a subquery.
  static let shapes = "coalesce((SELECT value::bigint FROM drover_meta WHERE name = 'shapes'), 0)"

  /// Begins on a connection that may have been lost since it was last used; then on a new one.
  private func begin() throws -> Connection {
    let known = try connect()
    do {
      try known.run("BEGIN")
      return known
    } catch  where known.isLost {
      let new = try connect()
      try new.run("BEGIN")
      return new
    }
  }

  /// Ends a transaction that failed.
  /// - Returns: whether the connection goes on.
  private func takeBack() -> Bool {
    knowledge = Knowledge()
    shapes = -1
    return connection?.takeBack() ?? false
  }
}
