// Reads rows of one captured table by their keys, as they travel. A class with all that it needs, because a million rows are read by it in one
// go: what could be asked of the table's description for each row is asked once.

import DroverCore
import GRDB

final class RowReader {
  let table: CapturedTable
  private let select: Statement
  private let findKept: Statement?
  private let key: [Int]
  private let columns: Range<Int32>
  private let hashes: [(index: Int, hash: ValueHash)]
  private let syncedIndex: Int?
  private let isFiltered: Bool

  init(_ table: CapturedTable, _ database: Database) throws {
    self.table = table
    select = try Statement(database, table.selectRow)
    findKept =
      table.schema.kind == .payload
      ? try Statement(database, "SELECT field, value FROM drover_kept WHERE seq = ?") : nil
    key = table.schema.key
    columns = 0..<Int32(table.schema.columns.count)
    hashes = table.hashes.map { ($0.key, $0.value) }
    syncedIndex = table.syncedIndex
    isFiltered = table.filter != nil
  }

  /// What is sent of an entry's row; `.none` where it is gone or does not travel.
  func content(of entry: OutboxEntry) throws -> Content {
    guard var values = try stored(entry) else { return .none }
    for (index, hash) in hashes { values[index] = hash.hashed(values[index]) }
    // In the cloud a row is there because it was synced, so the flag says so there.
    if let syncedIndex { values[syncedIndex] = .integer(1) }
    return .row(values)
  }

  /// The row as it stands in the app's table, or was kept from it; nil where it is gone or does not travel.
  func stored(_ entry: OutboxEntry) throws -> [Value]? {
    if let kept = try kept(seq: entry.seq) { return kept }
    defer { select.reset() }
    for index in entry.key.indices { select.bind(entry.key[index], at: Int32(index + 1)) }
    while try select.step() {
      let values = columns.map { select.value($0) }
      // A collation may find a row of another key; that one has an entry of its own.
      guard key.indices.allSatisfy({ values[key[$0]] == entry.key[$0] }) else { continue }
      guard !isFiltered || select.integer(columns.upperBound) != 0 else { return nil }
      return values
    }
    return nil
  }

  private func kept(seq: Int64) throws -> [Value]? {
    guard let findKept else { return nil }
    defer { findKept.reset() }
    findKept.bind(seq, at: 1)
    var values: [Value]?
    while try findKept.step() {
      guard case .text(let name) = findKept.value(0),
        let index = table.schema.columns.firstIndex(where: { name.elementsEqual($0.name.utf8) })
      else { continue }
      if values == nil { values = [Value](repeating: .null, count: table.schema.columns.count) }
      values![index] = findKept.value(1)
    }
    return values
  }
}
