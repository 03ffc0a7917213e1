// The rows that come down in one transaction. First each on its own; what the app's tables refuse then once more, when the others are written; and then
// all of these at once, so that two rows may swap a unique value or name each other. What is still refused is a dead letter.

import DroverCore
import GRDB
private import CSQLite

final class DownRun {
  private struct Arrival {
    let writer: DownWriter
    let event: DownEvent
    var isOfFrame = true
    /// It was refused in an earlier numbering, so the cloud may not have it any more.
    var mayBeLost = false
  }

  /// A statement of the app's has ended the transaction: it is begun anew, and this row is refused in it.
  struct EndedTransaction: Error {
    let row: DownWriter.RowID
    let refusal: DownRefusal
  }

  /// How many rows that wait are tried again in one transaction, so that it stays short.
  private static let mostLetters = 100

  private let edge: EdgeDatabase
  private let database: Database
  private let barred: [DownWriter.RowID: DownRefusal]
  private let hasLetters: Bool
  private var refused: [(row: Arrival, refusal: DownRefusal)] = []
  private(set) var outcome = DownOutcome()

  /// - Parameter barred: rows that are not to be tried.
  init(_ edge: EdgeDatabase, barred: [DownWriter.RowID: DownRefusal], _ database: Database) throws {
    self.edge = edge
    self.database = database
    self.barred = barred
    hasLetters = try edge.hasDownLetters(database)
  }

  func apply(_ events: [DownEvent], _ writer: DownWriter) throws {
    for event in events { try take(Arrival(writer: writer, event: event)) }
  }

  /// Tries again what waits.
  /// - Parameter all: also where nothing has changed since.
  func retry(all: Bool) throws {
    guard hasLetters, all || outcome.applied > 0 || refused.contains(where: { $0.refusal.reason == .foreignKey })
    else { return }
    let before = try RowBookkeeping.meta(.downLettersBefore, database).flatMap { Int64($0) } ?? 0
    let letters = try edge.dueLetters(limit: Self.mostLetters, database)
    outcome.hasMore = letters.count == Self.mostLetters && letters.last!.isOrdered
    for letter in letters {
      guard let writer = try? edge.downWriter(of: letter.stream, database),
        try !edge.isSentAgain(letter.stream, database)
      else { continue }
      guard let event = letter.event(writer.table.schema) else {
        try edge.leave(letter, database)
        continue
      }
      let mayBeLost = letter.id <= before && writer.table.schema.flow.direction == .both
      try take(Arrival(writer: writer, event: event, isOfFrame: false, mayBeLost: mayBeLost))
    }
  }

  /// Tries again together what was refused, and sets aside what still is.
  func finish() throws {
    for _ in 1...3 where refused.contains(where: \.refusal.mayPass) {
      let before = refused
      refused = []
      for (row, refusal) in before {
        if refusal.mayPass { try take(row) } else { refused.append((row, refusal)) }
      }
      if refused.count == before.count { break }
    }
    try applyTogether()
    for (row, refusal) in refused {
      try edge.addDeadLetter(row.event, refusal, row.writer, database)
      guard row.isOfFrame else { continue }
      if refusal.reason == .foreignKey { outcome.waiting += 1 } else { outcome.refused += 1 }
    }
  }

  // MARK: One row

  private func take(_ row: Arrival) throws {
    if let refusal = barred[row.writer.id(row.event)] {
      refused.append((row, refusal))
    } else if let refusal = try attempt(row) {
      refused.append((row, refusal))
    }
  }

  private func isApplied(_ row: Arrival, _ standing: DownWriter.Standing) throws -> Bool {
    var known = standing.known
    if row.event.edge == nil, known.mine > 0 { known.isThere = try row.writer.stored(row.event.key) != nil }
    switch ApplyRule.decide(row.event, known: known, epoch: edge.epoch, seen: edge.twoWay.seen) {
    case .old: outcome.old += row.isOfFrame ? 1 : 0
    case .edited: outcome.edited += row.isOfFrame ? 1 : 0
    case .apply: return true
    }
    // Then it has been overtaken.
    if !row.isOfFrame { try edge.dropDownLetter(of: row.event.key, row.writer, database) }
    return false
  }

