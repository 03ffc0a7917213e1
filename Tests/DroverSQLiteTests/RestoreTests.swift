import DroverCore
import DroverSQLite
import DroverTesting
import GRDB
import Testing

/// A machine's tables made again from the cloud's.
@Suite struct RestoreTests {
  private let machine = try! MachineID("MAH001")
  private let other = try! MachineID("MAH002")
  private let stream = try! StreamName("t")

  private func schema(_ columns: [(String, String)], key: [Int] = [0], kind: Kind = .snapshot) throws -> StreamSchema {
    try StreamSchema(kind: kind, columns: columns.map { Column(name: $0.0, declaredType: $0.1) }, key: key)
  }

  /// A store beside the app's database in which these rows of a machine stand.
  private func fill(
    _ app: AppDatabase, _ schema: StreamSchema, _ rows: [[Value]], of machine: MachineID? = nil
  ) throws {
    let machine = machine ?? self.machine
    let store = try SQLiteCloudStore(path: app.file("cloud.db"))
    try store.transaction { transaction throws in
      #expect(try transaction.adopt(schema, machine: machine, stream: stream) == nil)
      let events = rows.enumerated().map { index, row in
        SinkEvent(
          seq: nil, localID: "\(index)", version: 1, at: nil, key: schema.keyValues(of: row),
          content: .row(Values(row)),
          raw: [])
      }
      let sink = Sink(machine: machine, stream: stream, kind: schema.kind, schema: schema)
      #expect(try transaction.merge(events, epoch: Epoch(random: 1), into: sink).allSatisfy { $0 == .applied })
      try transaction.heard(machine: machine, epoch: Epoch(random: 1))
    }
  }

  private func restore(_ app: AppDatabase, _ tables: [StreamName: String] = [:]) throws -> MachineRestore {
    try MachineRestore(
      store: app.file("cloud.db"), machine: machine, stream: nil, to: app.file("new.db"), tables: tables)
  }

  private func rows(_ app: AppDatabase, _ sql: String, in file: String = "new.db") throws -> [[Value]] {
    try AppDatabase.connect(app.file(file)).inDatabase { try rawRows($0, sql) }
  }

  private static let odd: [Value] = [
    .null, .integer(.min), .integer(.max), .real(-0.0), .real(.leastNonzeroMagnitude), .real(.infinity),
    .real(-.infinity), .real(1),
    .text([]), .text([0x61, 0, 0x62]), .text([0xff, 0xfe]), .text(Array("007".utf8)[...]), .blob([]), .blob([0, 0xff]),
  ]

  @Test(arguments: ["", "BLOB"])
  func `every value is what it was`(type: String) throws {
    let app = try AppDatabase()
    let rows = Self.odd.enumerated().map { [Value.integer(Int64($0)), $1] }
    try fill(app, schema([("id", "INTEGER"), ("a\"b", type)]), rows)
    try fill(app, schema([("id", "INTEGER"), ("a\"b", type)]), [[7, "another machine's"]], of: other)
    let done = try restore(app).run(removesExtra: false)
    #expect(done.map(\.added) == [rows.count] && done.map(\.isNew) == [true])
    let restored = try self.rows(app, "SELECT * FROM t ORDER BY id")
    #expect(restored.count == rows.count)
    for (row, original) in zip(restored, rows) {
      #expect(row == original)
      if case (.real(let a), .real(let b)) = (row[1], original[1]) { #expect(a.bitPattern == b.bitPattern) }
    }
    #expect(
      try self.rows(app, "SELECT name, type, pk FROM pragma_table_info('t')") == [
        ["id", "INTEGER", 1], ["a\"b", .text(Array(type.utf8)[...]), 0],
      ])
  }

  @Test func `the lines of a unit are restored with their headers`() throws {
    let app = try AppDatabase()
    let lines = try LineSchema(
      table: StreamName("sales"), columns: ["id", "receipt"].map { Column(name: $0, declaredType: "INTEGER") },
      key: [0],
      references: [1])
    let schema = try StreamSchema(
      kind: .batch, columns: [Column(name: "id", declaredType: "INTEGER")], key: [0], lines: [lines])
    let store = try SQLiteCloudStore(path: app.file("cloud.db"))
    for machine in [machine, other] {
      try store.transaction { transaction throws in
        #expect(try transaction.adopt(schema, machine: machine, stream: stream) == nil)
        let event = SinkEvent(
          seq: nil, localID: "7", version: 1, at: nil, key: [7], content: .row([7]), lines: [[[1, 7], [2, 7]]], raw: [])
        let sink = Sink(machine: machine, stream: stream, kind: .batch, schema: schema)
        #expect(try transaction.merge([event], epoch: Epoch(random: 1), into: sink) == [.applied])
        try transaction.heard(machine: machine, epoch: Epoch(random: 1))
      }
    }
    let done = try restore(app, [StreamName("sales"): "till_sales"]).run(removesExtra: false)
    #expect(done.map(\.table) == ["t", "till_sales"] && done.map(\.added) == [1, 2])
    #expect(try rows(app, "SELECT id FROM t") == [[7]])
    #expect(try rows(app, "SELECT id, receipt FROM till_sales ORDER BY id") == [[1, 7], [2, 7]])
  }

