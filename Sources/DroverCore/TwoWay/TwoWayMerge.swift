// Merges a machine's events into the rows of a two-way stream. `TwoWayRule` decides; this does what it says through a store's `TwoWayRows`, the same
// way for every store.

/// A row as the cloud has it, with what is known of it.
package struct TwoWayRow: Equatable, Sendable {
  package var known: TwoWayRule.Known
  /// The values in the order of the schema's columns; nil where no row is there.
  package var values: [Value]?
  /// The cloud has decided about the row before, so that it has an entry of its own.
  package var hasMark: Bool

  package init(known: TwoWayRule.Known, values: [Value]? = nil, hasMark: Bool = false) {
    self.known = known
    self.values = values
    self.hasMark = hasMark
  }
}

/// What the cloud keeps of a row that it has decided about.
package struct RowMark: Equatable, Sendable {
  package var edge: RowVersion?
  package var cloud: Int64
  /// The newest own edit of the machine that the cloud's decision has seen.
  package var decided: RowVersion?
  /// The content is the cloud's own.
  package var isCloudContent: Bool
  /// The row gets the next number, so that it goes down.
  package var goesDown: Bool

  /// A decision of the cloud.
  /// - Parameter edge: what the decision has seen of the machine's edits.
  package init(edge: RowVersion?, cloud: Int64, isCloudContent: Bool) {
    self.init(edge: edge, cloud: cloud, decided: edge, isCloudContent: isCloudContent, goesDown: true)
  }

  package init(
    edge: RowVersion?, cloud: Int64, decided: RowVersion?, isCloudContent: Bool, goesDown: Bool
  ) {
    self.edge = edge
    self.cloud = cloud
    self.decided = decided
    self.isCloudContent = isCloudContent
    self.goesDown = goesDown
  }
}

/// Why one of two edits lost.
package enum ConflictReason: String, CaseIterable, Sendable {
  /// Both sides edited the row.
  case edit
  /// One side deleted the row that the other edited.
  case delete
  /// Both sides made a new row under one key.
  case key
}

/// A conflict that was decided, with the value that lost.
package struct LostEdit: Equatable, Sendable {
  package var reason: ConflictReason
  /// Whose edit lost.
  package var loser: TwoWayRule.Side
  /// nil: a delete.
  package var value: [Value]?
  /// The version of the edit that lost.
  package var version: Int64
  /// The version of the result.
  package var result: Int64

  package init(reason: ConflictReason, loser: TwoWayRule.Side, value: [Value]?, version: Int64, result: Int64) {
    self.reason = reason
    self.loser = loser
    self.value = value
    self.version = version
    self.result = result
  }
}

/// The rows of one machine's stream in a store, within a transaction. A row stays as `find` has shown it until the transaction ends.
package protocol TwoWayRows {
  /// No two events are of one row.
  func find(_ events: [SinkEvent]) throws -> [TwoWayRow]
  /// Whether a row that is there has the event's content, by the types of its columns.
  func holds(_ row: TwoWayRow, _ event: SinkEvent) throws -> Bool
  /// Writes the events' rows, or removes them, as `put` and `remove` do: together, where the store can.
  /// - Returns: one outcome each.
  func write(_ events: [SinkEvent], epoch: Int64) throws -> [MergeOutcome]
  /// Writes the event's row, whatever is there.
  func put(_ event: SinkEvent, version: RowVersion) throws -> MergeOutcome
  /// Removes the row, and leaves a tombstone.
  func remove(_ event: SinkEvent, version: RowVersion) throws -> MergeOutcome
  /// Gives the row that is there another version.
  func stamp(_ event: SinkEvent, version: Int64) throws
  func note(_ mark: RowMark, of event: SinkEvent) throws

  // With `merge: columns` alone.

  /// The event's row as the columns of the sink table hold it; nil for a delete.
  func values(of event: SinkEvent) -> [Value]?
  /// What the machine had of the event's row when it held a decision of the cloud's; nil where that is not known any more.
  func base(of event: SinkEvent, held: Int64) throws -> RowBase?
  /// Keeps what the machine has of the event's row while it holds a decision of the cloud's; nil: it has none.
  func keep(_ base: RowBase?, of event: SinkEvent, held: Int64) throws
  /// The machine has seen everything: no base of the event's row is needed.
  func dropBases(of event: SinkEvent) throws

  func list(_ lost: LostEdit, of event: SinkEvent) throws
}

