// The app's foreign keys, as the agent has to keep them: its connection enforces none and cascades nowhere, because its own writes must not reach
// through the app's tables by themselves (docs/decisions/0002).

import DroverCore
import GRDB

/// A foreign key of one of the app's tables.
struct ForeignKey: Equatable {
  enum Action: String {
    case cascade = "CASCADE"
    case setNull = "SET NULL"
    case setDefault = "SET DEFAULT"
    /// NO ACTION and RESTRICT: the parent stays as long as it has children.
    case restrict = "RESTRICT"
  }

  var child: String
  var childColumns: [String]
  var parent: String
  var parentColumns: [String]
  var onDelete: Action

  /// All of a database.
  static func all(_ database: Database) throws -> [ForeignKey] {
    let tables = try String.fetchAll(
      database, sql: "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
    var found: [ForeignKey] = []
    for child in tables {
      let rows = try Row.fetchAll(database, sql: "PRAGMA main.foreign_key_list(\(quoted(child)))")
      for (_, parts) in Dictionary(grouping: rows, by: { $0["id"] as Int }).sorted(by: { $0.key < $1.key }) {
        let parts = parts.sorted { ($0["seq"] as Int) < ($1["seq"] as Int) }
        let parent: String = parts[0]["table"]
        var columns = parts.compactMap { $0["to"] as String? }
        if columns.isEmpty {
          columns = try Row.fetchAll(database, sql: "PRAGMA main.table_info(\(quoted(parent)))")
            .filter { ($0["pk"] as Int) > 0 }.sorted { ($0["pk"] as Int) < ($1["pk"] as Int) }.map { $0["name"] }
        }
        // One that names no such table or columns refuses everything for the app itself.
        guard columns.count == parts.count, try database.hasTable(parent) else { continue }
        found.append(
          ForeignKey(
            child: child, childColumns: parts.map { $0["from"] }, parent: parent, parentColumns: columns,
            onDelete: Action(rawValue: (parts[0]["on_delete"] as String).uppercased()) ?? .restrict))
      }
    }
    return found
  }

  /// Finds one child of a row, whose values of the parent's columns are bound from ?1 on.
  var findChildren: String {
    "FROM \(quoted(child)) WHERE "
      + childColumns.enumerated().map { "\(quoted($1)) = ?\($0 + 1)" }.joined(separator: " AND ")
  }
}

/// The foreign keys of one database, and what of Drover's captures its tables.
final class ForeignKeys {
  private let keys: [ForeignKey]
  private unowned let edge: EdgeDatabase

  init(_ edge: EdgeDatabase, _ database: Database) throws {
    self.edge = edge
    keys = try ForeignKey.all(database)
  }

  func parents(of table: String) -> [ForeignKey] { keys.filter { SQLName($0.child) == SQLName(table) } }
  func children(of table: String) -> [ForeignKey] { keys.filter { SQLName($0.parent) == SQLName(table) } }

  /// Whether a row that is written names a parent that is not there: then the foreign key.
  /// - Parameter isRow: finds the row, called `app`; its values are bound from ?1 on.
  func missingParent(of table: CapturedTable, isRow: String, key: [Value], _ database: Database) throws -> ForeignKey? {
    for foreign in parents(of: table.name) {
      let isChild = foreign.childColumns.map { "app.\(quoted($0)) IS NOT NULL" }
      let isParent = zip(foreign.parentColumns, foreign.childColumns)
        .map { "parent.\(quoted($0)) = app.\(quoted($1))" }
      let find = try edge.prepared(
        """
        SELECT 1 FROM \(quoted(table.name)) AS app WHERE \(isRow) AND \(isChild.joined(separator: " AND "))
           AND NOT EXISTS (SELECT 1 FROM \(quoted(foreign.parent)) AS parent WHERE \(isParent.joined(separator: " AND ")))
        """, database)
      defer { find.reset() }
      for (index, value) in key.enumerated() { find.bind(value, at: Int32(index + 1)) }
      if try find.step() { return foreign }
    }
    return nil
  }

  // MARK: A parent goes

  /// Does with the children of a row that goes what their foreign keys declare.
  /// - Parameters:
  ///   - depth: how many parents have gone before this one.
  ///   - value: gives the row's value of one of its columns.
  /// - Throws: `DownRefusal` where a child keeps the row.
  func release(
    childrenOf table: String, depth: Int = 0, _ database: Database, value: (String) -> Value
  ) throws {
    guard depth < 50 else {
      throw DownRefusal(.foreignKey, "the children of its children go on for more than 50 tables")
    }
    for foreign in children(of: table) {
      let parent = foreign.parentColumns.map(value)
      guard !parent.contains(.null) else { continue }
      let find = try edge.prepared("SELECT 1 \(foreign.findChildren)", database)
      for (index, value) in parent.enumerated() { find.bind(value, at: Int32(index + 1)) }
      let hasChild = try find.step()
      find.reset()
      guard hasChild else { continue }
      switch foreign.onDelete {
      case .restrict:
        throw DownRefusal.waiting(
          "rows of \(foreign.child) still name it by \(foreign.childColumns.joined(separator: ", "))")
      case .cascade: try removeChildren(foreign, parent, depth, database)
      case .setNull, .setDefault: try changeChildren(foreign, parent, database)
      }
    }
  }

