// `make simulate`: many seeds, and for a seed that breaks a promise the smallest run that still does.

import ArgumentParser
import DroverSimulation
import Foundation
import Synchronization

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
  @Flag(help: "Another machine sends whatever it likes in every run, and not in a quarter of them.") var hostile = false
  @Flag(help: "Each machine has tables that both sides edit.") var twoWay = false
  @Flag(help: "Print what happens; for one seed.") var trace = false
  @Option(help: "How many runs to spend on making a violation small.") var shrink = 400
  @Option(help: "Stop after so many violations.") var most = 10

  @Option(help: "How many threads run seeds; one for each processor when it is not given.") var jobs: Int?

  func run() throws {
    let start = ContinuousClock().now
    let tally = Mutex(Tally(next: first))
    DispatchQueue.concurrentPerform(iterations: trace ? 1 : jobs ?? ProcessInfo.processInfo.activeProcessorCount) { _ in
      while let seed = tally.withLock({ $0.take(before: first + UInt64(seeds), most: most) }) {
        do {
          try run(seed, tally, start)
        } catch {
          tally.withLock { $0.error = error }
        }
      }
    }
    let total = tally.withLock { $0 }
    if let error = total.error { throw error }
    print(
      "\(total.done) seeds from \(first), \(rate(total.done, start)) a second, \(total.frames) frames, \(total.found) violations"
    )
    for (invariant, seeds) in total.violations.sorted(by: { $0.key < $1.key }) {
      print("  \(invariant): \(seeds.sorted().map(String.init).joined(separator: ", "))")
    }
    print(
      "faults: "
        + Fault.allCases.compactMap { fault in total.counts[fault].map { "\(fault) \($0)" } }.joined(separator: ", "))
    if total.found > 0 { throw ExitCode.failure }
  }

  /// What the seeds came to, of all threads.
  private struct Tally {
    var next: UInt64
    var violations: [String: [UInt64]] = [:]
    var found = 0
    var done = 0
    var frames = 0
    var counts: [Fault: Int] = [:]
    var error: (any Error)?

    mutating func take(before last: UInt64, most: Int) -> UInt64? {
      guard next < last, found < most, error == nil else { return nil }
      defer { next += 1 }
      return next
    }
  }

  private func run(_ seed: UInt64, _ tally: borrowing Mutex<Tally>, _ start: ContinuousClock.Instant) throws {
    let plan = try plan(seed: seed)
    let outcome = try Simulation.run(plan, isTracing: trace)
    let done = tally.withLock { tally in
      tally.done += 1
      tally.frames += outcome.frames
      tally.counts.merge(outcome.faults, uniquingKeysWith: +)
      if let violation = outcome.violation {
        tally.found += 1
        tally.violations[violation.invariant, default: []].append(seed)
      }
      return tally.done
    }
    if trace { print(outcome.trace.joined(separator: "\n")) }
    if let violation = outcome.violation {
      let small = shrink > 0 ? "\n" + (try Shrinking.report(of: plan, atMost: shrink)) : ""
      print("seed \(seed): \(violation)\(small)")
      fflush(nil)
    }
    guard done % 1000 == 0 else { return }
    print("\(done) seeds, \(rate(done, start)) a second")
    fflush(nil)
  }

  private func plan(seed: UInt64) throws -> Plan {
    var plan = Plan(seed: seed, steps: steps)
    plan.onlyTheEnd = onlyTheEnd
    if hostile { plan.isHostile = true }
    if twoWay { plan.twoWay = Plan.twoWay(seed: seed) }
    plan.mistake = try mistake.map {
      guard let mistake = Mistake(rawValue: $0) else { throw ValidationError("--mistake \($0): there is no such") }
      return mistake
    }
    if plan.mistake?.isTwoWay ?? false { plan.twoWay = Plan.twoWay(seed: seed) }
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
