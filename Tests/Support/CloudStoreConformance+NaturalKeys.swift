// Rows that machines bring under keys of their own, matched by natural key: one row for each thing.

import DroverCore
import Testing

extension CloudStoreConformance {
  private static let products = StreamSchema.products(else: ["brand", "size"])
  private static let (a, b, c) = (Sink.products(.a), Sink.products(.b), Sink.products(.c))

  static let naturalKeys: [Claim] = matchingRows + ambiguousRows + agreeing

  private static let matchingRows = [
    Claim("natural key: what two machines bring under keys of their own is one row, under the first's key") {
      scene throws in
      try scene.adoptProducts()
      #expect(try scene.merge(a, .product(10, 1, "111", price: 5), .product(11, 2, "222", price: 6)) == .twice)
      #expect(try scene.merge(b, .product(12, 70, "111", price: 7)) == [.applied])
      #expect(try scene.products() == ["MAH001/1 111 7 v12", "MAH001/2 222 6 v11"])
    },
    Claim("natural key: the newest version of all machines is what the row says, whoever comes last") { scene throws in
      try scene.adoptProducts()
      try scene.merge(b, .product(12, 70, "111", price: 7))
      #expect(try scene.merge(a, .product(10, 1, "111", price: 5)) == [.applied])
      #expect(try scene.products() == ["MAH002/70 111 7 v12"])
      #expect(try scene.merge(a, .product(13, 1, "111", price: 8)) == [.applied])
      #expect(try scene.products() == ["MAH002/70 111 8 v13"])
      // A machine's own old events are superseded by its newer ones.
      #expect(try scene.merge(a, .product(11, 1, "999", price: 0), .product(13, 1, "111", price: 0)) == .notAgain)
      #expect(try scene.products() == ["MAH002/70 111 8 v13"])
    },
    Claim("natural key: without it the other columns count, in which NULL equals NULL") { scene throws in
      try scene.adoptProducts()
      try scene.merge(a, .product(1, 1, .null, "Nike", .null), .product(2, 2, .null, "Nike", 42))
      try scene.merge(b, .product(3, 70, .null, "Nike", .null), .product(4, 71, .null, "Nike", 43))
      #expect(try scene.products() == ["MAH001/1 NULL 0 v3", "MAH001/2 NULL 0 v2", "MAH002/71 NULL 0 v4"])
    },
    Claim("natural key: a row without any of it is like no other, and where there is no `else` too") { scene throws in
      try scene.adoptProducts()
      for sink in [a, b] { try scene.merge(sink, .product(1, 1, .null, .null, .null)) }
      #expect(try scene.products() == ["MAH001/1 NULL 0 v1", "MAH002/1 NULL 0 v1"])
      let alone = StreamSchema.products(else: [])
      for machine in [MachineID.a, .b] { #expect(try scene.adopt(alone, .named("alone"), machine: machine) == nil) }
      for machine in [MachineID.a, .b] {
        try scene.merge(.table(alone, .named("alone"), machine: machine), .product(1, 1, .null, "Nike", 42))
      }
      #expect(try scene.products("alone") == ["MAH001/1 NULL 0 v1", "MAH002/1 NULL 0 v1"])
    },
    Claim("natural key: one that one machine knows and another does not is found from either side") { scene throws in
      for (stream, order) in [("one", [a, b]), ("other", [b, a])] {
        try scene.adoptProducts(stream)
        for sink in order {
          let barcode: Value = sink.machine == .a ? "111" : .null
          #expect(try scene.merge(sink.in(stream), .product(1, 5, barcode, "Nike", 42)) == [.applied])
        }
        #expect(try scene.reader.rows(of: stream).count == 1)
        // Its barcode is known, although the newest row has none.
        try scene.merge(b.in(stream), .product(2, 5, .null, "Nike", 42))
        #expect(try scene.merge(c.in(stream), .product(1, 9, "111", "Puma", 1)) == [.applied])
        #expect(try scene.reader.rows(of: stream).count == 1)
        // Another barcode is another thing, whatever else is the same.
        try scene.merge(c.in(stream), .product(1, 10, "222", "Nike", 42))
        #expect(try scene.reader.rows(of: stream).count == 2)
      }
    },
    Claim("natural key: values are compared exactly, with their types") { scene throws in
      let schema = StreamSchema.products(else: [], type: "")
      for machine in [MachineID.a, .b] { #expect(try scene.adopt(schema, .stock, machine: machine) == nil) }
      let values: [Value] = ["a", "A", "a ", 5, "5", 5.5, .blob([0x61]), "ä", "", .blob([])]
      for (index, value) in values.enumerated() {
        let id = Value.integer(Int64(index))
        #expect(try scene.merge(.products(.a, schema), .product(1, id, value)) == [.applied], "\(value)")
      }
      #expect(try scene.reader.rows(of: "stock").count == values.count)
      for (index, value) in values.enumerated() {
        try scene.merge(.products(.b, schema), .product(2, .integer(Int64(100 - index)), value))
      }
      #expect(try scene.reader.rows(of: "stock").count == values.count)
    },
    Claim("natural key: all of several columns have to be the same, and any that is NULL makes it none") {
      scene throws in
      let schema = try StreamSchema(
        kind: .snapshot, columns: products.columns, key: [0],
        naturalKey: NaturalKey(columns: ["SIZE", "barcode"], fallback: ["brand"]))
      #expect(schema.naturalKey?.columns == ["size", "barcode"])
      for machine in [MachineID.a, .b] { #expect(try scene.adopt(schema, .stock, machine: machine) == nil) }
      try scene.merge(.products(.a, schema), .product(1, 1, "111", "Nike", 42), .product(1, 2, "111", "Nike", 43))
      try scene.merge(.products(.b, schema), .product(2, 7, "111", "Puma", 42), .product(2, 8, "111", "Fila", .null))
      #expect(try scene.products() == ["MAH001/1 111 0 v2", "MAH001/2 111 0 v1", "MAH002/8 111 0 v2"])
    },
    Claim("natural key: a row is found again under its local key when its natural key changes") { scene throws in
      try scene.adoptProducts()
      try scene.merge(a, .product(1, 1, "111"))
      try scene.merge(b, .product(2, 70, "111"))
      #expect(try scene.merge(a, .product(3, 1, "112", price: 3)) == [.applied])
      #expect(try scene.products() == ["MAH001/1 112 3 v3"])
      #expect(try scene.merge(b, .product(4, 70, "112", price: 4)) == [.applied])
      #expect(try scene.products() == ["MAH001/1 112 4 v4"])
      // Nobody has the old one any more.
      #expect(try scene.merge(c, .product(5, 9, "111", price: 5)) == [.applied])
      #expect(try scene.products() == ["MAH001/1 112 4 v4", "MAH003/9 111 5 v5"])
    },
    Claim("natural key: a row goes with the last machine that has it, and says what the others have until then") {
      scene throws in
      try scene.adoptProducts()
      try scene.merge(a, .product(1, 1, "111", price: 1))
      try scene.merge(b, .product(2, 70, "111", price: 2))
      #expect(try scene.merge(b, .delete(5, 70)) == [.applied])
      #expect(try scene.products() == ["MAH001/1 111 1 v1"])
      #expect(try scene.merge(b, .product(4, 70, "111", price: 4), .delete(5, 70)) == .notAgain)
      #expect(try scene.products() == ["MAH001/1 111 1 v1"])
      #expect(try scene.merge(a, .delete(6, 1)) == [.applied])
      #expect(try scene.products() == [])
      #expect(try scene.merge(a, .product(5, 1, "111")) == [.superseded])
      #expect(try scene.merge(b, .product(6, 70, "111", price: 6)) == [.applied])
      #expect(try scene.products() == ["MAH002/70 111 6 v6"])
    },
    Claim("natural key: when the first who brought a row has it no more, it goes on under another's key") {
      scene throws in
      try scene.adoptProducts()
      try scene.merge(a, .product(1, 1, "111", price: 1))
      try scene.merge(b, .product(2, 70, "111", price: 2))
      #expect(try scene.merge(a, .delete(3, 1), .product(4, 1, "222", price: 4)) == .twice)
      #expect(try scene.products() == ["MAH001/1 222 4 v4", "MAH002/70 111 2 v2"])
    },
    Claim("natural key: a later epoch of a machine wins over its earlier one, and not over other machines' versions") {
      scene throws in
      try scene.adoptProducts()
      try scene.merge(a, .product(20, 1, "111", price: 20))
      try scene.merge(b, .product(10, 70, "111", price: 10))
      #expect(try scene.merge(a, .product(5, 1, "111", price: 5), epoch: .two) == [.applied])
      #expect(try scene.products() == ["MAH001/1 111 10 v10"])
      #expect(try scene.merge(a, .product(20, 1, "111", price: 20)) == [.superseded])
    },
    Claim("natural key: whatever order events of three machines come in, and however often, the things end the same") {
      scene throws in
      for seed in UInt64(1)...25 {
        var shops = Shops(seed: seed)
        let events = shops.shuffled()
        let stream = "order \(seed)"
        try scene.adoptProducts(stream)
        var index = 0
        while index < events.count {
          // Neighbours of one machine come as one group.
          let machine = events[index].machine
          let group = events[index...].prefix { $0.machine == machine }.prefix(4)
          let outcomes = try scene.merge(.products(machine).in(stream), all: group.map(\.event))
          #expect(outcomes.allSatisfy { $0.refusal == nil }, "seed \(seed): \(outcomes)")
          index += group.count
        }
        let found = try scene.reader.rows(of: stream).map(Shops.text).sorted()
        #expect(found == shops.expected().map(Shops.text).sorted(), "seed \(seed)")
        #expect(found.count > 3)
      }
    },
  ]

  private static let ambiguousRows = [
    Claim("ambiguous: a row that could be several is refused, and taken once it can be only one") { scene throws in
      try scene.adoptProducts()
      try scene.merge(a, .product(1, 1, "111", "Nike", 42), .product(2, 2, "222", "Nike", 42))
      let outcomes = try scene.merge(
        b, .product(3, 70, .null, "Nike", 42, price: 3), .product(4, 71, "333", "Puma", 1))
      #expect(outcomes == [.refused(.ambiguous, detail: "integer(70): 2 rows have its brand, size"), .applied])
      #expect(try scene.products() == ["MAH001/1 111 0 v1", "MAH001/2 222 0 v2", "MAH002/71 333 0 v4"])
      try scene.merge(a, .delete(5, 2))
      #expect(try scene.merge(b, .product(3, 70, .null, "Nike", 42, price: 3)) == [.applied])
      #expect(try scene.products() == ["MAH001/1 NULL 3 v3", "MAH002/71 333 0 v4"])
    },
    Claim("ambiguous: one machine cannot have one thing under two keys") { scene throws in
      try scene.adoptProducts()
      #expect(
        try scene.merge(
          a, .product(1, 1, "111", "Nike", 42), .product(2, 2, "111", "Nike", 42), .product(3, 3, .null, "Nike", 42)
        ).map(\.refusal) == [nil, .ambiguous, .ambiguous])
      #expect(try scene.products() == ["MAH001/1 111 0 v1"])
      // What was refused has left nothing behind.
      #expect(try scene.merge(a, .product(1, 2, "222"), .delete(4, 1), .product(2, 3, "111")) == .thrice)
      #expect(try scene.products() == ["MAH001/2 222 0 v1", "MAH001/3 111 0 v2"])
    },
    Claim("ambiguous: a natural key that changes to another row's changes nothing") { scene throws in
      try scene.adoptProducts()
      try scene.merge(a, .product(1, 1, "111", price: 1), .product(1, 2, "222", price: 1))
      try scene.merge(b, .product(2, 70, "333", price: 2))
      for (sink, id) in [(a, Value.integer(1)), (b, 70)] {
        #expect(try scene.merge(sink, .product(3, id, "222", price: 3)).map(\.refusal) == [.ambiguous])
      }
      #expect(try scene.products() == ["MAH001/1 111 1 v1", "MAH001/2 222 1 v1", "MAH002/70 333 2 v2"])
      #expect(try scene.merge(a, .delete(4, 2), .product(3, 1, "222", price: 3)) == .twice)
      #expect(try scene.products() == ["MAH001/1 222 3 v3", "MAH002/70 333 2 v2"])
    },
    Claim("ambiguous: a row that keeps its natural key goes on, whatever others have come to be like it") {
      scene throws in
      try scene.adoptProducts()
      try scene.merge(a, .product(1, 1, "111", "Nike", 42))
      try scene.merge(b, .product(2, 70, .null, "Nike", 42))
      try scene.merge(c, .product(3, 9, "222", "Nike", 42))
      #expect(try scene.merge(b, .product(4, 70, .null, "Nike", 42, price: 4)) == [.applied])
      #expect(try scene.products() == ["MAH001/1 NULL 4 v4", "MAH003/9 222 0 v3"])
    },
    Claim("ambiguous: what is older than what is there is superseded, and a delete is no matter of matching") {
      scene throws in
      try scene.adoptProducts()
      try scene.merge(a, .product(5, 1, "111"), .product(5, 2, "222"), .delete(5, 3))
      #expect(try scene.merge(a, .product(4, 1, "222"), .product(4, 3, "111")) == .notAgain)
      #expect(try scene.merge(a, .delete(6, 4), .delete(6, 2)) == .twice)
      #expect(try scene.products() == ["MAH001/1 111 0 v5"])
      // A newer put that is refused has not opened the way for an older one.
      #expect(try scene.merge(a, .product(8, 3, "111")).map(\.refusal) == [.ambiguous])
      #expect(try scene.merge(a, .product(4, 3, "333"), .product(5, 3, "333")) == .notAgain)
      #expect(try scene.merge(a, .product(7, 3, "333")) == [.applied])
    },
    Claim("ambiguous: a thing that gets another local key is put and deleted in either order of a group") {
      scene throws in
      try scene.adoptProducts()
      try scene.merge(a, .product(1, 1, "111"))
      #expect(try scene.merge(a, .product(3, 2, "111", price: 3), .delete(2, 1)) == .twice)
      #expect(try scene.products() == ["MAH001/2 111 3 v3"])
      #expect(try scene.merge(a, .delete(4, 2), .product(5, 3, "111", price: 5)) == .twice)
      #expect(try scene.products() == ["MAH001/3 111 5 v5"])
    },
  ]

  private static let agreeing = [
    Claim("natural key: it is read again with its schema") { scene throws in
      try scene.adoptProducts()
      #expect(try scene.store.transaction { try $0.latestSchema(machine: .a, stream: .stock) } == products)
      #expect(try scene.store.transaction { try $0.schema(products.id, machine: .b, stream: .stock) } == products)
    },
    Claim("natural key: rows that were there before one was declared are matched, those of other machines too") {
      scene throws in
      let plain = StreamSchema.products(else: nil)
      for (version, machine) in [(2, MachineID.a), (1, .b), (3, .c)] {
        #expect(try scene.adopt(plain, .stock, machine: machine) == nil)
        try scene.merge(.products(machine, plain), .product(Int64(version), 1, "111", price: .integer(Int64(version))))
      }
      try scene.merge(.products(.b, plain), .product(1, 2, "222"), .product(1, 3, "222"), .product(1, 4, .null))
      #expect(try scene.reader.rows(of: "stock").count == 6)
      // The others use the table without it.
      #expect(try scene.adopt(products, .stock)?.contains("other machines use the sink table stock") == true)
      #expect(try scene.reader.rows(of: "stock").count == 6)
      #expect(try scene.store.transaction { try $0.accept(machine: .a, stream: .stock) } == Acceptance(aside: []))
      // The second machine's twins are here already, and stay.
      let others = ["MAH002/2 222 0 v1", "MAH002/3 222 0 v1", "MAH002/4 NULL 0 v1"]
      #expect(try scene.products() == ["MAH002/1 111 3 v3"] + others)
      // A machine that declares nothing brings rows of the same table.
      #expect(try scene.merge(.products(.c, plain), .product(4, 1, "444")) == [.applied])
      #expect(try scene.products() == ["MAH002/1 444 0 v4"] + others)
      #expect(try scene.adopt(plain, .stock, machine: .c) == nil)
      #expect(try scene.products().count == 4)
    },
    Claim("natural key: when nobody declares one any more, each machine's rows are its own again") { scene throws in
      let plain = StreamSchema.products(else: nil)
      for machine in [MachineID.a, .b] { #expect(try scene.adopt(products, .stock, machine: machine) == nil) }
      try scene.merge(a, .product(1, 1, "111", price: 1))
      try scene.merge(b, .product(2, 70, "111", price: 2))
      #expect(try scene.adopt(plain, .stock) == nil)
      // The rows of a machine that declares none are its own.
      #expect(try scene.products() == ["MAH001/1 111 1 v1", "MAH002/70 111 2 v2"])
      #expect(try scene.adopt(plain, .stock, machine: .b) == nil)
      #expect(try scene.products() == ["MAH001/1 111 1 v1", "MAH002/70 111 2 v2"])
      #expect(try scene.merge(.products(.b, plain), .product(3, 71, "111")) == [.applied])
      #expect(try scene.adopt(products, .stock) != nil)
      #expect(try scene.store.transaction { try $0.accept(machine: .a, stream: .stock) } == Acceptance(aside: []))
      #expect(try scene.products() == ["MAH001/1 111 2 v2", "MAH002/71 111 0 v3"])
    },
    Claim("natural key: a machine may change it alone; against another machine's it waits until it is accepted") {
      scene throws in
      let other = StreamSchema.products(else: nil, identity: ["brand"])
      #expect(try scene.adopt(products, .stock) == nil)
      try scene.merge(a, .product(1, 1, "111", "Nike"), .product(1, 2, "222", "Nike"))
      #expect(try scene.adopt(other, .stock) == nil)
      #expect(try scene.products().count == 2)
      #expect(try scene.merge(.products(.a, other), .product(2, 3, "333", "Nike")).map(\.refusal) == [.ambiguous])
      let reason = try scene.adopt(products, .stock, machine: .b)
      #expect(reason?.contains("matched by barcode, else by brand, size") == true, "\(reason ?? "")")
      #expect(try scene.store.transaction { try $0.isWaiting(products.id, machine: .b, stream: .stock) })
      #expect(try scene.store.transaction { try $0.accept(machine: .b, stream: .stock) } != nil)
      #expect(try scene.store.transaction { try $0.latestSchema(machine: .b, stream: .stock) } == products)
      try scene.merge(b, .product(3, 1, "111", "Nike"), .product(3, 2, "222", "Nike"))
      #expect(try scene.merge(c, .product(4, 5, "222", "Nike", price: 4)) == [.applied])
      #expect(try scene.products() == ["MAH002/1 111 0 v3", "MAH002/2 222 4 v4"])
    },
    Claim("natural key: new columns, and new types of old ones, come to matched rows too") { scene throws in
      try scene.adoptProducts()
      try scene.merge(a, .product(1, 1, "111", price: 1))
      let wider = try StreamSchema(
        kind: .snapshot,
        columns: products.columns.map { $0.name == "price" ? Column(name: "price", declaredType: "TEXT") : $0 }
          + [Column(name: "note", declaredType: "TEXT")], key: [0], naturalKey: products.naturalKey)
      // Another type waits, for other machines use the table.
      #expect(try scene.adopt(wider, .stock, machine: .b)?.contains("price is TEXT") == true)
      #expect(try scene.store.transaction { try $0.accept(machine: .b, stream: .stock) } == Acceptance(aside: []))
      let event = SinkEvent.row(2, [70, "111", .null, .null, "7", "new"], key: [70])
      #expect(try scene.merge(.products(.b, wider), event) == [.applied])
      let rows = try scene.reader.rows(of: "stock")
      #expect(rows.count == 1 && rows[0]["note"] == "new" && rows[0]["price"] == "7" && rows[0]["id"] == 1)
      #expect(try scene.merge(a, .product(3, 1, "111", price: 9)) == [.applied])
      #expect(try scene.reader.rows(of: "stock").map { [$0["note"], $0["price"]] } == [[.null, 9]])
    },
  ]
}

// MARK: The words of the claims

extension MachineID {
  fileprivate static let c = try! MachineID("MAH003")
}

extension StreamSchema {
  /// - Parameter others: the columns of `else`; nil: no natural key, unless one is given.
  static func products(
    else others: [String]?, identity: [String]? = nil, type: String = "TEXT"
  ) -> StreamSchema {
    let columns = [("id", "INTEGER"), ("barcode", type), ("brand", "TEXT"), ("size", "INTEGER"), ("price", "INTEGER")]
    let identity = identity ?? others.map { _ in ["barcode"] }
    return try! StreamSchema(
      kind: .snapshot, columns: columns.map { Column(name: $0.0, declaredType: $0.1) }, key: [0],
      naturalKey: identity.map { try! NaturalKey(columns: $0, fallback: others ?? []) })
  }
}

extension Sink {
  static func products(
    _ machine: MachineID, _ schema: StreamSchema = .products(else: ["brand", "size"])
  ) -> Sink { .table(schema, machine: machine) }

  fileprivate func `in`(_ stream: String) -> Sink {
    var sink = self
    sink.stream = .named(stream)
    return sink
  }
}

extension SinkEvent {
  static func product(
    _ version: Int64, _ id: Value, _ barcode: Value, _ brand: Value = .null, _ size: Value = .null, price: Value = 0
  ) -> SinkEvent { .row(version, [id, barcode, brand, size, price], key: [id]) }
}

extension [MergeOutcome] {
  fileprivate static var twice: [MergeOutcome] { [.applied, .applied] }
  fileprivate static var thrice: [MergeOutcome] { [.applied, .applied, .applied] }
  fileprivate static var notAgain: [MergeOutcome] { [.superseded, .superseded] }
}

extension CloudStoreConformance.Scene {
  fileprivate func adoptProducts(_ stream: String = "stock") throws {
    for machine in [MachineID.a, .b, .c] {
      #expect(try adopt(.products(else: ["brand", "size"]), .named(stream), machine: machine) == nil)
    }
  }

  /// The sink's rows as `machine/id barcode price version`.
  fileprivate func products(_ stream: String = "stock") throws -> [String] {
    try reader.rows(of: stream).map { row in
      func text(_ column: String) -> String {
        switch row[column]! {
        case .null: "NULL"
        case .text(let bytes): String(decoding: bytes, as: UTF8.self)
        case .integer(let integer): String(integer)
        case .real(let real): "\(real)"
        case .blob(let bytes): "\(Array(bytes))"
        }
      }
      return "\(text("machine_id"))/\(text("id")) \(text("barcode")) \(text("price")) v\(text("drover_version"))"
    }.sorted()
  }
}

/// Three shops with products of their own and shared ones, under local keys of their own: every event of them, and what there is in the end.
private struct Shops {
  private typealias Row = (key: Int64, version: Int64, thing: Int, values: [Value]?)

  private var random: Seeded
  private var events: [MachineID: [(event: SinkEvent, row: Row)]] = [:]

  init(seed: UInt64) {
    random = Seeded(seed)
    var version: Int64 = 0
    for _ in 0..<60 {
      let shop = [MachineID.a, .b, .c][pick(3)]
      let thing = pick(8)
      version += 1
      let row = row(of: thing, in: shop, version)
      let event =
        row.values.map { SinkEvent.row(version, $0, key: [.integer(row.key)]) }
        ?? .delete(version, .integer(row.key))
      events[shop, default: []].append((event, row))
    }
  }

  private mutating func pick(_ count: Int) -> Int { random.below(count) }

  /// Things 0 to 3 are known by barcode, of which the second shop knows none of 2 and 3; 4 and 5 by brand and size; 6 and 7 are each shop's
  /// own, and change their barcodes.
  private mutating func row(of thing: Int, in shop: MachineID, _ version: Int64) -> Row {
    let number: Int64 = shop == .a ? 0 : shop == .b ? 1 : 2
    let key = Int64(thing) * (number + 2) + number
    guard pick(4) > 0 else { return (key, version, thing, nil) }
    let own = thing > 5
    let barcode: Value =
      own
      ? .text(ArraySlice("\(shop) \(thing) \(pick(3))".utf8))
      : thing > 3 || thing > 1 && shop == .b ? .null : .text(ArraySlice("barcode \(thing)".utf8))
    let brand: Value = own ? .text(ArraySlice("\(shop)".utf8)) : thing % 2 == 0 ? "Nike" : "Puma"
    let size: Value = thing == 4 ? .null : .integer(Int64(thing))
    return (key, version, thing, [.integer(key), barcode, brand, size, .integer(version)])
  }

  /// In any order, some of them more than once.
  mutating func shuffled() -> [(machine: MachineID, event: SinkEvent)] {
    var all = events.sorted { $0.key < $1.key }.flatMap { shop in
      shop.value.map { (machine: shop.key, event: $0.event) }
    }
    for _ in 0..<20 { all.append(all[pick(all.count)]) }
    for index in all.indices { all.swapAt(index, pick(all.count)) }
    return all
  }

  /// The rows that there are, without whose keys they bear.
  func expected() -> [[String: Value]] {
    var things: [String: Row] = [:]
    for (shop, events) in events {
      for row in Dictionary(grouping: events.map(\.row), by: \.key).values.map({ $0.max { $0.version < $1.version }! })
      where row.values != nil {
        let name = row.thing > 5 ? "\(shop) \(row.thing)" : "\(row.thing)"
        if (things[name]?.version ?? 0) < row.version { things[name] = row }
      }
    }
    return things.values.map { row in
      let values = row.values!
      return [
        "barcode": values[1], "brand": values[2], "size": values[3], "price": values[4],
        "drover_version": .integer(row.version),
      ]
    }
  }

  static func text(_ row: [String: Value]) -> String {
    ["barcode", "brand", "size", "price", "drover_version"].map { "\(row[$0]!)" }.joined(separator: " ")
  }
}
