// What a comparison of both sides learns from the store: which rows are on their way down, what a machine should have of reference data, and that those
// rows can be sent down again.

import DroverCore
import Testing

extension TwoWayConformance {
  package static let comparing: [Claim] = [
    // A repair insists on rows that differ: it takes their versions back and has the machine send them again.
    Claim("versions that are taken back are no edit, and take no edit of the cloud's with them", ticking()) { scene in
      try scene.adopt(.twoWay)
      try scene.begin(.one)
      try scene.merge(.edit(100, 1, "edge"), .edit(101, 2, "edge"))
      try scene.sql("UPDATE stock SET a = 'cloud' WHERE id = 1")
      try scene.take()
      let version = try #require(try scene.down(1)?.version)
      try scene.place.replica.takeBackVersions(try scene.replicated(), ids: [1, 2].map { ([.integer($0)], "\($0)") })
      #expect(try scene.take() == [], "it was taken for an edit")
      #expect(try scene.row(1) == "cloud 0" && scene.row(2) == "edge 0")
      // The machine has not seen the cloud's edit, and sends both again.
      try scene.merge(.edit(100, 1, "edge", again: true), .edit(101, 2, "edge", again: true))
      let listed = try scene.conflicts().map(\.lost.value)
      #expect(try scene.row(1) == "cloud 0" || listed == [[1, "cloud", 0]])
      #expect(try scene.row(2) == "edge 0" && scene.down(2) == nil)
      // Then it has.
      try scene.merge(.edit(100, 1, "again", base: max(version, scene.down(1)?.version ?? 0), again: true))
      #expect(try scene.row(1) == "again 0")
    },
    Claim("an edit is on its way down until the machine has confirmed it") { scene in
      try scene.adopt(.twoWay)
      try scene.sql("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 1, 'x'), ('MAH001', 2, 'y')")
      #expect(try scene.underway([1, 2, 3]) == [true, true, false], "nobody has taken them")
      try scene.take()
      #expect(try scene.underway([1, 2, 3]) == [true, true, false])
      #expect(try scene.received(1))
      #expect(try scene.underway([1, 2, 3]) == [false, true, false])
      try scene.sql("DELETE FROM stock WHERE id = 1")
      #expect(try scene.underway([1, 2]) == [true, true])
    },
    Claim("rows of reference data are sent down again, the deleted ones as deletes") { scene in
      let schema = StreamSchema.twoWay(.down)
      try scene.adopt(schema)
      try scene.sql("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 1, 'x')")
      try scene.take()
      let before = try #require(try scene.down(1))
      try scene.place.replica.sendDown(try scene.replicated(), ids: [1, 7].map { ([.integer($0)], "\($0)") })
      #expect(try scene.underway([1, 7]) == [true, true])
      try scene.take()
      let after = try #require(try scene.down(1))
      #expect(after.a == "x" && after.seq > before.seq && after.version > before.version)
      // The cloud knows nothing of it, and the machine has it.
      #expect(try scene.down(7)?.content == Content.none)
    },
    Claim("rows are counted by a column's values, those of one machine alone") { scene in
      try scene.adopt(.twoWay)
      try scene.adopt(.twoWay, machine: .b)
      try scene.sql(
        "INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 1, 'x'), ('MAH001', 2, 'y'), ('MAH001', 3, 'x'), ('MAH001', 4, NULL), ('MAH001', 5, 'X')"
      )
      try scene.sql("INSERT INTO stock (machine_id, id, a) VALUES ('MAH002', 1, 'x')")
      let stream = try scene.replicated()
      let column = try #require(stream.schema.columns.firstIndex { $0.name == "a" })
      let counts = try scene.place.replica.tally(stream, column: column).counts
      #expect(counts == [.text("x"): 2, .text("y"): 1, .null: 1, .text("X"): 1])
    },
    Claim("the rows that a machine has received since an earlier moment are counted") { scene in
      try scene.adopt(.twoWay)
      try scene.sql("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 1, 'x'), ('MAH001', 2, 'y')")
      try scene.take()
      let (stream, replica) = (try scene.replicated(), scene.place.replica)
      #expect(try replica.received(stream) == IntervalSet())
      #expect(try scene.received(1))
      let before = try replica.received(stream)
      #expect(before.contains(1) && !before.contains(2))
      #expect(try replica.rowsDown(stream, in: before, since: IntervalSet()) == 1)
      #expect(try replica.rowsDown(stream, in: before, since: before) == 0)
      try scene.sql("UPDATE stock SET a = 'z' WHERE id = 1")
      try scene.take()
      // Row 2 has the number 2, and row 1 a new one.
      #expect(try scene.received(3))
      let now = try replica.received(stream)
      #expect(try replica.rowsDown(stream, in: now, since: before) == 2)
      // What was received ahead of a gap is not counted again.
      let ahead = IntervalSet([try #require(Interval(believing: 2, 3))])
      #expect(try replica.rowsDown(stream, in: now, since: ahead) == 1)
    },
    Claim("a machine is compared with the rows for all machines, where it gets those") { scene in
      try scene.adopt(.twoWay(.down, reach: .all))
      try scene.sql("INSERT INTO stock (id, a) VALUES (1, 'x'), (2, 'y')")
      try scene.take()
      let stream = try scene.replicated()
      #expect(try scene.place.replica.count(stream) == 2)
      var keys: [[Value]] = []
      try scene.place.replica.survey(stream) { key, _ in keys.append(key) }
      #expect(Set(keys) == [[1], [2]])
      #expect(try scene.place.replica.rows(stream, keys: [[1], [3]]).map { $0 != nil } == [true, false])
      #expect(try scene.underway([1, 2]) == [true, true])
      #expect(try scene.received(2))
      #expect(try scene.underway([1, 2]) == [false, false])
    },
  ]
}

extension TwoWayConformance.Scene {
  func replicated() throws -> ReplicatedStream {
    let stream = try #require(try transaction { try $0.downStreams(of: .a) }.first)
    return ReplicatedStream(machine: stream.machine, stream: stream.stream, schema: stream.schema, isOnline: true)
  }

  func underway(_ keys: [Int64]) throws -> [Bool] {
    try place.replica.underway(try replicated(), ids: keys.map { ([.integer($0)], "\($0)") })
  }
}
