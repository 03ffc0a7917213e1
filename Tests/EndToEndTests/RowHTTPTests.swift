// Rows over HTTP, as a program with curl edits them, with a machine behind them.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct RowHTTPTests {
  static let streams = """
      - {table: products, kind: snapshot, direction: both, natural_key: true}
      - {table: pen, kind: snapshot}
      - {table: shelf, kind: snapshot, direction: both, natural_key: true}
    """

  static let makeTables = """
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE products (url TEXT PRIMARY KEY, name TEXT, stage TEXT, price REAL, n INTEGER)")
    db.executemany("INSERT INTO products VALUES (?, ?, 'new', ?, ?)", [(f"u{n}", f"n{n}", n * 1.5, n) for n in range(5)])
    db.execute("CREATE TABLE pen (id INTEGER PRIMARY KEY, name TEXT)")
    db.execute("INSERT INTO pen VALUES (1, 'red')")
    db.execute("CREATE TABLE shelf (hall TEXT, number INTEGER, side BLOB, name TEXT, PRIMARY KEY (hall, number, side))")
    db.execute("INSERT INTO shelf VALUES ('a/b', 7, x'00ff', 'tea')")
    """

  private final class Scene {
    let http: HTTPRoad
    private let server: PostgreSQLServer?
    static let rows = "/v1/streams/products/rows/MAH001"

    init(onPostgreSQL: Bool = false) async throws {
      server = onPostgreSQL ? try PostgreSQLServer() : nil
      http = try HTTPRoad(streams: RowHTTPTests.streams, store: server?.uri() ?? "sqlite:./cloud.db")
      try await http.road.python(RowHTTPTests.makeTables)
      try await http.start()
      try await http.road.waitUntilConfirmed(atLeast: 7)
    }

    func get(_ path: String, token: String? = HTTPRoad.readToken) async throws -> HTTPRoad.Answer {
      try await http.ask(.cloud, path, token: token)
    }

    func edit(
      _ method: String, _ path: String, _ body: String? = nil, _ headers: [String] = [],
      type: String = "application/json", token: String? = HTTPRoad.writeToken
    ) async throws -> HTTPRoad.Answer {
      let content = body.map { ["-H", "Content-Type: \(type)", "--data-binary", $0] } ?? []
      return try await http.ask(
        .cloud, path, token: token, options: ["-X", method] + content + headers.flatMap { ["-H", $0] })
    }

    func tag(_ id: String) async throws -> String {
      try #require(try await get("\(Self.rows)/\(id)").document["tag"] as? String)
    }

    func edge(_ sql: String) async throws -> String {
      try await http.road.python("print(json.dumps(db.execute(\"\"\"\(sql)\"\"\").fetchall()))")
    }
  }

  @Test(arguments: [false, true])
  func `rows are changed, made and deleted with what was seen of them, and reach the machine`(
    onPostgreSQL: Bool
  ) async throws {
    let scene = try await Scene(onPostgreSQL: onPostgreSQL)
    let first = try await scene.get("\(Scene.rows)/u1")
    #expect(first.status == 200 && first.document["state"] as? String == "machine")
    let tag = try await scene.tag("u1")
    #expect(first.headers.contains("ETag: \"\(tag)\""))
    let changed = try await scene.edit("PATCH", "\(Scene.rows)/u1", #"{"stage":"approved"}"#, ["If-Match: \"\(tag)\""])
    #expect(changed.status == 200 && changed.document["edited_by"] as? String == "cloud", "\(changed.body)")
    let late = try await scene.edit("PATCH", "\(Scene.rows)/u1", #"{"stage":"late"}"#, ["If-Match: \"\(tag)\""])
    #expect(late.status == 412)
    let now = try #require((late.document["row"] as? [String: Any])?["body"] as? [String: Any])
    #expect(now["stage"] as? String == "approved")
    #expect(late.headers.contains("ETag: \"\((late.document["row"] as! [String: Any])["tag"]!)\""))
    #expect(try await scene.edit("PATCH", "\(Scene.rows)/u1", #"{"stage":"x"}"#).status == 428)
    #expect(try await scene.edit("DELETE", "\(Scene.rows)/u1").status == 428)

    let odd = "\(Scene.rows)/a%2Fb%20%C3%A9%25%3F"
    let made = try await scene.edit("PUT", odd, #"{"n":9007199254740993,"price":1}"#, ["If-None-Match: *"])
    #expect(made.status == 201 && made.body.contains("9007199254740993"), "\(made.body)")
    #expect(try await scene.edit("PUT", odd, "{}", ["If-None-Match: *"]).status == 412)
    let u2 = try await scene.tag("u2")
    #expect(try await scene.edit("DELETE", "\(Scene.rows)/u2", nil, ["If-Match: \"0\", \"\(u2)\""]).status == 204)
    try await scene.http.road.wait(for: "the edits at the edge") {
      try await scene.edge("SELECT url, stage, n FROM products WHERE url NOT IN ('u0', 'u3', 'u4') ORDER BY url")
        == #"[["a/b \u00e9%?", null, 9007199254740993], ["u1", "approved", 1]]"#
    }
    try await scene.http.road.wait(for: "the confirmation") {
      try await scene.get("\(Scene.rows)/u1").document["state"] as? String == "confirmed"
    }
    let gone = try await scene.get("\(Scene.rows)/u2")
    #expect(gone.status == 404 && gone.detail.contains("deleted"))
    let list = try await scene.get("\(Scene.rows)?search=N3&limit=1")
    #expect((list.document["rows"] as? [[String: Any]])?.map { $0["id"] as? String } == ["u3"])
  }

  @Test(arguments: [false, true])
  func `a row with a key of several columns is found, edited, made and deleted by its ID`(
    onPostgreSQL: Bool
  ) async throws {
    let scene = try await Scene(onPostgreSQL: onPostgreSQL)
    let rows = "/v1/streams/shelf/rows/MAH001"
    func path(_ id: String) -> String {
      "\(rows)/\(id.addingPercentEncoding(withAllowedCharacters: .alphanumerics)!)"
    }
    let listed = try await scene.get(rows)
    let first = try #require((listed.document["rows"] as? [[String: Any]])?.first, "\(listed.body)")
    let id = try #require(first["id"] as? String)
    #expect(try await scene.get(path(id)).status == 200)
    let tag = try #require(first["tag"] as? String)
    let body = #"{"hall":"a/b","number":7,"name":"coffee"}"#
    let changed = try await scene.edit("PATCH", path(id), body, ["If-Match: \"\(tag)\""])
    #expect(changed.status == 200, "\(changed.body)")
    let other = try await scene.edit("PATCH", path(id), #"{"number":8}"#, ["If-Match: *"])
    #expect(other.status == 422 && other.detail.contains("number"), "\(other.detail)")
    let made = id.replacingOccurrences(of: "7", with: "8")
    #expect(try await scene.edit("PUT", path(made), #"{"name":"new"}"#, ["If-None-Match: *"]).status == 201)
    // A list that has one page for each row goes on behind a key of several columns.
    let page = try await scene.get("\(rows)?limit=1")
    let next = try #require(page.document["next"] as? String)
    let second = try await scene.get(
      "\(rows)?limit=1&after=\(next.addingPercentEncoding(withAllowedCharacters: .alphanumerics)!)")
    #expect((second.document["rows"] as? [[String: Any]])?.map { $0["id"] as? String } == [made], "\(second.body)")
    try await scene.http.road.wait(for: "both rows at the edge") {
      try await scene.edge("SELECT hall, number, hex(side), name FROM shelf ORDER BY number")
        == #"[["a/b", 7, "00FF", "coffee"], ["a/b", 8, "00FF", "new"]]"#
    }
    #expect(try await scene.edit("DELETE", path(made), nil, ["If-Match: *"]).status == 204)
    try await scene.http.road.wait(for: "the delete at the edge") {
      try await scene.edge("SELECT count(*) FROM shelf") == "[[1]]"
    }
    for wrong in ["7", "[\"a/b\",7]", "[\"a/b\"", id + "x"] {
      #expect(try await scene.get(path(wrong)).status == 404, "\(wrong)")
    }
  }

  @Test(arguments: [false, true])
  func `a token that only reads edits nothing, and what cannot be a row is refused with a reason`(
    onPostgreSQL: Bool
  ) async throws {
    let scene = try await Scene(onPostgreSQL: onPostgreSQL)
    let row = "\(Scene.rows)/u1"
    let any = ["If-Match: *"]
    for (method, body) in [("PUT", "{}"), ("PATCH", #"{"stage":"x"}"#), ("DELETE", nil)] {
      #expect(try await scene.edit(method, row, body, any, token: nil).status == 401)
      #expect(try await scene.edit(method, row, body, any, token: "wrong-0123456789abcdef").status == 401)
      #expect(try await scene.edit(method, row, body, any, token: HTTPRoad.readToken).status == 403)
    }
    #expect(try await scene.get(row, token: nil).status == 401)
    let refused: [(String, String, Int, String)] = [
      (row, #"{"machine_id":"MAH002"}"#, 422, "Drover's own"),
      (row, #"{"drover_version":1}"#, 422, "Drover's own"),
      (row, #"{"colour":1}"#, 422, "no column colour"),
      (row, #"{"n":"many"}"#, 422, "takes an integer"),
      (row, #"{"url":"u7"}"#, 422, "differs from the ID"),
      (row, #"{"n":1,"N":2}"#, 422, "named twice"),
      (row, #"{"n":[1]}"#, 400, "array"), (row, #"{"n":18446744073709551616}"#, 400, "64 bits"),
      (row, "[]", 400, "JSON object"), (row, "", 400, "JSON object"), (row, #"{"n":1"#, 400, "JSON object"),
      ("\(Scene.rows)/%FF", "{}", 400, "percent-encoded"),
      ("\(Scene.rows)/none", "{}", 412, "not there"),
      ("/v1/streams/pen/rows/MAH001/1", #"{"name":"blue"}"#, 409, "only goes up"),
      ("/v1/streams/products/rows/MAH999/u1", "{}", 404, "MAH999"),
      ("/v1/streams/nothing/rows/MAH001/u1", "{}", 404, "nothing"),
    ]
    for (path, body, status, part) in refused {
      let answer = try await scene.edit("PATCH", path, body, any)
      #expect(
        answer.status == status && answer.detail.contains(part), "\(path) \(body): \(answer.status) \(answer.detail)")
      #expect(answer.headers.contains("application/problem+json"))
    }
    #expect(try await scene.edit("PATCH", row, "{}", any, type: "text/plain").status == 415)
    #expect(try await scene.edit("PATCH", row, "{}", ["If-Match: tag"]).status == 412)
    let u1 = try await scene.tag("u1")
    #expect(try await scene.edit("PATCH", row, "{}", ["If-Match: W/\"\(u1)\""]).status == 412)
    #expect(try await scene.edit("PATCH", row, "{}", ["If-Match: \(u1)"]).status == 200)
    #expect(try await scene.edit("PATCH", row, "{}", any + ["If-None-Match: *"]).status == 412)
    #expect(try await scene.edit("PUT", row, "{}", ["If-None-Match: tag"]).status == 400)
    try scene.http.road.folder.write(#"{"name":"\#(String(repeating: "x", count: 2 << 20))"}"#, to: "large")
    let large = "@\(scene.http.road.folder.file("large"))"
    #expect(try await scene.edit("PATCH", row, large, any).status == 413)
    #expect(try await scene.edge("SELECT count(*) FROM products WHERE stage = 'new'") == "[[5]]")
    #expect(try await scene.http.road.inCloudCount("drover_edit") == (onPostgreSQL ? nil : "[[0]]"))
  }
}

extension Road {
  /// How many rows a table of an SQLite store has; nil for another store.
  fileprivate func inCloudCount(_ table: String) async throws -> String? {
    guard FileManager.default.fileExists(atPath: folder.file("cloud.db")) else { return nil }
    return try await inCloud("SELECT count(*) FROM \(table)")
  }
}
