// Whether it is the row or the table that is refused. A row that breaks somebody's rule is a dead letter; where the table takes no row at all, such as
// with a trigger that always fails, its streams wait. A row that is there already is the witness: it is written once more, and taken back.

import DroverCore

struct SinkProbe {
  let writer: SinkWriter
  let connection: Connection

  /// - Parameters:
  ///   - error: why an event was refused.
  ///   - isDelete: whether it was a delete.
  ///   - count: how many were refused; none has passed.
  func refusesEverything(_ error: PostgreSQLError, isDelete: Bool, of count: Int) throws -> Bool {
    // What is compared with other rows says nothing of a second copy.
    guard !["23503", "23505", "23P01"].contains(error.state) else { return false }
    let found = try connection.query("SELECT 1 FROM \(writer.table.qualified) LIMIT 1", isKept: false).count > 0
    guard found else { return (error.isSilence || error.state?.hasPrefix("P0") == true) && count > 1 }
    let one = "(SELECT ctid FROM \(writer.table.qualified) LIMIT 1)"
    guard !isDelete else { return try refuses("DELETE FROM \(writer.table.qualified) WHERE ctid = \(one)", error) }
    let names = writer.table.columns.map(\.identifier) + ["drover_epoch", "drover_version"]
    let copy = """
      INSERT INTO \(writer.table.qualified) (\(([writer.table.machine] + names).joined(separator: ", ")))
      SELECT 'drover probe', \(names.joined(separator: ", ")) FROM \(writer.table.qualified) LIMIT 1
      """
    return try refuses(copy, error)
      || refuses("UPDATE \(writer.table.qualified) SET drover_version = drover_version WHERE ctid = \(one)", error)
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

extension PostgreSQLError {
  /// The same, where it is not about the event.
  var asFault: PostgreSQLError {
    PostgreSQLError(operation: operation, subject: subject, cause: cause, state: state, isFault: true)
  }
}
