import DroverCore
import DroverPostgreSQL
import DroverTesting
import Foundation
import Synchronization
import Testing

/// The change feed of a store in PostgreSQL: what all must hold, and what comes of several writers and of databases that are put back.
@Suite(.ownThread) struct ChangeFeedTests {
  @Test(arguments: ChangeFeedConformance.claims)
  func `the feed in PostgreSQL holds what all must`(claim: ChangeFeedConformance.Claim) throws {
    var database: TestDatabase?
    defer { withExtendedLifetime(database) {} }
    let suite = ChangeFeedConformance { now in
      let made = try TestServer.makeDatabase()
      database = made
      let store = try PostgreSQLCloudStore(made.address, now: now)
      #expect(try store.keepFeed(true) == .began(rows: 0))
      return .init(
        store: store, changes: PostgreSQLChangeReader(made.address), rows: PostgreSQLCloudReader(made.address))
    }
    try suite.check(claim)
  }

  private func follower(of database: TestDatabase) throws -> Follower {
    try Follower(PostgreSQLChangeReader(database.address), PostgreSQLCloudReader(database.address), seed: 1)
  }

  private let machine = try! MachineID("MAH001")
  private let other = try! MachineID("MAH002")
  private let stock = try! StreamName("stock")

  private func schema(key type: String = "INTEGER") throws -> StreamSchema {
    try StreamSchema(
      kind: .snapshot, columns: [Column(name: "id", declaredType: type), Column(name: "a", declaredType: "TEXT")],
      key: [0])
  }

  private func sink(_ schema: StreamSchema, of machine: MachineID? = nil) -> Sink {
    Sink(machine: machine ?? self.machine, stream: stock, kind: schema.kind, schema: schema)
  }

  private func put(_ ids: ClosedRange<Int64>, _ version: Int64) -> [SinkEvent] {
    ids.map { id in
      SinkEvent(
        seq: nil, localID: "\(id)", version: version, at: nil, key: [.integer(id)],
        content: .row([.integer(id), .text("v\(version)")]), raw: [])
    }
  }

  private func delete(_ ids: ClosedRange<Int64>, _ version: Int64) -> [SinkEvent] {
    ids.map { id in
      SinkEvent(
        seq: nil, localID: "\(id)", version: version, at: nil, key: [.integer(id)], content: .none, raw: [])
    }
  }

  private func bring(_ events: [SinkEvent], of machine: MachineID? = nil, to store: PostgreSQLCloudStore) throws {
    _ = try store.transaction {
      try $0.merge(events, epoch: Epoch(random: 1), into: sink(schema(), of: machine))
    }
  }

  /// Two consumers, who need not make tables any more: that is done by one at a time.
  private func two(_ database: TestDatabase) throws -> (PostgreSQLCloudStore, PostgreSQLCloudStore) {
    let (one, two) = (try PostgreSQLCloudStore(database.address), try PostgreSQLCloudStore(database.address))
    try one.transaction { transaction in
      for machine in [machine, other] {
        let refusal = try transaction.adopt(schema(), machine: machine, stream: stock)
        #expect(refusal == nil)
      }
    }
    return (one, two)
  }

  private func isGone(_ cursor: ChangeCursor, in database: TestDatabase) throws -> Bool {
    do {
      _ = try PostgreSQLChangeReader(database.address).open().read(ChangeQuestion(after: cursor)) { _ in true }
      return false
    } catch ChangesError.gone {
      return true
    }
  }

  // MARK: Several writers

  /// The first one's numbers are lower, and seen later.
  @Test func `nothing becomes visible behind a cursor, whoever commits first`() throws {
    let database = try TestServer.makeDatabase()
    let (one, two) = try two(database)
    _ = try one.keepFeed(true)
    try bring(put(1...3, 1), to: one)
    let session = try PostgreSQLChangeReader(database.address).open()
    var follower = try follower(of: database)
    try follower.catchUp()
    _ = try session.hasMoved()
    _ = try one.transaction { transaction in
      let outcomes = try transaction.merge(
        put(2...4, 2) + delete(1...1, 2), epoch: Epoch(random: 1), into: sink(schema()))
      try bring(put(1...9, 1) + delete(9...9, 2), of: other, to: two)
      try follower.catchUp()
      #expect(follower.heard == ChangeCounts(puts: 3))
      #expect(try !session.hasMoved(), "there is nothing to read")
      return outcomes
    }
    #expect(try session.hasMoved())
    try follower.expectStore()
    #expect(follower.heard == ChangeCounts(puts: 14, deletes: 2))
    #expect(follower.repeated == 0 && follower.beginnings == 0)
  }

