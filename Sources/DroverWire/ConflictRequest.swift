// What a machine asks the cloud about the conflicts of its own rows, over `ask/<id>`, and the answer over `command/answer-<id>`. docs/protocol.md shows both.

package import DroverCore

package enum ConflictRequest: Equatable, Sendable {
  case list(stream: StreamName?, after: Int64, limit: Int)
  case show(Int64)
  case resolve(Int64, take: ConflictTake, seen: ConflictSeen)

  /// Most conflicts of one answer.
  package static let most = 100
}

package enum ConflictReply: Equatable, Sendable {
  case page(total: Int, newest: Int64, [Conflict], hasMore: Bool)
  case outcome(ResolveOutcome)
  /// Why there is no answer.
  case failure(String)

  /// An answer ends behind the conflict with which it has as many bytes, so that the broker takes it.
  private static let mostBytes = 256 << 10

  /// The first of the conflicts that one answer takes; one at least.
  package static func fitting(_ conflicts: [Conflict]) -> (conflicts: [Conflict], isCut: Bool) {
    var bytes = 0
    for (index, conflict) in conflicts.enumerated() {
      bytes += JSON.object(conflict.wireMembers).text().utf8.count
      if bytes > mostBytes, index > 0 { return (Array(conflicts[..<index]), true) }
    }
    return (conflicts, false)
  }
}

extension ConflictRequest {
  package var document: [UInt8] {
    var members: [(String, JSON)] = [("v", 1)]
    switch self {
    case .list(let stream, let after, let limit):
      members += [("ask", "conflicts"), ("after", .integer(after)), ("limit", integer(limit))]
      if let stream { members.append(("stream", .string(stream.text))) }
    case .show(let id): members += [("ask", "conflict"), ("conflict", .integer(id))]
    case .resolve(let id, let take, let seen):
      members += [("ask", "resolve"), ("conflict", .integer(id)), ("take", .string(take.rawValue))]
      switch seen {
      case .named(let name): members.append(("seen", .string(name)))
      case .asDecided: break
      case .anything: members.append(("even_changed", true))
      }
    }
    return Array(JSON.object(members).text().utf8)
  }

  package init(document: [UInt8]) throws(WireError) {
    let members = try JSONDocument(parsing: document).members
    try members.requireVersion1()
    func id() throws(WireError) -> Int64 { try members.integer("conflict", in: 1 ... .max) }
    switch try members.string("ask") {
    case "conflicts":
      self = .list(
        stream: members.has("stream") ? try members.streamName() : nil,
        after: try members.integer("after", in: 0 ... .max),
        limit: Int(try members.integer("limit", in: 1...Int64(Self.most))))
    case "conflict": self = .show(try id())
    case "resolve":
      guard let take = ConflictTake(rawValue: try members.string("take")) else {
        throw WireError("\"take\" is cloud, machine or both")
      }
      let isAny = members.has("even_changed") ? try members.bool("even_changed") : false
      self = .resolve(
        try id(), take: take,
        seen: members.has("seen") ? .named(try members.string("seen")) : isAny ? .anything : .asDecided)
    default: throw WireError("\"ask\" is conflicts, conflict or resolve")
    }
  }
}

extension ConflictReply {
  package var document: [UInt8] {
    var members: [(String, JSON)] = [("v", 1)]
    switch self {
    case .page(let total, let newest, let conflicts, let hasMore):
      members += [
        ("total", integer(total)), ("newest", .integer(newest)), ("more", .bool(hasMore)),
        ("conflicts", .array(conflicts.map { .object($0.wireMembers) })),
      ]
    case .outcome(.resolved): members.append(("outcome", "resolved"))
    case .outcome(.unknown): members.append(("outcome", "unknown"))
    case .outcome(.changed): members.append(("outcome", "changed"))
    case .outcome(.refused(let why)): members += [("outcome", "refused"), ("why", .string(why))]
    case .failure(let why): members.append(("error", .string(why)))
    }
    return Array(JSON.object(members).text().utf8)
  }

  package init(document: [UInt8]) throws(WireError) {
    let members = try JSONDocument(parsing: document).members
    try members.requireVersion1()
    if members.has("error") {
      self = .failure(try members.string("error"))
    } else if members.has("outcome") {
      switch try members.string("outcome") {
      case "resolved": self = .outcome(.resolved)
      case "unknown": self = .outcome(.unknown)
      case "changed": self = .outcome(.changed)
      default: self = .outcome(.refused(try members.string("why")))
      }
    } else {
      var conflicts: [Conflict] = []
      for element in try members.array("conflicts") { conflicts.append(try Conflict(wire: try element.members())) }
      self = .page(
        total: Int(try members.integer("total", in: Bounds.count)),
        newest: try members.integer("newest", in: 0 ... .max), conflicts, hasMore: try members.bool("more"))
    }
  }
}

extension Conflict {
  /// The values stand in texts, each a JSON list as frames write values.
  fileprivate var wireMembers: [(String, JSON)] {
    func list(_ values: [Value]?) -> JSON {
      guard let values else { return .null }
      return .string("[\(values.map(valueText).joined(separator: ","))]")
    }
    return [
      ("id", .integer(id)), ("machine", .string(machine.text)), ("stream", .string(stream.text)),
      ("row", .string(localID)), ("at_us", .integer(at)), ("reason", .string(lost.reason.rawValue)),
      ("lost", .string(lost.loser.rawValue)), ("version", .integer(lost.version)), ("result", .integer(lost.result)),
      ("columns", .array(columns.map { .string($0) })), ("value", list(lost.value)), ("present", list(present)),
      ("changed_since", .bool(hasChangedSince)), ("problem", problem.map { .string($0) } ?? .null),
    ]
  }

  fileprivate init(wire members: JSONDocument.Members) throws(WireError) {
    func list(_ name: String, _ count: Int) throws(WireError) -> [Value]? {
      guard members.has(name) else { return nil }
      let text = try members.string(name)
      var scanner = JSONScanner(ArraySlice(text.utf8))
      var values: [Value] = []
      try scanner.readArray { (scanner) throws(WireError) in values.append(try scanner.readValue()) }
      try scanner.expectEnd()
      guard values.count == count else { throw WireError("\"\(name)\" has not a value for each column") }
      return values
    }
    var columns: [String] = []
    for element in try members.array("columns") { columns.append(try element.string()) }
    guard let reason = ConflictReason(rawValue: try members.string("reason")),
      let loser = TwoWayRule.Side(rawValue: try members.string("lost")),
      let machine = try? MachineID(try members.string("machine"))
    else { throw WireError("a conflict of another version of Drover; upgrade this one") }
    self.init(
      id: try members.integer("id", in: 1 ... .max), machine: machine, stream: try members.streamName(),
      localID: try members.string("row"), at: try members.integer("at_us", in: Bounds.time),
      lost: LostEdit(
        reason: reason, loser: loser, value: try list("value", columns.count),
        version: try members.integer("version", in: .min ... .max),
        result: try members.integer("result", in: .min ... .max)),
      columns: columns, present: try list("present", columns.count), hasChangedSince: try members.bool("changed_since"),
      problem: members.has("problem") ? try members.string("problem") : nil)
  }
}

extension JSONDocument.Members {
  func streamName() throws(WireError) -> StreamName {
    let text = try string("stream")
    do { return try StreamName(text) } catch { throw WireError(error.message) }
  }
}
