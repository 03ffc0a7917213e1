import DroverCore
import DroverSQLite
import DroverTesting
import GRDB
import Testing

/// A fact as the edge would send it: the row's values, and the mark that tells it from an earlier row of its key.
struct ToldFact: Equatable {
  var text: String
  var life: String
}

extension EdgeDatabase {
  /// The facts that wait, in their order. An entry of which nothing is left to send is none.
  func told() throws -> [ToldFact] {
    let tellsLives = streams[0].schema!.tellsLives
    return try everything().entries.compactMap { entry in
      guard case .row(let row) = entry.content else { return nil }
      guard tellsLives else { return ToldFact(text: line(row), life: "") }
      guard case .text(let life) = row[row.count - 1] else { return nil }
      return ToldFact(text: line(row.dropLast()), life: String(decoding: life, as: UTF8.self))
    }
  }
}

/// SQLite gives the ID of a deleted row to the next one. To the cloud both were one fact: the second became a dead letter or, where it had
/// the same values, vanished, and `check` said that all was equal.
@Suite struct KeyLivesTests {
  private let table = "CREATE TABLE sale (id INTEGER PRIMARY KEY, price REAL, synced INT DEFAULT 0)"

  private func sale(_ key: [String]? = nil) throws -> StreamDeclaration {
    StreamDeclaration(name: try StreamName("sale"), kind: .payload, table: "sale") {
      $0.syncedColumn = "synced"
      $0.key = key
    }
  }

  /// What was told in order, with a letter for each mark: the first life has none.
  private func told(_ edge: EdgeDatabase) throws -> [String] {
    var marks: [String] = []
    return try edge.looking(edge.told).map { fact in
      guard !fact.life.isEmpty else { return fact.text }
      if !marks.contains(fact.life) { marks.append(fact.life) }
      return "\(fact.text) \(["A", "B", "C", "D", "E"][marks.firstIndex(of: fact.life)!])"
    }
  }

  @Test func `a key that was deleted and is inserted again is another fact`() throws {
    let app = try AppDatabase(table)
    let edge = try app.attach(sale())
    for price in 1...3 {
      try app.run("INSERT INTO sale (price) VALUES (\(price))")
      if price < 3 { try app.run("DELETE FROM sale") }
    }
    #expect(try told(edge) == ["1, 1.0, 1", "1, 2.0, 1 A", "1, 3.0, 1 B"])
  }

  @Test func `a table of which nothing was deleted tells no lives`() throws {
    let app = try AppDatabase(table)
    let edge = try app.attach(sale())
    try app.run("INSERT INTO sale (price) VALUES (1), (2); UPDATE sale SET price = 3; DELETE FROM sale WHERE id = 1")
    try app.run("INSERT INTO sale (price) VALUES (4)")
    #expect(try edge.looking(edge.told).count == 3)
    #expect(edge.streams[0].schema?.tellsLives == false)
    #expect(try app.integer("SELECT count(*) FROM drover_life_1") == 0)
  }

  @Test func `keys that are above all that were deleted need no mark`() throws {
    let app = try AppDatabase("CREATE TABLE sale (id INTEGER PRIMARY KEY AUTOINCREMENT, price REAL, synced INT)")
    let edge = try app.attach(sale())
    for _ in 0..<5 { try app.run("INSERT INTO sale (price) VALUES (1); DELETE FROM sale") }
    #expect(try edge.looking(edge.told).map(\.life) == ["", "", "", "", ""])
  }

  @Test func `marks go with their rows, and the first life of a key stays what it was`() throws {
    let app = try AppDatabase(table)
    let edge = try app.attach(sale())
    try app.run("INSERT INTO sale (price) VALUES (1), (2), (3); DELETE FROM sale WHERE id = 3")
    try app.run("INSERT INTO sale (price) VALUES (4)")
    #expect(try app.integer("SELECT count(*) FROM drover_life_1") == 1)
    #expect(try told(edge) == ["1, 1.0, 1", "2, 2.0, 1", "3, 3.0, 1", "3, 4.0, 1 A"])
    try app.run("DELETE FROM sale")
    #expect(try app.integer("SELECT count(*) FROM drover_life_1") == 0)
    // Kept with the lives that they had.
    #expect(try told(edge) == ["1, 1.0, 1", "2, 2.0, 1", "3, 3.0, 1", "3, 4.0, 1 A"])
  }

