// How SQLite finds the rows that Drover's statements are about: every statement that Drover runs on a watched file is held against EXPLAIN QUERY
// PLAN on the connection that runs it. No list of statements is kept: SQLite tells of each one that begins.
// https://www.sqlite.org/c3ref/trace_v2.html, https://www.sqlite.org/eqp.html

import DroverTesting
import Foundation
import GRDBSQLite
import Synchronization
import Testing

/// The statements that Drover's connections run on the files of one folder.
final class QueryPlans: Sendable {
  private let folder: String
  private let seen = Mutex<[String: [PlanStep]]>([:])

  /// What one test has failed with another need not fail with.
  private static let told = Mutex<Set<String>>([])
  private static let watched = Mutex<[String: QueryPlans]>([:])
  /// Whether the connection that is being opened is the test's own.
  @TaskLocal private static var isOfTest = false

  /// Watches the connections that are opened from now on.
  init(watching folder: String) {
    self.folder = folder
    Self.installed
    Self.watched.withLock { $0[folder] = self }
  }

  func stop() { Self.watched.withLock { $0[folder] = nil } }

  /// Ends the watch; the test fails that made Drover walk where an index is meant.
  func end() {
    stop()
    for walk in walks where Self.told.withLock({ $0.insert(walk).inserted }) {
      Issue.record("a statement walks where an index is meant: \(walk)")
    }
  }

  /// Opens a connection whose statements are the test's.
  static func ofTest<Connection>(_ open: () throws -> Connection) rethrows -> Connection {
    try $isOfTest.withValue(true, operation: open)
  }

  /// Each statement with what it walks through although an index is meant, one line each.
  var walks: [String] {
    seen.withLock { seen in
      seen.sorted { $0.key < $1.key }.flatMap { sql, steps in
        steps.filter { !$0.isMeant(in: sql) }.map { "\($0.detail)\n  in \(sql)" }
      }
    }
  }

  /// How many different statements have been seen.
  var count: Int { seen.withLock(\.count) }

  // MARK: Watching

  private static let installed: Void = {
    typealias Entry =
      @convention(c) (OpaquePointer?, UnsafeMutablePointer<UnsafePointer<CChar>?>?, UnsafeRawPointer?) -> Int32
    let entry: Entry = { connection, _, _ in
      guard !QueryPlans.isOfTest, QueryPlans.watching(connection) != nil else { return 0 }
      return sqlite3_trace_v2(
        connection, UInt32(SQLITE_TRACE_STMT), { _, _, statement, text in QueryPlans.note(statement, text) }, nil)
    }
    sqlite3_auto_extension(unsafeBitCast(entry, to: (@convention(c) () -> Void).self))
  }()

  private static func watching(_ connection: OpaquePointer?) -> QueryPlans? {
    guard let name = sqlite3_db_filename(connection, "main").map({ String(cString: $0) }),
      let end = name.lastIndex(of: "/")
    else { return nil }
    return watched.withLock { $0[String(name[..<end])] }
  }

  private static func note(_ statement: UnsafeMutableRawPointer?, _ text: UnsafeMutableRawPointer?) -> Int32 {
    guard let statement = statement.map(OpaquePointer.init), let text = sqlite3_sql(statement),
      let connection = sqlite3_db_handle(statement), let plans = watching(connection)
    else { return 0 }
    let sql = String(cString: text)
    let isData = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "REPLACE"].contains {
      sql.drop { $0.isWhitespace }.uppercased().hasPrefix($0)
    }
    guard isData, !plans.seen.withLock({ $0[sql] != nil }) else { return 0 }
    let steps = PlanStep.explain(sql, connection)
    plans.seen.withLock { $0[sql] = steps }
    return 0
  }
}

/// One table that a statement reads.
struct PlanStep: Sendable {
  /// As SQLite tells it.
  let detail: String
  /// The table's own name.
  let table: String
  /// Nil where the whole table is read; else the columns by which its rows are found.
  let found: [String]?

  /// Whether the rows are found by more than whose they are: a machine or a stream may have millions of them.
  private var isFound: Bool { found.map { !Set($0).isSubset(of: FullScansAllowed.owners) } ?? false }

  func isMeant(in sql: String) -> Bool {
    isFound || FullScansAllowed.isAboutWholeTables(sql) || FullScansAllowed.bounded.contains(table)
      || FullScansAllowed.reasons.contains { sql.contains($0.part) }
      // A comparison reads all rows of a machine's stream, and a machine that is forgotten goes with all of them; an app's table of lines has
      // the app's own indexes, and the agent advises on them.
      || (found != nil && sql.contains(/WHERE "?(?:drover_)?machine_id"? = (?:\?1?|'[^']*')\s*$/))
      || (!sql.contains("drover_") && !sql.contains("machine_id"))
  }

  static func explain(_ sql: String, _ connection: OpaquePointer) -> [PlanStep] {
    rows("EXPLAIN QUERY PLAN \(sql)", connection).compactMap { step($0[3], sql, connection) }
  }

  private static func step(_ detail: String, _ sql: String, _ connection: OpaquePointer) -> PlanStep? {
    if detail.contains("VIRTUAL TABLE") || detail == "SCAN CONSTANT ROW" { return nil }
    if let match = detail.wholeMatch(of: /SCAN (.+?)(?: USING (?:COVERING )?INDEX .+)?/) {
      let name = String(match.1)
      // What a subquery or a common table expression gives.
      guard let table = table(name, in: sql, connection) else { return nil }
      return PlanStep(detail: detail, table: table, found: nil)
    }
    guard
      let match = detail.wholeMatch(
        of: /SEARCH (.+?) USING (?:COVERING )?(?:INDEX .+?|PRIMARY KEY|INTEGER PRIMARY KEY) \((.*)\)/)
    else { return nil }
    guard let table = table(String(match.1), in: sql, connection) else { return nil }
    let found = match.2.split(separator: " AND ").map { String($0.prefix { !"=<>".contains($0) }) }
    return PlanStep(detail: detail, table: table, found: found)
  }

  /// The table that a statement calls so.
  private static func table(_ name: String, in sql: String, _ connection: OpaquePointer) -> String? {
    func exists(_ name: String) -> Bool {
      !rows(
        "SELECT 1 FROM (SELECT name FROM sqlite_schema UNION ALL SELECT name FROM sqlite_temp_schema) WHERE name = '\(name.replacing("'", with: "''"))' COLLATE NOCASE",
        connection
      ).isEmpty
    }
    if exists(name) { return name.lowercased() }
    let aliased = sql.matches(of: /(?:"((?:[^"]|"")+)"|(\w+)) AS (\w+)/).first { String($0.3) == name }
    return aliased.map { String($0.1 ?? $0.2!).replacing("\"\"", with: "\"").lowercased() }
  }

  private static func rows(_ sql: String, _ connection: OpaquePointer) -> [[String]] {
    var statement: OpaquePointer?
    // The comment keeps the watch from watching itself.
    guard sqlite3_prepare_v2(connection, "/* plan */ \(sql)", -1, &statement, nil) == SQLITE_OK else { return [] }
    defer { sqlite3_finalize(statement) }
    var rows: [[String]] = []
    while sqlite3_step(statement) == SQLITE_ROW {
      rows.append(
        (0..<sqlite3_column_count(statement)).map { column in
          sqlite3_column_text(statement, column).map { String(cString: $0) } ?? ""
        })
    }
    return rows
  }
}
