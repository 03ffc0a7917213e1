import DroverCore
import DroverSQLite
import GRDB
import Testing

/// A change of a line is an event of its header, which carries the whole unit.
@Suite struct LinesCaptureTests {
  private static let tables = """
    PRAGMA foreign_keys = OFF;
    CREATE TABLE receipts (id INTEGER PRIMARY KEY, note TEXT UNIQUE);
    CREATE TABLE sales (
      no INTEGER PRIMARY KEY, receipt_id INTEGER REFERENCES receipts (id) ON DELETE CASCADE, item TEXT UNIQUE COLLATE NOCASE);
    CREATE INDEX sales_receipt ON sales (receipt_id);
    CREATE TABLE payments (receipt INTEGER, sum INTEGER);
    INSERT INTO receipts VALUES (1, 'a'), (2, 'b');
    INSERT INTO sales VALUES (11, 1, 'pen'), (21, 2, 'ink');
    """

  private func attach(_ app: AppDatabase, settled: Bool = true) throws -> EdgeDatabase {
    try app.attach(
      [.batch("receipts", with: .lines("sales"), .lines("payments", ["receipt": "id"]))], settled: settled)
  }

  @Test func `a header's event carries all its lines, and rows from before come whole too`() throws {
    let app = try AppDatabase(Self.tables + "INSERT INTO payments VALUES (1, 5), (1, 6), (9, 7)")
    let edge = try attach(app, settled: false)
    try edge.bringAll()
    #expect(
      try edge.waiting() == ["put 1: 1, 'a' [11, 1, 'pen'] [1, 1, 5] [2, 1, 6]", "put 2: 2, 'b' [21, 2, 'ink']"])
  }

  @Test(arguments: [
    ("INSERT INTO sales VALUES (12, 1, 'nib')", ["put 1: 1, 'a' [11, 1, 'pen'] [12, 1, 'nib']"]),
    ("UPDATE sales SET item = 'cap' WHERE no = 11", ["put 1: 1, 'a' [11, 1, 'cap']"]),
    ("DELETE FROM sales WHERE no = 11", ["put 1: 1, 'a'"]),
    ("UPDATE sales SET rowid = 5 WHERE no = 11", ["put 1: 1, 'a' [5, 1, 'pen']"]),
    // From one header to another: both.
    (
      "UPDATE sales SET receipt_id = 2 WHERE no = 11", ["put 2: 2, 'b' [11, 2, 'pen'] [21, 2, 'ink']", "put 1: 1, 'a'"]
    ),
    // Taken away by a REPLACE, through the key and through another constraint.
    ("REPLACE INTO sales VALUES (11, 2, 'cap')", ["put 1: 1, 'a'", "put 2: 2, 'b' [11, 2, 'cap'] [21, 2, 'ink']"]),
    ("REPLACE INTO sales VALUES (22, 2, 'PEN')", ["put 1: 1, 'a'", "put 2: 2, 'b' [21, 2, 'ink'] [22, 2, 'PEN']"]),
    ("UPDATE OR REPLACE sales SET no = 11 WHERE no = 21", ["put 1: 1, 'a'", "put 2: 2, 'b' [11, 2, 'ink']"]),
    (
      "INSERT INTO sales VALUES (11, 2, 'x') ON CONFLICT DO UPDATE SET receipt_id = 2",
      ["put 2: 2, 'b' [11, 2, 'pen'] [21, 2, 'ink']", "put 1: 1, 'a'"]
    ),
    // To and from a header that is not there.
    ("UPDATE sales SET receipt_id = 9 WHERE no = 11", ["put 1: 1, 'a'"]),
    ("INSERT INTO sales VALUES (91, 9, 'x'), (92, NULL, 'y')", []),
    ("INSERT INTO sales VALUES (91, 9, 'x'); INSERT INTO receipts VALUES (9, 'c')", ["put 9: 9, 'c' [91, 9, 'x']"]),
    ("DELETE FROM receipts WHERE id = 1; DELETE FROM sales WHERE no = 11", ["delete 1"]),
    ("PRAGMA foreign_keys = ON; DELETE FROM receipts WHERE id = 1", ["delete 1"]),
    (
      "UPDATE receipts SET id = 3 WHERE id = 1; UPDATE sales SET receipt_id = 3 WHERE receipt_id = 1",
      ["delete 1", "put 3: 3, 'a' [11, 3, 'pen']"]
    ),
    // A table of lines without a key, by its rowid.
    ("INSERT INTO payments VALUES (2, 8)", ["put 2: 2, 'b' [21, 2, 'ink'] [1, 2, 8]"]),
    ("BEGIN; DELETE FROM sales; ROLLBACK", []),
    (
      "UPDATE receipts SET note = 'z' WHERE id = 1; UPDATE sales SET item = 'cap' WHERE no = 11",
      ["put 1: 1, 'z' [11, 1, 'cap']"]
    ),
  ])
  func `a change of a line enters its header, whose older entry is superseded`(sql: String, waiting: [String]) throws {
    let app = try AppDatabase(Self.tables)
    let edge = try attach(app)
    try app.run(sql)
    #expect(Set(try edge.waiting()) == Set(waiting))
    #expect(try edge.waiting().count == waiting.count)
  }

  // An entry that stands for a delete must not go because a line of another header was the newest.
  // As with a header's own table: a line without a key is known by its rowid, which VACUUM changed.
  @Test func `VACUUM leaves lines without a key under their rowids`() throws {
    let app = try AppDatabase(Self.tables + "INSERT INTO payments VALUES (1, 5), (1, 6)")
    let edge = try attach(app)
    try app.run("DELETE FROM payments WHERE rowid = 1; VACUUM")
    _ = try edge.refresh()
    #expect(try edge.waiting() == ["put 1: 1, 'a' [11, 1, 'pen'] [2, 1, 6]"])
  }

  @Test func `a line without its header takes no entry away`() throws {
    let app = try AppDatabase(Self.tables)
    let edge = try attach(app)
    try app.run("DELETE FROM receipts WHERE id = 1")
    try app.run("INSERT INTO sales VALUES (12, 1, 'nib')")
    try app.run("DELETE FROM sales")
    #expect(Set(try edge.waiting()) == ["delete 1", "put 2: 2, 'b'"])
  }

  @Test func `only lines that name their header value for value are its lines`() throws {
    let app = try AppDatabase(
      """
      CREATE TABLE h (k TEXT COLLATE NOCASE PRIMARY KEY); CREATE TABLE l (n INTEGER PRIMARY KEY, k);
      INSERT INTO h VALUES ('a'), ('7'); INSERT INTO l VALUES (1, 'a'), (2, 'A'), (3, 7), (4, '7');
      """)
    let edge = try app.attach([.batch("h", with: .lines("l", ["k": "k"]))], settled: false)
    try edge.bringAll()
    #expect(Set(try edge.waiting()) == ["put '7': '7' [4, '7']", "put 'a': 'a' [1, 'a']"])
  }

  @Test(
    arguments: [
      ("CREATE TABLE l (n INTEGER PRIMARY KEY, r INT)", [:], "l declares no foreign key to receipts"),
      (
        "CREATE TABLE l (n INTEGER PRIMARY KEY, r INT REFERENCES receipts, s INT REFERENCES receipts (id))", [:],
        "l declares several foreign keys to receipts"
      ),
      ("CREATE TABLE l (n INTEGER PRIMARY KEY, r TEXT REFERENCES receipts (note))", [:], "other columns of receipts"),
      ("CREATE TABLE l (n INTEGER PRIMARY KEY, r INT)", ["x": "id"], "l has no column x"),
      ("CREATE TABLE l (n INTEGER PRIMARY KEY, r INT)", ["r": "note"], "other columns of receipts than its key id"),
      ("CREATE TABLE l (n INTEGER PRIMARY KEY, r INT)", ["r": "id", "n": "note"], "other columns of receipts"),
      ("CREATE VIEW l AS SELECT id AS r FROM receipts", ["r": "id"], "l is a view"),
    ] as [(String, [String: String], String)])
  func `what cannot be a unit's lines is said when attaching`(
    table: String, references: [String: String], reason: String
  ) throws {
    let app = try AppDatabase(Self.tables + table)
    let lines = LinesDeclaration(
      table: try StreamName("l"),
      references: references.sorted { $0.key > $1.key }.map { .init(column: $0.key, header: $0.value) })
    #expect(try app.refusal(.batch("receipts", with: lines)).contains(reason))
    #expect(
      try DatabaseCheck.refusal(of: .batch("receipts", with: lines), path: app.path)?.reason.contains(reason) == true)
  }

  @Test func `the one foreign key says which column names the header, its key left out too`() throws {
    let app = try AppDatabase(
      """
      PRAGMA foreign_keys = OFF; CREATE TABLE h (a INT, b TEXT, PRIMARY KEY (b, a)); CREATE TABLE l (n INTEGER PRIMARY KEY, y INT, x TEXT,
      FOREIGN KEY (x, y) REFERENCES H); INSERT INTO h VALUES (1, 'q'); INSERT INTO l VALUES (1, 1, 'q'), (2, 1, 'r');
      """)
    let edge = try app.attach([.batch("h", with: .lines("l"))], settled: false)
    try edge.bringAll()
    #expect(try edge.waiting() == ["put 'q', 1: 1, 'q' [1, 1, 'q']"])
  }

  @Test func `a stream waits for a table of lines that is not there yet, and misses nothing meanwhile`() throws {
    let app = try AppDatabase(Self.tables)
    let edge = try attach(app)
    try app.run("DROP TABLE sales")
    #expect(try edge.refresh())
    #expect(edge.streams[0].schema == nil)
    try app.run("DELETE FROM receipts WHERE id = 2")
    try app.run("CREATE TABLE sales (no INTEGER PRIMARY KEY, receipt_id INTEGER REFERENCES receipts (id), item)")
    try app.run("INSERT INTO sales VALUES (1, 1, 'new')")
    #expect(try edge.refresh())
    try edge.bringAll()
    #expect(Set(try edge.waiting()) == ["delete 2", "put 1: 1, 'a' [1, 1, 'new']"])
  }

  @Test func `a table of lines without an index on its header's column is told of`() throws {
    let app = try AppDatabase(Self.tables)
    let warnings = Warnings()
    _ = try app.attach(
      [.batch("receipts", with: .lines("sales"), .lines("payments", ["receipt": "id"]))], settled: false,
      warn: warnings.note)
    #expect(warnings.texts.filter { $0.contains("make an index on payments.receipt") }.count == 1)
    #expect(!warnings.texts.contains { $0.contains("make an index on sales") })
  }

  @Test func `detaching takes the triggers on tables of lines away`() throws {
    let app = try AppDatabase(Self.tables)
    let before = try app.integer("SELECT count(*) FROM sqlite_master")
    _ = try attach(app)
    _ = try EdgeDatabase.detach(path: app.path)
    #expect(try app.integer("SELECT count(*) FROM sqlite_master") == before)
  }
}
