// The benchmark: an edge database of N rows, then the real agent, a real mosquitto and the real consumer as processes, and in the same run a
// bare loop of upserts of the same rows. docs/performance.md explains the figures.

package import DroverCore
package import DroverPostgreSQL
import DroverProcesses
import DroverSQLite
import Foundation

package struct Bench {
  package struct Options: Sendable {
    package var events = 200_000
    package var liveSeconds = 10
    package var idleSeconds = 30
    /// Rates of the live phase, in commits a second.
    package var rates = [100, 1000]
    package var compression = Compression.none
    package var store = Store.sqlite
    /// How many consumers share the work as a group, on PostgreSQL; nil for one that works alone.
    package var consumers: Int?
    /// How many tables the backlog lies in. What is one table's is applied by one consumer at a time.
    package var tables = 1
    /// Whether the consumer keeps a change feed.
    package var keepsFeed = false

    package init() {}
  }

  /// The cloud's database.
  package enum Store: Sendable {
    case sqlite
    /// A server of the benchmark's own, durable as it is by default.
    case ownPostgreSQL
    /// An empty database on a server that is there.
    case postgresql(PostgreSQLAddress, uri: String)
  }

  private let options: Options
  private let rig: BenchRig
  private let progress: (String) -> Void

  /// - Parameters:
  ///   - drover: the path of the executable to measure.
  ///   - progress: told what is done now.
  package init(options: Options, drover: String, progress: @escaping (String) -> Void) throws {
    self.options = options
    self.progress = progress
    rig = try BenchRig(drover: drover, options: options)
  }

  package func run() async throws -> BenchReport {
    progress("measuring what capture costs a writer")
    let capture = try CaptureCost.measured()
    progress("writing \(options.events) rows while the agent is away")
    try rig.attach(consumers: options.consumers ?? 1)
    try rig.write(1..<Int64(options.events + 1))
    progress("upserting them in a bare loop")
    let yardstick = try rig.upsertBacklog()
    progress("draining")
    var report = try drain(capture)
    report.yardstickPerSecond = Double(options.events) / (yardstick / .seconds(1))
    var live = LivePhase(rig: rig)
    for rate in options.rates {
      progress("live, \(rate) events/s")
      let sorted = try await live.run(rate: rate, seconds: options.liveSeconds)
      report.latencies.append(.init(rate: rate, whileDraining: false, sorted: sorted))
    }
    progress("idle for \(options.idleSeconds) s")
    try measureIdle(&report)
    for (index, rate) in options.rates.enumerated() {
      progress("live, \(rate) events/s, while \(options.events) drain")
      rig.endAgent()
      let first = Int64(options.events * (index + 1) + 1)
      try rig.write(first..<(first + Int64(options.events)))
      try rig.startAgent()
      let sorted = try await live.run(rate: rate, seconds: options.liveSeconds)
      report.latencies.append(.init(rate: rate, whileDraining: true, sorted: sorted))
      let watch = try BenchWatch(path: rig.appFile)
      try rig.waitForConfirmed(options.events * (index + 2) + Int(live.nextID) - 1, watch)
    }
    return report
  }

  private func drain(_ capture: CaptureCost) throws -> BenchReport {
    let (app, cloud) = (try BenchWatch(path: rig.appFile), try rig.cloud.watch())
    let bytes = try rig.brokerCount("bytes/received")
    let before = try usages()
    let start = ContinuousClock.now
    try rig.startAgent()
    try rig.wait(for: "the first event") { try rig.backlog.contains { try cloud.hasRows($0) } }
    let first = start.duration(to: .now)
    try rig.waitForConfirmed(options.events + 1, app)
    let all = start.duration(to: .now)
    let after = try usages()
    let used = zip(after, before).map { after, before in
      BenchReport.Usage(cpu: (after?.cpuSeconds ?? 0) - (before?.cpuSeconds ?? 0), memory: after?.peakBytes ?? 0)
    }
    return BenchReport(
      events: options.events, store: rig.cloud.name, drainSeconds: all / .seconds(1), yardstickPerSecond: 0,
      firstEventSeconds: first / .seconds(1),
      brokerBytesPerEvent: Double(try rig.brokerCount("bytes/received") - bytes) / Double(options.events),
      plainBytesPerEvent: try rig.app.plainBytes(of: rig.backlog[0]),
      agent: used[0], broker: used[1], consumers: Array(used[2...]), capture: capture)
  }

  /// Of agent, broker and consumers.
  private func usages() throws -> [ProcessUsage?] {
    ([rig.agent?.processID, rig.broker.processID] + rig.consumers.map(\.processID)).map { $0.flatMap(ProcessUsage.of) }
  }

  private func measureIdle(_ report: inout BenchReport) throws {
    // What the live phase left to confirm and to forget is done first.
    usleep(2_000_000)
    let before = try usages()
    usleep(UInt32(options.idleSeconds) * 1_000_000)
    let shares = zip(try usages(), before).map { after, before in
      ((after?.cpuSeconds ?? 0) - (before?.cpuSeconds ?? 0)) / Double(options.idleSeconds) * 100
    }
    (report.agent.idle, report.broker.idle) = (shares[0], shares[1])
    for (index, share) in shares[2...].enumerated() { report.consumers[index].idle = share }
  }
}
