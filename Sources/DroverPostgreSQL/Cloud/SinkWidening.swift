// A column that a value does not fit into becomes one that holds it and everything that is there: boolean, bigint, double precision if every
// integer survives it, text. What one machine declares with another affinity than another, and what is no blob in a column of blobs, makes it jsonb,
// which keeps each value with its type. No step loses a value, so reading back gives what was written.

import DroverCore

struct SinkWidening {
  let connection: Connection

  /// The type that holds the column's values and the wanted ones.
  func target(_ column: SinkColumn, _ wanted: TypeNumber, table: String) throws -> TypeNumber {
    guard column.type == .bigint, wanted == .double else { return wanted }
    let limit = Int64(1) << 53
    let isLarge = try connection.query(
      "SELECT EXISTS (SELECT 1 FROM \(table) WHERE \(column.identifier) NOT BETWEEN -\(limit) AND \(limit))"
    ).boolean(0, 0)
    return isLarge ? .text : .double
  }

  /// Makes the column of a table one of another type.
  func run(_ column: SinkColumn, to type: TypeNumber, table: String) throws {
    guard column.type != type else { return }
    try SinkProtection.lift(table, connection)
    try connection.change(
      """
      ALTER TABLE \(table) ALTER COLUMN \(column.identifier) TYPE \(SinkColumn.definition(type))
        USING \(type == .jsonb ? Self.json(column) : Self.scalar(column, type))
      """)
  }

  private static func scalar(_ column: SinkColumn, _ type: TypeNumber) -> String {
    let name = column.identifier
    switch (column.type, type) {
    case (.boolean, .text): return "\(name)::integer::text"
    case (.boolean, _): return "\(name)::integer::\(type.name)"
    case (.double, .text):
      return
        "CASE \(name)::text WHEN 'Infinity' THEN '9e999' WHEN '-Infinity' THEN '-9e999' WHEN '-0' THEN '-0.0' ELSE \(name)::text END"
    default: return "\(name)::\(type.name)"
    }
  }

  private static func json(_ column: SinkColumn) -> String {
    let name = column.identifier
    switch column.type {
    case .boolean: return "to_jsonb(\(name)::integer)"
    case .bytea:
      return
        "CASE WHEN \(name) IS NOT NULL THEN jsonb_build_object('$blob', translate(encode(\(name), 'base64'), E'\\n', '')) END"
    case .double: return double("\(name)::text", isReal: column.affinity == .real)
    case .text where column.affinity.isNumeric:
      return """
        CASE WHEN \(name) = '9e999' THEN '{"$real":"inf"}'::jsonb WHEN \(name) = '-9e999' THEN '{"$real":"-inf"}'::jsonb
             WHEN \(name) ~ '^-?[0-9]+$' AND \(column.affinity != .real) THEN to_jsonb(\(name)::numeric)
             WHEN \(name) ~ '^-?[0-9]+([.][0-9]+)?(e[+-]?[0-9]+)?$' THEN \(double("\(name)::double precision::text", isReal: true))
             ELSE to_jsonb(\(name)) END
        """
    default: return "to_jsonb(\(name))"
    }
  }

  /// A double's shortest text as JSON; where whole numbers are integers, they stay so.
  private static func double(_ text: String, isReal: Bool) -> String {
    let number = "to_jsonb(\(text)::numeric + 0.0)"
    return """
      CASE \(text) WHEN 'Infinity' THEN '{"$real":"inf"}'::jsonb WHEN '-Infinity' THEN '{"$real":"-inf"}'::jsonb
           WHEN '-0' THEN '{"$real":"-0.0"}'::jsonb
           ELSE \(isReal ? number : "CASE WHEN \(text)::numeric % 1 = 0 AND abs(\(text)::numeric) < 9223372036854775807 THEN to_jsonb(trunc(\(text)::numeric)) ELSE \(number) END") END
      """
  }
}
