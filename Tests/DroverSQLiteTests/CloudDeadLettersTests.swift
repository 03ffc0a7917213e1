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

  @Test func `a letter takes the room of what it says now`() throws {
    let folder = try TemporaryFolder()
    let path = folder.file("cloud.db")
    let store = try SQLiteCloudStore(path: path)
    func addDeadLetter(_ detail: String) throws {
      let letter = DeadLetter(topic: "t", machine: nil, stream: nil, reason: .event, detail: detail, raw: [1])
      #expect(try store.transaction { try $0.addDeadLetter(letter) } == .kept)
    }
    try addDeadLetter("1")
    let short = try #require(try SQLiteCloudReader(path: path).report()).letterBytes
    try addDeadLetter("12345")
    #expect(try SQLiteCloudReader(path: path).report()?.letterBytes == short + 4)
    #expect(try CloudDeadLetters(path: path).purge(DeadLetterFilter()) == 1)
    #expect(try SQLiteCloudReader(path: path).report()?.letterBytes == 0)
  }

  @Test func `without a store there are no letters, and none is made by looking`() throws {
    let folder = try TemporaryFolder()
    #expect(throws: CloudStoreError.self) { try CloudDeadLetters(path: folder.file("cloud.db")) }
    #expect(folder.read("cloud.db").isEmpty)
  }

  @Test func `a letter of an epoch that is over has its stream compared with the machine`() throws {
    let app = try AppDatabase()
    try ReplayedEpochConformance.check(
      SQLiteCloudStore(path: app.path), CloudDeadLetters(path: app.path), SQLiteReplica(path: app.path))
  }
}
