// The agent's HTTP server, asked with curl as an app or a sensor would.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct EdgeHTTPTests {
  private static let json = ["--header", "Content-Type: application/json"]
  private static let lines = ["--header", "Content-Type: application/x-ndjson"]

  private func road(limits: String = "{requests_per_second: 1000, body_bytes: 1KiB}", edge: String = "") throws
    -> HTTPRoad
  {
    try HTTPRoad(
      streams:
        "  - {name: reading, kind: payload}\n  - {name: level, kind: snapshot}\n  - {table: pen, kind: snapshot}",
      limits: limits, edge: edge)
  }

  private func post(_ http: HTTPRoad, _ stream: String, _ body: String, _ options: [String] = json) async throws
    -> HTTPRoad.Answer
  {
    try await http.ask(.edge, "/v1/events/\(stream)", options: options + ["--data-binary", body])
  }

  private func waiting(_ http: HTTPRoad) async throws -> String {
    try await http.road.python(
      "print(json.dumps(db.execute('SELECT local_id, body FROM drover_intake ORDER BY rowid').fetchall()))")
  }

  private func outbox(_ http: HTTPRoad) async throws -> String {
    try await http.road.python(
      "print(json.dumps(db.execute('SELECT key, body FROM drover_outbox WHERE body IS NOT NULL ORDER BY seq').fetchall()))"
    )
  }

  @Test func `the health is answered while a client with a token holds all connections with events that do not end`()
    async throws
  {
    let http = try road()
    try await http.road.python("db.execute('CREATE TABLE pen (id INTEGER PRIMARY KEY)')")
    try await http.start([.edge])
    let seen = try await http.starve(.edge, kind: "body")
    #expect(seen["health"] as? [Int] == Array(repeating: 200, count: 5), "\(seen)")
  }

  @Test func `the agent's metrics need a token, and tell what waits`() async throws {
    let http = try road()
    try await http.road.python("db.execute('CREATE TABLE pen (id INTEGER PRIMARY KEY)')")
    try await http.start([.edge])
    #expect(try await http.ask(.edge, "/metrics", token: nil).status == 401)
    #expect(try await post(http, "reading", #"{"id":"a"}"#).status == 201)
    let answer = try await http.ask(.edge, "/metrics", token: HTTPRoad.readToken)
    #expect(answer.headers.contains("text/plain; version=0.0.4"))
    #expect(answer.body.contains("\ndrover_agent_moving 1\n"), "\(answer.body)")
    #expect(answer.body.contains("\ndrover_outbox_events{state=\"pending\",stream=\"pen\"} 0\n"), "\(answer.body)")
    for line in answer.body.split(separator: "\n") {
      #expect(
        line.wholeMatch(of: /# (HELP|TYPE) drover_[a-z_]+ .+/) != nil
          || line.wholeMatch(of: /drover_[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? -?[0-9.e+-]+/) != nil,
        "\(line)")
    }
  }

  // A till's 70,000-byte ID was taken at the edge and refused by every consumer.
  @Test func `an ID that no consumer takes is refused at the door`() async throws {
    let http = try road(limits: "{requests_per_second: 1000}")
    try await http.road.python("db.execute('CREATE TABLE pen (id INTEGER PRIMARY KEY)')")
    try await http.start([.edge])
    func body(_ bytes: Int) throws -> [String] {
      try http.road.folder.write("{\"id\":\"\(String(repeating: "x", count: bytes))\"}", to: "body")
      return Self.json + ["--data-binary", "@" + http.road.folder.file("body")]
    }
    #expect(try await http.ask(.edge, "/v1/events/reading", options: try body(65_536)).status == 201)
    let long = try await http.ask(.edge, "/v1/events/reading", options: try body(65_537))
    #expect(long.status == 422)
    #expect(long.detail.contains("longer than 65536 bytes"), "\(long.body)")
    let emitted = try await Road.drover(
      "emit", "--config", http.road.edgeFile, "--stream", "reading", "--id-field", "id", "--format", "json",
      input: "{\"id\":\"\(String(repeating: "x", count: 65_537))\"}\n{\"id\":\"short\"}\n")
    #expect(emitted.status == 1)
    #expect(emitted.errors.contains("line 1:") && emitted.errors.contains("longer than 65536 bytes"))
  }

  @Test func `an event is in the outbox when it is answered, and travels to the cloud`() async throws {
    let http = try road()
    try await http.road.python("db.execute('CREATE TABLE pen (id INTEGER PRIMARY KEY)')")
    try await http.start()
    let made = try await post(http, "reading", #"{"n":1.50}"#)
    #expect(made.status == 201, "\(made.body)")
    let id = try #require((made.document["ids"] as? [String])?.first)
    #expect(id.wholeMatch(of: /[0-9a-f]{28}/) != nil)
    let own = try await post(http, "reading", #"{"id":7,"n":2}"#)
    #expect(own.document["ids"] as? [String] == ["7"])
    let many = try await post(
      http, "reading", "{\"id\":\"a\"}\n\n{\"id\":\"b\"}\r\n3", Self.lines + ["-H", "Idempotency-Key: k"])
    #expect(many.document["ids"] as? [String] == ["a", "b", "k-3"])
    try await http.road.waitUntilConfirmed(atLeast: 5)
    #expect(
      try await http.road.inCloud("SELECT local_id, body FROM reading ORDER BY body")
        == #"[["k-3", "3"], ["a", "{\"id\":\"a\"}"], ["b", "{\"id\":\"b\"}"], ["7", "{\"id\":7,\"n\":2}"], ["\#(id)", "{\"n\":1.50}"]]"#
    )
  }

  @Test func `a repeated request makes no second event and gets the same answer, also when the event is confirmed`()
    async throws
  {
    let http = try road()
    try await http.road.python("db.execute('CREATE TABLE pen (id INTEGER PRIMARY KEY)')")
    try await http.start()
    let key = Self.json + ["-H", "Idempotency-Key: sale-17"]
    let first = try await post(http, "reading", #"{"n":1}"#, key)
    #expect(first.status == 201)
    #expect(try await post(http, "reading", #"{"n":1}"#, key).body == first.body)
    try await http.road.waitUntilConfirmed(atLeast: 1)
    #expect(try await post(http, "reading", #"{"n":1}"#, key).body == first.body)
    #expect(try await outbox(http) == #"[["sale-17", "{\"n\":1}"]]"#)
    let other = try await post(http, "reading", #"{"n":2}"#, key)
    #expect(other.status == 409)
    #expect(other.detail.contains("a fact does not change"))
    #expect(!other.body.contains("sale-17"))
    // A snapshot's is another state of the same thing.
    #expect(try await post(http, "level", #"{"id":"x","n":1}"#).status == 201)
    #expect(try await post(http, "level", #"{"id":"x","n":2}"#).status == 201)
    #expect(try await post(http, "level", #"{"id":"x","n":2}"#).status == 201)
    try await http.road.waitUntilConfirmed(atLeast: 3)
    #expect(try await http.road.inCloud("SELECT body FROM level") == #"[["{\"id\":\"x\",\"n\":2}"]]"#)
    #expect(try await http.road.cloudStatus()?.dead_letters == 0)
  }

  @Test func `what cannot be taken is refused whole, with the place and the reason`() async throws {
    let http = try road()
    try await http.road.python("db.execute('CREATE TABLE pen (id INTEGER PRIMARY KEY)')")
    try await http.start([.edge])
    let bad = try await post(http, "reading", "{\"id\":1}\n{broken", Self.lines)
    #expect(bad.status == 422)
    #expect(bad.detail.hasPrefix("Event 2: The event is not JSON"))
    #expect(!bad.body.contains("broken"))
    #expect(try await post(http, "reading", "{\"id\":1}\n{\"id\":1,\"n\":2}", Self.lines).status == 409)
    // Bytes that are no text would all become the same ID.
    let odd = try await post(http, "reading", "{}", Self.json + ["-H", "Idempotency-Key: é"])
    #expect(odd.status == 400)
    #expect(try await post(http, "reading", "").status == 422)
    #expect(try await post(http, "reading", "\n\n", Self.lines).status == 422)
    #expect(try await post(http, "nothing", "{}").status == 404)
    #expect(try await post(http, "pen", "{}").status == 409)
    #expect(try await post(http, "reading", "{}", ["-H", "Content-Type: text/csv"]).status == 415)
    #expect(try await post(http, "reading", "\"\(String(repeating: "x", count: 1100))\"").status == 413)
    let chunked = try await post(
      http, "reading", "\"\(String(repeating: "x", count: 1100))\"", Self.json + ["-H", "Transfer-Encoding: chunked"])
    #expect(chunked.status == 413)
    let reader = try await http.ask(
      .edge, "/v1/events/reading", token: HTTPRoad.readToken, options: Self.json + ["--data-binary", "{}"])
    #expect(reader.status == 403)
    #expect(try await waiting(http) == "[]")
  }

  @Test func `a full outbox refuses with what to do, and the events are counted`() async throws {
    let http = try road(
      limits: "{requests_per_second: 1000, body_bytes: 2MiB}", edge: "outbox: {max_bytes: 1MiB}")
    try await http.road.python("db.execute('CREATE TABLE pen (id INTEGER PRIMARY KEY)')")
    try await http.start([.edge])
    let large = try http.road.folder.write("\"\(String(repeating: "x", count: 1_100_000))\"", to: "large.json")
    #expect(try await post(http, "reading", "@\(large)").status == 201)
    let full = try await post(http, "reading", "{\"id\":1}\n{\"id\":2}", Self.lines)
    #expect(full.status == 507)
    #expect(full.detail.contains("outbox.max_bytes is 1 MiB"))
    #expect(full.headers.contains("Retry-After: 60"))
    let status = try await http.ask(.edge, "/v1/status", token: HTTPRoad.readToken).document
    #expect((status["outbox"] as? [String: Any])?["refused"] as? Int == 2)
  }

  @Test func `what was answered with 201 survives a kill of the agent in the next moment`() async throws {
    let http = try road()
    try await http.road.python("db.execute('CREATE TABLE pen (id INTEGER PRIMARY KEY)')")
    try await http.start([.edge])
    for number in 0..<20 { #expect(try await post(http, "reading", "{\"id\":\(number)}").status == 201) }
    http.road.end(.edge, SIGKILL)
    try http.road.start(.cloud)
    try http.road.start(.edge)
    try await http.road.waitUntilConfirmed(atLeast: 20)
    #expect(try await http.road.inCloud("SELECT count(*) FROM reading") == "[[20]]")
  }

  @Test func `the status is what drover status prints, and a trigger has the agent look`() async throws {
    let http = try road()
    try await http.road.python("db.execute('CREATE TABLE pen (id INTEGER PRIMARY KEY)')")
    try await http.start()
    // From then on nothing moves between two looks.
    try await http.road.waitUntilConfirmed()
    let answer = try await http.ask(.edge, "/v1/status", token: HTTPRoad.readToken)
    let printed = try await Road.drover("status", "--config", http.road.edgeFile, "--json")
    func plain(_ text: String) -> [Substring] {
      text.split(separator: "\n").filter { !$0.contains("_seconds") && !$0.contains("free_") }
    }
    #expect(plain(answer.body) == plain(printed.output))
    #expect(try await http.ask(.edge, "/v1/trigger", options: ["-X", "POST"]).status == 202)
    #expect(try await http.ask(.edge, "/v1/trigger", token: HTTPRoad.readToken, options: ["-X", "POST"]).status == 403)
    #expect(try await http.ask(.edge, "/v1/trigger").status == 405)
  }

  @Test func `detach leaves nothing of the intake's`() async throws {
    let http = try road()
    try await http.road.python("db.execute('CREATE TABLE pen (id INTEGER PRIMARY KEY)')")
    try await http.start()
    #expect(try await post(http, "reading", "{}").status == 201)
    try await http.road.waitUntilConfirmed(atLeast: 1)
    http.road.end(.edge)
    _ = try await Road.drover("detach", "--config", http.road.edgeFile)
    #expect(
      try await http.road.python("print(db.execute(\"SELECT group_concat(name) FROM sqlite_master\").fetchone()[0])")
        == "pen")
  }
}
