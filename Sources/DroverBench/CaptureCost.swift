// What capture costs the app: the same inserts into a table with Drover's triggers and into one without.

import DroverCore
import DroverProcesses
import DroverSQLite

/// How many times as long something takes the app with triggers as without.
package struct CaptureCost: Codable, Sendable {
  /// A commit of one row that waits for the disk, as SQLite has it by default (`synchronous = FULL`).
  package var durable: Double
  /// One that does not (`synchronous = NORMAL`).
  package var single: Double
  /// A row among a thousand in a transaction (`synchronous = NORMAL`).
  package var bulk: Double

  private static let table = "reading"

  static func measured() throws -> CaptureCost {
    CaptureCost(
      durable: try ratio(rows: 500, perTransaction: 1, .full),
      single: try ratio(rows: 5000, perTransaction: 1, .normal),
      bulk: try ratio(rows: 100_000, perTransaction: 1000, .normal))
  }

  private static func ratio(rows: Int, perTransaction: Int, _ synchronous: BenchApp.Synchronous) throws -> Double {
    let folder = try TemporaryFolder()
    let plain = try BenchApp(path: folder.file("plain.db"), synchronous: synchronous)
    let captured = try BenchApp(path: folder.file("captured.db"), synchronous: synchronous)
    for app in [plain, captured] { try app.create(table) }
    try EdgeDatabase.prepare(
      path: folder.file("captured.db"),
      declarations: [
        StreamDeclaration(name: try! StreamName(table), kind: .snapshot, table: table)
      ],
      quota: OutboxQuota())
    let clock = ContinuousClock()
    // In small pieces by turns, so that noise hits both alike, and of each the piece in the middle: one that waits for the disk or for another program
    // takes many times as long as the rest.
    var (without, with): ([Duration], [Duration]) = ([], [])
    let piece = Int64(rows / 20)
    for first in stride(from: 1, through: Int64(rows), by: Int(piece)) {
      let part = first..<(first + piece)
      without.append(try clock.measure { try plain.insert(part, into: table, perTransaction: perTransaction) })
      with.append(try clock.measure { try captured.insert(part, into: table, perTransaction: perTransaction) })
    }
    return with.sorted()[with.count / 2] / without.sorted()[without.count / 2]
  }
}
