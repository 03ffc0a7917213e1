// Whole units: a header and its lines are merged as one, and what is complete is complete with its lines.

import DroverCore
import Testing

extension CloudStoreConformance {
  private static func receipts(_ completeWhen: String? = nil, further: [(String, String)] = []) -> StreamSchema {
    let columns = [("id", "INTEGER"), ("closed", "INTEGER")].map { Column(name: $0.0, declaredType: $0.1) }
    let sales = [("no", "INTEGER"), ("receipt_id", "INTEGER"), ("item", "TEXT")] + further
    return try! StreamSchema(
      kind: .batch, columns: columns, key: [0],
      completeWhen: completeWhen.map { try! Condition(parsing: $0) },
      lines: [
        LineSchema(
          table: .named("sales"), columns: sales.map { Column(name: $0.0, declaredType: $0.1) }, key: [0],
          references: [1]),
        LineSchema(
          table: .named("payments"),
          columns: ["receipt", "sum"].map { Column(name: $0, declaredType: "INTEGER") }, key: [1], references: [0]),
      ])
  }

  /// A receipt with its sales, `number: item`, and without payments.
  private static func receipt(_ version: Int64, _ id: Int64, _ closed: Int64, _ sales: [Int64: Value] = [:])
    -> SinkEvent
  {
    var event = SinkEvent.put(version, .integer(id), .integer(closed))
    event.lines = [sales.sorted { $0.key < $1.key }.map { [.integer($0.key), .integer(id), $0.value] }, []]
    return event
  }

