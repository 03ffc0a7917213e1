// What every reader of a cloud store must hold, whatever database is behind it: the claims are written once against the seams, and each
// reader's tests run all of them (`CloudReaderConformance.claims`).

package import DroverCore
import Testing

package struct CloudReaderConformance {
  /// One claim; its name is the sentence that the test's output shows.
  package struct Claim: Sendable, CustomTestStringConvertible {
    package let name: String
    fileprivate let check: @Sendable (Scene) throws -> Void

    init(_ name: String, check: @escaping @Sendable (Scene) throws -> Void) {
      self.name = name
      self.check = check
    }

    package var testDescription: String { name }
  }

  package static let claims = reports + schemas + rows + forgetting + refusals

  private let makeStore: (CloudStoreConditions) throws -> (store: any CloudStore, reader: any CloudReader)
  private let makeReplica: () throws -> any Replica

  /// - Parameters:
  ///   - makeStore: makes an empty store and its reader; both live until the claim is checked.
  ///   - makeReplica: opens the replica of the store that was made last.
  package init(
    makeReplica: @escaping () throws -> any Replica,
    makeStore: @escaping (CloudStoreConditions) throws -> (store: any CloudStore, reader: any CloudReader)
  ) {
    self.makeStore = makeStore
    self.makeReplica = makeReplica
  }

  package func check(_ claim: Claim) throws {
    var conditions = CloudStoreConditions()
    conditions.deadLetters = DeadLetterBounds(maxCount: 4, maxBytes: 1 << 20)
    let (store, reader) = try makeStore(conditions)
    try claim.check(Scene(store: store, reader: reader, makeReplica: makeReplica))
  }

  /// A store and its reader, with the words that claims are written in.
  struct Scene {
    let store: any CloudStore
    let reader: any CloudReader
    let makeReplica: () throws -> any Replica

    /// Rows of a described table, heard of as the consumer does it.
    func bring(
      _ schema: StreamSchema, in stream: StreamName = .stock, machine: MachineID = .a, _ events: SinkEvent...
    ) throws {
      try store.transaction { transaction in
        #expect(try transaction.adopt(schema, machine: machine, stream: stream) == nil)
        let outcomes = try transaction.merge(
          events, epoch: .one, into: .table(schema, stream, machine: machine))
        #expect(outcomes.allSatisfy { $0 == .applied })
        try note(machine, stream, events, transaction)
      }
    }

    func adopt(_ schema: StreamSchema, machine: MachineID) throws -> String? {
      try store.transaction { try $0.adopt(schema, machine: machine, stream: .stock) }
    }

    func bringBodies(_ stream: StreamName, machine: MachineID = .a, _ events: SinkEvent...) throws {
      try store.transaction { transaction in
        _ = try transaction.merge(events, epoch: nil, into: .bodies(.payload, stream, machine: machine))
        try note(machine, stream, events, transaction)
      }
    }

    private func note(
      _ machine: MachineID, _ stream: StreamName, _ events: [SinkEvent], _ transaction: any CloudTransaction
    ) throws {
      var progress = StreamProgress()
      progress.applied = events.count
      progress.version = events.map(\.version).max() ?? 0
      try transaction.heard(machine: machine, epoch: .one)
      try transaction.note(progress, machine: machine, stream: stream)
    }

    func report(_ scope: ReportScope = .everything) throws -> CloudReport { try #require(try reader.report(scope)) }

    /// Rows as lines, in no order of the database's.
    func lines(_ stream: StreamName? = nil) throws -> [String] {
      var lines: [String] = []
      try reader.readRows(of: stream) { sink, row in
        let content =
          switch row.content {
          case .values(let values): zip(sink.schema!.columns, values).map { "\($0.name)=\($1)" }.joined(separator: " ")
          case .body(let id, let at, let text): "\(id) \(at ?? "-") \(String(decoding: text, as: UTF8.self))"
          }
        lines.append("\(sink.stream) \(row.machine) \(row.version): \(content)")
      }
      return lines.sorted()
    }
  }

  static let microsecond: Int64 = 1_795_000_000_000_000

  // MARK: Reports

  private static let reports = [
    // Two such streams whose schemas waited ended `drover status` and /metrics for everybody.
    Claim("streams whose names look alike are two in every report") { scene in
      let names = ["\u{e9}", "e\u{301}"].map { StreamName.named($0) }
      let schema = StreamSchema.columns("v")
      for (index, name) in names.enumerated() {
        for id in 0...index { try scene.bring(schema, in: name, .put(Int64(id + 1), .integer(Int64(id)), 1)) }
      }
      let streams = try scene.report().machines[0].streams
      #expect(streams.count == 2)
      for (index, name) in names.enumerated() {
        let stream = streams.first { $0.name.isExactly(name.text) }
        #expect(stream?.rows == index + 1)
        #expect(try scene.lines(name).count == index + 1)
      }
      #expect(try Set(scene.reader.sinks().map(\.stream)) == Set(names))
      for name in names {
        try scene.store.transaction {
          let reason = try $0.adopt(StreamSchema.make([("other", "TEXT")], key: [0]), machine: .b, stream: name)
          #expect(reason != nil)
        }
      }
      #expect(try Set(scene.reader.waitingSchemas().map(\.stream)) == Set(names))
    },
    Claim("an empty store has an empty report") { scene in
      let report = try scene.report()
      #expect(report.machines.isEmpty && report.dropped.isEmpty && report.messages.isEmpty)
      #expect(report.deadLetters == DeadLetterFigures() && report.letterRows == 0 && report.letterBytes == 0)
      #expect(try scene.reader.sinks().isEmpty && scene.reader.waitingSchemas().isEmpty)
      #expect(try scene.lines().isEmpty)
    },
    Claim("what is wrong with who is connected is kept, in place of what was known of it, until it is over") { scene in
      try scene.bring(.columns("level REAL"), machine: .a, .put(microsecond - 3, 1, 2.5))
      func session(_ count: Int) -> Trouble {
        Trouble(.session, since: microsecond - 9, last: microsecond - Int64(9 - count), count: count)
      }
      let cloned = Trouble(.cloned, since: microsecond - 5, last: microsecond - 4, count: 1)
      try scene.store.transaction { transaction in
        for count in [3, 4] {
          let status = MachineStatus(
            isOnline: true, epoch: .one, software: "1", at: 1, process: 1, taken: session(count))
          try transaction.setStatus(status, machine: .b)
        }
        try transaction.note(session(5), machine: nil)
        try transaction.note(cloned, machine: .a)
        try transaction.note(cloned, machine: .b)
        #expect(try transaction.troubles(.cloned) == [.a: cloned, .b: cloned])
        #expect(try transaction.troubles(.session) == [.b: session(4)])
        try transaction.forget(.cloned, machine: .b)
      }
      let report = try scene.report()
      #expect(report.machines.map(\.troubles) == [[cloned], [session(4)]])
      #expect(report.troubles == [session(5)])
      #expect(report.troubles(now: microsecond).map(\.machine) == [nil, "MAH001", "MAH002"])
    },
    Claim("what waits at a machine is what it told last") { scene in
      try scene.bring(.columns("level REAL"), machine: .a, .put(microsecond - 3, 1, 2.5))
      func wait(_ name: String, _ reason: String) throws -> StreamWait {
        StreamWait(stream: try StreamName(name), table: "t\0", reason: reason, advice: "mend \u{1}it", since: 7)
      }
      func tell(_ waits: [StreamWait], at: Int64? = 1, _ machine: MachineID = .a) throws {
        let status = MachineStatus(isOnline: at != nil, epoch: .one, software: "1", at: at, waits: waits)
        try scene.store.transaction { try $0.setStatus(status, machine: machine) }
      }
      let (odd, other) = (try wait("odd", "it's a view"), try wait("other", "größe"))
      try tell([other, odd])
      try tell([odd], .b)
      #expect(try scene.report().machines.map(\.waits) == [[odd, other], [odd]])
      try tell([try wait("other", "another reason"), try wait("other", "twice")])
      // A last will tells nothing of it.
      try tell([], at: nil)
      #expect(try scene.report().machines.map(\.waits) == [[try wait("other", "twice")], [odd]])
      try tell([])
      #expect(try scene.report().machines.map(\.waits) == [[], [odd]])
    },
    Claim("machines come in order, with state, clock and streams") { scene in
      try scene.bring(.columns("level REAL"), machine: .b, .put(microsecond - 5, 1, 0.5), .put(microsecond - 4, 2, 1.5))
      try scene.bring(.columns("level REAL"), machine: .a, .put(microsecond - 3, 1, 2.5))
      try scene.bringBodies(.named("reading"), .body(microsecond + HybridClock.tolerance + 7, "x", "{}"))
      let standing = OutboxFigures(waiting: 3, oldest: 17, deadLetters: 1, freeBytes: nil)
      try scene.store.transaction {
        try $0.setStatus(
          MachineStatus(
            isOnline: true, epoch: .one, software: "1", at: 1, ask: nil, clockOffset: -17, outbox: standing),
          machine: .b)
        try $0.count([.frame: 2, .bare: 1])
      }
      let report = try scene.report()
      #expect(report.machines.map(\.name) == ["MAH001", "MAH002"])
      #expect(report.machines.map(\.isOnline) == [nil, true])
      #expect(report.machines.map(\.clockOffset) == [nil, -17])
      #expect(report.machines.map(\.outbox?.figures) == [nil, standing])
      #expect(report.machines.allSatisfy { $0.lastHeard == microsecond })
      #expect(report.machines.map { $0.streams.map(\.name) } == [["reading", "stock"], ["stock"]])
      #expect(report.machines.map { $0.streams.map(\.rows) } == [[1, 1], [2]])
      #expect(report.machines.map { $0.streams.map(\.lag) } == [[0, 3], [4]])
      #expect(report.machines.map { $0.streams.map(\.ahead) } == [[HybridClock.tolerance + 7, nil], [nil]])
      #expect(report.machines[1].streams[0].applied == 2)
      #expect(report.messages.map(\.outcome) == ["bare", "frame"] && report.messages.map(\.count) == [1, 2])
    },
    Claim("what was set aside is counted by machine and budget") { scene in
      for (machine, budget, count) in [(MachineID.b, Budget.epochs, 2), (.b, .epochs, 3), (.b, .bytes, 1)] {
        try scene.store.transaction {
          try $0.heard(machine: .a, epoch: nil)
          try $0.heard(machine: machine, epoch: nil)
          try $0.note(count, over: budget, machine: machine)
        }
      }
      func overrun(_ budget: String, _ count: Int) -> Overrun {
        Overrun(budget: budget, count: count, firstAt: microsecond, lastAt: microsecond)
      }
      #expect(
        try scene.report().machines.map(\.overruns) == [
          [], [overrun("bytes_per_second", 1), overrun("epochs_per_hour", 5)],
        ])
    },
    Claim("a scope has a page of machines, and counts rows only when asked") { scene in
      for number in 1...5 {
        let machine = try MachineID("MAH00\(number)")
        try scene.bring(.columns(), machine: machine, .put(1, 1))
      }
      let page = try scene.report(ReportScope(after: "MAH002", limit: 2, countsRows: false))
      #expect(page.machines.map(\.name) == ["MAH003", "MAH004"])
      #expect(page.machines.map { $0.streams.map(\.rows) } == [[nil], [nil]])
      #expect(try scene.report(ReportScope(after: "MAH004")).machines.map { $0.streams.map(\.rows) } == [[1]])
      #expect(try scene.report(ReportScope(after: "MAH005")).machines.isEmpty)
      #expect(try scene.report(ReportScope(only: "MAH002")).machines.map(\.name) == ["MAH002"])
    },
    Claim("lines are counted with their header's stream") { scene in
      let lines = try LineSchema(
        table: .named("sale"),
        columns: [Column(name: "line", declaredType: "INTEGER"), Column(name: "receipt", declaredType: "INTEGER")],
        key: [0], references: [1])
      let schema = try StreamSchema(
        kind: .batch, columns: [Column(name: "id", declaredType: "INTEGER")], key: [0], lines: [lines])
      let event = SinkEvent(
        seq: nil, localID: "1", version: 1, at: nil, key: [1], content: .row(Values([1])),
        lines: [[[10, 1], [11, 1]]],
        raw: [])
      try scene.bring(schema, in: .named("receipt"), event)
      let stream = try #require(try scene.report().machines.first?.streams.first)
      #expect(stream.rows == 1 && stream.lines.map(\.table) == ["sale"] && stream.lines.map(\.rows) == [2])
      #expect(try scene.reader.sinks().map(\.header) == [nil, .named("receipt")])
      #expect(try scene.lines(.named("receipt")).count == 3, "its lines come with it")
      #expect(try scene.lines(.named("sale")).count == 2)
    },
    Claim("rows of one thing are counted for each machine that has them, and read once") { scene in
      let schema = try StreamSchema(
        kind: .snapshot,
        columns: [Column(name: "id", declaredType: "INTEGER"), Column(name: "code", declaredType: "TEXT")], key: [0],
        naturalKey: NaturalKey(columns: ["code"], fallback: []))
      try scene.bring(schema, machine: .a, .put(1, 1, "x"))
      try scene.bring(schema, machine: .b, .put(2, 9, "x"))
      #expect(try scene.report().machines.map { $0.streams.map(\.rows) } == [[1], [1]])
      #expect(try scene.lines() == ["stock MAH001 2: id=integer(1) code=\(Value("x"))"])
    },
    Claim("dead letters are counted, those that made room too") { scene in
      for number in 1...6 {
        let letter = DeadLetter(
          topic: "t/\(number)", machine: number % 2 == 0 ? .a : nil, stream: .stock, reason: .unparsable, detail: "no",
          raw: [1, 2, 3])
        _ = try scene.store.transaction { try $0.addDeadLetter(letter) }
        // Refused again it is the same letter: the figure was higher than the list was long.
        if number == 6 { _ = try scene.store.transaction { try $0.addDeadLetter(letter) } }
      }
      try scene.store.transaction { try $0.heard(machine: .a, epoch: nil) }
      let report = try scene.report()
      #expect(report.letterRows == report.deadLetters.present && report.letterRows < 6 && report.letterBytes > 0)
      #expect(report.deadLetters.dropped == 6 - report.letterRows)
      #expect(report.dropped.reduce(0) { $0 + $1.letters } == report.deadLetters.dropped)
      #expect(report.dropped.allSatisfy { $0.reason == "unparsable" && $0.lastAt == microsecond })
      #expect((1...2).contains(report.machines[0].deadLetters))
    },
    Claim("the last comparison stands with its stream") { scene in
      try scene.bring(.columns(), .put(1, 1))
      try scene.bring(.columns(), in: .named("other"), .put(1, 1))
      let replica = try scene.makeReplica()
      var finding = DriftFinding()
      finding.missing = 3
      finding.inFlight = 2
      for stream in try replica.streams() {
        try replica.note(finding, failure: stream.stream == .stock ? nil : "offline", of: stream.origin)
      }
      let checks = try scene.report().machines[0].streams.map { try #require($0.check) }
      #expect(checks.map(\.drift) == [3, 3] && checks.map(\.failure) == ["offline", nil])
      // The report said "equal" of rows that were on their way.
      #expect(checks.map(\.text) == ["not compared: offline", "3 differ; 2 on their way"])
      #expect(checks.map(\.inFlight) == [2, 2])
    },
  ]

  // MARK: Schemas

  private static let schemas = [
    Claim("tables have the source's columns, types and key, and those that came later behind them") { scene in
      let schema = StreamSchema.make([("b", "VARCHAR(5)"), ("Aé", "INTEGER"), ("n", "")], key: [1, 0])
      try scene.bring(schema)
      try scene.bring(.make([("b", "VARCHAR(5)"), ("Aé", "INTEGER"), ("n", ""), ("late", "REAL")], key: [1, 0]))
      try scene.bringBodies(.named("Zzz"), .body(1, "x", "{}"))
      let sinks = try scene.reader.sinks()
      #expect(sinks.map(\.stream.text) == ["Zzz", "stock"])
      #expect(sinks.map(\.kind) == [.payload, .snapshot])
      #expect(sinks[0].schema == nil)
      let found = try #require(sinks[1].schema)
      #expect(found.columns.map(\.name) == ["b", "Aé", "n", "late"])
      #expect(found.columns.map(\.declaredType) == ["VARCHAR(5)", "INTEGER", "", "REAL"])
      #expect(found.key == [1, 0])
    },
    Claim("a table with a column machine_id, and one known by its rowid, are read as they are") { scene in
      try scene.bring(.make([("machine_id", "TEXT"), ("n", "")], key: [0]), .row(1, ["own", 1], key: ["own"]))
      try scene.bring(
        .make([(StreamSchema.rowidColumn, "INTEGER"), ("n", "")], key: [0]), in: .named("rows"), .put(2, 7, 8))
      #expect(try scene.reader.sinks().map { $0.schema?.key } == [[0], [0]])
      #expect(
        try scene.lines() == [
          "rows MAH001 2: drover_rowid=integer(7) n=integer(8)",
          "stock MAH001 1: machine_id=\(Value("own")) n=integer(1)",
        ])
    },
    Claim("schemas that wait are told apart by machine and stream") { scene in
      try scene.bring(.columns("level REAL"), machine: .a, .put(1, 1, 0.5))
      for (machine, name) in [(MachineID.b, "code"), (.a, "other")] {
        _ = try scene.adopt(.make([(name, "TEXT"), ("level", "REAL")], key: [0]), machine: machine)
      }
      let waiting = try scene.reader.waitingSchemas()
      #expect(waiting.map(\.machine) == [.a, .b] && waiting.map(\.added) == [["other"], ["code"]])
      #expect(waiting.allSatisfy { $0.stream == .stock && $0.missing == ["id"] })
    },
    Claim("a schema that waits is told with what is different") { scene in
      try scene.bring(.columns("level REAL", "gone TEXT"), .put(1, 1, 0.5, "x"))
      let other = StreamSchema.make([("code", "TEXT"), ("level", "REAL")], key: [0])
      let reason = try scene.adopt(other, machine: .b)
      let waiting = try scene.reader.waitingSchemas()
      #expect(
        waiting == [
          WaitingSchema(
            machine: .b, stream: .stock, reason: reason ?? "", since: microsecond, added: ["code"],
            missing: ["id", "gone"])
        ])
      _ = try scene.store.transaction { try $0.accept(machine: .b, stream: .stock) }
      #expect(try scene.reader.waitingSchemas().map(\.machine) == [.a])
    },
  ]

  // MARK: Rows

  private static let values: [Value] = [
    .null, 0, 1, -7, .integer(.max), .integer(.min), .integer(1 << 53 + 1), 0.5, -0.0, 1e300, .real(.infinity),
    .real(-.infinity), .real(.leastNonzeroMagnitude), "a", "ä😀", "7", "7.0", "", .blob([0, 255]), .blob([]),
  ]

  private static let rows = [
    Claim("every value is read as it is, in columns of every type") { scene in
      for (number, value) in values.enumerated() {
        for type in ["INTEGER", "REAL", "TEXT", "BLOB", "NUMERIC", "BOOLEAN", "DATETIME", ""] {
          // A machine's own table has none that its affinity would change.
          guard Column(name: "v", declaredType: type).affinity.converting(value) == value else { continue }
          // SQLite keeps a whole number in a REAL column as an integer, and integers have no negative zero.
          guard "\(value)" != "\(Value.real(-0.0))" || type != "REAL" else { continue }
          let stream = StreamName.named("v\(number)\(type)")
          let schema = StreamSchema.make([("id", "INTEGER"), ("v", type)], key: [0])
          let sink = Sink.table(schema, stream)
          let outcome = try scene.store.transaction { transaction in
            _ = try transaction.adopt(schema, machine: .a, stream: stream)
            return try transaction.merge([.put(3, 1, value)], epoch: .one, into: sink)
          }
          // A store that cannot hold it has refused it.
          guard outcome == [.applied] else { continue }
          #expect(try scene.lines(stream) == ["\(stream) MAH001 3: id=integer(1) v=\(value)"], "\(value) in \(type)")
        }
      }
    },
    Claim("values are read as they were after their columns were widened") { scene in
      try scene.bring(.columns("v INTEGER"), .put(1, 1, 7))
      try scene.bring(.columns("v INTEGER"), .put(2, 2, 0.5))
      try scene.bring(.columns("v INTEGER"), .put(3, 3, "x"))
      // Another type waits where other machines use the column.
      #expect(try scene.adopt(.columns("v BLOB"), machine: .b) != nil)
      #expect(try scene.store.transaction { try $0.accept(machine: .b, stream: .stock) } == Acceptance(aside: []))
      try scene.bring(.columns("v BLOB"), machine: .b, .put(4, 1, .blob([0])))
      #expect(
        try scene.lines() == [
          "stock MAH001 1: id=integer(1) v=integer(7)", "stock MAH001 2: id=integer(2) v=real(0.5)",
          "stock MAH001 3: id=integer(3) v=\(Value("x"))", "stock MAH002 4: id=integer(1) v=\(Value.blob([0]))",
        ])
    },
    Claim("bodies are read to the byte") { scene in
      let body = #"{ "b" : 1.50, "a":[1e2 ,"ä\u0041"] }"#
      try scene.bringBodies(
        .named("reading"), .body(1, "x", body, at: "2026-01-01T00:00:00Z"), .body(2, "y", "7"))
      #expect(
        try scene.lines() == ["reading MAH001 1: x 2026-01-01T00:00:00Z \(body)", "reading MAH001 2: y - 7"])
    },
    Claim("one stream alone is read when it is asked for, and what the taker throws ends it") { scene in
      try scene.bring(.columns(), .put(1, 1), .put(1, 2))
      try scene.bring(.columns(), in: .named("other"), .put(1, 1))
      #expect(try scene.lines(.stock).count == 2)
      #expect(try scene.lines(.named("nothing")).isEmpty)
      struct Enough: Error {}
      var count = 0
      #expect(throws: Enough.self) {
        try scene.reader.readRows(of: nil) { _, _ in
          count += 1
          throw Enough()
        }
      }
      #expect(count == 1)
    },
    Claim("what is read is of one moment, and more rows than one piece holds are all read") { scene in
      let rows = Int64(1050)
      try scene.store.transaction { transaction in
        let schema = StreamSchema.columns("n INTEGER")
        _ = try transaction.adopt(schema, machine: .a, stream: .stock)
        let events = (1...rows).map { SinkEvent.put(1, .integer($0), .integer($0)) }
        _ = try transaction.merge(events, epoch: .one, into: .table(schema))
      }
      var sum: Int64 = 0
      var count: Int64 = 0
      try scene.reader.readRows(of: nil) { _, row in
        if count == 0 {
          try scene.bring(.columns("n INTEGER"), .put(2, .integer(rows), -5), .put(2, .integer(rows + 1), 1))
        }
        guard case .values(let values) = row.content, case .integer(let number) = values[1] else { return }
        sum += number
        count += 1
      }
      #expect(count == rows && sum == rows * (rows + 1) / 2)
    },
  ]
}
