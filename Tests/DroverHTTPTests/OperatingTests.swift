// What docs/operating says of figures is said of figures that there are.

import DroverCore
@testable import DroverHTTP
import DroverWire
import Foundation
import Testing
import Yams

@Suite struct OperatingTests {
  private static let folder = URL(filePath: #filePath).appending(path: "../../../docs/operating").standardized

  private func file(_ name: String) throws -> String {
    try String(contentsOf: Self.folder.appending(path: name), encoding: .utf8)
  }

  /// The names of figures in an expression.
  private func figures(_ expression: String) -> [String] {
    expression.matches(of: /\bdrover_[a-z0-9_]+/).map { String($0.output) }
  }

  /// What /metrics prints of a store that has something of everything.
  private func printed() throws -> Set<String> {
    let source = CloudSource(
      reader: OneMachine(), changes: NoChanges(), letters: { _ in throw CancellationError() },
      conflicts: { _ in throw CancellationError() },
      worker: { Worker(process: 1) },
      fleet: { OneMachine.fleet }, status: { .null }, replay: { _ in nil }, retry: { _ in (0, []) }, now: { 0 },
      software: "1")
    let lines = try Metrics.text(source).split(separator: "\n")
    return Set(lines.compactMap { $0.prefixMatch(of: /drover_[a-z0-9_]+/).map { String($0.output) } })
  }

  @Test func `every rule of Prometheus asks for figures that are printed, and says what to do`() throws {
    let printed = try printed()
    #expect(printed.count > 25)
    let root = try #require(try Yams.load(yaml: try file("prometheus-rules.yaml")) as? [String: Any])
    let rules = try #require((root["groups"] as? [[String: Any]])?.first?["rules"] as? [[String: Any]])
    #expect(rules.count > 10)
    for rule in rules {
      let expression = try #require(rule["expr"] as? String)
      let asked = figures(expression)
      #expect(!asked.isEmpty || expression.contains("up{"), "\(expression)")
      for name in asked { #expect(printed.contains(name), "\(name)") }
      let annotations = try #require(rule["annotations"] as? [String: String])
      #expect(annotations["summary"]?.isEmpty == false && annotations["description"]?.isEmpty == false)
    }
  }

  @Test func `every panel of Grafana asks for figures that are printed, of the data source that is chosen`() throws {
    let printed = try printed()
    let root = try #require(
      try JSONSerialization.jsonObject(with: Data(try file("grafana-dashboard.json").utf8)) as? [String: Any])
    let panels = try #require(root["panels"] as? [[String: Any]]).filter { $0["type"] as? String != "row" }
    #expect(panels.count > 15)
    for panel in panels {
      #expect((panel["datasource"] as? [String: String])?["uid"] == "${datasource}")
      let targets = try #require(panel["targets"] as? [[String: Any]])
      for target in targets {
        let asked = figures(try #require(target["expr"] as? String))
        #expect(!asked.isEmpty)
        for name in asked { #expect(printed.contains(name), "\(name)") }
      }
    }
    let variables = try #require((root["templating"] as? [String: Any])?["list"] as? [[String: Any]])
    #expect(variables.map { $0["name"] as? String } == ["datasource", "machine"])
    for name in figures("\(variables)") { #expect(printed.contains(name), "\(name)") }
  }

  @Test func `the page names every figure that is printed`() throws {
    let page = try String(
      contentsOf: Self.folder.appending(path: "../http.md").standardized, encoding: .utf8)
    for name in try printed() {
      // Of several that begin alike, only the first is written out.
      let ending = name.split(separator: "_").suffix(2).joined(separator: "_")
      #expect(page.contains("`\(name)") || page.contains("…_\(ending)"), "\(name)")
    }
  }
}

private struct OneMachine: CloudReader {
  var name: String { "" }
  func workers() throws -> [Worker] { [] }
  func report(_ scope: ReportScope) throws -> CloudReport? { Self.report }
  func waitingSchemas() throws -> [WaitingSchema] { [] }
  func captureFaults() throws -> [CaptureFault] { [] }
  func refusals(_ filter: RefusalFilter, after id: Int64, limit: Int) throws -> RefusalList { RefusalList() }
  func blockedSinks() throws -> [BlockedSink] { [] }
  func storeLock() -> StoreLock? { nil }
  func latestSchemas() throws -> [ReplicatedStream] { [] }
  func sinks() throws -> [SinkDescription] { [] }
  func readRows(of stream: StreamName?, _ take: (SinkDescription, SinkRow) throws -> Void) throws {}

  static let report = CloudReport(
    machines: [
      .init(
        name: "M", isOnline: true, lastHeard: 0, clockOffset: 1,
        outbox: .init(figures: .init(waiting: 1, oldest: 0, deadLetters: 0, freeBytes: 1), at: 0),
        streams: [
          .init(
            name: "s", rows: nil, applied: 1, superseded: 0, refused: 0, version: 1, appliedAt: 0,
            check: .init(at: 0, drift: 0, inFlight: 0, failure: nil), lines: [])
        ], deadLetters: 0, overruns: [Overrun(budget: "epochs_per_hour", count: 1, firstAt: 0, lastAt: 0)])
    ], dropped: [], letterBytes: 0, letterRows: 0, deadLetters: DeadLetterFigures(), messages: [("frame", 1)])

  static let fleet = FleetSnapshot(
    at: 0, report: report, waiting: [], worker: Worker(process: 1), history: FleetHistory(), storeFreeBytes: 1,
    alerts: AlertFigures(open: [], counts: [(.silent, 0)], posting: AlertPosting()))
}
