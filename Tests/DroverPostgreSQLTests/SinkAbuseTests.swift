import DroverCore
import DroverPostgreSQL
import DroverTesting
import Testing

/// One thing that somebody did to one sink table stopped every stream of every machine.
@Suite(.ownThread) struct SinkAbuseTests {
  private final class Vandal: SinkVandal {
    private let connection: Connection

    init(_ database: TestDatabase) throws {
      connection = try database.connect()
      try connection.run("SET application_name = 'thoughtless'; SET idle_in_transaction_session_timeout = 0")
    }

    func run(_ sql: String) throws { try connection.run(sql) }
    func begin(_ sql: String) throws { try connection.run("BEGIN; \(sql)") }
    func end() throws { try connection.run("ROLLBACK") }

    func rows(_ sql: String) throws -> [String] {
      let rows = try connection.query(
        "SELECT concat_ws('|', VARIADIC ARRAY(SELECT value FROM json_each_text(row_to_json(found)))) FROM (\(sql)) AS found",
        isKept: false)
      return (0..<rows.count).map { rows.text($0, 0) }.sorted()
    }
  }

  @Test(arguments: SinkAbuse.all(for: .postgreSQL), [PostgreSQLCloudStore.Work.alone, .shared])
  func `what somebody does to a sink table holds back its own stream only, is told, and all is equal in the end`(
    abuse: SinkAbuse, work: PostgreSQLCloudStore.Work
  ) throws {
    let database = try TestServer.makeDatabase()
    let store = try PostgreSQLCloudStore(database.address, work: work)
    try SinkAbuseConformance(
      store: store, replica: PostgreSQLReplica(database.address), vandal: Vandal(database), kind: .postgreSQL
    ).check(abuse)
  }

  @Test(arguments: DeletedNotes.all(for: .postgreSQL))
  func `notes that somebody deletes are made again, or a comparison says what is missing`(notes: DeletedNotes) throws {
    let database = try TestServer.makeDatabase()
    try SinkNotesConformance(
      store: PostgreSQLCloudStore(database.address, work: .alone), replica: PostgreSQLReplica(database.address),
      vandal: Vandal(database)
    ).check(notes)
  }

  @Test(arguments: SinkProbeConformance.rules)
  func `an empty table that takes no row holds back the stream, and one that takes some refuses the others`(
    rule: SinkProbeConformance.Rule
  ) throws {
    let database = try TestServer.makeDatabase()
    try SinkProbeConformance(
      store: PostgreSQLCloudStore(database.address, work: .alone), vandal: Vandal(database), kind: .postgreSQL
    ).check(rule)
  }

  // Rows that a policy hides were taken for rows that are not there.
  @Test func `rows that a policy hides from the consumer block their stream, and are not taken for missing`() throws {
    let database = try TestServer.makeDatabase()
    let role = "tenant_\(database.name)"
    try database.connect().run(
      "CREATE ROLE \(role) LOGIN; ALTER DATABASE \(database.name) OWNER TO \(role); ALTER SCHEMA public OWNER TO \(role)"
    )
    let uri = try TestServer.uri(database.name).replacing("//drover@", with: "//\(role)@")
    let store = try PostgreSQLCloudStore(PostgreSQLAddress(uri: uri), work: .alone)
    try SinkAbuseConformance(
      store: store, replica: PostgreSQLReplica(database.address), vandal: Vandal(database), kind: .postgreSQL
    ).check(.rowSecurity)
  }
}
