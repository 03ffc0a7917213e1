// Draws cases: tables of every shape that SQLite allows, values of every kind, statements of every sort. One seed makes one case.

import DroverCore
import DroverTesting

struct ReplicaCases {
  private var random: Seeded
  private let seed: UInt64
  private var kind = Kind.snapshot
  private var table = TableDefinition(columns: [])
  /// What a column is given, by its number: few values, so that keys meet and constraints fail.
  private var values: [Int: [String]] = [:]
  private var usedNames: [String] = []
  private var nextNumber = 0

  static func draw(_ seed: UInt64) -> ReplicaCase {
    var cases = ReplicaCases(seed)
    return cases.draw()
  }

  private init(_ seed: UInt64) {
    self.seed = seed
    random = Seeded(seed)
  }

  private mutating func draw() -> ReplicaCase {
    kind = random.pick([.snapshot, .snapshot, .snapshot, .batch, .payload])
    drawTable()
    var steps: [ReplicaStep] = []
    for _ in 0..<(4 + random.below(20)) { steps.append(step(depth: 0)) }
    return ReplicaCase(
      seed: seed, kind: kind, table: table, steps: steps, attachesFirst: random.percent(80),
      delivery: random.pick(ReplicaCase.Delivery.allCases), eventsPerFrame: random.pick([1, 3, 100]))
  }

  // MARK: Tables

  private static let names = [
    "a", "b", "id", "A b", "select", "order", "from", "quo\"te", "apo'stroph", "back`tick", "br[ack]et", "na\u{ef}ve",
    "nai\u{308}ve", "日本語", "😀", "Ä", "ä", "İ", "ß", "SS", "machine_id", "rowid", "_rowid_", "oid", "1", "%s", "?1",
    ":x", "$y",
    "a.b", "--", "semi;colon", "new\nline", "tab\t", "back\\slash", "local_id", "body", "seq", "with", "NULL", "true",
    " ",
    String(repeating: "long", count: 40),
  ]
  private static let types = [
    "INTEGER", "INT", "TEXT", "REAL", "BLOB", "", "NUMERIC", "VARCHAR(20)", "DOUBLE PRECISION", "DATETIME",
    // Without a type a column keeps every value as it is.
    "", "", "DECIMAL(10,2)", "BOOLEAN", "FLOATING POINT", "UNSIGNED BIG INT", "CHARINT", "STRING", "\"odd type\"",
    "NVARCHAR(-1)",
    "any",
  ]
  private static let strictTypes = ["INTEGER", "INT", "REAL", "TEXT", "BLOB", "ANY", "ANY"]

  private mutating func drawTable() {
    table = TableDefinition(columns: [])
    table.name = random.percent(70) ? "t" : random.pick(Self.names.filter { !$0.isEmpty })
    table.isStrict = random.percent(20)
    let count = random.below(200) == 0 ? 100 + random.below(401) : 1 + random.below(6)
    for _ in 0..<count {
      let column = drawColumn()
      table.columns.append(column)
    }
    drawKey()
    for index in table.columns.indices where random.percent(12) {
      table.columns[index] = generated(table.columns[index])
    }
    let plain = table.columns.filter { $0.generated == nil }.map(\.number)
    if !plain.isEmpty, kind != .payload, random.percent(30) {
      let pair = [random.pick(plain), random.pick(plain)]
      table.uniques.append(Array(Set(pair)).sorted())
    }
  }

  private mutating func drawColumn(besides taken: String? = nil) -> ColumnDefinition {
    var column = ColumnDefinition(number: nextNumber, name: name(besides: taken))
    nextNumber += 1
    column.type = random.pick(table.isStrict ? Self.strictTypes : Self.types)
    if random.percent(25) { column.collation = random.pick(["NOCASE", "RTRIM", "BINARY"]) }
    if random.percent(30) { column.defaultValue = random.percent(20) ? "(1 + 1)" : "(\(literal(column.type)))" }
    if random.percent(10) {
      column.check = random.pick(["$ IS NOT 7", "typeof($) <> 'blob'", "$ IS NULL OR length($) < 100"])
    }
    values[column.number] = random.percent(15) ? random.pick(Self.twins) : (0..<4).map { _ in literal(column.type) }
    return column
  }

