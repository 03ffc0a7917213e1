// A machine that is killed becomes an alert wherever alerts are told, and so does its return.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct AlertTests {
  /// As short as can be: a quiet machine that tells every second if it has news says something every ten.
  private static func rules(_ more: String = "") -> String { "alerts: {silent: 15s, for: 0s, calm: 1s\(more)}" }

  /// Both sides run, and one event is confirmed. The machine says something every ten seconds at least.
  private func watched(_ keys: String = Self.rules()) async throws -> HTTPRoad {
    let http = try HTTPRoad(edge: "status_every: 1s", cloud: keys)
    try await http.road.python("\(Road.makePensAndFacts)\ndb.execute(\"INSERT INTO pen VALUES (1, 'red')\")")
    try await http.start()
    try await http.road.waitUntilConfirmed(atLeast: 1)
    return http
  }

  private func open(_ http: HTTPRoad) async throws -> [[String: Any]]? {
    try await http.ask(.cloud, "/v1/fleet").document["alerts"] as? [[String: Any]]
  }

  private func isCounted(_ count: Int, _ http: HTTPRoad) async throws -> Bool {
    try await http.ask(.cloud, "/metrics").body.contains("drover_alerts{rule=\"silent\"} \(count)\n")
  }

  /// Until the machine has been silent for longer than the limit.
  private func waitUntilSilent(_ http: HTTPRoad) async throws -> [String: Any] {
    try await http.road.wait(for: "an alert") { try await open(http)?.count == 1 }
    return try #require(try await open(http)?.first)
  }

  @Test func `a machine that is killed, and its return, stand in the log, the metrics and the fleet`() async throws {
    let http = try await watched()
    try await http.road.wait(for: "a look at the fleet") { try await open(http)?.isEmpty == true }
    http.road.end(.edge, SIGKILL)
    let alert = try await waitUntilSilent(http)
    #expect(alert["rule"] as? String == "silent" && alert["machine"] as? String == Road.machine)
    #expect((alert["value"] as? Int ?? 0) > 15 && (alert["since"] as? String)?.hasSuffix("Z") == true)
    #expect((alert["text"] as? String)?.hasPrefix("MAH001 was last heard ") == true)
    #expect((alert["advice"] as? String)?.contains("drover doctor") == true)
    #expect(try await isCounted(1, http))
    try http.road.start(.edge)
    try await http.road.wait(for: "no alert") { try await open(http)?.isEmpty == true }
    #expect(try await isCounted(0, http))
    let log = http.road.log(of: .cloud).split(separator: "\n")
    #expect(log.count { $0.contains(" warning alert silent: MAH001 was last heard ") } == 1)
    #expect(log.count { $0.contains(" notice alert silent is over after ") } == 1)
  }

  @Test func `a webhook that is away for a while is told all the same, and a restart tells nothing twice`() async throws
  {
    let folder = try TemporaryFolder()
    try folder.write("webhook-token-1\n", to: "token")
    let receiver = try WebhookReceiver(isAway: true)
    let webhook = "{url: \"http://127.0.0.1:\(receiver.port)/hook-secret\", token_file: \(folder.file("token"))}"
    let http = try await watched(Self.rules(", webhook: \(webhook)"))

    http.road.end(.edge, SIGKILL)
    let alert = try await waitUntilSilent(http)
    try await http.road.wait(for: "a post that is refused") {
      receiver.refused.contains("firing")
    }
    // The consumer dies with a message that nobody has taken.
    http.road.end(.cloud, SIGKILL)
    try receiver.comeBack()
    try http.road.start(.cloud)
    try await http.road.wait(for: "the message of before") { receiver.posts.count == 1 }
    try await http.road.wait(for: "the alert is still open") { try await open(http)?.count == 1 }
    try http.road.start(.edge)
    try await http.road.wait(for: "the end of it") { receiver.posts.count == 2 }

    let found = receiver.posts
    #expect(found.allSatisfy { $0.authorization == "Bearer webhook-token-1" && $0.consumer == "drover-cloud" })
    #expect(found.flatMap(\.alerts).map { $0["state"] as? String } == ["firing", "resolved"])
    #expect(found.flatMap(\.alerts).allSatisfy { $0["id"] as? String == alert["id"] as? String })
    #expect(found.flatMap(\.alerts).allSatisfy { $0["machine"] as? String == Road.machine })
    let log = http.road.log(of: .cloud)
    #expect(log.contains("post alerts to the webhook: 127.0.0.1 answers 503"))
    #expect(!log.contains("hook-secret") && !log.contains("webhook-token-1"))
    #expect(log.split(separator: "\n").count { $0.contains(" warning alert silent") } == 1)
    try await http.road.wait(for: "the figures of the next look") {
      let metrics = try await http.ask(.cloud, "/metrics").body
      return metrics.contains("drover_webhook_waiting_messages 0\n")
        && metrics.contains("drover_webhook_messages_total{outcome=\"delivered\"} 2\n")
    }
  }

  @Test func `a receiver over https is posted to when its certificate fits, and told nothing before`() async throws {
    let folder = try TemporaryFolder()
    let (ours, other) = (try Certificates(in: folder), try Certificates(in: folder, prefix: "other-"))
    let receiver = try WebhookReceiver(certificates: ours)
    func keys(host: String, ca: String?) -> String {
      let ca = ca.map { ", ca: \($0)" } ?? ""
      return "alerts: {webhook: {url: \"https://\(host):\(receiver.port)/hook-secret\"\(ca)}}"
    }
    let refusals = [
      (keys(host: "localhost", ca: nil), "localhost has a certificate of another CA"),
      (keys(host: "localhost", ca: other.caFile), "localhost has a certificate of another CA"),
      (keys(host: "127.0.0.2", ca: ours.caFile), "127.0.0.2 is not what its certificate is for"),
    ]
    let road = try Road(streams: Road.pensAndFacts)
    let plain = road.folder.read("cloud.yaml")
    try road.start(.cloud)
    try await road.wait(for: "the consumer") { road.log(of: .cloud).contains("connected") }
    try ChildProcess.run(
      "mosquitto_pub", ["-p", "\(road.broker.port)", "-q", "1", "-t", "drover/v1/M9/payload/x", "-m", "garbage"])
    for (keys, refusal) in refusals {
      try road.folder.write("\(plain)\n\(keys)\n", to: "cloud.yaml")
      try road.folder.write("", to: "cloud.log")
      try road.restart(.cloud, SIGTERM)
      try await road.wait(for: refusal) { road.log(of: .cloud).contains(refusal) }
      #expect(receiver.posts.isEmpty && !road.log(of: .cloud).contains("hook-secret"))
    }
    try road.folder.write("\(plain)\n\(keys(host: "localhost", ca: ours.caFile))\n", to: "cloud.yaml")
    try road.restart(.cloud, SIGTERM)
    try await road.wait(for: "the message") { receiver.alerts.count == 1 }
    #expect(receiver.alerts.map { $0["state"] as? String } == ["firing"])
  }

  // 25,000 epochs of one machine held the rows of the others up for 89 seconds, and nobody was told which machine it was.
  @Test func `a machine that floods is named with its limit, and the others' events go on`() async throws {
    let http = try await watched(
      "limits: {epochs_per_hour: 2}\nalerts: {silent: off, calm: 1s}")
    for number in 1...5 {
      let frame = "{\"v\":1,\"epoch\":\"\(number)\",\"after\":0,\"through\":1,\"events\":[]}"
      try ChildProcess.run(
        "mosquitto_pub",
        ["-p", "\(http.road.broker.port)", "-q", "1", "-t", "drover/v1/EVIL/payload/x", "-m", frame])
    }
    try await http.road.wait(for: "an alert") { try await open(http)?.count == 1 }
    let alert = try #require(try await open(http)?.first)
    #expect(alert["rule"] as? String == "budgets" && alert["machine"] as? String == "EVIL")
    #expect(alert["text"] as? String == "EVIL sends more than limits.epochs_per_hour allows: 3 set aside")
    let metrics = try await http.ask(.cloud, "/metrics").body
    #expect(metrics.contains("drover_machine_over_budget_total{budget=\"epochs_per_hour\",machine=\"EVIL\"} 3\n"))
    #expect(metrics.contains("drover_messages_total{outcome=\"set_aside\"} 3\n"))
    let status = try await Road.drover("status", "--config", http.road.cloudFile)
    #expect(status.output.contains("EVIL was beyond limits.epochs_per_hour: 3 set aside"))
    try await http.road.python("db.execute(\"INSERT INTO pen VALUES (2, 'blue')\")")
    try await http.road.waitUntilConfirmed(atLeast: 2)
  }
}
