import DroverConfiguration
import Foundation
import Testing

@Suite struct CredentialsTests {
  private func credentials(
    _ keys: String, files: [String: String] = [:], environment: [String: String] = [:]
  ) throws -> Credentials? {
    try withFolder(files) { try cloud(leastCloud + keys, in: $0, environment: environment).connection.credentials }
  }

  private func problemsOf(
    _ keys: String, files: [String: String] = [:], environment: [String: String] = [:]
  ) throws -> [String] {
    try withFolder(files) { folder in problems(try cloud(leastCloud + keys, in: folder, environment: environment)) }
  }

  @Test(arguments: ["hunter2", "hunter2\n", "hunter2\r\n", "hunter2\nsecond line\n"])
  func `the password is the first line of its file`(text: String) throws {
    let keys = "credentials: {username: maria, password_file: ./pw}"
    #expect(try credentials(keys, files: ["pw": text]) == Credentials(username: "maria", password: "hunter2"))
  }

  @Test func `the environment counts where the file says nothing`() throws {
    let environment = ["DROVER_USERNAME": "maria", "DROVER_PASSWORD": "hunter2"]
    #expect(try credentials("", environment: environment) == Credentials(username: "maria", password: "hunter2"))
    #expect(
      try credentials("credentials: {username: otto, password_file: pw}", files: ["pw": "x"], environment: environment)
        == Credentials(username: "otto", password: "x"))
  }

  @Test func `other variables can be named`() throws {
    let keys = "credentials: {username_env: A, password_env: B}"
    #expect(
      try credentials(keys, environment: ["A": "maria", "B": "hunter2", "DROVER_PASSWORD": "no"])
        == Credentials(username: "maria", password: "hunter2"))
  }

  @Test func `there may be a user without a password, and nobody at all`() throws {
    #expect(try credentials("credentials: {username: m}") == Credentials(username: "m", password: nil))
    #expect(try credentials("") == nil)
    #expect(try credentials("", environment: ["DROVER_USERNAME": "", "DROVER_PASSWORD": ""]) == nil)
  }

  @Test func `a password needs a user`() throws {
    #expect(
      try problemsOf("", environment: ["DROVER_PASSWORD": "hunter2"]) == [
        """
        cloud.yaml: credentials.username: missing, although there is a password; add `username` or set the \
        environment variable DROVER_USERNAME
        """
      ])
  }

  @Test func `a variable that is named must be set`() throws {
    #expect(
      try problemsOf("credentials: {username_env: A, password_env: hunter2}") == [
        "cloud.yaml:3:15: credentials.username_env: the environment variable A is not set",
        "cloud.yaml:3:32: credentials.password_env: the environment variable that it names is not set",
      ])
  }

  @Test func `two sources for one thing are an error`() throws {
    let keys = "credentials: {username: m, username_env: A, password_file: pw, password_env: A}"
    #expect(
      try problemsOf(keys, files: ["pw": "x"], environment: ["A": "y"]) == [
        "cloud.yaml:3:28: credentials.username_env: use `username` or `username_env`, not both",
        "cloud.yaml:3:64: credentials.password_env: use `password_file` or `password_env`, not both",
      ])
  }

  @Test func `the file has no place for a password, and says what has`() throws {
    #expect(
      try problemsOf("credentials:\n  username: m\n  password: hunter2") == [
        """
        cloud.yaml:5:3: credentials.password: do not write a password here; put it into a file of its own \
        and name that with `password_file`, or set the environment variable DROVER_PASSWORD
        """
      ])
  }

  @Test func `a password's file that cannot be used is an error`() throws {
    let keys = "credentials: {username: m, password_file: hunter2}"
    let start = "cloud.yaml:3:28: credentials.password_file: "
    #expect(try problemsOf(keys) == [start + "cannot read the file that it names: No such file or directory"])
    #expect(
      try problemsOf(keys, files: ["hunter2": "\nhunter2"]) == [
        start + "expected a secret of 1 to 65535 bytes in what it names"
      ])
  }

  @Test(arguments: [
    "credentials: {username: m, password: hunter2}",
    "credentials: {username: m, password: [hunter2]}",
    "credentials: {username: m, password_file: hunter2}",
    "credentials: {username: m, password_file: [hunter2]}",
    "credentials: {username: m, password_file: {hunter2: x}}",
    "credentials: {username: m, password_file: \"hunter2\\n\"}",
    "credentials: {username: m, password_env: hunter2}",
    "credentials: {username: m, password_env: hunter2!}",
    "credentials: {username: m, password_env: [hunter2]}",
    "credentials: {username: m, pasword: hunter2}",
    "credentials: {username: m, passwd: hunter2}",
    "credentials: {username: m, password_file: hunter2, password_file: hunter2}",
    "credentials: {hunter2}",
    "credentials: {passwordhunter2}",
    "credentials: {username:m, password:hunter2}",
    "credentials: {password:hunter2, password:hunter2}",
    "credentials:\n  username:m\n  password:hunter2",
    "credentials: hunter2",
    "credentials: [hunter2]",
    "credentials: {username: m, password_file: \"hunter2}",
    "credentials: {password_file: hunter2\nbroker",
    "password: hunter2",
  ])
  func `no error shows a secret`(keys: String) throws {
    let found = try problemsOf(keys, environment: ["hunter3": "x"])
    #expect(found.isEmpty == false)
    #expect(found.filter { $0.contains("hunter2") } == [])
  }

  @Test func `whatever prints credentials prints no password`() throws {
    let configuration = try cloud(
      leastCloud, environment: ["DROVER_USERNAME": "maria", "DROVER_PASSWORD": "hunter2"])
    #expect(configuration.connection.credentials?.password == "hunter2")
    var dumped = ""
    dump(configuration, to: &dumped)
    let credentials = try #require(configuration.connection.credentials)
    dump(credentials, to: &dumped)
    let texts = [
      dumped, "\(configuration)", String(reflecting: configuration), "\(credentials)", String(reflecting: credentials),
    ]
    for text in texts {
      #expect(text.contains("maria"))
      #expect(!text.contains("hunter2"))
    }
  }
}
