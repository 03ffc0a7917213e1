// Attaching: Drover's tables and triggers come to be what the configuration and the app's tables ask for. It may run at any time
// and changes only what is not so yet; detaching removes all of it.

private import CSQLite
package import DroverCore
import GRDB

extension EdgeDatabase {
  package func refresh() throws(EdgeStoreError) -> Bool {
    let before = streamsBefore ?? streams
    streamsBefore = before
    try attach()
    streamsBefore = nil
    return streams != before
  }

  func attach() throws(EdgeStoreError) {
    try access { database in
      var attached: Attached?
      // GRDB remembers tables and columns past a rollback.
      database.clearSchemaCache()
      // Triggers of the app's may hold functions of its own; SQLite only has to parse them.
      try database.inTransaction(.immediate) {
        // Where Drover's own tables are gone the numbers would begin anew under the same epoch, and the cloud would take new events for ones
        // that it has.
        try verify(database)
        try makeTables(database)
        try checkFormat(database)
        try SpaceKeeper.makeTable(database)
        try database.execute(sql: Self.resyncTable)
        try database.execute(sql: Self.aheadTable)
        let isMigrated = try KeyLives.widenBookkeeping(database)
        try RowBookkeeping.widenBookkeeping(database)
        if declarations.contains(where: { $0.flow.direction.goesDown }) { try RowBookkeeping.make(database) }
        if declarations.contains(where: { $0.worklist != nil }) { try WorklistBookkeeping.make(database) }
        try putKeyIndex(database)
        try database.execute(sql: Self.captureTable)
        try database.execute(sql: Self.waitTable)
        try putViews(database)
        let isTouched = try isSchemaTouched(database)
        attached = try attachStreams(database, isMigrated: isMigrated)
        try attached.map { try WorklistBookkeeping.note($0.streams, database) }
        if isTouched { try attached?.tables.forEach { try lookForNewColumn($1, stream: $0, database) } }
        try EdgeDeadLetters.makeTables(database)
        try RowBookkeeping.widenKeys(database)
        try noteSchemaVersion(database)
        return .commit
      }
      // Only what is committed is so: the commit may meet a lock of the app's.
      guard let attached else { return }
      warnOfTablesWithoutKey(attached.tables)
      warnOfBlindIndexes(attached.tables)
      warnOfSlowLines(attached.tables)
      try warnOfReusedFinalKeys(attached.tables, database)
      warnOfDeclaredKeys(attached.tables)
      warnOfLives(attached.tables)
      take(attached.waits, of: attached.streams)
      failures = failures.filter { isWaiting($0.key) }
      epoch = attached.epoch
      streams = attached.streams
      tables = attached.tables
      keyColumns = attached.keyColumns
      streamsWithLives = attached.streamsWithLives
      twoWay = attached.twoWay
      statements = [:]
      readers = [:]
      downWriters = [:]
      knownForeignKeys = nil
      schemaVersion = try Int64.fetchOne(database, sql: "PRAGMA schema_version") ?? -1
      try lookForBackfill(database)
      try lookForGaps(database)
    }
  }

  /// Makes what is missing of Drover's tables. A migration tool may have dropped all that it does not know, or some.
  private func makeTables(_ database: Database) throws {
    let missing = try Bookkeeping.tableNames.filter { try !database.tableExists($0) }
    guard !missing.isEmpty else { return }
    // Then nothing of what the agent knows may be so.
    if continuity != nil { throw other("Drover's own tables are gone from it: \(missing.joined(separator: ", "))") }
    // Entries mean nothing without their streams.
    if missing.contains("drover_outbox") || missing.contains("drover_stream") {
      for statement in try Bookkeeping.dropStatements(database) { try database.execute(sql: statement) }
    }
    try database.execute(sql: Bookkeeping.tables)
    try database.execute(
      sql: "INSERT OR IGNORE INTO drover_meta (name, value) VALUES ('format', ?), ('epoch', ?)",
      arguments: [Bookkeeping.format, epoch.text])
  }

