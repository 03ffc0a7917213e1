// What is said to the cloud by strangers: bare events, damaged events in whole frames, frames that are none.

import DroverCore
import DroverWire
import Testing

@Suite struct FrameDecoderTests {
  private let schema = Samples.schema([("id", "INTEGER"), ("name", "TEXT"), ("weight", "REAL")])

  @Test func `a frame that is too large to be read shows its epoch all the same`() throws {
    var encoder = FrameEncoder(epoch: Samples.epoch, run: 5, stream: Samples.stream(schema))
    encoder.cover(1)
    let frame = encoder.finish(covering: Interval(after: 0, through: 1), last: 1)
    #expect(FrameDecoder.epoch(ofBeginning: frame) == Samples.epoch)
    #expect(FrameDecoder.epoch(ofBeginning: Array(frame.prefix(40))) == Samples.epoch)
    for other in [
      "", "{\"id\":\"7\"}", "{\"v\":1,\"epoch\":\"XYZ\",", "{\"v\":1,\"epoch\":\"\(String(repeating: "a", count: 99))",
    ] {
      #expect(FrameDecoder.epoch(ofBeginning: Array(other.utf8)) == nil, "\(other)")
    }
  }

  private func decode(_ text: String, _ schema: StreamSchema? = nil) throws -> DecodedMessage {
    try FrameDecoder.decode(Array(text.utf8)) { id in schema.flatMap { $0.id == id ? $0 : nil } }
  }

  private func frame(_ events: String, after: Int64 = 0, through: Int64 = 9, isTable: Bool = false) throws
    -> DecodedFrame
  {
    let name = isTable ? #""schema":"\#(schema.id)","# : ""
    let text = #"{"v":1,"epoch":"3f9c2a","after":\#(after),"through":\#(through),\#(name)"events":[\#(events)]}"#
    return try #require(try decode(text, schema).frame)
  }

  // MARK: One event of many

  @Test(arguments: [
    "1", "null", "[]", "{}", "\"x\"", #"{"seq":2}"#, #"{"seq":2,"id":"a","version":1}"#,
    #"{"seq":2,"id":"","version":1,"body":1}"#,
    #"{"id":"a","version":1,"body":1}"#, #"{"seq":2,"id":"a","body":1}"#, #"{"seq":2,"version":1,"body":1}"#,
    #"{"seq":10,"id":"a","version":1,"body":1}"#, #"{"seq":0,"id":"a","version":1,"body":1}"#,
    #"{"seq":-2,"id":"a","version":1,"body":1}"#,
    #"{"seq":2.0,"id":"a","version":1,"body":1}"#, #"{"seq":"2","id":"a","version":1,"body":1}"#,
    #"{"seq":99999999999999999999,"id":"a","version":1,"body":1}"#, #"{"seq":2,"id":1.5,"version":1,"body":1}"#,
    #"{"seq":2,"id":null,"version":1,"body":1}"#, #"{"seq":2,"id":["a"],"version":1,"body":1}"#,
    #"{"seq":2,"id":"a","version":-1,"body":1}"#, #"{"seq":2,"id":"a","version":9007199254740992,"body":1}"#,
    #"{"seq":2,"id":"a","version":1,"op":"upsert","body":1}"#, #"{"seq":2,"id":"a","version":1,"op":1,"body":1}"#,
    #"{"seq":2,"id":"a","version":1,"op":"delete","body":1}"#, #"{"seq":2,"id":"a","version":1,"at":7,"body":1}"#,
    #"{"seq":2,"id":"a","version":1,"body":1,"extra":[{"deep":1}]}"#, #"{"seq":2,"id":"\ud800","version":1,"body":1}"#,
  ])
  func `one broken event does not spoil its frame`(broken: String) throws {
    let good = #"{"seq":1,"id":"a","version":1,"body":1}"#
    let later = #"{"seq":3,"id":"b","version":3,"body":3}"#
    for text in ["\(good),\(broken),\(later)", "\(broken), \(good),\(later)", "\(good),\(later),\n\(broken)\n"] {
      let frame = try frame(text)
      #expect(frame.events.map(\.localID) == ["a", "b"])
      #expect(frame.broken.map { String(decoding: $0.raw, as: UTF8.self) } == [broken])
      #expect(frame.broken.first?.reason.isEmpty == false)
    }
  }

