// Which rows of different machines are one thing, and what the sink shows of it. A machine's events are merged into what it holds by the same
// rule as everywhere; then its row is found the thing that it is. The sink's row of a thing is made of what the machines hold of it now: of
// the newest version, under the machine and key that brought it first. So it does not depend on the order in which events came.

import DroverCore
import GRDB

final class NaturalKeys {
  let key: NaturalKey
  let columns: SinkColumns
  private let keyCount: Int
  private let standing: Statement
  private let byIdentity: Statement
  private let byFallback: (any: Statement, withoutIdentity: Statement)?
  private let holds: Statement
  private let place: Statement
  private let unplaced: Statement
  private let highest: Statement
  private let hide: Statement
  private let show: Statement
  private let savepoint: (begin: Statement, release: Statement, rollBack: Statement)

  /// Compiles the statements for tables that are there.
  /// - Parameter columns: the sink's.
  init(_ database: Database, stream: StreamName, key: NaturalKey, columns: SinkColumns) throws {
    self.key = key
    self.columns = columns
    let sink = quoted(stream.text)
    let held = quoted(MatchedSink(database: database, stream: stream).held)
    let (machine, local) = (columns.key[0], columns.key.dropFirst())
    keyCount = local.count
    let identity = key.columns.map(quoted)
    let fallback = key.fallback.map(quoted)
    func same(_ names: some Collection<String>, from first: Int) -> String {
      names.enumerated().map { "\($1) IS ?\($0 + first)" }.joined(separator: " AND ")
    }
    let isRow = "\(machine) = ?1 AND \(same(local, from: 2))"
    standing = try Statement(
      database, "SELECT \((["drover_thing"] + identity + fallback).joined(separator: ", ")) FROM \(held) WHERE \(isRow)"
    )

    let things = "SELECT DISTINCT drover_thing FROM \(held) AS own WHERE drover_thing <> ?1 AND "
    byIdentity = try Statement(database, things + same(identity, from: 2))
    byFallback =
      fallback.isEmpty
      ? nil
      : (
        try Statement(database, things + same(fallback, from: 2)),
        try Statement(
          database,
          things + same(fallback, from: 2) + """
             AND NOT EXISTS (SELECT 1 FROM \(held) AS known WHERE known.drover_thing = own.drover_thing
                                AND \(identity.map { "known.\($0) IS NOT NULL" }.joined(separator: " AND ")))
            """)
      )
    holds = try Statement(database, "SELECT 1 FROM \(held) WHERE drover_thing = ?1 AND \(machine) = ?2")
    place = try Statement(
      database,
      "UPDATE \(held) SET drover_thing = ?\(local.count + 2) WHERE \(isRow)")
    unplaced = try Statement(
      database,
      """
      SELECT \(columns.key.joined(separator: ", ")) FROM \(held) WHERE drover_thing IS NULL
       ORDER BY drover_version, \(columns.key.joined(separator: ", ")) LIMIT 1000
      """)
    highest = try Statement(database, "SELECT ifnull(max(drover_thing), 0) FROM \(held)")
    hide = try Statement(database, "DELETE FROM \(sink) WHERE \(isRow)")

    let values = columns.names.filter { !columns.key.contains($0) }
    let conflict = columns.key.joined(separator: ", ")
    func list(_ names: [String], of table: String) -> String {
      names.map { "\(table).\($0)" }.joined(separator: ", ")
    }
    show = try Statement(
      database,
      """
      WITH first AS (
        SELECT \(list(columns.key, of: "held")) FROM \(held) AS held
          LEFT JOIN \(sink) AS shown ON \(columns.key.map { "shown.\($0) = held.\($0)" }.joined(separator: " AND "))
         WHERE held.drover_thing = ?1 ORDER BY shown.\(machine) IS NULL, held.\(machine) LIMIT 1),
      newest AS (
        SELECT * FROM \(held) WHERE drover_thing = ?1 ORDER BY drover_version DESC, \(machine) LIMIT 1)
      INSERT INTO \(sink) AS shown (\((columns.key + values).joined(separator: ", ")))
      SELECT \(list(columns.key, of: "first")), \(list(values, of: "newest")) FROM first, newest WHERE true
      ON CONFLICT (\(conflict)) DO UPDATE SET \(values.map { "\($0) = excluded.\($0)" }.joined(separator: ", "))
       WHERE (\(list(values, of: "shown"))) IS NOT (\(list(values, of: "excluded")))
      """)
    savepoint = (
      try Statement(database, "SAVEPOINT drover_thing"), try Statement(database, "RELEASE drover_thing"),
      try Statement(database, "ROLLBACK TO drover_thing")
    )
  }

  // MARK: Merging

  /// - Parameter mergeIntoHeld: merges one event into what its machine holds.
  func merge(
    _ events: [SinkEvent], machine: MachineID, _ mergeIntoHeld: (SinkEvent) throws -> MergeOutcome
  ) throws -> [MergeOutcome] {
    var outcomes = try events.map { try merge($0, machine, mergeIntoHeld) }
    // A thing that got another local key is a put of the new one and a delete of the old one, in either order.
    for (index, event) in events.enumerated() where outcomes[index].isAmbiguous {
      outcomes[index] = try merge(event, machine, mergeIntoHeld)
    }
    return outcomes
  }

