import DroverCore
import DroverSQLite
import DroverTesting
import GRDB
import Testing

/// The cloud's tables follow what machines say of theirs.
@Suite(.ownThread) struct SinkSchemaTests {
  private let machine = try! MachineID("MAH001")
  private let stream = try! StreamName("stock")

  private func schema(_ columns: (String, String)..., kind: Kind = .snapshot) throws -> StreamSchema {
    try StreamSchema(
      kind: kind,
      columns: [Column(name: "id", declaredType: "INTEGER")] + columns.map { Column(name: $0.0, declaredType: $0.1) },
      key: [0])
  }

  @discardableResult
  private func merge(_ store: SQLiteCloudStore, _ schema: StreamSchema, _ version: Int64, _ rows: [Value]...) throws
    -> [MergeOutcome]
  {
    try store.transaction { transaction throws in
      #expect(try transaction.adopt(schema, machine: machine, stream: stream) == nil)
      let events = rows.map { row in
        SinkEvent(
          seq: nil, localID: "\(row[0])", version: version, at: nil, key: [row[0]], content: .row(Values(row)), raw: [])
      }
      return try transaction.merge(
        events, epoch: Epoch(random: 1),
        into: Sink(machine: machine, stream: stream, kind: schema.kind, schema: schema))
    }
  }

  private func store(_ app: AppDatabase) throws -> SQLiteCloudStore { try SQLiteCloudStore(path: app.path) }

  private static let types = ["INTEGER", "REAL", "NUMERIC", "TEXT", "", "BLOB", "VARCHAR(10)", "DECIMAL(10,5)"]
  /// Values as a column of each affinity holds them.
  private static func values(_ type: String) -> [Value] {
    switch Column(name: "a", declaredType: type).affinity {
    case .integer, .numeric: [5, .integer(.max), 2.5, "x", .blob([0x35]), .null]
    case .real: [.real(5), 2.5, "x", .blob([0x35]), .null]
    case .text: ["5", "5.0", "007", "x", .text([0xff]), .blob([0x35]), .null]
    case .blob: ["5", 5, .real(5), .real(-0.0), .blob([0x35]), .null]
    }
  }

  @Test(arguments: types, types)
  func `a column whose type changes keeps the old values and the new, each as it is`(old: String, new: String) throws {
    let app = try AppDatabase()
    let store = try store(app)
    let before = Self.values(old).enumerated().map { [.integer(Int64($0)), $1] as [Value] }
    let after = Self.values(new).enumerated().map { [.integer(Int64(100 + $0)), $1] as [Value] }
    for (version, row) in before.enumerated() { try merge(store, schema(("a", old)), Int64(version + 1), row) }
    for (version, row) in after.enumerated() { try merge(store, schema(("a", new)), Int64(version + 100), row) }
    // One from before the change comes late, and another that an older version must not overwrite.
    try merge(store, schema(("a", old)), 50, [.integer(50), before[0][1]])
    try merge(store, schema(("a", old)), 50, [.integer(100), before[0][1]])
    let rows = try app.connection.inDatabase { try rawRows($0, "SELECT id, a FROM stock ORDER BY id") }
    #expect(rows.map { "\($0)" } == (before + [[.integer(50), before[0][1]]] + after).map { "\($0)" })
  }