  /// Makes views and triggers of Drover's own that are missing, or that another version or configuration has made.
  private func putViews(_ database: Database) throws {
    for view in Bookkeeping.views(quota) {
      let present = try String.fetchOne(
        database, sql: "SELECT sql FROM sqlite_master WHERE type = ? AND name = ?", arguments: [view.type, view.name])
      guard present != view.sql else { continue }
      try database.execute(sql: "DROP \(view.type.uppercased()) IF EXISTS \(view.name)")
      try database.execute(sql: view.sql)
    }
  }

  private func checkFormat(_ database: Database) throws {
    let format = try Int.fetchOne(database, sql: "SELECT value FROM drover_meta WHERE name = 'format'") ?? 0
    guard format == Bookkeeping.format else {
      throw EdgeStoreError.failed(
        "attach: Drover's tables here have format \(format), and this version knows format \(Bookkeeping.format); use the version of Drover that made them"
      )
    }
  }

  /// What attaching found and made.
  private struct Attached {
    var epoch: Epoch
    var streams: [EdgeStream]
    var tables: [Int: CapturedTable]
    var keyColumns: Int
    var streamsWithLives: Int64
    var waits: [StreamWait]
    var twoWay: RowBookkeeping.Known
  }

  /// - Parameter isMigrated: whether the outbox is of a version that did not know when keys are used again.
  private func attachStreams(_ database: Database, isMigrated: Bool) throws -> Attached {
    var attached: [EdgeStream] = []
    var captured: [Int: CapturedTable] = [:]
    var refusals: [Int: CaptureRefusal] = [:]
    var wanted = WantedCapture()
    for declaration in declarations {
      let (number, change) = try number(of: declaration, database)
      var found: CapturedTable?
      let refusal =
        try change
        ?? attempt(declaration.table ?? "", database) {
          switch try CapturedTable.inspect(database, declaration) {
          case .table(var table)?:
            try tellLives(&table, stream: number, isMigrated: isMigrated, database)
            try want(table)
            found = table
          case .missing(let name, let header)?:
            refusals[number] = .missing(name)
            // What is there goes on being captured, so that no delete is missed meanwhile.
            if let header { try want(header) }  // a batch's, which has no lives
          case nil: break
          }
        }
      func want(_ table: CapturedTable) throws {
        try widenKey(table.schema.sourceKey.count, database)
        let isUnnoted = try table.units(number)?.makeTable(database) ?? false
        wanted.add(table, stream: number, isUnnoted: isUnnoted)
      }
      if let refusal {
        refusals[number] = refusal
        // What was made for the table, when it was as configured, goes on capturing.
        wanted.leave(number)
      } else {
        captured[number] = found
      }
      attached.append(EdgeStream(number: number, declaration))
    }
    try putCapture(wanted, &refusals, database)
    for (index, declaration) in declarations.enumerated() {
      let number = attached[index].number
      guard let table = captured[number] else { continue }
      if refusals[number] == nil {
        refusals[number] = try attempt(table.name, database) {
          try table.tryReading(database)
          if let failure = failures[number] { try tryAgain(failure, of: number, table, database) }
        }
      }
      guard refusals[number] == nil else {
        captured[number] = nil
        continue
      }
      attached[index].schema = table.schema
      try noteSchema(attached[index], declaration.selection.fingerprint, database)
    }
    return Attached(
      epoch: try Epoch(String.fetchOne(database, sql: "SELECT value FROM drover_meta WHERE name = 'epoch'") ?? ""),
      streams: attached, tables: captured,
      keyColumns: try database.columns(in: "drover_outbox").count { $0.name.hasPrefix("key") },
      streamsWithLives: try Int64.fetchOne(database, sql: "SELECT sum(lives) FROM drover_stream") ?? 0,
      waits: try noteWaits(refusals, of: attached, database), twoWay: try RowBookkeeping.known(database))
  }

