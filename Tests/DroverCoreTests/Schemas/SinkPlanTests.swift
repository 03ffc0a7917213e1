// The truth table of what a description does to a sink table. The table that is there has an `id` as its key and a `level`.

import DroverCore
import Testing

@Suite struct SinkPlanTests {
  private static let stock = try! StreamName("stock")
  private static let machine = try! MachineID("MAH001")

  private static func schema(
    _ columns: [(String, String)], key: [Int] = [0], kind: Kind = .snapshot
  ) -> StreamSchema {
    try! StreamSchema(kind: kind, columns: columns.map { Column(name: $0.0, declaredType: $0.1) }, key: key)
  }

  private static func present(
    _ kind: Kind = .snapshot, isTable: Bool = true, isLoose: Bool = false, header: String? = nil
  ) -> PresentSink {
    let names = ["machine_id", "id", "level", "drover_epoch", "drover_version"].map(SQLName.init)
    return PresentSink(
      form: SinkForm(kind: kind, isTable: isTable, header: header.map(SQLName.init), isLoose: isLoose),
      shape: TableShape(names: names, key: [names[0], names[1]]),
      columns: [Column(name: "id", declaredType: "INTEGER"), Column(name: "level", declaredType: "REAL")])
  }

  private static let id = ("id", "INTEGER")
  private static let level = ("level", "REAL")
  private static let name = Column(name: "name", declaredType: "TEXT")

  struct Line: CustomTestStringConvertible, Sendable {
    var says: String
    var schema: StreamSchema?
    var present: PresentSink?
    var isUsed: Bool
    var isAccepted: Bool
    var hasOther: Bool
    /// In words, because reasons are sentences.
    var plan: String

    init(
      _ says: String, _ schema: StreamSchema?, in present: PresentSink?, isUsed: Bool = false, isAccepted: Bool = false,
      hasOther: Bool = false, _ plan: String
    ) {
      (self.says, self.schema, self.present) = (says, schema, present)
      (self.isUsed, self.isAccepted, self.hasOther, self.plan) = (isUsed, isAccepted, hasOther, plan)
    }

    var testDescription: String { says }
  }

  static let lines: [Line] = [
    Line("without a table one is made", schema([id, level]), in: nil, "make"),
    Line("also for bodies", nil, in: nil, "make"),
    Line("too many columns make none", schema([id] + (0..<9).map { ("c\($0)", "") }), in: nil, "wait none"),
    Line("a table that fits stays", schema([id, level]), in: present(), "nothing"),
    Line("a column that went stays in it", schema([id]), in: present(), "nothing"),
    Line("a new column is added", schema([id, level, ("name", "TEXT")]), in: present(), "add name"),
    Line("another type makes a column that keeps both", schema([id, ("level", "TEXT")]), in: present(), "widen level"),
    Line(
      "a type of the same affinity does not", schema([("id", "BIGINT"), ("level", "DOUBLE")]), in: present(), "nothing"),
    Line("both at once", schema([id, ("level", ""), ("name", "TEXT")]), in: present(), "widen level, add name"),
    Line(
      "facts say under which schema they were written", schema([id, level, ("name", "TEXT")], kind: .payload),
      in: present(.payload), "mark, add name"),
    Line("also if a column went", schema([id], kind: .batch), in: present(.batch), "mark"),
    Line(
      "also if the stream was described otherwise", schema([id, level], kind: .batch), in: present(.batch),
      hasOther: true, "mark"),
    Line("and not otherwise", schema([id, level], kind: .batch), in: present(.batch), "nothing"),
    Line(
      "keys that are used again get lives",
      schema([id, level, ("drover_life", "TEXT")], key: [0, 2], kind: .payload), in: present(.payload), "lives"),
    Line("another key cannot be followed", schema([id, level], key: [1]), in: present(), "wait table"),
    Line("another kind neither", schema([id, level], kind: .batch), in: present(), "wait table"),
    Line("also if it is accepted", schema([id, level], kind: .batch), in: present(), isAccepted: true, "wait table"),
    Line("a table of bodies has no columns", schema([id, level]), in: present(isTable: false), "wait table"),
    Line("bodies do not fit a table", nil, in: present(), "wait table"),
    Line(
      "lines of another stream are no table of this one", schema([id, level]), in: present(header: "receipts"),
      "wait table"),
    Line(
      "what bare events made gives way", schema([id, level]), in: present(isTable: false, isLoose: true), "replace"),
    Line("but not to bodies", nil, in: present(isTable: false, isLoose: true), "nothing"),
    Line(
      "more columns than a table may have", schema([id] + (0..<4).map { ("c\($0)", "") }), in: present(),
      "wait table"),
    Line(
      "others use it: one new column is added", schema([id, level, ("name", "TEXT")]), in: present(), isUsed: true,
      "add name"),
    Line(
      "others use it: more than its share waits", schema([id, level, ("name", "TEXT"), ("size", "")]), in: present(),
      isUsed: true, "wait word"),
    Line(
      "others use it: another type waits", schema([id, ("level", "TEXT")]), in: present(), isUsed: true, "wait word"),
    Line(
      "until it is accepted", schema([id, ("level", "TEXT")]), in: present(), isUsed: true, isAccepted: true,
      "widen level"),
    Line("others use it as it is", schema([id, level]), in: present(), isUsed: true, "nothing"),
  ]

