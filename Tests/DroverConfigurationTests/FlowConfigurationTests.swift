import DroverConfiguration
import DroverCore
import Testing

/// In which direction rows travel.
@Suite struct FlowConfigurationTests {
  private func text(_ stream: String) -> String {
    "machine: M\ndatabase: a.db\nbroker: mqtt://b\nstreams:\n  - {\(stream)}"
  }

  private func flow(_ stream: String) throws -> Flow { try edge(text(stream)).streams[0].flow }

  @Test func `the direction and what belongs to it are read`() throws {
    #expect(try flow("table: t, kind: snapshot") == .up)
    #expect(try flow("table: t, kind: snapshot, direction: up") == .up)
    #expect(
      try flow("table: t, kind: batch, direction: both, newer: assessed_at, merge: row, natural_key: true")
        == Flow(direction: .both, newer: "assessed_at", isKeyNatural: true))
    #expect(try flow("table: t, kind: snapshot, direction: down") == Flow(direction: .down))
    #expect(
      try flow("table: t, kind: snapshot, direction: down, machines: all") == Flow(direction: .down, reach: .all))
    #expect(
      try flow("table: t, kind: snapshot, direction: both, merge: columns") == Flow(direction: .both, merge: .columns))
    let declared = try edge(text("table: t, kind: snapshot, direction: both, app_triggers: on")).streams[0]
    #expect(declared.firesAppTriggers)
    #expect(try !edge(text("table: t, kind: snapshot, direction: both")).streams[0].firesAppTriggers)
  }

  @Test(arguments: [
    ("table: t, kind: snapshot, direction: sideways", "direction: expected one of up, down, both"),
    ("name: t, kind: snapshot, direction: both", "does not go with a stream without `table`: rows come down into"),
    ("table: t, kind: payload, direction: both", "`direction: both` does not go with `kind: payload`: facts never"),
    ("table: t, kind: payload, direction: down", "`direction: down` does not go with `kind: payload`: facts never"),
    ("table: t, kind: snapshot, direction: both, identity: [a]", "does not go with `identity`: one row in the cloud"),
    ("table: t, kind: batch, direction: both, with: [{table: l}]", "does not go with `with`: a header and its lines"),
    ("table: t, kind: snapshot, direction: both, where: a = 1", "does not go with `where`: an edit in the cloud could"),
    ("table: t, kind: snapshot, direction: both, exclude: [a]", "does not go with `exclude`: a row that is inserted"),
    ("table: t, kind: snapshot, direction: down, include: [a]", "does not go with `include`: a row that is inserted"),
    ("table: t, kind: snapshot, newer: a", "newer: stream \"t\": `direction: up` does not go with `newer`: only one"),
    (
      "name: s, table: t, kind: snapshot, direction: down, natural_key: true",
      "natural_key: stream \"s\": `direction: down` does not go with `natural_key`: only one side"
    ),
    ("table: t, kind: snapshot, direction: both, machines: all", "does not go with `machines`: a row that its machine"),
    ("table: t, kind: snapshot, machines: all", "does not go with `machines`: a row that its machine"),
    ("table: t, kind: snapshot, app_triggers: on", "does not go with `app_triggers`: no row comes down"),
    ("table: t, kind: snapshot, direction: down, time_column: a", "does not go with `time_column`: it is for"),
    (
      "table: t, kind: snapshot, direction: both, key: [k, a], newer: A",
      "newer: stream \"t\": `newer` does not go with the key's own column A: two edits"
    ),
    (
      "table: t, kind: snapshot, direction: both, synced_column: s, newer: s",
      "`newer` does not go with `synced_column: s`: Drover sets"
    ),
    ("table: t, kind: snapshot, direction: down, merge: columns", "does not go with `merge`: only one side"),
    ("table: t, kind: snapshot, direction: both, app_triggers: maybe", "app_triggers: expected one of on, off"),
  ])
  func `what cannot work is found in its place, with the reason`(stream: String, problem: String) {
    let found = problems(try edge(text(stream)))
    #expect(found.count == 1 && found[0].contains(problem), "\(found)")
  }

  // The values of a column that travels as a hash are not what the other side would write.
  @Test func `hashed columns cannot come down`() {
    let text =
      "machine: M\ndatabase: a.db\nbroker: mqtt://b\nhash_key_env: HOME\nstreams:\n  - {table: t, kind: snapshot, direction: both, hash: [a]}"
    #expect(problems(try edge(text)).contains { $0.contains("does not go with `hash`: the cloud has only a hash") })
  }

  @Test(arguments: [
    "table: t, kind: snapshot, direction: down, synced_column: s, key: a, app_triggers: on, machines: all",
    "table: t, kind: batch, direction: down, complete_when: a = 1, machines: machine",
    "table: t, kind: batch, direction: both, complete_when: a = 1, newer: b, natural_key: true, merge: row, app_triggers: off",
    "table: t, kind: snapshot, direction: both, synced_column: s, time_column: c, key: [a, b], newer: c",
  ])
  func `what can work is taken`(stream: String) throws {
    #expect(problems(try edge(text(stream))) == [])
  }
}
