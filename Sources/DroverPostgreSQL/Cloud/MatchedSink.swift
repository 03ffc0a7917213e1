// A sink whose rows are matched by natural key has two tables. `drover_held_…` holds what each machine has, row for row, as any other sink
// does, and to each row the number of the thing that it is. The table of the stream's own name has one row for each thing, made of the first.
// docs/decisions/0016 tells why.

import DroverCore

struct MatchedSink {
  private let transaction: Transaction
  private let stream: StreamName

  init(_ transaction: Transaction, _ stream: StreamName) {
    self.transaction = transaction
    self.stream = stream
  }

  private var connection: Connection { transaction.connection }
  private var name: String { SQLName(stream.text).text }
  private var held: String {
    get throws { "\(transaction.store.place).\(quoted(Self.heldName(of: try spelled)))" }
  }
  /// The stream as its tables are named; streams that differ in case alone share them.
  private var spelled: String { get throws { try transaction.table(of: stream)?.stream ?? stream.text } }

  /// The name of the table with what each machine has.
  /// - Parameter stream: as the first who described it spells it.
  static func heldName(of stream: String) -> String { Names.relation("drover_held_\(stream)") }

  /// By what its rows are matched; nil where they are not.
  func key() throws -> NaturalKey? { try Self.key(of: stream, connection) }

  static func key(of stream: StreamName, _ connection: Connection) throws -> NaturalKey? {
    let rows = try connection.query(
      "SELECT name, identity_position, else_position FROM drover_identity WHERE stream = $1",
      [.text(SQLName(stream.text).text)])
    func names(_ column: Int) -> [String] {
      (0..<rows.count).compactMap { row in rows.optionalInteger(row, column).map { ($0, rows.text(row, 0)) } }
        .sorted { $0.0 < $1.0 }.map(\.1)
    }
    let identity = names(1)
    return identity.isEmpty ? nil : try NaturalKey(columns: identity, fallback: names(2))
  }

  /// What each machine has of the stream; nil where that is the sink itself.
  func heldTable() throws -> SinkTable? {
    guard try transaction.naturalKey(of: stream) != nil, let sink = try transaction.table(of: stream) else {
      return nil
    }
    let name = SQLName("drover_held_\(stream.text)")
    if let known = transaction.store.knowledge.tables[name] { return known }
    let table = try SinkTable.read(
      Self.heldName(of: sink.stream), of: sink.stream, sink: self.name, form: sink.form, in: transaction.store.place,
      connection)
    transaction.store.knowledge.tables[name] = table
    return table
  }

  // MARK: Agreeing

  /// How the sink is matched now, as a machine finds it.
  func matching(for machine: MachineID) throws -> SinkMatching {
    SinkMatching(
      key: try key(), isMember: try isMember(machine.text), isForAll: try isMember(Self.everybody),
      isDeclaredByOthers: try isDeclared(besides: machine))
  }

  /// Does what was decided.
  /// - Returns: whether tables were made or dropped.
  func make(_ change: SinkMatching.Change, machine: MachineID) throws -> Bool {
    let isMatched = try key() != nil
    try setMember(machine.text, change.isMember)
    if change.isForAll { try setMember(Self.everybody, true) }
    switch change.work {
    case .nothing: return false
    case .matchIfHeld(_, let anybodys) where try !holdsRows(of: machine, anybodys): return false
    case .matchIfHeld(let key, _), .match(let key):
      // Writers that do not know the other table must have finished, and no new one may begin.
      try transaction.haveToOneself()
      if !isMatched { try makeHeld() }
      try refill { try match(by: key) }
    case .dissolve:
      try transaction.haveToOneself()
      try refill { try dissolve() }
    }
    return true
  }

  /// The natural key that the operator has pinned, with the columns as the table has them; nil where it lacks one.
  func pinnedKey(_ pin: StreamPin?) throws -> NaturalKey? {
    guard let key = pin?.naturalKey, let sink = try transaction.table(of: stream) else { return nil }
    return try? key.resolved(among: sink.columns.map { Column(name: $0.name.text, declaredType: "") })
  }

  // MARK: Whose rows are matched

  /// Stands for all machines.
  private static let everybody = "*"

  private func isMember(_ machine: String) throws -> Bool {
    try connection.query(
      "SELECT EXISTS (SELECT 1 FROM drover_identity_member WHERE stream = $1 AND machine_id = $2)",
      [.text(name), .text(machine)]
    ).boolean(0, 0)
  }

