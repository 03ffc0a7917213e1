import DroverCore
import DroverSQLite
import DroverTesting
import GRDB
import Testing

/// What the edge does with rows that come down.
@Suite struct ApplyingTests {
  private static let table = "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b DEFAULT 'none')"

  @Test func `a row that comes down is inserted, changed and removed, and makes no event`() throws {
    let it = try TwoWayEdge(Self.table, .twoWay("t"))
    #expect(try it.apply(it.put([1, "x", 2.5], 10), it.put([2, .null, .blob([0, 0xff])], 11)) == "applied 2")
    #expect(try it.rows() == ["1, 'x', 2.5", "2, NULL, x'00ff'"])
    #expect(try it.apply(it.put([1, "y", .null], 12), it.delete(2, version: 13)) == "applied 2")
    #expect(try it.rows() == ["1, 'y', NULL"])
    #expect(try it.edge.waiting() == [] && it.book() == ["1, 12, 0", "2, 13, 0"])
  }

  @Test func `a row that is as new or newer here is left as it is`() throws {
    let it = try TwoWayEdge(Self.table, .twoWay("t"))
    try it.apply(it.put([1, "new", .null], 20))
    #expect(try it.apply(it.put([1, "old", .null], 19), it.put([1, "same", .null], 20)) == "old 2")
    #expect(try it.rows() == ["1, 'new', NULL"])
  }

  @Test func `an edit that waits wins over a row that had not seen it, and its base stays what it had seen`() throws {
    let it = try TwoWayEdge(Self.table, .twoWay("t"))
    try it.apply(it.put([1, "cloud", .null], 10))
    try it.app.run("UPDATE t SET a = 'mine'")
    #expect(try it.apply(it.put([1, "later", .null], 20)) == "edited 1")
    #expect(try it.rows() == ["1, 'mine', NULL"])
    #expect(try it.told() == ["put 1: 1, 'mine', NULL (base 10)"])
    // The cloud has decided about it by now.
    let edit = try it.versions()[0]
    #expect(try it.apply(it.put([1, "decided", .null], 30, edge: it.seen(edit))) == "applied 1")
    #expect(try it.told() == ["put 1: 1, 'decided', NULL (base 30)"])
  }

  @Test func `a confirmed edit is known, and a row that had not seen it is skipped`() throws {
    let it = try TwoWayEdge(Self.table, .twoWay("t"))
    try it.app.run("INSERT INTO t VALUES (1, 'mine', NULL), (2, 'gone', NULL); DELETE FROM t WHERE id = 2")
    let versions = try it.versions()
    try it.edge.confirmAll()
    #expect(try it.book() == zip(1..., versions).map { "\($0), 0, \($1)" })
    #expect(try it.app.integer("SELECT count(*) FROM drover_outbox") == 0)
    // The cloud confirmed the delete of row 2 and knows of none: it has forgotten it.
    #expect(try it.apply(it.put([1, "x", .null], 10), it.put([2, "x", .null], 11)) == "applied 1, edited 1")
    #expect(try it.apply(it.put([1, "x", .null], 12, edge: it.seen(versions[0] - 1))) == "edited 1")
    #expect(try it.apply(it.put([1, "x", .null], 13, edge: it.seen(versions[0]))) == "applied 1")
  }

  @Test func `what was received is known after a start, and nothing of another numbering`() throws {
    let it = try TwoWayEdge(Self.table, .twoWay("t"))
    #expect(try it.edge.downReceived() == nil)
    let first = it.frame([it.put([1, "a", .null], 1)])
    let second = it.frame([it.put([2, "b", .null], 2)])
    let third = it.frame([])
    for frame in [third, first] { _ = try it.edge.apply(frame) }
    try it.restart()
    let t = try StreamName("t")
    #expect(try it.edge.downReceived() == DownConfirmation(epoch: it.downEpoch, streams: [t: [1...1, 3...3]]))
    _ = try it.edge.apply(second)
    #expect(try it.edge.downReceived()?.streams == [t: [1...3]])
    it.downEpoch = try Epoch("d2")
    #expect(try it.apply(it.put([1, "older", .null], 1)) == "old 1")
    #expect(try it.edge.downReceived() == DownConfirmation(epoch: it.downEpoch, streams: [t: [4...4]]))
  }

  @Test func `an edit after a row of a later clock is newer than that`() throws {
    let it = try TwoWayEdge(Self.table, .twoWay("t"))
    let far: Int64 = 4_000_000_000_000_000
    try it.apply(it.put([1, "a", .null], far))
    try it.app.run("UPDATE t SET a = 'b'")
    #expect(try it.versions() == [far + 1])
  }

  // Of a database that is put back the cloud would not send again what it was told.
  @Test func `a database that is put back to before a frame is another one`() throws {
    let it = try TwoWayEdge(Self.table, .twoWay("t"))
    try it.app.run("VACUUM INTO '\(it.app.file("copy.db"))'")
    try it.apply(it.put([1, "a", .null], 10))
    let parent = it.edge.epoch
    let copy = try AppDatabase.connect(it.app.file("copy.db"))
    try copy.backup(to: it.app.connection)
    #expect {
      try it.edge.hasChanged()
    } throws: {
      if case EdgeStoreError.otherDatabase = $0 { true } else { false }
    }
    try it.edge.startEpoch(because: "a test says so")
    #expect(try it.edge.downReceived() == nil)
    #expect(it.edge.lineage(stream: 1)?.fork?.parent == parent)
  }

  // The note costs two flushes, so it is written when the cloud is told, which does not send again what it was told.
  @Test(arguments: [true, false])
  func `an agent that starts on a database from before a frame begins a new epoch if the cloud was told`(isTold: Bool)
    throws
  {
    let it = try TwoWayEdge(Self.table, .twoWay("t"))
    try it.app.run("VACUUM INTO '\(it.app.file("copy.db"))'")
    try it.apply(it.put([1, "a", .null], 10))
    if isTold { #expect(try it.edge.downReceived() != nil) }
    let epoch = it.edge.epoch
    try AppDatabase.connect(it.app.file("copy.db")).backup(to: it.app.connection)
    try it.restart()
    #expect((it.edge.epoch != epoch) == isTold)
    #expect(try it.edge.downReceived() == nil)
  }

  @Test func `a locked database takes nothing of a frame, and all of it later`() throws {
    let it = try TwoWayEdge(Self.table, .twoWay("t"))
    _ = try it.edge.hasChanged()
    let frame = it.frame([it.put([1, "a", .null], 10), it.put([2, "b", .null], 11)])
    try it.app.run("BEGIN IMMEDIATE")
    #expect {
      try it.edge.apply(frame)
    } throws: {
      if case EdgeStoreError.busy = $0 { true } else { false }
    }
    try it.app.run("COMMIT")
    #expect(try it.rows() == [] && it.edge.downReceived() == nil)
    #expect(try it.edge.apply(frame)?.applied == 2)
  }
}
