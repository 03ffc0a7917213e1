// A rate with a reserve: tokens come in at a steady rate up to a capacity, and each use takes some. It has no clock; the caller says what time
// it is, and a wall clock that is set back or far ahead neither blocks it nor gives it more than its capacity.

package struct TokenBucket: Equatable, Sendable {
  package let capacity: Double
  private let perMicrosecond: Double
  private var level: Double
  /// Microseconds since 1970.
  private var filledAt: Int64

  /// A full bucket.
  /// - Parameters:
  ///   - perSecond: how many tokens come in.
  ///   - capacity: how many it holds.
  package init(perSecond: Double, capacity: Double, now: Int64) {
    self.capacity = capacity
    perMicrosecond = perSecond / 1_000_000
    level = capacity
    filledAt = now
  }

  /// Takes tokens if there are enough. A use that is larger than the capacity is allowed when the bucket is full, and leaves a debt.
  package mutating func take(_ amount: Double = 1, now: Int64) -> Bool {
    guard holds(amount, now: now) else { return false }
    level -= amount
    return true
  }

  /// Takes tokens for a use that is known only afterwards; what is lacking is a debt.
  package mutating func charge(_ amount: Double, now: Int64) {
    fill(now)
    level -= amount
  }

  /// Whether `take` would take them.
  package mutating func holds(_ amount: Double, now: Int64) -> Bool {
    fill(now)
    return level >= min(amount, capacity)
  }

  private mutating func fill(_ now: Int64) {
    let (passed, isFar) = now.subtractingReportingOverflow(filledAt)
    filledAt = now
    guard !isFar, passed > 0 else { return }
    level = min(capacity, level + Double(passed) * perMicrosecond)
  }
}
