// How many attempts have failed, and which of them are worth a line. A broker that is away for a weekend must not fill
// the disk with one sentence; a person who looks must still find it near the end of the log.

/// Counts attempts since the last one that was of use.
struct RetryLog: Sendable {
  /// Failed attempts since the last success; the backoff's attempt number.
  private(set) var attempt = 0
  private var cause: String?
  private var repeats = 0

  /// Counts a failure. True if it should be logged: a cause that is new, and then its 2nd, 4th, 8th … repetition.
  mutating func failed(_ cause: String) -> Bool {
    attempt += 1
    repeats = cause == self.cause ? repeats + 1 : 1
    self.cause = cause
    return repeats & (repeats - 1) == 0
  }

  /// A connection stood for long: the next failure is a first one.
  mutating func succeeded() {
    self = RetryLog()
  }

  /// A connection was of use, but short. Two clients with one ID make such connections, and throw each other out as fast
  /// as they come back; so does a broker that restarts. Delays of a second or two are bearable for both.
  mutating func carriedSomething() {
    attempt = min(attempt, 3)
  }
}
