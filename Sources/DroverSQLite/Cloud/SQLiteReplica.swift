// The replica as a comparison reads it: beside the consumer, on its own connection, which blocks no other in WAL mode.

package import DroverCore
import GRDB

package final class SQLiteReplica: Replica {
  let queue: DatabaseQueue
  private let now: () -> Int64

  /// - Throws: `CloudStoreError`.
  package init(path: String, now: @escaping () -> Int64 = SQLiteCloudStore.wallClock) throws {
    self.now = now
    var configuration = Configuration()
    configuration.busyMode = .timeout(10)
    configuration.label = "drover replica"
    do {
      queue = try DatabaseQueue(path: path, configuration: configuration)
      try CloudTables.migrator.migrate(queue)
    } catch let error as DatabaseError {
      throw CloudStoreError("open", path, error)
    }
  }

  package func streams() throws -> [ReplicatedStream] {
    try queue.read { try Self.streams($0) }
  }

  package func unreadable() throws -> [UnreadableStream] {
    try queue.read { database in
      try Self.described(database).filter { $0.schema == nil }.map {
        UnreadableStream($0.origin, isOnline: $0.isOnline)
      }
    }
  }

  static func streams(_ database: Database) throws -> [ReplicatedStream] {
    try described(database).compactMap { described in
      described.schema.map {
        ReplicatedStream(
          machine: described.origin.machine, stream: described.origin.stream, schema: $0, isOnline: described.isOnline)
      }
    }
  }

  /// What machines described last of streams with a table, also if the table is not noted any more. No schema: what the store keeps of it was changed.
  private static func described(
    _ database: Database
  ) throws -> [(origin: MachineStream, schema: StreamSchema?, isOnline: Bool)] {
    let rows = try Row.fetchAll(
      database,
      sql: """
        SELECT schema.machine_id, schema.stream, schema.schema_id, max(schema.described), machine.online
          FROM drover_schema AS schema
          LEFT JOIN drover_sink AS sink ON lower(sink.stream) = lower(schema.stream)
          JOIN drover_machine AS machine ON machine.machine_id = schema.machine_id
         WHERE ifnull(sink.form, 'table') = 'table'
         GROUP BY schema.machine_id, schema.stream ORDER BY schema.machine_id, schema.stream
        """)
    return try rows.map { row in
      let origin = MachineStream(machine: try MachineID(row["machine_id"]), stream: try StreamName(row["stream"]))
      let schema = try StreamSchema.read(
        SchemaID(text: row["schema_id"]), machine: origin.machine, stream: origin.stream, database)
      return (origin, schema, row["online"] as Int? == 1)
    }
  }

  package func count(_ stream: ReplicatedStream) throws -> Int {
    try queue.read { database in
      try Int.fetchOne(
        database,
        sql: "SELECT count(*) FROM \(source(stream, database).table) WHERE \(stream.schema.machineColumn) = ?",
        arguments: [stream.owner.text])!
    }
  }

  package func survey(_ stream: ReplicatedStream, _ see: ([Value], UInt64) throws -> Void) throws {
    try queue.read { database in
      let schema = stream.schema
      let source = try source(stream, database)
      let statement = try Statement(
        database, "SELECT \(source.columns) FROM \(source.table) WHERE \(schema.machineColumn) = ?1")
      statement.bind(stream.owner.text, at: 1)
      let lines = try Lines(stream, database)
      while try statement.step() {
        let key = schema.key.map { statement.value(Int32($0)) }
        try see(key, digest(statement, key: key, source, lines))
      }
    }
  }

  package func tally(_ stream: ReplicatedStream, column: Int) throws -> Tally {
    try queue.read { database in
      let source = try source(stream, database)
      let statement = try Statement(
        database,
        "SELECT \(quoted(stream.schema.columns[column].name)) FROM \(source.table) WHERE \(stream.schema.machineColumn) = ?1"
      )
      statement.bind(stream.owner.text, at: 1)
      var tally = Tally()
      while try statement.step() { tally.add(statement.value(0)) }
      return tally
    }
  }

  package func rows(_ stream: ReplicatedStream, keys: [[Value]]) throws -> [ReplicaRow?] {
    try queue.read { database in
      let schema = stream.schema
      let source = try source(stream, database)
      let isFinal = schema.completeWhen.map { "coalesce(\($0.text { quoted($0) }), 0)" } ?? "0"
      var isKey = schema.key.enumerated().map { "\(quoted(schema.columns[$1].name)) IS ?\($0 + 2)" }
      if !schema.tellsLives, try source.tellsLives(database, of: stream.stream) {
        isKey.append("\(StreamSchema.lifeColumn) = ''")
      }
      let statement = try Statement(
        database,
        """
        SELECT \(source.columns), \(isFinal) FROM \(source.table)
         WHERE \(schema.machineColumn) = ?1 AND \(isKey.joined(separator: " AND "))
        """)
      statement.bind(stream.owner.text, at: 1)
      let lines = try Lines(stream, database)
      let count = Int32(schema.columns.count)
      return try keys.map { key in
        for (index, value) in key.enumerated() { statement.bind(value, at: Int32(index + 2)) }
        defer { statement.reset() }
        guard try statement.step() else { return nil }
        let isFinal = statement.integer(count + (source.isMatched ? 3 : 2)) != 0
        return ReplicaRow(
          digest: try digest(statement, key: key, source, lines), epoch: statement.integer(count),
          version: statement.integer(count + 1), isFinal: isFinal,
          unit: isFinal && !schema.lines.isEmpty
            ? UnitDigest(header: (0..<count).map { statement.value($0) }, lines: try lines.rows(header: key)) : nil)
      }
    }
  }

  package func strayLines(_ stream: ReplicatedStream) throws -> Int {
    try queue.read { database in
      try stream.schema.lines.reduce(0) { count, lines in
        try count
          + Int.fetchOne(
            database, sql: "SELECT count(*) \(stray(lines, of: stream))", arguments: [stream.machine.text])!
      }
    }
  }

  package func removeStrayLines(_ stream: ReplicatedStream) throws {
    try queue.writeWithoutTransaction { database in
      try database.inTransaction(.immediate) {
        let feed = try ChangeFeed(database)
        try feed.begin(database, now: now())
        for lines in stream.schema.lines {
          let (rows, machine): (String, StatementArguments) = (stray(lines, of: stream), [stream.machine.text])
          if let table = feed.table(of: lines.table) {
            let key = [lines.rows.machineColumn] + lines.rows.key.map { quoted(lines.rows.columns[$0].name) }
            try database.execute(
              sql: table.burying(rows, key: key.map { "line.\($0)" }, version: "line.drover_version"),
              arguments: machine)
            table.counts.deletes += Int64(database.changesCount)
          }
          try database.execute(sql: "DELETE \(rows)", arguments: machine)
        }
        try feed.finish(database)
        return .commit
      }
    }
  }

  /// A header and its lines are written in one transaction, so a line without its header is none that is on its way.
  private func stray(_ lines: LineSchema, of stream: ReplicatedStream) -> String {
    let schema = stream.schema
    let isHeader = zip(schema.key, lines.references).map {
      "header.\(quoted(schema.columns[$0].name)) IS line.\(quoted(lines.rows.columns[$1].name))"
    }
    return """
      FROM \(quoted(lines.table.text)) AS line
       WHERE line.\(lines.rows.machineColumn) = ?1
         AND NOT EXISTS (SELECT 1 FROM \(quoted(stream.stream.text)) AS header
                          WHERE header.\(schema.machineColumn) = line.\(lines.rows.machineColumn) AND \(isHeader.joined(separator: " AND ")))
      """
  }

  package func takeBackVersions(_ stream: ReplicatedStream, ids: [(key: [Value], localID: String)]) throws {
    try queue.writeWithoutTransaction { database in
      try database.inTransaction(.immediate) {
        let schema = stream.schema
        if schema.flow.direction.goesDown {
          try database.execute(sql: "INSERT INTO drover_writer (id) VALUES (0)")
        }
        let isMatched = try MatchedSink(database: database, stream: stream.stream).key() != nil
        let tables = [stream.stream.text] + (isMatched ? ["drover_held_\(stream.stream.text)"] : [])
        let own = tables.map { ($0, schema.machineColumn, schema.key.map { schema.columns[$0].name }) }
        let lines = schema.lines.map { lines in
          (lines.table.text, lines.rows.machineColumn, lines.references.map { lines.rows.columns[$0].name })
        }
        for (table, machine, columns) in own + lines {
          let isRow = columns.enumerated().map { "\(quoted($1)) IS ?\($0 + 2)" }.joined(separator: " AND ")
          let update = try Statement(
            database,
            "UPDATE \(quoted(table)) SET drover_epoch = 0, drover_version = 0 WHERE \(machine) = ?1 AND \(isRow)")
          update.bind(stream.machine.text, at: 1)
          for (key, _) in ids {
            for (index, value) in key.enumerated() { update.bind(value, at: Int32(index + 2)) }
            try update.run()
          }
        }
        for (_, localID) in ids {
          try database.execute(
            sql: "DELETE FROM drover_tombstone WHERE machine_id = ? AND stream = ? AND local_id = ?",
            arguments: [stream.machine.text, stream.stream.text, localID])
          // Of a row that both sides edit the decision stays, and what it has seen of the machine goes.
          try database.execute(
            sql: """
              UPDATE drover_row SET edge_epoch = NULL, edge_version = NULL, decided_epoch = NULL, decided_version = NULL
               WHERE machine_id = ? AND stream = ? AND local_id = ?
              """, arguments: [stream.machine.text, stream.stream.text, localID])
        }
        try database.execute(sql: "DELETE FROM drover_writer")
        return .commit
      }
    }
  }

  package func additions(to stream: ReplicatedStream) throws -> [String] {
    try queue.read { database in
      try ([stream.stream] + stream.schema.lines.map(\.table)).flatMap { table in
        try String.fetchAll(
          database,
          sql:
            "SELECT 'the trigger ' || name FROM main.sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = lower(?) AND substr(name, 1, 12) <> '\(SinkCapture.prefix)'",
          arguments: [table.text])
      }
    }
  }

  package func fault(of stream: ReplicatedStream) throws -> String? {
    try queue.read { database in
      for (table, rows) in [(stream.stream, stream.schema)] + stream.schema.lines.map({ ($0.table, $0.rows) }) {
        let isNoted = try Bool.fetchOne(
          database, sql: "SELECT EXISTS (SELECT 1 FROM drover_sink WHERE lower(stream) = ?)",
          arguments: [SQLName(table.text).text])!
        guard isNoted else { return SinkNote.tableIsGone(table) }
        let life = SQLName(StreamSchema.lifeColumn)
        let key = try database.catalogue(of: table.text).filter { $0.keyPosition > 0 && $0.name != life }
          .sorted { $0.keyPosition < $1.keyPosition }.map(\.name)
        let wanted =
          [SQLName(rows.machineColumn)] + rows.key.map { SQLName(rows.columns[$0].name) }.filter { $0 != life }
        guard key == wanted else {
          return
            "the sink table \(table) is gone or has another key, so nothing can be written into it; the consumer makes it again within seconds"
        }
      }
      return nil
    }
  }

  package func gaps() throws -> [(stream: ReplicatedStream, gap: String)] {
    try queue.read { database in
      let rows = try Row.fetchAll(
        database,
        sql:
          "SELECT machine_id, stream, gap FROM drover_gap WHERE gap IS NOT closed ORDER BY tried_at, machine_id, stream"
      )
      guard !rows.isEmpty else { return [] }
      let streams = try Self.streams(database)
      return rows.compactMap { row in
        let (machine, name): (String, String) = (row["machine_id"], row["stream"])
        return streams.first { $0.machine.text == machine && $0.stream.text == name }.map { ($0, row["gap"]) }
      }
    }
  }

  package func note(gap: String, isClosed: Bool, of stream: ReplicatedStream) throws {
    try queue.write { database in
      try database.execute(
        sql: """
          UPDATE drover_gap SET tried_at = ?4, closed = iif(?5, ?3, closed) WHERE machine_id = ?1 AND stream = ?2
          """, arguments: [stream.machine.text, stream.stream.text, gap, now(), isClosed])
    }
  }

  package func note(_ finding: DriftFinding, failure: String?, of stream: MachineStream) throws {
    try queue.write { database in
      try database.execute(
        sql: """
          INSERT OR REPLACE INTO drover_check (machine_id, stream, checked_at, rows_at_edge, rows_in_cloud, drift, repaired, in_flight, failure)
          VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
          """,
        arguments: [
          stream.machine.text, stream.stream.text, now(), finding.rowsAtEdge, finding.rowsInCloud, finding.drift,
          finding.repaired, finding.inFlight, failure,
        ])
    }
  }

  /// Where a machine's own rows are read from.
  private struct Source {
    /// A table or a subquery, as it stands after FROM.
    var table: String
    /// The source's columns, then epoch and version; of a matched stream at last whether the sink shows the row's thing as it is.
    var columns: String
    var count: Int
    var isMatched: Bool

    func tellsLives(_ database: Database, of stream: StreamName) throws -> Bool {
      try !isMatched && database.catalogue(of: stream.text).contains { $0.name == SQLName(StreamSchema.lifeColumn) }
    }
  }

  private func source(_ stream: ReplicatedStream, _ database: Database) throws -> Source {
    let matched = MatchedSink(database: database, stream: stream.stream)
    let isMatched = try matched.key() != nil
    let names = stream.schema.columns.map { quoted($0.name) } + ["drover_epoch", "drover_version"]
    return Source(
      table: isMatched ? try matched.checkedRows() : quoted(stream.stream.text),
      columns: (names + (isMatched ? ["drover_is_shown"] : [])).joined(separator: ", "),
      count: stream.schema.columns.count, isMatched: isMatched)
  }

  private func digest(_ statement: Statement, key: [Value], _ source: Source, _ lines: Lines) throws -> UInt64 {
    var digest = Digest()
    for index in 0..<source.count { statement.digest(Int32(index), into: &digest) }
    // Equal to no row of the machine, so that the machine re-sends it and the sink's row is rebuilt.
    if source.isMatched, statement.integer(Int32(source.count + 2)) == 0 { digest.combineNull() }
    try lines.combine(header: key, into: &digest)
    return digest.state
  }
}

