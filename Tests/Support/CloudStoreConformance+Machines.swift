// What one machine may leave in a store: epochs, tombstones and descriptions have a bound, and what goes beyond it is that machine's alone.

import DroverCore
import Testing

extension CloudStoreConformance {
  static let machines: [Claim] = [
    // 25,000 epochs of one machine made each further one read all of them, and a row of another machine waited for 89 seconds.
    Claim(
      "of many epochs the newest are known, in their order, each machine's by itself",
      conditions { $0.machine.epochsKept = 10 }
    ) {
      scene throws in
      let epochs = (1...50).map { try! Epoch(String($0, radix: 16)) }
      try scene.store.transaction { transaction throws in
        #expect(try transaction.isLatest(epochs[0], machine: .b))
        for epoch in epochs {
          #expect(try !transaction.knows(epoch, machine: .a))
          #expect(try transaction.isLatest(epoch, machine: .a))
          try transaction.setReceived(
            IntervalSet([Interval(after: 0, through: 5)]), machine: .a, epoch: epoch, stream: .stock)
          try transaction.raise(Run(number: 1, reached: 5), machine: .a, epoch: epoch)
        }
      }
      try scene.store.transaction { transaction throws in
        let known = try epochs.filter { try transaction.knows($0, machine: .a) }
        #expect(known == Array(epochs.suffix(10)))
        #expect(try epochs.filter { try !transaction.receivedStreams(machine: .a, epoch: $0).isEmpty } == known)
        #expect(try epochs.filter { try transaction.runs(machine: .a, epoch: $0) != Runs() } == known)
        #expect(try epochs.suffix(10).filter { try transaction.isLatest($0, machine: .a) } == [epochs.last!])
        #expect(try transaction.knows(epochs[0], machine: .b))
      }
    },
    Claim(
      "rows keep the order of their epochs when old epochs are forgotten", conditions { $0.machine.epochsKept = 10 }
    ) {
      scene throws in
      let sink = Sink.table(.columns("a"))
      let epochs = (1...30).map { try! Epoch(String($0, radix: 16)) }
      for (index, epoch) in epochs.enumerated() {
        #expect(try scene.merge(sink, .put(100 - Int64(index), 1, .integer(Int64(index))), epoch: epoch) == [.applied])
      }
      #expect(try scene.merge(sink, .put(1_000, 1, "old"), epoch: epochs[25]) == [.superseded])
      // One that was forgotten is a machine's that was put back that far: it begins anew.
      #expect(try scene.merge(sink, .put(1, 1, "back"), epoch: epochs[0]) == [.applied])
      #expect(try scene.merge(sink, .put(2_000, 1, "late"), epoch: epochs[29]) == [.superseded])
    },
    Claim("an epoch that a dead letter names keeps its place", conditions { $0.machine.epochsKept = 10 }) {
      scene throws in
      let sink = Sink.table(.columns("a"))
      try scene.merge(sink, .put(1, 1, "old"), epoch: .one)
      try scene.store.transaction {
        _ = try $0.addDeadLetter(
          DeadLetter(
            topic: "drover/v1/MAH001/snapshot/stock", machine: .a, stream: .stock, epoch: .one, reason: .event,
            detail: "no", raw: [1]))
      }
      for number in 1...30 { try scene.merge(sink, .put(1, 2, "x"), epoch: Epoch(String(number, radix: 16))) }
      try scene.merge(sink, .put(1, 1, "new"), epoch: .two)
      #expect(try scene.store.transaction { try $0.knows(.one, machine: .a) })
      #expect(try scene.merge(sink, .put(9, 1, "letter"), epoch: .one) == [.superseded])
    },
    Claim("a tombstone of a forgotten epoch retires by its age", conditions { $0.machine.epochsKept = 10 }) {
      scene throws in
      let sink = Sink.table(.columns("a"))
      try scene.merge(sink, .delete(10, 1, seq: 5), epoch: .one)
      let later: Int64 = 1_795_000_000_000_001
      try scene.store.transaction { try $0.retireTombstones(madeBefore: later) }
      #expect(try scene.merge(sink, .put(9, 1, "late"), epoch: .one) == [.superseded], "nothing was received")
      for number in 1...30 { try scene.merge(sink, .put(1, 2, "x"), epoch: Epoch(String(number, radix: 16))) }
      try scene.store.transaction { try $0.retireTombstones(madeBefore: later) }
      #expect(try scene.merge(sink, .put(1, 1, "new"), epoch: .two) == [.applied])
    },
    // 40,000 deletes of IDs of 5 kB took 365 MB.
    Claim(
      "at the bound the oldest tombstones of the machine go, and nobody else's",
      conditions { $0.machine.tombstones = 160 }
    ) {
      scene throws in
      let (mine, other) = (Sink.bodies(.snapshot), Sink.bodies(.snapshot, machine: .b))
      try scene.merge(other, .deleteBody(10, "0"), epoch: nil)
      for number in 0..<400 { try scene.merge(mine, .deleteBody(10 + Int64(number), "\(number)"), epoch: nil) }
      let outcomes = try scene.store.transaction { transaction throws in
        try (0..<400).map { try transaction.merge([.body(9, "\($0)", "1")], epoch: nil, into: mine)[0] }
      }
      let tombstoned = outcomes.indices.filter { outcomes[$0] == .superseded }
      #expect((150...170).contains(tombstoned.count), "\(tombstoned.count)")
      #expect(tombstoned == Array((400 - tombstoned.count)..<400))
      #expect(try scene.merge(other, .body(9, "0", "1"), epoch: nil) == [.superseded])
    },
    Claim("tombstones have a bound in bytes too", conditions { $0.machine.tombstoneBytes = 1 << 20 }) { scene throws in
      let mine = Sink.bodies(.snapshot)
      let pad = String(repeating: "k", count: 1000)
      func tombstoned(_ numbers: Range<Int>) throws -> Int {
        struct Undo: Error {}
        var count = 0
        do {
          try scene.store.transaction { transaction throws in
            let events = numbers.map { SinkEvent.body(9, "\(pad)\($0)", "1") }
            count = try transaction.merge(events, epoch: nil, into: mine).count { $0 == .superseded }
            throw Undo()
          }
        } catch is Undo {}
        return count
      }
      for hundred in 0..<20 {
        try scene.store.transaction {
          _ = try $0.merge(
            (0..<100).map { .deleteBody(10 + Int64(hundred), "\(pad)\(hundred * 100 + $0)") }, epoch: nil, into: mine)
        }
      }
      #expect(try (800...1100).contains(tombstoned(0..<2000)))
      #expect(try tombstoned(1900..<2000) == 100)
    },
    Claim(
      "a stream gets no further description beyond the bound, and goes on with those that it has",
      conditions { $0.machine.schemasPerStream = 3 }
    ) {
      scene throws in
      let schemas = (1...4).map { StreamSchema.columns("c\($0) TEXT") }
      #expect(try schemas.map { try scene.adopt($0, .stock) == nil } == [true, true, true, false])
      #expect(try scene.adopt(schemas[3], .stock)?.contains("limits.schemas_per_stream") == true)
      #expect(try scene.adopt(schemas[0], .stock) == nil)
      #expect(try scene.merge(.table(schemas[2]), .put(1, 1, "x")) == [.applied])
      #expect(try scene.adopt(schemas[3], .stock, machine: .b) == nil)
      // The operator sees what waits, and may say that it counts. No table is put aside for it.
      #expect(try scene.adopt(schemas[3], .stock) != nil)
      #expect(try scene.store.transaction { try $0.isWaiting(schemas[3].id, machine: .a, stream: .stock) })
      #expect(try scene.store.transaction { try $0.accept(machine: .a, stream: .stock) } == Acceptance(aside: []))
      #expect(try scene.merge(.table(schemas[3]), .put(2, 1, "y")) == [.applied])
    },
    Claim("a machine's streams are those that it described, sent events of, or has received intervals of") {
      scene throws in
      _ = try scene.adopt(.columns("a"), .stock)
      try scene.store.transaction { transaction throws in
        try transaction.note(StreamProgress(), machine: .a, stream: .named("noted"))
        try transaction.heard(machine: .a, epoch: .one)
        for (stream, epoch) in [("present", Epoch.one), ("past", .two)] {
          try transaction.setReceived(
            IntervalSet([Interval(after: 0, through: 5)]), machine: .a, epoch: epoch, stream: .named(stream))
        }
        try transaction.note(StreamProgress(), machine: .b, stream: .named("other"))
      }
      #expect(
        try scene.store.transaction { try $0.streams(of: .a) } == [.stock, .named("noted"), .named("present")])
    },
  ]
}
