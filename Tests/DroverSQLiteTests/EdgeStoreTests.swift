import DroverCore
import DroverSQLite
import DroverTesting
import Testing

@Suite struct EdgeStoreTests {
  @Test(arguments: EdgeStoreConformance.claims)
  func `the app's database is a store of the edge`(claim: EdgeStoreConformance.Claim) throws {
    try EdgeStoreConformance { try AppDatabase() }.check(claim)
  }
}

extension AppDatabase: EdgeApp {
  func open(_ streams: [StreamDeclaration], letters: DeadLetterBounds) throws -> any EdgeStore {
    try EdgeDatabase(path: path, declarations: streams, letters: letters, warn: { _ in })
  }
}
