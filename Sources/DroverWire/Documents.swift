// The retained documents of the protocol and their JSON: status, confirmation and what goes with them. docs/protocol.md shows each.

package import DroverCore

extension [StreamName: IntervalSet] {
  /// Of each stream how far everything was received, and what beyond.
  fileprivate var json: JSON {
    .object(
      sorted { $0.key < $1.key }.map { name, received in
        (
          name.text,
          .object([
            ("through", .integer(received.front)),
            ("ahead", .array(received.ahead.map { .array([.integer($0.after), .integer($0.through)]) })),
          ])
        )
      })
  }

  fileprivate init(of members: JSONDocument.Members) throws(WireError) {
    self.init()
    let listed = try members.object("streams")
    for name in listed.names {
      let stream = try listed.object(name)
      var intervals: [Interval] = []
      let front = try stream.integer("through", in: Bounds.sequence)
      if front > 0 { intervals.append(Interval(after: 0, through: front)) }
      for element in try stream.array("ahead") {
        let (after, through) = try element.pair(in: Bounds.sequence, Bounds.sequence)
        guard after < through else { throw WireError("\"ahead\" holds an empty interval") }
        intervals.append(Interval(after: after, through: through))
      }
      do { self[try StreamName(name)] = IntervalSet(intervals) } catch { throw WireError(error.message) }
    }
  }
}

extension DownConfirmation {
  package var document: [UInt8] {
    var members: [(String, JSON)] = [("v", 1), ("epoch", .string(epoch.text)), ("streams", streams.json)]
    if !runs.isEmpty {
      let named = runs.sorted { $0.key < $1.key }.map { ($0.key.text, JSON.integer($0.value)) }
      members.append(("runs", .object(named)))
    }
    if refused != RefusedRows() { members.append(("refused", refused.json)) }
    return Array(JSON.object(members).text().utf8)
  }

  package init(document: [UInt8]) throws(WireError) {
    let parsed = try JSONDocument(parsing: document)
    try parsed.members.requireVersion1()
    let streams = try [StreamName: IntervalSet](of: parsed.members)
    do {
      self.init(
        epoch: try Epoch(try parsed.members.string("epoch")), streams: streams,
        refused: parsed.members.has("refused")
          ? try RefusedRows(members: try parsed.members.object("refused")) : RefusedRows())
      // An older agent names none.
      guard parsed.members.has("runs") else { return }
      let named = try parsed.members.object("runs")
      for name in named.names { runs[try StreamName(name)] = try named.integer(name, in: Bounds.run) }
    } catch let error as WireError {
      throw error
    } catch {
      throw WireError("\(error)")
    }
  }
}

extension Confirmation {
  package var document: [UInt8] {
    var members: [(String, JSON)] = [
      ("v", 1), ("epoch", .string(epoch.text)), ("session", .string(session)),
      ("at", .string(Timestamp.text(microseconds: at))), ("at_us", .integer(at.clamped(to: Bounds.time))),
    ]
    if let answer { members.append(("answer", .integer(answer))) }
    if let maxMessageBytes { members.append(("max_message_bytes", .integer(Int64(maxMessageBytes)))) }
    if let clonedSince { members.append(("cloned_since_us", .integer(clonedSince))) }
    if let down { members.append(("down", .string(down.text))) }
    if let conflicts { members.append(("conflicts", integer(conflicts))) }
    if compares { members.append(("compares", true)) }
    if let worklists { members.append(("worklists", .array(worklists.map { .string($0.text) }))) }
    members.append(("runs", .array(runs.list.map { .array([.integer($0.number), .integer($0.reached)]) })))
    members.append(("streams", streams.json))
    return Array(JSON.object(members).text().utf8)
  }

