// A machine is taken out of the store: `drover forget`.

import DroverCore

package enum ForgottenMachines {
  /// What is kept of a machine and goes with it.
  package static let bookkeeping = [
    "drover_machine", "drover_received", "drover_run", "drover_schema", "drover_schema_column", "drover_schema_line",
    "drover_schema_waiting", "drover_schema_waiting_column", "drover_schema_waiting_line", "drover_tombstone",
    "drover_progress", "drover_check", "drover_gap", "drover_over_budget", "drover_trouble", "drover_column_alone",
    "drover_blocked", "drover_stream_wait", "drover_refill", "drover_flow", "drover_row", "drover_edit", "drover_down",
    "drover_down_received", "drover_conflict", "drover_since", "drover_base",
    "drover_refused", "drover_refused_row",
    "drover_down_run",
  ]
  /// What goes with its rows: the order of its epochs, by which a later row wins, and whether its rows are matched.
  package static let ofRows = ["drover_epoch", "drover_identity_member"]
}

extension Transaction {
  func forgetMachine(_ machine: MachineID, removesRows: Bool) throws -> Int {
    // Consumers at work have to be done with the machine, and then to know of it.
    try haveToOneself()
    let rows = removesRows ? try removeRows(of: machine) : 0
    try endFlows(of: machine)
    for table in ForgottenMachines.bookkeeping + (removesRows ? ForgottenMachines.ofRows : []) {
      try connection.query("DELETE FROM \(table) WHERE machine_id = $1", [.text(machine.text)])
    }
    try reshaped()
    return rows
  }

  private func removeRows(of machine: MachineID) throws -> Int {
    let sinks = try connection.query(
      "SELECT stream, is_loose FROM drover_sink WHERE to_regclass($1 || quote_ident(table_name)) IS NOT NULL ORDER BY name",
      [.text("\(store.place).")])
    var count = 0
    for row in 0..<sinks.count {
      let stream = try StreamName(sinks.text(row, 0))
      guard let table = try table(of: stream) else { continue }
      guard try naturalKey(of: stream) == nil else {
        count += try MatchedSink(self, stream).removeRows(of: machine)
        continue
      }
      try markWriter(of: table)
      let rows = "DELETE FROM \(table.qualified) AS sink WHERE sink.\(table.machine) = $1"
      try feed.open(table.feed)
      let removed = try connection.patiently {
        guard let feed = table.feed else { return try connection.query(rows, [.text(machine.text)]).changed }
        return try connection.query(
          feed.burying(rows, alias: "sink", key: table.wholeKey, version: "sink.drover_version", now: "$2"),
          [.text(machine.text), .integer(store.now())]
        ).changed
      }
      feed.count(table.feed, deletes: removed)
      count += removed
      if sinks.boolean(row, 1) { try dropLoose(stream, table) }
    }
    return count
  }

  /// A table that bare events alone have made goes with the last of them.
  private func dropLoose(_ stream: StreamName, _ table: SinkTable) throws {
    guard try !connection.query("SELECT EXISTS (SELECT 1 FROM \(table.qualified))").boolean(0, 0) else { return }
    try feed.forgetReaders(of: table.feed)
    try table.feed?.drop(connection)
    try connection.run("DROP TABLE \(table.qualified)")
    let name = SQLName(stream.text).text
    try connection.query("DELETE FROM drover_sink_column WHERE sink = $1", [.text(name)])
    try connection.query("DELETE FROM drover_sink WHERE name = $1", [.text(name)])
  }

  func withdrawStatus(machine: MachineID) throws {
    try connection.query(
      """
      UPDATE drover_machine
         SET online = NULL, waiting = NULL, oldest = NULL, edge_letters = NULL, free_bytes = NULL, told_at = NULL
       WHERE machine_id = $1
      """, [.text(machine.text)])
  }
}
