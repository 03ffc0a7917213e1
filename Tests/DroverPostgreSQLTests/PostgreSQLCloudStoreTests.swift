import DroverCore
import DroverPostgreSQL
import DroverTesting
import Testing

/// The cloud's store in PostgreSQL: what every store must hold, and what is this one's own.
@Suite(.ownThread) struct PostgreSQLCloudStoreTests {
  @Test(arguments: CloudStoreConformance.rows)
  func `rows and tombstones: it holds what every store must`(claim: CloudStoreConformance.Claim) throws {
    try check(claim)
  }

  @Test(arguments: CloudStoreConformance.descriptions)
  func `descriptions and sink tables: it holds what every store must`(claim: CloudStoreConformance.Claim) throws {
    try check(claim)
  }

  @Test(arguments: CloudStoreConformance.received)
  func `what was received, epochs and records: it holds what every store must`(claim: CloudStoreConformance.Claim)
    throws
  { try check(claim) }

  @Test(arguments: CloudStoreConformance.deadLetters)
  func `dead letters: it holds what every store must`(claim: CloudStoreConformance.Claim) throws { try check(claim) }

  @Test(arguments: CloudStoreConformance.wholeTransactions)
  func `whole transactions: it holds what every store must`(claim: CloudStoreConformance.Claim) throws {
    try check(claim)
  }

  private func check(_ claim: CloudStoreConformance.Claim) throws {
    let suite = CloudStoreConformance { conditions in
      let database = try TestServer.makeDatabase()
      return (try store(database, conditions), Reader(database: database))
    }
    try suite.check(claim)
  }

  // A table that is added later is one that `drover forget` has to know.
  @Test
  func `every table that names machines goes with a machine that is forgotten, but for the account of dead letters`()
    throws
  {
    let database = try TestServer.makeDatabase()
    let store = try store(database)
    defer { withExtendedLifetime(store) {} }
    let rows = try database.connect().query(
      "SELECT table_name::text FROM information_schema.columns WHERE column_name = 'machine_id' AND table_schema = 'public'"
    )
    #expect(
      Set((0..<rows.count).map { rows.text($0, 0) })
        == Set(ForgottenMachines.bookkeeping + ForgottenMachines.ofRows).union([
          "drover_dead_letter", "drover_dead_use", "drover_dead_dropped",
        ]))
  }

  private func store(
    _ database: TestDatabase, _ conditions: CloudStoreConditions = CloudStoreConditions()
  ) throws -> PostgreSQLCloudStore {
    try PostgreSQLCloudStore(
      database.address,
      limits: conditions.limits,
      now: conditions.now)
  }
}

/// Reads by the names that Drover has noted for a source's columns, and by PostgreSQL's own types.
struct Reader: SinkReader {
  let database: TestDatabase
  /// Columns that the claims do not know of.
  var hidden: Set<String> = []

  private struct Column {
    var name: String
    var identifier: String
    var affinity: Affinity
  }

  func rows(of table: String) throws -> [[String: Value]] {
    let connection = try database.connect()
    let columns = try columns(of: table, connection)
    let rows = try connection.query(
      "SELECT \(columns.map { quoted($0.identifier) }.joined(separator: ", ")) FROM \(quoted(try name(of: table, connection)))"
    )
    return (0..<rows.count).map { row in
      Dictionary(
        uniqueKeysWithValues: columns.enumerated().map { ($1.name, value(rows, row, $0, $1.affinity)) })
    }
  }

  func columns(of table: String) throws -> [String] { try columns(of: table, database.connect()).map(\.name) }

  private func columns(of table: String, _ connection: Connection) throws -> [Column] {
    let rows = try connection.query(
      """
      SELECT attname::text, coalesce(source_name, attname::text), coalesce(declared_type, 'TEXT'), atttypid = 20
        FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid AND relname = $2::text::name AND relnamespace = 'public'::regnamespace
        LEFT JOIN drover_sink_column ON sink = $1 AND column_name = attname::text
       WHERE attnum > 0 AND NOT attisdropped ORDER BY attnum
      """, [.text(SQLName(table).text), .text(try name(of: table, connection))])
    return (0..<rows.count).filter { !hidden.contains(rows.text($0, 1)) }.map {
      Column(
        name: rows.text($0, 1), identifier: rows.text($0, 0),
        affinity: DroverCore.Column(name: "", declaredType: rows.text($0, 2)).affinity)
    }
  }

  private func name(of table: String, _ connection: Connection) throws -> String {
    let rows = try connection.query(
      "SELECT table_name FROM drover_sink WHERE name = $1", [.text(SQLName(table).text)])
    return rows.count == 0 ? table : rows.text(0, 0)
  }

  private func value(_ rows: Rows, _ row: Int, _ column: Int, _ affinity: Affinity) -> Value {
    guard !rows.isNull(row, column) else { return .null }
    let bytes = rows.bytes(row, column)[...]
    switch rows.type(column)! {
    case .bigint, .boolean: return .integer(rows.integer(row, column))
    case .double: return affinity.converting(.real(Double(bitPattern: UInt64(bitPattern: rows.integer(row, column)))))
    case .text: return affinity.converting(.text(bytes))
    case .bytea: return .blob(bytes)
    case .json: return affinity == .blob ? JSONColumn.value(of: bytes) : .text(bytes)
    case .jsonb: return JSONColumn.value(of: bytes.dropFirst())
    }
  }

  func deadLetters() throws -> [KeptDeadLetter] {
    let rows = try database.connect().query(
      "SELECT topic, machine_id, stream, reason, detail, raw, bytes, count FROM drover_dead_letter ORDER BY id")
    return (0..<rows.count).map { row in
      KeptDeadLetter(
        topic: rows.text(row, 0), machine: rows.optionalText(row, 1), stream: rows.optionalText(row, 2),
        reason: rows.text(row, 3), detail: rows.text(row, 4), raw: rows.bytes(row, 5), bytes: Int(rows.integer(row, 6)),
        count: Int(rows.integer(row, 7)))
    }
  }

  func makeForeignTable(_ name: String) throws {
    try database.connect().run("CREATE TABLE \(quoted(name)) (mine text)")
  }
}
