// Comparing the cloud with a machine, with real processes on both sides.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct CheckTests {
  private static let streams = """
      - table: stock
        kind: snapshot
        synced_column: synced
      - table: sale
        kind: payload
    """
  private static let make = """
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE stock (id INTEGER PRIMARY KEY, name TEXT, level REAL, synced INTEGER NOT NULL DEFAULT 0)")
    db.execute("CREATE TABLE sale (shop TEXT, number INTEGER, amount, PRIMARY KEY (shop, number)) WITHOUT ROWID")
    db.executemany("INSERT INTO stock (name, level) VALUES (?, ?)", [(f"thing {n}", n / 7) for n in range(3000)])
    db.executemany("INSERT INTO sale VALUES ('a', ?, ?)", [(n, n * 3) for n in range(500)])
    """

  private struct Result: Decodable, Equatable {
    var stream: String
    var rows_at_edge: Int
    var rows_in_cloud: Int
    var missing: Int
    var extra: Int
    var different: Int
    var conflicts: Int
    var stray_lines: Int
    var on_their_way: Int
    var repaired: Int
    var drift: Int
    var failure: String?
  }

  private func check(_ road: Road, _ arguments: String...) async throws -> (status: Int32, results: [String: Result]) {
    let outcome = try await Road.run(Road.drover, ["check", "--config", road.cloudFile, "--json"] + arguments)
    let results = try JSONDecoder().decode([Result].self, from: Data(outcome.output.utf8))
    return (outcome.status, Dictionary(uniqueKeysWithValues: results.map { ($0.stream, $0) }))
  }

  private func replicated() async throws -> Road {
    let road = try Road(streams: Self.streams)
    try await road.python(Self.make)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 3500)
    return road
  }

  @Test func `what differs is found row by row, and mended with those rows alone`() async throws {
    let road = try await replicated()
    let equal = try await check(road)
    #expect(equal.status == 0)
    #expect(
      equal.results.values.allSatisfy { $0.drift == 0 && $0.failure == nil && $0.rows_at_edge == $0.rows_in_cloud })
    #expect(equal.results["stock"]?.rows_at_edge == 3000 && equal.results["sale"]?.rows_at_edge == 500)

    // Behind Drover's back in the cloud, and at the edge past the triggers, which come back as they were.
    try await road.python(
      """
      db.execute("UPDATE stock SET level = -level WHERE id = 17")
      db.execute("DELETE FROM stock WHERE id IN (20, 2999)")
      db.execute("INSERT INTO stock SELECT machine_id, id + 10000, name, level, synced, drover_epoch, drover_version FROM stock WHERE id = 5")
      db.execute("DELETE FROM sale WHERE number = 7")
      db.execute("UPDATE sale SET amount = '24' WHERE number = 8")
      """, database: road.cloud)
    try await road.python(
      """
      triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name IN ('stock', 'sale')").fetchall()
      db.isolation_level = None
      db.execute("BEGIN IMMEDIATE")
      for name, _ in triggers: db.execute(f"DROP TRIGGER {name}")
      db.execute("UPDATE stock SET name = 'unseen' WHERE id = 40")
      db.execute("DELETE FROM sale WHERE number = 9")
      for _, sql in triggers: db.execute(sql)
      db.execute("COMMIT")
      """)
    // The tables' schema version rose; the agent finds its triggers as they should be.
    let applied = try await road.cloudStatus()!.machines[0].streams.first { $0.name == "stock" }!.applied
    let differs = try await check(road)
    #expect(differs.status == 1)
    let stock = try #require(differs.results["stock"])
    #expect((stock.missing, stock.extra, stock.different, stock.conflicts) == (2, 1, 2, 0))
    let sale = try #require(differs.results["sale"])
    // A fact that the edge no longer has is none too many in the cloud.
    #expect((sale.missing, sale.extra, sale.different, sale.conflicts) == (1, 0, 0, 1))
    #expect(try await road.cloudStatus()!.machines[0].streams.first { $0.name == "stock" }!.applied == applied)

    let mended = try await check(road, "--repair")
    #expect(mended.status == 1, "the conflict is left")
    #expect(mended.results["stock"]?.repaired == 5 && mended.results["stock"]?.drift == 0)
    #expect(mended.results["sale"]?.repaired == 1 && mended.results["sale"]?.drift == 1)
    try await Road.script("compare.py", [road.app, road.cloud, Road.machine, "--tables", "stock"])
    #expect(
      try await road.cloudStatus()!.machines[0].streams.first { $0.name == "stock" }!.applied == applied + 5,
      "only the rows that differ are sent")
    let status = try await Road.drover("status", "--config", road.cloudFile)
    #expect(status.output.contains("equal, ") && status.output.contains("1 differs, "))
  }

  @Test func `what no trigger can see is found and mended`() async throws {
    let road = try Road(streams: "  - table: t\n    kind: snapshot\n")
    try await road.python(
      """
      db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a, open INT)")
      db.execute("CREATE UNIQUE INDEX one_open ON t (open) WHERE open > 0")
      db.executemany("INSERT INTO t VALUES (?, x'0000', ?)", [(n, n) for n in range(10)])
      """)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 10)
    // A REPLACE through an index with a condition, and an open BLOB.
    try await road.python(
      """
      db.execute("REPLACE INTO t VALUES (10, x'0001', 5)")
      with db.blobopen("t", "a", 3) as blob: blob.write(b"z")
      """)
    try await road.waitUntilConfirmed(atLeast: 11)
    let differs = try await check(road)
    #expect(differs.results["t"]?.extra == 1 && differs.results["t"]?.different == 1, "\(differs.results)")
    #expect(try await check(road, "--repair").status == 0)
    try await road.waitUntilConfirmed()
    try await Road.script("compare.py", [road.app, road.cloud, Road.machine])
  }

  @Test func `what is on its way while it is compared is no drift`() async throws {
    let road = try await replicated()
    async let writing: String = road.python(
      """
      import random, time
      db.isolation_level = None
      db.execute("PRAGMA busy_timeout = 10000")
      chance = random.Random(1)
      for n in range(1500):
        db.execute("UPDATE stock SET level = level + 1, synced = 0 WHERE id = ?", (chance.randrange(1, 3001),))
        if n % 10 == 0: db.execute("INSERT INTO sale VALUES ('b', ?, 1)", (n,))
        if n % 15 == 0: db.execute("DELETE FROM stock WHERE id = ?", (chance.randrange(1, 3001),))
        time.sleep(0.002)
      """)
    for _ in 0..<4 {
      let round = try await check(road)
      #expect(round.results.values.allSatisfy { $0.drift == 0 && $0.failure == nil }, "\(round.results)")
      #expect(round.status == 0)
    }
    _ = try await writing
    try await road.waitUntilConfirmed()
    #expect(try await check(road).results["stock"]?.on_their_way == 0)
  }

  @Test func `lines are compared with their header, hashes and filters with what travels`() async throws {
    let road = try Road(
      streams: """
          - table: receipts
            kind: batch
            with:
              - table: lines
          - table: people
            kind: snapshot
            exclude: [secret]
            hash: [phone]
            where: "level > 2"
        """, edge: "hash_key_file: ./hash_key")
    try road.folder.write("a secret of the machine's own", to: "hash_key")
    try await road.python(
      """
      db.execute("CREATE TABLE receipts (id INTEGER PRIMARY KEY, total REAL)")
      db.execute("CREATE TABLE lines (id INTEGER PRIMARY KEY, receipt INTEGER REFERENCES receipts (id), amount)")
      db.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, phone TEXT, level INTEGER, secret TEXT)")
      db.executemany("INSERT INTO receipts (total) VALUES (?)", [(n,) for n in range(300)])
      db.executemany("INSERT INTO lines (receipt, amount) VALUES (?, ?)", [(1 + n % 300, n) for n in range(900)])
      db.executemany("INSERT INTO people (phone, level, secret) VALUES (?, ?, 's')", [(f"+49 {n}", n % 6) for n in range(300)])
      """)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 450)
    let equal = try await check(road)
    #expect(equal.status == 0, "\(equal.results)")
    #expect(equal.results["receipts"]?.rows_at_edge == 300 && equal.results["people"]?.rows_at_edge == 150)
    try await road.python(
      "db.execute('UPDATE lines SET amount = 0 WHERE id = 77'); db.execute('DELETE FROM lines WHERE receipt = 9')",
      database: road.cloud)
    #expect(try await check(road).results["receipts"]?.different == 2)
    let mended = try await check(road, "--repair")
    #expect(mended.status == 0 && mended.results["receipts"]?.repaired == 2, "\(mended.results)")
    #expect(try await road.inCloud("SELECT count(*), sum(amount) FROM lines") == "[[900, 404550]]")

    // Lines without their header, of which the machine has never heard; and those of a header that the machine still has.
    try await road.python(
      """
      db.execute("INSERT INTO lines (machine_id, id, receipt, amount, drover_epoch, drover_version) VALUES ('MAH001', 5000, 4711, 1, 1, 1), ('MAH001', 5001, NULL, 1, 1, 1), ('other', 5000, 4711, 1, 1, 1)")
      db.execute("DELETE FROM receipts WHERE id = 9")
      """, database: road.cloud)
    let stray = try await check(road)
    #expect(stray.status == 1 && stray.results["receipts"]?.stray_lines == 5, "\(stray.results)")
    #expect(stray.results["receipts"]?.missing == 1)
    let swept = try await check(road, "--repair")
    #expect(swept.status == 0 && swept.results["receipts"]?.drift == 0, "\(swept.results)")
    #expect(
      try await road.inCloud("SELECT machine_id, count(*) FROM lines GROUP BY 1")
        == "[[\"MAH001\", 900], [\"other\", 1]]")
    #expect(try await check(road).status == 0)
  }

  @Test func `a machine that does not answer is said, with its status`() async throws {
    let road = try await replicated()
    road.end(.edge, SIGKILL)
    // The store hears of it with the last will.
    try await road.wait(for: "the machine is offline") { try await road.cloudStatus()?.machines.first?.online == false }
    let away = try await check(road)
    #expect(away.status == 2)
    #expect(away.results["stock"]?.failure == "the machine is offline")
    let unknown = try await Road.drover("check", "--config", road.cloudFile, "--stream", "nothing")
    #expect(unknown.status == 1 && unknown.errors.contains("knows no such stream"))
  }

  @Test func `the consumer compares and mends by itself at its interval`() async throws {
    let road = try Road(streams: Self.streams, cloud: "check: {every: 5s, repair: true}")
    try await road.python(Self.make)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 3500)
    try await road.python("db.execute('DELETE FROM stock WHERE id % 10 = 3')", database: road.cloud)
    try await road.wait(for: "the rows are back") { try await road.inCloud("SELECT count(*) FROM stock") == "[[3000]]" }
    try await road.wait(for: "the log says so") {
      road.log(of: .cloud).contains("300 rows repaired")
    }
    road.end(.cloud)
    #expect(road.log(of: .cloud).contains("stopped"))
  }
}
