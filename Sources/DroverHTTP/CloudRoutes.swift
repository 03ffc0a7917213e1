// What the cloud's side answers. It knows the store only by the core's seams.

package import DroverCore
package import DroverWire
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore

/// What the cloud's routes need of the process that serves them.
package struct CloudSource: Sendable {
  /// Looks into the store.
  package var reader: any CloudReader
  /// Reads the change feed.
  package var changes: any ChangeReader
  /// Opens the dead letters, to look at them or to change them; used on one thread.
  package var letters: @Sendable (_ forChange: Bool) throws -> any DeadLetterStore
  /// Opens the conflicts, to look at them or to resolve them; used on one thread.
  package var conflicts: @Sendable (_ forChange: Bool) throws -> any ConflictStore
  /// The consumers of the store, and whether they move.
  package var worker: @Sendable () -> Worker
  /// What was found at the last look; nil before the first.
  package var fleet: @Sendable () -> FleetSnapshot?
  /// The whole status, as `drover status --json` prints it.
  package var status: @Sendable () throws -> JSON
  /// Sends a dead letter again, and says why it is still there, or nil when the consumer has taken it.
  package var replay: @Sendable (Int64) async throws -> String?
  /// Has machines try rows again that they refuse, and says how many they have taken, and why the others are left.
  package var retry: @Sendable (RefusalFilter) async throws -> (taken: Int, left: [(row: KeptRefusal, why: String)])
  /// Microseconds since 1970.
  package var now: @Sendable () -> Int64
  package var software: String
  /// The worklists of the configuration.
  package var worklists: @Sendable () throws -> [WorklistSummary] = { [] }

  package init(
    reader: any CloudReader, changes: any ChangeReader,
    letters: @escaping @Sendable (Bool) throws -> any DeadLetterStore,
    conflicts: @escaping @Sendable (Bool) throws -> any ConflictStore,
    worker: @escaping @Sendable () -> Worker, fleet: @escaping @Sendable () -> FleetSnapshot?,
    status: @escaping @Sendable () throws -> JSON,
    replay: @escaping @Sendable (Int64) async throws -> String?,
    retry: @escaping @Sendable (RefusalFilter) async throws -> (taken: Int, left: [(row: KeptRefusal, why: String)]),
    now: @escaping @Sendable () -> Int64, software: String
  ) {
    self.reader = reader
    self.changes = changes
    self.letters = letters
    self.conflicts = conflicts
    self.worker = worker
    self.fleet = fleet
    self.status = status
    self.replay = replay
    self.retry = retry
    self.now = now
    self.software = software
  }
}

package enum CloudRoutes {
  /// Longest list of one answer.
  private static let page = 1...1000

  package static func all(_ source: CloudSource) -> [Route] {
    let blocking = Blocking()
    let exports = Exports()
    return [
      health(source.worker, of: "consumer"), openAPI(PackageResources.cloud_yaml),
      Route(.get, "/v1/status") { _, _ in .json(try await blocking.run(source.status)) },
      Route(.get, "/v1/fleet") { _, _ in
        guard let fleet = source.fleet() else {
          throw Problem(
            .serviceUnavailable, "The store has not been looked at yet; try again in a second.",
            headers: [.retryAfter: "1"])
        }
        return .json(fleet.document(now: source.now()))
      },
      Route(.get, "/v1/machines/{machine}") { _, asking in
        let name = try asking.part("machine")
        let machine = try await blocking.run { try source.reader.report(ReportScope(only: name))?.machines.first }
        guard let machine else { throw Problem(.notFound, "Nothing was heard of a machine of that name.") }
        return .json(machine.document(now: source.now()))
      },
      Route(.get, "/v1/machines") { request, _ in try await machines(request, source, blocking) },
      Route(.get, "/v1/schema") { _, _ in
        .json(try await blocking.run { try schema(source.reader) })
      },
      Route(.get, "/metrics") { _, _ in
        MetricsPage.response(try await blocking.run { try Metrics.text(source) })
      },
      Route(.get, "/v1/export") { _, asking in try await exports.respond(source.reader, stream: nil, asking, blocking)
      },
      Route(.get, "/v1/export/{stream}") { _, asking in
        let name = try asking.part("stream")
        guard let stream = try? StreamName(name) else { throw Problem(.notFound, "The store has no such stream.") }
        return try await exports.respond(source.reader, stream: stream, asking, blocking)
      },
    ] + ChangeRoutes.all(source.changes, blocking) + DeadLetterRoutes.all(source, blocking)
      + ConflictRoutes.all(source, blocking)
  }

  private static func machines(_ request: Request, _ source: CloudSource, _ blocking: Blocking) async throws -> Response
  {
    let limit = try request.number("limit", in: page, default: 100)
    let after = request.uri.queryParameters["after"].map(String.init)
    return .json(
      try await blocking.run {
        let machines =
          try source.reader.report(
            ReportScope(after: after, limit: limit, countsRows: false))?.machines ?? []
        let now = source.now()
        return .object([
          ("machines", .array(machines.map { $0.document(now: now) })),
          ("next", machines.count < limit ? .null : .string(machines.last!.name)),
        ])
      })
  }

  private static func schema(_ reader: any CloudReader) throws -> JSON {
    .object([
      ("tables", .array(try reader.sinks().map(\.document))),
      ("waiting", .array(try reader.waitingSchemas().map(\.document))),
    ])
  }

  // MARK: The same on both sides

  static let healthPath = "/v1/health"

  /// Well only while the worker moves.
  static func health(_ worker: @escaping @Sendable () -> Worker, of name: String) -> Route {
    Route(.get, healthPath, isOpen: true) { _, _ in
      let worker = worker()
      guard worker.process != nil else { throw Problem(.serviceUnavailable, "The \(name) is not running.") }
      guard let stuck = worker.stuck.first else { return .json(.object([("status", "ok")])) }
      throw Problem(
        .serviceUnavailable, "The \(name)'s \(stuck.name) has not moved for \(stuck.silence.components.seconds) s.")
    }
  }

  /// The document of the side's routes.
  static func openAPI(_ document: [UInt8]) -> Route {
    Route(.get, "/v1/openapi.yaml") { _, _ in
      Response(
        status: .ok, headers: [.contentType: "application/yaml"], body: .init(byteBuffer: ByteBuffer(bytes: document)))
    }
  }
}

extension SinkDescription {
  fileprivate var document: JSON {
    let key = schema?.key ?? []
    return .object([
      ("table", .string(stream.text)), ("kind", .string(kind.rawValue)),
      ("lines_of", header.map { .string($0.text) } ?? .null),
      (
        "columns",
        schema.map { schema in
          .array(
            schema.columns.enumerated().map { index, column in
              .object([
                ("name", .string(column.name)), ("type", .string(column.declaredType)),
                ("key", .bool(key.contains(index))),
              ])
            })
        } ?? .null
      ),
    ])
  }
}