  private func removeChildren(
    _ foreign: ForeignKey, _ parent: [Value], _ depth: Int, _ database: Database
  ) throws {
    try require(foreign)
    let columns = try database.catalogue(of: foreign.child).map(\.name.text)
    let select = try Statement(
      database, "SELECT \(columns.map(quoted).joined(separator: ", ")) \(foreign.findChildren)")
    for (index, value) in parent.enumerated() { select.bind(value, at: Int32(index + 1)) }
    var rows: [[SQLName: Value]] = []
    while try select.step() {
      rows.append(
        Dictionary(
          zip(columns.map(SQLName.init), columns.indices.map { select.value(Int32($0)) }),
          uniquingKeysWith: { first, _ in first }))
    }
    let remove = try Statement(database, "DELETE \(foreign.findChildren)")
    for (index, value) in parent.enumerated() { remove.bind(value, at: Int32(index + 1)) }
    // First, so that rows which name each other come to an end.
    try remove.run()
    for row in rows {
      try enter(foreign.child, "delete", database) { row[SQLName($0)] ?? .null }
      try release(childrenOf: foreign.child, depth: depth + 1, database) { row[SQLName($0)] ?? .null }
    }
  }

  private func changeChildren(_ foreign: ForeignKey, _ parent: [Value], _ database: Database) throws {
    try require(foreign)
    for (_, table) in edge.tables where SQLName(table.name) == SQLName(foreign.child) {
      let key = Set(table.schema.key.map { SQLName(table.schema.columns[$0].name) })
      guard key.isDisjoint(with: foreign.childColumns.map(SQLName.init)) else {
        throw DownRefusal(.foreignKey, "the key of \(foreign.child) holds what the foreign key would change")
      }
    }
    let columns = try database.catalogue(of: foreign.child).map(\.name.text)
    let select = try Statement(
      database, "SELECT \(columns.map(quoted).joined(separator: ", ")) \(foreign.findChildren)")
    for (index, value) in parent.enumerated() { select.bind(value, at: Int32(index + 1)) }
    while try select.step() {
      try enter(foreign.child, "put", database) { name in
        columns.firstIndex { SQLName($0) == SQLName(name) }.map { select.value(Int32($0)) } ?? .null
      }
    }
    let defaults = try Row.fetchAll(database, sql: "PRAGMA main.table_info(\(quoted(foreign.child)))")
    let set = foreign.childColumns.map { column in
      let value = defaults.first { SQLName($0["name"]) == SQLName(column) }?["dflt_value"] as String?
      return "\(quoted(column)) = \(foreign.onDelete == .setDefault ? "(\(value ?? "NULL"))" : "NULL")"
    }
    let change = try Statement(
      database,
      "UPDATE OR ABORT \(quoted(foreign.child)) SET \(set.joined(separator: ", ")) "
        + foreign.findChildren.dropFirst("FROM \(quoted(foreign.child)) ".count))
    for (index, value) in parent.enumerated() { change.bind(value, at: Int32(index + 1)) }
    try change.run()
  }

  /// Facts and final records are kept before they go, and lines belong to their header: only the app's own statements do that.
  private func require(_ foreign: ForeignKey) throws {
    let child = SQLName(foreign.child)
    for (_, table) in edge.tables {
      let isKept =
        SQLName(table.name) == child && (table.schema.kind == .payload || table.freezes || !table.lines.isEmpty)
      guard isKept || table.lines.contains(where: { SQLName($0.table.name) == child }) else { continue }
      throw DownRefusal(
        .foreignKey,
        "its rows in \(foreign.child) would go with it, and they are facts, final records or lines that have to be sent first; delete them in the app"
      )
    }
  }

  /// Enters a row of a captured table as an edit of the app's.
  private func enter(
    _ name: String, _ operation: String, _ database: Database, value: (String) -> Value
  ) throws {
    for (stream, table) in edge.tables
    where SQLName(table.name) == SQLName(name) && table.schema.flow.direction != .down {
      try edge.enterEdit(
        of: table.schema.key.map { value(table.schema.columns[$0].name) }, operation, table, stream: stream, database)
    }
  }
}
