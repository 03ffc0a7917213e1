// Random histories of one worklist: an app that works, orders that are queued, questions and answers that are lost, repeated and late, and a process that is
// killed before and after its commits. The cloud is a model that does what docs/decisions/0059-worklists.md says.

import DroverCore
@testable import DroverEdge
@testable import DroverSimulation
import DroverTesting
import DroverWire
import Testing

@Suite(.ownThread) struct WorklistRandomTests {
  @Test(arguments: 0..<12)
  func `no order is lost or inserted twice, whatever is lost, repeated, late or killed`(seed: Int) throws {
    var world = try World(seed: UInt64(seed))
    for step in 0..<400 {
      try world.step()
      #expect(world.violations == [], "seed \(seed), step \(step)")
      guard world.violations.isEmpty else { return }
    }
    try world.settle()
    #expect(world.violations == [], "seed \(seed), at the end")
    #expect(world.inserted.count > 20)
  }
}

/// The cloud's queue, as a model.
private struct ModelCloud {
  enum State: Equatable { case queued, handedOut(RefillID), inWork, refused }

  var orders: [(key: String, state: State)] = []
  var requests: [RefillID: [String]] = [:]
  var outcomes: [RefillID: RefillOutcome] = [:]
  var closed: Set<RefillID> = []
  var violations: [String] = []

  mutating func answer(_ question: WorklistRequest) -> WorklistReply {
    switch question {
    case .outcome(let outcome, _):
      note(outcome)
      return .noted
    case .orders(let request):
      if let last = request.last { note(last) }
      if outcomes[request.request] != nil || closed.contains(request.request) { return .answer(.closed) }
      if let known = requests[request.request] { return .answer(.orders(known.map(order), left: 0)) }
      for (other, _) in requests where outcomes[other] == nil {
        violations.append("request \(request.request) came while \(other) has no outcome")
      }
      let next = orders.filter { $0.state == .queued }.prefix(request.limit).map(\.key)
      // A copy of the request that comes later gets no orders: the machine has closed it.
      guard !next.isEmpty else {
        closed.insert(request.request)
        return .answer(.nothing(why: "the queue is empty"))
      }
      requests[request.request] = next
      for key in next { set(key, .handedOut(request.request)) }
      return .answer(.orders(next.map(order), left: 0))
    }
  }

  /// Each third order lacks what its table needs.
  private func order(_ key: String) -> Order {
    Order(key: key, fields: ArraySlice((key.hasSuffix("3") ? "{}" : "{\"kg\":1}").utf8))
  }

  private mutating func set(_ key: String, _ state: State) {
    orders[orders.firstIndex { $0.key == key }!].state = state
  }

  mutating func note(_ outcome: RefillOutcome) {
    guard let keys = requests[outcome.request] else {
      return violations.append("an outcome of \(outcome.request), which has no orders")
    }
    if let known = outcomes[outcome.request] {
      var same = outcome
      same.cleared = known.cleared
      if same != known { violations.append("request \(outcome.request) has two outcomes") }
      return
    }
    outcomes[outcome.request] = outcome
    let refused = Set(outcome.refused.map(\.key))
    if !outcome.known.isEmpty { violations.append("orders that the machine had before: \(outcome.known)") }
    if !refused.isSubset(of: keys) { violations.append("an outcome of other orders") }
    for key in keys {
      guard orders.first(where: { $0.key == key })?.state == .handedOut(outcome.request) else {
        violations.append("\(key) has two outcomes")
        continue
      }
      set(key, !outcome.isTaken ? .queued : refused.contains(key) ? .refused : .inWork)
    }
  }
}

private struct World {
  private let rig: WorklistRig
  private var cloud = ModelCloud()
  private var random: DroverSimulation.Seeded
  private let chance: Chance
  /// Questions and answers on their way.
  private var up: [(id: String, question: WorklistRequest)] = []
  private var down: [(id: String, reply: WorklistReply)] = []
  private var next = 0
  private var ownRows = 0
  /// Orders that were in the table.
  private(set) var inserted: Set<String> = []
  private var own: [String] = []
  private(set) var violations: [String] = []

  init(seed: UInt64) throws {
    random = DroverSimulation.Seeded(seed)
    var faults = Faults.none
    for fault in [Fault.edgeCrashBeforeCommit, .edgeCrashAfterCommit, .appLock, .edgeDiskFull] { faults[fault] = 20 }
    chance = Chance(seed: seed, faults: faults)
    rig = try WorklistRig(
      "CREATE TABLE mo (mo_id TEXT PRIMARY KEY, batch_no INT, kg REAL NOT NULL, done INT NOT NULL DEFAULT 0)"
    ) {
      $0.refillWhen = seed % 2 == 0 ? .empty : .finished
      $0.interval = .seconds(60)
    }
    try rig.restart(chance: chance)
    try rig.connect()
  }

