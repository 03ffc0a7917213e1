// The claims on the edge's store, one list for each role of `EdgeStore`.

import DroverCore
import Testing

extension EdgeStoreConformance {
  /// `CapturedStreams`
  static let capturedStreams: [Claim] = [
    Claim("the streams are those that are declared, and a stream's number is never another's") { scene in
      var store = try scene.open(.table("t"), .fed("f"))
      #expect(store.streams.map(\.name) == [.named("t"), .named("f")])
      #expect(store.streams.map { $0.schema == nil } == [false, true])
      #expect(store.gaps.isEmpty && store.waits.isEmpty)
      let numbers = store.streams.map(\.number)
      store = try scene.open(.fed("g"), .table("t"))
      #expect(store.streams.map(\.name) == [.named("g"), .named("t")])
      #expect(store.streams[1].number == numbers[0] && !numbers.contains(store.streams[0].number))
    },
    Claim("a stream whose table is not there waits, the others go on, and a look finds it") { scene in
      let store = try scene.settled(.table("later"), .table("t"))
      #expect(store.waits.map(\.stream) == [.named("later")])
      try scene.app.run("INSERT INTO t (id, v) VALUES (1, 'a')")
      #expect(try scene.waiting(store) == ["1: 1 a"])
      try scene.app.run("CREATE TABLE later (id INTEGER PRIMARY KEY)")
      #expect(try store.refresh())
      #expect(store.waits.isEmpty && store.streams[0].schema?.columns.map(\.name) == ["id"])
    },
    Claim("a commit of another connection is news once") { scene in
      let store = try scene.settled(.table("t"))
      _ = try store.hasChanged()
      #expect(try !store.hasChanged())
      try scene.app.run("INSERT INTO t (id) VALUES (1)")
      #expect(try store.hasChanged())
      #expect(try !store.hasChanged())
    },
    Claim("a table that was changed is looked at anew before anything is read of it") { scene in
      let store = try scene.settled(.table("t"))
      try scene.app.run("ALTER TABLE t ADD COLUMN w; INSERT INTO t (id, v, w) VALUES (1, 'a', 2)")
      #expect {
        _ = try store.hasChanged()
      } throws: {
        if case EdgeStoreError.schemaChanged = $0 { true } else { false }
      }
      #expect(try store.refresh())
      #expect(store.streams[0].schema?.columns.map(\.name) == ["id", "v", "synced", "w"])
      #expect(try !store.refresh())
    },
  ]

  /// `EdgeEpochs`
  static let epochs: [Claim] = [
    Claim("each start is a newer run of the same epoch, and knows how far the ones before have read") { scene in
      let first = try scene.settled(.table("t"))
      try scene.app.run("INSERT INTO t (id) VALUES (1), (2)")
      #expect(try scene.all(first).lastSeq == 2)
      let run = try #require(first.runs.newest)
      #expect(run.reached == 2)
      let second = try scene.open(.table("t"))
      #expect(second.epoch == first.epoch)
      #expect(try #require(second.runs.newest).number > run.number)
      #expect(second.runs.list.contains(run))
    },
    Claim("a new epoch has nothing confirmed, and all rows come again") { scene in
      let store = try scene.settled(.table("t"))
      try scene.app.run("INSERT INTO t (id, v) VALUES (1, 'a'), (2, 'b'), (3, 'c')")
      _ = try scene.all(store)
      try scene.acknowledge(store, 2, 3)
      try scene.confirm(store, 1, 1)
      let epoch = store.epoch
      try store.startEpoch(because: "the test asks for it", wasRestored: false)
      #expect(store.epoch != epoch)
      #expect(try store.confirmed().values.allSatisfy(\.isEmpty) && store.acknowledged().values.allSatisfy(\.isEmpty))
      while try store.backfill(limit: 10) {}
      let keys = try scene.all(store).entries.map { EdgeStoreConformance.Scene.text($0.key[0]) }
      #expect(Set(keys) == ["1", "2", "3"] && keys.count == 3)
      #expect(try scene.open(.table("t")).epoch == store.epoch)
    },
  ]

  /// `Outbox`
  static let outbox: [Claim] = [
    Claim("entries come in the order of their commits, with what their rows hold now") { scene in
      let store = try scene.settled(.table("t"))
      try scene.app.run("INSERT INTO t (id, v) VALUES (1, 'a'), (2, 'b'), (3, 'c')")
      try scene.app.run("UPDATE t SET v = 'z' WHERE id = 1; DELETE FROM t WHERE id = 2")
      #expect(try scene.waiting(store) == ["3: 3 c", "4: 1 z", "5: 2 gone"])
      let read = try scene.all(store)
      #expect(read.lastSeq == 5 && read.scannedThrough == 5)
      #expect(read.entries.map(\.version) == read.entries.map(\.version).sorted())
    },
    Claim("a read that stops early says up to where it has looked, and the next one goes on there") { scene in
      let store = try scene.settled(.table("t"))
      for id in 1...7 { try scene.app.run("INSERT INTO t (id, v) VALUES (\(id), hex(zeroblob(500)))") }
      for (limit, bytes) in [(3, Int.max), (1000, 2500)] {
        var seqs: [Int64] = []
        var after: Int64 = 0
        while after < 7 {
          let read = try store.read(.fresh(after: after, through: .max, limit: limit), maximumBytes: bytes)
          #expect(read.entries.count < 7 && read.scannedThrough > after)
          guard read.scannedThrough > after else { break }
          seqs += read.entries.map(\.seq)
          after = read.scannedThrough
        }
        #expect(seqs == [1, 2, 3, 4, 5, 6, 7])
      }
    },
    Claim("what the broker has is not fresh, comes again when it is asked for, and sets the app's column") { scene in
      let declared = StreamDeclaration.table("t") { $0.syncedColumn = "synced" }
      let store = try scene.settled(declared)
      try scene.app.run("INSERT INTO t (id, v) VALUES (1, 'a'), (2, 'b'), (3, 'c')")
      try scene.acknowledge(store, 1, 2)
      #expect(try scene.waiting(store) == ["3: 3 c"])
      let again = try store.read(
        .again(stream: 1, interval: Interval(after: 1, through: 3), limit: 10), maximumBytes: .max)
      #expect(again.entries.map(\.seq) == [2, 3])
      #expect(try scene.app.integer("SELECT sum(synced * id) FROM t") == 3)
      let next = try scene.open(declared)
      #expect(try next.acknowledged()[1] == IntervalSet([Interval(after: 0, through: 2)]))
    },
    Claim("what the cloud has is forgotten, and known beyond a gap to the next start") { scene in
      let store = try scene.settled(.table("t"))
      try scene.app.run("INSERT INTO t (id, v) VALUES (1, 'a'), (2, 'b'), (3, 'c')")
      try scene.confirm(store, 1, 1)
      try scene.confirm(store, 3, 3, front: 1)
      #expect(try scene.waiting(store) == ["2: 2 b"])
      let known = IntervalSet([Interval(after: 0, through: 1), Interval(after: 2, through: 3)])
      #expect(try store.confirmed()[1] == known)
      #expect(try scene.open(.table("t")).confirmed()[1] == known)
    },
    Claim(
      "settling one stream leaves the others alone",
      "CREATE TABLE t (id PRIMARY KEY, v); CREATE TABLE u (id PRIMARY KEY, v)"
    ) {
      scene in
      let store = try scene.settled(.table("t"), .table("u"))
      try scene.app.run("INSERT INTO t VALUES (1, 'a'); INSERT INTO u VALUES (2, 'b')")
      try scene.confirm(store, 1, 2, stream: store.streams[0].number)
      #expect(try scene.waiting(store) == ["2: 2 b"])
      try scene.acknowledge(store, 1, 2, stream: store.streams[1].number)
      #expect(try scene.waiting(store) == [])
    },
    Claim("an event that cannot be sent leaves the outbox, unless a newer one has taken its place") { scene in
      let store = try scene.settled(.table("t"))
      try scene.app.run("INSERT INTO t (id, v) VALUES (1, 'a'), (2, 'b'); UPDATE t SET v = 'z' WHERE id = 1")
      #expect(try !store.moveToDeadLetters(unsendable(1)))
      #expect(try store.moveToDeadLetters(unsendable(2)))
      #expect(try !store.moveToDeadLetters(unsendable(2)))
      #expect(try scene.waiting(store) == ["3: 1 z"])
      #expect(try store.outboxFigures().deadLetters == 1)
    },
    Claim("at the limit of the dead letters an event stays in the outbox") { scene in
      let store = try scene.open(.table("t"), letters: DeadLetterBounds(maxCount: 1))
      try scene.app.run("INSERT INTO t (id, v) VALUES (1, 'a'), (2, 'b')")
      #expect(try store.moveToDeadLetters(unsendable(1)))
      #expect {
        _ = try store.moveToDeadLetters(unsendable(2))
      } throws: {
        if case EdgeStoreError.noSpace = $0 { true } else { false }
      }
      #expect(try scene.waiting(store) == ["2: 2 b"])
    },
    Claim("while the app holds the lock nothing is settled, and the error says so") { scene in
      let store = try scene.settled(.table("t"))
      try scene.app.run("INSERT INTO t (id, v) VALUES (1, 'a')")
      try scene.app.run("BEGIN IMMEDIATE")
      #expect {
        try scene.confirm(store, 1, 1)
      } throws: {
        if case EdgeStoreError.busy = $0 { true } else { false }
      }
      try scene.app.run("COMMIT")
      #expect(try scene.waiting(store) == ["1: 1 a"])
    },
  ]

  private static func unsendable(_ seq: Int64) -> UnsendableEvent {
    UnsendableEvent(stream: 1, seq: seq, reason: .tooLarge, detail: "too large", bytes: 5000)
  }

  /// `Backfill`
  static let backfill: [Claim] = [
    Claim("rows that were there before enter the outbox in pieces, each once") { scene in
      for id in 1...5 { try scene.app.run("INSERT INTO t (id, v) VALUES (\(id), 'a')") }
      let store = try scene.open(.table("t"))
      #expect(store.hasBackfill && store.backfillRate == nil)
      var pieces = 1
      while try store.backfill(limit: 2) { pieces += 1 }
      #expect(pieces >= 3 && !store.hasBackfill)
      #expect(try scene.waiting(store) == (1...5).map { "\($0): \($0) a" })
      #expect(try !scene.open(.table("t")).hasBackfill)
    },
    Claim("an order sends the rows that it asks for, at its rate, and says how far it is") { scene in
      try scene.app.run("INSERT INTO t (id, v) VALUES (1, 5), (2, 7), (3, 9)")
      let store = try scene.settled(.table("t"))
      #expect(try store.resyncProgress(stream: 1) == nil)
      let order = ResyncOrder(condition: try Condition(parsing: "v > 6"), rate: 100)
      let begun = try store.resync(order, stream: 1)
      #expect(begun.total == 3 && begun.looked == 0 && !begun.isDone)
      #expect(store.hasBackfill && store.backfillRate == 100)
      while try store.backfill(limit: 2) {}
      let progress = try #require(try store.resyncProgress(stream: 1))
      #expect(progress.isDone && progress.looked == 3 && progress.entered == 2)
      #expect(try scene.all(store).entries.map { EdgeStoreConformance.Scene.text($0.key[0]) } == ["2", "3"])
      #expect(!store.hasBackfill && store.backfillRate == nil)
    },
  ]

  /// `ComparedRows`
  static let comparedRows: [Claim] = [
    Claim("a survey shows each row once, with the digest that the row has by itself") { scene in
      try scene.app.run("INSERT INTO t (id, v) VALUES (1, 'a'), (2, 'b'), (3, 'a'), (4, NULL), (5, 2.5)")
      let store = try scene.settled(.table("t"))
      var seen: [Int64: UInt64] = [:]
      var cursor: [Value]? = []
      while let place = cursor {
        cursor = try store.survey(stream: 1, after: place, limit: 2) { key, digest in
          guard case .integer(let id)? = key.first else { return }
          #expect(seen[id] == nil)
          seen[id] = digest
        }
      }
      #expect(seen.keys.sorted() == [1, 2, 3, 4, 5])
      let alone = try store.states(of: (1...5).map { [.integer($0)] }, stream: 1)
      #expect(alone.map(\.digest) == (1...5).map { seen[$0] })
      try scene.app.run("UPDATE t SET v = 'c' WHERE id = 2")
      let now = try store.states(of: [[2], [1], [9]], stream: 1)
      #expect(now.map { $0.digest == nil } == [false, false, true])
      #expect(now[0].digest != seen[2] && now[1].digest == seen[1])
    },
    Claim("one column's values are shown as they would be sent, each once") { scene in
      try scene.app.run("INSERT INTO t (id, v) VALUES (1, 'a'), (2, 'b'), (3, 'a'), (4, NULL), (5, 2.5)")
      let store = try scene.settled(.table("t"))
      let column = try #require(store.streams[0].schema?.columns.firstIndex { $0.name == "v" })
      var tally = Tally()
      var cursor: [Value]? = []
      while let place = cursor {
        cursor = try store.values(of: column, stream: 1, after: place, limit: 2) { tally.add($0) }
      }
      #expect(tally.counts == [.text("a"): 2, .text("b"): 1, .null: 1, .real(2.5): 1])
    },
    // A table of a million rows that a machine had just begun to send counted as drift, and a repair sent its rows once more.
    Claim("as long as a table is walked, each of its rows waits") { scene in
      try scene.app.run("INSERT INTO t (id, v) VALUES (1, 'a'), (2, 'b'), (3, 'c')")
      let store = try scene.settled(.table("t"))
      _ = try store.resync(ResyncOrder(), stream: 1)
      #expect(try store.states(of: [[1], [3]], stream: 1).map(\.isWaiting) == [true, true])
      while try store.backfill(limit: 2) {}
      try scene.confirm(store, 1, try scene.all(store).lastSeq)
      #expect(try store.states(of: [[1], [3]], stream: 1).map(\.isWaiting) == [false, false])
    },
    Claim("a row waits until its event is confirmed") { scene in
      let store = try scene.settled(.table("t"))
      try scene.app.run("INSERT INTO t (id) VALUES (1)")
      #expect(try store.states(of: [[1]], stream: 1).map(\.isWaiting) == [true])
      try scene.acknowledge(store, 1, 1)
      #expect(try store.states(of: [[1]], stream: 1).map(\.isWaiting) == [true])
      try scene.confirm(store, 1, 1)
      #expect(try store.states(of: [[1]], stream: 1).map(\.isWaiting) == [false])
    },
    Claim("a row that is entered is sent as it is now, and a delete where it is gone") { scene in
      try scene.app.run("INSERT INTO t (id, v) VALUES (1, 'a')")
      let store = try scene.settled(.table("t"))
      let before = try scene.all(store).lastSeq
      try store.enter([[1], [2]], stream: 1)
      #expect(try scene.waiting(store) == ["\(before + 1): 1 a", "\(before + 2): 2 gone"])
    },
    Claim("a fact that is gone is not entered", "CREATE TABLE t (id INTEGER PRIMARY KEY, v)") { scene in
      try scene.app.run("INSERT INTO t VALUES (1, 'a')")
      let store = try scene.settled(.table("t", .payload))
      let before = try scene.all(store).lastSeq
      try store.enter([[2], [1]], stream: 1)
      let entries = try scene.all(store).entries
      #expect(entries.map { EdgeStoreConformance.Scene.text($0.key[0]) } == ["1"])
      #expect(entries.allSatisfy { $0.seq > before })
    },
    Claim(
      "the digest of a unit that may be complete is of its row and its lines",
      "CREATE TABLE h (id INTEGER PRIMARY KEY, v); CREATE TABLE l (id INTEGER PRIMARY KEY, h REFERENCES h (id), v)"
    ) { scene in
      let isComplete = try Condition(parsing: "v = 'done'")
      let store = try scene.settled(
        .table("h", .batch) {
          $0.completeWhen = isComplete
          $0.with = [LinesDeclaration(table: .named("l"))]
        })
      try scene.app.run("INSERT INTO h VALUES (1, 'a'), (2, 'b'); INSERT INTO l VALUES (1, 1, 'x'), (2, 2, 'y')")
      let entries = try scene.all(store).entries
      #expect(entries.map { $0.lines.map(\.count) } == [[1], [1]])
      func digests() throws -> [UnitDigest] {
        try store.states(of: [[1], [2]], stream: 1).map { try #require($0.unit) }
      }
      let before = try digests()
      try scene.app.run("UPDATE l SET v = 'z' WHERE id = 1")
      let after = try digests()
      #expect(before[0] != after[0] && before[1] == after[1])
    },
  ]

  /// `EdgeHealth`
  static let health: [Claim] = [
    Claim("the outbox's figures are of what is not confirmed") { scene in
      let store = try scene.settled(.table("t"))
      #expect(try store.outboxFigures().waiting == 0)
      try scene.app.run("INSERT INTO t (id) VALUES (1), (2), (3)")
      let oldest = try scene.all(store).entries[0].version
      try scene.acknowledge(store, 1, 2)
      let found = try store.outboxFigures()
      #expect(found.waiting == 3 && found.oldest == oldest && found.deadLetters == 0)
      try scene.confirm(store, 1, 3)
      #expect(try store.outboxFigures().waiting == 0)
      #expect(try store.outboxFigures().oldest == nil)
    },
    Claim("looking at the disk changes nothing of what waits") { scene in
      let store = try scene.settled(.table("t"))
      try scene.app.run("INSERT INTO t (id, v) VALUES (1, 'a')")
      try store.watchSpace()
      _ = store.lockHolders()
      #expect(try scene.waiting(store) == ["1: 1 a"])
    },
    Claim("versions follow the cloud's clock, and the order of events holds") { scene in
      let store = try scene.settled(.table("t"))
      let hour: Int64 = 3_600_000_000
      try scene.app.run("INSERT INTO t (id) VALUES (1)")
      try store.note(.measured(ahead: -hour))
      try scene.app.run("INSERT INTO t (id) VALUES (2)")
      try store.note(.measured(ahead: 0))
      try scene.app.run("INSERT INTO t (id) VALUES (3)")
      let versions = try scene.all(store).entries.map(\.version)
      #expect(versions[1] - versions[0] >= hour - 60_000_000)
      #expect(versions[2] > versions[1])
    },
    Claim("a trouble is noted and taken back") { scene in
      let store = try scene.settled(.table("t"))
      try store.note(Trouble(.session, since: 1, last: 2, count: 3), .session)
      try store.note(nil, .session)
      #expect(try scene.waiting(store) == [])
    },
  ]
}
