import DroverCore
import DroverWire
import Testing

@Suite struct OrderListTests {
  private func list(_ answer: String, _ plan: FetchPlan) throws -> OrderList {
    try OrderList(parsing: Array(answer.utf8), plan)
  }

  private func plan(
    items: [String] = [], key: [String] = ["id"], fields: [FetchPlan.Field] = [], machine: [String] = []
  ) -> FetchPlan {
    FetchPlan(
      endpoint: EndpointPlan(url: EndpointTemplate(""), method: "GET"), items: items, key: key, fields: fields,
      machine: machine)
  }

  private func fields(_ list: OrderList) -> [String] {
    list.orders.map { String(decoding: $0.order.fields, as: UTF8.self) }
  }

  @Test func `an item is an order, with its members as fields`() throws {
    let found = try list(#" [ {"id": "A", "n": [1, {"x": "ü"}]} , {"id": 7} ] "#, plan())
    #expect(found.orders.map(\.order.key) == ["A", "7"])
    #expect(fields(found) == [#"{"id": "A", "n": [1, {"x": "ü"}]}"#, #"{"id": 7}"#])
    #expect(found.unusable.isEmpty)
  }

  @Test func `fields get the names of the plan, from where it says`() throws {
    let plan = plan(
      items: ["a", "b"], key: ["no", "text"],
      fields: [
        .init(name: "mo_id", path: ["no", "text"]), .init(name: "kg", path: ["sum"]), .init(name: "x", path: ["x"]),
      ],
      machine: ["line"])
    let found = try list(#"{"a":{"b":[{"no":{"text":"A"},"sum":1.50,"line":"MIX1"}]}}"#, plan)
    #expect(fields(found) == [#"{"mo_id":"A","kg":1.50}"#])
    #expect(found.orders[0].order.key == "A" && found.orders[0].machine?.text == "MIX1")
  }

  @Test(
    arguments: [
      "{}", #"{"id":null}"#, #"{"id":true}"#, #"{"id":1.5}"#, #"{"id":[1]}"#, #"{"id":{"a":1}}"#, #"{"id":""}"#, "7",
      "[]", "null", #"{"id":"[1"}"#, #"{"id":"a\u0000"}"#, #"{"id":99999999999999999999}"#,
      #"{"id":"\#(String(repeating: "k", count: 1025))"}"#, #"{"id":1,"line":"no machine"}"#, #"{"id":1,"line":7}"#,
    ])
  func `an item without a proper key or machine is left out, by its place`(_ item: String) throws {
    let found = try list(#"[{"id":"A"},\#(item),{"id":"B","line":null}]"#, plan(machine: ["line"]))
    #expect(found.orders.map(\.order.key) == ["A", "B"])
    #expect(found.unusable.map(\.place) == [2])
  }

  @Test(arguments: ["", "[", "[{]", "{}", "[] x", "7", #"{"a":[]}"#])
  func `what is no list is an error`(_ answer: String) {
    #expect(throws: WireError.self) { try list(answer, plan()) }
    #expect(throws: WireError.self) { try list(answer, plan(items: ["b"])) }
  }

  @Test func `of members with one name the last one counts`() throws {
    #expect(try list(#"{"a":1,"a":[{"id":1,"id":2}]}"#, plan(items: ["a"])).orders.map(\.order.key) == ["2"])
  }

  @Test func `notes about endpoints come back as they were`() throws {
    var fetch = EndpointStanding(try WorklistName("mix"), .fetch)
    (fetch.requests, fetch.failures, fetch.failuresInARow, fetch.added, fetch.unusable) = (9, 5, 5, 2, 1)
    (fetch.isOpen, fetch.failure, fetch.failedAt, fetch.nextAt, fetch.succeededAt) = (true, "no \"answer\"", 7, 8, 6)
    var completed = EndpointStanding(try WorklistName("mix"), .completed)
    completed.posted = 3
    let notes = EndpointNotes([fetch, completed])
    #expect(try EndpointNotes(parsing: notes.text) == notes)
  }
}