  mutating func step() throws {
    chance.begin(step: Int(random.next() >> 40))
    switch random.below(14) {
    case 0: queue(1 + random.below(6))
    case 1:
      try work("UPDATE mo SET done = 1 WHERE mo_id IN (SELECT mo_id FROM mo WHERE done = 0 ORDER BY batch_no LIMIT 1)")
    case 2: try work("UPDATE mo SET done = 1")
    case 3: try work("DELETE FROM mo WHERE done = 1")
    case 4 where random.percent(30):
      ownRows += 1
      try work("INSERT INTO mo (mo_id, kg) VALUES ('own\(ownRows)', 1)")
    case 5 where random.percent(30): try work("DELETE FROM mo WHERE mo_id LIKE 'own%'")
    case 6, 7: hearCloud(lossy: true)
    case 8, 9: try hearAgent(lossy: true)
    case 10 where random.percent(20): try restart()
    case 11 where random.percent(20):
      rig.agent.sessionClosed(reason: "lost")
      try rig.connect()
    default: break
    }
    try turn(after: .seconds(random.below(4) == 0 ? 90 : 1))
  }

  private mutating func queue(_ count: Int) {
    for _ in 0..<count {
      next += 1
      cloud.orders.append(("o\(next)", .queued))
    }
  }

  /// The app's own statement.
  private func work(_ sql: String) throws { try rig.app.execute(sql) }

  private mutating func restart() throws {
    try rig.restart(chance: chance)
    try rig.connect()
  }

  private mutating func turn(after delay: Duration) throws {
    let before = try table()
    rig.turn(after: delay)
    up += rig.asked
    rig.asked = []
    try look(before)
    if rig.life.isOver {
      try restart()
      try look(before)
    }
  }

  private typealias Row = (key: String, number: Int64, isDone: Bool)

  private func table() throws -> [Row] {
    var rows: [Row] = []
    try rig.app.rows("SELECT mo_id, batch_no, done FROM mo") {
      rows.append(($0.text(0), $0.integer(1), $0.integer(2) == 1))
    }
    return rows
  }

  /// Looks at what the agent has done to the table.
  private mutating func look(_ before: [Row]) throws {
    let now = try table()
    let new = now.filter { row in !before.contains { $0.key == row.key } }
    let newKeys = Set(new.map(\.key)).subtracting(inserted)
    for row in new where inserted.contains(row.key) && !seenThisTurn.contains(row.key) {
      violations.append("\(row.key) was inserted twice")
    }
    guard !newKeys.isEmpty else { return }
    if rig.declaration.refillWhen == .empty, !before.isEmpty {
      violations.append("orders were inserted into a table with rows")
    }
    if before.contains(where: { !$0.isDone }) { violations.append("orders were inserted while some were left") }
    if new.map(\.number).sorted() != (1...Int64(new.count)).map({ $0 }) {
      violations.append("the numbers are \(new.map(\.number).sorted())")
    }
    inserted.formUnion(newKeys)
    seenThisTurn = newKeys
  }

  /// Orders that came in the last look, which is repeated after a crash.
  private var seenThisTurn: Set<String> = []

  // MARK: The wire

  private mutating func hearCloud(lossy: Bool) {
    guard !up.isEmpty else { return }
    let (id, question) = up[lossy ? random.below(up.count) : 0]
    if !lossy || random.percent(80), let index = up.firstIndex(where: { $0.id == id }) { up.remove(at: index) }
    if lossy, random.percent(15) { return }
    down.append((id, cloud.answer(question)))
    violations += cloud.violations
    cloud.violations = []
  }

  private mutating func hearAgent(lossy: Bool) throws {
    guard !down.isEmpty else { return }
    let index = lossy ? random.below(down.count) : 0
    let (id, reply) = down[index]
    if !lossy || random.percent(70) { down.remove(at: index) }
    if lossy, random.percent(15) { return }
    try rig.answer(id, reply)
  }

  // MARK: The end

  /// Without faults everything comes to its end: the queue is worked off, and each order is where the cloud believes it to be.
  mutating func settle() throws {
    chance.isCalm = true
    for _ in 0..<400 {
      try work("UPDATE mo SET done = 1; DELETE FROM mo")
      try turn(after: .seconds(61))
      while !up.isEmpty { hearCloud(lossy: false) }
      while !down.isEmpty { try hearAgent(lossy: false) }
      try turn(after: .seconds(1))
      guard violations.isEmpty else { return }
    }
    for order in cloud.orders {
      switch order.state {
      case .inWork where inserted.contains(order.key): break
      case .refused where order.key.hasSuffix("3") && !inserted.contains(order.key): break
      default:
        violations.append(
          "\(order.key) is \(order.state), and was \(inserted.contains(order.key) ? "" : "not ")at the machine")
      }
    }
  }
}
