// Answers the cloud's questions about what the tables hold, and takes its orders. A large table is walked in pieces, one in each turn of the relay, so that
// events go on in between; a long answer goes in several messages, and few of them are on their way at a time.

import DroverCore
import DroverWire

struct StreamResponder {
  private let machine: MachineID
  private let limits: AnsweringLimits
  private var waiting: [StreamRequest] = []
  private var scan: RowScan?
  private var outbox: [OutboundMessage] = []
  private var inFlight: Set<PublishToken> = []

  init(machine: MachineID, limits: AnsweringLimits) {
    self.machine = machine
    self.limits = limits
  }

  /// A question that is answered by looking at a whole table.
  private struct RowScan {
    let request: StreamRequest
    let stream: EdgeStream
    var cursor: [Value] = []
    var parts: Parts
    /// nil: only fingerprints are asked for.
    let wanted: Set<Int>?
    var rows: [StreamReply.Row] = []
    var messages = 0
    /// Only one column's values are counted.
    var counting: (column: Int, tally: Tally)?
  }

  /// Whether there is something to be done now.
  var isBusy: Bool { (!outbox.isEmpty || scan != nil || !waiting.isEmpty) && inFlight.count < limits.window }

  mutating func ask(_ request: StreamRequest) {
    guard waiting.count < limits.mostWaiting else {
      return answer(
        request, StreamReply(.failure("the agent has \(waiting.count) questions to answer; ask again later")))
    }
    waiting.append(request)
  }

  /// - Returns: whether the message was an answer of this responder's.
  mutating func acknowledged(_ token: PublishToken) -> Bool { inFlight.remove(token) != nil }

  /// What was asked over another connection has no reader any more.
  mutating func disconnected() { self = StreamResponder(machine: machine, limits: limits) }

  /// A table that was looked at in part is another one now.
  mutating func databaseChanged() {
    guard let scan else { return }
    self.scan = nil
    answer(scan.request, StreamReply(.failure("the machine's database was restored or replaced; ask again")))
  }

  /// Does one piece of work. Returns whether it has put rows into the outbox.
  mutating func turn(_ store: any EdgeStore, _ publisher: any Publisher) throws(EdgeStoreError) -> Bool {
    while inFlight.count < limits.window, let message = outbox.first {
      guard let token = try? publisher.publish(message) else { break }
      inFlight.insert(token)
      outbox.removeFirst()
    }
    guard outbox.isEmpty, inFlight.count < limits.window else { return false }
    if let scan {
      do throws(EdgeStoreError) {
        try goOn(store)
      } catch .failed(let reason) {
        // A table that cannot be read holds up nothing else.
        self.scan = nil
        answer(scan.request, StreamReply(.failure(reason)))
      }
      return false
    }
    guard let request = waiting.first else { return false }
    do throws(EdgeStoreError) {
      try begin(request, store)
    } catch .failed(let reason) {
      answer(request, StreamReply(.failure(reason)))
    }
    waiting.removeFirst()
    switch request.question {
    case .sendAgain, .resync: return true
    default: return false
    }
  }

