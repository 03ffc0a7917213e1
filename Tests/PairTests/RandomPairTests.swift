// Both sides equal in the end, and every value accounted for, over random tables and statements. `SEEDS=2000 swift test --filter RandomPairTests` runs
// more seeds; a seed that breaks it prints the SQL that is left of it.

import DroverSimulation
import DroverTesting
import Foundation
import Testing

@Suite(.ownThread) struct RandomPairTests {
  private static let environment = ProcessInfo.processInfo.environment
  private static let first = environment["FIRST_SEED"].flatMap(UInt64.init) ?? 1
  private static let count = environment["SEEDS"].flatMap(UInt64.init)
  static let seeds = first..<(first + (count ?? 24))
  static let fewer = first..<(first + (count ?? 10))

  @Test(arguments: seeds)
  func `with SQLite both sides are equal in the end, and no value is lost`(seed: UInt64) throws {
    try holds(seed, .sqlite)
  }

  @Test(arguments: fewer)
  func `with PostgreSQL both sides are equal in the end, and no value is lost`(seed: UInt64) throws {
    try holds(seed, .postgreSQL)
  }

  private func holds(_ seed: UInt64, _ kind: CloudStoreKind) throws {
    let plan = PairPlan(seed: seed)
    guard try RandomPair.run(plan, kind.make).violation != nil else { return }
    Issue.record("\(try RandomPair.report(plan, atMost: 200, kind.make).text)")
  }

  /// `TRACE=17 swift test --filter RandomPairTests` prints what happens under a seed.
  @Test(.enabled(if: environment["TRACE"] != nil), arguments: CloudStoreKind.allCases)
  func `a seed is shown`(kind: CloudStoreKind) throws {
    let seed = try #require(Self.environment["TRACE"].flatMap(UInt64.init))
    let outcome = try RandomPair.run(PairPlan(seed: seed), isTracing: true, kind.make)
    print((outcome.script + outcome.trace + [outcome.violation ?? "all is well"]).joined(separator: "\n"))
  }

  // MARK: The property itself

  @Test func `a planted mistake is found, and shrinks to a few statements`() throws {
    for mistake in [PairMistake.unlistedConflict, .uncapturedUpdate] {
      var smallest: (text: String, statements: Int)?
      for seed in UInt64(1)...20 where smallest == nil {
        var plan = PairPlan(seed: seed, steps: 25)
        plan.mistake = mistake
        guard try RandomPair.run(plan, CloudStoreKind.sqlite.make).violation != nil else { continue }
        smallest = try RandomPair.report(plan, atMost: 120, CloudStoreKind.sqlite.make)
      }
      let found = try #require(smallest, "twenty seeds do not find \(mistake)")
      #expect(found.statements <= 4, "\(found.text)")
    }
  }

  @Test func `the seeds have conflicts and commits on both sides`() throws {
    let outcomes = try (UInt64(1)...10).map { try RandomPair.run(PairPlan(seed: $0), CloudStoreKind.sqlite.make) }
    #expect(outcomes.reduce(0) { $0 + $1.commits } > 60)
    #expect(outcomes.reduce(0) { $0 + $1.conflicts } > 5)
  }
}
