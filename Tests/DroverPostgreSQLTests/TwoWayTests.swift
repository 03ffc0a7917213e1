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
      replica: try PostgreSQLReplica(database.address), client: try client(), otherClient: try client(),
      open: { try PostgreSQLCloudStore(database.address, limits: conditions.limits, now: conditions.now) })
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

  @Test func `triggers that were dropped or disabled are named, with what mends them, and so are roles that fire none`()
    throws
  {
    let (place, database) = try Self.place()
    let reader = PostgreSQLCloudReader(database.address)
    let schema = try StreamSchema(
      kind: .snapshot, columns: [Column(name: "id", declaredType: "INTEGER"), Column(name: "a", declaredType: "TEXT")],
      key: [0], flow: Flow(direction: .both))
    let (machine, stream) = (try MachineID("MAH001"), try StreamName("stock"))
    #expect(try place.store.transaction { try $0.adopt(schema, machine: machine, stream: stream) } == nil)
    #expect(try reader.captureFaults() == [])
    try place.client.run("ALTER TABLE stock DISABLE TRIGGER drover_capture; DROP TRIGGER drover_guard ON stock")
    let faults = try reader.captureFaults()
    #expect(
      faults.map(\.cause) == ["its trigger drover_capture is disabled", "its trigger drover_guard was dropped"],
      "\(faults)")
    #expect(faults.first?.advice.hasPrefix("ALTER TABLE stock ENABLE TRIGGER drover_capture;") == true)
    // What the advice says is what mends it.
    try place.client.run(String(faults[0].advice.prefix { $0 != ";" }))
    _ = try PostgreSQLCloudStore(database.address).transaction {
      try $0.adopt(schema, machine: machine, stream: stream)
    }
    #expect(try reader.captureFaults() == [])
    let name = try database.connect().query("SELECT current_database()::text").text(0, 0)
    try place.client.run("ALTER DATABASE \"\(name)\" SET session_replication_role = replica")
    let roles = try reader.captureFaults()
    #expect(roles.count == 1 && roles[0].cause.hasPrefix("database \(name) has session_replication_role"), "\(roles)")
    #expect(roles.first?.advice.hasPrefix("ALTER DATABASE \"\(name)\" RESET session_replication_role") == true)
  }

  // A consumer of an earlier release that is still in the group does not say that it writes: what it writes would be an edit of a person's.
  @Test func `what a consumer writes that knows nothing of two-way rows is refused, and no edit`() throws {
    let (place, database) = try Self.place()
    let schema = try StreamSchema(
      kind: .snapshot, columns: [Column(name: "id", declaredType: "INTEGER"), Column(name: "a", declaredType: "TEXT")],
      key: [0], flow: Flow(direction: .both))
    let (machine, stream) = (try MachineID("MAH001"), try StreamName("stock"))
    #expect(try place.store.transaction { try $0.adopt(schema, machine: machine, stream: stream) } == nil)
    try place.client.run("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 1, 'x')")
    #expect(try place.store.transaction { try $0.takeEdits(limit: 10).streams } == [stream])
    let old = try Connection(database.address)
    for number in [1, 2] {
      #expect(throws: PostgreSQLError.self) {
        try old.run(
          """
          INSERT INTO stock AS stored (machine_id, id, a, drover_epoch, drover_version)
          SELECT * FROM unnest(ARRAY['MAH001'], ARRAY[\(number)::bigint], ARRAY['old'], ARRAY[1::bigint], ARRAY[1795000000000000])
          ON CONFLICT (machine_id, id) DO UPDATE SET a = excluded.a, drover_epoch = excluded.drover_epoch, drover_version = excluded.drover_version
           WHERE (stored.drover_epoch, stored.drover_version) < (excluded.drover_epoch, excluded.drover_version)
          """)
      }
    }
    #expect(try place.store.transaction { try $0.takeEdits(limit: 10).streams } == [])
    #expect(try old.query("SELECT a FROM stock").text(0, 0) == "x")
  }

  @Test func `the running consumer makes triggers again that were dropped, and names what a person has to mend`() throws
  {
    let (place, database) = try Self.place()
    let schema = try StreamSchema(
      kind: .snapshot, columns: [Column(name: "id", declaredType: "INTEGER"), Column(name: "a", declaredType: "TEXT")],
      key: [0], flow: Flow(direction: .both))
    let (machine, stream) = (try MachineID("MAH001"), try StreamName("stock"))
    #expect(try place.store.transaction { try $0.adopt(schema, machine: machine, stream: stream) } == nil)
    #expect(try place.store.transaction { try $0.mendCapture() } == [])
    try place.client.run("ALTER TABLE stock DISABLE TRIGGER drover_keep")
    let disabled = try place.store.transaction { try $0.mendCapture() }
    #expect(disabled.map(\.cause) == ["its trigger drover_keep is disabled"] && disabled.allSatisfy { !$0.isMended })
    try place.client.run("DROP TRIGGER drover_capture ON stock")
    let faults = try place.store.transaction { try $0.mendCapture() }
    #expect(faults.filter(\.isMended).map(\.cause) == ["its trigger drover_capture was dropped"], "\(faults)")
    #expect(try place.store.transaction { try $0.mendCapture() }.filter(\.isMended) == [])
    try place.client.run("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 1, 'x')")
    #expect(try place.store.transaction { try $0.takeEdits(limit: 10).streams } == [stream])
    _ = database
  }

  // Each request over HTTP made two connections.
  @Test func `the row editor keeps its connection, and goes on after it is lost`() throws {
    let (place, database) = try Self.place()
    let schema = try StreamSchema(
      kind: .snapshot, columns: [Column(name: "id", declaredType: "INTEGER"), Column(name: "a", declaredType: "TEXT")],
      key: [0], flow: Flow(direction: .both))
    let origin = MachineStream(machine: try MachineID("MAH001"), stream: try StreamName("stock"))
    #expect(try place.store.transaction { try $0.adopt(schema, machine: origin.machine, stream: origin.stream) } == nil)
    let editor = PostgreSQLRowEditor(database.address)
    let others = try database.connect()
    func count() throws -> Int64 {
      try others.query("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()").integer(0, 0)
    }
    _ = try editor.row("1", of: origin)
    let kept = try count()
    for _ in 1...3 { _ = try editor.rows(RowQuestion(limit: 1), of: origin) }
    #expect(try count() == kept)
    try others.run(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    #expect(try editor.row("1", of: origin)?.table.origin == origin)
  }

  @Test func `protection ends and begins as the configuration says when a consumer starts`() throws {
    var conditions = CloudStoreConditions()
    conditions.protects = true
    let (place, database) = try Self.place(conditions)
    let schema = try StreamSchema(
      kind: .snapshot, columns: [Column(name: "id", declaredType: "INTEGER"), Column(name: "a", declaredType: "TEXT")],
      key: [0])
    let stream = try StreamName("stock")
    #expect(try place.store.transaction { try $0.adopt(schema, machine: MachineID("MAH001"), stream: stream) } == nil)
    #expect(throws: PostgreSQLError.self) { try place.client.run("TRUNCATE stock") }
    _ = try PostgreSQLCloudStore(database.address).transaction { try $0.downEpoch() }
    try place.client.run("TRUNCATE stock")
    _ = try PostgreSQLCloudStore(database.address, limits: conditions.limits).transaction { try $0.downEpoch() }
    #expect(throws: PostgreSQLError.self) { try place.client.run("DELETE FROM stock") }
    // What a person has disabled is enabled by the next consumer.
    try place.client.run("ALTER TABLE stock DISABLE TRIGGER drover_protect")
    try place.client.run("DELETE FROM stock")
    _ = try PostgreSQLCloudStore(database.address, limits: conditions.limits).transaction { try $0.downEpoch() }
    #expect(throws: PostgreSQLError.self) { try place.client.run("DELETE FROM stock") }
  }

  // A start of the consumer would wait for a transaction of a person's that stays open.
  @Test func `a table that is in use is protected later, and the consumer goes on`() throws {
    var conditions = CloudStoreConditions()
    conditions.protects = true
    let (place, database) = try Self.place()
    let schema = try StreamSchema(
      kind: .snapshot, columns: [Column(name: "id", declaredType: "INTEGER"), Column(name: "a", declaredType: "TEXT")],
      key: [0])
    #expect(
      try place.store.transaction { try $0.adopt(schema, machine: MachineID("MAH001"), stream: StreamName("stock")) }
        == nil)
    try place.otherClient.run("BEGIN; UPDATE stock SET a = 'x'")
    _ = try PostgreSQLCloudStore(database.address, limits: conditions.limits).transaction { try $0.downEpoch() }
    try place.client.run("UPDATE stock SET a = 'y' WHERE false")
    try place.otherClient.run("COMMIT")
    _ = try PostgreSQLCloudStore(database.address, limits: conditions.limits).transaction { try $0.downEpoch() }
    #expect(throws: PostgreSQLError.self) { try place.client.run("UPDATE stock SET a = 'y' WHERE false") }
  }
}
