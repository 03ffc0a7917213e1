// Tables that become something else while everything runs.

import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct SchemaTests {
  private static let streams = """
      - table: stock
        kind: snapshot
      - table: pen
        kind: snapshot
    """

  private func replicated() async throws -> Road {
    // What waits is more than the window holds.
    let road = try Road(streams: Self.streams, edge: "window: {events: 100, bytes: 1MiB}\nframe: {events: 10}")
    try await road.python(
      """
      db.execute("PRAGMA journal_mode = WAL")
      db.execute("CREATE TABLE stock (id INTEGER PRIMARY KEY, name TEXT, level INT)")
      db.execute("CREATE TABLE pen (id INTEGER PRIMARY KEY, name TEXT)")
      db.executemany("INSERT INTO stock VALUES (?, ?, ?)", [(n, f"thing {n}", n) for n in range(50)])
      db.execute("INSERT INTO pen VALUES (0, 'first')")
      """)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 51)
    return road
  }

  @Test func `a table with another key stops its stream alone, until somebody accepts it`() async throws {
    let road = try await replicated()
    #expect(try await Road.drover("schema", "list", "--config", road.cloudFile).output == "no schema waits\n")
    try await road.python(
      """
      db.isolation_level = None
      db.execute("BEGIN IMMEDIATE")
      db.execute("DROP TABLE stock")
      db.execute("CREATE TABLE stock (code TEXT PRIMARY KEY, name TEXT, price REAL)")
      db.executemany("INSERT INTO stock VALUES (?, ?, ?)", [(f"c{n}", f"thing {n}", n / 4) for n in range(400)])
      db.execute("COMMIT")
      """)
    try await road.wait(for: "the schema waits") {
      try await Road.drover("schema", "list", "--config", road.cloudFile).output.contains("MAH001")
    }
    let list = try await Road.drover("schema", "list", "--config", road.cloudFile).output
    #expect(list.contains("its key is code, and the sink table's is id"))
    #expect(list.contains("new: code, price") && list.contains("no longer there: id, level"))
    // The other stream goes on, with more than the window holds.
    try await road.python("db.executemany('INSERT INTO pen VALUES (?, ?)', [(n, 'x') for n in range(1, 500)])")
    try await road.wait(for: "the other stream") { try await road.inCloud("SELECT count(*) FROM pen") == "[[500]]" }
    #expect(try await road.inCloud("SELECT count(*), sum(level) FROM stock") == "[[50, 1225]]")
    let status = try await Road.drover("status", "--config", road.cloudFile)
    #expect(status.output.contains("stock of MAH001 waits at the machine: its key is code"))

    #expect(try await road.inCloud("SELECT count(*) FROM drover_dead_letter") == "[[0]]")

    // The consumer runs meanwhile.
    let accepted = try await Road.drover(
      "schema", "accept", "--config", road.cloudFile, "--machine", Road.machine, "--stream", "stock")
    #expect(accepted.status == 0, "\(accepted.errors)")
    try await road.waitUntilConfirmed()
    try await Road.script("compare.py", [road.app, road.cloud, Road.machine])
    let aside = try #require(accepted.output.split(separator: " ").first { $0.hasPrefix("stock_until_") })
      .prefix { $0 != "\n" }
    #expect(try await road.inCloud("SELECT count(*), sum(level) FROM \(aside)") == "[[50, 1225]]")
    let check = try await Road.drover("check", "--config", road.cloudFile)
    #expect(check.status == 0, "\(check.output)")
    #expect(try await Road.drover("schema", "list", "--config", road.cloudFile).output == "no schema waits\n")
    #expect(try await road.inCloud("SELECT count(*) FROM drover_dead_letter") == "[[0]]")
    let again = try await Road.drover(
      "schema", "accept", "--config", road.cloudFile, "--machine", Road.machine, "--stream", "stock")
    #expect(again.status == 1 && again.errors.contains("none of stock of MAH001 waits"))
  }

  @Test func `columns that come, go, come back and change their type are followed by themselves`() async throws {
    let road = try await replicated()
    let changes = [
      "ALTER TABLE stock ADD COLUMN price REAL DEFAULT 2.5", "ALTER TABLE stock DROP COLUMN level",
      "ALTER TABLE stock ADD COLUMN level TEXT DEFAULT '007'", "ALTER TABLE stock RENAME COLUMN name TO title",
      "CREATE TABLE s2 (id INTEGER PRIMARY KEY, title, level, price TEXT)",
      "INSERT INTO s2 SELECT id, CAST(title AS BLOB), id * 1.0, price FROM stock", "DROP TABLE stock",
      "ALTER TABLE s2 RENAME TO stock",
    ]
    for (number, change) in changes.enumerated() {
      try await road.python(
        """
        db.execute("\(change)")
        if \(number) < 5 or \(number) == 7:
          db.execute("INSERT INTO stock (id) VALUES (?)", (1000 + \(number),))
        """)
      if number < 4 || number == 7 {
        try await road.waitUntilConfirmed(atLeast: 52 + number)
        try await road.wait(for: "the change has arrived: \(change)") {
          try await road.inCloud("SELECT count(*) FROM stock WHERE id = \(1000 + number)") == "[[1]]"
        }
        try await road.waitUntilConfirmed()
        try await Road.script("compare.py", [road.app, road.cloud, Road.machine])
      }
    }
    #expect(try await road.inCloud("SELECT count(*) FROM drover_dead_letter") == "[[0]]")
    #expect(try await Road.drover("check", "--config", road.cloudFile).status == 0)
  }

  @Test func `facts get the values of a column that was added, and none of them is a conflict`() async throws {
    let road = try Road(streams: "  - table: sale\n    kind: payload")
    try await road.python(
      """
      db.execute("CREATE TABLE sale (id INTEGER PRIMARY KEY, amount INT)")
      db.executemany("INSERT INTO sale VALUES (?, ?)", [(n, n) for n in range(300)])
      """)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 300)
    try await road.python(
      """
      db.execute("ALTER TABLE sale ADD COLUMN currency TEXT DEFAULT 'EUR'")
      db.execute("INSERT INTO sale VALUES (1000, 5, NULL)")
      """)
    try await road.wait(for: "the values") {
      // The column comes first.
      let column = try await road.inCloud("SELECT name FROM pragma_table_info('sale') WHERE name = 'currency'")
      guard column != "[]" else { return false }
      return try await road.inCloud("SELECT count(*) FROM sale WHERE currency = 'EUR'") == "[[300]]"
    }
    try await road.waitUntilConfirmed(atLeast: 601)
    try await Road.script("compare.py", [road.app, road.cloud, Road.machine])
    #expect(try await road.inCloud("SELECT count(*) FROM drover_dead_letter") == "[[0]]")
    #expect(try await Road.drover("check", "--config", road.cloudFile).status == 0)
  }
}
