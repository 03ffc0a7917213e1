// One machine beside the cloud's rig: an app's database, and the agent as people run it.

import DroverCore
import DroverProcesses
import DroverSQLite
import Foundation

final class BenchRig: CloudRig {
  static let machine = try! MachineID("BENCH01")
  /// The table of what happens while a backlog drains.
  static let live = "alarm"

  /// The tables of the backlog.
  let backlog: [String]
  let app: BenchApp
  private(set) var agent: ChildProcess?

  /// In a folder of its own, as on another host: the agent watches it.
  var appFile: String { folder.file("machine/app.db") }
  let cloud: any BenchStore

  /// - Parameter drover: the path of the executable.
  init(drover: String, options: Bench.Options) throws {
    let folder = try TemporaryFolder()
    backlog = (1...options.tables).map { $0 == 1 ? "reading" : "reading_\($0)" }
    let tables = backlog + [Self.live]
    try FileManager.default.createDirectory(atPath: folder.file("machine"), withIntermediateDirectories: false)
    cloud = try makeBenchStore(options.store, folder)
    app = try BenchApp(path: folder.file("machine/app.db"))
    try super.init(
      drover: drover, folder: folder, store: cloud.line, keepsFeed: options.keepsFeed, isGroup: options.consumers != nil
    )
    for table in tables { try app.create(table) }
    try folder.write(
      """
      machine: \(Self.machine)
      database: ./machine/app.db
      broker: mqtt://127.0.0.1:\(broker.port)
      log_level: warning
      compression: \(options.compression.rawValue)
      streams:
      \(tables.map { "  - {table: \($0), kind: snapshot}" }.joined(separator: "\n"))
      """, to: "edge.yaml")
  }

  /// Writes rows with these IDs, a thousand in a transaction, into the backlog's tables by turns.
  func write(_ ids: Range<Int64>) throws {
    for (number, first) in stride(from: ids.lowerBound, to: ids.upperBound, by: 1000).enumerated() {
      try app.insert(
        first..<min(first + 1000, ids.upperBound), into: backlog[number % backlog.count], perTransaction: 1000)
    }
  }

  /// Nothing but upserts of the backlog's rows. Returns how long they took.
  func upsertBacklog() throws -> Duration {
    try backlog.reduce(.zero) { try $0 + cloud.upsertAll(of: app, $1) }
  }

  /// Lets agent and consumer meet and agree on empty tables, as on a machine that has been in service for a while; then the agent goes away,
  /// and what the app writes waits in the outbox.
  /// - Parameter count: of consumers.
  func attach(consumers count: Int) throws {
    for _ in 0..<count { try startConsumer() }
    try wait(for: "\(count) consumers") { try brokerCount("clients/connected") >= count }
    try startAgent()
    try app.insert(1..<2, into: Self.live, perTransaction: 1)
    try wait(for: "the agent") {
      guard let watch = try? BenchWatch(path: appFile) else { return false }
      return try watch.isAttached() && watch.confirmed() == 1
    }
    endAgent()
  }

  func startAgent() throws { agent = try start("edge", as: "edge") }
  func endAgent() {
    agent?.end(SIGTERM)
    agent = nil
  }

  override var processes: [(name: String, process: ChildProcess?)] { super.processes + [("edge", agent)] }

  /// Until the cloud has confirmed so many events since the outbox was made.
  func waitForConfirmed(_ count: Int, _ watch: BenchWatch) throws {
    try wait(for: "\(count) confirmed events") { try watch.confirmed() >= count }
  }
}