  /// One that no column has, in any case of its ASCII letters; of facts, whose values stay, none that any ever had.
  /// - Parameter taken: a name that is not drawn.
  private mutating func name(besides taken: String? = nil) -> String {
    var name = random.pick(Self.names)
    while name == taken || usedNames.contains(where: { Self.areOne($0, name) }) { name = "c\(random.below(10_000))" }
    usedNames.append(name)
    return name
  }

  /// As SQLite compares names: bytes, but for the case of ASCII.
  private static func areOne(_ a: String, _ b: String) -> Bool {
    func folded(_ name: String) -> [UInt8] { name.utf8.map { (0x41...0x5a).contains($0) ? $0 + 0x20 : $0 } }
    return folded(a) == folded(b)
  }

  private mutating func drawKey() {
    let numbers = table.columns.map(\.number)
    switch random.below(10) {
    case 0, 1: table.key = []
    case 2, 3: makeRowidAlias(random.pick(numbers))
    case 4, 5, 6: table.key = [random.pick(numbers)]
    default: table.key = Array(Set((0..<3).map { _ in random.pick(numbers) })).sorted()
    }
    if table.key.count == 1, table.keyOption.isEmpty, random.percent(20) { table.keyOption = "DESC" }
    table.isWithoutRowid = !table.key.isEmpty && table.keyOption != "AUTOINCREMENT" && random.percent(35)
  }

  private mutating func makeRowidAlias(_ number: Int) {
    let index = table.columns.firstIndex { $0.number == number }!
    table.columns[index].type = "INTEGER"
    table.columns[index].collation = nil
    table.columns[index].check = nil
    table.key = [number]
    if random.percent(30) { table.keyOption = "AUTOINCREMENT" }
    values[number] = (0..<4).map { _ in random.pick(Self.integers) } + ["NULL"]
  }

  /// The column as one that is made of another, where there is another.
  private mutating func generated(_ column: ColumnDefinition) -> ColumnDefinition {
    let others = table.columns.filter { $0.number != column.number && $0.generated == nil }
    guard !table.key.contains(column.number), !others.isEmpty else { return column }
    var column = column
    column.defaultValue = nil
    column.check = nil
    column.generated = .init(
      expression: random.pick(["$", "typeof($)", "$ || 'x'", "$ + 1", "hex($)", "CAST($ AS BLOB)", "-$", "length($)"]),
      source: random.pick(others).number, isStored: random.percent(50))
    return column
  }

  // MARK: Values

  private static let integers = [
    "0", "1", "-1", "2", "7", "9223372036854775807", "-9223372036854775808", "9007199254740993", "-2147483649",
  ]
  private static let reals = [
    "0.0", "-0.0", "-0.0", "1.0", "0.1", "-1.5", "1e15", "1.7976931348623157e308", "5e-324", "2.2250738585072014e-308",
    "9e999",
    "-9e999", "9007199254740993.0", "9.2233720368547758e18", "123456789.123456789",
  ]
  private static let texts = [
    "''", "'a'", "'A'", "'a '", "' a'", "'1'", "'01'", "'1.0'", "'1e3'", "'-0'", "'inf'", "'9223372036854775808'",
    "'it''s'",
    "'\"'", "'\\'", "'日本'", "'😀'", "'\u{e9}'", "'e\u{301}'", "'\u{feff}'", "'\u{2028}'", "'{\"$blob\":\"AA==\"}'",
    "'[1]'", "'null'",
    "CAST(x'610062' AS TEXT)", "CAST(x'00' AS TEXT)", "CAST(x'ff' AS TEXT)", "CAST(x'c0af' AS TEXT)",
    "CAST(x'eda080' AS TEXT)", "CAST(x'0a0d0901' AS TEXT)", "printf('%.2000c', 'x')",
  ]
  private static let blobs = ["x''", "x'00'", "x'61'", "x'ff00'", "x'31'", "zeroblob(300)"]

  /// What SQLite takes for equal in one place or another, and is not the same.
  private static let twins = [
    ["1", "1.0", "'1'", "x'31'"], ["0", "0.0", "-0.0", "'0'"], ["'a'", "'A'", "'a '", "x'61'"],
    ["9007199254740993", "9007199254740992.0", "9007199254740992", "'9007199254740993'"],
    ["'\u{e9}'", "'e\u{301}'", "'\u{c9}'", "NULL"], ["''", "x''", "NULL", "CAST(x'00' AS TEXT)"],
  ]

