// A connection to a store that the consumer has made, for work beside it: a command or a comparison.

import DroverCore

/// Transactions that others are in the way of are tried again.
enum Attempts {
  /// How often a transaction is tried.
  private static let most = 8

  /// Runs a transaction, and again where others were in its way or a table was changed meanwhile.
  /// - Parameters:
  ///   - takeBack: ends one that failed, and says whether the connection goes on.
  ///   - isWorthAnother: whether something else that the database refused may be accepted the next time.
  ///   - attempt: the transaction, from its beginning to its end.
  static func run<Result>(
    takeBack: () -> Bool, isWorthAnother: (any Error) -> Bool = { _ in false }, _ attempt: () throws -> Result
  ) throws -> Result {
    var attempts = 1
    while true {
      do {
        return try attempt()
      } catch {
        let isOpen = takeBack()
        let isInTheWay = (error as? PostgreSQLError).map { $0.isCollision || $0.isOutdated } ?? false
        guard isOpen, attempts < most, isWorthAnother(error) || isInTheWay else { throw error }
        attempts += 1
      }
    }
  }
}

extension Connection {
  /// Connects to a store that is there; looking makes none.
  /// - Parameter purpose: what the statements are for, in errors.
  convenience init(toStoreAt address: PostgreSQLAddress, purpose: String = "write to") throws {
    try self.init(address)
    guard try enterStore() else {
      throw PostgreSQLError(
        operation: "open", subject: subject, cause: "there is no store yet; `drover cloud` makes it when it starts",
        state: "42P01")
    }
    try CloudTables.migrate(self)
    self.purpose = purpose
  }

  /// Connects to a store that is to be read and never written, and where whole tables may be read; nil where there is none.
  convenience init?(lookingAt address: PostgreSQLAddress) throws {
    try self.init(address)
    purpose = "read"
    guard try enterStore() else { return nil }
    try CloudTables.requireCurrent(self)
    try run(
      """
      SET default_transaction_read_only = on;
      RESET enable_seqscan; RESET enable_hashjoin; RESET enable_mergejoin
      """)
  }

  // MARK: The store's schema

  /// Finds the schema of the search path that has the store, and puts it in front: a schema that appears before it later, as one of the user's
  /// own name does, changes nothing.
  /// - Returns: false where there is no store.
  /// - Throws: where a store is in a schema that the search path does not name.
  func enterStore() throws -> Bool {
    let found = try query(
      """
      SELECT nspname::text, array_position(current_schemas(false), nspname) IS NOT NULL, has_schema_privilege(pg_namespace.oid, 'USAGE')
        FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
       WHERE relname = 'drover_migration' AND relkind = 'r' AND nspname NOT LIKE 'pg\\_%'
       ORDER BY array_position(current_schemas(false), nspname), nspname
      """, operation: "open")
    guard found.count > 0 else { return false }
    guard found.boolean(0, 1) else { throw try storeIsElsewhere(found.text(0, 0), mayEnter: found.boolean(0, 2)) }
    try putInFront(quoted(found.text(0, 0)))
    return true
  }

  /// Settles where a new store is made: in the first schema of the search path.
  func makeStore() throws { try putInFront(try place()) }

  private func putInFront(_ schema: String) throws {
    try query(
      "SELECT set_config('search_path', concat_ws(', ', $1, nullif(current_setting('search_path'), '')), false), \(SinkProtection.mark)",
      [.text(schema)], operation: "open")
  }

  private func storeIsElsewhere(_ schema: String, mayEnter: Bool) throws -> PostgreSQLError {
    let path = try query("SELECT current_setting('search_path')").text(0, 0)
    return PostgreSQLError(
      operation: "open", subject: subject,
      cause:
        mayEnter
        ? "its store is in schema \(schema), which the search_path (\(path)) does not name"
        : "its store is in schema \(schema), which the user may not enter",
      state: "3F000",
      hint: mayEnter
        ? "set the search_path back, for example ALTER ROLE … IN DATABASE … SET search_path = \(quoted(schema)); a second store needs a database of its own"
        : "GRANT USAGE, CREATE ON SCHEMA \(quoted(schema)) TO …")
  }

