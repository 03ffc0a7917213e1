// What a comparison reads of a machine's stream: its own rows, as the machine has them, and the lines that travel with them.

import DroverCore

struct ReplicaSource {
  /// The table with each machine's own rows. Of a matched stream the last column says whether the sink shows the row's thing as it is.
  let rows: SinkWriter
  let lines: [ReplicaLines]
  /// The tables in which the stream's rows stand, to be written.
  let written: [SinkWriter]
  private let isMatched: Bool
  private let own: StreamSchema
  /// The same as the table holds it.
  private let schema: StreamSchema
  private let machine: MachineID

  /// For tables that are there.
  init(_ stream: ReplicatedStream, in place: String, _ connection: Connection) throws {
    machine = stream.machine
    let sink = try Self.table(of: stream.stream, holding: stream.schema, in: place, connection)
    // Of a machine that has used no key again all rows are the first of their keys.
    own = stream.schema
    schema = sink.shape.tellsLives ? own.tellingLives() : own
    isMatched = try MatchedSink.key(of: stream.stream, connection) != nil
    let names = schema.columns.map { SQLName($0.name) }
    rows =
      isMatched
      ? try SinkWriter(
        try Self.checked(sink, stream.stream, in: place, connection), names: names + [Self.isShown.name],
        key: schema.key)
      : try SinkWriter(sink, names: names, key: schema.key)
    let held =
      isMatched
      ? [
        try SinkTable.read(
          MatchedSink.heldName(of: sink.stream), of: sink.stream, sink: SQLName(sink.stream).text, form: sink.form,
          in: place, connection)
      ] : []
    let key = schema.key
    written = try ([sink] + held).map { try SinkWriter($0, names: names, key: key) }
    lines = try schema.lines.map {
      try ReplicaLines($0, table: try Self.table(of: $0.table, holding: $0.rows, in: place, connection))
    }
  }

  /// The key of one of the machine's rows, as the table holds it.
  func key(_ key: [Value]) -> [Value] {
    rows.converted(key: schema.tellsLives && !own.tellsLives ? key + [StreamSchema.firstLife] : key)
  }

  private static func table(
    of stream: StreamName, holding schema: StreamSchema, in place: String, _ connection: Connection
  ) throws -> SinkTable {
    guard let table = try SinkTable.read(stream, in: place, connection), table.shape.lacking(schema).isEmpty else {
      throw PostgreSQLError(
        operation: "read", subject: connection.subject,
        cause: "the sink table \(stream) does not exist, or lacks columns of the machine; add them again",
        state: "42P16")
    }
    return table
  }

  // MARK: Matched rows

  private static let isShown = SinkColumn(
    name: SQLName("drover_is_shown"), identifier: "drover_is_shown", affinity: .integer, type: .boolean)

  /// What the machines hold, as a subquery that can be read like a table; `drover_is_shown` is false where the sink's row is not what its
  /// thing's newest row is. A row of the sink that no machine holds is there too.
  private static func checked(
    _ sink: SinkTable, _ stream: StreamName, in place: String, _ connection: Connection
  ) throws -> SinkTable {
    let held = "\(place).\(quoted(MatchedSink.heldName(of: sink.stream)))"
    let key = [sink.machine] + sink.key.map { sink.column($0)!.identifier }
    let names = [sink.machine] + sink.columns.map(\.identifier) + ["drover_epoch", "drover_version"]
    let isMember = key.map { "shown.\($0) = member.\($0)" }.joined(separator: " AND ")
    let subquery = """
      (SELECT \(list(names, of: "held")), (
              EXISTS (SELECT 1 FROM \(held) AS newer
                       WHERE newer.drover_thing = held.drover_thing
                         AND (newer.drover_rank > held.drover_rank
                              OR newer.drover_rank = held.drover_rank AND newer.\(sink.machine) < held.\(sink.machine)))
              OR EXISTS (SELECT 1 FROM \(held) AS member JOIN \(sink.qualified) AS shown ON \(isMember)
                          WHERE member.drover_thing = held.drover_thing
                            AND ROW (\(exactly(sink, of: "shown"))) IS NOT DISTINCT FROM ROW (\(exactly(sink, of: "held"))))
              ) AS \(isShown.identifier)
         FROM \(held) AS held
       UNION ALL
       SELECT \(list(names, of: "shown")), true FROM \(sink.qualified) AS shown
        WHERE NOT EXISTS (SELECT 1 FROM \(held) AS member WHERE \(isMember)))
      """
    return SinkTable(
      stream: sink.stream, name: sink.name, qualified: subquery, form: sink.form, machine: sink.machine,
      columns: sink.columns + [isShown],
      key: sink.key, shape: TableShape(names: sink.columns.map(\.name), key: sink.shape.key), feed: nil)
  }

