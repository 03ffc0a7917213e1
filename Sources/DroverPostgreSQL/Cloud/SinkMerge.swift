// Events of one frame into one sink table: sets where sets will do. Two events of one key are merged one after the other, in rounds. The core's
// `MergeRule` decides about the rows that the upsert does not take. Where rows can be complete, the stored ones are read first; the lock on the
// machine's stream keeps them as they were until the transaction ends.

import DroverCore

struct SinkMerge {
  let transaction: Transaction
  let sink: Sink
  let writer: SinkWriter
  /// A row that it holds of is never changed again.
  let completeWhen: Condition?
  /// The tables of the lines that the sink's events bring, and those that the newest schema knows besides.
  let lines: [LineMerge]
  let otherLines: [LineMerge]
  /// The number of the events' epoch.
  let epoch: Int64
  /// Both sides edit the rows.
  let isTwoWay: Bool

  private var connection: Connection { transaction.connection }
  private var rule: MergeRule { MergeRule(kind: sink.kind, completes: completeWhen != nil) }
  private var feed: ChangeFeed { transaction.feed }

  /// An event, made ready.
  struct Item {
    let event: SinkEvent
    let key: [Value]
    /// nil: a delete.
    let row: [Value]?
    var version: RowVersion
    var new: NewRow { NewRow(values: row!, version: event.version) }
  }

  /// Events that the tables can take, and what became of the others.
  struct Fitted {
    let items: [Item]
    let outcomes: [MergeOutcome?]
  }

  /// - Returns: nil when tables had to change first, and everything has to be looked up again.
  func fit(_ events: [SinkEvent]) throws -> Fitted? {
    let items = events.map(item)
    var outcomes = [MergeOutcome?](repeating: nil, count: events.count)
    guard
      case .done(let faults) = try Fitting.run(
        items.map(\.row), writer.columns, key: writer.key,
        tables: [writer.table] + transaction.twins(of: sink.stream, writer.table),
        transaction)
    else { return nil }
    for index in items.indices {
      if let fault = faults[index] ?? SinkColumn.fault(in: ArraySlice(events[index].localID.utf8)) {
        outcomes[index] = .refused(.store, detail: fault)
      } else if items[index].row == nil,
        case .refuse(let reason) = rule.decide(.init(.delete, items[index].version), stored: nil, tombstone: nil)
      {
        outcomes[index] = .refused(reason, events[index])
      }
    }
    for (number, line) in lines.enumerated() {
      guard let faults = try line.faults(events.map { $0.lines.isEmpty ? [] : $0.lines[number] }, transaction) else {
        return nil
      }
      for (index, fault) in faults.enumerated() where outcomes[index] == nil {
        outcomes[index] = fault.map { .refused(.store, detail: "a line in \(line.schema.table): \($0)") }
      }
    }
    return Fitted(items: items, outcomes: outcomes)
  }

  /// - Returns: one outcome each.
  func merge(_ fitted: Fitted) throws -> [MergeOutcome] {
    let items = fitted.items
    var outcomes = fitted.outcomes
    var refusals: [(position: Int, error: PostgreSQLError)] = []
    let open = outcomes.indices.filter { outcomes[$0] == nil }
    if isTwoWay {
      let rows = TwoWaySink(self, items: items)
      for (position, outcome) in zip(open, try rows.merge(open.map { items[$0].event })) {
        outcomes[position] = outcome
      }
      refusals = rows.refusals
    } else {
      for round in rounds(items, open) {
        try guarded(round, &outcomes, &refusals) { try merge($0.map { items[$0] }) }
      }
    }
    // Where none of them has passed, it may be the table that refuses puts, or deletes.
    for isDelete in [false, true] {
      let own = refusals.filter { (items[$0.position].row == nil) == isDelete }
      let passed = outcomes.indices.contains { (items[$0].row == nil) == isDelete && outcomes[$0] == .applied }
      guard let error = own.first?.error, !passed else { continue }
      for table in [writer.table] + lines.map(\.table) {
        let probe = SinkProbe(table: table, connection: connection)
        if let reach = try probe.refusesEverything(error, isDelete: isDelete, of: sink.machine) {
          throw error.asFault(reach)
        }
      }
    }
    return outcomes.map { $0! }
  }

