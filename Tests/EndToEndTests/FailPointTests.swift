// Fail points in short: some of the calls with which Drover's programs change the disk go wrong, each in a run of its own. `make failpoints`
// takes them all, one after the other.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct FailPointTests {
  /// The last line of the script's output.
  private struct Report: Decodable {
    var points: Int
    var violations: Int
  }

  /// Which points are taken is drawn anew each time, and printed with whatever goes wrong.
  private func expectSound(
    _ arguments: [String], points atLeast: Int, sourceLocation: SourceLocation = #_sourceLocation
  ) async throws {
    let seed = Int.random(in: 0..<1_000_000)
    let outcome = try await Road.run(
      "\(Road.repository)/scripts/failpoints", ["--seed", "\(seed)"] + arguments, environment: ["DROVER": Road.drover])
    #expect(outcome.status == 0, "seed \(seed): \(outcome.output)\n\(outcome.errors)", sourceLocation: sourceLocation)
    let line = try #require(outcome.output.split(separator: "\n").last, sourceLocation: sourceLocation)
    let report = try JSONDecoder().decode(Report.self, from: Data(line.utf8))
    #expect(
      report.points >= atLeast, "hardly anything went wrong, so this says nothing", sourceLocation: sourceLocation)
    #expect(report.violations == 0, "seed \(seed)", sourceLocation: sourceLocation)
  }

  @Test func `a program that dies before or in the middle of any change of the disk loses nothing and doubles nothing`()
    async throws
  {
    try await expectSound(["--spread", "1", "--kind", "kill", "--kind", "tear"], points: 10)
  }

  @Test func `on a full or broken disk a program goes on or ends with a reason, and nothing is lost or doubled`()
    async throws
  {
    try await expectSound(["--spread", "1", "--kind", "full", "--kind", "broken"], points: 10)
  }

  @Test func `what cannot be flushed is not sent, and nothing of it is lost`() async throws {
    try await expectSound(["--spread", "1", "--kind", "unflushed"], points: 2)
  }

  /// The same trial that the script makes before it begins: root alone is not enough in some containers.
  private static let canMount =
    (try? ChildProcess.run("unshare", ["-m", "mount", "-t", "tmpfs", "none", "/mnt"])) != nil

  @Test(.enabled(if: canMount, "small disks need root, and a mount namespace"))
  func `disks that the app fills up and frees again stop neither the agent nor the consumer`() async throws {
    try await expectSound(["--small-disk"], points: 3)
  }
}
