import DroverCore
import DroverSQLite
import DroverTesting
import GRDB
import Testing

/// Worklists in the app's database: requests, orders that are inserted, and what the machine remembers of them.
@Suite(.ownThread) struct EdgeWorklistTests {
  private static let schema = """
    CREATE TABLE mo (mo_id TEXT PRIMARY KEY, batch_no INT, kg REAL, equipment TEXT, n INTEGER, done INT NOT NULL DEFAULT 0)
    """

  private func stream(
    _ set: (inout WorklistDeclaration) -> Void = { _ in }
  ) throws -> StreamDeclaration {
    var declaration = WorklistDeclaration(orderKey: "mo_id", number: "batch_no")
    set(&declaration)
    var stream = try StreamDeclaration.batch("mo", completeWhen: "done = 1")
    stream.worklist = declaration
    return stream
  }

  private func id(_ number: UInt64) -> RefillID { RefillID(random: number) }

  private func order(_ key: String, _ fields: (String, Value?)..., requeued: Int64? = nil) -> ReadOrder {
    ReadOrder(key: key, fields: fields.map { (name: $0.0, value: $0.1) }, requeuedAt: requeued)
  }

  private func orders(_ keys: String...) -> [ReadOrder] { keys.map { order($0, ("kg", .real(1.5))) } }

  @discardableResult
  private func refill(
    _ edge: EdgeDatabase, _ request: UInt64, _ orders: [ReadOrder]
  ) throws -> RefillOutcome? {
    _ = try edge.openRequest(worklist: 1, new: id(request), now: 1)
    return try edge.refill(worklist: 1, request: id(request), orders: orders, left: 0, now: 2)
  }

  private let rows = "SELECT mo_id, batch_no, kg, done FROM mo ORDER BY batch_no"

  // MARK: Requests

  @Test func `a request is open until it has an outcome, and there is one at a time`() throws {
    let app = try AppDatabase(Self.schema)
    let edge = try app.attach(stream())
    #expect(try edge.standing(worklist: 1) == WorklistStanding(rows: WorklistRows(all: 0, unfinished: 0)))
    #expect(try edge.openRequest(worklist: 1, new: id(1), now: 1) == id(1))
    #expect(try edge.openRequest(worklist: 1, new: id(2), now: 1) == id(1))
    #expect(try edge.standing(worklist: 1).open == id(1))
    try edge.close(worklist: 1, request: id(2), why: "", now: 1)
    #expect(try edge.standing(worklist: 1).open == id(1))
    try edge.close(worklist: 1, request: id(1), why: "", now: 1)
    #expect(try edge.openRequest(worklist: 1, new: id(2), now: 1) == id(2))
    // An agent that starts anew finds it.
    #expect(try app.attach(stream()).standing(worklist: 1).open == id(2))
  }

  @Test func `no request is opened while orders are left, or for a worklist that is disabled`() throws {
    let app = try AppDatabase(Self.schema)
    try app.run("INSERT INTO mo (mo_id, done) VALUES ('1', 1)")
    let edge = try app.attach(stream())
    #expect(try edge.openRequest(worklist: 1, new: id(1), now: 1) == nil)
    #expect(try edge.standing(worklist: 1).rows == WorklistRows(all: 1, unfinished: 0))
    let finished = try app.attach(stream { $0.refillWhen = .finished })
    try app.run("UPDATE mo SET done = 0")
    #expect(try finished.openRequest(worklist: 1, new: id(1), now: 1) == nil)
    try app.run("DELETE FROM mo")
    #expect(try app.attach(stream { $0.isEnabled = false }).openRequest(worklist: 1, new: id(1), now: 1) == nil)
    #expect(try app.lines("SELECT skipped FROM drover_worklist") == ["3"])
  }

  // MARK: Refills

