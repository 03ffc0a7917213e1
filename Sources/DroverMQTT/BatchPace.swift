// How many messages the handler is given at once. While it has them, nothing is said to the broker: one that takes too long over them is taken for
// dead, the broker closes the connection and delivers all of them again, and so on without end. So a handler that turns out to be slow gets fewer.

struct BatchPace {
  /// Of the first batch: nothing is known of the handler yet.
  private static let first = 64

  /// The handler should be done with a batch within this time.
  private let limit: Duration
  private let largest: Int
  /// Messages of the next batch.
  private(set) var messages: Int

  /// - Parameters:
  ///   - largest: messages of a batch, however fast the handler is.
  ///   - keepAlive: the broker gives a connection up after one and a half times this without a word.
  init(largest: Int, keepAlive: Duration) {
    self.largest = largest
    messages = min(largest, Self.first)
    limit = min(.seconds(1), keepAlive / 4)
  }

  /// The handler had a batch, and took or refused it.
  mutating func handed(_ count: Int, took: Duration) {
    if took > limit {
      messages = max(1, min(messages, Int(Double(count) * (limit / took))))
    } else if took < limit / 4, count >= messages {
      messages = min(largest, messages * 2)
    }
  }
}