  private static func list(_ names: [String], of table: String) -> String {
    names.map { "\(table).\($0)" }.joined(separator: ", ")
  }

  /// All but the key, as texts where two that are equal may not be the same: 0.0 and -0.0, and in jsonb 1 and 1.0.
  private static func exactly(_ sink: SinkTable, of table: String) -> String {
    let values = sink.columns.filter { !sink.key.contains($0.name) }.map { column in
      switch column.type {
      case .double, .json, .jsonb: "\(table).\(column.identifier)::text"
      case .boolean, .bytea, .bigint, .text: "\(table).\(column.identifier)"
      }
    }
    return (values + ["\(table).drover_epoch", "\(table).drover_version"]).joined(separator: ", ")
  }

  // MARK: Digests

  /// - Parameter rows: their values in the order of the columns of `rows`.
  func digests(_ rows: [[Value]], _ connection: Connection) throws -> [UInt64] {
    var digests = rows.map { Digest(of: $0.prefix(own.columns.count)) }
    if isMatched {
      // Equal to no row of the machine, so that the machine re-sends it and the sink's row is rebuilt.
      for (index, row) in rows.enumerated() where row.last == .integer(0) { digests[index].combineNull() }
    }
    let keys = rows.map { row in schema.key.map { row[$0] } }
    for lines in lines {
      for (index, lines) in try lines.find(headers: keys, machine, connection).enumerated() {
        digests[index].combine(lines: lines)
      }
    }
    return digests.map(\.state)
  }

  /// Row and lines of a header apart.
  func unit(_ row: [Value], _ connection: Connection) throws -> UnitDigest {
    let key = schema.key.map { row[$0] }
    return UnitDigest(
      header: row.prefix(schema.columns.count),
      lines: try lines.map { try $0.find(headers: [key], machine, connection)[0] })
  }

  // MARK: Stray lines

  /// The keys of those lines whose header is not there.
  func strays(_ rows: [[Value]], _ lines: ReplicaLines, _ connection: Connection) throws -> [[Value]] {
    let headers = rows.map { self.rows.converted(key: lines.schema.header(of: $0)) }
    let versions = try self.rows.versions(headers, machine: machine, connection)
    return zip(rows, versions).filter { $0.1 == nil }.map { lines.byKey.keyValues(of: $0.0) }
  }
}

/// The sink table of one child table.
struct ReplicaLines {
  let schema: LineSchema
  let byKey: SinkWriter
  let byHeader: SinkWriter

  init(_ schema: LineSchema, table: SinkTable) throws {
    self.schema = schema
    let names = schema.rows.columns.map { SQLName($0.name) }
    byKey = try SinkWriter(table, names: names, key: schema.rows.key)
    byHeader = try SinkWriter(table, names: names, key: schema.references)
  }

  /// For each header its lines.
  func find(headers: [[Value]], _ machine: MachineID, _ connection: Connection) throws -> [[[Value]]] {
    let found = try byHeader.findAll(headers.map(byHeader.converted(key:)), machine: machine, connection)
    return zip(headers, found).map { header, lines in
      lines.map(\.values).filter { schema.header(of: $0) == header }
    }
  }
}
