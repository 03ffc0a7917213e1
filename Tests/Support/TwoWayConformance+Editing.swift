// People edit the sink table with any SQL client: what is captured of that, what is refused, and how it is numbered.

import DroverCore
import Testing

extension TwoWayConformance {
  package static let editing: [Claim] = [
    Claim("an UPDATE of any SQL client goes down with what it has seen") { scene in
      try scene.adopt(.twoWay)
      try scene.begin(.one)
      try scene.merge(.edit(100, 1, "edge"))
      #expect(try scene.down(1) == nil, "a row that nobody has edited in the cloud goes down")
      try scene.sql("UPDATE stock SET a = 'cloud' WHERE id = 1")
      #expect(try scene.take() == [.stock])
      let entry = try #require(try scene.down(1))
      #expect(entry.a == "cloud")
      #expect(entry.edge == DownEvent.Mark(epoch: .one, version: 100))
      #expect(entry.version > 100)
      #expect(try scene.version(1) == entry.version)
      #expect(try scene.take() == [], "an edit is taken twice")
    },
    Claim("an INSERT names no bookkeeping column, and goes down without an edge") { scene in
      try scene.adopt(.twoWay)
      try scene.sql("INSERT INTO stock (machine_id, id, a, n) VALUES ('MAH001', 7, 'new', 1)")
      try scene.take()
      let entry = try #require(try scene.down(7))
      #expect(entry.a == "new" && entry.edge == nil && entry.version > 0)
    },
    Claim("a DELETE goes down with the version that it removed") { scene in
      try scene.adopt(.twoWay)
      try scene.begin(.one)
      try scene.merge(.edit(100, 1, "edge"))
      try scene.sql("DELETE FROM stock WHERE id = 1")
      try scene.take()
      let entry = try #require(try scene.down(1))
      #expect(entry.content == .none)
      #expect(entry.edge == DownEvent.Mark(epoch: .one, version: 100))
    },
    Claim("an UPSERT goes down, as an insert and as an update") { scene in
      try scene.adopt(.twoWay)
      try scene.begin(.one)
      try scene.merge(.edit(100, 1, "edge"))
      for key in [1, 2] {
        try scene.sql(
          "INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', \(key), 'up') ON CONFLICT (machine_id, id) DO UPDATE SET a = excluded.a"
        )
      }
      try scene.take()
      #expect(try scene.down(1)?.a == "up")
      #expect(try scene.down(1)?.edge == DownEvent.Mark(epoch: .one, version: 100))
      #expect(try scene.down(2)?.a == "up")
      #expect(try scene.down(2)?.edge == nil)
    },
    Claim("an UPSERT that finds its row and does nothing is no edit") { scene in
      try scene.adopt(.twoWay)
      try scene.begin(.one)
      try scene.merge(.edit(100, 1, "edge"))
      try scene.sql("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 1, 'up') ON CONFLICT DO NOTHING")
      try scene.take()
      #expect(try scene.down(1) == nil)
      #expect(try scene.version(1) == 100)
    },
    Claim("a program that writes all columns back as they are makes no edit") { scene in
      try scene.adopt(.twoWay)
      try scene.begin(.one)
      try scene.merge(.edit(100, 1, "edge", n: 5))
      let epoch = try #require(try scene.place.reader.rows(of: "stock").first?["drover_epoch"])
      guard case .integer(let number) = epoch else { return }
      try scene.sql(
        "UPDATE stock SET machine_id = 'MAH001', id = 1, a = 'edge', n = 5, drover_epoch = \(number), drover_version = 100 WHERE id = 1"
      )
      #expect(try scene.take() == [])
      #expect(try scene.down(1) == nil)
    },
    Claim("rows that one transaction edits many times go down once each, as they are in the end") { scene in
      try scene.adopt(.twoWay)
      try scene.begin(.one)
      try scene.merge(.edit(100, 1, "edge"), .edit(101, 2, "edge"), .edit(102, 3, "edge"))
      try scene.sql(
        """
        BEGIN;
        UPDATE stock SET a = 'x';
        UPDATE stock SET a = 'y' WHERE id < 3;
        DELETE FROM stock WHERE id = 2;
        INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 4, 'z');
        COMMIT
        """)
      try scene.take()
      let entries = try scene.down().entries
      #expect(Set(entries.map { Array($0.key)[0] }) == [1, 2, 3, 4] as Set<Value>)
      #expect(entries.count == 4)
      #expect(try scene.down(1)?.a == "y")
      #expect(try scene.down(2)?.content == Content.none)
      #expect(try scene.down(3)?.a == "x")
      #expect(try scene.down(2)?.edge == DownEvent.Mark(epoch: .one, version: 101))
    },
    Claim("what is rolled back was no edit") { scene in
      try scene.adopt(.twoWay)
      try scene.merge(.edit(100, 1, "edge"))
      try scene.sql("BEGIN; UPDATE stock SET a = 'x'; ROLLBACK")
      #expect(try scene.take() == [])
      #expect(try scene.row(1) == "edge 0")
    },
    Claim("a row that was deleted and inserted again has one edit, which has seen the machine's") { scene in
      try scene.adopt(.twoWay)
      try scene.begin(.one)
      try scene.merge(.edit(100, 1, "edge"))
      try scene.sql(
        "DELETE FROM stock WHERE id = 1; INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 1, 'anew')")
      try scene.take()
      #expect(try scene.down().entries.count == 1)
      #expect(try scene.down(1)?.a == "anew")
      #expect(try scene.down(1)?.edge == DownEvent.Mark(epoch: .one, version: 100))
    },
    Claim("a row that was inserted and deleted before anybody saw it goes nowhere") { scene in
      try scene.adopt(.twoWay)
      try scene.sql("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 9, 'x'); DELETE FROM stock WHERE id = 9")
      try scene.take()
      #expect(try scene.down().entries.isEmpty)
    },
    Claim("a row that the machine deleted and a person inserts again has seen the delete") { scene in
      try scene.adopt(.twoWay)
      try scene.begin(.one)
      try scene.merge(.edit(100, 1, "edge"))
      try scene.merge(.edit(110, 1, nil))
      try scene.sql("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 1, 'anew')")
      try scene.take()
      #expect(try scene.down(1)?.edge == DownEvent.Mark(epoch: .one, version: 110))
    },
    Claim("another key is a delete and an insert") { scene in
      try scene.adopt(.twoWay)
      try scene.begin(.one)
      try scene.merge(.edit(100, 1, "edge"))
      try scene.sql("UPDATE stock SET id = 8 WHERE id = 1")
      try scene.take()
      #expect(try scene.down(1)?.content == Content.none)
      #expect(try scene.down(1)?.edge == DownEvent.Mark(epoch: .one, version: 100))
      #expect(try scene.down(8)?.a == "edge")
      #expect(try scene.down(8)?.edge == nil, "the new key's row is none that the machine has edited")
    },
    Claim("an edit that waits is taken before an event of its stream is merged") { scene in
      try scene.adopt(.twoWay)
      try scene.begin(.one)
      try scene.merge(.edit(100, 1, "edge"))
      try scene.sql("UPDATE stock SET a = 'cloud' WHERE id = 1")
      try scene.merge(.edit(110, 1, "edge too"))
      #expect(try scene.conflicts().count == 1)
      #expect(try scene.take() == [])
    },
    Claim("columns that a person has added to the sink do not travel, and do not matter") { scene in
      try scene.adopt(.twoWay)
      try scene.begin(.one)
      try scene.merge(.edit(100, 1, "edge"))
      try scene.sql("ALTER TABLE stock ADD COLUMN remark TEXT")
      try scene.sql("UPDATE stock SET remark = 'mine' WHERE id = 1")
      #expect(try scene.take() == [])
      try scene.sql("UPDATE stock SET a = 'cloud', remark = 'too' WHERE id = 1")
      try scene.take()
      #expect(try scene.down(1)?.a == "cloud")
      guard case .row(let row)? = try scene.down(1)?.content else { return }
      #expect(row.count == 3)
    },
    Claim("columns that the stream gets later are captured too") { scene in
      try scene.adopt(.twoWay)
      try scene.begin(.one)
      try scene.merge(.edit(100, 1, "edge"))
      let wide = StreamSchema.twoWay(further: [("later", "TEXT")])
      try scene.adopt(wide)
      try scene.sql("UPDATE stock SET later = 'l' WHERE id = 1")
      #expect(try scene.take() == [.stock])
      guard case .row(let row)? = try scene.down(1)?.content else { return }
      #expect(Array(row) == [1, "edge", 0, "l"])
    },
    Claim("rows are known by keys of several columns, whatever their values") { scene in
      let schema = try StreamSchema(
        kind: .snapshot,
        columns: [
          Column(name: "place", declaredType: "TEXT"), Column(name: "id", declaredType: "INTEGER"),
          Column(name: "a", declaredType: "TEXT"),
        ], key: [0, 1], flow: Flow(direction: .both))
      try scene.adopt(schema)
      try scene.begin(.one)
      let event = SinkEvent(
        seq: nil, localID: "[\"north\",1]", version: 100, at: nil, key: ["north", 1],
        content: .row(["north", 1, "edge"]), raw: [])
      #expect(try scene.store.transaction { try $0.merge([event], epoch: .one, into: .table(schema)) } == [.applied])
      try scene.sql(
        """
        UPDATE stock SET a = 'cloud';
        INSERT INTO stock (machine_id, place, id, a) VALUES ('MAH001', 'it''s, "quoted"', 2, 'new'), ('MAH001', '', -3, 'new')
        """)
      try scene.take()
      let entries = try scene.down().entries
      #expect(
        Set(entries.map { Array($0.key) }) == [["north", 1], ["it's, \"quoted\"", 2], ["", -3]] as Set<[Value]>)
      #expect(entries.first { $0.key[1] == 1 }?.edge == DownEvent.Mark(epoch: .one, version: 100))
      #expect(entries.allSatisfy { $0.content != .none })
    },
    Claim("an edit of a NULL and to a NULL is one") { scene in
      try scene.adopt(.twoWay)
      try scene.merge(.edit(100, 1, "edge"))
      try scene.sql("UPDATE stock SET a = NULL WHERE id = 1")
      #expect(try scene.take() == [.stock])
      try scene.sql("UPDATE stock SET a = 'x' WHERE id = 1")
      #expect(try scene.take() == [.stock])
    },
  ]

  package static let refusing: [Claim] = [
    Claim("an UPDATE of a bookkeeping column is refused at once, with a sentence") { scene in
      try scene.adopt(.twoWay)
      try scene.merge(.edit(100, 1, "edge"))
      for change in ["drover_version = 5", "drover_epoch = 9", "machine_id = 'MAH002'"] {
        let refusal = scene.refusal("UPDATE stock SET \(change) WHERE id = 1")
        #expect(refusal?.contains("drover: ") == true, "\(change): \(refusal ?? "passes")")
      }
      #expect(try scene.take() == [])
      #expect(try scene.version(1) == 100)
    },
    Claim("a complete row is not changed, not deleted and not replaced; the rest of its table is") { scene in
      let schema = StreamSchema.twoWay(kind: .batch, completeWhen: "n = 1")
      try scene.adopt(schema)
      try scene.merge(.edit(100, 1, "done", n: 1), .edit(101, 2, "open"), schema: schema)
      for statement in [
        "UPDATE stock SET a = 'x' WHERE id = 1", "UPDATE stock SET n = 0 WHERE id = 1",
        "DELETE FROM stock WHERE id = 1",
        "UPDATE stock SET id = 5 WHERE id = 1",
        "INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 1, 'x') ON CONFLICT (machine_id, id) DO UPDATE SET a = excluded.a",
      ] {
        let refusal = scene.refusal(statement)
        #expect(refusal?.contains("drover: ") == true && refusal?.contains("complete") == true, "\(statement)")
      }
      try scene.sql("UPDATE stock SET a = a WHERE id = 1")
      try scene.sql("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 1, 'x') ON CONFLICT DO NOTHING")
      try scene.sql("UPDATE stock SET a = 'still open' WHERE id = 2")
      try scene.sql("UPDATE stock SET n = 1 WHERE id = 2")
      try scene.take()
      #expect(try scene.down(1) == nil)
      #expect(try scene.down(2)?.a == "still open")
    },
    // PostgreSQL decided nothing about a column whose values have no one class there, such as a TIMESTAMP, so that complete rows could be edited.
    Claim("whether a row is complete is decided for columns of every declared type as SQLite decides it") { scene in
      func schema(_ condition: String) -> StreamSchema {
        .twoWay(
          kind: .batch, completeWhen: condition,
          further: [("at", "TIMESTAMP"), ("paid", "BOOLEAN"), ("price", "DECIMAL(10,2)"), ("anything", "")])
      }
      let rows: [(values: [Value], holds: [String], fails: [String])] = [
        (
          ["2026-01-02 03:04:05", 1, .real(12.5), "x"],
          [
            "at IS NOT NULL", "at = '2026-01-02 03:04:05'", "at > '2026-01-01'", "at > 5", "paid = 1", "paid IS 1",
            "price >= 12.5", "price = 12.50 AND NOT paid = 0", "anything = 'x'", "anything IN (5, 'x')", "anything > 5",
            "anything IS NOT 5",
          ],
          [
            "at IS NULL", "at < '2026'", "at = 5", "paid <> 1", "price < 12.5", "anything = 5", "anything IS NULL",
            "anything = x'78'",
          ]
        ),
        (
          [1_700_000_000, 0, 10, 5],
          [
            "at = 1700000000", "at >= 1699999999.5", "price = 10", "anything = 5.0", "anything > 4.5", "anything < 'a'",
          ],
          ["at > 'a'", "paid = 1", "anything = '5'", "anything IS NULL", "at IS NULL"]
        ),
        (
          [.null, .null, .null, .blob([0, 0xff])],
          ["at IS NULL", "anything = x'00ff'", "anything > 'zzz'", "price IS NULL AND paid IS NULL", "at IS NOT 5"],
          ["at = 5", "at <> 5", "at IS NOT NULL", "price < 5", "anything IS NULL", "anything = x'00'"]
        ),
      ]
      try scene.adopt(schema("n = 99"))
      for (index, row) in rows.enumerated() {
        var event = SinkEvent.edit(Int64(100 + index), Int64(index), "x")
        event.content = .row(Values([.integer(Int64(index)), "x", 0] + row.values))
        #expect(try scene.merge(event, schema: schema("n = 99")) == [.applied])
      }
      for (index, row) in rows.enumerated() {
        for condition in row.holds + row.fails {
          try scene.adopt(schema(condition))
          let refusal = scene.refusal("UPDATE stock SET a = a || 'y' WHERE id = \(index)")
          #expect(
            (refusal?.contains("complete") ?? false) == row.holds.contains(condition), "row \(index): \(condition)")
        }
      }
    },
    Claim("a row of a machine that does not exist, or whose stream only goes up, is refused") { scene in
      try scene.adopt(.twoWay)
      try scene.adopt(.twoWay(.up), machine: .b)
      let outcome = try scene.merge(.edit(100, 1, "b's"), schema: .twoWay(.up), machine: .b)
      #expect(outcome == [.applied], "what the consumer writes is refused")
      for statement in [
        "INSERT INTO stock (machine_id, id, a) VALUES ('NONE', 1, 'x')",
        "INSERT INTO stock (machine_id, id, a) VALUES ('MAH002', 2, 'x')",
        "UPDATE stock SET a = 'x' WHERE machine_id = 'MAH002'", "DELETE FROM stock WHERE machine_id = 'MAH002'",
      ] {
        let refusal = scene.refusal(statement)
        #expect(refusal?.contains("drover: ") == true, "\(statement)")
      }
      #expect(try scene.take() == [])
      #expect(try scene.merge(.edit(110, 1, nil), schema: .twoWay(.up), machine: .b) == [.applied])
    },
    Claim("an INSERT that gives a row bookkeeping of its own is refused") { scene in
      try scene.adopt(.twoWay)
      let refusal = scene.refusal(
        "INSERT INTO stock (machine_id, id, a, drover_epoch, drover_version) VALUES ('MAH001', 1, 'x', 1, 999)")
      #expect(refusal?.contains("drover: ") == true)
    },
  ]

  package static let numbering: [Claim] = [
    Claim("numbers rise, and a row that is edited again has only its newest") { scene in
      try scene.adopt(.twoWay)
      for key in 1...3 { try scene.sql("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', \(key), 'x')") }
      try scene.take()
      #expect(try scene.down().entries.map(\.seq) == [1, 2, 3])
      try scene.sql("UPDATE stock SET a = 'y' WHERE id = 1")
      try scene.take()
      let read = try scene.down()
      #expect(read.entries.map(\.seq) == [2, 3, 4])
      #expect(read.last == 4 && read.scannedThrough == 4)
      #expect(read.entries.last?.a == "y")
    },
    Claim("each machine has numbers of its own") { scene in
      try scene.adopt(.twoWay)
      try scene.adopt(.twoWay, machine: .b)
      try scene.sql("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 1, 'x'), ('MAH002', 1, 'y')")
      try scene.take()
      #expect(try scene.down(machine: .a).entries.map(\.seq) == [1])
      #expect(try scene.down(machine: .b).entries.map(\.a) == ["y"])
    },
    Claim("a transaction tells whose numbers it has raised, and no other does") { scene in
      try scene.adopt(.twoWay)
      try scene.adopt(.twoWay, machine: .b)
      try scene.sql(
        "INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 1, 'x'), ('MAH001', 2, 'x'), ('MAH002', 1, 'y')")
      let raised = try scene.transaction { transaction in
        _ = try transaction.takeEdits(limit: 1000)
        return transaction.raised
      }
      #expect(
        raised == [
          MachineStream(machine: .a, stream: .stock): 2, MachineStream(machine: .b, stream: .stock): 1,
        ])
      #expect(try scene.transaction { $0.raised } == [:])
      // Edits of others are taken before an event is merged, and have to be sent as well.
      try scene.sql("UPDATE stock SET a = 'z' WHERE machine_id = 'MAH001' AND id = 1")
      try scene.begin(.one)
      let merging = try scene.transaction { transaction in
        _ = try transaction.merge([.edit(100, 9, "edge")], epoch: .one, into: .table(.twoWay, machine: .a))
        return transaction.raised
      }
      #expect(merging == [MachineStream(machine: .a, stream: .stock): 3])
    },
    Claim("edits beyond the limit are left for the next call") { scene in
      try scene.adopt(.twoWay)
      try scene.sql(
        "INSERT INTO stock (machine_id, id, a) VALUES "
          + (1...10).map { "('MAH001', \($0), 'x')" }.joined(separator: ", "))
      let first = try scene.transaction { try $0.takeEdits(limit: 4) }
      #expect(first.streams == [.stock] && first.hasMore)
      #expect(try scene.down().entries.count == 4)
      try scene.take()
      #expect(try scene.down().entries.count == 10)
    },
    Claim(
      "a transaction that stays open is numbered after its commit, and hides nothing that is committed meanwhile",
      needsSeveralWriters: true
    ) { scene in
      try scene.adopt(.twoWay)
      try scene.sql(
        "INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 1, 'x'), ('MAH001', 2, 'x'), ('MAH001', 3, 'x')")
      try scene.take()
      try scene.sql("BEGIN; UPDATE stock SET a = 'late' WHERE id = 1")
      try scene.place.otherClient.run("UPDATE stock SET a = 'meanwhile' WHERE id = 2")
      try scene.take()
      #expect(try scene.down(1)?.a == "x")
      #expect(try scene.down().entries.map(\.seq).max() == 4)
      try scene.sql("COMMIT")
      try scene.take()
      #expect(try scene.down(after: 4).entries.map(\.a) == ["late"])
    },
    Claim("a transaction that the consumer rolls back has numbered nothing") { scene in
      try scene.adopt(.twoWay)
      try scene.sql("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', 1, 'x')")
      struct Stop: Error {}
      #expect(throws: Stop.self) {
        try scene.transaction { transaction in
          _ = try transaction.takeEdits(limit: 10)
          throw Stop()
        }
      }
      #expect(try scene.take() == [.stock])
      #expect(try scene.down().entries.map(\.seq) == [1])
    },
  ]
}
