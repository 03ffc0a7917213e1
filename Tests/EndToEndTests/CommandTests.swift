// What a person types, and what comes back.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct CommandTests {
  static let streams = "  - name: temperature\n    kind: payload\n"

  @Test(arguments: ["edge", "cloud", "emit", "status", "watch", "doctor", "detach"])
  func `every command has help with an example`(command: String) async throws {
    let outcome = try await Road.drover(command, "--help")
    #expect(outcome.status == 0)
    #expect(outcome.output.contains("Example"))
    #expect(outcome.output.contains("drover \(command) --config"))
  }

  @Test(arguments: ["list", "show", "replay", "purge"])
  func `every command about dead letters has help with an example`(command: String) async throws {
    let outcome = try await Road.drover("dead", command, "--help")
    #expect(outcome.status == 0)
    #expect(outcome.output.contains("Example"))
    #expect(outcome.output.contains("drover dead \(command) --config"))
  }

  @Test func `a wrong configuration is told with file, line, key and what was expected`() async throws {
    let folder = try TemporaryFolder()
    let file = try folder.write(
      "machine: MAH001\ndatabse: ./app.db\nbroker: mqtt://localhost\nstreams: []\n", to: "edge.yaml")
    let outcome = try await Road.drover("edge", "--config", file)
    #expect(outcome.status == 78)
    #expect(outcome.errors.contains("edge.yaml:2:1: unknown key `databse`; did you mean `database`?"))
  }

  @Test func `emit reports a bad line with its number and takes the others`() async throws {
    let road = try Road(streams: Self.streams)
    let outcome = try await Road.drover(
      "emit", "--config", road.edgeFile, "--stream", "temperature", "--id-field", "id", "-",
      input: "{\"id\":\"a\",\"n\":12345678901234567890123}\n{broken\n\n{\"n\":1}\n{\"id\":5}\n")
    #expect(outcome.status == 1)
    #expect(outcome.output == "2 events taken into temperature, 2 lines refused\n")
    #expect(outcome.errors.contains("line 2: "))
    #expect(outcome.errors.contains("line 4: there is no field id"))
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 2)
    #expect(
      try await road.inCloud("SELECT local_id, body FROM temperature ORDER BY local_id")
        == #"[["5", "{\"id\":5}"], ["a", "{\"id\":\"a\",\"n\":12345678901234567890123}"]]"#)
  }

  @Test func `emit reads CSV with quotes, line breaks in cells, empty cells and wrong widths`() async throws {
    let road = try Road(streams: Self.streams)
    let outcome = try await Road.drover(
      "emit", "--config", road.edgeFile, "--stream", "temperature", "--format", "csv", "--id-field", "id",
      input: "\u{feff}id,note,n\r\n1,\"a \"\"b\"\"\nc\",1.50\r\n2,,007\r\n3,x\r\n\"4\",\"\",-0\r\n")
    #expect(outcome.status == 1)
    #expect(outcome.errors.contains("line 5: 2 cells where the header has 3"))
    let rows = try await road.python(
      "print(json.dumps(db.execute('SELECT local_id, body FROM drover_intake').fetchall()))")
    #expect(
      rows
        == #"[["1", "{\"id\":1,\"note\":\"a \\\"b\\\"\\nc\",\"n\":1.50}"], ["2", "{\"id\":2,\"note\":null,\"n\":\"007\"}"], ["4", "{\"id\":\"4\",\"note\":\"\",\"n\":-0}"]]"#
    )
  }

  // The line was taken for the header of a CSV: it was lost, and the exit status was 0.
  @Test(arguments: ["hxb:B1:LF1:UHF1\n", "hxb:B1:LF1:UHF1", "21.5\n", "\u{feff}\n \"a\"\n", "a,b\n1,2\n"])
  func `emit takes nothing of an input that does not say what it is, and says what to do`(input: String) async throws {
    let road = try Road(streams: Self.streams)
    let outcome = try await Road.drover("emit", "--config", road.edgeFile, "--stream", "temperature", input: input)
    #expect(outcome.status == 1)
    #expect(outcome.errors.contains("--format csv") && outcome.errors.contains("--format text"), "\(outcome.errors)")
    #expect(try await road.python("print(db.execute('SELECT count(*) FROM drover_intake').fetchone()[0])") == "0")
  }

  @Test func `emit takes each line of a text as an event, and refuses what is not UTF-8`() async throws {
    let road = try Road(streams: Self.streams)
    let file = road.folder.file("lines.csv")
    try Data("\u{feff}hxb:B1\r\n\n \"q\"\t\\ \nnul\0\n".utf8 + [0x61, 0xff, 0x0a] + "{\"a\":1}".utf8).write(
      to: URL(filePath: file))
    // What --format says goes before the ending of the name.
    let outcome = try await Road.drover(
      "emit", "--config", road.edgeFile, "--stream", "temperature", "--format", "text", file)
    #expect(outcome.status == 1)
    #expect(outcome.output == "4 events taken into temperature, 1 line refused\n")
    #expect(outcome.errors.contains("line 5: not UTF-8"))
    let rows = try await road.python(
      "print(json.dumps([json.loads(body) for (body,) in db.execute('SELECT body FROM drover_intake')]))")
    #expect(rows == #"["hxb:B1", " \"q\"\t\\ ", "nul\u0000", "{\"a\":1}"]"#)
    let field = try await Road.drover(
      "emit", "--config", road.edgeFile, "--stream", "temperature", "--format", "text", "--id-field", "id", file)
    #expect(field.status == 1 && field.errors.contains("has no field id"), "\(field.errors)")
  }

  @Test(arguments: ["", "\n", " \n\n", "\u{feff}"])
  func `an input without a line has no event, and that is no error`(input: String) async throws {
    let road = try Road(streams: Self.streams)
    let outcome = try await Road.drover("emit", "--config", road.edgeFile, "--stream", "temperature", input: input)
    #expect(outcome.status == 0 && outcome.output.hasPrefix("0 events"), "\(outcome)")
  }

  @Test func `JSON whose first line is broken, or that begins with a mark and blanks, is read on`() async throws {
    let road = try Road(streams: Self.streams)
    let outcome = try await Road.drover(
      "emit", "--config", road.edgeFile, "--stream", "temperature", input: "\u{feff} \n{broken\n{\"n\":1}\n[2]")
    #expect(outcome.status == 1)
    #expect(outcome.errors.contains("line 2: "))
    #expect(outcome.output == "2 events taken into temperature, 1 line refused\n")
  }

  @Test(arguments: [
    ("a,,c\n1,2,3\n", "column 2 has no name"), ("a,b,a\n1,2,3\n", "column 3 has the name of another one"),
    ("a,\"b\n1,2\n", "a quote without end"),
    // Its first row was lost as the header; its columns were taken for one.
    ("pen,2.5\nink,3\n", "column 2 has a number for its name"), ("a;b\n1;2\n", "its cells are not separated by commas"),
  ])
  func `a CSV without a header is refused with the reason`(input: String, reason: String) async throws {
    let road = try Road(streams: Self.streams)
    let outcome = try await Road.drover(
      "emit", "--config", road.edgeFile, "--stream", "temperature", "--format", "csv", input: input)
    #expect(outcome.status == 1)
    #expect(outcome.errors.contains("the first line is no header of a CSV: \(reason)"), "\(outcome.errors)")
  }

  // The line was lost, and the exit status was 0; so it was with a whole file of CR line ends, and with an array of JSON in a .csv.
  @Test func `emit refuses the only line of a CSV, and JSON in a file that is named as one`() async throws {
    let road = try Road(streams: Self.streams)
    func emit(_ input: String, as name: String) async throws -> Road.Outcome {
      let file = road.folder.file(name)
      try Data(input.utf8).write(to: URL(filePath: file))
      return try await Road.drover("emit", "--config", road.edgeFile, "--stream", "temperature", file)
    }
    let lone = try await emit("\nhxb:B1:LF1:UHF1", as: "lone.csv")
    #expect(lone.status == 1)
    #expect(lone.errors.contains("line 2: it has the names of a CSV's columns, and no row follows"), "\(lone.errors)")
    for json in ["[{\"n\":1},{\"n\":2}]", "\u{feff} {\"n\":1}\n{\"n\":2}\n"] {
      let outcome = try await emit(json, as: "json.csv")
      #expect(outcome.status == 1 && outcome.errors.contains("named as a CSV and begins as JSON does"), "\(outcome)")
    }
    let returns = try await emit("a,\"2024\"\r1,\"x\ry\"\r2,z\r", as: "mac.csv")
    #expect(returns.status == 0 && returns.output.hasPrefix("2 events"), "\(returns)")
    let rows = try await road.python("print(json.dumps([b for (b,) in db.execute('SELECT body FROM drover_intake')]))")
    #expect(rows == #"["{\"a\":1,\"2024\":\"x\\ry\"}", "{\"a\":2,\"2024\":\"z\"}"]"#)
  }

  @Test func `emit tells the lines of a CSV that cannot be taken`() async throws {
    let road = try Road(streams: Self.streams)
    // A row that is longer than the header, and one that is not UTF-8.
    let file = road.folder.file("rows.csv")
    try Data("\u{feff}\"a\",b\n1,2\n1,2,3\n".utf8 + [0xff] + ",2\n".utf8).write(to: URL(filePath: file))
    let rows = try await Road.drover("emit", "--config", road.edgeFile, "--stream", "temperature", file)
    #expect(rows.status == 1)
    #expect(rows.output == "1 event taken into temperature, 2 lines refused\n")
    #expect(rows.errors.contains("line 3: 3 cells where the header has 2"), "\(rows.errors)")
    #expect(rows.errors.contains("line 4: not UTF-8"), "\(rows.errors)")
    #expect(
      try await road.python("print(db.execute('SELECT body FROM drover_intake').fetchone()[0])") == #"{"a":1,"b":2}"#)
  }

  @Test func `emit without an id field makes IDs that differ`() async throws {
    let road = try Road(streams: Self.streams)
    let lines = String(repeating: "{}\n", count: 2500)
    let outcome = try await Road.drover("emit", "--config", road.edgeFile, "--stream", "temperature", input: lines)
    #expect(outcome.status == 0)
    #expect(
      try await road.python("print(db.execute('SELECT count(DISTINCT local_id) FROM drover_intake').fetchone()[0])")
        == "2500")
  }

  @Test func `emit says which streams there are`() async throws {
    let road = try Road(streams: Self.streams + "  - table: t\n    kind: snapshot\n")
    let unknown = try await Road.drover("emit", "--config", road.edgeFile, "--stream", "humidity")
    #expect(unknown.status == 1)
    #expect(unknown.errors.contains("it lists temperature, t"))
    let captured = try await Road.drover("emit", "--config", road.edgeFile, "--stream", "t")
    #expect(captured.errors.contains("captured from table t"))
  }

  @Test func `doctor finds a broker that is away and a table that is not there`() async throws {
    let road = try Road(streams: Self.streams + "  - table: nowhere\n    kind: snapshot\n")
    try await road.python("db.execute('CREATE TABLE t (a)')")
    road.broker.kill()
    let outcome = try await Road.drover("doctor", "--config", road.edgeFile)
    #expect(outcome.status == 1)
    #expect(outcome.output.contains("FAIL broker"))
    #expect(outcome.output.contains("there is no table nowhere"))
    #expect(outcome.output.contains("-> "))
    try road.broker.start()
    try await road.python("db.execute('CREATE TABLE nowhere (a INTEGER PRIMARY KEY)')")
    let mended = try await Road.drover("doctor", "--config", road.edgeFile)
    #expect(mended.status == 0, "\(mended.output)")
  }

  @Test func `doctor finds a damaged database`() async throws {
    let road = try Road(streams: "  - table: t\n    kind: snapshot\n")
    try await road.python(
      "db.execute('CREATE TABLE t (a INTEGER PRIMARY KEY, b)'); db.executemany('INSERT INTO t (b) VALUES (?)', [('x' * 500,)] * 500)"
    )
    let handle = try #require(FileHandle(forUpdatingAtPath: road.app))
    try handle.seek(toOffset: 4096 * 5)
    try handle.write(contentsOf: Data(repeating: 0x5a, count: 4096))
    try handle.close()
    let outcome = try await Road.drover("doctor", "--config", road.edgeFile)
    #expect(outcome.status == 1)
    #expect(outcome.output.contains("FAIL database"))
  }

  @Test func `status on either side is JSON that says whether somebody is at work`() async throws {
    let road = try Road(streams: Self.streams)
    let idle = try await Road.drover("status", "--config", road.cloudFile, "--json")
    #expect(idle.status == 1)
    try road.start(.cloud)
    try await road.wait(for: "the consumer runs") {
      try await Road.drover("status", "--config", road.cloudFile).status == 0
    }
  }

  @Test func `the production broker's ACL holds every machine below its own name`() async throws {
    try await Road.script("check_acl.sh", [])
  }

  @Test func `the demo runs to its end and finds everything confirmed`() async throws {
    let outcome = try await Road.run(
      "\(Road.repository)/scripts/demo", [], environment: ["DEMO_SECONDS": "3", "DROVER": Road.drover])
    #expect(outcome.status == 0, "\(outcome.output)\n\(outcome.errors)")
    #expect(outcome.output.contains("Everything was confirmed."))
    let kept = try #require(outcome.output.firstMatch(of: #/stay in (\S+);/#))
    try FileManager.default.removeItem(atPath: String(kept.1))
  }
}
