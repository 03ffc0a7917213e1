// Sink tables that a person has changed are made what they have to be, as far as no person has to decide: a table that is gone is made again, a column
// that is gone comes back, a primary key that was dropped is made from what is there. What others have added stays. The rows that may be lacking
// afterwards are found by a comparison with the machines, which bring them again (docs/operating/databases.md).

import DroverCore

extension Transaction {
  /// How many descriptions are looked at for one column of which nothing is noted: most of them say the same.
  private static let mostLookedAt = 1000

  func repairSinks() throws -> [(stream: StreamName, blocked: SinkBlocked)] {
    let found = try connection.query(
      """
      SELECT DISTINCT coalesce(header.stream, sink.stream)
        FROM drover_sink AS sink LEFT JOIN drover_sink AS header ON header.name = lower(sink.header)
        LEFT JOIN pg_class AS present ON present.relname = sink.table_name::name AND present.relnamespace = $1::text::regnamespace
       WHERE present.oid IS NULL
          OR NOT EXISTS (SELECT 1 FROM pg_index WHERE indrelid = present.oid AND indisunique AND indisvalid)
          OR EXISTS (SELECT 1 FROM drover_sink_column AS own WHERE own.sink = sink.name AND NOT EXISTS (
                       SELECT 1 FROM pg_attribute AS part
                        WHERE part.attrelid = present.oid AND part.attname::text = own.column_name AND NOT part.attisdropped))
          OR NOT EXISTS (SELECT 1 FROM drover_sink_column AS own WHERE own.sink = sink.name AND own.key_position IS NOT NULL)
          OR EXISTS (SELECT 1 FROM pg_attribute AS part JOIN drover_sink_column AS own
                         ON own.sink = sink.name AND own.column_name = part.attname::text
                      WHERE part.attrelid = present.oid AND part.attnum > 0 AND NOT part.attisdropped
                        AND part.atttypid::bigint NOT IN (\(TypeNumber.allCases.map { "\($0.rawValue)" }.joined(separator: ", "))))
          OR (SELECT count(*) FROM pg_attribute AS part
               WHERE part.attrelid = present.oid AND part.attname IN ('drover_epoch', 'drover_version')
                 AND part.attnotnull AND part.atttypid = 'bigint'::regtype) < 2
          OR EXISTS (SELECT 1 FROM pg_attribute AS part
                      WHERE part.attrelid = present.oid AND part.attnum > 0 AND NOT part.attisdropped
                        AND NOT EXISTS (SELECT 1 FROM drover_sink_column AS own
                                         WHERE own.sink = sink.name AND own.column_name = part.attname::text)
                        AND (EXISTS (SELECT 1 FROM (SELECT machine_id, stream, schema_id FROM drover_schema
                                                     WHERE lower(stream) = sink.name LIMIT \(Self.mostLookedAt)) AS known
                                       JOIN drover_schema_column AS described USING (machine_id, stream, schema_id)
                                      WHERE described.name = part.attname::text)
                             OR EXISTS (SELECT 1 FROM (SELECT name FROM drover_schema_line
                                                        WHERE lower(table_name COLLATE "C") = sink.name
                                                        LIMIT \(Self.mostLookedAt)) AS line
                                         WHERE line.name = part.attname::text)))
       ORDER BY 1
      """, [.text(store.place)])
    let streams = try (0..<found.count).map { try StreamName(found.text($0, 0)) }
    let unnoted = try SinkNotes(connection: connection).streamsWithout().filter { name in
      !streams.contains { SQLName($0.text) == SQLName(name.text) }
    }
    return try (streams + unnoted).compactMap { stream in
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
    try lockShape(of: stream)
    try restoreNotes(of: stream)
    let name = SQLName(stream.text).text
    let sinks = try connection.query(
      "SELECT name, stream FROM drover_sink WHERE name = $1 OR lower(header) = $1 ORDER BY name = $1 DESC, name",
      [.text(name)])
    for row in 0..<sinks.count {
      let table = try StreamName(sinks.text(row, 1))
      guard try repairTable(table) else { continue }
      try reshaped()
      try reopenGaps(of: stream)
    }
  }

  /// Notes tables again that are described and not noted any more; one that is gone too is made again.
  private func restoreNotes(of stream: StreamName) throws {
    let notes = SinkNotes(connection: connection)
    for known in try SchemaTables(connection: connection).latest(using: stream)
    where SQLName(known.stream.text) == SQLName(stream.text) {
      guard try ([known.stream] + known.schema.lines.map(\.table)).contains(where: { try !notes.has($0) }) else {
        continue
      }
      // The table would be taken for noted.
      store.knowledge = PostgreSQLCloudStore.Knowledge()
      let obstacle = try shapeSink(
        SinkWish(known.stream, known.schema.kind, known.schema, known.machine, isAccepted: true))
      if let obstacle { throw PostgreSQLError.tableChanged(known.stream, obstacle.reason, connection) }
      try reopenGaps(of: stream)
    }
  }

  private func lockShape(of stream: StreamName) throws { try lock(Locks.name("sink", SQLName(stream.text).text)) }

  /// - Returns: whether something was changed.
  private func repairTable(_ stream: StreamName) throws -> Bool {
    let name = SQLName(stream.text).text
    let rows = try connection.query(
      """
      SELECT sink.table_name, sink.form, present.oid::bigint, present.relkind::text
        FROM drover_sink AS sink LEFT JOIN pg_class AS present
          ON present.relname = sink.table_name::name AND present.relnamespace = $2::text::regnamespace
       WHERE sink.name = $1
      """, [.text(name), .text(store.place)], isKept: false)
    guard rows.count > 0 else { return false }
    guard let number = rows.optionalInteger(0, 2) else {
      try remake(stream, isThere: false)
      return true
    }
    guard ["r", "p"].contains(rows.text(0, 3)) else { return false }
    let qualified = "\(store.place).\(quoted(rows.text(0, 0)))"
    var isChanged = try remap(stream, number, isTable: rows.text(0, 1) == "table")
    // Nothing is known of its columns; the next description tells it.
    guard try hasNotes(of: name) else { return isChanged }
    guard let key = try key(of: stream, number, isTable: rows.text(0, 1) == "table") else {
      // Rows are found by the key, so that the table is of no use without a part of it.
      try remake(stream, isThere: true)
      return true
    }
    isChanged = try repairTypes(of: number, qualified, sink: name) || isChanged
    for column in ["drover_epoch", "drover_version"] where try repairBookkeeping(column, of: number, qualified) {
      isChanged = true
    }
    if try !isUnique(number, key) {
      let columns = key.map(quoted).joined(separator: ", ")
      try connection.change(
        hasPrimaryKey(number)
          ? "CREATE UNIQUE INDEX ON \(qualified) (\(columns))" : "ALTER TABLE \(qualified) ADD PRIMARY KEY (\(columns))"
      )
      isChanged = true
    }
    store.knowledge = PostgreSQLCloudStore.Knowledge()
    isChanged = try complete(stream) || isChanged
    if keepsFeed { isChanged = try repairFeed(of: stream) || isChanged }
    return try repairHeld(of: stream) || isChanged
  }

  // MARK: Columns

  private func has(_ table: Int64, _ column: String) throws -> Bool {
    try connection.query(
      "SELECT EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid::bigint = $1 AND attname = $2::text::name AND attnum > 0 AND NOT attisdropped)",
      [.integer(table), .text(column)], isKept: false
    ).boolean(0, 0)
  }

  /// Notes again which of the table's columns stands for which of the source's, where that is not known any more; and forgets columns that are gone, so that
  /// they are made again.
  private func remap(_ stream: StreamName, _ table: Int64, isTable: Bool) throws -> Bool {
    let name = SQLName(stream.text).text
    let gone = try connection.query(
      """
      DELETE FROM drover_sink_column AS own WHERE sink = $1 AND key_position IS NULL
         AND NOT EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid::bigint = $2 AND attname::text = own.column_name
                            AND attnum > 0 AND NOT attisdropped)
      """, [.text(name), .integer(table)], isKept: false
    ).changed
    let notes = SinkNotes(connection: connection)
    guard isTable else {
      return try notes.note(SinkTable.bodyColumns.map(\.0), key: [0], of: name, table: table) || gone > 0
    }
    var isChanged = gone > 0
    for known in try SchemaTables(connection: connection).latest(using: stream) {
      let rows =
        SQLName(known.stream.text) == SQLName(stream.text)
        ? known.schema : known.schema.lines.first { SQLName($0.table.text) == SQLName(stream.text) }?.rows
      guard let rows else { continue }
      isChanged = try notes.note(rows.columns, key: rows.key, of: name, table: table) || isChanged
    }
    return isChanged
  }

  /// Columns of the bookkeeping: without a value a row is older than everything.
  private func repairBookkeeping(_ column: String, of table: Int64, _ qualified: String) throws -> Bool {
    let found = try connection.query(
      """
      SELECT attnotnull, atttypid = 'bigint'::regtype FROM pg_attribute
       WHERE attrelid::bigint = $1 AND attname = $2::text::name AND attnum > 0 AND NOT attisdropped
      """, [.integer(table), .text(column)], isKept: false)
    guard found.count > 0 else {
      try connection.change("ALTER TABLE \(qualified) ADD COLUMN \(column) bigint NOT NULL DEFAULT 0")
      return true
    }
    if !found.boolean(0, 1) {
      try SinkProtection.lift(qualified, connection)
      try connection.change("ALTER TABLE \(qualified) ALTER COLUMN \(column) TYPE bigint")
    }
    if !found.boolean(0, 0) {
      try connection.change(
        """
        UPDATE \(qualified) SET \(column) = 0 WHERE \(column) IS NULL;
        ALTER TABLE \(qualified) ALTER COLUMN \(column) SET NOT NULL
        """)
    }
    return !found.boolean(0, 0) || !found.boolean(0, 1)
  }

  /// Columns that a person has made narrower get back the type that holds every value of theirs.
  private func repairTypes(of table: Int64, _ qualified: String, sink: String) throws -> Bool {
    let narrow = try connection.query(
      """
      SELECT part.attname::text, CASE WHEN part.atttypid = 'real'::regtype THEN 'double precision' ELSE 'bigint' END
        FROM pg_attribute AS part JOIN drover_sink_column AS own ON own.sink = $2 AND own.column_name = part.attname::text
       WHERE part.attrelid::bigint = $1 AND part.attnum > 0 AND NOT part.attisdropped
         AND part.atttypid IN ('smallint'::regtype, 'integer'::regtype, 'real'::regtype)
      """, [.integer(table), .text(sink)], isKept: false)
    if narrow.count > 0 { try SinkProtection.lift(qualified, connection) }
    for row in 0..<narrow.count {
      try connection.change(
        "ALTER TABLE \(qualified) ALTER COLUMN \(quoted(narrow.text(row, 0))) TYPE \(narrow.text(row, 1))")
    }
    return narrow.count > 0
  }

  private func hasNotes(of sink: String) throws -> Bool {
    try connection.query(
      "SELECT EXISTS (SELECT 1 FROM drover_sink_column WHERE sink = $1)", [.text(sink)], isKept: false
    ).boolean(0, 0)
  }

  /// Adds the columns again that another program has dropped. All consumers agreed to them before.
  private func complete(_ stream: StreamName) throws -> Bool {
    let name = SQLName(stream.text)
    var isChanged = false
    for known in try SchemaTables(connection: connection).latest(using: stream) {
      let rows =
        SQLName(known.stream.text) == name
        ? known.schema : known.schema.lines.first { SQLName($0.table.text) == name }?.rows
      guard let rows, let table = try table(of: stream), !table.shape.lacking(rows).isEmpty else { continue }
      _ = try shapeSink(
        SinkWish(known.stream, known.schema.kind, known.schema, known.machine, isAccepted: true))
      isChanged = true
    }
    return isChanged
  }

  // MARK: The key

  /// The names of the key's columns, the machine's first; nil where one of them is gone.
  private func key(of stream: StreamName, _ table: Int64, isTable: Bool) throws -> [String]? {
    let noted = try connection.query(
      """
      SELECT column_name, EXISTS (SELECT 1 FROM drover_sink_column WHERE sink = $1 AND name = 'machine_id')
        FROM drover_sink_column WHERE sink = $1 AND key_position IS NOT NULL ORDER BY key_position
      """, [.text(SQLName(stream.text).text)], isKept: false)
    guard noted.count > 0 else { return nil }
    let machine = isTable && noted.boolean(0, 1) ? "drover_machine_id" : "machine_id"
    let names = [machine] + (0..<noted.count).map { noted.text($0, 0) }
    return try names.allSatisfy { try has(table, $0) } ? names : nil
  }

  /// Whether two rows of one key cannot be, in the way that ON CONFLICT needs.
  func isUnique(_ table: Int64, _ columns: [String]) throws -> Bool {
    try connection.query(
      """
      SELECT EXISTS (
        SELECT 1 FROM pg_index AS own
         WHERE own.indrelid::bigint = $1 AND own.indisunique AND own.indisvalid AND own.indimmediate
           AND own.indpred IS NULL AND own.indexprs IS NULL
           AND (SELECT array_agg(part.attname::text ORDER BY part.attname::text COLLATE "C")
                  FROM pg_attribute AS part
                 WHERE part.attrelid = own.indrelid
                   AND part.attnum = ANY ((own.indkey::int2[])[0:own.indnkeyatts - 1])) =
               (SELECT array_agg(name ORDER BY name COLLATE "C") FROM unnest($2::text[]) AS name))
      """, [.integer(table), .texts(columns)], isKept: false
    ).boolean(0, 0)
  }

  private func hasPrimaryKey(_ table: Int64) throws -> Bool {
    try connection.query(
      "SELECT EXISTS (SELECT 1 FROM pg_index WHERE indrelid::bigint = $1 AND indisprimary)", [.integer(table)],
      isKept: false
    ).boolean(0, 0)
  }

  // MARK: What belongs to a table

  /// Numbers the rows again where something of the change feed is gone.
  private func repairFeed(of stream: StreamName) throws -> Bool {
    guard let table = try table(of: stream), let feed = table.feed else { return false }
    let isWhole = try connection.query(
      """
      SELECT to_regclass($1) IS NOT NULL AND EXISTS (
        SELECT 1 FROM pg_attribute WHERE attrelid = $2::text::regclass AND attname = '\(TableShape.changeColumn)' AND NOT attisdropped)
      """, [.text(feed.gone), .text(table.qualified)], isKept: false
    ).boolean(0, 0)
    guard !isWhole else { return false }
    try feed.drop(connection)
    try FeedTable.make(for: table, connection)
    try self.feed.forgetReaders(of: feed)
    try markWriter(of: table)
    let count = try connection.query(
      "UPDATE \(table.qualified) SET \(TableShape.changeColumn) = \(ChangeFeed.next) WHERE \(TableShape.changeColumn) IS NULL",
      isKept: false
    ).changed
    self.feed.count(feed, puts: count)
    return true
  }

  /// Makes the table of what each machine holds again where it is gone.
  private func repairHeld(of stream: StreamName) throws -> Bool {
    let matched = MatchedSink(self, stream)
    guard try matched.key() != nil, try !matched.isThere() else { return false }
    try matched.forgetHeld()
    store.knowledge = PostgreSQLCloudStore.Knowledge()
    for known in try SchemaTables(connection: connection).latest(using: stream)
    where SQLName(known.stream.text) == SQLName(stream.text) {
      try settle(known.schema, machine: known.machine, stream: known.stream)
    }
    return true
  }

  /// Makes a table anew, for all who have described it.
  /// - Parameter isThere: whether there is one, which keeps its rows under another name.
  private func remake(_ stream: StreamName, isThere: Bool) throws {
    let users = try SchemaTables(connection: connection).latest(using: stream)
    _ = try putAside(stream, isThere: isThere)
    for user in users { _ = try take(user.schema, machine: user.machine, stream: user.stream, isAccepted: false) }
    for user in users { try reopenGaps(of: user.stream) }
  }

  // MARK: Comparing

  /// Orders a comparison of a stream's rows that re-sends them, as after a gap in what the machines captured. The gap gets another name, so that a comparison
  /// that is under way does not close it.
  func reopenGaps(of stream: StreamName, machine: MachineID? = nil) throws {
    try connection.query(
      """
      INSERT INTO drover_gap AS known (machine_id, stream, gap)
      SELECT DISTINCT machine_id, stream, $3::text FROM drover_schema
       WHERE lower(stream) = $1::text COLLATE "C" AND ($2::text IS NULL OR machine_id = $2) ORDER BY 1, 2
      ON CONFLICT (machine_id, stream) DO UPDATE
         SET gap = split_part(known.gap, ' table ', 1) || excluded.gap, tried_at = 0
      """,
      [.text(SQLName(stream.text).text), .text(machine?.text), .text(" table \(store.now())")], isKept: false)
  }
}
