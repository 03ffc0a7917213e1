// Tells which statements are run, for tests that hold all of them against the server's plans. No list of statements has to be kept.

private import Synchronization

package enum StatementWatch {
  private static let watcher = Mutex<(@Sendable (_ sql: String, _ types: [UInt32], _ subject: String) -> Void)?>(nil)

  /// - Parameter take: told of each statement when it is prepared or run without parameters, of its parameters' types, and of the server and
  ///   database.
  package static func watch(_ take: @escaping @Sendable (_ sql: String, _ types: [UInt32], _ subject: String) -> Void) {
    watcher.withLock { $0 = take }
  }

  static func note(_ sql: String, _ types: [UInt32] = [], on connection: Connection) {
    guard connection.isWatched else { return }
    watcher.withLock(\.self)?(sql, types, connection.subject)
  }
}
