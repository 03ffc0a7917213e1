// Dead letters as the consumer sees them.

import DroverCore

extension Transaction {
  func addDeadLetter(_ letter: DeadLetter) throws -> DeadLetterResult {
    // The machine forgets an event of a frame with the confirmation: this is its last place, and `limits.message_bytes` bounds it.
    let kept = letter.epoch == nil ? letter.raw.prefix(store.limits.deadLetterBytes) : letter.raw
    // So that the epoch has its place among the machine's now, and not when the letter is sent again.
    if let epoch = letter.epoch, let machine = letter.machine { _ = try number(of: epoch, machine: machine) }
    var letter = letter
    letter.detail = letter.detail.withoutNUL
    let now = store.now()
    let digest = DeadLetter.digest(topic: letter.topic, kept: kept)
    let known = try connection.query(
      """
      UPDATE drover_dead_letter
         SET count = count + 1, last_at = $1, detail = $2, epoch = coalesce($3, epoch), replayed_at = NULL
       WHERE digest = $4 AND topic = $5 AND reason = $6 AND bytes = $7
      """,
      [
        .integer(now), .text(letter.detail), .text(letter.epoch?.text), .integer(digest), .text(letter.topic),
        .text(letter.reason.rawValue), .integer(letter.raw.count),
      ])
    guard known.changed == 0 else { return .kept }
    // What has room for two consumers at once has it for both.
    try lock(Locks.name("dead letters"))
    let tables = DeadLetterTables(connection: connection)
    guard try store.limits.deadLetters.makeRoom(for: letter, kept: kept.count, now: now, in: tables) else {
      guard letter.epoch == nil else { return .full }
      try tables.record(
        machine: letter.machine?.text ?? "", stream: letter.stream?.text ?? "", reason: letter.reason.rawValue,
        count: 1, bytes: Int64(letter.raw.count), now: now)
      return .dropped
    }
    try connection.query(
      """
      INSERT INTO drover_dead_letter
             (topic, machine_id, stream, epoch, reason, detail, raw, bytes, digest, count, first_at, last_at)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, $10, $10)
      """,
      [
        .text(letter.topic), .text(letter.machine?.text), .text(letter.stream?.text), .text(letter.epoch?.text),
        .text(letter.reason.rawValue), .text(letter.detail), .blob(kept), .integer(letter.raw.count), .integer(digest),
        .integer(now),
      ])
    return .kept
  }

  func awaitsReplays() throws -> Bool {
    try connection.query("SELECT EXISTS (SELECT 1 FROM drover_dead_letter WHERE replayed_at IS NOT NULL)").boolean(0, 0)
  }

  func epochOfReplay(topic: String, raw: [UInt8]) throws -> Epoch? {
    let rows = try connection.query(
      "SELECT epoch FROM drover_dead_letter WHERE \(Self.isReplayed) ORDER BY id LIMIT 1", replayed(topic, raw))
    return try rows.count == 0 ? nil : rows.optionalText(0, 0).map { try Epoch($0) }
  }

  func settleReplay(topic: String, raw: [UInt8]) throws {
    let letters = try connection.query(
      "DELETE FROM drover_dead_letter WHERE \(Self.isReplayed)", replayed(topic, raw))
    try DeadLetterCounter.replayed.add(letters.changed, connection)
  }

  func isOutdatedReplay(topic: String, raw: [UInt8]) throws -> Bool {
    let letters = try connection.query(
      "SELECT id FROM drover_dead_letter WHERE \(Self.isReplayed)", replayed(topic, raw))
    return try (0..<letters.count).contains { try connection.isOutdatedDescription(letter: letters.integer($0, 0)) }
  }

  /// A description of a stream was taken, or waits in its own list: letters with descriptions of the stream are over.
  func withdrawDescriptions(machine: MachineID, stream: StreamName) throws {
    let letters = try connection.query(
      "DELETE FROM drover_dead_letter WHERE machine_id = $1 AND stream = $2 AND topic = $3 AND reason = $4",
      [
        .text(machine.text), .text(stream.text), .text(Topic.schema(machine, stream).text),
        .text(DeadLetterReason.schema.rawValue),
      ])
    try DeadLetterCounter.replayed.add(letters.changed, connection)
  }

  /// The marked letters with the same bytes on the same topic.
  private static let isReplayed = "replayed_at IS NOT NULL AND topic = $1 AND bytes = $2 AND digest = $3"

  private func replayed(_ topic: String, _ raw: [UInt8]) -> [Parameter] {
    [.text(topic), .integer(raw.count), .integer(DeadLetter.digest(topic: topic, kept: raw[...]))]
  }
}

extension Connection {
  /// Whether a letter is a description of a stream that the machine has described again since.
  func isOutdatedDescription(letter id: Int64) throws -> Bool {
    let rows = try query(
      """
      SELECT EXISTS (SELECT 1 FROM drover_schema AS known
                      WHERE known.machine_id = letter.machine_id AND known.stream = letter.stream
                        AND known.described > letter.last_at)
          OR EXISTS (SELECT 1 FROM drover_schema_waiting AS waiting
                      WHERE waiting.machine_id = letter.machine_id AND waiting.stream = letter.stream
                        AND waiting.first_at > letter.last_at)
          OR EXISTS (SELECT 1 FROM drover_dead_letter AS other
                      WHERE other.machine_id = letter.machine_id AND other.stream = letter.stream
                        AND other.topic = letter.topic AND other.reason = letter.reason
                        AND other.last_at > letter.last_at)
        FROM drover_dead_letter AS letter
       WHERE id = $1 AND reason = $2 AND topic = $3 || machine_id || '/schema/' || stream
      """, [.integer(id), .text(DeadLetterReason.schema.rawValue), .text(Topic.prefix)])
    return rows.count > 0 && rows.boolean(0, 0)
  }
}
