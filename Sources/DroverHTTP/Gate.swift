// Who may pass, how often, and for how long. A request comes here before anything of it but its head is read.

import DroverCore
import DroverHashing
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import Synchronization

final class Gate<Inside: HTTPResponder>: HTTPResponder where Inside.Context == Asking {
  private let inside: Inside
  private let connections: Connections
  private let tokens: [AccessToken]
  private let open: Set<String>
  private let tickets: Tickets?
  private let pages: CrossOrigin
  private let rate: Mutex<RequestRate>
  private let patience: Duration
  private let logger: Logger
  private let start = ContinuousClock.now

  /// - Parameters:
  ///   - tokens: a client with one of them may pass.
  ///   - open: paths that need no token.
  ///   - tickets: what a client may show in place of a token; nil: nothing.
  ///   - pages: whose scripts may ask.
  ///   - patience: how long a request may take.
  init(
    _ inside: Inside, connections: Connections, tokens: [AccessToken], open: Set<String>, tickets: Tickets?,
    pages: CrossOrigin, requestsPerSecond: Int, patience: Duration, logger: Logger
  ) {
    self.inside = inside
    self.connections = connections
    self.open = open
    self.tickets = tickets
    self.pages = pages
    self.tokens = tokens
    rate = Mutex(RequestRate(perSecond: requestsPerSecond))
    self.patience = patience
    self.logger = logger
  }

  func respond(to request: Request, context: Asking) async throws -> Response {
    let began = ContinuousClock.now
    let token = secret(of: request).flatMap(token) ?? owner(ofTicketIn: request)
    var asking = context
    asking.token = token
    var response: Response
    do {
      let answer = pages.answer(request)
      try admit(request, token, context, needsToken: answer == nil)
      try makeRoom(request, token, context.channel)
      response =
        if let answer { answer } else {
          try await withDeadline { [asking] in try await self.inside.respond(to: request, context: asking) }
        }
    } catch let problem as Problem {
      response = problem.response
    }
    pages.allow(request, &response)
    response.headers[.xContentTypeOptions] = "nosniff"
    if response.headers[.cacheControl] == nil { response.headers[.cacheControl] = "no-store" }
    // The path's pattern and not the path, which may hold anything.
    logger.debug(
      "http: \(request.method) \(context.endpointPath ?? "-") \(response.status.code), \(began.duration(to: .now)), \(token?.name ?? "no token"), \(context.remoteAddress?.ipAddress ?? "-")"
    )
    return response
  }

  // MARK: Who

  private func admit(_ request: Request, _ token: AccessToken?, _ asking: Asking, needsToken: Bool) throws {
    // The health costs no more than a refusal, and a supervisor of this process must not be locked out by others of its address.
    guard request.uri.path != CloudRoutes.healthPath else { return }
    let client = token.map { "token \($0.name)" } ?? asking.remoteAddress?.client ?? ""
    if let wait = rate.withLock({ $0.take(client, now: start.duration(to: .now)) }) {
      // What else it has sent on this connection is not answered one by one.
      if token == nil { connections.close(asking.channel) }
      let seconds = max(1, Int((wait / .seconds(1)).rounded(.up)))
      throw Problem(
        .tooManyRequests, "There were too many requests (http.limits.requests_per_second); try again in \(seconds) s.",
        headers: [.retryAfter: "\(seconds)"])
    }
    guard needsToken, !open.contains(request.uri.path) else { return }
    guard !tokens.isEmpty else {
      throw Problem(.forbidden, "Without http.tokens in the configuration nothing but /v1/health is shown.")
    }
    guard let token else {
      throw Problem(
        .unauthorized, "A token is needed: Authorization: Bearer … or X-API-Key: …, with one of http.tokens.",
        headers: [.wwwAuthenticate: "Bearer"])
    }
    guard token.access == .write || request.method == .get || request.method == .head else {
      throw Problem(.forbidden, "The token \(token.name) may only read (http.tokens[].access).")
    }
  }

  /// Keeps the connection of a request with a known token, where it has a place.
  private func makeRoom(_ request: Request, _ token: AccessToken?, _ channel: any Channel) throws {
    if connections.admission(of: channel) != .full, !open.contains(request.uri.path) {
      connections.close(channel)
      throw Problem(
        .serviceUnavailable,
        "All connections are in use, or all that one address may have (http.limits.connections_per_address); try again in 1 s.",
        headers: [.retryAfter: "1", .connection: "close"])
    }
    if token != nil { connections.serve(channel) }
  }

  private func secret(of request: Request) -> Substring? {
    if let header = request.headers[.authorization], header.prefix(7).lowercased() == "bearer " {
      return header.dropFirst(7)
    }
    return request.headers[.apiKey].map { $0[...] }
  }

  private func owner(ofTicketIn request: Request) -> AccessToken? {
    guard let tickets, let ticket = request.uri.queryParameters[Tickets.parameter[...]] else { return nil }
    return tickets.token(String(ticket), of: tokens, now: .now)
  }

  /// Every token is compared, and each in the same time wherever it differs: what is compared are hashes, whose bytes no client can choose.
  private func token(_ text: Substring) -> AccessToken? {
    let digest = SHA256.digest(of: Array(text.utf8))
    var found: AccessToken?
    for token in tokens {
      let difference = zip(digest, token.digest).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) }
      if difference == 0 { found = token }
    }
    return found
  }

  // MARK: How long

  private func withDeadline(_ respond: @escaping @Sendable () async throws -> Response) async throws -> Response {
    try await withThrowingTaskGroup(of: Response.self) { group in
      group.addTask { try await respond() }
      group.addTask { [patience] in
        try await Task.sleep(for: patience)
        throw Problem(
          .serviceUnavailable, "This took more than \(patience.components.seconds) s (http.limits.seconds).",
          headers: [.retryAfter: "\(patience.components.seconds)"])
      }
      defer { group.cancelAll() }
      return try await group.next()!
    }
  }
}

extension HTTPField.Name {
  fileprivate static let apiKey = HTTPField.Name("X-API-Key")!
}
