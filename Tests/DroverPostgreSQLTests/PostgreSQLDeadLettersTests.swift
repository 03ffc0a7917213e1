import DroverCore
import DroverPostgreSQL
import DroverTesting
import Testing

@Suite(.ownThread) struct PostgreSQLDeadLettersTests {
  @Test(arguments: DeadLetterConformance.claims)
  func `the letters in PostgreSQL hold what all must`(claim: DeadLetterConformance.Claim) throws {
    let database = try TestServer.makeDatabase()
    defer { withExtendedLifetime(database) {} }
    let suite = DeadLetterConformance { conditions in
      let store = try PostgreSQLCloudStore(
        database.address,
        limits: .init(deadLetterBytes: conditions.deadLetterBytes, deadLetters: conditions.deadLetters),
        now: conditions.now)
      return (store, try PostgreSQLDeadLetters(database.address, now: conditions.now))
    }
    try suite.check(claim)
  }

  @Test func `a letter of an epoch that is over has its stream compared with the machine`() throws {
    let database = try TestServer.makeDatabase()
    try ReplayedEpochConformance.check(
      PostgreSQLCloudStore(database.address, work: .alone), PostgreSQLDeadLetters(database.address),
      PostgreSQLReplica(database.address))
  }

  @Test func `without a store there are no letters, and none is made by looking`() throws {
    let database = try TestServer.makeDatabase()
    #expect {
      try PostgreSQLDeadLetters(database.address)
    } throws: {
      "\($0)".contains("there is no store yet; `drover cloud` makes it")
    }
    #expect(try database.connect().query("SELECT to_regclass('drover_migration') IS NULL").boolean(0, 0))
  }
}
