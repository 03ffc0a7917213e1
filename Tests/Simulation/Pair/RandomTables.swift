// Tables of all kinds that an app may have, and statements of the app and of SQL clients in the cloud. Drawn from a seed.

import DroverCore

/// A column of a table that was drawn.
struct DrawnColumn {
  enum Kind: CaseIterable { case integer, real, text, blob, decimal, boolean, untyped }
  var name: String
  var kind: Kind
  /// What stands behind the name in CREATE TABLE.
  var declaration: String
  var isGenerated = false
}

struct DrawnTable {
  let name: String
  private(set) var columns: [DrawnColumn]
  /// The names of the key's columns.
  let key: [String]
  let sql: String
  let isNatural: Bool
  /// What happens to its rows with those that they name.
  let onDelete: String?
  var isChild: Bool { onDelete != nil }
  let isParent: Bool

  var generated: [Int] { columns.indices.filter { columns[$0].isGenerated } }
  private var others: [DrawnColumn] {
    columns.filter { !key.contains($0.name) && !$0.isGenerated && $0.name != "token" }
  }

  func declaration() throws -> StreamDeclaration {
    try StreamDeclaration(name: StreamName(name), kind: .snapshot, table: name) {
      $0.flow = Flow(direction: .both, isKeyNatural: isNatural)
    }
  }

  // MARK: Tables

  /// One table, or two of which the second one refers to the first.
  static func draw(_ random: inout Seeded) -> [DrawnTable] {
    let hasChild = random.percent(40)
    let first = draw("t", parent: nil, isParent: hasChild, &random)
    guard hasChild else { return [first] }
    return [first, draw("u", parent: first.key.count == 1 ? first : nil, isParent: false, &random)]
  }

  private static func draw(_ name: String, parent: DrawnTable?, isParent: Bool, _ random: inout Seeded) -> DrawnTable {
    var columns: [DrawnColumn] = []
    var key: [String] = ["id"]
    var constraints: [String] = []
    var isWithoutRowid = false
    switch isParent ? random.below(4) : random.below(7) {
    case 0, 1: columns.append(DrawnColumn(name: "id", kind: .integer, declaration: "INTEGER PRIMARY KEY"))
    case 2: columns.append(DrawnColumn(name: "id", kind: .integer, declaration: "INTEGER PRIMARY KEY AUTOINCREMENT"))
    case 3, 4:
      columns.append(DrawnColumn(name: "id", kind: .text, declaration: "TEXT NOT NULL PRIMARY KEY"))
      isWithoutRowid = random.percent(40)
    default:
      key = ["k", "n"]
      columns.append(DrawnColumn(name: "k", kind: .text, declaration: "TEXT NOT NULL"))
      columns.append(DrawnColumn(name: "n", kind: .integer, declaration: "INTEGER NOT NULL"))
      constraints.append("PRIMARY KEY (n, k)")
      key = ["n", "k"]
      isWithoutRowid = random.percent(50)
    }
    columns.append(DrawnColumn(name: "token", kind: .text, declaration: "TEXT"))
    for index in 0..<(1 + random.below(4)) {
      let kind = random.pick(DrawnColumn.Kind.allCases)
      columns.append(DrawnColumn(name: "c\(index)", kind: kind, declaration: declaration(kind, &random)))
    }
    if random.percent(15), let source = columns.last(where: { $0.kind != .blob }) {
      let storage = random.pick(["VIRTUAL", "STORED"])
      columns.append(
        DrawnColumn(
          name: "g", kind: .text, declaration: "TEXT AS ('<' || \(source.name) || '>') \(storage)", isGenerated: true))
    }
    var onDelete: String?
    if let parent {
      let type = parent.columns[0].kind == .integer ? "INTEGER" : "TEXT"
      let action = random.pick(["", " ON DELETE CASCADE", " ON DELETE SET NULL"])
      onDelete = action
      columns.append(
        DrawnColumn(
          name: "parent", kind: parent.columns[0].kind,
          declaration: "\(type) REFERENCES \(parent.name) (\(parent.key[0]))\(action)"))
    }
    let definitions = columns.map { "\($0.name) \($0.declaration)" } + constraints
    return DrawnTable(
      name: name, columns: columns, key: key,
      sql: "CREATE TABLE \(name) (\(definitions.joined(separator: ", ")))\(isWithoutRowid ? " WITHOUT ROWID" : "")",
      isNatural: random.percent(50), onDelete: onDelete, isParent: isParent)
  }

  private static func declaration(_ kind: DrawnColumn.Kind, _ random: inout Seeded) -> String {
    let type =
      switch kind {
      case .integer: random.pick(["INTEGER", "INT", "BIGINT"])
      case .real: random.pick(["REAL", "DOUBLE"])
      case .text: random.pick(["TEXT", "VARCHAR(20)"])
      case .blob: "BLOB"
      case .decimal: "DECIMAL(10,2)"
      case .boolean: "BOOLEAN"
      case .untyped: ""
      }
    let isSimple = kind == .integer || kind == .text
    return switch random.below(10) {
    case 0 where isSimple, 1 where isSimple: "\(type) UNIQUE"
    case 2 where kind != .blob: "\(type) DEFAULT 7"
    case 3 where kind == .integer: "\(type) NOT NULL DEFAULT 0"
    case 4 where kind == .text: "\(type) COLLATE NOCASE"
    default: type
    }
  }

  // MARK: Statements

