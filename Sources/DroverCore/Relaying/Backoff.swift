// How long to wait before trying again. Drawn from the attempt's number and a seed, so that a simulation repeats and ten
// thousand machines that lost the same broker do not come back in the same instant.

/// Exponential delays with jitter: the attempt's full delay doubles from `base` up to `cap`, and the drawn one lies in
/// its upper half. (All of [0, 1] would spread better but may retry at once; half keeps a floor under the broker's load.)
package struct Backoff: Equatable, Sendable {
  /// The full delay of attempt 1.
  package let base: Duration
  /// No delay is longer.
  package let cap: Duration

  package init(base: Duration = .milliseconds(250), cap: Duration = .seconds(30)) {
    precondition(base > .zero && cap >= base, "a backoff rises from a positive base to its cap")
    self.base = base
    self.cap = cap
  }

  /// The delay after the attempt with this number, which counts from 1, has failed. The same seed gives the same delay.
  package func delay(attempt: Int, seed: UInt64) -> Duration {
    precondition(attempt >= 1, "attempts count from 1")
    var full = base
    var doublings = attempt - 1
    while doublings > 0, full < cap {
      full *= 2
      doublings -= 1
    }
    full = min(full, cap)
    // 32 bits of the mixed seed as a fraction of one half: exact in Duration's integers, no floating point.
    let fraction = Int64(Self.mixed(seed) >> 32)
    return full / 2 + full * fraction / (Int64(UInt32.max) * 2)
  }

  /// SplitMix64's finaliser (Steele, Lea, Flood 2014): neighbouring seeds give unrelated delays.
  private static func mixed(_ seed: UInt64) -> UInt64 {
    var value = seed &+ 0x9E37_79B9_7F4A_7C15
    value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
    return value ^ (value >> 31)
  }
}
