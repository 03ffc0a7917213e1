// Questions to an agent about one stream, and orders, over `command/stream`; and the answers over `reply/<id>`. docs/protocol.md shows each.

package import DroverCore

/// What an agent is asked about one stream.
package struct StreamRequest: Equatable, Sendable {
  package enum Question: Equatable, Sendable {
    /// The fingerprints of the table's 2^`bits` parts.
    case parts(bits: Int)
    /// The digest of every row in these parts.
    case rows(bits: Int, parts: [Int])
    /// What these rows are now.
    case standing([String])
    /// How many rows have which value in a column.
    case tally(column: String)
    /// Send these rows again.
    case sendAgain([String])
    /// Bring the table's rows once more.
    case resync(ResyncOrder)
    /// How far the last order has come.
    case progress
  }

  /// Names the reply's topic.
  package var id: String
  package var stream: StreamName
  /// Under which schema the asker compares; digests under another one would all differ.
  package var schema: SchemaID
  package var question: Question

  package init(id: String, stream: StreamName, schema: SchemaID, question: Question) {
    self.id = id
    self.stream = stream
    self.schema = schema
    self.question = question
  }
}

/// The answer, or a part of one.
package struct StreamReply: Equatable, Sendable {
  package enum Content: Equatable, Sendable {
    case parts(Parts)
    /// Local IDs with their digests.
    case rows([Row])
    case standing([Standing])
    case tally(Tally)
    /// So many rows are in the outbox.
    case entered(Int)
    case progress(ResyncProgress)
    /// Why there is no answer.
    case failure(String)
  }

  package struct Row: Equatable, Sendable {
    package var id: String
    package var digest: UInt64

    package init(id: String, digest: UInt64) {
      self.id = id
      self.digest = digest
    }
  }

  package struct Standing: Equatable, Sendable {
    package var id: String
    package var standing: RowState

    package init(id: String, standing: RowState) {
      self.id = id
      self.standing = standing
    }
  }

  package var content: Content
  /// Counts from 0.
  package var number: Int
  /// Another message of the same answer follows.
  package var hasMore: Bool

  package init(_ content: Content, number: Int = 0, hasMore: Bool = false) {
    self.content = content
    self.number = number
    self.hasMore = hasMore
  }
}

extension StreamRequest {
  package var document: [UInt8] {
    var members: [(String, JSON)] = [
      ("v", 1), ("id", .string(id)), ("stream", .string(stream.text)), ("schema", .string(schema.text)),
    ]
    switch question {
    case .parts(let bits): members += [("ask", "parts"), ("bits", .integer(Int64(bits)))]
    case .rows(let bits, let parts):
      members += [
        ("ask", "rows"), ("bits", .integer(Int64(bits))), ("parts", .array(parts.map { .integer(Int64($0)) })),
      ]
    case .standing(let ids): members += [("ask", "standing"), ("ids", .array(ids.map { .string($0) }))]
    case .tally(let column): members += [("ask", "tally"), ("column", .string(column))]
    case .sendAgain(let ids): members += [("ask", "send_again"), ("ids", .array(ids.map { .string($0) }))]
    case .resync(let order): members += [("ask", "resync")] + order.members
    case .progress: members.append(("ask", "progress"))
    }
    return Array(JSON.object(members).text().utf8)
  }

