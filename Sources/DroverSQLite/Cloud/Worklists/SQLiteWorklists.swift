// The queue of orders in an SQLite store, on a connection of its own beside the consumer's.

package import DroverCore
private import Foundation
import GRDB

package final class SQLiteWorklists: OrderTables {
  private let queue: DatabaseQueue
  private let path: String
  package let plans: [WorklistPlan]
  package var settled: [WorklistName: String] = [:]
  package var placed: Set<WorklistName> = []

  /// - Parameter readOnly: they are only looked at.
  /// - Throws: `CloudStoreError`.
  package init(path: String, plans: [WorklistPlan], readOnly: Bool = false) throws {
    self.path = path
    self.plans = plans
    guard FileManager.default.fileExists(atPath: path) else {
      throw CloudStoreError(description: "open \(path): there is no store yet; `drover cloud` makes it when it starts")
    }
    var configuration = Configuration()
    configuration.busyMode = .timeout(10)
    configuration.foreignKeysEnabled = false
    configuration.label = "drover worklists"
    configuration.readonly = readOnly
    if !readOnly {
      configuration.prepareDatabase { database in
        // A machine works on what it is given: that must not be forgotten in a power loss.
        try database.execute(sql: "PRAGMA synchronous = FULL")
      }
    }
    do {
      queue = try DatabaseQueue(path: path, configuration: configuration)
      if !readOnly { try CloudTables.migrator.migrate(queue) }
    } catch let error as DatabaseError {
      throw CloudStoreError("open", path, error)
    }
  }

  package func writing<Result>(_ plan: WorklistPlan, _ body: (SQLiteOrderTable) throws -> Result) throws -> Result {
    do {
      return try queue.inDatabase { database in
        var result: Result?
        try database.inTransaction(.immediate) {
          try database.execute(sql: "INSERT OR IGNORE INTO drover_writer (id) VALUES (0)")
          result = try body(SQLiteOrderTable(plan, database))
          try database.execute(sql: "DELETE FROM drover_writer")
          return .commit
        }
        return result!
      }
    } catch let error as DatabaseError where error.resultCode == .SQLITE_CONSTRAINT {
      throw InvalidOrder(description: "list orders of \(plan.name): \(error.message ?? "a constraint refuses them")")
    } catch let error as DatabaseError {
      throw CloudStoreError("write orders to", path, error)
    }
  }

  package func reading<Result>(_ plan: WorklistPlan, _ body: (SQLiteOrderTable) throws -> Result) throws -> Result {
    do {
      return try queue.read { try body(SQLiteOrderTable(plan, $0)) }
    } catch let error as DatabaseError {
      throw CloudStoreError("read orders of", path, error)
    }
  }
}
