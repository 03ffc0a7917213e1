// Conflicts for the person who looks into them. To resolve one is to edit the row as any SQL client does: the sink table's triggers capture it, and
// refuse what may not change.

package import DroverCore
import DroverWire
private import Foundation
import GRDB

package final class SQLiteConflicts: ConflictStore {
  private let queue: DatabaseQueue
  private let path: String

  /// - Parameter readOnly: it is only looked at, as the store is.
  /// - Throws: `CloudStoreError`.
  package init(path: String, readOnly: Bool = false) throws {
    self.path = path
    guard FileManager.default.fileExists(atPath: path) else {
      throw CloudStoreError(description: "open \(path): there is no store yet; `drover cloud` makes it when it starts")
    }
    var configuration = Configuration()
    configuration.busyMode = .timeout(10)
    configuration.foreignKeysEnabled = false
    configuration.label = "drover conflicts"
    configuration.readonly = readOnly
    do {
      queue = try DatabaseQueue(path: path, configuration: configuration)
      if !readOnly { try CloudTables.migrator.migrate(queue) }
    } catch let error as DatabaseError {
      throw CloudStoreError("open", path, error)
    }
  }

  // MARK: Looking

  package func conflicts(
    machine: MachineID?, stream: StreamName?, after id: Int64, limit: Int
  ) throws -> [Conflict] {
    try reading { database in
      try Row.fetchAll(
        database,
        sql: """
          SELECT * FROM drover_conflict
           WHERE id > ?1 AND (?2 IS NULL OR machine_id = ?2) AND (?3 IS NULL OR stream = ?3) ORDER BY id LIMIT ?4
          """, arguments: [id, machine?.text, stream?.text, limit]
      ).compactMap { try Self.shown($0, database) }
    }
  }

  package func conflict(_ id: Int64) throws -> Conflict? {
    try reading { database in
      try row(id, database).flatMap { try Self.shown($0, database) }
    }
  }

  package func conflictCount(machine: MachineID?, stream: StreamName?, since: Int64) throws -> Int {
    try reading { try ConflictTable(database: $0).count(of: machine, stream: stream, since: since) }
  }

  package func newestConflict() throws -> Int64 {
    try reading { try Int64.fetchOne($0, sql: "SELECT ifnull(max(id), 0) FROM drover_conflict")! }
  }

  private func row(_ id: Int64, _ database: Database) throws -> Row? {
    try Row.fetchOne(database, sql: "SELECT * FROM drover_conflict WHERE id = ?", arguments: [id])
  }

  private static let problem = "the stream's table is not as it was when the conflict was decided"

  /// A conflict stays in the list when its table has changed: nothing that a person has not seen goes in silence.
  private static func shown(_ row: Row, _ database: Database) throws -> Conflict? {
    if let shown = try ConflictedRow(row, database)?.shown() { return shown }
    var conflict = try ConflictTable.conflict(row)
    conflict?.hasChangedSince = true
    conflict?.problem = problem
    return conflict
  }

  // MARK: Resolving

  package func resolve(_ id: Int64, _ choice: ConflictChoice, seen: [Value]?) throws -> ResolveOutcome {
    do {
      return try queue.inDatabase { database in
        var outcome = ResolveOutcome.unknown
        try database.inTransaction(.immediate) {
          outcome = try resolve(id, choice, seen: seen, database)
          return outcome == .resolved ? .commit : .rollback
        }
        return outcome
      }
    } catch let error as DatabaseError where SinkTable.isAboutTheEvent(error) {
      return .refused(error.explanation)
    } catch let error as DatabaseError {
      throw CloudStoreError("resolve a conflict of", path, error)
    }
  }

  private func resolve(
    _ id: Int64, _ choice: ConflictChoice, seen: [Value]?, _ database: Database
  ) throws -> ResolveOutcome {
    guard let kept = try self.row(id, database) else { return .unknown }
    guard let row = try ConflictedRow(kept, database) else {
      guard choice == .keep else {
        return .refused("\(Self.problem); take the value that won, which keeps the row as it is")
      }
      try ConflictTable(database: database).resolved(id)
      return .resolved
    }
    let present = try row.present()
    guard present == seen else { return .changed }
    switch choice {
    case .keep: break
    case .takeLost: try row.write(isThere: present != nil)
    case .both:
      if let refusal = try row.insertBeside() { return .refused(refusal) }
    }
    try ConflictTable(database: database).resolved(id)
    return .resolved
  }

  private func reading<Result>(_ body: (Database) throws -> Result) throws -> Result {
    do {
      return try queue.read(body)
    } catch let error as DatabaseError {
      throw CloudStoreError("read the conflicts of", path, error)
    }
  }
}

/// A conflict with the sink table's row that it is about.
private struct ConflictedRow {
  let conflict: Conflict
  private let database: Database
  private let schema: StreamSchema
  private let key: [Value]

  private var table: String { "main.\(quoted(conflict.stream.text))" }
  private var columns: [String] { schema.columns.map { quoted($0.name) } }
  private var isRow: String {
    "\(schema.machineColumn) = ?1 AND "
      + schema.key.enumerated().map { "\(columns[$1]) IS ?\($0 + 2)" }.joined(separator: " AND ")
  }

