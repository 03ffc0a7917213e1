// The server of a side as a service of its process: it listens, and ends with the others.

package import DroverCore
import HTTPTypes
import Hummingbird
import HummingbirdCore
import HummingbirdTLS
package import Logging
import NIOCore
import NIOPosix
import NIOSSL
import ServiceLifecycle

/// Where a server listens, for whom and within which limits.
package struct HTTPOptions: Sendable {
  package struct Certificate: Sendable {
    package var file: String
    package var keyFile: String

    package init(file: String, keyFile: String) {
      self.file = file
      self.keyFile = keyFile
    }
  }

  package var host: String
  package var port: Int
  package var tokens: [AccessToken]
  /// Pages of other hosts that may ask.
  package var origins: [String]
  package var certificate: Certificate?
  package var bodyBytes: Int
  package var requestsPerSecond: Int
  package var connectionsPerAddress: Int
  /// Of one request; of what is streamed, between two pieces.
  package var patience: Duration

  package init(
    host: String, port: Int, tokens: [AccessToken], origins: [String], certificate: Certificate?, bodyBytes: Int,
    requestsPerSecond: Int, connectionsPerAddress: Int, patience: Duration
  ) {
    self.host = host
    self.port = port
    self.tokens = tokens
    self.origins = origins
    self.certificate = certificate
    self.bodyBytes = bodyBytes
    self.requestsPerSecond = requestsPerSecond
    self.connectionsPerAddress = connectionsPerAddress
    self.patience = patience
  }
}

package struct HTTPServerError: Error, CustomStringConvertible {
  package let description: String
}

package struct HTTPServer: Service {
  /// Each costs a descriptor and some kilobytes.
  private static let mostConnections = 200
  /// Connections beyond these, for the health alone.
  private static let reserve = 16
  /// Connections that have to give their places up. Beyond this number new ones wait in the kernel's queue.
  private static let leaving = 256

  private let options: HTTPOptions
  private let logger: Logger
  private let connections: Connections
  private let responder: Gate<RouterResponder<Asking>>

  /// - Parameters:
  ///   - routes: of a side, from `CloudRoutes` or `EdgeRoutes`.
  ///   - tickets: nil for a server that streams nothing.
  package init(_ options: HTTPOptions, routes: [Route], tickets: Tickets? = nil, logger: Logger) {
    let routes = routes + (tickets.map { [$0.route] } ?? [])
    self.options = options
    self.logger = logger
    connections = Connections(
      .init(all: Self.mostConnections, perAddress: options.connectionsPerAddress, reserve: Self.reserve))
    responder = Gate(
      Router(routes).buildResponder(), connections: connections, tokens: options.tokens,
      open: Set(routes.lazy.filter(\.isOpen).map(\.path)), tickets: tickets,
      pages: CrossOrigin(origins: Set(options.origins)), requestsPerSecond: options.requestsPerSecond,
      patience: options.patience, logger: logger)
  }

  /// Returns after a graceful shutdown, when the requests that are under way are answered.
  /// - Throws: `HTTPServerError` when it cannot listen.
  package func run() async throws {
    let address = "\(options.certificate == nil ? "http" : "https")://\(options.host):\(options.port)"
    do {
      let application = Application(
        responder: responder, server: try server(),
        configuration: ApplicationConfiguration(
          address: .hostname(options.host, port: options.port),
          availableConnectionsDelegate: MaximumAvailableConnections(
            Self.mostConnections + Self.reserve + Self.leaving, logger: quiet)),
        onServerRunning: { [logger] _ in logger.info("http: listening on \(address)") }, logger: quiet)
      try await application.run()
    } catch is CancellationError {
      return
    } catch {
      throw HTTPServerError(
        description: "listen on \(address): \(error); correct `http` in the configuration, or end who listens there")
    }
  }

  private func server() throws -> HTTPServerBuilder {
    let plain = HTTPServerBuilder.http1(
      configuration: .init(
        additionalChannelHandlers: [ConnectionWatch(connections, patience: options.patience)]))
    guard let files = options.certificate else { return plain }
    var configuration = TLSConfiguration.makeServerConfiguration(
      certificateChain: try NIOSSLCertificate.fromPEMFile(files.file).map { .certificate($0) },
      privateKey: .privateKey(try NIOSSLPrivateKey(file: files.keyFile, format: .pem)))
    configuration.minimumTLSVersion = .tlsv12
    configuration.cipherSuiteValues = Self.cipherSuites
    return try .tls(plain, tlsConfiguration: configuration)
  }

  /// Those of TLS 1.2 with forward secrecy and authenticated encryption; TLS 1.3 has no others.
  private static let cipherSuites: [NIOTLSCipher] = [
    .TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, .TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    .TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, .TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    .TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, .TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
  ]

  /// The library's own lines say how services start and stop, which is its business.
  private var quiet: Logger {
    var logger = logger
    logger.logLevel = .error
    return logger
  }
}
