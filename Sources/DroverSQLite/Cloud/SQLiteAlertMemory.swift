// What the next consumer has to know of the alerts, in the store itself: so it goes where the store goes. Beside the consumer's connection, for
// a few bytes whenever an alert begins or ends. How the endpoints of worklists do is kept the same way.

import DroverCore
private import GRDB

package struct SQLiteAlertMemory: AlertMemory {
  private let path: String
  private let name: String

  /// - Parameters:
  ///   - path: a store that a consumer has opened before.
  ///   - name: what is kept, for errors too.
  package init(path: String, name: String = "alerts") {
    self.path = path
    self.name = name
  }

  package func read() throws -> String? {
    try access { database in
      try String.fetchOne(database, sql: "SELECT value FROM drover_meta WHERE name = ?", arguments: [name])
    }
  }

  package func write(_ text: String) throws {
    try access { database in
      try database.inTransaction(.immediate) {
        try database.execute(
          sql: "INSERT OR REPLACE INTO drover_meta (name, value) VALUES (?, ?)", arguments: [name, text])
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
      throw CloudStoreError(description: "keep the \(name) in \(path): \(error.explanation)")
    }
  }
}
