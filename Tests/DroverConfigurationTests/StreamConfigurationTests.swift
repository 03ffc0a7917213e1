import DroverConfiguration
import DroverCore
import Testing

@Suite struct StreamConfigurationTests {
  private func problemsOfStreams(_ streams: String) -> [String] {
    problems(try edge("machine: M\ndatabase: a.db\nbroker: mqtt://b\nstreams:\n" + streams))
  }

  @Test func `a wrong kind is named with the right ones`() {
    let found = problemsOfStreams(
      """
        - table: stock
          kind: snapshot
        - kind: snapshots
          table: sales
      """)
    #expect(
      found == ["edge.yaml:7:5: streams[1].kind: expected one of snapshot, payload, batch; found \"snapshots\""])
  }

  @Test func `a stream without a kind is found in its place`() {
    #expect(
      problemsOfStreams("  - table: stock") == [
        "edge.yaml:5:5: streams[0].kind: missing; add for example `kind: snapshot`"
      ])
  }

  @Test func `a key is a column or several, and only a table has some`() throws {
    let read = try edge(
      "machine: M\ndatabase: a.db\nbroker: mqtt://b\nstreams:\n  - {table: a, kind: batch, key: mo_id}\n  - {table: b, kind: payload, key: [id, at]}\n  - {table: c, kind: payload}"
    )
    #expect(read.streams.map { $0.key } == [["mo_id"], ["id", "at"], nil])
    #expect(problemsOfStreams("  - {table: a, kind: batch, key: []}").first?.contains("at least one entry") == true)
    #expect(
      problemsOfStreams("  - {name: a, kind: payload, key: id}").first?.contains("no columns to know its events by")
        == true)
  }

  @Test func `a stream has a table or a name`() {
    #expect(
      problemsOfStreams("  - kind: payload") == [
        """
        edge.yaml:5:5: streams[0]: a stream has a `table` to be captured or a `name` to be fed by; \
        add for example `table: sales`
        """
      ])
  }

  @Test func `a stream's own frame takes from the common one what it does not say, and fits the window`() throws {
    let common = "machine: M\ndatabase: a.db\nbroker: mqtt://b\nframe: {events: 50}\nstreams:\n"
    let read = try edge(common + "  - {name: t, kind: payload, frame: {bytes: 16KiB}}\n  - {name: u, kind: payload}")
    #expect(read.streams.map(\.frame) == [EventLimit(events: 50, bytes: 16 << 10), nil])
    #expect(
      problemsOfStreams("  - {name: t, kind: payload, frame: {events: 1000}}\nwindow: {events: 999}") == [
        """
        edge.yaml:5:38: streams[0].frame.events: expected a window that holds at least one frame: \
        window.events is 999, streams[0].frame.events is 1000
        """
      ])
  }

  @Test func `a synced column needs a table`() {
    #expect(
      problemsOfStreams("  - {name: t, kind: payload, synced_column: s}") == [
        "edge.yaml:5:30: streams[0].synced_column: a stream without a `table` has no column to set"
      ])
  }

  @Test func `a condition that is none is found in its place`() {
    #expect(
      problemsOfStreams("  - table: orders\n    kind: batch\n    complete_when: \"status == 1\"") == [
        """
        edge.yaml:7:5: streams[0].complete_when: expected a column or a value at character 9; found "="
        """
      ])
  }

  @Test(arguments: ["{name: t, kind: batch", "{table: t, kind: snapshot", "{table: t, kind: payload"])
  func `only a batch with a table can be complete`(stream: String) {
    #expect(
      problemsOfStreams("  - \(stream), complete_when: done = 1}").map { $0.suffix(64) } == [
        "complete_when: only a stream of kind batch with a `table` can be complete".suffix(64)
      ])
  }

  @Test func `a batch travels with its lines`() throws {
    let configuration = try edge(
      """
      machine: M
      database: a.db
      broker: mqtt://b
      streams:
        - table: receipts
          kind: batch
          with:
            - {table: sales, references: {receipt_id: id, "shop no": shop}}
            - table: payments
      """)
    #expect(
      configuration.streams[0].with == [
        LinesDeclaration(
          table: try StreamName("sales"),
          references: [.init(column: "receipt_id", header: "id"), .init(column: "shop no", header: "shop")]),
        LinesDeclaration(table: try StreamName("payments")),
      ])
  }

  @Test(arguments: [
    ("{table: t, kind: snapshot, with: [{table: l}]}", "with: only a stream of kind batch with a `table` has lines"),
    ("{table: t, kind: batch, with: [{}]}", "with[0].table: missing; add for example `table: sales`"),
    ("{table: t, kind: batch, with: []}", "found an empty list"),
    ("{table: t, kind: batch, with: [{table: drover_x}]}", "are not captured; found \"drover_x\""),
    ("{table: t, kind: batch, with: [{table: a/b}]}", "in the cloud the table bears the same name"),
    (
      "{table: t, kind: batch, with: [{table: l, references: id}]}", "references: expected keys with values; found text"
    ),
    (
      "{table: t, kind: batch, with: [{table: l, references: {}}]}",
      "references: expected keys with values; found keys with values"
    ),
    ("{table: t, kind: batch, with: [{table: l, refers: {a: b}}]}", "unknown key `refers`"),
    ("{table: t, kind: batch, with: [{table: T}]}", "\"T\" travels as streams[0] already, and cannot be its lines too"),
    ("{table: t, kind: batch, with: [{table: l}, {table: L}]}", "\"L\" travels with streams[0] already"),
    ("{table: t, name: l, kind: batch, with: [{table: l}]}", "\"l\" travels as streams[0] already"),
  ])
  func `lines that cannot be are found in their place`(stream: String, problem: String) {
    let found = problemsOfStreams("  - " + stream)
    #expect(found.count == 1 && found[0].contains(problem), "\(found)")
  }

  @Test func `a table of lines is no other stream's, nor its lines`() {
    #expect(
      problemsOfStreams("  - {table: t, kind: batch, with: [{table: l}]}\n  - {table: l, kind: snapshot}") == [
        "edge.yaml:5:29: streams[0].with: \"l\" travels as streams[1] already, and cannot be its lines too"
      ])
    #expect(
      problemsOfStreams(
        "  - {table: t, kind: batch, with: [{table: l}]}\n  - {table: u, kind: batch, with: [{table: l}]}") == [
          "edge.yaml:6:29: streams[1].with: \"l\" travels with streams[0] already"
        ])
  }

  @Test(arguments: ["drover_outbox", "Sqlite_master", "SQLITE_x"])
  func `tables of SQLite and of Drover are refused`(table: String) {
    let found = problemsOfStreams("  - {table: \(table), name: t, kind: payload}")
    #expect(found.count == 1)
    #expect(found.first?.contains("are not the app's and are not captured; found \"\(table)\"") == true)
  }

  @Test func `a table whose name is no stream's name needs one`() {
    #expect(
      problemsOfStreams("  - {table: in/out, kind: payload}") == [
        """
        edge.yaml:5:6: streams[0].table: a stream's name holds no '/', '+', '#' and no control characters; \
        so this table's stream needs a `name` of its own
        """
      ])
    #expect(problemsOfStreams("  - {table: in/out, name: traffic, kind: payload}") == [])
  }

  @Test func `names are unique without the case of ASCII letters`() {
    #expect(
      problemsOfStreams("  - {name: Stock, kind: payload}\n  - {table: stock, kind: snapshot}") == [
        """
        edge.yaml:6:6: streams[1].table: streams[0] has the name "stock" already, as SQLite compares names; \
        give one of them another `name`
        """
      ])
    #expect(
      problemsOfStreams("  - {table: stock, kind: payload}\n  - {name: STOCK, kind: snapshot}").first?
        .hasPrefix("edge.yaml:6:6: streams[1].name: streams[0] has the name") == true)
    #expect(problemsOfStreams("  - {name: Äpfel, kind: payload}\n  - {name: äpfel, kind: snapshot}") == [])
  }

  @Test func `tables are unique, and a shared one is reported once`() {
    #expect(
      problemsOfStreams("  - {table: Stock, kind: payload}\n  - {table: stock, kind: snapshot}") == [
        "edge.yaml:6:6: streams[1].table: streams[0] has this table already, as SQLite compares names"
      ])
    #expect(problemsOfStreams("  - {table: t, kind: batch}\n  - {table: t, name: u, kind: batch}").count == 1)
  }

  @Test func `an empty list of streams is an error`() {
    #expect(problemsOfStreams("  []").first?.hasSuffix("found an empty list") == true)
    #expect(problemsOfStreams("  stock").first?.hasSuffix("found text") == true)
    #expect(
      problemsOfStreams("  - stock") == ["edge.yaml:5:5: streams[0]: expected keys with values; found text"])
  }
}
