// A sink whose rows are matched by natural key has two tables. `drover_held_…` holds what each machine has, row for row, as any other sink
// does, and to each row the number of the thing that it is. The table of the stream's own name has one row for each thing, made of the first.
// Here is how the one becomes the other and back; NaturalKeys.swift says which rows are one thing. docs/decisions/0016 tells why.

import DroverCore
import GRDB

struct MatchedSink {
  let database: Database
  let stream: StreamName

  static let migration = """
    -- The columns by which the rows of a sink table are matched. Their places from 0; NULL where a column is none of them.
    CREATE TABLE drover_identity (
      -- In lower case.
      stream            TEXT NOT NULL,
      name              TEXT NOT NULL,
      identity_position INTEGER,
      else_position     INTEGER,
      PRIMARY KEY (stream, name)
    ) WITHOUT ROWID;

    ALTER TABLE drover_schema_column ADD COLUMN identity_position INTEGER;
    ALTER TABLE drover_schema_column ADD COLUMN else_position INTEGER;
    CREATE INDEX drover_schema_identity ON drover_schema_column (stream, machine_id) WHERE identity_position = 0;
    ALTER TABLE drover_schema_waiting_column ADD COLUMN identity_position INTEGER;
    ALTER TABLE drover_schema_waiting_column ADD COLUMN else_position INTEGER;
    """

  /// What each machine has of the stream.
  var held: String { "drover_held_\(stream.text)" }

  /// The table in which each machine's own rows stand: the sink's, or beside it.
  static func ownRows(of stream: StreamName, _ database: Database) throws -> String {
    // A store that no consumer of this version has opened yet matches nothing.
    guard try database.tableExists("drover_identity") else { return stream.text }
    let sink = MatchedSink(database: database, stream: stream)
    return try sink.key() == nil ? stream.text : sink.held
  }

  /// By what its rows are matched; nil where they are not.
  func key() throws -> NaturalKey? {
    try NaturalKey(
      rows: Row.fetchAll(
        database, sql: "SELECT * FROM drover_identity WHERE stream = lower(?)", arguments: [stream.text]))
  }

  /// What matches the rows; nil where they are not matched.
  /// - Parameters:
  ///   - known: what did before, and does where nothing has changed: to compile its statements takes longer than to merge an event.
  ///   - feed: what numbers the sink's rows, if something does.
  func naturalKeys(or known: NaturalKeys?, feed: FeedTable?) throws -> NaturalKeys? {
    guard let key = try key() else { return nil }
    let columns = try SinkColumns(database, table: stream.text)
    if let known, known.key == key, known.columns == columns { return known }
    return try NaturalKeys(database, stream: stream, key: key, columns: columns, feed: feed)
  }

  /// What the machines hold, as a subquery; `drover_is_shown` is 0 where the sink's row is not what its thing's newest row is. A row of the
  /// sink that no machine holds is there too.
  func checkedRows() throws -> String {
    let columns = try SinkColumns(database, table: stream.text)
    let machine = columns.key[0]
    let values = columns.names.filter { !columns.key.contains($0) }
    func list(_ names: [String], of table: String) -> String {
      names.map { "\(table).\($0)" }.joined(separator: ", ")
    }
    let isMember = columns.key.map { "shown.\($0) = member.\($0)" }.joined(separator: " AND ")
    return """
      (SELECT \(list(columns.names, of: "held")), (
              EXISTS (SELECT 1 FROM \(quoted(held)) AS newer
                       WHERE newer.drover_thing = held.drover_thing
                         AND (newer.drover_rank > held.drover_rank
                              OR newer.drover_rank = held.drover_rank AND newer.\(machine) < held.\(machine)))
              OR EXISTS (SELECT 1 FROM \(quoted(held)) AS member JOIN \(quoted(stream.text)) AS shown ON \(isMember)
                          WHERE member.drover_thing = held.drover_thing
                            AND (\(list(values, of: "shown"))) IS (\(list(values, of: "held"))))) AS drover_is_shown
         FROM \(quoted(held)) AS held
       UNION ALL
       SELECT \(list(columns.names, of: "shown")), 1 FROM \(quoted(stream.text)) AS shown
        WHERE NOT EXISTS (SELECT 1 FROM \(quoted(held)) AS member WHERE \(isMember)))
      """
  }

