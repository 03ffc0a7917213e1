// The agent's figures in Prometheus' text format. They come from the report and the counts that `drover status` shows, so there is no second count.

import DroverCore

enum EdgeMetrics {
  static func text(_ source: EdgeSource) throws -> String {
    let report = try source.report()
    var page = MetricsPage()
    page.add("drover_build_info", .gauge, "Which version answers.", [(["version": source.software], 1)])
    page.add(
      "drover_agent_moving", .gauge, "1 while the agent runs and all its jobs move.",
      [([:], source.worker().isMoving ? 1 : 0)])
    let failures = Dictionary(source.failures().map { ($0.kind, $0.count) }) { $0 + $1 }
    page.add(
      "drover_delivery_failures_total", .counter, "What went wrong on the way to the cloud since the agent started.",
      DeliveryFailure.Kind.allCases.map { (["what": $0.rawValue], Double(failures[$0] ?? 0)) })
    if let report { add(report, to: &page, now: source.now()) }
    return page.text
  }

  private static func addWorklists(_ report: EdgeReport, to page: inout MetricsPage) {
    guard !report.worklists.isEmpty else { return }
    func each(_ value: (WorklistReport) -> Int?) -> [([String: String], Double)] {
      report.worklists.compactMap { list in value(list).map { (["worklist": list.name.text], Double($0)) } }
    }
    page.add("drover_worklist_rows", .gauge, "Rows in the worklist's table.", each { $0.rows?.all })
    page.add("drover_worklist_unfinished", .gauge, "Unfinished rows among them.", each { $0.rows?.unfinished })
    page.add(
      "drover_worklist_asking", .gauge, "1 while a request waits for the cloud's answer.",
      each { $0.open == nil ? 0 : 1 })
    page.add(
      "drover_worklist_refills_total", .counter, "Answers with orders that were inserted.", each(\.counts.refills))
    page.add("drover_worklist_orders_total", .counter, "Orders that were inserted.", each(\.counts.orders))
    page.add(
      "drover_worklist_skipped_total", .counter,
      "Times that the agent did not ask because orders were left, or turned orders away for that.",
      each(\.counts.skipped))
    page.add("drover_worklist_refused_total", .counter, "Orders that the table refused.", each(\.counts.refused))
    page.add(
      "drover_worklist_cleared_total", .counter, "Times that a person cleared the table.", each(\.counts.cleared))
    page.add("drover_worklist_cleared_rows_total", .counter, "Rows that went with it.", each(\.counts.clearedRows))
  }

  private static func add(_ report: EdgeReport, to page: inout MetricsPage, now: Int64) {
    func each(_ value: (EdgeReport.Stream) -> Double?) -> [([String: String], Double)] {
      report.streams.compactMap { stream in value(stream).map { (["stream": stream.name], $0) } }
    }
    page.add(
      "drover_outbox_events", .gauge, "Events that are not confirmed, by whether the broker has acknowledged them.",
      report.streams.flatMap { stream in
        [("pending", stream.pending), ("synced", stream.synced)]
          .map { (["stream": stream.name, "state": $0.0], Double($0.1)) }
      })
    page.add(
      "drover_events_confirmed_total", .counter, "Events that the cloud has committed since the database was attached.",
      each { Double($0.confirmed) })
    page.add(
      "drover_edits_replaced_total", .counter,
      "Edits made here of rows that only the cloud edits (direction: down). The cloud's rows have replaced them.",
      each { Double($0.overwritten) })
    page.add(
      "drover_oldest_unconfirmed_seconds", .gauge, "How long the oldest of them has waited; 0 when none waits.",
      each { Double($0.oldestUnconfirmed.map { max(0, now - $0) } ?? 0) / 1_000_000 })
    page.add(
      "drover_stream_waiting", .gauge, "1 while the stream waits because of its table.",
      each { stream in report.waits.contains { $0.stream.text.isExactly(stream.name) } ? 1 : 0 })
    addWorklists(report, to: &page)
    page.add(
      "drover_outbox_bytes", .gauge, "What Drover's own tables take.", [([:], Double(report.space.measure.used))])
    page.add(
      "drover_database_free_bytes", .gauge, "What is left for the database.",
      report.space.measure.freeBytes.map { [([:], Double($0))] } ?? [])
    page.add(
      "drover_intake_closed", .gauge, "1 while a limit keeps new events out of the outbox.",
      OutboxLimit.allCases.map { limit in
        (["limit": limit.rawValue], report.space.closed.contains(limit) ? 1 : 0)
      })
    page.add(
      "drover_intake_refused_total", .counter, "Events that were refused because a limit was reached.",
      [([:], Double(report.space.refused))])
    page.add(
      "drover_clock_offset_seconds", .gauge, "The machine's clock less the cloud's.",
      report.clockAhead.map { [([:], Double($0) / 1_000_000)] } ?? [])
    page.add(
      "drover_edge_dead_letters", .gauge, "Dead letters that are kept.", [([:], Double(report.deadLetters.present))])
    let gone = report.deadLetters
    page.add(
      "drover_edge_dead_letters_removed_total", .counter, "Dead letters that went, by why.",
      [("replayed", gone.replayed), ("purged", gone.purged), ("dropped", gone.dropped)]
        .map { (["why": $0.0], Double($0.1)) })
  }
}
