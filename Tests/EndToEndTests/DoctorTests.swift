// What `drover doctor` finds, and that it never waits for ever.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct DoctorTests {
  private static let credentials = "credentials: {username: MAH002, password_env: DROVER_TEST_PASSWORD}"

  private func doctor(_ road: Road, _ side: Road.Side = .edge) async throws -> Road.Outcome {
    try await Road.run(
      Road.drover, ["doctor", "--config", side == .edge ? road.edgeFile : road.cloudFile],
      environment: ["DROVER_TEST_PASSWORD": "secret"])
  }

  private func road(_ lines: [String], edge: String = "") async throws -> Road {
    let broker = try MosquittoBroker { folder in
      try folder.write("pattern readwrite drover/v1/%u/#\n", to: "acl")
      return lines.map { $0.replacing("ACL", with: folder.file("acl")) }
    }
    if lines.contains("max_qos 0") {
      // It is a setting of a listener, and stands behind it.
      broker.stop()
      try broker.folder.write(broker.folder.read("mosquitto.conf") + "max_qos 0\n", to: "mosquitto.conf")
      try broker.start()
    }
    let road = try Road(broker: broker, streams: Road.pensAndFacts, edge: edge)
    try await road.python(Road.makePensAndFacts)
    return road
  }

  @Test(arguments: [
    (["allow_anonymous true"], "", ["may publish", "no client subscribes"], 0),
    (
      ["allow_anonymous true", "acl_file ACL"], credentials,
      ["publish 64 KiB on drover/v1/MAH001/reply/doctor: user MAH002 is not authorised", "another machine's"], 1
    ),
    (["allow_anonymous true", "retain_available false"], "", ["keeps no retained messages"], 1),
    (["allow_anonymous true", "max_qos 0"], "", ["QoS 0 only"], 1),
    (["allow_anonymous true", "max_packet_size 2000"], "", ["packets of at most 1.9 KiB"], 0),
    (
      ["allow_anonymous true", "message_size_limit 2000"], "", ["larger than the broker takes", "message_size_limit"], 0
    ),
  ])
  func `doctor finds what is wrong with the broker`(lines: [String], edge: String, words: [String], status: Int)
    async throws
  {
    let outcome = try await doctor(road(lines, edge: edge))
    for word in words { #expect(outcome.output.contains(word), "\(outcome.output)\(outcome.errors)") }
    #expect(outcome.status == Int32(status), "\(outcome.output)")
  }

  @Test func `doctor asks the agent that logs in what it has met`() async throws {
    let road = try await road(["allow_anonymous true", "acl_file ACL"], edge: Self.credentials)
    try await road.python("db.execute('INSERT INTO pen VALUES (1, ?)', ('p',))")
    setenv("DROVER_TEST_PASSWORD", "secret", 1)
    try road.start(.edge)
    try await road.wait(for: "the broker has refused") { road.log(of: .edge).contains("is not authorised on") }
    try await road.wait(for: "doctor says so") {
      let outcome = try await doctor(road)
      return outcome.status == 1 && outcome.output.contains("the broker did not authorise a frame")
    }
  }

  // Opening a pipe waits for somebody who writes to it.
  @Test func `a pipe in the place of a database or a configuration is no reason to wait`() async throws {
    let road = try Road(streams: Road.pensAndFacts)
    let pipes = ["app.db", "cloud.db", "pipe.yaml"].map { road.folder.file($0) }
    _ = try await Road.run("mkfifo", pipes)
    for (command, file) in [
      ("doctor", road.edgeFile), ("status", road.edgeFile), ("edge", road.edgeFile), ("doctor", road.cloudFile),
      ("status", road.cloudFile), ("cloud", road.cloudFile), ("doctor", pipes[2]), ("edge", pipes[2]),
    ] {
      let outcome = try await Road.run("timeout", ["60", Road.drover, command, "--config", file])
      #expect([1, 78].contains(outcome.status), "\(command) \(file): \(outcome.status)")
      #expect(
        (outcome.output + outcome.errors).contains("pipe (FIFO)"),
        "\(command) \(file): \(outcome.output)\(outcome.errors)")
    }
  }

  @Test func `what is no database is called what it is`() async throws {
    for (code, words) in [
      ("import os; b = os.urandom(40960)", "is encrypted"), ("b = b'hello world, this is text' * 500", "a text file"),
      ("import gzip, os; b = gzip.compress(os.urandom(9000))", "packed with gzip"),
    ] {
      let road = try Road(streams: Road.pensAndFacts)
      _ = try await Road.run("python3", ["-c", "import sys\n\(code)\nopen(sys.argv[1], 'wb').write(b)", road.app])
      let outcome = try await doctor(road)
      #expect(outcome.status == 1 && outcome.output.contains(words), "\(outcome.output)")
    }
  }
}

