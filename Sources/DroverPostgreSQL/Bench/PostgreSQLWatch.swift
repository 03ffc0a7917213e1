// What `drover bench` needs of PostgreSQL: a look at the sink tables from outside, and how fast a bare loop writes rows.

package import DroverCore

/// Looks into the consumer's database as another program does.
package final class PostgreSQLWatch {
  private let connection: Connection

  package init(_ address: PostgreSQLAddress) throws { connection = try Connection(address) }

  package func hasRows(_ table: String) throws -> Bool {
    guard try isThere(table) else { return false }
    return try connection.query("SELECT EXISTS (SELECT 1 FROM \(quoted(table)))").boolean(0, 0)
  }

  package func ids(in table: String, of machine: MachineID, after id: Int64) throws -> [Int64] {
    guard try isThere(table) else { return [] }
    let rows = try connection.query(
      "SELECT id FROM \(quoted(table)) WHERE machine_id = $1 AND id > $2 ORDER BY id LIMIT 1000",
      [.text(machine.text), .integer(id)])
    return (0..<rows.count).map { rows.integer($0, 0) }
  }

  private var found: Set<String> = []

  private func isThere(_ table: String) throws -> Bool {
    if found.contains(table) { return true }
    let isThere = try connection.query("SELECT to_regclass($1) IS NOT NULL", [.text(quoted(table))]).boolean(0, 0)
    if isThere { found.insert(table) }
    return isThere
  }
}

/// Edits the consumer's database as any SQL client.
package final class PostgreSQLEditor {
  private let connection: Connection

  package init(_ address: PostgreSQLAddress) throws { connection = try Connection(address) }

  package func run(_ sql: String) throws { try connection.run(sql) }
}

/// COPY into a temporary table and INSERT … ON CONFLICT from there, 1,000 rows a transaction, without waiting for the disk: what
/// a loop that knows its table takes.
package struct PostgreSQLYardstick {
  private static let rowsOfTransaction = 1000

  private let connection: Connection
  private let columns: [SinkColumn]
  private var fields = FieldList(.text)
  private var count = 0

  /// - Parameter columns: of the rows, the key first.
  package init(_ address: PostgreSQLAddress, columns: [Column]) throws {
    connection = try Connection(address)
    self.columns = columns.map {
      SinkColumn(
        name: SQLName($0.name), identifier: quoted($0.name), affinity: $0.affinity, type: SinkColumn.type(of: $0))
    }
    let definitions = self.columns.map { "\($0.identifier) \(SinkColumn.definition($0.type))" }.joined(separator: ", ")
    try connection.run(
      """
      SET synchronous_commit = off;
      CREATE TABLE drover_yardstick (\(definitions), PRIMARY KEY (\(self.columns[0].identifier)));
      CREATE TEMPORARY TABLE drover_stage (\(definitions)) ON COMMIT DELETE ROWS;
      """)
  }

  package mutating func upsert(_ row: [Value]) throws {
    fields.beginRow(of: columns.count)
    for (column, value) in zip(columns, row) { column.append(value, to: &fields) }
    count += 1
    if count == Self.rowsOfTransaction { try flush() }
  }

  /// Writes the rest and removes the table.
  package mutating func end() throws {
    try flush()
    try connection.run("DROP TABLE drover_yardstick, drover_stage")
  }

  private mutating func flush() throws {
    try connection.run("BEGIN")
    try connection.copy("COPY drover_stage FROM STDIN (FORMAT binary)", fields.copyData)
    let changes = columns.dropFirst().map { "\($0.identifier) = excluded.\($0.identifier)" }.joined(separator: ", ")
    try connection.run(
      """
      INSERT INTO drover_yardstick SELECT * FROM drover_stage
      ON CONFLICT (\(columns[0].identifier)) DO UPDATE SET \(changes)
      """)
    try connection.run("COMMIT")
    fields = FieldList(.text)
    count = 0
  }
}
