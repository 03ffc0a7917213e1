// Builds frames: the edge's events of one stream as one MQTT message that a person can read in `mosquitto_sub`.
//
// A few events name everything. Where there are more, a backlog drains, and rows are written as lists of their values in the order of the
// schema's columns: less than half the bytes (docs/decisions/0017-rows-of-a-backlog-are-lists.md).

package import DroverCore

package struct FrameEncoder {
  private let stream: EdgeStream
  private let head: [UInt8]
  /// `"name":` for each column, ready to be copied.
  private let columnNames: [[UInt8]]
  /// The same for each table of lines, and `"table":[` before them.
  private let lines: [(head: [UInt8], columnNames: [[UInt8]])]
  private var events: [UInt8] = []

  /// How many events the frame holds so far.
  package private(set) var count = 0
  /// The sequence numbers of the first and last event so far, those included that are covered and not sent.
  package private(set) var first: Int64 = 0
  package private(set) var last: Int64 = 0
  package private(set) var isStarted = false
  /// The events while they are few; each names its columns.
  private var few: [OutboxEntry] = []
  private static let mostNamed = 3

  /// How every frame begins, up to its epoch.
  static let head = "{\"v\":1,\"epoch\":\""

  /// - Parameter run: the run of the agent that sends the frames.
  /// - Parameter lineage: of a two-way stream, what the epoch continues.
  package init(epoch: Epoch, run: Int64, stream: EdgeStream, lineage: Lineage? = nil) {
    self.stream = stream
    head = Array("\(Self.head)\(epoch)\",\"run\":\(run),\(Self.text(of: lineage))\"after\":".utf8)
    columnNames = Self.names(stream.schema?.columns.map(\.name) ?? [])
    lines = (stream.schema?.lines ?? []).map { line in
      (Self.names([line.table.text])[0] + "[".utf8, Self.names(line.rows.columns.map(\.name)))
    }
  }

  private static func text(of lineage: Lineage?) -> String {
    guard let lineage else { return "" }
    let fork = lineage.fork.map { ",\"parent\":\"\($0.parent)\",\"fork\":\($0.version)" } ?? ""
    return "\"lineage\":{\"since\":\(lineage.since)\(fork)},"
  }

  /// What an event says about what it has seen.
  private mutating func writeAncestry(of entry: OutboxEntry) {
    if let ancestry = entry.ancestry {
      events += ",\"base\":".utf8
      JSONWriter.write(ancestry.base, into: &events)
      if ancestry.isAgain { events += ",\"again\":true".utf8 }
    }
    if let edge = entry.edge { events += ",\"edge\":[\"\(edge.epoch)\",\(edge.version)]".utf8 }
  }

  private static func names(_ names: [String]) -> [[UInt8]] {
    names.map { name in
      var bytes: [UInt8] = []
      JSONWriter.write(name, into: &bytes)
      bytes.append(UInt8(ascii: ":"))
      return bytes
    }
  }

  /// The event, where there is one alone.
  package var onlySeq: Int64? { count == 1 ? few[0].seq : nil }

  /// Bytes of the events so far; the frame is about a hundred more.
  package var byteCount: Int { events.count }

  /// Notes an entry of which nothing is left to send.
  package mutating func cover(_ seq: Int64) {
    if !isStarted { first = seq }
    isStarted = true
    last = seq
  }

  package mutating func append(_ entry: OutboxEntry) {
    cover(entry.seq)
    count += 1
    if count <= Self.mostNamed {
      few.append(entry)
    } else if count == Self.mostNamed + 1, isTabular {
      events.removeAll(keepingCapacity: true)
      for (index, entry) in few.enumerated() {
        if index > 0 { events.append(UInt8(ascii: ",")) }
        writeAsList(entry)
      }
    }
    if count > 1 { events.append(UInt8(ascii: ",")) }
    if isTabular, count > Self.mostNamed { writeAsList(entry) } else { write(entry) }
  }

  /// Rows that come alone, without lines.
  private var isTabular: Bool { stream.schema?.lines.isEmpty ?? false }

  /// Values from this size on are given room at once, and their frames no second copy.
  private static let large = 256 << 10

  /// Room for a large event: an array that grows by doubling has twice its bytes in memory, and more while it moves.
  private mutating func makeRoom(for entry: OutboxEntry) {
    let size = Self.size(entry.content)
    if size > Self.large { events.reserveCapacity(events.count + size + size / 2 + 1024) }
  }

  private static func size(_ content: Content) -> Int {
    switch content {
    case .none: return 0
    case .json(let body): return body.count
    case .row(let values):
      var size = 0
      values.lendEach { _, value in
        if case .text(let bytes) = value { size += bytes.count }
        if case .blob(let bytes) = value { size += bytes.count }
      }
      return size
    }
  }

  private mutating func writeAsList(_ entry: OutboxEntry) {
    makeRoom(for: entry)
    guard case .row(let values) = entry.content else { return write(entry) }
    events += "\n{\"seq\":".utf8
    JSONWriter.write(entry.seq, into: &events)
    events += ",\"version\":".utf8
    JSONWriter.write(entry.version, into: &events)
    writeAncestry(of: entry)
    events += ",\"row\":[".utf8
    values.lendEach { index, value in
      if index > 0 { events.append(UInt8(ascii: ",")) }
      JSONWriter.write(lent: value, into: &events)
    }
    events += "]}".utf8
  }

  private mutating func write(_ entry: OutboxEntry) {
    makeRoom(for: entry)
    events.append(UInt8(ascii: "\n"))
    Self.begin(
      seq: entry.seq, id: localID(of: entry), entry.content == .none ? .delete : .put, version: entry.version,
      into: &events)
    writeAncestry(of: entry)
    switch entry.content {
    case .none: break
    case .json(let body):
      events += ",\"body\":".utf8
      if FrameDecoder.isJSON(body) { events += body } else { JSONWriter.write(.text(body), into: &events) }
    case .row(let values):
      events += ",\"body\":".utf8
      Self.write(values, columnNames, into: &events)
      if !lines.isEmpty { write(entry.lines) }
    }
    events.append(UInt8(ascii: "}"))
  }

  /// An event that says all by itself, up to its body.
  private static func begin(
    seq: Int64, id: String, _ operation: Operation, version: Int64, into out: inout [UInt8]
  ) {
    out += "{\"seq\":".utf8
    JSONWriter.write(seq, into: &out)
    out += ",\"id\":".utf8
    JSONWriter.write(id, into: &out)
    out += operation == .delete ? ",\"op\":\"delete\",\"version\":".utf8 : ",\"op\":\"put\",\"version\":".utf8
    JSONWriter.write(version, into: &out)
    out += ",\"at\":\"".utf8
    Timestamp.write(microseconds: version, into: &out)
    out.append(UInt8(ascii: "\""))
  }

  private static func write(_ row: some Collection<Value>, _ names: [[UInt8]], into out: inout [UInt8]) {
    out.append(UInt8(ascii: "{"))
    for (index, value) in row.enumerated() {
      if index > 0 { out.append(UInt8(ascii: ",")) }
      out += names[index]
      JSONWriter.write(value, into: &out)
    }
    out.append(UInt8(ascii: "}"))
  }

  private mutating func write(_ rows: [[[Value]]]) {
    events += ",\"with\":{".utf8
    for (index, line) in lines.enumerated() {
      if index > 0 { events.append(UInt8(ascii: ",")) }
      events += line.head
      for (number, row) in rows[index].enumerated() {
        if number > 0 { events.append(UInt8(ascii: ",")) }
        Self.write(row, line.columnNames, into: &events)
      }
      events.append(UInt8(ascii: "]"))
    }
    events.append(UInt8(ascii: "}"))
  }

  /// The frame's bytes; the encoder is empty again afterwards.
  /// - Parameter last: the outbox's last sequence number when the events were read.
  package mutating func finish(covering interval: Interval, last: Int64) -> [UInt8] {
    var frame = head
    let isLarge = events.count > Self.large
    if !isLarge { frame.reserveCapacity(head.count + events.count + 128) }
    JSONWriter.write(interval.after, into: &frame)
    frame += ",\"through\":".utf8
    JSONWriter.write(interval.through, into: &frame)
    frame += ",\"last\":".utf8
    JSONWriter.write(last, into: &frame)
    if let schema = stream.schema {
      frame += ",\"schema\":\"".utf8
      frame += schema.id.text.utf8
      frame.append(UInt8(ascii: "\""))
    }
    frame += ",\"events\":[".utf8
    if isLarge {
      // In place; the buffer goes with the frame and does not stay for the next.
      events.insert(contentsOf: frame, at: 0)
      swap(&frame, &events)
      events = []
    } else {
      frame += events
    }
    frame += "]}".utf8
    discard()
    return frame
  }

  /// Forgets the events so far.
  package mutating func discard() {
    events.removeAll(keepingCapacity: true)
    count = 0
    few.removeAll(keepingCapacity: true)
    isStarted = false
  }

  /// An event of a frame as a text that says all by itself, as a bare event does: for dead letters.
  package static func text(of event: Event, schema: StreamSchema?) -> ArraySlice<UInt8> {
    // A list stands only in a frame, where every event has both numbers.
    guard event.isList, let schema, case .row(let values) = event.content, let seq = event.seq,
      let version = event.version
    else { return event.raw }
    var text: [UInt8] = []
    begin(seq: seq, id: event.localID, event.operation, version: version, into: &text)
    text += ",\"body\":".utf8
    write(values, names(schema.columns.map(\.name)), into: &text)
    text.append(UInt8(ascii: "}"))
    return text[...]
  }

  private func localID(of entry: OutboxEntry) -> String {
    if let schema = stream.schema { return LocalIDCodec.text(key: entry.key, schema: schema) }
    guard case .text(let bytes)? = entry.key.first else { return "" }
    return String(decoding: bytes, as: UTF8.self)
  }
}
