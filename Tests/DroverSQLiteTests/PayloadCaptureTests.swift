import DroverCore
import DroverSQLite
import Testing

/// Immutable facts: each insert is an event of its own, also when the app has cleaned up before it was sent.
@Suite struct PayloadCaptureTests {
  private let sales = "CREATE TABLE sale (id INTEGER PRIMARY KEY, price REAL, note TEXT)"

  private func sale() throws -> StreamDeclaration { try .table("sale", kind: .payload) }

  @Test func `a fact that was deleted before it was sent is still read`() throws {
    let app = try AppDatabase(sales)
    let edge = try app.attach(sale())
    try app.run("INSERT INTO sale VALUES (1, 2.5, 'a'); DELETE FROM sale")
    #expect(try edge.waiting() == ["put 1: 1, 2.5, 'a'"])
  }

  @Test func `an id that is used again does not supersede the fact before it`() throws {
    let app = try AppDatabase(sales)
    let edge = try app.attach(sale())
    for note in ["a", "b", "c"] {
      try app.run("INSERT INTO sale (price, note) VALUES (1, '\(note)')")
      if note != "c" { try app.run("DELETE FROM sale") }
    }
    #expect(try edge.looking(edge.told).map(\.text) == ["1, 1.0, 'a'", "1, 1.0, 'b'", "1, 1.0, 'c'"])
  }

  @Test func `the delete of a fact is no event`() throws {
    let app = try AppDatabase(sales + "; INSERT INTO sale VALUES (1, 2.5, 'a')")
    let edge = try app.attach(sale())
    try app.run("DELETE FROM sale")
    #expect(try edge.waiting() == [])
    #expect(try app.integer("SELECT count(*) FROM drover_kept") == 0)
  }

  @Test func `a fact that changes before it was sent is sent once, as it is`() throws {
    let app = try AppDatabase(sales)
    let edge = try app.attach(sale())
    try app.run("INSERT INTO sale VALUES (1, 2.5, 'a'); UPDATE sale SET note = 'b'")
    #expect(try edge.waiting() == ["put 1: 1, 2.5, 'b'"])
  }

  @Test func `a change does not supersede the deleted fact of the same id`() throws {
    let app = try AppDatabase(sales)
    let edge = try app.attach(sale())
    try app.run("INSERT INTO sale VALUES (1, 1, 'a'); DELETE FROM sale; INSERT INTO sale VALUES (1, 2, 'b')")
    try app.run("UPDATE sale SET note = 'c'; DELETE FROM sale")
    #expect(try edge.looking(edge.told).map(\.text) == ["1, 1.0, 'a'", "1, 2.0, 'c'"])
  }

  // A slot that takes the next reading is another fact: the one before was in no event if the agent was late.
  @Test(arguments: [false, true])
  func `a fact whose row gets another key before it was sent is kept`(isDeclared: Bool) throws {
    let app = try AppDatabase(
      isDeclared
        ? "CREATE TABLE ring (slot INTEGER PRIMARY KEY, at INT NOT NULL, v, UNIQUE (slot, at))"
        : "CREATE TABLE ring (slot INT, at INT, v, PRIMARY KEY (slot, at))")
    var declaration = try StreamDeclaration.table("ring", kind: .payload)
    if isDeclared { declaration.key = ["slot", "at"] }
    let edge = try app.attach(declaration)
    try app.run("INSERT INTO ring VALUES (1, 100, 'a'); UPDATE ring SET at = 200, v = 'b'; UPDATE ring SET v = 'c'")
    try app.run("UPDATE ring SET at = 300, v = 'd'; DELETE FROM ring")
    let facts = ["1, 100, 'a'", "1, 200, 'c'", "1, 300, 'd'"]
    var told = try edge.looking(edge.told).map(\.text)
    #expect(told == facts)
    // Back to a key of which the fact waits: it is not forgotten.
    try app.run("INSERT INTO ring VALUES (1, 400, 'e'); UPDATE ring SET at = 100, v = 'f'")
    told = try edge.looking(edge.told).map(\.text)
    #expect(told == facts + ["1, 400, 'e'", "1, 100, 'f'"])
    try edge.confirmAll()
    #expect(try app.integer("SELECT count(*) FROM drover_kept") == 0)
    #expect(try app.integer("SELECT body_bytes FROM drover_space") == 0)
  }

