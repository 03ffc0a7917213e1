// Every figure that people are shown is held against the databases while things fail. Agents tell nothing at intervals here: what is true has to be
// told when it becomes true.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct FiguresTests {
  /// What the cloud's side shows, by where it is shown.
  private struct Shown {
    var status: [String: Any]
    var fleet: [String: Any]
    var metrics: [String: Double]
    var text: String

    func machine(_ source: [String: Any]) -> [String: Any] { (source["machines"] as? [[String: Any]])?.first ?? [:] }
    func outbox(_ source: [String: Any]) -> [String: Any] { machine(source)["outbox"] as? [String: Any] ?? [:] }
    func metric(_ name: String, _ labels: String = "") -> Double? { metrics[name + labels] }
  }

  private func look(_ http: HTTPRoad) async throws -> Shown {
    let text = try await Road.drover("status", "--config", http.road.cloudFile).output
    let page = try await http.ask(.cloud, "/metrics").body
    var metrics: [String: Double] = [:]
    for line in page.split(separator: "\n") where !line.hasPrefix("#") {
      guard let space = line.lastIndex(of: " ") else { continue }
      metrics[String(line[..<space])] = Double(line[space...].dropFirst())
    }
    return Shown(
      status: try await http.ask(.cloud, "/v1/status").document,
      fleet: try await http.ask(.cloud, "/v1/fleet").document,
      metrics: metrics, text: text)
  }

  /// What the databases hold.
  private func count(_ road: Road, _ sql: String, inCloud: Bool = false) async throws -> Int {
    Int(
      try await road.python(
        "db.execute('PRAGMA busy_timeout = 5000'); print(db.execute(\"\"\"\(sql)\"\"\").fetchone()[0])",
        database: inCloud ? road.cloud : nil)) ?? -1
  }

  private func messages(_ road: Road) async throws -> [String: Int] {
    let text = try await road.python(
      "print(json.dumps(dict(db.execute('SELECT outcome, count FROM drover_message_count').fetchall())))",
      database: road.cloud)
    return try JSONDecoder().decode([String: Int].self, from: Data(text.utf8))
  }

  private static let waiting = """
    SELECT count(*) FROM drover_outbox AS entry JOIN drover_stream AS stream ON stream.number = entry.stream
     WHERE entry.seq > stream.confirmed_through
    """

  /// All figures at a moment at which nothing moves: whoever shows one shows what the databases hold.
  private func hold(_ http: HTTPRoad, _ moment: String) async throws {
    let road = http.road
    let waiting = try await count(road, Self.waiting)
    let letters = try await count(road, "SELECT count(*) FROM drover_dead_letter", inCloud: true)
    // The fleet is looked at every few seconds.
    try await road.wait(for: "\(moment): the cloud shows that \(waiting) wait, everywhere") {
      let shown = try await look(http)
      return [shown.status, shown.fleet].allSatisfy {
        shown.outbox($0)["waiting"] as? Int == waiting && $0["dead_letters"] as? Int == letters
      }
    }
    let before = try await messages(road)
    let shown = try await look(http)
    let after = try await messages(road)
    #expect(try await count(road, Self.waiting) == waiting, "\(moment): something moves")
    let machine = "{machine=\"MAH001\"}"
    #expect(shown.metric("drover_machine_waiting_events", machine) == Double(waiting), "\(moment)")
    for source in [shown.status, shown.fleet] {
      let outbox = shown.outbox(source)
      // Each figure has an age, and the oldest event that waits is no younger than that.
      #expect(outbox["told_seconds"] as? Double ?? -1 >= 0, "\(moment): \(outbox)")
      #expect((outbox["oldest_unconfirmed_seconds"] is NSNull) == (waiting == 0), "\(moment): \(outbox)")
    }
    #expect(shown.metric("drover_machine_told_timestamp_seconds", machine) != nil, "\(moment)")
    #expect(shown.text.contains("reported"), "\(moment)")
    // The edge's own report.
    let edge = try #require(try await road.status())
    #expect(edge.streams.reduce(0) { $0 + $1.pending + $1.synced } == waiting, "\(moment)")
    // The cloud's tables.
    let machines = shown.machine(shown.status)
    for stream in machines["streams"] as? [[String: Any]] ?? [] {
      let name = try #require(stream["name"] as? String)
      #expect(
        stream["rows"] as? Int == (try await count(road, "SELECT count(*) FROM \(name)", inCloud: true)),
        "\(moment): \(name)")
      for (figure, metric) in [("applied", "applied"), ("superseded", "superseded"), ("refused", "refused")] {
        let held = try await count(
          road, "SELECT \(figure) FROM drover_progress WHERE stream = '\(name)'", inCloud: true)
        #expect(stream[figure] as? Int == held, "\(moment): \(name) \(figure)")
        #expect(
          shown.metric("drover_events_\(metric)_total", "{machine=\"MAH001\",stream=\"\(name)\"}") == Double(held),
          "\(moment): \(name) \(figure)")
      }
    }
    #expect(
      shown.status["dead_letters"] as? Int == letters && shown.fleet["dead_letters"] as? Int == letters, "\(moment)")
    #expect(shown.metric("drover_dead_letters") == Double(letters), "\(moment)")
    // A status may come in between.
    for (outcome, told) in shown.status["messages"] as? [String: Int] ?? [:] {
      let held = before[outcome, default: 0]...after[outcome, default: 0]
      #expect(held.contains(told), "\(moment): \(outcome)")
      let metric = shown.metric("drover_messages_total", "{outcome=\"\(outcome)\"}") ?? -1
      #expect(held.contains(Int(metric)), "\(moment): \(outcome)")
    }
  }

  // The cloud showed `waiting 9000` for up to a minute after all was confirmed, and a machine that had been away "heard 0 s ago".
  @Test func `every figure is what the databases hold, whatever fails`() async throws {
    let http = try HTTPRoad(edge: "status_every: 1d", cloud: "limits: {streams_per_machine: 3}")
    let road = http.road
    try await road.python(
      "\(Road.makePensAndFacts); db.executemany('INSERT INTO pen VALUES (?, ?)', [(i, 'p') for i in range(3000)])")
    // The consumer comes after the agent.
    try await http.start([.edge])
    try await road.wait(for: "the agent has tried in vain") { road.log(of: .edge).contains("there is no subscriber") }
    let away = try #require(try await road.status())
    #expect(away.streams.reduce(0) { $0 + $1.pending + $1.synced } == (try await count(road, Self.waiting)))
    let failures = try await http.ask(.edge, "/v1/status").document["failures"] as? [[String: Any]] ?? []
    #expect(failures.contains { $0["what"] as? String == "nobody_subscribes" && $0["count"] as? Int ?? 0 > 0 })
    try await http.start([.cloud])
    try await road.waitUntilConfirmed(atLeast: 3000)
    try await hold(http, "after the consumer came")
    #expect(road.log(of: .edge).contains(/the outage of .* is over: \d+ events? sent, and everything is confirmed/))
    // The broker dies, and comes again.
    road.broker.kill()
    try await road.python("db.executemany('INSERT INTO fact VALUES (?, ?)', [('f%d' % i, i) for i in range(500)])")
    try road.broker.start()
    try await road.wait(for: "the facts are there") {
      try await count(road, "SELECT count(*) FROM fact", inCloud: true) == 500
    }
    try await road.waitUntilConfirmed(atLeast: 3500)
    try await hold(http, "after the broker died")
    // Garbage, and the consumer dies.
    _ = try await Road.run(
      "mosquitto_pub",
      ["-p", "\(road.broker.port)", "-q", "1", "-t", "drover/v1/MAH001/payload/fact", "-m", "{garbage"])
    try road.restart(.cloud, SIGKILL)
    try await road.wait(for: "it listens") { try await http.ask(.cloud, "/v1/health").status == 200 }
    try await road.wait(for: "the garbage is a dead letter") { try await road.cloudStatus()?.dead_letters ?? 0 > 0 }
    try await hold(http, "after the consumer died")
    // A table that the cloud cannot follow: its stream waits, and the cloud shows how much.
    try await road.python(
      "db.executescript('DROP TABLE pen; CREATE TABLE pen (code TEXT PRIMARY KEY, name)'); db.execute('INSERT INTO pen VALUES (?, ?)', ('a', 'b'))"
    )
    try await road.wait(for: "its schema waits") {
      let waiting = try await http.ask(.cloud, "/v1/status").document["waiting_schemas"] as? [Any]
      return waiting?.isEmpty == false
    }
    try await road.wait(for: "it waits at the machine") { try await count(road, Self.waiting) > 0 }
    try await hold(http, "while a stream waits")
    // The agent leaves: what it said last is how it left its outbox.
    road.end(.edge)
    try await road.wait(for: "it is offline") { try await road.cloudStatus()?.machines.first?.online == false }
    let shown = try await look(http)
    #expect(shown.outbox(shown.status)["waiting"] as? Int == (try await count(road, Self.waiting)))
  }
}
