// Posts documents to an address outside Drover. It shows the address's host in errors, and nothing else of it: a webhook's path is often its
// secret.

private import AsyncHTTPClient
import DroverCore
private import Foundation
private import NIOCore
private import NIOHTTP1
private import NIOSSL

/// Why a document was not taken.
package struct WebhookError: Error, CustomStringConvertible {
  package let description: String
}

package struct Webhook: AlertReceiver {
  /// Longest time for one post.
  private static let patience = TimeAmount.seconds(10)

  private let url: String
  private let token: String?
  private let client: Client

  /// Its owner has to `close` it.
  /// - Parameter ca: a file with the authorities that may have signed the receiver's certificate; nil for those of the system.
  package init(url: String, token: String?, ca: String? = nil) {
    self.url = url
    self.token = token
    var tls = TLSConfiguration.makeClientConfiguration()
    if let ca { tls.trustRoots = .file(ca) }
    var configuration = HTTPClient.Configuration(tlsConfiguration: tls, redirectConfiguration: .disallow)
    configuration.timeout.connect = Self.patience
    client = Client(HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration))
  }

  package var host: String { URLComponents(string: url)?.host ?? "" }

  /// - Throws: `WebhookError` when the answer is no success, or does not come in time.
  package func post(_ document: String) async throws(WebhookError) {
    var request = HTTPClientRequest(url: url)
    request.method = .POST
    request.headers.add(name: "Content-Type", value: "application/json")
    if let token { request.headers.add(name: "Authorization", value: "Bearer \(token)") }
    request.body = .bytes(ByteBuffer(string: document))
    let status: Int
    do {
      status = Int(try await client.http.execute(request, timeout: Self.patience).status.code)
    } catch {
      throw WebhookError(description: explanation(of: error))
    }
    guard (200..<300).contains(status) else {
      throw WebhookError(description: "\(host) answers \(status)")
    }
  }

  /// BoringSSL's errors begin with numbers and end with the name of the cause.
  private func explanation(of error: any Error) -> String {
    let text = "\(error)"
    if error is NIOSSLExtraError { return "\(host) is not what its certificate is for" }
    if text.contains("CERTIFICATE_VERIFY_FAILED") {
      return "\(host) has a certificate of another CA than those of alerts.webhook.ca or of the system"
    }
    return "\(host) does not answer: \(text)"
  }

  package func close() async { try? await client.http.shutdown() }

  private final class Client: Sendable {
    let http: HTTPClient
    init(_ http: HTTPClient) { self.http = http }
  }
}
