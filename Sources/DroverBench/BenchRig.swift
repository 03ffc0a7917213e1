// One machine, a broker and a cloud for the benchmark: the programs that people run, in a temporary folder on loopback.

import DroverCore
import DroverProcesses
import DroverSQLite
import Foundation

final class BenchRig {
  static let machine = try! MachineID("BENCH01")
  /// The table of the backlog, and the one of what happens meanwhile.
  static let backlog = "reading"
  static let live = "alarm"

  let folder: TemporaryFolder
  let broker: MosquittoBroker
  let app: BenchApp
  private let drover: String
  private(set) var agent: ChildProcess?
  private(set) var consumer: ChildProcess?

  /// In folders of their own, as on two hosts: the agent watches its database's.
  var appFile: String { folder.file("machine/app.db") }
  var cloudFile: String { folder.file("cloud/cloud.db") }

  /// - Parameter drover: the path of the executable.
  init(drover: String, compression: Compression) throws {
    self.drover = drover
    folder = try TemporaryFolder()
    broker = try MosquittoBroker { _ in ["allow_anonymous true", "sys_interval 1"] }
    for side in ["machine", "cloud"] {
      try FileManager.default.createDirectory(atPath: folder.file(side), withIntermediateDirectories: false)
    }
    app = try BenchApp(path: folder.file("machine/app.db"))
    for table in [Self.backlog, Self.live] { try app.create(table) }
    try folder.write(
      """
      machine: \(Self.machine)
      database: ./machine/app.db
      broker: mqtt://127.0.0.1:\(broker.port)
      log_level: warning
      compression: \(compression.rawValue)
      streams:
        - {table: \(Self.backlog), kind: snapshot}
        - {table: \(Self.live), kind: snapshot}
      """, to: "edge.yaml")
    try folder.write(
      """
      broker: mqtt://127.0.0.1:\(broker.port)
      store: sqlite:./cloud/cloud.db
      log_level: warning
      """, to: "cloud.yaml")
  }

  /// Lets agent and consumer meet and agree on empty tables, as on a machine that has been in service for a while; then the agent goes away,
  /// and what the app writes waits in the outbox.
  func attach() throws {
    try startConsumer()
    try startAgent()
    try app.insert(1..<2, into: Self.live, perTransaction: 1)
    try wait(for: "the agent") {
      guard let watch = try? BenchWatch(path: appFile) else { return false }
      return try watch.isAttached() && watch.confirmed() == 1
    }
    endAgent()
  }

  func startAgent() throws { agent = try start("edge") }
  func startConsumer() throws { consumer = try start("cloud") }
  func endAgent() {
    agent?.end(SIGTERM)
    agent = nil
  }

  private func start(_ side: String) throws -> ChildProcess {
    try ChildProcess(drover, [side, "--config", folder.file("\(side).yaml")], errorsTo: folder.file("\(side).log"))
  }

  /// Ends the benchmark with what the processes said when one of them is gone.
  func expectRunning() throws {
    for (name, process) in [("edge", agent), ("cloud", consumer)] {
      guard let process, !process.isRunning else { continue }
      throw BenchFailure("drover \(name) ended: \(folder.read("\(name).log").suffix(2000))")
    }
  }

  /// Asks every few milliseconds until it is so.
  func wait(for what: String, upTo limit: Duration = .seconds(600), until isSo: () throws -> Bool) throws {
    let deadline = ContinuousClock.now.advanced(by: limit)
    while try !isSo() {
      try expectRunning()
      guard .now < deadline else {
        throw BenchFailure(
          "waited \(limit.components.seconds) s in vain for \(what): \(folder.read("edge.log").suffix(1000)) \(folder.read("cloud.log").suffix(1000))"
        )
      }
      usleep(2000)
    }
  }

  /// Until the cloud has confirmed so many events since the outbox was made.
  func waitForConfirmed(_ count: Int, _ watch: BenchWatch) throws {
    try wait(for: "\(count) confirmed events") { try watch.confirmed() >= count }
  }

  /// All bytes that the broker has received; it counts once a second.
  func brokerBytes() throws -> Int {
    usleep(2_100_000)
    let answer = Pipe()
    let child = try ChildProcess(
      "mosquitto_sub", ["-p", "\(broker.port)", "-C", "1", "-W", "5", "-t", "$SYS/broker/bytes/received"],
      standardOutput: answer.fileHandleForWriting.fileDescriptor)
    try answer.fileHandleForWriting.close()
    let text = String(decoding: answer.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    child.end(SIGTERM)
    guard let bytes = Int(text.trimmingCharacters(in: .whitespacesAndNewlines)) else {
      throw BenchFailure("mosquitto_sub told no count of bytes")
    }
    return bytes
  }
}

package struct BenchFailure: Error, CustomStringConvertible {
  package let description: String

  init(_ description: String) { self.description = description }
}
