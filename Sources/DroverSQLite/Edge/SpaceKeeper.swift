// The outbox's quota on one connection: what the outbox takes and the disk has left is measured, held against the limits, and written
// into drover_space, where the intake's trigger looks. The agent does it while it runs, and `drover emit` before it writes.
//
// What it costs does not grow with the outbox. Bodies are summed up as they come and go; entries of captured tables, which the app's
// connections write and which should cost them nothing, are counted anew when there may be an eighth more of them.

import DroverCore
import GRDB

struct SpaceKeeper {
  /// What an entry takes besides its body: the row and its place in the index, in bytes.
  static let bytesOfEntry: Int64 = 100
  /// What a kept value takes besides itself.
  static let bytesOfField: Int64 = 64
  /// How long a full disk that was seen keeps the intake closed, in microseconds. The one that saw it looks again before; otherwise the
  /// disk may be empty by now, and SQLite itself says if it is not.
  static let lease: Int64 = 60_000_000

  static let table = """
    CREATE TABLE IF NOT EXISTS drover_space (
      id          INTEGER PRIMARY KEY CHECK (id = 1),
      -- Entries with a body, and values of kept rows, in bytes.
      body_bytes  INTEGER NOT NULL,
      -- Entries of captured tables, as they were when counted_seq was the newest.
      entries     INTEGER NOT NULL DEFAULT 0,
      counted_seq INTEGER NOT NULL DEFAULT 0,
      max_bytes   INTEGER,
      -- The limits that are reached. The disk's count for a minute after checked_at, wall clock in microseconds since 1970.
      is_full     INTEGER NOT NULL DEFAULT 0 CHECK (is_full IN (0, 1)),
      low_bytes   INTEGER NOT NULL DEFAULT 0 CHECK (low_bytes IN (0, 1)),
      low_inodes  INTEGER NOT NULL DEFAULT 0 CHECK (low_inodes IN (0, 1)),
      checked_at  INTEGER NOT NULL DEFAULT 0,
      -- Events that `drover emit` was refused; how often the intake closed, and when last.
      refused     INTEGER NOT NULL DEFAULT 0,
      closings    INTEGER NOT NULL DEFAULT 0,
      closed_at   INTEGER
    )
    """

  /// Of the table: whether what was seen of the disk still counts.
  static let isFresh = "abs(\(Bookkeeping.wallClock) - checked_at) < \(lease)"

  /// The figures, and for each limit by its name whether the intake is closed for it.
  static let closedLimits = """
    SELECT body_bytes, refused, closings, closed_at, is_full AS max_bytes, low_bytes AND \(isFresh) AS min_free_bytes,
           low_inodes AND \(isFresh) AS min_free_inodes
      FROM drover_space
    """

  private let path: String
  private let quota: OutboxQuota
  private let free: (String) -> FreeSpace?
  private(set) var gauge: OutboxGauge?
  /// What was measured last.
  private(set) var space = OutboxSpace(used: 0)

  /// - Parameter free: asks the filesystem of the database.
  init(path: String, quota: OutboxQuota, free: @escaping (String) -> FreeSpace?) {
    self.path = path
    self.quota = quota
    self.free = free
  }

  /// What the filesystem has left now, in bytes; nil where it does not say.
  var freeBytes: Int64? { free(path)?.bytes }
  var isLimited: Bool { quota != OutboxQuota() }
  /// Four fifths of `max_bytes` are reached, so what is only retained has to make room.
  var isScarce: Bool { (gauge?.level(.maxBytes) ?? .ample) >= .scarce }

  /// Makes the table where it is missing, and sums up what an outbox of before holds.
  static func makeTable(_ database: Database) throws {
    guard try !database.tableExists("drover_space") else { return }
    try database.execute(sql: table)
    try database.execute(
      sql: """
        INSERT INTO drover_space (id, body_bytes)
        SELECT 1, (SELECT total(length(CAST(body AS BLOB)) + \(bytesOfEntry)) FROM drover_outbox WHERE body IS NOT NULL)
                + (SELECT total(ifnull(length(CAST(value AS BLOB)), 0) + \(bytesOfField)) FROM drover_kept)
        """)
  }

  // MARK: Measuring

  /// What stands in the table for the intake's trigger.
  private struct Flags: Equatable {
    var exhausted: Set<OutboxLimit> = []
    var maxBytes: Int64?

    func bit(_ limit: OutboxLimit) -> Int { exhausted.contains(limit) ? 1 : 0 }
  }

  private static let flagColumns: [(limit: OutboxLimit, column: String)] = [
    (.maxBytes, "is_full"), (.minFreeBytes, "low_bytes"), (.minFreeInodes, "low_inodes"),
  ]

