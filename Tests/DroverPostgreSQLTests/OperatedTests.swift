// PostgreSQL as it is operated: poolers, search paths, roles with few rights, tables that were empty when statements were prepared.

import DroverCore
import DroverPostgreSQL
import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.ownThread) struct OperatedTests {
  // MARK: Plans

  /// 12,000 receipts took 70 s: the plan for a header's lines was made when the table was empty, and read all lines of the machine for each.
  @Test func `a statement that was prepared for an empty table finds rows by their index when the table is full`()
    throws
  {
    let database = try TestServer.makeDatabase()
    let connection = try database.connect()
    try connection.run(
      """
      CREATE TABLE line (machine_id text COLLATE "C", id bigint, header bigint, version bigint, PRIMARY KEY (machine_id, id));
      CREATE INDEX line_header ON line (machine_id, header)
      """)
    let sql = """
      DELETE FROM line USING unnest($2::bigint[]) AS given (header)
       WHERE line.machine_id = $1 AND line.header = given.header AND version < 0
      """
    for header in 1...10 { try connection.query(sql, [.text("M"), .integers([Int64(header)])]) }
    try connection.run("INSERT INTO line SELECT 'M', i, i / 3, i FROM generate_series(1, 20000) AS i")
    let name = try connection.query("SELECT name FROM pg_prepared_statements WHERE statement = $1", [.text(sql)])
    let plan = try connection.query("EXPLAIN EXECUTE \(name.text(0, 0))('M', '{5}')", isKept: false)
    let text = (0..<plan.count).map { plan.text($0, 0) }.joined(separator: "\n")
    #expect(text.contains("line_header") && text.contains("header = given.header"), "\(text)")
  }

  // MARK: Poolers

  /// In transaction mode every consumer's locks, settings and prepared statements came to whoever was next.
  @Test(.enabled(if: Bouncer.program != nil), arguments: ["transaction", "statement"])
  func `a pooler that shares connections is refused, with what to set`(mode: String) throws {
    let server = try PostgreSQLServer()
    let bouncer = try Bouncer(server, mode: mode)
    #expect {
      _ = try PostgreSQLCloudStore(bouncer.address)
    } throws: { "\($0)".contains("pool_mode=session") && "\($0)".hasPrefix("connect to ") }
    // Nothing was set that the next client would get.
    let setting = try Connection(PostgreSQLAddress(uri: server.uri())).query(
      "SELECT count(*) FROM pg_class WHERE relname LIKE 'drover%'")
    #expect(setting.integer(0, 0) == 0)
  }

  @Test(.enabled(if: Bouncer.program != nil))
  func `a pooler that keeps a connection for each client is none to notice`() throws {
    let server = try PostgreSQLServer()
    let bouncer = try Bouncer(server, mode: "session")
    let store = try PostgreSQLCloudStore(bouncer.address, work: .alone)
    try store.transaction { try $0.setSession("one") }
    #expect(try store.transaction { try $0.session() } == "one")
  }

  /// The same without a pooler: what one leaves behind is that prepared statements are gone.
  @Test func `prepared statements that are gone are told as a pooler's doing`() throws {
    let database = try TestServer.makeDatabase()
    let connection = try database.connect()
    try connection.query("SELECT $1::bigint", [.integer(1)])
    try connection.run("DEALLOCATE ALL")
    #expect { try connection.query("SELECT $1::bigint", [.integer(1)]) } throws: {
      "\($0)".contains("pool_mode=session")
    }
  }

  // MARK: Schemas

  private func tables(in schema: String, _ database: TestDatabase) throws -> Int64 {
    try database.connect().query(
      "SELECT count(*) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = $1",
      [.text(schema)]
    ).integer(0, 0)
  }

  /// A schema of the user's own name stands before `public` in the search path: the next start made a second, empty store there.
  @Test func `a schema that appears in front of the search path makes no second store`() throws {
    let database = try TestServer.makeDatabase()
    let first = try PostgreSQLCloudStore(database.address)
    try first.transaction { try $0.setSession("one") }
    try database.connect().run("CREATE SCHEMA \(PostgreSQLServer.user)")
    #expect(try first.transaction { try $0.session() } == "one")
    let second = try PostgreSQLCloudStore(database.address)
    #expect(try second.transaction { try $0.session() } == "one")
    let schema = try StreamSchema(
      kind: .snapshot, columns: [Column(name: "id", declaredType: "INTEGER")], key: [0])
    let machine = try MachineID("M")
    try second.transaction {
      try $0.heard(machine: machine, epoch: nil)
      _ = try $0.adopt(schema, machine: machine, stream: StreamName("stock"))
    }
    #expect(try PostgreSQLReplica(database.address).streams().count == 1)
    #expect(try tables(in: PostgreSQLServer.user, database) == 0)
  }

  @Test func `a search path that leaves the store out is refused, with the store's schema`() throws {
    let database = try TestServer.makeDatabase()
    _ = try PostgreSQLCloudStore(database.address)
    try database.connect().run("CREATE SCHEMA other")
    let elsewhere = PostgreSQLAddress(uri: try TestServer.uri(database.name) + "?options=-csearch_path%3Dother")
    #expect { _ = try PostgreSQLCloudStore(elsewhere) } throws: {
      "\($0)".contains("its store is in schema public") && "\($0)".contains("search_path")
    }
    #expect(try tables(in: "other", database) == 0)
  }

  @Test func `a store whose schema is renamed while a consumer works is not made anew`() throws {
    let database = try TestServer.makeDatabase()
    let store = try PostgreSQLCloudStore(database.address)
    try store.transaction { try $0.setSession("one") }
    try database.connect().run("ALTER SCHEMA public RENAME TO moved; CREATE SCHEMA public")
    try database.connect().query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    #expect { try store.transaction { try $0.session() } } throws: { "\($0)".contains("moved") }
    #expect(try tables(in: "public", database) == 0)
    try database.connect().run("DROP SCHEMA public; ALTER SCHEMA moved RENAME TO public")
    #expect(try store.transaction { try $0.session() } == "one")
  }

  // MARK: Rights

  @Test func `what the store's user may not do is found, with what grants it`() throws {
    let database = try TestServer.makeDatabase()
    let owner = try database.connect()
    try owner.run(
      """
      DO $$ BEGIN CREATE ROLE poor LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
      REVOKE CREATE ON SCHEMA public FROM PUBLIC; REVOKE TEMPORARY ON DATABASE \(database.name) FROM PUBLIC
      """)
    let uri = try TestServer.uri(database.name).replacing("//\(PostgreSQLServer.user)@", with: "//poor@")
    let poor = PostgreSQLAddress(uri: uri)
    #expect(
      try StoreRights.lacking(at: poor).map(\.grant) == [
        "GRANT CREATE ON SCHEMA \"public\" TO \"poor\"", "GRANT TEMPORARY ON DATABASE \"\(database.name)\" TO \"poor\"",
      ])
    for lack in try StoreRights.lacking(at: poor) { try owner.run(lack.grant) }
    #expect(try StoreRights.lacking(at: poor) == [])
    // A store that another user has made.
    _ = try PostgreSQLCloudStore(database.address)
    try owner.run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO poor")
    #expect(try StoreRights.lacking(at: poor).map(\.grant).first?.contains("OWNER TO") == true)
  }
}

