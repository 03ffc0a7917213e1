import DroverCore
import DroverSQLite
import DroverTesting
import GRDB
import Testing

/// A random workload with one invariant: whoever applies what is read, by key and newest version, has the app's table.
/// Each case prints its seed; the same seed makes the same statements.
@Suite(.ownThread) struct ReplicaWorkloadTests {
  struct Shape: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let table: String
    /// Columns that a statement sets, the key's first.
    let columns: [String]
    let key: [String]
    var selectKey: String { key.joined(separator: ", ") }
  }

  static let shapes = [
    Shape(
      testDescription: "integer key",
      table: "t (id INTEGER PRIMARY KEY, a INT, u TEXT UNIQUE, synced INT)", columns: ["id", "a", "u", "synced"],
      key: ["id"]),
    Shape(
      testDescription: "integer key under the name rowid",
      table: "t (id INTEGER PRIMARY KEY, a INT, u TEXT UNIQUE, synced INT)", columns: ["rowid", "a", "u", "synced"],
      key: ["id"]),
    Shape(
      testDescription: "NOCASE text key, WITHOUT ROWID",
      table:
        "t (id TEXT COLLATE NOCASE PRIMARY KEY, a INT, u TEXT COLLATE NOCASE, synced INT, UNIQUE (u, a)) WITHOUT ROWID",
      columns: ["id", "a", "u", "synced"], key: ["id"]),
    Shape(
      testDescription: "composite key and two unique constraints",
      table: "t (id TEXT, k INT, a INT UNIQUE, u TEXT COLLATE NOCASE UNIQUE, synced INT, PRIMARY KEY (k, id))",
      columns: ["id", "k", "a", "u", "synced"], key: ["k", "id"]),
    Shape(
      testDescription: "no key, but a unique index made later",
      table: "t (id TEXT, a INT, u TEXT, synced INT); CREATE UNIQUE INDEX i ON t (u COLLATE NOCASE DESC)",
      columns: ["rowid", "id", "a", "u", "synced"], key: ["rowid"]),
  ]

  @Test(arguments: shapes, 1...3)
  func `the replica equals the table`(shape: Shape, seed: Int) throws {
    let app = try AppDatabase("CREATE TABLE \(shape.table)")
    try app.run("PRAGMA synchronous = OFF")
    let edge = try app.attach(.table("t", synced: "synced"))
    var workload = Workload(shape: shape, random: Seeded(UInt64(seed)))
    var replica: [String: (version: Int64, row: String)] = [:]
    for round in 0..<40 {
      for _ in 0..<6 { workload.statement(on: app) }
      let read = try edge.everything()
      for entry in read.entries {
        let key = line(entry.key)
        if let known = replica[key], known.version >= entry.version { continue }
        if case .row(let values) = entry.content {
          replica[key] = (entry.version, line(values))
        } else {
          replica[key] = (entry.version, "")
        }
      }
      if round % 3 == 1, read.lastSeq > 0 { try edge.acknowledge(1...read.lastSeq) }
      if round % 5 == 4 { try edge.confirmAll() }
      let held = Set(replica.values.map(\.row)).subtracting([""])
      let prefix = shape.key == ["rowid"] ? "rowid, " : ""
      let names = shape.columns.filter { $0 != "synced" && $0 != "rowid" }
      let columns = shape.columns[0] == "rowid" && shape.key == ["id"] ? ["id"] + names : names
      let table = try Set(app.lines("SELECT \(prefix)\(columns.joined(separator: ", ")), 1 FROM t"))
      try #require(held == table, "after \(workload.said.suffix(6).joined(separator: "; "))")
    }
    #expect(workload.changes > 50)
  }
}

private struct Workload {
  let shape: ReplicaWorkloadTests.Shape
  var random: Seeded
  var said: [String] = []
  var changes = 0

  mutating func statement(on app: AppDatabase) {
    var sql = one()
    switch random.below(8) {
    case 0: sql = "BEGIN; \(sql); \(one()); ROLLBACK"
    case 1: sql = "BEGIN; \(sql); SAVEPOINT s; \(one()); ROLLBACK TO s; \(one()); COMMIT"
    case 2: sql = "PRAGMA recursive_triggers = \(random.below(2)); \(sql)"
    default: break
    }
    said.append(sql)
    do {
      try app.run(sql)
      changes += 1
    } catch {
      // A constraint of the app's. What the statement did before is what its conflict clause says.
      try? app.run("ROLLBACK")
    }
  }

  private mutating func one() -> String {
    let values = shape.columns.map { value(of: $0) }
    let columns = shape.columns.joined(separator: ", ")
    let insert = "INTO t (\(columns)) VALUES (\(values.joined(separator: ", ")))"
    let column = shape.columns[random.below(shape.columns.count)]
    let assignment = "\(column) = \(value(of: column))"
    switch random.below(13) {
    case 0, 1: return "INSERT OR IGNORE \(insert)"
    case 2, 3: return "INSERT OR REPLACE \(insert)"
    case 4: return "INSERT \(insert)"
    case 5: return "INSERT \(insert) ON CONFLICT DO UPDATE SET \(assignment)"
    case 6: return "UPDATE OR IGNORE t SET \(assignment) WHERE \(condition())"
    case 7, 8: return "UPDATE OR REPLACE t SET \(assignment) WHERE \(condition())"
    case 9: return "UPDATE OR FAIL t SET \(assignment)"
    case 10: return "DELETE FROM t WHERE \(condition())"
    case 11: return random.below(6) == 0 ? "DELETE FROM t" : "UPDATE t SET synced = 0"
    default:
      // As an ORM does: all columns, changed or not.
      let all = zip(shape.columns, values).map { "\($0) = \($1)" }.joined(separator: ", ")
      return "UPDATE OR REPLACE t SET \(all) WHERE \(condition())"
    }
  }

  private mutating func condition() -> String {
    let column = shape.columns[random.below(shape.columns.count - 1)]
    return "\(column) = \(value(of: column))"
  }

  private mutating func value(of column: String) -> String {
    switch column {
    case "synced": return "0"
    case "u": return ["NULL", "'x'", "'X'", "'y'", "'z'", "'12'"][random.below(6)]
    case "id" where shape.columns != ["id", "a", "u", "synced"] || shape.table.contains("TEXT COLLATE NOCASE PRIMARY"):
      return ["'a'", "'A'", "'b'", "'B'", "'7'", "'07'"][random.below(6)]
    default: return String(random.below(7) - 1)
    }
  }
}
