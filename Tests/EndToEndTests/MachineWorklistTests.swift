// A machine's worklist with real processes: orders that the cloud has queued reach the table, a program works on them, and people look and act over HTTP and with
// commands.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct MachineWorklistTests {
  private static let streams = """
      - table: mo_batch
        kind: batch
        key: [mo_id]
        complete_when: "status = 1"
        worklist: {order_key: mo_id, number: batch_no, limit: 2, columns: {equipment: equipment_id_batch}}
    """

  @Test func `orders reach the machine, are worked on, and people look, trigger and clear`() async throws {
    let http = try HTTPRoad(streams: Self.streams, cloud: "worklists: [{name: mo_batch}]")
    let road = http.road
    try await road.python(
      "db.execute('CREATE TABLE mo_batch (mo_id TEXT PRIMARY KEY, batch_no INT, kg REAL, equipment TEXT, status INT DEFAULT 0)')"
    )
    try await http.start()
    let queued = (1...5).map { #"{"key":"MO-\#($0)","fields":{"kg":1.5,"equipment_id_batch":"E\#($0)"}}"# }
    let body = "{\"orders\":[\(queued.joined(separator: ","))]}"
    #expect(try await http.ask(.cloud, "/v1/worklists/mo_batch/orders", options: ["--data", body]).status == 200)

    func worklist() async throws -> [String: Any] {
      try await http.ask(.edge, "/v1/worklists/mo_batch", token: HTTPRoad.readToken).document
    }
    func states() async throws -> [String: Int] {
      let orders = try await http.ask(.cloud, "/v1/worklists/mo_batch").document["orders"] as? [String: Int] ?? [:]
      return orders.filter { $0.value > 0 }
    }
    // The agent had asked before there was an order, and asks again when a person wants it.
    try await road.wait(for: "an answer without orders") {
      ((try await worklist()["last_answer"] as? [String: Any])?["text"] as? String)?.hasPrefix("no order") == true
    }
    let trigger = "/v1/worklists/mo_batch/trigger"
    #expect(try await http.ask(.edge, trigger, token: HTTPRoad.readToken, options: ["-X", "POST"]).status == 403)
    #expect(try await http.ask(.edge, trigger, options: ["-X", "POST"]).status == 202)
    try await road.wait(for: "the first orders") { try await worklist()["total_batches"] as? Int == 2 }
    let first = try await worklist()
    let batches = try #require(first["batches"] as? [[String: Any]])
    #expect(batches.map { $0["number"] as? Int } == [1, 2])
    #expect((batches[1]["fields"] as? [String: Any])?["equipment"] as? String == "E2")
    #expect(
      first["is_empty"] as? Bool == false && first["waits"] as? String == "2 rows are left in the table, 2 unfinished")
    try await road.wait(for: "the cloud's word") { try await states() == ["in_work": 2, "queued": 3] }

    // The PLC finishes both and empties the table: the next ones come by themselves.
    try await road.python("db.execute('UPDATE mo_batch SET status = 1, kg = 9'); db.execute('DELETE FROM mo_batch')")
    try await road.wait(for: "the next orders") { try await states() == ["complete": 2, "in_work": 2, "queued": 1] }
    let status = try await Road.drover("worklist", "status", "--config", road.edgeFile)
    #expect(status.output.contains("MO-3") && status.output.contains("2 refills with 4 orders"), "\(status.output)")

    // A person clears the table: the last order comes, and the cleared ones are withdrawn.
    let cleared = try await Road.drover("worklist", "clear", "--config", road.edgeFile, "--yes")
    #expect(cleared.output == "mo_batch: 2 rows removed\nunfinished: MO-3, MO-4\n", "\(cleared.output)")
    try await road.wait(for: "the last order") {
      try await states() == ["complete": 2, "withdrawn": 2, "in_work": 1]
    }
    let answer = try await http.ask(.edge, "/v1/worklists/mo_batch/clear", options: ["-X", "POST"])
    #expect(answer.document["deleted_count"] as? Int == 1 && answer.document["unfinished"] as? [String] == ["MO-5"])
    #expect(try await http.ask(.edge, "/v1/worklists/other").status == 404)
    let metrics = try await http.ask(.edge, "/metrics").body
    #expect(metrics.contains("drover_worklist_cleared_total{worklist=\"mo_batch\"} 2"))
    // What the PLC wrote is in the cloud, and stays.
    #expect(try await road.inCloud("SELECT count(*) FROM mo_batch WHERE status = 1 AND kg = 9") == "[[2]]")
    let doctor = try await Road.drover("doctor", "--config", road.edgeFile)
    #expect(doctor.output.contains("mo_batch: 0 rows, 0 unfinished"), "\(doctor.output)")

    // A requeued order comes again, though the machine had it.
    #expect(
      try await http.ask(.cloud, "/v1/worklists/mo_batch/requeue", options: ["--data", #"{"orders":["MO-3"]}"#])
        .document["done"] as? Int == 1)
    _ = try await Road.drover("worklist", "trigger", "--config", road.edgeFile)
    try await road.wait(for: "the requeued order") { try await states()["in_work"] == 1 }
    #expect(
      try await road.python("print(db.execute('SELECT mo_id, batch_no FROM mo_batch').fetchall())") == "[('MO-3', 1)]")
  }
}