  private func merge(
    _ event: SinkEvent, _ machine: MachineID, _ mergeIntoHeld: (SinkEvent) throws -> MergeOutcome
  ) throws -> MergeOutcome {
    let row = RowKey(machine: .text(machine.text), local: event.key)
    let before = try standing(of: row)
    var outcome: MergeOutcome?
    try savepoint.begin.run()
    defer {
      if outcome != .applied { _ = try? savepoint.rollBack.run() }
      _ = try? savepoint.release.run()
    }
    outcome = try mergeIntoHeld(event)
    guard outcome == .applied else { return outcome! }
    outcome = nil
    do {
      let ambiguity = try event.content == .none ? remove(row, before) : put(row, before)
      outcome =
        ambiguity.map { .refused(.ambiguous, detail: "\(event.localID.prefix(64)): \($0)") } ?? .applied
    } catch let error as DatabaseError where SinkTable.isAboutTheEvent(error) {
      outcome = .refused(.store, detail: error.explanation)
    }
    return outcome!
  }

  /// The row is gone from what its machine holds.
  private func remove(_ row: RowKey, _ before: Standing?) throws -> String? {
    bind(hide, row)
    try hide.run()
    if let thing = before?.thing { try refresh(thing) }
    return nil
  }

  /// - Returns: why it cannot be said which thing the row is, or nil.
  private func put(_ row: RowKey, _ before: Standing?) throws -> String? {
    let now = try standing(of: row)!
    if let thing = now.thing {
      if let before, now.known != before.known {
        let others = try things(knownBy: now.known, besides: thing).count
        guard others == 0 else {
          return "its \(names(now.known)) changed to those of \(others == 1 ? "another row" : "\(others) other rows")"
        }
      }
      try refresh(thing)
      return nil
    }
    let found = try things(for: now)
    guard found.count <= 1 else { return "\(found.count) rows have its \(names(now.known))" }
    if let thing = found.first, try isHeld(thing, by: row.machine) {
      return "1 row has its \(names(now.known)), and the machine holds that under another key"
    }
    try put(row, in: try found.first ?? nextThing())
    return nil
  }

  /// Places every row that has no thing yet.
  func placeAll() throws {
    while true {
      var rows: [RowKey] = []
      while try unplaced.step() {
        rows.append(RowKey(machine: unplaced.value(0), local: (0..<keyCount).map { unplaced.value(Int32($0 + 1)) }))
      }
      unplaced.reset()
      guard !rows.isEmpty else { return }
      for row in rows {
        let found = try things(for: try standing(of: row)!)
        let isOne = try found.count == 1 && !isHeld(found[0], by: row.machine)
        try put(row, in: isOne ? found[0] : nextThing())
      }
    }
  }

  // MARK: Things

  private struct RowKey {
    var machine: Value
    var local: [Value]
  }

  /// What a row is known by.
  private enum Known: Equatable {
    case identity([Value])
    case fallback([Value])
    /// It is like no other.
    case nothing
  }

  private struct Standing {
    /// nil: none yet.
    var thing: Int64?
    var known: Known
    /// Of the columns of `else`, where not all of them are NULL.
    var fallback: [Value]?
  }

  private func standing(of row: RowKey) throws -> Standing? {
    bind(standing, row)
    defer { standing.reset() }
    guard try standing.step() else { return nil }
    let identity = key.columns.indices.map { standing.value(Int32($0 + 1)) }
    let others = key.fallback.indices.map { standing.value(Int32(identity.count + $0 + 1)) }
    let fallback = others.allSatisfy { $0 == .null } ? nil : others
    return Standing(
      thing: standing.isNull(0) ? nil : standing.integer(0),
      known: identity.contains(.null) ? fallback.map { .fallback($0) } ?? .nothing : .identity(identity),
      fallback: fallback)
  }

  /// The things that a row could be which is none yet. One that nobody has known by its identity so far may be what this one is: it would
  /// have been found from the other side too.
  private func things(for row: Standing) throws -> [Int64] {
    let known = try things(knownBy: row.known, besides: 0)
    guard known.isEmpty, case .identity = row.known, let byFallback, let fallback = row.fallback else { return known }
    return try list(byFallback.withoutIdentity, fallback, besides: 0)
  }

  /// The things of which a machine holds a row with these values.
  private func things(knownBy known: Known, besides thing: Int64) throws -> [Int64] {
    switch known {
    case .identity(let values): try list(byIdentity, values, besides: thing)
    case .fallback(let values): try list(byFallback!.any, values, besides: thing)
    case .nothing: []
    }
  }

  private func list(_ select: Statement, _ values: [Value], besides thing: Int64) throws -> [Int64] {
    select.bind(thing, at: 1)
    for (index, value) in values.enumerated() { select.bind(value, at: Int32(index + 2)) }
    defer { select.reset() }
    var things: [Int64] = []
    while try select.step() { things.append(select.integer(0)) }
    return things
  }

  private func isHeld(_ thing: Int64, by machine: Value) throws -> Bool {
    holds.bind(thing, at: 1)
    holds.bind(machine, at: 2)
    defer { holds.reset() }
    return try holds.step()
  }

  private func nextThing() throws -> Int64 {
    defer { highest.reset() }
    _ = try highest.step()
    return highest.integer(0) + 1
  }

  private func put(_ row: RowKey, in thing: Int64) throws {
    bind(place, row)
    place.bind(thing, at: Int32(keyCount + 2))
    try place.run()
    try refresh(thing)
  }

  /// Makes the sink's row of a thing what the machines hold of it; without a machine that holds it there is none.
  private func refresh(_ thing: Int64) throws {
    show.bind(thing, at: 1)
    try show.run()
  }

  private func bind(_ statement: Statement, _ row: RowKey) {
    statement.reset()
    statement.bind(row.machine, at: 1)
    for (index, value) in row.local.enumerated() { statement.bind(value, at: Int32(index + 2)) }
  }

  private func names(_ known: Known) -> String {
    if case .fallback = known { key.fallback.joined(separator: ", ") } else { key.columns.joined(separator: ", ") }
  }
}

extension MergeOutcome {
  fileprivate var isAmbiguous: Bool {
    if case .refused(.ambiguous, _) = self { true } else { false }
  }
}
