import DroverCloud
import DroverCore
import DroverPostgreSQL
import DroverProcesses
import DroverTesting
import Foundation
import Logging
import Synchronization
import Testing

/// Other writers, lost connections, servers that are silent, and events that only the database knows to refuse.
@Suite(.ownThread) struct TroubleTests {
  private static let machine = try! MachineID("MAH001")
  private static let schema = try! StreamSchema(
    kind: .snapshot, columns: [Column(name: "id", declaredType: "INTEGER"), Column(name: "a", declaredType: "TEXT")],
    key: [0])
  private static let sink = Sink(machine: machine, stream: try! StreamName("stock"), kind: .snapshot, schema: schema)

  private static func event(_ id: Int64, _ version: Int64, _ text: String = "x") -> SinkEvent {
    SinkEvent(
      seq: nil, localID: String(id), version: version, at: nil, key: [.integer(id)],
      content: .row([.integer(id), .text(text)]), raw: [])
  }

  private static func backends(_ connection: Connection, _ action: String) throws {
    try connection.query(
      "SELECT \(action) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
  }

  @Test func `a connection that was lost between two transactions is opened again at once`() throws {
    let database = try TestServer.makeDatabase()
    let store = try PostgreSQLCloudStore(database.address)
    try store.transaction { try $0.setSession("one") }
    try Self.backends(database.connect(), "pg_terminate_backend(pid)")
    #expect(try store.transaction { try $0.session() } == "one")
  }

  @Test func `a connection that is lost in a transaction is its failure, and the next one goes on`() throws {
    let database = try TestServer.makeDatabase()
    let store = try PostgreSQLCloudStore(database.address)
    var attempts = 0
    #expect(throws: PostgreSQLError.self) {
      try store.transaction { transaction in
        attempts += 1
        try transaction.setSession("lost")
        try Self.backends(database.connect(), "pg_terminate_backend(pid)")
        _ = try transaction.session()
      }
    }
    #expect(attempts == 1)
    #expect(try store.transaction { try $0.session() } == nil)
  }

  @Test func `a server that crashes and comes back is used again, and what was committed is there`() throws {
    let server = try PostgreSQLServer()
    let store = try PostgreSQLCloudStore(PostgreSQLAddress(uri: server.uri()))
    try store.transaction { try $0.setSession("one") }
    server.kill()
    #expect { try store.transaction { try $0.session() } } throws: { "\($0)".contains("is the server up") }
    try server.start()
    #expect(try store.transaction { try $0.session() } == "one")
  }

  @Test func `a server that is silent is waited for so long and no longer`() throws {
    let server = try PostgreSQLServer()
    let connection = try Connection(PostgreSQLAddress(uri: server.uri()))
    connection.patience = 1
    server.freeze()
    defer { server.thaw() }
    #expect { try connection.query("SELECT 1") } throws: { "\($0)".contains("no answer for 1 s") }
    #expect(connection.isLost)
  }

  @Test func `of two transactions in each other's way both are committed`() async throws {
    let database = try TestServer.makeDatabase()
    let store = try PostgreSQLCloudStore(database.address)
    let other = try database.connect()
    // It never finds out that it waits for the store, so the store is the one who is told.
    try other.run("SET deadlock_timeout = '60s'; INSERT INTO drover_meta VALUES ('session', 'old')")
    try other.run("BEGIN; INSERT INTO drover_machine (machine_id, first_heard, last_heard) VALUES ('MAH001', 0, 0)")
    var attempts = 0
    let waiting = Mutex<Thread?>(nil)
    let done = DispatchSemaphore(value: 0)
    try store.transaction { transaction in
      attempts += 1
      // Who comes first of two that want the same row is the server's choice: the other one, who can go on now.
      if attempts == 2 { done.wait() }
      try transaction.setSession("attempt \(attempts)")
      if attempts == 1 {
        let box = Box(other)
        waiting.withLock {
          $0 = Thread {
            try? box.content.run("UPDATE drover_meta SET value = 'new' WHERE name = 'session'; COMMIT")
            done.signal()
          }
          $0!.start()
        }
        try Self.waitUntilBlocked(database)
        // Which is the other one's row.
        try transaction.heard(machine: Self.machine, epoch: nil)
      }
    }
    #expect(attempts == 2)
    #expect(try store.transaction { try $0.session() } == "attempt 2")
  }

  /// Handed to the one thread that uses it from then on.
  private struct Box<Content>: @unchecked Sendable {
    let content: Content
    init(_ content: Content) { self.content = content }
  }

  /// - Parameter isOver: whether there is nothing left that could be blocked.
  private static func waitUntilBlocked(
    _ database: TestDatabase, _ many: Int64 = 1, orUntil isOver: () -> Bool = { false }
  ) throws {
    let connection = try database.connect()
    let blocked =
      "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    while try connection.query(blocked).integer(0, 0) < many, !isOver() {}
  }

