import DroverCore
import Testing

@Suite struct ConflictBoundsTests {
  // Large values filled the space, and status told of it when the streams waited.
  @Test(arguments: [
    (all: ConflictUse(count: 7, bytes: 79), one: ConflictUse(count: 3, bytes: 39), expected: nil as String?),
    (
      all: ConflictUse(count: 8, bytes: 0), one: ConflictUse(count: 0, bytes: 0),
      expected: "space for conflicts becomes"
    ),
    (
      all: ConflictUse(count: 1, bytes: 800), one: ConflictUse(count: 0, bytes: 0),
      expected: "space for conflicts becomes"
    ),
    (
      all: ConflictUse(count: 5, bytes: 0), one: ConflictUse(count: 4, bytes: 0),
      expected: "space for conflicts of M2 becomes"
    ),
    (
      all: ConflictUse(count: 1, bytes: 400), one: ConflictUse(count: 1, bytes: 400),
      expected: "space for conflicts of M2 becomes"
    ),
    (all: ConflictUse(count: 1, bytes: 399), one: ConflictUse(count: 1, bytes: 399), expected: nil),
  ])
  func `space is scarce at four fifths of the number or of the bytes, of all or of one machine`(
    all: ConflictUse, one: ConflictUse, expected: String?
  ) {
    let bounds = ConflictBounds(maxCount: 10, maxBytes: 1000)
    let sentence = bounds.scarcity(all: all, of: [("M1", ConflictUse(count: 0, bytes: 0)), ("M2", one)])
    #expect(
      sentence.map { text in expected.map { text.hasPrefix($0) } ?? false } ?? (expected == nil), "\(sentence ?? "nil")"
    )
  }
}
