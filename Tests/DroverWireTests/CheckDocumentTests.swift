import DroverCore
import DroverWire
import Testing

@Suite struct CheckDocumentTests {
  @Test(arguments: [
    CheckRequest.Question.parts(bits: 11), .rows(bits: 3, parts: [0, 7]), .standing(["7", "[1,\"é\\u0000\"]"]),
    .sendAgain([]),
  ])
  func `a question reads back as it was asked`(question: CheckRequest.Question) throws {
    let request = CheckRequest(
      id: "3f9c2a", stream: try StreamName("Käse & Brot"), schema: SchemaID(text: "fac2645bc98a3420"),
      question: question)
    #expect(try CheckRequest(document: request.document) == request)
  }

  @Test(arguments: [
    CheckReply.Content.parts(
      Parts(bits: 2, fingerprints: [0: Fingerprint(rows: 3, sum: .max), 3: Fingerprint(rows: 1, sum: 0)])),
    .rows([CheckReply.Row(id: "7", digest: 1), CheckReply.Row(id: "\u{7f}", digest: .max)]),
    .standing([
      CheckReply.Standing(id: "7", standing: RowStanding(digest: nil, isWaiting: true)),
      CheckReply.Standing(id: "8", standing: RowStanding(digest: 0, isWaiting: false)),
    ]),
    .entered(200), .failure("no table"),
  ])
  func `an answer reads back as it was given`(content: CheckReply.Content) throws {
    let reply = CheckReply(content, number: 3, hasMore: true)
    #expect(try CheckReply(document: reply.document) == reply)
  }

  @Test(arguments: [
    #"{"v":1,"id":"a","stream":"s","schema":"x","ask":"all"}"#,
    #"{"v":1,"id":"a","stream":"s","schema":"x","ask":"parts","bits":12}"#,
    #"{"v":1,"id":"a/b","stream":"s","schema":"x","ask":"parts","bits":1}"#,
    #"{"v":1,"id":"a","stream":"s/t","schema":"x","ask":"parts","bits":1}"#,
    #"{"v":2,"id":"a","stream":"s","schema":"x","ask":"parts","bits":1}"#,
    #"{"v":1,"id":"a","stream":"s","schema":"x","ask":"standing","ids":[7]}"#,
  ])
  func `a question that makes no sense is refused`(text: String) {
    #expect(throws: WireError.self) { try CheckRequest(document: Array(text.utf8)) }
  }

  @Test(arguments: [
    #"{"v":1,"number":0,"more":false}"#, #"{"v":1,"number":0,"more":false,"rows":[["7"]]}"#,
    #"{"v":1,"number":0,"more":false,"rows":[["7","x"]]}"#, #"{"v":1,"more":false,"entered":1}"#,
  ])
  func `an answer that makes no sense is refused`(text: String) {
    #expect(throws: WireError.self) { try CheckReply(document: Array(text.utf8)) }
  }
}
