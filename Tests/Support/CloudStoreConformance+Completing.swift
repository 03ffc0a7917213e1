// A batch that is complete is frozen: whatever comes later says the same, or is refused and kept as a dead letter.

import DroverCore
import Testing

extension CloudStoreConformance {
  private static func orders(_ condition: String?, _ further: String...) -> StreamSchema {
    .batch([("id", "INTEGER"), ("status", "INTEGER"), ("used", "REAL")] + further.map { ($0, "") }, condition)
  }

  static let completing: [Claim] = {
    let sink = Sink.table(orders("status = 1"))
    return [
      Claim("a batch changes until it is complete, and the change that completes it is taken") { scene throws in
        #expect(
          try scene.merge(sink, .put(1, 7, 0, 0.5), .put(2, 7, .null, 1.5), .put(3, 7, 1, 2.5)) == [
            .applied, .applied, .applied,
          ])
        #expect(try scene.lines(.stock) == ["id=7 status=1 used=2.5 machine_id=MAH001 drover_version=3"])
      },
      Claim("a complete batch is never changed: not by a newer put, nor in a later epoch") {
        scene throws in
        try scene.merge(sink, .put(3, 7, 1, 2.5))
        for epoch in [Epoch.one, .two] {
          #expect(
            try scene.merge(
              sink, .put(4, 7, 1, 9.5), .put(5, 7, 0, 2.5), .put(6, 7, .null, .null), epoch: epoch
            ).map(\.refusal) == [.frozen, .frozen, .frozen])
        }
        #expect(try scene.lines(.stock) == ["id=7 status=1 used=2.5 machine_id=MAH001 drover_version=3"])
        // No tombstone was left either: others of the table go on.
        #expect(try scene.merge(sink, .put(4, 8, 0, 0.5)) == [.applied])
      },
      // Each order that was cleared at the edge became a dead letter.
      Claim("a delete of a complete batch retires it at the edge: the record stays, and the delete is no dead letter") {
        scene throws in
        try scene.merge(sink, .put(3, 7, 1, 2.5))
        #expect(try scene.merge(sink, .delete(4, 7)) == [.superseded])
        #expect(try scene.merge(sink, .delete(1, 7), epoch: .two) == [.superseded])
        #expect(try scene.merge(sink, .put(5, 7, 1, 2.5), epoch: .two) == [.superseded])
        #expect(try scene.lines(.stock) == ["id=7 status=1 used=2.5 machine_id=MAH001 drover_version=3"])
      },
      Claim("an event that says the same as a complete batch is a duplicate, in a later epoch too") { scene throws in
        try scene.merge(sink, .put(3, 7, 1, 2))
        #expect(try scene.merge(sink, .put(3, 7, 1, 2), .put(9, 7, 1, 2)) == [.superseded, .superseded])
        #expect(try scene.merge(sink, .put(1, 7, 1, 2.0), epoch: .two) == [.superseded])
        #expect(try scene.lines(.stock) == ["id=7 status=1 used=2.0 machine_id=MAH001 drover_version=3"])
      },
      Claim("what a batch was before it was complete is superseded when it comes late") { scene throws in
        try scene.merge(sink, .put(3, 7, 1, 2.5))
        #expect(try scene.merge(sink, .put(2, 7, 0, 0.5), .delete(1, 7)) == [.superseded, .superseded])
        #expect(try scene.lines(.stock) == ["id=7 status=1 used=2.5 machine_id=MAH001 drover_version=3"])
      },
      Claim("a condition that gives NULL does not complete a batch") { scene throws in
        let sink = Sink.table(orders("NOT status <> 1"))
        #expect(
          try scene.merge(sink, .put(1, 7, .null, 0.5), .put(2, 7, .null, 1.5), .put(3, 7, 1, 2.5)) == [
            .applied, .applied, .applied,
          ])
        #expect(try scene.merge(sink, .put(4, 7, .null, 2.5)).map(\.refusal) == [.frozen])
      },
      Claim("the condition of the schema that was described last counts, for events of older schemas too") {
        scene throws in
        let (open, one, two) = (orders(nil), orders("status = 1"), orders("status IN (1, 2)", "new"))
        #expect(Set([open, one, two].map(\.id)).count == 3)
        #expect(try scene.adopt(open, .stock) == nil)
        #expect(try scene.merge(.table(open), .put(1, 7, 1, 0.5), .put(2, 7, 1, 1.5)) == [.applied, .applied])
        #expect(try scene.adopt(one, .stock) == nil)
        #expect(try scene.merge(.table(open), .put(3, 7, 1, 2.5)).map(\.refusal) == [.frozen])
        #expect(try scene.merge(.table(one), .put(3, 8, 2, 0.5), .put(4, 8, 2, 1.5)) == [.applied, .applied])
        #expect(try scene.adopt(two, .stock) == nil)
        #expect(try scene.merge(.table(one), .put(5, 8, 2, 2.5)).map(\.refusal) == [.frozen])
        #expect(try scene.store.transaction { try $0.latestSchema(machine: .a, stream: .stock) } == two)
        #expect(try scene.adopt(open, .stock) == nil)
        #expect(try scene.merge(.table(one), .put(6, 8, 2, 3.5)) == [.applied])
      },
      Claim("each machine's own condition counts for its rows") { scene throws in
        let (one, two) = (orders("status = 1"), orders("status = 2"))
        #expect(try scene.adopt(one, .stock) == nil)
        #expect(try scene.adopt(two, .stock, machine: .b) == nil)
        for sink in [Sink.table(one), .table(two, machine: .b)] { try scene.merge(sink, .put(1, 7, 1, 0.5)) }
        #expect(try scene.merge(.table(one), .put(2, 7, 1, 1.5)).map(\.refusal) == [.frozen])
        #expect(try scene.merge(.table(two, machine: .b), .put(2, 7, 1, 1.5)) == [.applied])
      },
      Claim("names and values of a condition are whatever a column and a row may hold") { scene throws in
        let names = ["a \"b\"", "it's", "select", "größe"]
        let condition = #""a ""b""" = 'it''s' AND "it's" IN (x'00ff', 'x') AND "SELECT" < -0.5 AND "größe" IS NULL"#
        let schema = StreamSchema.batch([("id", "INTEGER")] + names.map { ($0, "") } + [("n", "")], condition)
        let sink = Sink.table(schema)
        let complete: [Value] = [1, "it's", .blob([0, 255]), -1.5, .null, 1]
        var open = complete
        open[3] = -0.5
        #expect(
          try scene.merge(sink, .row(1, open, key: [1]), .row(2, complete, key: [1])) == [.applied, .applied])
        #expect(try scene.merge(sink, .row(3, open, key: [1])).map(\.refusal) == [.frozen])
      },
    ]
  }()
}

extension StreamSchema {
  /// A batch whose key is its first column.
  static func batch(_ columns: [(String, String)], _ completeWhen: String?) -> StreamSchema {
    try! StreamSchema(
      kind: .batch, columns: columns.map { Column(name: $0.0, declaredType: $0.1) }, key: [0],
      completeWhen: completeWhen.map { try! Condition(parsing: $0) })
  }
}