/// A pgbouncer before a server.
private final class Bouncer {
  static let program = (["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"] as [String]).first { access($0, X_OK) == 0 }

  private struct NotStarted: Error, CustomStringConvertible { let description: String }

  let address: PostgreSQLAddress
  private let folder: TemporaryFolder
  private let process: ChildProcess

  init(_ server: PostgreSQLServer, mode: String) throws {
    folder = try TemporaryFolder()
    let (port, uri) = (Loopback.freePort(), server.uri())
    let host = uri.split(separator: "@")[1].split(separator: "/")[0].replacing("%2F", with: "/")
    try folder.write(
      """
      [databases]
      * = host=\(host) user=\(PostgreSQLServer.user)
      [pgbouncer]
      listen_port = \(port)
      unix_socket_dir = \(folder.path)
      auth_type = any
      pool_mode = \(mode)
      """, to: "bouncer.ini")
    var words = [folder.file("bouncer.ini")]
    var program = Self.program!
    // It refuses to be root's.
    if geteuid() == 0, let owner = getpwnam("postgres") {
      for path in [folder.path, words[0]] { chown(path, owner.pointee.pw_uid, owner.pointee.pw_gid) }
      words =
        ["--reuid", "\(owner.pointee.pw_uid)", "--regid", "\(owner.pointee.pw_gid)", "--clear-groups", "--", program]
        + words
      program = "setpriv"
    }
    process = try ChildProcess(program, words, errorsTo: folder.file("bouncer.log"))
    address = PostgreSQLAddress(
      uri: "postgresql://\(PostgreSQLServer.user)@\(folder.path.replacing("/", with: "%2F"))/postgres?port=\(port)")
    // Its socket is there before it listens.
    for _ in 0..<500 where !folder.read("bouncer.log").contains("process up") {
      guard process.isRunning else { throw NotStarted(description: folder.read("bouncer.log")) }
      _ = poll(nil, 0, 20)
    }
  }

  deinit { process.end(SIGTERM) }
}
