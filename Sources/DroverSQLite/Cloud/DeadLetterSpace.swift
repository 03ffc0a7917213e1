// Room for one more dead letter in the cloud's SQLite: DroverCore decides who makes it.
//
// What the letters take is kept by triggers of the store's own, so that no way of removing one is forgotten.

import DroverCore
import GRDB

struct DeadLetterSpace: DeadLetterLedger {
  let database: Database

  // MARK: The tables

  private static func size(_ row: String) -> String {
    "length(\(row).raw) + length(CAST(\(row).topic AS BLOB)) + length(CAST(\(row).detail AS BLOB)) + \(DeadLetterBounds.bytesOfLetter)"
  }

  private static func add(_ row: String) -> String {
    """
    INSERT INTO drover_dead_use (machine_id, is_event, letters, bytes)
      VALUES (ifnull(\(row).machine_id, ''), \(row).epoch IS NOT NULL, 1, \(size(row)))
      ON CONFLICT (machine_id, is_event) DO UPDATE SET letters = letters + 1, bytes = bytes + excluded.bytes;
      UPDATE drover_dead_total SET letters = letters + 1, bytes = bytes + \(size(row)) WHERE is_event = (\(row).epoch IS NOT NULL);
    """
  }

  private static func take(_ row: String) -> String {
    """
    UPDATE drover_dead_use SET letters = letters - 1, bytes = bytes - (\(size(row)))
       WHERE machine_id = ifnull(\(row).machine_id, '') AND is_event = (\(row).epoch IS NOT NULL);
      DELETE FROM drover_dead_use
       WHERE machine_id = ifnull(\(row).machine_id, '') AND is_event = (\(row).epoch IS NOT NULL) AND letters = 0;
      UPDATE drover_dead_total SET letters = letters - 1, bytes = bytes - (\(size(row))) WHERE is_event = (\(row).epoch IS NOT NULL);
    """
  }

  static let migration = """
    -- What the letters take, by the machine that they are of, '' for none. is_event: events of agents' frames.
    CREATE TABLE drover_dead_use (
      machine_id TEXT NOT NULL,
      is_event   INTEGER NOT NULL CHECK (is_event IN (0, 1)),
      letters    INTEGER NOT NULL,
      bytes      INTEGER NOT NULL,
      PRIMARY KEY (machine_id, is_event)
    ) WITHOUT ROWID;
    CREATE INDEX drover_dead_use_letters ON drover_dead_use (is_event, letters);
    CREATE INDEX drover_dead_use_bytes ON drover_dead_use (is_event, bytes);
    CREATE TABLE drover_dead_total (
      is_event INTEGER PRIMARY KEY CHECK (is_event IN (0, 1)),
      letters  INTEGER NOT NULL,
      bytes    INTEGER NOT NULL
    );
    INSERT INTO drover_dead_use (machine_id, is_event, letters, bytes)
    SELECT ifnull(machine_id, ''), epoch IS NOT NULL, count(*), sum(\(size("letter")))
      FROM drover_dead_letter AS letter GROUP BY 1, 2;
    INSERT INTO drover_dead_total (is_event, letters, bytes)
    SELECT value, ifnull(sum(letters), 0), ifnull(sum(bytes), 0)
      FROM (SELECT 0 AS value UNION ALL SELECT 1) LEFT JOIN drover_dead_use ON is_event = value GROUP BY value;

    CREATE TRIGGER drover_dead_letter_comes AFTER INSERT ON drover_dead_letter BEGIN
      \(add("NEW"))
    END;
    CREATE TRIGGER drover_dead_letter_goes AFTER DELETE ON drover_dead_letter BEGIN
      \(take("OLD"))
    END;
    CREATE TRIGGER drover_dead_letter_becomes AFTER UPDATE OF epoch ON drover_dead_letter
      WHEN (OLD.epoch IS NULL) <> (NEW.epoch IS NULL) BEGIN
      \(take("OLD"))
      \(add("NEW"))
    END;
    CREATE INDEX drover_dead_letter_garbage ON drover_dead_letter (machine_id, last_at) WHERE epoch IS NULL;

    -- What was dropped for want of room.
    CREATE TABLE drover_dead_dropped (
      machine_id TEXT NOT NULL,
      stream     TEXT NOT NULL,
      reason     TEXT NOT NULL,
      letters    INTEGER NOT NULL,
      bytes      INTEGER NOT NULL,
      first_at   INTEGER NOT NULL,
      last_at    INTEGER NOT NULL,
      PRIMARY KEY (machine_id, stream, reason)
    ) WITHOUT ROWID;
    """

