// Requests to other systems: a webhook, an ERP. Errors show the address's host, and nothing else of it: a path is often a secret.

private import AsyncHTTPClient
import DroverCore
private import Foundation
private import NIOCore
private import NIOHTTP1
private import NIOSSL

/// An answer that came in time.
struct OutboundAnswer: Sendable {
  let status: Int
  let retryAfter: String?
  let body: [UInt8]
}

/// Why there is no answer.
struct OutboundError: Error { let description: String }

/// It closes its connections when it is gone; the owner waits for that with `close`.
struct OutboundHTTP: Sendable {
  private let client: Client
  private let caKey: String
  private let patience: Duration

  /// - Parameters:
  ///   - ca: a file with the authorities that may have signed certificates; nil for those of the system.
  ///   - caKey: the configuration's key for that file, for errors.
  ///   - patience: longest time for one request.
  init(ca: String?, caKey: String, patience: Duration) {
    self.caKey = caKey
    self.patience = patience
    var tls = TLSConfiguration.makeClientConfiguration()
    if let ca { tls.trustRoots = .file(ca) }
    var configuration = HTTPClient.Configuration(tlsConfiguration: tls, redirectConfiguration: .disallow)
    configuration.timeout.connect = Self.amount(patience)
    // What has been idle is often closed by the other side, and a request on it fails.
    configuration.connectionPool.idleTimeout = .seconds(15)
    client = Client(HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration))
  }

  static func host(of url: String) -> String { URLComponents(string: url)?.host ?? "" }

  /// - Parameter mostBytes: a longer body of the answer is an error.
  func send(
    _ request: EndpointRequest, token: String?, mostBytes: Int
  ) async throws(OutboundError) -> OutboundAnswer {
    let host = Self.host(of: request.url)
    var outgoing = HTTPClientRequest(url: request.url)
    outgoing.method = .RAW(value: request.method)
    for header in request.headers { outgoing.headers.replaceOrAdd(name: header.name, value: header.value) }
    if request.body != nil, !outgoing.headers.contains(name: "Content-Type") {
      outgoing.headers.add(name: "Content-Type", value: "application/json")
    }
    if let token { outgoing.headers.replaceOrAdd(name: "Authorization", value: "Bearer \(token)") }
    if let body = request.body { outgoing.body = .bytes(ByteBuffer(bytes: body)) }
    do {
      let deadline = NIODeadline.now() + Self.amount(patience)
      let response = try await client.http.execute(outgoing, deadline: deadline)
      let body = try await response.body.collect(upTo: mostBytes)
      return OutboundAnswer(
        status: Int(response.status.code), retryAfter: response.headers.first(name: "Retry-After"),
        body: Array(buffer: body))
    } catch is NIOTooManyBytesError {
      throw OutboundError(description: "\(host) answers with more than \(byteText(Int64(mostBytes)))")
    } catch {
      throw OutboundError(description: explanation(of: error, host))
    }
  }

  /// BoringSSL's errors begin with numbers and end with the name of the cause.
  private func explanation(of error: any Error, _ host: String) -> String {
    let text = "\(error)"
    if error is NIOSSLExtraError { return "\(host) is not what its certificate is for" }
    if text.contains("CERTIFICATE_VERIFY_FAILED") {
      return "\(host) has a certificate of another CA than those of \(caKey) or of the system"
    }
    if let error = error as? HTTPClientError, [.deadlineExceeded, .connectTimeout, .readTimeout].contains(error) {
      return "\(host) has not answered within \(patience.components.seconds) s"
    }
    return "\(host) does not answer: \(text)"
  }

  private static func amount(_ duration: Duration) -> TimeAmount {
    .nanoseconds(duration.components.seconds * 1_000_000_000 + duration.components.attoseconds / 1_000_000_000)
  }

  func close() async { try? await client.http.shutdown() }

  private final class Client: Sendable {
    let http: HTTPClient
    init(_ http: HTTPClient) { self.http = http }
    /// A client that was not shut down ends the process.
    deinit { http.shutdown(queue: .global()) { _ in } }
  }
}
