import DroverCore
import Testing

/// Two edits of one row, column by column.
@Suite struct ColumnMergeTests {
  private func merge(
    _ machine: [Int64], _ cloud: [Int64], base: [Int64] = [0, 0, 0], newer: Int? = nil,
    winner: TwoWayRule.Side = .cloud
  ) -> (values: [Int64], lost: [Int64]?) {
    func values(_ row: [Int64]) -> [Value] { row.map { .integer($0) } }
    func numbers(_ row: [Value]) -> [Int64] { row.map { if case .integer(let number) = $0 { number } else { -1 } } }
    let merged = ColumnMerge(
      machine: values(machine), cloud: values(cloud), base: values(base), newer: newer, winner: winner)
    return (numbers(merged.values), merged.lost.map(numbers))
  }

  @Test(arguments: TwoWayRule.Side.allCases)
  func `what one side has changed survives, whoever wins`(winner: TwoWayRule.Side) {
    #expect(merge([1, 0, 0], [0, 2, 0], winner: winner) == ([1, 2, 0], nil))
    #expect(merge([1, 0, 3], [1, 2, 0], winner: winner) == ([1, 2, 3], nil))
    #expect(merge([0, 0, 0], [0, 2, 0], winner: winner) == ([0, 2, 0], nil))
  }

  @Test func `of a column that both have changed the winner's value stands, and the loser's is listed`() {
    #expect(merge([1, 5, 0], [2, 0, 7], winner: .cloud) == ([2, 5, 7], [1, 5, 7]))
    #expect(merge([1, 5, 0], [2, 0, 7], winner: .machine) == ([1, 5, 7], [2, 5, 7]))
  }

  @Test func `the column that says which edit is newer is no conflict`() {
    #expect(merge([1, 0, 8], [0, 2, 9], newer: 2, winner: .cloud) == ([1, 2, 9], nil))
    #expect(merge([1, 0, 9], [0, 2, 8], newer: 2, winner: .machine) == ([1, 2, 9], nil))
    #expect(merge([1, 0, 8], [2, 0, 9], newer: 2, winner: .cloud) == ([2, 0, 9], [1, 0, 8]))
  }
}

private func == (a: (values: [Int64], lost: [Int64]?), b: ([Int64], [Int64]?)) -> Bool {
  a.values == b.0 && a.lost == b.1
}
