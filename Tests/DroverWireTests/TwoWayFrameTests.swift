// What frames and documents say about rows that both sides edit is read as it was written.

import DroverCore
import DroverWire
import Testing

@Suite struct TwoWayFrameTests {
  private static let schema = try! StreamSchema(
    kind: .snapshot,
    columns: [Column(name: "id", declaredType: "INTEGER"), Column(name: "level", declaredType: "REAL")], key: [0],
    flow: Flow(direction: .both, newer: "LEVEL", isKeyNatural: true))
  private static let stream = EdgeStream(
    number: 1, StreamDeclaration(name: try! StreamName("stock"), kind: .snapshot, table: "stock"), schema: schema)

  private func entry(_ seq: Int64, ancestry: Ancestry? = nil, edge: DownEvent.Mark? = nil) -> OutboxEntry {
    OutboxEntry(
      seq: seq, stream: 1, version: 100 + seq, key: Values([.integer(seq)]),
      content: seq.isMultiple(of: 2) ? .none : .row(Values([.integer(seq), .real(0.5)])), ancestry: ancestry, edge: edge
    )
  }

  /// - Parameter count: more than three rows are written as lists.
  @Test(arguments: [1, 3, 9])
  func `a frame says from which history it continues, and what each row had seen`(count: Int64) throws {
    let lineages = [Lineage(since: 7), Lineage(since: 0, fork: .init(parent: try Epoch("a1"), version: 55))]
    for lineage in lineages {
      var encoder = FrameEncoder(epoch: try Epoch("b2"), run: 3, stream: Self.stream, lineage: lineage)
      let seen = (1...count).map { Ancestry(base: $0 * 10, isAgain: $0 % 3 == 0) }
      for (seq, ancestry) in zip(1...count, seen) { encoder.append(entry(seq, ancestry: ancestry)) }
      let frame = encoder.finish(covering: Interval(after: 0, through: count), last: count)
      guard case .frame(let decoded) = try FrameDecoder.decode(frame, known: { _ in Self.schema }) else {
        Issue.record("no frame")
        return
      }
      #expect(decoded.header.lineage == lineage)
      #expect(decoded.events.map(\.ancestry) == seen)
    }
  }

  @Test func `a row that goes down names the machine's edit that it has seen`() throws {
    let mark = DownEvent.Mark(epoch: try Epoch("c3"), version: 44)
    var encoder = FrameEncoder(epoch: try Epoch("d1"), run: 0, stream: Self.stream)
    for seq in 1...6 as ClosedRange<Int64> { encoder.append(entry(seq, edge: seq % 2 == 0 ? nil : mark)) }
    let frame = encoder.finish(covering: Interval(after: 0, through: 6), last: 6)
    guard case .frame(let decoded) = try FrameDecoder.decode(frame, known: { _ in Self.schema }) else {
      Issue.record("no frame")
      return
    }
    #expect(decoded.events.map(\.edge) == [mark, nil, mark, nil, mark, nil])
  }

  @Test(arguments: [
    "\"lineage\":{\"parent\":\"a\",\"since\":1},", "\"lineage\":{\"since\":-1},", "\"lineage\":{},", "\"lineage\":7,",
    "\"lineage\":{\"since\":1,\"fork\":2},",
  ])
  func `half a lineage is refused`(member: String) throws {
    let frame = "{\"v\":1,\"epoch\":\"a\",\(member)\"after\":0,\"through\":1,\"events\":[]}"
    #expect(throws: WireError.self) { try FrameDecoder.decode(Array(frame.utf8), known: { _ in nil }) }
  }

  @Test(arguments: ["\"again\":true", "\"base\":-1", "\"edge\":[\"a\"]", "\"edge\":[\"a\",1,2]", "\"edge\":[1,\"a\"]"])
  func `an event with half an ancestry is broken, and the others are read`(member: String) throws {
    let frame = """
      {"v":1,"epoch":"a","after":0,"through":2,"schema":"\(Self.schema.id)","events":[
      {"seq":1,"id":"1","op":"delete","version":1,\(member)},{"seq":2,"id":"2","op":"delete","version":2,"base":0}]}
      """
    guard case .frame(let decoded) = try FrameDecoder.decode(Array(frame.utf8), known: { _ in Self.schema }) else {
      Issue.record("no frame")
      return
    }
    #expect(decoded.broken.count == 1)
    #expect(decoded.events.map(\.seq) == [2])
  }

