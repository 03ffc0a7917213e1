// The consumer's HTTP server: the configuration's words and the store's seams, joined.

import DroverConfiguration
import DroverCore
import DroverHTTP
import DroverSQLite
import DroverServices
import Logging
import ServiceLifecycle

extension HTTPOptions {
  init(_ configuration: HTTPConfiguration) {
    self.init(
      host: configuration.host, port: configuration.port, tokens: configuration.tokens,
      origins: configuration.origins,
      certificate: configuration.tls.map { Certificate(file: $0.certificate, keyFile: $0.key) },
      bodyBytes: configuration.limits.bodyBytes, requestsPerSecond: configuration.limits.requestsPerSecond,
      connectionsPerAddress: configuration.limits.connectionsPerAddress,
      patience: .seconds(configuration.limits.seconds))
  }
}

extension CloudConfiguration {
  /// Who tells of alerts; nil where the configuration has none.
  func alertDesk(isLeader: @escaping @Sendable () -> Bool, logger: Logger) -> AlertService? {
    alerts.map { alerts in
      AlertService(
        alerts.rules, consumer: connection.clientID, receiver: alerts.webhook.map(Self.receiver),
        isLeader: isLeader, memory: alertMemory, logger: logger)
    }
  }

  /// The server, the looks at the fleet and the alerts; what the configuration does not ask for is not there.
  /// - Parameters:
  ///   - worker: the consumer of this process.
  ///   - desk: who tells of alerts.
  ///   - board: how the endpoints of worklists do.
  func onlookers(
    worker: @escaping @Sendable () -> Worker, desk: AlertService?, commits: CommitTries, board: EndpointBoard,
    logger: Logger
  ) -> [any Service] {
    guard http != nil || alerts != nil else { return [] }
    let watch = FleetWatch(
      reader: reader, worker: worker, freeBytes: storeFreeBytes, commits: commits, desk: desk,
      worklists: { worklistHealth(board) }, wallClock: wallClock, logger: logger)
    let server = http.map { httpServer($0, watch, worker: worker, logger: logger) }
    let all: [(any Service)?] = [watch, desk, server]
    return all.compactMap(\.self)
  }

  /// The one who posts has to close it, so it makes its own.
  private static func receiver(_ webhook: WebhookConfiguration) -> @Sendable () -> any AlertReceiver {
    { Webhook(url: webhook.url, token: webhook.token, ca: webhook.ca) }
  }

  /// What the store's filesystem has left; a database server does not say.
  func storeFreeBytes() -> Int64? {
    guard case .sqlite(let path) = store else { return nil }
    return FreeSpace.of(path)?.bytes
  }

  private func httpServer(
    _ http: HTTPConfiguration, _ watch: FleetWatch, worker: @escaping @Sendable () -> Worker, logger: Logger
  ) -> HTTPServer {
    let options = HTTPOptions(http)
    let reader = reader
    let worklists = WorklistSource(
      names: worklists.map(\.plan.name), open: { forChange in try openWorklists(forChange: forChange) },
      now: { wallClock() })
    var source = CloudSource(
      reader: reader, changes: changeReader,
      letters: { forChange in try openDeadLetters(readOnly: !forChange) },
      conflicts: { forChange in try openConflicts(forChange: forChange) },
      worker: worker, fleet: { watch.snapshot },
      status: { statusDocument(try CloudOverview(reader), now: wallClock()) },
      replay: { id in
        try await DeadLetterReplay.run(
          [id], of: openDeadLetters(), store: openDeadLetters(), over: ShortSession(replaying: connection),
          patience: .seconds(10)
        ).reason(for: id)
      },
      retry: { filter in
        let refused = try reader.refusals(filter, after: 0, limit: .max).rows
        let outcome = try await retry(
          refused, isAll: filter == RefusalFilter(machine: filter.machine), patience: .seconds(10))
        return (outcome.done, outcome.left)
      },
      now: { wallClock() }, software: Drover.version)
    source.worklists = { try worklists.summaries() }
    return HTTPServer(
      options,
      routes: CloudRoutes.all(source) + RowRoutes.all(rowEditor, bodyBytes: options.bodyBytes)
        + WorklistRoutes.all(worklists, bodyBytes: options.bodyBytes) + PageRoutes.all,
      tickets: Tickets(), logger: logger)
  }
}

extension ReplayOutcome {
  /// Why a letter is still there; nil when it was taken.
  fileprivate func reason(for id: Int64) -> String? {
    left.first { $0.id == id }.map { "The letter is still there: \($0.why)." }
  }
}
