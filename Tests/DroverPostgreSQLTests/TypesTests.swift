import DroverCore
import DroverPostgreSQL
import DroverTesting
import Testing

/// How PostgreSQL holds what a source's columns hold, and what becomes of values that do not fit.
@Suite(.ownThread) struct TypesTests {
  private let machine = try! MachineID("MAH001")
  private let stream = try! StreamName("t")

  private func schema(_ columns: [(String, String)], _ kind: Kind = .snapshot) throws -> StreamSchema {
    try StreamSchema(
      kind: kind, columns: ([("id", "INTEGER")] + columns).map { Column(name: $0.0, declaredType: $0.1) }, key: [0])
  }

  private func merge(_ store: PostgreSQLCloudStore, _ schema: StreamSchema, _ rows: [[Value]]) throws -> [MergeOutcome]
  {
    let sink = Sink(machine: machine, stream: stream, kind: schema.kind, schema: schema)
    let events = rows.map { row in
      SinkEvent(
        seq: nil, localID: "\(row[0])", version: 1, at: nil, key: [row[0]], content: .row(Values(row)), raw: [])
    }
    return try store.transaction { transaction in
      _ = try transaction.adopt(schema, machine: machine, stream: stream)
      return try transaction.merge(events, epoch: nil, into: sink)
    }
  }

  private func types(_ database: TestDatabase) throws -> [String] {
    let rows = try database.connect().query(
      """
      SELECT data_type::text FROM information_schema.columns
       WHERE table_name = 't' AND column_name NOT LIKE 'drover%' AND column_name <> 'machine_id' ORDER BY ordinal_position
      """)
    return (0..<rows.count).map { rows.text($0, 0) }
  }

  @Test func `columns have the types that their declarations mean`() throws {
    let database = try TestServer.makeDatabase()
    let declared = [
      ("i", "BIGINT"), ("r", "DOUBLE"), ("t", "VARCHAR(20)"), ("b", "BLOB"), ("o", "BOOLEAN"), ("d", "DATETIME"),
      ("n", "DECIMAL(10,2)"), ("u", ""),
    ]
    #expect(try merge(PostgreSQLCloudStore(database.address), schema(declared), []).isEmpty)
    #expect(
      try types(database) == [
        "bigint", "bigint", "double precision", "text", "bytea", "boolean", "text", "double precision", "jsonb",
      ])
  }

  @Test func `a column widens as far as its values ask, and each is read back as it was`() throws {
    let steps: [(Value, String)] = [
      (.integer(1), "boolean"), (.integer(2), "bigint"), (.real(0.5), "double precision"),
      (.integer(1 << 53), "double precision"),
      (.integer(1 << 53 + 1), "text"), (.text("never"), "text"), (.real(.infinity), "text"), (.integer(.min), "text"),
    ]
    let database = try TestServer.makeDatabase()
    let store = try PostgreSQLCloudStore(database.address)
    for (index, step) in steps.enumerated() {
      #expect(try merge(store, schema([("v", "BOOLEAN")]), [[.integer(Int64(index)), step.0]]) == [.applied])
      #expect(try types(database).last == step.1, "\(step)")
      let rows = try Reader(database: database).rows(of: "t")
      for (place, (value, _)) in steps[...index].enumerated() {
        #expect(rows.first { $0["id"] == .integer(Int64(place)) }?["v"] == value, "\(value) after \(step)")
      }
    }
  }

  @Test func `integers that no double holds make a text of their column when a fraction comes`() throws {
    let database = try TestServer.makeDatabase()
    let rows: [[Value]] = [[1, .integer(.max)], [2, 0.5], [3, 7]]
    #expect(
      try merge(PostgreSQLCloudStore(database.address), schema([("v", "INT")]), rows) == [.applied, .applied, .applied])
    #expect(try types(database).last == "text")
    #expect(Set(try Reader(database: database).rows(of: "t").map { $0["v"]! }) == [.integer(.max), 0.5, 7])
  }

  @Test(arguments: ["BOOLEAN", "INT", "NUMERIC", "REAL", "TEXT", "BLOB", "DATE"])
  func `a column that becomes one without a type keeps every value as it is`(type: String) throws {
    let values: [Value] = [
      0, 1, -7, .integer(.max), .integer(1 << 53), 0.5, -0.0, 1e16, 1e300, .real(.infinity), .real(-.infinity),
      .real(.leastNonzeroMagnitude),
      "a",
      "2026-01-01", "ä😀", .blob([0, 255]), .null,
    ]
    for value in values {
      let database = try TestServer.makeDatabase()
      let store = try PostgreSQLCloudStore(database.address)
      let kept = Column(name: "v", declaredType: type).affinity.converting(value)
      guard try merge(store, schema([("v", type)]), [[1, value]]) == [.applied] else { continue }
      #expect(try Reader(database: database).rows(of: "t")[0]["v"] == kept, "\(value)")
      #expect(try merge(store, schema([("v", "")]), [[2, "x"]]) == [.applied])
      #expect(try types(database).last == "jsonb")
      #expect(try Reader(database: database).rows(of: "t").first { $0["id"] == 1 }?["v"] == kept, "\(value)")
    }
  }

  @Test func `what fits nowhere is refused for its event, with a reason that does not quote it, and the others go on`()
    throws
  {
    let database = try TestServer.makeDatabase()
    let outcomes = try merge(
      PostgreSQLCloudStore(database.address), schema([("t", "TEXT"), ("i", "INT")]),
      [
        [1, "a", 1], [2, .text([0x61, 0]), 1], [3, .text([0xff]), 1], [4, .blob([1]), 1], [5, "b", .blob([1])],
        [6, "c", 2],
        [7, "d", .text([0x78, 0])],
      ])
    let details = outcomes.map { if case .refused(.store, let detail) = $0 { detail } else { "" } }
    #expect(
      details == [
        "", "PostgreSQL's text holds no NUL", "PostgreSQL's text is UTF-8, and this is not",
        "a blob does not fit into the column t, which is text",
        "a blob does not fit into the column i, which is bigint", "",
        "PostgreSQL's text holds no NUL",
      ])
    #expect(try types(database).last == "bigint", "what is refused widens nothing")
    #expect(try Reader(database: database).rows(of: "t").count == 2)
  }

  @Test func `a column that somebody's view needs as it is stays so, and the event says why it is refused`() throws {
    let database = try TestServer.makeDatabase()
    let store = try PostgreSQLCloudStore(database.address)
    _ = try merge(store, schema([("v", "INT")]), [[1, 1]])
    try database.connect().run("CREATE VIEW mine AS SELECT v + 1 FROM t")
    let outcomes = try merge(store, schema([("v", "INT")]), [[2, "x"], [3, 3]])
    guard case .refused(.store, let detail) = outcomes[0] else {
      Issue.record("\(outcomes)")
      return
    }
    #expect(detail.contains("the column v is bigint and could not be made text") && detail.contains("view"))
    #expect(outcomes[1] == .applied)
    // Another affinity cannot be followed: the schema waits.
    let reason = try store.transaction { try $0.adopt(schema([("v", "TEXT")]), machine: machine, stream: stream) }
    #expect(reason?.contains("cannot be changed") == true)
  }

  @Test func `long names and those of the system's columns find their place`() throws {
    let database = try TestServer.makeDatabase()
    let long = String(repeating: "ä", count: 60)
    let schema = try StreamSchema(
      kind: .snapshot, columns: ["id", long, long + "b", "xmin"].map { Column(name: $0, declaredType: "INT") }, key: [0]
    )
    let stream = try StreamName(String(repeating: "ö", count: 64))
    let store = try PostgreSQLCloudStore(database.address)
    let event = SinkEvent(seq: nil, localID: "1", version: 1, at: nil, key: [1], content: .row([1, 2, 3, 4]), raw: [])
    let sink = Sink(machine: machine, stream: stream, kind: .snapshot, schema: schema)
    #expect(try store.transaction { try $0.merge([event], epoch: nil, into: sink) } == [.applied])
    let row = try Reader(database: database).rows(of: stream.text)[0]
    #expect(row[long] == 2 && row[long + "b"] == 3 && row["xmin"] == 4)
  }
}

