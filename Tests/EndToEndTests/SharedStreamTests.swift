// One machine describes streams so that others are in its way: what it can do to them, with real processes and a broker that lets it write below its
// own name.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct SharedStreamTests {
  private func accept(_ road: Road, _ machine: String, _ stream: String) async throws -> String {
    let outcome = try await Road.drover(
      "schema", "accept", "--config", road.cloudFile, "--machine", machine, "--stream", stream)
    return outcome.output + outcome.errors
  }

  // One machine declared `identity` for a table that another had without it, and brought the other's natural keys with versions near 2^53: 94 of
  // 100 rows of the other were overwritten, and a comparison found nothing.
  @Test func `a machine that declares identity overwrites no other machine's rows`() async throws {
    let first = try Road(streams: "  - {table: stock, kind: snapshot}")
    let evil = try Road(
      "EVIL", broker: first.broker, streams: "  - {table: stock, kind: snapshot, identity: [name]}")
    for (road, level) in [(first, 1.5), (evil, -666)] {
      try await road.python(
        """
        db.execute("CREATE TABLE stock (id INTEGER PRIMARY KEY, name TEXT, level REAL)")
        db.executemany("INSERT INTO stock VALUES (?, ?, ?)", [(n, f"thing {n}", \(level)) for n in range(20)])
        """)
    }
    try first.start(.cloud)
    try first.start(.edge)
    try await first.waitUntilConfirmed(atLeast: 20)
    try evil.start(.edge)
    try await first.wait(for: "its schema waits") {
      try await Road.drover("schema", "list", "--config", first.cloudFile).output.contains("EVIL")
    }
    try await first.python("db.execute('UPDATE stock SET level = 2.5')")
    try await first.waitUntilConfirmed()
    #expect(
      try await first.inCloud("SELECT machine_id, count(*), min(level) FROM stock GROUP BY 1")
        == "[[\"MAH001\", 20, 2.5]]")
    let check = try await Road.drover("check", "--config", first.cloudFile, "--machine", Road.machine)
    #expect(check.status == 0, "\(check.output)")
    #expect(try await accept(first, "EVIL", "stock").contains("stock has the schema of EVIL now"))
    try await evil.waitUntilConfirmed(atLeast: 20)
    #expect(try await first.inCloud("SELECT count(*) FROM stock") == "[[20]]")
  }

  // A table that one bare event had made, a table of lines, and another kind made streams of other machines wait, and a bare event's for good.
  @Test func `who describes a stream first makes others wait until one is accepted, and stays where it was put`()
    async throws
  {
    let squatter = try Road(
      "EVIL",
      streams: """
          - {table: orders, kind: payload}
          - {table: h, kind: batch, with: [{table: visits, references: {h: id}}]}
          - {name: readings, kind: payload}
        """)
    try await squatter.python(
      """
      db.executescript("CREATE TABLE orders (id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE h (id INTEGER PRIMARY KEY);" +
        "CREATE TABLE visits (id INTEGER PRIMARY KEY, h INT); INSERT INTO orders VALUES (1, 'evil'); INSERT INTO h VALUES (1); INSERT INTO visits VALUES (1, 1)")
      """)
    try squatter.start(.cloud)
    try squatter.start(.edge)
    try await squatter.waitUntilConfirmed(atLeast: 2)
    try ChildProcess.run(
      "mosquitto_pub",
      [
        "-p", "\(squatter.broker.port)", "-q", "1", "-t", "drover/v1/EVIL/snapshot/parts", "-m",
        #"{"id":"1","body":1}"#,
      ])
    try await squatter.wait(for: "the bare event") {
      try await squatter.inCloud("SELECT count(*) FROM parts") == "[[1]]"
    }

    let tables = ["orders", "visits", "parts", "other"]
    let road = try Road(
      broker: squatter.broker, streams: tables.map { "  - {table: \($0), kind: snapshot}" }.joined(separator: "\n"))
    try await road.python(
      tables.map {
        "db.execute('CREATE TABLE \($0) (id INTEGER PRIMARY KEY, v TEXT)'); db.execute(\"INSERT INTO \($0) VALUES (1, 'a')\")"
      }.joined(separator: "\n"))
    try road.start(.edge)
    func count(_ table: String) async throws -> String {
      try await squatter.inCloud("SELECT count(*) FROM \(table) WHERE machine_id = '\(Road.machine)' AND v = 'a'")
    }
    // Until then it is the bare event's.
    try await squatter.wait(for: "parts, as described") {
      try await squatter.inCloud("SELECT count(*) FROM pragma_table_info('parts') WHERE name = 'v'") == "[[1]]"
    }
    for table in ["parts", "other"] {
      try await squatter.wait(for: "\(table), which nothing stops") { try await count(table) == "[[1]]" }
    }
    let list = try await Road.drover("schema", "list", "--config", squatter.cloudFile).output
    #expect(list.contains("orders is of kind payload") && list.contains("visits is for the lines of h"))
    for table in ["orders", "visits"] {
      #expect(try await accept(squatter, Road.machine, table).contains("\(table)_until_"))
      try await squatter.wait(for: table) { try await count(table) == "[[1]]" }
    }
    // The squatter describes all of it again, and brings more.
    try await squatter.python(
      "db.execute(\"INSERT INTO orders VALUES (2, 'evil')\"); db.execute('INSERT INTO h VALUES (2)')")
    try squatter.restart(.edge, SIGTERM)
    try await road.python(
      "db.execute(\"UPDATE orders SET v = 'b'\"); db.execute(\"INSERT INTO orders VALUES (2, 'a')\")")
    try await squatter.wait(for: "the accepted stream goes on") { try await count("orders") == "[[1]]" }
    #expect(try await squatter.inCloud("SELECT DISTINCT machine_id FROM orders") == "[[\"\(Road.machine)\"]]")
    let waiting = try await Road.drover("schema", "list", "--config", squatter.cloudFile).output
    #expect(waiting.contains("EVIL     orders") && waiting.contains("its lines visits"))
  }
}
