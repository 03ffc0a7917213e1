import DroverCore
import DroverSQLite
import Testing

/// Rows that are brought once more, piece by piece.
@Suite struct ResyncTests {
  private func confirmed(_ sql: String, rows: String) throws -> (AppDatabase, EdgeDatabase) {
    let app = try AppDatabase(sql)
    try app.run(rows)
    let edge = try app.attach(.table("t"))
    while try edge.backfill(limit: 1000) {}
    try edge.confirmAll()
    #expect(try edge.waiting().isEmpty)
    return (app, edge)
  }

  private func table() throws -> (AppDatabase, EdgeDatabase) {
    try confirmed(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, level, at)",
      rows: """
        INSERT INTO t VALUES
          (1, 5, '2026-11-20 10:00:00'), (2, NULL, '2020-01-01'), (3, -1, 1795170600), (4, 7, 1577836800),
          (5, 8, 1577836800000), (6, 9, NULL), (7, 10, 'no time'), (8, 11, 1795170600000000)
        """)
  }

  /// The keys that wait when all pieces are done.
  private func brought(_ edge: EdgeDatabase, piece: Int = 3) throws -> [Int64] {
    while try edge.backfill(limit: piece) {}
    return try edge.everything().entries.map { entry in
      guard case .integer(let id) = entry.key[0] else { return -1 }
      return id
    }
  }

  @Test func `all rows come once, in order, whatever the pieces`() throws {
    for piece in [1, 3, 8, 100] {
      let (app, edge) = try table()
      defer { withExtendedLifetime(app) {} }
      let ordered = try edge.resync(ResyncOrder(), stream: 1)
      #expect(ordered == ResyncProgress(total: 8, looked: 0, entered: 0, elapsed: 0, isDone: false))
      #expect(edge.hasBackfill)
      #expect(try brought(edge, piece: piece) == [1, 2, 3, 4, 5, 6, 7, 8])
      let progress = try #require(try edge.resyncProgress(stream: 1))
      #expect((progress.looked, progress.entered, progress.isDone) == (8, 8, true))
    }
  }

  @Test func `a condition is held against each row, and NULL is no yes`() throws {
    let (app, edge) = try table()
    defer { withExtendedLifetime(app) {} }
    _ = try edge.resync(ResyncOrder(condition: try Condition(parsing: "LEVEL < 8")), stream: 1)
    #expect(try brought(edge) == [1, 3, 4])
    let progress = try #require(try edge.resyncProgress(stream: 1))
    #expect((progress.looked, progress.entered) == (8, 3))
  }

  @Test func `a window of time reads texts, seconds, milliseconds and microseconds, and takes what it cannot read`()
    throws
  {
    let (app, edge) = try table()
    defer { withExtendedLifetime(app) {} }
    // 2026-11-01
    _ = try edge.resync(ResyncOrder(since: .init(column: "At", moment: 1_793_491_200_000_000)), stream: 1)
    #expect(try brought(edge) == [1, 3, 6, 7, 8])
  }

  @Test func `a window of time finds the column that the configuration names, and says what lacks where it names none`()
    throws
  {
    let (app, edge) = try table()
    let order = ResyncOrder(since: .init(column: nil, moment: 1_793_491_200_000_000))
    #expect { try edge.resync(order, stream: 1) } throws: { "\($0)".contains("time_column") }
    #expect(!edge.hasBackfill)
    var declared = try StreamDeclaration.table("t")
    declared.timeColumn = "AT"
    let next = try app.attach(declared, settled: false)
    _ = try next.resync(order, stream: 1)
    #expect(try brought(next) == [1, 3, 6, 7, 8])
  }

  @Test func `the same order goes on, another one brings everything`() throws {
    let (app, edge) = try table()
    defer { withExtendedLifetime(app) {} }
    let order = ResyncOrder(condition: try Condition(parsing: "id > 4"))
    _ = try edge.resync(order, stream: 1)
    _ = try edge.backfill(limit: 5)
    #expect(try edge.resync(order, stream: 1).looked == 5)
    _ = try edge.resync(ResyncOrder(condition: try Condition(parsing: "id = 1")), stream: 1)
    #expect(try brought(edge).sorted() == [1, 2, 3, 4, 5, 6, 7, 8])
    _ = try edge.confirmAll()
    _ = try edge.resync(ResyncOrder(condition: try Condition(parsing: "id = 1")), stream: 1)
    #expect(try brought(edge) == [1], "what is over is over")
  }

  @Test func `it goes on where it was when the agent was killed, and the app goes on writing`() throws {
    let (app, edge) = try table()
    _ = try edge.resync(ResyncOrder(), stream: 1)
    _ = try edge.backfill(limit: 4)
    try app.run("UPDATE t SET level = 100 WHERE id = 2; DELETE FROM t WHERE id = 6; INSERT INTO t VALUES (9, 1, NULL)")
    let next = try app.attach(.table("t"), settled: false)
    #expect(next.hasBackfill)
    #expect(try brought(next) == [1, 3, 4, 2, 6, 5, 7, 8, 9])
  }

  @Test func `an order that makes no sense is refused, and changes nothing`() throws {
    let (app, edge) = try table()
    defer { withExtendedLifetime(app) {} }
    #expect(throws: EdgeStoreError.self) {
      try edge.resync(ResyncOrder(condition: try Condition(parsing: "nothing = 1")), stream: 1)
    }
    #expect(throws: EdgeStoreError.self) {
      try edge.resync(ResyncOrder(since: .init(column: "when", moment: 0)), stream: 1)
    }
    #expect(throws: EdgeStoreError.self) { try edge.resync(ResyncOrder(), stream: 2) }
    #expect(!edge.hasBackfill)
  }
}