  /// nil where the table is gone, or lacks what the conflict is about.
  init?(_ row: Row, _ database: Database) throws {
    guard let conflict = try ConflictTable.conflict(row) else { return nil }
    let declared = try database.catalogue(of: conflict.stream.text)
    let parts = declared.filter { $0.keyPosition > 1 }.sorted { $0.keyPosition < $1.keyPosition }.map(\.name)
    let places = parts.compactMap { part in conflict.columns.firstIndex { SQLName($0) == part } }
    let columns = conflict.columns.compactMap { name in
      declared.first { $0.name == SQLName(name) }.map { Column(name: name, declaredType: $0.type) }
    }
    guard !places.isEmpty, places.count == parts.count, columns.count == conflict.columns.count,
      let schema = try? StreamSchema(kind: .snapshot, columns: columns, key: places),
      let key = try? LocalIDCodec.key(conflict.localID, schema: schema)
    else { return nil }
    self.conflict = conflict
    self.database = database
    self.schema = schema
    self.key = key
  }

  func present() throws -> [Value]? { try read()?.values }

  private func read() throws -> (values: [Value], version: Int64)? {
    let select = try statement("SELECT \(columns.joined(separator: ", ")), drover_version FROM \(table) WHERE \(isRow)")
    guard try select.step() else { return nil }
    let count = Int32(columns.count)
    return ((0..<count).map { select.value($0) }, select.integer(count))
  }

  func shown() throws -> Conflict {
    var shown = conflict
    let row = try read()
    shown.present = row?.values
    shown.hasChangedSince = try row.map { $0.version != conflict.lost.result } ?? hasEntryChanged()
    if !shown.hasChangedSince { shown.hasChangedSince = try isEdited() }
    return shown
  }

  private func hasEntryChanged() throws -> Bool {
    try Bool.fetchOne(
      database,
      sql: """
        SELECT cloud_version <> ?4 FROM drover_row WHERE machine_id = ?1 AND stream = ?2 AND local_id = ?3
        """, arguments: [conflict.machine.text, conflict.stream.text, conflict.localID, conflict.lost.result]) ?? false
  }

  /// An edit of the row waits to be taken.
  private func isEdited() throws -> Bool {
    let isKey = key.indices.map { "key\($0) IS ?\($0 + 3)" }.joined(separator: " AND ")
    let select = try Statement(
      database,
      "SELECT 1 FROM drover_edit WHERE stream = ?1 AND machine_id = ?2 AND is_displaced = 0 AND \(isKey) LIMIT 1")
    select.bind(conflict.stream.text, at: 1)
    select.bind(conflict.machine.text, at: 2)
    for (index, part) in key.enumerated() { select.bind(part, at: Int32(index + 3)) }
    return try select.step()
  }

  /// Writes the value that lost, or deletes the row if a delete lost.
  func write(isThere: Bool) throws {
    guard let values = conflict.lost.value else {
      if isThere { try statement("DELETE FROM \(table) WHERE \(isRow)").run() }
      return
    }
    guard isThere else { return try insert(values) }
    let changed = columns.indices.filter { !schema.key.contains($0) }
    guard !changed.isEmpty else { return }
    let update = try statement(
      "UPDATE \(table) SET \(changed.enumerated().map { "\(columns[$1]) = ?\(key.count + 2 + $0)" }.joined(separator: ", ")) WHERE \(isRow)"
    )
    for (index, column) in changed.enumerated() { update.bind(values[column], at: Int32(key.count + 2 + index)) }
    try update.run()
  }

  private func insert(_ values: [Value]) throws {
    let insert = try Statement(
      database,
      """
      INSERT INTO \(table) (\(([schema.machineColumn] + columns).joined(separator: ", ")))
      VALUES (\((0...columns.count).map { "?\($0 + 1)" }.joined(separator: ", ")))
      """)
    insert.bind(conflict.machine.text, at: 1)
    for (index, value) in values.enumerated() { insert.bind(value, at: Int32(index + 2)) }
    try insert.run()
  }

  /// Inserts the value that lost under the key after the highest. Returns why that cannot be.
  func insertBeside() throws -> String? {
    guard conflict.lost.reason == .key, var values = conflict.lost.value else {
      return "only of two rows that were made under one key can both stay; take one of the values"
    }
    guard schema.key.count == 1, case .integer = key[0] else {
      return
        "the key \(conflict.localID) is no number that can be counted on; insert the row under another key with SQL, and keep the one that is there"
    }
    let column = columns[schema.key[0]]
    let highest = try Int64.fetchOne(
      database,
      sql: "SELECT max(\(column)) FROM \(table) WHERE \(schema.machineColumn) = ? AND typeof(\(column)) = 'integer'",
      arguments: [conflict.machine.text])
    guard let next = highest.map({ $0.addingReportingOverflow(1) }), !next.overflow else {
      return "there is no higher key; insert the row under another key with SQL, and keep the one that is there"
    }
    values[schema.key[0]] = .integer(next.partialValue)
    try insert(values)
    return nil
  }

  /// A statement with the row's key bound.
  private func statement(_ sql: String) throws -> Statement {
    let statement = try Statement(database, sql)
    statement.bind(conflict.machine.text, at: 1)
    for (index, part) in key.enumerated() { statement.bind(part, at: Int32(index + 2)) }
    return statement
  }
}