  /// Mostly one of the column's own type, and often enough another.
  private mutating func literal(_ type: String) -> String {
    if random.percent(8) { return "NULL" }
    let upper = type.uppercased()
    if random.percent(65) {
      if upper.contains("INT") { return random.pick(Self.integers) }
      if upper.contains("CHAR") || upper.contains("TEXT") { return random.pick(Self.texts) }
      if upper.contains("REAL") || upper.contains("DOUB") { return random.pick(Self.reals) }
      if upper.contains("BLOB") { return random.pick(Self.blobs) }
    }
    let sort = random.pick([Self.integers, Self.reals, Self.texts, Self.blobs])
    return random.pick(sort)
  }

  // MARK: Statements

  private mutating func step(depth: Int) -> ReplicaStep {
    if kind == .payload { return fact() }
    switch random.below(depth == 0 ? 24 : 13) {
    case 0, 1, 2, 3: return insert(conflict: random.pick(["", "", "REPLACE", "IGNORE", "FAIL"]))
    case 4, 5: return .insert(conflict: "", values: assignments(), update: someAssignments())
    case 6, 7, 8, 9:
      return .update(
        conflict: random.pick(["", "REPLACE", "REPLACE", "IGNORE", "FAIL", "ROLLBACK"]), set: someAssignments(),
        condition: random.percent(75) ? condition() : nil)
    case 10, 11: return .delete(condition: condition())
    case 12: return .delete(condition: random.percent(60) ? condition() : nil)
    case 13, 14:
      return .transaction(
        (0...random.below(3)).map { _ in step(depth: 1) }, ending: random.pick(["COMMIT", "COMMIT", "ROLLBACK"]))
    case 15: return .savepoint((0...random.below(3)).map { _ in step(depth: 1) }, isRolledBack: random.percent(60))
    case 16:
      let (outer, inner) = (step(depth: 1), step(depth: 1))
      return .transaction([outer, .savepoint([inner], isRolledBack: true)], ending: "COMMIT")
    case 17: return random.percent(40) ? .uniqueIndex([random.pick(table.columns).number]) : alteration()
    case 18: return alteration()
    default: return .sync
    }
  }

  /// Facts come, go, and are never changed; their keys come again.
  private mutating func fact() -> ReplicaStep {
    switch random.below(10) {
    case 0...4: insert(conflict: random.pick(["", "IGNORE"]))
    case 5: .delete(condition: random.percent(70) ? condition() : nil)
    case 6: alteration()
    default: .sync
    }
  }

  private mutating func insert(conflict: String) -> ReplicaStep {
    .insert(conflict: conflict, values: random.percent(90) ? assignments() : someAssignments(), update: nil)
  }

  private mutating func alteration() -> ReplicaStep {
    switch random.below(3) {
    case 0:
      var column = drawColumn(besides: "machine_id")
      if random.percent(20) { column = generated(column) }
      if column.generated != nil { column.generated!.isStored = false }
      table.columns.append(column)
      defer { table.columns.removeLast() }
      return .addColumn(column)
    case 1:
      // Another key is another table to the cloud, until somebody accepts it.
      guard let column = others.randomElement(using: &random) else { return .sync }
      return .renameColumn(column.number, to: name(besides: "machine_id"))
    default:
      guard let column = others.randomElement(using: &random) else { return .sync }
      return .dropColumn(column.number)
    }
  }

  /// Columns that come and go. With `machine_id` the cloud's own column has another name, which is another key too.
  private var others: [ColumnDefinition] {
    table.columns.filter { !table.key.contains($0.number) && $0.name != "machine_id" }
  }

  private mutating func assignment(_ column: ColumnDefinition) -> Assignment {
    Assignment(column: column.number, value: random.pick(values[column.number]!))
  }

  private mutating func condition() -> Assignment { assignment(random.pick(table.columns)) }

  private mutating func assignments() -> [Assignment] {
    table.columns.filter { $0.generated == nil }.map { assignment($0) }
  }

  private mutating func someAssignments() -> [Assignment] {
    let all = assignments()
    let some = all.filter { _ in random.percent(40) }
    return some.isEmpty ? Array(all.prefix(1)) : some
  }
}