  private func attempt(_ row: Arrival) throws -> DownRefusal? {
    let (writer, event) = (row.writer, row.event)
    let standing = try writer.standing(of: event.key)
    guard try isApplied(row, standing) else { return nil }
    if writer.isPlain {
      do {
        try writer.write(event)
      } catch let error as DatabaseError where error.isOfOneTable {
        return DownRefusal(error)
      }
      try hold(row, standing)
      return nil
    }
    return try refusal(of: row) {
      if writer.firesAppTriggers {
        try writeFiring(row, standing)
      } else {
        try writeChecked(row)
        try hold(row, standing)
      }
    }
  }

  private func hold(_ row: Arrival, _ standing: DownWriter.Standing) throws {
    try row.writer.hold(row.event, standing)
    if hasLetters { try edge.dropDownLetter(of: row.event.key, row.writer, database) }
    outcome.applied += 1
    // Its content stays what it was, so it is no edit.
    if try row.mayBeLost || isComputedAnew(row) {
      try edge.enterAgain(row.event.key, row.writer.table, stream: row.writer.stream, database)
    }
  }

  /// Whether generated columns of the row that was written have other values than came down.
  private func isComputedAnew(_ row: Arrival) throws -> Bool {
    let (writer, event) = (row.writer, row.event)
    guard !writer.computed.isEmpty, writer.table.schema.flow.direction == .both, case .row(let sent) = event.content,
      let present = try writer.stored(event.key)
    else { return false }
    return writer.computed.contains { sent[$0] != present[$0] }
  }

  /// Runs the statements of one row so that all of them count, or none.
  private func refusal(of row: Arrival, _ body: () throws -> Void) throws -> DownRefusal? {
    let before = outcome
    try run("SAVEPOINT drover_down")
    var refusal: DownRefusal
    do {
      try body()
      try run("RELEASE drover_down")
      return nil
    } catch let error as DownRefusal {
      refusal = error
    } catch let error as DatabaseError where error.isOfOneTable {
      refusal = DownRefusal(error)
    }
    outcome = before
    guard sqlite3_get_autocommit(database.sqliteConnection) == 0 else {
      refusal.mayPass = false
      throw EndedTransaction(row: row.writer.id(row.event), refusal: refusal)
    }
    try run("ROLLBACK TO drover_down")
    try run("RELEASE drover_down")
    return refusal
  }

  private func run(_ sql: String) throws { try edge.prepared(sql, database).run() }

  // MARK: Foreign keys

  /// Writes a row of a table with foreign keys.
  private func writeChecked(_ row: Arrival) throws {
    let (writer, event) = (row.writer, row.event)
    let before = writer.hasChildren ? try writer.stored(event.key) : nil
    try writer.write(event)
    try requireParents(row)
    if event.content == .none { try release(before, writer) } else { try requireSameParent(before, row) }
  }

  private func requireParents(_ row: Arrival) throws {
    let (writer, event) = (row.writer, row.event)
    guard event.content != .none, writer.hasParents,
      let foreign = try edge.foreignKeys(database).missingParent(
        of: writer.table, isRow: writer.isRow, key: event.key, database)
    else { return }
    throw DownRefusal.waiting(
      "no row of \(foreign.parent) has the \(foreign.parentColumns.joined(separator: ", ")) that its \(foreign.childColumns.joined(separator: ", ")) names"
    )
  }

  /// Does with the children of a row that went what their foreign keys declare.
  private func release(_ gone: [Value]?, _ writer: DownWriter) throws {
    guard let gone else { return }
    try edge.foreignKeys(database).release(childrenOf: writer.table.name, database) { writer.value(of: $0, in: gone) }
  }

  /// A row that others name by a column that is not its key keeps what they name.
  private func requireSameParent(_ before: [Value]?, _ row: Arrival) throws {
    let writer = row.writer
    guard let before, let after = try writer.stored(row.event.key) else { return }
    for foreign in try edge.foreignKeys(database).children(of: writer.table.name) {
      let (old, new) = (
        foreign.parentColumns.map { writer.value(of: $0, in: before) },
        foreign.parentColumns.map { writer.value(of: $0, in: after) }
      )
      guard old != new, !old.contains(.null) else { continue }
      let find = try edge.prepared("SELECT 1 \(foreign.findChildren)", database)
      defer { find.reset() }
      for (index, value) in old.enumerated() { find.bind(value, at: Int32(index + 1)) }
      guard try find.step() else { continue }
      throw DownRefusal.waiting(
        "rows of \(foreign.child) name it by \(foreign.parentColumns.joined(separator: ", ")), which would change")
    }
  }

