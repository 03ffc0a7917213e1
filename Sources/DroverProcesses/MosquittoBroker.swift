// A real mosquitto for a test or the benchmark: on a free port of 127.0.0.1, in a folder of its own, killed and started again at will,
// and gone when the last reference to it is.

import Glibc
import Synchronization

package final class MosquittoBroker: Sendable {
  package let port: Int
  /// The port of the TLS listener, if there is one.
  package let tlsPort: Int?
  package let certificates: Certificates?
  package let folder: TemporaryFolder
  private let process = Mutex<ChildProcess?>(nil)

  /// Starts a broker and returns when it takes connections.
  ///
  /// - Parameters:
  ///   - isPersistent: sessions, queued and retained messages survive `kill`: stored after every change.
  ///   - hasTLS: a second listener with a certificate of its own CA.
  ///   - configuration: lines for mosquitto.conf besides the listeners; gets the folder, to write password files and
  ///     the like into.
  package init(
    isPersistent: Bool = false,
    hasTLS: Bool = false,
    configuration: (TemporaryFolder) throws -> [String] = { _ in ["allow_anonymous true"] }
  ) throws {
    let folder = try TemporaryFolder()
    self.folder = folder
    let certificates = hasTLS ? try Certificates(in: folder) : nil
    self.certificates = certificates
    let lines = try configuration(folder)
    // Another process may take a free port before the broker does: then it says so and ends, and we take others.
    for attempt in 1... {
      let port = Loopback.freePort()
      let tlsPort = hasTLS ? Loopback.freePort() : nil
      do {
        try folder.write(
          Self.configuration(
            port: port, tlsPort: tlsPort, certificates: certificates, folder: folder, isPersistent: isPersistent,
            lines: lines), to: "mosquitto.conf")
        let child = try Self.launch(in: folder, ports: [port] + (tlsPort.map { [$0] } ?? []))
        self.port = port
        self.tlsPort = tlsPort
        process.withLock { $0 = child }
        return
      } catch  where attempt < 5 {}
    }
    fatalError("unreachable: the fifth attempt throws")
  }

  deinit { stop() }

  /// SIGKILL: nothing is stored, and no client is informed.
  package func kill() {
    process.withLock {
      $0?.end(SIGKILL)
      $0 = nil
    }
  }

  /// Starts it again on the same port, in the same folder, after `kill` or `stop`.
  package func start() throws {
    try process.withLock {
      precondition($0 == nil, "the broker is running")
      $0 = try Self.launch(in: folder, ports: [port] + (tlsPort.map { [$0] } ?? []))
    }
  }

  /// An orderly end: SIGTERM.
  package func stop() {
    process.withLock {
      $0?.end(SIGTERM)
      $0 = nil
    }
  }

  /// SIGSTOP: the connections stay open without an answer; like a network cable that was pulled. `thaw` ends it.
  package func freeze() { process.withLock { $0?.send(SIGSTOP) } }
  package func thaw() { process.withLock { $0?.send(SIGCONT) } }

  /// nil while it is stopped.
  package var processID: Int32? { process.withLock { $0?.processID } }

  /// What mosquitto wrote into its log so far.
  package var log: String { folder.read("mosquitto.log") }

  /// The path of a plugin that comes with mosquitto.
  package static func plugin(_ name: String) throws -> String {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/local/lib"]
    for folder in folders where access("\(folder)/\(name).so", R_OK) == 0 { return "\(folder)/\(name).so" }
    throw CommandFailed(program: "mosquitto", why: "its plugin \(name).so is not in \(folders.joined(separator: ", "))")
  }

  private static func configuration(
    port: Int, tlsPort: Int?, certificates: Certificates?, folder: TemporaryFolder, isPersistent: Bool, lines: [String]
  ) -> String {
    var text = [
      "log_dest file \(folder.file("mosquitto.log"))",
      "set_tcp_nodelay true",
      // Its own default drops what comes after the first 1,000 waiting messages and tells the publisher success.
      "max_queued_messages 0",
      "max_inflight_messages 1000",
    ]
    // Started by root it would become the user mosquitto, who cannot write to our folder.
    if geteuid() == 0 { text.append("user root") }
    if isPersistent {
      text += [
        "persistence true", "persistence_location \(folder.path)/", "autosave_on_changes true", "autosave_interval 1",
      ]
    }
    text += lines
    text.append("listener \(port) 127.0.0.1")
    if let tlsPort, let certificates {
      text += [
        "listener \(tlsPort) 127.0.0.1", "cafile \(certificates.caFile)", "certfile \(certificates.certificateFile)",
        "keyfile \(certificates.keyFile)",
      ]
    }
    return text.joined(separator: "\n") + "\n"
  }

  private static func launch(in folder: TemporaryFolder, ports: [Int]) throws -> ChildProcess {
    let child = try ChildProcess(
      "mosquitto", ["-c", folder.file("mosquitto.conf")], errorsTo: folder.file("mosquitto.err"))
    for port in ports {
      while true {
        guard child.isRunning else {
          throw CommandFailed(
            program: "mosquitto",
            why: "ended while starting: \(folder.read("mosquitto.err")) \(folder.read("mosquitto.log"))")
        }
        if let socket = Loopback.connect(port: port) {
          close(socket)
          break
        }
        _ = poll(nil, 0, 5)
      }
    }
    return child
  }
}
