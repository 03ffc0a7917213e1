// Rows that a statement finds or writes by their keys, as something to join with. PostgreSQL may know nothing of a table that has just been filled, and
// then takes an index for all rows of the machine to be as good as one for the row. To the planner the machine is a column here and no value, so that
// only the whole key finds a row.

enum GivenRows {
  /// Keys of a sink's rows, with the machine before them.
  /// - Parameters:
  ///   - arrays: one for each of the columns, as `$2::bigint[]`. `$1` is the machine.
  ///   - columns: their names, and last that of the ordinal where there is one.
  static func sink(_ arrays: String, _ columns: String, hasOrdinal: Bool = false) -> String {
    """
    (SELECT $1::text AS machine, \(columns)
       FROM unnest(\(arrays))\(hasOrdinal ? " WITH ORDINALITY" : "") AS given (\(columns)) OFFSET 0) AS given
    """
  }

  /// Entries about rows in a table of the bookkeeping: `$1` names the machine, `$2` the stream and `$3` the rows.
  static func entries(_ type: String = "text") -> String {
    "(SELECT $1::text AS machine, $2::text AS stream, id FROM unnest($3::\(type)[]) AS given (id) OFFSET 0) AS given"
  }

  /// Whether an entry of a table is one of those.
  static func isEntry(of table: String, _ id: String = "local_id") -> String {
    "\(table).machine_id = given.machine AND \(table).stream = given.stream AND \(table).\(id) = given.id"
  }
}
