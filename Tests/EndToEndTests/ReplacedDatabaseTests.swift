// Databases that are put back or replaced while the agent runs, and databases with two paths: with real processes, as people do it. Rows
// that were written after a `.restore` were shown as confirmed and were lost; an agent reported on a file that nobody else could see; two
// agents shared one database, each with half of its events.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct ReplacedDatabaseTests {
  private func makeRoad(_ mode: String, database: String? = nil) async throws -> Road {
    let road = try Road(streams: "  - table: pen\n    kind: snapshot\n", database: database)
    try await road.python(
      """
      db.execute('PRAGMA journal_mode = \(mode)')
      db.execute('CREATE TABLE pen (id INTEGER PRIMARY KEY, name TEXT)')
      db.execute("INSERT INTO pen VALUES (1, 'first')")
      """)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 1)
    return road
  }

  /// Where the app writes while the agent follows; then everything has to be in the cloud.
  private func expectAll(_ road: Road, _ ids: ClosedRange<Int>, epochs: Int = 1) async throws {
    try await road.python(
      "db.executemany(\"INSERT INTO pen VALUES (?, 'after')\", [(n,) for n in range(\(ids.lowerBound), \(ids.upperBound) + 1)])"
    )
    try await road.wait(for: "all that was written afterwards is in the cloud") {
      try await road.inCloud("SELECT count(*) FROM pen WHERE name = 'after'") == "[[\(ids.count)]]"
    }
    try await road.waitUntilConfirmed()
    #expect(road.log(of: .edge).contains("a new epoch"))
    #expect(road.isRunning(.edge))
  }

  @Test(arguments: ["wal", "delete"])
  func `what an app writes after its database was restored under the agent arrives, also over a start`(mode: String)
    async throws
  {
    let road = try await makeRoad(mode)
    try await road.python("copy = sqlite3.connect('\(road.folder.file("backup.db"))'); db.backup(copy); copy.close()")
    try await road.python("db.executemany(\"INSERT INTO pen VALUES (?, 'before')\", [(n,) for n in range(10, 16)])")
    try await road.waitUntilConfirmed(atLeast: 7)
    try await road.python("copy = sqlite3.connect('\(road.folder.file("backup.db"))'); copy.backup(db); copy.close()")
    try await expectAll(road, 1000...1009)
    try road.restart(.edge, SIGTERM)
    try await road.python("db.execute(\"INSERT INTO pen VALUES (2000, 'last')\")")
    try await road.wait(for: "the next start sends too") {
      try await road.inCloud("SELECT count(*) FROM pen WHERE id >= 1000") == "[[11]]"
    }
  }

  @Test(arguments: ["wal", "delete"])
  func `a database that was moved aside is left, and the new one under its name attached`(mode: String) async throws {
    let road = try await makeRoad(mode)
    for end in ["", "-wal", "-shm"] where FileManager.default.fileExists(atPath: road.app + end) {
      try FileManager.default.moveItem(atPath: road.app + end, toPath: "\(road.app)\(end).corrupt")
    }
    // Nothing is said of a file that nobody else can see.
    let missing = try await Road.drover("status", "--config", road.edgeFile)
    #expect(missing.status == 1 && missing.errors.contains("there is no such file"))
    try await road.wait(for: "the cloud hears that the machine has no database") {
      try await road.cloudStatus()?.machines.first?.online == false
    }
    #expect(road.log(of: .edge).contains("the agent waits until there is one again"))
    try await road.python(
      "db.execute('PRAGMA journal_mode = \(mode)'); db.execute('CREATE TABLE pen (id INTEGER PRIMARY KEY, name TEXT)')")
    try await expectAll(road, 100...104)
    #expect(try await road.cloudStatus()?.machines.first?.online == true)
    let status = try await Road.drover("status", "--config", road.edgeFile)
    #expect(status.status == 0 && status.output.contains("running"))
  }

  @Test func `a second agent on the same database is refused, whatever path and name it has`() async throws {
    let folder = try TemporaryFolder()
    let road = try await makeRoad("wal", database: folder.file("app.db"))
    let other = try TemporaryFolder()
    try FileManager.default.createSymbolicLink(atPath: other.file("link.db"), withDestinationPath: road.app)
    #expect(link(road.app, other.file("hard.db")) == 0)
    for (name, machine) in [("link.db", Road.machine), ("link.db", "OTHER"), ("hard.db", "OTHER")] {
      try other.write(
        """
        machine: \(machine)
        database: ./\(name)
        broker: mqtt://127.0.0.1:\(road.broker.port)
        streams:
          - table: pen
            kind: snapshot
        """, to: "edge.yaml")
      let outcome = try await Road.drover("edge", "--config", other.file("edge.yaml"))
      #expect(outcome.status == 1)
      #expect(
        outcome.errors.contains(
          name == "link.db" ? "for machine \(Road.machine) works on this database" : "under another name"))
      if name == "link.db" {
        #expect(
          try await Road.drover("status", "--config", other.file("edge.yaml")).output.contains("running, process"))
        let detach = try await Road.drover("detach", "--force", "--config", other.file("edge.yaml"))
        #expect(detach.status == 1 && detach.errors.contains("works on this database"))
      }
    }
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: other.path).sorted() == ["edge.yaml", "hard.db", "link.db"])
    #expect(!road.log(of: .edge).contains("a new epoch"))
  }
}
