// What every store does when somebody deletes its notes on sink tables and descriptions. It said that primary keys were lost, left streams out of a comparison
// without a word, and put tables of events aside. Here no event comes: what can be derived is made again, or a comparison says what is missing.

package import DroverCore
import Testing

/// Notes that somebody deletes.
package struct DeletedNotes: Sendable, CustomTestStringConvertible {
  package let testDescription: String
  let deed: String
  /// What a comparison says before the consumer has looked.
  let told: String
  /// Only the machine knows it: the stream waits for its description.
  var isTheMachines = false
  /// The store that has such a note; nil: both.
  var store: SinkAbuse.Store?

  package static func all(for store: SinkAbuse.Store) -> [DeletedNotes] {
    list.filter { $0.store.map { $0 == store } ?? true }
  }

  private static let list = [
    DeletedNotes(testDescription: "of all tables", deed: "DELETE FROM drover_sink", told: "drover_sink"),
    DeletedNotes(
      testDescription: "of the lines' table", deed: "DELETE FROM drover_sink WHERE stream = 'Sales'",
      told: "drover_sink"),
    DeletedNotes(
      testDescription: "of a table that is dropped too",
      deed: "DELETE FROM drover_sink WHERE stream = 'Receipts'; DROP TABLE \"Receipts\"", told: "drover_sink"),
    DeletedNotes(
      testDescription: "of all columns", deed: "DELETE FROM drover_sink_column", told: "drover_sink_column",
      store: .postgreSQL),
    DeletedNotes(
      testDescription: "of the key", deed: "DELETE FROM drover_sink_column WHERE key_position IS NOT NULL",
      told: "drover_sink_column", store: .postgreSQL),
    DeletedNotes(
      testDescription: "of one column", deed: "DELETE FROM drover_sink_column WHERE name = 'note'",
      told: "drover_sink_column", store: .postgreSQL),
    DeletedNotes(
      testDescription: "of a column of lines", deed: "DELETE FROM drover_sink_column WHERE name = 'item'",
      told: "drover_sink_column", store: .postgreSQL),
    DeletedNotes(
      testDescription: "of all descriptions' columns", deed: "DELETE FROM drover_schema_column",
      told: "drover_schema_column", isTheMachines: true),
    DeletedNotes(
      testDescription: "of descriptions' lines", deed: "DELETE FROM drover_schema_line", told: "drover_schema_line",
      isTheMachines: true),
    DeletedNotes(
      testDescription: "of columns, here and in descriptions",
      deed: "DELETE FROM drover_sink_column; DELETE FROM drover_schema_column", told: "drover_schema_column",
      isTheMachines: true, store: .postgreSQL),
    DeletedNotes(
      testDescription: "of everything but the machines",
      deed: "DELETE FROM drover_sink; DELETE FROM drover_schema_column; DELETE FROM drover_schema_line",
      told: "drover_schema_column", isTheMachines: true),
  ]
}

package struct SinkNotesConformance {
  private static let schema = try! StreamSchema(
    kind: .batch, columns: [("ID", "INTEGER"), ("note", "TEXT"), ("closed", "INT")].map(column), key: [0],
    completeWhen: try! Condition(parsing: "closed = 1"),
    lines: [
      try! LineSchema(
        table: try! StreamName("Sales"),
        columns: [("no", "INTEGER"), ("receipt_id", "INTEGER"), ("item", "")].map(column), key: [0], references: [1])
    ])

  private static func column(_ name: String, _ type: String) -> Column { Column(name: name, declaredType: type) }

  private static let stream = try! StreamName("Receipts")
  private static let bodies = try! StreamName("readings")

  private let store: any CloudStore
  private let replica: any Replica
  private let vandal: any SinkVandal

  /// For an empty store.
  package init(store: any CloudStore, replica: any Replica, vandal: any SinkVandal) {
    self.store = store
    self.replica = replica
    self.vandal = vandal
  }

  private func describe() throws {
    let refusal = try store.transaction { try $0.adopt(Self.schema, machine: .a, stream: Self.stream) }
    #expect(refusal == nil)
  }

  private func bring(_ id: Int64) throws -> [MergeOutcome] {
    let event = SinkEvent(
      seq: nil, localID: "\(id)", version: id, at: nil, key: [.integer(id)],
      content: .row(Values([.integer(id), "a", 0])), lines: [[[.integer(10 + id), .integer(id), "pen"]]], raw: [])
    return try store.transaction {
      try $0.merge(
        [event], epoch: .one, into: Sink(machine: .a, stream: Self.stream, kind: .batch, schema: Self.schema))
    }
  }

  private func bringBody(_ id: Int64) throws -> [MergeOutcome] {
    let event = SinkEvent(
      seq: nil, localID: "r\(id)", version: id, at: nil, key: [], content: .json(ArraySlice("{}".utf8)), lines: [],
      raw: [])
    return try store.transaction { transaction in
      var progress = StreamProgress()
      progress.applied = 1
      try transaction.note(progress, machine: .a, stream: Self.bodies)
      return try transaction.merge(
        [event], epoch: .one, into: Sink(machine: .a, stream: Self.bodies, kind: .payload, schema: nil))
    }
  }

  /// What a comparison says: of what it leaves out, and of what it cannot read.
  private func said() throws -> [String] {
    try replica.unreadable().map(\.reason) + replica.streams().compactMap { try replica.fault(of: $0) }
  }

  package func check(_ notes: DeletedNotes) throws {
    try store.transaction {
      try $0.setStatus(MachineStatus(isOnline: true, epoch: .one, software: nil, at: nil), machine: .a)
    }
    try describe()
    #expect(try bring(1) == [.applied])
    #expect(try bringBody(1) == [.applied])
    #expect(try said() == [])
    // Somebody is at work.
    try vandal.run(notes.deed)
    let said = try said()
    #expect(said.count == 1 && said[0].contains(notes.told), "\(said)")
    // The consumer looks, and no event comes.
    try mend()
    if notes.isTheMachines {
      #expect(try replica.unreadable().map(\.origin) == [MachineStream(machine: .a, stream: Self.stream)])
      try describe()
      try mend()
    }
    #expect(try self.said() == [])
    let found = try #require(try replica.streams().first)
    #expect(found.stream == Self.stream && found.schema == Self.schema)
    let isDropped = notes.deed.contains("DROP")
    #expect(try replica.count(found) == (isDropped ? 0 : 1))
    let isMissing = try replica.rows(found, keys: [[1]])[0] == nil
    #expect(isMissing == isDropped)
    // What is there stays under its name, and what comes is written.
    #expect(try bring(2) == [.applied])
    #expect(try bringBody(2) == [.applied])
    #expect(try vandal.rows("SELECT count(*) FROM \"Receipts\"") == [isDropped ? "1" : "2"])
    #expect(try vandal.rows("SELECT count(*) FROM \"Sales\"") == ["2"])
    #expect(try vandal.rows("SELECT count(*) FROM readings") == ["2"])
    #expect(try mend() == 0, "nothing is left to mend")
  }

  @discardableResult
  private func mend() throws -> Int {
    let blocked = try store.transaction { try $0.repairSinks() }
    #expect(blocked.map { "\($0.blocked)" } == [])
    return blocked.count
  }
}
