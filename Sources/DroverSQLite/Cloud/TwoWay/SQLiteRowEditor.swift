// Single rows of the sink tables for people. An edit is one of any SQL client: the sink table's triggers capture it, and refuse what Drover cannot carry.

package import DroverCore
import DroverWire
private import Foundation
import GRDB

package struct SQLiteRowEditor: RowEditor {
  private let path: String
  private let reader: KeptConnection
  private let writer: KeptConnection

  package init(path: String) {
    self.path = path
    reader = KeptConnection(path: path)
    writer = KeptConnection(path: path)
  }

  package func table(of origin: MachineStream) throws -> RowTable? {
    try reading { try EditorTable(origin, $0)?.table }
  }

  package func row(_ localID: String, of origin: MachineStream) throws -> (table: RowTable, row: ViewedRow?)? {
    try reading { database in
      guard let table = try EditorTable(origin, database) else { return nil }
      let key = try table.key(localID)
      return (table.table, try table.viewed(key, try table.find(key)))
    }
  }

  package func rows(_ question: RowQuestion, of origin: MachineStream) throws -> (table: RowTable, page: RowPage)? {
    try reading { database in
      guard let table = try EditorTable(origin, database) else { return nil }
      return (table.table, try table.page(question))
    }
  }

  package func edit(
    _ localID: String, _ request: RowEditRequest, of origin: MachineStream
  ) throws -> RowEditOutcome? {
    do {
      return try writer.use({ try open(readOnly: false) }) { queue in
        try queue.inDatabase { database in
          var outcome: RowEditOutcome?
          try database.inTransaction(.immediate) {
            outcome = try EditorTable(origin, database)?.edit(localID, request)
            if case .done? = outcome { return .commit }
            return .rollback
          }
          return outcome
        }
      }
    } catch let error as DatabaseError where SinkTable.isAboutTheEvent(error) {
      return .refused(RowRefusal(database: error.message ?? "", explanation: error.explanation), present: nil)
    } catch let error as DatabaseError {
      throw CloudStoreError("edit a row of", path, error)
    }
  }

  // MARK: Access

  private func reading<Result>(_ body: (Database) throws -> Result) throws -> Result {
    do {
      return try reader.use({ try open(readOnly: true) }) { try $0.read(body) }
    } catch let error as DatabaseError {
      throw CloudStoreError("read", path, error)
    }
  }

  private func open(readOnly: Bool) throws -> DatabaseQueue {
    guard FileManager.default.fileExists(atPath: path) else {
      throw CloudStoreError(description: "open \(path): there is no store yet; `drover cloud` makes it when it starts")
    }
    var configuration = Configuration()
    configuration.busyMode = .timeout(10)
    configuration.foreignKeysEnabled = false
    configuration.label = "drover rows"
    configuration.readonly = readOnly
    return try DatabaseQueue(path: path, configuration: configuration)
  }
}

/// A machine's rows in a sink table, within a transaction.
private struct EditorTable {
  struct Stored {
    var version: Int64
    var values: [Value]
  }

  let table: RowTable
  private let database: Database

  private var schema: StreamSchema { table.schema }
  private var machine: String { table.origin.machine.text }
  private var stream: String { table.origin.stream.text }
  private var name: String { "main.\(quoted(stream))" }
  private var columns: [String] { schema.columns.map { quoted($0.name) } }
  private var keyColumns: [String] { schema.key.map { columns[$0] } }
  private var isRow: String {
    ([quoted(schema.machineColumn)] + keyColumns).enumerated().map { "\($1) IS ?\($0 + 1)" }.joined(separator: " AND ")
  }

  /// nil where the store has no such rows.
  init?(_ origin: MachineStream, _ database: Database) throws {
    guard var schema = try Self.schema(of: origin, database), schema.naturalKey == nil else { return nil }
    let present = try database.catalogue(of: origin.stream.text).map(\.name)
    guard !present.isEmpty else { return nil }
    if present.contains(SQLName(StreamSchema.lifeColumn)) { schema = schema.tellingLives() }
    let isCaptured = try Bool.fetchOne(
      database,
      sql: "SELECT EXISTS (SELECT 1 FROM drover_flow WHERE stream = ?1 AND machine_id = ?2 AND owner = ?2)",
      arguments: [origin.stream.text, origin.machine.text])!
    self.database = database
    table = RowTable(origin: origin, schema: schema, isCaptured: isCaptured)
  }

