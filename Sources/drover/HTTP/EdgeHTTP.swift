// The agent's HTTP server: the configuration's words and the database's seams, joined.

import DroverConfiguration
import DroverCore
import DroverHTTP
import DroverSQLite
import Logging

extension EdgeConfiguration {
  /// nil where the configuration asks for none.
  /// - Parameter look: has the agent look at the database now.
  func httpServer(logger: Logger, look: @escaping @Sendable () -> Void) -> HTTPServer? {
    guard let http else { return nil }
    let options = HTTPOptions(http)
    let source = EdgeSource(
      intake: SQLiteEventIntake(path: database, quota: outbox.quota), worklists: worklistDesk,
      streams: Dictionary(uniqueKeysWithValues: streams.map { ($0.name, $0.table) }),
      worker: { AgentLock.worker(database: database) },
      status: { statusDocument(try reader.report(), AgentLock.worker(database: database), now: wallClock()) },
      report: { try reader.report() }, failures: { AgentLock.failures(database: database) }, look: look,
      now: { wallClock() }, software: Drover.version)
    return HTTPServer(options, routes: EdgeRoutes.all(source, bodyBytes: options.bodyBytes), logger: logger)
  }
}