  @Test(arguments: lines)
  func `what a description does to a table follows from the table, the schema and who uses it`(line: Line) {
    let planner = SinkPlanner(
      limits: CloudStoreLimits(columnsPerTable: 5, columnsPerMachine: 1),
      capacity: TableShape.Bounds(columns: 8, keyColumns: 4))
    let plan = planner.plan(
      SinkWish(Self.stock, line.schema?.kind ?? .snapshot, line.schema, Self.machine, isAccepted: line.isAccepted),
      for: line.present, shared: { SharedTable() }, isUsedByOthers: { line.isUsed }, hasOtherSchema: { line.hasOther })
    #expect(Self.words(plan) == line.plan, "\(plan)")
  }

  @Test func `what single machines have brought beyond their share is not counted against another`() {
    let planner = SinkPlanner(
      limits: CloudStoreLimits(columnsPerTable: 2, columnsPerMachine: 1),
      capacity: TableShape.Bounds(columns: 100, keyColumns: 4))
    func plan(_ others: [Int]) -> String {
      Self.words(
        planner.plan(
          SinkWish(Self.stock, .snapshot, Self.schema([Self.id, Self.level]), Self.machine),
          for: {
            var wide = Self.present()
            let names = wide.shape.names + ["x", "y", "z"].map(SQLName.init)
            wide.shape = TableShape(names: names, key: wide.shape.key)
            return wide
          }(), shared: { SharedTable(others: others) }, isUsedByOthers: { true }, hasOtherSchema: { false }))
    }
    #expect(plan([]) == "wait table")
    #expect(plan([4]) == "nothing")
  }

  private static func words(_ plan: SinkPlan) -> String {
    switch plan {
    case .make: "make"
    case .replace: "replace"
    case .change(let changes):
      changes.isEmpty
        ? "nothing"
        : changes.map { change in
          switch change {
          case .markRows: "mark"
          case .tellLives: "lives"
          case .widen(let column): "widen \(column.name)"
          case .add(let column): "add \(column.name)"
          }
        }.joined(separator: ", ")
    case .wait(let obstacle):
      switch obstacle.way {
      case .none: "wait none"
      case .pin: "wait pin"
      case .word: "wait word"
      case .table: "wait table"
      }
    }
  }
}

/// The truth table of how a sink's rows are matched.
@Suite struct SinkMatchingTests {
  private static let barcode = try! NaturalKey(columns: ["barcode"])
  private static let name = try! NaturalKey(columns: ["name"])

  private func sink(
    _ key: NaturalKey?, isMember: Bool = false, isForAll: Bool = false, others: Bool = false
  ) -> SinkMatching {
    SinkMatching(key: key, isMember: isMember, isForAll: isForAll, isDeclaredByOthers: others)
  }

