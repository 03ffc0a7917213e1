// What an operator can observe of a service: one type for each event says what is logged, what is counted, and which events are about one subject.
// A subject that comes up again and again is logged the 1st, 10th, 100th … time, so that a broker that is away for a week, or a flood of garbage,
// does not fill the disk.

package import Logging

package protocol ObservableEvent {
  /// What the service counts.
  associatedtype Metric
  var level: Logger.Level { get }
  /// The line; nil where another event or the connection says it.
  var text: String? { get }
  /// What it is about; nil: it is logged each time.
  var subject: String? { get }
  /// A subject that is over: the next event about it is logged again.
  var endedSubject: String? { get }
  /// What is counted for metrics and `drover status`.
  var metric: Metric? { get }
}

extension ObservableEvent {
  package var subject: String? { nil }
  package var endedSubject: String? { nil }
  package var metric: Metric? { nil }
}

/// The only place where a service writes lines and counts.
package struct EventLog<Metric> {
  private let logger: Logger
  private var counts: [String: Int] = [:]
  /// Called with what an event counts for.
  package var onMetric: (Metric) -> Void = { _ in }

  package init(logger: Logger) { self.logger = logger }

  /// Whether lines of a level are written, for events that cost something to find.
  package func writes(_ level: Logger.Level) -> Bool { level >= logger.logLevel }

  package mutating func emit<Event: ObservableEvent>(_ event: Event) where Event.Metric == Metric {
    if let metric = event.metric { onMetric(metric) }
    if let ended = event.endedSubject { counts[ended] = nil }
    guard writes(event.level) else { return }
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
