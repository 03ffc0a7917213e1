// Events find their sink table; epochs find their place among a machine's; tombstones are retired.

import DroverCore
import GRDB

extension Transaction {
  func merge(_ events: [SinkEvent], epoch: Epoch?, into sink: Sink) throws -> [MergeOutcome] {
    if let schema = sink.schema, sink.kind == .payload, !schema.tellsLives, try tellsLives(sink.stream) {
      var wide = sink
      wide.schema = schema.tellingLives()
      return try self.merge(events.map { $0.tellingLives() }, epoch: epoch, into: wide)
    }
    let table: SinkTable
    if let known = store.table(of: sink) {
      table = known
    } else {
      if let reason = try shapeSink(stream: sink.stream, kind: sink.kind, schema: sink.schema, machine: sink.machine) {
        return events.map { _ in .refused(.schema, detail: reason) }
      }
      table = try self.table(of: sink)
    }
    table.serve(sink.machine)
    let origin = SQLiteCloudStore.Origin(machine: sink.machine, stream: sink.stream)
    var hasTombstones = try store.cache.tombstones[origin] ?? anyTombstone(origin)
    let now = store.now()
    let number = try number(of: epoch, machine: sink.machine)
    defer { store.cache.tombstones[origin] = hasTombstones }
    func merge(_ event: SinkEvent) throws -> MergeOutcome {
      try table.merge(event, epoch: number, now: now, hasTombstones: &hasTombstones)
    }
    return try store.cache.naturalKeys[sink.stream]?.merge(events, machine: sink.machine, merge) ?? events.map(merge)
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
  private func table(of sink: Sink) throws -> SinkTable {
    let latest = try latestSchema(machine: sink.machine, stream: sink.stream) ?? sink.schema
    if let latest { try settle(latest, machine: sink.machine, stream: sink.stream) }
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

  /// The highest number among a machine's epochs; 0 where none is known.
  private func newestNumber(of machine: MachineID) throws -> Int64 {
    if let number = store.cache.newestEpochs[machine] { return number }
    let number = try Int64.fetchOne(
      database, sql: "SELECT ifnull(max(number), 0) FROM drover_epoch WHERE machine_id = ?", arguments: [machine.text])!
    store.cache.newestEpochs[machine] = number
    return number
  }

  /// The place of an epoch among a machine's; an epoch that was never heard of is the newest. nil: the newest that is known.
  func number(of epoch: Epoch?, machine: MachineID) throws -> Int64 {
    guard let epoch else { return try newestNumber(of: machine) }
    let key = SQLiteCloudStore.EpochKey(machine: machine, epoch: epoch)
    if let number = store.cache.epochs[key] { return number }
    try database.execute(
      sql: """
        INSERT INTO drover_epoch (machine_id, epoch, number, first_heard)
        SELECT ?1, ?2, ifnull(max(number), 0) + 1, ?3 FROM drover_epoch WHERE machine_id = ?1 AND true
        ON CONFLICT (machine_id, epoch) DO NOTHING
        """, arguments: [machine.text, epoch.text, store.now()])
    let number = try Int64.fetchOne(
      database, sql: "SELECT number FROM drover_epoch WHERE machine_id = ? AND epoch = ?",
      arguments: [machine.text, epoch.text])!
    store.cache.epochs[key] = number
    store.cache.newestEpochs[machine] = nil
    return number
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
                OR seq <= (SELECT received.through_seq
                             FROM drover_received AS received JOIN drover_epoch AS epoch USING (machine_id, epoch)
                            WHERE received.machine_id = drover_tombstone.machine_id AND epoch.number = drover_tombstone.epoch
                              AND received.stream = drover_tombstone.stream AND received.after_seq = 0))
        """, arguments: [moment])
    store.cache.tombstones = [:]
    try store.feed.forgetDeletes(madeBefore: moment, database)
  }
}
