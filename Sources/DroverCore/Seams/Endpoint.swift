// The seam to an HTTP endpoint of another system, such as an ERP. DroverHTTP implements it.

package struct EndpointRequest: Equatable, Sendable {
  package var method: String
  package var url: String
  /// Beside those of the plan.
  package var headers: [(name: String, value: String)]
  package var body: [UInt8]?

  package init(method: String, url: String, headers: [(name: String, value: String)] = [], body: [UInt8]? = nil) {
    self.method = method
    self.url = url
    self.headers = headers
    self.body = body
  }

  package static func == (a: Self, b: Self) -> Bool {
    a.method == b.method && a.url == b.url && a.body == b.body && a.headers.map(\.name) == b.headers.map(\.name)
      && a.headers.map(\.value) == b.headers.map(\.value)
  }
}

/// Why an endpoint did not do what it was asked for. It shows neither the address, but for the host, nor what was sent or answered.
package struct EndpointError: Error, Equatable, CustomStringConvertible {
  package var description: String
  /// How long the endpoint wants to be left alone.
  package var retryAfter: Duration?
  /// It was this request that the endpoint did not like; another one may do.
  package var isAboutTheRequest: Bool

  package init(_ description: String, retryAfter: Duration? = nil, isAboutTheRequest: Bool = false) {
    self.description = description
    self.retryAfter = retryAfter
    self.isAboutTheRequest = isAboutTheRequest
  }
}

package protocol Endpoint: Sendable {
  /// - Returns: the body of an answer that says success.
  /// - Throws: `EndpointError`.
  func send(_ request: EndpointRequest) async throws -> [UInt8]
  /// Nothing is sent afterwards.
  func close() async
}
