// The cloud's figures in Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/). They come from the report that
// everything else shows too, so there is no second count.

import DroverCore
import DroverWire
import HTTPTypes
import HummingbirdCore
import NIOCore

enum Metrics {
  static func text(_ source: CloudSource) throws -> String {
    // Rows are not counted: that reads every table, and Prometheus asks every few seconds.
    let report = try source.reader.report(ReportScope(countsRows: false))
    var page = MetricsPage()
    page.add("drover_build_info", .gauge, "Which version answers.", [(["version": source.software], 1)])
    page.add(
      "drover_consumer_moving", .gauge, "1 while the consumer runs and all its jobs move.",
      [([:], source.worker().isMoving ? 1 : 0)])
    if let report {
      add(report, to: &page)
      add(report.machines, to: &page, now: source.now())
      page.add(
        "drover_waiting_schemas", .gauge, "Streams that wait for a person to accept their schema.",
        [([:], Double(try source.reader.waitingSchemas().count))])
      page.add(
        "drover_blocked_sinks", .gauge, "Streams that wait because their sink table cannot be written.",
        [([:], Double(try source.reader.blockedSinks().count))])
      page.add(
        "drover_store_locked", .gauge, "1 while another program has the whole store locked (SQLite).",
        [([:], source.reader.storeLock() == nil ? 0 : 1)])
    }
    if let fleet = source.fleet() { add(fleet, to: &page) }
    add(try source.worklists(), to: &page, now: source.now())
    return page.text
  }

  /// What only the last look at the fleet knows.
  private static func add(_ fleet: FleetSnapshot, to page: inout MetricsPage) {
    page.add(
      "drover_store_free_bytes", .gauge, "What the store's disk has left.",
      fleet.storeFreeBytes.map { [([:], Double($0))] } ?? [])
    page.add(
      "drover_consumer_failed_commits", .gauge, "Commits that have failed since one succeeded.",
      [([:], Double(fleet.failedCommits))])
    add(fleet.worklists.flatMap(\.endpoints), to: &page)
    guard let alerts = fleet.alerts else { return }
    page.add(
      "drover_alerts", .gauge, "What the configuration's alerts are about now, by rule.",
      alerts.counts.map { (["rule": $0.rule.rawValue], Double($0.count)) })
    guard let posting = alerts.posting else { return }
    page.add(
      "drover_webhook_messages_total", .counter, "Alerts for the webhook, by what became of them.",
      [("delivered", posting.delivered), ("dropped", posting.dropped)].map { (["outcome": $0.0], Double($0.1)) })
    page.add(
      "drover_webhook_failures_total", .counter, "Posts that the webhook did not take.",
      [([:], Double(posting.failures))])
    page.add(
      "drover_webhook_waiting_messages", .gauge, "Alerts that wait for the webhook.",
      [([:], Double(posting.waiting))])
  }

  /// How this consumer fares with other systems.
  private static func add(_ endpoints: [EndpointStanding], to page: inout MetricsPage) {
    func each(_ value: (EndpointStanding) -> Int?) -> [([String: String], Double)] {
      endpoints.compactMap { endpoint in
        value(endpoint).map { (["worklist": endpoint.worklist.text, "endpoint": endpoint.kind.rawValue], Double($0)) }
      }
    }
    page.add(
      "drover_worklist_endpoint_requests_total", .counter, "Requests to the endpoints of worklists.",
      each(\.requests))
    page.add(
      "drover_worklist_endpoint_failures_total", .counter, "Those that failed.", each(\.failures))
    page.add(
      "drover_worklist_endpoint_failures_in_a_row", .gauge, "Those that have failed since one succeeded.",
      each(\.failuresInARow))
    page.add(
      "drover_worklist_endpoint_circuit_open", .gauge, "1 while the circuit is open after repeated failures.",
      each { $0.isOpen ? 1 : 0 })
    page.add(
      "drover_worklist_fetched_orders_total", .counter, "New orders that came from an endpoint.",
      each { $0.kind == .fetch ? $0.added : nil })
    page.add(
      "drover_worklist_unusable_items_total", .counter, "Items of an endpoint's lists that are no orders.",
      each { $0.kind == .fetch ? $0.unusable : nil })
    page.add(
      "drover_worklist_posted_orders_total", .counter, "Completed orders that an endpoint has taken.",
      each { $0.kind == .completed ? $0.posted : nil })
  }

