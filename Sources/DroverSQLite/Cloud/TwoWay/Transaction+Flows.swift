// A machine says in which direction the rows of its stream travel: the sink table's triggers follow, and nothing else of the table.

import DroverCore
import GRDB

extension Transaction {
  /// A machine has described its stream. Streams that only go up and did so before cost one look.
  func settleFlow(_ schema: StreamSchema, machine: MachineID, stream: StreamName) throws {
    let flow = schema.flow
    let before = try Row.fetchOne(
      database,
      sql:
        "SELECT direction, owner, complete_when, merge_unit FROM drover_flow WHERE stream = ? AND machine_id = ?",
      arguments: [stream.text, machine.text])
    guard flow.direction.goesDown else {
      if before != nil { try endFlow(machine: machine, stream: stream) }
      return
    }
    let owner = flow.owner(machine)
    if let before, before["owner"] != owner { try endFlow(machine: machine, stream: stream) }
    // Rows for all machines have their numbers since the first machine that gets them came.
    let isShared = try owner != machine.text && isShared(stream)
    for name in owner == machine.text ? [owner] : [machine.text, owner] {
      try database.execute(
        sql: """
          INSERT OR REPLACE INTO drover_flow (stream, machine_id, direction, owner, complete_when, merge_unit)
          VALUES (?, ?, ?, ?, ?, ?)
          """,
        arguments: [
          stream.text, name, flow.direction.rawValue, owner, schema.completeWhen?.text, flow.merge.rawValue,
        ])
    }
    var isNew =
      before == nil || before?["complete_when"] as String? != schema.completeWhen?.text
      || before?["merge_unit"] != flow.merge.rawValue
    for column in schema.columns {
      try database.execute(
        sql: "INSERT OR IGNORE INTO drover_flow_column (stream, name) VALUES (?, ?)",
        arguments: [stream.text, SQLName(column.name).text])
      isNew = isNew || database.changesCount > 0
    }
    store.cache.downStreams = nil
    store.cache.capturedTables = nil
    try giveDefaults(schema, stream)
    if try isNew || !isCaptured(stream) {
      try SinkCapture(database, stream, machineColumn: schema.machineColumn)?.make()
    }
    if flow.direction == .down, !isShared, before?["direction"] != Direction.down.rawValue || before?["owner"] != owner
    {
      try numberAll(stream, owner: owner)
    }
  }

  /// Whether a machine gets the rows that are for all.
  private func isShared(_ stream: StreamName) throws -> Bool {
    try Bool.fetchOne(
      database, sql: "SELECT EXISTS (SELECT 1 FROM drover_flow WHERE stream = ? AND machine_id = '*')",
      arguments: [stream.text])!
  }

  private func isCaptured(_ stream: StreamName) throws -> Bool {
    try Bool.fetchOne(
      database,
      sql: """
        SELECT count(*) = \(SinkCapture.count) FROM main.sqlite_master
         WHERE type = 'trigger' AND lower(tbl_name) = lower(?)
           AND substr(name, 1, \(SinkCapture.prefix.utf8.count)) = '\(SinkCapture.prefix)'
        """, arguments: [stream.text])!
  }

  /// The stream of a machine goes down no more. Its rows stay; the last number does too, so that none is given twice.
  func endFlow(machine: MachineID, stream: StreamName) throws {
    try database.execute(
      sql: "DELETE FROM drover_flow WHERE stream = ? AND machine_id = ?", arguments: [stream.text, machine.text])
    try database.execute(
      sql: """
        DELETE FROM drover_flow
         WHERE stream = ?1 AND machine_id = '*'
           AND NOT EXISTS (SELECT 1 FROM drover_flow WHERE stream = ?1 AND owner = '*' AND machine_id <> '*')
        """, arguments: [stream.text])
    try RefusedRowTable(database: database).forget(stream, machine: machine)
    for owner in try isShared(stream) ? [machine.text] : [machine.text, CloudTwoWay.everyMachine] {
      for table in ["drover_row", "drover_edit", "drover_base"] {
        try database.execute(
          sql: "DELETE FROM \(table) WHERE machine_id = ? AND stream = ?", arguments: [owner, stream.text])
      }
    }
    try dropCapture(stream)
  }

  /// Drops the triggers of a table from which no rows go down.
  private func dropCapture(_ stream: StreamName) throws {
    store.cache.downStreams = nil
    store.cache.capturedTables = nil
    guard
      try !Bool.fetchOne(
        database, sql: "SELECT EXISTS (SELECT 1 FROM drover_flow WHERE stream = ?)", arguments: [stream.text])!
    else { return }
    try forgetFlows(stream)
  }

  /// Forgets that a stream's table goes down.
  func forgetFlows(_ stream: StreamName) throws {
    try SinkCapture.drop(database, stream)
    for table in ["drover_flow", "drover_flow_column", "drover_edit", "drover_base"] {
      try database.execute(sql: "DELETE FROM \(table) WHERE stream = ?", arguments: [stream.text])
    }
    store.cache.downStreams = nil
    store.cache.capturedTables = nil
  }

  /// Makes the triggers of a table that was mended what they have to be.
  func mendCapture(_ stream: StreamName) throws {
    let machine = try String.fetchOne(
      database, sql: "SELECT machine_id FROM drover_flow WHERE stream = ? AND machine_id <> '*' LIMIT 1",
      arguments: [stream.text])
    guard let machine, let schema = try latestSchema(machine: MachineID(machine), stream: stream) else { return }
    try giveDefaults(schema, stream)
    try SinkCapture(database, stream, machineColumn: schema.machineColumn)?.make()
  }

  /// Makes the triggers of all tables from which rows go down what they have to be. One that cannot be changed now is left for the next time.
  func mendCaptures() throws {
    // At the start another version of Drover may have made them.
    if store.hasMendedCaptures { store.captureFaults = try SinkCapture.faults(database) + store.captureFaults }
    store.hasMendedCaptures = true
    for stream in try downStreamNames() {
      guard let machine = try database.firstKeyColumn(of: stream.text) else { continue }
      do {
        try database.inSavepoint {
          try SinkCapture(database, stream, machineColumn: machine)?.make()
          return .commit
        }
      } catch let error as DatabaseError where error.isOfOneSink {
        continue
      }
    }
  }

  /// A person who inserts a row names no bookkeeping column, so that these have defaults. Tables from before get them, once.
  private func giveDefaults(_ schema: StreamSchema, _ stream: StreamName) throws {
    var wanted = [SQLName("drover_epoch"): "0", SQLName("drover_version"): "0"]
    if schema.flow.reach == .all { wanted[SQLName(schema.machineColumn)] = "'*'" }
    let present = try Row.fetchAll(database, sql: "PRAGMA main.table_info(\(quoted(stream.text)))")
    let lacking = wanted.filter { name, value in
      present.contains { SQLName($0["name"]) == name && $0["dflt_value"] as String? != value }
    }
    guard !lacking.isEmpty else { return }
    try SinkWidening(database, table: stream.text).run([], tellsLives: false, defaults: lacking)
    store.cache.sinks.forget(stream: stream)
  }
}