  private func setMember(_ machine: String, _ isMember: Bool) throws {
    try connection.query(
      isMember
        ? "INSERT INTO drover_identity_member (stream, machine_id) VALUES ($1, $2) ON CONFLICT DO NOTHING"
        : "DELETE FROM drover_identity_member WHERE stream = $1 AND machine_id = $2", [.text(name), .text(machine)])
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
    try connection.query(
      "SELECT EXISTS (SELECT 1 FROM drover_identity_member WHERE stream = $1 AND machine_id NOT IN ($2, $3))",
      [.text(name), .text(machine.text), .text(Self.everybody)]
    ).boolean(0, 0)
  }

  private func holdsRows(of machine: MachineID, _ orAnybodys: Bool) throws -> Bool {
    guard let table = try heldTable() else { return false }
    return try connection.query(
      "SELECT EXISTS (SELECT 1 FROM \(table.qualified) \(orAnybodys ? "" : "WHERE \(table.machine) = $1"))",
      orAnybodys ? [] : [.text(machine.text)]
    ).boolean(0, 0)
  }

  // MARK: Two tables and one

  private func names(_ sink: SinkTable) -> String {
    ([sink.machine] + sink.columns.map(\.identifier) + ["drover_epoch", "drover_version"]).joined(separator: ", ")
  }

  /// Until now the sink's rows were each machine's own.
  private func makeHeld() throws {
    let sink = try transaction.table(of: stream)!
    let key = sink.wholeKey
    try connection.change(
      """
      CREATE TABLE \(held) (LIKE \(sink.qualified), PRIMARY KEY (\(key.joined(separator: ", "))));
      -- The change feed is of what is shown.
      ALTER TABLE \(held) DROP COLUMN IF EXISTS \(TableShape.changeColumn);
      -- The number of the thing that the row is; rows of one thing have the same.
      ALTER TABLE \(held) ADD COLUMN drover_thing bigint;
      -- Its version as others' rows compare with it: at most a day later than it came.
      ALTER TABLE \(held) ADD COLUMN drover_rank bigint;
      INSERT INTO \(held) (\(names(sink)), drover_rank)
        SELECT \(names(sink)), least(drover_version, \(VersionBound.highest(now: transaction.store.now()))) FROM \(sink.qualified);
      CREATE INDEX \(index("thing")) ON \(held) (drover_thing, drover_rank);
      """)
  }

  /// Fills the sink with other rows. To the change feed those that are there afterwards were put, and of the others those that it had were deleted.
  private func refill(_ fill: () throws -> Void) throws {
    let sink = try transaction.table(of: stream)!
    guard let table = sink.feed else { return try fill() }
    let key = sink.wholeKey
    try transaction.feed.open(table)
    try connection.change(
      """
      CREATE TEMPORARY TABLE drover_shown ON COMMIT DROP AS
        SELECT drover_version, \(key.joined(separator: ", ")) FROM \(sink.qualified)
      """)
    try fill()
    let isThere = key.map { "sink.\($0) = shown.\($0)" }.joined(separator: " AND ")
    let deletes = try connection.patiently {
      try connection.query(
        """
        INSERT INTO \(table.gone) (drover_change, drover_gone_at, drover_version, \(key.joined(separator: ", ")))
        SELECT \(ChangeFeed.next), $1, drover_version, \(key.joined(separator: ", ")) FROM pg_temp.drover_shown AS shown
         WHERE NOT EXISTS (SELECT 1 FROM \(sink.qualified) AS sink WHERE \(isThere))
        """, [.integer(transaction.feed.now)], isKept: false
      ).changed
    }
    transaction.feed.count(table, deletes: deletes)
    try connection.run("DROP TABLE pg_temp.drover_shown")
  }

  /// Takes a machine's rows out, and finds out anew what the others' are.
  func removeRows(of machine: MachineID) throws -> Int {
    guard let key = try key(), let sink = try transaction.table(of: stream) else { return 0 }
    let count = try connection.query("DELETE FROM \(held) WHERE \(sink.machine) = $1", [.text(machine.text)]).changed
    if count > 0 { try refill { try match(by: key) } }
    return count
  }