  private static func add(_ worklists: [WorklistSummary], to page: inout MetricsPage, now: Int64) {
    guard !worklists.isEmpty else { return }
    func each(_ value: (WorklistSummary) -> Double?) -> [([String: String], Double)] {
      worklists.compactMap { worklist in value(worklist).map { (["worklist": worklist.name.text], $0) } }
    }
    page.add(
      "drover_worklist_orders", .gauge, "Orders of the cloud's queues, by state.",
      worklists.flatMap { worklist in
        OrderState.allCases.map {
          (["worklist": worklist.name.text, "state": $0.member], Double(worklist.counts[$0] ?? 0))
        }
      })
    page.add(
      "drover_worklist_orders_in_doubt", .gauge, "Orders of machines that were restored to an earlier state.",
      each { Double($0.inDoubt) })
    page.add(
      "drover_worklist_oldest_in_work_seconds", .gauge, "Age of the order that has been in work longest.",
      each { $0.oldestInWork.map { max(0, Double(now - $0) / 1e6) } })
    page.add(
      "drover_worklist_last_moved_seconds", .gauge, "How long ago an order last changed its state.",
      each { $0.lastMoved.map { max(0, Double(now - $0) / 1e6) } })
    page.add(
      "drover_worklist_refills_total", .counter, "How often machines have taken orders.",
      each { Double($0.refills) })
  }

  /// What each machine said of itself; a machine that never said it has none.
  private static func add(_ machines: [CloudReport.Machine], to page: inout MetricsPage, now: Int64) {
    func each(_ value: (CloudReport.Machine) -> Double?) -> [([String: String], Double)] {
      machines.compactMap { machine in value(machine).map { (["machine": machine.name], $0) } }
    }
    page.add(
      "drover_machine_online", .gauge, "1 when the machine's last word was that it is connected, 0 when it is not.",
      each { $0.isOnline.map { $0 ? 1 : 0 } })
    page.add(
      "drover_machine_last_heard_timestamp_seconds", .gauge, "When something was heard of the machine.",
      each { Double($0.lastHeard) / 1_000_000 })
    page.add(
      "drover_machine_waiting_events", .gauge, "Events at the machine that are not confirmed, as it reported last.",
      each { ($0.outbox?.figures.waiting).map(Double.init) })
    page.add(
      "drover_machine_oldest_unconfirmed_seconds", .gauge, "How long the oldest of them has waited; 0 when none waits.",
      each { machine in machine.outbox.map { _ in Double(machine.oldestUnconfirmed(now: now) ?? 0) / 1_000_000 } })
    page.add(
      "drover_machine_told_timestamp_seconds", .gauge,
      "When the machine looked at its outbox: the time of waiting events, the oldest of them, dead letters at the edge and free bytes.",
      each { ($0.outbox?.at).map { Double($0) / 1_000_000 } })
    page.add(
      "drover_machine_waiting_streams", .gauge,
      "Streams that wait at the machine because of their tables there, as it told last.",
      each { Double($0.waits.count) })
    page.add(
      "drover_machine_free_bytes", .gauge, "What the machine's disk has left.",
      each { ($0.outbox?.figures.freeBytes).map(Double.init) })
    page.add(
      "drover_machine_clock_offset_seconds", .gauge, "The machine's clock less the cloud's.",
      each { $0.clockOffset.map { Double($0) / 1_000_000 } })
    page.add(
      "drover_machine_over_budget_total", .counter, "What was set aside because a budget of the machine was used up.",
      machines.flatMap { machine in
        machine.overruns.map { (["machine": machine.name, "budget": $0.budget], Double($0.count)) }
      })
    page.add(
      "drover_machine_conflicts", .gauge, "Values of the machine's rows that lost a conflict and wait for a person.",
      each { Double($0.conflicts) })
    page.add(
      "drover_machine_refused_rows", .gauge,
      "Rows that came down and that the machine's own tables refuse, as it said last.",
      each { Double($0.refusedRows) })
    page.add(
      "drover_machine_dead_letters", .gauge, "Dead letters of the machine, by where they are kept.",
      machines.flatMap { machine in
        [("cloud", machine.deadLetters), ("edge", machine.outbox?.figures.deadLetters ?? 0)]
          .map { (["machine": machine.name, "side": $0.0], Double($0.1)) }
      })
  }

