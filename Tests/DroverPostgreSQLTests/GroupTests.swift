import DroverCloud
import DroverCore
import DroverPostgreSQL
import DroverTesting
import Foundation
import Logging
import Synchronization
import Testing

/// Several consumers on one database.
@Suite(.ownThread) struct GroupTests {
  private static let stream = try! StreamName("stock")
  private static let schema = try! StreamSchema(
    kind: .payload, columns: [Column(name: "id", declaredType: "INTEGER"), Column(name: "a", declaredType: "TEXT")],
    key: [0])

  // MARK: The store

  @Test(arguments: CloudStoreConformance.claims)
  func `two that take turns hold what every store must, and who follows them has its rows`(
    claim: CloudStoreConformance.Claim
  ) throws {
    var followed: FollowedStore?
    var holder: TestDatabase?
    defer { withExtendedLifetime(holder) {} }
    let suite = CloudStoreConformance { conditions in
      let database = try TestServer.makeDatabase()
      holder = database
      let limits = conditions.limits
      let stores = try (0..<2).map { _ in
        try PostgreSQLCloudStore(database.address, limits: limits, work: .shared, now: conditions.now)
      }
      _ = try stores[0].keepFeed(true)
      followed = FollowedStore(TakingTurns(stores), try follower(of: database))
      return (followed!, Reader(database: database, hidden: ["drover_change"]))
    }
    try suite.check(claim)
    try followed!.follower.expectStore()
  }

  @Test(arguments: TwoWayConformance.editing)
  func `two that take turns take edits, and who follows them has those rows`(claim: TwoWayConformance.Claim) throws {
    struct Client: SQLClient {
      let connection: Connection
      func run(_ sql: String) throws { try connection.run(sql) }
    }
    var followed: FollowedStore?
    var holder: TestDatabase?
    defer { withExtendedLifetime(holder) {} }
    let suite = TwoWayConformance { conditions in
      let database = try TestServer.makeDatabase()
      holder = database
      let stores = try (0..<2).map { _ in
        try PostgreSQLCloudStore(database.address, limits: conditions.limits, work: .shared, now: conditions.now)
      }
      _ = try stores[0].keepFeed(true)
      followed = FollowedStore(TakingTurns(stores), try follower(of: database))
      func client() throws -> Client { Client(connection: try database.connect()) }
      return TwoWayPlace(
        store: followed!, reader: Reader(database: database, hidden: ["drover_change"]),
        conflicts: try PostgreSQLConflicts(database.address, now: conditions.now),
        replica: try PostgreSQLReplica(database.address), client: try client(), otherClient: try client(),
        open: { try PostgreSQLCloudStore(database.address, limits: conditions.limits, now: conditions.now) })
    }
    try suite.check(claim)
    _ = try followed!.transaction { try $0.takeEdits(limit: 1000) }
    try followed!.follower.expectStore()
  }

  private func follower(of database: TestDatabase) throws -> Follower {
    try Follower(PostgreSQLChangeReader(database.address), PostgreSQLCloudReader(database.address), seed: 1)
  }

  private final class TakingTurns: CloudStore {
    private var stores: [PostgreSQLCloudStore]
    init(_ stores: [PostgreSQLCloudStore]) { self.stores = stores }

    var isShared: Bool { true }
    func note(_ name: String) throws -> String? { try stores[0].note(name) }
    func setNote(_ name: String, _ value: String?) throws { try stores[0].setNote(name, value) }
    func transaction<Result>(_ body: (any CloudTransaction) throws -> Result) throws -> Result {
      stores.append(stores.removeFirst())
      return try stores[0].transaction(body)
    }
  }

  @Test func `streams that another one has are left to him, and where he has all they are waited for`() throws {
    let database = try TestServer.makeDatabase()
    let (one, two) = (try shared(database), try shared(database))
    let streams = try (1...5).map { MachineStream(machine: try MachineID("M\($0)"), stream: Self.stream) }
    let claimed = try one.transaction { first in
      let some = try first.claim(streams, most: 2)
      let others = try two.transaction { second in
        [try second.claim(streams, most: 2), try first.claim(Array(streams[2...]), most: 9)]
      }
      return [some] + others
    }
    #expect(claimed == [Set(streams[..<2]), Set(streams[2..<4]), [streams[4]]])
    let all = try two.transaction { try $0.claim(streams, most: 9) }
    #expect(all == Set(streams))
  }

  private func shared(_ database: TestDatabase) throws -> PostgreSQLCloudStore {
    try PostgreSQLCloudStore(database.address, work: .shared)
  }

  // MARK: Numbers

  @Test func `each has a number of its own, and who comes after one that ended has his`() throws {
    let database = try TestServer.makeDatabase()
    var stores = try (0..<3).map { _ in try shared(database) }
    #expect(stores.map(\.number) == [1, 2, 3] && stores.allSatisfy(\.isNewcomer))
    stores.remove(at: 1)
    let successor = try shared(database)
    #expect(successor.number == 2 && !successor.isNewcomer)
    let workers = try PostgreSQLCloudReader(database.address).workers()
    #expect(workers.count == 3 && workers.allSatisfy(\.isMoving))
    // After a lost connection it is the same.
    try terminate(database)
    #expect(try successor.transaction { try $0.session() } == nil)
    #expect(successor.number == 2)
  }

  private func terminate(_ database: TestDatabase) throws {
    try database.connect().query(
      """
      SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
       WHERE datname = current_database() AND pid <> pg_backend_pid()
      """)
  }

