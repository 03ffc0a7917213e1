import DroverConfiguration
import Foundation
import Testing

@Suite struct ConfigurationErrorsTests {
  @Test func `all problems are reported at once, in the order of the file`() {
    let yaml = """
      database: 7
      log_level: loud
      machine: M
      keep_alive: 30
      streams: [{kind: snap, table: t}]
      colour: red
      """
    do throws(ConfigurationErrors) {
      _ = try edge(yaml)
      Issue.record("no error")
    } catch {
      #expect(
        error.description == """
          edge.yaml:2:1: log_level: expected one of trace, debug, info, notice, warning, error, critical; found "loud"
          edge.yaml:4:1: keep_alive: expected a duration with its unit (ms, s, m, h or d), such as 30s; found "30"
          edge.yaml:5:12: streams[0].kind: expected one of snapshot, payload, batch; found "snap"
          edge.yaml:6:1: unknown key `colour`; known here: machine, database, broker, credentials, tls, client_id, \
          keep_alive, session_expiry, log_level, window, frame, compression, status_every, outbox, dead_letters, backup, \
          http, hash_key_file, hash_key_env, streams
          edge.yaml: broker: missing; add for example `broker: mqtt://127.0.0.1:1883`
          """)
    }
  }

  @Test(arguments: [
    ("databse", "database"), ("keep-alive", "keep_alive"), ("KeepAlive", "keep_alive"), ("Machine", "machine"),
    ("brkoer", "broker"), ("sessionexpiry", "session_expiry"), ("stream", "streams"), ("cred", "credentials"),
    ("tsl", "tls"),
  ])
  func `an unknown key names the nearest known one`(key: String, nearest: String) {
    #expect(
      problems(try edge(leastEdge + "\(key): x")) == ["edge.yaml:5:1: unknown key `\(key)`; did you mean `\(nearest)`?"]
    )
  }

  @Test func `an unknown key in a section is named with the section`() throws {
    #expect(
      problems(try edge(leastEdge + "window:\n  event: 5")) == [
        "edge.yaml:6:3: window: unknown key `event`; did you mean `events`?"
      ])
    #expect(
      problems(try edge(leastEdge(with: "streams: [{table: a, kind: batch, synced: s}]"))) == [
        "edge.yaml:4:35: streams[0]: unknown key `synced`; did you mean `synced_column`?"
      ])
  }

  @Test func `what has no value is not shown, for it may be one`() {
    #expect(
      problems(try edge(leastEdge + "window: {events:5}")) == [
        "edge.yaml:5:10: window: expected `key: value`; found something without a value; did you mean `events`?"
      ])
  }

  @Test func `a refused key is not proposed`() {
    let found = problems(try edge(leastEdge + "credentials: {username: m, pasword: x}"))
    #expect(
      found == [
        """
        edge.yaml:5:28: credentials: unknown key `pasword`; known here: username, username_env, password_file, \
        password_env
        """
      ])
  }

  @Test func `a key that is given twice is an error`() {
    #expect(
      problems(try edge(leastEdge + "machine: MAH002")) == [
        "edge.yaml:1:1: `machine` is given here and again further down; give it once"
      ])
    #expect(
      problems(try edge(leastEdge + "window:\n  events: 1\n  events: 2")) == [
        "edge.yaml:6:3: `events` is given here and again further down; give it once"
      ])
  }

  @Test func `what is not YAML is found by line`() {
    #expect(
      problems(try edge("machine: M\nbroker: 'mqtt\n")) == [
        "edge.yaml:3:1: this is not YAML: while scanning a quoted scalar, found unexpected end of stream"
      ])
    #expect(
      problems(try edge("a: 1\r\nbö: \u{7}\r\n")) == [
        "edge.yaml:2:5: this is not YAML: control characters are not allowed"
      ])
    #expect(problems(try edge("a: *b")).first?.hasPrefix("edge.yaml:1:4: this is not YAML: ") == true)
    #expect(problems(try edge("a: 1\n---\na: 2")).first?.contains("found another document") == true)
  }

  @Test func `a file without keys says what is expected`() {
    #expect(problems(try edge("")) == ["edge.yaml: the file is empty"])
    #expect(problems(try edge("# nothing yet\n")) == ["edge.yaml: the file is empty"])
    let expected = "edge.yaml: expected keys with values, such as `broker: mqtt://127.0.0.1:1883`; found "
    #expect(problems(try edge("hello")) == [expected + "text"])
    #expect(problems(try edge("- a")) == [expected + "a list"])
  }

  @Test func `a key that is no word is an error`() {
    #expect(
      problems(try edge(leastEdge + "? [a]\n: b")) == ["edge.yaml:5:3: a key is a word; found a list"])
  }

  @Test func `an anchor's value is reported where it is used`() {
    #expect(
      problems(try edge(leastEdge + "client_id: &x a/b\nlog_level: *x")).map { $0.prefix(14) } == [
        "edge.yaml:5:1:", "edge.yaml:6:1:",
      ])
  }

  @Test func `what is found is shown on one line and cut`() {
    let found = problems(try edge(leastEdge + "log_level: \"a\\n\\\"\(String(repeating: "b", count: 200))\""))
    #expect(found.count == 1)
    #expect(found.first?.hasSuffix("found \"a\\n\\\"\(String(repeating: "b", count: 77))…\"") == true)
  }

  @Test func `whatever is cut out of a file, its problems are told without its secret`() {
    let yaml = """
      machine: MAH001
      database: "./app.db"
      broker: mqtt://[::1]:1883
      credentials: {username: maria, password: hunter2}
      keep_alive: 30s
      window: {events: 20000, bytes: 16MiB}
      streams:
        - table: stock
          kind: snapshot
        - &t {name: t, kind: payload}
      """
    #expect(problems(try edge(yaml)).count == 1)
    let characters = Array(yaml)
    for length in 1...4 {
      for start in 0..<characters.count - length {
        let text = String(characters[..<start] + characters[(start + length)...])
        let found = problems(try edge(text))
        #expect(!found.isEmpty, "\(text)")
        #expect(found.filter { $0.contains("hunter2") } == [], "\(text)")
      }
    }
  }

  @Test func `a file that cannot be read is named as it was given`() throws {
    try withFolder(["latin1.yaml": ""]) { folder in
      try Data([0x61, 0x3a, 0x20, 0xe4]).write(to: URL(filePath: folder + "/latin1.yaml"))
      for (file, cause) in [
        ("none.yaml", "No such file or directory"), (".", "Is a directory"), ("latin1.yaml", "it is not UTF-8"),
      ] {
        let path = "\(folder)/\(file)"
        #expect(
          problems(try EdgeConfiguration.load(path: path, environment: [:])) == [
            "\(path): cannot read the configuration: \(cause)"
          ])
      }
    }
    #expect(
      problems(try CloudConfiguration.load(path: "/dev/zero", environment: [:])) == [
        "/dev/zero: cannot read the configuration: more than 1MiB"
      ])
  }

  @Test(.enabled(if: getuid() != 0, "root may read everything"))
  func `a file without permission says so`() throws {
    try withFolder(["c.yaml": leastCloud]) { folder in
      let path = folder + "/c.yaml"
      #expect(chmod(path, 0) == 0)
      #expect(
        problems(try CloudConfiguration.load(path: path, environment: [:])) == [
          "\(path): cannot read the configuration: Permission denied"
        ])
    }
  }
}
