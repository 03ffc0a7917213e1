import DroverCore
import DroverSQLite
import GRDB
import Testing

/// Events without a table, by INSERT INTO drover_intake from any language, or by the many as `drover emit` does.
@Suite struct IntakeTests {
  private func attached() throws -> (app: AppDatabase, edge: EdgeDatabase) {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    let edge = try app.attach([.fed("temperature"), .table("t"), .fed("it's")])
    return (app, edge)
  }

  private func lines(_ bodies: String...) -> [(localID: String?, body: ArraySlice<UInt8>)] {
    bodies.map { (nil, ArraySlice($0.utf8)) }
  }

  @Test func `an event is entered with its id and its body as it was written`() throws {
    let (app, edge) = try attached()
    try app.run(
      #"INSERT INTO drover_intake (stream, local_id, body) VALUES ('temperature', 'a', ' {"c": 1.50, "c": "ü"} ')"#)
    try app.run("INSERT INTO drover_intake VALUES ('temperature', 7, 12), ('it''s', 2.5, '[]')")
    #expect(
      try edge.waiting() == [#"event 'a':  {"c": 1.50, "c": "ü"} "#, "event '7': 12", "event '2.5': []"])
    #expect(
      try app.lines("SELECT stream, local_id, body FROM drover_intake WHERE local_id = '7'") == [
        "'temperature', '7', '12'"
      ])
  }

  @Test func `events with the same id are events each`() throws {
    let (app, edge) = try attached()
    for body in 1...3 { try app.run("INSERT INTO drover_intake VALUES ('temperature', 'same', \(body))") }
    #expect(try edge.waiting() == ["event 'same': 1", "event 'same': 2", "event 'same': 3"])
  }

  @Test(arguments: ["NULL", "''", "x''"])
  func `without an id each gets one of its own`(id: String) throws {
    let (app, edge) = try attached()
    try app.run("INSERT INTO drover_intake VALUES ('temperature', \(id), 1), ('temperature', \(id), 2)")
    try app.run(
      "INSERT INTO drover_intake (stream, body) SELECT 'temperature', id FROM (SELECT 3 AS id UNION SELECT 4)")
    let ids = try edge.everything().entries.map { line($0.key) }
    #expect(ids.count == 4)
    #expect(Set(ids).count == 4)
    #expect(ids.allSatisfy { $0.utf8.count == 34 })
  }

  @Test(arguments: [
    ("'nowhere', 'a', '{}'", "no such stream"), ("NULL, 'a', '{}'", "no such stream"),
    ("'TEMPERATURE', 'a', '{}'", "no such stream"),
    // A stream of a table is captured; what the intake put there would have no row.
    ("'t', '1', '{}'", "no such stream"),
    ("'temperature', 'a', NULL", "not JSON"), ("'temperature', 'a', ''", "not JSON"),
    ("'temperature', 'a', '{'", "not JSON"),
    ("'temperature', 'a', 'text'", "not JSON"), ("'temperature', 'a', x'7b7d'", "not JSON"),
    ("'temperature', 'a', '{} {}'", "not JSON"),
  ])
  func `what cannot be taken is refused with the reason`(values: String, reason: String) throws {
    let (app, edge) = try attached()
    #expect { try app.run("INSERT INTO drover_intake VALUES (\(values))") } throws: { "\($0)".contains(reason) }
    #expect(try edge.waiting() == [])
  }

  // json_valid() looks no further than a NUL, so whatever stood behind it was taken.
  @Test func `a body that hides something behind a NUL is refused`() throws {
    let (app, edge) = try attached()
    #expect(throws: DatabaseError.self) {
      try app.run(
        "INSERT INTO drover_intake VALUES ('temperature', 'a', ?)",
        .text(Array("{}".utf8)[...] + [0] + Array("],[".utf8)))
    }
    #expect(try edge.waiting() == [])
  }

