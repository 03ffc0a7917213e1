// The road for events that no table describes, as `drover emit` takes it: the same INSERT INTO drover_intake that any other program
// may use, many to a transaction.

package import DroverCore
private import GRDB

package final class Intake {
  private let queue: DatabaseQueue
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
    self.stream = stream.text
    self.quota = quota
    keeper = SpaceKeeper(path: path, quota: quota, free: free)
    do {
      queue = try EdgeDatabase.open(path, create: false)
      try queue.inDatabase { database in
        guard try database.viewExists("drover_intake") else {
          throw EdgeStoreError.failed("emit: \(path) is not attached yet; start `drover edge` once")
        }
      }
    } catch let error as EdgeStoreError {
      throw error
    } catch {
      throw .failed("emit: \(error)")
    }
  }

  deinit { statement = nil }

  /// Puts events into the outbox in one transaction, which is durable on return.
  /// - Parameter events: local ID, or nil for one of Drover's own, and the body's JSON text.
  /// - Returns: for each event why it was refused, or nil. Those refused for want of room are counted.
  package func insert(_ events: [(localID: String?, body: ArraySlice<UInt8>)]) throws(EdgeStoreError) -> [String?] {
    do {
      return try queue.inDatabase { database in
        var refusals: [String?] = []
        try database.inTransaction(.immediate) {
          _ = try keeper.check(database)
          var crowdedOut = 0
          let insert =
            try statement
            ?? Statement(database, "INSERT INTO drover_intake (stream, local_id, body) VALUES (?1, ?2, ?3)")
          statement = insert
          insert.bind(stream, at: 1)
          for (localID, body) in events {
            if let localID { insert.bind(localID, at: 2) } else { insert.bind(.null, at: 2) }
            insert.bind(.text(body), at: 3)
            do {
              try insert.run()
              refusals.append(nil)
            } catch let error as DatabaseError where error.resultCode == .SQLITE_CONSTRAINT {
              let message = error.message ?? "refused"
              let isCrowdedOut = message.hasPrefix(Bookkeeping.refusalPrefix)
              if isCrowdedOut { crowdedOut += 1 }
              refusals.append(isCrowdedOut ? try explain(message, database) : message)
            }
          }
          if crowdedOut > 0 {
            try database.execute(sql: "UPDATE drover_space SET refused = refused + ?", arguments: [crowdedOut])
          }
          return .commit
        }
        return refusals
      }
    } catch let error as DatabaseError {
      throw .failed("emit to \(stream): \(error.explanation); nothing of the last \(events.count) lines was taken")
    } catch {
      throw .failed("emit to \(stream): \(error)")
    }
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
