// What Drover keeps in the app's own database: tables named drover_…, a view, and triggers. All of it is made by `attach` and
// removed by `detach`. Only SQL that old SQLite libraries know stands in what the app's own connections run (no UPSERT,
// no window functions), because the app may bring its own library.

import DroverCore
import GRDB

enum Bookkeeping {
  /// Raised when the tables below change, with a migration beside it.
  static let format = 1

  /// How many key columns the outbox has at least; wider keys add columns.
  static let initialKeyColumns = 4

  static func keyColumn(_ index: Int) -> String { index == 0 ? "key" : "key\(index + 1)" }

  /// The tables below. Where one of them is gone, others may be there.
  static let tableNames = [
    "drover_meta", "drover_clock", "drover_stream", "drover_backfill", "drover_outbox", "drover_kept",
  ]

  static let tables = """
    CREATE TABLE IF NOT EXISTS drover_meta (
      name  TEXT PRIMARY KEY,
      value
    ) WITHOUT ROWID;

    -- The highest seq and version of entries that are gone from the outbox. While an entry is there, its own count.
    -- The generation rises whenever the agent writes, and a file beside the database remembers it.
    CREATE TABLE IF NOT EXISTS drover_clock (
      id         INTEGER PRIMARY KEY CHECK (id = 1),
      seq        INTEGER NOT NULL,
      version    INTEGER NOT NULL,
      offset_us  INTEGER NOT NULL DEFAULT 0,
      generation INTEGER NOT NULL DEFAULT 0
    );

    CREATE TABLE IF NOT EXISTS drover_stream (
      number     INTEGER PRIMARY KEY,
      name       TEXT NOT NULL UNIQUE,
      kind       TEXT NOT NULL CHECK (kind IN ('snapshot', 'payload', 'batch')),
      table_name TEXT,
      schema_id  TEXT,
      backfill   TEXT NOT NULL DEFAULT 'done' CHECK (backfill IN ('running', 'done')),
      -- How many events were confirmed, and up to which seq all of this epoch are.
      confirmed         INTEGER NOT NULL DEFAULT 0,
      confirmed_through INTEGER NOT NULL DEFAULT 0,
      -- Bytes of bodies that are confirmed and kept for a cloud that loses them.
      retained_bytes    INTEGER NOT NULL DEFAULT 0
    );

    -- How far a backfill has come: the parts of the last row's key.
    CREATE TABLE IF NOT EXISTS drover_backfill (
      stream INTEGER NOT NULL,
      part   INTEGER NOT NULL,
      value,
      PRIMARY KEY (stream, part)
    ) WITHOUT ROWID;

    -- What is not yet confirmed, and for a while what nothing else could bring again: events without a table, and deletes, at or
    -- below their stream's confirmed_through. Columns without a type keep a key as it is.
    CREATE TABLE IF NOT EXISTS drover_outbox (
      seq     INTEGER PRIMARY KEY,
      stream  INTEGER NOT NULL,
      op      TEXT NOT NULL CHECK (op IN ('put', 'delete')),
      version INTEGER NOT NULL,
      synced  INTEGER NOT NULL DEFAULT 0 CHECK (synced IN (0, 1)),
      body    TEXT,
      key, key2, key3, key4
    );

    -- Immutable facts, and final records of batches with their lines, that the app deleted before they were sent, one value a row.
    CREATE TABLE IF NOT EXISTS drover_kept (
      seq    INTEGER NOT NULL,
      field TEXT NOT NULL,
      value,
      PRIMARY KEY (seq, field)
    ) WITHOUT ROWID;

    \(clockRow);
    """

  /// The one row of drover_clock, where it is missing.
  static let clockRow = """
    INSERT OR IGNORE INTO drover_clock (id, seq, version)
      SELECT 1, ifnull(max(seq), 0), ifnull(max(version), 0) FROM drover_outbox
    """

  /// SQLite's wall clock, microseconds since 1970; julianday() counts milliseconds.
  static let wallClock = "CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000"

  /// Views and triggers of Drover's own, in an order in which they can be made. Attaching makes those anew that are not so.
  static func views(_ quota: OutboxQuota) -> [(type: String, name: String, sql: String)] {
    [
      ("view", "drover_next", next), ("view", "drover_intake", intake),
      ("trigger", "drover_intake_insert", insert(quota)),
    ]
  }

  /// The next seq and version. Neither is ever given twice: the newest entry of the outbox holds the highest of both, and what forgets
  /// entries writes them into drover_clock first.
  ///
  /// Subqueries instead of a join, and VALUES with `(SELECT seq FROM drover_next)` where a trigger uses it: an INSERT whose SELECT reads the outbox
  /// goes through a temporary table, which costs more than all else that a trigger does.
  private static let next = """
    CREATE VIEW drover_next AS
      SELECT max(ifnull((SELECT max(seq) FROM drover_outbox), 0), clock.seq) + 1 AS seq,
             max(max(ifnull((SELECT version FROM drover_outbox ORDER BY seq DESC LIMIT 1), 0), clock.version) + 1,
                 min(\(wallClock) + clock.offset_us, \(HybridClock.farthest))) AS version
        FROM drover_clock AS clock
    """

  /// The seq and the version of an entry that a trigger writes, as SQL for VALUES. Where a tool has emptied drover_clock there is no next version:
  /// the app's write goes on, and the agent begins a new epoch.
  static let nextNumbers = "(SELECT seq FROM drover_next), ifnull((SELECT version FROM drover_next), 0)"

  private static let intake = """
    CREATE VIEW drover_intake AS
      SELECT stream.name AS stream, outbox.key AS local_id, outbox.body AS body
        FROM drover_outbox AS outbox JOIN drover_stream AS stream ON stream.number = outbox.stream
       WHERE outbox.body IS NOT NULL AND outbox.seq > stream.confirmed_through
    """

