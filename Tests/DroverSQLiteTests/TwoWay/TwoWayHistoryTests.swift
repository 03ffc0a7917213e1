import DroverCore
import DroverSQLite
import DroverTesting
import GRDB
import Testing

/// What a two-way row says of its past when it is sent, and from where an epoch continues.
@Suite struct TwoWayHistoryTests {
  private static let table = "CREATE TABLE t (id INTEGER PRIMARY KEY, a)"

  @Test func `rows that were there before are sent again without an edit`() throws {
    let it = try TwoWayEdge(Self.table + "; INSERT INTO t VALUES (1, 'a')", .twoWay("t"), settled: false)
    try it.edge.bringAll()
    #expect(try it.told() == ["put 1: 1, 'a' (base 0, again)"] && it.versions() == [0])
    #expect(it.edge.lineage(stream: 1) == Lineage(since: 0))
  }

  @Test func `a row that is sent again never takes the place of an entry that waits`() throws {
    let it = try TwoWayEdge(Self.table, .twoWay("t"))
    try it.app.run("INSERT INTO t VALUES (1, 'a')")
    let edit = try it.edge.everything().entries[0]
    _ = try it.edge.resync(ResyncOrder(), stream: 1)
    try it.edge.bringAll()
    try it.edge.enter([[1]], stream: 1)
    #expect(try it.edge.everything().entries == [edit])
    // An edit takes the place of a row that is sent again.
    try it.edge.confirmAll()
    try it.edge.enter([[1], [2]], stream: 1)
    #expect(try it.told() == ["put 1: 1, 'a' (base 0, again)", "delete 2 (base 0, again)"])
    #expect(try it.versions() == [edit.version, 0])
    try it.edge.enter([[1]], stream: 1)
    try it.app.run("UPDATE t SET a = 'b'")
    #expect(try it.told() == ["delete 2 (base 0, again)", "put 1: 1, 'b' (base 0)"])
  }

  // The cloud may have been put back, and would send an old row over what the row here has seen.
  @Test func `nothing is applied while rows are sent again`() throws {
    let it = try TwoWayEdge(Self.table, .twoWay("t"))
    try it.edge.enter([[1]], stream: 1)
    let frame = it.frame([it.put([1, "x"], 10)])
    #expect(try it.edge.apply(frame) == nil && it.edge.downReceived() == nil)
    try it.edge.confirmAll()
    #expect(try it.edge.apply(frame)?.line == "applied 1")
  }

