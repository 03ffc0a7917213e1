import DroverConfiguration
import DroverCore
import DroverHashing
import Foundation
import Testing

@Suite struct HTTPConfigurationTests {
  private static let token = "hunter2-hunter2-hunter2"

  private func http(
    _ keys: String, files: [String: String] = [:], environment: [String: String] = [:]
  ) throws -> HTTPConfiguration? {
    try withFolder(files) { try cloud(leastCloud + keys, in: $0, environment: environment).http }
  }

  private func problemsOf(
    _ keys: String, files: [String: String] = [:], environment: [String: String] = [:]
  ) throws -> [String] {
    try withFolder(files) { folder in problems(try cloud(leastCloud + keys, in: folder, environment: environment)) }
  }

  private func digest(_ text: String) -> [UInt8] { SHA256.digest(of: Array(text.utf8)) }

  @Test func `nobody listens unless the file says so`() throws {
    #expect(try http("") == nil)
    #expect(try edge(leastEdge).http == nil)
  }

  @Test func `it listens on loopback unless it is told otherwise`() throws {
    let defaults = HTTPConfiguration(
      host: "127.0.0.1", port: 8080, limits: .init(bodyBytes: 1_048_576, requestsPerSecond: 50, seconds: 30))
    #expect(try http("http: {}") == defaults)
    #expect(try edge(leastEdge + "http: {}").http == defaults)
  }

  @Test func `every key is read, and of a token only its hash stays`() throws {
    let found = try http(
      """
      http:
        listen: "[::]:443"
        tokens: [{name: a, token_file: t}, {name: b, token_env: T, access: write}]
        limits: {body_bytes: 2MiB, requests_per_second: 5, seconds: 6}
      """, files: ["t": Self.token + "\nsecond line\n"], environment: ["T": "0123456789abcdef"])
    #expect(
      found
        == HTTPConfiguration(
          host: "::", port: 443,
          tokens: [
            AccessToken(name: "a", digest: digest(Self.token), access: .read),
            AccessToken(name: "b", digest: digest("0123456789abcdef"), access: .write),
          ], limits: .init(bodyBytes: 2 << 20, requestsPerSecond: 5, seconds: 6)))
    var dumped = ""
    dump(found, to: &dumped)
    #expect(!dumped.contains("hunter2"))
  }

  @Test(arguments: ["127.0.0.1:1", "127.8.9.1:80", "localhost:80", "\"[::1]:80\""])
  func `on loopback it may go without tokens`(address: String) throws {
    #expect(try http("http: {listen: \(address)}")?.tokens == [])
  }

  @Test(arguments: ["0.0.0.0:80", "192.168.1.1:80", "example.com:80", "\"[::]:80\"", "127.0.0.1.example.com:80"])
  func `elsewhere it needs tokens`(address: String) throws {
    #expect(
      try problemsOf("http: {listen: \(address)}") == [
        "cloud.yaml:3:7: http.tokens: missing; an address that is not loopback needs `tokens`, so that not every client can read it"
      ])
  }

  @Test(arguments: ["127.0.0.1", "127.0.0.1:0", "::1:80", "http://localhost:80", "[::1:80", "a b:80"])
  func `an address has a host and a port`(address: String) throws {
    #expect(try problemsOf("http: {listen: \"\(address)\"}").first?.hasPrefix("cloud.yaml:3:8: http.listen: ") == true)
  }

  @Test func `a short token, one from nowhere and one without a source are errors`() throws {
    #expect(
      try problemsOf(
        "http: {tokens: [{name: a, token_file: t}, {name: b, token_env: T}, {name: c}, {name: d, token_file: no}]}",
        files: ["t": "short"]) == [
          "cloud.yaml:3:27: http.tokens[0].token_file: expected a secret of 16 to 4096 bytes in what it names",
          "cloud.yaml:3:53: http.tokens[1].token_env: the environment variable that it names is not set",
          "cloud.yaml:3:68: http.tokens[2].token_file: missing; add `token_file` or `token_env`",
          "cloud.yaml:3:89: http.tokens[3].token_file: cannot read the file that it names: No such file or directory",
        ])
  }

  @Test func `two tokens of one name are an error`() throws {
    #expect(
      try problemsOf(
        "http: {tokens: [{name: a, token_env: T}, {name: a, token_env: T}]}", environment: ["T": Self.token]) == [
          "cloud.yaml:3:43: http.tokens[1].name: another token has the name \"a\"; logs could not tell them apart"
        ])
  }

  @Test func `a certificate and its key come together`() throws {
    #expect(
      try problemsOf("http: {tls: {certificate: c.pem}}", files: ["c.pem": ""]) == [
        "cloud.yaml:3:14: http.tls.certificate: `certificate` and `key` are given together; `key` is missing"
      ])
  }

  @Test(arguments: [
    "{name: a, token: hunter2}", "{name: a, token_file: hunter2}", "{name: a, token_env: hunter2!}",
    "{name: a, token_env: hunter2}", "{name: a, tokn_file: hunter2}", "hunter2", "{name: a, token_file: [hunter2]}",
  ])
  func `no error shows a token`(token: String) throws {
    let found = try problemsOf("http: {tokens: [\(token)]}")
    #expect(found.isEmpty == false)
    #expect(found.filter { $0.contains("hunter2") } == [])
  }
}
