// The real input that has to pass through: a sensor's year, a shop's database under churn, and a day of garbage. Where the data sets are
// not at hand (DROVER_DATA names their folder), data of the same shape is made.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct RealDataTests {
  @Test func `22,695 temperatures arrive with the file's count, sum, first and last row`() async throws {
    let road = try Road(streams: "  - name: temperature\n    kind: payload\n")
    let csv: String
    if let real = RealData.file("machine-temperature/machine_temperature_system_failure.csv") {
      csv = real
    } else {
      let made = try await Road.run("python3", ["\(Road.repository)/scripts/demo-sensor.py", "--lines", "22695"])
      csv = try road.folder.write(made.output, to: "readings.csv")
    }
    try road.start(.cloud)
    // Before the agent was ever there: emit attaches the database itself.
    let emitted = try await Road.drover("emit", "--config", road.edgeFile, "--stream", "temperature", csv)
    #expect(emitted.status == 0, "\(emitted.errors)")
    #expect(emitted.output == "22695 events taken into temperature, 0 lines refused\n")
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 22_695)
    try await Road.script("check_temperature.py", [csv, road.cloud, Road.machine, "temperature"])
  }

  @Test func `a shop's database equals its replica after churn with every part restarted`() async throws {
    let folder = try TemporaryFolder()
    let source = folder.file("shop.db")
    if let real = RealData.file("chinook/Chinook_Sqlite.sqlite") {
      try Data(contentsOf: URL(fileURLWithPath: real)).write(to: URL(fileURLWithPath: source))
    } else {
      try await Road.script("make_shop.py", [source])
    }
    let tables = try await Road.run(
      "python3",
      [
        "-c",
        "import sqlite3, sys; print('\\n'.join(r[0] for r in sqlite3.connect(sys.argv[1]).execute(\"SELECT name FROM sqlite_master WHERE type = 'table'\")))",
        source,
      ]
    ).output.split(separator: "\n").map(String.init)
    #expect(tables.count == 11)
    let road = try Road(streams: tables.map { "  - table: \($0)\n    kind: snapshot\n" }.joined())
    try FileManager.default.copyItem(atPath: source, toPath: road.app)

    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 15_607)
    try await Road.script(
      "compare.py", [road.app, road.cloud, Road.machine, "--tables", tables.joined(separator: ",")])

    async let churned = Road.script("churn.py", [road.app, "--changes", "1000", "--seed", "11", "--delay-ms", "4"])
    // Each part goes while changes are being made, without a word and with one; the events since then have to find their way.
    let start = try #require(try await road.status()).streams.reduce(0) { $0 + $1.confirmed }
    let steps: [() throws -> Void] = [
      { try road.restart(.edge, SIGKILL) },
      { try road.restart(.cloud, SIGKILL) },
      {
        road.broker.kill()
        try road.broker.start()
      },
    ]
    for (index, step) in steps.enumerated() {
      try await road.wait(for: "some changes are confirmed") {
        try await road.status()?.streams.reduce(0) { $0 + $1.confirmed } ?? 0 >= start + 60 * (index + 1)
      }
      try step()
    }
    _ = try await churned
    try await road.waitUntilConfirmed()
    try await Road.script(
      "compare.py", [road.app, road.cloud, Road.machine, "--tables", tables.joined(separator: ",")])
  }

  @Test func `10,000 garbage messages are each accounted for, and the good ones among them arrive`() async throws {
    struct Sent: Decodable {
      var sent: Int
      var good: Int
    }
    // The broker of the other tests writes its whole queue to disk after every message, and here that is 70 MB.
    let road = try Road(broker: MosquittoBroker(), streams: "  - name: temperature\n    kind: payload\n")
    try road.start(.cloud)
    try await road.wait(for: "the consumer is connected") { road.log(of: .cloud).contains("connected") }
    let output = try await Road.script(
      "garbage.py", ["127.0.0.1", "\(road.broker.port)", "--messages", "10000", "--seed", "20"])
    let sent = try JSONDecoder().decode(Sent.self, from: Data(output.split(separator: "\n").last!.utf8))
    #expect(sent.sent == 10_000)
    try await road.wait(for: "every message is accounted for") {
      try await road.cloudStatus()?.messages.values.reduce(0, +) ?? 0 >= sent.sent
    }
    #expect(try await road.inCloud("SELECT count(*) FROM good WHERE machine_id = 'GOOD1'") == "[[\(sent.good)]]")
    #expect(road.isRunning(.cloud))
    // What one machine's budget does not allow is only counted.
    let status = try #require(try await road.cloudStatus())
    let letters = try await road.inCloud("SELECT sum(count) FROM drover_dead_letter")
    let refused = try #require(JSONDecoder().decode([[Int]].self, from: Data(letters.utf8)).first?.first)
    #expect(refused + (status.messages["set_aside"] ?? 0) > 5000)
    // The raw bytes are there, up to the limit for one letter.
    #expect(
      try await road.inCloud("SELECT count(*) FROM drover_dead_letter WHERE length(raw) <> min(bytes, 1048576)")
        == "[[0]]")

    // Nothing of it stands in the way of what comes after.
    try road.start(.edge)
    try await road.wait(for: "the agent made its database") { try await road.status()?.attached ?? false }
    try await road.python("db.execute(\"INSERT INTO drover_intake (stream, body) VALUES ('temperature', '{}')\")")
    try await road.waitUntilConfirmed(atLeast: 1)
  }
}
