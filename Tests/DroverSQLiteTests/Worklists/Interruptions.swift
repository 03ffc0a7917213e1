// Ends what Drover's connections run on one file after a number of steps, as a process that is killed there would.
// https://www.sqlite.org/c3ref/progress_handler.html

import GRDBSQLite
import Synchronization

final class Interruptions: Sendable {
  /// The steps that are left for each file, counted in tens of SQLite's own.
  private static let left = Mutex<[String: Int]>([:])
  private static let installed: Void = {
    typealias Entry =
      @convention(c) (OpaquePointer?, UnsafeMutablePointer<UnsafePointer<CChar>?>?, UnsafeRawPointer?) -> Int32
    let entry: Entry = { connection, _, _ in
      guard let name = sqlite3_db_filename(connection, "main").map({ String(cString: $0) }),
        Interruptions.left.withLock({ $0[name] != nil })
      else { return 0 }
      sqlite3_progress_handler(
        connection, 10, { connection in Interruptions.isDue(OpaquePointer(connection)) ? 1 : 0 },
        UnsafeMutableRawPointer(connection))
      return 0
    }
    sqlite3_auto_extension(unsafeBitCast(entry, to: (@convention(c) () -> Void).self))
  }()

  private let path: String

  /// Of the connections that are opened from now on.
  init(of path: String) {
    self.path = path
    Self.left.withLock { $0[path] = .max }
    Self.installed
  }

  deinit { Self.left.withLock { $0[path] = nil } }

  /// - Parameter steps: nil: not any more.
  func stop(after steps: Int?) { Self.left.withLock { $0[path] = steps ?? .max } }

  private static func isDue(_ connection: OpaquePointer?) -> Bool {
    guard let name = sqlite3_db_filename(connection, "main").map({ String(cString: $0) }) else { return false }
    return left.withLock { left in
      guard let steps = left[name], steps < .max else { return false }
      left[name] = steps - 1
      return steps <= 0
    }
  }
}
