// The change feed as a program, a browser and a person use it.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct ChangeFeedTests {
  private func started() async throws -> HTTPRoad {
    let http = try HTTPRoad(cloud: "changes: true")
    try await http.road.python(Road.makePensAndFacts)
    try await http.start()
    return http
  }

  private func changes(_ http: HTTPRoad, _ query: String) async throws -> (lines: [String], next: String, more: Bool) {
    let answer = try await http.ask(.cloud, "/v1/streams/pen/changes?\(query)").document
    let changes = try #require(answer["changes"] as? [[String: Any]], "\(answer)")
    let lines = changes.map { change in
      let body = change["body"] as? [String: Any]
      return "\(change["op"]!) \(change["id"]!) \(body?["name"] ?? "-")"
    }
    return (lines, try #require(answer["next"] as? String), try #require(answer["more"] as? Bool))
  }

  @Test func `changes come page by page, deletes too, and a cursor of another store is gone`() async throws {
    let http = try await started()
    try await http.road.python("db.executemany('INSERT INTO pen VALUES (?, ?)', [(i, 'pen %d' % i) for i in range(5)])")
    try await http.road.waitUntilConfirmed(atLeast: 5)
    let first = try await changes(http, "limit=3")
    #expect(first.lines == ["put 0 pen 0", "put 1 pen 1", "put 2 pen 2"] && first.more)
    let rest = try await changes(http, "limit=3&after=\(first.next)")
    #expect(rest.lines == ["put 3 pen 3", "put 4 pen 4"] && !rest.more)
    try await http.road.python(
      "db.execute(\"UPDATE pen SET name = 'blue' WHERE id = 1\"); db.execute('DELETE FROM pen WHERE id = 3')")
    try await http.road.wait(for: "the delete") {
      try await Set(self.changes(http, "after=\(rest.next)").lines) == ["put 1 blue", "delete 3 -"]
    }
    #expect(try await changes(http, "after=\(rest.next)&machine=OTHER").lines == [])
    let streams = try await http.ask(.cloud, "/v1/streams").document
    let pen = try #require((streams["streams"] as? [[String: Any]])?.first { $0["stream"] as? String == "pen" })
    #expect(pen["counts"] as? [String: Int] == ["puts": 6, "deletes": 1])
    let newest = try #require(streams["newest"] as? String)
    #expect(try await changes(http, "after=\(newest)").next == newest)

    try await http.road.python(
      "db.execute(\"INSERT INTO drover_intake (stream, local_id, body) VALUES ('reading', 'r1', '1')\")")
    try await http.road.wait(for: "changes of all streams in one answer") {
      let all = try await http.ask(.cloud, "/v1/changes?after=\(rest.next)").document
      return all["page"] as? [String: [String: Int]]
        == ["pen": ["puts": 1, "deletes": 1], "reading": ["puts": 1, "deletes": 0]]
        && all["counts"] as? [String: Int] == ["puts": 7, "deletes": 1]
    }
    #expect(try await http.ask(.cloud, "/v1/changes?stream=nothing").status == 404)

    for path in ["/v1/streams/pen/changes?after=", "/v1/live?after="] {
      let gone = try await http.ask(.cloud, path + "other-1")
      #expect(gone.status == 410 && gone.detail.contains("begin again"))
      #expect(try await http.ask(.cloud, path + "nonsense").status == 400)
    }
    #expect(try await http.ask(.cloud, "/v1/streams/nothing/changes").status == 404)
    #expect(try await http.ask(.cloud, "/v1/live?stream=nothing").status == 404)
  }

  @Test func `without a feed the routes and drover tail say how one gets one`() async throws {
    let http = try HTTPRoad()
    try await http.start([.cloud])
    for path in ["/v1/streams", "/v1/streams/pen/changes", "/v1/live"] {
      let answer = try await http.ask(.cloud, path)
      #expect(answer.status == 404 && answer.detail.contains("`changes: true`"), "\(path) \(answer)")
    }
    let tail = try await Road.drover("tail", "--config", http.road.cloudFile)
    #expect(tail.status == 1 && tail.errors.contains("`changes: true`"))
  }

  @Test func `a live reader misses and repeats nothing while the consumer is killed again and again`() async throws {
    let http = try await started()
    let road = http.road
    let output = open(road.folder.file("live.json"), O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
    let reader = try ChildProcess(
      "python3",
      [
        "\(Road.scripts)/live.py", http.url(.cloud, "/v1/live"), HTTPRoad.readToken,
        road.folder.file("connected"),
      ], standardOutput: output, errorsTo: road.folder.file("live.errors"))
    defer { close(output) }
    try await road.wait(for: "the reader is connected") {
      FileManager.default.fileExists(atPath: road.folder.file("connected"))
    }
    for round in 0..<5 {
      try await road.python(
        """
        import random; random.seed(\(round))
        for i in range(60):
            if random.random() < 0.3: db.execute('DELETE FROM pen WHERE id = ?', (random.randrange(20),))
            else: db.execute('INSERT INTO pen VALUES (?, ?) ON CONFLICT DO UPDATE SET name = excluded.name', (random.randrange(20), '\(round) %d' % i))
            db.commit()
        """)
      try road.restart(.cloud, round == 4 ? SIGTERM : SIGKILL)
    }
    // What happens now goes before what waits, so it would not be the last one.
    try await road.waitUntilConfirmed(atLeast: 1)
    try await road.python("db.execute(\"INSERT INTO pen VALUES (100, 'last')\")")
    try await road.wait(for: "the reader has the last row") { !reader.isRunning }
    let text = try String(contentsOfFile: road.folder.file("live.json"), encoding: .utf8)
    let errors = try String(contentsOfFile: road.folder.file("live.errors"), encoding: .utf8)
    let result = try #require(
      try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any], "\(text) \(errors)")
    #expect(result["backward"] as? Int == 0)
    #expect(try #require(result["connections"] as? Int) > 2)
    let rows = try #require(result["rows"] as? [String: [String: Any]])
    let known = rows.filter { $0.key.hasPrefix("pen ") }.values.map { "\($0["id"]!)|\($0["name"]!)" }.sorted()
    let stored = try await road.inCloud("SELECT id || '|' || name FROM pen")
    #expect(try known == JSONDecoder().decode([[String]].self, from: Data(stored.utf8)).map { $0[0] }.sorted())
    #expect(known.count > 3)
  }

  @Test func `a table that is put aside ends a live stream with a problem`() async throws {
    let http = try await started()
    let road = http.road
    try await road.python("db.execute(\"INSERT INTO pen VALUES (1, 'red')\")")
    try await road.waitUntilConfirmed(atLeast: 1)
    let output = open(road.folder.file("live"), O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
    defer { close(output) }
    let reader = try ChildProcess(
      "curl",
      [
        "--silent", "--no-buffer", "--header", "Authorization: Bearer \(HTTPRoad.readToken)",
        http.url(.cloud, "/v1/live?stream=pen"),
      ], standardOutput: output)
    func heard() throws -> String { try String(contentsOfFile: road.folder.file("live"), encoding: .utf8) }
    try await road.wait(for: "the reader has his place") { try heard().contains("id: ") }
    try await road.python(
      "db.execute('DROP TABLE pen'); db.execute('CREATE TABLE pen (name TEXT PRIMARY KEY, id INTEGER)'); db.execute(\"INSERT INTO pen VALUES ('blue', 7)\")"
    )
    try await road.wait(for: "the schema waits") {
      try await Road.drover("schema", "list", "--config", road.cloudFile).output.contains("MAH001")
    }
    let accepted = try await Road.drover(
      "schema", "accept", "--config", road.cloudFile, "--machine", "MAH001", "--stream", "pen")
    #expect(accepted.status == 0, "\(accepted.errors)")
    try await road.wait(for: "the stream has ended") { !reader.isRunning }
    #expect(try heard().contains("id:\nevent: gone\ndata: {"))
    #expect(try heard().contains("begin again"))
    try await road.wait(for: "whoever begins again has the new rows") {
      try await self.changes(http, "").lines == ["put blue blue"]
    }
  }

  @Test func `live readers have a bound, give their place back, and end with the consumer`() async throws {
    let http = try await started()
    let road = http.road
    let outcome = try await Road.run(
      "python3",
      [
        "-c",
        """
        import sys, time, urllib.request, urllib.error
        url, token = sys.argv[1:]
        def connect(): return urllib.request.urlopen(urllib.request.Request(url, headers={'Authorization': 'Bearer ' + token}))
        readers = [connect() for _ in range(50)]
        for reader in readers: assert reader.readline() == b': \\n'
        try: connect(); print('no bound')
        except urllib.error.HTTPError as error: print(error.code, error.headers['Retry-After'])
        readers.pop().close()
        while True:
            try: connect().readline(); print('a place was given back'); break
            except urllib.error.HTTPError: time.sleep(0.01)
        """, http.url(.cloud, "/v1/live"), HTTPRoad.readToken,
      ])
    #expect(outcome.output == "503 10\na place was given back\n", "\(outcome.errors)")
    let reader = try ChildProcess(
      "sh",
      [
        "-c", "curl --silent --no-buffer --header \"$1\" \"$2\" >\"$3\"; echo $? >\"$3.status\"", "-",
        "Authorization: Bearer \(HTTPRoad.readToken)", http.url(.cloud, "/v1/live"), road.folder.file("live"),
      ])
    try await road.wait(for: "the reader has his place") {
      (try? String(contentsOfFile: road.folder.file("live"), encoding: .utf8))?.contains("id: ") == true
    }
    road.end(.cloud)
    #expect(road.log(of: .cloud).contains("cloud consumer: stopped"))
    try await road.wait(for: "the reader has ended") { !reader.isRunning }
    // Whole: with its last chunk.
    #expect(try String(contentsOfFile: road.folder.file("live.status"), encoding: .utf8) == "0\n")
  }

  @Test func `drover tail prints what is applied, and ends quietly`() async throws {
    let http = try await started()
    let road = http.road
    try await road.python("db.execute(\"INSERT INTO pen VALUES (1, 'before')\")")
    try await road.waitUntilConfirmed(atLeast: 1)
    let output = open(road.folder.file("tail"), O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
    defer { close(output) }
    let tail = try ChildProcess(
      Road.drover, ["tail", "--config", road.cloudFile, "--stream", "pen"], standardOutput: output,
      errorsTo: road.folder.file("tail.errors"))
    func printed() throws -> [String] {
      try String(contentsOfFile: road.folder.file("tail"), encoding: .utf8).split(separator: "\n")
        .map { $0.split(separator: " ", omittingEmptySubsequences: true).dropFirst().joined(separator: " ") }
    }
    var number = 1
    // It has to be there before what it is to show.
    try await road.wait(for: "it prints") {
      number += 1
      try await road.python("db.execute(\"INSERT INTO pen VALUES (\(number), 'blue\\x1b')\")")
      return try !printed().isEmpty
    }
    try await road.python("db.execute('DELETE FROM pen WHERE id = 1')")
    try await road.wait(for: "the delete") { try printed().last == "MAH001 pen delete 1" }
    #expect(try printed().first?.hasPrefix("MAH001 pen put ") == true)
    #expect(try printed().first?.hasSuffix(#""name":"blue\u001b"}"#) == true)
    tail.end(SIGINT)
    #expect(try String(contentsOfFile: road.folder.file("tail.errors"), encoding: .utf8) == "")

    // A reader who has enough ends it, whether something comes or not.
    let piped = try await Road.run(
      "sh", ["-c", "\"$0\" tail --config \"$1\" --from-start --json | head -1", Road.drover, road.cloudFile])
    #expect(piped.status == 0 && piped.errors == "")
    let change = try #require(try JSONSerialization.jsonObject(with: Data(piped.output.utf8)) as? [String: Any])
    #expect(change["stream"] as? String == "pen" && change["op"] as? String == "put" && change["id"] as? String == "2")
    // Something stands behind the first one, however soon that was printed.
    try await road.python("db.execute(\"INSERT INTO pen VALUES (\(number + 1), 'red')\")")
    let behind = try await Road.run(
      "sh",
      [
        "-c", "\"$0\" tail --config \"$1\" --after \"$2\" | head -1", Road.drover, road.cloudFile,
        try #require(change["cursor"] as? String),
      ])
    #expect(behind.output.contains("MAH001  pen  put  3  "), "\(behind)")
    let wrong = try await Road.drover("tail", "--config", road.cloudFile, "--after", "other-1")
    #expect(wrong.status == 1 && wrong.errors.contains("begin again"))
  }
}
