// A machine whose name stands in its app's own database, so that fifty machines share one file.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct MachineNameTests {
  private let road: Road

  init() throws {
    road = try Road(
      "{query: 'SELECT machine_id FROM machine_activation LIMIT 1', env: DROVER_NO_SUCH_VARIABLE}",
      streams: "  - {table: pen, kind: snapshot}")
  }

  private func expectLine(_ line: String, _ sourceLocation: SourceLocation = #_sourceLocation) async throws {
    try await road.wait(for: line, sourceLocation: sourceLocation) { road.log(of: .edge).contains(line) }
  }

  @Test func `the agent waits for a name, and under another name the machine is a new one with all rows`() async throws
  {
    try await road.python(
      "db.execute('CREATE TABLE pen (id INTEGER PRIMARY KEY, name TEXT)'); db.execute(\"INSERT INTO pen VALUES (1, 'a')\")"
    )
    try road.start(.cloud)
    try road.start(.edge)
    try await expectLine("the machine has no name yet: the query fails: no such table: machine_activation")
    #expect(try await Road.drover("status", "--config", road.edgeFile).status == 78)

    try await road.python("db.execute('CREATE TABLE machine_activation (machine_id TEXT)')")
    try await expectLine("the query gives no value; the variable DROVER_NO_SUCH_VARIABLE is not set")
    try await road.python("db.execute(\"INSERT INTO machine_activation VALUES ('MAH001')\")")
    try await expectLine("the machine's name is MAH001")
    try await road.wait(for: "the machine in the cloud") {
      try await road.cloudStatus()?.machines.contains { $0.streams.contains { $0.rows > 0 } } ?? false
    }
    try await road.wait(for: "the row of MAH001") {
      try await road.inCloud("SELECT machine_id, id, name FROM pen") == #"[["MAH001", 1, "a"]]"#
    }
    try await road.waitUntilConfirmed()

    // A name that is gone is none.
    try await road.python("db.execute(\"DELETE FROM machine_activation\")")
    try await road.python("db.execute(\"INSERT INTO machine_activation VALUES ('MAH002')\")")
    try await expectLine("the machine's name is MAH002 now, and was MAH001")
    try await expectLine("MAH002 is a new machine in the cloud and gets all rows")
    try await road.python("db.execute(\"INSERT INTO pen VALUES (2, 'b')\")")
    try await road.wait(for: "all rows of MAH002") {
      try await road.inCloud("SELECT machine_id, id, name FROM pen ORDER BY 1, 2")
        == #"[["MAH001", 1, "a"], ["MAH002", 1, "a"], ["MAH002", 2, "b"]]"#
    }
    road.end(.edge)
    #expect(road.log(of: .edge).contains("edge agent MAH002: stopped"))
  }
}
