// A small fleet: that it measures what it says, with a real broker and a real consumer. How fast is no matter for a test.

import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct FleetTests {
  private struct Report: Decodable {
    struct Usage: Decodable {
      var microseconds_per_event, microseconds_per_arrival: Double
      var memory: Int
    }
    var machines, made, confirmed, rows_lost, rows_doubled, fleet_bytes_per_machine: Int
    var rate: Double?
    var arrival_seconds, seconds, events_per_second, p50, p99, bytes_per_event, messages_per_event: Double
    var consumer, broker: Usage
  }

  private func fleet(_ arguments: String...) async throws -> Report {
    let outcome = try await Road.run(Road.drover, ["simulate-fleet", "--json"] + arguments)
    try #require(outcome.status == 0, "\(outcome.errors)")
    return try JSONDecoder().decode(Report.self, from: Data(outcome.output.utf8))
  }

  @Test func `machines at a rate, each with its own connection, lose and double nothing`() async throws {
    let report = try await fleet("--machines", "40", "--rate", "2.5", "--seconds", "2")
    #expect(report.machines == 40 && report.rate == 2.5)
    #expect(report.made == 200 && report.confirmed == 200 && report.rows_lost == 0 && report.rows_doubled == 0)
    #expect(abs(report.events_per_second * report.seconds - 200) < 1)
    #expect(0 < report.p50 && report.p50 <= report.p99)
    // A frame to the broker and to the consumer, and an acknowledgement of each.
    #expect(report.messages_per_event > 4 && report.bytes_per_event > 400)
    #expect(report.consumer.memory > 1 << 20 && report.broker.memory > 1 << 20)
  }

  @Test func `a backlog at each machine is drained in frames of many events`() async throws {
    let report = try await fleet("--machines", "5", "--backlog", "3000")
    #expect(report.rate == nil && report.made == 15_000 && report.confirmed == 15_000)
    #expect(report.rows_lost == 0 && report.rows_doubled == 0)
    #expect(report.messages_per_event < 1)
  }

  @Test(arguments: [
    ["--machines", "0", "--rate", "1"], ["--machines", "30000", "--rate", "1"], ["--rate", "1", "--backlog", "10"],
    ["--machines", "10"], ["--rate", "0.01", "--seconds", "5"], ["--rate", "nan"], ["--rate", "inf"],
    ["--rate", "1", "--seconds", "90000"],
  ])
  func `a fleet that cannot be is refused`(arguments: [String]) async throws {
    let outcome = try await Road.run(Road.drover, ["simulate-fleet"] + arguments)
    #expect(outcome.status == 64, "\(outcome.errors)")
  }

  @Test func `too low a limit of open files is named, and how many machines it allows`() async throws {
    let outcome = try await Road.run(
      "/bin/sh", ["-c", "ulimit -Sn 150; ulimit -Hn 150; exec \(Road.drover) simulate-fleet --machines 60 --rate 1"])
    #expect(outcome.status == 1 && outcome.errors.contains("is 150, which allows 50 machines"), "\(outcome.errors)")
  }
}
