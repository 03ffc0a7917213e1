// What people see of an edge database. It is read from the outbox itself: what is confirmed has left it, so every figure rests on
// confirmations.

package struct EdgeReport: Sendable {
  package struct Stream: Sendable {
    package var name: String
    package var kind: String
    package var table: String?
    /// Waiting for the broker.
    package var pending: Int
    /// Acknowledged by the broker, waiting for the cloud.
    package var synced: Int
    /// Committed by the cloud since the database was attached.
    package var confirmed: Int
    /// Wall clock of the oldest unconfirmed event, microseconds since 1970.
    package var oldestUnconfirmed: Int64?
    /// Rows that were there before Drover are still entering the outbox.
    package var isBackfilling: Bool
    /// How far the last order to bring rows once more has come.
    package var resync: ResyncProgress?
    /// Of rows that only the cloud edits: edits here that the cloud's rows have replaced.
    package var overwritten: Int
    /// Rows that came down and were written into the table, since the database was attached.
    package var applied: Int

    package init(
      name: String, kind: String, table: String?, pending: Int, synced: Int, confirmed: Int, oldestUnconfirmed: Int64?,
      isBackfilling: Bool, resync: ResyncProgress?, overwritten: Int = 0, applied: Int = 0
    ) {
      self.name = name
      self.kind = kind
      self.table = table
      self.pending = pending
      self.synced = synced
      self.confirmed = confirmed
      self.oldestUnconfirmed = oldestUnconfirmed
      self.isBackfilling = isBackfilling
      self.resync = resync
      self.overwritten = overwritten
      self.applied = applied
    }
  }

  /// What the outbox takes, and what was refused because a limit was reached.
  package struct Space: Sendable {
    /// Bytes of everything in the outbox, counted now, and what is left for the database.
    package var measure: OutboxSpace
    /// The limits for which the intake is closed.
    package var closed: [OutboxLimit]
    /// Events that `drover emit` was refused.
    package var refused: Int
    /// How often the intake closed, and when last; microseconds since 1970.
    package var closings: Int
    package var closedAt: Int64?

    package init(measure: OutboxSpace, closed: [OutboxLimit], refused: Int, closings: Int, closedAt: Int64?) {
      self.measure = measure
      self.closed = closed
      self.refused = refused
      self.closings = closings
      self.closedAt = closedAt
    }

    /// The limits that are reached to four fifths.
    package func scarce(of quota: OutboxQuota) -> [OutboxLimit] {
      OutboxLimit.allCases.filter { measure.pressure(on: $0, of: quota) >= 0.8 }
    }
  }

  package var epoch: String
  package var space: Space
  /// This machine's clock less the cloud's as it was measured last, in microseconds.
  package var clockAhead: Int64?
  /// How far the newest version is ahead of the cloud's clock, in microseconds, where that is beyond the tolerance.
  package var versionsAhead: Int64?
  package var streams: [Stream]
  package var journalMode: String
  package var deadLetters: DeadLetterFigures
  /// What is wrong with who is connected under the machine's name, or was.
  package var troubles: [Trouble]
  /// Streams that wait while the others go on.
  package var waits: [StreamWait]
  package var worklists: [WorklistReport]

  package init(
    epoch: String, space: Space, clockAhead: Int64?, versionsAhead: Int64?, streams: [Stream], journalMode: String,
    deadLetters: DeadLetterFigures, troubles: [Trouble] = [], waits: [StreamWait] = [],
    worklists: [WorklistReport] = []
  ) {
    self.worklists = worklists
    self.troubles = troubles
    self.waits = waits
    self.epoch = epoch
    self.space = space
    self.clockAhead = clockAhead
    self.versionsAhead = versionsAhead
    self.streams = streams
    self.journalMode = journalMode
    self.deadLetters = deadLetters
  }
}

/// The seam through which people look into an edge database: `drover status`, `drover doctor` and the HTTP server. DroverSQLite implements it.
package protocol EdgeReader: Sendable {
  /// nil when the database is not attached.
  func report() throws -> EdgeReport?
}
