// Sink tables that a person has changed are made what they have to be, as far as no person has to decide: a table that is gone is made again, a column
// that is gone comes back, a table with another key is put aside with its rows. What others have added stays. The rows that may be lacking
// afterwards are found by a comparison with the machines, which bring them again (docs/operating/databases.md).

import DroverCore
import GRDB

extension Transaction {
  func repairSinks() throws -> [(stream: StreamName, blocked: SinkBlocked)] {
    let found = try String.fetchAll(
      database,
      sql: """
        SELECT DISTINCT ifnull(header.stream, sink.stream)
          FROM drover_sink AS sink LEFT JOIN drover_sink AS header ON lower(header.stream) = lower(sink.header)
         WHERE (SELECT count(*) FROM pragma_table_info(sink.stream) WHERE pk > 0) < 2
        UNION SELECT stream FROM drover_schema AS known
         WHERE NOT EXISTS (SELECT 1 FROM drover_sink WHERE lower(stream) = lower(known.stream))
        UNION SELECT stream FROM drover_schema_line AS line
         WHERE NOT EXISTS (SELECT 1 FROM drover_sink WHERE lower(stream) = lower(line.table_name))
         ORDER BY 1
        """)
    var seen: Set<SQLName> = []
    return try found.map { try StreamName($0) }.filter { seen.insert(SQLName($0.text)).inserted }.compactMap { stream in
      do {
        try onSink(stream, repairing: true) {}
        return nil
      } catch let blocked as SinkBlocked {
        return (stream, blocked)
      }
    }
  }

  /// Makes good what was done to the tables of a stream.
  func repair(_ stream: StreamName) throws {
    try restoreNotes(of: stream)
    let tables = try String.fetchAll(
      database,
      sql: """
        SELECT stream FROM drover_sink WHERE lower(stream) = ?1 OR lower(header) = ?1 ORDER BY lower(stream) <> ?1, stream
        """, arguments: [SQLName(stream.text).text])
    for table in tables {
      guard try repairTable(StreamName(table)) else { continue }
      store.forgetAll()
      try reopenGaps(of: stream)
    }
    try mendCapture(stream)
  }

  /// Notes tables again that are described and not noted any more; one that is gone too is made again.
  private func restoreNotes(of stream: StreamName) throws {
    for user in try users(of: stream) where SQLName(user.known.stream.text) == SQLName(stream.text) {
      let (known, tables) = (user.known, [user.known.stream] + user.known.schema.lines.map(\.table))
      guard try tables.contains(where: { try form(of: $0) == nil }) else { continue }
      let obstacle = try shapeSink(
        SinkWish(known.stream, known.schema.kind, known.schema, known.machine, isAccepted: true))
      if let obstacle { throw DatabaseError(resultCode: .SQLITE_SCHEMA, message: obstacle.reason) }
      store.forgetAll()
      try reopenGaps(of: stream)
    }
  }

  /// - Returns: whether something was changed.
  private func repairTable(_ stream: StreamName) throws -> Bool {
    let type = try String.fetchOne(
      database, sql: "SELECT type FROM main.sqlite_master WHERE lower(name) = lower(?) AND type IN ('table', 'view')",
      arguments: [stream.text])
    if type == "view" { return false }
    guard type != nil, try hasKey(stream) else {
      try remake(stream, isThere: type != nil)
      return true
    }
    var isChanged = false
    let present = Set(try database.catalogue(of: stream.text).map(\.name))
    for column in ["drover_epoch", "drover_version"] where !present.contains(SQLName(column)) {
      try database.execute(
        sql: "ALTER TABLE main.\(quoted(stream.text)) ADD COLUMN \(column) INTEGER NOT NULL DEFAULT 0")
      isChanged = true
    }
    // Without a value a row is older than everything.
    try database.execute(
      sql: """
        UPDATE main.\(quoted(stream.text)) SET drover_epoch = ifnull(drover_epoch, 0), drover_version = ifnull(drover_version, 0)
         WHERE drover_epoch IS NULL OR drover_version IS NULL
        """)
    isChanged = isChanged || database.changesCount > 0
    for user in try users(of: stream) where user.rows.columns.contains(where: { !present.contains(SQLName($0.name)) }) {
      let known = user.known
      _ = try shapeSink(
        SinkWish(known.stream, known.schema.kind, known.schema, known.machine, isAccepted: true))
      isChanged = true
    }
    isChanged = try repairFeed(of: stream) || isChanged
    return try repairHeld(of: stream) || isChanged
  }

