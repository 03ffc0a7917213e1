// Numbers what one transaction does to the rows of sink tables, while the store keeps a change feed. Numbers of a sequence become visible in the
// order of commits, and not in their own. So a transaction has a lock from before its first number until it is visible, and the lock's name tells
// how far the sequence was: a reader stops before the first number of those that are under way. docs/decisions/0020 tells why it is done so.

import DroverCore

final class ChangeFeed {
  static let migration = """
    -- One row while the store keeps a change feed. Every transaction that writes into sink tables reads it first, and so keeps it as it is.
    CREATE TABLE drover_feed (
      id  BIGINT PRIMARY KEY CHECK (id = 0),
      -- A new one whenever numbers could mean something else than they did; what tells one database from another belongs to it.
      era TEXT NOT NULL
    );

    CREATE TABLE drover_feed_stream (
      -- In lower case.
      stream  TEXT COLLATE "C" PRIMARY KEY,
      -- How often a row was put or deleted in this era.
      puts    BIGINT NOT NULL,
      deletes BIGINT NOT NULL,
      -- No change of the stream that is committed has a higher number.
      newest  BIGINT NOT NULL,
      -- The highest number of which it is not known any more what it did.
      lost    BIGINT NOT NULL
    );

    -- Its last value is the last number that was given.
    CREATE SEQUENCE drover_changes MINVALUE 0 START 0;
    SELECT nextval('drover_changes');
    """

  /// The next number, in a statement that writes a row.
  static let next = "nextval('drover_changes')"

  let connection: Connection
  /// Microseconds since 1970.
  let now: Int64
  private(set) var state = State()

  /// What the transaction has done until now. A part of it that is taken back takes this back too.
  struct State {
    /// Whether the lock is held.
    fileprivate var isOpen = false
    fileprivate var hasNumbers = false
    fileprivate var streams: [SQLName: (counts: ChangeCounts, lost: Int64)] = [:]
  }

  init(_ connection: Connection, now: Int64) {
    self.connection = connection
    self.now = now
  }

  func restore(_ state: State) { self.state = state }

  // MARK: Numbers

  /// Before rows of a table get numbers.
  func open(_ table: FeedTable?) throws {
    guard table != nil, !state.isOpen else { return }
    try connection.query(
      "SELECT pg_advisory_xact_lock_shared($1 | last_value) FROM drover_changes", [.integer(Self.lock)])
    state.isOpen = true
  }

  /// Rows of a table were put or deleted.
  func count(_ table: FeedTable?, puts: Int = 0, deletes: Int = 0) {
    guard let table, puts + deletes > 0 else { return }
    state.streams[SQLName(table.stream), default: (ChangeCounts(), 0)].counts +=
      ChangeCounts(puts: Int64(puts), deletes: Int64(deletes))
    state.hasNumbers = true
  }

  /// A reader that followed the table has to begin again.
  func forgetReaders(of table: FeedTable?) throws {
    guard let table else { return }
    try open(table)
    try lose(connection.query("SELECT \(Self.next)").integer(0, 0), of: table)
    state.hasNumbers = true
  }

  /// Forgets deletes that were made before a moment.
  /// - Parameter moment: microseconds since 1970.
  func forgetDeletes(of table: FeedTable, madeBefore moment: Int64) throws {
    try table.forgetDeletes(madeBefore: moment, connection).map { lose($0, of: table) }
  }

  private func lose(_ number: Int64, of table: FeedTable) {
    state.streams[SQLName(table.stream), default: (ChangeCounts(), 0)].lost = number
  }

  /// The end of the transaction: leaves in the store what it has done. The streams' rows are the last that it locks, in one order.
  /// - Returns: the last number, where something was numbered.
  @discardableResult
  func finish() throws -> Int64? {
    guard !state.streams.isEmpty else { return nil }
    let streams = state.streams.sorted { ExactText($0.key.text) < ExactText($1.key.text) }
    let rows = try connection.query(
      """
      INSERT INTO drover_feed_stream AS known (stream, puts, deletes, newest, lost)
      SELECT stream, puts, deletes, CASE WHEN $5 THEN currval('drover_changes') ELSE 0 END, lost
        FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[]) AS given (stream, puts, deletes, lost)
      ON CONFLICT (stream) DO UPDATE
         SET puts = known.puts + excluded.puts, deletes = known.deletes + excluded.deletes,
             newest = greatest(known.newest, excluded.newest), lost = greatest(known.lost, excluded.lost)
      RETURNING newest
      """,
      [
        .texts(streams.map(\.key.text)), .integers(streams.map(\.value.counts.puts)),
        .integers(streams.map(\.value.counts.deletes)), .integers(streams.map(\.value.lost)),
        .boolean(state.hasNumbers),
      ])
    return state.hasNumbers ? rows.integer(0, 0) : nil
  }

  // MARK: Eras

  static func newEra() -> String { String(UInt64.random(in: .min ... .max), radix: 36) }

  /// A connection was lost, and this one is new: where the database is behind what was committed, it was put back meanwhile, and numbers that
  /// readers know would be given a second time.
  static func settle(_ connection: Connection, reached: Int64) throws {
    guard reached > 0 else { return }
    try connection.query(
      "UPDATE drover_feed SET era = $1 WHERE (SELECT coalesce(max(newest), 0) FROM drover_feed_stream) < $2",
      [.text(newEra()), .integer(reached)])
  }

  // MARK: The lock

  /// Its name: sixteen bits that say whose it is, and 48 for a number.
  private static let lock: Int64 = mark << 48
  private static let mark: Int64 = 0x4452

  /// The highest number of which everything is visible that has it or a lower one: as a subquery, to be asked before the snapshot in which
  /// changes are read. The numbers that are committed are looked at first, so a transaction without a lock yet gets higher ones.
  static let settled = """
    least(
      (SELECT coalesce(max(newest), 0) FROM drover_feed_stream),
      (SELECT min((classid::bigint << 32 | objid::bigint) & \((1 as Int64) << 48 - 1)) FROM pg_locks
        WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted AND objsubid = 1 AND classid::bigint >> 16 = \(mark)
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())))
    """
}
