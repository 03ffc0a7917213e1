// A machine that leaves the fleet, and a client that was none.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct ForgetTests {
  private func mosquitto(_ road: Road, _ arguments: String...) async throws -> String {
    let outcome = try await Road.run(
      arguments[0], ["-h", "127.0.0.1", "-p", "\(road.broker.port)"] + arguments.dropFirst())
    return outcome.output
  }

  /// What the broker keeps of the road's machine.
  private func retained(_ road: Road) async throws -> [String] {
    try await mosquitto(road, "mosquitto_sub", "-v", "-t", "drover/v1/#", "--retained-only", "-W", "1", "-F", "%t")
      .split(separator: "\n").map(String.init).sorted()
  }

  private func machines(_ road: Road) async throws -> [String] {
    try await road.cloudStatus()?.machines.map(\.machine) ?? []
  }

  @Test(arguments: ["keep", "remove"])
  func `a machine is forgotten while the consumer runs, and brings everything when it comes again`(rows: String)
    async throws
  {
    let road = try Road(streams: Road.pensAndFacts)
    try await road.python(
      "\(Road.makePensAndFacts); db.executemany('INSERT INTO pen VALUES (?, ?)', [(i, 'p') for i in range(5)])")
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 5)
    road.end(.edge)
    try await road.wait(for: "the machine is offline") { try await road.cloudStatus()?.machines.first?.online == false }
    let refused = try await Road.drover("forget", "--config", road.cloudFile, "--machine", Road.machine)
    #expect(refused.status == 64 && refused.errors.contains("--yes") && refused.errors.contains("5 rows"))
    #expect(try await machines(road) == [Road.machine])
    let outcome = try await Road.drover(
      "forget", "--config", road.cloudFile, "--machine", Road.machine, "--rows", rows, "--yes")
    #expect(outcome.status == 0, "\(outcome.errors)")
    #expect(outcome.output.contains("\(rows == "keep" ? 0 : 5) rows removed"))
    #expect(try await machines(road) == [])
    #expect(try await retained(road) == [])
    #expect(try await road.inCloud("SELECT count(*) FROM pen") == (rows == "keep" ? "[[5]]" : "[[0]]"))
    // A consumer that starts again hears nothing of it.
    try road.restart(.cloud, SIGKILL)
    try await road.wait(for: "the consumer is there") { road.log(of: .cloud).matches(of: /connected to/).count > 1 }
    #expect(try await machines(road) == [])
    #expect(try await road.cloudStatus()?.dead_letters == 0)
    // The same outbox, of which the cloud has nothing any more. On a busy computer an event that waits may come to the cloud before the agent has
    // its answer; then the cloud has something of it, and the agent gives another reason.
    try road.start(.edge)
    try await road.wait(for: "a new epoch") { road.log(of: .edge).contains("a new epoch") }
    try await road.python("db.execute('INSERT INTO pen VALUES (9, ?)', ('new',))")
    try await road.wait(for: "all rows are there") {
      try await road.inCloud("SELECT count(*), count(DISTINCT drover_version) FROM pen") == "[[6, 6]]"
    }
    try await road.waitUntilConfirmed()
    #expect(road.log(of: .edge).contains("the cloud knows nothing of this outbox under the name"))
    #expect(!road.log(of: .edge).contains("was restored"))
  }

  @Test func `the documentation's own example leaves nothing behind`() async throws {
    let text = try String(contentsOfFile: "\(Road.repository)/docs/how-to/watch-the-messages.md", encoding: .utf8)
    let examples = text.split(separator: "\n").filter {
      $0.hasPrefix("mosquitto_pub -q 1 -t drover/v1/TEST") || $0.hasPrefix("drover forget --config cloud.yaml")
    }
    try #require(examples.count == 2)
    let road = try Road(streams: CommandTests.streams)
    try road.start(.cloud)
    try await road.wait(for: "the consumer subscribes") { road.log(of: .cloud).contains("connected to") }
    func run(_ line: Substring) async throws {
      let command = line.replacing("drover forget", with: "\(Road.drover) forget")
        .replacing("cloud.yaml", with: road.cloudFile).replacing(
          "mosquitto_pub", with: "mosquitto_pub -p \(road.broker.port)")
      let outcome = try await Road.run("sh", ["-c", String(command)])
      #expect(outcome.status == 0, "\(outcome.errors)")
    }
    try await run(examples[0])
    try await road.wait(for: "the event is there") {
      try await road.cloudStatus()?.machines.first?.streams.first?.rows == 1
    }
    try await run(examples[1])
    #expect(try await machines(road) == [])
    #expect(try await road.inCloud("SELECT count(*) FROM sqlite_master WHERE name = 'temperature'") == "[[0]]")
    #expect(try await road.inCloud("SELECT count(*) FROM drover_sink") == "[[0]]")
  }

  // The case machine-retired.sh: clearing a retired machine's messages made dead letters and an alert.
  @Test func `retained messages that are cleared by hand are no dead letters`() async throws {
    let road = try Road(streams: Road.pensAndFacts)
    try await road.python("\(Road.makePensAndFacts); db.execute('INSERT INTO pen VALUES (1, ?)', ('p',))")
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 1)
    road.end(.edge)
    let topics = try await retained(road)
    #expect(topics.count >= 4)
    for topic in topics { _ = try await mosquitto(road, "mosquitto_pub", "-q", "1", "-r", "-n", "-t", topic) }
    try await road.wait(for: "all of them were taken") {
      try await road.cloudStatus()?.messages["ignored", default: 0] ?? 0 >= topics.count - 1
    }
    let status = try #require(try await road.cloudStatus())
    #expect(status.dead_letters == 0)
    #expect(status.machines.map(\.online) == [nil])
  }
}
