// What every store and its replica must hold of gaps in a machine's capture, and of final records that were cleared at the edge.

package import DroverCore
import Testing

package enum RetirementConformance {
  private static let machine = try! MachineID("MAH001")
  private static let stream = try! StreamName("receipts")
  private static let schema = try! StreamSchema(
    kind: .batch, columns: [("id", "INTEGER"), ("note", "TEXT"), ("closed", "INT")].map(column), key: [0],
    completeWhen: try! Condition(parsing: "closed = 1"),
    lines: [
      try! LineSchema(
        table: try! StreamName("sales"),
        columns: [("no", "INTEGER"), ("receipt_id", "INTEGER"), ("item", "")].map(column),
        key: [0], references: [1])
    ])

  private static func column(_ name: String, _ type: String) -> Column { Column(name: name, declaredType: type) }

  private static func say(_ store: any CloudStore, _ gaps: [StreamName: String], isOnline: Bool = true) throws {
    try store.transaction {
      try $0.setStatus(
        MachineStatus(isOnline: isOnline, epoch: nil, software: nil, at: nil, gaps: gaps), machine: machine)
    }
  }

  /// - Parameter replica: of the store.
  package static func checkGaps(_ store: any CloudStore, _ replica: any Replica) throws {
    func gaps() throws -> [String] { try replica.gaps().map { "\($0.stream.stream) \($0.gap)" } }
    // Of a stream that nobody has described nothing is noted.
    try say(store, [stream: "1a"])
    _ = try store.transaction { try $0.adopt(schema, machine: machine, stream: stream) }
    #expect(try gaps() == [])
    try say(store, [stream: "1a"])
    #expect(try gaps() == ["receipts 1a"])
    let found = try #require(try replica.gaps().first)
    #expect(found.stream.machine == machine && found.stream.schema == schema && found.stream.isOnline)
    // A try that did not come to an end leaves it open; a status without gaps, as of an older agent, too.
    try replica.note(gap: "1a", isClosed: false, of: found.stream)
    try say(store, [:], isOnline: false)
    #expect(try gaps() == ["receipts 1a"])
    #expect(try replica.gaps().first?.stream.isOnline == false)
    try replica.note(gap: "1a", isClosed: true, of: found.stream)
    #expect(try gaps() == [])
    // The same told again is closed; another one is not, also where the first was closed after it was heard of.
    try say(store, [stream: "1a"])
    #expect(try gaps() == [])
    try say(store, [stream: "2b"])
    try replica.note(gap: "1a", isClosed: true, of: found.stream)
    #expect(try gaps() == ["receipts 2b"])
  }

  /// - Parameter replica: of the store.
  package static func checkUnits(_ store: any CloudStore, _ replica: any Replica) throws {
    let rows: [([Value], [[Value]])] = [
      ([1, "a", 1], [[11, 1, "pen"], [12, 1, "ink"]]), ([2, "b", 0], [[21, 2, "nib"]]), ([3, "c", 1], []),
    ]
    let events = rows.map { row, lines in
      SinkEvent(
        seq: nil, localID: "\(row[0])", version: 1, at: nil, key: [row[0]], content: .row(Values(row)), lines: [lines],
        raw: [])
    }
    let outcomes: [MergeOutcome] = try store.transaction { transaction in
      try transaction.setStatus(MachineStatus(isOnline: true, epoch: nil, software: nil, at: nil), machine: machine)
      #expect(try transaction.adopt(schema, machine: machine, stream: stream) == nil)
      return try transaction.merge(
        events, epoch: Epoch(random: 1), into: Sink(machine: machine, stream: stream, kind: .batch, schema: schema))
    }
    #expect(outcomes == [.applied, .applied, .applied])
    let found = try #require(try replica.streams().first { $0.stream == stream })
    let stored = try replica.rows(found, keys: [[1], [2], [3], [4]])
    #expect(stored.map { $0?.isFinal } == [true, false, true, nil])
    #expect(stored[1]?.unit == nil)
    for (row, (header, lines)) in zip(stored, rows) where row?.isFinal == true {
      let whole = UnitDigest(header: header, lines: [lines])
      #expect(row!.unit!.isWithin(whole) && whole.isWithin(row!.unit!))
      var digest = Digest(of: header)
      digest.combine(lines: lines)
      #expect(row!.digest == digest.state)
      // Gone, without lines, and with one of them: cleared. With another value, or with a line more: different.
      let left = UnitDigest(header: header, lines: [Array(lines.dropFirst())])
      #expect(row!.isRetired(RowState(digest: nil, isWaiting: false)))
      #expect(row!.isRetired(RowState(digest: 5, isWaiting: false, unit: left)))
      let more = UnitDigest(header: header, lines: [lines + [[13, header[0], "cap"]]])
      let other = UnitDigest(header: [header[0], "z", 1], lines: [lines])
      for unit in [more, other, nil] {
        #expect(!row!.isRetired(RowState(digest: 5, isWaiting: false, unit: unit)))
      }
    }
    #expect(!stored[1]!.isRetired(RowState(digest: nil, isWaiting: false)))
  }
}
