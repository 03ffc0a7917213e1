// Reads rows of one captured table by their keys, as they travel. A class with all that it needs, because a million rows are read by it in one
// go: what could be asked of the table's description for each row is asked once.

import DroverCore
import GRDB

final class RowReader {
  let table: CapturedTable
  private let select: Statement
  private let findKept: Statement?
  private let key: [Int]
  private let columns: Int
  private let hashes: [Int: ValueHash]
  private let syncedIndex: Int?
  private let isFiltered: Bool
  /// Whether two rows may have one key.
  private let mayHaveDuplicates: Bool
  /// Whether the row that was shown last was kept from the table, with its lines.
  private(set) var isKept = false

  init(_ table: CapturedTable, _ database: Database) throws {
    self.table = table
    select = try Statement(database, table.selectRow)
    findKept =
      table.schema.kind == .payload || table.freezes
      ? try Statement(database, "SELECT field, value FROM drover_kept WHERE seq = ?") : nil
    key = table.schema.key
    columns = table.schema.columns.count
    hashes = table.hashes
    syncedIndex = table.syncedIndex
    isFiltered = table.filter != nil
    mayHaveDuplicates = table.declaredKey?.isUnique == false
  }

  /// What is sent of an entry's row; `.none` where it is gone or does not travel.
  /// - Parameter store: takes the row's values.
  func content(seq: Int64, key: Values, into store: ValueStore) throws -> Content {
    let first = store.count
    let isThere = try find(seq: seq, key: key) { column, value in
      if column == syncedIndex {
        // In the cloud a row is there because it was synced, so the flag says so there.
        store.append(.integer(1))
      } else if !hashes.isEmpty, let hash = hashes[column] {
        store.append(hash.hashed(Value(value)))
      } else {
        store.append(lent: value)
      }
    }
    return isThere ? .row(store.values(from: first)) : .none
  }

  /// The row as it stands in the app's table, or was kept from it; nil where it is gone or does not travel.
  func stored(seq: Int64, key: Values) throws -> [Value]? {
    var values: [Value] = []
    return try find(seq: seq, key: key) { values.append(Value($1)) } ? values : nil
  }

  /// Shows the values of an entry's row in the order of the columns. False, without showing any, where it is gone or does not travel.
  private func find(seq: Int64, key: Values, _ see: (_ column: Int, _ value: LentValue) -> Void) throws -> Bool {
    isKept = false
    if var kept = try kept(seq: seq) {
      isKept = true
      if table.schema.tellsLives { kept[columns - 1] = key[key.count - 1] }
      for (column, value) in kept.enumerated() { value.lend { see(column, $0) } }
      return true
    }
    defer { select.reset() }
    key.lendEach { select.bind(lent: $1, at: Int32($0 + 1)) }
    while try select.step() {
      // A collation may find a row of another key; that one has an entry of its own.
      guard isRow(of: key) else { continue }
      guard !isFiltered || select.integer(Int32(columns)) != 0 else { return false }
      for column in 0..<columns { see(column, select.lent(Int32(column))) }
      if mayHaveDuplicates {
        // Looked at anew, the table is refused with its reason.
        while try select.step() { if isRow(of: key) { throw EdgeStoreError.schemaChanged } }
      }
      return true
    }
    return false
  }

  private func isRow(of key: Values) -> Bool {
    var isSame = true
    key.lendEach { isSame = isSame && $1 == select.lent(Int32(self.key[$0])) }
    return isSame
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

  /// The lines that were kept with an entry's row, for each table of lines.
  func keptLines(seq: Int64, header key: [Value]) throws -> [[[Value]]] {
    guard let findKept else { return table.lines.map { _ in [] } }
    defer { findKept.reset() }
    findKept.bind(seq, at: 1)
    var found = [[[UInt8]: [Value]]](repeating: [:], count: table.lines.count)
    while try findKept.step() {
      guard case .text(let name) = findKept.value(0), let field = CapturedTable.lineField(Array(name)),
        table.lines.indices.contains(field.table)
      else { continue }
      let columns = table.lines[field.table].schema.rows.columns
      guard let index = columns.firstIndex(where: { field.column.elementsEqual($0.name.utf8) }) else { continue }
      let nothing = [Value](repeating: .null, count: columns.count)
      found[field.table][Array(field.line), default: nothing][index] = findKept.value(1)
    }
    return zip(table.lines, found).map { lines, rows in
      rows.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map(\.value).filter {
        lines.schema.header(of: $0) == key
      }
    }
  }
}