  /// Matches all rows again, the oldest versions first. Rows that could be several things are each one of their own: they are here
  /// already, and no event that could be set apart.
  private func match(by key: NaturalKey) throws {
    let sink = try transaction.table(of: stream)!
    try forgetKey()
    for name in Set((key.columns + key.fallback).map(ExactText.init)) {
      try connection.query(
        "INSERT INTO drover_identity VALUES ($1, $2, $3, $4)",
        [
          .text(self.name), .text(name.text), .integer(key.columns.map(ExactText.init).firstIndex(of: name)),
          .integer(key.fallback.map(ExactText.init).firstIndex(of: name)),
        ])
    }
    for (name, columns) in [("identity", key.columns), ("else", key.fallback)] where !columns.isEmpty {
      let parts = try columns.map { try sink.need(SQLName($0)).identifier }
      try connection.change("CREATE INDEX \(index(name)) ON \(held) (\(parts.joined(separator: ", ")))")
    }
    try connection.change(
      "DELETE FROM \(sink.qualified); UPDATE \(held) SET drover_thing = NULL WHERE drover_thing IS NOT NULL")
    try transaction.reshaped()
    try NaturalKeys(transaction, stream, key).placeAll()
  }

  /// From now on the sink's rows are each machine's own again.
  private func dissolve() throws {
    let sink = try transaction.table(of: stream)!
    let numbering = sink.numbering
    try forgetKey()
    let shown = try connection.patiently {
      try connection.run("DELETE FROM \(sink.qualified)")
      return try connection.query(
        """
        INSERT INTO \(sink.qualified) (\(([names(sink)] + numbering.column).joined(separator: ", ")))
        SELECT \(([names(sink)] + numbering.value).joined(separator: ", ")) FROM \(held)
        """, isKept: false
      ).changed
    }
    transaction.feed.count(sink.feed, puts: shown)
    try connection.run("DROP TABLE \(held)")
    try forgetMembers()
  }

  private func forgetKey() throws {
    for name in ["identity", "else"] {
      try connection.run("DROP INDEX IF EXISTS \(transaction.store.place).\(index(name))")
    }
    try connection.query("DELETE FROM drover_identity WHERE stream = $1", [.text(name)])
  }

  private func forgetMembers() throws {
    try connection.query("DELETE FROM drover_identity_member WHERE stream = $1", [.text(name)])
  }

  /// What the machines hold goes aside with the sink, under the name that this has then.
  func putAside(as aside: String) throws {
    try forgetMembers()
    guard try key() != nil else { return }
    try forgetKey()
    try connection.run(
      """
      DROP INDEX IF EXISTS \(transaction.store.place).\(index("thing"));
      ALTER TABLE IF EXISTS \(held) RENAME TO \(quoted(Names.relation("drover_held_\(aside)")))
      """)
  }

  /// Whether the table of what each machine holds has what it needs.
  func isThere() throws -> Bool {
    guard try connection.query("SELECT to_regclass($1) IS NOT NULL", [.text(held)], isKept: false).boolean(0, 0),
      let sink = try transaction.table(of: stream), let table = try heldTable()
    else { return false }
    let needed = try connection.query(
      """
      SELECT $1::text::regclass::oid::bigint,
             (SELECT count(*) FROM pg_attribute WHERE attrelid = $1::text::regclass AND NOT attisdropped
                 AND attname IN ('drover_thing', 'drover_rank', 'drover_epoch', 'drover_version')) = 4
      """, [.text(held)], isKept: false)
    let key = try connection.query(
      "SELECT column_name FROM drover_sink_column WHERE sink = $1 AND key_position IS NOT NULL", [.text(name)])
    let machine = sink.machine == quoted("machine_id") ? "machine_id" : "drover_machine_id"
    return try needed.boolean(0, 1) && sink.columns.allSatisfy { table.column($0.name) != nil }
      && transaction.isUnique(needed.integer(0, 0), [machine] + (0..<key.count).map { key.text($0, 0) })
  }

  /// Removes the rest of that table, so that the rows are matched again.
  func forgetHeld() throws {
    let aside = "drover_held_\(stream.text)_until_\(Timestamp.name(microseconds: transaction.store.now()))"
    try connection.run(
      """
      DROP INDEX IF EXISTS \(transaction.store.place).\(index("thing"));
      ALTER TABLE IF EXISTS \(held) RENAME TO \(quoted(Names.relation(aside)))
      """)
    try forgetKey()
  }

  /// Streams cannot be named drover_…, so the names are free.
  private func index(_ what: String) throws -> String {
    quoted(Names.relation("drover_\(what)_of_\(try spelled)"))
  }
}
