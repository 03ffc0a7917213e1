// What is left on a filesystem. A seam of one function, so that a test can fill a disk without one.

private import Foundation

package struct FreeSpace: Equatable, Sendable {
  /// For a user who is not root.
  package var bytes: Int64
  /// nil on a filesystem that makes inodes as it needs them.
  package var inodes: Int64?

  package init(bytes: Int64, inodes: Int64?) {
    self.bytes = bytes
    self.inodes = inodes
  }

  /// Of the filesystem that holds a file, whether the file is there yet or not. nil when it does not say.
  package static func of(_ path: String) -> FreeSpace? {
    var state = statvfs()
    guard statvfs(URL(fileURLWithPath: path).deletingLastPathComponent().path, &state) == 0 else { return nil }
    return FreeSpace(
      bytes: Int64(clamping: UInt64(state.f_bavail) * UInt64(state.f_frsize)),
      inodes: state.f_files > 0 ? Int64(clamping: state.f_favail) : nil)
  }
}
