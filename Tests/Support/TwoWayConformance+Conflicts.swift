// Conflicts are listed until a person resolves them.

import DroverCore
import Testing

extension TwoWayConformance {
  /// Both sides have edited row 1; the machine's edit has lost.
  private static func conflict(_ scene: Scene) throws -> Conflict {
    try scene.adopt(.twoWay(newer: "n"))
    try scene.begin(.one)
    try scene.merge(.edit(100, 1, "first"), schema: .twoWay(newer: "n"))
    try scene.sql("UPDATE stock SET a = 'cloud', n = 5 WHERE id = 1")
    try scene.merge(.edit(110, 1, "edge", n: 4), schema: .twoWay(newer: "n"))
    return try #require(try scene.conflicts().first)
  }

  package static let resolving: [Claim] = [
    Claim("a conflict is listed with both values, once") { scene in
      let conflict = try conflict(scene)
      #expect(conflict.machine == .a && conflict.stream == .stock && conflict.localID == "1")
      #expect(conflict.columns == ["id", "a", "n"])
      #expect(conflict.lost.value == [1, "edge", 4] && conflict.lost.loser == .machine)
      #expect(conflict.lost.reason == .edit && conflict.lost.version == 110)
      #expect(conflict.present == [1, "cloud", 5])
      #expect(!conflict.hasChangedSince)
      #expect(try scene.place.conflicts.conflictCount() == 1)
      for (since, count) in [(conflict.at, 1), (conflict.at + 1, 0)] {
        #expect(try scene.place.conflicts.conflictCount(machine: .a, stream: .stock, since: since) == count)
      }
      #expect(try scene.place.conflicts.conflict(conflict.id) == conflict)
      #expect(try scene.place.conflicts.conflict(conflict.id + 1) == nil)
      #expect(try scene.place.conflicts.conflicts(machine: .b, stream: nil, after: 0, limit: 9).isEmpty)
      #expect(try scene.place.conflicts.conflicts(machine: .a, stream: .stock, after: 0, limit: 9).count == 1)
      #expect(try scene.place.conflicts.conflicts(machine: nil, stream: nil, after: conflict.id, limit: 9).isEmpty)
    },
    Claim("a conflict says whether the row has changed since") { scene in
      _ = try conflict(scene)
      try scene.sql("UPDATE stock SET a = 'later' WHERE id = 1")
      #expect(try scene.conflicts().first?.hasChangedSince == true, "before the edit is taken")
      try scene.take()
      #expect(try scene.conflicts().first?.hasChangedSince == true)
    },
    Claim("who keeps the row as it is changes nothing") { scene in
      let conflict = try conflict(scene)
      #expect(try scene.place.conflicts.resolve(conflict.id, .keep, seen: conflict.present) == .resolved)
      #expect(try scene.conflicts().isEmpty)
      #expect(try scene.take() == [])
      #expect(try scene.place.conflicts.resolve(conflict.id, .keep, seen: conflict.present) == .unknown)
    },
    Claim("who takes the value that lost edits the row as any client does") { scene in
      let conflict = try conflict(scene)
      #expect(try scene.place.conflicts.resolve(conflict.id, .takeLost, seen: conflict.present) == .resolved)
      #expect(try scene.conflicts().isEmpty)
      try scene.take()
      #expect(try scene.row(1) == "edge 4")
      #expect(try scene.down(1)?.a == "edge")
      #expect(try scene.down(1)?.edge == DownEvent.Mark(epoch: .one, version: 110))
    },
    Claim("a row that has changed since the person looked is not touched") { scene in
      let conflict = try conflict(scene)
      try scene.sql("UPDATE stock SET a = 'later' WHERE id = 1")
      #expect(try scene.place.conflicts.resolve(conflict.id, .takeLost, seen: conflict.present) == .changed)
      #expect(try scene.row(1) == "later 5")
      #expect(try scene.conflicts().count == 1)
      #expect(try scene.place.conflicts.resolve(conflict.id, .takeLost, seen: nil) == .changed)
    },
    Claim("a delete that lost can be taken, and a value that lost to a delete comes back") { scene in
      try scene.adopt(.twoWay)
      try scene.begin(.one)
      try scene.merge(.edit(100, 1, "first"), .edit(101, 2, "first"))
      // The machine deletes what a person has edited: the put wins.
      try scene.sql("UPDATE stock SET a = 'cloud' WHERE id = 1")
      try scene.merge(.edit(110, 1, nil))
      let delete = try #require(try scene.conflicts().first)
      #expect(delete.lost.reason == .delete && delete.lost.value == nil && delete.present == [1, "cloud", 0])
      #expect(try scene.place.conflicts.resolve(delete.id, .takeLost, seen: delete.present) == .resolved)
      try scene.take()
      #expect(try scene.row(1) == nil)
      #expect(try scene.down(1)?.content == Content.none)
    },
    Claim("two new rows under one key: the machine's keeps it, and both can stay") { scene in
      try scene.adopt(.twoWay)
      try scene.begin(.one)
      try scene.sql("INSERT INTO stock (machine_id, id, a, n) VALUES ('MAH001', 7, 'cloud', 2)")
      try scene.merge(.edit(100, 7, "edge", n: 1))
      #expect(try scene.row(7) == "edge 1")
      let conflict = try #require(try scene.conflicts().first)
      #expect(conflict.lost.reason == .key && conflict.lost.loser == .cloud && conflict.lost.value == [7, "cloud", 2])
      #expect(try scene.place.conflicts.resolve(conflict.id, .both, seen: conflict.present) == .resolved)
      #expect(try scene.row(7) == "edge 1")
      #expect(try scene.row(8) == "cloud 2")
      try scene.take()
      #expect(try scene.down(8)?.a == "cloud")
    },
    Claim("a conflict that is about no key cannot be resolved with both") { scene in
      let conflict = try conflict(scene)
      guard case .refused = try scene.place.conflicts.resolve(conflict.id, .both, seen: conflict.present) else {
        Issue.record("it was not refused")
        return
      }
      #expect(try scene.conflicts().count == 1)
    },
    Claim("what the database refuses of a resolution leaves all as it was") { scene in
      let schema = StreamSchema.twoWay(newer: "n", kind: .batch, completeWhen: "a = 'done'")
      try scene.adopt(schema)
      try scene.begin(.one)
      try scene.merge(.edit(100, 1, "first"), schema: schema)
      try scene.sql("UPDATE stock SET a = 'cloud', n = 5 WHERE id = 1")
      try scene.merge(.edit(110, 1, "edge", n: 4), schema: schema)
      try scene.sql("UPDATE stock SET a = 'done' WHERE id = 1")
      let conflict = try #require(try scene.conflicts().first)
      guard case .refused(let text) = try scene.place.conflicts.resolve(conflict.id, .takeLost, seen: conflict.present)
      else {
        Issue.record("it was not refused")
        return
      }
      #expect(text.contains("complete"))
      #expect(try scene.conflicts().count == 1)
      #expect(try scene.row(1) == "done 5")
    },
    Claim("a value that arrives again is not listed again") { scene in
      let conflict = try conflict(scene)
      let schema = StreamSchema.twoWay(newer: "n")
      try scene.begin(.two)
      // The machine was put back without a history: its edit comes again, and differs again.
      try scene.merge(.edit(110, 1, "edge", n: 4), epoch: .two, schema: schema)
      #expect(try scene.conflicts().map(\.id) == [conflict.id])
    },
    Claim(
      "with as many conflicts as there may be, the stream waits and says why",
      conditions { $0.conflicts = ConflictBounds(maxCount: 1) }
    ) {
      scene in
      _ = try conflict(scene)
      let schema = StreamSchema.twoWay(newer: "n")
      try scene.merge(.edit(120, 2, "first"), schema: schema)
      try scene.sql("UPDATE stock SET a = 'cloud', n = 5 WHERE id = 2")
      let blocked = try scene.store.transaction { transaction in
        do {
          _ = try transaction.merge([.edit(130, 2, "edge", n: 4)], epoch: .one, into: .table(schema))
          return nil as SinkBlocked?
        } catch let blocked as SinkBlocked {
          return blocked
        }
      }
      #expect(blocked?.text.contains("conflicts") == true && blocked?.reach == .machine)
      #expect(try scene.row(2) == "cloud 5")
      #expect(try scene.conflicts().count == 1)
    },
    Claim(
      "one machine's conflicts take half of the space, so that the others keep theirs",
      conditions { $0.conflicts = ConflictBounds(maxCount: 4) }
    ) { scene in
      let schema = StreamSchema.twoWay(newer: "n")
      _ = try conflict(scene)
      try scene.adopt(schema, machine: .b)
      func collide(_ key: Int64, _ machine: MachineID) throws -> SinkBlocked? {
        try scene.merge(.edit(120, key, "first"), schema: schema, machine: machine)
        try scene.sql("UPDATE stock SET a = 'cloud', n = 5 WHERE id = \(key) AND machine_id = '\(machine)'")
        return try scene.store.transaction { transaction in
          do {
            _ = try transaction.merge(
              [.edit(130, key, "edge", n: 4)], epoch: .one,
              into: Sink(machine: machine, stream: .stock, kind: .snapshot, schema: schema))
            return nil as SinkBlocked?
          } catch let blocked as SinkBlocked {
            return blocked
          }
        }
      }
      #expect(try collide(2, .a) == nil)
      let blocked = try #require(try collide(3, .a))
      #expect(blocked.cause == .space && blocked.text.contains("half of conflicts.max_count (4)"))
      #expect(try collide(4, .b) == nil)
      #expect(try scene.place.conflicts.conflictCount(machine: .a, stream: nil) == 2)
      #expect(try scene.place.conflicts.conflictCount(machine: .b, stream: .stock) == 1)
      #expect(try scene.transaction { try $0.conflictCount(of: .a) } == 2)
      #expect(try scene.transaction { try $0.conflictCounts() } == [.a: 2, .b: 1])
      #expect(try scene.place.conflicts.newestConflict() == scene.conflicts().last?.id)
    },
    // Ten thousand values of a few megabytes each had no bound.
    Claim(
      "values that lost have a bound in bytes, which the first one may pass",
      conditions { $0.conflicts = ConflictBounds(maxBytes: 2000) }
    ) { scene in
      let schema = StreamSchema.twoWay(newer: "n")
      try scene.adopt(schema)
      func collide(_ key: Int64) throws -> SinkBlocked? {
        try scene.merge(.edit(120, key, "first"), schema: schema)
        try scene.sql("UPDATE stock SET a = 'cloud', n = 5 WHERE id = \(key)")
        return try scene.store.transaction { transaction in
          let edit = SinkEvent.edit(130, key, String(repeating: "x", count: 3000), n: 4)
          do {
            _ = try transaction.merge([edit], epoch: .one, into: .table(schema))
            return nil as SinkBlocked?
          } catch let blocked as SinkBlocked {
            return blocked
          }
        }
      }
      #expect(try collide(1) == nil)
      let blocked = try #require(try collide(2))
      #expect(blocked.cause == .space && blocked.text.contains("half of conflicts.max_bytes"))
      #expect(try scene.conflicts().count == 1 && scene.row(2) == "cloud 5")
      let first = try #require(try scene.conflicts().first)
      #expect(try scene.place.conflicts.resolve(first.id, .keep, seen: first.present) == .resolved)
      #expect(try collide(3) == nil)
    },
    Claim("an edit between the look and the resolution is not overwritten") { scene in
      let seen = try conflict(scene)
      try scene.sql("UPDATE stock SET a = 'newer' WHERE id = 1")
      let store = scene.place.conflicts
      #expect(try store.resolve(seen.id, take: .machine, seen: .named(seen.seen)) == .changed)
      #expect(try store.resolve(seen.id, take: .machine, seen: .asDecided) == .changed)
      try scene.take()
      #expect(try store.resolve(seen.id, take: .cloud, seen: .asDecided) == .changed, "after the edit is taken")
      #expect(try scene.row(1) == "newer 5")
      let now = try #require(try scene.conflicts().first)
      #expect(now.hasChangedSince && now.seen != seen.seen && now.differing == [1, 2])
      #expect(try store.resolve(now.id, take: .machine, seen: .named(now.seen), of: .b) == .unknown)
      #expect(try store.resolve(now.id, take: .machine, seen: .named(now.seen), of: .a) == .resolved)
      #expect(try scene.row(1) == "edge 4")
    },
    Claim("a conflict stays in the list when its table has changed, and can only be kept") { scene in
      let before = try conflict(scene)
      try scene.sql("ALTER TABLE stock RENAME COLUMN n TO m")
      let store = scene.place.conflicts
      let listed = try #require(try scene.conflicts().first)
      #expect(listed.id == before.id && listed.lost == before.lost && listed.problem != nil)
      guard case .refused = try store.resolve(listed.id, take: .machine, seen: .named(listed.seen)) else {
        Issue.record("the value that lost was taken into a table without its column")
        return
      }
      #expect(try store.resolve(listed.id, take: .cloud, seen: .asDecided) == .resolved)
      #expect(try scene.conflicts().isEmpty)
    },
  ]

  private static func conditions(_ change: (inout CloudStoreConditions) -> Void) -> CloudStoreConditions {
    var conditions = CloudStoreConditions()
    change(&conditions)
    return conditions
  }
}
