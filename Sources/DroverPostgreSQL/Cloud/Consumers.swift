// Which consumers work on a database: one alone, or several with numbers of their own. What says that one is at work is a lock that its
// connection holds, so that it goes with the process however that ends; a row beside it says who it is, and whether it moves.

import DroverCore
private import Glibc

struct Consumers {
  let connection: Connection

  static let migration = """
    CREATE TABLE drover_consumer (
      -- 0 for one that works alone, from 1 on for those of a group.
      number   BIGINT PRIMARY KEY,
      host     TEXT NOT NULL,
      process  BIGINT NOT NULL,
      -- Drawn by the process that has the number.
      token    TEXT NOT NULL,
      began_at TIMESTAMPTZ NOT NULL,
      -- When it last showed that it moves.
      beat_at  TIMESTAMPTZ NOT NULL
    );
    """

  /// What has not moved for so long is stuck.
  private static let patience = Duration.seconds(30)

  struct Membership {
    let number: Int64
    /// Whether no consumer has had the number before.
    let isNewcomer: Bool
  }

  // MARK: Coming in

  /// Takes the database for one consumer alone.
  func claimAlone(_ token: String) throws -> Membership {
    guard
      try waiting({
        try connection.query("SELECT pg_advisory_lock($1)", [.integer(Locks.consumers)])
        try connection.query("SELECT pg_advisory_lock($1)", [.integer(Locks.consumer(0))])
      })
    else {
      throw refusal("another consumer works on this database; stop it first, or give all of them the same `group`")
    }
    return try enter(0, token)
  }

  /// Takes the lowest number that no other consumer has, or the one that this consumer had before its connection broke.
  func claimNumber(_ own: Int64?, _ token: String) throws -> Membership {
    guard try waiting({ try connection.query("SELECT pg_advisory_lock_shared($1)", [.integer(Locks.consumers)]) })
    else {
      throw refusal("a consumer without a `group` works on this database; stop it first, or give it the group too")
    }
    if let own {
      try claimAgain(own, token)
      return try enter(own, token)
    }
    for number in 1...Self.most where try isFree(number) { return try enter(number, token) }
    throw refusal("\(Self.most) consumers work on it already")
  }

  /// More are no group but a mistake.
  private static let most: Int64 = 1000

  private func isFree(_ number: Int64) throws -> Bool {
    try connection.query("SELECT pg_try_advisory_lock($1)", [.integer(Locks.consumer(number))]).boolean(0, 0)
  }

  /// The broker knows a consumer by its number, so it cannot go on under another.
  private func claimAgain(_ number: Int64, _ token: String) throws {
    let isOwn = try waiting { try connection.query("SELECT pg_advisory_lock($1)", [.integer(Locks.consumer(number))]) }
    guard !isOwn else { return }
    let holder = try connection.query("SELECT token FROM drover_consumer WHERE number = $1", [.integer(number)])
    guard holder.count > 0, holder.text(0, 0) != token else {
      throw refusal("its earlier connection still exists at the server; the consumer tries again")
    }
    throw StoreUnusable(
      description:
        "open \(connection.subject): while the connection was broken another consumer has taken number \(number) of the group; start this one again, and it takes another"
    )
  }

  /// Becomes the leader. False while another consumer is.
  func claimFirst() throws -> Bool {
    try connection.query("SELECT pg_try_advisory_lock($1)", [.integer(Locks.first)]).boolean(0, 0)
  }

  /// Waits for a predecessor's connection to end: the server may notice a moment later that its client was killed.
  /// - Returns: whether it did.
  private func waiting(_ claim: () throws -> Void) throws -> Bool {
    do {
      try connection.run("BEGIN; SET LOCAL lock_timeout = '5s'")
      try claim()
      try connection.run("COMMIT")
      return true
    } catch let error as PostgreSQLError where error.state == "55P03" {
      try connection.run("ROLLBACK")
      return false
    }
  }

  private func refusal(_ cause: String) -> PostgreSQLError {
    PostgreSQLError(operation: "open", subject: connection.subject, cause: cause, state: "55006")
  }

  private func enter(_ number: Int64, _ token: String) throws -> Membership {
    let known = try connection.query("SELECT 1 FROM drover_consumer WHERE number = $1", [.integer(number)])
    try connection.query(
      """
      INSERT INTO drover_consumer (number, host, process, token, began_at, beat_at)
      VALUES ($1, $2, $3, $4, clock_timestamp(), clock_timestamp())
      ON CONFLICT (number) DO UPDATE
         SET host = excluded.host, process = excluded.process, token = excluded.token, began_at = excluded.began_at,
             beat_at = excluded.beat_at
      """, [.integer(number), .text(Self.host), .integer(Int(getpid())), .text(token)])
    return Membership(number: number, isNewcomer: known.count == 0)
  }

  /// Shows that the consumer of a number moves.
  func beat(_ number: Int64) throws {
    try connection.query("UPDATE drover_consumer SET beat_at = clock_timestamp() WHERE number = $1", [.integer(number)])
  }

  // MARK: Looking

  func workers() throws -> [Worker] {
    let rows = try connection.query(
      """
      SELECT number, host, process, (extract(epoch FROM clock_timestamp() - beat_at) * 1000)::bigint
        FROM drover_consumer ORDER BY number
      """)
    let held = try heldLocks()
    return (0..<rows.count).filter { held.contains(Locks.consumer(rows.integer($0, 0))) }.map { row in
      let silence = Duration.milliseconds(rows.integer(row, 3))
      return Worker(
        process: Int32(truncatingIfNeeded: rows.integer(row, 2)), host: rows.text(row, 1),
        stuck: silence > Self.patience ? [.init(name: "consumer", silence: silence)] : [])
    }
  }

  /// Names of 64 bits stand in two columns (https://www.postgresql.org/docs/current/view-pg-locks.html).
  private func heldLocks() throws -> Set<Int64> {
    let rows = try connection.query(
      """
      SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks
       WHERE locktype = 'advisory' AND granted AND objsubid = 1
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      """)
    return Set((0..<rows.count).map { rows.integer($0, 0) })
  }

  private static var host: String {
    var name = [CChar](repeating: 0, count: 256)
    gethostname(&name, name.count - 1)
    return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
