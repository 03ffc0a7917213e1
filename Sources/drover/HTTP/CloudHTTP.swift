// The consumer's HTTP server: the configuration's words and the store's seams, joined.

import DroverConfiguration
import DroverCore
import DroverHTTP
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
  /// - Parameter worker: the consumer of this process.
  func httpServices(worker: @escaping @Sendable () -> Worker, logger: Logger) -> [any Service] {
    guard let http else { return [] }
    let options = HTTPOptions(http)
    let reader = reader
    let watch = FleetWatch(reader: reader, worker: worker, logger: logger)
    let source = CloudSource(
      reader: reader, changes: changeReader,
      letters: { forChange in try openDeadLetters(readOnly: !forChange) },
      worker: worker, fleet: { watch.snapshot },
      status: { statusDocument(try CloudStanding(reader), now: wallClock()) },
      replay: { id in
        try await LetterReplay.run([id], of: openDeadLetters(), self, patience: .seconds(10)).reason(for: id)
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
