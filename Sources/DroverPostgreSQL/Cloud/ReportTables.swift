// The figures of a store, within a transaction that sees one moment: a few statements for all machines, and one for each sink table whose rows
// are counted.

import DroverCore

struct ReportTables {
  let connection: Connection
  let scope: ReportScope

  func report() throws -> CloudReport {
    let use = try connection.query(
      "SELECT coalesce(sum(letters), 0)::bigint, coalesce(sum(bytes), 0)::bigint FROM drover_dead_total")
    let messages = try connection.query(
      "SELECT outcome, count FROM drover_message_count ORDER BY outcome COLLATE \"C\"")
    return CloudReport(
      machines: try machines(), dropped: try dropped(), letterBytes: Int(use.integer(0, 1)),
      letterRows: Int(use.integer(0, 0)), deadLetters: try DeadLetterFigures(connection),
      conflicts: try conflictFigures(),
      messages: (0..<messages.count).map { (messages.text($0, 0), Int(messages.integer($0, 1))) },
      troubles: try TroubleTable.all(connection)[""] ?? [])
  }

  private func conflictFigures() throws -> ConflictFigures {
    let rows = try connection.query(
      """
      SELECT (SELECT count(*) FROM drover_conflict),
             coalesce((SELECT value::bigint FROM drover_meta WHERE name = 'conflicts_resolved'), 0),
             (SELECT coalesce(sum(bytes), 0)::bigint FROM drover_conflict)
      """)
    return ConflictFigures(
      present: Int(rows.integer(0, 0)), resolved: Int(rows.integer(0, 1)), bytes: Int(rows.integer(0, 2)))
  }

  private func dropped() throws -> [CloudReport.Dropped] {
    let rows = try connection.query(
      """
      SELECT machine_id, stream, reason, letters, bytes, last_at FROM drover_dead_dropped
       ORDER BY letters DESC, machine_id, stream, reason COLLATE "C"
      """)
    return (0..<rows.count).map { row in
      CloudReport.Dropped(
        machine: rows.text(row, 0), stream: rows.text(row, 1), reason: rows.text(row, 2),
        letters: Int(rows.integer(row, 3)), bytes: Int(rows.integer(row, 4)), lastAt: rows.integer(row, 5))
    }
  }

  // MARK: Machines

  private func machines() throws -> [CloudReport.Machine] {
    let rows = try connection.query(
      """
      SELECT machine_id, online, last_heard, clock_offset, waiting, oldest, edge_letters, free_bytes, told_at FROM drover_machine
       WHERE machine_id > $1 AND ($2::text IS NULL OR machine_id = $2) ORDER BY machine_id LIMIT $3
      """, [.text(scope.after ?? ""), .text(scope.only), .integer(scope.limit)])
    guard rows.count > 0 else { return [] }
    let range = [Parameter.text(rows.text(0, 0)), .text(rows.text(rows.count - 1, 0))]
    let (streams, letters, overruns) = (try streams(range), try letters(range), try overruns(range))
    let conflicts = try figures(
      "SELECT machine_id, count(*) FROM drover_conflict WHERE machine_id BETWEEN $1 AND $2 GROUP BY machine_id", range)
    let conflictBytes = try figures(
      "SELECT machine_id, sum(bytes)::bigint FROM drover_conflict WHERE machine_id BETWEEN $1 AND $2 GROUP BY machine_id",
      range)
    let refused = try figures(
      "SELECT machine_id, total FROM drover_refused WHERE machine_id BETWEEN $1 AND $2", range)
    let (troubles, waits) = (try TroubleTable.all(connection), try StreamWaits.all(connection))
    return (0..<rows.count).map { row in
      let name = rows.text(row, 0)
      return CloudReport.Machine(
        name: name, isOnline: rows.isNull(row, 1) ? nil : rows.boolean(row, 1), lastHeard: rows.integer(row, 2),
        clockOffset: rows.optionalInteger(row, 3), outbox: told(rows, row), streams: streams[name] ?? [],
        deadLetters: letters[name] ?? 0, conflicts: conflicts[name] ?? 0,
        conflictBytes: conflictBytes[name] ?? 0, refusedRows: refused[name] ?? 0,
        overruns: overruns[name] ?? [],
        troubles: troubles[name] ?? [], waits: waits[name] ?? [])
    }
  }

  /// By machine.
  private func overruns(_ range: [Parameter]) throws -> [String: [Overrun]] {
    let rows = try connection.query(
      """
      SELECT machine_id, budget, count, first_at, last_at FROM drover_over_budget
       WHERE machine_id BETWEEN $1 AND $2 ORDER BY machine_id, budget
      """, range)
    return Dictionary(grouping: 0..<rows.count) { rows.text($0, 0) }.mapValues {
      $0.map { row in
        Overrun(
          budget: rows.text(row, 1), count: Int(rows.integer(row, 2)), firstAt: rows.integer(row, 3),
          lastAt: rows.integer(row, 4))
      }
    }
  }