  private func change(
    _ sink: SinkMatching, declared: NaturalKey?, pinned: NaturalKey? = nil, isAccepted: Bool = false
  ) -> SinkMatching.Change? {
    sink.change(declared: declared, pinned: pinned, isAccepted: isAccepted)
  }

  @Test func `where nobody matches, nothing is matched`() {
    #expect(change(sink(nil), declared: nil) == nil)
  }

  @Test func `the first who declares has its own rows matched, and an accepted one those of all`() {
    let (barcode, unmatched) = (Self.barcode, sink(nil))
    #expect(change(unmatched, declared: barcode) == .init(isMember: true, isForAll: false, work: .match(by: barcode)))
    #expect(
      change(unmatched, declared: barcode, isAccepted: true)
        == .init(isMember: true, isForAll: true, work: .match(by: barcode)))
    #expect(
      change(unmatched, declared: nil, pinned: barcode)
        == .init(isMember: false, isForAll: true, work: .match(by: barcode)))
  }

  @Test func `the same again is no work, and one more machine is only if it has rows`() {
    let barcode = Self.barcode
    #expect(change(sink(barcode, isMember: true), declared: barcode)?.work == .nothing)
    #expect(
      change(sink(barcode, others: true), declared: barcode)?.work == .matchIfHeld(by: barcode, anybodys: false))
    #expect(
      change(sink(barcode, isMember: true, others: true), declared: nil)?.work
        == .matchIfHeld(by: barcode, anybodys: false))
    #expect(change(sink(barcode, isForAll: true, others: true), declared: barcode)?.work == .nothing)
    #expect(
      change(sink(barcode, isMember: true), declared: barcode, isAccepted: true)?.work
        == .matchIfHeld(by: barcode, anybodys: true))
  }

  @Test func `the last who declares it ends the matching, unless it is pinned`() {
    let barcode = Self.barcode
    #expect(change(sink(barcode, isMember: true), declared: nil)?.work == .dissolve)
    #expect(change(sink(barcode, isMember: true, others: true), declared: nil)?.isMember == false)
    #expect(change(sink(barcode, isForAll: true), declared: nil, pinned: barcode)?.work == .nothing)
    #expect(change(sink(barcode, isMember: true), declared: Self.name)?.work == .match(by: Self.name))
  }

  @Test func `another way than that of others waits for another table, and one that others do without for a word`()
    throws
  {
    let stream = try StreamName("product")
    func way(
      _ sink: SinkMatching, _ declared: NaturalKey?, isPinned: Bool = false, isAccepted: Bool = false,
      isUsed: Bool = true
    ) -> Obstacle.Way? {
      sink.obstacle(to: declared, stream, isPinned: isPinned, isAccepted: isAccepted, isUsedByOthers: { isUsed })?.way
    }
    let (barcode, name) = (Self.barcode, Self.name)
    #expect(way(sink(barcode, others: true), name) == .table(stream))
    #expect(way(sink(barcode, others: true), name, isAccepted: true) == .table(stream))
    #expect(way(sink(barcode, others: true), name, isPinned: true) == nil)
    #expect(way(sink(barcode, others: true), barcode) == nil)
    #expect(way(sink(nil), barcode) == .word)
    #expect(way(sink(nil), barcode, isAccepted: true) == nil)
    #expect(way(sink(nil), barcode, isUsed: false) == nil)
    #expect(way(sink(nil), nil) == nil)
    // Its own rows alone are matched.
    #expect(way(sink(barcode, isMember: true), name) == nil)
    #expect(way(sink(barcode, isForAll: true), name) == .word)
  }

  @Test func `rows come down from no table whose rows are matched with other machines'`() throws {
    let stream = try StreamName("product")
    for direction in Direction.allCases {
      func way(_ sink: SinkMatching) -> Obstacle.Way? { sink.obstacle(to: Flow(direction: direction), stream)?.way }
      let refused: Obstacle.Way? = direction == .up ? nil : .table(stream)
      #expect(way(sink(Self.barcode, others: true)) == refused && way(sink(Self.barcode, isForAll: true)) == refused)
      // What it has declared itself ends with its new description.
      #expect(way(sink(nil)) == nil && way(sink(Self.barcode, isMember: true)) == nil)
    }
  }
}
