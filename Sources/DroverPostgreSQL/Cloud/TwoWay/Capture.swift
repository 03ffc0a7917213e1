// What a sink table has of triggers while rows go down from it: they refuse what Drover cannot carry, and note the keys of rows that any SQL client has
// edited. They are not called for what the consumer writes, which says so by a setting of its transaction. The functions run as the
// store's owner, so that an editor needs no right on Drover's tables; they find those by their full names alone.

import DroverCore

struct Capture {
  private let transaction: Transaction
  private let table: SinkTable
  /// In lower case.
  private let stream: String
  private var connection: Connection { transaction.connection }
  private var place: String { transaction.store.place }

  init(_ transaction: Transaction, _ table: SinkTable, stream: String) {
    self.transaction = transaction
    self.table = table
    self.stream = stream
  }

  private static let triggers = ["drover_capture", "drover_guard", "drover_keep"]

  private static func function(_ part: String, of table: String) -> String {
    quoted(Names.relation("drover_\(part)_\(table)"))
  }

  private func function(_ part: String) -> String { "\(place).\(Self.function(part, of: table.name))" }

  // MARK: Making

  /// Makes what is not there or not as it has to be.
  func settle() throws {
    let wanted = ["capture": try captureText(), "guard": try guardText()]
    guard try !isSettled(wanted) else { return }
    try transaction.lock(Locks.name("sink", stream))
    for (part, text) in wanted.sorted(by: { $0.key < $1.key }) {
      try connection.run(
        """
        CREATE OR REPLACE FUNCTION \(function(part))() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
          SET search_path = \(place), pg_temp SET extra_float_digits = 1
          AS \(Self.literal(text));
        REVOKE EXECUTE ON FUNCTION \(function(part))() FROM PUBLIC
        """)
    }
    let isForClients = "WHEN (current_setting('drover.writer', true) IS DISTINCT FROM 'on')"
    let isShared = try connection.query(
      "SELECT EXISTS (SELECT 1 FROM drover_flow WHERE stream = $1 AND machine_id = '*')", [.text(stream)]
    ).boolean(0, 0)
    try connection.run(
      """
      DROP TRIGGER IF EXISTS drover_guard ON \(table.qualified);
      DROP TRIGGER IF EXISTS drover_capture ON \(table.qualified);
      DROP TRIGGER IF EXISTS drover_keep ON \(table.qualified);
      CREATE TRIGGER drover_guard BEFORE INSERT OR UPDATE OR DELETE ON \(table.qualified)
        FOR EACH ROW \(isForClients) EXECUTE FUNCTION \(function("guard"))();
      CREATE TRIGGER drover_capture AFTER INSERT OR UPDATE OR DELETE ON \(table.qualified)
        FOR EACH ROW \(isForClients) EXECUTE FUNCTION \(function("capture"))();
      CREATE TRIGGER drover_keep BEFORE TRUNCATE ON \(table.qualified)
        FOR EACH STATEMENT EXECUTE FUNCTION \(function("guard"))();
      ALTER TABLE \(table.qualified) ALTER COLUMN drover_epoch SET DEFAULT 0, ALTER COLUMN drover_version SET DEFAULT 0,
        ALTER COLUMN \(table.machine) \(isShared ? "SET DEFAULT '*'" : "DROP DEFAULT")
      """)
    // What the statements that are prepared know of the table's defaults is old.
    try connection.forgetStatements()
  }

  private func isSettled(_ wanted: [String: String]) throws -> Bool {
    let found = try connection.query(
      """
      SELECT proname::text, prosrc FROM pg_proc WHERE pronamespace = $1::text::regnamespace AND proname = ANY ($2::text[]::name[])
      """,
      [.text(place), .texts(wanted.keys.map { Names.relation("drover_\($0)_\(table.name)") })])
    guard found.count == wanted.count else { return false }
    for row in 0..<found.count {
      guard
        wanted.contains(where: {
          Names.relation("drover_\($0.key)_\(table.name)") == found.text(row, 0) && $0.value == found.text(row, 1)
        })
      else { return false }
    }
    return try connection.query(
      """
      SELECT count(*) FROM pg_trigger
       WHERE tgrelid = $1::text::regclass AND tgname = ANY ($2::text[]::name[]) AND tgenabled IN ('O', 'A')
      """, [.text(table.qualified), .texts(Self.triggers)]
    ).integer(0, 0) == Int64(Self.triggers.count)
  }

