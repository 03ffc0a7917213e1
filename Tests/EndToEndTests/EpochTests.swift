// Databases that go back: wiped, restored from a backup, together with what remembers them or without. The numbers of the outbox then mean
// other events, and nothing of the new ones may be taken for what was received before.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct EpochTests {
  private static let streams = """
      - table: pen
        kind: snapshot
      - name: reading
        kind: payload
    """

  /// A road on which `count` pens and as many readings are confirmed.
  private func makeRoad(_ count: Int = 20) async throws -> Road {
    let road = try Road(streams: Self.streams)
    try await road.python("db.execute('CREATE TABLE pen (id INTEGER PRIMARY KEY, name TEXT)')")
    try road.start(.cloud)
    try road.start(.edge)
    try await road.wait(for: "the agent is attached") { try await road.status()?.attached ?? false }
    try await write(road, "first", 1...count)
    try await road.waitUntilConfirmed(atLeast: 2 * count)
    return road
  }

  private func write(_ road: Road, _ what: String, _ ids: ClosedRange<Int>) async throws {
    try await road.python(
      """
      for n in range(\(ids.lowerBound), \(ids.upperBound + 1)):
        db.execute("INSERT INTO pen VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name", (n, '\(what) %d' % n))
        db.execute("INSERT INTO drover_intake (stream, local_id, body) VALUES ('reading', ?, '1')", ('\(what) %d' % n,))
      """)
  }

  private func copy(_ database: String, to backup: String, _ road: Road) async throws {
    try await road.python(
      """
      import os
      for end in ('', '-wal', '-shm', '-journal'):
        if os.path.exists('\(backup)' + end): os.unlink('\(backup)' + end)
      copy = sqlite3.connect('\(backup)'); db.backup(copy); copy.close()
      """, database: database)
  }

  private func expectEqual(_ road: Road, readings: Int) async throws {
    try await road.waitUntilConfirmed()
    try await Road.script("compare.py", [road.app, road.cloud, Road.machine, "--tables", "pen"])
    #expect(try await road.inCloud("SELECT count(*) FROM reading") == "[[\(readings)]]")
    #expect(try await road.inCloud("SELECT count(*) FROM drover_dead_letter") == "[[0]]")
  }

  @Test func `an edge database restored from a backup begins a new epoch, and no new event is taken for an old one`()
    async throws
  {
    let road = try await makeRoad()
    try await copy(road.app, to: road.folder.file("backup.db"), road)
    try await write(road, "later", 10...30)
    try await road.waitUntilConfirmed()
    road.end(.edge)
    try await copy(road.folder.file("backup.db"), to: road.app, road)
    // The app goes on with the old state, under numbers that the cloud has received already, and beyond them.
    try await write(road, "again", 5...60)
    try road.start(.edge)
    try await road.wait(for: "a new epoch") { road.log(of: .edge).contains("a new epoch") }
    try await expectEqual(road, readings: 20 + 21 + 56)
  }

  @Test func `a database that goes back together with what remembers it is found out by the cloud`() async throws {
    let road = try await makeRoad()
    road.end(.edge)
    try await copy(road.app, to: road.folder.file("backup.db"), road)
    let memory = try String(contentsOfFile: road.app + "-drover.state", encoding: .utf8)
    try road.start(.edge)
    try await write(road, "later", 10...30)
    try await road.waitUntilConfirmed()
    road.end(.edge)
    try await copy(road.folder.file("backup.db"), to: road.app, road)
    try memory.write(toFile: road.app + "-drover.state", atomically: true, encoding: .utf8)
    try await write(road, "again", 5...60)
    try road.start(.edge)
    try await road.wait(for: "a new epoch") { road.log(of: .edge).contains("a new epoch") }
    try await expectEqual(road, readings: 20 + 21 + 56)
  }

  @Test func `a wiped edge database with a clock of 1970 still overwrites what the cloud has`() async throws {
    let road = try await makeRoad()
    road.end(.edge)
    try FileManager.default.removeItem(atPath: road.app)
    try await road.python("db.execute('CREATE TABLE pen (id INTEGER PRIMARY KEY, name TEXT)')")
    #expect(try await Road.drover("emit", "--config", road.edgeFile, "--stream", "reading", input: "").status == 0)
    try await road.python("db.execute('UPDATE drover_clock SET offset_us = -1700000000000000')")
    try await write(road, "anew", 1...20)
    try road.start(.edge)
    try await expectEqual(road, readings: 40)
  }

  @Test
  func
    `versions of a clock that was eighty years ahead are bounded and reported on both sides, and all arrives in order`()
    async throws
  {
    let road = try await makeRoad()
    try await road.python("db.execute('UPDATE drover_clock SET offset_us = 80 * 365 * 86400000000')")
    try await write(road, "future", 10...30)
    try await road.python("db.execute('UPDATE drover_clock SET offset_us = 0')")
    try await write(road, "now", 10...40)
    try await expectEqual(road, readings: 20 + 21 + 31)
    #expect(
      try await road.inCloud("SELECT max(drover_version) BETWEEN 4102444800000000 AND 4102444801000000 FROM pen")
        == "[[1]]")
    #expect(road.log(of: .cloud).contains("of MAH001 are ahead of the clock here, the newest is from 2100-01-01"))
    try road.restart(.edge, SIGTERM)
    try await road.wait(for: "the agent says so") { road.log(of: .edge).contains("days ahead of the cloud") }
    let edge = try await Road.drover("status", "--config", road.edgeFile)
    #expect(edge.output.contains("ahead of the cloud's clock, because this machine's clock was wrong once"))
    let cloud = try await Road.drover("status", "--config", road.cloudFile)
    #expect(cloud.output.contains(" d ahead"))
  }

  @Test func `a cloud database restored from a backup gets again what it lacks`() async throws {
    let road = try await makeRoad()
    try await copy(road.cloud, to: road.folder.file("backup.db"), road)
    try await write(road, "later", 10...30)
    try await road.python("db.execute('DELETE FROM pen WHERE id = 3')")
    try await road.waitUntilConfirmed()
    #expect(try await road.inCloud("SELECT count(*) FROM reading") == "[[41]]")
    road.end(.cloud)
    for end in ["-wal", "-shm"] { try? FileManager.default.removeItem(atPath: road.cloud + end) }
    try await copy(road.folder.file("backup.db"), to: road.cloud, road)
    #expect(try await road.inCloud("SELECT count(*) FROM reading") == "[[20]]")
    // The agent is connected all the while.
    try road.start(.cloud)
    try await road.wait(for: "a new epoch") { road.log(of: .edge).contains("a new epoch") }
    try await expectEqual(road, readings: 41)
  }

  @Test func `a cloud database that is lost is filled again from the edge`() async throws {
    let road = try await makeRoad()
    road.end(.cloud)
    for end in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: road.cloud + end) }
    try road.start(.cloud)
    try await road.wait(for: "a new epoch") { road.log(of: .edge).contains("a new epoch") }
    try await expectEqual(road, readings: 20)
  }

  @Test func `a broker that brings an old confirmation back starts no epoch`() async throws {
    let road = try await makeRoad()
    let confirm = try await Road.run(
      "mosquitto_sub", ["-p", "\(road.broker.port)", "-t", "drover/v1/+/confirm", "-C", "1"])
    try await write(road, "later", 10...30)
    try await road.waitUntilConfirmed()
    let messages = try #require(try await road.cloudStatus()).messages["document"] ?? 0
    road.end(.edge)
    try ChildProcess.run(
      "mosquitto_pub",
      ["-p", "\(road.broker.port)", "-r", "-q", "1", "-t", "drover/v1/\(Road.machine)/confirm", "-m", confirm.output])
    // The agent may doubt and ask; the answer says that all is there.
    try road.start(.edge)
    try await road.wait(for: "the agent has asked") {
      try await road.cloudStatus()?.messages["document"] ?? 0 > messages
    }
    try await write(road, "last", 31...40)
    try await expectEqual(road, readings: 20 + 21 + 10)
    #expect(!road.log(of: .edge).contains("a new epoch"))
  }
}
