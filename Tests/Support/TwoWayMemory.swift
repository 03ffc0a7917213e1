// The rows of one machine's stream in memory, for the comparison with a store's: what `TwoWayMerge` says of the same events has to come to the same.

import DroverCore

final class TwoWayMemory: TwoWayRows {
  private(set) var rows: [String: (values: [Value], version: RowVersion)] = [:]
  private(set) var tombstones: [String: RowVersion] = [:]
  private(set) var marks: [String: RowMark] = [:]
  private(set) var lost: [(localID: String, edit: LostEdit)] = []
  /// The order in which rows have got their newest numbers.
  private(set) var numbered: [String] = []
  private var forks: [Int64: (parent: Int64, version: Int64)] = [:]
  private let schema: StreamSchema
  private let now: Int64

  init(schema: StreamSchema, now: Int64) {
    self.schema = schema
    self.now = now
  }

  /// The machine continues from an earlier state.
  func begin(_ epoch: Int64, parent: Int64, fork: Int64) throws {
    forks[epoch] = (parent, fork)
    let merge = TwoWayMerge(
      self, schema: schema, history: EpochHistory(epoch: epoch, forks: forks), since: 0, now: now)
    for id in rows.keys.sorted() {
      let event = SinkEvent(seq: nil, localID: id, version: 0, at: nil, key: [], content: .none, raw: [])
      try merge.flowBack(event, find(id))
    }
  }

  func merge(_ event: SinkEvent, epoch: Int64, since: Int64) throws -> MergeOutcome {
    let merge = TwoWayMerge(
      self, schema: schema, history: EpochHistory(epoch: epoch, forks: forks), since: since, now: now)
    return try merge.merge([event])[0]
  }

  /// A person writes a row, or deletes it.
  func edit(_ key: Int64, _ values: [Value]?) {
    let id = "\(key)"
    let row = find(id)
    guard values != nil || row.known.isThere, values != row.values else { return }
    let version = TwoWayRule.decisionVersion(now: now, known: row.known)
    rows[id] = values.map { ($0, RowVersion(epoch: rows[id]?.version.epoch ?? 0, version: version)) }
    note(RowMark(edge: row.known.edge, cloud: version, isCloudContent: true), id)
  }

  // MARK: TwoWayRows

  func find(_ events: [SinkEvent]) -> [TwoWayRow] { events.map { find($0.localID) } }

  private func find(_ id: String) -> TwoWayRow {
    let mark = marks[id]
    var edge = mark == nil ? rows[id]?.version ?? tombstones[id] : mark?.edge
    if edge?.epoch == 0 { edge = nil }
    return TwoWayRow(
      known: .init(
        edge: edge, cloud: mark?.cloud ?? 0, decided: mark?.decided, isCloudContent: mark?.isCloudContent ?? false,
        isThere: rows[id] != nil),
      values: rows[id]?.values, hasMark: mark != nil)
  }

  func holds(_ row: TwoWayRow, _ event: SinkEvent) -> Bool {
    if case .row(let values) = event.content { row.values == Array(values) } else { false }
  }

  func put(_ event: SinkEvent, version: RowVersion) -> MergeOutcome {
    guard case .row(let values) = event.content else { return .superseded }
    rows[event.localID] = (Array(values), version)
    tombstones[event.localID] = nil
    return .applied
  }

  func remove(_ event: SinkEvent, version: RowVersion) -> MergeOutcome {
    rows[event.localID] = nil
    tombstones[event.localID] = version
    return .applied
  }

  func stamp(_ event: SinkEvent, version: Int64) { rows[event.localID]?.version.version = version }
  func note(_ mark: RowMark, of event: SinkEvent) { note(mark, event.localID) }

  func list(_ edit: LostEdit, of event: SinkEvent) {
    guard !lost.contains(where: { $0.localID == event.localID && $0.edit.value == edit.value }) else { return }
    lost.append((event.localID, edit))
  }

  // Rows are merged whole here.
  func values(of event: SinkEvent) -> [Value]? { nil }
  func base(of event: SinkEvent, held: Int64) -> RowBase? { nil }
  func keep(_ base: RowBase?, of event: SinkEvent, held: Int64) {}
  func dropBases(of event: SinkEvent) {}

  private func note(_ mark: RowMark, _ id: String) {
    marks[id] = mark
    guard mark.goesDown else { return }
    numbered.removeAll { $0 == id }
    numbered.append(id)
  }
}
