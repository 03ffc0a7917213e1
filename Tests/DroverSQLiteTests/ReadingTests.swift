import DroverCore
import DroverSQLite
import GRDB
import Testing

/// `read`: the entries of an interval with what their rows hold now.
@Suite struct ReadingTests {
  private let table = "CREATE TABLE t (id INTEGER PRIMARY KEY, a)"

  private func five() throws -> (AppDatabase, EdgeDatabase) {
    let app = try AppDatabase(table)
    let edge = try app.attach(.table("t"))
    try app.run("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e')")
    return (app, edge)
  }

  private func seqs(_ read: OutboxRead) -> [Int64] { read.entries.map(\.seq) }

  @Test func `an empty outbox is scanned through its last number, which is 0 at first`() throws {
    let app = try AppDatabase(table)
    let edge = try app.attach(.table("t"))
    #expect(try edge.everything() == OutboxRead(entries: [], scannedThrough: 0, lastSeq: 0))
    try app.run("INSERT INTO t VALUES (1, 1), (2, 2)")
    try edge.confirmAll()
    #expect(try edge.everything() == OutboxRead(entries: [], scannedThrough: 2, lastSeq: 2))
  }

  @Test func `fresh reads the entries between its bounds, which the last number limits`() throws {
    let (app, edge) = try five()
    try withExtendedLifetime(app) {
      var read = try edge.read(.fresh(after: 1, through: 4, limit: 10), maximumBytes: .max)
      #expect(seqs(read) == [2, 3, 4])
      #expect(read.scannedThrough == 4)
      #expect(read.lastSeq == 5)
      read = try edge.read(.fresh(after: 3, through: .max, limit: 10), maximumBytes: .max)
      #expect(seqs(read) == [4, 5])
      #expect(read.scannedThrough == 5)
      read = try edge.read(.fresh(after: 7, through: .max, limit: 10), maximumBytes: .max)
      #expect(seqs(read) == [])
      #expect(read.scannedThrough == 7)
    }
  }

  @Test func `fresh passes over what is synced, again does not`() throws {
    let (app, edge) = try five()
    try withExtendedLifetime(app) {
      try edge.acknowledge(2...3)
      #expect(try seqs(edge.everything()) == [1, 4, 5])
      let again = try edge.read(
        .again(stream: 1, interval: Interval(after: 0, through: 4), limit: 10), maximumBytes: .max)
      #expect(seqs(again) == [1, 2, 3, 4])
      #expect(again.scannedThrough == 4)
    }
  }

  @Test func `again reads one stream, and to the end of what was asked for though nothing is left there`() throws {
    let app = try AppDatabase(table + "; CREATE TABLE u (id INTEGER PRIMARY KEY)")
    let edge = try app.attach([.table("t"), .table("u")])
    try app.run("INSERT INTO t VALUES (1, 1); INSERT INTO u VALUES (1); INSERT INTO t VALUES (2, 2)")
    let again = try edge.read(
      .again(stream: 2, interval: Interval(after: 0, through: 9), limit: 10), maximumBytes: .max)
    #expect(seqs(again) == [2])
    #expect(again.scannedThrough == 9)
    #expect(again.lastSeq == 3)
    let nothing = try edge.read(
      .again(stream: 2, interval: Interval(after: 2, through: 3), limit: 10), maximumBytes: .max)
    #expect(nothing == OutboxRead(entries: [], scannedThrough: 3, lastSeq: 3))
  }

  @Test func `a limit ends the read where it was reached`() throws {
    let (app, edge) = try five()
    try withExtendedLifetime(app) {
      var found: [Int64] = []
      var after: Int64 = 0
      var reads = 0
      while after < 5 {
        let read = try edge.read(.fresh(after: after, through: .max, limit: 2), maximumBytes: .max)
        found += seqs(read)
        after = read.scannedThrough
        reads += 1
      }
      #expect(found == [1, 2, 3, 4, 5])
      #expect(reads == 3)
    }
  }

