import DroverCore
import DroverPostgreSQL
import DroverTesting
import Testing

@Suite(.ownThread) struct PostgreSQLCloudReaderTests {
  @Test(arguments: CloudReaderConformance.claims)
  func `it shows what every reader must`(claim: CloudReaderConformance.Claim) throws {
    let database = try TestServer.makeDatabase()
    defer { withExtendedLifetime(database) {} }
    let suite = CloudReaderConformance(
      makeReplica: { try PostgreSQLReplica(database.address) },
      makeStore: { conditions in
        let store = try PostgreSQLCloudStore(
          database.address, limits: .init(deadLetters: conditions.deadLetters), now: conditions.now)
        return (store, PostgreSQLCloudReader(database.address))
      })
    try suite.check(claim)
  }

  @Test func `alerts are remembered`() throws {
    let database = try TestServer.makeDatabase()
    _ = try PostgreSQLCloudStore(database.address)
    try AlertMemoryConformance.check { PostgreSQLAlertMemory(database.address) }
  }

  @Test func `without a store there is nothing to see, and looking makes none`() throws {
    let database = try TestServer.makeDatabase()
    let reader = PostgreSQLCloudReader(database.address)
    #expect(try reader.report(.everything) == nil)
    #expect(try reader.sinks().isEmpty && reader.waitingSchemas().isEmpty && reader.workers().isEmpty)
    try reader.readRows(of: nil) { _, _ in Issue.record("there is no row") }
    #expect(try database.connect().query("SELECT to_regclass('drover_migration') IS NULL").boolean(0, 0))
  }

  @Test func `a store of an older version is told from one that is broken`() throws {
    let database = try TestServer.makeDatabase()
    _ = try PostgreSQLCloudStore(database.address)
    try database.connect().run("DELETE FROM drover_migration WHERE number > 1")
    #expect {
      try PostgreSQLCloudReader(database.address).report(.everything)
    } throws: {
      "\($0)".contains("its tables are of an older version of Drover")
    }
  }

  @Test func `a consumer is at work as long as its connection is, and stuck when it does not move`() throws {
    let database = try TestServer.makeDatabase()
    let reader = PostgreSQLCloudReader(database.address)
    var store: PostgreSQLCloudStore? = try PostgreSQLCloudStore(database.address, work: .alone)
    let worker = try #require(try reader.workers().first)
    #expect(worker.isMoving && worker.host != nil)
    try database.connect().run("UPDATE drover_consumer SET beat_at = beat_at - interval '31 seconds'")
    #expect(try reader.workers().first?.stuck.map(\.name) == ["consumer"])
    store?.beat()
    #expect(try reader.workers().first?.isMoving == true)
    store = nil
    #expect(try reader.workers().isEmpty)
  }
}
