// The whole road for one test: a real broker, the consumer and the agent as processes, their databases in a temporary folder. Everything
// ends with the test, also when it fails.

import DroverProcesses
import DroverTesting
import Foundation
import Subprocess
import SystemPackage
import Testing

final class Road: Sendable {
  static let machine = "MAH001"

  let broker: MosquittoBroker
  let folder: TemporaryFolder
  /// Where the processes say what they do; shown when a wait comes to nothing.
  private let processes = Observed<[String: ChildProcess]>([:])

  var edgeFile: String { folder.file("edge.yaml") }
  var cloudFile: String { folder.file("cloud.yaml") }
  let app: String
  var cloud: String { folder.file("cloud.db") }

  /// - Parameters:
  ///   - machine: the edge's name.
  ///   - streams: the list under `streams:` of the edge's configuration.
  ///   - database: the app's database, where it is not in the folder.
  ///   - store: the cloud's.
  ///   - port: where the agent finds the broker, when that is not the broker itself.
  init(
    _ machine: String = Road.machine, broker: MosquittoBroker? = nil, streams: String, port: Int? = nil,
    edge: String = "", cloud: String = "",
    database: String? = nil, store: String = "sqlite:./cloud.db"
  ) throws {
    self.broker = try broker ?? MosquittoBroker(isPersistent: true)
    folder = try TemporaryFolder()
    app = database ?? folder.file("app.db")
    try folder.write(
      """
      machine: \(machine)
      database: \(app)
      broker: mqtt://127.0.0.1:\(port ?? self.broker.port)
      \(edge)
      streams:
      \(streams)
      """, to: "edge.yaml")
    try folder.write(
      """
      broker: mqtt://127.0.0.1:\(self.broker.port)
      store: \(store)
      \(cloud)
      """, to: "cloud.yaml")
  }

  // MARK: Processes

  enum Side: String { case edge, cloud }

