// What the edge writes into a frame, the cloud reads out of it.

import DroverCore
import DroverTesting
import DroverWire
import Foundation
import Testing

@Suite struct FrameTests {
  private func entry(_ seq: Int64, key: [Value], _ content: Content, version: Int64? = nil) -> OutboxEntry {
    OutboxEntry(
      seq: seq, stream: 1, version: version ?? 1_795_170_600_123_000 + seq, key: Values(key), content: content)
  }

  @Test func `a frame reads as the design shows it`() {
    let schema = Samples.schema([("id", "INTEGER"), ("stock_json", "TEXT"), ("average_consumption", "REAL")])
    var encoder = FrameEncoder(epoch: Samples.epoch, run: 5, stream: Samples.stream(schema))
    encoder.append(
      entry(41, key: [.integer(7)], .row([.integer(7), .text("{}"), .real(2.5)]), version: 1_795_170_600_123_000))
    encoder.append(entry(42, key: [.integer(3)], .none, version: 1_795_170_600_124_000))
    #expect(encoder.count == 2 && encoder.first == 41 && encoder.last == 42 && encoder.isStarted)
    let frame = encoder.finish(covering: Interval(after: 40, through: 42), last: 42)
    #expect(
      String(decoding: frame, as: UTF8.self) == """
        {"v":1,"epoch":"3f9c2a","run":5,"after":40,"through":42,"last":42,"schema":"\(schema.id)","events":[
        {"seq":41,"id":"7","op":"put","version":1795170600123000,"at":"2026-11-20T10:30:00.123Z","body":{"id":7,"stock_json":"{}","average_consumption":2.5}},
        {"seq":42,"id":"3","op":"delete","version":1795170600124000,"at":"2026-11-20T10:30:00.124Z"}]}
        """)
    #expect(encoder.count == 0 && !encoder.isStarted && encoder.byteCount == 0)
  }

  @Test(arguments: UInt64(0)..<150) func `random rows of random tables come out as they went in`(seed: UInt64) throws {
    var random = Seeded(seed)
    let schema = seed % 3 == 0 ? random.unitSchema() : random.schema()
    var encoder = FrameEncoder(epoch: Samples.epoch, run: 5, stream: Samples.stream(schema))
    // The same encoder again and again: nothing of one frame is left in the next.
    for round in 0..<4 {
      var entries: [OutboxEntry] = []
      var seq = Int64.random(in: 0...(1 << 60), using: &random)
      let after = seq
      for _ in 0..<Int.random(in: 0...8, using: &random) {
        seq += .random(in: 1...5, using: &random)
        let row = schema.columns.map { _ in random.value() }
        entries.append(
          entry(
            seq, key: schema.keyValues(of: row), random.percent(20) ? .none : .row(Values(row)),
            version: .random(in: 0..<HybridClock.limit, using: &random)))
        if entries.last!.content != .none {
          entries[entries.count - 1].lines = schema.lines.map { line in
            (0..<Int.random(in: 0...3, using: &random)).map { _ in line.rows.columns.map { _ in random.value() } }
          }
        }
        encoder.append(entries.last!)
      }
      seq += .random(in: 1...3, using: &random)
      encoder.cover(seq)
      #expect(encoder.count == entries.count && encoder.last == seq)
      if round == 2 {
        encoder.discard()
        continue
      }
      let bytes = encoder.finish(covering: Interval(after: after, through: seq), last: seq + 3)
      #expect(throws: Never.self) { try JSONSerialization.jsonObject(with: Data(bytes)) }
      let frame = try #require(try FrameDecoder.decode(bytes) { $0 == schema.id ? schema : nil }.frame)
      #expect(
        frame.header
          == FrameHeader(
            epoch: Samples.epoch, run: 5, interval: Interval(after: after, through: seq), last: seq + 3,
            schema: schema.id))
      #expect(frame.broken.isEmpty, "seed \(seed)")
      #expect(frame.events.count == entries.count)
      for (event, entry) in zip(frame.events, entries) {
        #expect(event.seq == entry.seq && event.version == entry.version, "seed \(seed)")
        #expect(event.content == entry.content, "seed \(seed)")
        #expect(event.lines == (entry.lines.isEmpty ? .none : .rows(entry.lines)), "seed \(seed)")
        #expect(event.operation == (entry.content == .none ? .delete : .put))
        #expect(event.at == (event.isList ? nil : Timestamp.text(microseconds: entry.version)))
        #expect(event.isList == (entries.count > 3 && schema.lines.isEmpty && entry.content != .none))
        #expect(try Values(LocalIDCodec.key(event.localID, schema: schema)) == entry.key, "seed \(seed)")
        #expect(throws: Never.self) { try JSONSerialization.jsonObject(with: Data(event.raw)) }
        try expectAlone(event, entry, schema)
      }
    }
  }

  /// The text that a dead letter keeps of an event says the same without its frame.
  private func expectAlone(_ event: Event, _ entry: OutboxEntry, _ schema: StreamSchema) throws {
    let text = FrameEncoder.text(of: event, schema: schema)
    guard case .bare(let bare) = try FrameDecoder.decode(Array(text), known: { _ in nil }) else {
      Issue.record("\(String(decoding: text, as: UTF8.self)) is no bare event")
      return
    }
    #expect(bare.version == entry.version && bare.at == Timestamp.text(microseconds: entry.version))
    #expect(try Values(LocalIDCodec.key(bare.localID, schema: schema)) == entry.key)
    guard case .json(let body) = bare.content else {
      #expect(bare.content == entry.content)
      return
    }
    #expect(try .row(FrameDecoder.row(body, schema: schema)) == entry.content)
  }

  @Test func `rows of a frame with many events are lists of values in the order of the columns`() throws {
    let schema = Samples.schema([("id", "INTEGER"), ("note", "TEXT"), ("level", "REAL")])
    var encoder = FrameEncoder(epoch: Samples.epoch, run: 5, stream: Samples.stream(schema))
    for seq in Int64(1)...3 {
      encoder.append(entry(seq, key: [.integer(seq)], .row([.integer(seq), .null, .real(2.5)])))
    }
    encoder.append(entry(4, key: [.integer(2)], .none, version: 1_795_170_600_124_000))
    #expect(encoder.onlySeq == nil)
    let frame = encoder.finish(covering: Interval(after: 0, through: 4), last: 4)
    #expect(
      String(decoding: frame, as: UTF8.self) == """
        {"v":1,"epoch":"3f9c2a","run":5,"after":0,"through":4,"last":4,"schema":"\(schema.id)","events":[
        {"seq":1,"version":1795170600123001,"row":[1,null,2.5]},
        {"seq":2,"version":1795170600123002,"row":[2,null,2.5]},
        {"seq":3,"version":1795170600123003,"row":[3,null,2.5]},
        {"seq":4,"id":"2","op":"delete","version":1795170600124000,"at":"2026-11-20T10:30:00.124Z"}]}
        """)
  }

  @Test(arguments: [
    #"{"seq":1,"version":5,"row":[1]}"#, #"{"seq":1,"version":5,"row":[1,2,3]}"#,
    #"{"seq":1,"version":5,"row":{"id":1}}"#,
    #"{"seq":1,"version":5,"id":"1","row":[1,"a"]}"#, #"{"seq":1,"version":5,"row":[1,"a"],"body":{"id":1}}"#,
    #"{"seq":1,"version":5,"op":"delete","row":[1,"a"]}"#,
  ])
  func `a list of values that does not fit ends only its event`(text: String) throws {
    let schema = Samples.schema([("id", "INTEGER"), ("note", "TEXT")])
    let frame = """
      {"v":1,"epoch":"3f9c2a","after":0,"through":2,"schema":"\(schema.id)","events":[\(text),{"seq":2,"version":6,"row":[2,"b"]}]}
      """
    let decoded = try #require(try FrameDecoder.decode(Array(frame.utf8)) { _ in schema }.frame)
    #expect(decoded.broken.count == 1 && decoded.events.map(\.localID) == ["2"])
  }

  @Test func `a list of values says nothing where no schema is named`() throws {
    #expect(throws: WireError.self) { try FrameDecoder.decode(Array(#"{"id":"1","row":[1]}"#.utf8)) { _ in nil } }
  }

  @Test func `an empty frame closes a hole`() throws {
    var encoder = FrameEncoder(epoch: Samples.epoch, run: 5, stream: Samples.stream(nil))
    encoder.cover(5)
    let bytes = encoder.finish(covering: Interval(after: 4, through: 9), last: 9)
    let frame = try #require(try FrameDecoder.decode(bytes) { _ in nil }.frame)
    #expect(
      frame.events.isEmpty && frame.header.interval == Interval(after: 4, through: 9) && frame.header.schema == nil)
  }

  @Test(arguments: [
    "{}", "[1,2.50,1e2]", #"{"a": {"b": [true, null]}}"#, "\"text\"", "-0.0", #"["\ud800"]"#,
    "123456789012345678901234567890",
  ])
  func `a body without a table travels as it was written`(body: String) throws {
    var encoder = FrameEncoder(epoch: Samples.epoch, run: 5, stream: Samples.stream(nil, kind: .payload))
    encoder.append(entry(1, key: [.text("a\"7\n\0é")], .json(ArraySlice(body.utf8))))
    let bytes = encoder.finish(covering: Interval(after: 0, through: 1), last: 1)
    let event = try #require(try FrameDecoder.decode(bytes) { _ in nil }.frame?.events.first)
    #expect(event.localID == "a\"7\n\0é" && event.content == .json(ArraySlice(body.utf8)))
  }

  // SQLite's json_valid takes some texts that other readers refuse, and old versions took more.
  @Test(arguments: [
    "", "{", "{'a':1}", "NaN", "[1,]", "{}}", "},{", "\u{feff}{}",
    String(repeating: "[", count: 500) + String(repeating: "]", count: 500),
  ])
  func `a body that is no JSON travels as a string and spoils nothing`(body: String) throws {
    var encoder = FrameEncoder(epoch: Samples.epoch, run: 5, stream: Samples.stream(nil, kind: .payload))
    encoder.append(entry(1, key: [.text("1")], .json(ArraySlice(body.utf8))))
    encoder.append(entry(2, key: [.text("2")], .json(ArraySlice("{}".utf8))))
    let bytes = encoder.finish(covering: Interval(after: 0, through: 2), last: 2)
    let events = try #require(try FrameDecoder.decode(bytes) { _ in nil }.frame?.events)
    #expect(events.count == 2 && events[1].content == .json(ArraySlice("{}".utf8)))
    guard case .json(let raw) = events[0].content else {
      Issue.record("the first event has a body")
      return
    }
    var scanner = JSONScanner(raw)
    #expect(try scanner.readValue() == .text(body))
  }

  @Test(arguments: Samples.notUTF8) func `a body that is not UTF-8 spoils nothing either`(body: [UInt8]) throws {
    var encoder = FrameEncoder(epoch: Samples.epoch, run: 5, stream: Samples.stream(nil, kind: .payload))
    encoder.append(entry(1, key: [.text(body[...])], .json(body[...])))
    let bytes = encoder.finish(covering: Interval(after: 0, through: 1), last: 1)
    let event = try #require(try FrameDecoder.decode(bytes) { _ in nil }.frame?.events.first)
    guard case .json(let raw) = event.content else {
      Issue.record("the event has a body")
      return
    }
    var scanner = JSONScanner(raw)
    #expect(try scanner.readValue() == .text(body[...]))
  }

  @Test func `what is covered without being sent widens the frame and adds no event`() throws {
    var encoder = FrameEncoder(epoch: Samples.epoch, run: 5, stream: Samples.stream(nil, kind: .payload))
    encoder.cover(3)
    encoder.append(entry(5, key: [.text("5")], .json(ArraySlice("1".utf8))))
    encoder.cover(8)
    #expect(encoder.first == 3 && encoder.last == 8 && encoder.count == 1 && encoder.byteCount > 0)
    let frame = try #require(
      try FrameDecoder.decode(encoder.finish(covering: Interval(after: 2, through: 8), last: 8)) { _ in nil }.frame)
    #expect(frame.events.map(\.seq) == [5])
  }
}
