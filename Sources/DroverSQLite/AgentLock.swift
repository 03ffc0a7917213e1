// One agent for one database, one consumer for one store: a lock file beside the database, held by the kernel for as long as the
// process lives, so that SIGKILL releases it. It also tells `drover status` whether an agent is at work, on which file, and whether each of
// its jobs still moves: every job has a name and notes a heartbeat in the file.
//
// Links lead to the same lock: it stands beside the resolved file, and a hard link is found out by a second lock on the inode itself.

package import DroverCore
private import Foundation
private import Synchronization

package struct LockError: Error, CustomStringConvertible {
  package let description: String
}

package final class AgentLock: Sendable {
  /// What is held for one database.
  private struct Held {
    var database: String
    var path: String
    /// The lock file, and the one of an earlier release where that stands elsewhere; -1: none.
    var descriptor: Int32
    var earlier: (path: String, descriptor: Int32)?
    /// The database itself, open only for its lock; -1 where it is not there yet.
    ///
    /// It is closed only when no connection of this process has the file open: closing any descriptor of a file drops the locks that
    /// SQLite holds on it (https://www.sqlite.org/howtocorrupt.html, section 2.2).
    var inode: Int32 = -1
    var identity: FileIdentity?

    /// The descriptor of the lock file that stands at a path, where it is one of these.
    func lock(at path: String) -> Int32? {
      guard let there = FileIdentity(of: path) else { return nil }
      return [descriptor, earlier?.descriptor ?? -1].first { FileIdentity(descriptor: $0) == there }
    }

    /// Whether the lock file was removed while the database is there still. No other process sees the lock that is held on it.
    var isMissing: Bool {
      lock(at: path) == nil && identity != nil && identity == FileIdentity(of: database)
    }

    func release() {
      for descriptor in [descriptor, earlier?.descriptor ?? -1, inode] where descriptor >= 0 { close(descriptor) }
    }
  }

  private struct State {
    var held: Held?
    var beats: [String: Int64] = [:]
    /// How the connection to the broker stands; nil until there was one.
    var connection: String?
    /// Of a consumer: who keeps it from the store.
    var storeLock: StoreLock?
    /// How many conflicts the cloud says there are.
    var conflicts: Int?
    var failures: [DeliveryFailure.Kind: DeliveryFailure] = [:]
    var failuresWritten: Int64 = 0
    /// When it was looked whether the lock file is there.
    var looked: Int64 = 0
  }

  private let state = Mutex(State())
  private let machine: String?

  /// A job that has not noted anything for so long is stuck.
  package static let patience: Duration = .seconds(30)
  private static let noteInterval: Int64 = 5_000_000
  private static let lookInterval: Int64 = 1_000_000
  private static let ending = "-drover.lock"
  /// A byte of the database that SQLite locks in no mode: its own are the 512 from 2^30 on. Locking a byte does not touch what is in it.
  private static let inodeByte: off_t = 0x7FFF_FFF0
  /// F_OFD_SETLK: the lock belongs to the open file and not to the process, so it neither meets nor drops SQLite's.
  private static let setOpenFileLock: Int32 = 37

  /// Takes the lock, or throws with the process that has it.
  /// - Parameter machine: whose agent it is, for the person whose second agent is refused.
  package init(database: String, machine: MachineID? = nil) throws(LockError) {
    self.machine = machine?.text
    let held = try Self.take(database)
    state.withLock { $0.held = held }
    write()
  }

  /// Takes the lock of the file that a database's path leads to now, and lets go of the one before. No connection of this process may
  /// have the file before open any more.
  package func move(to database: String) throws(LockError) {
    let before = state.withLock { $0.held }
    let next = try Self.take(database, after: before)
    state.withLock { $0.held = next }
    before?.release()
    write()
  }

  /// - Parameter before: what this process holds already, perhaps under other names: a path may have become a link. Another descriptor of the
  ///   same file would meet that lock, so its own is duplicated.
  private static func take(_ database: String, after before: Held? = nil) throws(LockError) -> Held {
    let file = FileBeside(ending, database: database)
    var held = Held(database: database, path: file.path, descriptor: -1)
    var isNew = false
    do {
      if let own = before?.lock(at: file.path) {
        held.descriptor = Self.duplicate(own)
      } else {
        isNew = true
        held.descriptor = try takeFile(file.path, creates: true, like: database)
      }
      // An agent of an earlier release may be at work, with its lock beside the link.
      if let earlier = file.earlierPath, access(earlier, F_OK) == 0 {
        if let own = before?.lock(at: earlier) {
          held.earlier = (earlier, Self.duplicate(own))
        } else {
          held.earlier = (earlier, try takeFile(earlier, creates: false, like: database))
        }
      }
      if let before, let own = FileIdentity(descriptor: before.inode), own == FileIdentity(of: database) {
        held.inode = Self.duplicate(before.inode)
      } else {
        held.inode = try takeInode(of: database)
      }
      held.identity = FileIdentity(descriptor: held.inode) ?? FileIdentity(of: database)
      return held
    } catch {
      // Beside another name of the file nothing is left.
      if isNew, held.descriptor >= 0 { unlink(file.path) }
      held.release()
      throw error
    }
  }

  /// Another descriptor of an open file. No child process gets it: that one would keep the lock.
  private static func duplicate(_ descriptor: Int32) -> Int32 { fcntl(descriptor, F_DUPFD_CLOEXEC, 0) }

  private static func takeFile(_ path: String, creates: Bool, like database: String) throws(LockError) -> Int32 {
    let descriptor =
      creates
      ? FileModes.open(path, O_RDWR, like: database) : open(path, O_RDWR | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw LockError(
        description: "lock \(path): \(String(cString: strerror(errno))); the folder has to be writable for Drover")
    }
    // A process that only asks holds it for a moment, too.
    var attempts = 0
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0, attempts < 20 {
      attempts += 1
      poll(nil, 0, 10)
    }
    guard attempts < 20 else {
      let text = text(descriptor)
      close(descriptor)
      let owner = owner(text).map { " (\($0))" } ?? ""
      let machine = words(text, "for").map { " for machine \($0[2])" } ?? ""
      throw LockError(
        description:
          "lock \(path): another Drover process\(owner)\(machine) works on this database; stop it first: a database has one agent and one machine's name"
      )
    }
    return descriptor
  }

  /// - Returns: -1 where there is no file yet, or its filesystem has no such locks.
  private static func takeInode(of database: String) throws(LockError) -> Int32 {
    let descriptor = open(database, O_RDWR | O_CLOEXEC)
    guard descriptor >= 0 else { return -1 }
    var lock = flock()
    lock.l_type = Int16(F_WRLCK)
    lock.l_whence = Int16(SEEK_SET)
    lock.l_start = inodeByte
    lock.l_len = 1
    if fcntl(descriptor, setOpenFileLock, &lock) == 0 { return descriptor }
    let isTaken = errno == EAGAIN || errno == EACCES
    close(descriptor)
    guard isTaken else { return -1 }
    throw LockError(
      description:
        "lock \(database): another Drover process works on this file under another name, a hard link of it, or its lock file was removed; stop that one, and remove the link: programs that open a database by two names corrupt it (https://www.sqlite.org/howtocorrupt.html, section 2.5)"
    )
  }

  /// Notes how the connection to the broker stands, for those who must not connect beside it.
  package func note(connection: String) {
    state.withLock { $0.connection = connection }
    write()
  }

  /// Counts what went wrong, for `drover status`.
  package func count(_ kind: DeliveryFailure.Kind, wall: Int64) {
    let now = Self.now()
    let isDue = state.withLock { state in
      state.failures[kind, default: DeliveryFailure(kind, count: 0, last: wall)].count += 1
      state.failures[kind]!.last = wall
      guard now - state.failuresWritten >= 1_000_000 else { return false }
      state.failuresWritten = now
      return true
    }
    // What comes within a second is written with the next heartbeat.
    if isDue { write() }
  }

  /// What has gone wrong since the process that has the lock started, the newest first.
  package static func failures(database: String) -> [DeliveryFailure] {
    (holding(database)?.text ?? "").split(separator: "\n").compactMap { line in
      let words = line.split(separator: " ")
      guard words.count == 5, words[1] == failurePrefix, let kind = DeliveryFailure.Kind(rawValue: String(words[2])),
        let count = Int(words[3]), let last = Int64(words[4])
      else { return nil }
      return DeliveryFailure(kind, count: count, last: last.clamped(to: Bounds.time))
    }
    .sorted { ($1.last, $0.kind.rawValue) < ($0.last, $1.kind.rawValue) }
  }

  private static let failurePrefix = "failed"

  /// How the connection of the process that has the lock stands; nil when it has never had one.
  package static func connection(database: String) -> String? {
    holding(database)?.text.split(separator: "\n").first { $0.hasPrefix(connectionPrefix) }.map {
      String($0.dropFirst(connectionPrefix.count))
    }
  }

  /// No job has this name.
  private static let connectionPrefix = "= the connection: "

  /// Notes how many conflicts of the machine's rows the cloud says there are; nil where it does not say.
  package func note(conflicts: Int?) {
    state.withLock { $0.conflicts = conflicts }
    write()
  }

  /// What the agent that is at work heard last from the cloud; nil where it has heard nothing.
  package static func conflicts(database: String) -> Int? {
    (holding(database)?.text ?? "").split(separator: "\n").first { $0.hasPrefix(conflictsPrefix) }
      .flatMap { Int($0.dropFirst(conflictsPrefix.count)) }
  }

  private static let conflictsPrefix = "= conflicts "

  /// Notes who has the consumer's store locked, and nil when the lock is gone.
  package func note(storeLock: StoreLock?) {
    state.withLock { $0.storeLock = storeLock }
    write()
  }

  /// Who keeps the consumer that is at work from its store; nil without one.
  package static func storeLock(database: String) -> StoreLock? {
    guard let line = holding(database)?.text.split(separator: "\n").first(where: { $0.hasPrefix(storeLockPrefix) })
    else { return nil }
    let words = line.dropFirst(storeLockPrefix.count).split(separator: " ", maxSplits: 1)
    guard words.count == 2, let since = Int64(words[0]) else { return nil }
    return StoreLock(holder: String(words[1]), since: since)
  }

  private static let storeLockPrefix = "= locked "

  /// Notes that a job moves; from any thread, as often as one likes.
  package func beat(_ job: String) {
    let now = Self.now()
    let isDue = state.withLock { state in
      let isMissing = now - state.looked >= Self.lookInterval && state.held?.isMissing == true
      if now - state.looked >= Self.lookInterval { state.looked = now }
      if !isMissing, let last = state.beats[job], now - last < Self.noteInterval { return false }
      state.beats[job] = now
      return true
    }
    if isDue { write() }
  }

  private func write() {
    state.withLock { state in
      guard var held = state.held else { return }
      if held.isMissing, let descriptor = try? Self.takeFile(held.path, creates: true, like: held.database) {
        close(held.descriptor)
        held.descriptor = descriptor
        state.held = held
      }
      // What is no job has three words: an earlier release passes over it.
      let machine = machine.map { "for machine \($0)\n" } ?? ""
      let file = held.identity.map { "file \($0.device) \($0.inode)\n" } ?? ""
      let lines = state.beats.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)\n" }.joined()
      let connection = state.connection.map { "\(Self.connectionPrefix)\($0.replacing("\n", with: " "))\n" } ?? ""
      let failures = state.failures.values.sorted { $0.kind.rawValue < $1.kind.rawValue }
        .map { "= \(Self.failurePrefix) \($0.kind.rawValue) \($0.count) \($0.last)\n" }.joined()
      let storeLock =
        state.storeLock.map {
          "\(Self.storeLockPrefix)\($0.since) \($0.holder.replacing("\n", with: " "))\n"
        } ?? ""
      let conflicts = state.conflicts.map { "\(Self.conflictsPrefix)\($0)\n" } ?? ""
      let text = Array("\(getpid())\n\(machine)\(file)\(lines)\(storeLock)\(conflicts)\(failures)\(connection)".utf8)
      for descriptor in [held.descriptor, held.earlier?.descriptor ?? -1] where descriptor >= 0 {
        pwrite(descriptor, text, text.count, 0)
        ftruncate(descriptor, off_t(text.count))
      }
    }
  }

  /// Microseconds of the clock that no step of the wall clock moves, the same in all processes.
  private static func now() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
  }

  /// Who holds a database's lock, whether it works on the file that is there, and which of its jobs have not moved for longer than
  /// `patience`.
  package static func worker(database: String) -> Worker {
    guard let (process, text) = holding(database) else { return Worker(process: nil) }
    var worker = Worker(process: process, stuck: stuckJobs(text))
    if let words = words(text, "file"), let device = UInt64(words[1]), let inode = UInt64(words[2]) {
      worker.isElsewhere = FileIdentity(of: database) != FileIdentity(device: device, inode: inode)
    }
    return worker
  }

  private static func stuckJobs(_ text: String) -> [Worker.StuckJob] {
    text.split(separator: "\n").dropFirst().compactMap { line in
      let words = line.split(separator: " ")
      guard words.count == 2, let at = Int64(words[1]) else { return nil }
      let silence = Duration.microseconds(now() - at)
      return silence > patience ? Worker.StuckJob(name: String(words[0]), silence: silence) : nil
    }
  }

  /// The line of three words that begins with one.
  private static func words(_ text: String, _ first: String) -> [Substring]? {
    text.split(separator: "\n").dropFirst().lazy.map { $0.split(separator: " ") }
      .first { $0.count == 3 && $0[0] == first }
  }

  deinit { state.withLock { $0.held?.release() } }

  /// Removes the file; for `detach`, which leaves nothing behind.
  package func removeFile() {
    guard let held = state.withLock({ $0.held }) else { return }
    unlink(held.path)
    if let earlier = held.earlier { unlink(earlier.path) }
  }

  /// The process that holds the lock of a database, or nil without one.
  package static func holder(database: String) -> Int32? { holding(database)?.process }

  private static func holding(_ database: String) -> (process: Int32, text: String)? {
    let file = FileBeside(ending, database: database)
    for path in [file.path, file.earlierPath].compactMap(\.self) {
      let descriptor = open(path, O_RDWR | O_CLOEXEC)
      guard descriptor >= 0 else { continue }
      defer { close(descriptor) }
      guard flock(descriptor, LOCK_EX | LOCK_NB) != 0 else { continue }
      let text = text(descriptor)
      if let process = owner(text) { return (process, text) }
    }
    return nil
  }

  private static func text(_ descriptor: Int32) -> String {
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = pread(descriptor, &buffer, buffer.count, 0)
    return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : ""
  }

  private static func owner(_ text: String) -> Int32? { Int32(text.prefix { $0 != "\n" }) }
}
