// The replica in PostgreSQL as a comparison reads it: beside the consumer, on a connection of its own. What it reads of a stream is of one
// moment.

package import DroverCore

package final class PostgreSQLReplica: Replica {
  let connection: Connection
  let place: String
  /// Wall clock, microseconds since 1970.
  private let now: () -> Int64

  /// Lines that are removed in one transaction.
  private static let linesOfRemoval = 1000

  static let migration = """
    -- What the last comparison of a machine's stream with its source found.
    CREATE TABLE drover_check (
      machine_id    TEXT COLLATE "C" NOT NULL,
      stream        TEXT COLLATE "C" NOT NULL,
      checked_at    BIGINT NOT NULL,
      rows_at_edge  BIGINT NOT NULL,
      rows_in_cloud BIGINT NOT NULL,
      -- Rows that still differ, and rows that differed and were sent again.
      drift         BIGINT NOT NULL,
      repaired      BIGINT NOT NULL,
      in_flight     BIGINT NOT NULL,
      -- Why it could not be finished.
      failure       TEXT,
      PRIMARY KEY (machine_id, stream)
    );
    """

  static let gapMigration = """
    -- Gaps in what machines captured of their streams: the one that was heard of last, and the last that a comparison has closed.
    CREATE TABLE drover_gap (
      machine_id TEXT COLLATE "C" NOT NULL,
      stream     TEXT COLLATE "C" NOT NULL,
      gap        TEXT NOT NULL,
      closed     TEXT,
      tried_at   BIGINT NOT NULL DEFAULT 0,
      PRIMARY KEY (machine_id, stream)
    );
    """

  /// - Throws: `PostgreSQLError`.
  package init(_ address: PostgreSQLAddress, now: @escaping () -> Int64 = PostgreSQLCloudStore.wallClock) throws {
    self.now = now
    connection = try Connection(toStoreAt: address, purpose: "read")
    place = try connection.place()
  }

  package func streams() throws -> [ReplicatedStream] {
    try connection.looking { try Self.streams(connection) }
  }

  package func unreadable() throws -> [UnreadableStream] {
    try connection.looking {
      try Self.described(connection).filter { $0.schema == nil }.map {
        UnreadableStream($0.origin, isOnline: $0.isOnline)
      }
    }
  }

  static func streams(_ connection: Connection) throws -> [ReplicatedStream] {
    try described(connection).compactMap { described in
      described.schema.map {
        ReplicatedStream(
          machine: described.origin.machine, stream: described.origin.stream, schema: $0, isOnline: described.isOnline)
      }
    }
  }

  /// What machines described last of streams with a table, also if the table is not noted any more. No schema: what the store keeps of it was changed.
  private static func described(
    _ connection: Connection
  ) throws -> [(origin: MachineStream, schema: StreamSchema?, isOnline: Bool)] {
    let rows = try connection.query(
      """
      SELECT DISTINCT ON (schema.machine_id, schema.stream)
             schema.machine_id, schema.stream, schema.schema_id, coalesce(machine.online, false)
        FROM drover_schema AS schema
        LEFT JOIN drover_sink AS sink ON sink.name = lower(schema.stream)
        JOIN drover_machine AS machine ON machine.machine_id = schema.machine_id
       WHERE sink.form = 'table' OR sink.form IS NULL
       ORDER BY schema.machine_id, schema.stream, schema.described DESC
      """)
    return try (0..<rows.count).map { row in
      let (machine, stream) = (try MachineID(rows.text(row, 0)), try StreamName(rows.text(row, 1)))
      let schema = try SchemaTables(connection: connection)
        .read(SchemaID(text: rows.text(row, 2)), machine: machine, stream: stream)
      return (MachineStream(machine: machine, stream: stream), schema, rows.boolean(row, 3))
    }
  }

  // MARK: Rows

  package func count(_ stream: ReplicatedStream) throws -> Int {
    try looking(at: stream) { source in
      try connection.patiently {
        Int(
          try connection.query(
            "SELECT count(*) FROM \(source.rows.table.qualified) AS stored WHERE \(source.rows.table.machine) = $1",
            [.text(stream.owner.text)]
          ).integer(0, 0))
      }
    }
  }

  package func survey(_ stream: ReplicatedStream, _ see: ([Value], UInt64) throws -> Void) throws {
    try looking(at: stream) { source in
      try eachPiece(of: source.rows, stream.owner) { rows in
        for (row, digest) in zip(rows, try source.digests(rows, connection)) {
          try see(stream.schema.key.map { row[$0] }, digest)
        }
      }
    }
  }

  package func rows(_ stream: ReplicatedStream, keys: [[Value]]) throws -> [ReplicaRow?] {
    try looking(at: stream) { source in
      let stored = try source.rows.find(
        keys.map(source.key), machine: stream.owner, connection)
      var digests = try source.digests(stored.compactMap { $0?.values }, connection)[...]
      return try stored.map { stored in
        try stored.map { row in
          let isFinal = source.rows.holds(stream.schema.completeWhen, of: row)
          return ReplicaRow(
            digest: digests.removeFirst(), epoch: row.version.epoch, version: row.version.version, isFinal: isFinal,
            unit: isFinal && !stream.schema.lines.isEmpty ? try source.unit(row.values, connection) : nil)
        }
      }
    }
  }

  package func tally(_ stream: ReplicatedStream, column: Int) throws -> Tally {
    try looking(at: stream) { source in
      let (rows, shown) = (source.rows, source.rows.columns[column])
      var tally = Tally()
      try connection.pieces(
        of: "SELECT \(shown.identifier) FROM \(rows.table.qualified) AS stored WHERE \(rows.table.machine) = $1",
        [.text(stream.owner.text)]
      ) { piece in
        for row in 0..<piece.count { tally.add(shown.value(piece, row, 0)) }
      }
      return tally
    }
  }

  /// Shows the values of all rows that a machine has in a table.
  private func eachPiece(
    of rows: SinkWriter, _ machine: MachineID, _ see: ([[Value]]) throws -> Void
  ) throws {
    let names = rows.columns.map(\.identifier).joined(separator: ", ")
    let sql = "SELECT \(names) FROM \(rows.table.qualified) AS stored WHERE \(rows.table.machine) = $1"
    try connection.pieces(of: sql, [.text(machine.text)]) { piece in
      try see((0..<piece.count).map { row in rows.columns.indices.map { rows.columns[$0].value(piece, row, $0) } })
    }
  }

  // MARK: Stray lines

  package func strayLines(_ stream: ReplicatedStream) throws -> Int {
    try strays(stream).reduce(0) { $0 + $1.count }
  }

  package func removeStrayLines(_ stream: ReplicatedStream) throws {
    for (number, keys) in try strays(stream).enumerated() {
      for first in Swift.stride(from: 0, to: keys.count, by: Self.linesOfRemoval) {
        try remove(Array(keys[first..<min(keys.count, first + Self.linesOfRemoval)]), number, stream)
      }
    }
  }

  /// For each of the stream's tables of lines the keys of those whose header is not there. A header and its lines are written in one
  /// transaction, so a line without its header is none that is on its way.
  private func strays(_ stream: ReplicatedStream) throws -> [[[Value]]] {
    guard !stream.schema.lines.isEmpty else { return [] }
    return try looking(at: stream) { source in
      try source.lines.map { lines in
        var keys: [[Value]] = []
        try eachPiece(of: lines.byKey, stream.machine) { keys += try source.strays($0, lines, connection) }
        return keys
      }
    }
  }

  /// Removes those of the lines that are stray still, while no events are merged that could bring their headers.
  private func remove(_ keys: [[Value]], _ number: Int, _ stream: ReplicatedStream) throws {
    try connection.transaction {
      try connection.query(
        "SELECT pg_advisory_xact_lock($1)", [.integer(Locks.events(of: stream.machine, stream.stream))])
      let source = try ReplicaSource(stream, in: place, connection)
      let lines = source.lines[number]
      let found = try lines.byKey.find(keys, machine: stream.machine, connection).compactMap { $0?.values }
      let strays = try source.strays(found, lines, connection)
      let versions = try lines.byKey.versions(strays, machine: stream.machine, connection)
      let feed = ChangeFeed(connection, now: now())
      try lines.byKey.delete(strays, versions: versions.map { $0!.version }, machine: stream.machine, feed)
      try feed.finish()
    }
  }

  // MARK: What a person has changed

  package func takeBackVersions(_ stream: ReplicatedStream, ids: [(key: [Value], localID: String)]) throws {
    try connection.transaction {
      try connection.query(
        "SELECT pg_advisory_xact_lock($1)", [.integer(Locks.events(of: stream.machine, stream.stream))])
      let source = try ReplicaSource(stream, in: place, connection)
      let keys = ids.map { source.key($0.key) }
      if source.written.contains(where: \.table.isTwoWay) {
        try connection.query("SELECT set_config('drover.writer', 'on', true)")
      }
      for writer in source.written { try writer.takeBackVersions(keys, machine: stream.machine, connection) }
      for lines in source.lines {
        try lines.byHeader.takeBackVersions(
          keys.map(lines.byHeader.converted(key:)), machine: stream.machine, connection)
      }
      try connection.query(
        "DELETE FROM drover_tombstone AS known USING \(GivenRows.entries()) WHERE \(GivenRows.isEntry(of: "known"))",
        [.text(stream.machine.text), .text(stream.stream.text), .texts(ids.map(\.localID))], operation: "write to")
      // Of a row that both sides edit the decision stays, and what it has seen of the machine goes.
      try connection.query(
        """
        UPDATE drover_row AS entry SET edge_epoch = NULL, edge_version = NULL, decided_epoch = NULL, decided_version = NULL
          FROM \(GivenRows.entries()) WHERE \(GivenRows.isEntry(of: "entry"))
        """,
        [.text(stream.machine.text), .text(TwoWayTables.name(stream.stream)), .texts(ids.map(\.localID))],
        operation: "write to")
    }
  }

  package func additions(to stream: ReplicatedStream) throws -> [String] {
    var additions: [String] = []
    for table in try tables(of: stream) {
      let rows = try connection.query(
        """
        SELECT 'the trigger ' || tgname FROM pg_trigger
         WHERE tgrelid = to_regclass($1) AND NOT tgisinternal AND tgenabled <> 'D' AND tgname NOT LIKE 'drover\\_%'
        UNION ALL SELECT 'the rule ' || rulename FROM pg_rewrite WHERE ev_class = to_regclass($1)
        UNION ALL SELECT 'the policy ' || polname FROM pg_policy WHERE polrelid = to_regclass($1)
        """, [.text(table)], isKept: false)
      additions += (0..<rows.count).map { rows.text($0, 0) }
    }
    return additions
  }

  package func fault(of stream: ReplicatedStream) throws -> String? {
    let names = ([stream.stream] + stream.schema.lines.map(\.table)).map { SQLName($0.text).text }
    return try connection.looking { () -> String? in
      let notes = SinkNotes(connection: connection)
      for (table, rows) in [(stream.stream, stream.schema)] + stream.schema.lines.map({ ($0.table, $0.rows) }) {
        if let lack = try notes.lack(of: table, rows) { return lack }
      }
      let rows = try connection.query(
        """
        SELECT sink.stream, EXISTS (
          SELECT 1 FROM pg_index AS own
           WHERE own.indrelid = present.oid AND own.indisunique AND own.indisvalid AND own.indimmediate
             AND own.indpred IS NULL AND own.indexprs IS NULL
             AND (SELECT array_agg(part.attname::text ORDER BY part.attname::text COLLATE "C") FROM pg_attribute AS part
                   WHERE part.attrelid = own.indrelid AND part.attnum = ANY ((own.indkey::int2[])[0:own.indnkeyatts - 1])) =
                 (SELECT array_agg(key.name ORDER BY key.name COLLATE "C")
                    FROM (SELECT column_name AS name FROM drover_sink_column WHERE sink = sink.name AND key_position IS NOT NULL
                          UNION ALL
                          SELECT CASE WHEN sink.form = 'table' AND EXISTS (
                                        SELECT 1 FROM drover_sink_column WHERE sink = sink.name AND name = 'machine_id')
                                      THEN 'drover_machine_id' ELSE 'machine_id' END) AS key))
          FROM drover_sink AS sink
          JOIN pg_class AS present ON present.relname = sink.table_name::name AND present.relnamespace = $2::text::regnamespace
         WHERE sink.name = ANY ($1::text[])
        """, [.texts(names), .text(place)], isKept: false)
      guard let row = (0..<rows.count).first(where: { !rows.boolean($0, 1) }) else { return nil }
      return
        "the sink table \(rows.text(row, 0)) has lost its primary key, so nothing can be written into it; the consumer makes it again within seconds"
    }
  }

  // MARK: Gaps

  package func gaps() throws -> [(stream: ReplicatedStream, gap: String)] {
    let open = try connection.looking {
      let rows = try connection.query(
        "SELECT machine_id, stream, gap FROM drover_gap WHERE gap IS DISTINCT FROM closed ORDER BY tried_at")
      return (0..<rows.count).map { (machine: rows.text($0, 0), stream: rows.text($0, 1), gap: rows.text($0, 2)) }
    }
    guard !open.isEmpty else { return [] }
    let streams = try streams()
    return open.compactMap { gap in
      streams.first { $0.machine.text == gap.machine && $0.stream.text == gap.stream }.map { ($0, gap.gap) }
    }
  }

  package func note(gap: String, isClosed: Bool, of stream: ReplicatedStream) throws {
    try connection.query(
      """
      UPDATE drover_gap SET tried_at = $4, closed = CASE WHEN $5 THEN $3 ELSE closed END
       WHERE machine_id = $1 AND stream = $2
      """,
      [.text(stream.machine.text), .text(stream.stream.text), .text(gap), .integer(now()), .boolean(isClosed)],
      operation: "write to")
  }

  // MARK: Notes

  package func note(_ finding: DriftFinding, failure: String?, of stream: MachineStream) throws {
    try connection.query(
      """
      INSERT INTO drover_check
             (machine_id, stream, checked_at, rows_at_edge, rows_in_cloud, drift, repaired, in_flight, failure)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
      ON CONFLICT (machine_id, stream) DO UPDATE
         SET checked_at = excluded.checked_at, rows_at_edge = excluded.rows_at_edge,
             rows_in_cloud = excluded.rows_in_cloud, drift = excluded.drift, repaired = excluded.repaired,
             in_flight = excluded.in_flight, failure = excluded.failure
      """,
      [
        .text(stream.machine.text), .text(stream.stream.text), .integer(now()), .integer(finding.rowsAtEdge),
        .integer(finding.rowsInCloud), .integer(finding.drift), .integer(finding.repaired),
        .integer(finding.inFlight), .text(failure?.withoutNUL),
      ], operation: "write to")
  }

  // MARK: One moment

  func looking<Result>(
    at stream: ReplicatedStream, _ body: (ReplicaSource) throws -> Result
  ) throws -> Result {
    try connection.looking(at: stream.stream.text, { try tables(of: stream) }) {
      try body(ReplicaSource(stream, in: place, connection))
    }
  }

  /// The tables that a look at a stream reads.
  private func tables(of stream: ReplicatedStream) throws -> [String] {
    let names = ([stream.stream] + stream.schema.lines.map(\.table)).map { SQLName($0.text).text }
    let rows = try connection.query(
      "SELECT table_name, name, stream FROM drover_sink WHERE name = ANY ($1::text[]) ORDER BY name", [.texts(names)])
    let isMatched = try MatchedSink.key(of: stream.stream, connection) != nil
    var tables = (0..<rows.count).map { rows.text($0, 0) }
    for row in 0..<rows.count where isMatched && rows.text(row, 1) == names[0] {
      tables.append(MatchedSink.heldName(of: rows.text(row, 2)))
    }
    return tables.map { "\(place).\(quoted($0))" }
  }
}