  /// One statement of one side.
  /// - Parameters:
  ///   - token: makes the values of this statement differ from all others.
  ///   - dialect: whose SQL it is.
  func statement(_ token: String, _ dialect: Dialect, _ random: inout Seeded) -> String {
    let shown = token.isEmpty ? "NULL" : "'\(token)'"
    let owner = dialect.isCloud ? "machine_id = 'M1' AND " : ""
    switch random.below(dialect == .postgreSQL ? 90 : 100) {
    case 0..<22: return insert(shown, "INSERT", dialect, &random)
    case 22..<45:
      return "UPDATE \(name) SET \(assignments(shown, dialect, &random)) WHERE \(owner)\(isRow(dialect, &random))"
    case 45..<55:
      return
        "UPDATE \(name) SET token = \(shown) WHERE \(owner)\(key[0]) \(random.pick(["<", ">="])) \(part(0, &random))"
    case 55..<67: return "DELETE FROM \(name) WHERE \(owner)\(isRow(dialect, &random))"
    case 67..<70: return "DELETE FROM \(name) WHERE \(owner)\(key[0]) > \(part(0, &random))"
    case 70..<82:
      let target = (dialect.isCloud ? ["machine_id"] : []) + key
      let change = random.percent(80) ? "UPDATE SET \(assignments(shown, dialect, &random))" : "NOTHING"
      return insert(shown, "INSERT", dialect, &random) + " ON CONFLICT (\(target.joined(separator: ", "))) DO \(change)"
    case 82..<87:
      let moved = key.indices.map { "\(key[$0]) = \(part($0, &random))" }.joined(separator: ", ")
      return "UPDATE \(name) SET \(moved), token = \(shown) WHERE \(owner)\(isRow(dialect, &random))"
    case 87..<90:
      guard let column = others.randomElement(using: &random) else { fallthrough }
      return "UPDATE \(name) SET \(column.name) = \(column.name) WHERE \(owner)\(isRow(dialect, &random))"
    default: return insert(shown, random.pick(["REPLACE", "INSERT OR REPLACE", "INSERT OR IGNORE"]), dialect, &random)
    }
  }

  enum Dialect {
    case edge, sqlite, postgreSQL
    var isCloud: Bool { self != .edge }
  }

  private func insert(_ token: String, _ verb: String, _ dialect: Dialect, _ random: inout Seeded) -> String {
    var names = dialect.isCloud ? ["machine_id"] : []
    var values = dialect.isCloud ? ["'M1'"] : []
    for (index, column) in key.enumerated() {
      names.append(column)
      values.append(part(index, &random))
    }
    names.append("token")
    values.append(token)
    for column in others where random.percent(75) {
      names.append(column.name)
      values.append(value(column, dialect, &random))
    }
    return "\(verb) INTO \(name) (\(names.joined(separator: ", "))) VALUES (\(values.joined(separator: ", ")))"
  }

  private func assignments(_ token: String, _ dialect: Dialect, _ random: inout Seeded) -> String {
    var parts = ["token = \(token)"]
    for column in others where random.percent(45) {
      parts.append("\(column.name) = \(value(column, dialect, &random))")
    }
    return parts.joined(separator: ", ")
  }

  private func isRow(_ dialect: Dialect, _ random: inout Seeded) -> String {
    key.indices.map { "\(key[$0]) = \(part($0, &random))" }.joined(separator: " AND ")
  }

  /// A part of a key: few, so that both sides meet on the same rows.
  private func part(_ index: Int, _ random: inout Seeded) -> String {
    let kind = columns.first { $0.name == key[index] }!.kind
    let isSmall = key.count > 1
    guard kind == .text else { return random.pick(isSmall ? ["1", "2"] : ["1", "2", "3", "-4", "9007199254740993"]) }
    return random.pick(isSmall ? ["'a'", "''"] : ["'a'", "'B'", "'ä/7'", "'5'", "'it''s'"])
  }

  private func value(_ column: DrawnColumn, _ dialect: Dialect, _ random: inout Seeded) -> String {
    if random.percent(12) { return "NULL" }
    if column.name == "parent" {
      return column.kind == .integer ? random.pick(["1", "2", "3"]) : random.pick(["'a'", "'B'", "'5'"])
    }
    var kind = column.kind
    // At the edge a column holds what the app puts there.
    if dialect == .edge, kind != .blob, random.percent(8) { kind = random.pick([.integer, .real, .text]) }
    if kind == .untyped {
      kind = dialect == .postgreSQL ? .untyped : random.pick([.integer, .real, .text, .blob])
    }
    let text =
      switch kind {
      case .integer:
        random.pick(["0", "1", "-7", "42", "9007199254740993", "9223372036854775807", "-9223372036854775808"])
      case .real: random.pick(["0.5", "-1.25", "3.0", "1e300", "5e-324", "0.1"])
      case .text: random.pick(["''", "'x'", "'X'", "'Käse \"jung\" 🧀'", "'007'", "'1e3'", "'o''clock'", "'a\nb'"])
      case .blob:
        dialect == .postgreSQL ? random.pick(["'\\x'", "'\\x00ff'"]) : random.pick(["x''", "x'00ff'", "x'414243'"])
      case .decimal: random.pick(["12.5", "3", "-0.25"])
      case .boolean: random.pick(["0", "1"])
      case .untyped: random.pick(["'7'", "'0.5'", "'\"t\"'"])
      }
    // A quoted value takes the type of the column, whatever that is by now.
    return dialect == .postgreSQL && !text.hasPrefix("'") ? "'\(text)'" : text
  }
}
