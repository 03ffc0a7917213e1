// A writer commits single rows at a steady rate, a reader looks into the cloud's database all the time: how long from the commit here to
// the commit there.

import DroverCore
import DroverSQLite
import Foundation

struct LivePhase {
  let rig: BenchRig
  /// The first ID that is not used yet; the rig has used one to attach.
  var nextID: Int64 = 2

  /// - Parameters:
  ///   - rate: commits a second.
  ///   - seconds: how long.
  /// - Returns: milliseconds, sorted.
  mutating func run(rate: Int, seconds: Int) async throws -> [Double] {
    let count = rate * seconds
    let first = nextID
    nextID += Int64(count)
    let app = rig.appFile
    let cloud = rig.cloud
    async let arrivals = onThread { try Self.watch(cloud, first: first, count: count) }
    let commits = try await onThread { try Self.write(app, first: first, count: count, rate: rate) }
    return zip(commits, try await arrivals).map { commit, arrival in commit.duration(to: arrival) / .milliseconds(1) }
      .sorted()
  }

  /// Commits rows and tells when each commit had returned.
  private static func write(_ path: String, first: Int64, count: Int, rate: Int) throws -> [ContinuousClock.Instant] {
    let app = try BenchApp(path: path)
    var commits: [ContinuousClock.Instant] = []
    commits.reserveCapacity(count)
    let start = ContinuousClock.now.advanced(by: .milliseconds(200))
    for index in 0..<count {
      let due = start.advanced(by: .seconds(1) * index / rate)
      let wait = ContinuousClock.now.duration(to: due)
      if wait > .zero { usleep(UInt32(wait / .microseconds(1))) }
      let id = first + Int64(index)
      try app.insert(id..<(id + 1), into: BenchRig.live, perTransaction: 1)
      commits.append(.now)
    }
    return commits
  }

  /// Looks every 100 µs and tells when each row was there first.
  private static func watch(_ cloud: any BenchStore, first: Int64, count: Int) throws -> [ContinuousClock.Instant] {
    let watch = try cloud.watch()
    var arrivals = [ContinuousClock.Instant?](repeating: nil, count: count)
    var through = first - 1
    let deadline = ContinuousClock.now.advanced(by: .seconds(600))
    while through < first + Int64(count) - 1 {
      let ids = try watch.ids(in: BenchRig.live, of: BenchRig.machine, after: through)
      let now = ContinuousClock.now
      for id in ids where arrivals[Int(id - first)] == nil { arrivals[Int(id - first)] = now }
      while through < first + Int64(count) - 1, arrivals[Int(through + 1 - first)] != nil { through += 1 }
      guard now < deadline else {
        throw BenchFailure("live rows from \(through + 1) on did not arrive within 10 minutes")
      }
      usleep(100)
    }
    return arrivals.map { $0! }
  }
}