  func item(_ event: SinkEvent) -> Item {
    var row: [Value]?
    switch event.content {
    case .none: break
    case .row(let values): row = writer.columns.indices.map { writer.columns[$0].affinity.converting(values[$0]) }
    case .json(let body): row = [.text(event.localID), event.at.map { .text($0) } ?? .null, .text(body)]
    }
    let key =
      row.map(writer.keyValues) ?? writer.converted(key: sink.schema == nil ? [.text(event.localID)] : event.key)
    return Item(event: event, key: key, row: row, version: RowVersion(epoch: epoch, version: event.version))
  }

  /// Positions of events such that no round has two of one key; units come one by one, because their lines may be each other's.
  private func rounds(_ items: [Item], _ positions: [Int]) -> [[Int]] {
    guard lines.isEmpty else { return positions.map { [$0] } }
    var rounds: [[Int]] = []
    var seen: [[Value]: Int] = [:]
    for position in positions {
      let round = seen[SinkWriter.identity(of: items[position].key), default: 0]
      seen[SinkWriter.identity(of: items[position].key)] = round + 1
      if round == rounds.count { rounds.append([]) }
      rounds[round].append(position)
    }
    return rounds
  }

  /// Merges a round. In a careful transaction what the database refuses is halved until it is one event.
  func guarded(
    _ round: [Int], _ outcomes: inout [MergeOutcome?], _ refusals: inout [(position: Int, error: PostgreSQLError)],
    _ merge: ([Int]) throws -> [MergeOutcome]
  ) throws {
    func take(_ positions: [Int]) throws {
      for (position, outcome) in zip(positions, try merge(positions)) { outcomes[position] = outcome }
    }
    guard transaction.isCareful else { return try take(round) }
    do {
      try transaction.atomically { try take(round) }
    } catch let error as PostgreSQLError where error.isAboutTheEvent {
      guard round.count > 1 else {
        outcomes[round[0]] = .refused(.store, detail: error.explanation)
        refusals.append((round[0], error))
        return
      }
      try guarded(Array(round[..<(round.count / 2)]), &outcomes, &refusals, merge)
      try guarded(Array(round[(round.count / 2)...]), &outcomes, &refusals, merge)
    }
  }

  /// - Parameter items: no two of one key.
  private func merge(_ items: [Item]) throws -> [MergeOutcome] {
    guard sink.kind != .payload else { return try insertOnce(items) }
    let known = try tombstones(items)
    var outcomes = [MergeOutcome](repeating: .superseded, count: items.count)
    let puts = items.indices.filter {
      items[$0].row != nil
        && rule.decide(.init(.put, items[$0].version), stored: nil, tombstone: known[$0]) == .write
    }
    let deletes = items.indices.filter { items[$0].row == nil }
    for (index, outcome) in zip(puts, try put(puts.map { items[$0] })) { outcomes[index] = outcome }
    for (index, outcome) in zip(deletes, try delete(deletes.map { items[$0] })) { outcomes[index] = outcome }
    try dropTombstones(puts.filter { known[$0] != nil && outcomes[$0] == .applied }.map { items[$0] })
    return outcomes
  }

  // MARK: Facts

  private func insertOnce(_ items: [Item]) throws -> [MergeOutcome] {
    let isNew = try writer.insert(items.map(\.new), machine: sink.machine, epoch: epoch, feed)
    let others = items.indices.filter { !isNew[$0] }
    let stored = try writer.find(others.map { items[$0].key }, machine: sink.machine, connection)
    var outcomes = [MergeOutcome](repeating: .applied, count: items.count)
    for (index, stored) in zip(others, stored) {
      guard let stored else { throw PostgreSQLError.silenced(writer.table, connection) }
      outcomes[index] = try settle(items[index], with: stored)
    }
    return outcomes
  }

  /// Compares an event with the row that is there, which never changes.
  private func settle(_ item: Item, with stored: StoredRow) throws -> MergeOutcome {
    let (agreement, comparison) = try compare(item, stored)
    switch (rule.decide(agreement), comparison) {
    case (.refuse(let reason), _): return .refused(reason, item.event)
    case (.fill, let comparison?):
      try writer.replace(comparison.filled, version: comparison.version, machine: sink.machine, feed)
      return .applied
    default: return .superseded
    }
  }