  @Test func `orders are numbered from 1, enter the outbox, and are the outcome`() throws {
    let app = try AppDatabase(Self.schema)
    let edge = try app.attach(stream())
    let outcome = try refill(edge, 1, orders("A", "B"))
    #expect(outcome == RefillOutcome(request: id(1), isTaken: true))
    #expect(try app.lines(rows) == ["'A', 1, 1.5, 0", "'B', 2, 1.5, 0"])
    #expect(try edge.waiting().map { String($0.prefix(8)) } == ["put 'A':", "put 'B':"])
    let standing = try edge.standing(worklist: 1)
    #expect(standing.open == nil && standing.last == outcome && standing.lastAt == 2 && !standing.isLastNoted)
    try edge.noted(worklist: 1, RefillOutcome(request: id(2), isTaken: true))
    #expect(try !edge.standing(worklist: 1).isLastNoted)
    try edge.noted(worklist: 1, try #require(outcome))
    #expect(try edge.standing(worklist: 1).isLastNoted)
    // The next cycle counts from 1 again.
    try app.run("UPDATE mo SET done = 1; DELETE FROM mo")
    try refill(edge, 2, orders("C"))
    #expect(try app.lines(rows) == ["'C', 1, 1.5, 0"])
  }

  @Test func `a repeated, late or foreign answer does nothing`() throws {
    let app = try AppDatabase(Self.schema)
    let edge = try app.attach(stream())
    #expect(try edge.refill(worklist: 1, request: id(1), orders: orders("A"), left: 0, now: 1) == nil)
    try refill(edge, 1, orders("A"))
    #expect(try edge.refill(worklist: 1, request: id(1), orders: orders("A", "B"), left: 0, now: 3) == nil)
    try app.run("UPDATE mo SET done = 1; DELETE FROM mo")
    #expect(try edge.refill(worklist: 1, request: id(1), orders: orders("A", "B"), left: 0, now: 3) == nil)
    _ = try edge.openRequest(worklist: 1, new: id(2), now: 4)
    #expect(try edge.refill(worklist: 1, request: id(1), orders: orders("B"), left: 0, now: 3) == nil)
    #expect(try app.lines(rows) == [] && edge.standing(worklist: 1).open == id(2))
  }

  @Test func `orders are turned away from a table that is not ready any more, and no late answer inserts them`() throws
  {
    let app = try AppDatabase(Self.schema)
    let edge = try app.attach(stream())
    _ = try edge.openRequest(worklist: 1, new: id(1), now: 1)
    try app.run("INSERT INTO mo (mo_id) VALUES ('own')")
    let outcome = try edge.refill(worklist: 1, request: id(1), orders: orders("A"), left: 0, now: 2)
    #expect(outcome == RefillOutcome(request: id(1), isTaken: false))
    try app.run("DELETE FROM mo")
    #expect(try edge.refill(worklist: 1, request: id(1), orders: orders("A"), left: 0, now: 3) == nil)
    #expect(try app.lines(rows) == [])
    // Nothing of it is remembered: it comes with a later request.
    #expect(try refill(edge, 2, orders("A"))?.known == [])
    // Nor are orders inserted into a worklist that was disabled since.
    try app.run("UPDATE mo SET done = 1; DELETE FROM mo")
    _ = try edge.openRequest(worklist: 1, new: id(3), now: 1)
    let disabled = try app.attach(stream { $0.isEnabled = false })
    #expect(try disabled.refill(worklist: 1, request: id(3), orders: orders("B"), left: 0, now: 2)?.isTaken == false)
  }

  @Test func `a refill of finished rows removes them, and their last states still reach the cloud`() throws {
    let app = try AppDatabase(Self.schema)
    let edge = try app.attach(stream { $0.refillWhen = .finished })
    try refill(edge, 1, orders("A", "B"))
    try edge.confirmAll()
    try app.run("UPDATE mo SET done = 1, kg = batch_no")
    try refill(edge, 2, orders("C"))
    #expect(try app.lines(rows) == ["'C', 1, 1.5, 0"])
    #expect(
      try edge.waiting() == [
        "put 'A': 'A', 1, 1.0, NULL, NULL, 1", "put 'B': 'B', 2, 2.0, NULL, NULL, 1",
        "put 'C': 'C', 1, 1.5, NULL, NULL, 0",
      ])
  }

  // MARK: What fits

