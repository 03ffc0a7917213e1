// What the broker has acknowledged is marked, what the cloud has confirmed leaves the outbox, and the app's own `synced` columns are set.

package import DroverCore
import GRDB

extension EdgeDatabase {
  package func settle(_ settlement: Settlement) throws(EdgeStoreError) {
    try access { database in
      try database.inTransaction(.immediate) {
        try verify(database)
        try checkSchema(database)
        for (stream, set) in settlement.synced {
          for interval in set.intervals {
            try flag(stream, interval, database)
            try bind(
              "UPDATE drover_outbox SET synced = 1 WHERE seq > ? AND seq <= ? AND stream = ? AND synced = 0", interval,
              stream, database
            ).run()
          }
        }
        if settlement.confirmed.values.contains(where: { !$0.isEmpty }) { try forget(settlement, database) }
        try raiseGeneration(database)
        return .commit
      }
    }
    remember()
  }

  /// Before the newest entry can go, its numbers are written down.
  static func rememberNewest(_ database: Database) throws {
    try database.cachedStatement(
      sql: """
        UPDATE drover_clock
           SET seq = max(seq, ifnull((SELECT max(seq) FROM drover_outbox), 0)),
               version = max(version, ifnull((SELECT version FROM drover_outbox ORDER BY seq DESC LIMIT 1), 0))
        """
    ).execute()
  }

  private func forget(_ settlement: Settlement, _ database: Database) throws {
    try Self.rememberNewest(database)
    for (stream, set) in settlement.confirmed {
      var count = 0
      for interval in set.intervals {
        try flag(stream, interval, database)
        count += try forget(interval, stream, database)
      }
      let statement = try prepared(
        "UPDATE drover_stream SET confirmed = confirmed + ?, confirmed_through = max(confirmed_through, ?) WHERE number = ?",
        database)
      statement.bind(Int64(count), at: 1)
      statement.bind(settlement.fronts[stream] ?? 0, at: 2)
      statement.bind(Int64(stream), at: 3)
      try statement.run()
      if let table = tables[stream] { try table.lives?.noteHighestKey(of: table, database) }
      try noteAhead(set, front: settlement.fronts[stream] ?? 0, stream, database)
      try prune(stream, database)
    }
    try SpaceKeeper.dropLooseRows(database)
    for (stream, table) in tables where table.freezes { try table.units(stream)?.dropLooseHeaders(database) }
  }

  /// Takes confirmed entries out of the outbox. What could not be brought again from a table stays for a while, as `synced`.
  private func forget(_ interval: Interval, _ stream: Int, _ database: Database) throws -> Int {
    let isIntake = streams.first { $0.number == stream }?.table == nil
    let name = streams.first { $0.number == stream }?.name
    let isReference = declarations.contains { $0.name == name && $0.flow.direction == .down }
    if isReference { try noteOverwritten(interval, stream, database) }
    // Of reference data nothing is ever sent again.
    let isTwoWay = twoWay.since[stream] != nil || isReference
    if isReference {
      // The cloud lists each edit that differs from its row, and sends the row down again.
    } else if isTwoWay {
      try noteMine(interval, stream, database)
    } else if let table = tables[stream] {
      try callDeletes(table, interval, stream, database)
    }
    // A deleted two-way row has its entry in drover_row.
    let retained = isIntake ? "stream = ?" : "stream = ? AND op = 'delete'"
    let kept =
      try isTwoWay
      ? 0
      : bind(
        "UPDATE drover_outbox SET synced = 1 WHERE seq > ? AND seq <= ? AND \(retained)", interval, stream, database
      ).run()
    if isIntake {
      try bind(
        """
        UPDATE drover_stream
           SET retained_bytes = retained_bytes
             + ifnull((SELECT sum(length(body)) FROM drover_outbox WHERE seq > ?1 AND seq <= ?2 AND stream = ?3), 0)
         WHERE number = ?3
        """, interval, stream, database
      ).run()
      return kept
    }
    if kept > 0 {
      try database.execute(
        sql: "UPDATE drover_stream SET retained_bytes = retained_bytes + ? WHERE number = ?",
        arguments: [kept * Retention.bytesOfDelete, stream])
    }
    let gone = try bind(
      "DELETE FROM drover_outbox WHERE seq > ? AND seq <= ? AND stream = ?\(isTwoWay ? "" : " AND op <> 'delete'")",
      interval,
      stream, database
    ).run()
    if gone > 0 { try SpaceKeeper.note(bodyBytes: 0, entries: -gone, database) }
    return kept + gone
  }

