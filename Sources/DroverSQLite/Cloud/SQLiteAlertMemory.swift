// What the next consumer has to know of the alerts, in the store itself: so it goes where the store goes. Beside the consumer's connection, for
// a few bytes whenever an alert begins or ends.

import DroverCore
private import GRDB

package struct SQLiteAlertMemory: AlertMemory {
  private let path: String

  /// - Parameter path: a store that a consumer has opened before.
  package init(path: String) { self.path = path }

  package func read() throws -> String? {
    try access { database in
      try String.fetchOne(database, sql: "SELECT value FROM drover_meta WHERE name = 'alerts'")
    }
  }

  package func write(_ text: String) throws {
    try access { database in
      try database.inTransaction(.immediate) {
        try database.execute(
          sql: "INSERT OR REPLACE INTO drover_meta (name, value) VALUES ('alerts', ?)", arguments: [text])
        return .commit
      }
    }
  }

  private func access<Result>(_ body: (Database) throws -> Result) throws -> Result {
    var configuration = Configuration()
    configuration.busyMode = .timeout(10)
    do {
      return try DatabaseQueue(path: path, configuration: configuration).writeWithoutTransaction(body)
    } catch let error as DatabaseError {
      throw CloudStoreError(description: "keep the alerts in \(path): \(error.explanation)")
    }
  }
}