  /// Who has described a table, each with the columns that stand in it.
  private func users(of stream: StreamName) throws -> [(known: DescribedStream, rows: StreamSchema)] {
    let name = SQLName(stream.text)
    return try SchemaTables(database: database).latest(using: stream).compactMap { known in
      let rows =
        SQLName(known.stream.text) == name
        ? known.schema : known.schema.lines.first { SQLName($0.table.text) == name }?.rows
      return rows.map { (known, $0) }
    }
  }

  /// Whether a table has the key by which rows are found.
  private func hasKey(_ stream: StreamName) throws -> Bool {
    let life = SQLName(StreamSchema.lifeColumn)
    let key = try database.catalogue(of: stream.text).filter { $0.keyPosition > 0 && $0.name != life }
      .sorted { $0.keyPosition < $1.keyPosition }.map(\.name)
    let wanted = try users(of: stream).map(\.rows).map { rows in
      [SQLName(rows.machineColumn)] + rows.key.map { SQLName(rows.columns[$0].name) }.filter { $0 != life }
    }
    return wanted.isEmpty ? key == [SQLName("machine_id"), SQLName("local_id")] : wanted.contains(key)
  }

  private func repairFeed(of stream: StreamName) throws -> Bool {
    guard let table = store.feed.table(of: stream) else { return false }
    let isWhole =
      try database.hasTable("drover_gone_\(stream.text)")
      && database.catalogue(of: stream.text).contains { $0.name == SQLName(TableShape.changeColumn) }
    guard !isWhole else { return false }
    try table.drop(database)
    try table.make(database, numbersRows: true)
    try store.feed.forgetReaders(of: stream, database)
    return true
  }

  /// Makes the table of what each machine holds again where it is gone.
  private func repairHeld(of stream: StreamName) throws -> Bool {
    let matched = MatchedSink(database: database, stream: stream)
    guard try matched.key() != nil, try !matched.isThere() else { return false }
    try matched.forgetHeld(now: store.now())
    for user in try users(of: stream) where SQLName(user.known.stream.text) == SQLName(stream.text) {
      try settle(user.known.schema, machine: user.known.machine, stream: user.known.stream)
    }
    return true
  }

  /// Makes a table anew, for all who have described it.
  /// - Parameter isThere: whether there is one, which keeps its rows under another name.
  private func remake(_ stream: StreamName, isThere: Bool) throws {
    let users = try SchemaTables(database: database).latest(using: stream)
    _ = try putAside(stream, isThere: isThere)
    for user in users { _ = try take(user.schema, machine: user.machine, stream: user.stream, isAccepted: false) }
    for user in users { try reopenGaps(of: user.stream) }
  }

  /// Orders a comparison of a stream's rows that re-sends them, as after a gap in what the machines captured. The gap gets another name, so that a comparison
  /// that is under way does not close it.
  func reopenGaps(of stream: StreamName, machine: MachineID? = nil) throws {
    try database.execute(
      sql: """
        INSERT INTO drover_gap (machine_id, stream, gap)
        SELECT DISTINCT machine_id, stream, ?3 FROM drover_schema
         WHERE lower(stream) = ?1 AND (?2 IS NULL OR machine_id = ?2)
        ON CONFLICT (machine_id, stream) DO UPDATE
           SET gap = substr(gap, 1, instr(gap || ' table ', ' table ') - 1) || excluded.gap, tried_at = 0
        """, arguments: [SQLName(stream.text).text, machine?.text, " table \(store.now())"])
  }
}
