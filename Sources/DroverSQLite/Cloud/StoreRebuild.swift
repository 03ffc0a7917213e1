// A store that is damaged, or not to be trusted any more, gives its place to an empty one, which the machines fill again: each of them hears
// with the next confirmation that the cloud no longer has what it had, and begins a new epoch. The old file is moved aside and never deleted.
// What no machine could send again is carried over, as far as it can be read: dead letters, their figures, and which machines there are.

package import DroverCore
private import Foundation
import GRDB

package struct StoreRebuild: Equatable, Sendable {
  /// Where the old store is now.
  package var aside: String
  /// The machines that it knew.
  package var machines: [String] = []
  /// What it had of each of them that can be compared with the machine's own; nil where that cannot be read.
  package var tables: [String: Set<StreamName>]?
  package var letters = 0
  /// Why not everything could be read that should be carried over.
  package var unread: String?

  /// Moves the store at `path` aside and makes an empty one. No other process may have it open.
  /// - Parameter now: microseconds since 1970.
  /// - Throws: `CloudStoreError`; then either nothing was done, or it can be done again.
  package static func run(path: String, now: Int64) throws -> StoreRebuild {
    let aside = "\(path)-until-\(Timestamp.name(microseconds: now))"
    try move(path, to: aside)
    var rebuild = StoreRebuild(aside: aside)
    do {
      FileModes.make(path, like: aside)
      // Makes the tables.
      _ = try SQLiteCloudStore(path: path)
      let new = try DatabaseQueue(path: path)
      defer { try? new.close() }
      try new.write { try rebuild.carryOver(to: $0, now: now) }
    } catch let error as DatabaseError {
      throw CloudStoreError(
        description: "make a new \(path): \(error.explanation); the old one is \(aside)")
    }
    return rebuild
  }

  /// The database itself goes last, so that the command can be given again wherever it was interrupted.
  private static func move(_ path: String, to aside: String) throws {
    guard FileManager.default.fileExists(atPath: path) else {
      throw CloudStoreError(
        description:
          "rebuild \(path): there is no such file; start the consumer, which makes one, and the machines fill it")
    }
    for end in ["-shm", "-wal", "-journal", ""] where FileManager.default.fileExists(atPath: path + end) {
      do {
        try FileManager.default.moveItem(atPath: path + end, toPath: aside + end)
      } catch {
        throw CloudStoreError(description: "move \(path)\(end) to \(aside)\(end): \(error.localizedDescription)")
      }
    }
  }

  // MARK: Carrying over

  private mutating func carryOver(to new: Database, now: Int64) throws {
    var configuration = Configuration()
    configuration.busyMode = .timeout(10)
    let old: DatabaseQueue
    do {
      old = try DatabaseQueue(path: aside, configuration: configuration)
    } catch let error as DatabaseError {
      unread = error.explanation
      return
    }
    defer { try? old.close() }
    try old.inDatabase { old in
      machines = try copy("drover_machine", "machine_id", old, new) { row in
        // Whether it is connected, it has to say anew.
        var row = row
        row["online"] = .null
        return row
      }.map { String.fromDatabaseValue($0) ?? "" }
      tables = try? SQLiteReplica.streams(old).reduce(into: [:]) {
        $0[$1.machine.text, default: []].insert($1.stream)
      }
      _ = try copy("drover_epoch", "machine_id", old, new) { $0 }
      letters = try copyLetters(old, new)
      // The machines may have what the cloud has decided until now about rows that both sides edit.
      try new.execute(sql: "INSERT INTO drover_lost_decision (first, last) VALUES (1, ?)", arguments: [now])
      _ = try copy("drover_dead_dropped", "machine_id", old, new) { $0 }
      _ = try copy("drover_meta", "name", old, new) { row in
        let name = String.fromDatabaseValue(row["name"] ?? .null) ?? ""
        return name.hasPrefix("dead_letters_") ? row : nil
      }
    }
  }

  private typealias Fields = [String: DatabaseValue]

  /// Copies what can be read of a table, from its beginning. Returns the values of one of its columns.
  private mutating func copy(
    _ table: String, _ column: String, _ old: Database, _ new: Database, _ change: (Fields) -> Fields?
  ) throws -> [DatabaseValue] {
    var copied: [DatabaseValue] = []
    try read("SELECT * FROM \(table)", old) { row in
      guard let fields = change(row) else { return }
      try Self.insert(fields, into: table, new)
      copied.append(fields[column] ?? .null)
    }
    return copied
  }

  /// From both ends: a page that is broken stands in the way of those behind it.
  private mutating func copyLetters(_ old: Database, _ new: Database) throws -> Int {
    var ids: Set<Int64> = []
    func take(_ row: Fields) throws {
      guard let id = Int64.fromDatabaseValue(row["id"] ?? .null), ids.insert(id).inserted else { return }
      try Self.insert(row, into: "drover_dead_letter", new)
    }
    if try !read("SELECT * FROM drover_dead_letter ORDER BY id", old, take) {
      try read("SELECT * FROM drover_dead_letter ORDER BY id DESC", old, take)
    }
    return ids.count
  }

  /// False when something could not be read.
  @discardableResult
  private mutating func read(_ sql: String, _ old: Database, _ take: (Fields) throws -> Void) throws -> Bool {
    let rows: RowCursor
    do {
      rows = try Row.fetchCursor(old, sql: sql)
    } catch let error as DatabaseError {
      unread = unread ?? error.explanation
      return false
    }
    while true {
      do {
        guard let row = try rows.next() else { return true }
        let fields = Fields(row.map { ($0, $1) }) { first, _ in first }
        try take(fields)
      } catch let error as DatabaseError where error.saysDamaged {
        unread = unread ?? error.explanation
        return false
      }
    }
  }

  private static func insert(_ fields: Fields, into table: String, _ new: Database) throws {
    // What another version of Drover had besides is left out.
    let known = Set(try new.catalogue(of: table).map(\.name))
    let fields = fields.filter { known.contains(SQLName($0.key)) }.sorted { $0.key < $1.key }
    try new.execute(
      sql: """
        INSERT OR REPLACE INTO \(table) (\(fields.map { quoted($0.key) }.joined(separator: ", ")))
        VALUES (\(fields.map { _ in "?" }.joined(separator: ", ")))
        """, arguments: StatementArguments(fields.map(\.value)))
  }
}
