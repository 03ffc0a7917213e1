// The consumer's HTTP server, asked with curl as a person or a program would.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct CloudHTTPTests {
  private func filled() async throws -> HTTPRoad {
    let http = try HTTPRoad()
    try await http.road.python(
      """
      \(Road.makePensAndFacts)
      db.executemany('INSERT INTO pen VALUES (?, ?)', [(i, 'pen %d' % i) for i in range(3)])
      db.execute('INSERT INTO fact VALUES (?, ?)', ('f', b'\\x00\\xff'))
      db.execute('INSERT INTO fact VALUES (?, ?)', ('g', 9007199254740993))
      db.execute('INSERT INTO fact VALUES (?, ?)', ('h', float('inf')))
      """)
    try await http.start()
    _ = try await Road.drover(
      "emit", "--config", http.road.edgeFile, "--stream", "reading", "--id-field", "id", input: "{\"id\":\"a\"}\n")
    try await http.road.waitUntilConfirmed(atLeast: 7)
    return http
  }

  @Test func `only the health is shown to whoever has no token, and nothing is changed with one that may only read`()
    async throws
  {
    let http = try await filled()
    #expect(try await http.ask(.cloud, "/v1/health", token: nil).status == 200)
    for path in ["/v1/status", "/metrics", "/v1/export", "/v1/openapi.yaml", "/v1/nothing"] {
      for token in [nil, "", "read-0123456789abcdeF", HTTPRoad.readToken + "x"] {
        let answer = try await http.ask(.cloud, path, token: token)
        #expect(answer.status == 401, "\(path)")
        #expect(answer.headers.contains("WWW-Authenticate: Bearer"))
        #expect(answer.headers.contains("application/problem+json"))
      }
    }
    #expect(try await http.ask(.cloud, "/v1/status", token: HTTPRoad.readToken).status == 200)
    let denied = try await http.ask(.cloud, "/v1/dead-letters/1", token: HTTPRoad.readToken, options: ["-X", "DELETE"])
    #expect(denied.status == 403)
    #expect(denied.detail.contains("reader may only read"))
    let log = http.road.log(of: .cloud)
    #expect(log.contains("http: GET /v1/status 200"))
    #expect(!log.contains(HTTPRoad.readToken) && !log.contains(HTTPRoad.writeToken))
  }

  @Test func `without tokens nothing but the health is shown`() async throws {
    let http = try HTTPRoad(hasTokens: false)
    try await http.start([.cloud])
    let answer = try await http.ask(.cloud, "/v1/status")
    #expect(answer.status == 403)
    #expect(answer.detail.contains("http.tokens"))
  }

  @Test func `what is not there, other methods and too many requests are problems`() async throws {
    let http = try HTTPRoad(limits: "{requests_per_second: 3}")
    try await http.start([.cloud])
    try await http.road.wait(for: "a request that is not too many") {
      try await http.ask(.cloud, "/v1/nothing").status == 404
    }
    let other = try await http.ask(.cloud, "/v1/status", options: ["-X", "PUT"])
    #expect(other.status == 405 || other.status == 429)
    try await http.road.wait(for: "another method is refused with those that are allowed") {
      let answer = try await http.ask(.cloud, "/v1/status", options: ["-X", "PUT"])
      return answer.status == 405 && answer.headers.contains("Allow: GET, HEAD")
    }
    try await http.road.wait(for: "too many") {
      let urls = (0..<10).map { _ in http.url(.cloud, "/v1/status") }
      let answer = try await http.ask(.cloud, "/v1/status", options: urls)
      return answer.status == 429 && answer.body.contains("Retry-After: 1")
    }
  }

  @Test func `the status is what drover status prints`() async throws {
    let http = try await filled()
    // Ages differ between two moments.
    func plain(_ text: String) -> [Substring] { text.split(separator: "\n").filter { !$0.contains("_seconds") } }
    // Between two looks the machine may report how it is.
    try await http.road.wait(for: "the same in two looks") {
      let answer = try await http.ask(.cloud, "/v1/status", token: HTTPRoad.readToken)
      let printed = try await Road.drover("status", "--config", http.road.cloudFile, "--json")
      return plain(answer.body) == plain(printed.output)
    }
    let answer = try await http.ask(.cloud, "/v1/status", token: HTTPRoad.readToken)
    #expect(answer.document["rows"] as? Int == 7)
    #expect(answer.document["applied"] as? Int == 7)
    #expect((answer.document["last_event_seconds"] as? Double ?? -1) >= 0)
  }

  @Test func `machines come page by page`() async throws {
    let http = try await filled()
    for name in ["MAH002", "MAH003"] {
      try ChildProcess.run(
        "mosquitto_pub",
        [
          "-p", "\(http.road.broker.port)", "-q", "1", "-t", "drover/v1/\(name)/payload/t", "-m",
          #"{"id":"1","body":{}}"#,
        ])
    }
    try await http.road.wait(for: "all are known") { try await http.road.cloudStatus()?.machines.count == 3 }
    var names: [String] = []
    var next: String? = ""
    while let after = next {
      let answer = try await http.ask(.cloud, "/v1/machines?limit=2&after=\(after)")
      let machines = try #require(answer.document["machines"] as? [[String: Any]])
      names += machines.compactMap { $0["machine"] as? String }
      next = answer.document["next"] as? String
    }
    #expect(names == ["MAH001", "MAH002", "MAH003"])
    #expect(try await http.ask(.cloud, "/v1/machines?limit=0").status == 400)
  }

  @Test func `the fleet at a glance is what the store has, and one machine's page counts its rows`() async throws {
    let http = try await filled()
    func machines() async throws -> [[String: Any]] {
      try await http.ask(.cloud, "/v1/fleet").document["machines"] as? [[String: Any]] ?? []
    }
    try await http.road.wait(for: "a look that finds all") { try await machines().first?["applied"] as? Int == 7 }
    let machine = try #require(try await machines().first)
    #expect(machine["machine"] as? String == "MAH001")
    #expect(machine["online"] as? Bool == true)
    #expect(machine["streams"] as? Int == 3)
    #expect((machine["history"] as? [Int])?.count == 60)
    let page = try await http.ask(.cloud, "/v1/machines/MAH001").document
    let streams = try #require(page["streams"] as? [[String: Any]])
    #expect(streams.compactMap { $0["rows"] as? Int } == [3, 3, 1])
    #expect(try await http.ask(.cloud, "/v1/machines/MAH00").status == 404)
  }

  @Test func `what a machine tells of its outbox is shown`() async throws {
    let http = try await filled()
    func outbox() async throws -> [String: Any]? {
      let machines = try await http.ask(.cloud, "/v1/machines").document["machines"] as? [[String: Any]]
      return machines?.first?["outbox"] as? [String: Any]
    }
    try await http.road.wait(for: "the machine has told") { try await outbox()?["waiting"] as? Int == 0 }
    let told = try #require(try await outbox())
    #expect(told["oldest_unconfirmed_seconds"] is NSNull)
    #expect(told["dead_letters"] as? Int == 0)
    #expect(try #require(told["free_bytes"] as? Int) > 0)
    #expect(try await Road.drover("status", "--config", http.road.cloudFile).output.contains("waiting"))
  }

  @Test func `an export has every row with its values as they travel`() async throws {
    let http = try await filled()
    let lines = try await http.ask(.cloud, "/v1/export").body.split(separator: "\n")
      .map { $0.replacing(/"version":[0-9]+/, with: "\"version\":0").replacing(/"at":"[^"]+",/, with: "") }
    #expect(
      lines == [
        #"{"stream":"fact","machine":"MAH001","id":"f","version":0,"body":{"id":"f","n":{"$blob":"AP8="}}}"#,
        #"{"stream":"fact","machine":"MAH001","id":"g","version":0,"body":{"id":"g","n":9007199254740993}}"#,
        #"{"stream":"fact","machine":"MAH001","id":"h","version":0,"body":{"id":"h","n":{"$real":"inf"}}}"#,
        #"{"stream":"pen","machine":"MAH001","id":"0","version":0,"body":{"id":0,"name":"pen 0"}}"#,
        #"{"stream":"pen","machine":"MAH001","id":"1","version":0,"body":{"id":1,"name":"pen 1"}}"#,
        #"{"stream":"pen","machine":"MAH001","id":"2","version":0,"body":{"id":2,"name":"pen 2"}}"#,
        #"{"stream":"reading","machine":"MAH001","id":"a","version":0,"body":{"id":"a"}}"#,
      ])
    #expect(try await http.ask(.cloud, "/v1/export/pen").body.split(separator: "\n").count == 3)
    #expect(try await http.ask(.cloud, "/v1/export/nothing").status == 404)
    let tables = try #require(try await http.ask(.cloud, "/v1/schema").document["tables"] as? [[String: Any]])
    #expect(tables.compactMap { $0["table"] as? String } == ["fact", "pen", "reading"])
  }

  @Test func `an export is one moment of the store, its reader holds up nobody, and it takes little memory`()
    async throws
  {
    let http = try HTTPRoad(limits: "{seconds: 60}")
    let rows = 60_000
    try await http.road.python(
      """
      db.execute('CREATE TABLE pen (id INTEGER PRIMARY KEY, name TEXT)'); db.execute('CREATE TABLE fact (id TEXT PRIMARY KEY, n)')
      db.executemany('INSERT INTO pen VALUES (?, ?)', ((i, 'x' * 500) for i in range(\(rows))))
      """)
    try await http.start()
    try await http.road.waitUntilConfirmed(atLeast: rows)
    let before = try memory(of: http)
    let outcome = try await Road.run(
      "python3",
      [
        "-c",
        """
        import sys, sqlite3, time, urllib.request
        url, token, app, cloud = sys.argv[1:]
        answer = urllib.request.urlopen(urllib.request.Request(url, headers={'Authorization': 'Bearer ' + token}))
        answer.readline()
        db = sqlite3.connect(app)
        db.execute("INSERT INTO pen VALUES (-1, 'after the moment')")
        db.commit()
        replica = sqlite3.connect(cloud)
        while replica.execute('SELECT count(*) FROM pen').fetchone()[0] != \(rows) + 1: time.sleep(0.05)
        rest = answer.readlines()
        print(len(rest) + 1, sum(b'after the moment' in line for line in rest))
        """, http.url(.cloud, "/v1/export"), HTTPRoad.readToken, http.road.app, http.road.cloud,
      ])
    #expect(outcome.output == "\(rows) 0\n", "\(outcome.errors)")
    // The answer has more than thirty megabytes.
    #expect(try memory(of: http) - before < 16 << 20)
  }

  /// The most that the consumer ever had resident, in bytes.
  private func memory(of http: HTTPRoad) throws -> Int {
    let process = try #require(
      try String(contentsOfFile: http.road.cloud + "-drover.lock", encoding: .utf8).split(separator: "\n").first)
    let status = try String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)
    let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") })
    return try #require(Int(line.filter(\.isNumber))) * 1024
  }

  @Test func `SIGTERM ends the consumer although somebody is at an export and reads nothing`() async throws {
    let http = try HTTPRoad(limits: "{seconds: 3600}")
    try await http.road.python(
      """
      db.execute('CREATE TABLE pen (id INTEGER PRIMARY KEY, name TEXT)'); db.execute('CREATE TABLE fact (id TEXT PRIMARY KEY, n)')
      db.executemany('INSERT INTO pen VALUES (?, ?)', ((i, 'x' * 1000) for i in range(20000)))
      """)
    try await http.start()
    try await http.road.waitUntilConfirmed(atLeast: 20_000)
    let reader = try ChildProcess(
      "python3",
      [
        "-c",
        """
        import sys, time, urllib.request
        answer = urllib.request.urlopen(urllib.request.Request(sys.argv[1], headers={'Authorization': 'Bearer ' + sys.argv[2]}))
        answer.readline()
        open(sys.argv[3], 'w')
        time.sleep(3600)
        """, http.url(.cloud, "/v1/export"), HTTPRoad.readToken, http.road.folder.file("reading"),
      ])
    try await http.road.wait(for: "the export is under way") {
      FileManager.default.fileExists(atPath: http.road.folder.file("reading"))
    }
    http.road.end(.cloud)
    #expect(http.road.log(of: .cloud).contains("cloud consumer: stopped"))
    reader.end(SIGKILL)
  }

  @Test func `metrics are in Prometheus' form`() async throws {
    let http = try await filled()
    let answer = try await http.ask(.cloud, "/metrics", token: HTTPRoad.readToken)
    #expect(answer.headers.contains("text/plain; version=0.0.4"))
    #expect(answer.body.contains("\ndrover_events_applied_total{machine=\"MAH001\",stream=\"pen\"} 3\n"))
    #expect(answer.body.contains("\ndrover_machines{state=\"online\"} 1\n"))
    #expect(answer.body.contains("\ndrover_consumer_moving 1\n"))
    for line in answer.body.split(separator: "\n") {
      #expect(
        line.wholeMatch(of: /# (HELP|TYPE) drover_[a-z_]+ .+/) != nil
          || line.wholeMatch(of: /drover_[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? -?[0-9.e+-]+/) != nil,
        "\(line)")
    }
  }

  @Test func `dead letters are listed, shown, replayed and purged`() async throws {
    let http = try await filled()
    for number in 1...3 {
      try ChildProcess.run(
        "mosquitto_pub",
        [
          "-p", "\(http.road.broker.port)", "-q", "1", "-t", "drover/v1/MAH00\(number)/payload/t", "-m",
          "no JSON \(number)",
        ])
      try await http.road.wait(for: "a letter") { try await http.road.cloudStatus()?.dead_letters == number }
    }
    let list = try await http.ask(.cloud, "/v1/dead-letters?limit=2").document
    #expect(list["total"] as? Int == 3 && list["newest"] as? Int == 3)
    #expect((list["letters"] as? [[String: Any]])?.compactMap { $0["id"] as? Int } == [3, 2])
    let cursor = try #require(list["next"] as? String)
    let rest = try await http.ask(.cloud, "/v1/dead-letters?limit=2&after=\(cursor)").document
    #expect((rest["letters"] as? [[String: Any]])?.compactMap { $0["id"] as? Int } == [1])
    #expect(rest["next"] is NSNull)
    #expect(try await http.ask(.cloud, "/v1/dead-letters?machine=MAH002").document["total"] as? Int == 1)
    #expect(try await http.ask(.cloud, "/v1/dead-letters?reason=nonsense").status == 400)
    #expect(try await http.ask(.cloud, "/v1/dead-letters/2").document["raw"] as? String == "no JSON 2")
    #expect(try await http.ask(.cloud, "/v1/dead-letters/99").status == 404)
    let replay = try await http.ask(.cloud, "/v1/dead-letters/2/replay", options: ["-X", "POST"])
    #expect(replay.status == 409)
    #expect(replay.detail.contains("refused again"))
    #expect(try await http.ask(.cloud, "/v1/dead-letters/2", options: ["-X", "DELETE"]).status == 204)
    #expect(try await http.ask(.cloud, "/v1/dead-letters/2", options: ["-X", "DELETE"]).status == 404)
    #expect(try await http.ask(.cloud, "/v1/dead-letters", options: ["-X", "DELETE"]).status == 400)
    let purged = try await http.ask(.cloud, "/v1/dead-letters?through=3&machine=MAH003", options: ["-X", "DELETE"])
    #expect(purged.document["purged"] as? Int == 1)
    #expect(try await http.road.cloudStatus()?.dead_letters == 1)
  }

  @Test func `a letter that can be applied by now is taken when it is replayed`() async throws {
    let http = try await filled()
    // A fact with other content is a conflict; when the row is gone, it is none.
    _ = try await Road.drover(
      "emit", "--config", http.road.edgeFile, "--stream", "reading", "--id-field", "id",
      input: "{\"id\":\"a\",\"n\":2}\n")
    try await http.road.wait(for: "the conflict") { try await http.road.cloudStatus()?.dead_letters == 1 }
    try await http.road.python("db.execute('DELETE FROM reading')", database: http.road.cloud)
    let id = try #require(
      (try await http.ask(.cloud, "/v1/dead-letters").document["letters"] as? [[String: Any]])?.first?["id"] as? Int)
    let answer = try await http.ask(.cloud, "/v1/dead-letters/\(id)/replay", options: ["-X", "POST"])
    #expect(answer.status == 200, "\(answer.body)")
    #expect(try await http.road.inCloud("SELECT body FROM reading") == #"[["{\"id\":\"a\",\"n\":2}"]]"#)
  }

  @Test func `the health is bad while a job does not move`() async throws {
    let http = try await filled()
    let lock = http.road.cloud + "-drover.lock"
    let process = try #require(try String(contentsOfFile: lock, encoding: .utf8).split(separator: "\n").first)
    try await http.road.wait(for: "a bad health") {
      // As if its last beat had been at the machine's start. The consumer writes its own again within seconds.
      try "\(process)\nconsumer 1\n".write(toFile: lock, atomically: false, encoding: .utf8)
      let answer = try await http.ask(.cloud, "/v1/health", token: nil)
      return answer.status == 503 && answer.detail.contains("consumer has not moved")
    }
    try await http.road.wait(for: "a good one again") { try await http.ask(.cloud, "/v1/health").status == 200 }
  }

  // One client without a token opened 400 connections, and of eighteen requests with a token one was answered (issue 14).
  @Test(arguments: ["silent", "head", "idle", "reader"])
  func `a client without a token that holds all connections it can keeps nobody else from being answered`(kind: String)
    async throws
  {
    let http = try HTTPRoad(limits: "{requests_per_second: 50}")
    try await http.start([.cloud])
    let seen = try await http.starve(.cloud, kind: kind)
    #expect(seen["status"] as? [Int] == Array(repeating: 200, count: 5))
    #expect(seen["health"] as? [Int] == Array(repeating: 200, count: 5))
    if kind == "head" { #expect(seen["closed"] as? Bool == true) }
  }

  @Test func `no other answers than those of the health are free of the limit for requests`() async throws {
    let http = try HTTPRoad(limits: "{requests_per_second: 3}")
    try await http.start([.cloud])
    let health = (0..<20).map { _ in http.url(.cloud, "/v1/health") }
    let answer = try await http.ask(.cloud, "/v1/health", token: nil, options: health)
    #expect(answer.status == 200 && !answer.body.contains("429"))
  }

  @Test func `no browser guesses what an answer is, and none keeps it`() async throws {
    let http = try HTTPRoad()
    try await http.start([.cloud])
    for (path, token) in [("/v1/status", HTTPRoad.readToken), ("/v1/nothing", HTTPRoad.readToken), ("/v1/status", nil)]
    {
      let headers = try await http.ask(.cloud, path, token: token).headers
      #expect(headers.contains("X-Content-Type-Options: nosniff") && headers.contains("Cache-Control: no-store"))
    }
    #expect(try await http.ask(.cloud, "/", token: nil).headers.contains("X-Content-Type-Options: nosniff"))
  }

  @Test(arguments: [("ECDHE-ECDSA-AES128-GCM-SHA256", true), ("ECDHE-ECDSA-AES128-SHA", false)])
  func `in TLS 1.2 it takes nothing without forward secrecy and authenticated encryption`(
    cipher: String, isTaken: Bool
  ) async throws {
    let http = try HTTPRoad(hasTLS: true)
    try await http.start([.cloud])
    let answer = try await http.ask(
      .cloud, "/v1/health", token: nil, options: ["--tls-max", "1.2", "--ciphers", "\(cipher):@SECLEVEL=0"])
    #expect((answer.status == 200) == isTaken)
  }

  @Test func `with a certificate it speaks TLS alone`() async throws {
    let http = try HTTPRoad(hasTLS: true)
    try await http.start([.cloud])
    #expect(try await http.ask(.cloud, "/v1/status").status == 200)
    let plain = try await Road.run(
      "curl", ["--silent", http.url(.cloud, "/v1/health").replacing("https:", with: "http:")])
    #expect(plain.status != 0)
    let distrusting = try await Road.run("curl", ["--silent", http.url(.cloud, "/v1/health")])
    #expect(distrusting.status == 60)
  }

  @Test func `an address that is taken ends the consumer with what to do`() async throws {
    let http = try HTTPRoad()
    let port = try #require(URL(string: http.url(.cloud, "/"))?.port)
    let socket = try #require(Loopback.listen(port: port))
    defer { close(socket) }
    let outcome = try await Road.drover("cloud", "--config", http.road.cloudFile)
    #expect(outcome.status == 1)
    #expect(outcome.errors.contains("listen on http://127.0.0.1:\(port): "))
    #expect(outcome.errors.contains("correct `http` in the configuration"))
  }
}
