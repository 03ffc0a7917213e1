import DroverConfiguration
import DroverCore
import Testing

@Suite struct SelectionConfigurationTests {
  private func text(_ stream: String, _ top: String = "") -> String {
    "machine: M\ndatabase: a.db\nbroker: mqtt://b\n\(top)\nstreams:\n  - {\(stream)}"
  }

  private let secret = "0123456789abcdef"
  private var key: HashKey { HashKey(bytes: Array(secret.utf8)) }

  @Test func `columns, rows, hashes and the secret are read`() throws {
    try withFolder(["key": secret + "\nmore"]) { folder in
      let stream = #"table: t, kind: snapshot, include: [a, "b c"], where: "a > 1", hash: ["b c"]"#
      let read = try edge(text(stream, "hash_key_file: key"), in: folder)
      #expect(
        read.streams[0].selection
          == Selection(
            include: ["a", "b c"], filter: try Condition(parsing: "a > 1"), hashed: ["b c"], hashKey: key))
    }
    let read = try edge(
      text("table: t, kind: snapshot, exclude: [a]", "hash_key_env: K"), environment: ["K": secret])
    #expect(read.streams[0].selection == Selection(exclude: ["a"], hashKey: key))
  }

  @Test(arguments: [
    ("table: t, kind: snapshot, include: [a], exclude: [b]", "", "exclude: use `include` or `exclude`, not both"),
    (
      "table: t, kind: snapshot, include: []", "",
      "include: expected a list with at least one entry; found an empty list"
    ),
    ("table: t, kind: snapshot, exclude: a", "", "exclude: expected a list with at least one entry; found text"),
    ("table: t, kind: snapshot, exclude: [{a: b}]", "", "exclude[0]: expected a column's name"),
    ("name: t, kind: payload, where: a = 1", "", "where: a stream without a `table` has no columns"),
    ("table: t, kind: snapshot, where: a", "", "where: expected =, <>"),
    ("table: t, kind: snapshot, hash: [a]", "", "hash: a hash needs a secret"),
    (
      "table: t, kind: snapshot, hash: [a]", "hash_key_env: NO",
      "hash_key_env: the environment variable that it names is not set"
    ),
    (
      "table: t, kind: snapshot, hash: [a]", "hash_key_env: SHORT",
      "hash_key_env: expected a secret of 16 to 65535 bytes"
    ),
    (
      "table: t, kind: snapshot, hash: [a]", "hash_key_file: /nowhere",
      "hash_key_file: cannot read the file that it names"
    ),
    ("table: t, kind: snapshot", "hash_key_env: hunter2-hunter2", "found text that is not shown here"),
  ])
  func `what makes no sense is found in its place, and no secret is shown`(stream: String, top: String, problem: String)
  {
    let found = problems(try edge(text(stream, top), environment: ["SHORT": "0123"]))
    #expect(found.count == 1 && found[0].contains(problem), "\(found)")
    #expect(!found.description.contains("hunter2"))
  }
}
