// How soon a good machine's commits are in the cloud while another machine sends thousands of bad messages a second.

package import Logging
import DroverCore
import DroverMQTT
import DroverProcesses
import Foundation

package struct HostileReport: Codable, Sendable {
  package struct Phase: Codable, Sendable {
    /// nil: the good machine is alone.
    package var flood: FloodKind?
    /// Bad messages that were sent, a second.
    package var perSecond: Double
    package var count: Int
    /// Milliseconds from the good machine's commit to the commit in the cloud.
    package var p50, p99, worst: Double
  }

  package var store: String
  package var phases: [Phase]

  package var text: String {
    phases.map { phase in
      let name = phase.flood.map { "\($0.rawValue), \(Int(phase.perSecond)) a second" } ?? "alone"
      return name.padding(toLength: 28, withPad: " ", startingAt: 0)
        + "p50 \(number(phase.p50, 2)) ms, p99 \(number(phase.p99, 2)) ms, worst \(number(phase.worst, 2)) ms of \(phase.count) commits"
    }.joined(separator: "\n")
  }

  package var json: String {
    get throws {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
      encoder.keyEncodingStrategy = .convertToSnakeCase
      return String(decoding: try encoder.encode(self), as: UTF8.self)
    }
  }
}

package struct HostileBench {
  /// Commits of the good machine, a second.
  private static let rate = 100

  private let options: Bench.Options
  private let perSecond: Int
  private let rig: BenchRig
  private let logger: Logger
  private let progress: (String) -> Void

  /// - Parameters:
  ///   - perSecond: bad messages a second.
  ///   - drover: the path of the executable to measure.
  package init(
    options: Bench.Options, perSecond: Int, drover: String, logger: Logger, progress: @escaping (String) -> Void
  ) throws {
    self.options = options
    self.perSecond = perSecond
    self.logger = logger
    self.progress = progress
    rig = try BenchRig(drover: drover, options: options)
  }

  package func run() async throws -> HostileReport {
    try rig.attach(consumers: options.consumers ?? 1)
    try rig.startAgent()
    let flood = Flood(perSecond: perSecond)
    let session = MosquittoSession(
      options: MQTTOptions(host: "127.0.0.1", port: rig.broker.port, clientID: "evil"), logger: logger)
    let flooding = Task { await session.run(handler: flood) }
    defer { session.stop() }
    try rig.wait(for: "the hostile machine") { flood.isConnected }
    var report = HostileReport(store: rig.cloud.name, phases: [])
    var live = LivePhase(rig: rig)
    for kind in [FloodKind?.none] + FloodKind.allCases.map({ $0 }) {
      progress(
        kind.map { "live, while another machine sends \(perSecond) messages/s: \($0.rawValue)" } ?? "live, alone")
      flood.send(kind)
      let start = ContinuousClock.now
      let sorted = try await live.run(rate: Self.rate, seconds: options.liveSeconds)
      let sent = Double(flood.sent) / (start.duration(to: .now) / .seconds(1))
      flood.send(nil)
      try rig.expectRunning()
      report.phases.append(
        .init(
          flood: kind, perSecond: sent, count: sorted.count, p50: quantile(0.5, of: sorted),
          p99: quantile(0.99, of: sorted), worst: sorted.last!))
    }
    session.stop()
    await flooding.value
    return report
  }
}