  /// What is wrong with the triggers of the tables from which rows go down.
  static func faults(in place: String, _ connection: Connection) throws -> [CaptureFault] {
    let expected = triggers.map { "('\($0)')" }.joined(separator: ", ")
    let rows = try connection.query(
      """
      SELECT sink.table_name, expected.name, present.oid IS NULL, class.oid::regclass::text
        FROM drover_sink AS sink
        JOIN pg_class AS class ON class.relnamespace = $1::text::regnamespace AND class.relname = sink.table_name AND class.relkind IN ('r', 'p')
        CROSS JOIN (VALUES \(expected)) AS expected (name)
        LEFT JOIN pg_trigger AS present ON present.tgrelid = class.oid AND present.tgname = expected.name
       WHERE EXISTS (SELECT 1 FROM drover_flow WHERE stream = sink.name)
         AND (present.oid IS NULL OR present.tgenabled NOT IN ('O', 'A'))
       ORDER BY 1, 2
      """, [.text(place)])
    var faults = (0..<rows.count).map { row in
      let (trigger, isGone) = (rows.text(row, 1), rows.boolean(row, 2))
      return CaptureFault(
        table: rows.text(row, 0), cause: "its trigger \(trigger) \(isGone ? "was dropped" : "is disabled")",
        advice: isGone
          ? CaptureFault.restart
          : "ALTER TABLE \(rows.text(row, 3)) ENABLE TRIGGER \(trigger); then `drover check` finds edits that were missed",
        isMended: isGone)
    }
    // A session of that role fires no triggers at all.
    let roles = try connection.query(
      """
      SELECT coalesce(rolname::text, ''), coalesce(datname::text, '') FROM pg_db_role_setting
        LEFT JOIN pg_roles ON pg_roles.oid = setrole LEFT JOIN pg_database ON pg_database.oid = setdatabase
       WHERE 'session_replication_role=replica' = ANY (setconfig) AND (setdatabase = 0 OR datname = current_database())
         AND EXISTS (SELECT 1 FROM drover_flow)
       ORDER BY 1, 2
      """)
    for row in 0..<roles.count {
      let (role, database) = (roles.text(row, 0), roles.text(row, 1))
      let owner = role.isEmpty ? "DATABASE \(quoted(database))" : "ROLE \(quoted(role))"
      let part = role.isEmpty || database.isEmpty ? "" : " IN DATABASE \(quoted(database))"
      faults.append(
        CaptureFault(
          table: "two-way tables",
          cause:
            "\(role.isEmpty ? "database \(database)" : "role \(role)") has session_replication_role = replica, so its sessions fire no triggers",
          advice:
            "ALTER \(owner)\(part) RESET session_replication_role; then `drover check` finds edits that were missed",
          isMended: false))
    }
    return faults
  }

  /// Edits of a table are not captured any more.
  static func end(_ stream: String, table: SinkTable, _ connection: Connection) throws {
    let place = table.qualified.dropLast(quoted(table.name).count + 1)
    try connection.run(
      ["capture", "guard"].map { "DROP FUNCTION IF EXISTS \(place).\(function($0, of: table.name))() CASCADE" }
        .joined(separator: "; "))
    try connection.query("DELETE FROM drover_edit WHERE stream = $1", [.text(stream)])
  }

  // MARK: The functions

