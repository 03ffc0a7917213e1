// Edges, a broker and consumers on one thread under one seed: the product's own code, driven by chance through a time of its own, and
// then left in peace until everything has come to rest.

import DroverCore
import Foundation

/// What is simulated. The same plan is the same run.
package struct Plan: Sendable {
  package var seed: UInt64
  package var faults: Faults
  package var machines: Int
  /// Whether another machine sends whatever it likes.
  package var isHostile: Bool
  /// How the tables are declared that both sides edit; nil for a run without, as seeds draw it.
  package var twoWay: TwoWayForm?
  /// The steps that are taken; a step that is left out changes nothing about the others.
  package var steps: [Int]
  /// Judge only what is left in the end.
  package var onlyTheEnd = false
  /// For the tests of the simulation itself.
  package var mistake: Mistake?

  package init(seed: UInt64, steps: Int = Plan.usualSteps) {
    self.seed = seed
    faults = Faults(seed: seed)
    var random = Seeded(seed, 0x91a7)
    machines = Int.random(in: 1...3, using: &random)
    isHostile = random.percent(25)
    self.steps = Array(0..<steps)
  }

  package static let usualSteps = 400

  package static func twoWay(seed: UInt64) -> TwoWayForm {
    var random = Seeded(seed, 0x2a11)
    return TwoWayForm(&random)
  }
}

package struct Outcome: Sendable {
  package var violation: Violation?
  /// The step in which it showed; nil when it did afterwards.
  package var step: Int?
  package var trace: [String]
  /// How often each fault happened.
  package var faults: [Fault: Int]
  /// Frames that the edges sent.
  package var frames: Int
  /// How long it lasted in its own time.
  package var lasted: Duration
}