  // MARK: Together

  /// Takes all refused rows out of their tables and writes them anew. Those that are refused even so are left out, until the others pass.
  private func applyTogether() throws {
    var rest = refused.filter(\.refusal.mayPass)
    guard rest.count > 1 else { return }
    var failed = refused.filter { !$0.refusal.mayPass }
    for _ in 1...50 where !rest.isEmpty {
      var refusals: [Int: DownRefusal] = [:]
      let before = outcome
      try run("SAVEPOINT drover_together")
      try writeTogether(rest.map(\.row), &refusals)
      try run(refusals.isEmpty ? "RELEASE drover_together" : "ROLLBACK TO drover_together")
      if refusals.isEmpty {
        rest = []
        break
      }
      try run("RELEASE drover_together")
      outcome = before
      for (index, refusal) in refusals { failed.append((rest[index].row, refusal)) }
      rest = rest.indices.filter { refusals[$0] == nil }.map { rest[$0] }
    }
    refused = failed + rest
  }

  private func writeTogether(_ rows: [Arrival], _ refusals: inout [Int: DownRefusal]) throws {
    var present: [(index: Int, row: Arrival, standing: DownWriter.Standing, before: [Value]?)] = []
    for (index, row) in rows.enumerated() {
      let standing = try row.writer.standing(of: row.event.key)
      guard try isApplied(row, standing) else { continue }
      present.append((index, row, standing, try row.writer.stored(row.event.key)))
      try row.writer.remove(row.event.key)
    }
    for entry in present where entry.row.event.content != .none {
      refusals[entry.index] = try refusal(of: entry.row) { try entry.row.writer.write(entry.row.event) }
    }
    for entry in present where refusals[entry.index] == nil {
      let refusal = try refusal(of: entry.row) {
        try requireParents(entry.row)
        if entry.row.event.content == .none {
          try release(entry.before, entry.row.writer)
        } else {
          try requireSameParent(entry.before, entry.row)
        }
        try hold(entry.row, entry.standing)
      }
      refusals[entry.index] = refusal
    }
  }

  // MARK: The app's triggers

  /// How often in a row a trigger of the app's may change what came down, and within which time, in microseconds.
  private static let mostBounces: Int64 = 3
  private static let bounceTime: Int64 = 60_000_000

  /// Writes a row so that the app's triggers fire for it. What Drover's own note of the row itself is no edit, unless a trigger of the app's has
  /// changed the row.
  private func writeFiring(_ row: Arrival, _ standing: DownWriter.Standing) throws {
    let (writer, event) = (row.writer, row.event)
    let expected = try whatWouldBe(row)
    let first = try Int64.fetchOne(database, sql: "SELECT seq FROM drover_next")!
    try edge.firingTriggers(database) { try writeChecked(row) }
    edge.dataVersion = -1  // the triggers may have made events
    try hold(row, standing)
    let present = try writer.stored(event.key)
    let isAsSent = writer.isSame(expected, present)
    if let waiting = standing.known.waiting { try writer.noteMine(event.key, waiting) }
    if writer.table.schema.flow.direction == .down {
      // What the app's triggers make of a row of reference data stays here.
      try EdgeDatabase.rememberNewest(database)
      try writer.forget(event.key, from: first)
    } else {
      // Numbers that were given are not given again.
      try EdgeDatabase.rememberNewest(database)
      let isEntered = try writer.hasEntry(event.key, from: first)
      if isAsSent, isEntered {
        try writer.forget(event.key, from: first)
        if try isComputedAnew(row) { try edge.enterAgain(event.key, writer.table, stream: writer.stream, database) }
      }
      if !isAsSent, !isEntered {
        try edge.enterEdit(
          of: event.key, present == nil ? "delete" : "put", writer.table, stream: writer.stream, database)
      }
    }
    try writer.noteBounce(event, isBounce: !isAsSent, within: Self.bounceTime, atMost: Self.mostBounces)
  }

  /// The row as it would be without triggers, nil for none.
  private func whatWouldBe(_ row: Arrival) throws -> [Value]? {
    try run("SAVEPOINT drover_would")
    try row.writer.write(row.event)
    let expected = try row.writer.stored(row.event.key)
    try run("ROLLBACK TO drover_would")
    try run("RELEASE drover_would")
    return expected
  }
}
