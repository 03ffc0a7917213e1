// The ear of a command that visits the broker for a moment: what the session says of its failures is the command's own answer.

import Logging
import Synchronization

/// Keeps the last warning of a session, which names the cause of a failure.
final class Remarks: LogHandler, Sendable {
  private let text = Mutex<String?>(nil)
  var last: String? { text.withLock { $0 } }

  var logger: Logger { Logger(label: "visit") { _ in self } }

  var logLevel: Logger.Level {
    get { .info }
    set {}
  }
  var metadata: Logger.Metadata {
    get { [:] }
    set {}
  }
  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { nil }
    set {}
  }
  func log(event: LogEvent) {
    guard event.level >= .warning else { return }
    text.withLock { $0 = "\(event.message)" }
  }
}
