// What became of every value that an edit has made: it is there in the end, a later edit has seen it, or it is listed as a conflict.

import DroverCore

struct PairLedger {
  private struct Item: Hashable {
    let row: Pair.RowName
    let values: [Value]
  }

  /// Columns whose values the database computes, by stream.
  private let computed: [String: [Int]]
  /// Streams whose rows go with the rows of others: then the agent makes edits too, which no transaction of a test shows.
  private let cascading: Set<String>
  /// Values that edits have made; true once a later edit has seen them.
  private var made: [Item: Bool] = [:]
  /// Rows that were deleted, until an edit makes them again where they were gone.
  private var deleted: Set<Pair.RowName> = []
  /// By side, rows that were made there since everything was exchanged. If such a row is deleted, the other side may never have heard of it.
  private var young: [Bool: Set<Pair.RowName>] = [:]

  init(computed: [String: [Int]], cascading: Set<String>) {
    self.computed = computed
    self.cascading = cascading
  }

  private func item(_ row: Pair.RowName, _ values: [Value]) -> Item {
    var values = values
    for index in computed[row.stream] ?? [] { values[index] = .null }
    return Item(row: row, values: values)
  }

  /// One transaction of one side.
  mutating func committed(before: Pair.Rows, after: Pair.Rows, isCloud: Bool) {
    for name in Set(before.keys).union(after.keys) where before[name] != after[name] {
      if let old = before[name] { made[item(name, old)] = true }
      if let new = after[name] { made[item(name, new)] = false }
      if after[name] == nil {
        if !young[isCloud, default: []].contains(name) { deleted.insert(name) }
      } else if before[name] == nil {
        deleted.remove(name)
        young[isCloud, default: []].insert(name)
      }
    }
  }

  /// Everything has reached the other side.
  mutating func exchanged() { young = [:] }

  /// What a listed value was to the edits, and whether every value has its place. Empty if all is well.
  /// - Parameters:
  ///   - rows: what is in the cloud in the end.
  ///   - isLoose: whether an edit may make a value again that was there before, as foreign keys do.
  func faults(_ rows: Pair.Rows, _ conflicts: [Conflict], isLoose: Bool) -> [String] {
    var listed: [Item: Int] = [:]
    var listedDeletes: Set<Pair.RowName> = []
    var faults: [String] = []
    for conflict in conflicts {
      let name = Pair.RowName(stream: conflict.stream.text, id: conflict.localID)
      guard let values = conflict.lost.value else {
        if !listedDeletes.insert(name).inserted, !isLoose { faults.append("the delete of \(name) is listed twice") }
        continue
      }
      let item = item(name, values)
      listed[item, default: 0] += 1
      if made[item] == nil { faults.append("\(name): a value is listed that no edit made: \(Self.text(values))") }
    }
    for (item, wasSeen) in made {
      let isFinal = rows[item.row].map { self.item(item.row, $0) == item } ?? false
      let count = listed[item] ?? 0
      let what = "\(item.row): \(Self.text(item.values))"
      if count == 0, !isFinal, !wasSeen, !cascading.contains(item.row.stream) {
        faults.append("lost: no edit has seen \(what), and it is not listed")
      }
      if count > 1, !isLoose { faults.append("listed \(count) times: \(what)") }
      if count > 0, isFinal, !isLoose { faults.append("listed although it is there: \(what)") }
    }
    for name in deleted where rows[name] != nil && !listedDeletes.contains(name) && !cascading.contains(name.stream) {
      faults.append("lost: \(name) was deleted, is there, and the delete is not listed")
    }
    return faults.sorted()
  }

  static func text(_ values: [Value]) -> String {
    values.map { value in
      switch value {
      case .null: "NULL"
      case .integer(let integer): "\(integer)"
      case .real(let real): "\(real)"
      case .text(let bytes): "'\(String(decoding: bytes, as: UTF8.self))'"
      case .blob(let bytes): "x'\(bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined())'"
      }
    }.joined(separator: ", ")
  }
}
