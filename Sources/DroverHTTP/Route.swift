// What a server answers to. The routes of a side are a list, from which the router is made, and which the OpenAPI document is compared with.

import DroverCore
import Foundation
package import HTTPTypes
package import Hummingbird
package import HummingbirdCore
import Logging
package import NIOCore

/// What is known of a request besides itself.
package struct Asking: RequestContext, RemoteAddressRequestContext {
  package var coreContext: CoreRequestContextStorage
  package let channel: any Channel
  /// What the request showed, if it is known.
  var token: AccessToken?
  package var remoteAddress: SocketAddress? { channel.remoteAddress }

  package init(source: ApplicationRequestContextSource) {
    coreContext = .init(source: source)
    channel = source.channel
  }

  /// A part of the path, decoded.
  func part(_ name: String) throws -> String {
    let text = try parameters.require(name)
    guard let decoded = text.removingPercentEncoding else {
      throw Problem(.badRequest, "The \(name) in the path is not percent-encoded UTF-8.")
    }
    return decoded
  }
}

package struct Route: Sendable {
  package typealias Handler = @Sendable (Request, Asking) async throws -> Response

  package let method: HTTPRequest.Method
  /// As OpenAPI writes it: `/v1/dead-letters/{id}`.
  package let path: String
  /// Whether no token is needed; only for a path without variable parts.
  let isOpen: Bool
  let handle: Handler

  init(_ method: HTTPRequest.Method, _ path: String, isOpen: Bool = false, _ handle: @escaping Handler) {
    self.method = method
    self.path = path
    self.isOpen = isOpen
    self.handle = handle
  }
}

extension Router<Asking> {
  private static let methods: [HTTPRequest.Method] = [
    .get, .head, .post, .put, .patch, .delete, .options, .trace, .connect, .init("QUERY")!,
  ]

  /// A router for these routes; other methods on their paths are answered with those that are allowed.
  convenience init(_ routes: [Route]) {
    self.init(context: Asking.self)
    add(middleware: Problems())
    for (path, routes) in Dictionary(grouping: routes, by: \.path) {
      var handlers = Dictionary(uniqueKeysWithValues: routes.map { ($0.method, $0.handle) })
      handlers[.head] = handlers[.get].map(Self.withoutBody)
      let allowed = handlers.keys.map(\.rawValue).sorted().joined(separator: ", ")
      for method in Self.methods {
        let handle =
          handlers[method] ?? { _, _ in
            throw Problem(.methodNotAllowed, "Here one can use \(allowed).", headers: [.allow: allowed])
          }
        on(RouterPath(path), method: method, use: handle)
      }
    }
  }

  private static func withoutBody(_ get: @escaping Route.Handler) -> Route.Handler {
    { request, asking in
      let response = try await get(request, asking)
      return Response(status: response.status, headers: response.headers)
    }
  }
}

/// Makes a problem of everything that is thrown.
private struct Problems: RouterMiddleware {
  typealias Context = Asking

  func handle(
    _ request: Request, context: Asking, next: (Request, Asking) async throws -> Response
  ) async throws -> Response {
    do {
      return try await next(request, context)
    } catch let problem as Problem {
      throw problem
    } catch is CancellationError {
      throw CancellationError()
    } catch let error as HTTPError where error.status == .notFound {
      throw Problem(.notFound, "There is nothing at this path; /v1/openapi.yaml lists what there is.")
    } catch let error as HTTPError {
      throw Problem(error.status, error.body ?? "The request cannot be read.")
    } catch {
      context.logger.warning("http: \(error)")
      throw Problem(.serviceUnavailable, "\(error)")
    }
  }
}

extension Request {
  /// A number of the query, or what holds without it.
  func number(_ name: String, in range: ClosedRange<Int>, default value: Int) throws -> Int {
    guard let text = uri.queryParameters[name[...]] else { return value }
    guard let number = Int(text), range.contains(number) else {
      throw Problem(.badRequest, "\(name) is a whole number from \(range.lowerBound) to \(range.upperBound).")
    }
    return number
  }

  /// A text of the query as a value; nil without it.
  func query<Value>(_ name: String, _ make: (String) throws -> Value?) throws -> Value? {
    guard let text = uri.queryParameters[name[...]] else { return nil }
    guard let value = try? make(String(text)) else { throw Problem(.badRequest, "\(name) is no such value.") }
    return value
  }

  /// The whole body.
  func wholeBody(upTo limit: Int) async throws -> [UInt8] {
    let refusal = Problem(.contentTooLarge, "A body has at most \(limit) bytes here (http.limits.body_bytes).")
    if let length = headers[.contentLength].flatMap({ Int($0) }), length > limit { throw refusal }
    do {
      let buffer = try await body.collect(upTo: limit)
      return Array(buffer.readableBytesView)
    } catch is NIOTooManyBytesError {
      throw refusal
    }
  }
}