  @Test func `the flag is set on the row of the life that was acknowledged`() throws {
    let app = try AppDatabase(table)
    let edge = try app.attach(sale())
    try app.run("INSERT INTO sale (price) VALUES (1)")
    let first = try edge.everything().lastSeq
    try app.run("DELETE FROM sale; INSERT INTO sale (price) VALUES (2)")
    try edge.looking { try edge.acknowledge(1...first) }
    #expect(try app.lines("SELECT id, price, synced FROM sale") == ["1, 2.0, 0"])
    try edge.acknowledgeAll()
    #expect(try app.lines("SELECT id, price, synced FROM sale") == ["1, 2.0, 1"])
  }

  @Test(arguments: [
    // A REPLACE of a row that is there changes the fact; it is the same one, also where its key is below a deleted one.
    ("REPLACE INTO sale (id, price) VALUES (1, 7)", ["1, 7.0, 1", "2, 2.0, 1", "1, 7.0, 1"]),
    ("INSERT OR IGNORE INTO sale (id, price) VALUES (1, 7)", ["1, 1.0, 1", "2, 2.0, 1"]),
    ("INSERT INTO sale (id, price) VALUES (1, 7) ON CONFLICT DO UPDATE SET price = 7", ["2, 2.0, 1", "1, 7.0, 1"]),
    ("BEGIN; DELETE FROM sale WHERE id = 1; ROLLBACK", ["1, 1.0, 1", "2, 2.0, 1"]),
    (
      "BEGIN; DELETE FROM sale WHERE id = 1; INSERT INTO sale (id, price) VALUES (1, 7); COMMIT",
      ["1, 1.0, 1", "2, 2.0, 1", "1, 7.0, 1 A"]
    ),
    (
      "PRAGMA recursive_triggers = ON; REPLACE INTO sale (id, price) VALUES (1, 7)",
      ["1, 1.0, 1", "2, 2.0, 1", "1, 7.0, 1 A"]
    ),
    // Another key is another fact.
    ("UPDATE sale SET id = 2 WHERE id = 1", ["1, 1.0, 1", "2, 2.0, 1", "2, 1.0, 1 A"]),
    ("UPDATE sale SET rowid = 2 WHERE id = 1", ["1, 1.0, 1", "2, 2.0, 1", "2, 1.0, 1 A"]),
  ])
  func `what an app does to a row below a deleted key`(sql: String, expected: [String]) throws {
    let app = try AppDatabase(table)
    let edge = try app.attach(sale())
    try app.run("INSERT INTO sale (price) VALUES (1), (2); DELETE FROM sale WHERE id = 2")
    try app.run(sql)
    #expect(try told(edge) == expected)
  }

  @Test func `a change of a fact that has a mark is a change of that fact`() throws {
    let app = try AppDatabase(table)
    let edge = try app.attach(sale())
    try app.run("INSERT INTO sale (price) VALUES (1); DELETE FROM sale; INSERT INTO sale (price) VALUES (2)")
    try app.run("UPDATE sale SET price = 3")
    #expect(try told(edge) == ["1, 1.0, 1", "1, 3.0, 1 A"])
    try app.run("REPLACE INTO sale (id, price) VALUES (1, 4)")
    #expect(try told(edge) == ["1, 1.0, 1", "1, 4.0, 1 A", "1, 4.0, 1 A"])
  }

