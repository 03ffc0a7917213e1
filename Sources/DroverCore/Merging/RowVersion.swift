// Which of two states of one row is newer. Every comparison of versions in Swift uses this order; the stores' upserts have the same in SQL.

/// The place of a row's state among those of its machine: a later epoch wins over an earlier one, and within an epoch the higher version wins.
package struct RowVersion: Hashable, Comparable, Sendable, CustomStringConvertible {
  /// The epoch's number: the store numbers a machine's epochs in the order in which it hears of them.
  package var epoch: Int64
  /// The event's version, a hybrid logical clock in microseconds.
  package var version: Int64

  package init(epoch: Int64, version: Int64) {
    self.epoch = epoch
    self.version = version
  }

  package static func < (a: Self, b: Self) -> Bool { (a.epoch, a.version) < (b.epoch, b.version) }

  package var description: String { "\(epoch)/\(version)" }
}

/// Versions of different machines in comparison. Each machine's own order is that of its versions; against another machine's row a version
/// counts as at most a day later than it came, whatever its clock says.
package enum VersionBound {
  /// - Parameter now: when the event came, microseconds since 1970.
  package static func highest(now: Int64) -> Int64 { now &+ HybridClock.tolerance }
}
