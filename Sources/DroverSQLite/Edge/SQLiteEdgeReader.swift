// What people see of the app's database. Read only, on a connection of its own.

package import DroverCore
private import GRDB

package struct SQLiteEdgeReader: EdgeReader {
  package let path: String

  package init(path: String) { self.path = path }

  /// - Returns: nil when the database is not attached.
  /// - Throws: `EdgeStoreError`.
  package func report() throws(EdgeStoreError) -> EdgeReport? {
    do {
      let queue = try EdgeDatabase.open(path, create: false, readOnly: true)
      return try queue.read { database in
        guard try database.tableExists("drover_outbox") else { return nil }
        // Another release may have attached the database last.
        let columns = try database.catalogue(of: "drover_stream").map(\.name)
        func counted(_ column: String) -> String { columns.contains(SQLName(column)) ? "stream.\(column)" : "0" }
        let streams = try Row.fetchAll(
          database,
          sql: """
            SELECT stream.number, stream.name, stream.kind, stream.table_name, stream.confirmed, stream.backfill,
                   ifnull(sum(entry.synced = 0), 0) AS pending, ifnull(sum(entry.synced), 0) AS synced,
                   min(entry.version) AS oldest, \(counted("overwritten")) AS overwritten, \(counted("applied")) AS applied
              FROM drover_stream AS stream
              LEFT JOIN drover_outbox AS entry ON entry.stream = stream.number AND entry.seq > stream.confirmed_through
             GROUP BY stream.number ORDER BY stream.number
            """
        ).map { row in
          EdgeReport.Stream(
            name: row["name"], kind: row["kind"], table: row["table_name"], pending: row["pending"],
            synced: row["synced"],
            confirmed: row["confirmed"], oldestUnconfirmed: row["oldest"], isBackfilling: row["backfill"] == "running",
            resync: try ResyncProgress.read(stream: row["number"], database), overwritten: row["overwritten"],
            applied: row["applied"])
        }
        let clockAhead = try EdgeDatabase.measure(database)
        return EdgeReport(
          epoch: try String.fetchOne(database, sql: "SELECT value FROM drover_meta WHERE name = 'epoch'") ?? "",
          space: try EdgeReport.Space(database, path: path), clockAhead: clockAhead,
          versionsAhead: try EdgeDatabase.versionsAhead(database, clockAhead: clockAhead ?? 0),
          streams: streams,
          journalMode: try String.fetchOne(database, sql: "PRAGMA journal_mode") ?? "",
          deadLetters: try DeadLetterFigures(database),
          troubles: try Trouble.Kind.allCases.compactMap { try Trouble.read($0, database) },
          waits: try StreamWait.all(database), worklists: try WorklistReport.all(database))
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
