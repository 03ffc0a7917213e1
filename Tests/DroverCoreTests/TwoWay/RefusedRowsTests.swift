import DroverCore
import Testing

/// The rows that a machine refuses, as it says so and as the cloud keeps it.
@Suite struct RefusedRowsTests {
  private func row(_ id: String, cause: String = "no", tries: Int = 1, last: Int64 = 1) throws -> RefusedRow {
    RefusedRow(
      stream: try StreamName("t"), localID: id, version: 1, reason: "constraint", cause: cause, tries: tries, since: 1,
      last: last)
  }

  // A row whose parent is missing is tried every five seconds, and each try would be a message.
  @Test func `a row that is tried again in vain is nothing for the cloud to hear of`() throws {
    let known = RefusedRows(rows: [try row("1"), try row("2")])
    #expect(!RefusedRows(rows: [try row("1", tries: 9, last: 7), try row("2")]).differs(from: known))
    for other in [
      RefusedRows(), RefusedRows(rows: [try row("1")]), RefusedRows(total: 3, rows: known.rows),
      RefusedRows(rows: [try row("1", cause: "other"), try row("2")]), RefusedRows(rows: [try row("1"), try row("3")]),
    ] { #expect(other.differs(from: known)) }
  }

  @Test func `what is kept becomes what is named, and what stays the same is not written`() throws {
    let kept = [try row("1"), try row("e\u{301}"), try row("3")].enumerated().map {
      KeptRefusal(id: Int64($0 + 1), machine: try! MachineID("MAH001"), row: $1)
    }
    let named = [try row("3", tries: 2), try row("\u{e9}"), try row("1")]
    let changes = RefusedRowChanges(from: kept, to: named)
    #expect(changes.gone == [2])
    #expect(changes.new == [named[0], named[1]])
    #expect(RefusedRowChanges(from: kept, to: kept.map(\.row)) == RefusedRowChanges(from: [], to: []))
  }
}
