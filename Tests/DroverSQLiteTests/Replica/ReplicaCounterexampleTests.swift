import DroverCore
import Testing

/// What the property tests have found, as small as they made it. Each held back or changed somebody's rows once.
@Suite struct ReplicaCounterexampleTests {
  private func expectEqual(_ plan: ReplicaCase) throws {
    if case .held(let rows) = try ReplicaRun.outcome(of: plan) {
      #expect(rows > 0)
    } else {
      Issue.record("\(try ReplicaRun.outcome(of: plan))")
    }
  }

  private func columns(_ names: String...) -> [ColumnDefinition] {
    names.enumerated().map { ColumnDefinition(number: $0, name: $1) }
  }

  private func insert(_ values: String...) -> ReplicaStep {
    .insert(conflict: "", values: values.enumerated().map { Assignment(column: $0, value: $1) }, update: nil)
  }

  // Such a table was refused as having two columns of one name.
  @Test(arguments: [("Ä", "ä"), ("na\u{ef}ve", "nai\u{308}ve")])
  func `columns that differ as SQLite compares names are two columns`(first: String, second: String) throws {
    try expectEqual(
      ReplicaCase(
        seed: 0, table: TableDefinition(columns: columns("id", first, second), key: [0]),
        steps: [insert("1", "2", "3")]))
  }

  // The column was taken for the key, which an UPSERT leaves as it is.
  @Test func `a column whose name is the key's composed otherwise changes`() throws {
    try expectEqual(
      ReplicaCase(
        seed: 0, table: TableDefinition(columns: columns("na\u{ef}ve", "nai\u{308}ve"), key: [0]),
        steps: [
          insert("1", "1"), .sync,
          .update(conflict: "", set: [Assignment(column: 1, value: "2")], condition: nil),
        ]))
  }

  // The row kept the key of the one before it, which is equal and of another type.
  @Test func `a key that is equal to the one before and of another type is taken as it is`() throws {
    try expectEqual(
      ReplicaCase(
        seed: 0, table: TableDefinition(columns: columns("id"), key: [0]),
        steps: [insert("1.0"), .sync, .delete(condition: nil), insert("1")]))
  }

  // The column was looked for in the cloud's table by another name, not found, and could not be added.
  @Test func `a table with a column in capitals beyond ASCII gets another column`() throws {
    try expectEqual(
      ReplicaCase(
        seed: 0, table: TableDefinition(columns: columns("id", "Ä"), key: [0]),
        steps: [insert("1", "2"), .sync, .addColumn(ColumnDefinition(number: 2, name: "b", defaultValue: "7"))]))
  }
}
