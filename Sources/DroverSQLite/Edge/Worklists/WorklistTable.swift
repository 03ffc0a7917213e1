// One worklist's table as orders are inserted into it and removed from it. The agent's connection fires no triggers, so what is done here is entered into
// the outbox beside it, and final records are kept as the triggers of the table keep them.

import DroverCore
import DroverWire
import GRDB

final class WorklistTable {
  /// Why the table does not take an order, without the order's values.
  struct Refusal: Error {
    let why: String
  }

  fileprivate struct Target {
    let column: DroverCore.Column
    /// The order's field for it.
    let field: String
    /// It has no default, or the configuration names its field.
    let isRequired: Bool
  }

  let table: CapturedTable
  let declaration: WorklistDeclaration
  private let stream: Int
  private let edge: EdgeDatabase
  private let database: Database
  private let targets: [Target]
  private let key: DroverCore.Column
  private let keyExpression: String
  private let number: String?
  private let finished: String
  private let hasParents: Bool

  /// - Throws: `EdgeStoreError.failed` where the table cannot be a worklist.
  init(_ edge: EdgeDatabase, stream: Int, _ database: Database) throws {
    let (name, declaration, table) = try edge.worklist(stream)
    func fail(_ why: String) -> EdgeStoreError { .failed("worklist \(name): \(why)") }
    self.edge = edge
    self.stream = stream
    self.database = database
    self.table = table
    self.declaration = declaration
    let keys = table.schema.key.map { table.schema.columns[$0] }
    guard keys.count == 1, SQLName(keys[0].name) == SQLName(declaration.orderKey) else {
      throw fail(
        "the key of \(table.name) is \(table.keyNames), and order_key is \(declaration.orderKey); set `key: [\(declaration.orderKey)]` of the stream"
      )
    }
    key = keys[0]
    keyExpression = table.expressions[table.schema.key[0]]
    finished = table.schema.completeWhen?.text { quoted($0) } ?? "0"
    hasParents = try !edge.foreignKeys(database).parents(of: table.name).isEmpty

    let columns = try Row.fetchAll(database, sql: "PRAGMA main.table_xinfo(\(quoted(table.name)))")
    func isThere(_ name: String) -> Bool {
      columns.contains { SQLName($0["name"]) == SQLName(name) && $0["hidden"] == 0 }
    }
    for name in (declaration.number.map { [$0] } ?? []) + declaration.fields.map(\.column) where !isThere(name) {
      throw fail(
        "\(table.name) has no column \(name) that could be written to; correct `number` and `columns` of its worklist, or the table"
      )
    }
    number = declaration.number
    let own = Set([key.name] + [declaration.number, table.syncedColumn].compactMap(\.self).map { $0 })
    let isOwn = Set(own.map(SQLName.init))
    targets = columns.compactMap { row in
      let column: String = row["name"]
      guard row["hidden"] == 0, !isOwn.contains(SQLName(column)) else { return nil }
      let declared = declaration.fields.first { SQLName($0.column) == SQLName(column) }?.field
      let hasDefault = (row["dflt_value"] as String?) != nil || row["notnull"] == 0 || row["pk"] != 0 && table.hasRowid
      return Target(
        column: DroverCore.Column(name: column, declaredType: row["type"]), field: declared ?? column,
        isRequired: declared != nil || !hasDefault)
    }
  }

  func rows() throws -> WorklistRows { try WorklistBookkeeping.rows(table.name, finished: finished, database) }

  // MARK: Inserting

  /// Inserts an order; whatever of it is refused leaves nothing.
  func insert(_ order: ReadOrder, number: Int) throws {
    let key = try keyValue(order)
    var names = [self.key.name]
    var values = [key]
    if let column = self.number {
      names.append(column)
      values.append(.integer(Int64(number)))
    }
    for target in targets {
      guard let field = order.fields.last(where: { SQLName($0.name) == SQLName(target.field) }) else {
        guard !target.isRequired else {
          throw Refusal(
            why: "its field \(target.field) is missing, which column \(target.column.name) of \(table.name) needs")
        }
        continue
      }
      names.append(target.column.name)
      values.append(try target.fit(field.value))
    }
    try edge.prepared("SAVEPOINT drover_order", database).run()
    do {
      // OR ABORT: a constraint of the app's may say ON CONFLICT REPLACE, which would delete a row, or ROLLBACK.
      let insert = try Statement(
        database,
        "INSERT OR ABORT INTO \(quoted(table.name)) (\(names.map(quoted).joined(separator: ", "))) VALUES (\(names.indices.map { "?\($0 + 1)" }.joined(separator: ", ")))"
      )
      for (index, value) in values.enumerated() { insert.bind(value, at: Int32(index + 1)) }
      try insert.run()
      try requireParents(key)
      try edge.enterEdit(of: [key], "put", table, stream: stream, database)
    } catch {
      try edge.prepared("ROLLBACK TO drover_order", database).run()
      try edge.prepared("RELEASE drover_order", database).run()
      guard let error = error as? DatabaseError, error.isOfOneRow else { throw error }
      throw Refusal(why: "the table refuses it: \(error.explanation)")
    }
    try edge.prepared("RELEASE drover_order", database).run()
  }

