// Reads what arrives on an event topic: a frame of an edge agent, or a bare event of a third-party client. One event that
// makes no sense is set apart with its own text and reason; the others of its frame are read.

package import DroverCore

/// An event that could not be read.
package struct BrokenEvent: Error, Equatable, Sendable {
  package var reason: String
  package var raw: ArraySlice<UInt8>
}

package struct DecodedFrame: Sendable {
  package var header: FrameHeader
  package var events: [Event]
  package var broken: [BrokenEvent]
}

package enum DecodedMessage: Sendable {
  case frame(DecodedFrame)
  case bare(Event)
  /// The frame's schema is not known (yet).
  case unknownSchema(FrameHeader)
}

package enum FrameDecoder {
  /// - Parameters:
  ///   - payload: the message's bytes; values of the result are slices of them.
  ///   - known: the schema of that name, or nil; its errors are passed on.
  package static func decode(
    _ payload: [UInt8], known: (SchemaID) throws -> StreamSchema?
  ) throws -> DecodedMessage {
    guard (try? UTF8Span(validating: payload.span)) != nil else { throw WireError("the message is not UTF-8") }
    var scanner = JSONScanner(payload[...])
    var fields = Fields()
    var bare = EventFields()
    var events: [Event]?
    var broken: [BrokenEvent] = []
    var missingSchema = false
    var lookupError: (any Error)?

    try scanner.readObject { (name, scanner) throws(WireError) in
      // They were read under the header that stood before them; nothing may change it now.
      guard events == nil, !missingSchema else { throw scanner.fault("a member behind \"events\"") }
      switch name {
      case "v": fields.v = try scanner.readInt64(in: Bounds.sequence)
      case "epoch": fields.epoch = String(decoding: try scanner.readString(), as: UTF8.self)
      case "run": fields.run = try scanner.readInt64(in: Bounds.run)
      case "after": fields.after = try scanner.readInt64(in: Bounds.sequence)
      case "through": fields.through = try scanner.readInt64(in: Bounds.sequence)
      case "last": fields.last = try scanner.readInt64(in: Bounds.sequence)
      case "lineage": fields.lineage = try Lineage(&scanner)
      case "schema": fields.schema = SchemaID(text: String(decoding: try scanner.readString(), as: UTF8.self))
      case "events":
        let header = try fields.header()
        var row: RowDecoder?
        if let id = header.schema {
          do {
            row = try known(id).map(RowDecoder.init)
          } catch {
            lookupError = error
          }
          missingSchema = row == nil
        }
        guard !missingSchema else {
          _ = try scanner.readRaw()
          return
        }
        var list: [Event] = []
        try scanner.readArray { (scanner) throws(WireError) in
          switch try readEvent(&scanner, header: header, row: row) {
          case .success(let event): list.append(event)
          case .failure(let event): broken.append(event)
          }
        }
        events = list
      default: try bare.read(name, &scanner, row: nil)
      }
    }
    try scanner.expectEnd()
    if let lookupError { throw lookupError }
    guard fields.v != nil else { return .bare(try bare.event(raw: payload[...])) }
    let header = try fields.header()
    if missingSchema { return .unknownSchema(header) }
    guard let events else { throw WireError("the frame has no \"events\"") }
    return .frame(DecodedFrame(header: header, events: events, broken: broken))
  }

  /// The epoch of a frame by its beginning, as FrameEncoder writes it; nil for what is no such frame. For messages that are too large to
  /// be read.
  package static func epoch(ofBeginning payload: [UInt8]) -> Epoch? {
    let head = Array(FrameEncoder.head.utf8)
    guard payload.starts(with: head) else { return nil }
    let digits = payload.dropFirst(head.count).prefix(33).prefix { $0 != UInt8(ascii: "\"") }
    return try? Epoch(String(decoding: digits, as: UTF8.self))
  }

  /// The row that a bare event's body describes, where the stream has a table.
  package static func row(_ body: ArraySlice<UInt8>, schema: StreamSchema) throws(WireError) -> Values {
    var scanner = JSONScanner(body)
    return Values(try RowDecoder(schema).read(&scanner))
  }

  /// The lines that a bare event brings, for each of the schema's tables.
  package static func lines(_ with: ArraySlice<UInt8>, schema: StreamSchema) throws(WireError) -> [[[Value]]] {
    var scanner = JSONScanner(with)
    return try RowDecoder(schema).readLines(&scanner)
  }

  /// Whether a body can stand in a frame as it is. What cannot (nested beyond all reason, say) travels as a string.
  package static func isJSON(_ body: ArraySlice<UInt8>) -> Bool {
    var scanner = JSONScanner(body)
    return (try? scanner.readRaw()) != nil && scanner.peek() == nil && String(validating: body, as: UTF8.self) != nil
  }

  /// Syntax errors end the frame, everything else ends only this event.
  private static func readEvent(
    _ scanner: inout JSONScanner, header: FrameHeader, row: RowDecoder?
  ) throws(WireError) -> Result<Event, BrokenEvent> {
    _ = scanner.peek()
    let start = scanner.index
    var fields = EventFields()
    do throws(WireError) {
      try scanner.readObject { (name, scanner) throws(WireError) in
        try fields.read(name, &scanner, row: row)
      }
      if fields.isList, case .row(let values) = fields.content, let row {
        guard fields.id == nil else { throw scanner.fault("an \"id\" beside a \"row\", which holds the key") }
        fields.id = row.localID(of: values)
      }
      let event = try fields.event(raw: scanner.slice(from: start))
      guard event.seq != nil, event.version != nil else { throw WireError("the event has no \"seq\" and \"version\"") }
      try row?.checkLines(of: event)
      if case .json = event.lines { throw WireError("the event has lines, and its stream has no table") }
      guard header.interval.contains(event.seq!) else {
        throw WireError("seq \(event.seq!) is not in the frame's interval \(header.interval)")
      }
      return .success(event)
    } catch {
      scanner.rewind(to: start)
      // The event's own braces do not count: its body may be as deep here as it may be above.
      return .failure(BrokenEvent(reason: error.description, raw: try scanner.readRaw(depth: -1)))
    }
  }
}

