// From an app to PostgreSQL, through real processes and a server of the test's own.

import DroverPostgreSQL
import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct PostgreSQLTests {
  private static let streams = """
      - table: pen
        kind: snapshot
      - name: reading
        kind: payload
    """
  private static let makePens = """
    db.execute("CREATE TABLE pen (id INTEGER PRIMARY KEY, name TEXT, level REAL, count INT, sold BOOLEAN, raw BLOB, at DATETIME, price DECIMAL(10,2), anything)")
    def row(n): return (f"pen {n} größe", n / 7, n * 2**40, n % 2, bytes([n % 256, 0]), f"2026-01-{n % 28 + 1:02} 10:00:00", n if n % 3 else n + 0.25, [n, n / 2, str(n), bytes([n % 256]), None][n % 5])
    """

  /// Rows as JSON, in one form for both databases.
  private static let inApp = """
    print(json.dumps([[x.hex() if isinstance(x, bytes) else x for x in r] for r in db.execute("SELECT id, name, level, count, sold, raw, at, price FROM pen ORDER BY id")]))
    """
  private static let inStore = """
    SELECT json_agg(json_build_array(id, name, level, count, sold::integer, encode(raw, 'hex'), at, price) ORDER BY id)::text FROM pen
    """

  private func parsed(_ json: String) throws -> NSArray {
    try JSONSerialization.jsonObject(with: Data(json.utf8)) as! NSArray
  }

  @Test func `a thousand rows with updates and deletes are equal in PostgreSQL, with the consumer killed in between`()
    async throws
  {
    let server = try PostgreSQLServer()
    let road = try Road(streams: Self.streams, store: server.uri())
    let store = try Connection(PostgreSQLAddress(uri: server.uri()))
    try await road.python(Self.makePens)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.wait(for: "the attached agent") { try await road.status()?.attached == true }
    let insert =
      "db.executemany('INSERT INTO pen (name, level, count, sold, raw, at, price, anything) VALUES (?,?,?,?,?,?,?,?)', [row(n) for n in range(%d, %d)])"
    let makeRow = Self.makePens.split(separator: "\n")[1]
    try await road.python("\(makeRow)\n\(String(format: insert, 0, 500))")
    try await road.wait(for: "the first rows") {
      // The table comes with the description of the stream.
      try store.query("SELECT to_regclass('pen') IS NOT NULL").boolean(0, 0)
        && store.query("SELECT count(*) FROM pen").integer(0, 0) > 0
    }
    road.end(.cloud, SIGKILL)
    try await road.python(
      """
      \(makeRow)
      \(String(format: insert, 500, 1000))
      db.execute("UPDATE pen SET name = name || '!', level = -0.5 WHERE id % 3 = 0")
      db.execute("DELETE FROM pen WHERE id % 7 = 0")
      """)
    try road.start(.cloud)
    try await road.python("db.execute('UPDATE pen SET count = count + 1 WHERE id % 5 = 0')")
    let emitted = try await Road.drover(
      "emit", "--config", road.edgeFile, "--stream", "reading", "-", input: "{\"celsius\": 21.50}\n")
    #expect(emitted.status == 0, "\(emitted.errors)")
    try await road.waitUntilConfirmed(atLeast: 1000)
    #expect(try await parsed(road.python(Self.inApp)) == parsed(store.query(Self.inStore).text(0, 0)))
    #expect(try store.query("SELECT count(*) FROM pen").integer(0, 0) == 858)
    #expect(try store.query("SELECT body::text FROM reading").text(0, 0) == "{\"celsius\": 21.50}")
    #expect(try store.query("SELECT count(*) FROM drover_dead_letter").integer(0, 0) == 0)
    // A crash of the server is one more delivery, and nothing else.
    server.kill()
    try await road.python("db.execute('UPDATE pen SET sold = 1 - sold')")
    try server.start()
    try await road.waitUntilConfirmed(atLeast: 1858)
    let again = try Connection(PostgreSQLAddress(uri: server.uri()))
    #expect(try await parsed(road.python(Self.inApp)) == parsed(again.query(Self.inStore).text(0, 0)))
  }

  @Test func `a letter is listed, shown, replayed and purged`() async throws {
    let server = try PostgreSQLServer()
    let road = try Road(streams: Self.streams, store: server.uri())
    func dead(_ words: String...) async throws -> Road.Outcome {
      try await Road.run(Road.drover, ["dead", words[0], "--config", road.cloudFile] + words.dropFirst())
    }
    func publish(_ message: String) throws {
      try ChildProcess.run(
        "mosquitto_pub",
        ["-p", "\(road.broker.port)", "-q", "1", "-t", "drover/v1/MAH001/payload/reading", "-m", message])
    }
    try road.start(.cloud)
    let store = try Connection(PostgreSQLAddress(uri: server.uri()))
    try await road.wait(for: "the consumer") { road.log(of: .cloud).contains("connected") }
    try publish(#"{"id":"1","body":{"celsius":1}}"#)
    try await road.wait(for: "the first event") {
      try store.query("SELECT to_regclass('reading') IS NOT NULL").boolean(0, 0)
    }
    // Somebody's trigger refuses what comes next.
    try store.run(
      """
      CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not today'; END $$;
      CREATE TRIGGER refuse BEFORE INSERT ON reading FOR EACH ROW EXECUTE FUNCTION refuse()
      """)
    try publish(#"{"id":"2","body":{"celsius":2}}"#)
    try publish("garbage")
    try await road.wait(for: "the letters") {
      try store.query("SELECT count(*) FROM drover_dead_letter").integer(0, 0) == 2
    }
    let list = try await dead("list", "--reason", "store")
    #expect(list.status == 0 && list.output.contains("MAH001") && list.output.contains("not today"), "\(list)")
    let shown = try await dead("show", "1")
    #expect(shown.status == 0 && shown.output.contains(#"{"id":"2","body":{"celsius":2}}"#), "\(shown)")
    let refused = try await dead("replay")
    #expect(refused.status == 1 && refused.output.contains("letter 2: refused again, unparsable"), "\(refused)")
    try store.run("DROP TRIGGER refuse ON reading")
    let taken = try await dead("replay", "--id", "1")
    #expect(taken.status == 0 && taken.output.contains("1 dead letter taken by the consumer"), "\(taken)")
    #expect(try store.query("SELECT count(*) FROM reading").integer(0, 0) == 2)
    let purged = try await dead("purge", "--yes")
    #expect(purged.status == 0 && purged.output.contains("1 dead letter purged"), "\(purged)")
    #expect(try await dead("list").output.contains("no dead letters"))
  }

  @Test func `rows that somebody changed in PostgreSQL are found and mended, by hand and by the consumer itself`()
    async throws
  {
    let server = try PostgreSQLServer()
    let road = try Road(streams: Self.streams, store: server.uri())
    let store = try Connection(PostgreSQLAddress(uri: server.uri()))
    func check(_ words: String...) async throws -> (status: Int32, stream: NSDictionary) {
      let outcome = try await Road.run(Road.drover, ["check", "--config", road.cloudFile, "--json"] + words)
      return (outcome.status, try #require(try parsed(outcome.output).firstObject as? NSDictionary, "\(outcome)"))
    }
    try await road.python(
      """
      \(Self.makePens)
      db.executemany('INSERT INTO pen (name, level, count, sold, raw, at, price, anything) VALUES (?,?,?,?,?,?,?,?)', [row(n) for n in range(1000)])
      """)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 1000)
    let equal = try await check()
    #expect(equal.status == 0 && equal.stream["rows_in_cloud"] as? Int == 1000, "\(equal)")
    func tamper() throws {
      try store.run(
        """
        UPDATE pen SET level = -1 WHERE id = 17; UPDATE pen SET anything = '7.0' WHERE anything = '5';
        DELETE FROM pen WHERE id IN (20, 999);
        INSERT INTO pen (machine_id, id, drover_epoch, drover_version) VALUES ('MAH001', 5000, 1, 1)
        """)
    }
    try tamper()
    let differs = try await check()
    #expect(differs.status == 1 && differs.stream["drift"] as? Int == 5, "\(differs)")
    let counts = ["missing", "extra", "different"].map { differs.stream[$0] as? Int }
    #expect(counts == [2, 1, 2])
    let mended = try await check("--repair")
    #expect(mended.status == 0 && mended.stream["repaired"] as? Int == 5, "\(mended)")
    #expect(try await parsed(road.python(Self.inApp)) == parsed(store.query(Self.inStore).text(0, 0)))
    #expect(try await check().status == 0)
    #expect(try store.query("SELECT drift FROM drover_check WHERE stream = 'pen'").integer(0, 0) == 0)

    road.end(.cloud)
    let configuration = road.folder.read("cloud.yaml")
    try road.folder.write(configuration + "\ncheck: {every: 5s, repair: true}\n", to: "cloud.yaml")
    try tamper()
    try road.start(.cloud)
    try await road.wait(for: "the log says so") { road.log(of: .cloud).contains("5 rows repaired") }
    #expect(try await parsed(road.python(Self.inApp)) == parsed(store.query(Self.inStore).text(0, 0)))
  }

  @Test func `status, doctor, schema, resync and HTTP show a PostgreSQL store as they show one in SQLite`() async throws
  {
    let server = try PostgreSQLServer()
    let http = try HTTPRoad(store: server.uri())
    let road = http.road
    func command(_ words: String...) async throws -> Road.Outcome {
      try await Road.run(Road.drover, words + ["--config", road.cloudFile])
    }
    let early = try await command("status")
    #expect(early.status == 1 && early.output.contains("consumer     not running"), "\(early)")
    // doctor said of a database without Drover's tables that it does not exist.
    let empty = try await command("doctor")
    #expect(empty.output.contains("can be read and has no tables of Drover's yet"), "\(empty)")
    try await road.python(
      """
      \(Road.makePensAndFacts)
      db.executemany('INSERT INTO pen VALUES (?, ?)', [(i, 'pen %d' % i) for i in range(3)])
      db.execute('INSERT INTO fact VALUES (?, ?)', ('f', b'\\x00\\xff'))
      db.execute('INSERT INTO fact VALUES (?, ?)', ('h', float('inf')))
      """)
    try await http.start()
    _ = try await Road.drover(
      "emit", "--config", road.edgeFile, "--stream", "reading", "--id-field", "id", input: "{\"id\":\"a\"}\n")
    try await road.waitUntilConfirmed(atLeast: 6)

    let status = try await command("status")
    #expect(status.status == 0 && status.output.contains("running, process"), "\(status)")
    let document = try await http.ask(.cloud, "/v1/status").document
    #expect(document["rows"] as? Int == 6 && document["applied"] as? Int == 6, "\(document)")
    let machines = try await http.ask(.cloud, "/v1/machines").document["machines"] as? [[String: Any]]
    #expect(machines?.map { $0["machine"] as? String } == ["MAH001"])
    #expect(try await http.ask(.cloud, "/metrics").body.contains("drover_consumer_moving 1\n"))
    let tables = try #require(try await http.ask(.cloud, "/v1/schema").document["tables"] as? [[String: Any]])
    #expect(tables.compactMap { $0["table"] as? String } == ["fact", "pen", "reading"])
    let lines = try await http.ask(.cloud, "/v1/export").body.split(separator: "\n")
      .map { $0.replacing(/"version":[0-9]+/, with: "\"version\":0").replacing(/"at":"[^"]+",/, with: "") }.sorted()
    #expect(
      lines == [
        #"{"stream":"fact","machine":"MAH001","id":"f","version":0,"body":{"id":"f","n":{"$blob":"AP8="}}}"#,
        #"{"stream":"fact","machine":"MAH001","id":"h","version":0,"body":{"id":"h","n":{"$real":"inf"}}}"#,
        #"{"stream":"pen","machine":"MAH001","id":"0","version":0,"body":{"id":0,"name":"pen 0"}}"#,
        #"{"stream":"pen","machine":"MAH001","id":"1","version":0,"body":{"id":1,"name":"pen 1"}}"#,
        #"{"stream":"pen","machine":"MAH001","id":"2","version":0,"body":{"id":2,"name":"pen 2"}}"#,
        #"{"stream":"reading","machine":"MAH001","id":"a","version":0,"body":{"id":"a"}}"#,
      ])
    let doctor = try await command("doctor")
    #expect(doctor.output.contains("can be read") && doctor.output.contains("running, process"), "\(doctor)")
    let resync = try await command("resync", "--machine", "MAH001", "--stream", "pen")
    #expect(resync.status == 0 && resync.output.contains("3 of 3 rows read"), "\(resync)")

    for number in 1...3 {
      try ChildProcess.run(
        "mosquitto_pub",
        ["-p", "\(road.broker.port)", "-q", "1", "-t", "drover/v1/MAH00\(number)/payload/t", "-m", "no JSON \(number)"])
      try await road.wait(for: "a letter") { try await road.cloudStatus()?.dead_letters == number }
    }
    let list = try await http.ask(.cloud, "/v1/dead-letters?limit=2").document
    #expect((list["letters"] as? [[String: Any]])?.compactMap { $0["id"] as? Int } == [3, 2])
    let cursor = try #require(list["next"] as? String)
    let rest = try await http.ask(.cloud, "/v1/dead-letters?limit=2&after=\(cursor)").document
    #expect((rest["letters"] as? [[String: Any]])?.compactMap { $0["id"] as? Int } == [1])
    #expect(try await http.ask(.cloud, "/v1/dead-letters/2/replay", options: ["-X", "POST"]).status == 409)
    #expect(try await http.ask(.cloud, "/v1/dead-letters/2", options: ["-X", "DELETE"]).status == 204)

    // Another key: the stream waits until somebody accepts it.
    try await road.python("db.execute('DROP TABLE pen'); db.execute('CREATE TABLE pen (code TEXT PRIMARY KEY)')")
    try await road.python("db.execute(\"INSERT INTO pen VALUES ('x')\")")
    try await road.wait(for: "the schema waits") { try await command("schema", "list").output.contains("pen") }
    let accepted = try await command("schema", "accept", "--machine", "MAH001", "--stream", "pen")
    #expect(accepted.status == 0 && accepted.output.contains("pen_until_"), "\(accepted)")
    try await road.wait(for: "the new rows") { try await http.ask(.cloud, "/v1/export/pen").body.contains("\"x\"") }

    road.end(.cloud)
    #expect(try await command("status").status == 1)
  }

  @Test func `a consumer that is started while the server is away waits, says so, and goes on when the server comes`()
    async throws
  {
    let server = try PostgreSQLServer()
    let road = try Road(streams: Self.streams, store: server.uri())
    server.stop()
    try await road.python(
      "db.execute('CREATE TABLE pen (id INTEGER PRIMARY KEY, name TEXT)'); db.execute(\"INSERT INTO pen VALUES (1, 'red')\")"
    )
    try road.start(.cloud)
    try road.start(.edge)
    try await road.wait(for: "it says what it waits for") { road.log(of: .cloud).contains("wait for the store: ") }
    let doctor = try await Road.drover("doctor", "--config", road.cloudFile)
    #expect(doctor.status == 1 && doctor.output.contains("nothing is lost: events wait at the machines"))
    let status = try await Road.drover("status", "--config", road.cloudFile)
    #expect(status.status == 1 && status.errors.contains("status: connect to "), "\(status)")
    // The agent has found nobody who hears it.
    try await road.wait(for: "the row waits") { try await road.status()?.streams.first?.pending == 1 }
    #expect(road.isRunning(.cloud))
    try server.start()
    try await road.waitUntilConfirmed(atLeast: 1)
    let store = try Connection(PostgreSQLAddress(uri: server.uri()))
    #expect(try store.query("SELECT name FROM pen").text(0, 0) == "red")
    #expect(road.log(of: .cloud).contains(/the store .* answers, after \d+ attempts/))
  }

  @Test func `a second consumer, a wrong address and commands that are for SQLite alone say so`() async throws {
    let server = try PostgreSQLServer()
    let road = try Road(streams: Self.streams, store: server.uri())
    try road.start(.cloud)
    try await road.wait(for: "the consumer") { road.log(of: .cloud).contains("cloud consumer: ") }
    let second = try await Road.drover("cloud", "--config", road.cloudFile)
    #expect(second.status == 1 && second.errors.contains("another consumer works on this database"))
    let elsewhere = try Road(streams: Self.streams, store: server.uri("nowhere"))
    let refused = try await Road.drover("cloud", "--config", elsewhere.cloudFile)
    #expect(refused.status == 1 && refused.errors.contains("CREATE DATABASE"))
    for words in [
      ["backup"], ["rebuild", "--yes"], ["restore", "--machine", "MAH001", "--to", "app.db"],
    ] {
      let outcome = try await Road.run(Road.drover, words + ["--config", road.cloudFile])
      #expect(outcome.status == 78, "\(words)")
      #expect(outcome.errors.contains("this is for SQLite stores; "), "\(words): \(outcome.errors)")
    }
  }

  @Test func `a consumer logs in with the password of a file over TLS, and with another one says why it cannot`()
    async throws
  {
    let folder = try TemporaryFolder()
    let certificates = try Certificates(in: folder)
    let server = try PostgreSQLServer(certificates: certificates)
    let owner = try Connection(PostgreSQLAddress(uri: server.uri()))
    try owner.run("CREATE ROLE keeper SUPERUSER LOGIN PASSWORD 'right-geheim'")
    let uri = server.tlsURI(user: "keeper", "sslmode=verify-full", "sslrootcert=\(certificates.caFile)")
    let road = try Road(
      streams: Self.streams, cloud: "store_credentials: {password_file: \(folder.file("password"))}", store: uri)
    try await road.python(Self.makePens)
    try await road.python("db.execute(\"INSERT INTO pen (name) VALUES ('red')\")")

    try folder.write("wrong-geheim\n", to: "password")
    let refused = try await Road.run(Road.drover, ["cloud", "--config", road.cloudFile])
    #expect(refused.status == 1)
    #expect(
      refused.errors.contains(/connect to localhost:\d+\/postgres:/)
        && refused.errors.contains("`store:`, its password"))
    #expect(!(refused.errors + refused.output).contains("geheim"))

    try folder.write("right-geheim\n", to: "password")
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 1)
    #expect(try owner.query("SELECT count(*) FROM pen").integer(0, 0) == 1)
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'keeper'"
    #expect(try owner.query(encrypted).boolean(0, 0))
    #expect(!road.log(of: .cloud).contains("geheim"))
  }
}
