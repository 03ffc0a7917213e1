// Backups of both sides while everything runs, and what is restored from them.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct BackupTests {
  private func makeRoad(edge: String = "", cloud: String = "") async throws -> Road {
    let road = try Road(streams: Road.pensAndFacts, edge: edge, cloud: cloud)
    try await road.python(
      """
      \(Road.makePensAndFacts)
      """)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.wait(for: "the agent is attached") { try await road.status()?.attached ?? false }
    try await write(road, "first", 1...20)
    try await road.waitUntilConfirmed(atLeast: 60)
    return road
  }

  private func write(_ road: Road, _ what: String, _ ids: ClosedRange<Int>) async throws {
    try await road.python(
      """
      for n in range(\(ids.lowerBound), \(ids.upperBound + 1)):
        db.execute("INSERT INTO pen VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name", (n, '\(what) %d' % n))
        db.execute("INSERT INTO fact VALUES (?, ?)", ('\(what) %d' % n, n))
        db.execute("INSERT INTO drover_intake (stream, local_id, body) VALUES ('reading', ?, '1')", ('\(what) %d' % n,))
      """)
  }

  /// Makes a backup by the command and returns its path.
  private func backup(_ file: String) async throws -> String {
    let outcome = try await Road.drover("backup", "--config", file)
    #expect(outcome.status == 0, "\(outcome.errors)")
    return String(outcome.output.prefix { $0 != ":" })
  }

  private func restore(_ backup: String, to database: String) throws {
    for end in ["", "-wal", "-shm", "-journal"] { try? FileManager.default.removeItem(atPath: database + end) }
    try FileManager.default.copyItem(atPath: backup, toPath: database)
  }

  @Test func `an edge restored from its backup loses nothing and sends nothing twice`() async throws {
    let road = try await makeRoad()
    let copy = try await backup(road.edgeFile)
    #expect(copy.contains("/backups/app-"))
    try await write(road, "later", 10...30)
    try await road.waitUntilConfirmed()
    road.end(.edge)
    try restore(copy, to: road.app)
    try await write(road, "again", 5...60)
    try road.start(.edge)
    try await road.wait(for: "a new epoch") { road.log(of: .edge).contains("a new epoch") }
    try await road.waitUntilConfirmed()
    try await Road.script("compare.py", [road.app, road.cloud, Road.machine, "--tables", "pen"])
    // Facts that had happened stay, each once.
    #expect(try await road.inCloud("SELECT count(*) FROM fact") == "[[97]]")
    #expect(try await road.inCloud("SELECT count(*) FROM reading") == "[[97]]")
    #expect(try await road.inCloud("SELECT count(*) FROM drover_dead_letter") == "[[0]]")
  }

  @Test func `a cloud restored from its backup gets again what it lacks`() async throws {
    let road = try await makeRoad()
    let copy = try await backup(road.cloudFile)
    try await write(road, "later", 10...30)
    try await road.waitUntilConfirmed()
    road.end(.cloud)
    try restore(copy, to: road.cloud)
    try road.start(.cloud)
    try await road.wait(for: "a new epoch") { road.log(of: .edge).contains("a new epoch") }
    try await road.waitUntilConfirmed()
    try await Road.script("compare.py", [road.app, road.cloud, Road.machine])
    #expect(try await road.inCloud("SELECT count(*) FROM reading") == "[[41]]")
  }

  private struct Status: Decodable {
    struct Backup: Decodable {
      var made_at: String?
      var bytes: Int?
      var path: String?
      var present: Bool
      var failure: String?
    }
    var backup: Backup?
  }

  private func backupStatus(_ file: String) async throws -> Status.Backup? {
    let outcome = try await Road.drover("status", "--config", file, "--json")
    return try JSONDecoder().decode(Status.self, from: Data(outcome.output.utf8)).backup
  }

  @Test func `agent and consumer make backups at their interval, keep so many, and say so`() async throws {
    let road = try await makeRoad(
      edge: "backup: {every: 5s, folder: ./edge-backups, keep: 2}",
      cloud: "backup: {every: 5s, folder: ./cloud-backups, keep: 2}")
    var seen: Set<String> = []
    try await road.wait(for: "four backups of the edge") {
      if let path = try await backupStatus(road.edgeFile)?.path { seen.insert(path) }
      return seen.count >= 4
    }
    try await road.wait(for: "a backup of the cloud") { try await backupStatus(road.cloudFile)?.present ?? false }
    let kept = try FileManager.default.contentsOfDirectory(atPath: road.folder.file("edge-backups"))
      .filter { !$0.contains("unfinished") }
    #expect((1...3).contains(kept.count), "\(kept)")
    // No folder can be made where a file is.
    road.end(.edge)
    try FileManager.default.removeItem(atPath: road.folder.file("edge-backups"))
    try road.folder.write("", to: "edge-backups")
    try road.start(.edge)
    try await road.wait(for: "the failure is shown") { try await backupStatus(road.edgeFile)?.failure != nil }
    let status = try await Road.drover("status", "--config", road.edgeFile)
    #expect(status.output.contains("FAILED at") && status.output.contains("(no longer there)"))
    let command = try await Road.drover("backup", "--config", road.edgeFile)
    #expect(command.status == 1 && command.errors.contains("back up \(road.app)"))
  }
}
