import DroverCore
import DroverProcesses
import DroverSQLite
import DroverTesting
import Testing

@Suite(.ownThread) struct SQLiteCloudReaderTests {
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

  @Test func `gaps in a machine's capture are remembered until a comparison has closed them`() throws {
    let path = try TemporaryFolder()
    let store = try SQLiteCloudStore(path: path.file("cloud.db"))
    try RetirementConformance.checkGaps(store, SQLiteReplica(path: path.file("cloud.db")))
  }

  @Test func `what is complete and was cleared at the edge is no difference`() throws {
    let path = try TemporaryFolder()
    let store = try SQLiteCloudStore(path: path.file("cloud.db"))
    try RetirementConformance.checkUnits(store, SQLiteReplica(path: path.file("cloud.db")))
  }

  private func schema(_ key: String) throws -> StreamSchema {
    try StreamSchema(
      kind: .snapshot,
      columns: [Column(name: key, declaredType: "ANY"), Column(name: "level", declaredType: "REAL")], key: [0])
  }

  @Test func `a hundred machines with rows, and schemas that wait, take as many statements as two`() throws {
    let folder = try TemporaryFolder()
    let path = folder.file("cloud.db")
    let store = try SQLiteCloudStore(path: path)
    let reader = SQLiteCloudReader(path: path)
    let (stock, epoch) = (try StreamName("stock"), try Epoch("aaaa"))
    let (own, other) = (try schema("id"), try schema("code"))
    let row = SinkEvent(
      seq: nil, localID: "1", version: 1, at: nil, key: [1], content: .row(Values([1, 0.5])), raw: [])
    func bring(_ numbers: ClosedRange<Int>) throws {
      for number in numbers {
        let machine = try MachineID("M\(number)")
        try store.transaction { transaction in
          try transaction.heard(machine: machine, epoch: nil)
          _ = try transaction.adopt(own, machine: machine, stream: stock)
          _ = try transaction.merge(
            [row], epoch: epoch, into: Sink(machine: machine, stream: stock, kind: .snapshot, schema: own))
          var progress = StreamProgress()
          progress.applied = 1
          try transaction.note(progress, machine: machine, stream: stock)
          _ = try transaction.adopt(other, machine: machine, stream: stock)
        }
      }
    }
    func statements(of machines: Int) throws -> Int {
      try StatementCount.of(path) {
        let report = try #require(try reader.report(.everything))
        #expect(report.machines.count == machines && report.machines.allSatisfy { $0.streams.map(\.rows) == [1] })
        let waiting = try reader.waitingSchemas()
        #expect(waiting.count == machines && waiting.allSatisfy { $0.added == ["code"] && $0.missing == ["id"] })
      }
    }
    try bring(1...2)
    let few = try statements(of: 2)
    try bring(3...100)
    #expect(few > 5)
    #expect(try statements(of: 100) == few)
  }
}
