import DroverCore
import DroverWire
import Testing

@Suite struct StreamRequestTests {
  @Test(arguments: [
    StreamRequest.Question.parts(bits: 11), .rows(bits: 3, parts: [0, 7]), .standing(["7", "[1,\"é\\u0000\"]"]),
    .sendAgain([]), .tally(column: "a \"b\""), .resync(ResyncOrder()), .progress,
    .resync(ResyncOrder(since: .init(column: nil, moment: 7))),
    .resync(
      ResyncOrder(
        condition: .comparison(.column("a b"), .atLeast, .literal(.text("it's"))),
        since: .init(column: "at", moment: 1_795_170_600_000_000), rate: 500)),
  ])
  func `a question reads back as it was asked`(question: StreamRequest.Question) throws {
    let request = StreamRequest(
      id: "3f9c2a", stream: try StreamName("Käse & Brot"), schema: SchemaID(text: "fac2645bc98a3420"),
      question: question)
    #expect(try StreamRequest(document: request.document) == request)
  }

  @Test(arguments: [
    StreamReply.Content.parts(
      Parts(bits: 2, fingerprints: [0: Fingerprint(rows: 3, sum: .max), 3: Fingerprint(rows: 1, sum: 0)])),
    .rows([StreamReply.Row(id: "7", digest: 1), StreamReply.Row(id: "\u{7f}", digest: .max)]),
    .standing([
      StreamReply.Standing(id: "7", standing: RowState(digest: nil, isWaiting: true)),
      StreamReply.Standing(id: "8", standing: RowState(digest: 0, isWaiting: false)),
    ]),
    .standing([
      StreamReply.Standing(id: "7", standing: RowState(digest: nil, isWaiting: true)),
      StreamReply.Standing(
        id: "8",
        standing: RowState(digest: 1, isWaiting: false, unit: UnitDigest(header: .max, lines: [[], [0, 7, 7]]))),
    ]),
    .progress(ResyncProgress(total: 9, looked: 8, entered: 7, elapsed: 6, isDone: false)), .entered(200),
    .failure("no table"),
    .tally(
      Tally(
        counts: [.null: 1, .integer(7): 2, .real(-0.0): 3, .text("é\u{0}"): 4, .blob([0, 255]): 5], long: 6,
        isOver: true)),
  ])
  func `an answer reads back as it was given`(content: StreamReply.Content) throws {
    let reply = StreamReply(content, number: 3, hasMore: true)
    #expect(try StreamReply(document: reply.document) == reply)
  }

  @Test func `more lines than one answer should hold are not told one by one`() throws {
    let unit = UnitDigest(header: 1, lines: [Array(repeating: 5, count: 10_001)])
    let reply = StreamReply(.standing([.init(id: "7", standing: RowState(digest: 1, isWaiting: false, unit: unit))]))
    #expect(
      try StreamReply(document: reply.document).content
        == .standing([.init(id: "7", standing: RowState(digest: 1, isWaiting: false))]))
  }

  @Test(arguments: [#"[]"#, #"[null,null]"#, #"[7]"#, #"[["1",["x"]]]"#, #"[[]]"#, #"[["1",7]]"#])
  func `units that make no sense are refused`(units: String) {
    let text = #"{"v":1,"number":0,"more":false,"standing":[["7","1",false]],"units":\#(units)}"#
    #expect(throws: WireError.self) { try StreamReply(document: Array(text.utf8)) }
  }

  @Test(arguments: [
    #"{"v":1,"id":"a","stream":"s","schema":"x","ask":"all"}"#,
    #"{"v":1,"id":"a","stream":"s","schema":"x","ask":"parts","bits":12}"#,
    #"{"v":1,"id":"a/b","stream":"s","schema":"x","ask":"parts","bits":1}"#,
    #"{"v":1,"id":"a","stream":"s/t","schema":"x","ask":"parts","bits":1}"#,
    #"{"v":2,"id":"a","stream":"s","schema":"x","ask":"parts","bits":1}"#,
    #"{"v":1,"id":"a","stream":"s","schema":"x","ask":"standing","ids":[7]}"#,
    #"{"v":1,"id":"a","stream":"s","schema":"x","ask":"resync","where":"1; DROP TABLE t"}"#,
    #"{"v":1,"id":"a","stream":"s","schema":"x","ask":"resync","since_us":"1"}"#,
    #"{"v":1,"id":"a","stream":"s","schema":"x","ask":"resync","rate":0}"#,
  ])
  func `a question that makes no sense is refused`(text: String) {
    #expect(throws: WireError.self) { try StreamRequest(document: Array(text.utf8)) }
  }

  @Test(arguments: [
    #"{"v":1,"number":0,"more":false}"#, #"{"v":1,"number":0,"more":false,"rows":[["7"]]}"#,
    #"{"v":1,"number":0,"more":false,"rows":[["7","x"]]}"#, #"{"v":1,"more":false,"entered":1}"#,
  ])
  func `an answer that makes no sense is refused`(text: String) {
    #expect(throws: WireError.self) { try StreamReply(document: Array(text.utf8)) }
  }
}