  // A reading that the app marked as done, which its filter leaves out, was in no event if the agent was late.
  @Test func `a fact whose row leaves the filter before it was sent is sent as it was`() throws {
    let app = try AppDatabase("CREATE TABLE sale (id INTEGER PRIMARY KEY, v, done INT)")
    var declaration = try sale()
    declaration.selection.filter = try Condition(parsing: "done = 0")
    let edge = try app.attach(declaration)
    try app.run("INSERT INTO sale VALUES (1, 'a', 0), (2, 'b', 0), (3, 'c', 1); UPDATE sale SET done = 1, v = 'x'")
    func facts() throws -> [String] { try edge.waiting().filter { $0.hasPrefix("put") } }
    #expect(try facts() == ["put 1: 1, 'a', 0", "put 2: 2, 'b', 0"])
    // One that comes back is one fact, as it is.
    try app.run(
      "UPDATE sale SET done = 2; UPDATE sale SET done = 0, v = 'y' WHERE id = 2; DELETE FROM sale WHERE id = 1")
    let found = try facts()
    #expect(found == ["put 1: 1, 'a', 0", "put 2: 2, 'y', 0"])
    try edge.confirmAll()
    #expect(try app.integer("SELECT count(*) FROM drover_kept") == 0)
    #expect(try app.integer("SELECT body_bytes FROM drover_space") == 0)
  }

  // A REPLACE fires no DELETE trigger, and facts had no other: the one that stood in the way was in no table and in no event any more.
  @Test(arguments: [
    "INSERT OR REPLACE INTO sale VALUES (2, 2, 'a')", "UPDATE OR REPLACE sale SET note = 'a' WHERE id = 2",
  ])
  func `a fact that a REPLACE displaces through another unique constraint before it was sent is kept`(sql: String)
    throws
  {
    let app = try AppDatabase("CREATE TABLE sale (id INTEGER PRIMARY KEY, price REAL, note TEXT UNIQUE)")
    let edge = try app.attach(sale())
    if sql.hasPrefix("UPDATE") { try app.run("INSERT INTO sale VALUES (2, 2, 'b')") }
    try app.run("INSERT INTO sale VALUES (1, 1, 'a'); \(sql)")
    #expect(try Set(edge.waiting()) == ["put 1: 1, 1.0, 'a'", "put 2: 2, 2.0, 'a'"])
    try app.run("DELETE FROM sale")
    #expect(try Set(edge.waiting()) == ["put 1: 1, 1.0, 'a'", "put 2: 2, 2.0, 'a'"])
    try edge.confirmAll()
    #expect(try app.integer("SELECT count(*) FROM drover_kept") == 0)
  }

  @Test func `a fact that stood in the way and stays is sent once, as it is`() throws {
    let app = try AppDatabase("CREATE TABLE sale (id INTEGER PRIMARY KEY, price REAL, note TEXT UNIQUE)")
    let edge = try app.attach(sale())
    try app.run("INSERT INTO sale VALUES (1, 1, 'a'); INSERT OR IGNORE INTO sale VALUES (2, 2, 'a')")
    #expect(try edge.waiting() == ["put 1: 1, 1.0, 'a'"])
    try app.run("INSERT INTO sale VALUES (3, 3, 'a') ON CONFLICT (note) DO UPDATE SET price = excluded.price")
    #expect(try edge.waiting() == ["put 1: 1, 3.0, 'a'"])
    try app.run("REPLACE INTO sale VALUES (1, 4, 'a'); DELETE FROM sale")
    #expect(try Set(edge.waiting()) == ["put 1: 1, 4.0, 'a'"])
    #expect(try app.integer("SELECT count(*) FROM drover_kept WHERE field = 'price' AND value <> 4") == 0)
    try edge.confirmAll()
    #expect(try app.integer("SELECT body_bytes FROM drover_space") == 0)
  }

