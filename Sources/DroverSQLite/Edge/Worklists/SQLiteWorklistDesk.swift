// Worklists for people: what they see and do, each time on a connection of its own, whether or not an agent runs.

package import DroverCore
import GRDB

package struct SQLiteWorklistDesk: WorklistDesk {
  let path: String
  let declarations: [StreamDeclaration]
  let quota: OutboxQuota

  package init(path: String, declarations: [StreamDeclaration], quota: OutboxQuota) {
    self.path = path
    self.declarations = declarations
    self.quota = quota
  }

  package func reports() throws -> [WorklistReport] {
    try opened("read", readOnly: true) { queue in try queue.read { try WorklistReport.all($0) } }
  }

  package func rows(of worklist: StreamName, limit: Int) throws -> [WorklistRow] {
    try opened("read", readOnly: true) { queue in
      try queue.read { database in
        guard try database.hasTable("drover_worklist"),
          let row = try Row.fetchOne(
            database,
            sql: """
              SELECT stream.table_name, list.number_column, list.finished
                FROM drover_worklist AS list JOIN drover_stream AS stream ON stream.number = list.stream
               WHERE stream.name = ? AND list.is_declared
              """, arguments: [worklist.text])
        else { return [] }
        let (table, number): (String, String?) = (row[0], row[1])
        let finished: String = row[2] ?? "0"
        let names: [String] = try Row.fetchAll(database, sql: "PRAGMA main.table_info(\(quoted(table)))").map {
          $0["name"]
        }
        guard !names.isEmpty else { return [] }
        let order = number.map { "\(quoted($0)), " } ?? ""
        let rows = try Statement(
          database,
          "SELECT coalesce((\(finished)), 0), \(number.map(quoted) ?? "NULL"), \(names.map(quoted).joined(separator: ", ")) FROM \(quoted(table)) ORDER BY \(order)1 LIMIT \(limit)"
        )
        var found: [WorklistRow] = []
        while try rows.step() {
          found.append(
            WorklistRow(
              number: rows.isNull(1) ? nil : rows.integer(1), isFinished: rows.integer(0) != 0, columns: names,
              values: names.indices.map { rows.value(Int32($0 + 2)) }))
        }
        return found
      }
    }
  }

  package func trigger(_ worklist: StreamName) throws {
    try opened("trigger \(worklist)", readOnly: false) { queue in
      try queue.inDatabase { database in
        guard try database.hasTable("drover_worklist") else { throw notAttached(worklist) }
        try database.execute(
          sql: """
            UPDATE drover_worklist SET triggers = triggers + 1
             WHERE stream = (SELECT number FROM drover_stream WHERE name = ?) AND is_declared
            """, arguments: [worklist.text])
        guard database.changesCount > 0 else { throw notAttached(worklist) }
      }
    }
  }

  private func notAttached(_ worklist: StreamName) -> EdgeStoreError {
    .failed("worklist \(worklist): the database does not have it yet; start the agent with this configuration")
  }

  package func clear(_ worklist: StreamName) throws -> (removed: Int, unfinished: [String]) {
    let edge = try EdgeDatabase.prepare(path: path, declarations: declarations, quota: quota)
    guard let stream = edge.streams.first(where: { $0.name == worklist && $0.declaration.worklist != nil }) else {
      throw EdgeStoreError.failed("worklist \(worklist): the configuration names no such worklist")
    }
    return try edge.clear(worklist: stream.number)
  }

  private func opened<Result>(
    _ what: String, readOnly: Bool, _ body: (DatabaseQueue) throws -> Result
  ) throws -> Result {
    do {
      return try body(try EdgeDatabase.open(path, create: false, readOnly: readOnly))
    } catch let error as EdgeStoreError {
      throw error
    } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY {
      throw EdgeStoreError.busy
    } catch let error as DatabaseError {
      throw EdgeStoreError.failed("\(what) \(path): \(error.explanation)")
    }
  }
}

extension WorklistReport {
  /// None in a database that an older version has attached.
  static func all(_ database: Database) throws -> [WorklistReport] {
    guard try database.hasTable("drover_worklist") else { return [] }
    let rows = try Row.fetchAll(
      database,
      sql: """
        SELECT stream.name, stream.table_name, list.* FROM drover_worklist AS list JOIN drover_stream AS stream ON stream.number = list.stream
         WHERE list.is_declared ORDER BY stream.number
        """)
    return try rows.map { row in
      let table: String = row["table_name"]
      var found: WorklistRows?
      if try database.hasTable(table) {
        // A column of the condition may be gone; the agent says so.
        found = try? WorklistBookkeeping.rows(table, finished: row["finished"] ?? "0", database)
      }
      return WorklistReport(
        name: try StreamName(row["name"]), table: table, isEnabled: row["is_enabled"] == 1,
        refillWhen: WorklistDeclaration.RefillWhen(rawValue: row["refill_when"] ?? "") ?? .empty, rows: found,
        open: (row["request"] as String?).flatMap { RefillID($0) }, requestedAt: row["requested_at"],
        answer: row["answer"], answeredAt: row["answered_at"], obstacle: row["waits"],
        isLastNoted: row["is_noted"] == 1,
        counts: WorklistCounts(
          refills: row["refills"], orders: row["orders"], skipped: row["skipped"], refused: row["refused"],
          cleared: row["cleared"], clearedRows: row["cleared_rows"]))
    }
  }
}
