// The history of two-way rows: in which direction a stream travels, from where an epoch continues, and what is known of a row when its entry is read.

package import DroverCore
import GRDB

extension EdgeDatabase {
  package func lineage(stream: Int) -> Lineage? {
    guard tables[stream]?.schema.flow.direction == .both else { return nil }
    return Lineage(since: twoWay.since[stream] ?? 0, fork: twoWay.fork)
  }

  /// Takes note that a stream travels in another direction than before.
  func noteDirection(of declaration: StreamDeclaration, stream: Int, _ database: Database) throws {
    let direction = declaration.flow.direction
    let known = try String.fetchOne(
      database, sql: "SELECT direction FROM drover_stream WHERE number = ?", arguments: [stream])
    guard known != direction.rawValue else { return }
    try database.execute(
      sql: """
        UPDATE drover_stream
           SET direction = ?1, two_way_since = CASE WHEN ?1 = 'both' THEN (\(RowBookkeeping.highestVersion)) END
         WHERE number = ?2
        """, arguments: [direction.rawValue, stream])
    // Nothing comes down any more, so nothing is refused.
    if !direction.goesDown { try dropDownLetters(of: stream, database) }
    // Nothing of its rows was sent until now.
    if known == Direction.down.rawValue { try startBackfill(stream, database) }
    guard direction == .down else { return }
    try database.execute(sql: "UPDATE drover_stream SET backfill = 'done' WHERE number = ?", arguments: [stream])
    let isWaiting = "stream = ?1 AND seq > (SELECT confirmed_through FROM drover_stream WHERE number = ?1)"
    let waiting = try Int.fetchOne(
      database, sql: "SELECT count(*) FROM drover_outbox WHERE \(isWaiting)", arguments: [stream])!
    try Self.rememberNewest(database)
    try database.execute(sql: "DELETE FROM drover_outbox WHERE stream = ?", arguments: [stream])
    try SpaceKeeper.note(bodyBytes: 0, entries: -database.changesCount, database)
    guard waiting > 0 else { return }
    warn(
      "capture \(declaration.name): its rows come from the cloud from now on (`direction: down`), so \(quantity(waiting, "edit")) made here that the cloud had not confirmed will not be sent"
    )
  }

  // MARK: Epochs

  /// From where a new epoch continues, to be called in its transaction before anything of the old one is changed.
  /// - Parameters:
  ///   - isOther: the database went back, so what it gave since may have been given to other edits in the history that is lost.
  ///   - remembered: what the file beside the database holds.
  func noteFork(isOther: Bool, _ remembered: OutboxMemory?, _ database: Database) throws {
    guard !twoWay.since.isEmpty, try database.hasTable("drover_seen") else { return }
    let generation = try Int64.fetchOne(database, sql: "SELECT generation FROM drover_clock") ?? 0
    // Tables that were made anew know nothing of what was before.
    let parent =
      try generation > 0 ? String.fetchOne(database, sql: "SELECT value FROM drover_meta WHERE name = 'epoch'") : nil
    var fork: Lineage.Fork?
    if let parent {
      let version = try Int64.fetchOne(
        database,
        sql: isOther
          ? "SELECT max(version, ifnull((SELECT max(version) FROM drover_outbox WHERE synced = 1), 0)) FROM drover_clock"
          : RowBookkeeping.highestVersion)!
      try database.execute(sql: "UPDATE drover_seen SET version = min(version, ?)", arguments: [version])
      // If nothing was sent of the epoch that ends, the cloud does not know it: the new one continues from its parent.
      if let remembered, remembered.epoch == parent, remembered.runs.reached == 0, let earlier = twoWay.fork {
        fork = Lineage.Fork(parent: earlier.parent, version: min(earlier.version, version))
      } else {
        fork = Lineage.Fork(parent: try Epoch(parent), version: version)
        try database.execute(
          sql: "INSERT OR REPLACE INTO drover_seen (epoch, version) VALUES (?, ?)", arguments: [parent, version])
      }
    } else {
      try database.execute(sql: "DELETE FROM drover_seen")
    }
    try RowBookkeeping.setMeta(.forkParent, fork?.parent.text, database)
    try RowBookkeeping.setMeta(.forkVersion, fork.map { "\($0.version)" }, database)
  }
}

// MARK: What is known of a row

