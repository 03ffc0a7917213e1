// What the edge keeps of its worklists: the request that waits for an answer, what became of the last one, and the keys of the orders that the machine
// has had. docs/decisions/0059-worklists.md has the rules and their reasons.

import DroverCore
import DroverWire
import GRDB

enum WorklistBookkeeping {
  static let names = ["drover_worklist", "drover_ordered", "drover_ordered_number"]

  /// How many keys of orders are remembered in each worklist, the newest.
  static let mostKeys: Int64 = 100_000

  /// Makes the tables where they are missing. Only where a stream is a worklist: the others cost what they did.
  static func make(_ database: Database) throws {
    try database.execute(
      sql: """
        CREATE TABLE IF NOT EXISTS drover_worklist (
          stream        INTEGER PRIMARY KEY,
          -- What the configuration says, for those who look: whether there is a worklist, and whether it is enabled; SQL that holds of a finished row.
          is_declared   INTEGER NOT NULL DEFAULT 0 CHECK (is_declared IN (0, 1)),
          is_enabled    INTEGER NOT NULL DEFAULT 0 CHECK (is_enabled IN (0, 1)),
          refill_when   TEXT,
          number_column TEXT,
          finished      TEXT,
          -- The request that waits for an answer, and when the last one was opened.
          request       TEXT,
          requested_at  INTEGER,
          -- What became of the last one that had orders, as JSON, and whether the cloud has noted it.
          outcome       TEXT,
          outcome_at    INTEGER,
          is_noted      INTEGER NOT NULL DEFAULT 1 CHECK (is_noted IN (0, 1)),
          -- For people: the last answer, and why the agent does not ask.
          answer        TEXT,
          answered_at   INTEGER,
          waits         TEXT,
          -- How often people have triggered it.
          triggers      INTEGER NOT NULL DEFAULT 0,
          -- How many orders were inserted, and how many of them had been so when the oldest remembered one was.
          orders        INTEGER NOT NULL DEFAULT 0,
          refills       INTEGER NOT NULL DEFAULT 0,
          skipped       INTEGER NOT NULL DEFAULT 0,
          refused       INTEGER NOT NULL DEFAULT 0,
          cleared       INTEGER NOT NULL DEFAULT 0,
          cleared_rows  INTEGER NOT NULL DEFAULT 0
        );
        -- Orders that the machine has had.
        CREATE TABLE IF NOT EXISTS drover_ordered (
          stream   INTEGER NOT NULL,
          key      TEXT NOT NULL,
          -- Counts the orders that were inserted.
          number   INTEGER NOT NULL,
          -- When a person had requeued it before it was inserted, microseconds since 1970; 0: never.
          requeued INTEGER NOT NULL,
          PRIMARY KEY (stream, key)
        ) WITHOUT ROWID;
        CREATE INDEX IF NOT EXISTS drover_ordered_number ON drover_ordered (stream, number);
        """)
  }

  /// Writes down what the configuration says, for those who look without it.
  static func note(_ streams: [EdgeStream], _ database: Database) throws {
    guard try database.hasTable("drover_worklist") else { return }
    for stream in streams {
      guard let list = stream.declaration.worklist else {
        try database.execute(
          sql: "UPDATE drover_worklist SET is_declared = 0 WHERE stream = ? AND is_declared", arguments: [stream.number]
        )
        continue
      }
      try database.execute(sql: "INSERT OR IGNORE INTO drover_worklist (stream) VALUES (?)", arguments: [stream.number])
      let said: StatementArguments = [
        stream.number, list.isEnabled ? 1 : 0, list.refillWhen.rawValue, list.number,
        stream.declaration.completeWhen.map { $0.text { quoted($0) } },
      ]
      try database.execute(
        sql: """
          UPDATE drover_worklist
             SET is_declared = 1, is_enabled = ?2, refill_when = ?3, number_column = ?4, finished = ?5
           WHERE stream = ?1 AND (is_declared, is_enabled, refill_when, number_column, finished) IS NOT (1, ?2, ?3, ?4, ?5)
          """, arguments: said)
    }
  }

  /// Counts the rows of a worklist's table.
  /// - Parameter finished: SQL that holds of a finished row.
  static func rows(_ table: String, finished: String, _ database: Database) throws -> WorklistRows {
    let row = try Row.fetchOne(
      database.cachedStatement(
        sql: "SELECT count(*), ifnull(sum(NOT coalesce((\(finished)), 0)), 0) FROM \(quoted(table))"))!
    return WorklistRows(all: row[0], unfinished: row[1])
  }
}

/// The entry of one worklist.
struct WorklistEntry {
  var open: RefillID?
  var outcome: RefillOutcome?
  var outcomeAt: Int64?
  var isNoted: Bool
  var triggers: Int64
  /// How many orders were inserted.
  var orders: Int64

  init(stream: Int, _ database: Database) throws {
    guard
      let row = try Row.fetchOne(
        database.cachedStatement(
          sql: "SELECT request, outcome, outcome_at, is_noted, triggers, orders FROM drover_worklist WHERE stream = ?"),
        arguments: [stream])
    else { throw EdgeStoreError.schemaChanged }  // Attaching makes it.
    open = (row[0] as String?).flatMap { RefillID($0) }
    outcome = try (row[1] as String?).map { try RefillOutcome(JSONDocument(parsing: Array($0.utf8)).members) }
    outcomeAt = row[2]
    isNoted = row[3] == 1
    triggers = row[4]
    orders = row[5]
  }
}
