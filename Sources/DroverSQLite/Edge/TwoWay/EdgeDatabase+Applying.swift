// Rows that come down are written into the app's tables: those that `ApplyRule` lets through, each on its own, all in one short transaction with
// what is known of them afterwards. A row that the app's table refuses holds up no other.

package import DroverCore
import GRDB
private import CSQLite

extension EdgeDatabase {
  package func downReceived() throws(EdgeStoreError) -> DownConfirmation? {
    // What is confirmed does not come again. So it survives a power loss, and a database that is put back to before it is noticed.
    if isNoteDue { remember() }
    return try verified { database in
      guard let epoch = try RowBookkeeping.meta(.downEpoch, database) else { return nil }
      var received = DownConfirmation(epoch: try Epoch(epoch))
      let rows = try Row.fetchAll(database, sql: "SELECT stream, after_seq, through_seq FROM drover_down")
      for row in rows {
        let number: Int = row["stream"]
        guard let interval = Self.interval(row), let name = streams.first(where: { $0.number == number })?.name
        else { continue }
        received.streams[name, default: IntervalSet()].insert(interval)
      }
      received.refused = try refusedRows(database)
      for row in try Row.fetchAll(database, sql: "SELECT number, down_run FROM drover_stream WHERE down_run > 0") {
        let number: Int = row["number"]
        guard let name = streams.first(where: { $0.number == number })?.name else { continue }
        received.runs[name] = (row["down_run"] as Int64).clamped(to: Bounds.run)
      }
      return received
    }
  }

  package func apply(_ frame: DownFrame) throws(EdgeStoreError) -> DownOutcome? {
    var isRepeated = false
    let outcome = try applying { run, database in
      // The cloud may have been put back, and has to hear first what the rows here have seen.
      guard try !isSentAgain(frame.stream, database) else { return false }
      let writer = try downWriter(of: frame.stream, database)
      guard case let columns = writer.table.schema.columns.count,
        frame.events.allSatisfy({ if case .row(let row) = $0.content { row.count == columns } else { true } })
      else { throw EdgeStoreError.failed("apply rows of \(writer.table.name): they have other columns than the table") }
      try begin(frame.epoch, database)
      isRepeated = try !noteRun(of: frame, database)
      guard !isRepeated else { return false }
      try run.apply(frame.events, writer)
      try noteReceived(frame, database)
      try run.apply(lostRows(frame, writer.table, database), writer)
      try run.retry(all: false)
      try run.finish()
      if run.outcome.applied > 0 {
        let count = try prepared("UPDATE drover_stream SET applied = applied + ?1 WHERE number = ?2", database)
        count.bind(Int64(run.outcome.applied), at: 1)
        count.bind(Int64(frame.stream), at: 2)
        try count.run()
      }
      return true
    }
    guard isRepeated else { return outcome }
    var repeated = DownOutcome()
    repeated.repeatsNumbers = true
    return repeated
  }

  /// - Returns: false where the frame's run repeats numbers that were received from another one.
  private func noteRun(of frame: DownFrame, _ database: Database) throws -> Bool {
    guard let run = frame.run else { return true }
    let find = try prepared(
      """
      SELECT down_run, ifnull((SELECT max(through_seq) FROM drover_down WHERE stream = ?1), 0) FROM drover_stream WHERE number = ?1
      """, database)
    find.bind(Int64(frame.stream), at: 1)
    defer { find.reset() }
    guard try find.step() else { return true }
    let known = find.integer(0)
    guard !run.repeatsNumbers(known: known, highest: find.integer(1)) else { return false }
    guard known != run.number else { return true }
    let note = try prepared("UPDATE drover_stream SET down_run = ?1 WHERE number = ?2", database)
    note.bind(run.number, at: 1)
    note.bind(Int64(frame.stream), at: 2)
    try note.run()
    return true
  }

  package func retryRefused() throws(EdgeStoreError) -> DownOutcome {
    guard try access(hasDownLetters) else { return DownOutcome() }
    return try applying { run, _ in
      try run.retry(all: true)
      try run.finish()
      return true
    } ?? DownOutcome()
  }

