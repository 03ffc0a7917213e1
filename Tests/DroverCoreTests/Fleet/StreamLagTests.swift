import DroverCore
import Testing

@Suite struct StreamLagTests {
  // Rows of a table that begins to go in both directions have version 0, and status said that they took 20786 days.
  @Test func `a row that was not edited since its two-way stream began has no lag`() {
    func stream(version: Int64) -> CloudReport.Stream {
      CloudReport.Stream(
        name: "products", rows: 1, applied: 1, superseded: 0, refused: 0, version: version,
        appliedAt: 1_795_954_437_740_999, check: nil, lines: [])
    }
    #expect(stream(version: 0).lag == nil)
    #expect(stream(version: 1_795_954_437_740_000).lag == 999)
  }
}