  private func told(_ rows: Rows, _ row: Int) -> CloudReport.Told? {
    guard let at = rows.optionalInteger(row, 8) else { return nil }
    return CloudReport.Told(
      figures: OutboxFigures(
        waiting: Int(rows.integer(row, 4)), oldest: rows.optionalInteger(row, 5),
        deadLetters: Int(rows.integer(row, 6)),
        freeBytes: rows.optionalInteger(row, 7)),
      at: at)
  }

  /// - Parameter range: the first and the last machine.
  private func letters(_ range: [Parameter]) throws -> [String: Int] {
    try figures(
      "SELECT machine_id, count(*) FROM drover_dead_letter WHERE machine_id BETWEEN $1 AND $2 GROUP BY machine_id",
      range)
  }

  /// Numbers by machine.
  private func figures(_ sql: String, _ range: [Parameter]) throws -> [String: Int] {
    let rows = try connection.query(sql, range)
    // A person may have written names into a table that are one to Swift and two to the database.
    return Dictionary((0..<rows.count).map { (rows.text($0, 0), Int(rows.integer($0, 1))) }) { first, _ in first }
  }

  // MARK: Streams

  private func streams(_ range: [Parameter]) throws -> [String: [CloudReport.Stream]] {
    let sinks = try NotedSink.all(connection)
    let counts = try scope.countsRows ? count(sinks, range) : nil
    func rows(_ sink: SQLName, _ machine: String) -> Int? {
      counts.flatMap { counts in counts[sink].map { $0[machine] ?? 0 } }
    }
    let lines = Dictionary(grouping: sinks.filter { $0.description.header != nil }) {
      SQLName($0.description.header!.text)
    }
    let found = try connection.query(
      """
      SELECT machine_id, stream, applied, superseded, refused, version, applied_at, checked_at, drift, failure, in_flight
        FROM drover_progress LEFT JOIN drover_check USING (machine_id, stream)
       WHERE machine_id BETWEEN $1 AND $2 ORDER BY machine_id, stream
      """, range)
    var streams: [String: [CloudReport.Stream]] = [:]
    for row in 0..<found.count {
      let (machine, name) = (found.text(row, 0), found.text(row, 1))
      streams[machine, default: []].append(
        CloudReport.Stream(
          name: name, rows: rows(SQLName(name), machine), applied: Int(found.integer(row, 2)),
          superseded: Int(found.integer(row, 3)), refused: Int(found.integer(row, 4)), version: found.integer(row, 5),
          appliedAt: found.integer(row, 6), check: check(found, row),
          lines: (lines[SQLName(name)] ?? []).map {
            CloudReport.Lines(table: $0.stream.text, rows: rows($0.name, machine))
          }))
    }
    return streams
  }

  private func check(_ rows: Rows, _ row: Int) -> CloudReport.Check? {
    rows.optionalInteger(row, 7).map {
      CloudReport.Check(
        at: $0, drift: Int(rows.integer(row, 8)), inFlight: Int(rows.integer(row, 10)),
        failure: rows.optionalText(row, 9))
    }
  }

  /// The machines' own rows in each sink, by machine.
  private func count(_ sinks: [NotedSink], _ range: [Parameter]) throws -> [SQLName: [String: Int]] {
    let place = try connection.place()
    let identities = try connection.query("SELECT DISTINCT stream FROM drover_identity")
    let matched = Set((0..<identities.count).map { SQLName(identities.text($0, 0)) })
    return try connection.patiently {
      var counts: [SQLName: [String: Int]] = [:]
      for sink in sinks {
        let table = matched.contains(sink.name) ? MatchedSink.heldName(of: sink.stream.text) : sink.table
        let machine = quoted(sink.description.schema?.machineColumn ?? "machine_id")
        // Do not wait for a table that is locked or was changed so that it cannot be read.
        counts[sink.name] = try connection.trying {
          try figures(
            """
            SELECT \(machine), count(*) FROM \(place).\(quoted(table)) WHERE \(machine) BETWEEN $1 AND $2 GROUP BY \(machine)
            """, range)
        }
      }
      return counts
    }
  }
}

extension DeadLetterFigures {
  /// All letters that there are and were.
  init(_ connection: Connection) throws {
    let present = try connection.query("SELECT count(*) FROM drover_dead_letter").integer(0, 0)
    let counters = try connection.query(
      "SELECT name, value::bigint FROM drover_meta WHERE name LIKE 'dead\\_letters\\_%'")
    let counts = Dictionary(
      (0..<counters.count).map { (counters.text($0, 0), Int(counters.integer($0, 1))) }
    ) { first, _ in first }
    func count(_ counter: DeadLetterCounter) -> Int { counts[counter.rawValue] ?? 0 }
    self.init(present: Int(present), replayed: count(.replayed), purged: count(.purged), dropped: count(.dropped))
  }
}
