// `drover_base`: what machines had of rows before edits in the cloud that they may not know. With `merge: columns` alone.

import DroverCore
import GRDB

struct RowBases {
  let transaction: Transaction
  let table: TwoWayTable
  /// The machine.
  let owner: String
  /// Microseconds since 1970.
  let now: Int64

  /// How many are kept of one row.
  private static let most = 8

  func find(_ localID: String, held: Int64) throws -> RowBase? {
    let select = try transaction.prepared(
      """
      SELECT edge_epoch, edge_version, content FROM drover_base
       WHERE machine_id = ?1 AND stream = ?2 AND local_id = ?3 AND cloud_version = ?4 AND schema_id = ?5
      """)
    defer { select.reset() }
    bind(select, localID)
    select.bind(held, at: 4)
    select.bind(table.schema.id.text, at: 5)
    guard try select.step() else { return nil }
    let edge = select.isNull(0) ? nil : RowVersion(epoch: select.integer(0), version: select.integer(1))
    return RowBase(values: try ConflictTable.values(select.text(2)), edge: edge)
  }

  /// A machine that holds a decision has edited the row to this; nil: it has deleted it. Earlier decisions are nothing to it any more.
  func replace(_ localID: String, held: Int64, with base: RowBase?) throws {
    let delete = try transaction.prepared(
      "DELETE FROM drover_base WHERE machine_id = ?1 AND stream = ?2 AND local_id = ?3 AND cloud_version <= ?4")
    bind(delete, localID)
    delete.bind(held, at: 4)
    try delete.run()
    if let base { try keep(base, localID, held: held) }
  }

  /// A row is edited in the cloud while machines may hold this; what is kept for that decision already stays.
  func keep(_ base: RowBase, _ localID: String, held: Int64) throws {
    let insert = try transaction.prepared(
      """
      INSERT OR IGNORE INTO drover_base
        (machine_id, stream, local_id, cloud_version, edge_epoch, edge_version, schema_id, content, at)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
      """)
    bind(insert, localID)
    insert.bind(held, at: 4)
    insert.bind(base.edge.map { .integer($0.epoch) } ?? .null, at: 5)
    insert.bind(base.edge.map { .integer($0.version) } ?? .null, at: 6)
    insert.bind(table.schema.id.text, at: 7)
    insert.bind(ConflictTable.text(base.values), at: 8)
    insert.bind(now, at: 9)
    try insert.run()
    try dropSurplus(localID)
  }

  /// A machine that is away holds the oldest, and one that is there the newest. So the second oldest goes.
  private func dropSurplus(_ localID: String) throws {
    let delete = try transaction.prepared(
      """
      DELETE FROM drover_base WHERE machine_id = ?1 AND stream = ?2 AND local_id = ?3
         AND cloud_version = (SELECT cloud_version FROM drover_base WHERE machine_id = ?1 AND stream = ?2 AND local_id = ?3
                               ORDER BY cloud_version LIMIT 1 OFFSET 1)
         AND \(Self.most) < (SELECT count(*) FROM drover_base WHERE machine_id = ?1 AND stream = ?2 AND local_id = ?3)
      """)
    bind(delete, localID)
    try delete.run()
  }

  func drop(_ localID: String) throws {
    let delete = try transaction.prepared(
      "DELETE FROM drover_base WHERE machine_id = ?1 AND stream = ?2 AND local_id = ?3")
    bind(delete, localID)
    try delete.run()
  }

  /// What a row was before an edit that was not taken yet, with its version where an epoch of the machine stood there; nil where that was not kept, or
  /// not of every column.
  func before(edit id: Int64) throws -> (values: [Value], version: RowVersion?)? {
    let select = try transaction.prepared(
      """
      SELECT edit.old_epoch, edit.old_version, kept.name, kept.value
        FROM drover_edit AS edit JOIN drover_edit_value AS kept ON kept.edit_id = edit.id WHERE edit.id = ?1
      """)
    defer { select.reset() }
    select.bind(id, at: 1)
    var values: [SQLName: Value] = [:]
    var version = RowVersion(epoch: 0, version: 0)
    while try select.step() {
      version = RowVersion(epoch: select.integer(0), version: select.integer(1))
      values[SQLName(select.text(2))] = select.value(3)
    }
    let found = table.schema.columns.compactMap { values[SQLName($0.name)] }
    return found.count == table.schema.columns.count ? (found, version.epoch == 0 ? nil : version) : nil
  }

  private func bind(_ statement: Statement, _ localID: String) {
    statement.bind(owner, at: 1)
    statement.bind(table.stream.text, at: 2)
    statement.bind(localID, at: 3)
  }
}
