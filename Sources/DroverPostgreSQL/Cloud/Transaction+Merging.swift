// Events of one machine's stream into its sink.

import DroverCore

extension Transaction {
  func merge(_ events: [SinkEvent], epoch: Epoch?, into sink: Sink) throws -> [MergeOutcome] {
    let outcomes = try onSink(sink.stream) { try mergeRows(events, epoch: epoch, into: sink) }
    if sink.kind != .payload {
      try boundTombstones(TombstoneUse(events, outcomes, stream: sink.stream), of: sink.machine)
    }
    return outcomes
  }

  private func mergeRows(_ events: [SinkEvent], epoch: Epoch?, into sink: Sink) throws -> [MergeOutcome] {
    if let schema = sink.schema, sink.kind == .payload, !schema.tellsLives,
      try table(of: sink.stream)?.shape.tellsLives == true
    {
      var wide = sink
      wide.schema = schema.tellingLives()
      return try mergeRows(events.map { $0.tellingLives() }, epoch: epoch, into: wide)
    }
    let number = try number(of: epoch, machine: sink.machine)
    let isDescribed = try epoch != nil && isDescribed(sink)
    try lock(Locks.events(of: sink.machine, sink.stream))
    let origin = MachineStream(machine: sink.machine, stream: sink.stream)
    while true {
      if let reason = try prepare(sink, isBare: epoch == nil) {
        // The table could follow the schema when the schema came, so another program has changed it since.
        if isDescribed { throw PostgreSQLError.tableChanged(sink.stream, reason, connection) }
        return events.map { _ in .refused(.schema, detail: reason) }
      }
      if sink.schema == nil, epoch != nil { try settleBodies(of: sink.stream) }
      if let table = try table(of: sink.stream), table.isTwoWay {
        try markWriter(of: table)
        try settleCapture(of: table, sink.stream)
        _ = try takeEdits(of: origin, limit: .max)
      }
      let rule = try rule(for: sink, epoch: number)
      guard let fitted = try rule.fit(events) else { continue }
      guard let key = try naturalKey(of: sink.stream) else { return try rule.merge(fitted) }
      // Things belong to all machines.
      try lock(Locks.name("things", SQLName(sink.stream.text).text))
      return try NaturalKeys(self, sink.stream, key).merge(events, machine: sink.machine) { event in
        try rule.merge(rule.fit([event])!)[0]
      }
    }
  }

  func rule(for sink: Sink, epoch: Int64) throws -> SinkMerge {
    let latest = try latestSchema(machine: sink.machine, stream: sink.stream) ?? sink.schema
    let writer = try writer(for: sink, completeWhen: latest?.completeWhen)
    func lines(_ schemas: [LineSchema]) throws -> [LineMerge] {
      try schemas.map {
        try LineMerge(
          $0, table: need($0.table), header: writer, machine: sink.machine, completeWhen: latest?.completeWhen)
      }
    }
    let own = sink.schema?.lines ?? []
    let others = (latest?.lines ?? []).filter { line in !own.contains { $0.table == line.table } }
    return try SinkMerge(
      transaction: self, sink: sink, writer: writer, completeWhen: latest?.completeWhen, lines: lines(own),
      otherLines: lines(others), epoch: epoch,
      isTwoWay: latest?.flow.direction.goesDown ?? false && writer.table.isTwoWay)
  }

  /// Sees to the sink's tables. Returns why that cannot be.
  private func prepare(_ sink: Sink, isBare: Bool) throws -> String? {
    guard store.knowledge.writers[sink] == nil else { return nil }
    let pins = store.limits.pins
    let pinned =
      sink.schema.map { pins.refusal(of: $0, sink.stream, sink.machine) }
      ?? pins.refusal(ofBodies: sink.kind, sink.stream, sink.machine)
    if let pinned { return pinned }
    guard try !isPrepared(sink) else { return nil }
    try lock(Locks.name("sink", SQLName(sink.stream.text).text))
    let isChanged = try isDescribed(sink) && lacks(sink)
    let obstacle = try shapeSink(SinkWish(sink.stream, sink.kind, sink.schema, sink.machine, isBare: isBare))
    if let obstacle { return obstacle.reason }
    // The rows that are there have no values in what has come back.
    if isChanged { try reopenGaps(of: sink.stream) }
    // What was not described declares nothing.
    if let latest = try latestSchema(machine: sink.machine, stream: sink.stream) {
      try settle(latest, machine: sink.machine, stream: sink.stream)
    }
    return nil
  }