  @Test func `Python puts an event beside its row, and takes both back`() throws {
    let (app, edge) = try attached()
    try Python.run(
      """
      connection = sqlite3.connect(sys.argv[1])
      intake = "INSERT INTO drover_intake (stream, local_id, body) VALUES (?, ?, ?)"
      connection.execute("INSERT INTO t VALUES (1)")
      connection.execute(intake, ("temperature", "kept", '{"c": 20}'))
      connection.commit()
      connection.execute("INSERT INTO t VALUES (2)")
      connection.execute(intake, ("temperature", "lost", '{"c": 21}'))
      connection.rollback()
      connection.execute("INSERT INTO t VALUES (3)")
      try:
          connection.execute(intake, ("elsewhere", "lost", "{}"))
          sys.exit("an unknown stream was taken")
      except sqlite3.IntegrityError as error:
          assert "no such stream" in str(error), error
      connection.commit()
      """, app.path)
    #expect(try edge.waiting() == ["put 1: 1", #"event 'kept': {"c": 20}"#, "put 3: 3"])
  }

  @Test func `the intake's view shows what is not yet confirmed`() throws {
    let (app, edge) = try attached()
    try app.run("INSERT INTO drover_intake VALUES ('temperature', 'a', '1'); INSERT INTO t VALUES (5)")
    #expect(try app.lines("SELECT * FROM drover_intake") == ["'temperature', 'a', '1'"])
    try edge.acknowledgeAll()
    #expect(try app.lines("SELECT * FROM drover_intake") == ["'temperature', 'a', '1'"])
    try edge.confirmAll()
    #expect(try app.lines("SELECT * FROM drover_intake") == [])
  }

  // MARK: Many at once

  @Test func `a bad line is refused with its reason and does not stop the others`() throws {
    let (app, edge) = try attached()
    let intake = try Intake(path: app.path, stream: StreamName("temperature"))
    let refusals = try intake.insert(lines("1", "{", "[2]", "", "3"))
    #expect(refusals.map { $0 != nil } == [false, true, false, true, false])
    #expect(refusals[1]?.contains("not JSON") == true)
    #expect(try edge.everything().entries.map(\.content) == ["1", "[2]", "3"].map { .json(ArraySlice($0.utf8)) })
    #expect(try intake.insert(lines("4")) == [nil])
    #expect(try edge.everything().entries.count == 4)
  }

  @Test func `ids are taken as they are given, and none is made twice`() throws {
    let (app, edge) = try attached()
    let intake = try Intake(path: app.path, stream: StreamName("it's"))
    _ = try intake.insert([("x", [0x31]), (nil, [0x32]), ("", [0x33]), ("x", [0x34])])
    let ids = try edge.everything().entries.map { line($0.key) }
    #expect(ids[0] == "'x'" && ids[3] == "'x'")
    #expect(Set(ids).count == 3)
  }

  @Test func `an intake of a file that is not attached, or not there, says what to do`() throws {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    #expect { try Intake(path: app.path, stream: StreamName("f")) } throws: { "\($0)".contains("not attached yet") }
    #expect { try Intake(path: app.file("no.db"), stream: StreamName("f")) } throws: {
      "\($0)".contains("no such file")
    }
  }

  @Test func `a stream that is not declared refuses every line`() throws {
    let (app, edge) = try attached()
    let intake = try Intake(path: app.path, stream: StreamName("nowhere"))
    #expect(try intake.insert(lines("1", "2")).compactMap { $0?.contains("no such stream") } == [true, true])
    #expect(try edge.waiting() == [])
  }

  @Test func `a database without any table is made where no stream has one`() throws {
    let app = try AppDatabase()
    let path = app.file("new.db")
    let edge = try EdgeDatabase(path: path, declarations: [.fed("f")])
    let intake = try Intake(path: path, stream: StreamName("f"))
    _ = try intake.insert(lines("1"))
    #expect(try edge.everything().entries.count == 1)
    #expect { try EdgeDatabase(path: path + "2", declarations: [.table("t")]) } throws: {
      "\($0)".contains("no such file")
    }
  }
}
