import DroverCore
import DroverTesting
import Foundation
import Testing

/// Random tables and statements, and one property: the cloud's table is the app's, value for value and type for type. A case that breaks it is
/// made small and printed as a script.
///
/// `DROVER_SEEDS=5000` runs more cases than the usual, `DROVER_FIRST_SEED=77` others.
@Suite(.ownThread) struct ReplicaPropertyTests {
  private static func number(_ variable: String, otherwise: UInt64) -> UInt64 {
    ProcessInfo.processInfo.environment[variable].flatMap { UInt64($0) } ?? otherwise
  }

  /// How a case breaks; nil where it holds.
  private static func failure(
    of plan: ReplicaCase, damage: @escaping ReplicaRun.Damage = { $0 }
  ) throws -> ReplicaFailure? {
    guard case .broken(let found) = try ReplicaRun.outcome(of: plan, damage: damage) else { return nil }
    return found
  }

  /// The seed, and the smallest script that breaks in the same way.
  private static func report(_ plan: ReplicaCase) throws -> String {
    let small = try ReplicaShrinking.smallest(plan) { try Self.failure(of: $0) }
    let failure = try Self.failure(of: small)
    return
      "seed \(plan.seed), \(small.kind), \(small.delivery), \(small.eventsPerFrame) events a frame: \(failure.map { "\($0)" } ?? "it held when it was run again")"
  }

  @Test func `random tables and statements end equal in the cloud`() throws {
    let first = Self.number("DROVER_FIRST_SEED", otherwise: 1)
    let count = Self.number("DROVER_SEEDS", otherwise: 300)
    var (refused, rows, broken) = (0, 0, 0)
    for seed in first..<(first + count) {
      let plan = ReplicaCases.draw(seed)
      switch try ReplicaRun.outcome(of: plan) {
      case .held(let compared): rows += compared
      case .refused: refused += 1
      case .broken:
        Issue.record("\(try Self.report(plan))")
        broken += 1
        // One is worth a look; a flood of them is not.
        if broken == 5 { return }
      }
    }
    // Most cases have to be about something.
    #expect(refused * 5 < count)
    #expect(rows > count)
  }

  @Test func `a mistake that is planted is found, and shrinks to a script of a few lines`() throws {
    func losesSign(_ value: Value) -> Value {
      if case .real(let real) = value, real == 0 { .real(0) } else { value }
    }
    let seeds = (UInt64(1)...2000).lazy
    let broken = try seeds.map(ReplicaCases.draw).first { try Self.failure(of: $0, damage: losesSign) != nil }
    let plan = try #require(broken)
    let small = try ReplicaShrinking.smallest(plan) { try Self.failure(of: $0, damage: losesSign) }
    let failure = try #require(try Self.failure(of: small, damage: losesSign))
    #expect(failure.script.count <= 4, "\(failure)")
    #expect(small.table.columns.count <= 2)
    #expect(failure.script.joined().contains("-0.0"))
    #expect(failure.detail.contains("-0.0"))
  }
}
