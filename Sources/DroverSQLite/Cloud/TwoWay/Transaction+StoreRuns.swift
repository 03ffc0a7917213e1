// How the store's own restores are noticed: the runs of its numbers, and what it may have lost. docs/decisions/0060-runs-of-the-cloud.md has the reasons.

import DroverCore
import GRDB

enum StoreRuns {
  static let migration = """
    -- Which opening of the store gave the numbers from `first` on: a number that is drawn by chance.
    CREATE TABLE drover_down_run (
      machine_id TEXT NOT NULL,
      stream     TEXT NOT NULL,
      first      INTEGER NOT NULL,
      run        INTEGER NOT NULL,
      PRIMARY KEY (machine_id, stream, first)
    ) WITHOUT ROWID;

    -- Versions that the store had not given when it was opened. If it was restored before, these are the ones that it may have lost.
    CREATE TABLE drover_opening (
      id    INTEGER PRIMARY KEY,
      first INTEGER NOT NULL,
      last  INTEGER NOT NULL
    );
    """

  /// Most openings that are kept since the store was last found to have gone back.
  static let mostOpenings = 200
}

extension Transaction {
  /// The first transaction of an opening notes what the store may have lost, before anything is decided anew.
  func noteOpening() throws {
    for range in try unknownDecisions().ranges {
      try database.execute(
        sql: "INSERT INTO drover_opening (first, last) VALUES (?, ?)",
        arguments: [range.lowerBound, range.upperBound])
    }
    try database.execute(
      sql: "DELETE FROM drover_opening WHERE id <= (SELECT max(id) FROM drover_opening) - ?",
      arguments: [StoreRuns.mostOpenings])
  }

  /// The store was restored: it may have lost what it does not know now, and what it did not know when it was opened.
  func noteLostDecisions() throws {
    for range in try unknownDecisions().ranges {
      try database.execute(
        sql: "INSERT INTO drover_lost_decision (first, last) VALUES (?, ?)",
        arguments: [range.lowerBound, range.upperBound])
    }
    try database.execute(
      sql: """
        INSERT INTO drover_lost_decision (first, last) SELECT first, max(last) FROM drover_opening GROUP BY first;
        DELETE FROM drover_opening;
        """)
    store.cache.lostDecisions = nil
  }

  private func unknownDecisions() throws -> LostDecisions {
    let now = store.now()
    let known = try Row.fetchOne(
      database,
      sql:
        "SELECT max(iif(cloud_version <= ?, cloud_version, 0)) AS highest, max(cloud_version) FROM drover_row",
      arguments: [now])!
    var unknown = LostDecisions()
    unknown.wentBack(highest: known[0] ?? 0, farthest: known[1] ?? 0, now: now)
    return unknown
  }

  /// The runs of an owner's stream, the oldest first.
  func downRuns(owner: String, stream: StreamName) throws -> [StoreRun] {
    try Row.fetchAll(
      database, sql: "SELECT run, first FROM drover_down_run WHERE machine_id = ? AND stream = ? ORDER BY first",
      arguments: [owner, stream.text]
    ).map { StoreRun(number: $0["run"], first: $0["first"]) }
  }

  func newestRun(owner: String, stream: StreamName) throws -> StoreRun? {
    let find = try prepared(
      "SELECT run, first FROM drover_down_run WHERE machine_id = ?1 AND stream = ?2 ORDER BY first DESC LIMIT 1")
    find.bind(owner, at: 1)
    find.bind(stream.text, at: 2)
    defer { find.reset() }
    return try find.step() ? StoreRun(number: find.integer(0), first: find.integer(1)) : nil
  }

  /// A number was given. The first one of this opening begins its run.
  func noteRun(from first: Int64, owner: String, stream: StreamName) throws {
    let find = try prepared("SELECT 1 FROM drover_down_run WHERE machine_id = ?1 AND stream = ?2 AND run = ?3")
    let insert = try prepared("INSERT INTO drover_down_run (machine_id, stream, run, first) VALUES (?1, ?2, ?3, ?4)")
    let forget = try prepared(
      """
      DELETE FROM drover_down_run WHERE machine_id = ?1 AND stream = ?2 AND first <=
        (SELECT first FROM drover_down_run WHERE machine_id = ?1 AND stream = ?2 ORDER BY first DESC LIMIT 1 OFFSET ?3)
      """)
    for statement in [find, insert, forget] {
      statement.bind(owner, at: 1)
      statement.bind(stream.text, at: 2)
    }
    find.bind(store.run, at: 3)
    defer { find.reset() }
    guard try !find.step() else { return }
    insert.bind(store.run, at: 3)
    insert.bind(first, at: 4)
    try insert.run()
    forget.bind(Int64(StoreRun.most), at: 3)
    try forget.run()
  }
}
