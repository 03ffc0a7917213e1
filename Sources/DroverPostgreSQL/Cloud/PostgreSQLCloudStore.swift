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
  private let isExclusive: Bool
  private var connection: Connection?
  /// The schema in which sink tables are made.
  private(set) var place = ""
  /// Forgotten when a transaction fails, and when another consumer has changed tables.
  var knowledge = Knowledge()
  private var shapes: Int64 = -1

  /// How often a transaction that others were in the way of, or that found a table changed, is tried.
  private static let mostAttempts = 8

  /// What is known of the database.
  struct Knowledge {
    var tables: [SQLName: SinkTable] = [:]
    var writers: [Sink: SinkWriter] = [:]
    var latest: [Origin: StreamSchema?] = [:]
    var schemas: [SchemaKey: StreamSchema] = [:]
    /// By table, what its rows are matched by; nil where they are not.
    var naturalKeys: [SQLName: NaturalKey?] = [:]
    var epochs: [EpochKey: Int64] = [:]
  }
  struct Origin: Hashable {
    var machine: MachineID
    var stream: StreamName
  }
  struct SchemaKey: Hashable {
    var machine: MachineID
    var stream: StreamName
    var id: SchemaID
  }
  struct EpochKey: Hashable {
    var machine: MachineID
    var epoch: Epoch
  }

  /// Opens the store, and makes its tables where there are none.
  /// - Parameter isExclusive: whether no other store that says so may work on the database as long as this one does.
  /// - Throws: `PostgreSQLError` with what to do.
  package init(
    _ address: PostgreSQLAddress, limits: CloudStoreLimits = CloudStoreLimits(), isExclusive: Bool = false,
    now: @escaping () -> Int64 = wallClock
  ) throws {
    self.isExclusive = isExclusive
    self.address = address
    self.limits = limits
    self.now = now
    let connection = try connect()
    try CloudTables.migrate(connection)
  }

  package static func wallClock() -> Int64 { Int64(Date().timeIntervalSince1970 * 1_000_000) }

  /// Server and database.
  package var subject: String { connection?.subject ?? "PostgreSQL" }

  /// The connection as it is, or a new one.
  private func connect() throws -> Connection {
    if let connection, !connection.isLost { return connection }
    connection = nil
    knowledge = Knowledge()
    let new = try Connection(address)
    let place = try new.place()
    if isExclusive { try claim(new) }
    self.place = place
    connection = new
    return new
  }

  /// Waits for a predecessor's connection to end: the server may notice a moment later that its client was killed.
  private func claim(_ connection: Connection) throws {
    do {
      try connection.run("BEGIN; SET LOCAL lock_timeout = '5s'")
      try connection.query("SELECT pg_advisory_lock($1)", [.integer(Locks.consumer)])
      try connection.run("COMMIT")
    } catch let error as PostgreSQLError where error.state == "55P03" {
      throw PostgreSQLError(
        operation: "open", subject: connection.subject,
        cause: "another consumer works on this database; stop it first", state: "55006")
    }
  }

  // MARK: Transactions

  package func transaction<Result>(_ body: (any CloudTransaction) throws -> Result) throws -> Result {
    var isCareful = false
    var attempt = 1
    while true {
      do {
        return try attemptTransaction(isCareful, body)
      } catch {
        let isOpen = takeBack()
        guard let error = error as? PostgreSQLError, isOpen, attempt < Self.mostAttempts else { throw error }
        attempt += 1
        // What the database refused of one event is found out in steps that can each be taken back.
        if error.isAboutTheEvent, !isCareful {
          isCareful = true
        } else if !error.isCollision, !error.isOutdated {
          throw error
        }
      }
    }
  }

  private func attemptTransaction<Result>(
    _ isCareful: Bool, _ body: (any CloudTransaction) throws -> Result
  ) throws -> Result {
    let connection = try begin()
    let shapes = try connection.query("SELECT value::bigint FROM drover_meta WHERE name = 'shapes'")
    let current = shapes.count == 0 ? 0 : shapes.integer(0, 0)
    if current != self.shapes {
      knowledge = Knowledge()
      try connection.forgetStatements()
      self.shapes = current
    }
    let transaction = Transaction(store: self, connection: connection, isCareful: isCareful)
    let result = try body(transaction)
    if transaction.hasReshaped { try transaction.noteReshaping() }
    try connection.run("COMMIT", operation: "commit to")
    return result
  }

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
    guard let connection, !connection.isLost else { return false }
    if connection.isInTransaction { try? connection.run("ROLLBACK") }
    return !connection.isLost
  }
}
