// An app that deletes each night what is synced, and SQLite that gives the IDs again the next day, with real processes. Of nine facts six
// were dead letters, or, where the values were the same, were gone; `check` said that all was equal.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct ReusedKeyTests {
  @Test func `facts and orders whose IDs are used again each day are each one row in the cloud`() async throws {
    let road = try Road(
      streams: """
          - {table: measured, kind: payload, synced_column: synced}
          - {table: same, kind: payload, synced_column: synced}
          - {table: declared, kind: payload, synced_column: synced, key: [id, at]}
          - {table: mo, kind: batch, key: mo_id}
        """)
    try await road.python(
      """
      db.execute("PRAGMA journal_mode = WAL")
      for table in ["measured", "same", "declared"]:
          db.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, at TEXT NOT NULL, celsius REAL, synced INT DEFAULT 0)")
      db.execute("CREATE TABLE mo (id INTEGER PRIMARY KEY, mo_id INT NOT NULL UNIQUE, done INT)")
      """)
    try road.start(.cloud)
    try road.start(.edge)
    for day in 1...3 {
      try await road.python(
        """
        for table in ["measured", "same", "declared"]:
            db.execute(f"DELETE FROM {table} WHERE synced = 1")
            for n in range(3):
                db.execute(f"INSERT INTO {table} (at, celsius) VALUES (?, ?)", ("\(day)", 20.5 if table == "same" else \(day) + n / 4))
        db.execute("DELETE FROM mo WHERE id < 0")
        db.execute("UPDATE mo SET id = -id, done = 1")
        for n in (1, 2): db.execute("INSERT INTO mo VALUES (?, ?, 0)", (n, \(day) * 10 + n))
        """)
      try await road.waitUntilConfirmed(atLeast: day * 11)
    }
    let counts = try await road.inCloud(
      "SELECT (SELECT count(*) FROM measured), (SELECT count(DISTINCT celsius) FROM measured), (SELECT count(*) FROM same), (SELECT count(*) FROM declared)"
    )
    #expect(counts == "[[9, 9, 9, 9]]")
    #expect(try await road.inCloud("SELECT mo_id, done FROM mo ORDER BY 1") == "[[21, 1], [22, 1], [31, 0], [32, 0]]")
    #expect(try await road.cloudStatus()?.dead_letters == 0)
    #expect(try await road.python("print(db.execute('SELECT sum(synced) FROM measured').fetchone()[0])") == "3")

    let check = try await Road.drover("check", "--config", road.cloudFile)
    #expect(check.status == 0, "\(check.output)")
    let doctor = try await Road.drover("doctor", "--config", road.edgeFile)
    #expect(doctor.output.contains("measured: keys of deleted rows may be used again"), "\(doctor.output)")
    #expect(!doctor.output.contains("declared: keys of deleted rows"))
    #expect(road.log(of: .edge).contains("capture measured: keys of deleted rows may be used again"))
  }
}