  // Neither saw the other's: the delete found no row to remove, and the put no tombstone to heed. The row stayed.
  @Test func `a delete that another consumer merges before an older put is committed removes its row`() throws {
    let database = try TestServer.makeDatabase()
    let (store, other) = (try PostgreSQLCloudStore(database.address), try PostgreSQLCloudStore(database.address))
    // From the third time on a store knows the table, and nothing else holds them up.
    for store in [store, other, store, other] {
      _ = try store.transaction { try $0.merge([Self.event(1, 1)], epoch: nil, into: Self.sink) }
    }
    let box = Box(other)
    let done = DispatchSemaphore(value: 0)
    let isDone = Atomic<Bool>(false)
    try store.transaction { transaction in
      #expect(try transaction.merge([Self.event(7, 5)], epoch: nil, into: Self.sink) == [.applied])
      Thread.detachNewThread {
        var delete = Self.event(7, 6)
        delete.content = .none
        _ = try? box.content.transaction {
          try $0.merge([delete], epoch: nil, into: Self.sink)
        }
        isDone.store(true, ordering: .sequentiallyConsistent)
        done.signal()
      }
      try Self.waitUntilBlocked(database) { isDone.load(ordering: .sequentiallyConsistent) }
    }
    done.wait()
    #expect(try Reader(database: database).rows(of: "stock").map { $0["id"] } == [1])
  }

  // It was copied by nobody, and stood in the sink as if it had been matched.
  @Test func `what other consumers are writing when rows begin to be matched is matched too`() throws {
    let database = try TestServer.makeDatabase()
    let stores = try (0..<3).map { _ in try PostgreSQLCloudStore(database.address) }
    let (store, other, later) = (stores[0], stores[1], stores[2])
    let matched = try StreamSchema(
      kind: .snapshot, columns: Self.schema.columns, key: [0],
      naturalKey: NaturalKey(columns: [Self.schema.columns[1].name]))
    let second = try MachineID("MAH002")
    let third = try MachineID("MAH003")
    let otherSink = Sink(machine: third, stream: Self.sink.stream, kind: .snapshot, schema: Self.schema)
    for machine in [Self.machine, third] {
      #expect(try store.transaction { try $0.adopt(Self.schema, machine: machine, stream: Self.sink.stream) } == nil)
    }
    // They know the table then, and nothing else holds them up.
    for (store, sink) in [(other, Self.sink), (later, otherSink)] {
      _ = try store.transaction { try $0.merge([Self.event(1, 1, "known")], epoch: nil, into: sink) }
    }
    let done = DispatchSemaphore(value: 0)
    let over = Atomic<Int>(0)
    /// In a thread of its own, until it has to wait for the others.
    func begin(_ store: PostgreSQLCloudStore, _ body: @escaping @Sendable (any CloudTransaction) throws -> Void) throws
    {
      let box = Box((store, body))
      let isOver = over.load(ordering: .sequentiallyConsistent)
      Thread.detachNewThread {
        try? box.content.0.transaction(box.content.1)
        over.add(1, ordering: .sequentiallyConsistent)
        done.signal()
      }
      begun += 1
      try Self.waitUntilBlocked(database, begun) { over.load(ordering: .sequentiallyConsistent) > isOver }
    }
    var begun: Int64 = 0
    try other.transaction { transaction in
      _ = try transaction.merge([Self.event(7, 5, "thing")], epoch: nil, into: Self.sink)
      try begin(store) {
        // Other machines use the table without it, so it waits for the operator.
        _ = try $0.adopt(matched, machine: second, stream: Self.sink.stream)
        _ = try $0.accept(machine: second, stream: Self.sink.stream)
      }
      try begin(later) { _ = try $0.merge([Self.event(8, 5, "late")], epoch: nil, into: otherSink) }
    }
    for _ in 0..<begun { done.wait() }
    let sink = Sink(machine: second, stream: Self.sink.stream, kind: .snapshot, schema: matched)
    for event in [Self.event(70, 6, "thing"), Self.event(80, 6, "late")] {
      #expect(try other.transaction { try $0.merge([event], epoch: nil, into: sink) } == [.applied])
    }
    #expect(try Reader(database: database).rows(of: "stock").map { $0["id"] } == [1, 7, 8])
    #expect(try store.transaction { try $0.merge([Self.event(90, 7, "known")], epoch: nil, into: sink) } == [.applied])
    #expect(try Reader(database: database).rows(of: "stock").count == 3)
  }

