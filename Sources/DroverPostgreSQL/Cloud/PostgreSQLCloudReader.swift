// What people see of a store in PostgreSQL. Every question has a connection of its own that can only read, and sees one moment. It holds up
// only a change of the form of a table that is being read.

package import DroverCore

package struct PostgreSQLCloudReader: CloudReader {
  private let address: PostgreSQLAddress

  package init(_ address: PostgreSQLAddress) { self.address = address }

  package var name: String { address.subject }

  package func workers() throws -> [Worker] { try looking { try Consumers(connection: $0).workers() } ?? [] }

  package func report(_ scope: ReportScope) throws -> CloudReport? {
    try looking { try ReportTables(connection: $0, scope: scope).report() }
  }

  package func waitingSchemas() throws -> [WaitingSchema] { try looking(waitingSchemas) ?? [] }

  /// A server locks tables and rows.
  package func storeLock() -> StoreLock? { nil }

  package func blockedSinks() throws -> [BlockedSink] { try looking(BlockedTable.all) ?? [] }

  package func captureFaults() throws -> [CaptureFault] {
    try looking { connection in try Capture.faults(in: connection.place(), connection) } ?? []
  }

  package func refusals(_ filter: RefusalFilter, after id: Int64, limit: Int) throws -> RefusalList {
    try looking { try RefusedRowTable(connection: $0).list(filter, after: id, limit: limit) } ?? RefusalList()
  }

  package func sinks() throws -> [SinkDescription] {
    try looking { try NotedSink.all($0).map(\.description) } ?? []
  }

  package func latestSchemas() throws -> [ReplicatedStream] { try looking(PostgreSQLReplica.streams) ?? [] }

  package func readRows(of stream: StreamName?, _ take: (SinkDescription, SinkRow) throws -> Void) throws {
    guard let connection = try Connection(lookingAt: address) else { return }
    // The reader of the rows has limits of its own.
    try connection.run("SET idle_in_transaction_session_timeout = 0")
    let place = try connection.place()
    func wanted() throws -> [NotedSink] {
      try NotedSink.all(connection).filter { stream == nil || $0.stream == stream || $0.description.header == stream }
    }
    try connection.looking(
      at: stream?.text ?? "the replica", { try wanted().map { "\(place).\(quoted($0.table))" } },
      { for sink in try wanted() { try sink.readRows(in: place, connection) { try take(sink.description, $0) } } })
  }

  private func looking<Result>(_ body: (Connection) throws -> Result) throws -> Result? {
    guard let connection = try Connection(lookingAt: address) else { return nil }
    return try connection.looking { try body(connection) }
  }

  // MARK: Schemas

  private func waitingSchemas(_ connection: Connection) throws -> [WaitingSchema] {
    let present = Dictionary(
      try NotedSink.all(connection).map { ($0.name, $0.columns.map { SQLName($0.name) }) }
    ) { first, _ in first }
    return try SchemaTables(connection: connection).waiting().map { waiting in
      guard let schema = waiting.schema else {
        return WaitingSchema(
          machine: waiting.machine, stream: waiting.stream, reason: waiting.reason, since: waiting.since, added: [],
          missing: [])
      }
      let present = present[SQLName(waiting.stream.text)] ?? []
      let named = Set(schema.columns.map { SQLName($0.name) })
      return WaitingSchema(
        machine: waiting.machine, stream: waiting.stream, reason: waiting.reason, since: waiting.since,
        added: schema.columns.map(\.name).filter { !present.contains(SQLName($0)) },
        missing: present.filter { !named.contains($0) }.map(\.text))
    }
  }
}

/// A sink table that is there, as Drover has noted it.
struct NotedSink {
  /// The stream's.
  let name: SQLName
  let stream: StreamName
  let table: String
  let description: SinkDescription
  /// The source's, as the table has them: those of all machines together.
  let columns: [Column]

  /// By the stream.
  static func all(_ connection: Connection) throws -> [NotedSink] {
    let rows = try connection.query(
      """
      SELECT sink.stream, sink.table_name, sink.kind, sink.form, sink.header, own.source_name, own.declared_type, own.key_position
        FROM drover_sink AS sink
        JOIN pg_class AS present ON present.relname = sink.table_name::name
                                AND present.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
        JOIN pg_attribute AS part ON part.attrelid = present.oid AND part.attnum > 0 AND NOT part.attisdropped
        JOIN drover_sink_column AS own ON own.sink = sink.name AND own.column_name = part.attname::text
       ORDER BY sink.stream, part.attnum
      """)
    let sinks = Dictionary(grouping: 0..<rows.count) { ExactText(rows.text($0, 0)) }.values.sorted { $0[0] < $1[0] }
    // A person may have written into what is noted: of such a table nothing is shown.
    return sinks.compactMap { try? NotedSink(rows, $0) }
  }

  /// - Parameter places: the rows of one sink, a column each.
  private init(_ rows: Rows, _ places: [Int]) throws {
    let first = places[0]
    stream = try StreamName(rows.text(first, 0))
    name = SQLName(stream.text)
    table = rows.text(first, 1)
    columns = places.map { Column(name: rows.text($0, 5), declaredType: rows.text($0, 6).unescaped) }
    let key = places.indices.compactMap { index in rows.optionalInteger(places[index], 7).map { ($0, index) } }
      .sorted { $0.0 < $1.0 }.map(\.1)
    let kind = Kind(rawValue: rows.text(first, 2))!
    description = try SinkDescription(
      stream: stream, kind: kind, header: rows.optionalText(first, 4).map { try StreamName($0) },
      schema: rows.text(first, 3) == "table" ? StreamSchema(kind: kind, columns: columns, key: key) : nil)
  }

  // MARK: Rows

  /// Shows every row of the table, within a transaction that keeps its form.
  func readRows(in place: String, _ connection: Connection, _ take: (SinkRow) throws -> Void) throws {
    let table = try SinkTable.read(stream, in: place, connection)!
    let columns = try columns(in: table)
    try connection.pieces(of: "SELECT \(Self.selection(table, columns)) FROM \(table.qualified)") { piece in
      for row in 0..<piece.count {
        try self.row(piece, row, from: 0, columns).map(take)
      }
    }
  }

  /// The source's columns as the table holds them.
  func columns(in table: SinkTable) throws -> [SinkColumn] { try columns.map { try table.need(SQLName($0.name)) } }

  /// What `row` reads.
  static func selection(_ table: SinkTable, _ columns: [SinkColumn]) -> String {
    ([table.machine, "drover_version"] + columns.map(\.identifier)).joined(separator: ", ")
  }

  /// A row of the table; nil for one that is none of Drover's.
  /// - Parameter first: the column with which the selection begins.
  func row(_ rows: Rows, _ row: Int, from first: Int, _ columns: [SinkColumn]) -> SinkRow? {
    content(columns.indices.map { columns[$0].value(rows, row, first + 2 + $0) }).map {
      SinkRow(machine: rows.text(row, first), version: rows.integer(row, first + 1), content: $0)
    }
  }

  /// A body that is no text is none of Drover's.
  private func content(_ values: [Value]) -> SinkRow.Content? {
    guard description.schema == nil else { return .values(values) }
    guard case .text(let id) = values[0], case .text(let body) = values[2] else { return nil }
    var occurredAt: String?
    if case .text(let time) = values[1] { occurredAt = String(decoding: time, as: UTF8.self) }
    return .body(localID: String(decoding: id, as: UTF8.self), occurredAt: occurredAt, text: Array(body))
  }
}
