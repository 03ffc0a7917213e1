// The consumer's HTTP server: the configuration's words and the store's seams, joined.

import DroverConfiguration
import DroverCore
import DroverHTTP
import DroverSQLite
import Logging
import ServiceLifecycle

extension HTTPOptions {
  init(_ configuration: HTTPConfiguration) {
    self.init(
      host: configuration.host, port: configuration.port, tokens: configuration.tokens,
      certificate: configuration.tls.map { Certificate(file: $0.certificate, keyFile: $0.key) },
      bodyBytes: configuration.limits.bodyBytes, requestsPerSecond: configuration.limits.requestsPerSecond,
      patience: .seconds(configuration.limits.seconds))
  }
}

extension CloudConfiguration {
  /// The server and what it needs beside it; none where the configuration asks for none.
  func httpServices(logger: Logger) -> [any Service] {
    guard let http, case .sqlite(let path) = store else { return [] }
    let options = HTTPOptions(http)
    let reader = SQLiteCloudReader(path: path)
    let watch = FleetWatch(reader: reader, worker: { AgentLock.worker(database: path) }, logger: logger)
    let source = CloudSource(
      reader: reader,
      letters: { forChange in try CloudDeadLetters(path: path, readOnly: !forChange) },
      worker: { AgentLock.worker(database: path) }, fleet: { watch.snapshot },
      status: {
        statusDocument(
          try reader.report(.everything), try reader.waitingSchemas(), AgentLock.worker(database: path),
          store: path, now: wallClock())
      },
      replay: { id in
        try await LetterReplay.run(
          [id], of: CloudDeadLetters(path: path), self, patience: .seconds(10)
        ).reason(for: id)
      },
      now: { wallClock() }, software: Drover.version)
    return [
      watch,
      HTTPServer(options, routes: CloudRoutes.all(source, patience: options.patience) + PageRoutes.all, logger: logger),
    ]
  }
}

extension ReplayOutcome {
  /// Why a letter is still there; nil when it was taken.
  fileprivate func reason(for id: Int64) -> String? {
    left.first { $0.id == id }.map { "The letter is still there: \($0.why)." }
  }
}
