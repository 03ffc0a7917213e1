// A sink table belongs to all machines that have a stream of its name, and one machine's description changes it for that machine alone. Each
// claim is a way in which one machine once changed it for the others.

import DroverCore
import Testing

extension CloudStoreConformance {
  private static let plain = StreamSchema.columns("name TEXT", "level REAL")

  static let sharedTables: [Claim] = [
    // One machine declared `identity` and brought 94 of 100 rows of another under its own versions; `check` said equal.
    Claim("shared: `identity` on a table that others use waits, and changes no row until it is accepted") {
      scene throws in
      let named = plain.matched(by: ["name"])
      for machine in [MachineID.a, .b] {
        #expect(try scene.adopt(plain, .stock, machine: machine) == nil)
        try scene.merge(.table(plain, machine: machine), .put(5, 1, "same", 1.5), .put(5, 2, .name(machine), 2.5))
      }
      let before = try scene.lines(.stock)
      for stream in [StreamName.stock, .named("STOCK")] {
        let reason = try scene.adopt(named, stream, machine: .evil)
        #expect(reason?.contains("other machines use the sink table") == true)
        #expect(try scene.store.transaction { try $0.isWaiting(named.id, machine: .evil, stream: stream) })
        _ = try scene.merge(.table(named, stream, machine: .evil), .put(1 << 52, 1, .name(.a), -666.0))
      }
      #expect(try scene.lines(.stock).filter { !$0.contains("EVIL") } == before)
      #expect(try scene.store.transaction { try $0.accept(machine: .evil, stream: .stock) } == Acceptance(aside: []))
      #expect(try scene.reader.rows(of: "stock").filter { $0["name"] == "same" }.count == 1)
    },
    Claim("shared: `identity` that a machine declared alone is no other machine's that declares none") { scene throws in
      let named = plain.matched(by: ["name"])
      #expect(try scene.adopt(named, .stock, machine: .evil) == nil)
      try scene.merge(.table(named, machine: .evil), .put(1, 7, "x", 0.5))
      for machine in [MachineID.a, .b] {
        #expect(try scene.adopt(plain, .stock, machine: machine) == nil)
        #expect(try scene.merge(.table(plain, machine: machine), .put(5, 1, "x", 1.5)) == [.applied])
      }
      #expect(try scene.merge(.table(named, machine: .evil), .put(1 << 52, 7, "x", -666.0)) == [.applied])
      #expect(try scene.reader.rows(of: "stock").count == 3)
      #expect(
        try scene.merge(.table(plain, machine: .a), .put(6, 1, "x", 2.5), .put(7, 2, "x", 3.5)) == [.applied, .applied])
      #expect(
        try scene.reader.rows(of: "stock").filter { $0["level"] == -666.0 }.map { $0["machine_id"] } == [.name(.evil)])
      // Who declares it too takes part from then on, with the rows that it has.
      #expect(try scene.adopt(named, .stock, machine: .b) == nil)
      #expect(try scene.reader.rows(of: "stock").count == 3)
      #expect(try scene.adopt(plain, .stock, machine: .b) == nil)
      #expect(try scene.reader.rows(of: "stock").count == 4)
      // The last who declares it takes it away, for itself.
      #expect(try scene.adopt(plain, .named("STOCK"), machine: .c) == nil)
      #expect(try scene.reader.rows(of: "stock").count == 4)
    },
    // A version near 2^53 won over every edit of every other machine for good.
    Claim(
      "shared: a version that is far ahead wins over other machines' for a day at most, and its machine's own order holds",
      conditions { $0.now = Hours.now }
    ) { scene throws in
      let named = plain.matched(by: ["name"])
      for machine in [MachineID.a, .b] { #expect(try scene.adopt(named, .stock, machine: machine) == nil) }
      let far = Int64(1) << 53 - 10
      let level: () throws -> Value? = { () throws -> Value? in
        let rows = try scene.reader.rows(of: "stock")
        return rows.first?["level"]
      }
      try scene.merge(.table(named, machine: .b), .put(far, 70, "x", -1.0))
      try scene.merge(.table(named), .put(Hours.at(1), 1, "x", 1.0))
      #expect(try level() == -1.0)
      try Hours.set(25) { () throws in
        #expect(try scene.merge(.table(named), .put(Hours.at(25), 1, "x", 2.0)) == [.applied])
        #expect(try level() == 2.0)
        // To itself the far one is newer than all that it has written before, and older than what comes after.
        #expect(try scene.merge(.table(named, machine: .b), .put(Hours.at(25), 70, "x", -2.0)) == [.superseded])
        #expect(try scene.merge(.table(named, machine: .b), .put(far + 1, 70, "x", -3.0)) == [.applied])
        #expect(try level() == -3.0)
      }
      try Hours.set(50) { () throws in
        #expect(try scene.merge(.table(named), .put(Hours.at(50), 1, "x", 3.0)) == [.applied])
        #expect(try level() == 3.0)
      }
      #expect(try scene.reader.rows(of: "stock").count == 1)
    },
    Claim("shared: another type of a column that others use waits, and their values stay as they are") { scene throws in
      #expect(try scene.adopt(plain, .stock) == nil)
      try scene.merge(.table(plain), .put(1, 1, "x", 1.5))
      let before = try scene.lines(.stock)
      for other in [
        StreamSchema.columns("name BLOB", "level TEXT"), .columns("level TEXT"), .columns("NAME INTEGER"),
        .make([("id", "TEXT"), ("name", "TEXT")], key: [0]),
      ] {
        #expect(try scene.adopt(other, .stock, machine: .evil)?.contains("which other machines use") == true)
        #expect(try scene.store.transaction { try $0.isWaiting(other.id, machine: .evil, stream: .stock) })
        #expect(
          try scene.merge(
            .table(other, machine: .evil), .row(9, Array(repeating: "y", count: other.columns.count), key: ["y"])
          ).map(\.refusal) == [.schema])
      }
      #expect(try scene.lines(.stock) == before)
      // What says the same in other words does not.
      #expect(try scene.adopt(.columns("name VARCHAR(10)", "level DOUBLE"), .stock, machine: .b) == nil)
      // The operator's word widens it, for all that come after too.
      let text = StreamSchema.columns("name TEXT", "level TEXT")
      #expect(try scene.adopt(text, .stock, machine: .c) != nil)
      #expect(try scene.store.transaction { try $0.accept(machine: .c, stream: .stock) } == Acceptance(aside: []))
      #expect(try scene.merge(.table(text, machine: .c), .put(2, 1, "y", "2.50")) == [.applied])
      #expect(try scene.adopt(text, .stock, machine: .b) == nil)
      #expect(try scene.lines(.stock).contains(before[0]))
    },
    // 998 columns of one machine took the whole table's room.
    Claim(
      "shared: a machine adds columns within its budget, and what it has taken is not taken from others",
      conditions {
        $0.columnsPerTable = 12
        $0.columnsPerMachine = 3
      }
    ) { scene throws in
      let wide = StreamSchema.make([("id", "INTEGER"), ("name", "TEXT")] + (0..<10).map { ("x\($0)", "") }, key: [0])
      // It came first, alone, and has filled the table.
      #expect(try scene.adopt(wide, .stock, machine: .evil) == nil)
      #expect(try scene.adopt(.columns("name TEXT", "a", "b", "c"), .stock) == nil)
      #expect(try scene.merge(.table(.columns("name TEXT", "a", "b", "c")), .put(1, 1, "x", 1, 2, 3)) == [.applied])
      #expect(try scene.adopt(.columns("name TEXT", "d"), .stock)?.contains("limits.columns_per_machine is 3") == true)
      #expect(try scene.adopt(.columns("name TEXT", "y0"), .stock, machine: .evil) != nil)
      // Under other names, with one new column each, it comes to the same.
      #expect(try scene.adopt(.columns("name TEXT", "d"), .named("Stock"), machine: .evil) != nil)
      // What another has too is nobody's alone.
      #expect(try scene.adopt(.columns("name TEXT", "a", "b"), .stock, machine: .b) == nil)
      #expect(try scene.adopt(.columns("name TEXT", "a", "d"), .stock) == nil)
    },
    Claim("shared: what is alone in its table changes it as it likes") { scene throws in
      #expect(try scene.adopt(plain, .stock) == nil)
      try scene.merge(.table(plain), .put(1, 1, "x", 1.5))
      #expect(try scene.adopt(.columns("name INTEGER", "level TEXT"), .stock) == nil)
      #expect(try scene.adopt(plain.matched(by: ["name"]), .stock, machine: .a) == nil)
      #expect(try scene.adopt(StreamSchema.columns("level REAL").matched(by: ["level"]), .stock) == nil)
      let many = StreamSchema.make([("id", "INTEGER")] + (0..<300).map { ("x\($0)", "") }, key: [0])
      #expect(try scene.adopt(many, .stock) == nil)
    },
    Claim(
      "shared: keys of facts that are used again wait for no word, and count as no column",
      conditions { $0.columnsPerMachine = 1 }
    ) { scene throws in
      let (old, new) = (StreamSchema.columns("a TEXT", kind: .payload), StreamSchema.lives("a TEXT"))
      for stream in [StreamName.stock, .named("facts")] {
        let (first, second) = stream == .stock ? (old, new) : (new, old)
        #expect(try scene.adopt(first, stream, machine: .b) == nil)
        #expect(try scene.adopt(second, stream) == nil)
        try scene.merge(.table(old, stream, machine: stream == .stock ? .b : .a), .put(1, 1, "x"))
        try scene.merge(.table(new, stream, machine: stream == .stock ? .a : .b), .life(1, 1, "x", "f0"))
        #expect(try scene.reader.rows(of: stream.text).count == 2)
        #expect(try scene.adopt(.columns("a TEXT", "b", "c", kind: .payload), stream, machine: .c) != nil)
      }
      // Before a row of the other machine has come.
      let third = StreamName.named("third")
      for (machine, schema) in [(MachineID.b, new), (.a, old), (.b, .lives("a TEXT", "d"))] {
        #expect(try scene.adopt(schema, third, machine: machine) == nil)
      }
    },
    Claim("shared: a bare event's table gives way to the first description, and its rows are put aside") {
      scene throws in
      try scene.merge(.bodies(.snapshot, machine: .evil), .body(1, "1", "1"), epoch: nil)
      #expect(try scene.adopt(plain, .stock) == nil)
      #expect(try scene.merge(.table(plain), .put(1, 1, "x", 1.5)) == [.applied])
      #expect(
        try scene.merge(.bodies(.snapshot, machine: .evil), .body(1, "1", "1"), epoch: nil).map(\.refusal) == [.schema])
      #expect(try scene.lines(.stock).count == 1)
      // One that a bare event of a described stream has made is no such table.
      let known = StreamName.named("known")
      try scene.merge(.table(plain, known), .put(1, 1, "x", 1.5), epoch: nil)
      #expect(try scene.adopt(plain, known) == nil)
      #expect(try scene.lines(known).count == 1)
      // As lines too.
      try scene.merge(.bodies(.snapshot, .named("sales"), machine: .evil), .body(1, "1", "1"), epoch: nil)
      #expect(try scene.adopt(receipts(lines: "sales"), .named("receipts")) == nil)
      // One that an agent fills stays.
      let other = StreamName.named("readings")
      try scene.merge(.bodies(.payload, other, machine: .evil), .body(1, "1", "1"), epoch: nil)
      try scene.merge(.bodies(.payload, other), .body(1, "2", "2"), epoch: .one)
      #expect(try scene.adopt(.columns("a", kind: .payload), other, machine: .evil) != nil)
      #expect(try scene.merge(.bodies(.payload, other), .body(2, "3", "3")) == [.applied])
    },
    Claim("shared: an agent's events without a table wait where the table has columns, until somebody accepts them") {
      scene throws in
      let bodies = Sink.bodies(.payload)
      #expect(try scene.store.transaction { try $0.holdBodies(of: bodies) } == nil)
      #expect(try scene.adopt(.columns("a", kind: .payload), .stock, machine: .evil) == nil)
      for _ in 0..<2 {
        #expect(
          try scene.store.transaction { try $0.holdBodies(of: bodies) }?.contains("with the columns of a table") == true
        )
      }
      let acceptance = try scene.store.transaction { try $0.accept(machine: .a, stream: .stock) }
      #expect(acceptance?.aside.count == 1)
      #expect(try scene.store.transaction { try $0.holdBodies(of: bodies) } == nil)
      #expect(try scene.merge(bodies, .body(1, "1", "1")) == [.applied])
      // The other's description waits now, again and again.
      for _ in 0..<2 { #expect(try scene.adopt(.columns("a", kind: .payload), .stock, machine: .evil) != nil) }
      #expect(try scene.merge(bodies, .body(1, "2", "2")) == [.applied])
    },
    Claim(
      "shared: whoever describes first with another kind or key makes others wait, and no more once one is accepted"
    ) {
      scene throws in
      for (index, other) in [
        StreamSchema.columns("name TEXT", "level REAL", kind: .payload), .columns("name TEXT", kind: .batch),
        .make([("id", "INTEGER"), ("name", "TEXT")], key: [1]),
        .make([("id", "INTEGER"), ("machine_id", "TEXT")], key: [0]),
      ].enumerated() {
        let stream = StreamName.named("s\(index)")
        #expect(try scene.adopt(other, stream, machine: .evil) == nil)
        #expect(try scene.adopt(plain, stream) != nil)
        #expect(try scene.store.transaction { try $0.isWaiting(plain.id, machine: .a, stream: stream) })
        #expect(try scene.store.transaction { try $0.accept(machine: .a, stream: stream) }?.aside.count == 1)
        for _ in 0..<2 { #expect(try scene.adopt(other, stream, machine: .evil) != nil) }
        #expect(try scene.merge(.table(plain, stream), .put(1, 1, "x", 1.5)) == [.applied])
        #expect(try scene.store.transaction { try $0.latestSchema(machine: .a, stream: stream) } == plain)
      }
    },
    Claim("shared: who names another's stream as lines makes it wait, and no more once it is accepted") {
      scene throws in
      let visits = StreamName.named("visits")
      let squat = receipts(lines: "visits")
      #expect(try scene.adopt(squat, .named("h"), machine: .evil) == nil)
      try scene.merge(
        Sink(machine: .evil, stream: .named("h"), kind: .batch, schema: squat), .header(1, 1, lines: [[1, 1]]))
      #expect(try scene.adopt(plain, visits)?.contains("for the lines of h") == true)
      #expect(try scene.store.transaction { try $0.accept(machine: .a, stream: visits) }?.aside.count == 1)
      #expect(try scene.merge(.table(plain, visits), .put(1, 1, "x", 1.5)) == [.applied])
      // Its header waits now: it is known no more, so that its frames are no dead letters.
      #expect(try scene.store.transaction { try $0.schema(squat.id, machine: .evil, stream: .named("h")) } == nil)
      #expect(try scene.store.transaction { try $0.isWaiting(squat.id, machine: .evil, stream: .named("h")) })
      for _ in 0..<2 {
        #expect(try scene.adopt(squat, .named("h"), machine: .evil)?.contains("its lines visits") == true)
      }
      _ = try scene.merge(
        Sink(machine: .evil, stream: .named("h"), kind: .batch, schema: squat), .header(2, 2, lines: [[2, 2]]))
      #expect(try scene.reader.rows(of: "visits").count == 1)
      // The operator may decide for the other as well: the table in its way is put aside, and no row is lost.
      #expect(try scene.store.transaction { try $0.accept(machine: .evil, stream: .named("h")) }?.aside.count == 1)
      #expect(try scene.store.transaction { try $0.isWaiting(plain.id, machine: .a, stream: visits) })
    },
    Claim("shared: when a row of a batch is complete is each machine's own affair") { scene throws in
      let (done, never) = (
        StreamSchema.batch([("id", "INTEGER"), ("status", "INTEGER")], "status = 1"),
        StreamSchema.batch([("id", "INTEGER"), ("status", "INTEGER")], nil)
      )
      #expect(try scene.adopt(never, .stock) == nil)
      try scene.merge(.table(never), .put(1, 1, 1))
      #expect(try scene.adopt(done, .stock, machine: .evil) == nil)
      #expect(try scene.merge(.table(never), .put(2, 1, 2)) == [.applied])
    },
  ]

  static let pinned: [Claim] = [
    Claim(
      "pinned: what differs from the configuration waits, whoever comes first, and cannot be accepted",
      pins(
        StreamPin(
          name: .stock, kind: .snapshot, key: ["ID"], lines: [], columns: [Column(name: "level", declaredType: "REAL")])
      )
    ) { scene throws in
      for other in [
        StreamSchema.columns("name TEXT", kind: .payload), .make([("id", "INTEGER"), ("name", "TEXT")], key: [1]),
        .columns("level TEXT"), .columns("level BLOB"),
      ] {
        #expect(try scene.adopt(other, .named("Stock"), machine: .evil)?.contains("the configuration says") == true)
        #expect(try scene.store.transaction { try $0.isWaiting(other.id, machine: .evil, stream: .named("Stock")) })
        #expect(throws: AcceptanceRefused.self) {
          try scene.store.transaction { try $0.accept(machine: .evil, stream: .named("Stock")) }
        }
      }
      #expect(try scene.store.transaction { try $0.holdBodies(of: .bodies(.snapshot, machine: .evil)) } != nil)
      #expect(
        try scene.merge(.bodies(.snapshot, machine: .evil), .body(1, "1", "1"), epoch: nil).map(\.refusal) == [.schema])
      #expect(try scene.adopt(plain, .stock) == nil)
      #expect(try scene.merge(.table(plain), .put(1, 1, "x", 1.5)) == [.applied])
    },
    Claim(
      "pinned: a key of facts that are used again is the pinned one",
      pins(StreamPin(name: .stock, kind: .payload, key: ["id"]))
    ) { scene throws in
      let (old, new) = (StreamSchema.columns("a TEXT", kind: .payload), StreamSchema.lives("a TEXT"))
      for schema in [old, new] { #expect(try scene.adopt(schema, .stock) == nil) }
      #expect(try scene.merge(.table(new), .life(1, 1, "x", "f0")) == [.applied])
      #expect(try scene.merge(.table(old), .put(2, 1, "x")) == [.applied])
      #expect(try scene.reader.rows(of: "stock").count == 2)
    },
    Claim(
      "pinned: machines that are not listed have no part in a stream",
      pins(
        StreamPin(name: .stock, kind: .snapshot, machines: [.a]),
        StreamPin(name: .named("raw"), kind: .payload, isBody: true, machines: [.a]))
    ) { scene throws in
      #expect(try scene.adopt(plain, .stock, machine: .evil)?.contains("does not list EVIL") == true)
      #expect(try scene.merge(.table(plain, machine: .evil), .put(1, 1, "x", 1.5)).map(\.refusal) == [.schema])
      #expect(
        try scene.merge(.bodies(.payload, .named("raw"), machine: .evil), .body(1, "1", "1"), epoch: nil).map(\.refusal)
          == [.schema])
      #expect(
        try scene.store.transaction { try $0.holdBodies(of: .bodies(.payload, .named("raw"), machine: .evil)) } != nil)
      #expect(try scene.adopt(plain, .stock) == nil)
      #expect(try scene.adopt(plain, .named("raw")) != nil)
      #expect(try scene.merge(.bodies(.payload, .named("raw")), .body(1, "1", "1"), epoch: nil) == [.applied])
    },
    Claim(
      "pinned: `identity` holds for all rows, those of machines that declare none too",
      pins(
        StreamPin(name: .stock, kind: .snapshot, naturalKey: try! NaturalKey(columns: ["NAME"])))
    ) { scene throws in
      #expect(
        try scene.adopt(plain.matched(by: ["level"]), .stock, machine: .evil)?.contains("the configuration says")
          == true)
      for machine in [MachineID.a, .b] {
        #expect(try scene.adopt(plain, .stock, machine: machine) == nil)
        #expect(
          try scene.merge(.table(plain, machine: machine), .put(1, machine == .a ? 1 : 70, "x", 1.5)) == [.applied])
      }
      #expect(try scene.reader.rows(of: "stock").count == 1)
      #expect(try scene.adopt(plain.matched(by: ["name"]), .stock, machine: .b) == nil)
      #expect(try scene.adopt(plain, .stock, machine: .b) == nil)
      #expect(try scene.reader.rows(of: "stock").count == 1)
    },
    Claim(
      "pinned: when a batch is complete, and its lines, are the operator's",
      pins(
        StreamPin(
          name: .named("receipts"), kind: .batch, completeWhen: try! Condition(parsing: "ID > 5"),
          lines: [.named("sales")]))
    ) { scene throws in
      let receipt = StreamName.named("receipts")
      #expect(try scene.adopt(receipts(lines: "sales"), receipt)?.contains("complete when never") == true)
      #expect(try scene.adopt(receipts(lines: nil, "id > 5"), receipt)?.contains("its lines are none") == true)
      #expect(try scene.adopt(receipts(lines: "other", "id > 5"), receipt)?.contains("its lines are other") == true)
      #expect(
        try scene.adopt(receipts(lines: "sales"), .named("h"), machine: .evil)?.contains("the lines of receipts")
          == true)
      #expect(try scene.adopt(plain, .named("sales"), machine: .evil)?.contains("the lines of receipts") == true)
      #expect(try scene.adopt(receipts(lines: "sales", "id > 5"), receipt) == nil)
    },
    Claim(
      "pinned: columns that are listed count against no machine, and `limits.columns` bounds the table",
      pins(
        StreamPin(
          name: .stock, kind: .snapshot, columns: ["x0", "x1", "x2"].map { Column(name: $0, declaredType: "TEXT") },
          mostColumns: 6)
      ) { $0.columnsPerMachine = 1 }
    ) { scene throws in
      #expect(try scene.adopt(.columns("a"), .stock, machine: .b) == nil)
      #expect(try scene.adopt(.columns("x0 TEXT", "x1 TEXT", "x2 TEXT"), .stock) == nil)
      #expect(try scene.adopt(.columns("b", "c"), .stock)?.contains("columns") == true)
      #expect(try scene.reader.columns(of: "stock").count == 8)
    },
  ]

  private static func pins(
    _ pins: StreamPin..., change: (inout CloudStoreConditions) -> Void = { _ in }
  ) -> CloudStoreConditions {
    conditions {
      $0.pins = pins
      change(&$0)
    }
  }

  private static func receipts(lines: String?, _ condition: String? = nil) -> StreamSchema {
    let columns = [Column(name: "line", declaredType: "INTEGER"), Column(name: "receipt", declaredType: "INTEGER")]
    return try! StreamSchema(
      kind: .batch, columns: [Column(name: "id", declaredType: "INTEGER")], key: [0],
      completeWhen: condition.map { try! Condition(parsing: $0) },
      lines: lines.map { [try! LineSchema(table: .named($0), columns: columns, key: [0], references: [1])] } ?? [])
  }
}

