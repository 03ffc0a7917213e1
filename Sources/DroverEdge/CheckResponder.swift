// Answers the cloud's questions about what the tables hold. A large table is walked in pieces, one in each turn of the relay, so that
// events go on in between; a long answer goes in several messages, and few of them are on their way at a time.

import DroverCore
import DroverWire

struct CheckResponder {
  /// Rows that one turn looks at: a few milliseconds.
  static let rowsPerTurn = 2000
  /// Rows whose digests one message carries.
  static let rowsPerMessage = 1000
  /// Messages without a PUBACK at a time.
  static let window = 8
  /// Questions that wait for their turn; the asker of one beyond them hears that he has to ask again.
  static let mostWaiting = 16

  private let machine: MachineID
  private var waiting: [CheckRequest] = []
  private var walk: Walk?
  private var outbox: [OutboundMessage] = []
  private var inFlight: Set<PublishToken> = []

  init(machine: MachineID) { self.machine = machine }

  /// A question that is answered by looking at a whole table.
  private struct Walk {
    let request: CheckRequest
    let stream: EdgeStream
    var cursor: [Value] = []
    var parts: Parts
    /// nil: only fingerprints are asked for.
    let wanted: Set<Int>?
    var rows: [CheckReply.Row] = []
    var messages = 0
  }

  /// Whether there is something to be done now.
  var isBusy: Bool { (!outbox.isEmpty || walk != nil || !waiting.isEmpty) && inFlight.count < Self.window }

  mutating func ask(_ request: CheckRequest) {
    guard waiting.count < Self.mostWaiting else {
      return answer(
        request, CheckReply(.failure("the agent has \(waiting.count) questions to answer; ask again later")))
    }
    waiting.append(request)
  }

  /// - Returns: whether the message was an answer of this responder's.
  mutating func acknowledged(_ token: PublishToken) -> Bool { inFlight.remove(token) != nil }

  /// Nobody waits for what was asked over another connection.
  mutating func disconnected() { self = CheckResponder(machine: machine) }

  /// Does one piece of work. Returns whether it has put rows into the outbox.
  mutating func turn(_ store: any EdgeStore, _ publisher: any Publisher) throws(EdgeStoreError) -> Bool {
    while inFlight.count < Self.window, let message = outbox.first {
      guard let token = try? publisher.publish(message) else { break }
      inFlight.insert(token)
      outbox.removeFirst()
    }
    guard outbox.isEmpty, inFlight.count < Self.window else { return false }
    if walk != nil {
      try goOn(store)
      return false
    }
    guard let request = waiting.first else { return false }
    try begin(request, store)
    waiting.removeFirst()
    if case .sendAgain = request.question { return true }
    return false
  }

  private mutating func begin(_ request: CheckRequest, _ store: any EdgeStore) throws(EdgeStoreError) {
    guard let stream = store.streams.first(where: { $0.name == request.stream }), stream.table != nil else {
      return answer(request, CheckReply(.failure("no table is captured as stream \(request.stream)")))
    }
    guard let schema = stream.schema else {
      return answer(request, CheckReply(.failure("the table of stream \(request.stream) is not there")))
    }
    guard schema.id == request.schema else {
      return answer(request, CheckReply(.failure("the table has another schema than the cloud knows; ask again later")))
    }
    switch request.question {
    case .parts(let bits): walk = Walk(request: request, stream: stream, parts: Parts(bits: bits), wanted: nil)
    case .rows(let bits, let parts):
      walk = Walk(request: request, stream: stream, parts: Parts(bits: bits), wanted: Set(parts))
    case .standing(let ids):
      guard let keys = keys(ids, schema, request) else { return }
      let standings = try store.standing(of: keys, stream: stream.number)
      answer(
        request,
        CheckReply(.standing(zip(ids, standings).map { CheckReply.Standing(id: $0.0, standing: $0.1) })))
    case .sendAgain(let ids):
      guard let keys = keys(ids, schema, request) else { return }
      try store.enter(keys, stream: stream.number)
      answer(request, CheckReply(.entered(keys.count)))
    }
  }

  private mutating func keys(_ ids: [String], _ schema: StreamSchema, _ request: CheckRequest) -> [[Value]]? {
    do throws(WireError) {
      var keys: [[Value]] = []
      for id in ids { keys.append(try LocalIDCodec.key(id, schema: schema)) }
      return keys
    } catch {
      answer(request, CheckReply(.failure("read an id: \(error)")))
      return nil
    }
  }

  private mutating func goOn(_ store: any EdgeStore) throws(EdgeStoreError) {
    guard var walk else { return }
    let schema = walk.stream.schema!
    var parts = walk.parts
    var rows = walk.rows
    let wanted = walk.wanted
    let next = try store.survey(stream: walk.stream.number, after: walk.cursor, limit: Self.rowsPerTurn) {
      key, digest in
      let id = LocalIDCodec.text(key: key, schema: schema)
      let idDigest = Digest.of(localID: id)
      guard let wanted else { return parts.add(id: idDigest, row: digest) }
      guard wanted.contains(Parts.part(of: idDigest, bits: parts.bits)) else { return }
      rows.append(CheckReply.Row(id: id, digest: digest))
    }
    walk.parts = parts
    walk.rows = rows
    while wanted != nil, walk.rows.count >= Self.rowsPerMessage {
      answer(
        walk.request,
        CheckReply(.rows(Array(walk.rows.prefix(Self.rowsPerMessage))), number: walk.messages, hasMore: true))
      walk.rows.removeFirst(Self.rowsPerMessage)
      walk.messages += 1
    }
    if let next {
      walk.cursor = next
      self.walk = walk
      return
    }
    answer(
      walk.request, wanted == nil ? CheckReply(.parts(walk.parts)) : CheckReply(.rows(walk.rows), number: walk.messages)
    )
    self.walk = nil
  }

  private mutating func answer(_ request: CheckRequest, _ reply: CheckReply) {
    outbox.append(
      OutboundMessage(
        topic: Topic.reply(machine, id: request.id).text, payload: reply.document, contentType: "application/json"))
  }
}