  private static func literal(_ text: String) -> String { "'\(text.replacing("'", with: "''"))'" }

  private var keyColumns: [SinkColumn] { table.key.compactMap(table.column) }

  /// The columns and their types stand in it, so that a change of these makes the function another one: a session that has called it before
  /// would hold it to the types that it has seen.
  private var remark: String {
    "-- " + table.columns.map { "\($0.name.text) \($0.type.name)" }.joined(separator: ", ").filter { !$0.isNewline }
  }

  private func key(_ row: String) -> String {
    "pg_catalog.jsonb_build_array(\(keyColumns.map { "\(row).\($0.identifier)" }.joined(separator: ", ")))"
  }

  private func differs(_ columns: [SinkColumn]) -> String {
    columns.map { column in
      let cast = column.type == .json ? "::text" : ""
      return "NEW.\(column.identifier)\(cast) IS DISTINCT FROM OLD.\(column.identifier)\(cast)"
    }.joined(separator: " OR ")
  }

  private func captureText() throws -> String {
    let mergesColumns = try connection.query(
      "SELECT EXISTS (SELECT 1 FROM drover_flow WHERE stream = $1 AND merge_unit = $2)",
      [.text(stream), .text(MergeUnit.columns.rawValue)]
    ).boolean(0, 0)
    let edit =
      "INSERT INTO \(place).drover_edit (stream, machine_id, key, epoch, version\(mergesColumns ? ", before" : ""))"
    let (old, none) = mergesColumns ? (", pg_catalog.to_jsonb(OLD)", ", NULL") : ("", "")
    let name = Self.literal(stream)
    return """

      \(remark)
      BEGIN
        IF TG_OP = 'UPDATE' THEN
          IF NOT (\(differs(table.columns))) THEN RETURN NULL; END IF;
        END IF;
        IF TG_OP <> 'INSERT' THEN
          \(edit) VALUES (\(name), OLD.\(table.machine), \(key("OLD")), OLD.drover_epoch, OLD.drover_version\(old));
        END IF;
        IF TG_OP = 'INSERT' THEN
          \(edit) VALUES (\(name), NEW.\(table.machine), \(key("NEW")), NULL, NULL\(none));
        ELSIF TG_OP = 'UPDATE' THEN
          IF \(differs(keyColumns)) THEN
            \(edit) VALUES (\(name), NEW.\(table.machine), \(key("NEW")), NULL, NULL\(none));
          END IF;
        END IF;
        PERFORM pg_catalog.pg_notify('drover_edit', '');
        RETURN NULL;
      END
      """
  }

  private func guardText() throws -> String {
    let complete = try conditions()
    let isComplete =
      complete.isEmpty
      ? ""
      : """
        IF TG_OP <> 'INSERT' THEN
          IF (CASE known.complete_when \(complete.joined(separator: " ")) ELSE false END) THEN
            RAISE EXCEPTION 'drover: this row is complete and does not change any more (complete_when: %)', known.complete_when;
          END IF;
        END IF;
      """
    return """

      \(remark)
      DECLARE
        known record;
        machine text;
      BEGIN
        IF TG_OP = 'TRUNCATE' THEN
          RAISE EXCEPTION 'drover: TRUNCATE would not reach the machines; use DELETE';
        END IF;
        IF TG_OP = 'UPDATE' THEN
          IF NEW.\(table.machine) IS DISTINCT FROM OLD.\(table.machine) THEN
            RAISE EXCEPTION 'drover: whose row it is does not change; delete the row, and insert it for the other machine';
          END IF;
          IF NEW.drover_epoch IS DISTINCT FROM OLD.drover_epoch OR NEW.drover_version IS DISTINCT FROM OLD.drover_version THEN
            RAISE EXCEPTION 'drover: drover_epoch and drover_version belong to Drover; leave them as they are';
          END IF;
          IF NOT (\(differs(table.columns))) THEN RETURN NEW; END IF;
        ELSIF TG_OP = 'INSERT' THEN
          IF NEW.drover_epoch IS DISTINCT FROM 0 OR NEW.drover_version IS DISTINCT FROM 0 THEN
            RAISE EXCEPTION 'drover: drover_epoch and drover_version belong to Drover; leave them out';
          END IF;
        END IF;
        IF TG_OP = 'INSERT' THEN machine := NEW.\(table.machine); ELSE machine := OLD.\(table.machine); END IF;
        SELECT flow.direction, flow.complete_when INTO known FROM \(place).drover_flow AS flow
         WHERE flow.stream = \(Self.literal(stream)) AND flow.machine_id = machine;
        IF NOT FOUND THEN
          RAISE EXCEPTION 'drover: rows of machine % do not go down from this table: the machine is not known, or its stream only goes up, or its rows are for all machines (machine_id ''*'')', coalesce(machine, 'NULL');
        END IF;
      \(isComplete)
        IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
        IF TG_OP = 'UPDATE' THEN
          IF \(differs(keyColumns)) THEN
            -- Under another key it is another row, which no machine has edited.
            NEW.drover_epoch := 0;
            NEW.drover_version := 0;
          END IF;
        END IF;
        RETURN NEW;
      END
      """
  }

  /// For each condition that machines declare, whether it holds of the row that was there: branches of a CASE.
  private func conditions() throws -> [String] {
    let rows = try connection.query(
      "SELECT DISTINCT complete_when FROM drover_flow WHERE stream = $1 AND complete_when IS NOT NULL ORDER BY 1",
      [.text(stream)])
    return (0..<rows.count).compactMap { row in
      let text = rows.text(row, 0)
      guard let condition = try? Condition(parsing: text.unescaped) else { return nil }
      let holds = ConditionSQL { name in table.column(SQLName(name)).map { ($0, "OLD.\($0.identifier)") } }
      return "WHEN \(Self.literal(text)) THEN coalesce(\(holds.text(of: condition)), false)"
    }
  }
}
