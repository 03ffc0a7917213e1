// Random tables, random statements on both sides, and an exchange in which messages are lost, repeated and reordered, and programs are killed. In the
// end both sides are equal, and every value has its place. A seed that breaks this shrinks to a short script of SQL.

import DroverCore

/// A mistake that the product does not make, made by SQL in the stores: so the property is tested too.
package enum PairMistake: Sendable {
  /// A value that lost is not listed. SQLite alone.
  case unlistedConflict
  /// An UPDATE or a DELETE of a person in the cloud is not captured. SQLite alone.
  case uncapturedUpdate
}

package struct PairPlan: Sendable {
  package var seed: UInt64
  package var steps: [Int]
  package var faults: Faults
  package var mistake: PairMistake?
  /// Statements that are left out, by step and place: shrinking takes them away.
  fileprivate var omitted: Set<[Int]> = []

  package init(seed: UInt64, steps: Int = 40) {
    self.seed = seed
    self.steps = Array(0..<steps)
    faults = .none
    var random = Seeded(seed, 0xfa18)
    guard random.percent(70) else { return }
    let possible: [Fault] = [
      .drop, .duplicate, .reorder, .disconnect, .disconnectBeforePuback, .quota, .edgeCrash, .consumerCrash,
    ]
    for fault in possible where random.percent(40) { faults[fault] = min(200, 1 + random.below(fault.ceiling)) }
  }
}

package struct PairOutcome: Sendable {
  package var violation: String?
  /// The kind of the violation: the same one has to stay while it is made small.
  package var kind: String?
  package var script: [String]
  package var trace: [String]
  /// How many transactions were committed on both sides, and how many conflicts there were.
  package var commits = 0
  package var conflicts = 0
}

package enum RandomPair {
  package static func run(
    _ plan: PairPlan, isTracing: Bool = false, _ makeCloud: (String) throws -> any PairCloud
  ) throws -> PairOutcome {
    var random = Seeded(plan.seed, 0x7ab1e)
    let tables = DrawnTable.draw(&random)
    let journalMode = random.pick(["wal", "delete"])
    // 1970, the cloud's time, 2090.
    let offset = random.pick([-Pair.beginning, 0, 0, Int64(64 * 365 * 86_400) * 1_000_000])
    let schema = tables.map(\.sql).joined(separator: ";\n")
    return try Pair.run(
      makeCloud, schema: schema, streams: tables.map { try $0.declaration() }, journalMode: journalMode,
      faults: plan.faults, seed: plan.seed, isTracing: isTracing
    ) { pair in
      pair.edgeClockOffset = offset
      let run = RandomPairRun(plan, pair, tables)
      try run.run()
      var outcome = run.outcome
      outcome.script.insert(
        contentsOf: ["-- at the edge (\(journalMode), clock \(offset / 1_000_000) s)"] + tables.map { $0.sql + ";" },
        at: 0)
      outcome.trace = pair.log
      return outcome
    }
  }

  /// The smallest plan with the same kind of violation.
  package static func smallest(
    _ plan: PairPlan, atMost runs: Int, _ makeCloud: (String) throws -> any PairCloud
  ) throws -> PairPlan {
    guard let kind = try run(plan, makeCloud).kind else { return plan }
    var (plan, left) = (plan, runs)
    func stillBreaks(_ candidate: PairPlan) throws -> Bool {
      guard left > 0 else { return false }
      left -= 1
      return try run(candidate, makeCloud).kind == kind
    }
    for fault in plan.faults.active {
      var candidate = plan
      candidate.faults[fault] = 0
      if try stillBreaks(candidate) { plan = candidate }
    }
    // Delta debugging, from halves down to single steps; then the statements within the steps that are left.
    var size = max(1, plan.steps.count / 2)
    while left > 0 {
      var end = plan.steps.count
      while end > 0 {
        let range = max(0, end - size)..<end
        var candidate = plan
        candidate.steps.removeSubrange(range)
        if try stillBreaks(candidate) { plan = candidate }
        end = range.lowerBound
      }
      guard size > 1 else { break }
      size = max(1, size / 2)
    }
    for step in plan.steps {
      for place in 0..<RandomPairRun.mostStatements {
        var candidate = plan
        candidate.omitted.insert([step, place])
        if try stillBreaks(candidate) { plan = candidate }
      }
    }
    return plan
  }

  /// The violation with the script that leads to it.
  package static func report(
    _ plan: PairPlan, atMost runs: Int, _ makeCloud: (String) throws -> any PairCloud
  ) throws -> (text: String, statements: Int) {
    let small = try smallest(plan, atMost: runs, makeCloud)
    let outcome = try run(small, isTracing: true, makeCloud)
    let text = """
      seed \(plan.seed): \(outcome.violation ?? "no violation any more")
      faults: \(small.faults)
      \(outcome.script.joined(separator: "\n"))
      """
    return (text, outcome.script.count { $0.hasPrefix("edge: ") || $0.hasPrefix("cloud: ") })
  }
}

