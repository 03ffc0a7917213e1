import DroverCore
import Testing

/// What a machine is told to wait with, and why. Each reason had the text of a schema that cannot be followed.
@Suite struct HoldOrderTests {
  private static let reasons: [HoldReason] =
    [.schema, .bodies, .table] + Budget.allCases.map { .budget($0.rawValue) }

  @Test func `streams and reasons come through, each with a text of its own`() throws {
    let holds = try Self.reasons.enumerated().map { (stream: try StreamName("s \($0)"), reason: $1) }
    let decoded = HoldOrder.decode(HoldOrder.encode(holds))
    #expect(decoded.map { String(decoding: $0.name, as: UTF8.self) } == holds.map(\.stream.text))
    #expect(decoded.map(\.reason) == Self.reasons)
    #expect(Set(Self.reasons.map(\.text)).count == Self.reasons.count)
  }

  // An agent of the release before takes each line for a stream's name, and a consumer of it sends names alone.
  @Test func `releases before this one are understood, and understand`() throws {
    let order = HoldOrder.encode([(try StreamName("a"), .table), (try StreamName("b"), .schema)])
    let lines = String(decoding: order, as: UTF8.self).split(separator: "\n")
    #expect(lines.filter { (try? StreamName(String($0))) != nil } == ["a", "b"])
    let names = HoldOrder.decode(Array("a\nb".utf8))
    #expect(
      names.map { String(decoding: $0.name, as: UTF8.self) } == ["a", "b"] && names.allSatisfy { $0.reason == nil })
  }

  @Test(arguments: [
    "budget ", "budget A", "budget a\u{1b}[2J", "budget " + String(repeating: "a", count: 65), "", "Table",
  ])
  func `a code that is not known is no reason, and is not printed`(code: String) {
    #expect(HoldReason(code: code) == nil)
    #expect(HoldOrder.decode(Array("a\n\t\(code)".utf8)).map(\.reason) == [nil])
  }

  @Test func `a reason without a stream is passed over`() {
    #expect(HoldOrder.decode(Array("\ttable\n\n\tschema".utf8)).isEmpty)
  }
}