  @Test func `a widened table keeps its indexes, triggers, views and key`() throws {
    let app = try AppDatabase()
    let store = try store(app)
    try merge(store, schema(("a", "INT"), ("b", "TEXT")), 1, [1, 5, "x"], [2, 6, "y"])
    try app.run(
      """
      CREATE INDEX mine ON stock (a); CREATE TABLE log (id); CREATE VIEW seen AS SELECT a, b FROM stock;
      CREATE TRIGGER watch AFTER UPDATE ON stock BEGIN INSERT INTO log VALUES (NEW.id); END
      """)
    try merge(store, schema(("a", "TEXT"), ("b", "TEXT"), ("c", "INT")), 2, [1, "5", "x", 7])
    #expect(try app.lines("SELECT id, a, b, c FROM stock ORDER BY id") == ["1, '5', 'x', 7", "2, 6, 'y', NULL"])
    #expect(try app.lines("SELECT * FROM seen ORDER BY b") == ["'5', 'x'", "6, 'y'"])
    #expect(try app.lines("SELECT id FROM log") == ["1"])
    #expect(try app.lines("SELECT name FROM pragma_index_list('stock') WHERE origin = 'c'") == ["'mine'"])
    #expect(try app.lines("PRAGMA integrity_check") == ["'ok'"])
    #expect(
      try app.lines("SELECT name, type, \"notnull\", pk FROM pragma_table_info('stock')") == [
        "'machine_id', 'TEXT', 1, 1", "'id', 'INTEGER', 1, 2", "'a', '', 0, 0", "'b', 'TEXT', 0, 0",
        "'drover_epoch', 'INTEGER', 1, 0", "'drover_version', 'INTEGER', 1, 0", "'c', 'INT', 0, 0",
      ])
  }

  @Test func `a column that was dropped stays, and goes on when it comes back`() throws {
    let app = try AppDatabase()
    let store = try store(app)
    try merge(store, schema(("a", "INT"), ("b", "INT")), 1, [1, 5, 6], [2, 5, 6])
    try merge(store, schema(("a", "INT")), 2, [1, 7], [3, 7])
    #expect(try app.lines("SELECT id, a, b FROM stock ORDER BY id") == ["1, 7, 6", "2, 5, 6", "3, 7, NULL"])
    try merge(store, schema(("a", "INT"), ("b", "TEXT")), 3, [1, 8, "9"])
    #expect(try app.lines("SELECT id, a, b FROM stock ORDER BY id") == ["1, 8, '9'", "2, 5, 6", "3, 7, NULL"])
  }

  @Test func `the types of a key widen too`() throws {
    let app = try AppDatabase()
    let store = try store(app)
    try merge(store, schema(("a", "")), 1, [1, "integer"])
    let text = try StreamSchema(
      kind: .snapshot, columns: [Column(name: "id", declaredType: "TEXT"), Column(name: "a", declaredType: "")],
      key: [0])
    try merge(store, text, 2, ["1", "text"])
    #expect(try app.lines("SELECT typeof(id), a FROM stock ORDER BY a") == ["'integer', 'integer'", "'text', 'text'"])
  }

  // Every row came again with the new column's default, and met the stored row without it: a conflict for each.
  @Test func `a fact from before a new column gets its value once, and is overwritten by nothing else`() throws {
    let app = try AppDatabase()
    let store = try store(app)
    let old = try schema(("a", "INT"), kind: .payload)
    let new = try schema(("b", "TEXT"), ("a", "INT"), kind: .payload)
    try merge(store, old, 1, [1, 5], [2, 6])
    #expect(try merge(store, new, 2, [1, "x", 5], [3, .null, 7]) == [.applied, .applied])
    #expect(try app.lines("SELECT id, a, b FROM stock ORDER BY id") == ["1, 5, 'x'", "2, 6, NULL", "3, 7, NULL"])
    // Again the same; another value of the new column; another value of the old one; a NULL that was a value.
    #expect(
      try merge(store, new, 3, [1, "x", 5], [1, "y", 5], [2, "x", 9], [3, "z", 7]).map {
        if case .refused(.conflict, _) = $0 { "conflict" } else { "\($0)" }
      } == ["superseded", "conflict", "conflict", "conflict"])
    // Events of before the change.
    #expect(
      try merge(store, old, 1, [1, 5], [3, 7], [4, 8], [3, 0]).map {
        if case .refused(.conflict, _) = $0 { "conflict" } else { "\($0)" }
      } == ["superseded", "superseded", "applied", "conflict"])
    #expect(try merge(store, new, 4, [4, "late", 8]) == [.applied])
    #expect(
      try app.lines("SELECT id, a, b FROM stock ORDER BY id") == [
        "1, 5, 'x'", "2, 6, NULL", "3, 7, NULL", "4, 8, 'late'",
      ]
    )
  }

  // Every complete row came again with the new column's default, and was refused.
  @Test func `a complete batch gets the values of columns that came later, once, and no other change`() throws {
    let app = try AppDatabase()
    let store = try store(app)
    func batch(_ columns: (String, String)...) throws -> StreamSchema {
      try StreamSchema(
        kind: .batch,
        columns: [Column(name: "id", declaredType: "INTEGER")] + columns.map { Column(name: $0.0, declaredType: $0.1) },
        key: [0], completeWhen: try Condition(parsing: "done = 1"))
    }
    let old = try batch(("done", "INT"), ("a", "REAL"))
    let new = try batch(("done", "INT"), ("b", "TEXT"), ("a", "REAL"))
    try merge(store, old, 1, [1, 1, 5], [2, 1, 6], [3, 0, 7])
    func outcomes(_ schema: StreamSchema, _ version: Int64, _ rows: [Value]...) throws -> [String] {
      try rows.flatMap { try merge(store, schema, version, $0) }.map {
        if case .refused(.frozen, _) = $0 { "frozen" } else { "\($0)" }
      }
    }
    // With another value too; open; complete as it was; complete from now on.
    #expect(
      try outcomes(new, 2, [2, 1, "x", 9], [3, 0, "x", 7], [1, 1, "x", 5], [4, 1, .null, 8])
        == ["frozen", "applied", "applied", "applied"])
    #expect(
      try outcomes(new, 3, [1, 1, "x", 5], [1, 1, "y", 5], [4, 1, "y", 8]) == ["superseded", "frozen", "frozen"])
    #expect(try outcomes(old, 4, [1, 1, 5], [1, 0, 5]) == ["superseded", "frozen"])
    #expect(try outcomes(new, 5, [2, 1, "x", 6], [3, 1, "z", 7]) == ["applied", "applied"])
    #expect(try outcomes(new, 6, [2, 1, .null, 6], [3, 1, "y", 7]) == ["frozen", "frozen"])
    #expect(
      try app.lines("SELECT id, done, a, b FROM stock ORDER BY id") == [
        "1, 1, 5.0, 'x'", "2, 1, 6.0, 'x'", "3, 1, 7.0, 'z'", "4, 1, 8.0, NULL",
      ])
  }

  @Test func `a fact that comes late under a schema with a column more gets that value too`() throws {
    let app = try AppDatabase()
    let store = try store(app)
    let old = try schema(("a", "INT"), ("b", "INT"), kind: .payload)
    let new = try schema(("a", "INT"), kind: .payload)
    try merge(store, old, 1, [1, 5, 6])
    #expect(try merge(store, new, 2, [1, 5], [2, 7]) == [.superseded, .applied])
    #expect(try merge(store, old, 1, [2, 7, 8], [1, 5, 6]) == [.applied, .superseded])
    #expect(try app.lines("SELECT id, a, b FROM stock ORDER BY id") == ["1, 5, 6", "2, 7, 8"])
  }

  // Every row came again as the new type had made it, and was a conflict.
  @Test func `a fact whose column has another type now is what that type made of it, and nothing else`() throws {
    let app = try AppDatabase()
    let store = try store(app)
    func changes(_ old: String, _ new: String, _ pairs: [(Value, Value)]) throws -> [String] {
      let (before, after) = (try schema(("a", old), kind: .payload), try schema(("a", new), kind: .payload))
      try app.run(
        "DROP TABLE IF EXISTS stock; DELETE FROM drover_sink; DELETE FROM drover_schema; DELETE FROM drover_schema_column"
      )
      for (index, pair) in pairs.enumerated() { try merge(store, before, 1, [.integer(Int64(index)), pair.0]) }
      return try pairs.enumerated().flatMap { index, pair in
        try merge(store, after, 2, [.integer(Int64(index)), pair.1]).map {
          if case .refused(.conflict, _) = $0 { "conflict" } else { "\($0)" }
        }
      }
    }
    #expect(
      try changes("INT", "TEXT", [(5, "5"), (6, "7"), ("x", "x"), (.null, .null), (.null, "5"), (-1, "-1")])
        == ["applied", "conflict", "superseded", "superseded", "conflict", "applied"])
    #expect(try app.lines("SELECT a FROM stock ORDER BY id") == ["'5'", "6", "'x'", "NULL", "NULL", "'-1'"])
    #expect(
      try changes("TEXT", "INT", [("007", 7), ("x", 0), ("5.0", 5), ("9", 8)])
        == ["applied", "conflict", "applied", "conflict"])
    #expect(
      try changes("REAL", "TEXT", [(2.5, "2.5"), (.real(5), "5.0"), (.real(5), "5")]) == [
        "applied", "applied", "conflict",
      ])
    #expect(try changes("INT", "REAL", [(5, .real(5)), (6, .real(6.5))]) == ["applied", "conflict"])
    #expect(try app.lines("SELECT a FROM stock ORDER BY id") == ["5.0", "6"])
    // An event of before that comes again, as one of the new type's does, takes nothing back.
    #expect(try merge(store, schema(("a", "INT"), kind: .payload), 1, [0, 5]) == [.superseded])
    #expect(try merge(store, schema(("a", "REAL"), kind: .payload), 3, [0, .real(5)]) == [.superseded])
    #expect(try app.lines("SELECT a, drover_version FROM stock ORDER BY id") == ["5.0, 2", "6, 1"])
    // Without a type nothing was converted.
    #expect(try changes("", "BLOB", [(5, "5")]) == ["conflict"])
  }
}
