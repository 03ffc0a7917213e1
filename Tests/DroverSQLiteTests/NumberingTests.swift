import DroverCore
import DroverSQLite
import Testing

/// A sequence number or a version that is given twice is a lost event: the cloud has it already.
@Suite struct NumberingTests {
  private let table = "CREATE TABLE t (id INTEGER PRIMARY KEY, a)"

  private func newest(_ edge: EdgeDatabase) throws -> OutboxEntry { try #require(edge.everything().entries.last) }

  @Test func `numbers rise when everything was confirmed and forgotten`() throws {
    let app = try AppDatabase(table)
    let edge = try app.attach(.table("t"))
    try app.run("INSERT INTO t VALUES (1, 1)")
    let before = try newest(edge)
    try edge.confirmAll()
    #expect(try app.integer("SELECT count(*) FROM drover_outbox") == 0)
    try app.run("INSERT INTO t VALUES (2, 2)")
    #expect(try newest(edge).seq == before.seq + 1)
    #expect(try newest(edge).version > before.version)
  }

  @Test func `numbers rise over a reopening, with an empty outbox and with a full one`() throws {
    let app = try AppDatabase(table)
    var seqs: [Int64] = []
    var versions: [Int64] = []
    for id in 1...6 {
      let edge = try app.attach(.table("t"), settled: false)
      try edge.bringAll()
      try app.run("INSERT INTO t VALUES (\(id), 0)")
      seqs.append(try newest(edge).seq)
      versions.append(try newest(edge).version)
      if id % 2 == 0 { try edge.confirmAll() }
    }
    #expect(seqs == [1, 2, 3, 4, 5, 6])
    #expect(zip(versions, versions.dropFirst()).allSatisfy { $0 < $1 })
  }

  @Test func `the epoch stays over a reopening`() throws {
    let app = try AppDatabase(table)
    let first = try app.attach(.table("t")).epoch
    #expect(try app.attach(.table("t")).epoch == first)
  }

  @Test func `versions rise though the clock was stepped back by a day`() throws {
    let app = try AppDatabase(table)
    let edge = try app.attach(.table("t"))
    try app.run("INSERT INTO t VALUES (1, 1)")
    let before = try newest(edge).version
    try app.run("UPDATE drover_clock SET offset_us = -86400000000")
    try app.run("INSERT INTO t VALUES (2, 2)")
    #expect(try newest(edge).version == before + 1)
    try app.run("UPDATE t SET a = 3")
    #expect(try newest(edge).version == before + 3)
    try edge.confirmAll()
    try app.run("UPDATE t SET a = 4 WHERE id = 1")
    #expect(try newest(edge).version == before + 4)
  }

  @Test func `a version is the wall clock when nothing is ahead of it, and the clock's offset counts`() throws {
    let app = try AppDatabase(table)
    let edge = try app.attach(.table("t"))
    let milliseconds = "CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)"
    let start = try app.integer("SELECT \(milliseconds)")
    try app.run("INSERT INTO t VALUES (1, 1)")
    let end = try app.integer("SELECT \(milliseconds)")
    #expect((Int64(start) * 1000...Int64(end) * 1000).contains(try newest(edge).version))
    try app.run("UPDATE drover_clock SET offset_us = 3600000000; UPDATE t SET a = 2")
    #expect(try newest(edge).version >= Int64(start) * 1000 + 3_600_000_000)
  }

  @Test func `superseding the newest entry gives its numbers to nobody`() throws {
    let app = try AppDatabase(table)
    let edge = try app.attach(.table("t"))
    var seen: [Int64] = []
    var versions: [Int64] = []
    for value in 0..<5 {
      try app.run("INSERT INTO t VALUES (1, \(value)) ON CONFLICT DO UPDATE SET a = excluded.a")
      let entries = try edge.everything().entries
      #expect(entries.count == 1)
      seen.append(entries[0].seq)
      versions.append(entries[0].version)
      // From here on only what was given before keeps versions rising.
      try app.run("UPDATE drover_clock SET offset_us = -86400000000")
    }
    #expect(seen == [1, 2, 3, 4, 5])
    #expect(zip(versions, versions.dropFirst()).allSatisfy { $0 + 1 == $1 })
  }

  @Test func `a newest entry that is confirmed alone, among older ones, still counts`() throws {
    let app = try AppDatabase(table)
    let edge = try app.attach(.table("t"))
    try app.run("INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)")
    let before = try newest(edge)
    var settlement = Settlement()
    settlement.confirmed[1] = [3...3]
    try edge.settle(settlement)
    try app.run("UPDATE drover_clock SET offset_us = -86400000000; INSERT INTO t VALUES (4, 4)")
    #expect(try newest(edge).seq == 4)
    #expect(try newest(edge).version == before.version + 1)
  }

  @Test func `a statement that was rolled back may give its numbers again, for nobody has seen them`() throws {
    let app = try AppDatabase(table)
    let edge = try app.attach(.table("t"))
    try app.run("BEGIN; INSERT INTO t VALUES (1, 1); ROLLBACK; INSERT INTO t VALUES (2, 2)")
    #expect(try newest(edge).seq == 1)
  }

  @Test func `triggers, intake and backfill share one counter`() throws {
    let app = try AppDatabase(table + "; INSERT INTO t VALUES (1, 1), (2, 2)")
    let edge = try app.attach([.table("t"), .fed("f")], settled: false)
    try app.run("INSERT INTO t VALUES (3, 3)")
    try app.run("INSERT INTO drover_intake (stream, body) VALUES ('f', '1'), ('f', '2')")
    try edge.bringAll()
    try app.run("INSERT INTO t VALUES (4, 4)")
    let entries = try edge.everything().entries
    // Of row 3, which has 1 and 6, the newer entry is left.
    #expect(entries.map(\.seq) == [2, 3, 4, 5, 6, 7])
    #expect(zip(entries, entries.dropFirst()).allSatisfy { $0.version < $1.version })
  }

  // When somebody removed Drover's tables under a running agent (a migration that drops all tables, a `drover detach` on another
  // host), the agent made them again with its old epoch and counted from 1: the cloud took the new events for ones it had.
  @Test func `an outbox that vanished under the agent is not made again under its old epoch`() throws {
    let app = try AppDatabase(table)
    let edge = try app.attach(.table("t"))
    try app.run("INSERT INTO t VALUES (1, 1)")
    let epoch = edge.epoch
    _ = try EdgeDatabase.detach(path: app.path)
    #expect(throws: EdgeStoreError.self) { try edge.everything() }
    #expect {
      try edge.refresh()
    } throws: { error in
      if case EdgeStoreError.otherDatabase = error { true } else { false }
    }
    #expect(try app.integer("SELECT count(*) FROM sqlite_master WHERE name LIKE 'drover%'") == 0)
    #expect(try app.attach(.table("t")).epoch != epoch)
  }
}
