import DroverCore
import DroverWire
import Testing

@Suite struct OrderDocumentTests {
  private let outcome = RefillOutcome(
    request: RefillID(random: 7), isTaken: true, refused: [.init(key: "MO-3", why: "no field \"silo\"")],
    known: ["MO-1"], cleared: ["MO-2"])

  @Test func `a request and an outcome read back as they were`() throws {
    let stream = try StreamName("mo_batch")
    let requests: [WorklistRequest] = [
      .orders(OrderRequest(request: RefillID(random: 9), stream: stream, limit: 10, bytes: 4096, last: outcome)),
      .orders(OrderRequest(request: RefillID(random: 9), stream: stream, limit: 1000, bytes: 1, last: nil)),
      .outcome(outcome, stream: stream),
    ]
    for request in requests {
      #expect(WorklistRequest.isOne(request.document))
      #expect(try WorklistRequest(document: request.document) == request)
    }
    #expect(!WorklistRequest.isOne(Array(#"{"v":1,"ask":"compare"}"#.utf8)))
  }

  @Test func `an order's fields come as values, and a list is none`() throws {
    let fields = #"{"mo_id":17,"kg":1.5,"name":"A \"B\"","silo":null,"parts":[1,{"a":2}],"more":{"a":1},"done":true}"#
    let reply = WorklistReply.answer(.orders([Order(key: "17", fields: ArraySlice(fields.utf8))], left: 3))
    let read = try ReadWorklistReply(document: reply.document)
    let order = ReadOrder(
      key: "17",
      fields: [
        ("mo_id", .integer(17)), ("kg", .real(1.5)), ("name", .text("A \"B\"")), ("silo", .null), ("parts", nil),
        ("more", nil), ("done", .integer(1)),
      ])
    #expect(read == .orders([order], left: 3))
  }

  @Test func `answers without orders read back`() throws {
    for (reply, read) in [
      (WorklistReply.answer(.nothing(why: "the queue is empty")), ReadWorklistReply.nothing(why: "the queue is empty")),
      (.answer(.closed), .closed), (.noted, .noted), (.working, .working), (.failure("locked"), .failure("locked")),
    ] {
      #expect(try ReadWorklistReply(document: reply.document) == read)
    }
  }
}
