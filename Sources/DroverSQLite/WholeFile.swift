// Small files that stand beside a database are there whole or not at all, by renaming. What is renamed always has the same name, so that a
// process that is killed in between leaves one file, and the next one takes it; Foundation's atomic writing leaves another one each time.

import Glibc

enum WholeFile {
  /// - Parameter database: that it stands beside.
  static func write(_ text: String, to path: String, beside database: String) throws(EdgeFileError) {
    let unfinished = unfinishedPath(path)
    let descriptor = FileModes.open(unfinished, O_WRONLY | O_TRUNC, like: database)
    guard descriptor >= 0 else { throw EdgeFileError("open", unfinished, errno) }
    defer { close(descriptor) }
    let bytes = Array(text.utf8)
    let count = Glibc.write(descriptor, bytes, bytes.count)
    guard count == bytes.count else { throw EdgeFileError("write", unfinished, count < 0 ? errno : ENOSPC) }
    guard fsync(descriptor) == 0 else { throw EdgeFileError("flush", unfinished, errno) }
    guard rename(unfinished, path) == 0 else { throw EdgeFileError("rename", unfinished, errno) }
  }

  static func remove(_ path: String) {
    unlink(unfinishedPath(path))
    unlink(path)
  }

  private static func unfinishedPath(_ path: String) -> String { path + ".new" }
}
