import DroverCore
@testable import DroverSQLite
import DroverTesting
import Foundation
import GRDB
import Testing

/// The change feed of a store in SQLite: what all must hold, and what is this one's own.
@Suite(.ownThread) struct ChangeFeedTests {
  @Test(arguments: ChangeFeedConformance.claims)
  func `the feed in SQLite holds what all must`(claim: ChangeFeedConformance.Claim) throws {
    let folder = try Folder()
    let suite = ChangeFeedConformance { now in
      let store = try SQLiteCloudStore(path: folder.path, now: now)
      #expect(try store.keepFeed(true) == .began(rows: 0))
      return .init(
        store: store, changes: SQLiteChangeReader(path: folder.path), rows: SQLiteCloudReader(path: folder.path))
    }
    try suite.check(claim)
  }

  /// All that a store has to hold it holds with a feed, and a follower ends with what its tables have.
  @Test(arguments: CloudStoreConformance.claims)
  func `whatever happens to a store, its follower has its rows`(claim: CloudStoreConformance.Claim) throws {
    let folder = try Folder()
    var followed: FollowedStore?
    let suite = CloudStoreConformance { conditions in
      let store = try SQLiteCloudStore(
        path: folder.path,
        limits: conditions.limits,
        now: conditions.now)
      _ = try store.keepFeed(true)
      followed = FollowedStore(store, try follower(of: folder.path))
      return (followed!, Reader(folder: folder, hidden: ["drover_change"]))
    }
    try suite.check(claim)
    try followed!.follower.expectStore()
  }

  private func follower(of path: String, seed: UInt64 = 1) throws -> Follower {
    try Follower(SQLiteChangeReader(path: path), SQLiteCloudReader(path: path), seed: seed)
  }

  // MARK: On and off

  private let machine = try! MachineID("MAH001")
  private let schema = try! StreamSchema(
    kind: .snapshot, columns: [Column(name: "id", declaredType: "INTEGER"), Column(name: "a", declaredType: "TEXT")],
    key: [0])

  private func put(_ ids: ClosedRange<Int64>, _ version: Int64, into store: SQLiteCloudStore) throws {
    let sink = Sink(machine: machine, stream: try StreamName("stock"), kind: .snapshot, schema: schema)
    let events = ids.map { id in
      SinkEvent(
        seq: nil, localID: "\(id)", version: version, at: nil, key: [.integer(id)],
        content: .row([.integer(id), .text("v\(version)")]), raw: [])
    }
    _ = try store.transaction { try $0.merge(events, epoch: Epoch(random: 1), into: sink) }
  }

  private func columns(_ folder: Folder) throws -> [String] { try Reader(folder: folder).columns(of: "stock") }

  @Test func `without it the tables are as they always were, and there is nothing to read`() throws {
    let folder = try Folder()
    let store = try SQLiteCloudStore(path: folder.path)
    #expect(try store.keepFeed(false) == .none)
    try put(1...2, 1, into: store)
    #expect(try columns(folder) == ["machine_id", "id", "a", "drover_epoch", "drover_version"])
    let session = try SQLiteChangeReader(path: folder.path).open()
    #expect(throws: ChangesError.off) { try session.report() }
    #expect(throws: ChangesError.off) { try session.read(ChangeQuestion()) { _ in true } }
  }

  @Test func `rows that are there get a number when it is switched on, and another era when it is switched on again`()
    throws
  {
    let folder = try Folder()
    let store = try SQLiteCloudStore(path: folder.path)
    try put(1...3, 1, into: store)
    #expect(try store.keepFeed(true) == .began(rows: 3))
    #expect(try store.keepFeed(true) == .none)
    var follower = try follower(of: folder.path)
    try put(3...5, 2, into: store)
    try follower.expectStore()
    #expect(follower.heard == ChangeCounts(puts: 5))
    #expect(try store.keepFeed(false) == .ended)
    try put(4...6, 3, into: store)
    let (tables, indexes) = try QueryPlans.ofTest { try DatabaseQueue(path: folder.path) }.read { database in
      try (
        String.fetchAll(database, sql: "SELECT name FROM sqlite_master WHERE name LIKE 'drover_gone%'"),
        String.fetchAll(database, sql: "SELECT name FROM sqlite_master WHERE name LIKE 'drover_changes%'")
      )
    }
    #expect(tables == [] && indexes == [])
    #expect(try store.keepFeed(true) == .began(rows: 6))
    try follower.expectStore()
    #expect(follower.beginnings == 1)
  }

