import DroverCore
import DroverSQLite
import DroverProcesses
import DroverTesting
import Testing

@Suite struct CloudDeadLettersTests {
  @Test(arguments: DeadLetterConformance.claims)
  func `the letters in SQLite hold what all must`(claim: DeadLetterConformance.Claim) throws {
    let folder = try TemporaryFolder()
    let suite = DeadLetterConformance { conditions in
      let path = folder.file("cloud.db")
      let store = try SQLiteCloudStore(
        path: path, limits: .init(deadLetterBytes: conditions.deadLetterBytes, deadLetters: conditions.deadLetters),
        now: conditions.now)
      return (store, try CloudDeadLetters(path: path, now: conditions.now))
    }
    try suite.check(claim)
  }

  @Test func `without a store there are no letters, and none is made by looking`() throws {
    let folder = try TemporaryFolder()
    #expect(throws: CloudStoreError.self) { try CloudDeadLetters(path: folder.file("cloud.db")) }
    #expect(folder.read("cloud.db").isEmpty)
  }
}
