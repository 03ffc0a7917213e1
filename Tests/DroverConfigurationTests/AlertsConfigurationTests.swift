import DroverConfiguration
import DroverCore
import Testing

@Suite struct AlertsConfigurationTests {
  private func alerts(
    _ keys: String, files: [String: String] = [:], environment: [String: String] = [:]
  ) throws -> AlertsConfiguration? {
    try withFolder(files) { try cloud(leastCloud + keys, in: $0, environment: environment).alerts }
  }

  private func problemsOf(_ keys: String, files: [String: String] = [:]) throws -> [String] {
    try withFolder(files) { folder in problems(try cloud(leastCloud + keys, in: folder)) }
  }

  @Test func `without the section nothing is judged, and an empty one has every rule`() throws {
    #expect(try alerts("") == nil)
    let found = try #require(try alerts("alerts: {}"))
    #expect(found == AlertsConfiguration(rules: AlertRules()))
    #expect(found.rules.active == AlertRule.allCases)
  }

  @Test func `every key is read`() throws {
    let found = try alerts(
      """
      alerts:
        silent: 1h
        oldest_unconfirmed: 2h
        failures: 0
        dead_letters: 7
        disk: 2GiB
        schemas: off
        jobs: on
        budgets: off
        for: 0s
        calm: 5m
        webhook: {url: "https://example.com/hook?key=1", token_file: t, ca: ca.pem}
      """, files: ["t": "secret\n", "ca.pem": ""])
    let rules = AlertRules(
      silent: .seconds(3600), oldestUnconfirmed: .seconds(7200), failures: 0, deadLetters: 7, disk: 2 << 30,
      schemas: false, jobs: true, budgets: false, hold: .zero, calm: .seconds(300))
    #expect(
      found
        == AlertsConfiguration(
          rules: rules,
          webhook: WebhookConfiguration(
            url: "https://example.com/hook?key=1", token: "secret", ca: found?.webhook?.ca)))
    #expect(found?.webhook?.ca?.hasSuffix("/ca.pem") == true)
    #expect(
      try problemsOf("alerts: {webhook: {url: \"http://example.com/\", ca: ca.pem}}", files: ["ca.pem": ""]) == [
        "cloud.yaml:3:48: alerts.webhook.ca: is for an address with https://; remove it"
      ])
  }

  @Test func `every rule can be switched off`() throws {
    let keys =
      "silent: off, oldest_unconfirmed: off, failures: off, dead_letters: off, disk: off, schemas: off, jobs: off, "
      + "budgets: off, names: off, tables: off, streams: off, conflicts: off, endpoints: off, worklists: off"
    #expect(try alerts("alerts: {\(keys)}")?.rules.active == [])
  }

  @Test func `what is no limit is an error`() throws {
    #expect(
      try problemsOf("alerts: {silent: 1s, failures: -1, disk: none, jobs: yes, silend: 5m}") == [
        "cloud.yaml:3:10: alerts.silent: expected a duration in whole seconds from 5s to 365d, such as 30s, 5m, 2h or 7d, or off; found \"1s\"",
        "cloud.yaml:3:22: alerts.failures: expected a whole number from 0 to 1000000, or off; found \"-1\"",
        "cloud.yaml:3:36: alerts.disk: expected a size from 1MiB to 1048576GiB, such as 500kB, 64KiB or 16MiB, or off; found \"none\"",
        "cloud.yaml:3:48: alerts.jobs: expected on or off; found \"yes\"",
        "cloud.yaml:3:59: alerts: unknown key `silend`; did you mean `silent`?",
      ])
  }

  @Test func `a webhook needs an address`() throws {
    #expect(
      try problemsOf("alerts: {webhook: {token_file: t}}", files: ["t": "x"]) == [
        "cloud.yaml:3:19: alerts.webhook.url: missing; add for example `url: https://example.com/drover`"
      ])
  }

  @Test(arguments: [
    "url: hunter2", "url: \"ftp://hunter2\"", "url: \"https://u:hunter2@a\"", "url: \"https://a#hunter2\"",
    "url: \"https://a\", token: hunter2", "url: \"https://a\", token_file: hunter2", "url: \"https:///hunter2\"",
  ])
  func `no error and no dump shows an address or a token`(keys: String) throws {
    let found = try problemsOf("alerts: {webhook: {\(keys)}}")
    #expect(!found.isEmpty)
    #expect(found.filter { $0.contains("hunter2") } == [])
    var dumped = ""
    dump(WebhookConfiguration(url: "https://hunter2", token: "hunter2"), to: &dumped)
    #expect(!dumped.contains("hunter2") && !"\(WebhookConfiguration(url: "hunter2"))".contains("hunter2"))
  }

  @Test func `a token that no header takes is an error`() throws {
    #expect(
      try problemsOf("alerts: {webhook: {url: \"https://a\", token_file: t}}", files: ["t": "a\tb\n"]) == [
        "cloud.yaml:3:38: alerts.webhook.token_file: the token has characters that no header takes"
      ])
  }
}