  /// What an app is told at a limit. A trigger knows only what stood there when it was made, so the measure is the limit itself;
  /// `drover emit` and `drover status` tell the present one.
  private static func refusal(_ limit: OutboxLimit, _ quota: OutboxQuota) -> String {
    let cause =
      switch limit {
      case .maxBytes: "the outbox takes outbox.max_bytes, \(byteText(quota.maxBytes ?? 0)), or more"
      case .minFreeBytes:
        "less than outbox.min_free_bytes, \(byteText(quota.minFreeBytes)), was free on its disk a moment ago"
      case .minFreeInodes:
        "fewer than outbox.min_free_inodes, \(quota.minFreeInodes), were free on its disk a moment ago"
      }
    return literal("\(refusalPrefix)the event is not taken: \(cause); \(limit.advice), and see drover status")
  }

  /// How a refusal for want of room begins, other than one for what the event is.
  static let refusalPrefix = "drover: "

  private static func insert(_ quota: OutboxQuota) -> String {
    let isFresh = SpaceKeeper.isFresh
    let isFull =
      "ifnull(body_bytes + length(CAST(NEW.body AS BLOB)) + (entries + 1) * \(SpaceKeeper.bytesOfEntry) >= max_bytes, 0)"
    return """
      CREATE TRIGGER drover_intake_insert INSTEAD OF INSERT ON drover_intake BEGIN
        SELECT RAISE(ABORT, \(refusal(.maxBytes, quota))) FROM drover_space WHERE is_full;
        SELECT RAISE(ABORT, \(refusal(.minFreeBytes, quota))) FROM drover_space WHERE low_bytes AND \(isFresh);
        SELECT RAISE(ABORT, \(refusal(.minFreeInodes, quota))) FROM drover_space WHERE low_inodes AND \(isFresh);
        SELECT RAISE(ABORT, 'drover_intake: no such stream; name one that the edge configuration lists without a table')
         WHERE NOT EXISTS (SELECT 1 FROM drover_stream WHERE name = NEW.stream AND table_name IS NULL);
        SELECT RAISE(ABORT, 'drover_intake: body is not JSON text')
         WHERE NEW.body IS NULL OR typeof(NEW.body) = 'blob' OR NOT json_valid(NEW.body)
               -- json_valid() looks no further than a NUL.
               OR instr(NEW.body, char(0));
        SELECT RAISE(ABORT, 'drover_intake: local_id is longer than \(Event.maximumIDBytes) bytes')
         WHERE length(CAST(NEW.local_id AS BLOB)) > \(Event.maximumIDBytes);
        INSERT INTO drover_outbox (seq, version, stream, op, key, body)
          VALUES (\(nextNumbers), (SELECT number FROM drover_stream WHERE name = NEW.stream), 'put',
                  ifnull(nullif(CAST(NEW.local_id AS TEXT), ''),
                         printf('%012x', (SELECT version FROM drover_next) / 1000) || lower(hex(randomblob(10)))),
                  CAST(NEW.body AS TEXT));
        -- The event that reaches the limit is the last one.
        UPDATE drover_space
           SET body_bytes = body_bytes + length(CAST(NEW.body AS BLOB)) + \(SpaceKeeper.bytesOfEntry),
               is_full = \(isFull), closings = closings + \(isFull),
               closed_at = CASE WHEN \(isFull) THEN \(wallClock) ELSE closed_at END;
      END
      """
  }

  /// In a query of sqlite_master: what CapturedTable makes, which is named after the stream's number: triggers, which speak of the outbox,
  /// and indexes without a row.
  static let isCapture = """
    (type = 'trigger' AND name GLOB 'drover_[0-9]*_*' AND (sql LIKE '%drover_outbox%' OR sql LIKE '%drover_life_%' OR sql LIKE '%drover_unit_%')
      OR type = 'index' AND name GLOB 'drover_[0-9]*_rowids' AND sql LIKE '% (1) WHERE 0')
    """

  /// Finds the older entry of a key that a newer one supersedes.
  static func keyIndex(columns: Int) -> String {
    let keys = (["key", KeyLives.outboxColumn] + (1..<columns).map(keyColumn)).joined(separator: ", ")
    return "CREATE INDEX drover_outbox_key ON drover_outbox (stream, \(keys)) WHERE body IS NULL"
  }

  /// Everything of Drover's in a database, in an order in which it can be dropped. Only what Drover makes: the app may have named
  /// something drover_… too.
  static func dropStatements(_ database: Database) throws -> [String] {
    try Row.fetchAll(
      database,
      sql: """
        SELECT type, name FROM sqlite_master
         WHERE name IN ('drover_meta', 'drover_clock', 'drover_stream', 'drover_backfill', 'drover_outbox', 'drover_outbox_key',
                        'drover_kept', 'drover_space', 'drover_dead_letter', 'drover_dead_field', 'drover_resync', 'drover_ahead',
                        'drover_capture', 'drover_wait', \((RowBookkeeping.names + WorklistBookkeeping.names).map(literal).joined(separator: ", ")),
                        'drover_next', 'drover_intake', 'drover_intake_insert', 'drover_intake_key')
            OR \(isCapture) OR \(KeyLives.isTable) OR \(UnitHeaders.isTable)
         ORDER BY CASE type WHEN 'trigger' THEN 1 WHEN 'view' THEN 2 WHEN 'index' THEN 3 ELSE 4 END, name
        """
    ).map { row in
      let type: String = row["type"]
      let name: String = row["name"]
      return "DROP \(type.uppercased()) \(quoted(name))"
    }
  }
}
