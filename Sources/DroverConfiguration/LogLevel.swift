// How much Drover says. The words are those of swift-log, which this target does not need for anything else.

/// The least severe message that is written.
package enum LogLevel: String, CaseIterable, Sendable {
  case trace, debug, info, notice, warning, error, critical
}

extension LogLevel {
  /// Reads `log_level`.
  init(reading file: Section) {
    self = file.optional("log_level", .oneOf, default: .info)
  }
}
