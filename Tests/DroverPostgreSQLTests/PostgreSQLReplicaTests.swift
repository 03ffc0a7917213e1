import DroverCore
import DroverPostgreSQL
import DroverTesting
import Foundation
import Synchronization
import Testing

/// The replica in PostgreSQL as a comparison reads it: every value as the machine has it, as of one moment, and what others did to it.
@Suite(.ownThread) struct PostgreSQLReplicaTests {
  private let machine = try! MachineID("MAH001")
  private let stream = try! StreamName("t")

  private func schema(_ columns: [(String, String)], lines: [LineSchema] = []) throws -> StreamSchema {
    try StreamSchema(
      kind: lines.isEmpty ? .snapshot : .batch,
      columns: columns.map { Column(name: $0.0, declaredType: $0.1) }, key: [0], lines: lines)
  }

  private var lines: LineSchema {
    get throws {
      try LineSchema(
        table: StreamName("line"),
        columns: [("id", "INTEGER"), ("ref", "INTEGER"), ("amount", "")].map { Column(name: $0.0, declaredType: $0.1) },
        key: [0], references: [1])
    }
  }

  private func bring(
    _ store: PostgreSQLCloudStore, _ schema: StreamSchema, _ rows: [[Value]],
    lines: ([Value]) -> [[[Value]]] = { _ in [] }, of machine: MachineID? = nil, version: Int64 = 1
  ) throws {
    let machine = machine ?? self.machine
    let sink = Sink(machine: machine, stream: stream, kind: schema.kind, schema: schema)
    let events = rows.map { row in
      SinkEvent(
        seq: nil, localID: "\(row[0])", version: version, at: nil, key: [row[0]], content: .row(Values(row)),
        lines: lines(row), raw: [])
    }
    let outcomes: [MergeOutcome] = try store.transaction { transaction in
      try transaction.setStatus(MachineStatus(isOnline: true, epoch: nil, software: nil, at: nil), machine: machine)
      #expect(try transaction.adopt(schema, machine: machine, stream: stream) == nil)
      return try transaction.merge(events, epoch: Epoch(random: 1), into: sink)
    }
    #expect(outcomes.allSatisfy { $0 == .applied })
  }

  /// What a survey and the exact look at each of its rows agree on.
  private func digests(_ replica: PostgreSQLReplica, of machine: MachineID? = nil) throws -> [[Value]: UInt64] {
    let stream = try #require(try replica.streams().first { $0.machine == machine ?? self.machine })
    var found: [[Value]: UInt64] = [:]
    try replica.survey(stream) { key, digest in
      #expect(found.updateValue(digest, forKey: key) == nil)
    }
    let keys = Array(found.keys)
    #expect(try replica.rows(stream, keys: keys).map { $0?.digest } == keys.map { found[$0] })
    #expect(try replica.count(stream) == found.count)
    return found
  }

  private func expected(_ rows: [[Value]]) -> [[Value]: UInt64] {
    Dictionary(uniqueKeysWithValues: rows.map { ([$0[0]], Digest.of($0)) })
  }

  @Test func `gaps in a machine's capture are remembered until a comparison has closed them`() throws {
    let database = try TestServer.makeDatabase()
    try RetirementConformance.checkGaps(
      PostgreSQLCloudStore(database.address), PostgreSQLReplica(database.address))
  }

  @Test func `what is complete and was cleared at the edge is no difference`() throws {
    let database = try TestServer.makeDatabase()
    try RetirementConformance.checkUnits(
      PostgreSQLCloudStore(database.address), PostgreSQLReplica(database.address))
  }

