// What Prometheus reads at a machine.

import DroverCore
@testable import DroverHTTP
import DroverWire
import Testing

@Suite struct EdgeMetricsTests {
  private static let now: Int64 = 1_795_000_000_000_000

  private func text(_ report: EdgeReport?) throws -> String {
    try EdgeMetrics.text(
      EdgeSource(
        intake: NoIntake(), worklists: NoWorklists(), streams: [:], worker: { Worker(process: 7) }, status: { .null },
        report: { report },
        failures: { [DeliveryFailure(.connectionLost, count: 3, last: Self.now)] }, look: {}, now: { Self.now },
        software: "1.2"))
  }

  private func stream(_ name: String, oldest: Int64?) -> EdgeReport.Stream {
    EdgeReport.Stream(
      name: name, kind: "snapshot", table: name, pending: 2, synced: 1, confirmed: 9, oldestUnconfirmed: oldest,
      isBackfilling: false, resync: nil, overwritten: name == "pen" ? 7 : 0)
  }

  @Test func `the metrics say what waits, since when, and what went wrong`() throws {
    let report = EdgeReport(
      epoch: "ab",
      space: .init(
        measure: OutboxSpace(used: 4096, freeBytes: 1 << 30), closed: [.maxBytes], refused: 5, closings: 1,
        closedAt: nil),
      clockAhead: -1_500_000, versionsAhead: nil,
      streams: [stream("pen", oldest: Self.now - 30_000_000), stream("lot", oldest: nil)], journalMode: "wal",
      deadLetters: DeadLetterFigures(present: 4, replayed: 1))
    let text = try text(report)
    for line in [
      #"drover_build_info{version="1.2"} 1"#, "drover_agent_moving 1",
      #"drover_delivery_failures_total{what="connection_lost"} 3"#,
      #"drover_delivery_failures_total{what="too_large"} 0"#,
      #"drover_outbox_events{state="pending",stream="pen"} 2"#, #"drover_outbox_events{state="synced",stream="lot"} 1"#,
      #"drover_events_confirmed_total{stream="pen"} 9"#, #"drover_edits_replaced_total{stream="pen"} 7"#,
      #"drover_edits_replaced_total{stream="lot"} 0"#, #"drover_oldest_unconfirmed_seconds{stream="pen"} 30"#,
      #"drover_oldest_unconfirmed_seconds{stream="lot"} 0"#, #"drover_stream_waiting{stream="pen"} 0"#,
      "drover_outbox_bytes 4096", "drover_database_free_bytes 1073741824",
      #"drover_intake_closed{limit="max_bytes"} 1"#,
      #"drover_intake_closed{limit="min_free_bytes"} 0"#, "drover_intake_refused_total 5",
      "drover_clock_offset_seconds -1.5", "drover_edge_dead_letters 4",
      #"drover_edge_dead_letters_removed_total{why="replayed"} 1"#,
    ] {
      #expect(text.contains("\n\(line)\n"), "\(line)")
    }
  }

  @Test func `a database that is not attached has no figures, and the agent has`() throws {
    let text = try text(nil)
    #expect(text.contains("drover_agent_moving 1") && !text.contains("drover_outbox"))
  }
}
