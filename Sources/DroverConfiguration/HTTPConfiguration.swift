// The section `http`, the same on both sides. Without it there is no server.

private import DroverHashing
package import DroverCore
import Foundation

/// Where and for whom the side's HTTP server is.
package struct HTTPConfiguration: Equatable, Sendable {
  /// What one client may ask for.
  package struct Limits: Equatable, Sendable {
    /// The largest body of a request.
    package let bodyBytes: Int
    /// Requests of one client within a second; as many may come at once.
    package let requestsPerSecond: Int
    /// Connections of one address at a time.
    package let connectionsPerAddress: Int
    /// How long a request may take to come in and be answered. A stream may go on for longer, as long as its reader takes something in this time.
    package let seconds: Int

    package init(
      bodyBytes: Int = 1 << 20, requestsPerSecond: Int = 50, connectionsPerAddress: Int = 100, seconds: Int = 30
    ) {
      self.bodyBytes = bodyBytes
      self.requestsPerSecond = requestsPerSecond
      self.connectionsPerAddress = connectionsPerAddress
      self.seconds = seconds
    }
  }

  /// A host name or address, an IPv6 address without brackets.
  package let host: String
  package let port: Int
  /// None only on loopback; then nothing but the health is shown.
  package let tokens: [AccessToken]
  /// Pages of other hosts that may ask, as browsers name them.
  package let origins: [String]
  /// Nil for a server without encryption.
  package let tls: TLSFiles.Identity?
  package let limits: Limits

  package init(
    host: String, port: Int, tokens: [AccessToken] = [], origins: [String] = [], tls: TLSFiles.Identity? = nil,
    limits: Limits = Limits()
  ) {
    self.host = host
    self.port = port
    self.tokens = tokens
    self.origins = origins
    self.tls = tls
    self.limits = limits
  }
}

extension HTTPConfiguration {
  /// Reads `http` of a file. Nil without it, and after a problem with one of its keys.
  init?(reading file: Section) {
    let keys = file.section("http")
    let address = keys.optional("listen", .listeningAddress, default: ListeningAddress(host: "127.0.0.1", port: 8080))
    let tokens = AccessToken.list(reading: keys)
    let origins = keys.list("origins", .origin)
    let tls = TLSFiles.Identity(reading: keys.section("tls"))
    let limitKeys = keys.section("limits")
    let limits = Limits(
      bodyBytes: limitKeys.optional("body_bytes", .size(1 << 10...64 << 20), default: 1 << 20),
      requestsPerSecond: limitKeys.optional("requests_per_second", .integer(1...1_000_000), default: 50),
      connectionsPerAddress: limitKeys.optional("connections_per_address", .integer(1...200), default: 100),
      seconds: limitKeys.optional("seconds", .integer(1...3600), default: 30))
    guard file.isGiven("http") else { return nil }
    if !address.isLoopback, !keys.isGiven("tokens") {
      keys.report(
        "missing; an address that is not loopback needs `tokens`, so that not every client can read it", at: "tokens")
    }
    self.init(host: address.host, port: address.port, tokens: tokens, origins: origins, tls: tls, limits: limits)
  }
}

extension AccessToken {
  /// A shorter token could be found by trying.
  private static let bytes = 16...4096

  /// Reads `tokens`.
  fileprivate static func list(reading http: Section) -> [AccessToken] {
    var names: Set<String> = []
    return http.sections("tokens", example: "[{name: grafana, token_file: ./token}]", isRequired: false).compactMap {
      keys in
      let token = AccessToken(reading: keys)
      if let token, !names.insert(token.name).inserted {
        keys.report("another token has the name \(quoted(token.name)); logs could not tell them apart", at: "name")
      }
      return token
    }
  }

  private init?(reading keys: Section) {
    let name = keys.required("name", .text("a token's name", maximumBytes: 64), example: "grafana")
    keys.refuse(
      "token",
      "do not write a token here; put it into a file of its own and name that with `token_file`, or name an "
        + "environment variable with `token_env`")
    let secret = keys.secret(file: "token_file", variable: "token_env", bytes: Self.bytes)
    if secret == nil, !keys.isGiven("token_file"), !keys.isGiven("token_env") {
      keys.report("missing; add `token_file` or `token_env`", at: "token_file")
    }
    let access = keys.optional("access", .oneOf, default: Access.read)
    guard let name, let secret else { return nil }
    self.init(name: name, digest: SHA256.digest(of: Array(secret.utf8)), access: access)
  }
}

extension TLSFiles.Identity {
  /// Reads `tls` of a server. Nil without it, and after a problem.
  fileprivate init?(reading tls: Section) {
    let certificate = tls.optional("certificate", .readableFile(in: tls.folder))
    let key = tls.optional("key", .readableFile(in: tls.folder))
    TLSFiles.demandBoth(tls)
    guard let certificate, let key else { return nil }
    self.init(certificate: certificate, key: key)
  }
}

/// `HOST:PORT`.
struct ListeningAddress {
  let host: String
  let port: Int

  /// Whether only this machine's own programs reach it.
  var isLoopback: Bool {
    var address = in_addr()
    if inet_pton(AF_INET, host, &address) == 1 { return UInt32(bigEndian: address.s_addr) >> 24 == 127 }
    var long = in6_addr()
    if inet_pton(AF_INET6, host, &long) == 1 { return withUnsafeBytes(of: long) { $0.elementsEqual(Self.loopback6) } }
    return host == "localhost"
  }

  private static let loopback6 = [UInt8](repeating: 0, count: 15) + [1]
}

extension Form where Value == ListeningAddress {
  fileprivate static var listeningAddress: Form {
    Form("HOST:PORT, such as 127.0.0.1:8080") { text throws(Refusal) in
      let (host, port) = try Form<BrokerEndpoint>.hostAndPort(text[...])
      return port.map { ListeningAddress(host: host, port: $0) }
    }
  }
}

extension Form where Value == String {
  /// As a browser names the host of a page: without a path, and in lower case.
  fileprivate static var origin: Form {
    Form("an origin such as https://farm.example or http://127.0.0.1:8000, without a path") { text in
      guard let match = text.wholeMatch(of: /https?:\/\/([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?/) else { return nil }
      return String(match.output.0)
    }
  }
}
