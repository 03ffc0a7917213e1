// One agent for one database, one consumer for one store: a lock file beside the database, held by the kernel for as long as the
// process lives, so that SIGKILL releases it. It also tells `drover status` whether anybody is at work.

private import Foundation
private import Synchronization

package struct LockError: Error, CustomStringConvertible {
  package let description: String
}

package final class AgentLock: Sendable {
  private let descriptor: Int32
  private let path: String

  private static func path(for database: String) -> String { database + "-drover.lock" }

  /// Takes the lock, or throws with the process that has it.
  package init(database: String) throws(LockError) {
    path = Self.path(for: database)
    descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      throw LockError(
        description: "lock \(path): \(String(cString: strerror(errno))); the folder has to be writable for Drover")
    }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      let owner = Self.owner(descriptor)
      // Thrown from here, the finished object is released as any other: deinit closes the descriptor.
      throw LockError(
        description:
          "lock \(path): another Drover process\(owner.map { " (\($0))" } ?? "") works on this database; stop it first")
    }
    let text = "\(getpid())\n"
    ftruncate(descriptor, 0)
    _ = text.withCString { write(descriptor, $0, strlen($0)) }
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// Removes the file; for `detach`, which leaves nothing behind.
  package func removeFile() { unlink(path) }

  /// The process that holds the lock of a database, or nil when nobody does.
  package static func holder(database: String) -> Int32? {
    let descriptor = open(path(for: database), O_RDWR | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    guard flock(descriptor, LOCK_EX | LOCK_NB) != 0 else { return nil }
    return owner(descriptor)
  }

  private static func owner(_ descriptor: Int32) -> Int32? {
    var buffer = [UInt8](repeating: 0, count: 32)
    let count = pread(descriptor, &buffer, buffer.count, 0)
    guard count > 0 else { return nil }
    return Int32(String(decoding: buffer[..<count], as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines))
  }
}
