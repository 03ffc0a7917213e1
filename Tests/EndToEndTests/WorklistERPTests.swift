// The mixing plant with real processes: an ERP lists orders, a PLC works through a table of its own, and what it has done comes back to the ERP. The three
// scenarios of the plant: the normal cycle, skipping while the PLC works, and a worklist that is switched off.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct WorklistERPTests {
  private static let table = """
    db.execute('''CREATE TABLE mo_batch (batch_no INTEGER NOT NULL, mo_id TEXT PRIMARY KEY, consumption REAL CHECK (consumption > 0),
      component_silo_a_name TEXT, actual_consumption_silo_a REAL NOT NULL DEFAULT 0, status_manufacturing INTEGER NOT NULL DEFAULT 0)''')
    """

  /// A plant whose two sides run.
  private struct Plant {
    let erp: ERP
    let http: HTTPRoad
    var road: Road { http.road }

    init(limit: Int = 3, interval: String = "1s", isEnabled: Bool = true, when: String = "empty") async throws {
      erp = try ERP()
      http = try HTTPRoad(
        streams: """
            - table: mo_batch
              kind: batch
              key: [mo_id]
              complete_when: "status_manufacturing = 1"
              worklist: {interval: \(interval), limit: \(limit), number: batch_no, order_key: mo_id, refill_when: \(when), enabled: \(isEnabled)}
          """,
        cloud: """
          worklists:
            - name: mixing
              stream: mo_batch
              fetch:
                url: "\(erp.url("/mo-list"))"
                token_file: ./erp_token
                body: '{"limit": {limit}, "scada": "{machine}"}'
                items: data
                key: mo_id
              completed: {url: "\(erp.url("/done"))", token_file: ./erp_token}
          """)
      try road.folder.write("erp-token\n", to: "erp_token")
      try await road.python(WorklistERPTests.table)
    }

    /// What the ERP lists from now on.
    func list(_ keys: [String]) throws {
      let items = keys.map { #"{"mo_id": "\#($0)", "consumption": 5.5, "component_silo_a_name": "corn"}"# }
      try erp.answer(paths: [
        "/mo-list": ["body": #"{"data": [\#(items.joined(separator: ","))]}"#], "/done": ["status": 204],
      ])
    }

    /// The table of the PLC.
    func rows(_ columns: String = "batch_no, mo_id") async throws -> String {
      try await road.python(
        "print(json.dumps(db.execute('SELECT \(columns) FROM mo_batch ORDER BY batch_no').fetchall()))"
      ).trimmingCharacters(in: .whitespacesAndNewlines)
    }

    func waitForRows(_ rows: String) async throws {
      try await road.wait(for: "the rows \(rows)") { try await self.rows() == rows }
    }

    /// The PLC works in a transaction that it holds for a while.
    func finish(_ condition: String = "1", holding seconds: Double = 0) async throws {
      try await road.python(
        """
        import time
        db.execute("PRAGMA busy_timeout = 20000")
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE mo_batch SET actual_consumption_silo_a = 5.25, status_manufacturing = 1 WHERE \(condition)")
        time.sleep(\(seconds))
        db.execute("COMMIT")
        """)
    }

    func clear() async throws {
      try await road.python("db.execute('DELETE FROM mo_batch WHERE status_manufacturing = 1')")
    }

    var posted: [String] {
      erp.requests.filter { $0.path == "/done" }.compactMap {
        (try? JSONSerialization.jsonObject(with: Data($0.body.utf8)) as? [String: Any])?["key"] as? String
      }
    }
  }

  @Test func `the normal cycle: orders come when the table is empty, are worked on once, and go back to the ERP`()
    async throws
  {
    let plant = try await Plant()
    try plant.list(["A-1", "A-2", "A-3", "A-4"])
    try await plant.http.start()
    try await plant.waitForRows(#"[[1, "A-1"], [2, "A-2"], [3, "A-3"]]"#)
    let asked = try #require(plant.erp.requests.first)
    #expect(asked.body == #"{"limit": 3, "scada": "MAH001"}"# && asked.headers["authorization"] == "Bearer erp-token")

    // The PLC finishes them, and empties the table. The ERP still lists what is done.
    try await plant.finish(holding: 1)
    try await plant.road.wait(for: "the posts") { Set(plant.posted) == ["A-1", "A-2", "A-3"] }
    try await plant.clear()
    try await plant.waitForRows(#"[[1, "A-4"]]"#)
    try await plant.finish()
    try await plant.clear()
    try await plant.road.wait(for: "the last post") { Set(plant.posted).count == 4 }

    // Nothing is left, and nothing comes twice: the ERP lists the same again.
    let requests = plant.erp.requests.count
    try await plant.road.wait(for: "further requests") { plant.erp.requests.count > requests + 1 }
    #expect(try await plant.rows() == "[]")
    #expect(
      try await plant.road.inCloud(
        "SELECT mo_id, actual_consumption_silo_a, status_manufacturing FROM mo_batch ORDER BY 1")
        == #"[["A-1", 5.25, 1], ["A-2", 5.25, 1], ["A-3", 5.25, 1], ["A-4", 5.25, 1]]"#)
    let done = try #require(plant.erp.requests.first { $0.path == "/done" })
    #expect(done.body.contains(#""actual_consumption_silo_a":5.25"#))
  }

  @Test func `while the PLC works nothing is inserted, whatever the ERP lists and however often it is triggered`()
    async throws
  {
    let plant = try await Plant(limit: 2)
    try plant.list(["A-1", "A-2"])
    try await plant.http.start()
    try await plant.waitForRows(#"[[1, "A-1"], [2, "A-2"]]"#)
    try plant.list(["A-1", "A-2", "A-3"])
    try await plant.finish("mo_id = 'A-1'")
    _ = try await Road.drover("worklist", "trigger", "--config", plant.road.edgeFile)
    try await plant.road.wait(for: "the line of the log") {
      plant.road.log(of: .edge).contains("2 orders are left")
    }
    #expect(try await plant.rows() == #"[[1, "A-1"], [2, "A-2"]]"#)
    // One line for each change, not for each look.
    let lines = plant.road.log(of: .edge).split(separator: "\n").filter { $0.contains("are left") }
      .map { $0.drop { $0 != " " } }
    #expect(lines.count == Set(lines).count, "\(lines)")
    // An agent that is killed and started again inserts nothing either.
    try plant.road.restart(.edge, SIGKILL)
    try await plant.finish("mo_id = 'A-2'")
    try await plant.clear()
    try await plant.waitForRows(#"[[1, "A-3"]]"#)
  }

  @Test func `a worklist that is disabled asks for nothing`() async throws {
    let plant = try await Plant(isEnabled: false)
    try plant.list(["A-1"])
    try await plant.http.start()
    try await plant.road.waitUntilConfirmed(atLeast: 0)
    let status = try await Road.drover("worklist", "status", "--config", plant.road.edgeFile, "--json")
    #expect(status.output.filter { !$0.isWhitespace }.contains("\"enabled\":false"), "\(status)")
    #expect(plant.erp.requests.isEmpty)
    #expect(try await plant.rows() == "[]")
  }

  @Test func `an order that the table does not take is refused with its reason, and the others come`() async throws {
    let plant = try await Plant()
    try plant.erp.answer(paths: [
      "/mo-list": [
        "body":
          #"{"data": [{"mo_id": "A-1", "consumption": 1}, {"mo_id": "BAD", "consumption": -1}, {"mo_id": "A-2", "consumption": 2}]}"#
      ]
    ])
    try await plant.http.start()
    try await plant.waitForRows(#"[[1, "A-1"], [2, "A-2"]]"#)
    try await plant.road.wait(for: "the refused order") {
      let orders = try await plant.http.ask(.cloud, "/v1/worklists/mixing/orders?state=refused")
      return orders.body.contains("BAD")
    }
  }

  @Test func `an ERP that fails again and again is said once in the log, and is asked again when it answers`()
    async throws
  {
    let plant = try await Plant()
    try plant.erp.answer("<html>", status: 500)
    try await plant.http.start()
    try await plant.road.wait(for: "the failure") { plant.road.log(of: .cloud).contains("localhost answers 500") }
    try plant.list(["A-1"])
    try await plant.waitForRows(#"[[1, "A-1"]]"#)
    let log = plant.road.log(of: .cloud).split(separator: "\n")
    #expect(log.count { $0.contains("fetch orders for worklist mixing: localhost answers 500") } == 1)
    #expect(log.count { $0.contains("the endpoint answers again") } == 1)
    #expect(!plant.road.log(of: .cloud).contains("erp-token"))
    #expect(
      try await plant.http.ask(.cloud, "/metrics").body.contains(
        #"drover_worklist_endpoint_circuit_open{endpoint="fetch",worklist="mixing"} 0"#))
  }
}
