// What a machine asks the cloud about its worklists, over `ask/<id>`, and the answers over `command/answer-<id>`. docs/protocol.md shows both.

package import DroverCore

package enum WorklistRequest: Equatable, Sendable {
  /// Orders for a request. `<id>` of the topic is the request.
  case orders(OrderRequest)
  /// What became of a request. The answer is `noted`.
  case outcome(RefillOutcome, stream: StreamName)

  /// Longest key of an order, and longest reason of a refusal, in bytes.
  package static let mostKeyBytes = 1024
  package static let mostReasonBytes = 300

  /// Whether a question is one of these.
  package static func isOne(_ document: [UInt8]) -> Bool {
    guard let members = try? JSONDocument(parsing: document).members, let name = try? members.string("ask") else {
      return false
    }
    return name == "orders" || name == "outcome"
  }

  package var document: [UInt8] {
    var members: [(String, JSON)] = [("v", 1)]
    switch self {
    case .orders(let request):
      members += [
        ("ask", "orders"), ("stream", .string(request.stream.text)), ("request", .string(request.request.text)),
        ("limit", .integer(Int64(request.limit))), ("bytes", .integer(Int64(request.bytes))),
      ]
      if let last = request.last { members.append(("last", .object(last.members))) }
    case .outcome(let outcome, let stream):
      members += [
        ("ask", "outcome"), ("stream", .string(stream.text)), ("last", .object(outcome.members)),
      ]
    }
    return Array(JSON.object(members).text().utf8)
  }

  package init(document: [UInt8]) throws(WireError) {
    let members = try JSONDocument(parsing: document).members
    try members.requireVersion1()
    let stream = try members.streamName()
    switch try members.string("ask") {
    case "orders":
      self = .orders(
        OrderRequest(
          request: try members.refillID("request"), stream: stream,
          limit: Int(try members.integer("limit", in: 1...Int64(WorklistDeclaration.mostOrders))),
          bytes: Int(try members.integer("bytes", in: 1...(1 << 28))),
          last: members.has("last") ? try RefillOutcome(try members.object("last")) : nil))
    case "outcome": self = .outcome(try RefillOutcome(try members.object("last")), stream: stream)
    default: throw WireError("\"ask\" is orders or outcome")
    }
  }
}

package enum WorklistReply: Equatable, Sendable {
  case answer(OrderAnswer)
  /// The outcome is in the store.
  case noted
  /// The ERP is asked first; another answer follows.
  case working
  /// Why there is no answer. The machine repeats its request.
  case failure(String)

  package var document: [UInt8] {
    switch self {
    case .answer(.orders(let orders, let left)):
      var out = Array("{\"v\":1,\"left\":\(left),\"orders\":[".utf8)
      for (index, order) in orders.enumerated() {
        out += (index == 0 ? "{\"key\":" : ",{\"key\":").utf8
        JSONWriter.write(order.key, into: &out)
        if let at = order.requeuedAt { out += ",\"requeued\":\(at)".utf8 }
        out += ",\"fields\":".utf8
        out += order.fields
        out.append(UInt8(ascii: "}"))
      }
      out += "]}".utf8
      return out
    case .answer(.nothing(let why)): return Self.bytes([("orders", .array([])), ("why", .string(why))])
    case .answer(.closed): return Self.bytes([("closed", true)])
    case .noted: return Self.bytes([("noted", true)])
    case .working: return Self.bytes([("working", true)])
    case .failure(let why): return Self.bytes([("error", .string(why))])
    }
  }

  private static func bytes(_ members: [(String, JSON)]) -> [UInt8] {
    Array(JSON.object([("v", 1)] + members).text().utf8)
  }
}