extension Pair { static var beginning: Int64 { VirtualTime.beginning } }

final class RandomPairRun {
  static let mostStatements = 3
  private let plan: PairPlan
  private let pair: Pair
  private let tables: [DrawnTable]
  private var ledger: PairLedger
  private(set) var outcome = PairOutcome(script: [], trace: [])
  private var changes = 0

  init(_ plan: PairPlan, _ pair: Pair, _ tables: [DrawnTable]) {
    self.plan = plan
    self.pair = pair
    self.tables = tables
    ledger = PairLedger(
      computed: Dictionary(uniqueKeysWithValues: tables.map { ($0.name, $0.generated) }),
      cascading: Set(tables.filter { $0.onDelete?.isEmpty == false }.map(\.name)))
  }

  func run() throws {
    do {
      pair.chance.isCalm = true
      try pair.settle()
      pair.chance.isCalm = false
      if let mistake = plan.mistake { try make(mistake) }
      for step in plan.steps {
        pair.chance.begin(step: step)
        try self.step(step)
      }
      pair.chance.isCalm = true
      note("-- everything is exchanged")
      try pair.settle()
      try judge()
    } catch let failure as PairFailure {
      fail("rest", failure.description)
    }
  }

  private func note(_ line: String) {
    if line != outcome.script.last { outcome.script.append(line) }
    pair.trace(line)
  }

  private func fail(_ kind: String, _ text: String) {
    guard outcome.violation == nil else { return }
    outcome.kind = kind
    outcome.violation = text
  }

  private func make(_ mistake: PairMistake) throws {
    switch mistake {
    case .unlistedConflict:
      try pair.cloud.run(
        "CREATE TRIGGER mistake BEFORE INSERT ON drover_conflict BEGIN SELECT RAISE(IGNORE); END")
    // A capture trigger that is dropped is made again.
    case .uncapturedUpdate:
      try pair.cloud.run(
        "CREATE TRIGGER mistake AFTER INSERT ON drover_edit WHEN NEW.old_version <> 0 BEGIN DELETE FROM drover_edit WHERE id = NEW.id; END"
      )
    }
  }

  // MARK: Steps

  private func step(_ step: Int) throws {
    switch pair.chance.random.below(10) {
    case 0..<3: try transaction(step, isCloud: false)
    case 3..<6: try transaction(step, isCloud: true)
    case 6:
      try pair.settle()
      ledger.exchanged()
      note("-- everything is exchanged")
    default: try exchange()
    }
    if pair.chance.happens(.edgeCrash) { pair.killAgent() }
    if pair.chance.happens(.consumerCrash) { pair.killConsumer() }
    if pair.chance.happens(.disconnect) { pair.disconnectAgent() }
  }

  /// Some packets move, and some time passes.
  private func exchange() throws {
    note("-- some messages are exchanged")
    try pair.connect()
    for _ in 0..<(1 + pair.chance.random.below(6)) {
      if pair.chance.random.percent(60) { pair.agentTurns() }
      pair.carry(atMost: 1 + pair.chance.random.below(5))
      if pair.chance.random.percent(60) { pair.agentHears(atMost: 1 + pair.chance.random.below(8)) }
      if pair.chance.random.percent(60) { pair.consumerTurns(atMost: 1 + pair.chance.random.below(8)) }
      pair.pass(.milliseconds(pair.chance.random.below(3000)))
    }
  }