/// A frame's header while it is read; it stands before the events, so that rows can be read as they come.
private struct Fields {
  var v: Int64?
  var epoch: String?
  /// Agents that know of no runs are all the run 0.
  var run: Int64 = 0
  var after: Int64?
  var through: Int64?
  var last: Int64?
  var schema: SchemaID?
  var lineage: Lineage?

  func header() throws(WireError) -> FrameHeader {
    guard v == 1 else { throw WireError("version \(v.map(String.init) ?? "missing") of the frame is not 1") }
    guard let epoch, let after, let through else {
      throw WireError("\"epoch\", \"after\" and \"through\" stand before \"events\"")
    }
    guard after < through else { throw WireError("\"after\" \(after) is not below \"through\" \(through)") }
    let name: Epoch
    do { name = try Epoch(epoch) } catch { throw WireError(error.message) }
    return FrameHeader(
      epoch: name, run: run, interval: Interval(after: after, through: through), last: max(through, last ?? through),
      schema: schema, lineage: lineage)
  }
}

private struct EventFields {
  var seq: Int64?
  var id: String?
  var operation: Operation = .put
  var version: Int64?
  var at: String?
  var content: Content = .none
  var lines: Lines = .none
  /// The row came as a list of its values.
  var isList = false
  var base: Int64?
  var isAgain = false
  var edge: DownEvent.Mark?

  mutating func read(_ name: ArraySlice<UInt8>, _ scanner: inout JSONScanner, row: RowDecoder?) throws(WireError) {
    switch name {
    case "seq": seq = try scanner.readInt64(in: Bounds.sequence)
    case "id":
      if scanner.peek() == UInt8(ascii: "\"") {
        id = String(decoding: try scanner.readString(), as: UTF8.self)
      } else {
        id = try scanner.readIntegerText()
      }
    case "op":
      let text = String(decoding: try scanner.readString(), as: UTF8.self)
      guard let known = Operation(rawValue: text) else { throw scanner.fault("\"op\" is put or delete") }
      operation = known
    case "version":
      version = try scanner.readInt64(in: Bounds.version)
    case "base": base = try scanner.readInt64(in: Bounds.version)
    case "again": isAgain = try scanner.readBool()
    case "edge": edge = try DownEvent.Mark(&scanner)
    case "at": at = String(decoding: try scanner.readString(), as: UTF8.self)
    case "row":
      guard let row, content == .none else {
        throw scanner.fault("a \"row\" stands where the frame names a schema, and instead of a \"body\"")
      }
      content = .row(try row.readList(&scanner))
      isList = true
    case "body":
      guard content == .none else { throw scanner.fault("a second \"body\"") }
      if let row { content = .row(Values(try row.read(&scanner))) } else { content = .json(try scanner.readRaw()) }
    case "with":
      if let row { lines = .rows(try row.readLines(&scanner)) } else { lines = .json(try scanner.readRaw()) }
    default: throw scanner.fault("unknown member \"\(String(decoding: name, as: UTF8.self).prefix(64))\"")
    }
  }

  func event(raw: ArraySlice<UInt8>) throws(WireError) -> Event {
    guard let id, !id.isEmpty else { throw WireError("the event has no \"id\"") }
    guard id.utf8.count <= Event.maximumIDBytes else {
      throw WireError("the \"id\" is longer than \(Event.maximumIDBytes) bytes")
    }
    switch (operation, content) {
    case (.put, .none): throw WireError("the event puts, and has no \"body\"")
    case (.delete, .row), (.delete, .json): throw WireError("the event deletes, and has a \"body\"")
    default: break
    }
    guard operation == .put || lines == .none else { throw WireError("the event deletes, and has lines") }
    guard base != nil || !isAgain else { throw WireError("the event is sent \"again\", and has no \"base\"") }
    var event = Event(
      seq: seq, localID: id, operation: operation, version: version, at: at, content: content, lines: lines, raw: raw,
      isList: isList)
    event.ancestry = base.map { Ancestry(base: $0, isAgain: isAgain) }
    event.edge = edge
    return event
  }
}

