// Making values fit before they are sent: what a column does not hold widens it, and what no column holds is told of its event, so that the
// database has no reason to refuse the others.

import DroverCore

enum Fitting {
  /// What came of it.
  enum Result {
    /// For each row why it cannot be written, or nil.
    case done([String?])
    /// Tables have changed: the caller must read them again.
    case widened
  }

  /// - Parameters:
  ///   - rows: as the columns' affinities have converted them; nil where there is no row.
  ///   - tables: the tables that have the columns, under the same names.
  static func run(
    _ rows: [[Value]?], _ columns: [SinkColumn], key: [Int], tables: [SinkTable], _ transaction: Transaction
  ) throws -> Result {
    var faults = [String?](repeating: nil, count: rows.count)
    var wanted: [Int: TypeNumber] = [:]
    for (index, row) in rows.enumerated() {
      guard let row else { continue }
      for (place, column) in columns.enumerated() {
        switch column.fit(row[place]) {
        case .fits: continue
        case .needs(let type):
          wanted[place] = type
          if let reason = transaction.stubborn[ExactText(column.identifier)] { faults[index] = faults[index] ?? reason }
        case .never(let reason): faults[index] = faults[index] ?? reason
        }
      }
      if key.contains(where: { row[$0] == .null }) { faults[index] = "a part of its key is NULL" }
    }
    let open = wanted.filter { transaction.stubborn[ExactText(columns[$0.key].identifier)] == nil }
    guard !open.isEmpty else { return .done(faults) }
    for (place, type) in open {
      let values = zip(rows, faults).compactMap { $1 == nil ? $0?[place] : nil }
      guard !values.isEmpty else { continue }
      try widen(columns[place], to: widest(columns[place], type, values), tables, transaction)
    }
    // Only what is refused anyhow needed it.
    guard zip(rows, faults).contains(where: { $0 != nil && $1 == nil && needsMore($0!, columns) }) else {
      return .done(faults)
    }
    try transaction.reshaped()
    return .widened
  }

  private static func needsMore(_ row: [Value], _ columns: [SinkColumn]) -> Bool {
    zip(row, columns).contains { if case .needs = $1.fit($0) { true } else { false } }
  }

  /// The type that all the values fit into.
  private static func widest(_ column: SinkColumn, _ first: TypeNumber, _ values: [Value]) -> TypeNumber {
    var type = column.type
    for value in values + values {
      if case .needs(let other) = column.of(type).fit(value) { type = other }
    }
    return type == column.type ? first : type
  }

  private static func widen(
    _ column: SinkColumn, to type: TypeNumber, _ tables: [SinkTable], _ transaction: Transaction
  ) throws {
    let widening = SinkWidening(connection: transaction.connection)
    do {
      try transaction.atomically {
        let relations = tables.flatMap { $0.relations(with: column) }
        let targets = try relations.map { try widening.target(column, type, table: $0) }
        let target = targets.contains(.text) ? TypeNumber.text : targets[0]
        for relation in relations { try widening.run(column, to: target, table: relation) }
      }
    } catch let error as PostgreSQLError where error.isChangeRefused {
      transaction.stubborn[ExactText(column.identifier)] =
        "the column \(column.name) is \(column.type.name) and could not be made \(type.name): \(error.explanation)"
      try transaction.reshaped()
    }
  }
}

extension SinkColumn {
  /// The same with another type.
  func of(_ type: TypeNumber) -> SinkColumn {
    SinkColumn(name: name, identifier: identifier, affinity: affinity, type: type)
  }
}
