import DroverCore
import DroverSQLite
import DroverTesting
import GRDB
import Testing

/// Rows matched by natural key: what the edge declares of them, and what the store in SQLite makes of it beside what every store must.
@Suite struct NaturalKeyTests {
  // MARK: The edge

  private static let make = """
    CREATE TABLE product (id INTEGER PRIMARY KEY, Barcode TEXT, brand TEXT, price INT);
    INSERT INTO product VALUES (1, '111', 'Nike', 5), (2, NULL, 'Puma', 6);
    """

  private func declaration(
    _ identity: [String]?, else others: [String] = [], _ selection: Selection = Selection()
  ) throws -> StreamDeclaration {
    try StreamDeclaration(name: stream, kind: .snapshot, table: "product") {
      $0.selection = selection
      $0.naturalKey = try identity.map { try NaturalKey(columns: $0, fallback: others) }
    }
  }

  @Test func `the schema that an edge describes says by what its rows are matched`() throws {
    let app = try AppDatabase(Self.make)
    let edge = try app.attach([declaration(["barcode"], else: ["BRAND"])])
    let schema = edge.streams[0].schema
    #expect(schema?.naturalKey == (try NaturalKey(columns: ["Barcode"], fallback: ["brand"])))
  }

  @Test func `a column that is not there or does not travel is refused, and one that travels as a hash is not`() throws
  {
    let app = try AppDatabase(Self.make)
    let key = HashKey(bytes: Array("0123456789abcdef".utf8))
    for (declaration, name) in try [
      (declaration(["ean"]), "no column ean, which `identity` names, exists and travels"),
      (declaration(["barcode"], else: ["size"]), "no column size, which `else` names, exists and travels"),
      (declaration(["barcode"], Selection(exclude: ["barcode"])), "no column barcode, which `identity` names"),
      (
        declaration(["barcode"], else: ["brand"], Selection(include: ["barcode"])),
        "no column brand, which `else` names"
      ),
    ] {
      #expect(try app.refusal(declaration).contains("product: \(name)"))
    }
    let hashed = try app.attach([declaration(["barcode"], Selection(hashed: ["barcode"], hashKey: key))])
    #expect(hashed.streams[0].schema?.naturalKey?.columns == ["Barcode"])
  }

  @Test func `when it is declared later, all rows are brought once more`() throws {
    let app = try AppDatabase(Self.make)
    try app.attach([declaration(nil)]).bringAll()
    let edge = try app.attach([declaration(["barcode"])], settled: false)
    try edge.bringAll()
    #expect(try edge.waiting().count == 2)
  }

  // MARK: The cloud

  private let stream = try! StreamName("product")
  private let machines = [try! MachineID("MAH001"), try! MachineID("MAH002")]
  private let schema = try! StreamSchema(
    kind: .snapshot,
    columns: [("id", "INTEGER"), ("barcode", "TEXT"), ("brand", "TEXT"), ("price", "INTEGER")]
      .map { Column(name: $0.0, declaredType: $0.1) }, key: [0],
    naturalKey: NaturalKey(columns: ["barcode"], fallback: ["brand"]))

  private func open(_ app: AppDatabase) throws -> SQLiteCloudStore { try SQLiteCloudStore(path: app.file("cloud.db")) }

  private func bring(
    _ store: SQLiteCloudStore, _ machine: Int, _ rows: [[Value]], version: Int64 = 1, schema: StreamSchema? = nil
  ) throws {
    let schema = schema ?? self.schema
    let machine = machines[machine]
    try store.transaction { transaction throws in
      #expect(try transaction.adopt(schema, machine: machine, stream: stream) == nil)
      try transaction.heard(machine: machine, epoch: Epoch(random: 1))
      let events = rows.map { row in
        SinkEvent(
          seq: nil, localID: "\(row[0])", version: version, at: nil, key: [row[0]], content: .row(Values(row)), raw: [])
      }
      let sink = Sink(machine: machine, stream: stream, kind: .snapshot, schema: schema)
      let outcomes = try transaction.merge(events, epoch: Epoch(random: 1), into: sink)
      #expect(outcomes.allSatisfy { $0 == .applied }, "\(outcomes)")
    }
  }

  private func query(_ app: AppDatabase, _ sql: String, in file: String = "cloud.db") throws -> [[Value]] {
    try AppDatabase.connect(app.file(file)).inDatabase { try rawRows($0, sql) }
  }

