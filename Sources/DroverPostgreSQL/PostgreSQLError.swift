// What PostgreSQL or the way to it refused, as a person needs it: the operation, where, the cause, and what to do. The server's DETAIL is
// left out, because it quotes rows.

import DroverCore

package struct PostgreSQLError: Error, CustomStringConvertible {
  /// What was to be done: `connect`, `commit`, …
  package let operation: String
  /// The server and its database, without user and password.
  package let subject: String
  package let cause: String
  /// The five characters of PostgreSQL's own code; nil where the server did not answer.
  /// https://www.postgresql.org/docs/current/errcodes-appendix.html
  package let state: String?
  /// Every event of the machine, or of all machines, would meet it, as far as could be found out.
  var fault: SinkBlocked.Reach?
  /// What to do, where the code does not tell it.
  var hint: String?

  package var description: String {
    "\(operation) \(subject): \(cause)" + ((hint ?? advice).map { "; \($0)" } ?? "")
  }

  /// The cause as a dead letter may report it. Where a value did not fit, only the code is reported, because the text quotes the value.
  var explanation: String {
    guard let state, !isSilence else { return cause }
    return state.hasPrefix("22") ? "a value does not fit (SQLSTATE \(state))" : "\(cause) (SQLSTATE \(state))"
  }

  private var advice: String? {
    switch state {
    case "08001"?:
      "check `sslmode` and `sslrootcert` in `store:`, and that the server has a certificate of that CA for the name that `store:` has"
    case nil: "is the server up, and does `store:` name it?"
    case "28000"?, "28P01"?: "check the user in `store:`, its password and pg_hba.conf"
    case "3D000"?: "create it: CREATE DATABASE … ENCODING 'UTF8'"
    case "42501"?: "the user needs to own the database, or USAGE and CREATE on its schema"
    case "53300"?: "raise max_connections, or end what else is connected"
    case "53100"?: "the server's disk is full"
    case "25006"?: "this server is read-only; `store:` has to name the primary"
    case "57014"?: "something holds the tables, or the server is overloaded; pg_stat_activity shows what"
    case "55P03"?: "another session holds a lock on the table; pg_locks shows which"
    default: nil
    }
  }

  /// Prepared statements are there that this connection has not made, or its own are gone.
  static func tellsOfSharing(_ state: String) -> Bool { state == "26000" || state == "42P05" }

  /// A pooler lends the server's connections to one client after the other.
  static func shared(_ subject: String) -> PostgreSQLError {
    PostgreSQLError(
      operation: "connect to", subject: subject,
      cause:
        "a pooler gives the server's connection to another client after each transaction, and with it Drover's locks, settings and prepared statements",
      state: "55000",
      hint:
        "name the server itself in `store:`, or set the pooler to sessions for this database (pgbouncer: pool_mode=session)"
    )
  }

  /// The server cannot be reached now, or takes no more connections: the same request may go through later.
  package var isAway: Bool { isConnectionLost || state == "53300" }

  /// The connection is of no use any more.
  var isConnectionLost: Bool { state == nil || state!.hasPrefix("08") || state!.hasPrefix("57P") }

  /// Two transactions were in each other's way; each of them goes through alone.
  var isCollision: Bool { state == "40001" || state == "40P01" }

  /// Another program has changed the table since it was read.
  var isOutdated: Bool { ["0A000", "42703", "42804", "42P01", "42P07", "42701", "42P10"].contains(state) }

  /// A person has given a sink table another form than it had.
  static func tableChanged(_ stream: StreamName, _ reason: String, _ connection: Connection) -> PostgreSQLError {
    PostgreSQLError(
      operation: "use the sink table \(stream) of", subject: connection.subject, cause: reason, state: "42P16")
  }

  /// A statement came to nothing without an error: a trigger that returns NULL, a rule or a policy. The row would be missing in silence.
  static func silenced(_ table: SinkTable, _ connection: Connection) -> PostgreSQLError {
    PostgreSQLError(
      operation: "write to \(table.name) of", subject: connection.subject,
      cause: "the table keeps rows out, or rows in, without an error, as a trigger does that returns NULL",
      state: silence)
  }

  /// A row without epoch or version is never older than another to the database.
  static func unversioned(_ table: SinkTable, _ connection: Connection) -> PostgreSQLError {
    PostgreSQLError(
      operation: "write to \(table.name) of", subject: connection.subject,
      cause: "drover_epoch or drover_version of a row is NULL, and Drover compares rows by them", state: "42P16")
  }

  /// Not one of PostgreSQL's codes.
  private static let silence = "DR001"
  var isSilence: Bool { state == Self.silence }

  /// A table cannot be changed: a view needs a column as it is, or the user lacks the right.
  var isChangeRefused: Bool { ["0A000", "2BP01", "42501"].contains(state) }

  /// Another event would not meet it; everything else says that the store itself cannot go on. Classes 22 (data), 23 (constraints), 44 (a
  /// view's check), 54 (limits of a row or an index entry), P0 (raised by a trigger), and what a table keeps out in silence.
  var isAboutTheEvent: Bool { fault == nil && isOfData }

  private var isOfData: Bool {
    isSilence || state.map { ["22", "23", "44", "54", "P0"].contains(String($0.prefix(2))) } ?? false
  }
}