  /// Counts edits of rows that only the cloud edits.
  private func noteOverwritten(_ interval: Interval, _ stream: Int, _ database: Database) throws {
    let edits = try bind(
      "SELECT count(*) FROM drover_outbox WHERE seq > ? AND seq <= ? AND stream = ?", interval, stream, database)
    defer { edits.reset() }
    guard try edits.step(), edits.integer(0) > 0 else { return }
    try database.execute(
      sql: "UPDATE drover_stream SET overwritten = overwritten + ? WHERE number = ?",
      arguments: [edits.integer(0), stream])
    guard overwritten.insert(stream).inserted, let name = streams.first(where: { $0.number == stream })?.name else {
      return
    }
    warn(
      "\(name): rows were edited here, and they come from the cloud (`direction: down`): the cloud lists what differs as dead letters, and its rows replace them; `drover status` counts such edits"
    )
  }

  /// A row that a REPLACE displaced was entered as one that might stay, and so was a header whose line went. It is gone: no table will bring it again, so its entry is
  /// retained as the delete that it was.
  private func callDeletes(_ table: CapturedTable, _ interval: Interval, _ stream: Int, _ database: Database) throws {
    guard !table.uniques.isEmpty || !table.lines.isEmpty, table.schema.kind != .payload else { return }
    try bind(
      """
      UPDATE drover_outbox SET op = 'delete'
       WHERE seq > ? AND seq <= ? AND stream = ? AND op = 'put' AND seq NOT IN (SELECT seq FROM drover_kept)
         AND NOT EXISTS (SELECT 1 FROM \(quoted(table.name)) AS app WHERE \(table.isRow("drover_outbox")))
      """, interval, stream, database
    ).run()
  }

  /// Sets the app's own flag on the rows whose newest entry the broker has acknowledged just now. A row that has changed since has
  /// another entry, and stays as the app left it.
  private func flag(_ stream: Int, _ interval: Interval, _ database: Database) throws {
    guard let table = tables[stream] else {
      let name = isWaiting(stream) ? streams.first { $0.number == stream }?.name : nil
      if declarations.contains(where: { $0.name == name && $0.syncedColumn != nil }) {
        try bind(
          """
          UPDATE drover_wait SET is_unflagged = 1
           WHERE EXISTS (SELECT 1 FROM drover_outbox WHERE seq > ?1 AND seq <= ?2 AND stream = ?3 AND synced = 0)
             AND stream = ?3
          """, interval, stream, database
        ).run()
      }
      return
    }
    guard let flag = table.syncedColumn else { return }
    let keys = table.outboxColumns
    let entries = try bind(
      """
      SELECT \(keys.joined(separator: ", ")) FROM drover_outbox AS entry
       WHERE seq > ? AND seq <= ? AND stream = ? AND synced = 0 AND op = 'put'
         -- A row of the key of one that was kept is another one, which has an entry of its own.
         AND NOT (seq IN (SELECT seq FROM drover_kept)
                  AND EXISTS (SELECT 1 FROM drover_outbox AS newer
                               WHERE newer.stream = entry.stream AND newer.body IS NULL AND newer.seq > entry.seq
                                 AND \(keys.map { "newer.\($0) IS entry.\($0)" }.joined(separator: " AND "))))
      """, interval, stream, database)
    defer { entries.reset() }
    let column = quoted(flag)
    // OR ABORT: a constraint of the app's may say ON CONFLICT REPLACE, which would delete a row, or ROLLBACK.
    let flagRow =
      "UPDATE OR ABORT \(quoted(table.name)) SET \(column) = 1 WHERE \(column) IS NOT 1 AND "
      + table.wholeKeyExpressions.enumerated().map { "\($1) IS ?\($0 + 1)" }.joined(separator: " AND ")
      + (table.filter.map { " AND \($0)" } ?? "")
    var refusal: DatabaseError?
    while try entries.step() {
      do {
        let update = try prepared(flagRow, database)
        for index in keys.indices { update.bind(entries.value(Int32(index)), at: Int32(index + 1)) }
        try update.run()
      } catch let error as DatabaseError where error.isOfOneTable {
        refusal = error
      }
    }
    if let refusal, unflagged.insert(stream).inserted {
      warn(
        "set \(table.name).\(flag): the app's own table refuses the value 1 (\(refusal.explanation)); the events travel all the same"
      )
    }
  }

  private func bind(_ sql: String, _ interval: Interval, _ stream: Int, _ database: Database) throws -> Statement {
    let statement = try prepared(sql, database)
    statement.bind(interval.after, at: 1)
    statement.bind(interval.through, at: 2)
    statement.bind(Int64(stream), at: 3)
    return statement
  }
}
