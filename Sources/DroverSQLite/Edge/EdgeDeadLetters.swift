// The edge's dead letters: events that the broker will never take. An entry moves here from the outbox in one transaction, and back
// again when a person says so; its number in the outbox is covered by the next frame of its stream.

package import DroverCore
private import Foundation
import GRDB

/// The dead letters of one edge database, for `drover dead`. The agent may be at work meanwhile.
package final class EdgeDeadLetters: EdgeDeadLetterStore {
  private let queue: DatabaseQueue
  private let machine: MachineID
  private let path: String

  /// - Parameter machine: whose database it is.
  /// - Throws: `EdgeStoreError`.
  package init(path: String, machine: MachineID, readOnly: Bool) throws {
    self.path = path
    self.machine = machine
    queue = try EdgeDatabase.open(path, create: false, readOnly: readOnly)
    let isAttached = try queue.read { try $0.tableExists("drover_dead_letter") }
    guard isAttached else {
      throw EdgeStoreError.failed("read \(path): there are no dead letters in it; `drover edge` attaches the database")
    }
  }

  // MARK: The tables

  /// Makes the tables where they are missing, and the letters' keys as wide as the outbox's.
  static func makeTables(_ database: Database) throws {
    try database.execute(
      sql: """
        -- Entries of the outbox that can never be sent. Columns without a type keep a key as it is.
        CREATE TABLE IF NOT EXISTS drover_dead_letter (
          id       INTEGER PRIMARY KEY,
          stream   INTEGER NOT NULL,
          op       TEXT NOT NULL CHECK (op IN ('put', 'delete')),
          seq      INTEGER NOT NULL,
          version  INTEGER NOT NULL,
          reason   TEXT NOT NULL,
          detail   TEXT NOT NULL,
          -- The size of the frame that held it alone.
          bytes    INTEGER NOT NULL,
          count    INTEGER NOT NULL DEFAULT 1,
          first_at INTEGER NOT NULL,
          last_at  INTEGER NOT NULL,
          body     TEXT,
          key, key2, key3, key4
        );
        -- Immutable facts as they were, one value a row: the app may delete them from its table.
        CREATE TABLE IF NOT EXISTS drover_dead_field (
          letter INTEGER NOT NULL,
          field  TEXT NOT NULL,
          value,
          PRIMARY KEY (letter, field)
        ) WITHOUT ROWID;
        """)
    let wanted = try keyColumns("drover_outbox", database)
    let present = try keyColumns("drover_dead_letter", database)
    for column in wanted where !present.contains(column) {
      let form = column == KeyLives.outboxColumn ? " TEXT NOT NULL DEFAULT ''" : ""
      try database.execute(sql: "ALTER TABLE drover_dead_letter ADD COLUMN \(column)\(form)")
    }
    if try !database.catalogue(of: "drover_dead_letter").contains(where: { $0.name == SQLName("direction") }) {
      // A row that came down: what the cloud had seen of it, and whether a person wants it to be tried again.
      for column in [
        "direction TEXT NOT NULL DEFAULT 'up'", "edge_epoch TEXT", "edge_version INTEGER",
        "is_due INTEGER NOT NULL DEFAULT 0",
      ] {
        try database.execute(sql: "ALTER TABLE drover_dead_letter ADD COLUMN \(column)")
      }
    }
    // Looked at with each frame that comes down.
    try database.execute(
      sql:
        "CREATE INDEX IF NOT EXISTS drover_dead_letter_down ON drover_dead_letter (first_at) WHERE direction = 'down'"
    )
  }

  private static func keyColumns(_ table: String, _ database: Database) throws -> [String] {
    let present = Set(try database.catalogue(of: table).map(\.name))
    return ((0..<present.count).map(Bookkeeping.keyColumn) + [KeyLives.outboxColumn])
      .filter { present.contains(SQLName($0)) }
  }

  // MARK: Looking

  private static let joined =
    "FROM drover_dead_letter AS letter LEFT JOIN drover_stream AS stream ON stream.number = letter.stream"

  private func condition(_ filter: DeadLetterFilter) -> DeadLetterCondition {
    DeadLetterCondition(filter, machine: literal(machine.text), stream: "stream.name")
  }

  package func letters(_ filter: DeadLetterFilter, limit: Int) throws -> [KeptLetter] {
    let condition = condition(filter)
    return try reading { database in
      try Row.fetchAll(
        database,
        sql: """
          SELECT letter.id, stream.name, reason, detail, bytes, count, first_at, last_at \(Self.joined) \(condition.sql)
           ORDER BY last_at DESC, id DESC LIMIT \(limit)
          """, arguments: condition.arguments
      ).map { row in
        KeptLetter(
          id: row["id"], topic: nil, machine: machine, stream: try? StreamName(row["name"] ?? ""),
          reason: row["reason"], detail: row["detail"], bytes: row["bytes"], count: row["count"],
          firstAt: row["first_at"], lastAt: row["last_at"], replayedAt: nil)
      }
    }
  }

  package func count(_ filter: DeadLetterFilter) throws -> Int {
    let condition = condition(filter)
    return try reading {
      try Int.fetchOne($0, sql: "SELECT count(*) \(Self.joined) \(condition.sql)", arguments: condition.arguments)!
    }
  }

  package func figures() throws -> DeadLetterFigures { try reading { try DeadLetterFigures($0) } }

  package func newest() throws -> Int64 {
    try reading { try Int64.fetchOne($0, sql: "SELECT ifnull(max(id), 0) FROM drover_dead_letter")! }
  }

  package func content(of id: Int64) throws -> LetterContent? {
    try reading { database in
      let keys = try Self.keyColumns("drover_dead_letter", database)
      let letter = try Statement(
        database,
        "SELECT seq, op, version, body, \(keys.joined(separator: ", ")) FROM drover_dead_letter WHERE id = ?")
      letter.bind(id, at: 1)
      guard try letter.step() else { return nil }
      var key = keys.indices.map { letter.value(Int32(4 + $0)) }
      let life = key.removeLast()
      while key.count > 1, key.last == .null { key.removeLast() }
      if life != StreamSchema.firstLife { key.append(life) }
      var body: [UInt8]?
      if case .text(let bytes) = letter.value(3) { body = Array(bytes) }
      guard case .text(let operation) = letter.value(1) else { return nil }
      return .entry(
        seq: letter.integer(0), operation: String(decoding: operation, as: UTF8.self), version: letter.integer(2),
        key: key, body: body, row: try fields(of: id, database))
    }
  }

  private func fields(of id: Int64, _ database: Database) throws -> [LetterContent.NamedValue] {
    let fields = try Statement(database, "SELECT field, value FROM drover_dead_field WHERE letter = ?")
    fields.bind(id, at: 1)
    var row: [LetterContent.NamedValue] = []
    while try fields.step() {
      guard case .text(let name) = fields.value(0) else { continue }
      let value = fields.value(1)
      if let line = CapturedTable.lineField(Array(name)) {
        let column = String(decoding: line.column, as: UTF8.self)
        row.append(
          LetterContent.NamedValue(
            name: "\(column) of line \(String(decoding: line.line, as: UTF8.self)) in table \(line.table + 1) of with",
            value: value))
      } else {
        row.append(LetterContent.NamedValue(name: String(decoding: name, as: UTF8.self), value: value))
      }
    }
    return row
  }

  // MARK: Acting

  package func purge(_ filter: DeadLetterFilter) throws -> Int {
    let condition = condition(filter)
    return try writing { database in
      try database.execute(
        sql: "DELETE FROM drover_dead_letter WHERE id IN (SELECT letter.id \(Self.joined) \(condition.sql))",
        arguments: condition.arguments)
      let count = database.changesCount
      try Self.dropLooseFields(database)
      try DeadLetterCounter.purged.add(count, database)
      return count
    }
  }

  package func requeue(_ id: Int64) throws -> Requeueing {
    try writing { database in
      guard
        let isCaptured = try Bool.fetchOne(
          database,
          sql:
            "SELECT ifnull(stream.table_name IS NOT NULL AND stream.kind <> 'payload', 0) \(Self.joined) WHERE letter.id = ?",
          arguments: [id])
      else { return .missing }
      if try isOfDown(id, database) {
        // The agent applies it.
        try database.execute(sql: "UPDATE drover_dead_letter SET is_due = 1 WHERE id = ?", arguments: [id])
        try DeadLetterCounter.replayed.add(1, database)
        return .queued
      }
      let keys = try Self.keyColumns("drover_outbox", database)
      let sameKey = keys.map { "entry.\($0) IS letter.\($0)" }.joined(separator: " AND ")
      let isSuperseded =
        try isCaptured
        // A final record that was kept is superseded by nothing.
        && !Bool.fetchOne(
          database, sql: "SELECT EXISTS (SELECT 1 FROM drover_dead_field WHERE letter = ?)", arguments: [id])!
        && Bool.fetchOne(
          database,
          sql: """
            SELECT EXISTS (SELECT 1 FROM drover_dead_letter AS letter JOIN drover_outbox AS entry
                            ON entry.stream = letter.stream AND entry.body IS NULL AND \(sameKey) WHERE letter.id = ?)
            """, arguments: [id])!
      if !isSuperseded {
        let list = keys.joined(separator: ", ")
        // The entry keeps its version, which is when it happened, and is the newest all the same: what was given so far is written down.
        try EdgeDatabase.rememberNewest(database)
        try database.execute(
          sql: """
            INSERT INTO drover_outbox (seq, stream, op, version, body, \(list))
            SELECT next.seq, letter.stream, letter.op, letter.version, letter.body, \(keys.map { "letter.\($0)" }.joined(separator: ", "))
              FROM drover_next AS next, drover_dead_letter AS letter WHERE letter.id = ?
            """, arguments: [id])
        try database.execute(
          sql: """
            INSERT INTO drover_kept (seq, field, value)
            SELECT (SELECT max(seq) FROM drover_outbox), field, value FROM drover_dead_field WHERE letter = ?
            """, arguments: [id])
        let seq = try Int64.fetchOne(database, sql: "SELECT max(seq) FROM drover_outbox")!
        try SpaceKeeper.note(bodyBytes: try SpaceKeeper.bodyBytes(of: seq, database), database)
      }
      try database.execute(sql: "DELETE FROM drover_dead_letter WHERE id = ?", arguments: [id])
      try Self.dropLooseFields(database)
      try DeadLetterCounter.replayed.add(1, database)
      return isSuperseded ? .superseded : .queued
    }
  }

  /// Whether it is of a row that came down. An agent of an earlier release has none.
  private func isOfDown(_ id: Int64, _ database: Database) throws -> Bool {
    guard try database.catalogue(of: "drover_dead_letter").contains(where: { $0.name == SQLName("direction") }) else {
      return false
    }
    return try Bool.fetchOne(
      database, sql: "SELECT direction = 'down' FROM drover_dead_letter WHERE id = ?", arguments: [id]) ?? false
  }

  private static func dropLooseFields(_ database: Database) throws {
    try database.execute(
      sql: "DELETE FROM drover_dead_field WHERE letter NOT IN (SELECT id FROM drover_dead_letter)")
  }

  // MARK: Access

  private func reading<Result>(_ body: (Database) throws -> Result) throws -> Result {
    do { return try queue.read(body) } catch let error as DatabaseError { throw failed("read", error) }
  }

  private func writing<Result>(_ body: (Database) throws -> Result) throws -> Result {
    do {
      return try queue.inDatabase { database in
        var result: Result?
        try database.inTransaction(.immediate) {
          result = try body(database)
          return .commit
        }
        return result!
      }
    } catch let error as DatabaseError {
      throw failed("write to", error)
    }
  }

  private func failed(_ operation: String, _ error: DatabaseError) -> EdgeStoreError {
    .failed("\(operation) the dead letters of \(path): \(error.explanation)")
  }
}

