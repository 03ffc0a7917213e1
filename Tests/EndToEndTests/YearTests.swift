// A year of a shop's in one test: its database changes month by month, so do its tables, and everything that is between it and the cloud fails
// or is put back at some time. In the end both sides hold the same.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct YearTests {
  private static let tables = [
    "Album", "Artist", "Customer", "Employee", "Genre", "Invoice", "InvoiceLine", "MediaType", "Playlist",
    "PlaylistTrack", "Track",
  ]

  @Test func `after a year of changes, migrations, outages, repairs and restores a shop's database equals its replica`()
    async throws
  {
    let road = try Road(streams: Self.tables.map { "  - table: \($0)\n    kind: snapshot\n" }.joined())
    if let real = RealData.file("chinook/Chinook_Sqlite.sqlite") {
      try FileManager.default.copyItem(atPath: real, toPath: road.app)
    } else {
      try await Road.script("make_shop.py", [road.app])
    }
    let year = Year(road: road)

    // January: attached, and business as usual.
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 15_607)
    try await year.change(seed: 101)

    // February: new columns, one with a value for the rows from before.
    try await road.python(
      """
      db.execute("ALTER TABLE Customer ADD COLUMN Loyalty INTEGER NOT NULL DEFAULT 3")
      db.execute("ALTER TABLE Invoice ADD COLUMN Remark TEXT")
      db.execute("UPDATE Invoice SET Remark = 'seen' WHERE InvoiceId % 3 = 0")
      """)
    try await year.change(seed: 102)

    // March: no broker. April: no consumer.
    road.broker.kill()
    try await year.change(seed: 103)
    try road.broker.start()
    road.end(.cloud)
    try await year.change(seed: 104)
    try road.start(.cloud)

    // May: a column goes, and the agent is killed while the app writes.
    try await road.python(
      """
      columns = [row[1] for row in db.execute("PRAGMA table_info(Track)")]
      db.execute(f"ALTER TABLE Track DROP COLUMN {columns[-1]}")
      """)
    async let may: Void = year.change(seed: 105)
    try road.restart(.edge, SIGKILL)
    try await may

    // June: the network swallows everything for a while; then all rows are brought once more, while the app goes on.
    road.broker.freeze()
    try await year.change(seed: 106)
    road.broker.thaw()
    let resync = try await Road.drover("resync", "--config", road.edgeFile, "--no-wait")
    #expect(resync.status == 0, "\(resync.errors)")
    try await year.change(seed: 107)
    try await road.waitUntilConfirmed()

    // July: a table is dropped and made again with fewer rows, another is rebuilt with another type and renamed.
    try await road.python(
      """
      def definition(table): return db.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
      import re
      links, artist = definition("PlaylistTrack"), definition("Artist")
      kept = db.execute("SELECT PlaylistId, TrackId FROM PlaylistTrack WHERE TrackId % 3").fetchall()
      db.execute("DROP TABLE PlaylistTrack")
      db.execute(links)
      db.executemany("INSERT INTO PlaylistTrack VALUES (?, ?)", kept)
      db.execute(re.sub(r"NVARCHAR\\(\\d+\\)", "NUMERIC", artist.replace("Artist", "new_Artist", 1)))
      db.execute("INSERT INTO new_Artist SELECT * FROM Artist")
      db.execute("DROP TABLE Artist")
      db.execute("ALTER TABLE new_Artist RENAME TO Artist")
      """)
    try await year.change(seed: 108)
    try await road.waitUntilConfirmed()
    // What the dropped table had held leaves the cloud by itself.
    let links = try await road.python(
      "print(json.dumps(db.execute('SELECT count(*) FROM PlaylistTrack').fetchall()))", database: road.app)
    try await road.wait(for: "the rows of the dropped table are gone") {
      try await road.inCloud("SELECT count(*) FROM PlaylistTrack") == links
    }
    try await road.waitUntilConfirmed()
    let julyInCloud = try await year.backup(road.cloudFile)

    // August: a person tampers with both sides.
    try await road.python(
      """
      db.execute("UPDATE Track SET Name = 'tampered' WHERE TrackId % 100 = 1")
      db.execute("DELETE FROM Customer WHERE CustomerId % 5 = 0")
      """, database: road.cloud)
    try await year.pastTheTriggers("db.execute('DELETE FROM Album WHERE AlbumId % 50 = 7')")
    try await year.expectDrift()
    try await year.repair()
    try await year.expectEqual()

    // September: the cloud's database is put back to July.
    try await year.change(seed: 109)
    try await road.waitUntilConfirmed()
    let epochs = year.epochs
    road.end(.cloud)
    try year.putBack(road.cloud, to: julyInCloud)
    try road.start(.cloud)
    try await year.change(seed: 110)
    try await road.wait(for: "a new epoch") { year.epochs > epochs }
    try await road.waitUntilConfirmed()

    // October: the machine's own database is put back by a month. Rows that are only in the cloud now are too many there.
    let october = try await year.backup(road.edgeFile)
    try await year.change(seed: 111)
    try await road.waitUntilConfirmed()
    road.end(.edge)
    try year.putBack(road.app, to: october)
    try await year.change(seed: 112)
    try road.start(.edge)
    try await road.wait(for: "another epoch") { year.epochs > epochs + 1 }
    try await road.waitUntilConfirmed()
    try await year.repair()

    // November: with neither agent nor consumer, columns come and go, and a table is emptied.
    road.end(.edge)
    road.end(.cloud, SIGKILL)
    try await road.python(
      """
      db.execute("ALTER TABLE Customer DROP COLUMN Loyalty")
      db.execute("ALTER TABLE Genre ADD COLUMN Loudness REAL DEFAULT 0.5")
      db.execute("DELETE FROM Playlist")
      """)
    try await year.change(seed: 113)
    try road.start(.edge)
    try road.start(.cloud)

    // December.
    try await year.change(seed: 114)
    try await road.waitUntilConfirmed()
    try await year.expectEqual()
    #expect(try await road.inCloud("SELECT count(*) FROM drover_dead_letter") == "[[0]]")
    #expect(try await road.status()?.dead_letters == 0)
    // A column that was dropped stays in the cloud; one that came late has its default in the rows from before.
    #expect(
      try await road.inCloud("SELECT count(*) FROM pragma_table_info('Customer') WHERE name = 'Loyalty'") == "[[1]]")
  }
}