  @Test func `rows of every type are seen as the machine has them, however many they are`() throws {
    let database = try TestServer.makeDatabase()
    let store = try PostgreSQLCloudStore(database.address)
    let columns = [
      ("id", "INTEGER"), ("r", "REAL"), ("t", "TEXT"), ("b", "BLOB"), ("o", "BOOLEAN"), ("d", "DATETIME"),
      ("n", "DECIMAL(10,2)"), ("u", ""),
    ]
    let values: [Value] = [.integer(1), .real(1), "1", .blob([1, 0]), .null, .real(-0.0)]
    let rows = (Int64(0)..<1003).map { n -> [Value] in
      let price: Value = n % 3 == 0 ? .integer(n) : .real(Double(n) + 0.25)
      let text = Value.text(ArraySlice("größe \(n)".utf8))
      let blob = Value.blob([UInt8(n % 256), 0])
      let any = values[Int(n) % values.count]
      return [.integer(n), .real(Double(n) / 7), text, blob, .integer(n % 2), "2026-01-01", price, any]
    }
    try bring(store, schema(columns), rows)
    let replica = try PostgreSQLReplica(database.address)
    #expect(try digests(replica) == expected(rows))
    let stream = try #require(try replica.streams().first)
    #expect(try replica.rows(stream, keys: [[5000], ["x"], [7]]).map { $0 != nil } == [false, false, true])
    #expect(try stream.isOnline && stream.schema == schema(columns))
    // The same replica, after a column has got another type.
    let wide: [Value] = [5000, 1, "x", .null, "maybe", .null, "never", .null]
    try bring(store, schema(columns), [wide])
    let stored: [Value] = [5000, .real(1)] + wide[2...]
    #expect(try digests(replica) == expected(rows + [stored]))
    try database.connect().run("UPDATE t SET u = '1.0' WHERE id = 0; UPDATE t SET r = -r WHERE id = 1")
    let seen = try digests(replica)
    #expect(Set(expected(rows + [stored]).filter { seen[$0.key] != $0.value }.keys) == [[0], [1]])
  }

  @Test func `a survey is of one moment, whatever is written meanwhile`() throws {
    let database = try TestServer.makeDatabase()
    let store = try PostgreSQLCloudStore(database.address)
    let schema = try schema([("id", "INTEGER"), ("v", "INT")], lines: [lines])
    // More than are read at a time, so that lines are looked for before and after the others have written.
    func bring(_ count: Int64, _ value: Value, version: Int64) throws {
      try self.bring(
        store, schema, (0..<count).map { [.integer($0), value] }, lines: { [[[$0[0], $0[0], value]]] },
        version: version)
    }
    func expected(_ count: Int64, _ value: Value) -> [[Value]: UInt64] {
      Dictionary(
        uniqueKeysWithValues: (0..<count).map { id in
          var digest = Digest(of: [.integer(id), value])
          digest.combine(lines: [[.integer(id), .integer(id), value]])
          return ([.integer(id)], digest.state)
        })
    }
    try bring(250, 0, version: 1)
    let replica = try PostgreSQLReplica(database.address)
    let stream = try #require(try replica.streams().first)
    var seen: [[Value]: UInt64] = [:]
    try replica.survey(stream) { key, digest in
      if seen.isEmpty { try bring(400, 1, version: 2) }
      seen[key] = digest
    }
    #expect(seen == expected(250, 0))
    #expect(try digests(replica) == expected(400, 1))
  }

  @Test func `lines belong to their header's digest, and those without a header are found and removed`() throws {
    let database = try TestServer.makeDatabase()
    let store = try PostgreSQLCloudStore(database.address)
    let schema = try schema([("id", "INTEGER"), ("total", "REAL")], lines: [lines])
    var all: [[Value]: UInt64] = [:]
    for header in Int64(0)..<5 {
      let rows: [[Value]] = (0..<header).map { [.integer(header * 10 + $0), .integer(header), .integer($0)] }
      try bring(store, schema, [[.integer(header), .real(1)]], lines: { _ in [rows] })
      var digest = Digest(of: [.integer(header), .real(1)])
      digest.combine(lines: rows)
      all[[.integer(header)]] = digest.state
    }
    let replica = try PostgreSQLReplica(database.address)
    let stream = try #require(try replica.streams().first)
    #expect(try digests(replica) == all)
    #expect(try replica.strayLines(stream) == 0)
    try database.connect().run(
      """
      UPDATE line SET amount = '9' WHERE id = 20; DELETE FROM line WHERE id = 31;
      DELETE FROM t WHERE id = 4;
      INSERT INTO line (machine_id, id, ref, amount, drover_epoch, drover_version)
      VALUES ('MAH001', 500, NULL, '1', 1, 1), ('other', 40, 4, '1', 1, 1)
      """)
    let seen = try digests(replica)
    #expect(Set(all.filter { seen[$0.key] != $0.value }.keys) == [[2], [3], [4]])
    #expect(try replica.strayLines(stream) == 5)
    try replica.removeStrayLines(stream)
    #expect(try replica.strayLines(stream) == 0)
    let left = try database.connect().query("SELECT machine_id, count(*) FROM line GROUP BY 1 ORDER BY 1")
    #expect(left.text(0, 0) == "MAH001" && left.integer(0, 1) == 5 && left.text(1, 0) == "other")
  }