  // MARK: Agreeing

  /// How the sink is matched now, as a machine finds it.
  func matching(for machine: MachineID) throws -> SinkMatching {
    SinkMatching(
      key: try key(), isMember: try isMember(machine.text), isForAll: try isMember(Self.everybody),
      isDeclaredByOthers: try isDeclared(besides: machine))
  }

  /// Does what was decided. Of a table whose columns have changed, what the machines hold follows.
  /// - Parameter feed: what numbers the sink's rows, if something does.
  /// - Returns: whether tables were made or dropped.
  func make(
    _ change: SinkMatching.Change, _ schema: StreamSchema, machine: MachineID, now: Int64, feed: FeedTable?
  ) throws -> Bool {
    let isMatched = try key() != nil
    if isMatched { try follow(schema) }
    try setMember(machine.text, change.isMember)
    if change.isForAll { try setMember(Self.everybody, true) }
    switch change.work {
    case .nothing: return false
    case .matchIfHeld(_, let anybodys) where try !holdsRows(of: machine, anybodys): return false
    case .matchIfHeld(let key, _), .match(let key):
      if !isMatched { try makeHeld(now: now) }
      try refill(feed) { try match(by: key, feed) }
    case .dissolve: try refill(feed) { try dissolve(feed) }
    }
    return true
  }

  /// The natural key that the operator has pinned, with the columns as the table has them; nil where it lacks one.
  func pinnedKey(_ pin: StreamPin?) throws -> NaturalKey? {
    guard let key = pin?.naturalKey else { return nil }
    let columns = try database.catalogue(of: stream.text).map {
      DroverCore.Column(name: $0.name.text, declaredType: $0.type)
    }
    return try? key.resolved(among: columns)
  }

  // MARK: Whose rows are matched

  /// Stands for all machines.
  static let everybody = "*"

  private func isMember(_ machine: String) throws -> Bool {
    try Bool.fetchOne(
      database,
      sql: "SELECT EXISTS (SELECT 1 FROM drover_identity_member WHERE stream = ? AND machine_id = ?)",
      arguments: [SQLName(stream.text).text, machine])!
  }

  private func setMember(_ machine: String, _ isMember: Bool) throws {
    try database.execute(
      sql: isMember
        ? "INSERT OR IGNORE INTO drover_identity_member (stream, machine_id) VALUES (?, ?)"
        : "DELETE FROM drover_identity_member WHERE stream = ? AND machine_id = ?",
      arguments: [SQLName(stream.text).text, machine])
  }

  /// Whether the machine of a row takes part, as SQL.
  static func takesPart(_ stream: StreamName, machine column: String) -> String {
    """
    EXISTS (SELECT 1 FROM drover_identity_member AS part
             WHERE part.stream = \(literal(SQLName(stream.text).text)) AND part.machine_id IN (\(column), '\(everybody)'))
    """
  }

  /// Whether another machine's newest schema declares by what its rows are matched.
  private func isDeclared(besides machine: MachineID) throws -> Bool {
    try Bool.fetchOne(
      database,
      sql: "SELECT EXISTS (SELECT 1 FROM drover_identity_member WHERE stream = ? AND machine_id NOT IN (?, ?))",
      arguments: [SQLName(stream.text).text, machine.text, Self.everybody])!
  }

  private func holdsRows(of machine: MachineID, _ orAnybodys: Bool) throws -> Bool {
    guard try key() != nil else { return false }
    let column = try SinkColumns(database, table: stream.text).key[0]
    return try Bool.fetchOne(
      database, sql: "SELECT EXISTS (SELECT 1 FROM \(quoted(held)) WHERE ?1 OR \(column) = ?2)",
      arguments: [orAnybodys, machine.text])!
  }

