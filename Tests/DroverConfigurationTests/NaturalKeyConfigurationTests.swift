import DroverConfiguration
import DroverCore
import Testing

@Suite struct NaturalKeyConfigurationTests {
  private func text(_ stream: String) -> String {
    "machine: M\ndatabase: a.db\nbroker: mqtt://b\nstreams:\n  - {\(stream)}"
  }

  @Test func `by what rows are matched is read`() throws {
    let both = try edge(text("table: t, kind: snapshot, identity: [barcode_number], else: [brand, size]"))
    #expect(
      both.streams[0].naturalKey
        == (try NaturalKey(columns: ["barcode_number"], fallback: ["brand", "size"])))
    let one = try edge(text("table: t, kind: snapshot, identity: [a, b]"))
    #expect(one.streams[0].naturalKey == (try NaturalKey(columns: ["a", "b"])))
    #expect(try edge(text("table: t, kind: snapshot")).streams[0].naturalKey == nil)
  }

  @Test(arguments: [
    ("table: t, kind: snapshot, else: [a]", "else: `else` is for rows without an `identity`; name that too"),
    ("table: t, kind: snapshot, identity: []", "identity: expected a list with at least one entry"),
    ("table: t, kind: snapshot, identity: [a], else: []", "else: expected a list with at least one entry"),
    ("table: t, kind: snapshot, identity: a", "identity: expected a list with at least one entry; found text"),
    ("table: t, kind: snapshot, identity: [a, A]", "identity: `identity` names a column twice"),
    ("table: t, kind: snapshot, identity: [a], else: [b, b]", "identity: `else` names a column twice"),
    ("table: t, kind: payload, identity: [a]", "identity: only a stream of kind snapshot with a `table` is matched"),
    ("table: t, kind: batch, identity: [a]", "identity: only a stream of kind snapshot with a `table` is matched"),
    ("name: t, kind: snapshot, identity: [a]", "identity: only a stream of kind snapshot with a `table` is matched"),
  ])
  func `what makes no sense is found in its place`(stream: String, problem: String) {
    let found = problems(try edge(text(stream)))
    #expect(found.count == 1 && found[0].contains(problem), "\(found)")
  }
}
