// What the app does: short transactions over few keys, so that rows change while they are on their way, take each other's place, go and
// come back. What it commits of facts is written down beside it.

import DroverCore

/// The facts that an app has committed, by stream and what tells them apart: the ID, and which of those that had it this is.
struct Facts {
  struct Fact {
    /// Every content it ever had: the token that is in it, and the row as one text.
    var contents: [String: String] = [:]
    /// Tokens of contents that must arrive or lie among the dead letters. A content that was changed before it was sent need not.
    var required: Set<String> = []
    /// The content that stands in the table, nil after a delete.
    var current: String?
    /// Contents from before Drover: they are no events until they are brought.
    var old: Set<String> = []
  }

  private(set) var streams: [String: [String: Fact]] = ["reading": [:], "note": [:]]
  /// IDs of lots that were complete when the app cleared them: each has to be in the cloud. None is used again.
  private(set) var clearedLots: Set<String> = []
  /// The same, whatever was put back since.
  private(set) var usedLots: Set<String> = []
  private var tokens = 0
  /// The cloud was put back once: what is deleted from its table cannot be sent again.
  private var cloudWentBack = false
  /// A backup took the database's place once: until the agent notices, a row may get a key of the future that was lost.
  private(set) var wentBack = false

  mutating func token() -> String {
    tokens += 1
    return "t\(tokens)."
  }

  /// The ID that a fact has had.
  static func id(of name: String) -> String { String(name.prefix { $0 != "#" }) }

  /// What the fact is called that stands in the table under an ID; nil where none does.
  func name(_ stream: String, id: String) -> String? {
    (1...).lazy.map { "\(id)#\($0)" }.prefix { streams[stream]![$0] != nil }.first {
      streams[stream]![$0]!.current != nil
    }
  }

  /// An ID that is free is used again by another fact.
  mutating func insert(_ stream: String, id: String, token: String, row: String, isOld: Bool = false) {
    let name = name(stream, id: id) ?? (1...).lazy.map { "\(id)#\($0)" }.first { streams[stream]![$0] == nil }!
    var fact = streams[stream]![name] ?? Fact()
    fact.contents[token] = row
    fact.required.insert(token)
    fact.current = token
    if isOld { fact.old.insert(token) }
    streams[stream]![name] = fact
  }

  mutating func update(_ stream: String, id: String, token: String, row: String, isOld: Bool) {
    if let name = name(stream, id: id), let before = streams[stream]![name]!.current {
      streams[stream]![name]!.required.remove(before)
    }
    insert(stream, id: id, token: token, row: row, isOld: isOld)
  }

  /// - Parameter isBringing: rows from before Drover may still have to be brought; a deleted one never will be.
  mutating func delete(_ stream: String, id: String, isBringing: Bool) {
    guard let name = name(stream, id: id), var fact = streams[stream]![name] else { return }
    if let token = fact.current, cloudWentBack || isBringing && fact.old.contains(token) { fact.required.remove(token) }
    fact.current = nil
    streams[stream]![name] = fact
  }

  /// - Parameter isBringing: rows from before Drover may still have to be brought.
  mutating func clearLots(_ ids: [String], isBringing: Bool) {
    usedLots.formUnion(ids)
    if !isBringing { clearedLots.formUnion(ids) }
  }

  /// The table of readings was renamed, and the new one is empty.
  mutating func rotateReadings(isBringing: Bool) {
    for id in Set(streams["reading"]!.keys.map(Self.id)) { delete("reading", id: id, isBringing: isBringing) }
  }

  /// A backup took the place of the database: what came after it may have arrived or not, and is asked of nobody.
  mutating func goBack(to backup: Facts) {
    clearedLots = backup.clearedLots
    wentBack = true
    for (stream, facts) in streams {
      for id in facts.keys {
        streams[stream]![id]!.required = backup.streams[stream]![id]?.required ?? []
        streams[stream]![id]!.current = backup.streams[stream]![id]?.current
      }
    }
  }

  /// The cloud was put back, and edges send again what is in their tables and what they retain: a fact that its table no longer holds
  /// is asked of nobody.
  mutating func forgetDeleted() {
    cloudWentBack = true
    clearedLots = []
    for (id, fact) in streams["reading"]! {
      streams["reading"]![id]!.required = fact.required.filter { $0 == fact.current }
    }
  }

  var count: Int { streams.values.reduce(0) { $0 + $1.count } }
}

/// One statement of the app's.
struct AppStatement: CustomStringConvertible {
  var sql: String
  var values: [Value] = []