/// Few rows go as arrays and many by COPY: what is stored must not tell the difference.
@Suite(.ownThread) struct ManyRowsTests {
  @Test(arguments: [Kind.snapshot, .payload])
  func `many rows at once are stored as few at a time are`(kind: Kind) throws {
    let machine = try MachineID("MAH001")
    let names = [
      ("id", "INTEGER"), ("r", "REAL"), ("t", "TEXT"), ("b", "BLOB"), ("o", "BOOLEAN"), ("n", "NUMERIC"), ("u", ""),
    ]
    let schema = try StreamSchema(
      kind: kind, columns: names.map { Column(name: $0.0, declaredType: $0.1) }, key: [0])
    let sink = Sink(machine: machine, stream: try StreamName("t"), kind: kind, schema: schema)
    var random = Seeded(3)
    let events = (0..<1200).map { _ in
      // Some come twice, some of them older than what is there.
      let (id, version) = (Int64(random.below(900)), Int64(kind == .payload ? 1 : random.below(50)))
      let anything: [Value] = [.integer(id), .real(Double(id) / 2), .null, .text("t\(id)"), .blob([UInt8(id % 256)])]
      let row: [Value] = [
        .integer(id), id % 5 == 0 ? .null : .real(Double(id) / 7), .text("größe \(version)"),
        .blob([UInt8(id % 256), 0]),
        .integer(id % 2), .integer(id), anything[Int(id % 5)],
      ]
      return SinkEvent(
        seq: nil, localID: "\(id)", version: version, at: nil, key: [.integer(id)], content: .row(Values(row)), raw: [])
    }
    func stored(inGroupsOf size: Int) throws -> (Set<[String: Value]>, [MergeOutcome]) {
      let database = try TestServer.makeDatabase()
      let store = try PostgreSQLCloudStore(database.address)
      let outcomes = try stride(from: 0, to: events.count, by: size).flatMap { first in
        try store.transaction {
          try $0.merge(Array(events[first..<min(first + size, events.count)]), epoch: nil, into: sink)
        }
      }
      return (Set(try Reader(database: database).rows(of: "t")), outcomes)
    }
    let few = try stored(inGroupsOf: 7)
    #expect(few.0.count > 600 && few.1.contains(.superseded))
    for size in [63, 64, 400, 1200] {
      let many = try stored(inGroupsOf: size)
      #expect(many.0 == few.0 && many.1 == few.1, "\(size)")
    }
  }
}
