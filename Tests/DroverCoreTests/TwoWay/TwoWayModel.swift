// One row table on two sides, in memory, with the rules of the core and a network that loses, repeats and reorders. The stores do the same in SQL; here
// the rules alone are under test, thousands of runs in a second.

import DroverCore

/// What an edit wrote into a column: a number that no other edit has.
typealias Mark = Int64

/// A row's columns without its key.
typealias ModelRow = [Mark]

extension ModelRow {
  func values(_ key: Int64) -> [Value] { [.integer(key)] + map { .integer($0) } }

  init(of values: some Collection<Value>) {
    self = values.dropFirst().map { if case .integer(let mark) = $0 { mark } else { 0 } }
  }
}

/// A message about one row, up or down.
enum ModelMessage {
  case up(ModelEdge.Message)
  /// With the numbering of the cloud's store in which it was sent.
  case down(DownEvent, numbering: Int)
  case confirmed(key: Int64, seq: Int64, epoch: Epoch)
}

struct ModelEdge {
  struct Book {
    var held: Int64 = 0
    var mine: Int64 = 0
  }
  struct Entry {
    var seq: Int64
    var version: Int64
    var isAgain: Bool
  }
  struct Message {
    var epoch: Epoch
    var lineage: Lineage
    var key: Int64
    var seq: Int64
    var version: Int64
    var ancestry: Ancestry
    var value: ModelRow?
  }

  var epoch: Epoch
  var lineage = Lineage(since: 0)
  var rows: [Int64: ModelRow] = [:]
  var book: [Int64: Book] = [:]
  var outbox: [Int64: Entry] = [:]
  var clock = HybridClock()
  var seq: Int64 = 0
  /// The highest version that is known to be handed out.
  var handedOut: Int64 = 0
  /// Of earlier epochs, what is a part of this one's history.
  var seen: [Epoch: Int64] = [:]

  init(epoch: Epoch) { self.epoch = epoch }

  mutating func edit(_ key: Int64, _ value: ModelRow?, wall: Int64) {
    rows[key] = value
    seq += 1
    outbox[key] = Entry(seq: seq, version: clock.next(now: wall), isAgain: false)
  }

  mutating func sendAgain(_ key: Int64) {
    guard outbox[key] == nil else { return }
    seq += 1
    outbox[key] = Entry(seq: seq, version: 0, isAgain: true)
  }

  func messages() -> [Message] {
    outbox.sorted { $0.key < $1.key }.map { key, entry in
      let known = book[key] ?? Book()
      return Message(
        epoch: epoch, lineage: lineage, key: key, seq: entry.seq,
        version: entry.isAgain ? max(known.mine, lineage.since) : entry.version,
        ancestry: Ancestry(base: known.held, isAgain: entry.isAgain), value: rows[key])
    }
  }

  mutating func confirmed(_ key: Int64, seq: Int64, epoch: Epoch) {
    guard epoch == self.epoch, let entry = outbox[key], entry.seq == seq else { return }
    outbox[key] = nil
    guard !entry.isAgain else { return }
    book[key, default: Book()].mine = entry.version
    handedOut = max(handedOut, entry.version)
  }

  /// False while rows are sent again: the cloud may lack what the row here has seen, and has to hear of it first.
  mutating func apply(_ event: DownEvent) -> Bool {
    guard !outbox.values.contains(where: \.isAgain) else { return false }
    let key = Self.key(event)
    let known = book[key] ?? Book()
    let waiting = outbox[key].flatMap { $0.isAgain ? nil : $0.version }
    let decision = ApplyRule.decide(
      event, known: .init(held: known.held, mine: known.mine, waiting: waiting), epoch: epoch, seen: seen)
    guard decision == .apply else { return true }
    if case .row(let row) = event.content {
      rows[key] = ModelRow(of: Array(row))
    } else {
      rows[key] = nil
    }
    book[key, default: Book()].held = event.version
    clock.observe(event.version)
    return true
  }

