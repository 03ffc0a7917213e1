import DroverCore
import DroverPostgreSQL
import DroverTesting
import Testing

/// Rows that both sides edit, in the cloud's store in PostgreSQL: what every store must hold, and what is this one's own.
@Suite struct TwoWayTests {
  private struct Client: SQLClient {
    let connection: Connection
    func run(_ sql: String) throws { try connection.run(sql) }
  }

  private static func place(_ conditions: CloudStoreConditions = .init()) throws -> (TwoWayPlace, TestDatabase) {
    let database = try TestServer.makeDatabase()
    let store = try PostgreSQLCloudStore(database.address, limits: conditions.limits, now: conditions.now)
    func client() throws -> Client { Client(connection: try database.connect()) }
    let place = TwoWayPlace(
      store: store, reader: Reader(database: database),
      conflicts: try PostgreSQLConflicts(database.address, now: conditions.now),
      replica: try PostgreSQLReplica(database.address), client: try client(), otherClient: try client())
    return (place, database)
  }

  @Test(arguments: TwoWayConformance.claims)
  func `it holds what every store must`(claim: TwoWayConformance.Claim) throws {
    try TwoWayConformance { try Self.place($0).0 }.check(claim)
  }

  @Test(arguments: RowEditorConformance.claims)
  func `people edit rows as every store lets them`(claim: RowEditorConformance.Claim) throws {
    let (place, database) = try Self.place()
    try RowEditorConformance { (place, PostgreSQLRowEditor(database.address)) }.check(claim)
  }

  // Without its trigger the edit would stay in the cloud, and nobody would know.
  @Test func `an edit that no trigger captures is not made`() throws {
    let (place, database) = try Self.place()
    let schema = try StreamSchema(
      kind: .snapshot, columns: [Column(name: "id", declaredType: "INTEGER"), Column(name: "a", declaredType: "TEXT")],
      key: [0], flow: Flow(direction: .both))
    let origin = MachineStream(machine: try MachineID("MAH001"), stream: try StreamName("stock"))
    _ = try place.store.transaction { try $0.adopt(schema, machine: origin.machine, stream: origin.stream) }
    try place.client.run("ALTER TABLE stock DISABLE TRIGGER drover_capture")
    let editor = PostgreSQLRowEditor(database.address)
    let put = RowEditRequest(.replace([RowField(name: "a", value: .text("lost"))]))
    #expect(throws: PostgreSQLError.self) { try editor.edit("1", put, of: origin) }
    #expect(try editor.row("1", of: origin)?.row == nil)
  }

  @Test func `a text with NUL is refused, because the column cannot hold it`() throws {
    let (place, database) = try Self.place()
    let schema = try StreamSchema(
      kind: .snapshot, columns: [Column(name: "id", declaredType: "INTEGER"), Column(name: "a", declaredType: "TEXT")],
      key: [0], flow: Flow(direction: .both))
    let origin = MachineStream(machine: try MachineID("MAH001"), stream: try StreamName("stock"))
    _ = try place.store.transaction { try $0.adopt(schema, machine: origin.machine, stream: origin.stream) }
    let put = RowEditRequest(.replace([RowField(name: "a", value: .text("a\u{0}b"))]))
    guard
      case .refused(.invalid(let sentence), _)? = try PostgreSQLRowEditor(database.address).edit("1", put, of: origin)
    else {
      Issue.record("it was made")
      return
    }
    #expect(sentence.contains("NUL"))
  }
}
