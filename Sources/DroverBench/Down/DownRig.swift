// Machines beside the cloud's rig that have reference data from it.

import DroverCore
import DroverProcesses
import DroverSQLite
import Foundation

final class DownRig: CloudRig {
  /// The table whose events drain.
  static let up = "reading"
  /// The table of reference data.
  static let down = "price"

  let cloud: any BenchStore
  private let streams: DownReport.Drain.Streams
  private let rows: Int
  private let compression: Compression
  private var apps: [BenchApp] = []
  private var agents: [ChildProcess?] = []

  init(drover: String, options: Bench.Options, streams: DownReport.Drain.Streams) throws {
    let folder = try TemporaryFolder()
    cloud = try makeBenchStore(options.store, folder)
    (self.streams, rows, compression) = (streams, options.events, options.compression)
    try super.init(drover: drover, folder: folder, store: cloud.line, keepsFeed: options.keepsFeed)
    _ = try addMachine()
  }

  func appFile(_ machine: Int) -> String { folder.file("machine\(machine)/app.db") }

  /// Makes the next machine, whose agent does not run yet.
  func addMachine() throws -> Int {
    let machine = apps.count
    try FileManager.default.createDirectory(
      atPath: folder.file("machine\(machine)"), withIntermediateDirectories: false)
    let app = try BenchApp(path: appFile(machine))
    for table in [Self.up, Self.down] { try app.create(table) }
    let up = "  - {table: \(Self.up), kind: snapshot\(streams == .both ? ", direction: both" : "")}"
    let down = "  - {table: \(Self.down), kind: snapshot, direction: down, machines: all}"
    try folder.write(
      """
      machine: BENCH0\(machine + 1)
      database: ./machine\(machine)/app.db
      broker: mqtt://127.0.0.1:\(broker.port)
      log_level: warning
      compression: \(compression.rawValue)
      streams:
      \((streams == .besideDown ? [up, down] : [up]).joined(separator: "\n"))
      """, to: "edge\(machine).yaml")
    apps.append(app)
    agents.append(nil)
    return machine
  }

  func startAgent(_ machine: Int) throws { agents[machine] = try start("edge\(machine)", as: "edge") }

  func endAgent(_ machine: Int) {
    agents[machine]?.end(SIGTERM)
    agents[machine] = nil
  }

  override var processes: [(name: String, process: ChildProcess?)] {
    super.processes + agents.enumerated().map { ("edge\($0)", $1) }
  }

  /// Lets the first agent and the consumer agree on the tables; a row of each is on the other side then.
  func attach() throws {
    try startConsumer()
    try wait(for: "the consumer") { try brokerCount("clients/connected") >= 1 }
    try startAgent(0)
    try apps[0].insert(1..<2, into: Self.up, perTransaction: 1)
    try wait(for: "the agent") {
      guard let watch = try? BenchWatch(path: appFile(0)) else { return false }
      return try watch.isAttached() && watch.confirmed() == 1
    }
    guard streams == .besideDown else { return }
    try wait(for: "the table in the cloud", upTo: .seconds(60)) {
      // There is no table before the machine has described it.
      (try? cloud.editor().run(Self.insert(1...1))) != nil
    }
    try wait(for: "a row from the cloud") { try hasRow(1, 0) }
  }

  func editor() throws -> any CloudEditor { try cloud.editor() }

  /// Writes rows of events at the first machine.
  func write(_ ids: Range<Int64>) throws { try apps[0].insert(ids, into: Self.up, perTransaction: 1000) }

  func isComplete(_ machine: Int) throws -> Bool { try hasRow(Int64(rows), machine) }

  /// Rows come in the order of their keys.
  private func hasRow(_ id: Int64, _ machine: Int) throws -> Bool {
    try BenchWatch(path: appFile(machine)).integer("id", of: id, in: Self.down) != nil
  }

  /// Rows of reference data for all machines, like those of an app, as any SQL client of both stores inserts them.
  static func insert(_ ids: ClosedRange<Int>) -> String {
    """
    WITH RECURSIVE given (id) AS (
      SELECT \(ids.lowerBound) UNION ALL SELECT id + 1 FROM given WHERE id < \(ids.upperBound))
    INSERT INTO \(down) (id, measured_at, sensor, temperature, humidity, cycles, is_alarm, note)
    SELECT id, '2026-11-20T10:30:00.123Z', 'press-' || (id % 40) || '/bearing', 18 + (id % 900) / 100.0,
           (id * 31 % 1000) / 10.0, id * 7 % 1000000, 0,
           'checked by operator ' || (id % 100) || ', nothing unusual was heard or seen on the line'
      FROM given
    """
  }
}
