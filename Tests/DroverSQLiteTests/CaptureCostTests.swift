import DroverCore
import DroverSQLite
import Testing

/// What capture may not cost an app. Times are measured by `drover bench`; here stands what can be counted.
@Suite struct CaptureCostTests {
  private static let tables = """
    CREATE TABLE stock (id INTEGER PRIMARY KEY, v TEXT, mark TEXT UNIQUE); INSERT INTO stock VALUES (1, 'a', 'm');
    CREATE TABLE facts (id INTEGER PRIMARY KEY, v TEXT);
    CREATE TABLE orders (id INTEGER PRIMARY KEY, done INT); INSERT INTO orders VALUES (1, 0);
    CREATE TABLE lines (no INTEGER PRIMARY KEY, order_id INT); INSERT INTO lines VALUES (1, 1);
    """

  // INSERT ... SELECT that reads the table it writes goes through a temporary table in SQLite, opened for every row. In a program with threads the
  // memory for it was given back to the system each time, and a row among a thousand took 34 times as long as without capture.
  @Test(arguments: [
    "INSERT INTO stock (v) VALUES ('b')", "UPDATE stock SET v = 'c'", "DELETE FROM stock",
    "INSERT INTO facts (v) VALUES ('f')", "INSERT INTO orders (done) VALUES (0)",
    "INSERT INTO lines (order_id) VALUES (1)",
    "UPDATE lines SET no = 7",
  ])
  func `a row that an app writes needs no temporary table`(sql: String) throws {
    let app = try AppDatabase(Self.tables)
    let edge = try app.attach([
      .table("stock"), .table("facts", kind: .payload),
      .batch("orders", completeWhen: "done = 1", with: .lines("lines", ["order_id": "id"])),
    ])
    let program = try app.lines("EXPLAIN \(sql)")
    #expect(program.contains { $0.contains("drover_outbox") } || program.contains { $0.contains("'Program'") })
    #expect(!program.contains { $0.contains("'OpenEphemeral'") || $0.contains("'OpenAutoindex'") })
    withExtendedLifetime(edge) {}
  }

  // A tool that empties tables took the row that the next seq comes from; a trigger that needs it would have failed, and the app's write with it.
  @Test func `an app writes on though drover_clock was emptied, and the agent brings all`() throws {
    let app = try AppDatabase(Self.tables)
    let edge = try app.attach([.table("stock"), .table("facts", kind: .payload)])
    try app.run("DELETE FROM drover_clock; INSERT INTO stock (v) VALUES ('b'); INSERT INTO facts VALUES (1, 'f')")
    try app.run("UPDATE stock SET v = 'c' WHERE id = 1; DELETE FROM stock WHERE id = 2")
    #expect {
      _ = try edge.everything()
    } throws: { error in
      if case EdgeStoreError.otherDatabase = error { true } else { false }
    }
    try edge.startEpoch(because: "drover_clock was emptied")
    try edge.bringAll()
    let waiting = try edge.waiting()
    #expect(waiting.contains { $0.contains("1, 'c', 'm'") } && waiting.contains { $0.contains("1, 'f'") }, "\(waiting)")
  }
}
