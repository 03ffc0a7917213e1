// Posts documents to an address outside Drover.

import DroverCore

/// Why a document was not taken.
package struct WebhookError: Error, CustomStringConvertible {
  package let description: String
}

package struct Webhook: AlertReceiver {
  private let url: String
  private let token: String?
  private let http: OutboundHTTP

  /// Its owner has to `close` it.
  /// - Parameter ca: a file with the authorities that may have signed the receiver's certificate; nil for those of the system.
  package init(url: String, token: String?, ca: String? = nil) {
    self.url = url
    self.token = token
    http = OutboundHTTP(ca: ca, caKey: "alerts.webhook.ca", patience: .seconds(10))
  }

  /// - Throws: `WebhookError` when the answer is no success, or does not come in time.
  package func post(_ document: String) async throws(WebhookError) {
    let answer: OutboundAnswer
    do throws(OutboundError) {
      answer = try await http.send(
        EndpointRequest(method: "POST", url: url, body: Array(document.utf8)), token: token, mostBytes: 1 << 20)
    } catch {
      throw WebhookError(description: error.description)
    }
    guard (200..<300).contains(answer.status) else {
      throw WebhookError(description: "\(OutboundHTTP.host(of: url)) answers \(answer.status)")
    }
  }

  package func close() async { await http.close() }
}
