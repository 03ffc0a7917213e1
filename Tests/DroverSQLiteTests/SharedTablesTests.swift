// Machines that agree on a table share its compiled statements. What one of them does must never be taken for another's, and machines that
// differ, in columns, condition or natural key, must not meet in one.

import DroverCore
import DroverProcesses
import GRDB
import Testing

@testable import DroverSQLite

@Suite struct SharedTablesTests {
  private let folder = try! TemporaryFolder()
  private var database: String { folder.file("cloud.db") }
  private let stream = try! StreamName("stock")
  private let first = try! MachineID("MAH001")
  private let second = try! MachineID("MAH002")

  private func schema(
    _ kind: Kind = .snapshot, _ columns: [(String, String)] = [("id", "INTEGER"), ("a", "TEXT")],
    completeWhen: String? = nil, naturalKey: [String]? = nil
  ) throws -> StreamSchema {
    try StreamSchema(
      kind: kind, columns: columns.map { Column(name: $0.0, declaredType: $0.1) }, key: [0],
      completeWhen: completeWhen.map { try Condition(parsing: $0) },
      naturalKey: naturalKey.map { try NaturalKey(columns: $0, fallback: []) })
  }

  private func sink(_ machine: MachineID, _ schema: StreamSchema) -> Sink {
    Sink(machine: machine, stream: stream, kind: schema.kind, schema: schema)
  }

  private func event(_ id: Int64, _ version: Int64, _ values: Value...) -> SinkEvent {
    SinkEvent(
      seq: nil, localID: String(id), version: version, at: nil, key: [.integer(id)],
      content: values.isEmpty ? .none : .row(Values([.integer(id)] + values)), raw: [])
  }

  private func adopt(_ store: SQLiteCloudStore, _ schemas: (MachineID, StreamSchema)...) throws {
    for (machine, schema) in schemas {
      #expect(try store.transaction { try $0.adopt(schema, machine: machine, stream: stream) } == nil)
    }
  }

  private func merge(_ store: SQLiteCloudStore, _ event: SinkEvent, _ sink: Sink) throws -> MergeOutcome {
    try store.transaction { try $0.merge([event], epoch: nil, into: sink) }[0]
  }

  private func rows(_ sql: String) throws -> [String] {
    try QueryPlans.ofTest { try DatabaseQueue(path: database) }.read { try Row.fetchAll($0, sql: sql) }
      .map { row in row.databaseValues.map(\.description).joined(separator: " ") }
  }

  @Test func `machines that send by turns share one table, and each has its own rows`() throws {
    let store = try SQLiteCloudStore(path: database)
    let schema = try schema()
    try adopt(store, (first, schema), (second, schema))
    for version in 1...3 as ClosedRange<Int64> {
      for machine in [first, second] {
        let text = "\(machine) \(version)"
        #expect(try merge(store, event(1, version, .text(text)), sink(machine, schema)) == .applied)
      }
    }
    // Each statement of the table once: a put, an old put, a delete and what a tombstone keeps away.
    #expect(try merge(store, event(1, 4), sink(first, schema)) == .applied)
    #expect(try merge(store, event(1, 2, .text("late")), sink(second, schema)) == .superseded)
    #expect(try merge(store, event(1, 3, .text("late")), sink(first, schema)) == .superseded)
    #expect(try rows("SELECT machine_id, id, a FROM stock") == [#""MAH002" 1 "MAH002 3""#])
    #expect(try rows("SELECT machine_id, local_id FROM drover_tombstone") == [#""MAH001" "1""#])
    let known = store.table(of: sink(first, schema))
    let table = try #require(known)
    #expect(store.table(of: sink(second, schema)) === table)
  }

