// Reasons and dead letters with a real mosquitto: what it refuses never counts as synced, and what can never be sent or applied lies where
// a person finds it and can send it again.
//
// Seen with mosquitto 2.0.11: `max_packet_size` is told to a client of MQTT 5, which then sends nothing larger, and ends the connection of
// one of MQTT 3.1.1; `message_size_limit` answers 0x95 to the first and success to the second.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct DeadLetterTests {
  private static let stock = """
      - table: stock
        kind: snapshot
        synced_column: synced
      - name: temperature
        kind: payload
    """
  private static let makeStock = """
    db.execute("CREATE TABLE stock (id INTEGER PRIMARY KEY, note TEXT, synced INTEGER NOT NULL DEFAULT 0)")
    db.executemany("INSERT INTO stock (note) VALUES (?)", [("x" * (5000 if n == 77 else 40),) for n in range(200)])
    """

  private struct List: Decodable {
    struct Letter: Decodable {
      var id: Int
      var machine: String?
      var stream: String?
      var reason: String
      var detail: String
      var count: Int
      var replayed: String?
    }
    var total: Int
    var letters: [Letter]
  }

  private func letters(_ file: String, _ arguments: String...) async throws -> List {
    let outcome = try await Road.run(Road.drover, ["dead", "list", "--config", file, "--json"] + arguments)
    #expect(outcome.status == 0, "\(outcome.errors)")
    return try JSONDecoder().decode(List.self, from: Data(outcome.output.utf8))
  }

  private func rewrite(_ name: String, in broker: MosquittoBroker, _ old: String, _ new: String) throws {
    let text = broker.folder.read(name)
    #expect(text.contains(old))
    try broker.folder.write(text.replacing(old, with: new), to: name)
    broker.kill()
    try broker.start()
  }

  private func publish(_ message: String, on topic: String, _ road: Road) throws {
    try ChildProcess.run(
      "mosquitto_pub", ["-p", "\(road.broker.port)", "-q", "1", "-t", "drover/v1/\(topic)", "-m", message])
  }

  // MARK: The edge

  @Test func `at the bound for dead letters of the edge an event stays in the outbox, and other streams go on`()
    async throws
  {
    let road = try Road(
      streams: Self.stock, edge: "dead_letters: {max_count: 2}", cloud: "limits: {message_bytes: 3000}")
    try await road.python(Self.makeStock)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 199)
    try await road.python(
      """
      for size in (5000, 5001, 10):
        db.execute("INSERT INTO drover_intake (stream, body) VALUES ('temperature', ?)", (json.dumps("x" * size),))
      """)
    try await road.wait(for: "the agent says that there is no room") {
      road.log(of: .edge).contains("dead_letters.max_count is 2")
    }
    try await road.python("db.execute(\"UPDATE stock SET note = 'new' WHERE id = 1\")")
    try await road.wait(for: "the stock goes on") { try await road.status()?.streams.first?.confirmed ?? 0 >= 200 }
    #expect(try await letters(road.edgeFile).total == 2)
    #expect(try await road.status()?.streams.last.map { $0.pending + $0.synced } ?? 0 > 0)
    let purge = try await Road.drover("dead", "purge", "--config", road.edgeFile, "--stream", "stock", "--yes")
    #expect(purge.status == 0, "\(purge.errors)")
    try await road.waitUntilConfirmed(atLeast: 201)
    #expect(try await letters(road.edgeFile).total == 2)
    #expect(try await road.inCloud("SELECT count(*) FROM temperature") == "[[1]]")
  }

  @Test(arguments: ["max_packet_size 3000", "message_size_limit 3000"])
  func `a frame that is too large comes in parts, and an event that is too large alone becomes a dead letter`(
    limit: String
  ) async throws {
    let broker = try MosquittoBroker(isPersistent: true) { _ in ["allow_anonymous true", limit] }
    let road = try Road(broker: broker, streams: Self.stock)
    try await road.python(Self.makeStock)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 199)
    #expect(try await road.status()?.dead_letters == 1)
    #expect(road.log(of: .edge).contains("they are sent in smaller frames"))
    let letter = try #require(try await letters(road.edgeFile, "--machine", Road.machine).letters.first)
    #expect(letter.stream == "stock" && letter.reason == "too_large")
    #expect(
      try await road.python("print(db.execute('SELECT id FROM stock WHERE synced = 0').fetchall())") == "[(78,)]")
    #expect(try await road.inCloud("SELECT count(*), max(id = 78) FROM stock") == "[[199, 0]]")
    // Its number is covered: nothing stands open, and what comes after is confirmed too.
    #expect(try await road.inCloud("SELECT count(*) FROM drover_received WHERE stream = 'stock'") == "[[1]]")
    try await road.python("db.execute(\"INSERT INTO drover_intake (stream, body) VALUES ('temperature', '{}')\")")
    try await road.waitUntilConfirmed(atLeast: 200)
    let shown = try await Road.drover("dead", "show", "--config", road.edgeFile, "\(letter.id)")
    #expect(shown.output.contains("key         78\n"))
    let doctor = try await Road.drover("doctor", "--config", road.edgeFile)
    #expect(doctor.output.contains("1 dead letter\n") && doctor.output.contains("drover dead list --config"))

    try rewrite("mosquitto.conf", in: broker, limit, "")
    let replayed = try await Road.drover("dead", "replay", "--config", road.edgeFile)
    #expect(replayed.status == 0)
    #expect(replayed.output.contains("1 dead letter back in the outbox"))
    try await road.waitUntilConfirmed(atLeast: 201)
    try await Road.script("compare.py", [road.app, road.cloud, Road.machine, "--tables", "stock"])
    #expect(try await letters(road.edgeFile).total == 0)
  }

  // A frame above the consumer's limit was a dead letter in the cloud and was not covered: the agent sent it again for ever.
  @Test(arguments: [true, false])
  func
    `a frame larger than the consumer takes comes in parts, and an event that is too large alone becomes a dead letter of the edge`(
      isThereFirst: Bool
    ) async throws
  {
    let road = try Road(streams: Self.stock, cloud: "limits: {message_bytes: 3000}")
    try await road.python(Self.makeStock)
    if isThereFirst {
      try road.start(.cloud)
      try road.start(.edge)
    } else {
      // What the broker holds by the time the consumer comes is too large for it.
      try road.start(.cloud)
      try await road.wait(for: "the consumer has subscribed") { road.log(of: .cloud).contains("connected") }
      road.end(.cloud)
      try road.start(.edge)
      try await road.wait(for: "the broker has all") { try await road.status()?.streams.first?.synced == 200 }
      try road.start(.cloud)
    }
    try await road.waitUntilConfirmed(atLeast: 199)
    let letter = try #require(try await letters(road.edgeFile).letters.first)
    #expect(letter.reason == "too_large" && letter.detail.contains("its limits.message_bytes is 3000"))
    #expect(try await road.inCloud("SELECT count(*), max(id = 78) FROM stock") == "[[199, 0]]")
    #expect(try await letters(road.cloudFile).total == 0)
    if !isThereFirst { #expect(road.log(of: .cloud).contains("the machine will divide it")) }

    let allowed = try String(contentsOfFile: road.cloudFile, encoding: .utf8).replacing("3000", with: "8000")
    try road.folder.write(allowed, to: "cloud.yaml")
    try road.restart(.cloud, SIGTERM)
    #expect(try await Road.drover("dead", "replay", "--config", road.edgeFile).status == 0)
    try await road.wait(for: "the whole table is there") {
      // Until it has heard of the new limit the agent sets the event aside again.
      if try await letters(road.edgeFile).total == 1 {
        _ = try await Road.drover("dead", "replay", "--config", road.edgeFile)
      }
      return try await road.inCloud("SELECT count(*) FROM stock") == "[[200]]"
    }
    try await Road.script("compare.py", [road.app, road.cloud, Road.machine, "--tables", "stock"])
  }

  @Test func `what the ACL refuses is said with topic and user, is not synced, and holds nothing else back`()
    async throws
  {
    let broker = try MosquittoBroker(isPersistent: true) { folder in
      try folder.write(
        """
        topic readwrite #
        user MAH001
        topic deny drover/v1/MAH001/payload/temperature
        topic readwrite drover/v1/MAH001/#
        """, to: "acl")
      return ["allow_anonymous true", "acl_file \(folder.file("acl"))"]
    }
    let road = try Road(broker: broker, streams: Self.stock, edge: "credentials:\n  username: MAH001")
    try await road.python(Self.makeStock)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.wait(for: "the agent is attached") { try await road.status()?.attached ?? false }
    try await road.python("db.execute(\"INSERT INTO drover_intake (stream, body) VALUES ('temperature', '{}')\")")
    try await road.wait(for: "the stock is confirmed, and the refusal is in the log") {
      road.log(of: .edge).contains("user MAH001 is not authorised on drover/v1/MAH001/payload/temperature")
        ? try await road.status()?.streams.first?.confirmed == 200 : false
    }
    let temperature = try #require(try await road.status()?.streams.last)
    #expect(temperature.pending == 1 && temperature.synced == 0 && temperature.confirmed == 0)
    #expect(try await road.status()?.dead_letters == 0)
    try rewrite("acl", in: broker, "topic deny drover/v1/MAH001/payload/temperature", "")
    try await road.waitUntilConfirmed(atLeast: 201)
  }

  // MARK: The cloud

  @Test func `at the bound for dead letters an agent's event stays at the edge, and garbage goes with a record`()
    async throws
  {
    let road = try Road(streams: Self.stock, cloud: "dead_letters: {max_count: 2}")
    try await road.python(Self.makeStock)
    try road.start(.cloud)
    try await road.wait(for: "the consumer is connected") { road.log(of: .cloud).contains("connected") }
    for id in ["p1", "p2"] {
      try publish("{\"id\":\"\(id)\",\"body\":{\"c\":1}}", on: "MAH001/payload/temperature", road)
    }
    for number in 0..<5 { try publish("garbage \(number)", on: "MAH002/payload/temperature", road) }
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 200)
    try await road.python(
      """
      for id in ('p0', 'p1', 'p2', 'p3'):
        db.execute("INSERT INTO drover_intake (stream, local_id, body) VALUES ('temperature', ?, '{}')", (id,))
      """)
    try await road.wait(for: "the consumer says that there is no room") {
      road.log(of: .cloud).contains("there is no space for a dead letter of MAH001, so its frame stays at the edge")
    }
    // What can be applied is applied; nothing of the frame is confirmed.
    try await road.wait(for: "the others are applied") {
      try await road.inCloud("SELECT count(*) FROM temperature WHERE local_id IN ('p0', 'p3')") == "[[2]]"
    }
    let temperature = try #require(try await road.status()?.streams.last)
    #expect(temperature.confirmed == 0 && temperature.pending + temperature.synced == 4)
    let kept = try await letters(road.cloudFile)
    #expect(kept.letters.filter { $0.machine == Road.machine }.count == 1 && kept.total == 2)
    let shown = try await Road.drover("status", "--config", road.cloudFile)
    #expect(shown.output.contains("dropped because the limit was reached: 4 of MAH002 temperature, reason unparsable"))
    #expect(shown.output.contains("space for dead letters becomes scarce: 2 of 2"))

    try road.folder.write(
      try String(contentsOfFile: road.cloudFile, encoding: .utf8).replacing("max_count: 2", with: "max_count: 10"),
      to: "cloud.yaml")
    try road.restart(.cloud, SIGTERM)
    try await road.waitUntilConfirmed(atLeast: 204)
    #expect(
      try await letters(road.cloudFile, "--machine", Road.machine).letters.map(\.reason) == ["conflict", "conflict"])
  }

  @Test
  func
    `a poisoned event is set apart, the others of its frame are applied, and later it is replayed with its own version`()
    async throws
  {
    let road = try Road(streams: Self.stock)
    try await road.python(Self.makeStock)
    try road.start(.cloud)
    try await road.wait(for: "the consumer is connected") { road.log(of: .cloud).contains("connected") }
    try publish(#"{"id":"p1","body":{"c":1}}"#, on: "MAH001/payload/temperature", road)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 200)
    try await road.python(
      """
      for id in ('p0', 'p1', 'p2'):
        db.execute("INSERT INTO drover_intake (stream, local_id, body) VALUES ('temperature', ?, '{}')", (id,))
      """)
    try await road.waitUntilConfirmed(atLeast: 203)
    #expect(
      try await road.inCloud("SELECT local_id, body FROM temperature ORDER BY local_id")
        == #"[["p0", "{}"], ["p1", "{\"c\":1}"], ["p2", "{}"]]"#)
    let listed = try await letters(road.cloudFile, "--stream", "temperature", "--reason", "conflict")
    #expect(listed.total == 1 && listed.letters.first?.machine == Road.machine)

    // Nothing has changed, so it is refused again, and is the letter that it was.
    let refused = try await Road.drover("dead", "replay", "--config", road.cloudFile, "--machine", Road.machine)
    #expect(refused.status == 1)
    #expect(refused.output.contains("0 dead letters taken") && refused.output.contains("refused again, conflict"))
    #expect(try await letters(road.cloudFile).letters.map(\.count) == [2])

    try await road.python("db.execute(\"DELETE FROM temperature WHERE local_id = 'p1'\")", database: road.cloud)
    let taken = try await Road.drover("dead", "replay", "--config", road.cloudFile)
    #expect(taken.status == 0, "\(taken.output) \(taken.errors)")
    #expect(taken.output == "1 dead letter taken by the consumer\n")
    #expect(try await letters(road.cloudFile).total == 0)
    // It is still the middle one of three, and happened when it did.
    #expect(
      try await road.inCloud(
        """
        SELECT p1.body, p0.drover_version < p1.drover_version, p1.drover_version < p2.drover_version,
               p1.occurred_at BETWEEN p0.occurred_at AND p2.occurred_at
          FROM temperature p0, temperature p1, temperature p2
         WHERE p0.local_id = 'p0' AND p1.local_id = 'p1' AND p2.local_id = 'p2'
        """) == #"[["{}", 1, 1, 1]]"#)
    #expect(try #require(try await road.cloudStatus()).dead_letters_replayed == 1)
  }

  // A rowid table may have NULL in its key, and any number of such rows; a table in the cloud, where the key tells rows apart, may not.
  @Test func `rows with NULL for a key are a dead letter and count as missing until they have a key`() async throws {
    let road = try Road(streams: "  - table: t\n    kind: snapshot\n")
    try await road.python(
      """
      db.execute("CREATE TABLE t (k TEXT PRIMARY KEY, a)")
      db.execute("INSERT INTO t VALUES ('before', 0), (NULL, 1), (NULL, 2), ('after', 3)")
      """)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 3)
    #expect(try await road.inCloud("SELECT k, a FROM t ORDER BY a") == #"[["before", 0], ["after", 3]]"#)
    let listed = try await Road.drover("dead", "list", "--config", road.cloudFile)
    #expect(listed.output.contains("NOT NULL constraint failed: t.k"), "\(listed.output)")
    let differs = try await Road.drover("check", "--config", road.cloudFile)
    #expect(differs.status == 1 && differs.output.contains("2 differ"), "\(differs.output)")

    try await road.python("db.execute(\"UPDATE t SET k = 'now' WHERE a = 1\"); db.execute('DELETE FROM t WHERE a = 2')")
    try await road.wait(for: "the row is there") {
      try await road.inCloud("SELECT a FROM t WHERE k = 'now'") == "[[1]]"
    }
    try await road.waitUntilConfirmed()
    #expect(try await Road.drover("check", "--config", road.cloudFile).status == 0)
  }

  // Outside its frame the number of a replayed delete means nothing, and its tombstone would wait for that number to be received.
  @Test func `a delete with a number outside a frame leaves a tombstone without one`() async throws {
    let road = try Road(streams: Self.stock)
    try road.start(.cloud)
    try await road.wait(for: "the consumer is connected") { road.log(of: .cloud).contains("connected") }
    try publish(#"{"seq":7,"id":"1","op":"delete","version":77}"#, on: "MAH001/snapshot/pens", road)
    try await road.wait(for: "the delete is applied") {
      try await road.cloudStatus()?.machines.first?.streams.first?.applied == 1
    }
    #expect(try await road.inCloud("SELECT version, seq FROM drover_tombstone") == "[[77, null]]")
  }

  // A bare event counts as one of the machine's latest epoch, and a clock that ran ahead in an earlier one would have made it win.
  @Test func `a letter of an epoch that is over never overwrites what came in a later one`() async throws {
    let road = try Road(streams: Self.stock)
    try road.start(.cloud)
    try await road.wait(for: "the consumer is connected") { road.log(of: .cloud).contains("connected") }
    try await road.python("db.execute('CREATE TABLE pens (mine)')", database: road.cloud)
    func frame(_ epoch: String, _ version: Int, _ body: String) -> String {
      #"{"v":1,"epoch":"\#(epoch)","after":0,"through":1,"events":[{"seq":1,"id":"1","version":\#(version),"body":"\#(body)"}]}"#
    }
    try publish(frame("aaaa", 900, "old"), on: "MAH001/snapshot/pens", road)
    try await road.wait(for: "the letter") { try await road.cloudStatus()?.dead_letters == 1 }
    try await road.python("db.execute('DROP TABLE pens')", database: road.cloud)
    try publish(frame("bbbb", 5, "new"), on: "MAH001/snapshot/pens", road)
    try await road.wait(for: "the new row") { try await road.cloudStatus()?.machines.first?.streams.first?.rows == 1 }
    let outcome = try await Road.drover("dead", "replay", "--config", road.cloudFile)
    #expect(outcome.output == "1 dead letter taken by the consumer\n")
    #expect(try await road.inCloud("SELECT body FROM pens") == #"[["\"new\""]]"#)
  }

  @Test func `a letter that nobody can take stays a letter until somebody does`() async throws {
    let road = try Road(streams: Self.stock)
    try road.start(.cloud)
    try await road.wait(for: "the consumer is connected") { road.log(of: .cloud).contains("connected") }
    try publish("{broken", on: "MAH001/payload/temperature", road)
    try publish(#"{"id":"1","body":1}"#, on: "MAH001/payload/temperature", road)
    try publish(#"{"id":"1","body":2}"#, on: "MAH001/payload/temperature", road)
    try await road.wait(for: "both letters") { try await road.cloudStatus()?.dead_letters == 2 }
    road.end(.cloud)
    try await road.python("db.execute('DELETE FROM temperature')", database: road.cloud)

    // Its session is there and the consumer is not: the broker's word is no reason to forget.
    let waiting = try await Road.drover(
      "dead", "replay", "--config", road.cloudFile, "--reason", "conflict", "--wait", "0")
    #expect(waiting.status == 1)
    #expect(waiting.output.contains("the consumer has not applied it yet"))
    #expect(try await letters(road.cloudFile).letters.map { $0.replayed != nil } == [true, false])
    try road.start(.cloud)
    try await road.wait(for: "the letter goes when the consumer takes it") {
      try await letters(road.cloudFile).total == 1
    }
    #expect(try await road.inCloud("SELECT body FROM temperature") == #"[["2"]]"#)

    // Nobody subscribes at all.
    road.end(.cloud)
    try ChildProcess.run(
      "mosquitto_sub", ["-p", "\(road.broker.port)", "-i", "drover-cloud", "-t", "x", "-E"])
    let nobody = try await Road.drover("dead", "replay", "--config", road.cloudFile)
    #expect(nobody.status == 1)
    #expect(nobody.output.contains("no consumer subscribes"))
    #expect(try await letters(road.cloudFile).letters.map { $0.replayed == nil } == [true])

    // Nor is there a broker.
    road.broker.kill()
    let away = try await Road.drover("dead", "replay", "--config", road.cloudFile)
    #expect(away.status == 1)
    #expect(away.errors.contains("nothing was sent"))
    #expect(try await letters(road.cloudFile).letters.map { $0.replayed == nil } == [true])
  }

  @Test func `show prints what a letter carries, as text or hexadecimal, and nothing that commands a terminal`()
    async throws
  {
    let road = try Road(streams: Self.stock)
    try road.start(.cloud)
    try await road.wait(for: "the consumer is connected") { road.log(of: .cloud).contains("connected") }
    try publish("{\u{1b}[31m\u{7f}ä", on: "MAH001/payload/temperature", road)
    let large = try road.folder.write(String(repeating: "x", count: (1 << 20) + 1), to: "large")
    let binary = road.folder.file("binary")
    try Data([0xff, 0x00, 0x41]).write(to: URL(fileURLWithPath: binary))
    for file in [binary, large] {
      try ChildProcess.run(
        "mosquitto_pub",
        ["-p", "\(road.broker.port)", "-q", "1", "-t", "drover/v1/MAH001/payload/temperature", "-f", file])
    }
    try await road.wait(for: "three letters") { try await road.cloudStatus()?.dead_letters == 3 }

    let table = try await Road.drover("dead", "list", "--config", road.cloudFile, "--limit", "2")
    #expect(table.output.hasPrefix("id  last seen"))
    #expect(table.output.contains("1 more; --limit 3 lists them too"))
    #expect(!table.output.contains("xxxx"))
    let text = try await Road.drover("dead", "show", "--config", road.cloudFile, "1")
    #expect(text.output.hasSuffix("raw\n{\\u{1b}[31m\\u{7f}ä\n"))
    let hexadecimal = try await Road.drover("dead", "show", "--config", road.cloudFile, "2")
    #expect(hexadecimal.output.hasSuffix("raw\nnot UTF-8, as hexadecimal digits:\nff0041\n"))
    let cut = try await Road.drover("dead", "replay", "--config", road.cloudFile, "--id", "3")
    #expect(cut.status == 1)
    #expect(
      cut.output.contains("cannot be replayed: it had 1048577 bytes, and only the first 1048576 of them were kept"))
    let missing = try await Road.drover("dead", "show", "--config", road.cloudFile, "4")
    #expect(missing.status == 1 && missing.errors.contains("there is no dead letter 4"))
    let wrong = try await Road.drover("dead", "list", "--config", road.cloudFile, "--reason", "bad")
    #expect(wrong.status == 64 && wrong.errors.contains("too_large"))
  }

  @Test func `purge asks at a terminal, and without one it wants to be told`() async throws {
    let road = try Road(streams: Self.stock)
    try road.start(.cloud)
    try await road.wait(for: "the consumer is connected") { road.log(of: .cloud).contains("connected") }
    for machine in ["MAH001", "MAH002", "MAH003"] { try publish("{", on: "\(machine)/payload/temperature", road) }
    try await road.wait(for: "three letters") { try await road.cloudStatus()?.dead_letters == 3 }
    func purge(_ arguments: String...) async throws -> Road.Outcome {
      try await Road.run(Road.drover, ["dead", "purge", "--config", road.cloudFile] + arguments)
    }
    let untold = try await purge()
    #expect(untold.status == 64)
    #expect(untold.errors.contains("3 dead letters would be deleted"))
    #expect(try await letters(road.cloudFile).total == 3)
    let told = try await purge("--machine", "MAH001", "--yes")
    #expect(told.status == 0 && told.output == "1 dead letter purged\n")

    let ask = """
      import os, pty, sys
      answer = sys.argv[1].encode() + b"\\n"
      pid, terminal = pty.fork()
      if pid == 0:
        os.execv(sys.argv[2], sys.argv[2:])
      text = b""
      while True:
        try: more = os.read(terminal, 1000)
        except OSError: break
        if not more: break
        text += more
        if answer and b"[y/N]" in text:
          os.write(terminal, answer)
          answer = None
      print(text.decode())
      sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
      """
    let arguments = [Road.drover, "dead", "purge", "--config", road.cloudFile, "--machine", "MAH002"]
    let no = try await Road.run("python3", ["-c", ask, "n"] + arguments)
    #expect(no.output.contains("Delete 1 dead letter of machine MAH002 for good?"))
    #expect(no.output.contains("nothing was purged"))
    #expect(try await letters(road.cloudFile).total == 2)
    let yes = try await Road.run("python3", ["-c", ask, "y"] + arguments)
    #expect(yes.status == 0 && yes.output.contains("1 dead letter purged"))
    #expect(try await letters(road.cloudFile).letters.map(\.machine) == ["MAH003"])
    #expect(try #require(try await road.cloudStatus()).dead_letters_purged == 2)
  }
}
