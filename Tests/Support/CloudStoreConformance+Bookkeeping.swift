// Values bit for bit, what is received, who was heard, dead letters, tombstones that retire, and transactions that fail.

import DroverCore
import Testing

extension CloudStoreConformance {
  static let values: [Claim] = {
    let values: [Value] = [
      .null, 0, -1, .integer(.max), .integer(.min), .integer((1 << 53) + 1), 0.0, -0.0, 0.1, 1e300, 1.0,
      .real(.infinity), .real(-.infinity),
      .real(.leastNonzeroMagnitude), .real(.leastNormalMagnitude), .real(.greatestFiniteMagnitude), .real(.pi), "",
      "12", "1e3", "größe 😀", "it's",
      " ", "null", .blob([]), .blob([0]), .blob([0xff, 0, 0xff]), .blob([0x31]),
      .blob(ArraySlice(repeating: 7, count: 100_000)),
    ]
    let wildTexts: [Value] = [
      .text([0]), .text([0x61, 0, 0x62]), .text([0xff, 0xfe]), .text([0xed, 0xa0, 0x80]), .text([0xc0, 0x80]),
    ]
    func claim(_ name: String, _ values: [Value], _ kind: Kind, needsAnyText: Bool) -> Claim {
      Claim("\(kind): \(name) are kept bit for bit", needsAnyText: needsAnyText) { scene throws in
        let schema = StreamSchema.columns("v", kind: kind)
        _ = try scene.adopt(schema, .stock)
        for (index, value) in values.enumerated() {
          #expect(try scene.merge(.table(schema), .put(1, .integer(Int64(index)), value)) == [.applied])
          // Read back by the store itself, a fact is the same fact.
          if kind == .payload {
            #expect(try scene.merge(.table(schema), .put(2, .integer(Int64(index)), value)) == [.superseded])
          }
        }
        let rows = try scene.reader.rows(of: "stock")
        #expect(rows.count == values.count)
        for (index, value) in values.enumerated() {
          #expect(rows.first { $0["id"] == .integer(Int64(index)) }?["v"] == value)
        }
      }
    }
    return [Kind.snapshot, .payload].flatMap { kind in
      [
        claim("numbers, texts and blobs", values, kind, needsAnyText: false),
        claim("texts with NUL and invalid UTF-8", wildTexts, kind, needsAnyText: true),
      ]
    } + [
      Claim("keys of every type find their row, and none is another's") { scene throws in
        let schema = StreamSchema.make([("k", ""), ("n", "INT")], key: [0])
        let keys: [Value] = [
          0, 1, -1, .integer(.max), 0.5, .real(.infinity), "", "0", "1", "a", .blob([]), .blob([0x31]), .blob([0x61]),
        ]
        for (index, key) in keys.enumerated() {
          #expect(try scene.merge(.table(schema), .row(1, [key, .integer(Int64(index))], key: [key])) == [.applied])
        }
        #expect(try scene.reader.rows(of: "stock").count == keys.count)
        for key in keys {
          #expect(
            try scene.merge(.table(schema), .row(2, [key, 100], key: [key]), .delete(1, key)) == [
              .applied, .superseded,
            ])
        }
        for (index, key) in keys.enumerated() {
          #expect(try scene.merge(.table(schema), .delete(3, key)) == [.applied])
          #expect(try scene.reader.rows(of: "stock").count == keys.count - index - 1)
        }
      },
      Claim("a body is kept as it was written") { scene throws in
        let body = #" {"b":1.50,"a":"ü\u0000","a":1e400} "#
        try scene.merge(.bodies(.payload), .body(1, "ä'\"", body))
        #expect(try scene.reader.rows(of: "stock").first?["body"] == .text(body))
        #expect(try scene.reader.rows(of: "stock").first?["local_id"] == "ä'\"")
      },
    ]
  }()

  static let tombstones: [Claim] = [
    // Statements were looked up by their text as Swift compares it, so one stream's events could go into another's table.
    Claim("names that look alike are two streams, and IDs that look alike two rows") { scene throws in
      let (composed, decomposed) = ("\u{e9}", "e\u{301}")
      let schema = StreamSchema.columns("v")
      for (index, name) in [composed, decomposed].enumerated() {
        #expect(try scene.adopt(schema, .named(name)) == nil)
        try scene.merge(.table(schema, .named(name)), .put(1, .integer(Int64(index)), 1))
      }
      for (index, name) in [composed, decomposed].enumerated() {
        #expect(try scene.reader.rows(of: name).map { $0["id"] } == [.integer(Int64(index))])
      }
      let bodies = Sink.bodies(.snapshot)
      try scene.merge(bodies, .body(1, composed, "1"), .body(1, decomposed, "2"))
      #expect(try scene.reader.rows(of: "stock").count == 2)
      #expect(try scene.merge(bodies, .deleteBody(5, composed)) == [.applied])
      #expect(try scene.merge(bodies, .body(3, decomposed, "3"), .body(3, composed, "3")) == [.applied, .superseded])
      #expect(try scene.reader.rows(of: "stock").map { $0["local_id"] } == [.text(decomposed)])
    },
    Claim("a tombstone stays until it is old and everything before it has been received") { scene throws in
      let sink = Sink.table(.columns("a"))
      try scene.merge(sink, .delete(10, 1, seq: 5))
      func receive(_ interval: Interval, epoch: Epoch = .one) throws {
        try scene.store.transaction {
          try $0.setReceived(IntervalSet([interval]), machine: .a, epoch: epoch, stream: .stock)
        }
      }
      func hasTombstone() throws -> Bool {
        struct Undo: Error {}
        var outcome: [MergeOutcome] = []
        // Tried in a transaction that is taken back.
        do {
          try scene.store.transaction { transaction throws in
            outcome = try transaction.merge([.put(9, 1, "late")], epoch: .one, into: sink)
            throw Undo()
          }
        } catch is Undo {}
        return outcome == [.superseded]
      }
      let later: Int64 = 1_795_000_000_000_001
      func retire(before moment: Int64 = later) throws {
        try scene.store.transaction { try $0.retireTombstones(madeBefore: moment) }
      }

      #expect(try hasTombstone())
      try retire()
      #expect(try hasTombstone(), "nothing was received yet")
      try receive(Interval(after: 1, through: 9))
      try retire()
      #expect(try hasTombstone(), "there is a hole before it")
      try receive(Interval(after: 0, through: 4))
      try retire()
      #expect(try hasTombstone(), "it is itself not yet received")
      try receive(Interval(after: 0, through: 9), epoch: .two)
      try retire()
      #expect(try hasTombstone(), "another epoch says nothing of it")
      try receive(Interval(after: 0, through: 5))
      try retire(before: later - 1)
      #expect(try hasTombstone(), "it is not yet old")
      try retire()
      #expect(try !hasTombstone())
    },
    Claim("tombstones of bare events retire by their age alone") { scene throws in
      let sink = Sink.bodies(.snapshot)
      try scene.merge(sink, .deleteBody(10, "x"), epoch: nil)
      try scene.store.transaction { try $0.retireTombstones(madeBefore: 1_795_000_000_000_000) }
      #expect(try scene.merge(sink, .body(9, "x", "1"), epoch: nil) == [.superseded])
      try scene.store.transaction { try $0.retireTombstones(madeBefore: 1_795_000_000_000_001) }
      #expect(try scene.merge(sink, .body(9, "x", "1"), epoch: nil) == [.applied])
    },
  ]

  // MARK: Transactions

  static let transactions: [Claim] = {
    struct Stop: Error, Equatable {}
    @Sendable func fail(_ scene: Scene, _ body: (any CloudTransaction) throws -> Void) {
      #expect(throws: Stop()) {
        try scene.store.transaction { transaction throws in
          try body(transaction)
          throw Stop()
        }
      }
    }
    let sink = Sink.table(.columns("a TEXT"))
    return [
      Claim("a transaction gives what its body gives") { scene throws in
        #expect(try scene.store.transaction { _ in 7 } == 7)
      },
      Claim("of a transaction that fails nothing is left, and what it had made can be made again") { scene throws in
        let schema = sink.schema!
        for turn in 0..<2 {
          fail(scene) { transaction throws in
            #expect(try transaction.adopt(schema, machine: .a, stream: .stock) == nil)
            #expect(
              try transaction.merge([.put(5, 1, "x"), .delete(9, 2)], epoch: .one, into: sink) == [.applied, .applied])
            #expect(
              try transaction.merge([.body(1, "x", "1")], epoch: nil, into: .bodies(.payload, .named("bodies"))) == [
                .applied
              ])
            try transaction.setReceived(
              IntervalSet([Interval(after: 0, through: 5)]), machine: .a, epoch: .one, stream: .stock)
            try transaction.raise(Run(number: 7, reached: 5), machine: .a, epoch: .one)
            try transaction.heard(machine: .a, epoch: .one)
            try transaction.setSession("never")
            try transaction.addDeadLetter(
              DeadLetter(topic: "a", machine: nil, stream: nil, reason: .topic, detail: "", raw: []))
            try transaction.note(StreamProgress(), machine: .a, stream: .stock)
          }
          #expect(try scene.reader.columns(of: "stock").isEmpty, "turn \(turn)")
          #expect(try scene.reader.columns(of: "bodies").isEmpty)
          #expect(try scene.reader.deadLetters().isEmpty)
          try scene.store.transaction { transaction throws in
            #expect(try transaction.schema(schema.id, machine: .a, stream: .stock) == nil)
            #expect(try transaction.latestSchema(machine: .a, stream: .stock) == nil)
            #expect(try transaction.received(machine: .a, epoch: .one, stream: .stock) == IntervalSet())
            #expect(try transaction.runs(machine: .a, epoch: .one) == Runs())
            #expect(try transaction.machines().isEmpty)
            #expect(try transaction.session() == nil)
          }
        }
        #expect(try scene.adopt(schema, .stock) == nil)
        #expect(try scene.merge(sink, .put(1, 1, "y"), .put(1, 2, "z")) == [.applied, .applied])
        // Under its name the stream may be anything again.
        #expect(try scene.merge(.bodies(.snapshot, .named("bodies")), .body(1, "x", "1")) == [.applied])
      },
      Claim("a delete that was taken back buries nothing, a delete that stood goes on burying") { scene throws in
        try scene.merge(sink, .put(1, 1, "x"))
        fail(scene) { _ = try $0.merge([.delete(9, 1), .delete(9, 2)], epoch: .one, into: sink) }
        #expect(try scene.merge(sink, .put(2, 1, "y"), .put(2, 2, "z")) == [.applied, .applied])
        try scene.merge(sink, .delete(9, 3))
        fail(scene) { _ = try $0.merge([.put(10, 3, "revived")], epoch: .one, into: sink) }
        #expect(try scene.merge(sink, .put(8, 3, "late")) == [.superseded])
      },
      Claim("a column that was taken back is made again when it is described again") { scene throws in
        _ = try scene.adopt(sink.schema!, .stock)
        try scene.merge(sink, .put(1, 1, "x"))
        let wider = StreamSchema.columns("a TEXT", "b TEXT")
        fail(scene) { transaction throws in
          #expect(try transaction.adopt(wider, machine: .a, stream: .stock) == nil)
          #expect(try transaction.merge([.put(2, 1, "y", "z")], epoch: .one, into: .table(wider)) == [.applied])
        }
        #expect(try scene.reader.columns(of: "stock") == ["machine_id", "id", "a", "drover_epoch", "drover_version"])
        #expect(try scene.merge(sink, .put(2, 1, "w")) == [.applied])
        #expect(try scene.adopt(wider, .stock) == nil)
        #expect(try scene.merge(.table(wider), .put(3, 1, "y", "z")) == [.applied])
        #expect(try scene.lines(.stock) == ["id=1 a=y b=z machine_id=MAH001 drover_version=3"])
      },
      Claim("a group of streams, and a stream that was refused among them, goes on after a failure") { scene throws in
        try scene.reader.makeForeignTable("foreign")
        for turn in Int64(1)...3 {
          fail(scene) { _ = try $0.merge([.put(100, 1, "never")], epoch: .one, into: sink) }
          #expect(
            try scene.merge(.table(.columns("a TEXT"), .named("foreign")), .put(turn, 1, "x")).map(\.refusal) == [
              .schema
            ])
          #expect(try scene.merge(sink, .put(turn, 1, .text("turn \(turn)"))) == [.applied])
        }
        #expect(try scene.lines(.stock) == ["id=1 a=turn 3 machine_id=MAH001 drover_version=3"])
      },
    ]
  }()
}
