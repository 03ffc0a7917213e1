import DroverCore
import DroverSQLite
import GRDB
import Testing

/// Events that can never be sent: out of the outbox, and back again when a person says so.
@Suite struct EdgeDeadLettersTests {
  private static let table = "CREATE TABLE t (id INTEGER PRIMARY KEY, a)"

  private func unsendable(_ seq: Int64, stream: Int = 1) -> UnsendableEvent {
    UnsendableEvent(stream: stream, seq: seq, reason: .tooLarge, detail: "too large", bytes: 5000)
  }

  private func letters(_ app: AppDatabase) throws -> EdgeDeadLetters {
    try EdgeDeadLetters(path: app.path, machine: try MachineID("MAH001"), readOnly: false)
  }

  @Test func `a buried event is a letter and no entry, and its number is not given again`() throws {
    let app = try AppDatabase()
    let edge = try app.attach(.fed("f"))
    try app.run("INSERT INTO drover_intake (stream, local_id, body) VALUES ('f', 'a', '1'), ('f', 'b', '2')")
    #expect(try edge.moveToDeadLetters(unsendable(2)))
    #expect(try edge.waiting() == ["event 'a': 1"])
    #expect(try edge.everything().lastSeq == 2)
    try app.run("INSERT INTO drover_intake (stream, local_id, body) VALUES ('f', 'c', '3')")
    #expect(try edge.everything().entries.map(\.seq) == [1, 3])

    let letters = try letters(app)
    let letter = try #require(try letters.letters(DeadLetterFilter(), limit: 10).first)
    #expect(letter.machine?.text == "MAH001" && letter.stream?.text == "f" && letter.reason == "too_large")
    #expect(letter.detail == "too large" && letter.bytes == 5000 && letter.count == 1 && letter.topic == nil)
    guard case .entry(2, "put", let version, [.text("b")], let body, []) = try letters.content(of: letter.id) else {
      Issue.record("the letter carries the entry")
      return
    }
    #expect(version > 0 && body == Array("2".utf8))
    #expect(try SQLiteEdgeReader(path: app.path).report()?.deadLetters.present == 1)
  }

  @Test(arguments: [DeadLetterBounds(maxCount: 2), DeadLetterBounds(maxBytes: 10_000)])
  func `at the bound an event stays in the outbox, and goes when there is room`(bounds: DeadLetterBounds) throws {
    let app = try AppDatabase()
    let edge = try EdgeDatabase(path: app.path, declarations: [.fed("f")], letters: bounds)
    try app.run(
      "INSERT INTO drover_intake (stream, local_id, body) VALUES ('f', 'a', '1'), ('f', 'b', '2'), ('f', 'c', '3')")
    for seq in 1...2 as ClosedRange<Int64> { #expect(try edge.moveToDeadLetters(unsendable(seq))) }
    #expect {
      _ = try edge.moveToDeadLetters(unsendable(3))
    } throws: {
      if case EdgeStoreError.noSpace(let text) = $0 { text.contains("dead_letters.max_count") } else { false }
    }
    #expect(try edge.waiting() == ["event 'c': 3"])
    #expect(try letters(app).purge(DeadLetterFilter(id: 1)) == 1)
    #expect(try edge.moveToDeadLetters(unsendable(3)))
  }

  @Test func `a row that has a letter needs no room for the same again`() throws {
    let app = try AppDatabase(Self.table)
    let edge = try EdgeDatabase(path: app.path, declarations: [.table("t")], letters: DeadLetterBounds(maxCount: 1))
    for value in ["large", "larger"] {
      try app.run("INSERT OR REPLACE INTO t VALUES (1, '\(value)')")
      #expect(try edge.moveToDeadLetters(unsendable(try edge.everything().lastSeq)))
    }
  }

  @Test func `an entry that a newer one has replaced is not buried`() throws {
    let app = try AppDatabase(Self.table)
    let edge = try app.attach(.table("t"))
    try app.run("INSERT INTO t VALUES (1, 'large')")
    try app.run("UPDATE t SET a = 'small'")
    #expect(try !edge.moveToDeadLetters(unsendable(1)))
    #expect(try edge.waiting() == ["put 1: 1, 'small'"])
    #expect(try letters(app).count(DeadLetterFilter()) == 0)
  }

  @Test func `a number of another stream is not buried`() throws {
    let app = try AppDatabase(Self.table)
    let edge = try app.attach([.table("t"), .fed("f")])
    try app.run("INSERT INTO t VALUES (1, 'large')")
    #expect(try !edge.moveToDeadLetters(unsendable(1, stream: 2)))
    #expect(try edge.waiting() == ["put 1: 1, 'large'"])
  }