  @Test func `a new epoch sends every row again, and those that are gone as deletes`() throws {
    let it = try TwoWayEdge(Self.table, .twoWay("t"))
    try it.apply(it.put([1, "cloud"], 10), it.put([2, "cloud"], 11), it.delete(9, version: 12))
    try it.app.run("INSERT INTO t VALUES (3, 'mine'), (4, 'mine'); DELETE FROM t WHERE id = 4")
    let versions = try it.versions()
    try it.edge.confirmAll()
    try it.app.run("UPDATE t SET a = 'waits' WHERE id = 2")
    try it.edge.startEpoch(because: "a test says so")
    try it.edge.bringAll()
    #expect(
      try Set(it.told()) == [
        "put 2: 2, 'waits' (base 11)", "put 1: 1, 'cloud' (base 10, again)", "put 3: 3, 'mine' (base 0, again)",
        "delete 4 (base 0, again)", "delete 9 (base 12, again)",
      ])
    let told = Dictionary(uniqueKeysWithValues: try it.edge.everything().entries.map { (Array($0.key), $0.version) })
    #expect(told[[3]] == versions[0] && told[[4]] == versions[1] && told[[1]] == 0 && told[[9]] == 0)
  }

  @Test func `an epoch that begins because the cloud went back shares all versions with the one before`() throws {
    let it = try TwoWayEdge(Self.table, .twoWay("t"))
    try it.app.run("INSERT INTO t VALUES (1, 'a')")
    let version = try it.versions()[0]
    let parent = it.edge.epoch
    try it.edge.startEpoch(because: "the cloud went back")
    #expect(it.edge.lineage(stream: 1) == Lineage(since: 0, fork: .init(parent: parent, version: version)))
    let after = it.edge.lineage(stream: 1)
    try it.restart()
    #expect(it.edge.lineage(stream: 1) == after)
  }

  @Test func `an epoch that was never sent is no parent`() throws {
    let it = try TwoWayEdge(Self.table, .twoWay("t"))
    try it.app.run("INSERT INTO t VALUES (1, 'a')")
    let version = try it.versions()[0]
    let parent = it.edge.epoch
    try it.edge.startEpoch(because: "a test says so")
    try it.edge.startEpoch(because: "a test says so again")
    #expect(it.edge.lineage(stream: 1)?.fork == .init(parent: parent, version: version))
  }

  /// The app's database as it was, with what it wrote since.
  private func restored(_ it: TwoWayEdge, _ copy: String) throws {
    try AppDatabase.connect(it.app.file(copy)).backup(to: it.app.connection)
  }

  @Test func `a restored database continues from what was handed out before the backup`() throws {
    let it = try TwoWayEdge(Self.table, .twoWay("t"))
    try it.app.run("INSERT INTO t VALUES (1, 'a')")
    let shared = try it.versions()[0]
    try it.edge.confirmAll()
    let parent = it.edge.epoch
    try it.app.run("VACUUM INTO '\(it.app.file("copy.db"))'")
    try it.app.run("UPDATE t SET a = 'lost'")
    let lost = try it.versions()[0]
    try it.edge.confirmAll()
    try restored(it, "copy.db")
    // It may be given the version that the lost edit had.
    try it.app.run("UPDATE t SET a = 'after'")
    #expect {
      try it.edge.hasChanged()
    } throws: {
      if case EdgeStoreError.otherDatabase = $0 { true } else { false }
    }
    try it.edge.startEpoch(because: "it was restored")
    try it.edge.bringAll()
    #expect(it.edge.lineage(stream: 1)?.fork == .init(parent: parent, version: shared))
    #expect(try it.told() == ["put 1: 1, 'after' (base 0)"])
    try it.edge.confirmAll()
    // What the cloud had seen of the lost history covers no edit of this one, and what both share covers itself.
    let mark = { DownEvent.Mark(epoch: parent, version: $0) }
    #expect(try it.apply(it.put([1, "cloud"], 10, edge: mark(lost + 1_000_000_000))) == "edited 1")
    try it.app.run("DELETE FROM drover_row")
    try it.app.run("INSERT INTO drover_row (stream, mine, key) VALUES (1, \(shared), 1)")
    #expect(try it.apply(it.put([1, "cloud"], 11, edge: mark(lost))) == "applied 1")
  }

  @Test func `where the bookkeeping was dropped nothing is known of before`() throws {
    let it = try TwoWayEdge(Self.table, .twoWay("t"))
    try it.app.run("INSERT INTO t VALUES (1, 'a')")
    try it.edge.confirmAll()
    try it.app.run("DROP TABLE drover_row")
    _ = try it.edge.refresh()
    // Any row may have been edited up to now.
    let highest = try it.app.integer("SELECT version FROM drover_clock")
    #expect(it.edge.lineage(stream: 1)?.since == Int64(highest))
    try it.app.run("DROP TABLE drover_outbox; DROP TABLE drover_meta; DROP TABLE drover_clock")
    try it.restart()
    #expect(it.edge.lineage(stream: 1) == Lineage(since: 0))
  }

  // MARK: Directions

  @Test func `a stream becomes two-way and back without sending its rows again`() throws {
    let it = try TwoWayEdge(Self.table + "; INSERT INTO t VALUES (1, 'a'), (2, 'b')", .table("t"))
    try it.app.run("UPDATE t SET a = 'c' WHERE id = 1; DELETE FROM t WHERE id = 2")
    let highest = try it.versions().max()!
    try it.restart([.twoWay("t")])
    #expect(!it.edge.hasBackfill && it.edge.gaps.isEmpty)
    #expect(try it.told() == ["put 1: 1, 'c' (base 0)", "delete 2 (base 0)"])
    #expect(it.edge.lineage(stream: 1) == Lineage(since: highest))
    try it.restart([.table("t")])
    #expect(!it.edge.hasBackfill && it.edge.lineage(stream: 1) == nil)
    #expect(try it.told() == ["put 1: 1, 'c' (up only)", "delete 2 (up only)"])
  }

  // A database was restored while the agent was stopped, and only the cloud noticed. Until then rows came down, whose versions were above those of the edits that
  // were lost: the cloud took these for known, and they stayed in the cloud alone.
  @Test func `an epoch that begins because of a run that is lost continues from where the agent started`() throws {
    let it = try TwoWayEdge(Self.table, .twoWay("t"))
    try it.app.run("INSERT INTO t VALUES (1, 'a')")
    try it.edge.confirmAll()
    try it.restart()
    let before = Int64(try it.app.integer("SELECT version FROM drover_clock"))
    let above = before + 1_000_000_000
    try it.apply(it.put([2, "cloud"], above))
    try it.app.run("INSERT INTO t VALUES (3, 'new')")
    let ended = it.edge.epoch
    try it.edge.startEpoch(because: "a test says so", wasRestored: true)
    #expect(it.edge.lineage(stream: 1)?.fork == Lineage.Fork(parent: ended, version: before))
    // Of a database that was not restored all of it is known.
    let second = it.edge.epoch
    try it.edge.bringAll()
    try it.edge.startEpoch(because: "a test says so")
    let fork = try #require(it.edge.lineage(stream: 1)?.fork)
    #expect(fork.parent == second || fork.version <= before, "nothing was sent of it")
  }

  @Test func `nothing of reference data goes up but edits, which what comes down replaces`() throws {
    let it = try TwoWayEdge(Self.table + "; INSERT INTO t VALUES (1, 'a'), (2, 'b')", .twoWay("t", direction: .down))
    #expect(try it.edge.waiting() == [] && !it.edge.hasBackfill && it.edge.lineage(stream: 1) == nil)
    try it.app.run("UPDATE t SET a = 'b' WHERE id = 1")
    #expect(try it.edge.waiting().count == 1)
    #expect(try it.apply(it.put([1, "cloud"], 10)) == "applied 1")
    try it.edge.startEpoch(because: "a test says so")
    #expect(!it.edge.hasBackfill)
    #expect(try it.edge.waiting().count == 1 && it.rows() == ["1, 'cloud'", "2, 'b'"])
  }

  // The cloud's store was put back to a copy. Its prices had lower versions than those that it had lost, so the machines kept the lost ones for ever, and with
  // them prices of which the store knew nothing any more.
  @Test func `reference data is as the cloud has it after the store went back`() throws {
    let it = try TwoWayEdge(Self.table + "; INSERT INTO t VALUES (9, 'before')", .twoWay("t", direction: .down))
    try it.apply(it.put([1, "old"], 10), it.put([2, "lost"], 20), it.put([3, "same"], 11))
    try it.apply(it.put([1, "lost"], 30))
    try it.app.run("INSERT INTO t VALUES (8, 'mine')")
    func frame(_ interval: Interval, _ event: DownEvent) -> DownFrame {
      var event = event
      event.seq = interval.through
      return DownFrame(stream: 1, epoch: try! Epoch("d2"), interval: interval, last: 2, events: [event])
    }
    _ = try it.edge.apply(frame(Interval(after: 0, through: 1), it.put([1, "old"], 10)))
    // The other rows may still come.
    #expect(try it.rows() == ["1, 'old'", "2, 'lost'", "3, 'same'", "8, 'mine'", "9, 'before'"])
    _ = try it.edge.apply(frame(Interval(after: 1, through: 2), it.put([3, "same"], 11)))
    #expect(try it.rows() == ["1, 'old'", "3, 'same'", "8, 'mine'", "9, 'before'"])
    // And only once.
    try it.app.run("INSERT INTO t VALUES (2, 'mine')")
    _ = try it.edge.apply(frame(Interval(after: 1, through: 2), it.put([3, "same"], 11)))
    #expect(try it.rows().count == 5)
  }

  // A person had inserted a row that went down, and the store was put back to before that. It had nothing else of the machine's that was lost, so the machine
  // noticed nothing: the row stayed at the machine alone.
  @Test func `rows that both sides edit are sent again when the store has gone back`() throws {
    let it = try TwoWayEdge(Self.table, .twoWay("t"))
    try it.apply(it.put([1, "cloud"], 10), it.delete(2, version: 11))
    try it.edge.note(numbering: it.downEpoch)
    #expect(!it.edge.hasBackfill)
    try it.edge.note(numbering: Epoch("d2"))
    try it.edge.bringAll()
    #expect(try it.told() == ["put 1: 1, 'cloud' (base 10, again)", "delete 2 (base 11, again)"])
    #expect(try it.edge.downReceived() == DownConfirmation(epoch: Epoch("d2")))
    try it.edge.note(numbering: Epoch("d2"))
    #expect(!it.edge.hasBackfill)
  }

  // The store was restored and gave lost numbers again, to other rows, before it heard of the machine. The machine took them, and with that it could not say any more
  // what it had received.
  @Test func `rows under numbers that were received from another run are dropped, and the cloud hears of it`() throws {
    let it = try TwoWayEdge(Self.table, .twoWay("t"))
    let t = try StreamName("t")
    func apply(_ numbers: ClosedRange<Int64>, _ run: StoreRun?, _ event: DownEvent) throws -> DownOutcome? {
      var event = event
      event.seq = numbers.upperBound
      let interval = Interval(after: numbers.lowerBound - 1, through: numbers.upperBound)
      return try it.edge.looking {
        try it.edge.apply(DownFrame(stream: 1, epoch: it.downEpoch, interval: interval, run: run, events: [event]))
      }
    }
    let (old, lost, new) = (StoreRun(number: 5, first: 1), StoreRun(number: 6, first: 3), StoreRun(number: 7, first: 3))
    #expect(try apply(1...2, old, it.put([1, "old"], 10))?.applied == 1)
    #expect(try apply(3...4, lost, it.put([1, "lost"], 20))?.applied == 1)
    #expect(try it.edge.downReceived()?.runs == [t: 6])
    #expect(try apply(3...3, new, it.put([1, "new"], 30))?.repeatsNumbers == true)
    #expect(
      try apply(6...7, new, it.put([1, "new"], 31))?.repeatsNumbers == true, "not all of its numbers are received")
    #expect(try it.rows() == ["1, 'lost'"])
    #expect(
      try it.edge.downReceived() == DownConfirmation(epoch: it.downEpoch, streams: [t: [1...4]], runs: [t: 6]))
    // A frame of an older state of the store was overtaken; one without a run is from an older consumer.
    #expect(try apply(1...2, old, it.put([2, "old"], 10))?.repeatsNumbers == true)
    #expect(try apply(5...5, nil, it.put([2, "a"], 11))?.applied == 1)
    let next = StoreRun(number: 8, first: 6)
    #expect(try apply(6...6, next, it.put([3, "a"], 40))?.applied == 1)
    #expect(try it.edge.downReceived()?.runs == [t: 8])
    it.downEpoch = try Epoch("d2")
    #expect(try apply(1...1, new, it.put([4, "a"], 50))?.applied == 1)
    #expect(try it.edge.downReceived()?.runs == [t: 7])
  }

  @Test func `the first numbering sends nothing again`() throws {
    let it = try TwoWayEdge(Self.table, .twoWay("t"))
    try it.edge.note(numbering: it.downEpoch)
    #expect(try !it.edge.hasBackfill && it.edge.downReceived() == nil)
  }

  @Test func `rows that both sides edit are held across numberings`() throws {
    let it = try TwoWayEdge(Self.table, .twoWay("t"))
    try it.apply(it.put([1, "new"], 30))
    it.downEpoch = try Epoch("d2")
    #expect(try it.apply(it.put([1, "old"], 10)) == "old 1")
    #expect(try it.rows() == ["1, 'new'"])
  }

  @Test func `a table whose rows cannot be found again is refused`() throws {
    let app = try AppDatabase("CREATE TABLE t (a, b); CREATE TABLE u (id INTEGER PRIMARY KEY, a)")
    #expect(
      try app.refusal(.twoWay("t")).contains("it has no primary key")
        || app.refusal(.twoWay("t")).contains("has no primary key"))
    #expect(try app.refusal(.twoWay("t", key: ["a"])).contains("nothing keeps the key a of t unique"))
  }

  // MARK: Making and removing

  @Test func `an outbox of an earlier release takes it up, and detaching removes all`() throws {
    let app = try AppDatabase(Self.table)
    let catalogue = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
    let before = try app.lines(catalogue)
    do {
      let edge = try app.attach(.table("t"))
      try app.run("INSERT INTO t VALUES (1, 'a')")
      #expect(try app.lines("SELECT name FROM sqlite_master WHERE name IN ('drover_row', 'drover_down')") == [])
      _ = edge
    }
    try app.run(
      """
      DROP INDEX drover_dead_letter_down; ALTER TABLE drover_outbox DROP COLUMN again;
      ALTER TABLE drover_stream DROP COLUMN direction;
      ALTER TABLE drover_stream DROP COLUMN two_way_since; ALTER TABLE drover_dead_letter DROP COLUMN direction;
      ALTER TABLE drover_dead_letter DROP COLUMN edge_epoch; ALTER TABLE drover_dead_letter DROP COLUMN edge_version;
      ALTER TABLE drover_dead_letter DROP COLUMN is_due
      """)
    do {
      let edge = try EdgeDatabase(path: app.path, declarations: [.twoWay("t")])
      #expect(try edge.waiting() == ["put 1: 1, 'a'"])
      #expect(edge.lineage(stream: 1) != nil)
    }
    _ = try EdgeDatabase.detach(path: app.path)
    #expect(try app.lines(catalogue) == before)
  }
}
