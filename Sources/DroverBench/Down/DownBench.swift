// What the way down takes: how soon an edit in the cloud is in a machine's database, how fast reference data reach a new machine, and what it costs the
// consumer that edits are captured. The programs are those that people run.

import DroverCore
import DroverProcesses
import DroverSQLite
import Foundation

package struct DownBench {
  private let options: Bench.Options
  private let drover: String
  private let progress: (String) -> Void

  /// - Parameters:
  ///   - options: `events` is how many rows there are, of a backlog that drains and of reference data.
  ///   - drover: the path of the executable to measure.
  ///   - progress: told what is done now.
  package init(options: Bench.Options, drover: String, progress: @escaping (String) -> Void) {
    (self.options, self.drover, self.progress) = (options, drover, progress)
  }

  package func run() async throws -> DownReport {
    let drains = try DownReport.Drain.Streams.allCases.map { streams in
      progress("draining \(options.events) events: \(streams.text)")
      return try drain(streams)
    }
    let rig = try DownRig(drover: drover, options: options, streams: .besideDown)
    progress("writing \(options.events) rows of reference data in the cloud")
    try rig.attach()
    let editor = try rig.editor()
    try editor.run(DownRig.insert(2...options.events))
    try rig.wait(for: "the rows at the first machine") { try rig.isComplete(0) }
    var report = DownReport(
      rows: options.events, store: rig.cloud.name, drains: drains, perSecond: try reference(rig))
    progress("editing \(DownReport.rate) rows a second for \(options.liveSeconds) s")
    report.latency = DownReport.Latency(sorted: try await edit(rig))
    return report
  }

  private func drain(_ streams: DownReport.Drain.Streams) throws -> DownReport.Drain {
    let rig = try DownRig(drover: drover, options: options, streams: streams)
    try rig.attach()
    rig.endAgent(0)
    try rig.write(2..<Int64(options.events + 2))
    let consumer = rig.consumers[0].processID
    let before = ProcessUsage.of(consumer)?.cpuSeconds ?? 0
    let watch = try BenchWatch(path: rig.appFile(0))
    let start = ContinuousClock.now
    try rig.startAgent(0)
    try rig.wait(for: "\(options.events) confirmed events") { try watch.confirmed() > options.events }
    let seconds = start.duration(to: .now) / .seconds(1)
    return DownReport.Drain(
      streams: streams, perSecond: Double(options.events) / seconds,
      consumerMicroseconds: ((ProcessUsage.of(consumer)?.cpuSeconds ?? 0) - before) / Double(options.events) * 1e6)
  }

  /// How many rows a second a new machine gets, from the start of its agent on.
  private func reference(_ rig: DownRig) throws -> Double {
    progress("bringing them to a new machine")
    let machine = try rig.addMachine()
    let start = ContinuousClock.now
    try rig.startAgent(machine)
    try rig.wait(for: "the rows at the new machine") { try rig.isComplete(machine) }
    return Double(options.events) / (start.duration(to: .now) / .seconds(1))
  }

  /// Edits one row at a steady rate, and looks into the first machine's database all the time.
  /// - Returns: milliseconds from the return of each commit to the first look that sees it, sorted.
  private func edit(_ rig: DownRig) async throws -> [Double] {
    let count = DownReport.rate * options.liveSeconds
    let (cloud, app) = (rig.cloud, rig.appFile(0))
    async let arrivals = onThread { try Self.watch(app, count: count) }
    let commits = try await onThread { try Self.edit(cloud, count: count) }
    return zip(commits, try await arrivals).map { $0.duration(to: $1) / .milliseconds(1) }.sorted()
  }

  private static func edit(_ cloud: any BenchStore, count: Int) throws -> [ContinuousClock.Instant] {
    let editor = try cloud.editor()
    var commits: [ContinuousClock.Instant] = []
    let start = ContinuousClock.now.advanced(by: .milliseconds(500))
    for number in 1...count {
      let wait = ContinuousClock.now.duration(to: start.advanced(by: .seconds(1) * number / DownReport.rate))
      if wait > .zero { usleep(UInt32(wait / .microseconds(1))) }
      try editor.run("UPDATE \(DownRig.down) SET cycles = \(-number) WHERE machine_id = '*' AND id = 1")
      commits.append(.now)
    }
    return commits
  }

  /// An edit that a newer one has overtaken was there when that came.
  private static func watch(_ app: String, count: Int) throws -> [ContinuousClock.Instant] {
    let watch = try BenchWatch(path: app)
    var arrivals: [ContinuousClock.Instant] = []
    let deadline = ContinuousClock.now.advanced(by: .seconds(600))
    while arrivals.count < count {
      let cycles = try watch.integer("cycles", of: 1, in: DownRig.down) ?? 0
      let now = ContinuousClock.now
      while arrivals.count < -Int(cycles) { arrivals.append(now) }
      guard now < deadline else {
        throw BenchFailure("edit \(arrivals.count + 1) did not arrive within 10 minutes")
      }
      usleep(100)
    }
    return arrivals
  }
}
