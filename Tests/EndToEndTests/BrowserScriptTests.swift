// Scripts of pages of another host, in a real browser: they ask with a token in a header, and watch with a ticket in the URL.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct BrowserScriptTests {
  private func makeRoad(letsPagesAsk: Bool) async throws -> HTTPRoad {
    let http = try HTTPRoad(letsPagesAsk: letsPagesAsk, cloud: "changes: true")
    try await http.road.python(Road.makePensAndFacts)
    try await http.start([.cloud, .edge])
    return http
  }

  @Test func `a page of another host that the configuration names watches the changes`() async throws {
    let http = try await makeRoad(letsPagesAsk: true)
    let browser = try await Browser()
    try await browser.open(http.url(.edge, "/v1/health"))
    try await browser.script(
      """
      window.seen = [];
      (async () => {
        const answer = await fetch("\(http.url(.cloud, "/v1/ticket"))", {headers: {"X-API-Key": "\(HTTPRoad.readToken)"}});
        const {ticket} = await answer.json();
        const source = new EventSource(`\(http.url(.cloud, "/v1/live?stream=pen&ticket="))${ticket}`);
        source.onopen = () => window.seen.push("open");
        source.addEventListener("put", (event) => window.seen.push(JSON.parse(event.data).id));
        source.onerror = () => window.seen.push("error");
      })().catch((error) => window.seen.push(`${error}`));
      """)
    func seen() async throws -> [String] { try await browser.script("return window.seen") as? [String] ?? [] }
    try await http.road.wait(for: "the stream") { try await seen() == ["open"] }
    try await http.road.python("db.execute('INSERT INTO pen VALUES (1, \\'blue\\')')")
    try await http.road.wait(for: "the change") { try await seen() == ["open", "1"] }
  }

  @Test func `a page of any other host may not ask`() async throws {
    let http = try await makeRoad(letsPagesAsk: false)
    let browser = try await Browser()
    try await browser.open(http.url(.edge, "/v1/health"))
    try await browser.script(
      """
      fetch("\(http.url(.cloud, "/v1/ticket"))", {headers: {"X-API-Key": "\(HTTPRoad.readToken)"}})
        .then((answer) => { window.result = `${answer.status}`; }, (error) => { window.result = `${error}`; });
      """)
    try await http.road.wait(for: "the refusal") {
      try await browser.script("return window.result ?? ''") as? String == "TypeError: Failed to fetch"
    }
  }

  @Test func `a key in X-API-Key is a token, and a ticket reads alone`() async throws {
    let http = try await makeRoad(letsPagesAsk: false)
    func status(_ path: String, _ options: [String]) async throws -> Int {
      try await http.ask(.cloud, path, token: nil, options: options).status
    }
    #expect(try await status("/v1/status", ["-H", "X-API-Key: \(HTTPRoad.readToken)"]) == 200)
    #expect(try await status("/v1/status", ["-H", "X-API-Key: x\(HTTPRoad.readToken)"]) == 401)
    #expect(try await status("/v1/ticket", []) == 401)
    let answer = try await http.ask(.cloud, "/v1/ticket")
    let ticket = try #require(answer.document["ticket"] as? String)
    #expect(!ticket.contains(HTTPRoad.writeToken))
    #expect(try await status("/v1/status?ticket=\(ticket)", []) == 200)
    #expect(try await status("/v1/status?ticket=\(ticket)0", []) == 401)
    // The ticket of a token that writes.
    #expect(try await status("/v1/dead-letters/1?ticket=\(ticket)", ["-X", "DELETE"]) == 403)
    #expect(!http.road.log(of: .cloud).contains(ticket))
  }
}