  @Test func `a read ends with the entry that went over its bytes, so that one large row still travels`() throws {
    let app = try AppDatabase(table)
    let edge = try app.attach(.table("t"))
    try app.run("INSERT INTO t VALUES (1, zeroblob(400)), (2, zeroblob(400)), (3, zeroblob(100000)), (4, 'd')")
    func cut(_ after: Int64) throws -> OutboxRead {
      try edge.read(.fresh(after: after, through: .max, limit: 10), maximumBytes: 500)
    }
    #expect(try seqs(cut(0)) == [1, 2])
    #expect(try cut(0).scannedThrough == 2)
    #expect(try seqs(cut(2)) == [3])
    #expect(try cut(2).scannedThrough == 3)
    #expect(try seqs(cut(3)) == [4])
    #expect(try cut(3).scannedThrough == 4)
  }

  @Test func `entries of a stream that the configuration no longer names stay, and are passed over`() throws {
    let app = try AppDatabase(table + "; CREATE TABLE u (id INTEGER PRIMARY KEY)")
    _ = try app.attach([.table("t"), .table("u")])
    try app.run(
      "INSERT INTO u VALUES (1); INSERT INTO t VALUES (1, 1); INSERT INTO u VALUES (2), (3); INSERT INTO t VALUES (2, 2)"
    )
    let edge = try app.attach([.table("t")], settled: false)
    #expect(try seqs(edge.everything()) == [2, 5])
    // They count against the limit, or a read could take for ever.
    let read = try edge.read(.fresh(after: 2, through: .max, limit: 2), maximumBytes: .max)
    #expect(seqs(read) == [])
    #expect(read.scannedThrough == 4)
    #expect(try app.integer("SELECT count(*) FROM drover_outbox") == 5)
  }

  @Test func `a stream that comes back has its number and its entries again`() throws {
    let app = try AppDatabase(table + "; CREATE TABLE u (id INTEGER PRIMARY KEY)")
    _ = try app.attach([.table("t"), .table("u")])
    try app.run("INSERT INTO u VALUES (1)")
    _ = try app.attach([.table("t")], settled: false)
    let edge = try app.attach([.table("u"), .table("t")], settled: false)
    #expect(edge.streams.map(\.number) == [2, 1])
    #expect(try edge.waiting() == ["put 1: 1"])
    #expect(edge.hasBackfill)
  }

  @Test func `rows are read as of the transaction that found their entries`() throws {
    let app = try AppDatabase(
      "CREATE TABLE head (id INTEGER PRIMARY KEY, total INT); CREATE TABLE line (id INTEGER PRIMARY KEY, price INT)",
      journalMode: "wal")
    let streams = try [StreamDeclaration.table("head"), .table("line")]
    let edge = try app.attach(streams)
    try app.run("INSERT INTO head VALUES (1, 0)")
    // Each commit adds a line and raises the head's total, while the agent reads.
    let script = """
      connection = sqlite3.connect(sys.argv[1])
      for i in range(1, 301):
          connection.execute("INSERT INTO line VALUES (?, 1)", (i,))
          connection.execute("UPDATE head SET total = total + 1")
          connection.commit()
      """
    let path = app.path
    let writing = Background { try Python.run(script, path) }
    var torn = 0
    var reads = 0
    repeat {
      let entries = try edge.everything().entries
      let lines = entries.count { $0.stream == 2 }
      if let head = entries.first(where: { $0.stream == 1 }),
        head.content != .row([.integer(1), .integer(Int64(lines))])
      {
        torn += 1
      }
      reads += 1
    } while !writing.isDone
    try writing.wait()
    #expect(torn == 0)
    #expect(reads > 1)
    #expect(try edge.everything().entries.count == 301)
  }

  // MARK: Values