  /// Starts `drover edge` or `drover cloud`; its lines go to a log in the folder.
  func start(_ side: Side) throws {
    let log = open(folder.file("\(side).log"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    defer { close(log) }
    let child = try ChildProcess(
      "sh", ["-c", "exec \"$0\" \"$1\" --config \"$2\" 2>&1", Self.drover, side.rawValue, file(of: side)],
      standardOutput: log)
    processes.update { $0[side.rawValue] = child }
  }

  func end(_ side: Side, _ signal: Int32 = SIGTERM) {
    processes.update { $0.removeValue(forKey: side.rawValue) }?.end(signal)
  }

  func signal(_ side: Side, _ signal: Int32) { processes.now[side.rawValue]?.send(signal) }

  func isRunning(_ side: Side) -> Bool { processes.now[side.rawValue]?.isRunning ?? false }

  func restart(_ side: Side, _ signal: Int32) throws {
    end(side, signal)
    try start(side)
  }

  func log(of side: Side) -> String { (try? String(contentsOfFile: folder.file("\(side).log"), encoding: .utf8)) ?? "" }

  private func file(of side: Side) -> String { side == .edge ? edgeFile : cloudFile }

  // MARK: Commands

  /// The executable of this build, beside the tests.
  static let drover = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
    .appendingPathComponent("drover").path
  static let scripts = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Scripts")
    .path
  static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path

  struct Outcome {
    var status: Int32
    var output: String
    var errors: String
  }

  static func run(
    _ program: String, _ arguments: [String], input: String = "", environment: [String: String] = [:]
  ) async throws -> Outcome {
    let executable: Executable = program.contains("/") ? .path(FilePath(program)) : .name(program)
    let result = try await Subprocess.run(
      executable, arguments: Arguments(arguments),
      environment: .inherit.updating(
        Dictionary(uniqueKeysWithValues: environment.map { (Environment.Key(stringLiteral: $0.key), $0.value) })),
      input: .string(input), output: .string(limit: 16 << 20), error: .string(limit: 16 << 20))
    guard case .exited(let code) = result.terminationStatus else {
      return Outcome(status: -1, output: result.standardOutput, errors: result.standardError)
    }
    return Outcome(status: code, output: result.standardOutput, errors: result.standardError)
  }

  static func drover(_ arguments: String..., input: String = "") async throws -> Outcome {
    try await run(drover, arguments, input: input)
  }

  /// Runs one of the scripts and fails the test, with its words, when it ends with another status than 0.
  @discardableResult
  static func script(_ name: String, _ arguments: [String], sourceLocation: SourceLocation = #_sourceLocation)
    async throws
    -> String
  {
    let outcome = try await run(
      name.hasSuffix(".py") ? "python3" : "bash", ["\(scripts)/\(name)"] + arguments)
    #expect(outcome.status == 0, "\(name): \(outcome.output)\n\(outcome.errors)", sourceLocation: sourceLocation)
    return outcome.output
  }

  /// Python as the app: `db` is an open sqlite3 connection to the app's database, committed at the end.
  @discardableResult
  func python(_ code: String, database: String? = nil, sourceLocation: SourceLocation = #_sourceLocation) async throws
    -> String
  {
    let outcome = try await Self.run(
      "python3",
      ["-c", "import sqlite3, sys, json\ndb = sqlite3.connect(sys.argv[1])\n\(code)\ndb.commit()", database ?? app])
    #expect(outcome.status == 0, "\(outcome.errors)", sourceLocation: sourceLocation)
    return outcome.output.trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// What a query of the cloud's database gives, as JSON text.
  func inCloud(_ sql: String) async throws -> String {
    try await python("print(json.dumps(db.execute(\(literal(sql))).fetchall()))", database: cloud)
  }

  private func literal(_ text: String) -> String { "\"\"\"\(text)\"\"\"" }

  // MARK: Waiting

  struct Status: Decodable {
    struct Stream: Decodable {
      var name: String
      var pending: Int
      var synced: Int
      var confirmed: Int
      var backfilling: Bool
    }
    struct Agent: Decodable { var running: Bool }
    var attached: Bool
    var agent: Agent
    var streams: [Stream]
    var dead_letters: Int

    var isConfirmed: Bool {
      attached && !streams.isEmpty && streams.allSatisfy { $0.pending == 0 && $0.synced == 0 && !$0.backfilling }
    }
  }

  func status() async throws -> Status? {
    let outcome = try await Self.drover("status", "--config", edgeFile, "--json")
    return try? JSONDecoder().decode(Status.self, from: Data(outcome.output.utf8))
  }

  struct CloudStatus: Decodable {
    struct Machine: Decodable {
      var machine: String
      var online: Bool?
      var streams: [Stream]
    }
    struct Stream: Decodable {
      var name: String
      var rows: Int
      var applied: Int
    }
    var machines: [Machine]
    var dead_letters: Int
    var dead_letters_replayed: Int
    var dead_letters_purged: Int
    var messages: [String: Int]
  }

  func cloudStatus() async throws -> CloudStatus? {
    let outcome = try await Self.drover("status", "--config", cloudFile, "--json")
    return try? JSONDecoder().decode(CloudStatus.self, from: Data(outcome.output.utf8))
  }

  /// Asks again and again until it is so. Most questions start a process, so there is a pause between them: tests that ask without one take the
  /// time from what they wait for.
  ///
  /// Gives up after a minute and a half, and not before it has asked often: tests that compute for long take all of the threads on which an answer is heard,
  /// and one question was seen to take three minutes while all that it asked about had happened within two seconds.
  func wait(
    for what: String, sourceLocation: SourceLocation = #_sourceLocation, until isSo: () async throws -> Bool
  ) async throws {
    let deadline = ContinuousClock.now.advanced(by: .seconds(90))
    var questions = 0
    var pause = Duration.milliseconds(10)
    while ContinuousClock.now < deadline || questions < 50 {
      if try await isSo() { return }
      questions += 1
      try await Task.sleep(for: pause)
      pause = min(pause * 2, .milliseconds(160))
    }
    let edge = try await Self.drover("status", "--config", edgeFile)
    let cloud = try await Self.drover("status", "--config", cloudFile, "--json")
    Issue.record(
      """
      never happened: \(what)
      edge: \(log(of: .edge).suffix(3000))
      \(edge.output) \(edge.errors)
      cloud: \(log(of: .cloud).suffix(3000))
      \(cloud.output.suffix(2000)) \(cloud.errors)
      """,
      sourceLocation: sourceLocation)
    throw CancellationError()
  }

  /// Until the edge has nothing left that the cloud has not confirmed, and at least so many events were confirmed.
  func waitUntilConfirmed(atLeast count: Int = 0, sourceLocation: SourceLocation = #_sourceLocation) async throws {
    try await wait(for: "everything is confirmed", sourceLocation: sourceLocation) {
      guard let status = try await self.status(), status.isConfirmed else { return false }
      return status.streams.reduce(0) { $0 + $1.confirmed } >= count
    }
  }
}

extension Road {
  /// A stream of each sort: rows that change, facts, and events without a table.
  static let pensAndFacts = """
      - table: pen
        kind: snapshot
      - table: fact
        kind: payload
      - name: reading
        kind: payload
    """
  /// Their tables, in Python.
  static let makePensAndFacts = [
    "db.execute('PRAGMA journal_mode = WAL')",
    "db.execute('CREATE TABLE pen (id INTEGER PRIMARY KEY, name TEXT)')",
    "db.execute('CREATE TABLE fact (id TEXT PRIMARY KEY, n)')",
  ].joined(separator: "; ")
}

/// The real data sets, where they are; the tests that need them make data of the same shape elsewhere.
enum RealData {
  static func file(_ name: String) -> String? {
    guard let folder = ProcessInfo.processInfo.environment["DROVER_DATA"] else { return nil }
    let path = "\(folder)/\(name)"
    return FileManager.default.fileExists(atPath: path) ? path : nil
  }
}