  // The body may be nested as deep as the scanner goes. To set a broken event apart it was read over once more, with its own braces
  // counted on top: one too deep, so that the whole frame was refused, and the edge sent it again for ever.
  @Test func `a broken event whose body is nested to the limit does not spoil its frame`() throws {
    let depth = JSONScanner.maximumDepth
    let body = String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
    let frame = try frame(
      #"{"seq":1,"id":"a","version":1,"body":\#(body)},{"seq":99,"id":"b","version":1,"body":\#(body)}"#)
    #expect(frame.events.map(\.localID) == ["a"] && frame.broken.count == 1)
  }

  @Test(arguments: [
    #"{"id":7,"nosuch":1}"#, #"{"id":7,"name":[]}"#, #"{"id":7,"name":{}}"#, #"{"id":7,"weight":1e999}"#,
    #"{"id":99999999999999999999}"#, "7", "null", "[]",
    #"{"id":7,"NAME":"x"}"#,
  ])
  func `a row that is none of the table's breaks its event alone`(body: String) throws {
    let frame = try frame(
      #"{"seq":1,"id":"7","version":1,"body":\#(body)},{"seq":2,"id":"8","version":1,"body":{"id":8}}"#, isTable: true)
    #expect(frame.events.map(\.localID) == ["8"] && frame.broken.count == 1)
  }

  @Test func `columns may come in any order, and what is missing is NULL`() throws {
    let frame = try frame(
      #"""
      {"seq":1,"id":"7","version":1,"body":{"weight":1.5,"id":7,"name":"x"}},
      {"body":{"name":"y"},"version":2,"at":"now","op":"put","id":8,"seq":2}, {"seq":3,"id":"9","version":1,"body":{}}
      """#, isTable: true)
    #expect(frame.broken.isEmpty)
    #expect(
      frame.events.map(\.content) == [
        .row([.integer(7), .text("x"), .real(1.5)]), .row([.null, .text("y"), .null]), .row([.null, .null, .null]),
      ])
    #expect(frame.events[1].localID == "8" && frame.events[1].at == "now" && frame.events[0].at == nil)
  }

  @Test(arguments: [
    (#""body":{"id":7},"with":{"sales":[{"no":1,"receipt_id":7}],"payments":[]}"#, nil),
    (#""with":{"payments":[{"sum":5,"receipt":7}],"sales":[]},"body":{"id":7}"#, nil),
    (#""body":{"id":7}"#, "without its lines"), (#""body":{"id":7},"with":{}"#, "lacks the lines of sales"),
    (#""body":{"id":7},"with":{"sales":[]}"#, "lacks the lines of payments"),
    (#""body":{"id":7},"with":{"sales":[],"payments":[],"taxes":[]}"#, "no table of lines"),
    (#""body":{"id":7},"with":{"sales":[],"payments":[],"sales":[]}"#, "twice"),
    (#""body":{"id":7},"with":{"sales":[{"num":1}],"payments":[]}"#, "no column"),
    (#""body":{"id":7},"with":{"sales":[1],"payments":[]}"#, "expected"),
    (#""op":"delete","with":{"sales":[],"payments":[]}"#, "deletes, and has lines"), (#""op":"delete""#, nil),
  ])
  func `a header comes with the lines of each table, or not at all`(members: String, fault: String?) throws {
    let header = [Column(name: "id", declaredType: "INTEGER")]
    func lines(_ table: String, _ columns: [String], _ reference: Int) throws -> LineSchema {
      try LineSchema(
        table: StreamName(table), columns: columns.map { Column(name: $0, declaredType: "INTEGER") }, key: [0],
        references: [reference])
    }
    let schema = try StreamSchema(
      kind: .batch, columns: header, key: [0],
      lines: [lines("sales", ["no", "receipt_id"], 1), lines("payments", ["sum", "receipt"], 1)])
    let text =
      #"{"v":1,"epoch":"3f9c2a","after":0,"through":9,"schema":"\#(schema.id)","events":[{"seq":1,"id":"7","version":1,\#(members)}]}"#
    let frame = try #require(try decode(text, schema).frame)
    guard let fault else {
      #expect(frame.broken.isEmpty, "\(frame.broken)")
      return
    }
    #expect(frame.broken.count == 1 && frame.broken[0].reason.contains(fault), "\(frame.broken)")
  }

  @Test func `lines without a table break their event`() throws {
    let frame = try frame(#"{"seq":1,"id":"a","version":1,"body":1,"with":{}}"#)
    #expect(frame.broken.count == 1)
  }

  @Test func `an event's raw text is its own and no more`() throws {
    let event = #"{"seq":1,"id":"a","version":1,"body":1}"#
    #expect(try frame("  \(event)  ").events.map { String(decoding: $0.raw, as: UTF8.self) } == [event])
  }

  @Test func `an id of any size up to the limit is taken`() throws {
    let long = String(repeating: "x", count: 1 << 16)
    let frame = try frame(
      #"{"seq":1,"id":"\#(long)","version":1,"body":1},{"seq":2,"id":"\#(long)y","version":1,"body":1}"#)
    #expect(frame.events.map(\.localID) == [long] && frame.broken.count == 1)
  }

  // MARK: Frames

  @Test(arguments: [
    "", " ", "x", "1", "\"a\"", "[]", "null", "{", #"{"v":1}"#, #"{"v":1,"epoch":"3f","after":0,"through":1}"#,
    #"{"v":2,"epoch":"3f","after":0,"through":1,"events":[]}"#,
    #"{"v":"1","epoch":"3f","after":0,"through":1,"events":[]}"#,
    #"{"v":1,"epoch":"3F","after":0,"through":1,"events":[]}"#,
    #"{"v":1,"epoch":"","after":0,"through":1,"events":[]}"#,
    #"{"v":1,"epoch":"3f","after":1,"through":1,"events":[]}"#,
    #"{"v":1,"epoch":"3f","after":2,"through":1,"events":[]}"#,
    #"{"v":1,"epoch":"3f","after":-1,"through":1,"events":[]}"#, #"{"v":1,"epoch":"3f","through":1,"events":[]}"#,
    #"{"v":1,"epoch":"3f","after":0,"events":[]}"#, #"{"v":1,"after":0,"through":1,"events":[]}"#,
    #"{"v":1,"epoch":"3f","after":0,"events":[],"through":1}"#, #"{"epoch":"3f","after":0,"through":1,"events":[]}"#,
    #"{"events":[],"v":1,"epoch":"3f","after":0,"through":1}"#,
    #"{"v":1,"epoch":"3f","after":0,"through":1,"events":{}}"#,
    #"{"v":1,"epoch":"3f","after":0,"through":1,"events":[}"#,
    #"{"v":1,"epoch":"3f","after":0,"through":1,"events":[]"#,
    #"{"v":1,"epoch":"3f","after":0,"through":1,"events":[]}x"#,
    #"{"v":1,"epoch":"3f","after":0,"through":1,"events":[]}{}"#,
    #"{"v":1,"epoch":"3f","after":0,"through":99999999999999999999,"events":[]}"#,
    #"{"v":1,"epoch":"3f","after":0,"through":1,"events":[],"unknown":1}"#,
    #"{"v":1,"epoch":"3f","after":0,"through":1,"events":[{"seq":1,"id":"a","version":1,"body":tru}]}"#,
    #"{"v":1,"epoch":"3f","after":0,"through":1,"events":[{"seq":1,"id":"a","version":1,"body":1},]}"#,
  ])
  func `a damaged frame is refused as a whole`(text: String) {
    #expect(throws: WireError.self) { try decode(text) }
  }

  // The events were checked against the interval that stood before them; one that stood behind replaced it, and the cloud would have
  // noted as received what never came.
  @Test(arguments: [#""through":1000"#, #""after":3"#, #""epoch":"aa""#, #""schema":"0""#, #""v":1"#, #""events":[]"#])
  func `a header that changes behind the events is refused`(member: String) {
    let text =
      #"{"v":1,"epoch":"3f9c2a","after":0,"through":9,"events":[{"seq":1,"id":"a","version":1,"body":1}],\#(member)}"#
    #expect(throws: WireError.self) { try decode(text) }
  }

  @Test(arguments: Samples.notUTF8) func `a message that is not UTF-8 is refused`(bytes: [UInt8]) {
    let text = Array(#"{"id":"7","body":""#.utf8) + bytes.filter { $0 != 0x22 } + Array(#""}"#.utf8)
    #expect(throws: WireError.self) { try FrameDecoder.decode(text) { _ in nil } }
  }

  @Test func `a frame of an unknown schema waits, whatever its events are`() throws {
    let text =
      #"{"v":1,"epoch":"3f9c2a","after":4,"through":6,"schema":"9b1d","events":[{"seq":5,"id":"a","version":1,"body":{"a":1}},7]}"#
    guard case .unknownSchema(let header) = try decode(text) else {
      Issue.record("the schema is not known")
      return
    }
    #expect(
      header
        == FrameHeader(
          epoch: Samples.epoch, run: 0, interval: Interval(after: 4, through: 6), last: 6,
          schema: SchemaID(text: "9b1d")))
    #expect(throws: WireError.self) { try decode(text + "x") }
  }

  @Test func `an error of the look-up is passed on, not taken for an unknown schema`() {
    struct Busy: Error {}
    let text = #"{"v":1,"epoch":"3f9c2a","after":4,"through":6,"schema":"9b1d","events":[]}"#
    #expect(throws: Busy.self) { try FrameDecoder.decode(Array(text.utf8)) { _ in throw Busy() } }
  }

  // MARK: Bare events

  @Test(arguments: [
    (#"{"id": "7", "body": {"a": 1}}"#, "7", #"{"a": 1}"#), (#"{"body":[1],"id":7}"#, "7", "[1]"),
    (#" {"id":-7,"body":null} "#, "-7", "null"),
    (#"{"id":"é\u0000","op":"put","at":"x","version":5,"body":"b"}"#, "é\0", "\"b\""),
  ])
  func `a bare event of a third party is read`(text: String, id: String, body: String) throws {
    let event = try #require(try decode(text).bare)
    #expect(event.localID == id && event.content == .json(ArraySlice(body.utf8)) && event.operation == .put)
    #expect(event.raw == ArraySlice(text.utf8))
  }

  @Test func `a bare event may delete, and need not bring a version`() throws {
    let event = try #require(try decode(#"{"id":"7","op":"delete"}"#).bare)
    #expect(
      event.operation == .delete && event.content == .none && event.version == nil && event.seq == nil
        && event.at == nil)
    #expect(try decode(#"{"id":"7","version":12,"body":1}"#).bare?.version == 12)
  }

  @Test(arguments: [
    "{}", #"{"body":1}"#, #"{"id":"7"}"#, #"{"id":"","body":1}"#, #"{"id":"7","op":"delete","body":1}"#,
    #"{"id":"7","body":1,"x":1}"#,
    #"{"id":true,"body":1}"#, #"{"id":"7","body":}"#, #"{"id":"7","body":1}{"id":"8","body":1}"#,
    #"{"id":"7","version":1.5,"body":1}"#,
  ])
  func `a bare event that makes no sense is refused`(text: String) {
    #expect(throws: WireError.self) { try decode(text) }
  }

  @Test func `a bare event's body is read as a row where the stream has a table`() throws {
    let body = ArraySlice(#"{"weight":2,"id":7}"#.utf8)
    #expect(try FrameDecoder.row(body, schema: schema) == [.integer(7), .null, .integer(2)])
    #expect(throws: WireError.self) { try FrameDecoder.row(ArraySlice("[7]".utf8), schema: schema) }
  }

  // MARK: drover emit

  @Test(arguments: [
    (#"{"id":7}"#, "7"), (#"{"x":{"id":1},"id":"a"}"#, "a"), (#"{"id":"\u0041"}"#, "A"),
    (#"{"id":-9223372036854775808}"#, "-9223372036854775808"),
  ])
  func `emit takes the id from a field`(body: String, id: String) throws {
    #expect(try EmittedBody.localID(field: "id", body: ArraySlice(body.utf8)) == id)
  }

  @Test(arguments: [
    "{}", "[]", "7", #"{"id":""}"#, #"{"id":null}"#, #"{"id":1.5}"#, #"{"id":[7]}"#, #"{"ID":7}"#,
    #"{"id":{"$blob":"AA=="}}"#, #"{"id":99999999999999999999}"#,
  ])
  func `emit refuses what has no id in that field`(body: String) {
    #expect(throws: WireError.self) { try EmittedBody.localID(field: "id", body: ArraySlice(body.utf8)) }
  }

  @Test(arguments: [
    ("7", true), ("-7.5e3", true), ("", false), ("a", false), ("7 ", false), (" 7", false), ("07", false), ("-", false),
    ("7a", false), ("\"7\"", false), ("+7", false),
  ])
  func `emit knows a number when it sees one`(text: String, isNumber: Bool) {
    #expect(EmittedBody.isNumber(ArraySlice(text.utf8)) == isNumber)
  }
}
