// A real PostgreSQL for the tests and the benchmark: in a folder of its own, on a socket there and on no port, killed and started again at
// will, and gone with the process that started it, however that ends.

import Foundation
import Synchronization

package final class PostgreSQLServer: Sendable {
  private let folder: TemporaryFolder
  private let arguments: [String]
  private let process = Mutex<ChildProcess?>(nil)

  /// The superuser, who needs no password.
  package static let user = "drover"

  /// Makes a cluster and starts its server; returns when it takes connections.
  ///
  /// - Parameters:
  ///   - isDurable: whether a commit is on the disk when it returns, as it is by default; without it everything is faster.
  ///   - settings: further ones, as `name=value`.
  package init(isDurable: Bool = false, settings: [String] = []) throws {
    folder = try TemporaryFolder()
    let data = folder.file("data")
    try FileManager.default.createDirectory(atPath: data, withIntermediateDirectories: false)
    // The server refuses to be root's.
    if let owner = Self.owner {
      for path in [folder.path, data] {
        guard chown(path, owner.user, owner.group) == 0 else {
          throw CommandFailed(program: "chown", why: "\(path): \(String(cString: strerror(errno)))")
        }
      }
    }
    let command = [try Self.program("initdb"), "-D", data, "-U", Self.user, "-A", "trust", "-E", "UTF8", "--locale=C"]
    let (setpriv, words) = Self.unprivileged(command + (isDurable ? [] : ["--no-sync"]))
    try ChildProcess.run(setpriv, words)
    let unsafe = ["fsync=off", "full_page_writes=off", "max_wal_size=128MB"]
    let all = ["listen_addresses=", "max_connections=60"] + (isDurable ? [] : unsafe) + settings
    arguments =
      [try Self.program("postgres"), "-D", data, "-k", folder.path] + all.flatMap { ["-c", $0] }
    try start()
  }

  deinit { stop() }

  /// The URI of one of its databases.
  package func uri(_ database: String = "postgres") -> String {
    "postgresql://\(Self.user)@\(folder.path.replacing("/", with: "%2F"))/\(database)"
  }

  package func start() throws {
    try process.withLock {
      precondition($0 == nil, "the server is running")
      let (program, words) = Self.unprivileged(arguments, diesWithParent: true)
      let child = try Nursery.spawn(program, words, errorsTo: folder.file("postgres.log"))
      $0 = child
      while (try? ChildProcess.run(Self.program("pg_isready"), ["-q", "-h", folder.path])) == nil {
        guard child.isRunning else {
          throw CommandFailed(
            program: "postgres", why: "ended while starting: \(folder.read("postgres.log").suffix(2000))")
        }
        _ = poll(nil, 0, 20)
      }
    }
  }

  /// Ends it as a crash does: connections break, and it recovers when it starts again.
  package func kill() { end(SIGQUIT) }
  /// An orderly end that waits for nobody.
  package func stop() { end(SIGINT) }
  /// Connections stand, and nobody answers. `thaw` ends it.
  package func freeze() { signalAll("STOP") }
  package func thaw() { signalAll("CONT") }

  /// nil while it is stopped.
  package var processID: Int32? { process.withLock { $0?.processID } }

  private func end(_ signal: Int32) {
    process.withLock {
      $0?.end(signal)
      $0 = nil
    }
  }

  /// The postmaster's children, which serve the connections.
  private func signalAll(_ name: String) {
    guard let processID else { return }
    _ = try? ChildProcess.run("pkill", ["-\(name)", "-P", "\(processID)"])
  }

  private static var owner: (user: uid_t, group: gid_t)? {
    guard geteuid() == 0 else { return nil }
    return getpwnam("postgres").map { ($0.pointee.pw_uid, $0.pointee.pw_gid) }
  }

  /// The command as a user who is not root.
  private static func unprivileged(_ command: [String], diesWithParent: Bool = false) -> (String, [String]) {
    let death = diesWithParent ? ["--pdeathsig", "QUIT"] : []
    guard let owner else { return ("setpriv", death + ["--"] + command) }
    return (
      "setpriv", ["--reuid", "\(owner.user)", "--regid", "\(owner.group)", "--clear-groups"] + death + ["--"] + command
    )
  }

  /// Debian keeps the server's programs out of PATH, one folder for each version; the newest counts.
  private static func program(_ name: String) throws -> String {
    let root = "/usr/lib/postgresql"
    let versions = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
    for version in versions.compactMap(Int.init).sorted(by: >) {
      let path = "\(root)/\(version)/bin/\(name)"
      if access(path, X_OK) == 0 { return path }
    }
    return name
  }
}

/// A thread that starts children and never ends: Linux sends a parent-death signal when the *thread* that started the child is gone
/// (prctl(2), PR_SET_PDEATHSIG), and threads of a pool come and go.
private enum Nursery {
  private struct Order: Sendable {
    let work: @Sendable () -> Void
  }
  private static let orders = Mutex<[Order]>([])
  private static let arrival = DispatchSemaphore(value: 0)
  private static let thread: Void = Thread.detachNewThread {
    while true {
      arrival.wait()
      orders.withLock { $0.removeFirst() }.work()
    }
  }

  static func spawn(_ program: String, _ arguments: [String], errorsTo file: String) throws -> ChildProcess {
    _ = thread
    let done = DispatchSemaphore(value: 0)
    let result = Mutex<Result<ChildProcess, any Error>?>(nil)
    orders.withLock {
      $0.append(
        Order {
          let made = Result { try ChildProcess(program, arguments, errorsTo: file) }
          result.withLock { $0 = made }
          done.signal()
        })
    }
    arrival.signal()
    done.wait()
    return try result.withLock { try $0!.get() }
  }
}
