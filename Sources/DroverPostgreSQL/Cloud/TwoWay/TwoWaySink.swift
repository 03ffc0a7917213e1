// The rows of one machine's two-way stream, as `TwoWayMerge` asks for them. What it says about bookkeeping is kept until its round is over and written
// then, together.

import DroverCore

final class TwoWaySink: TwoWayRows {
  private let sink: SinkMerge
  private var transaction: Transaction { sink.transaction }
  private var writer: SinkWriter { sink.writer }
  private var machine: MachineID { sink.sink.machine }
  private let origin: MachineStream
  /// Of each event of the call what was made ready of it, by local ID and version.
  private let items: [SinkMerge.Item]
  /// What the database has refused.
  private(set) var refusals: [(position: Int, error: PostgreSQLError)] = []
  /// Rows that are there, of those that were looked at last, and those that have a tombstone.
  private var present: Set<ExactText> = []
  private var withTombstone: Set<ExactText> = []
  private var stamps: [(key: [Value], version: Int64)] = []
  private var marks: [RowBook.Entry] = []
  private let book: RowBook

  init(_ sink: SinkMerge, items: [SinkMerge.Item]) {
    self.sink = sink
    self.items = items
    origin = MachineStream(machine: sink.sink.machine, stream: sink.sink.stream)
    book = RowBook(sink.transaction, origin.machine, origin.stream)
  }

  func merge(_ events: [SinkEvent]) throws -> [MergeOutcome] {
    let flow = try transaction.flow(of: origin)
    guard flow.direction == .both else { return try events.map { try refuse($0, flow) } }
    let outcomes = try rules().merge(events)
    try flush()
    return outcomes
  }

  private func rules() throws -> TwoWayMerge<TwoWaySink> {
    TwoWayMerge(
      self, schema: sink.sink.schema!, history: try transaction.history(of: sink.epoch, machine: machine),
      since: try transaction.since(origin), lost: try transaction.lostDecisions(), now: transaction.store.now())
  }

  /// Rows whose newest own edit the machine has lost go down.
  /// - Parameter events: name the rows.
  func flowBack(_ events: [SinkEvent]) throws {
    let rules = try rules()
    for (event, row) in zip(events, try find(events)) { try rules.flowBack(event, row) }
    try flush()
  }

  /// An edit at the edge of what the cloud alone edits: the stored row goes down again.
  private func refuse(_ event: SinkEvent, _ flow: Flow) throws -> MergeOutcome {
    let owner = flow.owner(of: machine)
    try transaction.lock(Locks.events(of: owner, origin.stream))
    let entries = RowBook(transaction, owner, origin.stream)
    let item = sink.item(event)
    let stored = try writer.find([item.key], machine: owner, transaction.connection)[0]
    if let stored, stored.values == item.row { return .superseded }
    if stored == nil, event.content == .none { return .superseded }
    let known = try entries.marks(of: [event.localID])[ExactText(event.localID)]
    // A row that the cloud does not have goes down as a delete. Of a row for all machines the others hear it too, and do nothing.
    let cloud = TwoWayRule.decisionVersion(
      now: transaction.store.now(), known: TwoWayRule.Known(edge: known?.edge, cloud: known?.cloud ?? 0),
      event: event.version)
    let edge = owner == machine ? RowVersion(epoch: sink.epoch, version: event.version) : nil
    try entries.note([
      RowBook.Entry(
        localID: event.localID, mark: RowMark(edge: edge, cloud: cloud, isCloudContent: true), isGone: stored == nil)
    ])
    return .refused(
      .conflict, detail: "the rows of stream \(origin.stream) come from the cloud; edit row \(event.localID) there")
  }

  /// Writes what has been said since the last look.
  private func flush() throws {
    try writer.stamp(stamps.map(\.key), versions: stamps.map(\.version), machine: machine, transaction.feed)
    stamps = []
    try book.note(marks)
    marks = []
  }

  // MARK: Looking

  /// A row that is there is locked, so that it stays as it is until the commit. An edit that was committed between the last taking of edits and the
  /// lock is taken, and the rows are looked at again.
  func find(_ events: [SinkEvent]) throws -> [TwoWayRow] {
    try flush()
    let keys = events.map { sink.item($0).key }
    let ids = events.map(\.localID)
    var stored: [StoredRow?]
    repeat {
      stored = try writer.lock(keys, machine: machine, transaction.connection)
    } while try transaction.takeEdits(of: origin, limit: .max).ids.contains(
      where: Set(ids.map(ExactText.init)).contains)
    let known = try book.marks(of: ids)
    let tombstones = try sink.tombstones(events.map(sink.item))
    present = []
    withTombstone = []
    return events.indices.map { index in
      let id = ExactText(ids[index])
      if stored[index] != nil { present.insert(id) }
      if tombstones[index] != nil { withTombstone.insert(id) }
      let mark = known[id]
      var edge = mark == nil ? stored[index]?.version ?? tombstones[index] : mark?.edge
      if edge?.epoch == 0 { edge = nil }
      return TwoWayRow(
        known: TwoWayRule.Known(
          edge: edge, cloud: mark?.cloud ?? 0, decided: mark?.decided, isCloudContent: mark?.isCloudContent ?? false,
          isThere: stored[index] != nil,
          isComplete: stored[index].map { writer.holds(sink.completeWhen, of: $0) } ?? false),
        values: stored[index]?.values, hasMark: mark != nil)
    }
  }

