// A machine's database is gone, and comes again from the cloud.

import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct RestoreTests {
  private static let streams = """
      - table: stock
        kind: snapshot
        synced_column: synced
        name: levels
      - table: sale
        kind: payload
      - table: note
        kind: snapshot
      - name: reading
        kind: payload
    """
  private static let make = """
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE stock (id INTEGER PRIMARY KEY, name TEXT UNIQUE, level REAL, synced INTEGER NOT NULL DEFAULT 0)")
    db.execute("CREATE TABLE sale (shop TEXT, number INTEGER, amount, PRIMARY KEY (shop, number)) WITHOUT ROWID")
    db.execute("CREATE TABLE note (at TEXT, content)")
    """
  private static let fill = """
    db.executemany("INSERT INTO stock (name, level) VALUES (?, ?)", [(f"thing {n}", n / 7) for n in range(1000)])
    db.executemany("INSERT INTO sale VALUES ('a', ?, ?)", [(n, n * 3) for n in range(300)])
    db.executemany("INSERT INTO sale VALUES ('b', ?, CAST(? AS TEXT))", [(n, b"\\xff\\x00" + bytes([n])) for n in range(100)])
    db.executemany("INSERT INTO note VALUES ('now', ?)", [(-0.0,), (b"",), (b"\\x00\\xff",), (2**63 - 1,), (None,), ("007",)])
    db.execute("DELETE FROM note WHERE rowid = 2")
    """

  private func replicated() async throws -> Road {
    let road = try Road(streams: Self.streams)
    try await road.python(Self.make + "\n" + Self.fill)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 1405)
    return road
  }

  private func lose(_ road: Road) {
    road.end(.edge, SIGKILL)
    for end in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: road.app + end) }
  }

  private func restore(_ road: Road, _ arguments: String...) async throws -> Road.Outcome {
    try await Road.run(
      Road.drover,
      ["restore", "--config", road.cloudFile, "--machine", Road.machine, "--table", "levels=stock", "--to", road.app]
        + arguments)
  }

  private func expectGoesOn(_ road: Road) async throws {
    try road.start(.edge)
    try await road.wait(for: "the agent is attached") { try await road.status()?.attached ?? false }
    try await road.python(
      """
      db.execute("UPDATE stock SET level = 5, synced = 0 WHERE id = 3")
      db.execute("INSERT INTO stock VALUES (5000, 'new', 1, 0)")
      db.execute("INSERT INTO sale VALUES ('c', 1, 1)")
      db.execute("INSERT INTO note VALUES ('later', 1)")
      """)
    try await road.waitUntilConfirmed()
    try await Road.script("compare.py", [road.app, road.cloud, Road.machine, "--tables", "sale,note"])
    let check = try await Road.drover("check", "--config", road.cloudFile)
    #expect(check.status == 0, "\(check.output)")
    #expect(try await road.inCloud("SELECT level FROM levels WHERE id IN (3, 5000) ORDER BY id") == "[[5.0], [1.0]]")
    #expect(try await road.inCloud("SELECT count(*) FROM sale") == "[[401]]")
    #expect(try await road.inCloud("SELECT count(*) FROM drover_dead_letter") == "[[0]]")
  }

  @Test func `a machine's database is made again from the cloud, and goes on`() async throws {
    let road = try await replicated()
    let running = try await restore(road, "--yes")
    #expect(running.status == 1 && running.errors.contains("an agent works on this database"))
    lose(road)
    let restored = try await restore(road)
    #expect(restored.status == 0, "\(restored.errors)")
    #expect(restored.output.contains("1000") && restored.output.contains("made"))
    try await Road.script("compare.py", [road.app, road.cloud, Road.machine, "--tables", "sale,note"])
    try await expectGoesOn(road)
  }

  @Test func `tables that the app has made again are filled, after a question`() async throws {
    let road = try await replicated()
    lose(road)
    try await road.python(
      Self.make + "\ndb.execute(\"INSERT INTO stock VALUES (1, 'another', 0, 0), (9000, 'mine', 0, 0)\")")
    let asked = try await restore(road)
    #expect(asked.status == 64 && asked.errors.contains("there is no terminal to ask at"))
    #expect(asked.output.contains("would change") && asked.output.contains("999"))
    #expect(try await road.python("print(db.execute('SELECT count(*) FROM stock').fetchone()[0])") == "2")
    let filled = try await restore(road, "--yes")
    #expect(filled.status == 0, "\(filled.errors)")
    #expect(try await road.python("print(db.execute('SELECT count(*) FROM stock').fetchone()[0])") == "1001")
    let exact = try await restore(road, "--yes", "--replace")
    #expect(exact.status == 0 && exact.output.contains("deleted"))
    // The command asked about tables in which nothing would change.
    let same = try await restore(road, "--replace")
    #expect(same.status == 0 && same.output.contains("unchanged"), "\(same)")
    #expect(try await road.python("print(db.execute('SELECT count(*) FROM stock').fetchone()[0])") == "1000")
    try await expectGoesOn(road)
  }
}