  private func follow(_ schema: StreamSchema) throws {
    let columns = try database.catalogue(of: held)
    let present = Set(columns.map(\.name))
    let retyped = DroverCore.Column.retyped(
      columns.map { .init(name: $0.name.text, declaredType: $0.type) }, by: schema)
    try SinkWidening(database, table: held).run(Set(retyped.map { SQLName($0.present.name) }), tellsLives: false)
    for column in schema.columns where !present.contains(SQLName(column.name)) {
      try database.execute(sql: "ALTER TABLE \(quoted(held)) ADD COLUMN \(SinkTable.definition(column))")
    }
  }

  // MARK: Two tables and one

  /// Until now the sink's rows were each machine's own.
  private func makeHeld(now: Int64) throws {
    let columns = try SinkColumns(database, table: stream.text)
    try database.execute(
      sql: """
        CREATE TABLE \(quoted(held)) (
          \(columns.definitions.joined(separator: ",\n  ")),
          -- The number of the thing that the row is; rows of one thing have the same.
          drover_thing INTEGER,
          -- Its version as others' rows compare with it: at most a day later than it came.
          drover_rank INTEGER,
          PRIMARY KEY (\(columns.key.joined(separator: ", ")))
        ) WITHOUT ROWID
        """)
    let names = columns.names.joined(separator: ", ")
    try database.execute(
      sql: """
        INSERT INTO \(quoted(held)) (\(names), drover_rank)
        SELECT \(names), min(drover_version, \(VersionBound.highest(now: now))) FROM \(quoted(stream.text))
        """)
    try database.execute(sql: "CREATE INDEX \(index("thing")) ON \(quoted(held)) (drover_thing, drover_rank)")
  }

  /// Fills the sink with other rows. To the change feed those that it has before and afterwards were put, and the others deleted.
  private func refill(_ feed: FeedTable?, _ fill: () throws -> Void) throws {
    let key = try SinkColumns(database, table: stream.text).key
    let before = feed?.counts.deletes ?? 0
    try feed?.buryAll(database, key: key)
    try database.execute(sql: "DELETE FROM \(quoted(stream.text))")
    try fill()
    if let feed { try feed.unbury(database, key: key, counted: feed.counts.deletes - before) }
  }

  /// Takes a machine's rows out, and finds out anew what the others' are.
  func removeRows(of machine: MachineID, feed: FeedTable?) throws -> Int {
    guard let key = try key() else { return 0 }
    let column = try SinkColumns(database, table: stream.text).key[0]
    try database.execute(sql: "DELETE FROM \(quoted(held)) WHERE \(column) = ?", arguments: [machine.text])
    let count = database.changesCount
    if count > 0 { try refill(feed) { try match(by: key, feed) } }
    return count
  }

  /// Matches all rows again, the oldest versions first. Rows that could be several things are each one of their own: they are here
  /// already, and no event that could be set apart.
  private func match(by key: NaturalKey, _ feed: FeedTable?) throws {
    try forgetKey()
    for name in Set((key.columns + key.fallback).map(ExactText.init)) {
      try database.execute(
        sql: "INSERT INTO drover_identity VALUES (lower(?), ?, ?, ?)",
        arguments: [
          stream.text, name.text, key.columns.map(ExactText.init).firstIndex(of: name),
          key.fallback.map(ExactText.init).firstIndex(of: name),
        ])
    }
    for (name, columns) in [("identity", key.columns), ("else", key.fallback)] where !columns.isEmpty {
      try database.execute(
        sql: "CREATE INDEX \(index(name)) ON \(quoted(held)) (\(columns.map(quoted).joined(separator: ", ")))")
    }
    try database.execute(sql: "UPDATE \(quoted(held)) SET drover_thing = NULL WHERE drover_thing IS NOT NULL")
    let columns = try SinkColumns(database, table: stream.text)
    try NaturalKeys(database, stream: stream, key: key, columns: columns, feed: feed).placeAll()
  }

