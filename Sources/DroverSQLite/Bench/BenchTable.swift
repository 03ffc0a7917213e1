// The table that `drover bench` measures with: eight typed columns, about 200 bytes a row, as a machine's own app would have it.

package import DroverCore
import GRDB

/// An app's database with one connection, as its program has it.
package final class BenchApp {
  package enum Synchronous: String {
    case full = "FULL"
    case normal = "NORMAL"
  }

  private let queue: DatabaseQueue

  /// Opens the app's database in WAL mode, and makes it where it is not there.
  /// - Throws: what SQLite says.
  /// - Parameter synchronous: what a commit waits for.
  package init(path: String, synchronous: Synchronous = .normal) throws {
    var configuration = Configuration()
    configuration.busyMode = .timeout(10)
    configuration.label = "bench app"
    queue = try DatabaseQueue(path: path, configuration: configuration)
    try queue.writeWithoutTransaction { database in
      try database.execute(sql: "PRAGMA journal_mode = WAL; PRAGMA synchronous = \(synchronous.rawValue)")
    }
  }

  package func create(_ table: String) throws {
    try queue.write { try $0.execute(sql: BenchRow.definition(table)) }
  }

  /// Inserts rows with these IDs.
  /// - Parameter perTransaction: how many a commit has.
  package func insert(_ ids: Range<Int64>, into table: String, perTransaction: Int) throws {
    try queue.inDatabase { database in
      let insert = try Statement(database, BenchRow.insert(table))
      for first in stride(from: ids.lowerBound, to: ids.upperBound, by: perTransaction) {
        try database.inTransaction(.immediate) {
          for id in first..<min(first + Int64(perTransaction), ids.upperBound) {
            BenchRow.bind(id, to: insert)
            try insert.run()
          }
          return .commit
        }
      }
    }
  }

  /// How many bytes a row has as a plain JSON object, on average.
  package func plainBytes(of table: String) throws -> Double {
    let members = BenchRow.names.map { "\(literal($0)), \(quoted($0))" }.joined(separator: ", ")
    return try queue.read {
      try Double.fetchOne(
        $0,
        sql:
          "SELECT avg(length(CAST(object AS BLOB))) FROM (SELECT json_object(\(members)) AS object FROM \(quoted(table)) LIMIT 10000)"
      )!
    }
  }

  /// Shows the table's rows.
  package func read(_ table: String, _ see: (_ row: [Value]) throws -> Void) throws {
    try queue.inDatabase { database in
      let rows = try Statement(database, "SELECT * FROM \(quoted(table))")
      while try rows.step() { try see((0..<BenchRow.columns).map { rows.value($0) }) }
    }
  }

  /// The columns of the table, the ID first.
  package static let columns = BenchRow.schema

  /// The yardstick: nothing but upserts of the table's rows into an empty database, in transactions of 1,000.
  /// - Returns: how long it took.
  package func upsertAll(of table: String, into path: String) throws -> Duration {
    let target = try DatabaseQueue(path: path)
    return try queue.inDatabase { source in
      try target.inDatabase { database in
        try database.execute(sql: "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
        try database.execute(sql: BenchRow.definition(table))
        let rows = try Statement(source, "SELECT * FROM \(quoted(table))")
        let upsert = try Statement(database, BenchRow.upsert(table))
        let start = ContinuousClock.now
        var hasMore = true
        while hasMore {
          try database.inTransaction(.immediate) {
            for _ in 0..<1000 {
              hasMore = try rows.step()
              guard hasMore else { break }
              for column in 0..<BenchRow.columns { upsert.bind(lent: rows.lent(column), at: column + 1) }
              try upsert.run()
            }
            return .commit
          }
        }
        return start.duration(to: .now)
      }
    }
  }
}

/// One row of the table.
enum BenchRow {
  static let names = ["id", "measured_at", "sensor", "temperature", "humidity", "cycles", "is_alarm", "note"]
  static let columns = Int32(names.count)
  static let schema = zip(
    names, ["INTEGER", "TEXT", "TEXT", "REAL", "REAL", "INTEGER", "INTEGER", "TEXT"]
  ).map { DroverCore.Column(name: $0, declaredType: $1) }
  private static let notes = (0..<100).map {
    "checked by operator \($0), nothing unusual was heard or seen on the line"
  }

  static func definition(_ table: String) -> String {
    """
    CREATE TABLE \(quoted(table)) (
      id          INTEGER PRIMARY KEY,
      measured_at TEXT NOT NULL,
      sensor      TEXT NOT NULL,
      temperature REAL NOT NULL,
      humidity    REAL,
      cycles      INTEGER NOT NULL,
      is_alarm    INTEGER NOT NULL,
      note        TEXT
    )
    """
  }

  static func insert(_ table: String) -> String { "INSERT INTO \(quoted(table)) VALUES (?, ?, ?, ?, ?, ?, ?, ?)" }

  static func upsert(_ table: String) -> String {
    """
    \(insert(table)) ON CONFLICT (id) DO UPDATE SET measured_at = excluded.measured_at, sensor = excluded.sensor,
      temperature = excluded.temperature, humidity = excluded.humidity, cycles = excluded.cycles,
      is_alarm = excluded.is_alarm, note = excluded.note
    """
  }

  /// The same values for the same ID each time.
  static func bind(_ id: Int64, to statement: Statement) {
    statement.bind(id, at: 1)
    statement.bind(Timestamp.text(microseconds: 1_795_000_000_000_000 + id * 100_000), at: 2)
    statement.bind("press-\(id % 40)/bearing", at: 3)
    statement.bind(.real(18 + Double(id % 900) / 100), at: 4)
    statement.bind(id % 7 == 0 ? .null : .real(Double(id * 31 % 1000) / 10), at: 5)
    statement.bind(id * 7919 % 1_000_000, at: 6)
    statement.bind(id % 500 == 0 ? 1 : 0, at: 7)
    statement.bind(notes[Int(id % 100)], at: 8)
  }
}

/// Watches databases from outside, as another program that reads them.
package final class BenchWatch {
  private let queue: DatabaseQueue

  /// - Throws: what SQLite says; also where there is no database yet.
  package init(path: String) throws {
    var configuration = Configuration()
    configuration.readonly = true
    configuration.busyMode = .timeout(10)
    queue = try DatabaseQueue(path: path, configuration: configuration)
  }

  /// Whether an agent has attached, and has brought what was there before it.
  package func isAttached() throws -> Bool {
    try queue.inDatabase { database in
      guard
        try Bool.fetchOne(database, sql: "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'drover_stream')")!
      else { return false }
      return try Bool.fetchOne(
        database, sql: "SELECT count(*) > 0 AND sum(backfill = 'running') = 0 FROM drover_stream") ?? false
    }
  }

  /// How many events the cloud has confirmed to this edge database.
  package func confirmed() throws -> Int {
    try queue.inDatabase {
      try Int.fetchOne($0.cachedStatement(sql: "SELECT sum(confirmed) FROM drover_stream")) ?? 0
    }
  }

  /// Whether a table of the cloud has any row; false where it is not made yet.
  package func hasRows(_ table: String) throws -> Bool {
    try queue.inDatabase { database in
      // Not from GRDB's memory of the schema: another process makes the table.
      guard
        try Bool.fetchOne(
          database, sql: "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = ?)", arguments: [table])!
      else { return false }
      return try Bool.fetchOne(database, sql: "SELECT EXISTS (SELECT 1 FROM \(quoted(table)))")!
    }
  }

  /// A column of a row; nil where there is no such row.
  package func integer(_ column: String, of id: Int64, in table: String) throws -> Int64? {
    try queue.inDatabase { database in
      try Int64.fetchOne(
        database.cachedStatement(sql: "SELECT \(quoted(column)) FROM \(quoted(table)) WHERE id = ?"), arguments: [id])
    }
  }

  /// The rows of one machine behind an ID, by ID; none where the table is not made yet.
  package func ids(in table: String, of machine: MachineID, after id: Int64) throws -> [Int64] {
    try queue.inDatabase { database in
      try Int64.fetchAll(
        database.cachedStatement(
          sql: "SELECT id FROM \(quoted(table)) WHERE machine_id = ? AND id > ? ORDER BY id LIMIT 1000"),
        arguments: [machine.text, id])
    }
  }
}

/// Edits databases from outside, as any SQL client.
package final class BenchEditor {
  private let queue: DatabaseQueue

  package init(path: String) throws {
    var configuration = Configuration()
    configuration.busyMode = .timeout(60)
    queue = try DatabaseQueue(path: path, configuration: configuration)
    try queue.inDatabase { try $0.execute(sql: "PRAGMA synchronous = NORMAL") }
  }

  package func run(_ sql: String) throws {
    try queue.writeWithoutTransaction { try $0.execute(sql: sql) }
  }
}
