// What the edge keeps of rows that come down: of each row the cloud's newest version that was applied and the own edit that was confirmed, what was
// received, and from which history the epoch continues. docs/decisions/0050-two-way-rows.md has the reasons.

import DroverCore
import GRDB

enum RowBookkeeping {
  static let names = ["drover_row", "drover_row_key", "drover_outbox_again", "drover_down", "drover_seen"]

  /// What the frames say of the epoch's history.
  struct Known: Equatable {
    /// Per two-way stream the version at which its bookkeeping began.
    var since: [Int: Int64] = [:]
    var fork: Lineage.Fork?
    /// Of earlier epochs on the path of parents, the highest version that is a part of this one's history.
    var seen: [Epoch: Int64] = [:]
  }

  // MARK: Making

  /// Adds what an outbox of an earlier release lacks.
  static func widenBookkeeping(_ database: Database) throws {
    // Whether the entry is a row that is sent again without an edit.
    if try !has("again", "drover_outbox", database) {
      try database.execute(sql: "ALTER TABLE drover_outbox ADD COLUMN again INTEGER NOT NULL DEFAULT 0")
    }
    // Confirmed edits of rows that only the cloud edits, which its rows have replaced.
    if try !has("overwritten", "drover_stream", database) {
      try database.execute(sql: "ALTER TABLE drover_stream ADD COLUMN overwritten INTEGER NOT NULL DEFAULT 0")
    }
    // Rows that came down and were applied.
    if try !has("applied", "drover_stream", database) {
      try database.execute(sql: "ALTER TABLE drover_stream ADD COLUMN applied INTEGER NOT NULL DEFAULT 0")
    }
    // The newest run of the cloud's store (`StoreRun`) whose frame of the stream was taken; 0 for none.
    if try !has("down_run", "drover_stream", database) {
      try database.execute(sql: "ALTER TABLE drover_stream ADD COLUMN down_run INTEGER NOT NULL DEFAULT 0")
    }
    guard try !has("direction", "drover_stream", database) else { return }
    try database.execute(sql: "ALTER TABLE drover_stream ADD COLUMN direction TEXT NOT NULL DEFAULT 'up'")
    // Of a two-way stream: rows without an entry in drover_row have no own edit above this version.
    try database.execute(sql: "ALTER TABLE drover_stream ADD COLUMN two_way_since INTEGER")
  }

  private static func has(_ column: String, _ table: String, _ database: Database) throws -> Bool {
    try database.catalogue(of: table).contains { $0.name == SQLName(column) }
  }

  /// Makes the tables where they are missing. Only where a stream comes down: the others cost what they did.
  static func make(_ database: Database) throws {
    let isNew = try !database.tableExists("drover_row")
    try database.execute(
      sql: """
        -- Rows that came down, or whose edit was confirmed. Columns without a type keep a key as it is.
        CREATE TABLE IF NOT EXISTS drover_row (
          stream  INTEGER NOT NULL,
          -- The newest version of the cloud's that was applied, and the newest own edit that was confirmed; 0: none.
          held    INTEGER NOT NULL DEFAULT 0,
          mine    INTEGER NOT NULL DEFAULT 0,
          -- How often in a row triggers of the app's changed what came down, and the version that they changed last.
          bounces    INTEGER NOT NULL DEFAULT 0,
          bounced_at INTEGER NOT NULL DEFAULT 0,
          key, key2, key3, key4
        );
        -- What was received of the cloud's numbering that drover_meta names `down_epoch`.
        CREATE TABLE IF NOT EXISTS drover_down (
          stream      INTEGER NOT NULL,
          after_seq   INTEGER NOT NULL,
          through_seq INTEGER NOT NULL CHECK (through_seq > after_seq),
          PRIMARY KEY (stream, after_seq)
        ) WITHOUT ROWID;
        -- Earlier epochs from which this one continues, and up to which version.
        CREATE TABLE IF NOT EXISTS drover_seen (
          epoch   TEXT PRIMARY KEY,
          version INTEGER NOT NULL
        ) WITHOUT ROWID;
        -- Whether rows of a stream are sent again.
        CREATE INDEX IF NOT EXISTS drover_outbox_again ON drover_outbox (stream) WHERE again = 1;
        """)
    // If it was dropped, any row may have been edited up to now.
    if isNew {
      try database.execute(
        sql: "UPDATE drover_stream SET two_way_since = (\(highestVersion)) WHERE two_way_since IS NOT NULL")
    }
  }