  /// A letter that is refused again says why it was refused now.
  static let migrationOfDetails = """
    DROP TRIGGER drover_dead_letter_becomes;
    CREATE TRIGGER drover_dead_letter_becomes AFTER UPDATE OF epoch, detail ON drover_dead_letter
      WHEN (OLD.epoch IS NULL) <> (NEW.epoch IS NULL) OR OLD.detail <> NEW.detail BEGIN
      \(take("OLD"))
      \(add("NEW"))
    END;
    """

  // MARK: Making room

  func use(of machine: String, events: Bool) throws -> DeadLetterUse {
    let row = try Row.fetchOne(
      database.cachedStatement(sql: "SELECT letters, bytes FROM drover_dead_use WHERE machine_id = ? AND is_event = ?"),
      arguments: [machine, events])
    return row.map { DeadLetterUse(letters: $0["letters"], bytes: $0["bytes"]) } ?? DeadLetterUse()
  }

  func total(events: Bool) throws -> DeadLetterUse {
    let row = try Row.fetchOne(
      database.cachedStatement(sql: "SELECT letters, bytes FROM drover_dead_total WHERE is_event = ?"),
      arguments: [events])!
    return DeadLetterUse(letters: row["letters"], bytes: row["bytes"])
  }

  func owner(ofMost measure: KeyPath<DeadLetterUse, Int>) throws -> String? {
    let column = measure == \.letters ? "letters" : "bytes"
    return try String.fetchOne(
      database, sql: "SELECT machine_id FROM drover_dead_use WHERE is_event = 0 ORDER BY \(column) DESC LIMIT 1")
  }

  func evict(from machine: String, now: Int64) throws -> Bool {
    let oldest = try Row.fetchOne(
      database.cachedStatement(
        sql: """
          SELECT id, stream, reason, count, bytes FROM drover_dead_letter
           WHERE epoch IS NULL AND machine_id IS ? AND replayed_at IS NULL ORDER BY last_at, id LIMIT 1
          """), arguments: [machine.isEmpty ? nil : machine])
    guard let oldest else { return false }
    try record(
      machine: machine, stream: oldest["stream"] ?? "", reason: oldest["reason"], count: oldest["count"],
      bytes: oldest["bytes"], now: now)
    try database.cachedStatement(sql: "DELETE FROM drover_dead_letter WHERE id = ?").execute(
      arguments: [oldest["id"] as Int64])
    return true
  }

  /// Writes down that a letter was dropped, or not even taken.
  func record(machine: String, stream: String, reason: String, count: Int, bytes: Int, now: Int64) throws {
    let isKnown = try Bool.fetchOne(
      database.cachedStatement(
        sql: """
          SELECT EXISTS (SELECT 1 FROM drover_dead_dropped WHERE machine_id = ?1 AND stream = ?2 AND reason = ?3)
              OR (SELECT count(*) FROM drover_dead_dropped) < \(DeadLetterBounds.mostRecords)
          """), arguments: [machine, stream, reason])!
    try database.cachedStatement(
      sql: """
        INSERT INTO drover_dead_dropped (machine_id, stream, reason, letters, bytes, first_at, last_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)
        ON CONFLICT (machine_id, stream, reason) DO UPDATE
           SET letters = letters + excluded.letters, bytes = bytes + excluded.bytes, last_at = excluded.last_at
        """
    ).execute(arguments: [isKnown ? machine : "", isKnown ? stream : "", reason, count, bytes, now])
    try DeadLetterCounter.dropped.add(count, database)
  }
}