/// What happens to the shop again and again.
private struct Year: Sendable {
  let road: Road

  /// Business as usual: inserts, updates, deletes, other keys. The same seed on the same database makes the same changes.
  func change(seed: Int) async throws {
    try await Road.script("churn.py", [road.app, "--changes", "150", "--seed", "\(seed)"])
  }

  /// As a connection does that has its triggers switched off.
  func pastTheTriggers(_ code: String) async throws {
    try await road.python(
      """
      triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'Album'").fetchall()
      db.isolation_level = None
      db.execute("BEGIN IMMEDIATE")
      for name, _ in triggers: db.execute(f"DROP TRIGGER {name}")
      \(code)
      for _, sql in triggers: db.execute(sql)
      db.execute("COMMIT")
      """)
  }

  func backup(_ file: String) async throws -> String {
    let outcome = try await Road.drover("backup", "--config", file)
    #expect(outcome.status == 0, "\(outcome.errors)")
    return String(outcome.output.prefix { $0 != ":" })
  }

  func putBack(_ database: String, to backup: String) throws {
    for end in ["", "-wal", "-shm", "-journal"] { try? FileManager.default.removeItem(atPath: database + end) }
    try FileManager.default.copyItem(atPath: backup, toPath: database)
  }

  /// How many times the agent said that it has begun one.
  var epochs: Int { road.log(of: .edge).components(separatedBy: "a new epoch").count - 1 }

  func expectDrift() async throws {
    let outcome = try await Road.drover("check", "--config", road.cloudFile)
    #expect(outcome.status == 1, "\(outcome.output) \(outcome.errors)")
    for table in ["Track", "Customer", "Album"] {
      #expect(
        outcome.output.split(separator: "\n").contains { $0.contains(" \(table) ") && $0.contains("differ") },
        "\(outcome.output)")
    }
  }

  func repair() async throws {
    let outcome = try await Road.drover("check", "--config", road.cloudFile, "--repair")
    #expect(outcome.status == 0, "\(outcome.output) \(outcome.errors)")
    try await road.waitUntilConfirmed()
  }

  func expectEqual() async throws {
    try await Road.script("compare.py", [road.app, road.cloud, Road.machine])
    let outcome = try await Road.drover("check", "--config", road.cloudFile)
    #expect(outcome.status == 0, "\(outcome.output) \(outcome.errors)")
  }
}
