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

  @Test(arguments: TwoWayConformance.claims)
  func `it holds what every store must`(claim: TwoWayConformance.Claim) throws {
    let suite = TwoWayConformance { conditions in
      let database = try TestServer.makeDatabase()
      let store = try PostgreSQLCloudStore(database.address, limits: conditions.limits, now: conditions.now)
      func client() throws -> Client { Client(connection: try database.connect()) }
      return TwoWayPlace(
        store: store, reader: Reader(database: database),
        conflicts: try PostgreSQLConflicts(database.address, now: conditions.now),
        replica: try PostgreSQLReplica(database.address), client: try client(), otherClient: try client())
    }
    try suite.check(claim)
  }
}