  /// Has facts of a table told apart that bear one key, one after the other.
  private func tellLives(
    _ table: inout CapturedTable, stream: Int, isMigrated: Bool, _ database: Database
  ) throws {
    guard table.schema.kind == .payload else { return }
    let lives = KeyLives(stream: stream, areGiven: table.declaredKey == nil)
    if lives.areGiven {
      try lives.makeTable(keyColumns: table.schema.key.count, database)
      if let said = try lives.follow(table, database) { warn("capture \(table.name): \(said)") }
    }
    let isDescribed = try Bool.fetchOne(
      database, sql: "SELECT lives FROM drover_stream WHERE number = ?", arguments: [stream])!
    if let declared = table.declaredKey, !declared.isPrimaryKey || !isDescribed {
      // The operator says that no key is used again.
      try database.execute(sql: "DROP TABLE IF EXISTS \(lives.table)")
      try database.execute(sql: "UPDATE drover_stream SET lives = 0 WHERE number = ? AND lives", arguments: [stream])
      return
    }
    try lives.makeTable(keyColumns: table.schema.key.count, database)
    if isMigrated { try lives.assumeLeftKeys(of: table, database) }
    try table.tell(lives, isDescribed: isDescribed)
    try lives.dropLooseMarks(of: table, database)
  }

  /// The stream's number, which stays the same while the database is attached, and why it has to wait where it was another stream until now.
  private func number(
    of declaration: StreamDeclaration, _ database: Database
  ) throws -> (number: Int, change: CaptureRefusal?) {
    if let row = try Row.fetchOne(
      database, sql: "SELECT number, kind, table_name FROM drover_stream WHERE name = ?",
      arguments: [declaration.name.text])
    {
      let kind: String = row["kind"]
      let table: String? = row["table_name"]
      guard kind == declaration.kind.rawValue, table.map(SQLName.init) == declaration.table.map(SQLName.init) else {
        return (
          row["number"],
          CaptureRefusal(
            "it was a \(kind) stream \(table.map { "of table \($0)" } ?? "without a table") until now",
            advice: "give the new one another `name:`, or put the configuration back")
        )
      }
      try noteDirection(of: declaration, stream: row["number"], database)
      return (row["number"], nil)
    }
    try database.execute(
      sql: """
        INSERT INTO drover_stream (number, name, kind, table_name, direction, two_way_since)
        SELECT ifnull(max(number), 0) + 1, ?1, ?2, ?3, ?4, CASE WHEN ?4 = 'both' THEN 0 END FROM drover_stream
        """,
      arguments: [
        declaration.name.text, declaration.kind.rawValue, declaration.table, declaration.flow.direction.rawValue,
      ])
    return (Int(database.lastInsertedRowID), nil)
  }

  private func widenKey(_ count: Int, _ database: Database) throws {
    let present = try database.catalogue(of: "drover_outbox").count { $0.name.text.hasPrefix("key") }
    guard count > present else { return }
    for index in present..<count {
      try database.execute(sql: "ALTER TABLE drover_outbox ADD COLUMN \(Bookkeeping.keyColumn(index))")
    }
    try putKeyIndex(database)
  }

  private func putKeyIndex(_ database: Database) throws {
    let columns = try database.catalogue(of: "drover_outbox").count { $0.name.text.hasPrefix("key") }
    let wanted = Bookkeeping.keyIndex(columns: columns)
    let present = try String.fetchOne(database, sql: "SELECT sql FROM sqlite_master WHERE name = 'drover_outbox_key'")
    guard present != wanted else { return }
    try database.execute(sql: "DROP INDEX IF EXISTS drover_outbox_key")
    try database.execute(sql: wanted)
  }

  /// Another schema, or another selection of rows and hashes, means that every row reads differently from what the cloud has: the rows are brought once more.
  private func noteSchema(_ stream: EdgeStream, _ selection: String, _ database: Database) throws {
    // The cloud knows that rows without a life are the first of their keys, so a schema that tells lives asks for no row again.
    // Nor does one that differs in what is declared of the way down.
    guard let schema = stream.schema else { return }
    let id = try schema.notTellingLives().goingUp().id.text + selection
    let known = try String.fetchOne(
      database, sql: "SELECT schema_id FROM drover_stream WHERE number = ?", arguments: [stream.number])
    guard known != id else { return }
    try database.execute(
      sql: "UPDATE drover_stream SET schema_id = ? WHERE number = ?", arguments: [id, stream.number])
    if known != nil, schema.flow.direction != .down { try startBackfill(stream.number, database) }
  }