  init(_ sql: String, _ values: Value...) {
    self.sql = sql
    self.values = values
  }

  /// With the values in the places of the question marks.
  var description: String {
    let parts = sql.split(separator: "?", omittingEmptySubsequences: false)
    return zip(parts, values.map(\.literal) + [""]).map { $0 + $1 }.joined()
  }
}

extension Value {
  fileprivate var literal: String {
    switch self {
    case .null: "NULL"
    case .integer(let integer): "\(integer)"
    case .real(let real): "\(real)"
    case .text(let bytes): "'\(String(decoding: bytes, as: UTF8.self))'"
    case .blob(let bytes): "x'\(bytes.map { String($0, radix: 16) }.joined())'"
    }
  }
}

struct Workload {
  var random: Seeded

  /// How many statements the transaction has.
  mutating func count() -> Int { random.percent(3) ? 30 : 1 + random.below(4) }
  mutating func rollsBack() -> Bool { random.percent(8) }

  /// Runs one statement, writes down what it means for the facts, and returns it for the trace.
  mutating func statement(_ database: PlainDatabase, _ facts: inout Facts, isAttached: Bool) throws -> AppStatement {
    switch random.below(12) {
    case 0..<6: return try run(stock(), database)
    case 6..<8: return try reading(database, &facts, isAttached)
    case 8..<10: return try lot(database, &facts, isAttached)
    default: return isAttached ? try note(database, &facts) : try run(stock(), database)
    }
  }

  private func run(_ statement: AppStatement, _ database: PlainDatabase) throws -> AppStatement {
    try database.execute(statement.sql, statement.values)
    return statement
  }

  private mutating func stock() -> AppStatement {
    let id = Value.integer(Int64(random.below(8)))
    let insert = "INTO stock (id, name, level, code, synced) VALUES (?, ?, ?, ?, 0)"
    switch random.below(12) {
    case 0, 1: return AppStatement("INSERT OR IGNORE \(insert)", id, text(), number(), code())
    case 2: return AppStatement("INSERT OR REPLACE \(insert)", id, text(), number(), code())
    case 3:
      return AppStatement(
        "INSERT \(insert) ON CONFLICT DO UPDATE SET level = excluded.level, synced = 0", id, text(), number(), code())
    case 4: return AppStatement("UPDATE OR REPLACE stock SET code = ?, synced = 0 WHERE id = ?", code(), id)
    case 5, 6: return AppStatement("DELETE FROM stock WHERE id = ?", id)
    case 7, 8:
      let other = Value.integer(Int64(random.below(8)))
      return AppStatement("UPDATE OR IGNORE stock SET id = ?, synced = 0 WHERE id = ?", other, id)
    case 9: return AppStatement("UPDATE stock SET name = ?, synced = 0", text())
    default: return AppStatement("UPDATE stock SET level = ?, synced = 0 WHERE id = ?", number(), id)
    }
  }

  /// Lots are weighed until they are complete, and some app changes them all the same, or clears them.
  private mutating func lot(
    _ database: PlainDatabase, _ facts: inout Facts, _ isAttached: Bool
  ) throws -> AppStatement {
    let id = Value.integer(Int64(random.below(12) + facts.usedLots.count))
    let weight = Value.real(Double(random.below(5)) / 4)
    switch random.below(24) {
    case 0, 1:
      return try clear("id = \(random.below(12) + facts.usedLots.count)", database, &facts, isAttached)
    case 2, 3: return try clear(random.pick(["status = 1", "1"]), database, &facts, isAttached)
    case 4: return try run(AppStatement("UPDATE lot SET weight = ? WHERE id = ?", weight, id), database)
    case 5..<10:
      return try run(
        AppStatement("UPDATE lot SET status = 1 WHERE id % 3 = ?", .integer(Int64(random.below(3)))), database)
    case 10..<16:
      return try run(AppStatement("UPDATE lot SET weight = ? WHERE id = ? AND status = 0", weight, id), database)
    default:
      guard case .integer(let number) = id, !facts.usedLots.contains("\(number)") else {
        return AppStatement("SELECT 1")
      }
      return try run(AppStatement("INSERT OR IGNORE INTO lot VALUES (?, ?, 0)", id, weight), database)
    }
  }

  private func clear(
    _ condition: String, _ database: PlainDatabase, _ facts: inout Facts, _ isAttached: Bool
  ) throws -> AppStatement {
    var final: [String] = []
    try database.rows("SELECT id FROM lot WHERE status = 1 AND (\(condition))") { final.append($0.text(0)) }
    let isBringing = try Self.isBringing("lot", database, isAttached: isAttached)
    let said = try run(AppStatement("DELETE FROM lot WHERE \(condition)"), database)
    facts.clearLots(final, isBringing: isBringing)
    return said
  }