  func holds(_ row: TwoWayRow, _ event: SinkEvent) -> Bool { row.values == sink.item(event).row }

  // MARK: Writing

  func write(_ events: [SinkEvent], epoch: Int64) throws -> [MergeOutcome] {
    try write(events.map(sink.item))
  }

  func put(_ event: SinkEvent, version: RowVersion) throws -> MergeOutcome { try writeOne(event, version) }

  func remove(_ event: SinkEvent, version: RowVersion) throws -> MergeOutcome { try writeOne(event, version) }

  private func writeOne(_ event: SinkEvent, _ version: RowVersion) throws -> MergeOutcome {
    var event = event
    event.version = version.version
    return try write([sink.item(event)])[0]
  }

  /// - Parameter given: of the rows that were looked at last, no two of one key.
  private func write(_ given: [SinkMerge.Item]) throws -> [MergeOutcome] {
    var outcomes = [MergeOutcome?](repeating: nil, count: given.count)
    var refused: [(position: Int, error: PostgreSQLError)] = []
    try sink.guarded(Array(given.indices), &outcomes, &refused) { positions in
      try writeAll(positions.map { given[$0] })
      return positions.map { _ in .applied }
    }
    for (item, outcome) in zip(given, outcomes) where outcome == .applied {
      let id = ExactText(item.event.localID)
      if item.row == nil { present.remove(id) } else { present.insert(id) }
    }
    // Positions among all events of the call.
    refusals += refused.compactMap { refusal in
      let id = ExactText(given[refusal.position].event.localID)
      return items.firstIndex { ExactText($0.event.localID) == id }.map { ($0, refusal.error) }
    }
    return outcomes.map { $0! }
  }

  private func writeAll(_ items: [SinkMerge.Item]) throws {
    func isPresent(_ item: SinkMerge.Item) -> Bool { present.contains(ExactText(item.event.localID)) }
    let puts = items.filter { $0.row != nil }
    let deletes = items.filter { $0.row == nil }
    let feed = transaction.feed
    if !puts.isEmpty {
      let there = puts.filter(isPresent)
      if !there.isEmpty { try writer.overwrite(there.map(\.new), machine: machine, epoch: sink.epoch, feed) }
      let new = puts.filter { !isPresent($0) }
      // A row that a person has inserted since the look, and committed: that edit is taken first.
      guard try writer.insert(new.map(\.new), machine: machine, epoch: sink.epoch, feed).allSatisfy(\.self) else {
        throw PostgreSQLError(
          operation: "write to", subject: transaction.connection.subject,
          cause: "another client has inserted a row at the same moment", state: "40001")
      }
      try sink.dropTombstones(puts.filter { withTombstone.contains(ExactText($0.event.localID)) })
    }
    guard !deletes.isEmpty else { return }
    let there = deletes.filter(isPresent)
    try writer.delete(there.map(\.key), versions: there.map(\.event.version), machine: machine, feed)
    try sink.insertTombstones(deletes.map(\.event), whateverIsThere: true)
  }

  func stamp(_ event: SinkEvent, version: Int64) { stamps.append((sink.item(event).key, version)) }

  func note(_ mark: RowMark, of event: SinkEvent) {
    marks.append(
      RowBook.Entry(localID: event.localID, mark: mark, isGone: !present.contains(ExactText(event.localID))))
  }

  // MARK: With `merge: columns`

  private var bases: RowBases { RowBases(transaction, origin, sink.sink.schema!) }

  func values(of event: SinkEvent) -> [Value]? { sink.item(event).row }

  func base(of event: SinkEvent, held: Int64) throws -> RowBase? { try bases.find(event.localID, held: held) }

  func keep(_ base: RowBase?, of event: SinkEvent, held: Int64) throws {
    try bases.replace(event.localID, held: held, with: base)
  }

  func dropBases(of event: SinkEvent) throws { try bases.drop(event.localID) }

  func list(_ lost: LostEdit, of event: SinkEvent) throws {
    try transaction.list(lost, of: event.localID, columns: sink.sink.schema!.columns.map(\.name), origin)
  }
}