  /// Whether the sink's tables were made to fit its schema before.
  private func isDescribed(_ sink: Sink) throws -> Bool {
    try sink.schema.map { try schema($0.id, machine: sink.machine, stream: sink.stream) != nil } ?? false
  }

  /// Whether a table or a column is not there.
  private func lacks(_ sink: Sink) throws -> Bool {
    guard let schema = sink.schema else { return false }
    return try ([(sink.stream, schema)] + schema.lines.map { ($0.table, $0.rows) }).contains { stream, rows in
      try table(of: stream)?.shape.lacking(rows).isEmpty != true
    }
  }

  /// Whether the sink's tables have been made as they have to be. Looked at without a lock, for all machines of all consumers wait for that one; if
  /// a person changes them now, a statement fails and the transaction runs again.
  private func isPrepared(_ sink: Sink) throws -> Bool {
    let form = SinkForm(kind: sink.kind, isTable: sink.schema != nil, header: nil)
    guard let table = try table(of: sink.stream), table.form.refusal(of: form, sink.stream) == nil else { return false }
    guard let schema = sink.schema else { return true }
    // With its description the tables were made to fit.
    guard try self.schema(schema.id, machine: sink.machine, stream: sink.stream) != nil else { return false }
    // What the operator has pinned since may match rows that were not matched.
    if let pinned = store.limits.pins[sink.stream]?.naturalKey {
      guard try naturalKey(of: sink.stream)?.isSame(as: pinned) == true else { return false }
    }
    let header = SQLName(sink.stream.text)
    return try table.shape.lacking(schema).isEmpty && !table.shape.needsLives(for: schema)
      && schema.lines.allSatisfy { line in
        guard let table = try self.table(of: line.table) else { return false }
        return table.form.header == header && table.shape.lacking(line.rows).isEmpty
      }
  }

  /// By what the rows of a stream are matched; nil where they are not.
  func naturalKey(of stream: StreamName) throws -> NaturalKey? {
    let name = SQLName(stream.text)
    if let known = store.knowledge.naturalKeys[name] { return known }
    let key = try MatchedSink(self, stream).key()
    store.knowledge.naturalKeys[name] = .some(key)
    return key
  }

  func writer(for sink: Sink, completeWhen: Condition?) throws -> SinkWriter {
    if let writer = store.knowledge.writers[sink] { return writer }
    let table = try MatchedSink(self, sink.stream).heldTable() ?? need(sink.stream)
    let isMarked = sink.kind != .snapshot && table.shape.isMarked
    let writer = try SinkWriter(
      table, names: sink.schema.map { $0.columns.map { SQLName($0.name) } } ?? table.columns.map(\.name),
      key: sink.schema?.key ?? [0], mark: isMarked ? sink.schema?.id : nil, condition: completeWhen)
    store.knowledge.writers[sink] = writer
    return writer
  }

  /// The table of a stream, which was there a moment ago.
  private func need(_ stream: StreamName) throws -> SinkTable {
    if let table = try table(of: stream) { return table }
    throw PostgreSQLError.tableChanged(stream, "nothing is noted of it any more", connection)
  }

  /// Tables that have a table's columns too: of a sink whose rows are matched there are two.
  func twins(of stream: StreamName, _ table: SinkTable) throws -> [SinkTable] {
    guard let held = try MatchedSink(self, stream).heldTable(), held.name == table.name else { return [] }
    return [try need(stream)]
  }
}
