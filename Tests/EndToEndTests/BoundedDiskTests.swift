// The road with little room: what happens to events, to the app and to the person who asks, when a limit is reached.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.serialized, .programs, .timeLimit(.minutes(30)))
struct BoundedDiskTests {
  private static let streams = """
      - {table: stock, kind: snapshot}
      - {name: temperature, kind: payload}
    """
  private static let makeStock = "db.execute('CREATE TABLE stock (id INTEGER PRIMARY KEY, level REAL)')"
  /// Puts events of a kibibyte until one is refused; prints how many were taken, and the refusal.
  private static let fill = """
    taken = 0
    try:
        while taken < 5000:
            db.execute("INSERT INTO drover_intake (stream, local_id, body) VALUES ('temperature', ?, ?)",
                       (f"r-{taken}", json.dumps("x" * 1000)))
            taken += 1
    except sqlite3.IntegrityError as error:
        print(taken, error)
    """

  private struct Outbox: Decodable {
    var bytes: Int
    var max_bytes: Int
    var closed_by: [String]
    var refused: Int
    var closings: Int
  }

  private func outbox(_ road: Road) async throws -> Outbox {
    struct Status: Decodable { var outbox: Outbox }
    let shown = try await Road.drover("status", "--config", road.edgeFile, "--json")
    return try JSONDecoder().decode(Status.self, from: Data(shown.output.utf8)).outbox
  }

  @Test
  func `a full outbox refuses what nothing holds, captures what tables hold, and takes again when the cloud has it`()
    async throws
  {
    let road = try Road(streams: Self.streams, edge: "outbox: {max_bytes: 1MiB}")
    try await road.python(Self.makeStock)
    try road.start(.edge)
    try await road.wait(for: "the agent is attached") { try await road.status()?.attached ?? false }
    let refusal = try await road.python(Self.fill)
    let taken = try #require(Int(refusal.prefix { $0 != " " }))
    #expect(taken > 800)
    #expect(refusal.contains("drover: the event is not taken: the outbox takes outbox.max_bytes, 1 MiB, or more"))

    let emitted = try await Road.drover(
      "emit", "--config", road.edgeFile, "--stream", "temperature", input: "{\"a\":1}\n{\"a\":2}\n")
    #expect(emitted.status == 1)
    #expect(emitted.errors.contains("the outbox takes 1 MiB, and outbox.max_bytes is 1 MiB"))
    #expect(emitted.output.contains("0 events taken into temperature, 2 lines refused"))
    try await road.python("db.execute('INSERT INTO stock VALUES (1, 2.5)')")
    try await road.wait(for: "the agent says that events are refused") {
      road.log(of: .edge).contains("emit and drover_intake are refused now")
    }
    let closed = try await outbox(road)
    #expect(closed.closed_by == ["outbox.max_bytes"] && closed.refused == 2 && closed.closings == 1)
    #expect(closed.bytes >= closed.max_bytes)
    let shown = try await Road.drover("status", "--config", road.edgeFile)
    #expect(shown.output.contains("emit and drover_intake are refused: the outbox takes 1 MiB"))
    #expect(shown.output.contains("the intake closed 1 time,"))
    let doctor = try await Road.drover("doctor", "--config", road.edgeFile)
    #expect(doctor.output.contains("FAIL outbox") && doctor.status == 1)

    try road.start(.cloud)
    try await road.waitUntilConfirmed(atLeast: taken + 1)
    try await road.wait(for: "the intake is open") { try await outbox(road).closed_by.isEmpty }
    try await road.python("db.execute(\"INSERT INTO drover_intake (stream, body) VALUES ('temperature', '1')\")")
    try await road.waitUntilConfirmed(atLeast: taken + 2)
    #expect(try await road.inCloud("SELECT count(*) FROM temperature") == "[[\(taken + 1)]]")
    #expect(try await road.inCloud("SELECT id, level FROM stock") == "[[1, 2.5]]")
  }

  @Test func `a limit holds without an agent`() async throws {
    let road = try Road(streams: Self.streams, edge: "outbox: {max_bytes: 1MiB}")
    try await road.python(Self.makeStock)
    let first = try await Road.drover(
      "emit", "--config", road.edgeFile, "--stream", "temperature", input: "{\"a\":1}\n")
    #expect(first.status == 0)
    #expect(try await road.python(Self.fill).contains("outbox.max_bytes"))
    let refused = try await Road.drover(
      "emit", "--config", road.edgeFile, "--stream", "temperature", input: "{\"a\":1}\n")
    #expect(refused.status == 1 && refused.errors.contains("outbox.max_bytes"))
  }

  @Test(.enabled(if: canMount, "mounting a small filesystem takes root, and a kernel that lets it"))
  func `on a disk that fills the app goes on, what is taken arrives, and emptying it opens the intake`() async throws {
    let small = try SmallDisk(mebibytes: 12)
    let road = try Road(
      streams: Self.streams, edge: "outbox: {min_free_bytes: 4MiB, min_free_inodes: 0}",
      database: small.path + "/app.db")
    try await road.python(Self.makeStock)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.wait(for: "the agent is attached") { try await road.status()?.attached ?? false }
    try await road.python("db.execute(\"INSERT INTO drover_intake (stream, body) VALUES ('temperature', '1')\")")
    try await road.waitUntilConfirmed(atLeast: 1)

    // Somebody else fills the disk.
    #expect(FileManager.default.createFile(atPath: small.path + "/log", contents: Data(count: 9 << 20)))
    try await road.wait(for: "the agent has seen it") { try await outbox(road).closed_by == ["outbox.min_free_bytes"] }
    let refused = try await Road.drover(
      "emit", "--config", road.edgeFile, "--stream", "temperature", input: "{\"a\":1}\n")
    #expect(refused.status == 1 && refused.errors.contains("outbox.min_free_bytes is 4 MiB"))
    #expect(
      try await road.python(Self.fill).contains("drover: the event is not taken: less than outbox.min_free_bytes"))
    try await road.python("db.execute('INSERT INTO stock VALUES (1, 2.5)')")
    try await road.waitUntilConfirmed(atLeast: 2)

    // To the last byte.
    _ = try await Road.run("sh", ["-c", "cat /dev/zero > \(small.path)/more"])
    let full = try await Road.drover(
      "emit", "--config", road.edgeFile, "--stream", "temperature", input: "{\"a\":1}\n")
    #expect(full.status == 1)
    try FileManager.default.removeItem(atPath: small.path + "/more")
    #expect(road.isRunning(.edge))

    try FileManager.default.removeItem(atPath: small.path + "/log")
    try await road.wait(for: "the intake is open") { try await outbox(road).closed_by.isEmpty }
    try await road.python("db.execute(\"INSERT INTO drover_intake (stream, body) VALUES ('temperature', '2')\")")
    try await road.waitUntilConfirmed(atLeast: 3)
    #expect(try await road.inCloud("SELECT count(*) FROM temperature") == "[[2]]")
    #expect(try await road.inCloud("SELECT level FROM stock") == "[[2.5]]")
  }

  private static let canMount = (try? SmallDisk(mebibytes: 1)) != nil
}

/// A filesystem of a few mebibytes, gone with the test.
private final class SmallDisk: Sendable {
  let folder: TemporaryFolder
  var path: String { folder.path }

  struct Refused: Error {}

  init(mebibytes: Int) throws {
    folder = try TemporaryFolder()
    guard mount("drover-test", folder.path, "tmpfs", 0, "size=\(mebibytes)m") == 0 else { throw Refused() }
  }

  /// MNT_DETACH: whoever still has a file open there does not hold it up.
  deinit { umount2(folder.path, 2) }
}
