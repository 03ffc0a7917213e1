// What a machine asks the cloud about both sides of one of its streams, over `ask/<id>`, and the answers over `command/answer-<id>`. docs/protocol.md
// shows both. The cloud compares, because it can ask the agent what its table holds.

package import DroverCore

package struct CompareRequest: Equatable, Sendable {
  package var stream: StreamName
  /// Also count the rows by this column's values.
  package var column: String?
  /// How long ago the command began, in microseconds: later conflicts are new to it. The clocks of the two sides are not compared.
  package var elapsed: Int64

  package init(stream: StreamName, column: String?, elapsed: Int64) {
    self.stream = stream
    self.column = column
    self.elapsed = elapsed.clamped(to: Bounds.duration)
  }

  private static let name = "compare"

  /// Whether a question is one of these.
  package static func isOne(_ document: [UInt8]) -> Bool {
    guard let members = try? JSONDocument(parsing: document).members else { return false }
    return (try? members.string("ask")) == name
  }

  package var document: [UInt8] {
    var members: [(String, JSON)] = [
      ("v", 1), ("ask", .string(Self.name)), ("stream", .string(stream.text)), ("elapsed_us", .integer(elapsed)),
    ]
    if let column { members.append(("by", .string(column))) }
    return Array(JSON.object(members).text().utf8)
  }

  package init(document: [UInt8]) throws(WireError) {
    let members = try JSONDocument(parsing: document).members
    try members.requireVersion1()
    self.init(
      stream: try members.streamName(), column: members.has("by") ? try members.string("by") : nil,
      elapsed: try members.integer("elapsed_us", in: Bounds.duration))
  }
}

package enum CompareReply: Equatable, Sendable {
  /// The answer takes a while; another one follows.
  case working
  case standing(StreamStanding)
  /// The store knows no such stream with a table; what it knows of it: conflicts and dead letters.
  case unknown(conflicts: Int, letters: Int)
  /// Why there is no answer.
  case failure(String)
}

extension CompareReply {
  package var document: [UInt8] {
    var members: [(String, JSON)] = [("v", 1)]
    switch self {
    case .working: members.append(("working", true))
    case .standing(let standing): members.append(("standing", .object(standing.members)))
    case .unknown(let conflicts, let letters):
      members += [("unknown", true), ("conflicts_waiting", integer(conflicts)), ("dead_letters", integer(letters))]
    case .failure(let why): members.append(("error", .string(why)))
    }
    return Array(JSON.object(members).text().utf8)
  }

  package init(document: [UInt8], of origin: MachineStream) throws(WireError) {
    let members = try JSONDocument(parsing: document).members
    try members.requireVersion1()
    func count(_ name: String) throws(WireError) -> Int { Int(try members.integer(name, in: Bounds.count)) }
    if members.has("error") {
      self = .failure(try members.string("error"))
    } else if members.has("working") {
      self = .working
    } else if members.has("unknown") {
      self = .unknown(conflicts: try count("conflicts_waiting"), letters: try count("dead_letters"))
    } else {
      self = .standing(try StreamStanding(try members.object("standing"), of: origin))
    }
  }

  /// Whether no other answer to the same question follows.
  package static func isLast(_ document: [UInt8]) -> Bool {
    guard let members = try? JSONDocument(parsing: document).members else { return true }
    return !members.has("working")
  }
}

// MARK: Standings

extension StreamStanding {
  /// As `--json` prints it and as it travels, without what the reader knows: `drover sync` and `drover compare` add the names and what follows.
  package var members: [(String, JSON)] {
    [
      ("rows_at_edge", integer(rowsAtEdge)), ("rows_in_cloud", integer(rowsInCloud)),
      ("differing", integer(differing)), ("on_their_way", integer(underway)),
      ("failure", failure.map { .string($0) } ?? .null), ("finding", finding.map { .string($0) } ?? .null),
      ("conflicts_waiting", integer(conflicts)), ("conflicts_new", integer(newConflicts)),
      ("dead_letters", integer(letters)), ("groups", groups?.json ?? .null),
    ]
  }

  fileprivate init(_ members: JSONDocument.Members, of origin: MachineStream) throws(WireError) {
    self.init(origin)
    func count(_ name: String) throws(WireError) -> Int { Int(try members.integer(name, in: Bounds.count)) }
    rowsAtEdge = try count("rows_at_edge")
    rowsInCloud = try count("rows_in_cloud")
    differing = try count("differing")
    underway = try count("on_their_way")
    failure = members.has("failure") ? try members.string("failure") : nil
    finding = members.has("finding") ? try members.string("finding") : nil
    conflicts = try count("conflicts_waiting")
    newConflicts = try count("conflicts_new")
    letters = try count("dead_letters")
    groups = members.has("groups") ? try GroupedRows(try members.object("groups")) : nil
  }
}

extension GroupedRows {
  /// Values stand in texts, each as frames write it; a group without one has the values that are too long.
  fileprivate var json: JSON {
    func group(_ group: Group) -> JSON {
      .object([
        ("value", group.value.map { .string(valueText($0)) } ?? .null), ("at_edge", integer(group.atEdge)),
        ("in_cloud", integer(group.inCloud)),
      ])
    }
    return .object([
      ("column", .string(column)), ("problem", problem.map { .string($0) } ?? .null),
      ("values", .array(groups.map(group))), ("left_out", integer(leftOut)), ("rest", group(rest)),
    ])
  }

  fileprivate init(_ members: JSONDocument.Members) throws(WireError) {
    func group(_ members: JSONDocument.Members) throws(WireError) -> Group {
      Group(
        value: members.has("value") ? try value(of: try members.string("value")) : nil,
        atEdge: Int(try members.integer("at_edge", in: Bounds.count)),
        inCloud: Int(try members.integer("in_cloud", in: Bounds.count)))
    }
    var groups: [Group] = []
    for element in try members.array("values") { groups.append(try group(try element.members())) }
    self.init(
      column: try members.string("column"), groups: groups,
      leftOut: Int(try members.integer("left_out", in: Bounds.count)),
      rest: try group(try members.object("rest")),
      problem: members.has("problem") ? try members.string("problem") : nil)
  }
}

// MARK: Tallies

extension Tally {
  /// Of an agent's answer.
  var members: [(String, JSON)] {
    [
      ("tally", .array(counts.map { .array([.string(valueText($0)), integer($1)]) })), ("long", integer(long)),
      ("over", .bool(isOver)),
    ]
  }

  init(_ members: JSONDocument.Members) throws(WireError) {
    let elements = try members.array("tally")
    guard elements.count <= Self.mostValues else {
      throw WireError("\"tally\" holds more than \(Self.mostValues) values")
    }
    var counts: [Value: Int] = [:]
    for element in elements {
      let parts = try element.elements(2)
      counts[try value(of: try parts[0].string())] = Int(try parts[1].integer(in: Bounds.count))
    }
    self.init(
      counts: counts, long: Int(try members.integer("long", in: Bounds.count)), isOver: try members.bool("over"))
  }
}

private func value(of text: String) throws(WireError) -> Value {
  var scanner = JSONScanner(ArraySlice(text.utf8))
  let value = try scanner.readValue()
  try scanner.expectEnd()
  return value
}
