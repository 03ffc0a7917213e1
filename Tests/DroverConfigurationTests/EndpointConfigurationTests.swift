import DroverConfiguration
import DroverCore
import Testing

@Suite struct EndpointConfigurationTests {
  private func worklist(_ keys: String, files: [String: String] = [:]) throws -> WorklistConfiguration? {
    try withFolder(files) { try cloud(leastCloud + "worklists: [{name: mix, \(keys)}]\n", in: $0).worklists.first }
  }

  private func problemsOf(_ keys: String, files: [String: String] = [:]) throws -> String {
    try withFolder(files) { folder in
      problems(try cloud(leastCloud + "worklists: [{name: mix, \(keys)}]\n", in: folder)).joined(separator: "\n")
    }
  }

  @Test func `without the sections there is no endpoint`() throws {
    let found = try #require(try worklist("stream: mo"))
    #expect(found.fetch == nil && found.completed == nil)
  }

  @Test func `every key is read`() throws {
    let found = try worklist(
      """
      fetch: {url: 'https://erp/{machine}', method: PUT, headers: {X-Plant: "7"}, token_file: t, body: '{"n": {limit}}',
      items: '$.data.list[*]', key: no.text, fields: {mo_id: no.text}, machine: line, timeout: 5s, ca: ca.pem},
      completed: {url: 'http://erp/done', body: '{key}'}
      """, files: ["t": "secret\n", "ca.pem": ""])
    let fetch = try #require(found?.fetch)
    #expect(
      fetch
        == FetchPlan(
          endpoint: EndpointPlan(
            url: EndpointTemplate("https://erp/{machine}"), method: "PUT",
            headers: [.init(name: "X-Plant", value: "7")], token: "secret", body: EndpointTemplate("{\"n\": {limit}}"),
            ca: fetch.endpoint.ca, timeout: .seconds(5)),
          items: ["data", "list"], key: ["no", "text"], fields: [.init(name: "mo_id", path: ["no", "text"])],
          machine: ["line"]))
    #expect(fetch.endpoint.ca?.hasSuffix("/ca.pem") == true)
    #expect(
      found?.completed
        == CompletedPlan(
          endpoint: EndpointPlan(
            url: EndpointTemplate("http://erp/done"), method: "POST", body: EndpointTemplate("{key}"))))
    #expect(!"\(fetch)".contains("erp") && !"\(fetch)".contains("secret"))
  }

  @Test func `a request without a body is a GET, and with one a POST`() throws {
    #expect(try worklist("fetch: {url: 'http://a', key: k}")?.fetch?.endpoint.method == "GET")
    #expect(try worklist("fetch: {url: 'http://a', key: k, body: x}")?.fetch?.endpoint.method == "POST")
    #expect(try worklist("fetch: {url: 'http://a', key: k, every: 5m}")?.fetch?.limit == 100)
  }

  @Test(
    arguments: [
      ("fetch: {key: k}", "fetch.url: missing"), ("fetch: {url: 'http://a'}", "fetch.key: missing"),
      ("fetch: {url: 'ftp://secret', key: k}", "text that is not shown here"),
      ("fetch: {url: 'http://a/{mashine}', key: k}", "in braces may stand {limit}, {machine}"),
      ("fetch: {url: 'http://{machine}/', key: k}", "expected an address"),
      ("fetch: {url: 'http://a', key: k, token: x}", "put it into a file"),
      ("fetch: {url: 'http://a', key: k, headers: {Authorization: x}}", "token_file"),
      ("fetch: {url: 'http://a', key: k, headers: {Host: x}}", "Host is written by Drover"),
      ("fetch: {url: 'http://a/{machine}', key: k, every: 5m}", "remove one of the two"),
      ("fetch: {url: 'http://a', key: k, limit: 5}", "set `every` too"),
      ("fetch: {url: 'http://a', key: k, method: GET, body: x}", "GET has no body"),
      ("fetch: {url: 'http://a', key: '$'}", "names a member of an item"),
      ("fetch: {url: 'http://a', key: 'a..b'}", "names of members with dots"),
      ("fetch: {url: 'http://a', key: k, retries: 3}", "unknown key `retries`"),
      ("completed: {}", "completed.url: missing"),
    ])
  func `what cannot work is an error that says why`(_ keys: String, _ text: String) throws {
    let found = try problemsOf(keys)
    #expect(found.contains(text), "\(found)")
    #expect(!found.contains("secret"))
  }
}