  private static func schema(of origin: MachineStream, _ database: Database) throws -> StreamSchema? {
    var name: String? = origin.machine.text
    if origin.machine == .all {
      name = try String.fetchOne(
        database,
        sql:
          "SELECT machine_id FROM drover_flow WHERE stream = ?1 AND owner = ?2 AND machine_id <> ?2 ORDER BY machine_id LIMIT 1",
        arguments: [origin.stream.text, CloudTwoWay.everyMachine])
    }
    guard let machine = try name.map({ try MachineID($0) }),
      let id = try String.fetchOne(
        database,
        sql: "SELECT schema_id FROM drover_schema WHERE machine_id = ? AND stream = ? ORDER BY described DESC LIMIT 1",
        arguments: [machine.text, origin.stream.text])
    else { return nil }
    return try StreamSchema.read(SchemaID(text: id), machine: machine, stream: origin.stream, database)
  }

  // MARK: Reading

  /// The key as the columns hold it.
  func key(_ localID: String) throws -> [Value] {
    do {
      return zip(schema.key, try LocalIDCodec.key(localID, schema: schema)).map {
        schema.columns[$0].affinity.converting($1)
      }
    } catch {
      throw InvalidRowID(reason: "\(error)")
    }
  }

  func find(_ key: [Value]) throws -> Stored? {
    let select = try statement(
      "SELECT drover_version, \(columns.joined(separator: ", ")) FROM \(name) WHERE \(isRow)", key)
    return try select.step() ? stored(select) : nil
  }

  private func stored(_ select: Statement) -> Stored {
    Stored(version: select.integer(0), values: columns.indices.map { select.value(Int32($0 + 1)) })
  }

  func page(_ question: RowQuestion) throws -> RowPage {
    let order = keyColumns.joined(separator: ", ")
    let list = columns.joined(separator: ", ")
    let places = keyColumns.indices.map { "?\($0 + 2)" }.joined(separator: ", ")
    let isMachine = "\(quoted(schema.machineColumn)) = ?1"
    let page = try question.page(
      after: try question.after.map(key), schema: schema, values: { (row: Stored) in row.values }
    ) { behind, limit in
      let isBehind = behind == nil ? "" : " AND (\(order)) > (\(places))"
      let select = try statement(
        "SELECT drover_version, \(list) FROM \(name) WHERE \(isMachine)\(isBehind) ORDER BY \(order) LIMIT \(limit)",
        behind ?? [])
      var rows: [Stored] = []
      while try select.step() { rows.append(stored(select)) }
      return rows
    }
    return RowPage(
      rows: try page.rows.compactMap { try viewed(schema.keyValues(of: $0.values), $0) },
      next: page.last.map { LocalIDCodec.text(key: $0, schema: schema) }, scanned: page.scanned)
  }

  /// nil for a row that is not there and was not.
  func viewed(_ key: [Value], _ stored: Stored?) throws -> ViewedRow? {
    let localID = LocalIDCodec.text(key: key, schema: schema)
    let standing = try standing(key, localID)
    guard stored != nil || standing.mark != nil || standing.hasUntakenEdits else { return nil }
    return ViewedRow(
      localID: localID, values: stored?.values, version: stored?.version ?? standing.mark?.cloud ?? 0,
      standing: standing)
  }

