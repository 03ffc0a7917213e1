// The promise under seeds. `SEEDS=2000 swift test --filter SimulationTests` runs more of them; `make simulate` runs many, and prints for
// a seed that breaks a promise the smallest run that still does.

import DroverSimulation
import DroverTesting
import Foundation
import Testing

@Suite(.ownThread) struct SimulationTests {
  static let seeds = 1...UInt64(ProcessInfo.processInfo.environment["SEEDS"].flatMap(UInt64.init) ?? 200)

  @Test(arguments: seeds)
  func `whatever fails, nothing is lost and nothing is applied twice`(seed: UInt64) throws {
    try holds(Plan(seed: seed, steps: 250))
  }

  @Test(arguments: 1...UInt64(10))
  func `without a fault all comes through`(seed: UInt64) throws {
    var plan = Plan(seed: seed, steps: 250)
    plan.faults = .none
    try holds(plan)
  }

  @Test(arguments: 1...UInt64(25), [Fault.edgeRollback, .cloudRollback, .edgeRestoredLive])
  func `what is put back to a backup, the edge or the cloud, becomes equal again`(seed: UInt64, fault: Fault) throws {
    var plan = Plan(seed: seed, steps: 250)
    if seed.isMultiple(of: 2) { plan.faults = .none }
    plan.faults[fault] = 15
    try holds(plan)
  }

  @Test(arguments: 1...UInt64(25))
  func `what is written while a table cannot be read arrives when it can`(seed: UInt64) throws {
    var plan = Plan(seed: seed, steps: 250)
    if seed.isMultiple(of: 2) { plan.faults = .none }
    plan.faults[.unreadable] = 60
    try holds(plan)
  }

  @Test(arguments: 1...UInt64(40))
  func `whatever another machine sends, the others' rows are equal in the end, and the store is bounded`(
    seed: UInt64
  ) throws {
    var plan = Plan(seed: seed, steps: 250)
    if seed.isMultiple(of: 2) { plan.faults = .none }
    plan.isHostile = true
    try holds(plan)
  }

  @Test(arguments: 1...UInt64(20))
  func `where both sides edit rows, both are equal in the end and no edit is lost without a trace`(seed: UInt64) throws
  {
    try holds(Self.twoWay(seed: seed))
  }

  /// Of four runs one has whatever its seed draws, two have restores of one side alone, and one has other faults beside restores of both sides.
  private static func twoWay(seed: UInt64) -> Plan {
    var plan = Plan(seed: seed, steps: 160)
    plan.twoWay = Plan.twoWay(seed: seed)
    plan.isHostile = false
    switch seed % 4 {
    case 0: break
    case 1:
      plan.faults = .none
      plan.faults[.cloudRollback] = 25
    case 2:
      plan.faults = .none
      plan.faults[.edgeRollback] = 25
    default:
      plan.faults[.cloudRollback] = 15
      plan.faults[.edgeRollback] = 15
    }
    return plan
  }

  private func holds(_ plan: Plan) throws {
    let outcome = try Simulation.run(plan)
    guard let violation = outcome.violation else { return }
    Issue.record("seed \(plan.seed): \(violation)\n\(try Shrinking.report(of: plan, atMost: 60))")
  }

  // MARK: The simulation itself

  @Test func `a seed repeats its run to the letter`() throws {
    let plan = Plan(seed: 44, steps: 250)
    let first = try Simulation.run(plan, isTracing: true).trace
    #expect(first.count > 100)
    #expect(try Simulation.run(plan, isTracing: true).trace == first)
  }

  @Test func `every fault happens that a seed can draw`() throws {
    var counts: [Fault: Int] = [:]
    for seed in 1...UInt64(60) {
      counts.merge(try Simulation.run(Plan(seed: seed, steps: 150)).faults, uniquingKeysWith: +)
    }
    for fault in Fault.allCases where fault.isDrawn { #expect(counts[fault, default: 0] > 0, "\(fault)") }
  }

  @Test(arguments: Mistake.allCases.filter { !$0.isTwoWay }, [false, true])
  func `a mistake is found within a few seeds, also by what is left in the end alone, and its run made small`(
    mistake: Mistake, onlyTheEnd: Bool
  ) throws {
    guard mistake.showsInTheEnd || !onlyTheEnd else { return }
    for seed in 1...UInt64(40) {
      var plan = Plan(seed: seed, steps: 250)
      plan.faults[.cloudDiskFull] = 50
      plan.mistake = mistake
      plan.onlyTheEnd = onlyTheEnd
      guard let violation = try Simulation.run(plan).violation else { continue }
      if onlyTheEnd { return }
      let small = try Shrinking.smallest(plan, atMost: 50)
      #expect(try Simulation.run(small).violation?.invariant == violation.invariant)
      #expect(small.steps.count < plan.steps.count / 2)
      return
    }
    Issue.record("no seed of 40 found it")
  }

  /// Each with the faults that show it: only after a restore a row that is sent again meets an edit that has seen it.
  @Test(arguments: Mistake.allCases.filter(\.isTwoWay))
  func `a mistake with rows that both sides edit is found within a few seeds`(mistake: Mistake) throws {
    for seed in 1...UInt64(20) {
      var plan = Plan(seed: seed, steps: 120)
      plan.twoWay = Plan.twoWay(seed: seed)
      plan.isHostile = false
      plan.faults = .none
      if mistake == .freshVersionAgain { plan.faults[.edgeRollback] = 25 }
      plan.mistake = mistake
      if try Simulation.run(plan).violation != nil { return }
    }
    Issue.record("no seed of 20 found it")
  }
}
