// A machine that leaves the fleet, and how old what is known of one is.

import DroverCore
import Testing

extension CloudReaderConformance {
  static let forgetting = [
    Claim("a machine that is forgotten with its rows leaves nothing behind, and the others keep theirs") {
      scene throws in
      try scene.bring(.columns("level REAL"), machine: .a, .put(1, 1, 2.5), .put(2, 2, 3.5))
      try scene.bring(.columns("level REAL"), machine: .b, .put(1, 1, 4.5))
      try scene.bringBodies(.named("reading"), .body(3, "x", "{}"))
      try scene.say(.a)
      let removed = try scene.store.transaction { transaction throws in
        try transaction.setReceived(
          IntervalSet([Interval(after: 0, through: 3)]), machine: .a, epoch: .one, stream: .stock)
        try transaction.raise(Run(number: 4, reached: 3), machine: .a, epoch: .one)
        return try transaction.forgetMachine(.a, removesRows: true)
      }
      #expect(removed == 3)
      #expect(try scene.report().machines.map(\.name) == ["MAH002"])
      #expect(try scene.lines() == ["stock MAH002 1: id=integer(1) level=real(4.5)"])
      // A table that bare events alone had made is gone with the last of them.
      #expect(try scene.reader.sinks().map(\.stream) == [.stock])
      try scene.store.transaction { transaction throws in
        #expect(try transaction.machines() == [.b: .one])
        #expect(try transaction.received(machine: .a, epoch: .one, stream: .stock).isEmpty)
        #expect(try transaction.runs(machine: .a, epoch: .one) == Runs())
        #expect(try transaction.latestSchema(machine: .a, stream: .stock) == nil)
        #expect(try transaction.streams(of: .a) == [] && !transaction.knows(.one, machine: .a))
      }
    },
    // With the order of its epochs forgotten, a machine that came again under the name would have lost against its own old rows.
    Claim("the rows of a machine that is forgotten stay where they are wanted, and one that comes again wins over them")
    {
      scene throws in
      try scene.bring(.columns("level REAL"), machine: .a, .put(100, 1, 2.5))
      _ = try scene.store.transaction { transaction throws in
        _ = try transaction.merge(
          [.put(101, 1, 2.5)], epoch: .two, into: .table(.columns("level REAL"), machine: .a))
        #expect(try transaction.forgetMachine(.a, removesRows: false) == 0)
      }
      #expect(try scene.report().machines.isEmpty)
      #expect(try scene.lines() == ["stock MAH001 101: id=integer(1) level=real(2.5)"])
      let new = try Epoch("cccc")
      try scene.store.transaction { transaction throws in
        #expect(try transaction.adopt(.columns("level REAL"), machine: .a, stream: .stock) == nil)
        #expect(
          try transaction.merge([.put(5, 1, 7.5)], epoch: new, into: .table(.columns("level REAL"), machine: .a)) == [
            .applied
          ])
      }
      #expect(try scene.lines() == ["stock MAH001 5: id=integer(1) level=real(7.5)"])
    },
    Claim("what others have of a thing shows when the machine that showed it is forgotten") { scene throws in
      let schema = StreamSchema.products(else: ["brand", "size"])
      try scene.store.transaction { transaction throws in
        for machine in [MachineID.a, .b] {
          #expect(try transaction.adopt(schema, machine: machine, stream: .stock) == nil)
        }
        _ = try transaction.merge(
          [.product(12, 70, "111", price: 7)], epoch: .one, into: .products(.b))
        _ = try transaction.merge(
          [.product(13, 1, "111", price: 8), .product(14, 2, "222", price: 9)], epoch: .one, into: .products(.a))
      }
      #expect(try scene.lines().count == 2)
      #expect(try scene.store.transaction { try $0.forgetMachine(.a, removesRows: true) } == 2)
      let lines = try scene.lines()
      #expect(lines.count == 1 && lines[0].contains("MAH002 12") && lines[0].contains("integer(7)"), "\(lines)")
    },
    Claim("nothing is known of a machine's agent any more when its status was taken back, until it says something") {
      scene throws in
      try scene.bring(.columns("level REAL"), machine: .a, .put(1, 1, 2.5))
      try scene.say(.a)
      #expect(try scene.report().machines[0].hasAgent)
      try scene.store.transaction { try $0.withdrawStatus(machine: .a) }
      let machine = try scene.report().machines[0]
      #expect(!machine.hasAgent && machine.outbox == nil)
      try scene.say(.a)
      #expect(try scene.report().machines[0].outbox?.figures.waiting == 3)
    },
    // After each restart of the consumer a machine that had been off for a month was heard "0 s ago", and its outbox had been told just now.
    Claim("a status that the broker kept is as old as it says, and makes nothing newer than it was") { scene throws in
      let now = microsecond
      try scene.say(.a) { $0.age = 3_600_000_000 }
      var machine = try scene.report().machines[0]
      #expect(machine.lastHeard == now - 3_600_000_000 && machine.outbox?.at == now - 3_600_000_000)
      try scene.say(.a) { $0.outboxAge = 50_000_000 }
      machine = try scene.report().machines[0]
      #expect(machine.lastHeard == now && machine.outbox?.at == now - 50_000_000)
      try scene.say(.a) { $0.age = 7_200_000_000 }
      #expect(try scene.report().machines[0].lastHeard == now)
      // A last will says nothing of when it was said.
      try scene.store.transaction {
        var will = MachineStatus(isOnline: false, epoch: nil, software: nil, at: nil)
        will.age = nil
        try $0.setStatus(will, machine: .a)
      }
      machine = try scene.report().machines[0]
      #expect(machine.lastHeard == now && machine.isOnline == false)
    },
  ]
}

extension CloudReaderConformance.Scene {
  /// What the machine's agent says of itself: three events wait.
  fileprivate func say(_ machine: MachineID, _ change: (inout MachineStatus) -> Void = { _ in }) throws {
    var status = MachineStatus(
      isOnline: true, epoch: .one, software: "1", at: 1,
      outbox: OutboxFigures(waiting: 3, oldest: 17, deadLetters: 0, freeBytes: nil))
    change(&status)
    try store.transaction { try $0.setStatus(status, machine: machine) }
  }
}
