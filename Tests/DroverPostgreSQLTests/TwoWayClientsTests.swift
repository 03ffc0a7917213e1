import DroverCore
import DroverPostgreSQL
import DroverTesting
import Foundation
import Testing

/// SQL clients that edit a two-way table while consumers are at work on it.
@Suite struct TwoWayClientsTests {
  private static let stream = try! StreamName("stock")
  private static let machine = try! MachineID("MAH001")
  private static let other = try! MachineID("MAH002")
  private static let epoch = try! Epoch("aaaa")

  private static func schema(_ key: [(String, String)] = [("id", "INTEGER")], kind: Kind = .snapshot) throws
    -> StreamSchema
  {
    try StreamSchema(
      kind: kind, columns: (key + [("a", "TEXT")]).map { Column(name: $0.0, declaredType: $0.1) },
      key: Array(key.indices), flow: Flow(direction: .both))
  }

  private struct Scene {
    let database: TestDatabase
    let store: PostgreSQLCloudStore
    let client: Connection
    let otherClient: Connection

    init(work: PostgreSQLCloudStore.Work = .alone) throws {
      database = try TestServer.makeDatabase()
      store = try PostgreSQLCloudStore(database.address, work: work)
      client = try database.connect()
      otherClient = try database.connect()
      try adopt()
    }

    func adopt(_ machine: MachineID = TwoWayClientsTests.machine) throws {
      #expect(
        try store.transaction {
          try $0.adopt(TwoWayClientsTests.schema(), machine: machine, stream: TwoWayClientsTests.stream)
        } == nil)
    }

    @discardableResult
    func merge(
      _ version: Int64, _ key: Int64, _ text: String?, base: Int64 = 0, machine: MachineID = TwoWayClientsTests.machine
    ) throws -> MergeOutcome {
      try store.transaction { try Self.merge($0, version, key, text, base: base, machine: machine) }
    }

    static func merge(
      _ transaction: any CloudTransaction, _ version: Int64, _ key: Int64, _ text: String?, base: Int64 = 0,
      machine: MachineID = TwoWayClientsTests.machine
    ) throws -> MergeOutcome {
      var event = SinkEvent(
        seq: nil, localID: "\(key)", version: version, at: nil, key: [.integer(key)],
        content: text.map { .row([.integer(key), .text($0)]) } ?? .none, raw: [])
      event.ancestry = Ancestry(base: base)
      return try transaction.merge(
        [event], epoch: TwoWayClientsTests.epoch,
        into: Sink(
          machine: machine, stream: TwoWayClientsTests.stream, kind: .snapshot, schema: TwoWayClientsTests.schema()))[0]
    }

    @discardableResult
    func take(_ store: PostgreSQLCloudStore? = nil) throws -> (streams: Set<StreamName>, hasMore: Bool) {
      try (store ?? self.store).transaction { try $0.takeEdits(limit: 1000) }
    }

    /// What goes down, as `id text`, in the order of the numbers.
    func down(_ machine: MachineID = TwoWayClientsTests.machine) throws -> [String] {
      try store.transaction { transaction in

        let stream = try #require(try transaction.downStreams(of: machine).first)
        return try transaction.readDown(stream, after: 0, limit: 1000, maximumBytes: 1 << 20).entries.map { entry in
          guard case .row(let row) = entry.content, case .text(let text) = row[1] else { return "\(entry.key[0]) gone" }
          return "\(entry.key[0]) \(String(decoding: text, as: UTF8.self))"
        }
      }
    }

    func conflicts() throws -> [Conflict] {
      try PostgreSQLConflicts(database.address).conflicts(machine: nil, stream: nil, after: 0, limit: 100)
    }

    func text(_ key: Int64) throws -> String? {
      let rows = try otherClient.query("SELECT a FROM stock WHERE id = $1", [.integer(key)])
      return rows.count == 0 ? nil : rows.text(0, 0)
    }

    private static let waiting =
      "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

