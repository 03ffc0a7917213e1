// What people see of a store in SQLite. Every question opens a connection of its own that can only read: it holds up no writer in WAL mode, and
// it finds the file that is there now, also after a restore.

package import DroverCore
private import Foundation
private import GRDB

package struct SQLiteCloudReader: CloudReader {
  package let path: String

  package init(path: String) { self.path = path }

  package var name: String { path }

  package func workers() -> [Worker] {
    let worker = AgentLock.worker(database: path)
    return worker.process == nil ? [] : [worker]
  }

  package func report(_ scope: ReportScope = .everything) throws -> CloudReport? {
    try reading { database in
      guard try database.tableExists("drover_machine") else { return nil }
      let use = try Row.fetchOne(
        database, sql: "SELECT ifnull(sum(letters), 0) AS rows, ifnull(sum(bytes), 0) AS bytes FROM drover_dead_total"
      )!
      return CloudReport(
        machines: try machines(scope, database), dropped: try dropped(database), letterBytes: use["bytes"],
        letterRows: use["rows"], deadLetters: try DeadLetterFigures(database),
        conflicts: try ConflictTable(database: database).figures(),
        messages: try Row.fetchAll(database, sql: "SELECT outcome, count FROM drover_message_count ORDER BY outcome")
          .map { ($0["outcome"], $0["count"]) }, troubles: try TroubleTable.all(database)[""] ?? [])
    } ?? nil
  }

  package func waitingSchemas() throws -> [WaitingSchema] { try reading(waitingSchemas) ?? [] }

  package func blockedSinks() throws -> [BlockedSink] { try reading(BlockedTable.all) ?? [] }

  package func captureFaults() throws -> [CaptureFault] {
    try reading { try $0.tableExists("drover_flow") ? SinkCapture.faults($0) : [] } ?? []
  }

  package func refusals(_ filter: RefusalFilter, after id: Int64, limit: Int) throws -> RefusalList {
    try reading { try RefusedRowTable(database: $0).list(filter, after: id, limit: limit) } ?? RefusalList()
  }

  package func storeLock() -> StoreLock? { AgentLock.storeLock(database: path) }

  package func sinks() throws -> [SinkDescription] { try reading(SinkDescription.all) ?? [] }

  package func latestSchemas() throws -> [ReplicatedStream] {
    try reading { try $0.tableExists("drover_identity") ? SQLiteReplica.streams($0) : [] } ?? []
  }

  package func readRows(of stream: StreamName?, _ take: (SinkDescription, SinkRow) throws -> Void) throws {
    _ = try reading { database in
      // One transaction: its first SELECT fixes the moment.
      for sink in try SinkDescription.all(database)
      where stream == nil || sink.stream == stream || sink.header == stream {
        try SinkSelect(sink).readRows(database) { try take(sink, $0) }
      }
    }
  }

  // MARK: Access

  /// Reads in one transaction; nil when there is no store yet. Errors of SQLite become `CloudStoreError`.
  private func reading<Result>(_ body: (Database) throws -> Result) throws -> Result? {
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    if let refusal = FileKind.refusal(path) {
      throw CloudStoreError(description: "open \(path): \(refusal); `store:` must name an SQLite file")
    }
    do {
      var configuration = Configuration()
      configuration.readonly = true
      configuration.busyMode = .timeout(10)
      return try DatabaseQueue(path: path, configuration: configuration).read(body)
    } catch let error as DatabaseError {
      throw CloudStoreError("read", path, error)
    }
  }

  // MARK: The report

  /// A few statements, however many machines there are, and one for each table whose rows are counted.
  private func machines(_ scope: ReportScope, _ database: Database) throws -> [CloudReport.Machine] {
    let hasOutboxes = try database.columns(in: "drover_machine").contains { $0.name == "told_at" }
    let rows = try Row.fetchAll(
      database,
      sql: """
        SELECT machine_id, online, last_heard, clock_offset\(hasOutboxes ? ", waiting, oldest, edge_letters, free_bytes, told_at" : "")
          FROM drover_machine WHERE machine_id > ? AND (? IS NULL OR machine_id = ?) ORDER BY machine_id LIMIT ?
        """, arguments: [scope.after ?? "", scope.only, scope.only, scope.limit])
    guard let first = rows.first, let last = rows.last else { return [] }
    let range: StatementArguments = [first["machine_id"] as String, last["machine_id"] as String]
    let streams = try streams(in: range, countsRows: scope.countsRows, database)
    let letters = Dictionary(
      try Row.fetchAll(
        database,
        sql: """
          SELECT machine_id, count(*) AS letters FROM drover_dead_letter
           WHERE machine_id >= ? AND machine_id <= ? GROUP BY machine_id
          """, arguments: range
      ).map { ($0["machine_id"] as String, $0["letters"] as Int) }
    ) { first, _ in first }
    let conflicts = try ConflictTable(database: database).uses(in: range)
    let refused = try RefusedRowTable(database: database).counts(in: range)
    let overruns = try overruns(in: range, database)
    let (troubles, waits) = (try TroubleTable.all(database), try StreamWaits.all(database))
    return rows.map { row in
      let name: String = row["machine_id"]
      return CloudReport.Machine(
        name: name, isOnline: row["online"], lastHeard: row["last_heard"], clockOffset: row["clock_offset"],
        outbox: hasOutboxes ? told(row) : nil, streams: streams[name] ?? [], deadLetters: letters[name] ?? 0,
        conflicts: conflicts[name]?.count ?? 0, conflictBytes: conflicts[name]?.bytes ?? 0,
        refusedRows: refused[name] ?? 0,
        overruns: overruns[name] ?? [], troubles: troubles[name] ?? [], waits: waits[name] ?? [])
    }
  }

  /// By machine.
  private func overruns(in range: StatementArguments, _ database: Database) throws -> [String: [Overrun]] {
    guard try database.tableExists("drover_over_budget") else { return [:] }
    let rows = try Row.fetchAll(
      database,
      sql: "SELECT * FROM drover_over_budget WHERE machine_id >= ? AND machine_id <= ? ORDER BY machine_id, budget",
      arguments: range)
    return Dictionary(grouping: rows) { $0["machine_id"] as String }.mapValues {
      $0.map { Overrun(budget: $0["budget"], count: $0["count"], firstAt: $0["first_at"], lastAt: $0["last_at"]) }
    }
  }

  private func told(_ row: Row) -> CloudReport.Told? {
    guard let at: Int64 = row["told_at"] else { return nil }
    return CloudReport.Told(
      figures: OutboxFigures(
        waiting: row["waiting"], oldest: row["oldest"], deadLetters: row["edge_letters"], freeBytes: row["free_bytes"]),
      at: at)
  }

  private func dropped(_ database: Database) throws -> [CloudReport.Dropped] {
    try Row.fetchAll(
      database, sql: "SELECT * FROM drover_dead_dropped ORDER BY letters DESC, machine_id, stream, reason"
    ).map {
      CloudReport.Dropped(
        machine: $0["machine_id"], stream: $0["stream"], reason: $0["reason"], letters: $0["letters"],
        bytes: $0["bytes"], lastAt: $0["last_at"])
    }
  }

  /// By machine.
  /// - Parameter range: the first machine and the last.
  private func streams(
    in range: StatementArguments, countsRows: Bool, _ database: Database
  ) throws -> [String: [CloudReport.Stream]] {
    let checks = try checks(in: range, database)
    let lines = try lineTables(database)
    var counts: [SQLName: [String: Int]?] = [:]
    func rows(_ stream: String, _ machine: String) throws -> Int? {
      guard countsRows else { return nil }
      let name = SQLName(stream)
      // A table that was changed so that it cannot be read has no figure.
      if counts[name] == nil { counts[name] = .some(try? count(stream, in: range, database)) }
      return counts[name]!.map { $0[machine] ?? 0 }
    }
    var streams: [String: [CloudReport.Stream]] = [:]
    for row in try Row.fetchAll(
      database,
      sql: "SELECT * FROM drover_progress WHERE machine_id >= ? AND machine_id <= ? ORDER BY machine_id, stream",
      arguments: range)
    {
      let (machine, name): (String, String) = (row["machine_id"], row["stream"])
      streams[machine, default: []].append(
        CloudReport.Stream(
          name: name, rows: try rows(name, machine), applied: row["applied"], superseded: row["superseded"],
          refused: row["refused"], version: row["version"], appliedAt: row["applied_at"],
          check: checks[machine]?[ExactText(name)],
          lines: try (lines[SQLName(name)] ?? []).map { CloudReport.Lines(table: $0, rows: try rows($0, machine)) }))
    }
    return streams
  }

  /// By machine and stream.
  private func checks(
    in range: StatementArguments, _ database: Database
  ) throws -> [String: [ExactText: CloudReport.Check]] {
    guard try database.tableExists("drover_check") else { return [:] }
    var checks: [String: [ExactText: CloudReport.Check]] = [:]
    for row in try Row.fetchAll(
      database,
      sql: """
        SELECT machine_id, stream, checked_at, drift, in_flight, failure FROM drover_check WHERE machine_id >= ? AND machine_id <= ?
        """, arguments: range)
    {
      checks[row["machine_id"], default: [:]][ExactText(row["stream"])] = CloudReport.Check(
        at: row["checked_at"], drift: row["drift"], inFlight: row["in_flight"], failure: row["failure"])
    }
    return checks
  }

  /// The tables of lines by the stream whose lines they hold.
  private func lineTables(_ database: Database) throws -> [SQLName: [String]] {
    // A store that no consumer of this version has opened yet has no lines.
    guard try database.columns(in: "drover_sink").contains(where: { $0.name == "header" }) else { return [:] }
    return Dictionary(
      grouping: try Row.fetchAll(
        database, sql: "SELECT stream, header FROM drover_sink WHERE header IS NOT NULL ORDER BY stream"),
      by: { SQLName($0["header"]) }
    ).mapValues { $0.map { $0["stream"] } }
  }

  /// The machines' own rows in a stream's table, by machine. The machine is the first column of every sink table's key.
  private func count(
    _ stream: String, in range: StatementArguments, _ database: Database
  ) throws -> [String: Int] {
    guard try database.hasTable(stream) else { return [:] }
    let table = try MatchedSink.ownRows(of: StreamName(stream), database)
    guard let column = try database.firstKeyColumn(of: table).map(quoted) else { return [:] }
    let rows = try Row.fetchAll(
      database,
      sql: """
        SELECT CAST(\(column) AS TEXT) AS machine, count(*) AS rows FROM \(quoted(table)) WHERE \(column) >= ? AND \(column) <= ?
         GROUP BY \(column)
        """, arguments: range)
    // A person may have written names into the table that are one to Swift and two to SQLite.
    return Dictionary(rows.map { ($0["machine"] as String, $0["rows"] as Int) }) { first, _ in first }
  }

  // MARK: Schemas

  private func waitingSchemas(_ database: Database) throws -> [WaitingSchema] {
    guard try database.tableExists("drover_schema_waiting") else { return [] }
    var tables: [SQLName: [SQLName]] = [:]
    func columns(of stream: StreamName) throws -> [SQLName] {
      let name = SQLName(stream.text)
      if tables[name] == nil { tables[name] = try database.catalogue(of: stream.text).map(\.name) }
      return tables[name]!
    }
    return try SchemaTables(database: database).all().map { note, schema in
      let stream = try StreamName(note["stream"])
      guard let schema else {
        return WaitingSchema(
          machine: try MachineID(note["machine_id"]), stream: stream, reason: note["reason"], since: note["first_at"],
          added: [], missing: [])
      }
      let present = try columns(of: stream)
      let named = Set(schema.columns.map { SQLName($0.name) })
      return WaitingSchema(
        machine: try MachineID(note["machine_id"]), stream: stream, reason: note["reason"], since: note["first_at"],
        added: schema.columns.map(\.name).filter { !present.contains(SQLName($0)) },
        missing: present.filter {
          !named.contains($0) && $0 != SQLName(schema.machineColumn)
            && (StreamSchema.ownColumns.contains($0) || !$0.text.hasPrefix("drover_"))
        }.map(\.text))
    }
  }
}
