// Who uses a sink table, and which columns one machine alone has brought: what a description may change of it depends on that.

import DroverCore

struct SharedTables {
  let connection: Connection

  static let migration = """
    -- Columns of sink tables that one machine alone has brought; gone from here when another has brought them too.
    CREATE TABLE drover_column_alone (
      sink       TEXT COLLATE "C" NOT NULL REFERENCES drover_sink ON DELETE CASCADE,
      -- In lower case.
      name       TEXT COLLATE "C" NOT NULL,
      machine_id TEXT COLLATE "C" NOT NULL,
      PRIMARY KEY (sink, name)
    );

    -- The machines whose rows of a stream are matched by natural key, because they declare it; '*' where those of all are.
    CREATE TABLE drover_identity_member (
      -- In lower case.
      stream     TEXT COLLATE "C" NOT NULL,
      machine_id TEXT COLLATE "C" NOT NULL,
      PRIMARY KEY (stream, machine_id)
    );
    -- What is in force counts as accepted.
    INSERT INTO drover_identity_member SELECT DISTINCT stream, '*' FROM drover_identity;
    INSERT INTO drover_identity_member
      SELECT DISTINCT lower(declared.stream), declared.machine_id FROM drover_schema_column AS declared
       WHERE identity_position = 0 AND lower(stream) IN (SELECT stream FROM drover_identity)
         AND schema_id = (SELECT schema_id FROM drover_schema
                           WHERE machine_id = declared.machine_id AND stream = declared.stream ORDER BY described DESC LIMIT 1);

    CREATE INDEX drover_schema_users ON drover_schema (lower(stream), machine_id);
    CREATE INDEX drover_schema_line_users ON drover_schema_line (lower(table_name COLLATE "C"), machine_id);

    -- Whether bare events alone have made the table.
    ALTER TABLE drover_sink ADD COLUMN is_loose BOOLEAN NOT NULL DEFAULT false;

    ALTER TABLE drover_schema_waiting ADD COLUMN complete_when TEXT;
    CREATE TABLE drover_schema_waiting_line (
      machine_id    TEXT COLLATE "C" NOT NULL,
      stream        TEXT COLLATE "C" NOT NULL,
      number        BIGINT NOT NULL,
      table_name    TEXT NOT NULL,
      position      BIGINT NOT NULL,
      name          TEXT NOT NULL,
      declared_type TEXT NOT NULL,
      key_position  BIGINT,
      header_part   BIGINT,
      PRIMARY KEY (machine_id, stream, number, position)
    );

    -- Versions of rows that are held count from now on as at most a day later than they came.
    DO $$
    DECLARE held record;
    BEGIN
      FOR held IN
        SELECT present.oid::regclass::text AS name FROM pg_class AS present
          JOIN pg_attribute AS thing ON thing.attrelid = present.oid AND thing.attname = 'drover_thing' AND NOT thing.attisdropped
         WHERE present.relkind = 'r' AND present.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
      LOOP
        EXECUTE format('ALTER TABLE %s ADD COLUMN drover_rank bigint', held.name);
        EXECUTE format('UPDATE %s SET drover_rank = least(drover_version, %s)', held.name,
                       (extract(epoch FROM now()) * 1000000)::bigint + 86400000000);
      END LOOP;
    END $$;
    """

  private func name(_ stream: StreamName) -> Parameter { .text(SQLName(stream.text).text) }

  /// Whether another machine has described the table, as its stream or as its lines.
  func isUsed(_ stream: StreamName, besides machine: MachineID) throws -> Bool {
    try connection.query(
      """
      SELECT EXISTS (SELECT 1 FROM drover_schema WHERE lower(stream) = $1::text COLLATE "C" AND machine_id <> $2)
          OR EXISTS (SELECT 1 FROM drover_schema_line
                      WHERE lower(table_name COLLATE "C") = $1::text COLLATE "C" AND machine_id <> $2)
      """, [name(stream), .text(machine.text)]
    ).boolean(0, 0)
  }

  func table(_ stream: StreamName, for machine: MachineID) throws -> SharedTable {
    var table = SharedTable()
    let rows = try connection.query(
      "SELECT machine_id, count(*) FROM drover_column_alone WHERE sink = $1 GROUP BY machine_id", [name(stream)])
    for row in 0..<rows.count {
      let columns = Int(rows.integer(row, 1))
      if rows.text(row, 0) == machine.text { table.own = columns } else { table.others.append(columns) }
    }
    return table
  }

  /// A machine has sent new columns.
  func note(_ columns: [Column], of stream: StreamName, broughtBy machine: MachineID) throws {
    for column in columns where SQLName(column.name) != SQLName(StreamSchema.lifeColumn) {
      try connection.query(
        "INSERT INTO drover_column_alone (sink, name, machine_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        [name(stream), .text(SQLName(column.name).text), .text(machine.text)])
    }
  }

  /// A machine has columns that are there: they are no longer another's alone.
  func share(_ columns: [Column], of stream: StreamName, with machine: MachineID) throws {
    let alone = try connection.query(
      "SELECT name FROM drover_column_alone WHERE sink = $1 AND machine_id <> $2",
      [name(stream), .text(machine.text)])
    let present = Set(columns.map { SQLName($0.name) })
    for row in 0..<alone.count where present.contains(SQLName(alone.text(row, 0))) {
      try connection.query(
        "DELETE FROM drover_column_alone WHERE sink = $1 AND name = $2", [name(stream), .text(alone.text(row, 0))])
    }
  }
}
