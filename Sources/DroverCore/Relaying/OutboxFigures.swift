// How an outbox stands, as its agent tells the cloud. It is read from the outbox itself: what is confirmed has left it, so every figure rests
// on confirmations.

package struct OutboxFigures: Equatable, Sendable {
  /// Events that are not confirmed.
  package var waiting: Int
  /// The version of the oldest of them, microseconds since 1970; nil when none waits.
  package var oldest: Int64?
  /// Dead letters at the edge.
  package var deadLetters: Int
  /// What the database's filesystem has left, in bytes; nil where it does not say.
  package var freeBytes: Int64?

  /// What cannot be true becomes the nearest that can: a store may hold what an older version of Drover believed.
  package init(waiting: Int, oldest: Int64?, deadLetters: Int, freeBytes: Int64?) {
    self.waiting = Int(Int64(waiting).clamped(to: Bounds.count))
    self.oldest = oldest?.clamped(to: Bounds.version)
    self.deadLetters = Int(Int64(deadLetters).clamped(to: Bounds.count))
    self.freeBytes = freeBytes?.clamped(to: Bounds.bytes)
  }

  /// Whether a person would want to hear of it again: anything but a disk that has a little more or less.
  package func isNews(after told: OutboxFigures) -> Bool {
    var same = self
    if let left = freeBytes, let before = told.freeBytes, abs(left - before) <= before / 50 { same.freeBytes = before }
    return same != told
  }
}
