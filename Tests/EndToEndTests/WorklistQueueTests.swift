// The cloud's queue of orders with real processes: programs and people over HTTP, commands, the page, and a machine's question over MQTT.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct WorklistQueueTests {
  private final class Scene {
    let http: HTTPRoad
    var road: Road { http.road }

    init() async throws {
      http = try HTTPRoad(cloud: "worklists:\n  - {name: mo, stream: mo_batch, machine: {field: equipment}}")
      try http.road.start(.cloud)
      try await http.road.wait(for: "the server") { try await self.http.ask(.cloud, "/v1/worklists").status == 200 }
    }

    func post(_ what: String, _ body: String, token: String? = HTTPRoad.writeToken) async throws -> HTTPRoad.Answer {
      try await http.ask(.cloud, "/v1/worklists/mo/\(what)", token: token, options: ["--data", body])
    }

    func counts() async throws -> [String: Int] {
      let orders = try await http.ask(.cloud, "/v1/worklists/mo").document["orders"] as? [String: Int] ?? [:]
      return orders.filter { $0.value > 0 }
    }

    func order(_ key: String) async throws -> [String: Any] {
      try await http.ask(.cloud, "/v1/worklists/mo/orders/\(key)").document
    }
  }

  @Test func `programs list orders over HTTP and with SQL, and people look, requeue and withdraw`() async throws {
    let scene = try await Scene()
    let body =
      #"{"orders":[{"key":"1","fields":{"equipment":"MAH001","kg":1.50}},{"key":2,"fields":{"equipment":"MAH002"},"priority":3}]}"#
    #expect(try await scene.post("orders", body).document as? [String: Int] == ["added": 2, "replaced": 0, "known": 0])
    #expect(try await scene.post("orders", body).document as? [String: Int] == ["added": 0, "replaced": 0, "known": 2])
    #expect(try await scene.post("orders", body, token: HTTPRoad.readToken).status == 403)
    _ = try await scene.road.inCloud(
      "INSERT INTO drover_order (worklist, order_key, fields) VALUES ('mo', '3', '{}') RETURNING order_key")
    #expect(try await scene.counts() == ["queued": 3])
    #expect(try await scene.order("2")["machine"] as? String == "MAH002")
    #expect(try await scene.order("9")["status"] as? Int == 404)
    for (bad, status) in [
      (#"{"orders":[]}"#, 400), (#"{"orders":[{"key":"1"}]}"#, 400), (#"{"orders":[{"key":"1","fields":[]}]}"#, 400),
      (#"{"orders":[{"key":"1","fields":{},"machine":"no machine"}]}"#, 400), ("x", 400),
      (#"{"orders":[{"key":"","fields":{}}]}"#, 422),
      (#"{"orders":[{"key":"1","fields":{},"not_before":"soon"}]}"#, 400),
    ] {
      #expect(try await scene.post("orders", bad).status == status, "\(bad)")
    }
    let page = try await scene.http.ask(.cloud, "/v1/worklists/mo/orders?state=queued&limit=2").document
    #expect((page["orders"] as? [[String: Any]])?.map { $0["key"] as? String } == ["1", "2"])
    #expect(page["next"] as? String == "2")
    let withdrawn = try await scene.post("withdraw", #"{"orders":["1","8"]}"#).document
    #expect(withdrawn["done"] as? Int == 1)
    #expect((withdrawn["left"] as? [[String: String]])?.map { $0["key"] } == ["8"])
    #expect(try await scene.post("requeue", #"{"orders":["1"]}"#).document["done"] as? Int == 1)
    let status = try await Road.drover("worklist", "status", "--config", scene.road.cloudFile)
    #expect(status.output.contains("worklist mo: 3 queued") && status.output.contains("MAH002"))
    let metrics = try await scene.http.ask(.cloud, "/metrics").body
    #expect(metrics.contains("drover_worklist_orders{state=\"queued\",worklist=\"mo\"} 3"), "\(metrics)")
  }

  @Test func `a machine's request gets its orders, and a person requeues what is in doubt`() async throws {
    let scene = try await Scene()
    let orders = (1...3).map { #"{"key":"\#($0)","fields":{"equipment":"MAH001"}}"# }.joined(separator: ",")
    _ = try await scene.post("orders", "{\"orders\":[\(orders)]}")
    func ask(_ request: String) async throws {
      let document = #"{"v":1,"ask":"orders","stream":"mo_batch","request":"\#(request)","limit":1,"bytes":9999}"#
      let outcome = try await Road.run(
        "mosquitto_rr",
        [
          "-p", "\(scene.road.broker.port)", "-V", "5", "-q", "1", "-t", "drover/v1/MAH001/ask/\(request)", "-e",
          "drover/v1/MAH001/command/answer-\(request)", "-m", document, "-W", "30",
        ])
      #expect(outcome.output.contains(#""orders":[{"#), "\(outcome.output) \(outcome.errors)")
    }
    try await ask("00000000000000a1")
    try await ask("00000000000000a1")
    #expect(try await scene.counts() == ["queued": 2, "handed_out": 1])
    try await ask("00000000000000a2")
    #expect(try await scene.order("1")["in_doubt"] as? Bool == true)
    #expect(try await scene.order("2")["in_doubt"] as? Bool == false)
    let unasked = try await Road.drover("worklist", "requeue", "--config", scene.road.cloudFile, "--in-doubt")
    #expect(unasked.status != 0 && unasked.errors.contains("made twice"))
    let requeued = try await Road.drover("worklist", "requeue", "--config", scene.road.cloudFile, "--in-doubt", "--yes")
    #expect(requeued.output.contains("1 order queued again"), "\(requeued)")
    #expect(try await scene.order("1")["state"] as? String == "queued")
    let refused = try await Road.drover("worklist", "withdraw", "--config", scene.road.cloudFile, "2")
    #expect(refused.status != 0 && refused.errors.contains("on its way"))
  }

  @Test func `the page shows the queue, and withdraws an order`() async throws {
    let scene = try await Scene()
    let orders = (1...4).map {
      #"{"key":"MO-\#($0)","fields":{"equipment":"MAH00\#($0 % 3)","consumption":12.5},"priority":\#($0)}"#
    }
    _ = try await scene.post("orders", "{\"orders\":[\(orders.joined(separator: ","))]}")
    let browser = try await Browser()
    try await browser.open(scene.http.url(.cloud, "/"))
    try await browser.script(
      "sessionStorage.setItem('drover-token', '\(HTTPRoad.writeToken)'); location.hash = '#/worklists'; location.reload()"
    )
    try await scene.road.wait(for: "the queue") { try await browser.text("main").contains("MO-4") }
    #expect(try await browser.text("nav").contains("Worklists"))
    if let folder = ProcessInfo.processInfo.environment["DROVER_PICTURES"] {
      try await browser.script("document.querySelector('.orders details').open = true")
      try await browser.screenshot().write(to: URL(fileURLWithPath: "\(folder)/worklists.png"))
    }
    try await browser.script(
      "window.confirm = () => true; [...document.querySelectorAll('.orders button')].find((button) => button.innerText === 'Withdraw').click()"
    )
    try await scene.road.wait(for: "the order to be withdrawn") { try await scene.counts()["withdrawn"] == 1 }
  }
}