  @Test(arguments: [
    "CREATE TABLE sale (id TEXT PRIMARY KEY, price REAL)",
    "CREATE TABLE sale (id TEXT PRIMARY KEY, price REAL) WITHOUT ROWID",
    "CREATE TABLE sale (id TEXT COLLATE NOCASE PRIMARY KEY, price REAL UNIQUE)",
  ])
  func `any key may be used again`(table: String) throws {
    let app = try AppDatabase(table)
    let edge = try app.attach(.table("sale", kind: .payload))
    try app.run("INSERT INTO sale VALUES ('b', 1), ('a', 2); DELETE FROM sale; INSERT INTO sale VALUES ('b', 3)")
    try app.run("INSERT INTO sale VALUES ('c', 4)")
    #expect(try told(edge) == ["'b', 1.0", "'a', 2.0", "'b', 3.0 A", "'c', 4.0"])
  }

  // The look at the tables had committed, and then met a lock of the app's. The next one found nothing new and said so, the relay wrote frames under
  // the old schema, and the agent ended with an index out of range.
  @Test func `a look at the tables that fails behind its commit still tells of the new schema the next time`() throws {
    let app = try AppDatabase(table, journalMode: "delete")
    let other = try AppDatabase.connect(app.path)
    var isArmed = false
    let edge = try app.attach([sale()], patience: .milliseconds(50)) { _ in
      guard isArmed else { return }
      isArmed = false
      try! other.inDatabase { try $0.execute(sql: "BEGIN EXCLUSIVE") }
    }
    let insert = "INSERT INTO sale (id, price) VALUES"
    try app.run("\(insert) (1, 1); DELETE FROM sale; \(insert) (1, 2)")
    isArmed = true
    #expect(throws: EdgeStoreError.self) { try edge.refresh() }
    #expect(!isArmed, "nothing was said between the commit and the rest")
    try other.inDatabase { try $0.execute(sql: "COMMIT") }
    #expect(try edge.refresh())
    #expect(try !edge.refresh())
  }

  @Test func `keys of several columns may be used again, and so may rowids`() throws {
    let app = try AppDatabase("CREATE TABLE sale (till INT, number INT, price REAL, PRIMARY KEY (till, number))")
    let edge = try app.attach(.table("sale", kind: .payload))
    try app.run("INSERT INTO sale VALUES (1, 1, 1), (2, 1, 2); DELETE FROM sale; INSERT INTO sale VALUES (2, 1, 3)")
    #expect(try told(edge) == ["1, 1, 1.0", "2, 1, 2.0", "2, 1, 3.0 A"])
    let keyless = try AppDatabase("CREATE TABLE sale (price REAL)")
    let other = try keyless.attach(.table("sale", kind: .payload))
    for price in 1...3 { try keyless.run("DELETE FROM sale; INSERT INTO sale VALUES (\(price))") }
    #expect(try told(other) == ["1, 1.0", "1, 2.0 A", "1, 3.0 B"])
  }

  // Displaced past every DELETE trigger, a row left no trace of its key; SQLite gave the highest one again.
  @Test func `the key of a row that a REPLACE displaced through another constraint is used again too`() throws {
    let app = try AppDatabase("CREATE TABLE sale (id INTEGER PRIMARY KEY, price REAL UNIQUE)")
    let edge = try app.attach(.table("sale", kind: .payload))
    try app.run("INSERT INTO sale VALUES (1, 1), (9, 9)")
    for _ in 0..<2 {
      try app.run("REPLACE INTO sale VALUES (2, 9); INSERT INTO sale VALUES (9, 5); DELETE FROM sale WHERE id = 2")
      try app.run(
        "UPDATE OR REPLACE sale SET price = 5 WHERE id = 1; UPDATE sale SET price = 1; INSERT INTO sale VALUES (9, 9)")
    }
    let lives = try edge.looking(edge.told).filter { $0.text.hasPrefix("9, ") }.map(\.life)
    #expect(Set(lives).count == 5, "\(lives)")
  }

