// A condition as PostgreSQL decides it, for the trigger that refuses edits of complete rows. Columns have types here and affinities at the
// source: what is compared is first what the affinity makes of it. A comparison with a text that has NUL in it is NULL, so that it refuses nothing.

import DroverCore

struct ConditionSQL {
  /// A column of the table, and how it is written; nil for one that the table has not.
  let column: (String) -> (column: SinkColumn, text: String)?

  /// What a side of a comparison is in SQL.
  private enum Side {
    case null
    case number(String)
    case text(String)
    case blob(String)
    /// A value whose class stands in the value itself: each class with the condition that it is one, and what is compared with NULL.
    case any([(when: String, side: Side)], value: String)
    case unknown

    /// In SQLite numbers come before texts, and texts before blobs.
    var rank: Int? {
      switch self {
      case .number: 1
      case .text: 2
      case .blob: 3
      case .null, .any, .unknown: nil
      }
    }

    var sql: String? {
      switch self {
      case .number(let sql), .text(let sql), .blob(let sql), .any(_, let sql): sql
      case .null: "NULL"
      case .unknown: nil
      }
    }
  }

  func text(of condition: Condition) -> String {
    switch condition {
    case .comparison(let left, let comparison, let right): compare(left, comparison, right)
    case .among(let operand, let values):
      "(" + values.map { compare(operand, .equal, $0) }.joined(separator: " OR ") + ")"
    case .not(let condition): "(NOT \(text(of: condition)))"
    case .all(let conditions): "(" + conditions.map(text).joined(separator: " AND ") + ")"
    case .any(let conditions): "(" + conditions.map(text).joined(separator: " OR ") + ")"
    }
  }

  private func compare(
    _ left: Condition.Operand, _ comparison: Condition.Comparison, _ right: Condition.Operand
  ) -> String {
    compare(side(left, beside: right), comparison, side(right, beside: left))
  }

  private func compare(_ a: Side, _ comparison: Condition.Comparison, _ b: Side) -> String {
    guard let x = a.sql, let y = b.sql else { return "NULL::boolean" }
    switch (a, b) {
    case (.null, _), (_, .null):
      let other = if case .null = a { y } else { x }
      switch comparison {
      case .same: return other == "NULL" ? "true" : "(\(other) IS NULL)"
      case .different: return other == "NULL" ? "false" : "(\(other) IS NOT NULL)"
      default: return "NULL::boolean"
      }
    default: break
    }
    // Each class is compared on its own: PostgreSQL evaluates no branch but the one whose condition holds.
    func branches(_ classes: [(when: String, side: Side)], _ compare: (Side) -> String) -> String {
      "(CASE \(classes.map { "WHEN \($0.when) THEN \(compare($0.side))" }.joined(separator: " ")) ELSE NULL END)"
    }
    if case .any(let classes, let value) = a {
      return branches([("\(value) IS NULL", .null)] + classes) { compare($0, comparison, b) }
    }
    if case .any(let classes, let value) = b {
      return branches([("\(value) IS NULL", .null)] + classes) { compare(a, comparison, $0) }
    }
    if a.rank == b.rank {
      switch comparison {
      case .same: return "(\(x) IS NOT DISTINCT FROM \(y))"
      case .different: return "(\(x) IS DISTINCT FROM \(y))"
      default: return "(\(x) \(comparison.rawValue) \(y))"
      }
    }
    // Values of two classes are never equal, and their order is that of the classes.
    let isLess = a.rank! < b.rank!
    let result =
      switch comparison {
      case .same, .equal: false
      case .different, .unequal: true
      case .less, .atMost: isLess
      case .greater, .atLeast: !isLess
      }
    switch comparison {
    case .same: return "(\(x) IS NULL AND \(y) IS NULL)"
    case .different: return "(\(x) IS NOT NULL OR \(y) IS NOT NULL)"
    default: return "(CASE WHEN \(x) IS NULL OR \(y) IS NULL THEN NULL ELSE \(result) END)"
    }
  }

  private func side(_ operand: Condition.Operand, beside other: Condition.Operand) -> Side {
    switch operand {
    case .column(let name):
      // What the table has not is NULL.
      guard let found = column(name) else { return .null }
      let own = side(found.column, found.text)
      // Beside a number a text is one too, if it reads as one.
      if case .text(let text) = own, case .column(let name) = other, column(name)?.column.affinity.isNumeric == true {
        return Self.numberOrText(text)
      }
      return own
    case .literal(let value):
      var affinity = Affinity.blob
      if case .column(let name) = other, let found = column(name) {
        affinity = found.column.affinity
        if affinity == .integer || affinity == .real { affinity = .numeric }
      }
      return side(affinity.converting(value))
    }
  }

  private func side(_ column: SinkColumn, _ text: String) -> Side {
    switch column.type {
    case .bigint: .number("\(text)::numeric")
    case .boolean: .number("\(text)::integer::numeric")
    // The cast from double to numeric rounds.
    case .double: .number("\(text)::text::numeric")
    case .text where column.affinity == .text: .text(text)
    case .bytea: .blob(text)
    case .text: Self.numberOrText(text)
    case .json, .jsonb: Self.json("\(text)::jsonb")
    }
  }

  /// A column of numeric affinity that keeps texts: what reads as a number is one.
  private static func numberOrText(_ text: String) -> Side {
    .any(
      [
        ("\(text) ~ '^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?$'", .number("\(text)::numeric")),
        ("true", .text(text)),
      ], value: text)
  }

  /// A value with a type of its own, as `JSONColumn` writes it.
  private static func json(_ value: String) -> Side {
    let plain = "(\(value) #>> '{}')"
    func bytes(_ tag: String) -> String { "decode(\(value) ->> '\(tag)', 'base64')" }
    return .any(
      [
        ("jsonb_typeof(\(value)) = 'null'", .null),
        ("jsonb_typeof(\(value)) = 'number'", .number("\(plain)::numeric")),
        ("jsonb_typeof(\(value)) = 'string'", .text("\(plain) COLLATE \"C\"")),
        ("\(value) ? '$blob'", .blob(bytes("$blob"))),
        (
          "\(value) ? '$real'",
          .number(
            "(CASE \(value) ->> '$real' WHEN 'inf' THEN '9e999'::numeric WHEN '-inf' THEN '-9e999'::numeric ELSE 0 END)"
          )
        ),
      ], value: value)
  }

  private func side(_ value: Value) -> Side {
    switch value {
    case .null: .null
    case .integer(let integer): .number("\(integer)::numeric")
    case .real(let real): real.isFinite ? .number("'\(real)'::numeric") : .unknown
    case .text(let bytes):
      SinkColumn.fault(in: bytes) == nil
        ? .text(
          "E'\(String(decoding: bytes, as: UTF8.self).replacing("\\", with: "\\\\").replacing("'", with: "''"))'::text COLLATE \"C\""
        ) : .unknown
    case .blob(let bytes):
      .blob("decode('\(bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined())', 'hex')")
    }
  }
}
