// Wakes the consumer when rows that go down were edited in a PostgreSQL store. It listens on a connection and a thread of its own. Only a hint: where the
// connection is away, the consumer looks for edits once a second by itself.

private import CPostgreSQL
import DroverCore
private import Foundation
private import Synchronization

package final class EditWatcher: Sendable {
  private let hasEnded: Ending

  private final class Ending: Sendable {
    let isSet = Atomic(false)
  }

  /// Calls `changed`, on the thread of the watcher, after each commit with an edit.
  package init(_ address: PostgreSQLAddress, changed: @escaping @Sendable () -> Void) {
    let ending = Ending()
    hasEnded = ending
    let thread = Thread { Self.run(address, ending, changed) }
    thread.name = "drover-edits"
    thread.start()
  }

  deinit { hasEnded.isSet.store(true, ordering: .releasing) }

  private static func run(_ address: PostgreSQLAddress, _ ending: Ending, _ changed: () -> Void) {
    while !ending.isSet.load(ordering: .acquiring) {
      if let connection = try? Connection(address), (try? connection.run("LISTEN drover_edit")) != nil {
        // What was committed before it listened.
        changed()
        while !ending.isSet.load(ordering: .acquiring), !connection.isLost {
          if connection.hasNotice(within: .seconds(1)) { changed() }
        }
      }
      if !ending.isSet.load(ordering: .acquiring) { Thread.sleep(forTimeInterval: 2) }
    }
  }
}
