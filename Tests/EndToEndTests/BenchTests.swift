// The benchmark, small: that it measures what it says, with the real processes. How fast is no matter for a test.

import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct BenchTests {
  private struct Report: Decodable {
    struct Latency: Decodable {
      var rate: Int
      var while_draining: Bool
      var count: Int
      var p50, p99, p999: Double
    }
    struct Usage: Decodable {
      var cpu: Double
      var memory: Int
      var idle: Double
    }
    var events: Int
    var store: String
    var drain_seconds, events_per_second, yardstick_per_second, ratio, first_event_seconds: Double
    struct Capture: Decodable { var durable, single, bulk: Double }
    var broker_bytes_per_event, plain_bytes_per_event: Double
    var capture: Capture
    var agent, broker: Usage
    var consumers: [Usage]
    var latencies: [Latency]
  }

  @Test(arguments: [
    ("sqlite", 1, []), ("postgresql", 1, []), ("postgresql", 2, ["--consumers", "2", "--tables", "3"]),
  ])
  func `bench drains a backlog through real processes and reports every figure`(
    store: String, consumers: Int, options: [String]
  ) async throws {
    let outcome = try await Road.run(
      Road.drover,
      [
        "bench", "--store", store, "--events", "2000", "--live", "1", "--idle", "1", "--compression", "deflate",
        "--json",
      ]
        + options)
    try #require(outcome.status == 0, "\(outcome.errors)")
    let report = try JSONDecoder().decode(Report.self, from: Data(outcome.output.utf8))
    #expect(report.store == store)
    #expect(report.events == 2000 && report.first_event_seconds <= report.drain_seconds)
    #expect(abs(report.events_per_second * report.drain_seconds - 2000) < 1)
    #expect(abs(report.ratio * report.yardstick_per_second - report.events_per_second) < 1)
    #expect(report.plain_bytes_per_event > 150 && report.broker_bytes_per_event < report.plain_bytes_per_event)
    #expect(report.agent.memory > 1 << 20 && report.broker.memory > 1 << 20)
    #expect(report.consumers.count == consumers && report.consumers.allSatisfy { $0.memory > 1 << 20 })
    #expect(report.capture.durable > 0 && report.capture.single > 0 && report.capture.bulk > 0)
    #expect(report.latencies.map(\.rate) == [100, 1000, 100, 1000])
    #expect(report.latencies.map(\.while_draining) == [false, false, true, true])
    #expect(report.latencies.allSatisfy { $0.count == $0.rate && 0 < $0.p50 && $0.p50 <= $0.p99 && $0.p99 <= $0.p999 })
  }

  @Test func `bench measures a good machine beside each kind of bad messages`() async throws {
    struct Hostile: Decodable {
      struct Phase: Decodable {
        var flood: String?
        var per_second: Double
        var count: Int
        var p50, p99, worst: Double
      }
      var store: String
      var phases: [Phase]
    }
    let outcome = try await Road.run(
      Road.drover, ["bench", "--hostile", "--flood", "1000", "--live", "1", "--json"])
    try #require(outcome.status == 0, "\(outcome.errors)")
    let report = try JSONDecoder().decode(Hostile.self, from: Data(outcome.output.utf8))
    #expect(report.phases.map(\.flood) == [nil, "garbage", "epochs", "deletes", "schemas", "gaps", "mixed"])
    #expect(report.phases[0].per_second == 0 && report.phases.dropFirst().allSatisfy { $0.per_second > 0 })
    #expect(report.phases.allSatisfy { $0.count == 100 && 0 < $0.p50 && $0.p50 <= $0.p99 && $0.p99 <= $0.worst })
  }

  @Test(arguments: ["sqlite", "postgresql"])
  func `bench measures the way down with real processes and reports every figure`(store: String) async throws {
    struct Down: Decodable {
      struct Drain: Decodable {
        var streams: String
        var per_second, consumer_microseconds: Double
      }
      struct Latency: Decodable {
        var count: Int
        var p50, p99, p999: Double
      }
      var store: String
      var rows: Int
      var drains: [Drain]
      var per_second, ratio: Double
      var latency: Latency
    }
    let outcome = try await Road.run(
      Road.drover, ["bench", "--down", "--store", store, "--events", "2000", "--live", "1", "--json"])
    try #require(outcome.status == 0, "\(outcome.errors)")
    let report = try JSONDecoder().decode(Down.self, from: Data(outcome.output.utf8))
    #expect(report.store == store && report.rows == 2000)
    #expect(report.drains.map(\.streams) == ["only_up", "beside_down", "both"])
    #expect(report.drains.allSatisfy { $0.per_second > 0 && $0.consumer_microseconds >= 0 })
    #expect(abs(report.ratio * report.drains[0].per_second - report.per_second) < 1)
    #expect(report.latency.count == 100 && 0 < report.latency.p50)
    #expect(report.latency.p50 <= report.latency.p99 && report.latency.p99 <= report.latency.p999)
  }

  @Test func `every hot loop runs by itself`() async throws {
    let benchmarks = URL(fileURLWithPath: Road.drover).deletingLastPathComponent().appending(path: "drover-benchmarks")
    let outcome = try await Road.run(benchmarks.path, ["--seconds", "0.01", "--json"])
    try #require(outcome.status == 0, "\(outcome.errors)")
    struct Line: Decodable {
      var loop: String
      var median_ns, least_ns, rounds: Int
    }
    let lines = try outcome.output.split(separator: "\n").map {
      try JSONDecoder().decode(Line.self, from: Data($0.utf8))
    }
    #expect(
      lines.map(\.loop) == [
        "insert", "captured insert", "outbox read", "frame encode", "frame decode", "apply", "apply numbered", "settle",
        "interval set",
      ])
    #expect(lines.allSatisfy { $0.rounds >= 3 && 0 < $0.least_ns && $0.least_ns <= $0.median_ns })
  }

  @Test(arguments: [
    ["--events", "10"], ["--store", "oracle"], ["--compression", "zip"], ["--consumers", "2"],
    ["--down", "--store", "postgresql://h/d"], ["--hostile", "--down"],
  ])
  func `bench says what it does not take`(arguments: [String]) async throws {
    let outcome = try await Road.run(Road.drover, ["bench"] + arguments)
    #expect(outcome.status == 64 && outcome.errors.contains(arguments[0].dropFirst(2)), "\(outcome.errors)")
  }
}
