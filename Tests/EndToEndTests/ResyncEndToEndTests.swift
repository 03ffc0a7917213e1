// Rows brought once more on a person's order, with real processes.

import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct ResyncEndToEndTests {
  private static let streams = """
      - table: products
        kind: snapshot
      - table: receipts
        kind: snapshot
    """
  private static let make = """
    db.execute("CREATE TABLE receipts (id INTEGER PRIMARY KEY, product INTEGER, made TEXT)")
    db.execute("CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT)")
    db.executemany("INSERT INTO products (name) VALUES (?)", [(f"thing {n}",) for n in range(400)])
    db.executemany("INSERT INTO receipts (product, made) VALUES (?, date('now', ? || ' days'))", [(n % 400, -n) for n in range(2000)])
    """

  private func replicated() async throws -> Road {
    let road = try Road(streams: Self.streams)
    try await road.python(Self.make)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 2400)
    return road
  }

  private func applied(_ road: Road) async throws -> [String: Int] {
    let streams = try await road.cloudStatus()!.machines[0].streams
    return Dictionary(uniqueKeysWithValues: streams.map { ($0.name, $0.applied) })
  }

  @Test func `all rows, a window and a condition are brought, from either side, and the tables stay equal`()
    async throws
  {
    let road = try await replicated()
    // What was changed in the cloud by hand comes right again.
    try await road.python("db.execute('UPDATE receipts SET product = -1')", database: road.cloud)
    let all = try await Road.drover("resync", "--config", road.edgeFile)
    #expect(all.status == 0, "\(all.errors)")
    #expect(all.output.contains("ordered: products, receipts"))
    #expect(all.output.contains("receipts  2000 of 2000 rows read, 2000 in the outbox"))
    try await road.waitUntilConfirmed(atLeast: 4800)
    try await Road.script("compare.py", [road.app, road.cloud, Road.machine])

    let window = try await Road.drover(
      "resync", "--config", road.edgeFile, "--stream", "receipts", "--since", "90d", "--time-column", "made")
    #expect(window.output.contains("receipts  2000 of 2000 rows read, 90 in the outbox"), "\(window.output)")
    let before = try await applied(road)
    let cloud = try await Road.drover(
      "resync", "--config", road.cloudFile, "--machine", Road.machine, "--stream", "products", "--where", "id <= 10")
    #expect(cloud.status == 0 && cloud.output.contains("products  400 of 400 rows read, 10 in the outbox"), "\(cloud)")
    try await road.wait(for: "they are applied") {
      try await self.applied(road)["products"] == before["products"]! + 10
    }

    for arguments in [
      ["--stream", "nothing"], ["--where", "id ="], ["--since", "90d"],
      ["--stream", "receipts", "--where", "nothing = 1"],
    ] {
      let refused = try await Road.run(Road.drover, ["resync", "--config", road.edgeFile] + arguments)
      #expect(refused.status != 0 && !refused.errors.isEmpty, "\(arguments)")
    }
  }

  @Test func `a slow one survives a kill, lets live rows through, and brings each row once`() async throws {
    let road = try await replicated()
    let before = try await applied(road)
    let order = try await Road.drover("resync", "--config", road.edgeFile, "--rate", "20", "--no-wait")
    #expect(order.status == 0)
    // A stream's pieces are small, so what happens meanwhile is not behind them.
    try await road.wait(for: "it has begun") { try await self.applied(road)["products"]! > before["products"]! }
    try road.restart(.edge, SIGKILL)
    try await road.python("db.execute('INSERT INTO receipts VALUES (100000, 1, NULL)')")
    try await road.wait(for: "the live row is there") {
      try await road.inCloud("SELECT count(*) FROM receipts WHERE id = 100000") == "[[1]]"
    }
    let status = try await Road.drover("status", "--config", road.edgeFile)
    #expect(status.output.contains("rows read again"), "\(status.output)")
    // The same order again goes on where it is, at another rate.
    let faster = try await Road.drover("resync", "--config", road.edgeFile, "--no-wait")
    #expect(faster.status == 0)
    try await road.waitUntilConfirmed()
    try await Road.script("compare.py", [road.app, road.cloud, Road.machine])
    let after = try await applied(road)
    // The live row, and all of the table's rows, which it had become one of before they were walked through.
    #expect(after["receipts"]! == before["receipts"]! + 2002)
  }
}
