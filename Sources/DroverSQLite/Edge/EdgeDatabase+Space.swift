// The agent looks after the room that the outbox has: it keeps the intake's flags right, lets go of what is only retained when room
// becomes scarce, and tells the operator before a limit is reached.

package import DroverCore
import GRDB

extension EdgeDatabase {
  package func watchSpace() throws(EdgeStoreError) {
    // What was found counts only once it is committed.
    var (watched, changed) = (keeper, [OutboxLimit]())
    try access { database in
      try database.inTransaction(.deferred) {
        try verify(database)
        changed = try watched.check(database)
        return .commit
      }
      keeper = watched
      guard keeper.isScarce else { return }
      try database.inTransaction(.deferred) {
        try verify(database)
        for number in try Int.fetchAll(database, sql: "SELECT number FROM drover_stream WHERE retained_bytes > 0") {
          try prune(number, database)
        }
        return .commit
      }
    }
    for limit in changed { say(limit) }
  }

  private func say(_ limit: OutboxLimit) {
    let measure = keeper.space.text(limit, of: quota)
    switch keeper.gauge?.level(limit) ?? .ample {
    case .ample: warn("outbox: \(measure): that is enough space again")
    case .scarce:
      warn(
        "outbox: \(measure): space becomes scarce, and at the limit emit and drover_intake are refused; \(limit.advice)"
      )
    case .exhausted:
      warn(
        "outbox: \(measure): emit and drover_intake are refused now; changes of tables are captured all the same; \(limit.advice)"
      )
    }
  }
}

// MARK: What the cloud is told

extension EdgeDatabase {
  package func outboxFigures() throws(EdgeStoreError) -> OutboxFigures {
    try access { database in
      var figures: OutboxFigures?
      try database.inTransaction(.deferred) {
        try verify(database)
        let row = try Row.fetchOne(
          database,
          sql: """
            SELECT count(*) AS waiting, min(entry.version) AS oldest
              FROM drover_outbox AS entry JOIN drover_stream AS stream ON stream.number = entry.stream
             WHERE entry.seq > stream.confirmed_through
            """)!
        figures = OutboxFigures(
          waiting: row["waiting"], oldest: row["oldest"], deadLetters: try DeadLetterFigures(database).present,
          freeBytes: keeper.freeBytes)
        return .commit
      }
      return figures!
    }
  }
}
