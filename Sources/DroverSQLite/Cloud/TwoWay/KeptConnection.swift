// A connection that is kept between questions, because to open one costs more than most questions. Another file under the path, as after a restore, gets
// another one.

private import Foundation
import GRDB
import Synchronization

final class KeptConnection: Sendable {
  private struct Kept {
    let queue: DatabaseQueue
    let file: FileIdentity?
  }

  private let path: String
  private let kept = Mutex<Kept?>(nil)

  init(path: String) { self.path = path }

  /// Questions at the same time have connections of their own, and the last one is kept.
  /// - Parameter open: opens the file that is there now.
  func use<Result>(_ open: () throws -> DatabaseQueue, _ body: (DatabaseQueue) throws -> Result) throws -> Result {
    let file = FileIdentity(of: path)
    let known = kept.withLock { kept in
      defer { kept = nil }
      return kept
    }
    let queue: DatabaseQueue
    if let known, file != nil, known.file == file { queue = known.queue } else { queue = try open() }
    // One whose question has failed is not used again.
    let result = try body(queue)
    kept.withLock { $0 = Kept(queue: queue, file: file) }
    return result
  }
}
