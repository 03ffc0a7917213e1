// Who uses a sink table, and which columns one machine alone has brought: what a description may change of it depends on that.

import DroverCore
import GRDB

struct SharedTables {
  let database: Database

  static let migration = """
    -- Columns of sink tables that one machine alone has brought; gone from here when another has brought them too. Names in lower case.
    CREATE TABLE drover_column_alone (
      stream     TEXT NOT NULL,
      name       TEXT NOT NULL,
      machine_id TEXT NOT NULL,
      PRIMARY KEY (stream, name)
    ) WITHOUT ROWID;

    -- The machines whose rows of a stream are matched by natural key, because they declare it; '*' where those of all are.
    CREATE TABLE drover_identity_member (
      -- In lower case.
      stream     TEXT NOT NULL,
      machine_id TEXT NOT NULL,
      PRIMARY KEY (stream, machine_id)
    ) WITHOUT ROWID;
    -- What is in force counts as accepted.
    INSERT INTO drover_identity_member SELECT DISTINCT stream, '*' FROM drover_identity;
    INSERT OR IGNORE INTO drover_identity_member
      SELECT lower(declared.stream), declared.machine_id FROM drover_schema_column AS declared
       WHERE identity_position = 0 AND lower(stream) IN (SELECT stream FROM drover_identity)
         AND schema_id = (SELECT schema_id FROM drover_schema
                           WHERE machine_id = declared.machine_id AND stream = declared.stream ORDER BY described DESC LIMIT 1);

    CREATE INDEX drover_schema_users ON drover_schema (lower(stream), machine_id);
    CREATE INDEX drover_schema_line_users ON drover_schema_line (lower(table_name), machine_id);

    -- Whether bare events alone have made the table.
    ALTER TABLE drover_sink ADD COLUMN is_loose INTEGER NOT NULL DEFAULT 0 CHECK (is_loose IN (0, 1));

    ALTER TABLE drover_schema_waiting ADD COLUMN complete_when TEXT;
    CREATE TABLE drover_schema_waiting_line (
      machine_id    TEXT NOT NULL,
      stream        TEXT NOT NULL,
      number        INTEGER NOT NULL,
      table_name    TEXT NOT NULL,
      position      INTEGER NOT NULL,
      name          TEXT NOT NULL,
      declared_type TEXT NOT NULL,
      key_position  INTEGER,
      header_part   INTEGER,
      PRIMARY KEY (machine_id, stream, number, position)
    ) WITHOUT ROWID;
    """

  /// Versions of rows that are held count from now on as at most a day later than they came.
  static func rankHeldRows(_ database: Database, now: Int64) throws {
    let tables = try String.fetchAll(
      database,
      sql: """
        SELECT name FROM sqlite_master WHERE type = 'table' AND lower(name) IN
          (SELECT 'drover_held_' || stream FROM drover_identity)
        """)
    for table in tables {
      try database.execute(
        sql: """
          ALTER TABLE \(quoted(table)) ADD COLUMN drover_rank INTEGER;
          UPDATE \(quoted(table)) SET drover_rank = min(drover_version, \(VersionBound.highest(now: now)));
          """)
    }
  }

  private func name(_ stream: StreamName) -> String { SQLName(stream.text).text }

  /// Whether another machine has described the table, as its stream or as its lines.
  func isUsed(_ stream: StreamName, besides machine: MachineID) throws -> Bool {
    try Bool.fetchOne(
      database,
      sql: """
        SELECT EXISTS (SELECT 1 FROM drover_schema WHERE lower(stream) = ?1 AND machine_id <> ?2)
            OR EXISTS (SELECT 1 FROM drover_schema_line WHERE lower(table_name) = ?1 AND machine_id <> ?2)
        """, arguments: [name(stream), machine.text])!
  }

  func table(_ stream: StreamName, for machine: MachineID) throws -> SharedTable {
    var table = SharedTable()
    let rows = try Row.fetchAll(
      database,
      sql: "SELECT machine_id, count(*) AS columns FROM drover_column_alone WHERE stream = ? GROUP BY machine_id",
      arguments: [name(stream)])
    for row in rows {
      if row["machine_id"] == machine.text { table.own = row["columns"] } else { table.others.append(row["columns"]) }
    }
    return table
  }

  /// A machine has sent new columns.
  func note(_ columns: [DroverCore.Column], of stream: StreamName, broughtBy machine: MachineID) throws {
    for column in columns where SQLName(column.name) != SQLName(StreamSchema.lifeColumn) {
      try database.execute(
        sql: "INSERT OR IGNORE INTO drover_column_alone (stream, name, machine_id) VALUES (?, ?, ?)",
        arguments: [name(stream), SQLName(column.name).text, machine.text])
    }
  }

  /// A machine has columns that are there: they are no longer another's alone.
  func share(_ columns: [DroverCore.Column], of stream: StreamName, with machine: MachineID) throws {
    let alone = try String.fetchAll(
      database, sql: "SELECT name FROM drover_column_alone WHERE stream = ? AND machine_id <> ?",
      arguments: [name(stream), machine.text])
    guard !alone.isEmpty else { return }
    let present = Set(columns.map { SQLName($0.name) })
    for column in alone where present.contains(SQLName(column)) {
      try database.execute(
        sql: "DELETE FROM drover_column_alone WHERE stream = ? AND name = ?", arguments: [name(stream), column])
    }
  }

  func forget(_ stream: StreamName) throws {
    try database.execute(sql: "DELETE FROM drover_column_alone WHERE stream = ?", arguments: [name(stream)])
  }
}