  private mutating func begin(_ request: StreamRequest, _ store: any EdgeStore) throws(EdgeStoreError) {
    guard let stream = store.streams.first(where: { $0.name == request.stream }), stream.table != nil else {
      return answer(request, StreamReply(.failure("no table is captured as stream \(request.stream)")))
    }
    if let wait = store.waits.first(where: { $0.stream == stream.name }) {
      return answer(request, StreamReply(.failure("\(wait.text); \(wait.advice)")))
    }
    guard let schema = stream.schema else {
      return answer(request, StreamReply(.failure("the table of stream \(request.stream) is not there")))
    }
    guard schema.id == request.schema || request.question.isAboutAnySchema else {
      return answer(
        request, StreamReply(.failure("the table has another schema than the cloud knows; ask again later")))
    }
    switch request.question {
    case .parts(let bits): scan = RowScan(request: request, stream: stream, parts: Parts(bits: bits), wanted: nil)
    case .rows(let bits, let parts):
      scan = RowScan(request: request, stream: stream, parts: Parts(bits: bits), wanted: Set(parts))
    case .tally(let column):
      guard let index = schema.columns.firstIndex(where: { $0.name == column }) else {
        return answer(request, StreamReply(.failure("no column of that name travels")))
      }
      scan = RowScan(
        request: request, stream: stream, parts: Parts(bits: 0), wanted: nil, counting: (index, Tally()))
    case .standing(let ids):
      guard let keys = keys(ids, schema, request) else { return }
      let states = try store.states(of: keys, stream: stream.number)
      answer(
        request,
        StreamReply(.standing(zip(ids, states).map { StreamReply.Standing(id: $0.0, standing: $0.1) })))
    case .sendAgain(let ids):
      guard let keys = keys(ids, schema, request) else { return }
      try store.enter(keys, stream: stream.number)
      answer(request, StreamReply(.entered(keys.count)))
    case .resync(let order):
      do throws(EdgeStoreError) {
        answer(request, StreamReply(.progress(try store.resync(order, stream: stream.number))))
      } catch .failed(let reason) {
        answer(request, StreamReply(.failure(reason)))
      }
    case .progress:
      guard let progress = try store.resyncProgress(stream: stream.number) else {
        return answer(request, StreamReply(.failure("nothing was ordered")))
      }
      answer(request, StreamReply(.progress(progress)))
    }
  }

  private mutating func keys(_ ids: [String], _ schema: StreamSchema, _ request: StreamRequest) -> [[Value]]? {
    do throws(WireError) {
      var keys: [[Value]] = []
      for id in ids { keys.append(try LocalIDCodec.key(id, schema: schema)) }
      return keys
    } catch {
      answer(request, StreamReply(.failure("read an id: \(error)")))
      return nil
    }
  }

  private mutating func goOn(_ store: any EdgeStore) throws(EdgeStoreError) {
    guard var scan else { return }
    if let counting = scan.counting { return try count(counting.column, counting.tally, scan, store) }
    let schema = scan.stream.schema!
    var parts = scan.parts
    var rows = scan.rows
    let wanted = scan.wanted
    let next = try store.survey(stream: scan.stream.number, after: scan.cursor, limit: limits.rowsPerTurn) {
      key, digest in
      let id = LocalIDCodec.text(key: key, schema: schema)
      let idDigest = Digest.of(localID: id)
      guard let wanted else { return parts.add(id: idDigest, row: digest) }
      guard wanted.contains(Parts.part(of: idDigest, bits: parts.bits)) else { return }
      rows.append(StreamReply.Row(id: id, digest: digest))
    }
    scan.parts = parts
    scan.rows = rows
    while wanted != nil, scan.rows.count >= limits.rowsPerMessage {
      answer(
        scan.request,
        StreamReply(.rows(Array(scan.rows.prefix(limits.rowsPerMessage))), number: scan.messages, hasMore: true))
      scan.rows.removeFirst(limits.rowsPerMessage)
      scan.messages += 1
    }
    if let next {
      scan.cursor = next
      self.scan = scan
      return
    }
    answer(
      scan.request,
      wanted == nil ? StreamReply(.parts(scan.parts)) : StreamReply(.rows(scan.rows), number: scan.messages)
    )
    self.scan = nil
  }

  private mutating func count(
    _ column: Int, _ tally: Tally, _ scan: RowScan, _ store: any EdgeStore
  ) throws(EdgeStoreError) {
    var (scan, tally) = (scan, tally)
    let next = try store.values(
      of: column, stream: scan.stream.number, after: scan.cursor, limit: limits.rowsPerTurn
    ) { tally.add($0) }
    if let next, !tally.isOver {
      scan.cursor = next
      scan.counting = (column, tally)
      self.scan = scan
    } else {
      self.scan = nil
      answer(scan.request, StreamReply(.tally(tally)))
    }
  }

  private mutating func answer(_ request: StreamRequest, _ reply: StreamReply) {
    outbox.append(
      OutboundMessage(
        topic: Topic.reply(machine, id: request.id).text, payload: reply.document, contentType: "application/json"))
  }
}

extension StreamRequest.Question {
  /// Whether digests, which depend on the schema, have no part in it.
  fileprivate var isAboutAnySchema: Bool {
    switch self {
    case .parts, .rows, .standing, .tally: false
    case .sendAgain, .resync, .progress: true
    }
  }
}
