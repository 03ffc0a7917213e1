// The kill loop in short: `make chaos` runs it for hours.

import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct ChaosTests {
  /// The last line of the script's output.
  private struct Report: Decodable {
    var seed: Int
    var kills: Int
    var events: Int
    var lost: Int
    var doubled: Int
    var violations: [String]
  }

  @Test func `nothing is lost and nothing is there twice when agents, broker and consumer are killed 30 times`()
    async throws
  {
    try await run(kills: 30)
  }

  @Test
  func
    `nothing is lost and nothing is there twice by three consumers on PostgreSQL that are killed with its server and the others 20 times`()
    async throws
  {
    try await run(kills: 20, "--store", "postgresql", "--consumers", "3")
  }

  private struct TwoWayReport: Decodable {
    var edits: Int
    var faults: [String]
  }

  @Test func `no edit of either side is lost when broker, consumer and agent are killed 15 times`() async throws {
    let seed = Int.random(in: 0..<1_000_000)
    let outcome = try await Road.run(
      "\(Road.repository)/scripts/chaos-two-way", ["--kills", "15", "--seed", "\(seed)"],
      environment: ["DROVER": Road.drover])
    let line = try #require(
      outcome.output.split(separator: "\n").last, "seed \(seed): \(outcome.output)\n\(outcome.errors)")
    let report = try JSONDecoder().decode(TwoWayReport.self, from: Data(line.utf8))
    #expect(report.faults.isEmpty, "seed \(seed): \(outcome.errors)")
    #expect(report.edits > 50, "hardly anything was edited, so this says nothing")
  }

  private func run(kills: Int, _ options: String...) async throws {
    // Drawn anew each time, and printed with whatever goes wrong: `scripts/chaos --kills … --seed …` plans the same blows again.
    let seed = Int.random(in: 0..<1_000_000)
    let outcome = try await Road.run(
      "\(Road.repository)/scripts/chaos", ["--kills", "\(kills)", "--seed", "\(seed)"] + options,
      environment: ["DROVER": Road.drover])
    #expect(outcome.status == 0, "seed \(seed): \(outcome.output)\n\(outcome.errors)")
    let line = try #require(outcome.output.split(separator: "\n").last)
    let report = try JSONDecoder().decode(Report.self, from: Data(line.utf8))
    #expect(report.kills >= kills)
    #expect(report.events > 1000, "the apps hardly wrote anything, so this says nothing")
    #expect(report.lost == 0 && report.doubled == 0 && report.violations.isEmpty, "seed \(seed)")
  }
}
