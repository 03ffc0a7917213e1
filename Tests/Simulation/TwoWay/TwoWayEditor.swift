// An editor of a table that both sides edit: the app at the edge, or a person with an SQL client in the cloud. Both see the row before they change it.

import DroverCore

/// How the tables of a run are declared that the cloud's rows come down into.
package struct TwoWayForm: Sendable {
  var isKeyNatural: Bool
  var hasNewer: Bool
  /// The app's table has a trigger that changes rows.
  var hasTrigger: Bool
  /// It fires for rows that come down.
  var firesTrigger: Bool
  /// The cloud knows the machines when the run begins. Otherwise rows are there before it hears of them.
  var isWarm: Bool

  init(_ random: inout Seeded) {
    isKeyNatural = random.percent(50)
    hasNewer = random.percent(30)
    hasTrigger = random.percent(40)
    firesTrigger = hasTrigger && random.percent(60)
    isWarm = random.percent(70)
  }

  /// The streams that come down, in their order after the others.
  static let streams = ["product", "price"]

  func declarations() throws -> [StreamDeclaration] {
    [
      StreamDeclaration(name: try StreamName("product"), kind: .snapshot, table: "product") {
        $0.flow = Flow(direction: .both, newer: hasNewer ? "level" : nil, isKeyNatural: isKeyNatural)
        $0.firesAppTriggers = firesTrigger
      },
      StreamDeclaration(name: try StreamName("price"), kind: .snapshot, table: "price") {
        $0.flow = Flow(direction: .down, reach: .all)
      },
    ]
  }

  /// The trigger settles: a row that it has changed it leaves alone.
  var tables: String {
    let trigger = { (event: String) in
      """
      CREATE TRIGGER product_\(event) AFTER \(event) ON product WHEN NEW.twice IS NOT NEW.level * 2 BEGIN
        UPDATE product SET twice = NEW.level * 2, log = log || 't' || ifnull(NEW.level, '') || '.' WHERE id = NEW.id;
      END;
      """
    }
    return """
      CREATE TABLE product (
        id INTEGER PRIMARY KEY, log TEXT NOT NULL, code TEXT UNIQUE, level INTEGER CHECK (level IS NULL OR level < 8), twice INTEGER);
      CREATE TABLE price (id INTEGER PRIMARY KEY, log TEXT NOT NULL);
      \(hasTrigger ? trigger("INSERT") + trigger("UPDATE") : "")
      """
  }
}

struct TwoWayEditor {
  let database: PlainDatabase
  let table: String
  /// Of the sink table, whose rows are edited; nil at the edge.
  let owner: String?
  var random: Seeded
  /// Another one for each statement.
  let mark: () -> String
  private(set) var changes = 0
  private(set) var said: [String] = []

  init(
    _ database: PlainDatabase, table: String, owner: String?, random: Seeded, mark: @escaping () -> String
  ) {
    self.database = database
    self.table = table
    self.owner = owner
    self.random = random
    self.mark = mark
  }

  var own: String { owner.map { "machine_id = '\($0)'" } ?? "1" }

  static func texts(_ database: PlainDatabase, _ table: String, owner: String?) throws -> TwoWayTexts {
    var texts: TwoWayTexts = [:]
    try database.rows("SELECT id, log FROM \(table)\(owner.map { " WHERE machine_id = '\($0)'" } ?? "")") {
      texts[$0.text(0)] = $0.text(1)
    }
    return texts
  }

  mutating func note(_ text: String) { said.append(text) }

  func texts() throws -> TwoWayTexts { try Self.texts(database, table, owner: owner) }

  /// One statement, or a few that belong together.
  mutating func edit() throws {
    let id = random.below(6)
    switch random.below(14) {
    case 0..<4: try upsert(id)
    case 4, 5:
      if table == "product" {
        try run("UPDATE product SET log = log || ?, level = ? WHERE id = \(id) AND \(own)", .text(mark()), level())
      }
    case 6, 7:
      if table == "product" {
        try run("UPDATE product SET log = log || ?, code = ? WHERE id = \(id) AND \(own)", .text(mark()), code())
      }
    case 8: try replace(id)
    case 9, 10: try run("DELETE FROM \(table) WHERE id = \(id) AND \(own)")
    case 11:
      let other = random.below(6)
      let log = try texts()[String(other)] ?? ""
      guard other != id else { return }
      try run(
        "UPDATE OR REPLACE \(table) SET id = \(other), log = ? WHERE id = \(id) AND \(own)", .text(log + mark()))
    case 12:
      try run("UPDATE \(table) SET log = log || ? || '-' || id || '.' WHERE \(own)", .text(String(mark().dropLast())))
    default: if table == "product" { try swap(id, random.below(6)) }
    }
  }

  private mutating func upsert(_ id: Int) throws {
    let (columns, values) = columns()
    try run(
      """
      INSERT INTO \(table) (id, \(columns)) VALUES (\(id), \(values))
      ON CONFLICT DO UPDATE SET log = log || excluded.log
      """, .text(mark()))
  }

  private mutating func replace(_ id: Int) throws {
    let log = try texts()[String(id)] ?? ""
    let (columns, values) = columns()
    try run("INSERT OR REPLACE INTO \(table) (id, \(columns)) VALUES (\(id), \(values))", .text(log + mark()))
  }

  private mutating func columns() -> (String, String) {
    var (columns, values) = ("log", "?")
    if let owner { (columns, values) = (columns + ", machine_id", values + ", '\(owner)'") }
    if table == "product", random.percent(40) {
      (columns, values) = (columns + ", code", values + ", '\(random.pick(["x", "X", "y", "z"]))'")
    }
    return (columns, values)
  }

  /// Two rows exchange what has to be unique.
  private mutating func swap(_ one: Int, _ other: Int) throws {
    guard let a = try self.code(of: one), let b = try self.code(of: other), one != other else { return }
    try run("UPDATE product SET code = NULL WHERE id = \(one) AND \(own)")
    try run("UPDATE product SET code = ?, log = log || ? WHERE id = \(other) AND \(own)", .text(a), .text(mark()))
    try run("UPDATE product SET code = ?, log = log || ? WHERE id = \(one) AND \(own)", .text(b), .text(mark()))
  }

  private func code(of id: Int) throws -> String? {
    try database.text("SELECT code FROM product WHERE id = \(id) AND code IS NOT NULL AND \(own)")
  }

  private mutating func run(_ sql: String, _ values: Value...) throws {
    var statement = AppStatement(sql)
    statement.values = values
    said.append(statement.description)
    try database.execute(sql, values)
    changes += Int(try database.integer("SELECT changes()")!)
  }

  private mutating func level() -> Value { random.percent(10) ? .integer(9) : .integer(Int64(random.below(7))) }
  private mutating func code() -> Value { random.pick([.null, .null, .text("x"), .text("X"), .text("y"), .text("z")]) }
}
