// A road whose consumer and agent listen, and what a person with curl sees of them.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

final class HTTPRoad: Sendable {
  static let readToken = "read-0123456789abcdef"
  static let writeToken = "write-0123456789abcdef"

  let road: Road
  private let ports: [Road.Side: Int]
  private let certificates: Certificates?

  /// - Parameters:
  ///   - limits: keys of `http.limits`, for both sides.
  ///   - letsPagesAsk: pages of the edge's server may ask the cloud's.
  init(
    streams: String = Road.pensAndFacts, limits: String = "{requests_per_second: 1000}", hasTokens: Bool = true,
    hasTLS: Bool = false, letsPagesAsk: Bool = false, edge: String = "", cloud: String = "",
    store: String = "sqlite:./cloud.db"
  ) throws {
    let ports = [Road.Side.edge: Loopback.freePort(), .cloud: Loopback.freePort()]
    let folder = try TemporaryFolder()
    let certificates = hasTLS ? try Certificates(in: folder) : nil
    func keys(_ side: Road.Side) -> String {
      let tls = certificates.map { "\n  tls: {certificate: \($0.certificateFile), key: \($0.keyFile)}" } ?? ""
      let tokens =
        hasTokens
        ? """

          tokens:
            - {name: reader, token_file: ./read}
            - {name: writer, token_file: ./write, access: write}
        """ : ""
      let origins = letsPagesAsk && side == .cloud ? "\n  origins: ['http://127.0.0.1:\(ports[.edge]!)']" : ""
      return "http:\n  listen: 127.0.0.1:\(ports[side]!)\n  limits: \(limits)\(origins)\(tls)\(tokens)"
    }
    road = try Road(
      streams: streams, edge: "\(edge)\n\(keys(.edge))", cloud: "log_level: debug\n\(cloud)\n\(keys(.cloud))",
      store: store)
    try road.folder.write(Self.readToken, to: "read")
    try road.folder.write(Self.writeToken, to: "write")
    self.ports = ports
    self.certificates = certificates
    self.certificateFolder = folder
  }

  /// Its files are read when the servers start.
  private let certificateFolder: TemporaryFolder

  struct Answer {
    var status: Int
    var headers: String
    var body: String

    var document: [String: Any] {
      (try? JSONSerialization.jsonObject(with: Data(body.utf8))) as? [String: Any] ?? [:]
    }
    /// Of a problem document.
    var detail: String { document["detail"] as? String ?? "" }
  }

  func url(_ side: Road.Side, _ path: String) -> String {
    "\(certificates == nil ? "http" : "https")://127.0.0.1:\(ports[side]!)\(path)"
  }

  /// Asks with curl.
  /// - Parameters:
  ///   - token: nil for none.
  ///   - options: of curl.
  func ask(
    _ side: Road.Side, _ path: String, token: String? = writeToken, options: [String] = []
  ) async throws -> Answer {
    let authorization = token.map { ["--header", "Authorization: Bearer \($0)"] } ?? []
    let trust = certificates.map { ["--cacert", $0.caFile] } ?? []
    let outcome = try await Road.run(
      "curl",
      ["--silent", "--include", "--max-time", "60", "--write-out", "\n%{http_code}"] + authorization + trust + options
        + [url(side, path)])
    let text = outcome.output.replacing("\r\n", with: "\n")
    let end = text.lastIndex(of: "\n") ?? text.startIndex
    let gap = text.range(of: "\n\n")
    return Answer(
      status: Int(text[end...].dropFirst()) ?? 0, headers: gap.map { String(text[..<$0.lowerBound]) } ?? "",
      body: gap.map { String(text[$0.upperBound..<max(end, $0.upperBound)]) } ?? "")
  }

  /// What another client is answered while one holds as many connections as it can: `Scripts/starve.py`.
  func starve(_ side: Road.Side, kind: String) async throws -> [String: Any] {
    let outcome = try await Road.run(
      "python3", ["\(Road.scripts)/starve.py", kind, "\(ports[side]!)", Self.writeToken])
    let document = try JSONSerialization.jsonObject(with: Data(outcome.output.utf8))
    return try #require(document as? [String: Any], "\(outcome.errors)")
  }

  /// Starts both sides and returns when they listen.
  func start(_ sides: [Road.Side] = [.cloud, .edge]) async throws {
    for side in sides {
      try road.start(side)
      try await road.wait(for: "\(side) listens") {
        try await self.ask(side, "/v1/health").status == 200
      }
    }
  }
}
