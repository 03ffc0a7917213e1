// A machine continues from an earlier state: rows whose newest own edit it has lost go down to it, also those that it does not mention any more.

import DroverCore
import DroverWire

extension Transaction {
  /// Rows that are looked at together.
  private static let rowsOfLook = 500

  /// - Returns: false while the stream's table cannot be written; then it is to be done with a later frame.
  func flowBack(_ origin: MachineStream, epoch: Int64) throws -> Bool {
    guard let schema = try latestSchema(machine: origin.machine, stream: origin.stream), schema.flow.direction == .both
    else { return true }
    do {
      try onSink(origin.stream) { try flowBack(origin, schema, epoch: epoch) }
      return true
    } catch is SinkBlocked {
      return false
    }
  }

  private func flowBack(_ origin: MachineStream, _ schema: StreamSchema, epoch: Int64) throws {
    try lock(Locks.events(of: origin.machine, origin.stream))
    guard let table = try table(of: origin.stream), table.isTwoWay else { return }
    try markWriter(of: table)
    try settleCapture(of: table, origin.stream)
    _ = try takeEdits(of: origin, limit: .max)
    let sink = Sink(machine: origin.machine, stream: origin.stream, kind: schema.kind, schema: schema)
    let rows = TwoWaySink(try rule(for: sink, epoch: epoch), items: [])
    let keys = try lostKeys(origin, schema, table, history(of: epoch, machine: origin.machine))
    for first in stride(from: 0, to: keys.count, by: Self.rowsOfLook) {
      try rows.flowBack(
        keys[first..<min(keys.count, first + Self.rowsOfLook)].map { key in
          SinkEvent(
            seq: nil, localID: LocalIDCodec.text(key: key, schema: schema), version: 0, at: nil, key: key,
            content: .none,
            raw: [])
        })
    }
  }

  /// The keys of rows that are there and whose own version, or entry, names an edit that the epoch has not seen.
  private func lostKeys(
    _ origin: MachineStream, _ schema: StreamSchema, _ table: SinkTable, _ history: EpochHistory
  ) throws -> [[Value]] {
    let writer = try SinkWriter(table, names: schema.columns.map { SQLName($0.name) }, key: schema.key)
    let known = try connection.query(
      "SELECT number FROM drover_epoch WHERE machine_id = $1", [.text(origin.machine.text)])
    let shared = (0..<known.count).map { known.integer($0, 0) }.compactMap { epoch in
      history.limit(of: epoch).map { (epoch, $0) }
    }
    let limits: [Parameter] = [.integers(shared.map(\.0)), .integers(shared.map(\.1))]
    func isLost(_ epoch: String, _ version: String) -> String {
      """
      \(epoch) <> 0 AND NOT EXISTS (SELECT 1 FROM unnest($2::bigint[], $3::bigint[]) AS shared (epoch, version)
                                     WHERE shared.epoch = \(epoch) AND \(version) <= shared.version)
      """
    }
    var keys: [[Value]] = []
    var seen: Set<ExactText> = []
    func add(_ key: [Value]) {
      if seen.insert(ExactText(LocalIDCodec.text(key: key, schema: schema))).inserted { keys.append(key) }
    }
    let columns = writer.key.map { "stored.\(writer.columns[$0].identifier)" }.joined(separator: ", ")
    let sql = """
      SELECT \(columns) FROM \(table.qualified) AS stored
       WHERE stored.\(table.machine) = $1 AND \(isLost("stored.drover_epoch", "stored.drover_version"))
      """
    try connection.pieces(of: sql, [.text(origin.machine.text)] + limits) { rows in
      for row in 0..<rows.count {
        add(writer.key.indices.map { writer.columns[writer.key[$0]].value(rows, row, $0) })
      }
    }
    let entries = try connection.query(
      """
      SELECT entry.local_id FROM drover_row AS entry
       WHERE entry.machine_id = $1 AND entry.stream = $4 AND \(isLost("entry.edge_epoch", "entry.edge_version"))
      """, [.text(origin.machine.text)] + limits + [.text(TwoWayTables.name(origin.stream))], isKept: false)
    for row in 0..<entries.count { add(try LocalIDCodec.key(entries.text(row, 0), schema: schema)) }
    return keys
  }
}