  /// - Returns: with the agreement what a row gets that the event fills.
  private func compare(_ item: Item, _ stored: StoredRow) throws -> (MergeRule.Agreement, LateComparison?) {
    guard try zip(lines, item.event.lines).allSatisfy({ try $0.holds($1, header: item.key, transaction) }) else {
      return (.differs, nil)
    }
    guard let schema = sink.schema else {
      // The body; when it happened is no part of what it says.
      return (stored.values[2] == item.row![2] ? .same : .differs, nil)
    }
    guard stored.values != item.row! else { return (.same, nil) }
    guard writer.mark != nil else { return (.differs, nil) }
    let late = LateSchemas(sink: sink, schema: schema, table: writer.table, connection: connection)
    let comparison = try LateComparison(
      (stored.values, stored.version), with: (item.row!, item.version), lacking: late.lacking(stored.mark),
      retyped: sink.kind == .payload ? late.retyped(stored.mark) : [], isConverted: LateSchemas.isConverted)
    return (comparison.agreement { _ in false }, comparison)
  }

  // MARK: States

  private func put(_ items: [Item]) throws -> [MergeOutcome] {
    guard completeWhen != nil || !lines.isEmpty else {
      return try writer.upsert(items.map(\.new), machine: sink.machine, epoch: epoch, feed)
        .map { $0 ? .applied : .superseded }
    }
    let stored = try writer.find(items.map(\.key), machine: sink.machine, connection)
    var outcomes = try zip(items, stored).map { try refusal($0, $1) }
    let open = items.indices.filter { outcomes[$0] == nil }
    let isWritten = try writer.upsert(open.map { items[$0].new }, machine: sink.machine, epoch: epoch, feed)
    for (index, isWritten) in zip(open, isWritten) {
      outcomes[index] = isWritten ? .applied : .superseded
      if isWritten { try replaceLines(items[index]) }
    }
    return outcomes.map { $0! }
  }

  /// What becomes of a put that is not written; nil for one that is.
  private func refusal(_ item: Item, _ stored: StoredRow?) throws -> MergeOutcome? {
    let standing = stored?.standing(writer.holds(completeWhen, of: stored!))
    switch (rule.decide(.init(.put, item.version), stored: standing, tombstone: nil), stored) {
    case (.write, _): break
    case (.compare, let stored?): return try settle(item, with: stored)
    default: return .superseded
    }
    for (line, rows) in zip(lines, item.event.lines) {
      if try line.frozenElsewhere(rows, header: item.key, version: item.version, transaction) {
        return .frozenLine(of: item.event, in: line.schema.table)
      }
    }
    return nil
  }

  private func replaceLines(_ item: Item) throws {
    for (line, rows) in zip(lines, item.event.lines) {
      try line.replace(rows, header: item.key, version: item.version, transaction)
    }
  }

  // MARK: Deletes

  private func delete(_ items: [Item]) throws -> [MergeOutcome] {
    guard !items.isEmpty else { return [] }
    let stored = try standing(of: items)
    let open = items.indices.filter {
      rule.decide(.init(.delete, items[$0].version), stored: stored[$0], tombstone: nil) == .remove
    }
    let present = open.filter { stored[$0] != nil }.map { items[$0] }
    try writer.delete(
      present.map(\.key), versions: present.map(\.event.version), machine: sink.machine, feed)
    for line in lines + otherLines {
      for index in open {
        try line.remove(header: items[index].key, olderThan: items[index].version, transaction)
      }
    }
    // The statement that leaves the tombstones compares them with the existing ones.
    let tombstoned = try insertTombstones(open.map { items[$0].event })
    var outcomes = [MergeOutcome](repeating: .superseded, count: items.count)
    for index in open where stored[index] != nil || tombstoned.contains(ExactText(items[index].event.localID)) {
      outcomes[index] = .applied
    }
    return outcomes
  }

  /// For each event the row that is there, as far as the rule has to know it.
  private func standing(of items: [Item]) throws -> [MergeRule.Stored?] {
    guard completeWhen != nil else {
      return try writer.versions(items.map(\.key), machine: sink.machine, connection).map {
        $0.map { MergeRule.Stored($0) }
      }
    }
    return try writer.find(items.map(\.key), machine: sink.machine, connection).map {
      $0.map { $0.standing(writer.holds(completeWhen, of: $0)) }
    }
  }

  // MARK: Tombstones

  private var origin: MachineStream { .init(machine: sink.machine, stream: sink.stream) }
  private var originParameters: [Parameter] { [.text(sink.machine.text), .text(sink.stream.text)] }

