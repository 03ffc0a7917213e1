// A machine's table made again from the cloud's: its own columns and key, without Drover's, and every value bit for bit. Rows are added and
// replaced; one that the cloud lacks goes only when the caller says so.

package import DroverCore
import GRDB

/// What a restore does, or would do, to one table.
package struct RestoredTable: Equatable, Sendable {
  package var stream: StreamName
  package var table: String
  /// The table is not there yet.
  package var isNew: Bool
  package var added = 0
  package var replaced = 0
  package var same = 0
  /// Rows that the cloud lacks.
  package var extra = 0

  package init(stream: StreamName, table: String, isNew: Bool) {
    self.stream = stream
    self.table = table
    self.isNew = isNew
  }
}

struct TableRestore {
  let source: ReplicatedStream
  let table: String
  private let cloud: Database
  /// Where the machine's own rows stand in it, as it stands behind FROM.
  private let cloudTable: String
  private let target: Database

  /// The table as it is or is going to be.
  private let isNew: Bool
  /// Positions in the schema's columns that are written, and what they are called in the table.
  private var written: [(position: Int, name: String)] = []
  private var key: [String] = []

  init(_ source: ReplicatedStream, table: String, cloud: Database, target: Database) throws {
    let schema = source.schema
    var own = source
    own.schema = try schema.notTellingLives()
    let source = own
    self.source = source
    self.table = table
    self.cloud = cloud
    let rows = quoted(try MatchedSink.ownRows(of: source.stream, cloud))
    // A machine's table has one row of a key: the newest. Columns beside max() are that row's (https://www.sqlite.org/lang_select.html#bareagg).
    cloudTable =
      schema.tellsLives
      ? """
      (SELECT *, max(drover_version) FROM \(rows) WHERE \(schema.machineColumn) = ?1
        GROUP BY \(schema.sourceKey.map { quoted(schema.columns[$0].name) }.joined(separator: ", ")))
      """ : rows
    self.target = target
    let taken = try String.fetchOne(
      target, sql: "SELECT type FROM sqlite_master WHERE lower(name) = lower(?)", arguments: [table])
    isNew = taken == nil
    guard let taken else {
      let names = source.schema.columns.map { quoted($0.name) }
      written = names.indices.map { ($0, names[$0]) }
      key = source.schema.key.map { names[$0] }
      if isKeyedByRowid {
        let rowid = try rowidName(besides: source.schema.columns.dropFirst().map(\.name))
        written[0].name = rowid
        key = [rowid]
      }
      return
    }
    guard taken == "table" else { throw refusal("there \(table) is \(taken == "index" ? "an" : "a") \(taken)") }
    try matchColumns()
  }

  private var isKeyedByRowid: Bool { source.schema.columns[0].name == StreamSchema.rowidColumn }

  private func refusal(_ cause: String) -> CloudStoreError {
    CloudStoreError(description: "restore \(source.stream) of \(source.machine): \(cause)")
  }

  private func rowidName(besides columns: [String]) throws -> String {
    let taken = Set(columns.map(SQLName.init))
    guard let name = ["rowid", "_rowid_", "oid"].first(where: { !taken.contains(SQLName($0)) }) else {
      throw refusal("its columns hide the rowid, which is its key")
    }
    return name
  }

  /// A table that is there keeps its form, so it has to have the columns, and the key by which rows are known.
  private mutating func matchColumns() throws {
    let rows = try Row.fetchAll(target, sql: "PRAGMA main.table_xinfo(\(quoted(table)))")
    var present: [SQLName: (name: String, isGenerated: Bool)] = [:]
    for row in rows {
      let name: String = row["name"]
      present[SQLName(name)] = (name, row["hidden"] != 0)
    }
    for (position, column) in source.schema.columns.enumerated() {
      if isKeyedByRowid, position == 0 {
        written.append((0, try rowidName(besides: rows.map { $0["name"] })))
      } else if let there = present[SQLName(column.name)] {
        // What SQLite computes itself cannot be written.
        if !there.isGenerated { written.append((position, quoted(there.name))) }
      } else {
        throw refusal("the table \(table) there has no column \(column.name); restore into another file, or alter it")
      }
    }
    let declared = rows.filter { $0["pk"] > 0 }.sorted { ($0["pk"] as Int) < $1["pk"] }.map {
      SQLName($0["name"])
    }
    let wanted = isKeyedByRowid ? [] : source.schema.key.map { SQLName(source.schema.columns[$0].name) }
    guard declared == wanted else {
      throw refusal(
        "the key of the table \(table) there is (\(declared.map(\.text).joined(separator: ", "))), and the machine's was (\(wanted.map(\.text).joined(separator: ", ")))"
      )
    }
    key = isKeyedByRowid ? [written[0].name] : wanted.map { quoted(present[$0]!.name) }
  }

  // MARK: Counting

  /// What `run` would do. Changes nothing.
  func plan() throws -> RestoredTable {
    var plan = RestoredTable(stream: source.stream, table: table, isNew: isNew)
    guard !isNew else {
      plan.added = try Int.fetchOne(cloud, sql: "SELECT count(*) \(fromCloud)", arguments: [source.machine.text])!
      return plan
    }
    let find = try finding()
    try eachRow { values in
      switch try standing(of: values, find) {
      case .missing: plan.added += 1
      case .same: plan.same += 1
      case .different: plan.replaced += 1
      }
    }
    plan.extra =
      try Int.fetchOne(target, sql: "SELECT count(*) FROM main.\(quoted(table))")! - plan.same - plan.replaced
    return plan
  }