  @Test func `rows that are brought once more have the lives that they were sent with`() throws {
    let app = try AppDatabase(table)
    let edge = try app.attach(sale())
    try app.run(
      "INSERT INTO sale (price) VALUES (1), (2); DELETE FROM sale WHERE id = 2; INSERT INTO sale (price) VALUES (3)")
    let sent = try edge.looking(edge.told).suffix(1)
    try edge.confirmAll()
    _ = try edge.resync(ResyncOrder(), stream: 1)
    try edge.bringAll()
    #expect(try edge.told().suffix(1) == sent)
    var keys: [[Value]] = []
    #expect(try edge.survey(stream: 1, after: [], limit: 10) { key, _ in keys.append(key) } == nil)
    #expect(try edge.states(of: keys, stream: 1).allSatisfy { $0.digest != nil })
    try edge.confirmAll()
    try edge.enter(keys, stream: 1)
    #expect(try edge.told().suffix(1) == sent)
  }

  @Test func `no row is brought once more because keys are used again`() throws {
    let app = try AppDatabase(table)
    let edge = try app.attach(sale())
    try app.run("INSERT INTO sale (price) VALUES (1), (2)")
    try edge.confirmAll()
    try app.run("DELETE FROM sale WHERE id = 2; INSERT INTO sale (price) VALUES (3)")
    #expect(try told(edge) == ["2, 3.0, 1 A"])
    #expect(edge.streams[0].schema?.tellsLives == true)
    #expect(!edge.hasBackfill)
  }

  // The rows of the lost days had been sent, and SQLite gives their keys to other rows.
  @Test func `after a restore keys of the future that was lost are used again`() throws {
    let app = try AppDatabase(table)
    let edge = try app.attach(sale())
    try app.run("INSERT INTO sale (price) VALUES (1)")
    try edge.confirmAll()
    try edge.startEpoch(because: "a test says so")
    try app.run("INSERT INTO sale (price) VALUES (2)")
    try edge.looking { try edge.bringAll() }
    #expect(try told(edge).sorted() == ["1, 1.0, 1", "2, 2.0, 1 A"])
  }

