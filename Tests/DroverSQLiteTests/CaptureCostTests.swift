import DroverCore
import DroverSQLite
import Testing

/// What capture may not cost an app. Times are measured by `drover bench`; here stands what can be counted.
@Suite struct CaptureCostTests {
  private static let tables = """
    CREATE TABLE stock (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO stock VALUES (1, 'a');
    CREATE TABLE facts (id INTEGER PRIMARY KEY, v TEXT);
    """

  // INSERT ... SELECT that reads the table it writes goes through a temporary table in SQLite, opened for every row. In a program with threads the
  // memory for it went back to the system each time, and a row among a thousand took 34 times as long as without capture.
  @Test(arguments: [
    "INSERT INTO stock (v) VALUES ('b')", "UPDATE stock SET v = 'c' WHERE id = 1", "DELETE FROM stock WHERE id = 1",
  ])
  func `a row that an app writes needs no temporary table`(sql: String) throws {
    let app = try AppDatabase(Self.tables)
    func temporary() throws -> (tables: Int, triggers: Int) {
      // EXPLAIN does not notice that the schema has changed; this does.
      try app.run("SELECT 1 FROM stock")
      let program = try app.lines("EXPLAIN \(sql)")
      return (
        program.count { $0.contains("'OpenEphemeral'") || $0.contains("'OpenAutoindex'") },
        program.count { $0.contains("'Program'") }
      )
    }
    let before = try temporary()
    let edge = try app.attach(.table("stock"))
    let after = try temporary()
    #expect(before.triggers == 0 && after.triggers > 0)
    #expect(after.tables == before.tables)
    withExtendedLifetime(edge) {}
  }

  // A tool that empties tables takes the row that the next seq comes from. A trigger that needs it would fail, and the app's write with it; and the
  // agent ended with a fatal error, again at each start.
  @Test(arguments: ["running", "stopped"])
  func `an app writes on though drover_clock was emptied, and the agent brings all`(agent: String) throws {
    let app = try AppDatabase(Self.tables)
    let streams: [StreamDeclaration] = try [.table("stock"), .table("facts", kind: .payload)]
    var edge = try app.attach(streams)
    try app.run("DELETE FROM drover_clock; INSERT INTO stock (v) VALUES ('b'); INSERT INTO facts VALUES (1, 'f')")
    try app.run("UPDATE stock SET v = 'c' WHERE id = 1; DELETE FROM stock WHERE id = 2")
    if agent == "stopped" {
      edge = try app.attach(streams, settled: false)
    } else {
      #expect {
        _ = try edge.everything()
      } throws: { error in
        if case EdgeStoreError.otherDatabase = error { true } else { false }
      }
      try edge.startEpoch(because: "drover_clock was emptied")
    }
    try edge.bringAll()
    let waiting = try edge.waiting()
    #expect(waiting.contains { $0.contains("1, 'c'") } && waiting.contains { $0.contains("1, 'f'") }, "\(waiting)")
  }
}
