// One agent for one database, one consumer for one store: a lock file beside the database, held by the kernel for as long as the
// process lives, so that SIGKILL releases it. It also tells `drover status` whether anybody is at work, and whether each of its jobs still
// moves: every job has a name and notes a heartbeat in the file.

package import DroverCore
private import Foundation
private import Synchronization

package struct LockError: Error, CustomStringConvertible {
  package let description: String
}

package final class AgentLock: Sendable {
  private let descriptor: Int32
  private let path: String
  private let state = Mutex(State())

  private struct State {
    var beats: [String: Int64] = [:]
    /// How the connection to the broker stands; nil until there was one.
    var connection: String?
  }

  /// A job that has not noted anything for so long is stuck.
  package static let patience: Duration = .seconds(30)
  private static let noteInterval: Int64 = 5_000_000

  private static func path(for database: String) -> String { database + "-drover.lock" }

  /// Takes the lock, or throws with the process that has it.
  package init(database: String) throws(LockError) {
    path = Self.path(for: database)
    descriptor = FileModes.open(path, O_RDWR, like: database)
    guard descriptor >= 0 else {
      throw LockError(
        description: "lock \(path): \(String(cString: strerror(errno))); the folder has to be writable for Drover")
    }
    // Whoever only asks holds it for a moment, too.
    var attempts = 0
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0, attempts < 20 {
      attempts += 1
      poll(nil, 0, 10)
    }
    guard attempts < 20 else {
      let owner = Self.owner(descriptor)
      // Thrown from here, the finished object is released as any other: deinit closes the descriptor.
      throw LockError(
        description:
          "lock \(path): another Drover process\(owner.map { " (\($0))" } ?? "") works on this database; stop it first")
    }
    write(State())
  }

  /// Notes how the connection to the broker stands, for those who must not connect beside it.
  package func note(connection: String) {
    state.withLock { state in
      state.connection = connection
      write(state)
    }
  }

  /// How the connection of the process that has the lock stands; nil when it has never had one.
  package static func connection(database: String) -> String? {
    guard let text = try? String(contentsOfFile: path(for: database), encoding: .utf8) else { return nil }
    return text.split(separator: "\n").first { $0.hasPrefix(connectionPrefix) }.map {
      String($0.dropFirst(connectionPrefix.count))
    }
  }

  /// No job has this name.
  private static let connectionPrefix = "= the connection: "

  /// Notes that a job moves; from any thread, as often as one likes.
  package func beat(_ job: String) {
    let now = Self.now()
    state.withLock { state in
      if let last = state.beats[job], now - last < Self.noteInterval { return }
      state.beats[job] = now
      write(state)
    }
  }

  private func write(_ state: State) {
    let lines = state.beats.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)\n" }.joined()
    let connection = state.connection.map { "\(Self.connectionPrefix)\($0.replacing("\n", with: " "))\n" } ?? ""
    let text = Array("\(getpid())\n\(lines)\(connection)".utf8)
    pwrite(descriptor, text, text.count, 0)
    ftruncate(descriptor, off_t(text.count))
  }

  /// Microseconds of the clock that no step of the wall clock moves, the same in all processes.
  private static func now() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
  }

  /// Who holds a database's lock, and which of its jobs have not moved for longer than `patience`.
  package static func worker(database: String) -> Worker {
    guard let process = holder(database: database) else { return Worker(process: nil) }
    return Worker(process: process, stuck: stuckJobs(database: database))
  }

  private static func stuckJobs(database: String) -> [Worker.StuckJob] {
    guard let text = try? String(contentsOfFile: path(for: database), encoding: .utf8) else { return [] }
    return text.split(separator: "\n").dropFirst().compactMap { line in
      let words = line.split(separator: " ")
      guard words.count == 2, let at = Int64(words[1]) else { return nil }
      let silence = Duration.microseconds(now() - at)
      return silence > patience ? Worker.StuckJob(name: String(words[0]), silence: silence) : nil
    }
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
    return Int32(String(decoding: buffer[..<count].prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self))
  }
}
