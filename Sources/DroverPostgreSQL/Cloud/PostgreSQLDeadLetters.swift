// The cloud's dead letters in PostgreSQL for the person who looks into them. The consumer may be at work meanwhile: it is the consumer that
// removes a letter that was sent again, in the transaction in which it takes its message (`settleReplay`).

package import DroverCore

package final class PostgreSQLDeadLetters: CloudDeadLetterStore {
  private let connection: Connection
  /// Wall clock, microseconds since 1970.
  private let now: () -> Int64

  /// - Throws: `PostgreSQLError`.
  package init(_ address: PostgreSQLAddress, now: @escaping () -> Int64 = PostgreSQLCloudStore.wallClock) throws {
    self.now = now
    connection = try Connection(toStoreAt: address, purpose: "read the dead letters of")
  }

  // MARK: Looking

  /// What `letter` reads.
  private static let columns =
    "id, topic, machine_id, stream, reason, detail, bytes, count, first_at, last_at, replayed_at"

  package func letters(_ filter: DeadLetterFilter, limit: Int) throws -> [KeptLetter] {
    let condition = LetterCondition(filter)
    let rows = try connection.query(
      "SELECT \(Self.columns) FROM drover_dead_letter \(condition.sql) ORDER BY last_at DESC, id DESC LIMIT \(limit)",
      condition.parameters)
    return (0..<rows.count).map { letter(rows, $0) }
  }

  private func letter(_ rows: Rows, _ row: Int) -> KeptLetter {
    KeptLetter(
      id: rows.integer(row, 0), topic: rows.text(row, 1),
      machine: rows.optionalText(row, 2).flatMap { try? MachineID($0) },
      stream: rows.optionalText(row, 3).flatMap { try? StreamName($0) }, reason: rows.text(row, 4),
      detail: rows.text(row, 5), bytes: Int(rows.integer(row, 6)), count: Int(rows.integer(row, 7)),
      firstAt: rows.integer(row, 8), lastAt: rows.integer(row, 9), replayedAt: rows.optionalInteger(row, 10))
  }

  package func count(_ filter: DeadLetterFilter) throws -> Int {
    let condition = LetterCondition(filter)
    return Int(
      try connection.query("SELECT count(*) FROM drover_dead_letter \(condition.sql)", condition.parameters).integer(
        0, 0))
  }

  package func figures() throws -> DeadLetterFigures { try DeadLetterFigures(connection) }

  package func newest() throws -> Int64 {
    try connection.query("SELECT coalesce(max(id), 0) FROM drover_dead_letter").integer(0, 0)
  }

  package func content(of id: Int64) throws -> LetterContent? {
    let rows = try connection.query("SELECT raw, bytes FROM drover_dead_letter WHERE id = $1", [.integer(id)])
    guard rows.count > 0 else { return nil }
    let raw = rows.bytes(0, 0)
    return .message(raw: raw, isCut: raw.count < rows.integer(0, 1))
  }

  // MARK: Acting

  package func purge(_ filter: DeadLetterFilter) throws -> Int {
    let condition = LetterCondition(filter)
    return try connection.transaction {
      let count = try write("DELETE FROM drover_dead_letter \(condition.sql)", condition.parameters).changed
      try DeadLetterCounter.purged.add(count, connection)
      return count
    }
  }

  package func beginReplay(_ id: Int64) throws -> ReplayStart {
    try connection.transaction {
      let rows = try write(
        "SELECT topic, raw, bytes, digest FROM drover_dead_letter WHERE id = $1 FOR UPDATE", [.integer(id)])
      guard rows.count > 0 else { return .missing }
      let raw = rows.bytes(0, 1)
      let ticket = ReplayTicket(
        id: id, topic: rows.text(0, 0), digest: rows.integer(0, 3), bytes: Int(rows.integer(0, 2)))
      guard raw.count == ticket.bytes else { return .cut(kept: raw.count, bytes: ticket.bytes) }
      guard try !connection.isOutdatedDescription(letter: id) else { return .outdated }
      try mark(ticket, now())
      return .publish(OutboundMessage(topic: ticket.topic, payload: raw, contentType: "application/json"), ticket)
    }
  }

  package func cancelReplay(_ ticket: ReplayTicket) throws {
    try connection.transaction { try mark(ticket, nil) }
  }

  private static let sameMessage = "digest = $1 AND topic = $2 AND bytes = $3"

  private func same(_ ticket: ReplayTicket) -> [Parameter] {
    [.integer(ticket.digest), .text(ticket.topic), .integer(ticket.bytes)]
  }

  /// The same message may be there twice, for two reasons. It goes again for both.
  private func mark(_ ticket: ReplayTicket, _ moment: Int64?) throws {
    _ = try write(
      "UPDATE drover_dead_letter SET replayed_at = $4 WHERE \(Self.sameMessage)", same(ticket) + [.integer(moment)])
  }

  package func replayState(_ ticket: ReplayTicket) throws -> ReplayState {
    // Refused for another reason, it is a letter of another id.
    let rows = try connection.query(
      "SELECT \(Self.columns) FROM drover_dead_letter WHERE \(Self.sameMessage)", same(ticket))
    let letters = (0..<rows.count).map { letter(rows, $0) }
    if letters.contains(where: { $0.replayedAt != nil }) { return .waiting }
    return letters.first.map { .refused($0) } ?? .taken
  }

  // MARK: Access

  private func write(_ sql: String, _ parameters: [Parameter]) throws -> Rows {
    try connection.query(sql, parameters, operation: "write to the dead letters of")
  }
}

/// A filter as the end of a statement.
private struct LetterCondition {
  let sql: String
  let parameters: [Parameter]

  init(_ filter: DeadLetterFilter) {
    let terms: [(String, Parameter)?] = [
      filter.id.map { ("id = $#", .integer($0)) }, filter.through.map { ("id <= $#", .integer($0)) },
      filter.machine.map { ("machine_id = $#", .text($0.text)) },
      filter.stream.map { ("stream = $#", .text($0.text)) },
      filter.reason.map { ("reason = $#", .text($0.rawValue)) },
      filter.behind.map { ("last_at <= $#", .integer($0.lastAt)) },
      filter.behind.map { ("(last_at < \($0.lastAt) OR id < $#)", .integer($0.id)) },
    ]
    let given = terms.compactMap(\.self)
    let conditions = given.enumerated().map { $1.0.replacing("#", with: "\($0 + 1)") }
    sql = conditions.isEmpty ? "" : "WHERE " + conditions.joined(separator: " AND ")
    parameters = given.map(\.1)
  }
}
