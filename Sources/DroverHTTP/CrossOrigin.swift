// Pages of other hosts that may ask (CORS, https://fetch.spec.whatwg.org/#http-cors-protocol). A browser asks first whether it may, without a token.

import HTTPTypes
import HummingbirdCore

struct CrossOrigin: Sendable {
  /// As browsers write them: `https://farm.example`.
  let origins: Set<String>

  /// The origin of a request, if it may ask.
  func origin(of request: Request) -> String? {
    request.headers[.origin].flatMap { origins.contains($0) ? $0 : nil }
  }

  /// The answer to a browser that asks whether a page may ask; nil for every other request.
  func answer(_ request: Request) -> Response? {
    guard request.method == .options, request.headers[.accessControlRequestMethod] != nil, origin(of: request) != nil
    else { return nil }
    return Response(
      status: .noContent,
      headers: [
        .accessControlAllowMethods: "GET, POST, PUT, PATCH, DELETE",
        .accessControlAllowHeaders: "Authorization, Content-Type, If-Match, If-None-Match, Last-Event-ID, X-API-Key",
        .accessControlMaxAge: "600",
      ])
  }

  /// Lets the page read the response.
  func allow(_ request: Request, _ response: inout Response) {
    guard !origins.isEmpty else { return }
    response.headers[.vary] = "Origin"
    guard let origin = origin(of: request) else { return }
    response.headers[.accessControlAllowOrigin] = origin
    response.headers[.accessControlExposeHeaders] = "ETag, Retry-After"
  }
}