extension MachineID {
  fileprivate static let c = try! MachineID("MAH003")
  fileprivate static let evil = try! MachineID("EVIL")
}

extension Value {
  fileprivate static func name(_ machine: MachineID) -> Value { .text(ArraySlice(machine.text.utf8)) }
}

extension StreamSchema {
  fileprivate func matched(by names: [String]) -> StreamSchema {
    try! StreamSchema(kind: kind, columns: columns, key: key, naturalKey: NaturalKey(columns: names))
  }
}

extension SinkEvent {
  fileprivate static func header(_ version: Int64, _ id: Int64, lines: [[Value]]) -> SinkEvent {
    SinkEvent(
      seq: nil, localID: "\(id)", version: version, at: nil, key: [.integer(id)], content: .row(Values([.integer(id)])),
      lines: [lines], raw: [])
  }
}

/// A clock that is set by the hour, for one claim at a time of those that run at once.
private enum Hours {
  @TaskLocal private static var hour: Int64 = 0
  static func at(_ hour: Int64) -> Int64 { 1_795_000_000_000_000 + hour * 3_600_000_000 }
  @Sendable static func now() -> Int64 { at(hour) }
  static func set<Result>(_ hour: Int64, _ body: () throws -> Result) rethrows -> Result {
    try $hour.withValue(hour, operation: body)
  }
}