  /// Applies rows in one transaction.
  /// - Parameter body: false to leave everything as it is.
  private func applying(_ body: (DownRun, Database) throws -> Bool) throws(EdgeStoreError) -> DownOutcome? {
    let outcome = try access { database in
      var barred: [DownWriter.RowID: DownRefusal] = [:]
      while true {
        var outcome: DownOutcome?
        do {
          try database.inTransaction(.immediate) {
            try verify(database)
            try checkSchema(database)
            let run = try DownRun(self, barred: barred, database)
            guard try body(run, database) else { return .commit }
            outcome = run.outcome
            // A database that is put back to before this moment has not received the frame, and the cloud will not send it again.
            try raiseGeneration(database)
            return .commit
          }
          return outcome
        } catch let ended as DownRun.EndedTransaction {
          barred[ended.row] = ended.refusal
        }
      }
    }
    if outcome != nil { generationWritten() }
    return outcome
  }

  /// Whether rows of a stream are sent again and the cloud has not confirmed all of them.
  func isSentAgain(_ stream: Int, _ database: Database) throws -> Bool {
    let again = try prepared(
      """
      SELECT EXISTS (SELECT 1 FROM drover_outbox WHERE stream = ?1 AND again = 1)
          OR (SELECT backfill = 'running' FROM drover_stream WHERE number = ?1)
      """, database)
    defer { again.reset() }
    again.bind(Int64(stream), at: 1)
    return try again.step() && again.integer(0) != 0
  }

  func downWriter(of stream: Int, _ database: Database) throws -> DownWriter {
    if let writer = downWriters[stream] { return writer }
    guard let name = streams.first(where: { $0.number == stream })?.name else {
      throw EdgeStoreError.failed("apply rows: there is no stream \(stream)")
    }
    guard !isWaiting(stream), let table = tables[stream] else {
      throw EdgeStoreError.failed("apply rows of \(name): the stream waits; its rows come again when it goes on")
    }
    guard table.schema.flow.direction.goesDown else {
      throw EdgeStoreError.failed(
        "apply rows of \(name): it only goes up; `direction` says otherwise in its configuration")
    }
    let firesAppTriggers = declarations.first { $0.name == name }?.firesAppTriggers ?? false
    let writer: DownWriter
    do {
      writer = try DownWriter(
        table, stream: stream, firesAppTriggers: firesAppTriggers, try foreignKeys(database), database)
    } catch let error as DatabaseError where error.isOfOneTable {
      throw EdgeStoreError.failed(
        "apply rows of \(name): the agent cannot write to \(table.name): \(error.explanation); an index, a generated column or a CHECK there may need a function or collation that only the app has: remove it, or set `direction: up`"
      )
    }
    downWriters[stream] = writer
    return writer
  }

  /// The app's foreign keys, looked at once for a schema.
  func foreignKeys(_ database: Database) throws -> ForeignKeys {
    if let known = knownForeignKeys { return known }
    let found = try ForeignKeys(self, database)
    knownForeignKeys = found
    return found
  }

  /// Runs statements for which triggers fire, the app's and Drover's own.
  func firingTriggers(_ database: Database, _ body: () throws -> Void) throws {
    drover_sqlite3_enable_triggers(database.sqliteConnection, 1)
    defer { drover_sqlite3_enable_triggers(database.sqliteConnection, 0) }
    try body()
  }

  /// Enters a row as an edit of the app's.
  func enterEdit(
    of key: [Value], _ operation: String, _ table: CapturedTable, stream: Int, _ database: Database
  ) throws {
    var entrance = try Entrance(self, table, stream: stream, isEdit: true, database)
    try entrance.enter(key, operation)
    dataVersion = -1  // so that the agent looks
  }

  /// Enters a row that is to be sent again without an edit.
  func enterAgain(_ key: [Value], _ table: CapturedTable, stream: Int, _ database: Database) throws {
    var entrance = try Entrance(self, table, stream: stream, database)
    try entrance.enter(key)
    dataVersion = -1  // so that the agent looks
  }

  /// Notes what was received, and that versions given from now on are above all of it.
  private func noteReceived(_ frame: DownFrame, _ database: Database) throws {
    let noted = try intervals(in: "drover_down", of: frame.stream, database)
    var received = noted
    received.insert(frame.interval)
    try write(received, over: noted, in: "drover_down", of: frame.stream, database)
    guard let newest = frame.events.map(\.version).max() else { return }
    let observe = try prepared("UPDATE drover_clock SET version = max(version, ?1)", database)
    observe.bind(newest.clamped(to: Bounds.version), at: 1)
    try observe.run()
  }
}
