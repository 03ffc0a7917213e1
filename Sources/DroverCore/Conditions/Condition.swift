// A condition on the columns of one row, as a value: `complete_when` and row filters. It travels as text in a small grammar of its own
// and never as SQL to be run: each store writes its own SQL from the value, with quoted names and literals.
// docs/decisions/0011-conditions-are-values.md.

package indirect enum Condition: Hashable, Sendable {
  case comparison(Operand, Comparison, Operand)
  /// The operand equals one of the values; at least one.
  case among(Operand, [Operand])
  case not(Condition)
  /// All hold; at least two.
  case all([Condition])
  /// Any holds; at least two.
  case any([Condition])

  package enum Operand: Hashable, Sendable {
    case column(String)
    case literal(Value)
  }

  /// As in SQL: with NULL all but the last two give NULL.
  package enum Comparison: String, CaseIterable, Sendable {
    case equal = "="
    case unequal = "<>"
    case less = "<"
    case atMost = "<="
    case greater = ">"
    case atLeast = ">="
    case same = "IS"
    case different = "IS NOT"
  }

  /// The columns that it names, each once for each time.
  package var columns: [String] {
    func name(_ operand: Operand) -> [String] {
      if case .column(let name) = operand { [name] } else { [] }
    }
    switch self {
    case .comparison(let left, _, let right): return name(left) + name(right)
    case .among(let operand, let values): return name(operand) + values.flatMap(name)
    case .not(let condition): return condition.columns
    case .all(let conditions), .any(let conditions): return conditions.flatMap(\.columns)
    }
  }

  /// How deep NOT, AND and OR are nested.
  package var depth: Int {
    switch self {
    case .comparison, .among: 0
    case .not(let condition): 1 + condition.depth
    case .all(let conditions), .any(let conditions): 1 + (conditions.map(\.depth).max() ?? 0)
    }
  }

  /// The same with the columns spelt as the table spells them; names are compared as SQLite compares them.
  /// - Throws: when it names a column that the table has not.
  package func resolved(among columns: [Column]) throws(InvalidName) -> Condition {
    func resolve(_ operand: Operand) throws(InvalidName) -> Operand {
      guard case .column(let name) = operand else { return operand }
      guard let column = columns.first(where: { SQLName($0.name) == SQLName(name) }) else {
        throw InvalidName(message: "there is no column \(name), which a condition names")
      }
      return .column(column.name)
    }
    func resolveAll(_ conditions: [Condition]) throws(InvalidName) -> [Condition] {
      var resolved: [Condition] = []
      for condition in conditions { resolved.append(try condition.resolved(among: columns)) }
      return resolved
    }
    switch self {
    case .comparison(let left, let comparison, let right):
      return .comparison(try resolve(left), comparison, try resolve(right))
    case .among(let operand, let values):
      var resolved: [Operand] = []
      for value in values { resolved.append(try resolve(value)) }
      return .among(try resolve(operand), resolved)
    case .not(let condition): return .not(try condition.resolved(among: columns))
    case .all(let conditions): return .all(try resolveAll(conditions))
    case .any(let conditions): return .any(try resolveAll(conditions))
    }
  }

  // MARK: Text

  /// The text that reads back as this value, the same for the same value.
  package var text: String { text { Self.quoted($0) } }

  /// The condition with each column written by `column`: SQL of SQLite too, whose literals these are.
  package func text(column: (String) -> String) -> String {
    func write(_ operand: Operand) -> String {
      switch operand {
      case .column(let name): column(name)
      case .literal(let value): Self.literal(value)
      }
    }
    func join(_ conditions: [Condition], _ word: String) -> String {
      "(" + conditions.map { $0.text(column: column) }.joined(separator: " \(word) ") + ")"
    }
    switch self {
    case .comparison(let left, let comparison, let right):
      return "\(write(left)) \(comparison.rawValue) \(write(right))"
    case .among(let operand, let values):
      return "\(write(operand)) IN (\(values.map(write).joined(separator: ", ")))"
    case .not(let condition): return "NOT \(condition.text(column: column))"
    case .all(let conditions): return join(conditions, "AND")
    case .any(let conditions): return join(conditions, "OR")
    }
  }

  private static func quoted(_ name: String) -> String { "\"\(doubling(0x22, in: name.utf8))\"" }

  private static func literal(_ value: Value) -> String {
    switch value {
    case .null: "NULL"
    case .integer(let integer): String(integer)
    case .real(let real): real.description
    case .text(let bytes): "'\(doubling(0x27, in: bytes))'"
    case .blob(let bytes):
      "x'" + bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() + "'"
    }
  }

  private static func doubling(_ quote: UInt8, in bytes: some Swift.Sequence<UInt8>) -> String {
    String(decoding: bytes.flatMap { $0 == quote ? [quote, quote] : [$0] }, as: UTF8.self)
  }
}
