import DroverCore
import DroverSQLite
import DroverTesting
import GRDB
import Testing

/// Triggers on a table of lines named the header's table, and SQLite refused every migration that made the header's table anew: Django's, Alembic's,
/// its own recipe. No trigger names a table other than its own and Drover's now.
@Suite(.ownThread) struct UnitHeadersTests {
  private static let tables = """
    CREATE TABLE receipts (id INTEGER PRIMARY KEY, total REAL, closed INT DEFAULT 0);
    CREATE TABLE sales (id INTEGER PRIMARY KEY, receipt_id INT REFERENCES receipts (id), qty INT);
    INSERT INTO receipts VALUES (1, 9.5, 0); INSERT INTO sales VALUES (1, 1, 2);
    """

  private func attach(_ app: AppDatabase, isFinal: Bool, settled: Bool = true) throws -> EdgeDatabase {
    try app.attach(
      [.batch("receipts", completeWhen: isFinal ? "closed = 1" : nil, with: .lines("sales", ["receipt_id": "id"]))],
      settled: settled)
  }

  private static let migrations = [
    // SQLite's own recipe (https://www.sqlite.org/lang_altertable.html, section 7), Django's and Prisma's.
    """
    CREATE TABLE new_receipts (id INTEGER PRIMARY KEY, total REAL, closed INT DEFAULT 0, paid INT NOT NULL DEFAULT 0);
    INSERT INTO new_receipts (id, total, closed) SELECT id, total, closed FROM receipts;
    DROP TABLE receipts; ALTER TABLE new_receipts RENAME TO receipts;
    """,
    // Aside first.
    """
    ALTER TABLE receipts RENAME TO receipts_old;
    CREATE TABLE receipts (id INTEGER PRIMARY KEY, total REAL, closed INT DEFAULT 0, paid INT NOT NULL DEFAULT 0);
    INSERT INTO receipts (id, total, closed) SELECT id, total, closed FROM receipts_old; DROP TABLE receipts_old;
    """,
    // Alembic's batch mode, of the lines.
    """
    CREATE TABLE _alembic_tmp_sales (id INTEGER PRIMARY KEY, receipt_id INT REFERENCES receipts (id), qty INT, note TEXT);
    INSERT INTO _alembic_tmp_sales (id, receipt_id, qty) SELECT id, receipt_id, qty FROM sales;
    DROP TABLE sales; ALTER TABLE _alembic_tmp_sales RENAME TO sales;
    """,
    "ALTER TABLE sales RENAME TO lines; ALTER TABLE lines RENAME TO sales;",
    "ALTER TABLE receipts RENAME COLUMN total TO sum; ALTER TABLE sales ADD COLUMN note TEXT;",
    "ALTER TABLE receipts DROP COLUMN total; ALTER TABLE sales DROP COLUMN qty;",
    "DROP TABLE receipts; CREATE TABLE receipts (id INTEGER PRIMARY KEY, total REAL, closed INT DEFAULT 0); INSERT INTO receipts (id) VALUES (1);",
    "DROP TABLE sales; CREATE TABLE sales (id INTEGER PRIMARY KEY, receipt_id INT REFERENCES receipts (id), qty INT);",
  ]

  @Test(arguments: migrations, [false, true])
  func `the app's migrations work, and its writes after them, with an agent or without`(
    migration: String, isFinal: Bool
  ) throws {
    for attachesBetween in [true, false] {
      let app = try AppDatabase("PRAGMA foreign_keys = OFF;" + Self.tables)
      let edge = try attach(app, isFinal: isFinal)
      try app.run("BEGIN; \(migration) COMMIT")
      if attachesBetween { _ = try edge.refresh() }
      try app.run("INSERT INTO sales (id, receipt_id) VALUES (2, 1); INSERT INTO receipts (id) VALUES (2)")
      try app.run("INSERT INTO sales (id, receipt_id) VALUES (3, 2); UPDATE sales SET receipt_id = 2 WHERE id = 2")
      _ = try edge.refresh()
      try edge.bringAll()
      let sales = try app.integer("SELECT count(*) FROM sales WHERE receipt_id = 2")
      let second = try edge.everything().entries.filter { line($0.key) == "2" }
      #expect(second.map { $0.lines[0].count } == [sales])
    }
  }

  @Test func `no trigger names another table of the app's`() throws {
    let app = try AppDatabase(Self.tables)
    _ = try attach(app, isFinal: true)
    #expect(
      try app.lines(
        """
        SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'drover_1_%'
           AND (tbl_name = 'receipts' AND sql LIKE '%sales%' OR tbl_name = 'sales' AND sql LIKE '%receipts%')
        """) == [])
  }

  // The database of a version that looked into the header's table has no note of its headers.
  @Test func `headers from before are known after an upgrade`() throws {
    let app = try AppDatabase(Self.tables)
    _ = try attach(app, isFinal: true)
    try app.run("DROP TABLE drover_unit_1")
    let edge = try attach(app, isFinal: true)
    // A connection that dropped it itself reads the schema anew with any other statement.
    try app.run("SELECT 1 FROM sales; INSERT INTO sales VALUES (2, 1, 4)")
    #expect(try edge.waiting() == ["put 1: 1, 9.5, 0 [1, 1, 2] [2, 1, 4]"])
  }

  @Test func `a key that is used again does not lend its lines to the record that was cleared`() throws {
    let app = try AppDatabase(Self.tables)
    let edge = try attach(app, isFinal: true)
    try app.run("PRAGMA foreign_keys = OFF; UPDATE receipts SET closed = 1; DELETE FROM sales; DELETE FROM receipts")
    try app.run("INSERT INTO receipts VALUES (1, 1, 0); INSERT INTO sales VALUES (1, 1, 7), (2, 1, 8)")
    #expect(
      try edge.waiting() == ["put 1: 1, 9.5, 1 [1, 1, 2]", "put 1: 1, 1.0, 0 [1, 1, 7] [2, 1, 8]"])
    try app.run("UPDATE receipts SET closed = 1; DELETE FROM receipts; DELETE FROM sales")
    #expect(
      try edge.waiting() == ["put 1: 1, 9.5, 1 [1, 1, 2]", "put 1: 1, 1.0, 1 [1, 1, 7] [2, 1, 8]"])
    try edge.confirmAll()
    #expect(try app.lines("SELECT * FROM drover_unit_1") == [])
  }

  @Test func `a line that comes and goes under one name is kept once`() throws {
    let app = try AppDatabase(Self.tables)
    let edge = try attach(app, isFinal: true)
    try app.run(
      "UPDATE receipts SET closed = 1; DELETE FROM sales; INSERT INTO sales VALUES (1, 1, 3); DELETE FROM sales")
    try app.run(
      "INSERT INTO sales VALUES (1, 1, 4); DELETE FROM sales; PRAGMA foreign_keys = OFF; DELETE FROM receipts")
    #expect(try edge.waiting().first == "put 1: 1, 9.5, 1 [1, 1, 2]")
  }

  @Test func `detaching leaves nothing of it behind`() throws {
    let app = try AppDatabase(Self.tables)
    let before = try app.lines("SELECT name FROM sqlite_master ORDER BY name")
    _ = try attach(app, isFinal: true)
    _ = try EdgeDatabase.detach(path: app.path)
    #expect(try app.lines("SELECT name FROM sqlite_master ORDER BY name") == before)
  }
}