extension EdgeDatabase {
  package func moveToDeadLetters(_ event: UnsendableEvent) throws(EdgeStoreError) -> Bool {
    let isMoved = try access { database in
      var isMoved = false
      try database.inTransaction(.immediate) {
        try verify(database)
        isMoved = try moveToDeadLetters(event, database)
        // A database that is put back to before this moment is another one: there the event is neither sent nor set apart.
        try raiseGeneration(database)
        return .commit
      }
      return isMoved
    }
    remember()
    return isMoved
  }

  private func moveToDeadLetters(_ event: UnsendableEvent, _ database: Database) throws -> Bool {
    let keys = (0..<keyColumns).map(Bookkeeping.keyColumn) + [KeyLives.outboxColumn]
    let table = tables[event.stream]
    if table != nil { try checkSchema(database) }
    let now = "CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000"

    let isKept = try Bool.fetchOne(
      database.cachedStatement(sql: "SELECT EXISTS (SELECT 1 FROM drover_kept WHERE seq = ?)"), arguments: [event.seq])!
    // A snapshot has one letter for each key: only its newest state counts.
    if let table, table.schema.kind != .payload, !isKept {
      let again = try prepared(
        """
        UPDATE drover_dead_letter
           SET (op, seq, version) = (SELECT op, seq, version FROM drover_outbox WHERE seq = ?1), reason = ?3, detail = ?4, bytes = ?5,
               count = count + 1, last_at = \(now)
         WHERE id = (SELECT letter.id FROM drover_outbox AS entry JOIN drover_dead_letter AS letter
                         ON letter.stream = entry.stream AND letter.body IS NULL AND letter.direction = 'up'
                        AND \(keys.map { "letter.\($0) IS entry.\($0)" }.joined(separator: " AND "))
                        AND NOT EXISTS (SELECT 1 FROM drover_dead_field AS field WHERE field.letter = letter.id)
                      WHERE entry.seq = ?1 AND entry.stream = ?2)
        """, database)
      bind(event, to: again)
      if try again.run() > 0 { return try remove(event, database) }
    }
    try requireSpace(for: "event \(event.seq)", bytes: event.bytes, database)
    let list = keys.joined(separator: ", ")
    let insert = try prepared(
      """
      INSERT INTO drover_dead_letter (stream, op, seq, version, reason, detail, bytes, first_at, last_at, body, \(list))
      SELECT stream, op, seq, version, ?3, ?4, ?5, \(now), \(now), body, \(list) FROM drover_outbox WHERE seq = ?1 AND stream = ?2
      """, database)
    bind(event, to: insert)
    guard try insert.run() > 0 else { return false }
    if let table, table.schema.kind == .payload {
      try keepRow(of: event, letter: database.lastInsertedRowID, table, database)
    } else if isKept {
      try database.execute(
        sql:
          "INSERT INTO drover_dead_field (letter, field, value) SELECT ?, field, value FROM drover_kept WHERE seq = ?",
        arguments: [database.lastInsertedRowID, event.seq])
    }
    return try remove(event, database)
  }