  @Test func `a displaced fact that does not match the filter is not kept`() throws {
    let app = try AppDatabase("CREATE TABLE sale (id INTEGER PRIMARY KEY, price REAL, note TEXT UNIQUE)")
    let declaration = try StreamDeclaration(name: StreamName("sale"), kind: .payload, table: "sale") {
      $0.selection.filter = try Condition(parsing: "price > 1")
    }
    let edge = try app.attach(declaration)
    try app.run("INSERT INTO sale VALUES (1, 1, 'a'), (2, 2, 'b'); REPLACE INTO sale VALUES (3, 3, 'a'), (4, 4, 'b')")
    #expect(try app.integer("SELECT count(DISTINCT value) FROM drover_kept WHERE field = 'id'") == 1)
    #expect(
      try edge.waiting().filter { $0.contains(":") } == [
        "put 2: 2, 2.0, 'b'", "put 3: 3, 3.0, 'a'", "put 4: 4, 4.0, 'b'",
      ])
  }

  @Test func `a rollback of the delete keeps nothing twice`() throws {
    let app = try AppDatabase(sales)
    let edge = try app.attach(sale())
    try app.run("INSERT INTO sale VALUES (1, 1, 'a'); BEGIN; DELETE FROM sale; ROLLBACK")
    #expect(try app.integer("SELECT count(*) FROM drover_kept") == 0)
    try app.run("DELETE FROM sale")
    #expect(try edge.waiting() == ["put 1: 1, 1.0, 'a'"])
  }

  // What was kept had gone through a compound SELECT, whose rows all took the affinity of its first column: in a table that began
  // with an integer key, the text '007' was kept as the number 7 and the price 1.0 as the integer 1.
  @Test func `a kept fact keeps its values' types whatever the first column's type is`() throws {
    let app = try AppDatabase("CREATE TABLE sale (id INTEGER PRIMARY KEY, code TEXT, price REAL, n NUMERIC, b BLOB)")
    let edge = try app.attach(sale())
    try app.run("INSERT INTO sale VALUES (1, '007', 1, 'x', '12'), (2, '1e3', -0.5, 3, 4)")
    let before = try edge.everything()
    try app.run("DELETE FROM sale")
    #expect(try edge.everything() == before)
    #expect(try edge.waiting().first == "put 1: 1, '007', 1.0, 'x', '12'")
  }

  @Test func `a kept fact has the values that its row had, bit for bit`() throws {
    let columns = "i INTEGER, r REAL, t TEXT, b BLOB, n, d DATE, s TEXT AS (t || '!') STORED, v INT AS (i + 1)"
    let app = try AppDatabase("CREATE TABLE sale (k TEXT PRIMARY KEY, \(columns))")
    let edge = try app.attach(sale())
    let insert = "INSERT INTO sale (k, i, r, t, b, n, d) VALUES (?, ?, ?, ?, ?, ?, ?)"
    try app.run(
      insert, .text("x"), .integer(.max - 1), .real(5), .text([0x31, 0, 0xff]), .blob([]), .text("12"),
      .text("2026-11-20"))
    try app.run(
      insert, .text("y"), .text("abc"), .real(.infinity), .text(""), .text("b"), .real(.leastNonzeroMagnitude),
      .integer(3))
    try app.run(insert, .text("z"), .null, .null, .null, .null, .null, .null)
    let before = try edge.everything()
    #expect(before.entries.count == 3)
    try app.run("DELETE FROM sale")
    #expect(try edge.everything() == before)
    #expect(try app.integer("SELECT count(*) FROM sale") == 0)
  }

  @Test func `what was kept goes with the confirmation, and not before`() throws {
    let app = try AppDatabase(sales)
    let edge = try app.attach(sale())
    try app.run("INSERT INTO sale VALUES (1, 1, 'a'), (2, 2, 'b'); DELETE FROM sale")
    try edge.acknowledgeAll()
    let seqs = try edge.acknowledged()[1]!
    #expect(
      try edge.read(.again(stream: 1, interval: seqs.intervals[0], limit: 10), maximumBytes: .max).entries.map(line)
        == ["put 1: 1, 1.0, 'a'", "put 2: 2, 2.0, 'b'"])
    var settlement = Settlement()
    settlement.confirmed[1] = [seqs.last!...seqs.last!]
    try edge.settle(settlement)
    #expect(try app.integer("SELECT count(DISTINCT seq) FROM drover_kept") == 1)
    try edge.confirmAll()
    #expect(try app.integer("SELECT count(*) FROM drover_kept") == 0)
  }

  @Test func `a fact of a table without a primary key is kept too`() throws {
    let app = try AppDatabase("CREATE TABLE sale (price, note)")
    let edge = try app.attach(sale())
    try app.run("INSERT INTO sale VALUES (1, 'a'); DELETE FROM sale; INSERT INTO sale VALUES (2, 'b')")
    #expect(try edge.looking(edge.told).map(\.text) == ["1, 1, 'a'", "1, 2, 'b'"])
  }

  @Test func `an update that changed nothing but the app's flag is no event`() throws {
    let app = try AppDatabase("CREATE TABLE sale (id INTEGER PRIMARY KEY, synced INT); INSERT INTO sale VALUES (1, 0)")
    let edge = try app.attach(.table("sale", kind: .payload, synced: "synced"))
    try app.run("UPDATE sale SET synced = 1")
    #expect(try edge.waiting() == [])
  }

  @Test func `a fact whose key is changed under the rowid's name is captured, also where the app has a flag`() throws {
    let app = try AppDatabase("CREATE TABLE sale (id INTEGER PRIMARY KEY, synced INT); INSERT INTO sale VALUES (1, 0)")
    let edge = try app.attach(.table("sale", kind: .payload, synced: "synced"))
    try app.run("UPDATE sale SET rowid = 2")
    #expect(try edge.waiting() == ["put 2: 2, 1"])
  }

  // SQLite refused: the trigger that keeps deleted rows named the column.
  @Test(arguments: ["TEXT", "TEXT UNIQUE"])
  func `the app may drop, rename and add a column of a table of facts, and what is deleted meanwhile is kept`(
    note: String
  ) throws {
    let app = try AppDatabase("CREATE TABLE sale (id INTEGER PRIMARY KEY, price REAL, note \(note), n INT, last BLOB)")
    let edge = try app.attach(sale())
    try app.run("INSERT INTO sale VALUES (1, 2, '007', 7, x'00'), (2, 3, 'b', 8, x'01')")
    try app.run("ALTER TABLE sale DROP COLUMN n; DELETE FROM sale WHERE id = 1")
    _ = try edge.refresh()
    #expect(try edge.waiting() == ["put 1: 1, 2.0, '007', x'00'", "put 2: 2, 3.0, 'b', x'01'"])
    try app.run("ALTER TABLE sale RENAME COLUMN note TO remark; ALTER TABLE sale ADD COLUMN more DEFAULT 5")
    try app.run("ALTER TABLE sale DROP COLUMN price; DELETE FROM sale")
    _ = try edge.refresh()
    // What the column was called when the row went is not known of another name.
    #expect(try edge.waiting().first == "put 1: 1, NULL, x'00', NULL")
    try app.run("INSERT INTO sale VALUES (3, 'c', NULL, 6)")
    try app.run("DELETE FROM sale")
    #expect(try edge.waiting().last == "put 3: 3, 'c', NULL, 6")
  }

  @Test func `rows without a key and with NULL for one are kept each for itself`() throws {
    let app = try AppDatabase("CREATE TABLE sale (a, b); CREATE TABLE other (k TEXT PRIMARY KEY, b)")
    let edge = try app.attach([sale(), .table("other", kind: .payload)])
    try app.run("INSERT INTO sale VALUES (1, 'x'), (1, 'y'); DELETE FROM sale")
    #expect(try edge.waiting() == ["put 1: 1, 1, 'x'", "put 2: 2, 1, 'y'"])
  }

  // A compound SELECT has at most 500 parts, so such a table could not be attached at all.
  @Test(arguments: ["", " WITHOUT ROWID"])
  func `a fact of 1500 columns is kept too`(form: String) throws {
    let columns = (0..<1500).map { "c\($0)" }
    let app = try AppDatabase("CREATE TABLE sale (\(columns.joined(separator: ", ")), PRIMARY KEY (c7))\(form)")
    let edge = try app.attach(sale())
    try app.run("INSERT INTO sale (c0, c7, c1499) VALUES ('first', 1, 2.0); DELETE FROM sale")
    let line = try #require(try edge.waiting().first)
    #expect(line.hasPrefix("put 1: 'first', NULL") && line.hasSuffix("NULL, 2.0"))
    #expect(try app.integer("SELECT body_bytes FROM drover_space") >= 1500 * 64)
  }
}
