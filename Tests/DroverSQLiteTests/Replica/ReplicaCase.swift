// One case of the property tests: a table and what the app does with it, as values. So a case can be drawn from a seed, be written as an SQL
// script, and be made smaller piece by piece. Columns are known by numbers, so that a case stays whole when one is renamed or taken out.

import DroverCore

struct ColumnDefinition: Equatable {
  let number: Int
  var name: String
  var type = ""
  var collation: String?
  /// An SQL literal.
  var defaultValue: String?
  /// A condition in which `$` stands for the column.
  var check: String?
  var generated: Generated?

  struct Generated: Equatable {
    /// An expression in which `$` stands for the source.
    var expression: String
    /// The number of another column.
    var source: Int
    var isStored: Bool
  }

  /// - Parameter names: of all columns, by number.
  func sql(names: [Int: String]) -> String {
    var parts = [ReplicaCase.quoted(name), type]
    if let collation { parts.append("COLLATE \(collation)") }
    if let defaultValue { parts.append("DEFAULT \(defaultValue)") }
    if let check { parts.append("CHECK (\(Self.filled(check, name)))") }
    if let generated, let source = names[generated.source] {
      let expression = Self.filled(generated.expression, source)
      parts.append("GENERATED ALWAYS AS (\(expression)) \(generated.isStored ? "STORED" : "VIRTUAL")")
    }
    return parts.filter { !$0.isEmpty }.joined(separator: " ")
  }

  private static func filled(_ template: String, _ name: String) -> String {
    template.split(separator: "$", omittingEmptySubsequences: false).joined(separator: ReplicaCase.quoted(name))
  }
}

struct TableDefinition: Equatable {
  var name = "t"
  var columns: [ColumnDefinition]
  /// Numbers of the key's columns, in the key's order; empty for a table without one.
  var key: [Int] = []
  /// What follows `PRIMARY KEY` of a single column: ``, `DESC`, `AUTOINCREMENT`.
  var keyOption = ""
  var uniques: [[Int]] = []
  var isStrict = false
  var isWithoutRowid = false

  var sql: String {
    let names = Dictionary(uniqueKeysWithValues: columns.map { ($0.number, $0.name) })
    func list(_ numbers: [Int]) -> String {
      numbers.compactMap { names[$0].map(ReplicaCase.quoted) }.joined(separator: ", ")
    }
    var parts = columns.map { column in
      column.sql(names: names) + (key == [column.number] ? " PRIMARY KEY \(keyOption)" : "")
    }
    if key.count > 1 { parts.append("PRIMARY KEY (\(list(key)))") }
    parts += uniques.map { "UNIQUE (\(list($0)))" }
    let options = (isStrict ? ["STRICT"] : []) + (isWithoutRowid ? ["WITHOUT ROWID"] : [])
    return
      "CREATE TABLE \(ReplicaCase.quoted(name)) (\(parts.joined(separator: ", "))) \(options.joined(separator: ", "))"
  }
}

/// A column by its number, and an SQL literal.
struct Assignment: Equatable {
  var column: Int
  var value: String
}

indirect enum ReplicaStep: Equatable {
  /// - Parameter update: what an UPSERT sets; nil for a plain INSERT.
  case insert(conflict: String, values: [Assignment], update: [Assignment]?)
  case update(conflict: String, set: [Assignment], condition: Assignment?)
  case delete(condition: Assignment?)
  case transaction([ReplicaStep], ending: String)
  case savepoint([ReplicaStep], isRolledBack: Bool)
  case addColumn(ColumnDefinition)
  case renameColumn(Int, to: String)
  case dropColumn(Int)
  case uniqueIndex([Int])
  /// What was captured travels, and both sides are compared.
  case sync
}

struct ReplicaCase: Equatable {
  enum Delivery: CaseIterable { case inOrder, reversed, twice }

  let seed: UInt64
  var kind = Kind.snapshot
  var table: TableDefinition
  var steps: [ReplicaStep]
  /// Drover is there before the first step; otherwise it comes with the first sync, and brings the rows.
  var attachesFirst = true
  var delivery = Delivery.inOrder
  var eventsPerFrame = 100

  static func quoted(_ name: String) -> String { "\"" + name.replacing("\"", with: "\"\"") + "\"" }
}
