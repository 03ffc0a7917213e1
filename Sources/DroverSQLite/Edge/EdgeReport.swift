// What `drover status` and `drover doctor` say of an edge database. Read only, and from the outbox itself: what is confirmed has left
// it, so every figure rests on confirmations.

package import DroverCore
private import GRDB

package struct EdgeReport: Sendable {
  package struct Stream: Sendable {
    package var name: String
    package var kind: String
    package var table: String?
    /// Waiting for the broker.
    package var pending: Int
    /// Acknowledged by the broker, waiting for the cloud.
    package var synced: Int
    /// Committed by the cloud since the database was attached.
    package var confirmed: Int
    /// Wall clock of the oldest unconfirmed event, microseconds since 1970.
    package var oldestUnconfirmed: Int64?
    /// Rows that were there before Drover are still entering the outbox.
    package var isBackfilling: Bool
    /// How far the last order to bring rows once more has come.
    package var resync: ResyncProgress?
  }

  /// What the outbox takes, and what was refused for want of room.
  package struct Space: Sendable {
    /// Bytes of everything in the outbox, counted now, and what is left for the database.
    package var measure: OutboxSpace
    /// The limits for which the intake is closed.
    package var closed: [OutboxLimit]
    /// Events that `drover emit` was refused.
    package var refused: Int
    /// How often the intake closed, and when last; microseconds since 1970.
    package var closings: Int
    package var closedAt: Int64?
  }

  package var epoch: String
  package var space: Space
  /// This machine's clock less the cloud's as it was measured last, in microseconds.
  package var clockAhead: Int64?
  /// How far the newest version is ahead of the cloud's clock, in microseconds, where that is beyond the tolerance.
  package var versionsAhead: Int64?
  package var streams: [Stream]
  package var journalMode: String
  package var deadLetters: DeadLetterFigures

  /// - Returns: nil when the database is not attached.
  /// - Throws: `EdgeStoreError`.
  package static func read(path: String) throws(EdgeStoreError) -> EdgeReport? {
    do {
      let queue = try EdgeDatabase.open(path, create: false, readOnly: true)
      return try queue.read { database in
        guard try database.tableExists("drover_outbox") else { return nil }
        let streams = try Row.fetchAll(
          database,
          sql: """
            SELECT stream.number, stream.name, stream.kind, stream.table_name, stream.confirmed, stream.backfill,
                   ifnull(sum(entry.synced = 0), 0) AS pending, ifnull(sum(entry.synced), 0) AS synced,
                   min(entry.version) AS oldest
              FROM drover_stream AS stream
              LEFT JOIN drover_outbox AS entry ON entry.stream = stream.number AND entry.seq > stream.confirmed_through
             GROUP BY stream.number ORDER BY stream.number
            """
        ).map { row in
          Stream(
            name: row["name"], kind: row["kind"], table: row["table_name"], pending: row["pending"],
            synced: row["synced"],
            confirmed: row["confirmed"], oldestUnconfirmed: row["oldest"], isBackfilling: row["backfill"] == "running",
            resync: try ResyncProgress.read(stream: row["number"], database))
        }
        let clockAhead = try Int64.fetchOne(
          database, sql: "SELECT value FROM drover_meta WHERE name = ?", arguments: [EdgeDatabase.clockAhead])
        return EdgeReport(
          epoch: try String.fetchOne(database, sql: "SELECT value FROM drover_meta WHERE name = 'epoch'") ?? "",
          space: try Space(database, path: path), clockAhead: clockAhead,
          versionsAhead: try EdgeDatabase.versionsAhead(database, clockAhead: clockAhead ?? 0),
          streams: streams,
          journalMode: try String.fetchOne(database, sql: "PRAGMA journal_mode") ?? "",
          deadLetters: try DeadLetterFigures(database))
      }
    } catch let error as EdgeStoreError {
      throw error
    } catch let error as DatabaseError {
      throw .failed("read \(path): \(error.explanation)")
    } catch {
      throw .failed("read \(path): \(error)")
    }
  }
}

extension EdgeReport.Space {
  fileprivate init(_ database: Database, path: String) throws {
    let captured = try Int64.fetchOne(database, sql: "SELECT count(*) FROM drover_outbox WHERE body IS NULL")!
    let row = try database.tableExists("drover_space") ? Row.fetchOne(database, sql: SpaceKeeper.closedLimits) : nil
    let free = FreeSpace.of(path)
    self.init(
      measure: OutboxSpace(
        used: (row?["body_bytes"] ?? 0) + captured * SpaceKeeper.bytesOfEntry, freeBytes: free?.bytes,
        freeInodes: free?.inodes),
      closed: OutboxLimit.allCases.filter { row?[$0.rawValue] == 1 }, refused: row?["refused"] ?? 0,
      closings: row?["closings"] ?? 0, closedAt: row?["closed_at"])
  }
}

/// What can be wrong with a database file, for `drover doctor`.
package enum DatabaseCheck {
  /// SQLite's own check of the file's structure. Empty when all is well.
  /// - Throws: `EdgeStoreError`.
  package static func quickCheck(path: String) throws(EdgeStoreError) -> [String] {
    do {
      let queue = try EdgeDatabase.open(path, create: false, readOnly: true)
      let lines = try queue.read { try String.fetchAll($0, sql: "PRAGMA quick_check(20)") }
      return lines == ["ok"] ? [] : lines
    } catch let error as EdgeStoreError {
      throw error
    } catch let error as DatabaseError {
      throw .failed("check \(path): \(error.explanation)")
    } catch {
      throw .failed("check \(path): \(error)")
    }
  }

  /// Why a declared stream cannot be captured from this database, or nil.
  /// - Throws: `EdgeStoreError`.
  package static func refusal(of declaration: StreamDeclaration, path: String) throws(EdgeStoreError) -> String? {
    do {
      let queue = try EdgeDatabase.open(path, create: false, readOnly: true)
      return try queue.read { database in
        do {
          guard case .missing(let table, _) = try CapturedTable.inspect(database, declaration) else { return nil }
          return "there is no table \(table)"
        } catch let refusal as CaptureRefusal {
          return refusal.description
        }
      }
    } catch let error as EdgeStoreError {
      throw error
    } catch {
      throw .failed("look at \(declaration.name): \(error)")
    }
  }
}
