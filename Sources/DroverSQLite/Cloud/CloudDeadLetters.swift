// The cloud's dead letters for the person who looks into them. The consumer may be at work meanwhile: it is the consumer that removes a
// letter that was sent again, in the transaction in which it takes its message (`settleReplay`).

package import DroverCore
private import Foundation
import GRDB

package final class CloudDeadLetters: CloudDeadLetterStore {
  private let queue: DatabaseQueue
  package let path: String
  /// Wall clock, microseconds since 1970.
  private let now: () -> Int64

  /// - Parameter readOnly: it is only looked at, as the store is.
  /// - Throws: `CloudStoreError`.
  package init(path: String, readOnly: Bool = false, now: @escaping () -> Int64 = SQLiteCloudStore.wallClock) throws {
    self.path = path
    self.now = now
    guard FileManager.default.fileExists(atPath: path) else {
      throw CloudStoreError(description: "open \(path): there is no store yet; `drover cloud` makes it when it starts")
    }
    var configuration = Configuration()
    configuration.busyMode = .timeout(10)
    configuration.foreignKeysEnabled = false
    configuration.label = "drover dead"
    configuration.readonly = readOnly
    do {
      queue = try DatabaseQueue(path: path, configuration: configuration)
      if !readOnly { try CloudTables.migrator.migrate(queue) }
    } catch let error as DatabaseError {
      throw CloudStoreError("open", path, error)
    }
  }

  // MARK: Looking

  private func condition(_ filter: DeadLetterFilter) -> DeadLetterCondition {
    DeadLetterCondition(filter, machine: "letter.machine_id", stream: "letter.stream")
  }

  package func letters(_ filter: DeadLetterFilter, limit: Int) throws -> [KeptLetter] {
    let condition = condition(filter)
    return try access("read") { database in
      try Row.fetchAll(
        database,
        sql: """
          SELECT id, topic, machine_id, stream, reason, detail, bytes, count, first_at, last_at, replayed_at
            FROM drover_dead_letter AS letter \(condition.sql) ORDER BY last_at DESC, id DESC LIMIT \(limit)
          """, arguments: condition.arguments
      ).map(letter)
    }
  }

  private func letter(_ row: Row) -> KeptLetter {
    KeptLetter(
      id: row["id"], topic: row["topic"], machine: (row["machine_id"] as String?).flatMap { try? MachineID($0) },
      stream: (row["stream"] as String?).flatMap { try? StreamName($0) }, reason: row["reason"],
      detail: row["detail"], bytes: row["bytes"], count: row["count"], firstAt: row["first_at"],
      lastAt: row["last_at"], replayedAt: row["replayed_at"])
  }

  package func count(_ filter: DeadLetterFilter) throws -> Int {
    let condition = condition(filter)
    return try access("read") {
      try Int.fetchOne(
        $0, sql: "SELECT count(*) FROM drover_dead_letter AS letter \(condition.sql)", arguments: condition.arguments)!
    }
  }

  package func figures() throws -> DeadLetterFigures { try access("read") { try DeadLetterFigures($0) } }

  package func newest() throws -> Int64 {
    try access("read") { try Int64.fetchOne($0, sql: "SELECT ifnull(max(id), 0) FROM drover_dead_letter")! }
  }

  package func content(of id: Int64) throws -> LetterContent? {
    try access("read") { database in
      try Row.fetchOne(database, sql: "SELECT raw, bytes FROM drover_dead_letter WHERE id = ?", arguments: [id]).map {
        let raw: Data = $0["raw"]
        return .message(raw: Array(raw), isCut: raw.count < $0["bytes"])
      }
    }
  }

  // MARK: Acting

  package func purge(_ filter: DeadLetterFilter) throws -> Int {
    let condition = condition(filter)
    return try writing { database in
      try database.execute(
        sql: "DELETE FROM drover_dead_letter AS letter \(condition.sql)", arguments: condition.arguments)
      let count = database.changesCount
      try DeadLetterCounter.purged.add(count, database)
      return count
    }
  }

  package func beginReplay(_ id: Int64) throws -> ReplayStart {
    try writing { database in
      guard
        let row = try Row.fetchOne(
          database, sql: "SELECT topic, raw, bytes, digest FROM drover_dead_letter WHERE id = ?", arguments: [id])
      else { return .missing }
      let raw: Data = row["raw"]
      let ticket = ReplayTicket(id: id, topic: row["topic"], digest: row["digest"], bytes: row["bytes"])
      guard raw.count == ticket.bytes else { return .cut(kept: raw.count, bytes: ticket.bytes) }
      guard try !database.isOutdatedDescription(letter: id) else { return .outdated }
      try mark(ticket, now(), database)
      return .publish(
        OutboundMessage(topic: ticket.topic, payload: Array(raw), contentType: "application/json"), ticket)
    }
  }

  package func cancelReplay(_ ticket: ReplayTicket) throws {
    try writing { try mark(ticket, nil, $0) }
  }

  private static let sameMessage = "digest = ? AND topic = ? AND bytes = ?"

  private func same(_ ticket: ReplayTicket) -> StatementArguments { [ticket.digest, ticket.topic, ticket.bytes] }

  /// The same message may be there twice, for two reasons. It goes again for both.
  private func mark(_ ticket: ReplayTicket, _ moment: Int64?, _ database: Database) throws {
    try database.execute(
      sql: "UPDATE drover_dead_letter SET replayed_at = ? WHERE \(Self.sameMessage)",
      arguments: [moment] + same(ticket))
  }

  package func replayState(_ ticket: ReplayTicket) throws -> ReplayState {
    try access("read") { database in
      // Refused for another reason, it is a letter of another id; and an id that is free again may be another letter's.
      let letters = try Row.fetchAll(
        database, sql: "SELECT * FROM drover_dead_letter WHERE \(Self.sameMessage)", arguments: same(ticket)
      ).map(letter)
      if letters.contains(where: { $0.replayedAt != nil }) { return .waiting }
      return letters.first.map { .refused($0) } ?? .taken
    }
  }

  // MARK: Access

  private func writing<Result>(_ body: (Database) throws -> Result) throws -> Result {
    try access("write to") { database in
      var result: Result?
      try database.inTransaction(.immediate) {
        result = try body(database)
        return .commit
      }
      return result!
    }
  }

  private func access<Result>(_ operation: String, _ body: (Database) throws -> Result) throws -> Result {
    do {
      return try queue.inDatabase(body)
    } catch let error as DatabaseError {
      throw CloudStoreError("\(operation) the dead letters of", path, error)
    }
  }
}