  /// The database is this one again, as it was.
  mutating func restore(_ earlier: ModelEdge, epoch: Epoch) {
    self = earlier
    lineage.fork = Lineage.Fork(parent: earlier.epoch, version: earlier.handedOut)
    seen = seen.mapValues { min($0, earlier.handedOut) }
    seen[earlier.epoch] = earlier.handedOut
    self.epoch = epoch
    for key in Set(rows.keys).union(book.keys) { sendAgain(key) }
  }

  static func key(_ event: DownEvent) -> Int64 {
    guard case .integer(let key) = event.key[0] else { return 0 }
    return key
  }
}

final class ModelCloud: TwoWayRows {
  struct State {
    var rows: [Int64: (value: ModelRow, version: RowVersion)] = [:]
    var deleted: [Int64: RowVersion] = [:]
    var marks: [Int64: RowMark] = [:]
    var conflicts: [(key: Int64, lost: LostEdit)] = []
    /// What the machine had of a row while it held a decision.
    var bases: [Int64: [Int64: RowBase]] = [:]
    var numbers: [Epoch: Int64] = [:]
    var forks: [Int64: (parent: Int64, version: Int64)] = [:]
  }

  let schema: StreamSchema
  var state = State()
  /// Rows that go down, until the edge has them.
  var pending: Set<Int64> = []
  var lost = LostDecisions()
  /// Another one after each restore.
  var numbering = 0

  /// - Parameter columns: how many a row has without its key.
  init(isKeyNatural: Bool, merge: MergeUnit, columns: Int) throws {
    schema = try StreamSchema(
      kind: .snapshot,
      columns: (["id"] + (0..<columns).map { "value\($0)" }).map { Column(name: $0, declaredType: "INTEGER") },
      key: [0], flow: Flow(direction: .both, merge: merge, isKeyNatural: isKeyNatural))
  }

  // MARK: Edits of people

  func edit(_ key: Int64, _ value: ModelRow?, now: Int64) {
    let row = find(key)
    guard value != nil || row.known.isThere else { return }
    let version = TwoWayRule.decisionVersion(now: now, known: row.known)
    if let values = row.values, state.bases[key]?[row.known.cloud] == nil {
      state.bases[key, default: [:]][row.known.cloud] = RowBase(values: values, edge: row.known.edge)
    }
    let epoch = state.rows[key]?.version.epoch ?? 0
    state.rows[key] = value.map { ($0, RowVersion(epoch: epoch, version: version)) }
    note(RowMark(edge: row.known.edge, cloud: version, isCloudContent: true), key)
  }

  /// - Parameter wall: when it is found that the store has gone back.
  func restore(_ earlier: State, wall: Int64) {
    state = earlier
    numbering += 1
    let known = earlier.marks.values.map(\.cloud)
    lost.wentBack(highest: known.filter { $0 <= wall }.max() ?? 0, farthest: known.max() ?? 0, now: wall)
    pending = Set(earlier.marks.keys)
  }

  // MARK: Messages

  /// False for a message of an epoch that is over: all rows are sent again in the one that followed.
  func take(_ message: ModelEdge.Message, now: Int64) throws -> Bool {
    try hear(message.epoch, message.lineage, now: now)
    let number = number(of: message.epoch)
    guard number == state.numbers.values.max() else { return false }
    var event = SinkEvent(
      seq: message.seq, localID: "\(message.key)", version: message.version, at: nil, key: [.integer(message.key)],
      content: message.value.map { .row(Values($0.values(message.key))) } ?? .none, raw: [])
    event.ancestry = message.ancestry
    _ = try merge(number, message.lineage, now).merge([event])
    return true
  }

