// The merge rules of docs/protocol.md: the newest version wins for states, facts are inserted once.

import DroverCore
import Testing

extension CloudStoreConformance {
  private static let plain = StreamSchema.columns("name TEXT", "level REAL")
  private static let batch = StreamSchema.columns("name TEXT", "level REAL", kind: .batch)

  static let merging: [Claim] =
    [Sink.table(plain), .table(batch)].flatMap { sink in
      [
        Claim("\(sink.kind): a newer version wins, an older and an equal one are ignored") { scene throws in
          #expect(try scene.merge(sink, .put(10, 1, "a", 0.5)) == [.applied])
          #expect(try scene.merge(sink, .put(11, 1, "b", 1.5)) == [.applied])
          #expect(try scene.merge(sink, .put(11, 1, "c", 2.5)) == [.superseded])
          #expect(try scene.merge(sink, .put(10, 1, "a", 0.5)) == [.superseded])
          #expect(try scene.lines(.stock) == ["id=1 name=b level=1.5 machine_id=MAH001 drover_version=11"])
        },
        Claim("\(sink.kind): a delete removes the row, and an older put after it stays deleted") { scene throws in
          try scene.merge(sink, .put(10, 1, "a", 0.5), .put(10, 2, "b", 0.5))
          #expect(try scene.merge(sink, .delete(12, 1)) == [.applied])
          #expect(try scene.merge(sink, .put(11, 1, "c", 0.5)) == [.superseded])
          #expect(try scene.merge(sink, .put(12, 1, "d", 0.5)) == [.superseded])
          #expect(try scene.lines(.stock) == ["id=2 name=b level=0.5 machine_id=MAH001 drover_version=10"])
        },
        Claim("\(sink.kind): a newer put after a delete revives the row, and the old delete cannot come again") {
          scene throws in
          try scene.merge(sink, .put(10, 1, "a", 0.5))
          try scene.merge(sink, .delete(11, 1))
          #expect(try scene.merge(sink, .put(13, 1, "c", 0.5)) == [.applied])
          #expect(
            try scene.merge(sink, .delete(11, 1), .delete(12, 1), .delete(13, 1)) == [
              .superseded, .superseded, .superseded,
            ])
          #expect(try scene.lines(.stock) == ["id=1 name=c level=0.5 machine_id=MAH001 drover_version=13"])
          #expect(try scene.merge(sink, .delete(14, 1), .put(12, 1, "d", 0.5)) == [.applied, .superseded])
        },
        Claim("\(sink.kind): a delete of a row that never came leaves a tombstone") { scene throws in
          #expect(try scene.merge(sink, .delete(12, 1)) == [.applied])
          #expect(
            try scene.merge(sink, .put(11, 1, "late", 0.5), .put(11, 2, "other", 0.5)) == [.superseded, .applied])
          #expect(try scene.lines(.stock) == ["id=2 name=other level=0.5 machine_id=MAH001 drover_version=11"])
        },
        Claim("\(sink.kind): an older delete does not lower a tombstone, a newer one raises it") { scene throws in
          try scene.merge(sink, .delete(12, 1))
          #expect(
            try scene.merge(sink, .delete(10, 1), .delete(12, 1), .put(11, 1, "a", 0.5)) == [
              .superseded, .superseded, .superseded,
            ])
          #expect(
            try scene.merge(sink, .delete(20, 1), .put(15, 1, "a", 0.5), .put(21, 1, "b", 0.5)) == [
              .applied, .superseded, .applied,
            ])
        },
        Claim("\(sink.kind): events of one group are merged in their order") { scene throws in
          let outcomes = try scene.merge(
            sink, .put(1, 1, "a", 0.5), .delete(2, 1), .put(3, 1, "b", 0.5), .put(2, 1, "c", 0.5), .put(4, 1, "d", 0.5))
          #expect(outcomes == [.applied, .applied, .applied, .superseded, .applied])
          #expect(try scene.lines(.stock) == ["id=1 name=d level=0.5 machine_id=MAH001 drover_version=4"])
        },
        Claim("\(sink.kind): whatever order events arrive in, and however often, the rows end the same") {
          scene throws in
          var random = Seeded(7)
          var events: [SinkEvent] = []
          for version in Int64(1)...24 {
            let key = Value.integer(version % 4)
            events.append(random.below(3) == 0 ? .delete(version, key) : .put(version, key, .integer(version), .null))
          }
          _ = try scene.merge(sink, all: events)
          let expected = try scene.lines(.stock)
          #expect(expected.count > 1)
          for turn in 0..<40 {
            let other = StreamName.named("order \(turn)")
            var shuffled = events + events.prefix(6)
            for index in shuffled.indices { shuffled.swapAt(index, random.below(shuffled.count)) }
            var target = sink
            target.stream = other
            let cut = random.below(20)
            _ = try scene.merge(target, all: Array(shuffled[..<cut]))
            _ = try scene.merge(target, all: Array(shuffled[cut...]))
            try #require(try scene.lines(other) == expected)
          }
        },
        Claim("\(sink.kind): two machines have rows and tombstones of their own in one table") { scene throws in
          var other = sink
          other.machine = .b
          try scene.merge(sink, .put(10, 1, "a", 0.5))
          try scene.merge(other, .put(5, 1, "b", 0.5))
          try scene.merge(sink, .delete(20, 1))
          #expect(try scene.merge(other, .put(6, 1, "c", 0.5)) == [.applied])
          #expect(try scene.lines(.stock) == ["id=1 name=c level=0.5 machine_id=MAH002 drover_version=6"])
        },
      ]
    } + [
      Claim("bodies of a snapshot: the newest wins, deletes leave tombstones") { scene throws in
        let sink = Sink.bodies(.snapshot)
        #expect(
          try scene.merge(sink, .body(2, "x", #"{"a":1}"#, at: "then"), .body(1, "x", "0"), .body(1, "y", "[]")) == [
            .applied, .superseded, .applied,
          ])
        #expect(
          try scene.merge(sink, .deleteBody(3, "y"), .body(2, "y", "1"), .deleteBody(1, "x")) == [
            .applied, .superseded, .superseded,
          ])
        #expect(
          try scene.lines(.stock) == [#"local_id=x occurred_at=then body={"a":1} machine_id=MAH001 drover_version=2"#])
      },
      Claim("a composite key is the key in its own order, and every part of it counts") { scene throws in
        let schema = StreamSchema.make([("a", "TEXT"), ("n", "INT"), ("b", "INTEGER")], key: [2, 0])
        let sink = Sink.table(schema)
        let outcomes = try scene.merge(
          sink, .row(1, ["x", 1, 1], key: [1, "x"]), .row(1, ["x", 2, 2], key: [2, "x"]),
          .row(1, ["y", 3, 1], key: [1, "y"]),
          .row(2, ["x", 9, 1], key: [1, "x"]), .delete(2, 1, "y"))
        #expect(outcomes == [.applied, .applied, .applied, .applied, .applied])
        #expect(
          try scene.lines(.stock) == [
            "a=x n=2 b=2 machine_id=MAH001 drover_version=1", "a=x n=9 b=1 machine_id=MAH001 drover_version=2",
          ])
      },
      Claim("a table of nothing but its key takes newer versions too") { scene throws in
        let sink = Sink.table(.make([("k", "TEXT")], key: [0]))
        #expect(
          try scene.merge(sink, .row(1, ["x"], key: ["x"]), .row(2, ["x"], key: ["x"]), .row(1, ["x"], key: ["x"])) == [
            .applied, .applied, .superseded,
          ])
      },
      Claim("keys that differ in case or in trailing spaces are different keys") { scene throws in
        let sink = Sink.table(.make([("k", "TEXT"), ("n", "INT")], key: [0]))
        for (index, key) in ["a", "A", "a ", " a", "ä", ""].enumerated() {
          try scene.merge(sink, .row(1, [.text(key), .integer(Int64(index))], key: [.text(key)]))
        }
        #expect(try scene.reader.rows(of: "stock").count == 6)
        #expect(try scene.merge(sink, .delete(2, "A")) == [.applied])
        #expect(try scene.reader.rows(of: "stock").count == 5)
      },
      Claim("a row with NULL in its key is refused by itself, and the others of its group go on") { scene throws in
        let sink = Sink.table(.make([("k", "TEXT"), ("n", "INT")], key: [0]))
        let outcomes = try scene.merge(
          sink, .row(1, ["a", 1], key: ["a"]), .row(1, [.null, 2], key: [.null]), .row(1, ["b", 3], key: ["b"]))
        #expect(outcomes.map(\.refusal) == [nil, .store, nil])
        #expect(try scene.reader.rows(of: "stock").count == 2)
      },
    ]

  static let payloads: [Claim] = {
    let schema = StreamSchema.columns("name TEXT", "price REAL", kind: .payload)
    let sink = Sink.table(schema)
    return [
      Claim("payload: a fact is inserted once, and the same content again is a duplicate") { scene throws in
        #expect(try scene.merge(sink, .put(1, 1, "a", 0.5)) == [.applied])
        #expect(try scene.merge(sink, .put(1, 1, "a", 0.5), .put(9, 1, "a", 0.5)) == [.superseded, .superseded])
        #expect(try scene.lines(.stock) == ["id=1 name=a price=0.5 machine_id=MAH001 drover_version=1"])
      },
      Claim("payload: another content under the same id is a conflict, and the first stays") { scene throws in
        try scene.merge(sink, .put(1, 1, "a", 0.5))
        for other: SinkEvent in [
          .put(9, 1, "b", 0.5), .put(0, 1, "a", 0.25), .put(9, 1, "a", .null), .put(9, 1, "A", 0.5),
        ] {
          #expect(try scene.merge(sink, other).map(\.refusal) == [.conflict])
        }
        #expect(try scene.lines(.stock) == ["id=1 name=a price=0.5 machine_id=MAH001 drover_version=1"])
      },
      Claim("payload: two facts of one group under one id are a duplicate or a conflict too") { scene throws in
        let outcomes = try scene.merge(
          sink, .put(1, 1, "a", 0.5), .put(2, 1, "a", 0.5), .put(3, 1, "b", 0.5), .put(4, 2, "b", 0.5))
        #expect(outcomes.map(\.refusal) == [nil, nil, .conflict, nil])
        #expect(outcomes[1] == .superseded)
        #expect(try scene.reader.rows(of: "stock").count == 2)
      },
      Claim("payload: a delete is refused, and removes nothing") { scene throws in
        try scene.merge(sink, .put(1, 1, "a", 0.5))
        #expect(try scene.merge(sink, .delete(9, 1), .delete(9, 2)).map(\.refusal) == [.event, .event])
        #expect(try scene.merge(sink, .put(1, 2, "late", 0.5)) == [.applied])
        #expect(try scene.reader.rows(of: "stock").count == 2)
      },
      // A third-party client publishes {"id": 1, "name": 7, "price": 5} and, at QoS 1, publishes it again. The table keeps '7' and 5.0,
      // which is not what came, so the second was buried as a conflict.
      Claim("payload: what the columns' types made of a fact does not make its duplicate a conflict") { scene throws in
        #expect(try scene.merge(sink, .put(1, 1, 7, 5)) == [.applied])
        #expect(try scene.merge(sink, .put(2, 1, 7, 5)) == [.superseded])
        #expect(
          try scene.merge(sink, .put(2, 1, 8, 5), .put(2, 1, 7, 6), .put(2, 1, 7, "five")).map(\.refusal) == [
            .conflict, .conflict, .conflict,
          ])
      },
      Claim("payload: a zero's sign is content") { scene throws in
        try scene.merge(sink, .put(1, 1, "a", 0.0))
        #expect(try scene.merge(sink, .put(2, 1, "a", -0.0)).map(\.refusal) == [.conflict])
      },
      Claim("payload without a table: body and id make the fact, when it happened does not") { scene throws in
        let sink = Sink.bodies(.payload)
        #expect(try scene.merge(sink, .body(1, "x", #"{"c":20}"#, at: "then")) == [.applied])
        #expect(try scene.merge(sink, .body(2, "x", #"{"c":20}"#, at: "now")) == [.superseded])
        #expect(
          try scene.merge(sink, .body(3, "x", #"{"c":21}"#), .body(1, "X", #"{"c":21}"#)).map(\.refusal) == [
            .conflict, nil,
          ])
        #expect(
          try scene.lines(.stock) == [
            #"local_id=X occurred_at=NULL body={"c":21} machine_id=MAH001 drover_version=1"#,
            #"local_id=x occurred_at=then body={"c":20} machine_id=MAH001 drover_version=1"#,
          ])
      },
      Claim("payload: two machines may tell of the same id") { scene throws in
        try scene.merge(sink, .put(1, 1, "a", 0.5))
        #expect(try scene.merge(.table(schema, machine: .b), .put(1, 1, "b", 0.5)) == [.applied])
        #expect(try scene.reader.rows(of: "stock").count == 2)
      },
    ]
  }()
}