  @Test func `a line whose header comes back while stray ones are removed stays`() throws {
    let database = try TestServer.makeDatabase()
    let store = try PostgreSQLCloudStore(database.address)
    let schema = try schema([("id", "INTEGER"), ("total", "REAL")], lines: [lines])
    try bring(store, schema, [[1, .real(1)]], lines: { _ in [[[10, 1, 5]]] })
    let watch = try database.connect()
    try watch.run("DELETE FROM t")
    let stream = try #require(try PostgreSQLReplica(database.address).streams().first)
    let failure = Mutex<(any Error)?>(nil)
    let ended = DispatchSemaphore(value: 0)
    try store.transaction { transaction in
      let sink = Sink(machine: machine, stream: self.stream, kind: schema.kind, schema: schema)
      let header = SinkEvent(
        seq: nil, localID: "1", version: 2, at: nil, key: [1], content: .row([1, .real(1)]), lines: [[[10, 1, 5]]],
        raw: [])
      #expect(try transaction.merge([header], epoch: Epoch(random: 1), into: sink) == [.applied])
      Thread.detachNewThread {
        defer { ended.signal() }
        do { try PostgreSQLReplica(database.address).removeStrayLines(stream) } catch {
          failure.withLock { $0 = error }
        }
      }
      // It has seen the line without its header, and waits for the end of this.
      while try !watch.query("SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)")
        .boolean(0, 0)
      {
        guard ended.wait(timeout: .now()) == .timedOut else { throw CancellationError() }
      }
    }
    ended.wait()
    #expect(failure.withLock { $0 } == nil)
    #expect(try watch.query("SELECT count(*) FROM t").integer(0, 0) == 1)
    #expect(try watch.query("SELECT count(*) FROM line").integer(0, 0) == 1)
  }

  @Test func `of matched rows each machine's own are seen, and that the sink shows their things`() throws {
    let database = try TestServer.makeDatabase()
    let store = try PostgreSQLCloudStore(database.address)
    let other = try MachineID("MAH002")
    let schema = try StreamSchema(
      kind: .snapshot,
      columns: [("id", "INTEGER"), ("barcode", "TEXT"), ("price", "")].map { Column(name: $0.0, declaredType: $0.1) },
      key: [0], naturalKey: NaturalKey(columns: ["barcode"]))
    let one: [[Value]] = [[1, "111", 1], [2, "222", 2]]
    let two: [[Value]] = [[70, "111", 9], [71, "333", 3]]
    try bring(store, schema, one)
    try bring(store, schema, two, of: other, version: 2)
    let replica = try PostgreSQLReplica(database.address)
    #expect(try digests(replica) == expected(one))
    #expect(try digests(replica, of: other) == expected(two))
    // The row of a thing is its newest one's; 9 and 9.0 are equal in jsonb, and not the same.
    try database.connect().run("UPDATE t SET price = '9.0' WHERE id = 1")
    #expect(try digests(replica) == expected(one))
    #expect(try digests(replica, of: other).filter { expected(two)[$0.key] != $0.value }.map(\.key) == [[70]])
    try database.connect().run(
      "DELETE FROM t WHERE id = 2; INSERT INTO t (machine_id, id, drover_epoch, drover_version) VALUES ('MAH002', 99, 1, 1)"
    )
    #expect(try digests(replica).filter { expected(one)[$0.key] != $0.value }.map(\.key) == [[2]])
    #expect(
      try Set(digests(replica, of: other).filter { expected(two)[$0.key] != $0.value }.map(\.key)) == [[70], [99]])
  }
}
