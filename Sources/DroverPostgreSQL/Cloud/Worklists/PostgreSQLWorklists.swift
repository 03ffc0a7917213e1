// The queue of orders in a PostgreSQL store, on a connection of its own beside the consumers'. A lock for each worklist keeps two of them from handing out one
// order twice.

package import DroverCore

package final class PostgreSQLWorklists: OrderTables {
  private let store: PostgreSQLCloudStore
  package let plans: [WorklistPlan]
  package var settled: [WorklistName: String] = [:]
  package var placed: Set<WorklistName> = []

  /// - Parameter limits: the configuration's, so that tables are as protected as the consumer wants them.
  /// - Throws: `PostgreSQLError`.
  package init(
    _ address: PostgreSQLAddress, plans: [WorklistPlan], limits: CloudStoreLimits = CloudStoreLimits()
  ) throws {
    self.plans = plans
    // Looking makes no store.
    _ = try Connection(toStoreAt: address)
    store = try PostgreSQLCloudStore(address, limits: limits)
  }

  package func writing<Result>(
    _ plan: WorklistPlan, _ body: (PostgreSQLOrderTable) throws -> Result
  ) throws -> Result {
    do {
      return try store.running(after: "SELECT pg_advisory_xact_lock(\(Locks.orders(of: plan.name)))") {
        try body(PostgreSQLOrderTable(plan, $0, isWriting: true))
      }
    } catch let error as PostgreSQLError where error.isAboutTheEvent {
      throw InvalidOrder(description: "list orders of \(plan.name): \(error.explanation)")
    }
  }

  package func reading<Result>(
    _ plan: WorklistPlan, _ body: (PostgreSQLOrderTable) throws -> Result
  ) throws -> Result {
    try store.running { try body(PostgreSQLOrderTable(plan, $0, isWriting: false)) }
  }
}
