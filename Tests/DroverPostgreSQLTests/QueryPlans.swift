// How PostgreSQL finds the rows that Drover's statements are about: every statement that the store has run on a test's database is held against
// EXPLAIN, with rows in the tables: before their statistics are taken, as in the minutes after a table was filled, and then with them. No list of
// statements is kept: the connections tell of each one.
// https://www.postgresql.org/docs/current/sql-explain.html

import DroverPostgreSQL
import DroverTesting
import Foundation
import Synchronization
import Testing

enum QueryPlans {
  struct Statement: Hashable, Sendable {
    let sql: String
    let types: [UInt32]
  }

  private static let seen = Mutex<[String: Set<Statement>]>([:])
  /// Statements of another test that differ in names alone have the same plan.
  private static let known = Mutex<Set<String>>([])

  /// Notes what Drover's connections run from now on.
  static let installed: Void = StatementWatch.watch { sql, types, subject in
    let start = sql.drop { $0.isWhitespace }.prefix(6).uppercased()
    guard ["SELECT", "INSERT", "UPDATE", "DELETE"].contains(start) || start.hasPrefix("WITH"), !sql.contains(";") else {
      return
    }
    _ = seen.withLock { $0[subject, default: []].insert(Statement(sql: sql, types: types)) }
  }

  /// Ends the watch of a database; the test fails that made Drover walk where an index is meant.
  static func check(_ database: TestDatabase) throws {
    let statements = seen.withLock { $0.removeValue(forKey: database.address.subject) } ?? []
    let new = statements.filter { statement in
      known.withLock { $0.insert(statement.sql.replacing(/"[^"]*"|'[^']*'|\d+/, with: "?")).inserted }
    }
    guard !new.isEmpty else { return }
    let explainer = try Explainer(database)
    for knowledge in ["without statistics", "with statistics"] {
      for statement in new.sorted(by: { $0.sql < $1.sql }) {
        for walk in try explainer.walks(of: statement) {
          Issue.record("\(knowledge) a statement walks where an index is meant: \(walk)\n  in \(statement.sql)")
        }
      }
      try explainer.takeStatistics()
    }
  }
}

/// A table that a statement reads, as EXPLAIN tells.
struct PlanStep: Sendable {
  let table: String
  /// Nil where the whole table is read.
  let index: String?
  /// Columns of the index that the condition gives.
  let found: [String]
  let condition: String

  var text: String {
    index.map { "\(table) by \($0): \(condition)" } ?? "the whole of \(table)"
  }

  /// Whether the rows are found by more than whose they are: a machine or a stream may have millions of them.
  private var isFound: Bool { index != nil && !Set(found).isSubset(of: FullScansAllowed.owners) }

  func isMeant(in sql: String) -> Bool {
    isFound || FullScansAllowed.isAboutWholeTables(sql) || FullScansAllowed.bounded.contains(table)
      || FullScansAllowed.reasons.contains { sql.contains($0.part) }
      // A comparison reads all rows of a machine's stream, and a machine that is forgotten goes with all of them.
      || sql.contains(/WHERE (?:stored\.|sink\.)?"?machine_id"? = \$1\s*$/)
  }
}

/// Explains statements on a database that is full enough for the planner to care.
private struct Explainer {
  private let connection: Connection
  private let columns: [String: [String]]

  init(_ database: TestDatabase) throws {
    connection = try Connection(database.address)
    connection.isWatched = false
    // What a test has left locked is not waited for.
    try connection.run("SET lock_timeout = '2s'")
    // In 400 rows, walking an index beside a list of keys costs as little as finding each of them. In a table that matters it does not.
    try connection.run("SET enable_mergejoin = off")
    try Self.fill(connection)
    let rows = try connection.query(
      """
      SELECT relname::text, pg_get_indexdef(indexrelid, position, true)
        FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid, generate_series(1, indnkeyatts) AS position
       WHERE relnamespace = 'public'::regnamespace ORDER BY relname, position
      """)
    var columns: [String: [String]] = [:]
    for row in 0..<rows.count { columns[rows.text(row, 0), default: []].append(rows.text(row, 1)) }
    self.columns = columns
  }

  /// Gives every table rows, of a few machines and streams and otherwise all different, as no constraint of values would let them in.
  private static func fill(_ connection: Connection) throws {
    try connection.run(
      """
      SET session_replication_role = replica;
      DO $fill$
      DECLARE target record; names text; given text;
      BEGIN
        FOR target IN SELECT conrelid::regclass AS of, conname FROM pg_constraint
                       WHERE contype IN ('c', 'f') AND connamespace = 'public'::regnamespace LOOP
          EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', target.of, target.conname);
        END LOOP;
        FOR target IN SELECT oid, oid::regclass AS of FROM pg_class
                       WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'drover_migration' LOOP
          SELECT string_agg(quote_ident(attname), ', '),
                 string_agg(CASE WHEN attname IN ('machine_id', 'drover_machine_id', 'stream') THEN '''M'' || i % 4'
                   ELSE CASE format_type(atttypid, NULL)
                     WHEN 'text' THEN '''t'' || i' WHEN 'bigint' THEN '1000000 + i' WHEN 'integer' THEN '1000000 + i'
                     WHEN 'double precision' THEN 'i' WHEN 'boolean' THEN 'i % 2 = 0' WHEN 'bytea' THEN 'int8send(i)'
                     WHEN 'jsonb' THEN 'to_jsonb(i)' WHEN 'json' THEN 'to_json(i)'
                     WHEN 'timestamp with time zone' THEN 'now()' ELSE 'NULL' END END, ', ')
            INTO names, given FROM pg_attribute
           WHERE attrelid = target.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '';
          IF names IS NOT NULL THEN
            EXECUTE format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM generate_series(1::bigint, 400) AS i ON CONFLICT DO NOTHING',
                           target.of, names, given);
          END IF;
        END LOOP;
      END $fill$
      """)
  }

  func takeStatistics() throws { try connection.run("ANALYZE") }

  func walks(of statement: QueryPlans.Statement) throws -> [String] {
    let types =
      statement.types.isEmpty ? "" : "(\(statement.types.map { "\(TypeNames.name($0))" }.joined(separator: ", ")))"
    defer { try? connection.run("DEALLOCATE held") }
    let values =
      statement.types.isEmpty ? "" : "(\(statement.types.map(TypeNames.sample).joined(separator: ", ")))"
    let plan: Rows
    do {
      try connection.run("PREPARE held\(types) AS \(statement.sql)")
      plan = try connection.query("EXPLAIN (FORMAT JSON, COSTS OFF) EXECUTE held\(values)", isKept: false)
    } catch {
      // Its tables have changed since, or it makes use of what its transaction had made.
      return []
    }
    let root = try JSONSerialization.jsonObject(with: Data(plan.bytes(0, 0)))
    return steps(root).filter { !$0.isMeant(in: statement.sql) }.map(\.text)
  }

  private func steps(_ node: Any) -> [PlanStep] {
    if let list = node as? [Any] { return list.flatMap(steps) }
    guard let node = node as? [String: Any] else { return [] }
    var found: [PlanStep] = []
    if let relation = node["Relation Name"] as? String, !relation.hasPrefix("pg_") {
      let type = node["Node Type"] as? String
      if type == "Seq Scan" {
        found.append(PlanStep(table: relation, index: nil, found: [], condition: ""))
      } else if let index = node["Index Name"] as? String {
        found.append(step(relation, index, node))
      } else if type == "Bitmap Heap Scan" {
        let indexes = (node["Plans"] as? [[String: Any]] ?? []).flatMap(bitmaps)
        found += indexes.map { step(relation, $0["Index Name"] as! String, $0) }
      }
    }
    return found + node.values.flatMap { $0 is [Any] || $0 is [String: Any] ? steps($0) : [] }
  }

  private func bitmaps(_ node: [String: Any]) -> [[String: Any]] {
    node["Node Type"] as? String == "Bitmap Index Scan"
      ? [node] : (node["Plans"] as? [[String: Any]] ?? []).flatMap(bitmaps)
  }

  private func step(_ relation: String, _ index: String, _ node: [String: Any]) -> PlanStep {
    let condition = node["Index Cond"] as? String ?? ""
    let found = (columns[index] ?? []).filter { column in
      condition.contains("(\(column) ") || condition.contains("\(column))::text ")
    }
    return PlanStep(
      table: relation, index: index, found: found.map { $0.replacing("\"", with: "") }, condition: condition)
  }
}

private enum TypeNames {
  /// Some value, of a row that may be there: Drover's connections have every plan made for the values.
  static func sample(_ type: UInt32) -> String {
    switch type {
    case 16: "true"
    case 20: "1000001"
    case 701: "1.5"
    case 114, 3802: "'1'"
    case 17: "'\\x01'"
    case 1000: "'{true}'"
    case 1016, 199, 3807: "'{\(many { "\(1_000_000 + $0)" })}'"
    case 1022: "'{\(many { "\($0).5" })}'"
    case 1009, 1001: "'{\(many { "t\($0)" })}'"
    default: "'M1'"
    }
  }

  /// Few, as the tables have few rows: for many of them a walk of the whole table would be the best plan. For one row alone other plans are as good.
  private static func many(_ value: (Int) -> String) -> String { (1...3).map(value).joined(separator: ",") }

  static func name(_ type: UInt32) -> String {
    switch type {
    case 16: "boolean"
    case 17: "bytea"
    case 20: "bigint"
    case 25: "text"
    case 114: "json"
    case 701: "double precision"
    case 3802: "jsonb"
    case 1000: "boolean[]"
    case 1001: "bytea[]"
    case 1016: "bigint[]"
    case 1009: "text[]"
    case 199: "json[]"
    case 1022: "double precision[]"
    case 3807: "jsonb[]"
    default: "unknown"
    }
  }
}
