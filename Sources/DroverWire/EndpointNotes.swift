// How the endpoints of the worklists do, as the store keeps it.

package import DroverCore

package struct EndpointNotes: Equatable, Sendable {
  package var standings: [EndpointStanding]

  package init(_ standings: [EndpointStanding]) { self.standings = standings }

  package var text: String {
    JSON.object([("v", 1), ("endpoints", .array(standings.map { .object($0.members) }))]).text()
  }

  package init(parsing text: String) throws(WireError) {
    let members = try JSONDocument(parsing: Array(text.utf8)).members
    try members.requireVersion1()
    standings = []
    for element in try members.array("endpoints") { standings.append(try EndpointStanding(try element.members())) }
  }
}

extension EndpointStanding {
  /// As it stands in notes, and in the documents of status and HTTP.
  package var members: [(String, JSON)] {
    var members: [(String, JSON)] = [
      ("worklist", .string(worklist.text)), ("kind", .string(kind.rawValue)), ("requests", .integer(Int64(requests))),
      ("failures", .integer(Int64(failures))), ("failures_in_a_row", .integer(Int64(failuresInARow))),
      ("circuit", .string(isOpen ? "open" : "closed")),
    ]
    switch kind {
    case .fetch: members += [("added", .integer(Int64(added))), ("unusable", .integer(Int64(unusable)))]
    case .completed: members.append(("posted", .integer(Int64(posted))))
    }
    if let failure { members.append(("failure", .string(failure))) }
    for (name, at) in [("succeeded_at", succeededAt), ("failed_at", failedAt), ("next_at", nextAt)] {
      if let at { members.append((name, .integer(at))) }
    }
    return members
  }

  init(_ members: JSONDocument.Members) throws(WireError) {
    guard let kind = Kind(rawValue: try members.string("kind")) else {
      throw WireError("\"kind\" is fetch or completed")
    }
    func count(_ name: String) throws(WireError) -> Int {
      members.has(name) ? Int(try members.integer(name, in: Bounds.count)) : 0
    }
    func moment(_ name: String) throws(WireError) -> Int64? {
      members.has(name) ? try members.integer(name, in: Bounds.time) : nil
    }
    do {
      self.init(try WorklistName(try members.string("worklist")), kind)
    } catch {
      throw WireError("\(error)")
    }
    requests = try count("requests")
    failures = try count("failures")
    failuresInARow = try count("failures_in_a_row")
    added = try count("added")
    unusable = try count("unusable")
    posted = try count("posted")
    isOpen = try members.string("circuit") == "open"
    failure = members.has("failure") ? try members.string("failure") : nil
    succeededAt = try moment("succeeded_at")
    failedAt = try moment("failed_at")
    nextAt = try moment("next_at")
  }
}
