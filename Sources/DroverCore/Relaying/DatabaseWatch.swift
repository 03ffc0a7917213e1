// What to do when the app's database cannot be worked on: wait for its lock, look at its tables anew, begin an epoch with another file, or end because
// it is damaged. And when to look at it: after a hint for a commit, for the disk, for tables that streams wait for.

package struct DatabaseWatch: Sendable {
  package typealias Instant = ContinuousClock.Instant

  package enum State: Equatable, Sendable {
    /// Becomes `waiting` or `damaged`.
    case working
    /// After an error, until then. Becomes `working` when the time has come, `waiting` again, or `damaged`.
    case waiting(until: Instant)
    /// Nothing may be written any more. Stays so: the agent ends.
    case damaged
  }

  package enum Reaction: Equatable, Sendable {
    /// Work again after this. `lockedFor` says how long the app's lock has been in the way, where that is worth a line.
    case retry(Duration, lockedFor: Duration?)
    /// Work again after this; the operator has to see the error.
    case retryAndTell(Duration)
    /// Look at the tables anew.
    case refresh
    /// It is another database, or there is none.
    case leave(String)
    /// The agent has to end.
    case end(String)
  }

  private let limits: DatabaseLimits
  package private(set) var state = State.working
  /// Since when the file looks damaged.
  private var damagedSince: Instant?
  private var lock = LockWatch()
  private var hasMetLock = false

  package init(limits: DatabaseLimits) { self.limits = limits }

  package var isDamaged: Bool { state == .damaged }

  /// A turn begins.
  /// - Returns: how long to wait instead, if it is too early; nil: the agent may work.
  package mutating func begins(now: Instant) -> Duration? {
    hasMetLock = false
    switch state {
    case .working: return nil
    case .damaged: return limits.errorRetry
    case .waiting(let until):
      guard until <= now else { return now.duration(to: until) }
      state = .working
      return nil
    }
  }

  /// The database was read and written, so the file is whole.
  package mutating func worked() { damagedSince = nil }

  /// - Parameters:
  ///   - began: when the turn began.
  ///   - now: when it failed.
  package mutating func failed(_ error: EdgeStoreError, began: Instant, now: Instant) -> Reaction {
    switch error {
    case .busy: return .retry(waits(limits.lockRetry, now: now), lockedFor: metLock(now: now))
    case .schemaChanged: return .refresh
    case .otherDatabase(let reason): return .leave(reason)
    case .damaged(let text):
      damagedSince = damagedSince ?? began
      guard let damagedSince, damagedSince.advanced(by: limits.copyingLimit) <= began else {
        return .retry(waits(limits.copyingRetry, now: now), lockedFor: nil)
      }
      state = .damaged
      return .end(text)
    case .noSpace, .failed: return .retryAndTell(waits(limits.errorRetry, now: now))
    }
  }

  /// The tables could not be looked at. The schema is still another one than is known, so this is come to again.
  package mutating func refreshFailed(_ error: EdgeStoreError, now: Instant) -> Reaction {
    switch error {
    case .busy: .retry(waits(limits.lockRetry, now: now), lockedFor: metLock(now: now))
    case .otherDatabase(let reason): .leave(reason)
    case .schemaChanged, .damaged, .noSpace, .failed: .retryAndTell(waits(limits.errorRetry, now: now))
    }
  }

  private mutating func waits(_ delay: Duration, now: Instant) -> Duration {
    state = .waiting(until: now.advanced(by: delay))
    return delay
  }

  /// The app's lock is in the way.
  /// - Returns: how long it has been, where that is worth a line.
  package mutating func metLock(now: Instant) -> Duration? {
    hasMetLock = true
    return lock.met(now: now)
  }

  /// A turn has ended.
  /// - Returns: how long the database was locked, where that was said and is over.
  package mutating func ended(now: Instant) -> Duration? { hasMetLock ? nil : lock.free(now: now) }
}

/// When to look whether another process has committed.
package struct CommitWatch: Sendable {
  private let limits: DatabaseLimits
  /// After a hint: when to look once more.
  package private(set) var again: Duration?

  package init(limits: DatabaseLimits) { self.limits = limits }

  /// The watcher of the file says that it was written.
  package mutating func hinted() { again = limits.firstLook }

  package mutating func looked(found: Bool) {
    guard !found, let delay = again else { return again = nil }
    again = delay < limits.longestLook ? delay * 2 : nil
  }
}

/// When marks and forgets are written.
package struct SettlePace: Sendable {
  package enum State: Equatable, Sendable {
    /// There is nothing to write. Becomes `gathering`.
    case idle
    /// What comes until then is written together. Becomes `idle` when it was written.
    case gathering(until: ContinuousClock.Instant)
  }

  private let interval: Duration
  package private(set) var state = State.idle

  package init(interval: Duration) { self.interval = interval }

  /// - Parameter isStopping: nothing more will come, so there is nothing to wait for.
  /// - Returns: whether to write now.
  package mutating func isDue(hasSettlement: Bool, isStopping: Bool, now: ContinuousClock.Instant) -> Bool {
    guard hasSettlement else {
      state = .idle
      return false
    }
    switch state {
    case .idle:
      state = .gathering(until: now.advanced(by: interval))
      return false
    case .gathering(let until): return until <= now || isStopping
    }
  }

  package mutating func settled() { state = .idle }

  /// When it is to be asked again.
  package var at: ContinuousClock.Instant? { if case .gathering(let until) = state { until } else { nil } }
}

/// How many rows of a table that was there before Drover enter the outbox at once.
package struct BackfillPace: Sendable {
  private let limits: RelayLimits
  /// Rows that are sent at a rate wait until then.
  private var next: ContinuousClock.Instant?

  package init(limits: RelayLimits) { self.limits = limits }

  /// How long the next rows have to wait; nil: they may come now.
  package func wait(now: ContinuousClock.Instant) -> Duration? {
    next.flatMap { now < $0 ? now.duration(to: $0) : nil }
  }

  /// - Parameter rate: rows in a second; nil: as many as the window allows.
  package func rows(rate: Int?) -> Int {
    rate.map { min(max(1, $0 / limits.database.backfillPieces), limits.readEvents) } ?? limits.readEvents
  }

  /// So many rows were sent.
  package mutating func brought(_ rows: Int, rate: Int?, now: ContinuousClock.Instant) {
    next = rate.map { now.advanced(by: .seconds(1) * rows / $0) }
  }
}

/// When disk and waiting tables are looked at.
package struct Housekeeping: Sendable {
  private let limits: DatabaseLimits
  private var spaceAt: ContinuousClock.Instant?
  private var repairAt: ContinuousClock.Instant?
  private var hasNews = false

  package init(limits: DatabaseLimits) { self.limits = limits }

  /// Another process has committed.
  package mutating func committed() { hasNews = true }

  /// Whether to measure the disk now.
  package mutating func isSpaceDue(now: ContinuousClock.Instant) -> Bool {
    guard spaceAt.map({ $0 <= now }) ?? true else { return false }
    spaceAt = now.advanced(by: limits.spaceInterval)
    return true
  }

  /// The lock was in the way, so the disk is measured in the next turn.
  package mutating func metLock() { spaceAt = nil }

  /// What a stream waits for may be corrected without a change of the schema: a row that could not be read.
  /// - Returns: whether to look at the tables now.
  package mutating func isRepairDue(hasWaits: Bool, now: ContinuousClock.Instant) -> Bool {
    guard hasWaits, hasNews, repairAt.map({ $0 <= now }) ?? true else { return false }
    repairAt = now.advanced(by: limits.repairInterval)
    hasNews = false
    return true
  }
}