  /// A new epoch: what the machine has lost of its own edits flows back to it.
  func hear(_ epoch: Epoch, _ lineage: Lineage, now: Int64) throws {
    guard state.numbers[epoch] == nil else { return }
    let number = number(of: epoch)
    guard let fork = lineage.fork else { return }
    state.forks[number] = (self.number(of: fork.parent), fork.version)
    for key in state.rows.keys {
      let event = SinkEvent(
        seq: nil, localID: "\(key)", version: 0, at: nil, key: [.integer(key)], content: .none, raw: [])
      try merge(number, lineage, now).flowBack(event, find(key))
    }
  }

  private func merge(_ number: Int64, _ lineage: Lineage, _ now: Int64) -> TwoWayMerge<ModelCloud> {
    TwoWayMerge(
      self, schema: schema, history: EpochHistory(epoch: number, forks: state.forks), since: lineage.since, lost: lost,
      now: now)
  }

  private func number(of epoch: Epoch) -> Int64 {
    if let known = state.numbers[epoch] { return known }
    state.numbers[epoch] = Int64(state.numbers.count + 1)
    return state.numbers[epoch]!
  }

  func downEvent(_ key: Int64) -> DownEvent {
    let mark = state.marks[key]!
    return DownEvent(
      seq: 0, localID: "\(key)", key: [.integer(key)],
      content: state.rows[key].map { .row(Values($0.value.values(key))) } ?? .none, version: mark.cloud,
      edge: mark.edge.map { edge in
        DownEvent.Mark(epoch: state.numbers.first { $0.value == edge.epoch }!.key, version: edge.version)
      })
  }

  // MARK: TwoWayRows

  func find(_ events: [SinkEvent]) -> [TwoWayRow] { events.map { find(key($0)) } }

  private func find(_ key: Int64) -> TwoWayRow {
    let row = state.rows[key]
    let mark = state.marks[key]
    var edge = mark?.edge
    if mark == nil { edge = row?.version ?? state.deleted[key] }
    if edge?.epoch == 0 { edge = nil }
    return TwoWayRow(
      known: .init(
        edge: edge, cloud: mark?.cloud ?? 0, decided: mark?.decided, isCloudContent: mark?.isCloudContent ?? false,
        isThere: row != nil),
      values: row.map { $0.value.values(key) }, hasMark: mark != nil)
  }

  func holds(_ row: TwoWayRow, _ event: SinkEvent) -> Bool {
    if case .row(let values) = event.content { row.values == Array(values) } else { false }
  }

  func put(_ event: SinkEvent, version: RowVersion) -> MergeOutcome {
    guard case .row(let row) = event.content else { return .superseded }
    state.rows[key(event)] = (ModelRow(of: Array(row)), version)
    state.deleted[key(event)] = nil
    return .applied
  }

  func remove(_ event: SinkEvent, version: RowVersion) -> MergeOutcome {
    state.rows[key(event)] = nil
    state.deleted[key(event)] = version
    return .applied
  }

  func stamp(_ event: SinkEvent, version: Int64) { state.rows[key(event)]?.version.version = version }
  func note(_ mark: RowMark, of event: SinkEvent) { note(mark, key(event)) }

  func values(of event: SinkEvent) -> [Value]? {
    if case .row(let row) = event.content { Array(row) } else { nil }
  }

  func base(of event: SinkEvent, held: Int64) -> RowBase? { state.bases[key(event)]?[held] }

  func keep(_ base: RowBase?, of event: SinkEvent, held: Int64) {
    state.bases[key(event)] = state.bases[key(event)]?.filter { $0.key > held }
    if let base { state.bases[key(event), default: [:]][held] = base }
  }

  func dropBases(of event: SinkEvent) { state.bases[key(event)] = nil }

  func list(_ lost: LostEdit, of event: SinkEvent) {
    let isListed = state.conflicts.contains {
      $0.key == key(event) && $0.lost.value == lost.value
    }
    if !isListed { state.conflicts.append((key(event), lost)) }
  }

  private func note(_ mark: RowMark, _ key: Int64) {
    state.marks[key] = mark
    if mark.goesDown { pending.insert(key) }
  }

  private func key(_ event: SinkEvent) -> Int64 { Int64(event.localID)! }
}