extension CapturedTable {
  /// A row that comes down has to find its own row, whatever happened here.
  static func requireKey(
    _ name: String, key: [String], isUnique: Bool, writable: [String]
  ) throws {
    let advice = "give the table a PRIMARY KEY, name unique columns in `key`, or leave out `direction`"
    guard key != [StreamSchema.rowidColumn] else {
      throw CaptureRefusal(
        "\(name) has no primary key, so its rows are known by their rowid, and rows of the cloud have none",
        advice: advice)
    }
    guard isUnique else {
      throw CaptureRefusal(
        "nothing keeps the key \(key.joined(separator: ", ")) of \(name) unique, so a row that comes down could mean two",
        advice: advice)
    }
    if let generated = key.first(where: { !writable.contains($0) }) {
      throw CaptureRefusal(
        "\(name).\(generated) is generated and part of the key, so a row that comes down cannot be written",
        advice: advice)
    }
  }

  /// Whether the key columns in drover_row or the outbox, called `owner`, are those of a row of this table, called `app`.
  func isRow(_ owner: String) -> String {
    keyExpressions.enumerated().map { index, column in
      // First by the column's own collation, which an index knows, then by bytes.
      let key = "\(owner).\(Bookkeeping.keyColumn(index))"
      return "app.\(column) IS \(key) AND app.\(column) IS \(key) COLLATE BINARY"
    }.joined(separator: " AND ")
  }

  /// Whether key columns of Drover's are a key that is bound from ?1 on.
  var hasKey: String { outboxColumns.enumerated().map { "\($1) IS ?\($0 + 1)" }.joined(separator: " AND ") }

  /// Finds the entry of a key that waits: its version, and whether it is sent again without an edit. The newest first.
  func findWaiting(stream: Int) -> String {
    """
    SELECT version, again FROM drover_outbox AS waiting WHERE stream = \(stream) AND body IS NULL AND \(hasKey)
       AND seq > (SELECT confirmed_through FROM drover_stream WHERE number = \(stream))
       AND NOT EXISTS (SELECT 1 FROM drover_ahead AS ahead WHERE ahead.stream = \(stream)
                          AND ahead.after_seq < waiting.seq AND ahead.through_seq >= waiting.seq)
     ORDER BY seq DESC
    """
  }

  func findKnown(stream: Int) -> String {
    "SELECT rowid, held, mine FROM drover_row WHERE stream = \(stream) AND \(hasKey)"
  }
}

extension EdgeDatabase {
  /// What an entry's row had seen, as it is now. A row that is sent again bears the version of its newest own edit.
  func addAncestry(to entry: inout OutboxEntry, isAgain: Bool, _ database: Database) throws {
    guard let table = tables[entry.stream] else { return }
    let known = try prepared(table.findKnown(stream: entry.stream), database)
    defer { known.reset() }
    entry.key.lendEach { known.bind(lent: $1, at: Int32($0 + 1)) }
    let isKnown = try known.step()
    entry.ancestry = Ancestry(base: isKnown ? known.integer(1) : 0, isAgain: isAgain)
    if isAgain { entry.version = max(isKnown ? known.integer(2) : 0, twoWay.since[entry.stream] ?? 0) }
  }

  /// Notes the versions of edits that the cloud has confirmed, before they leave the outbox.
  func noteMine(_ interval: Interval, _ stream: Int, _ database: Database) throws {
    let keys = (0..<keyColumns).map(Bookkeeping.keyColumn)
    let list = keys.joined(separator: ", ")
    func isSame(_ row: String) -> String { keys.map { "\(row).\($0) IS entry.\($0)" }.joined(separator: " AND ") }
    let isConfirmed = "entry.seq > ?1 AND entry.seq <= ?2 AND entry.stream = ?3 AND entry.again = 0"
    for sql in [
      // A final record that was kept may stand beside a newer entry of its key. The entries come first: they are few, and each finds its row.
      """
      UPDATE drover_row
         SET mine = max(mine, (SELECT max(entry.version) FROM drover_outbox AS entry
                                WHERE \(isConfirmed) AND entry.body IS NULL AND \(isSame("drover_row"))))
       WHERE rowid IN (SELECT known.rowid FROM drover_outbox AS entry CROSS JOIN drover_row AS known
                        WHERE \(isConfirmed) AND known.stream = ?3 AND \(isSame("known")))
      """,
      """
      INSERT INTO drover_row (stream, mine, \(list))
      SELECT entry.stream, max(entry.version), \(keys.map { "entry.\($0)" }.joined(separator: ", ")) FROM drover_outbox AS entry
       WHERE \(isConfirmed) AND NOT EXISTS (SELECT 1 FROM drover_row AS known WHERE known.stream = ?3 AND \(isSame("known")))
       GROUP BY \(keys.map { "entry.\($0)" }.joined(separator: ", "))
      """,
    ] {
      let statement = try prepared(sql, database)
      statement.bind(interval.after, at: 1)
      statement.bind(interval.through, at: 2)
      statement.bind(Int64(stream), at: 3)
      try statement.run()
    }
  }
}