  // Facts that the app wrote into a restored database before the agent saw it had keys of facts that had been sent, and where the values were the
  // same they vanished.
  @Test(arguments: [false, true])
  func `what was written into a restored database while the agent was off are facts of their own`(isDeleted: Bool)
    throws
  {
    let app = try AppDatabase(table)
    let copy = app.file("copy.db")
    var edge: EdgeDatabase? = try app.attach(sale())
    try app.run("INSERT INTO sale (price) VALUES (1)")
    try edge?.confirmAll()
    // It waits in the copy, and is sent before the database is put back.
    try app.run("INSERT INTO sale (price) VALUES (2)")
    try app.run("VACUUM INTO '\(copy)'")
    try app.run("INSERT INTO sale (price) VALUES (3)")
    try edge?.looking { try #require(edge).confirmAll() }
    edge = nil
    let source = try AppDatabase.connect(copy)
    try source.backup(to: app.connection)
    try source.close()
    try app.run("INSERT INTO sale (price) VALUES (3)\(isDeleted ? "; DELETE FROM sale WHERE id = 3" : "")")
    let again = try app.attach(sale(), settled: false)
    try again.looking { try again.bringAll() }
    #expect(try told(again).sorted() == ["1, 1.0, 1", "2, 2.0, 1", "3, 3.0, 1 A"])
  }

  // A restart had forgotten how far the run before had sent. So after a live restore a fact that had been sent counted as one that had not: it came
  // to the cloud twice (seed 57 of the simulation).
  @Test func `what was sent before a restart is the same fact after a live restore`() throws {
    let app = try AppDatabase(table)
    let copy = app.file("copy.db")
    var edge: EdgeDatabase? = try app.attach(sale())
    try app.run("INSERT INTO sale (price) VALUES (1)")
    try app.run("VACUUM INTO '\(copy)'")
    // It is handed out; the agent ends before a confirmation comes.
    _ = try edge?.everything()
    edge = nil
    let again = try app.attach(sale(), settled: false)
    let source = try AppDatabase.connect(copy)
    try source.backup(to: app.connection)
    try source.close()
    try app.run("INSERT INTO sale (price) VALUES (2)")
    #expect(throws: EdgeStoreError.self) { try again.looking { try again.bringAll() } }
    try again.startEpoch(because: "a test says so")
    try again.looking { try again.bringAll() }
    let facts = try told(again).sorted()
    #expect(facts == ["1, 1.0, 1", "2, 2.0, 1 A"])
  }

  // Versions before knew of no lives: what they have sent of keys that are free by now must not meet what comes.
  @Test func `an outbox of an older version takes all keys for used that may have been`() throws {
    let app = try AppDatabase(table)
    do {
      let edge = try app.attach(sale())
      try app.run("INSERT INTO sale (price) VALUES (1), (2), (3)")
      try edge.confirmAll()
    }
    try app.run("DELETE FROM sale")
    for trigger in try app.lines("SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'drover_1%'") {
      try app.run("DROP TRIGGER \(trigger.dropFirst().dropLast())")
    }
    let before = ["insert": "AFTER INSERT", "update": "AFTER UPDATE", "keep": "BEFORE DELETE"]
    try app.run(
      """
      DROP TABLE drover_capture; DROP INDEX drover_outbox_key; ALTER TABLE drover_outbox DROP COLUMN life; DROP TABLE drover_life_1;
      ALTER TABLE drover_stream DROP COLUMN left_key; ALTER TABLE drover_stream DROP COLUMN lives;
      \(before.map { "CREATE TRIGGER drover_1_\($0) \($1) ON sale BEGIN SELECT 1 FROM drover_outbox; END" }.joined(separator: ";"))
      """)
    let edge = try app.attach([sale()], settled: false)
    #expect(!edge.hasBackfill)
    try app.run("INSERT INTO sale (price) VALUES (4), (5), (6), (7)")
    #expect(try told(edge) == ["1, 4.0, 1 A", "2, 5.0, 1 B", "3, 6.0, 1 C", "4, 7.0, 1"])
  }

  @Test func `detaching leaves nothing of it`() throws {
    let app = try AppDatabase(table)
    do {
      let edge = try app.attach(sale())
      try app.run("INSERT INTO sale (price) VALUES (1); DELETE FROM sale; INSERT INTO sale (price) VALUES (1)")
      #expect(try told(edge).count == 2)
    }
    _ = try EdgeDatabase.detach(path: app.path)
    #expect(try app.lines("SELECT name FROM sqlite_master WHERE name LIKE 'drover%'") == [])
  }

  @Test func `an app that uses one key again and again while the agent is offline costs the same each time`() throws {
    let app = try AppDatabase(table)
    let edge = try app.attach(sale())
    let plan = try app.lines(
      "EXPLAIN QUERY PLAN SELECT seq FROM drover_outbox WHERE stream = 1 AND body IS NULL AND life = 'a' AND key IS +1")
    #expect(plan.joined().contains("(stream=? AND key=? AND life=?)"), "\(plan)")
    _ = edge
  }

  // MARK: Declared keys

  @Test func `a row is known by the key that is declared`() throws {
    let app = try AppDatabase("CREATE TABLE mo (id INTEGER PRIMARY KEY, mo_id INT NOT NULL UNIQUE, done INT)")
    let declaration = StreamDeclaration(name: try StreamName("mo"), kind: .batch, table: "mo") { $0.key = ["MO_ID"] }
    let edge = try app.attach(declaration)
    try app.run("INSERT INTO mo VALUES (1, 77, 0); UPDATE mo SET done = 1")
    #expect(try edge.waiting() == ["put 77: 1, 77, 1"])
    try app.run("UPDATE mo SET id = 2; DELETE FROM mo; INSERT INTO mo VALUES (1, 78, 0)")
    #expect(try edge.waiting() == ["delete 77", "put 78: 1, 78, 0"])
    // A REPLACE through the primary key takes another order's place.
    try app.run("REPLACE INTO mo VALUES (1, 79, 0)")
    #expect(try edge.waiting() == ["delete 77", "delete 78", "put 79: 1, 79, 0"])
    try app.run("UPDATE mo SET mo_id = 80")
    #expect(try Set(edge.waiting()) == ["delete 77", "delete 78", "delete 79", "put 80: 1, 80, 0"])
  }

  @Test func `facts with a declared key get no marks`() throws {
    let app = try AppDatabase("CREATE TABLE sale (id INTEGER PRIMARY KEY, at TEXT NOT NULL, synced INT)")
    let edge = try app.attach(sale(["id", "at"]))
    try app.run("INSERT INTO sale (at) VALUES ('mon'); DELETE FROM sale; INSERT INTO sale (at) VALUES ('tue')")
    #expect(try edge.waiting() == ["put 1, 'mon': 1, 'mon', 1", "put 1, 'tue': 1, 'tue', 1"])
    #expect(edge.streams[0].schema?.tellsLives == false)
    try edge.acknowledgeAll()
    #expect(try app.lines("SELECT * FROM sale") == ["1, 'tue', 1"])
  }

  @Test func `marks that were given stay when the primary key is declared`() throws {
    let app = try AppDatabase(table)
    var sent: ToldFact?
    do {
      let edge = try app.attach(sale())
      try app.run("INSERT INTO sale (price) VALUES (1); DELETE FROM sale; INSERT INTO sale (price) VALUES (2)")
      sent = try edge.looking(edge.told).last
      try edge.confirmAll()
    }
    let edge = try app.attach([sale(["id"])], settled: false)
    #expect(!edge.hasBackfill)
    _ = try edge.resync(ResyncOrder(), stream: 1)
    try edge.bringAll()
    #expect(try edge.told() == [sent])
    try app.run("DELETE FROM sale; INSERT INTO sale (price) VALUES (3)")
    #expect(try edge.told().map(\.life) == [sent?.life, ""])
  }

  @Test func `a key that is not there, or does not travel, is refused`() throws {
    func refusal(_ declaration: StreamDeclaration) throws -> String {
      try AppDatabase("CREATE TABLE mo (id INTEGER PRIMARY KEY, mo_id INT, done INT)").refusal(declaration)
    }
    func mo(_ key: [String], _ selection: Selection = Selection(), synced: String? = nil) throws -> StreamDeclaration {
      StreamDeclaration(name: try StreamName("mo"), kind: .snapshot, table: "mo") {
        $0.syncedColumn = synced
        $0.selection = selection
        $0.key = key
      }
    }
    #expect(try refusal(mo(["nr"])).contains("no column nr, which the configuration names in its `key`"))
    #expect(try refusal(mo(["mo_id"], Selection(exclude: ["mo_id"]))).contains("part of the key"))
    #expect(try refusal(mo(["mo_id"], Selection(hashed: ["mo_id"]))).contains("part of the key"))
    #expect(try refusal(mo(["mo_id"], synced: "mo_id")).contains("cannot be its synced_column"))
    #expect(try refusal(mo(["mo_id", "MO_ID"])).contains("each once"))
  }

  @Test func `what a table does not promise of a declared key is said`() throws {
    let app = try AppDatabase("CREATE TABLE mo (id INTEGER PRIMARY KEY, mo_id INT, done INT)")
    let declaration = StreamDeclaration(name: try StreamName("mo"), kind: .snapshot, table: "mo") {
      $0.key = ["mo_id"]
    }
    let warnings = Warnings()
    let edge = try app.attach([declaration], warn: warnings.note)
    #expect(warnings.texts.contains { $0.contains("unique") && $0.contains("UNIQUE index on mo_id") })
    #expect(warnings.texts.contains { $0.contains("reads the whole table") })
    #expect(warnings.texts.contains { $0.contains("may be NULL") })
    // Two rows of one key are never read as one.
    try app.run("INSERT INTO mo VALUES (1, 7, 0), (2, 7, 1)")
    _ = try edge.looking(edge.waiting)
    #expect(
      edge.waits.map(\.reason) == [
        "two rows of mo have the same mo_id, which is their key, so the cloud could not distinguish them"
      ])
    try app.run("UPDATE mo SET mo_id = 8 WHERE id = 2")
    _ = try edge.refresh()
    #expect(edge.waits.isEmpty)
    #expect(try Set(edge.looking(edge.waiting)) == ["put 7: 1, 7, 0", "put 8: 2, 8, 1"])
  }
}

