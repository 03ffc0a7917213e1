// Several consumers on one PostgreSQL, as a team runs them: one configuration, one command, as many processes as one likes.

import DroverPostgreSQL
import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct GroupTests {
  private static let rows = 8000

  /// Machines with a table of facts and one of rows that change, an agent each, and consumers of a group.
  private final class Team {
    let server: PostgreSQLServer
    let broker: MosquittoBroker
    let roads: [Road]
    let store: Connection
    private(set) var consumers: [Int: ChildProcess] = [:]

    init(machines: Int, streams: String = Road.pensAndFacts, cloud: String = "") throws {
      server = try PostgreSQLServer()
      let broker = try MosquittoBroker(isPersistent: true) { _ in
        ["allow_anonymous true", "max_queued_messages 1000000"]
      }
      self.broker = broker
      let uri = server.uri()
      roads = try (1...machines).map {
        try Road(
          "M\($0)", broker: broker, streams: streams, edge: "frame: {events: 20}",
          cloud: "group: team\nkeep_alive: 5s\n\(cloud)", store: uri)
      }
      store = try Connection(PostgreSQLAddress(uri: uri))
    }

    func log(_ number: Int) -> String { roads[0].folder.read("cloud-\(number).log") }

    func startConsumer(_ number: Int) throws {
      let log = open(
        roads[0].folder.file("cloud-\(number).log"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
      defer { close(log) }
      consumers[number] = try ChildProcess(
        "sh", ["-c", "exec \"$0\" cloud --config \"$1\" 2>&1", Road.drover, roads[0].cloudFile], standardOutput: log)
    }

    func end(_ number: Int, _ signal: Int32) { consumers.removeValue(forKey: number)?.end(signal) }

    func count(_ sql: String) throws -> Int { Int(try store.query(sql).integer(0, 0)) }
    /// 0 while there is no such table.
    func rows(of table: String) throws -> Int {
      guard try store.query("SELECT to_regclass($1) IS NOT NULL", [.text(table)]).boolean(0, 0) else { return 0 }
      return try count("SELECT count(*) FROM \(table)")
    }
  }

  private func fill(_ team: Team) async throws {
    for road in team.roads {
      try await road.python(
        """
        \(Road.makePensAndFacts)
        db.executemany('INSERT INTO fact VALUES (?, ?)', (('f%d' % i, i) for i in range(\(Self.rows))))
        db.executemany('INSERT INTO pen VALUES (?, ?)', ((i, 'pen %d' % i) for i in range(\(Self.rows))))
        """)
    }
  }

  @Test
  func
    `one of three is killed while they drain, it comes back, a fourth is added: every row is there once, and all is confirmed`()
    async throws
  {
    let team = try Team(machines: 3)
    try await fill(team)
    for number in 1...3 { try team.startConsumer(number) }
    let road = team.roads[0]
    for number in 1...3 {
      try await road.wait(for: "consumer \(number) is connected") { team.log(number).contains("connected") }
    }
    for road in team.roads { try road.start(.edge) }
    try await road.wait(for: "the drain is under way") { try team.rows(of: "fact") > Self.rows / 2 }
    team.end(1, SIGKILL)
    #expect(try team.rows(of: "fact") + team.rows(of: "pen") < 6 * Self.rows, "it was killed too late to say anything")
    try await road.wait(for: "the others go on") { try team.rows(of: "fact") > Self.rows * 2 }
    try team.startConsumer(1)
    try team.startConsumer(4)
    for road in team.roads {
      try await road.python(
        "db.execute(\"UPDATE pen SET name = name || '!' WHERE id % 5 = 0\"); db.execute('DELETE FROM pen WHERE id % 7 = 0')"
      )
    }
    for road in team.roads { try await road.waitUntilConfirmed(atLeast: 2 * Self.rows) }

    #expect(try team.rows(of: "fact") == 3 * Self.rows)
    #expect(try team.count("SELECT sum(applied)::bigint FROM drover_progress WHERE stream = 'fact'") == 3 * Self.rows)
    let inApp = try await road.python(
      "print(db.execute('SELECT count(*), sum(id), sum(length(name)) FROM pen').fetchall())")
    for machine in 1...3 {
      let row = try team.store.query(
        "SELECT count(*), sum(id)::bigint, sum(length(name))::bigint FROM pen WHERE machine_id = 'M\(machine)'")
      #expect("[(\(row.integer(0, 0)), \(row.integer(0, 1)), \(row.integer(0, 2)))]" == inApp)
    }
    #expect(try team.count("SELECT count(*) FROM drover_dead_letter") == 0)
    // An epoch that began for nothing would be a cloud taken for one that was put back.
    #expect(try team.count("SELECT max(number) FROM drover_epoch") == 1)
    let status = try await Road.drover("status", "--config", road.cloudFile)
    #expect(status.status == 0 && status.output.split(separator: "running, process").count == 5, "\(status.output)")
    // The number of the one that was killed is for whoever comes first.
    #expect((team.log(1) + team.log(4)).contains("number 4 of the group team"))
  }

  @Test func `every one of them takes its part, a comparison is made by one, and by another when it is gone`()
    async throws
  {
    let team = try Team(machines: 2)
    let road = team.roads[0]
    for file in [road.folder.read("cloud.yaml") + "\ncheck: {every: 5s}\nlog_level: debug\n"] {
      try road.folder.write(file, to: "cloud.yaml")
    }
    try await fill(team)
    for number in 1...2 { try team.startConsumer(number) }
    for number in 1...2 {
      try await road.wait(for: "consumer \(number) is connected") { team.log(number).contains("connected") }
    }
    for road in team.roads { try road.start(.edge) }
    for road in team.roads { try await road.waitUntilConfirmed(atLeast: 2 * Self.rows) }
    for number in 1...2 { #expect(team.log(number).contains(" applied, "), "consumer \(number)") }
    let checked = "SELECT count(*) FROM drover_check WHERE drift = 0 AND failure IS NULL AND checked_at > $1"
    func isChecked(since moment: Int64) throws -> Bool {
      try team.store.query(checked, [.integer(moment)]).integer(0, 0) == 4
    }
    try await road.wait(for: "a comparison of all tables") { try isChecked(since: 0) }
    team.end(1, SIGKILL)
    let killed = try team.store.query("SELECT max(checked_at) FROM drover_check").integer(0, 0)
    try await road.wait(for: "the other one compares") { try isChecked(since: killed) }
    // An agent and a question by hand meet whoever is there.
    let check = try await Road.drover("check", "--config", road.cloudFile)
    #expect(check.status == 0, "\(check)")
  }

  @Test func `a consumer that never comes back holds nothing up, be the machines as quiet as they like`() async throws {
    let team = try Team(machines: 1)
    let road = team.roads[0]
    for number in 1...2 { try team.startConsumer(number) }
    try await road.python(Road.makePensAndFacts)
    try road.start(.edge)
    try await road.waitUntilConfirmed()
    team.end(2, SIGKILL)
    // Some of these are for the one that is gone.
    for number in 1...6 {
      try await road.python("db.execute('INSERT INTO pen VALUES (\(number), NULL)')")
      try await road.wait(for: "it is on its way") {
        try await road.status()?.streams.allSatisfy { $0.pending == 0 } == true
      }
    }
    try await road.waitUntilConfirmed(atLeast: 6)
    #expect(try team.rows(of: "pen") == 6)
  }

  @Test func `rows go down whichever consumer leads, and whenever it and the machine came`() async throws {
    let team = try Team(machines: 2, streams: "  - {table: pen, kind: snapshot, direction: both}")
    var edits = 0
    /// A person edits the row of each machine, and it arrives.
    func edit(_ machines: [Int], _ what: String) async throws {
      edits += 1
      try team.store.run(
        "UPDATE pen SET name = 'edit \(edits)' WHERE machine_id = ANY ('{\(machines.map { "M\($0)" }.joined(separator: ","))}')"
      )
      for machine in machines {
        try await team.roads[machine - 1].wait(for: "\(what): edit \(edits) at M\(machine)") {
          try await team.roads[machine - 1].python("print(db.execute('SELECT name FROM pen').fetchone()[0])")
            == "edit \(edits)"
        }
      }
    }
    func start(_ number: Int) async throws {
      let count = team.log(number).split(separator: "connected").count
      try team.startConsumer(number)
      try await team.roads[0].wait(for: "consumer \(number) is connected") {
        team.log(number).split(separator: "connected").count > count
      }
    }
    for road in team.roads {
      try await road.python(
        "db.execute('CREATE TABLE pen (id INTEGER PRIMARY KEY, name TEXT)'); db.execute(\"INSERT INTO pen VALUES (1, 'new')\")"
      )
    }
    // Both were there before any stream went down.
    for number in 1...2 { try await start(number) }
    try team.roads[0].start(.edge)
    try await team.roads[0].waitUntilConfirmed(atLeast: 1)
    try await edit([1], "the first leader")
    team.end(1, SIGKILL)
    try await edit([1], "the second one leads")
    // The next leader comes when the machines have said all they have to say.
    try team.roads[1].start(.edge)
    try await team.roads[1].waitUntilConfirmed(atLeast: 1)
    try await edit([1, 2], "a machine that came while another one led")
    try await start(3)
    team.end(2, SIGKILL)
    try await edit([1, 2], "one that came after the machines")
    // A machine connects again to one that follows.
    try await start(1)
    team.roads[0].end(.edge)
    try team.roads[0].start(.edge)
    try await edit([1, 2], "a machine that came again")
    team.end(3, SIGKILL)
    try await edit([1, 2], "one that leads again")
  }

  @Test func `an alert that one consumer told is ended by another, and its receiver knows that it is the same`()
    async throws
  {
    let receiver = try WebhookReceiver(isAway: true)
    let team = try Team(
      machines: 1, cloud: "alerts: {calm: 0s, webhook: {url: \"http://127.0.0.1:\(receiver.port)/\"}}")
    let road = team.roads[0]
    for number in 1...2 { try team.startConsumer(number) }
    for number in 1...2 {
      try await road.wait(for: "consumer \(number) is connected") { team.log(number).contains("connected") }
    }
    let publish = ["-p", "\(team.broker.port)", "-q", "1", "-t", "drover/v1/M9/payload/x", "-m", "garbage"]
    try ChildProcess.run("mosquitto_pub", publish)
    func teller() -> Int? { (1...2).first { team.log($0).contains(" warning alert dead_letters") } }
    try await road.wait(for: "one of them tells it") { teller() != nil }
    try await road.wait(for: "a post that is refused") { receiver.refused.contains("firing") }
    // The one that told it is gone before anybody has taken it.
    let gone = try #require(teller())
    team.end(gone, SIGKILL)
    try receiver.comeBack()
    try await road.wait(for: "the other one posts it") { receiver.alerts.count == 1 }
    let purge = try await Road.drover("dead", "purge", "--config", road.cloudFile, "--yes")
    #expect(purge.status == 0, "\(purge)")
    try await road.wait(for: "the end of it") { receiver.alerts.count == 2 }
    #expect(receiver.alerts.map { $0["state"] as? String } == ["firing", "resolved"])
    #expect(Set(receiver.alerts.compactMap { $0["id"] as? String }).count == 1)
    #expect(!team.log(3 - gone).contains(" warning alert dead_letters"), "it was told twice")
  }
}