/// A reply as the machine reads it: its orders have their fields as values.
package enum ReadWorklistReply: Equatable, Sendable {
  case orders([ReadOrder], left: Int)
  case nothing(why: String)
  case closed
  case noted
  case working
  case failure(String)

  package init(document: [UInt8]) throws(WireError) {
    let members = try JSONDocument(parsing: document).members
    try members.requireVersion1()
    if members.has("error") {
      self = .failure(try members.string("error"))
    } else if members.has("working") {
      self = .working
    } else if members.has("noted") {
      self = .noted
    } else if members.has("closed") {
      self = .closed
    } else if members.has("why") {
      self = .nothing(why: try members.string("why"))
    } else {
      var orders: [ReadOrder] = []
      var scanner = JSONScanner(document[...])
      try scanner.readObject { (name, scanner) throws(WireError) in
        guard name.elementsEqual("orders".utf8) else {
          _ = try scanner.readRaw()
          return
        }
        try scanner.readArray { (scanner) throws(WireError) in orders.append(try ReadOrder(reading: &scanner)) }
      }
      self = .orders(orders, left: Int(try members.integer("left", in: Bounds.count)))
    }
  }
}

extension ReadOrder {
  /// The members of a JSON object as values; nil for a list and an object that is no value.
  package static func fields(_ object: ArraySlice<UInt8>) throws(WireError) -> [(name: String, value: Value?)] {
    var scanner = JSONScanner(object)
    let fields = try read(&scanner)
    try scanner.expectEnd()
    return fields
  }

  fileprivate init(reading scanner: inout JSONScanner) throws(WireError) {
    var key: String?
    var requeuedAt: Int64?
    var fields: [(name: String, value: Value?)] = []
    try scanner.readObject { (name, scanner) throws(WireError) in
      if name.elementsEqual("key".utf8) {
        key = String(decoding: try scanner.readString(), as: UTF8.self)
      } else if name.elementsEqual("requeued".utf8) {
        guard case .integer(let at) = try scanner.readValue(), Bounds.time.contains(at) else {
          throw scanner.fault("\"requeued\" is a time in microseconds")
        }
        requeuedAt = at
      } else if name.elementsEqual("fields".utf8) {
        fields = try Self.read(&scanner)
      } else {
        _ = try scanner.readRaw()
      }
    }
    guard let key else { throw scanner.fault("an order without \"key\"") }
    self.init(key: key, fields: fields, requeuedAt: requeuedAt)
  }

  private static func read(_ scanner: inout JSONScanner) throws(WireError) -> [(name: String, value: Value?)] {
    var fields: [(name: String, value: Value?)] = []
    try scanner.readObject { (name, scanner) throws(WireError) in
      _ = scanner.peek()
      let start = scanner.index
      do throws(WireError) {
        fields.append((String(decoding: name, as: UTF8.self), try scanner.readValue()))
      } catch {
        scanner.rewind(to: start)
        _ = try scanner.readRaw()
        fields.append((String(decoding: name, as: UTF8.self), nil))
      }
    }
    return fields
  }
}

extension RefillOutcome {
  /// As it stands in documents, and in the edge's bookkeeping.
  package var members: [(String, JSON)] {
    var members: [(String, JSON)] = [("request", .string(request.text)), ("taken", .bool(isTaken))]
    if !refused.isEmpty {
      members.append(("refused", .array(refused.map { .array([.string($0.key), .string($0.why)]) })))
    }
    if !known.isEmpty { members.append(("known", .array(known.map { .string($0) }))) }
    if !cleared.isEmpty { members.append(("cleared", .array(cleared.map { .string($0) }))) }
    return members
  }

  package init(_ members: JSONDocument.Members) throws(WireError) {
    func keys(_ name: String) throws(WireError) -> [String] {
      guard members.has(name) else { return [] }
      var keys: [String] = []
      for element in try members.array(name) { keys.append(try element.string()) }
      return keys
    }
    var refused: [Refusal] = []
    if members.has("refused") {
      for element in try members.array("refused") {
        let pair = try element.elements(2)
        refused.append(Refusal(key: try pair[0].string(), why: try pair[1].string()))
      }
    }
    self.init(
      request: try members.refillID("request"), isTaken: try members.bool("taken"), refused: refused,
      known: try keys("known"), cleared: try keys("cleared"))
  }
}

extension JSONDocument.Members {
  fileprivate func refillID(_ name: String) throws(WireError) -> RefillID {
    guard let id = RefillID(try string(name)) else {
      throw WireError("\"\(name)\" is 16 lower-case hexadecimal digits")
    }
    return id
  }
}
