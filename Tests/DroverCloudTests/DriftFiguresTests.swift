// What a comparison says agrees with its figures. `drover check` once printed "at the edge 2, in the cloud 0, equal": the rows arrived while it
// looked, and the figures were those of before.

@testable import DroverCloud
import DroverCore
import DroverWire
import Testing

@Suite struct DriftFiguresTests {
  private static let schema = try! StreamSchema(
    kind: .snapshot, columns: [Column(name: "id", declaredType: "INTEGER")], key: [0])
  private static let facts = try! StreamSchema(
    kind: .payload, columns: [Column(name: "id", declaredType: "INTEGER")], key: [0])

  /// - Parameter arrive: what happens during each pause of the comparison.
  private static func schema(_ direction: Direction) throws -> StreamSchema {
    try StreamSchema(
      kind: .snapshot, columns: [Column(name: "id", declaredType: "INTEGER")], key: [0],
      flow: Flow(direction: direction))
  }

  // An edit of the cloud's on its way down was a difference, and a repair had the machine send the row that it did not yet have.
  @Test func `a row that is on its way in either direction is no drift, and a repair leaves it alone`() async throws {
    let sides = Sides(atEdge: [1, 2, 3, 9], inCloud: [4, 5, 9], waiting: [1, 4])
    sides.underway = [2, 4]
    let finding = try await compare(sides, Self.schema(.both), isRepairing: true)
    #expect(
      Set(finding.rows.map { "\($0.id) \($0.newer)" }) == ["1 edge", "2 cloud", "4 both", "3 neither", "5 neither"])
    #expect((finding.inFlight, finding.missing, finding.extra, finding.repaired) == (3, 1, 1, 2))
    #expect(Set(sides.sentUp) == ["3", "5"])
    #expect(sides.sentDown.isEmpty)
  }

  @Test func `rows that only the cloud edits are sent down again`() async throws {
    let sides = Sides(atEdge: [1, 2], inCloud: [2, 3], waiting: [])
    let finding = try await compare(sides, Self.schema(.down), isRepairing: true)
    #expect((finding.drift, finding.repaired) == (0, 2))
    #expect(Set(sides.sentDown) == ["1", "3"])
    #expect(sides.sentUp.isEmpty, "the machine is not right")
  }

  private func compare(
    _ sides: Sides, _ schema: StreamSchema = schema, isRepairing: Bool = false, arrive: @escaping () -> Void = {}
  ) async throws -> DriftFinding {
    let stream = ReplicatedStream(
      machine: try MachineID("M"), stream: try StreamName("stock"), schema: schema, isOnline: true)
    return try await DriftCheck(replica: sides, machines: sides, pause: { _ in arrive() }).run(
      stream, isRepairing: isRepairing)
  }

  @Test func `rows that arrive during the comparison are in its figures`() async throws {
    let sides = Sides(atEdge: [1, 2], inCloud: [], waiting: [1, 2])
    let finding = try await compare(sides) {
      sides.inCloud = [1, 2]
      sides.waiting = []
    }
    #expect((finding.rowsAtEdge, finding.rowsInCloud, finding.missing, finding.inFlight) == (2, 2, 0, 0))
    #expect(finding.verdict == "equal")
  }

  @Test func `rows that are still on their way are not called equal without a word`() async throws {
    let sides = Sides(atEdge: Set(1...5), inCloud: [3, 4, 5], waiting: [1, 2])
    let finding = try await compare(sides)
    #expect((finding.rowsAtEdge, finding.rowsInCloud, finding.drift, finding.inFlight) == (5, 3, 0, 2))
    #expect(finding.verdict == "equal except for 2 on their way")
  }

  @Test func `rows that differ and rows on their way are both named`() async throws {
    let finding = try await compare(Sides(atEdge: [1, 2, 3], inCloud: [3, 4], waiting: [1]))
    #expect((finding.rowsAtEdge, finding.rowsInCloud, finding.missing, finding.extra) == (3, 2, 1, 1))
    #expect(finding.verdict == "2 differ; 1 on its way")
  }

  @Test func `facts that the machine has deleted are named`() async throws {
    let finding = try await compare(Sides(atEdge: [1], inCloud: [1, 2, 3], waiting: []), Self.facts)
    #expect((finding.rowsAtEdge, finding.rowsInCloud, finding.drift) == (1, 3, 0))
    #expect(finding.verdict == "equal; 2 rows that the machine has deleted stay here")
  }

  // "1 … stay here" and "1 differ": the verdict had the plural for one row, too.
  @Test func `one row is told in the singular`() async throws {
    #expect(
      try await compare(Sides(atEdge: [1], inCloud: [1, 2], waiting: []), Self.facts).verdict
        == "equal; 1 row that the machine has deleted stays here")
    #expect(try await compare(Sides(atEdge: [1, 2], inCloud: [1], waiting: [])).verdict == "1 differs")
    #expect(
      try await compare(Sides(atEdge: [1, 2], inCloud: [1], waiting: [2])).verdict == "equal except for 1 on its way")
  }
}