  private enum Standing { case missing, same, different }

  private func finding() throws -> Statement {
    try Statement(
      target, "SELECT \(written.map(\.name).joined(separator: ", ")) FROM main.\(quoted(table)) WHERE \(isKey)")
  }

  /// Compared by bytes, whatever collation the column has: the cloud tells keys apart by them.
  private var isKey: String {
    key.enumerated().map { "\($1) IS ?\($0 + 1) AND \($1) IS ?\($0 + 1) COLLATE BINARY" }.joined(separator: " AND ")
  }

  private func standing(of values: [Value], _ find: Statement) throws -> Standing {
    bindKey(of: values, to: find)
    defer { find.reset() }
    guard try find.step() else { return .missing }
    let isSame = written.indices.allSatisfy { find.value(Int32($0)) == values[written[$0].position] }
    return isSame ? .same : .different
  }

  private func bindKey(of values: [Value], to statement: Statement) {
    for (index, part) in source.schema.keyValues(of: values).enumerated() {
      statement.bind(part, at: Int32(index + 1))
    }
  }

  // MARK: Writing

  /// Fills the table, within the caller's transaction.
  /// - Parameter removesExtra: rows that the cloud lacks go.
  func run(removesExtra: Bool) throws -> RestoredTable {
    let result = try plan()
    if isNew { try target.execute(sql: try creation()) }
    if removesExtra, result.extra > 0 { try removeExtra() }
    let find = try finding()
    let names = written.map(\.name)
    let insert = try Statement(
      target,
      "INSERT INTO main.\(quoted(table)) (\(names.joined(separator: ", "))) VALUES (\(names.indices.map { "?\($0 + 1)" }.joined(separator: ", ")))"
    )
    let changed = written.indices.filter { !source.schema.key.contains(written[$0].position) }
    let update = try Statement(
      target,
      "UPDATE main.\(quoted(table)) SET \((changed.isEmpty ? [0] : changed).map { "\(names[$0]) = ?\($0 + 1 + key.count)" }.joined(separator: ", ")) WHERE \(isKey)"
    )
    try eachRow { values in
      switch try standing(of: values, find) {
      case .same: break
      case .missing:
        for (index, column) in written.enumerated() { insert.bind(values[column.position], at: Int32(index + 1)) }
        try insert.run()
      case .different:
        bindKey(of: values, to: update)
        for index in changed { update.bind(values[written[index].position], at: Int32(index + 1 + key.count)) }
        try update.run()
      }
    }
    return result
  }

  private func removeExtra() throws {
    let remove = try Statement(target, "DELETE FROM main.\(quoted(table)) WHERE \(isKey)")
    let inCloud = try Statement(
      cloud,
      "SELECT 1 \(fromCloud) AND "
        + source.schema.key.enumerated().map { "\(quoted(source.schema.columns[$1].name)) IS ?\($0 + 2)" }
        .joined(separator: " AND "))
    inCloud.bind(source.machine.text, at: 1)
    let all = try Statement(target, "SELECT \(key.joined(separator: ", ")) FROM main.\(quoted(table))")
    // Read to the end before anything goes: what a query meets that is changed under it is not defined.
    var extra: [[Value]] = []
    while try all.step() {
      let parts = key.indices.map { all.value(Int32($0)) }
      for (index, part) in parts.enumerated() { inCloud.bind(part, at: Int32(index + 2)) }
      if try !inCloud.step() { extra.append(parts) }
      inCloud.reset()
    }
    all.reset()
    for parts in extra {
      for (index, part) in parts.enumerated() { remove.bind(part, at: Int32(index + 1)) }
      try remove.run()
    }
  }

  private var fromCloud: String {
    "FROM \(cloudTable) WHERE \(source.schema.machineColumn) = ?1"
  }

  private func eachRow(_ see: ([Value]) throws -> Void) throws {
    let columns = source.schema.columns.map { quoted($0.name) }.joined(separator: ", ")
    let statement = try Statement(cloud, "SELECT \(columns) \(fromCloud)")
    statement.bind(source.machine.text, at: 1)
    defer { statement.reset() }
    while try statement.step() {
      try see(source.schema.columns.indices.map { statement.value(Int32($0)) })
    }
  }

  private func creation() throws -> String {
    let schema = source.schema
    let columns = schema.columns.dropFirst(isKeyedByRowid ? 1 : 0).map { "  \(SinkTable.definition($0))" }
    let lines = isKeyedByRowid ? columns : columns + ["  PRIMARY KEY (\(key.joined(separator: ", ")))"]
    return
      "CREATE TABLE main.\(quoted(table)) (\n\(lines.joined(separator: ",\n"))\n)\(try holdsOddKeys() ? " WITHOUT ROWID" : "")"
  }

  /// `INTEGER PRIMARY KEY` takes nothing but integers, unless the table has no rowid (https://www.sqlite.org/lang_createtable.html#rowid).
  private func holdsOddKeys() throws -> Bool {
    guard !isKeyedByRowid, source.schema.key.count == 1 else { return false }
    let column = source.schema.columns[source.schema.key[0]]
    guard column.declaredType.uppercased() == "INTEGER" else { return false }
    return try Bool.fetchOne(
      cloud, sql: "SELECT EXISTS (SELECT 1 \(fromCloud) AND typeof(\(quoted(column.name))) <> 'integer')",
      arguments: [source.machine.text])!
  }
}
