// A row from the cloud that the app's table refuses, through real processes: a person sees it in the cloud, has the machine try again, and clears it with
// an edit.

import DroverPostgreSQL
import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct RefusedRowTests {
  // The row was confirmed in the cloud, and only the machine knew that its table had refused it.
  @Test(arguments: [false, true]) func `what a machine refuses is seen, tried again and cleared in the cloud`(
    inPostgreSQL: Bool
  ) async throws {
    let server = inPostgreSQL ? try PostgreSQLServer() : nil
    let streams = "  - {table: pen, kind: snapshot, direction: both}"
    let http = try HTTPRoad(streams: streams, store: server.map { $0.uri() } ?? "sqlite:./cloud.db")
    let road = http.road
    func cloud(_ sql: String) async throws {
      guard let server else {
        _ = try await road.inCloud(sql)
        return
      }
      try Connection(PostgreSQLAddress(uri: server.uri())).run(sql)
    }
    func edge(_ sql: String) async throws -> String {
      try await road.python("print(json.dumps(db.execute(\"\"\"\(sql)\"\"\").fetchall()))")
    }
    func drover(_ command: String...) async throws -> Road.Outcome {
      try await Road.run(Road.drover, command + ["--config", road.cloudFile])
    }
    try await road.python(
      """
      db.execute("PRAGMA journal_mode = WAL")
      db.execute("CREATE TABLE pen (id INTEGER PRIMARY KEY, name TEXT UNIQUE)")
      db.execute("INSERT INTO pen VALUES (1, 'red'), (2, 'blue')")
      """)
    try await http.start()
    try await road.waitUntilConfirmed(atLeast: 2)
    try await cloud("UPDATE pen SET name = 'red' WHERE id = 2")

    try await road.wait(for: "the row in the cloud's list") {
      try await drover("dead", "list").output.contains("UNIQUE constraint failed: pen.name")
    }
    let list = try await drover("dead", "list", "--json").output
    #expect(list.contains("\"id\": \"2\"") && list.contains("\"reason\": \"constraint\""), "\(list)")
    let status = try await drover("status").output
    #expect(status.contains("refused rows 1 from the cloud: MAH001 1"), "\(status)")
    #expect(try await http.ask(.cloud, "/metrics").body.contains("drover_machine_refused_rows{machine=\"MAH001\"} 1"))
    let rows = try await http.ask(.cloud, "/v1/refused-rows?machine=MAH001").document
    #expect(rows["total"] as? Int == 1 && (rows["rows"] as? [[String: Any]])?.first?["id"] as? String == "2")
    let row = try await http.ask(.cloud, "/v1/streams/pen/rows/MAH001/2").document
    #expect(row["state"] as? String == "refused" && "\(row["sentence"] ?? "")".contains("UNIQUE constraint failed"))

    // Tried again in vain, and one that nothing is known of.
    let again = try await drover("dead", "replay", "--stream", "pen", "--row", "2")
    #expect(again.status == 1 && again.output.contains("pen row 2 of MAH001: refused again, constraint"), "\(again)")
    #expect(try await drover("dead", "replay", "--row", "7").output.contains("no dead letters of row 7"))
    // The app makes room; nothing tells the machine but a person.
    _ = try await edge("UPDATE pen SET name = 'old red' WHERE id = 1")
    try await road.waitUntilConfirmed()
    let taken = try await drover("dead", "replay")
    #expect(taken.status == 0 && taken.output.contains("1 of 1 refused row taken"), "\(taken)")
    #expect(try await edge("SELECT id, name FROM pen ORDER BY id") == "[[1, \"old red\"], [2, \"red\"]]")
    #expect(try await drover("dead", "list").output.contains("no dead letters"))
    #expect(try await http.ask(.cloud, "/v1/streams/pen/rows/MAH001/2").document["state"] as? String == "confirmed")

    // An edit that the table takes clears what another one left.
    try await cloud("UPDATE pen SET name = 'old red' WHERE id = 2")
    try await road.wait(for: "another refusal") { try await drover("dead", "list").output.contains("UNIQUE") }
    let post = try await http.ask(
      .cloud, "/v1/refused-rows/retry?machine=MAH001", options: ["--request", "POST", "--data", ""])
    #expect(post.status == 200 && post.body.contains("refused again"), "\(post)")
    try await cloud("UPDATE pen SET name = 'green' WHERE id = 2")
    try await road.wait(for: "the end of it") { try await drover("dead", "list").output.contains("no dead letters") }
    #expect(try await edge("SELECT name FROM pen WHERE id = 2") == "[[\"green\"]]")

    // What the machine gives up is gone here too.
    try await cloud("UPDATE pen SET name = 'old red' WHERE id = 2")
    try await road.wait(for: "a third one") { try await drover("dead", "list").output.contains("UNIQUE") }
    let purge = try await Road.drover("dead", "purge", "--config", road.edgeFile, "--yes")
    #expect(purge.status == 0, "\(purge)")
    try await road.wait(for: "its end in the cloud") {
      try await drover("dead", "list").output.contains("no dead letters")
    }
  }
}