  @Test func `an order that does not fit is refused with its reason, and the others are numbered without it`() throws {
    let app = try AppDatabase(
      """
      CREATE TABLE silo (name TEXT PRIMARY KEY);
      INSERT INTO silo VALUES ('s1');
      CREATE TABLE mo (mo_id TEXT PRIMARY KEY, batch_no INT, kg REAL NOT NULL CHECK (kg > 0), n INTEGER, at DATETIME,
        price DECIMAL(9,2), raw BLOB, ref TEXT UNIQUE ON CONFLICT REPLACE, silo TEXT REFERENCES silo, done INT DEFAULT 0,
        twice GENERATED ALWAYS AS (kg * 2))
      """)
    let edge = try app.attach(
      stream { $0.fields = [.init(column: "n", field: "count"), .init(column: "silo", field: "Silo name")] })
    func fields(_ changes: (String, Value?)...) -> [(name: String, value: Value?)] {
      var all: [(name: String, value: Value?)] = [
        ("KG", .integer(5)), ("count", .integer(1)), ("silo name", .text("s1")),
      ]
      for change in changes {
        all.removeAll { $0.name == change.0 }
        if change.1 != .text("-") { all.append((change.0, change.1)) }
      }
      return all
    }
    let answer: [(String, [(name: String, value: Value?)])] = [
      (
        "good",
        fields(("at", .text("2026-11-29 10:00")), ("price", .text("1.50")), ("raw", .blob([1])), ("ref", .text("r")))
      ),
      ("no kg", fields(("KG", .text("-")))),
      ("null kg", fields(("KG", .null))),
      ("negative", fields(("KG", .integer(-1)))),
      ("no count", fields(("count", .text("-")))),
      ("text", fields(("count", .text("many")))),
      ("fraction", fields(("count", .real(1.5)))),
      ("list", fields(("raw", nil))),
      ("bytes", fields(("ref", .blob([1])))),
      ("price", fields(("price", .text("cheap")))),
      ("taken", fields(("ref", .text("r")))),
      ("no silo", fields(("silo name", .text("s9")))),
      (String(repeating: "x", count: 1025), fields()),
      // Numbers that a column stores without a loss, a field that no column has, and one for a column that Drover fills.
      ("last", fields(("count", .text(" 7 ")), ("other", nil), ("batch_no", .integer(99)), ("twice", .integer(0)))),
    ]
    let outcome = try #require(
      try refill(edge, 1, answer.map { ReadOrder(key: $0.0, fields: $0.1) }))
    #expect(
      try app.lines("SELECT mo_id, batch_no, kg, n, done FROM mo ORDER BY 2") == [
        "'good', 1, 5.0, 1, 0", "'last', 2, 5.0, 7, 0",
      ])
    let expected = [
      ("no kg", "its field kg is missing, which column kg of mo needs"),
      ("null kg", "the table refuses it: NOT NULL constraint failed: mo.kg (SQLite code 1299)"),
      ("negative", "the table refuses it: CHECK constraint failed: kg > 0 (SQLite code 275)"),
      ("no count", "its field count is missing, which column n of mo needs"),
      ("text", "its field count is text, and column n is INTEGER"),
      ("fraction", "its field count is a number with a fraction, and column n is INTEGER"),
      ("list", "its field raw is a list or an object, which no column takes"),
      ("bytes", "its field ref is bytes, and column ref is TEXT"),
      ("price", "its field price is text, and column price is DECIMAL(9,2)"),
      ("taken", "the table refuses it: UNIQUE constraint failed: mo.ref (SQLite code 2067)"),
      ("no silo", "no row of silo has the name that its silo names"),
    ]
    #expect(Array(outcome.refused.map { [$0.key, $0.why] }.dropLast()) == expected.map { [$0.0, $0.1] })
    #expect(outcome.refused.last?.why == "its key does not have 1 to 1024 bytes")
    // Nothing of a refused order is left, nor remembered.
    #expect(try edge.waiting().count == 2)
    #expect(try app.lines("SELECT key FROM drover_ordered ORDER BY number") == ["'good'", "'last'"])
    #expect(try app.lines("SELECT refills, orders, refused FROM drover_worklist") == ["1, 2, 12"])
  }

  @Test func `a key that its column would store in another form is refused`() throws {
    let app = try AppDatabase("CREATE TABLE mo (mo_id INTEGER PRIMARY KEY, batch_no INT, done INT)")
    let edge = try app.attach(stream())
    let outcome = try refill(edge, 1, ["7", "007", "MO-7", "[8]", "8.0"].map { ReadOrder(key: $0, fields: []) })
    #expect(outcome?.refused.map(\.key) == ["007", "MO-7", "[8]", "8.0"])
    #expect(try app.lines("SELECT mo_id, batch_no FROM mo") == ["7, 1"])
  }

  @Test(arguments: [
    ("CREATE TABLE mo (id INTEGER PRIMARY KEY, mo_id TEXT, batch_no INT, done INT)", "the key of mo is id"),
    ("CREATE TABLE mo (mo_id TEXT PRIMARY KEY, done INT)", "mo has no column batch_no that could be written to"),
    ("CREATE TABLE mo (mo_id TEXT PRIMARY KEY, batch_no AS (1), done INT)", "mo has no column batch_no that could be"),
  ])
  func `a table that cannot be a worklist says why, and its rows still travel`(table: String, why: String) throws {
    let app = try AppDatabase(table)
    let edge = try app.attach(stream())
    #expect {
      try edge.openRequest(worklist: 1, new: id(1), now: 1)
    } throws: { "\($0)".hasPrefix("worklist mo: \(why)") }
    #expect(edge.waits == [])
  }

  // MARK: What is remembered

  // A cloud that was put back hands out what a machine has finished long ago.
  @Test func `an order that the machine had is not inserted again, unless a person has requeued it`() throws {
    let app = try AppDatabase(Self.schema)
    let edge = try app.attach(stream())
    try refill(edge, 1, orders("A", "B"))
    try app.run("UPDATE mo SET done = 1; DELETE FROM mo")
    let outcome = try refill(edge, 2, [order("A"), order("C"), order("C"), order("B", requeued: 5)])
    #expect(outcome?.known == ["A", "C"])
    #expect(try app.lines("SELECT mo_id, batch_no FROM mo ORDER BY 2") == ["'C', 1", "'B', 2"])
    try app.run("DELETE FROM mo")
    #expect(try refill(edge, 3, [order("B", requeued: 5), order("B")])?.known == ["B", "B"])
    #expect(try refill(edge, 4, [order("B", requeued: 6)])?.known == [])
  }

  @Test func `the newest keys are remembered`() throws {
    let app = try AppDatabase(Self.schema)
    let edge = try app.attach(stream())
    try refill(edge, 1, orders("A", "B"))
    try app.run("DELETE FROM mo; UPDATE drover_worklist SET orders = 100001 - 1")
    try refill(edge, 2, orders("C"))
    #expect(try app.lines("SELECT key, number FROM drover_ordered ORDER BY 2") == ["'B', 2", "'C', 100001"])
  }

  // MARK: Clearing

  @Test func `clearing says what was unfinished, and the cloud hears of it with the outcome`() throws {
    let app = try AppDatabase(Self.schema)
    let edge = try app.attach(stream())
    let outcome = try #require(try refill(edge, 1, orders("A", "B", "C")))
    try edge.noted(worklist: 1, outcome)
    try edge.confirmAll()
    try app.run("UPDATE mo SET done = 1 WHERE mo_id = 'A'; INSERT INTO mo (mo_id) VALUES ('own')")
    // By another program: the agent takes its commit for the app's.
    let other = try EdgeDatabase.prepare(path: app.path, declarations: [stream()], quota: OutboxQuota())
    let cleared = try other.clear(worklist: 1)
    #expect(cleared.removed == 4 && cleared.unfinished.sorted() == ["B", "C", "own"])
    #expect(try edge.hasChanged())
    #expect(try app.lines(rows) == [])
    // The complete one is kept for the cloud, the others are deleted there.
    #expect(
      try Set(edge.waiting()) == ["put 'A': 'A', 1, 1.5, NULL, NULL, 1", "delete 'B'", "delete 'C'", "delete 'own'"])
    let standing = try edge.standing(worklist: 1)
    #expect(standing.last?.cleared.sorted() == ["B", "C"] && !standing.isLastNoted)
    #expect(try app.lines("SELECT cleared, cleared_rows FROM drover_worklist") == ["1, 4"])
    // What the cloud has not heard yet goes on with the next outcome.
    #expect(try refill(edge, 2, orders("D"))?.cleared.sorted() == ["B", "C"])
    #expect(try edge.clear(worklist: 1).unfinished == ["D"])
    #expect(try edge.standing(worklist: 1).last?.cleared.sorted() == ["B", "C", "D"])
  }

  @Test func `rows that others name are cleared as their foreign keys say`() throws {
    let app = try AppDatabase(
      """
      \(Self.schema);
      CREATE TABLE step (id INTEGER PRIMARY KEY, mo TEXT REFERENCES mo ON DELETE CASCADE);
      """)
    let edge = try app.attach(stream())
    try refill(edge, 1, orders("A"))
    try app.run("INSERT INTO step VALUES (1, 'A')")
    #expect(try edge.clear(worklist: 1).removed == 1)
    #expect(try app.lines("SELECT * FROM step") == [])
    try app.run("CREATE TABLE log (id INTEGER PRIMARY KEY, mo TEXT REFERENCES mo)")
    _ = try edge.refresh()
    try refill(edge, 2, orders("B"))
    try app.run("INSERT INTO log VALUES (1, 'B')")
    #expect { try edge.clear(worklist: 1) } throws: { "\($0)".contains("rows of log still name it by mo") }
    #expect(try app.integer("SELECT count(*) FROM mo") == 1)
  }

  // MARK: Interruptions

  @Test func `a refill that ends at any point leaves nothing, and the same answer is inserted later`() throws {
    let app = try AppDatabase(Self.schema, journalMode: "wal")
    let stops = Interruptions(of: app.path)
    let edge = try app.attach(stream { $0.refillWhen = .finished })
    try refill(edge, 1, orders("A", "B"))
    try app.run("UPDATE mo SET done = 1")
    _ = try edge.openRequest(worklist: 1, new: id(2), now: 1)
    let before = try edge.waiting()
    var failures = 0
    while true {
      stops.stop(after: failures)
      defer { stops.stop(after: nil) }
      do {
        let outcome = try edge.refill(worklist: 1, request: id(2), orders: orders("C", "D", "E"), left: 0, now: 2)
        #expect(outcome?.isTaken == true)
        break
      } catch {
        failures += 1
        stops.stop(after: nil)
        #expect(try app.lines(rows) == ["'A', 1, 1.5, 1", "'B', 2, 1.5, 1"])
        #expect(try edge.standing(worklist: 1).open == id(2) && edge.waiting() == before)
        #expect(try app.integer("SELECT count(*) FROM drover_ordered") == 2)
      }
    }
    #expect(failures > 50)
    #expect(try app.lines("SELECT mo_id, batch_no FROM mo ORDER BY 2") == ["'C', 1", "'D', 2", "'E', 3"])
    #expect(try app.lines("PRAGMA integrity_check") == ["'ok'"])
  }

  @Test func `a lock of the app's is an error to try again`() throws {
    let app = try AppDatabase(Self.schema)
    let edge = try app.attach(stream(), patience: .milliseconds(10))
    _ = try edge.openRequest(worklist: 1, new: id(1), now: 1)
    try app.run("BEGIN IMMEDIATE")
    #expect { try edge.refill(worklist: 1, request: id(1), orders: orders("A"), left: 0, now: 2) } throws: {
      if case EdgeStoreError.busy = $0 { true } else { false }
    }
    try app.run("COMMIT")
    #expect(try edge.refill(worklist: 1, request: id(1), orders: orders("A"), left: 0, now: 2)?.isTaken == true)
  }

  @Test func `a database that is put back is noticed after a request and after a refill`() throws {
    for isRefilled in [false, true] {
      let app = try AppDatabase(Self.schema, journalMode: "wal")
      let edge = try app.attach(stream())
      let backup = app.file("backup.db")
      try app.run("VACUUM INTO '\(backup)'")
      _ = try edge.openRequest(worklist: 1, new: id(1), now: 1)
      if isRefilled { _ = try edge.refill(worklist: 1, request: id(1), orders: orders("A"), left: 0, now: 2) }
      let old = try AppDatabase.connect(backup)
      try old.backup(to: app.connection)
      #expect { try edge.standing(worklist: 1) } throws: {
        if case EdgeStoreError.otherDatabase = $0 { true } else { false }
      }
    }
  }
}
