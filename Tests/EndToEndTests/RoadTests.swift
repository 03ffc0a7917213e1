// From an app in Python to the cloud's tables, through real processes.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct RoadTests {
  static let stock = """
      - table: local_stock_snapshots
        kind: snapshot
        synced_column: synced
      - name: temperature
        kind: payload
    """
  static let makeStock = """
    db.execute("CREATE TABLE local_stock_snapshots (id INTEGER PRIMARY KEY, stock_json TEXT NOT NULL, average_consumption REAL, synced INTEGER NOT NULL DEFAULT 0)")
    db.executemany("INSERT INTO local_stock_snapshots (stock_json, average_consumption) VALUES (?, ?)", [('{"n":%d}' % n, n / 3) for n in range(50)])
    """

  @Test func `rows from before, changes and deletes reach the cloud, and the app's flag is set`() async throws {
    let road = try Road(streams: Self.stock)
    try await road.python(Self.makeStock)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 50)
    try await road.python(
      """
      db.execute("UPDATE local_stock_snapshots SET stock_json = 'new', synced = 0 WHERE id = 7")
      db.execute("DELETE FROM local_stock_snapshots WHERE id = 8")
      db.execute("INSERT INTO local_stock_snapshots (id, stock_json) VALUES (100, 'added')")
      """)
    try await road.waitUntilConfirmed(atLeast: 53)
    #expect(
      try await road.inCloud(
        "SELECT machine_id, id, stock_json, synced FROM local_stock_snapshots WHERE id IN (7, 8, 100)")
        == #"[["MAH001", 7, "new", 1], ["MAH001", 100, "added", 1]]"#)
    #expect(try await road.inCloud("SELECT local_id FROM drover_tombstone") == #"[["8"]]"#)
    #expect(
      try await road.python(
        "print(db.execute('SELECT count(*) FROM local_stock_snapshots WHERE synced = 0').fetchone()[0])") == "0")
    try await Road.script("compare.py", [road.app, road.cloud, Road.machine, "--tables", "local_stock_snapshots"])
  }

  @Test func `a million updates of a thousand rows while offline take the room and the events of a thousand`()
    async throws
  {
    let road = try Road(streams: "  - table: stock\n    kind: snapshot\n")
    try await road.python(
      """
      db.execute("PRAGMA journal_mode = WAL")
      db.execute("CREATE TABLE stock (id INTEGER PRIMARY KEY, name TEXT, level INTEGER NOT NULL DEFAULT 0)")
      db.executemany("INSERT INTO stock (name) VALUES (?)", [(f"thing {n}",) for n in range(1000)])
      """)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 1000)
    road.end(.edge)
    // The first transaction makes the room that the outbox needs; after it, a thousand times as many updates find it large enough.
    let measured = try await road.python(
      """
      db.isolation_level = None
      def update(times):
        db.execute("BEGIN")
        for _ in range(times): db.execute("UPDATE stock SET level = level + 1")
        db.execute("COMMIT")
        return (db.execute("PRAGMA page_count").fetchone()[0], db.execute("SELECT count(*) FROM drover_outbox").fetchone()[0])
      pages, _ = update(1)
      for _ in range(9): update(100)
      after, entries = update(99)
      print(json.dumps([db.execute("SELECT sum(level) FROM stock").fetchone()[0], entries <= 1000, after <= 2 * pages]))
      """)
    #expect(measured == "[1000000, true, true]")
    func applied() async throws -> Int { try await road.cloudStatus()?.machines.first?.streams.first?.applied ?? 0 }
    let before = try await applied()
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 2000)
    #expect(try await applied() - before <= 4000)
    try await Road.script("compare.py", [road.app, road.cloud, Road.machine])
  }

  @Test func `without a broker nothing is marked as synced, and everything arrives when it comes`() async throws {
    let road = try Road(streams: Self.stock)
    try await road.python(Self.makeStock)
    road.broker.kill()
    try road.start(.cloud)
    try road.start(.edge)
    try await road.wait(for: "the agent is attached") { try await road.status()?.attached ?? false }
    try await road.python(
      """
      db.execute("INSERT INTO drover_intake (stream, local_id, body) VALUES ('temperature', 'r1', '{\\"c\\": 1}')")
      """)
    #expect(try await road.status()?.streams.last?.pending == 1)
    #expect(
      try await road.python("print(db.execute('SELECT sum(synced) FROM local_stock_snapshots').fetchone()[0])") == "0")
    try road.broker.start()
    try await road.waitUntilConfirmed(atLeast: 51)
    #expect(try await road.inCloud("SELECT local_id, body FROM temperature") == #"[["r1", "{\"c\": 1}"]]"#)
  }

  @Test func `without a consumer the broker's word is not enough to be synced`() async throws {
    // Nobody subscribes, so mosquitto answers 0x10: it took the message and nobody will ever have it.
    let road = try Road(streams: Self.stock)
    try await road.python(Self.makeStock)
    try road.start(.edge)
    try await road.wait(for: "the refusal is in the log") { road.log(of: .edge).contains("there is no subscriber") }
    #expect(
      try await road.python("print(db.execute('SELECT count(*), sum(synced) FROM drover_outbox').fetchone())")
        == "(50, 0)")
    try road.start(.cloud)
    try await road.waitUntilConfirmed(atLeast: 50)
    #expect(try await road.inCloud("SELECT count(*) FROM local_stock_snapshots") == "[[50]]")
  }

  @Test func `a restart of the agent sends nothing twice`() async throws {
    let road = try Road(streams: Self.stock)
    try await road.python(Self.makeStock)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 50)
    try road.restart(.edge, SIGTERM)
    // Acknowledged by the broker, and not confirmed: the consumer is away while the agent goes and comes.
    road.end(.cloud)
    try await road.python("db.execute(\"INSERT INTO local_stock_snapshots (stock_json) VALUES ('late')\")")
    try await road.wait(for: "the broker has it") { try await road.status()?.streams.first?.synced == 1 }
    try road.restart(.edge, SIGTERM)
    try await road.python("db.execute(\"INSERT INTO local_stock_snapshots (stock_json) VALUES ('later')\")")
    try await road.wait(for: "the broker has both") { try await road.status()?.streams.first?.synced == 2 }
    try road.start(.cloud)
    try await road.waitUntilConfirmed(atLeast: 52)
    let messages = try #require(try await road.cloudStatus()).messages
    // On a machine so slow that the consumer was away for half a minute the agent asks by sending a frame again, and says so.
    let probes = road.log(of: .edge).matches(of: /re-sends a frame to ask/).count
    #expect(messages["duplicate", default: 0] <= probes)
    #expect(messages["frame"] == 3)
  }

  @Test func `frames for a metered link are packed, and arrive as they were`() async throws {
    let road = try Road(streams: Self.stock, edge: "compression: deflate")
    try await road.python(Self.makeStock)
    try road.start(.cloud)
    try await road.wait(for: "the consumer") { road.log(of: .cloud).contains("connected") }
    async let frame = Road.run(
      "mosquitto_sub",
      [
        "-V", "mqttv5", "-p", "\(road.broker.port)", "-t", "drover/v1/+/snapshot/#", "-C", "1", "-W", "60", "-F",
        "%C %x",
      ])
    try await road.wait(for: "the listener") {
      road.broker.log.contains("mosqsub") || road.broker.log.contains("auto-")
    }
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 50)
    #expect(try await frame.output.hasPrefix("application/zlib 78"))
    #expect(
      try await road.inCloud("SELECT count(*), count(DISTINCT stock_json) FROM local_stock_snapshots") == "[[50, 50]]")
  }

  @Test func `a broker that speaks only MQTT 3.1.1 serves as well`() async throws {
    let broker = try MosquittoBroker(isPersistent: true)
    let proxy = ConnectProxy(to: broker.port, .refuse)
    let road = try Road(broker: broker, streams: Self.stock, port: proxy.port)
    try await road.python(Self.makeStock)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 50)
    #expect(road.log(of: .edge).contains("MQTT 3.1.1"))
    #expect(try await road.inCloud("SELECT count(*) FROM local_stock_snapshots") == "[[50]]")
  }

  @Test func `detach leaves no trace of Drover`() async throws {
    let road = try Road(streams: Self.stock)
    try await road.python(Self.makeStock)
    let catalogue = "print(db.execute('SELECT type, name, sql FROM sqlite_master ORDER BY name').fetchall())"
    let before = try await road.python(catalogue)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 50)
    #expect(try await Road.drover("detach", "--config", road.edgeFile).status == 1, "the agent is running")
    road.end(.edge)
    let outcome = try await Road.drover("detach", "--config", road.edgeFile)
    #expect(outcome.status == 0, "\(outcome.errors)")
    #expect(try await road.python(catalogue) == before)
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: road.folder.path).filter { $0.hasPrefix("app.db") } == [
        "app.db"
      ])
  }

  @Test func `detach keeps what is not confirmed until it is told otherwise`() async throws {
    let road = try Road(streams: Self.stock)
    try await road.python(Self.makeStock)
    try road.start(.edge)
    try await road.wait(for: "rows are in the outbox") { try await road.status()?.streams.first?.pending ?? 0 > 0 }
    road.end(.edge)
    let refused = try await Road.drover("detach", "--config", road.edgeFile)
    #expect(refused.status == 1)
    #expect(refused.errors.contains("50 events not confirmed"))
    #expect(try await Road.drover("detach", "--config", road.edgeFile, "--force").status == 0)
  }

  @Test func `a bare event of mosquitto_pub becomes a row`() async throws {
    let road = try Road(streams: Self.stock)
    try road.start(.cloud)
    try await road.wait(for: "the consumer is connected") { road.log(of: .cloud).contains("connected") }
    try ChildProcess.run(
      "mosquitto_pub",
      [
        "-p", "\(road.broker.port)", "-q", "1", "-t", "drover/v1/TILL9/payload/temperature", "-m",
        #"{"id":"1","at":"2026-11-20T00:00:00Z","body":{"c":21.50}}"#,
      ])
    try await road.wait(for: "the row is there") {
      try await road.cloudStatus()?.machines.first?.streams.first?.rows == 1
    }
    #expect(
      try await road.inCloud("SELECT machine_id, local_id, occurred_at, body FROM temperature")
        == #"[["TILL9", "1", "2026-11-20T00:00:00Z", "{\"c\":21.50}"]]"#)
  }

  @Test func `two agents do not work on one database`() async throws {
    let road = try Road(streams: Self.stock)
    try await road.python(Self.makeStock)
    try road.start(.edge)
    try await road.wait(for: "the agent is attached") { try await road.status()?.attached ?? false }
    let second = try await Road.drover("edge", "--config", road.edgeFile)
    #expect(second.status == 1)
    #expect(second.errors.contains("another Drover process"))
  }
}
