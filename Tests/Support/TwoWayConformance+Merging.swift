// Events of machines meet edits of people. `TwoWayRule` decides; here is claimed that a store knows what the rule asks for, and does what it says.

import DroverCore
import Testing

extension TwoWayConformance {
  package static let merging: [Claim] =
    [
      Claim("an edit that has seen the row is taken, whatever clocks say") { scene in
        try scene.adopt(.twoWay)
        try scene.begin(.one)
        #expect(try scene.merge(.edit(100, 1, "a")) == [.applied])
        try scene.sql("UPDATE stock SET a = 'cloud' WHERE id = 1")
        try scene.take()
        let cloud = try #require(try scene.down(1)?.version)
        #expect(try scene.merge(.edit(120, 1, "after", base: cloud)) == [.applied], "its version is below the cloud's")
        #expect(try scene.row(1) == "after 0")
        #expect(try scene.conflicts().isEmpty)
      },
      Claim("an edit that comes twice, or late, changes nothing") { scene in
        try scene.adopt(.twoWay)
        try scene.begin(.one)
        try scene.merge(.edit(100, 1, "a"), .edit(110, 1, "b"))
        #expect(try scene.merge(.edit(110, 1, "b")) == [.superseded])
        #expect(try scene.merge(.edit(100, 1, "a")) == [.superseded])
        #expect(try scene.row(1) == "b 0")
      },
      Claim("two edits that have not seen each other are a conflict; the result goes down, also to the winner") {
        scene in
        try scene.adopt(.twoWay)
        try scene.begin(.one)
        try scene.merge(.edit(100, 1, "a"))
        try scene.sql("UPDATE stock SET a = 'cloud' WHERE id = 1")
        try scene.merge(.edit(110, 1, "edge"))
        #expect(try scene.row(1) == "cloud 0", "the cloud's version is higher")
        let entry = try #require(try scene.down(1))
        #expect(entry.a == "cloud" && entry.edge == DownEvent.Mark(epoch: .one, version: 110))
        #expect(try scene.version(1) == entry.version)
      },
      Claim("the same content on both sides is no conflict, by the types of the columns") { scene in
        try scene.adopt(.twoWay)
        try scene.begin(.one)
        try scene.merge(.edit(100, 1, "a", n: 1))
        try scene.sql("UPDATE stock SET a = 'same', n = 2 WHERE id = 1")
        #expect(try scene.merge(.edit(110, 1, "same", n: 2)) == [.superseded])
        #expect(try scene.conflicts().isEmpty)
        #expect(try scene.down(1)?.edge == DownEvent.Mark(epoch: .one, version: 110))
      },
      Claim("after the machine has won a conflict, its next edits have seen it") { scene in
        let schema = StreamSchema.twoWay(newer: "n")
        try scene.adopt(schema)
        try scene.begin(.one)
        try scene.merge(.edit(100, 1, "a"), schema: schema)
        try scene.sql("UPDATE stock SET a = 'cloud', n = 1 WHERE id = 1")
        try scene.merge(.edit(110, 1, "edge", n: 2), schema: schema)
        #expect(try scene.row(1) == "edge 2")
        #expect(try scene.merge(.edit(120, 1, "next", n: 3), schema: schema) == [.applied])
        #expect(try scene.conflicts().count == 1)
        #expect(try scene.row(1) == "next 3")
      },
      Claim("a delete in the cloud that the machine has not seen loses to its edit, and the other way round") { scene in
        try scene.adopt(.twoWay)
        try scene.begin(.one)
        try scene.merge(.edit(100, 1, "a"), .edit(101, 2, "b"))
        try scene.sql("DELETE FROM stock WHERE id = 1; UPDATE stock SET a = 'cloud' WHERE id = 2")
        try scene.merge(.edit(110, 1, "edge"), .edit(111, 2, nil))
        #expect(try scene.row(1) == "edge 0")
        #expect(try scene.row(2) == "cloud 0")
        #expect(try scene.conflicts().map(\.lost.reason) == [.delete, .delete])
        #expect(try scene.down().entries.count == 2)
      },
      Claim("a delete that has seen the row removes it, and an older put does not bring it back") { scene in
        try scene.adopt(.twoWay)
        try scene.begin(.one)
        try scene.merge(.edit(100, 1, "a"))
        #expect(try scene.merge(.edit(110, 1, nil)) == [.applied])
        #expect(try scene.merge(.edit(100, 1, "a")) == [.superseded])
        #expect(try scene.row(1) == nil)
      },
      Claim("a row that is sent again and is older is answered with the stored one") { scene in
        try scene.adopt(.twoWay)
        try scene.begin(.one)
        try scene.merge(.edit(100, 1, "a"))
        try scene.sql("UPDATE stock SET a = 'cloud' WHERE id = 1")
        try scene.take()
        let before = try #require(try scene.down(1))
        #expect(try scene.received(before.seq))
        #expect(try scene.merge(.edit(100, 1, "a", again: true)) == [.superseded])
        let after = try #require(try scene.down(1))
        #expect(after.seq > before.seq && after.a == "cloud")
        #expect(try scene.conflicts().isEmpty)
      },
      Claim("what a restored machine sends again does not undo its lost future, and its new edit is a conflict") {
        scene in
        try scene.adopt(.twoWay)
        try scene.begin(.one)
        try scene.merge(.edit(100, 1, "a"), .edit(200, 1, "future"), .edit(101, 2, "b"), .edit(201, 2, "future"))
        try scene.begin(.two, since: 0, after: .one, fork: 150)
        #expect(try scene.merge(.edit(100, 1, "a", again: true), epoch: .two) == [.superseded])
        #expect(try scene.row(1) == "future 0")
        #expect(try scene.down(1)?.a == "future")
        try scene.merge(.edit(160, 2, "other"), epoch: .two)
        #expect(try scene.conflicts().count == 1)
      },
      Claim("rows whose newest edit a restored machine has lost go down, also if it does not mention them") { scene in
        try scene.adopt(.twoWay)
        try scene.begin(.one)
        try scene.merge(.edit(100, 1, "known"), .edit(200, 2, "future"), .edit(101, 3, "a"))
        try scene.sql("UPDATE stock SET a = 'cloud' WHERE id = 3")
        try scene.take()
        let cloud = try #require(try scene.down(3))
        try scene.merge(.edit(201, 3, "future too", base: cloud.version))
        try scene.begin(.two, after: .one, fork: 150)
        #expect(try scene.down(1) == nil)
        #expect(try scene.down(2)?.a == "future")
        #expect(try scene.down(2)?.edge == DownEvent.Mark(epoch: .one, version: 200))
        #expect(try #require(scene.down(3)?.seq) > cloud.seq)
        let last = try scene.down().last
        try scene.begin(.two, after: .one, fork: 150)
        #expect(try scene.down().last == last, "the same again is no news")
      },
      Claim("an edit of a later epoch that has seen the row is taken") { scene in
        try scene.adopt(.twoWay)
        try scene.begin(.one)
        try scene.merge(.edit(100, 1, "a"))
        try scene.begin(.two, since: 0, after: .one, fork: 150)
        #expect(try scene.merge(.edit(160, 1, "b"), epoch: .two) == [.applied])
        #expect(try scene.row(1) == "b 0")
        #expect(try scene.conflicts().isEmpty)
      },
      Claim("a complete row stays, and what the machine says else of it is refused") { scene in
        let schema = StreamSchema.twoWay(kind: .batch, completeWhen: "n = 1")
        try scene.adopt(schema)
        try scene.begin(.one)
        try scene.merge(.edit(100, 1, "done", n: 1), schema: schema)
        #expect(try scene.merge(.edit(110, 1, "done", n: 1), schema: schema) == [.superseded])
        #expect(try scene.merge(.edit(120, 1, "other", n: 1), schema: schema)[0].refusal == .frozen)
        #expect(try scene.merge(.edit(130, 1, nil), schema: schema) == [.superseded])
        #expect(try scene.row(1) == "done 1")
      },
      Claim("a row that the table refuses is refused alone, and the stored one goes down again") { scene in
        try scene.adopt(.twoWay)
        try scene.begin(.one)
        try scene.merge(.edit(100, 1, "a"), .edit(101, 2, "b"))
        try scene.sql("CREATE UNIQUE INDEX stock_a ON stock (a)")
        try scene.sql("UPDATE stock SET n = 4 WHERE id = 1")
        try scene.take()
        let before = try #require(try scene.down(1))
        let outcomes = try scene.merge(
          .edit(110, 1, "b", base: before.version), .edit(111, 3, "c"))
        #expect(outcomes[0].refusal == .store && outcomes[1] == .applied)
        #expect(try scene.row(1) == "a 4")
        #expect(try scene.row(3) == "c 0")
      },
      Claim("several events of one row in one call are merged in their order") { scene in
        try scene.adopt(.twoWay)
        try scene.begin(.one)
        #expect(
          try scene.merge(.edit(100, 1, "a"), .edit(110, 1, nil), .edit(120, 1, "c"), .edit(115, 1, "b"))
            == [.applied, .applied, .applied, .superseded])
        #expect(try scene.row(1) == "c 0")
      },
      Claim("a client that knows no ancestry edits what is there") { scene in
        try scene.adopt(.twoWay)
        try scene.begin(.one)
        try scene.merge(.edit(100, 1, "a"))
        try scene.sql("UPDATE stock SET a = 'cloud' WHERE id = 1")
        var event = SinkEvent.edit(110, 1, "bare")
        event.ancestry = nil
        #expect(try scene.merge(event, epoch: nil) == [.applied])
        #expect(try scene.row(1) == "bare 0")
        #expect(try scene.conflicts().isEmpty)
      },
    ]
    + (0..<10).map { block in
      Claim("random events and edits come to what they come to in memory, block \(block)") { scene in
        try random(block, scene)
      }
    }

  /// Each store is one run of many steps; keys of earlier runs are not used again.
  private static func random(_ block: Int, _ scene: Scene) throws {
    let schema = StreamSchema.twoWay(newer: block % 3 == 0 ? "n" : nil, natural: block % 2 == 0)
    let memory = TwoWayMemory(schema: schema, now: CloudStoreConditions().now())
    var random = Seeded(UInt64(block))
    try scene.adopt(schema)
    try scene.begin(.one, since: 10)
    var (epoch, number, since) = (Epoch.one, Int64(1), Int64(10))
    for step in 0..<150 {
      let key = Int64(random.below(4))
      if random.percent(25) {
        let values: [Value]? =
          random.percent(20) ? nil : [.integer(key), .text("p\(step)"), .integer(Int64(random.below(9)))]
        try write(key, values, isThere: memory.rows["\(key)"] != nil, scene)
        memory.edit(key, values)
        try scene.take()
      } else if step == 80 {
        let fork = Int64(random.below(60))
        try scene.begin(.two, since: 10, after: .one, fork: fork)
        try memory.begin(2, parent: 1, fork: fork)
        (epoch, number, since) = (.two, 2, 10)
      } else {
        let cloud = memory.marks["\(key)"]?.cloud ?? 0
        let base = random.pick([0, cloud, cloud, max(0, cloud - 1), cloud + 1])
        let event = SinkEvent.edit(
          Int64(random.below(100)), key, random.percent(15) ? nil : "e\(random.below(step + 1))",
          n: Int64(random.below(9)), base: base, again: random.percent(25))
        let outcome = try scene.merge(event, epoch: epoch, schema: schema)[0]
        #expect(try outcome == memory.merge(event, epoch: number, since: since), "block \(block), step \(step)")
      }
      try compare(memory, scene, "block \(block), step \(step)")
    }
  }

  private static func write(_ key: Int64, _ values: [Value]?, isThere: Bool, _ scene: Scene) throws {
    guard let values, case .text(let a) = values[1], case .integer(let n) = values[2] else {
      return try scene.sql("DELETE FROM stock WHERE id = \(key)")
    }
    let text = String(decoding: a, as: UTF8.self)
    try scene.sql(
      isThere
        ? "UPDATE stock SET a = '\(text)', n = \(n) WHERE id = \(key)"
        : "INSERT INTO stock (machine_id, id, a, n) VALUES ('MAH001', \(key), '\(text)', \(n))")
  }

  private static func compare(_ memory: TwoWayMemory, _ scene: Scene, _ place: String) throws {
    let stored = try scene.place.reader.rows(of: "stock")
    #expect(stored.count == memory.rows.count, "\(place)")
    for row in stored {
      guard case .integer(let key)? = row["id"] else { continue }
      #expect(
        [row["id"], row["a"], row["n"]] == memory.rows["\(key)"]?.values.map(Optional.some),
        "\(place): row \(key) of \(stored.count)")
    }
    let entries = try scene.down().entries
    #expect(
      Set(entries.map { $0.key[0] }) == Set(memory.numbered.map { Value.integer(Int64($0)!) }),
      "\(place): other rows go down")
    #expect(entries.count == memory.numbered.count, "\(place): a row goes down twice")
    for entry in entries {
      guard case .integer(let key) = entry.key[0], let mark = memory.marks["\(key)"] else { continue }
      #expect(entry.version == mark.cloud, "\(place): cloud version of row \(key)")
      #expect(entry.edge?.version == mark.edge?.version, "\(place): edge of row \(key)")
      #expect(entry.edge?.epoch == mark.edge.map { $0.epoch == 1 ? Epoch.one : .two }, "\(place): epoch of row \(key)")
    }
    let lost = try scene.conflicts().map { "\($0.localID) \($0.lost)" }
    #expect(lost == memory.lost.map { "\($0.localID) \($0.edit)" }, "\(place): other conflicts")
  }
}
