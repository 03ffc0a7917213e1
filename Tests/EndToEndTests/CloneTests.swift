// A card was copied, and both machines went by its name: 47 full re-sends in 65 seconds, rows of both under one name, and dead letters without end
// (issue 14).

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct CloneTests {
  /// A road with a table that is attached and confirmed, its agent stopped, and a copy of its card.
  private func cloned(clientIDs: Bool) async throws -> (Road, copy: String) {
    let road = try Road(
      streams: "  - {table: fact, kind: payload}", edge: clientIDs ? "client_id: one" : "", cloud: "alerts: {}")
    try await road.python(
      "db.execute('CREATE TABLE fact (id INTEGER PRIMARY KEY, v)'); db.execute(\"INSERT INTO fact VALUES (1, 'x')\")")
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 1)
    road.end(.edge)
    let copy = road.folder.file("copy")
    try FileManager.default.createDirectory(atPath: copy, withIntermediateDirectories: true)
    for name in try FileManager.default.contentsOfDirectory(atPath: road.folder.path) where name.hasPrefix("app.db") {
      try FileManager.default.copyItem(atPath: road.folder.file(name), toPath: "\(copy)/\(name)")
    }
    let text = try String(contentsOfFile: road.edgeFile, encoding: .utf8)
    try text.replacing(road.app, with: "\(copy)/app.db").replacing("client_id: one", with: "client_id: two")
      .write(toFile: "\(copy)/edge.yaml", atomically: true, encoding: .utf8)
    return (road, copy)
  }

  private func start(_ copy: String) throws -> ChildProcess {
    try ChildProcess(
      "sh",
      ["-c", "exec \"$0\" edge --config \"$1/edge.yaml\" >>\"$1/edge.log\" 2>&1", Road.drover, copy])
  }

  private func log(_ copy: String) -> String {
    (try? String(contentsOfFile: "\(copy)/edge.log", encoding: .utf8)) ?? ""
  }

  @Test(arguments: [false, true])
  func `two machines of one name are held, everybody is told why, and they go on when one has another name`(
    clientIDs: Bool
  ) async throws {
    let (road, copy) = try await cloned(clientIDs: clientIDs)
    try road.start(.edge)
    var other = try start(copy)
    defer { other.end(SIGKILL) }
    let words = "two machines are called MAH001"
    try await road.wait(for: "both are told") {
      road.log(of: .edge).contains(words) && log(copy).contains(words) && road.log(of: .cloud).contains(words)
    }
    // What the app writes now is captured, and sent by neither.
    for database in [road.app, "\(copy)/app.db"] {
      try await road.python("db.execute(\"INSERT INTO fact VALUES (7, '\(database)')\")", database: database)
    }
    for file in [road.edgeFile, "\(copy)/edge.yaml", road.cloudFile] {
      #expect(try await Road.drover("status", "--config", file).output.contains(words))
      let doctor = try await Road.drover("doctor", "--config", file)
      #expect(doctor.status != 0 && doctor.output.contains(words) && doctor.output.contains("another name"))
    }
    try await road.wait(for: "the alert") { road.log(of: .cloud).contains("alert") }
    #expect(try await road.inCloud("SELECT count(*) FROM fact WHERE id = 7") == "[[0]]")
    #expect(try await road.cloudStatus()?.dead_letters == 0)
    for log in [road.log(of: .edge), log(copy)] { #expect(log.components(separatedBy: "a new epoch").count <= 3) }

    other.end(SIGTERM)
    let text = try String(contentsOfFile: "\(copy)/edge.yaml", encoding: .utf8)
    try text.replacing("machine: MAH001", with: "machine: MAH002")
      .write(toFile: "\(copy)/edge.yaml", atomically: true, encoding: .utf8)
    other = try start(copy)
    try await road.wait(for: "both machines' rows") {
      try await road.inCloud("SELECT machine_id, v FROM fact WHERE id = 7 ORDER BY machine_id")
        == #"[["MAH001", "\#(road.app)"], ["MAH002", "\#(copy)/app.db"]]"#
    }
    #expect(try await !Road.drover("status", "--config", road.edgeFile).output.contains(words))
    #expect(try await !Road.drover("status", "--config", road.cloudFile).output.contains(words))
  }

  @Test func `an agent that is killed again and again is no clone`() async throws {
    let road = try Road(streams: "  - {table: fact, kind: payload}")
    try await road.python("db.execute('CREATE TABLE fact (id INTEGER PRIMARY KEY, v)')")
    try road.start(.cloud)
    for number in 1...6 {
      try road.start(.edge)
      try await road.python("db.execute('INSERT INTO fact VALUES (\(number), 1)')")
      try await road.waitUntilConfirmed(atLeast: number)
      road.end(.edge, SIGKILL)
    }
    #expect(!road.log(of: .cloud).contains("two machines"))
  }
}