  @Test func `a row that is too large again and again has one letter, with its newest version`() throws {
    let app = try AppDatabase("CREATE TABLE t (k, l, a, PRIMARY KEY (k, l))")
    let edge = try app.attach(.table("t"))
    for (seq, text) in [(1, "large"), (2, "larger"), (3, "still")] as [(Int64, String)] {
      try app.run("INSERT OR REPLACE INTO t VALUES (NULL, '007', ?)", .text(text))
      try app.run("DELETE FROM t WHERE a <> ?", .text(text))
      #expect(try edge.moveToDeadLetters(unsendable(try edge.everything().lastSeq)), "\(seq)")
    }
    let all = try letters(app).letters(DeadLetterFilter(), limit: 10)
    #expect(all.map(\.count) == [3])
    try app.run("INSERT INTO t VALUES (NULL, '7', 'another')")
    #expect(try edge.moveToDeadLetters(unsendable(try edge.everything().lastSeq)))
    #expect(try letters(app).count(DeadLetterFilter()) == 2)
  }

  @Test func `an immutable fact is kept as it was, whatever the app does to its row, and is sent so after a replay`()
    throws
  {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b, c REAL)")
    let edge = try app.attach(.table("t", kind: .payload))
    let text = Value.text([0x61, 0xff, 0x00, 0x62])
    let blob = Value.blob([0, 1, 2])
    try app.run("INSERT INTO t VALUES (7, ?, ?, ?)", text, blob, .real(0.1))
    let sent = try edge.everything().entries[0]
    #expect(try edge.moveToDeadLetters(unsendable(1)))
    try app.run("DELETE FROM t")
    #expect(try letters(app).requeue(1) == .queued)
    let entry = try #require(try edge.everything().entries.first)
    #expect(entry.seq == 2 && entry.version == sent.version && entry.key == [.integer(7)])
    #expect(entry.content == .row([.integer(7), text, blob, .real(0.1)]))
    try edge.confirmAll()
    for table in ["drover_kept", "drover_dead_letter", "drover_dead_field", "drover_outbox"] {
      #expect(try app.integer("SELECT count(*) FROM \(table)") == 0, "\(table)")
    }
  }

  // Two events of one version would be one to the cloud, and the newest entry's version is what the next one is counted from.
  @Test func `a replayed event keeps its version, and the versions after it go on rising`() throws {
    let app = try AppDatabase()
    let edge = try app.attach(.fed("f"))
    // A clock that ran ahead: only counting keeps versions apart.
    try app.run("UPDATE drover_clock SET version = \(Int64(1) << 52)")
    let insert = "INSERT INTO drover_intake (stream, body) VALUES ('f', '{}')"
    for _ in 0..<3 { try app.run(insert) }
    let versions = try edge.everything().entries.map(\.version)
    #expect(try edge.moveToDeadLetters(unsendable(1)))
    try app.run(insert)
    #expect(try letters(app).requeue(1) == .queued)
    try app.run(insert)
    let entries = try edge.everything().entries
    #expect(entries.map(\.seq) == [2, 3, 4, 5, 6])
    #expect(entries[3].version == versions[0])
    #expect(Set(entries.map(\.version)).count == 5)
    #expect(entries[4].version > entries[2].version)
  }

  @Test func `a letter whose row waits in the outbox anyway is only removed`() throws {
    let app = try AppDatabase(Self.table)
    let edge = try app.attach(.table("t"))
    try app.run("INSERT INTO t VALUES (1, 'large'), (2, 'other')")
    #expect(try edge.moveToDeadLetters(unsendable(1)))
    try app.run("UPDATE t SET a = 'small' WHERE id = 1")
    let letters = try letters(app)
    #expect(try letters.requeue(1) == .superseded)
    #expect(try letters.requeue(1) == .missing)
    #expect(try edge.waiting() == ["put 2: 2, 'other'", "put 1: 1, 'small'"])
    #expect(try letters.count(DeadLetterFilter()) == 0)
    #expect(try SQLiteEdgeReader(path: app.path).report()?.deadLetters.replayed == 1)
  }

  @Test func `a key of many columns is kept whole`() throws {
    let app = try AppDatabase("CREATE TABLE t (a, b, c, d, e, f, x, PRIMARY KEY (a, b, c, d, e, f))")
    let edge = try app.attach(.table("t"))
    try app.run("INSERT INTO t VALUES (1, 2, 3, 4, 5, 6, 'large')")
    #expect(try edge.moveToDeadLetters(unsendable(1)))
    let letters = try letters(app)
    guard case .entry(_, _, _, let key, nil, []) = try letters.content(of: 1) else {
      Issue.record("the letter has a key")
      return
    }
    #expect(key == (1...6).map { .integer($0) })
    #expect(try letters.requeue(1) == .queued)
    #expect(try edge.waiting() == ["put 1, 2, 3, 4, 5, 6: 1, 2, 3, 4, 5, 6, 'large'"])
  }

  @Test func `purging removes what is meant and counts it`() throws {
    let app = try AppDatabase(Self.table)
    let edge = try app.attach([.table("t", kind: .payload), .fed("f")])
    try app.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    try app.run("INSERT INTO drover_intake (stream, body) VALUES ('f', '{}')")
    for seq in 1...3 as ClosedRange<Int64> {
      #expect(try edge.moveToDeadLetters(unsendable(seq, stream: seq == 3 ? 2 : 1)))
    }
    let letters = try letters(app)
    #expect(try letters.purge(DeadLetterFilter(machine: try MachineID("OTHER"))) == 0)
    #expect(try letters.purge(DeadLetterFilter(reason: .conflict)) == 0)
    #expect(try letters.purge(DeadLetterFilter(through: 1)) == 1)
    #expect(try app.lines("SELECT DISTINCT letter FROM drover_dead_field") == ["2"])
    #expect(try letters.purge(DeadLetterFilter(machine: try MachineID("MAH001"), stream: try StreamName("f"))) == 1)
    #expect(try letters.letters(DeadLetterFilter(), limit: 10).map(\.id) == [2])
    #expect(try letters.purge(DeadLetterFilter(id: 2, reason: .tooLarge)) == 1)
    #expect(try app.integer("SELECT count(*) FROM drover_dead_field") == 0)
    let figures = try #require(try SQLiteEdgeReader(path: app.path).report()).deadLetters
    #expect(figures.present == 0 && figures.purged == 3 && figures.replayed == 0)
  }

  @Test func `a database that was attached before there were dead letters gets their tables`() throws {
    let app = try AppDatabase(Self.table)
    _ = try app.attach(.table("t"))
    try app.run("DROP TABLE drover_dead_letter; DROP TABLE drover_dead_field")
    #expect(try SQLiteEdgeReader(path: app.path).report()?.deadLetters == DeadLetterFigures())
    let edge = try app.attach(.table("t"))
    try app.run("INSERT INTO t VALUES (1, 'large')")
    #expect(try edge.moveToDeadLetters(unsendable(1)))
  }

  // Of a batch a letter holds no values, since its row is in the table; of a final record that was cleared it would have held none at all.
  @Test func `a final record that was cleared is set aside with its lines, and comes back with them`() throws {
    let app = try AppDatabase(
      "CREATE TABLE mo (id TEXT PRIMARY KEY, done INT); CREATE TABLE line (id INTEGER PRIMARY KEY, mo TEXT, q)")
    let edge = try app.attach(.batch("mo", completeWhen: "done = 1", with: .lines("line", ["mo": "id"])))
    try app.run(
      "INSERT INTO mo VALUES ('A', 1); INSERT INTO line VALUES (1, 'A', 5); DELETE FROM mo; DELETE FROM line; INSERT INTO mo VALUES ('A', 0)"
    )
    let entries = try edge.everything().entries
    #expect(try edge.moveToDeadLetters(unsendable(entries[0].seq)))
    #expect(try edge.waiting() == ["put 'A': 'A', 0"])
    #expect(try app.integer("SELECT body_bytes FROM drover_space") == 0)
    let letters = try letters(app)
    guard case .entry(_, "put", _, _, nil, let row)? = try letters.content(of: 1) else {
      Issue.record("the letter carries the entry")
      return
    }
    #expect(
      row.contains { $0.name == "done" && $0.value == .integer(1) } && row.contains { $0.name.hasPrefix("q of line 1") }
    )
    // The row of the same key that is there now has a letter of its own, if it has one.
    #expect(try edge.moveToDeadLetters(unsendable(entries[1].seq)))
    #expect(try letters.letters(DeadLetterFilter(), limit: 10).count == 2)
    #expect(try letters.requeue(1) == .queued)
    #expect(try edge.waiting() == ["put 'A': 'A', 1 [1, 'A', 5]"])
  }
}
