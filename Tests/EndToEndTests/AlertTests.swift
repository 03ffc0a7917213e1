// A machine that is killed becomes an alert wherever alerts are told, and so does its return.

import DroverTesting
import Foundation
import Testing

@Suite(.serialized) struct AlertTests {
  /// As short as can be: a quiet machine that tells every second if it has news says something every ten.
  private static let rules = "alerts: {silent: 15s, for: 0s, calm: 1s}"

  /// Both sides run, and one event is confirmed. The machine says something every ten seconds at least.
  private func watched(_ keys: String = Self.rules) async throws -> HTTPRoad {
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
    #expect((alert["value"] as? Double ?? 0) > 15 && (alert["since"] as? String)?.hasSuffix("Z") == true)
    #expect((alert["text"] as? String)?.hasPrefix("MAH001 was heard last ") == true)
    #expect((alert["advice"] as? String)?.contains("drover doctor") == true)
    #expect(try await isCounted(1, http))
    try http.road.start(.edge)
    try await http.road.wait(for: "no alert") { try await open(http)?.isEmpty == true }
    #expect(try await isCounted(0, http))
    let log = http.road.log(of: .cloud).split(separator: "\n")
    #expect(log.count { $0.contains(" warning alert silent: MAH001 was heard last ") } == 1)
    #expect(log.count { $0.contains(" notice alert silent is over after ") } == 1)
  }
}
