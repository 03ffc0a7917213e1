// `drover_base`: what machines had of rows before edits in the cloud that they may not know. With `merge: columns` alone.

import DroverCore

struct RowBases {
  private let transaction: Transaction
  private let schema: StreamSchema
  private let origin: [Parameter]
  private var connection: Connection { transaction.connection }

  /// How many are kept of one row.
  private static let most = 8

  init(_ transaction: Transaction, _ origin: MachineStream, _ schema: StreamSchema) {
    self.transaction = transaction
    self.schema = schema
    self.origin = [.text(origin.machine.text), .text(TwoWayTables.name(origin.stream))]
  }

  func find(_ localID: String, held: Int64) throws -> RowBase? {
    let rows = try connection.query(
      """
      SELECT edge_epoch, edge_version, content FROM drover_base
       WHERE machine_id = $1 AND stream = $2 AND local_id = $3 AND cloud_version = $4 AND schema_id = $5
      """, origin + [.text(localID), .integer(held), .text(schema.id.text)])
    guard rows.count > 0 else { return nil }
    let edge = rows.optionalInteger(0, 0).map { RowVersion(epoch: $0, version: rows.integer(0, 1)) }
    return RowBase(values: try ConflictValue.values(of: rows.text(0, 2)), edge: edge)
  }

  /// A machine that holds a decision has edited the row to this; nil: it has deleted it. Earlier decisions are nothing to it any more.
  func replace(_ localID: String, held: Int64, with base: RowBase?) throws {
    try connection.query(
      "DELETE FROM drover_base WHERE machine_id = $1 AND stream = $2 AND local_id = $3 AND cloud_version <= $4",
      origin + [.text(localID), .integer(held)])
    if let base { try keep(base, localID, held: held) }
  }

  /// A row is edited in the cloud while machines may hold this; what is kept for that decision already stays. A machine that is away holds the oldest,
  /// and one that is there the newest: of too many the second oldest goes.
  func keep(_ base: RowBase, _ localID: String, held: Int64) throws {
    try connection.query(
      """
      INSERT INTO drover_base (machine_id, stream, local_id, cloud_version, edge_epoch, edge_version, schema_id, content, at)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING
      """,
      origin + [
        .text(localID), .integer(held), .integer(base.edge?.epoch), .integer(base.edge?.version), .text(schema.id.text),
        .text(ConflictValue.text(of: base.values)), .integer(transaction.store.now()),
      ])
    try connection.query(
      """
      DELETE FROM drover_base WHERE machine_id = $1 AND stream = $2 AND local_id = $3
         AND cloud_version = (SELECT cloud_version FROM drover_base WHERE machine_id = $1 AND stream = $2 AND local_id = $3
                               ORDER BY cloud_version LIMIT 1 OFFSET 1)
         AND \(Self.most) < (SELECT count(*) FROM drover_base WHERE machine_id = $1 AND stream = $2 AND local_id = $3)
      """, origin + [.text(localID)])
  }

  func drop(_ localID: String) throws {
    try connection.query(
      "DELETE FROM drover_base WHERE machine_id = $1 AND stream = $2 AND local_id = $3", origin + [.text(localID)])
  }

  /// What rows were before edits that are not taken yet, by the edits' ids.
  func before(_ ids: [Int64], _ writer: SinkWriter) throws -> [Int64: [Value]] {
    let names = writer.columns.map { column in
      let name = "before -> \(literal(column.name.text))"
      return switch column.type {
      case .jsonb: "(\(name))"
      case .json: "(\(name))::json"
      default: "(before ->> \(literal(column.name.text)))::\(column.type.name)"
      }
    }
    let rows = try connection.query(
      """
      SELECT edit.id, \(names.joined(separator: ", "))
        FROM \(GivenRows.entries("bigint")) JOIN drover_edit AS edit ON \(GivenRows.isEntry(of: "edit", "id"))
       WHERE edit.before IS NOT NULL
      """, origin + [.integers(ids)])
    return Dictionary(
      uniqueKeysWithValues: (0..<rows.count).map { row in
        (rows.integer(row, 0), writer.columns.indices.map { writer.columns[$0].value(rows, row, $0 + 1) })
      })
  }

  /// Of rows that were read to go down, those that have got another number since.
  func renumbered(_ numbers: [(localID: String, number: Int64)]) throws -> Set<ExactText> {
    let rows = try connection.query(
      """
      SELECT entry.local_id, entry.number
        FROM \(GivenRows.entries()) JOIN drover_row AS entry ON \(GivenRows.isEntry(of: "entry"))
      """, origin + [.texts(numbers.map(\.localID))])
    var present: [ExactText: Int64] = [:]
    for row in 0..<rows.count { present[ExactText(rows.text(row, 0))] = rows.optionalInteger(row, 1) }
    return Set(numbers.filter { present[ExactText($0.localID)] != $0.number }.map { ExactText($0.localID) })
  }
}