/// Migration tools drop tables that they do not know. The agent looked for one of its tables only, and stood still where another was gone, while each
/// INSERT of the app's failed.
@Suite(.ownThread) struct DroppedTablesTests {
  private static let tables = [
    "drover_meta", "drover_clock", "drover_stream", "drover_backfill", "drover_outbox", "drover_kept", "drover_space",
    "drover_capture", "drover_life_1", "drover_resync", "drover_ahead", "drover_dead_letter", "drover_dead_field",
  ]

  @Test(arguments: tables.map { [$0] } + [tables])
  func `the app writes again as soon as the agent has seen that tables of Drover's are gone`(gone: [String]) throws {
    for isRunning in [true, false] {
      let app = try AppDatabase("CREATE TABLE f (id INTEGER PRIMARY KEY, v)")
      let streams: [StreamDeclaration] = [try .table("f", kind: .payload), try .fed("note")]
      var edge = try EdgeDatabase(path: app.path, declarations: streams)
      try edge.bringAll()
      try app.run("INSERT INTO f (v) VALUES ('a'); DELETE FROM f; INSERT INTO f (v) VALUES ('b')")
      try app.run("INSERT INTO drover_intake (stream, body) VALUES ('note', '1')")
      try app.run(gone.map { "DROP TABLE \($0);" }.joined())
      if isRunning {
        if (try? edge.refresh()) == nil { try edge.startEpoch(because: "a test says so") }
      } else {
        edge = try EdgeDatabase(path: app.path, declarations: streams)
      }
      // A connection for which an INSERT has failed in a trigger reads the schema anew with any other statement.
      #expect(try app.integer("SELECT count(*) FROM f") == 1)
      try app.run("INSERT INTO f (v) VALUES ('c'); UPDATE f SET v = 'd' WHERE v = 'c'; DELETE FROM f WHERE v = 'd'")
      try app.run("INSERT INTO f (v) VALUES ('e'); INSERT INTO drover_intake (stream, body) VALUES ('note', '2')")
      try edge.looking { try edge.bringAll() }
      let told = try edge.told().map(\.text)
      #expect(told.contains("1, 'b'") && told.contains("2, 'e'"), "\(gone), \(isRunning): \(told)")
      let notes = try edge.everything().entries.count { if case .json = $0.content { true } else { false } }
      // What waits is lost only with the tables that hold it.
      let isLost = gone.contains("drover_outbox") || gone.contains("drover_stream")
      #expect(notes == (isLost ? 1 : 2), "\(gone), \(isRunning)")
    }
  }

  // Until the agent was started again it said of each turn that there is no such table, and looked at nothing.
  @Test func `a table that the agent misses at work is made again`() throws {
    let app = try AppDatabase("CREATE TABLE f (id INTEGER PRIMARY KEY, v)")
    let edge = try app.attach(.table("f", kind: .payload))
    try app.run("DROP TABLE drover_resync; DROP TABLE drover_life_1")
    _ = try edge.looking { try edge.resync(ResyncOrder(), stream: 1) }
    try app.run("SELECT 1 FROM f; INSERT INTO f (v) VALUES ('a')")
    #expect(try edge.looking(edge.told).map(\.text) == ["1, 'a'"])
  }
}
