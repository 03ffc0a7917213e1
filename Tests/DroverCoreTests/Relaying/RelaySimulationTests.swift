// The relay through thousands of steps of bad luck. A failure names its seed; the same seed fails again.

import DroverCore
import DroverTesting
import Testing

@Suite(.ownThread) struct RelaySimulationTests {
  func check(_ simulation: inout RelaySimulation, steps: Int, seed: UInt64) {
    simulation.run(steps: steps)
    let settled = simulation.settle()
    #expect(simulation.violation == nil, "seed \(seed)")
    guard simulation.violation == nil else { return }
    #expect(
      settled,
      "seed \(seed): \(simulation.outbox.count) entries stay in the outbox, \(simulation.outstanding) in the window")
    #expect(simulation.lost.isEmpty, "seed \(seed)")
    #expect(simulation.outstanding == (0, 0), "seed \(seed)")
    // A hole is seen with the next confirmation: one event for each stream brings it.
    simulation.writeToAll()
    #expect(simulation.settle() && simulation.violation == nil, "seed \(seed)")
    #expect(simulation.holes.isEmpty, "seed \(seed)")
  }

  @Test(arguments: UInt64(0)..<250)
  func `whatever is lost, repeated, refused or restarted, every event is applied and forgotten`(seed: UInt64) {
    var random = Seeded(seed ^ 0xfa17)
    func share(_ most: Int) -> Int { random.percent(50) ? 0 : Int.random(in: 0...most, using: &random) }
    let faults = RelaySimulation.Faults(
      drop: share(40), refuse: share(30), reorder: share(60), duplicate: share(30), noPuback: share(20),
      disconnect: share(20),
      edgeRestart: share(20), brokerRestart: share(8), cloudRestart: share(15), publishError: share(15),
      storeError: share(20))
    var simulation = RelaySimulation(seed: seed, faults: faults)
    check(&simulation, steps: 2000, seed: seed)
  }

  @Test(arguments: UInt64(1000)..<1040)
  func `an edge that restarts every few steps still gets everything through`(seed: UInt64) {
    var simulation = RelaySimulation(
      seed: seed, faults: .init(drop: 20, reorder: 20, disconnect: 20, edgeRestart: 60, brokerRestart: 2, storeError: 5)
    )
    check(&simulation, steps: 2000, seed: seed)
  }

  @Test(arguments: UInt64(2000)..<2030)
  func `without a fault every event is sent once`(seed: UInt64) {
    var simulation = RelaySimulation(seed: seed, faults: .none)
    check(&simulation, steps: 1000, seed: seed)
    #expect(simulation.sent >= simulation.writtenEvents - simulation.superseded, "seed \(seed)")
    #expect(simulation.sent <= simulation.writtenEvents, "seed \(seed)")
  }
}
