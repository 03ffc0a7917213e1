// One renamed column, or one table that only the app can read, stopped every stream of the machine for good, and the cloud showed it as online with
// nothing waiting (issue 15).

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct StreamWaitTests {
  /// What only the app's own connections have.
  private static let own = """
    db.create_function('slug', 1, lambda s: s.lower(), deterministic=True)
    db.create_collation('unicase', lambda x, y: (x.lower() > y.lower()) - (x.lower() < y.lower()))

    """
  private static let tables =
    own + """
      db.execute('PRAGMA journal_mode = WAL')
      db.execute('CREATE TABLE cust (id INTEGER PRIMARY KEY, name TEXT, ssn TEXT)')
      db.execute('CREATE TABLE odd (name TEXT COLLATE unicase PRIMARY KEY, n INT)')
      db.execute('CREATE TABLE slugs (id INTEGER PRIMARY KEY, name TEXT, s TEXT AS (slug(name)) VIRTUAL)')
      db.execute('CREATE TABLE sales (id INTEGER PRIMARY KEY, v TEXT)')
      db.execute("INSERT INTO cust VALUES (1, 'Ann', 's')")
      db.execute("INSERT INTO sales VALUES (1, 'a')")
      """

  @Test func `streams that cannot be read wait alone, both sides say so, and they go on when they are mended`()
    async throws
  {
    let road = try Road(
      streams: """
          - {table: cust, kind: snapshot, exclude: [ssn]}
          - {table: odd, kind: snapshot}
          - {table: slugs, kind: snapshot}
          - {table: sales, kind: snapshot}
        """, edge: "status_every: 1s")
    try await road.python(Self.tables)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.wait(for: "the table of sales") {
      try await road.inCloud("SELECT count(*) FROM sqlite_master WHERE name = 'sales'") == "[[1]]"
    }
    try await road.wait(for: "the first sale") { try await road.inCloud("SELECT v FROM sales") == #"[["a"]]"# }
    try await road.python(Self.own + "db.execute('ALTER TABLE cust RENAME COLUMN ssn TO social')")
    try await road.python(
      Self.own + """
        db.execute("INSERT INTO cust VALUES (2, 'Bob', 't')")
        db.execute("INSERT INTO odd (name) VALUES ('Ann')")
        db.execute("INSERT INTO slugs (name) VALUES ('Ann')")
        db.execute("INSERT INTO sales VALUES (2, 'b')")
        """)
    try await road.wait(for: "the next sale") {
      try await road.inCloud("SELECT count(*) FROM sales") == "[[2]]"
    }
    try await road.wait(for: "the cloud to be told of what waits") {
      let status = try await Road.drover("status", "--config", road.cloudFile).output
      return ["cust", "odd", "slugs"].allSatisfy { status.contains("\($0) of MAH001 waits at the machine") }
    }
    let waits = try await road.inCloud("SELECT stream, table_name FROM drover_stream_wait ORDER BY stream")
    #expect(waits == #"[["cust", "cust"], ["odd", "odd"], ["slugs", "slugs"]]"#)
    // The events that wait are counted, and an agent that is started now begins.
    try await road.wait(for: "the figure of what waits") {
      try await road.inCloud("SELECT waiting >= 3 AND oldest IS NOT NULL FROM drover_machine") == "[[1]]"
    }
    try road.restart(.edge, SIGTERM)
    try await road.python("db.execute(\"INSERT INTO sales VALUES (3, 'c')\")")
    try await road.wait(for: "a sale after the restart") {
      try await road.inCloud("SELECT count(*) FROM sales") == "[[3]]"
    }
    let status = try await Road.drover("status", "--config", road.edgeFile, "--json").output
    #expect(status.contains(#""waits""#) && status.contains("no column ssn") && status.contains("unicase"))
    #expect(try await Road.drover("doctor", "--config", road.edgeFile).output.contains("no column ssn"))
    // SIGHUP ends nothing.
    for _ in 0..<2 { road.hangUp() }
    try await road.wait(for: "a word on the signal") { road.log(of: .edge).contains("SIGHUP: Drover does not reload") }
    #expect(road.isRunning(.edge) && road.isRunning(.cloud))

    try await road.python(
      Self.own + """
        db.execute('ALTER TABLE cust RENAME COLUMN social TO ssn')
        db.execute('CREATE TABLE new (name TEXT PRIMARY KEY, n INT)')
        db.execute('INSERT INTO new SELECT * FROM odd')
        db.execute('DROP TABLE odd')
        db.execute('ALTER TABLE new RENAME TO odd')
        db.execute('ALTER TABLE slugs DROP COLUMN s')
        """)
    try await road.wait(for: "the tables") {
      let tables = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('cust', 'odd', 'slugs')"
      return try await road.inCloud(tables) == "[[3]]"
    }
    try await road.wait(for: "all of it") {
      let rows =
        "SELECT (SELECT group_concat(name) FROM cust), (SELECT group_concat(name) FROM odd), (SELECT group_concat(name) FROM slugs)"
      return try await road.inCloud(rows) == #"[["Ann,Bob", "Ann", "Ann"]]"#
    }
    try await road.wait(for: "nothing to wait any more") {
      try await road.inCloud("SELECT count(*) FROM drover_stream_wait") == "[[0]]"
    }
    #expect(
      try await road.inCloud("SELECT count(*) FROM pragma_table_info('cust') WHERE name IN ('ssn', 'social')")
        == "[[0]]")
  }

  @Test func `a database that is locked for long is told of with its holder, also to an agent that starts`()
    async throws
  {
    let road = try Road(streams: "  - {table: t, kind: snapshot}")
    try await road.python(
      "db.execute('CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)'); db.execute(\"INSERT INTO t VALUES (1, 'x')\")")
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 1)
    let input = Pipe()
    let holder = Process()
    holder.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    holder.arguments = [
      "python3", "-c",
      "import sqlite3, sys; a = sqlite3.connect(sys.argv[1], isolation_level=None); a.execute('PRAGMA locking_mode = EXCLUSIVE'); a.execute(\"INSERT INTO t VALUES (2, 'y')\"); sys.stdin.read()",
      road.app,
    ]
    holder.standardInput = input
    try holder.run()
    defer { kill(holder.processIdentifier, SIGKILL) }
    let name = "process \(holder.processIdentifier) (python3)"
    try await road.wait(for: "a line of the agent at work") {
      road.log(of: .edge).contains("locked for 5 s by \(name)")
    }
    let doctor = try await Road.drover("doctor", "--config", road.edgeFile)
    #expect(
      doctor.status != 0 && doctor.output.contains("is locked by \(name)") && doctor.output.contains("locking_mode"))
    try road.restart(.edge, SIGTERM)
    try await road.wait(for: "a line of the agent that starts") {
      road.log(of: .edge).contains("attach \(road.app): the database is locked by \(name), and the agent waits for it")
    }
    road.hangUp()
    #expect(road.isRunning(.edge))
    kill(holder.processIdentifier, SIGKILL)
    holder.waitUntilExit()
    try await road.wait(for: "the row from behind the lock") {
      try await road.inCloud("SELECT count(*) FROM t") == "[[2]]"
    }
  }
}

extension Road {
  /// SIGHUP to both sides.
  func hangUp() { for side in [Side.edge, .cloud] { signal(side, SIGHUP) } }
}