  @Test func `a schema keeps its direction, and a stream that only goes up has the id that it had`() throws {
    let read = try StreamSchema(document: Self.schema.document)
    #expect(read == Self.schema)
    #expect(read.flow == Flow(direction: .both, newer: "level", isKeyNatural: true))
    let up = try StreamSchema(kind: .snapshot, columns: Self.schema.columns, key: [0])
    #expect(up.id != Self.schema.id)
    #expect(!String(decoding: up.document, as: UTF8.self).contains("direction"))
    #expect(try StreamSchema(document: up.document).flow == .up)
  }

  @Test func `a status says from where the epoch continues`() throws {
    var status = MachineStatus(isOnline: true, epoch: try Epoch("b"), software: nil, at: 1)
    #expect(!String(decoding: status.document, as: UTF8.self).contains("lineages"))
    let fork = Lineage.Fork(parent: try Epoch("a"), version: 7)
    status.lineages = [try StreamName("stock"): Lineage(since: 3, fork: fork), try StreamName("u"): Lineage(since: 4)]
    #expect(try MachineStatus(document: status.document) == status)
  }

  @Test func `what was received of the way down survives the document`() throws {
    var received = IntervalSet()
    received.insert(Interval(after: 0, through: 7))
    received.insert(Interval(after: 9, through: 12))
    let said = DownConfirmation(epoch: try Epoch("d1"), streams: [try StreamName("stock"): received])
    #expect(try DownConfirmation(document: said.document) == said)
    var refused = said
    refused.refused = RefusedRows(
      total: 3,
      rows: [
        RefusedRow(
          stream: try StreamName("stock"), localID: "[\"é\",1]", isDelete: true, version: 17, reason: "constraint",
          cause: "UNIQUE constraint failed: stock.name", tries: 2, since: 5, last: 9)
      ])
    #expect(try DownConfirmation(document: refused.document) == refused)
    for order in [
      RetryOrder(), RetryOrder(stream: try StreamName("stock")),
      RetryOrder(stream: try StreamName("stock"), ids: ["7", "[1,2]"]),
    ] { #expect(try RetryOrder(document: order.document) == order) }
    #expect(throws: WireError.self) { try RetryOrder(document: Array(#"{"v":1,"ids":["7"]}"#.utf8)) }
    #expect(
      !String(decoding: said.document, as: UTF8.self).contains("runs"), "an agent that has heard of no run names none")
    let named = DownConfirmation(epoch: said.epoch, streams: said.streams, runs: [try StreamName("stock"): 1 << 57])
    #expect(try DownConfirmation(document: named.document) == named)
    var confirmation = Confirmation(epoch: try Epoch("a"), session: "s", at: 1, streams: [:], down: try Epoch("d1"))
    #expect(try Confirmation(document: confirmation.document) == confirmation)
    confirmation.down = nil
    #expect(try Confirmation(document: confirmation.document).down == nil)
  }

  // A consumer one release apart must take what it knows of the document.
  @Test func `members of a confirmation that are not known are ignored, and rows beyond the bound are counted`() throws
  {
    let known = DownConfirmation(epoch: try Epoch("d1"))
    let later = #"{"v":1,"epoch":"d1","streams":{},"later":[1,{"a":null}]}"#
    #expect(try DownConfirmation(document: Array(later.utf8)) == known)
    let row =
      #"{"stream":"stock","id":"7","op":"put","version":1,"reason":"\#(String(repeating: "r", count: 99))","#
      + #""cause":"\#(String(repeating: "c", count: 999))","tries":1,"since_us":1,"last_us":1,"later":true}"#
    let many =
      #"{"v":1,"epoch":"d1","streams":{},"refused":{"total":900,"rows":[\#(Array(repeating: row, count: 900).joined(separator: ","))]}}"#
    let refused = try DownConfirmation(document: Array(many.utf8)).refused
    #expect(refused.total == 900 && refused.rows.count <= RefusedRows.mostNamed)
    #expect(refused.rows[0].cause.count == RefusedRows.causeLength && refused.rows[0].reason.count == 64)
  }
}
