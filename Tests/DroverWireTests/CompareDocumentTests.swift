import DroverCore
import DroverWire
import Testing

@Suite struct CompareDocumentTests {
  private let origin = MachineStream(machine: try! MachineID("MAH001"), stream: try! StreamName("products"))

  @Test(arguments: [nil, "lifecycle \"stage\""]) func `a question reads back as it was asked`(column: String?) throws {
    let request = CompareRequest(stream: origin.stream, column: column, elapsed: 1_234_567)
    #expect(try CompareRequest(document: request.document) == request)
    #expect(CompareRequest.isOne(request.document))
    #expect(!CompareRequest.isOne(ConflictRequest.show(7).document) && !CompareRequest.isOne([]))
    // The consumer of an earlier release says what it can be asked.
    #expect(throws: WireError.self) { try ConflictRequest(document: request.document) }
  }

  @Test func `an answer reads back as it was given`() throws {
    var standing = StreamStanding(origin)
    (standing.rowsAtEdge, standing.rowsInCloud, standing.differing, standing.underway) = (7, 8, 1, 2)
    (standing.conflicts, standing.newConflicts, standing.letters) = (3, 1, 4)
    standing.finding = "1 differs"
    let grouped = GroupedRows(
      column: "a", groups: [.init(value: .null, atEdge: 1, inCloud: 2), .init(value: nil, atEdge: 3, inCloud: 0)],
      leftOut: 5, rest: .init(value: nil, atEdge: 9, inCloud: 9))
    var all = [CompareReply.working, .unknown(conflicts: 1, letters: 2), .failure("why"), .standing(standing)]
    standing.groups = grouped
    all.append(.standing(standing))
    standing.groups = GroupedRows(column: "a", problem: "too many")
    (standing.failure, standing.finding) = ("it is away", nil)
    all.append(.standing(standing))
    for reply in all { #expect(try CompareReply(document: reply.document, of: origin) == reply) }
  }

  @Test func `only what says that the work goes on is followed by another answer`() {
    #expect(!CompareReply.isLast(CompareReply.working.document))
    #expect(CompareReply.isLast(CompareReply.failure("why").document))
    #expect(CompareReply.isLast(ConflictReply.outcome(.resolved).document))
    #expect(CompareReply.isLast([]))
  }
}
