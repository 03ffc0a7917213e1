// The mixing plant's promise with real processes: an order that is complete in the cloud stays what it is, and who tried to change it is listed.

import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct CompletedBatchTests {
  private static let orders = """
      - table: mo_batch
        kind: batch
        complete_when: "status_manufacturing = 1"
    """

  private struct Letters: Decodable {
    var total: Int
  }

  private func frozen(_ road: Road) async throws -> Int {
    let outcome = try await Road.drover("dead", "list", "--config", road.cloudFile, "--reason", "frozen", "--json")
    return try JSONDecoder().decode(Letters.self, from: Data(outcome.output.utf8)).total
  }

  @Test func `a complete order stays as it is in the cloud, whatever the machine says, and refused changes are listed`()
    async throws
  {
    let road = try Road(streams: Self.orders)
    try await road.python(
      """
      db.execute("CREATE TABLE mo_batch (batch_no INTEGER PRIMARY KEY, used REAL, status_manufacturing INTEGER)")
      db.execute("INSERT INTO mo_batch VALUES (1, 0, 0), (2, 0, 0)")
      """)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 2)
    try await road.python("db.execute('UPDATE mo_batch SET used = 2.5, status_manufacturing = 1 WHERE batch_no = 1')")
    try await road.waitUntilConfirmed(atLeast: 3)
    try await road.python("db.execute('UPDATE mo_batch SET used = used + 1')")
    try await road.waitUntilConfirmed(atLeast: 5)
    let rows = "SELECT batch_no, used, status_manufacturing FROM mo_batch ORDER BY 1"
    #expect(try await road.inCloud(rows) == "[[1, 2.5, 1], [2, 1.0, 0]]")
    #expect(try await frozen(road) == 1)

    // Sent again it is refused again, and stays.
    let replay = try await Road.drover("dead", "replay", "--config", road.cloudFile, "--reason", "frozen")
    #expect((replay.output + replay.errors).contains("refused again"), "\(replay)")
    #expect(try await frozen(road) == 1)

    // The complete one is retired, the other is deleted.
    try await road.python("db.execute('DELETE FROM mo_batch')")
    try await road.waitUntilConfirmed(atLeast: 6)
    #expect(try await road.inCloud(rows) == "[[1, 2.5, 1]]")
    #expect(try await frozen(road) == 1)
  }

  // Orders were completed and their table cleared while the agent was away: all of them were lost, and what was cleared while it ran became dead
  // letters.
  @Test func `orders that are complete and cleared before they were sent are in the cloud, and clearing is no change`()
    async throws
  {
    let road = try Road(streams: Self.orders)
    try await road.python(
      "db.execute('CREATE TABLE mo_batch (batch_no INTEGER PRIMARY KEY, used REAL, status_manufacturing INTEGER)')")
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 0)
    road.end(.edge)
    try await road.python(
      """
      db.execute("INSERT INTO mo_batch VALUES (1, 1.5, 0), (2, 2.5, 0)")
      db.execute("UPDATE mo_batch SET status_manufacturing = 1")
      db.execute("DELETE FROM mo_batch")
      db.execute("INSERT INTO mo_batch VALUES (3, 3.5, 1), (4, 4.5, 0)")
      """)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 4)
    try await road.python("db.execute('DELETE FROM mo_batch')")
    try await road.waitUntilConfirmed(atLeast: 5)
    #expect(
      try await road.inCloud("SELECT batch_no, used, status_manufacturing FROM mo_batch ORDER BY 1")
        == "[[1, 1.5, 1], [2, 2.5, 1], [3, 3.5, 1]]")
    #expect(try await frozen(road) == 0)
    let check = try await Road.drover("check", "--config", road.cloudFile)
    #expect(check.status == 0, "\(check.output)")
    // Nor when all rows are brought once more.
    #expect(try await Road.drover("resync", "--config", road.edgeFile, "--stream", "mo_batch").status == 0)
    #expect(try await frozen(road) == 0)
  }

  // Header and lines were cleared, and the parts of the next order were numbered from 1 again: "a line of MO-2 in parts belongs to what is complete",
  // and MO-2 never came.
  @Test func `lines whose keys begin anew with each cycle are those of their own order`() async throws {
    let road = try Road(
      streams: """
          - table: orders
            kind: batch
            key: mo_id
            complete_when: "status = 1"
            with: [{table: parts, references: {mo_id: mo_id}}]
        """)
    try await road.python(
      """
      db.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, mo_id TEXT NOT NULL UNIQUE, status INT)")
      db.execute("CREATE TABLE parts (id INTEGER PRIMARY KEY, mo_id TEXT, part TEXT)")
      db.execute("CREATE INDEX parts_of ON parts (mo_id)")
      """)
    try road.start(.cloud)
    try road.start(.edge)
    for cycle in 1...3 {
      try await road.python(
        """
        db.execute("DELETE FROM parts")
        db.execute("DELETE FROM orders")
        db.execute("INSERT INTO orders (mo_id, status) VALUES ('MO-\(cycle)', 0)")
        db.execute("INSERT INTO parts (mo_id, part) VALUES ('MO-\(cycle)', 'a\(cycle)'), ('MO-\(cycle)', 'b\(cycle)')")
        db.execute("UPDATE orders SET status = 1")
        """)
      try await road.waitUntilConfirmed(atLeast: cycle)
    }
    #expect(
      try await road.inCloud(
        "SELECT o.mo_id, o.status, p.id, p.part FROM orders o JOIN parts p USING (mo_id) ORDER BY 1, 3")
        == #"[["MO-1", 1, 1, "a1"], ["MO-1", 1, 2, "b1"], ["MO-2", 1, 1, "a2"], ["MO-2", 1, 2, "b2"], ["MO-3", 1, 1, "a3"], ["MO-3", 1, 2, "b3"]]"#
    )
    #expect(try await frozen(road) == 0)
    let check = try await Road.drover("check", "--config", road.cloudFile)
    #expect(check.status == 0, "\(check.output)")
  }
}