    /// Runs a statement while the store waits for a lock of the client's.
    func whileWaiting(_ sql: String, _ work: () throws -> Void) throws {
      nonisolated(unsafe) let client = client
      let watcher = try database.connect()
      nonisolated(unsafe) let watching = watcher
      let done = DispatchSemaphore(value: 0)
      Thread.detachNewThread {
        defer { done.signal() }
        do {
          while try watching.query(Self.waiting, isKept: false).integer(0, 0) == 0 { sched_yield() }
          try client.run(sql)
        } catch {
          Issue.record("\(error)")
        }
      }
      try work()
      done.wait()
    }
  }

  // MARK: Open transactions

  @Test func `an open transaction is waited for by nobody, and hides nothing that others have committed`() throws {
    let scene = try Scene()
    for key in 1...3 { try scene.merge(100, Int64(key), "edge") }
    try scene.client.run("UPDATE stock SET a = 'first' WHERE id = 1")
    // The row is locked again before its edit is taken, and an edit with a lower number is not committed.
    try scene.client.run("BEGIN; UPDATE stock SET a = 'second' WHERE id = 1; UPDATE stock SET a = 'late' WHERE id = 3")
    try scene.otherClient.run("UPDATE stock SET a = 'other' WHERE id = 2")
    #expect(try scene.take().streams == [Self.stream])
    #expect(try scene.down().map { $0.split(separator: " ").last! } == ["other"])
    #expect(try scene.take().streams == [])
    #expect(try scene.merge(110, 4, "new") == .applied, "an event of another row waits")
    try scene.client.run("COMMIT")
    #expect(try scene.take().streams == [Self.stream])
    #expect(try scene.down().map { $0.split(separator: " ").last! } == ["other", "second", "late"])
  }

  @Test func `an event of a row that a client has open waits, and after a rollback it is taken`() throws {
    let scene = try Scene()
    try scene.merge(100, 1, "edge")
    try scene.client.run("BEGIN; UPDATE stock SET a = 'cloud' WHERE id = 1")
    #expect(throws: SinkBlocked.self) { try scene.merge(110, 1, "edge too") }
    try scene.client.run("ROLLBACK")
    #expect(try scene.merge(110, 1, "edge too") == .applied)
    #expect(try scene.conflicts().isEmpty)
    #expect(try scene.text(1) == "edge too")
  }

  // Without the second look the event overwrites what the client has committed, and nobody hears of it.
  @Test(arguments: ["UPDATE stock SET a = 'cloud' WHERE id = 1", "DELETE FROM stock WHERE id = 1"])
  func `an edit that is committed while an event waits for its row is no less an edit`(edit: String) throws {
    let scene = try Scene(work: .beside)
    try scene.merge(100, 1, "edge")
    try scene.client.run("BEGIN; \(edit)")
    try scene.whileWaiting("COMMIT") { try scene.merge(110, 1, "edge too") }
    #expect(try scene.conflicts().count == 1)
    #expect(try scene.down().count == 1)
    #expect(try scene.take().streams == [])
  }

  @Test func `a row that is inserted while an event inserts the same is found, and loses its key`() throws {
    let scene = try Scene(work: .beside)
    try scene.client.run("BEGIN; INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 7, 'cloud')")
    try scene.whileWaiting("COMMIT") { try scene.merge(110, 7, "edge") }
    #expect(try scene.text(7) == "edge")
    #expect(try scene.conflicts().map(\.lost.value) == [[.integer(7), .text("cloud")]])
  }

  // MARK: Consumers of a group

  @Test func `edits of a stream that another consumer is at work on are left to it, and others are taken`() throws {
    let scene = try Scene(work: .shared)
    try scene.adopt(Self.other)
    let second = try PostgreSQLCloudStore(scene.database.address, work: .shared)
    try scene.store.transaction { transaction in
      _ = try Scene.merge(transaction, 100, 1, "edge")
      try scene.client.run("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 5, 'x'), ('MAH002', 5, 'y')")
      let taken = try scene.take(second)
      #expect(taken.streams == [Self.stream] && taken.hasMore)
    }
    #expect(try scene.down(Self.other) == ["\(Value.integer(5)) y"])
    #expect(try scene.down() == [])
    #expect(try scene.take(second).streams == [Self.stream])
    #expect(try scene.down() == ["\(Value.integer(5)) x"])
  }

  // MARK: Refusals and rights

  @Test func `TRUNCATE is refused, and the consumer's own writes are not captured`() throws {
    let scene = try Scene()
    try scene.merge(100, 1, "edge")
    #expect { try scene.client.run("TRUNCATE stock") } throws: { "\($0)".contains("drover: TRUNCATE") }
    #expect(try scene.client.query("SELECT count(*) FROM drover_edit").integer(0, 0) == 0)
    #expect(try scene.text(1) == "edge")
  }

  /// The statements of the page.
  private static func page() throws -> String {
    let page = try String(
      contentsOf: URL(filePath: #filePath).appending(path: "../../../docs/how-to/edit-in-postgresql.md").standardized,
      encoding: .utf8)
    return page.split(separator: "```sql\n").dropFirst().map { $0.split(separator: "```", maxSplits: 1)[0] }
      .joined(separator: "\n")
  }

  @Test func `the roles of the how-to guide may do what it says, and no more`() throws {
    let scene = try Scene()
    try scene.merge(100, 1, "edge")
    // Roles are the server's, and their names another test's too.
    let suffix = scene.database.name
    let statements = try Self.page().replacing("products", with: "stock").replacing(
      "lifecycle_stage, assessed_at", with: "a"
    )
    .replacing("url", with: "id").replacing("drover_reader", with: "reader_\(suffix)")
    .replacing("drover_editor", with: "editor_\(suffix)")
    try scene.client.run(statements)
    func attempt(_ role: String, _ sql: String) -> String? {
      do {
        try scene.client.run("SET ROLE \(role)_\(suffix)")
        defer { try? scene.client.run("RESET ROLE") }
        try scene.client.run(sql)
        return nil
      } catch {
        return "\(error)"
      }
    }
    #expect(attempt("reader", "SELECT * FROM stock") == nil)
    for refused in ["UPDATE stock SET a = 'x'", "DELETE FROM stock", "SELECT * FROM drover_edit"] {
      #expect(attempt("reader", refused)?.contains("permission denied") == true, "\(refused)")
    }
    #expect(attempt("editor", "UPDATE stock SET a = 'edited' WHERE id = 1") == nil)
    #expect(attempt("editor", "INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 2, 'made')") == nil)
    for refused in [
      "UPDATE stock SET drover_version = 9", "UPDATE stock SET machine_id = 'MAH002'", "TRUNCATE stock",
      "INSERT INTO stock (machine_id, id, a, drover_version) VALUES ('MAH001', 3, 'x', 7)",
      "INSERT INTO drover_edit (stream, machine_id, key) VALUES ('stock', 'MAH001', '[1]')", "DELETE FROM drover_row",
    ] {
      #expect(attempt("editor", refused)?.contains("permission denied") == true, "\(refused)")
    }
    try scene.take()
    #expect(try scene.down().map { $0.split(separator: " ").last! } == ["edited", "made"])
    #expect(attempt("editor", "DELETE FROM stock WHERE id = 2") == nil)
    try scene.take()
    #expect(try scene.down().last?.hasSuffix("gone") == true)
    try scene.client.run(
      "DROP OWNED BY reader_\(suffix), editor_\(suffix); DROP ROLE reader_\(suffix), editor_\(suffix)")
  }

  // The triggers run as the store's owner: what an editor puts before the store's schema must not run with them.
  @Test func `an editor's search_path changes nothing of what the triggers do, and their functions are no tool`() throws
  {
    let scene = try Scene()
    try scene.merge(100, 1, "edge")
    let role = "attacker_\(scene.database.name)"
    try scene.client.run(
      """
      CREATE ROLE \(role);
      GRANT SELECT, UPDATE (a) ON stock TO \(role);
      CREATE SCHEMA AUTHORIZATION \(role);
      SET ROLE \(role);
      CREATE TABLE \(role).drover_edit (stream text, machine_id text, key jsonb, epoch bigint, version bigint);
      CREATE TABLE \(role).drover_flow (stream text, machine_id text, direction text, complete_when text);
      CREATE FUNCTION \(role).pg_notify(text, text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'called'; END $$;
      CREATE FUNCTION \(role).current_setting(text, boolean) RETURNS text LANGUAGE sql AS $$ SELECT 'on' $$;
      CREATE FUNCTION \(role).same(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'called'; END $$;
      CREATE OPERATOR \(role).= (LEFTARG = text, RIGHTARG = text, FUNCTION = \(role).same);
      SET search_path = \(role), pg_catalog, public;
      CREATE TEMPORARY TABLE drover_edit (stream text, machine_id text, key jsonb, epoch bigint, version bigint);
      UPDATE public.stock SET a = 'edited' WHERE id = 1;
      """)
    #expect {
      try scene.client.run(
        """
        CREATE TABLE \(role).mine (machine_id text, id bigint, a text, drover_epoch bigint, drover_version bigint);
        CREATE TRIGGER mine AFTER INSERT ON \(role).mine FOR EACH ROW EXECUTE FUNCTION public.drover_capture_stock()
        """)
    } throws: { "\($0)".contains("permission denied") }
    try scene.client.run("RESET ROLE; SET search_path = public; DROP OWNED BY \(role); DROP ROLE \(role)")
    try scene.take()
    #expect(try scene.down().map { $0.split(separator: " ").last! } == ["edited"])
  }

  // MARK: Tables that change

  // A function of PL/pgSQL holds a session to the types that it has seen.
  @Test func `a session that has edited before goes on after the key has become wider`() throws {
    let scene = try Scene()
    try scene.merge(100, 1, "edge")
    try scene.client.run("UPDATE stock SET a = 'one' WHERE id = 1")
    try scene.store.transaction { transaction in
      var event = SinkEvent(
        seq: nil, localID: "[\"x\"]", version: 110, at: nil, key: [.text("x")],
        content: .row([.text("x"), .text("text")]), raw: [])
      event.ancestry = Ancestry(base: 0)
      let outcome = try transaction.merge(
        [event], epoch: Self.epoch,
        into: Sink(machine: Self.machine, stream: Self.stream, kind: .snapshot, schema: Self.schema()))
      #expect(outcome == [.applied])
    }
    try scene.client.run("UPDATE stock SET a = 'two' WHERE id = '1'")
    #expect(try scene.take().streams == [Self.stream])
    #expect(try scene.down().map { $0.split(separator: " ").last! } == ["two"])
  }

  @Test func `triggers that somebody has dropped come back with the next event`() throws {
    let scene = try Scene()
    try scene.merge(100, 1, "edge")
    try scene.client.run("DROP TRIGGER drover_capture ON stock; ALTER TABLE stock DISABLE TRIGGER drover_guard")
    // Another consumer has changed tables, or this one begins anew.
    let second = try PostgreSQLCloudStore(scene.database.address)
    #expect(try second.transaction { try Scene.merge($0, 110, 1, "again") } == .applied)
    try scene.client.run("UPDATE stock SET a = 'cloud' WHERE id = 1")
    #expect(try scene.take().streams == [Self.stream])
  }
}