  /// The store was found when the process began, and is not found there now.
  func storeIsGone(from place: String) -> PostgreSQLError {
    PostgreSQLError(
      operation: "open", subject: subject,
      cause: "the store was in schema \(place) and is not there now", state: "3F000",
      hint: "rename the schema back or restore it, or stop the consumer and start it again with another database")
  }

  // MARK: Transactions

  /// Runs a transaction, and again where others were in its way or a table was changed meanwhile.
  /// - Parameter begin: how it begins, asked for at each attempt.
  func transaction<Result>(_ begin: () throws -> String = { "BEGIN" }, _ body: () throws -> Result) throws -> Result {
    try Attempts.run(takeBack: takeBack) {
      try run(try begin())
      let result = try body()
      try run("COMMIT", operation: "commit to")
      return result
    }
  }

  /// Does a part of a transaction without which the rest can do, and does not wait for it; nil where it failed.
  func trying<Result>(_ part: () throws -> Result) throws -> Result? {
    try run("SAVEPOINT drover_trial; SET LOCAL lock_timeout = '500ms'")
    do {
      let result = try part()
      try run("SET LOCAL lock_timeout = '20s'; RELEASE drover_trial")
      return result
    } catch let error as PostgreSQLError where error.isOfOneTable {
      try run("ROLLBACK TO drover_trial; RELEASE drover_trial")
      return nil
    }
  }

  /// Ends a transaction that failed. A table may have changed since a statement was prepared, so that they are forgotten.
  /// - Returns: whether the connection goes on.
  func takeBack() -> Bool {
    guard !isLost else { return false }
    if isInTransaction { try? run("ROLLBACK") }
    try? forgetStatements()
    return !isLost
  }

  private static let oneMoment = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"

  /// Reads in a transaction that sees one moment.
  func looking<Result>(_ body: () throws -> Result) throws -> Result { try transaction({ Self.oneMoment }, body) }

  /// Reads tables as one moment had them. They are locked against changes of their form before the snapshot is taken, because a table that was
  /// written anew is empty to an older snapshot (https://www.postgresql.org/docs/current/mvcc-caveats.html).
  /// - Parameters:
  ///   - subject: what they are of, for an error.
  ///   - tables: their names as SQL takes them; asked for before and after the locks.
  func looking<Result>(
    at subject: String, _ tables: () throws -> [String], _ body: () throws -> Result
  ) throws -> Result {
    var locked: [String] = []
    func begin() throws -> String {
      // Nothing that is prepared from here on gets another form, so no look is begun again when a part of it has been shown.
      try forgetStatements()
      locked = try tables()
      guard !locked.isEmpty else { return Self.oneMoment }
      return "\(Self.oneMoment); LOCK TABLE \(locked.joined(separator: ", ")) IN ACCESS SHARE MODE"
    }
    return try transaction(begin) {
      guard try tables() == locked else {
        throw PostgreSQLError(
          operation: purpose, subject: self.subject, cause: "the tables of \(subject) are being changed; try again",
          state: "42P01")
      }
      return try body()
    }
  }

  /// Rows that are in memory at a time; one may have megabytes.
  private static let rowsOfPiece = 100

  /// Shows what a SELECT gives, piece by piece, within a transaction.
  func pieces(of sql: String, _ parameters: [Parameter] = [], _ see: (Rows) throws -> Void) throws {
    try query("DECLARE drover_pieces NO SCROLL CURSOR FOR \(sql)", parameters, isKept: false)
    var piece: Rows
    repeat {
      piece = try query("FETCH \(Self.rowsOfPiece) FROM drover_pieces", isKept: false)
      try see(piece)
    } while piece.count == Self.rowsOfPiece
    try run("CLOSE drover_pieces")
  }

  /// The schema in which sink tables are, quoted.
  func place() throws -> String {
    guard let place = try query("SELECT current_schema()::text").optionalText(0, 0) else {
      throw PostgreSQLError(
        operation: "open", subject: subject, cause: "no schema of its search_path is there; create one, or set it",
        state: "3F000")
    }
    return quoted(place)
  }
}
