// Whether it is the row or the table that is refused. A row that breaks a person's rule is a dead letter; where the table takes no row at all, such as
// with a trigger that always fails, its streams wait. A row that is there already is the witness: it is written once more, and taken back. An
// empty table is asked with rows that are built for it (docs/decisions/0045).

import DroverCore

struct SinkProbe {
  let table: SinkTable
  let connection: Connection

  /// - Parameters:
  ///   - error: why an event was refused; no event of its kind has passed.
  ///   - isDelete: whether it was a delete.
  ///   - machine: whose it was.
  /// - Returns: for whom the table refuses everything; nil where it may be the row.
  func refusesEverything(
    _ error: PostgreSQLError, isDelete: Bool, of machine: MachineID
  ) throws -> SinkBlocked.Reach? {
    // What is compared with other rows says nothing of a second copy.
    guard !["23503", "23505", "23P01"].contains(error.state) else { return nil }
    let found = try connection.query("SELECT 1 FROM \(table.qualified) LIMIT 1", isKept: false).count > 0
    guard found else {
      // One machine's row shall not hold back another's, whose rows may be such as the table takes.
      return try !isDelete && refusesAll(error, of: machine) ? .machine : nil
    }
    let one = "(SELECT ctid FROM \(table.qualified) LIMIT 1)"
    guard !isDelete else {
      return try refuses("DELETE FROM \(table.qualified) WHERE ctid = \(one)", error) ? .table : nil
    }
    let names = table.columns.map(\.identifier) + ["drover_epoch", "drover_version"]
    let copy = """
      INSERT INTO \(table.qualified) (\(([table.machine] + names).joined(separator: ", ")))
      SELECT 'drover probe', \(names.joined(separator: ", ")) FROM \(table.qualified) LIMIT 1
      """
    let isRefused =
      try refuses(copy, error)
      || refuses("UPDATE \(table.qualified) SET drover_version = drover_version WHERE ctid = \(one)", error)
    return isRefused ? .table : nil
  }

  /// Whether an empty table refuses rows of several kinds, and all for the same reason. A rule that some rows meet takes one of them: most rules take NULL.
  private func refusesAll(_ error: PostgreSQLError, of machine: MachineID) throws -> Bool {
    guard error.isSilence || error.state.map({ ["23", "44", "P0"].contains(String($0.prefix(2))) }) ?? false else {
      return false
    }
    let machine = "'\(machine.text)'"
    return try ProbeValues.allCases.allSatisfy { values in
      let columns = table.columns.map { column in
        (column.identifier, table.key.contains(column.name) && values == .null ? "'0'" : values.literal(column.type))
      }
      let list = ([table.machine] + columns.map(\.0) + ["drover_epoch", "drover_version"]).joined(separator: ", ")
      let row = ([machine] + columns.map(\.1) + ["1", "1"]).joined(separator: ", ")
      return try refuses("INSERT INTO \(table.qualified) (\(list)) VALUES (\(row))", error)
    }
  }

  private func refuses(_ statement: String, _ error: PostgreSQLError) throws -> Bool {
    try connection.run("SAVEPOINT drover_probe")
    var isRefused = false
    do {
      let changed = try connection.query(statement, isKept: false).changed
      isRefused = error.isSilence && changed == 0
    } catch let refusal as PostgreSQLError {
      isRefused = refusal.state == error.state
    }
    try connection.run("ROLLBACK TO drover_probe; RELEASE drover_probe")
    return isRefused
  }
}

/// Rows that are as different as can be.
private enum ProbeValues: CaseIterable {
  case null, zero, one, negative

  /// A value as SQL takes it. In quotes each type reads it as its own.
  func literal(_ type: TypeNumber) -> String {
    switch (self, type) {
    case (.null, _): "NULL"
    case (.zero, .text), (.zero, .bytea): "''"
    case (.zero, _): "'0'"
    case (.one, .text), (.one, .bytea): "'one'"
    case (.one, _): "'1'"
    case (.negative, .boolean): "'1'"
    case (.negative, _): "'-1'"
    }
  }
}

extension PostgreSQLError {
  /// The same, where it is not about the event.
  /// - Parameter reach: whose streams have to wait.
  func asFault(_ reach: SinkBlocked.Reach) -> PostgreSQLError {
    PostgreSQLError(operation: operation, subject: subject, cause: cause, state: state, fault: reach)
  }
}