  // Each first event of a machine made the store forget the compiled statements of all the others, so machines that came by turns had them
  // compiled for every frame.
  @Test func `a machine that comes later leaves the others' table as it is, unless it changes the columns`() throws {
    let store = try SQLiteCloudStore(path: database)
    let (narrow, wide) = (try schema(), try schema(.snapshot, [("id", "INTEGER"), ("a", "TEXT"), ("b", "REAL")]))
    try adopt(store, (first, narrow), (second, narrow))
    #expect(try merge(store, event(1, 1, .text("x")), sink(first, narrow)) == .applied)
    let known = store.table(of: sink(first, narrow))
    let table = try #require(known)
    #expect(try merge(store, event(1, 1, .text("y")), sink(second, narrow)) == .applied)
    #expect(store.table(of: sink(first, narrow)) === table)
    try adopt(store, (second, wide))
    #expect(store.table(of: sink(first, narrow)) == nil)
    #expect(try merge(store, event(2, 2, .text("z"), .real(1.5)), sink(second, wide)) == .applied)
    #expect(try merge(store, event(2, 2, .text("x")), sink(first, narrow)) == .applied)
    #expect(store.table(of: sink(first, narrow)) !== store.table(of: sink(second, wide)))
    #expect(
      try rows("SELECT machine_id, id, a, b FROM stock ORDER BY 1, 2") == [
        #""MAH001" 1 "x" NULL"#, #""MAH001" 2 "x" NULL"#, #""MAH002" 1 "y" NULL"#, #""MAH002" 2 "z" 1.5"#,
      ])
  }

  @Test func `a condition freezes the rows of the machine that has it, and of no other`() throws {
    let store = try SQLiteCloudStore(path: database)
    let (freezing, open) = (try schema(.batch, completeWhen: "\"a\" = 'done'"), try schema(.batch))
    try adopt(store, (first, freezing), (second, open))
    for (machine, schema) in [(first, freezing), (second, open)] {
      #expect(try merge(store, event(1, 1, .text("done")), sink(machine, schema)) == .applied)
    }
    guard case .refused(.frozen, _) = try merge(store, event(1, 2, .text("again")), sink(first, freezing)) else {
      Issue.record("the complete row was changed")
      return
    }
    #expect(try merge(store, event(1, 2, .text("again")), sink(second, open)) == .applied)
    // The condition of what was described last counts, also for events of the older schema.
    try adopt(store, (second, freezing))
    #expect(try merge(store, event(1, 3, .text("done")), sink(second, open)) == .applied)
    guard case .refused(.frozen, _) = try merge(store, event(1, 4, .text("more")), sink(second, open)) else {
      Issue.record("the complete row was changed under the older schema")
      return
    }
    try adopt(store, (second, open))
    #expect(try merge(store, event(1, 5, .text("open")), sink(second, open)) == .applied)
    #expect(try rows("SELECT machine_id, a FROM stock") == [#""MAH001" "done""#, #""MAH002" "open""#])
  }

  // What is known of a machine's earlier columns belongs to that machine: the other one's facts had this column from the beginning.
  @Test func `a late column is filled in for the machine whose rows lacked it`() throws {
    let store = try SQLiteCloudStore(path: database)
    let (narrow, wide) = (
      try schema(.payload), try schema(.payload, [("id", "INTEGER"), ("a", "TEXT"), ("b", "TEXT")])
    )
    try adopt(store, (first, narrow))
    #expect(try merge(store, event(1, 1, .text("x")), sink(first, narrow)) == .applied)
    try adopt(store, (first, wide), (second, wide))
    #expect(try merge(store, event(1, 1, .text("x"), .null), sink(second, wide)) == .applied)
    for _ in 0..<2 {
      guard
        case .refused(.conflict, _) = try merge(store, event(1, 2, .text("x"), .text("new")), sink(second, wide))
      else {
        Issue.record("a fact of a machine that had the column was overwritten")
        return
      }
    }
    #expect(try merge(store, event(1, 2, .text("x"), .text("new")), sink(first, wide)) == .applied)
    #expect(try rows("SELECT machine_id, b FROM stock") == [#""MAH001" "new""#, #""MAH002" NULL"#])
  }

  // `drover doctor` called the store damaged and no backup was kept: SQLite 3.40 finds NULL in a column that stands before a part of the key.
  @Test func `a table of facts whose keys are used again is sound to SQLite itself`() throws {
    let store = try SQLiteCloudStore(path: database)
    let columns = [("id", "INTEGER"), ("a", "TEXT")]
    let (plain, lives) = (try schema(.payload, columns), try schema(.payload, columns).tellingLives())
    let later = try schema(.payload, columns + [("b", "INTEGER")])
    try adopt(store, (first, plain), (first, later))
    #expect(try merge(store, event(1, 1, .text("x"), .null), sink(first, later)) == .applied)
    let wide = try StreamSchema(kind: .payload, columns: lives.columns, key: lives.key)
    try adopt(store, (second, wide))
    #expect(try merge(store, event(1, 1, .text("y"), .null), sink(second, later)) == .applied)
    #expect(
      try rows("SELECT machine_id, id, a, drover_life FROM stock ORDER BY 1") == [
        #""MAH001" 1 "x" """#, #""MAH002" 1 "y" """#,
      ])
    #expect(try rows("PRAGMA integrity_check") == [#""ok""#])
  }

  @Test func `rows that are matched by natural key stay each machine's own behind the one that is shown`() throws {
    let store = try SQLiteCloudStore(path: database)
    let schema = try schema(naturalKey: ["a"])
    try adopt(store, (first, schema), (second, schema))
    for version in 1...2 as ClosedRange<Int64> {
      #expect(try merge(store, event(7, 10 * version, .text("code")), sink(first, schema)) == .applied)
      #expect(try merge(store, event(9, 10 * version + 1, .text("code")), sink(second, schema)) == .applied)
    }
    #expect(store.table(of: sink(first, schema)) === store.table(of: sink(second, schema)))
    #expect(
      try rows("SELECT machine_id, id, drover_version FROM drover_held_stock ORDER BY 1") == [
        #""MAH001" 7 20"#, #""MAH002" 9 21"#,
      ])
    #expect(try rows("SELECT count(*), max(drover_version) FROM stock") == ["1 21"])
    // Without the key each has its row again, and the statements are others.
    let plain = try self.schema()
    try adopt(store, (first, plain), (second, plain))
    #expect(try merge(store, event(7, 30, .text("code")), sink(first, plain)) == .applied)
    #expect(try rows("SELECT machine_id, id FROM stock ORDER BY 1") == [#""MAH001" 7"#, #""MAH002" 9"#])
  }

  // What is in a store from before is the operator's word: it needs no other.
  @Test func `rows that were matched before this version stay matched, those of machines that declare nothing too`()
    throws
  {
    let (named, plain) = (try schema(naturalKey: ["a"]), try schema())
    do {
      let store = try SQLiteCloudStore(path: database)
      try adopt(store, (first, named))
      #expect(try merge(store, event(1, 1 << 52, .text("code")), sink(first, named)) == .applied)
    }
    try QueryPlans.ofTest { try DatabaseQueue(path: database) }.write {
      try $0.execute(
        sql: """
          DROP INDEX drover_thing_of_stock;
          ALTER TABLE drover_held_stock DROP COLUMN drover_rank;
          CREATE INDEX drover_thing_of_stock ON drover_held_stock (drover_thing, drover_version);
          DROP TABLE drover_column_alone; DROP TABLE drover_identity_member; DROP TABLE drover_schema_waiting_line;
          DROP INDEX drover_schema_users; DROP INDEX drover_schema_line_users;
          ALTER TABLE drover_sink DROP COLUMN is_loose;
          ALTER TABLE drover_schema_waiting DROP COLUMN complete_when;
          DROP TABLE drover_blocked;
          DELETE FROM grdb_migrations WHERE identifier IN ('16 shared tables', '17 blocked sinks');
          """)
    }
    let store = try SQLiteCloudStore(path: database)
    try adopt(store, (second, plain), (first, named))
    #expect(try merge(store, event(9, 2, .text("code")), sink(second, plain)) == .applied)
    #expect(try rows("SELECT count(*), max(drover_version) FROM stock") == ["1 \(1 << 52)"])
    #expect(try rows("SELECT count(*) FROM drover_held_stock WHERE drover_rank < \(1 << 51)") == ["2"])
  }
}