  package init(document: [UInt8]) throws(WireError) {
    let members = try JSONDocument(parsing: document).members
    try members.requireVersion1()
    func bits() throws(WireError) -> Int {
      Int(try members.integer("bits", in: Parts.bounds))
    }
    func ids() throws(WireError) -> [String] {
      let elements = try members.array("ids")
      guard elements.count <= Bounds.localIDs else {
        throw WireError("\"ids\" holds more than \(Bounds.localIDs) local IDs")
      }
      var ids: [String] = []
      for element in elements { ids.append(try element.string()) }
      return ids
    }
    let question: Question
    switch try members.string("ask") {
    case "parts": question = .parts(bits: try bits())
    case "rows":
      let bits = try bits()
      var parts: [Int] = []
      for element in try members.array("parts") { parts.append(Int(try element.integer(in: Parts.numbers(bits)))) }
      question = .rows(bits: bits, parts: parts)
    case "standing": question = .standing(try ids())
    case "tally": question = .tally(column: try members.string("column"))
    case "send_again": question = .sendAgain(try ids())
    case "resync": question = .resync(try ResyncOrder(members))
    case "progress": question = .progress
    default: throw WireError("\"ask\" is parts, rows, standing, tally, send_again, resync or progress")
    }
    let name = try members.string("stream")
    let id = try members.string("id")
    guard (1...64).contains(id.utf8.count),
      id.utf8.allSatisfy({ (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) })
    else { throw WireError("\"id\" is not 1 to 64 lower-case letters and digits") }
    do {
      self.init(
        id: id, stream: try StreamName(name), schema: SchemaID(text: try members.string("schema")), question: question)
    } catch let error as WireError {
      throw error
    } catch let error as InvalidName {
      throw WireError(error.message)
    } catch {
      throw WireError("\(error)")
    }
  }
}

extension StreamReply {
  /// Of all rows whose lines one answer tells one by one.
  private static let mostLines = 10_000

  package var document: [UInt8] {
    var members: [(String, JSON)] = [("v", 1), ("number", .integer(Int64(number))), ("more", .bool(hasMore))]
    switch content {
    case .parts(let parts):
      members += [
        ("bits", .integer(Int64(parts.bits))),
        (
          "parts",
          .array(
            parts.fingerprints.sorted { $0.key < $1.key }.map { part, fingerprint in
              .array([.integer(Int64(part)), .integer(Int64(fingerprint.rows)), .string(hexadecimal(fingerprint.sum))])
            })
        ),
      ]
    case .rows(let rows):
      members.append(("rows", .array(rows.map { .array([.string($0.id), .string(hexadecimal($0.digest))]) })))
    case .tally(let tally): members += tally.members
    case .standing(let standings):
      members.append(
        (
          "standing",
          .array(
            standings.map {
              .array([
                .string($0.id), $0.standing.digest.map { .string(hexadecimal($0)) } ?? .null,
                .bool($0.standing.isWaiting),
              ])
            })
        ))
      let units = standings.map(\.standing.unit)
      // Without them lines that were cleared count as a difference, which a person can see.
      if units.contains(where: { $0 != nil }),
        units.reduce(0, { $0 + ($1?.lines.joined().count ?? 0) }) <= Self.mostLines
      {
        members.append(("units", .array(units.map { $0.map(\.json) ?? .null })))
      }
    case .entered(let count): members.append(("entered", .integer(Int64(count))))
    case .progress(let progress):
      members += [
        ("total", .integer(Int64(progress.total))), ("looked", .integer(Int64(progress.looked))),
        ("brought", .integer(Int64(progress.entered))), ("elapsed_us", .integer(progress.elapsed)),
        ("done", .bool(progress.isDone)),
      ]
    case .failure(let reason): members.append(("error", .string(reason)))
    }
    return Array(JSON.object(members).text().utf8)
  }

