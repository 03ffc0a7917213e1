// Events find their sink table; tombstones are retired.

import DroverCore
import GRDB

extension Transaction {
  func merge(_ events: [SinkEvent], epoch: Epoch?, into sink: Sink) throws -> [MergeOutcome] {
    try onSink(sink.stream) { try mergeRows(events, epoch: epoch, into: sink) }
  }

  private func mergeRows(_ events: [SinkEvent], epoch: Epoch?, into sink: Sink) throws -> [MergeOutcome] {
    if let schema = sink.schema, sink.kind == .payload, !schema.tellsLives, try tellsLives(sink.stream) {
      var wide = sink
      wide.schema = schema.tellingLives()
      return try mergeRows(events.map { $0.tellingLives() }, epoch: epoch, into: wide)
    }
    let table: SinkTable
    if let known = store.table(of: sink) {
      table = known
    } else {
      let isDescribed =
        try epoch != nil
        && sink.schema.map { try schema($0.id, machine: sink.machine, stream: sink.stream) != nil } ?? false
      let isChanged = try isDescribed && lacks(sink)
      if let reason = try refusal(of: sink, isBare: epoch == nil) {
        // The table could follow the schema when the schema came, so another program has changed it since.
        if isDescribed { throw DatabaseError(resultCode: .SQLITE_SCHEMA, message: reason) }
        return events.map { _ in .refused(.schema, detail: reason) }
      }
      table = try self.table(of: sink)
      // The rows that are there have no values in what has come back.
      if isChanged { try reopenGaps(of: sink.stream) }
    }
    table.serve(sink.machine)
    try beginWriting(into: sink.stream)
    if sink.schema == nil, epoch != nil { try settleBodies(of: sink.stream) }
    let origin = SQLiteCloudStore.Origin(machine: sink.machine, stream: sink.stream)
    var hasTombstones = try store.cache.tombstones[origin] ?? anyTombstone(origin)
    let now = store.now()
    let number = try number(of: epoch, machine: sink.machine)
    if let twoWay = table.twoWay {
      let outcomes = try mergeTwoWay(events, epoch: number, twoWay, of: sink.machine, direction: table.direction)
      table.refusals = twoWay.refusals
      try refuseTable(table, events, outcomes, of: sink.machine)
      store.cache.tombstones[origin] = nil
      try boundTombstones(TombstoneUse(events, outcomes, stream: sink.stream), of: sink.machine)
      return outcomes
    }
    defer { store.cache.tombstones[origin] = hasTombstones }
    func merge(_ event: SinkEvent) throws -> MergeOutcome {
      try table.merge(event, epoch: number, now: now, hasTombstones: &hasTombstones)
    }
    table.refusals = [:]
    let outcomes =
      try store.cache.naturalKeys[sink.stream]?.merge(events, machine: sink.machine, now: now, merge)
      ?? events.map(merge)
    try refuseTable(table, events, outcomes, of: sink.machine)
    if sink.kind != .payload {
      try boundTombstones(TombstoneUse(events, outcomes, stream: sink.stream), of: sink.machine)
    }
    return outcomes
  }

  /// Looks whether it is the table that refuses puts or deletes, where none of them has passed.
  private func refuseTable(
    _ table: SinkTable, _ events: [SinkEvent], _ outcomes: [MergeOutcome], of machine: MachineID
  ) throws {
    for (isDelete, error) in table.refusals {
      let own = zip(events, outcomes).filter { ($0.0.content == .none) == isDelete }.map(\.1)
      guard !own.contains(.applied) else { continue }
      for (name, columns) in table.written {
        let probe = SinkProbe(database: database, table: name)
        guard
          let reach = try probe.refusesEverything(error, isDelete: isDelete, of: machine, writing: columns)
        else { continue }
        store.care.fault = reach
        throw error
      }
    }
  }

  /// Whether a table or a column is not there.
  private func lacks(_ sink: Sink) throws -> Bool {
    guard let schema = sink.schema else { return false }
    return try ([(sink.stream, schema)] + schema.lines.map { ($0.table, $0.rows) }).contains { stream, rows in
      let names = Set(try database.catalogue(of: stream.text).map(\.name) + [SQLName(StreamSchema.lifeColumn)])
      return rows.columns.contains { !names.contains(SQLName($0.name)) }
    }
  }

  /// Sees to the sink's tables. Returns why that cannot be.
  private func refusal(of sink: Sink, isBare: Bool) throws -> String? {
    let pins = store.limits.pins
    let pinned =
      sink.schema.map { pins.refusal(of: $0, sink.stream, sink.machine) }
      ?? pins.refusal(ofBodies: sink.kind, sink.stream, sink.machine)
    if let pinned { return pinned }
    return try shapeSink(SinkWish(sink.stream, sink.kind, sink.schema, sink.machine, isBare: isBare))?.reason
  }

  /// Whether the key of a stream's sink table tells lives.
  private func tellsLives(_ stream: StreamName) throws -> Bool {
    if let known = store.cache.tellsLives[stream] { return known }
    let isSo = try database.catalogue(of: stream.text).contains {
      $0.name == SQLName(StreamSchema.lifeColumn) && $0.keyPosition > 0
    }
    store.cache.tellsLives[stream] = isSo
    return isSo
  }

  /// What merges a machine's events into a table that fits them.
  func table(of sink: Sink) throws -> SinkTable {
    let described = try latestSchema(machine: sink.machine, stream: sink.stream)
    // What was not described declares nothing.
    if let described { try settle(described, machine: sink.machine, stream: sink.stream) }
    let latest = described ?? sink.schema
    let matched = MatchedSink(database: database, stream: sink.stream)
    let keys = try matched.naturalKeys(
      or: store.cache.naturalKeys[sink.stream], feed: store.feed.table(of: sink.stream))
    store.cache.naturalKeys[sink.stream] = keys
    return try store.cache.sinks.take(sink, latest: latest) {
      try SinkTable(
        database, sink: $0, machine: sink.machine, table: keys == nil ? sink.stream.text : matched.held,
        feed: store.feed)
    }
  }

  func isLatest(_ epoch: Epoch, machine: MachineID) throws -> Bool {
    try number(of: epoch, machine: machine) == newestNumber(of: machine)
  }

  private func anyTombstone(_ origin: SQLiteCloudStore.Origin) throws -> Bool {
    try Bool.fetchOne(
      database, sql: "SELECT EXISTS (SELECT 1 FROM drover_tombstone WHERE machine_id = ? AND stream = ?)",
      arguments: [origin.machine.text, origin.stream.text])!
  }

  func retireTombstones(madeBefore moment: Int64) throws {
    try database.execute(
      sql: """
        DELETE FROM drover_tombstone
         WHERE made_at < ?
           AND (seq IS NULL
                OR NOT EXISTS (SELECT 1 FROM drover_epoch AS epoch
                                WHERE epoch.machine_id = drover_tombstone.machine_id AND epoch.number = drover_tombstone.epoch)
                OR seq <= (SELECT received.through_seq
                             FROM drover_received AS received JOIN drover_epoch AS epoch USING (machine_id, epoch)
                            WHERE received.machine_id = drover_tombstone.machine_id AND epoch.number = drover_tombstone.epoch
                              AND received.stream = drover_tombstone.stream AND received.after_seq = 0))
        """, arguments: [moment])
    store.cache.tombstones = [:]
    try retireEntries(goneBefore: moment)
    try store.feed.forgetDeletes(madeBefore: moment, database)
  }
}