  @Test func `a table without a key has its rowids again`() throws {
    let app = try AppDatabase()
    try fill(
      app, schema([(StreamSchema.rowidColumn, "INTEGER"), ("rowid", "TEXT")]), [[-5, "a"], [9_000_000_000, "b"]])
    _ = try restore(app).run(removesExtra: false)
    #expect(try rows(app, "SELECT oid, * FROM t ORDER BY oid") == [[-5, "a"], [9_000_000_000, "b"]])
  }

  @Test func `a key that holds what its type would not have is kept`() throws {
    let app = try AppDatabase()
    try fill(app, schema([("id", "INTEGER"), ("a", "")]), [["x", 1], [2, 2]])
    _ = try restore(app).run(removesExtra: false)
    #expect(try rows(app, "SELECT id, a FROM t ORDER BY a") == [["x", 1], [2, 2]])
  }

  @Test func `a table that is there is filled, its own columns and what the cloud lacks stay`() throws {
    let app = try AppDatabase()
    try fill(
      app, schema([("k", "TEXT"), ("n", "INT"), ("a", "TEXT")], key: [0, 1]), [["x", 1, "new"], ["X", 1, "same"]])
    let there = try AppDatabase.connect(app.file("new.db"))
    try there.inDatabase {
      try $0.execute(
        sql: """
          CREATE TABLE facts (n INT, note TEXT DEFAULT 'none', A TEXT, double AS (n * 2), k TEXT, PRIMARY KEY (k, n));
          INSERT INTO facts (n, note, a, k) VALUES (1, 'mine', 'old', 'x'), (1, 'b', 'same', 'X'), (3, 'c', 'd', 'y');
          CREATE TRIGGER t AFTER UPDATE ON facts BEGIN SELECT RAISE(ABORT, 'a trigger'); END
          """)
    }
    let restore = try restore(app, [stream: "facts"])
    var expected = RestoredTable(stream: stream, table: "facts", isNew: false)
    (expected.replaced, expected.same, expected.extra) = (1, 1, 1)
    #expect(try restore.plan() == [expected])
    #expect(try restore.run(removesExtra: false) == [expected])
    #expect(
      try rows(app, "SELECT k, n, a, note, double FROM facts ORDER BY k COLLATE BINARY") == [
        ["X", 1, "same", "b", 2], ["x", 1, "new", "mine", 2], ["y", 3, "d", "c", 6],
      ])
    _ = try restore.run(removesExtra: true)
    #expect(try rows(app, "SELECT count(*) FROM facts") == [[2]])
    #expect(try restore.plan().map { [$0.same, $0.replaced, $0.added, $0.extra] } == [[2, 0, 0, 0]])
  }

  @Test func `what does not fit is refused, and nothing is changed`() throws {
    let app = try AppDatabase()
    try fill(app, schema([("id", "INTEGER"), ("a", ""), ("u", "")]), [[1, "a", 1], [2, "b", 1]])
    let there = try AppDatabase.connect(app.file("new.db"))
    func refuses(_ sql: String, _ words: String) throws {
      try there.inDatabase { try $0.execute(sql: "DROP TABLE IF EXISTS t; DROP VIEW IF EXISTS v; \(sql)") }
      #expect {
        try restore(app).run(removesExtra: false)
      } throws: {
        "\($0)".contains(words)
      }
    }
    try refuses("CREATE TABLE t (id INTEGER PRIMARY KEY, a)", "has no column u")
    try refuses("CREATE TABLE t (id, a PRIMARY KEY, u)", "the key of the table t there is (a)")
    try refuses("CREATE TABLE t (id INTEGER PRIMARY KEY, a, u UNIQUE)", "nothing of it was changed")
    #expect(try rows(app, "SELECT count(*) FROM t") == [[0]])
  }

  @Test func `what the store does not know is said`() throws {
    let app = try AppDatabase()
    #expect { try restore(app) } throws: { "\($0)".contains("there is no store yet") }
    try fill(app, schema([("id", "INTEGER")]), [[1]], of: other)
    #expect { try restore(app) } throws: { "\($0)".contains("knows no such stream") }
    #expect(!app.exists("new.db"))
  }
}
