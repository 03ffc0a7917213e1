// What a store keeps of what was received: intervals, runs of the agents, the order of epochs. And what the consumer keeps for itself.

import DroverCore
import Testing

extension CloudStoreConformance {
  static let ranges: [Claim] = [
    // An older version believed them.
    Claim("numbers that no outbox gives are read as if they were not there") { scene throws in
      try scene.store.transaction { transaction throws in
        try transaction.setReceived(
          IntervalSet([Interval(after: 5, through: 7), Interval(after: 9, through: .max)]), machine: .a, epoch: .one,
          stream: .stock)
        try transaction.raise(Run(number: .max, reached: .max), machine: .a, epoch: .one)
        try transaction.raise(Run(number: 3, reached: 7), machine: .a, epoch: .one)
      }
      try scene.store.transaction { transaction throws in
        let known = IntervalSet([Interval(after: 5, through: 7)])
        #expect(try transaction.received(machine: .a, epoch: .one, stream: .stock) == known)
        #expect(try transaction.receivedStreams(machine: .a, epoch: .one) == [.stock: known])
        #expect(try transaction.runs(machine: .a, epoch: .one) == Runs([Run(number: 3, reached: 7)]))
      }
    },
    Claim("received intervals are kept by machine, epoch and stream") { scene throws in
      let (one, two) = (
        IntervalSet([Interval(after: 0, through: 5), Interval(after: 7, through: 9)]),
        IntervalSet([Interval(after: 3, through: 4)])
      )
      try scene.store.transaction { transaction throws in
        try transaction.setReceived(one, machine: .a, epoch: .one, stream: .stock)
        try transaction.setReceived(two, machine: .a, epoch: .one, stream: .named("other"))
        try transaction.setReceived(two, machine: .a, epoch: .two, stream: .stock)
        try transaction.setReceived(two, machine: .b, epoch: .one, stream: .stock)
      }
      try scene.store.transaction { transaction throws in
        #expect(try transaction.received(machine: .a, epoch: .one, stream: .stock) == one)
        #expect(try transaction.received(machine: .a, epoch: .two, stream: .stock) == two)
        #expect(try transaction.received(machine: .b, epoch: .two, stream: .stock) == IntervalSet())
        #expect(try transaction.receivedStreams(machine: .a, epoch: .one) == [.stock: one, .named("other"): two])
        #expect(try transaction.receivedStreams(machine: .b, epoch: .two).isEmpty)
      }
    },
    Claim("received intervals are replaced as a whole") { scene throws in
      for set in [
        IntervalSet([Interval(after: 0, through: 1), Interval(after: 4, through: 6)]),
        IntervalSet([Interval(after: 0, through: 6)]), IntervalSet(),
      ] {
        try scene.store.transaction { try $0.setReceived(set, machine: .a, epoch: .one, stream: .stock) }
        #expect(try scene.store.transaction { try $0.received(machine: .a, epoch: .one, stream: .stock) } == set)
      }
    },
    Claim("runs are kept by machine and epoch, and what they reached never goes back") { scene throws in
      func runs(_ machine: MachineID, _ epoch: Epoch) throws -> [Run] {
        try scene.store.transaction { try $0.runs(machine: machine, epoch: epoch).list }
      }
      for (number, reached) in [(200, 5), (100, 9), (200, 7), (200, 6), (100, 0)] as [(Int64, Int64)] {
        try scene.store.transaction {
          try $0.raise(Run(number: number, reached: reached), machine: .a, epoch: .one)
        }
      }
      try scene.store.transaction {
        try $0.raise(Run(number: 1, reached: 1), machine: .a, epoch: .two)
        try $0.raise(Run(number: 2, reached: 2), machine: .b, epoch: .one)
      }
      #expect(try runs(.a, .one) == [Run(number: 100, reached: 9), Run(number: 200, reached: 7)])
      #expect(try runs(.a, .two) == [Run(number: 1, reached: 1)])
      #expect(try runs(.b, .one) == [Run(number: 2, reached: 2)])
      #expect(try runs(.b, .two) == [])
    },
    Claim("of many runs the newest are kept, each in its own epoch") { scene throws in
      let numbers = 1...Int64(Runs.most + 5)
      try scene.store.transaction { transaction throws in
        try transaction.raise(Run(number: 1, reached: 1), machine: .a, epoch: .two)
        for number in numbers { try transaction.raise(Run(number: number, reached: 1), machine: .a, epoch: .one) }
      }
      try scene.store.transaction { transaction throws in
        #expect(
          try transaction.runs(machine: .a, epoch: .one).list.map(\.number) == Array(numbers.suffix(Runs.most)))
        #expect(try transaction.runs(machine: .a, epoch: .two).list.map(\.number) == [1])
      }
    },
  ]

  static let order: [Claim] = [
    // A machine that was put back with its memory went on in an epoch that was over, and its rows lost against those of the later one.
    Claim("the latest epoch is the one that was heard of last, not the one that was heard last") { scene throws in
      func isLatest(_ epoch: Epoch, _ machine: MachineID) throws -> Bool {
        try scene.store.transaction { try $0.isLatest(epoch, machine: machine) }
      }
      #expect(try isLatest(.one, .a))
      #expect(try isLatest(.one, .a))
      #expect(try isLatest(.two, .a))
      #expect(try !isLatest(.one, .a))
      try scene.store.transaction { try $0.heard(machine: .a, epoch: .one) }
      #expect(try !isLatest(.one, .a))
      #expect(try isLatest(.two, .a))
      #expect(try isLatest(.one, .b), "epochs are each machine's own")
    },
    Claim("a machine is known with the epoch it was heard in last") { scene throws in
      func machines() throws -> [MachineID: Epoch] { try scene.store.transaction { try $0.machines() } }
      try scene.store.transaction { try $0.heard(machine: .a, epoch: nil) }
      #expect(try machines() == [:])
      try scene.store.transaction { try $0.heard(machine: .a, epoch: .one) }
      try scene.store.transaction {
        try $0.setStatus(MachineStatus(isOnline: true, epoch: .two, software: "1", at: 5), machine: .b)
      }
      #expect(try machines() == [.a: .one, .b: .two])
      try scene.store.transaction { try $0.heard(machine: .a, epoch: .two) }
      try scene.store.transaction { try $0.heard(machine: .a, epoch: nil) }
      // A last will knows no epoch.
      try scene.store.transaction {
        try $0.setStatus(MachineStatus(isOnline: false, epoch: nil, software: nil, at: nil), machine: .b)
      }
      #expect(try machines() == [.a: .two, .b: .two])
    },
  ]

  static let records: [Claim] = [
    Claim("a note is there for the next consumer, until it is taken away or its transaction fails") { scene throws in
      #expect(try scene.store.note("in_hand") == nil)
      try scene.store.setNote("in_hand", "working\n")
      try scene.store.setNote("in_hand_2", "other")
      #expect(try scene.store.note("in_hand") == "working\n")
      try? scene.store.transaction { transaction throws in
        try transaction.setNote("in_hand", "never")
        throw InvalidName(message: "the transaction fails")
      }
      #expect(try scene.store.note("in_hand") == "working\n")
      try scene.store.transaction { try $0.setNote("in_hand", nil) }
      #expect(try scene.store.note("in_hand") == nil && scene.store.note("in_hand_2") == "other")
    },
    Claim("the session's name is kept until there is another") { scene throws in
      #expect(try scene.store.transaction { try $0.session() } == nil)
      for name in ["one", "two", "two"] {
        try scene.store.transaction { try $0.setSession(name) }
        #expect(try scene.store.transaction { try $0.session() } == name)
      }
    },
  ]

  // MARK: Dead letters

  static let letters: [Claim] = [
    Claim("the same bytes on the same topic for the same reason are one dead letter, which counts") { scene throws in
      let letter = DeadLetter(
        topic: "drover/v1/MAH001/snapshot/stock", machine: .a, stream: .stock, reason: .unparsable,
        detail: "expected '{'", raw: [0, 0xff, 0x27])
      for _ in 0..<3 { try scene.store.transaction { _ = try $0.addDeadLetter(letter) } }
      try scene.store.transaction { transaction in for _ in 0..<2 { try transaction.addDeadLetter(letter) } }
      #expect(
        try scene.reader.deadLetters() == [
          KeptDeadLetter(
            topic: letter.topic, machine: "MAH001", stream: "stock", reason: "unparsable", detail: "expected '{'",
            raw: [0, 0xff, 0x27],
            bytes: 3, count: 5)
        ])
    },
    Claim("other bytes, another topic or another reason are another dead letter") { scene throws in
      let letter = DeadLetter(topic: "a", machine: nil, stream: nil, reason: .topic, detail: "no", raw: [1, 2])
      var others = Array(repeating: letter, count: 5)
      others[1].raw = [1, 2, 0]
      others[2].raw = []
      others[3].topic = "b"
      others[4].reason = .event
      try scene.store.transaction { transaction in for other in others { _ = try transaction.addDeadLetter(other) } }
      let kept = try scene.reader.deadLetters()
      #expect(kept.count == 5)
      #expect(kept.allSatisfy { $0.count == 1 && $0.machine == nil && $0.stream == nil })
      #expect(Set(kept.map(\.raw)) == [[1, 2], [1, 2, 0], []])
    },
    Claim("a large dead letter is cut at the limit and keeps its size", conditions { $0.deadLetterBytes = 10 }) {
      scene throws in
      for size in [9, 10, 11, 1000, 1000] {
        try scene.store.transaction {
          _ = try $0.addDeadLetter(
            DeadLetter(
              topic: "a", machine: nil, stream: nil, reason: .tooLarge, detail: "",
              raw: ArraySlice(repeating: 7, count: size)))
        }
      }
      let kept = try scene.reader.deadLetters().sorted { $0.bytes < $1.bytes }
      #expect(kept.map(\.bytes) == [9, 10, 11, 1000])
      #expect(kept.map(\.raw.count) == [9, 10, 10, 10])
      #expect(kept.map(\.count) == [1, 1, 1, 2])
    },
  ]
}
