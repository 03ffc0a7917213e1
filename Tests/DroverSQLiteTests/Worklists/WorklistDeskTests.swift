import DroverCore
import DroverSQLite
import Testing

/// What people see of worklists, and do to them, beside the agent.
@Suite struct WorklistDeskTests {
  private func declared(_ isEnabled: Bool = true) throws -> StreamDeclaration {
    var stream = try StreamDeclaration.batch("mo", completeWhen: "done = 1")
    stream.worklist = WorklistDeclaration(orderKey: "mo_id", number: "batch_no", isEnabled: isEnabled)
    return stream
  }

  private func desk(_ app: AppDatabase, _ stream: StreamDeclaration) -> SQLiteWorklistDesk {
    SQLiteWorklistDesk(path: app.path, declarations: [stream], quota: OutboxQuota())
  }

  private static let schema =
    "CREATE TABLE mo (mo_id TEXT PRIMARY KEY, batch_no INT, kg REAL, done INT NOT NULL DEFAULT 0)"

  @Test func `people see the rows, the last request and answer, and why no orders come`() throws {
    let app = try AppDatabase(Self.schema)
    let stream = try declared()
    let desk = desk(app, stream)
    #expect(try desk.reports() == [])
    let edge = try app.attach(stream)
    let name = stream.name
    #expect(try desk.reports().map(\.waits) == [nil])
    let request = RefillID(random: 1)
    _ = try edge.openRequest(worklist: 1, new: request, now: 5)
    #expect(try desk.reports().map(\.waits) == ["the cloud has not answered yet"])
    let orders = ["A", "B"].map { ReadOrder(key: $0, fields: [("kg", .real(1.5))]) }
    _ = try edge.refill(
      worklist: 1, request: request, orders: orders + [ReadOrder(key: "C", fields: [("kg", .text("x"))])], left: 4,
      now: 6)
    try app.run("UPDATE mo SET done = 1 WHERE mo_id = 'B'")
    let report = try #require(try desk.reports().first)
    #expect(
      report
        == WorklistReport(
          name: name, table: "mo", isEnabled: true, refillWhen: .empty, rows: WorklistRows(all: 2, unfinished: 1),
          requestedAt: 5, answer: "2 orders, 1 that the table refuses; 4 more wait in the cloud", answeredAt: 6,
          isLastNoted: false, counts: WorklistCounts(refills: 1, orders: 2, refused: 1)))
    #expect(report.waits == "2 rows are left in the table, 1 unfinished")
    #expect(
      try desk.rows(of: name, limit: 10) == [
        WorklistRow(
          number: 1, isFinished: false, columns: ["mo_id", "batch_no", "kg", "done"],
          values: [.text("A"), .integer(1), .real(1.5), .integer(0)]),
        WorklistRow(
          number: 2, isFinished: true, columns: ["mo_id", "batch_no", "kg", "done"],
          values: [.text("B"), .integer(2), .real(1.5), .integer(1)]),
      ])
    #expect(try desk.rows(of: name, limit: 1).count == 1)
    #expect(try SQLiteEdgeReader(path: app.path).report()?.worklists == [report])
    try edge.note(worklist: 1, waits: "the consumer has none")
    _ = try edge.clear(worklist: 1)
    #expect(try desk.reports().map(\.waits) == ["the consumer has none"])
    #expect(try app.attach(declared(false)).standing(worklist: 1).rows.all == 0)
    #expect(try desk.reports().map(\.waits) == ["it is disabled (`enabled: false`)"])
    try app.run("ALTER TABLE mo RENAME COLUMN done TO finished")
    #expect(try desk.reports().map(\.rows) == [nil])
  }

  @Test func `a worklist that the configuration no longer has is not shown`() throws {
    let app = try AppDatabase(Self.schema)
    let stream = try declared()
    _ = try app.attach(stream)
    _ = try app.attach(.batch("mo", completeWhen: "done = 1"))
    let desk = desk(app, stream)
    #expect(try desk.reports() == [] && desk.rows(of: stream.name, limit: 1) == [])
    #expect { try desk.trigger(stream.name) } throws: { "\($0)".contains("the database does not have it yet") }
  }

  // The agent takes the commit of another program for the app's: a new epoch would send everything again.
  @Test func `a trigger and a clearing by another program reach the agent, which goes on`() throws {
    let app = try AppDatabase(Self.schema)
    let stream = try declared()
    let edge = try app.attach(stream)
    let desk = desk(app, stream)
    _ = try edge.openRequest(worklist: 1, new: RefillID(random: 1), now: 1)
    _ = try edge.refill(
      worklist: 1, request: RefillID(random: 1), orders: [ReadOrder(key: "A", fields: [])], left: 0, now: 1)
    _ = try edge.hasChanged()
    try desk.trigger(stream.name)
    #expect(try edge.hasChanged() && edge.standing(worklist: 1).triggers == 1)
    let cleared = try desk.clear(stream.name)
    #expect(cleared.removed == 1 && cleared.unfinished == ["A"])
    #expect(try edge.hasChanged())
    #expect(try edge.standing(worklist: 1).last?.cleared == ["A"])
    #expect(try edge.openRequest(worklist: 1, new: RefillID(random: 2), now: 1) == RefillID(random: 2))
    #expect { try desk.clear(StreamName("other")) } throws: { "\($0)".contains("names no such worklist") }
  }
}
