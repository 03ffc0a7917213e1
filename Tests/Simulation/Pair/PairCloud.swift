// The cloud's side of a pair: a store, and the SQL client of a person beside it.

package import DroverCore
import DroverSQLite
import Foundation

package protocol PairCloud: AnyObject {
  var isPostgreSQL: Bool { get }
  /// A consumer's store, opened anew for each start of it.
  func openStore(now: @escaping () -> Int64) throws -> any CloudStore
  func editor() -> any RowEditor
  func conflicts() throws -> any ConflictStore
  /// Runs statements on the client's one connection; a transaction may stay open on it.
  func run(_ sql: String) throws
  /// The first column of a query.
  func integers(_ sql: String) throws -> [Int64]
  /// Another person's connection.
  func runAside(_ sql: String) throws
  /// While no consumer runs.
  func backUp() throws
  func restore() throws
}

package final class SQLitePairCloud: PairCloud {
  package let path: String
  private var client: PlainDatabase
  private var other: PlainDatabase?

  package init(folder: String) throws {
    path = "\(folder)/cloud.db"
    // The store makes its file, with the settings that it needs.
    _ = try SQLiteCloudStore(path: path)
    client = try PlainDatabase(path: path)
  }

  package var isPostgreSQL: Bool { false }

  package func openStore(now: @escaping () -> Int64) throws -> any CloudStore {
    try SQLiteCloudStore(path: path, now: now)
  }

  package func editor() -> any RowEditor { SQLiteRowEditor(path: path) }
  package func conflicts() throws -> any ConflictStore { try SQLiteConflicts(path: path) }
  package func run(_ sql: String) throws { try client.execute(sql) }

  package func integers(_ sql: String) throws -> [Int64] {
    var found: [Int64] = []
    try client.rows(sql) { found.append($0.integer(0)) }
    return found
  }

  package func runAside(_ sql: String) throws {
    if other == nil { other = try PlainDatabase(path: path) }
    try other!.execute(sql)
  }

  package func backUp() throws {
    for suffix in ["", "-wal"] {
      try FileManager.default.removeItemIfThere(atPath: "\(path).copy\(suffix)")
      guard FileManager.default.fileExists(atPath: path + suffix) else { continue }
      try FileManager.default.copyItem(atPath: path + suffix, toPath: "\(path).copy\(suffix)")
    }
  }

  package func restore() throws {
    other = nil
    client = try PlainDatabase(path: ":memory:")
    for suffix in ["", "-wal", "-shm"] { try FileManager.default.removeItemIfThere(atPath: path + suffix) }
    for suffix in ["", "-wal"] where FileManager.default.fileExists(atPath: "\(path).copy\(suffix)") {
      try FileManager.default.copyItem(atPath: "\(path).copy\(suffix)", toPath: path + suffix)
    }
    client = try PlainDatabase(path: path)
  }
}
