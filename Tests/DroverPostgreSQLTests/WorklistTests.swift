import DroverCore
import DroverPostgreSQL
import DroverTesting
import Testing

/// The queue of orders in PostgreSQL: what every store must hold, and what is this one's own.
@Suite(.ownThread) struct WorklistTests {
  private struct Client: SQLClient {
    let connection: Connection
    func run(_ sql: String) throws { try connection.run(sql) }
  }

  private static func place() throws -> (WorklistPlace, TestDatabase) {
    let database = try TestServer.makeDatabase()
    let place = WorklistPlace(
      store: try PostgreSQLCloudStore(database.address),
      open: { try PostgreSQLWorklists(database.address, plans: $0) },
      client: Client(connection: try database.connect()))
    return (place, database)
  }

  @Test(arguments: WorklistConformance.claims)
  func `it holds what every store must`(claim: WorklistConformance.Claim) throws {
    let (place, database) = try Self.place()
    defer { withExtendedLifetime(database) {} }
    try WorklistConformance { place }.check(claim)
  }

  private let mo = try! StreamName("mo")
  private let machine = try! MachineID("MAH001")

  private func request(_ number: UInt64) -> OrderRequest {
    OrderRequest(request: RefillID(random: number), stream: mo, limit: 5, bytes: 9999, last: nil)
  }

  @Test func `an order that a program is changing holds up no other`() throws {
    let (place, database) = try Self.place()
    let queue = try place.open([WorklistPlan(name: mo, stream: mo)])
    let insert = "INSERT INTO drover_order (worklist, order_key, fields) VALUES"
    try place.client.run("\(insert) ('mo', '1', '{}'), ('mo', '2', '{}')")
    #expect(try queue.answer(request(1), of: MachineID("MAH009"), from: mo, now: 1) != .closed)
    try queue.note(
      RefillOutcome(request: RefillID(random: 1), isTaken: false), of: MachineID("MAH009"), from: mo, now: 1)
    let other = try database.connect()
    try other.run("BEGIN; UPDATE drover_order SET priority = 5 WHERE order_key = '1'")
    guard case .orders(let orders, _) = try queue.answer(request(2), of: machine, from: mo, now: 2) else {
      Issue.record("no orders")
      return
    }
    #expect(orders.map(\.key) == ["2"])
    try other.run("COMMIT")
  }

  @Test func `a role that may insert orders needs no other right, and may not empty the table`() throws {
    let (place, database) = try Self.place()
    let client = try database.connect()
    try client.run(
      """
      CREATE ROLE erp_\(database.name);
      GRANT USAGE ON SCHEMA public TO erp_\(database.name);
      GRANT INSERT, SELECT ON drover_order TO erp_\(database.name);
      SET ROLE erp_\(database.name);
      INSERT INTO drover_order (worklist, order_key, fields) VALUES ('mo', '1', '{}');
      """)
    #expect(throws: PostgreSQLError.self) { try client.run("DELETE FROM drover_order") }
    try client.run("RESET ROLE")
    #expect(throws: PostgreSQLError.self) { try client.run("TRUNCATE drover_order") }
    let queue = try place.open([WorklistPlan(name: mo, stream: mo)])
    #expect(try queue.summary(mo).counts == [.queued: 1])
    try client.run("DROP OWNED BY erp_\(database.name); DROP ROLE erp_\(database.name)")
  }
}