  /// Letters are counted each time: they are few, and so are the moments.
  func requireSpace(for what: String, bytes more: Int, _ database: Database) throws {
    let use = try Row.fetchOne(
      database, sql: "SELECT count(*) AS letters, ifnull(sum(bytes), 0) AS bytes FROM drover_dead_letter")!
    let (letters, bytes): (Int, Int) = (use["letters"], use["bytes"])
    guard letters >= letterBounds.maxCount || bytes + more > letterBounds.maxBytes else { return }
    throw EdgeStoreError.noSpace(
      "set \(what) aside: \(quantity(letters, "dead letter")) of \(byteText(Int64(bytes))) in all, and dead_letters.max_count is \(letterBounds.maxCount), max_bytes \(byteText(Int64(letterBounds.maxBytes))); replay or purge some, or raise the bound"
    )
  }

  private func bind(_ event: UnsendableEvent, to statement: Statement) {
    statement.bind(event.seq, at: 1)
    statement.bind(Int64(event.stream), at: 2)
    statement.bind(event.reason.rawValue, at: 3)
    statement.bind(event.detail, at: 4)
    statement.bind(Int64(event.bytes), at: 5)
  }

  private func keepRow(of event: UnsendableEvent, letter: Int64, _ table: CapturedTable, _ database: Database) throws {
    let keys = table.outboxColumns.joined(separator: ", ")
    let select = try prepared("SELECT \(keys) FROM drover_outbox WHERE seq = ?", database)
    defer { select.reset() }
    select.bind(event.seq, at: 1)
    guard try select.step() else { return }
    let key = Values(table.schema.key.indices.map { select.value(Int32($0)) })
    guard let values = try reader(of: event.stream, table, database).stored(seq: event.seq, key: key) else { return }
    let insert = try prepared("INSERT INTO drover_dead_field (letter, field, value) VALUES (?, ?, ?)", database)
    for (column, value) in zip(table.schema.columns, values) {
      insert.bind(letter, at: 1)
      insert.bind(column.name, at: 2)
      insert.bind(value, at: 3)
      try insert.run()
    }
  }

  private func remove(_ event: UnsendableEvent, _ database: Database) throws -> Bool {
    try Self.rememberNewest(database)
    try SpaceKeeper.note(bodyBytes: -(try SpaceKeeper.bodyBytes(of: event.seq, database)), database)
    let remove = try prepared("DELETE FROM drover_outbox WHERE seq = ? AND stream = ?", database)
    remove.bind(event.seq, at: 1)
    remove.bind(Int64(event.stream), at: 2)
    try remove.run()
    let forget = try prepared("DELETE FROM drover_kept WHERE seq = ?", database)
    forget.bind(event.seq, at: 1)
    try forget.run()
    return true
  }
}
