import DroverCore
import DroverSQLite
import DroverTesting
import GRDB
import Testing

/// Rows of a batch that are complete are final records: an app may clear its table of them before they were sent, and none may be lost by it.
@Suite(.ownThread) struct FinalRecordTests {
  private static let orders = "CREATE TABLE mo (id INTEGER PRIMARY KEY, no TEXT UNIQUE, kg REAL, done INT DEFAULT 0)"

  private func attach(_ app: AppDatabase) throws -> EdgeDatabase {
    try app.attach(.batch("mo", completeWhen: "done = 1"))
  }

  // A complete order that was deleted before it was sent went as a delete, and nobody ever saw it.
  @Test(arguments: [
    ("INSERT INTO mo VALUES (1, 'A', 5, 1); DELETE FROM mo", ["put 1: 1, 'A', 5.0, 1"]),
    (
      "INSERT INTO mo VALUES (1, 'A', 5, 0); UPDATE mo SET done = 1; DELETE FROM mo WHERE id = 1",
      ["put 1: 1, 'A', 5.0, 1"]
    ),
    // What is not complete is deleted as ever.
    ("INSERT INTO mo VALUES (1, 'A', 5, 0); DELETE FROM mo", ["delete 1"]),
    ("INSERT INTO mo VALUES (1, 'A', 5, NULL); DELETE FROM mo", ["delete 1"]),
    ("INSERT INTO mo VALUES (1, 'A', 5, 1); UPDATE mo SET done = 0; DELETE FROM mo", ["delete 1"]),
    // A change before it was sent, which stays complete; one that is taken back.
    ("INSERT INTO mo VALUES (1, 'A', 5, 1); UPDATE mo SET kg = 6; DELETE FROM mo", ["put 1: 1, 'A', 6.0, 1"]),
    (
      "INSERT INTO mo VALUES (1, 'A', 5, 1); UPDATE mo SET done = 0; UPDATE mo SET done = 1, kg = 7; DELETE FROM mo",
      ["put 1: 1, 'A', 7.0, 1"]
    ),
    // The key again: each is sent.
    (
      "INSERT INTO mo VALUES (1, 'A', 5, 1); DELETE FROM mo; INSERT INTO mo VALUES (1, 'B', 6, 0)",
      ["put 1: 1, 'A', 5.0, 1", "put 1: 1, 'B', 6.0, 0"]
    ),
    (
      "INSERT INTO mo VALUES (1, 'A', 5, 1); DELETE FROM mo; INSERT INTO mo VALUES (1, 'B', 6, 1); DELETE FROM mo",
      ["put 1: 1, 'A', 5.0, 1", "put 1: 1, 'B', 6.0, 1"]
    ),
    (
      "INSERT INTO mo VALUES (1, 'A', 5, 1); DELETE FROM mo; INSERT INTO mo VALUES (1, 'B', 6, 0); DELETE FROM mo",
      ["put 1: 1, 'A', 5.0, 1", "delete 1"]
    ),
    // A REPLACE displaces it through another unique constraint; through the key it is a change.
    (
      "INSERT INTO mo VALUES (1, 'A', 5, 1); REPLACE INTO mo VALUES (2, 'A', 6, 0)",
      ["put 1: 1, 'A', 5.0, 1", "put 2: 2, 'A', 6.0, 0"]
    ),
    (
      "INSERT INTO mo VALUES (1, 'A', 5, 1), (2, 'B', 6, 0); UPDATE OR REPLACE mo SET no = 'A' WHERE id = 2",
      ["put 1: 1, 'A', 5.0, 1", "put 2: 2, 'A', 6.0, 0"]
    ),
    ("INSERT INTO mo VALUES (1, 'A', 5, 1); REPLACE INTO mo VALUES (1, 'A', 6, 1)", ["put 1: 1, 'A', 6.0, 1"]),
    (
      "INSERT INTO mo VALUES (1, 'A', 5, 0); REPLACE INTO mo VALUES (2, 'A', 6, 0)",
      ["put 1: nothing", "put 2: 2, 'A', 6.0, 0"]
    ),
    // What only seemed to be displaced stays one record.
    (
      "INSERT INTO mo VALUES (1, 'A', 5, 1); INSERT INTO mo (no, kg) VALUES ('A', 6) ON CONFLICT (no) DO UPDATE SET kg = excluded.kg",
      ["put 1: 1, 'A', 6.0, 1"]
    ),
    (
      "INSERT INTO mo VALUES (1, 'A', 5, 1); INSERT OR IGNORE INTO mo VALUES (2, 'A', 6, 0); UPDATE mo SET kg = 7; DELETE FROM mo",
      ["put 1: 1, 'A', 7.0, 1"]
    ),
    (
      "INSERT INTO mo VALUES (1, 'A', 5, 1); BEGIN; DELETE FROM mo; ROLLBACK; UPDATE mo SET kg = 7",
      ["put 1: 1, 'A', 7.0, 1"]
    ),
    (
      "CREATE TRIGGER stays BEFORE DELETE ON mo BEGIN SELECT RAISE(IGNORE); END; INSERT INTO mo VALUES (1, 'A', 5, 1); DELETE FROM mo; UPDATE mo SET kg = 7",
      ["put 1: 1, 'A', 7.0, 1"]
    ),
  ])
  func `what is complete is kept when it is deleted before it was sent`(sql: String, waiting: [String]) throws {
    let app = try AppDatabase(Self.orders)
    let edge = try attach(app)
    try app.run(sql)
    _ = try edge.refresh()
    let expected = waiting.map { $0 == "put 1: nothing" ? "delete 1" : $0 }
    #expect(try edge.waiting().sorted() == expected.sorted())
    #expect(
      try app.integer("SELECT body_bytes FROM drover_space")
        == app.integer("SELECT total(ifnull(length(CAST(value AS BLOB)), 0) + 64) FROM drover_kept"))
    try edge.confirmAll()
    #expect(try app.integer("SELECT count(*) FROM drover_kept") == 0)
    #expect(try app.integer("SELECT body_bytes FROM drover_space") == 0)
  }

  // A complete order whose row took the number of the next one, before it was sent, was never heard of.
  @Test(arguments: [
    (
      "INSERT INTO mo VALUES (1, 'A', 5, 1); UPDATE mo SET no = 'B', kg = 6, done = 0",
      ["put 'A': 1, 'A', 5.0, 1", "put 'B': 1, 'B', 6.0, 0"]
    ),
    (
      "INSERT INTO mo VALUES (1, 'A', 5, 0); UPDATE mo SET done = 1; UPDATE mo SET no = 'B', kg = 6; UPDATE mo SET no = 'C', kg = 7, done = 0; DELETE FROM mo",
      ["put 'A': 1, 'A', 5.0, 1", "put 'B': 1, 'B', 6.0, 1", "delete 'C'"]
    ),
    ("INSERT INTO mo VALUES (1, 'A', 5, 0); UPDATE mo SET no = 'B'", ["delete 'A'", "put 'B': 1, 'B', 5.0, 0"]),
    // To the number of one that was cleared, and back.
    (
      "INSERT INTO mo VALUES (1, 'A', 5, 1); DELETE FROM mo; INSERT INTO mo VALUES (2, 'B', 6, 0); UPDATE mo SET no = 'A', done = 0",
      ["put 'A': 1, 'A', 5.0, 1", "delete 'B'", "put 'A': 2, 'A', 6.0, 0"]
    ),
    (
      "INSERT INTO mo VALUES (1, 'A', 5, 1); UPDATE mo SET no = 'B'; UPDATE mo SET no = 'A', kg = 8",
      ["put 'A': 1, 'A', 5.0, 1", "put 'B': 1, 'B', 5.0, 1", "put 'A': 1, 'A', 8.0, 1"]
    ),
    (
      "INSERT INTO mo VALUES (1, 'A', 5, 1), (2, 'B', 6, 1); UPDATE OR REPLACE mo SET no = 'B' WHERE id = 1",
      ["put 'A': 1, 'A', 5.0, 1", "put 'B': 2, 'B', 6.0, 1", "put 'B': 1, 'B', 5.0, 1"]
    ),
    (
      "INSERT INTO mo VALUES (1, 'A', 5, 1); UPDATE mo SET no = 'a'",
      ["put 'A': 1, 'A', 5.0, 1", "put 'a': 1, 'a', 5.0, 1"]
    ),
    (
      "INSERT INTO mo VALUES (1, 'A', 5, 1), (2, 'B', 6, 1); UPDATE OR IGNORE mo SET no = 'B' WHERE id = 1; UPDATE mo SET kg = 9 WHERE id = 1",
      ["put 'B': 2, 'B', 6.0, 1", "put 'A': 1, 'A', 9.0, 1"]
    ),
    (
      "INSERT INTO mo VALUES (1, 'A', 5, 1); INSERT INTO mo VALUES (1, 'B', 6, 0) ON CONFLICT (id) DO UPDATE SET no = excluded.no, kg = excluded.kg, done = excluded.done",
      ["put 'A': 1, 'A', 5.0, 1", "put 'B': 1, 'B', 6.0, 0"]
    ),
  ])
  func `what is complete is kept when its row gets another key before it was sent`(sql: String, waiting: [String])
    throws
  {
    let app = try AppDatabase("CREATE TABLE mo (id INTEGER PRIMARY KEY, no TEXT NOT NULL UNIQUE, kg REAL, done INT)")
    var declaration = try StreamDeclaration.batch("mo", completeWhen: "done = 1")
    declaration.key = ["no"]
    let edge = try app.attach(declaration)
    try app.run(sql)
    let found = try edge.waiting().sorted()
    #expect(found == waiting.sorted())
    try expectNothingLeft(app, edge)
  }

  @Test func `a complete row that was confirmed may get another key, and its record stays`() throws {
    let app = try AppDatabase(Self.orders + "; INSERT INTO mo VALUES (1, 'A', 5, 1), (2, 'B', 6, 0)")
    let edge = try attach(app)
    try app.run("UPDATE mo SET id = id + 10")
    #expect(try edge.waiting().sorted() == ["delete 2", "put 11: 11, 'A', 5.0, 1", "put 12: 12, 'B', 6.0, 0"])
  }

  // A complete order that the app hid from the filter, before it was sent, was never heard of.
  @Test(arguments: [
    ("INSERT INTO mo VALUES (1, 'A', 5, 1, 0); UPDATE mo SET arch = 1", ["put 1: 1, 'A', 5.0, 1, 0"]),
    ("INSERT INTO mo VALUES (1, 'A', 5, 1, 0); UPDATE mo SET arch = 1; DELETE FROM mo", ["put 1: 1, 'A', 5.0, 1, 0"]),
    (
      "INSERT INTO mo VALUES (1, 'A', 5, 1, 0); UPDATE mo SET arch = 1; UPDATE mo SET arch = 2, kg = 9; REPLACE INTO mo VALUES (1, 'A', 0, 0, 1)",
      ["put 1: 1, 'A', 5.0, 1, 0"]
    ),
    (
      "INSERT INTO mo VALUES (1, 'A', 5, 1, 0); UPDATE mo SET arch = 1; REPLACE INTO mo VALUES (2, 'A', 7, 0, 0)",
      ["put 1: 1, 'A', 5.0, 1, 0", "put 2: 2, 'A', 7.0, 0, 0"]
    ),
    (
      "INSERT INTO mo VALUES (1, 'A', 5, 1, 0); DELETE FROM mo; INSERT INTO mo VALUES (1, 'A', 0, 0, 1); DELETE FROM mo",
      ["put 1: 1, 'A', 5.0, 1, 0"]
    ),
    (
      "INSERT INTO mo VALUES (1, 'A', 5, 1, 0); UPDATE mo SET arch = 1; UPDATE mo SET arch = 0, kg = 6",
      ["put 1: 1, 'A', 6.0, 1, 0"]
    ),
    ("INSERT INTO mo VALUES (1, 'A', 5, 1, 0); UPDATE mo SET kg = 6", ["put 1: 1, 'A', 6.0, 1, 0"]),
    ("INSERT INTO mo VALUES (1, 'A', 5, 1, 0); UPDATE mo SET arch = NULL", ["put 1: 1, 'A', 5.0, 1, 0"]),
    // What is not complete goes as ever; what was never both is not sent.
    ("INSERT INTO mo VALUES (1, 'A', 5, 0, 0); UPDATE mo SET arch = 1", ["delete 1"]),
    ("INSERT INTO mo VALUES (1, 'A', 5, 0, 0); UPDATE mo SET arch = 1, done = 1", ["delete 1"]),
  ])
  func `what is complete is kept when its row leaves the filter before it was sent`(sql: String, waiting: [String])
    throws
  {
    let app = try AppDatabase("CREATE TABLE mo (id INTEGER PRIMARY KEY, no TEXT UNIQUE, kg REAL, done INT, arch INT)")
    var declaration = try StreamDeclaration.batch("mo", completeWhen: "done = 1")
    declaration.selection.filter = try Condition(parsing: "arch = 0")
    let edge = try app.attach(declaration)
    try app.run(sql)
    let found = try edge.waiting().sorted()
    #expect(found == waiting.sorted())
    // Brought once more, what no longer travels says nothing.
    _ = try edge.resync(ResyncOrder(), stream: 1)
    try edge.bringAll()
    let brought = try edge.waiting().sorted()
    #expect(brought == waiting.sorted())
    try expectNothingLeft(app, edge)
  }

  /// The bytes that are kept are counted, and go with the confirmation.
  private func expectNothingLeft(_ app: AppDatabase, _ edge: EdgeDatabase) throws {
    #expect(
      try app.integer("SELECT body_bytes FROM drover_space")
        == app.integer("SELECT total(ifnull(length(CAST(value AS BLOB)), 0) + 64) FROM drover_kept"))
    try edge.confirmAll()
    #expect(try app.integer("SELECT count(*) FROM drover_kept") == 0)
    #expect(try app.integer("SELECT body_bytes FROM drover_space") == 0)
  }

  // Clearing what was confirmed long ago sent a delete for each, which the cloud refused: a dead letter for each.
  @Test func `clearing what was confirmed is no event`() throws {
    let app = try AppDatabase(Self.orders + "; INSERT INTO mo VALUES (1, 'A', 5, 1), (2, 'B', 6, 0)")
    let edge = try attach(app)
    try app.run("DELETE FROM mo")
    #expect(try edge.waiting() == ["delete 2"])
    #expect(try app.integer("SELECT count(*) FROM drover_kept") == 0)
  }

  @Test func `what is on its way when it is cleared is sent again as it was`() throws {
    let app = try AppDatabase(Self.orders)
    let edge = try attach(app)
    try app.run("INSERT INTO mo VALUES (1, 'A', 5, 1)")
    try edge.acknowledgeAll()
    try app.run("DELETE FROM mo")
    try edge.startEpoch(because: "a test says so")
    #expect(try edge.waiting() == ["put 1: 1, 'A', 5.0, 1"])
  }

  @Test func `all rows brought once more do not supersede what was kept`() throws {
    let app = try AppDatabase(Self.orders)
    let edge = try attach(app)
    try app.run("INSERT INTO mo VALUES (1, 'A', 5, 1); DELETE FROM mo; INSERT INTO mo VALUES (1, 'B', 6, 0)")
    _ = try edge.resync(ResyncOrder(), stream: 1)
    try edge.bringAll()
    #expect(try edge.waiting() == ["put 1: 1, 'A', 5.0, 1", "put 1: 1, 'B', 6.0, 0"])
  }

  @Test func `the flag of a row that has the key of a kept one waits for its own event`() throws {
    let app = try AppDatabase("CREATE TABLE mo (id INTEGER PRIMARY KEY, done INT, synced INT DEFAULT 0)")
    var declaration = try StreamDeclaration.batch("mo", completeWhen: "done = 1")
    declaration.syncedColumn = "synced"
    let edge = try app.attach(declaration)
    try app.run("INSERT INTO mo VALUES (1, 1, 0); DELETE FROM mo; INSERT INTO mo VALUES (1, 0, 0)")
    let seqs = try edge.everything().entries.map(\.seq)
    try edge.acknowledge(seqs[0]...seqs[0])
    #expect(try app.lines("SELECT * FROM mo") == ["1, 0, 0"])
    try edge.acknowledge(seqs[1]...seqs[1])
    #expect(try app.lines("SELECT * FROM mo") == ["1, 0, 1"])
  }

  @Test func `what the filter leaves at the machine is not kept`() throws {
    let app = try AppDatabase(Self.orders)
    var declaration = try StreamDeclaration.batch("mo", completeWhen: "done = 1")
    declaration.selection.filter = try Condition(parsing: "kg > 1")
    let edge = try app.attach(declaration)
    try app.run("INSERT INTO mo VALUES (1, 'A', 0, 1), (2, 'B', 2, 1); DELETE FROM mo")
    #expect(try edge.waiting().sorted() == ["delete 1", "put 2: 2, 'B', 2.0, 1"])
  }

  // SQLite refuses to drop a column that a trigger names and does not find any more.
  @Test(
    arguments: [
      "ALTER TABLE mo DROP COLUMN kg", "ALTER TABLE mo DROP COLUMN done", "ALTER TABLE mo RENAME COLUMN kg TO kilo",
      "ALTER TABLE mo DROP COLUMN arch", "ALTER TABLE mo RENAME COLUMN arch TO hidden",
    ], [Kind.batch, .payload])
  func `the app's migrations work, and its next statements too`(sql: String, kind: Kind) throws {
    let app = try AppDatabase(
      "CREATE TABLE mo (id INTEGER PRIMARY KEY, kg REAL, done INT DEFAULT 0, arch INT DEFAULT 0)")
    var declaration: StreamDeclaration =
      kind == .batch ? try .batch("mo", completeWhen: "done = 1") : try .table("mo", kind: kind)
    declaration.selection.filter = try Condition(parsing: "arch = 0")
    _ = try app.attach(declaration)
    try app.run(
      "INSERT INTO mo (id, kg, done) VALUES (1, 5, 1), (2, 6, 0); \(sql); DELETE FROM mo WHERE id = 1; UPDATE mo SET id = 9; UPDATE mo SET rowid = 8; DELETE FROM mo"
    )
    #expect(try app.integer("SELECT count(*) FROM mo") == 0)
  }

  @Test(arguments: [
    "CREATE TABLE mo (no TEXT PRIMARY KEY, part INT, done INT) WITHOUT ROWID",
    "CREATE TABLE mo (no TEXT, part INT, done INT, PRIMARY KEY (no, part)) STRICT",
    "CREATE TABLE mo (no TEXT COLLATE NOCASE PRIMARY KEY, part BLOB, done)",
  ])
  func `tables of every form are kept from`(table: String) throws {
    let app = try AppDatabase(table)
    let edge = try attach(app)
    try app.run("INSERT INTO mo VALUES ('it''s', 7, 1), ('B', 8, 1), ('c', 9, 0); DELETE FROM mo")
    let kept = try edge.waiting().filter { $0.hasPrefix("put") }.map { $0.split(separator: ": ").last! }
    #expect(kept == ["'it's', 7, 1", "'B', 8, 1"])
  }

  @Test(arguments: [
    ("CREATE TABLE mo (id INTEGER PRIMARY KEY, done INT)", true), ("CREATE TABLE mo (done INT)", true),
    ("CREATE TABLE mo (id INTEGER PRIMARY KEY AUTOINCREMENT, done INT)", false),
    ("CREATE TABLE mo (no TEXT PRIMARY KEY, done INT)", false),
    ("CREATE TABLE mo (a INT, b INT, done INT, PRIMARY KEY (a, b))", false),
  ])
  func `keys of final records that SQLite gives again are warned of`(table: String, isWarned: Bool) throws {
    let app = try AppDatabase(table)
    let warnings = Warnings()
    let declaration = try StreamDeclaration.batch("mo", completeWhen: "done = 1")
    _ = try app.attach([declaration], warn: warnings.note)
    #expect(warnings.texts.contains { $0.contains("may be used again") } == isWarned)
    #expect(DatabaseCheck.advice(on: declaration, path: app.path).isEmpty != isWarned)
    // What is never complete is deleted in the cloud before its key comes again.
    #expect(DatabaseCheck.advice(on: try .batch("mo"), path: app.path).isEmpty)
  }

  // Only keys that SQLite gives were warned of. Of others the agent can tell while the first record waits.
  @Test(
    arguments: [
      ("no TEXT PRIMARY KEY, part INT", nil), ("no TEXT, part INT, PRIMARY KEY (no, part)", nil),
      ("id INTEGER PRIMARY KEY, no TEXT UNIQUE NOT NULL, part INT", ["no"]),
    ] as [(String, [String]?)])
  func `a key of the app's own that is used again is warned of once`(columns: String, key: [String]?) throws {
    let app = try AppDatabase("CREATE TABLE mo (\(columns.replacing(", PRIMARY", with: ", done INT, PRIMARY")))")
    if !columns.contains("PRIMARY KEY (") { try app.run("ALTER TABLE mo ADD COLUMN done INT") }
    let warnings = Warnings()
    var declaration = try StreamDeclaration.batch("mo", completeWhen: "done = 1")
    declaration.key = key
    let edge = try app.attach([declaration], warn: warnings.note)
    func reused() -> Int { warnings.texts.count { $0.contains("of a complete row that is gone") } }
    try app.run("INSERT INTO mo (no, part, done) VALUES ('A', 1, 1), ('B', 1, 1); DELETE FROM mo")
    #expect(try edge.waiting().count == 2 && reused() == 0)
    try app.run("INSERT INTO mo (no, part, done) VALUES ('A', 1, 0), ('B', 1, 0)")
    #expect(try edge.waiting().count == 4 && reused() == 1)
    #expect(try edge.waiting().count == 4 && reused() == 1)
    #expect(warnings.texts.allSatisfy { !$0.contains("'A'") })
  }

  // MARK: With lines

  private static let receipts = """
    PRAGMA foreign_keys = ON;
    CREATE TABLE receipts (id INTEGER PRIMARY KEY, note TEXT, closed INT);
    CREATE TABLE sales (no INTEGER PRIMARY KEY, receipt_id INTEGER REFERENCES receipts (id) ON DELETE CASCADE, item TEXT UNIQUE);
    CREATE TABLE payments (receipt INTEGER, sum INTEGER);
    """
  private static let unit =
    "INSERT INTO receipts VALUES (1, 'a', 1); INSERT INTO sales VALUES (11, 1, 'pen'), (12, 1, 'ink'); INSERT INTO payments VALUES (1, 5); "
  private static let whole = "put 1: 1, 'a', 1 [11, 1, 'pen'] [12, 1, 'ink'] [1, 1, 5]"

  private func attachUnits(_ app: AppDatabase) throws -> EdgeDatabase {
    try app.attach(
      .batch("receipts", completeWhen: "closed = 1", with: .lines("sales"), .lines("payments", ["receipt": "id"])))
  }

  @Test(arguments: [
    ("DELETE FROM receipts", [whole]),
    ("DELETE FROM payments; DELETE FROM sales; DELETE FROM receipts", [whole]),
    ("DELETE FROM sales WHERE no = 12; DELETE FROM payments; DELETE FROM receipts", [whole]),
    ("PRAGMA foreign_keys = OFF; DELETE FROM receipts; DELETE FROM sales; DELETE FROM payments", [whole]),
    (
      "BEGIN; PRAGMA defer_foreign_keys = ON; DELETE FROM receipts; DELETE FROM sales; DELETE FROM payments; COMMIT",
      [whole]
    ),
    // The header may stay for a while.
    ("DELETE FROM sales; DELETE FROM payments", [whole]),
    // The app unties the lines first, or the foreign key does.
    ("UPDATE sales SET receipt_id = NULL; DELETE FROM receipts; DELETE FROM sales; DELETE FROM payments", [whole]),
    ("UPDATE sales SET receipt_id = NULL; UPDATE payments SET receipt = 0", [whole]),
    ("DELETE FROM payments; DELETE FROM receipts; UPDATE payments SET receipt = NULL", [whole]),
    (
      "PRAGMA foreign_keys = OFF; DELETE FROM receipts; UPDATE sales SET receipt_id = NULL; UPDATE payments SET receipt = 9",
      [whole]
    ),
    // The app uses the lines' rows for something else after the header went, and then gives them to another header.
    (
      "PRAGMA foreign_keys = OFF; DELETE FROM receipts; UPDATE sales SET item = 'x' || no; UPDATE sales SET item = 'y' WHERE no = 12; UPDATE sales SET receipt_id = 2; UPDATE payments SET sum = 0",
      [whole]
    ),
    (
      "PRAGMA foreign_keys = OFF; DELETE FROM receipts; UPDATE sales SET item = 'x' || no; DELETE FROM sales WHERE no = 11",
      ["put 1: 1, 'a', 1 [12, 1, 'ink'] [11, 1, 'pen'] [1, 1, 5]"]
    ),
    // Lines that stand for something else from here on.
    (
      "INSERT INTO receipts VALUES (2, 'b', 0); UPDATE sales SET receipt_id = 2, item = 'nib' WHERE no = 11; DELETE FROM receipts WHERE id = 1",
      [
        "put 1: 1, 'a', 1 [11, 1, 'pen'] [12, 1, 'ink'] [1, 1, 5]", "put 2: 2, 'b', 0 [11, 2, 'nib']",
      ]
    ),
    // The whole row stands for the next unit.
    (
      "DELETE FROM payments; DELETE FROM sales; UPDATE receipts SET id = 2, note = 'b', closed = 0",
      [whole, "put 2: 2, 'b', 0"]
    ),
    // What is not complete loses its lines.
    (
      "UPDATE receipts SET closed = 0; UPDATE sales SET receipt_id = NULL WHERE no = 11",
      ["put 1: 1, 'a', 0 [12, 1, 'ink'] [1, 1, 5]"]
    ),
    // A line of the next unit takes its place.
    (
      "INSERT INTO receipts VALUES (2, 'b', 0); REPLACE INTO sales VALUES (11, 2, 'pen')",
      ["put 1: 1, 'a', 1 [12, 1, 'ink'] [11, 1, 'pen'] [1, 1, 5]", "put 2: 2, 'b', 0 [11, 2, 'pen']"]
    ),
    (
      "INSERT INTO receipts VALUES (2, 'b', 0); REPLACE INTO sales VALUES (21, 2, 'ink')",
      [whole, "put 2: 2, 'b', 0 [21, 2, 'ink']"]
    ),
    // A change of the unit that is complete goes as ever.
    ("REPLACE INTO sales VALUES (11, 1, 'nib')", ["put 1: 1, 'a', 1 [11, 1, 'nib'] [12, 1, 'ink'] [1, 1, 5]"]),
    (
      "UPDATE sales SET item = 'cap' WHERE no = 11; DELETE FROM receipts",
      ["put 1: 1, 'a', 1 [11, 1, 'cap'] [12, 1, 'ink'] [1, 1, 5]"]
    ),
    (
      "INSERT INTO sales VALUES (13, 1, 'nib'); DELETE FROM receipts",
      ["put 1: 1, 'a', 1 [11, 1, 'pen'] [12, 1, 'ink'] [13, 1, 'nib'] [1, 1, 5]"]
    ),
    // What is not complete loses its lines, and goes.
    ("UPDATE receipts SET closed = 0; DELETE FROM sales WHERE no = 11", ["put 1: 1, 'a', 0 [12, 1, 'ink'] [1, 1, 5]"]),
    ("UPDATE receipts SET closed = 0; DELETE FROM sales; DELETE FROM receipts", ["delete 1"]),
  ])
  func `a complete unit is kept whole, whatever order it is cleared in`(sql: String, waiting: [String]) throws {
    let app = try AppDatabase(Self.receipts)
    let edge = try attachUnits(app)
    try app.run(Self.unit + sql)
    #expect(try edge.waiting().sorted() == waiting.sorted())
    #expect(
      try app.integer("SELECT body_bytes FROM drover_space")
        == app.integer("SELECT total(ifnull(length(CAST(value AS BLOB)), 0) + 64) FROM drover_kept"))
    try edge.confirmAll()
    #expect(try app.integer("SELECT count(*) FROM drover_kept") == 0)
  }

  @Test(arguments: ["ON DELETE SET NULL", "ON DELETE SET DEFAULT", "ON UPDATE CASCADE", "ON UPDATE SET NULL"])
  func `foreign keys that untie or move the lines take none from what is complete`(action: String) throws {
    let app = try AppDatabase(
      """
      PRAGMA foreign_keys = ON;
      CREATE TABLE receipts (id INTEGER PRIMARY KEY, closed INT);
      CREATE TABLE sales (no INTEGER PRIMARY KEY, receipt_id INTEGER DEFAULT NULL REFERENCES receipts (id) \(action), item TEXT)
      """)
    let edge = try app.attach(.batch("receipts", completeWhen: "closed = 1", with: .lines("sales")))
    try app.run(
      "INSERT INTO receipts VALUES (1, 1), (2, 0); INSERT INTO sales VALUES (11, 1, 'pen'), (12, 1, 'ink'), (13, 2, 'cap')"
    )
    let whole = "put 1: 1, 1 [11, 1, 'pen'] [12, 1, 'ink']"
    if action.contains("DELETE") {
      try app.run("DELETE FROM receipts")
      #expect(try edge.waiting().sorted() == ["delete 2", whole])
    } else {
      try app.run("UPDATE receipts SET id = id + 10 WHERE id = 1; UPDATE receipts SET id = id + 10 WHERE id = 2")
      let isCascade = action.contains("CASCADE")
      #expect(
        try edge.waiting().sorted()
          == [
            "delete 2", whole, "put 11: 11, 1" + (isCascade ? " [11, 11, 'pen'] [12, 11, 'ink']" : ""),
            "put 12: 12, 0" + (isCascade ? " [13, 12, 'cap']" : ""),
          ].sorted())
    }
    try expectNothingLeft(app, edge)
  }

  @Test(arguments: [
    "DELETE FROM sales; DELETE FROM receipts", "UPDATE sales SET receipt = NULL", "DELETE FROM receipts",
    "UPDATE receipts SET arch = 2; DELETE FROM sales; UPDATE receipts SET id = 7; DELETE FROM receipts",
  ])
  func `a complete unit that leaves the filter before it was sent is kept whole`(sql: String) throws {
    let app = try AppDatabase(
      """
      CREATE TABLE receipts (id INTEGER PRIMARY KEY, closed INT, arch INT);
      CREATE TABLE sales (no INTEGER PRIMARY KEY, receipt INT, item TEXT)
      """)
    var declaration = try StreamDeclaration.batch(
      "receipts", completeWhen: "closed = 1", with: .lines("sales", ["receipt": "id"]))
    declaration.selection.filter = try Condition(parsing: "arch = 0")
    let edge = try app.attach(declaration)
    try app.run("INSERT INTO receipts VALUES (1, 1, 0); INSERT INTO sales VALUES (11, 1, 'pen'), (12, 1, 'ink')")
    try app.run("UPDATE receipts SET arch = 1")
    let whole = "put 1: 1, 1, 0 [11, 1, 'pen'] [12, 1, 'ink']"
    #expect(try edge.waiting() == [whole])
    // Looked at anew, with all of the triggers put again.
    try app.run("ALTER TABLE receipts ADD COLUMN note")
    _ = try edge.refresh()
    try app.run(sql)
    #expect(
      try edge.waiting().map { $0.replacing("1, 1, 0, NULL", with: "1, 1, 0") }.filter { $0 != "delete 7" } == [whole])
    // It comes back, and its lines are followed again.
    try edge.confirmAll()
    try app.run(
      "REPLACE INTO receipts VALUES (1, 0, 1, NULL); UPDATE receipts SET arch = 0; REPLACE INTO sales VALUES (15, 1, 'cap')"
    )
    #expect(try edge.waiting().count == 1)
    #expect(try edge.waiting()[0].contains("[15, 1, 'cap']"))
  }

  @Test func `where the lines of the next complete rows would get the keys of the last ones, the agent says so`() throws
  {
    func warnings(_ lines: String, key: [String]? = nil) throws -> [String] {
      let app = try AppDatabase(
        "CREATE TABLE orders (mo TEXT PRIMARY KEY NOT NULL, done INT); CREATE TABLE parts \(lines)")
      var said: [String] = []
      let stream = try StreamDeclaration(name: StreamName("orders"), kind: .batch, table: "orders") {
        $0.completeWhen = try Condition(parsing: "done = 1")
        $0.with = [try .lines("parts", ["mo": "mo"])]
        $0.key = key
      }
      _ = try app.attach([stream]) { said.append($0) }
      return said.filter { $0.contains("may be used again") }
    }
    #expect(try warnings("(id INTEGER PRIMARY KEY, mo TEXT)").count == 1)
    #expect(try warnings("(id INTEGER PRIMARY KEY, mo TEXT)", key: ["mo"]).isEmpty)
    #expect(try warnings("(id INTEGER PRIMARY KEY AUTOINCREMENT, mo TEXT)").isEmpty)
    #expect(try warnings("(no INT, mo TEXT, PRIMARY KEY (mo, no))").isEmpty)
  }

  @Test func `clearing the lines of what was confirmed is no event, nor is clearing its header`() throws {
    let app = try AppDatabase(Self.receipts + Self.unit)
    let edge = try attachUnits(app)
    try app.run("DELETE FROM sales; DELETE FROM payments")
    #expect(try edge.waiting() == [])
    try app.run("DELETE FROM receipts")
    #expect(try edge.waiting() == [])
  }

  @Test func `lines without a rowid are kept by their key`() throws {
    let app = try AppDatabase(
      "CREATE TABLE receipts (id TEXT PRIMARY KEY, closed INT); CREATE TABLE sales (receipt TEXT, no REAL, item, PRIMARY KEY (receipt, no)) WITHOUT ROWID"
    )
    let edge = try app.attach(
      .batch("receipts", completeWhen: "closed = 1", with: .lines("sales", ["receipt": "id"])))
    try app.run(
      "INSERT INTO receipts VALUES ('a', 1); INSERT INTO sales VALUES ('a', 1.5, 'x'), ('a', 0.1, NULL), ('A', 1, 'none'); DELETE FROM sales; DELETE FROM receipts"
    )
    #expect(try edge.waiting() == ["put 'a': 'a', 1 ['a', 0.1, NULL] ['a', 1.5, 'x']"])
  }
}