  private func standing(_ key: [Value], _ localID: String) throws -> RowStanding {
    var standing = RowStanding()
    let name: StatementArguments = [machine, stream, localID]
    let entry = try Row.fetchOne(
      database, sql: "SELECT * FROM drover_row WHERE machine_id = ? AND stream = ? AND local_id = ?", arguments: name)
    if let entry {
      func version(_ side: String) -> RowVersion? {
        guard let epoch: Int64 = entry["\(side)_epoch"], let version: Int64 = entry["\(side)_version"] else {
          return nil
        }
        return RowVersion(epoch: epoch, version: version)
      }
      standing.mark = RowMark(
        edge: version("edge"), cloud: entry["cloud_version"], decided: version("decided"),
        isCloudContent: entry["is_cloud_content"], goesDown: false)
      standing.number = entry["number"]
    }
    let isKey = key.indices.map { "key\($0) IS ?\($0 + 3)" }.joined(separator: " AND ")
    let edits = try Statement(
      database,
      "SELECT 1 FROM drover_edit WHERE machine_id = ?1 AND stream = ?2 AND is_displaced = 0 AND \(isKey) LIMIT 1")
    edits.bind(machine, at: 1)
    edits.bind(stream, at: 2)
    for (index, part) in key.enumerated() { edits.bind(part, at: Int32(index + 3)) }
    standing.hasUntakenEdits = try edits.step()
    let machines = try Row.fetchOne(
      database,
      sql: """
        SELECT count(*) AS machines,
               ifnull(sum(EXISTS (SELECT 1 FROM drover_down_received AS received
                                   WHERE received.machine_id = flow.machine_id AND received.stream = flow.stream
                                     AND received.after_seq < ?3 AND received.through_seq >= ?3)), 0) AS confirmed
          FROM drover_flow AS flow WHERE flow.stream = ?1 AND flow.owner = ?2 AND flow.machine_id <> '*'
        """, arguments: [stream, machine, standing.number])!
    standing.machines = machines["machines"]
    standing.confirmations = machines["confirmed"]
    standing.conflicts = try Int64.fetchAll(
      database,
      sql: "SELECT id FROM drover_conflict WHERE machine_id = ? AND stream = ? AND local_id = ? ORDER BY id",
      arguments: name)
    standing.refusals = try RefusedRowTable(database: database).rows(of: localID, stream, owner: machine)
    return standing
  }

  // MARK: Writing

  func edit(_ localID: String, _ request: RowEditRequest) throws -> RowEditOutcome {
    let key = try key(localID)
    let stored = try find(key)
    func refuse(_ refusal: RowRefusal) throws -> RowEditOutcome {
      .refused(refusal, present: try viewed(key, stored))
    }
    if let closed = table.closed { return try refuse(.closed(closed)) }
    switch RowEditRule.decide(
      request, on: stored?.values, key: key, schema: schema,
      isComplete: stored.map { schema.isComplete($0.values) } ?? false)
    {
    case .refuse(let refusal): return try refuse(refusal)
    case .nothing: return .done(try viewed(key, stored)!, isNew: false)
    case .insert(let values): if try insert(values) == 0 { return try refuse(.silence) }
    case .update(let changes): if try update(key, changes) == 0 { return try refuse(.silence) }
    case .delete:
      if try statement("DELETE FROM \(name) WHERE \(isRow)", key).run() == 0 { return try refuse(.silence) }
    }
    guard let after = try viewed(key, try find(key)), after.standing.hasUntakenEdits else {
      throw CloudStoreError(
        description:
          "edit a row of \(stream): the table's triggers do not capture it; restart the consumer, which makes them again"
      )
    }
    return .done(after, isNew: stored == nil)
  }

  private func insert(_ values: [Value]) throws -> Int {
    let all = [quoted(schema.machineColumn)] + columns
    let insert = try Statement(
      database,
      "INSERT INTO \(name) (\(all.joined(separator: ", "))) VALUES (\(all.indices.map { "?\($0 + 1)" }.joined(separator: ", ")))"
    )
    insert.bind(machine, at: 1)
    for (index, value) in values.enumerated() { insert.bind(value, at: Int32(index + 2)) }
    return try insert.run()
  }

  private func update(_ key: [Value], _ changes: [Int: Value]) throws -> Int {
    let places = changes.keys.sorted()
    let first = key.count + 2
    let sets = places.enumerated().map { "\(columns[$1]) = ?\(first + $0)" }.joined(separator: ", ")
    let update = try statement("UPDATE \(name) SET \(sets) WHERE \(isRow)", key)
    for (index, place) in places.enumerated() { update.bind(changes[place]!, at: Int32(first + index)) }
    return try update.run()
  }

  /// A statement with the machine and the row's key bound.
  private func statement(_ sql: String, _ key: [Value]) throws -> Statement {
    let statement = try Statement(database, sql)
    statement.bind(machine, at: 1)
    for (index, part) in key.enumerated() { statement.bind(part, at: Int32(index + 2)) }
    return statement
  }
}