  package init(document: [UInt8]) throws(WireError) {
    let parsed = try JSONDocument(parsing: document)
    let members = parsed.members
    try members.requireVersion1()
    let streams = try [StreamName: IntervalSet](of: members)
    var runs = Runs()
    // A cloud that knows of no runs tells of none.
    for element in members.has("runs") ? try members.array("runs") : [] {
      let (number, reached) = try element.pair(in: Bounds.run, Bounds.sequence)
      runs.raise(number, to: reached)
    }
    do {
      let worklists: [StreamName]? =
        members.has("worklists") ? try members.array("worklists").map { try StreamName(try $0.string()) } : nil
      self.init(
        epoch: try Epoch(try members.string("epoch")), session: try members.string("session"),
        at: try members.integer("at_us", in: Bounds.time), streams: streams, runs: runs,
        answer: members.has("answer") ? try members.integer("answer", in: Bounds.question) : nil,
        maxMessageBytes: members.has("max_message_bytes")
          ? Int(try members.integer("max_message_bytes", in: Bounds.messageBytes)) : nil,
        clonedSince: members.has("cloned_since_us") ? try members.integer("cloned_since_us", in: Bounds.time) : nil,
        down: members.has("down") ? try Epoch(try members.string("down")) : nil,
        conflicts: members.has("conflicts") ? Int(try members.integer("conflicts", in: Bounds.count)) : nil,
        compares: members.has("compares") ? try members.bool("compares") : false, worklists: worklists)
    } catch let error as InvalidName {
      throw WireError(error.message)
    } catch let error as WireError {
      throw error
    } catch {
      throw WireError("\(error)")
    }
  }
}

extension Lineage {
  fileprivate var json: JSON {
    var members: [(String, JSON)] = [("since", .integer(since))]
    if let fork { members += [("parent", .string(fork.parent.text)), ("fork", .integer(fork.version))] }
    return .object(members)
  }

  fileprivate init(members: JSONDocument.Members) throws {
    var fork: Fork?
    if members.has("fork") {
      fork = Fork(
        parent: try Epoch(try members.string("parent")), version: try members.integer("fork", in: Bounds.version))
    }
    self.init(since: try members.integer("since", in: Bounds.version), fork: fork)
  }
}

extension MachineStatus {
  package var document: [UInt8] {
    var members: [(String, JSON)] = [("v", 1), ("online", .bool(isOnline))]
    if let epoch { members.append(("epoch", .string(epoch.text))) }
    if let software { members.append(("software", .string(software))) }
    // A clock that says an impossible time is set right by what is measured of it; what it says must not make the rest unreadable.
    if let at {
      let at = at.clamped(to: Bounds.time)
      members += [("at", .string(Timestamp.text(microseconds: at))), ("at_us", .integer(at))]
    }
    if let ask { members.append(("ask", .integer(ask))) }
    if let clockOffset {
      members.append(("clock_offset_us", .integer(clockOffset.clamped(to: Bounds.clockOffset))))
    }
    if let outbox { members.append(("outbox", outbox.json(age: outboxAge))) }
    if let process { members.append(("process", .integer(process))) }
    if let taken {
      members.append(
        (
          "session_taken",
          .object([
            ("count", .integer(Int64(taken.count))), ("since_us", .integer(taken.since)),
            ("last_us", .integer(taken.last)),
          ])
        ))
    }
    if !gaps.isEmpty {
      let list = gaps.sorted { $0.key < $1.key }
      members.append(("gaps", .array(list.map { .array([.string($0.key.text), .string($0.value)]) })))
    }
    if !waits.isEmpty { members.append(("waits", .array(waits.prefix(StreamWait.most).map(\.json)))) }
    if !lineages.isEmpty {
      members.append(
        ("lineages", .object(lineages.sorted { $0.key < $1.key }.map { ($0.key.text, $0.value.json) })))
    }
    return Array(JSON.object(members).text().utf8)
  }

