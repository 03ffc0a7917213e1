// What the edge's side answers. It knows the database only by the core's seams.

package import DroverCore
package import DroverWire
import HTTPTypes
import Hummingbird
import HummingbirdCore

/// What the edge's routes need of the process that serves them.
package struct EdgeSource: Sendable {
  package var intake: any EventIntake
  package var worklists: any WorklistDesk
  /// The streams of the configuration, each with its table or nil.
  package var streams: [StreamName: String?]
  /// The agent of the database, and whether it moves.
  package var worker: @Sendable () -> Worker
  /// The whole status, as `drover status --json` prints it.
  package var status: @Sendable () throws -> JSON
  /// What the metrics show; nil when the database is not attached.
  package var report: @Sendable () throws -> EdgeReport?
  /// What went wrong on the way to the cloud since the agent started.
  package var failures: @Sendable () -> [DeliveryFailure]
  /// Has the agent look at the database now.
  package var look: @Sendable () -> Void
  /// Microseconds since 1970.
  package var now: @Sendable () -> Int64
  /// Drover's version.
  package var software: String

  package init(
    intake: any EventIntake, worklists: any WorklistDesk, streams: [StreamName: String?],
    worker: @escaping @Sendable () -> Worker,
    status: @escaping @Sendable () throws -> JSON, report: @escaping @Sendable () throws -> EdgeReport?,
    failures: @escaping @Sendable () -> [DeliveryFailure], look: @escaping @Sendable () -> Void,
    now: @escaping @Sendable () -> Int64, software: String
  ) {
    self.intake = intake
    self.worklists = worklists
    self.streams = streams
    self.worker = worker
    self.status = status
    self.report = report
    self.failures = failures
    self.look = look
    self.now = now
    self.software = software
  }
}

package enum EdgeRoutes {
  /// - Parameter bodyBytes: the largest body of a request.
  package static func all(_ source: EdgeSource, bodyBytes: Int) -> [Route] {
    let blocking = Blocking()
    return [
      CloudRoutes.health(source.worker, of: "agent"), CloudRoutes.openAPI(PackageResources.edge_yaml),
      Route(.get, "/v1/status") { _, _ in .json(try await blocking.run(source.status)) },
      Route(.get, "/metrics") { _, _ in
        MetricsPage.response(try await blocking.run { try EdgeMetrics.text(source) })
      },
      Route(.post, "/v1/events/{stream}") { request, asking in
        try await takeEvents(request, asking, source, bodyBytes, blocking)
      },
      Route(.post, "/v1/trigger") { _, _ in
        source.look()
        return .json(.object([("state", "looking")]), status: .accepted)
      },
    ] + EdgeWorklistRoutes.all(source.worklists, blocking, look: source.look)
  }

  // MARK: Taking events

  private static func takeEvents(
    _ request: Request, _ asking: Asking, _ source: EdgeSource, _ bodyBytes: Int, _ blocking: Blocking
  ) async throws -> Response {
    let stream = try stream(asking.part("stream"), source)
    let posted = try PostedEvents(request)
    let events = try posted.events(try await request.wholeBody(upTo: bodyBytes), now: source.now())
    switch try await blocking.run({ try source.intake.take(events, into: stream) }) {
    case .taken:
      return .json(
        .object([("stream", .string(stream.text)), ("ids", .array(events.map { .string($0.localID) }))]),
        status: .created)
    case .refused(let index, let refusal): throw problem(refusal, posted.place(index))
    }
  }

  private static func stream(_ text: String, _ source: EdgeSource) throws -> StreamName {
    guard let name = try? StreamName(text), let table = source.streams[name] else {
      throw Problem(.notFound, "The configuration lists no such stream.")
    }
    if let table {
      throw Problem(.conflict, "\(name) is captured from table \(table); write to that table, and Drover carries it.")
    }
    return name
  }

  /// - Parameter place: where in the request; ends in a space or is empty.
  private static func problem(_ refusal: IntakeRefusal, _ place: String) -> Problem {
    switch refusal {
    case .conflict:
      Problem(.conflict, "\(place)An event of this ID is there with another body, and a fact does not change.")
    case .noSpace(let reason): Problem(.insufficientStorage, "\(place)\(reason).", headers: [.retryAfter: "60"])
    case .invalid(let reason): Problem(.unprocessableContent, "\(place)\(reason).")
    }
  }
}

/// A request's events: one JSON body, or one on each line.
private struct PostedEvents {
  private let key: String?
  private let areLines: Bool

  init(_ request: Request) throws {
    let type = request.headers[.contentType]?.split(separator: ";").first.map { $0.lowercased() }
    switch type {
    case nil, "application/json": areLines = false
    case "application/x-ndjson": areLines = true
    default:
      throw Problem(
        .unsupportedMediaType, "A body is application/json, or application/x-ndjson with one event on each line.")
    }
    key = request.headers[.idempotencyKey]
    if let key, !(1...255).contains(key.utf8.count) || !key.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) {
      throw Problem(.badRequest, "An Idempotency-Key has 1 to 255 printable characters of ASCII without spaces.")
    }
  }

  /// - Parameter now: microseconds since 1970.
  func events(_ body: [UInt8], now: Int64) throws -> [IntakeEvent] {
    let bodies = areLines ? body.split(separator: 0x0a).map(trimmed).filter { !$0.isEmpty } : [body[...]]
    guard !bodies.isEmpty else { throw Problem(.unprocessableContent, "There is no event in the body.") }
    return try bodies.enumerated().map { index, body in
      do {
        try EmittedBody.check(body)
      } catch {
        throw Problem(.unprocessableContent, "\(place(index))The event is not JSON: \(error).")
      }
      return IntakeEvent(localID: localID(of: body, index, now: now), body: Array(body))
    }
  }

  /// The body's own ID, else the request's key, else one of Drover's.
  private func localID(of body: ArraySlice<UInt8>, _ index: Int, now: Int64) -> String {
    if let id = try? EmittedBody.localID(field: "id", body: body) { return id }
    if let key { return areLines ? "\(key)-\(index + 1)" : key }
    return hexadecimal(bytes(of: UInt64(now / 1000)).suffix(6) + bytes(of: .random(in: .min ... .max)))
  }

  private func bytes(of number: UInt64) -> [UInt8] { withUnsafeBytes(of: number.bigEndian) { Array($0) } }

  /// A line without the blanks at its end, such as the one of Windows.
  private func trimmed(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    line[..<((line.lastIndex { ![0x20, 0x09, 0x0d].contains($0) }).map { $0 + 1 } ?? line.startIndex)]
  }

  /// Where in the request an event stands.
  func place(_ index: Int) -> String { areLines ? "Event \(index + 1): " : "" }
}

extension HTTPField.Name {
  fileprivate static let idempotencyKey = Self("Idempotency-Key")!
}

extension HTTPResponse.Status {
  /// RFC 4918, section 11.5.
  fileprivate static let insufficientStorage = Self(code: 507, reasonPhrase: "Insufficient Storage")
}
