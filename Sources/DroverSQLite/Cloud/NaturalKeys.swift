// A machine's events are merged into what it holds by the same rule as everywhere; then its row is found the thing that it is, which
// DroverCore decides. The sink's row of a thing is of the newest version, under the machine and key that brought it first.

import DroverCore
import GRDB

final class NaturalKeys: ThingTables {
  let key: NaturalKey
  let columns: SinkColumns
  private let keyCount: Int
  private let standing: Statement
  private let byIdentity: Statement
  private let byFallback: (any: Statement, withoutIdentity: Statement)?
  private let holds: Statement
  private let place: Statement
  private let rank: Statement
  private let findUnplaced: Statement
  private let highest: Statement
  private let hide: Statement
  private let show: Statement
  /// Whether a row is in the sink, and whether the sink has a thing as it is held now.
  private let isThere: Statement
  private let isShown: Statement
  /// Numbers the sink's rows, where the store keeps a change feed.
  private let feed: RowFeed?
  private let savepoint: (begin: Statement, release: Statement, rollBack: Statement)

  /// Compiles the statements for tables that are there.
  /// - Parameters:
  ///   - columns: the sink's.
  ///   - feedTable: what numbers the sink's rows, if something does.
  init(_ database: Database, stream: StreamName, key: NaturalKey, columns: SinkColumns, feed feedTable: FeedTable?)
    throws
  {
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
      database,
      """
      SELECT \((["drover_thing"] + identity + fallback).joined(separator: ", ")), \(MatchedSink.takesPart(stream, machine: "?1"))
        FROM \(held) WHERE \(isRow)
      """)

    let things = """
      SELECT DISTINCT drover_thing FROM \(held) AS own
       WHERE drover_thing <> ?1 AND \(MatchedSink.takesPart(stream, machine: "own.\(machine)")) AND 
      """
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
    rank = try Statement(
      database, "UPDATE \(held) SET drover_rank = min(drover_version, ?\(local.count + 2)) WHERE \(isRow)")
    findUnplaced = try Statement(
      database,
      """
      SELECT \(columns.key.joined(separator: ", ")) FROM \(held) WHERE drover_thing IS NULL
       ORDER BY drover_rank, \(columns.key.joined(separator: ", ")) LIMIT 1000
      """)
    highest = try Statement(database, "SELECT ifnull(max(drover_thing), 0) FROM \(held)")
    hide = try Statement(database, "DELETE FROM \(sink) WHERE \(isRow)")
    isThere = try Statement(database, "SELECT 1 FROM \(sink) WHERE \(isRow)")
    isShown = try Statement(
      database,
      """
      WITH newest AS (
        SELECT drover_epoch, drover_version FROM \(held) WHERE drover_thing = ?1 ORDER BY drover_rank DESC, \(machine) LIMIT 1)
      SELECT NOT EXISTS (SELECT 1 FROM newest) OR EXISTS (
        SELECT 1 FROM newest, \(held) AS held
          JOIN \(sink) AS shown ON \(columns.key.map { "shown.\($0) = held.\($0)" }.joined(separator: " AND "))
         WHERE held.drover_thing = ?1
           AND (shown.drover_epoch, shown.drover_version) = (newest.drover_epoch, newest.drover_version))
      """)

