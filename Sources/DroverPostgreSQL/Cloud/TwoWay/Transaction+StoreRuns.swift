// How the store's own restores are noticed: the runs of its numbers, and what it may have lost. docs/decisions/0060-runs-of-the-cloud.md has the reasons.

import DroverCore

enum StoreRuns {
  static let migration = """
    -- Which connection of a consumer's gave the numbers from `first` on: a number that is drawn by chance.
    CREATE TABLE drover_down_run (
      machine_id TEXT COLLATE "C" NOT NULL,
      stream     TEXT COLLATE "C" NOT NULL,
      first      BIGINT NOT NULL,
      run        BIGINT NOT NULL,
      PRIMARY KEY (machine_id, stream, first)
    );

    -- Versions that the store had not given when a connection was opened. If it was restored before, these are the ones that it may have lost.
    CREATE TABLE drover_opening (
      id    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      first BIGINT NOT NULL,
      last  BIGINT NOT NULL
    );
    """

  /// Most openings that are kept since the store was last found to have gone back.
  static let mostOpenings: Int64 = 200
}

extension Transaction {
  /// The first transaction of a connection notes what the store may have lost, before anything is decided anew.
  func noteOpening() throws {
    for range in try unknownDecisions().ranges {
      try connection.query(
        "INSERT INTO drover_opening (first, last) VALUES ($1, $2)",
        [.integer(range.lowerBound), .integer(range.upperBound)])
    }
    try connection.query(
      "DELETE FROM drover_opening WHERE id <= (SELECT max(id) FROM drover_opening) - $1",
      [.integer(StoreRuns.mostOpenings)])
  }

  /// The store was restored: it may have lost what it does not know now, and what it did not know when connections were opened.
  func noteLostDecisions() throws {
    let note = "INSERT INTO drover_lost_decision AS known (first, last)"
    let keep = "ON CONFLICT (first) DO UPDATE SET last = greatest(known.last, excluded.last)"
    for range in try unknownDecisions().ranges {
      try connection.query(
        "\(note) VALUES ($1, $2) \(keep)", [.integer(range.lowerBound), .integer(range.upperBound)])
    }
    try connection.query("\(note) SELECT first, max(last) FROM drover_opening GROUP BY first \(keep)")
    try connection.query("DELETE FROM drover_opening")
  }

  private func unknownDecisions() throws -> LostDecisions {
    let now = store.now()
    let known = try connection.query(
      """
      SELECT coalesce(max(cloud_version) FILTER (WHERE cloud_version <= $1), 0) AS highest, coalesce(max(cloud_version), 0)
        FROM drover_row
      """, [.integer(now)])
    var unknown = LostDecisions()
    unknown.wentBack(highest: known.integer(0, 0), farthest: known.integer(0, 1), now: now)
    return unknown
  }

  /// The runs of an owner's stream, the oldest first.
  func downRuns(_ origin: [Parameter]) throws -> [StoreRun] {
    let rows = try connection.query(
      "SELECT run, first FROM drover_down_run WHERE machine_id = $1 AND stream = $2 ORDER BY first", origin)
    return (0..<rows.count).map { StoreRun(number: rows.integer($0, 0), first: rows.integer($0, 1)) }
  }

  /// To be asked after the highest number: a run that begins meanwhile has no number below it.
  func newestRun(_ origin: [Parameter]) throws -> StoreRun? {
    let rows = try connection.query(
      "SELECT run, first FROM drover_down_run WHERE machine_id = $1 AND stream = $2 ORDER BY first DESC LIMIT 1",
      origin)
    return rows.count == 0 ? nil : StoreRun(number: rows.integer(0, 0), first: rows.integer(0, 1))
  }

  /// A number was given, and the counter is locked. The first one of this connection begins its run.
  func noteRun(from first: Int64, _ origin: [Parameter]) throws {
    let begun = try connection.query(
      """
      INSERT INTO drover_down_run (machine_id, stream, run, first) SELECT $1, $2, $3, $4
       WHERE NOT EXISTS (SELECT 1 FROM drover_down_run WHERE machine_id = $1 AND stream = $2 AND run = $3)
      """, origin + [.integer(store.run), .integer(first)]
    ).changed
    guard begun > 0 else { return }
    try connection.query(
      """
      DELETE FROM drover_down_run WHERE machine_id = $1 AND stream = $2 AND first <=
        (SELECT first FROM drover_down_run WHERE machine_id = $1 AND stream = $2 ORDER BY first DESC OFFSET $3 LIMIT 1)
      """, origin + [.integer(Int64(StoreRun.most))])
  }
}
