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
  private var heldName: String { Self.heldName(of: stream) }
  private var held: String { "\(transaction.store.place).\(quoted(heldName))" }

  /// The name of the table with what each machine has.
  static func heldName(of stream: StreamName) -> String { Names.relation("drover_held_\(stream.text)") }

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
      heldName, sink: self.name, form: sink.form, in: transaction.store.place, connection)
    transaction.store.knowledge.tables[name] = table
    return table
  }

  // MARK: Agreeing

  /// Why a machine's rows cannot be matched as it declares, or nil: a table is matched in one way, and others go on in theirs.
  func refusal(of schema: StreamSchema, machine: MachineID) throws -> String? {
    let names = (schema.naturalKey?.columns ?? []) + (schema.naturalKey?.fallback ?? [])
    let isWide = schema.columns.count > SinkColumn.mostRoomyColumns
    if isWide, schema.columns.contains(where: { names.contains($0.name) && $0.declaredType.isEmpty }) {
      return
        "in a table of more than \(SinkColumn.mostRoomyColumns) columns no column without a type is part of a natural key"
    }
    guard let wanted = schema.naturalKey, let key = try key(), key != wanted, try isDeclared(besides: machine) else {
      return nil
    }
    return wanted.refusal(against: key, stream)
  }

  /// Matches the rows as a machine declares; as before where it declares nothing and another one does.
  /// - Returns: whether tables were made or dropped.
  func settle(_ schema: StreamSchema, machine: MachineID) throws -> Bool {
    let key = try key()
    guard schema.naturalKey != key else { return false }
    if schema.naturalKey == nil, try isDeclared(besides: machine) { return false }
    // Whoever writes into the sink without knowing of the other table has to be done, and nobody may begin.
    try transaction.haveToOneself()
    if key == nil { try makeHeld() }
    try refill { try schema.naturalKey.map(match) ?? dissolve() }
    return true
  }

  /// Whether another machine's newest schema declares by what its rows are matched.
  private func isDeclared(besides machine: MachineID) throws -> Bool {
    try connection.query(
      """
      SELECT EXISTS (
        SELECT 1 FROM drover_schema_column AS declared
         WHERE stream = $1 AND machine_id <> $2 AND identity_position = 0
           AND schema_id = (SELECT schema_id FROM drover_schema
                             WHERE machine_id = declared.machine_id AND stream = $1 ORDER BY described DESC LIMIT 1))
      """, [.text(stream.text), .text(machine.text)]
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
      INSERT INTO \(held) (\(names(sink))) SELECT \(names(sink)) FROM \(sink.qualified);
      CREATE INDEX \(index("thing")) ON \(held) (drover_thing, drover_version);
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

  /// Finds out anew what is one thing, the oldest versions first. Rows that could be several things are each one of their own: they are here
  /// already, and no event that could be set apart.
  private func match(by key: NaturalKey) throws {
    let sink = try transaction.table(of: stream)!
    try forgetKey()
    for name in Set(key.columns + key.fallback) {
      try connection.query(
        "INSERT INTO drover_identity VALUES ($1, $2, $3, $4)",
        [
          .text(self.name), .text(name), .integer(key.columns.firstIndex(of: name)),
          .integer(key.fallback.firstIndex(of: name)),
        ])
    }
    for (name, columns) in [("identity", key.columns), ("else", key.fallback)] where !columns.isEmpty {
      let parts = columns.map { sink.column(SQLName($0))!.identifier }
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
  }

  private func forgetKey() throws {
    for name in ["identity", "else"] {
      try connection.run("DROP INDEX IF EXISTS \(transaction.store.place).\(index(name))")
    }
    try connection.query("DELETE FROM drover_identity WHERE stream = $1", [.text(name)])
  }

  /// What the machines hold goes aside with the sink, under the name that this has then.
  func putAside(as aside: String) throws {
    guard try key() != nil else { return }
    try forgetKey()
    try connection.run(
      """
      DROP INDEX \(transaction.store.place).\(index("thing"));
      ALTER TABLE \(held) RENAME TO \(quoted(Names.relation("drover_held_\(aside)")))
      """)
  }

  /// Streams cannot be named drover_…, so the names are free.
  private func index(_ what: String) -> String { quoted(Names.relation("drover_\(what)_of_\(stream.text)")) }
}
