// The road for events that no table describes, as `drover emit` takes it: the same INSERT INTO drover_intake that any other program
// may use, many to a transaction.

package import DroverCore
private import GRDB

package final class Intake {
  private var queue: DatabaseQueue
  private var files: OpenFiles?
  private let path: String
  private let stream: String
  private let quota: OutboxQuota
  private var keeper: SpaceKeeper
  private var statement: Statement?

  /// Opens an attached database for events of one stream.
  /// - Parameters:
  ///   - quota: what the outbox may take; the agent need not run for it to hold.
  ///   - free: what is left on the filesystem of a path.
  /// - Throws: `EdgeStoreError` when the database or the stream is not there.
  package init(
    path: String, stream: StreamName, quota: OutboxQuota = OutboxQuota(),
    free: @escaping (String) -> FreeSpace? = FreeSpace.of
  ) throws(EdgeStoreError) {
    self.path = path
    self.stream = stream.text
    self.quota = quota
    keeper = SpaceKeeper(path: path, quota: quota, free: free)
    do {
      queue = try EdgeDatabase.open(path, create: false)
      files = try queue.inDatabase { try Self.look(path, $0) }
    } catch let error as EdgeStoreError {
      throw error
    } catch {
      throw .failed("emit: \(error)")
    }
  }

  private static func look(_ path: String, _ database: Database) throws -> OpenFiles {
    guard try database.viewExists("drover_intake") else {
      throw EdgeStoreError.failed("emit: \(path) is not attached yet; start `drover edge` once")
    }
    return try OpenFiles(path, database)
  }

  /// Who feeds it may do so for months: what is put into a file that has lost its name would be lost.
  private func followFile() throws {
    let hasChanged = try queue.inDatabase { database in
      guard try files?.change(database) != nil else { return false }
      statement = nil
      try files?.partFromWAL(database)
      return true
    }
    guard hasChanged else { return }
    try queue.close()
    queue = try EdgeDatabase.open(path, create: false)
    files = try queue.inDatabase { try Self.look(path, $0) }
  }

  deinit { statement = nil }

  /// Puts events into the outbox in one transaction, which is durable on return.
  /// - Parameter events: local ID, or nil for one of Drover's own, and the body's JSON text.
  /// - Returns: for each event why it was refused, or nil. Those refused for want of room are counted.
  package func insert(_ events: [(localID: String?, body: ArraySlice<UInt8>)]) throws(EdgeStoreError) -> [String?] {
    do {
      try followFile()
      return try queue.inDatabase { database in
        var refusals: [String?] = []
        try database.inTransaction(.immediate) {
          _ = try keeper.check(database)
          var crowdedOut = 0
          for (localID, body) in events {
            switch try enter(localID, body, database) {
            case nil: refusals.append(nil)
            case .noSpace(let reason):
              crowdedOut += 1
              refusals.append(reason)
            case .invalid(let reason): refusals.append(reason)
            }
          }
          try noteCrowdedOut(crowdedOut, database)
          return .commit
        }
        return refusals
      }
    } catch let error as EdgeStoreError {
      throw error
    } catch let error as DatabaseError {
      throw .failed("emit to \(stream): \(error.explanation); nothing of the last \(events.count) lines was taken")
    } catch {
      throw .failed("emit to \(stream): \(error)")
    }
  }

  /// Puts events into the outbox that are not there yet, all or none; see `EventIntake`.
  package func take(_ events: [IntakeEvent]) throws(EdgeStoreError) -> IntakeAnswer {
    do {
      return try queue.inDatabase { database in
        try database.execute(sql: Self.keyIndex)
        try database.inTransaction(.immediate) {
          _ = try keeper.check(database)
          return .commit
        }
        var answer = IntakeAnswer.taken
        try database.inTransaction(.immediate) {
          answer = try enterNew(events, database)
          return answer == .taken ? .commit : .rollback
        }
        if case .refused(_, .noSpace) = answer { try noteCrowdedOut(events.count, database) }
        return answer
      }
    } catch let error as DatabaseError {
      throw .failed("take events of \(stream): \(error.explanation); none was taken")
    } catch {
      throw .failed("take events of \(stream): \(error)")
    }
  }

  /// To look for an event's local ID among many that wait.
  private static let keyIndex =
    "CREATE INDEX IF NOT EXISTS drover_intake_key ON drover_outbox (stream, key) WHERE body IS NOT NULL"

  private func enterNew(_ events: [IntakeEvent], _ database: Database) throws -> IntakeAnswer {
    let isFact =
      try String.fetchOne(
        database, sql: "SELECT kind FROM drover_stream WHERE name = ?", arguments: [stream]) == Kind.payload.rawValue
    for (index, event) in events.enumerated() {
      if let body = try newestBody(event.localID, database) {
        if body.elementsEqual(event.body) { continue }
        if isFact { return .refused(index: index, .conflict) }
      }
      switch try enter(event.localID, event.body[...], database) {
      case nil: continue
      case .noSpace(let reason): return .refused(index: index, .noSpace(reason))
      case .invalid(let reason): return .refused(index: index, .invalid(reason))
      }
    }
    return .taken
  }

  private func newestBody(_ localID: String, _ database: Database) throws -> String.UTF8View? {
    let find = try database.cachedStatement(
      sql: """
        SELECT body FROM drover_outbox
         WHERE stream = (SELECT number FROM drover_stream WHERE name = ?) AND key = ? AND body IS NOT NULL
         ORDER BY seq DESC LIMIT 1
        """)
    return try String.fetchOne(find, arguments: [stream, localID])?.utf8
  }

  private enum Refusal {
    case noSpace(String)
    case invalid(String)
  }

  /// Returns why an event was refused, or nil.
  private func enter(_ localID: String?, _ body: ArraySlice<UInt8>, _ database: Database) throws -> Refusal? {
    let insert =
      try statement ?? Statement(database, "INSERT INTO drover_intake (stream, local_id, body) VALUES (?1, ?2, ?3)")
    statement = insert
    insert.bind(stream, at: 1)
    if let localID { insert.bind(localID, at: 2) } else { insert.bind(.null, at: 2) }
    insert.bind(.text(body), at: 3)
    do {
      try insert.run()
      return nil
    } catch let error as DatabaseError where error.resultCode == .SQLITE_CONSTRAINT {
      let message = error.message ?? "refused"
      guard message.hasPrefix(Bookkeeping.refusalPrefix) else { return .invalid(message) }
      return .noSpace(try explain(message, database))
    }
  }

  private func noteCrowdedOut(_ count: Int, _ database: Database) throws {
    guard count > 0 else { return }
    try database.execute(sql: "UPDATE drover_space SET refused = refused + ?", arguments: [count])
  }

  /// With the present measure, which the trigger does not know.
  private func explain(_ message: String, _ database: Database) throws -> String {
    let isFull = try Bool.fetchOne(database, sql: "SELECT is_full FROM drover_space") ?? false
    let reached = keeper.gauge?.exhausted ?? []
    guard let limit = isFull ? .maxBytes : OutboxLimit.allCases.first(where: reached.contains) else { return message }
    var space = keeper.space
    space.used = try SpaceKeeper.used(database)
    return "the event is not taken: \(space.text(limit, of: quota)); \(limit.advice)"
  }
}

/// The intake of the HTTP server. Each request opens the database anew, so that it finds the one that is there now.
package struct SQLiteEventIntake: EventIntake {
  private let path: String
  private let quota: OutboxQuota

  package init(path: String, quota: OutboxQuota) {
    self.path = path
    self.quota = quota
  }

  package func take(_ events: [IntakeEvent], into stream: StreamName) throws -> IntakeAnswer {
    try Intake(path: path, stream: stream, quota: quota).take(events)
  }
}
