// What goes down is read, confirmed and, where the store has gone back, sent again.

import DroverCore
import Synchronization
import Testing

extension TwoWayConformance {
  package static let down: [Claim] = [
    Claim("rows are read in the order of their numbers, from a number on, with their content as it is now") { scene in
      try scene.adopt(.twoWay)
      for key in 1...5 { try scene.sql("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', \(key), 'x')") }
      try scene.take()
      let read = try scene.down(after: 2, limit: 2)
      #expect(read.entries.map(\.seq) == [3, 4] && read.scannedThrough == 4 && read.last == 5)
      #expect(try scene.down(after: 4).entries.map(\.seq) == [5])
      let none = try scene.down(after: 5)
      #expect(none.entries.isEmpty && none.scannedThrough == 5)
    },
    Claim("a read stops after about as many bytes as it may") { scene in
      try scene.adopt(.twoWay)
      let text = String(repeating: "x", count: 1000)
      for key in 1...5 { try scene.sql("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', \(key), '\(text)')") }
      try scene.take()
      let read = try scene.down(bytes: 1500)
      #expect((1...3).contains(read.entries.count))
      #expect(read.scannedThrough == read.entries.last?.seq)
    },
    Claim("what a machine has received is kept, and read with its streams") { scene in
      try scene.adopt(.twoWay)
      for key in 1...5 { try scene.sql("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', \(key), 'x')") }
      try scene.take()
      #expect(try scene.received(3))
      let stream = try #require(try scene.transaction { try $0.downStreams(of: .a) }.first)
      #expect(stream.last == 5)
      #expect(stream.received == IntervalSet([Interval(after: 0, through: 3)]))
      #expect(try scene.transaction { try $0.downStreams(of: nil) }.map(\.machine) == [.a])
    },
    Claim("a store that went back begins another numbering, and sends all again") { scene in
      try scene.adopt(.twoWay)
      try scene.sql("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 1, 'x')")
      try scene.take()
      let epoch = try scene.transaction { try $0.downEpoch() }
      #expect(try scene.received(1))
      #expect(try !scene.received(99), "more was received than was ever given")
      let next = try scene.transaction { try $0.downEpoch() }
      #expect(next != epoch)
      let stream = try #require(try scene.transaction { try $0.downStreams(of: .a) }.first)
      #expect(stream.received == IntervalSet())
      #expect(try scene.down().entries.count == 1)
      #expect(try !scene.received(99, epoch: epoch), "a confirmation of another numbering counts")
      #expect(try scene.transaction { try $0.downEpoch() } == next, "it has begun another one")
      #expect(try scene.received(1))
    },
    Claim("a row of a decision which the store has lost is a conflict once the cloud edits it anew", ticking()) {
      scene in
      try scene.adopt(.twoWay)
      try scene.begin(.one)
      try scene.merge(.edit(100, 1, "edge"))
      try scene.sql("UPDATE stock SET a = 'cloud' WHERE id = 1")
      try scene.take()
      let version = try #require(try scene.down(1)?.version)
      #expect(try !scene.received(99))
      try scene.sql("UPDATE stock SET a = 'anew' WHERE id = 1")
      // The machine has a decision of the lost future, and sends its row again.
      try scene.merge(.edit(0, 1, "lost", base: version + 1, again: true))
      #expect(try scene.conflicts().map(\.lost.value) == [[1, "lost", 0]])
      #expect(try scene.row(1) == "anew 0")
    },
    Claim("a row that is sent again and whose decision nobody has lost is answered", ticking()) { scene in
      try scene.adopt(.twoWay)
      try scene.begin(.one)
      try scene.merge(.edit(100, 1, "edge"))
      for text in ["cloud", "anew"] {
        try scene.sql("UPDATE stock SET a = '\(text)' WHERE id = 1")
        try scene.take()
      }
      try scene.merge(.edit(0, 1, "edge", base: try #require(try scene.down(1)?.version) - 1, again: true))
      #expect(try scene.conflicts().isEmpty)
    },
    // The store noticed that it was restored only if a machine had received a higher number than was ever given. If it gave as many numbers first, it did not.
    Claim("a store that was restored notices it although it has given as many numbers again", ticking()) { scene in
      try scene.adopt(.twoWay)
      try scene.begin(.one)
      try scene.insert(1)
      let first = try #require(try scene.down().run)
      #expect(first.first == 1 && first.number > 0)
      try scene.insert(2, 3)
      let run = try #require(try scene.down().run)
      #expect(try scene.received(3, run: run.number))
      let lost = try #require(try scene.down(3)?.version)
      try scene.goBack(to: 1)
      let restored = try scene.reopened()
      try restored.insert(3, 4, 5)
      let next = try #require(try restored.down().run)
      #expect(next.first == 2 && next.number != run.number)
      #expect(try restored.received(1, run: first.number), "it has given this number in that run")
      #expect(try restored.received(4, run: next.number))
      let epoch = try restored.transaction { try $0.downEpoch() }
      #expect(try !restored.received(3, run: run.number))
      #expect(try restored.transaction { try $0.downEpoch() } != epoch)
      // What was decided before the restore was noticed does not hide what was lost.
      try restored.merge(.edit(0, 3, "lost", base: lost, again: true))
      #expect(try restored.conflicts().count == 1)
    },
    Claim("a run that the store does not know is of a future that it has lost") { scene in
      try scene.adopt(.twoWay)
      try scene.insert(1, 2)
      #expect(try !scene.received(2, run: 77))
      // An agent that names no run is believed.
      #expect(try scene.received(2))
    },
    Claim("openings of the store are no restores, with numbers or without, however many they are") { scene in
      try scene.adopt(.twoWay)
      try scene.insert(1)
      let first = try #require(try scene.down().run)
      let second = try scene.reopened()
      #expect(try second.down().run == first, "it has given no number")
      try second.insert(2)
      try scene.insert(3)
      let run = try #require(try scene.down().run)
      #expect(run != first && run.first >= 2)
      #expect(try scene.received(1, run: first.number) && scene.received(3, run: run.number))
      // The oldest runs are forgotten. What was received in them cannot be judged.
      for number in 4...(StoreRun.most + 4) {
        try scene.sql(
          "INSERT INTO drover_down_run (machine_id, stream, first, run) VALUES ('MAH001', 'stock', \(number), \(number))"
        )
      }
      try scene.sql("UPDATE drover_down SET last = \(StoreRun.most + 4)")
      try scene.reopened().insert(4)
      #expect(try scene.received(1, run: first.number) && scene.received(3, run: run.number))
      #expect(try scene.received(9, run: 9) && !scene.received(10, run: 9))
    },
    Claim("a store that has lost a stream notices that the machine has received rows of it") { scene in
      try scene.adopt(.twoWay(.down, reach: .all))
      let epoch = try scene.transaction { try $0.downEpoch() }
      #expect(try !scene.received(2, run: 77))
      #expect(try scene.transaction { try $0.downEpoch() } != epoch)
    },
    Claim("a machine that has received no reference data in a numbering hears that there is none") { scene in
      try scene.adopt(.twoWay(.down))
      #expect(try scene.down().last == 0)
      #expect(try scene.received(0))
      let read = try scene.down()
      #expect(read.entries.isEmpty && read.last == 1 && read.scannedThrough == 1)
      #expect(try scene.received(0) && scene.down().last == 1, "once is enough")
    },
    Claim("the entry of a deleted row goes once the machine has it and it is old enough, and not before", ticking()) {
      scene in
      try scene.adopt(.twoWay)
      try scene.begin(.one)
      try scene.merge(.edit(100, 1, "x"), .edit(101, 2, "x"))
      try scene.sql("DELETE FROM stock WHERE id = 1; UPDATE stock SET a = 'y' WHERE id = 2")
      try scene.take()
      try scene.store.transaction { try $0.retireTombstones(madeBefore: .max) }
      #expect(try scene.down().entries.count == 2, "it was not confirmed")
      #expect(try scene.received(2))
      try scene.store.transaction { try $0.retireTombstones(madeBefore: 1) }
      #expect(try scene.down().entries.count == 2, "it is too young")
      try scene.store.transaction { try $0.retireTombstones(madeBefore: .max) }
      #expect(try scene.down().entries.map(\.a) == ["y"])
    },
    Claim("an edit at a machine of what the cloud alone edits is a dead letter, and the stored row goes down again") {
      scene in
      let schema = StreamSchema.twoWay(.down)
      try scene.adopt(schema)
      try scene.sql("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 1, 'x')")
      try scene.take()
      let before = try #require(try scene.down(1))
      #expect(try scene.merge(.edit(100, 1, "mine"), schema: schema)[0].refusal != nil)
      let after = try #require(try scene.down(1))
      #expect(after.a == "x" && after.seq > before.seq && after.version > before.version)
      #expect(after.edge == DownEvent.Mark(epoch: .one, version: 100))
      #expect(try scene.row(1) == "x NULL")
      // A row that the machine alone has goes there.
      #expect(try scene.merge(.edit(110, 2, "mine"), schema: schema)[0].refusal != nil)
      #expect(try scene.down(2)?.content == Content.none)
    },
    Claim("a row for all machines that one machine alone has is a dead letter, and goes there") { scene in
      let schema = StreamSchema.twoWay(.down, reach: .all)
      try scene.adopt(schema)
      #expect(try scene.merge(.edit(100, 2, "mine"), schema: schema)[0].refusal != nil)
      #expect(try scene.down(2)?.content == Content.none)
    },
    Claim("rows for all machines go to each, and a machine that joins gets them all") { scene in
      let schema = StreamSchema.twoWay(.down, reach: .all)
      try scene.adopt(schema)
      try scene.sql("INSERT INTO stock (id, a) VALUES (1, 'x'), (2, 'y')")
      try scene.take()
      try scene.adopt(schema, machine: .b)
      for machine in [MachineID.a, .b] {
        let read = try scene.down(machine: machine)
        #expect(read.entries.map(\.a) == ["x", "y"] && read.last == 2)
      }
      #expect(try scene.received(2, machine: .b))
      let streams = try scene.transaction { try $0.downStreams(of: nil) }
      #expect(streams.map(\.received.front) == [0, 2])
    },
    // All rows got their numbers in the transaction that heard of it, and everybody else waited meanwhile.
    Claim("a table that begins to go down is sent with all of its rows, which are numbered in pieces") { scene in
      try scene.adopt(.twoWay(.up))
      try scene.merge(.edit(100, 1, "x"), .edit(101, 2, "y"), schema: .twoWay(.up))
      try scene.adopt(.twoWay(.down))
      #expect(try scene.transaction { try $0.takeEdits(limit: 1) }.hasMore)
      #expect(try scene.down().entries.map(\.a) == ["x"])
      try scene.take()
      #expect(try scene.down().entries.map(\.a) == ["x", "y"])
      #expect(try scene.down().entries.map(\.edge?.version) == [100, 101])
      try scene.adopt(.twoWay(.down))
      try scene.take()
      #expect(try scene.down().last == 2, "rows are numbered again when the stream is described again")
    },
  ]

  package static let directions: [Claim] = [
    // Rows that had gone down from the old table would have gone down as deletes of whatever row has such a key now.
    Claim("a table that is made again under another key captures edits, and nothing of the old one goes down") {
      scene in
      try scene.adopt(.twoWay)
      try scene.merge(.edit(100, 1, "x"))
      try scene.sql(
        "UPDATE stock SET a = 'cloud' WHERE id = 1; INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 2, 'y')")
      try scene.take()
      // Nobody has taken this one.
      try scene.sql("UPDATE stock SET n = 7 WHERE id = 2")
      let other = try StreamSchema(
        kind: .snapshot, columns: StreamSchema.twoWay.columns, key: [1], flow: Flow(direction: .both))
      #expect(try scene.adopt(other) != nil)
      let accepted = try scene.transaction { try $0.accept(machine: .a, stream: .stock) }
      #expect(accepted?.aside.count == 1)
      try scene.adopt(other)
      #expect(try scene.transaction { try $0.mendCapture() } == [])
      try scene.take()
      #expect(try scene.down().entries.map { Array($0.key) } == [])
      try scene.sql("INSERT INTO stock (machine_id, a, id) VALUES ('MAH001', '1', 5)")
      try scene.take()
      #expect(try scene.down().entries.map { Array($0.key) } == [["1"]])
      #expect(try scene.down().entries.map(\.a) == ["1"])
    },
    // A machine that matched its rows by `identity` and one whose rows come down shared a table: an edit there had no one machine to go to.
    Claim("a table whose rows are matched and one whose rows come down are two") { scene in
      let matched = try StreamSchema(
        kind: .snapshot, columns: StreamSchema.twoWay.columns, key: [0], naturalKey: NaturalKey(columns: ["a"]))
      try scene.adopt(.twoWay)
      #expect(try scene.adopt(matched, machine: .b)?.contains("come down from the sink table stock") == true)
      try scene.adopt(.twoWay(.up))
      try scene.adopt(.twoWay(.up), machine: .b)
      let accepted = try scene.transaction { transaction -> Acceptance? in
        _ = try transaction.adopt(matched, machine: .b, stream: .stock)
        return try transaction.accept(machine: .b, stream: .stock)
      }
      #expect(accepted == Acceptance(aside: []))
      #expect(try scene.adopt(.twoWay)?.contains("matches the rows of other machines by a") == true)
      #expect(try scene.adopt(.twoWay(.up)) == nil)
    },
    Claim("a stream that only goes up has no way down") { scene in
      try scene.adopt(.twoWay(.up))
      try scene.merge(.edit(100, 1, "x"), schema: .twoWay(.up))
      try scene.sql("UPDATE stock SET a = 'mine' WHERE id = 1")
      #expect(try scene.take() == [])
      #expect(try scene.transaction { try $0.downStreams(of: nil) }.isEmpty)
      #expect(try scene.merge(.edit(110, 1, "y"), schema: .twoWay(.up)) == [.applied])
      #expect(try scene.row(1) == "y 0")
    },
    Claim("a stream begins to go both ways and stops, with its rows kept") { scene in
      try scene.adopt(.twoWay(.up))
      try scene.begin(.one)
      try scene.merge(.edit(100, 1, "x"), .edit(101, 2, "y"), schema: .twoWay(.up))
      try scene.adopt(.twoWay)
      try scene.sql("UPDATE stock SET a = 'cloud' WHERE id = 1")
      try scene.sql("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 3, 'z')")
      try scene.take()
      #expect(try scene.down(1)?.edge == DownEvent.Mark(epoch: .one, version: 100))
      try scene.adopt(.twoWay(.up))
      #expect(try scene.transaction { try $0.downStreams(of: nil) }.isEmpty)
      try scene.sql("UPDATE stock SET a = 'free' WHERE id = 2")
      #expect(try scene.take() == [])
      #expect(try scene.row(1) == "cloud NULL" || scene.row(1) == "cloud 0")
      #expect(try scene.row(3) != nil)
      try scene.adopt(.twoWay)
      try scene.sql("UPDATE stock SET a = 'again' WHERE id = 2")
      try scene.take()
      #expect(try scene.down(2)?.a == "again")
      #expect(try #require(scene.down(2)?.seq) > 2, "a number is given twice")
    },
    Claim("a machine that is forgotten leaves nothing of the way down") { scene in
      try scene.adopt(.twoWay)
      try scene.begin(.one)
      try scene.merge(.edit(100, 1, "edge"))
      try scene.sql("UPDATE stock SET a = 'cloud' WHERE id = 1")
      try scene.merge(.edit(110, 1, "edge too"))
      try scene.sql("UPDATE stock SET a = 'more' WHERE id = 1")
      _ = try scene.store.transaction { try $0.forgetMachine(.a, removesRows: true) }
      #expect(try scene.transaction { try $0.downStreams(of: nil) }.isEmpty)
      #expect(try scene.conflicts().isEmpty)
      #expect(try scene.take() == [])
    },
  ]

  /// A clock that goes on with each look.
  static func ticking() -> CloudStoreConditions {
    let clock = Ticking()
    var conditions = CloudStoreConditions()
    conditions.now = { clock.tick() }
    return conditions
  }

  private final class Ticking: Sendable {
    private let time = Mutex<Int64>(1_795_000_000_000_000)

    func tick() -> Int64 {
      time.withLock {
        $0 += 1000
        return $0
      }
    }
  }
}

extension TwoWayConformance.Scene {
  /// A person inserts rows of the machine, which get their numbers.
  fileprivate func insert(_ keys: Int64...) throws {
    for key in keys { try sql("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', \(key), 'x')") }
    try take()
  }

  /// The store is put back to when it had given so many numbers, one to each row.
  fileprivate func goBack(to last: Int64) throws {
    try sql(
      """
      DELETE FROM stock WHERE id > \(last);
      DELETE FROM drover_edit;
      DELETE FROM drover_row WHERE number > \(last);
      DELETE FROM drover_down_run WHERE first > \(last);
      DELETE FROM drover_opening;
      UPDATE drover_down SET last = \(last);
      DELETE FROM drover_down_received;
      """)
  }
}
