import DroverCore
import Testing

@Suite struct StreamStandingTests {
  private static let origin = MachineStream(machine: try! MachineID("MAH001"), stream: try! StreamName("products"))

  private struct Case: Sendable {
    var failure: String?
    var differing = 0
    var underway = 0
    var letters = 0
    var hasTable = true
    var agreement: Agreement
    var isMoving = false
  }

  private static let cases = [
    Case(agreement: .equal),
    Case(failure: "offline", agreement: .unknown),
    Case(failure: "offline", differing: 1, underway: 1, letters: 1, agreement: .unknown),
    Case(underway: 1, agreement: .underway, isMoving: true),
    Case(differing: 1, agreement: .differs),
    Case(differing: 1, underway: 1, agreement: .differs, isMoving: true),
    // Rows that are equal although a letter of an older edit lies there are equal.
    Case(letters: 1, agreement: .equal),
    Case(underway: 1, letters: 1, agreement: .underway, isMoving: true),
    Case(hasTable: false, agreement: .equal),
    Case(letters: 1, hasTable: false, agreement: .differs),
    Case(underway: 1, hasTable: false, agreement: .underway, isMoving: true),
    Case(underway: 1, letters: 1, hasTable: false, agreement: .differs, isMoving: true),
  ]

  private func standing(_ given: Case) -> StreamStanding {
    var standing = StreamStanding(Self.origin)
    standing.failure = given.failure
    standing.differing = given.differing
    standing.underway = given.underway
    standing.letters = given.letters
    standing.hasTable = given.hasTable
    return standing
  }

  @Test func `the truth table of what both sides come to`() {
    for given in Self.cases {
      let standing = standing(given)
      #expect(standing.agreement == given.agreement, "\(given)")
      #expect(standing.isMoving == given.isMoving, "\(given)")
      // Whoever reads it learns why it is not equal, and what to do; a failure says both itself.
      #expect(given.agreement == .equal || !standing.text.isEmpty && !standing.text.hasPrefix("in sync"), "\(given)")
      #expect(standing.advice.isEmpty == (given.agreement == .equal || given.agreement == .unknown), "\(given)")
    }
  }

  @Test func `of several streams the worst counts`() {
    let worst: [Agreement] = [.unknown, .differs, .underway, .equal]
    for (index, first) in worst.enumerated() {
      for second in worst[index...] {
        let both = [first, second].map { wanted in standing(Self.cases.first { $0.agreement == wanted }!) }
        #expect(both.agreement == first && Array(both.reversed()).agreement == first)
      }
    }
    #expect([StreamStanding]().agreement == .equal)
  }

  @Test func `a conflict that waits is named, and the sides are equal all the same`() {
    var standing = StreamStanding(Self.origin)
    standing.conflicts = 2
    #expect(standing.agreement == .equal)
    #expect(standing.advice.count == 1 && standing.advice[0].contains("drover conflicts list"))
  }
}

@Suite struct TallyTests {
  private func tally(_ values: [Value]) -> Tally {
    var tally = Tally()
    for value in values { tally.add(value) }
    return tally
  }

  @Test func `values are counted by type and bytes, and long ones together`() {
    let long = Value.text(String(repeating: "x", count: Tally.longestValue + 1))
    let longer = Value.text(String(repeating: "y", count: 1000))
    let counted = tally([.null, .integer(1), .real(1), .text("1"), .blob([0x31]), .integer(1), long, longer])
    #expect(counted.counts == [.null: 1, .integer(1): 2, .real(1): 1, .text("1"): 1, .blob([0x31]): 1])
    #expect(counted.long == 2 && !counted.isOver)
  }

  @Test func `what is kept has a bound`() {
    let most = (0..<Tally.mostValues).map { Value.integer(Int64($0)) }
    #expect(!tally(most).isOver)
    let over = tally(most + [.integer(-1)])
    #expect(over.isOver && over.counts.count == Tally.mostValues)
    let problem = GroupedRows(column: "n", atEdge: over, inCloud: tally([])).problem
    #expect(problem?.contains("more than \(Tally.mostValues)") == true)
    #expect(GroupedRows(column: "n", atEdge: tally([]), inCloud: over).problem != nil)
  }

  @Test func `groups that differ come first, then the largest, and what is left out is summed up`() {
    let atEdge = tally([.text("a"), .text("b"), .text("b"), .text("c")])
    let inCloud = tally([.text("b"), .text("b"), .text("c"), .text("d")])
    let grouped = GroupedRows(column: "stage", atEdge: atEdge, inCloud: inCloud)
    #expect(grouped.groups.map(\.value) == ["a", "d", "b", "c"].map { .text($0) })
    #expect(grouped.groups.map(\.atEdge) == [1, 0, 2, 1] && grouped.groups.map(\.inCloud) == [0, 1, 2, 1])
    #expect(grouped.leftOut == 0 && grouped.problem == nil)

    let many = tally((0..<GroupedRows.most + 7).map { .integer(Int64($0)) } + [.integer(0)])
    let cut = GroupedRows(column: "n", atEdge: many, inCloud: many)
    #expect(cut.groups.count == GroupedRows.most && cut.groups[0].value == .integer(0))
    #expect(cut.leftOut == 7 && cut.rest.atEdge == 7 && cut.rest.inCloud == 7)
  }
}
