// Which numbers from outside can be true. A number that a machine, a broker, a file or a store brings is held against these ranges where it is
// read, so that no arithmetic on it can overflow later: an overflow ends the process, and a message or a row that does so ends it at every start.

package enum Bounds {
  /// Sequence numbers. An outbox that gives a million in a second reaches the end after 146,000 years.
  package static let sequence: ClosedRange<Int64> = 0...(1 << 62) - 1
  /// Runs of an agent: microseconds since 1970 of its start, by a clock that may say any year that SQLite knows, 9999 at most.
  package static let run: ClosedRange<Int64> = 0...(1 << 58) - 1
  /// Versions (`HybridClock`).
  package static let version: ClosedRange<Int64> = 0...HybridClock.limit - 1
  /// What a wall clock says, in microseconds since 1970: up to the year 2200.
  package static let time: ClosedRange<Int64> = 0...7_258_118_400_000_000
  /// How far two wall clocks are apart, in microseconds.
  package static let clockOffset: ClosedRange<Int64> = -time.upperBound...time.upperBound
  /// How long something took, in microseconds: 285 years.
  package static let duration: ClosedRange<Int64> = 0...(1 << 53) - 1
  /// How many of something there are. The sum of what 16,000 machines say stays below 2^62.
  package static let count: ClosedRange<Int64> = 0...(1 << 48) - 1
  /// Bytes of a disk or a file.
  package static let bytes: ClosedRange<Int64> = 0...(1 << 62) - 1
  /// Names of questions in birth messages.
  package static let question: ClosedRange<Int64> = 0...(1 << 62) - 1
  /// The largest message that a consumer may say it takes: from what its configuration allows to MQTT's own bound [MQTT-2.1.4].
  package static let messageBytes: ClosedRange<Int64> = 1 << 10...(1 << 28)
  /// Messages of one answer.
  package static let part: ClosedRange<Int64> = 0...(1 << 31) - 1
  /// Moments of rows, in microseconds since 1970, long before that too.
  package static let moment: ClosedRange<Int64> = -(1 << 58)...(1 << 58)

  /// More columns than any database takes in one table.
  package static let columns = 4096
  /// Local IDs in one question; Drover asks about 200.
  package static let localIDs = 10_000
}

extension Int64 {
  /// The nearest number that can be true.
  package func clamped(to range: ClosedRange<Int64>) -> Int64 {
    Swift.min(Swift.max(self, range.lowerBound), range.upperBound)
  }
}
