// Who holds SQLite's locks on a database, as the kernel tells in /proc/locks. Empty where it tells nothing: the holder may be in another container
// or on another host, and some filesystems tell of none.

private import DroverCore
private import Foundation

package enum LockHolders {
  /// A process that has a lock.
  struct Holder: Equatable {
    var process: Int32
    var isWriter: Bool
  }

  /// The bytes that SQLite locks, in the database itself and in its -shm file (https://www.sqlite.org/walformat.html, section 2.3.1).
  private static let databaseBytes: ClosedRange<UInt64> = 0x4000_0000...0x4000_01FF
  private static let walBytes: ClosedRange<UInt64> = 120...127

  /// The processes other than this one that keep others from the database, for a sentence; nil where none is known.
  /// - Parameter path: the database's.
  package static func text(of path: String) -> String? {
    guard let locks = readLocks() else { return nil }
    var found: [Holder] = []
    for (file, bytes) in [(path, databaseBytes), ("\(path)-shm", walBytes)] {
      if let identity = FileIdentity(of: file) { found += holders(in: locks, inode: identity.inode, bytes: bytes) }
    }
    found.removeAll { $0.process == getpid() }
    // A writer blocks all others, a reader blocks a writer.
    let writers = found.filter(\.isWriter)
    let processes = Set((writers.isEmpty ? found : writers).map(\.process)).sorted()
    guard !processes.isEmpty else { return nil }
    return processes.prefix(3).map { process in
      let name = try? String(contentsOfFile: "/proc/\(process)/comm", encoding: .utf8)
      return "process \(process)" + (name.map { " (\(printable($0.trimmingCharacters(in: .newlines))))" } ?? "")
    }.joined(separator: ", ")
  }

  /// Foundation reads the first 4095 bytes of such a file and no more.
  private static func readLocks() -> String? {
    let descriptor = open("/proc/locks", O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = read(descriptor, &piece, piece.count)
      guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
      bytes += piece[..<count]
    }
  }

  /// Reads lines such as `1: POSIX  ADVISORY  WRITE 812 fe:00:393230 1073741825 1073741825`.
  static func holders(in locks: String, inode: UInt64, bytes: ClosedRange<UInt64>) -> [Holder] {
    locks.split(separator: "\n").compactMap { line in
      // What waits for a lock has an arrow, and holds none.
      let words = line.split(separator: " ").dropFirst().map(String.init)
      guard words.count >= 7, words[0] == "POSIX", let process = Int32(words[3]), process > 0,
        let last = words[4].split(separator: ":").last, UInt64(last) == inode, let first = UInt64(words[5])
      else { return nil }
      let end = UInt64(words[6]) ?? .max
      guard first <= bytes.upperBound, end >= bytes.lowerBound else { return nil }
      return Holder(process: process, isWriter: words[2] == "WRITE")
    }
  }

  /// What is said of a lock that is in the way, and what to do about it.
  package static let advice =
    "the app's own commits wait for it too: end its open transaction (BEGIN without COMMIT) or the program, and set PRAGMA locking_mode = NORMAL; nothing is lost"
}
