// `merge: columns`: what only one side has changed of a row survives from both. The store has to know what the machine had before its edit.

import DroverCore
import Testing

extension TwoWayConformance {
  private static let schema = StreamSchema.twoWay(merge: .columns)

  /// A row of the machine's that both sides know.
  private static func begin(_ scene: Scene, _ schema: StreamSchema = schema) throws {
    try scene.adopt(schema)
    try scene.begin(.one)
    try scene.merge(.edit(100, 1, "a", n: 1), schema: schema)
  }

  package static let byColumns: [Claim] = [
    Claim("edits of different columns both survive, nothing is listed, and the result goes down") { scene in
      try begin(scene)
      try scene.sql("UPDATE stock SET a = 'cloud' WHERE id = 1")
      #expect(try scene.merge(.edit(110, 1, "a", n: 2), schema: schema) == [.applied])
      #expect(try scene.row(1) == "cloud 2")
      #expect(try scene.conflicts().isEmpty)
      let entry = try #require(try scene.down(1))
      #expect(Array(entry.row ?? []) == [.integer(1), .text("cloud"), .integer(2)])
      #expect(entry.edge == DownEvent.Mark(epoch: .one, version: 110))
    },
    Claim("the same after the edit has got its version, and after several edits in the cloud") { scene in
      try begin(scene)
      try scene.sql("UPDATE stock SET a = 'first' WHERE id = 1; UPDATE stock SET a = 'second' WHERE id = 1")
      try scene.take()
      try scene.sql("UPDATE stock SET a = 'third' WHERE id = 1")
      try scene.take()
      try scene.merge(.edit(110, 1, "a", n: 2), schema: schema)
      #expect(try scene.row(1) == "third 2")
      #expect(try scene.conflicts().isEmpty)
    },
    Claim("of one column the winner's value stands; the rest survives, and only that column is listed") { scene in
      let schema = StreamSchema.twoWay(merge: .columns, further: [("c", "TEXT"), ("d", "TEXT")])
      func edit(_ version: Int64, _ a: String, _ n: Int64, _ c: String, _ d: String) -> SinkEvent {
        var event = SinkEvent.edit(version, 1, a, n: n)
        event.content = .row([.integer(1), .text(a), .integer(n), .text(c), .text(d)])
        return event
      }
      try scene.adopt(schema)
      try scene.begin(.one)
      try scene.merge(edit(100, "a", 1, "c", "d"), schema: schema)
      try scene.sql("UPDATE stock SET a = 'cloud', c = 'cloud' WHERE id = 1")
      try scene.merge(edit(110, "edge", 1, "c", "edge"), schema: schema)
      #expect(try scene.row(1) == "cloud 1")
      let entry = try #require(try scene.down(1))
      #expect(Array(entry.row ?? []) == [.integer(1), .text("cloud"), .integer(1), .text("cloud"), .text("edge")])
      let conflict = try #require(try scene.conflicts().first)
      #expect(conflict.lost.loser == .machine && conflict.lost.reason == .edit)
      #expect(
        conflict.lost.value == [.integer(1), .text("edge"), .integer(1), .text("cloud"), .text("edge")],
        "who takes it gets back what was lost, and loses nothing else")
    },
    Claim("the column that says which edit is newer is no conflict by itself, and takes the newer value") { scene in
      let schema = StreamSchema.twoWay(newer: "n", merge: .columns, further: [("c", "TEXT")])
      func edit(_ version: Int64, _ n: Int64, _ c: String) -> SinkEvent {
        var event = SinkEvent.edit(version, 1, "a")
        event.content = .row([.integer(1), .text("a"), .integer(n), .text(c)])
        return event
      }
      try scene.adopt(schema)
      try scene.begin(.one)
      try scene.merge(edit(100, 1, "c"), schema: schema)
      try scene.sql("UPDATE stock SET a = 'cloud', n = 5 WHERE id = 1")
      try scene.merge(edit(110, 7, "edge"), schema: schema)
      #expect(try scene.row(1) == "cloud 7")
      #expect(try scene.conflicts().isEmpty)
    },
    // Compared with the first state of the row, the machine would seem to have changed nothing.
    Claim("a machine that sets a value back to what it was before the cloud's edit has edited it") { scene in
      try begin(scene)
      try scene.sql("UPDATE stock SET a = 'cloud' WHERE id = 1")
      try scene.take()
      let known = try #require(try scene.down(1))
      try scene.sql("UPDATE stock SET n = 9 WHERE id = 1")
      try scene.take()
      try scene.merge(.edit(110, 1, "a", n: 1, base: known.version), schema: schema)
      #expect(try scene.row(1) == "a 9")
      #expect(try scene.conflicts().isEmpty)
    },
    Claim("a second edit of the machine, made before it hears of the result, is merged with what the first left") {
      scene in
      try begin(scene)
      try scene.sql("UPDATE stock SET a = 'cloud' WHERE id = 1")
      try scene.merge(.edit(110, 1, "a", n: 2), schema: schema)
      try scene.merge(.edit(120, 1, "a", n: 1), schema: schema)
      #expect(try scene.row(1) == "cloud 1")
      try scene.merge(.edit(130, 1, "edge", n: 1), schema: schema)
      #expect(try scene.conflicts().count == 1, "both have changed a")
    },
    Claim("an UPSERT of one column is an edit of that column") { scene in
      try begin(scene)
      try scene.sql(
        "INSERT INTO stock (machine_id, id, a, n) VALUES ('MAH001', 1, 'cloud', 5) ON CONFLICT (machine_id, id) DO UPDATE SET a = excluded.a"
      )
      try scene.merge(.edit(110, 1, "a", n: 2), schema: schema)
      #expect(try scene.row(1) == "cloud 2")
      #expect(try scene.conflicts().isEmpty)
    },
    Claim("values of every type are known as they were, so that nothing is a change that is none") { scene in
      let schema = StreamSchema.twoWay(
        merge: .columns, further: [("r", "REAL"), ("b", "BLOB"), ("x", ""), ("t", "TEXT"), ("i", "INTEGER")])
      let values: [Value] = [
        .real(0.1 + 0.2), .blob([0, 255, 39]), .real(-0.0), .text("it's \u{1F600}\n\\ \"x\""), .integer(.min),
      ]
      func edit(_ version: Int64, n: Int64) -> SinkEvent {
        var event = SinkEvent.edit(version, 1, "a")
        event.content = .row(Values([.integer(1), .text("a"), .integer(n)] + values))
        return event
      }
      try scene.adopt(schema)
      try scene.begin(.one)
      try scene.merge(edit(100, n: 1), schema: schema)
      try scene.sql("UPDATE stock SET a = 'cloud', r = 2.5, b = NULL, x = NULL, t = 'new', i = 7 WHERE id = 1")
      try scene.merge(edit(110, n: 2), schema: schema)
      #expect(try scene.conflicts().isEmpty)
      let row = try #require(try scene.down(1)?.row)
      #expect(
        Array(row) == [.integer(1), .text("cloud"), .integer(2), .real(2.5), .null, .null, .text("new"), .integer(7)])
    },
    Claim("a delete on one side and an edit on the other are a conflict as ever") { scene in
      try begin(scene)
      try scene.sql("DELETE FROM stock WHERE id = 1")
      try scene.merge(.edit(110, 1, "edge", n: 2), schema: schema)
      #expect(try scene.row(1) == "edge 2")
      #expect(try scene.conflicts().map(\.lost.reason) == [.delete])
    },
    Claim("what machines had is kept for the newest decisions and the oldest; otherwise whole rows are in conflict") {
      scene in
      try begin(scene)
      try scene.merge(.edit(101, 2, "a", n: 1), .edit(102, 3, "a", n: 1), schema: schema)
      var versions: [Int64: [Int64]] = [:]
      for number in 1...12 {
        try scene.sql("UPDATE stock SET a = 'cloud \(number)'")
        try scene.take()
        for key: Int64 in 2...3 { versions[key, default: []].append(try #require(try scene.down(key)?.version)) }
      }
      try scene.merge(.edit(110, 1, "a", n: 2), schema: schema)
      #expect(try scene.row(1) == "cloud 12 2", "it was away all the time")
      try scene.merge(.edit(111, 2, "cloud 11", n: 2, base: versions[2]![10]), schema: schema)
      #expect(try scene.row(2) == "cloud 12 2", "it was there all the time")
      #expect(try scene.conflicts().isEmpty)
      try scene.merge(.edit(112, 3, "cloud 2", n: 2, base: versions[3]![1]), schema: schema)
      #expect(try scene.conflicts().count == 1)
      #expect(try scene.row(3) == "cloud 12 1")
    },
    Claim("a stream that merges by columns from now on does so, and back") { scene in
      try scene.adopt(.twoWay)
      try scene.begin(.one)
      try scene.merge(.edit(100, 1, "a", n: 1), .edit(101, 2, "b", n: 1))
      try scene.adopt(schema)
      try scene.sql("UPDATE stock SET a = 'cloud' WHERE id = 1")
      try scene.merge(.edit(110, 1, "a", n: 2), schema: schema)
      #expect(try scene.row(1) == "cloud 2")
      try scene.adopt(.twoWay)
      try scene.sql("UPDATE stock SET a = 'cloud' WHERE id = 2")
      try scene.merge(.edit(111, 2, "b", n: 2))
      #expect(try scene.conflicts().count == 1)
    },
  ]
}

extension OutboxEntry {
  /// nil for a delete.
  fileprivate var row: Values? { if case .row(let row) = content { row } else { nil } }
}
