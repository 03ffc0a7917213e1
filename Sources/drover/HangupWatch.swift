// SIGHUP asks many daemons to read their configuration again, and ends a process that does not expect it. Agent and consumer read theirs once,
// when they start: what it says is of the database, the connection and the streams all at once. So the signal changes nothing, and a line says
// so and whether the file as it is now could be started with.

import Logging
import ServiceLifecycle
import UnixSignals

struct HangupWatch: Service {
  private let signals: UnixSignalsSequence
  private let logger: Logger
  private let read: @Sendable () throws -> Void

  /// From here on the signal does not end the process.
  /// - Parameter read: reads the configuration as it is now.
  init<Read>(logger: Logger, read: @escaping @Sendable () throws -> Read) async {
    signals = await UnixSignalsSequence(trapping: .sighup)
    self.logger = logger
    self.read = { _ = try read() }
  }

  func run() async throws {
    for await _ in signals.cancelOnGracefulShutdown() {
      do {
        try read()
        logger.notice(
          "SIGHUP: Drover does not reload its configuration; restart it to use the file, which has no errors")
      } catch {
        logger.warning(
          "SIGHUP: Drover does not reload its configuration, and the file has errors, so it would not start again; correct them before a restart: `drover doctor` lists them"
        )
      }
    }
  }
}
