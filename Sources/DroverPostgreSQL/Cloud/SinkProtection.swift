// Refuses what any client but Drover would write into the sink tables of streams that only go up, where the operator says so (`protect`). A column that a
// person has added stays that person's. One trigger for each statement, so that it costs nothing by the row; Drover's own connections say who they are.
// docs/decisions/0055-who-may-edit-what-only-goes-up.md has the reasons and the cost.

import DroverCore

struct SinkProtection {
  let connection: Connection
  let place: String
  let pins: StreamPins

  static let trigger = "drover_protect"
  /// What each of Drover's connections sets.
  static let mark = "set_config('drover.keeper', 'on', false)"

  private static let body = """

    BEGIN
      RAISE EXCEPTION '%', TG_ARGV[0];
    END
    """

  /// Makes and drops triggers until they are what the configuration says.
  /// - Returns: false where a table was locked: it is left for another time.
  func settle() throws -> Bool {
    let own = [
      "'machine_id'", "'drover_machine_id'", "'drover_epoch'", "'drover_version'", "'\(TableShape.schemaColumn)'",
      "'\(TableShape.changeColumn)'", "'\(StreamSchema.lifeColumn)'", "'\(StreamSchema.rowidColumn)'",
    ].joined(separator: ", ")
    let columns = """
      SELECT attname, attnum FROM pg_attribute
       WHERE attrelid = class.oid AND attnum > 0 AND NOT attisdropped
         AND (attname IN (\(own))
              OR EXISTS (SELECT 1 FROM drover_sink_column AS own WHERE own.sink = sink.name AND own.column_name = attname::text))
      """
    let sinks = try connection.query(
      """
      SELECT sink.stream, sink.header, class.relname::text,
             (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM (\(columns)) AS wanted),
             (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
               WHERE attrelid = class.oid AND attnum = ANY (present.tgattr)),
             present.oid IS NOT NULL AND present.tgenabled = 'O', EXISTS (SELECT 1 FROM drover_flow WHERE stream = sink.name)
        FROM drover_sink AS sink
        JOIN pg_class AS class ON class.relnamespace = $1::text::regnamespace AND class.relname = sink.table_name AND class.relkind IN ('r', 'p')
        LEFT JOIN pg_trigger AS present ON present.tgrelid = class.oid AND present.tgname = '\(Self.trigger)'
       ORDER BY sink.name
      """, [.text(place)])
    var isDone = true
    for row in 0..<sinks.count {
      guard let stream = try? StreamName(sinks.text(row, 0)) else { continue }
      let header = sinks.optionalText(row, 1).flatMap { try? StreamName($0) }
      let isWanted = pins.protects(stream, header: header) && !sinks.boolean(row, 6)
      let isThere = sinks.boolean(row, 5)
      guard isWanted != isThere || isWanted && sinks.optionalText(row, 3) != sinks.optionalText(row, 4) else {
        continue
      }
      let table = "\(place).\(quoted(sinks.text(row, 2)))"
      let make = isWanted ? creation(table, stream, columns: sinks.text(row, 3)) : ""
      let made = try connection.trying {
        try connection.run("DROP TRIGGER IF EXISTS \(Self.trigger) ON \(table)\(make)")
        return true
      }
      if made == nil { isDone = false }
    }
    return try dropStrays() && isDone
  }

  private func creation(_ table: String, _ stream: StreamName, columns: String) -> String {
    let sentence = StreamPins.protection(of: stream.text).replacing("'", with: "''")
    return """
      ;
      CREATE OR REPLACE FUNCTION \(place).\(Self.trigger)() RETURNS trigger LANGUAGE plpgsql AS '\(Self.body.replacing("'", with: "''"))';
      CREATE TRIGGER \(Self.trigger) BEFORE INSERT OR DELETE OR TRUNCATE OR UPDATE OF \(columns) ON \(table)
        FOR EACH STATEMENT WHEN (current_setting('drover.keeper', true) IS DISTINCT FROM 'on')
        EXECUTE FUNCTION \(place).\(Self.trigger)('\(sentence)')
      """
  }

  /// Of tables that were put aside.
  private func dropStrays() throws -> Bool {
    let strays = try connection.query(
      """
      SELECT class.relname::text FROM pg_trigger JOIN pg_class AS class ON class.oid = tgrelid
       WHERE tgname = '\(Self.trigger)' AND class.relnamespace = $1::text::regnamespace
         AND NOT EXISTS (SELECT 1 FROM drover_sink AS sink WHERE sink.table_name = class.relname::text)
      """, [.text(place)])
    var isDone = true
    for row in 0..<strays.count {
      let dropped = try connection.trying {
        try connection.run("DROP TRIGGER \(Self.trigger) ON \(place).\(quoted(strays.text(row, 0)))")
        return true
      }
      if dropped == nil { isDone = false }
    }
    return isDone
  }

  /// Before a column gets another type, which PostgreSQL refuses for a column that a trigger names.
  static func lift(_ table: String, _ connection: Connection) throws {
    try connection.run("DROP TRIGGER IF EXISTS \(trigger) ON \(table)")
  }
}