  package init(document: [UInt8]) throws(WireError) {
    let parsed = try JSONDocument(parsing: document)
    let members = parsed.members
    try members.requireVersion1()
    var epoch: Epoch?
    if members.has("epoch") {
      let text = try members.string("epoch")
      do { epoch = try Epoch(text) } catch { throw WireError(error.message) }
    }
    let outbox = members.has("outbox") ? try members.object("outbox") : nil
    self.init(
      isOnline: try members.bool("online"), epoch: epoch,
      software: members.has("software") ? try members.string("software") : nil,
      at: members.has("at_us") ? try members.integer("at_us", in: Bounds.time) : nil,
      ask: members.has("ask") ? try members.integer("ask", in: Bounds.question) : nil,
      clockOffset: members.has("clock_offset_us")
        ? try members.integer("clock_offset_us", in: Bounds.clockOffset) : nil,
      outbox: try outbox.map { members throws(WireError) in try OutboxFigures(members: members) },
      outboxAge: try outbox.flatMap { members throws(WireError) in
        members.has("age_us") ? try members.integer("age_us", in: Bounds.duration) : nil
      } ?? 0,
      gaps: members.has("gaps") ? try Self.gaps(try members.array("gaps")) : [:],
      process: members.has("process") ? try members.integer("process", in: Bounds.question) : nil,
      taken: members.has("session_taken") ? try Trouble(taken: try members.object("session_taken")) : nil,
      waits: members.has("waits") ? try Self.waits(try members.array("waits")) : [])
    guard members.has("lineages") else { return }
    let named = try members.object("lineages")
    for name in named.names {
      do {
        lineages[try StreamName(name)] = try Lineage(members: try named.object(name))
      } catch let error as WireError {
        throw error
      } catch {
        throw WireError("\(error)")
      }
    }
  }

  private static func waits(_ elements: [JSONDocument.Element]) throws(WireError) -> [StreamWait] {
    var waits: [StreamWait] = []
    for element in elements.prefix(StreamWait.most) { waits.append(try StreamWait(members: try element.members())) }
    return waits
  }

  private static func gaps(_ elements: [JSONDocument.Element]) throws(WireError) -> [StreamName: String] {
    var gaps: [StreamName: String] = [:]
    for element in elements {
      let pair = try element.elements(2)
      do {
        // It has the form of an epoch's name.
        gaps[try StreamName(try pair[0].string())] = try Epoch(try pair[1].string()).text
      } catch let error as InvalidName {
        throw WireError("\"gaps\": \(error.message)")
      } catch let error as WireError {
        throw error
      } catch {
        throw WireError("\(error)")
      }
    }
    return gaps
  }
}

extension Trouble {
  fileprivate init(taken members: JSONDocument.Members) throws(WireError) {
    self.init(
      .session, since: try members.integer("since_us", in: Bounds.time),
      last: try members.integer("last_us", in: Bounds.time), count: Int(try members.integer("count", in: Bounds.count)))
  }
}

extension StreamWait {
  fileprivate var json: JSON {
    .object([
      ("stream", .string(stream.text)), ("table", .string(table)), ("reason", .string(reason)),
      ("advice", .string(advice)), ("since_us", .integer(since)),
    ])
  }

  fileprivate init(members: JSONDocument.Members) throws(WireError) {
    let name = try members.string("stream")
    let stream: StreamName
    do { stream = try StreamName(name) } catch { throw WireError("\"waits\": \(error.message)") }
    self.init(
      stream: stream, table: try members.string("table"), reason: try members.string("reason"),
      advice: try members.string("advice"), since: try members.integer("since_us", in: Bounds.time))
  }
}

extension OutboxFigures {
  /// - Parameter age: how long ago it was found, microseconds.
  fileprivate func json(age: Int64) -> JSON {
    var members: [(String, JSON)] = [("waiting", .integer(Int64(waiting)))]
    if let oldest { members.append(("oldest_us", .integer(oldest))) }
    members.append(("dead_letters", .integer(Int64(deadLetters))))
    if let freeBytes { members.append(("free_bytes", .integer(freeBytes))) }
    if age > 0 { members.append(("age_us", .integer(age.clamped(to: Bounds.duration)))) }
    return .object(members)
  }

  fileprivate init(members: JSONDocument.Members) throws(WireError) {
    self.init(
      waiting: Int(try members.integer("waiting", in: Bounds.count)),
      oldest: members.has("oldest_us") ? try members.integer("oldest_us", in: Bounds.version) : nil,
      deadLetters: Int(try members.integer("dead_letters", in: Bounds.count)),
      freeBytes: members.has("free_bytes") ? try members.integer("free_bytes", in: Bounds.bytes) : nil)
  }
}

extension JSONDocument.Members {
  func requireVersion1() throws(WireError) {
    _ = try integer("v", in: 1...1)
  }
}