/// A machine and a cloud's table with a column of whole numbers.
private final class Sides: Replica, MachineQuestions, @unchecked Sendable {
  var atEdge: Set<Int64>
  var inCloud: Set<Int64>
  /// Rows of which the machine's outbox holds something.
  var waiting: Set<Int64>
  /// Rows of which an edit of the cloud is on its way down.
  var underway: Set<Int64> = []
  var sentUp: [String] = []
  var sentDown: [String] = []

  init(atEdge: Set<Int64>, inCloud: Set<Int64>, waiting: Set<Int64>) {
    (self.atEdge, self.inCloud, self.waiting) = (atEdge, inCloud, waiting)
  }

  private func digest(_ id: Int64) -> UInt64 { Digest.of([Value.integer(id)]) }

  nonisolated(nonsending) func ask(
    _ question: StreamQuestion, of stream: ReplicatedStream, _ take: (StreamAnswer) throws -> Void
  ) async throws {
    switch question {
    case .parts(let bits):
      var parts = Parts(bits: bits)
      for id in atEdge { parts.add(id: Digest.of(localID: "\(id)"), row: digest(id)) }
      try take(.parts(parts))
    case .rows: try take(.rows(atEdge.sorted().map { .init(id: "\($0)", digest: digest($0)) }))
    case .standing(let ids):
      try take(
        .standing(
          ids.map { text in
            let id = Int64(text)!
            return .init(
              id: text,
              standing: RowState(
                digest: atEdge.contains(id) ? digest(id) : nil, isWaiting: waiting.contains(id)))
          }))
    case .sendAgain(let ids):
      sentUp += ids
      inCloud = atEdge
      try take(.entered(ids.count))
    default: throw CheckFailure("was not asked for")
    }
  }

  nonisolated(nonsending) func describe(_ machine: MachineID) async throws {}

  func count(_ stream: ReplicatedStream) throws -> Int { inCloud.count }
  func survey(_ stream: ReplicatedStream, _ see: ([Value], UInt64) throws -> Void) throws {
    for id in inCloud.sorted() { try see([.integer(id)], digest(id)) }
  }
  func rows(_ stream: ReplicatedStream, keys: [[Value]]) throws -> [ReplicaRow?] {
    keys.map { key in
      guard case .integer(let id) = key[0], inCloud.contains(id) else { return nil }
      return ReplicaRow(digest: digest(id), epoch: 1, version: 1)
    }
  }
  func streams() throws -> [ReplicatedStream] { [] }
  func unreadable() throws -> [UnreadableStream] { [] }
  func underway(_ stream: ReplicatedStream, ids: [(key: [Value], localID: String)]) throws -> [Bool] {
    ids.map { underway.contains(Int64($0.localID)!) }
  }
  func sendDown(_ stream: ReplicatedStream, ids: [(key: [Value], localID: String)]) throws {
    sentDown += ids.map(\.localID)
    atEdge = inCloud
  }
  func takeBackVersions(_ stream: ReplicatedStream, ids: [(key: [Value], localID: String)]) throws {}
  func additions(to stream: ReplicatedStream) throws -> [String] { [] }
  func fault(of stream: ReplicatedStream) throws -> String? { nil }
  func tally(_ stream: ReplicatedStream, column: Int) throws -> Tally { Tally() }
  func received(_ stream: ReplicatedStream) throws -> IntervalSet { IntervalSet() }
  func rowsDown(_ stream: ReplicatedStream, in received: IntervalSet, since before: IntervalSet) throws -> Int { 0 }
  func strayLines(_ stream: ReplicatedStream) throws -> Int { 0 }
  func removeStrayLines(_ stream: ReplicatedStream) throws {}
  func gaps() throws -> [(stream: ReplicatedStream, gap: String)] { [] }
  func note(gap: String, isClosed: Bool, of stream: ReplicatedStream) throws {}
  func note(_ finding: DriftFinding, failure: String?, of stream: MachineStream) throws {}
}
