// Time that passes only when the simulation says so: the clock of all waiting, and the wall clocks, SQLite's own included, which the
// triggers ask for versions.

import CSQLite
import DroverSQLite
import Glibc
import Synchronization

final class VirtualTime {
  /// 2026-11-20, 10:30 UTC: where every wall clock begins, in microseconds since 1970.
  static let beginning: Int64 = 1_795_170_600_000_000

  private let start = ContinuousClock().now
  private(set) var elapsed: Duration = .zero

  var now: ContinuousClock.Instant { start.advanced(by: elapsed) }

  /// Microseconds since 1970 on a wall clock that nobody touches.
  var wall: Int64 { Self.beginning + Int64(elapsed / .microseconds(1)) }

  func advance(by duration: Duration) { elapsed += duration }
}

/// What `julianday('now')` says within SQLite, for whoever runs in its scope.
final class SQLiteClock: Sendable {
  private let microseconds = Atomic<Int64>(0)

  /// Before any connection is opened that is to have it.
  init() { _ = Self.isInstalled }

  /// Microseconds since 1970.
  func set(_ wall: Int64) { microseconds.store(wall, ordering: .relaxed) }

  /// The clock of this task; without one SQLite keeps the system's time.
  @TaskLocal private static var current: SQLiteClock?

  func scope<Result>(_ body: () throws -> Result) rethrows -> Result {
    try Self.$current.withValue(self, operation: body)
  }

  /// A file system of SQLite's that differs from the default one in its clock alone. It becomes the default of the whole process,
  /// because a connection takes its clock when it is opened; outside of a scope it tells the system's time.
  /// Source: https://www.sqlite.org/c3ref/vfs.html, xCurrentTimeInt64.
  private static let isInstalled: Bool = {
    sqlite3_initialize()
    nonisolated(unsafe) let vfs = UnsafeMutablePointer<sqlite3_vfs>.allocate(capacity: 1)
    vfs.initialize(to: sqlite3_vfs_find(nil).pointee)
    vfs.pointee.zName = UnsafePointer(strdup("drover-simulation"))
    vfs.pointee.pNext = nil
    vfs.pointee.xCurrentTimeInt64 = { _, milliseconds in
      let wall = SQLiteClock.current?.microseconds.load(ordering: .relaxed) ?? SQLiteCloudStore.wallClock()
      // A Julian day number in milliseconds; 1970 began at noon and a half day.
      milliseconds!.pointee = 210_866_760_000_000 + wall / 1000
      return SQLITE_OK
    }
    return sqlite3_vfs_register(vfs, 1) == SQLITE_OK
  }()
}