  @Test func `one that works alone and a group refuse each other`() throws {
    let database = try TestServer.makeDatabase()
    var member: PostgreSQLCloudStore? = try shared(database)
    #expect {
      try PostgreSQLCloudStore(database.address, work: .alone)
    } throws: {
      "\($0)".contains("the same `group`") && member?.number == 1
    }
    member = nil
    let alone = try PostgreSQLCloudStore(database.address, work: .alone)
    #expect { try shared(database) } throws: { "\($0)".contains("a consumer without a `group`") }
    withExtendedLifetime(alone) {}
  }

  @Test func `who finds his number taken after his connection broke ends`() throws {
    let database = try TestServer.makeDatabase()
    let store = try shared(database)
    try terminate(database)
    var other: PostgreSQLCloudStore? = try shared(database)
    #expect(throws: StoreUnusable.self) { try store.transaction { _ in } }
    #expect(other?.number == 1)
    // He has said so, and takes it no more.
    other = nil
    #expect(throws: StoreUnusable.self) { try store.transaction { _ in } }
  }

  @Test func `one of them does what is done once for all, and another takes it when he is gone`() throws {
    let database = try TestServer.makeDatabase()
    var first: PostgreSQLCloudStore? = try shared(database)
    let second = try shared(database)
    first?.beat()
    second.beat()
    #expect(first?.isFirst == true && !second.isFirst)
    first = nil
    // A beat is due every few seconds; a new connection's first one is due at once.
    let third = try shared(database)
    while !third.isFirst, !second.isFirst {
      second.beat()
      third.beat()
    }
    #expect(third.isFirst != second.isFirst)
  }

  // MARK: Consumers

  private static let machines = (1...4).map { "M\($0)" }
  private static let framesOfMachine = 60
  private static let eventsOfFrame = 7

  private static func frame(_ machine: String, _ number: Int) -> InboundMessage {
    let after = number * eventsOfFrame
    let events = (1...eventsOfFrame).map {
      #"{"seq":\#(after + $0),"id":"\#(after + $0)","version":\#(after + $0),"body":{"id":\#(after + $0),"a":"x"}}"#
    }
    return InboundMessage(
      topic: "drover/v1/\(machine)/payload/\(stream)",
      payload: Array(
        """
        {"v":1,"epoch":"aaaa","run":1,"after":\(after),"through":\(after + eventsOfFrame),"schema":"\(schema.id)","events":[
        \(events.joined(separator: ",\n"))]}
        """.utf8))
  }

  @Test
  func
    `three at once, to whom frames of all machines come as dice fall and some twice, lose and double nothing, nor does who follows them`()
    async throws
  {
    let database = try TestServer.makeDatabase()
    let setup = try shared(database)
    _ = try setup.keepFeed(true)
    for machine in Self.machines {
      _ = try setup.transaction { try $0.adopt(Self.schema, machine: MachineID(machine), stream: Self.stream) }
    }
    let frames = (0..<Self.framesOfMachine).flatMap { number in Self.machines.map { Self.frame($0, number) } }
    var hands = [[InboundMessage]](repeating: [], count: 3)
    for frame in frames {
      hands[Int.random(in: 0..<3)].append(frame)
      if Int.random(in: 0..<5) == 0 { hands[Int.random(in: 0..<3)].append(frame) }
    }
    let watch = Watch(try follower(of: database), writers: hands.count)
    await withTaskGroup(of: Void.self) { group in
      for hand in hands {
        group.addTask {
          await Self.onThread { try Self.consume(hand, from: database) }
          watch.left.subtract(1, ordering: .relaxed)
        }
      }
      group.addTask {
        await Self.onThread {
          while watch.left.load(ordering: .relaxed) > 0 { try watch.follower.withLock { try $0.catchUp() } }
        }
      }
    }

    let count = Self.framesOfMachine * Self.eventsOfFrame
    let heard = try watch.follower.withLock { follower in
      try follower.expectStore()
      #expect(follower.repeated == 0 && follower.beginnings == 0)
      return follower.heard
    }
    #expect(heard == ChangeCounts(puts: Int64(count * Self.machines.count)))
    for machine in Self.machines {
      let received = try setup.transaction {
        try $0.received(machine: MachineID(machine), epoch: Epoch("aaaa"), stream: Self.stream)
      }
      #expect(received == IntervalSet([Interval(after: 0, through: Int64(count))]), "\(machine)")
    }
    #expect(try Reader(database: database).rows(of: "stock").count == count * Self.machines.count)
    #expect(try Reader(database: database).deadLetters().isEmpty)
    let report = try #require(try PostgreSQLCloudReader(database.address).report(.everything))
    #expect(report.machines.map { $0.streams.map(\.applied) } == Self.machines.map { _ in [count] })
  }

  /// Who follows them while they write.
  private final class Watch: Sendable {
    let follower: Mutex<Follower>
    let left: Atomic<Int>

    init(_ follower: sending Follower, writers: Int) {
      self.follower = Mutex(follower)
      left = Atomic(writers)
    }
  }

  private static func consume(_ messages: [InboundMessage], from database: TestDatabase) throws {
    let store = try PostgreSQLCloudStore(database.address, work: .shared)
    let consumer = Consumer(
      store: store, limits: .init(), logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
      wallClock: { 1_795_000_000_000_000 })
    for first in stride(from: 0, to: messages.count, by: 9) {
      try consumer.received(Array(messages[first..<min(messages.count, first + 9)]))
    }
  }

  private static func onThread(_ work: @escaping @Sendable () throws -> Void) async {
    await withCheckedContinuation { done in
      Thread.detachNewThread {
        do { try work() } catch { Issue.record(error) }
        done.resume()
      }
    }
  }
}