/// The table of exit codes in the documentation.
@Suite(.programs) struct ExitCodeTests {
  /// Code and commands of each line.
  private static func table() throws -> [Int32: String] {
    let text = try String(contentsOfFile: "\(Road.repository)/docs/reference/exit-codes.md", encoding: .utf8)
    let section = try #require(text.split(separator: "# Exit codes\n").last)
    return Dictionary(
      uniqueKeysWithValues: section.split(separator: "\n").compactMap { line in
        let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
        return cells.count == 3 ? Int32(cells[0]).map { ($0, cells[2]) } : nil
      })
  }

  @Test func `each exit code of the table is met where it says, and no other`() async throws {
    let table = try Self.table()
    let road = try Road(streams: Road.pensAndFacts)
    try await road.python(Road.makePensAndFacts)
    let (edge, cloud) = (road.edgeFile, road.cloudFile)
    try road.start(.cloud)
    try await road.wait(for: "the consumer runs") {
      try await Road.drover("status", "--config", cloud).status == 0
    }
    // Bytes that the text of a lock has for a job that has not moved since the machine started.
    let stuck = """
      import fcntl, os, subprocess, sys
      f = open(sys.argv[1] + '-drover.lock', 'w+')
      fcntl.flock(f, fcntl.LOCK_EX)
      f.write('%d\\nrelay 1\\n' % os.getpid()); f.flush()
      sys.exit(subprocess.call([sys.argv[2], 'status', '--config', sys.argv[3]], stdout=subprocess.DEVNULL))
      """
    let cases: [(code: Int32, command: String, outcome: Road.Outcome)] = [
      (0, "status", try await Road.drover("status", "--config", cloud)),
      (1, "status", try await Road.drover("status", "--config", edge)),
      (
        1, "emit",
        try await Road.drover("emit", "--config", edge, "--stream", "reading", "--format", "json", input: "{x\n")
      ),
      (
        1, "doctor",
        try await Road.drover(
          "doctor", "--config",
          {
            try road.folder.write(
              "machine: M\ndatabase: ./none.db\nbroker: mqtt://127.0.0.1:1\nstreams: [{table: t, kind: snapshot}]\n",
              to: "none.yaml")
          }())
      ),
      (2, "status", try await Road.run("python3", ["-c", stuck, road.app, Road.drover, edge])),
      (64, "check", try await Road.drover("check", "--nonsense")),
      (64, "forget", try await Road.drover("forget", "--config", cloud, "--machine", "M")),
      (78, "edge", try await Road.drover("edge", "--config", cloud)),
      (78, "cloud", try await Road.drover("cloud", "--config", edge)),
      (78, "status", try await Road.drover("status", "--config", "none")),
    ]
    for (code, command, outcome) in cases {
      #expect(outcome.status == code, "\(command): \(outcome.output)\(outcome.errors)")
      let commands = try #require(table[code], "\(code)")
      #expect(commands == "all" || commands.contains("`\(command)`"), "\(code) of \(command)")
    }
    #expect(Set(cases.map(\.code)) == Set(table.keys))
    #expect(cases[7].outcome.errors.contains("this is a cloud's file"), "\(cases[7].outcome.errors)")
    #expect(cases[8].outcome.errors.contains("this is a machine's file"))
  }

  // The same readings, emitted again after a script had failed, were there twice.
  @Test func `emit says when it has taken the same before, unless the events have IDs`() async throws {
    let road = try Road(streams: CommandTests.streams)
    func emit(_ input: String, _ arguments: String...) async throws -> String {
      try await Road.run(
        Road.drover, ["emit", "--config", road.edgeFile, "--stream", "temperature"] + arguments, input: input
      ).errors
    }
    #expect(try await emit("{\"id\":\"a\"}\n") == "")
    #expect(try await emit("{\"id\":\"b\"}\n") == "")
    #expect(try await emit("{\"id\":\"a\"}\n").contains("the same input was taken into temperature at"))
    // Of a file that had grown since nothing was said.
    let grown = try await emit("{\"id\":\"a\"}\n{\"id\":\"d\"}\n{\"id\":\"e\"}\n")
    #expect(grown.contains("the beginning of this input was taken") && grown.contains("2 of 3 are new"), "\(grown)")
    let again = try await emit("{\"id\":\"a\"}\n{\"id\":\"d\"}\n{\"id\":\"e\"}\n{\"id\":\"f\"}\n")
    #expect(again.contains("3 events; so these are there twice now, and 1 of 4 are new"), "\(again)")
    #expect(try await emit("{\"id\":\"c\"}\n", "--id-field", "id") == "")
    #expect(try await emit("{\"id\":\"c\"}\n", "--id-field", "id") == "")
  }
}