  package init(document: [UInt8]) throws(WireError) {
    let members = try JSONDocument(parsing: document).members
    try members.requireVersion1()
    let content: Content
    if members.has("error") {
      content = .failure(try members.string("error"))
    } else if members.has("tally") {
      content = .tally(try Tally(members))
    } else if members.has("entered") {
      content = .entered(Int(try members.integer("entered", in: Bounds.count)))
    } else if members.has("total") {
      content = .progress(
        ResyncProgress(
          total: Int(try members.integer("total", in: Bounds.count)),
          looked: Int(try members.integer("looked", in: Bounds.count)),
          entered: Int(try members.integer("brought", in: Bounds.count)),
          elapsed: try members.integer("elapsed_us", in: Bounds.duration),
          isDone: try members.bool("done")))
    } else if members.has("standing") {
      var standings: [Standing] = []
      for element in try members.array("standing") {
        let parts = try element.elements(3)
        standings.append(
          Standing(
            id: try parts[0].string(),
            standing: RowState(
              digest: parts[1].isNull ? nil : try digest(parts[1]), isWaiting: try parts[2].bool())))
      }
      if members.has("units") {
        let units = try members.array("units")
        guard units.count == standings.count else { throw WireError("\"units\" has not one for each of \"standing\"") }
        for (index, unit) in units.enumerated() where !unit.isNull {
          standings[index].standing.unit = try UnitDigest(unit)
        }
      }
      content = .standing(standings)
    } else if members.has("rows") {
      var rows: [Row] = []
      for element in try members.array("rows") {
        let parts = try element.elements(2)
        rows.append(Row(id: try parts[0].string(), digest: try digest(parts[1])))
      }
      content = .rows(rows)
    } else {
      let bits = Int(try members.integer("bits", in: Parts.bounds))
      var fingerprints: [Int: Fingerprint] = [:]
      for element in try members.array("parts") {
        let parts = try element.elements(3)
        let number = Int(try parts[0].integer(in: Parts.numbers(bits)))
        guard fingerprints[number] == nil else { throw WireError("\"parts\" names a part twice") }
        fingerprints[number] = Fingerprint(
          rows: Int(try parts[1].integer(in: Bounds.count)), sum: try digest(parts[2]))
      }
      content = .parts(Parts(bits: bits, fingerprints: fingerprints))
    }
    self.init(
      content, number: Int(try members.integer("number", in: Bounds.part)), hasMore: try members.bool("more"))
  }
}

extension ResyncOrder {
  fileprivate var members: [(String, JSON)] {
    var members: [(String, JSON)] = []
    if let condition { members.append(("where", .string(condition.text))) }
    if let since {
      members.append(("since_us", .integer(since.moment)))
      if let column = since.column { members.append(("time_column", .string(column))) }
    }
    if let rate { members.append(("rate", .integer(Int64(rate)))) }
    return members
  }

  fileprivate init(_ members: JSONDocument.Members) throws(WireError) {
    self.init()
    if members.has("where") {
      let text = try members.string("where")
      do { condition = try Condition(parsing: text) } catch { throw WireError("\"where\": \(error)") }
    }
    if members.has("since_us") {
      since = Since(
        column: members.has("time_column") ? try members.string("time_column") : nil,
        moment: try members.integer("since_us", in: Bounds.moment))
    }
    if members.has("rate") {
      rate = Int(try members.integer("rate", in: 1...1_000_000_000))
    }
  }
}

extension UnitDigest {
  fileprivate var json: JSON {
    .array([.string(hexadecimal(header))] + lines.map { .array($0.map { .string(hexadecimal($0)) }) })
  }

  fileprivate init(_ element: JSONDocument.Element) throws(WireError) {
    let parts = try element.elements()
    guard let first = parts.first else { throw WireError("a unit has the digest of its header") }
    var lines: [[UInt64]] = []
    for table in parts.dropFirst() {
      var digests: [UInt64] = []
      for line in try table.elements() { digests.append(try digest(line)) }
      lines.append(digests)
    }
    self.init(header: try digest(first), lines: lines)
  }
}

private func hexadecimal(_ digest: UInt64) -> String { String(digest, radix: 16) }

extension Parts {
  /// Of `bits`.
  fileprivate static let bounds: ClosedRange<Int64> = 0...Int64(mostBits)

  /// The numbers that the parts have.
  fileprivate static func numbers(_ bits: Int) -> ClosedRange<Int64> { 0...(1 << Int64(bits)) - 1 }
}

private func digest(_ element: JSONDocument.Element) throws(WireError) -> UInt64 {
  guard let digest = UInt64(try element.string(), radix: 16) else {
    throw WireError("a digest is not 1 to 16 hexadecimal digits")
  }
  return digest
}
