// What happened, in lines for a person; written only when somebody wants to read them.

import Logging

final class Trace {
  let isOn: Bool
  private(set) var lines: [String] = []
  private let time: VirtualTime
  var step = 0

  init(isOn: Bool, time: VirtualTime) {
    self.isOn = isOn
    self.time = time
  }

  func callAsFunction(_ line: @autoclosure () -> String) {
    guard isOn else { return }
    let milliseconds = Int(time.elapsed / .milliseconds(1))
    lines.append("step \(step), \(milliseconds) ms: \(line())")
  }

  /// The log of an agent or consumer, as lines of the trace.
  func logger(_ label: String) -> Logger {
    guard isOn else {
      var logger = Logger(label: label) { _ in SwiftLogNoOpLogHandler() }
      logger.logLevel = .critical
      return logger
    }
    let handler = TraceLogHandler(label: label, trace: self)
    var logger = Logger(label: label) { _ in handler }
    logger.logLevel = .debug
    return logger
  }
}

/// A run stays on one thread, and so does its log.
private struct TraceLogHandler: LogHandler, @unchecked Sendable {
  let label: String
  let trace: Trace
  var metadata: Logger.Metadata = [:]
  var logLevel: Logger.Level = .debug

  func log(event: LogEvent) { trace("\(label): \(event.message)") }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }
}
