// `drover sync` and `drover compare` on both sides, with real processes.

import DroverPostgreSQL
import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct SyncTests {
  private static let streams = """
      - {table: products, kind: snapshot, direction: both, natural_key: true}
      - {table: stock, kind: snapshot}
      - {name: readings, kind: payload}
    """

  private struct Answer: Decodable {
    struct Stream: Decodable {
      var stream: String
      var agreement: String
      var up: Int?
      var down: Int?
      var differing: Int
      var on_their_way: Int
      var failure: String?
      var conflicts_new: Int
      var dead_letters: Int
      var advice: [String]
      var groups: Groups?
    }
    struct Groups: Decodable {
      struct Group: Decodable {
        var value: String?
        var at_edge: Int
        var in_cloud: Int
      }
      var values: [Group]
      var problem: String?
    }
    var equal: Bool
    var streams: [Stream]

    func of(_ name: String) throws -> Stream { try #require(streams.first { $0.stream == name }) }
  }

  private func run(_ command: String, _ file: String, _ arguments: String...) async throws -> (
    status: Int32, answer: Answer
  ) {
    let outcome = try await Road.run(Road.drover, [command, "--config", file, "--json"] + arguments)
    do {
      return (outcome.status, try JSONDecoder().decode(Answer.self, from: Data(outcome.output.utf8)))
    } catch {
      throw WrongAnswer(text: "\(outcome.status) \(outcome.output) \(outcome.errors)")
    }
  }

  private struct WrongAnswer: Error { var text: String }

  private func make(_ road: Road) async throws {
    try await road.python(
      """
      db.execute("PRAGMA journal_mode = WAL")
      db.execute("CREATE TABLE products (url TEXT PRIMARY KEY, name TEXT, stage TEXT CHECK (stage <> 'bad'))")
      db.execute("CREATE TABLE stock (id INTEGER PRIMARY KEY, level REAL)")
      db.executemany("INSERT INTO products VALUES (?, 'a', 'new')", [(f"u{n}",) for n in range(5)])
      db.executemany("INSERT INTO stock VALUES (?, ?)", [(n, n / 2) for n in range(300)])
      """)
  }

  @Test func `a sync at the machine exchanges everything without an agent that runs, and says what came to nothing`()
    async throws
  {
    let road = try Road(streams: Self.streams)
    try await make(road)
    let away = try await Road.drover("compare", "--config", road.edgeFile)
    #expect(away.status == 2, "\(away.output)")
    try road.start(.cloud)
    let first = try await run("sync", road.edgeFile, "--wait")
    #expect(first.status == 0 && first.answer.equal, "\(first.answer)")
    #expect(try first.answer.of("products").up == 5 && first.answer.of("stock").up == 300)
    #expect(try await road.inCloud("SELECT count(*) FROM products") == "[[5]]")

    // Edits on both sides while nothing runs at the machine: each goes its way, and one row is in conflict.
    _ = try await road.inCloud("UPDATE products SET stage = 'sold' WHERE url IN ('u1', 'u2')")
    try await road.wait(for: "the edits to get their versions") {
      try await road.inCloud("SELECT count(*) FROM drover_edit") == "[[0]]"
    }
    try await road.python("db.execute(\"UPDATE products SET name = 'b' WHERE url IN ('u2', 'u3')\")")
    _ = try await Road.drover("emit", "--config", road.edgeFile, "--stream", "readings", input: "{\"id\":1}")
    let second = try await run("sync", road.edgeFile, "--wait")
    #expect(second.status == 0, "\(second.answer)")
    let products = try second.answer.of("products")
    #expect(products.up == 2 && products.conflicts_new == 1, "\(products)")
    #expect(products.down ?? 0 >= 2 && products.advice.contains { $0.contains("drover conflicts list") }, "\(products)")
    #expect(try second.answer.of("readings").up == 1)
    #expect(try await run("sync", road.edgeFile).answer.of("products").conflicts_new == 0, "it is new only once")

    // What the app's table refuses is a dead letter, and waiting does not make the sides equal.
    try road.start(.edge)
    _ = try await road.inCloud("UPDATE products SET stage = 'bad' WHERE url = 'u4'")
    let refused = try await run("sync", road.edgeFile, "--wait", "--stream", "products")
    #expect(refused.status == 1 && !refused.answer.equal)
    let stream = try refused.answer.of("products")
    #expect(refused.answer.streams.count == 1 && stream.differing == 1 && stream.dead_letters == 1, "\(stream)")
    #expect(stream.advice.contains { $0.contains("drover dead list") })
    let inCloud = try await run("sync", road.cloudFile, "--machine", Road.machine)
    #expect(inCloud.status == 1 && inCloud.answer.streams.count == 2, "\(inCloud.answer)")
    #expect(try inCloud.answer.of("products").differing == 1 && inCloud.answer.of("stock").agreement == "in sync")

    for file in [road.edgeFile, road.cloudFile] {
      let compared = try await run("compare", file, "--by", "STAGE", "--stream", "products")
      #expect(compared.status == 1)
      let groups = try #require(try compared.answer.of("products").groups)
      #expect(
        groups.values.map { [$0.value, "\($0.at_edge)", "\($0.in_cloud)"] } == [
          ["\"new\"", "4", "3"], ["\"bad\"", "0", "1"], ["\"sold\"", "1", "1"],
        ], "\(groups)")
      let unknown = try await Road.drover("compare", "--config", file, "--by", "price")
      #expect(unknown.status == 2 && unknown.errors.contains("price"), "\(unknown.errors)")
    }
    let tooMany = try await run("compare", road.edgeFile, "--by", "id", "--stream", "stock")
    #expect(tooMany.status == 0)
    #expect(try tooMany.answer.of("stock").groups?.values.count == 50)
    // A look changes nothing.
    #expect(try await road.inCloud("SELECT count(*) FROM drover_check") == "[[0]]")
  }

  @Test func `a sync in the cloud waits for both directions in PostgreSQL`() async throws {
    let server = try PostgreSQLServer()
    let road = try Road(streams: Self.streams, store: server.uri())
    try await make(road)
    let alone = try await Road.drover("sync", "--config", road.cloudFile)
    #expect(alone.status == 2 && alone.errors.contains("consumer does not run"), "\(alone.errors)")
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 305)
    let client = try Connection(PostgreSQLAddress(uri: server.uri()))
    let open = try Connection(PostgreSQLAddress(uri: server.uri()))
    // Two-way rows of a machine whose agent stands still are on their way.
    road.signal(.edge, SIGSTOP)
    try client.run("UPDATE products SET stage = 'sold' WHERE url = 'u1'")
    try open.run("BEGIN")
    try open.run("UPDATE products SET stage = 'late' WHERE url = 'u2'")
    road.signal(.edge, SIGCONT)
    let synced = try await run("sync", road.cloudFile, "--wait")
    #expect(synced.status == 0 && synced.answer.equal, "\(synced.answer)")
    #expect(try synced.answer.of("products").down ?? 0 <= 1)
    let stage = try await road.python(
      "print(db.execute(\"SELECT stage FROM products WHERE url = 'u1'\").fetchone()[0])")
    #expect(stage == "sold")
    try open.run("COMMIT")
    let late = try await run("sync", road.cloudFile, "--wait", "--stream", "products")
    #expect(late.status == 0, "\(late.answer)")
    for file in [road.cloudFile, road.edgeFile] {
      let compared = try await run("compare", file, "--by", "stage", "--stream", "products")
      #expect(compared.status == 0)
      #expect(
        try compared.answer.of("products").groups?.values.map { "\($0.value ?? "") \($0.at_edge) \($0.in_cloud)" } == [
          "\"new\" 3 3", "\"late\" 1 1", "\"sold\" 1 1",
        ])
    }
    road.end(.edge)
    try await road.wait(for: "the machine to be offline") {
      try client.query("SELECT online FROM drover_machine").boolean(0, 0) == false
    }
    let offline = try await Road.drover("sync", "--config", road.cloudFile, "--machine", Road.machine)
    #expect(offline.status == 2 && offline.errors.contains("offline"), "\(offline.errors)")
  }

  @Test func `a sync that nobody answers ends and says so`() async throws {
    let road = try Road(streams: "  - {table: stock, kind: snapshot}")
    try await make(road)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 300)
    road.signal(.cloud, SIGSTOP)
    let silent = try await run("sync", road.edgeFile, "--wait")
    road.signal(.cloud, SIGCONT)
    #expect(silent.status == 2)
    #expect(try silent.answer.of("stock").failure?.contains("no answer from the cloud") == true, "\(silent.answer)")
    #expect(try await run("sync", road.edgeFile, "--wait").status == 0)
  }
}