  /// The key as its column stores it. The row's local ID has to be the order's key, or the cloud could not tell what became of the order.
  private func keyValue(_ order: ReadOrder) throws -> Value {
    guard (1...WorklistRequest.mostKeyBytes).contains(order.key.utf8.count) else {
      throw Refusal(why: "its key does not have 1 to \(WorklistRequest.mostKeyBytes) bytes")
    }
    guard let parts = try? LocalIDCodec.key(order.key, schema: table.schema), parts.count == 1,
      case let value = key.affinity.converting(parts[0]),
      LocalIDCodec.text(key: [value], schema: table.schema).isExactly(order.key)
    else {
      throw Refusal(
        why:
          "column \(key.name) of \(table.name) would store its key in another form; give it the key as that column has it"
      )
    }
    return value
  }

  private func requireParents(_ key: Value) throws {
    guard hasParents else { return }
    let isRow = "app.\(keyExpression) IS ?1 AND app.\(keyExpression) IS ?1 COLLATE BINARY"
    guard let foreign = try edge.foreignKeys(database).missingParent(of: table, isRow: isRow, key: [key], database)
    else { return }
    throw Refusal(
      why:
        "no row of \(foreign.parent) has the \(foreign.parentColumns.joined(separator: ", ")) that its \(foreign.childColumns.joined(separator: ", ")) names"
    )
  }

  // MARK: Removing

  /// Removes rows. What was not sent yet of finished ones is kept for the cloud, and unfinished ones are deleted there too.
  /// - Parameter finishedOnly: otherwise all.
  /// - Returns: how many, and the keys of the unfinished ones among them.
  func remove(finishedOnly: Bool) throws -> (count: Int, unfinished: [String]) {
    let children = try edge.foreignKeys(database).children(of: table.name)
    let columns = Array(Set(children.flatMap(\.parentColumns).map(SQLName.init))).map(\.text)
    let isFinished = "coalesce((\(finished)), 0)"
    let condition = finishedOnly ? " WHERE \(isFinished)" : ""
    let rows = try Statement(
      database,
      "SELECT \(([isFinished, keyExpression] + table.identity + columns.map(quoted)).joined(separator: ", ")) FROM \(quoted(table.name))\(condition)"
    )
    // All of them first: what the statement walks through is changed below.
    var found: [(isFinished: Bool, key: Value, identity: [Value], columns: [SQLName: Value])] = []
    while try rows.step() {
      let identity = table.identity.indices.map { rows.value(Int32(2 + $0)) }
      let values = columns.indices.map { rows.value(Int32(2 + identity.count + $0)) }
      found.append(
        (
          rows.integer(0) != 0, rows.value(1), identity,
          Dictionary(zip(columns.map(SQLName.init), values), uniquingKeysWith: { first, _ in first })
        ))
    }
    rows.reset()
    let isRow = table.identity.enumerated().map { "drover_own.\($1) IS ?\($0 + 1)" }.joined(separator: " AND ")
    let keep = try table.keepFinal(stream, "1") {
      "(SELECT drover_own.\($0) FROM \(quoted(table.name)) AS drover_own WHERE \(isRow))"
    }.map { try Statement(database, $0) }
    for row in found where row.isFinished {
      for statement in keep {
        for (index, value) in row.identity.enumerated() { statement.bind(value, at: Int32(index + 1)) }
        try statement.run()
      }
    }
    try database.execute(sql: "DELETE FROM \(quoted(table.name))\(condition)")
    var unfinished: [String] = []
    for row in found {
      if !row.isFinished, row.key != .null {
        unfinished.append(LocalIDCodec.text(key: [row.key], schema: table.schema))
        try edge.enterEdit(of: [row.key], "delete", table, stream: stream, database)
      }
      guard !children.isEmpty else { continue }
      do {
        try edge.foreignKeys(database).release(childrenOf: table.name, database) { row.columns[SQLName($0)] ?? .null }
      } catch let refusal as DownRefusal {
        throw EdgeStoreError.failed("remove rows of \(table.name): \(refusal.detail); remove those first")
      }
    }
    edge.dataVersion = -1  // so that the agent looks
    return (found.count, unfinished)
  }
}

extension WorklistTable.Target {
  /// The value as the column takes it.
  /// - Parameter value: nil for a list and an object.
  fileprivate func fit(_ value: Value?) throws -> Value {
    func refuse(_ what: String) -> WorklistTable.Refusal {
      WorklistTable.Refusal(why: "its field \(field) is \(what), and column \(column.name) is \(column.declaredType)")
    }
    guard let value else {
      throw WorklistTable.Refusal(why: "its field \(field) is a list or an object, which no column takes")
    }
    let stored = column.affinity.converting(value)
    switch (column.affinity, stored) {
    case (_, .null), (.blob, _), (.text, .text), (.integer, .integer), (.real, .real), (.numeric, .integer),
      (.numeric, .real):
      return value
    // What SQLite knows of times is text, and what is declared so is a number to it.
    case (.numeric, .text) where column.holdsTimes: return value
    case (.integer, .real): throw refuse("a number with a fraction")
    case (_, .text): throw refuse("text")
    case (_, .blob): throw refuse("bytes")
    default: throw refuse("of another type")
    }
  }
}

extension DroverCore.Column {
  fileprivate var holdsTimes: Bool {
    let type = declaredType.uppercased()
    return type.contains("DATE") || type.contains("TIME")
  }
}

extension DatabaseError {
  /// Whether it comes from one row's values, and not from the table, the disk or a lock.
  fileprivate var isOfOneRow: Bool {
    switch resultCode {
    case .SQLITE_CONSTRAINT, .SQLITE_MISMATCH, .SQLITE_TOOBIG: true
    default: false
    }
  }
}
