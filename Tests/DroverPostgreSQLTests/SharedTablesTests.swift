import DroverCore
import DroverPostgreSQL
import DroverTesting
import Testing

/// Tables that machines share, in a store from before machines were held apart.
@Suite(.ownThread) struct SharedTablesTests {
  private let stream = try! StreamName("stock")

  private func merge(
    _ store: PostgreSQLCloudStore, _ schema: StreamSchema, _ machine: String, _ version: Int64, _ id: Int64
  ) throws -> [MergeOutcome] {
    let machine = try MachineID(machine)
    let event = SinkEvent(
      seq: nil, localID: "\(id)", version: version, at: nil, key: [.integer(id)],
      content: .row([.integer(id), .text("code")]), raw: [])
    return try store.transaction { transaction in
      #expect(try transaction.adopt(schema, machine: machine, stream: stream) == nil)
      return try transaction.merge(
        [event], epoch: nil, into: Sink(machine: machine, stream: stream, kind: .snapshot, schema: schema))
    }
  }

  // What is in a store from before is the operator's word: it needs no other.
  @Test func `rows that were matched before this version stay matched, those of machines that declare nothing too`()
    throws
  {
    let database = try TestServer.makeDatabase()
    let columns = [Column(name: "id", declaredType: "INTEGER"), Column(name: "a", declaredType: "TEXT")]
    let plain = try StreamSchema(kind: .snapshot, columns: columns, key: [0])
    let named = try StreamSchema(
      kind: .snapshot, columns: columns, key: [0], naturalKey: NaturalKey(columns: ["a"], fallback: []))
    #expect(try merge(PostgreSQLCloudStore(database.address), named, "MAH001", 1 << 52, 1) == [.applied])
    try database.connect().run(
      """
      ALTER TABLE drover_held_stock DROP COLUMN drover_rank;
      DROP TABLE drover_column_alone, drover_identity_member, drover_schema_waiting_line;
      DROP TABLE drover_stream_wait, drover_blocked;
      DROP TABLE drover_flow, drover_since, drover_row, drover_edit, drover_down, drover_down_received, drover_lost_decision,
                 drover_conflict, drover_base, drover_refused, drover_refused_row, drover_down_run, drover_opening, drover_order,
                 drover_refill;
      DROP FUNCTION drover_order_guard, drover_order_truncate;
      ALTER TABLE drover_epoch DROP COLUMN parent, DROP COLUMN fork;
      ALTER TABLE drover_schema DROP COLUMN direction, DROP COLUMN newer, DROP COLUMN merge_unit,
        DROP COLUMN is_key_natural, DROP COLUMN reach;
      ALTER TABLE drover_schema_waiting DROP COLUMN direction, DROP COLUMN newer, DROP COLUMN merge_unit,
        DROP COLUMN is_key_natural, DROP COLUMN reach;
      DROP INDEX drover_schema_users, drover_schema_line_users;
      ALTER TABLE drover_sink DROP COLUMN is_loose;
      ALTER TABLE drover_schema_waiting DROP COLUMN complete_when;
      DELETE FROM drover_migration WHERE number >= 10;
      """)
    let store = try PostgreSQLCloudStore(database.address)
    #expect(try merge(store, plain, "MAH002", 2, 9) == [.applied])
    #expect(try merge(store, named, "MAH001", (1 << 52) + 1, 1) == [.applied])
    let rows = try database.connect().query(
      "SELECT count(*), (SELECT count(*) FROM drover_held_stock WHERE drover_rank < \(1 << 51)) FROM stock")
    #expect(rows.integer(0, 0) == 1 && rows.integer(0, 1) == 2)
  }
}