  func startBackfill(_ stream: Int, _ database: Database) throws {
    try database.execute(sql: "DELETE FROM drover_backfill WHERE stream = ?", arguments: [stream])
    // All of them, also where a part was ordered.
    try database.execute(sql: "DELETE FROM drover_resync WHERE stream = ?", arguments: [stream])
    try database.execute(sql: "UPDATE drover_stream SET backfill = 'running' WHERE number = ?", arguments: [stream])
  }

  private func warnOfTablesWithoutKey(_ captured: [Int: CapturedTable]) {
    for (number, table) in captured
    where tables[number] != table && table.isKnownByRowid {
      warn(
        "capture \(table.name): it has no primary key, so its rows are known by their rowid, which a dump that is read in again may change; give it one if you can"
      )
    }
  }

  private func warnOfBlindIndexes(_ captured: [Int: CapturedTable]) {
    for (number, table) in captured
    where tables[number]?.blindIndexes != table.blindIndexes && !table.blindIndexes.isEmpty {
      warn(
        "capture \(table.name): rows that a REPLACE removes through \(table.blindIndexes.joined(separator: ", ")), a unique index with a condition or an expression, are seen only with PRAGMA recursive_triggers = ON"
      )
    }
  }

  private func warnOfDeclaredKeys(_ captured: [Int: CapturedTable]) {
    for (number, table) in captured where tables[number]?.declaredKey != table.declaredKey {
      for warning in table.declaredKey?.warnings ?? [] { warn("capture \(table.name): \(warning)") }
    }
  }

  private func warnOfLives(_ captured: [Int: CapturedTable]) {
    for (number, table) in captured
    where table.schema.tellsLives && table.lives?.areGiven == true && tables[number]?.schema.tellsLives == false {
      warn("capture \(table.name): \(KeyLives.advice(table))")
    }
  }

  private func warnOfSlowLines(_ captured: [Int: CapturedTable]) {
    for (number, table) in captured where tables[number]?.lines != table.lines {
      for lines in table.lines where !lines.isIndexed {
        let column = lines.schema.rows.columns[lines.schema.references[0]].name
        warn(
          "capture \(table.name): each of its events, and a comparison for each of its rows, reads the whole table \(lines.table.name); make an index on \(lines.table.name).\(column)"
        )
      }
    }
  }

  private func warnOfReusedFinalKeys(_ captured: [Int: CapturedTable], _ database: Database) throws {
    for (number, table) in captured where tables[number] != table {
      if let advice = try table.reusedKeyAdvice(database) { warn("capture \(table.name): \(advice)") }
    }
  }

  // MARK: Detaching

  /// Removes everything of Drover's from a database. Returns how many entries were not confirmed.
  /// - Throws: `EdgeStoreError`.
  package static func detach(path: String) throws -> Int {
    let queue = try open(path, create: false)
    defer { try? queue.close() }
    do {
      let waiting = try queue.inDatabase(removeEverything)
      // Only now: while the outbox is there, an agent without its memory would begin a new epoch and send everything again.
      OutboxMemory.remove(database: path)
      BackupRecord.remove(database: path)
      EmittedFiles.remove(database: path)
      return waiting
    } catch let error as DatabaseError {
      throw EdgeStoreError.failed("detach \(path): \(error.explanation); then detach again")
    }
  }

  private static func removeEverything(_ database: Database) throws -> Int {
    var waiting = 0
    try database.inTransaction(.immediate) {
      if try database.tableExists("drover_outbox") {
        waiting =
          try Int.fetchOne(
            database,
            sql: """
              SELECT count(*) FROM drover_outbox AS entry JOIN drover_stream AS stream ON stream.number = entry.stream
               WHERE entry.seq > stream.confirmed_through
              """) ?? 0
      }
      for statement in try Bookkeeping.dropStatements(database) { try database.execute(sql: statement) }
      return .commit
    }
    return waiting
  }
}