package final class Simulation {
  private let plan: Plan
  private let folder: URL
  private let time = VirtualTime()
  private let sqliteClock = SQLiteClock()
  private let chance: Chance
  private let trace: Trace
  private let broker: SimulatedBroker
  private var machines: [SimulatedMachine] = []
  private let cloud: SimulatedCloud
  private let invariants: Invariants
  private var gauges = 0
  private var hostile: HostileMachine?

  /// Runs a plan to its end, or to its first violation.
  package static func run(_ plan: Plan, isTracing: Bool = false) throws -> Outcome {
    let simulation = try Simulation(plan, isTracing: isTracing)
    return try simulation.sqliteClock.scope { try simulation.run() }
  }

  private init(_ plan: Plan, isTracing: Bool) throws {
    self.plan = plan
    hostile = plan.isHostile ? HostileMachine(seed: plan.seed) : nil
    folder = Self.temporaryFolder.appending(path: "drover-simulation-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    chance = Chance(seed: plan.seed, faults: plan.faults)
    trace = Trace(isOn: isTracing, time: time)
    var random = Seeded(plan.seed, 0xb40c)
    let broker = SimulatedBroker(
      chance: chance, trace: trace,
      // An agent describes its three tables in one breath; of a queue that never holds them the cloud would never hear the last.
      queueLimit: plan.faults[.fullQueue] > 0
        ? .random(in: (plan.twoWay == nil ? 3 : 8)...20, using: &random) : 100_000,
      flightLimit: .random(in: 1...20, using: &random), hasReasons: plan.faults[.noReasons] == 0)
    self.broker = broker
    let listener = Listener()
    invariants = Invariants(path: "\(folder.path)/cloud.db", onlyTheEnd: plan.onlyTheEnd) {
      listener.simulation?.machines ?? []
    }
    let invariants = invariants
    cloud = SimulatedCloud(
      folder: folder.path, broker: broker, time: time, chance: chance, trace: trace,
      limits: plan.isHostile ? HostileMachine.limits : MachineLimits(), mistake: plan.mistake,
      didCommit: { invariants.didCommit() })
    for index in 1...plan.machines {
      machines.append(
        try SimulatedMachine(
          id: MachineID("MAH00\(index)"), folder: folder.path, broker: broker, time: time, sqliteClock: sqliteClock,
          chance: chance, trace: trace, mistake: plan.mistake, twoWay: plan.twoWay,
          willForget: { invariants.willForget($0, $1) }))
    }
    listener.simulation = self
  }

  deinit { try? FileManager.default.removeItem(at: folder) }

  /// The invariants look at machines that are made after them.
  private final class Listener { weak var simulation: Simulation? }

  /// In memory where the system has such a place.
  static let temporaryFolder: URL =
    FileManager.default.isWritableFile(atPath: "/dev/shm")
    ? URL(fileURLWithPath: "/dev/shm") : FileManager.default.temporaryDirectory

  private func run() throws -> Outcome {
    var failedStep: Int?
    // Rows that were there before Drover.
    for machine in machines { try write(machine) }
    if plan.twoWay?.isWarm ?? false { warmUp() }
    for step in plan.steps where invariants.violation == nil {
      chance.begin(step: step)
      trace.step = step
      try self.step()
      invariants.epochsHaveReasons()
      if invariants.violation != nil { failedStep = step }
    }
    if invariants.violation == nil {
      trace("faults end")
      chance.isCalm = true
      for machine in machines { try machine.makeAllReadable() }
      settle()
      try mend()
      invariants.end()
    }
    if let violation = invariants.violation { trace("VIOLATION: \(violation)") }
    var counts: [Fault: Int] = [:]
    for fault in Fault.allCases where chance.counts[fault.rawValue] > 0 {
      counts[fault] = chance.counts[fault.rawValue]
    }
    return Outcome(
      violation: invariants.violation, step: failedStep, trace: trace.lines, faults: counts,
      frames: machines.reduce(0) { $0 + $1.frames }, lasted: time.elapsed)
  }

  // MARK: A step

  private func step() throws {
    let machine = machines[chance.random.below(machines.count)]
    switch chance.random.below(100) {
    case 0..<18: try write(machine)
    case 18..<40: turn(machine)
    case 40..<58: carry()
    case 58..<68: machine.hear(atMost: 1 + chance.random.below(20))
    case 68..<82:
      cloud.hear(atMost: 1 + chance.random.below(30))
      cloud.turn()
    case 82..<94: time.advance(by: .milliseconds(1 + chance.random.below(400)))
    case 94..<96: time.advance(by: .seconds(1 + chance.random.below(40)))
    case 96..<98: publishBare()
    case 98: broker.save()
    default:
      try machine.makeBackup()
      try cloud.makeBackup()
      invariants.didBackUpCloud()
    }
    if plan.twoWay != nil {
      if chance.random.percent(12) { try cloud.edit(machine) }
      if chance.random.percent(4) { machine.sendTwoWayRowsAgain() }
    }
    try trouble(machine)
    for message in hostile?.messages() ?? [] { broker.distribute(message, from: "evil") }
    for machine in machines {
      if !machine.isRunning, chance.random.percent(15) { machine.start() }
      if machine.isRunning, !machine.client.isConnected, chance.random.percent(15) { machine.connect() }
    }
    if !cloud.isRunning, chance.random.percent(15) { cloud.start() }
    if cloud.isRunning, !cloud.client.isConnected, chance.random.percent(15) { cloud.connect() }
  }

  private func trouble(_ machine: SimulatedMachine) throws {
    if chance.happens(.disconnect), let link = broker.openLinks.randomElement(using: &chance.random) {
      trace("network: the connection of \(link.client) ends")
      broker.cut(link)
    }
    if chance.happens(.delay), let link = broker.openLinks.randomElement(using: &chance.random) {
      link.stalledUntil = time.now.advanced(by: .seconds(1 + chance.below(90, for: .delay)))
    }
    if chance.happens(.sessionLost) {
      let client = chance.random.percent(50) ? machine.client.id : cloud.client.id
      trace("broker: the session of \(client) is gone")
      broker.forgetSession(of: client)
    }
    if chance.happens(.brokerEmpty) {
      trace("broker: comes back with nothing")
      broker.restart(older: false)
    }
    if chance.happens(.brokerOlder) {
      trace("broker: comes back with an older state")
      broker.restart(older: true)
    }
    if chance.happens(.edgeCrash), machine.isRunning { machine.kill() }
    if chance.happens(.edgeStop), machine.isRunning { machine.stop() }
    if chance.happens(.edgeClockStep) { machine.stepClock() }
    if chance.happens(.migration) { try machine.migrate() }
    if chance.happens(.rotation) { try machine.rotate() }
    if chance.happens(.unreadable) { try machine.makeUnreadable() }
    if chance.happens(.consumerCrash), cloud.isRunning { cloud.kill() }
    if chance.happens(.consumerStop), cloud.isRunning { cloud.stop() }
    if chance.happens(.consumerMoves) { cloud.move() }
    if chance.happens(.cloudClockStep) { cloud.stepClock() }
    if chance.happens(.edgeRollback) {
      try machine.restoreBackup()
      // Whoever puts a database back needs longer than a tick of a clock.
      time.advance(by: .seconds(60))
      try forgetLost(machine)
    }
    if chance.happens(.edgeRestoredLive) {
      try machine.restoreLive()
      time.advance(by: .seconds(1))
      try forgetLost(machine)
    }
    if chance.happens(.cloudRollback), FileManager.default.fileExists(atPath: cloud.path + ".backup") {
      if cloud.isRunning { cloud.kill() }
      invariants.willRestoreCloud()
      let listed = try plan.twoWay == nil ? [] : machines.map { try cloud.twoWayTexts(of: $0.id).listed }
      try cloud.restoreBackup()
      for machine in machines { machine.cloudWentBack() }
      for (machine, listed) in zip(machines, listed) {
        let left = try cloud.twoWayTexts(of: machine.id).listed
        machine.twoWay?.ledger.forget(listed: listed.filter { !left.contains($0) })
        try forgetLost(machine, isCloud: true)
      }
    }
  }

  /// What neither side has any more is lost with a restore itself.
  private func forgetLost(_ machine: SimulatedMachine, isCloud: Bool = false) throws {
    guard let tables = machine.twoWay else { return }
    let (rows, listed) = try cloud.twoWayTexts(of: machine.id)
    tables.ledger.wentBack(
      keeping: try machine.texts(of: "product").values + rows + listed, isCloud: isCloud)
    if !isCloud { tables.ledger.mayBeSentTwice(try machine.unsentTexts(of: "product")) }
  }

  private func write(_ machine: SimulatedMachine) throws {
    var workload = Workload(random: chance.random)
    try machine.write(to: &workload)
    chance.random = workload.random
  }

  private func turn(_ machine: SimulatedMachine) {
    let before = machine.window?.events ?? 0
    machine.turn()
    invariants.windowHolds(machine, leftBefore: before)
  }

  /// The network moves some packets of one connection, in both directions.
  private func carry() {
    guard let link = broker.openLinks.randomElement(using: &chance.random) else { return }
    if let until = link.stalledUntil, until > time.now { return }
    for _ in 0..<(1 + chance.random.below(20)) { if !broker.take(link) { break } }
    for _ in 0..<(1 + chance.random.below(20)) { if !broker.deliver(link) { break } }
  }

  /// A device that knows nothing of outboxes: its clock stands still at times and goes back at others.
  private func publishBare() {
    gauges += 1
    let id = chance.random.below(3)
    let version = VirtualTime.beginning + Int64(gauges + chance.random.below(5) - 3) / 2
    let content = gauges.isMultiple(of: 5) ? "\"op\":\"delete\"" : "\"body\":{\"n\":\(gauges)}"
    let body = "{\"id\":\"\(id)\",\"version\":\(version),\(content)}"
    broker.distribute(
      OutboundMessage(topic: "drover/v1/GAUGE/snapshot/gauge", payload: Array(body.utf8)), from: "gauge")
    let pulse = "{\"id\":\"p\(gauges)\",\"body\":\(gauges)}"
    broker.distribute(
      OutboundMessage(topic: "drover/v1/GAUGE/payload/pulse", payload: Array(pulse.utf8)), from: "gauge")
  }

  /// Everybody meets everybody before the first fault.
  private func warmUp() {
    chance.isCalm = true
    for _ in 0..<20 {
      advanceAll()
      time.advance(by: .milliseconds(50))
    }
    chance.isCalm = false
  }

  // MARK: Peace

  /// The longest that everything may take to come to rest, in its own time.
  private static let patience = Duration.seconds(2 * 86_400)

  /// A person changes what the machines' tables refuse, after a look at whether all of it is listed.
  private func mend() throws {
    guard plan.twoWay != nil, invariants.violation == nil else { return }
    for _ in 0..<4 {
      try invariants.refusedRowsAreListed()
      try invariants.cloudKnowsWhatIsRefused()
      var isWhole = true
      for machine in machines where try cloud.mend(machine) { isWhole = false }
      guard !isWhole, invariants.violation == nil else { return }
      settle()
    }
    try invariants.refusedRowsAreMended()
    try invariants.cloudKnowsWhatIsRefused()
  }

  private func settle() {
    let end = time.elapsed + Self.patience
    var pause = Duration.milliseconds(1)
    while invariants.violation == nil {
      if advanceAll() {
        pause = .milliseconds(1)
      } else {
        if isAtRest, (try? closeGaps()) == true { return stayAtRest() }
        pause = min(pause * 2, .seconds(15))
      }
      time.advance(by: pause)
      if time.elapsed > end {
        let waiting =
          machines.map { $0.waitingText() }.joined(separator: ". ")
          + (plan.twoWay == nil ? "" : ". Down: \((try? cloud.downWaiting()) ?? 0)")
        invariants.fail("everything comes to rest", "after two days there wait: \(waiting)")
      }
    }
  }

  /// Lets everybody do what he can. False when nobody had anything to do.
  @discardableResult private func advanceAll() -> Bool {
    invariants.epochsHaveReasons()
    var moved = false
    for machine in machines {
      if !machine.isRunning { machine.start() }
      if !machine.client.isConnected { machine.connect() }
      turn(machine)
    }
    if !cloud.isRunning { cloud.start() }
    if !cloud.client.isConnected { cloud.connect() }
    cloud.turn()
    for link in broker.openLinks {
      while broker.take(link) { moved = true }
      while broker.deliver(link) { moved = true }
    }
    for machine in machines { if machine.hear(atMost: .max) { moved = true } }
    if cloud.hear(atMost: 50) { moved = true }
    return moved
  }

  /// What a comparison after a gap in a machine's capture comes to: rows that the cloud has are sent again, as deletes where they are gone. True
  /// when every gap has been closed.
  private func closeGaps() throws -> Bool {
    var areClosed = true
    for machine in machines {
      let closed = try cloud.closedGaps(of: machine.id)
      for (stream, gap) in try machine.gaps() where closed[stream] != gap {
        areClosed = false
        // It closes what it has been told of.
        guard let request = try cloud.compare(machine.id, stream: stream, gap: gap) else { continue }
        broker.distribute(request, from: "check")
      }
    }
    return areClosed
  }

  private var isAtRest: Bool {
    broker.isQuiet && (plan.twoWay == nil || (try? cloud.downWaiting()) == 0)
      && machines.allSatisfy {
        $0.window?.events == 0 && !$0.hasIntervalsAgain && !$0.doubtsCloud && (try? $0.waitingCount()) == 0
      }
  }

  /// What has arrived is not sent again, however long one waits.
  private func stayAtRest() {
    let frames = machines.map(\.frames) + [cloud.downFrames]
    for _ in 0..<20 {
      time.advance(by: .seconds(90))
      _ = advanceAll()
    }
    if machines.map(\.frames) + [cloud.downFrames] != frames {
      invariants.fail("rest is rest", "frames are sent though every outbox is empty")
    }
  }
}
