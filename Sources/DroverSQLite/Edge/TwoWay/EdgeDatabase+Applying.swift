// Rows that come down are written into the app's tables: those that `ApplyRule` lets through, each on its own, all in one short transaction with
// what is known of them afterwards. A row that the app's table refuses holds up no other.

package import DroverCore
import GRDB

extension EdgeDatabase {
  package func downReceived() throws(EdgeStoreError) -> DownConfirmation? {
    try verified { database in
      guard let epoch = try TwoWayTables.meta(.downEpoch, database) else { return nil }
      var received = DownConfirmation(epoch: try Epoch(epoch))
      let rows = try Row.fetchAll(database, sql: "SELECT stream, after_seq, through_seq FROM drover_down")
      for row in rows {
        let number: Int = row["stream"]
        guard let interval = Self.interval(row), let name = streams.first(where: { $0.number == number })?.name
        else { continue }
        received.streams[name, default: IntervalSet()].insert(interval)
      }
      return received
    }
  }

  package func apply(_ frame: DownFrame) throws(EdgeStoreError) -> DownOutcome? {
    let outcome = try access { database in
      var outcome: DownOutcome?
      try database.inTransaction(.immediate) {
        try verify(database)
        try checkSchema(database)
        // The cloud may have been put back, and has to hear first what the rows here have seen.
        guard try !isSentAgain(frame.stream, database) else { return .commit }
        outcome = try apply(frame, database)
        // A database that is put back to before this moment has not received the frame, and the cloud will not send it again.
        try raiseGeneration(database)
        return .commit
      }
      return outcome
    }
    if outcome != nil { remember() }
    return outcome
  }

  /// Whether rows of a stream are sent again and the cloud has not confirmed all of them.
  private func isSentAgain(_ stream: Int, _ database: Database) throws -> Bool {
    let again = try prepared(
      """
      SELECT EXISTS (SELECT 1 FROM drover_outbox WHERE stream = ?1 AND again = 1)
          OR (SELECT backfill = 'running' FROM drover_stream WHERE number = ?1)
      """, database)
    defer { again.reset() }
    again.bind(Int64(stream), at: 1)
    return try again.step() && again.integer(0) != 0
  }

  private func apply(_ frame: DownFrame, _ database: Database) throws -> DownOutcome {
    let writer = try downWriter(of: frame.stream, database)
    var outcome = DownOutcome()
    for event in frame.events {
      let standing = try writer.standing(of: event.key)
      switch ApplyRule.decide(event, known: standing.known, epoch: epoch, seen: twoWay.seen) {
      case .old: outcome.old += 1
      case .edited: outcome.edited += 1
      case .apply:
        try writer.write(event)
        try writer.hold(event, standing)
        outcome.applied += 1
      }
    }
    try noteReceived(frame, database)
    return outcome
  }

  private func downWriter(of stream: Int, _ database: Database) throws -> DownWriter {
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
    let writer = try DownWriter(table, stream: stream, database)
    downWriters[stream] = writer
    return writer
  }

  /// Notes what was received, and that versions given from now on are above all of it.
  private func noteReceived(_ frame: DownFrame, _ database: Database) throws {
    if try TwoWayTables.meta(.downEpoch, database) != frame.epoch.text {
      try database.execute(sql: "DELETE FROM drover_down")
      try TwoWayTables.setMeta(.downEpoch, frame.epoch.text, database)
    }
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
