import DroverCore
import DroverEvents

/// What became of a try to commit messages.
package enum CommitResult: Sendable {
  case succeeded
  case failed
}

/// What an operator can observe of the consumer. It counts commits; what became of messages is counted in the store, in their transaction.
protocol ConsumerEvent: ObservableEvent where Metric == CommitResult {}

typealias ConsumerLog = EventLog<CommitResult>
