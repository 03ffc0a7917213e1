// From an app to PostgreSQL, through real processes and a server of the test's own.

import DroverPostgreSQL
import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.serialized) struct PostgreSQLTests {
  private static let streams = """
      - table: pen
        kind: snapshot
      - name: reading
        kind: payload
    """
  private static let makePens = """
    db.execute("CREATE TABLE pen (id INTEGER PRIMARY KEY, name TEXT, level REAL, count INT, sold BOOLEAN, raw BLOB, at DATETIME, price DECIMAL(10,2), anything)")
    def row(n): return (f"pen {n} größe", n / 7, n * 2**40, n % 2, bytes([n % 256, 0]), f"2026-01-{n % 28 + 1:02} 10:00:00", n if n % 3 else n + 0.25, [n, n / 2, str(n), bytes([n % 256]), None][n % 5])
    """

  /// Rows as JSON, in one form for both databases.
  private static let inApp = """
    print(json.dumps([[x.hex() if isinstance(x, bytes) else x for x in r] for r in db.execute("SELECT id, name, level, count, sold, raw, at, price FROM pen ORDER BY id")]))
    """
  private static let inStore = """
    SELECT json_agg(json_build_array(id, name, level, count, sold::integer, encode(raw, 'hex'), at, price) ORDER BY id)::text FROM pen
    """

  private func parsed(_ json: String) throws -> NSArray {
    try JSONSerialization.jsonObject(with: Data(json.utf8)) as! NSArray
  }

  @Test func `a thousand rows with updates and deletes are equal in PostgreSQL, with the consumer killed in between`()
    async throws
  {
    let server = try PostgreSQLServer()
    let road = try Road(streams: Self.streams, store: server.uri())
    let store = try Connection(PostgreSQLAddress(uri: server.uri()))
    try await road.python(Self.makePens)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.wait(for: "the attached agent") { try await road.status()?.attached == true }
    let insert =
      "db.executemany('INSERT INTO pen (name, level, count, sold, raw, at, price, anything) VALUES (?,?,?,?,?,?,?,?)', [row(n) for n in range(%d, %d)])"
    let makeRow = Self.makePens.split(separator: "\n")[1]
    try await road.python("\(makeRow)\n\(String(format: insert, 0, 500))")
    try await road.wait(for: "the first rows") {
      // The table comes with the description of the stream.
      try store.query("SELECT to_regclass('pen') IS NOT NULL").boolean(0, 0)
        && store.query("SELECT count(*) FROM pen").integer(0, 0) > 0
    }
    road.end(.cloud, SIGKILL)
    try await road.python(
      """
      \(makeRow)
      \(String(format: insert, 500, 1000))
      db.execute("UPDATE pen SET name = name || '!', level = -0.5 WHERE id % 3 = 0")
      db.execute("DELETE FROM pen WHERE id % 7 = 0")
      """)
    try road.start(.cloud)
    try await road.python("db.execute('UPDATE pen SET count = count + 1 WHERE id % 5 = 0')")
    let emitted = try await Road.drover(
      "emit", "--config", road.edgeFile, "--stream", "reading", "-", input: "{\"celsius\": 21.50}\n")
    #expect(emitted.status == 0, "\(emitted.errors)")
    try await road.waitUntilConfirmed(atLeast: 1000)
    #expect(try await parsed(road.python(Self.inApp)) == parsed(store.query(Self.inStore).text(0, 0)))
    #expect(try store.query("SELECT count(*) FROM pen").integer(0, 0) == 858)
    #expect(try store.query("SELECT body::text FROM reading").text(0, 0) == "{\"celsius\": 21.50}")
    #expect(try store.query("SELECT count(*) FROM drover_dead_letter").integer(0, 0) == 0)
    // A crash of the server is one more delivery, and nothing else.
    server.kill()
    try await road.python("db.execute('UPDATE pen SET sold = 1 - sold')")
    try server.start()
    try await road.waitUntilConfirmed(atLeast: 1858)
    let again = try Connection(PostgreSQLAddress(uri: server.uri()))
    #expect(try await parsed(road.python(Self.inApp)) == parsed(again.query(Self.inStore).text(0, 0)))
  }

  @Test func `a second consumer, a wrong address and commands that know no PostgreSQL say so`() async throws {
    let server = try PostgreSQLServer()
    let road = try Road(streams: Self.streams, store: server.uri())
    try road.start(.cloud)
    try await road.wait(for: "the consumer") { road.log(of: .cloud).contains("cloud consumer: ") }
    let second = try await Road.drover("cloud", "--config", road.cloudFile)
    #expect(second.status == 1 && second.errors.contains("another consumer works on this database"))
    let elsewhere = try Road(streams: Self.streams, store: server.uri("nowhere"))
    let refused = try await Road.drover("cloud", "--config", elsewhere.cloudFile)
    #expect(refused.status == 1 && refused.errors.contains("CREATE DATABASE"))
    for words in [
      ["status"], ["check"], ["dead", "list"], ["schema", "list"], ["backup"], ["rebuild", "--yes"],
      ["resync", "--machine", "MAH001"], ["restore", "--machine", "MAH001", "--to", "app.db"],
    ] {
      let outcome = try await Road.run(Road.drover, words + ["--config", road.cloudFile])
      #expect(outcome.status == 78, "\(words)")
      #expect(outcome.errors.contains("does not know PostgreSQL stores yet"), "\(words): \(outcome.errors)")
    }
  }
}