  private mutating func reading(
    _ database: PlainDatabase, _ facts: inout Facts, _ isAttached: Bool
  ) throws -> AppStatement {
    let count = facts.streams["reading"]!.count
    let isOld = try Self.isUncaptured("reading", database, isAttached: isAttached)
    let isBringing = try Self.isBringing("reading", database, isAttached: isAttached)
    let content = value()
    let token = facts.token()
    // One that never was, or the one that SQLite gives: the highest that was deleted is used again.
    var id = random.percent(50) ? count + 1 : Int(try database.integer("SELECT ifnull(max(id), 0) + 1 FROM reading")!)
    // Until the agent has seen that a table was rebuilt, a change makes it another one that is no copy.
    if count > 0, random.percent(30), !(isOld && isAttached) {
      id = 1 + random.below(count)
      let isThere = facts.name("reading", id: String(id)) != nil
      switch random.below(3) {
      case 0:
        let said = try run(AppStatement("DELETE FROM reading WHERE id = ?", .integer(Int64(id))), database)
        facts.delete("reading", id: String(id), isBringing: isBringing)
        return said
      case 1 where isThere:
        let said = try run(
          AppStatement(
            "UPDATE reading SET token = ?, value = ? WHERE id = ?", .text(token), content, .integer(Int64(id))),
          database)
        let row = try row(id, database)
        facts.update("reading", id: String(id), token: token, row: row, isOld: isOld)
        return said
      default: break
      }
    }
    let said = try run(
      AppStatement("INSERT INTO reading VALUES (?, ?, ?)", .integer(Int64(id)), .text(token), content), database)
    facts.insert("reading", id: String(id), token: token, row: try row(id, database), isOld: isOld)
    return said
  }

  /// Whether a table has no triggers: it is not attached yet, or the app has just made it.
  static func isUncaptured(_ table: String, _ database: PlainDatabase, isAttached: Bool) throws -> Bool {
    guard isAttached else { return true }
    return try database.integer(
      """
      SELECT 1 FROM drover_stream AS stream WHERE name = '\(table)'
         AND NOT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'drover_' || stream.number || '_insert' AND tbl_name = '\(table)')
      """) != nil
  }

  /// Whether rows of a table may not have entered the outbox yet.
  static func isBringing(_ table: String, _ database: PlainDatabase, isAttached: Bool) throws -> Bool {
    try isUncaptured(table, database, isAttached: isAttached)
      || database.integer("SELECT 1 FROM drover_stream WHERE name = '\(table)' AND backfill = 'running'") != nil
  }

  private func row(_ id: Int, _ database: PlainDatabase) throws -> String {
    try database.text("SELECT \(quotedRow(["id", "token", "value"])) FROM reading WHERE id = \(id)")!
  }

  private mutating func note(_ database: PlainDatabase, _ facts: inout Facts) throws -> AppStatement {
    let count = facts.streams["note"]!.count
    let isRepeated = count > 0 && random.percent(15)
    let id = "n\(isRepeated ? 1 + random.below(count) : count + 1)"
    // The same again, or another content under the same ID.
    let old = facts.name("note", id: id).flatMap { facts.streams["note"]![$0]!.current }
    let token = random.percent(50) ? old ?? facts.token() : facts.token()
    let body = "{\"token\": \"\(token)\", \"text\": \"é \\\"\"}"
    let said = try run(
      AppStatement(
        "INSERT INTO drover_intake (stream, local_id, body) VALUES ('note', ?, ?)", .text(id), .text(body)), database)
    facts.insert("note", id: id, token: token, row: body)
    return said
  }

  private mutating func text() -> Value {
    random.pick([.text("milk"), .text("pen"), .text(""), .null, .text("it's"), .text("Käse\u{1F9C0}")])
  }

  private mutating func code() -> Value { random.pick([.null, .text("x"), .text("X"), .text("y"), .text("z")]) }

  private mutating func number() -> Value {
    random.pick([
      .real(0.1), .real(-0.0), .real(1e308), .real(.infinity), .integer(3), .null, .real(.leastNonzeroMagnitude),
    ])
  }

  private mutating func value() -> Value {
    random.pick([
      .null, .integer(1), .real(-1.5), .blob([0, 255]), .integer(.max), .text("007"), .real(.infinity), .blob([]),
      .text([255, 0]),
    ])
  }
}
