// Whether a condition holds of a row, decided from values as SQLite decides it (https://www.sqlite.org/datatype3.html, section 4), for a
// store whose own SQL compares otherwise.

extension Condition {
  /// - Parameter column: a column's value, and the affinity that it is declared with.
  /// - Returns: nil for NULL.
  package func holds(_ column: (String) -> (value: Value, affinity: Affinity)) -> Bool? {
    switch self {
    case .comparison(let left, let comparison, let right):
      return Self.compare(Self.side(left, column), comparison, Self.side(right, column))
    case .among(let operand, let values):
      let left = Self.side(operand, column)
      // Those of the list have no affinity, whatever they are.
      let found = values.map { Self.compare(left, .equal, (Self.side($0, column).value, nil)) }
      return Self.any(found)
    case .not(let condition): return condition.holds(column).map { !$0 }
    case .any(let conditions): return Self.any(conditions.map { $0.holds(column) })
    case .all(let conditions): return Self.any(conditions.map { $0.holds(column).map { !$0 } }).map { !$0 }
    }
  }

  private typealias Side = (value: Value, affinity: Affinity?)

  private static func any(_ results: [Bool?]) -> Bool? {
    if results.contains(true) { return true }
    return results.contains(nil) ? nil : false
  }

  private static func side(_ operand: Operand, _ column: (String) -> (value: Value, affinity: Affinity)) -> Side {
    switch operand {
    case .literal(let value): (value, nil)
    case .column(let name): column(name)
    }
  }

  private static func compare(_ left: Side, _ comparison: Comparison, _ right: Side) -> Bool? {
    let affinity = affinity(left.affinity, right.affinity)
    let (a, b) = (affinity.converting(left.value), affinity.converting(right.value))
    if comparison == .same || comparison == .different {
      let isSame = a == .null || b == .null ? a == b : order(a, b) == 0
      return isSame == (comparison == .same)
    }
    guard a != .null, b != .null else { return nil }
    let order = order(a, b)
    return switch comparison {
    case .equal: order == 0
    case .unequal: order != 0
    case .less: order < 0
    case .atMost: order <= 0
    case .greater: order > 0
    case .atLeast: order >= 0
    case .same, .different: nil
    }
  }

  /// What both operands take on before they are compared.
  private static func affinity(_ left: Affinity?, _ right: Affinity?) -> Affinity {
    switch (left, right) {
    case (nil, nil): .blob
    case (let one?, nil), (nil, let one?): one.isNumeric ? .numeric : one
    case (let one?, let other?): one.isNumeric || other.isNumeric ? .numeric : .blob
    }
  }

  /// Below 0, 0 or above it: numbers, then texts, then blobs.
  private static func order(_ a: Value, _ b: Value) -> Int {
    switch (a, b) {
    case (.integer(let x), .integer(let y)): order(x, y)
    case (.real(let x), .real(let y)): order(x, y)
    case (.integer(let x), .real(let y)): order(x, y)
    case (.real(let x), .integer(let y)): -order(y, x)
    case (.text(let x), .text(let y)), (.blob(let x), .blob(let y)):
      x.elementsEqual(y) ? 0 : x.lexicographicallyPrecedes(y) ? -1 : 1
    default: order(rank(a), rank(b))
    }
  }

  private static func rank(_ value: Value) -> Int {
    switch value {
    case .null: 0
    case .integer, .real: 1
    case .text: 2
    case .blob: 3
    }
  }

  private static func order<Number: Comparable>(_ x: Number, _ y: Number) -> Int { x < y ? -1 : x > y ? 1 : 0 }

  /// Exactly, also where the integer is none of a double's.
  private static func order(_ x: Int64, _ y: Double) -> Int {
    guard y < 0x1p63 else { return -1 }
    guard y >= -0x1p63 else { return 1 }
    let whole = Int64(y.rounded(.towardZero))
    return x == whole ? order(0, y - Double(whole)) : order(x, whole)
  }

  private static func order(_ x: Int, _ y: Double) -> Int { y > 0 ? -1 : y < 0 ? 1 : 0 }
}
