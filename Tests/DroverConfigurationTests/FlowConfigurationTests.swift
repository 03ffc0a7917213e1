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
    ("name: t, kind: snapshot, direction: both", "direction: rows come down into a table"),
    ("table: t, kind: payload, direction: both", "direction: a stream of kind payload only goes up"),
    ("table: t, kind: payload, direction: down", "direction: a stream of kind payload only goes up"),
    ("table: t, kind: snapshot, direction: both, identity: [a]", "direction: with `identity`"),
    ("table: t, kind: batch, direction: both, with: [{table: l}]", "direction: a header and its lines"),
    ("table: t, kind: snapshot, direction: both, where: a = 1", "without what does not travel (`where`)"),
    ("table: t, kind: snapshot, direction: both, exclude: [a]", "without what does not travel (`exclude`)"),
    ("table: t, kind: snapshot, direction: down, include: [a]", "without what does not travel (`include`)"),
    ("table: t, kind: snapshot, newer: a", "newer: it is about rows that both sides edit"),
    ("table: t, kind: snapshot, direction: down, natural_key: true", "natural_key: it is about rows that both"),
    ("table: t, kind: snapshot, direction: down, merge: columns", "merge: it is about rows that both sides edit"),
    ("table: t, kind: snapshot, direction: both, machines: all", "machines: only reference data"),
    ("table: t, kind: snapshot, machines: all", "machines: only reference data"),
    ("table: t, kind: snapshot, app_triggers: on", "app_triggers: nothing comes down"),
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
    #expect(problems(try edge(text)).contains { $0.contains("without what does not travel (`hash`)") })
  }
}
