// The machine's wall clock and the cloud's: what was measured stands in the database, where the triggers add it to the versions that they
// give. What may be added, and what not, is HybridClock's.

package import DroverCore
import GRDB

extension EdgeDatabase {
  /// The name in drover_meta: the machine's clock less the cloud's as it was measured last, in microseconds.
  static let clockAhead = "clock_ahead_us"
  /// Smaller changes are not worth a write, in microseconds.
  private static let notWorthIt: Int64 = 1_000_000

  package func note(_ clock: ClockNews) throws(EdgeStoreError) {
    let warning = try access { database in
      var warning: String?
      try database.inTransaction(.immediate) {
        try verify(database)
        let known = try Self.measure(database)
        let ahead: Int64
        switch clock {
        case .measured(let measured): ahead = measured.clamped(to: Bounds.clockOffset)
        case .stepped(let step):
          // Without a measure nothing is known of where the clock is now either.
          guard let known else { return .commit }
          ahead = (known + step.clamped(to: Bounds.clockOffset)).clamped(to: Bounds.clockOffset)
        }
        if known == nil || abs(ahead - (known ?? 0)) >= Self.notWorthIt {
          try database.execute(
            sql: "INSERT OR REPLACE INTO drover_meta (name, value) VALUES (?, ?)", arguments: [Self.clockAhead, ahead])
          if abs(ahead - (known ?? 0)) >= Self.notWorthIt {
            try database.execute(
              sql: "UPDATE drover_clock SET offset_us = ?", arguments: [HybridClock.correction(ofClockAheadBy: ahead)])
          }
        }
        warning = try Self.versionsAhead(database, clockAhead: ahead).map(Self.text)
        return .commit
      }
      return warning
    }
    if let warning { warn(warning) }
  }

  /// What was measured last; nil where nothing that can be true was.
  static func measure(_ database: Database) throws -> Int64? {
    // As text: something else that was written there must not end the agent.
    try String.fetchOne(
      database, sql: "SELECT CAST(value AS TEXT) FROM drover_meta WHERE name = ?", arguments: [clockAhead]
    ).flatMap { Int64($0) }.flatMap { Bounds.clockOffset.contains($0) ? $0 : nil }
  }

  /// How far the newest version is ahead of the cloud's clock, in microseconds; nil while that is no more than the tolerance.
  static func versionsAhead(_ database: Database, clockAhead: Int64) throws -> Int64? {
    let ahead =
      try Int64.fetchOne(
        database,
        sql: """
          SELECT max(version, ifnull((SELECT version FROM drover_outbox ORDER BY seq DESC LIMIT 1), 0))
               - (\(Bookkeeping.wallClock) - ?)
            FROM drover_clock
          """, arguments: [clockAhead.clamped(to: Bounds.clockOffset)]) ?? 0
    return ahead > HybridClock.tolerance ? ahead : nil
  }

  private static func text(ofVersionsAheadBy ahead: Int64) -> String {
    "clock: versions are \(ahead / 86_400_000_000) days ahead of the cloud, because this machine's clock was wrong once; each is one above the last, so the order is kept; times in reports are wrong until then"
  }
}
