// The consumer's page in a real browser, with real machines behind it.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct PageTests {
  /// A fleet of one machine that is heard, and a page that is looked at.
  private final class Scene {
    let http: HTTPRoad
    let browser: Browser
    var road: Road { http.road }

    init(_ sides: [Road.Side] = [.cloud, .edge]) async throws {
      http = try HTTPRoad(edge: "status_every: 1s", cloud: "changes: true")
      try await http.road.python(
        """
        \(Road.makePensAndFacts)
        db.executemany('INSERT INTO pen VALUES (?, ?)', [(i, 'pen %d' % i) for i in range(3)])
        """)
      try await http.start(sides)
      browser = try await Browser()
    }

    /// Opens the page as somebody whose token the browser has already.
    func open(_ place: String = "#/", token: String = HTTPRoad.writeToken) async throws {
      try await browser.open(http.url(.cloud, "/"))
      try await browser.script(
        "sessionStorage.setItem('drover-token', '\(token)'); location.hash = '\(place)'; location.reload()")
      try await wait(for: "the page") { !$0.isEmpty && !$0.contains("A token is needed") }
    }

    /// As a machine that speaks no Drover.
    func publish(_ message: String) async throws {
      _ = try await Road.run(
        "mosquitto_pub",
        ["-p", "\(road.broker.port)", "-q", "1", "-t", "drover/v1/MAH001/payload/reading", "-m", message])
    }

    /// Until what the page shows is so.
    func wait(for what: String, _ isSo: @escaping (String) async throws -> Bool) async throws {
      try await road.wait(for: what) { try await isSo(self.browser.text("main")) }
    }

    /// What went wrong in the page, but for the question for a token.
    func errors() async throws -> [String] {
      try await browser.errors().filter { !$0.contains("401 (Unauthorized)") }
    }

    func row(_ machine: String) async throws -> String {
      try await browser.script(
        "return [...document.querySelectorAll('table.fleet tbody tr')].find((row) => row.innerText.includes('\(machine)'))?.innerText ?? ''"
      ) as? String ?? ""
    }
  }

  @Test func `a conflict shows both values side by side, says what differs, and is resolved for one or many`()
    async throws
  {
    let scene = try await Scene()
    try await scene.road.waitUntilConfirmed(atLeast: 3)
    _ = try await scene.road.inCloud(
      """
      INSERT INTO drover_conflict (machine_id, stream, local_id, at, reason, loser, columns, content, version, result)
      VALUES ('MAH001', 'pen', '1', 1795000000000000, 'edit', 'cloud', '["id","name"]', '[1,"of the cloud"]', 5, 6),
             ('MAH001', 'pen', '2', 1795000000000000, 'edit', 'machine', '["id","name"]', '[2,"of the machine"]', 5, 6),
             ('MAH001', 'pen', '0', 1795000000000000, 'delete', 'cloud', '["id","name"]', NULL, 5, 6)
      """)
    try await scene.open("#/conflicts")
    try await scene.wait(for: "the list") { $0.contains("3 conflicts") }
    try await scene.browser.click("ul.conflicts summary")
    for width in [360, 1280] {
      try await scene.browser.resize(width: width)
      #expect(
        try await scene.browser.script("return document.documentElement.scrollWidth") as? Int == width,
        "nothing hangs over at \(width)")
      let picture = try await scene.browser.screenshot()
      if let folder = ProcessInfo.processInfo.environment["DROVER_PICTURES"] {
        try picture.write(to: URL(filePath: "\(folder)/conflicts-\(width).png"))
      }
    }
    let shown = try await scene.browser.text("ul.conflicts li")
    #expect(shown.contains("pen 1") && shown.contains("of the cloud") && shown.contains("≠ differs"), "\(shown)")
    // The row changes after the person has looked.
    _ = try await scene.road.inCloud("UPDATE pen SET name = 'another' WHERE id = 1")
    try await scene.browser.click("ul.conflicts .row button")
    try await scene.wait(for: "the refusal, or the row as it is now") { $0.contains("another") }
    #expect(try await scene.road.inCloud("SELECT count(*) FROM drover_conflict") == "[[3]]")
    try await scene.browser.click("ul.conflicts .row button")
    try await scene.wait(for: "one less") { $0.contains("2 conflicts") }
    try await scene.browser.click("#choose-all")
    try await scene.browser.click(".many button:nth-of-type(2)")
    try await scene.browser.acceptQuestion()
    try await scene.wait(for: "what is left") {
      $0.contains("is left") || $0.contains("There are none") || $0.contains("1 conflict,")
    }
    #expect(try await scene.errors().filter { !$0.contains("412") }.isEmpty)
  }

  @Test func `the page asks for a token, says when it is wrong, and shows the fleet with the right one`() async throws {
    let scene = try await Scene()
    try await scene.browser.open(scene.http.url(.cloud, "/"))
    try await scene.wait(for: "the question for a token") { $0.contains("A token is needed") }
    try await scene.browser.type("wrong-0123456789abcdef", into: "#token")
    try await scene.browser.click("form button")
    try await scene.wait(for: "the question again") { $0.contains("A token is needed") }
    try await scene.browser.type(HTTPRoad.readToken, into: "#token")
    try await scene.browser.click("form button")
    try await scene.wait(for: "the machine") { _ in try await scene.row("MAH001").contains("online") }
    try await scene.wait(for: "what it waits for") { _ in
      try await scene.browser.script(
        "return document.querySelector('td[data-name=Waiting]').innerText") as? String == "0"
    }
    let loaded = try #require(
      try await scene.browser.script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
        as? [String])
    #expect(loaded.count > 8)
    #expect(loaded.allSatisfy { $0.hasPrefix(scene.http.url(.cloud, "/")) }, "it loads from nowhere else: \(loaded)")
  }

  @Test func `a machine that is killed is offline, with what to do, and online when it is back`() async throws {
    let scene = try await Scene()
    try await scene.road.waitUntilConfirmed(atLeast: 3)
    try await scene.open()
    try await scene.wait(for: "nothing needs anybody") { $0.contains("Nothing. What was heard of is confirmed") }
    scene.road.end(.edge, SIGKILL)
    try await scene.wait(for: "the machine is offline") {
      guard $0.contains("1 machine is offline") else { return false }
      return try await scene.row("MAH001").contains("offline")
    }
    try await scene.browser.click("ul.troubles summary")
    #expect(try await scene.browser.text("ul.troubles").contains("Check the machine's power and network"))
    try scene.road.start(.edge)
    try await scene.wait(for: "it is back") { !$0.contains("1 machine is offline") }
  }

  @Test func `a machine's page shows its streams as drover status does`() async throws {
    let scene = try await Scene()
    try await scene.road.waitUntilConfirmed(atLeast: 3)
    try await scene.open()
    try await scene.wait(for: "the machine") { $0.contains("MAH001") }
    try await scene.browser.click("table.fleet a")
    try await scene.wait(for: "its streams") { $0.contains("Rows here") && $0.contains("pen") }
    let cells = try await scene.browser.script(
      "return [...document.querySelectorAll('section table tbody td')].slice(0, 4).map((cell) => cell.innerText)")
    #expect(cells as? [String] == ["3", "3", "0", "0"])
    #expect(try await scene.browser.text("h1") == "MAH001")
    #expect(try await scene.errors() == [])
  }

  @Test func `events arrive while somebody looks, those of a pause after it, and those of a restart too`() async throws
  {
    let scene = try await Scene()
    try await scene.road.waitUntilConfirmed(atLeast: 3)
    try await scene.open("#/machines/MAH001")
    try await scene.wait(for: "the page listens") { $0.contains("Listening.") }
    try await scene.road.python("db.execute(\"INSERT INTO fact VALUES ('f1', '<b>seven</b>')\")")
    try await scene.wait(for: "the event") { $0.contains("f1") && $0.contains("<b>seven</b>") }
    try await scene.browser.click("button[aria-pressed]")
    try await scene.road.python("db.execute('DELETE FROM pen WHERE id = 2')")
    try await scene.road.waitUntilConfirmed(atLeast: 5)
    #expect(try await !scene.browser.text(".events").contains("delete"))
    try await scene.browser.click("button[aria-pressed]")
    try await scene.wait(for: "what came meanwhile") { $0.contains("delete") }
    try scene.road.restart(.cloud, SIGKILL)
    try await scene.road.python("db.execute(\"INSERT INTO fact VALUES ('f2', 2)\")")
    try await scene.wait(for: "what came while nobody listened") { $0.contains("f2") }
    let seen = try await scene.browser.script(
      "return [...document.querySelectorAll('.events .id')].map((node) => node.innerText)")
    #expect(seen as? [String] == ["f2", "2", "f1"], "each once, the newest first")
  }

  @Test func `a dead letter is shown as text, sent again in vain with the reason, and purged`() async throws {
    let scene = try await Scene([.cloud])
    let markup = "<img src=x onerror='document.title=1'>"
    try await scene.publish(markup)
    try await scene.road.wait(for: "the letter") { try await scene.road.cloudStatus()?.dead_letters == 1 }
    try await scene.open("#/dead-letters")
    try await scene.wait(for: "the letter's reason") { $0.contains("unparsable") }
    try await scene.browser.click("details summary")
    try await scene.wait(for: "what it carries") {
      $0.contains(markup) && $0.contains("It is no message of the protocol")
    }
    #expect(try await scene.browser.script("return document.querySelectorAll('main img').length") as? Int == 0)
    try await scene.browser.click("details button")
    try await scene.wait(for: "why it is still there") { $0.contains("The letter is still there") }
    try await scene.browser.click("details button.danger")
    try await scene.browser.acceptQuestion()
    try await scene.wait(for: "it is gone") { $0.contains("There are none.") }
    #expect(try await scene.road.cloudStatus()?.dead_letters == 0)
  }

  @Test func `whoever may only read is told so, and nothing is purged`() async throws {
    let scene = try await Scene([.cloud])
    try await scene.publish("x")
    try await scene.road.wait(for: "the letter") { try await scene.road.cloudStatus()?.dead_letters == 1 }
    try await scene.open("#/dead-letters", token: HTTPRoad.readToken)
    try await scene.wait(for: "the letter") { $0.contains("unparsable") }
    try await scene.browser.click("details summary")
    try await scene.browser.click("details button.danger")
    try await scene.browser.acceptQuestion()
    try await scene.wait(for: "why not") { $0.contains("The token reader may only read") }
    #expect(try await scene.road.cloudStatus()?.dead_letters == 1)
  }

  @Test func `when the consumer is gone the page says so, and that its figures are old`() async throws {
    let scene = try await Scene()
    try await scene.open()
    try await scene.wait(for: "the machine") { $0.contains("MAH001") }
    scene.road.end(.cloud, SIGKILL)
    try await scene.road.wait(for: "the page says so") {
      try await scene.browser.text("#trouble").contains("The consumer does not answer")
    }
    #expect(try await scene.browser.text("main").contains("MAH001"), "what was known stays to be seen")
    try scene.road.start(.cloud)
    try await scene.road.wait(for: "it answers again") { try await scene.browser.text("#trouble").isEmpty }
  }

  @Test func `an alert of the operator's rules stands before everything else`() async throws {
    let scene = try await Scene([.cloud])
    try await fill(scene.road)
    try await scene.open()
    try await scene.wait(for: "what is wrong without rules") { $0.contains("1 machine is offline") }
    scene.road.end(.cloud)
    try scene.road.folder.write(
      try String(contentsOfFile: scene.road.cloudFile, encoding: .utf8) + "\nalerts: {silent: 5s, for: 0s}\n",
      to: "cloud.yaml")
    try scene.road.start(.cloud)
    try await scene.road.wait(for: "the alert") {
      try await scene.browser.text("ul.troubles li").hasPrefix("Alert: ")
    }
  }

  // MARK: A thousand machines

  /// What a thousand machines leave in the store.
  private func fill(_ road: Road) async throws {
    try await road.python(
      """
      import time
      now = int(time.time() * 1000000)
      for i in range(1000):
        name = 'FARM-%04d' % i
        db.execute('INSERT INTO drover_machine (machine_id, online, first_heard, last_heard, waiting, oldest, edge_letters, free_bytes, told_at) '
                   'VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?)', (name, i != 500, now, now, i, now - 1000000 if i else None, 1 << 40, now))
        db.execute('INSERT INTO drover_progress VALUES (?, ?, ?, 0, 0, ?, ?)', (name, 'temperature', i, now, now))
      """, database: road.cloud)
  }

  @Test func `a thousand machines are one page, narrow and wide, sorted and found by keyboard`() async throws {
    let scene = try await Scene([.cloud])
    try await fill(scene.road)
    try await scene.open()
    try await scene.wait(for: "all machines") { $0.contains("1,000 machines") }
    for width in [360, 1280] {
      try await scene.browser.resize(width: width)
      #expect(
        try await scene.browser.script("return document.documentElement.scrollWidth") as? Int == width,
        "nothing hangs over at \(width)")
      #expect(try await scene.row("FARM-0500").contains("offline"))
      #expect(try await scene.browser.screenshot().count > 10_000)
    }
    func first() async throws -> String? {
      try await scene.browser.script("return document.querySelector('table.fleet tbody th').innerText") as? String
    }
    #expect(try await first() == "FARM-0500", "the worst comes first")
    let (tab, enter) = ("\u{e004}", "\u{e007}")
    try await scene.browser.script("document.querySelectorAll('thead button')[2].focus()")
    try await scene.browser.press(tab, enter)
    #expect(try await first() == "FARM-0999", "the one where most waits")
    try await scene.browser.press(enter)
    #expect(try await first() == "FARM-0000")
    #expect(
      try await scene.browser.script("return document.querySelectorAll('table.fleet tbody tr').length") as? Int == 200)
    try await scene.browser.type("0777", into: "#search")
    try await scene.wait(for: "the one") { $0.contains("1 of 1,000 machines") }
    #expect(try await first() == "FARM-0777")
    #expect(try await scene.errors() == [])
  }

  @Test func `everything has a name for a screen reader, and text can be read in both schemes`() async throws {
    let scene = try await Scene([.cloud])
    try await fill(scene.road)
    try await scene.publish("x")
    for place in ["#/", "#/machines/FARM-0500", "#/dead-letters"] {
      try await scene.open(place)
      try await scene.wait(for: "the page") { !$0.isEmpty }
      let nameless = try await scene.browser.spokenElements().filter {
        ["button", "link", "textbox", "searchbox", "combobox", "checkbox", "image", "img", "table"].contains($0.role)
          && $0.name.isEmpty
      }
      #expect(nameless.isEmpty, "\(place): \(nameless)")
      for scheme in ["light", "dark"] {
        let pale = try await scene.browser.script(Self.paleTexts(scheme)) as? [String]
        #expect(pale == [], "\(place), \(scheme)")
      }
    }
  }

  /// Texts whose contrast with their ground is below 4.5 (WCAG 2.2, 1.4.3).
  private static func paleTexts(_ scheme: String) -> String {
    """
    document.documentElement.dataset.theme = '\(scheme)';
    const channels = (text) => text.match(/[0-9.]+/g).map(Number);
    const light = (text) => {
      const [r, g, b] = channels(text).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (node) => {
      for (let at = node; at; at = at.parentElement) {
        const colour = getComputedStyle(at).backgroundColor;
        if ((channels(colour)[3] ?? 1) > 0) return colour;
      }
      return 'rgb(255, 255, 255)';
    };
    const pale = new Set();
    for (const node of document.querySelectorAll('body *')) {
      const hasText = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
      if (!hasText || !node.checkVisibility()) continue;
      const [a, b] = [light(getComputedStyle(node).color), light(ground(node))].sort((x, y) => y - x);
      if ((a + 0.05) / (b + 0.05) < 4.5) pale.add(`${node.tagName} ${node.className}: ${node.textContent.slice(0, 30)}`);
    }
    return [...pale];
    """
  }
}