  static let values: [Value] = [
    .null, .integer(0), .integer(-1), .integer(.max), .integer(.min), .integer(1 << 53 + 1), .real(0.1), .real(1e300),
    .real(.infinity), .real(-.infinity), .real(.leastNonzeroMagnitude), .real(.greatestFiniteMagnitude), .real(.pi.ulp),
    .real(1.0), .real(-0.0), .text(""), .text("größe 😀"), .text("12"), .text([0x61, 0, 0x62]), .text([0]),
    .text([0xff, 0xfe, 0x80]), .text([0xed, 0xa0, 0x80]), .blob([]), .blob([0]), .blob([0xff, 0, 0xff]),
    .blob(ArraySlice(repeating: 7, count: 70_000)),
  ]

  @Test func `every value is read bit for bit`() throws {
    let app = try AppDatabase(table)
    let edge = try app.attach(.table("t"))
    for (id, value) in Self.values.enumerated() {
      try app.run("INSERT INTO t VALUES (?, ?)", .integer(Int64(id)), value)
    }
    let read = try edge.everything().entries.map(\.content)
    #expect(read == Self.values.enumerated().map { .row([.integer(Int64($0)), $1]) })
  }

  @Test func `every value that can be a key finds its row`() throws {
    let app = try AppDatabase("CREATE TABLE t (k PRIMARY KEY, n INT)")
    let edge = try app.attach(.table("t"))
    // SQLite finds 0 where -0.0 is meant, in a key: they are one.
    let keys = Self.values.filter { $0 != .real(-0.0) }
    for (index, value) in keys.enumerated() {
      try app.run("INSERT INTO t VALUES (?, ?)", value, .integer(Int64(index)))
    }
    try app.run("UPDATE t SET n = n + 1000")
    let read = try edge.everything().entries
    #expect(read.count == keys.count)
    #expect(
      read.allSatisfy { entry in
        entry.content == .row([entry.key[0], .integer(1000 + Int64(keys.firstIndex(of: entry.key[0])!))])
      })
    try app.run("DELETE FROM t")
    #expect(try edge.everything().entries.allSatisfy { $0.content == .none })
    #expect(try edge.everything().entries.count == keys.count)
  }

  @Test func `a NOCASE key whose row was replaced in another case reads as gone`() throws {
    let app = try AppDatabase("CREATE TABLE t (k TEXT COLLATE NOCASE PRIMARY KEY, a)")
    let edge = try app.attach(.table("t"))
    try app.run("INSERT INTO t VALUES ('abc', 1); DELETE FROM t; INSERT INTO t VALUES ('ABC', 2)")
    #expect(try edge.waiting() == ["delete 'abc'", "put 'ABC': 'ABC', 2"])
  }

  // MARK: Cheap questions

  @Test func `hasChanged tells of other connections' commits, once each`() throws {
    let app = try AppDatabase(table, journalMode: "wal")
    let edge = try app.attach(.table("t"))
    _ = try edge.hasChanged()
    #expect(try !edge.hasChanged())
    try app.run("INSERT INTO t VALUES (1, 1)")
    #expect(try edge.hasChanged())
    #expect(try !edge.hasChanged())
    try edge.acknowledgeAll()
    #expect(try !edge.hasChanged())
    try app.run("BEGIN; INSERT INTO t VALUES (2, 2); ROLLBACK")
    #expect(try !edge.hasChanged())
  }

  @Test func `acknowledged gives what is synced and not forgotten, by stream, over a reopening`() throws {
    let app = try AppDatabase(table + "; CREATE TABLE u (id INTEGER PRIMARY KEY)")
    let streams = try [StreamDeclaration.table("t"), .table("u")]
    var edge = try app.attach(streams)
    try app.run("INSERT INTO t VALUES (1, 1), (2, 2); INSERT INTO u VALUES (1); INSERT INTO t VALUES (3, 3)")
    try edge.acknowledge(1...4, stream: 1)
    #expect(try edge.acknowledged() == [1: [1...2, 4...4]])
    try edge.acknowledge(3...3, stream: 2)
    edge = try app.attach(streams, settled: false)
    #expect(try edge.acknowledged() == [1: [1...2, 4...4], 2: [3...3]])
    try edge.confirmAll()
    #expect(try edge.acknowledged() == [:])
  }
}
