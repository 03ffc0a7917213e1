// Who may read what Drover makes. A file beside a database is for those for whom the database is, and a database of Drover's own is for its
// owner alone, whatever the umask says. Where root runs a command, the file belongs to the database's owner, who has to write it later.

import Glibc

enum FileModes {
  /// Opens a file beside a database, and makes it where there is none.
  /// - Parameters:
  ///   - flags: beside `O_CREAT`.
  ///   - database: whose mode and owner the file gets; where it is not there, the owner alone may read it.
  /// - Returns: a descriptor, or -1 with `errno`.
  static func open(_ path: String, _ flags: Int32, like database: String) -> Int32 {
    let descriptor = Glibc.open(path, flags | O_CREAT | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { return descriptor }
    let kept = errno
    set(descriptor, like: database)
    errno = kept
    return descriptor
  }

  /// Makes an empty file where there is none, for SQLite to make a database of it. What stands beside that later gets its mode from SQLite.
  /// Fails without a word: SQLite, which opens it next, says why.
  /// - Parameter model: whose mode and owner it gets; nil for the owner alone.
  static func make(_ path: String, like model: String? = nil) {
    let descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { return }
    if let model { set(descriptor, like: model) }
    close(descriptor)
  }

  /// Makes a folder and those above it that are not there, for its owner alone. True when it is there.
  static func makeFolder(_ path: String, like database: String) -> Bool {
    var status = stat()
    if stat(path, &status) == 0 { return status.st_mode & S_IFMT == S_IFDIR }
    let above = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
    if !above.isEmpty, !makeFolder(above, like: database) { return false }
    guard mkdir(path, 0o700) == 0 || errno == EEXIST else { return false }
    if geteuid() == 0, stat(database, &status) == 0 { _ = chown(path, status.st_uid, status.st_gid) }
    return true
  }

  /// A file of another owner stays as it is.
  private static func set(_ descriptor: Int32, like model: String) {
    var status = stat()
    let isThere = stat(model, &status) == 0
    if geteuid() == 0, isThere { _ = fchown(descriptor, status.st_uid, status.st_gid) }
    _ = fchmod(descriptor, isThere ? status.st_mode & 0o066 | 0o600 : 0o600)
  }
}
