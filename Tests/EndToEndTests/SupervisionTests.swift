// What the programs do when they cannot go on, and what they say of themselves.

import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct SupervisionTests {
  private static let streams = "  - table: pen\n    kind: snapshot\n"

  private func makeRoad() async throws -> Road {
    let road = try Road(streams: Self.streams)
    try await road.python(
      """
      db.execute('CREATE TABLE pen (id INTEGER PRIMARY KEY, name TEXT)')
      db.executemany('INSERT INTO pen (name) VALUES (?)', [('x' * 200,)] * 500)
      """)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 500)
    return road
  }

  /// Fills every page but the first with rubbish.
  private func damage(_ database: String) throws -> Data {
    for end in ["-wal", "-shm"] { try? FileManager.default.removeItem(atPath: database + end) }
    var bytes = try Data(contentsOf: URL(fileURLWithPath: database))
    bytes.replaceSubrange(4096..., with: Data(repeating: 0x5a, count: bytes.count - 4096))
    try bytes.write(to: URL(fileURLWithPath: database))
    return bytes
  }

  @Test func `a damaged database stops the agent, which says what to do and changes nothing`() async throws {
    let road = try await makeRoad()
    road.end(.edge)
    let bytes = try damage(road.app)
    let outcome = try await Road.drover("edge", "--config", road.edgeFile)
    #expect(outcome.status == 1)
    #expect(outcome.errors.contains("\(road.app) is damaged"))
    #expect(outcome.errors.contains("restore a backup"))
    #expect(try Data(contentsOf: URL(fileURLWithPath: road.app)) == bytes)
  }

  @Test func `a damaged store stops the consumer, and the edge keeps what was not confirmed`() async throws {
    let road = try await makeRoad()
    road.end(.cloud)
    let bytes = try damage(road.cloud)
    try await road.python("db.execute(\"INSERT INTO pen (name) VALUES ('later')\")")
    let outcome = try await Road.drover("cloud", "--config", road.cloudFile)
    #expect(outcome.status == 1)
    #expect(outcome.errors.contains("\(road.cloud) is damaged"))
    #expect(try Data(contentsOf: URL(fileURLWithPath: road.cloud)).prefix(8192) == bytes.prefix(8192))
    let stream = try #require(try await road.status()?.streams.first)
    #expect(stream.pending + stream.synced == 1)
  }

  @Test func `status says how far a machine's clock is from the cloud's`() async throws {
    let road = try await makeRoad()
    try await road.wait(for: "the offset is measured") {
      try await road.inCloud("SELECT abs(clock_offset) < 60000000 FROM drover_machine") == "[[1]]"
    }
    #expect(try await Road.drover("status", "--config", road.cloudFile).output.contains("clock"))
  }
}
