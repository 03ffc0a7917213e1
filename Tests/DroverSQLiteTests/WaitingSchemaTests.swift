import DroverCore
import DroverSQLite
import DroverTesting
import GRDB
import Testing

/// Schemas that the sink table cannot follow, and what accepting one does.
@Suite struct WaitingSchemaTests {
  private let stream = try! StreamName("stock")
  private let one = try! MachineID("MAH001")
  private let two = try! MachineID("MAH002")

  private func schema(_ columns: [String], key: [Int], kind: Kind = .snapshot) throws -> StreamSchema {
    try StreamSchema(kind: kind, columns: columns.map { Column(name: $0, declaredType: "") }, key: key)
  }

  private func adopt(_ store: SQLiteCloudStore, _ schema: StreamSchema, _ machine: MachineID) throws -> String? {
    try store.transaction { try $0.adopt(schema, machine: machine, stream: stream) }
  }

  private func put(_ store: SQLiteCloudStore, _ schema: StreamSchema, _ machine: MachineID, _ row: [Value]) throws
    -> MergeOutcome
  {
    let event = SinkEvent(
      seq: nil, localID: "\(row)", version: 1, at: nil, key: schema.keyValues(of: row), content: .row(Values(row)),
      raw: [])
    return try store.transaction {
      try $0.merge(
        [event], epoch: Epoch(random: 1),
        into: Sink(machine: machine, stream: stream, kind: schema.kind, schema: schema))[0]
    }
  }

  @Test func `a schema with another key waits, and is forgotten when the machine goes back to the old one`() throws {
    let app = try AppDatabase()
    let store = try SQLiteCloudStore(path: app.path)
    let (old, new) = (try schema(["id", "a"], key: [0]), try schema(["id", "b"], key: [0, 1]))
    #expect(try adopt(store, old, one) == nil)
    for _ in 0..<2 { #expect(try adopt(store, new, one) != nil) }
    #expect(try store.transaction { try $0.isWaiting(new.id, machine: one, stream: stream) })
    #expect(try !store.transaction { try $0.isWaiting(new.id, machine: two, stream: stream) })
    let waiting = try SQLiteCloudReader(path: app.path).waitingSchemas()
    #expect(waiting.map(\.added) == [["b"]] && waiting.map(\.missing) == [["a"]])
    #expect(try adopt(store, old, one) == nil)
    #expect(try SQLiteCloudReader(path: app.path).waitingSchemas().isEmpty)
    #expect(try store.transaction { try $0.accept(machine: one, stream: stream) } == nil)
  }

  @Test func `what exceeds a limit, or meets another program's table, does not wait to be accepted`() throws {
    let app = try AppDatabase("CREATE TABLE stock (mine)")
    let store = try SQLiteCloudStore(path: app.path)
    #expect(try adopt(store, schema(["id"], key: [0]), one) != nil)
    #expect(try SQLiteCloudReader(path: app.path).waitingSchemas().isEmpty)
  }

  // The consumer has the table's statements compiled while another program accepts.
  @Test(arguments: [Kind.snapshot, .payload])
  func `an accepted schema has a table of its own, and no row is lost`(kind: Kind) throws {
    let app = try AppDatabase()
    let consumer = try SQLiteCloudStore(path: app.path)
    let old = try schema(["id", "a"], key: [0])
    let new = try schema(["id", "a"], key: kind == .payload ? [0] : [0, 1], kind: kind)
    for machine in [one, two] {
      #expect(try adopt(consumer, old, machine) == nil)
      #expect(try put(consumer, old, machine, [1, "old"]) == .applied)
    }
    try app.run("CREATE VIEW levels AS SELECT id, a FROM stock")
    #expect(try adopt(consumer, new, one) != nil)
    let aside = try #require(
      try SQLiteCloudStore(path: app.path).transaction { try $0.accept(machine: one, stream: stream) }?.aside.first)
    #expect(try app.lines("SELECT machine_id, id, a FROM \(aside)") == ["'MAH001', 1, 'old'", "'MAH002', 1, 'old'"])
    #expect(try put(consumer, new, one, [1, "new"]) == .applied)
    #expect(try app.lines("SELECT * FROM levels") == ["1, 'new'"])
    // The other machine still has the old table: its frames wait, and are no dead letters.
    #expect(try consumer.transaction { try $0.schema(old.id, machine: two, stream: stream) } == nil)
    #expect(try SQLiteCloudReader(path: app.path).waitingSchemas().map(\.machine) == [two])
    #expect(try adopt(consumer, new, two) == nil)
    #expect(try put(consumer, new, two, [1, "too"]) == .applied)
    #expect(try SQLiteCloudReader(path: app.path).waitingSchemas().isEmpty)
  }
}
