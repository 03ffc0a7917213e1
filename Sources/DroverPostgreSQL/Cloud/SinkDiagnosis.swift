// Why a sink table cannot be written, for the person who can change that: who holds a lock on it, and what of it is not Drover's.

import DroverCore

struct SinkDiagnosis {
  let transaction: Transaction
  let stream: StreamName

  private var connection: Connection { transaction.connection }

  func blocked(by error: PostgreSQLError) throws -> SinkBlocked {
    let tables = try tables()
    if error.isLocked { return try locked(tables) }
    var table = tables.first?.name ?? stream.text
    var text = error.explanation
    var advice = error.sinkAdvice
    for other in tables {
      let found = try additions(to: other)
      guard !found.isEmpty else { continue }
      table = other.name
      text += "; the table has \(found.map(\.text).joined(separator: ", "))"
      advice = advice ?? found.map(\.advice).joined(separator: ", or ")
      break
    }
    return SinkBlocked(
      table: table, reach: error.fault ?? .table, cause: .change, text: text,
      advice: advice ?? "see that rows can be inserted into it, updated and deleted by Drover's user")
  }

  // MARK: Tables

  private struct Table {
    var name: String
    var number: Int64
  }

  /// The stream's own, those of its lines, and what belongs to them.
  private func tables() throws -> [Table] {
    let rows = try connection.query(
      """
      WITH sink AS (SELECT table_name, name = $2 AS is_own, stream FROM drover_sink WHERE name = $2 OR lower(header) = $2)
      SELECT present.relname::text, present.oid::bigint FROM pg_class AS present
        JOIN (SELECT table_name AS name, is_own FROM sink UNION ALL SELECT 'drover_gone_' || table_name, false FROM sink
              UNION ALL SELECT 'drover_held_' || stream, false FROM sink) AS wanted ON wanted.name = present.relname::text
       WHERE present.relnamespace = $1::text::regnamespace ORDER BY is_own DESC, present.relname::text
      """, [.text(transaction.store.place), .text(SQLName(stream.text).text)], isKept: false)
    return (0..<rows.count).map { Table(name: rows.text($0, 0), number: rows.integer($0, 1)) }
  }

  // MARK: Locks

  /// Consumers hold locks only while their transaction lasts, so other holders are looked for first.
  private func locked(_ tables: [Table]) throws -> SinkBlocked {
    let rows = try connection.query(
      """
      SELECT held.relation::bigint, held.pid::bigint, held.mode, activity.application_name::text, activity.usename::text,
             host(activity.client_addr), activity.state::text, (extract(epoch FROM activity.xact_start) * 1000000)::bigint
        FROM pg_locks AS held LEFT JOIN pg_stat_activity AS activity ON activity.pid = held.pid
       WHERE held.locktype = 'relation' AND held.granted AND held.relation::bigint = ANY ($1::bigint[])
         AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
         AND held.pid IS DISTINCT FROM pg_backend_pid()
       ORDER BY EXISTS (SELECT 1 FROM pg_locks AS own
                         WHERE own.pid = held.pid AND own.locktype = 'advisory' AND own.objsubid = 1
                           AND (own.classid::bigint << 32) | own.objid::bigint = $2),
                held.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') DESC,
                activity.xact_start NULLS LAST LIMIT 1
      """, [.integers(tables.map(\.number)), .integer(Locks.consumers)], isKept: false)
    guard rows.count > 0 else {
      return SinkBlocked(
        table: tables.first?.name ?? stream.text, reach: .machine, cause: .lock,
        text: "another session held a lock on it or on rows of it",
        advice: "pg_locks and pg_stat_activity show who, if it goes on")
    }
    let name = tables.first { $0.number == rows.integer(0, 0) }?.name ?? stream.text
    let mode = rows.text(0, 2)
    let isWhole = ["ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"].contains(mode)
    guard let process = rows.optionalInteger(0, 1) else {
      return SinkBlocked(
        table: name, reach: isWhole ? .table : .machine, cause: .lock,
        text: "a prepared transaction holds a lock on it (\(mode))",
        advice: "pg_prepared_xacts lists it; COMMIT PREPARED or ROLLBACK PREPARED ends it")
    }
    let details = [
      rows.optionalText(0, 3).flatMap { $0.isEmpty ? nil : "application \($0)" },
      rows.optionalText(0, 4).map { "user \($0)" }, rows.optionalText(0, 5).map { "from \($0)" },
      rows.optionalText(0, 6),
    ].compactMap(\.self).joined(separator: ", ")
    let since = rows.optionalInteger(0, 7).map { " since \(Timestamp.text(microseconds: $0))" } ?? ""
    return SinkBlocked(
      table: name, reach: isWhole ? .table : .machine, cause: .lock,
      text:
        "process \(process)\(details.isEmpty ? "" : " (\(details))") has \(isWhole ? "locked it" : "a transaction open with locks on it or its rows")\(since) (\(mode))",
      advice:
        "let that transaction COMMIT or ROLLBACK, or end its session: SELECT pg_terminate_backend(\(process)); Drover goes on by itself"
    )
  }

  // MARK: What is not Drover's

  /// Triggers, rules and policies of a table.
  private func additions(to table: Table) throws -> [(text: String, advice: String)] {
    let rows = try connection.query(
      """
      SELECT CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'view' WHEN 'f' THEN 'foreign table' END,
             relrowsecurity,
             (SELECT string_agg(tgname::text, ', ' ORDER BY tgname) FROM pg_trigger
               WHERE tgrelid = present.oid AND NOT tgisinternal AND tgenabled <> 'D' AND tgname NOT LIKE 'drover\\_%'),
             (SELECT string_agg(rulename::text, ', ' ORDER BY rulename) FROM pg_rewrite
               WHERE ev_class = present.oid AND rulename <> '_RETURN')
        FROM pg_class AS present WHERE oid::bigint = $1
      """, [.integer(table.number)], isKept: false)
    guard rows.count > 0 else { return [] }
    var found: [(String, String)] = []
    let name = quoted(table.name)
    if let kind = rows.optionalText(0, 0) {
      found.append(("become a \(kind)", "give the \(kind) another name; Drover makes the table again"))
    }
    if rows.boolean(0, 1) {
      found.append(
        (
          "row-level security",
          "ALTER TABLE \(name) DISABLE ROW LEVEL SECURITY, or ALTER ROLE … BYPASSRLS for Drover's user"
        ))
    }
    if let triggers = rows.optionalText(0, 2) {
      found.append(("the triggers \(triggers)", "correct or drop the trigger that fails"))
    }
    if let rules = rows.optionalText(0, 3) { found.append(("the rules \(rules)", "drop the rules")) }
    return found
  }
}

extension PostgreSQLError {
  /// What to do about what a table refuses, where the code alone says it.
  fileprivate var sinkAdvice: String? {
    switch state {
    case _ where isSilence:
      "let the trigger RETURN NEW (of a delete: OLD), and RAISE an EXCEPTION for rows that it refuses; or drop the trigger, rule or policy"
    case "42P16"?, "42P10"?: "give the table the form back that is named"
    case "23505"?: "remove the rows that have one key, so that it can be unique again"
    case "23502"?: "give the column that is not Drover's a DEFAULT, or let it be NULL"
    case "57014"?: "something in the table takes too long, such as a trigger; correct or drop it"
    case "428C9"?: "the column is generated; drop it or give it another name"
    default: nil
    }
  }
}
