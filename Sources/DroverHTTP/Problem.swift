// What went wrong with a request, as RFC 9457 has it. A problem tells its reader what to do; it holds no secret and nothing of a payload.

import DroverWire
package import HTTPTypes
package import Hummingbird
package import HummingbirdCore
import NIOCore

package struct Problem: Error, HTTPResponseError {
  package let status: HTTPResponse.Status
  let detail: String
  let headers: HTTPFields
  /// Beyond those that every problem has.
  let members: [(String, JSON)]

  /// - Parameter detail: a sentence for the person who asked.
  package init(_ status: HTTPResponse.Status, _ detail: String, headers: HTTPFields = [:]) {
    self.init(status, detail, headers: headers, members: [])
  }

  init(_ status: HTTPResponse.Status, _ detail: String, headers: HTTPFields, members: [(String, JSON)]) {
    self.status = status
    self.detail = detail
    self.headers = headers
    self.members = members
  }

  /// The document.
  var text: String {
    JSON.object(
      [
        ("type", "about:blank"), ("title", .string(status.reasonPhrase)), ("status", .integer(Int64(status.code))),
        ("detail", .string(detail)),
      ] + members
    ).text()
  }

  var response: Response {
    var headers = headers
    headers[.contentType] = "application/problem+json"
    return Response(status: status, headers: headers, body: .init(byteBuffer: ByteBuffer(string: text)))
  }

  package func response(from request: Request, context: some RequestContext) -> Response { response }
}

extension Response {
  static func json(_ document: JSON, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]) -> Response {
    var headers = headers
    headers[.contentType] = "application/json"
    return Response(
      status: status, headers: headers, body: .init(byteBuffer: ByteBuffer(string: document.text(pretty: true) + "\n")))
  }
}