  @Test func `what belongs together is known when the store is opened anew`() throws {
    let app = try AppDatabase()
    try bring(open(app), 0, [[1, "111", .null, 1], [2, .null, "Nike", 2]])
    try bring(open(app), 1, [[70, "111", .null, 3], [71, .null, "Nike", 4]], version: 2)
    #expect(
      try query(app, "SELECT machine_id, id, price FROM product ORDER BY id") == [["MAH001", 1, 3], ["MAH001", 2, 4]])
    try bring(open(app), 0, [[1, "111", .null, 5]], version: 3)
    #expect(try query(app, "SELECT price FROM product ORDER BY id") == [[5], [4]])
  }

  @Test func `things are found by indexes, and streams without a natural key have nothing of it`() throws {
    let app = try AppDatabase()
    try bring(open(app), 0, [[1, "111", "Nike", 1]])
    for (column, index) in [("barcode", "drover_identity_of_product"), ("brand", "drover_else_of_product")] {
      let plan = try query(
        app,
        "EXPLAIN QUERY PLAN SELECT DISTINCT drover_thing FROM drover_held_product WHERE drover_thing <> 0 AND \(column) IS 'x'"
      )
      #expect(plan.contains { row in row.contains { $0.says("USING INDEX \(index) ") } }, "\(plan)")
    }
    let plain = try AppDatabase()
    try bring(
      open(plain), 0, [[1, "111", "Nike", 1]],
      schema: StreamSchema(kind: .snapshot, columns: schema.columns, key: schema.key))
    #expect(
      try query(plain, "SELECT name FROM sqlite_master WHERE name LIKE '%held%' OR name LIKE '%_of_product'") == [])
  }

  @Test func `a machine's own rows come back from the store, and not what others say of their things`() throws {
    let app = try AppDatabase()
    let store = try open(app)
    try bring(store, 0, [[1, "111", "Nike", 1], [2, "222", "Nike", 2]])
    try bring(store, 1, [[70, "111", "Nike AG", 9]], version: 2)
    for (machine, expected) in [
      (machines[0], [[1, "111", "Nike", 1], [2, "222", "Nike", 2]]), (machines[1], [[70, "111", "Nike AG", 9]]),
    ] as [(MachineID, [[Value]])] {
      let file = "\(machine).db"
      let restore = try MachineRestore(
        store: app.file("cloud.db"), machine: machine, stream: nil, to: app.file(file), tables: [:])
      #expect(try restore.run(removesExtra: false).map(\.added) == [expected.count])
      #expect(try query(app, "SELECT * FROM product ORDER BY id", in: file) == expected)
    }
  }

  /// For each row of a machine its key, and whether it reads as what the machine brought.
  private func survey(_ app: AppDatabase, _ machine: Int, _ rows: [[Value]]) throws -> [String] {
    let replica = try SQLiteReplica(path: app.file("cloud.db"))
    let stream = try #require(try replica.streams().first { $0.machine == machines[machine] })
    let digests = rows.map { row in
      var digest = Digest()
      for value in row { digest.combine(value) }
      return digest.state
    }
    var found: [(key: [Value], digest: UInt64)] = []
    try replica.survey(stream) { found.append(($0, $1)) }
    for row in found {
      let exact = try replica.rows(stream, keys: [row.key])[0]
      #expect(exact?.digest == row.digest)
    }
    #expect(try replica.count(stream) == found.count)
    return found.map { "\($0.key[0]) \(digests.contains($0.digest) ? "same" : "other")" }.sorted()
  }

  @Test func `a comparison sees each machine's own rows, and that the sink shows their things`() throws {
    let app = try AppDatabase()
    let store = try open(app)
    let (one, two): ([[Value]], [[Value]]) = (
      [[1, "111", "Nike", 1], [2, "222", "Nike", 2]], [[70, "111", "Nike AG", 9], [71, "333", .null, 3]]
    )
    try bring(store, 0, one)
    try bring(store, 1, two, version: 2)
    let (same1, same2) = (["integer(1) same", "integer(2) same"], ["integer(70) same", "integer(71) same"])
    #expect(try survey(app, 0, one) + survey(app, 1, two) == same1 + same2)

    func tamper(_ sql: String) throws {
      try AppDatabase.connect(app.file("cloud.db")).inDatabase { try $0.execute(sql: sql) }
    }
    // The row of a thing is its newest one's.
    try tamper("UPDATE product SET price = 0 WHERE id = 1")
    #expect(try survey(app, 0, one) == same1)
    #expect(try survey(app, 1, two) == ["integer(70) other", "integer(71) same"])
    try bring(store, 1, [two[0]], version: 3)
    #expect(try survey(app, 1, two) == same2)
    #expect(try query(app, "SELECT price FROM product WHERE id = 1") == [[9]])

    try tamper("DELETE FROM product WHERE id = 2; INSERT INTO product VALUES ('MAH002', 99, 'x', 'x', 0, 1, 1)")
    #expect(try survey(app, 0, one) == ["integer(1) same", "integer(2) other"])
    #expect(try survey(app, 1, two) == same2 + ["integer(99) other"])
    try bring(store, 0, [one[1]], version: 3)
    try store.transaction { transaction throws in
      let gone = SinkEvent(
        seq: nil, localID: "99", version: 9, at: nil, key: [99], content: .none, raw: [])
      let sink = Sink(machine: machines[1], stream: stream, kind: .snapshot, schema: schema)
      #expect(try transaction.merge([gone], epoch: Epoch(random: 1), into: sink) == [.applied])
    }
    #expect(try survey(app, 0, one) + survey(app, 1, two) == same1 + same2)
    #expect(try query(app, "SELECT count(*) FROM product") == [[3]])
  }

  @Test func `a row that an index of somebody's refuses is refused alone, and leaves nothing behind`() throws {
    let app = try AppDatabase()
    let store = try open(app)
    try bring(store, 0, [[1, "111", "Nike", 1]])
    try AppDatabase.connect(app.file("cloud.db")).inDatabase {
      try $0.execute(sql: "CREATE UNIQUE INDEX mine ON product (price)")
    }
    let sink = Sink(machine: machines[0], stream: stream, kind: .snapshot, schema: schema)
    func event(_ id: Int64, _ barcode: Value) -> SinkEvent {
      SinkEvent(
        seq: nil, localID: "\(id)", version: 2, at: nil, key: [.integer(id)],
        content: .row([.integer(id), barcode, .null, 1]), raw: [])
    }
    let outcomes = try store.transaction {
      try $0.merge([event(2, "222"), event(1, "111")], epoch: Epoch(random: 1), into: sink)
    }
    guard case .refused(.store, _) = outcomes[0] else { return #expect(Bool(false), "\(outcomes)") }
    #expect(outcomes[1] == .applied)
    #expect(try query(app, "SELECT id FROM drover_held_product") == [[1]])
  }
}

extension Value {
  /// Whether it is a text that holds these words.
  fileprivate func says(_ words: String) -> Bool {
    if case .text(let bytes) = self { String(decoding: bytes, as: UTF8.self).contains(words) } else { false }
  }
}