  private static func add(_ report: CloudReport, to page: inout MetricsPage) {
    page.add(
      "drover_conflicts", .gauge, "Values that lost a conflict and wait for a person.",
      [([:], Double(report.conflicts.present))])
    page.add(
      "drover_conflicts_bytes", .gauge, "What the values of conflicts that wait take.",
      [([:], Double(report.conflicts.bytes))])
    page.add(
      "drover_conflicts_resolved_total", .counter, "Conflicts that people have resolved.",
      [([:], Double(report.conflicts.resolved))])
    let states = Dictionary(grouping: report.machines) { $0.isOnline.map { $0 ? "online" : "offline" } ?? "unknown" }
    page.add(
      "drover_machines", .gauge, "Machines that were heard of, by what they said last of their connection.",
      ["online", "offline", "unknown"].map { (["state": $0], Double(states[$0]?.count ?? 0)) })
    page.add(
      "drover_messages_total", .counter, "Messages that were committed, by what became of them.",
      report.messages.map { (["outcome": $0.outcome], Double($0.count)) })
    func each(_ value: (CloudReport.Stream) -> Double?) -> [([String: String], Double)] {
      report.machines.flatMap { machine in
        machine.streams.compactMap { stream in
          value(stream).map { (["machine": machine.name, "stream": stream.name], $0) }
        }
      }
    }
    page.add("drover_events_applied_total", .counter, "Events that were applied.", each { Double($0.applied) })
    page.add(
      "drover_events_superseded_total", .counter, "Events that were older than the stored row.",
      each { Double($0.superseded) })
    page.add(
      "drover_events_refused_total", .counter, "Events that became dead letters.", each { Double($0.refused) })
    page.add(
      "drover_last_applied_timestamp_seconds", .gauge, "When the newest event was committed here.",
      each { Double($0.appliedAt) / 1_000_000 })
    page.add(
      "drover_lag_seconds", .gauge, "How long the newest event took from the edge's commit to the cloud's.",
      each { $0.lag.map { Double($0) / 1_000_000 } })
    page.add(
      "drover_drift_rows", .gauge, "Rows that differed at the last comparison with the machine.",
      each { $0.check.flatMap { $0.failure == nil ? Double($0.drift) : nil } })
    page.add(
      "drover_dead_letters", .gauge, "Dead letters that are kept.", [([:], Double(report.deadLetters.present))])
    page.add(
      "drover_dead_letters_bytes", .gauge, "What the dead letters take.", [([:], Double(report.letterBytes))])
    let gone = report.deadLetters
    page.add(
      "drover_dead_letters_removed_total", .counter, "Dead letters that went, by why.",
      [("replayed", gone.replayed), ("purged", gone.purged), ("dropped", gone.dropped)]
        .map { (["why": $0.0], Double($0.1)) })
  }
}

/// The text, metric by metric.
struct MetricsPage {
  enum Sort: String { case counter, gauge }

  private(set) var text = ""

  static func response(_ text: String) -> Response {
    Response(
      status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
      body: .init(byteBuffer: ByteBuffer(string: text)))
  }

  mutating func add(
    _ name: String, _ sort: Sort, _ help: String, _ samples: [(labels: [String: String], value: Double)]
  ) {
    guard !samples.isEmpty else { return }
    text += "# HELP \(name) \(help)\n# TYPE \(name) \(sort.rawValue)\n"
    for (labels, value) in samples {
      let list = labels.sorted { $0.key < $1.key }.map { "\($0.key)=\"\(Self.escaped($0.value))\"" }
      text += name + (list.isEmpty ? "" : "{\(list.joined(separator: ","))}") + " \(Self.number(value))\n"
    }
  }

  private static func number(_ value: Double) -> String {
    Int64(exactly: value).map { "\($0)" } ?? "\(value)"
  }

  private static func escaped(_ text: String) -> String {
    text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
  }
}
