import DroverCore
import DroverPostgreSQL
import DroverTesting
import Testing

/// A row whose version somebody had set ahead was superior to every event of its machine's, so that no repair made it equal.
@Suite(.ownThread) struct TakenBackVersionTests {
  private static let machine = try! MachineID("MAH001")
  private static let stream = try! StreamName("stock")
  private static let schema = try! StreamSchema(
    kind: .snapshot, columns: [Column(name: "id", declaredType: "INTEGER"), Column(name: "a", declaredType: "TEXT")],
    key: [0])

  private func event(_ version: Int64, _ text: String) -> SinkEvent {
    SinkEvent(
      seq: version, localID: "1", version: version, at: nil, key: [.integer(1)],
      content: .row([.integer(1), .text(text)]), raw: [])
  }

  @Test func `a version that somebody has set ahead is taken back, and the machine's next event counts`() throws {
    let database = try TestServer.makeDatabase()
    let store = try PostgreSQLCloudStore(database.address)
    let sink = Sink(machine: Self.machine, stream: Self.stream, kind: .snapshot, schema: Self.schema)
    let epoch = try Epoch("ab")
    func merge(_ event: SinkEvent) throws -> [MergeOutcome] {
      try store.transaction { try $0.merge([event], epoch: epoch, into: sink) }
    }
    #expect(try store.transaction { try $0.adopt(Self.schema, machine: Self.machine, stream: Self.stream) } == nil)
    #expect(try merge(event(1, "one")) == [.applied])
    try database.connect().run("UPDATE stock SET drover_version = \(Int64.max), drover_epoch = 99")
    #expect(try merge(event(2, "two")) == [.superseded])
    let replica = try PostgreSQLReplica(database.address)
    try replica.takeBackVersions(
      ReplicatedStream(machine: Self.machine, stream: Self.stream, schema: Self.schema, isOnline: true),
      ids: [([.integer(1)], "1")])
    #expect(try merge(event(3, "three")) == [.applied])
    #expect(try Reader(database: database).rows(of: "stock").map { $0["a"] } == [.text("three")])
  }
}
