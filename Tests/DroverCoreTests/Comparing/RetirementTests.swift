import DroverCore
import Testing

@Suite struct RetirementTests {
  @Test(
    arguments: [
      // What is left at the edge, what the cloud has, and whether the first is within the second.
      ([[1, 2]], [[1, 2]], true), ([[2, 1]], [[1, 2]], true), ([[2]], [[1, 2]], true), ([[]], [[1, 2]], true),
      ([[3]], [[1, 2]], false), ([[1, 2, 3]], [[1, 2]], false),
      // Equal lines count each.
      ([[1, 1]], [[1, 2]], false), ([[1, 1]], [[1, 1, 1]], true),
      // Each table for itself.
      ([[1], [2]], [[1, 2], [2]], true), ([[1], [2]], [[2], [1]], false), ([[1]], [[1], [2]], false), ([], [], true),
    ] as [([[UInt64]], [[UInt64]], Bool)])
  func `lines that were cleared are none too few, and others are too many`(
    left: [[UInt64]], all: [[UInt64]], isWithin: Bool
  ) {
    #expect(UnitDigest(header: 7, lines: left).isWithin(UnitDigest(header: 7, lines: all)) == isWithin)
    #expect(!UnitDigest(header: 8, lines: left).isWithin(UnitDigest(header: 7, lines: all)))
  }

  @Test func `only what is complete can be retired`() {
    let gone = RowState(digest: nil, isWaiting: false)
    #expect(ReplicaRow(digest: 1, epoch: 1, version: 1, isFinal: true).isRetired(gone))
    #expect(!ReplicaRow(digest: 1, epoch: 1, version: 1).isRetired(gone))
    #expect(
      !ReplicaRow(digest: 1, epoch: 1, version: 1, isFinal: true).isRetired(RowState(digest: 2, isWaiting: false)))
  }
}