extension Lineage {
  fileprivate init(_ scanner: inout JSONScanner) throws(WireError) {
    var since: Int64?
    var parent: Epoch?
    var version: Int64?
    try scanner.readObject { (name, scanner) throws(WireError) in
      switch name {
      case "since": since = try scanner.readInt64(in: Bounds.version)
      case "parent": parent = try scanner.readEpoch()
      case "fork": version = try scanner.readInt64(in: Bounds.version)
      default: throw scanner.fault("\"lineage\" has \"since\", \"parent\" and \"fork\"")
      }
    }
    guard let since, (parent == nil) == (version == nil) else {
      throw scanner.fault("\"lineage\" has \"since\", and \"parent\" and \"fork\" together")
    }
    self.init(since: since, fork: parent.map { Fork(parent: $0, version: version!) })
  }
}

extension DownEvent.Mark {
  fileprivate init(_ scanner: inout JSONScanner) throws(WireError) {
    var epoch: Epoch?
    var version: Int64?
    var count = 0
    try scanner.readArray { (scanner) throws(WireError) in
      if count == 0 { epoch = try scanner.readEpoch() } else { version = try scanner.readInt64(in: Bounds.version) }
      count += 1
    }
    guard count == 2, let epoch, let version else { throw scanner.fault("\"edge\" is an epoch and a version") }
    self.init(epoch: epoch, version: version)
  }
}

extension JSONScanner {
  fileprivate mutating func readEpoch() throws(WireError) -> Epoch {
    let text = String(decoding: try readString(), as: UTF8.self)
    do { return try Epoch(text) } catch { throw fault(error.message) }
  }
}

/// Reads a body's members into the order of the schema's columns.
private final class RowDecoder {
  private let schema: StreamSchema
  private let names: [[UInt8]]
  private lazy var places = Dictionary(names.enumerated().map { ($1[...], $0) }) { first, _ in first }
  private let lines: [(table: [UInt8], row: RowDecoder)]
  /// Those of all lists that were read.
  private let values = ValueStore()

  init(_ schema: StreamSchema) {
    self.schema = schema
    names = schema.columns.map { Array($0.name.utf8) }
    lines = schema.lines.map { (Array($0.table.text.utf8), RowDecoder($0.rows)) }
  }

  /// A put of a header has the lines of each table, if only to say that there are none: what is not said must not delete.
  func checkLines(of event: Event) throws(WireError) {
    guard !lines.isEmpty, event.operation == .put, event.lines == .none else { return }
    throw WireError("the event puts a header without its lines (\"with\")")
  }

  /// The rows of each table of lines, in the schema's order.
  func readLines(_ scanner: inout JSONScanner) throws(WireError) -> [[[Value]]] {
    var tables = [[[Value]]?](repeating: nil, count: lines.count)
    try scanner.readObject { (name, scanner) throws(WireError) in
      guard let index = lines.firstIndex(where: { name.elementsEqual($0.table) }), tables[index] == nil else {
        throw scanner.fault("\"with\" has a member that is no table of lines of schema \(schema.id), or has it twice")
      }
      var rows: [[Value]] = []
      try scanner.readArray { (scanner) throws(WireError) in rows.append(try lines[index].row.read(&scanner)) }
      tables[index] = rows
    }
    guard let missing = tables.firstIndex(of: nil) else { return tables.map { $0! } }
    throw scanner.fault("\"with\" lacks the lines of \(schema.lines[missing].table)")
  }

  func localID(of values: Values) -> String { LocalIDCodec.text(keyOf: values, schema: schema) }

  /// Reads a list of values, one for each column.
  func readList(_ scanner: inout JSONScanner) throws(WireError) -> Values {
    let first = values.count
    try scanner.readArray { (scanner) throws(WireError) in try scanner.readValue(into: values) }
    let row = values.values(from: first)
    guard row.count == names.count else {
      throw scanner.fault("the row has \(row.count) values, and schema \(schema.id) \(names.count) columns")
    }
    return row
  }

  func read(_ scanner: inout JSONScanner) throws(WireError) -> [Value] {
    var values = [Value](repeating: .null, count: names.count)
    var next = 0
    try scanner.readObject { (name, scanner) throws(WireError) in
      // Drover writes the columns in order; others may not.
      let index: Int
      if next < names.count, name.elementsEqual(names[next]) {
        index = next
      } else if let found = places[name] {
        index = found
      } else {
        throw scanner.fault("the body has a member that is no column of schema \(schema.id)")
      }
      values[index] = try scanner.readValue()
      next = index + 1
    }
    return values
  }
}

/// Whether a member has this name, asked for each member of each event.
private func ~= (name: StaticString, bytes: ArraySlice<UInt8>) -> Bool {
  bytes.elementsEqual(UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
}
