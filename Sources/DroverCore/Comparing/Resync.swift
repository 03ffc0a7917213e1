// Bringing a table's rows once more, although nothing is known to be wrong: after a repair by hand, for a new consumer, for a window of
// time. Nothing is emptied first; each row comes as an event again, and the merge rules decide.

/// Which rows are sent again.
package struct ResyncOrder: Equatable, Sendable {
  /// Rows at or after a moment.
  package struct Since: Equatable, Sendable {
    /// The column that holds a row's time: text that SQLite reads as a time, or a number of seconds, milliseconds or microseconds. nil: the one
    /// that the machine's configuration names.
    package var column: String?
    /// Microseconds since 1970.
    package var moment: Int64

    package init(column: String?, moment: Int64) {
      self.column = column
      self.moment = moment
    }
  }

  /// nil: all rows.
  package var condition: Condition?
  /// Rows without a readable time are sent, too.
  package var since: Since?
  /// Most rows a second that are looked at; nil: as fast as the window allows.
  package var rate: Int?

  package init(condition: Condition? = nil, since: Since? = nil, rate: Int? = nil) {
    self.condition = condition
    self.since = since
    self.rate = rate
  }
}

/// How far it has come.
package struct ResyncProgress: Equatable, Sendable {
  /// Rows of the table when it was ordered.
  package var total: Int
  /// Rows that were looked at, and those of them that were wanted and are in the outbox or on their way.
  package var looked: Int
  package var entered: Int
  /// Time since the first row, microseconds.
  package var elapsed: Int64
  package var isDone: Bool

  package init(total: Int, looked: Int, entered: Int, elapsed: Int64, isDone: Bool) {
    self.total = Int(Int64(total).clamped(to: Bounds.count))
    self.looked = Int(Int64(looked).clamped(to: Bounds.count))
    self.entered = Int(Int64(entered).clamped(to: Bounds.count))
    self.elapsed = elapsed.clamped(to: Bounds.duration)
    self.isDone = isDone
  }

  /// A number that is no longer of use to a person, and far below where an integer ends.
  private static let most = 1e15

  /// Rows a second so far; nil before there is anything to divide.
  package var rate: Double? {
    elapsed > 0 && looked > 0 ? min(Double(looked) * 1_000_000 / Double(elapsed), Self.most) : nil
  }

  /// Seconds that are left at this rate.
  package var secondsLeft: Double? { isDone ? 0 : rate.map { min(Double(max(0, total - looked)) / $0, Self.most) } }
}