  @Test func `what waited for a transaction that failed is heard of`() throws {
    struct Mistake: Error {}
    let database = try TestServer.makeDatabase()
    let (one, two) = try two(database)
    _ = try one.keepFeed(true)
    let session = try PostgreSQLChangeReader(database.address).open()
    var follower = try follower(of: database)
    #expect(throws: Mistake.self) {
      try one.transaction { transaction in
        _ = try transaction.merge(put(1...3, 1), epoch: Epoch(random: 1), into: sink(schema()))
        try bring(put(1...2, 1), of: other, to: two)
        _ = try session.hasMoved()
        throw Mistake()
      }
    }
    #expect(try session.hasMoved())
    try follower.expectStore()
    #expect(follower.heard == ChangeCounts(puts: 2))
  }

  @Test func `whoever writes while it is switched on, or off, is in it, or not`() throws {
    let database = try TestServer.makeDatabase()
    let (one, two) = try two(database)
    try bring(put(1...3, 1), to: one)
    for isWanted in [true, false, true] {
      let change = Mutex<Result<FeedChange, any Error>?>(nil)
      let ended = DispatchSemaphore(value: 0)
      let watch = try database.connect()
      nonisolated(unsafe) let switching = two
      try one.transaction { transaction in
        Thread.detachNewThread {
          change.withLock { $0 = Result { try switching.keepFeed(isWanted) } }
          ended.signal()
        }
        while try !watch.query(
          "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'drover_feed'::regclass)"
        ).boolean(0, 0) {
          guard ended.wait(timeout: .now()) == .timedOut else { throw CancellationError() }
        }
        let version: Int64 = try watch.query("SELECT max(drover_version) FROM stock").integer(0, 0) + 1
        _ = try transaction.merge(
          put(3...5, version) + delete(1...1, version), epoch: Epoch(random: 1), into: sink(schema()))
        try transaction.setSession("x")
      }
      ended.wait()
      #expect(try change.withLock { try $0!.get() } == (isWanted ? .began(rows: 4) : .ended))
      guard isWanted else { continue }
      try bring(put(5...6, 100), to: one)
      var follower = try follower(of: database)
      try follower.expectStore()
      try bring(delete(5...6, 101), to: one)
      try follower.expectStore()
      try bring(put(5...5, 102), to: one)
    }
  }

  // MARK: On and off

  @Test func `without it the tables are as they always were, and there is nothing to read`() throws {
    let database = try TestServer.makeDatabase()
    let store = try PostgreSQLCloudStore(database.address)
    #expect(try store.keepFeed(false) == .none)
    try bring(put(1...2, 1), to: store)
    let columns = try Reader(database: database).columns(of: "stock")
    #expect(columns == ["machine_id", "id", "a", "drover_epoch", "drover_version"])
    let session = try PostgreSQLChangeReader(database.address).open()
    #expect(throws: ChangesError.off) { try session.report() }
    #expect(throws: ChangesError.off) { try session.read(ChangeQuestion()) { _ in true } }
  }

  @Test func `without a store it says who makes one`() throws {
    let database = try TestServer.makeDatabase()
    #expect {
      try PostgreSQLChangeReader(database.address).open()
    } throws: {
      "\($0)".contains("`drover cloud` makes it")
    }
  }

  @Test func `rows that are there get a number when it is switched on, and another era when it is switched on again`()
    throws
  {
    let database = try TestServer.makeDatabase()
    let store = try PostgreSQLCloudStore(database.address)
    try bring(put(1...3, 1), to: store)
    #expect(try store.keepFeed(true) == .began(rows: 3))
    #expect(try store.keepFeed(true) == .none)
    var follower = try follower(of: database)
    try bring(put(3...5, 2), to: store)
    try follower.expectStore()
    #expect(follower.heard == ChangeCounts(puts: 5))
    #expect(try store.keepFeed(false) == .ended)
    try bring(put(4...6, 3), to: store)
    let left = try database.connect().query(
      "SELECT count(*) FROM pg_class WHERE relname LIKE 'drover_gone_%' OR relname LIKE 'drover_changes_of_%'")
    #expect(left.integer(0, 0) == 0)
    #expect(try store.keepFeed(true) == .began(rows: 6))
    try follower.expectStore()
    #expect(follower.beginnings == 1)
  }

  @Test func `numbers go on where they were when the store is opened again, and after a crash`() throws {
    let database = try TestServer.makeDatabase()
    var follower: Follower?
    for round in 1...3 {
      let store = try PostgreSQLCloudStore(database.address)
      #expect(try store.keepFeed(true) == (round == 1 ? .began(rows: 0) : .none))
      follower = try follower ?? self.follower(of: database)
      try bring(put(1...2, Int64(round)), to: store)
      try follower!.catchUp()
    }
    #expect(follower!.heard == ChangeCounts(puts: 6) && follower!.beginnings == 0 && follower!.repeated == 0)
  }

  // MARK: Another database, or one that was put back

  @Test func `a copy of the database, and tables that a dump has made anew, have another era`() throws {
    let database = try TestServer.makeDatabase()
    var store: PostgreSQLCloudStore? = try PostgreSQLCloudStore(database.address)
    _ = try store!.keepFeed(true)
    try bring(put(1...3, 1), to: store!)
    let cursor = try PostgreSQLChangeReader(database.address).open().report().newest
    store = nil
    let copy = try TestServer.makeDatabase(copying: database)
    #expect(try !isGone(cursor, in: database))
    #expect(try isGone(cursor, in: copy))
    try database.connect().run(
      """
      ALTER TABLE drover_feed RENAME TO old; CREATE TABLE drover_feed (LIKE old);
      INSERT INTO drover_feed SELECT * FROM old; DROP TABLE old
      """)
    #expect(try isGone(cursor, in: database))
  }

  @Test func `a database that was put back under a consumer begins a new era`() throws {
    let database = try TestServer.makeDatabase()
    let store = try PostgreSQLCloudStore(database.address)
    _ = try store.keepFeed(true)
    try bring(put(1...3, 1), to: store)
    let cursor = try PostgreSQLChangeReader(database.address).open().report().newest
    func lose(_ further: String) throws {
      let watch = try database.connect()
      try watch.query(
        """
        SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()
        """)
      try watch.run(further)
    }
    try lose("SELECT 1")
    try bring(put(1...3, 2), to: store)
    #expect(try !isGone(cursor, in: database))
    // As a copy of its files from before the last transaction has them.
    try lose("UPDATE drover_feed_stream SET newest = newest - 3, puts = puts - 3")
    try bring(put(1...3, 2), to: store)
    #expect(try isGone(cursor, in: database))
  }

  // MARK: Tables

  @Test func `a key whose column is widened is still the name of rows that were deleted`() throws {
    let database = try TestServer.makeDatabase()
    let store = try PostgreSQLCloudStore(database.address)
    _ = try store.keepFeed(true)
    let schema = try schema(key: "BOOLEAN")
    func bring(_ events: [SinkEvent]) throws {
      let outcomes = try store.transaction { try $0.merge(events, epoch: Epoch(random: 1), into: sink(schema)) }
      #expect(outcomes.allSatisfy { $0 == .applied })
    }
    try bring(put(0...1, 1))
    var follower = try follower(of: database)
    try follower.catchUp()
    try bring(delete(1...1, 2))
    try bring(put(7...7, 3))
    try bring(delete(7...7, 4) + put(1 << 60...1 << 60, 4))
    try follower.expectStore()
    #expect(follower.heard == ChangeCounts(puts: 3, deletes: 2) && follower.beginnings == 0)
  }

  @Test func `many rows at once, by COPY, are in the feed`() throws {
    let database = try TestServer.makeDatabase()
    let store = try PostgreSQLCloudStore(database.address)
    _ = try store.keepFeed(true)
    var follower = try follower(of: database)
    try bring(put(1...3000, 1), to: store)
    try bring(put(2000...4000, 2), to: store)
    try bring(delete(1...1500, 3), to: store)
    try follower.expectStore()
    #expect(follower.heard.puts == 2500 && follower.repeated == 0)
  }

  @Test func `lines without a header that a check removes are deletes`() throws {
    let database = try TestServer.makeDatabase()
    let store = try PostgreSQLCloudStore(database.address)
    _ = try store.keepFeed(true)
    let sales = try LineSchema(
      table: StreamName("sales"),
      columns: [Column(name: "no", declaredType: "INTEGER"), Column(name: "receipt", declaredType: "INTEGER")],
      key: [0], references: [1])
    let receipts = try StreamSchema(
      kind: .batch, columns: [Column(name: "id", declaredType: "INTEGER")], key: [0], lines: [sales])
    let sink = Sink(machine: machine, stream: try StreamName("receipts"), kind: .batch, schema: receipts)
    let event = SinkEvent(
      seq: nil, localID: "1", version: 1, at: nil, key: [1], content: .row([1]), lines: [[[10, 1], [11, 1]]], raw: [])
    _ = try store.transaction { transaction in
      _ = try transaction.adopt(receipts, machine: machine, stream: sink.stream)
      return try transaction.merge([event], epoch: Epoch(random: 1), into: sink)
    }
    var follower = try follower(of: database)
    try follower.catchUp()
    try database.connect().run("UPDATE sales SET receipt = 2 WHERE no = 11")
    try PostgreSQLReplica(database.address).removeStrayLines(
      ReplicatedStream(machine: machine, stream: sink.stream, schema: receipts, isOnline: true))
    try follower.expectStore()
    #expect(follower.heard == ChangeCounts(puts: 3, deletes: 1))
  }
}
