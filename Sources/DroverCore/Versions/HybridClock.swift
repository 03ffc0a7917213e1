// Versions: integers that rise with every event of one writer, whatever its wall clock does, and that look like
// microseconds since 1970, so that a person can read them and two machines can be compared.

/// A hybrid logical clock. The edge's triggers compute the same rule in SQL (see `drover_next`).
package struct HybridClock: Equatable, Sendable {
  /// Versions stay exact in a JSON number and in a double: below 2^53.
  package static let limit: Int64 = 1 << 53

  /// No clock is believed beyond this: 2100-01-01, in microseconds since 1970. From there on versions rise by one, and there are more
  /// of them below the limit than a machine can ever give.
  package static let farthest: Int64 = 4_102_444_800_000_000
  /// How far versions may be from the cloud's clock before it is reported, in microseconds: a day.
  package static let tolerance: Int64 = 86_400_000_000

  /// What a machine adds to its wall clock for versions that can be compared, in microseconds.
  ///
  /// A clock that is ahead is corrected by its whole offset: if the clock is set meanwhile, versions rise by one until the time comes. One
  /// that is behind is corrected by a day at most: if it is set, everything until the next measure is that far in the future, and
  /// a version never comes back from there.
  /// - Parameter offset: the machine's clock less the cloud's, as it was measured.
  package static func correction(ofClockAheadBy offset: Int64) -> Int64 {
    offset >= -tolerance ? -offset : 0
  }

  /// The highest version given or seen, in microseconds.
  package private(set) var last: Int64

  package init(last: Int64 = 0) { self.last = last }

  /// The next version: `max(last + 1, now)`, where a clock beyond `farthest` counts as there.
  /// - Parameter now: wall clock in microseconds since 1970.
  package mutating func next(now: Int64) -> Int64 {
    last = min(max(last + 1, min(now, Self.farthest)), Self.limit - 1)
    return last
  }

  /// Takes note of a version from elsewhere, so that the next own one is above it.
  package mutating func observe(_ version: Int64) {
    last = max(last, min(version, Self.limit - 1))
  }
}

/// Microseconds since 1970 as `2026-11-20T10:30:00.123Z`, and nothing else: the form that frames carry.
package enum Timestamp {
  /// Days to civil date by Howard Hinnant's algorithm (https://howardhinnant.github.io/date_algorithms.html, civil_from_days).
  package static func write(microseconds: Int64, into bytes: inout [UInt8]) {
    let milliseconds = microseconds / 1000 - (microseconds % 1000 < 0 ? 1 : 0)
    var days = milliseconds / 86_400_000
    var rest = milliseconds % 86_400_000
    if rest < 0 {
      rest += 86_400_000
      days -= 1
    }
    let z = days + 719_468
    let era = (z >= 0 ? z : z - 146_096) / 146_097
    let dayOfEra = z - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shifted = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * shifted + 2) / 5 + 1
    let month = shifted < 10 ? shifted + 3 : shifted - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)

    func digits(_ value: Int64, _ count: Int) {
      var divisor: Int64 = 1
      for _ in 1..<count { divisor *= 10 }
      var value = value
      for _ in 0..<count {
        bytes.append(UInt8(truncatingIfNeeded: 0x30 + value / divisor % 10))
        value %= divisor
        divisor /= 10
      }
    }
    digits(max(0, min(year, 9999)), 4)
    bytes.append(UInt8(ascii: "-"))
    digits(month, 2)
    bytes.append(UInt8(ascii: "-"))
    digits(day, 2)
    bytes.append(UInt8(ascii: "T"))
    digits(rest / 3_600_000, 2)
    bytes.append(UInt8(ascii: ":"))
    digits(rest / 60_000 % 60, 2)
    bytes.append(UInt8(ascii: ":"))
    digits(rest / 1000 % 60, 2)
    bytes.append(UInt8(ascii: "."))
    digits(rest % 1000, 3)
    bytes.append(UInt8(ascii: "Z"))
  }

  package static func text(microseconds: Int64) -> String {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(24)
    write(microseconds: microseconds, into: &bytes)
    return String(decoding: bytes, as: UTF8.self)
  }

  /// To the second and without what stands between, for names of files and tables: `20261121T013000Z`.
  package static func name(microseconds: Int64) -> String {
    text(microseconds: microseconds).prefix(19).filter { $0 != "-" && $0 != ":" } + "Z"
  }
}
