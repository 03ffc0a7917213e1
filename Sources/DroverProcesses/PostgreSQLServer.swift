// A real PostgreSQL for the tests and the benchmark: in a folder of its own, on a socket there and on no port unless it is asked for, killed and
// started again at will, and gone with the process that started it, however that ends.

import Foundation
import Synchronization

package final class PostgreSQLServer: Sendable {
  private let folder: TemporaryFolder
  private let arguments: [String]
  /// Where it listens on loopback, with TLS and for passwords (scram-sha-256) only; nil: nowhere.
  package let tlsPort: Int?
  private let process = Mutex<ChildProcess?>(nil)

  /// The superuser, who needs no password.
  package static let user = "drover"

  /// Makes a cluster and starts its server; returns when it takes connections.
  ///
  /// - Parameters:
  ///   - isDurable: whether a commit is on the disk when it returns, as it is by default; without it everything is faster.
  ///   - certificates: whose certificate it shows on a port of loopback; nil: it has no port.
  package init(isDurable: Bool = false, certificates: Certificates? = nil) throws {
    let folder = try TemporaryFolder()
    self.folder = folder
    let port = Loopback.freePort()
    tlsPort = certificates == nil ? nil : port
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
    let network = try certificates.map { try Self.network($0, port: port, folder) } ?? ["listen_addresses="]
    let all = network + ["max_connections=60"] + (isDurable ? [] : unsafe)
    arguments =
      [try Self.program("postgres"), "-D", data, "-k", folder.path] + all.flatMap { ["-c", $0] }
    try start()
  }

  deinit { stop() }

  /// Settings for a port that takes TLS and passwords alone. The key has to be the server's own file.
  private static func network(_ certificates: Certificates, port: Int, _ folder: TemporaryFolder) throws -> [String] {
    let (certificate, key, access) = (folder.file("server.pem"), folder.file("server.key"), folder.file("access.conf"))
    try FileManager.default.copyItem(atPath: certificates.certificateFile, toPath: certificate)
    try FileManager.default.copyItem(atPath: certificates.keyFile, toPath: key)
    try folder.write("local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n", to: "access.conf")
    if let owner { for file in [certificate, key, access] { chown(file, owner.user, owner.group) } }
    chmod(key, 0o600)
    return [
      "listen_addresses=127.0.0.1", "port=\(port)", "hba_file=\(access)", "password_encryption=scram-sha-256", "ssl=on",
      "ssl_cert_file=\(certificate)", "ssl_key_file=\(key)",
    ]
  }

  /// The URI of one of its databases, on its socket.
  package func uri(_ database: String = "postgres") -> String {
    let port = tlsPort.map { "?port=\($0)" } ?? ""
    return "postgresql://\(Self.user)@\(folder.path.replacing("/", with: "%2F"))/\(database)\(port)"
  }

  /// The URI of its database on the port.
  /// - Parameter parameters: as `name=value`.
  package func tlsURI(user: String, host: String = "localhost", _ parameters: String...) -> String {
    "postgresql://\(user)@\(host):\(tlsPort!)/postgres?\((["hostaddr=127.0.0.1"] + parameters).joined(separator: "&"))"
  }

  package func start() throws {
    try process.withLock {
      precondition($0 == nil, "the server is running")
      let (program, words) = Self.unprivileged(arguments, diesWithParent: true)
      let child = try ChildStarter.spawn(program, words, errorsTo: folder.file("postgres.log"))
      $0 = child
      while (try? ChildProcess.run(Self.program("pg_isready"), ["-q", "-d", uri()])) == nil {
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
  /// An orderly end that does not wait for clients.
  package func stop() { end(SIGINT) }
  /// Connections stay open without an answer. `thaw` ends it.
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
private enum ChildStarter {
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
