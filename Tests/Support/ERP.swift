// An ERP for tests: a server of Python's own, in a process of its own, that answers as the test says and remembers what it was asked.

package import DroverProcesses
private import Foundation

package final class ERP {
  package let port = Loopback.freePort()
  private struct Ended: Error {}

  private let folder: TemporaryFolder
  private let process: ChildProcess
  private let isSecure: Bool

  package struct Request {
    package var method: String
    package var path: String
    /// By their names in lower case.
    package var headers: [String: String]
    package var body: String
  }

  /// Returns when it answers.
  /// - Parameter certificates: with whose it speaks TLS; nil: in clear.
  package init(certificates: Certificates? = nil) throws {
    folder = try TemporaryFolder()
    isSecure = certificates != nil
    try folder.write("{}", to: "answer")
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("EndToEndTests/Scripts/erp.py").path
    process = try ChildProcess(
      "python3",
      [script, "\(port)", folder.file("answer"), folder.file("asked")]
        + (certificates.map { [$0.certificateFile, $0.keyFile] } ?? []))
    while !Loopback.answers(port: port) {
      guard process.isRunning else { throw Ended() }
      _ = poll(nil, 0, 10)
    }
  }

  deinit { process.end(SIGKILL) }

  package func url(_ path: String = "/orders") -> String {
    "\(isSecure ? "https" : "http")://localhost:\(port)\(path)"
  }

  /// What it answers from now on.
  package func answer(
    _ body: String = "", status: Int = 200, headers: [String: String] = [:], delay: Double = 0
  ) throws {
    try say(["status": status, "headers": headers, "body": body, "delay": delay])
  }

  /// The same by path.
  package func answer(paths: [String: [String: Any]]) throws { try say(["status": 404, "paths": paths]) }

  private func say(_ answer: [String: Any]) throws {
    // Replaced as a whole, so that no request reads half of it.
    try JSONSerialization.data(withJSONObject: answer).write(
      to: URL(fileURLWithPath: folder.file("answer")), options: .atomic)
  }

  package var requests: [Request] {
    folder.read("asked").split(separator: "\n").compactMap { line in
      guard let one = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] else { return nil }
      return Request(
        method: one["method"] as? String ?? "", path: one["path"] as? String ?? "",
        headers: one["headers"] as? [String: String] ?? [:], body: one["body"] as? String ?? "")
    }
  }
}

extension Loopback {
  /// Whether something listens on a port.
  package static func answers(port: Int) -> Bool {
    guard let socket = listen(port: port) else { return true }
    close(socket)
    return false
  }
}