    feed = try feedTable.map { try RowFeed(database, $0, sink: sink, key: columns.key) }
    let values = columns.names.filter { !columns.key.contains($0) }
    let number = SinkTable.numbering(feedTable)
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
        SELECT * FROM \(held) WHERE drover_thing = ?1 ORDER BY drover_rank DESC, \(machine) LIMIT 1)
      INSERT INTO \(sink) AS shown (\((columns.key + values + number.column).joined(separator: ", ")))
      SELECT \((columns.key.map { "first.\($0)" } + values.map { "newest.\($0)" } + number.value).joined(separator: ", "))
        FROM first, newest WHERE true
      ON CONFLICT (\(conflict)) DO UPDATE SET \((values + number.column).map { "\($0) = excluded.\($0)" }.joined(separator: ", "))
       WHERE (\(list(values, of: "shown"))) IS NOT (\(list(values, of: "excluded")))
      """)
    savepoint = (
      try Statement(database, "SAVEPOINT drover_thing"), try Statement(database, "RELEASE drover_thing"),
      try Statement(database, "ROLLBACK TO drover_thing")
    )
  }

  // MARK: Merging

  /// - Parameters:
  ///   - now: when they came.
  ///   - mergeIntoHeld: merges one event into what its machine holds.
  func merge(
    _ events: [SinkEvent], machine: MachineID, now: Int64, _ mergeIntoHeld: (SinkEvent) throws -> MergeOutcome
  ) throws -> [MergeOutcome] {
    try matching.merge(events) { try merge($0, machine, now, mergeIntoHeld) }
  }

  /// Places every row that has no thing yet.
  func placeAll() throws { try matching.placeAll() }

  private var matching: ThingMatching<NaturalKeys> { ThingMatching(key: key, tables: self) }

  private func merge(
    _ event: SinkEvent, _ machine: MachineID, _ now: Int64, _ mergeIntoHeld: (SinkEvent) throws -> MergeOutcome
  ) throws -> MergeOutcome {
    let row = RowKey(machine: .text(machine.text), local: event.key)
    let before = try standing(of: row)
    var outcome: MergeOutcome?
    let counts = feed?.counts
    try savepoint.begin.run()
    defer {
      if outcome != .applied {
        _ = try? savepoint.rollBack.run()
        if let counts { feed?.counts = counts }
      }
      _ = try? savepoint.release.run()
    }
    outcome = try mergeIntoHeld(event)
    guard outcome == .applied else { return outcome! }
    outcome = nil
    do {
      if event.content != .none {
        bind(rank, row)
        rank.bind(VersionBound.highest(now: now), at: Int32(keyCount + 2))
        try rank.run()
      }
      let ambiguity = try matching.follow(row, isDelete: event.content == .none, before: before)
      outcome =
        ambiguity.map { .refused(.ambiguous, detail: "\(event.localID.prefix(64)): \($0)") } ?? .applied
    } catch let error as DatabaseError where SinkTable.isAboutTheEvent(error) {
      outcome = .refused(.store, detail: error.explanation)
    }
    return outcome!
  }

  // MARK: Things

  func standing(of row: RowKey) throws -> Standing? {
    bind(standing, row)
    defer { standing.reset() }
    guard try standing.step() else { return nil }
    let identity = key.columns.indices.map { standing.value(Int32($0 + 1)) }
    let others = key.fallback.indices.map { standing.value(Int32(identity.count + $0 + 1)) }
    return Standing(
      thing: standing.isNull(0) ? nil : standing.integer(0), identity: identity, fallback: others,
      takesPart: standing.integer(Int32(identity.count + others.count + 1)) == 1)
  }

  func things(withIdentity values: [Value], besides thing: Int64) throws -> [Int64] {
    try list(byIdentity, values, besides: thing)
  }

  func things(withFallback values: [Value], besides thing: Int64, unidentified: Bool) throws -> [Int64] {
    try list(unidentified ? byFallback!.withoutIdentity : byFallback!.any, values, besides: thing)
  }

  private func list(_ select: Statement, _ values: [Value], besides thing: Int64) throws -> [Int64] {
    select.bind(thing, at: 1)
    for (index, value) in values.enumerated() { select.bind(value, at: Int32(index + 2)) }
    defer { select.reset() }
    var things: [Int64] = []
    while try select.step() { things.append(select.integer(0)) }
    return things
  }

  func isHeld(_ thing: Int64, by machine: Value) throws -> Bool {
    holds.bind(thing, at: 1)
    holds.bind(machine, at: 2)
    defer { holds.reset() }
    return try holds.step()
  }

  func nextThing() throws -> Int64 {
    defer { highest.reset() }
    _ = try highest.step()
    return highest.integer(0) + 1
  }

  func put(_ row: RowKey, in thing: Int64) throws {
    bind(place, row)
    place.bind(thing, at: Int32(keyCount + 2))
    try place.run()
  }

  func refresh(_ thing: Int64) throws {
    show.bind(thing, at: 1)
    guard try show.run() == 0 else { return try feed?.put(over: nil) ?? () }
    isShown.bind(thing, at: 1)
    defer { isShown.reset() }
    guard try isShown.step(), isShown.integer(0) == 1 else { throw DatabaseError.silence }
  }

  func hide(_ row: RowKey) throws {
    let found = try feed?.find(row.machine, row.local)
    bind(hide, row)
    if try hide.run() == 0 {
      bind(isThere, row)
      defer { isThere.reset() }
      if try isThere.step() { throw DatabaseError.silence }
    }
    if let found { try feed?.delete(found, version: found.version) }
  }

  func unplaced() throws -> [RowKey] {
    defer { findUnplaced.reset() }
    var rows: [RowKey] = []
    while try findUnplaced.step() {
      rows.append(
        RowKey(machine: findUnplaced.value(0), local: (0..<keyCount).map { findUnplaced.value(Int32($0 + 1)) }))
    }
    return rows
  }

  private func bind(_ statement: Statement, _ row: RowKey) {
    statement.reset()
    statement.bind(row.machine, at: 1)
    for (index, value) in row.local.enumerated() { statement.bind(value, at: Int32(index + 2)) }
  }
}
