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
  /// - Parameter begin: how it begins, asked for at each attempt.
  func transaction<Result>(_ begin: () throws -> String = { "BEGIN" }, _ body: () throws -> Result) throws -> Result {
    var attempt = 1
    while true {
      do {
        // A table may have changed since a statement was prepared.
        if attempt > 1 { try forgetStatements() }
        try run(try begin())
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

  /// Rows that are in memory at a time; one may have megabytes.
  private static let rowsOfPiece = 100

  /// Shows what a SELECT gives, piece by piece, within a transaction.
  func pieces(of sql: String, _ parameters: [Parameter], operation: String, _ see: (Rows) throws -> Void) throws {
    try query(
      "DECLARE drover_pieces NO SCROLL CURSOR FOR \(sql)", parameters, operation: operation, isKept: false)
    var piece: Rows
    repeat {
      piece = try query("FETCH \(Self.rowsOfPiece) FROM drover_pieces", operation: operation, isKept: false)
      try see(piece)
    } while piece.count == Self.rowsOfPiece
    try run("CLOSE drover_pieces", operation: operation)
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
