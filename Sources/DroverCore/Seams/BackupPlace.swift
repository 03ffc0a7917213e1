// The seam to backups of one database. The service says when; the adapter says how. DroverSQLite is behind it.

package protocol BackupPlace: Sendable {
  /// When the last backup was made and when one failed since, microseconds since 1970.
  func last() -> (made: Int64?, failed: Int64?)
  /// - Parameter beat: called while it moves.
  func begin(beat: @escaping @Sendable () -> Void) -> any RunningBackup
}

/// One backup, made once.
package protocol RunningBackup: Sendable {
  /// Makes it and notes what became of it. Blocks for as long as that takes.
  func make() throws -> (path: String, bytes: Int64)
  /// Makes `make` return soon. From any thread.
  func cancel()
  var isCancelled: Bool { get }
  /// The copy is being checked, which says nothing for minutes.
  var isChecking: Bool { get }
}
