// What the change feed of every store must hold. The claims are written against the seam, as those of the store are.

package import DroverCore
import Testing

package struct ChangeFeedConformance {
  package struct Claim: Sendable, CustomTestStringConvertible {
    package let name: String
    fileprivate let check: @Sendable (Scene) throws -> Void

    fileprivate init(_ name: String, check: @escaping @Sendable (Scene) throws -> Void) {
      self.name = name
      self.check = check
    }

    package var testDescription: String { name }
  }

  /// A store that keeps a feed, and who reads it.
  package struct Place {
    package var store: any CloudStore
    package var changes: any ChangeReader
    package var rows: any CloudReader

    package init(store: any CloudStore, changes: any ChangeReader, rows: any CloudReader) {
      self.store = store
      self.changes = changes
      self.rows = rows
    }
  }

  package static let claims = reading + cursors + tables

  private let makePlace: (_ now: @escaping @Sendable () -> Int64) throws -> Place

  /// - Parameter makePlace: makes an empty store that keeps a change feed; it lives until the claim is checked.
  package init(makePlace: @escaping (_ now: @escaping @Sendable () -> Int64) throws -> Place) {
    self.makePlace = makePlace
  }

  package func check(_ claim: Claim) throws {
    let place = try makePlace { 1_795_000_000_000_000 }
    try claim.check(Scene(place: place, session: place.changes.open()))
  }

  fileprivate struct Scene {
    let place: Place
    let session: any ChangeSession

    func merge(_ sink: Sink, _ events: SinkEvent..., epoch: Epoch? = .one) throws -> [MergeOutcome] {
      try place.store.transaction { try $0.merge(events, epoch: epoch, into: sink) }
    }

    func adopt(_ schema: StreamSchema, _ stream: StreamName = .stock, machine: MachineID = .a) throws -> String? {
      try place.store.transaction { try $0.adopt(schema, machine: machine, stream: stream) }
    }

    func newest() throws -> ChangeCursor { try session.report().newest }

    /// Changes as `stream machine op key version`, up to a limit.
    func read(
      after cursor: ChangeCursor? = nil, _ stream: StreamName? = nil, of machine: MachineID? = nil, limit: Int = .max
    ) throws -> (lines: [String], page: ChangePage) {
      var lines: [String] = []
      let page = try session.read(ChangeQuestion(after: cursor, stream: stream, machine: machine)) { change in
        lines.append(Self.line(change))
        return lines.count < limit
      }
      return (lines, page)
    }

    private static func line(_ change: Change) -> String {
      func text(_ value: Value) -> String {
        if case .text(let bytes) = value { return String(decoding: bytes, as: UTF8.self) }
        if case .integer(let integer) = value { return "\(integer)" }
        return "\(value)"
      }
      switch change.content {
      case .delete(let key):
        return "\(change.sink.stream) \(key.machine) delete \(key.key.map(text).joined(separator: ",")) v\(key.version)"
      case .put(let row):
        let values: String =
          switch row.content {
          case .values(let values): values.map(text).joined(separator: ",")
          case .body(let id, let at, let body): "\(id),\(at ?? "-"),\(String(decoding: body, as: UTF8.self))"
          }
        return "\(change.sink.stream) \(row.machine) put \(values) v\(row.version)"
      }
    }

    /// Why a cursor is of no use any more.
    func gap(_ cursor: ChangeCursor, _ stream: StreamName? = nil) throws -> String? {
      do {
        _ = try read(after: cursor, stream)
        return nil
      } catch ChangesError.gone(let why) {
        return why
      }
    }
  }

  // MARK: Reading

  private static let reading = [
    Claim("rows of a machine that is forgotten are told to be gone") { scene in
      #expect(try scene.adopt(.columns("a")) == nil)
      _ = try scene.merge(.table(.columns("a")), .put(1, 1, "x"), .put(2, 2, "y"))
      #expect(try scene.adopt(.columns("a"), machine: .b) == nil)
      _ = try scene.merge(.table(.columns("a"), machine: .b), .put(3, 1, "z"))
      let before = try scene.newest()
      #expect(try scene.place.store.transaction { try $0.forgetMachine(.a, removesRows: true) } == 2)
      let (lines, _) = try scene.read(after: before)
      #expect(Set(lines) == ["stock MAH001 delete 1 v1", "stock MAH001 delete 2 v2"])
      #expect(try scene.read().lines == ["stock MAH002 put 1,z v3"])
    },
    Claim("a row that changed often comes once, as it is, in the order of the last changes") { scene in
      let sink = Sink.table(.columns("a"))
      _ = try scene.merge(sink, .put(1, 1, "x"), .put(2, 2, "y"))
      _ = try scene.merge(sink, .put(3, 1, "z"))
      let (lines, page) = try scene.read()
      #expect(lines == ["stock MAH001 put 2,y v2", "stock MAH001 put 1,z v3"])
      #expect(page.next == (try scene.newest()) && !page.hasMore)
      #expect(page.counts == ChangeCounts(puts: 3, deletes: 0))
      #expect(try scene.read(after: page.next).lines == [])
    },
    Claim("a delete comes to whoever may have had the row, and to nobody who begins with nothing") { scene in
      let sink = Sink.table(.columns("a"))
      _ = try scene.merge(sink, .put(1, 1, "x"), .put(2, 2, "y"))
      let cursor = try scene.newest()
      _ = try scene.merge(sink, .delete(3, 1))
      #expect(try scene.read(after: cursor).lines == ["stock MAH001 delete 1 v3"])
      #expect(try scene.read().lines == ["stock MAH001 put 2,y v2"])
      // Nor is a row that nobody ever had.
      let later = try scene.newest()
      _ = try scene.merge(sink, .delete(4, 7))
      #expect(try scene.read(after: later).lines == [])
      _ = try scene.merge(sink, .put(5, 1, "again"))
      #expect(try scene.read(after: cursor).lines.last == "stock MAH001 put 1,again v5")
      #expect(try scene.read(after: later).page.counts == ChangeCounts(puts: 3, deletes: 1))
    },
    Claim("pages of any size are the same changes") { scene in
      let sink = Sink.table(.columns("a"))
      for id in 1...20 { _ = try scene.merge(sink, .put(Int64(id), .integer(Int64(id)), "x")) }
      let cursor = try scene.newest()
      for id in 5...9 { _ = try scene.merge(sink, .delete(30, .integer(Int64(id)))) }
      for id in 1...3 { _ = try scene.merge(sink, .put(40, .integer(Int64(id)), "y")) }
      let all = try scene.read(after: cursor).lines
      #expect(all.count == 8)
      for limit in 1...9 {
        var lines: [String] = []
        var (place, hasMore) = (cursor, true)
        while hasMore {
          let read = try scene.read(after: place, limit: limit)
          lines += read.lines
          (place, hasMore) = (read.page.next, read.page.hasMore)
        }
        #expect(lines == all)
        #expect(place == (try scene.newest()))
      }
    },
    Claim("streams and machines can be followed alone, with one cursor for all") { scene in
      _ = try scene.merge(.table(.columns("a")), .put(1, 1, "x"))
      _ = try scene.merge(.bodies(.payload, .named("reading")), .body(2, "r", "{\"c\":1}", at: "now"))
      let cursor = try scene.newest()
      _ = try scene.merge(.table(.columns("a"), machine: .b), .put(3, 1, "z"))
      _ = try scene.merge(.bodies(.payload, .named("reading"), machine: .b), .body(4, "s", "2"))
      #expect(
        try scene.read().lines == [
          "stock MAH001 put 1,x v1", "reading MAH001 put r,now,{\"c\":1} v2", "stock MAH002 put 1,z v3",
          "reading MAH002 put s,-,2 v4",
        ])
      #expect(try scene.read(after: cursor, .stock).lines == ["stock MAH002 put 1,z v3"])
      #expect(try scene.read(.named("reading"), of: .a).lines == ["reading MAH001 put r,now,{\"c\":1} v2"])
      #expect(try scene.read(after: cursor, of: .a).lines == [])
      #expect(try scene.read(after: cursor, of: .a).page.next == (try scene.newest()))
      #expect(throws: ChangesError.unknownStream(.named("nothing"))) { try scene.read(.named("nothing")) }
      #expect(
        try scene.session.report().streams == [
          .init(stream: .named("reading"), kind: .payload, header: nil, counts: .init(puts: 2)),
          .init(stream: .stock, kind: .snapshot, header: nil, counts: .init(puts: 2)),
        ])
    },
    Claim("what changes nothing is no change") { scene in
      let sink = Sink.table(.columns("a"))
      _ = try scene.merge(sink, .put(5, 1, "x"))
      let newest = try scene.newest()
      #expect(
        try scene.merge(sink, .put(5, 1, "x"), .put(4, 1, "old"), .delete(3, 1)) == [
          .superseded, .superseded, .superseded,
        ])
      #expect(try scene.newest() == newest)
      let facts = Sink.table(.columns("a", kind: .payload), .named("fact"))
      #expect(try scene.merge(facts, .put(1, 1, "x"), .put(2, 1, "y"))[1].refusal == .conflict)
      #expect(try scene.read(after: newest).lines == ["fact MAH001 put 1,x v1"])
    },
    Claim("a transaction that fails leaves nothing") { scene in
      struct Mistake: Error {}
      let sink = Sink.table(.columns("a"))
      _ = try scene.merge(sink, .put(1, 1, "x"))
      let report = try scene.session.report()
      #expect(throws: Mistake.self) {
        try scene.place.store.transaction { transaction in
          _ = try transaction.merge([.put(2, 1, "y"), .put(2, 2, "y"), .delete(3, 2)], epoch: .one, into: sink)
          throw Mistake()
        }
      }
      #expect(try scene.session.report() == report)
      _ = try scene.merge(sink, .put(2, 3, "z"))
      #expect(try scene.read(after: report.newest).lines == ["stock MAH001 put 3,z v2"])
      #expect(try scene.session.report().streams[0].counts == ChangeCounts(puts: 2))
    },
    Claim("it is heard that something was committed") { scene in
      #expect(try scene.session.hasMoved())
      #expect(try !scene.session.hasMoved())
      _ = try scene.merge(.table(.columns("a")), .put(1, 1, "x"))
      #expect(try scene.session.hasMoved())
      #expect(try !scene.session.hasMoved())
    },
  ]

  // MARK: Cursors

  private static let cursors = [
    Claim("a cursor of another era, or ahead of the feed, is of no use") { scene in
      _ = try scene.merge(.table(.columns("a")), .put(1, 1, "x"))
      let newest = try scene.newest()
      #expect(try scene.gap(newest) == nil)
      #expect(try scene.gap(ChangeCursor(era: "other", number: 0))?.contains("begun again") == true)
      #expect(try scene.gap(ChangeCursor(era: newest.era, number: newest.number + 1))?.contains("ahead") == true)
    },
    Claim("whoever may have missed a delete that is forgotten has to begin again, and nobody else") { scene in
      let sink = Sink.table(.columns("a"))
      let other = Sink.table(.columns("a"), .named("other"))
      _ = try scene.merge(sink, .put(1, 1, "x"), .put(1, 2, "y"), .put(1, 3, "z"))
      _ = try scene.merge(other, .put(1, 1, "x"))
      let before = try scene.newest()
      _ = try scene.merge(sink, .delete(2, 1))
      let after = try scene.newest()
      // He has begun with nothing before the delete was forgotten, and after it was made.
      let midway = try scene.read(limit: 1).page
      #expect(midway.hasMore)
      let early = ChangeCursor(era: before.era, number: 1, start: before.number)
      try scene.place.store.transaction { try $0.retireTombstones(madeBefore: 1_795_000_000_000_000) }
      #expect(try scene.gap(before) == nil)
      try scene.place.store.transaction { try $0.retireTombstones(madeBefore: 1_795_000_000_000_001) }
      #expect(try scene.gap(before, .stock)?.contains("no longer knows them") == true)
      #expect(try scene.gap(before) != nil)
      #expect(try scene.gap(before, .named("other")) == nil)
      #expect(try scene.gap(early) != nil)
      #expect(try scene.gap(after) == nil)
      #expect(
        try scene.read(after: midway.next).lines == ["stock MAH001 put 3,z v1", "other MAH001 put 1,x v1"])
      #expect(try scene.read(.stock).lines.count == 2)
    },
    Claim("a table that is put aside ends what is behind its followers' cursors") { scene in
      _ = try scene.merge(.table(.columns("a")), .put(1, 1, "x"))
      _ = try scene.merge(.table(.columns("a"), .named("other")), .put(1, 1, "x"))
      let cursor = try scene.newest()
      let other = StreamSchema.make([("id", "INTEGER"), ("code", "TEXT")], key: [1])
      #expect(try scene.adopt(.columns("a")) == nil)
      #expect(try scene.adopt(other) != nil)
      #expect(try scene.place.store.transaction { try $0.accept(machine: .a, stream: .stock) } != nil)
      #expect(try scene.gap(cursor, .stock) != nil)
      #expect(try scene.gap(cursor) != nil)
      #expect(try scene.gap(cursor, .named("other")) == nil)
      #expect(try scene.read(.stock).lines == [])
      let anew = try scene.newest()
      _ = try scene.merge(.table(other), .row(5, [1, "c"], key: ["c"]))
      _ = try scene.merge(.table(other), .delete(6, "c"))
      #expect(try scene.read(after: anew).lines == ["stock MAH001 delete c v6"])
    },
    Claim("a key whose type changes is another name for its row: who knows the old ones has to begin again") { scene in
      let typed = StreamSchema.make([("id", "INTEGER"), ("a", "TEXT")], key: [0])
      #expect(try scene.adopt(typed) == nil)
      _ = try scene.merge(.table(typed), .put(1, 1, "x"))
      let cursor = try scene.newest()
      let texts = StreamSchema.make([("id", "TEXT"), ("a", "TEXT")], key: [0])
      #expect(try scene.adopt(texts, machine: .b) != nil)
      #expect(try scene.gap(cursor, .stock) == nil)
      #expect(try scene.adopt(texts) == nil)
      #expect(try scene.gap(cursor, .stock) != nil)
      #expect(try scene.read(.stock).lines == ["stock MAH001 put 1,x v1"])
    },
    // Whoever followed a PostgreSQL store knew the rows under their keys of before.
    Claim("a key that gets lives is another name for its row: who knows the old ones has to begin again") { scene in
      let (old, new) = (StreamSchema.columns("a TEXT", kind: .payload), StreamSchema.lives("a TEXT"))
      #expect(try scene.adopt(old) == nil)
      _ = try scene.merge(.table(old), .put(1, 1, "x"))
      let cursor = try scene.newest()
      #expect(try scene.adopt(old) == nil)
      #expect(try scene.gap(cursor, .stock) == nil)
      #expect(try scene.adopt(new) == nil)
      #expect(try scene.gap(cursor, .stock) != nil)
      #expect(try scene.read(.stock).lines.count == 1)
    },
  ]

  // MARK: Tables

  private static let sales = try! LineSchema(
    table: .named("sales"),
    columns: [Column(name: "no", declaredType: "INTEGER"), Column(name: "receipt", declaredType: "INTEGER")],
    key: [0], references: [1])
  private static let receipts = try! StreamSchema(
    kind: .batch,
    columns: [Column(name: "id", declaredType: "INTEGER"), Column(name: "closed", declaredType: "INTEGER")],
    key: [0], completeWhen: Condition(parsing: "closed = 1"), lines: [sales])

  private static func receipt(_ version: Int64, _ id: Value, _ closed: Value, sales: Value...) -> SinkEvent {
    SinkEvent(
      seq: nil, localID: "\(id)", version: version, at: nil, key: [id], content: .row([id, closed]),
      lines: [sales.map { [$0, id] }], raw: [])
  }

  private static let tables = [
    Claim("lines are a stream of their own, in which those that a header has no more are deleted") { scene in
      let sink = Sink(machine: .a, stream: .named("receipts"), kind: .batch, schema: receipts)
      _ = try scene.merge(sink, receipt(1, 1, 0, sales: 10, 11))
      let cursor = try scene.newest()
      _ = try scene.merge(sink, receipt(2, 1, 0, sales: 11, 12))
      #expect(
        try Set(scene.read(after: cursor).lines) == [
          "receipts MAH001 put 1,0 v2", "sales MAH001 put 11,1 v2", "sales MAH001 put 12,1 v2",
          "sales MAH001 delete 10 v2",
        ])
      let later = try scene.newest()
      _ = try scene.merge(sink, .delete(3, 1))
      #expect(
        try Set(scene.read(after: later).lines) == [
          "receipts MAH001 delete 1 v3", "sales MAH001 delete 11 v3", "sales MAH001 delete 12 v3",
        ])
      #expect(
        try scene.session.report().streams == [
          .init(stream: .named("receipts"), kind: .batch, header: nil, counts: .init(puts: 2, deletes: 1)),
          .init(stream: .named("sales"), kind: .batch, header: .named("receipts"), counts: .init(puts: 4, deletes: 3)),
        ])
    },
    Claim("a unit that is refused leaves nothing in the feed") { scene in
      let sink = Sink(machine: .a, stream: .named("receipts"), kind: .batch, schema: receipts)
      #expect(try scene.adopt(receipts, .named("receipts")) == nil)
      _ = try scene.merge(sink, receipt(1, 1, 1, sales: 10), receipt(1, 2, 0, sales: 20))
      let report = try scene.session.report()
      // 10 belongs to what is complete; the header alone would be taken.
      #expect(try scene.merge(sink, receipt(5, 2, 0, sales: 21, 10))[0].refusal == .frozen)
      // A delete of what is complete retires it at the machine and changes nothing here.
      #expect(try scene.merge(sink, .delete(6, 1)) == [.superseded])
      #expect(try scene.session.report().streams == report.streams)
      #expect(try scene.read(after: report.newest).lines == [])
    },
    Claim("a fact that gets the value of a later column is a change") { scene in
      let before = StreamSchema.columns("a", kind: .payload)
      let after = StreamSchema.columns("a", "b", kind: .payload)
      #expect(try scene.adopt(before) == nil)
      _ = try scene.merge(.table(before), .put(1, 1, "x"))
      #expect(try scene.adopt(after) == nil)
      let cursor = try scene.newest()
      #expect(try scene.merge(.table(after), .put(2, 1, "x", 7)) == [.applied])
      #expect(try scene.read(after: cursor).lines == ["stock MAH001 put 1,x,7 v2"])
    },
    Claim("of rows that are matched, those that are shown are in the feed") { scene in
      let schema = try! StreamSchema(
        kind: .snapshot,
        columns: [
          Column(name: "id", declaredType: "INTEGER"), Column(name: "code", declaredType: "TEXT"),
          Column(name: "price", declaredType: "INTEGER"),
        ], key: [0], naturalKey: NaturalKey(columns: ["code"], fallback: []))
      for machine in [MachineID.a, .b] { #expect(try scene.adopt(schema, machine: machine) == nil) }
      _ = try scene.merge(.table(schema), .put(1, 1, "c", 10))
      let cursor = try scene.newest()
      // The same thing, newer, from another machine, under the key that brought it first.
      _ = try scene.merge(.table(schema, machine: .b), .put(2, 7, "c", 20))
      #expect(try scene.read(after: cursor).lines == ["stock MAH001 put 1,c,20 v2"])
      let second = try scene.newest()
      _ = try scene.merge(.table(schema), .put(1, 2, "c", 10))
      _ = try scene.merge(.table(schema), .delete(9, 1))
      #expect(
        try scene.read(after: second).lines == ["stock MAH001 delete 1 v2", "stock MAH002 put 7,c,20 v2"])
      let third = try scene.newest()
      _ = try scene.merge(.table(schema, machine: .b), .delete(10, 7))
      #expect(try scene.read(after: third).lines == ["stock MAH002 delete 7 v2"])
    },
    Claim("to be matched, and no more, deletes what is not shown any more, and changes nothing for others") { scene in
      func schema(_ key: NaturalKey?) -> StreamSchema {
        try! StreamSchema(
          kind: .snapshot,
          columns: [Column(name: "id", declaredType: "INTEGER"), Column(name: "code", declaredType: "TEXT")], key: [0],
          naturalKey: key)
      }
      let code = try NaturalKey(columns: ["code"], fallback: [])
      for machine in [MachineID.a, .b] { #expect(try scene.adopt(schema(nil), machine: machine) == nil) }
      _ = try scene.merge(.table(schema(nil)), .put(1, 1, "c"), .put(1, 2, "d"))
      _ = try scene.merge(.table(schema(nil), machine: .b), .put(2, 7, "c"))
      let cursor = try scene.newest()
      #expect(try scene.adopt(schema(code)) != nil)
      #expect(try scene.read(after: cursor).lines == [])
      #expect(try scene.place.store.transaction { try $0.accept(machine: .a, stream: .stock) } != nil)
      let matched = try scene.read(after: cursor).lines
      #expect(Set(matched) == ["stock MAH002 delete 7 v2", "stock MAH001 put 1,c v2", "stock MAH001 put 2,d v1"])
      let second = try scene.newest()
      #expect(try scene.adopt(schema(nil)) == nil)
      #expect(
        try Set(scene.read(after: second).lines) == [
          "stock MAH001 put 1,c v1", "stock MAH001 put 2,d v1", "stock MAH002 put 7,c v2",
        ])
    },
    Claim("a row whose key becomes another one that is equal is deleted under the first") { scene in
      let schema = StreamSchema.make([("id", ""), ("a", "")], key: [0])
      _ = try scene.merge(.table(schema), .put(1, 1.0, "x"))
      let cursor = try scene.newest()
      _ = try scene.merge(.table(schema), .put(3, 1, "y"))
      #expect(
        try scene.read(after: cursor).lines == ["stock MAH001 put 1,y v3", "stock MAH001 delete real(1.0) v1"])
    },
  ]
}
