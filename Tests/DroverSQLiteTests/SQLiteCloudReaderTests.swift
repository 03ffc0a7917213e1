import DroverCore
import DroverProcesses
import DroverSQLite
import DroverTesting
import Testing

@Suite struct SQLiteCloudReaderTests {
  @Test(arguments: CloudReaderConformance.claims)
  func `it shows what every reader must`(claim: CloudReaderConformance.Claim) throws {
    let folder = try TemporaryFolder()
    let path = folder.file("cloud.db")
    let suite = CloudReaderConformance(
      makeReplica: { try SQLiteReplica(path: path) },
      makeStore: { conditions in
        let store = try SQLiteCloudStore(
          path: path, limits: .init(deadLetters: conditions.deadLetters), now: conditions.now)
        return (store, SQLiteCloudReader(path: path))
      })
    try suite.check(claim)
  }

  @Test func `alerts are remembered`() throws {
    let folder = try TemporaryFolder()
    let path = folder.file("cloud.db")
    let consumer = try SQLiteCloudStore(path: path)
    try AlertMemoryConformance.check { SQLiteAlertMemory(path: path) }
    withExtendedLifetime(consumer) {}
  }
}
