// `protect: true`: what any client but Drover would write into the table of a stream that only goes up is refused at once, and everything of Drover's goes on.

import DroverCore
import Testing

extension TwoWayConformance {
  private static func protected(_ set: (inout CloudStoreConditions) -> Void = { _ in }) -> CloudStoreConditions {
    var conditions = CloudStoreConditions()
    conditions.protects = true
    set(&conditions)
    return conditions
  }

  /// Statements that change a row, or make one or end one.
  private static let edits = [
    "UPDATE stock SET a = 'mine' WHERE id = 1", "UPDATE stock SET drover_version = 7",
    "UPDATE stock SET machine_id = 'x'",
    "UPDATE stock SET id = 9 WHERE id = 1", "DELETE FROM stock WHERE id = 1",
    "INSERT INTO stock (machine_id, id, a, drover_epoch, drover_version) VALUES ('MAH001', 8, 'mine', 1, 1)",
    """
    INSERT INTO stock (machine_id, id, a, drover_epoch, drover_version) VALUES ('MAH001', 1, 'mine', 1, 1)
    ON CONFLICT (machine_id, id) DO UPDATE SET a = 'mine'
    """,
  ]

  package static let protecting: [Claim] = [
    // In PostgreSQL, whoever looked at conflicts or at a row over HTTP took the protection of all tables away.
    Claim("looking at conflicts takes no protection away", protected()) { scene in
      let up = StreamSchema.twoWay(.up)
      try scene.adopt(up)
      try scene.merge(.edit(100, 1, "x"), schema: up)
      #expect(try scene.conflicts().isEmpty && scene.place.conflicts.newestConflict() == 0)
      #expect(scene.refusal("DELETE FROM stock WHERE id = 1")?.contains("stream stock only goes up") == true)
    },
    Claim("an edit of a protected stream that only goes up is refused at once, and Drover writes on", protected()) {
      scene in
      let up = StreamSchema.twoWay(.up)
      try scene.adopt(up)
      try scene.merge(.edit(100, 1, "x"), .edit(101, 2, "y"), schema: up)
      for edit in edits {
        let refusal = scene.refusal(edit)
        #expect(refusal?.contains("drover: stream stock only goes up") == true, "\(edit): \(refusal ?? "passed")")
        #expect(refusal?.contains("declare `direction: both`") == true)
      }
      #expect(
        try scene.merge(.edit(110, 1, "z"), .edit(111, 2, nil), .edit(112, 3, "new"), schema: up)
          == [.applied, .applied, .applied])
      #expect(try scene.row(1) == "z 0" && scene.row(2) == nil && scene.row(3) == "new 0")
      #expect(try scene.transaction { try $0.forgetMachine(.a, removesRows: true) } == 2)
    },
    Claim("a column that a person has added stays that person's", protected()) { scene in
      let up = StreamSchema.twoWay(.up)
      try scene.adopt(up)
      try scene.merge(.edit(100, 1, "x"), schema: up)
      try scene.sql("ALTER TABLE stock ADD COLUMN mine TEXT")
      try scene.sql("UPDATE stock SET mine = 'a note' WHERE id = 1")
      #expect(try scene.merge(.edit(110, 1, "y"), schema: up) == [.applied])
      try scene.sql("UPDATE stock SET mine = mine || '!' WHERE id = 1")
      #expect(try scene.place.reader.rows(of: "stock").first?["mine"] == "a note!")
      #expect(scene.refusal("UPDATE stock SET mine = 'x', a = 'x'") != nil)
      // The triggers are made again with the machine's new column, and still know whose the other one is.
      let wide = StreamSchema.twoWay(.up, further: [("colour", "TEXT")])
      try scene.adopt(wide)
      try scene.sql("UPDATE stock SET mine = 'still mine' WHERE id = 1")
      #expect(scene.refusal("UPDATE stock SET colour = 'x' WHERE id = 1") != nil)
    },
    Claim("a protected table follows its machine's schema, and new columns are protected too", protected()) { scene in
      try scene.adopt(.twoWay(.up))
      try scene.merge(.edit(100, 1, "x"), schema: .twoWay(.up))
      let wide = try StreamSchema(
        kind: .snapshot,
        columns: [("id", "INTEGER"), ("a", "TEXT"), ("n", "TEXT"), ("colour", "TEXT")].map {
          Column(name: $0.0, declaredType: $0.1)
        }, key: [0])
      try scene.adopt(wide)
      var event = SinkEvent.edit(110, 1, "y")
      event.content = .row([1, "y", "seven", "red"])
      #expect(try scene.merge(event, schema: wide) == [.applied])
      #expect(try scene.row(1) == "y seven")
      for edit in edits + ["UPDATE stock SET colour = 'x'", "UPDATE stock SET n = 'x'"] {
        #expect(scene.refusal(edit) != nil, "\(edit)")
      }
    },
    Claim("a table that begins to go down is open for edits, and closed when it ends", protected()) { scene in
      try scene.adopt(.twoWay(.up))
      try scene.merge(.edit(100, 1, "x"), schema: .twoWay(.up))
      try scene.adopt(.twoWay)
      try scene.sql("UPDATE stock SET a = 'mine' WHERE id = 1")
      try scene.take()
      #expect(try scene.down(1)?.a == "mine")
      try scene.adopt(.twoWay(.up))
      for edit in edits { #expect(scene.refusal(edit) != nil, "\(edit)") }
    },
    Claim(
      "a pin says of one stream what does not hold for the others",
      protected { $0.pins = [StreamPin(name: .stock, kind: .snapshot, isProtected: false)] }
    ) { scene in
      try scene.adopt(.twoWay(.up))
      try scene.merge(.edit(100, 1, "x"), schema: .twoWay(.up))
      #expect(scene.refusal("DELETE FROM stock WHERE id = 1") == nil)
    },
    Claim("a table that was put aside is free", protected()) { scene in
      try scene.adopt(.twoWay(.up))
      try scene.merge(.edit(100, 1, "x"), schema: .twoWay(.up))
      let other = try StreamSchema(
        kind: .snapshot,
        columns: [Column(name: "a", declaredType: "TEXT"), Column(name: "id", declaredType: "INTEGER")],
        key: [0])
      try scene.adopt(other)
      let accepted = try scene.transaction { try $0.accept(machine: .a, stream: .stock) }
      let aside = try #require(accepted?.aside.first)
      #expect(scene.refusal("DELETE FROM \"\(aside)\"") == nil)
      let insert = "INSERT INTO stock (machine_id, a, id, drover_epoch, drover_version) VALUES ('MAH001', 'x', 1, 1, 1)"
      #expect(scene.refusal(insert)?.contains("only goes up") == true)
    },
  ]
}