/// The lines that travel with a stream's headers.
private struct Lines {
  private let tables: [(schema: LineSchema, select: Statement)]

  init(_ stream: ReplicatedStream, _ database: Database) throws {
    tables = try stream.schema.lines.map { lines in
      let columns = lines.rows.columns.map { quoted($0.name) }
      let ofHeader = lines.references.enumerated().map { "\(columns[$1]) IS ?\($0 + 2)" }
      let select = try Statement(
        database,
        """
        SELECT \(columns.joined(separator: ", ")) FROM \(quoted(lines.table.text))
         WHERE \(lines.rows.machineColumn) = ?1 AND \(ofHeader.joined(separator: " AND "))
        """)
      select.bind(stream.machine.text, at: 1)
      return (lines, select)
    }
  }

  func combine(header key: [Value], into digest: inout Digest) throws {
    for rows in try rows(header: key) { digest.combine(lines: rows) }
  }

  /// For each table the lines of a header.
  func rows(header key: [Value]) throws -> [[[Value]]] {
    try tables.map { schema, select in
      for (index, value) in key.enumerated() { select.bind(value, at: Int32(index + 2)) }
      defer { select.reset() }
      var rows: [[Value]] = []
      while try select.step() {
        let row = schema.rows.columns.indices.map { select.value(Int32($0)) }
        if schema.header(of: row) == key { rows.append(row) }
      }
      return rows
    }
  }
}
