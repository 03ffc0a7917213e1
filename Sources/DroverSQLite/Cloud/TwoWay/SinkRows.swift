// The rows of a machine's two-way stream, as `TwoWayMerge` reads and writes them.

import DroverCore
import DroverWire
import GRDB

struct SinkRows: TwoWayRows {
  let transaction: Transaction
  let table: TwoWayTable
  let machine: MachineID
  let now: Int64
  private let entries: RowEntries

  init(transaction: Transaction, table: TwoWayTable, machine: MachineID, now: Int64) throws {
    self.transaction = transaction
    self.table = table
    self.machine = machine
    self.now = now
    entries = try RowEntries(transaction: transaction, owner: machine.text, stream: table.stream)
  }

  func find(_ events: [SinkEvent]) throws -> [TwoWayRow] {
    try events.map { event in
      let stored = try table.stored(event.key)
      let entry = try entries.find(event.localID)
      var edge = entry == nil ? try stored?.version ?? table.tombstone(event.localID) : entry?.edge
      // A row that a person has made, or that is no longer known.
      if edge?.epoch == 0 { edge = nil }
      return TwoWayRow(
        known: .init(
          edge: edge, cloud: entry?.cloud ?? 0, decided: entry?.decided, isCloudContent: entry?.isCloudContent ?? false,
          isThere: stored != nil, isComplete: stored?.isComplete ?? false),
        values: stored?.values, hasMark: entry != nil)
    }
  }

  func holds(_ row: TwoWayRow, _ event: SinkEvent) throws -> Bool {
    guard case .row(let row) = event.content else { return false }
    return try table.holds(Array(row), event.key)
  }

  func put(_ event: SinkEvent, version: RowVersion) throws -> MergeOutcome {
    guard case .row(let row) = event.content else { return .superseded }
    return try writing(isDelete: false) {
      try table.put(row, event.key, event.localID, version: version)
    }
  }

  func remove(_ event: SinkEvent, version: RowVersion) throws -> MergeOutcome {
    try writing(isDelete: true) {
      try table.remove(event.key, event.localID, version: version, seq: event.seq, now: now)
    }
  }

  private func writing(isDelete: Bool, _ body: () throws -> Void) throws -> MergeOutcome {
    do {
      try body()
      return .applied
    } catch let error as DatabaseError
      where SinkTable.isAboutTheEvent(error) && transaction.database.isInsideTransaction
    {
      table.refusals[isDelete] = table.refusals[isDelete] ?? error
      return .refused(.store, detail: error.explanation)
    }
  }

  func stamp(_ event: SinkEvent, version: Int64) throws { try table.stamp(event.key, version: version) }

  func note(_ mark: RowMark, of event: SinkEvent) throws {
    let number = mark.goesDown ? try transaction.nextNumbers(1, owner: machine.text, stream: table.stream) : nil
    try entries.write(
      mark, event.localID, number: number, goneAt: table.stored(event.key) == nil ? now : nil)
  }

  // MARK: With `merge: columns`

  private var bases: RowBases { RowBases(transaction: transaction, table: table, owner: machine.text, now: now) }

  func values(of event: SinkEvent) -> [Value]? {
    guard case .row(let row) = event.content else { return nil }
    return zip(table.schema.columns, row).map { $0.affinity.converting($1) }
  }

  func base(of event: SinkEvent, held: Int64) throws -> RowBase? { try bases.find(event.localID, held: held) }

  func keep(_ base: RowBase?, of event: SinkEvent, held: Int64) throws {
    try bases.replace(event.localID, held: held, with: base)
  }

  func dropBases(of event: SinkEvent) throws { try bases.drop(event.localID) }

  func list(_ lost: LostEdit, of event: SinkEvent) throws {
    try ConflictTable(database: transaction.database).list(
      lost, machine: machine, stream: table.stream, localID: event.localID, schema: table.schema, now: now,
      bounds: transaction.store.limits.conflicts)
  }
}

/// `drover_row`, the entries of one stream.
struct RowEntries {
  private let owner: String
  private let stream: StreamName
  private let select: Statement
  private let upsert: Statement

  init(transaction: Transaction, owner: String, stream: StreamName) throws {
    self.owner = owner
    self.stream = stream
    select = try transaction.prepared(
      """
      SELECT edge_epoch, edge_version, cloud_version, decided_epoch, decided_version, is_cloud_content FROM drover_row
       WHERE machine_id = ?1 AND stream = ?2 AND local_id = ?3
      """)
    upsert = try transaction.prepared(
      """
      INSERT INTO drover_row (machine_id, stream, local_id, edge_epoch, edge_version, cloud_version, decided_epoch, decided_version,
                              is_cloud_content, gone_at, number)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
      ON CONFLICT (machine_id, stream, local_id) DO UPDATE
         SET edge_epoch = excluded.edge_epoch, edge_version = excluded.edge_version, cloud_version = excluded.cloud_version,
             decided_epoch = excluded.decided_epoch, decided_version = excluded.decided_version,
             is_cloud_content = excluded.is_cloud_content, number = ifnull(excluded.number, number),
             gone_at = iif(excluded.gone_at IS NULL, NULL, ifnull(gone_at, excluded.gone_at))
      """)
  }

  func find(_ localID: String) throws -> RowMark? {
    defer { select.reset() }
    bind(select, localID)
    guard try select.step() else { return nil }
    func version(_ column: Int32) -> RowVersion? {
      select.isNull(column) ? nil : RowVersion(epoch: select.integer(column), version: select.integer(column + 1))
    }
    return RowMark(
      edge: version(0), cloud: select.integer(2), decided: version(3), isCloudContent: select.integer(5) != 0,
      goesDown: false)
  }

  /// - Parameters:
  ///   - number: nil leaves the one that it has.
  ///   - goneAt: nil for a row that is there.
  func write(_ mark: RowMark, _ localID: String, number: Int64?, goneAt: Int64?) throws {
    bind(upsert, localID)
    func bindVersion(_ version: RowVersion?, at index: Int32) {
      upsert.bind(version.map { .integer($0.epoch) } ?? .null, at: index)
      upsert.bind(version.map { .integer($0.version) } ?? .null, at: index + 1)
    }
    bindVersion(mark.edge, at: 4)
    upsert.bind(mark.cloud, at: 6)
    bindVersion(mark.decided, at: 7)
    upsert.bind(mark.isCloudContent ? 1 : 0, at: 9)
    upsert.bind(goneAt.map { .integer($0) } ?? .null, at: 10)
    upsert.bind(number.map { .integer($0) } ?? .null, at: 11)
    try upsert.run()
  }

  private func bind(_ statement: Statement, _ localID: String) {
    statement.bind(owner, at: 1)
    statement.bind(stream.text, at: 2)
    statement.bind(localID, at: 3)
  }
}
