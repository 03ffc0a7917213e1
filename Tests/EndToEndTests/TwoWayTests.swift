// Rows that both sides edit, through real processes and a real broker: edits go both ways, a conflict is decided alike on both sides, and the value that lost
// is listed.

import DroverPostgreSQL
import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct TwoWayTests {
  private static let streams = "  - {table: products, kind: snapshot, direction: both, natural_key: true}"

  private func makeProducts(_ road: Road) async throws {
    try await road.python(
      """
      db.execute("PRAGMA journal_mode = WAL")
      db.execute("CREATE TABLE products (url TEXT PRIMARY KEY, name TEXT, stage TEXT, price REAL, n INTEGER)")
      db.executemany("INSERT INTO products VALUES (?, ?, 'new', ?, ?)", [(f"u{n}", f"n{n}", n * 1.5, n) for n in range(5)])
      """)
  }

  private func edge(_ road: Road, _ sql: String) async throws -> String {
    try await road.python("print(json.dumps(db.execute(\"\"\"\(sql)\"\"\").fetchall()))")
  }

  @Test func `edits go both ways, and the loser of a conflict is listed and can be taken`() async throws {
    let road = try Road(streams: Self.streams)
    try await makeProducts(road)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 5)
    _ = try await road.inCloud("UPDATE products SET stage = 'approved' WHERE url = 'u1'")
    _ = try await road.inCloud(
      "INSERT INTO products (machine_id, url, name) VALUES ('MAH001', 'u9', 'made in the cloud')")
    _ = try await road.inCloud("DELETE FROM products WHERE url = 'u2'")
    try await road.wait(for: "the edits at the edge") {
      try await self.edge(road, "SELECT url, name, stage FROM products WHERE url IN ('u1', 'u2', 'u9') ORDER BY url")
        == "[[\"u1\", \"n1\", \"approved\"], [\"u9\", \"made in the cloud\", null]]"
    }
    // Without an echo: what came down makes no event, and the app's next edit has seen it.
    #expect(try await self.edge(road, "SELECT count(*) FROM drover_outbox WHERE synced = 0") == "[[0]]")
    _ = try await self.edge(road, "UPDATE products SET name = 'from the edge' WHERE url = 'u1'")
    try await road.wait(for: "the app's edit in the cloud") {
      try await road.inCloud("SELECT name, stage FROM products WHERE url = 'u1'")
        == "[[\"from the edge\", \"approved\"]]"
    }
    #expect(try await road.inCloud("SELECT count(*) FROM drover_conflict") == "[[0]]")

    road.end(.edge)
    _ = try await self.edge(road, "UPDATE products SET name = 'of the machine' WHERE url = 'u4'")
    _ = try await road.inCloud("UPDATE products SET name = 'of the cloud' WHERE url = 'u4'")
    try road.start(.edge)
    try await road.wait(for: "the conflict") {
      try await road.inCloud("SELECT count(*) FROM drover_conflict") == "[[1]]"
    }
    let name = "SELECT name FROM products WHERE url = 'u4'"
    try await road.wait(for: "one value on both sides") {
      try await self.edge(road, name) == road.inCloud(name)
    }
    let winner = try await road.inCloud(name)
    let list = try await Road.drover("conflicts", "list", "--config", road.cloudFile)
    #expect(list.output.contains(winner.contains("cloud") ? "of the machine" : "of the cloud"), "\(list.output)")
    let id = try await road.inCloud("SELECT max(id) FROM drover_conflict").filter(\.isNumber)
    let loser = winner.contains("cloud") ? "machine" : "cloud"
    // The machine sees and resolves the same, through its agent.
    try await road.wait(for: "the number at the machine") {
      try await Road.drover("status", "--config", road.edgeFile).output.contains("conflicts 1 in the cloud")
    }
    let there = try await Road.drover("conflicts", "list", "--config", road.edgeFile)
    #expect(there.output == list.output, "\(there.output) \(there.errors)")
    let shown = try await Road.drover("conflicts", "show", "--config", road.edgeFile, id)
    #expect(shown.output == (try await Road.drover("conflicts", "show", "--config", road.cloudFile, id)).output)
    let stale = try await Road.drover(
      "conflicts", "resolve", "--config", road.edgeFile, id, "--take", loser, "--seen", "gone")
    #expect(stale.status == 1 && stale.errors.contains("has changed"), "\(stale.errors)")
    // Another machine that asks for it gets nothing, and resolves nothing.
    for (question, answer) in [("conflict", "\"conflicts\":[]"), ("resolve", "\"outcome\":\"unknown\"")] {
      let other = try await Road.run(
        "mosquitto_rr",
        [
          "-V", "mqttv5", "-q", "1", "-W", "30", "-p", "\(road.broker.port)", "-t", "drover/v1/MAH002/ask/\(question)",
          "-e", "drover/v1/MAH002/command/answer-\(question)", "-m",
          "{\"v\":1,\"ask\":\"\(question)\",\"conflict\":\(id),\"take\":\"\(loser)\",\"even_changed\":true}",
        ])
      #expect(other.output.contains(answer), "\(other.output) \(other.errors)")
    }
    let resolved = try await Road.drover("conflicts", "resolve", "--config", road.edgeFile, id, "--take", loser)
    #expect(resolved.status == 0, "\(resolved.errors)")
    try await road.wait(for: "the value that was taken at the edge") {
      try await self.edge(road, name) == "[[\"of the \(loser)\"]]"
    }
    #expect(try await road.inCloud("SELECT count(*) FROM drover_conflict") == "[[0]]")
    // Until the machine's next event it said that one waits.
    try await road.wait(for: "the end of it at the machine") {
      try await !Road.drover("status", "--config", road.edgeFile).output.contains("conflicts 1")
    }
    try await road.waitUntilConfirmed()
    let check = try await Road.drover("check", "--config", road.cloudFile)
    #expect(check.status == 0, "\(check.output) \(check.errors)")
    road.end(.edge)
    let alone = try await Road.drover("conflicts", "list", "--config", road.edgeFile)
    #expect(alone.status == 1 && alone.errors.contains("start `drover edge`"), "\(alone.errors)")
  }

  @Test func `an edit in PostgreSQL reaches the machine, and an open transaction holds up nothing else`() async throws {
    let server = try PostgreSQLServer()
    let road = try Road(streams: Self.streams, store: server.uri())
    try await makeProducts(road)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 5)
    let open = try Connection(PostgreSQLAddress(uri: server.uri()))
    try open.run("BEGIN")
    try open.run("UPDATE products SET stage = 'open' WHERE url = 'u3'")
    let client = try Connection(PostgreSQLAddress(uri: server.uri()))
    try client.run("UPDATE products SET stage = 'approved' WHERE url = 'u1'")
    let stages = "SELECT stage FROM products WHERE url IN ('u1', 'u3') ORDER BY url"
    try await road.wait(for: "the edit at the edge") {
      try await self.edge(road, stages) == "[[\"approved\"], [\"new\"]]"
    }
    try open.run("COMMIT")
    try await road.wait(for: "the late edit") { try await self.edge(road, stages) == "[[\"approved\"], [\"open\"]]" }
    _ = try await self.edge(road, "DELETE FROM products WHERE url = 'u1'")
    try await road.wait(for: "the delete in the cloud") {
      try client.query("SELECT count(*) FROM products WHERE url = 'u1'").integer(0, 0) == 0
    }
  }

  // A consumer that dies between the commit of an edit and its frame must not forget the edit, nor send it twice to the app's triggers.
  @Test func `edits that are made while everything is killed arrive once`() async throws {
    let road = try Road(streams: Self.streams)
    try await makeProducts(road)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 5)
    for round in 0..<4 {
      road.end(round.isMultiple(of: 2) ? .cloud : .edge, SIGKILL)
      _ = try await road.inCloud("UPDATE products SET n = n + 1000 WHERE url = 'u0'")
      _ = try await self.edge(road, "UPDATE products SET price = price + 1 WHERE url = 'u1'")
      if round == 2 {
        road.end(.edge, SIGKILL)
        try road.start(.edge)
      }
      try road.start(round.isMultiple(of: 2) ? .cloud : .edge)
      try await road.wait(for: "the edits of round \(round)") {
        let down = try await self.edge(road, "SELECT n FROM products WHERE url = 'u0'")
        let up = try await road.inCloud("SELECT price FROM products WHERE url = 'u1'")
        return down == "[[\(1000 * (round + 1))]]" && up == "[[\(2.5 + Double(round))]]"
      }
    }
    #expect(try await road.inCloud("SELECT count(*) FROM drover_conflict") == "[[0]]")
  }

  // An edit of a price list at the till was not noticed: the till kept its own price for good, and no comparison knew which side was right.
  @Test(arguments: [false, true]) func `an edit at the edge of what the cloud alone edits is listed and replaced`(
    inPostgreSQL: Bool
  ) async throws {
    let server = inPostgreSQL ? try PostgreSQLServer() : nil
    let streams = "  - {table: products, kind: snapshot, direction: down, machines: all}"
    let road = if let server { try Road(streams: streams, store: server.uri()) } else { try Road(streams: streams) }
    try await makeProducts(road)
    _ = try await edge(road, "DELETE FROM products")
    func cloud(_ sql: String) async throws -> String {
      guard let server else { return try await road.inCloud(sql) }
      let client = try Connection(PostgreSQLAddress(uri: server.uri()))
      if !sql.hasPrefix("SELECT") {
        try client.run(sql)
        return ""
      }
      return "[[\(try client.query(sql).integer(0, 0))]]"
    }
    try road.start(.cloud)
    try road.start(.edge)
    try await road.wait(for: "the table in the cloud") {
      guard let server else {
        return try await road.inCloud("SELECT count(*) FROM sqlite_master WHERE name = 'drover_edit_insert_products'")
          == "[[1]]"
      }
      let client = try Connection(PostgreSQLAddress(uri: server.uri()))
      return try client.query("SELECT count(*) FROM pg_trigger WHERE tgname = 'drover_capture'").integer(0, 0) == 1
    }
    _ = try await cloud("INSERT INTO products (url, price) VALUES ('u1', 1), ('u2', 2), ('u3', 3)")
    let prices = "SELECT url, price FROM products ORDER BY url"
    let all = "[[\"u1\", 1.0], [\"u2\", 2.0], [\"u3\", 3.0]]"
    try await road.wait(for: "the prices") { try await self.edge(road, prices) == all }
    _ = try await edge(road, "UPDATE products SET price = 9 WHERE url = 'u1'")
    _ = try await edge(road, "DELETE FROM products WHERE url = 'u2'")
    _ = try await edge(road, "INSERT INTO products (url, price) VALUES ('mine', 7)")
    try await road.wait(for: "the cloud's prices again") { try await self.edge(road, prices) == all }
    try await road.wait(for: "the edits in the cloud's list") {
      try await cloud("SELECT count(*) FROM drover_dead_letter") == "[[3]]"
    }
    try await road.wait(for: "the count of edits") {
      try await self.edge(road, "SELECT overwritten FROM drover_stream") == "[[3]]"
    }
    let status = try await Road.drover("status", "--config", road.edgeFile)
    #expect(status.output.contains("3 edits made here"), "\(status.output)")
    let json = try await Road.drover("status", "--config", road.edgeFile, "--json")
    #expect(json.output.contains("\"edits_replaced\": 3"), "\(json.output)")
    let resync = try await Road.drover("resync", "--config", road.edgeFile)
    #expect(resync.status != 0 && resync.errors.contains("come from the cloud"), "\(resync.errors)")

    // Edits that no trigger has seen are found by a comparison.
    #expect(try await Road.drover("check", "--config", road.cloudFile).status == 0)
    road.end(.edge)
    try await road.python(
      """
      for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
          db.execute(f"DROP TRIGGER {name}")
      db.execute("UPDATE products SET price = 5 WHERE url = 'u3'")
      db.execute("INSERT INTO products (url, price) VALUES ('strange', 7)")
      """)
    try road.start(.edge)
    try await road.wait(for: "a comparison that finds them") {
      let found = try await Road.drover("check", "--config", road.cloudFile)
      return found.status == 1 && found.output.contains("row strange: differs with nothing on its way")
    }
    let repair = try await Road.drover("check", "--config", road.cloudFile, "--repair")
    #expect(repair.status == 0, "\(repair.output) \(repair.errors)")
    #expect(try await edge(road, prices) == all)
  }
}
