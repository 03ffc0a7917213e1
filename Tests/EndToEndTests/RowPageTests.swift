// A machine's rows on the page, in a real browser: a person who browses, searches and edits.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct RowPageTests {
  private final class Scene {
    let http: HTTPRoad
    let browser: Browser
    var road: Road { http.road }

    init() async throws {
      http = try HTTPRoad(streams: RowHTTPTests.streams, cloud: "changes: true")
      try await http.road.python(RowHTTPTests.makeTables)
      try await http.start()
      try await http.road.waitUntilConfirmed(atLeast: 7)
      browser = try await Browser()
    }

    func open(_ place: String, token: String) async throws {
      try await browser.open(http.url(.cloud, "/"))
      try await browser.script(
        "sessionStorage.setItem('drover-token', '\(token)'); location.hash = '\(place)'; location.reload()")
    }

    func wait(for what: String, _ isSo: @escaping (String) async throws -> Bool) async throws {
      try await road.wait(for: what) { try await isSo(self.browser.text("main")) }
    }

    /// Types over what stands in a column's field.
    func fill(_ column: String, _ text: String) async throws {
      let id = try #require(
        try await browser.script(
          "return [...document.querySelectorAll('.field > label')].find((label) => label.innerText === '\(column)').htmlFor"
        )
          as? String)
      try await browser.script("document.getElementById('\(id)').focus(); document.getElementById('\(id)').select()")
      try await browser.type(text, into: "#\(id)")
    }

    func press(_ text: String) async throws {
      try await browser.script(
        "[...document.querySelectorAll('main button')].find((button) => button.innerText === '\(text)').click()")
    }

    func edge(_ sql: String) async throws -> String {
      try await road.python("print(json.dumps(db.execute(\"\"\"\(sql)\"\"\").fetchall()))")
    }

    /// Keeps a picture for who asks for them.
    func picture(_ name: String) async throws {
      guard let folder = ProcessInfo.processInfo.environment["DROVER_PICTURES"] else { return }
      try await browser.screenshot().write(to: URL(fileURLWithPath: "\(folder)/\(name).png"))
    }
  }

  @Test func `a row that the machine refuses is marked, says why, and is tried again from its page`() async throws {
    let scene = try await Scene()
    _ = try await scene.edge("CREATE UNIQUE INDEX one_name ON products (name)")
    _ = try await scene.road.inCloud("UPDATE products SET name = 'n0' WHERE url = 'u1'")
    try await scene.road.wait(for: "the refusal") {
      try await Road.drover("dead", "list", "--config", scene.road.cloudFile).output.contains("UNIQUE")
    }
    try await scene.open("#/rows/MAH001/products", token: HTTPRoad.writeToken)
    try await scene.wait(for: "the mark in the table") { $0.contains("refused by the machine") }
    try await scene.open("#/rows/MAH001/products/u1", token: HTTPRoad.writeToken)
    try await scene.wait(for: "why") {
      $0.contains("Dead letter at MAH001") && $0.contains("UNIQUE constraint failed: products.name")
    }
    try await scene.press("Have the machine try again")
    try await scene.wait(for: "another refusal") { $0.contains("MAH001: refused again") }
    _ = try await scene.edge("UPDATE products SET name = 'other' WHERE url = 'u0'")
    try await scene.press("Have the machine try again")
    try await scene.wait(for: "its end") {
      $0.contains("The row is taken.") && $0.contains("The machine has confirmed")
    }
    #expect(try await scene.edge("SELECT name FROM products WHERE url = 'u1'") == "[[\"n0\"]]")
  }

  @Test func `a person finds a row, edits it with a token that is asked for, and sees it confirmed`() async throws {
    let scene = try await Scene()
    try await scene.open("#/machines/MAH001", token: HTTPRoad.readToken)
    try await scene.wait(for: "the streams") { $0.contains("products") }
    try await scene.browser.click("a[href$='/products']")
    try await scene.wait(for: "the rows") { $0.contains("u4") && $0.contains("5 rows on this page") }
    try await scene.picture("rows-wide")
    try await scene.browser.type("N3\u{e007}", into: "#row-search")
    try await scene.wait(for: "what was searched") { $0.contains("1 row on this page") && $0.contains("u3") }
    try await scene.browser.click("table.rows a")
    try await scene.wait(for: "the row") { $0.contains("as the machine has sent it") }
    try await scene.fill("stage", "approved")
    try await scene.press("Save")
    try await scene.wait(for: "the question for a token") { $0.contains("A token that writes is needed") }
    try await scene.picture("row-token")
    try await scene.browser.type("\(HTTPRoad.writeToken)\u{e007}", into: "#write-token")
    try await scene.wait(for: "the confirmation") { $0.contains("The machine has confirmed the edit.") }
    try await scene.picture("row-confirmed")
    #expect(try await scene.edge("SELECT stage FROM products WHERE url = 'u3'") == "[[\"approved\"]]")
    let kept =
      try await scene.browser.script(
        "return JSON.stringify([location.href, {...sessionStorage}, {...localStorage}])") as? String
    #expect(kept?.contains(HTTPRoad.writeToken) == false && kept?.contains(HTTPRoad.readToken) == true)
    #expect(
      try await scene.browser.errors().filter { !$0.contains("403 (Forbidden)") && !$0.contains("401 (Unauthorized)") }
        == [])
  }

  @Test func `a row that changed meanwhile is shown beside what was typed, and nothing is lost`() async throws {
    let scene = try await Scene()
    try await scene.browser.resize(width: 360)
    try await scene.open("#/rows/MAH001/products/u1", token: HTTPRoad.writeToken)
    try await scene.wait(for: "the row") { $0.contains("as the machine has sent it") }
    try await scene.fill("name", "typed")
    _ = try await scene.road.inCloud("UPDATE products SET name = 'meanwhile', stage = 'other' WHERE url = 'u1'")
    try await scene.press("Save")
    try await scene.wait(for: "both values") {
      $0.contains("The row has changed since you began") && $0.contains("meanwhile") && $0.contains("typed")
    }
    try await scene.picture("row-clash-narrow")
    let width = try await scene.browser.script("return document.documentElement.scrollWidth") as? Int
    #expect(width ?? 999 <= 360, "it is wider than a phone")
    #expect(try await scene.road.inCloud("SELECT name FROM products WHERE url = 'u1'") == "[[\"meanwhile\"]]")
    try await scene.press("Save what I typed")
    try await scene.wait(for: "it is saved") { $0.contains("The edit is saved") }
    try await scene.road.wait(for: "both edits at the edge") {
      try await scene.edge("SELECT name, stage FROM products WHERE url = 'u1'") == "[[\"typed\", \"other\"]]"
    }
  }

  @Test func `a row is made and deleted on the page, and integers of 64 bits stay what they are`() async throws {
    let scene = try await Scene()
    try await scene.open("#/new-row/MAH001/products", token: HTTPRoad.writeToken)
    try await scene.wait(for: "the fields") { $0.contains("New row") && $0.contains("price") }
    try await scene.fill("url", "made/here")
    try await scene.fill("n", "9007199254740993")
    try await scene.press("Insert")
    try await scene.wait(for: "the new row") { $0.contains("made/here") && $0.contains("Where it stands") }
    try await scene.road.wait(for: "it at the edge") {
      try await scene.edge("SELECT n, name FROM products WHERE url = 'made/here'") == "[[9007199254740993, null]]"
    }
    // Without a mouse: Enter alone is a line break, and Ctrl with Enter saves.
    try await scene.fill("name", "big\u{e007}line\u{e009}\u{e007}")
    try await scene.wait(for: "it is saved") { $0.contains("The edit is saved") }
    #expect(try await scene.road.inCloud("SELECT name FROM products WHERE url = 'made/here'") == #"[["big\nline"]]"#)
    try await scene.browser.click("button.danger")
    try await scene.browser.acceptQuestion()
    try await scene.wait(for: "the list") { $0.contains("5 rows on this page") }
    try await scene.road.wait(for: "the delete at the edge") {
      try await scene.edge("SELECT count(*) FROM products WHERE url = 'made/here'") == "[[0]]"
    }
  }

  @Test func `rows of a stream that only goes up are shown, and say why they are not edited`() async throws {
    let scene = try await Scene()
    try await scene.open("#/rows/MAH001/pen/1", token: HTTPRoad.writeToken)
    try await scene.wait(for: "why not") { $0.contains("The stream only goes up") }
    #expect(
      try await scene.browser.script("return document.querySelector('form button[type=submit]').hidden") as? Bool
        == true)
    #expect(
      try await scene.browser.script("return document.querySelectorAll('textarea:not([readonly])').length") as? Int == 0
    )
    let nameless = try await scene.browser.spokenElements().filter {
      ["button", "link", "textbox", "searchbox", "checkbox", "table"].contains($0.role) && $0.name.isEmpty
    }
    #expect(nameless.isEmpty, "a screen reader has no name for \(nameless)")
  }
}