  /// Makes keys as wide as the outbox's, and their index.
  static func widenKeys(_ database: Database) throws {
    guard try database.hasTable("drover_row") else { return }
    let wanted = try keyColumns(of: "drover_outbox", database)
    let present = try keyColumns(of: "drover_row", database)
    for column in wanted.dropFirst(present.count) {
      try database.execute(sql: "ALTER TABLE drover_row ADD COLUMN \(column)")
    }
    let index = "CREATE INDEX drover_row_key ON drover_row (stream, \(wanted.joined(separator: ", ")))"
    let there = try String.fetchOne(database, sql: "SELECT sql FROM sqlite_master WHERE name = 'drover_row_key'")
    guard there != index else { return }
    try database.execute(sql: "DROP INDEX IF EXISTS drover_row_key")
    try database.execute(sql: index)
  }

  private static func keyColumns(of table: String, _ database: Database) throws -> [String] {
    let present = Set(try database.catalogue(of: table).map(\.name))
    return (0..<present.count).map(Bookkeeping.keyColumn).filter { present.contains(SQLName($0)) }
  }

  // MARK: Knowing

  /// The highest version that was ever given, as a SELECT.
  static let highestVersion = """
    SELECT max(clock.version, ifnull((SELECT version FROM drover_outbox ORDER BY seq DESC LIMIT 1), 0)) FROM drover_clock AS clock
    """

  /// The highest version that was given when something was handed out last. What waits in the outbox may have come since.
  static let highestHandedOut =
    "SELECT max(version, ifnull((SELECT max(version) FROM drover_outbox WHERE synced = 1), 0)) FROM drover_clock"

  static func known(_ database: Database) throws -> Known {
    var known = Known()
    for row in try Row.fetchAll(
      database, sql: "SELECT number, two_way_since FROM drover_stream WHERE two_way_since IS NOT NULL")
    {
      known.since[row["number"]] = (row["two_way_since"] as Int64).clamped(to: Bounds.version)
    }
    if let parent = try meta(.forkParent, database),
      let version = try meta(.forkVersion, database).flatMap({ Int64($0) })
    {
      known.fork = Lineage.Fork(parent: try Epoch(parent), version: version.clamped(to: Bounds.version))
    }
    guard try database.hasTable("drover_seen") else { return known }
    for row in try Row.fetchAll(database, sql: "SELECT epoch, version FROM drover_seen") {
      known.seen[try Epoch(row["epoch"])] = (row["version"] as Int64).clamped(to: Bounds.version)
    }
    return known
  }

  /// Names in drover_meta.
  enum Meta: String {
    case forkParent = "fork_parent"
    case forkVersion = "fork_version"
    case downEpoch = "down_epoch"
    /// The streams of reference data whose rows come again since the numbering began, with commas between their numbers.
    case downAgain = "down_again"
    /// Dead letters up to this one may be rows that the cloud's store has lost.
    case downLettersBefore = "down_letters_before"
  }

  static func meta(_ name: Meta, _ database: Database) throws -> String? {
    try String.fetchOne(
      database, sql: "SELECT CAST(value AS TEXT) FROM drover_meta WHERE name = ?", arguments: [name.rawValue])
  }

  static func setMeta(_ name: Meta, _ value: String?, _ database: Database) throws {
    if let value {
      try database.execute(
        sql: "INSERT OR REPLACE INTO drover_meta (name, value) VALUES (?, ?)", arguments: [name.rawValue, value])
    } else {
      try database.execute(sql: "DELETE FROM drover_meta WHERE name = ?", arguments: [name.rawValue])
    }
  }
}
