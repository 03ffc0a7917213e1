// The upserts of each store against the core's `MergeRule`, on random events: what becomes of each event, and what is in the tables after each
// transaction. The rule itself is held by its truth table (`MergeRuleTests`); here it is the model.

import DroverCore
import Testing

extension CloudStoreConformance {
  static let whoWins: [Claim] = {
    let columns = [("id", "INTEGER"), ("status", "INTEGER"), ("used", "REAL")]
    func table(_ kind: Kind, _ completeWhen: String? = nil, lines: [LineSchema] = []) -> Sink {
      .table(
        try! StreamSchema(
          kind: kind, columns: columns.map { Column(name: $0.0, declaredType: $0.1) }, key: [0],
          completeWhen: completeWhen.map { try! Condition(parsing: $0) }, lines: lines))
    }
    let lines = LineSchema.sales
    let sinks: [(name: String, sink: Sink)] = [
      ("snapshots", table(.snapshot)), ("facts", table(.payload)), ("batches", table(.batch)),
      ("batches that complete", table(.batch, "status = 1")),
      ("units", table(.batch, lines: [lines])), ("units that complete", table(.batch, "status = 1", lines: [lines])),
      ("bodies of snapshots", .bodies(.snapshot)), ("bodies of facts", .bodies(.payload)),
    ]
    return sinks.flatMap { name, sink in
      (1...3).map { seed in
        Claim("who wins among \(name): the store does what the rule says, seed \(seed)") { scene throws in
          var random = Seeded(UInt64(seed))
          var model = Model(sink)
          // The store numbers the epochs in the order in which it hears of them.
          for (epoch, number) in [(Epoch.one, 1), (.two, 2)] {
            let event = Model.event(&random, sink)
            #expect(
              try scene.merge(sink, event, epoch: epoch).map(Model.word) == [model.merge(event, epoch: Int64(number))])
          }
          for round in 0..<50 {
            let events = (0...random.below(5)).map { _ in Model.event(&random, sink) }
            let isSecond = random.percent(30)
            let outcomes = try scene.store.transaction {
              try $0.merge(events, epoch: isSecond ? .two : .one, into: sink).map(Model.word)
            }
            let expected = events.map { model.merge($0, epoch: isSecond ? 2 : 1) }
            try #require(outcomes == expected, "round \(round) of seed \(seed): \(events)")
            try #require(
              try model.storedHeaders(scene) == model.headerTexts, "round \(round) of seed \(seed): \(events)")
            try #require(try model.storedLines(scene) == model.lineTexts, "round \(round) of seed \(seed): \(events)")
          }
          #expect(model.seen.isSuperset(of: model.wanted), "\(model.seen)")
        }
      }
    }
  }()

  /// The tables as the rule makes them, one event after the other.
  private struct Model {
    private struct Row {
      var values: [Value]
      var version: RowVersion
    }

    private struct Line {
      var header: Value
      var item: Value
      var version: RowVersion
    }

    private let sink: Sink
    private let rule: MergeRule
    private var rows: [String: Row] = [:]
    private var tombstones: [String: RowVersion] = [:]
    private var lines: [Value: Line] = [:]
    /// What became of events so far.
    private(set) var seen: Set<String> = []

    init(_ sink: Sink) {
      self.sink = sink
      rule = MergeRule(kind: sink.kind, completes: sink.schema?.completeWhen != nil)
    }

    /// What a run has to have shown, or it has tried nothing.
    var wanted: Set<String> {
      switch sink.kind {
      case .payload: ["applied", "superseded", "conflict", "event"]
      case .batch where rule.completes: ["applied", "superseded", "frozen"]
      default: ["applied", "superseded"]
      }
    }

    static func event(_ random: inout Seeded, _ sink: Sink) -> SinkEvent {
      let version = Int64(random.below(40))
      let id = random.below(8)
      guard let schema = sink.schema else {
        return random.percent(25)
          ? .deleteBody(version, "\(id)") : .body(version, "\(id)", random.pick(["1", "[]", #"{"a":1}"#]))
      }
      if random.percent(25) { return .delete(version, .integer(Int64(id))) }
      var event = SinkEvent.put(
        version, .integer(Int64(id)), random.pick([0, 0, 1, .null]), .real(Double(random.below(2)) + 0.5))
      if !schema.lines.isEmpty {
        let numbers = (0..<4).filter { _ in random.percent(30) }
        event.lines = [numbers.map { [.integer(Int64($0)), event.key[0], random.pick(["pen", "ink"])] }]
      }
      return event
    }

    static func word(_ outcome: MergeOutcome) -> String {
      switch outcome {
      case .applied: "applied"
      case .superseded: "superseded"
      case .refused(let reason, _): reason.rawValue
      }
    }

    mutating func merge(_ event: SinkEvent, epoch: Int64) -> String {
      let word = outcome(event, RowVersion(epoch: epoch, version: event.version))
      seen.insert(word)
      return word
    }

    private mutating func outcome(_ event: SinkEvent, _ version: RowVersion) -> String {
      let id = event.localID
      let arrival = MergeRule.Arrival(event.content == .none ? .delete : .put, version)
      let stored = rows[id].map { MergeRule.Stored($0.version, isComplete: isComplete($0)) }
      var decision = rule.decide(arrival, stored: stored, tombstone: tombstones[id])
      if decision == .compare { decision = rule.decide(agreement(event)) }
      switch decision {
      case .write:
        guard !takesFrozenLine(event, version) else { return "frozen" }
        rows[id] = Row(values: values(event), version: version)
        tombstones[id] = nil
        for line in event.lines.first ?? [] where lines[line[0]].map({ $0.version < version }) ?? true {
          lines[line[0]] = Line(header: line[1], item: line[2], version: version)
        }
        removeLines(event, version)
      case .remove:
        rows[id] = nil
        tombstones[id] = max(version, tombstones[id] ?? version)
        removeLines(event, version)
      case .ignore: return "superseded"
      case .refuse(let reason): return reason.rawValue
      case .compare, .fill: preconditionFailure("no schema changes here")
      }
      return "applied"
    }

    private mutating func removeLines(_ event: SinkEvent, _ version: RowVersion) {
      guard sink.schema?.lines.isEmpty == false else { return }
      lines = lines.filter { $0.value.header != event.key[0] || $0.value.version >= version }
    }

    private func takesFrozenLine(_ event: SinkEvent, _ version: RowVersion) -> Bool {
      (event.lines.first ?? []).contains { line in
        guard let stored = lines[line[0]], stored.version < version, stored.header != line[1] else { return false }
        return rows["\(stored.header)"].map(isComplete) ?? false
      }
    }

    private func isComplete(_ row: Row) -> Bool { rule.completes && row.values[1] == .integer(1) }

    private func values(_ event: SinkEvent) -> [Value] {
      switch event.content {
      case .none: []
      case .json(let body): [.text(body)]
      case .row(let row): Array(row)
      }
    }

    private func agreement(_ event: SinkEvent) -> MergeRule.Agreement {
      let hasLines = (event.lines.first ?? []).allSatisfy {
        lines[$0[0]].map { [$0.header, $0.item] } == [$0[1], $0[2]]
      }
      return hasLines && values(event) == rows[event.localID]!.values ? .same : .differs
    }

    // MARK: Tables

    var headerTexts: Set<String> {
      Set(
        rows.map { id, row in
          "\(sink.schema == nil ? [.text(ArraySlice(id.utf8))] + row.values : row.values) \(row.version.version)"
        })
    }

    func storedHeaders(_ scene: Scene) throws -> Set<String> {
      let names = sink.schema.map { $0.columns.map(\.name) } ?? ["local_id", "body"]
      return Set(
        try scene.reader.rows(of: "stock").map { row in
          "\(names.map { row[$0]! }) \(Self.integer(row["drover_version"]))"
        })
    }

    var lineTexts: Set<String> {
      Set(lines.map { "\([$0.key, $0.value.header, $0.value.item]) \($0.value.version.version)" })
    }

    func storedLines(_ scene: Scene) throws -> Set<String> {
      guard sink.schema?.lines.isEmpty == false else { return [] }
      return Set(
        try scene.reader.rows(of: "sales").map { row in
          "\(["no", "stock_id", "item"].map { row[$0]! }) \(Self.integer(row["drover_version"]))"
        })
    }

    private static func integer(_ value: Value?) -> Int64 {
      if case .integer(let integer) = value { integer } else { -1 }
    }
  }
}

extension LineSchema {
  /// Lines of `stock`, with a number of their own, so that one may move to another header.
  fileprivate static let sales = try! LineSchema(
    table: .named("sales"),
    columns: [("no", "INTEGER"), ("stock_id", "INTEGER"), ("item", "TEXT")].map {
      Column(name: $0.0, declaredType: $0.1)
    }, key: [0], references: [1])
}