  @Test func `two consumers that merge the same rows at once end with the newest of each`() async throws {
    let database = try TestServer.makeDatabase()
    _ = try PostgreSQLCloudStore(database.address).transaction {
      try $0.adopt(Self.schema, machine: Self.machine, stream: Self.sink.stream)
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for worker in 0..<3 {
        group.addTask { try Self.work(worker, PostgreSQLCloudStore(database.address)) }
      }
      try await group.waitForAll()
    }
    // The same events, one consumer after the other.
    let alone = try TestServer.makeDatabase()
    let store = try PostgreSQLCloudStore(alone.address)
    for worker in 0..<3 { try Self.work(worker, store) }
    #expect(
      try Set(Reader(database: database).rows(of: "stock")) == Set(Reader(database: alone).rows(of: "stock")))
  }

  /// Puts and deletes of the same few rows, several of one row in one group too.
  private static func work(_ worker: Int, _ store: PostgreSQLCloudStore) throws {
    var random = Seeded(UInt64(worker + 1))
    for turn in 0..<40 {
      let version = Int64(turn * 3 + worker + 1)
      let events = (0..<5).map { _ in
        var event = event(Int64(random.below(8)), version, "v\(version)")
        if random.below(4) == 0 { event.content = .none }
        return event
      }
      _ = try store.transaction { try $0.merge(events, epoch: nil, into: sink) }
    }
  }

  @Test func `what only the database knows to refuse is refused alone, and nobody reads its content`() throws {
    let database = try TestServer.makeDatabase()
    let store = try PostgreSQLCloudStore(database.address)
    _ = try store.transaction { try $0.adopt(Self.schema, machine: Self.machine, stream: Self.sink.stream) }
    try database.connect().run(
      """
      CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN IF NEW.id % 7 = 0 THEN RAISE EXCEPTION 'not today'; END IF; RETURN NEW; END $$;
      CREATE TRIGGER no BEFORE INSERT ON stock FOR EACH ROW EXECUTE FUNCTION no()
      """)
    let outcomes = try store.transaction {
      try $0.merge((1...30).map { Self.event($0, 1, "secret") }, epoch: nil, into: Self.sink)
    }
    for (id, outcome) in zip(1..., outcomes) {
      guard id % 7 == 0 else {
        #expect(outcome == .applied)
        continue
      }
      guard case .refused(.store, let detail) = outcome else {
        Issue.record("\(id): \(outcome)")
        continue
      }
      #expect(detail.contains("not today") && !detail.contains("secret"))
    }
    #expect(try Reader(database: database).rows(of: "stock").count == 26)
    // A row that is too large for an index, likewise.
    let long = (0..<9000).map { _ in String(UnicodeScalar(UInt8.random(in: 0x21...0x7e))) }.joined()
    let keyed = try StreamSchema(kind: .snapshot, columns: [Column(name: "k", declaredType: "TEXT")], key: [0])
    let sink = Sink(machine: Self.machine, stream: try StreamName("keyed"), kind: .snapshot, schema: keyed)
    let events = [long, "short"].map {
      SinkEvent(seq: nil, localID: $0, version: 1, at: nil, key: [.text($0)], content: .row([.text($0)]), raw: [])
    }
    let second = try store.transaction { try $0.merge(events, epoch: nil, into: sink) }
    #expect(second[1] == .applied && second[0] != .applied)
  }

  // The first attempt took the frame for received, so the second one took it for a duplicate, and it was confirmed without being stored.
  @Test func `a frame whose transaction runs again is applied and then covered`() throws {
    let database = try TestServer.makeDatabase()
    let store = try PostgreSQLCloudStore(database.address)
    _ = try store.transaction { try $0.adopt(Self.schema, machine: Self.machine, stream: Self.sink.stream) }
    try database.connect().run(
      """
      CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN IF NEW.id = 2 THEN RAISE EXCEPTION 'not today'; END IF; RETURN NEW; END $$;
      CREATE TRIGGER no BEFORE INSERT ON stock FOR EACH ROW EXECUTE FUNCTION no()
      """)
    let consumer = Consumer(
      store: store, limits: .init(), logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
      wallClock: { 1_795_000_000_000_000 })
    func frame(_ seq: Int, _ id: Int) -> InboundMessage {
      InboundMessage(
        topic: "drover/v1/MAH001/snapshot/stock",
        payload: Array(
          """
          {"v":1,"epoch":"aaaa","run":1,"after":\(seq - 1),"through":\(seq),"schema":"\(Self.schema.id)","events":[
          {"seq":\(seq),"id":"\(id)","op":"put","version":1,"body":{"id":\(id),"a":"x"}}]}
          """.utf8), isRetained: false)
    }
    try consumer.received([frame(1, 1), frame(2, 2)])
    #expect(try Reader(database: database).rows(of: "stock").map { $0["id"] } == [1])
    #expect(try Reader(database: database).deadLetters().map(\.reason) == ["store"])
    let received = try store.transaction {
      try $0.received(machine: Self.machine, epoch: Epoch("aaaa"), stream: Self.sink.stream)
    }
    #expect(received == IntervalSet([Interval(after: 0, through: 2)]))
  }
}