  /// For each event the epoch and version of its row's tombstone.
  func tombstones(_ items: [Item]) throws -> [RowVersion?] {
    if transaction.tombstones[origin] == nil {
      transaction.tombstones[origin] = try connection.query(
        "SELECT EXISTS (SELECT 1 FROM drover_tombstone WHERE machine_id = $1 AND stream = $2)", originParameters
      ).boolean(0, 0)
    }
    guard transaction.tombstones[origin]! else { return items.map { _ in nil } }
    let rows = try connection.query(
      """
      SELECT known.local_id, known.epoch, known.version
        FROM \(GivenRows.entries()) JOIN drover_tombstone AS known ON \(GivenRows.isEntry(of: "known"))
      """,
      originParameters + [.texts(items.map(\.event.localID))])
    var found: [ExactText: RowVersion] = [:]
    for row in 0..<rows.count {
      found[ExactText(rows.text(row, 0))] = RowVersion(epoch: rows.integer(row, 1), version: rows.integer(row, 2))
    }
    return items.map { found[ExactText($0.event.localID)] }
  }

  func dropTombstones(_ items: [Item]) throws {
    guard !items.isEmpty else { return }
    try connection.query(
      "DELETE FROM drover_tombstone AS known USING \(GivenRows.entries()) WHERE \(GivenRows.isEntry(of: "known"))",
      originParameters + [.texts(items.map(\.event.localID))])
  }

  /// - Returns: the local IDs whose tombstone is this event's now.
  @discardableResult
  func insertTombstones(_ events: [SinkEvent], whateverIsThere: Bool = false) throws -> Set<ExactText> {
    guard !events.isEmpty else { return [] }
    transaction.tombstones[origin] = true
    let rows = try connection.query(
      """
      INSERT INTO drover_tombstone AS stored (machine_id, stream, local_id, epoch, version, seq, made_at)
      SELECT $1, $2, local_id, $3, version, nullif(seq, -1), $4
        FROM unnest($5::text[], $6::bigint[], $7::bigint[]) AS given (local_id, version, seq) ORDER BY local_id
      ON CONFLICT (machine_id, stream, local_id) DO UPDATE
         SET epoch = excluded.epoch, version = excluded.version, seq = excluded.seq, made_at = excluded.made_at
       WHERE \(whateverIsThere ? "true" : "(excluded.epoch, excluded.version) > (stored.epoch, stored.version)")
      RETURNING local_id
      """,
      originParameters + [
        .integer(epoch), .integer(transaction.store.now()), .texts(events.map(\.localID)),
        .integers(events.map(\.version)), .integers(events.map { $0.seq ?? -1 }),
      ])
    return Set((0..<rows.count).map { ExactText(rows.text($0, 0)) })
  }
}

/// Under which schemas the rows of a table were written, and what those lacked: docs/protocol.md, "Schemas".
struct LateSchemas {
  let sink: Sink
  let schema: StreamSchema
  let table: SinkTable
  let connection: Connection

  func lacking(_ mark: String) throws -> Set<Int> {
    // Rows from before the marks have the columns that stood in the table before that one.
    if mark.isEmpty {
      return schema.positions(lacking: Set(table.shape.names.prefix { $0 != SQLName(TableShape.schemaColumn) }))
    }
    return schema.positions(lacking: Set(try columns("schema_id = $3", mark).map { SQLName($0.name) }))
  }

  /// Rows from before the marks may have been written under any schema of the machine's.
  func retyped(_ mark: String) throws -> Set<Int> {
    schema.positions(
      retypedSince: try mark.isEmpty ? columns("schema_id <> $3", schema.id.text) : columns("schema_id = $3", mark))
  }

  private func columns(_ condition: String, _ id: String) throws -> [Column] {
    let rows = try connection.query(
      "SELECT name, declared_type FROM drover_schema_column WHERE machine_id = $1 AND stream = $2 AND \(condition)",
      [.text(sink.machine.text), .text(sink.stream.text), .text(id)])
    return (0..<rows.count).map { Column(name: rows.text($0, 0), declaredType: rows.text($0, 1).unescaped) }
  }

  /// Whether the new value is what its type makes of the old one, as '5' of 5.
  static func isConverted(_ old: Value, _ new: Value) -> Bool {
    switch new {
    case .text: Affinity.text.converting(old) == new
    case .integer, .real: Affinity.real.converting(Affinity.numeric.converting(old)) == Affinity.real.converting(new)
    case .null, .blob: false
    }
  }
}