extension TwoWayRows {
  package func write(_ events: [SinkEvent], epoch: Int64) throws -> [MergeOutcome] {
    try events.map { event in
      let version = RowVersion(epoch: epoch, version: event.version)
      return event.content == .none ? try remove(event, version: version) : try put(event, version: version)
    }
  }
}

package struct TwoWayMerge<Rows: TwoWayRows> {
  private let rows: Rows
  private let schema: StreamSchema
  private let history: EpochHistory
  private let since: Int64
  private let lost: LostDecisions
  private let now: Int64

  /// - Parameters:
  ///   - history: of the epoch in which the events came.
  ///   - since: the version at which the machine's bookkeeping of the stream began.
  ///   - lost: decisions of a future that the store has lost.
  ///   - now: microseconds since 1970.
  package init(
    _ rows: Rows, schema: StreamSchema, history: EpochHistory, since: Int64, lost: LostDecisions = LostDecisions(),
    now: Int64
  ) {
    self.lost = lost
    self.rows = rows
    self.schema = schema
    self.history = history
    self.since = since
    self.now = now
  }

  /// A machine continues from an earlier state: a row whose newest own edit it has lost goes down, also if the machine does not mention it.
  /// - Parameter event: names the row.
  package func flowBack(_ event: SinkEvent, _ row: TwoWayRow) throws {
    guard row.known.isThere, let edge = row.known.edge, !history.hasSeen(edge) else { return }
    try answer(event, row, base: row.known.cloud, edge: edge)
  }

  /// - Returns: one outcome each.
  package func merge(_ events: [SinkEvent]) throws -> [MergeOutcome] {
    var outcomes = [MergeOutcome](repeating: .superseded, count: events.count)
    for round in Self.rounds(events) {
      let found = try rows.find(round.map { events[$0] })
      var taken: [Taking] = []
      for (index, row) in zip(round, found) {
        let (ancestry, decision) = decide(events[index], row)
        if decision == .take, try !isThere(events[index], ancestry, row) {
          taken.append(Taking(index: index, ancestry: ancestry, row: row))
        } else {
          outcomes[index] = try merge(events[index], row, ancestry, decision)
        }
      }
      guard !taken.isEmpty else { continue }
      for (taking, outcome) in zip(taken, try rows.write(taken.map { events[$0.index] }, epoch: epoch)) {
        try finish(events[taking.index], taking, outcome)
        outcomes[taking.index] = outcome
      }
    }
    return outcomes
  }

  /// An event that becomes the stored state.
  private struct Taking {
    let index: Int
    let ancestry: Ancestry
    let row: TwoWayRow
  }

  /// Positions of events such that no round has two of one row.
  private static func rounds(_ events: [SinkEvent]) -> [[Int]] {
    var rounds: [[Int]] = []
    var seen: [ExactText: Int] = [:]
    for (index, event) in events.enumerated() {
      let round = seen[ExactText(event.localID), default: 0]
      seen[ExactText(event.localID)] = round + 1
      if round == rounds.count { rounds.append([]) }
      rounds[round].append(index)
    }
    return rounds
  }

  private func decide(_ event: SinkEvent, _ row: TwoWayRow) -> (Ancestry, TwoWayRule.Decision) {
    let known = row.known
    // A client that knows no ancestry edits what is there.
    let ancestry = event.ancestry ?? Ancestry(base: known.cloud)
    let arrival = TwoWayRule.Arrival(
      event.content == .none ? .delete : .put, version: event.version, base: ancestry.base, isAgain: ancestry.isAgain)
    let decision = TwoWayRule.decide(
      arrival, known: known, history: history, since: since, lost: lost, isKeyNatural: schema.flow.isKeyNatural)
    return (ancestry, decision)
  }

  private func merge(
    _ event: SinkEvent, _ row: TwoWayRow, _ ancestry: Ancestry, _ decision: TwoWayRule.Decision
  ) throws -> MergeOutcome {
    switch decision {
    case .ignore: return .superseded
    case .take:
      // The content is there already: only what is known of it changes.
      try noteTaken(event, ancestry, row)
      return .superseded
    case .answer:
      try answer(event, row, base: ancestry.base, edge: row.known.edge)
      return .superseded
    case .conflict: return try settle(event, ancestry, row)
    case .collision where try isSame(event, row): return try settle(event, ancestry, row)
    case .collision: return try decide(.machine, event, row, base: ancestry.base, because: .key)
    case .frozen:
      let outcome = try isSame(event, row) ? .superseded : MergeOutcome.refused(.frozen, event)
      try answerSkipped(event, row, base: ancestry.base)
      return outcome
    }
  }

  private var epoch: Int64 { history.epoch }

  private func edge(_ event: SinkEvent) -> RowVersion { RowVersion(epoch: epoch, version: event.version) }

  private func isSame(_ event: SinkEvent, _ row: TwoWayRow) throws -> Bool {
    guard row.known.isThere else { return event.content == .none }
    return try event.content != .none && rows.holds(row, event)
  }

  /// Whether a row that is sent again is there with this content.
  private func isThere(_ event: SinkEvent, _ ancestry: Ancestry, _ row: TwoWayRow) throws -> Bool {
    guard ancestry.isAgain, row.known.edge != nil || row.known.isThere else { return false }
    return try isSame(event, row)
  }

  private func finish(_ event: SinkEvent, _ taking: Taking, _ outcome: MergeOutcome) throws {
    switch outcome {
    case .applied: try noteTaken(event, taking.ancestry, taking.row)
    case .superseded: break
    case .refused: try answerSkipped(event, taking.row, base: taking.ancestry.base)
    }
  }

  private func noteTaken(_ event: SinkEvent, _ ancestry: Ancestry, _ row: TwoWayRow) throws {
    // A decision that the store has lost and hears of again gets a number: if the machine is restored too, to before it had the decision, it goes down.
    let mark = RowMark(
      edge: edge(event), cloud: max(row.known.cloud, ancestry.base), decided: row.known.decided, isCloudContent: false,
      goesDown: ancestry.base > row.known.cloud)
    guard row.hasMark || mark.cloud > 0 else { return }
    try rows.note(mark, of: event)
    if mergesColumns { try rows.dropBases(of: event) }
  }

  private func write(_ event: SinkEvent, _ version: RowVersion) throws -> MergeOutcome {
    event.content == .none ? try rows.remove(event, version: version) : try rows.put(event, version: version)
  }

  /// The machine lacks what the cloud has. Its row may have the same cloud version as the stored one, and then it takes only a higher one.
  private func answer(_ event: SinkEvent, _ row: TwoWayRow, base: Int64, edge: RowVersion?) throws {
    var cloud = row.known.cloud
    if base >= cloud || cloud == 0 {
      cloud = TwoWayRule.decisionVersion(now: now, known: row.known, event: max(base, event.version))
      if row.known.isThere { try rows.stamp(event, version: cloud) }
    }
    try rows.note(RowMark(edge: edge, cloud: cloud, isCloudContent: row.known.isCloudContent), of: event)
  }

  /// The machine has skipped what was on its way down because of an edit that is refused now: it goes down again.
  private func answerSkipped(_ event: SinkEvent, _ row: TwoWayRow, base: Int64) throws {
    guard base < row.known.cloud else { return }
    try answer(event, row, base: base, edge: edge(event))
  }

  private func settle(_ event: SinkEvent, _ ancestry: Ancestry, _ row: TwoWayRow) throws -> MergeOutcome {
    if try isSame(event, row) {
      let cloud = TwoWayRule.decisionVersion(now: now, known: row.known, event: event.version)
      if row.known.isThere { try rows.stamp(event, version: cloud) }
      try rows.note(RowMark(edge: edge(event), cloud: cloud, isCloudContent: false), of: event)
      try keepBase(event, ancestry)
      return .superseded
    }
    let newer = schema.flow.newer.flatMap { name in
      schema.columns.firstIndex { SQLName($0.name) == SQLName(name) }
    }
    let machine = TwoWayRule.Contender(
      isThere: event.content != .none, newer: newer.flatMap { event.values?[$0] }, version: event.version)
    let cloud = TwoWayRule.Contender(
      isThere: row.known.isThere, newer: newer.flatMap { row.values?[$0] },
      version: max(row.known.cloud, row.known.edge?.version ?? 0))
    let reason: ConflictReason =
      machine.isThere != cloud.isThere
      ? .delete : row.known.edge == nil && ancestry.base == 0 ? .key : .edit
    let winner = TwoWayRule.winner(machine: machine, cloud: cloud)
    let outcome =
      if let merged = try mergeColumns(event, ancestry, row, newer: newer, winner: winner) {
        try unite(merged, event, row, base: ancestry.base, loser: winner.other)
      } else {
        try decide(winner, event, row, base: ancestry.base, because: reason)
      }
    if outcome.isTaken { try keepBase(event, ancestry) }
    return outcome
  }

  /// The result gets a new cloud version and goes down, whichever side wins.
  private func decide(
    _ winner: TwoWayRule.Side, _ event: SinkEvent, _ row: TwoWayRow, base: Int64, because reason: ConflictReason
  ) throws -> MergeOutcome {
    let isMachines = winner == .machine
    return try decide(
      Result(written: isMachines ? event : nil, isCloudContent: !isMachines), event, row, base: base,
      lost: (reason, winner.other, isMachines ? row.values : event.values))
  }

  /// What a conflict comes to.
  private struct Result {
    /// The event whose row is written; nil where the stored row stays.
    let written: SinkEvent?
    let isCloudContent: Bool
  }

  private func decide(
    _ result: Result, _ event: SinkEvent, _ row: TwoWayRow, base: Int64,
    lost: (reason: ConflictReason, loser: TwoWayRule.Side, value: [Value]?)?
  ) throws -> MergeOutcome {
    let version = TwoWayRule.decisionVersion(now: now, known: row.known, event: max(base, event.version))
    var outcome = MergeOutcome.superseded
    if let written = result.written {
      outcome = try write(written, RowVersion(epoch: epoch, version: version))
      if case .refused = outcome {
        try answer(event, row, base: base, edge: edge(event))
        return outcome
      }
    } else if row.known.isThere {
      try rows.stamp(event, version: version)
    }
    try rows.note(RowMark(edge: edge(event), cloud: version, isCloudContent: result.isCloudContent), of: event)
    guard let lost else { return outcome }
    try rows.list(
      LostEdit(
        reason: lost.reason, loser: lost.loser, value: lost.value,
        version: lost.loser == .cloud ? max(row.known.cloud, row.known.edge?.version ?? 0) : event.version,
        result: version),
      of: event)
    return outcome
  }

  // MARK: Column by column

  private var mergesColumns: Bool { schema.flow.merge == .columns }

  /// nil where the rows are not merged by columns, or where it is not known what the machine had.
  private func mergeColumns(
    _ event: SinkEvent, _ ancestry: Ancestry, _ row: TwoWayRow, newer: Int?, winner: TwoWayRule.Side
  ) throws -> ColumnMerge? {
    guard mergesColumns, let cloud = row.values, let machine = rows.values(of: event),
      let base = try rows.base(of: event, held: ancestry.base), base.edge == row.known.edge,
      base.edge.map(history.hasSeen) ?? true
    else { return nil }
    return ColumnMerge(machine: machine, cloud: cloud, base: base.values, newer: newer, winner: winner)
  }

  private func unite(
    _ merged: ColumnMerge, _ event: SinkEvent, _ row: TwoWayRow, base: Int64, loser: TwoWayRule.Side
  ) throws -> MergeOutcome {
    var written: SinkEvent?
    if merged.values != row.values {
      written = event
      written?.content = .row(Values(merged.values))
    }
    return try decide(
      Result(written: written, isCloudContent: merged.values != rows.values(of: event)), event, row, base: base,
      lost: merged.lost.map { (.edit, loser, $0) })
  }

  /// The machine's next edit may be made on what this one left, before it hears of the result.
  private func keepBase(_ event: SinkEvent, _ ancestry: Ancestry) throws {
    guard mergesColumns else { return }
    let base = rows.values(of: event).map { RowBase(values: $0, edge: edge(event)) }
    try rows.keep(base, of: event, held: ancestry.base)
  }
}

extension MergeOutcome {
  fileprivate var isTaken: Bool { if case .refused = self { false } else { true } }
}

extension SinkEvent {
  /// The row's values; nil for a delete.
  fileprivate var values: [Value]? {
    if case .row(let row) = content { Array(row) } else { nil }
  }
}
