// What an operator can observe of the agent: one type for each event says what is logged, what is counted, and which events are about one subject. A
// subject that comes up again and again is logged the 1st, 10th, 100th … time, so that a broker that is away for a week does not fill the disk.

import DroverCore
import Logging

protocol AgentEvent {
  var level: Logger.Level { get }
  /// The line; nil where another event or the connection says it.
  var text: String? { get }
  /// What it is about; nil: it is logged each time.
  var subject: String? { get }
  /// What is counted for metrics and `drover status`.
  var failure: DeliveryFailure.Kind? { get }
}

extension AgentEvent {
  var subject: String? { nil }
  var failure: DeliveryFailure.Kind? { nil }
}

/// The only place where the agent writes lines and counts failures.
struct EventLog {
  private let logger: Logger
  private var counts: [String: Int] = [:]
  /// Called with each failure on the way to the cloud.
  var onFailure: (DeliveryFailure.Kind) -> Void = { _ in }

  init(logger: Logger) { self.logger = logger }

  mutating func emit(_ event: some AgentEvent) {
    if let failure = event.failure { onFailure(failure) }
    guard event.level >= logger.logLevel else { return }
    let suffix = event.subject.map { count($0) } ?? ""
    guard let suffix, let text = event.text else { return }
    logger.log(level: event.level, "\(text)\(suffix)")
  }

  /// - Returns: how the line ends; nil where this time is not logged.
  private mutating func count(_ subject: String) -> String? {
    let count = counts[subject, default: 0] + 1
    counts[subject] = count
    var power = 1
    while power < count { power *= 10 }
    guard power == count else { return nil }
    return count > 1 ? " (\(count) times since the start)" : ""
  }
}

/// A duration for people.
func ageText(_ length: Duration) -> String { ageText(Int64(length / .microseconds(1))) }