  @Test func `numbers go on where they were when the store is opened again`() throws {
    let folder = try Folder()
    var follower: Follower?
    for round in 1...3 {
      let store = try SQLiteCloudStore(path: folder.path)
      #expect(try store.keepFeed(true) == (round == 1 ? .began(rows: 0) : .none))
      follower = try follower ?? self.follower(of: folder.path)
      try put(1...2, Int64(round), into: store)
      try follower!.catchUp()
    }
    #expect(follower!.heard == ChangeCounts(puts: 6) && follower!.beginnings == 0 && follower!.repeated == 0)
  }

  @Test(arguments: [false, true])
  func `a store that went back begins a new era, and so does one whose memory is lost`(isMemoryLost: Bool) throws {
    let folder = try Folder()
    do {
      let store = try SQLiteCloudStore(path: folder.path)
      _ = try store.keepFeed(true)
      try put(1...3, 1, into: store)
    }
    let old = try Data(contentsOf: URL(filePath: folder.path))
    do {
      let store = try SQLiteCloudStore(path: folder.path)
      #expect(try store.keepFeed(true) == .none)
      try put(4...6, 2, into: store)
    }
    let cursor = try SQLiteChangeReader(path: folder.path).open().report().newest
    if isMemoryLost {
      try FileManager.default.removeItem(atPath: FeedMemory.path(for: folder.path))
    } else {
      try old.write(to: URL(filePath: folder.path))
    }
    let store = try SQLiteCloudStore(path: folder.path)
    #expect(try store.keepFeed(true) == .newEra)
    // Numbers that the reader knows are given again.
    try put(7...12, 3, into: store)
    let session = try SQLiteChangeReader(path: folder.path).open()
    #expect(try session.report().newest.number > cursor.number)
    #expect { try session.read(ChangeQuestion(after: cursor)) { _ in true } } throws: { error in
      if case ChangesError.gone = error { true } else { false }
    }
    var follower = try follower(of: folder.path)
    try follower.expectStore()
  }

  @Test func `a session says so when another store is in the place of its own`() throws {
    let folder = try Folder()
    let store = try SQLiteCloudStore(path: folder.path)
    _ = try store.keepFeed(true)
    let session = try SQLiteChangeReader(path: folder.path).open()
    _ = try session.report()
    try FileManager.default.moveItem(atPath: folder.path, toPath: folder.path + "-aside")
    let other = try SQLiteCloudStore(path: folder.path)
    _ = try other.keepFeed(true)
    #expect { try session.hasMoved() } throws: { "\($0)".contains("another store") }
  }

  @Test func `lines without a header that a check removes are deletes`() throws {
    let folder = try Folder()
    let store = try SQLiteCloudStore(path: folder.path)
    _ = try store.keepFeed(true)
    let sales = try LineSchema(
      table: StreamName("sales"),
      columns: [Column(name: "no", declaredType: "INTEGER"), Column(name: "receipt", declaredType: "INTEGER")],
      key: [0],
      references: [1])
    let receipts = try StreamSchema(
      kind: .batch, columns: [Column(name: "id", declaredType: "INTEGER")], key: [0], lines: [sales])
    let sink = Sink(machine: machine, stream: try StreamName("receipts"), kind: .batch, schema: receipts)
    let event = SinkEvent(
      seq: nil, localID: "1", version: 1, at: nil, key: [1], content: .row([1]), lines: [[[10, 1], [11, 1]]], raw: [])
    _ = try store.transaction { transaction in
      _ = try transaction.adopt(receipts, machine: machine, stream: sink.stream)
      return try transaction.merge([event], epoch: Epoch(random: 1), into: sink)
    }
    var follower = try follower(of: folder.path)
    try follower.catchUp()
    try QueryPlans.ofTest { try DatabaseQueue(path: folder.path) }.write {
      try $0.execute(sql: "UPDATE sales SET receipt = 2 WHERE no = 11")
    }
    try SQLiteReplica(path: folder.path).removeStrayLines(
      ReplicatedStream(machine: machine, stream: sink.stream, schema: receipts, isOnline: true))
    try follower.expectStore()
    #expect(follower.heard == ChangeCounts(puts: 3, deletes: 1))
    // And the consumer's numbers go on behind it.
    var later = event
    later.version = 2
    _ = try store.transaction { try $0.merge([later], epoch: Epoch(random: 1), into: sink) }
    try follower.expectStore()
    #expect(follower.heard == ChangeCounts(puts: 6, deletes: 1))
  }
}
