// The change feed of a PostgreSQL store, as programs and people use it: what is its own. ChangeFeedTests has the rest.

import DroverPostgreSQL
import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct PostgreSQLChangeFeedTests {
  @Test func `pages, the live stream, drover tail and schema accept are as with SQLite`() async throws {
    let server = try PostgreSQLServer()
    let http = try HTTPRoad(cloud: "changes: true", store: server.uri())
    let road = http.road
    try await road.python(Road.makePensAndFacts)
    try await http.start()
    try await road.python("db.executemany('INSERT INTO pen VALUES (?, ?)', [(i, 'pen %d' % i) for i in range(5)])")
    try await road.waitUntilConfirmed(atLeast: 5)
    func changes(_ query: String) async throws -> (lines: [String], next: String, more: Bool) {
      let answer = try await http.ask(.cloud, "/v1/streams/pen/changes?\(query)").document
      let changes = try #require(answer["changes"] as? [[String: Any]], "\(answer)")
      return (
        changes.map { "\($0["op"]!) \($0["id"]!)" }, try #require(answer["next"] as? String),
        try #require(answer["more"] as? Bool)
      )
    }
    let first = try await changes("limit=3")
    #expect(first.lines == ["put 0", "put 1", "put 2"] && first.more)
    let rest = try await changes("limit=3&after=\(first.next)")
    #expect(rest.lines == ["put 3", "put 4"] && !rest.more)

    let output = open(road.folder.file("tail"), O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
    defer { close(output) }
    let tail = try ChildProcess(
      Road.drover, ["tail", "--config", road.cloudFile, "--after", rest.next], standardOutput: output,
      errorsTo: road.folder.file("tail.errors"))
    let live = try ChildProcess(
      "sh",
      [
        "-c", "exec curl --silent --no-buffer --header \"$1\" \"$2\" >\"$3\"", "-",
        "Authorization: Bearer \(HTTPRoad.readToken)", http.url(.cloud, "/v1/live?stream=pen&after=\(rest.next)"),
        road.folder.file("live"),
      ])
    try await road.python("db.execute('DELETE FROM pen WHERE id = 3')")
    try await road.wait(for: "the delete") { try await changes("after=\(rest.next)").lines == ["delete 3"] }
    try await road.wait(for: "it is printed") { road.folder.read("tail").contains("MAH001  pen  delete  3") }
    try await road.wait(for: "it is told") { road.folder.read("live").contains("event: delete\n") }
    tail.end(SIGINT)
    #expect(road.folder.read("tail.errors") == "")
    let piped = try await Road.run(
      "sh", ["-c", "\"$0\" tail --config \"$1\" --from-start --json | head -1", Road.drover, road.cloudFile])
    #expect(piped.status == 0 && piped.errors == "" && piped.output.contains(#""stream":"pen""#), "\(piped)")

    try await road.python("db.execute('DROP TABLE pen'); db.execute('CREATE TABLE pen (code TEXT PRIMARY KEY)')")
    try await road.python("db.execute(\"INSERT INTO pen VALUES ('x')\")")
    try await road.wait(for: "the schema waits") {
      try await Road.drover("schema", "list", "--config", road.cloudFile).output.contains("MAH001")
    }
    let accepted = try await Road.drover(
      "schema", "accept", "--config", road.cloudFile, "--machine", "MAH001", "--stream", "pen")
    #expect(accepted.status == 0, "\(accepted.errors)")
    try await road.wait(for: "the live stream has ended") { !live.isRunning }
    #expect(road.folder.read("live").contains("id:\nevent: gone\ndata: {"))
    #expect(try await http.ask(.cloud, "/v1/streams/pen/changes?after=\(rest.next)").status == 410)
    try await road.wait(for: "whoever begins again has the new rows") { try await changes("").lines == ["put x"] }

    // Without it there is none.
    road.end(.cloud)
    let configuration = road.folder.read("cloud.yaml")
    try road.folder.write(configuration.replacing("changes: true", with: "changes: false"), to: "cloud.yaml")
    try await http.start([.cloud])
    #expect(try await http.ask(.cloud, "/v1/streams").status == 404)
    let off = try await Road.drover("tail", "--config", road.cloudFile)
    #expect(off.status == 1 && off.errors.contains("`changes: true`"), "\(off)")
  }

  @Test func `a live reader misses and repeats nothing while the consumers of a group are killed in turn`() async throws
  {
    let server = try PostgreSQLServer()
    let http = try HTTPRoad(cloud: "group: team\nchanges: true\nkeep_alive: 5s", store: server.uri())
    let road = http.road
    try await road.python(Road.makePensAndFacts)
    try await http.start()
    let second = try secondConsumer(of: road)
    let output = open(road.folder.file("live.json"), O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
    defer { close(output) }
    let reader = try ChildProcess(
      "python3",
      [
        "\(Road.scripts)/live.py", http.url(.cloud, "/v1/live"), HTTPRoad.readToken, road.folder.file("connected"),
      ], standardOutput: output, errorsTo: road.folder.file("live.errors"))
    try await road.wait(for: "the reader is connected") {
      FileManager.default.fileExists(atPath: road.folder.file("connected"))
    }
    for round in 0..<6 {
      try await road.python(
        """
        import random; random.seed(\(round))
        for i in range(60):
            if random.random() < 0.3: db.execute('DELETE FROM pen WHERE id = ?', (random.randrange(20),))
            else: db.execute('INSERT INTO pen VALUES (?, ?) ON CONFLICT DO UPDATE SET name = excluded.name', (random.randrange(20), '\(round) %d' % i))
            db.execute('INSERT INTO fact VALUES (?, ?)', ('\(round) %d' % i, i))
            db.commit()
        """)
      if round.isMultiple(of: 2) { try second.restart() } else { try road.restart(.cloud, SIGKILL) }
    }
    try await road.waitUntilConfirmed(atLeast: 360)
    try await road.python("db.execute(\"INSERT INTO pen VALUES (100, 'last')\")")
    try await road.wait(for: "the reader has the last row") { !reader.isRunning }
    let (text, errors) = (road.folder.read("live.json"), road.folder.read("live.errors"))
    let result = try #require(
      try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any], "\(text) \(errors)")
    #expect(result["backward"] as? Int == 0)
    #expect(try #require(result["connections"] as? Int) > 2)
    let rows = try #require(result["rows"] as? [String: [String: Any]])
    func known(_ stream: String, _ key: String, _ value: String) -> [String] {
      rows.filter { $0.key.hasPrefix("\(stream) ") }.values.map { "\($0[key]!)|\($0[value]!)" }.sorted()
    }
    let store = try Connection(PostgreSQLAddress(uri: server.uri()))
    func stored(_ sql: String) throws -> [String] {
      let rows = try store.query(sql)
      return (0..<rows.count).map { rows.text($0, 0) }.sorted()
    }
    #expect(try known("pen", "id", "name") == stored("SELECT id || '|' || name FROM pen"))
    #expect(try known("fact", "id", "n") == stored("SELECT id || '|' || (n #>> '{}') FROM fact"))
    #expect(known("fact", "id", "n").count == 360)
    #expect(second.log.contains("number 2 of the group") || road.log(of: .cloud).contains("number 2 of the group"))
  }

  /// A consumer that is killed and comes back; it serves nobody.
  private final class Consumer {
    private let folder: TemporaryFolder
    private var process: ChildProcess

    init(_ folder: TemporaryFolder) throws {
      self.folder = folder
      process = try Self.start(folder)
    }

    deinit { process.end(SIGKILL) }

    var log: String { folder.read("second.log") }

    func restart() throws {
      process.end(SIGKILL)
      process = try Self.start(folder)
    }

    private static func start(_ folder: TemporaryFolder) throws -> ChildProcess {
      try ChildProcess(
        "sh",
        [
          "-c", "exec \"$0\" cloud --config \"$1\" >>\"$2\" 2>&1", Road.drover, folder.file("second.yaml"),
          folder.file("second.log"),
        ])
    }
  }

  private func secondConsumer(of road: Road) throws -> Consumer {
    let configuration = road.folder.read("cloud.yaml")
    let http = try #require(configuration.range(of: "\nhttp:"))
    try road.folder.write(String(configuration[..<http.lowerBound]) + "\n", to: "second.yaml")
    return try Consumer(road.folder)
  }
}