  /// Looks at everything once, within a transaction that may write. Returns the limits whose level is another one now.
  mutating func check(_ database: Database) throws -> [OutboxLimit] {
    guard isLimited || gauge == nil, let row = try Row.fetchOne(database, sql: "SELECT * FROM drover_space") else {
      return []
    }
    var written = Flags(maxBytes: row["max_bytes"])
    for (limit, column) in Self.flagColumns where row[column] == 1 { written.exhausted.insert(limit) }
    var reached = written.exhausted
    // Another limit than before is judged afresh.
    if written.maxBytes != quota.maxBytes { reached.remove(.maxBytes) }
    let before = gauge ?? OutboxGauge()
    var now = before
    try measure(row, database)
    var changed = now.read(space, of: quota, reached: reached)
    if changed.contains(.maxBytes), now.level(.maxBytes) == .exhausted {
      // What is told to an app has to be true, so the entries are counted.
      try count(database)
      now = before
      changed = now.read(space, of: quota, reached: reached)
    }
    gauge = now
    try write(Flags(exhausted: now.exhausted, maxBytes: quota.maxBytes), over: written, row["checked_at"], database)
    return changed
  }

  private mutating func measure(_ row: Row, _ database: Database) throws {
    let entries: Int64 = row["entries"]
    let newest =
      try Int64.fetchOne(
        database, sql: "SELECT max(seq, ifnull((SELECT max(seq) FROM drover_outbox), 0)) FROM drover_clock") ?? 0
    space = OutboxSpace(used: row["body_bytes"] + entries * Self.bytesOfEntry)
    if newest - (row["counted_seq"] as Int64) >= max(1000, entries / 8) { try count(database) }
    guard quota.minFreeBytes > 0 || quota.minFreeInodes > 0, let left = free(path) else { return }
    let pages = try Int64.fetchOne(database, sql: "PRAGMA freelist_count") ?? 0
    let pageSize = try Int64.fetchOne(database, sql: "PRAGMA page_size") ?? 0
    // Pages that are free within the file are used before it grows: or an outbox that filled the disk would stay closed when it is empty
    // again. Not all of them, for a journal needs room beside the file.
    space.freeBytes = left.bytes + min(pages * pageSize, quota.minFreeBytes / 2)
    space.freeInodes = left.inodes
  }

  private mutating func count(_ database: Database) throws {
    try database.execute(
      sql: """
        UPDATE drover_space
           SET entries = (SELECT count(*) FROM drover_outbox INDEXED BY drover_outbox_key WHERE body IS NULL),
               counted_seq = (SELECT max(seq, ifnull((SELECT max(seq) FROM drover_outbox), 0)) FROM drover_clock)
        """)
    space.used = try Self.used(database)
  }

  /// What Drover's tables take, as far as it was counted, in bytes.
  static func used(_ database: Database) throws -> Int64 {
    try Int64.fetchOne(database, sql: "SELECT body_bytes + entries * \(bytesOfEntry) FROM drover_space")!
  }

  /// Writes only what is another now, or what would soon be too old.
  private func write(_ flags: Flags, over written: Flags, _ checkedAt: Int64, _ database: Database) throws {
    let now = try Int64.fetchOne(database, sql: "SELECT \(Bookkeeping.wallClock)")!
    let hasLease = flags.exhausted.contains(.minFreeBytes) || flags.exhausted.contains(.minFreeInodes)
    guard flags != written || hasLease && abs(now - checkedAt) > Self.lease / 3 else { return }
    let closes = written.exhausted.isEmpty && !flags.exhausted.isEmpty
    try database.execute(
      sql: """
        UPDATE drover_space
           SET is_full = ?, low_bytes = ?, low_inodes = ?, max_bytes = ?, checked_at = ?, closings = closings + ?,
               closed_at = iif(?, ?, closed_at)
        """,
      arguments: [
        flags.bit(.maxBytes), flags.bit(.minFreeBytes), flags.bit(.minFreeInodes), flags.maxBytes, now, closes ? 1 : 0,
        closes, now,
      ])
  }

  // MARK: Keeping the sums

  /// Adds to the sums, or takes away from them, what has come or gone in the same transaction.
  static func note(bodyBytes: Int64, entries: Int = 0, _ database: Database) throws {
    try database.cachedStatement(
      sql: "UPDATE drover_space SET body_bytes = body_bytes + ?, entries = max(0, entries + ?)"
    ).execute(arguments: [bodyBytes, entries])
  }

  /// What one entry and its kept row add to `body_bytes`.
  static func bodyBytes(of seq: Int64, _ database: Database) throws -> Int64 {
    let statement = try database.cachedStatement(
      sql: """
        SELECT ifnull((SELECT length(CAST(body AS BLOB)) + \(bytesOfEntry) FROM drover_outbox WHERE seq = ?1), 0)
             + (SELECT ifnull(sum(ifnull(length(CAST(value AS BLOB)), 0) + \(bytesOfField)), 0) FROM drover_kept WHERE seq = ?1)
        """)
    return try Int64.fetchOne(statement, arguments: [seq])!
  }

  /// Drops kept rows whose entry is gone.
  static func dropLooseRows(_ database: Database) throws {
    guard try Bool.fetchOne(database, sql: "SELECT EXISTS (SELECT 1 FROM drover_kept)")! else { return }
    let loose = "FROM drover_kept WHERE seq NOT IN (SELECT seq FROM drover_outbox)"
    let bytes = try Int64.fetchOne(
      database, sql: "SELECT ifnull(sum(ifnull(length(CAST(value AS BLOB)), 0) + \(bytesOfField)), 0) \(loose)")!
    guard bytes > 0 else { return }
    try note(bodyBytes: -bytes, database)
    try database.execute(sql: "DELETE \(loose)")
  }
}
