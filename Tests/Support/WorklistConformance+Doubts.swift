// Orders in doubt: a machine that was restored to an earlier state may have worked on them.

import DroverCore
import Testing

extension WorklistConformance {
  static let doubts: [Claim] = [
    Claim("a new request without the outcome of the one before marks its orders in doubt, and hands them out to none") {
      scene throws in
      try scene.list(["1", "2"])
      #expect(try scene.keys(1, limit: 1) == ["1"])
      #expect(try scene.keys(2, limit: 1) == ["2"])
      #expect(try scene.isInDoubt("1") == true)
      #expect(try scene.isInDoubt("2") == false)
      #expect(try scene.state("1") == .handedOut)
      #expect(try scene.queue.summary(.mo).inDoubt == 1)
      #expect(try scene.ask(3, .b) == .nothing(why: "no order is queued"))
      // A person decides.
      #expect(try scene.queue.requeue(["1"], in: .mo, now: Scene.now) == [OrderAction(key: "1")])
      #expect(try scene.isInDoubt("1") == false)
      #expect(try scene.keys(4, .b) == ["1"])
    },
    Claim("a late outcome ends the doubt") { scene throws in
      try scene.list(["1", "2"])
      _ = try scene.ask(1, limit: 1)
      _ = try scene.ask(2, limit: 1)
      try scene.note(.taken(1))
      #expect(try scene.state("1") == .inWork)
      #expect(try scene.isInDoubt("1") == false)
    },
    Claim("a repeated request marks nothing") { scene throws in
      try scene.list(["1", "2"])
      _ = try scene.ask(1, limit: 1)
      _ = try scene.ask(2, limit: 1, last: .taken(1))
      _ = try scene.ask(1, limit: 1)
      #expect(try scene.isInDoubt("2") == false)
    },
    // The machine's database was put back to a state before its last refill, whose outcome it had said.
    Claim("a machine that has forgotten a request that it took has its orders in doubt") { scene throws in
      try scene.list(["1", "2", "3", "4"])
      _ = try scene.ask(1, limit: 1)
      _ = try scene.ask(2, limit: 1, last: .taken(1))
      try scene.note(.taken(2))
      #expect(try scene.keys(3, limit: 1, last: .taken(1)) == ["3"])
      #expect(try scene.isInDoubt("1") == false)
      #expect(try scene.isInDoubt("2") == true)
      #expect(try scene.keys(4, limit: 1, last: .taken(3)) == ["4"])
      #expect(try scene.isInDoubt("3") == false)
    },
    Claim("a machine that remembers no request at all has every order in doubt that it took") { scene throws in
      try scene.list(["1", "2"])
      _ = try scene.ask(1, limit: 1)
      try scene.note(.taken(1))
      _ = try scene.ask(2, limit: 1)
      #expect(try scene.isInDoubt("1") == true)
    },
    Claim("the row of an order in doubt says that it is at the machine, if it has come since") { scene throws in
      try scene.list(["1", "2"])
      _ = try scene.ask(1, limit: 1)
      try scene.note(.taken(1))
      try scene.row("1", 0, version: 5)
      try scene.settle()
      _ = try scene.ask(2, limit: 1)
      #expect(try scene.isInDoubt("1") == true)
      try scene.settle()
      #expect(try scene.isInDoubt("1") == true)
      try scene.row("1", 0, version: 2, epoch: .two)
      try scene.settle()
      #expect(try scene.isInDoubt("1") == false)
    },
    Claim("many requests without orders forget nothing of those with orders") { scene throws in
      try scene.list(["1"])
      _ = try scene.ask(1)
      for request in 2...200 { _ = try scene.ask(UInt64(request), last: .taken(1)) }
      #expect(try scene.isInDoubt("1") == false)
      #expect(try scene.state("1") == .inWork)
      #expect(try scene.ask(1) == .closed)
    },
  ]
}