  private func transaction(_ step: Int, isCloud: Bool) throws {
    var random = pair.chance.random
    let dialect: DrawnTable.Dialect = !isCloud ? .edge : pair.cloud.isPostgreSQL ? .postgreSQL : .sqlite
    let before = try rows(isCloud)
    if dialect != .postgreSQL {
      let pragma = "PRAGMA recursive_triggers = \(random.percent(50) ? "ON" : "OFF")"
      try run(pragma, isCloud)
      if !isCloud { try run("PRAGMA foreign_keys = \(random.percent(70) ? "ON" : "OFF")", isCloud) }
    }
    var statements: [String] = []
    for place in 0..<(1 + random.below(Self.mostStatements)) {
      let table = random.pick(tables)
      let sql = table.statement("\(isCloud ? "c" : "e")\(step).\(place)", dialect, &random)
      if !plan.omitted.contains([step, place]) { statements.append(sql) }
    }
    let rollsBack = random.percent(8)
    let side = isCloud ? "cloud" : "edge"
    guard !statements.isEmpty else { return }
    try run(isCloud && pair.cloud.isPostgreSQL ? "BEGIN" : "BEGIN IMMEDIATE", isCloud)
    do {
      for sql in statements { try run(sql, isCloud) }
    } catch {
      try? run("ROLLBACK", isCloud)
      return pair.trace("\(side): \(statements.joined(separator: "; ")): \(error)")
    }
    if rollsBack {
      try run("ROLLBACK", isCloud)
      return pair.trace("\(side): rolled back: \(statements.joined(separator: "; "))")
    }
    do { try run("COMMIT", isCloud) } catch {
      try? run("ROLLBACK", isCloud)
      return pair.trace("\(side): \(statements.joined(separator: "; ")): \(error)")
    }
    for sql in statements { note("\(side): \(sql);") }
    let after = try rows(isCloud)
    outcome.commits += 1
    changes += Set(before.keys).union(after.keys).count { before[$0] != after[$0] }
    ledger.committed(before: before, after: after, isCloud: isCloud)
  }

  private func rows(_ isCloud: Bool) throws -> Pair.Rows { isCloud ? try pair.cloudRows() : try pair.edgeRows() }

  private func run(_ sql: String, _ isCloud: Bool) throws {
    if isCloud { try pair.cloud.run(sql) } else { try pair.app(sql) }
  }

  // MARK: The verdict

  private func judge() throws {
    let (edge, cloud) = (try pair.edgeRows(), try pair.cloudRows())
    let refused = Set(try pair.refusedRows())
    for name in Set(edge.keys).union(cloud.keys).sorted() where edge[name] != cloud[name] && !refused.contains(name) {
      let sides = [edge[name], cloud[name]].map { $0.map(PairLedger.text) ?? "no row" }
      fail("equal", "\(name) differs. Edge: \(sides[0]). Cloud: \(sides[1])")
    }
    if try pair.cloudLetters() > 0 { fail("letters", "there are dead letters in the cloud") }
    let conflicts = try pair.listed()
    outcome.conflicts = conflicts.count
    let faults = ledger.faults(cloud, conflicts, isLoose: tables.contains { $0.isChild || $0.isParent })
    if let first = faults.first { fail(String(first.prefix { $0 != ":" }), faults.joined(separator: "\n")) }
    if plan.faults.active.isEmpty, pair.rowMessages > 3 * changes + 20 {
      fail("echo", "\(pair.rowMessages) rows were sent for \(changes) changes")
    }
    let frames = pair.frames
    for _ in 0..<20 {
      pair.pass(.seconds(90))
      _ = try pair.round()
    }
    if pair.frames != frames { fail("silence", "frames are sent although nothing waits") }
  }
}
