// The cloud's figures in Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/). They come from the report that
// everything else shows too, so there is no second count.

import DroverCore

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
      page.add(
        "drover_waiting_schemas", .gauge, "Streams that wait for a person to accept their schema.",
        [([:], Double(try source.reader.waitingSchemas().count))])
    }
    return page.text
  }

  private static func add(_ report: CloudReport, to page: inout MetricsPage) {
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
      "drover_events_superseded_total", .counter, "Events that were older than what was there.",
      each { Double($0.superseded) })
    page.add(
      "drover_events_refused_total", .counter, "Events that became dead letters.", each { Double($0.refused) })
    page.add(
      "drover_last_applied_timestamp_seconds", .gauge, "When the newest event was committed here.",
      each { Double($0.appliedAt) / 1_000_000 })
    page.add(
      "drover_lag_seconds", .gauge, "How long the newest event took from the edge's commit to the cloud's.",
      each { Double($0.lag) / 1_000_000 })
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