  static let units: [Claim] = {
    let sink = Sink.table(receipts(), .named("receipts"))
    let closing = Sink.table(receipts("closed = 1"), .named("receipts"))
    @Sendable func sales(_ scene: Scene) throws -> [String] {
      try scene.reader.rows(of: "sales").map { row in
        "\(word(row["no"])) of \(word(row["receipt_id"])): \(word(row["item"])) @\(word(row["drover_version"]))"
      }.sorted()
    }
    @Sendable func headers(_ scene: Scene) throws -> [String] {
      try scene.reader.rows(of: "receipts").map {
        "\(word($0["id"])) \(word($0["closed"])) @\(word($0["drover_version"]))"
      }
      .sorted()
    }
    return [
      Claim("unit: a header's lines become those of its event, and an older event changes none") { scene throws in
        try scene.merge(sink, receipt(1, 7, 0, [1: "pen", 2: "ink"]))
        #expect(try scene.merge(sink, receipt(3, 7, 0, [2: "nib", 3: "cap"])) == [.applied])
        #expect(try sales(scene) == ["2 of 7: nib @3", "3 of 7: cap @3"])
        #expect(try scene.merge(sink, receipt(2, 7, 1, [1: "old"]), receipt(3, 7, 0)) == [.superseded, .superseded])
        #expect(try sales(scene) == ["2 of 7: nib @3", "3 of 7: cap @3"])
        #expect(try scene.reader.columns(of: "sales").first == "machine_id")
      },
      Claim("unit: with the header its lines are deleted, and none comes late") { scene throws in
        try scene.merge(sink, receipt(1, 7, 0, [1: "pen"]), receipt(1, 8, 0, [2: "ink"]))
        #expect(try scene.merge(sink, .delete(3, 7)) == [.applied])
        #expect(try scene.merge(sink, receipt(2, 7, 0, [1: "pen", 3: "cap"])) == [.superseded])
        #expect(try sales(scene) == ["2 of 8: ink @1"])
        #expect(try scene.merge(sink, receipt(4, 7, 0, [1: "pen"])) == [.applied])
        #expect(try sales(scene) == ["1 of 7: pen @4", "2 of 8: ink @1"])
      },
      Claim("unit: a line that moved to another header stays there, whichever event comes first") { scene throws in
        let (first, without, with) = (receipt(1, 7, 0, [1: "pen"]), receipt(2, 7, 0), receipt(3, 8, 0, [1: "pen"]))
        let orders = [
          [first, without, with], [with, without, first], [first, with, without], [with, first, without],
        ]
        for (order, machine) in zip(orders, ["A", "B", "C", "D"]) {
          var sink = sink
          sink.machine = try MachineID(machine)
          for event in order { try scene.merge(sink, event) }
        }
        #expect(try sales(scene) == Array(repeating: "1 of 8: pen @3", count: 4))
      },
      Claim("unit: two machines have lines of their own") { scene throws in
        var other = sink
        other.machine = .b
        try scene.merge(sink, receipt(1, 7, 0, [1: "pen"]))
        try scene.merge(other, receipt(1, 7, 0, [1: "ink"]))
        #expect(try sales(scene) == ["1 of 7: ink @1", "1 of 7: pen @1"])
        try scene.merge(sink, .delete(2, 7))
        #expect(try sales(scene) == ["1 of 7: ink @1"])
      },
      Claim("unit: a line that the table refuses takes the whole unit with it") { scene throws in
        try scene.merge(sink, receipt(1, 7, 0, [1: "pen"]))
        var broken = receipt(2, 7, 1, [1: "ink"])
        broken.lines[0].append([.null, 7, "cap"])
        #expect(try scene.merge(sink, broken, receipt(1, 8, 0)).map(\.refusal) == [.store, nil])
        #expect(try sales(scene) == ["1 of 7: pen @1"])
        #expect(try headers(scene) == ["7 0 @1", "8 0 @1"])
      },
      Claim("unit: what is complete is complete with its lines") { scene throws in
        try scene.merge(closing, receipt(1, 7, 0, [1: "pen"]))
        #expect(try scene.merge(closing, receipt(2, 7, 1, [1: "pen", 2: "ink"])) == [.applied])
        let outcomes = try scene.merge(
          closing, receipt(4, 7, 1, [1: "pen", 2: "nib"]), receipt(5, 7, 1, [1: "pen", 2: "ink", 3: "cap"]))
        #expect(outcomes.map(\.refusal) == [.frozen, .frozen])
        #expect(
          try scene.merge(closing, receipt(7, 7, 1, [1: "pen", 2: "ink"]), receipt(1, 7, 0)) == [
            .superseded, .superseded,
          ])
        #expect(try scene.merge(closing, receipt(1, 7, 0), epoch: .two).map(\.refusal) == [.frozen])
        #expect(try sales(scene) == ["1 of 7: pen @2", "2 of 7: ink @2"])
      },
      Claim("unit: lines of what is complete may be cleared at the edge, all or some, and the header with them") {
        scene throws in
        try scene.merge(closing, receipt(1, 7, 1, [1: "pen", 2: "ink"]))
        #expect(
          try scene.merge(closing, receipt(2, 7, 1, [1: "pen"]), receipt(3, 7, 1), .delete(4, 7)) == [
            .superseded, .superseded, .superseded,
          ])
        #expect(try scene.merge(closing, receipt(1, 7, 1), epoch: .two) == [.superseded])
        #expect(try sales(scene) == ["1 of 7: pen @1", "2 of 7: ink @1"])
        #expect(try headers(scene) == ["7 1 @1"])
      },
      Claim("unit: nothing takes a line away from what is complete") { scene throws in
        try scene.merge(closing, receipt(2, 7, 1, [1: "pen"]))
        #expect(try scene.merge(closing, receipt(3, 8, 0, [1: "pen", 2: "ink"])).map(\.refusal) == [.frozen])
        #expect(try headers(scene) == ["7 1 @2"])
        // One that the line has left already is older, and takes nothing.
        #expect(try scene.merge(closing, receipt(1, 9, 0, [1: "pen"])) == [.applied])
        #expect(try sales(scene) == ["1 of 7: pen @2"])
      },
      Claim("unit: a schema with lines is found again, and its new columns appear") { scene throws in
        let (old, new) = (receipts("closed = 1"), receipts("closed = 1", further: [("price", "REAL")]))
        #expect(old.id != new.id && old.id != receipts().id)
        #expect(try scene.adopt(old, .named("receipts")) == nil)
        try scene.merge(.table(old, .named("receipts")), receipt(1, 7, 0, [1: "pen"]))
        #expect(try scene.adopt(new, .named("receipts")) == nil)
        try scene.store.transaction { transaction throws in
          for schema in [old, new] {
            #expect(try transaction.schema(schema.id, machine: .a, stream: .named("receipts")) == schema)
          }
        }
        var event = receipt(2, 7, 0)
        event.lines[0] = [[1, 7, "pen", 0.5]]
        #expect(try scene.merge(.table(new, .named("receipts")), event) == [.applied])
        #expect(try scene.reader.rows(of: "sales").map { $0["price"] } == [0.5])
      },
      Claim("unit: a table is a stream's or holds lines, not both, and what is refused makes nothing") { scene throws in
        #expect(try scene.adopt(.columns("item TEXT"), .named("payments"), machine: .b) == nil)
        #expect(try scene.adopt(receipts(), .named("receipts"))?.contains("payments") == true)
        #expect(try scene.merge(sink, receipt(1, 7, 0)).map(\.refusal) == [.schema])
        #expect(try scene.reader.columns(of: "receipts").isEmpty && scene.reader.columns(of: "sales").isEmpty)
        try scene.merge(.table(.columns("a"), .named("other")), .put(1, 1, "x"))
        let lines = StreamSchema.columns("item TEXT")
        #expect(try scene.adopt(receipts(), .named("payments"), machine: .b) != nil)
        #expect(try scene.adopt(lines, .named("sales"), machine: .b) == nil)
      },
      Claim("unit: tables of lines count against the limit of streams", conditions { $0.streamsPerMachine = 3 }) {
        scene throws in
        #expect(try scene.adopt(receipts(), .named("receipts")) == nil)
        #expect(try scene.adopt(.columns("a"), .stock)?.contains("limits.streams_per_machine") == true)
      },
    ]
  }()

  private static func word(_ value: Value?) -> String {
    switch value {
    case .integer(let integer)?: String(integer)
    case .text(let bytes)?: String(decoding: bytes, as: UTF8.self)
    default: "\(String(describing: value))"
    }
  }
}
