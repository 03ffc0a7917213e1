import DroverCore
import DroverWire
import Testing

@Suite struct AlertNotesTests {
  private static let silent = Alert(
    rule: .silent, subject: AlertSubject(machine: "MAH001"), since: 1_795_170_600_123_456, value: 900, text: "é \"x\"")
  private static let commits = Alert(
    rule: .failures, subject: AlertSubject(part: "commits"), since: 1, value: 4, text: "t")
  private static let many = Alert(
    rule: .disk, subject: AlertSubject(), count: 12, since: 2, value: Int64.max, text: "t")

  @Test func `what is noted is what is read, and an alert keeps its identity`() throws {
    let notes = AlertNotes(
      open: [Self.silent, Self.commits, Self.many],
      waiting: [AlertChange(.firing, Self.many, at: 5), AlertChange(.resolved, Self.silent, at: 6)])
    #expect(try AlertNotes(parsing: notes.text) == notes)
    #expect(try AlertNotes(parsing: AlertNotes().text) == AlertNotes())
    #expect(
      [Self.silent, Self.commits, Self.many].map(\.id) == [
        "silent/MAH001/1795170600123456", "failures/consumer/commits/1", "disk/many/2",
      ])
  }

  @Test func `a rule of another version is left out, and what is no note is an error`() throws {
    let text = AlertNotes(open: [Self.silent, Self.commits]).text.replacing("\"silent\"", with: "\"loud\"")
    #expect(try AlertNotes(parsing: text).open == [Self.commits])
    #expect(throws: WireError.self) { try AlertNotes(parsing: "{}") }
    #expect(throws: WireError.self) { try AlertNotes(parsing: "") }
  }

  @Test func `a webhook gets who tells it, and of each alert what the fleet's document has`() {
    let text = AlertChange.document([AlertChange(.firing, Self.silent, at: 1_795_171_500_000_000)], consumer: "c")
      .text()
    #expect(
      text
        == #"{"v":1,"consumer":"c","alerts":[{"state":"firing","at":"2026-11-20T10:45:00.000Z","id":"silent/MAH001/1795170600123456","#
        + #""rule":"silent","machine":"MAH001","part":null,"count":null,"since":"2026-11-20T10:30:00.123Z","value":900,"text":"é \"x\"","#
        + "\"advice\":\"\(AlertRule.silent.advice)\"}]}")
  }
}
