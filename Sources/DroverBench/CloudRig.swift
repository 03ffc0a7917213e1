// A broker and a cloud for measuring: the programs that people run, in a temporary folder on loopback.

import DroverProcesses
import Foundation

class CloudRig {
  let folder: TemporaryFolder
  let broker: MosquittoBroker
  private let drover: String
  private(set) var consumers: [ChildProcess] = []

  /// - Parameters:
  ///   - drover: the path of the executable.
  ///   - store: the consumer's `store:`.
  ///   - keepsFeed: its `changes:`.
  ///   - isGroup: whether several consumers may share the work.
  init(drover: String, folder: TemporaryFolder, store: String, keepsFeed: Bool = false, isGroup: Bool = false) throws {
    self.drover = drover
    self.folder = folder
    broker = try MosquittoBroker { _ in ["allow_anonymous true", "sys_interval 1"] }
    try FileManager.default.createDirectory(atPath: folder.file("cloud"), withIntermediateDirectories: false)
    try folder.write(
      """
      broker: mqtt://127.0.0.1:\(broker.port)
      store: \(store)
      changes: \(keepsFeed)
      log_level: warning\(isGroup ? "\ngroup: bench" : "")
      """, to: "cloud.yaml")
  }

  func startConsumer() throws { consumers.append(try start("cloud", as: "cloud")) }

  /// Starts one side by a configuration in the folder.
  func start(_ name: String, as side: String) throws -> ChildProcess {
    try ChildProcess(drover, [side, "--config", folder.file("\(name).yaml")], errorsTo: folder.file("\(name).log"))
  }

  /// What was started, by the side's name.
  var processes: [(name: String, process: ChildProcess?)] { consumers.map { ("cloud", $0) } }

  /// Ends the measuring with what the processes said when one of them is gone.
  func expectRunning() throws {
    for (name, process) in processes {
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
        let logs = processes.map { folder.read("\($0.name).log").suffix(1000) }.joined(separator: " ")
        throw BenchFailure("waited \(limit.components.seconds) s in vain for \(what): \(logs)")
      }
      usleep(2000)
    }
  }

  /// The sum of some of the broker's own counts, such as `bytes/received`; it counts once a second.
  func brokerCount(_ names: String...) throws -> Int {
    usleep(2_100_000)
    let answer = Pipe()
    let child = try ChildProcess(
      "mosquitto_sub",
      ["-p", "\(broker.port)", "-C", "\(names.count)", "-W", "5"]
        + names.flatMap { ["-t", "$SYS/broker/\($0)"] },
      standardOutput: answer.fileHandleForWriting.fileDescriptor)
    try answer.fileHandleForWriting.close()
    let text = String(decoding: answer.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    child.end(SIGTERM)
    let counts = text.split(separator: "\n").compactMap { Int($0) }
    guard counts.count == names.count else {
      throw BenchFailure("mosquitto_sub did not tell \(names.joined(separator: ", "))")
    }
    return counts.reduce(0, +)
  }
}

package struct BenchFailure: Error, CustomStringConvertible {
  package let description: String

  init(_ description: String) { self.description = description }
}
