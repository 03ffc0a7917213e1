// Which sink tables there are, and how their rows are read, for the export and the change feed.

import DroverCore
import GRDB

extension SinkDescription {
  /// The tables that hold the replica, by name.
  static func all(_ database: Database) throws -> [SinkDescription] {
    guard try database.tableExists("drover_sink") else { return [] }
    // A store that no consumer of this version has opened yet has no lines.
    let hasLines = try database.columns(in: "drover_sink").contains { $0.name == "header" }
    return try Row.fetchAll(
      database,
      sql: "SELECT stream, kind, form, \(hasLines ? "header" : "NULL AS header") FROM drover_sink ORDER BY stream"
    ).compactMap { row in
      let stream = try StreamName(row["stream"])
      guard let kind = Kind(rawValue: row["kind"]), try database.hasTable(stream.text) else { return nil }
      let schema = try row["form"] as String == "table" ? schema(of: stream, kind, database) : nil
      let header: String? = row["header"]
      return SinkDescription(stream: stream, kind: kind, header: try header.map { try StreamName($0) }, schema: schema)
    }
  }

  /// The source's columns, as the sink table has them: those of all machines together.
  private static func schema(of stream: StreamName, _ kind: Kind, _ database: Database) throws -> StreamSchema {
    let columns = try Row.fetchAll(database, sql: "PRAGMA main.table_info(\(quoted(stream.text)))")
      .map { (column: DroverCore.Column(name: $0["name"], declaredType: $0["type"]), place: $0["pk"] as Int) }
      // The machine is the first column of the key.
      .filter { $0.place != 1 && !isBookkeeping($0.column.name) }
    let key = columns.indices.filter { columns[$0].place > 0 }.sorted { columns[$0].place < columns[$1].place }
    return try StreamSchema(kind: kind, columns: columns.map(\.column), key: key)
  }

  private static func isBookkeeping(_ column: String) -> Bool {
    let name = SQLName(column)
    return name.text.utf8.starts(with: "drover_".utf8) && !StreamSchema.ownColumns.contains(name)
  }
}

/// How a row of a sink table is selected.
struct SinkSelect {
  let sink: SinkDescription
  /// The machine's column.
  let machine: String
  /// What stands behind SELECT.
  let columns: String
  private let count: Int

  init(_ sink: SinkDescription) {
    self.sink = sink
    machine = sink.schema.map { quoted($0.machineColumn) } ?? "machine_id"
    let own = sink.schema.map { $0.columns.map { quoted($0.name) } } ?? ["local_id", "occurred_at", "body"]
    columns = ([machine, "drover_version"] + own).joined(separator: ", ")
    count = own.count
  }

  /// The row that a statement stands on.
  /// - Parameter first: the place of the first of `columns` among the statement's.
  /// - Returns: nil where a body is none.
  func row(_ statement: Statement, from first: Int32 = 0) -> SinkRow? {
    let content: SinkRow.Content
    if sink.schema != nil {
      content = .values((0..<count).map { statement.value(first + 2 + Int32($0)) })
    } else {
      guard case .text(let id) = statement.value(first + 2), case .text(let body) = statement.value(first + 4) else {
        return nil
      }
      content = .body(
        localID: String(decoding: id, as: UTF8.self),
        occurredAt: statement.isNull(first + 3) ? nil : statement.text(first + 3), text: Array(body))
    }
    return SinkRow(machine: statement.text(first), version: statement.integer(first + 1), content: content)
  }

  func readRows(_ database: Database, _ take: (SinkRow) throws -> Void) throws {
    let statement = try Statement(database, "SELECT \(columns) FROM \(quoted(sink.stream.text))")
    while try statement.step() {
      if let row = row(statement) { try take(row) }
    }
  }
}
