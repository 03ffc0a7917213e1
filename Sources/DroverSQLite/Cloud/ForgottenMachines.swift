// A machine is taken out of the store: `drover forget`.

import DroverCore
import GRDB

package enum ForgottenMachines {
  /// What is kept of a machine and goes with it.
  package static let bookkeeping =
    [
      "drover_machine", "drover_received", "drover_run", "drover_schema", "drover_schema_column", "drover_schema_line",
      "drover_schema_waiting", "drover_schema_waiting_column", "drover_schema_waiting_line", "drover_tombstone",
      "drover_progress", "drover_check", "drover_gap", "drover_over_budget", "drover_trouble", "drover_column_alone",
      "drover_blocked", "drover_stream_wait", "drover_refill",
    ] + CloudTwoWay.ofMachines
  /// What goes with its rows: the order of its epochs, by which a later row wins, and whether its rows are matched.
  package static let ofRows = ["drover_epoch", "drover_identity_member"]
}

extension Transaction {
  func forgetMachine(_ machine: MachineID, removesRows: Bool) throws -> Int {
    let flows = try String.fetchAll(
      database, sql: "SELECT stream FROM drover_flow WHERE machine_id = ?", arguments: [machine.text])
    if !flows.isEmpty { try beginWriting() }
    let rows = removesRows ? try removeRows(of: machine) : 0
    for stream in flows { try endFlow(machine: machine, stream: StreamName(stream)) }
    for table in ForgottenMachines.bookkeeping + (removesRows ? ForgottenMachines.ofRows : []) {
      try database.execute(sql: "DELETE FROM \(table) WHERE machine_id = ?", arguments: [machine.text])
    }
    store.forgetAll()
    return rows
  }

  private func removeRows(of machine: MachineID) throws -> Int {
    var count = 0
    for row in try Row.fetchAll(database, sql: "SELECT stream, is_loose FROM drover_sink ORDER BY stream") {
      let stream = try StreamName(row["stream"])
      // A person may have dropped it.
      guard let column = try database.firstKeyColumn(of: stream.text).map(quoted) else { continue }
      let feed = store.feed.table(of: stream)
      let matched = MatchedSink(database: database, stream: stream)
      if try matched.key() != nil {
        count += try matched.removeRows(of: machine, feed: feed)
        continue
      }
      let rows = "FROM \(quoted(stream.text)) WHERE \(column) = \(literal(machine.text))"
      if let feed {
        let key = try SinkColumns(database, table: stream.text).key
        try database.execute(sql: feed.burying(rows, key: key, version: "drover_version"))
        feed.counts.deletes += Int64(database.changesCount)
      }
      try database.execute(sql: "DELETE \(rows)")
      count += database.changesCount
      if row["is_loose"] { try dropLoose(stream) }
    }
    return count
  }

  /// A table that bare events alone have made goes with the last of them.
  private func dropLoose(_ stream: StreamName) throws {
    guard try Row.fetchOne(database, sql: "SELECT 1 FROM \(quoted(stream.text)) LIMIT 1") == nil else { return }
    try store.feed.end(table: stream, database)
    try database.execute(sql: "DROP TABLE main.\(quoted(stream.text))")
    try database.execute(sql: "DELETE FROM drover_sink WHERE stream = ?", arguments: [stream.text])
  }

  func withdrawStatus(machine: MachineID) throws {
    try database.execute(
      sql: """
        UPDATE drover_machine
           SET online = NULL, waiting = NULL, oldest = NULL, edge_letters = NULL, free_bytes = NULL, told_at = NULL
         WHERE machine_id = ?
        """, arguments: [machine.text])
  }
}