  /// From now on the sink's rows are each machine's own again.
  private func dissolve(_ feed: FeedTable?) throws {
    try forgetKey()
    let names = try SinkColumns(database, table: stream.text).names
    let number = SinkTable.numbering(feed)
    try database.execute(
      sql: """
        INSERT INTO \(quoted(stream.text)) (\((names + number.column).joined(separator: ", ")))
        SELECT \((names + number.value).joined(separator: ", ")) FROM \(quoted(held))
        """)
    feed?.counts.puts += Int64(database.changesCount)
    try database.execute(sql: "DROP TABLE \(quoted(held))")
    try forgetMembers()
  }

  private func forgetKey() throws {
    for name in ["identity", "else"] { try database.execute(sql: "DROP INDEX IF EXISTS \(index(name))") }
    try database.execute(sql: "DELETE FROM drover_identity WHERE stream = lower(?)", arguments: [stream.text])
  }

  private func forgetMembers() throws {
    try database.execute(
      sql: "DELETE FROM drover_identity_member WHERE stream = ?", arguments: [SQLName(stream.text).text])
  }

  /// What the machines hold goes aside with the sink, under the name that this has then.
  func putAside(as aside: String) throws {
    try forgetMembers()
    guard try key() != nil else { return }
    try forgetKey()
    try database.execute(sql: "DROP INDEX IF EXISTS \(index("thing"))")
    guard try database.hasTable(held) else { return }
    try database.execute(sql: "ALTER TABLE main.\(quoted(held)) RENAME TO \(quoted("drover_held_\(aside)"))")
  }

  /// Whether the table of what each machine holds has what it needs.
  func isThere() throws -> Bool {
    guard try database.hasTable(held) else { return false }
    let (sink, own) = (
      try SinkColumns(database, table: stream.text), try database.catalogue(of: held)
    )
    let names = Set(own.map { quoted($0.name.text) })
    return names.isSuperset(of: sink.names.map { $0.lowercased() })
      && names.isSuperset(of: ["drover_thing", "drover_rank"].map(quoted))
      && own.count { $0.keyPosition > 0 } == sink.key.count
  }

  /// Removes the rest of that table, so that the rows are matched again.
  func forgetHeld(now: Int64) throws {
    try database.execute(sql: "DROP INDEX IF EXISTS \(index("thing"))")
    try forgetKey()
    guard try database.hasTable(held) else { return }
    let aside = "\(held)_until_\(Timestamp.name(microseconds: now))"
    try database.execute(sql: "ALTER TABLE main.\(quoted(held)) RENAME TO \(quoted(aside))")
  }

  /// Streams cannot be named drover_…, so the names are free.
  private func index(_ what: String) -> String { quoted("drover_\(what)_of_\(stream.text)") }
}

/// The columns of a sink table, quoted, in their order: the machine's, the source's, and Drover's epoch and version. The number in the change
/// feed is none of them: it belongs to what is shown, and not to what machines hold.
struct SinkColumns: Equatable {
  let names: [String]
  let definitions: [String]
  /// The machine and the local key.
  let key: [String]

  init(_ database: Database, table: String) throws {
    let rows = try Row.fetchAll(database, sql: "PRAGMA main.table_info(\(quoted(table)))")
      .filter { SQLName($0["name"]) != SQLName(TableShape.changeColumn) }
    names = rows.map { quoted($0["name"]) }
    definitions = rows.map {
      SinkTable.definition(DroverCore.Column(name: $0["name"], declaredType: $0["type"]))
        + ($0["notnull"] == 1 ? " NOT NULL" : "")
    }
    key = rows.filter { $0["pk"] > 0 }.sorted { ($0["pk"] as Int) < $1["pk"] }.map { quoted($0["name"]) }
  }
}

extension NaturalKey {
  /// - Parameter rows: columns as the store keeps them; nil where none of them is named.
  init?(rows: [Row]) throws {
    func names(_ position: String) -> [String] {
      rows.compactMap { row in (row[position] as Int?).map { ($0, row["name"] as String) } }
        .sorted { $0.0 < $1.0 }.map(\.1)
    }
    let columns = names("identity_position")
    guard !columns.isEmpty else { return nil }
    try self.init(columns: columns, fallback: names("else_position"))
  }
}
