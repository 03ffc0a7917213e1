// What could not be applied is kept here, and what was sent again is settled.

import DroverCore
private import Foundation
import GRDB

extension Transaction {
  func addDeadLetter(_ letter: DeadLetter) throws -> DeadLetterResult {
    // The machine forgets an event of a frame with the confirmation: this is its last place, and `limits.message_bytes` bounds it.
    let kept = letter.epoch == nil ? letter.raw.prefix(store.limits.deadLetterBytes) : letter.raw
    let digest = DeadLetter.digest(topic: letter.topic, kept: kept)
    // So that the epoch has its place among the machine's now, and not when the letter is sent again.
    if let epoch = letter.epoch, let machine = letter.machine { _ = try number(of: epoch, machine: machine) }
    let now = store.now()
    try database.execute(
      sql:
        "UPDATE drover_dead_letter SET count = count + 1, last_at = ?, detail = ?, epoch = ifnull(?, epoch), replayed_at = NULL WHERE digest = ? AND topic = ? AND reason = ? AND bytes = ?",
      arguments: [
        now, letter.detail, letter.epoch?.text, digest, letter.topic, letter.reason.rawValue, letter.raw.count,
      ])
    guard database.changesCount == 0 else { return .kept }
    let room = DeadLetterSpace(database: database)
    guard try store.limits.deadLetters.makeRoom(for: letter, kept: kept.count, now: now, in: room) else {
      guard letter.epoch == nil else { return .full }
      try room.record(
        machine: letter.machine?.text ?? "", stream: letter.stream?.text ?? "", reason: letter.reason.rawValue,
        count: 1, bytes: letter.raw.count, now: now)
      return .dropped
    }
    try database.execute(
      sql: """
        INSERT INTO drover_dead_letter
               (topic, machine_id, stream, epoch, reason, detail, raw, bytes, digest, count, first_at, last_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?)
        """,
      arguments: [
        letter.topic, letter.machine?.text, letter.stream?.text, letter.epoch?.text, letter.reason.rawValue,
        letter.detail, Data(kept), letter.raw.count, digest, now, now,
      ])
    return .kept
  }

  func awaitsReplays() throws -> Bool {
    let any = try prepared("SELECT EXISTS (SELECT 1 FROM drover_dead_letter WHERE replayed_at IS NOT NULL)")
    defer { any.reset() }
    return try any.step() && any.integer(0) != 0
  }

  func epochOfReplay(topic: String, raw: [UInt8]) throws -> Epoch? {
    guard let id = try replayed(topic, raw).first else { return nil }
    let epoch = try String.fetchOne(
      database, sql: "SELECT epoch FROM drover_dead_letter WHERE id = ?", arguments: [id])
    return try epoch.map { try Epoch($0) }
  }

  func settleReplay(topic: String, raw: [UInt8]) throws {
    let letters = try replayed(topic, raw)
    for id in letters {
      try database.execute(sql: "DELETE FROM drover_dead_letter WHERE id = ?", arguments: [id])
    }
    try DeadLetterCounter.replayed.add(letters.count, database)
  }

  func isOutdatedReplay(topic: String, raw: [UInt8]) throws -> Bool {
    try replayed(topic, raw).contains { try database.isOutdatedDescription(letter: $0) }
  }

  /// A description of a stream was taken, or waits in its own list: letters with descriptions of the stream are over.
  func withdrawDescriptions(machine: MachineID, stream: StreamName) throws {
    try database.execute(
      sql: "DELETE FROM drover_dead_letter WHERE machine_id = ? AND stream = ? AND topic = ? AND reason = ?",
      arguments: [
        machine.text, stream.text, Topic.schema(machine, stream).text, DeadLetterReason.schema.rawValue,
      ])
    try DeadLetterCounter.replayed.add(database.changesCount, database)
  }

  /// The marked letters with these bytes on this topic.
  private func replayed(_ topic: String, _ raw: [UInt8]) throws -> [Int64] {
    let candidate = try prepared(
      "SELECT id, digest FROM drover_dead_letter WHERE replayed_at IS NOT NULL AND topic = ?1 AND bytes = ?2")
    defer { candidate.reset() }
    candidate.bind(topic, at: 1)
    candidate.bind(Int64(raw.count), at: 2)
    var digest: Int64?
    var found: [Int64] = []
    while try candidate.step() {
      digest = digest ?? DeadLetter.digest(topic: topic, kept: raw[...])
      if candidate.integer(1) == digest { found.append(candidate.integer(0)) }
    }
    return found
  }
}

extension Database {
  /// Whether a letter is a description of a stream that the machine has described again since.
  func isOutdatedDescription(letter id: Int64) throws -> Bool {
    try Bool.fetchOne(
      self,
      sql: """
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
         WHERE id = ? AND reason = ? AND topic = ? || machine_id || '/schema/' || stream
        """, arguments: [id, DeadLetterReason.schema.rawValue, Topic.prefix]) ?? false
  }
}
