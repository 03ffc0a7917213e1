// The simulation's layer over the edge's store, without faults: it adds nothing and takes nothing away.

import DroverCore
import DroverProcesses
import DroverSQLite
@testable import DroverSimulation
import DroverTesting
import Testing

@Suite struct SimulatedEdgeStoreTests {
  private final class App: EdgeApp {
    private let folder: TemporaryFolder
    private let database: PlainDatabase

    init() throws {
      folder = try TemporaryFolder()
      database = try PlainDatabase(path: folder.file("app.db"))
    }

    func run(_ sql: String) throws { try database.execute(sql) }
    func integer(_ sql: String) throws -> Int { Int(try database.integer(sql) ?? 0) }

    func open(_ streams: [StreamDeclaration], letters: DeadLetterBounds) throws -> any EdgeStore {
      let store = try EdgeDatabase(path: folder.file("app.db"), declarations: streams, letters: letters) { _ in }
      return FaultyEdgeStore(
        store, chance: Chance(seed: 1, faults: .none), life: Life {}, mistake: nil, willSettle: { _ in })
    }
  }

  @Test(arguments: EdgeStoreConformance.claims)
  func `without faults it is a store of the edge`(claim: EdgeStoreConformance.Claim) throws {
    try EdgeStoreConformance { try App() }.check(claim)
  }
}
