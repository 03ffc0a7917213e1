// A connection to a store that the consumer has made, for whoever works beside it: a person's command, or a comparison.

import DroverCore

extension Connection {
  /// Connects to a store that is there; looking makes none.
  convenience init(toStoreAt address: PostgreSQLAddress) throws {
    try self.init(address)
    guard try query("SELECT to_regclass('drover_migration') IS NOT NULL", operation: "open").boolean(0, 0) else {
      throw PostgreSQLError(
        operation: "open", subject: subject, cause: "there is no store yet; `drover cloud` makes it when it starts",
        state: "42P01")
    }
    try CloudTables.migrate(self)
  }

  /// Runs a transaction, and again where others were in its way or a table was changed meanwhile.
  /// - Parameter begin: how it begins.
  func transaction<Result>(_ begin: String = "BEGIN", _ body: () throws -> Result) throws -> Result {
    var attempt = 1
    while true {
      do {
        // A table may have changed since a statement was prepared.
        if attempt > 1 { try forgetStatements() }
        try run(begin)
        let result = try body()
        try run("COMMIT", operation: "commit to")
        return result
      } catch {
        if !isLost, isInTransaction { try? run("ROLLBACK") }
        guard let error = error as? PostgreSQLError, !isLost, error.isCollision || error.isOutdated,
          attempt < Self.mostAttempts
        else { throw error }
        attempt += 1
      }
    }
  }

  private static let mostAttempts = 8
}
