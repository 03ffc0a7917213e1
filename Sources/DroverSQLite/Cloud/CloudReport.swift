// What `drover status` and `drover doctor` say of a cloud store, read by another process than the consumer.

package import DroverCore
private import Foundation
private import GRDB

package struct CloudReport: Sendable {
  package struct Stream: Sendable {
    package var name: String
    package var rows: Int
    package var applied: Int
    package var superseded: Int
    package var refused: Int
    /// How long the newest event took from the edge's commit to the cloud's, in microseconds.
    package var lag: Int64
    /// How far its version is ahead of the cloud's clock, in microseconds, where that is beyond the tolerance.
    package var ahead: Int64?
    /// When the newest event was committed here, microseconds since 1970.
    package var appliedAt: Int64
    /// The last comparison with the source.
    package var check: Check?
    /// The tables whose rows travel with the stream's, and how many there are.
    package var lines: [Lines]
  }

  package struct Check: Sendable {
    /// Microseconds since 1970.
    package var at: Int64
    /// Rows that differed at its end.
    package var drift: Int
    /// Why it could not be made.
    package var failure: String?
  }

  package struct Lines: Sendable {
    package var table: String
    package var rows: Int
  }

  package struct Machine: Sendable {
    package var name: String
    package var isOnline: Bool?
    package var lastHeard: Int64
    /// The machine's clock less the cloud's as the machine last measured it, microseconds.
    package var clockOffset: Int64?
    package var streams: [Stream]
    package var deadLetters: Int
  }

  /// What was dropped for want of room; without a machine where too many were named.
  package struct Dropped: Sendable {
    package var machine: String
    package var stream: String
    package var reason: String
    package var letters: Int
    package var bytes: Int
    /// Microseconds since 1970.
    package var lastAt: Int64
  }

  package var machines: [Machine]
  /// The most first.
  package var dropped: [Dropped]
  /// What the dead letters take, in bytes, and how many rows they are.
  package var letterBytes: Int
  package var letterRows: Int
  /// All dead letters, those that belong to no machine too.
  package var deadLetters: DeadLetterFigures
  /// What became of every message, by `MessageOutcome`'s names.
  package var messages: [(outcome: String, count: Int)]

  /// - Returns: nil when there is no store yet.
  /// - Throws: `CloudStoreError`.
  package static func read(path: String) throws(CloudStoreError) -> CloudReport? {
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    do {
      var configuration = Configuration()
      configuration.readonly = true
      configuration.busyMode = .timeout(10)
      let queue = try DatabaseQueue(path: path, configuration: configuration)
      return try queue.read { database in
        guard try database.tableExists("drover_machine") else { return nil }
        let machines = try Row.fetchAll(
          database, sql: "SELECT machine_id, online, last_heard, clock_offset FROM drover_machine ORDER BY machine_id"
        ).map { row in
          let name: String = row["machine_id"]
          return Machine(
            name: name, isOnline: row["online"], lastHeard: row["last_heard"], clockOffset: row["clock_offset"],
            streams: try streams(of: name, database), deadLetters: try deadLetters(of: name, database))
        }
        let use = try Row.fetchOne(
          database, sql: "SELECT ifnull(sum(letters), 0) AS rows, ifnull(sum(bytes), 0) AS bytes FROM drover_dead_total"
        )!
        return CloudReport(
          machines: machines, dropped: try dropped(database), letterBytes: use["bytes"], letterRows: use["rows"],
          deadLetters: try DeadLetterFigures(database),
          messages: try Row.fetchAll(database, sql: "SELECT outcome, count FROM drover_message_count ORDER BY outcome")
            .map { ($0["outcome"], $0["count"]) })
      }
    } catch let error as DatabaseError {
      throw CloudStoreError(description: "read \(path): \(error.explanation)")
    } catch {
      throw CloudStoreError(description: "read \(path): \(error)")
    }
  }

  private static func dropped(_ database: Database) throws -> [Dropped] {
    try Row.fetchAll(
      database, sql: "SELECT * FROM drover_dead_dropped ORDER BY letters DESC, machine_id, stream, reason"
    ).map {
      Dropped(
        machine: $0["machine_id"], stream: $0["stream"], reason: $0["reason"], letters: $0["letters"],
        bytes: $0["bytes"], lastAt: $0["last_at"])
    }
  }

  private static func streams(of machine: String, _ database: Database) throws -> [Stream] {
    try Row.fetchAll(
      database, sql: "SELECT * FROM drover_progress WHERE machine_id = ? ORDER BY stream", arguments: [machine]
    ).map { row in
      let name: String = row["stream"]
      let rows = try countRows(of: name, machine: machine, database)
      let (appliedAt, version): (Int64, Int64) = (row["applied_at"], row["version"])
      return Stream(
        name: name, rows: rows, applied: row["applied"], superseded: row["superseded"], refused: row["refused"],
        lag: max(0, appliedAt - version),
        ahead: version - appliedAt > HybridClock.tolerance ? version - appliedAt : nil, appliedAt: appliedAt,
        check: try check(of: name, machine: machine, database),
        lines: try lines(of: name, machine: machine, database))
    }
  }

  private static func check(of stream: String, machine: String, _ database: Database) throws -> Check? {
    guard try database.tableExists("drover_check") else { return nil }
    return try Row.fetchOne(
      database, sql: "SELECT checked_at, drift, failure FROM drover_check WHERE machine_id = ? AND stream = ?",
      arguments: [machine, stream]
    ).map { Check(at: $0["checked_at"], drift: $0["drift"], failure: $0["failure"]) }
  }

  private static func lines(of stream: String, machine: String, _ database: Database) throws -> [Lines] {
    // A store that no consumer of this version has opened yet has no lines.
    guard try database.columns(in: "drover_sink").contains(where: { $0.name == "header" }) else { return [] }
    return try String.fetchAll(
      database, sql: "SELECT stream FROM drover_sink WHERE lower(header) = lower(?) ORDER BY stream",
      arguments: [stream]
    ).map { Lines(table: $0, rows: try countRows(of: $0, machine: machine, database)) }
  }

  /// The machine is the first column of every sink table's key.
  private static func countRows(of stream: String, machine: String, _ database: Database) throws -> Int {
    guard try database.tableExists(stream) else { return 0 }
    let table = try MatchedSink.ownRows(of: StreamName(stream), database)
    guard let column = try database.firstKeyColumn(of: table) else { return 0 }
    return try Int.fetchOne(
      database, sql: "SELECT count(*) FROM \(quoted(table)) WHERE \(quoted(column)) = ?", arguments: [machine])!
  }

  private static func deadLetters(of machine: String, _ database: Database) throws -> Int {
    try Int.fetchOne(
      database, sql: "SELECT ifnull(sum(count), 0) FROM drover_dead_letter WHERE machine_id = ?",
      arguments: [machine])!
  }
}
