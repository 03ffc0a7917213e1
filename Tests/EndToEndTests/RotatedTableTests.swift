// A table is rotated under the agent, or while it is away, with real processes: every row of the new table arrives, and rows that are gone go.

import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct RotatedTableTests {
  // The triggers travelled with the old table: nothing of the new one was sent, and all was shown as confirmed.
  @Test(arguments: [true, false])
  func `a rotated table ends equal, also where rows are gone`(isRunning: Bool) async throws {
    let road = try Road(
      streams:
        "  - table: t\n    kind: snapshot\n  - table: fact\n    kind: payload\n  - table: log\n    kind: payload\n")
    let make =
      "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE fact (id TEXT PRIMARY KEY); CREATE TABLE log (id INTEGER PRIMARY KEY, v)"
    try await road.python(
      "db.executescript(\"\(make); INSERT INTO t VALUES (1, 'old'), (2, 'gone'); INSERT INTO fact VALUES ('a'); INSERT INTO log (v) VALUES ('same'), ('old')\")"
    )
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 5)
    if !isRunning { road.end(.edge) }
    try await road.python(
      """
      db.executescript("BEGIN; INSERT INTO fact VALUES ('b'); ALTER TABLE t RENAME TO t_2025; ALTER TABLE fact RENAME TO fact_2025; ALTER TABLE log RENAME TO log_2025; \(make); INSERT INTO t VALUES (1, 'new'); COMMIT")
      db.executescript("INSERT INTO t VALUES (3, 'new too'); INSERT INTO log (v) VALUES ('same'), ('new'); INSERT INTO fact VALUES ('c'); DELETE FROM t_2025")
      """)
    if !isRunning { try road.start(.edge) }
    try await road.wait(for: "the cloud has the new table's rows alone") {
      try await road.inCloud("SELECT id, v FROM t ORDER BY 1") == #"[[1, "new"], [3, "new too"]]"#
    }
    try await road.wait(for: "every fact is there") {
      try await road.inCloud("SELECT id FROM fact ORDER BY 1") == #"[["a"], ["b"], ["c"]]"#
    }
    // The IDs of the new table begin at 1 again.
    try await road.wait(for: "every fact is there, under whatever ID") {
      try await road.inCloud("SELECT id, v FROM log ORDER BY 1, 2")
        == #"[[1, "same"], [1, "same"], [2, "new"], [2, "old"]]"#
    }
    try await road.wait(for: "the gaps are closed") {
      try await road.inCloud("SELECT count(*) FROM drover_gap WHERE gap IS closed") == "[[3]]"
    }
    #expect(try await road.inCloud("SELECT count(*) FROM drover_dead_letter") == "[[0]]")
    let check = try await Road.drover("check", "--config", road.cloudFile)
    #expect(check.status == 0, "\(check.output)")
  }
}
