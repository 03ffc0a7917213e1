// `make simulate`: many seeds, and for a seed that breaks a promise the smallest run that still does.

import ArgumentParser
import DroverSimulation
import Foundation

@main
struct Simulate: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "drover-simulate",
    abstract: "Runs edges, a broker and consumers under seeds, and looks for broken promises.",
    discussion: "docs/simulation.md says what is simulated, what must hold, and how a seed is looked into.")

  @Option(help: "How many seeds.") var seeds = 1000
  @Option(help: "The first of them.") var first: UInt64 = 1
  @Option(help: "How many steps each run has.") var steps = Plan.usualSteps
  @Option(
    help:
      "A fault and its rate in a thousand occasions, instead of what the seed draws: cloudRollback=20. May come often.")
  var fault: [String] = []
  @Flag(help: "No faults but those of --fault.") var quiet = false
  @Flag(help: "Judge only what is left in the end.") var onlyTheEnd = false
  @Option(help: "A mistake to be found: \(Mistake.allCases.map(\.rawValue).joined(separator: ", ")).") var mistake:
    String?
  @Flag(help: "Print what happens; for one seed.") var trace = false
  @Option(help: "How many runs to spend on making a violation small.") var shrink = 400
  @Option(help: "Stop after so many violations.") var most = 10

  func run() throws {
    let start = ContinuousClock().now
    var violations: [String: [UInt64]] = [:]
    var found = 0
    var done = 0
    var frames = 0
    var counts: [Fault: Int] = [:]
    let last = first + UInt64(seeds)
    var next = first
    while next < last, found < most {
      let seed = next
      next += 1
      let plan = try plan(seed: seed)
      let outcome = try Simulation.run(plan, isTracing: trace)
      done += 1
      frames += outcome.frames
      counts.merge(outcome.faults, uniquingKeysWith: +)
      if trace { print(outcome.trace.joined(separator: "\n")) }
      if let violation = outcome.violation {
        found += 1
        violations[violation.invariant, default: []].append(seed)
        print("seed \(seed): \(violation)")
        if shrink > 0 { print(try Shrinking.report(of: plan, atMost: shrink)) }
      }
      if done % 1000 == 0 { print("\(done) seeds, \(rate(done, start)) a second, \(found) violations") }
    }
    print("\(done) seeds from \(first), \(rate(done, start)) a second, \(frames) frames, \(found) violations")
    for (invariant, seeds) in violations.sorted(by: { $0.key < $1.key }) {
      print("  \(invariant): \(seeds.map(String.init).joined(separator: ", "))")
    }
    print(
      "faults: "
        + Fault.allCases.compactMap { fault in counts[fault].map { "\(fault) \($0)" } }.joined(separator: ", "))
    if found > 0 { throw ExitCode.failure }
  }

  private func plan(seed: UInt64) throws -> Plan {
    var plan = Plan(seed: seed, steps: steps)
    plan.onlyTheEnd = onlyTheEnd
    plan.mistake = try mistake.map {
      guard let mistake = Mistake(rawValue: $0) else { throw ValidationError("--mistake \($0): there is no such") }
      return mistake
    }
    if quiet { plan.faults = .none }
    for text in fault {
      let parts = text.split(separator: "=")
      guard parts.count == 2, let fault = Fault(name: String(parts[0])), let rate = Int(parts[1]) else {
        throw ValidationError(
          "--fault \(text): a name and a rate, such as drop=100; the names are \(Fault.allCases.map { "\($0)" }.joined(separator: ", "))"
        )
      }
      plan.faults[fault] = rate
    }
    return plan
  }

  private func rate(_ count: Int, _ start: ContinuousClock.Instant) -> String {
    String(format: "%.1f", Double(count) / ((ContinuousClock().now - start) / .seconds(1)))
  }
}
