// Somebody whom alerts are posted to: a server of Python's own, in a process of its own.

import DroverProcesses
import DroverTesting
import Foundation

final class WebhookReceiver {
  let port = Loopback.freePort()
  private let folder: TemporaryFolder
  private let process: ChildProcess

  /// - Parameter certificates: with whose it speaks TLS; nil: in clear.
  init(isAway: Bool = false, certificates: Certificates? = nil) throws {
    folder = try TemporaryFolder()
    if isAway { try folder.write("", to: "away") }
    process = try ChildProcess(
      "python3",
      ["\(Road.scripts)/webhook.py", "\(port)", folder.file("took"), folder.file("away")]
        + (certificates.map { [$0.certificateFile, $0.keyFile] } ?? []))
  }

  deinit { process.end(SIGKILL) }

  /// What it refused.
  var refused: String { folder.read("away") }

  /// From now on it takes what comes.
  func comeBack() throws { try FileManager.default.removeItem(atPath: folder.file("away")) }

  /// What it took, in order.
  var posts: [Post] {
    ((try? String(contentsOfFile: folder.file("took"), encoding: .utf8)) ?? "").split(separator: "\n")
      .compactMap(Post.init)
  }

  /// All messages that it took, in order.
  var alerts: [[String: Any]] { posts.flatMap(\.alerts) }

  struct Post {
    var authorization: String
    var consumer: String
    var alerts: [[String: Any]]

    init?(_ line: Substring) {
      guard let brace = line.firstIndex(of: "{"),
        let document = try? JSONSerialization.jsonObject(with: Data(line[brace...].utf8)) as? [String: Any]
      else { return nil }
      authorization = line[..<brace].trimmingCharacters(in: .whitespaces)
      consumer = document["consumer"] as? String ?? ""
      alerts = document["alerts"] as? [[String: Any]] ?? []
    }
  }
}
