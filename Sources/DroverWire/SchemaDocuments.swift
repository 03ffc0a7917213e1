// Schemas of streams and their JSON; docs/protocol.md shows them.

package import DroverCore

extension StreamSchema {
  package var document: [UInt8] {
    var members: [(String, JSON)] = [
      ("v", 1), ("schema", .string(id.text)), ("kind", .string(kind.rawValue)),
    ]
    members += rowMembers
    if let completeWhen { members.append(("complete_when", .string(completeWhen.text))) }
    if !lines.isEmpty { members.append(("with", .array(lines.map(json)))) }
    if let naturalKey {
      members.append(("identity", .array(naturalKey.columns.map { .string($0) })))
      if !naturalKey.fallback.isEmpty { members.append(("else", .array(naturalKey.fallback.map { .string($0) }))) }
    }
    if flow != .up { members += flow.members }
    return Array(JSON.object(members).text().utf8)
  }

  /// Key and columns.
  private var rowMembers: [(String, JSON)] {
    [
      ("key", .array(key.map { .string(columns[$0].name) })),
      ("columns", .array(columns.map { .object([("name", .string($0.name)), ("type", .string($0.declaredType))]) })),
    ]
  }

  private func json(_ line: LineSchema) -> JSON {
    let references = zip(line.references, key).map { part, header in
      (line.rows.columns[part].name, JSON.string(columns[header].name))
    }
    return .object(
      [("table", .string(line.table.text))] + line.rows.rowMembers + [("references", .object(references))])
  }

  package init(document: [UInt8]) throws(WireError) {
    let parsed = try JSONDocument(parsing: document)
    let members = parsed.members
    try members.requireVersion1()
    let kindName = try members.string("kind")
    guard let kind = Kind(rawValue: kindName) else { throw WireError("\"kind\" is snapshot, payload or batch") }
    let (columns, key) = try members.columnsAndKey()
    let completeWhen = try Condition(member: "complete_when", of: members)
    var lines: [LineSchema] = []
    if members.has("with") {
      for element in try members.array("with") {
        lines.append(try LineSchema(members: try element.members(), headerKey: key.map { columns[$0].name }))
      }
    }
    do {
      try self.init(
        kind: kind, columns: columns, key: key, completeWhen: completeWhen, lines: lines,
        naturalKey: try NaturalKey(of: members), flow: try Flow(of: members))
    } catch let error as WireError {
      throw error
    } catch {
      throw WireError("\(error)")
    }
    // The id is computed, not believed: two sides that disagree would otherwise mistake rows.
    guard try members.string("schema") == id.text else { throw WireError("\"schema\" is not the id of this content") }
  }
}

extension LineSchema {
  fileprivate init(members: JSONDocument.Members, headerKey: [String]) throws(WireError) {
    let (columns, key) = try members.columnsAndKey()
    let named = try members.object("references")
    guard named.names.count == headerKey.count else {
      throw WireError("\"references\" does not name each part of the header's key once")
    }
    var references: [Int: Int] = [:]
    for name in named.names {
      let header = try named.string(name)
      guard let part = headerKey.firstIndex(where: { SQLName($0) == SQLName(header) }),
        let column = columns.firstIndex(where: { SQLName($0.name) == SQLName(name) })
      else { throw WireError("\"references\" names a column that is not there, or not in the header's key") }
      references[part] = column
    }
    guard references.count == headerKey.count else {
      throw WireError("\"references\" does not name each part of the header's key once")
    }
    do {
      try self.init(
        table: StreamName(try members.string("table")), columns: columns, key: key,
        references: headerKey.indices.map { references[$0]! })
    } catch let error as WireError {
      throw error
    } catch {
      throw WireError("\(error)")
    }
  }
}

extension Condition {
  /// A condition that may be there.
  fileprivate init?(member: String, of members: JSONDocument.Members) throws(WireError) {
    guard members.has(member) else { return nil }
    let text = try members.string(member)
    do { try self.init(parsing: text) } catch { throw WireError("\"\(member)\": \(error)") }
  }
}

extension NaturalKey {
  /// A natural key that may be there.
  fileprivate init?(of members: JSONDocument.Members) throws {
    guard members.has("identity") else {
      guard !members.has("else") else { throw WireError("\"else\" stands without \"identity\"") }
      return nil
    }
    func names(_ member: String) throws(WireError) -> [String] {
      var names: [String] = []
      for element in try members.array(member) { names.append(try element.string()) }
      return names
    }
    try self.init(columns: names("identity"), fallback: members.has("else") ? names("else") : [])
  }
}

extension Flow {
  fileprivate var members: [(String, JSON)] {
    var members: [(String, JSON)] = [("direction", .string(direction.rawValue)), ("merge", .string(merge.rawValue))]
    if let newer { members.append(("newer", .string(newer))) }
    if isKeyNatural { members.append(("natural_key", .bool(true))) }
    if reach == .all { members.append(("machines", .string(reach.rawValue))) }
    return members
  }

  /// What a schema says about its direction; without a word its rows go up.
  fileprivate init(of members: JSONDocument.Members) throws(WireError) {
    self = .up
    guard members.has("direction") else { return }
    func word<Word: RawRepresentable & CaseIterable>(
      _ member: String, otherwise: Word
    ) throws(WireError) -> Word where Word.RawValue == String {
      guard members.has(member) else { return otherwise }
      guard let word = Word(rawValue: try members.string(member)) else {
        throw WireError("\"\(member)\" is one of \(Word.allCases.map(\.rawValue).joined(separator: ", "))")
      }
      return word
    }
    self.init(
      direction: try word("direction", otherwise: .up), newer: members.has("newer") ? try members.string("newer") : nil,
      merge: try word("merge", otherwise: .row),
      isKeyNatural: members.has("natural_key") ? try members.bool("natural_key") : false,
      reach: try word("machines", otherwise: .machine))
  }
}

extension JSONDocument.Members {
  fileprivate func columnsAndKey() throws(WireError) -> (columns: [Column], key: [Int]) {
    var columns: [Column] = []
    var places: [SQLName: Int] = [:]
    let described = try array("columns")
    guard described.count <= Bounds.columns else {
      throw WireError("\"columns\" holds more than \(Bounds.columns) columns")
    }
    for element in described {
      let column = try element.members()
      let name = try column.string("name")
      places[SQLName(name)] = places[SQLName(name)] ?? columns.count
      columns.append(Column(name: name, declaredType: try column.string("type")))
    }
    var key: [Int] = []
    for element in try array("key") {
      guard let index = places[SQLName(try element.string())] else {
        throw WireError("the key names a column that is not there")
      }
      key.append(index)
    }
    return (columns, key)
  }
}
